//! PostgreSQL as a source: its existing rows, then its write-ahead log; or its tables, polled by queries. And as a sink.
//!
//! Read in this order: [`config`] (what can be said), `bootstrap` (from nothing to an open source), `scan` (rows),
//! `log` (changes: `log/socket.rs` → `log/assemble.rs`), `decode` (bytes to values). What is polled: `poll`, then `dialect`. What
//! is written: `sink`.

mod bootstrap;
mod check;
mod compare;
mod config;
mod connect;
mod decode;
mod dialect;
mod discover;
mod endpoint;
mod error;
pub mod fuzzing;
mod grants;
mod log;
mod memory;
mod poll;
mod position;
mod quote;
mod scan;
mod sink;
mod slot;
mod take_over;
#[cfg(test)]
mod tests;
mod tls;
mod triggers;
mod type_catalog;
mod type_name;
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

pub use config::{PostgresConfig, SnapshotConfig};
pub use sink::{PostgresSink, PostgresSinkConfig};
pub use triggers::PostgresTriggers;

/// A configured PostgreSQL source. Nothing is connected before a method is called.
pub struct PostgresConnector {
    config: Arc<PostgresConfig>,
}

// === impl PostgresConnector ===

impl PostgresConnector {
    /// A source with this configuration.
    pub fn new(config: PostgresConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }
}

#[async_trait]
impl SourceConnector for PostgresConnector {
    async fn check(&self, connector: &str) -> Vec<Finding> {
        match &self.config.query {
            Some(query) => check::polled::check(&self.config, query, connector).await,
            None => check::check(&self.config, connector).await,
        }
    }

    fn grants(&self, connector: &str) -> Result<Script> {
        grants::of_source(&self.config, connector)
    }

    async fn describe(&self) -> Result<Vec<SharedSchema>> {
        match &self.config.query {
            Some(query) => poll::describe(&self.config, query).await,
            None => discover::describe(&self.config).await,
        }
    }

    async fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        if let Some(query) = &self.config.query {
            return Box::pin(poll::open(Arc::clone(&self.config), query.clone(), context)).await;
        }
        // Boxed because the state of opening a database is large and is only needed while it is opened.
        Box::pin(bootstrap::open(Arc::clone(&self.config), context)).await
    }

    async fn verify_position(
        &self,
        connector: &str,
        position: &Position,
        remembered: Option<&serde_json::Value>,
    ) -> Result<()> {
        match (&self.config.query, remembered) {
            (Some(_), _) => Err(position_not_movable()),
            (None, None) => Err(server_not_known()),
            (None, Some(_)) => slot::verify_position(&self.config, connector, position).await,
        }
    }

    async fn verify_saved(
        &self,
        connector: &str,
        progress: Option<&Progress>,
        remembered: serde_json::Value,
    ) -> Result<()> {
        match &self.config.query {
            Some(_) => Ok(()),
            None => bootstrap::verify_saved(&self.config, connector, progress, remembered).await,
        }
    }

    async fn take_over(&self, connector: &str, left: &Predecessor) -> Result<TakeOver> {
        match (&self.config.query, &left.stored) {
            (None, StoredOffset::Debezium(offset)) => {
                let captured = left.captured.as_deref();
                Box::pin(take_over::debezium(&self.config, connector, (offset, captured))).await
            }
            (Some(query), StoredOffset::Jdbc(offsets)) => {
                Box::pin(poll::take_over(&self.config, query, connector, offsets)).await
            }
            _ => Err(not_understood(self.kind())),
        }
    }

    fn kind(&self) -> &'static str {
        "postgresql"
    }
}
