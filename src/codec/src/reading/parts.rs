//! Structs of known fields: decimals with their own scale, points, geometries, sparse vectors, and Debezium's structs of dates and
//! times. Which field is where is decided once per schema; a value's fields then go into numbered slots.

use std::sync::LazyLock;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::calendar::Civil;
use tailrace_core::value::{Interval, TimeTz};

use super::cell::{Cells, Scratch, push_moment};
use super::fault::{Fault, Read};
use super::moment::Moment;
use super::shape::{Form, Shape};
use super::wire::{Fields, Wire};
use crate::notation::Optionality;
use crate::values::calendar::DAY_US;
use crate::values::geometry::{EWKB_SRID_FLAG, srid_of};

/// Slots of the largest struct.
const SLOTS: usize = 9;

const INCOMPLETE: Fault = Fault::value("is a struct that lacks one of the fields that it is known by");
const OUT_OF_RANGE: Fault = Fault::value("is out of the range of its type");
const NO_WKB: Fault = Fault::value("is not WKB, which geometries are written as");

/// Where the fields of a struct go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartsForm {
    fields: Fields,
    parts: Vec<(Shape, Option<usize>)>,
}

/// A field's value; bytes and text are in the scratch, of which a struct has one each.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Null,
    Int(i64),
    Float(f64),
    Text,
    Bytes,
}

/// The values of a struct.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Parts([Part; SLOTS]);

/// Debezium's structs for dates and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Structured {
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Duration,
}

/// A circle: its centre is a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circle {
    fields: Fields,
    shapes: Vec<Shape>,
    center: PartsForm,
}

/// A vector that lists only what is not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    fields: Fields,
    shapes: Vec<Shape>,
}

// === impl PartsForm ===

impl PartsForm {
    /// Slots by the names that go into them; `None` where one of the first `needed` is missing.
    pub(crate) fn new(shape: &Shape, slots: &[&str], needed: usize) -> Option<Self> {
        let fields = shape.fields()?;
        let has = |slot: &&&str| fields.iter().any(|(name, _)| name == **slot);
        if slots.iter().take(needed).filter(has).count() < needed {
            return None;
        }
        let slot = |name: &str| slots.iter().position(|slot| *slot == name);
        Some(Self {
            fields: Fields::new(fields.iter().map(|(name, _)| name.clone()).collect()),
            parts: fields.iter().map(|(name, shape)| (shape.clone(), slot(name))).collect(),
        })
    }

    /// Slots in the order of their names, for JSON without a schema: numbers, and the text of what is infinite.
    fn named(slots: &[&str]) -> Self {
        let shape = |name: &&str| match *name {
            "specialValue" => Shape {
                form: Form::Text,
                ..number()
            },
            _ => number(),
        };
        Self {
            fields: Fields::new(slots.iter().map(|name| (*name).to_owned()).collect()),
            parts: slots
                .iter()
                .enumerate()
                .map(|(slot, name)| (shape(name), Some(slot)))
                .collect(),
        }
    }

    /// Reads the struct.
    pub(crate) fn read<W: Wire>(&self, wire: &mut W, scratch: &mut Scratch) -> Read<Parts> {
        let mut parts = Parts([Part::Null; SLOTS]);
        let mut place = wire.begin_struct()?;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            let Some((shape, slot)) = self.parts.get(index) else {
                continue;
            };
            match slot.and_then(|slot| parts.0.get_mut(slot)) {
                Some(part) => *part = read_part(wire, shape, scratch)?,
                None => wire.skip(shape)?,
            }
        }
        Ok(parts)
    }
}

fn number() -> Shape {
    Shape {
        optionality: Optionality::NullFirst,
        ..Shape::of(Form::Int { bits: 64 })
    }
}

fn read_part<W: Wire>(wire: &mut W, shape: &Shape, scratch: &mut Scratch) -> Read<Part> {
    if wire.take_null(shape.optionality)? {
        return Ok(Part::Null);
    }
    Ok(match &shape.form {
        Form::Int { .. } => Part::Int(wire.int()?),
        Form::Double => Part::Float(wire.float64()?),
        Form::Float => Part::Float(wire.float32()?.into()),
        Form::Text => {
            let mut other = String::new();
            let text = wire.text(&mut other)?;
            scratch.text.clear();
            scratch.text.push_str(text);
            Part::Text
        }
        Form::Bytes => {
            let mut other = Vec::new();
            let bytes = wire.bytes(&mut other)?;
            scratch.bytes.clear();
            scratch.bytes.extend_from_slice(bytes);
            Part::Bytes
        }
        _ => {
            wire.skip(&Shape {
                optionality: Optionality::Required,
                ..shape.clone()
            })?;
            Part::Null
        }
    })
}

