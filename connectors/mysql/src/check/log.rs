//! The settings of the binary log.

use tailrace_core::check::{Finding, Severity};

use super::Facts;
use crate::server::{Flavour, ServerFacts};

/// Files that are deleted sooner are gone after an outage of a night.
const SHORTEST_EXPIRY_S: u64 = 86_400;

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let server = &facts.server;
    if !server.log.enabled {
        return vec![Finding::blocks(
            "log_bin",
            "the server keeps no binary log",
            "in the server's configuration: log_bin = mysql-bin, server_id = 1, binlog_format = ROW; then restart it",
        )];
    }
    let mut findings = Vec::new();
    findings.extend(server_id(server));
    findings.extend(format(server));
    findings.extend(row_image(server));
    findings.extend(storage_engine(server));
    findings.extend(metadata(server));
    findings.extend(filters(facts));
    findings.extend(hidden_offsets(facts));
    findings.extend(expiry(server));
    findings.extend(durability(server));
    findings.extend(oddities(server));
    findings
}

/// MySQL from 8.0 on writes a setting down by itself.
fn set(server: &ServerFacts, setting: &str, value: &str) -> String {
    let keeps = server
        .identity
        .at_least(Some(crate::server::Version::new(8, 0, 0)), None);
    if keeps {
        format!("SET PERSIST {setting} = {value};")
    } else {
        format!("SET GLOBAL {setting} = {value}; -- and in the server's configuration, for its next start")
    }
}

/// MySQL from 5.7.6 on lets it be switched on while the server runs.
fn gtid_remedy(server: &ServerFacts) -> &'static str {
    let is_online = server
        .identity
        .at_least(Some(crate::server::Version::new(5, 7, 6)), None);
    if is_online {
        "SET GLOBAL enforce_gtid_consistency = ON; -- then gtid_mode to OFF_PERMISSIVE, ON_PERMISSIVE and ON, one after the other"
    } else {
        "gtid_mode = ON, enforce_gtid_consistency = ON and log_slave_updates = ON in the server's configuration, and a restart of it"
    }
}

fn server_id(server: &ServerFacts) -> Option<Finding> {
    (server.server_id == 0).then(|| {
        Finding::blocks(
            "server_id_missing",
            "the server has server_id 0, with which it sends its log to nobody",
            set(server, "server_id", "1"),
        )
    })
}

fn format(server: &ServerFacts) -> Option<Finding> {
    let format = &server.log.format;
    (!format.eq_ignore_ascii_case("row")).then(|| {
        Finding::blocks(
            "binlog_format",
            format!("binlog_format is `{format}`: the log holds statements, and not the rows that they changed"),
            format!(
                "{} -- then end the connections of the application, which keep the old setting",
                set(server, "binlog_format", "'ROW'")
            ),
        )
    })
}

fn row_image(server: &ServerFacts) -> Option<Finding> {
    let image = &server.log.row_image;
    (!image.eq_ignore_ascii_case("full")).then(|| {
        Finding::blocks(
            "binlog_row_image",
            format!("binlog_row_image is `{image}`: the log leaves columns out that did not change"),
            format!(
                "{} -- then end the connections of the application, which keep the old setting",
                set(server, "binlog_row_image", "'FULL'")
            ),
        )
    })
}

fn storage_engine(server: &ServerFacts) -> Option<Finding> {
    let engine = server.log.storage_engine.as_ref()?;
    Some(Finding::blocks(
        "binlog_storage_engine",
        format!("the server keeps its binary log in {engine}, which is not understood"),
        "remove binlog_storage_engine from the server's configuration, then restart it",
    ))
}

/// With MINIMAL it works, with more that can go wrong.
fn metadata(server: &ServerFacts) -> Option<Finding> {
    if server.log.full_metadata {
        return None;
    }
    let problem = "the log does not say what the columns of its rows are called: that is taken from the catalogue, and followed through each ALTER TABLE in the log; \
                   the connector halts at one that it does not understand";
    if server.log.has_metadata_setting {
        return Some(Finding::warning(
            "binlog_row_metadata",
            format!("binlog_row_metadata is `MINIMAL`: {problem}"),
            set(server, "binlog_row_metadata", "'FULL'"),
        ));
    }
    Some(Finding::note(
        "binlog_row_metadata",
        format!("{}: {problem}", server.identity),
    ))
}

