//! Column defaults, which SQLite keeps as the SQL text they were written in.

use tailrace_core::value::{Datum, LogicalType, TextKind};

use super::{Raw, decode};
use crate::config::TimestampUnit;

/// The value of a constant default; `None` for expressions (`CURRENT_TIMESTAMP`, `(1 + 1)`) and for constants that do not fit
/// the column.
pub fn default_value(text: &str, logical_type: &LogicalType, unit: TimestampUnit) -> Option<Datum> {
    let text = text.trim();
    let decoded = |raw: Raw<'_>| decode(raw, logical_type, unit).map(super::Decoded::into_datum);
    match text.to_ascii_uppercase().as_str() {
        "NULL" => return decoded(Raw::Null),
        "TRUE" => return decoded(Raw::Integer(1)),
        "FALSE" => return decoded(Raw::Integer(0)),
        _ => {}
    }
    if let Some(quoted) = unquote(text) {
        return decoded(with_affinity(&quoted, logical_type).unwrap_or(Raw::Text(&quoted)));
    }
    let raw = number(text)?;
    match (raw, logical_type) {
        // A column of characters stores a number as its text.
        (Raw::Integer(_), LogicalType::Text(TextKind::Plain)) => decoded(Raw::Text(text)),
        _ => decoded(raw),
    }
}

/// A number in quotes is stored as a number where the column is one.
fn with_affinity(text: &str, logical_type: &LogicalType) -> Option<Raw<'static>> {
    match logical_type {
        LogicalType::Int64 | LogicalType::Float64 | LogicalType::Boolean => number(text),
        _ => None,
    }
}

fn number(text: &str) -> Option<Raw<'static>> {
    if let Ok(integer) = text.parse() {
        return Some(Raw::Integer(integer));
    }
    let numeric = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let real: f64 = text.parse().ok().filter(|_| numeric)?;
    Some(Raw::Real(real))
}

fn unquote(text: &str) -> Option<String> {
    let quoted = ['\'', '"'].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
    });
    quoted.filter(|_| text.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_read_and_expressions_are_not() {
        let text = LogicalType::Text(TextKind::Plain);
        let decimal = LogicalType::Decimal {
            precision: Some(10),
            scale: Some(2),
        };
        let timestamp = LogicalType::Timestamp { precision: 6 };
        let cases = [
            ("0", &LogicalType::Int64, Some(Datum::Int(0))),
            ("'7'", &LogicalType::Int64, Some(Datum::Int(7))),
            ("-1.5", &LogicalType::Float64, Some(Datum::Float64(-1.5))),
            ("1", &decimal, Some(Datum::Text("1.00".into()))),
            ("'it''s'", &text, Some(Datum::Text("it's".into()))),
            ("\"new\"", &text, Some(Datum::Text("new".into()))),
            ("5", &text, Some(Datum::Text("5".into()))),
            ("''", &text, Some(Datum::Text(String::new()))),
            ("'", &text, None),
            ("TRUE", &LogicalType::Boolean, Some(Datum::Boolean(true))),
            ("NULL", &text, Some(Datum::Null)),
            ("CURRENT_TIMESTAMP", &timestamp, None),
            ("'1970-01-02 00:00:00'", &timestamp, Some(Datum::Int(86_400_000_000))),
            ("datetime('now')", &text, None),
            ("'a' || 'b'", &LogicalType::Int64, None),
            ("nan", &LogicalType::Float64, None),
        ];
        for (literal, logical_type, expected) in cases {
            assert_eq!(
                default_value(literal, logical_type, TimestampUnit::Seconds),
                expected,
                "{literal}"
            );
        }
    }
}
