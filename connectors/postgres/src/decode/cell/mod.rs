//! One cell: the bytes of a value into the batch.
//!
//! A [`CellDecoder`] is chosen once per column; a row then runs through its decoders without looking a type up. Every
//! decoder knows the text form of its type (pgoutput, `col::text`) and most know the binary form (COPY, pgoutput with
//! `binary`). Both push the identical value for the same datum, because the rows of a snapshot and of the log must be
//! identical: this is what the tests of this folder check first.
//!
//! The connection must be set to `TimeZone=UTC`, `DateStyle=ISO`, `IntervalStyle=postgres` (`iso_8601` is understood as well),
//! `extra_float_digits=3`, `bytea_output=hex` (`escape` is understood as well) and `client_encoding=UTF8`.

mod array;
mod bytes;
mod extension;
mod geometric;
mod interval;
mod network;
mod number;
mod numeric;
mod render;
mod scan;
mod temporal;
#[cfg(test)]
mod tests;

use tailrace_core::batch::{BatchFull, ChangeBatch};
use tailrace_core::value::ShapeKind;

pub(crate) use array::ArrayDecoder;
pub(crate) use bytes::push_hex_digits;
pub(crate) use numeric::rescale;
pub(crate) use render::{print_date, print_float32, print_float64, print_time, print_timestamp};

