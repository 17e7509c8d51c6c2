//! A column's default, as `pg_get_expr` prints it, into a value.
//!
//! Only constants have a value. A default that the server computes for every row (`now()`, `nextval(…)`, `abs(-1)`) stands
//! for the zero value of its type, as Debezium documents it; anything else has none. Nor has a column of a type for which
//! Debezium has none: Connect's converter puts the default in place of NULL, so that one more default is one more column
//! whose NULLs its readers do not see.

use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};
use tailrace_core::value::{Datum, Interval, LogicalType, TextKind};

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

/// Types whose columns have defaults, as the server prints them before a length or `with time zone`.
const DEFAULT_TYPES: [&str; 18] = [
    "bit",
    "boolean",
    "character",
    "date",
    "double precision",
    "integer",
    "interval",
    "json",
    "jsonb",
    "numeric",
    "real",
    "smallint",
    "bigint",
    "text",
    "time",
    "timestamp",
    "uuid",
    "xml",
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
    if !has_defaults(column) {
        return None;
    }
    match Expression::parse(expression) {
        Expression::Constant(text) => constant(&text, column),
        Expression::Computed => zero(&column.logical_type),
        Expression::Null | Expression::Other => None,
    }
}

/// True where the server computes the default for every row, so that its value only stands for it.
pub(crate) fn is_computed(expression: &str) -> bool {
    Expression::parse(expression) == Expression::Computed
}

/// Whether columns of a type have defaults: the common ones, as themselves and not by way of a domain.
fn has_defaults(column: &ColumnType) -> bool {
    let source_type = column.source_type.as_str();
    match &column.logical_type {
        LogicalType::Text(TextKind::Enum(_)) => true,
        LogicalType::TimeTz { .. } => false,
        _ => {
            DEFAULT_TYPES.iter().any(|name| {
                let rest = source_type.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', ' ']))
            }) && !source_type.ends_with("[]")
        }
    }
}

fn constant(text: &str, column: &ColumnType) -> Option<Datum> {
    let text = as_stored(text, column)?;
    let mut batch = ChangeBatch::new(Arc::from(""), Progress::at(Position::new("")));
    batch.begin_row().ok()?;
    column.decoder.push_text(text.as_bytes(), &mut batch).ok()?;
    let row = batch.end_row().ok()?;
    batch.row(row).get(0).to_datum()
}

/// The text form of the value that the server would store: the expression shows the constant before it is brought to the
/// column's scale or length.
fn as_stored(text: &str, column: &ColumnType) -> Option<String> {
    Some(match &column.logical_type {
        LogicalType::Decimal { scale: Some(scale), .. } => rescale(text, usize::try_from(*scale).ok()?),
        LogicalType::Bits { length: Some(length) } if !column.source_type.contains("varying") => {
            let length = usize::try_from(*length).ok()?;
            text.chars().chain(std::iter::repeat('0')).take(length).collect()
        }
        _ => text.to_owned(),
    })
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
        LogicalType::Interval => Datum::Interval(Interval {
            months: 0,
            days: 0,
            microseconds: 0,
        }),
        LogicalType::Text(TextKind::Uuid) => Datum::Text(NIL_UUID.to_owned()),
        LogicalType::Text(TextKind::Enum(_)) => return None,
        LogicalType::Text(_) => Datum::Text(String::new()),
        LogicalType::Bits { length } => Datum::Text("0".repeat(usize::try_from(length.unwrap_or(1)).ok()?)),
        LogicalType::Money
        | LogicalType::UnsignedInt64
        | LogicalType::TimeTz { .. }
        | LogicalType::Bytes
        | LogicalType::Year
        | LogicalType::Array(_)
        | LogicalType::Map
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
        if begins_with_call(text) || is_function_without_parentheses(text) {
            Self::Computed
        } else {
            Self::Other
        }
    }
}

/// `text` without `::type` at its end, as often as it is there. Only the name of a type may follow: in
/// `'a'::text || 'b'::text` nothing is a cast of all of it.
fn without_casts(text: &str) -> &str {
    let cast = top_level(text).find(|(at, byte)| *byte == b':' && *at > 0);
    match cast.and_then(|(at, _)| text.split_at_checked(at)) {
        Some((value, casts)) if top_level(casts).all(|(_, byte)| is_in_type_name(byte)) => value,
        _ => text,
    }
}

