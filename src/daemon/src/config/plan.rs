//! What is meant: everything that can be known without connecting anywhere has been decided and checked.

mod planner;
mod sinks;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tailrace_codec::contract::{ContractConfig, Contracts, OnIncompatible};
use tailrace_codec::{DEFAULT_TOPIC_TEMPLATE, FormatConfig, TopicTemplate};
use tailrace_core::Error;
use tailrace_core::check::{Finding, Severity};
use tailrace_core::dead_letter::{DeadLetterConfig, LetterOrder, LetterPolicy};
use tailrace_core::pipeline::source::DeadLetters;
use tailrace_core::ports::SourceConnector;
use tailrace_core::topic::{escape, fault};
use tailrace_core::transform::{Rule, Transform, TransformConfig};
use tailrace_sql::change_table::ChangeTableConnector;
use tailrace_sql::change_table::config::ChangeTableConfig;
use tailrace_sql::outbox::{Outbox, OutboxConfig};

use self::planner::owner;
pub(crate) use self::planner::{AnyPlan, Planner};
pub(crate) use self::sinks::SinkPlan;
use super::fault::suggestion;
use super::spec::{CONNECTORS, ConnectorSpec, REGISTRIES, SOURCE, STREAMS, SchemaChangesConfig, Spec, place};
use super::tree::{Mark, Problem, Problems, Written};
use crate::admin::config::AdminPlan;
use crate::catalog::{Claim, RegistrySpec, SourceSpec, StreamSpec};
use crate::cli::outbox::read_contract;
use crate::traces::{Collector, TracesConfig};
use crate::webhook::Receiver;

/// What a connector that has both is told.
const OUTBOX_AND_CHANGE_TABLE: &str =
    "a connector reads outbox tables or change tables; make two connectors, each with its tables";

/// A configuration that can be run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The file that it was read from, for people.
    pub(crate) file: String,
    /// The HTTP endpoint.
    pub(crate) admin: AdminPlan,
    /// Who is sent traces.
    pub(crate) traces: Option<Arc<Collector>>,
    /// The state's file.
    pub(crate) state_path: PathBuf,
    /// How long a stop waits for what is in flight.
    pub(crate) shutdown_timeout: Duration,
    /// Streams by name.
    pub(crate) streams: BTreeMap<String, Arc<dyn StreamSpec>>,
    /// Registries of schemas by name; none where the embedded one is used.
    pub(crate) registries: BTreeMap<String, Arc<dyn RegistrySpec>>,
    /// Connectors in the order of the file.
    pub(crate) connectors: Vec<Arc<ConnectorPlan>>,
    /// Connectors that write, in the order of the file.
    pub(crate) sinks: Vec<Arc<SinkPlan>>,
    /// What they have taken.
    taken: Taken,
}

/// A connector that can be run.
#[derive(Debug)]
pub(crate) struct ConnectorPlan {
    /// Name.
    pub(crate) name: String,
    /// The database side.
    pub(crate) source: Box<dyn SourceSpec>,
    /// Name of the stream side.
    pub(crate) stream: String,
    /// First part of topics.
    pub(crate) prefix: String,
    /// Topics of tables.
    pub(crate) topic: TopicTemplate,
    /// What the events look like.
    pub(crate) format: FormatConfig,
    /// What readers of the topics may rely on, where it is written.
    pub(crate) contracts: Option<Arc<Contracts>>,
    /// Where changes of tables' definitions are published to.
    pub(crate) schema_change_topic: Option<Arc<str>>,
    /// Who is told of them beside the stream.
    pub(crate) webhook: Option<Arc<Receiver>>,
    /// The tables' own updated-at column.
    pub(crate) updated_at_column: Option<String>,
    /// Tables whose rows are events already.
    pub(crate) outbox: Option<Arc<Outbox>>,
    /// What is done with events that cannot be carried.
    pub(crate) dead_letters: DeadLetters,
    /// What happens to changes.
    pub(crate) transforms: TransformConfig,
    /// The tables are captured by triggers.
    pub(crate) change_table: Option<ChangeTableConfig>,
    /// The whole, as it was written.
    pub(crate) written: Written,
}

