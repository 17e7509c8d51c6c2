//! Opening the file: never creating one, and for reading only, unless rows of a queue are to be acknowledged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tailrace_core::{Error, Result};

use crate::config::SqliteConfig;
use crate::error::classify;

/// Opens the database.
///
/// # Errors
/// `source_missing` (transient: a volume may be mounted later), or what SQLite says.
pub(crate) async fn open(config: &SqliteConfig) -> Result<SqliteConnection> {
    open_with(config, !config.query.changes_rows()).await
}

/// Opens the database so that tables and triggers can be made in it.
///
/// # Errors
/// As [`open`].
pub(crate) async fn open_for_changes(config: &SqliteConfig) -> Result<SqliteConnection> {
    open_with(config, false).await
}

async fn open_with(config: &SqliteConfig, read_only: bool) -> Result<SqliteConnection> {
    let path = absolute(&config.path)?;
    let options = options(&path, config.busy_timeout_ms).read_only(read_only);
    connect(&path, options).await
}

/// How a file is opened.
pub(crate) fn options(path: &Path, busy_timeout_ms: u64) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_millis(busy_timeout_ms))
        .row_buffer_size(ROWS_AHEAD)
        .disable_statement_logging()
}

/// Opens a file and looks whether it is a database.
pub(crate) async fn connect(path: &Path, options: SqliteConnectOptions) -> Result<SqliteConnection> {
    let mut connection = options.connect().await.map_err(|error| classify(error, path))?;
    // Opening reads nothing: the first query finds out whether it is a database.
    let asked = sqlx::query("PRAGMA schema_version").execute(&mut connection).await;
    if let Err(error) = asked {
        return Err(classify(error, path));
    }
    Ok(connection)
}

/// Rows that SQLite's thread may be ahead of the decoder: enough to hide the change of threads, few enough that large
/// rows do not pile up.
const ROWS_AHEAD: usize = 64;

/// The path in full: SQLite would read one that begins with `file:` as a URI.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    std::fs::canonicalize(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let sentence = format!("there is no database file {shown}; `path` must name an existing file");
            Error::transient("source_missing", sentence).with_source(error)
        }
        _ => {
            Error::transient("source_unreadable", format!("database file {shown} cannot be reached")).with_source(error)
        }
    })
}

/// Closes in good order; what goes wrong then no longer matters to anyone.
pub(crate) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "the database connection did not close in good order");
    }
}
