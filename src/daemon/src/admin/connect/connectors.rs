//! `/connectors`: what there is, what is wanted of it, and its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tailrace_core::Error;
use tailrace_state::Wanted;

use super::TAG;
use super::state::{ConnectorStatus, TaskId, has_failed, status_of, task_ids};
use crate::admin::Shown;
use crate::admin::access::Caller;
use crate::admin::answer::{Answer, Refused, failed, json as answer, refuse};
use crate::admin::asked::{Path, Query};
use crate::admin::config::Role;
use crate::admin::operation::{Operation, delete, get, patch, post, put};
use crate::catalog::PluginClass;
use crate::config::plan::AnyPlan;
use crate::config::shown::{flat, masked, nested, unmask};
use crate::config::spec::{SINK, SOURCE, TYPE};
use crate::config::submitted::{body, patch as patch_tree, undotted};
use crate::config::tree::{Entry, Located, Node};
use crate::supervisor::change::Kept;
use crate::supervisor::{Member, Origin, unknown};

/// Flat, as Kafka Connect has it, or nested, as the file has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    #[default]
    Flat,
    Nested,
}

#[derive(Deserialize)]
struct ShowConfig {
    #[serde(default)]
    form: Form,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Restart {
    #[serde(default, deserialize_with = "flag")]
    include_tasks: bool,
    #[serde(default, deserialize_with = "flag")]
    only_failed: bool,
}

/// In capitals or not, as Kafka Connect takes it: clients in Python write `True`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(D::Error::custom(format!("expects `true` or `false`, found `{text}`"))),
    }
}

/// A connector.
#[derive(Serialize, JsonSchema)]
struct ConnectorInfo {
    name: String,
    /// Dotted keys and texts; secrets are hidden.
    config: BTreeMap<String, String>,
    tasks: Vec<TaskId>,
    /// `source` or `sink`.
    r#type: &'static str,
}

/// What a connector is created with; beside the flat map a nested object is taken.
#[derive(JsonSchema)]
#[expect(
    dead_code,
    reason = "describes a body that is read by hand, so that its keys may be dotted"
)]
struct NewConnector {
    name: String,
    config: BTreeMap<String, Value>,
    initial_state: Option<InitialState>,
}

/// What is wanted of a connector when it is created.
#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "as above")]
enum InitialState {
    Running,
    Paused,
    Stopped,
}

type Config = BTreeMap<String, Value>;
type Named = BTreeMap<String, Value>;

const CONFIG: &str = "/connectors/{name}/config";

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = of_reading();
    all.extend(of_configuring());
    all.extend(of_wanting());
    let all = all
        .into_iter()
        .map(|operation| match (&operation.method, operation.path) {
            // What is not there is created.
            (_, "/connectors") | (&Method::PUT, CONFIG) => operation.tag(TAG),
            _ => operation.tag(TAG).refuses(404, "There is no such connector"),
        });
    all.collect()
}

fn of_reading() -> Vec<Operation> {
    // Whatever else it says is passed over.
    let expand = json!({ "type": "array", "items": { "type": "string", "example": "status" } });
    let form = json!({ "type": "string", "enum": ["flat", "nested"], "default": "flat" });
    vec![
        get("/connectors", list)
            .says(
                "Names of all connectors",
                "With `expand`, a map of names to what was asked for.",
            )
            .role(Role::Read)
            .parameter("expand", "`info`, `status`, or both", expand)
            .answers::<Value>(200, "Names, or what is known by name"),
        get("/connectors/{name}", info)
            .says("A connector", "")
            .role(Role::Read)
            .answers::<ConnectorInfo>(200, "The connector"),
        get(CONFIG, config)
            .says(
                "The configuration of a connector",
                "Secrets are hidden, variables stand as they were written.",
            )
            .role(Role::Read)
            .parameter("form", "Flat with dotted keys, or nested as in the file", form)
            .answers::<Config>(200, "The configuration"),
        get("/connectors/{name}/status", status)
            .says("The state of a connector", "`/status` has more words.")
            .role(Role::Read)
            .answers::<ConnectorStatus>(200, "The state"),
        get("/connectors/{name}/topics", topics)
            .says("Topics that a connector has used", "Since the start of the process.")
            .role(Role::Read)
            .answers::<Named>(200, "The topics, under the connector's name"),
        put("/connectors/{name}/topics/reset", reset_topics)
            .says("Refused: the topics of a connector follow from its configuration", "")
            .role(Role::Operate)
            .refuses(403, "Always"),
    ]
}

