//! What a table looked like at the poll before, for `changes_only`: the fingerprint of each row, by its id.
//!
//! It is kept in memory, 50 to 100 bytes for a row, and begins empty at each start: what changed while nobody looked is then not known, so that
//! every row is published once more, as a read. What was deleted meanwhile is never told.

use std::collections::HashMap;

use crate::cursor::CursorValue;
use crate::fingerprint::Fingerprint;

/// The rows of the poll before, and those of the poll that runs.
#[derive(Debug, Default)]
pub struct Seen {
    rows: HashMap<CursorValue, Row>,
    /// Number of the poll that runs.
    poll: u32,
}

#[derive(Debug)]
struct Row {
    fingerprint: Fingerprint,
    /// The newest poll that it was in.
    poll: u32,
}

/// What a row is, compared with the poll before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// There is nothing to compare with.
    Unknown,
    /// It was not there.
    New,
    /// It had other values.
    Changed,
    /// It was there as it is.
    Same,
}

// === impl Seen ===

impl Seen {
    /// Notes a row of the poll that runs, and says what it is. A row without an id cannot be known again.
    pub fn look(&mut self, id: Option<&CursorValue>, fingerprint: Fingerprint) -> News {
        let Some(id) = id else {
            return News::Unknown;
        };
        let row = Row {
            fingerprint,
            poll: self.poll,
        };
        match self.rows.insert(id.clone(), row) {
            Some(before) if before.fingerprint == fingerprint => News::Same,
            Some(_) => News::Changed,
            None if self.poll == 0 => News::Unknown,
            None => News::New,
        }
    }

    /// The poll has seen every row: gives those that are gone, and forgets them.
    pub fn finish(&mut self) -> Vec<CursorValue> {
        let poll = self.poll;
        let gone = self.rows.extract_if(|_, row| row.poll != poll).map(|(id, _)| id);
        let mut gone: Vec<_> = gone.collect();
        gone.sort_by_cached_key(ToString::to_string);
        self.poll = self.poll.wrapping_add(1).max(1);
        gone
    }
}
