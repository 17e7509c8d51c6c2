//! One column of a batch as one array of the binary protocol: chosen once per column, then every value runs through it.
//!
//! A type with a simple binary form goes in that form; every other goes as text and is cast by the statement to the type without its
//! length, so that the server's own input function reads it and the assignment to the column checks the length. What an assignment
//! would round or cut without a word is refused here.
//!
//! Source of the forms: PostgreSQL's `array_recv`, `int8recv`, `timestamp_recv`, `interval_recv` and their like.

use tailrace_core::schema::Column;
use tailrace_core::value::{LogicalType, Value};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::plain::{exact, exact_single};

use super::text::append_text;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's own count begins.
const EPOCH_DAYS: i64 = 10_957;
const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
const EPOCH_US: i64 = EPOCH_DAYS * MICROSECONDS_PER_DAY;
/// The last digit that a type of times holds.
const MOST_PRECISION: u8 = 6;
/// Digits behind the point of `money`, in nearly every locale.
const MONEY_SCALE: u32 = 2;

/// Types that text is, or becomes by being assigned.
pub(super) const CHARACTERS: [&str; 3] = ["text", "character varying", "name"];

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Int8,
    Float4,
    Float8,
    Boolean,
    Text,
    Bytea,
    Date,
    Timestamp,
    TimestampTz,
    Interval,
}

/// How the values of one column are written.
#[derive(Debug)]
pub(super) struct ColumnWriter<'a> {
    /// The type of the array's elements.
    pub(super) element: Element,
    source: &'a Column,
    target: &'a Column,
    /// Characters that a `character varying(n)` holds.
    length: Option<usize>,
    /// Digits behind the second that an `interval(n)` holds.
    interval_precision: Option<u8>,
}

// === impl Element ===

impl Element {
    /// As a statement names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Float4 => "float4",
            Self::Float8 => "float8",
            Self::Boolean => "bool",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Interval => "interval",
        }
    }

    /// Its object id: `pg_type.dat`.
    pub(super) fn oid(self) -> u32 {
        match self {
            Self::Boolean => 16,
            Self::Bytea => 17,
            Self::Int8 => 20,
            Self::Text => 25,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Date => 1082,
            Self::Timestamp => 1114,
            Self::TimestampTz => 1184,
            Self::Interval => 1186,
        }
    }
}

// === impl ColumnWriter ===

impl<'a> ColumnWriter<'a> {
    /// The writer of an event's column into a table's.
    pub(super) fn new(source: &'a Column, target: &'a Column) -> Self {
        let element = match (&target.logical_type, &source.logical_type) {
            // JSON Schema has no dates: they come as text, which the server reads.
            (
                LogicalType::Date
                | LogicalType::Timestamp { .. }
                | LogicalType::TimestampTz { .. }
                | LogicalType::Interval,
                LogicalType::Text(_),
            ) => Element::Text,
            (LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 | LogicalType::Year, _) => Element::Int8,
            (LogicalType::Float32, LogicalType::Float32) => Element::Float4,
            (LogicalType::Float32 | LogicalType::Float64, _) => Element::Float8,
            (LogicalType::Boolean, _) => Element::Boolean,
            (LogicalType::Bytes, _) => Element::Bytea,
            (LogicalType::Date, _) => Element::Date,
            (LogicalType::Timestamp { .. }, _) => Element::Timestamp,
            (LogicalType::TimestampTz { .. }, _) => Element::TimestampTz,
            (LogicalType::Interval, _) => Element::Interval,
            _ => Element::Text,
        };
        Self {
            element,
            source,
            target,
            length: varying_length(&target.source_type),
            interval_precision: interval_precision(&target.source_type),
        }
    }

    /// How a statement says that the text is of this type; nothing where it need not.
    pub(super) fn cast(&self, type_name: &str) -> String {
        if self.element != Element::Text || CHARACTERS.contains(&type_name) {
            return String::new();
        }
        let is_text = matches!(self.source.logical_type, LogicalType::Text(_));
        match &self.target.logical_type {
            // By itself the type would pass over an offset in the text.
            LogicalType::Timestamp { .. } if is_text => format!("::timestamptz::{type_name}"),
            // By itself the type would read the point as the server's locale does.
            LogicalType::Money if !is_text => format!("::numeric::{type_name}"),
            _ => format!("::{type_name}"),
        }
    }

