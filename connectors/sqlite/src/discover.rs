//! Tables as SQLite describes them: its pragmas, and the CREATE TABLE text for the one thing that no pragma tells.

use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};
use tailrace_core::Result;
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_sql::config::CustomQuery;
use tailrace_sql::{DiscoveredTable, Discovery, IdGeneration};

use crate::config::SqliteConfig;
use crate::decode::{declared, literal};
use crate::error::classify;

/// One row of `pragma table_xinfo`.
#[derive(Debug, Clone, sqlx::FromRow)]
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
}

/// One row of `pragma index_list`, with its columns.
#[derive(Debug)]
struct Index {
    columns: Vec<String>,
    unique: bool,
    /// The index of a primary key that is not the rowid itself.
    of_primary_key: bool,
    partial: bool,
}

/// A table, before its columns are looked at.
#[derive(Debug, sqlx::FromRow)]
struct TableRow {
    name: String,
    #[sqlx(rename = "wr")]
    without_rowid: bool,
    sql: String,
}

/// The captured tables, by name, as of one moment.
///
/// # Errors
/// What SQLite says.
pub async fn discover(connection: &mut SqliteConnection, config: &SqliteConfig) -> Result<Discovery> {
    read(connection, config)
        .await
        .map_err(|error| classify(error, &config.path))
}

async fn read(connection: &mut SqliteConnection, config: &SqliteConfig) -> sqlx::Result<Discovery> {
    // One read transaction: all answers are of one version of the schema.
    let mut transaction = connection.begin().await?;
    let schema_version = sqlx::query_scalar("PRAGMA schema_version")
        .fetch_one(&mut *transaction)
        .await?;
    let mut tables = Vec::new();
    for table in all_tables(&mut transaction).await? {
        if config.captures(&table.name) {
            tables.push(describe(&mut transaction, &table, config).await?);
        }
    }
    transaction.rollback().await?;
    for (name, query) in &config.query.queries {
        tables.push(describe_query(connection, name, query, config).await?);
    }
    Ok(Discovery { schema_version, tables })
}

/// The columns of a query's answer. A temporary view has them with the types that SQLite traces back to the tables' columns; it is
/// of this connection alone, and nothing of it is in the file.
async fn describe_query(
    connection: &mut SqliteConnection,
    name: &str,
    query: &CustomQuery,
    config: &SqliteConfig,
) -> sqlx::Result<DiscoveredTable> {
    const VIEW: &str = "tailrace_query";
    let create = format!("CREATE TEMP VIEW {VIEW} AS {}", query.sql);
    sqlx::query(AssertSqlSafe(create)).execute(&mut *connection).await?;
    let statement = format!(
        "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_xinfo('{VIEW}', 'temp') ORDER BY cid"
    );
    let rows = sqlx::query_as(AssertSqlSafe(statement))
        .fetch_all(&mut *connection)
        .await;
    let drop = format!("DROP VIEW temp.{VIEW}");
    sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await?;
    let rows: Vec<ColumnRow> = rows?;
    let key = query.key.iter();
    let schema = TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: name.to_owned(),
        },
        kind: TableKind::Table,
        key: key
            .filter_map(|key| rows.iter().position(|row| row.name == *key))
            .collect(),
        columns: rows.iter().map(|row| column(name, row, false, config)).collect(),
        documentation: None,
    };
    Ok(DiscoveredTable {
        schema: Arc::new(schema),
        generated_id: None,
        unique_columns: Vec::new(),
        indexes: Vec::new(),
        query: Some(query.sql.clone()),
    })
}

/// Names of all tables, for sentences about patterns that match none.
pub(crate) async fn table_names(connection: &mut SqliteConnection, config: &SqliteConfig) -> Result<Vec<String>> {
    let tables = all_tables(connection)
        .await
        .map_err(|error| classify(error, &config.path))?;
    Ok(tables.into_iter().map(|table| table.name).collect())
}

