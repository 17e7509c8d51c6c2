//! What a column's declared type says its values are.
//!
//! SQLite itself only derives an affinity from the words (<https://www.sqlite.org/datatype3.html#affname>): INT, then CHAR
//! CLOB TEXT, then BLOB, then REAL FLOA DOUB, else NUMERIC. The names that programs give a meaning of their own come
//! first here; where SQLite's rule ends in NUMERIC and the name says nothing (`STRING`, `ENUM`), or there is no type at all,
//! the column is published as text, which holds every value.

use tailrace_core::value::{LogicalType, TextKind};

use crate::config::ColumnType;

/// Fraction digits that timestamps and times are published with: microseconds, which is what they are kept in.
const MICROSECONDS: u8 = 6;

/// The logical type of a declared one.
pub fn logical_type(declared: &str) -> LogicalType {
    let (name, arguments) = split(declared);
    named(&name, &arguments).unwrap_or_else(|| by_affinity(&name))
}

/// The logical type of a configured one.
pub fn configured(column_type: ColumnType) -> LogicalType {
    match column_type {
        ColumnType::Text => LogicalType::Text(TextKind::Opaque),
        ColumnType::Json => LogicalType::Text(TextKind::Json),
        ColumnType::Integer => LogicalType::Int64,
        ColumnType::Real => LogicalType::Float64,
        ColumnType::Decimal => LogicalType::Decimal {
            precision: None,
            scale: None,
        },
        ColumnType::Boolean => LogicalType::Boolean,
        ColumnType::Date => LogicalType::Date,
        ColumnType::Time => LogicalType::Time {
            precision: MICROSECONDS,
        },
        ColumnType::Timestamp => LogicalType::Timestamp {
            precision: MICROSECONDS,
        },
        ColumnType::Bytes => LogicalType::Bytes,
    }
}

/// Upper-case name and the numbers in parentheses: `decimal(10, 2)` is `DECIMAL`, [10, 2].
fn split(declared: &str) -> (String, Vec<u32>) {
    let (name, rest) = declared.split_once('(').unwrap_or((declared, ""));
    let (arguments, _) = rest.split_once(')').unwrap_or((rest, ""));
    let numbers = arguments.split(',').filter_map(|argument| argument.trim().parse().ok());
    (name.trim().to_ascii_uppercase(), numbers.collect())
}

fn named(name: &str, arguments: &[u32]) -> Option<LogicalType> {
    Some(match name {
        "BOOLEAN" | "BOOL" => LogicalType::Boolean,
        "DATE" => LogicalType::Date,
        "TIME" => LogicalType::Time {
            precision: MICROSECONDS,
        },
        "DATETIME" | "TIMESTAMP" => LogicalType::Timestamp {
            precision: MICROSECONDS,
        },
        "DECIMAL" | "NUMERIC" | "NUMBER" | "DEC" => LogicalType::Decimal {
            precision: arguments.first().copied(),
            // SQL's own rule: DECIMAL(10) has no fraction.
            scale: arguments.first().map(|_| arguments.get(1).copied().unwrap_or(0)),
        },
        "JSON" => LogicalType::Text(TextKind::Json),
        _ => return None,
    })
}

fn by_affinity(name: &str) -> LogicalType {
    let has = |word: &str| name.contains(word);
    if has("INT") {
        LogicalType::Int64
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        LogicalType::Text(TextKind::Plain)
    } else if has("BLOB") {
        LogicalType::Bytes
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        LogicalType::Float64
    } else {
        LogicalType::Text(TextKind::Opaque)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_mean_what_programs_mean_by_them() {
        let decimal = |precision, scale| LogicalType::Decimal { precision, scale };
        let cases = [
            ("INTEGER", LogicalType::Int64),
            ("unsigned big int", LogicalType::Int64),
            ("VARCHAR(20)", LogicalType::Text(TextKind::Plain)),
            ("NCHAR(55)", LogicalType::Text(TextKind::Plain)),
            ("text", LogicalType::Text(TextKind::Plain)),
            ("BLOB", LogicalType::Bytes),
            ("double precision", LogicalType::Float64),
            ("FLOAT", LogicalType::Float64),
            ("Decimal(10, 2)", decimal(Some(10), Some(2))),
            ("NUMERIC(8)", decimal(Some(8), Some(0))),
            ("NUMERIC", decimal(None, None)),
            ("BOOLEAN", LogicalType::Boolean),
            ("DateTime", LogicalType::Timestamp { precision: 6 }),
            ("TIMESTAMP(3)", LogicalType::Timestamp { precision: 6 }),
            ("DATE", LogicalType::Date),
            ("TIME", LogicalType::Time { precision: 6 }),
            ("JSON", LogicalType::Text(TextKind::Json)),
            ("STRING", LogicalType::Text(TextKind::Opaque)),
            ("", LogicalType::Text(TextKind::Opaque)),
            ("DECIMAL(", decimal(None, None)),
        ];
        for (declared, expected) in cases {
            assert_eq!(logical_type(declared), expected, "{declared}");
        }
    }
}