/// What connectors and streams may not share, and whose it is.
#[derive(Clone, Default)]
struct Taken {
    claims: BTreeMap<String, (String, Mark)>,
}

/// What connectors refer to by name.
#[derive(Debug, Clone)]
struct Places {
    streams: BTreeMap<String, Arc<dyn StreamSpec>>,
    registries: BTreeMap<String, Arc<dyn RegistrySpec>>,
}

/// Checks what was written against itself and decides what it means.
pub(crate) fn make(file: &str, spec: Option<Spec>) -> Result<Plan, Problems> {
    let mut problems = Problems::new(file);
    let Some(spec) = spec else {
        problems.push(Problem::whole_file(
            "the file holds no configuration; `tailrace --help` shows one",
        ));
        return Err(problems);
    };
    let admin = AdminPlan::of(spec.root.admin, spec.at.listen, &mut problems);
    let state_path = tailrace_state::path_from_url(&spec.root.state.url).map_err(|error| {
        problems.push(Problem::at(spec.at.state, "state.url", error.report()));
    });
    let traces = plan_traces(spec.root.traces.as_ref(), spec.at.traces, &mut problems);
    let mut taken = Taken::default();
    let mut planner = Planner {
        places: Places {
            streams: plan_streams(spec.streams, &mut taken, &mut problems),
            registries: plan_registries(spec.registries, &mut problems),
        },
        taken,
        shutdown_timeout: Duration::from_millis(spec.root.shutdown_timeout_ms),
    };
    let (mut connectors, mut sinks) = (Vec::new(), Vec::new());
    for connector in spec.connectors {
        match planner.plan(connector, &mut problems) {
            Some(AnyPlan::Reads(connector)) => connectors.push(connector),
            Some(AnyPlan::Writes(sink)) => sinks.push(sink),
            None => {}
        }
    }
    let (Some(admin), Ok(state_path)) = (admin, state_path) else {
        return Err(problems);
    };
    problems.into_result()?;
    Ok(Plan {
        file: file.to_owned(),
        admin,
        traces,
        state_path,
        shutdown_timeout: planner.shutdown_timeout,
        streams: planner.places.streams,
        registries: planner.places.registries,
        connectors,
        sinks,
        taken: planner.taken,
    })
}

fn plan_traces(written: Option<&TracesConfig>, at: Mark, problems: &mut Problems) -> Option<Arc<Collector>> {
    let refused = |(key, sentence)| problems.push(Problem::at(at, format!("traces.{key}"), sentence));
    Collector::new(written?).map(Arc::new).map_err(refused).ok()
}

fn plan_streams(
    written: BTreeMap<String, (Mark, Box<dyn StreamSpec>)>,
    taken: &mut Taken,
    problems: &mut Problems,
) -> BTreeMap<String, Arc<dyn StreamSpec>> {
    let mut streams = BTreeMap::new();
    for (name, (at, stream)) in written {
        for finding in stream.problems() {
            problems.push(Problem::at(at, format!("{STREAMS}.{name}"), in_one_sentence(&finding)));
        }
        for claim in stream.claims() {
            if let Some(sentence) = taken.claim(claim, &format!("stream `{name}`"), at) {
                problems.push(Problem::at(at, format!("{STREAMS}.{name}"), sentence));
            }
        }
        streams.insert(name, Arc::from(stream));
    }
    streams
}

fn plan_registries(
    written: BTreeMap<String, (Mark, Box<dyn RegistrySpec>)>,
    problems: &mut Problems,
) -> BTreeMap<String, Arc<dyn RegistrySpec>> {
    let mut registries = BTreeMap::new();
    for (name, (at, registry)) in written {
        for finding in registry.problems() {
            problems.push(Problem::at(
                at,
                format!("{REGISTRIES}.{name}"),
                in_one_sentence(&finding),
            ));
        }
        registries.insert(name, Arc::from(registry));
    }
    registries
}

