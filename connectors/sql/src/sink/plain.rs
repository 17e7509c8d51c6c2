//! What a value is to a database that has fewer types than events have: one of some twenty meanings, and its text.
//!
//! Every database writes these in its own way. What it has no type for goes into columns with characters, in the forms that
//! [`Plain::write_text`] gives, and into columns with JSON documents, in those of [`write_json`].
//!
//! | value | text | JSON |
//! |---|---|---|
//! | boolean | `true` | `true` |
//! | numbers | digits | number; `"NaN"` and the like as strings |
//! | date, time, timestamp | ISO 8601, with `Z` where it is a point in time | the same in quotes |
//! | infinite date | `infinity` | the same in quotes |
//! | interval | ISO 8601: `P1Y2M3DT4H5M6.78S` | the same in quotes |
//! | bits | `0` and `1` | the same in quotes |
//! | bytes, geometries | hexadecimal digits | the same in quotes |
//! | array, vector | JSON | array |
//! | map | JSON | object |
//! | point, line, circle | JSON | array of its numbers |
//! | sparse vector | JSON | `{"dimensions": 5, "elements": {"1": 0.5}}` |

use std::fmt::Write;

use tailrace_core::batch::ListView;
use tailrace_core::calendar::Civil;
use tailrace_core::value::{Interval, LogicalType, TextKind, TimeTz, Value};

const DAY_S: i64 = 86_400;
const SECOND_US: i64 = 1_000_000;

