//! Changes, handed over together with the progress they stand for.
//!
//! A batch is an arena. Text and bytes of every value lie one behind the other in two buffers; a cell is a tag with an
//! inline scalar or a span of a buffer; a row is a range of cells. Nothing is allocated per row or per cell, and the
//! views ([`ChangeView`], [`RowView`]) give it back as readable values.
//!
//! ```text
//!   text:    "a0eebc99…" "Ada" "note"          bytes: 0x0102…
//!   cells:   [Int 7][Text ↑][Null]  [Int 7][Text ↑][Text ↑]
//!   rows:     ╰──── before ─────╯    ╰───── after ──────╯
//!   changes: { update, table 0, transaction 0, before, after }
//! ```
//!
//! Invariants: spans lie within their buffer because only [`ChangeBatch`] makes them; a row has as many cells as its
//! table has columns; text is valid UTF-8 because it is checked on the way in.

mod datum;
mod excerpt;
mod mark;
mod message;
mod refused;
mod transaction;

use std::sync::Arc;

use crate::position::Progress;
use crate::schema::SharedSchema;
use crate::value::{Interval, TimeTz, Value};
pub use mark::BatchMark;
use message::Messages;
pub use message::{Message, MessageIndex, MessageView, Part, Payload, PayloadView, Refusal};
use refused::RefusedRows;
pub use transaction::{BinlogTransaction, Transaction};

/// What happened to a row; codes are Debezium's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `r`: the row existed before the log began.
    Read,
    /// `c`: inserted.
    Create,
    /// `u`: updated.
    Update,
    /// `d`: deleted.
    Delete,
    /// `t`: the whole table was emptied.
    Truncate,
    /// `m`: a logical message of the log.
    Message,
}

/// How much of the row before the change the log carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeforeImage {
    /// Nothing.
    None,
    /// The key columns; every other cell of the row is null and means nothing.
    Key,
    /// The whole row.
    Full,
}

/// Part of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    offset: u32,
    length: u32,
}

/// A tag with an inline scalar, or a span of one of the batch's buffers. 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    Null,
    Unchanged,
    Boolean(bool),
    Int(i64),
    Float32(f32),
    Float64(f64),
    TimeTz(i64, i32),
    /// Sixteen bytes of `bytes`: months, days, microseconds, little-endian.
    Interval(u32),
    Text(Span),
    Bytes(Span),
    /// A span of `elements`.
    List(Span),
}

/// A range of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    first_cell: u32,
    columns: u32,
}

/// One row-level fact.
#[derive(Debug, Clone)]
pub struct Change {
    /// What happened.
    pub operation: Operation,
    /// Index into [`ChangeBatch::tables`].
    pub table: usize,
    /// Index into [`ChangeBatch::transactions`].
    pub transaction: usize,
    /// Row before, as far as the log has it.
    pub before: Option<Row>,
    /// How much of `before` is there.
    pub before_image: BeforeImage,
    /// Row after.
    pub after: Option<Row>,
    /// Number of the change within its transaction, the same at every replay whatever the filters.
    pub ordinal: u64,
    /// Position of this change in the log, where the log has numbers.
    pub log_position: Option<u64>,
    /// The row's own updated-at, where the connector names a column for it. Microseconds since 1970, UTC.
    pub updated_at_us: Option<i64>,
    /// The topic that a route, or the row itself, chose instead of the template's.
    pub topic: Option<Arc<str>>,
    /// What is published in place of the row, where the change is an event already.
    pub message: Option<MessageIndex>,
}

