//! What a member of a group has: its partitions, the records that wait for the reader, and what is to be told first.
//!
//! Shared by three: the thread that polls librdkafka, librdkafka's calls about partitions that come and go, which are
//! made on that thread, and the subscription. Knows nothing of librdkafka.
//!
//! ```text
//!   assign ─▶ Waiting ── start ─▶ Starting ─▶ Started ── revoke ─▶ Revoked ── release, or patience ends ─▶ gone
//!                                    ▲            │                                                        ▲
//!                                    └ start, pause ┴──────────────────── lose ────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tailrace_core::Result;
use tailrace_core::ports::sink::Delivery;
use tailrace_core::record_batch::{RecordBatch, TopicPartition};
use tokio::sync::Notify;

use crate::error::Failure;

/// Keys, values and headers that wait for the reader. Together with what librdkafka reads ahead it bounds the memory of a
/// connector whose target is slow.
const QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// Records that wait for the reader: small ones cost more memory than their bytes.
const QUEUED_RECORDS: usize = 50_000;

/// A batch that is this large is not added to.
const BATCH_BYTES: usize = 1024 * 1024;

/// Records of a batch while nobody has said how many are wanted.
const BATCH_RECORDS: usize = 2_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Membership {
    inner: Mutex<Inner>,
    /// There is something for the reader.
    arrived: Notify,
    /// The reader took something.
    taken: Condvar,
    /// How often librdkafka was asked.
    polls: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: Vec<Assigned>,
    /// Index of the partition of the newest record, which most often is that of the next.
    newest: usize,
    /// Told before any records.
    notices: VecDeque<Delivery>,
    batches: VecDeque<RecordBatch>,
    queued: Queued,
    /// Records of a batch; 0 where the reader has not said.
    limit: usize,
    revoking: Option<Revoking>,
    /// librdkafka was told to fetch nothing.
    is_paused: bool,
    failed: Option<Failure>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Queued {
    records: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Assigned {
    partition: TopicPartition,
    stage: Stage,
    /// The offset behind the newest record, or the one that was started at.
    position: i64,
    /// The offset that the next record will have, as far as that is known.
    end: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For the reader to say where.
    Waiting,
    /// On the way to where the reader said, or paused until it says so again.
    Starting,
    /// Its records are for the reader.
    Started,
    /// To be given back.
    Revoked,
}

#[derive(Debug)]
struct Revoking {
    all: Vec<TopicPartition>,
    held: Vec<TopicPartition>,
    until: Instant,
}

/// Where a partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: TopicPartition,
    pub(super) offset: i64,
    /// The offset that the next record will have.
    pub(super) end: i64,
}

/// Partitions that are about to begin.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Those that are ours.
    pub(super) partitions: Vec<TopicPartition>,
    /// Records of one of them were on their way.
    pub(super) flowed: bool,
}

/// A record as librdkafka has it.
pub(super) struct Incoming<'a> {
    /// Topic and partition.
    pub(super) partition: (&'a str, i32),
    /// Offset in it.
    pub(super) offset: i64,
    /// Milliseconds since 1970.
    pub(super) timestamp_ms: i64,
    /// Key and value.
    pub(super) key_value: (Option<&'a [u8]>, Option<&'a [u8]>),
}

// === impl Membership ===

impl Membership {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- for the reader

    /// Waits until there is something, and takes it.
    pub(super) async fn next(&self, limit: usize) -> Result<Delivery> {
        loop {
            if let Some(next) = self.take(limit)? {
                return Ok(next);
            }
            // A permit is stored where something arrived since.
            self.arrived.notified().await;
        }
    }

