//! Who the server is and how it is set up, as our user sees it.

mod grants;
mod log_file;
mod query;

use std::fmt;

use serde::{Deserialize, Serialize};
use tailrace_core::{Error, Result};

use crate::position::FileOffset;
use crate::position::gtid::GtidSet;
use crate::position::mariadb_gtid::MariaDbGtidState;

pub(crate) use grants::Grants;
pub(crate) use log_file::{FIRST_EVENT_OFFSET, at_its_beginning, file_head, file_started_s};
pub(crate) use query::{
    granted, identify, invalid_gtids, log_end, log_files, log_status, server_facts, texts_where_allowed,
};

/// The oldest MySQL whose log and catalogue are understood.
const OLDEST_MYSQL: Version = Version::new(5, 6, 0);
/// The oldest MariaDB.
const OLDEST_MARIADB: Version = Version::new(10, 5, 0);
/// The first release of MySQL 5.7.
const MYSQL_57: Version = Version::new(5, 7, 9);

/// Which of the two dialects a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// MySQL, Percona Server and the services that are made of them.
    #[serde(rename = "mysql")]
    MySql,
    /// MariaDB.
    #[serde(rename = "mariadb")]
    MariaDb,
}

/// Three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

/// What `SELECT VERSION()` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Dialect.
    pub(crate) flavour: Flavour,
    /// Version.
    pub(crate) version: Version,
    /// Version in the server's own words: `10.11.6-MariaDB-0+deb12u1-log`.
    pub(crate) version_text: String,
}

/// Who the server is and how it is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerFacts {
    /// Dialect and version.
    pub(crate) identity: Identity,
    /// `server_id`; 0 where none was given.
    pub(crate) server_id: u32,
    /// `server_uuid`; MariaDB has none.
    pub(crate) server_uuid: Option<String>,
    /// `hostname`.
    pub(crate) hostname: String,
    /// Our user as the server knows it: `tailrace@%`.
    pub(crate) user: String,
    /// What our user may do.
    pub(crate) grants: Grants,
    /// The binary log's settings.
    pub(crate) log: LogSettings,
    /// The files of the log, oldest first; none where our user may not see them.
    pub(crate) log_files: Vec<LogFile>,
    /// The end of the log; `None` where there is no log, or our user may not see it.
    pub(crate) log_end: Option<FileOffset>,
    /// Global transaction identifiers, where every transaction has one.
    pub(crate) gtids: Option<ServerGtids>,
    /// Whether the server replicates from another.
    pub(crate) replica: Replica,
    /// `innodb_flush_log_at_trx_commit`.
    pub(crate) flush_log_at_commit: u64,
    /// `max_allowed_packet`, bytes.
    pub(crate) max_allowed_packet_bytes: u64,
    /// Rows that a foreign key's action changes are in the log: MySQL from 9.6 on, unless `innodb_native_foreign_keys` is set.
    pub(crate) logs_cascades: bool,
    /// `lower_case_table_names`: 0 compares names as they are, 1 stores them in lower case, 2 compares them in lower case.
    pub(crate) lower_case_table_names: u8,
    /// How rows are numbered.
    pub(crate) numbering: Numbering,
    /// `performance_schema`: the server watches itself.
    pub(crate) performance_schema: bool,
}

/// How a server numbers the rows of `AUTO_INCREMENT` tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbering {
    /// `auto_increment_increment`: more than 1 where others number rows of the same tables too.
    pub(crate) increment: u64,
    /// `wsrep_on`: it is a node of a Galera cluster, each of which numbers by itself.
    pub(crate) galera: bool,
}

/// The binary log's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// `log_bin`.
    pub(crate) enabled: bool,
    /// `binlog_format`.
    pub(crate) format: String,
    /// `binlog_row_image`.
    pub(crate) row_image: String,
    /// `binlog_row_metadata` is `FULL`: names, keys and members of enumerations are in the log.
    pub(crate) full_metadata: bool,
    /// `binlog_row_metadata` can be set, from MySQL 8.0.1 and MariaDB 10.5 on.
    pub(crate) has_metadata_setting: bool,
    /// `binlog_row_value_options` has `PARTIAL_JSON`: changes of JSON documents are logged as differences.
    pub(crate) partial_json: bool,
    /// `binlog_checksum` is not `NONE`.
    pub(crate) checksum: bool,
    /// `sync_binlog`: how many commits may be lost with the machine; 0 for any number.
    pub(crate) sync_every: u64,
    /// `binlog_order_commits`: transactions become visible in the log's order.
    pub(crate) order_commits: bool,
    /// After how long files are deleted, seconds; `None` for never.
    pub(crate) expire_s: Option<u64>,
    /// Schemas that alone are logged, where `binlog_do_db` names any.
    pub(crate) only_schemas: Vec<String>,
    /// Schemas that are not logged.
    pub(crate) ignored_schemas: Vec<String>,
    /// `binlog_storage_engine` of MariaDB 12.3: the log is kept in tables of an engine instead of files.
    pub(crate) storage_engine: Option<String>,
}

