//! The one list of what can be connected. A new database or stream is an `impl` and a line here.

use std::fmt::Debug;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tailrace_codec::registry::{ConfluentRegistry, ConfluentRegistryConfig};
use tailrace_core::check::Finding;
use tailrace_core::ports::sink::SinkConnector;
use tailrace_core::ports::{EventStream, SourceConnector};
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tailrace_file::{FileStream, FileStreamConfig};
use tailrace_kafka::{KafkaStream, KafkaStreamConfig};
use tailrace_mysql::{Flavour, MySqlConfig, MySqlConnector, MySqlSink, MySqlSinkConfig, MySqlTriggers};
use tailrace_postgres::{PostgresConfig, PostgresConnector, PostgresSink, PostgresSinkConfig, PostgresTriggers};
use tailrace_sql::QueryConfig;
use tailrace_sql::change_table::TriggerDatabase;
use tailrace_sql::log_config::SnapshotMode;
use tailrace_sql::sink::config::{Evolve, WriteConfig};
use tailrace_sql::verify::{ReadableDatabase, VerifiedTarget};
use tailrace_sqlite::{SqliteConfig, SqliteConnector, SqliteSink, SqliteSinkConfig, SqliteTriggers};

use crate::config::deserialize::read;
use crate::config::spec::TYPE;
use crate::config::tree::{Located, Node, Problems};

/// Something that only one connector or one stream may use.
#[derive(Debug)]
pub(crate) struct Claim {
    /// What it is; equal where it is the same. May hold a secret.
    pub(crate) key: String,
    /// What it is, in words: "the replication slot `x`".
    pub(crate) words: String,
}

/// A source as configured; nothing is connected. What has a body here is for databases: other sources say nothing about it.
pub(crate) trait SourceSpec: Debug + Send + Sync {
    /// Everything that is wrong with the configuration in itself.
    fn problems(&self, connector: &str) -> Vec<Finding>;

    /// The table patterns, as written.
    fn tables(&self) -> Vec<String>;

    /// The names of what is published, as far as the configuration tells them: `*` and `?` stand in them for what only the database knows.
    /// None where it tells nothing.
    ///
    /// # Errors
    /// Definite where the configuration cannot be read.
    fn names(&self) -> Result<Vec<TableName>> {
        Ok(Vec::new())
    }

    /// Whether logical messages are published beside the rows of tables.
    fn has_messages(&self) -> bool {
        false
    }

    /// The port implementation.
    fn connect(&self, connector: &str) -> Result<Arc<dyn SourceConnector>>;

    /// What only one connector may use.
    fn claims(&self, _connector: &str) -> Vec<Claim> {
        Vec::new()
    }

    /// How tables are asked; `None` where a log is read.
    fn query(&self) -> Option<&QueryConfig> {
        None
    }

    /// Whether the rows are published that are there when the connector first starts.
    fn has_snapshot(&self) -> bool {
        true
    }

    /// The same database as one whose tables are captured by triggers.
    ///
    /// # Errors
    /// Definite where the source has no triggers.
    fn triggers(&self) -> Result<Arc<dyn TriggerDatabase>> {
        Err(Error::definite(
            "config_invalid",
            "this type of source has no triggers that fill change tables; take `change_table` out of the connector",
        ))
    }

    /// The same database as one whose tables are compared with others, as far as the connector publishes them.
    ///
    /// # Errors
    /// Definite where the source has no tables that can be read again.
    fn readable(&self, _connector: &str) -> Result<Arc<dyn ReadableDatabase>> {
        Err(Error::definite(
            "verify_unsupported",
            "this type of source has no tables that can be read again; add --stream to compare with what its topics say",
        ))
    }
}

/// A sink as configured; nothing is connected.
pub(crate) trait SinkSpec: Debug + Send + Sync {
    /// Everything that is wrong with the configuration in itself.
    fn problems(&self) -> Vec<Finding>;

