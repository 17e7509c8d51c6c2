//! `tailrace check`: every problem of the state, sources, streams and registries at once, each with what fixes it.

use serde::Serialize;
use tailrace_core::check::{Finding, STREAM_LOCKED, Severity};
use tailrace_core::ports::EventStream;
use tailrace_state::StateStore;

use super::{Exit, Failure, contract};
use crate::config::plan::Plan;
use crate::preflight::{self, Topics};
use crate::{registries, screen};

/// What was found for the state, one connector or one registry.
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
    State { state: String },
}

/// Checks the state, every registry and every connector, and prints what was found.
pub(crate) async fn run(plan: Plan, json: bool) -> Result<Exit, Failure> {
    let mut topics = Topics::new();
    let mut reports = Vec::new();
    // Before anything else, which may open it.
    let findings = preflight::of_state(&plan.state_path).await;
    if !findings.is_empty() {
        let state = plan.state_path.display().to_string();
        reports.push(Report::new(Subject::State { state }, findings));
    }
    for (name, registry) in &plan.registries {
        let registry = registry.connect()?;
        let of = Subject::Registry { registry: name.clone() };
        reports.push(Report::new(of, registry.check().await));
    }
    for connector in &plan.connectors {
        let stream = plan.stream_of(connector)?.connect()?;
        let registry = match contract::is_held(connector) {
            true => Some(registries::to_compare_with(&plan, connector).await),
            false => None,
        };
        let mut findings = preflight::of_source(connector, &*stream, registry, &mut topics).await?;
        allow_daemon(&mut findings, &plan, &*stream);
        findings.extend(preflight::of_saved(connector, preflight::Saved::File(&plan.state_path), &findings).await);
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
        let stream = plan.stream(&sink.stream)?.connect()?;
        let mut findings = preflight::of_sink(sink, &*stream).await?;
        allow_daemon(&mut findings, &plan, &*stream);
        reports.push(Report::new(of, findings));
    }
    let blocked = count(&reports, Severity::Blocks) > 0;
    screen::print(&if json { as_json(&reports) } else { as_text(&reports) })?;
    Ok(if blocked { Exit::Blocked } else { Exit::Ended })
}

/// The daemon that runs this configuration has its state and its streams, and stands in nobody's way.
fn allow_daemon(findings: &mut [Finding], plan: &Plan, stream: &dyn EventStream) {
    let daemon = StateStore::held_by(&plan.state_path);
    if daemon.is_none() || stream.held_by() != daemon {
        return;
    }
    for finding in findings.iter_mut().filter(|finding| finding.code == STREAM_LOCKED) {
        let problem = format!(
            "{}: the daemon that has the state of this configuration",
            finding.problem
        );
        *finding = Finding::note(STREAM_LOCKED, problem);
    }
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
            Subject::State { state } => format!("state {state}"),
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
