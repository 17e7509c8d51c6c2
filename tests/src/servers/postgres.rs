//! A private PostgreSQL server.
//!
//! The data folder is a copy of a template that `tests/services/install` made by initdb, which is several times quicker
//! than initdb. Authentication is `trust` unless a test brings its own pg_hba.conf lines.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tailrace_core::task::spawn_named;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::process::{Account, Server, ServerCommand, ServerFolder, poll_until};
use super::{Port, Result, ServerError, installed};

/// A start with recovery on two busy cores; usually it is well below a second.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A fast shutdown waits for its WAL senders to have sent everything, so a client that reads nothing can hold it up.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// What every test relies on. Small buffers and little log kept, because many servers run side by side.
const BASE_SETTINGS: &str = "
listen_addresses = '127.0.0.1'
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
max_prepared_transactions = 10
shared_buffers = 32MB
max_wal_size = 256MB
min_wal_size = 32MB
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
";

/// What a test sets for a database is for the daemon, and not for the test's own sessions, which may have to wait.
const WITHOUT_TIMEOUTS: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";

/// A major version of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PostgresVersion {
    /// The oldest that Tailrace supports: protocol version 1 of pgoutput, no streaming of large transactions.
    V13,
    /// Streaming of transactions in progress, binary values.
    V14,
    /// Debian's build, with PostGIS; column lists and row filters in publications.
    V15,
    /// Logical decoding on standbys, parallel streaming; with pgvector.
    V16,
    /// Failover slots.
    V17,
    /// Generated columns in pgoutput; with pgvector.
    V18,
}

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Which server; 17 unless said otherwise.
    pub version: PostgresVersion,
    /// Lines of postgresql.conf, after and above the usual ones: `wal_sender_timeout = 5s`.
    pub settings: Vec<String>,
    /// Whether the server syncs its files. Off by default: a killed process loses nothing by that, only a crash of the machine would.
    pub fsync: bool,
    /// Lines of pg_hba.conf for TCP connections, instead of `trust`. The Unix socket stays open to the user `postgres`.
    pub host_based_authentication: Vec<String>,
    /// Files put into the data folder, readable by the server alone: `server.crt`, `server.key`.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A running (or stopped) server. Dropping it kills the server and removes its data.
pub struct Postgres {
    version: PostgresVersion,
    program: PathBuf,
    libraries: PathBuf,
    port: Port,
    /// Before `folder`: fields are dropped in order, and the folder's watchdog would kill what still runs anyway.
    server: Server,
    folder: ServerFolder,
}

// === impl PostgresVersion ===

impl PostgresVersion {
    /// All that can be started, oldest first.
    pub const ALL: [PostgresVersion; 6] = [
        PostgresVersion::V13,
        PostgresVersion::V14,
        PostgresVersion::V15,
        PostgresVersion::V16,
        PostgresVersion::V17,
        PostgresVersion::V18,
    ];

    /// The number: 17.
    #[must_use]
    pub fn major(self) -> u16 {
        match self {
            PostgresVersion::V13 => 13,
            PostgresVersion::V14 => 14,
            PostgresVersion::V15 => 15,
            PostgresVersion::V16 => 16,
            PostgresVersion::V17 => 17,
            PostgresVersion::V18 => 18,
        }
    }
}

impl fmt::Display for PostgresVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgreSQL {}", self.major())
    }
}

// === impl PostgresOptions ===

impl Default for PostgresOptions {
    fn default() -> PostgresOptions {
        PostgresOptions {
            version: PostgresVersion::V17,
            settings: Vec::new(),
            fsync: false,
            host_based_authentication: Vec::new(),
            files: BTreeMap::new(),
        }
    }
}

impl PostgresOptions {
    /// The default options for this version.
    #[must_use]
    pub fn version(version: PostgresVersion) -> PostgresOptions {
        PostgresOptions {
            version,
            ..PostgresOptions::default()
        }
    }

    /// One more line of postgresql.conf.
    #[must_use]
    pub fn setting(mut self, line: &str) -> PostgresOptions {
        self.settings.push(line.to_owned());
        self
    }

    fn configuration(&self, port: u16, socket_folder: &Path) -> String {
        let fsync = if self.fsync { "on" } else { "off" };
        format!(
            "{BASE_SETTINGS}port = {port}\nunix_socket_directories = '{}'\nfsync = {fsync}\n{}\n",
            socket_folder.display(),
            self.settings.join("\n")
        )
    }
}

// === impl Postgres ===

