//! One logical type system, after Kafka Connect's and Avro's logical types, and the values that rows hold.
//!
//! A [`LogicalType`] says what a column means; a [`Value`] is a borrowed view of one cell; a [`Datum`] is an owned
//! one (column defaults, keys kept over time). Which value a type comes with is fixed by this table, and every decoder and
//! every codec keeps to it:
//!
//! | logical type | value |
//! |---|---|
//! | `Boolean` | `Boolean` |
//! | `Int16` `Int32` `Int64` | `Int` |
//! | `UnsignedInt64` | `Text`: decimal digits |
//! | `Float32` / `Float64` | `Float32` / `Float64` (NaN and infinities included) |
//! | `Decimal` | `Text`: plain decimal digits with the value's own scale, or `NaN`, `Infinity`, `-Infinity`; never an exponent |
//! | `Text` (all kinds) | `Text` |
//! | `Bytes` | `Bytes` |
//! | `Bits` | `Text` of `0` and `1`, first bit first |
//! | `Year` | `Int` |
//! | `Date` | `Int`: days since 1970-01-01; `i32::MAX` / `i32::MIN` are ±infinity |
//! | `Time` | `Int`: microseconds of day, 24:00:00 is 86 400 000 000 |
//! | `TimeTz` | `TimeTz` |
//! | `Timestamp`, `TimestampTz` | `Int`: microseconds since 1970-01-01T00:00:00 (UTC for `TimestampTz`); `i64::MAX` / `i64::MIN` are ±infinity; `Text` in the form `294276-12-31T23:59:59.999999` (UTC for `TimestampTz`) after 294247-01-10, which 64 bits cannot hold |
//! | `Interval` | `Interval` |
//! | `Array` | `List`, nested for several dimensions; `Text` in the database's own form where bounds do not start at 1 |
//! | `Map` | `List` of key, value, key, value … (`Text`, value may be `Null`) |
//! | `Point` | `List` of two `Float64`, and an `Int` with the number of its reference system where it has one |
//! | `Line` | `List` of three `Float64` (A, B, C) |
//! | `Circle` | `List` of three `Float64` (x, y, radius) |
//! | `Shape` | `List`: `Bytes` (little-endian WKB), `Boolean` (closed; only a path may be open) |
//! | `Geometry`, `Geography` | `Bytes`: EWKB |
//! | `FloatVector` / `DoubleVector` | `List` of `Float32` / `Float64` |
//! | `SparseVector` | `List`: `Int` dimensions, then index (from 1), value, index, value … |
//!
//! Any of them may be [`Value::Null`], or [`Value::Unchanged`] where the log does not carry an unchanged large value.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The meaning of a column, independent of the database it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogicalType {
    /// True or false.
    Boolean,
    /// 16-bit signed integer.
    Int16,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 64-bit integer without a sign, half of whose values no `Int64` can hold.
    UnsignedInt64,
    /// IEEE 754 single precision.
    Float32,
    /// IEEE 754 double precision.
    Float64,
    /// Exact decimal; without a scale, each value brings its own.
    Decimal {
        /// Total digits, where the column declares them.
        precision: Option<u32>,
        /// Digits after the point, where the column declares them.
        scale: Option<u32>,
    },
    /// Amount of money in the currency's own fraction digits.
    Money,
    /// Characters.
    Text(TextKind),
    /// Raw bytes.
    Bytes,
    /// A string of bits; no length where it varies without a limit.
    Bits {
        /// Number of bits, or the largest number of them.
        length: Option<u32>,
    },
    /// Year of four digits; 0 stands for MySQL's `0000`.
    Year,
    /// Calendar date.
    Date,
    /// Time of day without zone; MySQL's also is an amount of time, may be negative, and reaches to 838 hours.
    Time {
        /// Fraction digits, 0 to 6.
        precision: u8,
    },
    /// Time of day with offset.
    TimeTz {
        /// Fraction digits, 0 to 6.
        precision: u8,
    },
    /// Date and time without zone.
    Timestamp {
        /// Fraction digits, 0 to 6.
        precision: u8,
    },
    /// A point in time.
    TimestampTz {
        /// Fraction digits, 0 to 6.
        precision: u8,
    },
    /// Months, days and microseconds, kept apart.
    Interval,
    /// List of elements, of one or more dimensions.
    Array(Box<LogicalType>),
    /// Text keys with text values (hstore).
    Map,
    /// x, y.
    Point,
    /// A, B, C of Ax + By + C = 0.
    Line,
    /// Centre and radius.
    Circle,
    /// Another plane figure of the database's own.
    Shape(ShapeKind),
    /// PostGIS geometry.
    Geometry,
    /// PostGIS geography.
    Geography,
    /// Vector of single precision floats.
    FloatVector,
    /// Vector of double precision floats.
    DoubleVector,
    /// Vector that lists only its non-zero elements.
    SparseVector,
}

