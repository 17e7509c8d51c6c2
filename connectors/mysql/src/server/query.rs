//! Asking the server who it is and how it is set up. Every version knows other settings, so they are asked for by name and those
//! that are missing are simply not there.

use std::collections::BTreeMap;

use mysql_async::Conn;
use tailrace_core::{Error, Result};

use super::{Flavour, Grants, Identity, LogFile, LogSettings, Numbering, Replica, ServerFacts, ServerGtids, Version};
use crate::connect::{Texts, texts};
use crate::error::{is_denied, query_error, server_error_number};
use crate::position::FileOffset;
use crate::position::gtid::GtidSet;
use crate::quote::literal;

/// `SHOW MASTER STATUS` and `SHOW SLAVE STATUS` became `SHOW BINARY LOG STATUS` and `SHOW REPLICA STATUS`, and later went away.
const BINARY_LOG_STATUS: Version = Version::new(8, 2, 0);
const REPLICA_STATUS: Version = Version::new(8, 0, 22);
/// Roles of MySQL; MariaDB had them before 10.5.
const ROLES: Version = Version::new(8, 0, 0);

const DAY_S: u64 = 86_400;

/// Settings, of whichever dialect.
const SETTINGS: [&str; 28] = [
    "auto_increment_increment",
    "binlog_checksum",
    "binlog_expire_logs_auto_purge",
    "binlog_expire_logs_seconds",
    "binlog_format",
    "binlog_order_commits",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_storage_engine",
    "expire_logs_days",
    "gtid_binlog_pos",
    "gtid_binlog_state",
    "gtid_mode",
    "hostname",
    "innodb_flush_log_at_trx_commit",
    "innodb_native_foreign_keys",
    "log_bin",
    "log_replica_updates",
    "log_slave_updates",
    "lower_case_table_names",
    "max_allowed_packet",
    "performance_schema",
    "read_only",
    "server_id",
    "server_uuid",
    "sync_binlog",
    "wsrep_on",
];

const DOING: &str = "read the server's settings";

/// What `SHOW GLOBAL VARIABLES` says.
struct Settings(BTreeMap<String, String>);

/// The dialect and version alone.
pub(crate) async fn identify(connection: &mut Conn) -> Result<Identity> {
    let rows = texts(connection, "SELECT VERSION()", DOING).await?;
    let version = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    Identity::parse(version).ok_or_else(|| {
        let message = format!("the server calls itself `{version}`, which is neither a MySQL nor a MariaDB");
        Error::definite("server_unknown", message)
    })
}

/// Everything. What our user may not see is left out, and said by `check`.
pub(crate) async fn server_facts(connection: &mut Conn) -> Result<ServerFacts> {
    let identity = identify(connection).await?;
    let settings = settings(connection).await?;
    let log_files = if settings.is_on("log_bin") {
        log_files(connection).await?
    } else {
        Vec::new()
    };
    let status = log_status(connection, &identity).await?;
    let gtids = match identity.flavour {
        Flavour::MySql => mysql_gtids(connection, &settings).await?,
        Flavour::MariaDb => Some(mariadb_gtids(connection, &settings, &log_files).await?),
    };
    let user = texts(connection, "SELECT CURRENT_USER()", DOING).await?;
    Ok(ServerFacts {
        server_id: settings.number("server_id").unwrap_or_default(),
        server_uuid: settings.text("server_uuid").map(str::to_owned),
        hostname: settings.text("hostname").unwrap_or_default().to_owned(),
        user: user.first().and_then(|row| row.text(0)).unwrap_or_default().to_owned(),
        grants: granted(connection, &identity).await?,
        log: settings.log(status.as_ref()),
        log_end: status.as_ref().and_then(log_end),
        log_files,
        gtids,
        replica: Replica {
            is_replica: is_replica(connection, &identity).await?,
            logs_updates: settings.is_on("log_replica_updates") || settings.is_on("log_slave_updates"),
            read_only: settings.is_on("read_only"),
        },
        flush_log_at_commit: settings.number("innodb_flush_log_at_trx_commit").unwrap_or(1),
        max_allowed_packet_bytes: settings.number("max_allowed_packet").unwrap_or_default(),
        logs_cascades: settings
            .text("innodb_native_foreign_keys")
            .is_some_and(|native| native.eq_ignore_ascii_case("off")),
        lower_case_table_names: settings.number("lower_case_table_names").unwrap_or_default(),
        numbering: Numbering {
            increment: settings.number("auto_increment_increment").unwrap_or(1),
            galera: settings.is_on("wsrep_on"),
        },
        performance_schema: settings.is_on("performance_schema"),
        identity,
    })
}

async fn settings(connection: &mut Conn) -> Result<Settings> {
    let names: Vec<String> = SETTINGS.iter().map(|name| literal(name)).collect();
    let query = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})", names.join(", "));
    let rows = texts(connection, &query, DOING).await?;
    let pairs = rows
        .iter()
        .filter_map(|row| Some((row.text(0)?.to_lowercase(), row.text(1)?.to_owned())));
    Ok(Settings(pairs.collect()))
}

