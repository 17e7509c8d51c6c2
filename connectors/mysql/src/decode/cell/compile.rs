//! Which decoder a column has: how it is written and what it means, brought together once.

use std::sync::Arc;

use super::bytes::TextColumn;
use super::error::{CellError, Result};
use super::temporal::Calendar;
use super::{CellDecoder, DecimalShape, LengthBytes, wire};
use crate::column_type::{IntegerWidth, TypeKind, TypePolicy};
use crate::decode::column_code as code;
use crate::decode::table_map::WireColumn;
use crate::table::ColumnDefinition;

/// Most fraction digits.
const FRACTION_MAX: u16 = 6;
/// Most members of a SET, one bit each.
const SET_MEMBERS_MAX: usize = 64;

const OLD_FRACTION: CellError = CellError::Unsupported(
    "the column was made by MariaDB before 10.1 and keeps fractions of seconds in a form of its own; run ALTER TABLE … FORCE \
     with mysql56_temporal_format=ON",
);

impl CellDecoder {
    /// How to read a column that the log writes as `wire` and that is defined as `column`.
    ///
    /// # Errors
    ///
    /// The column cannot be written so: the definition is of another time, or the form is not known.
    pub(crate) fn new(wire: WireColumn, column: &ColumnDefinition, policy: &TypePolicy) -> Result<Self> {
        let calendar = Calendar {
            invalid_dates: policy.invalid_dates,
            nullable: column.nullable,
        };
        let decoder = match &column.column_type.kind {
            TypeKind::Integer { width, unsigned } => integer(wire, *width, *unsigned),
            TypeKind::Decimal { precision, scale } => decimal(wire, *precision, *scale),
            TypeKind::Float { widened: false } => only(wire, code::FLOAT, Self::Float32),
            TypeKind::Float { widened: true } => only(wire, code::FLOAT, Self::WidenedFloat32),
            TypeKind::Double => only(wire, code::DOUBLE, Self::Float64),
            TypeKind::Bit { length } => bit(wire, *length),
            TypeKind::Year => only(wire, code::YEAR, Self::Year),
            TypeKind::Date => match wire.type_code {
                code::DATE | code::NEWDATE => Some(Self::Date(calendar)),
                _ => None,
            },
            TypeKind::Time { precision } => time(wire, *precision)?,
            TypeKind::DateTime { precision } => datetime(wire, *precision, calendar)?,
            TypeKind::Timestamp { precision } => timestamp(wire, *precision, calendar)?,
            TypeKind::Text { charset } => text(wire, TextColumn::new(*charset)),
            TypeKind::FixedBytes { length } => fixed_bytes(wire, *length),
            TypeKind::Bytes => bytes(wire),
            TypeKind::Enum { members, .. } => enumeration(wire, members),
            TypeKind::Set { members, .. } => set(wire, members),
            TypeKind::Json => blob(wire, code::JSON).map(Self::Json),
            TypeKind::Point => blob(wire, code::GEOMETRY).map(Self::Point),
            TypeKind::Geometry => blob(wire, code::GEOMETRY).map(Self::Geometry),
            // MariaDB's is a VARBINARY to the log.
            TypeKind::Vector => blob(wire, code::VECTOR).or_else(|| variable(wire)).map(Self::Vector),
            TypeKind::Uuid => fixed_bytes(wire, 16).map(|_| Self::Uuid),
            TypeKind::Inet4 => fixed_bytes(wire, 4).map(|_| Self::Inet4),
            TypeKind::Inet6 => fixed_bytes(wire, 16).map(|_| Self::Inet6),
        };
        decoder.ok_or(CellError::Mismatch {
            logged: wire::name(wire.type_code),
        })
    }
}

fn only(wire: WireColumn, type_code: u8, decoder: CellDecoder) -> Option<CellDecoder> {
    (wire.type_code == type_code).then_some(decoder)
}

fn integer(wire: WireColumn, width: IntegerWidth, unsigned: bool) -> Option<CellDecoder> {
    let (type_code, decoder) = match (width, unsigned) {
        (IntegerWidth::Tiny, false) => (code::TINY, CellDecoder::Int8),
        (IntegerWidth::Tiny, true) => (code::TINY, CellDecoder::UnsignedInt8),
        (IntegerWidth::Small, false) => (code::SHORT, CellDecoder::Int16),
        (IntegerWidth::Small, true) => (code::SHORT, CellDecoder::UnsignedInt16),
        (IntegerWidth::Medium, false) => (code::INT24, CellDecoder::Int24),
        (IntegerWidth::Medium, true) => (code::INT24, CellDecoder::UnsignedInt24),
        (IntegerWidth::Regular, false) => (code::LONG, CellDecoder::Int32),
        (IntegerWidth::Regular, true) => (code::LONG, CellDecoder::UnsignedInt32),
        (IntegerWidth::Big, false) => (code::LONGLONG, CellDecoder::Int64),
        (IntegerWidth::Big, true) => (code::LONGLONG, CellDecoder::UnsignedInt64),
    };
    only(wire, type_code, decoder)
}

fn decimal(wire: WireColumn, precision: u8, scale: u8) -> Option<CellDecoder> {
    let same = wire.type_code == code::NEWDECIMAL && wire.metadata.to_be_bytes() == [precision, scale];
    let shape = DecimalShape::new(precision, scale).filter(|_| same)?;
    Some(CellDecoder::Decimal(shape))
}

