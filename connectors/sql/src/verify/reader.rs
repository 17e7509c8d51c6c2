//! Rows of one table: the next ones in the order of its key, or those of given keys.

use std::sync::Arc;

use tailrace_core::batch::{ChangeBatch, RowView};
use tailrace_core::ports::Budget;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, SharedSchema};
use tailrace_core::value::LogicalType;
use tailrace_core::{Error, Result};

use super::canonical::{self, Form};
use super::pairing::Key;
use crate::config::QueryMode;
use crate::cursor::{Cursor, CursorValue};
use crate::dialect::{Dialect, Fetched, PageRequest, Syntax};
use crate::page::{PageRule, PageWriter};
use crate::plan::PolledTable;
use crate::statement::Statement;

/// Keys that are asked for in one statement: each is a part of its text.
const KEYS_AT_A_TIME: usize = 500;

/// A table that is read.
pub struct TableReader {
    dialect: Box<dyn Dialect>,
    table: PolledTable,
    schema_version: i64,
}

/// A column that rows are found by.
struct KeyColumn {
    index: usize,
    column: Column,
    /// Shorter values may be filled up to so many characters with blanks, or may not.
    filled_to: Option<usize>,
}

// === impl TableReader ===

impl TableReader {
    /// Finds the table with this name among those that the session finds.
    ///
    /// # Errors
    /// Definite `table_missing`; what the database answers.
    pub async fn open(mut dialect: Box<dyn Dialect>, name: &str) -> Result<Self> {
        let discovery = dialect.discover().await?;
        let schema_version = discovery.schema_version;
        let mut tables = discovery.tables.into_iter();
        let Some(table) = tables.find(|table| table.schema.name.table == name) else {
            let message = format!("table {name} is not there any more; is somebody altering it? try again");
            return Err(Error::definite("table_missing", message));
        };
        Ok(Self {
            dialect,
            table: PolledTable {
                table,
                mode: QueryMode::Bulk,
                id_column: None,
                timestamp_column: None,
                delay_us: 0,
                mark_column: None,
                deleted: None,
            },
            schema_version,
        })
    }

    /// Columns and key.
    pub fn schema(&self) -> &SharedSchema {
        &self.table.table.schema
    }

    /// The next rows in the order of these columns, behind the row with these values of them.
    ///
    /// # Errors
    /// Definite `table_altered` where the table is another one than it was; what the database answers.
    pub async fn chunk(&mut self, key: &[usize], after: Option<&Key>, limit: u32) -> Result<ChangeBatch> {
        let mut statement = self.from();
        let columns = self.columns(key)?;
        if let Some(after) = after {
            statement = statement.then(" WHERE ");
            statement = behind(statement, self.dialect.syntax(), &columns, after)?;
        }
        let names: Vec<String> = columns
            .iter()
            .map(|(_, column)| self.dialect.syntax().identifier(&column.name))
            .collect();
        statement = statement.then(format!(" ORDER BY {}", names.join(", ")));
        self.fetch(statement, Some(limit)).await
    }

