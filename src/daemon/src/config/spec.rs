//! The configuration as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_codec::contract::ContractConfig;
use tailrace_codec::{BinaryFormat, DecimalFormat, Envelope, FormatConfig, IntervalFormat, TimeFormat};
use tailrace_core::dead_letter::DeadLetterConfig;
use tailrace_core::pipeline::sink::SinkLimits;
use tailrace_core::setting::LocalFile;
use tailrace_core::topic::escape;
use tailrace_core::transform::Rule;
use tailrace_sql::change_table::config::ChangeTableConfig;
use tailrace_sql::outbox::OutboxConfig;

use super::deserialize::read;
use super::fault::suggestion;
use super::tree::{Entry, Located, Mark, Node, Problem, Problems};
use crate::admin::config::AdminConfig;
use crate::catalog::{self, RegistrySpec, SinkSpec, SourceSpec, StreamSpec};
use crate::traces::TracesConfig;
use crate::webhook::WebhookConfig;

/// Beside the configuration's other data, under the folder that the process was started in.
const STATE_URL: &str = "sqlite://data/state.db";
/// Below the 30 s that Kubernetes and systemd's usual units give before SIGKILL.
const SHUTDOWN_TIMEOUT_MS: u64 = 20_000;
/// Beside the topics of the tables, which have a schema or a table behind the prefix.
const SCHEMA_CHANGE_TOPIC: &str = "{prefix}.schema_changes";
/// The only version there is.
const VERSION: u32 = 1;
/// Names become metric labels, slot names and parts of topics; all of those have room for this many characters.
const MAXIMUM_NAME_CHARACTERS: usize = 50;

/// Keys of the whole file that are not the same for every connector type.
pub(crate) const STREAMS: &str = "streams";
/// See [`STREAMS`].
pub(crate) const CONNECTORS: &str = "connectors";
/// See [`STREAMS`].
pub(crate) const REGISTRIES: &str = "registries";
/// The key of a connector that depends on its type.
pub(crate) const SOURCE: &str = "source";
/// The same of a connector that writes.
pub(crate) const SINK: &str = "sink";
/// The key that names a type.
pub(crate) const TYPE: &str = "type";

/// A Tailrace: streams, and the connectors that carry changes into them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootConfig {
    /// Version of this format: 1.
    pub(crate) version: u32,
    /// The HTTP endpoint: who may ask it for what.
    #[serde(default)]
    pub(crate) admin: AdminConfig,
    /// Where progress is kept.
    #[serde(default)]
    pub(crate) state: StateConfig,
    /// Where traces are sent, in the way of OpenTelemetry. Without it there are none.
    #[serde(default)]
    pub(crate) traces: Option<TracesConfig>,
    /// How long a stop waits until what was read is durable, milliseconds. What is not durable then is read again at the
    /// next start. Default: 20000.
    #[serde(default = "shutdown_timeout_ms")]
    pub(crate) shutdown_timeout_ms: u64,
}

/// Where progress is kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateConfig {
    /// `sqlite://` and the path of a file, which is created at the first start. A path without a leading `/` begins in
    /// the folder that the process was started in. Default: `sqlite://data/state.db`.
    #[serde(default = "state_url")]
    pub(crate) url: String,
}

/// A connector: one source into one stream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectorConfig {
    /// Name of the stream that the events go to, one of `streams`.
    pub(crate) stream: String,
    /// First part of the topics' names, and Debezium's `source.name`. Default: the connector's name.
    #[serde(default)]
    pub(crate) prefix: Option<String>,
    /// Name of each table's topic; `{prefix}`, `{database}`, `{schema}` and `{table}` are replaced. Default:
    /// `{prefix}.{schema}.{table}`, without the schema where the database has none.
    #[serde(default)]
    pub(crate) topic: Option<String>,
    /// What the events look like.
    #[serde(default)]
    pub(crate) format: FormatConfig,
    /// What readers of the topics may rely on. Without it, events whose codec has schemas are held to `compatibility: full`, and
    /// events in plain JSON to nothing.
    #[serde(default)]
    pub(crate) contract: Option<ContractConfig>,
    /// Whether and where changes of the tables' definitions are published.
    #[serde(default)]
    pub(crate) schema_changes: SchemaChangesConfig,
    /// What an event's `updated_at` is.
    #[serde(default)]
    pub(crate) updated_at: Option<UpdatedAtConfig>,
    /// Tables whose rows are events already.
    #[serde(default)]
    pub(crate) outbox: Option<OutboxConfig>,
    /// What is done with an event that cannot be carried.
    #[serde(default)]
    pub(crate) dead_letters: DeadLetterConfig,
    /// Rules that changes go through, in order; each table follows every rule that selects it.
    #[serde(default)]
    pub(crate) transforms: Vec<Rule>,
    /// The source's tables are captured by triggers, which `tailrace triggers install` makes.
    #[serde(default)]
    pub(crate) change_table: Option<ChangeTableConfig>,
}

