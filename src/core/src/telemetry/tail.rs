//! A look at single changes on their way, for people: rows before and after, the event, and its bytes. Nobody waits for those who look: while
//! nobody does, it costs a look at a counter per batch, and who looks too slowly misses some.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::batch::{BeforeImage, ChangeBatch, ChangeView, RowView};
use crate::dead_letter::{bytes_text, row_text};
use crate::event::EncodedBatch;
use crate::telemetry::now_us;

/// More than anybody reads; a pipeline at full speed has a hundred thousand.
const SHOWN_PER_SECOND: u32 = 50;
/// Of one batch, so that a large one does not use up a second.
const SHOWN_PER_BATCH: usize = 10;
/// What waits for somebody who reads slowly.
const WAITING: usize = 256;
/// A row of a hundred megabytes is not for the eye. Bytes of each part.
const PART_BYTES_MAXIMUM: usize = 64 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// A change, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct TailedChange {
    /// When it was handed to the stream, or read from it, microseconds since 1970.
    pub at_us: i64,
    /// The table, as the database calls it.
    pub table: String,
    /// Debezium's letter of the operation.
    pub op: String,
    /// When its transaction was committed, microseconds since 1970; `None` where that is not known.
    pub committed_at_us: Option<i64>,
    /// JSON of the row before, or of its key where no more is known; `None` where there was none.
    pub before: Option<String>,
    /// JSON of the row after.
    pub after: Option<String>,
    /// The records that it became, in their order.
    pub records: Vec<TailedRecord>,
    /// Changes since the one that was shown before it that were not shown.
    pub skipped: u64,
}

/// A record, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct TailedRecord {
    /// Topic.
    pub topic: String,
    /// Bytes of the key; cut where they are too many.
    pub key: Option<Vec<u8>>,
    /// Bytes of the value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in their order; what is not text is base64.
    pub headers: Vec<(String, String)>,
    /// Bytes of key and value, as they are.
    pub size_bytes: usize,
}

/// Where changes are shown.
#[derive(Debug)]
pub struct Tail {
    changes: broadcast::Sender<std::sync::Arc<TailedChange>>,
    budget: Mutex<Budget>,
}

/// How much may be shown in this second, and what was not.
#[derive(Debug)]
struct Budget {
    second: Instant,
    shown: u32,
    skipped: u64,
}

// === impl Tail ===

impl Default for Tail {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(WAITING),
            budget: Mutex::new(Budget {
                second: Instant::now(),
                shown: 0,
                skipped: 0,
            }),
        }
    }
}

impl Tail {
    /// From now on.
    pub fn watch(&self) -> broadcast::Receiver<std::sync::Arc<TailedChange>> {
        self.changes.subscribe()
    }

    /// Whether anybody looks.
    pub fn is_watched(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// Shows some of the changes of a batch. `encode` makes the records of a batch that has one change, in the way of all others. Where
    /// nothing more may be shown in this second, nothing is looked at.
    pub fn show(&self, batch: &ChangeBatch, mut encode: impl FnMut(&ChangeBatch) -> Option<EncodedBatch>) {
        if self.is_spent() {
            return self.skip(batch.changes.len());
        }
        let carried = || batch.views().filter(|change| change.refusal().is_none());
        let step = carried().count().div_ceil(SHOWN_PER_BATCH).max(1);
        let chosen: Vec<ChangeView<'_>> = carried().step_by(step).collect();
        self.skip(batch.changes.len().saturating_sub(chosen.len()));
        for view in chosen {
            let Some(skipped) = self.take() else {
                self.skip(1);
                continue;
            };
            let encoded = view.excerpt().ok().and_then(|one| encode(&one));
            let shown = TailedChange::of(view, encoded.as_ref(), skipped);
            // Nobody may look any more.
            drop(self.changes.send(std::sync::Arc::new(shown)));
        }
    }

    fn skip(&self, changes: usize) {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.skipped += u64::try_from(changes).unwrap_or(u64::MAX);
    }

    /// Whether as many were shown in this second as may be.
    fn is_spent(&self) -> bool {
        let budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.shown >= SHOWN_PER_SECOND && budget.second.elapsed() < SECOND
    }

    /// Whether one more may be shown in this second, and how many were not since the last.
    fn take(&self) -> Option<u64> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.second.elapsed() >= SECOND {
            (budget.second, budget.shown) = (Instant::now(), 0);
        }
        if budget.shown >= SHOWN_PER_SECOND {
            return None;
        }
        budget.shown += 1;
        Some(std::mem::take(&mut budget.skipped))
    }
}