    /// The rows whose key columns have these values, in any order. `blanks` says for each column how many characters its values may be filled
    /// up to.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn by_keys(
        &mut self,
        key: &[usize],
        blanks: &[Option<usize>],
        keys: &[&Key],
    ) -> Result<Vec<ChangeBatch>> {
        let columns: Vec<KeyColumn> = self
            .columns(key)?
            .into_iter()
            .zip(blanks.iter().copied().chain(std::iter::repeat(None)))
            .map(|((index, column), filled_to)| KeyColumn {
                index,
                column,
                filled_to,
            })
            .collect();
        let mut batches = Vec::new();
        for keys in keys.chunks(KEYS_AT_A_TIME) {
            let statement = among(self.from(), self.dialect.syntax(), &columns, keys)?;
            batches.push(self.fetch(statement, None).await?);
        }
        Ok(batches)
    }

    /// The values of key columns of a row, as [`Self::chunk`] takes them.
    pub fn key_of(&self, key: &[usize], row: RowView<'_>) -> Option<Key> {
        let of = |index: &usize| {
            let column = self.schema().columns.get(*index)?;
            // With its blanks: whoever stores them compares with them.
            let form = match canonical::form(column, column)? {
                Form::Padded => Form::Written,
                form => form,
            };
            form.of(&column.logical_type, row.get(*index))
        };
        key.iter().map(of).collect()
    }

    fn from(&self) -> Statement {
        Statement::text(format!("FROM {}", self.dialect.syntax().table(&self.schema().name)))
    }

    fn columns(&self, key: &[usize]) -> Result<Vec<(usize, Column)>> {
        let column = |index: &usize| Some((*index, self.schema().columns.get(*index)?.clone()));
        let columns: Option<Vec<_>> = key.iter().map(column).collect();
        columns.ok_or_else(|| altered(&self.table.name()))
    }

    async fn fetch(&mut self, statement: Statement, limit: Option<u32>) -> Result<ChangeBatch> {
        let mut batch = ChangeBatch::new(Arc::from("verify"), Progress::at(Position::new("")));
        let everything = Budget {
            changes: usize::MAX,
            bytes: usize::MAX,
        };
        let mut page = PageWriter::new(&mut batch, &self.table, Cursor::default(), everything, PageRule::Plain);
        let request = PageRequest {
            table: &self.table,
            statements: &[statement],
            limit,
            schema_version: self.schema_version,
        };
        match self.dialect.fetch(request, &mut page).await? {
            Fetched::SchemaChanged => Err(altered(&self.table.name())),
            // A page ends before a row that cannot be read, unless it is the first.
            Fetched::Rows(rows) if usize::try_from(rows) != Ok(batch.changes.len()) => {
                let message = format!(
                    "table {} holds a row with a value that cannot be carried, which the sink or the source would name; correct it, or \
                     leave the table out with --table",
                    self.table.name()
                );
                Err(Error::definite("value_undecodable", message))
            }
            Fetched::Rows(_) => Ok(batch),
        }
    }
}

fn altered(table: &str) -> Error {
    let message = format!("table {table} was altered while it was compared; compare it again");
    Error::definite("table_altered", message)
}

/// `a >= x AND (a > x OR (a = x AND (b > y)))`: the first condition alone is what an index serves.
fn behind(
    mut statement: Statement,
    syntax: &dyn Syntax,
    columns: &[(usize, Column)],
    after: &Key,
) -> Result<Statement> {
    let mut open = 0;
    for (place, ((index, column), value)) in columns.iter().zip(after).enumerate() {
        let name = syntax.identifier(&column.name);
        let value = literal(column, value)?;
        if place + 1 == columns.len() {
            statement = statement.then(format!("{name} > ")).value(*index, &value);
            break;
        }
        statement = statement.then(format!("{name} >= ")).value(*index, &value);
        statement = statement.then(format!(" AND ({name} > ")).value(*index, &value);
        statement = statement.then(format!(" OR ({name} = ")).value(*index, &value);
        statement = statement.then(" AND ");
        open += 2;
    }
    Ok(statement.then(")".repeat(open)))
}

/// `a IN (1, 2)`, or `(a = 1 AND b = 2) OR (a = 1 AND b = 3)`, which every database serves by an index.
fn among(mut statement: Statement, syntax: &dyn Syntax, columns: &[KeyColumn], keys: &[&Key]) -> Result<Statement> {
    statement = statement.then(" WHERE ");
    if let [column] = columns {
        let values = keys.iter().filter_map(|key| key.first());
        return one_of(statement, syntax, column, values);
    }
    for (number, key) in keys.iter().enumerate() {
        statement = statement.then(if number == 0 { "(" } else { " OR (" });
        for (place, (column, value)) in columns.iter().zip(*key).enumerate() {
            statement = statement.then(if place == 0 { "" } else { " AND " });
            statement = match column.filled_to {
                Some(_) => one_of(statement, syntax, column, std::iter::once(value))?,
                None => statement
                    .then(format!("{} = ", syntax.identifier(&column.column.name)))
                    .value(column.index, &literal(&column.column, value)?),
            };
        }
        statement = statement.then(")");
    }
    Ok(statement)
}

