//! What is compiled once per schema, so that records run through it without a lookup: names that are JSON already, a form for each
//! column, and what stands for large values that did not change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tailrace_core::schema::{Column, UNDECLARED};
use tailrace_core::value::{Datum, LogicalType};

use super::cell::{CellForm, Cells};
use super::fault::{Fault, Located};
use super::image::default_of;
use super::meaning::meaning;
use super::shape::{Form, Shape};
use super::stand_in::{Notated, stand_ins};
use super::typed::{Rules, typed_form};
use super::wire::{Fields, Wire};
use crate::notation::Optionality;

const ABSENT: Fault = Fault::record("lacks a field that its schema requires");

/// What Debezium notes of a column's type in its own database.
const SOURCE_TYPE: &str = "__debezium.source.column.type";

/// The struct of a row or of a key, as columns in the order in which they are written.
#[derive(Debug)]
pub(crate) struct RowPlan {
    /// Tells plans apart.
    pub(crate) id: u64,
    pub(crate) fields: Fields,
    pub(crate) columns: Vec<ColumnPlan>,
}

/// One column.
#[derive(Debug)]
pub(crate) struct ColumnPlan {
    pub(crate) column: Column,
    shape: Shape,
    form: CellForm,
    optionality: Optionality,
    /// What stands for a large value that did not change, in the notation's bytes.
    stand_ins: Vec<Vec<u8>>,
    /// What a record means that leaves the field out, and what may stand for a value that the log does not have, where the column may not
    /// be null.
    pub(crate) default: Option<Datum>,
    /// Its type was told by a value, as nothing else told it.
    pub(crate) is_observed: bool,
}

/// The columns that a header calls unchanged, whatever stands in the record for them.
pub(crate) type Unchanged = [usize];

static PLANS: AtomicU64 = AtomicU64::new(0);

// === impl RowPlan ===

impl RowPlan {
    pub(crate) fn new(columns: Vec<ColumnPlan>) -> Self {
        Self {
            id: PLANS.fetch_add(1, Ordering::Relaxed),
            fields: Fields::new(columns.iter().map(|column| column.column.name.clone()).collect()),
            columns,
        }
    }

    /// The columns of a struct; `None` where the schema is of something else.
    pub(crate) fn of(shape: &Shape, notated: Notated<'_>) -> Option<Arc<Self>> {
        let fields = shape.fields()?.iter();
        let columns = fields.map(|(name, field)| ColumnPlan::of(name, field, notated));
        Some(Arc::new(Self::new(columns.collect())))
    }

    /// A plan of one column, which is read by itself.
    pub(crate) fn single(name: &str, shape: &Shape, notated: Notated<'_>) -> Arc<Self> {
        Arc::new(Self::new(vec![ColumnPlan::of(name, shape, notated)]))
    }