    /// The port implementation.
    fn connect(&self) -> Result<Arc<dyn SinkConnector>>;

    /// The same database as one whose tables are compared with others.
    fn verified(&self) -> Result<Arc<dyn VerifiedTarget>>;

    /// The columns that are said to tell rows apart; empty where the events say it.
    fn key_columns(&self) -> &[String];
}

/// A stream as configured; nothing is connected.
pub(crate) trait StreamSpec: Debug + Send + Sync {
    /// The value of `type`.
    fn kind(&self) -> &'static str;

    /// Everything that is wrong with the configuration in itself.
    fn problems(&self) -> Vec<Finding>;

    /// What only one stream may use.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// The port implementation.
    fn connect(&self) -> Result<Arc<dyn EventStream>>;
}

/// A registry of schemas as configured; nothing is connected.
pub(crate) trait RegistrySpec: Debug + Send + Sync {
    /// Everything that is wrong with the configuration in itself.
    fn problems(&self) -> Vec<Finding>;

    /// The port implementation.
    fn connect(&self) -> Result<Arc<dyn SchemaRegistry>>;
}

/// A type of source, stream or registry: its name, how its configuration is read, and what may be written in it.
pub(crate) struct Type<T: ?Sized> {
    /// The value of `type`.
    pub(crate) name: &'static str,
    /// Reads everything but `type`.
    pub(crate) read: fn(&Located, &str, &mut Problems) -> Option<Box<T>>,
    /// JSON Schema of everything but `type`.
    pub(crate) schema: fn(&mut SchemaGenerator) -> Schema,
}

/// A type of connector, as Kafka Connect names what it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PluginClass {
    pub(crate) is_sink: bool,
    /// The value of `type`.
    pub(crate) type_name: &'static str,
}

impl PluginClass {
    /// Every one, sources first.
    pub(crate) fn all() -> Vec<Self> {
        let of = |is_sink, type_name| Self { is_sink, type_name };
        let reading = sources().into_iter().map(|known| of(false, known.name));
        reading
            .chain(sinks().into_iter().map(|known| of(true, known.name)))
            .collect()
    }

    /// The one of this class, `tailrace.source.postgres` or without `tailrace.`.
    pub(crate) fn find(class: &str) -> Option<Self> {
        let short = class.strip_prefix("tailrace.").unwrap_or(class);
        Self::all()
            .into_iter()
            .find(|known| known.name() == format!("tailrace.{short}"))
    }

    /// The class.
    pub(crate) fn name(&self) -> String {
        let side = if self.is_sink { "sink" } else { "source" };
        format!("tailrace.{side}.{}", self.type_name)
    }
}

/// Every type of source.
pub(crate) fn sources() -> Vec<Type<dyn SourceSpec>> {
    vec![
        source::<PostgresConfig>("postgres"),
        source::<BinlogSource<false>>("mysql"),
        source::<BinlogSource<true>>("mariadb"),
        source::<SqliteConfig>("sqlite"),
    ]
}

/// Every type of sink.
pub(crate) fn sinks() -> Vec<Type<dyn SinkSpec>> {
    vec![
        sink::<PostgresSinkConfig>("postgres"),
        sink::<BinlogTarget<false>>("mysql"),
        sink::<BinlogTarget<true>>("mariadb"),
        sink::<SqliteSinkConfig>("sqlite"),
    ]
}

/// Every type of stream.
pub(crate) fn streams() -> Vec<Type<dyn StreamSpec>> {
    vec![stream::<FileStreamConfig>("file"), stream::<KafkaStreamConfig>("kafka")]
}

/// Every type of registry.
pub(crate) fn registries() -> Vec<Type<dyn RegistrySpec>> {
    vec![registry::<ConfluentRegistryConfig>("confluent")]
}

fn source<T: SourceSpec + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Type<dyn SourceSpec> {
    Type {
        name,
        read: |value, path, problems| {
            read::<T>(value, path, &[TYPE], problems).map(|config| Box::new(config) as Box<dyn SourceSpec>)
        },
        schema: T::json_schema,
    }
}

