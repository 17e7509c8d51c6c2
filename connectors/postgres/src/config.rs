//! What a PostgreSQL source may be told, and the names that follow from it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::check::Finding;
use tailrace_core::pattern::TablePattern;
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;
use tailrace_core::{Error, Result};
use tailrace_sql::config::QueryConfig;
use tailrace_sql::log_config::{
    self, SnapshotCondition, SnapshotMode, SnapshotOrder, TablePatterns, TlsConfig, check_conditions, check_skipped,
    is_skipped,
};

use crate::endpoint::{Access, Endpoint};

/// Two connections keep a two-core server busy without taking it away from the application.
const SNAPSHOT_CONNECTIONS: u16 = 2;
/// Beyond this many copies at once the server's disk, not we, is the bound.
const SNAPSHOT_CONNECTIONS_MAXIMUM: u16 = 32;
/// PostgreSQL's own `wal_receiver_status_interval`; a sixth of the default `wal_sender_timeout`.
const STATUS_INTERVAL_MS: u64 = 10_000;
/// Below this, status messages cost more than they tell.
const STATUS_INTERVAL_MINIMUM_MS: u64 = 100;
/// A third of the memory goal of 100 MB; the rest of a large transaction waits on disk.
const SPILL_BYTES: u64 = 32 * 1024 * 1024;
/// 64 segments of 16 MB: far beyond a pause of minutes, far below the smallest usual disk.
const RETAINED_WAL_WARNING_BYTES: u64 = 1024 * 1024 * 1024;
/// `NAMEDATALEN - 1`: longer names would be cut by the server without an error.
const NAME_BYTES_MAXIMUM: usize = 63;

/// A PostgreSQL database whose rows and write-ahead log are captured, or whose tables are polled.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:5432/database`, or `host=… port=… user=… dbname=…` as in libpq. A host that begins with `/`
    /// is the folder of a Unix socket; without a host the usual socket folders are tried.
    pub url: Secret,

    /// The password, where the URL does not hold it.
    #[serde(default)]
    pub password: Option<Secret>,

    /// File with the password, read again at every connection, so that a rotated password is picked up.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub password_file: Option<PathBuf>,

    /// Tables to capture, as patterns: `public.orders`, `public.order_*`, `*.audit_?`. Without a dot the schema is `public`. Upper
    /// and lower case differ. A partitioned table stands for its partitions. A pattern that matches nothing is an error. With `query`
    /// it may be left out where `query.queries` are polled, and views and foreign tables may be named in full.
    #[serde(default)]
    pub tables: Vec<String>,

    /// Poll the tables by queries instead of reading the write-ahead log, for servers whose log cannot be had: no slot, no
    /// publication, no right to replicate; a standby will do for some modes. Names in `query.queries` without a schema are looked up in
    /// `public`.
    #[serde(default)]
    pub query: Option<QueryConfig>,

    /// Tables to leave out again, as patterns.
    #[serde(default)]
    pub exclude: Vec<String>,

    /// Name of the replication slot; by default `tailrace_` and the connector's name.
    #[serde(default)]
    pub slot: Option<String>,

    /// Name of the publication; by default `tailrace_` and the connector's name.
    #[serde(default)]
    pub publication: Option<String>,

    /// Create the publication where it is missing, for exactly the captured tables.
    #[serde(default = "yes")]
    pub create_publication: bool,

    /// Publish rows of partitions under the name of the partitioned table instead of the partition's.
    #[serde(default)]
    pub publication_via_partition_root: bool,

    /// How the rows that are there already are read.
    #[serde(default)]
    pub snapshot: SnapshotConfig,

    /// Let the server send values in its binary form: less work for the server, same events.
    #[serde(default)]
    pub binary: bool,

    /// Prefixes of logical messages (`pg_logical_emit_message`) to capture, as patterns; `*` for all. None by default.
    #[serde(default)]
    pub message_prefixes: Vec<String>,

    /// Sink connectors of Tailrace whose writing is left out, by name or pattern; `*` for all. None by default. For two databases that
    /// are kept alike in both directions: what one sends must not come back from the other. The sinks are to say
    /// `mark_origin: true`. Rows that a snapshot reads are carried whoever wrote them.
    #[serde(default)]
    pub skip_written_by: Vec<String>,

    /// Encryption of the connection.
    #[serde(default)]
    pub tls: TlsConfig,

    /// How often the server is told how far its log is durable here, milliseconds.
    #[serde(default = "status_interval_ms")]
    pub status_interval_ms: u64,

    /// How much of transactions that are still open on the server is held in memory, bytes; the rest goes to disk.
    #[serde(default = "spill_bytes")]
    pub spill_bytes: u64,

    /// Folder for what does not fit into `spill_bytes`; by default the system's temporary folder.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub spill_path: Option<PathBuf>,

    /// Have the slot synchronized to standbys, so that it survives a failover (PostgreSQL 17 and later).
    #[serde(default)]
    pub failover: bool,

    /// Warn when the server keeps more log than this for the connector, bytes.
    #[serde(default = "retained_wal_warning_bytes")]
    pub retained_wal_warning_bytes: u64,
}

