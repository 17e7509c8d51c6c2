//! Keys of rows as bytes that are equal where the keys are.

use tailrace_core::batch::{ChangeBatch, Row};
use tailrace_core::value::Value;
use tailrace_core::{Error, Result};

use super::plan::PlannedColumn;
use super::work::Place;

/// Appends the key of a row; nothing where there are no columns.
///
/// # Errors
/// `Poison` where a column of the key is NULL, or is not known.
pub(super) fn append_key<'a>(
    batch: &ChangeBatch,
    row: Row,
    columns: impl Iterator<Item = &'a PlannedColumn>,
    key: &mut Vec<u8>,
) -> Result<()> {
    let cells = batch.row(row);
    for column in columns {
        let Place::Cell(cell) = column.place else {
            continue;
        };
        match cells.get(cell) {
            Value::Null | Value::Unchanged => {
                let message = format!(
                    "the event has no value for {}, which is part of the key; choose another `key`, or drop the event",
                    column.source.name
                );
                return Err(Error::poison("key_null", message));
            }
            value => append(value, key),
        }
    }
    Ok(())
}

/// A tag, a length where there may be several, and the bytes.
fn append(value: Value<'_>, key: &mut Vec<u8>) {
    match value {
        Value::Null | Value::Unchanged => key.push(0),
        Value::Boolean(value) => key.extend([1, u8::from(value)]),
        Value::Int(value) => {
            key.push(2);
            key.extend(value.to_le_bytes());
        }
        Value::Float32(value) => {
            key.push(3);
            key.extend(value.to_bits().to_le_bytes());
        }
        Value::Float64(value) => {
            key.push(4);
            key.extend(value.to_bits().to_le_bytes());
        }
        Value::TimeTz(value) => {
            key.push(5);
            key.extend(value.microseconds.to_le_bytes());
            key.extend(value.offset_seconds.to_le_bytes());
        }
        Value::Interval(value) => {
            key.push(6);
            key.extend(value.months.to_le_bytes());
            key.extend(value.days.to_le_bytes());
            key.extend(value.microseconds.to_le_bytes());
        }
        Value::Text(value) => append_bytes(7, value.as_bytes(), key),
        Value::Bytes(value) => append_bytes(8, value, key),
        Value::List(list) => {
            key.push(9);
            key.extend(list.len().to_le_bytes());
            list.iter().for_each(|value| append(value, key));
        }
    }
}

fn append_bytes(tag: u8, bytes: &[u8], key: &mut Vec<u8>) {
    key.push(tag);
    key.extend(bytes.len().to_le_bytes());
    key.extend_from_slice(bytes);
}
