//! What Kafka Connect does not tell of a connector: its last hour, whether it could run, the versions of its tables, and its part of a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tailrace_core::check::{Finding, SLOT_ACTIVE, Severity};
use tailrace_core::{Error, Result};
use tailrace_state::TableVersion;

use super::Shown;
use super::answer::{Answer, failed, json as answer};
use super::asked::Path;
use super::config::Role;
use super::connect::written;
use super::operation::{Operation, get};
use crate::cli::contract;
use crate::config::plan::AnyPlan;
use crate::config::shown::export;
use crate::preflight::{self, Topics};
use crate::supervisor::Member;

/// Whether a connector could run, and what stands in its way.
#[derive(Serialize, JsonSchema)]
struct Preflight {
    connector: String,
    /// Nothing blocks.
    runs: bool,
    /// What blocks comes first.
    #[schemars(with = "Vec<Value>")]
    findings: Vec<Finding>,
}

/// The tables of a connector, as they were and are.
#[derive(Serialize, JsonSchema)]
struct Schemas {
    tables: Vec<TableVersions>,
}

/// The versions of a table, oldest first.
#[derive(Serialize, JsonSchema)]
struct TableVersions {
    table: String,
    versions: Vec<Version>,
}

/// A version of a table.
#[derive(Serialize, JsonSchema)]
struct Version {
    version: u32,
    /// From where in the source's log on it holds.
    position: String,
    /// It was told to those who follow the schemas.
    announced: bool,
    columns: Vec<Column>,
}

/// A column of a table.
#[derive(Serialize, JsonSchema)]
struct Column {
    name: String,
    /// As the database calls it.
    r#type: String,
    optional: bool,
    /// It is part of the key.
    key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
}

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let all = [
        get("/connectors/{name}/history", history)
            .says(
                "The last hour",
                "A sample every five seconds, oldest first; counters are totals.",
            )
            .answers::<Value>(200, "Samples"),
        get("/connectors/{name}/preflight", preflight_of)
            .says(
                "Whether the connector could run",
                "Asks its database and its stream, and creates nothing. Each finding has what fixes it.",
            )
            .answers::<Preflight>(200, "Findings")
            .refuses(503, "The stream does not answer, or two others ask databases"),
        get("/connectors/{name}/schemas", schemas)
            .says("Versions of the tables that a connector has met", "")
            .answers::<Schemas>(200, "Tables")
            .refuses(503, "The state cannot be read now"),
        get("/connectors/{name}/export", exported)
            .says(
                "A connector as it would stand in the configuration file",
                "Secrets are replaced by variables, which are to be set.",
            )
            .answers_text(200, "YAML", "application/yaml"),
    ];
    let all = all.into_iter().map(|operation| {
        operation
            .tag("State")
            .role(Role::Read)
            .refuses(404, "There is no such connector")
    });
    all.collect()
}

async fn history(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = shown.supervisor.member(&name).map_err(|error| failed(&error))?;
    Ok(answer(StatusCode::OK, &member.telemetry.history()))
}

async fn preflight_of(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = shown.supervisor.member(&name).map_err(|error| failed(&error))?;
    let (asking, asked) = (shown.clone(), Arc::clone(&member));
    let findings = shown.turns.ask(async move { look(&asking, &asked).await }).await?;
    let mut findings = findings.map_err(|error| failed(&error))?;
    if member.telemetry.is_connected() {
        // Whoever has it open is this connector itself.
        findings.retain(|finding| finding.code != SLOT_ACTIVE);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let preflight = Preflight {
        connector: name,
        runs: findings.iter().all(|finding| finding.severity != Severity::Blocks),
        findings,
    };
    Ok(answer(StatusCode::OK, &preflight))
}

async fn look(shown: &Shown, member: &Member) -> Result<Vec<Finding>> {
    let assembly = shown.supervisor.assembly();
    let Some(plan) = &member.plan else {
        let sentence = member.telemetry.snapshot().reason;
        return Ok(vec![Finding::blocks("config_invalid", sentence, "")]);
    };
    let stream = assembly.stream(plan.stream(), member.name())?;
    match plan {
        AnyPlan::Reads(plan) => {
            let registry = match contract::is_held(plan) {
                true => assembly.registries.of(plan)?.map(Ok::<_, Error>),
                false => None,
            };
            let mut findings = preflight::of_source(plan, &*stream, registry, &mut Topics::new()).await?;
            findings.extend(preflight::of_saved(plan, preflight::Saved::Open(&assembly.state), &findings).await);
            Ok(findings)
        }
        AnyPlan::Writes(plan) => preflight::of_sink(plan, &*stream).await,
    }
}

async fn schemas(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    shown.supervisor.member(&name).map_err(|error| failed(&error))?;
    let state = &shown.supervisor.assembly().state;
    let known = state.table_versions(&name).await.map_err(|error| failed(&error))?;
    let mut tables: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for version in known {
        tables
            .entry(version.table.clone())
            .or_default()
            .push(Version::of(version));
    }
    let tables = tables
        .into_iter()
        .map(|(table, versions)| TableVersions { table, versions });
    Ok(answer(
        StatusCode::OK,
        &Schemas {
            tables: tables.collect(),
        },
    ))
}

async fn exported(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = shown.supervisor.member(&name).map_err(|error| failed(&error))?;
    let yaml = export(member.name(), written(&member));
    Ok(([(CONTENT_TYPE, "application/yaml")], yaml).into_response())
}

// === impl Version ===

impl Version {
    fn of(version: TableVersion) -> Self {
        let key = &version.schema.key;
        let columns = version.schema.columns.iter().enumerate().map(|(index, column)| Column {
            name: column.name.clone(),
            r#type: column.source_type.clone(),
            optional: column.nullable,
            key: key.contains(&index),
            documentation: column.documentation.clone(),
        });
        Self {
            version: version.version,
            position: version.position.as_str().to_owned(),
            announced: version.is_announced,
            columns: columns.collect(),
        }
    }
}
