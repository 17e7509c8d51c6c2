//! What a schema means: the logical type of its values, and how their cells are read.

use std::sync::Arc;

use tailrace_core::value::{LogicalType, TextKind};

use super::cell::{Binary, CellForm, Element};
use super::parts::{Circle, PartsForm, Sparse, Structured};
use super::shape::{Form, Shape, text_kind};
use super::typed::{Rules, typed_form};
use crate::values::cell::UNLIMITED_BITS;
use crate::values::temporal::Unit;

/// Fraction digits of a unit.
const MILLISECONDS: u8 = 3;
const MICROSECONDS: u8 = 6;

/// The logical type of a schema's values, and how their cells are read. What fits none is its JSON.
pub(crate) fn meaning(shape: &Shape) -> (LogicalType, CellForm) {
    known(shape).unwrap_or_else(|| document(shape))
}

fn document(shape: &Shape) -> (LogicalType, CellForm) {
    // Whether it is null is asked before.
    let required = Shape {
        optionality: crate::notation::Optionality::Required,
        ..shape.clone()
    };
    (
        LogicalType::Text(TextKind::Json),
        CellForm::Document(Box::new(required)),
    )
}

fn known(shape: &Shape) -> Option<(LogicalType, CellForm)> {
    let meaning = shape.meaning.as_deref().unwrap_or_default();
    Some(match &shape.form {
        Form::Null => (LogicalType::Text(TextKind::Plain), CellForm::Nothing),
        Form::Boolean => (LogicalType::Boolean, CellForm::Boolean),
        Form::Int { bits } => int(*bits, meaning),
        Form::Float => (LogicalType::Float32, CellForm::Float32),
        Form::Double => (LogicalType::Float64, CellForm::Float64),
        Form::Number => (
            LogicalType::Float64,
            typed_form(&LogicalType::Float64, Rules::of_number()),
        ),
        Form::Text => text(shape, meaning),
        Form::Symbols(symbols) => (
            LogicalType::Text(TextKind::Enum(Arc::clone(symbols))),
            CellForm::Symbol(Arc::clone(symbols)),
        ),
        Form::Bytes => bytes(shape, meaning),
        Form::Encoded(binary) => (
            LogicalType::Bytes,
            typed_form(&LogicalType::Bytes, Rules::of_binary(*binary)),
        ),
        Form::Fixed(length) if meaning == "decimal" => decimal(shape, Binary::Fixed(*length)),
        Form::Fixed(length) => (LogicalType::Bytes, CellForm::Fixed(*length)),
        Form::List(items) => list(items, meaning)?,
        Form::Map(values) if values.form == Form::Text && values.meaning.is_none() => {
            (LogicalType::Map, CellForm::Map(values.optionality))
        }
        Form::Struct(_) => structure(shape, meaning)?,
        Form::Union(branches) => match branches.as_slice() {
            [only] => {
                let (logical_type, form) = known(only)?;
                (logical_type, CellForm::Branch(Box::new(form)))
            }
            _ => return None,
        },
        Form::Map(_) | Form::Pairs(..) | Form::Anything => return None,
    })
}

fn int(bits: u8, meaning: &str) -> (LogicalType, CellForm) {
    let time = |unit| {
        (
            LogicalType::Time {
                precision: digits(unit),
            },
            CellForm::Time(unit),
        )
    };
    let local = |unit| {
        let precision = digits(unit);
        (LogicalType::Timestamp { precision }, CellForm::Timestamp(unit))
    };
    let zoned = |unit| {
        let precision = digits(unit);
        (LogicalType::TimestampTz { precision }, CellForm::Timestamp(unit))
    };
    match meaning {
        "year" => (LogicalType::Year, CellForm::Int32),
        "date" => (LogicalType::Date, CellForm::Int32),
        "time" | "time-millis" => time(Unit::Milliseconds),
        "microtime" | "time-micros" => time(Unit::Microseconds),
        "nanotime" => time(Unit::Nanoseconds),
        "timestamp" | "local-timestamp-millis" => local(Unit::Milliseconds),
        "microtimestamp" | "local-timestamp-micros" => local(Unit::Microseconds),
        "nanotimestamp" | "local-timestamp-nanos" => local(Unit::Nanoseconds),
        "timestamp-millis" => zoned(Unit::Milliseconds),
        "timestamp-micros" => zoned(Unit::Microseconds),
        "timestamp-nanos" => zoned(Unit::Nanoseconds),
        "microduration" => (LogicalType::Interval, CellForm::Duration(Unit::Microseconds)),
        "nanoduration" => (LogicalType::Interval, CellForm::Duration(Unit::Nanoseconds)),
        _ => match bits {
            16 => (LogicalType::Int16, CellForm::Int16),
            32 => (LogicalType::Int32, CellForm::Int32),
            _ => (LogicalType::Int64, CellForm::Int64),
        },
    }
}

