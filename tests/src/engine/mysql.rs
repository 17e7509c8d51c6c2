//! A database on the MySQL or MariaDB server of a version that all tests share.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::Value;
use tokio::sync::Mutex;

use super::statements::split;
use super::{Answer, Engine};
use crate::database::{Database, carried};
use crate::servers::{MySqlVersion, Result, mysql_texts};

/// A statement that waits for a lock of another session of the same transcript would wait for ever.
const SESSION_SETTINGS: &str = "set session lock_wait_timeout = 30, session innodb_lock_wait_timeout = 30";

/// A database, and the sessions that the transcript has opened.
pub(super) struct MySqlEngine {
    database: Database,
    sessions: Mutex<BTreeMap<String, Conn>>,
}

// === impl MySqlEngine ===

impl MySqlEngine {
    pub(super) async fn open(version: MySqlVersion) -> Result<MySqlEngine> {
        Ok(MySqlEngine {
            database: Database::shared(version).await?,
            sessions: Mutex::new(BTreeMap::new()),
        })
    }

    async fn connect(&self) -> Result<Conn, String> {
        let server = self.database.mysql().map_err(|error| error.to_string())?;
        let client = server.connect_to(self.database.name()).await;
        let mut client = client.map_err(|error| error.to_string())?;
        client.query_drop(SESSION_SETTINGS).await.map_err(in_words)?;
        Ok(client)
    }
}

#[async_trait]
impl Engine for MySqlEngine {
    fn name(&self) -> &str {
        self.database.name()
    }

    fn schema(&self) -> &str {
        self.database.schema()
    }

    fn source(&self) -> Vec<String> {
        self.database.location(None).lines().map(str::to_owned).collect()
    }

    fn log_source(&self) -> Vec<String> {
        self.database.log_settings().lines().map(str::to_owned).collect()
    }

    async fn run(&self, session: &str, statements: &str) -> Result<Answer, String> {
        let mut sessions = self.sessions.lock().await;
        if !sessions.contains_key(session) {
            sessions.insert(session.to_owned(), self.connect().await?);
        }
        let client = sessions.get_mut(session).ok_or("the session is gone")?;
        let mut answer = Answer::new();
        for statement in split(statements) {
            answer = ask(client, &statement).await.map_err(in_words)?;
        }
        Ok(answer)
    }

    async fn end(&self) -> Result<String> {
        carried::end(self.database.mysql()?).await
    }

    async fn is_carried(&self, connector: &Value, end: &str) -> Result<bool> {
        carried::is_carried(self.database.mysql()?, connector, end).await
    }
}

/// The rows, below the names of their columns.
async fn ask(client: &mut Conn, statement: &str) -> Result<Answer, mysql_async::Error> {
    let mut result = client.query_iter(statement).await?;
    let names: Vec<String> = result
        .columns_ref()
        .iter()
        .map(|column| column.name_str().into_owned())
        .collect();
    let rows: Vec<Row> = result.collect().await?;
    result.drop_result().await?;
    let lines = rows.into_iter().map(|row| {
        let values = mysql_texts(row).into_iter();
        let values = values.map(|value| value.unwrap_or_else(|| "NULL".to_owned()));
        values.collect::<Vec<_>>().join(" | ")
    });
    let lines: Answer = lines.collect();
    let header = (!lines.is_empty()).then(|| names.join(" | "));
    Ok(header.into_iter().chain(lines).collect())
}

/// As the server's own client prints it.
fn in_words(error: mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Server(refusal) => {
            format!("ERROR {} ({}): {}", refusal.code, refusal.state, refusal.message)
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_are_apart_and_answers_have_a_head() {
        for version in MySqlVersion::ALL {
            let engine = MySqlEngine::open(version).await.unwrap();
            let table = "create table t (id int primary key, v text); insert into t values (1, 'a;'), (2, null)";
            engine.run("", table).await.unwrap();
            let begun = "begin; insert into t values (3, 'unseen')";
            engine.run("b", begun).await.unwrap();
            let answer = engine.run("", "select * from t order by id").await.unwrap();
            assert_eq!(answer, ["id | v", "1 | a;", "2 | NULL"], "{version}");
            let refusal = engine.run("", "insert into t values (1, 'x')").await.unwrap_err();
            assert!(refusal.starts_with("ERROR 1062 (23000)"), "{refusal}");
        }
    }
}
