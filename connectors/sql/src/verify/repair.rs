//! Writing what the origin has into the target, through the sink's own way of writing.
//!
//! Nothing newer is undone, as far as the offsets of every partition of the topic are given: those that the target had before the origin's
//! rows were read. The rows are written in a transaction that locks the offsets and only goes through where they are the same. What the sink
//! has written by then is no newer than what the origin was read to have; what it writes later waits behind the transaction. A partition of
//! which nothing is written yet has its row of offsets too, once the sink has taken it; one without a row cannot be locked, and whoever calls
//! must not repair then.
//!
//! A row may stay as it is all the same: a `version_guard` that is higher in the target keeps it. So what was repaired is seen by looking again.

use std::collections::BTreeSet;
use std::sync::Arc;

use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Row, RowView};
use tailrace_core::ports::sink::{EventBatch, Origin as RecordOrigin};
use tailrace_core::position::{Position, Progress};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::{SharedSchema, TableName, TableSchema, column_named};
use tailrace_core::telemetry::now_us;
use tailrace_core::value::Datum;
use tailrace_core::{Error, Result};

use super::event_row::EventRow;
use super::pairing::{Key, Pairing};
use super::table::{TableComparison, looks};
use crate::sink::SqlSink;
use crate::sink::config::{WriteConfig, WriteMode};
use crate::sink::plan::is_guarded_by_position;
use crate::sink::work::Offset;

/// What the rows that are repaired are called.
#[derive(Debug, Clone)]
pub struct Place {
    /// The topic that the sink would have read them from.
    pub topic: Arc<str>,
    /// The table that its events say they are of.
    pub source: TableName,
}

/// Whether rows can be repaired at all with what the sink does.
///
/// # Errors
/// Definite `repair_impossible`.
pub fn check(config: &WriteConfig) -> Result<()> {
    let refuse = |why: &str| Err(Error::definite("repair_impossible", why));
    if config.mode != WriteMode::Upsert {
        return refuse(
            "rows are repaired by adding, changing and deleting them, and the sink's `mode` does not; run verify without --repair",
        );
    }
    if is_guarded_by_position(config) {
        return refuse(
            "the sink guards rows by their place in the source's log (`version_guard: position`), which a row that is read from a table does \
             not have; take a new snapshot of the source's table instead",
        );
    }
    Ok(())
}

/// What makes keys of the target what they should be, as one transaction. The sink's fold deletes first, so that a unique value that wanders
/// from one row to another is free.
pub(super) struct Repairs<'a> {
    place: &'a Place,
    /// Of the target's rows.
    pairing: &'a Pairing,
    batch: ChangeBatch,
    /// Versions of events that were met, and what of them is written.
    versions: Vec<Version>,
    deletions: SharedSchema,
}

/// A version of events, as far as the target has its columns.
struct Version {
    events: SharedSchema,
    written: SharedSchema,
    /// The columns of the events that are written.
    columns: Vec<usize>,
}

impl TableComparison {
    /// Makes the target have what the origin has of these keys, as far as they differ still.
    ///
    /// `offsets` are those that the target had before anything was read for this.
    ///
    /// # Errors
    /// `Fenced` where the sink wrote something of the topic meanwhile; else as of every write. Nothing was done then.
    pub async fn repair(
        &mut self,
        sink: &mut SqlSink,
        place: &Place,
        offsets: &[Offset],
        keys: &BTreeSet<Key>,
    ) -> Result<()> {
        let wanted: Vec<&Key> = keys.iter().collect();
        let origin = self.origin_batches(&wanted).await?;
        let target = self.target_batches(&wanted).await?;
        let there = origin.iter().flat_map(|batch| self.origin_rows(batch)).collect();
        let found = target.iter().flat_map(|batch| self.target_rows(batch)).collect();
        let mut looks = looks(keys, there, found);
        looks.retain(|_, look| self.difference(look).is_some());
        let mut repairs = Repairs::new(place, self.pairing());
        for change in origin.iter().flat_map(ChangeBatch::views) {
            let row = change.after().filter(|_| change.operation() != Operation::Delete);
            if let (Some(row), Some(schema)) = (row, change.table())
                && let Some(look) = self.pairing().event_key_of(row).and_then(|key| looks.get(&key))
            {
                repairs.put(&EventRow::new(schema, row, None), look.target.is_some())?;
            }
        }
        for batch in &target {
            for row in batch.changes.iter().filter_map(|change| change.after) {
                let row = batch.row(row);
                let look = self.pairing().target_row(row).and_then(|(key, _)| looks.get(&key));
                if look.is_some_and(|look| look.origin.is_none()) {
                    repairs.delete(row)?;
                }
            }
        }
        repairs.write(sink, offsets).await
    }
}