fn plan_connector(
    spec: ConnectorSpec,
    places: &Places,
    taken: &mut Taken,
    problems: &mut Problems,
) -> Option<ConnectorPlan> {
    let before = problems.len();
    let ConnectorSpec {
        name,
        config,
        source,
        value,
    } = spec;
    let mut refuse = |keys: &[&str], sentence: String| {
        let path = [&[CONNECTORS, &name], keys].concat().join(".");
        problems.push(Problem::at(place(&value, keys), path, sentence));
    };
    if !places.streams.contains_key(&config.stream) {
        refuse(&["stream"], unknown_stream(&config.stream, &places.streams));
    }
    let prefix = config.prefix.unwrap_or_else(|| name.clone());
    let written_topic = config.topic.unwrap_or_else(|| DEFAULT_TOPIC_TEMPLATE.to_owned());
    let topic = TopicTemplate::parse(&written_topic).map_err(|error| refuse(&["topic"], error.report()));
    if let Err(error) = config.format.resolve() {
        refuse(&["format"], error.report());
    }
    if let Some(sentence) = places.unknown_registry(config.format.registry.as_deref()) {
        refuse(&["format", "registry"], sentence);
    }
    if config.outbox.is_some() && config.change_table.is_some() {
        refuse(&["outbox"], OUTBOX_AND_CHANGE_TABLE.to_owned());
    }
    let refuse_changes = |keys: &[&str], sentence| refuse(&[&["schema_changes"][..], keys].concat(), sentence);
    let (schema_change_topic, webhook) = plan_schema_changes(&config.schema_changes, &prefix, refuse_changes);
    let refuse_outbox = |sentence| refuse(&["outbox"], sentence);
    let outbox = plan_outbox(config.outbox, &prefix, &*source, refuse_outbox);
    let refuse_letters = |sentence| refuse(&["dead_letters"], sentence);
    let dead_letters = plan_dead_letters(&name, config.dead_letters, &prefix, refuse_letters);
    let refuse_contract = |sentence| refuse(&["contract"], sentence);
    let contracts = plan_contracts(config.contract, &dead_letters, refuse_contract);
    let updated_at_column = config.updated_at.map(|updated_at| updated_at.column);
    let refuse_transforms = |sentence| refuse(&["transforms"], sentence);
    let transforms = plan_transforms(config.transforms, updated_at_column.clone(), refuse_transforms);
    for finding in source.problems(&name).iter().filter(|finding| blocks(finding)) {
        refuse(&[SOURCE], in_one_sentence(finding));
    }
    let mut claims = source.claims(&name);
    claims.push(topic_claim(&config.stream, &written_topic, &prefix, &*source));
    for sentence in taken.claim_all(claims, &owner(&name), value.at) {
        refuse(&[], sentence);
    }
    let topic = topic.ok()?;
    (problems.len() == before).then_some(ConnectorPlan {
        name,
        source,
        stream: config.stream,
        prefix,
        topic,
        format: config.format,
        contracts,
        schema_change_topic,
        webhook,
        updated_at_column,
        outbox,
        dead_letters,
        transforms,
        change_table: config.change_table,
        written: Written(value),
    })
}

fn unknown_stream(name: &str, streams: &BTreeMap<String, Arc<dyn StreamSpec>>) -> String {
    let known: Vec<String> = streams.keys().cloned().collect();
    format!("there is no stream `{name}`; {}", suggestion(name, &known))
}

/// The outbox as meant; what is wrong with it is refused.
fn plan_outbox(
    config: Option<OutboxConfig>,
    prefix: &str,
    source: &dyn SourceSpec,
    mut refuse: impl FnMut(String),
) -> Option<Arc<Outbox>> {
    let config = config?;
    let contract = config.contract.as_deref().map(read_contract).transpose();
    let made = contract.and_then(|contract| Outbox::new(config, prefix, contract));
    let outbox = made.map_err(|error| refuse(error.report())).ok()?;
    for finding in outbox.config_findings(source.query()) {
        refuse(in_one_sentence(&finding));
    }
    Some(Arc::new(outbox))
}