/// `binlog_do_db` and `binlog_ignore_db`.
fn filters(facts: &Facts<'_>) -> Option<Finding> {
    let server = &facts.server;
    let log = &server.log;
    if log.only_schemas.is_empty() && log.ignored_schemas.is_empty() {
        return None;
    }
    let captured = facts.discovery.selection.captured.iter();
    let mut hidden: Vec<&str> = captured
        .map(|(schema, _)| schema.as_str())
        .filter(|schema| !server.logs_schema(schema))
        .collect();
    hidden.dedup();
    if hidden.is_empty() {
        return Some(Finding::note(
            "binlog_filter",
            "the server logs only some of its databases (binlog_do_db, binlog_ignore_db), among them all that are captured",
        ));
    }
    Some(Finding::blocks(
        "binlog_filter",
        format!(
            "changes of {} are not in the log: the server is told to leave them out (binlog_do_db, binlog_ignore_db)",
            hidden.join(", ")
        ),
        "remove binlog_do_db and binlog_ignore_db from the server's configuration, then restart it",
    ))
}

/// A sink is told by its table of offsets, wherever that is.
fn hidden_offsets(facts: &Facts<'_>) -> Option<Finding> {
    let log = &facts.server.log;
    let is_filtered = !log.only_schemas.is_empty() || !log.ignored_schemas.is_empty();
    (is_filtered && !facts.config.skip_written_by.is_empty()).then(|| {
        Finding::warning(
            "offsets_hidden",
            "the server logs only some of its databases (binlog_do_db, binlog_ignore_db), and the sinks of `skip_written_by` are told by their \
             table tailrace_offsets: where that is in one that is not logged, their rows are carried like all others",
            "offsets_table: DATABASE.tailrace_offsets -- in the sink's configuration, with a database that is logged",
        )
    })
}

fn expiry(server: &ServerFacts) -> Option<Finding> {
    let expire_s = server.log.expire_s.filter(|seconds| *seconds < SHORTEST_EXPIRY_S)?;
    let seconds = server.identity.at_least(
        Some(crate::server::Version::new(8, 0, 1)),
        Some(crate::server::Version::new(10, 6, 1)),
    );
    let remedy = if seconds {
        set(server, "binlog_expire_logs_seconds", "604800")
    } else {
        set(server, "expire_logs_days", "7")
    };
    Some(Finding::warning(
        "log_expires_soon",
        format!(
            "the server deletes its log after {} h: when the connector is down for longer, it must start anew",
            expire_s / 3_600
        ),
        remedy,
    ))
}

/// What a crash of the server's machine can take away after it was carried.
fn durability(server: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if server.log.sync_every != 1 {
        findings.push(Finding::warning(
            "log_durability",
            format!(
                "sync_binlog is {}: when the server's machine crashes, its log can lose changes that were carried already; the connector then halts with `source_rewound`",
                server.log.sync_every
            ),
            set(server, "sync_binlog", "1"),
        ));
    }
    if server.flush_log_at_commit != 1 {
        findings.push(Finding::warning(
            "log_durability",
            format!(
                "innodb_flush_log_at_trx_commit is {}: when the server's machine crashes, its tables can lose changes that are in its log",
                server.flush_log_at_commit
            ),
            set(server, "innodb_flush_log_at_trx_commit", "1"),
        ));
    }
    findings
}

