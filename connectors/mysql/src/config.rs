//! What a MySQL or MariaDB source may be told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::check::Finding;
use tailrace_core::pattern::TablePattern;
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;
use tailrace_core::{Error, Result};
use tailrace_sql::QueryConfig;
use tailrace_sql::log_config::{
    SnapshotCondition, SnapshotMode, SnapshotOrder, TablePatterns, TlsConfig, check_conditions, check_skipped,
};

use crate::endpoint::Endpoint;

pub use crate::column_type::InvalidDates;
use crate::column_type::TypePolicy;

/// Two connections keep a two-core server busy without taking it away from the application.
const SNAPSHOT_CONNECTIONS: u16 = 2;
/// Beyond this many reads at once the server's disk, not we, is the bound.
const SNAPSHOT_CONNECTIONS_MAXIMUM: u16 = 32;
/// Of rows of some hundred bytes a few megabytes: large enough that finding the place costs nothing, small enough that tables are
/// shared well between the connections.
const SNAPSHOT_CHUNK_ROWS: u32 = 50_000;
/// Writers of the application wait behind a lock that waits. MySQL counts in seconds, so this is also nearly the shortest.
const SNAPSHOT_LOCK_TIMEOUT_MS: u64 = 2_000;
/// The shortest that `lock_wait_timeout` can be told.
const SNAPSHOT_LOCK_TIMEOUT_MINIMUM_MS: u64 = 1_000;
/// A third of the half minute after which a silent connection counts as lost.
const HEARTBEAT_INTERVAL_MS: u64 = 10_000;
/// Below this, heartbeats cost more than they tell.
const HEARTBEAT_INTERVAL_MINIMUM_MS: u64 = 100;
/// What `MASTER_HEARTBEAT_PERIOD` of both dialects can hold, seconds times a thousand.
const HEARTBEAT_INTERVAL_MAXIMUM_MS: u64 = 4_294_967_000;
/// Above everything that people make of ports and addresses, and wide: of 256 connectors two meet with a chance of one in thirty
/// thousand, and a meeting is noticed.
const SERVER_ID_FIRST: u32 = 0x4000_0000;
const SERVER_ID_LAST: u32 = 0x7fff_ffff;

/// What belongs to the server itself is never captured.
pub(crate) const SYSTEM_SCHEMAS: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "ndbinfo"];

/// A MySQL or MariaDB server whose rows and binary log are captured.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MySqlConfig {
    /// `mysql://user:password@host:3306/`, or `mysql://user@/?socket=/run/mysqld/mysqld.sock` for a Unix socket. Tables of every
    /// database of the server can be captured, so the URL names none.
    pub url: Secret,

    /// The password, where the URL does not hold it.
    #[serde(default)]
    pub password: Option<Secret>,

    /// File with the password, read again at every connection, so that a rotated password is picked up.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub password_file: Option<PathBuf>,

    /// Tables to capture, as patterns: `shop.orders`, `shop.order_*`, `*.audit_?`. The part before the dot is what MySQL calls a
    /// database. Upper and lower case differ. A pattern that matches nothing is an error. It may be left out where `query.queries` has any.
    #[serde(default)]
    pub tables: Vec<String>,

    /// Tables to leave out again, as patterns.
    #[serde(default)]
    pub exclude: Vec<String>,

    /// How the rows that are there already are read.
    #[serde(default)]
    pub snapshot: SnapshotConfig,

    /// What becomes of dates that no calendar has, such as `0000-00-00` and `2023-02-31`.
    #[serde(default)]
    pub invalid_dates: InvalidDates,

    /// Numbers that the connector may present itself to the server with. One is chosen at random at every connection; it must not be
    /// that of a server or of another reader of the log.
    #[serde(default)]
    pub server_id_range: ServerIdRange,

    /// Sink connectors of Tailrace whose writing is left out, by name or pattern; `*` for all. None by default. For two databases that
    /// are kept alike in both directions: what one sends must not come back from the other. The sinks are told by their
    /// table of offsets, which is to have its own name, `tailrace_offsets`. Rows that a snapshot reads are carried whoever wrote them.
    #[serde(default)]
    pub skip_written_by: Vec<String>,

    /// Encryption of the connection.
    #[serde(default)]
    pub tls: TlsConfig,

    /// How often the server tells that it is still there while nothing changes, milliseconds. After three silent intervals, and not
    /// before ten seconds, the connection counts as lost.
    #[serde(default = "heartbeat_interval_ms")]
    pub heartbeat_interval_ms: u64,

    /// Ask the tables themselves, again and again, instead of reading the binary log: for servers that keep none, or do not let
    /// us read it. Settings of the log and of the snapshot have no place beside it. Times in DATETIME columns are taken to be UTC.
    #[serde(default)]
    pub query: Option<QueryConfig>,
}

