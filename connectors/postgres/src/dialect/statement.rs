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

    /// Our sessions look names up in no schema of the application's.
    fn default_schema(&self) -> Option<&'static str> {
        Some("public")
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
pub(crate) fn begin(of_query: bool) -> String {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
    if of_query {
        format!("{begin}; {QUERY_SEARCH_PATH}")
    } else {
        begin
    }
}

/// A statement in a transaction of its own, which may write. The table of leases is named without its schema, and so are tables in
/// triggers of the application that our deletions fire.
pub(super) fn writing(statement: &str) -> String {
    format!("BEGIN READ WRITE; {QUERY_SEARCH_PATH}; {statement}; COMMIT")
}

/// A statement that gives a number, with the configuration's queries in it where there are any.
pub(super) fn reading(statement: &str) -> String {
    format!("BEGIN READ ONLY; {QUERY_SEARCH_PATH}; {statement}; COMMIT")
}

/// Keeps a relation from being changed while a page of it is read, from before the state is fixed that the page is of: what is
/// altered between the two would come as no rows at all.
pub(super) fn lock(name: &TableName) -> String {
    format!(
        "LOCK TABLE {} IN ACCESS SHARE MODE",
        qualified(&name.schema, &name.table)
    )
}

/// A statement whose columns are those of a query.
pub(super) fn answer(query: &str) -> String {
    format!("SELECT * FROM ({query}\n) AS answer")
}

/// `COPY` of a part of a page: first the cursor columns as text, as far as the cursor keeps text, then the columns. An `ORDER BY`
/// means a column of the answer rather than one of the table, so none of ours may be called like the table's.
pub(crate) fn copy(plan: &RowPlan<'_>, statement: &Statement, limit: Option<u32>) -> String {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tailrace_core::schema::{Column, TableKind, TableSchema};
    use tailrace_sql::cursor::Cursor;
    use tailrace_sql::statement::{by_id, by_time};
    use tailrace_sql::{DiscoveredTable, PolledTable, QueryConfig, QueryMode};

    use super::*;
    use crate::type_catalog::{ColumnType, TypeCatalog};

    const UUID: u32 = 2950;
    const MONEY: u32 = 790;
    const TIMESTAMPTZ: u32 = 1184;
    const BIGINT: u32 = 20;

    fn polled(mode: QueryMode, types: &[(&str, u32)]) -> (PolledTable, Vec<ColumnType>) {
        let catalog = TypeCatalog::builtin();
        let kinds: Vec<ColumnType> = types.iter().map(|(_, oid)| catalog.column(*oid, -1)).collect();
        let column = |((name, _), kind): (&(&str, u32), &ColumnType)| Column {
            nullable: false,
            source_type: kind.source_type.clone(),
            ..Column::new(*name, kind.logical_type.clone())
        };
        let schema = TableSchema {
            name: TableName {
                database: "shop".to_owned(),
                schema: "public".to_owned(),
                table: "od\"d".to_owned(),
            },
            kind: TableKind::Table,
            columns: types.iter().zip(&kinds).map(column).collect(),
            key: vec![0],
            documentation: None,
        };
        let table = DiscoveredTable {
            schema: Arc::new(schema),
            generated_id: None,
            unique_columns: vec!["id".to_owned()],
            indexes: Vec::new(),
            query: None,
        };
        let mut config = QueryConfig::new(mode);
        config.timestamp_column = Some("at".to_owned());
        (PolledTable::resolve(table, &config).unwrap(), kinds)
    }

    #[test]
    fn values_stay_in_their_quotes_and_of_their_type() {
        assert_eq!(value(&CursorValue::Integer(i64::MIN)), "'-9223372036854775808'::bigint");
        assert_eq!(value(&CursorValue::Text("it's \\".to_owned())), "'it''s \\'");
        assert_eq!(value(&CursorValue::real(0.5)), "'0.5'::float8");
    }

    #[test]
    fn a_page_by_number() {
        let (table, kinds) = polled(QueryMode::Incrementing, &[("id", BIGINT), ("price", MONEY)]);
        let plan = RowPlan::new(&table, &kinds).unwrap();
        let parts = by_id(&PostgresSyntax, &table, Some(&CursorValue::Integer(17)), Some(20));
        assert_eq!(
            copy(&plan, &parts[0], Some(100)),
            r#"COPY (SELECT "id", CASE WHEN "price" IS DISTINCT FROM NULL THEN pg_catalog.concat("price") END AS "tailrace:column 1" FROM "public"."od""d" WHERE "id" > '17'::bigint AND "id" <= '20'::bigint ORDER BY "id" LIMIT 100) TO STDOUT (FORMAT binary)"#
        );
    }

    #[test]
    fn a_page_by_time_brings_the_cursors_text_along() {
        let (table, kinds) = polled(QueryMode::TimestampIncrementing, &[("id", UUID), ("at", TIMESTAMPTZ)]);
        let plan = RowPlan::new(&table, &kinds).unwrap();
        let after = Cursor {
            id: Some(CursorValue::Text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".to_owned())),
            timestamp: Some(CursorValue::Text("2026-01-31 10:00:00.000001+00".to_owned())),
            ..Cursor::default()
        };
        let parts = by_time(&PostgresSyntax, &table, &after);
        assert_eq!(parts.len(), 2);
        assert_eq!(
            copy(&plan, &parts[0], None),
            r#"COPY (SELECT "id"::text AS "tailrace:cursor 0", "at"::text AS "tailrace:cursor 1", "id", "at" FROM "public"."od""d" WHERE "at" = '2026-01-31 10:00:00.000001+00' AND "id" > 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' ORDER BY "at", "id") TO STDOUT (FORMAT binary)"#
        );
    }

    #[test]
    fn a_timestamp_column_holds_times() {
        let (table, kinds) = polled(QueryMode::TimestampIncrementing, &[("id", BIGINT), ("at", BIGINT)]);
        assert_eq!(
            RowPlan::new(&table, &kinds).unwrap_err().code(),
            "timestamp_column_type"
        );
    }
}
