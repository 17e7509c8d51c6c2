//! The statements that give a user its rights: the same for the preflight, which prints the one that is missing.

use tailrace_core::pattern::TablePattern;

use crate::quote::{identifier, literal, qualified};
use crate::server::Flavour;

/// What must be read of it to see who writes to a table.
const INSTRUMENTS: [&str; 3] = ["metadata_locks", "setup_instruments", "setup_consumers"];

/// A user as a statement names it.
pub(crate) fn user(name: &str, host: &str) -> String {
    format!("{}@{}", identifier(name), identifier(host))
}

/// Rights on the whole server.
pub(crate) fn everywhere(privileges: &str, user: &str) -> String {
    format!("GRANT {privileges} ON *.* TO {user}")
}

/// Rights on a table, which need not be there where one of them is CREATE.
pub(crate) fn on_table(privileges: &str, schema: &str, table: &str, user: &str) -> String {
    format!("GRANT {privileges} ON {} TO {user}", qualified(schema, table))
}

/// Rights on all tables of a database.
pub(crate) fn on_schema(privileges: &str, schema: &str, user: &str) -> String {
    format!("GRANT {privileges} ON {}.* TO {user}", schema_alone(schema))
}

/// Rights on what a pattern names: a table, a whole database, or everything.
pub(crate) fn on_pattern(privileges: &str, pattern: &TablePattern, user: &str) -> String {
    let is_name = |part: &&str| !part.is_empty() && !part.contains(['*', '?']);
    match (pattern.exact(), pattern.parts().0.filter(is_name)) {
        (Some((schema, table)), _) => on_table(privileges, schema, table, user),
        (None, Some(schema)) => on_schema(privileges, schema, user),
        (None, None) => everywhere(privileges, user),
    }
}

/// A query whose answers are the same rights on each table that a pattern fits now.
pub(crate) fn on_each_fitting(privileges: &str, pattern: &TablePattern, user: &str) -> String {
    let (schema, table) = pattern.parts();
    let fits = |column: &str, pattern: &str| format!("{column} LIKE {}", literal(&like(pattern)));
    let conditions = [
        schema.map(|schema| fits("TABLE_SCHEMA", schema)),
        Some(fits("TABLE_NAME", table)),
    ];
    let conditions: Vec<String> = conditions.into_iter().flatten().collect();
    format!(
        "SELECT CONCAT({}, TABLE_SCHEMA, '`.`', TABLE_NAME, {}) FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND {}",
        literal(&format!("GRANT {privileges} ON `")),
        literal(&format!("` TO {user};")),
        conditions.join(" AND ")
    )
}

/// What it is called to ask where the log ends.
pub(crate) fn monitor(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "REPLICATION CLIENT",
        Flavour::MariaDb => "BINLOG MONITOR",
    }
}

/// The right to see whether a server replicates from another; of MariaDB since 10.5.9, by the name that is as old.
pub(crate) fn replica_monitor(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "REPLICATION CLIENT",
        Flavour::MariaDb => "SLAVE MONITOR",
    }
}

/// The rights to see who writes to a table.
pub(crate) fn instruments(user: &str) -> [String; 3] {
    INSTRUMENTS.map(|table| format!("GRANT SELECT ON performance_schema.{table} TO {user}"))
}

/// The right to mark a row in this column.
pub(crate) fn update_of(column: &str) -> String {
    format!("UPDATE ({})", identifier(column))
}

/// A database before `.*`, where `_` and `%` would stand for others too.
fn schema_alone(schema: &str) -> String {
    identifier(&schema.replace('_', "\\_").replace('%', "\\%"))
}

fn like(pattern: &str) -> String {
    let mut like = String::new();
    for character in pattern.chars() {
        match character {
            '*' => like.push('%'),
            '?' => like.push('_'),
            '%' | '_' | '\\' => like.extend(['\\', character]),
            other => like.push(other),
        }
    }
    like
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_as_much_as_a_pattern_names() {
        let granted = |text: &str| on_pattern("SELECT", &TablePattern::new(text, None), "u");
        let told = [
            "shop.orders",
            "shop.*",
            "my_shop.order_?",
            "*.orders",
            "orders",
            "\"a.b\".c",
        ]
        .map(granted);
        assert_eq!(
            told,
            [
                "GRANT SELECT ON `shop`.`orders` TO u",
                "GRANT SELECT ON `shop`.* TO u",
                "GRANT SELECT ON `my\\_shop`.* TO u",
                "GRANT SELECT ON *.* TO u",
                "GRANT SELECT ON *.* TO u",
                "GRANT SELECT ON `a.b`.`c` TO u"
            ]
        );
    }
}