// === impl Repairs ===

impl<'a> Repairs<'a> {
    pub(super) fn new(place: &'a Place, pairing: &'a Pairing) -> Self {
        Self {
            place,
            pairing,
            batch: ChangeBatch::new(Arc::from("verify"), Progress::at(Position::new(""))),
            versions: Vec::new(),
            deletions: Arc::new(TableSchema {
                name: place.source.clone(),
                ..pairing.key_schema()
            }),
        }
    }

    /// Writes a row as far as the target has its columns. One that is not there can only be added as a whole.
    pub(super) fn put(&mut self, row: &EventRow, is_there: bool) -> Result<()> {
        let version = self.version(&row.schema);
        let Some(Version { written, columns, .. }) = self.versions.get(version) else {
            return Ok(());
        };
        let schema = SharedSchema::clone(written);
        let cells = columns
            .iter()
            .map(|column| row.cells.get(*column).and_then(Option::as_ref));
        let cells: Vec<Option<&Datum>> = cells.collect();
        if !is_there && cells.iter().any(Option::is_none) {
            return Ok(());
        }
        self.batch.begin_row().map_err(full)?;
        for cell in cells {
            match cell {
                Some(datum) => self.batch.push_datum(datum).map_err(full)?,
                None => self.batch.push_unchanged(),
            }
        }
        let row = self.batch.end_row().map_err(full)?;
        self.push(&schema, Operation::Update, row);
        Ok(())
    }

    /// Deletes a row of the target, of which nothing but the key is said.
    pub(super) fn delete(&mut self, row: RowView<'_>) -> Result<()> {
        self.batch.begin_row().map_err(full)?;
        for column in self.pairing.target_key() {
            let datum = row.get(column).to_datum().unwrap_or(Datum::Null);
            self.batch.push_datum(&datum).map_err(full)?;
        }
        let row = self.batch.end_row().map_err(full)?;
        let schema = SharedSchema::clone(&self.deletions);
        self.push(&schema, Operation::Delete, row);
        Ok(())
    }

    fn push(&mut self, schema: &SharedSchema, operation: Operation, row: Row) {
        let is_deleted = operation == Operation::Delete;
        let table = self.batch.table_index(schema);
        self.batch.changes.push(Change {
            operation,
            table,
            transaction: 0,
            before: is_deleted.then_some(row),
            before_image: if is_deleted {
                BeforeImage::Key
            } else {
                BeforeImage::None
            },
            after: (!is_deleted).then_some(row),
            ordinal: 0,
            log_position: None,
            // Where rows are marked instead of deleted, since now.
            updated_at_us: is_deleted.then(now_us),
            topic: None,
            message: None,
        });
    }

    fn version(&mut self, events: &SharedSchema) -> usize {
        let known = self
            .versions
            .iter()
            .position(|version| Arc::ptr_eq(&version.events, events));
        known.unwrap_or_else(|| {
            self.versions
                .push(Version::new(events, self.pairing.target(), self.place));
            self.versions.len() - 1
        })
    }

    /// Writes all of it, or nothing.
    pub(super) async fn write(self, sink: &mut SqlSink, offsets: &[Offset]) -> Result<()> {
        if self.batch.changes.is_empty() {
            return Ok(());
        }
        sink.write_at_rest(&events(self.batch, self.place), offsets).await
    }
}

