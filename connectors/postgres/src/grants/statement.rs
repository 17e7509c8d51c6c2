//! The statements that give a role its rights: the same for the preflight, which prints the one that is missing.

use crate::quote::identifier;

/// A right on a database.
pub(crate) fn on_database(privilege: &str, database: &str, role: &str) -> String {
    format!(
        "GRANT {privilege} ON DATABASE {} TO {}",
        identifier(database),
        identifier(role)
    )
}

/// A right on schemas, which are quoted and separated by commas.
pub(crate) fn on_schemas(privilege: &str, schemas: &str, role: &str) -> String {
    format!("GRANT {privilege} ON SCHEMA {schemas} TO {}", identifier(role))
}

/// Rights on tables, which are quoted and separated by commas.
pub(crate) fn on_tables(privileges: &str, tables: &str, role: &str) -> String {
    format!("GRANT {privileges} ON {tables} TO {}", identifier(role))
}

/// The right to mark a row in this column.
pub(crate) fn update_of(column: &str) -> String {
    format!("UPDATE ({})", identifier(column))
}

/// The right to read the log.
pub(crate) fn replication(role: &str) -> String {
    format!("ALTER ROLE {} REPLICATION", identifier(role))
}

/// The right to read tables whole that show a role only some of their rows.
pub(crate) fn bypass_row_security(role: &str) -> String {
    format!("ALTER ROLE {} BYPASSRLS", identifier(role))
}

/// The right to see what other sessions do.
pub(crate) fn read_statistics(role: &str) -> String {
    format!("GRANT pg_read_all_stats TO {}", identifier(role))
}

/// The right to write without triggers and foreign keys (PostgreSQL 15 and later).
pub(crate) fn replication_role(role: &str) -> String {
    format!(
        "GRANT SET ON PARAMETER session_replication_role TO {}",
        identifier(role)
    )
}

/// The rights to mark what is written with a replication origin.
pub(crate) fn origins(role: &str) -> [String; 3] {
    ["create", "oid", "session_setup"].map(|name| {
        format!(
            "GRANT EXECUTE ON FUNCTION pg_replication_origin_{name}(text) TO {}",
            identifier(role)
        )
    })
}

/// The right to change the definition of a table.
pub(crate) fn owner(table: &str, role: &str) -> String {
    format!("ALTER TABLE {table} OWNER TO {}", identifier(role))
}
