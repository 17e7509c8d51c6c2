//! Sparse vectors.

use super::INCOMPLETE;
use crate::reading::cell::Cells;
use crate::reading::fault::{OUT_OF_RANGE, Read};
use crate::reading::shape::{Form, Shape};
use crate::reading::wire::{Fields, Wire};

/// A vector that lists only what is not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    fields: Fields,
    shapes: Vec<Shape>,
}

// === impl Sparse ===

impl Sparse {
    /// The vector that a struct is.
    pub(crate) fn new(shape: &Shape) -> Option<Self> {
        let fields = shape.fields()?;
        shape.field("dimensions")?;
        let is_vector = |form: &Form| matches!(form, Form::Map(_) | Form::Pairs(..));
        shape.field("vector").filter(|vector| is_vector(&vector.form))?;
        Some(Self {
            fields: Fields::new(fields.iter().map(|(name, _)| name.clone()).collect()),
            shapes: fields.iter().map(|(_, shape)| shape.clone()).collect(),
        })
    }

    /// Reads the number of dimensions, and indexes with their values. The number comes first, as it is written; in JSON it may stand
    /// behind.
    pub(crate) fn read<W: Wire>(&self, wire: &mut W, cells: &mut Cells<'_>) -> Read<()> {
        cells.batch.begin_list();
        let (mut is_begun, mut entries) = (false, None);
        let mut place = wire.begin_struct()?;
        while let Some(index) = wire.next_field(&mut place, &self.fields)? {
            let Some(shape) = self.shapes.get(index) else {
                continue;
            };
            match self.fields.names.get(index).map(String::as_str) {
                Some("dimensions") => {
                    cells.batch.push_int(wire.int()?);
                    is_begun = true;
                }
                Some("vector") if is_begun => read_entries(wire, shape, cells)?,
                Some("vector") if W::IS_ORDERED => return Err(INCOMPLETE),
                Some("vector") => {
                    entries = Some((wire.at(), shape));
                    wire.skip(shape)?;
                }
                _ => wire.skip(shape)?,
            }
        }
        if !is_begun {
            return Err(INCOMPLETE);
        }
        if let Some((at, shape)) = entries {
            let end = wire.at();
            wire.seek(at);
            read_entries(wire, shape, cells)?;
            wire.seek(end);
        }
        cells.batch.end_list()?;
        Ok(())
    }
}

fn read_entries<W: Wire>(wire: &mut W, shape: &Shape, cells: &mut Cells<'_>) -> Read<()> {
    if matches!(shape.form, Form::Pairs(..)) {
        let mut place = wire.begin_list()?;
        while wire.next_element(&mut place)? {
            wire.begin_pair()?;
            cells.batch.push_int(wire.int()?);
            wire.middle_of_pair()?;
            cells.batch.push_float64(wire.float64()?);
            wire.end_pair()?;
        }
        return Ok(());
    }
    let mut place = wire.begin_map()?;
    while wire.next_entry(&mut place, &mut cells.scratch.digits)? {
        let index = cells.scratch.digits.parse().map_err(|_| OUT_OF_RANGE)?;
        cells.batch.push_int(index);
        cells.batch.push_float64(wire.float64()?);
    }
    Ok(())
}
