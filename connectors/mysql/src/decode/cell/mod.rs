//! One cell: the bytes of a value into the batch.
//!
//! A [`CellDecoder`] is chosen once per column and table map, from how the log writes the column ([`wire`]) and what it means
//! (`ColumnType`); a row then runs through its decoders without looking a type up. A [`TextDecoder`] does the same for the text
//! of a query. Both push the identical cell for the same value, because the rows of a snapshot and of the log must be
//! identical: this is what the tests of this folder check first.
//!
//! Queries are to be made with `time_zone='+00:00'` and `character_set_results=NULL`, and with
//! `ColumnType::select_expression` for what is selected.

mod bytes;
mod compile;
mod decimal;
mod error;
mod number;
mod temporal;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod wire;

use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;

pub(crate) use decimal::{DecimalShape, rescaled};
pub(crate) use error::CellError;
pub(crate) use temporal::{Calendar, place_in_time_us, print_json_moment, print_json_time};
pub(crate) use text::TextDecoder;

use self::bytes::TextColumn;
use self::error::Result;
use super::json;
use super::reader::Reader;

/// How to read one column of a row of the log.
#[derive(Debug, Clone)]
pub(crate) enum CellDecoder {
    /// `TINYINT`
    Int8,
    /// `TINYINT UNSIGNED`
    UnsignedInt8,
    /// `SMALLINT`
    Int16,
    /// `SMALLINT UNSIGNED`
    UnsignedInt16,
    /// `MEDIUMINT`
    Int24,
    /// `MEDIUMINT UNSIGNED`
    UnsignedInt24,
    /// `INT`
    Int32,
    /// `INT UNSIGNED`
    UnsignedInt32,
    /// `BIGINT`
    Int64,
    /// `BIGINT UNSIGNED`: digits
    UnsignedInt64,
    /// `DECIMAL`
    Decimal(DecimalShape),
    /// `FLOAT`
    Float32,
    /// `FLOAT(M,D)`: single precision, widened
    WidenedFloat32,
    /// `DOUBLE`
    Float64,
    /// `BIT(1)`
    Boolean,
    /// `BIT(n)`, with its bits
    Bits(u8),
    /// `YEAR`
    Year,
    /// `DATE`
    Date(Calendar),
    /// `TIME` since 5.6, with its fraction digits
    Time(u8),
    /// `DATETIME` since 5.6, with its fraction digits
    DateTime(Calendar, u8),
    /// `TIMESTAMP` since 5.6, with its fraction digits
    Timestamp(Calendar, u8),
    /// `TIME` before 5.6
    OldTime,
    /// `DATETIME` before 5.6
    OldDateTime(Calendar),
    /// `TIMESTAMP` before 5.6
    OldTimestamp(Calendar),
    /// Characters
    Text(LengthBytes, TextColumn),
    /// Bytes
    Bytes(LengthBytes),
    /// `BINARY(n)`, with its bytes
    FixedBytes(u8),
    /// `ENUM`
    Enum(MemberBytes, Arc<[String]>),
    /// `SET`
    Set(MemberBytes, Arc<[String]>),
    /// `JSON`
    Json(LengthBytes),
    /// `POINT`
    Point(LengthBytes),
    /// `GEOMETRY` and the others
    Geometry(LengthBytes),
    /// `VECTOR`
    Vector(LengthBytes),
    /// MariaDB's `UUID`
    Uuid,
    /// MariaDB's `INET4`
    Inet4,
    /// MariaDB's `INET6`
    Inet6,
    /// Characters of a compressed column
    CompressedText(LengthBytes, TextColumn),
    /// Bytes of a compressed column
    CompressedBytes(LengthBytes),
}

/// How many bytes the length takes that stands before a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LengthBytes {
    /// One.
    One,
    /// Two.
    Two,
    /// Three.
    Three,
    /// Four.
    Four,
}

/// How many bytes the number of an ENUM or the bits of a SET take: 1 to 8.
pub(crate) type MemberBytes = u8;

// === impl LengthBytes ===

impl LengthBytes {
    /// The value behind its length.
    #[inline]
    fn take<'a>(self, reader: &mut Reader<'a>) -> Result<&'a [u8]> {
        let length = match self {
            Self::One => u32::from(reader.u8()?),
            Self::Two => u32::from(reader.u16()?),
            Self::Three => reader.u24()?,
            Self::Four => reader.u32()?,
        };
        let length = usize::try_from(length).map_err(|_| CellError::Malformed("a length"))?;
        Ok(reader.take(length)?)
    }
}

