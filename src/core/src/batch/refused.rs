//! Changes that cannot be carried whatever they are encoded as: they stay in their place, so that whoever sets changes aside does it
//! with these as with others.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{ChangeBatch, ChangeView, Refusal, Row};
use crate::error::{Error, Result};
use crate::event::Refused;

/// Why changes cannot be carried, by the first cells of rows that they have.
pub(super) type RefusedRows = BTreeMap<u32, Refusal>;

// === impl ChangeBatch ===

impl ChangeBatch {
    /// From now on changes with this row, before or after, cannot be carried.
    pub fn refuse_row(&mut self, row: Row, refusal: Refusal) {
        self.refused_rows.insert(row.first_cell, refusal);
    }

    /// The changes that cannot be carried, in their order.
    pub fn refused(&self) -> Vec<Refused> {
        if self.refused_rows.is_empty() {
            return Vec::new();
        }
        let refused = self.views().enumerate().filter_map(|(index, view)| {
            let refusal = view.refusal()?.clone();
            Some(Refused { change: index, refusal })
        });
        refused.collect()
    }

    /// The batch with nothing but the changes that can be carried.
    pub fn carried(&self) -> Cow<'_, Self> {
        let refused = self.refused();
        if refused.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut carried = self.clone();
        let mut refused = refused.iter().map(|refused| refused.change).peekable();
        let mut indexes = 0..;
        carried
            .changes
            .retain(|_| refused.next_if_eq(&indexes.next().unwrap_or(usize::MAX)).is_none());
        Cow::Owned(carried)
    }

    /// Sees to it that every change can be carried.
    ///
    /// # Errors
    /// The first refusal, as an error of kind `Poison`.
    pub fn check_carried(&self) -> Result<()> {
        match self.refused().into_iter().next() {
            Some(Refused { refusal, .. }) => Err(Error::poison(refusal.code, refusal.reason)),
            None => Ok(()),
        }
    }
}

// === impl ChangeView ===

impl<'a> ChangeView<'a> {
    /// Why the change cannot be carried; `None` where it can.
    pub fn refusal(&self) -> Option<&'a Refusal> {
        let rows = [self.change.after, self.change.before];
        let mut rows = rows.into_iter().flatten();
        rows.find_map(|row| self.batch.refused_rows.get(&row.first_cell))
    }
}
