//! Letters as people and programs read them: JSON in which every cell is the text that the database would print.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::image::Cell;
use super::{Original, RecordImage, StoredLetter};
use crate::batch::RowView;
use crate::event::time_text;
use crate::schema::TableSchema;
use crate::value::LogicalType;

const MICROSECONDS_PER_SECOND: u64 = 1_000_000;

/// A letter in full.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    connector: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    table: &'a str,
    op: &'a str,
    key: Option<Box<serde_json::value::RawValue>>,
    event_id: &'a str,
    position: &'a str,
    updated_at: String,
    code: &'a str,
    reason: &'a str,
    attempts: u32,
    quarantined_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<RowText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<RowText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RecordImage>,
}

/// A row as an object.
#[derive(Debug)]
struct RowText<'a> {
    schema: &'a TableSchema,
    cells: &'a [Cell],
}

/// A cell of a type.
struct CellText<'a>(&'a Cell, Option<&'a LogicalType>);

// === impl Document ===

impl<'a> Document<'a> {
    /// A letter of a connector.
    pub fn of(connector: &'a str, stored: &'a StoredLetter) -> Self {
        let letter = &stored.letter;
        let (mut before, mut after, mut record) = (None, None, None);
        match &letter.original {
            Some(Original::Change(image)) => {
                let row = |cells: &'a Vec<Cell>| RowText {
                    schema: &image.schema,
                    cells,
                };
                before = image.before.as_ref().map(row);
                after = image.after.as_ref().map(row);
            }
            Some(Original::Record(image)) => record = Some(image),
            None => {}
        }
        Self {
            connector,
            id: Some(stored.id),
            state: Some(stored.state.name()),
            table: &letter.table,
            op: &letter.operation,
            key: letter.key.as_deref().and_then(raw),
            event_id: &letter.event_id,
            position: &letter.position,
            updated_at: time_text(letter.updated_at_us),
            code: &letter.code,
            reason: &letter.reason,
            attempts: stored.attempts,
            quarantined_at: time_text(letter.quarantined_at_us),
            before,
            after,
            record,
        }
    }

    /// The copy that is published: made before the letter has a number, and not kept up.
    #[must_use]
    pub fn without_number(self) -> Self {
        Self {
            id: None,
            state: None,
            ..self
        }
    }

    /// Without what was set aside: for lists.
    #[must_use]
    pub fn without_rows(self) -> Self {
        Self {
            before: None,
            after: None,
            record: None,
            ..self
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // Everything in it is text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// JSON as it is; anything else as a string.
fn raw(text: &str) -> Option<Box<serde_json::value::RawValue>> {
    let json = serde_json::value::RawValue::from_string(text.to_owned());
    json.or_else(|_| serde_json::value::to_raw_value(text)).ok()
}

/// Text as it is; other bytes in base64.
pub(crate) fn bytes_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| STANDARD.encode(bytes), str::to_owned)
}

/// Some columns of a row as a JSON object, in this order.
pub(crate) fn row_text(schema: &TableSchema, row: RowView<'_>, columns: &[usize]) -> String {
    let names = columns.iter().filter_map(|index| {
        let column = schema.columns.get(*index)?;
        let cell = Cell::of(row.get(*index));
        let value = serde_json::to_string(&CellText(&cell, Some(&column.logical_type))).ok()?;
        Some(format!("{}:{value}", serde_json::to_string(&column.name).ok()?))
    });
    format!("{{{}}}", names.collect::<Vec<_>>().join(","))
}

// === impl RowText, CellText ===

impl Serialize for RowText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.cells.len()))?;
        for (column, cell) in self.schema.columns.iter().zip(self.cells) {
            map.serialize_entry(&column.name, &CellText(cell, Some(&column.logical_type)))?;
        }
        map.end()
    }
}

impl Serialize for CellText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let CellText(cell, kind) = self;
        let one = |serializer: S, name: &str, value: &str| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(name, value)?;
            map.end()
        };
        match cell {
            Cell::Null => serializer.serialize_none(),
            Cell::Unchanged => one(serializer, "unchanged", "the log does not repeat it"),
            Cell::Bytes(base64) => one(serializer, "base64", base64),
            Cell::Boolean(value) => serializer.serialize_str(if *value { "true" } else { "false" }),
            Cell::Int(value) => serializer.serialize_str(&int_text(*value, *kind)),
            Cell::Float32(bits) => serializer.serialize_str(&f32::from_bits(*bits).to_string()),
            Cell::Float64(bits) => serializer.serialize_str(&f64::from_bits(*bits).to_string()),
            Cell::TimeTz(microseconds, offset_seconds) => {
                let sign = if *offset_seconds < 0 { '-' } else { '+' };
                let offset = clock_text(i64::from(offset_seconds.abs()) * 1_000_000);
                serializer.serialize_str(&format!("{}{sign}{offset}", clock_text(*microseconds)))
            }
            Cell::Interval(months, days, microseconds) => {
                serializer.serialize_str(&format!("{months} mons {days} days {}", clock_text(*microseconds)))
            }
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::List(cells) => {
                let element = match kind {
                    Some(LogicalType::Array(element)) => Some(&**element),
                    _ => None,
                };
                let mut list = serializer.serialize_seq(Some(cells.len()))?;
                for cell in cells {
                    // Of an array of several dimensions the elements are arrays of the same type.
                    let inner = if matches!(cell, Cell::List(_)) { *kind } else { element };
                    list.serialize_element(&CellText(cell, inner))?;
                }
                list.end()
            }
        }
    }
}

/// Dates, times and timestamps as the database prints them, the ends of the range as `infinity`.
fn int_text(value: i64, kind: Option<&LogicalType>) -> String {
    match kind {
        Some(LogicalType::Date) if value == i64::from(i32::MAX) => "infinity".to_owned(),
        Some(LogicalType::Date) if value == i64::from(i32::MIN) => "-infinity".to_owned(),
        Some(LogicalType::Date) => {
            let first = jiff::civil::date(1970, 1, 1);
            let span = jiff::Span::new().try_days(value);
            let date = span.and_then(|span| first.checked_add(span));
            date.map_or_else(|_| format!("{value} days since 1970-01-01"), |date| date.to_string())
        }
        Some(LogicalType::Time { .. }) => clock_text(value),
        Some(LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. }) if value == i64::MAX => {
            "infinity".to_owned()
        }
        Some(LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. }) if value == i64::MIN => {
            "-infinity".to_owned()
        }
        Some(LogicalType::Timestamp { .. }) => time_text(value).trim_end_matches('Z').replace('T', " "),
        Some(LogicalType::TimestampTz { .. }) => time_text(value),
        _ => value.to_string(),
    }
}

/// Hours, minutes and seconds, with a fraction where there is one.
fn clock_text(microseconds: i64) -> String {
    let sign = if microseconds < 0 { "-" } else { "" };
    let whole = microseconds.unsigned_abs();
    let (seconds, fraction) = (whole / MICROSECONDS_PER_SECOND, whole % MICROSECONDS_PER_SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction == 0 {
        String::new()
    } else {
        format!(".{fraction:06}").trim_end_matches('0').to_owned()
    };
    format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}