// === impl CellDecoder ===

impl CellDecoder {
    /// Pushes the next value, which is not NULL. After an error the row cannot be completed.
    ///
    /// # Errors
    ///
    /// What is wrong with the value; whoever calls adds which it is.
    #[inline]
    pub(crate) fn decode(&self, reader: &mut Reader<'_>, batch: &mut ChangeBatch) -> Result<()> {
        match self {
            Self::Int32 => batch.push_int(reader.i32()?.into()),
            Self::Int64 => batch.push_int(reader.i64()?),
            Self::Text(length, column) => return column.push(length.take(reader)?, batch),
            Self::DateTime(calendar, precision) => {
                let moment = temporal::datetime2(reader, *precision)?;
                return calendar.push_moment(moment, *precision, batch);
            }
            Self::Timestamp(calendar, precision) => {
                let moment = temporal::timestamp2(reader, *precision)?;
                return calendar.push_timestamp(moment, *precision, batch);
            }
            Self::Decimal(shape) => return shape.push(reader, batch),
            Self::Int8 => batch.push_int(reader.i8()?.into()),
            Self::UnsignedInt8 => batch.push_int(reader.u8()?.into()),
            Self::Int16 => batch.push_int(reader.i16()?.into()),
            Self::UnsignedInt16 => batch.push_int(reader.u16()?.into()),
            Self::Int24 => batch.push_int(reader.i24()?.into()),
            Self::UnsignedInt24 => batch.push_int(reader.u24()?.into()),
            Self::UnsignedInt32 => batch.push_int(reader.u32()?.into()),
            Self::UnsignedInt64 => return number::push_unsigned(reader.u64()?, batch),
            Self::Float32 => batch.push_float32(f32::from_le_bytes(reader.array()?)),
            Self::WidenedFloat32 => batch.push_float64(f32::from_le_bytes(reader.array()?).into()),
            Self::Float64 => batch.push_float64(f64::from_le_bytes(reader.array()?)),
            Self::Boolean => batch.push_boolean(number::bit(reader.take(1)?)?),
            Self::Bits(length) => {
                return number::push_bits(reader.take(number::bit_bytes(*length))?, *length, batch);
            }
            Self::Year => batch.push_int(number::year(reader)?),
            Self::Date(calendar) => return calendar.push_date(temporal::date(reader)?, batch),
            Self::Time(precision) => batch.push_int(temporal::time2(reader, *precision)?),
            Self::OldTime => batch.push_int(temporal::old_time(reader)?),
            Self::OldDateTime(calendar) => return calendar.push_moment(temporal::old_datetime(reader)?, 0, batch),
            Self::OldTimestamp(calendar) => return calendar.push_timestamp((reader.u32()?, 0), 0, batch),
            Self::Bytes(length) => batch.push_bytes(length.take(reader)?)?,
            other => return other.decode_rare(reader, batch),
        }
        Ok(())
    }

    /// What is not in most tables.
    fn decode_rare(&self, reader: &mut Reader<'_>, batch: &mut ChangeBatch) -> Result<()> {
        match self {
            Self::FixedBytes(length) => bytes::push_padded(LengthBytes::One.take(reader)?, usize::from(*length), batch),
            Self::Enum(length, members) => {
                let number = member_number(reader.take(usize::from(*length))?);
                push_member(number, members, batch)
            }
            Self::Set(length, members) => {
                let bits = member_number(reader.take(usize::from(*length))?);
                push_members(bits, members, batch)
            }
            Self::Json(length) => json::push(length.take(reader)?, batch),
            Self::Point(length) => bytes::push_point(length.take(reader)?, batch),
            Self::Geometry(length) => bytes::push_geometry(length.take(reader)?, batch),
            Self::Vector(length) => bytes::push_vector(length.take(reader)?, batch),
            Self::Uuid => bytes::push_uuid(LengthBytes::One.take(reader)?, batch),
            Self::Inet4 => bytes::push_inet4(LengthBytes::One.take(reader)?, batch),
            Self::Inet6 => bytes::push_inet6(LengthBytes::One.take(reader)?, batch),
            Self::CompressedText(length, column) => column.push(&bytes::decompressed(length.take(reader)?)?, batch),
            Self::CompressedBytes(length) => Ok(batch.push_bytes(&bytes::decompressed(length.take(reader)?)?)?),
            _ => Err(CellError::Malformed("its own type")),
        }
    }

