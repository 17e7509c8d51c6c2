//! What a database must answer so that its tables can be captured by triggers.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::grants::Script;
use tailrace_core::ports::SourceConnector;
use tailrace_core::schema::TableName;

use super::compare::{InstalledTable, InstalledTrigger};
use super::{CapturedTable, Engine};
use crate::config::QueryConfig;

/// What is there: captured tables, and what may be ours.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The tables that the configuration captures; none with our mark is among them.
    pub tables: Vec<CapturedTable>,
    /// Every table with our mark, and every other that has the name of a change table.
    pub change_tables: Vec<InstalledTable>,
    /// The functions with the name of a change table: name and text.
    pub functions: Vec<(TableName, String)>,
    /// The triggers of the captured tables, whoever made them.
    pub triggers: Vec<InstalledTrigger>,
    /// What of the captured tables triggers cannot see, as far as the database tells.
    pub findings: Vec<Finding>,
}

/// A configured database whose tables may be captured by triggers. Nothing is connected before a method is called.
#[async_trait]
pub trait TriggerDatabase: Send + Sync {
    /// How its statements are written.
    fn engine(&self) -> Engine;

    /// What gives the user of the configuration the rights to read the change tables, and no others. Connects to nothing.
    ///
    /// # Errors
    /// Where the configuration does not say who and where.
    fn grants(&self, connector: &str) -> Result<Script>;

    /// What is there, as of one moment. Read-only.
    async fn survey(&self) -> Result<Survey>;

    /// Runs statements in their order, on one connection. Where one fails the rest are not run, and what the database can take
    /// back is taken back.
    async fn apply(&self, statements: &[String]) -> Result<()>;

    /// A source over these change tables, with everything else as configured. The columns of a table come in the order of the table.
    fn reader(&self, change_tables: &[Reading]) -> Result<Arc<dyn SourceConnector>>;
}

/// One change table that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The table that it captures.
    pub captured: TableName,
    /// The change table.
    pub change_table: TableName,
    /// Captured columns: name there, name of the value before, name of the value after.
    pub columns: Vec<(String, String, String)>,
}

/// A name as a pattern that fits nothing else; in quotes, because it may hold a dot.
pub fn exact_pattern(name: &TableName) -> String {
    if name.schema.is_empty() {
        format!("\"{}\"", name.table)
    } else {
        format!("\"{}\".\"{}\"", name.schema, name.table)
    }
}

/// How change tables are polled where the captured tables are configured so: what is said of one table holds for its change table,
/// and queries are no change tables.
#[must_use]
pub fn reading_query(query: &QueryConfig, change_tables: &[Reading]) -> QueryConfig {
    let mut query = query.clone();
    query.queries.clear();
    let overrides = std::mem::take(&mut query.overrides).into_iter().map(|(table, own)| {
        let reading = change_tables
            .iter()
            .find(|reading| reading.captured.qualified() == table);
        (reading.map_or(table, |reading| reading.change_table.qualified()), own)
    });
    query.overrides = overrides.collect();
    query
}