fn of_configuring() -> Vec<Operation> {
    let owned = "The connector stands in the configuration file, or there is one of this name";
    let all = [
        post("/connectors", create)
            .says(
                "Creates a connector",
                "The configuration is flat with dotted keys, or nested as in the file. It is kept in the state.",
            )
            .takes::<NewConnector>("Name, configuration and first state")
            .answers::<ConnectorInfo>(201, "Created"),
        delete("/connectors/{name}", remove)
            .says(
                "Deletes a connector that was created over HTTP",
                "Its checkpoint stays: a connector of the same name goes on from there.",
            )
            .does(204, "Deleted"),
        put(CONFIG, put_config)
            .says(
                "Creates a connector, or changes all of its configuration",
                "A secret that comes back as it was shown stays as it was. The connector goes on from where it was.",
            )
            .takes::<Config>("The whole configuration")
            .answers::<ConnectorInfo>(200, "Changed")
            .answers::<ConnectorInfo>(201, "Created"),
        patch(CONFIG, patch_config)
            .says(
                "Changes parts of a connector's configuration",
                "A null takes a key away.",
            )
            .takes::<Config>("What is to be changed")
            .answers::<ConnectorInfo>(200, "Changed"),
    ];
    let all = all
        .into_iter()
        .map(|operation| operation.role(Role::Admin).refuses(409, owned));
    all.collect()
}

fn of_wanting() -> Vec<Operation> {
    let flag = || json!({ "type": "boolean", "default": false });
    let stays = "It stays so over restarts of the process.";
    let all = [
        put("/connectors/{name}/pause", pause)
            .says("Nothing is read any more; connections stay open", stays)
            .does(202, "Asked for"),
        put("/connectors/{name}/resume", resume)
            .says("The connector is to run", stays)
            .does(202, "Asked for"),
        put("/connectors/{name}/stop", stop)
            .says("What was read is made durable, then everything is closed", stays)
            .does(204, "Asked for"),
        post("/connectors/{name}/restart", restart)
            .says("Begins a connector anew from its last checkpoint", "")
            .parameter(
                "includeTasks",
                "Answers 202 with the state; the one task is begun anew in any case",
                flag(),
            )
            .parameter("onlyFailed", "Only where it is halted or degraded", flag())
            .does(204, "Begun anew")
            .answers::<ConnectorStatus>(202, "Begun anew"),
    ];
    all.into_iter().map(|operation| operation.role(Role::Operate)).collect()
}

// --- reading

async fn list(State(shown): State<Shown>, RawQuery(query): RawQuery) -> Response {
    let expanded = |what: &str| {
        let wanted = format!("expand={what}");
        query
            .as_deref()
            .is_some_and(|query| query.split('&').any(|part| part == wanted))
    };
    let (with_info, with_status) = (expanded("info"), expanded("status"));
    let members = shown.supervisor.members();
    if !with_info && !with_status {
        let names: Vec<&str> = members.iter().map(|member| member.name()).collect();
        return answer(StatusCode::OK, &names);
    }
    let described = members.iter().map(|member| {
        let mut described = BTreeMap::new();
        if with_info {
            described.insert("info", json!(info_of(member)));
        }
        if with_status {
            described.insert("status", json!(status_of(&shown, member)));
        }
        (member.name(), described)
    });
    answer(StatusCode::OK, &described.collect::<BTreeMap<_, _>>())
}

async fn info(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = find(&shown, &name)?;
    Ok(answer(StatusCode::OK, &info_of(&member)))
}

async fn config(State(shown): State<Shown>, Path(name): Path<String>, Query(show): Query<ShowConfig>) -> Answer {
    let member = find(&shown, &name)?;
    Ok(match show.form {
        Form::Flat => answer(StatusCode::OK, &flat_config(&member)),
        Form::Nested => answer(StatusCode::OK, &nested(&name, written(&member))),
    })
}

async fn status(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = find(&shown, &name)?;
    Ok(answer(StatusCode::OK, &status_of(&shown, &member)))
}

