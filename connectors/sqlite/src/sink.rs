//! SQLite as a target: rows and offsets in one transaction of one file.
//!
//! Read in this order: `config` (what can be said), `session` (the transaction, and whose a partition is), `merge` (carrying out a step),
//! `value` (values as SQLite stores them), `describe` and `definitions` (tables), `check`.

mod check;
mod config;
mod definitions;
mod describe;
mod error;
mod merge;
mod session;
mod value;

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::grants::Script;
use tailrace_core::ports::sink::{Sink, SinkConnector, SinkContext};
use tailrace_core::record_batch::TopicPartition;
use tailrace_sql::sink::config::WriteConfig;
use tailrace_sql::sink::{SinkRules, SqlSink};

pub use config::SqliteSinkConfig;

use crate::discover::quote;
use crate::grants;
use session::SqliteSession;

/// A SQLite file that is written to, configured and not yet opened.
pub struct SqliteSink {
    pub(crate) config: SqliteSinkConfig,
    pub(crate) rules: Arc<SinkRules>,
}

// === impl SqliteSink ===

impl SqliteSink {
    /// A target with this configuration. Nothing is opened.
    ///
    /// # Errors
    /// Definite, where the configuration contradicts itself.
    pub fn new(config: SqliteSinkConfig, write: WriteConfig) -> Result<Self> {
        Ok(Self {
            config,
            rules: Arc::new(SinkRules::new(write)?),
        })
    }

    /// A session that writes.
    pub(crate) async fn open_sink(&self, context: SinkContext) -> Result<SqlSink> {
        let session = SqliteSession::open(&self.config, self.rules.config(), &context).await?;
        Ok(SqlSink::new(Box::new(session), Arc::clone(&self.rules), context))
    }

    /// A session of somebody who writes no rows.
    async fn open_aside(&self, connector: &str) -> Result<SqlSink> {
        let context = SinkContext::beside(connector);
        self.open_sink(context).await
    }
}

#[async_trait]
impl SinkConnector for SqliteSink {
    async fn check(&self, _connector: &str, topics: &[String]) -> Vec<Finding> {
        check::check(&self.config, &self.rules, topics).await
    }

    fn grants(&self, _topics: &[String]) -> Result<Script> {
        Ok(grants::of_sink(&self.config.path, self.rules.config()))
    }

    async fn open(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.open_sink(context).await?))
    }

    async fn offsets(&self, connector: &str) -> Result<Vec<(TopicPartition, Option<i64>)>> {
        let mut session = self.open_aside(connector).await?;
        let written = session.written().await?.into_iter();
        Ok(written.map(|offset| (offset.partition, offset.next_offset)).collect())
    }

    async fn alter_offsets(&self, connector: &str, offsets: &[(TopicPartition, Option<i64>)]) -> Result<()> {
        self.open_aside(connector).await?.move_to(offsets).await
    }

    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn offsets_table(&self) -> String {
        quote(self.rules.config().offsets_name())
    }
}

#[cfg(test)]
mod tests;
