//! MySQL and MariaDB as targets: rows and offsets in one transaction.
//!
//! Read in this order: `config` (what can be said), `session` (settings, and the transaction), `offsets` (whose a partition is),
//! `merge` (carrying out a step) and `statement` (its SQL), `literal` (values, exactly), `describe` and `definitions` (tables), `check`.

mod check;
mod column;
mod config;
mod definitions;
mod describe;
mod error;
mod literal;
mod merge;
mod offsets;
mod session;
mod statement;

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::grants::Script;
use tailrace_core::ports::sink::{Sink, SinkConnector, SinkContext};
use tailrace_core::record_batch::TopicPartition;
use tailrace_sql::sink::config::WriteConfig;
use tailrace_sql::sink::{SinkRules, SqlSink};

pub use config::MySqlSinkConfig;
pub(crate) use offsets::create_statement as create_offsets;

use crate::grants;

use crate::server::Flavour;
use session::MySqlSession;

/// A MySQL or MariaDB database that is written to, configured and not yet connected.
pub struct MySqlSink {
    pub(crate) config: MySqlSinkConfig,
    pub(crate) rules: Arc<SinkRules>,
    pub(crate) flavour: Flavour,
}

// === impl MySqlSink ===

impl MySqlSink {
    /// A target with this configuration, on a server that speaks this dialect. Nothing is connected.
    ///
    /// # Errors
    /// Definite `config` where values contradict each other.
    pub fn new(config: MySqlSinkConfig, write: WriteConfig, flavour: Flavour) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            rules: Arc::new(SinkRules::new(write)?),
            flavour,
        })
    }

    /// A session that writes.
    pub(crate) async fn open_sink(&self, context: SinkContext) -> Result<SqlSink> {
        let session = MySqlSession::open(&self.config, self.flavour, self.rules.config(), &context).await?;
        Ok(SqlSink::new(Box::new(session), Arc::clone(&self.rules), context))
    }

    /// A session of somebody who writes no rows.
    async fn open_aside(&self, connector: &str) -> Result<SqlSink> {
        let context = SinkContext::beside(connector);
        self.open_sink(context).await
    }
}

#[async_trait]
impl SinkConnector for MySqlSink {
    async fn check(&self, _connector: &str, topics: &[String]) -> Vec<Finding> {
        check::check(&self.config, &self.rules, self.flavour, topics).await
    }

    fn grants(&self, topics: &[String]) -> Result<Script> {
        grants::of_sink(&self.config, &self.rules, self.flavour, topics)
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
        match self.flavour {
            Flavour::MySql => "mysql",
            Flavour::MariaDb => "mariadb",
        }
    }

    fn offsets_table(&self) -> String {
        offsets::quoted(self.rules.config().offsets_name())
    }
}
