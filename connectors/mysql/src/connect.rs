//! Connections for queries and for the binary log.
//!
//! Everything that a server's global settings could make of our queries is set for each of our sessions: a `sql_select_limit` there
//! would cut a snapshot short without a word, a `max_statement_time` would end it, and with `autocommit = 0` a look into the catalogue
//! would hold back the clean-up of old rows for as long as the connector runs.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{ClientIdentity, Conn, FromRowError, Opts, OptsBuilder, Row, SslOpts, Value};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tailrace_core::{Error, Result};
use tailrace_sql::log_config::{TlsFiles, TlsMode};

use crate::config::MySqlConfig;
use crate::endpoint::{Endpoint, Host};
use crate::error::{connect_error, connect_timeout, query_error};
use crate::server::{Flavour, Identity, Version, identify};

/// Long enough for a lost SYN to be sent again three times, and for a busy server to find our password.
const CONNECT_TIMEOUT_S: u64 = 10;
/// A peer that is gone without a word is noticed by probes that begin after this.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// The protocol's own limit: a change that the server could log must be one that we can read.
const PACKET_BYTES_MAXIMUM: usize = 1 << 30;
/// A week: a snapshot's connections wait for each other, and the log's for the stream.
const IDLE_S: u64 = 604_800;
/// An hour: while the stream is slow nothing is taken off the connection, and the server waits to write.
const WRITE_S: u64 = 3_600;
/// Queries of the catalogue take milliseconds; one that takes this long has met a lock or a sick server.
const CATALOG_QUERY_S: u64 = 30;
/// Some thousand rows by their key take milliseconds; a condition may have to look at each of them.
const WINDOW_QUERY_S: u64 = 60;
/// How long a query of the catalogue, or the first read of a table, waits behind a change of the table.
const CATALOG_LOCK_S: u64 = 5;
/// The server's own default.
const ROW_LOCK_S: u64 = 50;
/// The name under which a server is looked for in its certificate in mode `verify_ca`; see [`ssl_options`].
const ANY_NAME: &str = "NotValidForName.invalid";

/// From these versions on a query can be given a time limit, and invisible primary keys can be hidden from the catalogue.
const TIME_LIMIT: Version = Version::new(5, 7, 8);
const INVISIBLE_KEYS: Version = Version::new(8, 0, 30);
/// From here on statistics are shown as they were a day ago.
const CACHED_STATISTICS: Version = Version::new(8, 0, 3);

/// What a connection is for: its settings and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Preflight and reading the catalogue. Read-only.
    Catalog,
    /// The lock under which a snapshot begins.
    Setup,
    /// Reading rows. Read-only, without time limits, texts as they are stored.
    Snapshot,
    /// Reading rows again while the log is carried. Read-only, with a time limit, texts as they are stored.
    Window,
    /// Asking tables again and again: rows as in a snapshot, with the configured time limit, and acknowledging them.
    Polling,
}

/// A row as texts, whatever its columns are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts(Vec<Option<String>>);

/// Connects. The password file is read anew each time, so that a rotated password is picked up.
pub(crate) async fn connect(config: &MySqlConfig, purpose: Purpose) -> Result<Conn> {
    connect_at(&Endpoint::resolve(config)?, config, purpose).await
}

/// The same by another way than the configuration's own.
pub(crate) async fn connect_at(endpoint: &Endpoint, config: &MySqlConfig, purpose: Purpose) -> Result<Conn> {
    let options = options(endpoint)?.into();
    let (mut connection, identity) = reach(endpoint, options).await?;
    let statement = session_settings(purpose, &identity, config);
    execute(&mut connection, &statement, "prepare the connection").await?;
    let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    let access = match purpose {
        Purpose::Catalog | Purpose::Snapshot | Purpose::Window => ", READ ONLY",
        Purpose::Setup | Purpose::Polling => ", READ WRITE",
    };
    execute(
        &mut connection,
        &format!("{isolation}{access}"),
        "prepare the connection",
    )
    .await?;
    Ok(connection)
}

