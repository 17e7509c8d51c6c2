//! Connections for everything but the log: catalogue queries, preflight, snapshot copies, setting up.

use std::ops::Deref;
use std::time::Duration;

use tailrace_core::{Result, task};
use tailrace_sql::log_config::TlsMode;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::PostgresConfig;
use crate::endpoint::{Access, Endpoint, Host};
use crate::error::{connect_error, connect_timeout};
use crate::tls;

/// Long enough for a lost SYN to be sent again three times.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What a server may take to find the password and begin the session, once it is reached; the client library itself waits for ever.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that is gone without a word is noticed after 30 s + 3 × 10 s, within PostgreSQL's own `wal_sender_timeout`.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// The same for data that is never acknowledged.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest that the server takes: `INT_MAX`.
const STATEMENT_TIMEOUT_MAXIMUM_MS: u64 = 2_147_483_647;

/// How the server prints values. The replication connection must send the same as startup options, so that a value has the same
/// text whether it comes from a table or from the log. `search_path` keeps a hostile schema's functions out of our
/// queries and makes the server qualify names of types.
pub(crate) const OUTPUT_SETTINGS: [(&str, &str); 7] = [
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// Queries of the catalogue take milliseconds; one that takes this long has met a lock or a sick server.
const HELPER_SETTINGS: [(&str, &str); 4] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("default_transaction_read_only", "on"),
];

/// As for helpers, but it may write, and it queues for locks only briefly because the application's writers queue behind it.
const SETUP_SETTINGS: [(&str, &str); 3] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

/// A copy takes as long as it takes, and waits in its transaction while the stream is slow.
const SCAN_SETTINGS: [(&str, &str); 5] = [
    // Rows that a policy hides are an error, not a gap.
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_read_only", "on"),
];

/// As for a copy, but a page that is slow is given up: `statement_timeout` is the configuration's.
const POLL_SETTINGS: [(&str, &str); 4] = [
    ("row_security", "off"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("default_transaction_read_only", "on"),
];

/// As for a page, and it also writes messages of its own into the log, which are not to wait for standbys.
const WINDOW_SETTINGS: [(&str, &str); 6] = [
    ("row_security", "off"),
    ("statement_timeout", "60s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("default_transaction_read_only", "on"),
    ("synchronous_commit", "local"),
];

/// A transaction of a sink that waits for a lock gives up and is tried again; one that a hung process left open does not keep its rows for
/// ever. How long a statement takes depends on the application's triggers.
const SINK_SETTINGS: [(&str, &str); 3] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

/// What a connection is for: its name on the server, and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Preflight.
    Check,
    /// Reading the catalogue, watching the slot. Read-only.
    Catalog,
    /// Copying rows under an exported snapshot. Read-only, without time limits.
    Snapshot,
    /// Creating the publication.
    Setup,
    /// Polling tables. Read-only but for what acknowledges rows of a queue.
    Poll,
    /// Reading rows again while the log is carried. Read-only.
    Window,
    /// Writing events.
    Sink,
}

/// A client and the task that drives its socket.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

// === impl Purpose ===

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Catalog => "catalog",
            Self::Snapshot => "snapshot",
            Self::Setup => "setup",
            Self::Poll => "poll",
            Self::Window => "window",
            Self::Sink => "sink",
        }
    }

    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Check | Self::Catalog => &HELPER_SETTINGS,
            Self::Snapshot => &SCAN_SETTINGS,
            Self::Setup => &SETUP_SETTINGS,
            Self::Poll => &POLL_SETTINGS,
            Self::Window => &WINDOW_SETTINGS,
            Self::Sink => &SINK_SETTINGS,
        }
    }
}

// === impl Session ===

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    /// Breaks the connection off. Just dropping the session says goodbye to the server instead, but first reads the answer that is
    /// under way to its end, which for a copy of a table may take hours.
    pub(crate) fn abandon(&self) {
        self.driver.abort();
    }
}

/// Connects. The password file is read anew each time, so that a rotated password is picked up.
pub(crate) async fn connect(config: &PostgresConfig, connector: &str, purpose: Purpose) -> Result<Session> {
    let query = config.query.as_ref().filter(|_| purpose == Purpose::Poll);
    let milliseconds = query.map(|query| query.statement_timeout_ms.min(STATEMENT_TIMEOUT_MAXIMUM_MS).to_string());
    let timeout = milliseconds
        .as_deref()
        .map(|milliseconds| ("statement_timeout", milliseconds));
    let settings = OUTPUT_SETTINGS.iter().chain(purpose.settings()).chain(&timeout);
    connect_with(&config.access(), connector, purpose, &startup_options(settings)).await
}

