//! How much of the row before its change an envelope has: all of it, or its key and what stands for the rest.
//!
//! PostgreSQL's log has nothing but the key of a deleted row, unless the table has REPLICA IDENTITY FULL, and the envelope says nowhere
//! which it is. Where a column may not be null, Debezium writes its default, or zero. So a row is whole where something in it, beside
//! the key, can be neither; in a binary log every row is.

use tailrace_core::batch::{BeforeImage, ChangeBatch, Row};
use tailrace_core::position::{Position, Progress};
use tailrace_core::value::{Datum, Interval, LogicalType, ShapeKind, TextKind, TimeTz, Value};

use super::cell::{CellForm, Cells, Scratch};
use super::envelope::Source;
use super::plan::{ColumnPlan, RowPlan};
use super::shape::Shape;
use super::tables::Table;
use super::wire::JsonWire;
use crate::values::placeholder::{EMPTY_GEOMETRY_WKB, empty_shape_wkb};

/// How much of a row is there.
pub(crate) fn image(source: &Source, table: &Table, (plan, row): (&RowPlan, Row), batch: &ChangeBatch) -> BeforeImage {
    let is_whole = || {
        let mut cells = plan.columns.iter().zip(batch.row(row).iter()).enumerate();
        cells.any(|(index, (column, value))| !table.schema.key.contains(&index) && says_something(column, value))
    };
    // What has no key of its own is known by the whole of its row.
    if !table.is_keyed || !source.file.is_empty() || is_whole() {
        BeforeImage::Full
    } else {
        BeforeImage::Key
    }
}

/// Whether a cell is what no writer puts in place of one that it does not have.
fn says_something(column: &ColumnPlan, value: Value<'_>) -> bool {
    let is_default = || column.default.is_some() && value.to_datum() == column.default;
    !is_zero(&column.column.logical_type, value) && !is_default()
}

fn is_zero(logical_type: &LogicalType, value: Value<'_>) -> bool {
    const NO_TIME: Interval = Interval {
        months: 0,
        days: 0,
        microseconds: 0,
    };
    const MIDNIGHT: TimeTz = TimeTz {
        microseconds: 0,
        offset_seconds: 0,
    };
    match value {
        Value::Null | Value::Unchanged => true,
        Value::Boolean(value) => !value,
        Value::Int(value) => value == 0,
        Value::Float32(value) => value == 0.0,
        Value::Float64(value) => value == 0.0,
        Value::TimeTz(time) => time == MIDNIGHT,
        Value::Interval(interval) => interval == NO_TIME,
        Value::Text(text) => is_zero_text(logical_type, text),
        Value::Bytes(bytes) => bytes.iter().all(|byte| *byte == 0) || is_empty_figure(bytes),
        Value::List(list) => {
            // Behind a figure stands whether it is closed; a line must not be 0, 0, 0.
            let is_given = |(index, value): (usize, Value<'_>)| match logical_type {
                LogicalType::Shape(_) => index > 0,
                LogicalType::Line => index == 1 && value == Value::Float64(1.0),
                _ => false,
            };
            let mut elements = list.iter().enumerate();
            elements.all(|(index, value)| is_zero(logical_type, value) || is_given((index, value)))
        }
    }
}

/// No characters, a number that is zero (in whatever form), an empty document, the first symbol of an enumeration.
fn is_zero_text(logical_type: &LogicalType, text: &str) -> bool {
    let is_first = || match logical_type {
        LogicalType::Text(TextKind::Enum(symbols)) => symbols.first().is_some_and(|first| first == text),
        _ => false,
    };
    text.bytes().all(|byte| matches!(byte, b'0' | b'.')) || matches!(text, "{}" | "[]") || is_first()
}

fn is_empty_figure(wkb: &[u8]) -> bool {
    let kinds = [ShapeKind::Box, ShapeKind::Polygon, ShapeKind::LineSegment];
    wkb == EMPTY_GEOMETRY_WKB || kinds.iter().any(|kind| wkb == empty_shape_wkb(*kind))
}

/// The default of a schema as a value; `None` where it says none, or one that its type cannot have.
pub(crate) fn default_of(shape: &Shape, form: &CellForm) -> Option<Datum> {
    let text = shape.default.as_deref()?;
    let mut batch = ChangeBatch::new("".into(), Progress::at(Position::new("")));
    let mut cells = Cells {
        batch: &mut batch,
        scratch: &mut Scratch::default(),
    };
    cells.batch.begin_row().ok()?;
    form.read(&mut JsonWire::new(text), &mut cells).ok()?;
    let row = batch.end_row().ok()?;
    batch.row(row).get(0).to_datum()
}