/// How the rows that are there already are read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotConfig {
    /// Whether they are read.
    #[serde(default)]
    pub mode: SnapshotMode,

    /// Connections that copy at the same time.
    #[serde(default = "snapshot_connections")]
    pub connections: u16,

    /// In which order rows come.
    #[serde(default)]
    pub order: SnapshotOrder,

    /// Conditions by name, for snapshots that are asked for later: rows of `table` are only read where `where` is true.
    #[serde(default)]
    pub conditions: BTreeMap<String, SnapshotCondition>,
}

/// What the connector is called on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerNames {
    /// Replication slot.
    pub(crate) slot: String,
    /// Publication.
    pub(crate) publication: String,
}

fn yes() -> bool {
    true
}

fn snapshot_connections() -> u16 {
    SNAPSHOT_CONNECTIONS
}

fn status_interval_ms() -> u64 {
    STATUS_INTERVAL_MS
}

fn spill_bytes() -> u64 {
    SPILL_BYTES
}

fn retained_wal_warning_bytes() -> u64 {
    RETAINED_WAL_WARNING_BYTES
}

// === impl SnapshotConfig ===

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            mode: SnapshotMode::default(),
            connections: SNAPSHOT_CONNECTIONS,
            order: SnapshotOrder::default(),
            conditions: BTreeMap::new(),
        }
    }
}

impl SnapshotConfig {
    /// The qualified names of the tables of the conditions, by the names of these.
    pub(crate) fn tables_of_conditions(&self, default_schema: &str) -> BTreeMap<String, String> {
        log_config::tables_of_conditions(&self.conditions, Some(default_schema))
    }
}

// === impl PostgresConfig ===

impl PostgresConfig {
    /// A database with the defaults of everything else.
    pub(crate) fn at(url: Secret) -> Self {
        Self {
            url,
            password: None,
            password_file: None,
            tables: Vec::new(),
            query: None,
            skip_written_by: Vec::new(),
            exclude: Vec::new(),
            slot: None,
            publication: None,
            create_publication: true,
            publication_via_partition_root: false,
            snapshot: SnapshotConfig::default(),
            binary: false,
            message_prefixes: Vec::new(),
            tls: TlsConfig::default(),
            status_interval_ms: STATUS_INTERVAL_MS,
            spill_bytes: SPILL_BYTES,
            spill_path: None,
            failover: false,
            retained_wal_warning_bytes: RETAINED_WAL_WARNING_BYTES,
        }
    }

    /// The same database, with this one table and nothing else.
    pub(crate) fn of_table(&self, schema: &str, table: &str) -> Self {
        Self {
            tables: vec![format!("\"{schema}\".\"{table}\"")],
            exclude: Vec::new(),
            query: None,
            ..self.clone()
        }
    }

    /// The same with the names that a connector has on the server, where its log is read.
    ///
    /// # Errors
    /// Definite, where such a name is none that the server takes.
    pub fn of_connector(&self, connector: &str) -> Result<Self> {
        if self.query.is_some() {
            return Ok(self.clone());
        }
        let names = self.server_names(connector)?;
        Ok(Self {
            slot: Some(names.slot),
            publication: Some(names.publication),
            ..self.clone()
        })
    }

