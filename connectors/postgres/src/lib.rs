//! PostgreSQL as a source: its existing rows, then its write-ahead log.
//!
//! Read in this order: [`config`] (what can be said), `bootstrap` (from nothing to an open source), `scan` (rows),
//! `log` (changes: `log/socket.rs` → `log/assemble.rs`), `decode` (bytes to values).

mod bootstrap;
mod check;
mod config;
mod connect;
mod decode;
mod discover;
mod endpoint;
mod error;
pub mod fuzzing;
mod log;
mod memory;
mod position;
mod quote;
mod scan;
mod slot;
mod tls;
mod triggers;
mod type_catalog;
mod type_name;

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::check::Finding;
use tailrace_core::ports::{Source, SourceConnector, SourceContext};
use tailrace_core::schema::SharedSchema;

pub use config::{PostgresConfig, SnapshotConfig};
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
        check::check(&self.config, connector).await
    }

    async fn describe(&self) -> Result<Vec<SharedSchema>> {
        discover::describe(&self.config).await
    }

    async fn open(&self, context: SourceContext) -> Result<Box<dyn Source>> {
        // Boxed because the state of opening a database is large and is only needed while it is opened.
        Box::pin(bootstrap::open(Arc::clone(&self.config), context)).await
    }

    fn kind(&self) -> &'static str {
        "postgresql"
    }
}
