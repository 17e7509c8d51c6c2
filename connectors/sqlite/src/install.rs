//! Statements that change the schema, run because somebody asked for it: `tailrace outbox install --apply`.

use sqlx::AssertSqlSafe;
use tailrace_core::{Error, Result};

use crate::config::SqliteConfig;
use crate::connect::{close, open_for_changes};

/// Runs statements, all in one transaction.
///
/// # Errors
/// Where the file cannot be opened or written, or what SQLite says to a statement.
pub async fn install(config: &SqliteConfig, statements: &[String]) -> Result<()> {
    let mut connection = open_for_changes(config).await?;
    let script = format!("BEGIN IMMEDIATE;\n{};\nCOMMIT", statements.join(";\n"));
    // A transaction that is left open when the connection goes is rolled back.
    let done = sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await;
    done.map_err(|error| {
        let message = format!("the outbox cannot be installed in {}", config.path.display());
        Error::definite("install_failed", message).with_source(error)
    })?;
    close(connection).await;
    Ok(())
}
