//! Structs of known fields: decimals with their own scale, points, geometries, sparse vectors, and Debezium's structs of dates and
//! times. Which field is where is decided once per schema; a value's fields then go into numbered slots.

mod sparse;

use std::sync::LazyLock;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::calendar::Civil;
use tailrace_core::value::{Interval, TimeTz};

pub(crate) use self::sparse::Sparse;
use super::cell::{Cells, Scratch, push_moment};
use super::fault::{Fault, OUT_OF_RANGE, Read};
use super::moment::{self, Moment};
use super::shape::{Form, Shape};
use super::wire::{Fields, JsonWire, Wire};
use crate::notation::Optionality;
use crate::values::calendar::DAY_US;
use crate::values::geometry::{EWKB_SRID_FLAG, srid_of};

/// Slots of the largest struct.
const SLOTS: usize = 9;

pub(crate) const INCOMPLETE: Fault = Fault::value("is a struct that lacks one of the fields that it is known by");
const NO_DAY: Fault = Fault::value("has a year, a month and a day that are no day of the calendar");
const UNKNOWN_FIELD: Fault =
    Fault::value("is an object with a field that its type is not written with, so that something of it would be lost");
const ENDS_MEET: Fault = Fault::value(
    "is an open path whose ends meet, which a geometry cannot tell from a closed one; only JSON without a schema can",
);
/// How a line string begins, low byte first, as paths are written.
const LINE_STRING: [u8; 5] = [1, 2, 0, 0, 0];
const NO_WKB: Fault = Fault::value("is not WKB, which geometries are written as");

