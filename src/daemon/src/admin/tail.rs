//! `/connectors/{name}/tail`: single changes on their way, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tailrace_core::telemetry::{TailedChange, TailedRecord};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Shown;
use super::answer::{Answer, failed, refuse};
use super::asked::{Path, Query};
use super::config::Role;
use super::operation::{Operation, get};
use super::server::Lasting;

/// A comment now and then, so that whoever went away is noticed, and proxies keep the connection.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections that last, of those that there may be; the others are for those who ask shortly.
const TAILS_MAXIMUM: usize = 16;

static TAILS: AtomicUsize = AtomicUsize::new(0);

/// What may stand behind the question mark.
#[derive(Deserialize)]
struct Wanted {
    limit: Option<u64>,
}

/// A change as it is sent.
#[derive(Serialize)]
struct Shape<'a> {
    at_us: i64,
    table: &'a str,
    op: &'a str,
    committed_at_us: Option<i64>,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
    records: Vec<RecordShape<'a>>,
    skipped: u64,
}

/// A record: what a reader of JSON would see of it, and its bytes.
#[derive(Serialize)]
struct RecordShape<'a> {
    topic: &'a str,
    /// Null where the bytes are not JSON.
    key: Option<Value>,
    value: Option<Value>,
    key_base64: Option<String>,
    value_base64: Option<String>,
    headers: &'a [(String, String)],
    size_bytes: usize,
}

/// Somebody who looks; one less when this is dropped.
struct Looking;

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/connectors/{name}/tail", tail)
            .says(
                "Single changes on their way",
                "Server-sent events: `change` with the rows before and after, the records and their bytes, and how many were skipped since \
                 the one before; `gap` where the reader was too slow. At most fifty a second; it ends after some minutes.",
            )
            .tag("State")
            .role(Role::Read)
            .parameter("limit", "Ends after so many", json!({ "type": "integer", "minimum": 1 }))
            .answers_text(200, "Changes, for as long as somebody reads", "text/event-stream")
            .refuses(404, "There is no such connector")
            .refuses(429, "Too many look already"),
    ]
}

async fn tail(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    Extension(lasting): Extension<Lasting>,
) -> Answer {
    let member = shown.supervisor.member(&name).map_err(|error| failed(&error))?;
    let looking = Looking::begin().ok_or_else(|| refuse(429, "too_many_tails", "too many look already; close one"))?;
    lasting.set();
    let changes = member.telemetry.tail.watch();
    let left = wanted.limit.unwrap_or(u64::MAX);
    let events = stream::unfold((changes, left, looking), |(mut changes, left, looking)| async move {
        if left == 0 {
            return None;
        }
        let (text, shown) = next(&mut changes).await?;
        let left = left.saturating_sub(u64::from(shown));
        Some((Ok::<_, Infallible>(Bytes::from(text)), (changes, left, looking)))
    });
    // A reader sees at once that it is connected.
    let begin = stream::iter([Ok(Bytes::from_static(b": connected\n\n"))]);
    let body = Body::from_stream(stream::StreamExt::chain(begin, events));
    Ok(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// The next event as text, and whether it is a change; `None` where the connector is gone.
async fn next(changes: &mut Receiver<Arc<TailedChange>>) -> Option<(String, bool)> {
    match tokio::time::timeout(SILENCE, changes.recv()).await {
        Err(_) => Some((": nothing yet\n\n".to_owned(), false)),
        Ok(Ok(change)) => Some((format!("event: change\ndata: {}\n\n", in_json(&change)), true)),
        Ok(Err(RecvError::Lagged(missed))) => Some((format!("event: gap\ndata: {{\"missed\":{missed}}}\n\n"), false)),
        Ok(Err(RecvError::Closed)) => None,
    }
}

fn in_json(change: &TailedChange) -> String {
    let row = |row: &Option<String>| row.clone().and_then(|row| RawValue::from_string(row).ok());
    let shape = Shape {
        at_us: change.at_us,
        table: &change.table,
        op: &change.op,
        committed_at_us: change.committed_at_us,
        before: row(&change.before),
        after: row(&change.after),
        records: change.records.iter().map(RecordShape::of).collect(),
        skipped: change.skipped,
    };
    // Everything in it is JSON.
    serde_json::to_string(&shape).unwrap_or_default()
}

// === impl RecordShape ===

impl<'a> RecordShape<'a> {
    fn of(record: &'a TailedRecord) -> Self {
        let read = |bytes: &Option<Vec<u8>>| serde_json::from_slice(bytes.as_deref()?).ok();
        let base64 = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
        Self {
            topic: &record.topic,
            key: read(&record.key),
            value: read(&record.value),
            key_base64: base64(&record.key),
            value_base64: base64(&record.value),
            headers: &record.headers,
            size_bytes: record.size_bytes,
        }
    }
}

// === impl Looking ===

impl Looking {
    fn begin() -> Option<Self> {
        let looking = Self;
        (TAILS.fetch_add(1, Ordering::Relaxed) < TAILS_MAXIMUM).then_some(looking)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        TAILS.fetch_sub(1, Ordering::Relaxed);
    }
}