// === impl Parts ===

impl Parts {
    fn part(&self, slot: usize) -> Part {
        self.0.get(slot).copied().unwrap_or(Part::Null)
    }

    /// A slot's number.
    pub(crate) fn int(&self, slot: usize) -> Option<i64> {
        match self.part(slot) {
            Part::Int(value) => Some(value),
            _ => None,
        }
    }

    /// A slot's number, which may be written without a fraction.
    fn float(&self, slot: usize) -> Option<f64> {
        match self.part(slot) {
            Part::Float(value) => Some(value),
            // An integer of JSON text that a double is written as.
            #[expect(
                clippy::cast_precision_loss,
                reason = "the nearest double is what such a number stands for"
            )]
            Part::Int(value) => Some(value as f64),
            _ => None,
        }
    }

    /// The first slots as a list of doubles.
    pub(crate) fn push_numbers(&self, batch: &mut ChangeBatch, count: usize) -> Read<()> {
        batch.begin_list();
        for slot in 0..count {
            batch.push_float64(self.float(slot).ok_or(INCOMPLETE)?);
        }
        batch.end_list()?;
        Ok(())
    }

    /// x, y, and the number of the reference system where there is one.
    pub(crate) fn push_point(&self, batch: &mut ChangeBatch) -> Read<()> {
        batch.begin_list();
        for slot in 0..2 {
            batch.push_float64(self.float(slot).ok_or(INCOMPLETE)?);
        }
        if let Some(srid) = self.int(2) {
            batch.push_int(srid);
        }
        batch.end_list()?;
        Ok(())
    }

    /// EWKB of WKB and the number of its reference system, which may stand in either.
    pub(crate) fn push_geometry(&self, cells: &mut Cells<'_>) -> Read<()> {
        if self.part(0) != Part::Bytes {
            return Err(INCOMPLETE);
        }
        let wkb = &cells.scratch.bytes;
        let Some(srid) = self.int(1) else {
            return cells.batch.push_bytes(wkb).map_err(Fault::from);
        };
        match srid_of(wkb).map_err(|_| NO_WKB)? {
            None => {
                let srid = u32::try_from(srid).map_err(|_| OUT_OF_RANGE)?;
                cells.batch.push_bytes_with(|out| append_ewkb(out, wkb, srid))?;
            }
            Some(_) => cells.batch.push_bytes(wkb)?,
        }
        Ok(())
    }
}

/// WKB with the number of its reference system behind its type, which then has a flag.
fn append_ewkb(out: &mut Vec<u8>, wkb: &[u8], srid: u32) {
    let Some((head, rest)) = wkb.split_at_checked(1 + 4) else {
        return;
    };
    let is_big = head.first() == Some(&0);
    let start = out.len();
    out.extend_from_slice(head);
    // The flag is in the type's most significant byte.
    if let Some(byte) = out.get_mut(start + if is_big { 1 } else { 4 }) {
        *byte |= EWKB_SRID_FLAG.to_be_bytes()[0];
    }
    out.extend_from_slice(&if is_big { srid.to_be_bytes() } else { srid.to_le_bytes() });
    out.extend_from_slice(rest);
}

// === impl Structured ===

