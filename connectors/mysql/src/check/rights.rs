//! What our user may do, and what follows for how the snapshot begins.

use tailrace_core::check::{Finding, Severity};
use tailrace_sql::log_config::SnapshotMode;

use super::Facts;
use crate::grants::statement;
use crate::server::{Flavour, ServerFacts, Version};

/// `XA RECOVER` needs a right of its own from here on.
const XA_RECOVER_GUARDED: Version = Version::new(8, 0, 0);

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let server = &facts.server;
    let mut findings = Vec::new();
    findings.extend(superuser(server));
    findings.extend(replication(server));
    if facts.config.snapshot.mode != SnapshotMode::Never {
        findings.extend(reading(facts));
        findings.extend(locking(facts));
        findings.extend(prepared(server));
    }
    findings
}

/// Whoever may do everything may do too much.
pub(crate) fn superuser(server: &ServerFacts) -> Option<Finding> {
    server.grants.is_superuser().then(|| {
        Finding::warning(
            "superuser",
            format!(
                "the user {} may do everything, which capturing does not need",
                server.user
            ),
            "name another user in `url`; `tailrace grants FILE` prints what makes it, with the rights that it needs and no others",
        )
    })
}

/// `tailrace@%` as a statement names it.
pub(crate) fn user(server: &ServerFacts) -> String {
    let (name, host) = server.user.rsplit_once('@').unwrap_or((&server.user, "%"));
    statement::user(name, host)
}

/// Both are rights on the whole server.
fn replication(server: &ServerFacts) -> Option<Finding> {
    let monitor = statement::monitor(server.flavour());
    let mut missing = Vec::new();
    if !server.grants.anywhere(&["REPLICATION SLAVE", "REPLICATION REPLICA"]) {
        missing.push("REPLICATION SLAVE");
    }
    if !server
        .grants
        .anywhere(&["REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"])
    {
        missing.push(monitor);
    }
    (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        Finding::blocks(
            "insufficient_privilege",
            format!(
                "the user {} may not read the binary log: it lacks {missing}",
                server.user
            ),
            format!("{};", statement::everywhere(&missing, &user(server))),
        )
    })
}

/// Tables that our user may not read at all are not shown to it; of these it sees the columns, or may change them.
fn reading(facts: &Facts<'_>) -> Option<Finding> {
    on_tables(&facts.server, "SELECT", &facts.discovery.selection.captured)
}

/// A privilege that is missing on tables.
pub(crate) fn on_tables(server: &ServerFacts, privilege: &str, tables: &[(String, String)]) -> Option<Finding> {
    let missing: Vec<&(String, String)> = tables
        .iter()
        .filter(|(schema, table)| !server.grants.on_table(privilege, schema, table))
        .collect();
    let names: Vec<String> = missing
        .iter()
        .map(|(schema, table)| format!("{schema}.{table}"))
        .collect();
    let grants: Vec<String> = missing
        .iter()
        .map(|(schema, table)| format!("{};", statement::on_table(privilege, schema, table, &user(server))))
        .collect();
    let may_not = match privilege {
        "SELECT" => "read",
        _ => "delete rows of",
    };
    (!missing.is_empty()).then(|| {
        Finding::blocks(
            "insufficient_privilege",
            format!("the user {} may not {may_not} {}", server.user, names.join(", ")),
            grants.join(" "),
        )
    })
}

/// The right to mark rows is missing, in this column and in all.
pub(crate) fn on_column(server: &ServerFacts, schema: &str, table: &str, column: &str) -> Option<Finding> {
    (!server.grants.on_column("UPDATE", schema, table, column)).then(|| {
        let right = statement::update_of(column);
        Finding::blocks(
            "insufficient_privilege",
            format!(
                "the user {} may not set the column {column} of {schema}.{table}, which marks rows that are published",
                server.user
            ),
            format!("{};", statement::on_table(&right, schema, table, &user(server))),
        )
    })
}

/// A snapshot that begins while an XA transaction is prepared does not have its rows: the commit halts the connector then.
fn prepared(server: &ServerFacts) -> Option<Finding> {
    let guarded = server.identity.at_least(Some(XA_RECOVER_GUARDED), None);
    let sees = !guarded || server.grants.is_superuser() || server.grants.anywhere(&["XA_RECOVER_ADMIN"]);
    (!sees).then(|| Finding {
        severity: Severity::Note,
        ..Finding::blocks(
            "prepared_unseen",
            "the user may not see prepared XA transactions: if one is open when the snapshot begins, its commit halts the connector (`xa_unknown`)",
            format!(
                "{}; -- where the application uses XA",
                statement::everywhere("XA_RECOVER_ADMIN", &user(server))
            ),
        )
    })
}

