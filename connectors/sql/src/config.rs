//! How tables are polled: which columns say what is new, and how often they are asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::setting::SqlText;

/// A clock column often counts whole seconds (SQLite's `CURRENT_TIMESTAMP`, MySQL's `DATETIME`), so that a row may change
/// again in the second it names; the other second is for transactions that commit a little after they took the time.
pub const DELAY_MS: u64 = 2_000;
/// One index probe per table and second is nothing to the database, and a second is soon enough for people.
pub const POLL_INTERVAL_MS: u64 = 1_000;
/// Large enough that a round trip per page vanishes, small enough that a page is read in milliseconds: while it is
/// read, a database without multi-version reads may keep a writer waiting.
pub const BATCH_ROWS: u32 = 1_000;
/// A page that takes longer than this has lost its index, and holds up what the database cleans away behind old readers.
pub const STATEMENT_TIMEOUT_MS: u64 = 60_000;

/// What says that a row is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryMode {
    /// Nothing: the whole result at every poll, or with `changes_only` the rows in it that are new, changed or gone.
    Bulk,
    /// A number that only grows: sees inserted rows, never updates.
    Incrementing,
    /// The time of the last change: sees inserted and updated rows. Rows of one time are read in one go, whatever their number.
    Timestamp,
    /// The time of the last change, and a unique column for rows of the same time: sees inserted and updated rows.
    TimestampIncrementing,
    /// Everything that is in the table; what is durable in the stream is acknowledged by deleting or marking the row.
    Queue,
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

    /// The column with the time of the row's last change, set by every insert and update; `timestamp` and
    /// `timestamp_incrementing` need it.
    #[serde(default)]
    pub timestamp_column: Option<String>,

    /// How old a timestamp must be before its row is taken, for transactions that commit after they took the time. Rows that
    /// commit later than this after their timestamp are not seen.
    #[serde(default = "delay_ms")]
    pub delay_ms: u64,

    /// How long to wait before a table is asked again that had nothing more to say.
    #[serde(default = "poll_interval_ms")]
    pub poll_interval_ms: u64,

    /// Up to so many per cent of the interval are added or left out by chance, so that many connectors do not ask one
    /// database at the same moment.
    #[serde(default)]
    pub jitter_percent: u8,

    /// At most so many rows per query.
    #[serde(default = "batch_rows")]
    pub batch_rows: u32,

    /// At most so many rows per second, of all tables of the connector together: a limit to the load on the database.
    #[serde(default)]
    pub maximum_rows_per_second: Option<u32>,

    /// A statement that takes longer than this is given up, milliseconds.
    #[serde(default = "statement_timeout_ms")]
    pub statement_timeout_ms: u64,

    /// In mode `bulk`: only rows that are new, changed or gone since the poll before.
    #[serde(default)]
    pub changes_only: bool,

    /// Rows that are deleted by marking them; they become delete events.
    #[serde(default)]
    pub deleted: Option<DeletedRows>,

    /// In mode `queue`: what is done to a row that is durable in the stream. By default it is deleted.
    #[serde(default)]
    pub acknowledge: Acknowledge,

    /// In mode `queue`: only one daemon of several reads the tables at a time.
    #[serde(default)]
    pub lease: Option<LeaseConfig>,

    /// Go on with `incrementing` where rows are sure to be skipped: ids that come from the application or from a cache in blocks.
    #[serde(default)]
    pub accept_gaps: bool,

    /// Queries whose answers are polled like tables, by the name that they are published under.
    #[serde(default)]
    pub queries: BTreeMap<String, CustomQuery>,

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

/// A query whose answer is polled like a table: joins, views, whatever the public shape of the data is. Its mode and columns
/// may be named under `overrides`, like a table's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomQuery {
    /// One `SELECT`, without a semicolon at its end. It is asked as `SELECT … FROM (<sql>) …`, so that it may have conditions and
    /// groups of its own.
    #[schemars(with = "SqlText")]
    pub sql: String,

    /// Columns that identify a row of the answer: the events' key.
    #[serde(default)]
    pub key: Vec<String>,
}