/// A connection to a database that is written to; how rows are written is the same for all of them.
trait SqlTarget: Debug + Clone + Send + Sync + DeserializeOwned + JsonSchema + 'static {
    /// The port implementation.
    fn connect(&self, write: WriteConfig) -> Result<Arc<dyn SinkConnector>>;

    /// The same database as one whose tables are compared with others.
    fn verified(&self, write: WriteConfig) -> Result<Arc<dyn VerifiedTarget>>;
}

/// A connection, and how rows are written: two types in one mapping.
#[derive(Debug)]
struct SqlSinkSpec<T> {
    target: T,
    write: WriteConfig,
}

impl<T: SqlTarget> SinkSpec for SqlSinkSpec<T> {
    fn problems(&self) -> Vec<Finding> {
        refused(&self.connect())
    }

    fn connect(&self) -> Result<Arc<dyn SinkConnector>> {
        self.target.connect(self.write.clone())
    }

    fn verified(&self) -> Result<Arc<dyn VerifiedTarget>> {
        // Repairs have the source's own types, of which the events may know less: they are no reason to change a table.
        self.target.verified(WriteConfig {
            evolve: Evolve::None,
            ..self.write.clone()
        })
    }

    fn key_columns(&self) -> &[String] {
        self.write.key.as_deref().unwrap_or_default()
    }
}

fn sink<T: SqlTarget>(name: &'static str) -> Type<dyn SinkSpec> {
    Type {
        name,
        read: |value, path, problems| {
            let handled = [&[TYPE][..], &WriteConfig::KEYS].concat();
            let target = read::<T>(value, path, &handled, problems);
            // What neither of the two knows was told already.
            let mut rest = value.clone();
            if let Node::Mapping(entries) = &mut rest.node {
                entries.retain(|entry| WriteConfig::KEYS.contains(&entry.key.as_str()));
            }
            let write = read::<WriteConfig>(&rest, path, &[], problems);
            let (target, write) = (target?, write?);
            Some(Box::new(SqlSinkSpec { target, write }) as Box<dyn SinkSpec>)
        },
        schema: |generator| {
            let mut schema = T::json_schema(generator);
            let write = WriteConfig::json_schema(generator).to_value();
            if let (Some(Value::Object(properties)), Some(Value::Object(more))) =
                (schema.get_mut("properties"), write.get("properties"))
            {
                properties.extend(more.clone());
            }
            schema
        },
    }
}

fn stream<T: StreamSpec + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Type<dyn StreamSpec> {
    Type {
        name,
        read: |value, path, problems| {
            read::<T>(value, path, &[TYPE], problems).map(|config| Box::new(config) as Box<dyn StreamSpec>)
        },
        schema: T::json_schema,
    }
}

fn registry<T: RegistrySpec + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Type<dyn RegistrySpec> {
    Type {
        name,
        read: |value, path, problems| {
            read::<T>(value, path, &[TYPE], problems).map(|config| Box::new(config) as Box<dyn RegistrySpec>)
        },
        schema: T::json_schema,
    }
}

// === impl Claim ===

impl Claim {
    /// What its words say.
    pub(crate) fn named(words: String) -> Self {
        Self {
            key: words.clone(),
            words,
        }
    }
}

/// What a constructor refuses, as findings.
fn refused<T>(made: &Result<T>) -> Vec<Finding> {
    made.as_ref().err().map(Finding::from).into_iter().collect()
}

// === PostgreSQL ===

impl SourceSpec for PostgresConfig {
    fn problems(&self, connector: &str) -> Vec<Finding> {
        Self::problems(self, connector)
    }

