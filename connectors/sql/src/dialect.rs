//! The small questions that a database answers so that its tables can be polled.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::schema::{SharedSchema, TableName};

use crate::config::QueryConfig;
use crate::page::PageWriter;
use crate::plan::PolledTable;
use crate::statement::Statement;

/// Who makes the ids of a table, as far as the database tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdGeneration {
    /// The database, each higher than every one before, rows that were deleted since included.
    NeverReused,
    /// The database, each higher than those that are in the table: ids of deleted newest rows come again.
    AboveExisting,
    /// The application, or nobody knows.
    Application,
}

/// A table as the database describes it.
#[derive(Debug, Clone)]
pub struct DiscoveredTable {
    /// Columns and key.
    pub schema: SharedSchema,
    /// The column that the database itself numbers, where there is one.
    pub generated_id: Option<(String, IdGeneration)>,
    /// Columns each of which is unique by itself.
    pub unique_columns: Vec<String>,
    /// Columns of every index, in the index's order, with what the database appends to them by itself.
    pub indexes: Vec<Vec<String>>,
    /// The statement whose answer it is, where it is not a table of the database.
    pub query: Option<String>,
}

/// The tables that are there, at one version of the database's schema.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Changes whenever any table does.
    pub schema_version: i64,
    /// Tables that fit the configured patterns, by name, and configured queries.
    pub tables: Vec<DiscoveredTable>,
}

/// What the next page is.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// The table and its cursor columns.
    pub table: &'a PolledTable,
    /// What follows `SELECT {columns} `, one after the other until `limit` rows came, all of one state of the database. The
    /// columns are all of the table's schema, in its order.
    pub statements: &'a [Statement],
    /// At most so many rows of all statements together; each gets ` LIMIT {what is left}` at its end. Without one the
    /// statements are run as they are.
    pub limit: Option<u32>,
    /// The schema version that `table` was discovered at.
    pub schema_version: i64,
}

/// How a page was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// The database gave so many rows, or the page asked to stop.
    Rows(u32),
    /// The schema is another one than requested: nothing was read, discover anew.
    SchemaChanged,
}

/// Whether a row can be skipped that commits later than one that was read already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapSafety {
    /// No row is ever skipped.
    Proven,
    /// None that commits within the delay after its timestamp.
    DelayWindow,
    /// Rows may be skipped.
    None,
}

/// The safety of one table's cursor, with the reason in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapReport {
    /// How safe.
    pub safety: GapSafety,
    /// Why.
    pub reason: String,
    /// It is proven by waiting for the transactions that [`Dialect::writers`] gives.
    pub ledger: bool,
    /// What to do instead, where rows are sure to be skipped sooner or later: without `query.accept_gaps` such a table is
    /// refused.
    pub refused: Option<String>,
}

/// Open transactions that may have written to a table, under names that no later transaction has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers {
    /// Transactions of sessions.
    pub sessions: BTreeSet<String>,
    /// Transactions that are prepared and wait for the second phase. One that had a session's name before gets a new one
    /// when it is prepared.
    pub prepared: BTreeSet<String>,
}

/// How names and values are written in this database's statements.
pub trait Syntax: Send + Sync {
    /// A column's or table's name, quoted.
    fn identifier(&self, name: &str) -> String;

    /// A table's name in full, quoted.
    fn table(&self, name: &TableName) -> String;

    /// The schema of a table that the configuration names without one; `None` where the session's own is meant.
    fn default_schema(&self) -> Option<&'static str> {
        None
    }
}

/// A database that can be polled. One connection, one caller, one call at a time; the source holds a call's future until
/// it is done, so that none of them need be cancel-safe. Sessions are in UTC.
#[async_trait]
pub trait Dialect: Send + 'static {
    /// How statements are written.
    fn syntax(&self) -> &'static dyn Syntax;

    /// The tables that fit the configuration, as they are now.
    async fn discover(&mut self) -> Result<Discovery>;

    /// Runs the statements of a page. Each row goes through [`PageWriter::admit`], its cells into the page's batch, and then
    /// through [`PageWriter::take`].
    async fn fetch(&mut self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched>;

    /// Runs a whole statement that gives one whole number, or NULL.
    async fn number(&mut self, statement: &Statement) -> Result<Option<i64>>;

    /// Runs a whole statement that changes rows, committed on return. Gives how many.
    async fn execute(&mut self, statement: &Statement) -> Result<u64>;

    /// The highest id that the table has, or ever had where the database remembers that. `None` for an empty table.
    async fn highest_id(&mut self, table: &PolledTable) -> Result<Option<i64>>;

    /// The clock that timestamps of rows are taken from, microseconds since 1970.
    async fn now_us(&mut self) -> Result<i64>;

    /// Transactions that are open at this moment and may have inserted into the table. Only asked where the gap report says
    /// `ledger`.
    async fn writers(&mut self, table: &PolledTable) -> Result<Writers>;

    /// For how long the oldest open transaction of the database has been, microseconds; `None` where that cannot be told.
    async fn longest_transaction_us(&mut self) -> Result<Option<i64>>;

    /// Whether rows can be skipped.
    fn gap_safety(&self, table: &PolledTable) -> GapReport;
}

// === impl GapSafety ===

impl GapSafety {
    /// The name that status, metrics and documentation use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::DelayWindow => "delay_window",
            Self::None => "none",
        }
    }
}

// === impl GapReport ===

impl GapReport {
    /// A safety that needs no consent.
    pub fn new(safety: GapSafety, reason: impl Into<String>) -> Self {
        Self {
            safety,
            reason: reason.into(),
            ledger: false,
            refused: None,
        }
    }

    /// No row is skipped, because rows behind a gap wait for everyone who might fill it.
    pub fn proven_by_ledger(reason: impl Into<String>) -> Self {
        Self {
            ledger: true,
            ..Self::new(GapSafety::Proven, reason)
        }
    }

    /// Rows are sure to be skipped sooner or later; `instead` says what to do.
    pub fn refused(reason: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            safety: GapSafety::None,
            reason: reason.into(),
            ledger: false,
            refused: Some(instead.into()),
        }
    }

    /// The finding that keeps a table from being polled, where its rows are sure to be skipped and nobody accepted that.
    pub fn refusal(&self, table: &str, config: &QueryConfig) -> Option<Finding> {
        let instead = self.refused.as_ref().filter(|_| !config.accept_gaps)?;
        Some(Finding::blocks(
            "gaps_certain",
            format!("rows of table {table} would be skipped: {}", self.reason),
            format!("{instead}; or, to go on and lose them, query: {{ accept_gaps: true }}"),
        ))
    }
}

// === impl Writers ===

impl Writers {
    /// Nobody is open.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.prepared.is_empty()
    }
}
