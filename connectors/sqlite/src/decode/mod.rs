//! From what SQLite stores to what the column means.
//!
//! SQLite types values, not columns: any column of a table that is not STRICT may hold any storage class. The column's
//! *declaration* decides what its values are published as, and each value must fit it exactly:
//!
//! | published as | INTEGER | REAL | TEXT | BLOB |
//! |---|---|---|---|---|
//! | `Int64` | itself | where it is whole | no | no |
//! | `Float64` | where exact | itself | no | no |
//! | `Decimal` | its digits | shortest decimal that gives it back | plain decimal | no |
//! | `Boolean` | 0, 1 | no | true, false | no |
//! | `Text` | no | no | itself | no |
//! | `Text` (opaque, JSON) | its digits | shortest decimal | itself | `X'…'` |
//! | `Bytes` | no | no | its UTF-8 | itself |
//! | `Date` | midnight, in the unit | midnight | ISO date | no |
//! | `Time` | no | no | ISO time | no |
//! | `Timestamp` | in the unit | in the unit, or Julian day | ISO date and time | no |
//!
//! NULL is NULL everywhere. TEXT that is not valid UTF-8, which SQLite does not prevent, counts as BLOB. What does not fit is an error of kind `Poison` (`value_misfit`) that names table, row and
//! column: nothing is converted with a loss and nothing is left out. The way on is to correct the row, or to say under
//! `columns` what the column really holds; `text` holds everything.

mod decimal;
pub mod declared;
pub mod literal;
mod temporal;

use std::borrow::Cow;

use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, TypeInfo, ValueRef};
use tailrace_core::batch::{BatchFull, ChangeBatch, Row};
use tailrace_core::value::{Datum, LogicalType, TextKind};
use tailrace_core::{Error, Result};
use tailrace_sql::page::batch_full;
use tailrace_sql::{CursorValue, PolledTable};

use crate::config::{SqliteConfig, TimestampUnit};

pub use temporal::timestamp_us;

/// A value as SQLite stores it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raw<'a> {
    /// NULL.
    Null,
    /// 64-bit signed integer.
    Integer(i64),
    /// Double precision. SQLite stores NaN as NULL.
    Real(f64),
    /// Characters.
    Text(&'a str),
    /// Bytes that were stored as characters and are not valid UTF-8.
    BrokenText(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A value as it is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded<'a> {
    /// NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// Integers, dates, times and timestamps.
    Int(i64),
    /// Double precision.
    Float64(f64),
    /// Characters and decimals.
    Text(Cow<'a, str>),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

/// What every row of a page has in common.
pub(crate) struct RowPlan<'a> {
    pub(crate) table: String,
    pub(crate) unit: TimestampUnit,
    columns: Vec<(&'a str, &'a LogicalType, &'a str)>,
}

// === impl RowPlan ===

impl<'a> RowPlan<'a> {
    pub(crate) fn new(table: &'a PolledTable, config: &SqliteConfig) -> Self {
        let columns = table.table.schema.columns.iter();
        Self {
            table: table.name(),
            unit: config.timestamp_unit,
            columns: columns
                .map(|column| (column.name.as_str(), &column.logical_type, column.source_type.as_str()))
                .collect(),
        }
    }
}

// === impl Raw ===

impl Raw<'_> {
    /// The value for a sentence: its storage class and size, and nothing of what it says.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Integer(_) => "an INTEGER".to_owned(),
            Self::Real(_) => "a REAL".to_owned(),
            Self::Text(text) => format!("TEXT of {} characters", text.chars().count()),
            Self::BrokenText(bytes) => format!("TEXT of {} bytes that are not valid UTF-8", bytes.len()),
            Self::Blob(bytes) => format!("a BLOB of {} bytes", bytes.len()),
        }
    }
}

// === impl Decoded ===

impl Decoded<'_> {
    fn push(self, batch: &mut ChangeBatch) -> Result<(), BatchFull> {
        match self {
            Self::Null => batch.push_null(),
            Self::Boolean(value) => batch.push_boolean(value),
            Self::Int(value) => batch.push_int(value),
            Self::Float64(value) => batch.push_float64(value),
            Self::Text(text) => return batch.push_text(&text),
            Self::Bytes(bytes) => return batch.push_bytes(bytes),
        }
        Ok(())
    }

    /// The value, owned.
    pub fn into_datum(self) -> Datum {
        match self {
            Self::Null => Datum::Null,
            Self::Boolean(value) => Datum::Boolean(value),
            Self::Int(value) => Datum::Int(value),
            Self::Float64(value) => Datum::Float64(value),
            Self::Text(text) => Datum::Text(text.into_owned()),
            Self::Bytes(bytes) => Datum::Bytes(bytes.to_vec()),
        }
    }
}

/// The stored value of one column of a row.
pub(crate) fn raw(row: &SqliteRow, column: usize) -> Result<Raw<'_>> {
    let value = row.try_get_raw(column).map_err(|error| undecodable(error.into()))?;
    if value.is_null() {
        return Ok(Raw::Null);
    }
    // Of a value that is not NULL the driver tells its own storage class, not the column's declaration.
    let class = value.type_info().into_owned();
    let read = match class.name() {
        "INTEGER" => <i64 as Decode<Sqlite>>::decode(value).map(Raw::Integer),
        "REAL" => <f64 as Decode<Sqlite>>::decode(value).map(Raw::Real),
        "TEXT" => <&[u8] as Decode<Sqlite>>::decode(value).map(text),
        _ => <&[u8] as Decode<Sqlite>>::decode(value).map(Raw::Blob),
    };
    read.map_err(undecodable)
}