    fn claims(&self, connector: &str) -> Vec<Claim> {
        if self.query.is_some() {
            return Vec::new();
        }
        // A slot's name has no hyphen: the connectors `a-b` and `a_b` would meet in one.
        let derived = || format!("tailrace_{}", connector.replace('-', "_"));
        let slot = self.slot.clone().unwrap_or_else(derived);
        vec![Claim {
            key: format!("slot {slot} {}", self.url.expose()),
            words: format!("the replication slot `{slot}`"),
        }]
    }

    fn tables(&self) -> Vec<String> {
        self.tables.clone()
    }

    fn names(&self) -> Result<Vec<TableName>> {
        Self::names(self)
    }

    fn has_messages(&self) -> bool {
        !self.message_prefixes.is_empty()
    }

    fn query(&self) -> Option<&QueryConfig> {
        self.query.as_ref()
    }

    fn connect(&self, _connector: &str) -> Result<Arc<dyn SourceConnector>> {
        Ok(Arc::new(PostgresConnector::new(self.clone())))
    }

    fn triggers(&self) -> Result<Arc<dyn TriggerDatabase>> {
        Ok(Arc::new(PostgresTriggers::new(self.clone())))
    }

    fn readable(&self, connector: &str) -> Result<Arc<dyn ReadableDatabase>> {
        Ok(Arc::new(PostgresConnector::new(self.of_connector(connector)?)))
    }

    fn has_snapshot(&self) -> bool {
        self.query.is_some() || self.snapshot.mode != SnapshotMode::Never
    }
}

impl SqlTarget for PostgresSinkConfig {
    fn connect(&self, write: WriteConfig) -> Result<Arc<dyn SinkConnector>> {
        Ok(Arc::new(PostgresSink::new(self.clone(), write)?))
    }

    fn verified(&self, write: WriteConfig) -> Result<Arc<dyn VerifiedTarget>> {
        Ok(Arc::new(PostgresSink::new(self.clone(), write)?))
    }
}

// === MySQL and MariaDB ===

/// One connector under two names, because who reads the events is told which of the two the database was.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
struct BinlogSource<const IS_MARIADB: bool>(MySqlConfig);

impl<const IS_MARIADB: bool> BinlogSource<IS_MARIADB> {
    const FLAVOUR: Flavour = if IS_MARIADB { Flavour::MariaDb } else { Flavour::MySql };
}

impl<const IS_MARIADB: bool> SourceSpec for BinlogSource<IS_MARIADB> {
    fn problems(&self, _connector: &str) -> Vec<Finding> {
        self.0.problems()
    }

    fn tables(&self) -> Vec<String> {
        self.0.tables.clone()
    }

    fn names(&self) -> Result<Vec<TableName>> {
        self.0.names()
    }

    fn query(&self) -> Option<&QueryConfig> {
        self.0.query.as_ref()
    }

    fn connect(&self, _connector: &str) -> Result<Arc<dyn SourceConnector>> {
        Ok(Arc::new(MySqlConnector::new(self.0.clone(), Self::FLAVOUR)))
    }

    fn triggers(&self) -> Result<Arc<dyn TriggerDatabase>> {
        Ok(Arc::new(MySqlTriggers::new(self.0.clone(), Self::FLAVOUR)))
    }

    fn readable(&self, _connector: &str) -> Result<Arc<dyn ReadableDatabase>> {
        Ok(Arc::new(MySqlConnector::new(self.0.clone(), Self::FLAVOUR)))
    }

    fn has_snapshot(&self) -> bool {
        self.0.query.is_some() || self.0.snapshot.mode != SnapshotMode::Never
    }
}

/// One target under two names, as the source is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
struct BinlogTarget<const IS_MARIADB: bool>(MySqlSinkConfig);

impl<const IS_MARIADB: bool> SqlTarget for BinlogTarget<IS_MARIADB> {
    fn connect(&self, write: WriteConfig) -> Result<Arc<dyn SinkConnector>> {
        let flavour = BinlogSource::<IS_MARIADB>::FLAVOUR;
        Ok(Arc::new(MySqlSink::new(self.0.clone(), write, flavour)?))
    }

