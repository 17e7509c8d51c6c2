//! The server's settings and our role's rights.

use tailrace_core::check::{Finding, Severity};
use tailrace_sql::log_config::SnapshotMode;

use super::Facts;
use crate::discover::server::ServerFacts;
use crate::grants::statement;

/// pgoutput can send binary values and logical messages from this version on.
const BINARY_AND_MESSAGES_MAJOR: u32 = 14;
/// Slots can be synchronized to standbys from this version on.
const FAILOVER_SLOTS_MAJOR: u32 = 17;
/// The first minor of each major in which a table that is added to a publication keeps none of its later rows from open transactions
/// out of the stream (PostgreSQL release notes of May 2025).
const ADD_TABLE_FIXED: [(u32, u32); 5] = [(13, 21), (14, 18), (15, 13), (16, 9), (17, 5)];

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let server = &facts.discovery.server;
    let mut findings = Vec::new();
    findings.extend(pooler(facts));
    findings.extend(standby(server));
    findings.extend(wal_level(server));
    findings.extend(room(facts));
    findings.extend(rights(server));
    findings.extend(versions(facts));
    findings.extend(encoding(server));
    findings.extend(disk(server));
    findings.extend(unseen(facts));
    findings.extend(unmarked_sinks(facts));
    findings
}

fn pooler(facts: &Facts<'_>) -> Option<Finding> {
    pooler_in_path(&facts.surroundings.ignored_settings)
}

pub(super) fn pooler_in_path(ignored_settings: &[&str]) -> Option<Finding> {
    let ignored = ignored_settings.join(", ");
    (!ignored.is_empty()).then(|| {
        Finding::blocks(
            "pooler_in_path",
            format!(
                "settings of our connection do not reach the server ({ignored}): a connection pooler stands in between"
            ),
            "connect to PostgreSQL itself; pgbouncer passes neither the replication protocol nor exported snapshots",
        )
    })
}

/// A sink that does not mark what it writes is like any other writer.
fn unmarked_sinks(facts: &Facts<'_>) -> Option<Finding> {
    let config = facts.config;
    let is_marked = |origin: &String| config.skips_origin(origin);
    (!config.skip_written_by.is_empty() && !facts.surroundings.origins.iter().any(is_marked)).then(|| {
        Finding::warning(
            "sink_unmarked",
            format!(
                "no sink that `skip_written_by` names ({}) has made a replication origin on this server yet: rows of a sink that does not mark them \
                 are carried like all others",
                config.skip_written_by.join(", ")
            ),
            "mark_origin: true -- in the sink's configuration; its origin is made when it first connects",
        )
    })
}

fn standby(server: &ServerFacts) -> Option<Finding> {
    server.in_recovery.then(|| {
        Finding::blocks(
            "source_is_standby",
            "the server is a standby; changes are captured from the primary",
            "name the primary in `url`",
        )
    })
}

fn wal_level(server: &ServerFacts) -> Option<Finding> {
    (server.wal_level != "logical").then(|| {
        Finding::blocks(
            "wal_level",
            format!("wal_level is `{}`: the write-ahead log does not hold what is needed to read rows from it", server.wal_level),
            "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server (Amazon RDS: rds.logical_replication = 1)",
        )
    })
}

/// One slot and one sender are needed; both may be ours already.
fn room(facts: &Facts<'_>) -> Vec<Finding> {
    let server = &facts.discovery.server;
    let mut findings = Vec::new();
    if facts.slot.is_none() && server.replication_slots >= server.max_replication_slots {
        findings.push(Finding::blocks(
            "replication_slots_exhausted",
            format!(
                "{} of {} replication slots are taken, and one more is needed",
                server.replication_slots, server.max_replication_slots
            ),
            format!(
                "ALTER SYSTEM SET max_replication_slots = {}; -- then restart the server",
                server.replication_slots + 1
            ),
        ));
    }
    let sending = facts.slot.as_ref().is_some_and(|slot| slot.active_pid.is_some());
    if !sending && server.wal_senders >= server.max_wal_senders {
        findings.push(Finding::blocks(
            "wal_senders_exhausted",
            format!(
                "{} of {} WAL senders are busy, and one more is needed",
                server.wal_senders, server.max_wal_senders
            ),
            format!(
                "ALTER SYSTEM SET max_wal_senders = {}; -- then restart the server",
                server.wal_senders + 1
            ),
        ));
    }
    findings
}

fn rights(server: &ServerFacts) -> Option<Finding> {
    let role = &server.role;
    if server.superuser {
        return Some(Finding::warning(
            "superuser",
            format!("the role \"{role}\" is superuser, which capturing does not need"),
            "name another role in `url`; `tailrace grants FILE` prints what makes it, with the rights that it needs and no others",
        ));
    }
    (!server.replication).then(|| {
        Finding::blocks(
            "insufficient_privilege",
            format!("the role \"{role}\" may not replicate"),
            format!(
                "{}; -- Amazon RDS: GRANT rds_replication TO …",
                statement::replication(role)
            ),
        )
    })
}

