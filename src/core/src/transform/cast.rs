//! Values of one type, written as another: exactly, or not at all. Nothing is rounded, cut or wrapped.

use std::fmt;

use serde::de::IgnoredAny;

use crate::calendar::Civil;
use crate::value::{Datum, LogicalType, TextKind, Value};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// Bits of a whole number that double precision has room for.
const FLOAT64_BITS: u32 = 53;

/// A type that values can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CastType {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float64,
    Decimal(Option<Digits>),
    Text,
    Json,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
}

/// How many digits a decimal may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits {
    precision: u32,
    scale: u32,
}

/// Types whose values are read in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Boolean,
    Integer,
    Float,
    Decimal,
    Text,
    Date,
    Timestamp,
    TimestampTz,
}

/// A decimal without zeros in front.
struct PlainDecimal<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

/// Every type, as it is written.
pub(super) const KNOWN: &str =
    "boolean, int16, int32, int64, float64, decimal, decimal(P,S), text, json, uuid, date, timestamp, timestamptz";

// === impl CastType ===

impl CastType {
    /// The type that is written so; `None` where it is none of [`KNOWN`].
    pub(super) fn parse(written: &str) -> Option<Self> {
        Some(match written {
            "boolean" => Self::Boolean,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "decimal" => Self::Decimal(None),
            "text" => Self::Text,
            "json" => Self::Json,
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            _ => Self::Decimal(Some(Digits::parse(written)?)),
        })
    }

    /// What a column of it means.
    pub(super) fn logical_type(self) -> LogicalType {
        match self {
            Self::Boolean => LogicalType::Boolean,
            Self::Int16 => LogicalType::Int16,
            Self::Int32 => LogicalType::Int32,
            Self::Int64 => LogicalType::Int64,
            Self::Float64 => LogicalType::Float64,
            Self::Decimal(digits) => LogicalType::Decimal {
                precision: digits.map(|digits| digits.precision),
                scale: digits.map(|digits| digits.scale),
            },
            Self::Text => LogicalType::Text(TextKind::Plain),
            Self::Json => LogicalType::Text(TextKind::Json),
            Self::Uuid => LogicalType::Text(TextKind::Uuid),
            Self::Date => LogicalType::Date,
            Self::Timestamp => LogicalType::Timestamp { precision: 6 },
            Self::TimestampTz => LogicalType::TimestampTz { precision: 6 },
        }
    }

    /// True where some values of a type have an equal of this one. A time without a zone is no point in time, whatever zone somebody
    /// may have meant; and a float has no decimal of its own.
    pub(super) fn takes(self, from: &LogicalType) -> bool {
        let Some(family) = Family::of(from) else {
            return false;
        };
        match self {
            Self::Text => true,
            Self::Boolean => matches!(family, Family::Boolean | Family::Integer | Family::Text),
            Self::Int16 | Self::Int32 | Self::Int64 => matches!(
                family,
                Family::Boolean | Family::Integer | Family::Decimal | Family::Text
            ),
            Self::Float64 => matches!(family, Family::Integer | Family::Float | Family::Decimal | Family::Text),
            Self::Decimal(_) => matches!(family, Family::Integer | Family::Decimal | Family::Text),
            Self::Json | Self::Uuid => family == Family::Text,
            Self::Date => matches!(
                family,
                Family::Date | Family::Text | Family::Timestamp | Family::TimestampTz
            ),
            Self::Timestamp => matches!(family, Family::Date | Family::Text | Family::Timestamp),
            Self::TimestampTz => matches!(family, Family::Date | Family::Text | Family::TimestampTz),
        }
    }