    /// Where a column is.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.fields.find(name, 0)
    }

    /// Reads every column; of those that the record does not have see [`Self::push_absent`].
    pub(crate) fn read<W: Wire>(
        &self,
        wire: &mut W,
        cells: &mut Cells<'_>,
        unchanged: &Unchanged,
    ) -> Result<(), Located> {
        let (start, mark) = (wire.at(), cells.batch.mark());
        let mut place = wire.begin_struct()?;
        let mut expected = 0;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            if index != expected {
                wire.seek(start);
                cells.batch.rewind(mark);
                return self.read_in_any_order(wire, cells, (unchanged, None));
            }
            self.read_column(index, wire, cells, unchanged)?;
            expected += 1;
        }
        (expected..self.columns.len()).try_for_each(|index| self.push_absent(index, cells, unchanged))
    }

    /// A field that the record leaves out has its default, else it is null, as Kafka Connect's converters read it.
    #[cold]
    fn push_absent(&self, index: usize, cells: &mut Cells<'_>, unchanged: &Unchanged) -> Result<(), Located> {
        let Some(column) = self.columns.get(index) else {
            return Ok(());
        };
        if unchanged.contains(&index) {
            cells.batch.push_unchanged();
        } else if let Some(default) = &column.default {
            cells.batch.push_datum(default).map_err(Fault::from)?;
        } else if column.column.nullable {
            cells.batch.push_null();
        } else {
            return Err(ABSENT.of(&column.column.name));
        }
        Ok(())
    }

    /// Reads some columns, given in ascending order.
    pub(crate) fn read_some<W: Wire>(
        &self,
        wire: &mut W,
        cells: &mut Cells<'_>,
        wanted: &[usize],
    ) -> Result<(), Located> {
        if !W::IS_ORDERED {
            return self.read_in_any_order(wire, cells, (&[], Some(wanted)));
        }
        let mut place = wire.begin_struct()?;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            if wanted.contains(&index) {
                self.read_column(index, wire, cells, &[])?;
            } else if let Some(column) = self.columns.get(index) {
                wire.skip(&column.shape)?;
            }
        }
        Ok(())
    }

    /// Looks first where every column is.
    #[cold]
    fn read_in_any_order<W: Wire>(
        &self,
        wire: &mut W,
        cells: &mut Cells<'_>,
        (unchanged, wanted): (&Unchanged, Option<&[usize]>),
    ) -> Result<(), Located> {
        let mut places = std::mem::take(&mut cells.scratch.places);
        places.clear();
        places.resize(self.columns.len(), None);
        let mut place = wire.begin_struct()?;
        let anything = Shape::of(Form::Anything);
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            if let Some(slot) = places.get_mut(index) {
                *slot = Some(wire.at());
            }
            wire.skip(&anything)?;
        }
        let end = wire.at();
        for (index, at) in places.iter().enumerate() {
            match at {
                _ if wanted.is_some_and(|wanted| !wanted.contains(&index)) => {}
                Some(at) => {
                    wire.seek(*at);
                    self.read_column(index, wire, cells, unchanged)?;
                }
                None => self.push_absent(index, cells, unchanged)?,
            }
        }
        wire.seek(end);
        cells.scratch.places = places;
        Ok(())
    }

    /// Reads one column.
    #[inline]
    pub(crate) fn read_column<W: Wire>(
        &self,
        index: usize,
        wire: &mut W,
        cells: &mut Cells<'_>,
        unchanged: &Unchanged,
    ) -> Result<(), Located> {
        let Some(column) = self.columns.get(index) else {
            return Ok(());
        };
        let read = if unchanged.is_empty() || !unchanged.contains(&index) {
            column.read(wire, cells)
        } else {
            cells.batch.push_unchanged();
            wire.skip(&column.shape)
        };
        read.map_err(|fault| fault.of(&column.column.name))
    }
}

// === impl ColumnPlan ===

impl ColumnPlan {
    /// A column of a field with a schema.
    pub(crate) fn of(name: &str, shape: &Shape, notated: Notated<'_>) -> Self {
        let (logical_type, form) = meaning(shape);
        let column = Column {
            name: name.to_owned(),
            logical_type,
            nullable: shape.may_be_null(),
            source_type: shape.parameter(SOURCE_TYPE).unwrap_or_default().to_owned(),
            default: None,
            default_is_computed: false,
            documentation: shape.documentation.clone(),
        };
        Self {
            stand_ins: stand_ins(&form, &column.logical_type, notated),
            default: default_of(shape, &form),
            column,
            form,
            optionality: shape.optionality,
            shape: shape.clone(),
            is_observed: false,
        }
    }

    /// A column whose values have no schema: they should be of this type.
    pub(crate) fn typed(column: Column, rules: Rules, notated: Notated<'_>) -> Self {
        let form = typed_form(&column.logical_type, rules);
        Self {
            stand_ins: stand_ins(&form, &column.logical_type, notated),
            default: column.default.clone(),
            column,
            form,
            optionality: Optionality::NullFirst,
            shape: Shape::of(Form::Anything),
            is_observed: false,
        }
    }

    /// A column of which nothing but a value is known.
    pub(crate) fn observed(name: &str, logical_type: LogicalType, rules: Rules, notated: Notated<'_>) -> Self {
        let column = Column {
            source_type: UNDECLARED.to_owned(),
            ..Column::new(name, logical_type)
        };
        Self {
            is_observed: true,
            ..Self::typed(column, rules, notated)
        }
    }

    /// A column of text that is the whole of what there is.
    pub(crate) fn raw(name: &str) -> Self {
        Self::of(name, &Shape::of(Form::Text), Notated::json(""))
    }

    #[inline]
    fn read<W: Wire>(&self, wire: &mut W, cells: &mut Cells<'_>) -> Result<(), Fault> {
        if wire.take_null(self.optionality)? {
            cells.batch.push_null();
            return Ok(());
        }
        for stand_in in &self.stand_ins {
            if wire.take(stand_in) {
                cells.batch.push_unchanged();
                return Ok(());
            }
        }
        self.form.read(wire, cells)
    }
}