impl Postgres {
    /// Starts a server with an empty database `postgres` and waits until it takes connections.
    ///
    /// # Errors
    /// When the server is not installed or does not start; the error carries the end of its log.
    pub fn start(options: PostgresOptions) -> Result<Postgres> {
        let major = options.version.major();
        let program = installed(&format!("postgresql/{major}/bin/postgres"))?;
        let libraries = installed(&format!("postgresql/{major}/lib"))?;
        let template = installed(&format!("postgresql/template-{major}"))?;
        let folder = ServerFolder::create(&format!("postgres{major}"), Account::for_databases()?)?;
        let port = Port::claim()?;
        folder.copy_in(&template, "data")?;
        let configuration = options.configuration(port.number(), folder.path());
        folder.write("data/postgresql.conf", configuration.as_bytes())?;
        if !options.host_based_authentication.is_empty() {
            let lines = format!(
                "local all postgres trust\n{}\n",
                options.host_based_authentication.join("\n")
            );
            folder.write("data/pg_hba.conf", lines.as_bytes())?;
        }
        for (name, contents) in &options.files {
            folder.write(&format!("data/{name}"), contents)?;
        }
        let postgres = Postgres {
            version: options.version,
            program,
            libraries,
            port,
            server: Server::new(options.version.to_string()),
            folder,
        };
        postgres.launch()?;
        Ok(postgres)
    }