/// A connector that writes: topics of one stream into one database.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkConnectorConfig {
    /// Name of the stream that the events come from, one of `streams`.
    pub(crate) stream: String,
    /// Topics by name; `*` stands for any characters, `?` for one. Topics that come into being later are read too.
    pub(crate) topics: Vec<String>,
    /// The group of readers: processes of one group share the partitions. Default: the connector's name.
    #[serde(default)]
    pub(crate) group: Option<String>,
    /// Where partitions begin that the target knows nothing of. Default: `earliest`.
    #[serde(default)]
    pub(crate) start: StartConfig,
    /// What the events look like, as far as they do not say so themselves.
    #[serde(default)]
    pub(crate) format: ReadFormatConfig,
    /// A file with the schema of the events, Avro (`.avsc`) or JSON Schema, for events in JSON that bring none. Without it their
    /// values are read as the columns of the table that they are written into.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub(crate) contract: Option<PathBuf>,
    /// How much is written at a time.
    #[serde(default)]
    pub(crate) batch: BatchConfig,
    /// Sessions of the database that write side by side; the partitions are shared among them. Default: 2.
    #[serde(default = "writers")]
    pub(crate) writers: usize,
    /// What is done with an event that cannot be written.
    #[serde(default)]
    pub(crate) dead_letters: DeadLetterConfig,
    /// Rules that rows go through, in order; each topic follows every rule that selects its table.
    #[serde(default)]
    pub(crate) transforms: Vec<Rule>,
}

/// What events look like that are read, as far as they do not say so themselves. Codec and schemas are told by each record.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReadFormatConfig {
    /// The shape of values. By default each event tells: `debezium` where it has `op` and `source` beside the rows.
    pub(crate) envelope: Option<Envelope>,
    /// The registry in which schemas are looked up, one of `registries`. Default: the one of the connectors that publish in the same
    /// stream, else the embedded one.
    pub(crate) registry: Option<String>,
    /// The unit of dates and times that are numbers, in JSON without a schema: `connect`, `microseconds` or `nanoseconds`.
    pub(crate) time: Option<TimeFormat>,
    /// How decimals are written in JSON without a schema: with `string`, text is digits and not base64.
    pub(crate) decimal: Option<DecimalFormat>,
    /// How intervals are written in JSON without a schema.
    pub(crate) interval: Option<IntervalFormat>,
    /// How raw bytes are written in JSON without a schema.
    pub(crate) binary: Option<BinaryFormat>,
    /// The text that stands for a large value that did not change; `__debezium_unavailable_value` where left out.
    pub(crate) unavailable_value: Option<String>,
}

/// Where partitions begin that the target knows nothing of.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StartConfig {
    /// With the first event that is still there.
    #[default]
    Earliest,
    /// Only events that come from now on.
    Latest,
}

/// How much is written at a time: one transaction of the database.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BatchConfig {
    /// At most so many events. Default: 5000.
    pub(crate) rows: usize,
    /// About so many bytes of them; a single larger one still goes through. Default: 4194304.
    pub(crate) bytes: usize,
    /// How long a batch that is not full waits for more, milliseconds. Default: 5.
    pub(crate) wait_ms: u64,
}

