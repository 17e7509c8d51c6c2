//! What the process and its connectors do: for people, for probes, and for Prometheus.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;
use tailrace_core::snapshot::SnapshotState;
use tailrace_core::telemetry::metrics;
use tailrace_core::telemetry::{Life, Snapshot, Telemetry};

use super::access::Caller;
use super::answer::{Answer, failed, json};
use super::asked::Path;
use super::config::Role;
use super::connect::{class_of, kind_of};
use super::operation::{Operation, get};
use super::{Shown, console};
use crate::process;
use crate::supervisor::{Member, Origin, PANICKED};
use crate::traces::SpanCounts;

/// The release, as Cargo knows it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What runs.
#[derive(Serialize, JsonSchema)]
struct Root {
    version: &'static str,
    /// Where the release was built from; empty where that is not known.
    commit: &'static str,
    /// Tells this process's state from others; there is no cluster of its own.
    kafka_cluster_id: String,
}

/// Everything that is known.
#[derive(Serialize, JsonSchema)]
struct Status {
    version: &'static str,
    uptime_ms: u64,
    connectors: Vec<ConnectorState>,
}

/// Everything that is known of a connector.
#[derive(Serialize, JsonSchema)]
struct ConnectorState {
    /// `source` or `sink`.
    kind: &'static str,
    /// The type of its database side; missing where its configuration has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    /// The stream that it writes to or reads from.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// The type of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_type: Option<&'static str>,
    /// `file` or `http`: who owns its configuration.
    origin: &'static str,
    /// `running`, `paused` or `stopped`.
    wanted: &'static str,
    /// The snapshot that was asked for, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    snapshot_run: Option<SnapshotState>,
    #[serde(flatten)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    known: Snapshot,
}

/// A word, and the connectors that are the reason.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `ok` or `unavailable`.
    status: &'static str,
    reasons: Vec<Reason>,
}

#[derive(Serialize, JsonSchema)]
struct Reason {
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<String>,
    state: String,
}

/// Whether a worker answers, as of Kafka Connect.
#[derive(Serialize, JsonSchema)]
struct WorkerHealth {
    status: &'static str,
    message: &'static str,
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
struct Session {
    name: String,
    role: Role,
    /// `none`, `token` or `certificate`.
    authentication: &'static str,
}

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let tag = "State";
    let all = [
        // The console is for everybody, and asks for a token itself.
        get("/", root)
            .says("What runs; for a browser, the console", "")
            .answers::<Root>(200, "The release"),
        get("/health", health)
            .says("Whether the worker answers, as of Kafka Connect", "")
            .role(Role::Read)
            .answers::<WorkerHealth>(200, "It does")
            .answers::<WorkerHealth>(500, "The process makes no progress"),
        get("/session", session)
            .says("Who asks, and what they may do", "")
            .role(Role::Read)
            .answers::<Session>(200, "Who asks"),
        get("/status", status)
            .says(
                "Everything that is known",
                "State, reason, position, lag and progress of every connector.",
            )
            .role(Role::Read)
            .answers::<Status>(200, "Everything"),
        get("/livez", livez)
            .says(
                "Whether the process can make progress by itself",
                "Where it cannot, a restart is what helps.",
            )
            .role(Role::Read)
            .answers::<Health>(200, "It can")
            .answers::<Health>(503, "It cannot"),
        get("/readyz", readyz)
            .says("Whether every connector that is to run does", "")
            .role(Role::Read)
            .answers::<Health>(200, "They do")
            .answers::<Health>(503, "Those that do not, and why"),
        get("/readyz/{name}", readyz_of)
            .says("Whether a connector runs", "")
            .role(Role::Read)
            .answers::<Health>(200, "It does")
            .answers::<Health>(503, "It does not, and why")
            .refuses(404, "There is no such connector"),
        get("/metrics", metrics_text)
            .says("Numbers for Prometheus", "")
            .role(Role::Read)
            .answers_text(200, "OpenMetrics", metrics::CONTENT_TYPE),
    ];
    all.into_iter().map(|operation| operation.tag(tag)).collect()
}

async fn root(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    if super::guard::wants_page(&headers) {
        return console::page_response();
    }
    let root = Root {
        version: VERSION,
        commit: option_env!("TAILRACE_COMMIT").unwrap_or_default(),
        kafka_cluster_id: shown.supervisor.assembly().state.instance_id().to_owned(),
    };
    json(StatusCode::OK, &root)
}

