//! How full a batch is, and going back there: what was read of a record that then turns out to be none leaves nothing behind.

use super::ChangeBatch;

/// How full a batch was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMark {
    text: usize,
    bytes: usize,
    cells: usize,
    elements: usize,
}

// === impl ChangeBatch ===

impl ChangeBatch {
    /// How full the batch is, for [`Self::rewind`].
    pub fn mark(&self) -> BatchMark {
        BatchMark {
            text: self.text.len(),
            bytes: self.bytes.len(),
            cells: self.cells.len(),
            elements: self.elements.len(),
        }
    }

    /// Takes back every value that was pushed since a mark: rows that were begun or ended since are no more, and no change may refer
    /// to them.
    pub fn rewind(&mut self, mark: BatchMark) {
        self.open_lists.clear();
        self.text.truncate(mark.text);
        self.bytes.truncate(mark.bytes);
        self.cells.truncate(mark.cells);
        self.elements.truncate(mark.elements);
    }
}
