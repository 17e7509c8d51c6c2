//! Ranges of a primary key, written as literals that mean exactly the key's values.
//!
//! A key of several columns is compared column by column, because servers before MySQL 8 read the whole table for a comparison of rows:
//! `(a >= x AND (a > x OR (b > y)))`. Character columns are compared with literals in their own character set, given in hexadecimal, so that neither
//! the connection's character set nor its collation takes part.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tailrace_core::Result;

use crate::column_type::{ColumnType, TypeKind};
use crate::error::query_error;
use crate::quote::{binary, identifier, qualified};
use crate::table::TableDefinition;

/// Part of a table, by its key. Values are literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    /// The key that the range before ended with; `None` from the first.
    pub(crate) after: Option<Vec<String>>,
    /// The last key of the range; `None` to the last of the table.
    pub(crate) until: Option<Vec<String>>,
}

/// A primary key whose values can be written as literals.
#[derive(Debug)]
pub(crate) struct RangeKey {
    /// The table, quoted.
    table: String,
    columns: Vec<KeyColumn>,
}

#[derive(Debug)]
struct KeyColumn {
    /// Quoted.
    name: String,
    form: LiteralForm,
}

/// How a value of the text protocol becomes a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LiteralForm {
    /// Digits stand for themselves.
    Number,
    /// Dates and times in quotes.
    Quoted,
    /// Bytes in hexadecimal.
    Hexadecimal,
    /// Characters in hexadecimal with the character set before them.
    Characters(String),
}

// === impl RangeKey ===

impl RangeKey {
    /// `None` where the table has no key, or where one of its columns has no literal that means exactly its values.
    pub(crate) fn of(definition: &TableDefinition) -> Option<Self> {
        let column = |index: &usize| {
            let column = definition.columns.get(*index)?;
            Some(KeyColumn {
                name: identifier(&column.name),
                form: LiteralForm::of(&column.column_type)?,
            })
        };
        let columns: Vec<KeyColumn> = definition.key.iter().map(column).collect::<Option<_>>()?;
        (!columns.is_empty()).then(|| Self {
            table: qualified(&definition.schema, &definition.table),
            columns,
        })
    }

    /// The key that is so many rows after another; `None` where fewer are left.
    pub(crate) async fn end_of_range(
        &self,
        connection: &mut Conn,
        after: Option<&[String]>,
        rows: u64,
    ) -> Result<Option<Vec<String>>> {
        let query = format!(
            "SELECT {names} FROM {table}{condition} ORDER BY {names} LIMIT 1 OFFSET {offset}",
            names = self.names(),
            table = self.table,
            condition = after.map_or_else(String::new, |after| format!(" WHERE {}", self.beyond(after, ">"))),
            offset = rows.saturating_sub(1),
        );
        let row: Option<Row> = connection
            .query_first(query)
            .await
            .map_err(|error| query_error(&error, &format!("look for the ranges of {}", self.table)))?;
        Ok(row.and_then(|row| self.literals(&row.unwrap())))
    }

    /// The condition of a range, with `WHERE`; empty for all rows.
    pub(crate) fn condition(&self, range: &KeyRange) -> String {
        let after = range.after.as_ref().map(|key| self.beyond(key, ">"));
        let until = range.until.as_ref().map(|key| self.beyond(key, "<="));
        let both: Vec<String> = after.into_iter().chain(until).collect();
        if both.is_empty() {
            return String::new();
        }
        format!(" WHERE {}", both.join(" AND "))
    }

    /// The columns, for `ORDER BY`.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }

    /// Keys on one side of another: `>`, or `<=`.
    fn beyond(&self, key: &[String], comparison: &str) -> String {
        let mut pairs = self.columns.iter().zip(key).rev();
        let Some((last, value)) = pairs.next() else {
            return "TRUE".to_owned();
        };
        let strict = comparison.trim_end_matches('=');
        let innermost = format!("{} {comparison} {value}", last.name);
        pairs.fold(innermost, |inner, (column, value)| {
            let name = &column.name;
            format!("({name} {strict}= {value} AND ({name} {strict} {value} OR ({inner})))")
        })
    }

    /// The values of the key's columns, as they are stored, as literals.
    pub(crate) fn literals(&self, values: &[Value]) -> Option<Vec<String>> {
        let pairs = self.columns.iter().zip(values);
        pairs
            .map(|(column, value)| match value {
                Value::Bytes(bytes) => column.form.literal(bytes),
                _ => None,
            })
            .collect()
    }
}

// === impl LiteralForm ===

impl LiteralForm {
    fn of(column_type: &ColumnType) -> Option<Self> {
        match &column_type.kind {
            TypeKind::Integer { .. } | TypeKind::Decimal { .. } | TypeKind::Year => Some(Self::Number),
            TypeKind::Date | TypeKind::DateTime { .. } | TypeKind::Timestamp { .. } | TypeKind::Time { .. } => {
                Some(Self::Quoted)
            }
            TypeKind::FixedBytes { .. } | TypeKind::Bytes => Some(Self::Hexadecimal),
            TypeKind::Text { charset } => Some(Self::Characters(charset.name().to_owned())),
            // Compared by their numbers, not by their texts; or as approximations.
            _ => None,
        }
    }

    fn literal(&self, value: &[u8]) -> Option<String> {
        let text = || std::str::from_utf8(value).ok();
        match self {
            Self::Number => text().map(str::to_owned),
            Self::Quoted => text().map(|text| format!("'{text}'")),
            Self::Hexadecimal => Some(binary(value)),
            Self::Characters(charset) => Some(format!("_{charset} {}", binary(value))),
        }
    }
}
