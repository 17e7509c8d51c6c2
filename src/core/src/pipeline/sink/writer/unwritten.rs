//! Which of the records in hand are to be written now, and in which portions: the target may have some already, and a partition may stand
//! still.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::super::stalled::{Verdict, WaitsFor};
use super::{Report, Writer};
use crate::error::{Error, Result};
use crate::ports::sink::{FOREIGN_KEY, ROW_MISSING};
use crate::record_batch::{RecordBatch, RecordMark, RecordView, TopicPartition};

/// What is known of a partition that stalled once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall {
    /// The offset of the row that could not be written.
    pub(super) offset: i64,
    /// What was found of it; until then the partition's records are left out.
    pub(super) verdict: Option<Verdict>,
}

// === impl Writer ===

impl Writer {
    /// Has the decoder read the record before the first that is written, where it came along: what that one says, the next may leave out.
    pub(super) async fn look_back(&mut self, records: &RecordBatch) -> Result<()> {
        let next = |partition: &TopicPartition| self.known.get(partition)?.next_offset;
        let nexts: Vec<Option<i64>> = records.partitions().iter().map(next).collect();
        let mut before = RecordBatch::default();
        for record in records.iter() {
            let next = nexts.get(record.partition_index()).copied().flatten();
            if next.is_some() && record.offset().checked_add(1) == next {
                before.push_copy(record);
            }
        }
        if before.is_empty() {
            return Ok(());
        }
        self.prepare(&before).await?;
        self.parts.decoder.decode(&before, 0..before.len()).map(drop)
    }

    /// The records that the target does not have, of partitions that do not wait; all of them but after a fault, and at the start of a
    /// partition.
    pub(super) fn unwritten<'a>(&self, records: &'a RecordBatch) -> Result<Cow<'a, RecordBatch>> {
        let nexts: Vec<Option<(i64, Option<RecordMark>)>> = records
            .partitions()
            .iter()
            .map(|partition| {
                let is_waiting = self.stalls.get(partition).is_some_and(|stall| stall.verdict.is_none());
                let is_wanted = self.ours.has(partition) && !is_waiting;
                let known = self.known.get(partition).filter(|_| is_wanted)?;
                Some((known.next_offset.unwrap_or(i64::MIN), known.last_record))
            })
            .collect();
        let next_of = |record: RecordView<'_>| nexts.get(record.partition_index()).copied().flatten();
        let is_new = |record: RecordView<'_>| next_of(record).is_some_and(|(next, _)| record.offset() >= next);
        let mut is_all = true;
        for record in records.iter() {
            let (next, new) = (next_of(record), is_new(record));
            if let Some((next, Some(mark))) = next
                && record.offset() == next - 1
                && record.mark() != mark
            {
                return Err(made_anew(record));
            }
            is_all &= new;
        }
        if is_all {
            return Ok(Cow::Borrowed(records));
        }
        Ok(Cow::Owned(records.filtered(is_new)))
    }

    /// What goes into a transaction each, the last first. A row that stalled its partition goes alone: most often it is not its time yet.
    pub(super) fn ranges(&self, records: &RecordBatch) -> Vec<Range<usize>> {
        let is_retried = |record: RecordView<'_>| {
            let stall = self.stalls.get(record.partition());
            stall.is_some_and(|stall| stall.offset == record.offset())
        };
        let rows = self.limits.batch_rows.max(1);
        let mut borders: BTreeSet<usize> = (0..records.len()).step_by(rows).chain([records.len()]).collect();
        if !self.stalls.is_empty() {
            let retried = records.iter().enumerate().filter(|(_, record)| is_retried(*record));
            borders.extend(retried.flat_map(|(index, _)| [index, index + 1]));
        }
        let starts = borders.iter().rev().skip(1);
        starts
            .zip(borders.iter().rev())
            .map(|(start, end)| *start..*end)
            .collect()
    }

    /// A later event of its key has made the record pointless.
    pub(super) fn is_moot(&self, record: RecordView<'_>) -> bool {
        let stall = self.stalls.get(record.partition());
        stall.is_some_and(|stall| stall.offset == record.offset() && stall.verdict == Some(Verdict::Moot))
    }

    /// What may let the record be written later; `None` where nothing will, or it has waited long enough.
    pub(super) fn waits_for(&self, record: RecordView<'_>, error: &Error) -> Option<WaitsFor> {
        let verdict = self.stalls.get(record.partition()).and_then(|stall| stall.verdict);
        if let Some(Verdict::NoPatienceBelow(below)) = verdict
            && record.offset() < below
        {
            return None;
        }
        match error.code() {
            FOREIGN_KEY => Some(WaitsFor::Reference),
            ROW_MISSING => record.key().map(|key| WaitsFor::Delete { key: key.to_owned() }),
            _ => None,
        }
    }

    pub(super) fn stall(&mut self, record: RecordView<'_>, waits_for: WaitsFor, error: Error) -> Report {
        let (partition, offset) = (record.partition().clone(), record.offset());
        self.stalls.insert(partition.clone(), Stall { offset, verdict: None });
        Report::Stalled {
            partition,
            offset,
            waits_for,
            error,
        }
    }
}

fn made_anew(record: RecordView<'_>) -> Error {
    let message = format!(
        "the record at offset {} of {} is not the one that was written before: the topic was deleted and made anew; to write the new \
         one from its beginning, delete the connector's rows of that topic from the table of offsets in the target, and empty the \
         table first if what the old topic said shall go",
        record.offset(),
        record.partition()
    );
    Error::definite("topic_rewound", message)
}