/// A value with its meaning.
#[derive(Debug, Clone, Copy)]
pub enum Plain<'a> {
    /// NULL.
    Null,
    /// Not in the batch, because it did not change.
    Unchanged,
    /// True or false.
    Boolean(bool),
    /// A whole number; a year.
    Int(i64),
    /// A decimal number in plain digits, also one without a sign.
    Decimal(&'a str),
    /// A decimal that is no number: `NaN`, `Infinity`, `-Infinity`.
    NoNumber(&'a str),
    /// Single precision.
    Float32(f32),
    /// Double precision.
    Float64(f64),
    /// Characters.
    Text(&'a str),
    /// A JSON document.
    Json(&'a str),
    /// A UUID in lower case with hyphens.
    Uuid(&'a str),
    /// `0` and `1`, first bit first.
    Bits(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Days since 1970.
    Date(i64),
    /// Microseconds of a day, or an amount of time.
    Time(i64),
    /// With its offset.
    TimeTz(TimeTz),
    /// Microseconds since 1970.
    Timestamp {
        /// How many.
        microseconds: i64,
        /// It is a point in time, and in UTC.
        zoned: bool,
    },
    /// A date or timestamp before or after all others.
    Infinite {
        /// Before.
        negative: bool,
    },
    /// Months, days and microseconds.
    Interval(Interval),
    /// A point of the plane.
    Point {
        /// First coordinate.
        x: f64,
        /// Second coordinate.
        y: f64,
        /// Number of its reference system; 0 for none.
        reference_system: i64,
    },
    /// A figure as WKB.
    Wkb(&'a [u8]),
    /// A geometry as EWKB.
    Ewkb(&'a [u8]),
    /// Numbers of single or double precision.
    Vector(ListView<'a>),
    /// Any other list, which only [`write_json`] understands.
    List(ListView<'a>),
}

// === impl Plain ===

impl<'a> Plain<'a> {
    /// What a value of this type is.
    pub fn of(logical_type: &LogicalType, value: Value<'a>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Unchanged => Self::Unchanged,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Int(value) => integer(logical_type, value),
            Value::Float32(value) => Self::Float32(value),
            Value::Float64(value) => Self::Float64(value),
            Value::TimeTz(value) => Self::TimeTz(value),
            Value::Interval(value) => Self::Interval(value),
            Value::Text(text) => characters(logical_type, text),
            Value::Bytes(bytes) => match logical_type {
                LogicalType::Geometry | LogicalType::Geography => Self::Ewkb(bytes),
                _ => Self::Bytes(bytes),
            },
            Value::List(list) => listed(logical_type, list),
        }
    }

    /// Appends the text that stands for it in a column with characters; nothing for NULL and for what is unchanged.
    pub fn write_text(self, logical_type: &LogicalType, out: &mut String) {
        match self {
            Self::Null | Self::Unchanged => {}
            Self::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
            Self::Int(value) => append(out, format_args!("{value}")),
            Self::Decimal(text)
            | Self::NoNumber(text)
            | Self::Text(text)
            | Self::Json(text)
            | Self::Uuid(text)
            | Self::Bits(text) => out.push_str(text),
            Self::Float32(value) if value.is_finite() => append(out, format_args!("{value}")),
            Self::Float64(value) if value.is_finite() => append(out, format_args!("{value}")),
            Self::Float32(value) => out.push_str(no_number(value.into())),
            Self::Float64(value) => out.push_str(no_number(value)),
            Self::Bytes(bytes) | Self::Wkb(bytes) | Self::Ewkb(bytes) => write_hexadecimal(bytes, out),
            Self::Date(days) => write_date(days, out),
            Self::Time(microseconds) => write_time(microseconds, out),
            Self::TimeTz(time) => write_time_tz(time, out),
            Self::Timestamp { microseconds, zoned } => {
                write_timestamp(microseconds, 'T', out);
                if zoned {
                    out.push('Z');
                }
            }
            Self::Infinite { negative } => out.push_str(if negative { "-infinity" } else { "infinity" }),
            Self::Interval(interval) => write_interval(interval, out),
            Self::Point { x, y, .. } => append(out, format_args!("[{x},{y}]")),
            Self::Vector(list) | Self::List(list) => write_json(logical_type, Value::List(list), out),
        }
    }
}

fn integer<'a>(logical_type: &LogicalType, value: i64) -> Plain<'a> {
    match logical_type {
        LogicalType::Date if value == i64::from(i32::MAX) => Plain::Infinite { negative: false },
        LogicalType::Date if value == i64::from(i32::MIN) => Plain::Infinite { negative: true },
        LogicalType::Date => Plain::Date(value),
        LogicalType::Time { .. } => Plain::Time(value),
        LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => match value {
            i64::MAX => Plain::Infinite { negative: false },
            i64::MIN => Plain::Infinite { negative: true },
            microseconds => Plain::Timestamp {
                microseconds,
                zoned: matches!(logical_type, LogicalType::TimestampTz { .. }),
            },
        },
        _ => Plain::Int(value),
    }
}

fn characters<'a>(logical_type: &LogicalType, text: &'a str) -> Plain<'a> {
    match logical_type {
        LogicalType::Decimal { .. } | LogicalType::Money | LogicalType::UnsignedInt64 => {
            if text.contains(|character: char| character.is_ascii_alphabetic()) {
                Plain::NoNumber(text)
            } else {
                Plain::Decimal(text)
            }
        }
        LogicalType::Text(TextKind::Json) => Plain::Json(text),
        LogicalType::Text(TextKind::Uuid) => Plain::Uuid(text),
        LogicalType::Bits { .. } => Plain::Bits(text),
        _ => Plain::Text(text),
    }
}

fn listed<'a>(logical_type: &LogicalType, list: ListView<'a>) -> Plain<'a> {
    match logical_type {
        LogicalType::Point => match (list.get(0), list.get(1), list.get(2)) {
            (Some(Value::Float64(x)), Some(Value::Float64(y)), system) => Plain::Point {
                x,
                y,
                reference_system: match system {
                    Some(Value::Int(number)) => number,
                    _ => 0,
                },
            },
            _ => Plain::List(list),
        },
        LogicalType::Shape(_) => match list.get(0) {
            Some(Value::Bytes(bytes)) => Plain::Wkb(bytes),
            _ => Plain::List(list),
        },
        LogicalType::FloatVector | LogicalType::DoubleVector => Plain::Vector(list),
        _ => Plain::List(list),
    }
}

// === numbers ===

/// As PostgreSQL and JavaScript write it.
fn no_number(value: f64) -> &'static str {
    match (value.is_nan(), value < 0.0) {
        (true, _) => "NaN",
        (false, true) => "-Infinity",
        (false, false) => "Infinity",
    }
}

/// A finite number of double precision in plain digits that are read back as the same number.
pub fn decimal_of_float(value: f64) -> Option<String> {
    value.is_finite().then(|| format!("{value}"))
}

/// Digits before and after the point of a number in plain digits, without zeros that mean nothing; `None` where it is no such number.
pub fn digits(number: &str) -> Option<(&str, &str)> {
    let unsigned = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    is_number.then(|| (whole.trim_start_matches('0'), fraction.trim_end_matches('0')))
}

/// The number of double precision that is printed with these digits again; `None` where they are more than it holds.
pub fn exact(number: &str) -> Option<f64> {
    let nearest: f64 = number.parse().ok()?;
    let printed = decimal_of_float(nearest)?;
    (digits(&printed) == Some(digits(number)?)).then_some(nearest)
}

/// The same for single precision.
pub fn exact_single(number: &str) -> Option<f32> {
    let nearest: f32 = number.parse().ok()?;
    (nearest.is_finite() && digits(&format!("{nearest}")) == Some(digits(number)?)).then_some(nearest)
}

/// Single precision of a number of double precision; `None` where something would be lost.
#[expect(clippy::cast_possible_truncation, reason = "what is lost is compared")]
pub fn single(value: f64) -> Option<f32> {
    let single = value as f32;
    (f64::from(single) == value).then_some(single)
}

/// The whole number of a number of double precision; `None` where it has a fraction, or more digits than are exact.
#[expect(clippy::cast_possible_truncation, reason = "every whole number up to 2^53 is exact")]
pub fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

// === dates and times ===

/// `2024-02-29`; years that do not have four digits with a sign, as ISO 8601 has them.
pub fn write_date(days: i64, out: &mut String) {
    let Civil { year, month, day } = Civil::from_days(days);
    match year {
        0..=9_999 => append(out, format_args!("{year:04}-{month:02}-{day:02}")),
        _ => append(out, format_args!("{year:+05}-{month:02}-{day:02}")),
    }
}

/// `10:00:00` or `-838:59:59.000001`: a fraction has six digits, or is not there.
pub fn write_time(microseconds: i64, out: &mut String) {
    if microseconds < 0 {
        out.push('-');
    }
    let magnitude = microseconds.unsigned_abs();
    let (seconds, fraction) = (magnitude / 1_000_000, magnitude % 1_000_000);
    append(
        out,
        format_args!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    );
    if fraction != 0 {
        append(out, format_args!(".{fraction:06}"));
    }
}

/// Date and time, with `between` between them.
pub fn write_timestamp(microseconds: i64, between: char, out: &mut String) {
    let seconds = microseconds.div_euclid(SECOND_US);
    write_date(seconds.div_euclid(DAY_S), out);
    out.push(between);
    write_time(
        seconds.rem_euclid(DAY_S) * SECOND_US + microseconds.rem_euclid(SECOND_US),
        out,
    );
}

fn write_time_tz(time: TimeTz, out: &mut String) {
    write_time(time.microseconds, out);
    let (sign, offset) = (
        if time.offset_seconds < 0 { '-' } else { '+' },
        time.offset_seconds.unsigned_abs(),
    );
    append(out, format_args!("{sign}{:02}:{:02}", offset / 3_600, offset / 60 % 60));
    if offset % 60 != 0 {
        append(out, format_args!(":{:02}", offset % 60));
    }
}

fn write_interval(interval: Interval, out: &mut String) {
    let (years, months) = (interval.months / 12, interval.months % 12);
    let seconds = interval.microseconds / SECOND_US;
    let date = [
        (i64::from(years), 'Y'),
        (i64::from(months), 'M'),
        (interval.days.into(), 'D'),
    ];
    let time = [(seconds / 3_600, 'H'), (seconds / 60 % 60, 'M')];
    out.push('P');
    let part = |out: &mut String, (value, unit): (i64, char)| {
        if value != 0 {
            append(out, format_args!("{value}{unit}"));
        }
    };
    date.into_iter().for_each(|pair| part(out, pair));
    if interval.microseconds != 0 || date.iter().all(|(value, _)| *value == 0) {
        out.push('T');
        time.into_iter().for_each(|pair| part(out, pair));
        let (second, fraction) = (seconds % 60, interval.microseconds % SECOND_US);
        if second != 0 || fraction != 0 || interval.microseconds == 0 {
            let sign = if interval.microseconds < 0 { "-" } else { "" };
            append(out, format_args!("{sign}{}", second.unsigned_abs()));
            if fraction != 0 {
                let digits = format!("{:06}", fraction.unsigned_abs());
                append(out, format_args!(".{}", digits.trim_end_matches('0')));
            }
            out.push('S');
        }
    }
}

// === bytes ===

/// Appends two lower-case digits for each byte.
pub fn write_hexadecimal(bytes: &[u8], out: &mut String) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |four: u8| DIGITS.get(usize::from(four)).copied().unwrap_or('0');
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 0x0f));
    }
}

