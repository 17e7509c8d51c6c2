//! Values as text that is equal where they mean the same, whatever databases and types they come from.
//!
//! | one side | other side | compared as |
//! |---|---|---|
//! | numbers, booleans, years | the same | digits without zeros that mean nothing; `true` is `1` |
//! | single or double precision | numbers | numbers of the lower precision of the two |
//! | bits | numbers, booleans | the number that they are |
//! | dates, timestamps | the same | microseconds of UTC |
//! | text of events | numbers, booleans, dates, timestamps of the target | what the text says in digits or in ISO 8601, which is what databases make of it |
//! | JSON, lists, maps | the same, or text | JSON with sorted keys |
//! | text of events | dates of the target | the day of UTC that the text says |
//! | UUID | bytes, text | the UUID in small letters and with hyphens |
//! | bytes of events | `binary(n)` of the target | without the zeros at the end, which fill it up |
//! | intervals | the same | microseconds, a month having 30.4375 days: what Debezium's numbers keep of them |
//! | figures | the same type | WKB |
//! | anything else | text, or the same type | the text that every sink writes into columns with characters ([`crate::sink::plain`]) |
//!
//! In columns with characters times and intervals are in ISO 8601, bytes in hexadecimal digits, bits as they are.
//!
//! Blanks at the end mean nothing where one of the types is `char(n)`. Other pairs (a figure and a number, say) cannot be compared.

mod moment;

use std::fmt::Display;
use std::ops::Add;
use std::str::FromStr;

use serde_json::Value as Json;
use tailrace_core::schema::Column;
use tailrace_core::value::{LogicalType, TextKind, Value};

use crate::sink::plain::{self, Plain};

const DAY_US: i64 = 86_400_000_000;

/// The form that both values of a pair of columns are brought into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Exact digits.
    Number,
    /// Single precision.
    Single,
    /// Double precision.
    Double,
    /// Date and time.
    Moment,
    /// The day of a date and time.
    Day,
    /// A JSON document.
    Document,
    /// A UUID, whatever its letters and hyphens.
    Identifier,
    /// Bytes without zeros at the end, in hexadecimal digits.
    Filled,
    /// An amount of time.
    Duration,
    /// As it is written into a column with characters.
    Written,
    /// The same, without blanks at the end.
    Padded,
}

/// What a type holds, as far as comparing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Number,
    Bits,
    Moment,
    Document,
    Uuid,
    Text,
    Bytes,
    Other,
}

/// How a column of events is compared with one of the target; `None` where their values have nothing in common, or where sinks refuse to write
/// the one into the other. Which is which matters for text and bytes: bytes go into columns with characters as their digits, and text of which
/// nobody says which bytes it stands for into no column of bytes.
pub fn form(event: &Column, target: &Column) -> Option<Form> {
    let (one, other) = (event, target);
    let families = (family(&one.logical_type), family(&other.logical_type));
    let is = |family| families.0 == family || families.1 == family;
    let both = |allowed: &[Family]| allowed.contains(&families.0) && allowed.contains(&families.1);
    if both(&[Family::Number, Family::Bits]) {
        return Some(if families == (Family::Bits, Family::Bits) {
            Form::Written
        } else {
            number(&one.logical_type, &other.logical_type)
        });
    }
    if both(&[Family::Moment]) {
        return Some(Form::Moment);
    }
    if is(Family::Document) {
        return both(&[Family::Document, Family::Text]).then_some(Form::Document);
    }
    if is(Family::Uuid) && (is(Family::Bytes) || is(Family::Text)) {
        return Some(Form::Identifier);
    }
    match families {
        (Family::Text, Family::Bytes) => return None,
        (Family::Text, Family::Number) => return Some(number(&one.logical_type, &other.logical_type)),
        (Family::Text, Family::Moment) if other.logical_type == LogicalType::Date => return Some(Form::Day),
        (Family::Text, Family::Moment) => return Some(Form::Moment),
        (Family::Bytes, Family::Bytes) if filled_length(other).is_some() => return Some(Form::Filled),
        _ => {}
    }
    if is(Family::Text) || is(Family::Uuid) {
        let padded = is_padded(one) || is_padded(other);
        return Some(if padded { Form::Padded } else { Form::Written });
    }
    if one.logical_type == LogicalType::Interval && other.logical_type == LogicalType::Interval {
        return Some(Form::Duration);
    }
    let same_kind = std::mem::discriminant(&one.logical_type) == std::mem::discriminant(&other.logical_type);
    same_kind.then_some(Form::Written)
}

