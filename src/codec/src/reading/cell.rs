//! How the cells of one column are read: decided once per schema. The inverse of [`crate::values::cell`].

use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::calendar::Civil;
use tailrace_core::value::Interval;

use super::digits::{append_number, append_text, append_unscaled};
use super::fault::{Fault, Read, SCHEMA_UNUSABLE};
use super::moment::{self, Moment};
use super::parts::{Circle, INCOMPLETE, Parts, PartsForm, Sparse, Structured};
use super::shape::{Form, Shape};
use super::typed::Typed;
use super::wire::Wire;
use crate::notation::Optionality;
use crate::values::calendar::{Fraction, write_clock};
use crate::values::temporal::Unit;

/// Where values go, and what is needed on the way to put them together. Kept from record to record.
pub(crate) struct Cells<'a> {
    pub(crate) batch: &'a mut ChangeBatch,
    pub(crate) scratch: &'a mut Scratch,
}

/// Memory that is used again for each value.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) text: String,
    pub(crate) digits: String,
    pub(crate) bytes: Vec<u8>,
    /// Where the fields of a row begin.
    pub(crate) places: Vec<Option<usize>>,
}

/// How the cells of one column are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CellForm {
    /// There is only null.
    Nothing,
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Text,
    /// One of a list of symbols, by its place in the list where the notation has that.
    Symbol(Arc<[String]>),
    Bytes,
    Fixed(usize),
    /// Bytes of an unscaled value, or a number.
    Decimal(i64, Binary),
    /// The same, of a schema that does not say the scale.
    NoScale,
    VariableDecimal(PartsForm),
    /// Little-endian bits, so many where they always are.
    Bits(Option<u32>),
    DateText,
    Time(Unit),
    TimeText,
    TimeTzText,
    Timestamp(Unit),
    TimestampText,
    IntervalText,
    /// An amount of time in a unit.
    Duration(Unit),
    /// Debezium's structs of years, months, hours and so on.
    Structured(Structured, PartsForm),
    Array(Box<Element>),
    Map(Optionality),
    Point(PartsForm),
    Line(PartsForm),
    Circle(Circle),
    Geometry(PartsForm),
    FloatVector,
    DoubleVector,
    SparseVector(Sparse),
    /// A type behind the number of the only branch of a union.
    Branch(Box<CellForm>),
    /// Whatever it is, as JSON.
    Document(Box<Shape>),
    /// What stands there is read as a type that the schema does not say.
    Typed(Box<Typed>),
}

/// How bytes stand in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    /// Behind their length, or as base64.
    Prefixed,
    /// So many of them.
    Fixed(usize),
}

/// How the elements of a list are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) form: CellForm,
    pub(crate) optionality: Optionality,
}

/// The most bits that are read; PostgreSQL's strings have 83 886 080 at the most.
const MOST_BITS: usize = 83_886_080;

const NOT_16: Fault = Fault::value("is a number that its type of 16 bits cannot hold");
const NOT_32: Fault = Fault::value("is a number that its type of 32 bits cannot hold");
const TOO_MANY_BITS: Fault = Fault::value("has more bits than its type");
const FORMLESS: Fault = Fault::value("is of a form that nothing reads; please report this as a bug");
const NO_SCALE: Fault = Fault {
    code: SCHEMA_UNUSABLE,
    problem: "is a decimal of a schema that does not say its scale",
    remedy: "have its writer note a whole number as the parameter scale, or set the record aside with dead_letters",
};

// === impl CellForm ===

impl CellForm {
    /// Reads a value that is not null.
    pub(crate) fn read<W: Wire>(&self, wire: &mut W, cells: &mut Cells<'_>) -> Read<()> {
        match self {
            Self::Int64 => cells.batch.push_int(wire.int()?),
            Self::Int32 => cells.batch.push_int(int32(wire.int()?)?),
            Self::Text => cells.batch.push_text(wire.text(&mut cells.scratch.text)?)?,
            Self::Typed(typed) => return wire.typed(typed, cells),
            Self::Boolean => cells.batch.push_boolean(wire.boolean()?),
            Self::Float64 => cells.batch.push_float64(wire.float64()?),
            Self::Decimal(scale, binary) => return read_decimal(wire, (*scale, *binary), cells),
            Self::Timestamp(unit) => push_moment(Moment::of_units(wire.int()?, *unit)?, cells)?,
            Self::TimestampText => push_moment(moment::timestamp(wire.text(&mut cells.scratch.text)?)?, cells)?,
            Self::Bytes => cells.batch.push_bytes(wire.bytes(&mut cells.scratch.bytes)?)?,
            other => return other.read_rarer(wire, cells),
        }
        Ok(())
    }

