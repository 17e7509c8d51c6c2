//! The SQL of a window. Names and values are quoted; conditions come from the configuration alone.

use tailrace_core::{Error, Result};
use tokio_postgres::Row;

use crate::discover::CapturedTable;
use crate::quote::{identifier, literal, qualified};
use crate::scan::statement::output_text;

/// The snapshot that this transaction reads under, and the time.
pub(super) const SNAPSHOT: &str = "SELECT pg_catalog.pg_current_snapshot()::text, \
     (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint";

/// A table by its qualified name.
pub(super) const FIND: &str = "SELECT c.oid, n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE pg_catalog.concat(n.nspname, '.', c.relname) = $1 AND c.relkind IN ('r', 'p')";

/// A message in a transaction of its own: its record, and with the commit the log is flushed.
pub(super) const MARK: &str = "SELECT pg_catalog.pg_logical_emit_message(true, $1::text, ''::text)::text";

/// Begins to read rows: the table is held before the snapshot is taken, because what is rewritten in between would have no rows in it.
pub(super) fn begin(table: &str) -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {table} IN ACCESS SHARE MODE")
}

/// Rows of a table behind a key.
pub(super) struct KeyRange<'a> {
    table: &'a CapturedTable,
    /// Quoted names of the key's columns, and their types.
    columns: Vec<(String, String)>,
    after: Option<Vec<String>>,
    condition: Option<&'a str>,
}

// === impl KeyRange ===

impl<'a> KeyRange<'a> {
    /// Behind a cursor of [`cursor`], where there is one.
    pub(super) fn new(table: &'a CapturedTable, after: Option<&str>, condition: Option<&'a str>) -> Result<Self> {
        let key = table.schema.key_columns();
        let columns: Vec<_> = key
            .map(|column| (identifier(&column.name), column.source_type.clone()))
            .collect();
        let after: Option<Vec<String>> = after.map(serde_json::from_str).transpose().map_err(|error| {
            let message = "the stored place in a table cannot be read; give the snapshot up and ask for it again";
            Error::definite("snapshot_cursor", message).with_source(error)
        })?;
        if after.as_ref().is_some_and(|after| after.len() != columns.len()) {
            let message = format!(
                "the key of {} is another than when the snapshot came there; ask for the table again",
                table.schema.name.qualified()
            );
            return Err(Error::definite("snapshot_cursor", message));
        }
        Ok(Self {
            table,
            columns,
            after,
            condition,
        })
    }

    /// Not every row of the table comes, so that counting rows does not say where one is.
    fn is_filtered(&self) -> bool {
        self.condition.is_some() || self.table.row_filter.is_some()
    }

    /// Asks for the key that is so many rows on, where rows are left out: a window is to read so many, and not to find so many.
    pub(super) fn end_query(&self, rows: usize) -> Option<String> {
        self.is_filtered().then(|| {
            format!(
                "SELECT {} FROM {}{} ORDER BY {} LIMIT 1 OFFSET {}",
                self.key_texts(),
                self.from(),
                self.place(None),
                self.names(),
                rows.saturating_sub(1)
            )
        })
    }

    /// These were the last rows of the table.
    pub(super) fn is_last(&self, until: Option<&Vec<String>>, rows: usize, limit: usize) -> bool {
        if self.is_filtered() {
            until.is_none()
        } else {
            rows < limit
        }
    }

