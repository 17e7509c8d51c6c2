//! A database on the PostgreSQL server that all tests share.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::statements::split;
use super::{Answer, Engine};
use crate::database::Database;
use crate::servers::{PostgresVersion, Result, ServerError};

/// Progress is told to the server as often as can be configured, so that nobody waits for it.
const STATUS_INTERVAL_MS: u64 = 100;

/// A statement that waits for a lock of another session of the same transcript would wait for ever.
const SESSION_SETTINGS: &str = "set statement_timeout = '30s'; set client_min_messages = 'error'";

/// A database, and the sessions that the transcript has opened.
pub(super) struct PostgresEngine {
    database: Database,
    /// The harness looks from another database of the server, where what it does is not in the log of this one.
    outside: Client,
    sessions: Mutex<BTreeMap<String, Client>>,
}

// === impl PostgresEngine ===

impl PostgresEngine {
    pub(super) async fn open(version: PostgresVersion) -> Result<PostgresEngine> {
        let database = Database::shared(version).await?;
        Ok(PostgresEngine {
            outside: database.postgres()?.connect().await?,
            database,
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
        vec!["type: postgres".to_owned(), format!("url: \"{}\"", self.database.url())]
    }

    fn log_source(&self) -> Vec<String> {
        vec![format!("status_interval_ms: {STATUS_INTERVAL_MS}")]
    }

    async fn wait_until_left(&self) -> Result<()> {
        let name = self.database.name();
        let condition = format!("not exists (select from pg_replication_slots where database = '{name}' and active)");
        self.database.wait_until(&condition).await
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
        // A commit that writes the log out: what needs no commit of its own may still be in the server's memory.
        self.ask("select pg_logical_emit_message(true, 'written out', '')")
            .await?;
        let answer = self.ask("select pg_current_wal_lsn()").await?;
        answer.ok_or_else(|| ServerError::new("the server did not say where its log ends"))
    }

    async fn is_carried(&self, connector: &Value, end: &str) -> Result<bool> {
        let name = connector.get("connector").and_then(Value::as_str).unwrap_or_default();
        let query = format!(
            "select confirmed_flush_lsn >= '{end}'::pg_lsn from pg_replication_slots where slot_name = 'tailrace_{name}'"
        );
        Ok(self.ask(&query).await?.as_deref() == Some("t"))
    }
}

impl PostgresEngine {
    /// The single value of a query, as text.
    async fn ask(&self, query: &str) -> Result<Option<String>> {
        let messages = self.outside.simple_query(query).await;
        let messages = messages.map_err(|error| ServerError::new(in_words(error)))?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
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