// === impl TailedChange ===

impl TailedChange {
    fn of(view: ChangeView<'_>, encoded: Option<&EncodedBatch>, skipped: u64) -> Self {
        let table = view.table();
        let columns_of = |row: RowView<'_>, columns: &[usize]| {
            Some(row_text(table?, row, columns)).filter(|text| text.len() <= PART_BYTES_MAXIMUM)
        };
        let whole = |row: RowView<'_>| columns_of(row, &(0..row.len()).collect::<Vec<_>>());
        let before = view.before().and_then(|row| match view.change().before_image {
            BeforeImage::None => None,
            // The other cells mean nothing.
            BeforeImage::Key => columns_of(row, &table?.key),
            BeforeImage::Full => whole(row),
        });
        Self {
            at_us: now_us(),
            table: table.map(|table| table.name.qualified()).unwrap_or_default(),
            op: view.operation().code().to_owned(),
            committed_at_us: view.transaction().map(|transaction| transaction.committed_at_us),
            before,
            after: view.after().and_then(whole),
            records: encoded.map(TailedRecord::all_of).unwrap_or_default(),
            skipped,
        }
    }
}

// === impl TailedRecord ===

impl TailedRecord {
    fn all_of(encoded: &EncodedBatch) -> Vec<Self> {
        let record = |record: &crate::event::EncodedRecord| {
            let (key, value) = (record.key.as_ref(), record.value.as_ref());
            let bytes = |range: &std::ops::Range<usize>| {
                let bytes = encoded.slice(range);
                bytes
                    .get(..PART_BYTES_MAXIMUM.min(bytes.len()))
                    .unwrap_or_default()
                    .to_vec()
            };
            let headers = encoded.record_headers(record);
            Self {
                topic: encoded.topic(record).to_owned(),
                size_bytes: key.map_or(0, |range| range.len()) + value.map_or(0, |range| range.len()),
                key: key.map(bytes),
                value: value.map(bytes),
                headers: headers
                    .map(|(name, value)| (name.to_owned(), bytes_text(value)))
                    .collect(),
            }
        };
        encoded.records.iter().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Change, Operation};
    use crate::position::{Position, Progress};

    /// Changes with a kilobyte each.
    fn batch(changes: u64) -> ChangeBatch {
        let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
        for ordinal in 0..changes {
            batch.begin_row().unwrap();
            batch.push_text(&"x".repeat(1024)).unwrap();
            let after = Some(batch.end_row().unwrap());
            batch.changes.push(Change {
                operation: Operation::Create,
                table: 0,
                transaction: 0,
                before: None,
                before_image: BeforeImage::None,
                after,
                ordinal,
                log_position: None,
                updated_at_us: None,
                topic: None,
                message: None,
            });
        }
        batch
    }

    #[test]
    fn what_is_not_shown_is_not_copied() {
        let (tail, batch) = (Tail::default(), batch(1000));
        let mut watching = tail.watch();
        let (mut sizes_bytes, began) = (Vec::new(), Instant::now());
        for _ in 0..100 {
            tail.show(&batch, |one| {
                assert_eq!(one.changes.len(), 1);
                sizes_bytes.push(one.size_bytes());
                None
            });
        }
        let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
        let shown = usize::try_from(SHOWN_PER_SECOND).unwrap();
        assert!(
            (shown..=shown * seconds).contains(&sizes_bytes.len()),
            "{}",
            sizes_bytes.len()
        );
        assert!(
            sizes_bytes.iter().all(|size_bytes| *size_bytes < 2048),
            "{sizes_bytes:?}"
        );
        // Whoever looks knows how many there were beside.
        let first: Vec<u64> = (0..11).map(|_| watching.try_recv().unwrap().skipped).collect();
        assert_eq!(first, [990, 0, 0, 0, 0, 0, 0, 0, 0, 0, 990]);
    }
}