/// Connects and asks who is there.
pub(crate) async fn reach(endpoint: &Endpoint, options: Opts) -> Result<(Conn, Identity)> {
    let connecting = tokio::time::timeout(Duration::from_secs(CONNECT_TIMEOUT_S), Conn::new(options));
    let mut connection = connecting
        .await
        .map_err(|_| connect_timeout(endpoint, CONNECT_TIMEOUT_S))?
        .map_err(|error| connect_error(&error, endpoint))?;
    let identity = identify(&mut connection).await?;
    Ok((connection, identity))
}

/// Runs a statement that answers with nothing.
pub(crate) async fn execute(connection: &mut Conn, statement: &str, doing: &str) -> Result<()> {
    connection
        .query_drop(statement)
        .await
        .map_err(|error| query_error(&error, doing))
}

/// Runs a query whose answer is small.
pub(crate) async fn texts(connection: &mut Conn, query: &str, doing: &str) -> Result<Vec<Texts>> {
    connection
        .query(query)
        .await
        .map_err(|error| query_error(&error, doing))
}

// === impl Texts ===

impl Texts {
    /// The text of a column; none where it is NULL or not there.
    pub(crate) fn text(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn of(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| Some((*text).to_owned())).collect())
    }
}

impl FromRow for Texts {
    fn from_row_opt(row: Row) -> Result<Self, FromRowError> {
        let text = |value: Value| match value {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            // The text protocol sends everything as bytes.
            other => Some(other.as_sql(true)),
        };
        Ok(Self(row.unwrap().into_iter().map(text).collect()))
    }
}

// === options ===

/// How a server is reached.
pub(crate) fn options(endpoint: &Endpoint) -> Result<OptsBuilder> {
    let builder = OptsBuilder::default()
        .user(Some(endpoint.user.clone()))
        .pass(endpoint.password.as_ref().map(|password| password.expose().to_owned()))
        // Another way to the server than the configured one is not ours to choose.
        .prefer_socket(false)
        .tcp_keepalive(Some(KEEPALIVE_IDLE))
        .tcp_nodelay(true)
        .max_allowed_packet(Some(PACKET_BYTES_MAXIMUM))
        .wait_timeout(usize::try_from(IDLE_S).ok())
        .stmt_cache_size(0)
        // A password in plain text is for a server that is who it says it is, and one of before MySQL 4.1 for none. A request for a
        // local file is refused where no handler is set.
        .secure_auth(true)
        .enable_cleartext_plugin(matches!(endpoint.tls_mode, TlsMode::VerifyCa | TlsMode::VerifyFull));
    let builder = match &endpoint.host {
        Host::Unix(path) => builder.socket(Some(path.display().to_string())),
        Host::Tcp(host, port) => builder.ip_or_hostname(host.clone()).tcp_port(*port),
    };
    let builder = match endpoint.tls_mode {
        TlsMode::Disable => builder,
        mode => builder.ssl_opts(ssl_options(mode, &endpoint.tls)?),
    };
    Ok(builder)
}

/// TLS for a mode other than `disable`. The client library refuses a server that does not offer it.
///
/// In mode `verify_ca` the library lets a certificate pass whose only fault is its name. It recognizes that fault by the word
/// "NotValidForName", which today's rustls does not use any more; but rustls prints the name that was looked for, and so the word
/// comes in by that name. An error of the chain holds no name, so nothing else passes.
fn ssl_options(mode: TlsMode, files: &TlsFiles) -> Result<SslOpts> {
    let identity = match (&files.certificate_file, &files.key_file) {
        (Some(certificate), Some(key)) => Some(ClientIdentity::new(file(certificate)?.into(), file(key)?.into())),
        _ => None,
    };
    let options = SslOpts::default().with_client_identity(identity);
    Ok(match mode {
        TlsMode::Disable | TlsMode::Require => options
            .with_danger_accept_invalid_certs(true)
            .with_danger_skip_domain_validation(true),
        TlsMode::VerifyCa => trusting(options, authorities(files)?)
            .with_danger_skip_domain_validation(true)
            .with_danger_tls_hostname_override(Some(ANY_NAME)),
        TlsMode::VerifyFull => trusting(options, authorities(files)?),
    })
}

fn trusting(options: SslOpts, authorities: Vec<Vec<u8>>) -> SslOpts {
    options
        .with_root_certs(authorities.into_iter().map(Into::into).collect())
        .with_disable_built_in_roots(true)
}

