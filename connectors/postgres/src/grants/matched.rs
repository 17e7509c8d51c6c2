//! Tables that patterns fit: which those are the database says when the script is run.

use tailrace_core::pattern::TablePattern;
use tailrace_sql::grants::{GrantedTables, fits};

use crate::quote::{identifier, literal, qualified};

/// What begins and ends the body of a block.
const QUOTE: &str = "tailrace";

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
        block(&format!(
            "DECLARE found record;\nBEGIN\n  FOR found IN\n{}\n  LOOP\n    EXECUTE format({schema}, found.nspname);\n    \
             EXECUTE format({table}, found.nspname, found.relname);\n  END LOOP;\nEND",
            self.query("    ")
        ))
    }

    /// The right to ask the sequences that number their rows. Which those are is in the catalogue alone.
    pub(super) fn grant_sequences(&self) -> String {
        let role = doubled(&identifier(self.role));
        let grant = literal(&format!("GRANT SELECT ON SEQUENCE %s TO {role}"));
        let named = self.tables.named.iter();
        let named = named.map(|(schema, table)| format!("{}::regclass", literal(&qualified(schema, table))));
        let named = Vec::from_iter(named).join(", ");
        let tables = match (self.tables.patterns.as_slice(), named.is_empty()) {
            ([], _) => format!("    SELECT unnest(ARRAY[{named}]) AS oid"),
            (_, true) => self.oids("    "),
            (_, false) => format!("{}\n    UNION SELECT unnest(ARRAY[{named}])", self.oids("    ")),
        };
        block(&format!(
            "DECLARE found regclass;\nBEGIN\n  FOR found IN\n    WITH numbered AS (\n{tables})\n    \
             SELECT s.seqrelid::regclass FROM pg_catalog.pg_sequence s WHERE s.seqrelid IN (\n      \
             SELECT d.objid FROM pg_catalog.pg_depend d JOIN numbered ON d.refobjid = numbered.oid\n        \
             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass\n      \
             UNION SELECT d.refobjid FROM pg_catalog.pg_attrdef a JOIN numbered ON a.adrelid = numbered.oid\n        \
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = a.oid)\n  LOOP\n    \
             EXECUTE format({grant}, found);\n  END LOOP;\nEND"
        ))
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
        block(&format!(
            "BEGIN\n  EXECUTE (SELECT {begin}\n    || string_agg(format('ONLY %1$I.%2$I', t.nspname, t.relname), ', ' \
             ORDER BY t.nspname, t.relname) || {end}\n  FROM (\n{}{all}) AS t);\nEND",
            self.query("    ")
        ))
    }

    /// Schemas and names of the tables that are fitted.
    fn query(&self, indent: &str) -> String {
        self.select("n.nspname::text, c.relname::text", indent)
    }

    /// The same as numbers.
    fn oids(&self, indent: &str) -> String {
        self.select("c.oid", indent)
    }

    fn select(&self, columns: &str, indent: &str) -> String {
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
             AND ({include}){exclude})\nSELECT {columns} FROM pg_catalog.pg_class c JOIN \
             pg_catalog.pg_namespace n ON n.oid = c.relnamespace\nWHERE c.oid IN (SELECT fitted.oid FROM fitted{partitions})"
        );
        let lines = query.lines().map(|line| format!("{indent}{line}"));
        Vec::from_iter(lines).join("\n")
    }
}

/// A statement that runs this. What is in it may have names that look like its end.
fn block(body: &str) -> String {
    let mut quote = QUOTE.to_owned();
    while body.contains(&format!("${quote}$")) {
        quote.push('_');
    }
    format!("DO ${quote}$\n{body}\n${quote}$")
}

/// As it stands in the first argument of `format`.
fn doubled(text: &str) -> String {
    text.replace('%', "%%")
}

fn condition(patterns: &[TablePattern]) -> String {
    let one = |pattern: &TablePattern| {
        let (schema, table) = pattern.parts();
        let parts = [
            schema.map(|schema| fits("n.nspname", schema, literal)),
            Some(fits("c.relname", table, literal)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("({})", parts.join(" AND "))
    };
    let conditions: Vec<String> = patterns.iter().map(one).collect();
    conditions.join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_a_block() {
        assert_eq!(block("BEGIN END"), "DO $tailrace$\nBEGIN END\n$tailrace$");
        let hostile = "$tailrace$; ALTER ROLE eve SUPERUSER; $tailrace_$";
        assert_eq!(block(hostile), format!("DO $tailrace__$\n{hostile}\n$tailrace__$"));
    }
}