/// As [`texts`], but nothing where our user may not ask.
pub(crate) async fn texts_where_allowed(connection: &mut Conn, query: &str) -> Result<Option<Vec<Texts>>> {
    use mysql_async::prelude::Queryable as _;
    match connection.query::<Texts, _>(query).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if server_error_number(&error).is_some_and(is_denied) => Ok(None),
        Err(error) => Err(query_error(&error, DOING)),
    }
}

/// The files of the log, oldest first; none where our user may not see them.
pub(crate) async fn log_files(connection: &mut Conn) -> Result<Vec<LogFile>> {
    let rows = texts_where_allowed(connection, "SHOW BINARY LOGS")
        .await?
        .unwrap_or_default();
    let files = rows.iter().filter_map(|row| {
        Some(LogFile {
            name: row.text(0)?.to_owned(),
            size_bytes: row.text(1)?.parse().ok()?,
        })
    });
    Ok(files.collect())
}

/// The row of `SHOW BINARY LOG STATUS`: file, offset, schemas that alone are logged, schemas that are not, and in MySQL the executed
/// transactions. None without a log, or where our user may not see it.
pub(crate) async fn log_status(connection: &mut Conn, identity: &Identity) -> Result<Option<Texts>> {
    let query = if identity.at_least(Some(BINARY_LOG_STATUS), None) {
        "SHOW BINARY LOG STATUS"
    } else {
        "SHOW MASTER STATUS"
    };
    let rows = texts_where_allowed(connection, query).await?;
    Ok(rows.and_then(|rows| rows.into_iter().next()))
}

/// Where the log ends, in a row of [`log_status`].
pub(crate) fn log_end(status: &Texts) -> Option<FileOffset> {
    let file = status.text(0).filter(|file| !file.is_empty())?;
    Some(FileOffset::new(file, status.text(1)?.parse().ok()?))
}

async fn is_replica(connection: &mut Conn, identity: &Identity) -> Result<Option<bool>> {
    let query = match identity.flavour {
        Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
        Flavour::MySql if identity.at_least(Some(REPLICA_STATUS), None) => "SHOW REPLICA STATUS",
        Flavour::MySql => "SHOW SLAVE STATUS",
    };
    let rows = texts_where_allowed(connection, query).await?;
    Ok(rows.map(|rows| !rows.is_empty()))
}

/// `SHOW VARIABLES` cuts long values, and sets of identifiers may be long.
async fn mysql_gtids(connection: &mut Conn, settings: &Settings) -> Result<Option<ServerGtids>> {
    if settings
        .text("gtid_mode")
        .is_none_or(|mode| !mode.eq_ignore_ascii_case("on"))
    {
        return Ok(None);
    }
    let rows = texts(connection, "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged", DOING).await?;
    let set = |column: usize| {
        let text = rows.first().and_then(|row| row.text(column)).unwrap_or_default();
        text.parse().map(GtidSet::MySql).map_err(invalid_gtids)
    };
    Ok(Some(ServerGtids {
        executed: set(0)?,
        purged: Some(set(1)?),
        state: None,
    }))
}

/// MariaDB does not say what it has purged, but where its first file begins.
async fn mariadb_gtids(connection: &mut Conn, settings: &Settings, files: &[LogFile]) -> Result<ServerGtids> {
    let set = |text: &str| text.parse().map(GtidSet::MariaDb).map_err(invalid_gtids);
    let purged = match files.first() {
        Some(first) => {
            // Behind the magic number of the file.
            let query = format!("SELECT BINLOG_GTID_POS({}, 4)", literal(&first.name));
            let rows = texts(connection, &query, DOING).await?;
            rows.first().and_then(|row| row.text(0)).map(set).transpose()?
        }
        None => None,
    };
    let rows = texts(
        connection,
        "SELECT @@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_binlog_state",
        DOING,
    )
    .await?;
    let text = |column: usize| rows.first().and_then(|row| row.text(column)).unwrap_or_default();
    if !settings.is_on("log_bin") {
        return Ok(ServerGtids {
            executed: set("")?,
            purged: None,
            state: None,
        });
    }
    Ok(ServerGtids {
        executed: set(text(0))?,
        purged,
        state: Some(text(1).parse().map_err(invalid_gtids)?),
    })
}

/// The server printed something that is no set of identifiers.
pub(crate) fn invalid_gtids(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::definite("gtid_invalid", "the server's transaction identifiers cannot be read").with_source(error)
}

/// What was granted to our user, and to the roles that are active on our connections.
pub(crate) async fn granted(connection: &mut Conn, identity: &Identity) -> Result<Grants> {
    let mut statements = Vec::new();
    let mut ask = vec!["SHOW GRANTS FOR CURRENT_USER()".to_owned()];
    if identity.at_least(Some(ROLES), Some(Version::new(0, 0, 0))) {
        let rows = texts(connection, "SELECT CURRENT_ROLE()", DOING).await?;
        let role = rows
            .first()
            .and_then(|row| row.text(0))
            .filter(|role| *role != "NONE" && !role.is_empty());
        match (role, identity.flavour) {
            // A list, quoted already.
            (Some(roles), Flavour::MySql) => ask = vec![format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}")],
            (Some(role), Flavour::MariaDb) => ask.push(format!("SHOW GRANTS FOR {}", crate::quote::identifier(role))),
            (None, _) => {}
        }
    }
    for query in ask {
        let rows = texts(connection, &query, "read what our user may do").await?;
        statements.extend(rows.iter().filter_map(|row| row.text(0)).map(str::to_owned));
    }
    Ok(Grants::parse(statements.iter().map(String::as_str)))
}

