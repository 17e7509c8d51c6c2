//! A private MySQL or MariaDB server.
//!
//! The data folder is a copy of a template that `tests/services/install` made, which is several times quicker than making
//! one. `root` has no password and may come from 127.0.0.1. The binary log is on, as it is wherever changes are captured: row
//! events with full images and as much metadata as the server knows to write, global transaction identifiers.
//!
//! A killed process loses nothing, because everything that was committed has reached the operating system; only a crash of the
//! machine would, unless [`MySqlOptions::durable`] says otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};

use super::process::{Account, Server, ServerCommand, ServerFolder};
use super::{Port, Result, ServerError, installed};

/// A start with recovery on two busy cores; usually it is two seconds.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// A shutdown writes what is in memory and waits for its readers.
const STOP_DEADLINE: Duration = Duration::from_secs(90);

/// A server that listens greets at once; one that is still starting does not greet at all.
const GREETING_TIMEOUT: Duration = Duration::from_millis(200);

/// Version of the protocol, the first byte of a greeting's body (documentation of both, "Initial Handshake Packet").
const PROTOCOL_VERSION: u8 = 10;

/// Readers of the log choose numbers far above this one.
const SERVER_ID: u32 = 1;

/// A replica takes what its source has logged, and what it has logged is taken, within this.
const REPLICATION_DEADLINE: Duration = Duration::from_secs(60);

/// What every test relies on, on every server. Small buffers, because many servers run side by side.
const BASE_SETTINGS: [&str; 14] = [
    "bind_address=127.0.0.1",
    "skip_name_resolve=ON",
    "default_time_zone=+00:00",
    "character_set_server=utf8mb4",
    "log_bin=binlog",
    "binlog_format=ROW",
    "binlog_row_image=FULL",
    "binlog_checksum=CRC32",
    "max_connections=400",
    "max_allowed_packet=64M",
    "table_open_cache=400",
    "innodb_buffer_pool_size=64M",
    "transaction_isolation=REPEATABLE-READ",
    "lower_case_table_names=0",
];

/// A server of which there is a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MySqlVersion {
    /// MySQL of 2015: no column names and no signedness in its log, no JSON.
    MySql56,
    /// MySQL as it is now.
    MySql97,
    /// MariaDB as Debian 12 has it.
    MariaDb1011,
}

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct MySqlOptions {
    /// Which server.
    pub version: MySqlVersion,
    /// Settings after and above the usual ones, as in an option file: `binlog_row_metadata=MINIMAL`.
    pub settings: Vec<String>,
    /// Whether every commit is written to the disk itself.
    pub durable: bool,
    /// Files put beside the data folder, readable by the server alone; settings name them as `FOLDER/name`.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A running (or stopped, or paused) server. Dropping it kills the server and removes its data.
pub struct MySqlServer {
    version: MySqlVersion,
    program: PathBuf,
    port: Port,
    settings: Mutex<Vec<String>>,
    /// Before `folder`: fields are dropped in order, and the folder's watchdog would kill what still runs anyway.
    server: Server,
    folder: ServerFolder,
}

// === impl MySqlVersion ===

impl MySqlVersion {
    /// All that can be started: MySQL's, oldest first, then MariaDB's.
    pub const ALL: [MySqlVersion; 3] = [MySqlVersion::MySql56, MySqlVersion::MySql97, MySqlVersion::MariaDb1011];

    /// As the cache folder and a test's messages call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MySqlVersion::MySql56 => "mysql-5.6",
            MySqlVersion::MySql97 => "mysql-9.7",
            MySqlVersion::MariaDb1011 => "mariadb-10.11",
        }
    }

    /// The connector's `type:`.
    #[must_use]
    pub fn connector_type(self) -> &'static str {
        match self {
            MySqlVersion::MySql56 | MySqlVersion::MySql97 => "mysql",
            MySqlVersion::MariaDb1011 => "mariadb",
        }
    }

    /// The statement that tells where the log ends.
    #[must_use]
    pub fn log_status_statement(self) -> &'static str {
        match self {
            MySqlVersion::MySql56 | MySqlVersion::MariaDb1011 => "show master status",
            MySqlVersion::MySql97 => "show binary log status",
        }
    }

    /// The query for the global transaction identifiers of everything that was executed.
    fn executed_query(self) -> &'static str {
        match self {
            MySqlVersion::MySql56 | MySqlVersion::MySql97 => "select @@global.gtid_executed",
            MySqlVersion::MariaDb1011 => "select @@global.gtid_binlog_pos",
        }
    }

    fn settings(self) -> &'static [&'static str] {
        match self {
            MySqlVersion::MySql56 => &[
                "collation_server=utf8mb4_general_ci",
                "gtid_mode=ON",
                "enforce_gtid_consistency=ON",
                "log_slave_updates=ON",
                "performance_schema=OFF",
                "innodb_log_file_size=8M",
                "explicit_defaults_for_timestamp=ON",
            ],
            MySqlVersion::MySql97 => &[
                "mysqlx=OFF",
                "gtid_mode=ON",
                "enforce_gtid_consistency=ON",
                "binlog_row_metadata=FULL",
            ],
            MySqlVersion::MariaDb1011 => &[
                "collation_server=utf8mb4_general_ci",
                "binlog_row_metadata=FULL",
                "gtid_strict_mode=ON",
                "innodb_log_file_size=32M",
            ],
        }
    }
}

