//! One page of one table on its way into a batch: what may be taken, in which order, and what each row is called.
//!
//! Every row is a transaction of its own, because a poll sees rows and not transactions, and because a page's bounds are
//! an accident: after a crash the same rows come in other pages, and must have the same `event_id`.
//!
//! Which operation a row is, and what that can be known from:
//!
//! | mode | `r` | `c` | `u` |
//! |---|---|---|---|
//! | `incrementing` | id was there at the first poll | any higher id | never |
//! | `timestamp_incrementing` | changed before the first poll | id is higher than any seen | everything else |
//!
//! A row that is inserted and then changed between two polls, after a younger one was seen, arrives as `u` alone. Consumers
//! treat `r`, `c` and `u` alike where they keep the latest state, which is what a polled source can give.

use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Row, Transaction};
use tailrace_core::ports::Budget;
use tailrace_core::{Error, Result};

use crate::cursor::{Cursor, RowKey};
use crate::plan::PolledTable;

/// What becomes of a row that the database gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Decode it into the batch and hand it to [`PageWriter::take`].
    Take,
    /// Neither this row nor any after it belongs to the page.
    Stop,
}

/// Takes rows of one table, in cursor order, into a batch.
pub struct PageWriter<'a> {
    /// Where the cells of admitted rows go.
    pub batch: &'a mut ChangeBatch,
    table: &'a PolledTable,
    name: String,
    cursor: Cursor,
    budget: Budget,
    polled_at_us: i64,
    due_until_us: i64,
    stopped: Option<Stopped>,
}

/// Why a page ended before the database's rows did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// There is more to read at once, in another batch.
    Full,
    /// The next row's timestamp is too young.
    NotDue,
}

// === impl PageWriter ===

impl<'a> PageWriter<'a> {
    /// A page that continues after `cursor`. Timestamps later than `due_until_us` are not taken.
    pub fn new(batch: &'a mut ChangeBatch, table: &'a PolledTable, cursor: Cursor, budget: Budget) -> Self {
        Self {
            batch,
            name: table.name(),
            table,
            cursor,
            budget,
            polled_at_us: 0,
            due_until_us: i64::MAX,
            stopped: None,
        }
    }

    /// When the poll runs, by the clock that timestamps are taken from.
    #[must_use]
    pub fn polled_at(mut self, now_us: i64) -> Self {
        self.polled_at_us = now_us;
        self.due_until_us = now_us.saturating_sub(self.table.delay_us);
        self
    }

    /// Whether the next row, known by its cursor columns, belongs to the page.
    ///
    /// # Errors
    /// `timestamp_order` where the stored timestamps do not ascend with the time they name: the column mixes formats, and
    /// going on could skip rows.
    pub fn admit(&mut self, key: &RowKey) -> Result<Admission> {
        if let (Some((stored, microseconds)), Some(before)) = (&key.timestamp, self.cursor.timestamp_us)
            && *microseconds < before
        {
            return Err(Error::definite(
                "timestamp_order",
                format!(
                    "table {}, id {}: timestamp {stored} sorts after {} but is earlier, so the column {} holds more than one \
                     format and rows could be skipped; bring its values into one format",
                    self.name,
                    key.id,
                    self.cursor
                        .timestamp
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    self.table.timestamp_name(),
                ),
            ));
        }
        self.stopped = self.reason_to_stop(key);
        Ok(if self.stopped.is_some() {
            Admission::Stop
        } else {
            Admission::Take
        })
    }

    fn reason_to_stop(&self, key: &RowKey) -> Option<Stopped> {
        if key
            .timestamp
            .as_ref()
            .is_some_and(|(_, microseconds)| *microseconds > self.due_until_us)
        {
            return Some(Stopped::NotDue);
        }
        let taken = self.batch.changes.len();
        let full = taken >= self.budget.changes || (taken > 0 && self.batch.size_bytes() >= self.budget.bytes);
        full.then_some(Stopped::Full)
    }

    /// Takes a row that was admitted and whose cells are in the batch.
    pub fn take(&mut self, row: Row, key: RowKey) {
        let table = self.batch.table_index(&self.table.table.schema);
        let transaction = self.batch.push_transaction(Transaction {
            id: None,
            committed_at_us: self.polled_at_us,
            position: self.cursor.row_position(&self.name, &key).into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        });
        let operation = self.operation(&key);
        self.batch.changes.push(Change {
            operation,
            table,
            transaction,
            before: None,
            before_image: BeforeImage::None,
            after: Some(row),
            ordinal: 0,
            log_position: None,
            updated_at_us: key.timestamp.as_ref().map(|(_, microseconds)| *microseconds),
            topic: None,
            message: None,
        });
        self.cursor.advance(key);
    }

    fn operation(&self, key: &RowKey) -> Operation {
        let id = key.id.as_integer();
        let at = match &key.timestamp {
            Some((_, microseconds)) => Some(*microseconds),
            None => id,
        };
        if at <= self.cursor.load_end && at.is_some() {
            return Operation::Read;
        }
        if key.timestamp.is_none() || id > self.cursor.highest_id {
            return Operation::Create;
        }
        Operation::Update
    }

    /// True where at least one row was taken.
    pub fn has_rows(&self) -> bool {
        !self.batch.changes.is_empty()
    }

    /// Ends the page before the row that comes next, which the next page begins with.
    pub fn stop(&mut self) {
        self.stopped = Some(Stopped::Full);
    }

    /// The cursor after the last row taken.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// True where the table has more rows that could be read at once.
    pub fn has_more(&self, returned: u32, limit: u32) -> bool {
        match self.stopped {
            Some(Stopped::Full) => true,
            Some(Stopped::NotDue) => false,
            None => returned >= limit,
        }
    }
}

/// The batch cannot address more bytes.
pub fn batch_full(error: BatchFull) -> Error {
    Error::definite(
        "batch_full",
        "a page of rows is larger than 4 GiB; set query: { batch_rows } lower",
    )
    .with_source(error)
}
