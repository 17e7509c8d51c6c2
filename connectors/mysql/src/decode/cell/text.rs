//! One cell of a query's text.

use tailrace_core::batch::ChangeBatch;

use super::bytes::{self, TextColumn};
use super::decimal;
use super::error::{CellError, Result};
use super::number;
use super::temporal::{self, Calendar};
use crate::charset::Charset;
use crate::column_type::{IntegerWidth, TypeKind, TypePolicy};
use crate::decode::json;
use crate::table::ColumnDefinition;

/// How to read one column of a query's text.
#[derive(Debug, Clone)]
pub(crate) enum TextDecoder {
    /// Integers of up to 64 bits with a sign.
    Integer,
    /// `DECIMAL`, `BIGINT UNSIGNED`
    Decimal,
    /// `FLOAT`
    Float32,
    /// `DOUBLE`, `FLOAT(M,D)`
    Float64,
    /// `BIT(1)`
    Boolean,
    /// `BIT(n)`, with its bits
    Bits(u8),
    /// `DATE`
    Date(Calendar),
    /// `TIME`
    Time,
    /// `DATETIME`, with its fraction digits
    DateTime(Calendar, u8),
    /// `TIMESTAMP`, with its fraction digits
    Timestamp(Calendar, u8),
    /// Characters, members of an ENUM or SET, addresses
    Text(TextColumn),
    /// Bytes
    Bytes,
    /// `BINARY(n)`, with its bytes
    FixedBytes(u8),
    /// MySQL's `JSON`
    Json,
    /// `POINT`
    Point,
    /// `GEOMETRY` and the others
    Geometry,
    /// `VECTOR`
    Vector,
}

// === impl TextDecoder ===

impl TextDecoder {
    /// How to read a column's values.
    pub(crate) fn new(column: &ColumnDefinition, policy: &TypePolicy) -> Self {
        let calendar = Calendar {
            invalid_dates: policy.invalid_dates,
            nullable: column.nullable,
        };
        match &column.column_type.kind {
            TypeKind::Integer {
                width: IntegerWidth::Big,
                unsigned: true,
            }
            | TypeKind::Decimal { .. } => Self::Decimal,
            TypeKind::Integer { .. } | TypeKind::Year => Self::Integer,
            TypeKind::Float { widened: false } => Self::Float32,
            TypeKind::Float { widened: true } | TypeKind::Double => Self::Float64,
            TypeKind::Bit { length: 1 } => Self::Boolean,
            TypeKind::Bit { length } => Self::Bits(*length),
            TypeKind::Date => Self::Date(calendar),
            TypeKind::Time { .. } => Self::Time,
            TypeKind::DateTime { precision } => Self::DateTime(calendar, *precision),
            TypeKind::Timestamp { precision } => Self::Timestamp(calendar, *precision),
            TypeKind::Text { charset } | TypeKind::Enum { charset, .. } | TypeKind::Set { charset, .. } => {
                Self::Text(TextColumn::new(*charset))
            }
            TypeKind::FixedBytes { length } => Self::FixedBytes(*length),
            TypeKind::Bytes => Self::Bytes,
            TypeKind::Json => Self::Json,
            TypeKind::Point => Self::Point,
            TypeKind::Geometry => Self::Geometry,
            TypeKind::Vector => Self::Vector,
            TypeKind::Uuid | TypeKind::Inet4 | TypeKind::Inet6 => Self::Text(TextColumn::new(Charset::Ascii)),
        }
    }

    /// How to read a column's default, which the catalogue has in UTF-8.
    pub(crate) fn for_default(column: &ColumnDefinition, policy: &TypePolicy) -> Self {
        match Self::new(column, policy) {
            Self::Text(_) => Self::Text(TextColumn::new(Charset::Utf8mb4)),
            other => other,
        }
    }

    /// Pushes a value. After an error the row cannot be completed.
    ///
    /// # Errors
    ///
    /// What is wrong with the value; whoever calls adds which it is.
    #[inline]
    pub(crate) fn decode(&self, value: Option<&[u8]>, batch: &mut ChangeBatch) -> Result<()> {
        let Some(bytes) = value else {
            batch.push_null();
            return Ok(());
        };
        match self {
            Self::Integer => batch.push_int(formed(number::integer_from_text(bytes), "an integer")?),
            Self::Text(column) => return column.push(bytes, batch),
            Self::Decimal => return push_decimal(bytes, batch),
            Self::Float32 => batch.push_float32(float(bytes)?),
            Self::Float64 => batch.push_float64(float(bytes)?),
            Self::Boolean => batch.push_boolean(number::bit(bytes)?),
            Self::Bits(length) => return number::push_bits(bytes, *length, batch),
            Self::Date(calendar) => {
                let date = formed(temporal::date_from_text(bytes), "DATE")?;
                return calendar.push_date(date, batch);
            }
            Self::Time => batch.push_int(formed(temporal::time_from_text(bytes), "TIME")?),
            Self::DateTime(calendar, precision) => {
                let moment = formed(temporal::moment_from_text(bytes), "DATETIME")?;
                return calendar.push_moment(moment, *precision, batch);
            }
            Self::Timestamp(calendar, precision) => {
                let moment = formed(temporal::timestamp_from_text(bytes), "TIMESTAMP")?;
                return calendar.push_timestamp(moment, *precision, batch);
            }
            Self::Bytes => batch.push_bytes(bytes)?,
            Self::FixedBytes(length) => return bytes::push_padded(bytes, usize::from(*length), batch),
            Self::Json => return json::push_compacted(bytes, batch),
            Self::Point => return bytes::push_point(bytes, batch),
            Self::Geometry => return bytes::push_geometry(bytes, batch),
            Self::Vector => return bytes::push_vector(bytes, batch),
        }
        Ok(())
    }
}

#[inline]
fn formed<T>(value: Option<T>, what: &'static str) -> Result<T> {
    value.ok_or(CellError::Malformed(what))
}

fn push_decimal(bytes: &[u8], batch: &mut ChangeBatch) -> Result<()> {
    let (negative, digits) = formed(decimal::from_text(bytes), "DECIMAL")?;
    if !negative {
        return Ok(batch.push_text(digits)?);
    }
    Ok(batch.push_text_with(|text| {
        text.push('-');
        text.push_str(digits);
    })?)
}

fn float<T: std::str::FromStr>(bytes: &[u8]) -> Result<T> {
    let number = number::float_text(bytes).and_then(|text| text.parse().ok());
    formed(number, "a floating point number")
}