impl Structured {
    const CIVIL: [&'static str; 9] = [
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "nanos",
        "offsetSeconds",
        "specialValue",
    ];
    const CLOCK: [(&'static str, usize); 7] = [
        ("hour", 3),
        ("minute", 4),
        ("second", 5),
        ("nanos", 6),
        ("hours", 3),
        ("minutes", 4),
        ("seconds", 5),
    ];
    const DURATION: [&'static str; 7] = ["years", "months", "days", "hours", "minutes", "seconds", "nanos"];

    /// The struct of a meaning.
    pub(crate) fn of(meaning: &str) -> Option<Self> {
        Some(match meaning {
            "structureddate" => Self::Date,
            "structuredtime" => Self::Time,
            "structuredzonedtime" => Self::TimeTz,
            "structuredtimestamp" => Self::Timestamp,
            "structuredzonedtimestamp" => Self::TimestampTz,
            "structuredduration" => Self::Duration,
            _ => return None,
        })
    }

    /// Where its fields go in JSON without a schema, which names them. A time of day may be an amount of time, as MySQL's are.
    pub(crate) fn named(self) -> &'static PartsForm {
        static CIVIL: LazyLock<PartsForm> = LazyLock::new(|| PartsForm::named(&Structured::CIVIL));
        static DURATION: LazyLock<PartsForm> = LazyLock::new(|| PartsForm::named(&Structured::DURATION));
        static TIME: LazyLock<PartsForm> = LazyLock::new(|| PartsForm {
            // The one struct's fields are those of the other in the plural.
            fields: Fields::new(Structured::CLOCK.iter().map(|(name, _)| (*name).to_owned()).collect()),
            parts: Structured::CLOCK
                .iter()
                .map(|(_, slot)| (number(), Some(*slot)))
                .collect(),
        });
        match self {
            Self::Duration => &DURATION,
            Self::Time => &TIME,
            Self::Date | Self::TimeTz | Self::Timestamp | Self::TimestampTz => &CIVIL,
        }
    }

    /// Where its fields go.
    pub(crate) fn form(self, shape: &Shape) -> Option<PartsForm> {
        match self {
            Self::Duration => PartsForm::new(shape, &Self::DURATION, 0),
            _ => PartsForm::new(shape, &Self::CIVIL, 0),
        }
    }

    /// The cell of its values.
    pub(crate) fn push(self, parts: &Parts, cells: &mut Cells<'_>) -> Read<()> {
        if self == Self::Duration {
            return push_duration(parts, cells.batch);
        }
        if parts.part(8) == Part::Text {
            return self.push_infinite(&cells.scratch.text, cells.batch);
        }
        let at = |slot| parts.int(slot);
        let clock = || {
            let hours = at(3)?.checked_mul(60)?.checked_add(at(4)?)?;
            let seconds = hours.checked_mul(60)?.checked_add(at(5)?)?;
            let nanoseconds = at(6).unwrap_or_default();
            seconds.checked_mul(1_000_000)?.checked_add(nanoseconds / 1000)
        };
        let days = || civil(at(0)?, at(1)?, at(2)?);
        let offset = i32::try_from(at(7).unwrap_or_default()).map_err(|_| OUT_OF_RANGE)?;
        match self {
            Self::Date => {
                let days = i32::try_from(days().ok_or(INCOMPLETE)?).map_err(|_| OUT_OF_RANGE)?;
                cells.batch.push_int(days.into());
            }
            Self::Time => cells.batch.push_int(clock().ok_or(INCOMPLETE)?),
            Self::TimeTz => cells.batch.push_time_tz(TimeTz {
                microseconds: clock().ok_or(INCOMPLETE)?,
                offset_seconds: offset,
            }),
            Self::Timestamp | Self::TimestampTz | Self::Duration => {
                let (days, of_day) = days().zip(clock()).ok_or(INCOMPLETE)?;
                if !(0..=DAY_US).contains(&of_day) {
                    return Err(OUT_OF_RANGE);
                }
                let moment = Moment::new(days, of_day)?.minus_seconds(offset.into())?;
                push_moment(moment, cells)?;
            }
        }
        Ok(())
    }

    fn push_infinite(self, special: &str, batch: &mut ChangeBatch) -> Read<()> {
        let (positive, negative) = match self {
            Self::Date => (i32::MAX.into(), i32::MIN.into()),
            _ => (i64::MAX, i64::MIN),
        };
        batch.push_int(match special {
            "POSITIVE_INFINITY" => positive,
            "NEGATIVE_INFINITY" => negative,
            _ => return Err(OUT_OF_RANGE),
        });
        Ok(())
    }
}

fn civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_date = year.abs() < 10_000_000 && (1..=12).contains(&month) && (1..=31).contains(&day);
    is_date.then(|| Civil { year, month, day }.to_days())
}

