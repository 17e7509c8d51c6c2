//! The headers of a record that say something of its row: the inverse of [`crate::envelope::headers`].

use tailrace_core::batch::Operation;
use tailrace_core::event::header;
use tailrace_core::record_batch::RecordView;

use super::moment::{self, Moment};
use super::plan::RowPlan;
use super::wire::{JsonWire, Wire};
use crate::envelope::headers::UNCHANGED;

/// What the headers say; those of other writers that go by the same names and say something else say nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Headers<'a> {
    pub(crate) operation: Option<Operation>,
    pub(crate) position: Option<&'a str>,
    pub(crate) transaction: Option<u64>,
    updated_at: Option<&'a str>,
    unchanged: Option<&'a str>,
}

/// The moment that was read last: the rows of a transaction mostly have the same.
#[derive(Debug, Default)]
pub(crate) struct LastMoment {
    text: String,
    at_us: Option<i64>,
}

// === impl Headers ===

impl<'a> Headers<'a> {
    pub(crate) fn of(record: RecordView<'a>) -> Self {
        let mut headers = Self::default();
        let mut is_ours = false;
        for (name, value) in record.headers() {
            let text = || std::str::from_utf8(value).ok();
            match name {
                header::OPERATION => headers.operation = text().and_then(Operation::from_code),
                header::EVENT_ID => is_ours = true,
                header::UPDATED_AT => headers.updated_at = text(),
                header::POSITION => headers.position = text(),
                header::TRANSACTION => headers.transaction = text().and_then(|text| text.parse().ok()),
                UNCHANGED => headers.unchanged = text(),
                _ => {}
            }
        }
        // Another writer may call anything `op`: by such a word alone no table is emptied, and no row passed over.
        let is_of_no_row = matches!(headers.operation, Some(Operation::Message | Operation::Truncate));
        if is_of_no_row && !is_ours {
            headers.operation = None;
        }
        headers
    }

    /// When the row was last updated, microseconds since 1970.
    pub(crate) fn updated_at_us(&self, last: &mut LastMoment) -> Option<i64> {
        last.at_us(self.updated_at?)
    }

    /// The columns of a plan that did not change, whatever the record has for them.
    pub(crate) fn unchanged(&self, plan: &RowPlan, columns: &mut Vec<usize>) {
        columns.clear();
        let Some(names) = self.unchanged else { return };
        let mut json = JsonWire::new(names);
        let mut read = || {
            let mut place = json.begin_list()?;
            while json.next_element(&mut place)? {
                columns.extend(plan.find(json.string(&mut String::new())?));
            }
            Ok::<_, super::fault::Fault>(())
        };
        if read().is_err() {
            columns.clear();
        }
    }
}

// === impl LastMoment ===

impl LastMoment {
    /// Microseconds since 1970; `None` of what is no moment.
    fn at_us(&mut self, text: &str) -> Option<i64> {
        if self.text != text {
            self.at_us = match moment::timestamp_cut(text) {
                Ok(Moment::At(at)) => Some(at),
                Ok(Moment::Late { .. }) | Err(_) => None,
            };
            self.text.clear();
            self.text.push_str(text);
        }
        self.at_us
    }
}