fn family(logical_type: &LogicalType) -> Family {
    match logical_type {
        LogicalType::Boolean
        | LogicalType::Int16
        | LogicalType::Int32
        | LogicalType::Int64
        | LogicalType::UnsignedInt64
        | LogicalType::Float32
        | LogicalType::Float64
        | LogicalType::Decimal { .. }
        | LogicalType::Money
        | LogicalType::Year => Family::Number,
        LogicalType::Bits { .. } => Family::Bits,
        LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => Family::Moment,
        LogicalType::Text(TextKind::Json)
        | LogicalType::Array(_)
        | LogicalType::Map
        | LogicalType::Point
        | LogicalType::Line
        | LogicalType::Circle
        | LogicalType::FloatVector
        | LogicalType::DoubleVector
        | LogicalType::SparseVector => Family::Document,
        LogicalType::Text(TextKind::Uuid) => Family::Uuid,
        LogicalType::Text(_) => Family::Text,
        LogicalType::Bytes => Family::Bytes,
        LogicalType::Time { .. }
        | LogicalType::TimeTz { .. }
        | LogicalType::Interval
        | LogicalType::Shape(_)
        | LogicalType::Geometry
        | LogicalType::Geography => Family::Other,
    }
}

fn number(one: &LogicalType, other: &LogicalType) -> Form {
    let is = |wanted: &LogicalType| one == wanted || other == wanted;
    match (is(&LogicalType::Float32), is(&LogicalType::Float64)) {
        (true, _) => Form::Single,
        (false, true) => Form::Double,
        (false, false) => Form::Number,
    }
}

/// How many characters the values of a column are filled up to, where they are and the type says it.
pub fn padded_length(column: &Column) -> Option<usize> {
    if !is_padded(column) {
        return None;
    }
    let is_endless = column.source_type.eq_ignore_ascii_case("bpchar");
    declared_length(column).filter(|_| !is_endless)
}

/// How many bytes the values of a column are filled up to with zeros, where they are.
pub fn filled_length(column: &Column) -> Option<usize> {
    let name = column.source_type.to_ascii_lowercase();
    let is_filled = name.starts_with("binary(") || name == "binary";
    declared_length(column).filter(|_| is_filled && column.logical_type == LogicalType::Bytes)
}

/// The number in the parentheses of a type; without any it is one.
fn declared_length(column: &Column) -> Option<usize> {
    let Some((_, length)) = column.source_type.split_once('(') else {
        return Some(1);
    };
    length
        .trim_end_matches(|character: char| !character.is_ascii_digit())
        .parse()
        .ok()
}

/// Whether text of events stands for a value of another type, so that it may be written in several ways: a table is not asked for all of them.
pub fn is_read_from_text(event: &Column, target: &Column) -> bool {
    let target = family(&target.logical_type);
    family(&event.logical_type) == Family::Text && matches!(target, Family::Number | Family::Moment)
}

