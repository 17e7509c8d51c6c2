//! A database for one test: servers are shared, databases are not.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::Client;

use crate::daemon::Daemon;
use crate::proxy::Proxy;
use crate::servers::{Postgres, PostgresOptions, PostgresVersion, Result, ServerError, eventually};

/// As [`crate::daemon`]'s: everything is quick, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

/// One server per version for the whole test process; its slots and senders are enough for every test at once.
static SHARED: Mutex<BTreeMap<PostgresVersion, Arc<Postgres>>> = Mutex::new(BTreeMap::new());

/// Numbers databases, which are named apart also over servers: slots and topics take their names from them.
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A database on a server.
#[derive(Clone)]
pub struct Database {
    server: Arc<Postgres>,
    name: String,
}

// === impl Database ===

impl Database {
    /// A new, empty database on the server of this version that all tests share. Never stop that server, and leave no
    /// transaction open in it: other tests' slots would wait for its end.
    ///
    /// # Errors
    /// When the server does not start or refuses.
    pub async fn shared(version: PostgresVersion) -> Result<Database> {
        Database::create(shared_server(version)?).await
    }

    /// A new, empty database on a server of the test's own.
    ///
    /// # Errors
    /// When the server does not start or refuses.
    pub async fn own(options: PostgresOptions) -> Result<Database> {
        Database::create(Arc::new(Postgres::start(options)?)).await
    }

    /// Another database on a server that is there.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create(server: Arc<Postgres>) -> Result<Database> {
        let name = format!("shop{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        server.execute(&format!("create database {name}")).await?;
        Ok(Database { server, name })
    }

    /// The server it is on.
    #[must_use]
    pub fn server(&self) -> &Arc<Postgres> {
        &self.server
    }

    /// Its name: also the name of the connector that captures it, and the prefix of its topics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the connector's slot and publication.
    #[must_use]
    pub fn slot(&self) -> String {
        format!("tailrace_{}", self.name)
    }

    /// Where a superuser connects.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url_as("postgres", &self.name)
    }

    /// The same, through a proxy before the server.
    #[must_use]
    pub fn url_through(&self, proxy: &Proxy) -> String {
        format!("postgres://postgres@{}/{}", proxy.address(), self.name)
    }

    /// A client, its connection driven by a task of its own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(&self) -> Result<Client> {
        self.server.connect_as("postgres", &self.name).await
    }

    /// Runs statements; without an explicit BEGIN they are one transaction.
    ///
    /// # Errors
    /// The server's error, with the statements.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        self.server.execute_in(&self.name, statements).await
    }

    /// The rows of a query, as text; NULL is `None`.
    ///
    /// # Errors
    /// The server's error, with the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.server.query_in(&self.name, query).await
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
        let mut connection = TcpStream::connect(("127.0.0.1", self.server.port())).map_err(failed())?;
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
        let query = format!("select ({condition})::text");
        eventually(condition, DEADLINE, || async {
            Ok((self.query_value(&query).await? == "true").then_some(()))
        })
        .await
    }

    /// Waits until everything that is committed by now is durable in the stream and confirmed to the server, or until
    /// the daemon will never do that.
    ///
    /// # Errors
    /// The server's error, that the connector was halted, or that it did not happen in time.
    pub async fn wait_until_carried(&self, daemon: &Daemon) -> Result<()> {
        let end = self.query_value("select pg_current_wal_lsn()").await?;
        let slot = self.slot();
        let query = format!(
            "select (confirmed_flush_lsn >= '{end}'::pg_lsn)::text from pg_replication_slots where slot_name = '{slot}'"
        );
        let outcome = eventually("everything carried", DEADLINE, || async {
            let rows = self.query(&query).await?;
            if rows.into_iter().flatten().flatten().any(|carried| carried == "true") {
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
}

/// A message's body behind its length, which counts itself.
fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], body].concat()
}

/// The server of this version that all tests of the process share.
fn shared_server(version: PostgresVersion) -> Result<Arc<Postgres>> {
    let mut servers = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = servers.get(&version) {
        return Ok(Arc::clone(server));
    }
    let options = PostgresOptions::version(version)
        .setting("max_replication_slots = 200")
        .setting("max_wal_senders = 100")
        .setting("max_connections = 400");
    let server = Arc::new(Postgres::start(options)?);
    servers.insert(version, Arc::clone(&server));
    Ok(server)
}