/// One file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// Name.
    pub(crate) name: String,
    /// Size in bytes; that of the last file grows.
    pub(crate) size_bytes: u64,
}

/// Global transaction identifiers of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerGtids {
    /// Everything in the log now or before: `gtid_executed`, `gtid_binlog_pos`.
    pub(crate) executed: GtidSet,
    /// What is no more in the log: `gtid_purged`, or where MariaDB's first file begins. `None` where our user may not see it.
    pub(crate) purged: Option<GtidSet>,
    /// MariaDB: the last transaction of each server.
    pub(crate) state: Option<MariaDbGtidState>,
}

/// Whether the server replicates from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replica {
    /// It does; `None` where our user may not see it.
    pub(crate) is_replica: Option<bool>,
    /// `log_replica_updates`: what it replicates is in its own log.
    pub(crate) logs_updates: bool,
    /// `read_only`.
    pub(crate) read_only: bool,
}

// === impl Flavour ===

impl Flavour {
    /// As the world writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// As `type` in the configuration.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }
}

// === impl Version ===

impl Version {
    /// A version.
    pub(crate) const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// As one number, as in a comment that servers run: 50703 is 5.7.3.
    pub(crate) fn number(self) -> u32 {
        u32::from(self.major) * 10_000 + u32::from(self.minor) * 100 + u32::from(self.patch)
    }

    /// The numbers at the beginning of `10.11.6-MariaDB-0+deb12u1`; what is missing is 0.
    fn parse(text: &str) -> Option<Self> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (numbers, _) = text.split_at_checked(end)?;
        let mut numbers = numbers.split('.').map(|number| number.parse::<u16>().ok());
        let mut next = || numbers.next().flatten();
        Some(Self::new(
            next()?,
            next().unwrap_or_default(),
            next().unwrap_or_default(),
        ))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

// === impl Identity ===

impl Identity {
    /// Reads what the server says of itself. MariaDB names itself in its version; some of its versions put a `5.5.5-` in front, for
    /// replicas of MySQL that would not talk to a version of two digits.
    pub(crate) fn parse(version_text: &str) -> Option<Self> {
        let is_mariadb = version_text.to_ascii_lowercase().contains("mariadb");
        let (flavour, numbers) = if is_mariadb {
            let numbers = version_text.strip_prefix("5.5.5-").unwrap_or(version_text);
            (Flavour::MariaDb, numbers)
        } else {
            (Flavour::MySql, version_text)
        };
        Some(Self {
            flavour,
            version: Version::parse(numbers)?,
            version_text: version_text.to_owned(),
        })
    }

    /// Both dialects, each from a version on: `at_least(Some(8.0.22), Some(10.5.1))`; `None` for never.
    pub(crate) fn at_least(&self, mysql: Option<Version>, mariadb: Option<Version>) -> bool {
        let needed = match self.flavour {
            Flavour::MySql => mysql,
            Flavour::MariaDb => mariadb,
        };
        needed.is_some_and(|needed| self.version >= needed)
    }

    /// `LOCK TABLES … READ` waits for transactions that have written to the table, and not only for statements.
    pub(crate) fn locks_out_transactions(&self) -> bool {
        self.at_least(Some(MYSQL_57), Some(OLDEST_MARIADB))
    }

    /// Where the server names a transaction as executed, whoever looks sees its rows. Elsewhere it is named when it is in the log, and the
    /// rows are shown a moment later.
    pub(crate) fn names_what_it_shows(&self) -> bool {
        self.at_least(Some(MYSQL_57), None)
    }

    /// Refuses versions whose log and catalogue are not understood.
    pub(crate) fn verify_version(&self) -> Result<()> {
        if self.at_least(Some(OLDEST_MYSQL), Some(OLDEST_MARIADB)) {
            return Ok(());
        }
        let message = format!(
            "the server is {self}; MySQL {OLDEST_MYSQL} and MariaDB {OLDEST_MARIADB} are the oldest that are understood"
        );
        Err(Error::definite("server_too_old", message))
    }

