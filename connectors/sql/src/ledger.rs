//! Which ids below the highest that is visible may still come.
//!
//! Ids are given when a row is inserted, and rows are seen when their transaction commits: a lower id may come after a higher
//! one, or never, where its transaction is rolled back. What is known for certain:
//!
//! ```text
//!    1. highest id, of rows that are visible or of the sequence       ids ─▶  …  17   18   19   20
//!    2. transactions that may insert into the table, *after* 1                         ?        ▲ highest
//!    3. each of them has ended                          ─▶  no id up to the highest will come any more
//! ```
//!
//! An id below the highest was given before 1. The transaction that got it held the lock of a writer on the table before it asked
//! for the id, because the id is the column's default and so is made by the insert itself. So it is either over at 2 or among
//! those that are waited for. After 3 what is still missing was rolled back.
//!
//! Ids that follow each other without a gap need no waiting. A prepared transaction gets another name when it is prepared: so
//! whoever waits for any transaction waits for all prepared ones too.
//!
//! Why not simply "older than a while": nothing bounds how long a transaction is open.

use crate::dialect::Writers;

/// What may be read of a table whose ids may come late.
#[derive(Debug, Default)]
pub(crate) struct GapLedger {
    /// No id up to here will come any more that is not visible.
    settled_until: Option<i64>,
    barrier: Option<Barrier>,
}

/// Ids that are settled when these transactions are over.
#[derive(Debug)]
struct Barrier {
    until: i64,
    waiting_for: Writers,
}

/// How far a table may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Up to this id, gaps or not.
    Until(i64),
    /// As long as each id follows the one before directly.
    Contiguous,
}

// === impl GapLedger ===

impl GapLedger {
    /// How far rows after this id may be read.
    pub(crate) fn reach(&self, after: Option<i64>) -> Reach {
        match self.settled_until {
            Some(until) if after.is_none_or(|after| after < until) => Reach::Until(until),
            Some(_) | None => Reach::Contiguous,
        }
    }

    /// There is a gap below `until`, and these transactions, looked for after `until` was, may fill it.
    pub(crate) fn wait(&mut self, until: i64, writers: Writers) {
        self.barrier = Some(Barrier {
            until,
            waiting_for: writers,
        });
        self.settle();
    }

    /// Who is open now. Whoever is not any more is not waited for any longer.
    pub(crate) fn look(&mut self, open: &Writers) {
        if let Some(barrier) = &mut self.barrier {
            barrier.waiting_for.sessions.retain(|name| open.sessions.contains(name));
            barrier.waiting_for.prepared.clone_from(&open.prepared);
        }
        self.settle();
    }

    /// The transactions that are waited for; `None` where nothing is.
    pub(crate) fn waiting_for(&self) -> Option<&Writers> {
        self.barrier.as_ref().map(|barrier| &barrier.waiting_for)
    }

    fn settle(&mut self) {
        if let Some(over) = self.barrier.take_if(|barrier| barrier.waiting_for.is_empty()) {
            self.settled_until = self.settled_until.max(Some(over.until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writers(sessions: &[&str], prepared: &[&str]) -> Writers {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Writers {
            sessions: set(sessions),
            prepared: set(prepared),
        }
    }

    #[test]
    fn a_gap_is_settled_when_everyone_who_was_open_is_over() {
        let mut ledger = GapLedger::default();
        assert_eq!(ledger.reach(None), Reach::Contiguous);
        ledger.wait(20, writers(&["a", "b"], &[]));
        ledger.look(&writers(&["b", "c"], &[]));
        assert_eq!(ledger.reach(Some(17)), Reach::Contiguous);
        assert_eq!(ledger.waiting_for(), Some(&writers(&["b"], &[])));
        // Who comes later cannot have an id that was given before.
        ledger.look(&writers(&["c"], &[]));
        assert_eq!(ledger.waiting_for(), None);
        assert_eq!(ledger.reach(Some(17)), Reach::Until(20));
        assert_eq!(ledger.reach(None), Reach::Until(20));
        assert_eq!(ledger.reach(Some(20)), Reach::Contiguous);
    }

    #[test]
    fn with_nobody_open_a_gap_is_settled_at_once() {
        let mut ledger = GapLedger::default();
        ledger.wait(20, Writers::default());
        assert_eq!(ledger.reach(Some(17)), Reach::Until(20));
    }

    #[test]
    fn a_transaction_that_is_prepared_under_another_name_is_still_waited_for() {
        let mut ledger = GapLedger::default();
        ledger.wait(20, writers(&["a"], &[]));
        ledger.look(&writers(&[], &["xid 7"]));
        assert_eq!(ledger.reach(Some(17)), Reach::Contiguous);
        ledger.look(&Writers::default());
        assert_eq!(ledger.reach(Some(17)), Reach::Until(20));
    }
}