fn push_duration(parts: &Parts, batch: &mut ChangeBatch) -> Read<()> {
    let part = |slot| i128::from(parts.int(slot).unwrap_or_default());
    let seconds = (part(3) * 60 + part(4)) * 60 + part(5);
    // Nanoseconds have the sign of the rest.
    let microseconds = seconds * 1_000_000 + part(6) / 1000;
    let out = |_| OUT_OF_RANGE;
    batch.push_interval(Interval {
        months: i32::try_from(part(0) * 12 + part(1)).map_err(out)?,
        days: i32::try_from(part(2)).map_err(out)?,
        microseconds: i64::try_from(microseconds).map_err(out)?,
    })?;
    Ok(())
}

// === impl Circle ===

impl Circle {
    /// The circle that a struct is.
    pub(crate) fn new(shape: &Shape) -> Option<Self> {
        let fields = shape.fields()?;
        shape.field("radius")?;
        Some(Self {
            fields: Fields::new(fields.iter().map(|(name, _)| name.clone()).collect()),
            shapes: fields.iter().map(|(_, shape)| shape.clone()).collect(),
            center: PartsForm::new(shape.field("center")?, &["x", "y"], 2)?,
        })
    }

    /// Reads x, y and radius.
    pub(crate) fn read<W: Wire>(&self, wire: &mut W, cells: &mut Cells<'_>) -> Read<()> {
        let (mut center, mut radius) = (None, None);
        let mut place = wire.begin_struct()?;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            let Some(shape) = self.shapes.get(index) else {
                continue;
            };
            match self.fields.names.get(index).map(String::as_str) {
                Some("center") => center = Some(self.center.read(wire, cells.scratch)?),
                Some("radius") => radius = Some(wire.float64()?),
                _ => wire.skip(shape)?,
            }
        }
        let (center, radius) = center.zip(radius).ok_or(INCOMPLETE)?;
        cells.batch.begin_list();
        for slot in 0..2 {
            cells.batch.push_float64(center.float(slot).ok_or(INCOMPLETE)?);
        }
        cells.batch.push_float64(radius);
        cells.batch.end_list()?;
        Ok(())
    }
}

// === impl Sparse ===

impl Sparse {
    /// The vector that a struct is.
    pub(crate) fn new(shape: &Shape) -> Option<Self> {
        let fields = shape.fields()?;
        shape.field("dimensions")?;
        let is_vector = |form: &Form| matches!(form, Form::Map(_) | Form::Pairs(..));
        shape.field("vector").filter(|vector| is_vector(&vector.form))?;
        Some(Self {
            fields: Fields::new(fields.iter().map(|(name, _)| name.clone()).collect()),
            shapes: fields.iter().map(|(_, shape)| shape.clone()).collect(),
        })
    }

    /// Reads the number of dimensions, and indexes with their values. The number comes first, as it is written.
    pub(crate) fn read<W: Wire>(&self, wire: &mut W, cells: &mut Cells<'_>) -> Read<()> {
        cells.batch.begin_list();
        let mut is_begun = false;
        let mut place = wire.begin_struct()?;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            let Some(shape) = self.shapes.get(index) else {
                continue;
            };
            match self.fields.names.get(index).map(String::as_str) {
                Some("dimensions") => {
                    cells.batch.push_int(wire.int()?);
                    is_begun = true;
                }
                Some("vector") if is_begun => read_entries(wire, shape, cells)?,
                Some("vector") => return Err(INCOMPLETE),
                _ => wire.skip(shape)?,
            }
        }
        if !is_begun {
            return Err(INCOMPLETE);
        }
        cells.batch.end_list()?;
        Ok(())
    }
}

fn read_entries<W: Wire>(wire: &mut W, shape: &Shape, cells: &mut Cells<'_>) -> Read<()> {
    if matches!(shape.form, Form::Pairs(..)) {
        let mut place = wire.begin_list()?;
        while wire.next_element(&mut place)? {
            wire.begin_pair()?;
            cells.batch.push_int(wire.int()?);
            wire.middle_of_pair()?;
            cells.batch.push_float64(wire.float64()?);
            wire.end_pair()?;
        }
        return Ok(());
    }
    let mut place = wire.begin_map()?;
    while wire.next_entry(&mut place, &mut cells.scratch.digits)? {
        let index = cells.scratch.digits.parse().map_err(|_| OUT_OF_RANGE)?;
        cells.batch.push_int(index);
        cells.batch.push_float64(wire.float64()?);
    }
    Ok(())
}
