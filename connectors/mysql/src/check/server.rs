//! The server itself: its dialect and version, its place among others, and what it does that no log shows.

use tailrace_core::check::Finding;
use tailrace_sql::log_config::SnapshotMode;

use super::{Facts, rights};
use crate::grants::statement;
use crate::server::{Flavour, Identity, ServerFacts};

/// Dialect and version.
pub(super) fn judge_identity(identity: &Identity, flavour: Flavour) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = identity.verify_flavour(flavour) {
        let remedy = format!("type: {}", identity.flavour.type_name());
        findings.push(Finding::blocks(error.code(), error.report(), remedy));
    }
    findings.extend(identity.verify_version().err().as_ref().map(Finding::from));
    findings
}

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(replica(&facts.server));
    findings.push(Finding::note(
        "unseen_changes",
        "changes of sessions that set sql_log_bin = 0, which takes a privilege of its own, are in no log and not captured",
    ));
    if facts.config.snapshot.mode == SnapshotMode::Never {
        findings.push(Finding::note(
            "no_snapshot",
            "`snapshot.mode: never`: rows that are there already are not captured until they change",
        ));
    }
    findings
}

fn replica(server: &ServerFacts) -> Option<Finding> {
    let remedy = "in the server's configuration: log_replica_updates = ON (log_slave_updates before MySQL 8.0.26 and in MariaDB); then restart it";
    match (server.replica.is_replica, server.replica.logs_updates) {
        (Some(true), false) => Some(Finding::blocks(
            "log_replica_updates",
            "the server is a replica and does not log what it replicates: its log has none of those changes",
            remedy,
        )),
        (None, false) => Some(Finding::warning(
            "log_replica_updates",
            "the server does not log what it replicates (log_replica_updates), and the user may not see whether it is a replica: if it is, its log has none of those changes",
            format!(
                "{}; -- then check again",
                statement::everywhere(statement::replica_monitor(server.flavour()), &rights::user(server))
            ),
        )),
        (Some(true), true) => Some(Finding::note(
            "source_is_replica",
            "the server is a replica: changes are captured when it has replicated them",
        )),
        (None, true) | (Some(false), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ORDERS, codes, judged};
    use super::*;

    #[test]
    fn dialect_and_version() {
        let told = |version: &str, flavour| codes(&judge_identity(&Identity::parse(version).unwrap(), flavour));
        assert_eq!(told("8.4.6", Flavour::MySql), [""; 0]);
        assert_eq!(told("5.5.62", Flavour::MySql), ["server_too_old"]);
        assert_eq!(told("10.11.6-MariaDB", Flavour::MySql), ["wrong_flavour"]);
        assert_eq!(
            told("10.4.34-MariaDB", Flavour::MySql),
            ["wrong_flavour", "server_too_old"]
        );
    }

    #[test]
    fn replicas() {
        let told = |is_replica, logs_updates| {
            let findings = judged(judge, ORDERS, |facts| {
                facts.server.replica.is_replica = is_replica;
                facts.server.replica.logs_updates = logs_updates;
            });
            findings
                .first()
                .map(|finding| (finding.code, finding.severity))
                .filter(|(code, _)| *code != "unseen_changes")
        };
        use tailrace_core::check::Severity::{Blocks, Note, Warning};
        assert_eq!(told(Some(true), false), Some(("log_replica_updates", Blocks)));
        assert_eq!(told(None, false), Some(("log_replica_updates", Warning)));
        assert_eq!(told(Some(true), true), Some(("source_is_replica", Note)));
        assert_eq!(told(Some(false), false), None);
        assert_eq!(told(None, true), None);
    }

    #[test]
    fn what_is_not_captured_is_said() {
        let json = r#""tables": ["shop.orders"], "snapshot": {"mode": "never"}"#;
        assert_eq!(codes(&judged(judge, json, |_| {})), ["unseen_changes", "no_snapshot"]);
    }
}
