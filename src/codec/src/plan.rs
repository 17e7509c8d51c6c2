//! What is compiled once per table version, so that rows run through it without a lookup: the topic, column names that
//! are JSON already, a format per column, inline schemas, and the constant parts of Debezium's `source`.

use std::sync::Arc;

use tailrace_core::batch::RowView;
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableSchema};
use tailrace_core::value::Value;

use crate::column_schema::{column_schema, default_json};
use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::envelope::source::{SourceConstants, SourceOfTable};
use crate::envelope::{debezium, entity};
use crate::format::{Envelope, Format};
use crate::json::CellError;
use crate::json::cell::CellFormat;
use crate::json::placeholder::{unavailable, zero};
use crate::json::text::write_text;

/// One column of a row or of a key.
#[derive(Debug)]
pub(crate) struct ColumnPlan {
    /// Its index in the row.
    pub(crate) index: usize,
    /// `,"name":`
    label: Vec<u8>,
    format: CellFormat,
    /// JSON of NULL.
    null: Vec<u8>,
    /// JSON of a large value that did not change, where the type has room for one.
    unavailable: Option<Vec<u8>>,
}

/// What stands before and after a key or value: nothing, or Connect's schema.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) open: Vec<u8>,
    pub(crate) close: &'static [u8],
}

/// One table version, compiled.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) schema: SharedSchema,
    pub(crate) topic: Arc<str>,
    pub(crate) columns: Vec<ColumnPlan>,
    pub(crate) key: Vec<ColumnPlan>,
    pub(crate) key_frame: Frame,
    pub(crate) value_frame: Frame,
    pub(crate) source: SourceOfTable,
}

/// A cell that cannot be written, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowError {
    /// Index of the column, where it is one cell and not the row.
    pub(crate) column: Option<usize>,
    pub(crate) cell: CellError,
}

/// Connect's schemas of a table's key and value.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) key: Option<ConnectSchema>,
    pub(crate) value: ConnectSchema,
}

// === impl TablePlan ===

impl TablePlan {
    /// Compiles a table version.
    pub(crate) fn compile(
        schema: &SharedSchema,
        topic: Arc<str>,
        format: &Format,
        constants: &SourceConstants,
    ) -> Self {
        let plan = |index| {
            schema
                .columns
                .get(index)
                .map(|column| ColumnPlan::new(index, column, format))
        };
        let (mut key_frame, mut value_frame) = (Frame::default(), Frame::default());
        if format.inline_schema {
            let schemas = Schemas::of(schema, &topic, format, constants);
            key_frame = schemas.key.as_ref().map(Frame::with).unwrap_or_default();
            value_frame = Frame::with(&schemas.value);
        }
        Self {
            schema: Arc::clone(schema),
            topic,
            columns: (0..schema.columns.len()).filter_map(plan).collect(),
            key: key_columns(schema, format.envelope)
                .into_iter()
                .filter_map(plan)
                .collect(),
            key_frame,
            value_frame,
            source: SourceOfTable::new(schema, constants.fields),
        }
    }

    /// Writes a row as an object with every column, placeholders for large values that did not change.
    /// Returns how many of those there were.
    pub(crate) fn write_row(&self, out: &mut Vec<u8>, row: RowView<'_>) -> Result<usize, RowError> {
        self.check_shape(row)?;
        let start = out.len();
        let mut unchanged = 0;
        for (column, value) in self.columns.iter().zip(row.iter()) {
            out.extend_from_slice(&column.label);
            unchanged += usize::from(matches!(value, Value::Unchanged));
            column.write(out, value)?;
        }
        close_object(out, start);
        Ok(unchanged)
    }

    /// Writes a row as an object, leaving out large values that did not change. Returns how many it left out.
    pub(crate) fn write_known(&self, out: &mut Vec<u8>, row: RowView<'_>) -> Result<usize, RowError> {
        self.check_shape(row)?;
        let start = out.len();
        let mut unchanged = 0;
        for (column, value) in self.columns.iter().zip(row.iter()) {
            if matches!(value, Value::Unchanged) {
                unchanged += 1;
                continue;
            }
            out.extend_from_slice(&column.label);
            column.write(out, value)?;
        }
        close_object(out, start);
        Ok(unchanged)
    }

    /// Writes some columns of a row as an object, by index.
    pub(crate) fn write_columns(&self, out: &mut Vec<u8>, row: RowView<'_>, columns: &[usize]) -> Result<(), RowError> {
        self.check_shape(row)?;
        let start = out.len();
        for (index, column) in columns
            .iter()
            .filter_map(|index| Some((*index, self.columns.get(*index)?)))
        {
            out.extend_from_slice(&column.label);
            column.write(out, row.get(index))?;
        }
        close_object(out, start);
        Ok(())
    }