    /// Refuses a server of the other dialect than the configuration names: somebody meant another server.
    pub(crate) fn verify_flavour(&self, expected: Flavour) -> Result<()> {
        if self.flavour == expected {
            return Ok(());
        }
        let message = format!(
            "the server is {self}, but `type: {}` is configured; write `type: {}`, or correct the `url`",
            expected.type_name(),
            self.flavour.type_name()
        );
        Err(Error::definite("wrong_flavour", message))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.flavour.name(), self.version_text)
    }
}

// === impl ServerFacts ===

impl ServerFacts {
    /// Dialect.
    pub(crate) fn flavour(&self) -> Flavour {
        self.identity.flavour
    }

    /// Everything that stands between this server and a first change; `check` tells more, and in more words.
    pub(crate) fn refuse_unfit(&self) -> Result<()> {
        self.identity.verify_version()?;
        if !self.log.enabled {
            let message = "the server keeps no binary log; start it with log_bin (and a server_id)";
            return Err(Error::definite("log_bin", message));
        }
        if self.server_id == 0 {
            let message = "the server has server_id 0, with which it sends its log to nobody; give it another number";
            return Err(Error::definite("server_id_missing", message));
        }
        if !self.log.format.eq_ignore_ascii_case("row") {
            let message = format!(
                "binlog_format is `{}`, and rows can only be read from a log with `ROW`: SET GLOBAL binlog_format = 'ROW'; \
                 then end the connections of the application, which keep the old setting",
                self.log.format
            );
            return Err(Error::definite("binlog_format", message));
        }
        if !self.log.row_image.eq_ignore_ascii_case("full") {
            let message = format!(
                "binlog_row_image is `{}`, and whole rows can only be read from a log with `FULL`: SET GLOBAL binlog_row_image = 'FULL'; \
                 then end the connections of the application, which keep the old setting",
                self.log.row_image
            );
            return Err(Error::definite("binlog_row_image", message));
        }
        if let Some(engine) = &self.log.storage_engine {
            let message = format!(
                "the server keeps its binary log in {engine} (binlog_storage_engine), which is not understood; start it without that setting"
            );
            return Err(Error::definite("binlog_storage_engine", message));
        }
        if self.replica.is_replica == Some(true) && !self.replica.logs_updates {
            let message = "the server is a replica that does not log what it replicates; start it with log_replica_updates (log_slave_updates), \
                           or capture from its source";
            return Err(Error::definite("log_replica_updates", message));
        }
        Ok(())
    }

    /// Changes of tables of this schema are in the log.
    pub(crate) fn logs_schema(&self, schema: &str) -> bool {
        let lists = |schemas: &[String]| schemas.iter().any(|listed| listed == schema);
        (self.log.only_schemas.is_empty() || lists(&self.log.only_schemas)) && !lists(&self.log.ignored_schemas)
    }
}

