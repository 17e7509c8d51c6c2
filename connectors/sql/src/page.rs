//! One page of one table on its way into a batch: what may be taken, in which order, and what each row is called.
//!
//! Every row is a transaction of its own, because a poll sees rows and not transactions, and because a page's bounds are
//! an accident: after a crash the same rows come in other pages, and must have the same `event_id`.
//!
//! Which operation a row is, and what that can be known from:
//!
//! | mode | `r` | `c` | `u` | `d` |
//! |---|---|---|---|---|
//! | `incrementing` | id was there at the first poll | any higher id | never | |
//! | `timestamp`, `timestamp_incrementing` | changed before the first poll | id is higher than any seen | everything else | marked as deleted |
//! | `bulk` | always | | | marked as deleted |
//! | `bulk` with `changes_only` | first poll since the start | not there at the poll before | other values | gone, or marked |
//! | `queue` | | always | | |
//!
//! A row that is inserted and then changed between two polls, after a younger one was seen, arrives as `u` alone. Consumers
//! treat `r`, `c` and `u` alike where they keep the latest state, which is what a polled source can give.

use std::collections::{HashMap, HashSet};

use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Row, RowView, Transaction};
use tailrace_core::ports::{Budget, RowJudge};
use tailrace_core::value::{LogicalType, Value};
use tailrace_core::{Error, Result};

use crate::config::QueryMode;
use crate::cursor::{Cursor, CursorValue, RowKey};
use crate::fingerprint::{Fingerprint, fingerprint};
use crate::plan::PolledTable;
use crate::seen::{News, Seen};

/// What becomes of a row that the database gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Decode it into the batch and hand it to [`PageWriter::take`].
    Take,
    /// It is on its way already: go on with the next.
    Skip,
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
    rule: PageRule<'a>,
    /// The cursor before the first row of the newest time, and how many rows were taken by then.
    before_newest_time: Option<(Cursor, usize)>,
    /// Ids of the rows taken, of a queue.
    ids: Vec<CursorValue>,
    /// Rows without an id, by what their values come to, and how many were alike.
    repetitions: HashMap<Fingerprint, u32>,
    stopped: Option<Stopped>,
    judge: Option<&'a mut (dyn RowJudge + 'static)>,
    /// A row was held back.
    held: bool,
}

/// What else decides about the rows of a page.
#[derive(Default)]
pub enum PageRule<'a> {
    /// Nothing.
    #[default]
    Plain,
    /// Only ids that follow each other directly: a row behind a gap waits.
    Contiguous,
    /// Rows of a queue that were handed out and are not acknowledged yet are not handed out again.
    Without(&'a HashSet<CursorValue>),
    /// Only rows that are new or changed since the poll before.
    News(&'a mut Seen),
}

/// Why a page ended before the database's rows did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// There is more to read at once, in another batch.
    Full,
    /// The next row's timestamp is too young.
    NotDue,
    /// Ids are missing before the next row.
    Gap,
}

// === impl PageWriter ===

impl<'a> PageWriter<'a> {
    /// A page that continues after `cursor`, of rows that `rule` lets pass.
    pub fn new(
        batch: &'a mut ChangeBatch,
        table: &'a PolledTable,
        cursor: Cursor,
        budget: Budget,
        rule: PageRule<'a>,
    ) -> Self {
        Self {
            batch,
            name: table.name(),
            table,
            cursor,
            budget,
            polled_at_us: 0,
            due_until_us: i64::MAX,
            rule,
            before_newest_time: None,
            ids: Vec::new(),
            repetitions: HashMap::new(),
            stopped: None,
            judge: None,
            held: false,
        }
    }