/// The contracts as meant, their files read; what contradicts itself is refused.
fn plan_contracts(
    config: Option<ContractConfig>,
    dead_letters: &DeadLetters,
    mut refuse: impl FnMut(String),
) -> Option<Arc<Contracts>> {
    let config = config?;
    if config.on_incompatible == OnIncompatible::DeadLetter && dead_letters.config.policy == LetterPolicy::Halt {
        refuse(
            "`on_incompatible: dead_letter` needs a place for them; set `dead_letters: { policy: store }` or `topic`"
                .to_owned(),
        );
    }
    match Contracts::new(config, read_contract_file) {
        Ok(contracts) => Some(Arc::new(contracts)),
        Err(error) => {
            refuse(error.report());
            None
        }
    }
}

fn read_contract_file(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!(
            "the contract {} cannot be read; name a file that is there, in UTF-8",
            path.display()
        );
        Error::definite("contract_unreadable", message).with_source(error)
    })
}

/// Where changes of tables' definitions are published, and who else is told of them, as meant.
fn plan_schema_changes(
    config: &SchemaChangesConfig,
    prefix: &str,
    mut refuse: impl FnMut(&[&str], String),
) -> (Option<Arc<str>>, Option<Arc<Receiver>>) {
    let topic = config.topic(prefix);
    if let Some(fault) = topic.as_deref().and_then(fault) {
        refuse(&["topic"], fault);
    }
    let receiver = config.webhook.as_ref().map(Receiver::new).transpose();
    let receiver = receiver.map_err(|(key, sentence)| refuse(&["webhook", key], sentence));
    (topic, receiver.ok().flatten().map(Arc::new))
}

/// The rules that changes go through; those that cannot be followed are refused.
fn plan_transforms(
    rules: Vec<Rule>,
    updated_at_column: Option<String>,
    mut refuse: impl FnMut(String),
) -> TransformConfig {
    let transforms = TransformConfig { rules };
    if let Err(error) = Transform::new(&transforms, updated_at_column) {
        refuse(error.report());
    }
    transforms
}

/// What is done with events that cannot be carried, as meant; what contradicts itself is refused.
fn plan_dead_letters(
    connector: &str,
    config: DeadLetterConfig,
    prefix: &str,
    mut refuse: impl FnMut(String),
) -> DeadLetters {
    let topic = config.topic.replace("{prefix}", &escape(prefix));
    if let Some(fault) = fault(&topic) {
        refuse(fault);
    }
    if config.policy == LetterPolicy::Halt && config.order == LetterOrder::Key {
        refuse("`order: key` says what waits behind a dead letter, and `policy: halt` makes none; set `policy: store` or `topic`".to_owned());
    }
    if config.maximum_count == 0 || config.maximum_bytes == 0 {
        refuse("with a maximum of 0 no letter could be kept; set `policy: halt` for that".to_owned());
    }
    DeadLetters::new(connector, config, topic.into())
}

/// Two connectors with one template write the tables of one name into one topic.
fn topic_claim(stream: &str, template: &str, prefix: &str, source: &dyn SourceSpec) -> Claim {
    let topic = template.replace("{prefix}", prefix);
    let tables = source.tables().join(", ");
    Claim::named(format!(
        "the topic `{topic}` of stream `{stream}` for the tables {tables}"
    ))
}

fn blocks(finding: &Finding) -> bool {
    finding.severity == Severity::Blocks
}

fn in_one_sentence(finding: &Finding) -> String {
    if finding.remedy.is_empty() {
        finding.problem.clone()
    } else {
        format!("{}; {}", finding.problem, finding.remedy)
    }
}

// === impl Places ===

