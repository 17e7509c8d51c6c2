//! What an administrator runs so that the user of a URL may do what Tailrace does with it, and nothing more.
//!
//! Printed without a connection, before there is the user. The statements are those that the preflight prints where a right is missing.

mod matched;
mod sink;
mod source;
pub(crate) mod statement;

use tailrace_core::Result;
use tailrace_core::grants::{Language, PASSWORD, Script};
use tailrace_core::schema::TableName;
use tailrace_sql::grants::names_of;

pub(crate) use self::matched::Matched;
pub(crate) use self::sink::{of_sink, privileges, table_named};
pub(crate) use self::source::{of_change_tables, of_source};
use crate::config::MySqlConfig;
use crate::endpoint::{Access, Endpoint};
use crate::quote::literal;
use crate::server::Flavour;

/// The user of a URL, who may come from anywhere.
struct Target {
    flavour: Flavour,
    /// As a statement names it.
    user: String,
    endpoint: Endpoint,
}

// === impl MySqlConfig ===

impl MySqlConfig {
    /// The names of what is captured, which topics are made of: `*` and `?` stand in them for what only the database knows.
    ///
    /// # Errors
    /// Definite, where `tables` cannot be read.
    pub fn names(&self) -> Result<Vec<TableName>> {
        Ok(names_of(&self.patterns()?, self.query.as_ref(), ""))
    }
}

// === impl Target ===