    /// Rows that the judge holds back are left where they are.
    #[must_use]
    pub fn judged_by(mut self, judge: Option<&'a mut (dyn RowJudge + 'static)>) -> Self {
        self.judge = judge;
        self
    }

    /// True where a row was held back.
    pub fn has_held(&self) -> bool {
        self.held
    }

    /// When the poll runs, by the clock that timestamps are taken from. Rows whose timestamps are younger than the table's delay are
    /// not taken, but those of a queue, where nothing is lost that comes later.
    #[must_use]
    pub fn polled_at(mut self, now_us: i64) -> Self {
        self.polled_at_us = now_us;
        if self.table.mode != QueryMode::Queue {
            self.due_until_us = now_us.saturating_sub(self.table.delay_us);
        }
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
            return Err(self.disorder(key, stored));
        }
        if let (PageRule::Without(handed), Some(id)) = (&self.rule, &key.id)
            && handed.contains(id)
        {
            self.cursor.advance(key.clone());
            return Ok(Admission::Skip);
        }
        self.stopped = self.reason_to_stop(key);
        Ok(if self.stopped.is_some() {
            Admission::Stop
        } else {
            Admission::Take
        })
    }

    fn disorder(&self, key: &RowKey, stored: &CursorValue) -> Error {
        Error::definite(
            "timestamp_order",
            format!(
                "table {}, id {}: timestamp {stored} sorts after {} but is earlier, so the column {} holds more than one \
                 format and rows could be skipped; bring its values into one format",
                self.name,
                key.id.as_ref().map(ToString::to_string).unwrap_or_default(),
                self.cursor
                    .timestamp
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                self.table.timestamp_name(),
            ),
        )
    }

    fn reason_to_stop(&self, key: &RowKey) -> Option<Stopped> {
        if key
            .timestamp
            .as_ref()
            .is_some_and(|(_, microseconds)| *microseconds > self.due_until_us)
        {
            return Some(Stopped::NotDue);
        }
        if matches!(self.rule, PageRule::Contiguous) && !self.follows(key) {
            return Some(Stopped::Gap);
        }
        // Without an id there is no place within a time, or within the whole, that the next page could begin at.
        let can_end_here = self.table.id_column.is_some();
        let taken = self.batch.changes.len();
        let full = taken >= self.budget.changes || (taken > 0 && self.batch.size_bytes() >= self.budget.bytes);
        (full && can_end_here).then_some(Stopped::Full)
    }

    fn follows(&self, key: &RowKey) -> bool {
        let last = self.cursor.id.as_ref().and_then(CursorValue::as_integer);
        let next = key.id.as_ref().and_then(CursorValue::as_integer);
        last.and_then(|last| last.checked_add(1)) == next && next.is_some()
    }

    /// Takes a row that was admitted and whose cells are in the batch.
    pub fn take(&mut self, row: Row, key: RowKey) {
        let schema = &self.table.table.schema;
        if let Some(judge) = &mut self.judge
            && judge.holds(schema, self.batch.row(row))
        {
            self.held = true;
            self.cursor.advance(key);
            return;
        }
        if key.timestamp.as_ref().map(|(stored, _)| stored) != self.cursor.timestamp.as_ref() {
            self.before_newest_time = Some((self.cursor.clone(), self.batch.changes.len()));
            self.repetitions.clear();
        }
        if let (PageRule::Without(_), Some(id)) = (&self.rule, &key.id) {
            self.ids.push(id.clone());
        }
        let news = match &mut self.rule {
            PageRule::News(seen) => seen.look(key.id.as_ref(), fingerprint(self.batch.row(row))),
            PageRule::Plain | PageRule::Contiguous | PageRule::Without(_) => News::Unknown,
        };
        if news != News::Same {
            let id = key.id.clone().unwrap_or_else(|| self.name_by_values(row));
            let stored = key.timestamp.as_ref().map(|(stored, _)| stored);
            let position = self.cursor.row_position(&self.name, &id, stored);
            let operation = self.operation(row, &key, news);
            self.push(operation, row, position, key.timestamp.as_ref().map(|(_, time)| *time));
        }
        self.cursor.advance(key);
    }

    /// A row that is no longer there, of which only the id is known.
    ///
    /// # Errors
    /// Where the batch is full.
    pub fn gone(&mut self, id: &CursorValue) -> Result<()> {
        let row = push_id(self.batch, self.table, id).map_err(batch_full)?;
        let position = format!("{}/gone", self.cursor.row_position(&self.name, id, None));
        self.push(Operation::Delete, row, position, None);
        if let Some(change) = self.batch.changes.last_mut() {
            change.before_image = BeforeImage::Key;
        }
        Ok(())
    }

    fn push(&mut self, operation: Operation, row: Row, position: String, updated_at_us: Option<i64>) {
        let table = self.batch.table_index(&self.table.table.schema);
        let transaction = self.batch.push_transaction(Transaction {
            id: None,
            committed_at_us: self.polled_at_us,
            position: position.into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        });
        let (before, before_image, after) = match operation {
            Operation::Delete => (Some(row), BeforeImage::Full, None),
            _ => (None, BeforeImage::None, Some(row)),
        };
        self.batch.changes.push(Change {
            operation,
            table,
            transaction,
            before,
            before_image,
            after,
            ordinal: 0,
            log_position: None,
            updated_at_us,
            topic: None,
            message: None,
        });
    }

    /// What a row without an id is called: what its values come to, and which of those with the same it is. Which of two rows
    /// that are alike comes first makes no difference to anyone.
    fn name_by_values(&mut self, row: Row) -> CursorValue {
        let print = fingerprint(self.batch.row(row));
        let alike = self.repetitions.entry(print).or_default();
        let count = *alike;
        *alike += 1;
        CursorValue::Text(match count {
            0 => print.to_string(),
            count => format!("{print}~{count}"),
        })
    }

    fn operation(&self, row: Row, key: &RowKey, news: News) -> Operation {
        if self.is_deleted(self.batch.row(row)) {
            return Operation::Delete;
        }
        match (self.table.mode, news) {
            (QueryMode::Queue, _) | (_, News::New) => return Operation::Create,
            (_, News::Changed) => return Operation::Update,
            (QueryMode::Bulk, _) => return Operation::Read,
            (QueryMode::Incrementing | QueryMode::Timestamp | QueryMode::TimestampIncrementing, _) => {}
        }
        let id = key.id.as_ref().and_then(CursorValue::as_integer);
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

    fn is_deleted(&self, row: RowView<'_>) -> bool {
        let Some((column, value)) = &self.table.deleted else {
            return false;
        };
        match (row.get(*column), value) {
            (Value::Null, _) => false,
            (_, None) => true,
            (Value::Boolean(flag), Some(wanted)) => {
                wanted.eq_ignore_ascii_case(if flag { "true" } else { "false" })
                    || *wanted == i32::from(flag).to_string()
            }
            (Value::Int(number), Some(wanted)) => *wanted == number.to_string(),
            (Value::Text(text), Some(wanted)) => text == wanted,
            (_, Some(_)) => false,
        }
    }

    /// Gives back the rows of the newest time, of which there may be more than were read: the next page begins with them.
    /// False where all rows are of one time.
    pub fn leave_newest_time(&mut self) -> bool {
        match self.before_newest_time.take() {
            Some((cursor, taken)) if taken > 0 => {
                self.batch.changes.truncate(taken);
                self.cursor = cursor;
                self.stopped = Some(Stopped::Full);
                true
            }
            Some(_) | None => false,
        }
    }

    /// True where at least one row was taken.
    pub fn has_rows(&self) -> bool {
        !self.batch.changes.is_empty()
    }

    /// Ends the page before the row that comes next, which the next page begins with.
    pub fn stop(&mut self) {
        self.stopped = Some(Stopped::Full);
    }

    /// Ids of the rows taken, of a queue.
    pub(crate) fn take_ids(&mut self) -> Vec<CursorValue> {
        std::mem::take(&mut self.ids)
    }

    /// The cursor after the last row taken.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// True where the table has more rows that could be read at once.
    pub fn has_more(&self, returned: u32, limit: Option<u32>) -> bool {
        match self.stopped {
            Some(Stopped::Full) => true,
            Some(Stopped::NotDue | Stopped::Gap) => false,
            None => limit.is_some_and(|limit| returned >= limit),
        }
    }

    /// True where rows are too young to be taken.
    pub fn is_before_its_time(&self) -> bool {
        self.stopped == Some(Stopped::NotDue)
    }

    /// True where rows are behind ids that are missing.
    pub fn is_before_gap(&self) -> bool {
        self.stopped == Some(Stopped::Gap)
    }
}

/// A row of which only the id is known; everything else is NULL and means nothing.
fn push_id(batch: &mut ChangeBatch, table: &PolledTable, id: &CursorValue) -> Result<Row, BatchFull> {
    batch.begin_row()?;
    for (index, column) in table.table.schema.columns.iter().enumerate() {
        match id {
            _ if Some(index) != table.id_column => batch.push_null(),
            // Its cells are digits, because half of its numbers are larger than a signed one.
            CursorValue::Integer(value) if column.logical_type == LogicalType::UnsignedInt64 => {
                batch.push_text(&value.to_string())?;
            }
            CursorValue::Integer(value) => batch.push_int(*value),
            CursorValue::Text(text) => batch.push_text(text)?,
            CursorValue::Real { real } => batch.push_text(real)?,
        }
    }
    batch.end_row()
}

/// The batch cannot address more bytes.
pub fn batch_full(error: BatchFull) -> Error {
    Error::definite(
        "batch_full",
        "a page of rows is larger than 4 GiB; set query: { batch_rows } lower",
    )
    .with_source(error)
}