    fn take(&self, limit: usize) -> Result<Option<Delivery>> {
        let mut inner = self.lock();
        if limit > 0 {
            inner.limit = limit;
        }
        if let Some(notice) = inner.notices.pop_front() {
            return Ok(Some(notice));
        }
        // What was read before a failure is told before it.
        if limit == 0 && !inner.batches.is_empty() {
            return Ok(None);
        }
        if let Some(batch) = inner.batches.pop_front() {
            inner.queued.records = inner.queued.records.saturating_sub(batch.len());
            inner.queued.bytes = inner.queued.bytes.saturating_sub(batch.size_bytes());
            self.taken.notify_one();
            return Ok(Some(Delivery::Records(batch)));
        }
        inner.failed.clone().map_or(Ok(None), |failure| Err(failure.into()))
    }

    /// Forgets the records of partitions that are to be started anew, now or later.
    pub(super) fn begin_start<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Begun {
        let mut inner = self.lock();
        let mut begun = Begun::default();
        for partition in partitions {
            let Some(assigned) = inner.find_mut(partition).filter(|known| known.stage != Stage::Revoked) else {
                continue;
            };
            begun.flowed |= assigned.stage != Stage::Waiting;
            assigned.stage = Stage::Starting;
            begun.partitions.push(partition.clone());
        }
        inner.forget_records(&begun.partitions);
        begun
    }