// === impl Settings ===

impl Settings {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn is_on(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("on") || value == "1")
    }

    fn log(&self, status: Option<&Texts>) -> LogSettings {
        let list = |column: usize| {
            let text = status.and_then(|status| status.text(column)).unwrap_or_default();
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let metadata = self.text("binlog_row_metadata");
        let options = self.text("binlog_row_value_options").unwrap_or_default();
        let engine = self.text("binlog_storage_engine").filter(|engine| !engine.is_empty());
        LogSettings {
            enabled: self.is_on("log_bin"),
            format: self.text("binlog_format").unwrap_or("ROW").to_owned(),
            row_image: self.text("binlog_row_image").unwrap_or("FULL").to_owned(),
            full_metadata: metadata.is_some_and(|metadata| metadata.eq_ignore_ascii_case("full")),
            has_metadata_setting: metadata.is_some(),
            partial_json: options.to_ascii_uppercase().contains("PARTIAL_JSON"),
            checksum: !self
                .text("binlog_checksum")
                .is_none_or(|checksum| checksum.eq_ignore_ascii_case("none")),
            sync_every: self.number("sync_binlog").unwrap_or(1),
            order_commits: self.text("binlog_order_commits").is_none() || self.is_on("binlog_order_commits"),
            expire_s: self.expire_s(),
            only_schemas: list(2),
            ignored_schemas: list(3),
            storage_engine: engine.map(str::to_owned),
        }
    }

    /// Seconds win where both are there; days may be a fraction in MariaDB. 0 is never.
    fn expire_s(&self) -> Option<u64> {
        if self.text("binlog_expire_logs_auto_purge").is_some() && !self.is_on("binlog_expire_logs_auto_purge") {
            return None;
        }
        let seconds = self
            .number::<u64>("binlog_expire_logs_seconds")
            .filter(|seconds| *seconds > 0);
        seconds
            .or_else(|| days_to_s(self.text("expire_logs_days")?))
            .filter(|seconds| *seconds > 0)
    }
}

/// `1.500000` is a day and a half.
fn days_to_s(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = whole.parse().ok()?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let parts: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let rest = parts.checked_mul(DAY_S)?.checked_div(10_u64.checked_pow(digits)?)?;
    whole.checked_mul(DAY_S)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn how_long_the_log_is_kept() {
        for (pairs, seconds) in [
            (
                &[("binlog_expire_logs_seconds", "2592000"), ("expire_logs_days", "0")][..],
                Some(2_592_000),
            ),
            (&[("expire_logs_days", "10")], Some(864_000)),
            (
                &[
                    ("expire_logs_days", "0.500000"),
                    ("binlog_expire_logs_seconds", "43200"),
                ],
                Some(43_200),
            ),
            (&[("expire_logs_days", "1.500000")], Some(129_600)),
            (&[("expire_logs_days", "0.000000")], None),
            (
                &[
                    ("binlog_expire_logs_seconds", "60"),
                    ("binlog_expire_logs_auto_purge", "OFF"),
                ],
                None,
            ),
            (
                &[
                    ("binlog_expire_logs_seconds", "60"),
                    ("binlog_expire_logs_auto_purge", "ON"),
                ],
                Some(60),
            ),
            (&[], None),
        ] {
            assert_eq!(settings(pairs).expire_s(), seconds, "{pairs:?}");
        }
    }

    #[test]
    fn settings_of_an_old_server() {
        let log = settings(&[
            ("log_bin", "ON"),
            ("binlog_format", "STATEMENT"),
            ("binlog_checksum", "NONE"),
        ])
        .log(None);
        assert!(log.enabled && !log.checksum && !log.full_metadata && !log.has_metadata_setting && log.order_commits);
        assert_eq!((log.format.as_str(), log.row_image.as_str()), ("STATEMENT", "FULL"));
    }

    #[test]
    fn settings_of_a_new_server() {
        let pairs = [
            ("binlog_row_metadata", "MINIMAL"),
            ("binlog_row_value_options", "PARTIAL_JSON"),
            ("binlog_checksum", "CRC32"),
            ("binlog_order_commits", "OFF"),
        ];
        let status = Texts::of(&["b.000001", "4", "shop,crm", "hr"]);
        let log = settings(&pairs).log(Some(&status));
        assert!(
            log.checksum && log.partial_json && log.has_metadata_setting && !log.full_metadata && !log.order_commits
        );
        assert_eq!(
            (log.only_schemas.join(" "), log.ignored_schemas.join(" ")),
            ("shop crm".into(), "hr".into())
        );
        assert_eq!(log_end(&status), Some(FileOffset::new("b.000001", 4)));
    }
}