/// A file as it is now; the library's own error would not name it.
fn file(path: &std::path::Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let message = format!("cannot use {} for TLS", path.display());
        Error::definite("tls_config", message).with_source(error)
    })
}

/// Those of `ca_file`, else the system's; each alone, and only those that rustls can use.
fn authorities(files: &TlsFiles) -> Result<Vec<Vec<u8>>> {
    let (certificates, of) = match &files.ca_file {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = read.map_err(|error| {
                let message = format!("cannot use {} for TLS", path.display());
                Error::definite("tls_config", message).with_source(error)
            })?;
            (certificates, path.display().to_string())
        }
        None => {
            let system = rustls_native_certs::load_native_certs();
            (system.certs, "the system's certificates".to_owned())
        }
    };
    let usable = |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
    let usable: Vec<Vec<u8>> = certificates
        .into_iter()
        .filter(usable)
        .map(|certificate| certificate.to_vec())
        .collect();
    if usable.is_empty() {
        let message = format!("no authority can be trusted by {of}; give `tls.ca_file`, or install ca-certificates");
        return Err(Error::definite("tls_config", message));
    }
    Ok(usable)
}

// === settings of a session ===

/// What a page of rows may take. Both dialects count in 32 bits, and take 0 for no limit.
fn statement_timeout_ms(config: &MySqlConfig) -> u64 {
    let configured = config.query.as_ref().map_or(0, |query| query.statement_timeout_ms);
    configured.min(u64::from(u32::MAX))
}

/// Settings of one session in one statement: either all are made or none.
fn session_settings(purpose: Purpose, identity: &Identity, config: &MySqlConfig) -> String {
    let results = match purpose {
        // Bytes as they are stored: each column's character set is decoded here, the same way as in the log.
        Purpose::Snapshot | Purpose::Window | Purpose::Polling => "NULL",
        Purpose::Catalog | Purpose::Setup => "utf8mb4",
    };
    let sql_mode = match purpose {
        // A cursor may stand at a date that no calendar has, and a statement that names it must be accepted.
        Purpose::Polling => "ALLOW_INVALID_DATES",
        Purpose::Catalog | Purpose::Setup | Purpose::Snapshot | Purpose::Window => "",
    };
    let (idle_s, lock_s, query_ms) = match purpose {
        Purpose::Catalog => (IDLE_S, CATALOG_LOCK_S, CATALOG_QUERY_S * 1_000),
        Purpose::Setup => (IDLE_S, config.snapshot.lock_timeout_s(), CATALOG_QUERY_S * 1_000),
        Purpose::Snapshot => (IDLE_S, CATALOG_LOCK_S, 0),
        Purpose::Window => (IDLE_S, CATALOG_LOCK_S, WINDOW_QUERY_S * 1_000),
        Purpose::Polling => (IDLE_S, CATALOG_LOCK_S, statement_timeout_ms(config)),
    };
    let mut settings = vec![
        "character_set_client = utf8mb4".to_owned(),
        "character_set_connection = utf8mb4".to_owned(),
        format!("character_set_results = {results}"),
        // Nothing is padded, quoted or rounded otherwise than our statements expect.
        format!("sql_mode = '{sql_mode}'"),
        "time_zone = '+00:00'".to_owned(),
        "autocommit = 1".to_owned(),
        "sql_select_limit = 18446744073709551615".to_owned(),
        "sql_big_selects = 1".to_owned(),
        format!("wait_timeout = {idle_s}"),
        format!("net_write_timeout = {WRITE_S}"),
        format!("lock_wait_timeout = {lock_s}"),
    ];
    match identity.flavour {
        // Seconds, with a fraction.
        Flavour::MariaDb => settings.push(format!(
            "max_statement_time = {}.{:03}",
            query_ms / 1_000,
            query_ms % 1_000
        )),
        Flavour::MySql if identity.at_least(Some(TIME_LIMIT), None) => {
            settings.push(format!("max_execution_time = {query_ms}"));
        }
        Flavour::MySql => {}
    }
    if purpose == Purpose::Polling {
        // Neither limits how long a row is waited for that somebody else has locked.
        let seconds = query_ms.div_ceil(1_000).clamp(1, ROW_LOCK_S);
        settings.push(format!("innodb_lock_wait_timeout = {seconds}"));
        if identity.flavour == Flavour::MariaDb {
            // Rows are then only ever changed by an index: see `MySqlDialect::execute`.
            settings.push("sql_safe_updates = 1".to_owned());
        }
        if identity.at_least(Some(CACHED_STATISTICS), None) {
            // The next AUTO_INCREMENT is among the statistics, and would be a day old.
            settings.push("information_schema_stats_expiry = 0".to_owned());
        }
    }
    if identity.at_least(Some(INVISIBLE_KEYS), None) {
        // They are in the log, whatever the catalogue shows to others.
        settings.push("show_gipk_in_create_table_and_information_schema = ON".to_owned());
    }
    format!("SET {}", settings.join(", "))
}

