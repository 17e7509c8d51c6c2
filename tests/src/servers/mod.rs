//! Real servers for tests: PostgreSQL 13 to 18, MySQL 5.6 and 9.7, MariaDB 10.11, Apache Kafka, Kafka Connect with Debezium, Maxwell,
//! Apicurio's registry of schemas, and Prometheus; and a registry that only plays one.
//!
//! ```text
//!   test process ──spawns──▶ server            (own process group, output to FOLDER/log)
//!        │
//!        └──────pipe──────▶ watchdog (sh)      end of file on the pipe ⇒ kill the pids in FOLDER/pids, remove FOLDER
//! ```
//!
//! Why a watchdog and not only `Drop`: a test process may be killed, may call `exit`, and never drops its statics, and a
//! JVM that outlives every test run fills a machine. The kernel closes the pipe in all of these cases.
//!
//! Starting a server is blocking code, as is stopping it: a test has nothing to do meanwhile, and plain functions serve
//! synchronous and asynchronous tests alike. SQL is asynchronous, because tokio-postgres and mysql_async are.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

mod collector;
mod connect;
mod fake_registry;
mod kafka;
mod maxwell;
mod mysql;
mod ports;
mod postgres;
pub(crate) mod process;
mod prometheus;
mod registry;

pub use collector::Collector;
pub use connect::{Connect, ConnectOptions, confluent_avro, debezium_mysql, debezium_postgres};
pub use fake_registry::{Asked, Certificate, FakeRegistry, Reply};
pub use kafka::{Kafka, KafkaOptions, Record, shared_kafka};
pub use maxwell::Maxwell;
pub(crate) use mysql::texts as mysql_texts;
pub use mysql::{MySqlOptions, MySqlServer, MySqlVersion};
pub use ports::Port;
pub use postgres::{Postgres, PostgresOptions, PostgresVersion};
pub use process::{eventually, poll_until};
pub use prometheus::{Prometheus, promtool};
pub use registry::Registry;

/// Why a server could not be started, stopped or asked: one sentence, with the end of the server's log where there is one.
#[derive(Clone)]
pub struct ServerError(String);

/// The result of whatever is asked of a server; tests unwrap it.
pub type Result<T, E = ServerError> = std::result::Result<T, E>;

// === impl ServerError ===

impl ServerError {
    /// An error that says just this.
    pub fn new(sentence: impl Into<String>) -> ServerError {
        ServerError(sentence.into())
    }

    /// An error that says what was attempted and why it failed; for `map_err`.
    pub(crate) fn doing<E: fmt::Display>(attempt: impl fmt::Display) -> impl FnOnce(E) -> ServerError {
        move |cause| ServerError(format!("{attempt}: {cause}"))
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// What `unwrap` prints: the sentence, with its line breaks.
impl fmt::Debug for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for ServerError {}

// === the cache folder ===

/// The folder that `tests/services/install` fills; its first lines describe the layout and the choice of the folder.
///
/// # Errors
/// When no environment variable tells where it is.
pub fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = non_empty_variable("TAILRACE_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    if running_as_root()? {
        return Ok(PathBuf::from("/var/cache/tailrace-tests"));
    }
    let parent = match non_empty_variable("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(
            &non_empty_variable("HOME")
                .ok_or_else(|| ServerError::new("neither TAILRACE_CACHE nor HOME is set; set one of them"))?,
        )
        .join(".cache"),
    };
    Ok(parent.join("tailrace-tests"))
}

/// A path inside the cache folder that must be there.
pub(crate) fn installed(relative: &str) -> Result<PathBuf> {
    let path = cache_folder()?.join(relative);
    if path.exists() {
        return Ok(path);
    }
    Err(ServerError::new(format!(
        "{} is missing; run tests/services/install",
        path.display()
    )))
}

pub(crate) fn running_as_root() -> Result<bool> {
    Ok(own_user_id()? == 0)
}

pub(crate) fn own_user_id() -> Result<u32> {
    Ok(std::fs::metadata("/proc/self")
        .map_err(ServerError::doing("reading /proc/self"))?
        .uid())
}

fn non_empty_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
