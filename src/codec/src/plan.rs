//! What is compiled once per table version, so that rows run through it without a lookup: the topic, column names that
//! are JSON already, a format per column, what stands around keys and values, and the constant parts of Debezium's `source`.

use std::ops::Range;

use tailrace_core::batch::RowView;
use tailrace_core::schema::{Column, TableKind};
use tailrace_core::value::Value;

use crate::avro::schema::optionality;
use crate::column_schema::{ColumnForm, default_value};
use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::context::Context;
use crate::envelope::source::{SourceConstants, SourceOfTable};
use crate::envelope::{debezium, entity};
use crate::format::{Codec, Envelope, Format};
use crate::notation::{Avro, Json, Notation, Optionality};
use crate::publication::{Publication, Published};
use crate::registration::{EventSchemas, Frames, Routes};
use crate::values::cell::{CellFormat, DecimalForm};
use crate::values::placeholder::{unavailable, zero};
use crate::values::text::write_text;
use crate::values::{Cause, CellError};

/// One column of a row or of a key.
#[derive(Debug, Clone)]
pub(crate) struct ColumnPlan {
    /// Its index in the row.
    pub(crate) index: usize,
    /// `,"name":`
    label: Vec<u8>,
    format: CellFormat,
    optionality: Optionality,
    /// What stands for NULL, where anything does.
    null: Option<Vec<u8>>,
    /// What stands for a large value that did not change, where the type has room for one.
    unavailable: Option<Vec<u8>>,
    /// What stands for a value that the format cannot hold, where anything does.
    unrepresentable: Option<Vec<u8>>,
}

/// What of a row was written otherwise than as it is.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// How many cells hold a large value that did not change.
    pub(crate) unchanged: usize,
    /// Indexes of the cells that are null because the format cannot hold their values.
    pub(crate) unrepresentable: Vec<usize>,
}

/// What stands before and after a key or value: nothing, Connect's schema, or the number of the registered one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    pub(crate) open: Vec<u8>,
    pub(crate) close: &'static [u8],
}

/// One table version, compiled.
#[derive(Debug, Clone)]
pub(crate) struct TablePlan {
    pub(crate) publication: Publication,
    pub(crate) columns: Vec<ColumnPlan>,
    pub(crate) key: Vec<ColumnPlan>,
    pub(crate) source: SourceOfTable,
    /// The schemas that a registry must have before the first event; `None` where events need none.
    pub(crate) schemas: Option<EventSchemas>,
    /// What stands around keys and values, by where they go.
    pub(crate) routes: Routes,
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

// === impl RowError ===

impl RowError {
    /// A change without the row that its key would be in.
    #[cold]
    pub(crate) fn no_key() -> Self {
        Self {
            column: None,
            cell: CellError::new(
                "has no row to take its key from",
                "set a replica identity on the table that covers its key",
            ),
        }
    }

    /// An event whose schema has no number yet: only a caller that leaves a step out meets it.
    #[cold]
    pub(crate) fn not_registered() -> Self {
        Self {
            column: None,
            cell: CellError::new(
                "needs a schema that was not registered before it",
                "please report this as a bug",
            ),
        }
    }
}

// === impl TablePlan ===

impl TablePlan {
    /// Compiles a publication in the notation of its codec.
    pub(crate) fn of(publication: Publication, context: &Context) -> Self {
        match context.format.codec {
            Codec::Json | Codec::JsonSchema => Self::compile::<Json>(publication, context),
            Codec::Avro => Self::compile::<Avro>(publication, context),
        }
    }

    fn compile<N: Notation>(publication: Publication, context: &Context) -> Self {
        let Context { format, source, .. } = context;
        let plan = |published: &Published| {
            let form = ColumnForm::of(&published.column, publication.has_in_key(published.cell), format);
            ColumnPlan::new::<N>(published, form, publication.table.kind, format)
        };
        let columns = publication.columns.iter().map(plan).collect();
        let key = publication.key.iter().map(plan).collect();
        let schemas = || Schemas::of(&publication, format, source);
        let mut routes = Routes::default();
        let mut registered = None;
        if context.has_schemas() {
            registered = Some(EventSchemas::of(schemas(), &publication, context));
        } else if format.inline_schema {
            routes.everywhere = Some(Frames::inline(&schemas()));
        } else {
            routes.everywhere = Some(Frames::default());
        }
        Self {
            source: SourceOfTable::new::<N>(&publication.table, source.fields),
            columns,
            key,
            schemas: registered,
            routes,
            publication,
        }
    }

