//! The SQL of polling that is PostgreSQL's own: how names, values and pages are written.

use tailrace_core::schema::TableName;
use tailrace_sql::{CursorValue, Statement, Syntax};

use super::rows::RowPlan;
use crate::quote::{identifier, literal, qualified};
use crate::scan::statement::output_text;

/// How PostgreSQL writes names.
pub(crate) struct PostgresSyntax;

/// The schema in which names of the configuration's own queries are looked up. Everything else runs with the catalogue's schema
/// alone, so that values of types like `regclass` have the same text as in a snapshot.
const QUERY_SEARCH_PATH: &str = "SET LOCAL search_path = pg_catalog, public";

impl Syntax for PostgresSyntax {
    fn identifier(&self, name: &str) -> String {
        identifier(name)
    }

    fn table(&self, name: &TableName) -> String {
        qualified(&name.schema, &name.table)
    }
}

/// A value as text. Numbers say their type, because the server takes a large one for `numeric`, which no index of a `bigint` serves.
/// All others are of the type of the column that they are compared with: of an unknown literal the server decides so, and a domain
/// or a type of an extension needs no name for it.
fn value(value: &CursorValue) -> String {
    match value {
        CursorValue::Integer(number) => format!("'{number}'::bigint"),
        CursorValue::Text(text) => literal(text),
        CursorValue::Real { real } => format!("{}::float8", literal(real)),
    }
}

/// A statement with its values.
pub(super) fn render(statement: &Statement) -> String {
    statement.render(|_, cursor| value(cursor))
}

/// Begins the transaction of a page. `of_query` says that statements of the configuration are run in it.
pub(super) fn begin(of_query: bool) -> String {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
    if of_query {
        format!("{begin}; {QUERY_SEARCH_PATH}")
    } else {
        begin
    }
}

/// A statement in a transaction of its own, which may write.
pub(super) fn writing(statement: &str) -> String {
    format!("BEGIN READ WRITE; {statement}; COMMIT")
}

/// A statement that gives a number, with the configuration's queries in it where there are any.
pub(super) fn reading(statement: &str) -> String {
    format!("BEGIN READ ONLY; {QUERY_SEARCH_PATH}; {statement}; COMMIT")
}

/// Keeps a relation from being changed while a page of it is read, from before the state is fixed that the page is of: what is
/// altered between the two would come as no rows at all.
pub(super) fn lock(name: &TableName) -> String {
    format!("LOCK TABLE {} IN ACCESS SHARE MODE", qualified(&name.schema, &name.table))
}

/// A statement whose columns are those of a query.
pub(super) fn answer(query: &str) -> String {
    format!("SELECT * FROM (\n{query}\n) AS answer")
}

/// `COPY` of a part of a page: first the cursor columns as text, as far as the cursor keeps text, then the columns. An `ORDER BY`
/// means a column of the answer rather than one of the table, so none of ours may be called like the table's.
pub(super) fn copy(plan: &RowPlan<'_>, statement: &Statement, limit: Option<u32>) -> String {
    let lead = plan
        .lead_columns()
        .enumerate()
        .map(|(index, column)| format!("{}::text AS \"tailrace:cursor {index}\"", identifier(column)));
    let columns = plan.columns().enumerate().map(|(index, (column, kind))| {
        let name = identifier(&column.name);
        match kind.copy_as_text {
            true => format!("{} AS \"tailrace:column {index}\"", output_text(&name)),
            false => name,
        }
    });
    let selected: Vec<String> = lead.chain(columns).collect();
    let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
    format!(
        "COPY (SELECT {} {}{limit}) TO STDOUT (FORMAT binary)",
        selected.join(", "),
        render(statement)
    )
}