    /// The equal of a value that is neither NULL nor unchanged; `None` where there is none.
    pub(super) fn convert(self, value: Value<'_>, from: &LogicalType) -> Option<Datum> {
        let family = Family::of(from)?;
        match self {
            Self::Boolean => boolean(value).map(Datum::Boolean),
            Self::Int16 => integer::<i16>(value, family),
            Self::Int32 => integer::<i32>(value, family),
            Self::Int64 => integer::<i64>(value, family),
            Self::Float64 => float(value).map(Datum::Float64),
            Self::Decimal(digits) => decimal(value, family, digits).map(Datum::Text),
            Self::Text => text(value, family).map(Datum::Text),
            Self::Json => text_of(value).filter(|text| is_json(text)).map(text_datum),
            Self::Uuid => text_of(value)
                .filter(|text| is_uuid(text))
                .map(|text| Datum::Text(text.to_ascii_lowercase())),
            Self::Date => date(value, family).map(Datum::Int),
            Self::Timestamp => timestamp(value, family, Family::Timestamp),
            Self::TimestampTz => timestamp(value, family, Family::TimestampTz),
        }
    }
}

impl fmt::Display for CastType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Boolean => "boolean",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Decimal(None) => "decimal",
            Self::Decimal(Some(Digits { precision, scale })) => {
                return write!(formatter, "decimal({precision},{scale})");
            }
            Self::Text => "text",
            Self::Json => "json",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
        })
    }
}

// === impl Digits ===

impl Digits {
    /// Of `decimal(10,2)`.
    fn parse(written: &str) -> Option<Self> {
        let inner = written.strip_prefix("decimal(")?.strip_suffix(')')?;
        let (precision, scale) = inner.split_once(',')?;
        let digits = Self {
            precision: precision.trim().parse().ok()?,
            scale: scale.trim().parse().ok()?,
        };
        (digits.precision > 0 && digits.scale <= digits.precision).then_some(digits)
    }
}

// === impl Family ===

impl Family {
    fn of(logical_type: &LogicalType) -> Option<Self> {
        match logical_type {
            LogicalType::Boolean => Some(Self::Boolean),
            LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 | LogicalType::Year => Some(Self::Integer),
            LogicalType::Float32 | LogicalType::Float64 => Some(Self::Float),
            LogicalType::Decimal { .. } | LogicalType::UnsignedInt64 | LogicalType::Money => Some(Self::Decimal),
            LogicalType::Text(_) => Some(Self::Text),
            LogicalType::Date => Some(Self::Date),
            LogicalType::Timestamp { .. } => Some(Self::Timestamp),
            LogicalType::TimestampTz { .. } => Some(Self::TimestampTz),
            LogicalType::Bytes
            | LogicalType::Bits { .. }
            | LogicalType::Time { .. }
            | LogicalType::TimeTz { .. }
            | LogicalType::Interval
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
            | LogicalType::SparseVector => None,
        }
    }
}

// === impl PlainDecimal ===

impl<'a> PlainDecimal<'a> {
    /// An optional sign, digits, and more of them behind a point.
    fn parse(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        (!whole.is_empty() && is_digits(whole) && is_digits(fraction)).then(|| Self {
            is_negative: text.starts_with('-'),
            whole: whole.trim_start_matches('0'),
            fraction,
        })
    }

