//! `/journal`: what changed when, and who asked.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tailrace_state::Entry;

use super::Shown;
use super::answer::{Answer, failed, json as answer};
use super::config::Role;
use super::operation::{Operation, get};

/// Entries where nobody says how many.
const LIMIT: u32 = 100;
const LIMIT_MAXIMUM: u32 = 1000;

/// What may stand behind the question mark.
#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    after: i64,
    before: Option<i64>,
    connector: Option<String>,
    limit: Option<u32>,
}

/// Entries of the journal.
#[derive(Serialize, JsonSchema)]
struct Entries {
    /// Oldest first.
    #[schemars(with = "Vec<serde_json::Value>")]
    entries: Vec<Entry>,
}

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let number = || json!({ "type": "integer", "minimum": 0 });
    vec![
        get("/journal", list)
            .says("What changed when, and who asked", "The newest entries, oldest first.")
            .tag("State")
            .role(Role::Read)
            .parameter("after", "Only entries with a higher number", number())
            .parameter("before", "Only entries with a lower number", number())
            .parameter(
                "connector",
                "Only entries of this connector",
                json!({ "type": "string" }),
            )
            .parameter("limit", "At most so many; 100 where it is left out", number())
            .answers::<Entries>(200, "Entries")
            .refuses(503, "The state cannot be read now"),
    ]
}

async fn list(State(shown): State<Shown>, Query(wanted): Query<Wanted>) -> Answer {
    let between = (wanted.after, wanted.before.unwrap_or(i64::MAX));
    let limit = wanted.limit.unwrap_or(LIMIT).min(LIMIT_MAXIMUM);
    let state = &shown.supervisor.assembly().state;
    let entries = state.journal(between, wanted.connector.as_deref(), limit).await;
    let entries = entries.map_err(|error| failed(&error))?;
    Ok(answer(StatusCode::OK, &Entries { entries }))
}
