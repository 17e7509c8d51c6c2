//! `/connectors/{name}/dead_letters`: what waits, one in full, once more, and away with it.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tailrace_core::Error;
use tailrace_core::error::Kind;

use super::Shown;
use crate::letters::{BEHIND, CLOSED, LetterDesk, UNKNOWN};

/// There is no such connector.
const CONNECTOR_UNKNOWN: &str = "connector_unknown";

/// What may stand behind the question mark of a list.
#[derive(Deserialize)]
struct Page {
    /// Only letters with a higher number.
    #[serde(default)]
    after: u64,
    /// Also what was replayed or dropped.
    #[serde(default)]
    all: bool,
}

/// Why nothing was done.
#[derive(Serialize)]
struct Refusal {
    code: &'static str,
    message: String,
}

/// The routes of letters.
pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/connectors/{name}/dead_letters", get(list))
        .route("/connectors/{name}/dead_letters/{id}", get(show).delete(give_up))
        .route("/connectors/{name}/dead_letters/{id}/replay", post(replay))
}

async fn list(State(shown): State<Shown>, Path(name): Path<String>, Query(page): Query<Page>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.list(page.after, page.all).await),
        Err(error) => refuse(&error),
    }
}

async fn show(State(shown): State<Shown>, Path((name, id)): Path<(String, u64)>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.show(id).await),
        Err(error) => refuse(&error),
    }
}

async fn replay(State(shown): State<Shown>, Path((name, id)): Path<(String, u64)>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.replay(id).await),
        Err(error) => refuse(&error),
    }
}

async fn give_up(State(shown): State<Shown>, Path((name, id)): Path<(String, u64)>) -> Response {
    match desk(&shown, &name) {
        Ok(desk) => answer(desk.give_up(id).await),
        Err(error) => refuse(&error),
    }
}

fn desk<'a>(shown: &'a Shown, name: &str) -> Result<&'a LetterDesk, Error> {
    let found = shown.letters.iter().find(|desk| desk.connector() == name);
    found.ok_or_else(|| {
        let message = format!("there is no connector `{name}`; `/status` names those that there are");
        Error::definite(CONNECTOR_UNKNOWN, message)
    })
}

fn answer(result: Result<String, Error>) -> Response {
    match result {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &Error) -> Response {
    let status = match (error.code(), error.kind()) {
        (UNKNOWN | CONNECTOR_UNKNOWN, _) => StatusCode::NOT_FOUND,
        (CLOSED | BEHIND, _) => StatusCode::CONFLICT,
        (_, Kind::Transient | Kind::Fenced) => StatusCode::SERVICE_UNAVAILABLE,
        (_, Kind::Definite | Kind::Poison) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let refusal = Refusal {
        code: error.code(),
        message: error.report(),
    };
    (status, Json(refusal)).into_response()
}