fn text(bytes: &[u8]) -> Raw<'_> {
    std::str::from_utf8(bytes).map_or(Raw::BrokenText(bytes), Raw::Text)
}

/// Only where the driver and this connector disagree about a row's columns.
fn undecodable(error: sqlx::error::BoxDynError) -> Error {
    Error::definite("row_undecodable", "a row does not have the columns that were asked for").with_source(error)
}

/// Decodes a whole row into the batch.
///
/// # Errors
/// `value_misfit` (poison) where a value is not what its column is published as.
pub(crate) fn push_row(
    row: &SqliteRow,
    plan: &RowPlan<'_>,
    id: Option<&CursorValue>,
    batch: &mut ChangeBatch,
) -> Result<Row> {
    batch.begin_row().map_err(batch_full)?;
    for (index, (name, logical_type, declared)) in plan.columns.iter().enumerate() {
        let stored = raw(row, index)?;
        let Some(decoded) = decode(stored, logical_type, plan.unit) else {
            return Err(misfit(plan, id, (name, declared), &stored));
        };
        decoded.push(batch).map_err(batch_full)?;
    }
    batch.end_row().map_err(batch_full)
}

fn misfit(plan: &RowPlan<'_>, id: Option<&CursorValue>, (column, declared): (&str, &str), stored: &Raw<'_>) -> Error {
    let declared = if declared.is_empty() {
        "without a type"
    } else {
        declared
    };
    let id = id.map_or_else(|| "without an id".to_owned(), ToString::to_string);
    Error::poison(
        "value_misfit",
        format!(
            "table {table}, row {id}: column {column}, declared {declared}, holds {held}; correct the row, or say what the column \
             really holds: columns: {{ {table}.{column}: text }}",
            table = plan.table,
            held = stored.describe(),
        ),
    )
}

/// A stored value as a column of this type has it; `None` where it does not fit.
pub fn decode<'a>(stored: Raw<'a>, logical_type: &LogicalType, unit: TimestampUnit) -> Option<Decoded<'a>> {
    if stored == Raw::Null {
        return Some(Decoded::Null);
    }
    match logical_type {
        LogicalType::Int64 => integer(stored).map(Decoded::Int),
        LogicalType::Float64 => real(stored).map(Decoded::Float64),
        LogicalType::Decimal { scale, .. } => decimal::decode(stored, *scale).map(Decoded::Text),
        LogicalType::Boolean => boolean(stored).map(Decoded::Boolean),
        LogicalType::Text(TextKind::Plain) => match stored {
            Raw::Text(text) => Some(Decoded::Text(text.into())),
            _ => None,
        },
        LogicalType::Text(_) => Some(Decoded::Text(any_text(stored))),
        LogicalType::Bytes => match stored {
            Raw::Blob(bytes) | Raw::BrokenText(bytes) => Some(Decoded::Bytes(bytes)),
            Raw::Text(text) => Some(Decoded::Bytes(text.as_bytes())),
            _ => None,
        },
        LogicalType::Date => temporal::date_days(&stored, unit).map(Decoded::Int),
        LogicalType::Time { .. } => temporal::time_us(&stored).map(Decoded::Int),
        LogicalType::Timestamp { .. } => temporal::exact_timestamp_us(&stored, unit).map(Decoded::Int),
        _ => None,
    }
}

/// Largest magnitude up to which every whole number is a double.
const EXACT_WHOLE: i64 = 1 << 53;

fn integer(stored: Raw<'_>) -> Option<i64> {
    match stored {
        Raw::Integer(value) => Some(value),
        Raw::Real(value) => whole(value),
        _ => None,
    }
}

/// A double that is a whole number beyond doubt.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked: every whole number in it is exact"
)]
#[expect(clippy::cast_precision_loss, reason = "the bound is a power of two")]
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= EXACT_WHOLE as f64).then_some(value as i64)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the range is checked: every whole number in it is exact"
)]
fn real(stored: Raw<'_>) -> Option<f64> {
    match stored {
        Raw::Real(value) => Some(value),
        Raw::Integer(value) => (value.unsigned_abs() <= EXACT_WHOLE.unsigned_abs()).then_some(value as f64),
        _ => None,
    }
}

fn boolean(stored: Raw<'_>) -> Option<bool> {
    match stored {
        Raw::Integer(0) => Some(false),
        Raw::Integer(1) => Some(true),
        Raw::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Raw::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Any value as characters, as SQLite's `quote()` has it, but without quotes around text.
fn any_text(stored: Raw<'_>) -> Cow<'_, str> {
    match stored {
        Raw::Null => Cow::Borrowed(""),
        Raw::Integer(value) => value.to_string().into(),
        Raw::Real(value) => decimal::shortest(value).into(),
        Raw::Text(text) => text.into(),
        Raw::Blob(bytes) | Raw::BrokenText(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("X'{digits}'").into()
        }
    }
}

#[cfg(test)]
mod tests;
