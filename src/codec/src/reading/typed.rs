//! Values without a schema: JSON, read as the type that they should have, which the contract or the table that is written into says.
//!
//! What may be several things is refused and never guessed: a number for a time has no unit, and text for a decimal in Debezium's
//! envelope may be base64.

use std::fmt::LowerExp;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use tailrace_core::value::{LogicalType, ShapeKind, TextKind};

use super::cell::{Binary, CellForm, Cells, Element, push_bits, push_digits, push_moment, push_variable, whole_number};
use super::digits::append_number;
use super::fault::{DECIMAL_UNKNOWN, Fault, NO_BOOLEAN, Read, TIME_UNIT_UNKNOWN, VALUE_UNREADABLE};
use super::meaning::meaning;
use super::moment::{self, Moment};
use super::parts::{PartsForm, Structured};
use super::shape::{Form, Shape};
use super::wire::{BEYOND_FLOAT, JsonWire, Place, Token, Wire};
use crate::format::{
    BigintUnsignedFormat, BinaryFormat, DecimalFormat, Envelope, FormatConfig, IntervalFormat, TimeFormat,
};
use crate::notation::Optionality;
use crate::values::temporal::Unit;

/// A type that values should have, and what is said of how they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) logical_type: LogicalType,
    pub(crate) rules: Rules,
}

/// What is said of how values without a schema are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) envelope: Envelope,
    time: Option<TimeFormat>,
    decimal: Option<DecimalFormat>,
    bigint_unsigned: Option<BigintUnsignedFormat>,
    interval: Option<IntervalFormat>,
    binary: Option<BinaryFormat>,
    /// A number must have every digit that is written.
    is_exact: bool,
}

const NO_DIGITS: Fault = Fault::value("is no number, which its column holds");
const NOT_SINGLE: Fault = Fault::value("has more digits than single precision, which its column is of, holds");
const NOT_DOUBLE: Fault = Fault {
    code: VALUE_UNREADABLE,
    problem: "has more digits than double precision, which a JSON Schema's number is read as, holds",
    remedy: "have it written as a string, or with the type that Connect notes for decimals, or set the record aside with dead_letters",
};
/// Decimal digits that every number of single precision holds, and every one of double precision.
const DIGITS_OF_SINGLE: usize = 6;
const DIGITS_OF_DOUBLE: usize = 15;
/// More digits than any number of double precision has.
const MOST_DIGITS: usize = 800;
const NOT_UNSIGNED: Fault = Fault::value("is no whole number from 0 to 18446744073709551615");
const NO_BINARY: Fault = Fault::value("is not written as format.binary says (base64 where it says nothing)");
const NO_BITS: Fault = Fault::value("is no string of 0 and 1");
const NO_MAP: Fault = Fault::value("is no JSON object of texts");
const NO_SHAPE: Fault = Fault::value("is no object with the field wkb, which figures are written as");
const WRONG_KIND: Fault = Fault::value("is JSON of another kind than its column holds");
const NO_UNIT: Fault = Fault {
    code: TIME_UNIT_UNKNOWN,
    problem: "is a number for a date or time, and nothing says its unit",
    remedy: "set format.time to what its writer uses (connect, microseconds or nanoseconds), or have it write schemas with its events",
};
const NO_FORM: Fault = Fault {
    code: DECIMAL_UNKNOWN,
    problem: "is text for a decimal number, which may be digits or base64",
    remedy: "set format.decimal: string where its writer uses strings (decimal.handling.mode=string), or have it write schemas with its events",
};
const NO_UNSIGNED_FORM: Fault = Fault {
    code: DECIMAL_UNKNOWN,
    problem: "is text for a number without a sign, which may be digits or base64",
    remedy: "set format.bigint_unsigned: precise where its writer uses base64 (bigint.unsigned.handling.mode=precise), or have it write schemas with its events",
};
const NO_INTERVAL_UNIT: Fault = Fault {
    code: TIME_UNIT_UNKNOWN,
    problem: "is a number for an interval, and nothing says its unit",
    remedy: "set format.interval: numeric where it is microseconds, as Debezium writes it, or have its writer write ISO 8601 text",
};

