//! The statements that give a user its rights: the same for the preflight, which prints the one that is missing.

use crate::quote::{identifier, qualified};
use crate::server::{Flavour, Version};

/// The right to lock the tables that a user may read.
pub(crate) const LOCK: &str = "LOCK TABLES";
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

/// A statement that servers of MySQL run from a version on, and take for a comment before (manual 9.7, "Comments").
pub(crate) fn since(version: Version, statement: &str) -> String {
    format!("/*!{} {statement} */", version.number())
}

/// The right to mark a row in this column.
pub(crate) fn update_of(column: &str) -> String {
    format!("UPDATE ({})", identifier(column))
}

/// A database before `.*`, where `_` and `%` would stand for others too, and a backslash takes that from what is behind it.
fn schema_alone(schema: &str) -> String {
    let mut alone = String::new();
    for character in schema.chars() {
        if matches!(character, '\\' | '_' | '%') {
            alone.push('\\');
        }
        alone.push(character);
    }
    identifier(&alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_stands_for_itself() {
        let granted = |schema: &str| on_schema("SELECT", schema, "u");
        let told = ["shop", "my_shop", r"a\%b", "a`b"].map(granted);
        assert_eq!(
            told,
            [
                "GRANT SELECT ON `shop`.* TO u",
                r"GRANT SELECT ON `my\_shop`.* TO u",
                r"GRANT SELECT ON `a\\\%b`.* TO u",
                "GRANT SELECT ON `a``b`.* TO u",
            ]
        );
        assert_eq!(user("o'b`x", "%"), "`o'b``x`@`%`");
    }
}
