//! `/connectors/{name}/snapshots`: rows once more, how far they are, a pause, and an end to it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tailrace_core::error::Kind;
use tailrace_core::snapshot::{RunId, SnapshotRequest};
use tailrace_core::task::spawn_named;
use tailrace_core::{Error, Result};

use super::Shown;
use super::access::Caller;
use super::answer::{Answer, Refused, failed, json as answer, refuse};
use super::asked::{Path, Query};
use super::config::Role;
use super::confirm::Confirmed;
use super::operation::{Operation, delete, get, post, put};
use crate::config::plan::AnyPlan;
use crate::supervisor::Member;

/// A connector that runs answers within a checkpoint's interval; one that does not is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether it was heard is not known.
const UNANSWERED: &str = "snapshot_unanswered";

/// What is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Names or patterns of captured tables; empty for those of the conditions, or for all.
    #[serde(default)]
    tables: Vec<String>,
    /// Names of conditions of the configuration: of their tables only the rows are read that meet them.
    #[serde(default)]
    conditions: Vec<String>,
}

/// The snapshot that was heard of, durably.
#[derive(Serialize, JsonSchema)]
struct Accepted {
    /// Its name.
    run: String,
}

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let path = "/connectors/{name}/snapshots";
    let all = [
        get(path, show)
            .says("How far a snapshot is that was asked for", "")
            .role(Role::Read)
            .answers::<Value>(200, "The snapshot under way, or the last one of this process"),
        post(path, ask)
            .says(
                "Reads rows once more, between the changes",
                "All tables, or chosen ones, or rows that meet conditions of the configuration. Answered when it is durably known.",
            )
            .role(Role::Operate)
            .may_take::<Asked>("Which rows; without it all tables")
            .answers::<Accepted>(202, "Under way")
            .refuses(400, "The connector cannot do that; the message says what to do instead"),
        put("/connectors/{name}/snapshots/pause", pause)
            .says("Reads no more rows; changes go on", "")
            .role(Role::Operate)
            .answers::<Accepted>(202, "Paused"),
        put("/connectors/{name}/snapshots/resume", resume)
            .says("Goes on with a snapshot that was paused", "")
            .role(Role::Operate)
            .answers::<Accepted>(202, "Goes on"),
        delete(path, abort)
            .says("Gives a snapshot up", "What was carried of it stays.")
            .role(Role::Operate)
            .confirmed()
            .answers::<Accepted>(200, "Given up"),
    ];
    let all = all.into_iter().map(|operation| {
        let operation = operation.tag("Snapshots").refuses(404, "There is no such connector");
        // How far it is, is known without asking the connector.
        if operation.method == Method::GET {
            return operation;
        }
        operation
            .refuses(
                409,
                "There is none under way, the tables are in one already, or it is not confirmed yet",
            )
            .refuses(503, "The connector does not answer now")
    });
    all.collect()
}

async fn show(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    let member = reading(&shown, &name)?;
    Ok(answer(StatusCode::OK, &member.snapshots.state()))
}

async fn ask(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer {
    let member = reading(&shown, &name)?;
    // Who says nothing means all tables.
    let body = if bytes.is_empty() { b"{}" } else { &*bytes };
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        refuse(
            400,
            "request_invalid",
            format!("the body is not the JSON that is expected: {error}"),
        )
    })?;
    let request = SnapshotRequest {
        tables: asked.tables,
        conditions: asked.conditions,
        by: caller.name.clone(),
    };
    let detail = format!(
        "a snapshot of tables {:?} under conditions {:?}",
        request.tables, request.conditions
    );
    let asked = async move { member.snapshots.request(request).await };
    let run = heard(&shown, (name, caller, detail), asked).await?;
    Ok(accepted(StatusCode::ACCEPTED, run))
}

async fn pause(State(shown): State<Shown>, Path(name): Path<String>, Extension(caller): Extension<Caller>) -> Answer {
    let member = reading(&shown, &name)?;
    let asked = async move { member.snapshots.pause().await };
    let run = heard(&shown, (name, caller, "the snapshot is paused".to_owned()), asked).await?;
    Ok(accepted(StatusCode::ACCEPTED, run))
}

async fn resume(State(shown): State<Shown>, Path(name): Path<String>, Extension(caller): Extension<Caller>) -> Answer {
    let member = reading(&shown, &name)?;
    let asked = async move { member.snapshots.resume().await };
    let run = heard(&shown, (name, caller, "the snapshot goes on".to_owned()), asked).await?;
    Ok(accepted(StatusCode::ACCEPTED, run))
}

async fn abort(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Query(confirmed): Query<Confirmed>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let member = reading(&shown, &name)?;
    let left: Vec<String> = member
        .snapshots
        .state()
        .tables
        .iter()
        .filter(|table| !table.finished)
        // Not how many rows are left: that is less from moment to moment, and a token is for what was said.
        .map(|table| format!("the rest of table {}", table.table))
        .collect();
    if !left.is_empty() {
        let what = format!("{} gives up the snapshot of {name}", caller.name);
        shown.confirmations.check(&what, &confirmed, left)?;
    }
    let asked = async move { member.snapshots.abort().await };
    let run = heard(&shown, (name, caller, "the snapshot is given up".to_owned()), asked).await?;
    Ok(accepted(StatusCode::OK, run))
}

/// A connector that reads a database.
fn reading(shown: &Shown, name: &str) -> Result<Arc<Member>, Refused> {
    let member = shown.supervisor.member(name).map_err(|error| failed(&error))?;
    match member.plan {
        Some(AnyPlan::Writes(_)) => {
            let sentence = format!("connector `{name}` writes a database; snapshots are of connectors that read one");
            Err(refuse(400, "snapshot_unsupported", sentence))
        }
        Some(AnyPlan::Reads(_)) | None => Ok(member),
    }
}

/// Asks, and writes down that somebody did, also where whoever asked goes away or nobody answers in time: the connector may have heard.
async fn heard(
    shown: &Shown,
    (name, caller, detail): (String, Caller, String),
    asked: impl Future<Output = Result<RunId>> + Send + 'static,
) -> Result<RunId, Refused> {
    let supervisor = Arc::clone(&shown.supervisor);
    let asking = spawn_named("snapshot request", async move {
        let heard = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            let message = "the connector does not answer: it is paused, halted, tried again or just started; whether it was heard is in the state of the snapshots";
            Err(Error::transient(UNANSWERED, message))
        });
        let journal = |detail: &str| {
            supervisor
                .journal()
                .write(Some(&name), &caller.name, "snapshot", detail)
        };
        match &heard {
            Ok(_) => journal(&detail),
            Err(error) if error.code() == UNANSWERED => {
                journal(&format!("asked for, and not answered in time: {detail}"))
            }
            Err(_) => {}
        }
        heard
    });
    let heard = asking.await.unwrap_or_else(|error| {
        Err(Error::transient("task_failed", "what was asked for ended early").with_source(error))
    });
    heard.map_err(|error| match (error.code(), error.kind()) {
        ("snapshot_none" | "snapshot_running" | "snapshot_busy", _) => refuse(409, error.code(), error.report()),
        (_, Kind::Definite) => refuse(400, error.code(), error.report()),
        (_, Kind::Transient | Kind::Poison | Kind::Fenced) => failed(&error),
    })
}

fn accepted(status: StatusCode, run: RunId) -> axum::response::Response {
    answer(status, &Accepted { run: run.0 })
}