/// Changes in commit order, with the progress that is reached when all of them are durable.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    /// Who the source is, stable over restarts and replays: the first part of every `event_id`.
    pub identity: Arc<str>,
    /// What is reached when every change of this batch, and every batch before, is durable.
    pub progress: Progress,
    /// Table versions that `changes` refer to.
    pub tables: Vec<SharedSchema>,
    /// Transactions that `changes` refer to.
    pub transactions: Vec<Transaction>,
    /// The changes.
    pub changes: Vec<Change>,
    /// Its rows are of a snapshot that was asked for while the log was carried, and not of the first one.
    pub is_incremental: bool,
    text: String,
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    elements: Vec<Cell>,
    /// Elements of lists that are still being written, innermost last.
    open_lists: Vec<Vec<Cell>>,
    /// Lists that were written, empty again: their memory serves the next ones.
    spare_lists: Vec<Vec<Cell>>,
    open_row: u32,
    has_unchanged: bool,
    messages: Messages,
    refused_rows: RefusedRows,
}

/// One change of a batch, with its table, transaction and rows at hand.
#[derive(Debug, Clone, Copy)]
pub struct ChangeView<'a> {
    batch: &'a ChangeBatch,
    change: &'a Change,
}

/// One row of a batch.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    batch: &'a ChangeBatch,
    cells: &'a [Cell],
}

/// The elements of a list value.
#[derive(Clone, Copy)]
pub struct ListView<'a> {
    batch: &'a ChangeBatch,
    cells: &'a [Cell],
}

/// The batch cannot hold more: a value or the whole batch is larger than 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch holds at most 4 GiB of values; make the batch budget smaller")]
pub struct BatchFull;

// === impl Operation ===

impl Operation {
    /// Debezium's letter.
    pub fn code(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Truncate => "t",
            Self::Message => "m",
        }
    }

    /// The operation of a letter.
    pub fn from_code(code: &str) -> Option<Self> {
        use Operation::{Create, Delete, Message, Read, Truncate, Update};
        let all = [Read, Create, Update, Delete, Truncate, Message];
        all.into_iter().find(|operation| operation.code() == code)
    }
}

// === impl ChangeBatch ===

impl ChangeBatch {
    /// An empty batch; without changes it is a heartbeat, which carries only progress.
    pub fn new(identity: Arc<str>, progress: Progress) -> Self {
        Self {
            identity,
            progress,
            tables: Vec::new(),
            transactions: Vec::new(),
            changes: Vec::new(),
            is_incremental: false,
            text: String::new(),
            bytes: Vec::new(),
            cells: Vec::new(),
            elements: Vec::new(),
            open_lists: Vec::new(),
            spare_lists: Vec::new(),
            open_row: 0,
            has_unchanged: false,
            messages: Messages::default(),
            refused_rows: RefusedRows::new(),
        }
    }

    /// Makes room for about so many changes of so many bytes.
    pub fn reserve(&mut self, changes: usize, bytes: usize) {
        self.changes.reserve(changes);
        self.cells.reserve(changes.saturating_mul(8));
        self.text.reserve(bytes);
    }

    /// True where there is nothing but progress.
    pub fn is_heartbeat(&self) -> bool {
        self.changes.is_empty()
    }

    /// Memory that the batch's values take, bytes.
    pub fn size_bytes(&self) -> usize {
        self.text.len()
            + self.bytes.len()
            + (self.cells.len() + self.elements.len()) * size_of::<Cell>()
            + self.changes.len() * size_of::<Change>()
            + self.messages.size_bytes()
    }

    /// Index of a table version, added where it is new. Newest are looked at first: a batch has few.
    pub fn table_index(&mut self, schema: &SharedSchema) -> usize {
        let known = self.tables.iter().rposition(|known| Arc::ptr_eq(known, schema));
        known.unwrap_or_else(|| {
            self.tables.push(Arc::clone(schema));
            self.tables.len() - 1
        })
    }

    /// Adds a transaction and returns its index.
    pub fn push_transaction(&mut self, transaction: Transaction) -> usize {
        self.transactions.push(transaction);
        self.transactions.len() - 1
    }

    /// Begins a row; cells pushed from here to [`Self::end_row`] are its columns.
    pub fn begin_row(&mut self) -> Result<(), BatchFull> {
        self.open_lists.clear();
        self.open_row = index(self.cells.len())?;
        Ok(())
    }