// === impl Rules ===

impl Rules {
    /// What a format says of values in an envelope.
    pub(crate) fn new(envelope: Envelope, format: &FormatConfig) -> Self {
        Self {
            envelope,
            time: format.time,
            decimal: format.decimal,
            bigint_unsigned: format.bigint_unsigned,
            interval: format.interval,
            binary: format.binary,
            is_exact: false,
        }
    }

    /// Where all that is said is how bytes are written, which a schema does.
    pub(crate) fn of_binary(binary: BinaryFormat) -> Self {
        Self {
            envelope: Envelope::Entity,
            time: None,
            decimal: None,
            bigint_unsigned: None,
            interval: None,
            binary: Some(binary),
            is_exact: false,
        }
    }

    /// Where all that is said is that values are numbers.
    pub(crate) fn of_number() -> Self {
        Self {
            binary: None,
            is_exact: true,
            ..Self::of_binary(BinaryFormat::Bytes)
        }
    }

    /// The unit of numbers for timestamps.
    fn timestamp_unit(self) -> Read<Unit> {
        match self.time {
            Some(TimeFormat::Connect) => Ok(Unit::Milliseconds),
            Some(TimeFormat::Microseconds) => Ok(Unit::Microseconds),
            Some(TimeFormat::Nanoseconds) => Ok(Unit::Nanoseconds),
            _ => Err(NO_UNIT),
        }
    }

    /// The unit of numbers for times of day.
    fn time_unit(self) -> Read<Unit> {
        match self.time {
            Some(TimeFormat::AdaptiveTimeMicroseconds) => Ok(Unit::Microseconds),
            _ => self.timestamp_unit(),
        }
    }

    /// Numbers for dates are days under every format that has numbers, and in Debezium's envelope always.
    fn has_days(self) -> bool {
        self.envelope == Envelope::Debezium || self.time.is_some()
    }
}

/// How values of a type are read that have no schema.
pub(crate) fn typed_form(logical_type: &LogicalType, rules: Rules) -> CellForm {
    match logical_type {
        LogicalType::Array(element) => CellForm::Array(Box::new(Element {
            form: typed_form(element, rules),
            optionality: Optionality::NullFirst,
        })),
        LogicalType::FloatVector => CellForm::FloatVector,
        LogicalType::DoubleVector => CellForm::DoubleVector,
        LogicalType::Point | LogicalType::Line | LogicalType::Circle | LogicalType::SparseVector => {
            meaning(&structure(logical_type, rules)).1
        }
        LogicalType::Geometry | LogicalType::Geography => meaning(&structure(&LogicalType::Geometry, rules)).1,
        _ => CellForm::Typed(Box::new(Typed {
            logical_type: logical_type.clone(),
            rules,
        })),
    }
}

/// The schema that a struct would have; JSON names its fields, so that others may be there too.
fn structure(logical_type: &LogicalType, rules: Rules) -> Shape {
    let field = |name: &str, form| (name.to_owned(), Shape::of(form));
    let double = |name| field(name, Form::Double);
    let srid = || {
        let (name, shape) = field("srid", Form::Int { bits: 64 });
        let optionality = Optionality::NullFirst;
        (name, Shape { optionality, ..shape })
    };
    let named = |name: &str, fields| Shape {
        meaning: Some(name.to_owned()),
        ..Shape::of(Form::Struct(fields))
    };
    let point = || named("point", vec![double("x"), double("y"), srid()]);
    match logical_type {
        LogicalType::Point => point(),
        LogicalType::Line => named("line", vec![double("a"), double("b"), double("c")]),
        LogicalType::Circle => named("circle", vec![("center".to_owned(), point()), double("radius")]),
        LogicalType::SparseVector => {
            let double = || Box::new(Shape::of(Form::Double));
            let index = Box::new(Shape::of(Form::Int { bits: 64 }));
            let vector = match rules.envelope {
                Envelope::Debezium => Form::Pairs(index, double()),
                Envelope::Entity => Form::Map(double()),
            };
            let fields = vec![field("dimensions", Form::Int { bits: 64 }), field("vector", vector)];
            named("sparsedoublevector", fields)
        }
        _ => named("geometry", vec![field("wkb", Form::Bytes), srid()]),
    }
}

