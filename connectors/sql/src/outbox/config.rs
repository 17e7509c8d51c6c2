//! How the rows of outbox tables are read as events.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::setting::LocalFile;

/// Debezium's event router sends each aggregate's events to such a topic.
pub(super) const TOPIC: &str = "outbox.event.{aggregatetype}";
/// Columns as Debezium's event router names them.
const ID: &str = "id";
const AGGREGATE_TYPE: &str = "aggregatetype";
const AGGREGATE_ID: &str = "aggregateid";
const EVENT_TYPE: &str = "type";
const PAYLOAD: &str = "payload";
const TRACING: &str = "tracingspancontext";
/// Columns that Debezium has no name for; `tailrace outbox install` makes them so.
const HEADERS: &str = "headers";
const TIMESTAMP: &str = "created_at";

/// Rows of these tables are events already: what is published is what they say, and not that they were inserted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxConfig {
    /// Patterns of the connector's tables that are outboxes; the others are captured as ever. Default: all of them.
    #[serde(default)]
    pub tables: Vec<String>,

    /// PostgreSQL: messages with this prefix (`pg_logical_emit_message`) are events too, without any table. Their content is
    /// a JSON object with the fields that the table has as columns. The source's `message_prefixes` must include it.
    #[serde(default)]
    pub message_prefix: Option<String>,

    /// The events' topic: `{column}` is replaced by the row's value of that column, `{prefix}` by the connector's prefix.
    /// Default: `outbox.event.{aggregatetype}`.
    #[serde(default = "topic")]
    pub topic: String,

    /// What the columns are called.
    #[serde(default)]
    pub columns: OutboxColumns,

    /// More columns that become headers.
    #[serde(default)]
    pub headers: Vec<HeaderColumn>,

    /// Where the events' value comes from.
    #[serde(default)]
    pub payload: PayloadSource,

    /// What the payload column must hold. A column that the database knows as JSON is always checked.
    #[serde(default)]
    pub payload_format: PayloadFormat,

    /// A file with the contract that payloads must meet: JSON Schema, as far as `tailrace outbox install --contract` reads it.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub contract: Option<PathBuf>,

    /// The types of events that there may be; a row of another is a bad row. Default: any.
    #[serde(default)]
    pub types: Vec<String>,

    /// A row without payload becomes a tombstone, which deletes its key in a compacted topic. By default its event has a
    /// value of no bytes.
    #[serde(default)]
    pub tombstone_on_empty_payload: bool,

    /// What an update of a row is. Rows of an outbox are inserted and deleted; a published event does not change.
    #[serde(default)]
    pub updates: UpdatePolicy,

    /// A row that is no event (without id, key or type, or whose payload is not what it should be) stays in the table, and so
    /// do all later rows of its aggregate, until it is mended or deleted; others flow. Only with `query: { mode: queue }`.
    /// Otherwise `dead_letters` says what becomes of it.
    #[serde(default)]
    pub hold_bad_rows: bool,

    /// The application deletes each row in the transaction that inserts it. Only a log has such rows: a polled source is refused.
    #[serde(default)]
    pub deleted_by_application: bool,
}

/// What the columns of an outbox are called. Columns with a default that is not there are not used, except for the first five.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxColumns {
    /// The event's id: headers `id` and `event_id`. Default: `id`.
    #[serde(default = "id")]
    pub id: String,

    /// What the event is about, of the kind of thing: `Order`. The default topic ends in it. Default: `aggregatetype`.
    #[serde(default = "aggregate_type")]
    pub aggregate_type: String,

    /// Which one: the record's key, as text. Default: `aggregateid`.
    #[serde(default = "aggregate_id")]
    pub aggregate_id: String,

    /// What happened: `OrderCreated`; the header `type`. Default: `type`.
    #[serde(default = "event_type", rename = "type")]
    pub event_type: String,

    /// The event itself: the record's value, byte for byte. Default: `payload`.
    #[serde(default = "payload")]
    pub payload: String,

    /// A JSON object of headers. Default: `headers`, where there is such a column.
    #[serde(default)]
    pub headers: Option<String>,

    /// When it happened: the record's time and the header `updated_at`. Default: `created_at`, where there is such a column;
    /// else the time of the commit.
    #[serde(default)]
    pub timestamp: Option<String>,

    /// The trace that the event belongs to: a `traceparent` of the W3C, or fields of it as JSON or as Java's properties, which
    /// Debezium's users have. Each field becomes a header: `traceparent`, `tracestate`. Default: `tracingspancontext`, where there is such
    /// a column.
    #[serde(default)]
    pub tracing: Option<String>,
}

/// A column that becomes a header.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderColumn {
    /// The column. Rows where it is NULL do not have the header.
    pub column: String,

    /// The header's name. Default: the column's.
    #[serde(default)]
    pub name: Option<String>,
}

/// Where the value of an event comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayloadSource {
    /// The payload column, byte for byte.
    #[default]
    Column,
    /// All columns that have no other purpose, as a JSON object.
    Columns,
}

/// What the payload column holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayloadFormat {
    /// Bytes that only the application knows.
    #[default]
    AsIs,
    /// JSON.
    Json,
}

/// What an update of a row of an outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePolicy {
    /// Nothing, and `/status` says that there was one.
    #[default]
    Warn,
    /// Nothing: the application marks rows.
    Ignore,
    /// A mistake: the connector halts.
    Halt,
}

fn topic() -> String {
    TOPIC.to_owned()
}

fn id() -> String {
    ID.to_owned()
}

fn aggregate_type() -> String {
    AGGREGATE_TYPE.to_owned()
}

fn aggregate_id() -> String {
    AGGREGATE_ID.to_owned()
}

fn event_type() -> String {
    EVENT_TYPE.to_owned()
}

fn payload() -> String {
    PAYLOAD.to_owned()
}

// === impl OutboxColumns ===

impl Default for OutboxColumns {
    fn default() -> Self {
        Self {
            id: id(),
            aggregate_type: aggregate_type(),
            aggregate_id: aggregate_id(),
            event_type: event_type(),
            payload: payload(),
            headers: None,
            timestamp: None,
            tracing: None,
        }
    }
}

impl OutboxColumns {
    /// The column of headers, and whether it must be there.
    pub(super) fn headers(&self) -> (&str, bool) {
        optional(self.headers.as_deref(), HEADERS)
    }

    /// The column of times, and whether it must be there.
    pub(super) fn timestamp(&self) -> (&str, bool) {
        optional(self.timestamp.as_deref(), TIMESTAMP)
    }

    /// The column of spans, and whether it must be there.
    pub(super) fn tracing(&self) -> (&str, bool) {
        optional(self.tracing.as_deref(), TRACING)
    }
}

fn optional<'a>(named: Option<&'a str>, default: &'a str) -> (&'a str, bool) {
    (named.unwrap_or(default), named.is_some())
}

// === impl HeaderColumn ===

impl HeaderColumn {
    /// The header's name.
    pub fn header(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.column)
    }
}