/// Rows that are deleted by marking them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeletedRows {
    /// The column that marks a row as deleted.
    pub column: String,

    /// The value that does, as text: `true`, `1`, `D`. By default any value that is not NULL (`deleted_at`).
    #[serde(default)]
    pub value: Option<String>,
}

/// What is done to a row of a queue that is durable in the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledge {
    /// It is deleted.
    #[default]
    Delete,
    /// This column, which is NULL in new rows, is set to the time.
    Mark(String),
}

/// Only one daemon of several reads a queue at a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// What is leased: daemons with the same name here take turns. By default the connector's name.
    #[serde(default)]
    pub name: Option<String>,

    /// The table of leases, as `tailrace outbox install` makes it. Without a schema it is in `public` on PostgreSQL.
    #[serde(default = "lease_table")]
    pub table: String,

    /// How long after its last renewal a lease ends, milliseconds: so long nothing is carried when its holder dies.
    #[serde(default = "lease_ms")]
    pub lease_ms: u64,
}

/// The table that `tailrace outbox install` makes.
const LEASE_TABLE: &str = "tailrace_lease";
/// Long enough for a pause of a garbage-collecting neighbour or a slow disk, short enough to be a short outage.
const LEASE_MS: u64 = 10_000;

fn delay_ms() -> u64 {
    DELAY_MS
}

fn poll_interval_ms() -> u64 {
    POLL_INTERVAL_MS
}

fn batch_rows() -> u32 {
    BATCH_ROWS
}

fn statement_timeout_ms() -> u64 {
    STATEMENT_TIMEOUT_MS
}

fn lease_table() -> String {
    LEASE_TABLE.to_owned()
}

fn lease_ms() -> u64 {
    LEASE_MS
}

// === impl QueryMode ===

impl QueryMode {
    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Incrementing => "incrementing",
            Self::Timestamp => "timestamp",
            Self::TimestampIncrementing => "timestamp_incrementing",
            Self::Queue => "queue",
        }
    }

    /// Rows are found by the time of their last change.
    pub fn by_time(self) -> bool {
        matches!(self, Self::Timestamp | Self::TimestampIncrementing)
    }

    /// Nothing says where a row stands without a column that identifies it.
    pub fn needs_id(self) -> bool {
        matches!(self, Self::Incrementing | Self::TimestampIncrementing | Self::Queue)
    }
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
            jitter_percent: 0,
            batch_rows: BATCH_ROWS,
            maximum_rows_per_second: None,
            statement_timeout_ms: STATEMENT_TIMEOUT_MS,
            changes_only: false,
            deleted: None,
            acknowledge: Acknowledge::default(),
            lease: None,
            accept_gaps: false,
            queries: BTreeMap::new(),
            overrides: BTreeMap::new(),
        }
    }

    /// The first thing that no database could make sense of, in a sentence.
    pub fn problem(&self) -> Option<String> {
        if self.poll_interval_ms == 0 {
            return Some("`query.poll_interval_ms` is 0; a table would be asked without a pause".to_owned());
        }
        if self.batch_rows == 0 {
            return Some("`query.batch_rows` is 0; no row could ever be read".to_owned());
        }
        if self.maximum_rows_per_second == Some(0) {
            return Some("`query.maximum_rows_per_second` is 0; no row could ever be read".to_owned());
        }
        if self.jitter_percent > 100 {
            return Some("`query.jitter_percent` is more than 100".to_owned());
        }
        let lease_name = self
            .lease
            .as_ref()
            .and_then(|lease| lease.name.as_deref())
            .unwrap_or_default();
        if !lease_name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
        {
            return Some("`query.lease.name` has other characters than a-z A-Z 0-9 - _ .".to_owned());
        }
        self.queries
            .iter()
            .find(|(_, query)| query.sql.trim().is_empty() || query.sql.trim_end().ends_with(';'))
            .map(|(name, _)| format!("`query.queries.{name}.sql` is one SELECT without a semicolon at its end"))
    }

    /// True where rows are deleted or marked.
    pub fn changes_rows(&self) -> bool {
        let modes = self.overrides.values().filter_map(|own| own.mode);
        modes.chain([self.mode]).any(|mode| mode == QueryMode::Queue)
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
