//! A column's default, as `pg_get_expr` prints it, into a value.
//!
//! Only constants have a value. A default that the server computes for every row (`now()`, `nextval(…)`, `abs(-1)`) stands
//! for the zero value of its type, as Debezium documents it; anything else has none.

use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};
use tailrace_core::value::{Datum, Interval, LogicalType, TextKind, TimeTz};

use super::cell::rescale;
use crate::type_catalog::ColumnType;

const NIL_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// Functions of the standard that are written without parentheses.
const FUNCTIONS_WITHOUT_PARENTHESES: [&str; 9] = [
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "CURRENT_USER",
    "CURRENT_ROLE",
    "SESSION_USER",
    "CURRENT_CATALOG",
];

/// What an expression is, as far as it matters here.
#[derive(Debug, PartialEq)]
enum Expression {
    /// A constant, in its type's text form.
    Constant(String),
    /// `NULL`
    Null,
    /// Computed for every row.
    Computed,
    /// Not understood.
    Other,
}

/// The value that stands for the default `expression` of a column.
pub(crate) fn default_value(expression: &str, column: &ColumnType) -> Option<Datum> {
    match Expression::parse(expression) {
        Expression::Constant(text) => constant(&text, column),
        Expression::Computed => zero(&column.logical_type),
        Expression::Null | Expression::Other => None,
    }
}

fn constant(text: &str, column: &ColumnType) -> Option<Datum> {
    let scaled = match &column.logical_type {
        LogicalType::Decimal { scale: Some(scale), .. } => Some(rescale(text, usize::try_from(*scale).ok()?)),
        _ => None,
    };
    let mut batch = ChangeBatch::new(Arc::from(""), Progress::at(Position::new("")));
    batch.begin_row().ok()?;
    let text = scaled.as_deref().unwrap_or(text);
    column.decoder.push_text(with_seconds(text, &column.logical_type).as_bytes(), &mut batch).ok()?;
    let row = batch.end_row().ok()?;
    batch.row(row).get(0).to_datum()
}

/// The constant of a typed literal is printed canonically, but one that is cast on evaluation is kept as it was written:
/// `('12:34')::time`. Only the missing seconds are made up for.
fn with_seconds(text: &str, logical_type: &LogicalType) -> String {
    let short = matches!(logical_type, LogicalType::Time { .. }) && text.len() == 5;
    if short { format!("{text}:00") } else { text.to_owned() }
}

/// The zero value of a type, where it has one.
fn zero(logical_type: &LogicalType) -> Option<Datum> {
    Some(match logical_type {
        LogicalType::Boolean => Datum::Boolean(false),
        LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 => Datum::Int(0),
        LogicalType::Date | LogicalType::Time { .. } => Datum::Int(0),
        LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => Datum::Int(0),
        LogicalType::Float32 => Datum::Float32(0.0),
        LogicalType::Float64 => Datum::Float64(0.0),
        LogicalType::Decimal { scale, .. } => Datum::Text(rescale("0", usize::try_from(scale.unwrap_or(0)).ok()?)),
        LogicalType::Money => Datum::Text("0.00".to_owned()),
        LogicalType::TimeTz { .. } => Datum::TimeTz(TimeTz {
            microseconds: 0,
            offset_seconds: 0,
        }),
        LogicalType::Interval => Datum::Interval(Interval {
            months: 0,
            days: 0,
            microseconds: 0,
        }),
        LogicalType::Text(TextKind::Uuid) => Datum::Text(NIL_UUID.to_owned()),
        LogicalType::Text(TextKind::Enum(_)) => return None,
        LogicalType::Text(_) => Datum::Text(String::new()),
        LogicalType::Bytes => Datum::Bytes(Vec::new()),
        LogicalType::Bits { length } => Datum::Text("0".repeat(usize::try_from(length.unwrap_or(1)).ok()?)),
        LogicalType::Array(_) => Datum::List(Vec::new()),
        LogicalType::Map
        | LogicalType::Point
        | LogicalType::Line
        | LogicalType::Circle
        | LogicalType::Shape(_)
        | LogicalType::Geometry
        | LogicalType::Geography
        | LogicalType::FloatVector
        | LogicalType::DoubleVector
        | LogicalType::SparseVector => return None,
    })
}

// === impl Expression ===

impl Expression {
    fn parse(text: &str) -> Self {
        let text = without_casts(text.trim());
        if let Some(inner) = enclosed(text) {
            return Self::parse(inner);
        }
        if let Some(literal) = quoted_literal(text) {
            return Self::Constant(literal);
        }
        if is_number(text) || matches!(text, "true" | "false") {
            return Self::Constant(text.to_owned());
        }
        if text.eq_ignore_ascii_case("NULL") {
            return Self::Null;
        }
        if is_call(text) || is_function_without_parentheses(text) { Self::Computed } else { Self::Other }
    }
}

/// `text` without `::type` at its end, as often as it is there. Quotes and parentheses hide what is in them.
fn without_casts(text: &str) -> &str {
    match top_level(text).find(|(at, byte)| *byte == b':' && *at > 0) {
        Some((at, _)) => text.get(..at).unwrap_or(text),
        None => text,
    }
}

/// Bytes of `text` that are neither in quotes nor in parentheses, with their offsets. The parentheses that open and close
/// at the top are among them.
fn top_level(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut quote = None;
    let mut depth = 0_usize;
    text.bytes().enumerate().filter(move |(_, byte)| {
        let outside = quote.is_none() && depth == 0;
        match (quote, *byte) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(*byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        let closes = quote.is_none() && depth == 0 && *byte == b')';
        outside || closes
    })
}

/// What stands between parentheses that enclose all of `text`.
fn enclosed(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let only_those = top_level(text).all(|(at, _)| at == 0 || at + 1 == text.len());
    only_those.then_some(inner)
}

/// What `'it''s'` or `B'11'` says.
fn quoted_literal(text: &str) -> Option<String> {
    let text = text.strip_prefix('B').unwrap_or(text);
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let unescaped = inner.replace("''", "\u{0}");
    if unescaped.contains('\'') {
        return None;
    }
    Some(unescaped.replace('\u{0}', "'"))
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// `name(…)`, perhaps with a schema and quotes.
fn is_call(text: &str) -> bool {
    let Some(open) = text.find('(') else {
        return false;
    };
    let name = text.get(..open).unwrap_or_default();
    let named = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'"' | b'$') || byte >= 0x80);
    let whole = text.get(open..).is_some_and(|arguments| enclosed(arguments).is_some());
    named && whole && !name.is_empty()
}

fn is_function_without_parentheses(text: &str) -> bool {
    let name = text.split('(').next().unwrap_or(text);
    FUNCTIONS_WITHOUT_PARENTHESES.contains(&name)
}