async fn topics(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = find(&shown, &name)?;
    let known = member.telemetry.snapshot();
    let read = known
        .partitions
        .keys()
        .filter_map(|partition| Some(partition.rsplit_once('-')?.0.to_owned()));
    let mut topics: Vec<String> = known.topics.keys().cloned().chain(read).collect();
    topics.sort_unstable();
    topics.dedup();
    Ok(answer(StatusCode::OK, &json!({ name: { "topics": topics } })))
}

// --- what is wanted

async fn pause(State(shown): State<Shown>, Path(name): Path<String>, Extension(caller): Extension<Caller>) -> Answer {
    want(&shown, &name, Some(Wanted::Paused), &caller).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn resume(State(shown): State<Shown>, Path(name): Path<String>, Extension(caller): Extension<Caller>) -> Answer {
    want(&shown, &name, None, &caller).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn stop(State(shown): State<Shown>, Path(name): Path<String>, Extension(caller): Extension<Caller>) -> Answer {
    want(&shown, &name, Some(Wanted::Stopped), &caller).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn want(shown: &Shown, name: &str, wanted: Option<Wanted>, caller: &Caller) -> Result<(), Refused> {
    let wanting = shown.supervisor.want(name, wanted, &caller.name);
    wanting.await.map_err(|error| failed(&error))
}

async fn restart(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Query(how): Query<Restart>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let member = find(&shown, &name)?;
    if has_failed(&member) || !how.only_failed {
        let restarted = shown.supervisor.restart(&name, &caller.name).await;
        restarted.map_err(|error| failed(&error))?;
    }
    Ok(match how.include_tasks || how.only_failed {
        true => answer(StatusCode::ACCEPTED, &status_of(&shown, &member)),
        false => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Which topics there are follows from the configuration; Kafka Connect has a setting that refuses this, and these are its words.
async fn reset_topics(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    find(&shown, &name)?;
    Err(refuse(403, "topics_not_reset", "Topic tracking reset is disabled."))
}

// --- configuration

async fn create(State(shown): State<Shown>, Extension(caller): Extension<Caller>, body_bytes: Bytes) -> Answer {
    let not_right = |sentence: String| refuse(400, "request_invalid", sentence);
    let sent = body(&body_bytes).map_err(not_right)?;
    let Node::Mapping(entries) = sent.node else {
        return Err(not_right("the body is no JSON object".to_owned()));
    };
    let (mut name, mut config, mut wanted) = (None, None, None);
    let is_null = |entry: &Entry| matches!(&entry.value.node, Node::Scalar(scalar) if scalar.is_null());
    for entry in entries.into_iter().filter(|entry| !is_null(entry)) {
        match (entry.key.as_str(), &entry.value.node) {
            ("name", Node::Scalar(text)) => name = Some(text.text.clone()),
            ("config", Node::Mapping(_)) => config = Some(undotted(entry.value).map_err(not_right)?),
            ("initial_state", Node::Scalar(text)) => {
                wanted = match text.text.to_uppercase().as_str() {
                    "RUNNING" => None,
                    "PAUSED" => Some(Wanted::Paused),
                    "STOPPED" => Some(Wanted::Stopped),
                    other => {
                        return Err(not_right(format!(
                            "initial_state `{other}` is not RUNNING, PAUSED or STOPPED"
                        )));
                    }
                }
            }
            (key, _) => {
                return Err(not_right(format!(
                    "`{key}` is not `name`, `config` or `initial_state`, or not of its kind"
                )));
            }
        }
    }
    let config = config.ok_or_else(|| not_right("`config` is missing".to_owned()))?;
    let named = || Some(config.get("name")?.text()?.to_owned());
    let name = name
        .or_else(named)
        .ok_or_else(|| not_right("`name` is missing".to_owned()))?;
    keep(&shown, &name, |_| Ok(config), (wanted, true), &caller).await
}

async fn put_config(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    body_bytes: Bytes,
) -> Answer {
    let sent = config_of(&body_bytes)?;
    if let Some(other) = sent.get("name").and_then(Located::text).filter(|other| *other != name) {
        // In the words of Kafka Connect.
        let sentence =
            format!("Connector name configuration ({other}) doesn't match connector name in the URL ({name})");
        return Err(refuse(400, "request_invalid", sentence));
    }
    keep(&shown, &name, |_| Ok(sent), (None, false), &caller).await
}

async fn patch_config(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    body_bytes: Bytes,
) -> Answer {
    let changes = config_of(&body_bytes)?;
    find(&shown, &name)?;
    let missing = name.clone();
    let patched = move |there: Option<&Member>| {
        let there = there.ok_or_else(|| unknown(&missing))?;
        let mut sent = masked(written(there));
        patch_tree(&mut sent, changes);
        Ok(sent)
    };
    keep(&shown, &name, patched, (None, false), &caller).await
}

/// What is `sent` is asked for with the connector that is there, when nobody else changes it.
async fn keep(
    shown: &Shown,
    name: &str,
    sent: impl FnOnce(Option<&Member>) -> Result<Located, Error> + Send + 'static,
    how: (Option<Wanted>, bool),
    caller: &Caller,
) -> Answer {
    let sent = |there: Option<&Member>| {
        let mut sent = sent(there)?;
        if let Some(there) = there {
            unmask(&mut sent, written(there));
        }
        Ok(sent)
    };
    let kept = shown.supervisor.keep(name, sent, how, &caller.name).await;
    let (kept, member) = kept.map_err(|error| failed(&error))?;
    let status = match kept {
        Kept::Created => StatusCode::CREATED,
        Kept::Changed => StatusCode::OK,
    };
    let mut created = answer(status, &info_of(&member));
    if let Ok(location) = HeaderValue::from_str(&format!("/connectors/{name}")) {
        created.headers_mut().insert(LOCATION, location);
    }
    Ok(created)
}

async fn remove(State(shown): State<Shown>, Path(name): Path<String>, Extension(caller): Extension<Caller>) -> Answer {
    let removed = shown.supervisor.remove(&name, &caller.name).await;
    removed.map_err(|error| failed(&error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn config_of(bytes: &[u8]) -> Result<Located, Refused> {
    let read = body(bytes).and_then(undotted);
    read.map_err(|sentence| refuse(400, "request_invalid", sentence))
}

// --- what is shown

pub(super) fn find(shown: &Shown, name: &str) -> Result<Arc<Member>, Refused> {
    shown.supervisor.member(name).map_err(|error| failed(&error))
}

/// A connector's configuration, variables and Connect's own keys included, as it was written or sent.
pub(in crate::admin) fn written(member: &Member) -> &Located {
    match (&member.origin, &member.plan) {
        (Origin::Http(submission), _) => &submission.sent,
        (Origin::File, plan) => plan.as_ref().map_or(&NOTHING, AnyPlan::written),
    }
}

/// Connectors of the file can always be understood.
static NOTHING: Located = Located {
    at: crate::config::tree::Mark { line: 1, column: 1 },
    node: Node::Mapping(Vec::new()),
};

pub(super) fn flat_config(member: &Member) -> BTreeMap<String, String> {
    let mut config = flat(written(member));
    config.insert("name".to_owned(), member.name().to_owned());
    if let Some(class) = class_of(member) {
        config
            .entry("connector.class".to_owned())
            .or_insert_with(|| class.name());
        // The class says it already, as Kafka Connect's tools expect.
        let side = if class.is_sink { SINK } else { SOURCE };
        config.remove(&format!("{side}.{TYPE}"));
    }
    config.entry("tasks.max".to_owned()).or_insert_with(|| "1".to_owned());
    config
}

/// The class of its configuration; `None` where that names none that there is.
pub(in crate::admin) fn class_of(member: &Member) -> Option<PluginClass> {
    let written = written(member);
    if let Some(class) = written.get("connector").and_then(|connector| connector.get("class")) {
        return PluginClass::find(class.text()?);
    }
    let is_sink = written.get(SINK).is_some();
    let side = written.get(if is_sink { SINK } else { SOURCE })?;
    let type_name = side.get(TYPE)?.text()?;
    PluginClass::all()
        .into_iter()
        .find(|class| class.is_sink == is_sink && class.type_name == type_name)
}

/// `source` or `sink`.
pub(in crate::admin) fn kind_of(member: &Member) -> &'static str {
    match &member.plan {
        Some(AnyPlan::Writes(_)) => "sink",
        Some(AnyPlan::Reads(_)) => "source",
        None if written(member).get(SINK).is_some() => "sink",
        None => "source",
    }
}

fn info_of(member: &Member) -> ConnectorInfo {
    ConnectorInfo {
        name: member.name().to_owned(),
        config: flat_config(member),
        tasks: task_ids(member),
        r#type: kind_of(member),
    }
}
