//! Whether the state can be opened and a connector can run: every problem of its sides at once, each with what fixes it. Creates nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tailrace_core::check::{Finding, Severity};
use tailrace_core::dead_letter::LetterPolicy;
use tailrace_core::error::Kind;
use tailrace_core::ports::{EventStream, TopicSpec};
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::SharedSchema;
use tailrace_core::transform::{Transform, alters_messages};
use tailrace_core::{Error, Result};
use tailrace_state::{ConnectorState, Outdated, StateStore};

use crate::cli::contract;
use crate::config::plan::{ConnectorPlan, SinkPlan};

/// Topics that were seen so far, by stream and name, and whose they are.
pub(crate) type Topics = BTreeMap<(String, String), String>;

/// What is to be said of the state before this release opens it; nothing of one that is there as it should be, or not there yet.
pub(crate) async fn of_state(path: &Path) -> Vec<Finding> {
    let (outdated, home) = match StateStore::outdated(path).await {
        Ok(outdated) => (outdated, StateStore::verify_home(path).await),
        Err(error) => (None, Err(error)),
    };
    let refused = home.err().map(|error| Finding::from(&error));
    refused.into_iter().chain(outdated.map(brought_on)).collect()
}

fn brought_on(outdated: Outdated) -> Finding {
    let Outdated { layout, wanted, copy } = outdated;
    let problem = format!(
        "the next start brings it from layout {layout} to layout {wanted}, which earlier releases refuse; before that it is copied to {}",
        copy.display()
    );
    Finding::note("state_outdated", problem)
}

/// Everything that is to be said of a connector that reads. `registry` has the schemas of what it published before, where it has any;
/// `topics` are those of connectors that were looked at before.
///
/// # Errors
/// Where a side cannot be made from its configuration.
pub(crate) async fn of_source(
    connector: &ConnectorPlan,
    stream: &dyn EventStream,
    registry: Option<Result<Arc<dyn SchemaRegistry>>>,
    topics: &mut Topics,
) -> Result<Vec<Finding>> {
    let source = connector.source_connector()?;
    let mut findings = source.check(&connector.name).await;
    let mut specs = Vec::new();
    // Where the source cannot be reached, that was said already.
    if findings.iter().all(|finding| finding.severity != Severity::Blocks) {
        match source.describe().await {
            Ok(tables) => {
                let (outboxes, tables) = split_outboxes(connector, tables);
                findings.extend(check_outboxes(connector, &outboxes));
                let names = tables.iter().map(|table| &table.name);
                findings.extend(connector.topic.check(&connector.prefix, names));
                specs = topics_of(connector, &tables, topics, &mut findings);
                if let Some(registry) = registry {
                    findings.extend(contract::findings(registry, connector, &tables).await);
                }
            }
            Err(error) => findings.push(Finding::from(&error)),
        }
    }
    findings.extend(stream.check(&specs).await);
    Ok(findings)
}

/// Everything that is to be said of a connector that writes.
///
/// # Errors
/// Where a side cannot be made from its configuration, or the stream does not answer.
pub(crate) async fn of_sink(sink: &SinkPlan, stream: &dyn EventStream) -> Result<Vec<Finding>> {
    let mut findings = stream.check(&[]).await;
    if findings.iter().all(|finding| finding.severity != Severity::Blocks) {
        let exist = stream.topics().await?;
        let patterns = sink.subscription.topics.iter();
        for topic in patterns.filter(|topic| !topic.contains(['*', '?']) && !exist.contains(*topic)) {
            let problem = format!("there is no topic {topic} yet; it is read as soon as there is");
            findings.push(Finding::note("topic_missing", problem));
        }
    }
    let target = sink.sink.connect()?;
    findings.extend(target.check(&sink.name, &sink.subscription.topics).await);
    Ok(findings)
}

/// Where the state is asked.
pub(crate) enum Saved<'a> {
    /// By the process that has it open. It must not open the file a second time: closing that would give up SQLite's locks on it.
    Open(&'a StateStore),
    /// By any other one.
    File(&'a Path),
}

// === impl Saved ===

impl Saved<'_> {
    /// How far a connector is, and what its source remembers.
    async fn of(&self, connector: &str) -> Result<(Option<ConnectorState>, Option<serde_json::Value>)> {
        match self {
            Self::Open(state) => Ok((
                state.connector_state(connector).await?,
                state.source_memory(connector).await?,
            )),
            Self::File(path) if !path.exists() => Ok((None, None)),
            Self::File(path) => StateStore::saved_of(path, connector).await,
        }
    }
}

