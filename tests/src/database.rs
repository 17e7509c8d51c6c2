//! A database for one test: servers are shared, databases are not.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_postgres::Client;

use crate::daemon::Daemon;
use crate::proxy::{Protocol, Proxy};
use crate::servers::{MySqlServer, Postgres, Result, ServerError, eventually};

pub(crate) mod carried;
mod numbers;
mod server;
mod session;

pub use server::{Server, ServerOptions, Version};
pub use session::{Refusal, Session};

/// As [`crate::daemon`]'s: everything is quick, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

/// What MySQL and MariaDB call those of their types that are whole numbers (`information_schema.columns.data_type`).
const MYSQL_INTEGERS: [&str; 5] = ["tinyint", "smallint", "mediumint", "int", "bigint"];

/// How often a source is to tell its server of its progress, or to hear of it.
const INTERVAL_MS: u64 = 100;

/// Numbers databases, which are named apart also over servers: slots and topics take their names from them.
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A database on a server.
#[derive(Clone)]
pub struct Database {
    server: Server,
    name: String,
    /// What takes it away with the last handle, where its server goes on for others.
    _lodging: Option<Arc<Lodging>>,
}

/// The place of a database on a server that other tests use too.
struct Lodging {
    server: Server,
    name: String,
}

// === impl Database ===

impl Database {
    /// A new, empty database on the server of this version that all tests share. Never stop that server, and leave no
    /// transaction open in it: other tests' slots would wait for its end.
    ///
    /// # Errors
    /// When the server does not start or refuses.
    pub async fn shared(version: impl Into<Version>) -> Result<Database> {
        let mut database = Database::create(Server::shared(version.into())?).await?;
        database._lodging = Some(Arc::new(Lodging {
            server: database.server.clone(),
            name: database.name.clone(),
        }));
        Ok(database)
    }

    /// A new, empty database on a server of the test's own.
    ///
    /// # Errors
    /// When the server does not start or refuses.
    pub async fn own(options: impl Into<ServerOptions>) -> Result<Database> {
        Database::create(Server::start(options)?).await
    }

    /// Another database on a server that is there.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create(server: Server) -> Result<Database> {
        let name = format!("shop{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        server.execute(&format!("create database {name}")).await?;
        Ok(Database {
            server,
            name,
            _lodging: None,
        })
    }

    /// The database of this name on another server, which got it by replication.
    #[must_use]
    pub fn on_replica(&self, server: Server) -> Database {
        Database {
            server,
            name: self.name.clone(),
            _lodging: self._lodging.clone(),
        }
    }

    /// The server it is on.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server, where it is PostgreSQL.
    ///
    /// # Errors
    /// When it is another.
    pub fn postgres(&self) -> Result<&Arc<Postgres>> {
        self.server.postgres()
    }

    /// The server, where it is MySQL or MariaDB.
    ///
    /// # Errors
    /// When it is another.
    pub fn mysql(&self) -> Result<&Arc<MySqlServer>> {
        self.server.mysql()
    }

    /// Its name: also the name of the connector that captures it, and the prefix of its topics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The schema of its tables. What MySQL calls a database is one.
    #[must_use]
    pub fn schema(&self) -> &str {
        match self.server {
            Server::Postgres(_) => "public",
            Server::MySql(_) => &self.name,
        }
    }

    /// The topic of a table, as it is called by default.
    #[must_use]
    pub fn topic(&self, table: &str) -> String {
        format!("{}.{}.{table}", self.name, self.schema())
    }

    /// Lines of the `source` of a connector that reads its log, all but `tables`; the URL is another one where it is given.
    #[must_use]
    pub fn source(&self, url: Option<&str>) -> String {
        self.location(url) + &self.log_settings()
    }

    /// Lines of a connector's `source` that say where it is; the URL is another one where it is given.
    #[must_use]
    pub fn location(&self, url: Option<&str>) -> String {
        let url = url.map_or_else(|| self.url(), str::to_owned);
        let kind = match &self.server {
            Server::Postgres(_) => "postgres",
            Server::MySql(server) => server.version().connector_type(),
        };
        format!("type: {kind}\nurl: \"{url}\"\n")
    }