    /// A standby of a server, which is stopped for a moment to be copied. `options` are those of the standby.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn standby_of(primary: &Postgres, options: PostgresOptions) -> Result<Postgres> {
        let folder = ServerFolder::create("standby", Account::for_databases()?)?;
        let port = Port::claim()?;
        primary.stop_fast()?;
        folder.copy_in(&primary.data_dir(), "data")?;
        primary.launch()?;
        let connection = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'",
            primary.port()
        );
        let configuration = options.setting(&connection).configuration(port.number(), folder.path());
        folder.write("data/postgresql.conf", configuration.as_bytes())?;
        folder.write("data/standby.signal", b"")?;
        let standby = Postgres {
            version: primary.version,
            program: primary.program.clone(),
            libraries: primary.libraries.clone(),
            port,
            server: Server::new(format!("the standby of {}", primary.version)),
            folder,
        };
        standby.launch()?;
        Ok(standby)
    }

    /// The version that runs.
    #[must_use]
    pub fn version(&self) -> PostgresVersion {
        self.version
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("postgres", "postgres")
    }

    /// The URL of another user and database; a password may follow the user's name after a colon.
    #[must_use]
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port())
    }

    /// The folder that holds the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The TCP port on 127.0.0.1, the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The server's data folder; only the server's account (and root) can read it.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The first of the server's processes, below which are all others, for their CPU time under `/proc`; none while it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.server.process_id()
    }

    /// Everything that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.folder.log()
    }

    /// Adds a line to postgresql.conf; it holds from the next `restart`, or `select pg_reload_conf()`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_setting(&self, line: &str) -> Result<()> {
        let name = "data/postgresql.conf";
        let before =
            fs::read_to_string(self.folder.path().join(name)).map_err(ServerError::doing("reading postgresql.conf"))?;
        self.folder.write(name, format!("{before}{line}\n").as_bytes())
    }

    /// Disconnects everybody, writes a checkpoint and stops (`pg_ctl stop -m fast`). No effect on a stopped server.
    ///
    /// # Errors
    /// When the server is still there after the deadline.
    pub fn stop_fast(&self) -> Result<()> {
        self.server.stop("INT", STOP_DEADLINE)
    }

    /// SIGKILL to all its processes at once, as when the machine runs out of memory. No effect on a stopped server.
    ///
    /// # Errors
    /// When one of its processes is still there after the deadline.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill()?;
        self.wait_detached()
    }

    /// Starts the server again on the same port and data, after `stop_fast` or `kill9`; a running one is stopped first.
    ///
    /// # Errors
    /// When it does not stop or does not start.
    pub fn restart(&self) -> Result<()> {
        self.stop_fast()?;
        self.launch()
    }

    /// A client of database `postgres`, its connection driven by a task of its own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(&self) -> Result<Client> {
        self.connect_as("postgres", "postgres").await
    }

    /// A client as another user, of another database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect_as(&self, user: &str, database: &str) -> Result<Client> {
        let url = self.url_as(user, database);
        let failed = || ServerError::doing(format!("connecting to {url}"));
        let mut config: tokio_postgres::Config = url.parse().map_err(failed())?;
        config.options(WITHOUT_TIMEOUTS);
        let (client, connection) = config.connect(NoTls).await.map_err(failed())?;
        // The task ends with the client, or with the server, of which the client's next statement then tells.
        drop(spawn_named("test-postgres-connection", async move {
            drop(connection.await)
        }));
        Ok(client)
    }

    /// Runs statements in database `postgres`; without an explicit BEGIN they are one transaction.
    ///
    /// # Errors
    /// The server's error, with the statements.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        self.execute_in("postgres", statements).await
    }

    /// As [`Postgres::execute`], in another database.
    ///
    /// # Errors
    /// As [`Postgres::execute`].
    pub async fn execute_in(&self, database: &str, statements: &str) -> Result<()> {
        let client = self.connect_as("postgres", database).await?;
        client
            .batch_execute(statements)
            .await
            .map_err(statement_failed(statements))
    }

    /// The rows of a query, as text; NULL is `None`.
    ///
    /// # Errors
    /// The server's error, with the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.query_in("postgres", query).await
    }

    /// As [`Postgres::query`], in another database.
    ///
    /// # Errors
    /// As [`Postgres::query`].
    pub async fn query_in(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let client = self.connect_as("postgres", database).await?;
        let messages = client.simple_query(query).await.map_err(statement_failed(query))?;
        Ok(messages.iter().filter_map(row_as_text).collect())
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

    fn launch(&self) -> Result<()> {
        // A status that a killed server left behind must not count for the new one.
        let status_file = self.data_dir().join("postmaster.pid");
        let command = ServerCommand {
            program: self.program.clone(),
            arguments: vec!["-D".into(), self.data_dir().into()],
            environment: vec![("LD_LIBRARY_PATH".to_owned(), self.libraries.clone().into())],
        };
        self.server.start(&self.folder, command, START_DEADLINE, |process_id| {
            says_ready(&status_file, process_id)
        })
    }

    /// A new server refuses to start while a process of the old one is attached to its shared memory, so that is what is
    /// waited for: `postmaster.pid` names the segment in line 7, `/proc/sysvipc/shm` tells how many are attached.
    fn wait_detached(&self) -> Result<()> {
        let Some(segment) = shared_memory_id(&self.data_dir().join("postmaster.pid")) else {
            return Ok(());
        };
        poll_until("the end of the server's child processes", STOP_DEADLINE, || {
            let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
            Ok((attached_processes(&segments, &segment) == 0).then_some(()))
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.version, self.folder.path().display())
    }
}

/// `postmaster.pid`: line 1 the pid, line 8 the status, which is what `pg_ctl -w` goes by.
fn says_ready(status_file: &Path, process_id: u32) -> bool {
    let contents = fs::read_to_string(status_file).unwrap_or_default();
    let mut lines = contents.lines();
    lines.next().map(str::trim) == Some(process_id.to_string().as_str())
        && matches!(lines.nth(6).map(str::trim), Some("ready" | "standby"))
}

fn shared_memory_id(status_file: &Path) -> Option<String> {
    let contents = fs::read_to_string(status_file).ok()?;
    contents.lines().nth(6)?.split_whitespace().nth(1).map(str::to_owned)
}

/// `/proc/sysvipc/shm`: key, shmid, perms, size, cpid, lpid, nattch, …, see proc(5).
fn attached_processes(segments: &str, segment: &str) -> u64 {
    segments
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&segment))
        .and_then(|fields| fields.get(6)?.parse().ok())
        .unwrap_or(0)
}

fn row_as_text(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|column| row.get(column).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    }
}