    /// Writes a row as an object with every column, placeholders for large values that did not change.
    pub(crate) fn write_row<N: Notation>(&self, out: &mut Vec<u8>, row: RowView<'_>) -> Result<Written, RowError> {
        self.check_shape(row)?;
        let start = out.len();
        let mut written = Written::default();
        for column in &self.columns {
            let value = row.get(column.index);
            N::syntax(out, &column.label);
            written.unchanged += usize::from(matches!(value, Value::Unchanged));
            column.write::<N>(out, value, &mut written)?;
        }
        N::close_object(out, start);
        Ok(written)
    }

    /// Writes a row that may be missing.
    pub(crate) fn write_optional_row<N: Notation>(
        &self,
        out: &mut Vec<u8>,
        row: Option<RowView<'_>>,
    ) -> Result<Written, RowError> {
        N::optional(out, row.is_some());
        row.map_or_else(|| Ok(Written::default()), |row| self.write_row::<N>(out, row))
    }

    /// Writes a row as an object, leaving out large values that did not change.
    pub(crate) fn write_known<N: Notation>(&self, out: &mut Vec<u8>, row: RowView<'_>) -> Result<Written, RowError> {
        self.check_shape(row)?;
        let start = out.len();
        let mut written = Written::default();
        for column in &self.columns {
            let value = row.get(column.index);
            if matches!(value, Value::Unchanged) {
                written.unchanged += 1;
                continue;
            }
            N::syntax(out, &column.label);
            column.write::<N>(out, value, &mut written)?;
        }
        N::close_object(out, start);
        Ok(written)
    }

    /// Writes some columns of a row as an object, by index.
    pub(crate) fn write_columns<N: Notation>(
        &self,
        out: &mut Vec<u8>,
        row: RowView<'_>,
        columns: &[usize],
    ) -> Result<Written, RowError> {
        self.check_shape(row)?;
        let start = out.len();
        let mut written = Written::default();
        for (index, column) in columns
            .iter()
            .filter_map(|index| Some((*index, self.columns.get(*index)?)))
        {
            N::syntax(out, &column.label);
            column.write::<N>(out, row.get(index), &mut written)?;
        }
        N::close_object(out, start);
        Ok(written)
    }

    /// Writes a row's key. A key column that the log does not repeat is taken from the other row.
    pub(crate) fn write_key<N: Notation>(
        &self,
        out: &mut Vec<u8>,
        frame: &Frame,
        (row, other): (RowView<'_>, Option<RowView<'_>>),
    ) -> Result<(), RowError> {
        self.check_shape(row)?;
        out.extend_from_slice(&frame.open);
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
            N::syntax(out, &column.label);
            column.write::<N>(out, value, &mut Written::default())?;
        }
        N::close_object(out, start);
        out.extend_from_slice(frame.close);
        Ok(())
    }

    /// True where a row that was logged for its key alone has one: the log's idea of the key may be another than ours, and
    /// then our key's cells are null and mean nothing.
    pub(crate) fn has_key(&self, row: RowView<'_>) -> bool {
        self.key
            .iter()
            .all(|column| !matches!(row.get(column.index), Value::Null))
    }

    /// Writes the names of the columns that did not change, as a JSON array, where there are any.
    pub(crate) fn name_unchanged(
        &self,
        out: &mut Vec<u8>,
        row: Option<RowView<'_>>,
        written: &Written,
    ) -> Option<Range<usize>> {
        let row = row.filter(|_| written.unchanged > 0)?;
        Some(self.write_names(out, |cell| matches!(row.get(cell), Value::Unchanged)))
    }

    /// Writes the names of the columns that are null because their form cannot hold the value, as a JSON array, where there are any.
    pub(crate) fn name_unrepresentable(&self, out: &mut Vec<u8>, written: &Written) -> Option<Range<usize>> {
        let cells = &written.unrepresentable;
        (!cells.is_empty()).then(|| self.write_names(out, |cell| cells.contains(&cell)))
    }