    /// Everything that is wrong with the configuration in itself, without a look at the server.
    pub fn problems(&self, connector: &str) -> Vec<Finding> {
        let query = self.query.as_ref();
        let results = [
            Endpoint::resolve(&self.access()).map(drop),
            self.server_names(connector).map(drop),
            self.patterns().map(drop),
            self.check_numbers(),
            check_skipped(&self.skip_written_by),
            check_conditions(&self.snapshot.conditions),
            query.map_or(Ok(()), |query| self.check_query(query)),
        ];
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .map(Finding::from)
            .collect()
    }

    /// What a connection needs.
    pub(crate) fn access(&self) -> Access<'_> {
        Access {
            url: &self.url,
            password: self.password.as_ref(),
            password_file: self.password_file.as_deref(),
            tls: &self.tls,
        }
    }

    /// What the connector is called on the server: as configured, else derived from the connector's name.
    pub(crate) fn server_names(&self, connector: &str) -> Result<ServerNames> {
        Ok(ServerNames {
            slot: server_name("slot", self.slot.as_deref(), connector)?,
            publication: server_name("publication", self.publication.as_deref(), connector)?,
        })
    }

    /// Which tables are captured.
    pub(crate) fn patterns(&self) -> Result<TablePatterns> {
        let has_queries = self.query.as_ref().is_some_and(|query| !query.queries.is_empty());
        if self.tables.is_empty() && !has_queries {
            let message = "`tables` is empty; name the tables to capture, such as `public.orders` or `public.*`";
            return Err(Error::definite("config", message));
        }
        let parse = |texts: &[String]| texts.iter().map(|text| table_pattern(text)).collect::<Result<Vec<_>>>();
        Ok(TablePatterns {
            include: parse(&self.tables)?,
            exclude: parse(&self.exclude)?,
            // The catalogue's query leaves them out.
            system_schemas: &[],
        })
    }

    /// Whether any logical messages are captured.
    pub(crate) fn captures_messages(&self) -> bool {
        !self.message_prefixes.is_empty()
    }

    /// Whether logical messages with this prefix are captured.
    pub(crate) fn captures_message(&self, prefix: &str) -> bool {
        let fits = |pattern: &String| TablePattern::new(&format!("\"{pattern}\""), None).matches("", prefix);
        self.message_prefixes.iter().any(fits)
    }

    /// Whether transactions with this replication origin are left out.
    pub(crate) fn skips_origin(&self, origin: &str) -> bool {
        sink_of(origin).is_some_and(|connector| is_skipped(&self.skip_written_by, connector))
    }

    /// Options of the log mean nothing to polling, and whoever wrote them expects something that does not happen.
    fn check_query(&self, query: &QueryConfig) -> Result<()> {
        if let Some(problem) = query.problem() {
            return Err(Error::definite("config", problem));
        }
        let snapshot = SnapshotConfig::default();
        let of_the_log = [
            ("slot", self.slot.is_some()),
            ("publication", self.publication.is_some()),
            ("create_publication", !self.create_publication),
            ("publication_via_partition_root", self.publication_via_partition_root),
            ("snapshot.mode", self.snapshot.mode != snapshot.mode),
            (
                "snapshot.connections",
                self.snapshot.connections != snapshot.connections,
            ),
            ("snapshot.order", self.snapshot.order != snapshot.order),
            ("snapshot.conditions", !self.snapshot.conditions.is_empty()),
            ("binary", self.binary),
            ("message_prefixes", !self.message_prefixes.is_empty()),
            ("skip_written_by", !self.skip_written_by.is_empty()),
            ("status_interval_ms", self.status_interval_ms != STATUS_INTERVAL_MS),
            ("spill_bytes", self.spill_bytes != SPILL_BYTES),
            ("spill_path", self.spill_path.is_some()),
            ("failover", self.failover),
            (
                "retained_wal_warning_bytes",
                self.retained_wal_warning_bytes != RETAINED_WAL_WARNING_BYTES,
            ),
        ];
        let set: Vec<_> = of_the_log
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| *name)
            .collect();
        if set.is_empty() {
            return Ok(());
        }
        Err(Error::definite(
            "config",
            format!(
                "`{}` belong to reading the log, and with `query` the tables are polled; remove them, or remove `query`",
                set.join("`, `")
            ),
        ))
    }

    fn check_numbers(&self) -> Result<()> {
        let connections = self.snapshot.connections;
        if connections == 0 || connections > SNAPSHOT_CONNECTIONS_MAXIMUM {
            return Err(Error::definite(
                "config",
                format!(
                    "`snapshot.connections` is {connections}; give a number from 1 to {SNAPSHOT_CONNECTIONS_MAXIMUM}"
                ),
            ));
        }
        if self.status_interval_ms < STATUS_INTERVAL_MINIMUM_MS {
            return Err(Error::definite(
                "config",
                format!(
                    "`status_interval_ms` is {}; give at least {STATUS_INTERVAL_MINIMUM_MS}",
                    self.status_interval_ms
                ),
            ));
        }
        Ok(())
    }
}

