//! Database → stream: the one loop that a change goes through.
//!
//! ```text
//!   source.next_batch ─▶ transform ─▶ schema history ─▶ encode ─▶ producer.deliver ─▶ frontier
//!        ▲                                                                              │ settled, in order
//!        └────────────── source.confirm ◀── checkpoint saved ◀── checkpoint tick ◀──────┘
//! ```
//!
//! Invariants: a batch is delivered after its schemas are saved; progress is saved after everything before it is durable;
//! the source is told after the save. An error ends the loop and nothing is tried again in here: the supervisor opens
//! everything anew from the last checkpoint, so that recovery is the start path.

mod carried;
mod letters;
mod schemas;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use self::letters::Letters;
use self::schemas::Schemas;
use super::frontier::{Committed, Frontier, Handed, Settled};
use super::{Desired, Ended};
use crate::batch::{ChangeBatch, Operation};
use crate::error::Result;
use crate::event::EncodedBatch;
use crate::failpoint;
use crate::ports::{Budget, ConnectorStore, Encoder, EventStream, Producer, Receipt, Source, TopicSpec};
use crate::position::{Checkpoint, Position, Progress};
use crate::schema_change::SchemaChangePublisher;
use crate::snapshot::log_position;
use crate::telemetry::{Telemetry, now_us};
use crate::trace::{Journey, Stages};
use crate::transform::Transform;

pub use self::letters::DeadLetters;
pub(super) use self::letters::append_copy;

/// What a stream's client keeps of a record beside its bytes until it is durable: librdkafka's message, its list of headers
/// and six headers, each an allocation of its own. Without it, small rows take three times the window in memory.
const OVERHEAD_PER_RECORD_BYTES: usize = 768;

/// Bounds of a pipeline.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one batch.
    pub batch: Budget,
    /// Of everything that is handed over and not durable; reading waits above it.
    pub in_flight_bytes: usize,
    /// At most this much is read again after a crash of an otherwise healthy pipeline.
    pub checkpoint_interval: Duration,
    /// How long a stop waits for what is in flight.
    pub drain_timeout: Duration,
}

/// Everything that one connector's changes go through.
pub struct SourcePipeline {
    /// Where changes come from.
    pub source: Box<dyn Source>,
    /// What happens to them at the border.
    pub transform: Transform,
    /// How they become records.
    pub encoder: Box<dyn Encoder>,
    /// Where topics are made.
    pub stream: Arc<dyn EventStream>,
    /// Where records go.
    pub producer: Box<dyn Producer>,
    /// Where progress and schemas are kept.
    pub store: Arc<dyn ConnectorStore>,
    /// Tells of changes of the tables' definitions.
    pub schema_changes: SchemaChangePublisher,
    /// What others see of it.
    pub telemetry: Arc<Telemetry>,
    /// Bounds.
    pub limits: Limits,
    /// What is done with events that cannot be carried.
    pub dead_letters: DeadLetters,
}

/// A pipeline on its way: what the loop changes.
struct Running {
    pipeline: SourcePipeline,
    frontier: Frontier,
    /// Newest settled progress that is not saved yet.
    unsaved: Option<Progress>,
    sequence: u64,
    confirmed: Option<Position>,
    schemas: Schemas,
    known_topics: HashSet<Arc<str>>,
    letters: Letters,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Large enough that per-batch costs vanish, small enough that a few of them fit in cache and memory.
            batch: Budget {
                changes: 4096,
                bytes: 1 << 20,
            },
            // Ten thousand small rows or 16 MB of large ones: more than a broker 100 ms away leaves unanswered at full speed,
            // and the process stays far below 100 MB.
            in_flight_bytes: 16 << 20,
            // Five fsyncs a second at most; what is read again after a crash is a fraction of a second's changes.
            checkpoint_interval: Duration::from_millis(200),
            // Below the 30 s that Kubernetes gives before SIGKILL.
            drain_timeout: Duration::from_secs(20),
        }
    }
}

// === impl SourcePipeline ===