impl fmt::Display for MySqlVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            MySqlVersion::MySql56 => "MySQL 5.6",
            MySqlVersion::MySql97 => "MySQL 9.7",
            MySqlVersion::MariaDb1011 => "MariaDB 10.11",
        })
    }
}

// === impl MySqlOptions ===

impl MySqlOptions {
    /// The default options for this server.
    #[must_use]
    pub fn version(version: MySqlVersion) -> MySqlOptions {
        MySqlOptions {
            version,
            settings: Vec::new(),
            durable: false,
            files: BTreeMap::new(),
        }
    }

    /// One more setting, `name=value`.
    #[must_use]
    pub fn setting(mut self, setting: &str) -> MySqlOptions {
        self.settings.push(setting.to_owned());
        self
    }

    /// Who writes to a table can be seen, which MariaDB does not show by default and the oldest MySQL not at all.
    #[must_use]
    pub fn visible_writers(self) -> MySqlOptions {
        match self.version {
            MySqlVersion::MySql56 | MySqlVersion::MySql97 => self,
            MySqlVersion::MariaDb1011 => self
                .setting("performance_schema=ON")
                .setting("performance_schema_instrument=wait/lock/metadata/sql/mdl=ON")
                .setting("performance_schema_consumer_events_statements_current=ON"),
        }
    }

    /// Positions in files are all that there is. MariaDB's log always has global transaction identifiers.
    #[must_use]
    pub fn without_gtids(self) -> MySqlOptions {
        match self.version {
            MySqlVersion::MySql56 | MySqlVersion::MySql97 => {
                self.setting("gtid_mode=OFF").setting("enforce_gtid_consistency=OFF")
            }
            MySqlVersion::MariaDb1011 => self,
        }
    }

    fn all_settings(&self) -> Vec<String> {
        let (sync_binlog, flush) = if self.durable { (1, 1) } else { (0, 2) };
        let usual = BASE_SETTINGS.iter().chain(self.version.settings());
        let usual = usual.map(|setting| (*setting).to_owned());
        let durability = [
            format!("server_id={SERVER_ID}"),
            format!("sync_binlog={sync_binlog}"),
            format!("innodb_flush_log_at_trx_commit={flush}"),
        ];
        usual.chain(durability).chain(self.settings.iter().cloned()).collect()
    }
}

// === impl MySqlServer ===

impl MySqlServer {
    /// Starts a server without databases of its own and waits until it takes connections.
    ///
    /// # Errors
    /// When the server is not installed or does not start; the error carries the end of its log.
    pub fn start(options: MySqlOptions) -> Result<MySqlServer> {
        let name = options.version.name();
        let program = installed(&format!("mysql/{name}/bin/server"))?;
        let template = installed(&format!("mysql/template-{name}"))?;
        let folder = ServerFolder::create(name, Account::for_databases()?)?;
        folder.copy_in(&template, "data")?;
        for (name, contents) in &options.files {
            folder.write(name, contents)?;
        }
        let server = MySqlServer {
            version: options.version,
            program,
            port: Port::claim()?,
            settings: Mutex::new(options.all_settings()),
            server: Server::new(options.version.to_string()),
            folder,
        };
        server.launch()?;
        Ok(server)
    }

    /// The server that runs.
    #[must_use]
    pub fn version(&self) -> MySqlVersion {
        self.version
    }

    /// `mysql://root@127.0.0.1:PORT/`
    #[must_use]
    pub fn url(&self) -> String {
        self.url_as("root")
    }

    /// The URL of another user; a password may follow the user's name after a colon.
    #[must_use]
    pub fn url_as(&self, user: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/", self.port())
    }