fn versions(facts: &Facts<'_>) -> Vec<Finding> {
    let server = &facts.discovery.server;
    let (major, minor) = (server.major(), server.version % 10_000);
    let version = &server.version_text;
    let mut findings = Vec::new();
    let mut too_old = |asked: bool, needs: u32, option: &str| {
        if asked && major < needs {
            let problem = format!("`{option}` needs PostgreSQL {needs}; the server is {version}");
            findings.push(Finding::blocks("server_too_old", problem, format!("remove `{option}`")));
        }
    };
    too_old(facts.config.binary, BINARY_AND_MESSAGES_MAJOR, "binary");
    too_old(
        facts.config.captures_messages(),
        BINARY_AND_MESSAGES_MAJOR,
        "message_prefixes",
    );
    too_old(facts.config.failover, FAILOVER_SLOTS_MAJOR, "failover");
    let fixed = ADD_TABLE_FIXED.iter().find(|(fixed_major, _)| *fixed_major == major);
    if let Some((_, fixed)) = fixed.filter(|(_, fixed)| minor < *fixed) {
        findings.push(Finding::warning(
            "server_bug_add_table",
            format!("PostgreSQL {version} can lose rows of a table that is added to a publication while transactions write to it"),
            format!("update the server to {major}.{fixed} or later before adding tables"),
        ));
    }
    findings
}

pub(super) fn encoding(server: &ServerFacts) -> Option<Finding> {
    match server.encoding.as_str() {
        "UTF8" => None,
        "SQL_ASCII" => Some(Finding::warning(
            "encoding",
            format!(
                "the database \"{}\" does not know its encoding (SQL_ASCII): a text that is not UTF-8 stops the connector",
                server.database
            ),
            "convert such texts, or the database, to UTF-8",
        )),
        other => Some(Finding::note(
            "encoding",
            format!("the database is encoded in {other}; the server converts texts to UTF-8"),
        )),
    }
}

fn disk(server: &ServerFacts) -> Option<Finding> {
    (server.max_slot_wal_keep_size_mb < 0).then(|| Finding {
        severity: Severity::Note,
        ..Finding::blocks(
            "unlimited_wal",
            "max_slot_wal_keep_size has no limit: while the connector is down the server keeps all WAL, until its disk is full",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); -- less than the free space; beyond it the connector must start anew",
        )
    })
}

/// What is in the database and not in its log.
fn unseen(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sequences = facts.surroundings.sequences;
    if sequences > 0 {
        findings.push(Finding::note(
            "unseen_sequences",
            format!("the values of {sequences} sequences are not captured"),
        ));
    }
    if facts.surroundings.large_objects {
        findings.push(Finding::note(
            "unseen_large_objects",
            "the contents of large objects are not captured, only their numbers in columns",
        ));
    }
    if facts.config.snapshot.mode == SnapshotMode::Never {
        findings.push(Finding::note(
            "no_snapshot",
            "`snapshot.mode: never`: rows that are there already are not captured until they change",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, judged};
    use super::*;

    const TABLES: &str = r#""tables": ["orders"]"#;

    fn server(change: impl FnOnce(&mut ServerFacts)) -> Vec<&'static str> {
        codes(&judged(judge, TABLES, |facts| change(&mut facts.discovery.server)))
    }

    #[test]
    fn settings_and_rights() {
        assert_eq!(server(|server| server.in_recovery = true), ["source_is_standby"]);
        assert_eq!(server(|server| server.wal_level = "replica".to_owned()), ["wal_level"]);
        assert_eq!(
            server(|server| server.replication_slots = 10),
            ["replication_slots_exhausted"]
        );
        assert_eq!(server(|server| server.wal_senders = 10), ["wal_senders_exhausted"]);
        assert_eq!(server(|server| server.replication = false), ["insufficient_privilege"]);
        assert_eq!(server(|server| server.superuser = true), ["superuser"]);
        assert_eq!(server(|server| server.encoding = "SQL_ASCII".to_owned()), ["encoding"]);
        assert_eq!(
            server(|server| server.max_slot_wal_keep_size_mb = -1),
            ["unlimited_wal"]
        );
    }

    #[test]
    fn the_remedy_names_the_number_that_is_needed() {
        let findings = judged(judge, TABLES, |facts| facts.discovery.server.replication_slots = 10);
        assert!(findings[0].problem.starts_with("10 of 10"), "{}", findings[0].problem);
        assert!(
            findings[0].remedy.contains("max_replication_slots = 11"),
            "{}",
            findings[0].remedy
        );
    }

    #[test]
    fn versions() {
        assert_eq!(server(|server| server.version = 150_012), ["server_bug_add_table"]);
        assert_eq!(server(|server| server.version = 180_000), [""; 0]);
        let old = |json: &str| codes(&judged(judge, json, |facts| facts.discovery.server.version = 130_023));
        assert_eq!(old(r#""tables": ["orders"], "binary": true"#), ["server_too_old"]);
        assert_eq!(
            old(r#""tables": ["orders"], "message_prefixes": ["*"]"#),
            ["server_too_old"]
        );
        assert_eq!(
            codes(&judged(judge, r#""tables": ["orders"], "failover": true"#, |_| {})),
            ["server_too_old"]
        );
    }

    #[test]
    fn a_pooler_and_what_is_not_in_the_log() {
        let codes = codes(&judged(judge, TABLES, |facts| {
            facts.surroundings.ignored_settings.push("search_path");
            facts.surroundings.sequences = 3;
            facts.surroundings.large_objects = true;
        }));
        assert_eq!(codes, ["pooler_in_path", "unseen_sequences", "unseen_large_objects"]);
    }
}
