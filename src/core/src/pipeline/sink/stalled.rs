//! Partitions that stand still because a row of theirs refers to one that is not there yet.
//!
//! Tables that refer to each other are topics of their own, and one may be read ahead of the other: by a snapshot's length at first, by
//! a batch later. Only the target knows, and says so row by row. The partition is paused then, so that the others have the time and
//! the memory, and is read again from that row once in a while. Deletes that come before those of the rows that refer to them are the same.
//!
//! A row that refers to nothing is poison in the end, and that end must come: when, for [`PATIENCE`], no other partition has come
//! closer to where the stream ended when this one stood still. What was in the stream then has been written by now, and what was not had its
//! time to come. The rest of the partition up to that end has waited just as long, and is given no more of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Running;
use super::writer::Order;
use crate::error::{Error, Result};
use crate::ports::sink::StartAt;
use crate::record_batch::TopicPartition;

/// How long a row waits for the one that it refers to, while nothing else comes closer. That one may be on its way: published by a
/// source whose batches are not the order of all tables, or in a partition that another process has.
const PATIENCE: Duration = Duration::from_secs(30);

/// A partition that stands still.
pub(super) struct Stalled {
    /// The offset of the row.
    offset: i64,
    error: Error,
    /// Where the partitions ended then.
    ends: BTreeMap<TopicPartition, i64>,
    /// How far the others had come to there when last looked at.
    others: i64,
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

    /// The offset below which no row of the partition is given any more time; `None` while there is some left.
    fn no_patience_below(&self, partition: &TopicPartition) -> Option<i64> {
        let is_over = self.since.elapsed() >= PATIENCE;
        let end = self.ends.get(partition).copied().unwrap_or_default();
        is_over.then_some(end.max(self.offset + 1))
    }
}

// === impl Running ===

impl Running {
    /// A writer met a row that refers to one that is not there. It leaves out everything of the partition from there on.
    pub(super) async fn stall(&mut self, partition: TopicPartition, offset: i64, error: Error) -> Result<()> {
        let ends: BTreeMap<_, _> = self.subscription.ends().into_iter().collect();
        // It may have been given back since.
        let Some(owned) = self.owned.get_mut(&partition) else {
            return Ok(());
        };
        self.subscription.pause(&partition).await?;
        match &mut owned.stalled {
            Some(stalled) if stalled.offset == offset => {
                stalled.error = error;
                stalled.is_retried = false;
            }
            stalled => {
                *stalled = Some(Stalled {
                    offset,
                    error,
                    ends,
                    others: 0,
                    since: Instant::now(),
                    is_retried: false,
                });
            }
        }
        Ok(())
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
        let others = self.others_of(&partition);
        // What cannot be written anywhere is no sign that nothing more comes.
        let is_broken = self.queues.iter().any(|queue| queue.broken.is_some());
        let Some(owned) = self.owned.get_mut(&partition) else {
            return Ok(());
        };
        let (writer, written) = (owned.writer, owned.written);
        let Some(stalled) = owned.stalled.as_mut().filter(|stalled| !stalled.is_retried) else {
            return Ok(());
        };
        if is_broken || stalled.others != others {
            stalled.others = others;
            stalled.since = Instant::now();
        }
        stalled.is_retried = true;
        let order = Order::Retry {
            partition: partition.clone(),
            no_patience_below: stalled.no_patience_below(&partition),
        };
        let offset = written.unwrap_or(stalled.offset);
        self.order(writer, order);
        self.subscription
            .start(&partition, StartAt::Offset(offset))
            .await
            .map(drop)
    }

    /// How far the partitions that do not stand still have come to where they ended when this one began to.
    fn others_of(&self, partition: &TopicPartition) -> i64 {
        let ends = self
            .owned
            .get(partition)
            .and_then(|owned| owned.stalled.as_ref())
            .map(|stalled| &stalled.ends);
        let come = |(other, end): (&TopicPartition, &i64)| {
            let owned = self.owned.get(other).filter(|owned| owned.stalled.is_none())?;
            Some(owned.written?.min(*end))
        };
        ends.into_iter().flatten().filter_map(come).sum()
    }

    fn tell_of_stalled(&self, all: &[TopicPartition]) {
        let stalled = all
            .iter()
            .find_map(|partition| Some((partition, self.owned.get(partition)?.stalled.as_ref()?)));
        let notice = stalled.map(|(partition, stalled)| {
            let (offset, why) = (stalled.offset, stalled.error.report());
            let count = all.len();
            format!("{count} partitions wait for rows that theirs refer to, while the others are written; the first is {partition} at offset {offset}: {why}")
        });
        self.telemetry.set_notice("waiting_for_referenced_rows", notice);
    }
}