    fn write_names(&self, out: &mut Vec<u8>, is_named: impl Fn(usize) -> bool) -> Range<usize> {
        let start = out.len();
        let columns = self.publication.columns.iter();
        out.push(b'[');
        for (index, published) in columns.filter(|published| is_named(published.cell)).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_text(out, &published.column.name);
        }
        out.push(b']');
        start..out.len()
    }

    fn check_shape(&self, row: RowView<'_>) -> Result<(), RowError> {
        if row.len() == self.publication.table.columns.len() {
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

// === impl ColumnPlan ===

impl ColumnPlan {
    fn new<N: Notation>(published: &Published, mut form: ColumnForm, kind: TableKind, format: &Format) -> Self {
        let column = &published.column;
        let mut label = vec![b','];
        write_text(&mut label, &column.name);
        label.push(b':');
        // Debezium's messages have fields that may all be null.
        form.schema.optional |= kind == TableKind::Message && format.envelope == Envelope::Debezium;
        let optionality = optionality(&form.schema);
        Self {
            index: published.cell,
            label,
            null: null::<N>(column, &form, optionality, format),
            unavailable: placeholder::<N>(&form.cell, optionality, format),
            unrepresentable: form.holds_null_instead.then(|| absent::<N>(optionality)),
            format: form.cell,
            optionality,
        }
    }

    fn write<N: Notation>(&self, out: &mut Vec<u8>, value: Value<'_>, written: &mut Written) -> Result<(), RowError> {
        match value {
            Value::Null => out.extend_from_slice(self.null()?),
            Value::Unchanged => out.extend_from_slice(self.placeholder()?),
            value => {
                let start = out.len();
                N::present(out, self.optionality);
                if let Err(cell) = self.format.write::<N>(out, value) {
                    out.truncate(start);
                    out.extend_from_slice(self.instead(cell)?);
                    written.unrepresentable.push(self.index);
                }
            }
        }
        Ok(())
    }

    /// What stands for a value that cannot be written.
    #[cold]
    fn instead(&self, cell: CellError) -> Result<&[u8], RowError> {
        match (&self.unrepresentable, cell.cause) {
            (Some(null), Cause::Unrepresentable) => Ok(null),
            _ => Err(self.error(cell)),
        }
    }

    fn null(&self) -> Result<&[u8], RowError> {
        self.null.as_deref().ok_or_else(|| {
            self.error(CellError::new(
                "is not in the log, and its column may not be null",
                "set REPLICA IDENTITY FULL on the table, or use envelope: debezium, which has a stand-in for it",
            ))
        })
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

/// What stands for NULL. Debezium has a stand-in where a column may not be null and the log does not carry it.
fn null<N: Notation>(column: &Column, form: &ColumnForm, optionality: Optionality, format: &Format) -> Option<Vec<u8>> {
    let required = optionality == Optionality::Required || (form.holds_null_instead && !form.nullable);
    match format.envelope {
        Envelope::Debezium if !column.nullable => {
            let default = column.default.as_ref();
            let default = default.and_then(|default| default_value::<N>(default, &form.cell, format.dialect));
            let mut out = Vec::new();
            N::present(&mut out, optionality);
            out.extend(default.unwrap_or_else(|| zero::<N>(&form.cell)));
            Some(out)
        }
        _ if format.has_registered_schemas() && required => None,
        _ => Some(absent::<N>(optionality)),
    }
}

fn absent<N: Notation>(optionality: Optionality) -> Vec<u8> {
    let mut out = Vec::new();
    N::absent(&mut out, optionality);
    out
}

/// What stands for a large value that did not change.
fn placeholder<N: Notation>(cell: &CellFormat, optionality: Optionality, format: &Format) -> Option<Vec<u8>> {
    // Text in place of a number would be read as one.
    if format.envelope == Envelope::Entity && matches!(cell, CellFormat::Decimal(DecimalForm::Fixed { .. }, _)) {
        return None;
    }
    let value = unavailable::<N>(cell, &format.unavailable_value)?;
    let mut out = Vec::new();
    N::present(&mut out, optionality);
    out.extend(value);
    Some(out)
}

/// The fields of some columns of a publication.
fn fields(columns: &[Published], publication: &Publication, format: &Format) -> Vec<Field> {
    let field = |published: &Published| {
        let Published { column, type_name, .. } = published;
        let ColumnForm { mut schema, .. } = ColumnForm::of(column, publication.has_in_key(published.cell), format);
        if matches!(schema.kind, Kind::Symbols(_)) {
            schema.name.clone_from(type_name);
        }
        Field::new(&column.name, schema)
    };
    columns.iter().map(field).collect()
}

// === impl Schemas ===

impl Schemas {
    /// The schemas of what is published of a table.
    pub(crate) fn of(publication: &Publication, format: &Format, constants: &SourceConstants) -> Self {
        let row = Kind::Struct(Self::row(publication, format));
        let key = fields(&publication.key, publication, format);
        let key = (!key.is_empty()).then_some(Kind::Struct(key));
        let (name, kind) = (&publication.to.name, publication.table.kind);
        match format.envelope {
            Envelope::Entity => entity::schemas(name, key, row, publication),
            Envelope::Debezium => debezium::schemas(name, kind, key, row, constants),
        }
    }

    /// The fields of a row.
    pub(crate) fn row(publication: &Publication, format: &Format) -> Vec<Field> {
        fields(&publication.columns, publication, format)
    }
}