impl Places {
    fn unknown_registry(&self, name: Option<&str>) -> Option<String> {
        let name = name.filter(|name| !self.registries.contains_key(*name))?;
        let known: Vec<String> = self.registries.keys().cloned().collect();
        Some(format!("there is no registry `{name}`; {}", suggestion(name, &known)))
    }
}

// === impl Taken ===

/// What is claimed may hold a password.
impl fmt::Debug for Taken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.claims.values()).finish()
    }
}

impl Taken {
    /// Takes all of them; says which others have.
    fn claim_all(&mut self, claims: Vec<Claim>, owner: &str, at: Mark) -> Vec<String> {
        let refused = claims.into_iter().filter_map(|claim| self.claim(claim, owner, at));
        refused.collect()
    }

    /// Gives back what somebody has.
    fn release(&mut self, owner: &str) {
        self.claims.retain(|_, (other, _)| other != owner);
    }

    /// Takes it, or says who has it.
    fn claim(&mut self, claim: Claim, owner: &str, at: Mark) -> Option<String> {
        if let Some((other, at)) = self.claims.get(&claim.key) {
            return Some(format!(
                "{} is already used by {other} in line {}; give each its own",
                claim.words, at.line
            ));
        }
        self.claims.insert(claim.key, (owner.to_owned(), at));
        None
    }
}

// === impl ConnectorPlan ===

impl ConnectorPlan {
    /// The database side, as it is read.
    pub(crate) fn source_connector(&self) -> Result<Arc<dyn SourceConnector>, Error> {
        match self.change_tables()? {
            Some(change_tables) => Ok(Arc::new(change_tables)),
            None => self.source.connect(&self.name),
        }
    }

    /// The change tables of the database side, where its tables are captured by triggers.
    pub(crate) fn change_tables(&self) -> Result<Option<ChangeTableConnector>, Error> {
        let Some(config) = &self.change_table else {
            return Ok(None);
        };
        let kind = self.source.connect(&self.name)?.kind();
        let database = self.source.triggers()?;
        Ok(Some(ChangeTableConnector::new(database, config.clone(), kind)))
    }
}

// === impl Plan ===

impl Plan {
    /// Decides what further connectors mean beside these.
    pub(crate) fn planner(&self) -> Planner {
        Planner {
            places: Places {
                streams: self.streams.clone(),
                registries: self.registries.clone(),
            },
            taken: self.taken.clone(),
            shutdown_timeout: self.shutdown_timeout,
        }
    }

    /// Every connector, of either direction.
    pub(crate) fn all(&self) -> impl Iterator<Item = AnyPlan> {
        let reading = self.connectors.iter().map(|plan| AnyPlan::Reads(Arc::clone(plan)));
        reading.chain(self.sinks.iter().map(|plan| AnyPlan::Writes(Arc::clone(plan))))
    }

    /// The stream of a connector.
    pub(crate) fn stream_of(&self, connector: &ConnectorPlan) -> Result<&Arc<dyn StreamSpec>, Error> {
        self.stream(&connector.stream)
    }

    /// A stream by its name.
    pub(crate) fn stream(&self, name: &str) -> Result<&Arc<dyn StreamSpec>, Error> {
        self.streams.get(name).ok_or_else(|| {
            Error::definite(
                "stream_unknown",
                format!("there is no stream `{name}`; add it under streams"),
            )
        })
    }

    /// What is done with the letters of a connector, whichever way it carries.
    pub(crate) fn letters_of(&self, connector: &str) -> Option<&DeadLetters> {
        let reading = self.connectors.iter().find(|known| known.name == connector);
        let writing = || self.sinks.iter().find(|known| known.name == connector);
        reading
            .map(|known| &known.dead_letters)
            .or_else(|| writing().map(|known| &known.dead_letters))
    }

    /// The names of all connectors.
    pub(crate) fn names(&self) -> Vec<String> {
        let writing = self.sinks.iter().map(|known| known.name.clone());
        self.connectors
            .iter()
            .map(|known| known.name.clone())
            .chain(writing)
            .collect()
    }
}

#[cfg(test)]
mod tests;
