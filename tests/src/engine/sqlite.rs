//! A SQLite file, read by a polling source.
//!
//! What is carried of polled tables `/status` tells itself, whatever the database.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, TypeInfo, ValueRef};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::{Answer, Engine};
use crate::servers::{Result, ServerError};

/// Numbers files apart.
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A file, and the connections that the transcript has opened.
pub(super) struct SqliteEngine {
    name: String,
    folder: TempDir,
    sessions: Mutex<BTreeMap<String, SqliteConnection>>,
}

// === impl SqliteEngine ===

impl SqliteEngine {
    pub(super) fn open() -> Result<SqliteEngine> {
        Ok(SqliteEngine {
            name: format!("file{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            folder: tempfile::tempdir().map_err(ServerError::doing("making a folder for SQLite"))?,
            sessions: Mutex::new(BTreeMap::new()),
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.db", self.name))
    }

    async fn rows(&self, session: &str, statements: &str) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut sessions = self.sessions.lock().await;
        if !sessions.contains_key(session) {
            let options = SqliteConnectOptions::new()
                .filename(self.path())
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            sessions.insert(session.to_owned(), options.connect().await?);
        }
        match sessions.get_mut(session) {
            Some(connection) => sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(connection).await,
            None => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl Engine for SqliteEngine {
    fn name(&self) -> &str {
        &self.name
    }

    fn source(&self) -> Vec<String> {
        vec![
            "type: sqlite".to_owned(),
            format!("path: \"{}\"", self.path().display()),
        ]
    }

    async fn run(&self, session: &str, statements: &str) -> Result<Answer, String> {
        let rows = self.rows(session, statements).await;
        let rows = rows.map_err(|error| error.to_string())?;
        let names = rows.first().map(|row| {
            let names: Vec<&str> = row.columns().iter().map(sqlx::Column::name).collect();
            names.join(" | ")
        });
        Ok(names.into_iter().chain(rows.iter().map(line)).collect())
    }

    async fn end(&self) -> Result<String> {
        Ok(String::new())
    }

    async fn is_carried(&self, _connector: &Value, _end: &str) -> Result<bool> {
        Ok(false)
    }
}

/// The row's values as SQLite would print them.
fn line(row: &SqliteRow) -> String {
    let values = (0..row.len()).map(|index| {
        let kind = row.try_get_raw(index).map(|value| value.type_info().name().to_owned());
        match kind.as_deref() {
            Ok("INTEGER") => row.try_get::<i64, _>(index).map(|value| value.to_string()),
            Ok("REAL") => row.try_get::<f64, _>(index).map(|value| value.to_string()),
            Ok("TEXT") => row.try_get::<String, _>(index),
            Ok(_) | Err(_) => Ok("NULL".to_owned()),
        }
        .unwrap_or_else(|error| error.to_string())
    });
    values.collect::<Vec<_>>().join(" | ")
}
