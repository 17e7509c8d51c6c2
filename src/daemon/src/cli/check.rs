//! `tailrace check`: every problem of sources, streams and registries at once, each with what fixes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tailrace_core::check::{Finding, Severity};
use tailrace_core::dead_letter::LetterPolicy;
use tailrace_core::ports::TopicSpec;
use tailrace_core::schema::SharedSchema;
use tailrace_core::transform::{Transform, alters_messages};

use super::{Exit, Failure, contract};
use crate::config::plan::{ConnectorPlan, Plan, SinkPlan};
use crate::screen;

/// What was found for one connector or one registry.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    of: Subject,
    findings: Vec<Finding>,
}

/// What was checked.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Subject {
    Connector { connector: String, stream: String },
    Sink { connector: String, reads: String },
    Registry { registry: String },
}

/// Topics that were seen so far, by stream and name, and whose they are.
type Topics = BTreeMap<(String, String), String>;

/// Checks every registry and connector and prints what was found.
pub(crate) async fn run(plan: Plan, json: bool) -> Result<Exit, Failure> {
    let mut topics = Topics::new();
    let mut reports = Vec::new();
    for (name, registry) in &plan.registries {
        let registry = registry.connect()?;
        let of = Subject::Registry { registry: name.clone() };
        reports.push(Report::new(of, registry.check().await));
    }
    for connector in &plan.connectors {
        let findings = check(&plan, connector, &mut topics).await?;
        let of = Subject::Connector {
            connector: connector.name.clone(),
            stream: connector.stream.clone(),
        };
        reports.push(Report::new(of, findings));
    }
    for sink in &plan.sinks {
        let of = Subject::Sink {
            connector: sink.name.clone(),
            reads: sink.stream.clone(),
        };
        reports.push(Report::new(of, check_sink(&plan, sink).await?));
    }
    let blocked = count(&reports, Severity::Blocks) > 0;
    screen::print(&if json { as_json(&reports) } else { as_text(&reports) })?;
    Ok(if blocked { Exit::Blocked } else { Exit::Ended })
}

async fn check(plan: &Plan, connector: &ConnectorPlan, topics: &mut Topics) -> Result<Vec<Finding>, Failure> {
    let source = connector.source_connector()?;
    let stream = plan.stream_of(connector)?.connect()?;
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
                findings.extend(contract::findings(plan, connector, &tables).await);
            }
            Err(error) => findings.push(Finding::from(&error)),
        }
    }
    findings.extend(stream.check(&specs).await);
    Ok(findings)
}

async fn check_sink(plan: &Plan, sink: &SinkPlan) -> Result<Vec<Finding>, Failure> {
    let stream = plan.stream(&sink.stream)?.connect()?;
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

// === impl Report ===

impl Report {
    fn new(of: Subject, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self { of, findings }
    }
}

fn count(reports: &[Report], severity: Severity) -> usize {
    let findings = reports.iter().flat_map(|report| &report.findings);
    findings.filter(|finding| finding.severity == severity).count()
}

fn as_json(reports: &[Report]) -> String {
    // Nothing in a report can fail to be JSON: they are texts.
    serde_json::to_string_pretty(reports)
        .map(|text| text + "\n")
        .unwrap_or_default()
}

fn as_text(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    for report in reports {
        line(match &report.of {
            Subject::Connector { connector, stream } => format!("{connector} → {stream}"),
            Subject::Sink { connector, reads } => format!("{connector} ← {reads}"),
            Subject::Registry { registry } => format!("registry {registry}"),
        });
        if report.findings.is_empty() {
            line("  ready: nothing to say".to_owned());
        }
        for finding in &report.findings {
            let severity = match finding.severity {
                Severity::Blocks => "BLOCKS ",
                Severity::Warning => "warning",
                Severity::Note => "note   ",
            };
            line(format!(
                "  {severity}  {}  [{}]",
                screen::escape(&finding.problem),
                finding.code
            ));
            for remedy in finding.remedy.lines() {
                line(format!("           {}", screen::escape(remedy)));
            }
        }
    }
    text += &format!(
        "blocking: {}, warnings: {}, notes: {}\n",
        count(reports, Severity::Blocks),
        count(reports, Severity::Warning),
        count(reports, Severity::Note)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(name: &str) -> Subject {
        Subject::Connector {
            connector: name.to_owned(),
            stream: "events".to_owned(),
        }
    }

    #[test]
    fn findings_read_with_their_remedies() {
        let reports = [
            Report {
                of: Subject::Registry {
                    registry: "schemas".to_owned(),
                },
                findings: vec![Finding::note("registry_compatibility", "it answers")],
            },
            Report {
                of: connector("orders"),
                findings: vec![
                    Finding::blocks(
                        "wal_level",
                        "wal_level is replica on db:5432",
                        "ALTER SYSTEM SET wal_level = logical;\n-- then restart",
                    ),
                    Finding::note("cascades", "deletes by cascade are seen"),
                ],
            },
            Report {
                of: connector("shop"),
                findings: vec![],
            },
        ];
        let expected = "registry schemas\n  \
            note     it answers  [registry_compatibility]\n\
            orders → events\n  \
            BLOCKS   wal_level is replica on db:5432  [wal_level]\n           \
            ALTER SYSTEM SET wal_level = logical;\n           \
            -- then restart\n  \
            note     deletes by cascade are seen  [cascades]\n\
            shop → events\n  ready: nothing to say\n\
            blocking: 1, warnings: 0, notes: 2\n";
        assert_eq!(as_text(&reports), expected);
        let json: serde_json::Value = serde_json::from_str(&as_json(&reports)).unwrap();
        assert_eq!(json[0]["registry"], "schemas");
        assert_eq!(
            (&json[1]["connector"], &json[1]["stream"]),
            (&"orders".into(), &"events".into())
        );
        assert_eq!(json[1]["findings"][0]["severity"], "blocks");
    }
}