impl SourcePipeline {
    /// Carries changes until asked to stop, or until an error. `saved` is the checkpoint that the source was opened with.
    pub async fn run(self, saved: Option<&Checkpoint>, mut desired: watch::Receiver<Desired>) -> Result<Ended> {
        let limits = self.limits;
        let mut running = Running::new(self, saved);
        let mut checkpoint_tick = tokio::time::interval(limits.checkpoint_interval);
        checkpoint_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wanted = *desired.borrow_and_update();
        loop {
            if wanted == Desired::Stopped {
                return running.drain(limits.drain_timeout).await;
            }
            let is_running = wanted == Desired::Running;
            let has_room = running.frontier.bytes() + running.letters.bytes() < limits.in_flight_bytes;
            let may_replay = is_running && running.frontier.is_empty();
            let may_read = is_running && has_room && !running.letters.is_holding() && !running.letters.is_asked();
            let may_release = is_running && running.is_all_saved();
            tokio::select! {
                biased;
                // 1. What became durable moves the frontier: first, so that the window never stays full for nothing. Behind a
                // replay it waits for that.
                settled = running.frontier.next_settled(), if !running.letters.is_replaying() => running.settle(settled?)?,
                // 2. and 3. A stop or a pause is obeyed before more is read.
                changed = desired.changed() => {
                    wanted = changed.map_or(Desired::Stopped, |()| *desired.borrow_and_update());
                }
                // 4. Progress is saved, then the source is told. Not where there is none: each turn of this loop gives up the
                // reading below and begins it anew, and a query that takes longer than the interval would never end. And not
                // while dead letters are on their way again.
                _ = checkpoint_tick.tick(), if running.has_unsaved() && !running.letters.is_replaying() => {
                    running.checkpoint().await?;
                }
                // 5. Dead letters that were asked for go out before anything that comes after them; then what had to wait for them.
                work = running.letters.next_work(may_replay, may_release) => running.look_after_letters(work).await?,
                // 6. More, as long as the window has room.
                batch = running.pipeline.source.next_batch(limits.batch), if may_read => running.carry(batch?).await?,
            }
        }
    }
}

// === impl Running ===

impl Running {
    fn new(pipeline: SourcePipeline, saved: Option<&Checkpoint>) -> Self {
        let limit = &pipeline.telemetry.numbers.bytes_in_flight_limit;
        limit.store(count(pipeline.limits.in_flight_bytes), Ordering::Relaxed);
        Self {
            letters: Letters::new(pipeline.dead_letters.clone()),
            pipeline,
            frontier: Frontier::default(),
            unsaved: None,
            sequence: saved.map_or(0, |checkpoint| checkpoint.sequence),
            confirmed: None,
            schemas: Schemas::default(),
            known_topics: HashSet::new(),
        }
    }

    /// One batch, from the source's hands into the stream's.
    async fn carry(&mut self, mut batch: ChangeBatch) -> Result<()> {
        let telemetry = Arc::clone(&self.pipeline.telemetry);
        telemetry.heard();
        telemetry
            .numbers
            .changes
            .fetch_add(count(batch.changes.len()), Ordering::Relaxed);
        self.schemas.meet(&batch, &*self.pipeline.store).await?;
        let filtered = self.pipeline.transform.apply(&mut batch)?;
        telemetry.numbers.filtered.fetch_add(filtered, Ordering::Relaxed);
        if batch.is_heartbeat() && !self.schemas.has_changes() {
            let nothing = Box::pin(std::future::ready(Ok(Receipt::default())));
            self.schemas.passed_over();
            let heartbeat = Handed {
                progress: batch.progress,
                committed: None,
                records: 0,
                weight_bytes: 0,
                journey: None,
            };
            self.frontier.push(heartbeat, nothing);
            self.publish_window();
            return Ok(());
        }
        carried::prepare(&mut *self.pipeline.encoder, &batch).await?;
        self.hand_over(batch).await
    }