// === JSON ===

/// Appends the JSON document that stands for what goes into a column with documents. What comes as characters is one already: so do those of
/// databases that have no such type.
pub fn write_document(plain: Plain<'_>, logical_type: &LogicalType, out: &mut String) {
    match plain {
        Plain::Text(text) => out.push_str(text),
        other => write_plain_json(other, logical_type, out),
    }
}

/// Appends the JSON that stands for a value.
pub fn write_json(logical_type: &LogicalType, value: Value<'_>, out: &mut String) {
    write_plain_json(Plain::of(logical_type, value), logical_type, out);
}

fn write_plain_json(plain: Plain<'_>, logical_type: &LogicalType, out: &mut String) {
    match plain {
        Plain::Null | Plain::Unchanged => out.push_str("null"),
        plain @ (Plain::Boolean(_) | Plain::Int(_) | Plain::Json(_)) => plain.write_text(logical_type, out),
        Plain::Decimal(number) => write_number(number, out),
        Plain::Float32(number) if number.is_finite() => append(out, format_args!("{number}")),
        Plain::Float64(number) if number.is_finite() => append(out, format_args!("{number}")),
        Plain::Vector(list) | Plain::List(list) => write_list(logical_type, list, out),
        plain @ Plain::Point { .. } => plain.write_text(logical_type, out),
        plain => {
            let mut text = String::new();
            plain.write_text(logical_type, &mut text);
            write_string(&text, out);
        }
    }
}