/// How the rows that are there already are read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotConfig {
    /// Whether they are read.
    #[serde(default)]
    pub mode: SnapshotMode,

    /// Connections that read at the same time.
    #[serde(default = "snapshot_connections")]
    pub connections: u16,

    /// Rows that are read at a time, from one key to the next.
    #[serde(default = "snapshot_chunk_rows")]
    pub chunk_rows: u32,

    /// In which order rows come.
    #[serde(default)]
    pub order: SnapshotOrder,

    /// How long the lock under which the snapshot begins is waited for, milliseconds, rounded up to seconds. While it is waited
    /// for, writers of the application wait too.
    #[serde(default = "snapshot_lock_timeout_ms")]
    pub lock_timeout_ms: u64,

    /// Conditions by name, for snapshots that are asked for later: rows of `table` are only read where `where` is true.
    #[serde(default)]
    pub conditions: BTreeMap<String, SnapshotCondition>,
}

/// Numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerIdRange {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
}

fn snapshot_connections() -> u16 {
    SNAPSHOT_CONNECTIONS
}

fn snapshot_chunk_rows() -> u32 {
    SNAPSHOT_CHUNK_ROWS
}

fn snapshot_lock_timeout_ms() -> u64 {
    SNAPSHOT_LOCK_TIMEOUT_MS
}

fn heartbeat_interval_ms() -> u64 {
    HEARTBEAT_INTERVAL_MS
}

// === impl SnapshotConfig ===

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            mode: SnapshotMode::default(),
            connections: SNAPSHOT_CONNECTIONS,
            chunk_rows: SNAPSHOT_CHUNK_ROWS,
            order: SnapshotOrder::default(),
            lock_timeout_ms: SNAPSHOT_LOCK_TIMEOUT_MS,
            conditions: BTreeMap::new(),
        }
    }
}

impl SnapshotConfig {
    /// As MySQL's `lock_wait_timeout` takes it.
    pub(crate) fn lock_timeout_s(&self) -> u64 {
        self.lock_timeout_ms.div_ceil(1_000)
    }
}

// === impl ServerIdRange ===

impl Default for ServerIdRange {
    fn default() -> Self {
        Self {
            first: SERVER_ID_FIRST,
            last: SERVER_ID_LAST,
        }
    }
}

impl ServerIdRange {
    /// One of the range, another at each call where the range has more; not the one that is known to be `taken`, unless there is no other.
    pub(crate) fn choose_but(self, taken: Option<u32>) -> u32 {
        let last = self.last.max(self.first);
        let taken = taken.filter(|taken| (self.first..=last).contains(taken) && self.first < last);
        let Some(taken) = taken else {
            return rand::random_range(self.first..=last);
        };
        let chosen = rand::random_range(self.first..=last.saturating_sub(1));
        if chosen < taken {
            chosen
        } else {
            chosen.saturating_add(1)
        }
    }
}

