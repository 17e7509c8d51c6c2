//! `/connectors/{name}/offsets`: how far a connector is, and, while it is stopped, how far it is to be.
//!
//! Kafka Connect takes any offset of a source on trust. Here the database is asked first whether it can go on from there; and because
//! changes may be skipped or sent again by it, what is changed takes two steps.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tailrace_core::Error;
use tailrace_core::error::Kind;

use super::TAG;
use super::connectors::find;
use crate::admin::Shown;
use crate::admin::access::Caller;
use crate::admin::answer::{Answer, Refused, failed, json as answer, refuse};
use crate::admin::asked::{Path, Query};
use crate::admin::config::Role;
use crate::admin::confirm::Confirmed;
use crate::admin::operation::{Operation, delete, get, patch};
use crate::supervisor::offsets::{Move, Place};
use crate::supervisor::source_offset::SourceOffset;

/// How far a connector is.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Offsets {
    offsets: Vec<PartitionOffset>,
}

/// How far one part of it is.
#[derive(Serialize, Deserialize, JsonSchema)]
struct PartitionOffset {
    /// Of a source `{"connector": …}`; of a sink `{"kafka_topic": …, "kafka_partition": …}`.
    partition: Value,
    /// Of a source `{"position": …}`; of a sink `{"kafka_offset": …}`. Null, or nothing, takes it away.
    #[serde(default)]
    offset: Value,
}

/// What was done.
#[derive(Serialize, JsonSchema)]
struct Done {
    message: String,
}

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let stopped = "The connector is not stopped, or the offsets are not right";
    let all = [
        get("/connectors/{name}/offsets", show)
            .says(
                "How far a connector is",
                "Of a source the last checkpoint, of a sink what its target says.",
            )
            .role(Role::Read)
            .answers::<Offsets>(200, "Its offsets"),
        patch("/connectors/{name}/offsets", change)
            .says(
                "Lets a stopped connector go on from elsewhere",
                "The source is asked whether it can; the first answer says what would be skipped or sent again.",
            )
            .role(Role::Admin)
            .takes::<Offsets>("Where it is to go on")
            .confirmed()
            .answers::<Done>(200, "Changed")
            .refuses(400, stopped),
        delete("/connectors/{name}/offsets", reset)
            .says(
                "Lets a stopped connector begin as if it had never run",
                "The first answer says what would be lost.",
            )
            .role(Role::Admin)
            .confirmed()
            .answers::<Done>(200, "Forgotten")
            .refuses(400, stopped),
    ];
    let all = all.into_iter().map(|operation| {
        operation.tag(TAG).refuses(404, "There is no such connector").refuses(
            503,
            "The database or the state cannot be asked now, or two others ask databases",
        )
    });
    all.collect()
}

async fn show(State(shown): State<Shown>, Path(name): Path<String>) -> Answer {
    find(&shown, &name)?;
    let (supervisor, asked) = (Arc::clone(&shown.supervisor), name.clone());
    let places = shown.turns.ask(async move { supervisor.places(&asked).await }).await?;
    let places = places.map_err(|error| failed(&error))?;
    let offsets = places.iter().map(|place| PartitionOffset::of(&name, place)).collect();
    Ok(answer(StatusCode::OK, &Offsets { offsets }))
}