async fn health(State(shown): State<Shown>) -> Response {
    let is_well = not_alive(&shown).is_empty();
    let (status, health) = match is_well {
        true => (
            StatusCode::OK,
            (
                "healthy",
                "Worker has completed startup and is ready to handle requests.",
            ),
        ),
        false => (
            StatusCode::INTERNAL_SERVER_ERROR,
            ("unhealthy", "Worker makes no progress; see /livez."),
        ),
    };
    let (word, message) = health;
    json(status, &WorkerHealth { status: word, message })
}

async fn session(Extension(caller): Extension<Caller>) -> Json<Session> {
    Json(Session {
        name: caller.name,
        role: caller.role,
        authentication: caller.authentication,
    })
}

async fn status(State(shown): State<Shown>) -> Response {
    let connectors = shown.supervisor.members();
    let status = Status {
        version: VERSION,
        uptime_ms: u64::try_from(shown.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        connectors: connectors
            .iter()
            .map(|member| ConnectorState::of(&shown, member))
            .collect(),
    };
    json(StatusCode::OK, &status)
}

// --- probes

pub(super) async fn livez(State(shown): State<Shown>) -> Response {
    judged(not_alive(&shown))
}

pub(super) async fn readyz(State(shown): State<Shown>) -> Response {
    let members = shown.supervisor.members();
    judged(members.iter().filter_map(|member| not_ready(member)).collect())
}

async fn readyz_of(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = shown.supervisor.member(&name).map_err(|error| failed(&error))?;
    Ok(judged(not_ready(&member).into_iter().collect()))
}

/// As [`livez`] and [`readyz`], without a name: everybody may ask.
pub(super) async fn is_live(State(shown): State<Shown>) -> StatusCode {
    as_code(not_alive(&shown).is_empty())
}

/// See [`is_live`].
pub(super) async fn is_ready(State(shown): State<Shown>) -> StatusCode {
    let members = shown.supervisor.members();
    as_code(members.iter().all(|member| not_ready(member).is_none()))
}

fn as_code(is_well: bool) -> StatusCode {
    if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn not_alive(shown: &Shown) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if shown.heartbeat.is_stalled() {
        reasons.push(Reason {
            connector: None,
            state: "runtime_stalled".to_owned(),
        });
    }
    let connectors = shown.supervisor.telemetry();
    let panicked = connectors
        .iter()
        .filter(|connector| connector.life() == Life::Halted(PANICKED.to_owned()));
    reasons.extend(panicked.map(|connector| Reason::of(connector)));
    reasons
}

/// Why a connector is not ready; what somebody paused or stopped is as it should be, and what has nothing more to do.
fn not_ready(member: &Member) -> Option<Reason> {
    let telemetry = &member.telemetry;
    let is_as_wanted = match telemetry.life() {
        Life::Paused => true,
        Life::Stopped => member.wanted() == "stopped" || member.is_finished(),
        life => life.is_ready(),
    };
    (!is_as_wanted).then(|| Reason::of(telemetry))
}

fn judged(reasons: Vec<Reason>) -> Response {
    let (status, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    json(status, &Health { status: word, reasons })
}

async fn metrics_text(State(shown): State<Shown>) -> Response {
    let mut process = process::numbers(VERSION, shown.started.elapsed());
    process.spans = shown.spans.as_ref().map(SpanCounts::numbers);
    match metrics::exposition(&shown.supervisor.telemetry(), process) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

// === impl Reason ===

impl Reason {
    fn of(telemetry: &Telemetry) -> Self {
        let life = telemetry.life();
        Self {
            connector: Some(telemetry.connector.clone()),
            state: match &life {
                Life::Halted(code) | Life::Degraded(code) => format!("{}:{code}", life.name()),
                Life::Starting | Life::Snapshotting | Life::Streaming | Life::Paused | Life::Stopped => {
                    life.name().to_owned()
                }
            },
        }
    }
}

// === impl ConnectorState ===

impl ConnectorState {
    fn of(shown: &Shown, member: &Member) -> Self {
        let stream = member.plan.as_ref().map(|plan| plan.stream().to_owned());
        let kinds = &shown.supervisor.assembly().stream_kinds;
        Self {
            kind: kind_of(member),
            r#type: class_of(member).map(|class| class.type_name),
            stream_type: stream.as_ref().and_then(|name| kinds.get(name).copied()),
            stream,
            origin: match member.origin {
                Origin::File => "file",
                Origin::Http(_) => "http",
            },
            wanted: member.wanted(),
            snapshot_run: Some(member.snapshots.state()).filter(|state| state.run.is_some()),
            known: member.telemetry.snapshot(),
        }
    }
}