    /// The bytes of the next value, which is not NULL, without its length: what a partial update of a JSON document is applied
    /// to.
    ///
    /// # Errors
    ///
    /// The bytes end before the value does.
    pub(crate) fn stored<'a>(&self, reader: &mut Reader<'a>) -> Result<&'a [u8]> {
        let length = match self {
            Self::Int8 | Self::UnsignedInt8 | Self::Year | Self::Boolean => 1,
            Self::Int16 | Self::UnsignedInt16 => 2,
            Self::Int24 | Self::UnsignedInt24 | Self::Date(_) | Self::OldTime => 3,
            Self::Int32 | Self::UnsignedInt32 | Self::Float32 | Self::WidenedFloat32 | Self::OldTimestamp(_) => 4,
            Self::Int64 | Self::UnsignedInt64 | Self::Float64 | Self::OldDateTime(_) => 8,
            Self::Decimal(shape) => shape.length(),
            Self::Bits(length) => number::bit_bytes(*length),
            Self::Time(precision) => 3 + temporal::fraction_bytes(*precision),
            Self::DateTime(_, precision) => 5 + temporal::fraction_bytes(*precision),
            Self::Timestamp(_, precision) => 4 + temporal::fraction_bytes(*precision),
            Self::Enum(length, _) | Self::Set(length, _) => usize::from(*length),
            Self::FixedBytes(_) | Self::Uuid | Self::Inet4 | Self::Inet6 => return LengthBytes::One.take(reader),
            Self::Text(length, _)
            | Self::Bytes(length)
            | Self::Json(length)
            | Self::Point(length)
            | Self::Geometry(length)
            | Self::Vector(length)
            | Self::CompressedText(length, _)
            | Self::CompressedBytes(length) => return length.take(reader),
        };
        Ok(reader.take(length)?)
    }

    /// True where a row may carry only how the value differs from the one before (`binlog_row_value_options=PARTIAL_JSON`).
    pub(crate) fn may_be_partial(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// Pushes the document that `before`, the bytes of the value before ([`Self::stored`]), becomes by the differences that
    /// follow.
    ///
    /// # Errors
    ///
    /// What is wrong with the document before or with the differences.
    pub(crate) fn decode_partial(&self, before: &[u8], reader: &mut Reader<'_>, batch: &mut ChangeBatch) -> Result<()> {
        match self {
            Self::Json(length) => json::push_changed(before, length.take(reader)?, batch),
            _ => Err(CellError::Malformed("a partial JSON document")),
        }
    }
}

/// Low byte first.
#[inline]
fn member_number(stored: &[u8]) -> u64 {
    stored
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Pushes a member by its number, from 1. Number 0 is what the server stores for what is no member, and prints as nothing.
fn push_member(number: u64, members: &[String], batch: &mut ChangeBatch) -> Result<()> {
    let Some(index) = number.checked_sub(1) else {
        return Ok(batch.push_text("")?);
    };
    let member = usize::try_from(index).ok().and_then(|index| members.get(index));
    let member = member.ok_or(CellError::UnknownMember {
        number,
        members: members.len(),
    })?;
    Ok(batch.push_text(member)?)
}

/// Pushes members by their bits, from the lowest, with commas between them.
fn push_members(bits: u64, members: &[String], batch: &mut ChangeBatch) -> Result<()> {
    let known = u32::try_from(members.len()).ok();
    let unknown = known.and_then(|known| bits.checked_shr(known)).unwrap_or_default();
    if unknown != 0 {
        return Err(CellError::UnknownMember {
            number: u64::from(bits.ilog2()) + 1,
            members: members.len(),
        });
    }
    Ok(batch.push_text_with(|text| {
        let mut separator = "";
        for (bit, member) in members.iter().enumerate() {
            if bits >> bit & 1 == 1 {
                text.push_str(separator);
                text.push_str(member);
                separator = ",";
            }
        }
    })?)
}