    /// The Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The TCP port on 127.0.0.1, the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The server's data folder, with its binary log; only the server's account (and root) can read it.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program that belongs to the server: `mysql`, `mysqlbinlog`, `mysqldump`; MariaDB's for the oldest server, which has none.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn client_program(&self, name: &str) -> Result<PathBuf> {
        let from = match self.version {
            MySqlVersion::MySql56 => MySqlVersion::MariaDb1011,
            version @ (MySqlVersion::MySql97 | MySqlVersion::MariaDb1011) => version,
        };
        installed(&format!("mysql/{}/bin/{name}", from.name()))
    }

    /// Everything that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.folder.log()
    }

    /// Adds a setting, `name=value`; it holds from the next `restart`.
    pub fn append_setting(&self, setting: &str) {
        self.settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(setting.to_owned());
    }

    /// Disconnects everybody and stops. No effect on a stopped server.
    ///
    /// # Errors
    /// When the server is still there after the deadline.
    pub fn stop(&self) -> Result<()> {
        self.server.stop("TERM", STOP_DEADLINE)
    }

    /// SIGKILL, as when the machine runs out of memory. No effect on a stopped server.
    ///
    /// # Errors
    /// When the process is still there after the deadline.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill()
    }

    /// Starts the server again on the same port and data, after `stop` or `kill9`; a running one is stopped first.
    ///
    /// # Errors
    /// When it does not stop or does not start.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// SIGSTOP: connections stay open and nothing answers, like a network that swallows packets.
    ///
    /// # Errors
    /// When no signal can be sent.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// SIGCONT: goes on after `pause`.
    ///
    /// # Errors
    /// When no signal can be sent.
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// The process's id, for its memory and CPU time under `/proc`; none while it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.server.process_id()
    }

    /// A client of root's, in no database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(&self) -> Result<Conn> {
        self.connect_with(|options| options).await
    }

    /// A client of root's, in this database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect_to(&self, database: &str) -> Result<Conn> {
        self.connect_with(|options| options.db_name(Some(database))).await
    }

    /// A client with other options than the usual: another user, a password.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect_with(&self, change: impl FnOnce(OptsBuilder) -> OptsBuilder) -> Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port())
            .user(Some("root"))
            // Else it goes over to the Unix socket.
            .prefer_socket(false);
        Conn::new(change(options))
            .await
            .map_err(ServerError::doing(format!("connecting to {self:?}")))
    }

    /// Runs statements, separated by semicolons, in one session.
    ///
    /// # Errors
    /// The server's error, with the statements.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        execute(&mut self.connect().await?, statements).await
    }

    /// As [`MySqlServer::execute`], in a database.
    ///
    /// # Errors
    /// As [`MySqlServer::execute`].
    pub async fn execute_in(&self, database: &str, statements: &str) -> Result<()> {
        execute(&mut self.connect_to(database).await?, statements).await
    }

    /// The rows of a query, as text; NULL is `None`.
    ///
    /// # Errors
    /// The server's error, with the query.
    pub async fn query(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        rows(&mut self.connect().await?, query).await
    }

    /// As [`MySqlServer::query`], in a database.
    ///
    /// # Errors
    /// As [`MySqlServer::query`].
    pub async fn query_in(&self, database: &str, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        rows(&mut self.connect_to(database).await?, query).await
    }

    /// The first value of a query, as text.
    ///
    /// # Errors
    /// The server's error, or that there is no row or the value is NULL.
    pub async fn query_value(&self, query: &str) -> Result<String> {
        let rows = self.query(query).await?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        value.ok_or_else(|| ServerError::new(format!("no value came back from {query}")))
    }

    /// Where the log ends: the newest file and the offset in it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn log_end(&self) -> Result<(String, u64)> {
        let rows = self.query(self.version.log_status_statement()).await?;
        let end = rows.first().and_then(|row| {
            let file = row.first()?.clone()?;
            let offset = row.get(1)?.as_deref()?.parse().ok()?;
            Some((file, offset))
        });
        end.ok_or_else(|| ServerError::new(format!("{self:?} did not say where its log ends: {rows:?}")))
    }

    /// The global transaction identifiers of everything that was executed; empty where there are none.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn executed(&self) -> Result<String> {
        self.query_value(self.version.executed_query()).await
    }

    /// The files of the log that are there, oldest first.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn log_files(&self) -> Result<Vec<String>> {
        let rows = self.query("show binary logs").await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next()?).collect())
    }

    /// Becomes a replica of another server, by global transaction identifiers.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn replicate_from(&self, source: &MySqlServer) -> Result<()> {
        let port = source.port();
        let statements = match self.version {
            MySqlVersion::MySql97 => format!(
                "change replication source to source_host = '127.0.0.1', source_port = {port}, source_user = 'root', \
                 source_auto_position = 1, source_connect_retry = 1, get_source_public_key = 1; start replica"
            ),
            MySqlVersion::MySql56 => format!(
                "change master to master_host = '127.0.0.1', master_port = {port}, master_user = 'root', \
                 master_auto_position = 1, master_connect_retry = 1; start slave"
            ),
            MySqlVersion::MariaDb1011 => format!(
                "change master to master_host = '127.0.0.1', master_port = {port}, master_user = 'root', \
                 master_use_gtid = slave_pos, master_connect_retry = 1; start slave"
            ),
        };
        self.execute(&statements).await
    }

    /// Waits until this replica has everything that its source has logged by now.
    ///
    /// # Errors
    /// When either does not answer, or it does not happen in time.
    pub async fn catch_up_with(&self, source: &MySqlServer) -> Result<()> {
        let executed = source.executed().await?;
        let seconds = REPLICATION_DEADLINE.as_secs();
        let wait = match self.version {
            MySqlVersion::MySql97 => format!("select wait_for_executed_gtid_set('{executed}', {seconds})"),
            MySqlVersion::MySql56 => {
                format!("select wait_until_sql_thread_after_gtids('{executed}', {seconds}) < 0")
            }
            MySqlVersion::MariaDb1011 => format!("select master_gtid_wait('{executed}', {seconds})"),
        };
        let answer = self.query_value(&wait).await?;
        if answer == "0" {
            return Ok(());
        }
        Err(ServerError::new(format!(
            "{self:?} has not got {executed} from its source: {answer}; it logged:\n{}",
            self.log()
        )))
    }

    /// Is no replica any more: what it has is all that there is.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn promote(&self) -> Result<()> {
        self.execute(match self.version {
            MySqlVersion::MySql97 => "stop replica; reset replica all",
            MySqlVersion::MySql56 | MySqlVersion::MariaDb1011 => "stop slave; reset slave all",
        })
        .await
    }

    fn launch(&self) -> Result<()> {
        let folder = self.folder.path();
        let own = [("datadir", "data"), ("socket", "socket"), ("pid_file", "pid")];
        let own = own.map(|(name, file)| format!("--{name}={}", folder.join(file).display()));
        let own = own.into_iter().chain([
            format!("--tmpdir={}", folder.display()),
            format!("--secure_file_priv={}", folder.display()),
            format!("--port={}", self.port()),
        ]);
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = settings.iter().map(|setting| argument(setting, folder));
        let command = ServerCommand {
            program: self.program.clone(),
            arguments: own.chain(settings).map(Into::into).collect(),
            environment: vec![("TZ".to_owned(), "UTC".into())],
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()));
        self.server
            .start(&self.folder, command, START_DEADLINE, |_| greets(address))
    }
}