    /// Appends a value: its length and its bytes, or -1 for NULL.
    ///
    /// # Errors
    /// `Poison`, where the column cannot hold the value as it is.
    pub(super) fn write(&self, value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
        if value == Value::Null {
            out.extend((-1_i32).to_be_bytes());
            return Ok(());
        }
        match self.element {
            Element::Int8 => sized(out, &self.integer(value)?.to_be_bytes()),
            Element::Float4 => match value {
                Value::Float32(value) => sized(out, &value.to_be_bytes()),
                _ => return Err(self.refused("is no number in single precision")),
            },
            Element::Float8 => sized(out, &self.float(value)?.to_be_bytes()),
            Element::Boolean => sized(out, &[u8::from(self.boolean(value)?)]),
            Element::Bytea => match value {
                Value::Bytes(bytes) => return self.sized_of(bytes, out),
                // Which bytes it stands for, nobody says: its own, or those that it has in base64.
                _ => return Err(self.refused("is no string of bytes; have its writer say in the schema that it is (`contentEncoding` of a JSON Schema), or use Avro")),
            },
            Element::Date => sized(out, &self.date(value)?.to_be_bytes()),
            Element::Timestamp | Element::TimestampTz => sized(out, &self.timestamp(value)?.to_be_bytes()),
            Element::Interval => {
                let (months, days, microseconds) = self.interval(value)?;
                if let Some(precision) = self.interval_precision {
                    self.check_precision(microseconds, precision)?;
                }
                out.extend(16_i32.to_be_bytes());
                out.extend(microseconds.to_be_bytes());
                out.extend(days.to_be_bytes());
                out.extend(months.to_be_bytes());
            }
            Element::Text => return self.text(value, out),
        }
        Ok(())
    }

    fn integer(&self, value: Value<'_>) -> Result<i64> {
        let is_number = !matches!(
            self.source.logical_type,
            LogicalType::Date
                | LogicalType::Time { .. }
                | LogicalType::Timestamp { .. }
                | LogicalType::TimestampTz { .. }
        );
        match value {
            Value::Int(value) if is_number => Ok(value),
            Value::Boolean(value) => Ok(value.into()),
            Value::Text(digits) => {
                let whole = digits.split_once('.').map_or(digits, |(whole, fraction)| {
                    if fraction.bytes().all(|digit| digit == b'0') {
                        whole
                    } else {
                        digits
                    }
                });
                whole.parse().map_err(|_| self.refused("is no whole number of 64 bits"))
            }
            _ => Err(self.refused("is no whole number")),
        }
    }

    fn float(&self, value: Value<'_>) -> Result<f64> {
        let is_single = self.target.logical_type == LogicalType::Float32;
        let of_digits = |digits: &str| {
            let number = match is_single {
                true => exact_single(digits).map(f64::from),
                false => exact(digits),
            };
            let number = number.or_else(|| no_number(digits));
            number
                .ok_or_else(|| self.refused("is no number, or has more digits than the column holds; make it numeric"))
        };
        let number = match value {
            Value::Float32(value) => f64::from(value),
            Value::Float64(value) => value,
            Value::Int(value) => of_digits(&value.to_string())?,
            Value::Text(digits) => of_digits(digits)?,
            _ => return Err(self.refused("is no number")),
        };
        if is_single && number.is_finite() && number.to_string().parse::<f32>().map(f64::from) != Ok(number) {
            return Err(self.refused("has more digits than single precision holds; make the column double precision"));
        }
        Ok(number)
    }

    fn boolean(&self, value: Value<'_>) -> Result<bool> {
        match value {
            Value::Boolean(value) => Ok(value),
            Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            _ => Err(self.refused("is neither true nor false, 1 nor 0")),
        }
    }

    fn date(&self, value: Value<'_>) -> Result<i32> {
        match (value, &self.source.logical_type) {
            (Value::Int(days), LogicalType::Date) if days == i64::from(i32::MAX) => Ok(i32::MAX),
            (Value::Int(days), LogicalType::Date) if days == i64::from(i32::MIN) => Ok(i32::MIN),
            (Value::Int(days), LogicalType::Date) => {
                let days = days.checked_sub(EPOCH_DAYS).map(i32::try_from);
                days.and_then(Result::ok)
                    .ok_or_else(|| self.refused("is beyond the calendar"))
            }
            _ => Err(self.refused("is no date")),
        }
    }