/// What Debezium notes in its structs beside the value itself.
const BESIDE: [&str; 2] = ["precision", "zoneId"];

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
    /// What a path says of itself.
    Closed(bool),
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

    /// Slots by the names that go into them, for JSON without a schema: numbers, the text of what is infinite, and an unscaled value.
    fn named(slots: &[(&str, usize)]) -> Self {
        let shape = |name: &str| match name {
            "specialValue" => optional(Form::Text),
            "value" => optional(Form::Bytes),
            _ => optional(Form::Int { bits: 64 }),
        };
        Self {
            fields: Fields::new(slots.iter().map(|(name, _)| (*name).to_owned()).collect()),
            parts: slots.iter().map(|(name, slot)| (shape(name), Some(*slot))).collect(),
        }
    }

    /// Debezium's decimal with its own scale, in JSON without a schema.
    pub(crate) fn variable_decimal() -> &'static Self {
        static FORM: LazyLock<PartsForm> = LazyLock::new(|| PartsForm::named(&[("scale", 0), ("value", 1)]));
        &FORM
    }

    /// Reads a struct that no schema describes: one with a field that is not known is something else.
    pub(crate) fn read_alone(&self, json: &mut JsonWire<'_>, scratch: &mut Scratch) -> Read<Parts> {
        let mut ahead = *json;
        let mut place = ahead.begin_map()?;
        while ahead.next_key(&mut place)? {
            let mut unescaped = String::new();
            let name = ahead.name(&mut unescaped)?;
            if !BESIDE.contains(&name) && self.fields.find(name, 0).is_none() {
                return Err(UNKNOWN_FIELD);
            }
            ahead.pass()?;
        }
        self.read(json, scratch)
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

fn optional(form: Form) -> Shape {
    Shape {
        optionality: Optionality::NullFirst,
        ..Shape::of(form)
    }
}

fn read_part<W: Wire>(wire: &mut W, shape: &Shape, scratch: &mut Scratch) -> Read<Part> {
    if wire.take_null(shape.optionality)? {
        return Ok(Part::Null);
    }
    Ok(match &shape.form {
        Form::Int { .. } => Part::Int(wire.int()?),
        Form::Double | Form::Number => Part::Float(wire.float64()?),
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
        Form::Map(values) if values.form == Form::Text => read_extensions(wire, values.optionality)?,
        _ => {
            wire.skip(&Shape {
                optionality: Optionality::Required,
                ..shape.clone()
            })?;
            Part::Null
        }
    })
}

/// What Debezium notes of a figure beside its WKB, which says all of it but whether a path is closed.
fn read_extensions<W: Wire>(wire: &mut W, values: Optionality) -> Read<Part> {
    let (mut name, mut text) = (String::new(), String::new());
    let mut part = Part::Null;
    let mut place = wire.begin_map()?;
    while wire.next_entry(&mut place, &mut name)? {
        if !wire.take_null(values)? {
            let value = wire.text(&mut text)?;
            if name == "closed" {
                part = Part::Closed(value == "true");
            }
        }
    }
    Ok(part)
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

    /// True where a slot's bytes are in the scratch.
    pub(crate) fn has_bytes(&self, slot: usize) -> bool {
        self.part(slot) == Part::Bytes
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
        if !self.has_bytes(0) {
            return Err(INCOMPLETE);
        }
        if let Part::Closed(is_closed) = self.part(2) {
            end_path(&mut cells.scratch.bytes, is_closed)?;
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

/// A geometry has no other way to say that a path is closed than to end it where it begins; of an open one that does so by itself it would say
/// the same.
fn end_path(wkb: &mut Vec<u8>, is_closed: bool) -> Read<()> {
    /// Byte order, type, number of points.
    const HEAD: usize = 1 + 4 + 4;
    const COUNT: std::ops::Range<usize> = 5..HEAD;
    const POINT: usize = 16;
    let points = wkb.get(HEAD..).unwrap_or_default();
    let (Some(first), Some(last)) = (points.first_chunk::<POINT>(), points.last_chunk::<POINT>()) else {
        return Ok(());
    };
    if !wkb.starts_with(&LINE_STRING) {
        return Ok(());
    }
    if !is_closed {
        return match points.len() > POINT && first == last {
            true => Err(ENDS_MEET),
            false => Ok(()),
        };
    }
    let (first, count) = (*first, points.len() / POINT + 1);
    let count = u32::try_from(count).map_err(|_| OUT_OF_RANGE)?;
    wkb.extend_from_slice(&first);
    if let Some(place) = wkb.get_mut(COUNT) {
        place.copy_from_slice(&count.to_le_bytes());
    }
    Ok(())
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
    /// A time of day, or an amount of time, as MySQL's are: the one struct's fields are those of the other in the plural.
    const CLOCK: [(&'static str, usize); 10] = [
        ("years", 0),
        ("months", 1),
        ("days", 2),
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

    /// Where its fields go in JSON without a schema, which names them.
    pub(crate) fn named(self) -> &'static PartsForm {
        fn in_order(names: &[&str]) -> PartsForm {
            let slots: Vec<_> = names.iter().copied().zip(0..).collect();
            PartsForm::named(&slots)
        }
        static CIVIL: LazyLock<PartsForm> = LazyLock::new(|| in_order(&Structured::CIVIL));
        static DURATION: LazyLock<PartsForm> = LazyLock::new(|| in_order(&Structured::DURATION));
        static TIME: LazyLock<PartsForm> = LazyLock::new(|| PartsForm::named(&Structured::CLOCK));
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
        let offset = i32::try_from(parts.int(7).unwrap_or_default()).map_err(|_| OUT_OF_RANGE)?;
        match self {
            Self::Date => {
                let days = i32::try_from(days(parts)?).map_err(|_| OUT_OF_RANGE)?;
                cells.batch.push_int(days.into());
            }
            // An amount of time has no room for days.
            Self::Time if (0..3).any(|slot| parts.int(slot).unwrap_or_default() != 0) => return Err(OUT_OF_RANGE),
            Self::Time => cells.batch.push_int(clock(parts)?),
            Self::TimeTz => cells.batch.push_time_tz(TimeTz {
                microseconds: of_day(parts)?,
                offset_seconds: offset,
            }),
            Self::Timestamp | Self::TimestampTz | Self::Duration => {
                let moment = Moment::new(days(parts)?, of_day(parts)?)?.minus_seconds(offset.into())?;
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

/// Days since 1970 of year, month and day.
fn days(parts: &Parts) -> Read<i64> {
    let [Some(year), Some(month), Some(day)] = [0, 1, 2].map(|slot| parts.int(slot)) else {
        return Err(INCOMPLETE);
    };
    if year.unsigned_abs() >= 10_000_000 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(NO_DAY);
    }
    let civil = Civil { year, month, day };
    let days = civil.to_days();
    // Not every month has 31.
    if Civil::from_days(days) == civil {
        Ok(days)
    } else {
        Err(NO_DAY)
    }
}

/// Microseconds of hours, minutes, seconds and nanoseconds, all of which have the sign of the whole.
fn clock(parts: &Parts) -> Read<i64> {
    let [Some(hours), Some(minutes), Some(seconds)] = [3, 4, 5].map(|slot| parts.int(slot)) else {
        return Err(INCOMPLETE);
    };
    let nanoseconds = parts.int(6).unwrap_or_default();
    let is_clock = minutes.unsigned_abs() < 60 && seconds.unsigned_abs() < 60;
    if !is_clock || nanoseconds.unsigned_abs() >= 1_000_000_000 {
        return Err(OUT_OF_RANGE);
    }
    let seconds = (i128::from(hours) * 60 + i128::from(minutes)) * 60 + i128::from(seconds);
    let microseconds = seconds * 1_000_000 + i128::from(moment::whole_microseconds(nanoseconds)?);
    i64::try_from(microseconds).map_err(|_| OUT_OF_RANGE)
}

/// The same of a time of day.
fn of_day(parts: &Parts) -> Read<i64> {
    let of_day = clock(parts)?;
    if (0..=DAY_US).contains(&of_day) {
        Ok(of_day)
    } else {
        Err(OUT_OF_RANGE)
    }
}

fn push_duration(parts: &Parts, batch: &mut ChangeBatch) -> Read<()> {
    if (0..Structured::DURATION.len()).all(|slot| parts.int(slot).is_none()) {
        return Err(INCOMPLETE);
    }
    let part = |slot| i128::from(parts.int(slot).unwrap_or_default());
    let seconds = (part(3) * 60 + part(4)) * 60 + part(5);
    // Nanoseconds have the sign of the rest.
    let nanoseconds = parts.int(6).unwrap_or_default();
    let microseconds = seconds * 1_000_000 + i128::from(moment::whole_microseconds(nanoseconds)?);
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