/// `a IN (1, 2)`; values that may be filled up with blanks as they are, and filled up: a sink writes what the events have, and not every
/// database overlooks blanks where it compares.
fn one_of<'a>(
    mut statement: Statement,
    syntax: &dyn Syntax,
    KeyColumn {
        index,
        column,
        filled_to,
    }: &KeyColumn,
    values: impl Iterator<Item = &'a String>,
) -> Result<Statement> {
    let mut separator = format!("{} IN (", syntax.identifier(&column.name));
    for value in values {
        let filled = filled_to.map(|length| format!("{value:length$}"));
        for value in [Some(value), filled.as_ref().filter(|filled| *filled != value)] {
            let Some(value) = value else { continue };
            statement = statement.then(separator).value(*index, &literal(column, value)?);
            separator = ", ".to_owned();
        }
    }
    Ok(statement.then(")"))
}

/// A canonical value as a column of this type is compared with.
fn literal(column: &Column, value: &str) -> Result<CursorValue> {
    let source_type = column.source_type.to_ascii_lowercase();
    Ok(match &column.logical_type {
        LogicalType::Boolean | LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 | LogicalType::Year => {
            match value.parse() {
                // A boolean column of PostgreSQL is not compared with numbers, but with '0' and '1'.
                Ok(number) if !source_type.starts_with("bool") => CursorValue::Integer(number),
                _ => CursorValue::Text(value.to_owned()),
            }
        }
        // Each dialect has its own form of bytes.
        LogicalType::Bytes if source_type == "bytea" => CursorValue::Text(format!("\\x{value}")),
        LogicalType::Bytes if source_type.contains("binary") => CursorValue::Text(value.to_owned()),
        // A moment is compared with its time of day, and a date has none; a database that keeps dates as text would find none.
        LogicalType::Date => {
            let date = value.split_once(' ').map_or(value, |(date, _)| date);
            CursorValue::Text(date.to_owned())
        }
        LogicalType::Text(_)
        | LogicalType::Decimal { .. }
        | LogicalType::UnsignedInt64
        | LogicalType::Time { .. }
        | LogicalType::Timestamp { .. }
        | LogicalType::TimestampTz { .. } => CursorValue::Text(value.to_owned()),
        _ => {
            let message = format!(
                "column {} is part of the key and of type {}, by whose values rows are not looked up; give the sink another `key`",
                column.name, column.source_type
            );
            return Err(Error::definite("key_not_comparable", message));
        }
    })
}

#[cfg(test)]
mod tests {
    use tailrace_core::schema::TableName;
    use tailrace_core::value::TextKind;

    use super::super::sample::column;
    use super::*;

    struct Quotes;

    impl Syntax for Quotes {
        fn identifier(&self, name: &str) -> String {
            format!("\"{name}\"")
        }

        fn table(&self, name: &TableName) -> String {
            self.identifier(&name.table)
        }
    }

    fn columns(count: usize) -> Vec<(usize, Column)> {
        let names = ["a", "b", "c"].into_iter().take(count).enumerate();
        names
            .map(|(index, name)| (index, column(name, "bigint", LogicalType::Int64)))
            .collect()
    }