async fn change(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Query(confirmed): Query<Confirmed>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer {
    find(&shown, &name)?;
    let sent: Offsets = serde_json::from_slice(&bytes).map_err(|error| {
        refuse(
            400,
            "request_invalid",
            format!("the body is not the JSON that is expected: {error}"),
        )
    })?;
    let moves = sent
        .offsets
        .iter()
        .map(|sent| sent.read(&name))
        .collect::<Result<Vec<_>, _>>()?;
    if moves.is_empty() {
        return Err(refuse(
            400,
            "request_invalid",
            "Partitions / offsets need to be provided for an alter offsets request",
        ));
    }
    let (supervisor, asked, weighed) = (Arc::clone(&shown.supervisor), name.clone(), moves.clone());
    let effects = shown
        .turns
        .ask(async move { supervisor.weigh(&asked, &weighed).await })
        .await?;
    let effects = effects.map_err(|error| not_right(&error))?;
    let what = format!("{} moves {name} to {}", caller.name, String::from_utf8_lossy(&bytes));
    if !effects.is_empty() {
        shown.confirmations.check(&what, &confirmed, effects)?;
    }
    let moved = shown.supervisor.move_to(&name, moves, &caller.name).await;
    moved.map_err(|error| not_right(&error))?;
    done("The offsets for this connector have been altered successfully")
}

async fn reset(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Query(confirmed): Query<Confirmed>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    find(&shown, &name)?;
    let (supervisor, asked) = (Arc::clone(&shown.supervisor), name.clone());
    let lost = shown
        .turns
        .ask(async move { supervisor.weigh_reset(&asked).await })
        .await?;
    let lost = lost.map_err(|error| not_right(&error))?;
    let what = format!("{} resets {name}", caller.name);
    shown.confirmations.check(&what, &confirmed, lost)?;
    let reset = shown.supervisor.reset(&name, &caller.name).await;
    reset.map_err(|error| not_right(&error))?;
    done("The offsets for this connector have been reset successfully")
}

fn done(message: &str) -> Answer {
    let message = message.to_owned();
    Ok(answer(StatusCode::OK, &Done { message }))
}

/// What a person can put right is their request's fault.
fn not_right(error: &Error) -> Refused {
    match error.kind() {
        Kind::Definite => refuse(400, error.code(), error.report()),
        Kind::Transient | Kind::Poison | Kind::Fenced => failed(error),
    }
}

// === impl PartitionOffset ===

impl PartitionOffset {
    fn of(connector: &str, place: &Place) -> Self {
        match place {
            Place::Source(offset) => Self {
                partition: json!({ "connector": connector }),
                offset: json!(offset),
            },
            Place::Sink(partition, next_offset) => Self {
                partition: json!({ "kafka_topic": &*partition.topic, "kafka_partition": partition.partition }),
                offset: next_offset.map_or(Value::Null, |next| json!({ "kafka_offset": next })),
            },
        }
    }

    /// Where it is to go on.
    fn read(&self, connector: &str) -> Result<Move, Refused> {
        let not_right = |sentence: &str| refuse(400, "request_invalid", sentence);
        let partition = self
            .partition
            .as_object()
            .ok_or_else(|| not_right("a partition is a JSON object"))?;
        let text = |key: &str| partition.get(key).and_then(Value::as_str);
        if let Some(topic) = text("kafka_topic") {
            let number = partition.get("kafka_partition").and_then(|number| match number {
                Value::String(text) => text.parse().ok(),
                number => number.as_i64().and_then(|number| i32::try_from(number).ok()),
            });
            let number = number
                .filter(|number| *number >= 0)
                .ok_or_else(|| not_right("`kafka_partition` is a whole number from 0"))?;
            let next = match self.offset.get("kafka_offset") {
                None if self.offset.is_null() => None,
                Some(Value::String(text)) => Some(
                    text.parse()
                        .ok()
                        .filter(|offset| *offset >= 0)
                        .ok_or_else(|| not_right("`kafka_offset` is a whole number from 0"))?,
                ),
                offset => Some(
                    offset
                        .and_then(Value::as_i64)
                        .filter(|offset| *offset >= 0)
                        .ok_or_else(|| not_right("`kafka_offset` is a whole number from 0"))?,
                ),
            };
            return Ok(Move::Sink(
                tailrace_core::record_batch::TopicPartition::new(topic, number),
                next,
            ));
        }
        if text("connector").is_some_and(|named| named != connector) {
            return Err(not_right("the partition is of another connector"));
        }
        if self.offset.is_null() {
            return Ok(Move::Source(None));
        }
        let offset = SourceOffset::deserialize(&self.offset).map_err(|error| {
            let sentence =
                format!("the offset of a source has a `position`, as `GET …/offsets` shows it, or is null: {error}");
            refuse(400, "request_invalid", sentence)
        })?;
        Ok(Move::Source(Some(offset)))
    }
}