    /// From now on the partitions' records are for the reader. `resume` is called where they are to be fetched now, before
    /// anybody else can say otherwise.
    pub(super) fn finish_start<E>(
        &self,
        places: &[Place],
        resume: impl FnOnce(&[TopicPartition]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut inner = self.lock();
        let mut started = Vec::with_capacity(places.len());
        for place in places {
            let assigned = inner.find_mut(&place.partition);
            if let Some(assigned) = assigned.filter(|known| known.stage == Stage::Starting) {
                assigned.stage = Stage::Started;
                (assigned.position, assigned.end) = (place.offset, place.end);
                started.push(place.partition.clone());
            }
        }
        if inner.is_paused || started.is_empty() {
            Ok(())
        } else {
            resume(&started)
        }
    }

    /// How often the thread has asked librdkafka: what it had in hand when it asked last was pushed before.
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Acquire)
    }

    /// Some of the revoked partitions may go. The whole list, once it is complete: for the caller to give it back.
    pub(super) fn release(&self, partitions: &[TopicPartition]) -> Option<Vec<TopicPartition>> {
        let mut inner = self.lock();
        let revoking = inner.revoking.as_mut()?;
        revoking.held.retain(|held| !partitions.contains(held));
        if revoking.held.is_empty() {
            inner.give_back()
        } else {
            None
        }
    }

    /// Those that are ours and were started.
    pub(super) fn started(&self) -> Vec<(TopicPartition, i64)> {
        let inner = self.lock();
        let started = inner.partitions.iter().filter(|known| known.stage == Stage::Started);
        started.map(|known| (known.partition.clone(), known.position)).collect()
    }

    /// Where the started partitions end.
    pub(super) fn ends(&self) -> Vec<(TopicPartition, i64)> {
        let inner = self.lock();
        let started = inner.partitions.iter().filter(|known| known.stage == Stage::Started);
        started
            .map(|known| (known.partition.clone(), known.end.max(known.position)))
            .collect()
    }

    // --- for librdkafka's thread

    /// The thread asks once more, and has nothing in hand.
    pub(super) fn note_poll(&self) {
        self.polls.fetch_add(1, Ordering::Release);
    }

    /// Partitions were assigned.
    pub(super) fn assign(&self, partitions: Vec<TopicPartition>) {
        let mut inner = self.lock();
        for partition in &partitions {
            inner.partitions.retain(|known| known.partition != *partition);
            inner.partitions.push(Assigned {
                partition: partition.clone(),
                stage: Stage::Waiting,
                position: 0,
                end: 0,
            });
        }
        self.tell(inner, Delivery::Assigned(partitions));
    }

    /// Partitions are to be given back, by the reader's [`Self::release`] or by [`Self::overdue`] once `until` is over.
    pub(super) fn revoke(&self, partitions: Vec<TopicPartition>, until: Instant) {
        let mut inner = self.lock();
        for assigned in &mut inner.partitions {
            if partitions.contains(&assigned.partition) {
                assigned.stage = Stage::Revoked;
            }
        }
        inner.forget_records(&partitions);
        inner.revoking = Some(Revoking {
            all: partitions.clone(),
            held: partitions.clone(),
            until,
        });
        self.tell(inner, Delivery::Revoked(partitions));
    }

    /// Partitions are not ours any more.
    pub(super) fn lose(&self, partitions: Vec<TopicPartition>) {
        let mut inner = self.lock();
        inner.forget_records(&partitions);
        inner.partitions.retain(|known| !partitions.contains(&known.partition));
        self.tell(inner, Delivery::Lost(partitions));
    }

    /// Partitions that were revoked and not released in time: for the caller to give back.
    pub(super) fn overdue(&self, now: Instant) -> Option<Vec<TopicPartition>> {
        let mut inner = self.lock();
        inner.revoking.as_ref().filter(|revoking| revoking.until <= now)?;
        inner.give_back()
    }

    /// Adds a record, where its partition was started. `true` where enough waits for the reader.
    pub(super) fn push<'a>(&self, record: &Incoming<'_>, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
        let mut inner = self.lock();
        if !inner.advance(record) {
            return inner.is_full();
        }
        let limit = if inner.limit == 0 { BATCH_RECORDS } else { inner.limit };
        let has_room = |batch: &&mut RecordBatch| batch.len() < limit && batch.size_bytes() < BATCH_BYTES;
        let was_empty = inner.batches.is_empty();
        if inner.batches.back_mut().as_ref().is_none_or(|last| !has_room(last)) {
            inner.batches.push_back(RecordBatch::default());
        }
        let mut added = 0;
        if let Some(batch) = inner.batches.back_mut() {
            let before = batch.size_bytes();
            batch.push(record.partition, record.offset, record.timestamp_ms, record.key_value);
            headers.for_each(|(name, value)| batch.push_header(name, value));
            added = batch.size_bytes() - before;
        }
        inner.queued.records += 1;
        inner.queued.bytes += added;
        let is_full = inner.is_full();
        drop(inner);
        if was_empty {
            self.arrived.notify_one();
        }
        is_full
    }

    /// Waits until the reader took something; `false` where enough waits for it still.
    pub(super) fn wait_for_room(&self, patience: Duration) -> bool {
        let inner = self.lock();
        let waited = self
            .taken
            .wait_timeout_while(inner, patience, |inner| inner.is_full() && inner.failed.is_none());
        let (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !inner.is_full()
    }

    /// Nothing is fetched from now on; `pause` is told which were.
    pub(super) fn pause<E>(
        &self,
        pause: impl FnOnce(&[TopicPartition]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut inner = self.lock();
        inner.is_paused = true;
        pause(&inner.started_names())
    }

    /// Where half of the room is free again, what was paused is fetched; `resume` is told which. `true` where it was called.
    pub(super) fn resume_where_there_is_room<E>(
        &self,
        resume: impl FnOnce(&[TopicPartition]) -> std::result::Result<(), E>,
    ) -> std::result::Result<bool, E> {
        let mut inner = self.lock();
        let Queued { records, bytes } = inner.queued;
        if !inner.is_paused || records > QUEUED_RECORDS / 2 || bytes > QUEUED_BYTES / 2 {
            return Ok(false);
        }
        inner.is_paused = false;
        resume(&inner.started_names()).map(|()| true)
    }

    /// Takes note of where a partition ends.
    pub(super) fn note_end(&self, topic: &str, partition: i32, end: i64) {
        let mut inner = self.lock();
        let mut known = inner.partitions.iter_mut();
        let is_it = |known: &&mut Assigned| known.partition.partition == partition && *known.partition.topic == *topic;
        if let Some(assigned) = known.find(is_it) {
            assigned.end = assigned.end.max(end);
        }
    }

    /// It cannot go on. The reader is told behind the records that are there.
    pub(super) fn fail(&self, failure: Failure) {
        let mut inner = self.lock();
        inner.failed.get_or_insert(failure);
        drop(inner);
        self.taken.notify_all();
        self.arrived.notify_one();
    }

    fn tell(&self, mut inner: MutexGuard<'_, Inner>, notice: Delivery) {
        inner.notices.push_back(notice);
        drop(inner);
        self.arrived.notify_one();
    }
}

// === impl Inner ===

impl Inner {
    fn find_mut(&mut self, partition: &TopicPartition) -> Option<&mut Assigned> {
        self.partitions.iter_mut().find(|known| known.partition == *partition)
    }

    /// Moves behind a record; `false` where it is of a partition that was not started.
    fn advance(&mut self, record: &Incoming<'_>) -> bool {
        let (topic, partition) = record.partition;
        let is_it = |known: &Assigned| known.partition.partition == partition && *known.partition.topic == *topic;
        if !self.partitions.get(self.newest).is_some_and(is_it) {
            let Some(found) = self.partitions.iter().position(is_it) else {
                return false;
            };
            self.newest = found;
        }
        let newest = self.partitions.get_mut(self.newest);
        let Some(assigned) = newest.filter(|known| known.stage == Stage::Started && self.failed.is_none()) else {
            return false;
        };
        assigned.position = record.offset.saturating_add(1);
        true
    }

    fn forget_records(&mut self, partitions: &[TopicPartition]) {
        for batch in &mut self.batches {
            batch.retain_partitions(|partition| !partitions.contains(partition));
        }
        self.batches.retain(|batch| !batch.is_empty());
        self.queued = Queued {
            records: self.batches.iter().map(RecordBatch::len).sum(),
            bytes: self.batches.iter().map(RecordBatch::size_bytes).sum(),
        };
    }

    /// Ends the revocation that is pending, if any.
    fn give_back(&mut self) -> Option<Vec<TopicPartition>> {
        let all = self.revoking.take()?.all;
        self.partitions.retain(|known| !all.contains(&known.partition));
        Some(all)
    }

    fn started_names(&self) -> Vec<TopicPartition> {
        let started = self.partitions.iter().filter(|known| known.stage == Stage::Started);
        started.map(|known| known.partition.clone()).collect()
    }

    fn is_full(&self) -> bool {
        self.queued.records >= QUEUED_RECORDS || self.queued.bytes >= QUEUED_BYTES
    }
}

#[cfg(test)]
impl Membership {
    /// Whether librdkafka was told to fetch nothing.
    pub(super) fn is_paused(&self) -> bool {
        self.lock().is_paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("t", number)
    }

    fn place(number: i32) -> Place {
        Place {
            partition: partition(number),
            offset: 0,
            end: 0,
        }
    }

    fn push(membership: &Membership, number: i32, offset: i64, bytes: usize) -> bool {
        let value = vec![b'x'; bytes];
        let record = Incoming {
            partition: ("t", number),
            offset,
            timestamp_ms: 0,
            key_value: (None, Some(&value)),
        };
        membership.push(&record, [("op", &b"c"[..])].into_iter())
    }

    fn started(numbers: std::ops::Range<i32>) -> Membership {
        let membership = Membership::default();
        membership.assign(numbers.clone().map(partition).collect());
        assert!(matches!(membership.take(10), Ok(Some(Delivery::Assigned(_)))));
        let places: Vec<Place> = numbers.map(place).collect();
        let begun = membership.begin_start(places.iter().map(|place| &place.partition));
        assert_eq!((begun.partitions.len(), begun.flowed), (places.len(), false));
        membership.finish_start(&places, |_| Ok::<(), ()>(())).unwrap();
        membership
    }

    fn offsets(membership: &Membership) -> Vec<(i32, i64)> {
        let mut found = Vec::new();
        while let Some(delivery) = membership.take(3).unwrap() {
            let Delivery::Records(batch) = delivery else { continue };
            assert!(batch.len() <= 3);
            found.extend(
                batch
                    .iter()
                    .map(|record| (record.partition().partition, record.offset())),
            );
        }
        found
    }

    #[test]
    fn only_what_was_started_is_kept_and_batches_are_as_large_as_wanted() {
        let membership = started(0..1);
        membership.assign(vec![partition(1)]);
        assert!(matches!(membership.take(3), Ok(Some(Delivery::Assigned(_)))));
        for offset in 0..7 {
            assert!(!push(&membership, 0, offset, 1));
            assert!(!push(&membership, 1, offset, 1));
            assert!(!push(&membership, 2, offset, 1));
        }
        assert_eq!(
            offsets(&membership),
            (0..7).map(|offset| (0, offset)).collect::<Vec<_>>()
        );
        assert_eq!(membership.ends(), [(partition(0), 7)]);
        membership.note_end("t", 0, 12);
        assert_eq!(membership.ends(), [(partition(0), 12)]);
    }

    #[test]
    fn what_is_revoked_is_told_before_records_and_takes_its_own_along() {
        let membership = started(0..3);
        for number in [0, 1, 2, 1] {
            push(&membership, number, i64::from(number), 1);
        }
        let now = Instant::now();
        membership.revoke(vec![partition(1), partition(2)], now + Duration::from_secs(1));
        assert!(matches!(membership.take(10), Ok(Some(Delivery::Revoked(gone))) if gone.len() == 2));
        push(&membership, 1, 9, 1);
        assert_eq!(offsets(&membership), [(0, 0)]);
        assert!(membership.begin_start([&partition(1)]).partitions.is_empty());
        assert_eq!(membership.overdue(now), None);
        assert_eq!(membership.release(&[partition(2), partition(0)]), None);
        assert_eq!(
            membership.release(&[partition(1)]),
            Some(vec![partition(1), partition(2)])
        );
        assert_eq!(membership.release(&[partition(1)]), None);
        assert_eq!(membership.started(), [(partition(0), 1)]);
        membership.revoke(vec![partition(0)], now);
        assert_eq!(membership.overdue(now), Some(vec![partition(0)]));
        assert_eq!(membership.overdue(now), None);
    }

    #[test]
    fn what_waits_is_bounded_and_counted() {
        let membership = started(0..2);
        let mut offset = 0;
        while !push(&membership, i32::from(offset % 2 == 1), offset, 100_000) {
            offset += 1;
        }
        assert!((80..90).contains(&offset), "{offset}");
        assert!(!membership.wait_for_room(Duration::ZERO));
        membership
            .pause(|started| if started.len() == 2 { Ok(()) } else { Err(()) })
            .unwrap();
        let resume = |_: &[TopicPartition]| Ok::<(), ()>(());
        assert_eq!(membership.resume_where_there_is_room(resume), Ok(false));
        assert!(membership.begin_start([&partition(0)]).flowed);
        let not_now = |_: &[TopicPartition]| -> std::result::Result<(), ()> { panic!("it is paused") };
        membership.finish_start(&[place(0)], not_now).unwrap();
        assert!(membership.wait_for_room(Duration::ZERO), "half of it is forgotten");
        membership.lose(vec![partition(1)]);
        assert_eq!(membership.resume_where_there_is_room(resume), Ok(true));
        assert!(matches!(membership.take(1), Ok(Some(Delivery::Lost(_)))));
        assert!(membership.take(1).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_failure_is_told_behind_the_records_and_stays() {
        let membership = std::sync::Arc::new(started(0..1));
        let waiting = std::sync::Arc::clone(&membership);
        let dropped = tokio::time::timeout(Duration::from_millis(1), waiting.next(10)).await;
        assert!(dropped.is_err());
        push(&membership, 0, 0, 1);
        membership.fail(Failure::transient("first", "it broke"));
        membership.fail(Failure::transient("second", "it broke again"));
        assert!(matches!(membership.next(10).await, Ok(Delivery::Records(_))));
        for _ in 0..2 {
            assert_eq!(membership.next(10).await.unwrap_err().code(), "first");
        }
        push(&membership, 0, 1, 1);
        assert!(membership.next(10).await.is_err());
    }
}
