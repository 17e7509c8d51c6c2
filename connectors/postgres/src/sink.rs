//! PostgreSQL as a sink.
//!
//! Read in this order: [`config`], `session` (one transaction per batch), `statement` (its SQL), `array` and `value` (rows as arrays of
//! their columns), `describe` and `definitions` (what tables are and how they are made), `check`.
//!
//! Why arrays and not `COPY` into a temporary table: the rows of a batch go as one parameter per column into
//! `INSERT … SELECT … FROM unnest($1, $2, …)`, in the binary form of the type where it has a simple one. That needs no table, no catalogue
//! entry and no second pass over the rows, and one statement is prepared per table and used again.

mod array;
mod check;
mod config;
mod definitions;
mod describe;
mod error;
mod offsets;
mod session;
mod statement;
mod text;
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

pub use self::config::PostgresSinkConfig;
pub(crate) use self::definitions::PostgresDefinitions;
pub(crate) use self::offsets::create_statement as create_offsets;
use self::session::PostgresSession;
use crate::grants;

/// A configured PostgreSQL sink. Nothing is connected before a method is called.
pub struct PostgresSink {
    pub(crate) config: PostgresSinkConfig,
    pub(crate) rules: Arc<SinkRules>,
}

// === impl PostgresSink ===

impl PostgresSink {
    /// A sink with this connection, that writes like this.
    ///
    /// # Errors
    /// Definite, where the configuration contradicts itself.
    pub fn new(config: PostgresSinkConfig, write: WriteConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config,
            rules: Arc::new(SinkRules::new(write)?),
        })
    }

    /// The same, which does not mark its rows unless it `writes` any.
    pub(crate) fn with_origin(&self, writes: bool) -> Self {
        let mut config = self.config.clone();
        config.mark_origin &= writes;
        Self {
            config,
            rules: Arc::clone(&self.rules),
        }
    }

    /// A session that writes.
    pub(crate) async fn open_sink(&self, context: SinkContext) -> Result<SqlSink> {
        let session = PostgresSession::open(&self.config, self.rules.config(), &context).await?;
        Ok(SqlSink::new(Box::new(session), Arc::clone(&self.rules), context))
    }

    /// A session of somebody who writes no rows.
    async fn open_aside(&self, connector: &str) -> Result<SqlSink> {
        let context = SinkContext::beside(connector);
        self.with_origin(false).open_sink(context).await
    }
}

#[async_trait]
impl SinkConnector for PostgresSink {
    async fn check(&self, connector: &str, topics: &[String]) -> Vec<Finding> {
        check::check(&self.config, &self.rules, connector, topics).await
    }

    fn grants(&self, topics: &[String]) -> Result<Script> {
        grants::of_sink(&self.config, &self.rules, topics)
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
        "postgresql"
    }

    fn offsets_table(&self) -> String {
        session::offsets_table(self.rules.config())
    }
}
