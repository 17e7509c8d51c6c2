//! Rows of a page: their place in the cursor's order, and their values, read as a snapshot reads them.

use tailrace_core::batch::{ChangeBatch, Row};
use tailrace_core::schema::Column;
use tailrace_core::{Error, Result};
use tailrace_sql::page::batch_full;
use tailrace_sql::{CursorValue, PolledTable, RowKey};

use crate::decode::copy::CopyRow;
use crate::type_catalog::{CellDecoder, ColumnType};

/// 2000-01-01, PostgreSQL's zero, in microseconds since 1970.
const EPOCH_US: i64 = 946_684_800_000_000;
const DAY_US: i64 = 86_400_000_000;

/// How rows of one table are read.
#[derive(Debug)]
pub(crate) struct RowPlan<'a> {
    table: &'a PolledTable,
    columns: &'a [ColumnType],
    id: Option<IdPlace>,
    time: Option<TimePlace>,
    /// Columns of the table whose text comes before the row's columns.
    lead: Vec<&'a str>,
}

/// Where the id of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdPlace {
    /// A number, in this column.
    Number(usize),
    /// Text, in this field.
    Text(usize),
}

/// Where the timestamp of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TimePlace {
    /// Field of the text.
    text: usize,
    /// Column of the value.
    column: usize,
    /// The column counts days.
    is_date: bool,
}

// === impl RowPlan ===

impl<'a> RowPlan<'a> {
    /// How to read the rows of a table with these columns.
    ///
    /// # Errors
    /// `timestamp_column_type` where the timestamp column holds no points in time.
    pub(crate) fn new(table: &'a PolledTable, columns: &'a [ColumnType]) -> Result<Self> {
        let mut lead = Vec::new();
        let id = table
            .id_column
            .and_then(|index| columns.get(index).map(|kind| (index, kind)));
        let id = id.map(|(index, kind)| match kind.decoder {
            CellDecoder::Int16 | CellDecoder::Int32 | CellDecoder::Int64 => IdPlace::Number(index),
            _ => {
                lead.push(table.id_name());
                IdPlace::Text(lead.len() - 1)
            }
        });
        let time = table
            .timestamp_column
            .and_then(|index| columns.get(index).map(|kind| (index, kind)));
        let time = match time {
            Some((column, kind)) => {
                let is_date = is_date(&kind.decoder).ok_or_else(|| not_a_time(table, kind))?;
                lead.push(table.timestamp_name());
                Some(TimePlace {
                    text: lead.len() - 1,
                    column,
                    is_date,
                })
            }
            None => None,
        };
        Ok(Self {
            table,
            columns,
            id,
            time,
            lead,
        })
    }

