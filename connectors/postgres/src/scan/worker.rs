//! One connection of a scan: claims a range, copies it, decodes it into batches, hands them over; until nothing is left.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::ports::Budget;
use tailrace_core::position::{Position, Progress};
use tailrace_core::{Error, Result};
use tokio::sync::{mpsc, watch};

use crate::connect::Session;
use crate::decode::copy::{CopyReader, CopyRow};
use crate::discover::{CapturedTable, Heap};
use crate::error::query_error;
use crate::scan::ranges::{Claim, WorkList};
use crate::scan::{Part, ScanPlan, statement};

/// A table that was dropped or altered under us: a fresh look at the catalogue sees it as it is.
const CHANGED_TABLE: [&str; 3] = ["42P01", "42703", "3F000"];

/// One connection of a scan.
pub(super) struct Worker {
    pub(super) session: Session,
    pub(super) plan: Arc<ScanPlan>,
    pub(super) work: Arc<WorkList>,
    pub(super) parts: mpsc::Sender<Result<Part>>,
    pub(super) budget: watch::Receiver<Budget>,
    /// When the snapshot was taken, microseconds since 1970.
    pub(super) taken_at_us: i64,
}

/// Rows on their way from one COPY into batches.
struct Gathering<'a> {
    worker: &'a Worker,
    index: usize,
    table: &'a CapturedTable,
    /// The heap where all rows are of one; else each row names its own.
    heap: Option<u32>,
    batch: ChangeBatch,
    /// Transactions of `batch`, by heap.
    transactions: HashMap<u32, usize>,
}

/// Where a row lies: its heap, page and place in it.
struct Place {
    heap: u32,
    ordinal: u64,
}

/// A batch that says nothing yet. Its progress is filled in by the caller of the scanner.
pub(super) fn empty_batch(plan: &ScanPlan) -> ChangeBatch {
    ChangeBatch::new(Arc::clone(&plan.identity), Progress::at(Position::new("")))
}

// === impl Worker ===

impl Worker {
    /// Works until nothing is left, an error occurred, or nobody listens any more.
    pub(super) async fn run(self) {
        if let Err(error) = self.work().await {
            // Nobody to tell it to means that the scan was given up.
            drop(self.parts.send(Err(error)).await);
        }
    }

    async fn work(&self) -> Result<()> {
        let mut secured: Vec<u32> = Vec::new();
        while let Some(claim) = self.work.claim() {
            let Some(table) = self.plan.tables.get(claim.table) else {
                continue;
            };
            for heap in heaps(table, &claim) {
                if !secured.contains(&heap.oid) {
                    self.secure(heap).await?;
                    secured.push(heap.oid);
                }
            }
            self.copy(&claim, table).await?;
        }
        Ok(())
    }

    /// Locks a heap against rewriting, and makes sure that it was not rewritten since the snapshot.
    async fn secure(&self, heap: &Heap) -> Result<()> {
        let doing = format!("read {}.{}", heap.schema, heap.name);
        let wrap = |error| scan_error(&error, &doing);
        self.session.batch_execute(&statement::lock(heap)).await.map_err(wrap)?;
        let row = self
            .session
            .query_opt(statement::SAME_FILE, &[&heap.oid])
            .await
            .map_err(wrap)?;
        let same: Option<bool> = row.and_then(|row| row.try_get(0).ok());
        match same {
            Some(true) => Ok(()),
            Some(false) | None => Err(table_changed(&format!(
                "{}.{} was rewritten or truncated",
                heap.schema, heap.name
            ))),
        }
    }

    async fn copy(&self, claim: &Claim, table: &CapturedTable) -> Result<()> {
        let heap = claim.heap.and_then(|heap| table.heaps.get(heap));
        let statement = match (heap, self.plan.order_column(table)) {
            (Some(heap), _) => statement::copy_range(table, heap, claim),
            (None, Some(column)) => statement::copy_ordered(table, column),
            (None, None) => return Ok(()),
        };
        let doing = format!("copy {}", table.schema.name.qualified());
        let wrap = |error| scan_error(&error, &doing);
        let mut in_progress = CopyInProgress {
            session: &self.session,
            complete: false,
        };
        let mut chunks = pin!(self.session.copy_out(&statement).await.map_err(wrap)?);
        let mut reader = CopyReader::default();
        let mut gathering = Gathering::new(self, claim.table, table, heap.map(|heap| heap.oid));
        let mut budget = *self.budget.borrow();
        while let Some(chunk) = chunks.try_next().await.map_err(wrap)? {
            reader.push(&chunk);
            while let Some(row) = reader.next_row().map_err(|error| undecodable(table, &error))? {
                gathering.push(&row)?;
            }
            if gathering.is_full(budget) {
                gathering.hand_over(false).await?;
                budget = *self.budget.borrow();
            }
        }
        in_progress.complete = true;
        reader.finish().map_err(|error| undecodable(table, &error))?;
        gathering.hand_over(true).await
    }
}

/// Breaks the connection off where a copy does not come to its end, instead of reading all of it for nobody.
struct CopyInProgress<'a> {
    session: &'a Session,
    complete: bool,
}

impl Drop for CopyInProgress<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.session.abandon();
        }
    }
}

fn heaps<'a>(table: &'a CapturedTable, claim: &Claim) -> &'a [Heap] {
    match claim.heap {
        Some(heap) => table.heaps.get(heap..=heap).unwrap_or_default(),
        None => &table.heaps,
    }
}

fn scan_error(error: &tokio_postgres::Error, doing: &str) -> Error {
    match error.as_db_error() {
        Some(db) if CHANGED_TABLE.contains(&db.code().code()) => table_changed(db.message()),
        _ => query_error(error, doing),
    }
}