/// Whether a schema is one of [`SYSTEM_SCHEMAS`].
pub(crate) fn is_system_schema(schema: &str) -> bool {
    SYSTEM_SCHEMAS.iter().any(|system| schema.eq_ignore_ascii_case(system))
}

// === impl MySqlConfig ===

impl MySqlConfig {
    /// A server with the defaults of everything else.
    pub(crate) fn at(url: Secret) -> Self {
        Self {
            url,
            password: None,
            password_file: None,
            tables: Vec::new(),
            exclude: Vec::new(),
            snapshot: SnapshotConfig::default(),
            invalid_dates: InvalidDates::default(),
            server_id_range: ServerIdRange::default(),
            tls: TlsConfig::default(),
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
            query: None,
            skip_written_by: Vec::new(),
        }
    }

    /// The same server, with this one table and nothing else.
    pub(crate) fn of_table(&self, schema: &str, table: &str) -> Self {
        Self {
            tables: vec![format!("\"{schema}\".\"{table}\"")],
            exclude: Vec::new(),
            query: None,
            ..self.clone()
        }
    }

    /// Everything that is wrong with the configuration in itself, without a look at the server.
    pub fn problems(&self) -> Vec<Finding> {
        let results = [
            Endpoint::resolve(self).map(drop),
            self.patterns().map(drop),
            self.check_snapshot(),
            self.check_server_ids(),
            self.check_heartbeat(),
            self.check_query(),
            check_skipped(&self.skip_written_by),
            check_conditions(&self.snapshot.conditions),
        ];
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .map(Finding::from)
            .collect()
    }

    /// What was decided about types.
    pub(crate) fn type_policy(&self) -> TypePolicy {
        TypePolicy {
            invalid_dates: self.invalid_dates,
        }
    }

    /// Which tables are captured.
    pub(crate) fn patterns(&self) -> Result<TablePatterns> {
        let has_queries = self.query.as_ref().is_some_and(|query| !query.queries.is_empty());
        if self.tables.is_empty() && !has_queries {
            let message = "`tables` is empty; name the tables to capture, such as `shop.orders` or `shop.*`";
            return Err(Error::definite("config", message));
        }
        let parse = |texts: &[String]| texts.iter().map(|text| table_pattern(text)).collect::<Result<Vec<_>>>();
        Ok(TablePatterns {
            include: parse(&self.tables)?,
            exclude: parse(&self.exclude)?,
            system_schemas: &SYSTEM_SCHEMAS,
        })
    }

    fn check_snapshot(&self) -> Result<()> {
        let snapshot = &self.snapshot;
        if snapshot.connections == 0 || snapshot.connections > SNAPSHOT_CONNECTIONS_MAXIMUM {
            return Err(Error::definite(
                "config",
                format!(
                    "`snapshot.connections` is {}; give a number from 1 to {SNAPSHOT_CONNECTIONS_MAXIMUM}",
                    snapshot.connections
                ),
            ));
        }
        if snapshot.chunk_rows == 0 {
            let message = "`snapshot.chunk_rows` is 0; give the number of rows to read at a time";
            return Err(Error::definite("config", message));
        }
        if snapshot.lock_timeout_ms < SNAPSHOT_LOCK_TIMEOUT_MINIMUM_MS {
            return Err(Error::definite(
                "config",
                format!(
                    "`snapshot.lock_timeout_ms` is {}; give at least {SNAPSHOT_LOCK_TIMEOUT_MINIMUM_MS}, the server counts in seconds",
                    snapshot.lock_timeout_ms
                ),
            ));
        }
        Ok(())
    }

    /// 0 is what a server without a number has, and a log is not sent to it.
    fn check_server_ids(&self) -> Result<()> {
        let ServerIdRange { first, last } = self.server_id_range;
        if first == 0 || first > last {
            let message = format!(
                "`server_id_range` is from {first} to {last}; give two numbers of at least 1, the lower one first"
            );
            return Err(Error::definite("config", message));
        }
        Ok(())
    }