// === impl Version ===

impl Version {
    fn new(events: &SharedSchema, target: &SharedSchema, place: &Place) -> Self {
        let there = events.columns.iter().enumerate();
        let there = there.filter(|(_, column)| column_named(&target.columns, &column.name).is_some());
        let columns: Vec<usize> = there.map(|(index, _)| index).collect();
        let place_of = |column: &usize| columns.iter().position(|kept| kept == column);
        let written = TableSchema {
            name: place.source.clone(),
            key: events.key.iter().filter_map(place_of).collect(),
            columns: columns
                .iter()
                .filter_map(|index| events.columns.get(*index).cloned())
                .collect(),
            ..TableSchema::clone(events)
        };
        Self {
            events: SharedSchema::clone(events),
            written: Arc::new(written),
            columns,
        }
    }
}

fn full(error: BatchFull) -> Error {
    Error::definite("batch_full", error.to_string())
}

/// Changes as a batch of one partition that moves none on.
fn events(mut batch: ChangeBatch, place: &Place) -> EventBatch {
    let mut origins = Vec::with_capacity(batch.changes.len());
    for (change, ordinal) in batch.changes.iter_mut().zip(0_u64..) {
        change.ordinal = ordinal;
        origins.push(RecordOrigin {
            partition: 0,
            offset: 0,
        });
    }
    EventBatch {
        changes: batch,
        origins,
        partitions: vec![TopicPartition::new(Arc::clone(&place.topic), 0)],
        advances: Vec::new(),
        refused: Vec::new(),
        passed_over: 0,
    }
}

#[cfg(test)]
mod tests {
    use tailrace_core::value::{LogicalType, TextKind, Value};

    use super::super::sample::{column, orders};
    use super::*;

    const TEXT: LogicalType = LogicalType::Text(TextKind::Plain);

    fn row(batch: &mut ChangeBatch, id: i64, texts: &[Option<&str>]) -> Row {
        batch.begin_row().unwrap();
        for text in texts {
            match text {
                Some(text) => batch.push_text(text).unwrap(),
                None => batch.push_unchanged(),
            }
        }
        batch.push_int(id);
        batch.end_row().unwrap()
    }

    #[test]
    fn what_the_target_has_is_written_and_deletions_go_with_it() {
        let id = || column("id", "bigint", LogicalType::Int64);
        let events = orders(
            vec![column("gone", "text", TEXT), column("note", "text", TEXT), id()],
            &[2],
        );
        let target = orders(vec![column("note", "text", TEXT), id()], &[1]);
        let pairing = Pairing::new(&events, &target, &WriteConfig::default()).unwrap();
        let place = Place {
            topic: Arc::from("shop.public.orders"),
            source: events.name.clone(),
        };
        let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
        let rows = [
            row(&mut batch, 7, &[Some("x"), Some("new")]),
            row(&mut batch, 8, &[Some("x"), None]),
            row(&mut batch, 9, &[None, Some("new")]),
            row(&mut batch, 1, &[Some("old")]),
        ];
        let mut repairs = Repairs::new(&place, &pairing);
        for row in &rows[..3] {
            repairs
                .put(&EventRow::new(&events, batch.row(*row), None), false)
                .unwrap();
        }
        repairs.delete(batch.row(rows[3])).unwrap();

        let written: Vec<_> = repairs.batch.views().collect();
        assert_eq!(
            written.len(),
            3,
            "a note is missing of row 8, and row 9 lacks nothing that the target has"
        );
        for (change, id) in written.iter().zip([7, 9]) {
            let row = change.after().unwrap();
            assert_eq!(
                (row.len(), row.get(0), row.get(1)),
                (2, Value::Text("new"), Value::Int(id))
            );
            assert_eq!(change.table().unwrap().key, [1]);
        }
        assert_eq!(written[2].operation(), Operation::Delete);
        assert_eq!(written[2].before().unwrap().get(0), Value::Int(1));
        assert!(
            written[2].updated_at_us() > 0,
            "where rows are marked, that is since when"
        );
    }
}