/// Whether and where changes of the tables' definitions are published. They are logged in any case.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SchemaChangesConfig {
    /// Publishes them. The topic is made when the first one comes. Default: true.
    pub(crate) publish: bool,
    /// The topic; `{prefix}` is replaced. Default: `{prefix}.schema_changes`.
    pub(crate) topic: String,
    /// A receiver that each change is posted to, whether or not it is published.
    pub(crate) webhook: Option<WebhookConfig>,
}

/// What an event's `updated_at` is; without it, the time at which the change was committed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdatedAtConfig {
    /// The tables' own column that says when a row was last updated. Tables without it use the time of the commit.
    pub(crate) column: String,
}

/// Everything that was written, each part with its place.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) root: RootConfig,
    pub(crate) at: SpecPlaces,
    pub(crate) streams: BTreeMap<String, (Mark, Box<dyn StreamSpec>)>,
    pub(crate) registries: BTreeMap<String, (Mark, Box<dyn RegistrySpec>)>,
    pub(crate) connectors: Vec<AnyConnectorSpec>,
}

/// A connector of either direction, as it was written.
#[derive(Debug)]
pub(crate) enum AnyConnectorSpec {
    Reads(Box<ConnectorSpec>),
    Writes(Box<SinkConnectorSpec>),
}

/// Where the parts are that may still turn out to be wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpecPlaces {
    pub(crate) listen: Mark,
    pub(crate) traces: Mark,
    pub(crate) state: Mark,
}

/// A connector that writes, as it was written.
#[derive(Debug)]
pub(crate) struct SinkConnectorSpec {
    pub(crate) name: String,
    pub(crate) config: SinkConnectorConfig,
    pub(crate) sink: Box<dyn SinkSpec>,
    pub(crate) value: Located,
}

/// A connector as it was written.
#[derive(Debug)]
pub(crate) struct ConnectorSpec {
    pub(crate) name: String,
    pub(crate) config: ConnectorConfig,
    pub(crate) source: Box<dyn SourceSpec>,
    pub(crate) value: Located,
}

/// While one waits for its database, the other reads: more only help where the database has more cores than the process.
const WRITERS: usize = 2;

fn writers() -> usize {
    WRITERS
}

fn shutdown_timeout_ms() -> u64 {
    SHUTDOWN_TIMEOUT_MS
}

fn state_url() -> String {
    STATE_URL.to_owned()
}

// === impl SchemaChangesConfig ===

impl Default for SchemaChangesConfig {
    fn default() -> Self {
        Self {
            publish: true,
            topic: SCHEMA_CHANGE_TOPIC.to_owned(),
            webhook: None,
        }
    }
}

impl SchemaChangesConfig {
    /// The topic, where they are published.
    pub(crate) fn topic(&self, prefix: &str) -> Option<Arc<str>> {
        self.publish
            .then(|| self.topic.replace("{prefix}", &escape(prefix)).into())
    }
}

// === impl ReadFormatConfig ===

impl ReadFormatConfig {
    /// The same as what writes such events would be told.
    pub(crate) fn as_written(&self) -> FormatConfig {
        FormatConfig {
            time: self.time,
            decimal: self.decimal,
            interval: self.interval,
            binary: self.binary,
            unavailable_value: self.unavailable_value.clone(),
            ..FormatConfig::default()
        }
    }
}

// === impl BatchConfig ===

impl Default for BatchConfig {
    fn default() -> Self {
        let limits = SinkLimits::default();
        Self {
            rows: limits.batch_rows,
            bytes: limits.batch_bytes,
            wait_ms: u64::try_from(limits.batch_wait.as_millis()).unwrap_or_default(),
        }
    }
}

// === impl StateConfig ===

impl Default for StateConfig {
    fn default() -> Self {
        Self { url: state_url() }
    }
}

// === impl Spec ===

