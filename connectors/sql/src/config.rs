//! How tables are polled: which columns say what is new, and how often they are asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// A clock column often counts whole seconds (SQLite's `CURRENT_TIMESTAMP`, MySQL's `DATETIME`), so that a row may change
/// again in the second it names; the other second is for transactions that commit a little after they took the time.
pub const DELAY_MS: u64 = 2_000;
/// One index probe per table and second is nothing to the database, and a second is soon enough for people.
pub const POLL_INTERVAL_MS: u64 = 1_000;
/// Large enough that a round trip per page vanishes, small enough that a page is read in milliseconds: while it is
/// read, a database without multi-version reads may keep a writer waiting.
pub const BATCH_ROWS: u32 = 1_000;

/// What says that a row is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryMode {
    /// A number that only grows: sees inserted rows, never updates.
    Incrementing,
    /// The time of the last change, and a unique column for rows of the same time: sees inserted and updated rows.
    TimestampIncrementing,
}

/// How tables are polled.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryConfig {
    /// What says that a row is new. There is no default, because it decides which changes are seen at all.
    pub mode: QueryMode,

    /// The column that identifies a row: in `incrementing` a whole number that only grows, else any unique column. By default
    /// the table's primary key, where that is one column.
    #[serde(default)]
    pub id_column: Option<String>,

    /// The column with the time of the row's last change, set by every insert and update; `timestamp_incrementing` needs it.
    #[serde(default)]
    pub timestamp_column: Option<String>,

    /// How old a timestamp must be before its row is taken, for transactions that commit after they took the time. Rows that
    /// commit later than this after their timestamp are not seen.
    #[serde(default = "delay_ms")]
    pub delay_ms: u64,

    /// How long to wait before a table is asked again that had nothing more to say.
    #[serde(default = "poll_interval_ms")]
    pub poll_interval_ms: u64,

    /// At most so many rows per query.
    #[serde(default = "batch_rows")]
    pub batch_rows: u32,

    /// What is different for single tables, by table name.
    #[serde(default)]
    pub overrides: BTreeMap<String, TableQueryConfig>,
}

/// What is different for one table; what is left out is as for the others.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableQueryConfig {
    /// What says that a row is new.
    #[serde(default)]
    pub mode: Option<QueryMode>,

    /// The column that identifies a row.
    #[serde(default)]
    pub id_column: Option<String>,

    /// The column with the time of the row's last change.
    #[serde(default)]
    pub timestamp_column: Option<String>,
}

fn delay_ms() -> u64 {
    DELAY_MS
}

fn poll_interval_ms() -> u64 {
    POLL_INTERVAL_MS
}

fn batch_rows() -> u32 {
    BATCH_ROWS
}

// === impl QueryConfig ===

impl QueryConfig {
    /// A mode with the defaults of everything else.
    pub fn new(mode: QueryMode) -> Self {
        Self {
            mode,
            id_column: None,
            timestamp_column: None,
            delay_ms: DELAY_MS,
            poll_interval_ms: POLL_INTERVAL_MS,
            batch_rows: BATCH_ROWS,
            overrides: BTreeMap::new(),
        }
    }

    /// The mode of one table.
    pub fn mode_of(&self, table: &str) -> QueryMode {
        self.overrides.get(table).and_then(|own| own.mode).unwrap_or(self.mode)
    }

    /// The id column that is named for one table.
    pub fn id_column_of(&self, table: &str) -> Option<&str> {
        let own = self.overrides.get(table).and_then(|own| own.id_column.as_deref());
        own.or(self.id_column.as_deref())
    }

    /// The timestamp column that is named for one table.
    pub fn timestamp_column_of(&self, table: &str) -> Option<&str> {
        let own = self
            .overrides
            .get(table)
            .and_then(|own| own.timestamp_column.as_deref());
        own.or(self.timestamp_column.as_deref())
    }
}