fn digits(unit: Unit) -> u8 {
    match unit {
        Unit::Milliseconds => MILLISECONDS,
        Unit::Microseconds | Unit::Nanoseconds => MICROSECONDS,
    }
}

fn text(shape: &Shape, meaning: &str) -> (LogicalType, CellForm) {
    let precision = MICROSECONDS;
    match meaning {
        "isodate" => (LogicalType::Date, CellForm::DateText),
        "isotime" => (LogicalType::Time { precision }, CellForm::TimeText),
        "isotimestamp" => (LogicalType::Timestamp { precision }, CellForm::TimestampText),
        "zonedtime" => (LogicalType::TimeTz { precision }, CellForm::TimeTzText),
        "zonedtimestamp" => (LogicalType::TimestampTz { precision }, CellForm::TimestampText),
        "interval" => (LogicalType::Interval, CellForm::IntervalText),
        _ => (LogicalType::Text(text_kind(shape)), CellForm::Text),
    }
}

fn bytes(shape: &Shape, meaning: &str) -> (LogicalType, CellForm) {
    match meaning {
        "decimal" => decimal(shape, Binary::Prefixed),
        "bits" => {
            let length = shape.number("length").filter(|length| *length != UNLIMITED_BITS);
            (LogicalType::Bits { length }, CellForm::Bits(length))
        }
        _ => (LogicalType::Bytes, CellForm::Bytes),
    }
}

fn decimal(shape: &Shape, binary: Binary) -> (LogicalType, CellForm) {
    let scale: Option<i32> = shape.parameter("scale").and_then(|scale| scale.parse().ok());
    let Some(scale) = scale else {
        let logical_type = LogicalType::Decimal {
            precision: None,
            scale: None,
        };
        return (logical_type, CellForm::NoScale);
    };
    // Below zero it is a number of zeros at the end of each value.
    let zeros = u32::try_from(-i64::from(scale).min(0)).unwrap_or_default();
    let precision = shape.number("connect.decimal.precision");
    let logical_type = LogicalType::Decimal {
        precision: precision.map(|precision| precision.saturating_add(zeros)),
        scale: Some(u32::try_from(scale).unwrap_or_default()),
    };
    (logical_type, CellForm::Decimal(scale.into(), binary))
}

fn list(items: &Shape, name: &str) -> Option<(LogicalType, CellForm)> {
    match (name, &items.form) {
        ("floatvector", Form::Float) => return Some((LogicalType::FloatVector, CellForm::FloatVector)),
        ("doublevector", Form::Double | Form::Number) => {
            return Some((LogicalType::DoubleVector, CellForm::DoubleVector));
        }
        _ => {}
    }
    let (logical_type, form) = known(items)?;
    let element = Element {
        form,
        optionality: items.optionality,
    };
    Some((
        LogicalType::Array(Box::new(logical_type)),
        CellForm::Array(Box::new(element)),
    ))
}

fn structure(shape: &Shape, meaning: &str) -> Option<(LogicalType, CellForm)> {
    let geometry = |logical_type| {
        Some((
            logical_type,
            CellForm::Geometry(PartsForm::new(shape, &["wkb", "srid", "extensions"], 1)?),
        ))
    };
    if let Some(structured) = Structured::of(meaning) {
        let precision = MICROSECONDS;
        let logical_type = match structured {
            Structured::Date => LogicalType::Date,
            Structured::Time => LogicalType::Time { precision },
            Structured::TimeTz => LogicalType::TimeTz { precision },
            Structured::Timestamp => LogicalType::Timestamp { precision },
            Structured::TimestampTz => LogicalType::TimestampTz { precision },
            Structured::Duration => LogicalType::Interval,
        };
        return Some((logical_type, CellForm::Structured(structured, structured.form(shape)?)));
    }
    Some(match meaning {
        "variablescaledecimal" => {
            let logical_type = LogicalType::Decimal {
                precision: None,
                scale: None,
            };
            let parts = PartsForm::new(shape, &["scale", "value"], 2)?;
            (logical_type, CellForm::VariableDecimal(parts))
        }
        "point" => (
            LogicalType::Point,
            CellForm::Point(PartsForm::new(shape, &["x", "y", "srid"], 2)?),
        ),
        "line" => (
            LogicalType::Line,
            CellForm::Line(PartsForm::new(shape, &["a", "b", "c"], 3)?),
        ),
        "circle" => (LogicalType::Circle, CellForm::Circle(Circle::new(shape)?)),
        "geometry" => return geometry(LogicalType::Geometry),
        "geography" => return geometry(LogicalType::Geography),
        "sparsedoublevector" => (LogicalType::SparseVector, CellForm::SparseVector(Sparse::new(shape)?)),
        _ => return None,
    })
}
