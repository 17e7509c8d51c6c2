//! JSON objects without a schema. One plan for each sequence of names that was met, with the types of the contract or of the table
//! that is written into, and of the values themselves where neither knows a field.

use std::sync::Arc;

use tailrace_core::schema::{Column, column_named};
use tailrace_core::value::LogicalType;

use super::cell::Cells;
use super::fault::{Fault, Located, Read};
use super::headers::Headers;
use super::plan::{ColumnPlan, RowPlan, Unchanged};
use super::shape::Shape;
use super::stand_in::Notated;
use super::typed::{Rules, fits_observed, number_of, observed_type};
use super::wire::{Fields, JsonWire, Place, Token, Wire};

/// How many sequences of names are remembered for a topic. A writer that puts its fields into an order of its own each time makes
/// more, which are then compiled again and again: slower, and nothing else.
const REMEMBERED: usize = 128;

const NO_OBJECT: Fault = Fault::record("is not a JSON object of fields");

/// What is known of the fields of a topic's records.
#[derive(Debug)]
pub(crate) enum Known {
    /// A contract's schema, by name.
    Contract(Arc<Shape>),
    /// Columns with the types that values should have.
    Columns(Vec<Column>),
    Nothing,
}

/// The plans of a topic's objects, the one that was used last at the end.
#[derive(Debug)]
pub(crate) struct PlainRows {
    known: Arc<Known>,
    rules: Rules,
    placeholder: Arc<str>,
    plans: Vec<Arc<RowPlan>>,
}

// === impl PlainRows ===

impl PlainRows {
    pub(crate) fn new(known: Arc<Known>, rules: Rules, placeholder: Arc<str>) -> Self {
        Self {
            known,
            rules,
            placeholder,
            plans: Vec::new(),
        }
    }

    /// The plan of the object that stands here, which is not passed over.
    pub(crate) fn plan(&mut self, json: &JsonWire<'_>) -> Result<Arc<RowPlan>, Located> {
        if let Some(last) = self.plans.last()
            && is_of(last, *json)?
        {
            return Ok(Arc::clone(last));
        }
        for index in 0..self.plans.len() {
            if let Some(plan) = self.plans.get(index)
                && is_of(plan, *json)?
            {
                let plan = self.plans.remove(index);
                self.plans.push(Arc::clone(&plan));
                return Ok(plan);
            }
        }
        let plan = Arc::new(self.compile(*json)?);
        if self.plans.len() == REMEMBERED {
            self.plans.remove(0);
        }
        self.plans.push(Arc::clone(&plan));
        Ok(plan)
    }

    /// Reads an object into the row that was begun, with the plan that it has. The plan that was used last is tried first, so that
    /// an object like the one before is gone through once.
    pub(crate) fn read(
        &mut self,
        json: &mut JsonWire<'_>,
        cells: &mut Cells<'_>,
        (headers, unchanged): (&Headers<'_>, &mut Vec<usize>),
    ) -> Result<Arc<RowPlan>, Located> {
        if let Some(last) = self.plans.last() {
            let (start, mark) = (json.at(), cells.batch.mark());
            headers.unchanged(last, unchanged);
            if read_exactly(last, json, cells, unchanged)? {
                return Ok(Arc::clone(last));
            }
            json.seek(start);
            cells.batch.rewind(mark);
        }
        let plan = self.plan(json)?;
        headers.unchanged(&plan, unchanged);
        if read_exactly(&plan, json, cells, unchanged)? {
            Ok(plan)
        } else {
            Err(NO_OBJECT.into())
        }
    }

    fn compile(&self, mut json: JsonWire<'_>) -> Result<RowPlan, Located> {
        let notated = Notated::json(&self.placeholder);
        let mut columns: Vec<ColumnPlan> = Vec::new();
        let mut place = begin(&mut json)?;
        while json.next_key(&mut place)? {
            let mut scratch = String::new();
            let name = json.name(&mut scratch)?.to_owned();
            let column = self.column(&name, &mut json, notated)?;
            json.pass()?;
            if columns.iter().any(|known| known.column.name == name) {
                return Err(Fault::record("has a field twice").of(&name));
            }
            columns.push(column);
        }
        Ok(RowPlan::new(columns))
    }

    /// Whether a column is known to be text.
    pub(crate) fn is_text(&self, name: &str) -> bool {
        let known = self.known_column(name, Notated::json(&self.placeholder));
        known.is_some_and(|known| matches!(known.column.logical_type, LogicalType::Text(_)))
    }

    fn known_column(&self, name: &str, notated: Notated<'_>) -> Option<ColumnPlan> {
        match &*self.known {
            Known::Contract(shape) => shape.field(name).map(|shape| ColumnPlan::of(name, shape, notated)),
            Known::Columns(columns) => {
                let column = column_named(columns, name).and_then(|index| columns.get(index));
                let own_name = |column: &Column| Column {
                    name: name.to_owned(),
                    ..column.clone()
                };
                column.map(|column| ColumnPlan::typed(own_name(column), self.rules, notated))
            }
            Known::Nothing => None,
        }
    }

    fn column(&self, name: &str, json: &mut JsonWire<'_>, notated: Notated<'_>) -> Read<ColumnPlan> {
        if let Some(known) = self.known_column(name, notated) {
            return Ok(known);
        }
        let token: Token = json.token()?;
        let logical_type = observed_type(token, number_of(json));
        Ok(ColumnPlan::observed(name, logical_type, self.rules, notated))
    }
}

fn begin(json: &mut JsonWire<'_>) -> Read<Place> {
    if json.token()? == Token::Object {
        json.begin_map()
    } else {
        Err(NO_OBJECT)
    }
}

/// Whether an object has just these fields, in this order, and values that may stand in them.
fn is_of(plan: &RowPlan, mut json: JsonWire<'_>) -> Read<bool> {
    let mut place = begin(&mut json)?;
    let mut index = 0;
    while json.next_key(&mut place)? {
        if !is_at_field(&plan.fields, index, &mut json)? || !fits(plan, index, &json) {
            return Ok(false);
        }
        json.pass()?;
        index += 1;
    }
    Ok(index == plan.columns.len())
}

fn fits(plan: &RowPlan, index: usize, json: &JsonWire<'_>) -> bool {
    let column = plan.columns.get(index);
    column.is_some_and(|column| !column.is_observed || fits_observed(&column.column.logical_type, json))
}

/// Passes over the name of a field, where it is the expected one.
fn is_at_field(fields: &Fields, index: usize, json: &mut JsonWire<'_>) -> Read<bool> {
    if fields.take_label(index, json) {
        return Ok(true);
    }
    let mut scratch = String::new();
    let name = json.name(&mut scratch)?;
    Ok(fields.names.get(index).is_some_and(|expected| expected == name))
}

/// Reads an object that has just the fields of a plan; false where it has others, and then what was read means nothing.
fn read_exactly(
    plan: &RowPlan,
    json: &mut JsonWire<'_>,
    cells: &mut Cells<'_>,
    unchanged: &Unchanged,
) -> Result<bool, Located> {
    let mut place = begin(json)?;
    let mut index = 0;
    while json.next_key(&mut place)? {
        if !is_at_field(&plan.fields, index, json)? || !fits(plan, index, json) {
            return Ok(false);
        }
        plan.read_column(index, json, cells, unchanged)?;
        index += 1;
    }
    Ok(index == plan.columns.len())
}