    fn verified(&self, write: WriteConfig) -> Result<Arc<dyn VerifiedTarget>> {
        let flavour = BinlogSource::<IS_MARIADB>::FLAVOUR;
        Ok(Arc::new(MySqlSink::new(self.0.clone(), write, flavour)?))
    }
}

// === SQLite ===

impl SourceSpec for SqliteConfig {
    fn problems(&self, _connector: &str) -> Vec<Finding> {
        refused(&SqliteConnector::new(self.clone()))
    }

    fn tables(&self) -> Vec<String> {
        self.tables.clone()
    }

    fn names(&self) -> Result<Vec<TableName>> {
        Ok(Self::names(self))
    }

    fn query(&self) -> Option<&QueryConfig> {
        Some(&self.query)
    }

    fn connect(&self, _connector: &str) -> Result<Arc<dyn SourceConnector>> {
        Ok(Arc::new(SqliteConnector::new(self.clone())?))
    }

    fn triggers(&self) -> Result<Arc<dyn TriggerDatabase>> {
        Ok(Arc::new(SqliteTriggers::new(self.clone())?))
    }

    fn readable(&self, _connector: &str) -> Result<Arc<dyn ReadableDatabase>> {
        Ok(Arc::new(SqliteConnector::new(self.clone())?))
    }
}

impl SqlTarget for SqliteSinkConfig {
    fn connect(&self, write: WriteConfig) -> Result<Arc<dyn SinkConnector>> {
        Ok(Arc::new(SqliteSink::new(self.clone(), write)?))
    }

    fn verified(&self, write: WriteConfig) -> Result<Arc<dyn VerifiedTarget>> {
        Ok(Arc::new(SqliteSink::new(self.clone(), write)?))
    }
}

// === Kafka ===

impl StreamSpec for KafkaStreamConfig {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn problems(&self) -> Vec<Finding> {
        refused(&KafkaStream::new(self.clone()))
    }

    fn connect(&self) -> Result<Arc<dyn EventStream>> {
        Ok(Arc::new(KafkaStream::new(self.clone())?))
    }
}

// === files ===

impl StreamSpec for FileStreamConfig {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn problems(&self) -> Vec<Finding> {
        refused(&FileStream::new(self.clone()))
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::named(format!("the folder `{}`", self.path.display()))]
    }

    fn connect(&self) -> Result<Arc<dyn EventStream>> {
        Ok(Arc::new(FileStream::new(self.clone())?))
    }
}

// === Confluent's registry, and those that speak its API ===

impl RegistrySpec for ConfluentRegistryConfig {
    fn problems(&self) -> Vec<Finding> {
        Self::problems(self)
    }

    fn connect(&self) -> Result<Arc<dyn SchemaRegistry>> {
        Ok(Arc::new(ConfluentRegistry::new(self)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_compared_is_never_altered() {
        let spec = SqlSinkSpec {
            target: serde_json::from_str::<SqliteSinkConfig>(r#"{"path": "target.db"}"#).unwrap(),
            write: serde_json::from_str(r#"{"evolve": "widen", "deletes": "ignore"}"#).unwrap(),
        };
        let verified = spec.verified().unwrap();
        let config = verified.rules().config();
        assert_eq!(config.evolve, Evolve::None);
        assert_eq!(
            config.deletes,
            tailrace_sql::sink::config::DeleteMode::Ignore,
            "else as configured"
        );
    }

    #[test]
    fn a_log_may_be_without_the_rows_that_were_there_before() {
        let has_snapshot = |more: &str| {
            let json = format!(r#"{{"url": "postgres://u@h/d", "tables": ["*"] {more}}}"#);
            serde_json::from_str::<PostgresConfig>(&json).unwrap().has_snapshot()
        };
        assert!(has_snapshot(""));
        assert!(!has_snapshot(r#", "snapshot": {"mode": "never"}"#));
        assert!(has_snapshot(r#", "snapshot": {"mode": "only"}"#));
    }
}
