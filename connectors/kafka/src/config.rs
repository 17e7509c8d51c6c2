//! What a Kafka stream may be configured with.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;

/// One partition keeps a table's rows in one order. More can be chosen per stream, best before the first event:
/// adding partitions later moves keys to other partitions.
pub const DEFAULT_PARTITIONS: u16 = 1;

/// A log of changes is a history: nothing of it may vanish because a newer change of the same key came.
pub const DEFAULT_CLEANUP_POLICY: CleanupPolicy = CleanupPolicy::Delete;

/// An Apache Kafka cluster, or anything that speaks its protocol.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaStreamConfig {
    /// Brokers to start from, each `host:port`. The others are learned from them.
    pub bootstrap_servers: Vec<String>,
    /// How topics are created.
    #[serde(default)]
    pub topics: TopicsConfig,
    /// TLS. Present, even empty (`tls: {}`), it is on, and the broker's certificate and host name are verified.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Authentication by name and password.
    #[serde(default)]
    pub sasl: Option<SaslConfig>,
    /// Any further property of librdkafka, by its own name (`linger.ms: 20`). Those that would weaken delivery, run
    /// programs or are set by other fields are refused with the reason.
    #[serde(default)]
    pub properties: BTreeMap<String, PropertyValue>,
}

/// How topics are created. Topics that exist are left as they are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicsConfig {
    /// Whether missing topics are created. Where not, a missing topic stops the connector and is named. Default: true.
    #[serde(default = "create_by_default")]
    pub create: bool,
    /// Partitions of a new topic. Default: 1.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1))]
    pub partitions: u16,
    /// Replicas of a new topic. Default: the brokers' own `default.replication.factor`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub replication_factor: Option<u16>,
    /// What becomes of old records of a new topic. Default: delete. With `delete` a new topic also gets
    /// `retention.ms=-1` unless `config` says otherwise: records carry the row's `updated_at` as their timestamp, and
    /// with a finite retention Kafka would remove the rows of a snapshot that were last updated long ago at once.
    #[serde(default = "default_cleanup_policy")]
    pub cleanup_policy: CleanupPolicy,
    /// Further topic configuration for new topics, by Kafka's names (`retention.ms: 604800000`).
    #[serde(default)]
    pub config: BTreeMap<String, PropertyValue>,
}

/// What becomes of old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CleanupPolicy {
    /// They are removed by age or size.
    Delete,
    /// Only the newest of each key is kept for ever.
    Compact,
    /// Only the newest of each key is kept, and also those are removed by age or size.
    CompactDelete,
}

/// TLS to the brokers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Authorities that signed the brokers' certificates, PEM. Default: the system's.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub ca_file: Option<PathBuf>,
    /// Certificate that this client shows, PEM.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub certificate_file: Option<PathBuf>,
    /// Private key of that certificate, PEM.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub key_file: Option<PathBuf>,
    /// Password of that key.
    #[serde(default)]
    pub key_password: Option<Secret>,
}

/// Authentication by name and password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaslConfig {
    /// How the password is proven.
    pub mechanism: SaslMechanism,
    /// Name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// How a password is proven to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// By sending it: over TLS only, or to this very machine.
    Plain,
    /// By SCRAM with SHA-256.
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// By SCRAM with SHA-512.
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}

/// A property's value: text, a number or a boolean, kept as Kafka wants it, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyValue(String);

fn create_by_default() -> bool {
    // With brokers that create topics themselves, partitions and policies would be an accident.
    true
}

fn default_partitions() -> u16 {
    DEFAULT_PARTITIONS
}

fn default_cleanup_policy() -> CleanupPolicy {
    DEFAULT_CLEANUP_POLICY
}

// === impl TopicsConfig ===

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            create: create_by_default(),
            partitions: DEFAULT_PARTITIONS,
            replication_factor: None,
            cleanup_policy: DEFAULT_CLEANUP_POLICY,
            config: BTreeMap::new(),
        }
    }
}

// === impl CleanupPolicy ===

impl CleanupPolicy {
    /// The value of Kafka's `cleanup.policy`.
    pub(crate) fn as_kafka(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactDelete => "compact,delete",
        }
    }
}

// === impl SaslMechanism ===

impl SaslMechanism {
    /// The value of librdkafka's `sasl.mechanisms`.
    pub(crate) fn as_kafka(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

// === impl PropertyValue ===

impl PropertyValue {
    /// A value from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PropertyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = PropertyValue;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text, a number or a boolean")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<PropertyValue, E> {
                Ok(PropertyValue::new(value))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<PropertyValue, E> {
                Ok(PropertyValue::new(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<PropertyValue, E> {
                Ok(PropertyValue::new(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<PropertyValue, E> {
                Ok(PropertyValue::new(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<PropertyValue, E> {
                Ok(PropertyValue::new(value.to_string()))
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

impl JsonSchema for PropertyValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PropertyValue".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_config_has_the_documented_defaults() {
        let config: KafkaStreamConfig = serde_json::from_str(r#"{"bootstrap_servers": ["localhost:9092"]}"#).unwrap();
        assert!(config.topics.create);
        assert_eq!(config.topics.partitions, 1);
        assert_eq!(config.topics.replication_factor, None);
        assert_eq!(config.topics.cleanup_policy, CleanupPolicy::Delete);
        assert!(config.tls.is_none() && config.sasl.is_none() && config.properties.is_empty());
    }

    #[test]
    fn property_values_may_be_any_scalar() {
        let text = r#"{"bootstrap_servers": ["b:1"], "properties": {"linger.ms": 20, "socket.keepalive.enable": true,
            "client.id": "x", "retry.backoff.ms": -1}}"#;
        let config: KafkaStreamConfig = serde_json::from_str(text).unwrap();
        let value = |name: &str| config.properties[name].as_str().to_owned();
        assert_eq!(value("linger.ms"), "20");
        assert_eq!(value("socket.keepalive.enable"), "true");
        assert_eq!(value("client.id"), "x");
        assert_eq!(value("retry.backoff.ms"), "-1");
    }

    #[test]
    fn unknown_fields_and_nested_values_are_refused() {
        for text in [
            r#"{"bootstrap_servers": ["b:1"], "servers": 1}"#,
            r#"{"bootstrap_servers": ["b:1"], "topics": {"partition": 1}}"#,
            r#"{"bootstrap_servers": ["b:1"], "properties": {"linger.ms": [1]}}"#,
            r#"{"bootstrap_servers": ["b:1"], "sasl": {"mechanism": "gssapi", "username": "u", "password": "p"}}"#,
        ] {
            assert!(serde_json::from_str::<KafkaStreamConfig>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_printed_config_shows_no_secret() {
        let text = r#"{"bootstrap_servers": ["b:1"], "tls": {"key_password": "hunter2"},
            "sasl": {"mechanism": "scram_sha_256", "username": "cdc", "password": "hunter3"}}"#;
        let config: KafkaStreamConfig = serde_json::from_str(text).unwrap();
        let printed = format!("{config:?}");
        assert!(printed.contains("cdc") && !printed.contains("hunter"), "{printed}");
    }
}
