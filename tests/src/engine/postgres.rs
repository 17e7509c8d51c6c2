//! A database on the PostgreSQL server that all tests share.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::statements::split;
use super::{Answer, Engine};
use crate::database::Database;
use crate::servers::{PostgresVersion, Result};

/// Progress is told to the server as often as can be configured, so that nobody waits for it.
const STATUS_INTERVAL_MS: u64 = 100;

/// A statement that waits for a lock of another session of the same transcript would wait for ever.
const SESSION_SETTINGS: &str = "set statement_timeout = '30s'; set client_min_messages = 'error'";

/// A database, and the sessions that the transcript has opened.
pub(super) struct PostgresEngine {
    database: Database,
    sessions: Mutex<BTreeMap<String, Client>>,
}

// === impl PostgresEngine ===

impl PostgresEngine {
    pub(super) async fn open(version: PostgresVersion) -> Result<PostgresEngine> {
        Ok(PostgresEngine {
            database: Database::shared(version).await?,
            sessions: Mutex::new(BTreeMap::new()),
        })
    }
}

#[async_trait]
impl Engine for PostgresEngine {
    fn name(&self) -> &str {
        self.database.name()
    }

    fn source(&self) -> Vec<String> {
        vec![
            "type: postgres".to_owned(),
            format!("url: \"{}\"", self.database.url()),
            format!("status_interval_ms: {STATUS_INTERVAL_MS}"),
        ]
    }

    async fn run(&self, session: &str, statements: &str) -> Result<Answer, String> {
        let mut sessions = self.sessions.lock().await;
        if !sessions.contains_key(session) {
            let client = self.database.connect().await.map_err(|error| error.to_string())?;
            client.batch_execute(SESSION_SETTINGS).await.map_err(in_words)?;
            sessions.insert(session.to_owned(), client);
        }
        let client = sessions.get(session).ok_or("the session is gone")?;
        let mut answer = Answer::new();
        // Sent together they would be one transaction.
        for statement in split(statements) {
            let messages = client.simple_query(&statement).await.map_err(in_words)?;
            answer = lines(&messages);
        }
        Ok(answer)
    }

    async fn end(&self) -> Result<String> {
        self.database.query_value("select pg_current_wal_lsn()").await
    }

    async fn is_carried(&self, connector: &Value, end: &str) -> Result<bool> {
        let name = connector.get("connector").and_then(Value::as_str).unwrap_or_default();
        let query = format!(
            "select (confirmed_flush_lsn >= '{end}'::pg_lsn)::text from pg_replication_slots where slot_name = 'tailrace_{name}'"
        );
        let rows = self.database.query(&query).await?;
        Ok(rows.into_iter().flatten().flatten().any(|carried| carried == "true"))
    }
}

/// As psql prints it: severity and message, then detail and hint.
fn in_words(error: tokio_postgres::Error) -> String {
    let Some(refusal) = error.as_db_error() else {
        return error.to_string();
    };
    let mut text = format!("{}:  {}", refusal.severity(), refusal.message());
    for (name, part) in [("DETAIL", refusal.detail()), ("HINT", refusal.hint())] {
        if let Some(part) = part {
            text.push_str(&format!("\n{name}:  {part}"));
        }
    }
    text
}

/// The rows, below the names of their columns.
fn lines(messages: &[SimpleQueryMessage]) -> Answer {
    let mut answer = Answer::new();
    for message in messages {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        if answer.is_empty() {
            let names: Vec<&str> = row.columns().iter().map(|column| column.name()).collect();
            answer.push(names.join(" | "));
        }
        let values = (0..row.len()).map(|index| row.get(index).unwrap_or("NULL"));
        answer.push(values.collect::<Vec<_>>().join(" | "));
    }
    answer
}