/// Reads a value that is not null.
pub(crate) fn read_typed(json: &mut JsonWire<'_>, typed: &Typed, cells: &mut Cells<'_>) -> Read<()> {
    let rules = typed.rules;
    match &typed.logical_type {
        LogicalType::Int64 => read_int(json, 64, cells),
        LogicalType::Int32 | LogicalType::Year => read_int(json, 32, cells),
        LogicalType::Int16 => read_int(json, 16, cells),
        LogicalType::Text(_) => read_text(json, cells),
        LogicalType::Boolean => read_boolean(json, cells),
        LogicalType::Decimal { .. } | LogicalType::Money => read_decimal(json, rules, cells),
        LogicalType::Float64 => read_float64(json, rules, cells),
        LogicalType::Float32 => read_float32(json, cells),
        LogicalType::TimestampTz { .. } | LogicalType::Timestamp { .. } => read_timestamp(json, rules, cells),
        LogicalType::Date => read_date(json, rules, cells),
        LogicalType::Time { .. } => read_time(json, rules, cells),
        LogicalType::TimeTz { .. } if json.is_at_object() => read_structured(Structured::TimeTz, json, cells),
        LogicalType::TimeTz { .. } => {
            let time = moment::time_tz(json.string(&mut cells.scratch.text)?)?;
            cells.batch.push_time_tz(time);
            Ok(())
        }
        LogicalType::Bytes => read_bytes(json, rules, cells),
        LogicalType::UnsignedInt64 => read_unsigned(json, rules, cells),
        LogicalType::Bits { length } => read_bits(json, *length, rules, cells),
        LogicalType::Interval => read_interval(json, rules, cells),
        LogicalType::Map => read_map(json, cells),
        LogicalType::Shape(kind) => read_shape(json, *kind, cells),
        // They have forms of their own.
        _ => Err(WRONG_KIND),
    }
}

fn read_int(json: &mut JsonWire<'_>, bits: u8, cells: &mut Cells<'_>) -> Read<()> {
    let value = match json.peek() {
        Some(b'"') => {
            let text = json.string(&mut cells.scratch.text)?;
            text.parse().map_err(|_| NO_DIGITS)?
        }
        Some(b't' | b'f') => i64::from(json.boolean()?),
        _ => json.int()?,
    };
    cells.batch.push_int(whole_number(value, bits)?);
    Ok(())
}

/// Digits, or in Debezium's envelope the bytes of an unscaled value.
fn read_unsigned(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    let token = json.token()?;
    if token == Token::Text {
        let is_base64 = match rules.envelope {
            Envelope::Entity => rules.decimal == Some(DecimalFormat::Precise),
            Envelope::Debezium if rules.bigint_unsigned == Some(BigintUnsignedFormat::Precise) => true,
            Envelope::Debezium => return Err(NO_UNSIGNED_FORM),
        };
        if is_base64 {
            return CellForm::Decimal(0, Binary::Prefixed).read(json, cells);
        }
    }
    let digits = match token {
        Token::Text => json.string(&mut cells.scratch.text)?,
        _ => json.number()?,
    };
    let value: u64 = digits.parse().map_err(|_| NOT_UNSIGNED)?;
    cells.batch.push_text(itoa::Buffer::new().format(value))?;
    Ok(())
}