    fn check_query(&self) -> Result<()> {
        let Some(query) = &self.query else {
            return Ok(());
        };
        let set = settings_of_the_log(self).into_iter().find(|(_, is_set)| *is_set);
        if let Some((name, _)) = set {
            let message =
                format!("`{name}` is of the binary log, which is not read with `query`; take one of the two away");
            return Err(Error::definite("config", message));
        }
        // Our sessions are in no database, because tables of several may be captured.
        if let Some(lease) = query.lease.as_ref().filter(|lease| !lease.table.contains('.')) {
            let message = format!(
                "`query.lease.table` is `{0}` without a database; write `database.{0}`",
                lease.table
            );
            return Err(Error::definite("config", message));
        }
        match query.problem() {
            Some(problem) => Err(Error::definite("config", problem)),
            None => Ok(()),
        }
    }

    fn check_heartbeat(&self) -> Result<()> {
        let interval_ms = self.heartbeat_interval_ms;
        if !(HEARTBEAT_INTERVAL_MINIMUM_MS..=HEARTBEAT_INTERVAL_MAXIMUM_MS).contains(&interval_ms) {
            let message = format!(
                "`heartbeat_interval_ms` is {interval_ms}; give a number from {HEARTBEAT_INTERVAL_MINIMUM_MS} to {HEARTBEAT_INTERVAL_MAXIMUM_MS}"
            );
            return Err(Error::definite("config", message));
        }
        Ok(())
    }
}