impl fmt::Debug for MySqlServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.version, self.folder.path().display())
    }
}

/// Runs statements, separated by semicolons, to their end or to the first error.
async fn execute(client: &mut Conn, statements: &str) -> Result<()> {
    let outcome = client.query_drop(statements).await;
    outcome.map_err(ServerError::doing(format!("in: {}", shortened(statements))))
}

/// The rows of a query, as text; NULL is `None`.
async fn rows(client: &mut Conn, query: &str) -> Result<Vec<Vec<Option<String>>>> {
    let rows: Result<Vec<Row>, _> = client.query(query).await;
    let rows = rows.map_err(ServerError::doing(format!("in: {}", shortened(query))))?;
    Ok(rows.into_iter().map(texts).collect())
}

/// What a row says in the text protocol, where every value is text or NULL.
pub(crate) fn texts(row: Row) -> Vec<Option<String>> {
    let text = |value: Value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    };
    row.unwrap().into_iter().map(text).collect()
}

fn argument(setting: &str, folder: &Path) -> String {
    format!("--{}", setting.replace("FOLDER", &folder.display().to_string()))
}

/// Whether somebody who speaks the protocol answers there.
fn greets(address: SocketAddr) -> bool {
    let greeting = || {
        let mut connection = TcpStream::connect_timeout(&address, GREETING_TIMEOUT)?;
        connection.set_read_timeout(Some(GREETING_TIMEOUT))?;
        // Three bytes of length, one of sequence, and then the body.
        let mut start = [0; 5];
        connection.read_exact(&mut start)?;
        Ok::<_, std::io::Error>(start[4])
    };
    greeting().is_ok_and(|version| version == PROTOCOL_VERSION)
}