/// What characters stand for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    /// Just characters.
    Plain,
    /// A JSON document, as the database prints it.
    Json,
    /// An XML document or fragment.
    Xml,
    /// A UUID in lower case with hyphens.
    Uuid,
    /// One of the symbols, in their declared order.
    Enum(Arc<[String]>),
    /// Any number of the symbols, joined by commas in their declared order.
    Set(Arc<[String]>),
    /// A label path.
    Ltree,
    /// A text search vector.
    TsVector,
    /// A range or multirange, in the database's text form.
    Range,
    /// A network or hardware address.
    Network,
    /// Any type that has no better mapping: the database's own text form, with the type's name in the column.
    Opaque,
    /// What stands in place of a value that nobody may see.
    Masked,
}

/// Plane figures that are published as WKB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeKind {
    /// Two opposite corners.
    Box,
    /// Two points.
    LineSegment,
    /// Points in order, open or closed.
    Path,
    /// A closed ring.
    Polygon,
}

/// Time of day with its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeTz {
    /// Microseconds of the local day.
    pub microseconds: i64,
    /// Offset east of UTC, seconds.
    pub offset_seconds: i32,
}

/// Months, days and microseconds, which do not convert into one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Whole months; may be negative.
    pub months: i32,
    /// Whole days; may be negative.
    pub days: i32,
    /// Microseconds; may be negative and exceed a day.
    pub microseconds: i64,
}

/// One cell, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A large value that the log does not repeat because it did not change. Never null.
    Unchanged,
    /// See the table of the module.
    Boolean(bool),
    /// See the table of the module.
    Int(i64),
    /// See the table of the module.
    Float32(f32),
    /// See the table of the module.
    Float64(f64),
    /// See the table of the module.
    TimeTz(TimeTz),
    /// See the table of the module.
    Interval(Interval),
    /// See the table of the module.
    Text(&'a str),
    /// See the table of the module.
    Bytes(&'a [u8]),
    /// See the table of the module.
    List(crate::batch::ListView<'a>),
}

/// One value that owns itself: column defaults, expected values in tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Datum {
    /// SQL NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// Integers, dates, times and timestamps.
    Int(i64),
    /// Single precision.
    Float32(f32),
    /// Double precision.
    Float64(f64),
    /// Time with offset.
    TimeTz(TimeTz),
    /// Interval.
    Interval(Interval),
    /// Characters, decimals, bits.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// List of elements.
    List(Vec<Datum>),
}

impl Datum {
    /// The value as a view; NULL where it is a list, which has no view without a batch.
    pub fn as_scalar(&self) -> Value<'_> {
        match self {
            Self::Null | Self::List(_) => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float32(value) => Value::Float32(*value),
            Self::Float64(value) => Value::Float64(*value),
            Self::TimeTz(value) => Value::TimeTz(*value),
            Self::Interval(value) => Value::Interval(*value),
            Self::Text(value) => Value::Text(value),
            Self::Bytes(value) => Value::Bytes(value),
        }
    }
}

// === impl Value ===

impl Value<'_> {
    /// The value, owned. An unchanged value has none.
    pub fn to_datum(self) -> Option<Datum> {
        Some(match self {
            Self::Null => Datum::Null,
            Self::Unchanged => return None,
            Self::Boolean(value) => Datum::Boolean(value),
            Self::Int(value) => Datum::Int(value),
            Self::Float32(value) => Datum::Float32(value),
            Self::Float64(value) => Datum::Float64(value),
            Self::TimeTz(value) => Datum::TimeTz(value),
            Self::Interval(value) => Datum::Interval(value),
            Self::Text(value) => Datum::Text(value.to_owned()),
            Self::Bytes(value) => Datum::Bytes(value.to_vec()),
            Self::List(list) => Datum::List(list.iter().filter_map(Value::to_datum).collect()),
        })
    }
}
