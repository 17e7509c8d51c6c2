//! A server of any kind, as far as tests need not know of which.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::servers::{
    MySqlOptions, MySqlServer, MySqlVersion, Postgres, PostgresOptions, PostgresVersion, Result, ServerError,
    eventually,
};

/// A session that was told to end is gone in a moment; a daemon that lives longer than its database tries again and again.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(30);

/// One server per version for the whole test process; its slots, senders and connections are enough for every test at once.
static SHARED: Mutex<BTreeMap<Version, Server>> = Mutex::new(BTreeMap::new());

/// Which server, of all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// PostgreSQL.
    Postgres(PostgresVersion),
    /// MySQL or MariaDB.
    MySql(MySqlVersion),
}

/// How a server is to be started.
pub enum ServerOptions {
    /// PostgreSQL.
    Postgres(PostgresOptions),
    /// MySQL or MariaDB.
    MySql(MySqlOptions),
}

/// A running server.
#[derive(Clone, Debug)]
pub enum Server {
    /// PostgreSQL.
    Postgres(Arc<Postgres>),
    /// MySQL or MariaDB.
    MySql(Arc<MySqlServer>),
}

// === impl Version ===

impl From<PostgresVersion> for Version {
    fn from(version: PostgresVersion) -> Version {
        Version::Postgres(version)
    }
}

impl From<MySqlVersion> for Version {
    fn from(version: MySqlVersion) -> Version {
        Version::MySql(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Postgres(version) => version.fmt(formatter),
            Version::MySql(version) => version.fmt(formatter),
        }
    }
}

// === impl ServerOptions ===

impl From<PostgresOptions> for ServerOptions {
    fn from(options: PostgresOptions) -> ServerOptions {
        ServerOptions::Postgres(options)
    }
}

impl From<MySqlOptions> for ServerOptions {
    fn from(options: MySqlOptions) -> ServerOptions {
        ServerOptions::MySql(options)
    }
}

// === impl Server ===

impl Server {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(options: impl Into<ServerOptions>) -> Result<Server> {
        Ok(match options.into() {
            ServerOptions::Postgres(options) => Server::Postgres(Arc::new(Postgres::start(options)?)),
            ServerOptions::MySql(options) => Server::MySql(Arc::new(MySqlServer::start(options)?)),
        })
    }

    /// The server of this version that all tests of the process share.
    pub(super) fn shared(version: Version) -> Result<Server> {
        let mut servers = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(&version) {
            return Ok(server.clone());
        }
        let server = match version {
            Version::Postgres(version) => Server::start(
                PostgresOptions::version(version)
                    .setting("max_replication_slots = 200")
                    .setting("max_wal_senders = 100")
                    .setting("max_connections = 400"),
            ),
            Version::MySql(version) => Server::start(MySqlOptions::version(version).visible_writers()),
        };
        let server = server?;
        servers.insert(version, server.clone());
        Ok(server)
    }

    /// What it is.
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            Server::Postgres(server) => server.version().into(),
            Server::MySql(server) => server.version().into(),
        }
    }

    /// The TCP port on 127.0.0.1, the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Server::Postgres(server) => server.port(),
            Server::MySql(server) => server.port(),
        }
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        match self {
            Server::Postgres(server) => server.log(),
            Server::MySql(server) => server.log(),
        }
    }

    /// Asks it to stop, at once. No effect on a stopped server.
    ///
    /// # Errors
    /// When it is still there after a deadline.
    pub fn stop_fast(&self) -> Result<()> {
        match self {
            Server::Postgres(server) => server.stop_fast(),
            Server::MySql(server) => server.stop(),
        }
    }

    /// SIGKILL to all its processes at once. No effect on a stopped server.
    ///
    /// # Errors
    /// When a process is still there after a deadline.
    pub fn kill9(&self) -> Result<()> {
        match self {
            Server::Postgres(server) => server.kill9(),
            Server::MySql(server) => server.kill9(),
        }
    }

    /// Starts it again on the same port and data; a running one is stopped first.
    ///
    /// # Errors
    /// When it does not stop or does not start.
    pub fn restart(&self) -> Result<()> {
        match self {
            Server::Postgres(server) => server.restart(),
            Server::MySql(server) => server.restart(),
        }
    }

    /// Runs statements in no database of a test's own.
    ///
    /// # Errors
    /// The server's error, with the statements.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        match self {
            Server::Postgres(server) => server.execute(statements).await,
            Server::MySql(server) => server.execute(statements).await,
        }
    }

    /// Takes a database away, with its slots and whoever is still connected to it.
    pub(super) async fn remove(&self, database: &str) -> Result<()> {
        if let Server::Postgres(server) = self {
            eventually("an end of the database's slots", REMOVAL_DEADLINE, || async {
                let of_database = format!("from pg_replication_slots where database = '{database}'");
                let free = format!("select pg_drop_replication_slot(slot_name) {of_database} and not active");
                server.query(&free).await?;
                let held = format!("select pg_terminate_backend(active_pid) {of_database} and active");
                server.query(&held).await?;
                let left = server.query(&format!("select 1 {of_database}")).await?;
                Ok(left.is_empty().then_some(()))
            })
            .await?;
        }
        let with_sessions = match self {
            Server::Postgres(_) => " with (force)",
            Server::MySql(_) => "",
        };
        self.execute(&format!("drop database if exists {database}{with_sessions}"))
            .await
    }

    /// PostgreSQL's own abilities.
    ///
    /// # Errors
    /// When it is another database.
    pub fn postgres(&self) -> Result<&Arc<Postgres>> {
        match self {
            Server::Postgres(server) => Ok(server),
            Server::MySql(server) => Err(ServerError::new(format!("{server:?} is no PostgreSQL"))),
        }
    }

    /// MySQL's and MariaDB's own abilities.
    ///
    /// # Errors
    /// When it is another database.
    pub fn mysql(&self) -> Result<&Arc<MySqlServer>> {
        match self {
            Server::MySql(server) => Ok(server),
            Server::Postgres(server) => Err(ServerError::new(format!("{server:?} is no MySQL"))),
        }
    }
}
