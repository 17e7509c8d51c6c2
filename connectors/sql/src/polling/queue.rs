//! A table that is a queue: which rows were handed out, and what is done when they are durable.
//!
//! ```text
//!   row in the table ─▶ handed out (in flight) ─▶ durable and checkpointed: confirm ─▶ deleted or marked
//!         ▲                                                                               │ fails
//!         └── after a crash it is read again, with the same event_id                      ▼
//!                                                               kept, and tried again before the next page
//! ```
//!
//! Nothing can be skipped, because nothing is remembered but what is in flight. Rows are deleted by their own ids and never "up to" an
//! id: a lower one may have been committed since, and was never published.

use std::collections::{HashSet, VecDeque};

use crate::config::Acknowledge;
use crate::cursor::{Cursor, CursorValue};
use crate::dialect::Syntax;
use crate::plan::PolledTable;
use crate::statement::Statement;

/// Ids per statement: long lists cost the server memory, short ones round trips.
pub(super) const IDS_PER_STATEMENT: usize = 1_000;

/// Rows that were handed out and are still in the table.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Ids of what was handed out, by number of the batch.
    handed: VecDeque<(u64, Vec<CursorValue>)>,
    /// The same ids, and those of `durable`.
    in_flight: HashSet<CursorValue>,
    /// Ids of rows that are durable and not acknowledged yet.
    durable: VecDeque<CursorValue>,
    /// Where the round through the table is; `None` at its beginning.
    round: Option<Cursor>,
}

// === impl Queue ===

impl Queue {
    /// Rows that must not be handed out again.
    pub(super) fn in_flight(&self) -> &HashSet<CursorValue> {
        &self.in_flight
    }

    /// Where the next page begins.
    pub(super) fn round(&self) -> Option<&Cursor> {
        self.round.as_ref()
    }

    /// Where the page after the next begins; `None` begins a new round.
    pub(super) fn go_on(&mut self, round: Option<Cursor>) {
        self.round = round;
    }

    /// These rows go out as batch `number`.
    pub(super) fn hand_out(&mut self, number: u64, ids: Vec<CursorValue>) {
        self.in_flight.extend(ids.iter().cloned());
        self.handed.push_back((number, ids));
    }

    /// Every batch up to this one is durable and checkpointed.
    pub(super) fn confirm(&mut self, number: u64) {
        while let Some((_, ids)) = self.handed.pop_front_if(|(handed, _)| *handed <= number) {
            self.durable.extend(ids);
        }
    }

    /// The next ids to acknowledge; empty where there are none.
    pub(super) fn to_acknowledge(&self) -> Vec<CursorValue> {
        self.durable.iter().take(IDS_PER_STATEMENT).cloned().collect()
    }

    /// So many of them are done.
    pub(super) fn acknowledged(&mut self, count: usize) {
        for id in self.durable.drain(..count.min(self.durable.len())) {
            self.in_flight.remove(&id);
        }
    }

    /// Durable rows that are still in the table.
    pub(super) fn unacknowledged(&self) -> usize {
        self.durable.len()
    }
}

/// The statement that deletes or marks these rows, as long as `guard` holds.
pub(super) fn acknowledgement(
    syntax: &dyn Syntax,
    table: &PolledTable,
    how: &Acknowledge,
    ids: &[CursorValue],
    guard: Option<&str>,
) -> Statement {
    let Some(column) = table.id_column else {
        return Statement::default();
    };
    let name = syntax.table(&table.table.schema.name);
    let id = syntax.identifier(table.id_name());
    let (begin, end) = match how {
        Acknowledge::Delete => (format!("DELETE FROM {name} WHERE {id} IN ("), ")".to_owned()),
        Acknowledge::Mark(mark) => {
            let mark = syntax.identifier(mark);
            (
                format!("UPDATE {name} SET {mark} = CURRENT_TIMESTAMP WHERE {id} IN ("),
                format!(") AND {mark} IS NULL"),
            )
        }
    };
    let mut statement = Statement::text(begin);
    for (index, value) in ids.iter().enumerate() {
        if index > 0 {
            statement = statement.then(", ");
        }
        statement = statement.value(column, value);
    }
    statement.then(match guard {
        Some(guard) => format!("{end} AND {guard}"),
        None => end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<i64>) -> Vec<CursorValue> {
        range.map(CursorValue::Integer).collect()
    }

    #[test]
    fn only_confirmed_batches_are_acknowledged_and_what_failed_is_kept() {
        let mut queue = Queue::default();
        queue.hand_out(1, ids(1..3));
        queue.hand_out(2, ids(3..5));
        assert!(queue.to_acknowledge().is_empty());
        queue.confirm(1);
        assert_eq!(queue.to_acknowledge(), ids(1..3));
        assert_eq!(queue.in_flight().len(), 4);
        // The statement failed: the same ids again, with those that became durable meanwhile.
        queue.confirm(2);
        assert_eq!(queue.to_acknowledge(), ids(1..5));
        queue.acknowledged(4);
        assert!(queue.in_flight().is_empty());
        assert_eq!(queue.unacknowledged(), 0);
    }
}