    /// A batch whose tables are known, to the stream.
    async fn hand_over(&mut self, batch: ChangeBatch) -> Result<()> {
        let progress = batch.progress.clone();
        let committed = committed(&batch);
        let taken_us = now_us();
        self.show(&batch);
        let Some(mut encoded) = self.encode(batch).await? else {
            self.publish_window();
            return Ok(());
        };
        let schema_changes = self.schemas.take_changes();
        let notices = self.pipeline.schema_changes.publish(&schema_changes, &mut encoded);
        self.schemas.handed_over(notices);
        let journey = self.trace((committed, taken_us), &mut encoded);
        self.ensure_topics(&encoded).await?;
        failpoint!(try TopicsReady);
        let handed = Handed {
            progress,
            committed,
            records: encoded.records.len(),
            weight_bytes: weight_of(&encoded),
            journey,
        };
        let durable = if encoded.records.is_empty() {
            Box::pin(std::future::ready(Ok(Receipt::default())))
        } else {
            self.pipeline.producer.deliver(encoded)
        };
        self.frontier.push(handed, durable);
        failpoint!(try AfterEnqueue);
        self.publish_window();
        Ok(())
    }

    /// Lets people look at some of the changes, where any do.
    fn show(&mut self, batch: &ChangeBatch) {
        let tail = &self.pipeline.telemetry.tail;
        if tail.is_watched() {
            let encoder = &mut self.pipeline.encoder;
            // What cannot be encoded is seen to below.
            tail.show(batch, |one| encoder.encode(one).ok());
        }
    }

    /// The spans of a batch, where somebody wants them.
    fn trace(
        &self,
        (committed, taken_us): (Option<Committed>, i64),
        encoded: &mut EncodedBatch,
    ) -> Option<Box<Journey>> {
        let telemetry = &self.pipeline.telemetry;
        let stages = Stages {
            committed_us: committed.map_or(0, |committed| committed.oldest_us),
            taken_us,
            encoded_us: now_us(),
        };
        Journey::begin(&telemetry.tracer, &telemetry.connector, stages, encoded)
    }

    async fn ensure_topics(&mut self, encoded: &EncodedBatch) -> Result<()> {
        for (index, name) in encoded.topics.iter().enumerate() {
            if self.known_topics.contains(name) {
                continue;
            }
            // Where nothing goes, because all that would have was refused, no topic is needed.
            let Some(keyed) = is_keyed(encoded, index) else {
                continue;
            };
            let topic = TopicSpec {
                name: Arc::clone(name),
                keyed,
            };
            self.pipeline.stream.ensure_topic(&topic).await?;
            self.known_topics.insert(topic.name);
        }
        Ok(())
    }

    fn settle(&mut self, settled: Settled) -> Result<()> {
        self.schemas.settled(&self.pipeline.schema_changes);
        self.publish_durable(&settled);
        if settled.receipt.records > 0 {
            failpoint!(try AfterDurable);
        }
        self.unsaved = Some(settled.progress);
        self.publish_window();
        Ok(())
    }

    /// A handful of atomic additions per batch, which is up to thousands of records, and all of them uncontended: only a scrape reads beside.
    fn publish_durable(&self, settled: &Settled) {
        let telemetry = &self.pipeline.telemetry;
        let (numbers, histograms) = (&telemetry.numbers, &telemetry.histograms);
        let (records, bytes) = (count(settled.receipt.records), count(settled.receipt.bytes));
        numbers.records.fetch_add(records, Ordering::Relaxed);
        numbers.bytes.fetch_add(bytes, Ordering::Relaxed);
        if records > 0 {
            histograms.batch_records.observe(records, 1);
            histograms.batch_bytes.observe(bytes, 1);
        }
        let Some(committed) = settled.committed else {
            return;
        };
        let durable_at_us = now_us();
        numbers.durable_commit_us.store(committed.newest_us, Ordering::Relaxed);
        numbers.durable_at_us.store(durable_at_us, Ordering::Relaxed);
        if records > 0 && committed.oldest_us > 0 && !committed.is_snapshot {
            // A source whose clock is ahead of ours has committed in our future.
            let waited_us = u64::try_from(durable_at_us - committed.oldest_us).unwrap_or_default();
            histograms.commit_to_durable.observe(waited_us, records);
        }
    }