/// tokio-postgres prints only "db error"; the message is in its source.
fn statement_failed(statement: &str) -> impl FnOnce(tokio_postgres::Error) -> ServerError {
    let statement = statement.to_owned();
    move |error| match error.as_db_error() {
        Some(database) => ServerError::new(format!(
            "{} ({}) in: {statement}",
            database.message(),
            database.code().code()
        )),
        None => ServerError::new(format!("{error} in: {statement}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn starts_and_survives_kill9(version: PostgresVersion) {
        let postgres = Postgres::start(PostgresOptions::version(version)).unwrap();
        let reported = postgres.query_value("show server_version_num").await.unwrap();
        assert_eq!(reported.parse::<u32>().unwrap() / 10_000, u32::from(version.major()));
        assert_eq!(postgres.query_value("show wal_level").await.unwrap(), "logical");
        postgres
            .execute("create table kept (id int primary key); insert into kept values (1)")
            .await
            .unwrap();
        // Two backends, so that the kill has children to find.
        let client = postgres.connect().await.unwrap();
        postgres.kill9().unwrap();
        assert!(client.simple_query("select 1").await.is_err());
        assert!(postgres.connect().await.is_err());
        postgres.restart().unwrap();
        assert_eq!(postgres.query_value("select count(*) from kept").await.unwrap(), "1");
        assert!(postgres.log().contains("not properly shut down"));
    }

    #[tokio::test]
    async fn version_13_starts_and_survives_kill9() {
        starts_and_survives_kill9(PostgresVersion::V13).await;
    }

    #[tokio::test]
    async fn version_14_starts_and_survives_kill9() {
        starts_and_survives_kill9(PostgresVersion::V14).await;
    }

    #[tokio::test]
    async fn version_15_starts_and_survives_kill9() {
        starts_and_survives_kill9(PostgresVersion::V15).await;
    }

    #[tokio::test]
    async fn version_16_starts_and_survives_kill9() {
        starts_and_survives_kill9(PostgresVersion::V16).await;
    }

    #[tokio::test]
    async fn version_17_starts_and_survives_kill9() {
        starts_and_survives_kill9(PostgresVersion::V17).await;
    }

    #[tokio::test]
    async fn version_18_starts_and_survives_kill9() {
        starts_and_survives_kill9(PostgresVersion::V18).await;
    }

    #[tokio::test]
    async fn a_fast_stop_and_a_restart_keep_port_and_take_settings_over() {
        let postgres = Postgres::start(PostgresOptions::default().setting("wal_sender_timeout = 5s")).unwrap();
        let port = postgres.port();
        assert_eq!(postgres.query_value("show wal_sender_timeout").await.unwrap(), "5s");
        postgres.append_setting("wal_sender_timeout = 7s").unwrap();
        postgres.stop_fast().unwrap();
        postgres.stop_fast().unwrap();
        assert!(postgres.connect().await.is_err());
        postgres.restart().unwrap();
        assert_eq!(postgres.port(), port);
        assert_eq!(postgres.query_value("show wal_sender_timeout").await.unwrap(), "7s");
        assert!(!postgres.log().contains("not properly shut down"));
    }

    #[tokio::test]
    async fn extensions_that_the_type_tests_need_are_there() {
        for (version, extensions) in [
            (PostgresVersion::V15, ["hstore", "ltree", "citext", "postgis"]),
            (PostgresVersion::V16, ["hstore", "ltree", "citext", "vector"]),
            (PostgresVersion::V18, ["hstore", "ltree", "citext", "vector"]),
        ] {
            let postgres = Postgres::start(PostgresOptions::version(version)).unwrap();
            for extension in extensions {
                postgres
                    .execute(&format!("create extension {extension}"))
                    .await
                    .unwrap();
            }
        }
    }

    #[tokio::test]
    async fn own_authentication_lines_hold_for_tcp() {
        let postgres = Postgres::start(PostgresOptions {
            host_based_authentication: vec!["host all all 127.0.0.1/32 scram-sha-256".to_owned()],
            ..PostgresOptions::default()
        })
        .unwrap();
        assert!(postgres.connect().await.is_err());
        let socket = format!(
            "host={} port={} user=postgres dbname=postgres",
            postgres.socket_dir().display(),
            postgres.port()
        );
        let (client, connection) = tokio_postgres::connect(&socket, NoTls).await.unwrap();
        let driver = spawn_named("socket", connection);
        client
            .batch_execute("create role app login password 'secret'")
            .await
            .unwrap();
        assert_eq!(
            postgres
                .connect_as("app:secret", "postgres")
                .await
                .unwrap()
                .query("select 1", &[])
                .await
                .unwrap()
                .len(),
            1
        );
        drop(client);
        driver.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_wrong_setting_is_told_with_the_servers_own_words() {
        let error = Postgres::start(PostgresOptions::default().setting("no_such_setting = 1"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no_such_setting"), "{error}");
    }

    #[tokio::test]
    async fn dropping_takes_server_and_folder_away() {
        let postgres = Postgres::start(PostgresOptions::default()).unwrap();
        let (folder, port) = (postgres.socket_dir().to_owned(), postgres.port());
        drop(postgres);
        assert!(!folder.exists());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn attached_processes_are_read_from_the_right_column() {
        let segments = "       key      shmid perms                  size  cpid  lpid nattch   uid\n  \
                        12345          7   600                    56  1000  1001      3   109\n";
        assert_eq!(attached_processes(segments, "7"), 3);
        assert_eq!(attached_processes(segments, "8"), 0);
    }
}