/// A server in memory, for tests of what looks at one.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// MySQL 8.4.6 on which nothing is wrong.
    pub(crate) fn mysql() -> ServerFacts {
        let executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100".parse().unwrap();
        ServerFacts {
            identity: Identity::parse("8.4.6").unwrap(),
            server_id: 1,
            server_uuid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562".to_owned()),
            hostname: "db1".to_owned(),
            user: "tailrace@%".to_owned(),
            grants: Grants::parse([
                "GRANT SELECT, LOCK TABLES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `tailrace`@`%`",
            ]),
            log: log_settings(),
            log_files: vec![file("mysql-bin.000002", 900), file("mysql-bin.000003", 5000)],
            log_end: Some(FileOffset::new("mysql-bin.000003", 5000)),
            gtids: Some(ServerGtids {
                executed: GtidSet::MySql(executed),
                purged: Some(GtidSet::MySql(
                    "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-10".parse().unwrap(),
                )),
                state: None,
            }),
            replica: Replica {
                is_replica: Some(false),
                logs_updates: true,
                read_only: false,
            },
            flush_log_at_commit: 1,
            max_allowed_packet_bytes: 64 << 20,
            logs_cascades: false,
            lower_case_table_names: 0,
            numbering: Numbering {
                increment: 1,
                galera: false,
            },
            performance_schema: true,
        }
    }

    /// MariaDB 10.11.6 on which nothing is wrong.
    pub(crate) fn mariadb() -> ServerFacts {
        ServerFacts {
            identity: Identity::parse("10.11.6-MariaDB-0+deb12u1-log").unwrap(),
            server_uuid: None,
            grants: Grants::parse([
                "GRANT SELECT, LOCK TABLES, BINLOG MONITOR, REPLICATION SLAVE ON *.* TO `tailrace`@`%`",
            ]),
            gtids: Some(ServerGtids {
                executed: GtidSet::MariaDb("0-1-100".parse().unwrap()),
                purged: Some(GtidSet::MariaDb("0-1-10".parse().unwrap())),
                state: Some("0-1-100".parse().unwrap()),
            }),
            ..mysql()
        }
    }

    fn log_settings() -> LogSettings {
        LogSettings {
            enabled: true,
            format: "ROW".to_owned(),
            row_image: "FULL".to_owned(),
            full_metadata: true,
            has_metadata_setting: true,
            partial_json: false,
            checksum: true,
            sync_every: 1,
            order_commits: true,
            expire_s: Some(2_592_000),
            only_schemas: Vec::new(),
            ignored_schemas: Vec::new(),
            storage_engine: None,
        }
    }

    pub(crate) fn file(name: &str, size_bytes: u64) -> LogFile {
        LogFile {
            name: name.to_owned(),
            size_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{mariadb, mysql};
    use super::*;

    #[test]
    fn a_server_names_its_dialect_and_version() {
        for (text, flavour, version) in [
            ("5.6.24-log", Flavour::MySql, Version::new(5, 6, 24)),
            ("8.0.36-28", Flavour::MySql, Version::new(8, 0, 36)),
            ("9.7.4-0debian1", Flavour::MySql, Version::new(9, 7, 4)),
            ("8.4", Flavour::MySql, Version::new(8, 4, 0)),
            (
                "10.11.6-MariaDB-0+deb12u1-log",
                Flavour::MariaDb,
                Version::new(10, 11, 6),
            ),
            ("5.5.5-10.6.12-MariaDB", Flavour::MariaDb, Version::new(10, 6, 12)),
            ("12.1.2-MariaDB", Flavour::MariaDb, Version::new(12, 1, 2)),
        ] {
            let identity = Identity::parse(text).unwrap();
            assert_eq!((identity.flavour, identity.version), (flavour, version), "{text}");
        }
        assert_eq!(Identity::parse("unknown"), None);
    }

    #[test]
    fn old_servers_and_the_wrong_dialect_are_refused() {
        let code = |text: &str| {
            let identity = Identity::parse(text).unwrap();
            identity.verify_version().err().map(|error| error.code())
        };
        assert_eq!(code("5.6.2"), None);
        assert_eq!(code("5.5.62"), Some("server_too_old"));
        assert_eq!(code("10.5.0-MariaDB"), None);
        assert_eq!(code("10.4.34-MariaDB"), Some("server_too_old"));
        let identity = Identity::parse("10.11.6-MariaDB").unwrap();
        assert!(identity.verify_flavour(Flavour::MariaDb).is_ok());
        let error = identity.verify_flavour(Flavour::MySql).unwrap_err();
        assert_eq!(error.code(), "wrong_flavour");
        assert!(error.report().contains("write `type: mariadb`"), "{error}");
    }

    #[test]
    fn versions_are_compared_within_their_dialect() {
        let identity = Identity::parse("10.11.6-MariaDB").unwrap();
        assert!(!identity.at_least(Some(Version::new(8, 0, 0)), None));
        assert!(identity.at_least(None, Some(Version::new(10, 11, 0))));
    }

    #[test]
    fn unfit_servers_are_refused_before_anything_is_done() {
        let refused = |change: fn(&mut ServerFacts)| {
            let mut server = mysql();
            change(&mut server);
            server.refuse_unfit().err().map(|error| error.code())
        };
        assert_eq!(refused(|_| {}), None);
        assert!(mariadb().refuse_unfit().is_ok());
        assert_eq!(refused(|server| server.log.enabled = false), Some("log_bin"));
        assert_eq!(refused(|server| server.server_id = 0), Some("server_id_missing"));
        assert_eq!(
            refused(|server| server.log.format = "MIXED".to_owned()),
            Some("binlog_format")
        );
        assert_eq!(
            refused(|server| server.log.row_image = "NOBLOB".to_owned()),
            Some("binlog_row_image")
        );
        let engine = |server: &mut ServerFacts| server.log.storage_engine = Some("innodb".to_owned());
        assert_eq!(refused(engine), Some("binlog_storage_engine"));
        let mute_replica = |server: &mut ServerFacts| {
            server.replica.is_replica = Some(true);
            server.replica.logs_updates = false;
        };
        assert_eq!(refused(mute_replica), Some("log_replica_updates"));
    }

    #[test]
    fn filters_of_the_log_hide_schemas() {
        let mut server = mysql();
        assert!(server.logs_schema("shop"));
        server.log.only_schemas = vec!["shop".to_owned()];
        assert!(server.logs_schema("shop") && !server.logs_schema("crm"));
        server.log.ignored_schemas = vec!["shop".to_owned()];
        assert!(!server.logs_schema("shop"));
    }
}