    /// Columns of the table whose text comes before the row's columns.
    pub(super) fn lead_columns(&self) -> impl Iterator<Item = &'a str> {
        self.lead.iter().copied()
    }

    /// The table's columns with their types.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'a Column, &'a ColumnType)> {
        self.table.table.schema.columns.iter().zip(self.columns)
    }

    /// A row's place in the cursor's order.
    pub(crate) fn key(&self, row: &CopyRow<'_>) -> Result<RowKey> {
        let id = match self.id {
            Some(IdPlace::Number(column)) => self
                .field(row, self.lead.len() + column)?
                .map(|bytes| self.number(bytes)),
            Some(IdPlace::Text(field)) => self.field(row, field)?.map(|bytes| self.text(bytes)),
            None => None,
        };
        let timestamp = match self.time {
            Some(place) => Some(self.time(row, place)?),
            None => None,
        };
        Ok(RowKey {
            id: id.transpose()?,
            timestamp,
        })
    }

    fn time(&self, row: &CopyRow<'_>, place: TimePlace) -> Result<(CursorValue, i64)> {
        let text = self.field(row, place.text)?;
        let value = self.field(row, self.lead.len() + place.column)?;
        let (Some(text), Some(value)) = (text, value) else {
            return Err(self.broken("a row without a timestamp came, which none was asked for"));
        };
        let microseconds =
            microseconds(value, place.is_date).ok_or_else(|| self.broken("a timestamp has another size"))?;
        Ok((self.text(text)?, microseconds))
    }

    fn number(&self, bytes: &[u8]) -> Result<CursorValue> {
        let number = match *bytes {
            [a, b] => i64::from(i16::from_be_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(self.broken("a whole number has another size")),
        };
        Ok(CursorValue::Integer(number))
    }

    fn text(&self, bytes: &[u8]) -> Result<CursorValue> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let message = format!(
                "table {}: a cursor column holds text that is not UTF-8, which cannot say where a poll continues; correct the value, or \
                 name another id_column",
                self.table.name()
            );
            Error::definite("cursor_value", message).with_source(error)
        })?;
        Ok(CursorValue::Text(text.to_owned()))
    }

    /// One field of a row; `None` inside is NULL.
    fn field<'r>(&self, row: &CopyRow<'r>, index: usize) -> Result<Option<&'r [u8]>> {
        let field = row.fields().nth(index);
        field.ok_or_else(|| self.broken("a row has fewer columns than were asked for"))
    }

    /// Decodes the columns of a row into a batch.
    ///
    /// # Errors
    /// `value_undecodable`, a poison, where a value cannot be carried.
    pub(crate) fn push(&self, row: &CopyRow<'_>, key: &RowKey, batch: &mut ChangeBatch) -> Result<Row> {
        if row.len() != self.lead.len() + self.columns.len() {
            return Err(self.broken("a row has another number of columns than were asked for"));
        }
        batch.begin_row().map_err(batch_full)?;
        let fields = row.fields().skip(self.lead.len());
        for ((column, kind), value) in self.columns().zip(fields) {
            let pushed = kind.push_copied(value, batch);
            pushed.map_err(|error| self.poison(column, key, &error))?;
        }
        batch.end_row().map_err(batch_full)
    }

    fn poison(&self, column: &Column, key: &RowKey, error: &dyn std::fmt::Display) -> Error {
        let id = key.id.as_ref().map(|id| format!(" with {} {id}", self.table.id_name()));
        let time = key.timestamp.as_ref().map(|(stored, _)| format!(" of {stored}"));
        Error::poison(
            "value_undecodable",
            format!(
                "column \"{}\" of {} in the row{}{} holds a value that cannot be carried: {error}; correct the value, or poll a query \
                 without the column",
                column.name,
                self.table.name(),
                id.unwrap_or_default(),
                time.unwrap_or_default(),
            ),
        )
    }

    /// What comes is not what COPY promises.
    pub(super) fn broken(&self, why: &str) -> Error {
        let message = format!(
            "the rows of {} do not come as COPY promises: {why}; the server may not be PostgreSQL itself",
            self.table.name()
        );
        Error::definite("poll_undecodable", message)
    }
}

/// Whether a column counts days or microseconds; `None` where it holds no time.
fn is_date(decoder: &CellDecoder) -> Option<bool> {
    match decoder {
        CellDecoder::Timestamp | CellDecoder::TimestampTz => Some(false),
        CellDecoder::Date => Some(true),
        _ => None,
    }
}

fn not_a_time(table: &PolledTable, kind: &ColumnType) -> Error {
    Error::definite(
        "timestamp_column_type",
        format!(
            "column {} of table {} is of type {}, and a timestamp_column is of type timestamptz, timestamp or date; name another one, \
             or poll a query that converts it",
            table.timestamp_name(),
            table.name(),
            kind.source_type
        ),
    )
}

/// Microseconds since 1970 of a binary date or timestamp; a time without zone is in UTC. Infinity is the first or last there is.
fn microseconds(bytes: &[u8], is_date: bool) -> Option<i64> {
    if is_date {
        return Some(match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MIN => i64::MIN,
            i32::MAX => i64::MAX,
            days => i64::from(days).saturating_mul(DAY_US).saturating_add(EPOCH_US),
        });
    }
    Some(match i64::from_be_bytes(bytes.try_into().ok()?) {
        infinite @ (i64::MIN | i64::MAX) => infinite,
        microseconds => microseconds.saturating_add(EPOCH_US),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_microseconds_since_1970() {
        assert_eq!(microseconds(&1_i64.to_be_bytes(), false), Some(EPOCH_US + 1));
        assert_eq!(microseconds(&(-10_957_i32).to_be_bytes(), true), Some(0));
        for (infinite, date) in [(i64::MIN, i32::MIN), (i64::MAX, i32::MAX)] {
            assert_eq!(microseconds(&infinite.to_be_bytes(), false), Some(infinite));
            assert_eq!(microseconds(&date.to_be_bytes(), true), Some(infinite));
        }
        assert_eq!(microseconds(&[0; 3], true), None);
        assert_eq!(microseconds(&[0; 4], false), None);
    }
}