impl Spec {
    /// Reads the whole tree; `None` where problems were noted that leave nothing to go on with.
    pub(crate) fn read(tree: &Located, problems: &mut Problems) -> Option<Self> {
        let root: Option<RootConfig> = read(tree, "", &[STREAMS, REGISTRIES, CONNECTORS], problems);
        if root.as_ref().is_some_and(|root| root.version != VERSION) {
            let at = tree.get("version").map_or(tree.at, |version| version.at);
            problems.push(Problem::at(
                at,
                "version",
                format!("this release reads version {VERSION}"),
            ));
        }
        tree.mapping()?;
        let mut streams = BTreeMap::new();
        for entry in named(tree, STREAMS, problems) {
            if let Some(stream) = read_stream(entry, problems) {
                streams.insert(entry.key.clone(), (entry.value.at, stream));
            }
        }
        let mut registries = BTreeMap::new();
        // Without any, the embedded one is used.
        if tree.get(REGISTRIES).is_some() {
            for entry in named(tree, REGISTRIES, problems) {
                if let Some(registry) = read_registry(entry, problems) {
                    registries.insert(entry.key.clone(), (entry.value.at, registry));
                }
            }
        }
        // Without any, they are created over HTTP.
        let mut connectors = Vec::new();
        if tree.get(CONNECTORS).is_some() {
            let entries = named(tree, CONNECTORS, problems).iter();
            connectors.extend(entries.filter_map(|entry| AnyConnectorSpec::read(entry, problems)));
        }
        Some(Self {
            root: root?,
            at: SpecPlaces {
                listen: place(tree, &["admin", "listen"]),
                traces: place(tree, &["traces"]),
                state: place(tree, &["state", "url"]),
            },
            streams,
            registries,
            connectors,
        })
    }
}

/// Where a value was written, or the nearest above it that was.
pub(crate) fn place(tree: &Located, keys: &[&str]) -> Mark {
    let mut at = tree;
    for key in keys {
        match at.get(key) {
            Some(inner) => at = inner,
            None => break,
        }
    }
    at.at
}

/// The entries of a mapping of names; problems are noted.
fn named<'a>(tree: &'a Located, key: &str, problems: &mut Problems) -> &'a [Entry] {
    let example = match key {
        STREAMS => "`events: {type: file, path: data/events}`",
        REGISTRIES => "`schemas: {type: confluent, url: \"http://localhost:8081\"}`",
        _ => "a name, and under it `source` and `stream`",
    };
    let entries = tree.get(key).map(|value| (value, value.mapping()));
    let (at, sentence) = match entries {
        Some((_, Some(entries))) if !entries.is_empty() => {
            for entry in entries {
                check_name(entry, key, problems);
            }
            return entries;
        }
        Some((value, Some(_))) => (value.at, format!("there is nothing in it; write {example}")),
        Some((value, None)) => (
            value.at,
            format!(
                "expects a mapping of names, found {}; write {example}",
                value.describe()
            ),
        ),
        None => (tree.at, format!("the key `{key}` is missing; write {example}")),
    };
    let path = if tree.get(key).is_some() { key } else { "" };
    problems.push(Problem::at(at, path, sentence));
    &[]
}

/// Notes a name that could not be part of a label, a slot or a topic.
pub(crate) fn check_name(entry: &Entry, above: &str, problems: &mut Problems) {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let name = &entry.key;
    if name.is_empty() || name.chars().count() > MAXIMUM_NAME_CHARACTERS || !name.chars().all(legal) {
        let sentence = format!(
            "a name has 1 to {MAXIMUM_NAME_CHARACTERS} of the characters a-z A-Z 0-9 - _, and `{name}` does not fit"
        );
        problems.push(Problem::at(entry.key_at, above, sentence));
    }
}

fn read_stream(entry: &Entry, problems: &mut Problems) -> Option<Box<dyn StreamSpec>> {
    let path = format!("{STREAMS}.{}", entry.key);
    let types = catalog::streams();
    let names: Vec<String> = types.iter().map(|known| known.name.to_owned()).collect();
    let wanted = type_of(&entry.value, &path, &names, problems)?;
    let found = types.into_iter().find(|known| known.name == wanted)?;
    (found.read)(&entry.value, &path, problems)
}

fn read_registry(entry: &Entry, problems: &mut Problems) -> Option<Box<dyn RegistrySpec>> {
    let path = format!("{REGISTRIES}.{}", entry.key);
    let types = catalog::registries();
    let names: Vec<String> = types.iter().map(|known| known.name.to_owned()).collect();
    let wanted = type_of(&entry.value, &path, &names, problems)?;
    let found = types.into_iter().find(|known| known.name == wanted)?;
    (found.read)(&entry.value, &path, problems)
}

