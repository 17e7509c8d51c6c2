//! Dead letters: events that cannot be carried, set aside durably so that the others go on.
//!
//! ```text
//!   refused ─▶ waiting ──ask──▶ replay_requested ──durable in the stream──▶ replayed
//!                 │  ▲                  │
//!                 │  └── refused again ─┘
//!                 └──────────────────── drop ─────────────────────────────▶ dropped
//! ```
//!
//! Invariants: a letter is durable before progress moves behind its event; a letter that waits leaves the store only when its
//! event is durable in the stream, or when a person drops it; every step is durable before the next begins, so that a crash
//! repeats at most the last one.
//!
//! Both directions use the same parts: what is set aside is a change on its way to a stream, or a record on its way to a
//! database ([`Original`]).

mod config;
mod desk;
mod document;
mod image;

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch::{BeforeImage, ChangeView, Operation, Refusal, RowView};
use crate::error::Result;
use crate::event::{header, time_of};
use crate::record_batch::RecordView;
use crate::schema::TableSchema;
use crate::value::Value;
pub use config::{DEFAULT_TOPIC, DeadLetterConfig, LetterOrder, LetterPolicy};
pub use desk::Desk;
pub use document::Document;
pub(crate) use document::{bytes_text, row_text};
pub use image::{ChangeImage, RecordImage};

/// The code of an event that could be encoded, and waits because an earlier one of its key does.
pub const BEHIND: &str = "behind_dead_letter";
/// The code of a connector that may set nothing more aside.
pub const FULL: &str = "dead_letters_full";
/// Between the table and the key in a letter's keys; no name of a table holds it.
const SEPARATOR: char = '\u{0}';

/// How a letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterState {
    /// It waits for a person.
    Waiting,
    /// A person wants it to go out again.
    ReplayRequested,
    /// Its event is durable in the stream.
    Replayed,
    /// A person gave it up.
    Dropped,
}

/// What was set aside, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Original {
    /// A change of a database.
    Change(Box<ChangeImage>),
    /// A record of a stream.
    Record(RecordImage),
}

/// An event that cannot be carried, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// Tells it from every other letter of its connector, and is the same when the source sends the event again.
    pub identity: String,
    /// As the event's header `event_id` would be.
    pub event_id: String,
    /// The table, or the topic of a record.
    pub table: String,
    /// As the event's header `op` would be.
    pub operation: String,
    /// The key as JSON; `None` where there is none.
    pub key: Option<String>,
    /// As the event's header `position` would be.
    pub position: String,
    /// When the row was last updated, microseconds since 1970, UTC.
    pub updated_at_us: i64,
    /// What later events of must wait, where order is kept: see [`keys_of`].
    pub keys: Vec<String>,
    /// Why: stable name.
    pub code: String,
    /// Why: a sentence with the remedy.
    pub reason: String,
    /// When it was set aside, microseconds since 1970, UTC.
    pub quarantined_at_us: i64,
    /// `None` once it was replayed or dropped.
    pub original: Option<Original>,
}

/// A letter as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLetter {
    /// Number within its connector, in the order in which letters were set aside; never given twice.
    pub id: u64,
    /// How it stands.
    pub state: LetterState,
    /// How often its event was tried.
    pub attempts: u32,
    /// The letter.
    pub letter: Letter,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maximum {
    /// Letters.
    pub letters: u64,
    /// Bytes of them, as stored.
    pub bytes: u64,
}

/// A letter that waits, or was asked for, and what must wait behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The letter.
    pub id: u64,
    /// [`LetterState::Waiting`] or [`LetterState::ReplayRequested`].
    pub state: LetterState,
    /// As [`Letter::keys`].
    pub keys: Vec<String>,
}

/// What became of a letter that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Its event is durable in the stream.
    Replayed,
    /// It cannot be carried this time either.
    Refused {
        /// Why: stable name.
        code: String,
        /// Why: a sentence.
        reason: String,
    },
    /// It waits again, because one before it does.
    Behind,
}