fn read_boolean(json: &mut JsonWire<'_>, cells: &mut Cells<'_>) -> Read<()> {
    let value = match json.token()? {
        Token::Boolean => json.boolean()?,
        Token::Number => match json.number()? {
            "1" => true,
            "0" => false,
            _ => return Err(NO_BOOLEAN),
        },
        _ => return Err(NO_BOOLEAN),
    };
    cells.batch.push_boolean(value);
    Ok(())
}

fn read_float64(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    let text = float_text(json, &mut cells.scratch.text)?;
    let value: f64 = digits_or_word(text)?;
    if rules.is_exact
        && has_digits(text)
        && !(value.is_normal() && is_short(text, DIGITS_OF_DOUBLE))
        && !has_all_digits(text, value)
    {
        return Err(NOT_DOUBLE);
    }
    cells.batch.push_float64(value);
    Ok(())
}

/// Single precision, where no digit of the number is lost.
fn read_float32(json: &mut JsonWire<'_>, cells: &mut Cells<'_>) -> Read<()> {
    let text = float_text(json, &mut cells.scratch.text)?;
    let value: f32 = digits_or_word(text)?;
    // Numbers next to zero have fewer digits.
    if has_digits(text) && !(value.is_normal() && is_short(text, DIGITS_OF_SINGLE)) && !has_all_digits(text, value) {
        return Err(NOT_SINGLE);
    }
    cells.batch.push_float32(value);
    Ok(())
}

/// A number, in quotes or not, or in quotes one that JSON has none for.
fn float_text<'s, 'a: 's>(json: &mut JsonWire<'a>, scratch: &'s mut String) -> Read<&'s str> {
    match json.peek() {
        Some(b'"') => json.string(scratch),
        _ => json.number(),
    }
}

/// Only a word is infinite, or no number.
fn digits_or_word<T: FromStr + Into<f64> + Copy>(text: &str) -> Read<T> {
    let value: T = text.parse().map_err(|_| NO_DIGITS)?;
    if value.into().is_finite() || !has_digits(text) {
        Ok(value)
    } else {
        Err(BEYOND_FLOAT)
    }
}

