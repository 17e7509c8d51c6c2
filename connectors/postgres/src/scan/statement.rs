//! The SQL of a scan. Every name is quoted; nothing else comes from outside but the publication's own row filter.

use crate::discover::{CapturedTable, Heap};
use crate::quote::{identifier, qualified};
use crate::scan::ranges::Claim;

/// `COPY` of one range of one heap: the row's place, then its columns.
pub(super) fn copy_range(table: &CapturedTable, heap: &Heap, claim: &Claim) -> String {
    let from = claim.from.map(|page| format!("ctid >= '({page},0)'::tid"));
    let until = claim.until.map(|page| format!("ctid < '({page},0)'::tid"));
    let conditions = from.into_iter().chain(until);
    copy(
        table,
        "ctid",
        &format!("ONLY {}", qualified(&heap.schema, &heap.name)),
        conditions,
        "",
    )
}

/// `COPY` of a whole table in the order of a column: the heap that the row is in, the row's place, then its columns. Rows without a
/// value come last: they count as updated when the snapshot was taken.
pub(super) fn copy_ordered(table: &CapturedTable, by: &str) -> String {
    let name = &table.schema.name;
    let heaps: Vec<String> = table.heaps.iter().map(|heap| heap.oid.to_string()).collect();
    let condition = format!("tableoid IN ({})", heaps.join(", "));
    let order = format!(" ORDER BY {} NULLS LAST, ctid", identifier(by));
    copy(
        table,
        "tableoid, ctid",
        &qualified(&name.schema, &name.table),
        [condition],
        &order,
    )
}

fn copy(
    table: &CapturedTable,
    place: &str,
    from: &str,
    conditions: impl IntoIterator<Item = String>,
    order: &str,
) -> String {
    let columns = table
        .schema
        .columns
        .iter()
        .zip(&table.columns)
        .map(|(column, captured)| {
            let name = identifier(&column.name);
            let text = captured.kind.copy_as_text.then(|| output_text(&name));
            format!(", {}", text.unwrap_or(name))
        });
    let columns: String = columns.collect();
    let filter = table.row_filter.iter().map(|filter| format!("({filter})"));
    let conditions: Vec<String> = conditions.into_iter().chain(filter).collect();
    let condition = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    format!("COPY (SELECT {place}{columns} FROM {from}{condition}{order}) TO STDOUT (FORMAT binary)")
}

/// A value as the type's output function prints it, which is what the log carries. A cast to `text` prints some types in another way
/// (`inet` with its mask, `character(n)` without its blanks), and `IS NOT NULL` is false for a composite with an empty field.
pub(crate) fn output_text(column: &str) -> String {
    format!("CASE WHEN {column} IS DISTINCT FROM NULL THEN pg_catalog.concat({column}) END")
}

/// Keeps the table from being rewritten or dropped until the snapshot's transaction ends; readers and writers go on.
pub(super) fn lock(heap: &Heap) -> String {
    format!(
        "LOCK TABLE ONLY {} IN ACCESS SHARE MODE",
        qualified(&heap.schema, &heap.name)
    )
}

/// Whether the heap is still the file that the snapshot knows: TRUNCATE and the forms of ALTER TABLE that rewrite the table
/// leave nothing in it that an older snapshot could see (PostgreSQL documentation, "Caveats" of concurrency control).
pub(super) const SAME_FILE: &str =
    "SELECT c.relfilenode = pg_catalog.pg_relation_filenode(c.oid) FROM pg_catalog.pg_class c WHERE c.oid = $1";

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

    fn range(from: Option<u64>, until: Option<u64>) -> Claim {
        Claim {
            table: 0,
            heap: Some(0),
            from,
            until,
        }
    }

    #[test]
    fn ranges_are_open_at_the_ends() {
        let table = table();
        let statement = |from, until| copy_range(&table, &table.heaps[0], &range(from, until));
        let select = r#"SELECT ctid, "id", "note" FROM ONLY "public"."od""d""#;
        assert_eq!(
            statement(None, None),
            format!("COPY ({select}) TO STDOUT (FORMAT binary)")
        );
        assert_eq!(
            statement(Some(8), Some(16)),
            format!("COPY ({select} WHERE ctid >= '(8,0)'::tid AND ctid < '(16,0)'::tid) TO STDOUT (FORMAT binary)")
        );
    }

    #[test]
    fn filters_and_texts() {
        let mut table = table();
        table.row_filter = Some("a OR b".to_owned());
        table.columns[1].kind.copy_as_text = true;
        let statement = copy_range(&table, &table.heaps[0], &range(None, Some(16)));
        let text = r#", CASE WHEN "note" IS DISTINCT FROM NULL THEN pg_catalog.concat("note") END FROM"#;
        assert!(statement.contains(text), "{statement}");
        assert!(
            statement.contains("WHERE ctid < '(16,0)'::tid AND (a OR b))"),
            "{statement}"
        );
    }

    #[test]
    fn ordered_scans_say_which_heap_a_row_is_in() {
        let statement = copy_ordered(&table(), "note");
        let expected = r#"COPY (SELECT tableoid, ctid, "id", "note" FROM "public"."od""d" WHERE tableoid IN (7) ORDER BY "note" NULLS LAST, ctid) TO STDOUT (FORMAT binary)"#;
        assert_eq!(statement, expected);
    }
}