    /// Ends the row that was begun.
    pub fn end_row(&mut self) -> Result<Row, BatchFull> {
        let end = index(self.cells.len())?;
        Ok(Row {
            first_cell: self.open_row,
            columns: end.saturating_sub(self.open_row),
        })
    }

    /// How many columns the open row has so far.
    pub fn open_columns(&self) -> usize {
        self.cells.len().saturating_sub(self.open_row as usize)
    }

    fn push(&mut self, cell: Cell) {
        match self.open_lists.last_mut() {
            Some(list) => list.push(cell),
            None => self.cells.push(cell),
        }
    }

    /// Next cell: NULL.
    pub fn push_null(&mut self) {
        self.push(Cell::Null);
    }

    /// Next cell: a large value that did not change and is not in the log.
    pub fn push_unchanged(&mut self) {
        self.has_unchanged = true;
        self.push(Cell::Unchanged);
    }

    /// Whether a value of a row may be one that is not in the log.
    pub fn has_unchanged(&self) -> bool {
        self.has_unchanged
    }

    /// Next cell: true or false.
    pub fn push_boolean(&mut self, value: bool) {
        self.push(Cell::Boolean(value));
    }

    /// Next cell: integer, date, time or timestamp.
    pub fn push_int(&mut self, value: i64) {
        self.push(Cell::Int(value));
    }

    /// Next cell: single precision.
    pub fn push_float32(&mut self, value: f32) {
        self.push(Cell::Float32(value));
    }

    /// Next cell: double precision.
    pub fn push_float64(&mut self, value: f64) {
        self.push(Cell::Float64(value));
    }

    /// Next cell: time with offset.
    pub fn push_time_tz(&mut self, value: TimeTz) {
        self.push(Cell::TimeTz(value.microseconds, value.offset_seconds));
    }

    /// Next cell: interval.
    pub fn push_interval(&mut self, value: Interval) -> Result<(), BatchFull> {
        let at = index(self.bytes.len())?;
        self.bytes.extend_from_slice(&value.months.to_le_bytes());
        self.bytes.extend_from_slice(&value.days.to_le_bytes());
        self.bytes.extend_from_slice(&value.microseconds.to_le_bytes());
        self.push(Cell::Interval(at));
        Ok(())
    }

    /// Next cell: characters.
    pub fn push_text(&mut self, value: &str) -> Result<(), BatchFull> {
        let span = Span::of(self.text.len(), value.len())?;
        self.text.push_str(value);
        self.push(Cell::Text(span));
        Ok(())
    }

    /// Next cell: characters that `write` appends to the batch's text buffer, for text that is made and not copied.
    pub fn push_text_with(&mut self, write: impl FnOnce(&mut String)) -> Result<(), BatchFull> {
        let start = self.text.len();
        write(&mut self.text);
        let span = Span::of(start, self.text.len().saturating_sub(start))?;
        self.push(Cell::Text(span));
        Ok(())
    }

    /// Next cell: raw bytes.
    pub fn push_bytes(&mut self, value: &[u8]) -> Result<(), BatchFull> {
        let span = Span::of(self.bytes.len(), value.len())?;
        self.bytes.extend_from_slice(value);
        self.push(Cell::Bytes(span));
        Ok(())
    }