/// Connects to write what a sink writes: as whoever else writes there, so that triggers and defaults find what they look for.
pub(crate) async fn connect_sink(access: &Access<'_>, connector: &str, purpose: Purpose) -> Result<Session> {
    let output = OUTPUT_SETTINGS.iter().filter(|(name, _)| *name != "search_path");
    let settings = output.chain(purpose.settings());
    connect_with(access, connector, purpose, &startup_options(settings)).await
}

async fn connect_with(access: &Access<'_>, connector: &str, purpose: Purpose, options: &str) -> Result<Session> {
    let endpoint = Endpoint::resolve(access)?;
    let mut client = client_settings(&endpoint, connector, purpose);
    client.options(options);
    let task = format!("postgres {connector} {}", purpose.name());
    if endpoint.tls_mode == TlsMode::Disable {
        let (client, connection) = in_time(Box::pin(client.connect(NoTls)), &endpoint).await?;
        let driver = task::spawn_named(&task, drive(connection));
        return Ok(Session { client, driver });
    }
    let tls = tls::client_config(endpoint.tls_mode, &endpoint.tls)?;
    let tls = MakeRustlsConnect::new((*tls).clone());
    let (client, connection) = in_time(Box::pin(client.connect(tls)), &endpoint).await?;
    let driver = task::spawn_named(&task, drive(connection));
    Ok(Session { client, driver })
}

/// Each host may have its time to be reached, and one of them the time to log in. What is waited for is large, and comes boxed.
async fn in_time<T>(
    connecting: impl Future<Output = Result<T, tokio_postgres::Error>> + Unpin,
    endpoint: &Endpoint,
) -> Result<T> {
    let hosts = u32::try_from(endpoint.hosts.len()).unwrap_or(1);
    let timeout = CONNECT_TIMEOUT * hosts + LOGIN_TIMEOUT;
    match tokio::time::timeout(timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| connect_error(&error, endpoint)),
        Err(_) => Err(connect_timeout(&endpoint.server(), timeout.as_secs())),
    }
}

/// The client sees the end as an error of its next request; the reason is for the log.
async fn drive<T>(connection: tokio_postgres::Connection<tokio_postgres::Socket, T>)
where
    T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
{
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to PostgreSQL ended");
    }
}

fn client_settings(endpoint: &Endpoint, connector: &str, purpose: Purpose) -> tokio_postgres::Config {
    let mut client = tokio_postgres::Config::new();
    for host in &endpoint.hosts {
        match host {
            Host::Tcp(name) => client.host(name),
            Host::Unix(folder) => client.host_path(folder),
        };
    }
    let ssl_mode = match endpoint.tls_mode {
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
    };
    client
        .port(endpoint.port)
        .user(&endpoint.user)
        .dbname(&endpoint.database)
        .ssl_mode(ssl_mode)
        .application_name(application_name(connector, purpose.name()))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);
    if let Some(password) = &endpoint.password {
        client.password(password.expose());
    }
    client
}

/// How a connection is called in `pg_stat_activity`.
pub(crate) fn application_name(connector: &str, purpose: &str) -> String {
    format!("tailrace {connector} {purpose}")
}

/// Settings as the startup parameter `options`.
pub(crate) fn startup_options<'a>(settings: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> String {
    let options: Vec<String> = settings
        .into_iter()
        .map(|(name, value)| format!("-c {name}={value}"))
        .collect();
    options.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_core::error::Kind;
    use tokio::net::TcpListener;

    fn config(port: u16, more: &str) -> PostgresConfig {
        let url = format!("postgres://u:c4n4ry@127.0.0.1:{port}/d{more}");
        serde_json::from_value(serde_json::json!({ "url": url, "tables": ["t"] })).unwrap()
    }

    #[test]
    fn options_are_written_for_the_startup_packet() {
        let options = startup_options(&[("search_path", "pg_catalog"), ("lock_timeout", "2s")]);
        assert_eq!(options, "-c search_path=pg_catalog -c lock_timeout=2s");
        // A space would have to be escaped.
        let all = OUTPUT_SETTINGS
            .iter()
            .chain(&HELPER_SETTINGS)
            .chain(&SETUP_SETTINGS)
            .chain(&SCAN_SETTINGS)
            .chain(&POLL_SETTINGS)
            .chain(&WINDOW_SETTINGS)
            .chain(&SINK_SETTINGS);
        assert!(
            all.clone()
                .all(|(name, value)| !name.contains(' ') && !value.contains(' '))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(listener.local_addr().unwrap().port(), "");
        let error = connect(&config, "orders", Purpose::Check).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "source_unreachable"));
        assert!(error.to_string().contains("no answer within 40 s"), "{error}");
    }

    #[tokio::test]
    async fn nobody_listening_is_transient_and_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = connect(&config(port, ""), "orders", Purpose::Check).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "source_unreachable"));
        assert!(
            error.report().contains(&format!("127.0.0.1:{port}")),
            "{}",
            error.report()
        );
        assert!(!error.report().contains("c4n4ry"));
    }
}
