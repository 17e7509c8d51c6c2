//! How far each table was read, and how that is written down.
//!
//! The position of a polled source is the JSON of all cursors: `{"orders":{"id":17,"load_end":12}}`. Cursor values are
//! kept as the database stores them, so that they compare there exactly as they did when they were read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tailrace_core::position::{Position, Progress};
use tailrace_core::{Error, Result};

/// A value of a cursor column, as the database stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CursorValue {
    /// A whole number.
    Integer(i64),
    /// Characters.
    Text(String),
    /// A floating point number, as the shortest decimal text that gives it back: JSON readers round.
    Real {
        /// The text.
        real: String,
    },
}

/// The cursor columns of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey {
    /// The id column; where the table has none, nothing until the row is taken, and then what its values come to.
    pub id: Option<CursorValue>,
    /// The timestamp column where the mode has one: as stored, and as microseconds since 1970.
    pub timestamp: Option<(CursorValue, i64)>,
}

/// How far one table was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Id of the last row read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CursorValue>,
    /// Timestamp of the last row read, as stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<CursorValue>,
    /// The same, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_us: Option<i64>,
    /// Rows up to here were there when the table was first polled: an id, or microseconds since 1970 with timestamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_end: Option<i64>,
    /// Highest id read so far, with timestamps: a higher one is a new row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_id: Option<i64>,
    /// How often ids began again below the cursor, or in mode `bulk` the whole table; part of every row's position, so that an id
    /// that is used twice does not give the same `event_id` twice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// Batches of a queue that were handed out so far: what a confirmed position stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_batches: Option<u64>,
}

/// The cursors of all tables, by table name.
pub type Cursors = BTreeMap<String, Cursor>;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

// === impl CursorValue ===

impl CursorValue {
    /// A floating point value.
    pub fn real(value: f64) -> Self {
        Self::Real {
            real: value.to_string(),
        }
    }

    /// The whole number, where it is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Text(_) | Self::Real { .. } => None,
        }
    }
}

impl fmt::Display for CursorValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Text(text) => formatter.write_str(text),
            Self::Real { real } => formatter.write_str(real),
        }
    }
}

// === impl Cursor ===

impl Cursor {
    /// Moves to a row that was read.
    pub fn advance(&mut self, key: RowKey) {
        if let Some((stored, microseconds)) = key.timestamp {
            self.timestamp = Some(stored);
            self.timestamp_us = Some(microseconds);
            self.highest_id = self.highest_id.max(key.id.as_ref().and_then(CursorValue::as_integer));
        }
        self.id = key.id;
    }

    /// The position of one row: `orders/17`, `orders/2026-01-31 10:00:00/17`, `orders~1/17`. It is of the row alone, so
    /// that the same row has the same `event_id` whatever page it is read in.
    pub fn row_position(&self, table: &str, id: &CursorValue, timestamp: Option<&CursorValue>) -> String {
        let generation = match self.generation {
            0 => String::new(),
            count => format!("~{count}"),
        };
        match timestamp {
            Some(stored) => format!("{table}{generation}/{stored}/{id}"),
            None => format!("{table}{generation}/{id}"),
        }
    }
}

/// Reads the cursors of a checkpoint. What cannot be read is corruption, never a first start.
pub fn from_progress(progress: Option<&Progress>) -> Result<Cursors> {
    let Some(progress) = progress else {
        return Ok(Cursors::new());
    };
    serde_json::from_str(progress.position.as_str()).map_err(|error| {
        let message = format!(
            "the stored position `{}` is not one of a polled source; restore the state file from a backup, or give the \
             connector a new name to read its tables from the beginning",
            progress.position
        );
        Error::definite("position_corrupt", message).with_source(error)
    })
}

/// The position that these cursors are.
pub fn to_position(cursors: &Cursors) -> Result<Position> {
    let json = serde_json::to_string(cursors).map_err(|error| {
        Error::definite("position_corrupt", "the cursors cannot be written as JSON").with_source(error)
    })?;
    Ok(Position::new(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_like_what_it_is() {
        let mut cursor = Cursor::default();
        cursor.advance(RowKey {
            id: Some(CursorValue::Integer(17)),
            timestamp: None,
        });
        let position = to_position(&Cursors::from([("orders".to_owned(), cursor)])).unwrap();
        assert_eq!(position.as_str(), r#"{"orders":{"id":17}}"#);
    }

    #[test]
    fn cursors_come_back_as_they_were() {
        let values = [
            CursorValue::Integer(i64::MIN),
            CursorValue::Text("17".to_owned()),
            CursorValue::real(2_460_310.500_000_011),
        ];
        for value in values {
            let cursor = Cursor {
                id: Some(CursorValue::Text("a\"b".to_owned())),
                timestamp: Some(value),
                timestamp_us: Some(-1),
                load_end: Some(i64::MAX),
                highest_id: None,
                generation: 3,
                handed_batches: Some(7),
            };
            let cursors = Cursors::from([("orders".to_owned(), cursor)]);
            let progress = Progress::at(to_position(&cursors).unwrap());
            assert_eq!(from_progress(Some(&progress)).unwrap(), cursors);
        }
    }

    #[test]
    fn a_position_that_cannot_be_read_is_not_a_first_start() {
        for text in ["", "0/16B3748", r#"{"orders":17}"#, r#"{"orders":{"ID":17}}"#] {
            let error = from_progress(Some(&Progress::at(Position::new(text)))).unwrap_err();
            assert_eq!(error.code(), "position_corrupt", "{text}");
        }
        assert!(from_progress(None).unwrap().is_empty());
    }
}