    fn timestamp(&self, value: Value<'_>) -> Result<i64> {
        let (LogicalType::Timestamp { precision } | LogicalType::TimestampTz { precision }) = &self.target.logical_type
        else {
            return Err(self.refused("is no time"));
        };
        let microseconds = match (value, &self.source.logical_type) {
            (
                Value::Int(at @ (i64::MAX | i64::MIN)),
                LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. },
            ) => {
                return Ok(at);
            }
            (Value::Int(at), LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. }) => Some(at),
            (Value::Int(days), LogicalType::Date) => days.checked_mul(MICROSECONDS_PER_DAY),
            _ => return Err(self.refused("is no point in time")),
        };
        let microseconds = microseconds.and_then(|at| at.checked_sub(EPOCH_US));
        let microseconds = microseconds.ok_or_else(|| self.refused("is beyond the calendar"))?;
        self.check_precision(microseconds, *precision)?;
        Ok(microseconds)
    }

    /// What the server would round or cut to make it fit.
    fn check_exact(&self, value: Value<'_>, target: &LogicalType) -> Result<()> {
        match (target, value) {
            (LogicalType::Array(element), Value::List(list)) => {
                list.iter().try_for_each(|value| match value {
                    // An array in it is one more dimension.
                    Value::List(_) => self.check_exact(value, target),
                    value => self.check_exact(value, element),
                })
            }
            (
                LogicalType::Time { precision }
                | LogicalType::TimeTz { precision }
                | LogicalType::Timestamp { precision }
                | LogicalType::TimestampTz { precision },
                value,
            ) => match value {
                Value::Int(microseconds) => self.check_precision(microseconds, *precision),
                Value::TimeTz(time) => self.check_precision(time.microseconds, *precision),
                Value::Text(text) => self.check_digits(text, *precision),
                _ => Ok(()),
            },
            (LogicalType::Date, Value::Text(text)) => self.check_midnight(text),
            (
                LogicalType::Decimal {
                    precision: Some(_),
                    scale,
                },
                value,
            ) => self.check_decimal(value, scale.unwrap_or_default()),
            (LogicalType::Money, value) => self.check_decimal(value, MONEY_SCALE),
            _ => Ok(()),
        }
    }

    fn check_decimal(&self, value: Value<'_>, scale: u32) -> Result<()> {
        match value {
            Value::Text(digits) => self.check_scale(digits, scale),
            Value::Float32(number) => self.check_scale(&number.to_string(), scale),
            Value::Float64(number) => self.check_scale(&number.to_string(), scale),
            _ => Ok(()),
        }
    }

    /// A text of a date may have midnight in UTC behind it, and no other time.
    fn check_midnight(&self, text: &str) -> Result<()> {
        let time = text.split_once(['T', ' ']).map_or("", |(_, time)| time);
        if time.bytes().any(|digit| matches!(digit, b'1'..=b'9')) {
            return Err(self.refused("has a time of day; make the column a timestamp"));
        }
        Ok(())
    }

    /// The server would round.
    fn check_precision(&self, microseconds: i64, precision: u8) -> Result<()> {
        let unit = 10_i64.pow(u32::from(MOST_PRECISION.saturating_sub(precision)));
        if microseconds % unit == 0 {
            return Ok(());
        }
        Err(self.refused("has more digits behind the second than the column; give it more precision"))
    }

    /// The same for a time that is text already.
    fn check_digits(&self, text: &str, precision: u8) -> Result<()> {
        let digits = text.split_once('.').map_or("", |(_, behind)| behind);
        let digits = digits
            .split(|character: char| !character.is_ascii_digit())
            .next()
            .unwrap_or_default();
        if digits.trim_end_matches('0').len() <= usize::from(precision) {
            return Ok(());
        }
        Err(self.refused("has more digits behind the second than the column; give it more precision"))
    }

    fn interval(&self, value: Value<'_>) -> Result<(i32, i32, i64)> {
        match (value, &self.source.logical_type) {
            (Value::Interval(value), _) => Ok((value.months, value.days, value.microseconds)),
            // An amount of time, as MySQL's is.
            (Value::Int(microseconds), LogicalType::Time { .. }) => Ok((0, 0, microseconds)),
            _ => Err(self.refused("is no interval")),
        }
    }

    fn text(&self, value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.check_exact(value, &self.target.logical_type)?;
        if let (Some(length), Value::Text(text)) = (self.length, value) {
            self.check_length(text, length)?;
        }
        let length_at = out.len();
        out.extend([0; 4]);
        let from = out.len();
        append_text(value, &self.source.logical_type, &self.target.logical_type, out)
            .map_err(|why| self.refused(why))?;
        let text = out.get(from..).unwrap_or_default();
        if text.contains(&0) {
            return Err(self.refused("holds the character NUL, which PostgreSQL's text cannot"));
        }
        let length = i32::try_from(text.len()).map_err(|_| self.refused(TOO_LARGE))?;
        if let Some(place) = out.get_mut(length_at..from) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    /// Blanks behind the last character that there is room for the server would cut off without a word.
    fn check_length(&self, text: &str, length: usize) -> Result<()> {
        if text.ends_with(' ') && text.chars().count() > length {
            return Err(self.refused("has blanks at its end that would be cut off; give the column a greater length"));
        }
        Ok(())
    }

    /// The server would round.
    fn check_scale(&self, digits: &str, scale: u32) -> Result<()> {
        let fraction = digits
            .split_once('.')
            .map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
        if u32::try_from(fraction.len()).is_ok_and(|length| length <= scale) {
            return Ok(());
        }
        Err(self.refused("has more digits behind the point than the column; give it a larger scale"))
    }

    fn sized_of(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let length = i32::try_from(bytes.len()).map_err(|_| self.refused(TOO_LARGE))?;
        out.extend(length.to_be_bytes());
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// Never holds the value.
    fn refused(&self, why: &str) -> Error {
        let Column { name, source_type, .. } = self.target;
        let message = format!("the value for column {name}, which is {source_type}, {why}");
        Error::poison("value_unrepresentable", message)
    }
}

const TOO_LARGE: &str = "is larger than 2 GiB";

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    // At most eight bytes.
    out.extend(i32::try_from(bytes.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(bytes);
}

fn no_number(text: &str) -> Option<f64> {
    match text {
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ => None,
    }
}

/// The digits behind the second of `interval(3)` and `interval day to second(3)`, as the server prints the type.
fn interval_precision(source_type: &str) -> Option<u8> {
    let (_, digits) = source_type.strip_prefix("interval")?.split_once('(')?;
    digits.strip_suffix(')')?.parse().ok()
}

/// The length of `character varying(20)`, as the server prints the type.
fn varying_length(source_type: &str) -> Option<usize> {
    let length = source_type.strip_prefix("character varying(")?;
    length.strip_suffix(')')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tailrace_core::batch::ChangeBatch;
    use tailrace_core::position::{Position, Progress};
    use tailrace_core::value::{Interval, TextKind};

    use super::*;

    const PLAIN: LogicalType = LogicalType::Text(TextKind::Plain);

    fn column(logical_type: LogicalType, source_type: &str) -> Column {
        Column {
            source_type: source_type.to_owned(),
            ..Column::new("c", logical_type)
        }
    }

    fn decimal(digits: Option<(u32, u32)>) -> LogicalType {
        LogicalType::Decimal {
            precision: digits.map(|(precision, _)| precision),
            scale: digits.map(|(_, scale)| scale),
        }
    }

    /// What is sent behind the length; `None` where the value is refused.
    fn written(source: LogicalType, target: Column, value: Value<'_>) -> Option<Vec<u8>> {
        let source = column(source, "");
        let mut out = Vec::new();
        let done = ColumnWriter::new(&source, &target).write(value, &mut out);
        done.ok().map(|()| out.split_off(4))
    }

    #[test]
    fn nothing_is_rounded_into_floating_point() {
        let into = |target: LogicalType, value| written(decimal(None), column(target, ""), value);
        let double = |value: f64| Some(value.to_be_bytes().to_vec());
        assert_eq!(into(LogicalType::Float64, Value::Text("0.1")), double(0.1));
        assert_eq!(
            into(LogicalType::Float64, Value::Text("NaN")).map(|bytes| bytes.len()),
            Some(8)
        );
        assert_eq!(into(LogicalType::Float64, Value::Text("9007199254740993")), None);
        assert_eq!(into(LogicalType::Float64, Value::Text("0.12345678901234567890")), None);
        assert_eq!(into(LogicalType::Float64, Value::Int(9_007_199_254_740_993)), None);
        assert_eq!(
            into(LogicalType::Float64, Value::Int(9_007_199_254_740_992)),
            double(9_007_199_254_740_992.0)
        );
        assert_eq!(into(LogicalType::Float32, Value::Text("16777217")), None);
        assert_eq!(into(LogicalType::Float32, Value::Text("0.5")), double(0.5));
        assert_eq!(
            into(LogicalType::Float32, Value::Text("0.1")),
            double(f64::from(0.1_f32))
        );
    }

    #[test]
    fn nothing_is_rounded_into_numeric() {
        let into = |value| {
            written(
                LogicalType::Float64,
                column(decimal(Some((10, 2))), "numeric(10,2)"),
                value,
            )
        };
        assert_eq!(into(Value::Float64(1.25)), Some(b"1.25".to_vec()));
        assert_eq!(into(Value::Float64(1.239)), None);
        assert_eq!(into(Value::Float32(0.5)), Some(b"0.5".to_vec()));
        assert_eq!(into(Value::Float64(1e-7)), None);
    }

    #[test]
    fn nothing_is_rounded_into_money_intervals_and_arrays() {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let money = |value| written(decimal(None), column(LogicalType::Money, "money"), Value::Text(value));
        assert_eq!(money("12.340"), text("12.340"));
        assert_eq!(money("12.345"), None);
        let interval = |source_type, microseconds| {
            let value = Value::Interval(Interval {
                months: 1,
                days: 2,
                microseconds,
            });
            written(LogicalType::Interval, column(LogicalType::Interval, source_type), value)
        };
        assert!(interval("interval", 1_600_000).is_some());
        assert!(interval("interval(1)", 1_600_000).is_some());
        assert!(interval("interval(0)", 1_600_000).is_none());
        assert!(interval("interval day to second(0)", 1_600_000).is_none());
        let mut batch = ChangeBatch::new("t".into(), Progress::at(Position::new("")));
        batch.begin_row().unwrap();
        batch.begin_list();
        batch.push_text("1.5").unwrap();
        batch.push_text("1.239").unwrap();
        batch.end_list().unwrap();
        let row = batch.end_row().unwrap();
        let array = |digits| LogicalType::Array(Box::new(decimal(digits)));
        let into = |scale| {
            let target = column(array(Some((5, scale))), "numeric(5,2)[]");
            written(array(None), target, batch.row(row).get(0))
        };
        assert!(into(3).is_some());
        assert!(into(2).is_none());
    }

    #[test]
    fn texts_of_times_are_read_with_their_offset() {
        let cast = |target: LogicalType, source: LogicalType, name: &str| {
            let (source, target) = (column(source, ""), column(target, name));
            ColumnWriter::new(&source, &target).cast(name)
        };
        let timestamp = LogicalType::Timestamp { precision: 6 };
        assert_eq!(cast(timestamp, PLAIN, "timestamp"), "::timestamptz::timestamp");
        assert_eq!(cast(LogicalType::Date, PLAIN, "date"), "::date");
        assert_eq!(cast(LogicalType::Money, decimal(None), "money"), "::numeric::money");
        assert_eq!(cast(LogicalType::Money, PLAIN, "money"), "::money");
        assert_eq!(cast(PLAIN, PLAIN, "text"), "");
        let date = |value| written(PLAIN, column(LogicalType::Date, "date"), Value::Text(value));
        for fits in ["2024-02-29", "2024-02-29T00:00:00Z", "0044-03-15 BC", "infinity"] {
            assert!(date(fits).is_some(), "{fits}");
        }
        for refused in ["2024-02-29T12:00:00", "2024-02-29 00:00:00+02"] {
            assert!(date(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn blanks_are_not_cut_off() {
        let into = |value| written(PLAIN, column(PLAIN, "character varying(3)"), Value::Text(value));
        assert_eq!(into("ab "), Some(b"ab ".to_vec()));
        assert_eq!(into("abc "), None);
        // The server refuses this itself.
        assert_eq!(into("abcd"), Some(b"abcd".to_vec()));
    }

    #[test]
    fn texts_of_other_values_are_those_of_every_database() {
        let into = |source, value, kind| written(source, column(LogicalType::Text(kind), "text"), value);
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let time = LogicalType::TimestampTz { precision: 6 };
        assert_eq!(
            into(time.clone(), Value::Int(1_500_000), TextKind::Plain),
            text("1970-01-01T00:00:01.500000Z")
        );
        assert_eq!(
            into(time, Value::Int(1_500_000), TextKind::Json),
            text("\"1970-01-01T00:00:01.500000Z\"")
        );
        assert_eq!(
            into(LogicalType::Bytes, Value::Bytes(&[1, 255]), TextKind::Plain),
            text("01ff")
        );
        assert_eq!(into(decimal(None), Value::Text("1.50"), TextKind::Json), text("1.50"));
        assert_eq!(
            into(LogicalType::Float64, Value::Float64(1.5), TextKind::Json),
            text("1.5")
        );
    }
}