/// The `type` of a stream, a registry or a source, one of `names`.
fn type_of(value: &Located, path: &str, names: &[String], problems: &mut Problems) -> Option<String> {
    let mut refuse = |at: Mark, path: String, sentence: String| problems.push(Problem::at(at, path, sentence));
    let types = names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if value.mapping().is_none() {
        refuse(
            value.at,
            path.to_owned(),
            format!(
                "expects a mapping with a `type` (one of {types}), found {}",
                value.describe()
            ),
        );
        return None;
    }
    let Some(written) = value.get(TYPE) else {
        refuse(
            value.at,
            path.to_owned(),
            format!("the key `type` is missing; it is one of {types}"),
        );
        return None;
    };
    match &written.node {
        Node::Scalar(scalar) if names.contains(&scalar.text) => Some(scalar.text.clone()),
        Node::Scalar(scalar) if !scalar.is_null() => {
            let shown = scalar.written.as_ref().unwrap_or(&scalar.text);
            refuse(
                written.at,
                format!("{path}.type"),
                format!("there is no type `{shown}`; {}", suggestion(shown, names)),
            );
            None
        }
        Node::Scalar(_) | Node::Sequence(_) | Node::Mapping(_) => {
            refuse(
                written.at,
                format!("{path}.type"),
                format!("expects one of {types}, found {}", written.describe()),
            );
            None
        }
    }
}

// === impl AnyConnectorSpec ===

impl AnyConnectorSpec {
    /// A connector that stands under its name; `None` where problems were noted.
    pub(crate) fn read(entry: &Entry, problems: &mut Problems) -> Option<Self> {
        match entry.value.get(SINK) {
            Some(_) => SinkConnectorSpec::read(entry, problems).map(Box::new).map(Self::Writes),
            None => ConnectorSpec::read(entry, problems).map(Box::new).map(Self::Reads),
        }
    }
}

// === impl ConnectorSpec ===

impl ConnectorSpec {
    fn read(entry: &Entry, problems: &mut Problems) -> Option<Self> {
        let path = format!("{CONNECTORS}.{}", entry.key);
        let config = read::<ConnectorConfig>(&entry.value, &path, &[SOURCE], problems);
        entry.value.mapping()?;
        let Some(source) = entry.value.get(SOURCE) else {
            let sentence = "the key `source` is missing, which says where changes come from; or `sink`, in a connector that writes";
            problems.push(Problem::at(entry.value.at, path, sentence));
            return None;
        };
        let path = format!("{path}.{SOURCE}");
        let types = catalog::sources();
        let names: Vec<String> = types.iter().map(|known| known.name.to_owned()).collect();
        let wanted = type_of(source, &path, &names, problems)?;
        let found = types.into_iter().find(|known| known.name == wanted)?;
        let source = (found.read)(source, &path, problems);
        Some(Self {
            name: entry.key.clone(),
            config: config?,
            source: source?,
            value: entry.value.clone(),
        })
    }
}

// === impl SinkConnectorSpec ===

impl SinkConnectorSpec {
    fn read(entry: &Entry, problems: &mut Problems) -> Option<Self> {
        let path = format!("{CONNECTORS}.{}", entry.key);
        if let Some(source) = entry.value.get(SOURCE) {
            let sentence = "a connector reads a database or writes one; make two connectors, one with `source` and one with `sink`";
            problems.push(Problem::at(source.at, format!("{path}.{SOURCE}"), sentence));
            return None;
        }
        let config = read::<SinkConnectorConfig>(&entry.value, &path, &[SINK], problems);
        let sink = entry.value.get(SINK)?;
        let path = format!("{path}.{SINK}");
        let types = catalog::sinks();
        let names: Vec<String> = types.iter().map(|known| known.name.to_owned()).collect();
        let wanted = type_of(sink, &path, &names, problems)?;
        let found = types.into_iter().find(|known| known.name == wanted)?;
        let sink = (found.read)(sink, &path, problems);
        Some(Self {
            name: entry.key.clone(),
            config: config?,
            sink: sink?,
            value: entry.value.clone(),
        })
    }
}
