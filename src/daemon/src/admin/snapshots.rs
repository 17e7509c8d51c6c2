//! `/connectors/{name}/snapshots`: rows once more, how far they are, a pause, and an end to it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tailrace_core::error::Kind;
use tailrace_core::snapshot::{RunId, SnapshotDesk, SnapshotRequest};
use tailrace_core::{Error, Result};

use super::Shown;

/// There is no such connector, or it is a sink.
const CONNECTOR_UNKNOWN: &str = "connector_unknown";
/// A connector that runs answers within a checkpoint's interval; one that does not is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Names or patterns of captured tables.
    #[serde(default)]
    tables: Vec<String>,
    /// Names of conditions of the configuration.
    #[serde(default)]
    conditions: Vec<String>,
}

/// The snapshot that was heard of, durably.
#[derive(Serialize)]
struct Accepted {
    run: RunId,
}

/// Why nothing was done.
#[derive(Serialize)]
struct Refusal {
    code: &'static str,
    message: String,
}

/// The routes of snapshots.
pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/connectors/{name}/snapshots", post(ask).get(show).delete(abort))
        .route("/connectors/{name}/snapshots/pause", put(pause))
        .route("/connectors/{name}/snapshots/resume", put(resume))
}

async fn ask(State(shown): State<Shown>, Path(name): Path<String>, Json(asked): Json<Asked>) -> Response {
    let request = SnapshotRequest {
        tables: asked.tables,
        conditions: asked.conditions,
        by: "the HTTP endpoint".to_owned(),
    };
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.request(request)).await,
        Err(error) => refuse(&error),
    }
}

async fn show(State(shown): State<Shown>, Path(name): Path<String>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => Json(desk.state()).into_response(),
        Err(error) => refuse(&error),
    }
}

async fn pause(State(shown): State<Shown>, Path(name): Path<String>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.pause()).await,
        Err(error) => refuse(&error),
    }
}

async fn resume(State(shown): State<Shown>, Path(name): Path<String>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.resume()).await,
        Err(error) => refuse(&error),
    }
}

async fn abort(State(shown): State<Shown>, Path(name): Path<String>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.abort()).await,
        Err(error) => refuse(&error),
    }
}

fn desk(shown: &Shown, name: &str) -> Result<Arc<SnapshotDesk>> {
    let found = shown.snapshots.iter().find(|(connector, _)| connector == name);
    let (_, desk) = found.ok_or_else(|| {
        let message =
            format!("there is no connector `{name}` that reads a database; `/status` names those that there are");
        Error::definite(CONNECTOR_UNKNOWN, message)
    })?;
    Ok(Arc::clone(desk))
}

async fn answer(heard: impl Future<Output = Result<RunId>>) -> Response {
    let heard = tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| {
        let message = "the connector does not answer: it is paused, halted or just started; whether it was heard is in the state of the snapshots";
        Err(Error::transient("snapshot_unanswered", message))
    });
    match heard {
        Ok(run) => (StatusCode::ACCEPTED, Json(Accepted { run })).into_response(),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &Error) -> Response {
    let status = match (error.code(), error.kind()) {
        (CONNECTOR_UNKNOWN, _) => StatusCode::NOT_FOUND,
        ("snapshot_none" | "snapshot_running" | "snapshot_busy", _) => StatusCode::CONFLICT,
        (_, Kind::Transient | Kind::Fenced) => StatusCode::SERVICE_UNAVAILABLE,
        (_, Kind::Definite | Kind::Poison) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let refusal = Refusal {
        code: error.code(),
        message: error.report(),
    };
    (status, Json(refusal)).into_response()
}
