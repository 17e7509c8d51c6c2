//! `/connector-plugins`: what connectors there can be, and which settings they have, from the schema of the configuration.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tailrace_core::setting::SECRET;

use super::TAG;
use super::connectors::written;
use crate::admin::Shown;
use crate::admin::answer::{Answer, Refused, json as answer, refuse};
use crate::admin::asked::Path;
use crate::admin::config::Role;
use crate::admin::operation::{Operation, get, put};
use crate::catalog::PluginClass;
use crate::config::formats::format_at;
use crate::config::schema;
use crate::config::shown::{flat, unmask};
use crate::config::spec::{SINK, SOURCE};
use crate::config::submitted::{Submission, body, key_of, undotted};

/// A class of connectors.
#[derive(Serialize, JsonSchema)]
struct Plugin {
    class: String,
    /// `source` or `sink`.
    r#type: &'static str,
    version: &'static str,
}

/// A setting, as Kafka Connect describes it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Definition {
    /// Dotted.
    name: String,
    /// STRING, LONG, DOUBLE, BOOLEAN, LIST or PASSWORD.
    r#type: &'static str,
    required: bool,
    default_value: Option<String>,
    /// HIGH where it must be there, else MEDIUM.
    importance: &'static str,
    documentation: String,
    group: String,
    /// NONE, SHORT, MEDIUM or LONG.
    width: &'static str,
    display_name: String,
    dependents: Vec<String>,
    order: u32,
}

/// What is said of one setting.
#[derive(Serialize, JsonSchema)]
struct ValidatedSetting {
    definition: Definition,
    value: ValidatedValue,
}

/// Its value, and what is wrong with it.
#[derive(Serialize, JsonSchema)]
struct ValidatedValue {
    name: String,
    value: Option<String>,
    recommended_values: Vec<String>,
    errors: Vec<String>,
    visible: bool,
}

/// What is said of a whole configuration.
#[derive(Serialize, JsonSchema)]
struct Validation {
    name: String,
    error_count: usize,
    groups: Vec<String>,
    configs: Vec<ValidatedSetting>,
}

/// The settings of Kafka Connect's own that every connector has.
const COMMON: [(&str, &str); 3] = [
    ("name", "The connector's name."),
    (
        "connector.class",
        "What kind of connector it is; `source.type` or `sink.type` say the same.",
    ),
    (
        "tasks.max",
        "How many tasks there may be, at the most. A connector of Tailrace is one.",
    ),
];

/// Where settings stand that a connector cannot have.
const UNKNOWN_GROUP: &str = "Unknown";

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let of_class = |operation: Operation| operation.refuses(404, "There is no such class");
    let all = [
        get("/connector-plugins", list)
            .says("Classes of connectors", "")
            .role(Role::Read)
            .parameter(
                "connectorsOnly",
                "There is nothing else",
                json!({ "type": "string", "default": "true" }),
            )
            .answers::<Vec<Plugin>>(200, "The classes"),
        of_class(
            get("/connector-plugins/{plugin}/config", definitions)
                .says(
                    "The settings of a class",
                    "Those that are lists of mappings, and maps of names, stand for all that is in them.",
                )
                .role(Role::Read)
                .answers::<Vec<Definition>>(200, "The settings"),
        ),
        of_class(
            put("/connector-plugins/{plugin}/config/validate", validate)
                .says("What is wrong with a configuration", "Nothing is created or changed.")
                .role(Role::Read)
                .takes::<BTreeMap<String, Value>>("The configuration, flat or nested")
                .answers::<Validation>(200, "Every setting, with what is wrong with it"),
        ),
    ];
    all.into_iter().map(|operation| operation.tag(TAG)).collect()
}

async fn list() -> Response {
    let plugins: Vec<Plugin> = PluginClass::all()
        .iter()
        .map(|class| Plugin {
            class: class.name(),
            r#type: if class.is_sink { "sink" } else { "source" },
            version: env!("CARGO_PKG_VERSION"),
        })
        .collect();
    answer(StatusCode::OK, &plugins)
}

async fn definitions(Path(plugin): Path<String>) -> Answer {
    Ok(answer(StatusCode::OK, &settings_of(find(&plugin)?)))
}

async fn validate(State(shown): State<Shown>, Path(plugin): Path<String>, bytes: Bytes) -> Answer {
    let class = find(&plugin)?;
    let not_right = |sentence: String| refuse(400, "request_invalid", sentence);
    let mut sent = body(&bytes).and_then(undotted).map_err(not_right)?;
    let mut config = flat(&sent);
    let of_other_class = config
        .get("connector.class")
        .and_then(|written| PluginClass::find(written));
    if of_other_class.is_some_and(|written| written != class) {
        return Err(not_right(format!("`connector.class` is another than {plugin}")));
    }
    config
        .entry("connector.class".to_owned())
        .or_insert_with(|| class.name());
    // A configuration may be tried before it has a name.
    let name = config.get("name").cloned().unwrap_or_else(|| "unnamed".to_owned());
    if let Ok(member) = shown.supervisor.member(&name) {
        unmask(&mut sent, written(&member));
    }
    let submission = Submission {
        name: name.clone(),
        sent: with_class(sent, class),
    };
    let problems = shown.supervisor.validate(&submission);
    let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for problem in &problems {
        errors
            .entry(key_of(problem, &name))
            .or_default()
            .push(problem.sentence.clone());
    }
    let validation = Validation {
        name: class.name(),
        error_count: problems.len(),
        groups: groups(class),
        configs: validated(class, &config, errors),
    };
    Ok(answer(StatusCode::OK, &validation))
}