fn bit(wire: WireColumn, length: u8) -> Option<CellDecoder> {
    let same = wire.type_code == code::BIT && wire::bit_length(wire.metadata) == length && (1..=64).contains(&length);
    same.then_some(match length {
        1 => CellDecoder::Boolean,
        _ => CellDecoder::Bits(length),
    })
}

/// The declared fraction digits, where the log has as many.
fn same_fraction(wire: WireColumn, precision: u8) -> Option<u8> {
    (wire.metadata <= FRACTION_MAX && wire.metadata == u16::from(precision)).then_some(precision)
}

fn time(wire: WireColumn, precision: u8) -> Result<Option<CellDecoder>> {
    Ok(match (wire.type_code, precision) {
        (code::TIME2, _) => same_fraction(wire, precision).map(CellDecoder::Time),
        (code::TIME, 0) => Some(CellDecoder::OldTime),
        (code::TIME, _) => return Err(OLD_FRACTION),
        _ => None,
    })
}

fn datetime(wire: WireColumn, precision: u8, calendar: Calendar) -> Result<Option<CellDecoder>> {
    Ok(match (wire.type_code, precision) {
        (code::DATETIME2, _) => {
            same_fraction(wire, precision).map(|precision| CellDecoder::DateTime(calendar, precision))
        }
        (code::DATETIME, 0) => Some(CellDecoder::OldDateTime(calendar)),
        (code::DATETIME, _) => return Err(OLD_FRACTION),
        _ => None,
    })
}

fn timestamp(wire: WireColumn, precision: u8, calendar: Calendar) -> Result<Option<CellDecoder>> {
    Ok(match (wire.type_code, precision) {
        (code::TIMESTAMP2, _) => {
            same_fraction(wire, precision).map(|precision| CellDecoder::Timestamp(calendar, precision))
        }
        (code::TIMESTAMP, 0) => Some(CellDecoder::OldTimestamp(calendar)),
        (code::TIMESTAMP, _) => return Err(OLD_FRACTION),
        _ => None,
    })
}

fn text(wire: WireColumn, column: TextColumn) -> Option<CellDecoder> {
    if let Some(length) = compressed(wire) {
        return Some(CellDecoder::CompressedText(length, column));
    }
    let length = variable(wire).or_else(|| fixed(wire)).or_else(|| any_blob(wire))?;
    Some(CellDecoder::Text(length, column))
}

fn bytes(wire: WireColumn) -> Option<CellDecoder> {
    if let Some(length) = compressed(wire) {
        return Some(CellDecoder::CompressedBytes(length));
    }
    let length = variable(wire).or_else(|| any_blob(wire))?;
    Some(CellDecoder::Bytes(length))
}

fn fixed_bytes(wire: WireColumn, length: u8) -> Option<CellDecoder> {
    let same = wire::string_shape(wire) == (code::STRING, u16::from(length));
    same.then_some(CellDecoder::FixedBytes(length))
}

fn enumeration(wire: WireColumn, members: &Arc<[String]>) -> Option<CellDecoder> {
    match wire::string_shape(wire) {
        (code::ENUM, length @ (1 | 2)) => {
            let length = u8::try_from(length).ok()?;
            Some(CellDecoder::Enum(length, Arc::clone(members)))
        }
        _ => None,
    }
}

fn set(wire: WireColumn, members: &Arc<[String]>) -> Option<CellDecoder> {
    match wire::string_shape(wire) {
        (code::SET, length @ (1..=4 | 8)) if members.len() <= SET_MEMBERS_MAX => {
            let length = u8::try_from(length).ok()?;
            Some(CellDecoder::Set(length, Arc::clone(members)))
        }
        _ => None,
    }
}

/// VARCHAR and VARBINARY: their metadata is the most bytes that they take.
fn variable(wire: WireColumn) -> Option<LengthBytes> {
    matches!(wire.type_code, code::VARCHAR | code::VAR_STRING).then(|| length_bytes(wire.metadata))
}

/// CHAR.
fn fixed(wire: WireColumn) -> Option<LengthBytes> {
    match wire::string_shape(wire) {
        (code::STRING, length) => Some(length_bytes(length)),
        _ => None,
    }
}

fn length_bytes(length: u16) -> LengthBytes {
    if length > u16::from(u8::MAX) {
        LengthBytes::Two
    } else {
        LengthBytes::One
    }
}

/// The BLOBs and TEXTs: their metadata is how many bytes their length takes.
fn any_blob(wire: WireColumn) -> Option<LengthBytes> {
    matches!(wire.type_code, code::TINY_BLOB..=code::BLOB)
        .then_some(wire.metadata)
        .and_then(blob_length_bytes)
}

fn blob(wire: WireColumn, type_code: u8) -> Option<LengthBytes> {
    (wire.type_code == type_code)
        .then_some(wire.metadata)
        .and_then(blob_length_bytes)
}

fn blob_length_bytes(metadata: u16) -> Option<LengthBytes> {
    Some(match metadata {
        1 => LengthBytes::One,
        2 => LengthBytes::Two,
        3 => LengthBytes::Three,
        4 => LengthBytes::Four,
        _ => return None,
    })
}

fn compressed(wire: WireColumn) -> Option<LengthBytes> {
    match wire.type_code {
        code::VARCHAR_COMPRESSED => Some(length_bytes(wire.metadata)),
        code::BLOB_COMPRESSED => blob_length_bytes(wire.metadata),
        _ => None,
    }
}
