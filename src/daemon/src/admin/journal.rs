//! `/journal`: what changed when, and who asked.

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tailrace_state::Entry;

use super::Shown;
use super::answer::{Answer, failed, json as answer};
use super::asked::Query;
use super::config::Role;
use super::operation::{Operation, get};

/// Entries where nobody says how many.
const LIMIT: u32 = 100;
const LIMIT_MAXIMUM: u32 = 1000;

/// What may stand behind the question mark.
#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    after: u64,
    before: Option<u64>,
    connector: Option<String>,
    limit: Option<u64>,
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
    let number = || json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX });
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
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let between = (number(wanted.after), wanted.before.map_or(i64::MAX, number));
    let limit = wanted
        .limit
        .map_or(LIMIT, |limit| u32::try_from(limit).unwrap_or(LIMIT_MAXIMUM));
    let limit = limit.min(LIMIT_MAXIMUM);
    let state = &shown.supervisor.assembly().state;
    let entries = state.journal(between, wanted.connector.as_deref(), limit).await;
    let entries = entries.map_err(|error| failed(&error))?;
    Ok(answer(StatusCode::OK, &Entries { entries }))
}