    fn read_rarer<W: Wire>(&self, wire: &mut W, cells: &mut Cells<'_>) -> Read<()> {
        match self {
            Self::Nothing => cells.batch.push_null(),
            Self::NoScale => return Err(NO_SCALE),
            Self::Int16 => cells.batch.push_int(int16(wire.int()?)?),
            Self::Float32 => cells.batch.push_float32(wire.float32()?),
            Self::Symbol(symbols) => {
                let symbol = wire.symbol(symbols, &mut cells.scratch.text)?;
                cells.batch.push_text(symbol)?;
            }
            Self::Fixed(length) => {
                let bytes = wire.fixed(*length, &mut cells.scratch.bytes)?;
                cells.batch.push_bytes(bytes)?;
            }
            Self::Bits(length) => push_bits(wire.bytes(&mut cells.scratch.bytes)?, *length, cells.batch)?,
            Self::DateText => cells.batch.push_int(moment::date(wire.text(&mut cells.scratch.text)?)?),
            Self::Time(unit) => cells.batch.push_int(moment::time_of_units(wire.int()?, *unit)?),
            Self::TimeText => cells.batch.push_int(moment::time(wire.text(&mut cells.scratch.text)?)?),
            Self::TimeTzText => cells
                .batch
                .push_time_tz(moment::time_tz(wire.text(&mut cells.scratch.text)?)?),
            Self::IntervalText => {
                let interval = moment::interval(wire.text(&mut cells.scratch.text)?)?;
                cells.batch.push_interval(interval)?;
            }
            Self::Duration(unit) => {
                let microseconds = moment::time_of_units(wire.int()?, *unit)?;
                cells.batch.push_interval(Interval {
                    months: 0,
                    days: 0,
                    microseconds,
                })?;
            }
            Self::Array(element) => return read_array(wire, element, cells),
            Self::Map(optionality) => return read_map(wire, *optionality, cells),
            Self::FloatVector => {
                return read_vector(wire, cells, |wire, batch| {
                    wire.float32().map(|value| batch.push_float32(value))
                });
            }
            Self::DoubleVector => {
                return read_vector(wire, cells, |wire, batch| {
                    wire.float64().map(|value| batch.push_float64(value))
                });
            }
            Self::Circle(circle) => return circle.read(wire, cells),
            Self::SparseVector(sparse) => return sparse.read(wire, cells),
            Self::Document(shape) => {
                let document = &mut cells.scratch.digits;
                document.clear();
                wire.document(shape, document)?;
                match document.as_str() {
                    "null" => cells.batch.push_null(),
                    document => cells.batch.push_text(document)?,
                }
            }
            Self::Branch(form) => {
                wire.only_branch()?;
                return form.read(wire, cells);
            }
            other => return other.read_parts(wire, cells),
        }
        Ok(())
    }

    /// Reads what is a struct of known fields.
    fn read_parts<W: Wire>(&self, wire: &mut W, cells: &mut Cells<'_>) -> Read<()> {
        let (Self::VariableDecimal(form)
        | Self::Structured(_, form)
        | Self::Point(form)
        | Self::Line(form)
        | Self::Geometry(form)) = self
        else {
            return Err(FORMLESS);
        };
        let parts = form.read(wire, cells.scratch)?;
        match self {
            Self::VariableDecimal(_) => push_variable(&parts, cells),
            Self::Structured(structured, _) => structured.push(&parts, cells),
            Self::Point(_) => parts.push_point(cells.batch),
            Self::Line(_) => parts.push_numbers(cells.batch, 3),
            _ => parts.push_geometry(cells),
        }
    }

    /// True where the value itself is a list in brackets, so that one more bracket is no other dimension.
    fn is_list(&self) -> bool {
        match self {
            Self::Array(_) | Self::FloatVector | Self::DoubleVector | Self::Document(_) => true,
            Self::Branch(form) => form.is_list(),
            _ => false,
        }
    }
}

fn int16(value: i64) -> Read<i64> {
    i16::try_from(value).map(i64::from).map_err(|_| NOT_16)
}

fn int32(value: i64) -> Read<i64> {
    i32::try_from(value).map(i64::from).map_err(|_| NOT_32)
}

/// The same for a number that has a type.
pub(crate) fn whole_number(value: i64, bits: u8) -> Read<i64> {
    match bits {
        16 => int16(value),
        32 => int32(value),
        _ => Ok(value),
    }
}

fn read_decimal<W: Wire>(wire: &mut W, (scale, binary): (i64, Binary), cells: &mut Cells<'_>) -> Read<()> {
    let Scratch {
        text, digits, bytes, ..
    } = &mut *cells.scratch;
    // Connect's JSON converter writes it so under `decimal.format=NUMERIC`.
    if wire.is_at_number() {
        text.clear();
        wire.document(&Shape::of(Form::Anything), text)?;
        digits.clear();
        append_number(digits, text)?;
        cells.batch.push_text(digits)?;
        return Ok(());
    }
    let bytes = match binary {
        Binary::Prefixed => wire.bytes(bytes)?,
        Binary::Fixed(length) => wire.fixed(length, bytes)?,
    };
    digits.clear();
    append_unscaled(digits, bytes, scale)?;
    cells.batch.push_text(digits)?;
    Ok(())
}