/// Names of types are printed in small letters or in quotes, key words and operators are not.
fn is_in_type_name(byte: u8) -> bool {
    byte.is_ascii_lowercase()
        || byte.is_ascii_digit()
        || byte >= 0x80
        || matches!(byte, b':' | b' ' | b'_' | b'.' | b'"' | b'(' | b')' | b'[' | b']')
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

/// `name(…)` and whatever is done with its result; perhaps with a schema and quotes.
fn begins_with_call(text: &str) -> bool {
    let Some((name, _)) = text.split_once('(') else {
        return false;
    };
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'_' | b'.' | b'"' | b'$');
    !name.is_empty() && name.bytes().all(in_name)
}

/// `CURRENT_TIMESTAMP`, `CURRENT_TIMESTAMP(3)`
fn is_function_without_parentheses(text: &str) -> bool {
    let name = text.split('(').next().unwrap_or(text);
    FUNCTIONS_WITHOUT_PARENTHESES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::type_catalog::{TypeCatalog, TypeInfo, TypeShape};

    /// Default of a column of a built-in type.
    fn default_of(name: &str, typmod: i32, expression: &str) -> Option<Datum> {
        let catalog = TypeCatalog::builtin();
        let oid = catalog
            .oids()
            .into_iter()
            .find(|oid| catalog.get(*oid).is_some_and(|info| info.name == name));
        default_value(expression, &catalog.column(oid.unwrap(), typmod))
    }

    fn text(text: &str) -> Option<Datum> {
        Some(Datum::Text(text.to_owned()))
    }

    fn interval(microseconds: i64) -> Option<Datum> {
        Some(Datum::Interval(Interval {
            months: 0,
            days: 0,
            microseconds,
        }))
    }

    const NUMERIC_12_0: i32 = (12 << 16) + 4;
    const NUMERIC_10_5: i32 = (10 << 16) + 5 + 4;

    #[test]
    fn constants() {
        // PV223 to PV255 of the vectors, as PostgreSQL 15 prints the expressions.
        assert_eq!(default_of("numeric", NUMERIC_12_0, "0.0"), text("0"));
        assert_eq!(
            default_of("int8", -1, "'9223372036854775807'::bigint"),
            Some(Datum::Int(i64::MAX))
        );
        assert_eq!(default_of("bit", 2, "'11'::\"bit\""), text("11"));
        assert_eq!(default_of("bit", 2, "B'11'::\"bit\""), text("11"));
        assert_eq!(default_of("varbit", 5, "'110'::\"bit\""), text("110"));
        assert_eq!(default_of("bpchar", 14, "'abcd'::bpchar"), text("abcd"));
        assert_eq!(
            default_of("interval", -1, "'01:00:00'::interval"),
            interval(3_600_000_000)
        );
        assert_eq!(default_of("jsonb", -1, "'{}'::jsonb"), text("{}"));
        assert_eq!(default_of("json", -1, "'{}'::json"), text("{}"));
        assert_eq!(default_of("numeric", NUMERIC_10_5, "12345.67891"), text("12345.67891"));
        assert_eq!(default_of("numeric", -1, "0"), text("0"));
        assert_eq!(
            default_of("float4", -1, "1234567890.5"),
            Some(Datum::Float32(1_234_567_890.5))
        );
        assert_eq!(default_of("text", -1, "'text(parens)'::text"), text("text(parens)"));
        assert_eq!(
            default_of("time", -1, "'12:34:00'::time without time zone"),
            Some(Datum::Int(45_240_000_000))
        );
        let timestamp = "'2021-03-20 13:44:28'::timestamp without time zone";
        assert_eq!(
            default_of("timestamp", -1, timestamp),
            Some(Datum::Int(1_616_247_868_000_000))
        );
        let uuid = "76019d1a-ad2e-4b22-96e9-1a6d6543c818";
        assert_eq!(default_of("uuid", -1, &format!("'{uuid}'::uuid")), text(uuid));
        assert_eq!(default_of("xml", -1, "'<foo>bar</foo>'::xml"), text("<foo>bar</foo>"));
    }

    #[test]
    fn computed_defaults_are_told_from_constants() {
        for expression in [
            "nextval('d_b_seq'::regclass)",
            "now()",
            "CURRENT_DATE",
            "(abs(-1))::bigint",
        ] {
            assert!(is_computed(expression), "{expression}");
        }
        for expression in ["0", "'0'::bigint", "NULL::integer", "'now()'::text"] {
            assert!(!is_computed(expression), "{expression}");
        }
    }

    #[test]
    fn computed_defaults_stand_for_zero() {
        assert_eq!(
            default_of("int4", -1, "nextval('d_b_seq'::regclass)"),
            Some(Datum::Int(0))
        );
        assert_eq!(default_of("int4", -1, "abs('-1'::integer)"), Some(Datum::Int(0)));
        assert_eq!(default_of("int4", -1, "ABS(-1)"), Some(Datum::Int(0)));
        assert_eq!(default_of("date", -1, "(now())::date"), Some(Datum::Int(0)));
        assert_eq!(default_of("time", -1, "now()"), Some(Datum::Int(0)));
        assert_eq!(default_of("timestamp", -1, "now()"), Some(Datum::Int(0)));
        assert_eq!(
            default_of("timestamptz", -1, "CURRENT_TIMESTAMP(3)"),
            Some(Datum::Int(0))
        );
        assert_eq!(
            default_of("timestamptz", -1, "(now() + '1 day'::interval)"),
            Some(Datum::Int(0))
        );
        assert_eq!(default_of("interval", -1, "make_interval(hours => 1)"), interval(0));
        assert_eq!(default_of("text", -1, "concat('foo', 'bar', 'baz')"), text(""));
        assert_eq!(
            default_of("text", -1, "(md5('a'::text))::character varying(3)"),
            text("")
        );
        assert_eq!(default_of("uuid", -1, "uuid_generate_v4()"), text(NIL_UUID));
        assert_eq!(default_of("uuid", -1, "extensions.\"Gen\"()"), text(NIL_UUID));
        assert_eq!(default_of("numeric", NUMERIC_10_5, "random()"), text("0.00000"));
        assert_eq!(default_of("bool", -1, "f()"), Some(Datum::Boolean(false)));
    }

    #[test]
    fn constants_as_they_are_stored() {
        assert_eq!(default_of("int2", -1, "'-1'::integer"), Some(Datum::Int(-1)));
        assert_eq!(default_of("int2", -1, "(0)::smallint"), Some(Datum::Int(0)));
        assert_eq!(
            default_of("text", -1, "'it''s a :: \"b\" ('::text"),
            text("it's a :: \"b\" (")
        );
        assert_eq!(default_of("text", -1, "('x'::character varying(3))::text"), text("x"));
        assert_eq!(default_of("text", -1, "''::text"), text(""));
        assert_eq!(default_of("bool", -1, "true"), Some(Datum::Boolean(true)));
        assert_eq!(default_of("numeric", NUMERIC_10_5, "'-1.5'::numeric"), text("-1.50000"));
        assert_eq!(default_of("bit", 8, "'1'::\"bit\""), text("10000000"));
        assert_eq!(
            default_of("float8", -1, "'-Infinity'::double precision"),
            Some(Datum::Float64(f64::NEG_INFINITY))
        );
    }

    #[test]
    fn some_types_have_no_defaults() {
        for (name, expression) in [
            ("money", "1.5"),
            ("_int4", "'{1,2}'::integer[]"),
            ("bytea", "'\\x01'::bytea"),
            ("timetz", "'01:02:03+00'::time with time zone"),
            ("inet", "'10.0.0.1'::inet"),
        ] {
            assert_eq!(default_of(name, -1, expression), None, "{name}");
        }
        let mut catalog = TypeCatalog::builtin();
        catalog.insert(TypeInfo {
            oid: 16400,
            name: "positive".to_owned(),
            schema: "public".to_owned(),
            shape: TypeShape::Domain { base: 23, typmod: -1 },
        });
        assert_eq!(default_value("3", &catalog.column(16400, -1)), None);
    }

    #[test]
    fn what_is_not_understood_has_no_default() {
        for expression in [
            "",
            "NULL::character varying",
            "(1 + 1)",
            "('a'::text || 'b'::text)",
            "ARRAY[1, 2]",
            "(NOT false)",
            "('now'::text IS NULL)",
            "'never closed",
            "((((",
            "))'('::",
        ] {
            assert_eq!(default_of("text", -1, expression), None, "{expression}");
        }
        // A constant that the type cannot be, and a symbol that nobody knows.
        assert_eq!(
            default_of("timestamp", -1, "('now'::text)::timestamp without time zone"),
            None
        );
        let mut catalog = TypeCatalog::builtin();
        catalog.insert(TypeInfo {
            oid: 16400,
            name: "mood".to_owned(),
            schema: "public".to_owned(),
            shape: TypeShape::Enum(Arc::from(["sad".to_owned()])),
        });
        assert_eq!(default_value("pick()", &catalog.column(16400, -1)), None);
        assert_eq!(default_value("'sad'::mood", &catalog.column(16400, -1)), text("sad"));
    }
}