/// The sink's connector whose writers have this replication origin: `tailrace_`, its name, and behind `_` the number of the writer.
pub(crate) fn sink_of(origin: &str) -> Option<&str> {
    let rest = origin.strip_prefix("tailrace_")?;
    match rest.rsplit_once('_') {
        Some((connector, writer)) if !writer.is_empty() && writer.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(connector)
        }
        _ => Some(rest),
    }
}

/// Without a dot the schema is `public`.
fn table_pattern(text: &str) -> Result<TablePattern> {
    let (schema, table) = text.split_once('.').unwrap_or(("public", text));
    if schema.is_empty() || table.is_empty() {
        let message = format!(
            "`{text}` in `tables` or `exclude` is no pattern of a table; write `schema.table`, such as `public.orders`"
        );
        return Err(Error::definite("config", message));
    }
    Ok(TablePattern::new(text, Some("public")))
}

fn server_name(what: &str, configured: Option<&str>, connector: &str) -> Result<String> {
    let Some(name) = configured else {
        return Ok(derived_name(connector));
    };
    let valid = (1..=NAME_BYTES_MAXIMUM).contains(&name.len()) && name.bytes().all(is_name_byte);
    if !valid {
        let message = format!("`{what}` is `{name}`; give 1 to {NAME_BYTES_MAXIMUM} of the characters a-z, 0-9 and _");
        return Err(Error::definite("config", message));
    }
    Ok(name.to_owned())
}

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')
}

/// `orders-mirror` becomes `tailrace_orders_mirror`. A name that loses anything else on the way, or its end, gets a number made
/// of the whole, so that two connectors do not meet in one slot.
fn derived_name(connector: &str) -> String {
    const PREFIX: &str = "tailrace_";
    const NUMBER_CHARACTERS: usize = 9;
    let plain: String = connector.chars().map(|c| if c == '-' { '_' } else { c }).collect();
    if plain.bytes().all(is_name_byte) && PREFIX.len() + plain.len() <= NAME_BYTES_MAXIMUM {
        return format!("{PREFIX}{plain}");
    }
    let readable: String = plain
        .to_ascii_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '_'
            }
        })
        .take(NAME_BYTES_MAXIMUM - PREFIX.len() - NUMBER_CHARACTERS)
        .collect();
    format!("{PREFIX}{readable}_{:08x}", fnv(connector))
}

