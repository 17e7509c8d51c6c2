//! A table that is written into, as SQLite describes it.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::target::{TargetColumn, TargetTable};

use super::error::target_error;
use crate::config::TimestampUnit;
use crate::decode::{declared, literal};

/// One row of `pragma table_xinfo`.
#[derive(Debug, sqlx::FromRow)]
struct ColumnRow {
    name: String,
    #[sqlx(rename = "type")]
    declared: String,
    #[sqlx(rename = "notnull")]
    not_null: bool,
    #[sqlx(rename = "dflt_value")]
    default_text: Option<String>,
    /// From 1, in the key's order; 0 outside the primary key.
    #[sqlx(rename = "pk")]
    key_ordinal: i64,
    /// 2 and 3 for columns that are computed.
    hidden: i64,
}

/// One row of `pragma index_list`, with its columns; none for an expression.
struct Index {
    origin: String,
    partial: bool,
    columns: Vec<Option<String>>,
}

/// Columns and keys as SQLite has them.
struct Described {
    name: String,
    without_rowid: bool,
    columns: Vec<ColumnRow>,
    /// Unique ones.
    indexes: Vec<Index>,
    references: Vec<String>,
}

/// The table; `None` where it is not there.
pub(super) async fn describe(
    connection: &mut SqliteConnection,
    path: &Path,
    table: &str,
) -> Result<Option<TargetTable>> {
    let listed = list(connection, table).await;
    let listed = listed.map_err(|error| target_error(error, path, "look at a table"))?;
    let Some((name, kind, without_rowid)) = listed else {
        return Ok(None);
    };
    if kind != "table" {
        let message = format!("{name} is a {kind}; name the table that its rows are in, under `table` or `tables`");
        return Err(Error::definite("not_a_table", message));
    }
    let described = read(connection, name, without_rowid).await;
    let described = described.map_err(|error| target_error(error, path, "look at a table"))?;
    Ok(Some(put_together(described)))
}

/// Name as it was made, kind, and whether it is WITHOUT ROWID.
async fn list(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<Option<(String, String, bool)>> {
    // SQLite compares names without regard to case.
    let statement = "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE";
    sqlx::query_as(statement).bind(table).fetch_optional(connection).await
}

async fn read(connection: &mut SqliteConnection, name: String, without_rowid: bool) -> sqlx::Result<Described> {
    // `hidden` is 1 for columns of virtual tables that are arguments.
    let statement = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid";
    let columns = sqlx::query_as(statement)
        .bind(&name)
        .fetch_all(&mut *connection)
        .await?;
    let statement = "SELECT name, origin, partial FROM pragma_index_list(?) WHERE \"unique\"";
    let listed: Vec<(String, String, bool)> = sqlx::query_as(statement)
        .bind(&name)
        .fetch_all(&mut *connection)
        .await?;
    let mut indexes = Vec::with_capacity(listed.len());
    for (index, origin, partial) in listed {
        let statement = "SELECT name FROM pragma_index_info(?) ORDER BY seqno";
        let columns = sqlx::query_scalar(statement)
            .bind(&index)
            .fetch_all(&mut *connection)
            .await?;
        indexes.push(Index {
            origin,
            partial,
            columns,
        });
    }
    let statement = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?)";
    let references = sqlx::query_scalar(statement)
        .bind(&name)
        .fetch_all(&mut *connection)
        .await?;
    Ok(Described {
        name,
        without_rowid,
        columns,
        indexes,
        references,
    })
}

fn name(table: &str) -> TableName {
    TableName {
        database: String::new(),
        schema: String::new(),
        table: table.to_owned(),
    }
}

fn put_together(table: Described) -> TargetTable {
    let mut key: Vec<(i64, usize)> = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, row)| row.key_ordinal > 0)
        .map(|(index, row)| (row.key_ordinal, index))
        .collect();
    key.sort_unstable();
    let has_own_index = table.indexes.iter().any(|index| index.origin == "pk");
    // An INTEGER PRIMARY KEY is the rowid by another name, and is numbered where it is left out.
    let is_rowid = |row: &ColumnRow| {
        key.len() == 1
            && row.key_ordinal > 0
            && !table.without_rowid
            && !has_own_index
            && row.declared.eq_ignore_ascii_case("INTEGER")
    };
    let never_null = |row: &ColumnRow| row.not_null || is_rowid(row) || (table.without_rowid && row.key_ordinal > 0);
    let columns = table.columns.iter().map(|row| TargetColumn {
        type_name: row.declared.split('(').next().unwrap_or_default().trim().to_owned(),
        is_generated: row.hidden > 1,
        is_identity_always: false,
        may_be_left_out: !never_null(row) || row.default_text.is_some() || is_rowid(row),
    });
    let columns = columns.collect();
    let schema_columns: Vec<Column> = table.columns.iter().map(|row| column(row, !never_null(row))).collect();
    let mut unique_keys = Vec::new();
    let mut has_other_unique_index = false;
    for index in table.indexes.iter().filter(|index| index.origin != "pk") {
        let place = |name: &Option<String>| {
            let name = name.as_deref()?;
            schema_columns.iter().position(|column| column.name == name)
        };
        match index.columns.iter().map(place).collect::<Option<Vec<usize>>>() {
            Some(columns) if !index.partial => unique_keys.push(columns),
            _ => has_other_unique_index = true,
        }
    }
    let is_itself = |other: &String| other.eq_ignore_ascii_case(&table.name);
    TargetTable {
        schema: Arc::new(TableSchema {
            name: name(&table.name),
            kind: TableKind::Table,
            columns: schema_columns,
            key: key.iter().map(|(_, index)| *index).collect(),
            documentation: None,
        }),
        columns,
        unique_keys,
        has_other_unique_index,
        references_itself: table.references.iter().any(is_itself),
        references: table
            .references
            .iter()
            .filter(|other| !is_itself(other))
            .map(|other| name(other))
            .collect(),
    }
}

fn column(row: &ColumnRow, nullable: bool) -> Column {
    let logical_type = declared::logical_type(&row.declared);
    let default = row.default_text.as_deref();
    Column {
        name: row.name.clone(),
        default: default.and_then(|text| literal::default_value(text, &logical_type, TimestampUnit::default())),
        logical_type,
        nullable,
        source_type: row.declared.clone(),
        default_is_computed: false,
        documentation: None,
    }
}
