//! Partitions that stand still because a row of theirs cannot be written now, and may be later. There are two reasons.
//!
//! *It refers to a row that is not there yet.* Tables that refer to each other are topics of their own, and one may be read ahead of the
//! other: by a snapshot's length at first, by a batch later. Only the target knows, and says so row by row. The partition is paused, so
//! that the others have the time and the memory, and is read again from that row once in a while. Deletes that come before those of the
//! rows that refer to them are the same.
//!
//! *It is a part of a row that is not there.* A source that was killed sends events again. Where one of them has not all of its row (large
//! values that did not change), and the row was deleted since, what was written twice is a change of nothing, and the delete comes once more
//! behind it. So the partition is read on, only for a delete of that key: once there is one, the event is passed over.
//!
//! A row that waits for nothing is poison in the end, and that end must come: when nothing has come closer for [`PATIENCE`]. Of references
//! that is every other partition, up to where the stream ended when this one stood still: what was in the stream then has been written by
//! now, and what was not had its time to come. The rest of the partition up to that end has waited just as long, and is given no more of it.
//! Of deletes it is the partition itself, up to where it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Running;
use super::writer::Order;
use crate::error::{Error, Result};
use crate::ports::sink::StartAt;
use crate::record_batch::{RecordBatch, TopicPartition};

/// How long a row waits while nothing comes closer. What it waits for may be on its way: published by a source whose batches are not the
/// order of all tables, or that has just begun again; or in a partition that another process has.
const PATIENCE: Duration = Duration::from_secs(30);

/// What may let a row be written, or make it pointless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The row that it refers to.
    Reference,
    /// A delete of the row of this key.
    Delete { key: Vec<u8> },
}

/// What was found of the row, with which the partition is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Whether it can be written now, the target tells.
    TryAgain,
    /// Rows below this offset have waited long enough.
    NoPatienceBelow(i64),
    /// It is deleted behind.
    Moot,
}

/// A partition that stands still.
pub(super) struct Stalled {
    /// The offset of the row.
    offset: i64,
    waits_for: WaitsFor,
    error: Error,
    /// Where the partitions ended then.
    ends: BTreeMap<TopicPartition, i64>,
    /// How close to there the partitions had come on which the row depends, when last looked at.
    come: i64,
    /// The offset behind the last record that was looked at for a delete.
    looked_at: i64,
    /// Since when they come no closer.
    since: Instant,
    /// It was read again, and there is no answer yet.
    is_retried: bool,
}

// === impl Stalled ===

impl Stalled {
    /// The offset of the row that waits.
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    /// Only a delete is looked for in what is read of the partition.
    fn is_looked_through(&self) -> bool {
        matches!(self.waits_for, WaitsFor::Delete { .. })
    }

    /// What is read of the partition now is not for its writer.
    pub(super) fn only_looks(&self) -> bool {
        self.is_looked_through() && !self.is_retried
    }

    fn end(&self, partition: &TopicPartition) -> i64 {
        self.ends
            .get(partition)
            .copied()
            .unwrap_or_default()
            .max(self.offset + 1)
    }

    /// What is to be done now; nothing where it goes on waiting.
    fn verdict(&self, partition: &TopicPartition) -> Option<Verdict> {
        let is_over = self.since.elapsed() >= PATIENCE;
        match self.waits_for {
            WaitsFor::Reference if is_over => Some(Verdict::NoPatienceBelow(self.end(partition))),
            WaitsFor::Reference => Some(Verdict::TryAgain),
            // The next one may well be deleted behind.
            WaitsFor::Delete { .. } => is_over.then_some(Verdict::NoPatienceBelow(self.offset + 1)),
        }
    }
}

// === impl Running ===

impl Running {
    /// A writer met a row that cannot be written now. It leaves out everything of the partition from there on.
    pub(super) async fn stall(
        &mut self,
        partition: TopicPartition,
        (offset, waits_for): (i64, WaitsFor),
        error: Error,
    ) -> Result<()> {
        let ends: BTreeMap<_, _> = self.subscription.ends().into_iter().collect();
        // It may have been given back since.
        if !self.owned.contains_key(&partition) {
            return Ok(());
        }
        match waits_for {
            WaitsFor::Reference => self.subscription.pause(&partition).await?,
            WaitsFor::Delete { .. } => self.start_anew(&partition, offset + 1).await?,
        }
        let Some(owned) = self.owned.get_mut(&partition) else {
            return Ok(());
        };
        match &mut owned.stalled {
            Some(stalled) if (stalled.offset, &stalled.waits_for) == (offset, &waits_for) => {
                stalled.error = error;
                stalled.is_retried = false;
            }
            stalled => {
                *stalled = Some(Stalled {
                    offset,
                    waits_for,
                    error,
                    ends,
                    come: 0,
                    looked_at: offset + 1,
                    since: Instant::now(),
                    is_retried: false,
                });
            }
        }
        Ok(())
    }