pub(crate) fn push_variable(parts: &Parts, cells: &mut Cells<'_>) -> Read<()> {
    // Where the struct had no bytes, the scratch has those of an earlier value.
    let (Some(scale), true) = (parts.int(0), parts.has_bytes(1)) else {
        return Err(INCOMPLETE);
    };
    let Scratch { digits, bytes, .. } = &mut *cells.scratch;
    digits.clear();
    append_unscaled(digits, bytes, scale)?;
    cells.batch.push_text(digits)?;
    Ok(())
}

/// Digits that stand in text.
pub(crate) fn push_digits(text: &str, digits: &mut String, batch: &mut ChangeBatch) -> Read<()> {
    digits.clear();
    append_text(digits, text)?;
    batch.push_text(digits)?;
    Ok(())
}

/// The cell of a moment.
pub(crate) fn push_moment(moment: Moment, cells: &mut Cells<'_>) -> Read<()> {
    match moment {
        Moment::At(at) => cells.batch.push_int(at),
        Moment::Late { days, of_day } => {
            let Civil { year, month, day } = Civil::from_days(days);
            let mut clock = Vec::new();
            write_clock(&mut clock, of_day, Fraction::Needed);
            let clock = String::from_utf8_lossy(&clock);
            cells.batch.push_text(&format!("{year}-{month:02}-{day:02}T{clock}"))?;
        }
    }
    Ok(())
}

/// Bits, first bit first, of little-endian bytes; so many where there are always so many.
pub(crate) fn push_bits(bytes: &[u8], length: Option<u32>, batch: &mut ChangeBatch) -> Read<()> {
    let significant = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| {
        let zeros = bytes.get(last).map_or(0, |byte| byte.leading_zeros());
        (last + 1) * 8 - usize::try_from(zeros).unwrap_or_default()
    });
    let length = length.map_or(significant, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if significant > length || length > MOST_BITS {
        return Err(TOO_MANY_BITS);
    }
    let bit = |index: usize| bytes.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1);
    batch.push_text_with(|out| out.extend((0..length).rev().map(|index| if bit(index) { '1' } else { '0' })))?;
    Ok(())
}

/// Elements of an array; another list in place of an element is another dimension.
fn read_array<W: Wire>(wire: &mut W, element: &Element, cells: &mut Cells<'_>) -> Read<()> {
    // A list that has no place for what the database says (bounds that do not start at 1) is its text.
    if wire.is_at_text() {
        cells.batch.push_text(wire.text(&mut cells.scratch.text)?)?;
        return Ok(());
    }
    read_dimension(wire, element, cells, DIMENSIONS)
}

/// How many dimensions an array may have; PostgreSQL's have six.
const DIMENSIONS: u8 = 16;
const TOO_MANY_DIMENSIONS: Fault = Fault::value("is an array of more than 16 dimensions");

fn read_dimension<W: Wire>(wire: &mut W, element: &Element, cells: &mut Cells<'_>, left: u8) -> Read<()> {
    let left = left.checked_sub(1).ok_or(TOO_MANY_DIMENSIONS)?;
    cells.batch.begin_list();
    let mut place = wire.begin_list()?;
    while wire.next_element(&mut place)? {
        if wire.take_null(element.optionality)? {
            cells.batch.push_null();
        } else if !element.form.is_list() && wire.is_at_list() {
            read_dimension(wire, element, cells, left)?;
        } else {
            element.form.read(wire, cells)?;
        }
    }
    cells.batch.end_list()?;
    Ok(())
}

fn read_map<W: Wire>(wire: &mut W, values: Optionality, cells: &mut Cells<'_>) -> Read<()> {
    cells.batch.begin_list();
    let mut place = wire.begin_map()?;
    while wire.next_entry(&mut place, &mut cells.scratch.digits)? {
        cells.batch.push_text(&cells.scratch.digits)?;
        if wire.take_null(values)? {
            cells.batch.push_null();
        } else {
            cells.batch.push_text(wire.text(&mut cells.scratch.text)?)?;
        }
    }
    cells.batch.end_list()?;
    Ok(())
}

fn read_vector<W: Wire>(
    wire: &mut W,
    cells: &mut Cells<'_>,
    element: impl Fn(&mut W, &mut ChangeBatch) -> Read<()>,
) -> Read<()> {
    cells.batch.begin_list();
    let mut place = wire.begin_list()?;
    while wire.next_element(&mut place)? {
        element(wire, cells.batch)?;
    }
    cells.batch.end_list()?;
    Ok(())
}
