//! `/connectors/{name}/dead_letters`: what waits, one in full, once more, and away with it.

use axum::Extension;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use tailrace_core::{Error, Result};

use super::Shown;
use super::access::Caller;
use super::answer::{Answer, failed, json_text};
use super::asked::{Path, Query};
use super::config::Role;
use super::confirm::Confirmed;
use super::operation::{Operation, delete, get, post};
use crate::letters::LetterDesk;

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

/// The routes of letters.
pub(super) fn operations() -> Vec<Operation> {
    let number = json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX, "default": 0 });
    let flag = json!({ "type": "boolean", "default": false });
    let all = [
        get("/connectors/{name}/dead_letters", list)
            .says("Dead letters that wait", "At most a thousand, oldest first.")
            .role(Role::Read)
            .parameter("after", "Only letters with a higher number", number)
            .parameter("all", "Also what was replayed or dropped lately", flag)
            .answers::<Value>(200, "Letters, without their rows"),
        get("/connectors/{name}/dead_letters/{id}", show)
            .says("A dead letter in full", "")
            .role(Role::Read)
            .answers::<Value>(200, "The letter"),
        post("/connectors/{name}/dead_letters/{id}/replay", replay)
            .says("Sends a dead letter once more", "")
            .role(Role::Operate)
            .answers::<Value>(200, "How it stands now")
            .refuses(
                409,
                "It was replayed or dropped before, or one before it waits and order is kept",
            ),
        delete("/connectors/{name}/dead_letters/{id}", give_up)
            .says("Gives a dead letter up", "Its event is gone then.")
            .role(Role::Admin)
            .confirmed()
            .answers::<Value>(200, "How it stands now"),
    ];
    let all = all.into_iter().map(|operation| {
        operation
            .tag("Dead letters")
            .refuses(404, "There is no such connector or letter")
            .refuses(503, "The state cannot be read or written now")
    });
    all.collect()
}

async fn list(State(shown): State<Shown>, Path(name): Path<String>, Query(page): Query<Page>) -> Answer {
    let desk = desk(&shown, &name).map_err(|error| failed(&error))?;
    said(desk.list(page.after, page.all).await)
}

async fn show(State(shown): State<Shown>, Path((name, id)): Path<(String, u64)>) -> Answer {
    let desk = desk(&shown, &name).map_err(|error| failed(&error))?;
    said(desk.show(id).await)
}

async fn replay(
    State(shown): State<Shown>,
    Path((name, id)): Path<(String, u64)>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let desk = desk(&shown, &name).map_err(|error| failed(&error))?;
    let replayed = said(desk.replay(id).await)?;
    let detail = format!("dead letter {id} was sent once more");
    let journal = shown.supervisor.journal();
    journal.write(Some(&name), &caller.name, "replayed", &detail);
    Ok(replayed)
}

async fn give_up(
    State(shown): State<Shown>,
    Path((name, id)): Path<(String, u64)>,
    Query(confirmed): Query<Confirmed>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let desk = desk(&shown, &name).map_err(|error| failed(&error))?;
    let lost = desk.in_words(id).await.map_err(|error| failed(&error))?;
    let what = format!("{} drops dead letter {id} of {name}", caller.name);
    shown.confirmations.check(&what, &confirmed, vec![lost.clone()])?;
    let dropped = said(desk.give_up(id).await)?;
    let journal = shown.supervisor.journal();
    journal.write_now(Some(&name), &caller.name, "dropped", &lost).await;
    Ok(dropped)
}

fn desk(shown: &Shown, name: &str) -> Result<LetterDesk> {
    let member = shown.supervisor.member(name)?;
    let reason = || format!("connector `{name}` cannot be understood; its configuration comes first");
    member
        .letters
        .clone()
        .ok_or_else(|| Error::definite("config_invalid", reason()))
}

fn said(result: Result<String>) -> Answer {
    result.map(json_text).map_err(|error| failed(&error))
}