/// Rows and log must meet at one point. Which way that is reached follows from what the user may do.
fn locking(facts: &Facts<'_>) -> Option<Finding> {
    let server = &facts.server;
    let mut captured = facts.discovery.selection.captured.iter();
    let locks_tables = captured.all(|(schema, table)| server.grants.on_table("LOCK TABLES", schema, table));
    if server.flavour() == Flavour::MariaDb {
        let lockable = locks_tables || server.grants.anywhere(&["RELOAD"]);
        return (!lockable && facts.config.snapshot.connections > 1).then(|| {
            Finding::note(
                "snapshot_lock",
                "the snapshot begins without a lock: on a busy server, where no moment without commits comes, one connection alone reads; \
                 with LOCK TABLES on the captured databases all `snapshot.connections` do",
            )
        });
    }
    if locks_tables {
        return None;
    }
    if server.grants.anywhere(&["RELOAD"]) {
        return Some(Finding::note(
            "snapshot_lock",
            "the snapshot begins under a lock of all tables, for a moment (RELOAD); with LOCK TABLES on the captured databases it locks these alone",
        ));
    }
    let schemas: std::collections::BTreeSet<String> = facts
        .discovery
        .selection
        .captured
        .iter()
        .map(|(schema, _)| format!("{};", statement::on_schema("LOCK TABLES", schema, &user(server))))
        .collect();
    let remedy = Vec::from_iter(schemas).join(" ");
    Some(if server.gtids.is_some() && server.identity.names_what_it_shows() {
        Finding::warning(
            "snapshot_lock",
            "the user may lock nothing, so the snapshot begins between two commits: on a busy server that may take many attempts",
            remedy,
        )
    } else {
        Finding::blocks(
            "snapshot_lock",
            "the user may lock nothing, and without GTIDs, or before MySQL 5.7, there is no other way to begin a snapshot at a known place of the log",
            remedy,
        )
    })
}

#[cfg(test)]
mod tests {
    use tailrace_core::check::Severity;

    use super::super::testing::{ORDERS, codes, judged};
    use super::*;
    use crate::server::testing::mariadb;
    use crate::server::{Grants, Identity};

    fn with(grants: &'static [&'static str], json: &str) -> Vec<Finding> {
        judged(judge, json, |facts| {
            facts.server.grants = Grants::parse(grants.iter().copied())
        })
    }

    #[test]
    fn rights_come_with_their_grant() {
        let findings = with(&["GRANT USAGE ON *.* TO `tailrace`@`%`"], ORDERS);
        assert_eq!(
            codes(&findings),
            [
                "insufficient_privilege",
                "insufficient_privilege",
                "snapshot_lock",
                "prepared_unseen"
            ]
        );
        assert_eq!(
            findings[0].remedy,
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `tailrace`@`%`;"
        );
        assert_eq!(findings[1].remedy, "GRANT SELECT ON `shop`.`orders` TO `tailrace`@`%`;");
        assert_eq!(findings[2].remedy, "GRANT LOCK TABLES ON `shop`.* TO `tailrace`@`%`;");
        let unread = with(
            &["GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `tailrace`@`%`"],
            r#""tables": ["shop.orders"], "snapshot": {"mode": "never"}"#,
        );
        assert_eq!(codes(&unread), [""; 0]);
        let all = with(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`"], ORDERS);
        assert_eq!(codes(&all), ["superuser"]);
    }

    #[test]
    fn the_way_into_the_snapshot_is_said() {
        const READER: &str = "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `tailrace`@`%`";
        let severity = |findings: &[Finding]| findings.first().map(|finding| (finding.code, finding.severity));
        let unlocked = with(&[READER], ORDERS);
        assert_eq!(severity(&unlocked), Some(("snapshot_lock", Severity::Warning)));
        let without_gtids = judged(judge, ORDERS, |facts| {
            facts.server.grants = Grants::parse([READER]);
            facts.server.gtids = None;
        });
        assert_eq!(severity(&without_gtids), Some(("snapshot_lock", Severity::Blocks)));
        let oldest = judged(judge, ORDERS, |facts| {
            facts.server.grants = Grants::parse([READER]);
            facts.server.identity = Identity::parse("5.6.24-log").unwrap();
        });
        assert_eq!(severity(&oldest), Some(("snapshot_lock", Severity::Blocks)));
        let tables = with(&[READER, "GRANT LOCK TABLES ON `shop`.* TO `tailrace`@`%`"], ORDERS);
        assert_eq!(severity(&tables), Some(("prepared_unseen", Severity::Note)));
        assert!(
            tables[0]
                .remedy
                .starts_with("GRANT XA_RECOVER_ADMIN ON *.* TO `tailrace`@`%`;")
        );
        let sees = [
            READER,
            "GRANT LOCK TABLES ON `shop`.* TO `tailrace`@`%`",
            "GRANT XA_RECOVER_ADMIN ON *.* TO `tailrace`@`%`",
        ];
        assert_eq!(
            codes(&judged(judge, ORDERS, |facts| facts.server.grants = Grants::parse(sees))),
            [""; 0]
        );
        let mariadb_grants = |connections: u16| {
            let json = format!(r#""tables": ["shop.orders"], "snapshot": {{"connections": {connections}}}"#);
            let findings = judged(judge, &json, |facts| {
                facts.server = mariadb();
                facts.server.grants = Grants::parse([READER]);
            });
            severity(&findings)
        };
        assert_eq!(mariadb_grants(1), None);
        assert_eq!(mariadb_grants(2), Some(("snapshot_lock", Severity::Note)));
    }
}