#[cfg(test)]
mod tests {
    use tailrace_core::error::Kind;
    use tokio::net::TcpListener;

    use super::*;

    fn config(port: u16, more: &str) -> MySqlConfig {
        let url = format!("mysql://u:c4n4ry@127.0.0.1:{port}/{more}");
        serde_json::from_value(serde_json::json!({ "url": url, "tables": ["shop.t"] })).unwrap()
    }

    #[tokio::test]
    async fn nobody_listening_is_transient_and_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = connect(&config(port, ""), Purpose::Catalog).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "source_unreachable"));
        let report = error.report();
        assert!(
            report.contains(&format!("127.0.0.1:{port}")) && !report.contains("c4n4ry"),
            "{report}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = connect(&config(listener.local_addr().unwrap().port(), ""), Purpose::Setup)
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "source_unreachable"));
        assert!(error.report().contains("within 10 s"), "{error}");
    }

    #[test]
    fn settings_are_those_of_the_dialect_and_the_purpose() {
        let set =
            |purpose, version: &str| session_settings(purpose, &Identity::parse(version).unwrap(), &config(1, ""));
        let old = set(Purpose::Snapshot, "5.6.24");
        assert!(
            !old.contains("max_execution_time") && old.contains("character_set_results = NULL"),
            "{old}"
        );
        let new = set(Purpose::Snapshot, "8.4.6");
        assert!(
            new.contains("max_execution_time = 0") && new.contains("show_gipk"),
            "{new}"
        );
        let mariadb = set(Purpose::Setup, "10.11.6-MariaDB");
        assert!(
            mariadb.contains("max_statement_time = 30.000") && mariadb.contains("lock_wait_timeout = 2"),
            "{mariadb}"
        );
    }

    #[test]
    fn a_page_has_the_configured_time() {
        let json = serde_json::json!({
            "url": "mysql://u@h/", "tables": ["shop.t"], "query": { "mode": "bulk", "statement_timeout_ms": 1500 }
        });
        let config = serde_json::from_value(json).unwrap();
        let set = |version: &str| session_settings(Purpose::Polling, &Identity::parse(version).unwrap(), &config);
        let mysql = set("9.7.4");
        for setting in [
            "max_execution_time = 1500",
            "innodb_lock_wait_timeout = 2",
            "information_schema_stats_expiry = 0",
            "character_set_results = NULL",
        ] {
            assert!(mysql.contains(setting), "{mysql}");
        }
        let mariadb = set("10.11.6-MariaDB");
        assert!(
            mariadb.contains("max_statement_time = 1.500")
                && mariadb.contains("sql_safe_updates = 1")
                && !mariadb.contains("stats_expiry"),
            "{mariadb}"
        );
    }

    #[test]
    fn certificates_that_are_missing_are_named() {
        let files = TlsFiles {
            ca_file: Some("/nonexistent/ca.pem".into()),
            ..TlsFiles::default()
        };
        let error = ssl_options(TlsMode::VerifyFull, &files).unwrap_err();
        assert_eq!(error.code(), "tls_config");
        assert!(error.report().contains("/nonexistent/ca.pem"), "{}", error.report());
        assert!(ssl_options(TlsMode::Require, &TlsFiles::default()).is_ok());
    }

    /// What mode `verify_ca` rests on.
    #[test]
    fn rustls_prints_the_name_that_was_looked_for() {
        let expected = rustls::pki_types::ServerName::try_from(ANY_NAME).unwrap();
        let error = rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForNameContext {
            expected,
            presented: Vec::new(),
        });
        assert!(error.to_string().contains("NotValidForName"), "{error}");
    }
}