    /// Next cell: raw bytes that `write` appends to the batch's byte buffer.
    pub fn push_bytes_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), BatchFull> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let span = Span::of(start, self.bytes.len().saturating_sub(start))?;
        self.push(Cell::Bytes(span));
        Ok(())
    }

    /// Next cell: a list; cells pushed from here to [`Self::end_list`] are its elements. Lists nest.
    pub fn begin_list(&mut self) {
        self.open_lists.push(self.spare_lists.pop().unwrap_or_default());
    }

    /// Ends the innermost open list.
    pub fn end_list(&mut self) -> Result<(), BatchFull> {
        let Some(mut list) = self.open_lists.pop() else {
            return Ok(());
        };
        let span = Span::of(self.elements.len(), list.len())?;
        self.elements.append(&mut list);
        self.spare_lists.push(list);
        self.push(Cell::List(span));
        Ok(())
    }

    /// Gives up the lists that are open: what was pushed into them is forgotten.
    pub fn abandon_lists(&mut self) {
        self.open_lists.clear();
    }

    /// Next cell: a copy of a cell of a row of this batch.
    pub fn push_copy(&mut self, row: Row, column: usize) {
        let cell = self.row_cells(row).get(column).copied().unwrap_or(Cell::Null);
        self.push(cell);
    }

    /// The changes, with everything they refer to.
    pub fn views(&self) -> impl Iterator<Item = ChangeView<'_>> {
        self.changes.iter().map(|change| ChangeView { batch: self, change })
    }

    /// A row of this batch.
    pub fn row(&self, row: Row) -> RowView<'_> {
        RowView {
            batch: self,
            cells: self.row_cells(row),
        }
    }

    fn row_cells(&self, row: Row) -> &[Cell] {
        let first = row.first_cell as usize;
        let range = first..first + row.columns as usize;
        self.cells.get(range).unwrap_or_default()
    }

    fn value(&self, cell: Cell) -> Value<'_> {
        match cell {
            Cell::Null => Value::Null,
            Cell::Unchanged => Value::Unchanged,
            Cell::Boolean(value) => Value::Boolean(value),
            Cell::Int(value) => Value::Int(value),
            Cell::Float32(value) => Value::Float32(value),
            Cell::Float64(value) => Value::Float64(value),
            Cell::TimeTz(microseconds, offset_seconds) => Value::TimeTz(TimeTz {
                microseconds,
                offset_seconds,
            }),
            Cell::Interval(at) => Value::Interval(self.interval(at)),
            Cell::Text(span) => Value::Text(self.text.get(span.range()).unwrap_or_default()),
            Cell::Bytes(span) => Value::Bytes(self.bytes.get(span.range()).unwrap_or_default()),
            Cell::List(span) => Value::List(ListView {
                batch: self,
                cells: self.elements.get(span.range()).unwrap_or_default(),
            }),
        }
    }

    fn interval(&self, at: u32) -> Interval {
        let at = at as usize;
        let stored = self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<16>());
        let [a, b, c, d, e, f, g, h, rest @ ..] = *stored.unwrap_or(&[0; 16]);
        Interval {
            months: i32::from_le_bytes([a, b, c, d]),
            days: i32::from_le_bytes([e, f, g, h]),
            microseconds: i64::from_le_bytes(rest),
        }
    }
}

// === impl Span ===

impl Span {
    fn of(offset: usize, length: usize) -> Result<Self, BatchFull> {
        index(offset.saturating_add(length))?;
        Ok(Self {
            offset: index(offset)?,
            length: index(length)?,
        })
    }

    fn range(self) -> std::ops::Range<usize> {
        let start = self.offset as usize;
        start..start + self.length as usize
    }
}

fn index(value: usize) -> Result<u32, BatchFull> {
    u32::try_from(value).map_err(|_| BatchFull)
}

// === impl ChangeView ===

impl<'a> ChangeView<'a> {
    /// The change's own fields.
    pub fn change(&self) -> &'a Change {
        self.change
    }

    /// What happened.
    pub fn operation(&self) -> Operation {
        self.change.operation
    }

    /// The batch it is in.
    pub fn batch(&self) -> &'a ChangeBatch {
        self.batch
    }

    /// The table version its rows are of; `None` only for a batch that was put together wrongly.
    pub fn table(&self) -> Option<&'a SharedSchema> {
        self.batch.tables.get(self.change.table)
    }

    /// The transaction it belongs to; `None` only for a batch that was put together wrongly.
    pub fn transaction(&self) -> Option<&'a Transaction> {
        self.batch.transactions.get(self.change.transaction)
    }

    /// The row before.
    pub fn before(&self) -> Option<RowView<'a>> {
        self.change.before.map(|row| self.batch.row(row))
    }

    /// The row after.
    pub fn after(&self) -> Option<RowView<'a>> {
        self.change.after.map(|row| self.batch.row(row))
    }

    /// When the row was last updated: its own column, else the transaction's commit.
    pub fn updated_at_us(&self) -> i64 {
        let committed = || self.transaction().map(|transaction| transaction.committed_at_us);
        self.change.updated_at_us.or_else(committed).unwrap_or_default()
    }
}