/// A type whose values are filled up with blanks, by the name that its database has for it.
fn is_padded(column: &Column) -> bool {
    let name = column.source_type.to_ascii_lowercase();
    ["char(", "character(", "bpchar"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || matches!(name.as_str(), "char" | "character")
}

// === impl Form ===

impl Form {
    /// The value in this form; `None` is NULL.
    pub fn of(self, logical_type: &LogicalType, value: Value<'_>) -> Option<String> {
        let plain = Plain::of(logical_type, value);
        if matches!(plain, Plain::Null | Plain::Unchanged) {
            return None;
        }
        Some(match self {
            Self::Number => exact(plain).unwrap_or_else(|| written(logical_type, plain)),
            Self::Single => float::<f32>(logical_type, plain),
            Self::Double => float::<f64>(logical_type, plain),
            Self::Moment => timestamp(logical_type, plain, 1),
            Self::Day => timestamp(logical_type, plain, DAY_US),
            Self::Document => document(logical_type, value),
            Self::Identifier => identifier(logical_type, plain),
            Self::Filled => filled_bytes(logical_type, plain),
            Self::Duration => duration(logical_type, plain),
            Self::Written => written(logical_type, plain),
            Self::Padded => written(logical_type, plain).trim_end_matches(' ').to_owned(),
        })
    }
}

/// A UUID as databases print it, whether bytes are the number itself or its usual text; what is none as it is.
fn identifier(logical_type: &LogicalType, plain: Plain<'_>) -> String {
    const TEXT_LENGTH: usize = 36;
    let text = match plain {
        Plain::Bytes(bytes) if bytes.len() == TEXT_LENGTH => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    };
    let text = text.unwrap_or_else(|| written(logical_type, plain));
    uuid(&text).unwrap_or(text)
}

/// A UUID in small letters and with hyphens; `None` for what is none.
pub fn uuid(text: &str) -> Option<String> {
    const DIGITS: usize = 32;
    const HYPHENS_BEHIND: [usize; 4] = [8, 12, 16, 20];
    let digits = text
        .chars()
        .filter(|character| !matches!(character, '-' | '{' | '}' | ' '));
    let mut uuid = String::with_capacity(DIGITS + HYPHENS_BEHIND.len());
    let mut count = 0;
    for digit in digits {
        if HYPHENS_BEHIND.contains(&count) {
            uuid.push('-');
        }
        uuid.push(digit.is_ascii_hexdigit().then(|| digit.to_ascii_lowercase())?);
        count += 1;
    }
    (count == DIGITS).then_some(uuid)
}

fn filled_bytes(logical_type: &LogicalType, plain: Plain<'_>) -> String {
    let Plain::Bytes(bytes) = plain else {
        return written(logical_type, plain);
    };
    let filled = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let mut digits = String::new();
    plain::write_hexadecimal(bytes.get(..bytes.len() - filled).unwrap_or_default(), &mut digits);
    digits
}

fn written(logical_type: &LogicalType, plain: Plain<'_>) -> String {
    let mut text = String::new();
    plain.write_text(logical_type, &mut text);
    text
}

/// Plain digits of a number, a boolean or bits; `None` for what is no number.
fn exact(plain: Plain<'_>) -> Option<String> {
    match plain {
        Plain::Boolean(value) => Some(u8::from(value).to_string()),
        Plain::Int(value) => Some(value.to_string()),
        Plain::Decimal(text) => normal(text),
        Plain::Text(text) => match text.trim_matches(' ') {
            "true" | "t" => Some("1".to_owned()),
            "false" | "f" => Some("0".to_owned()),
            text => normal(text),
        },
        Plain::Bits(bits) => u128::from_str_radix(bits, 2).ok().map(|number| number.to_string()),
        _ => None,
    }
}

/// A decimal without zeros that mean nothing, and without the sign of zero.
fn normal(text: &str) -> Option<String> {
    let (whole, fraction) = plain::digits(text)?;
    let whole = if whole.is_empty() { "0" } else { whole };
    let is_zero = whole == "0" && fraction.is_empty();
    let sign = if text.starts_with('-') && !is_zero { "-" } else { "" };
    Some(if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    })
}

/// Zero has no sign: databases do not agree on whether they keep it.
fn float<F: FromStr + Default + Add<Output = F> + Display>(logical_type: &LogicalType, plain: Plain<'_>) -> String {
    let text = exact(plain).unwrap_or_else(|| written(logical_type, plain));
    text.parse::<F>()
        .map_or(text, |number| (number + F::default()).to_string())
}

/// A date and time, down to a whole number of so many microseconds.
fn timestamp(logical_type: &LogicalType, plain: Plain<'_>, unit_us: i64) -> String {
    let microseconds = match plain {
        Plain::Date(days) => days.checked_mul(DAY_US),
        Plain::Timestamp { microseconds, .. } => Some(microseconds),
        Plain::Text(text) => moment::of_text(text),
        _ => None,
    };
    let Some(microseconds) = microseconds else {
        return written(logical_type, plain);
    };
    let mut text = String::new();
    plain::write_timestamp(microseconds - microseconds.rem_euclid(unit_us), ' ', &mut text);
    text
}

fn duration(logical_type: &LogicalType, plain: Plain<'_>) -> String {
    /// A twelfth of 365.25 days.
    const MONTH_US: i128 = 2_629_800_000_000;
    match plain {
        Plain::Interval(interval) => {
            let whole = i128::from(interval.months) * MONTH_US + i128::from(interval.days) * i128::from(DAY_US);
            (whole + i128::from(interval.microseconds)).to_string()
        }
        _ => written(logical_type, plain),
    }
}

// === JSON ===

fn document(logical_type: &LogicalType, value: Value<'_>) -> String {
    let mut text = String::new();
    match Plain::of(logical_type, value) {
        Plain::Text(characters) => text.push_str(characters),
        _ => plain::write_json(logical_type, value, &mut text),
    }
    match serde_json::from_str(&text) {
        Ok(json) => {
            let mut sorted = String::new();
            write_sorted(&json, &mut sorted);
            sorted
        }
        Err(_) => text,
    }
}

fn write_sorted(json: &Json, out: &mut String) {
    match json {
        Json::Number(number) => out.push_str(&json_number(number)),
        Json::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_sorted(element, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Json::from(name.as_str()).to_string());
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// `1`, `1.0` and `1e0` are one number.
fn json_number(number: &serde_json::Number) -> String {
    let whole = number.as_f64().and_then(plain::whole);
    match whole.filter(|_| number.is_f64()) {
        Some(whole) => whole.to_string(),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests;
