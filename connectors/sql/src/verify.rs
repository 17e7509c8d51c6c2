//! Comparing the tables that a sink writes with where their rows come from, while both are in use.
//!
//! ```text
//!   origin: rows in the order of its key ─▶ transforms ─▶ canonical values ─┐
//!   target: the same keys ──────────────────────────────▶ canonical values ─┴▶ keys that differ ─▶ looked at again ─▶ repair
//!   target: rows in the order of its key, origin: the same keys ─▶ rows that nobody has written
//! ```
//!
//! Each side walks in its own order and is asked for the other's keys, so that nothing depends on how two databases sort. Values are
//! compared in a form that is the same for values that mean the same ([`canonical`]), one by one and not by their sums: both sides must be
//! read and converted here anyway, so that a sum would save nothing and could be equal by chance.
//!
//! Read in this order: [`canonical`] (what is equal), [`pairing`] (which column is which), [`reader`] (rows of a table), [`origin`], [`table`]
//! (the algorithm), [`repair`]; [`told`] for targets whose source is not at hand, and that are compared with what their topic says.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::ports::sink::SinkContext;
use tailrace_core::schema::TableName;

use crate::dialect::Dialect;
use crate::sink::{SinkRules, SqlSink};

pub mod canonical;
mod condition;
pub mod event_row;
pub mod origin;
pub mod pairing;
pub mod reader;
pub mod repair;
#[cfg(test)]
mod sample;
pub mod table;
pub mod told;

/// A database whose tables can be read, beside whoever else uses it. Made from configuration alone.
#[async_trait]
pub trait ReadableDatabase: Send + Sync {
    /// A session that finds this one table and reads its rows, in short transactions that change nothing.
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>>;
}

/// The target of a sink, to be compared with where its rows come from.
#[async_trait]
pub trait VerifiedTarget: ReadableDatabase {
    /// How the connector writes.
    fn rules(&self) -> &Arc<SinkRules>;

    /// A session that writes as the connector does, or that only looks and leaves nothing behind. It takes no partition.
    async fn sink(&self, context: SinkContext, writes: bool) -> Result<SqlSink>;
}