/// How to read one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CellDecoder {
    /// `boolean`
    Boolean,
    /// `smallint`
    Int16,
    /// `integer`
    Int32,
    /// `bigint`
    Int64,
    /// `oid`: unsigned 32 bits
    Oid,
    /// `real`
    Float32,
    /// `double precision`
    Float64,
    /// `numeric`
    Numeric,
    /// `money`, two fraction digits
    Money,
    /// Characters whose binary form is their text form.
    Text,
    /// Characters whose binary form is a version byte (1) and their text form: `jsonb`, `ltree`.
    VersionedText,
    /// Any type whose binary form is not known here: its text form.
    TextOnly,
    /// `"char"`: one byte
    InternalChar,
    /// `inet`, `cidr`
    NetworkAddress,
    /// `macaddr`, `macaddr8`
    HardwareAddress,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `bit`, `varbit`
    Bits,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timetz`
    TimeTz,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
    /// `interval`
    Interval,
    /// An array of anything.
    Array(Box<ArrayDecoder>),
    /// `point`
    Point,
    /// `line`
    Line,
    /// `circle`
    Circle,
    /// `box`, `lseg`, `path`, `polygon`
    Shape(ShapeKind),
    /// `hstore`
    Map,
    /// pgvector's `vector`: single precision in the database, published as double precision of the same digits
    Vector,
    /// pgvector's `halfvec`
    HalfVector,
    /// pgvector's `sparsevec`
    SparseVector,
    /// PostGIS `geometry` and `geography`
    Geometry,
}

/// Why a value cannot be carried. Never contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// Bytes that are no characters, as SQL_ASCII databases hold them.
    #[error("the value is not valid UTF-8; the database probably has encoding SQL_ASCII and stores another one in it")]
    InvalidUtf8,
    /// Not in the form that the type has.
    #[error("the value is not in the form of {0}")]
    Malformed(&'static str),
    /// A value that our own form of the type cannot hold.
    #[error("the value is beyond the range of {0}")]
    OutOfRange(&'static str),
    /// A binary value of a type of which only the text form is known.
    #[error("the server sent the binary form of a type whose text form was expected; set binary to false")]
    BinaryUnknown,
    /// The batch is full.
    #[error(transparent)]
    BatchFull(#[from] BatchFull),
}

type Result<T> = std::result::Result<T, ValueError>;

// === impl CellDecoder ===

impl CellDecoder {
    /// True where arrays of the type can be read in binary form, whatever their bounds.
    pub(crate) fn is_printable(&self) -> bool {
        render::is_printable(self)
    }

    /// Pushes the value that `bytes` is the text form of. After an error nothing was pushed.
    #[inline]
    pub(crate) fn push_text(&self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
        let pushed = self.push_text_form(bytes, batch);
        if pushed.is_err() {
            batch.abandon_lists();
        }
        pushed
    }

    /// Pushes the value that `bytes` is the binary form of. After an error nothing was pushed.
    #[inline]
    pub(crate) fn push_binary(&self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
        let pushed = self.push_binary_form(bytes, batch);
        if pushed.is_err() {
            batch.abandon_lists();
        }
        pushed
    }

    #[inline]
    fn push_text_form(&self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
        match self {
            Self::Int32 => batch.push_int(number::int32_from_text(bytes)?),
            Self::Int64 => batch.push_int(number::int64_from_text(bytes)?),
            Self::Text
            | Self::TextOnly
            | Self::VersionedText
            | Self::InternalChar
            | Self::NetworkAddress
            | Self::HardwareAddress => return push_characters(bytes, batch),
            Self::Boolean => batch.push_boolean(number::boolean_from_text(bytes)?),
            Self::Int16 => batch.push_int(number::int16_from_text(bytes)?),
            Self::Oid => batch.push_int(number::oid_from_text(bytes)?),
            Self::Float32 => batch.push_float32(number::float32_from_text(bytes)?),
            Self::Float64 => batch.push_float64(number::float64_from_text(bytes)?),
            Self::Numeric => return Ok(batch.push_text(numeric::from_text(bytes)?)?),
            Self::Money => return number::push_money_text(bytes, batch),
            Self::Uuid => return Ok(batch.push_text(bytes::uuid_from_text(bytes)?)?),
            Self::Bytea => return bytes::push_bytea_text(bytes, batch),
            Self::Bits => return Ok(batch.push_text(bytes::bits_from_text(bytes)?)?),
            Self::Date => batch.push_int(temporal::date_from_text(bytes)?),
            Self::Time => batch.push_int(temporal::time_from_text(bytes)?),
            Self::TimeTz => batch.push_time_tz(temporal::time_tz_from_text(bytes)?),
            Self::Timestamp => batch.push_int(temporal::timestamp_from_text(bytes)?),
            Self::TimestampTz => batch.push_int(temporal::timestamp_tz_from_text(bytes)?),
            Self::Interval => batch.push_interval(interval::from_text(bytes)?)?,
            Self::Array(array) => return array.push_text(bytes, batch),
            Self::Point => return geometric::push_point_text(bytes, batch),
            Self::Line => return geometric::push_line_text(bytes, batch),
            Self::Circle => return geometric::push_circle_text(bytes, batch),
            Self::Shape(kind) => return geometric::push_shape_text(*kind, bytes, batch),
            Self::Map => return extension::push_map_text(bytes, batch),
            Self::Vector => return extension::push_vector_text(bytes, batch),
            Self::HalfVector => return extension::push_half_vector_text(bytes, batch),
            Self::SparseVector => return extension::push_sparse_vector_text(bytes, batch),
            Self::Geometry => return bytes::push_hex(bytes, batch, "hex EWKB"),
        }
        Ok(())
    }

    #[inline]
    fn push_binary_form(&self, bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
        match self {
            Self::Int32 => batch.push_int(i32::from_be_bytes(fixed(bytes, "integer")?).into()),
            Self::Int64 => batch.push_int(i64::from_be_bytes(fixed(bytes, "bigint")?)),
            Self::Text => return push_characters(bytes, batch),
            Self::Boolean => batch.push_boolean(number::boolean_from_binary(bytes)?),
            Self::Int16 => batch.push_int(i16::from_be_bytes(fixed(bytes, "smallint")?).into()),
            Self::Oid => batch.push_int(u32::from_be_bytes(fixed(bytes, "oid")?).into()),
            Self::Float32 => batch.push_float32(f32::from_be_bytes(fixed(bytes, "real")?)),
            Self::Float64 => batch.push_float64(f64::from_be_bytes(fixed(bytes, "double precision")?)),
            Self::Numeric => return numeric::push_binary(bytes, batch),
            Self::Money => return number::push_money_binary(bytes, batch),
            Self::VersionedText => return push_versioned_characters(bytes, batch),
            Self::TextOnly => return Err(ValueError::BinaryUnknown),
            Self::InternalChar => return bytes::push_internal_char(bytes, batch),
            Self::NetworkAddress => return network::push_address_binary(bytes, batch),
            Self::HardwareAddress => return network::push_hardware_address_binary(bytes, batch),
            Self::Uuid => return bytes::push_uuid_binary(bytes, batch),
            Self::Bytea | Self::Geometry => batch.push_bytes(bytes)?,
            Self::Bits => return bytes::push_bits_binary(bytes, batch),
            Self::Date => batch.push_int(temporal::date_from_binary(bytes)?),
            Self::Time => batch.push_int(temporal::time_from_binary(bytes)?),
            Self::TimeTz => batch.push_time_tz(temporal::time_tz_from_binary(bytes)?),
            Self::Timestamp | Self::TimestampTz => batch.push_int(temporal::timestamp_from_binary(bytes)?),
            Self::Interval => batch.push_interval(interval::from_binary(bytes)?)?,
            Self::Array(array) => return array.push_binary(bytes, batch),
            Self::Point => return geometric::push_floats_binary::<2>(bytes, "point", batch),
            Self::Line => return geometric::push_floats_binary::<3>(bytes, "line", batch),
            Self::Circle => return geometric::push_floats_binary::<3>(bytes, "circle", batch),
            Self::Shape(kind) => return geometric::push_shape_binary(*kind, bytes, batch),
            Self::Map => return extension::push_map_binary(bytes, batch),
            Self::Vector => return extension::push_vector_binary(bytes, batch),
            Self::HalfVector => return extension::push_half_vector_binary(bytes, batch),
            Self::SparseVector => return extension::push_sparse_vector_binary(bytes, batch),
        }
        Ok(())
    }
}

/// All of the bytes, where there are exactly `N`.
#[inline]
fn fixed<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    <[u8; N]>::try_from(bytes).map_err(|_| ValueError::Malformed(what))
}

#[inline]
fn characters(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| ValueError::InvalidUtf8)
}

#[inline]
fn push_characters(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    Ok(batch.push_text(characters(bytes)?)?)
}

fn push_versioned_characters(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    match bytes.split_first() {
        Some((1, text)) => push_characters(text, batch),
        _ => Err(ValueError::Malformed("jsonb or ltree, version 1")),
    }
}

/// Writing into a string cannot fail; the error is only there to be complete.
fn written(result: std::fmt::Result) -> Result<()> {
    result.map_err(|_| ValueError::Malformed("text"))
}