fn oddities(server: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !server.log.checksum {
        findings.push(Finding {
            severity: Severity::Note,
            ..Finding::blocks(
                "no_checksum",
                "binlog_checksum is `NONE`: damage of the log, on disk or on the way, may go unnoticed",
                set(server, "binlog_checksum", "'CRC32'"),
            )
        });
    }
    if server.log.partial_json {
        findings.push(Finding::note(
            "partial_json",
            "binlog_row_value_options is `PARTIAL_JSON`: of a changed JSON document the log may hold the difference alone, which is put together again here",
        ));
    }
    if !server.log.order_commits {
        findings.push(Finding::note(
            "commit_order",
            "binlog_order_commits is `OFF`: who reads a table back may see changes in another order than their events",
        ));
    }
    let unprovable = server.flavour() == Flavour::MySql && server.gtids.is_none();
    if unprovable {
        findings.push(Finding {
            severity: Severity::Note,
            ..Finding::blocks(
                "gtid_mode",
                "gtid_mode is not `ON`: the connector cannot follow when a replica takes over from this server",
                gtid_remedy(server),
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ORDERS, codes, judged};
    use super::*;

    fn log(change: impl FnOnce(&mut ServerFacts)) -> Vec<Finding> {
        judged(judge, ORDERS, |facts| change(&mut facts.server))
    }

    #[test]
    fn each_setting_has_its_verdict() {
        for (change, code, severity) in [
            (
                (|server| server.server_id = 0) as fn(&mut ServerFacts),
                "server_id_missing",
                Severity::Blocks,
            ),
            (
                |server| server.log.format = "MIXED".to_owned(),
                "binlog_format",
                Severity::Blocks,
            ),
            (
                |server| server.log.row_image = "MINIMAL".to_owned(),
                "binlog_row_image",
                Severity::Blocks,
            ),
            (
                |server| server.log.storage_engine = Some("innodb".to_owned()),
                "binlog_storage_engine",
                Severity::Blocks,
            ),
            (
                |server| server.log.full_metadata = false,
                "binlog_row_metadata",
                Severity::Warning,
            ),
            (
                |server| server.log.expire_s = Some(3_600),
                "log_expires_soon",
                Severity::Warning,
            ),
            (|server| server.log.sync_every = 0, "log_durability", Severity::Warning),
            (
                |server| server.flush_log_at_commit = 2,
                "log_durability",
                Severity::Warning,
            ),
            (|server| server.log.checksum = false, "no_checksum", Severity::Note),
            (|server| server.log.partial_json = true, "partial_json", Severity::Note),
            (
                |server| server.log.order_commits = false,
                "commit_order",
                Severity::Note,
            ),
            (|server| server.gtids = None, "gtid_mode", Severity::Note),
        ] {
            let findings = log(change);
            assert_eq!(codes(&findings), [code]);
            assert_eq!(findings[0].severity, severity, "{code}");
        }
        assert_eq!(codes(&log(|_| {})), [""; 0]);
    }

    #[test]
    fn without_a_log_nothing_else_about_it_matters() {
        let findings = log(|server| {
            server.log.enabled = false;
            server.log.format = "STATEMENT".to_owned();
            server.server_id = 0;
        });
        assert_eq!(codes(&findings), ["log_bin"]);
    }

    #[test]
    fn statements_are_those_of_the_version() {
        assert!(
            log(|server| server.log.sync_every = 0)[0]
                .remedy
                .starts_with("SET PERSIST sync_binlog = 1")
        );
        let old = log(|server| {
            server.identity = crate::server::Identity::parse("5.6.24").unwrap();
            server.log.expire_s = Some(3_600);
        });
        assert!(
            old[0].remedy.starts_with("SET GLOBAL expire_logs_days = 7"),
            "{}",
            old[0].remedy
        );
        let old = log(|server| {
            server.identity = crate::server::Identity::parse("5.6.24").unwrap();
            server.log.full_metadata = false;
            server.log.has_metadata_setting = false;
        });
        assert_eq!(old[0].severity, Severity::Note);
    }

    #[test]
    fn what_only_a_restart_switches_on_is_said_so() {
        let remedy = |version: &str| {
            let identity = crate::server::Identity::parse(version).unwrap();
            let findings = log(|server| (server.identity, server.gtids) = (identity, None));
            let finding = findings.into_iter().find(|finding| finding.code == "gtid_mode");
            finding.unwrap().remedy
        };
        assert!(remedy("8.0.36").starts_with("SET GLOBAL enforce_gtid_consistency"));
        assert!(remedy("5.6.24").ends_with("and a restart of it"));
    }

    #[test]
    fn filters_block_where_they_hide_what_is_captured() {
        let findings = log(|server| server.log.ignored_schemas = vec!["shop".to_owned()]);
        assert_eq!(
            (codes(&findings), findings[0].severity),
            (vec!["binlog_filter"], Severity::Blocks)
        );
        assert!(
            findings[0].problem.contains("changes of shop"),
            "{}",
            findings[0].problem
        );
        let findings = log(|server| server.log.ignored_schemas = vec!["hr".to_owned()]);
        assert_eq!(
            (codes(&findings), findings[0].severity),
            (vec!["binlog_filter"], Severity::Note)
        );
    }
}