/// What stands in the way of a source that is to go on from what the state has of it: as its start would say it. Nothing where that start
/// would be its first, or where something was `found` before that blocks it.
pub(crate) async fn of_saved(connector: &ConnectorPlan, state: Saved<'_>, found: &[Finding]) -> Option<Finding> {
    if found.iter().any(|finding| finding.severity == Severity::Blocks) {
        return None;
    }
    let source = connector.source_connector().ok()?;
    let mut before = None;
    loop {
        let (known, memory) = match state.of(&connector.name).await {
            Ok(found) => found,
            Err(error) => return Some(unseen(&error)),
        };
        let progress = known.and_then(|known| known.checkpoint).map(|saved| saved.progress);
        let refused = source
            .verify_saved(&connector.name, progress.as_ref(), memory?)
            .await
            .err()?;
        if refused.kind() == Kind::Transient {
            return Some(unseen(&refused));
        }
        // What a daemon saved and confirmed between the two looks may look like a loss; then it has saved more since.
        if before.replace(progress.clone()) == Some(progress) {
            return Some(Finding::from(&refused));
        }
    }
}

fn unseen(error: &Error) -> Finding {
    let problem = format!(
        "whether it can go on from where it was is not known: {}",
        error.report()
    );
    Finding::note("position_unseen", problem)
}

/// Tables whose rows are events already, whose topics the rows name; and the others.
fn split_outboxes(connector: &ConnectorPlan, tables: Vec<SharedSchema>) -> (Vec<SharedSchema>, Vec<SharedSchema>) {
    let is_outbox = |table: &SharedSchema| connector.outbox.as_ref().is_some_and(|outbox| outbox.selects(table));
    tables.into_iter().partition(is_outbox)
}

fn check_outboxes(connector: &ConnectorPlan, tables: &[SharedSchema]) -> Vec<Finding> {
    let Some(outbox) = &connector.outbox else {
        return Vec::new();
    };
    let mut findings = outbox.check(tables, connector.source.query());
    // What is wrong with the rules is said where the configuration is read.
    let rules = Transform::new(&connector.transforms, connector.updated_at_column.clone());
    if let Ok(mut transform) = rules {
        for table in tables {
            match transform.alters_rows(table) {
                Ok(true) => findings.push(Finding::from(&alters_messages(table))),
                Ok(false) => {}
                Err(error) => findings.push(Finding::from(&error)),
            }
        }
    }
    findings
}

/// The topics of the tables that pass the transforms; routes choose theirs row by row.
fn topics_of(
    connector: &ConnectorPlan,
    tables: &[SharedSchema],
    topics: &mut Topics,
    findings: &mut Vec<Finding>,
) -> Vec<TopicSpec> {
    let mut transform = match Transform::new(&connector.transforms, connector.updated_at_column.clone()) {
        Ok(transform) => transform,
        Err(error) => {
            findings.push(Finding::from(&error));
            return Vec::new();
        }
    };
    let changes = connector.schema_change_topic.iter().map(|topic| TopicSpec {
        name: Arc::clone(topic),
        keyed: true,
    });
    let mut specs: Vec<TopicSpec> = changes.collect();
    for table in tables {
        let described = transform.describe(table).and_then(|schema| {
            let topic = schema
                .as_ref()
                .map(|schema| connector.topic.topic_of(&connector.prefix, schema))
                .transpose()?;
            Ok(schema.zip(topic))
        });
        let (schema, topic) = match described {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                findings.push(Finding::from(&error));
                continue;
            }
        };
        let taken = topics.insert((connector.stream.clone(), topic.clone()), connector.name.clone());
        if let Some(other) = taken.filter(|other| *other != connector.name) {
            let problem = format!(
                "table {} and connector `{other}` both write to the topic `{topic}`",
                table.name.qualified()
            );
            findings.push(Finding::blocks(
                "topic_collision",
                problem,
                "give one of the connectors another `prefix` or `topic`",
            ));
        }
        specs.push(TopicSpec {
            name: Arc::from(topic),
            keyed: !schema.key.is_empty(),
        });
    }
    specs.extend(dead_letter_topic(connector, &specs, findings));
    specs
}

/// The topic of dead letters, where they are published; no table may write there.
fn dead_letter_topic(
    connector: &ConnectorPlan,
    tables: &[TopicSpec],
    findings: &mut Vec<Finding>,
) -> Option<TopicSpec> {
    if connector.dead_letters.config.policy != LetterPolicy::Topic {
        return None;
    }
    let name = Arc::clone(&connector.dead_letters.topic);
    if tables.iter().any(|table| table.name == name) {
        findings.push(Finding::blocks(
            "topic_collision",
            format!("a table and the connector's dead letters both write to the topic `{name}`"),
            "give the dead letters another topic with `dead_letters.topic`",
        ));
    }
    Some(TopicSpec { name, keyed: false })
}