/// FNV-1a of 32 bits: the same in every release, unlike the standard hasher.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> PostgresConfig {
        serde_json::from_str(json).unwrap()
    }

    const PLAIN: &str = r#"{"url": "postgres://u@localhost/shop", "tables": ["orders"]}"#;

    #[test]
    fn defaults_are_filled_in() {
        let config = config(PLAIN);
        assert!(config.create_publication);
        assert_eq!(config.snapshot.mode, SnapshotMode::Initial);
        assert_eq!(config.snapshot.connections, 2);
        assert_eq!(config.status_interval_ms, 10_000);
        assert!(config.problems("orders").is_empty());
        let names = config.server_names("orders-mirror").unwrap();
        assert_eq!(names.slot, "tailrace_orders_mirror");
        assert_eq!(names.publication, "tailrace_orders_mirror");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let json = r#"{"url": "postgres://u@localhost/shop", "tables": [], "tabels": []}"#;
        assert!(serde_json::from_str::<PostgresConfig>(json).is_err());
    }

    #[test]
    fn origins_of_sinks_are_left_out_by_the_sinks_name() {
        let skipping = |patterns: &str, origin: &str| {
            let json = format!(r#"{{"url": "postgres://u@h/d", "tables": ["t"], "skip_written_by": {patterns}}}"#);
            config(&json).skips_origin(origin)
        };
        assert!(skipping(r#"["mirror"]"#, "tailrace_mirror_0"));
        assert!(skipping(r#"["mir*"]"#, "tailrace_mirror_12"));
        assert!(skipping(r#"["*"]"#, "tailrace_from_shop_2_1"));
        assert!(skipping(r#"["from_shop_2"]"#, "tailrace_from_shop_2_1"));
        assert!(skipping(r#"["mirror"]"#, "tailrace_mirror"));
        assert!(!skipping(r#"["mirror"]"#, "tailrace_mirror2_0"));
        assert!(!skipping(r#"["*"]"#, "pg_16401"));
        assert!(!skipping("[]", "tailrace_mirror_0"));
        let empty = config(r#"{"url": "postgres://u@h/d", "tables": ["t"], "skip_written_by": [""]}"#);
        assert_eq!(empty.problems("orders").len(), 1);
    }

    #[test]
    fn derived_names_are_valid_and_differ() {
        let names = [
            "Orders",
            "orders",
            "ord ers",
            "ord/ers",
            "ž",
            &"x".repeat(80),
            &"x".repeat(81),
        ];
        let derived: std::collections::BTreeSet<String> = names.iter().map(|name| derived_name(name)).collect();
        assert_eq!(derived.len(), names.len());
        for name in derived {
            assert!(name.len() <= 63 && name.bytes().all(is_name_byte), "{name}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let config = config(
            r#"{"url": "mysql://u@localhost/shop", "tables": [], "slot": "Upper", "snapshot": {"connections": 0}}"#,
        );
        let problems: Vec<String> = config
            .problems("orders")
            .into_iter()
            .map(|finding| finding.problem)
            .collect();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[1].contains("`slot` is `Upper`"));
    }

    #[test]
    fn options_of_the_log_are_refused_where_tables_are_polled() {
        let problems = |more: &str| -> Vec<String> {
            let json = format!(r#"{{"url": "postgres://u@localhost/shop", {more}}}"#);
            let problems = config(&json).problems("orders");
            problems.into_iter().map(|finding| finding.problem).collect()
        };
        let polled = r#""tables": ["orders"], "query": {"mode": "queue"}"#;
        assert!(problems(polled).is_empty());
        let found = problems(&format!(
            r#"{polled}, "slot": "s", "failover": true, "snapshot": {{"mode": "never"}}"#
        ));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("`slot`, `snapshot.mode`, `failover` belong to"),
            "{found:?}"
        );
        let found = problems(r#""tables": ["orders"], "query": {"mode": "queue", "batch_rows": 0}"#);
        assert!(found[0].contains("batch_rows"), "{found:?}");
    }

    #[test]
    fn a_query_needs_no_table() {
        let json =
            |query: &str| format!(r#"{{"url": "postgres://u@localhost/shop", "query": {{"mode": "bulk"{query}}}}}"#);
        assert!(
            config(&json(r#", "queries": {"sums": {"sql": "SELECT 1 AS one"}}"#))
                .problems("a")
                .is_empty()
        );
        assert_eq!(config(&json("")).problems("a").len(), 1);
    }

    #[test]
    fn tables_are_captured_by_pattern() {
        let mut config = config(PLAIN);
        config.tables.push("*.audit_?".to_owned());
        config.exclude.push("secret.*".to_owned());
        let patterns = config.patterns().unwrap();
        assert!(patterns.includes("public", "orders") && !patterns.includes("shop", "orders"));
        assert!(patterns.includes("secret", "audit_1") && patterns.excludes("secret", "audit_1"));
        for nonsense in ["", ".", "public.", ".orders"] {
            config.tables = vec![nonsense.to_owned()];
            assert!(config.patterns().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn messages_are_captured_by_prefix() {
        let mut config = config(PLAIN);
        assert!(!config.captures_messages() && !config.captures_message("outbox"));
        config.message_prefixes = vec!["out*".to_owned()];
        assert!(config.captures_messages());
        assert!(config.captures_message("outbox") && !config.captures_message("inbox"));
    }
}