    /// Looks for deletes of the rows that are waited for, if any are. The partitions of those that were found.
    pub(super) fn look_for_deletes(&mut self, records: &RecordBatch) -> Vec<TopicPartition> {
        let mut found = Vec::new();
        let mut stalled = self.owned.values().filter_map(|owned| owned.stalled.as_ref());
        if !stalled.any(Stalled::only_looks) {
            return found;
        }
        for record in records.iter() {
            let owned = self.owned.get_mut(record.partition());
            let Some(stalled) = owned.and_then(|owned| owned.stalled.as_mut()) else {
                continue;
            };
            if stalled.only_looks()
                && let WaitsFor::Delete { key } = &stalled.waits_for
            {
                stalled.looked_at = record.offset() + 1;
                if record.value().is_none() && record.key() == Some(key) && !found.contains(record.partition()) {
                    found.push(record.partition().clone());
                }
            }
        }
        found
    }

    /// Reads the partitions again that stand still.
    pub(super) async fn retry_stalled(&mut self) -> Result<()> {
        let all: Vec<TopicPartition> = self
            .owned
            .iter()
            .filter(|(_, owned)| owned.stalled.is_some())
            .map(|(partition, _)| partition.clone())
            .collect();
        self.tell_of_stalled(&all);
        for partition in all {
            self.retry(partition).await?;
        }
        Ok(())
    }

    async fn retry(&mut self, partition: TopicPartition) -> Result<()> {
        let come = self.come(&partition);
        // What cannot be written anywhere is no sign that nothing more comes.
        let is_broken = self.queues.iter().any(|queue| queue.broken.is_some());
        let stalled = self.owned.get_mut(&partition).and_then(|owned| owned.stalled.as_mut());
        let Some(stalled) = stalled.filter(|stalled| !stalled.is_retried) else {
            return Ok(());
        };
        if is_broken || stalled.come != come {
            stalled.come = come;
            stalled.since = Instant::now();
        }
        match stalled.verdict(&partition) {
            Some(verdict) => self.read_again(&partition, verdict).await,
            None => Ok(()),
        }
    }

    /// Reads a partition again from the row at which it stands still.
    pub(super) async fn read_again(&mut self, partition: &TopicPartition, verdict: Verdict) -> Result<()> {
        let Some(owned) = self.owned.get_mut(partition) else {
            return Ok(());
        };
        let (writer, written) = (owned.writer, owned.written);
        let Some(stalled) = &mut owned.stalled else {
            return Ok(());
        };
        stalled.is_retried = true;
        let offset = written.unwrap_or(stalled.offset);
        self.order(writer, Order::Retry(partition.clone(), verdict));
        self.start_anew(partition, offset).await
    }

    async fn start_anew(&mut self, partition: &TopicPartition, offset: i64) -> Result<()> {
        let place = (partition.clone(), StartAt::Offset(offset));
        self.subscription.start(&[place]).await.map(drop)
    }

    /// How close the partitions on which a row depends have come to where they ended when its own began to stand still: those that do
    /// not stand still themselves, or what was looked at of its own.
    fn come(&self, partition: &TopicPartition) -> i64 {
        let Some(stalled) = self.owned.get(partition).and_then(|owned| owned.stalled.as_ref()) else {
            return 0;
        };
        if stalled.is_looked_through() {
            return stalled.looked_at.min(stalled.end(partition));
        }
        let come = |(other, end): (&TopicPartition, &i64)| {
            let owned = self.owned.get(other).filter(|owned| owned.stalled.is_none())?;
            Some(owned.written?.min(*end))
        };
        stalled.ends.iter().filter_map(come).sum()
    }

    fn tell_of_stalled(&self, all: &[TopicPartition]) {
        let stalled = all
            .iter()
            .find_map(|partition| Some((partition, self.owned.get(partition)?.stalled.as_ref()?)));
        let notice = stalled.map(|(partition, stalled)| {
            let (offset, why) = (stalled.offset, stalled.error.report());
            let count = all.len();
            format!("{count} partitions stand still until a row is there, or is known to be gone, while the others are written; the first is {partition} at offset {offset}: {why}")
        });
        self.telemetry.set_notice("waiting_rows", notice);
    }
}
