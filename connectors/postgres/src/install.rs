//! Statements that change the schema, run because somebody asked for it: `tailrace outbox install --apply`.

use tailrace_core::Result;

use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::error::query_error;

/// Runs statements, all in one transaction.
///
/// # Errors
/// Where the server cannot be reached, or what it says to a statement.
pub async fn install(config: &PostgresConfig, statements: &[String]) -> Result<()> {
    let session = connect(config, "install", Purpose::Setup).await?;
    let done = session.batch_execute(&statements.join(";\n")).await;
    done.map_err(|error| query_error(&error, "install the outbox"))
}