/// What only the log and the snapshot before it have, by name, and whether it was set.
fn settings_of_the_log(config: &MySqlConfig) -> [(&'static str, bool); 4] {
    [
        ("snapshot", config.snapshot != SnapshotConfig::default()),
        ("server_id_range", config.server_id_range != ServerIdRange::default()),
        (
            "heartbeat_interval_ms",
            config.heartbeat_interval_ms != HEARTBEAT_INTERVAL_MS,
        ),
        ("skip_written_by", !config.skip_written_by.is_empty()),
    ]
}

fn table_pattern(text: &str) -> Result<TablePattern> {
    let invalid = |why: &str| {
        Err(Error::definite(
            "config",
            format!("`{text}` in `tables` or `exclude` {why}"),
        ))
    };
    let Some((schema, _)) = text
        .split_once('.')
        .filter(|(schema, table)| !schema.is_empty() && !table.is_empty())
    else {
        return invalid("is no pattern of a table; write `database.table`, such as `shop.orders`");
    };
    if is_system_schema(schema) {
        return invalid("names a table of the server itself, which is never captured");
    }
    Ok(TablePattern::new(text, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> MySqlConfig {
        serde_json::from_str(json).unwrap()
    }

    const PLAIN: &str = r#"{"url": "mysql://u@localhost/", "tables": ["shop.orders"]}"#;

    #[test]
    fn defaults_are_filled_in() {
        let config = config(PLAIN);
        assert_eq!(config.snapshot.mode, SnapshotMode::Initial);
        assert_eq!(config.snapshot.connections, 2);
        assert_eq!(config.snapshot.lock_timeout_s(), 2);
        assert_eq!(config.heartbeat_interval_ms, 10_000);
        assert!(config.problems().is_empty());
        assert!((0x4000_0000..=0x7fff_ffff).contains(&config.server_id_range.choose_but(None)));
    }

    #[test]
    fn a_server_id_is_of_its_range() {
        let range = ServerIdRange { first: 7, last: 8 };
        let chosen = |range: ServerIdRange, taken| {
            let chosen: std::collections::BTreeSet<u32> = (0..200).map(|_| range.choose_but(taken)).collect();
            Vec::from_iter(chosen)
        };
        assert_eq!(chosen(range, None), [7, 8]);
        assert_eq!(chosen(range, Some(7)), [8]);
        assert_eq!(chosen(range, Some(8)), [7]);
        assert_eq!(chosen(range, Some(9)), [7, 8]);
        assert_eq!(chosen(ServerIdRange { first: 9, last: 9 }, Some(9)), [9]);
        let all = ServerIdRange {
            first: 1,
            last: u32::MAX,
        };
        assert_ne!(all.choose_but(Some(u32::MAX)), u32::MAX);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let json = r#"{"url": "mysql://u@localhost/", "tables": [], "tabels": []}"#;
        assert!(serde_json::from_str::<MySqlConfig>(json).is_err());
        let json = r#"{"url": "mysql://u@localhost/", "tables": [], "server_id_range": {"first": 1}}"#;
        assert!(serde_json::from_str::<MySqlConfig>(json).is_err());
    }

    #[test]
    fn what_is_of_the_log_has_no_place_beside_a_query() {
        let problem = |more: &str| {
            let json = format!(
                r#"{{"url": "mysql://u@localhost/", "tables": ["shop.orders"], "query": {{"mode": "bulk"}}, {more}}}"#
            );
            config(&json).problems().first().map(|finding| finding.problem.clone())
        };
        assert_eq!(problem(r#""invalid_dates": "halt""#), None);
        assert_eq!(problem(r#""heartbeat_interval_ms": 10000"#), None);
        for (more, name) in [
            (r#""heartbeat_interval_ms": 1000"#, "`heartbeat_interval_ms`"),
            (r#""snapshot": {"mode": "never"}"#, "`snapshot`"),
            (r#""skip_written_by": ["*"]"#, "`skip_written_by`"),
            (r#""server_id_range": {"first": 7, "last": 8}"#, "`server_id_range`"),
        ] {
            let problem = problem(more).unwrap();
            assert!(problem.starts_with(name), "{problem}");
        }
    }

    #[test]
    fn queries_alone_are_enough_and_leases_are_in_a_database() {
        let with = |query: &str| config(&format!(r#"{{"url": "mysql://u@localhost/", "query": {query}}}"#));
        let queries = with(r#"{"mode": "bulk", "queries": {"open": {"sql": "SELECT 1 AS one"}}}"#);
        assert!(queries.problems().is_empty());
        assert!(!queries.patterns().unwrap().captures("shop", "orders"));
        assert_eq!(with(r#"{"mode": "bulk"}"#).problems().len(), 1);
        let mut config = with(r#"{"mode": "queue", "lease": {"table": "tailrace_lease"}}"#);
        config.tables.push("shop.orders".to_owned());
        let problems = config.problems();
        assert!(
            problems[0].problem.contains("`database.tailrace_lease`"),
            "{problems:?}"
        );
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let config = config(
            r#"{"url": "postgres://u@localhost/shop", "tables": [], "heartbeat_interval_ms": 1,
                "server_id_range": {"first": 9, "last": 8}, "snapshot": {"lock_timeout_ms": 10}}"#,
        );
        let problems: Vec<String> = config.problems().into_iter().map(|finding| finding.problem).collect();
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems[3].contains("from 9 to 8"), "{problems:?}");
    }

    #[test]
    fn tables_are_captured_by_pattern() {
        let mut config = config(PLAIN);
        config.tables.push("*.audit_?".to_owned());
        config.exclude.push("secret.*".to_owned());
        let patterns = config.patterns().unwrap();
        assert!(patterns.captures("shop", "orders") && !patterns.captures("Shop", "orders"));
        assert!(patterns.includes("secret", "audit_1") && !patterns.captures("secret", "audit_1"));
        assert!(patterns.includes("mysql", "audit_1") && !patterns.captures("mysql", "audit_1"));
        for nonsense in ["", ".", "shop.", ".orders", "orders", "mysql.user", "SYS.x"] {
            config.tables = vec![nonsense.to_owned()];
            assert!(config.patterns().is_err(), "{nonsense}");
        }
    }
}
