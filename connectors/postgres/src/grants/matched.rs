//! Tables that patterns fit: which those are the database says when the script is run.

use tailrace_core::pattern::TablePattern;
use tailrace_sql::grants::GrantedTables;

use crate::quote::{identifier, literal};

/// Which relations patterns fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Tables that have a log, and the partitions of those that are fitted.
    Logged,
    /// Tables.
    Polled,
}

/// What is done for each of them. Names are arguments of `format`: `%1$I` the schema, `%2$I` the table.
pub(super) struct Matched<'a> {
    pub(super) tables: &'a GrantedTables,
    pub(super) kind: Kind,
    pub(super) role: &'a str,
}

// === impl Matched ===

impl Matched<'_> {
    /// Rights on each of the tables, and on the schemas that they are in.
    pub(super) fn grant(&self, privileges: &str) -> String {
        let role = identifier(self.role);
        let schema = literal(&format!("GRANT USAGE ON SCHEMA %1$I TO {}", doubled(&role)));
        let table = literal(&format!(
            "GRANT {} ON %1$I.%2$I TO {}",
            doubled(privileges),
            doubled(&role)
        ));
        format!(
            "DO $tailrace$\nDECLARE found record;\nBEGIN\n  FOR found IN\n{}\n  LOOP\n    \
             EXECUTE format({schema}, found.nspname);\n    EXECUTE format({table}, found.nspname, found.relname);\n  \
             END LOOP;\nEND\n$tailrace$",
            self.query("    ")
        )
    }

    /// A publication of these tables and of those that are named.
    pub(super) fn publish(&self, publication: &str, options: &str) -> String {
        let named = self
            .tables
            .named
            .iter()
            .map(|(schema, table)| format!("SELECT {}, {}", literal(schema), literal(table)));
        let all: String = named.map(|row| format!("\n    UNION {row}")).collect();
        let begin = literal(&format!("CREATE PUBLICATION {} FOR TABLE ", identifier(publication)));
        let end = literal(&format!(" WITH ({options})"));
        format!(
            "DO $tailrace$\nBEGIN\n  EXECUTE (SELECT {begin}\n    || string_agg(format('ONLY %1$I.%2$I', t.nspname, t.relname), ', ' \
             ORDER BY t.nspname, t.relname) || {end}\n  FROM (\n{}{all}) AS t);\nEND\n$tailrace$",
            self.query("    ")
        )
    }

    fn query(&self, indent: &str) -> String {
        let include = condition(&self.tables.patterns);
        let exclude = match self.tables.exclude.as_slice() {
            [] => String::new(),
            patterns => format!("\n  AND NOT ({})", condition(patterns)),
        };
        let (kinds, partitions) = match self.kind {
            Kind::Logged => (
                "c.relkind IN ('r', 'p') AND c.relpersistence = 'p'",
                " UNION SELECT p.relid FROM fitted, pg_catalog.pg_partition_tree(fitted.oid) AS p",
            ),
            Kind::Polled => ("c.relkind IN ('r', 'p') AND NOT c.relispartition", ""),
        };
        let query = format!(
            "WITH fitted AS (\n  SELECT c.oid::regclass AS oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = \
             c.relnamespace\n  WHERE {kinds}\n  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')\n  \
             AND ({include}){exclude})\nSELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN \
             pg_catalog.pg_namespace n ON n.oid = c.relnamespace\nWHERE c.oid IN (SELECT fitted.oid FROM fitted{partitions})"
        );
        let lines = query.lines().map(|line| format!("{indent}{line}"));
        Vec::from_iter(lines).join("\n")
    }
}

/// As it stands in the first argument of `format`.
fn doubled(text: &str) -> String {
    text.replace('%', "%%")
}

fn condition(patterns: &[TablePattern]) -> String {
    let one = |pattern: &TablePattern| {
        let (schema, table) = pattern.parts();
        let parts = [
            schema.map(|schema| fits("n.nspname", schema)),
            Some(fits("c.relname", table)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("({})", parts.join(" AND "))
    };
    let conditions: Vec<String> = patterns.iter().map(one).collect();
    conditions.join(" OR ")
}

fn fits(column: &str, pattern: &str) -> String {
    let mut like = String::new();
    for character in pattern.chars() {
        match character {
            '*' => like.push('%'),
            '?' => like.push('_'),
            '%' | '_' | '\\' => like.extend(['\\', character]),
            other => like.push(other),
        }
    }
    format!("{column} LIKE {}", literal(&like))
}
