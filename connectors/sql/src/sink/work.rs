//! What a database is given to do in one transaction.

use tailrace_core::batch::{ChangeBatch, Row, RowView};
use tailrace_core::record_batch::{RecordMark, TopicPartition};
use tailrace_core::schema::Column;
use tailrace_core::value::{Datum, Value};

use super::target::TargetTable;

/// One transaction: first the offsets, which fences whoever was before us and locks their rows, then the steps in their order.
#[derive(Debug)]
pub struct Work<'a> {
    /// How far each partition is behind this transaction.
    pub offsets: &'a [Offset],
    /// Partitions may be less far than before: nobody writes them, and somebody wants it so.
    pub can_go_back: bool,
    /// What is done, in this order.
    pub steps: Vec<Step<'a>>,
}

/// A row of the table of offsets, as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offset {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset that is not written; `None` where nothing of the partition is, and this transaction writes nothing of it either.
    pub next_offset: Option<i64>,
    /// What tells the record before it from others.
    pub last_record: Option<RecordMark>,
    /// The row is changed only where it still has this epoch, and is not further than `next_offset` unless it `can_go_back`: no writer
    /// ever goes back, not even to none.
    pub epoch: i64,
}

/// What is done with the rows of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Added. A key that is there is an error.
    Insert,
    /// Added, or changed where the key is there. Every row has all of the step's columns.
    Upsert,
    /// Changed where the key is there.
    Update {
        /// A key that is not there is an error, `row_missing`: the event does not have the whole row.
        must_exist: bool,
    },
    /// Deleted by key; the step's columns are those of the key, and the guard.
    Delete,
    /// Every row of the table is deleted, and there are no columns. Where there is one, it is the time since when rows are deleted,
    /// which is set to now in every row that has none. There are no rows.
    Truncate,
}

/// One statement's worth of rows of one table. No key comes twice, except in steps that insert.
#[derive(Debug)]
pub struct Step<'a> {
    /// The table.
    pub table: &'a TargetTable,
    /// What is done.
    pub action: Action,
    /// The columns that are written. Every row has a value for each of them: what is unchanged is none of its step's columns, and those of
    /// the key are not NULL.
    pub columns: Vec<StepColumn<'a>>,
    /// Which of `columns` are the key.
    pub key: Vec<usize>,
    /// Which of `columns` must not be lower in a row than in the table, or be NULL there: where it is, the row of the table stays as it is. Not with
    /// `Insert` and `Truncate`; such rows are there, for `must_exist`.
    pub guard: Option<usize>,
    /// The rows.
    pub rows: Vec<StepRow>,
    /// What they are rows of.
    pub batch: &'a ChangeBatch,
}

/// A column of a step.
#[derive(Debug, Clone)]
pub struct StepColumn<'a> {
    /// Its index in the table.
    pub target: usize,
    /// What the values mean, by which they are converted.
    pub source: &'a Column,
    /// Where a row has the value.
    pub place: Place,
}

/// Where the value of a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A cell of the row.
    Cell(usize),
    /// One of the row's own additional values: see [`StepRow::extra`].
    Extra(usize),
}

/// A row of a step.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// The row; of an update by parts, the newest.
    pub row: Row,
    /// Rows before it in the batch, newest first: what is unchanged in a row is what the next one has.
    pub before: Vec<Row>,
    /// Values that are not of the event itself.
    pub extra: Vec<Datum>,
    /// The index of the record that it came with.
    pub record: u64,
}

/// The values of one row of a step.
#[derive(Debug, Clone, Copy)]
pub struct RowValues<'b> {
    newest: RowView<'b>,
    row: &'b StepRow,
    batch: &'b ChangeBatch,
}

/// Names of what is written beside the events.
pub mod column {
    /// Of a history: what happened; Debezium's letter.
    pub const OPERATION: &str = "tailrace_op";
    /// Of a history: when the row was last updated.
    pub const UPDATED_AT: &str = "tailrace_updated_at";
    /// Of a history, and of a table that is guarded by it: the place in the source's log.
    pub const POSITION: &str = "tailrace_position";
    /// Of a history: topic of the event.
    pub const TOPIC: &str = "tailrace_topic";
    /// Of a history: partition of the event.
    pub const PARTITION: &str = "tailrace_partition";
    /// Of a history: offset of the event.
    pub const OFFSET: &str = "tailrace_offset";
}

// === impl Step ===

impl Step<'_> {
    /// The values of a row.
    pub fn values<'b>(&'b self, row: &'b StepRow) -> RowValues<'b> {
        row.values(self.batch)
    }
}

// === impl StepRow ===

impl StepRow {
    /// The values.
    pub(super) fn values<'b>(&'b self, batch: &'b ChangeBatch) -> RowValues<'b> {
        RowValues {
            newest: batch.row(self.row),
            row: self,
            batch,
        }
    }
}

// === impl RowValues ===

impl<'b> RowValues<'b> {
    /// The value at a place. `Unchanged` only where the whole batch does not have it.
    pub fn get(&self, place: Place) -> Value<'b> {
        match place {
            Place::Cell(cell) => match self.newest.get(cell) {
                Value::Unchanged => self.before(cell),
                value => value,
            },
            Place::Extra(index) => self.row.extra.get(index).map_or(Value::Null, Datum::as_scalar),
        }
    }

    fn before(&self, cell: usize) -> Value<'b> {
        let mut values = self.row.before.iter().map(|row| self.batch.row(*row).get(cell));
        let known = values.find(|value| !matches!(value, Value::Unchanged));
        known.unwrap_or(Value::Unchanged)
    }
}