fn has_digits(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

fn digits(number: &str) -> impl Iterator<Item = u8> {
    significant(number).bytes().filter(u8::is_ascii_digit)
}

fn is_short(number: &str, most: usize) -> bool {
    digits(number).count() <= most
}

/// Whether a number has every digit of the text that it is the nearest to: in single precision 0.1 and 16777216 do, 16777217 does not.
fn has_all_digits(text: &str, value: impl LowerExp) -> bool {
    let count = digits(text).count();
    let is_it = |written: &str| digits(written).eq(digits(text));
    count == 0 || (count <= MOST_DIGITS && (is_it(&format!("{value:.*e}", count - 1)) || is_it(&format!("{value:e}"))))
}

/// The digits of a number from the first to the last that is not zero, with the point where it lies between them.
fn significant(number: &str) -> &str {
    let (mantissa, _) = number.split_once(['e', 'E']).unwrap_or((number, ""));
    mantissa
        .trim_start_matches(['-', '+', '0', '.'])
        .trim_end_matches(['0', '.'])
}

/// Text as it is; what is no string is its JSON.
fn read_text(json: &mut JsonWire<'_>, cells: &mut Cells<'_>) -> Read<()> {
    if json.peek() == Some(b'"') {
        cells.batch.push_text(json.string(&mut cells.scratch.text)?)?;
        return Ok(());
    }
    let start = json.at();
    json.pass()?;
    cells.batch.push_text(json.between(start, json.at()))?;
    Ok(())
}

fn read_decimal(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    let digits = &mut cells.scratch.digits;
    match json.token()? {
        Token::Number => {
            digits.clear();
            append_number(digits, json.number()?)?;
            cells.batch.push_text(digits)?;
            Ok(())
        }
        Token::Text => {
            let text = json.string(&mut cells.scratch.text)?;
            let is_special = matches!(text, "NaN" | "Infinity" | "-Infinity");
            let is_known = match rules.decimal {
                Some(decimal) => decimal != DecimalFormat::Precise,
                None => rules.envelope == Envelope::Entity,
            };
            if !is_known && !is_special {
                return Err(NO_FORM);
            }
            push_digits(text, digits, cells.batch)
        }
        Token::Object => {
            let parts = PartsForm::variable_decimal().read_alone(json, cells.scratch)?;
            push_variable(&parts, cells)
        }
        _ => Err(NO_DIGITS),
    }
}

/// Debezium's struct of a date or time, which says its parts by name.
fn read_structured(structured: Structured, json: &mut JsonWire<'_>, cells: &mut Cells<'_>) -> Read<()> {
    let parts = structured.named().read_alone(json, cells.scratch)?;
    structured.push(&parts, cells)
}

fn read_timestamp(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    let moment = match json.peek() {
        Some(b'{') => return read_structured(Structured::TimestampTz, json, cells),
        Some(b'"') => moment::timestamp(json.string(&mut cells.scratch.text)?)?,
        _ => {
            let value = json.int()?;
            Moment::of_units(value, rules.timestamp_unit()?)?
        }
    };
    push_moment(moment, cells)
}

fn read_date(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    let days = match json.token()? {
        Token::Object => return read_structured(Structured::Date, json, cells),
        Token::Text => moment::date(json.string(&mut cells.scratch.text)?)?,
        _ => {
            let days = json.int()?;
            if !rules.has_days() {
                return Err(NO_UNIT);
            }
            whole_number(days, 32)?
        }
    };
    cells.batch.push_int(days);
    Ok(())
}

fn read_time(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    let time = match json.token()? {
        Token::Object => return read_structured(Structured::Time, json, cells),
        Token::Text => moment::time(json.string(&mut cells.scratch.text)?)?,
        _ => {
            let value = json.int()?;
            moment::time_of_units(value, rules.time_unit()?)?
        }
    };
    cells.batch.push_int(time);
    Ok(())
}

fn read_interval(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    match json.token()? {
        Token::Object => read_structured(Structured::Duration, json, cells),
        Token::Text => {
            let interval = moment::interval(json.string(&mut cells.scratch.text)?)?;
            cells.batch.push_interval(interval)?;
            Ok(())
        }
        _ if rules.interval == Some(IntervalFormat::Numeric) => {
            CellForm::Duration(Unit::Microseconds).read(json, cells)
        }
        _ => {
            json.int()?;
            Err(NO_INTERVAL_UNIT)
        }
    }
}

fn read_bytes(json: &mut JsonWire<'_>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    let text = json.string(&mut cells.scratch.text)?;
    let bytes = &mut cells.scratch.bytes;
    bytes.clear();
    match rules.binary {
        Some(BinaryFormat::Hex) => append_hex(bytes, text)?,
        Some(BinaryFormat::Base64UrlSafe) => URL_SAFE.decode_vec(text, bytes).map_err(|_| NO_BINARY)?,
        Some(BinaryFormat::Base64 | BinaryFormat::Bytes) | None => {
            STANDARD.decode_vec(text, bytes).map_err(|_| NO_BINARY)?;
        }
    }
    cells.batch.push_bytes(bytes)?;
    Ok(())
}

fn append_hex(out: &mut Vec<u8>, text: &str) -> Read<()> {
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|nibble| u8::try_from(nibble).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    for pair in pairs {
        let [high, low] = pair else {
            return Err(NO_BINARY);
        };
        let byte = nibble(*high).zip(nibble(*low)).ok_or(NO_BINARY)?;
        out.push(byte.0 << 4 | byte.1);
    }
    Ok(())
}

/// Bits as text, as true or false where there is one, and in Debezium's envelope as little-endian bytes.
fn read_bits(json: &mut JsonWire<'_>, length: Option<u32>, rules: Rules, cells: &mut Cells<'_>) -> Read<()> {
    if json.token()? == Token::Boolean {
        let bit = if json.boolean()? { "1" } else { "0" };
        cells.batch.push_text(bit)?;
        return Ok(());
    }
    if rules.envelope == Envelope::Debezium {
        let bytes = json.bytes(&mut cells.scratch.bytes)?;
        return push_bits(bytes, length, cells.batch);
    }
    let text = json.string(&mut cells.scratch.text)?;
    if text.bytes().any(|bit| !matches!(bit, b'0' | b'1')) {
        return Err(NO_BITS);
    }
    cells.batch.push_text(text)?;
    Ok(())
}

/// An object, or text that has one in it.
fn read_map(json: &mut JsonWire<'_>, cells: &mut Cells<'_>) -> Read<()> {
    let map = CellForm::Map(Optionality::NullFirst);
    if json.token()? != Token::Text {
        return map.read(json, cells);
    }
    let mut other = String::new();
    let inner = json.string(&mut other)?;
    let mut inner = JsonWire::new(inner);
    map.read(&mut inner, cells).map_err(|_| NO_MAP)?;
    inner.end().map_err(|_| NO_MAP)
}

/// WKB, and whether the figure is closed.
fn read_shape(json: &mut JsonWire<'_>, kind: ShapeKind, cells: &mut Cells<'_>) -> Read<()> {
    let mut closed = kind != ShapeKind::LineSegment;
    let mut is_there = false;
    let mut place = json.begin_map()?;
    while json.next_key(&mut place)? {
        let mut name = String::new();
        match json.name(&mut name)? {
            "wkb" => {
                json.bytes(&mut cells.scratch.bytes)?;
                is_there = true;
            }
            "extensions" => closed &= !is_open(json)?,
            _ => json.pass()?,
        }
    }
    if !is_there {
        return Err(NO_SHAPE);
    }
    cells.batch.begin_list();
    cells.batch.push_bytes(&cells.scratch.bytes)?;
    cells.batch.push_boolean(closed);
    cells.batch.end_list()?;
    Ok(())
}

fn is_open(json: &mut JsonWire<'_>) -> Read<bool> {
    if json.take_null(Optionality::NullFirst)? {
        return Ok(false);
    }
    let mut is_open = false;
    let mut place: Place = json.begin_map()?;
    while json.next_key(&mut place)? {
        let (mut name, mut text) = (String::new(), String::new());
        let is_closed = json.name(&mut name)? == "closed";
        let value = json.string(&mut text)?;
        is_open |= is_closed && value == "false";
    }
    Ok(is_open)
}

/// Which types a value may be read as that nobody has said a type for.
pub(crate) fn observed_type(token: Token, number: &str) -> LogicalType {
    match token {
        Token::Boolean => LogicalType::Boolean,
        Token::Number if number.contains(['.', 'e', 'E']) || number.parse::<i64>().is_err() => LogicalType::Decimal {
            precision: None,
            scale: None,
        },
        Token::Number => LogicalType::Int64,
        Token::Text | Token::Null => LogicalType::Text(TextKind::Plain),
        Token::List | Token::Object => LogicalType::Text(TextKind::Json),
    }
}

/// Whether a value may stand in a column whose type was told by another value.
pub(crate) fn fits_observed(logical_type: &LogicalType, json: &JsonWire<'_>) -> bool {
    let mut ahead = *json;
    let Ok(token) = ahead.token() else {
        return false;
    };
    match (logical_type, token) {
        (_, Token::Null)
        | (LogicalType::Boolean, Token::Boolean)
        | (LogicalType::Decimal { .. }, Token::Number)
        | (LogicalType::Text(TextKind::Plain), Token::Text)
        | (LogicalType::Text(TextKind::Json), Token::List | Token::Object) => true,
        (LogicalType::Int64, Token::Number) => ahead.int().is_ok(),
        _ => false,
    }
}

/// A number of a JSON value that is one.
pub(crate) fn number_of<'a>(json: &JsonWire<'a>) -> &'a str {
    let mut ahead = *json;
    ahead.number().unwrap_or_default()
}