    /// Lines of a connector's `source` that have progress told as often as can be, so that a test does not wait for it.
    #[must_use]
    pub fn log_settings(&self) -> String {
        match self.server {
            Server::Postgres(_) => format!("status_interval_ms: {INTERVAL_MS}\n"),
            Server::MySql(_) => format!("heartbeat_interval_ms: {INTERVAL_MS}\n"),
        }
    }

    /// Table patterns in which `public` stands for the schema: `[public.*]`.
    #[must_use]
    pub fn patterns(&self, tables: &str) -> String {
        tables.replace("public.", &format!("{}.", self.schema()))
    }

    /// The name of the connector's slot and publication.
    #[must_use]
    pub fn slot(&self) -> String {
        format!("tailrace_{}", self.name)
    }

    /// Where a superuser connects.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.server {
            Server::Postgres(server) => server.url_as("postgres", &self.name),
            Server::MySql(server) => server.url(),
        }
    }

    /// The same, through a proxy before the server.
    #[must_use]
    pub fn url_through(&self, proxy: &Proxy) -> String {
        match self.server {
            Server::Postgres(_) => format!("postgres://postgres@{}/{}", proxy.address(), self.name),
            Server::MySql(_) => format!("mysql://root@{}/", proxy.address()),
        }
    }

    /// What a proxy before the server has to understand.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        match self.server {
            Server::Postgres(_) => Protocol::Postgres,
            Server::MySql(_) => Protocol::MySql,
        }
    }

    /// A connection.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn session(&self) -> Result<Session> {
        Ok(match &self.server {
            Server::Postgres(server) => Session::Postgres(server.connect_as("postgres", &self.name).await?),
            Server::MySql(server) => Session::MySql(Box::new(server.connect_to(&self.name).await?)),
        })
    }

    /// PostgreSQL: a client, its connection driven by a task of its own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(&self) -> Result<Client> {
        self.postgres()?.connect_as("postgres", &self.name).await
    }

    /// Runs statements, separated by semicolons. In PostgreSQL they are one transaction without an explicit BEGIN.
    ///
    /// # Errors
    /// The server's error, with the statements.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        match &self.server {
            Server::Postgres(server) => server.execute_in(&self.name, statements).await,
            Server::MySql(server) => server.execute_in(&self.name, statements).await,
        }
    }

    /// The rows of a query, as text; NULL is `None`.
    ///
    /// # Errors
    /// The server's error, with the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        match &self.server {
            Server::Postgres(server) => server.query_in(&self.name, query).await,
            Server::MySql(server) => server.query_in(&self.name, query).await,
        }
    }

    /// The rows of a table: whole numbers as numbers, everything else as text or null.
    ///
    /// # Errors
    /// The server's error.
    pub async fn rows(&self, table: &str) -> Result<Vec<Map<String, Value>>> {
        match self.server {
            Server::Postgres(_) => {
                let found = self.query(&format!("select to_jsonb(t)::text from {table} t")).await?;
                let rows = found.into_iter().flatten().flatten();
                rows.map(|text| serde_json::from_str(&text).map_err(ServerError::doing("reading a row")))
                    .collect()
            }
            Server::MySql(_) => self.rows_of_mysql(table).await,
        }
    }

    async fn rows_of_mysql(&self, table: &str) -> Result<Vec<Map<String, Value>>> {
        let columns = format!(
            "select column_name, data_type from information_schema.columns \
             where table_schema = '{}' and table_name = '{table}' order by ordinal_position",
            self.name
        );
        let columns = self.query(&columns).await?;
        let value = |kind: &str, text: Option<String>| match text {
            None => Value::Null,
            Some(text) if MYSQL_INTEGERS.contains(&kind) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            Some(text) => Value::String(text),
        };
        let found = self.query(&format!("select * from {table}")).await?;
        let rows = found.into_iter().map(|row| {
            let pairs = columns
                .iter()
                .zip(row)
                .filter_map(|(column, text)| match column.as_slice() {
                    [Some(name), Some(kind)] => Some((name.clone(), value(kind, text))),
                    _ => None,
                });
            pairs.collect()
        });
        Ok(rows.collect())
    }

    /// The single value of a query, as text.
    ///
    /// # Errors
    /// The server's error, or that there is no row or the value is NULL.
    pub async fn query_value(&self, query: &str) -> Result<String> {
        let rows = self.query(query).await?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        value.ok_or_else(|| ServerError::new(format!("no value came back from {query}")))
    }

    /// Streams from a slot without ever reading, until the connection is dropped: somebody else has it.
    ///
    /// # Errors
    /// When the server refuses the connection.
    pub fn hold_slot(&self, slot: &str) -> Result<TcpStream> {
        let failed = || ServerError::doing::<std::io::Error>(format!("holding slot {slot}"));
        let mut connection = TcpStream::connect(("127.0.0.1", self.postgres()?.port())).map_err(failed())?;
        // Protocol 3.0, then names and values (PostgreSQL documentation, "Message Formats").
        let parameters = format!("user\0postgres\0database\0{}\0replication\0database\0\0", self.name);
        let mut startup = vec![0, 3, 0, 0];
        startup.extend(parameters.as_bytes());
        connection.write_all(&with_length(&startup)).map_err(failed())?;
        let options = format!("proto_version '1', publication_names '{slot}'");
        let command = format!("START_REPLICATION SLOT {slot} LOGICAL 0/0 ({options})\0");
        connection.write_all(b"Q").map_err(failed())?;
        connection
            .write_all(&with_length(command.as_bytes()))
            .map_err(failed())?;
        Ok(connection)
    }

    /// Waits until a condition in SQL holds.
    ///
    /// # Errors
    /// The server's error, or that it did not hold in time.
    pub async fn wait_until(&self, condition: &str) -> Result<()> {
        let query = match self.server {
            Server::Postgres(_) => format!("select ({condition})::text"),
            Server::MySql(_) => format!("select if({condition}, 'true', 'false')"),
        };
        eventually(condition, DEADLINE, || async {
            Ok((self.query_value(&query).await? == "true").then_some(()))
        })
        .await
    }

    /// Waits until everything that is committed by now is durable in the stream and confirmed to the server, where it is told
    /// of that, or until the daemon will never do that.
    ///
    /// # Errors
    /// The server's error, that the connector was halted, or that it did not happen in time.
    pub async fn wait_until_carried(&self, daemon: &Daemon) -> Result<()> {
        let end = self.log_end().await?;
        let outcome = eventually("everything carried", DEADLINE, || async {
            if self.is_carried(daemon, &end).await? {
                return Ok(Some(()));
            }
            let state = daemon.state(&self.name)?;
            if state.starts_with("halted") {
                return Err(ServerError::new(format!(
                    "{} is {state} and carries nothing",
                    self.name
                )));
            }
            Ok(None)
        });
        outcome.await.map_err(|error| daemon.with_status(&self.name, &error))
    }

    /// Where the server's log ends now.
    async fn log_end(&self) -> Result<String> {
        match &self.server {
            Server::Postgres(_) => self.query_value("select pg_current_wal_lsn()").await,
            Server::MySql(server) => carried::end(server).await,
        }
    }

    async fn is_carried(&self, daemon: &Daemon, end: &str) -> Result<bool> {
        let slot = self.slot();
        match &self.server {
            Server::Postgres(_) => {
                let query = format!(
                    "select (confirmed_flush_lsn >= '{end}'::pg_lsn)::text from pg_replication_slots where slot_name = '{slot}'"
                );
                let rows = self.query(&query).await?;
                Ok(rows.into_iter().flatten().flatten().any(|carried| carried == "true"))
            }
            Server::MySql(server) => carried::is_carried(server, &daemon.connector(&self.name)?, end).await,
        }
    }
}

// === impl Lodging ===

impl Drop for Lodging {
    /// Some hundred databases, and the log that their slots hold back, fill a disk before the last test has begun. Nobody waits for
    /// this and nobody hears of a failure: the server itself goes at the end, with everything that is left.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        drop(std::thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(server.remove(&name)))
        }));
    }
}

/// A message's body behind its length, which counts itself.
fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], body].concat()
}