/// A transaction of a hundred thousand rows is not shown to its end.
fn shortened(statements: &str) -> String {
    statements.chars().take(2000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn starts_writes_its_log_and_survives_kill9(version: MySqlVersion) {
        let server = MySqlServer::start(MySqlOptions::version(version)).unwrap();
        let number = server.query_value("select version()").await.unwrap();
        let (_, wanted) = version.name().split_once('-').unwrap();
        assert!(number.starts_with(wanted), "{number}");
        let before = server.log_end().await.unwrap();
        server
            .execute(
                "create database shop; create table shop.kept (id int primary key); insert into shop.kept values (1)",
            )
            .await
            .unwrap();
        let after = server.log_end().await.unwrap();
        assert!(after > before, "{before:?} {after:?}");
        assert!(server.data_dir().join(&after.0).exists());
        let mut client = server.connect_to("shop").await.unwrap();
        server.kill9().unwrap();
        assert!(execute(&mut client, "select 1").await.is_err());
        assert!(server.connect().await.is_err());
        server.restart().unwrap();
        assert_eq!(server.query_value("select count(*) from shop.kept").await.unwrap(), "1");
        // A start begins a new file.
        assert_eq!(server.log_files().await.unwrap().len(), 2);
        server.stop().unwrap();
        server.stop().unwrap();
        assert!(server.connect().await.is_err());
    }

    #[tokio::test]
    async fn mariadb_starts_writes_its_log_and_survives_kill9() {
        starts_writes_its_log_and_survives_kill9(MySqlVersion::MariaDb1011).await;
    }

    #[tokio::test]
    async fn mysql_starts_writes_its_log_and_survives_kill9() {
        starts_writes_its_log_and_survives_kill9(MySqlVersion::MySql97).await;
    }

    #[tokio::test]
    async fn mysql_of_2015_starts_writes_its_log_and_survives_kill9() {
        starts_writes_its_log_and_survives_kill9(MySqlVersion::MySql56).await;
    }

    #[tokio::test]
    async fn servers_differ_in_identity() {
        let start = || MySqlServer::start(MySqlOptions::version(MySqlVersion::MySql97)).unwrap();
        let (one, other) = (start(), start());
        let identity = "select @@server_uuid";
        assert_ne!(
            one.query_value(identity).await.unwrap(),
            other.query_value(identity).await.unwrap()
        );
    }

    #[tokio::test]
    async fn settings_hold_above_the_usual_ones_and_over_restarts() {
        for version in MySqlVersion::ALL {
            let options = MySqlOptions::version(version)
                .without_gtids()
                .setting("max_binlog_size=8192");
            let server = MySqlServer::start(options).unwrap();
            let size = "select @@max_binlog_size";
            assert_eq!(server.query_value(size).await.unwrap(), "8192", "{version}");
            if version != MySqlVersion::MariaDb1011 {
                assert_eq!(server.query_value("select @@gtid_mode").await.unwrap(), "OFF");
            }
            server.append_setting("max_binlog_size=16384");
            server.restart().unwrap();
            assert_eq!(server.query_value(size).await.unwrap(), "16384", "{version}");
        }
    }

    #[tokio::test]
    async fn the_log_is_readable_with_the_servers_own_program() {
        for version in MySqlVersion::ALL {
            let server = MySqlServer::start(MySqlOptions::version(version)).unwrap();
            server.execute("create database shop").await.unwrap();
            let (file, _) = server.log_end().await.unwrap();
            let output = std::process::Command::new(server.client_program("mysqlbinlog").unwrap())
                .arg(server.data_dir().join(file))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("create database shop"), "{version}: {output:?}");
        }
    }

    #[tokio::test]
    async fn a_paused_server_answers_again_after_resume() {
        let server = MySqlServer::start(MySqlOptions::version(MySqlVersion::MariaDb1011)).unwrap();
        let mut client = server.connect().await.unwrap();
        server.pause().unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(200), execute(&mut client, "select 1")).await;
        assert!(asked.is_err());
        server.resume().unwrap();
        assert_eq!(server.query_value("select 1").await.unwrap(), "1");
    }

    #[tokio::test]
    async fn a_wrong_setting_is_told_with_the_servers_own_words() {
        let options = MySqlOptions::version(MySqlVersion::MariaDb1011).setting("no_such_setting=1");
        let error = MySqlServer::start(options).unwrap_err().to_string();
        assert!(error.contains("no_such_setting"), "{error}");
    }

    #[tokio::test]
    async fn dropping_takes_server_and_folder_away() {
        let server = MySqlServer::start(MySqlOptions::version(MySqlVersion::MariaDb1011)).unwrap();
        let (folder, port) = (server.folder.path().to_owned(), server.port());
        drop(server);
        assert!(!folder.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
