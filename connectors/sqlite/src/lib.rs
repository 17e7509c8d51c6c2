//! SQLite as a source: its tables are polled, because its log is not for others to read. And as a target of events: [`sink`].
//!
//! A source opens the file for reading only and writes nothing to it. Read in this order: [`config`], [`discover`] (tables
//! as SQLite describes them), [`decode`] (what a stored value becomes), `dialect` (the answers that
//! [`tailrace_sql::PollingSource`] asks for), `check` (the preflight).

mod check;
mod compare;
pub mod config;
mod connect;
pub mod decode;
mod dialect;
pub mod discover;
mod error;
mod grants;
mod identity;
pub mod sink;
mod statement;
mod triggers;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::grants::Script;
use tailrace_core::ports::{Source, SourceConnector, SourceContext};
use tailrace_core::schema::SharedSchema;
use tailrace_sql::{Opening, PollingSource};

pub use config::{ColumnType, SqliteConfig, TimestampUnit};
pub use sink::{SqliteSink, SqliteSinkConfig};
pub use triggers::SqliteTriggers;

use crate::dialect::SqliteDialect;

/// A SQLite database, configured and not yet opened.
pub struct SqliteConnector {
    config: SqliteConfig,
}

// === impl SqliteConnector ===

impl SqliteConnector {
    /// A connector for this configuration. Nothing is opened.
    ///
    /// # Errors
    /// `config_invalid` where values contradict each other.
    pub fn new(config: SqliteConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }
}

#[async_trait]
impl SourceConnector for SqliteConnector {
    async fn check(&self, _connector: &str) -> Vec<Finding> {
        check::check(&self.config).await
    }

    fn grants(&self, _connector: &str) -> Result<Script> {
        Ok(grants::of_source(&self.config))
    }

    async fn describe(&self) -> Result<Vec<SharedSchema>> {
        let mut connection = connect::open(&self.config).await?;
        let discovery = discover::discover(&mut connection, &self.config).await?;
        Ok(discovery.tables.into_iter().map(|table| table.schema).collect())
    }

    async fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        let connection = connect::open(&self.config).await?;
        let mark = identity::FileMark::of(&self.config.path)?;
        let identity = identity::establish(&self.config, &mark, &context).await?;
        let dialect = SqliteDialect::new(connection, self.config.clone(), mark);
        let opening = Opening {
            dialect,
            identity,
            config: self.config.query.clone(),
            context,
        };
        Ok(Box::new(PollingSource::open(opening).await?))
    }

    fn kind(&self) -> &'static str {
        "sqlite"
    }
}

#[cfg(test)]
mod tests;
