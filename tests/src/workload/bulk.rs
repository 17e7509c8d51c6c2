//! Statements that write many rows at once: what makes a transaction of the workload large.

use std::ops::Range;

use super::{BULK_ROWS, Key, Step, Transaction, Writer};

impl Writer {
    /// Many rows with one statement: as many more as fewer, so that a large statement is as rare as it is large.
    pub(super) fn change_bulk(&mut self, transaction: &mut Transaction) {
        let doublings = (self.shared.largest_rows / BULK_ROWS).max(1).ilog2();
        let most = BULK_ROWS << self.dice.below(u64::from(doublings) + 1);
        let rows = most / 2 + self.dice.below(most / 2);
        let Range { start, end } = transaction.bulk.clone();
        let (writer, until) = (self.number, end.min(start + rows));
        match self.dice.below(3) {
            0 if until > start => {
                let version = self.next_versions(until - start);
                transaction.push(&format!(
                    "update bulk set version = {version} + number - {start} where writer = {writer} and number < {until};"
                ));
                let steps =
                    (start..until).map(|number| (bulk_key(writer, number), Step::Put(version + number - start)));
                transaction.steps.extend(steps);
            }
            1 if until > start => {
                transaction.push(&format!(
                    "delete from bulk where writer = {writer} and number < {until};"
                ));
                let steps = (start..until).map(|number| (bulk_key(writer, number), Step::Delete));
                transaction.steps.extend(steps);
                transaction.bulk = until..end;
            }
            _ => self.insert_bulk(transaction, rows),
        }
    }

    pub(super) fn insert_bulk(&mut self, transaction: &mut Transaction, rows: u64) {
        let (writer, from) = (self.number, transaction.bulk.end);
        let (until, version) = (from + rows, self.next_versions(rows));
        let (numbers, digest) = (
            self.shared.database().numbers(from..until),
            self.shared.dialect.digest("n"),
        );
        transaction.push(&format!(
            "insert into bulk select {writer}, n, {version} + n - {from}, repeat({digest}, 3) from ({numbers}) numbers;"
        ));
        let steps = (from..until).map(|number| (bulk_key(writer, number), Step::Put(version + number - from)));
        transaction.steps.extend(steps);
        transaction.bulk.end = until;
    }
}

fn bulk_key(writer: u64, number: u64) -> Key {
    ("bulk", format!("{{\"number\":{number},\"writer\":{writer}}}"))
}