fn with_class(mut sent: crate::config::tree::Located, class: PluginClass) -> crate::config::tree::Located {
    let at = sent.at;
    let keys = ["connector".to_owned(), "class".to_owned()];
    // Where one is there, it was compared above.
    drop(crate::config::flat::put(
        &mut sent,
        &keys,
        crate::config::flat::flat_text(at, class.name()),
    ));
    sent
}

/// Every setting that there is or that was sent, each with what is wrong with it.
fn validated(
    class: PluginClass,
    config: &BTreeMap<String, String>,
    mut errors: BTreeMap<String, Vec<String>>,
) -> Vec<ValidatedSetting> {
    let mut settings = settings_of(class);
    let known: Vec<String> = settings.iter().map(|setting| setting.name.clone()).collect();
    let extra = config.keys().chain(errors.keys());
    let mut extra: Vec<&String> = extra.filter(|key| !known.contains(key)).collect();
    extra.sort_unstable();
    extra.dedup();
    settings.extend(extra.into_iter().map(|key| Definition::unknown(key)));
    let validated = settings.into_iter().map(|definition| {
        let name = definition.name.clone();
        ValidatedSetting {
            value: ValidatedValue {
                value: config.get(&name).cloned().or_else(|| definition.default_value.clone()),
                recommended_values: Vec::new(),
                errors: errors.remove(&name).unwrap_or_default(),
                visible: true,
                name,
            },
            definition,
        }
    });
    validated.collect()
}

fn find(plugin: &str) -> Result<PluginClass, Refused> {
    PluginClass::find(plugin).ok_or_else(|| {
        refuse(
            404,
            "plugin_unknown",
            format!("Unknown plugin {plugin}; `GET /connector-plugins` names all"),
        )
    })
}

fn groups(class: PluginClass) -> Vec<String> {
    let mut groups: Vec<String> = settings_of(class).into_iter().map(|setting| setting.group).collect();
    groups.dedup();
    groups
}

// --- from the schema

fn settings_of(class: PluginClass) -> Vec<Definition> {
    let mut settings: Vec<Definition> = COMMON
        .iter()
        .map(|(name, documentation)| Definition {
            required: *name != "tasks.max",
            default_value: (*name == "tasks.max").then(|| "1".to_owned()),
            documentation: (*documentation).to_owned(),
            group: "Common".to_owned(),
            ..Definition::unknown(name)
        })
        .collect();
    let side = if class.is_sink { SINK } else { SOURCE };
    let alternatives = array(schema::connector(), "oneOf");
    let whole = alternatives
        .iter()
        .find(|schema| schema.get("properties").is_some_and(|known| known.get(side).is_some()));
    if let Some(whole) = whole {
        collect(whole, &mut Vec::new(), class, &mut settings);
    }
    for (order, setting) in (1..).zip(&mut settings) {
        setting.order = order;
    }
    settings
}

/// The settings in an object, with the names above them.
fn collect(schema: &Value, path: &mut Vec<String>, class: PluginClass, settings: &mut Vec<Definition>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in properties {
        path.push(name.clone());
        let chosen = of_class(property, class);
        if self::properties(chosen).is_some() {
            collect(chosen, path, class, settings);
        } else {
            settings.push(Definition::of(path, chosen, required.contains(&name.as_str())));
        }
        path.pop();
    }
}

/// Where a property may be of several types, the one of the class; of something that may be left out, what it is otherwise.
fn of_class(property: &Value, class: PluginClass) -> &Value {
    let branches = array(property, "oneOf").iter().chain(array(property, "anyOf"));
    let type_of = |branch: &Value| properties(branch)?.get("type")?.get("const").cloned();
    let is_of_class = |branch: &&Value| type_of(branch).is_some_and(|name| name == class.type_name);
    let mut branches: Vec<&Value> = branches.filter(|branch| properties(branch).is_some()).collect();
    branches.sort_by_key(|branch| !is_of_class(branch));
    branches.first().copied().unwrap_or(property)
}

fn properties(schema: &Value) -> Option<&serde_json::Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// The list under a key; empty where there is none.
fn array<'v>(schema: &'v Value, key: &str) -> &'v [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

// === impl Definition ===

impl Definition {
    fn of(path: &[String], schema: &Value, required: bool) -> Self {
        let name = path.join(".");
        let default = schema.get("default").filter(|default| !default.is_null());
        Self {
            r#type: match format_at(schema::connector(), path) {
                Some(SECRET) => "PASSWORD",
                _ => type_of(schema),
            },
            required,
            default_value: default.map(|default| match default {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }),
            importance: if required { "HIGH" } else { "MEDIUM" },
            documentation: schema
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            group: path
                .first()
                .filter(|_| path.len() > 1)
                .cloned()
                .unwrap_or_else(|| "Connector".to_owned()),
            ..Self::unknown(&name)
        }
    }

    fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            r#type: "STRING",
            required: false,
            default_value: None,
            importance: "HIGH",
            documentation: String::new(),
            group: UNKNOWN_GROUP.to_owned(),
            width: "NONE",
            display_name: name.to_owned(),
            dependents: Vec::new(),
            order: 0,
        }
    }
}

/// JSON's types in Kafka Connect's words.
fn type_of(schema: &Value) -> &'static str {
    let is = |name: &str| match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    };
    if is("integer") {
        "LONG"
    } else if is("number") {
        "DOUBLE"
    } else if is("boolean") {
        "BOOLEAN"
    } else if is("array") {
        "LIST"
    } else {
        "STRING"
    }
}