impl Target {
    /// The password is not looked at: its file may be made after the user.
    fn of<'a>(access: impl Into<Access<'a>>, flavour: Flavour) -> Result<Self> {
        let endpoint = Endpoint::resolve(access.into().without_password())?;
        Ok(Self {
            flavour,
            user: statement::user(&endpoint.user, "%"),
            endpoint,
        })
    }

    /// The user may log in.
    fn begin(&self) -> Script {
        let name = match self.flavour {
            Flavour::MySql => "MySQL",
            Flavour::MariaDb => "MariaDB",
        };
        let place = format!(
            "{name} at {}, user {}: to be run by an administrator.",
            self.endpoint.server(),
            self.user
        );
        let mut script = Script::new(Language::Sql, place);
        script.needed(
            format!(
                "The user. Put its password in the place of {PASSWORD}, and where Tailrace always comes from one host, that host in the place of %, \
                 here and below."
            ),
            [format!(
                "CREATE USER {} IDENTIFIED BY {}",
                self.user,
                literal(PASSWORD)
            )],
        );
        script
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tailrace_sql::sink::SinkRules;

    use super::*;
    use crate::sink::MySqlSinkConfig;

    fn config(more: &str) -> MySqlConfig {
        let json = format!(r#"{{"url": "mysql://tailrace:secret@db.example/", "tables": ["my_shop.orders"] {more}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    /// The lines that are run, but for the user.
    fn lines(script: &Script) -> Vec<String> {
        let text = script.text("Connector orders.", &mut BTreeSet::new());
        assert!(!text.contains("secret"), "{text}");
        let run = text.lines().filter(|line| !line.is_empty() && !line.starts_with("--"));
        let mut run: Vec<String> = run.map(str::to_owned).collect();
        assert_eq!(run.remove(0), "CREATE USER `tailrace`@`%` IDENTIFIED BY '<password>';");
        run
    }

    fn source(more: &str, flavour: Flavour) -> Vec<String> {
        lines(&of_source(&config(more), flavour).unwrap())
    }

    #[test]
    fn a_log_takes_replication_reading_and_a_lock() {
        assert_eq!(
            source("", Flavour::MySql),
            [
                "GRANT REPLICATION SLAVE ON *.* TO `tailrace`@`%`;",
                "GRANT REPLICATION CLIENT ON *.* TO `tailrace`@`%`;",
                "GRANT SELECT ON `my_shop`.`orders` TO `tailrace`@`%`;",
                "GRANT LOCK TABLES ON `my\\_shop`.* TO `tailrace`@`%`;",
            ]
        );
        assert_eq!(
            source("", Flavour::MariaDb),
            [
                "GRANT REPLICATION SLAVE ON *.* TO `tailrace`@`%`;",
                "GRANT BINLOG MONITOR ON *.* TO `tailrace`@`%`;",
                "GRANT SLAVE MONITOR ON *.* TO `tailrace`@`%`;",
                "GRANT SELECT ON `my_shop`.`orders` TO `tailrace`@`%`;",
            ]
        );
    }

    #[test]
    fn polling_takes_what_its_mode_does() {
        let polled = |query: &str, flavour| {
            source(&format!(r#", "query": {query}"#), flavour)
                .split_off(1)
                .join(" ")
        };
        assert_eq!(polled(r#"{"mode": "bulk"}"#, Flavour::MySql), "");
        let ids = polled(r#"{"mode": "incrementing"}"#, Flavour::MySql);
        for newer in [
            "/*!50703 GRANT SELECT ON performance_schema.metadata_locks TO `tailrace`@`%` */;",
            "/*!80000 GRANT XA_RECOVER_ADMIN ON *.* TO `tailrace`@`%` */;",
        ] {
            assert!(ids.contains(newer), "{ids}");
        }
        assert!(!ids.contains("PROCESS"), "{ids}");
        let ids = polled(r#"{"mode": "incrementing"}"#, Flavour::MariaDb);
        assert!(ids.contains("SLAVE MONITOR") && ids.contains("PROCESS"), "{ids}");
        assert!(!ids.contains("/*!"), "{ids}");
        let marked = polled(
            r#"{"mode": "queue", "acknowledge": {"mark": "done_at"}, "lease": {"table": "my_shop.turns"}}"#,
            Flavour::MySql,
        );
        assert_eq!(
            marked,
            "GRANT UPDATE (`done_at`) ON `my_shop`.`orders` TO `tailrace`@`%`; \
             GRANT SELECT, INSERT, UPDATE ON `my_shop`.`turns` TO `tailrace`@`%`;"
        );
    }

    /// The rights that are written out, but for those on the log, and those that queries answer.
    fn of_patterns(tables: &str) -> (Vec<String>, Vec<String>) {
        let json = format!(r#"{{"url": "mysql://tailrace@db.example/", {tables}}}"#);
        let script = of_source(&serde_json::from_str(&json).unwrap(), Flavour::MySql).unwrap();
        let run = lines(&script).into_iter().filter(|line| !line.contains("REPLICATION"));
        let (queries, grants) = run.partition(|line| line.starts_with("SELECT CONCAT("));
        (grants, queries)
    }

    #[test]
    fn what_is_left_out_is_not_granted() {
        let lock = "GRANT LOCK TABLES ON `shop`.* TO `tailrace`@`%`;";
        let (grants, queries) = of_patterns(r#""tables": ["shop.*"], "exclude": ["shop.cards"]"#);
        assert_eq!(grants, [lock]);
        assert!(
            queries.len() == 1 && queries[0].contains("NOT ((d LIKE 'shop' ESCAPE '|' AND t LIKE 'cards' ESCAPE '|'))"),
            "{queries:?}"
        );
        let (grants, queries) = of_patterns(r#""tables": ["shop.*"], "exclude": ["crm.cards"]"#);
        assert_eq!(grants, ["GRANT SELECT ON `shop`.* TO `tailrace`@`%`;", lock]);
        assert!(queries.is_empty(), "{queries:?}");
    }

    #[test]
    fn rows_are_changed_in_no_other_table_than_is_meant() {
        for acknowledge in ["\"delete\"", r#"{"mark": "done_at"}"#] {
            for (tables, reads) in [("shop.queue_*", 1), ("*.queue_*", 0)] {
                let (grants, queries) = of_patterns(&format!(
                    r#""tables": ["{tables}"], "query": {{"mode": "queue", "acknowledge": {acknowledge}}}"#
                ));
                let reading = grants.iter().all(|grant| grant.starts_with("GRANT SELECT ON `shop`.*"));
                assert!(reading && grants.len() == reads, "{grants:?}");
                assert_eq!(queries.len(), 2 - reads, "{queries:?}");
                let right = queries.last().unwrap();
                assert!(
                    right.contains("'GRANT DELETE ON `'") || right.contains("'GRANT UPDATE (`done_at`) ON `'"),
                    "{right}"
                );
                assert!(right.contains("NOT IN ('mysql', "), "{right}");
            }
        }
        let read = r#"{"shop.queue_log": {"mode": "bulk"}}"#;
        let (_, queries) = of_patterns(&format!(
            r#""tables": ["shop.queue_*"], "query": {{"mode": "queue", "overrides": {read}}}"#
        ));
        assert!(
            queries[0].contains("NOT ((d LIKE 'shop' ESCAPE '|' AND t LIKE 'queue|_log' ESCAPE '|'))"),
            "{queries:?}"
        );
    }

    #[test]
    fn change_tables_are_read_and_triggers_seen() {
        let config = config(r#", "query": {"mode": "queue"}"#);
        let script = of_change_tables(&config, Flavour::MySql, "orders").unwrap();
        assert_eq!(
            lines(&script),
            [
                "GRANT SELECT, TRIGGER ON `my_shop`.`orders` TO `tailrace`@`%`;",
                "GRANT SELECT ON `my_shop`.`tailrace_changes_orders` TO `tailrace`@`%`;",
                "GRANT DELETE ON `my_shop`.`tailrace_changes_orders` TO `tailrace`@`%`;",
            ]
        );
    }

    #[test]
    fn a_sink_takes_what_its_mode_writes() {
        let sink = |write: &str, topic: &str| {
            let json = r#"{"url": "mysql://tailrace@db.example/my_shop"}"#;
            let config: MySqlSinkConfig = serde_json::from_str(json).unwrap();
            let rules = SinkRules::new(serde_json::from_str(write).unwrap()).unwrap();
            let script = of_sink(&config, &rules, Flavour::MySql, &[topic.to_owned()]).unwrap();
            lines(&script).join("\n")
        };
        let plain = sink("{}", "legacy.orders");
        assert!(
            plain.starts_with("CREATE TABLE IF NOT EXISTS `my_shop`.`tailrace_offsets` ("),
            "{plain}"
        );
        assert!(
            plain.ends_with("GRANT SELECT, INSERT, UPDATE, DELETE ON `my_shop`.`orders` TO `tailrace`@`%`;"),
            "{plain}"
        );
        let soft = sink(
            r#"{"deletes": "soft", "soft_delete_column": "gone", "evolve": "add"}"#,
            "legacy.*",
        );
        assert!(
            soft.ends_with("GRANT SELECT, INSERT, UPDATE, CREATE, ALTER ON `my\\_shop`.* TO `tailrace`@`%`;"),
            "{soft}"
        );
    }
}