/// What is told of a connector's letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LetterSummary {
    /// Letters that wait or were asked for.
    pub waiting: u64,
    /// When the oldest of them was set aside, microseconds since 1970; `None` where none waits.
    pub oldest_us: Option<i64>,
    /// Why the newest of them was: stable name.
    pub newest_code: Option<String>,
    /// Why the newest of them was: a sentence.
    pub newest_reason: Option<String>,
}

/// Dead letters of one connector, bound to its epoch.
#[async_trait]
pub trait DeadLetterStore: Send + Sync {
    /// Sets letters aside, all or none; durable on return. One that is known by its identity is not added again, but waits
    /// again where it was replayed: its event comes once more, and must not be passed over. How each stands now.
    ///
    /// # Errors
    /// Definite [`FULL`] where more would wait than may; then nothing is added.
    async fn quarantine(&self, letters: &[Letter], maximum: Maximum) -> Result<Vec<LetterState>>;

    /// Of these identities the ones whose letters were dropped.
    async fn dropped(&self, identities: &[String]) -> Result<Vec<String>>;

    /// Everything that waits or was asked for, oldest first.
    async fn waiting(&self) -> Result<Vec<Waiting>>;

    /// Letters that were asked for, oldest first, at most so many.
    async fn requested(&self, limit: usize) -> Result<Vec<StoredLetter>>;

    /// Writes down what became of letters that were asked for; durable on return.
    async fn settle(&self, settlements: &[(u64, Settlement)]) -> Result<()>;

    /// What is told of them.
    async fn summary(&self) -> Result<LetterSummary>;
}

// === impl LetterState ===

impl LetterState {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::ReplayRequested => "replay_requested",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }

    /// The inverse of [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Waiting, Self::ReplayRequested, Self::Replayed, Self::Dropped];
        all.into_iter().find(|state| state.name() == name)
    }

    /// Its event is in nothing but the letter.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::ReplayRequested)
    }
}

// === impl Letter ===

impl Letter {
    /// A change that is set aside now, `now_us` microseconds since 1970.
    pub fn of_change(change: ChangeView<'_>, refusal: &Refusal, now_us: i64) -> Self {
        let image = ChangeImage::of(change);
        let place = image.place();
        let message = change.message();
        let named = message.and_then(|message| message.event_id());
        let event_id = named.map(|id| String::from_utf8_lossy(id).into_owned());
        Self {
            identity: format!("{place}#{}", image.fingerprint()),
            event_id: event_id.unwrap_or(place),
            table: table_of(change),
            operation: change.operation().code().to_owned(),
            key: key_of(change),
            position: image.position().to_owned(),
            updated_at_us: change.updated_at_us(),
            keys: keys_of(change),
            code: refusal.code.to_owned(),
            reason: refusal.reason.clone(),
            quarantined_at_us: now_us,
            original: Some(Original::Change(Box::new(image))),
        }
    }
}

impl Letter {
    /// A record that is set aside now, `now_us` microseconds since 1970.
    pub fn of_record(record: RecordView<'_>, refusal: &Refusal, now_us: i64) -> Self {
        let place = format!("{}@{}", record.partition(), record.offset());
        let text = |name| record.header(name).map(str::to_owned);
        let updated_at_us = record.header(header::UPDATED_AT).and_then(time_of);
        Self {
            identity: format!("{place}#{:016x}", record.mark().0),
            event_id: text(header::EVENT_ID).unwrap_or_else(|| place.clone()),
            table: record.partition().topic.to_string(),
            operation: text(header::OPERATION).unwrap_or_default(),
            key: record.key().map(document::bytes_text),
            position: place,
            updated_at_us: updated_at_us.unwrap_or_else(|| record.timestamp_ms().saturating_mul(1000)),
            keys: Self::keys_of_record(record),
            code: refusal.code.to_owned(),
            reason: refusal.reason.clone(),
            quarantined_at_us: now_us,
            original: Some(Original::Record(RecordImage::of(record))),
        }
    }