    /// Writes a row's key. A key column that the log does not repeat is taken from the other row.
    pub(crate) fn write_key(
        &self,
        out: &mut Vec<u8>,
        row: RowView<'_>,
        other: Option<RowView<'_>>,
    ) -> Result<(), RowError> {
        self.check_shape(row)?;
        out.extend_from_slice(&self.key_frame.open);
        let start = out.len();
        for column in &self.key {
            let value = match (row.get(column.index), other) {
                (Value::Unchanged, Some(other)) => other.get(column.index),
                (value, _) => value,
            };
            if matches!(value, Value::Unchanged) {
                return Err(column.error(CellError::new(
                    "is part of the key and not in the log, because it is large and did not change",
                    "set REPLICA IDENTITY FULL on the table, or choose another key",
                )));
            }
            out.extend_from_slice(&column.label);
            column.write(out, value)?;
        }
        close_object(out, start);
        out.extend_from_slice(self.key_frame.close);
        Ok(())
    }

    /// True where a row that was logged for its key alone has one: the log's idea of the key may be another than ours, and
    /// then our key's cells are null and mean nothing.
    pub(crate) fn has_key(&self, row: RowView<'_>) -> bool {
        self.key
            .iter()
            .all(|column| !matches!(row.get(column.index), Value::Null))
    }

    /// Writes the names of the columns that did not change, as a JSON array.
    pub(crate) fn write_unchanged(&self, out: &mut Vec<u8>, row: RowView<'_>) {
        out.push(b'[');
        let mut first = true;
        for (column, value) in self.schema.columns.iter().zip(row.iter()) {
            if matches!(value, Value::Unchanged) {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                write_text(out, &column.name);
            }
        }
        out.push(b']');
    }

    fn check_shape(&self, row: RowView<'_>) -> Result<(), RowError> {
        if row.len() == self.columns.len() {
            return Ok(());
        }
        Err(RowError {
            column: None,
            cell: CellError::new(
                "does not have as many cells as its table has columns",
                "please report this as a bug",
            ),
        })
    }
}

/// Every field was written with a comma before it: the first one's becomes the brace.
fn close_object(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// The key's columns. Debezium gives a logical message its prefix as key.
pub(crate) fn key_columns(schema: &TableSchema, envelope: Envelope) -> Vec<usize> {
    match (schema.kind, envelope) {
        (TableKind::Message, Envelope::Debezium) => schema.column_index("prefix").into_iter().collect(),
        _ => schema.key.clone(),
    }
}

// === impl ColumnPlan ===

impl ColumnPlan {
    fn new(index: usize, column: &Column, format: &Format) -> Self {
        let mut label = vec![b','];
        write_text(&mut label, &column.name);
        label.push(b':');
        let cell = CellFormat::of(&column.logical_type, format);
        let null = match format.envelope {
            Envelope::Debezium if !column.nullable => {
                let default = column
                    .default
                    .as_ref()
                    .and_then(|default| default_json(default, &cell, format.dialect));
                default.unwrap_or_else(|| zero(&cell))
            }
            _ => b"null".to_vec(),
        };
        Self {
            index,
            label,
            null,
            unavailable: unavailable(&cell, &format.unavailable_value),
            format: cell,
        }
    }

    fn write(&self, out: &mut Vec<u8>, value: Value<'_>) -> Result<(), RowError> {
        match value {
            Value::Null => out.extend_from_slice(&self.null),
            Value::Unchanged => out.extend_from_slice(self.placeholder()?),
            value => self.format.write(out, value).map_err(|cell| self.error(cell))?,
        }
        Ok(())
    }

    #[cold]
    fn placeholder(&self) -> Result<&[u8], RowError> {
        self.unavailable.as_deref().ok_or_else(|| {
            self.error(CellError::new(
                "did not change and is not in the log, and its type has no placeholder for that",
                "set REPLICA IDENTITY FULL on the table, or use envelope: entity",
            ))
        })
    }

    #[cold]
    fn error(&self, cell: CellError) -> RowError {
        RowError {
            column: Some(self.index),
            cell,
        }
    }
}

// === impl Frame ===

impl Frame {
    fn with(schema: &ConnectSchema) -> Self {
        let mut open = b"{\"schema\":".to_vec();
        open.extend_from_slice(&schema.to_json());
        open.extend_from_slice(b",\"payload\":");
        Self { open, close: b"}" }
    }
}

// === impl Schemas ===

impl Schemas {
    /// The schemas of a table's key and value.
    pub(crate) fn of(schema: &TableSchema, topic: &str, format: &Format, constants: &SourceConstants) -> Self {
        let field = |column: &Column| {
            let cell = CellFormat::of(&column.logical_type, format);
            Field::new(&column.name, column_schema(column, &cell, format.dialect))
        };
        let row = Kind::Struct(schema.columns.iter().map(field).collect());
        let key: Vec<_> = key_columns(schema, format.envelope)
            .into_iter()
            .filter_map(|index| schema.columns.get(index).map(field))
            .collect();
        let key = (!key.is_empty()).then_some(Kind::Struct(key));
        match format.envelope {
            Envelope::Entity => entity::schemas(topic, schema, key, row),
            Envelope::Debezium => debezium::schemas(topic, schema.kind, key, row, constants),
        }
    }
}
