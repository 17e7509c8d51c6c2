//! What is known of the tables and topics of a connector.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::registry::SchemaId;

/// How far one table of a snapshot is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableProgress {
    /// Rows handed out so far.
    pub rows_done: u64,
    /// Rows that the database's statistics promise; `None` where it has none.
    pub rows_estimated: Option<u64>,
    /// The last row was handed out.
    pub finished: bool,
}

/// A topic that a connector publishes to, as its readers should know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PublishedTopic {
    /// The table that its events come from.
    pub table: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What makes an event happen, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// What an event is, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Words about the topic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Words about its columns.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub column_tags: BTreeMap<String, Vec<String>>,
    /// Number of the schema of its newest keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_schema: Option<SchemaId>,
    /// Number of the schema of its newest values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_schema: Option<SchemaId>,
    /// Columns of the table that its events do not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The topic that events go to now, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}

/// Whether rows of a polled table can be skipped that commit late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableGapSafety {
    /// `proven`, `delay_window` or `none`.
    pub gap_safety: &'static str,
    /// Why, in a sentence.
    pub reason: String,
}

/// The delay that polled rows wait for, beside what it is to cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DelayWindow {
    /// How old a row's timestamp must be before it is taken, milliseconds.
    pub delay_ms: i64,
    /// For how long the oldest transaction was open when last looked, milliseconds; `None` where the database does not tell.
    pub longest_transaction_ms: Option<i64>,
}

/// How far a sink is in one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PartitionProgress {
    /// The first offset that is not written.
    pub next_offset: i64,
    /// The offset that the next record of the stream will have; `None` where that is not known yet.
    pub end_offset: Option<i64>,
    /// Records between the two.
    pub lag_records: Option<i64>,
}