fn table_changed(what: &str) -> Error {
    let message = format!("{what} while the snapshot was under way; the tables that are not finished are read anew");
    Error::transient("snapshot_table_changed", message)
}

fn undecodable(table: &CapturedTable, error: &dyn std::fmt::Display) -> Error {
    let message = format!(
        "the rows of {} do not come as COPY promises: {error}",
        table.schema.name.qualified()
    );
    Error::definite("snapshot_undecodable", message)
}

// === impl Gathering ===

impl<'a> Gathering<'a> {
    fn new(worker: &'a Worker, index: usize, table: &'a CapturedTable, heap: Option<u32>) -> Self {
        Self {
            worker,
            index,
            table,
            heap,
            batch: empty_batch(&worker.plan),
            transactions: HashMap::new(),
        }
    }

    fn is_full(&self, budget: Budget) -> bool {
        self.batch.changes.len() >= budget.changes || self.batch.size_bytes() >= budget.bytes
    }

    /// Waits while the stream is slow. The end of the receiver ends the worker by its next claim's send.
    async fn hand_over(&mut self, range_done: bool) -> Result<()> {
        let batch = std::mem::replace(&mut self.batch, empty_batch(&self.worker.plan));
        self.transactions.clear();
        let part = Part {
            table: self.index,
            batch,
            range_done,
        };
        let sent = self.worker.parts.send(Ok(part)).await;
        sent.map_err(|_| Error::transient("snapshot_given_up", "nobody takes the rows of the snapshot any more"))
    }

    fn push(&mut self, row: &CopyRow<'_>) -> Result<()> {
        let mut fields = row.fields();
        let table = self.table;
        let place = Place::read(self.heap, &mut fields)
            .ok_or_else(|| undecodable(table, &"a row does not say where it lies"))?;
        let full = |error: BatchFull| Error::definite("batch_full", error.to_string());
        self.batch.begin_row().map_err(full)?;
        for (index, column) in table.columns.iter().enumerate() {
            let Some(value) = fields.next() else {
                return Err(undecodable(table, &"a row has fewer columns than the table"));
            };
            let pushed = column.kind.push_copied(value, &mut self.batch);
            pushed.map_err(|error| self.poison(index, &place, &error))?;
        }
        if fields.next().is_some() {
            return Err(undecodable(table, &"a row has more columns than the table"));
        }
        let after = self.batch.end_row().map_err(full)?;
        let change = Change {
            operation: Operation::Read,
            table: self.batch.table_index(&table.schema),
            transaction: self.transaction(place.heap),
            before: None,
            before_image: BeforeImage::None,
            after: Some(after),
            ordinal: place.ordinal,
            log_position: Some(self.worker.plan.consistent_point.0),
            updated_at_us: None,
            topic: None,
            message: None,
        };
        self.batch.changes.push(change);
        Ok(())
    }

    /// The heap is part of the name, because the place of a row is only unique within it.
    fn transaction(&mut self, heap: u32) -> usize {
        if let Some(index) = self.transactions.get(&heap) {
            return *index;
        }
        let point = self.worker.plan.consistent_point;
        let index = self.batch.push_transaction(Transaction {
            id: None,
            committed_at_us: self.worker.taken_at_us,
            position: format!("{point}.snapshot.{heap}").into(),
            log_position: Some(point.0),
            previous_log_position: None,
            binlog: None,
        });
        self.transactions.insert(heap, index);
        index
    }

    fn poison(&self, column: usize, place: &Place, error: &dyn std::fmt::Display) -> Error {
        let name = self
            .table
            .schema
            .columns
            .get(column)
            .map_or("?", |column| column.name.as_str());
        let (page, line) = (place.ordinal >> 16, place.ordinal & 0xffff);
        let message = format!(
            "column \"{name}\" of {} in the row at ctid ({page},{line}) holds a value that cannot be carried: {error}; \
             correct the value, or leave the column out of the publication",
            self.table.schema.name.qualified()
        );
        Error::poison("value_undecodable", message)
    }
}

// === impl Place ===

impl Place {
    /// The heap, unless it is known, and the place in it: a page number of 32 bits and a line of 16. `None` where they are not there.
    fn read<'r>(heap: Option<u32>, fields: &mut impl Iterator<Item = Option<&'r [u8]>>) -> Option<Self> {
        let heap = match heap {
            Some(heap) => heap,
            None => u32::from_be_bytes(fields.next()??.try_into().ok()?),
        };
        let [a, b, c, d, e, f] = <[u8; 6]>::try_from(fields.next()??).ok()?;
        Some(Self {
            heap,
            ordinal: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(heap: Option<u32>, fields: &[Option<&[u8]>]) -> Option<(u32, u64)> {
        let place = Place::read(heap, &mut fields.iter().copied())?;
        Some((place.heap, place.ordinal))
    }

    #[test]
    fn places() {
        let ctid: &[u8] = &[0, 0, 1, 0, 0, 3];
        assert_eq!(read(Some(7), &[Some(ctid)]), Some((7, 256 << 16 | 3)));
        assert_eq!(read(None, &[Some(&[0, 0, 0, 9]), Some(ctid)]), Some((9, 256 << 16 | 3)));
        assert_eq!(read(Some(7), &[Some(&[0xff; 6])]), Some((7, 0xffff_ffff_ffff)));
        for wrong in [&[][..], &[None], &[Some(&ctid[1..])], &[Some(ctid)]] {
            assert_eq!(read(None, wrong), None);
        }
    }
}
