//! MySQL and MariaDB as sources: their existing rows, then their binary log; or their tables alone, asked again and again. And as
//! targets of events: [`sink`].
//!
//! Read in this order: [`config`] (what can be said), `bootstrap` (from nothing to an open source), `scan` (rows),
//! `log` (changes: `log/dump.rs` → `log/assemble.rs`), `decode` (bytes to values), `ddl` (definitions that change on the way);
//! `dialect` (without the log).

mod bootstrap;
mod charset;
mod check;
mod column_type;
mod compare;
mod config;
mod connect;
mod ddl;
mod decode;
mod dialect;
mod discover;
mod endpoint;
mod error;
pub mod fuzzing;
mod grants;
mod log;
mod memory;
mod position;
mod quote;
mod said;
mod scan;
mod server;
pub mod sink;
mod table;
mod take_over;
#[cfg(test)]
mod tests;
mod triggers;
mod window;

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::grants::Script;
use tailrace_core::ports::{Source, SourceConnector, SourceContext, position_not_movable, server_not_known};
use tailrace_core::position::{Position, Progress};
use tailrace_core::predecessor::{Predecessor, StoredOffset, TakeOver, not_understood};
use tailrace_core::schema::SharedSchema;

use log::dumps::Dumps;

pub use config::{InvalidDates, MySqlConfig, SnapshotConfig};
pub use server::Flavour;
pub use sink::{MySqlSink, MySqlSinkConfig};
pub use triggers::MySqlTriggers;

/// A configured MySQL or MariaDB source. Nothing is connected before a method is called.
pub struct MySqlConnector {
    config: Arc<MySqlConfig>,
    flavour: Flavour,
    /// Remembers over all attempts what went wrong with those before.
    dumps: Dumps,
}

// === impl MySqlConnector ===

impl MySqlConnector {
    /// A source with this configuration, on a server that speaks this dialect.
    pub fn new(config: MySqlConfig, flavour: Flavour) -> Self {
        let config = Arc::new(config);
        Self {
            dumps: Dumps::new(Arc::clone(&config)),
            config,
            flavour,
        }
    }
}

#[async_trait]
impl SourceConnector for MySqlConnector {
    async fn check(&self, _connector: &str) -> Vec<Finding> {
        check::check(&self.config, self.flavour).await
    }

    fn grants(&self, _connector: &str) -> Result<Script> {
        grants::of_source(&self.config, self.flavour)
    }

    async fn describe(&self) -> Result<Vec<SharedSchema>> {
        match &self.config.query {
            Some(_) => dialect::describe(&self.config, self.flavour).await,
            None => discover::describe(&self.config, self.flavour).await,
        }
    }

    async fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        // Boxed because the state of opening a database is large and is only needed while it is opened.
        match &self.config.query {
            Some(query) => {
                let config = Arc::clone(&self.config);
                Box::pin(dialect::open(config, query.clone(), self.flavour, context)).await
            }
            None => Box::pin(bootstrap::open(self.dumps.clone(), self.flavour, context)).await,
        }
    }

    async fn verify_position(
        &self,
        _: &str,
        position: &Position,
        remembered: Option<&serde_json::Value>,
    ) -> Result<()> {
        match (&self.config.query, remembered) {
            (Some(_), _) => Err(position_not_movable()),
            (None, None) => Err(server_not_known()),
            (None, Some(remembered)) => bootstrap::verify_position(&self.config, position, remembered).await,
        }
    }

    async fn verify_saved(&self, _: &str, progress: Option<&Progress>, remembered: serde_json::Value) -> Result<()> {
        match &self.config.query {
            Some(_) => Ok(()),
            None => bootstrap::verify_saved(&self.config, progress, remembered).await,
        }
    }

    async fn take_over(&self, _: &str, left: &Predecessor) -> Result<TakeOver> {
        match (&self.config.query, &left.stored) {
            (None, _) => Box::pin(take_over::take_over(&self.dumps, self.flavour, left)).await,
            (Some(query), StoredOffset::Jdbc(offsets)) => {
                Box::pin(dialect::take_over(&self.config, query, self.flavour, offsets)).await
            }
            (Some(_), _) => Err(not_understood(self.kind())),
        }
    }

    fn kind(&self) -> &'static str {
        match self.flavour {
            Flavour::MySql => "mysql",
            Flavour::MariaDb => "mariadb",
        }
    }
}