    /// With as many digits behind the point as it has, or as are declared.
    fn written(&self, digits: Option<Digits>) -> Option<String> {
        let significant = self.fraction.trim_end_matches('0');
        let (fraction, zeros) = match digits {
            None => (self.fraction, 0),
            Some(Digits { precision, scale }) => {
                let (precision, scale) = (usize::try_from(precision).ok()?, usize::try_from(scale).ok()?);
                if self.whole.len() > precision.checked_sub(scale)? {
                    return None;
                }
                (significant, scale.checked_sub(significant.len())?)
            }
        };
        let is_zero = self.whole.is_empty() && significant.is_empty();
        let sign = if self.is_negative && !is_zero { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { self.whole };
        let point = if fraction.is_empty() && zeros == 0 { "" } else { "." };
        Some(format!("{sign}{whole}{point}{fraction}{}", "0".repeat(zeros)))
    }
}

// === numbers ===

fn boolean(value: Value<'_>) -> Option<bool> {
    let is = |text: &str, one_of: [&str; 3]| one_of.iter().any(|known| text.eq_ignore_ascii_case(known));
    match value {
        Value::Boolean(value) => Some(value),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Text(text) if is(text, ["true", "t", "1"]) => Some(true),
        Value::Text(text) if is(text, ["false", "f", "0"]) => Some(false),
        _ => None,
    }
}

fn integer<T: TryFrom<i64>>(value: Value<'_>, family: Family) -> Option<Datum> {
    let whole = match value {
        Value::Boolean(value) => i64::from(value),
        Value::Int(value) => value,
        Value::Text(text) => {
            let whole = match text.split_once('.') {
                Some((whole, fraction)) if family == Family::Decimal && fraction.bytes().all(|digit| digit == b'0') => {
                    whole
                }
                _ => text,
            };
            whole.parse().ok()?
        }
        _ => return None,
    };
    T::try_from(whole).is_ok().then_some(Datum::Int(whole))
}

fn float(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Int(value) => exact_float(value),
        Value::Float32(value) => Some(value.into()),
        Value::Float64(value) => Some(value),
        Value::Text(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "only what fits is converted")]
fn exact_float(value: i64) -> Option<f64> {
    let magnitude = value.unsigned_abs();
    let fits = magnitude == 0 || u64::BITS - magnitude.leading_zeros() - magnitude.trailing_zeros() <= FLOAT64_BITS;
    fits.then_some(value as f64)
}

fn decimal(value: Value<'_>, family: Family, digits: Option<Digits>) -> Option<String> {
    match value {
        Value::Int(value) => PlainDecimal::parse(&value.to_string())?.written(digits),
        Value::Text(text @ ("NaN" | "Infinity" | "-Infinity")) if family == Family::Decimal && digits.is_none() => {
            Some(text.to_owned())
        }
        Value::Text(text) => PlainDecimal::parse(text)?.written(digits),
        _ => None,
    }
}

// === text ===

fn text(value: Value<'_>, family: Family) -> Option<String> {
    Some(match (value, family) {
        (Value::Text(text), Family::TimestampTz) => format!("{text}Z"),
        (Value::Text(text), _) => text.to_owned(),
        (Value::Boolean(value), _) => value.to_string(),
        (Value::Int(days), Family::Date) => date_text(days),
        (Value::Int(at_us), Family::Timestamp) => timestamp_text(at_us, ""),
        (Value::Int(at_us), Family::TimestampTz) => timestamp_text(at_us, "Z"),
        (Value::Int(value), _) => value.to_string(),
        (Value::Float32(value), _) => float_text(value.is_finite(), value.into(), &value),
        (Value::Float64(value), _) => float_text(value.is_finite(), value, &value),
        _ => return None,
    })
}

/// The fewest digits that are read back as the same number, without an exponent.
fn float_text(is_finite: bool, value: f64, digits: &impl fmt::Display) -> String {
    if is_finite {
        return digits.to_string();
    }
    let name = match (value.is_nan(), value < 0.0) {
        (true, _) => "NaN",
        (false, true) => "-Infinity",
        (false, false) => "Infinity",
    };
    name.to_owned()
}

fn text_of(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn text_datum(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn is_uuid(text: &str) -> bool {
    let is_hyphen = |index| matches!(index, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match is_hyphen(index) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

// === dates and times ===

/// A year that does not have four digits has a sign, as in ISO 8601.
fn date_text(days: i64) -> String {
    if let Some(infinity) = infinity(days, (i32::MIN.into(), i32::MAX.into())) {
        return infinity.to_owned();
    }
    let Civil { year, month, day } = Civil::from_days(days);
    match year {
        0..=9_999 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
}

/// A fraction has six digits, or is not there.
fn timestamp_text(at_us: i64, zone: &str) -> String {
    if let Some(infinity) = infinity(at_us, (i64::MIN, i64::MAX)) {
        return infinity.to_owned();
    }
    let date = date_text(at_us.div_euclid(DAY_US));
    let of_day_us = at_us.rem_euclid(DAY_US);
    let (seconds, fraction) = (of_day_us / SECOND_US, of_day_us % SECOND_US);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        _ => format!(".{fraction:06}"),
    };
    format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
}

fn infinity(value: i64, (before, after): (i64, i64)) -> Option<&'static str> {
    match value {
        _ if value == before => Some("-infinity"),
        _ if value == after => Some("infinity"),
        _ => None,
    }
}

/// Days since 1970. Infinity is at no midnight.
fn date(value: Value<'_>, family: Family) -> Option<i64> {
    match (value, family) {
        (Value::Int(days), Family::Date) => Some(days),
        (Value::Int(at_us), Family::Timestamp | Family::TimestampTz) => {
            (at_us.rem_euclid(DAY_US) == 0).then(|| at_us.div_euclid(DAY_US))
        }
        (Value::Text(text), Family::Text) => read_date(text),
        _ => None,
    }
}

fn timestamp(value: Value<'_>, family: Family, wanted: Family) -> Option<Datum> {
    match (value, family) {
        (Value::Int(days), Family::Date) => {
            let is_finite = infinity(days, (i32::MIN.into(), i32::MAX.into())).is_none();
            days.checked_mul(DAY_US).filter(|_| is_finite).map(Datum::Int)
        }
        (Value::Text(text), Family::Text) => read_timestamp(text, wanted).map(Datum::Int),
        _ if family == wanted => value.to_datum(),
        _ => None,
    }
}

/// `2024-02-29`.
fn read_date(text: &str) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return None;
    };
    let civil = Civil {
        year: number(&[y1, y2, y3, y4])?,
        month: number(&[m1, m2])?,
        day: number(&[d1, d2])?,
    };
    let days = civil.to_days();
    // There is no 30 February, and no thirteenth month.
    (Civil::from_days(days) == civil).then_some(days)
}

/// `2024-02-29T10:00:00.123456`, with a blank in place of the T too, and the zone that the type wants behind it.
fn read_timestamp(text: &str, wanted: Family) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.strip_prefix(['T', ' '])?.split_at_checked(8)?;
    let (fraction_us, zone) = match rest.strip_prefix('.') {
        Some(rest) => read_fraction(rest)?,
        None => (0, rest),
    };
    let east_us = match (wanted, zone) {
        (Family::TimestampTz, "Z") => 0,
        (Family::TimestampTz, offset) => read_offset(offset)?,
        (_, "") => 0,
        _ => return None,
    };
    let midnight_us = read_date(date)?.checked_mul(DAY_US)?;
    midnight_us
        .checked_add(read_clock(clock)?)?
        .checked_add(fraction_us)?
        .checked_sub(east_us)
}

/// `10:00:00`, microseconds.
fn read_clock(text: &str) -> Option<i64> {
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = text.as_bytes() else {
        return None;
    };
    let hour = number(&[h1, h2]).filter(|hour| *hour < 24)?;
    let minute = number(&[m1, m2]).filter(|minute| *minute < 60)?;
    let second = number(&[s1, s2]).filter(|second| *second < 60)?;
    Some(((hour * 60 + minute) * 60 + second) * SECOND_US)
}

/// One to six digits, as microseconds, and what follows them.
fn read_fraction(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit());
    let (digits, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    if !(1..=6).contains(&digits.len()) {
        return None;
    }
    Some((number(format!("{digits:0<6}").as_bytes())?, rest))
}

/// `+02:00`, `+0200` or `+02`, microseconds east of UTC.
fn read_offset(text: &str) -> Option<i64> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = match digits.as_bytes() {
        &[h1, h2] => (number(&[h1, h2])?, 0),
        &[h1, h2, m1, m2] | &[h1, h2, b':', m1, m2] => (number(&[h1, h2])?, number(&[m1, m2])?),
        _ => return None,
    };
    let east_us = (hours * 60 + minutes) * 60 * SECOND_US;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        "+" => Some(east_us),
        "-" => Some(-east_us),
        _ => None,
    }
}

/// A few digits.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit.saturating_sub(b'0')))
    })
}

#[cfg(test)]
mod tests;