    /// `COPY` of the rows: the key's values as text, then the columns.
    pub(super) fn copy(&self, until: Option<&[String]>, limit: usize) -> String {
        let columns = self.table.schema.columns.iter().zip(&self.table.columns);
        let columns: String = columns
            .map(|(column, captured)| {
                let name = identifier(&column.name);
                let text = captured.kind.copy_as_text.then(|| output_text(&name));
                format!(", {}", text.unwrap_or(name))
            })
            .collect();
        let limit = if self.is_filtered() {
            String::new()
        } else {
            format!(" LIMIT {limit}")
        };
        format!(
            "COPY (SELECT {}{columns} FROM {}{} ORDER BY {}{limit}) TO STDOUT (FORMAT binary)",
            self.key_texts(),
            self.from(),
            self.conditions(until),
            self.names()
        )
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    fn key_texts(&self) -> String {
        let texts: Vec<String> = self.columns.iter().map(|(name, _)| output_text(name)).collect();
        texts.join(", ")
    }

    /// A table's own rows; those of a partitioned table are in its partitions.
    fn from(&self) -> String {
        let name = &self.table.schema.name;
        let holds_rows = |heap: &crate::discover::Heap| heap.schema == name.schema && heap.name == name.table;
        let only = if self.table.heaps.iter().any(holds_rows) {
            "ONLY "
        } else {
            ""
        };
        format!("{only}{}", qualified(&name.schema, &name.table))
    }

    fn place(&self, until: Option<&[String]>) -> String {
        let parts: Vec<String> = self.bounds(until).collect();
        where_all(&parts)
    }

    fn conditions(&self, until: Option<&[String]>) -> String {
        let filter = self.table.row_filter.iter().map(|filter| format!("({filter}\n)"));
        let condition = self.condition.iter().map(|condition| format!("({condition}\n)"));
        let parts: Vec<String> = self.bounds(until).chain(filter).chain(condition).collect();
        where_all(&parts)
    }

    fn bounds(&self, until: Option<&[String]>) -> impl Iterator<Item = String> {
        let after = self.after.as_deref().map(|key| self.compare(">", key));
        let until = until.map(|key| self.compare("<=", key));
        after.into_iter().chain(until)
    }

    /// By each column's own collation, as its index is.
    fn compare(&self, operator: &str, key: &[String]) -> String {
        let values: Vec<String> = key
            .iter()
            .zip(&self.columns)
            .map(|(value, (_, of_type))| format!("{}::{of_type}", literal(value)))
            .collect();
        format!("({}) {operator} ({})", self.names(), values.join(", "))
    }
}

fn where_all(parts: &[String]) -> String {
    if parts.is_empty() {
        return String::new();
    }
    format!(" WHERE {}", parts.join(" AND "))
}

/// The key that [`KeyRange::end_query`] asked for.
pub(super) fn key_of(row: &Row) -> Result<Vec<String>, tokio_postgres::Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect()
}

/// A key as it is kept.
pub(super) fn cursor(key: &[String]) -> Result<String> {
    serde_json::to_string(key)
        .map_err(|error| Error::definite("snapshot_cursor", "a key cannot be written as JSON").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PostgresConfig;
    use crate::discover::catalog::RelationKind;
    use crate::discover::testing::{discovery, relation};

    fn table() -> CapturedTable {
        let json = r#"{"url": "postgres://u@h/d", "tables": ["*"]}"#;
        let config: PostgresConfig = serde_json::from_str(json).unwrap();
        discovery(&config, vec![relation(7, "od\"d", RelationKind::Table, None)], |_| {})
            .tables
            .remove(0)
    }

    const KEY: &str = r#"CASE WHEN "id" IS DISTINCT FROM NULL THEN pg_catalog.concat("id") END"#;

    #[test]
    fn rows_behind_a_key() {
        let table = table();
        let range = KeyRange::new(&table, Some(r#"["it's"]"#), None).unwrap();
        let of_type = &table.schema.columns[0].source_type;
        assert_eq!(
            range.copy(None, 5),
            format!(
                r#"COPY (SELECT {KEY}, "id", "note" FROM ONLY "public"."od""d" WHERE ("id") > ('it''s'::{of_type}) ORDER BY "id" LIMIT 5) TO STDOUT (FORMAT binary)"#
            )
        );
        assert_eq!(range.end_query(5), None);
        assert!(range.is_last(None, 4, 5) && !range.is_last(None, 5, 5));
    }

    #[test]
    fn rows_that_meet_a_condition_are_read_by_ranges_of_the_key() {
        let table = table();
        let range = KeyRange::new(&table, None, Some("a OR b -- said")).unwrap();
        assert_eq!(
            range.end_query(5).unwrap(),
            format!(r#"SELECT {KEY} FROM ONLY "public"."od""d" ORDER BY "id" LIMIT 1 OFFSET 4"#)
        );
        let copy = range.copy(Some(&["9".to_owned()]), 5);
        assert!(copy.contains("(\"id\") <= ('9'::"), "{copy}");
        assert!(copy.contains(" AND (a OR b -- said\n) ORDER BY \"id\") TO"), "{copy}");
        assert!(range.is_last(None, 0, 5) && !range.is_last(Some(&Vec::new()), 0, 5));
    }

    #[test]
    fn a_cursor_of_another_key_is_refused() {
        let table = table();
        for cursor in ["?", r#"["1", "2"]"#] {
            let refused = KeyRange::new(&table, Some(cursor), None).err().unwrap();
            assert_eq!(refused.code(), "snapshot_cursor", "{cursor}");
        }
    }
}
