//! Rows of events that own themselves, to be written again.

use tailrace_core::batch::RowView;
use tailrace_core::schema::SharedSchema;
use tailrace_core::value::{Datum, Value};

/// A row of events that owns itself.
#[derive(Debug, Clone)]
pub struct EventRow {
    pub(super) schema: SharedSchema,
    /// `None` where no event says what the value is.
    pub(super) cells: Vec<Option<Datum>>,
}

// === impl EventRow ===

impl EventRow {
    /// The row of an event. What did not change is what it was `before`.
    pub fn new(schema: &SharedSchema, row: RowView<'_>, before: Option<&Self>) -> Self {
        let cell = |(index, value): (usize, Value<'_>)| {
            value.to_datum().or_else(|| {
                let before = before?;
                let same = before.schema.column_index(&schema.columns.get(index)?.name)?;
                before.cells.get(same).cloned().flatten()
            })
        };
        Self {
            schema: SharedSchema::clone(schema),
            cells: row.iter().enumerate().map(cell).collect(),
        }
    }
}
