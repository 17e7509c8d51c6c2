//! The small questions that a database answers so that its tables can be polled.

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::schema::SharedSchema;

use crate::cursor::Cursor;
use crate::page::PageWriter;
use crate::plan::PolledTable;

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
}

/// The tables that are there, at one version of the database's schema.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// Changes whenever any table does.
    pub schema_version: i64,
    /// Tables that fit the configured patterns, by name.
    pub tables: Vec<DiscoveredTable>,
}

/// What the next page is.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// The table and its cursor columns.
    pub table: &'a PolledTable,
    /// Rows after this, in the order of the cursor columns.
    pub after: &'a Cursor,
    /// At most so many rows.
    pub limit: u32,
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
}

/// A database that can be polled. One connection, one caller, one call at a time; the source holds a call's future until
/// it is done, so that none of them need be cancel-safe.
#[async_trait]
pub trait Dialect: Send + 'static {
    /// The tables that fit the configuration, as they are now.
    async fn discover(&mut self) -> Result<Discovery>;

    /// Reads rows after `request.after` in ascending order of (id), or of (timestamp, id), by key and never by offset, all
    /// of one state of the database. Each row goes through [`PageWriter::admit`], its cells into the page's batch, and then
    /// through [`PageWriter::take`]. Rows whose cursor columns are NULL are left out.
    async fn fetch(&mut self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched>;

    /// The highest id that the table has, or ever had where the database remembers that. `None` for an empty table.
    async fn highest_id(&mut self, table: &PolledTable) -> Result<Option<i64>>;

    /// The clock that timestamps of rows are taken from, microseconds since 1970.
    async fn now_us(&mut self) -> Result<i64>;

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