/// A number as JSON has it: at least one digit before the point and, where there is one, behind it, and no `+`.
fn write_number(number: &str, out: &mut String) {
    if number.starts_with('-') {
        out.push('-');
    }
    let unsigned = number.trim_start_matches(['-', '+']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole = whole.trim_start_matches('0');
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

fn write_list(logical_type: &LogicalType, list: ListView<'_>, out: &mut String) {
    let element = match logical_type {
        LogicalType::Array(element) => &**element,
        LogicalType::Map => return write_map(list, out),
        LogicalType::SparseVector => return write_sparse(list, out),
        LogicalType::FloatVector => &LogicalType::Float32,
        _ => &LogicalType::Float64,
    };
    out.push('[');
    for (index, value) in list.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        // The elements of an array of several dimensions are lists of the same elements, unless they are lists by themselves.
        let is_dimension = matches!(logical_type, LogicalType::Array(_)) && matches!(value, Value::List(_));
        let is_list = matches!(
            element,
            LogicalType::Point | LogicalType::Line | LogicalType::Circle | LogicalType::Shape(_) | LogicalType::Map
        );
        match is_dimension && !is_list {
            true => write_json(logical_type, value, out),
            false => write_json(element, value, out),
        }
    }
    out.push(']');
}

fn write_map(list: ListView<'_>, out: &mut String) {
    out.push('{');
    let mut values = list.iter();
    let mut separator = "";
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        out.push_str(separator);
        separator = ",";
        write_member(key, out);
        write_json(&LogicalType::Text(TextKind::Plain), value, out);
    }
    out.push('}');
}

fn write_sparse(list: ListView<'_>, out: &mut String) {
    let mut values = list.iter();
    out.push_str("{\"dimensions\":");
    write_json(&LogicalType::Int64, values.next().unwrap_or(Value::Null), out);
    out.push_str(",\"elements\":{");
    let mut separator = "";
    while let (Some(index), Some(value)) = (values.next(), values.next()) {
        out.push_str(separator);
        separator = ",";
        write_member(index, out);
        write_json(&LogicalType::Float64, value, out);
    }
    out.push_str("}}");
}

/// `"key":`
fn write_member(key: Value<'_>, out: &mut String) {
    let mut text = String::new();
    Plain::of(&LogicalType::Text(TextKind::Plain), key).write_text(&LogicalType::Text(TextKind::Plain), &mut text);
    write_string(&text, out);
    out.push(':');
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Appends; a `String` takes everything.
fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    if out.write_fmt(arguments).is_err() {
        out.push('?');
    }
}

#[cfg(test)]
mod tests;
