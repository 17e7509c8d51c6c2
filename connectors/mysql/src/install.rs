//! Statements that change the schema, run because somebody asked for it: `tailrace outbox install --apply`.

use tailrace_core::Result;

use crate::config::MySqlConfig;
use crate::connect::{Purpose, connect, execute};

/// Runs statements one after the other: each that defines something is a transaction of its own, and those before one that
/// fails stay done.
///
/// # Errors
/// Where the server cannot be reached, or what it says to a statement.
pub async fn install(config: &MySqlConfig, statements: &[String]) -> Result<()> {
    let mut connection = connect(config, Purpose::Setup).await?;
    for statement in statements {
        execute(&mut connection, statement, "install the outbox").await?;
    }
    Ok(())
}