// === impl RowView ===

impl<'a> RowView<'a> {
    /// How many columns it has.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// True for a row without columns.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The value of a column; NULL past the last.
    pub fn get(&self, column: usize) -> Value<'a> {
        let cell = self.cells.get(column).copied();
        cell.map_or(Value::Null, |cell| self.batch.value(cell))
    }

    /// The values, in column order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let batch = self.batch;
        self.cells.iter().map(move |cell| batch.value(*cell))
    }
}

// === impl ListView ===

impl<'a> ListView<'a> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// True for a list without elements.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// An element; `None` past the last.
    pub fn get(&self, element: usize) -> Option<Value<'a>> {
        self.cells.get(element).map(|cell| self.batch.value(*cell))
    }

    /// The elements, in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let batch = self.batch;
        self.cells.iter().map(move |cell| batch.value(*cell))
    }
}

impl std::fmt::Debug for ListView<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for ListView<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use crate::value::Datum;

    fn batch() -> ChangeBatch {
        ChangeBatch::new("test".into(), Progress::at(Position::new("0")))
    }

    #[test]
    fn a_cell_takes_sixteen_bytes() {
        assert_eq!(size_of::<Cell>(), 16);
    }

    #[test]
    fn a_row_gives_back_what_was_pushed() {
        let mut batch = batch();
        let interval = Interval {
            months: -14,
            days: 3,
            microseconds: -7,
        };
        batch.begin_row().unwrap();
        batch.push_int(-7);
        batch.push_text("žš").unwrap();
        batch.push_bytes(&[0, 255]).unwrap();
        batch.push_interval(interval).unwrap();
        batch.push_unchanged();
        batch.push_null();
        let row = batch.end_row().unwrap();
        let values: Vec<_> = batch.row(row).iter().collect();
        assert_eq!(
            values,
            [
                Value::Int(-7),
                Value::Text("žš"),
                Value::Bytes(&[0, 255]),
                Value::Interval(interval),
                Value::Unchanged,
                Value::Null
            ]
        );
        assert_eq!(batch.row(row).get(99), Value::Null);
    }

    #[test]
    fn what_was_taken_back_leaves_nothing() {
        let mut batch = batch();
        batch.begin_row().unwrap();
        batch.push_text("stays").unwrap();
        let first = batch.end_row().unwrap();
        let mark = batch.mark();
        batch.begin_row().unwrap();
        batch.push_text("goes").unwrap();
        batch.push_bytes(&[1]).unwrap();
        batch.begin_list();
        batch.push_int(1);
        batch.rewind(mark);
        assert_eq!(batch.mark(), mark);
        batch.begin_row().unwrap();
        batch.push_int(2);
        let second = batch.end_row().unwrap();
        assert_eq!(batch.row(first).get(0), Value::Text("stays"));
        assert_eq!(batch.row(second).iter().collect::<Vec<_>>(), [Value::Int(2)]);
    }

    #[test]
    fn lists_nest() {
        let mut batch = batch();
        batch.begin_row().unwrap();
        batch.begin_list();
        for inner in [[1, 2], [3, 4]] {
            batch.begin_list();
            inner.iter().for_each(|value| batch.push_int(*value));
            batch.end_list().unwrap();
        }
        batch.push_null();
        batch.end_list().unwrap();
        batch.push_text("after").unwrap();
        let row = batch.end_row().unwrap();
        assert_eq!(batch.row(row).len(), 2);
        let inner = |a, b| Datum::List(vec![Datum::Int(a), Datum::Int(b)]);
        assert_eq!(
            batch.row(row).get(0).to_datum(),
            Some(Datum::List(vec![inner(1, 2), inner(3, 4), Datum::Null]))
        );
        assert_eq!(batch.row(row).get(1), Value::Text("after"));
    }
}