async fn all_tables(connection: &mut SqliteConnection) -> sqlx::Result<Vec<TableRow>> {
    let statement = "SELECT list.name AS name, list.wr AS wr, made.sql AS sql \
                     FROM pragma_table_list AS list \
                     JOIN sqlite_schema AS made ON made.type = 'table' AND made.name = list.name \
                     WHERE list.schema = 'main' AND list.type = 'table' AND substr(list.name, 1, 7) <> 'sqlite_' \
                     ORDER BY list.name";
    sqlx::query_as(statement).fetch_all(connection).await
}

async fn describe(
    connection: &mut SqliteConnection,
    table: &TableRow,
    config: &SqliteConfig,
) -> sqlx::Result<DiscoveredTable> {
    // `hidden` is 1 for columns of virtual tables that are arguments; 2 and 3 are generated columns, which have values.
    let statement =
        "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid";
    let rows: Vec<ColumnRow> = sqlx::query_as(statement)
        .bind(&table.name)
        .fetch_all(&mut *connection)
        .await?;
    let indexes = indexes(connection, &table.name).await?;
    let key = key_columns(&rows);
    let alias = rowid_alias(table, &rows, &key, &indexes);
    let columns = rows.iter().map(|row| {
        let never_null =
            row.not_null || alias == Some(row.name.as_str()) || (table.without_rowid && row.key_ordinal > 0);
        column(&table.name, row, never_null, config)
    });
    let schema = TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: table.name.clone(),
        },
        kind: TableKind::Table,
        columns: columns.collect(),
        key: key.clone(),
        documentation: None,
    };
    let key_names: Vec<_> = key
        .iter()
        .filter_map(|index| rows.get(*index))
        .map(|row| row.name.clone())
        .collect();
    Ok(DiscoveredTable {
        schema: Arc::new(schema),
        generated_id: alias.map(|name| (name.to_owned(), generation(&table.sql))),
        unique_columns: unique_columns(&key_names, &indexes),
        indexes: orders(&indexes, alias, &key_names, table.without_rowid),
        query: None,
    })
}

fn column(table: &str, row: &ColumnRow, never_null: bool, config: &SqliteConfig) -> Column {
    let configured = config.column_type(table, &row.name);
    let logical_type = configured.map_or_else(|| declared::logical_type(&row.declared), declared::configured);
    let default = row.default_text.as_deref();
    Column {
        name: row.name.clone(),
        default: default.and_then(|text| literal::default_value(text, &logical_type, config.timestamp_unit)),
        logical_type,
        nullable: !never_null,
        source_type: row.declared.clone(),
        default_is_computed: false,
        documentation: None,
    }
}

/// Indexes of the primary key's columns, in the key's order.
fn key_columns(rows: &[ColumnRow]) -> Vec<usize> {
    let in_key = rows.iter().enumerate().filter(|(_, row)| row.key_ordinal > 0);
    let mut key: Vec<_> = in_key.map(|(index, row)| (row.key_ordinal, index)).collect();
    key.sort_unstable();
    key.into_iter().map(|(_, index)| index).collect()
}

/// The column that is another name for the rowid: an INTEGER PRIMARY KEY, which has no index of its own.
fn rowid_alias<'a>(table: &TableRow, rows: &'a [ColumnRow], key: &[usize], indexes: &[Index]) -> Option<&'a str> {
    let [only] = key else {
        return None;
    };
    let row = rows.get(*only)?;
    let indexed = indexes.iter().any(|index| index.of_primary_key);
    let alias = !table.without_rowid && row.declared.eq_ignore_ascii_case("INTEGER") && !indexed;
    alias.then_some(row.name.as_str())
}

