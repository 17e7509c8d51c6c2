//! How tables are defined: types for the columns of new tables.
//!
//! | event | column |
//! |---|---|
//! | boolean | `BOOLEAN` |
//! | whole numbers to 64 bits, year | `INTEGER` |
//! | single, double precision | `REAL` |
//! | decimal of at most 15 digits | `DECIMAL(p,s)` |
//! | other decimals, money, 64 bits without a sign | `TEXT`, which keeps every digit |
//! | text, UUID, enumeration, bits, interval, time with offset | `TEXT` |
//! | JSON, array, map, point, line, circle, vector | `JSON` |
//! | bytes, figure, geometry | `BLOB` |
//! | date, time, timestamp (in UTC) | `DATE`, `TIME`, `DATETIME` |
//!
//! These are the names that a source on the same file reads the same types from.

use tailrace_core::schema::{Column, TableName};
use tailrace_core::value::{LogicalType, TextKind};
use tailrace_core::{Error, Result};
use tailrace_sql::Syntax;
use tailrace_sql::sink::session::Definitions;

use crate::discover::quote;

/// What a number of double precision keeps of a decimal.
const DECIMAL_DIGITS: u32 = 15;

/// SQLite's definitions.
pub(super) struct SqliteDefinitions;

impl Syntax for SqliteDefinitions {
    fn identifier(&self, name: &str) -> String {
        quote(name)
    }

    fn table(&self, name: &TableName) -> String {
        quote(&name.table)
    }
}

impl Definitions for SqliteDefinitions {
    fn unique_key(&self, table: &TableName, columns: &[&str]) -> String {
        let index = format!("{}_{}", table.table, columns.join("_"));
        let columns: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let table = self.table(table);
        format!(
            "CREATE UNIQUE INDEX {} ON {table} ({})",
            quote(&index),
            columns.join(", ")
        )
    }

    fn column_type(&self, column: &Column, _is_key: bool) -> Option<String> {
        Some(match &column.logical_type {
            LogicalType::Boolean => "BOOLEAN".to_owned(),
            LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 | LogicalType::Year => "INTEGER".to_owned(),
            LogicalType::Float32 | LogicalType::Float64 => "REAL".to_owned(),
            LogicalType::Decimal {
                precision: Some(precision),
                scale,
            } if *precision <= DECIMAL_DIGITS => {
                format!("DECIMAL({precision},{})", scale.unwrap_or_default())
            }
            LogicalType::Decimal { .. }
            | LogicalType::Money
            | LogicalType::UnsignedInt64
            | LogicalType::Bits { .. }
            | LogicalType::TimeTz { .. }
            | LogicalType::Interval => "TEXT".to_owned(),
            LogicalType::Text(TextKind::Json)
            | LogicalType::Array(_)
            | LogicalType::Map
            | LogicalType::Point
            | LogicalType::Line
            | LogicalType::Circle
            | LogicalType::FloatVector
            | LogicalType::DoubleVector
            | LogicalType::SparseVector => "JSON".to_owned(),
            LogicalType::Text(_) => "TEXT".to_owned(),
            LogicalType::Bytes | LogicalType::Shape(_) | LogicalType::Geometry | LogicalType::Geography => {
                "BLOB".to_owned()
            }
            LogicalType::Date => "DATE".to_owned(),
            LogicalType::Time { .. } => "TIME".to_owned(),
            LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => "DATETIME".to_owned(),
        })
    }

    /// SQLite keeps a type with each value, and has no statement that gives a column another one: a column either takes values of the
    /// event's type, or its table is made anew by hand.
    fn wider_type(&self, present: &Column, event: &Column) -> Result<Option<String>> {
        if takes(&present.logical_type, &event.logical_type) {
            return Ok(None);
        }
        let message = format!(
            "column {} is {}, which takes no {:?}, and SQLite cannot give a column another type; make the table anew \
             (https://www.sqlite.org/lang_altertable.html#otheralter), or cast the event's column: `transforms: \
             [{{ cast: {{ {}: text }} }}]`, with the type that the column takes",
            present.name, present.source_type, event.logical_type, event.name
        );
        Err(Error::definite("column_narrow", message))
    }

    /// Never asked for, because no column gets wider. SQLite answers such a statement with an error of its syntax.
    fn retype(&self, table: &TableName, column: &str, column_type: &str, _nullable: bool) -> String {
        format!(
            "ALTER TABLE {} ALTER COLUMN {} TYPE {column_type}",
            self.table(table),
            quote(column)
        )
    }

    /// A file has one schema, so that a dot is a part of the name.
    fn table_name(&self, written: &str) -> TableName {
        TableName {
            database: String::new(),
            schema: String::new(),
            table: written.to_owned(),
        }
    }
}

/// Whether a column can hold any values of a type at all.
fn takes(present: &LogicalType, event: &LogicalType) -> bool {
    let is_number = matches!(
        event,
        LogicalType::Boolean
            | LogicalType::Int16
            | LogicalType::Int32
            | LogicalType::Int64
            | LogicalType::UnsignedInt64
            | LogicalType::Year
            | LogicalType::Float32
            | LogicalType::Float64
            | LogicalType::Decimal { .. }
            | LogicalType::Money
    );
    let is_text = matches!(event, LogicalType::Text(_));
    let is_moment = matches!(
        event,
        LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. }
    );
    match present {
        LogicalType::Int64 | LogicalType::Float64 | LogicalType::Decimal { .. } | LogicalType::Boolean => {
            is_number || is_text
        }
        LogicalType::Date | LogicalType::Timestamp { .. } => is_moment || is_text,
        LogicalType::Time { .. } => matches!(event, LogicalType::Time { .. }) || is_text,
        LogicalType::Bytes => {
            is_text
                || matches!(
                    event,
                    LogicalType::Bytes | LogicalType::Shape(_) | LogicalType::Geometry | LogicalType::Geography
                )
        }
        _ => !matches!(event, LogicalType::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::declared;

    fn column(logical_type: LogicalType, declared: &str) -> Column {
        Column {
            source_type: declared.to_owned(),
            ..Column::new("c", logical_type)
        }
    }

    #[test]
    fn a_new_column_is_read_as_what_it_was_made_for() {
        let decimal = LogicalType::Decimal {
            precision: Some(10),
            scale: Some(2),
        };
        for logical_type in [
            LogicalType::Boolean,
            LogicalType::Int64,
            LogicalType::Float64,
            decimal,
            LogicalType::Text(TextKind::Plain),
            LogicalType::Text(TextKind::Json),
            LogicalType::Bytes,
            LogicalType::Date,
            LogicalType::Time { precision: 6 },
            LogicalType::Timestamp { precision: 6 },
        ] {
            let made = SqliteDefinitions
                .column_type(&column(logical_type.clone(), ""), true)
                .unwrap();
            assert_eq!(declared::logical_type(&made), logical_type, "{made}");
        }
    }

    #[test]
    fn a_column_that_takes_no_such_values_is_refused() {
        let wider = |declared: &str, event| {
            let present = column(declared::logical_type(declared), declared);
            SqliteDefinitions.wider_type(&present, &column(event, ""))
        };
        assert_eq!(wider("INTEGER", LogicalType::Float64).unwrap(), None);
        assert_eq!(wider("TEXT", LogicalType::Map).unwrap(), None);
        assert_eq!(wider("INTEGER", LogicalType::Date).unwrap_err().code(), "column_narrow");
        assert_eq!(wider("TEXT", LogicalType::Bytes).unwrap_err().code(), "column_narrow");
    }
}
