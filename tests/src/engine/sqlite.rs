//! A SQLite file, read by a polling source.
//!
//! Nothing tells from outside that a poll came after a commit. But the checkpointed position, which `/status` shows, names the
//! last row of each table that is durable in the stream: `{"orders":{"id":17,"timestamp":"2026-03-01 09:30:00"}}`. When it is the
//! table's last row by time and id, everything is carried. Change tables are read as queues: when they are empty, it is.

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

/// What the names of change tables begin with.
const QUEUE: &str = "tailrace_changes_";

/// The session that the harness itself looks through.
const OWN_SESSION: &str = "harness";

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

    async fn lines(&self, query: &str) -> Result<Vec<String>> {
        let rows = self.rows(OWN_SESSION, query).await;
        let rows = rows.map_err(ServerError::doing("asking SQLite"))?;
        Ok(rows.iter().map(line).collect())
    }

    /// Id and time of the last row of each table, the time where the table has one.
    async fn last_rows(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let names = "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'";
        let mut last = BTreeMap::new();
        let tables = self.lines(names).await?;
        let queues: Vec<&String> = tables.iter().filter(|table| table.starts_with(QUEUE)).collect();
        if !queues.is_empty() {
            for table in queues {
                let query = format!("select coalesce(max(sequence), 0) from \"{table}\"");
                last.insert(table.clone(), self.lines(&query).await?);
            }
            return Ok(last);
        }
        for table in tables {
            let has_time = format!("select count(*) from pragma_table_info('{table}') where name = 'updated_at'");
            let columns = match self.lines(&has_time).await?.first().map(String::as_str) {
                Some("0") | None => "id",
                Some(_) => "updated_at, id",
            };
            let descending = columns.replace(',', " desc,");
            let query = format!("select {columns} from \"{table}\" order by {descending} desc limit 1");
            let row = self.lines(&query).await?.into_iter().next();
            last.insert(
                table,
                row.iter().flat_map(|row| row.split(" | ")).map(str::to_owned).collect(),
            );
        }
        Ok(last)
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
        let last = self.last_rows().await?;
        serde_json::to_string(&last).map_err(ServerError::doing("writing down the last rows"))
    }

    async fn is_carried(&self, connector: &Value, end: &str) -> Result<bool> {
        let end: BTreeMap<String, Vec<String>> =
            serde_json::from_str(end).map_err(ServerError::doing("reading the last rows"))?;
        for (table, last) in end.iter().filter(|(table, _)| table.starts_with(QUEUE)) {
            let last = last.first().map_or("0", String::as_str);
            let left = format!("select count(*) from \"{table}\" where sequence <= {last}");
            if self.lines(&left).await? != ["0"] {
                return Ok(false);
            }
        }
        let position = connector.get("position").and_then(Value::as_str).unwrap_or_default();
        let position: Value = serde_json::from_str(position).unwrap_or_default();
        let polled = end.iter().filter(|(table, _)| !table.starts_with(QUEUE));
        Ok(polled.into_iter().all(|(table, last)| {
            let cursor = position.get(format!("main.{table}")).or_else(|| position.get(table));
            let at = |name: &str| cursor.and_then(|cursor| cursor.get(name)).map(as_text);
            let reached: Vec<String> = [at("timestamp"), at("id")].into_iter().flatten().collect();
            // Beyond it, where the last row was deleted since.
            in_order(&reached) >= in_order(last)
        }))
    }
}

/// Time and id, or the id alone, as they compare.
fn in_order(row: &[String]) -> Vec<(i64, &str)> {
    let comparable = |value: &String| value.parse::<i64>().unwrap_or_default();
    row.iter().map(|value| (comparable(value), value.as_str())).collect()
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