async fn indexes(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<Vec<Index>> {
    let statement = "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?)";
    let listed: Vec<(String, bool, String, bool)> = sqlx::query_as(statement)
        .bind(table)
        .fetch_all(&mut *connection)
        .await?;
    let mut indexes = Vec::with_capacity(listed.len());
    for (name, unique, origin, partial) in listed {
        // A column without a name is an expression: what comes after it is of no use to us.
        let statement = "SELECT coalesce(name, '') FROM pragma_index_info(?) ORDER BY seqno";
        let names: Vec<String> = sqlx::query_scalar(statement)
            .bind(&name)
            .fetch_all(&mut *connection)
            .await?;
        indexes.push(Index {
            unique,
            of_primary_key: origin == "pk",
            partial,
            columns: names,
        });
    }
    Ok(indexes)
}

fn unique_columns(key: &[String], indexes: &[Index]) -> Vec<String> {
    let of_key = if let [only] = key { Some(only.clone()) } else { None };
    let single = indexes
        .iter()
        .filter(|index| index.unique && !index.partial)
        .filter_map(|index| match &*index.columns {
            [only] if !only.is_empty() => Some(only.clone()),
            _ => None,
        });
    of_key.into_iter().chain(single).collect()
}

/// The orders in which rows can be read without sorting. Every index of a rowid table ends in the rowid, every index of
/// one without in its key.
fn orders(indexes: &[Index], alias: Option<&str>, key: &[String], without_rowid: bool) -> Vec<Vec<String>> {
    let suffix: Vec<String> = match alias {
        Some(name) => vec![name.to_owned()],
        None if without_rowid => key.to_vec(),
        None => Vec::new(),
    };
    let of_indexes = indexes.iter().filter(|index| !index.partial).map(|index| {
        let missing = suffix.iter().filter(|name| !index.columns.contains(name));
        index.columns.iter().chain(missing).cloned().collect()
    });
    std::iter::once(suffix.clone())
        .chain(of_indexes)
        .filter(|order: &Vec<String>| !order.is_empty())
        .collect()
}

fn generation(create_table: &str) -> IdGeneration {
    if has_autoincrement(create_table) {
        IdGeneration::NeverReused
    } else {
        IdGeneration::AboveExisting
    }
}

/// Looks for the word AUTOINCREMENT outside of strings, quoted names and comments.
fn has_autoincrement(sql: &str) -> bool {
    let mut word = String::new();
    let mut characters = sql.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_alphanumeric() || character == '_' {
            word.push(character.to_ascii_uppercase());
            continue;
        }
        if word == "AUTOINCREMENT" {
            return true;
        }
        word.clear();
        let end: &[char] = match (character, characters.peek()) {
            ('\'', _) => &['\''],
            ('"', _) => &['"'],
            ('`', _) => &['`'],
            ('[', _) => &[']'],
            ('-', Some('-')) => &['\n'],
            ('/', Some('*')) => &['*', '/'],
            _ => continue,
        };
        skip_past(&mut characters, end);
    }
    word == "AUTOINCREMENT"
}

fn skip_past(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, end: &[char]) {
    match end {
        [single] => while characters.next().is_some_and(|next| next != *single) {},
        _ => {
            let mut before = ' ';
            // The star of the opening must not also be that of the end.
            characters.next();
            for next in characters.by_ref() {
                if [before, next] == *end {
                    return;
                }
                before = next;
            }
        }
    }
}

/// An identifier in quotes.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// How many rows of a table have no value in a column.
pub(crate) async fn count_nulls(connection: &mut SqliteConnection, table: &str, column: &str) -> sqlx::Result<i64> {
    let statement = format!("SELECT count(*) FROM {} WHERE {} IS NULL", quote(table), quote(column));
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn autoincrement_is_found_where_it_is_a_keyword() {
        let cases = [
            ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a)", true),
            ("CREATE TABLE t (id integer primary key autoincrement)", true),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY/**/AUTOINCREMENT)", true),
            (
                "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT 'AUTOINCREMENT')",
                false,
            ),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY -- AUTOINCREMENT\n)", false),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY /* AUTOINCREMENT */)", false),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, \"autoincrement\" TEXT)", false),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, [autoincrement] TEXT)", false),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, my_autoincrement TEXT)", false),
            (
                "CREATE TABLE t (a DEFAULT 'it''s', id INTEGER PRIMARY KEY AUTOINCREMENT)",
                true,
            ),
        ];
        for (sql, expected) in cases {
            assert_eq!(has_autoincrement(sql), expected, "{sql}");
        }
    }

    #[test]
    fn quotes_in_names_are_doubled() {
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
    }
}
