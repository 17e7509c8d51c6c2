//! What a SQLite source may be told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::pattern::TablePattern;
use tailrace_core::setting::LocalFile;
use tailrace_core::{Error, Result};
use tailrace_sql::QueryConfig;

/// Longer than the application's own transactions should take; a database that is locked for longer is tried again anyway.
pub const BUSY_TIMEOUT_MS: u64 = 5_000;

/// A SQLite database file whose tables are polled.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database file. It is opened for reading only, but for mode `queue`, which deletes or marks rows.
    #[schemars(with = "LocalFile")]
    pub path: PathBuf,

    /// Tables to capture, as patterns: `orders`, `order_*`. Upper and lower case differ. A pattern that matches nothing is an
    /// error.
    #[serde(default)]
    pub tables: Vec<String>,

    /// Tables to leave out again, as patterns.
    #[serde(default)]
    pub exclude: Vec<String>,

    /// How the tables are polled.
    pub query: QueryConfig,

    /// What numbers in date and time columns count. SQLite's own functions count seconds; Java and Android programs often store
    /// milliseconds. Numbers with a fraction from 1721059.5 to 5373484.5 are Julian days, as for SQLite's functions.
    #[serde(default)]
    pub timestamp_unit: TimestampUnit,

    /// Types of columns that are not what their declaration says, by `table.column`. A value that does not fit its column's type
    /// stops the connector; `text` fits every value.
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnType>,

    /// How long to wait for a lock that another process holds, milliseconds.
    #[serde(default = "busy_timeout_ms")]
    pub busy_timeout_ms: u64,

    /// The mark of a file that may take the place of the one that was read so far, as the error `source_changed` prints it.
    #[serde(default)]
    pub accept_file: Option<String>,
}

/// What a number in a date or time column counts, from 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampUnit {
    /// Seconds, as `unixepoch()` gives them.
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// What a column is published as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Characters; numbers as decimal text, bytes as `X'…'`.
    Text,
    /// A JSON document in characters.
    Json,
    /// A whole number of 64 bits.
    Integer,
    /// Double precision.
    Real,
    /// A decimal number with each value's own scale.
    Decimal,
    /// True or false, stored as 1 and 0 or as words.
    Boolean,
    /// A calendar date.
    Date,
    /// A time of day.
    Time,
    /// Date and time.
    Timestamp,
    /// Raw bytes.
    Bytes,
}

fn busy_timeout_ms() -> u64 {
    BUSY_TIMEOUT_MS
}

// === impl SqliteConfig ===

impl SqliteConfig {
    /// These tables of this file, polled so, with the defaults of everything else.
    pub fn new(path: impl Into<PathBuf>, tables: Vec<String>, query: QueryConfig) -> Self {
        Self {
            path: path.into(),
            tables,
            exclude: Vec::new(),
            query,
            timestamp_unit: TimestampUnit::default(),
            columns: BTreeMap::new(),
            busy_timeout_ms: BUSY_TIMEOUT_MS,
            accept_file: None,
        }
    }

    /// Refuses what no database could make sense of.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |sentence: String| Err(Error::definite("config_invalid", sentence));
        if self.tables.is_empty() && self.query.queries.is_empty() {
            return refuse("`tables` is empty; name at least one table or pattern, or a query".to_owned());
        }
        if let Some(problem) = self.query.problem() {
            return refuse(problem);
        }
        match self.columns.keys().find(|name| !name.contains('.')) {
            Some(name) => refuse(format!("`columns` names {name}; write it as table.column")),
            None => Ok(()),
        }
    }

    /// True where the patterns select the table.
    pub(crate) fn captures(&self, table: &str) -> bool {
        fits(&self.tables, table) && !fits(&self.exclude, table)
    }

    /// The type that is configured for a column.
    pub(crate) fn column_type(&self, table: &str, column: &str) -> Option<ColumnType> {
        self.columns.get(&format!("{table}.{column}")).copied()
    }
}

/// `main` is SQLite's own name for the schema of the file that was opened.
pub(crate) fn fits(patterns: &[String], table: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| TablePattern::new(pattern, None).matches("main", table))
}