    fn publish_window(&self) {
        let telemetry = &self.pipeline.telemetry;
        let numbers = &telemetry.numbers;
        telemetry.reached.set_oldest_in_flight(self.frontier.oldest_commit_us());
        numbers
            .records_in_flight
            .store(count(self.frontier.records()), Ordering::Relaxed);
        numbers
            .changes_held
            .store(count(self.letters.held_changes()), Ordering::Relaxed);
        numbers
            .batches_in_flight
            .store(count(self.frontier.batches()), Ordering::Relaxed);
        numbers
            .bytes_in_flight
            .store(count(self.frontier.bytes()), Ordering::Relaxed);
    }

    /// Progress, or that somebody was told of a change of a table.
    fn has_unsaved(&self) -> bool {
        self.unsaved.is_some() || self.schemas.can_announce()
    }

    /// Saves the frontier and tells the source, where it moved.
    async fn checkpoint(&mut self) -> Result<()> {
        let Some(progress) = self.unsaved.clone() else {
            return self.schemas.announce(&*self.pipeline.store).await;
        };
        let checkpoint = Checkpoint {
            sequence: self.sequence + 1,
            progress,
        };
        failpoint!(try BeforeCheckpoint);
        let began = std::time::Instant::now();
        self.pipeline.store.save(&checkpoint).await?;
        let histograms = &self.pipeline.telemetry.histograms;
        histograms.checkpoint_save.observe_time(began.elapsed());
        failpoint!(try AfterCheckpoint);
        self.schemas.saved(&*self.pipeline.store).await?;
        if checkpoint.progress.partial.is_some() {
            failpoint!(try AfterPartialCheckpoint);
        }
        self.sequence = checkpoint.sequence;
        self.unsaved = None;
        let position = checkpoint.progress.position;
        self.pipeline
            .telemetry
            .numbers
            .checkpoints
            .fetch_add(1, Ordering::Relaxed);
        self.pipeline.telemetry.set_position(log_position(&position)?.as_str());
        if self.confirmed.as_ref() != Some(&position) {
            self.pipeline.source.confirm(&position).await?;
            failpoint!(try AfterConfirm);
            self.confirmed = Some(position);
        }
        Ok(())
    }

    /// Waits for what is in flight, to a deadline, then saves what is durable.
    async fn drain(mut self, timeout: Duration) -> Result<Ended> {
        let deadline = Instant::now() + timeout;
        while self.letters.is_replaying() {
            match tokio::time::timeout_at(deadline, self.letters.next_work(false, false)).await {
                Ok(work) => self.look_after_letters(work).await?,
                // What came after the replay must come after it again.
                Err(_) => return Ok(Ended::DrainTimedOut),
            }
        }
        loop {
            while !self.frontier.is_empty() {
                match tokio::time::timeout_at(deadline, self.frontier.next_settled()).await {
                    Ok(settled) => self.settle(settled?)?,
                    Err(_) => {
                        self.checkpoint().await?;
                        return Ok(Ended::DrainTimedOut);
                    }
                }
            }
            self.checkpoint().await?;
            let Some(batch) = self.letters.release() else {
                return Ok(Ended::Drained);
            };
            self.hand_over(batch).await?;
        }
    }
}

/// Whether a record of a topic has a key; `None` where the topic has no records.
fn is_keyed(encoded: &EncodedBatch, topic: usize) -> Option<bool> {
    let mut records = encoded.records.iter().filter(|record| record.topic == topic).peekable();
    records.peek()?;
    Some(records.any(|record| record.key.is_some()))
}

/// When the changes of a batch were committed; `None` where it has none. Transactions stand in it in the order of their commits.
fn committed(batch: &ChangeBatch) -> Option<Committed> {
    let (oldest, newest) = (batch.transactions.first()?, batch.transactions.last()?);
    let first = batch.changes.first();
    Some(Committed {
        oldest_us: oldest.committed_at_us,
        newest_us: newest.committed_at_us,
        is_snapshot: first.is_some_and(|change| change.operation == Operation::Read),
    })
}

/// What a batch takes in the window.
fn weight_of(encoded: &EncodedBatch) -> usize {
    encoded.buffer.len() + encoded.records.len() * OVERHEAD_PER_RECORD_BYTES
}

/// A number of things, as counters have it.
fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