    fn key(values: &[&str]) -> Key {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn text(statement: &Statement) -> String {
        statement.render(|_, value| value.to_string())
    }

    #[test]
    fn rows_behind_a_key_are_asked_for_column_by_column() {
        let behind =
            |count, after: &[&str]| text(&behind(Statement::default(), &Quotes, &columns(count), &key(after)).unwrap());
        assert_eq!(behind(1, &["7"]), r#""a" > 7"#);
        assert_eq!(
            behind(2, &["7", "8"]),
            r#""a" >= 7 AND ("a" > 7 OR ("a" = 7 AND "b" > 8))"#
        );
        assert_eq!(
            behind(3, &["7", "8", "9"]),
            r#""a" >= 7 AND ("a" > 7 OR ("a" = 7 AND "b" >= 8 AND ("b" > 8 OR ("b" = 8 AND "c" > 9))))"#
        );
    }

    fn key_columns(columns: Vec<(usize, Column)>, filled_to: Option<usize>) -> Vec<KeyColumn> {
        let key_column = |(index, column)| KeyColumn {
            index,
            column,
            filled_to,
        };
        columns.into_iter().map(key_column).collect()
    }

    #[test]
    fn keys_with_blanks_are_found_with_them_and_without() {
        let code = || column("code", "character(4)", LogicalType::Text(TextKind::Plain));
        let among = |columns: Vec<(usize, Column)>, keys: &[&Key]| {
            let columns = key_columns(columns, Some(4));
            text(&among(Statement::default(), &Quotes, &columns, keys).unwrap())
        };
        let (short, full) = (key(&["ab"]), key(&["abcd"]));
        assert_eq!(
            among(vec![(0, code())], &[&short, &full]),
            r#" WHERE "code" IN (ab, ab  , abcd)"#
        );
        let both = key(&["ab", "cd"]);
        assert_eq!(
            among(vec![(0, code()), (1, code())], &[&both]),
            r#" WHERE ("code" IN (ab, ab  ) AND "code" IN (cd, cd  ))"#
        );
    }

    #[test]
    fn rows_of_keys_are_asked_for_together() {
        let (one, two) = (key(&["1", "2"]), key(&["3", "4"]));
        let among = |count, keys: &[&Key]| {
            let columns = key_columns(columns(count), None);
            text(&among(Statement::text("FROM t"), &Quotes, &columns, keys).unwrap())
        };
        assert_eq!(among(1, &[&one, &two]), r#"FROM t WHERE "a" IN (1, 3)"#);
        assert_eq!(
            among(2, &[&one, &two]),
            r#"FROM t WHERE ("a" = 1 AND "b" = 2) OR ("a" = 3 AND "b" = 4)"#
        );
    }

    #[test]
    fn values_of_a_key_are_written_as_their_column_is_compared() {
        let literal = |source_type, logical_type, value| literal(&column("k", source_type, logical_type), value);
        let of_text = |text: &str| CursorValue::Text(text.to_owned());
        assert_eq!(
            literal("bigint", LogicalType::Int64, "7").unwrap(),
            CursorValue::Integer(7)
        );
        assert_eq!(literal("boolean", LogicalType::Boolean, "1").unwrap(), of_text("1"));
        assert_eq!(
            literal("tinyint(1)", LogicalType::Boolean, "1").unwrap(),
            CursorValue::Integer(1)
        );
        assert_eq!(
            literal("bytea", LogicalType::Bytes, "00ff").unwrap(),
            of_text("\\x00ff")
        );
        assert_eq!(
            literal("binary(2)", LogicalType::Bytes, "00ff").unwrap(),
            of_text("00ff")
        );
        assert_eq!(
            literal("text", LogicalType::Text(TextKind::Plain), "x").unwrap(),
            of_text("x")
        );
        assert_eq!(
            literal("date", LogicalType::Date, "2024-02-29 00:00:00").unwrap(),
            of_text("2024-02-29")
        );
        assert_eq!(
            literal("date", LogicalType::Date, "infinity").unwrap(),
            of_text("infinity")
        );
        assert_eq!(
            literal("blob", LogicalType::Bytes, "00").unwrap_err().code(),
            "key_not_comparable"
        );
    }
}
