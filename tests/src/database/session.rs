//! A connection of a test's own, to any database.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::servers::mysql_texts;

/// MySQL and MariaDB: the connection was killed (1927 is MariaDB's), the server is stopping, a query was interrupted, somebody else
/// holds the lock, a deadlock was resolved at our cost. In all of them the transaction is rolled back (documentation, "Error
/// Message Reference").
const LOST_CODES: [u16; 5] = [1927, 1053, 1317, 1205, 1213];

/// A connection.
pub enum Session {
    /// PostgreSQL's.
    Postgres(Client),
    /// MySQL's or MariaDB's. It is large.
    MySql(Box<Conn>),
}

/// Why statements were not run to their end.
#[derive(Debug)]
pub struct Refusal {
    /// The connection is gone, or the transaction was given up by no fault of its own: it may be tried again.
    pub is_lost: bool,
    /// What the server said.
    pub text: String,
}

// === impl Session ===

impl Session {
    /// Runs statements, separated by semicolons.
    ///
    /// # Errors
    /// What the server said, and whether trying again may help.
    pub async fn execute(&mut self, statements: &str) -> Result<(), Refusal> {
        match self {
            Session::Postgres(client) => client.batch_execute(statements).await.map_err(Refusal::from),
            Session::MySql(client) => client.query_drop(statements).await.map_err(Refusal::from),
        }
    }

    /// The rows of a query, as text; NULL is `None`.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn query(&mut self, query: &str) -> Result<Vec<Vec<Option<String>>>, Refusal> {
        match self {
            Session::Postgres(client) => {
                let messages = client.simple_query(query).await?;
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        let values = (0..row.len()).map(|column| row.get(column).map(str::to_owned));
                        Some(values.collect())
                    }
                    _ => None,
                });
                Ok(rows.collect())
            }
            Session::MySql(client) => {
                let rows: Vec<mysql_async::Row> = client.query(query).await?;
                Ok(rows.into_iter().map(mysql_texts).collect())
            }
        }
    }
}

// === impl Refusal ===

impl From<tokio_postgres::Error> for Refusal {
    /// The server said goodbye (class 57), or was shutting down or starting.
    fn from(error: tokio_postgres::Error) -> Refusal {
        let goodbye = error
            .as_db_error()
            .is_none_or(|database| database.code().code().starts_with("57"));
        Refusal {
            is_lost: error.is_closed() || goodbye,
            text: format!("{error:?}"),
        }
    }
}

impl From<mysql_async::Error> for Refusal {
    fn from(error: mysql_async::Error) -> Refusal {
        let is_lost = match &error {
            mysql_async::Error::Server(refusal) => LOST_CODES.contains(&refusal.code),
            mysql_async::Error::Io(_) | mysql_async::Error::Driver(_) => true,
            mysql_async::Error::Other(_) | mysql_async::Error::Url(_) => false,
        };
        Refusal {
            is_lost,
            text: error.to_string(),
        }
    }
}