    /// What of later records must wait where this one does; nothing for a record without a key.
    pub fn keys_of_record(record: RecordView<'_>) -> Vec<String> {
        let topic = &record.partition().topic;
        let key = record
            .key()
            .map(|key| format!("{topic}{SEPARATOR}{}", document::bytes_text(key)));
        key.into_iter().collect()
    }
}

impl Refusal {
    /// The reason of a record that waits behind another.
    pub fn behind_record(record: RecordView<'_>) -> Self {
        Self {
            code: BEHIND,
            reason: format!(
                "an earlier event of {} with this key waits as a dead letter, and `dead_letters.order` is `key`; replay or drop that \
                 one, then this",
                record.partition().topic
            ),
        }
    }

    /// The reason of an event that waits behind another.
    pub fn behind(change: ChangeView<'_>) -> Self {
        Self {
            code: BEHIND,
            reason: format!(
                "an earlier event of {} with this key waits as a dead letter, and `dead_letters.order` is `key`; replay or drop that \
                 one, then this",
                table_of(change)
            ),
        }
    }
}

fn table_of(change: ChangeView<'_>) -> String {
    change.table().map(|table| table.name.qualified()).unwrap_or_default()
}

/// The key of the row as it is after the change, else before it.
fn key_of(change: ChangeView<'_>) -> Option<String> {
    if let Some(message) = change.message() {
        return message.key().map(document::bytes_text);
    }
    let table = change.table()?;
    let after = change.after().and_then(|row| key_text(table, row));
    after.or_else(|| key_before(change, table))
}

fn key_before(change: ChangeView<'_>, table: &TableSchema) -> Option<String> {
    let known = change.change().before_image != BeforeImage::None;
    change.before().filter(|_| known).and_then(|row| key_text(table, row))
}

/// What of later events must wait where this one does: its key, before and after; for a truncate the whole table. Nothing
/// for rows without a key, which have no order among them.
pub fn keys_of(change: ChangeView<'_>) -> Vec<String> {
    let table = table_of(change);
    if change.operation() == Operation::Truncate {
        return vec![table];
    }
    let in_table = |key: String| format!("{table}{SEPARATOR}{key}");
    if change.message().is_some() {
        return key_of(change).map(in_table).into_iter().collect();
    }
    let Some(schema) = change.table() else {
        return Vec::new();
    };
    let after = change.after().and_then(|row| key_text(schema, row));
    let before = key_before(change, schema).filter(|before| Some(before) != after.as_ref());
    before.into_iter().chain(after).map(in_table).collect()
}

/// True where a change must wait for one of these keys.
pub fn must_wait(change: ChangeView<'_>, blocked: &BTreeSet<String>) -> bool {
    !blocked.is_empty() && (blocked.contains(&table_of(change)) || keys_wait(&keys_of(change), blocked))
}

/// True where one of the keys, or its whole table, is among these; a whole table also waits for each of its keys.
pub fn keys_wait(keys: &[String], blocked: &BTreeSet<String>) -> bool {
    keys.iter().any(|key| {
        let Some((table, _)) = key.split_once(SEPARATOR) else {
            let start = format!("{key}{SEPARATOR}");
            let first = blocked.range(start.clone()..).next();
            return blocked.contains(key) || first.is_some_and(|first| first.starts_with(&start));
        };
        blocked.contains(key) || blocked.contains(table)
    })
}

/// The key columns of a row as a JSON object, in the key's order; `None` where the row does not have all of them.
fn key_text(table: &TableSchema, row: RowView<'_>) -> Option<String> {
    if table.key.is_empty() {
        return None;
    }
    let known = |index: &&usize| !matches!(row.get(**index), Value::Null | Value::Unchanged);
    if table.key.iter().filter(known).count() < table.key.len() {
        return None;
    }
    Some(document::row_text(table, row, &table.key))
}

/// The first half of a SHA-256, in hexadecimal.
fn fingerprint(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter()
        .take(16)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
