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
            let cast = if captured.kind.copy_as_text { "::text" } else { "" };
            format!(", {}{cast}", identifier(&column.name))
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
