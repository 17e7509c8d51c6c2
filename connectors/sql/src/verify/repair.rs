//! Writing what the origin has into the target, through the sink's own way of writing.
//!
//! Nothing newer is undone, as far as the offsets of every partition of the topic are given: those that the target had before the origin's
//! rows were read. The rows are written in a transaction that locks the offsets and only goes through where they are the same. What the sink
//! has written by then is no newer than what the origin was read to have; what it writes later waits behind the transaction. A partition of
//! which nothing is written yet has its row of offsets too, once the sink has taken it; one without a row cannot be locked, and whoever calls
//! must not repair then.
//!
//! A row may stay as it is all the same: a `version_guard` that is higher in the target keeps it. So what was repaired is seen by looking again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation};
use tailrace_core::ports::sink::{EventBatch, Origin as RecordOrigin};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::{TableName, TableSchema};
use tailrace_core::{Error, Result};

use super::pairing::{Key, Pairing};
use super::table::{Difference, Look, TableComparison};
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

impl TableComparison {
    /// Makes the target have what the origin has of these keys, as far as they differ still.
    ///
    /// `offsets` are those that the target had before anything was read for this.
    ///
    /// # Errors
    /// `Fenced` where the sink wrote something of the topic meanwhile: nothing, or the changed rows and not the deletions, was done. Else
    /// as of every write.
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
        let looks = self.looks(keys, &origin, &target);
        let differences: BTreeMap<Key, Difference> = looks
            .into_iter()
            .filter_map(|(key, look)| self.difference(&look).map(|difference| (key, difference)))
            .collect();
        let is_written = |key: &Key| differences.get(key).is_some_and(|found| *found != Difference::Extra);
        let is_deleted = |key: &Key| differences.get(key) == Some(&Difference::Extra);
        for batch in origin {
            let batch = written(batch, place, |batch, change| {
                let row = change.after.map(|row| batch.row(row));
                let key = row.and_then(|row| self.pairing().event_key_of(row));
                change.operation != Operation::Delete && key.is_some_and(|key| is_written(&key))
            });
            write(sink, &batch, offsets).await?;
        }
        for batch in target {
            let batch = deleted(batch, place, self.pairing(), is_deleted)?;
            write(sink, &batch, offsets).await?;
        }
        Ok(())
    }

    fn looks(&self, keys: &BTreeSet<Key>, origin: &[ChangeBatch], target: &[ChangeBatch]) -> BTreeMap<Key, Look> {
        let mut origin: BTreeMap<_, _> = origin.iter().flat_map(|batch| self.origin_rows(batch)).collect();
        let mut target: BTreeMap<_, _> = target.iter().flat_map(|batch| self.target_rows(batch)).collect();
        let look = |key: &Key| {
            let look = Look {
                origin: origin.remove(key),
                target: target.remove(key),
            };
            (key.clone(), look)
        };
        keys.iter().map(look).collect()
    }
}

pub(super) async fn write(sink: &mut SqlSink, batch: &EventBatch, offsets: &[Offset]) -> Result<()> {
    if batch.changes.changes.is_empty() {
        return Ok(());
    }
    sink.write_at_rest(batch, offsets).await
}

/// The changes of a batch that are wanted, as events of a topic.
fn written(mut batch: ChangeBatch, place: &Place, is_wanted: impl Fn(&ChangeBatch, &Change) -> bool) -> EventBatch {
    let changes = std::mem::take(&mut batch.changes);
    let kept: Vec<Change> = changes.into_iter().filter(|change| is_wanted(&batch, change)).collect();
    batch.changes = kept;
    for table in &mut batch.tables {
        *table = Arc::new(TableSchema {
            name: place.source.clone(),
            ..TableSchema::clone(table)
        });
    }
    events(batch, place)
}

/// Rows of the target as deletions of nothing but their keys.
pub(super) fn deleted(
    mut batch: ChangeBatch,
    place: &Place,
    pairing: &Pairing,
    is_wanted: impl Fn(&Key) -> bool,
) -> Result<EventBatch> {
    let columns = pairing.target_key();
    let schema = Arc::new(TableSchema {
        name: place.source.clone(),
        ..pairing.key_schema()
    });
    let changes = std::mem::take(&mut batch.changes);
    let table = batch.table_index(&schema);
    for mut change in changes {
        let Some(row) = change.after else {
            continue;
        };
        let key = pairing.target_row(batch.row(row)).map(|(key, _)| key);
        if !key.is_some_and(|key| is_wanted(&key)) {
            continue;
        }
        batch.begin_row().map_err(full)?;
        for column in &columns {
            batch.push_copy(row, *column);
        }
        change.before = Some(batch.end_row().map_err(full)?);
        change.before_image = BeforeImage::Key;
        change.after = None;
        change.operation = Operation::Delete;
        change.table = table;
        batch.changes.push(change);
    }
    Ok(events(batch, place))
}

pub(super) fn full(error: BatchFull) -> Error {
    Error::definite("batch_full", error.to_string())
}

/// Changes as a batch of one partition that moves none on.
pub(super) fn events(mut batch: ChangeBatch, place: &Place) -> EventBatch {
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
