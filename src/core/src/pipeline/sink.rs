//! The pipeline of a sink: records from a stream, rows and offsets into a database.
//!
//! ```text
//!   Subscription ──▶ loop (this file) ──▶ queue ──▶ writer 0: decode ─ transform ─ fold ─▶ its session
//!       ▲   ▲          │    ▲        └──▶ queue ──▶ writer 1: …
//!       │   └─ start ──┘    └── reports: taken, written, stalled, broken
//!       └───── release, commit, pause
//! ```
//!
//! Invariants:
//! - A partition belongs to one writer, whose queue keeps the order of its records.
//! - Nothing of a partition is read before the target has said where it is ([`crate::ports::sink::Sink::take`]), and what the target
//!   says was written is never written again.
//! - A partition is given back only when its writer has nothing of it in hand any more. Whoever cannot wait for that takes it all the
//!   same: the epoch in the target refuses what comes too late.
//! - Writers end with the pipeline: one that outlived it would fence the writer that comes after.
//!
//! Why one loop with queues and not a loop per writer: the group knows one member per process, and its rebalances must be answered
//! also while every writer waits for a slow target.

mod letters;
mod stalled;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use self::stalled::{Stalled, Verdict};
use self::writer::{Order, Ours, Report, Writer};
use super::{Desired, Ended};
use crate::error::{Error, Result};
use crate::ports::StartOffset;
use crate::ports::sink::{Decoder, Delivery, SinkConnector, SinkContext, StartAt, Subscription, Taken};
use crate::record_batch::{RecordBatch, RecordView, TopicPartition};
use crate::task::spawn_among;
use crate::telemetry::lag::LagMeasure;
use crate::telemetry::{Life, PartitionProgress, Telemetry};
use crate::transform::Transform;

pub use self::letters::SinkLetters;

/// Records that are asked of the stream at a time: enough that a hand-over costs nothing beside them.
const RECORDS_AT_A_TIME: usize = 4096;
/// How often the group is told of progress, lag is looked at, and rows are tried again that refer to others.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Bounds of a sink's pipeline.
#[derive(Debug, Clone, Copy)]
pub struct SinkLimits {
    /// Events of one transaction of the target.
    pub batch_rows: usize,
    /// Bytes of them, as they are in the stream; a single larger one still goes through.
    pub batch_bytes: usize,
    /// How long a batch waits for more.
    pub batch_wait: Duration,
    /// What waits in front of each writer; nothing more is read above it.
    pub queue_bytes: usize,
    /// How long a stop waits for what was read.
    pub drain_timeout: Duration,
}

/// What one writer needs beside its session.
pub struct WriterParts {
    /// Reads its records.
    pub decoder: Box<dyn Decoder>,
    /// What happens to rows on their way.
    pub transform: Transform,
    /// What is done with events that cannot be written.
    pub letters: SinkLetters,
}

/// Everything that one sink's events go through.
pub struct SinkPipeline {
    /// The connector's name.
    pub connector: String,
    /// Where records come from.
    pub subscription: Box<dyn Subscription>,
    /// Where rows go.
    pub target: Arc<dyn SinkConnector>,
    /// The writers among which the partitions are shared.
    pub writers: Vec<WriterParts>,
    /// Where partitions begin that the target knows nothing of.
    pub start: StartOffset,
    /// What others see of it.
    pub telemetry: Arc<Telemetry>,
    /// Bounds.
    pub limits: SinkLimits,
}

/// A writer from outside.
struct Queue {
    orders: mpsc::UnboundedSender<Order>,
    /// Bytes that were handed to it and are not written.
    bytes: usize,
    /// Records of them.
    records: usize,
    /// Why it cannot write at the moment.
    broken: Option<Error>,
}

/// A partition that is ours.
struct Owned {
    writer: usize,
    /// What the target has; `None` before it has said so.
    written: Option<i64>,
    /// What the group was told.
    told: Option<i64>,
    /// Nothing of it is written: a row cannot be now, and may be later.
    stalled: Option<Stalled>,
}

/// A pipeline on its way: what the loop changes.
struct Running {
    subscription: Box<dyn Subscription>,
    writers: JoinSet<Result<()>>,
    queues: Vec<Queue>,
    reports: mpsc::UnboundedReceiver<(usize, Report)>,
    owned: BTreeMap<TopicPartition, Owned>,
    /// The same for writers, which must not take again what was lost meanwhile.
    ours: Ours,
    /// Partitions that are given back when the writers named have answered.
    leaving: Vec<(Vec<TopicPartition>, BTreeSet<usize>)>,
    start: StartOffset,
    telemetry: Arc<Telemetry>,
    limits: SinkLimits,
}

// === impl SinkLimits ===

impl Default for SinkLimits {
    fn default() -> Self {
        Self {
            // Large enough that a commit costs little per row, small enough that a failed one is soon done again.
            batch_rows: 5_000,
            batch_bytes: 4 << 20,
            // Shorter than anybody notices; under load, batches fill by themselves while the one before is written.
            batch_wait: Duration::from_millis(5),
            // The next batch is there when one is written, and two queues stay far below 100 MB.
            queue_bytes: 8 << 20,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

// === impl SinkPipeline ===

impl SinkPipeline {
    /// Writes events until asked to stop, or until an error that no new session of the target can cure.
    pub async fn run(self, mut desired: watch::Receiver<Desired>) -> Result<Ended> {
        let mut running = Running::start(self);
        let mut tick = tokio::time::interval(TICK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wanted = *desired.borrow_and_update();
        running.telemetry.begin(LagMeasure::Stream);
        running.telemetry.enter(Life::Streaming, "reading the stream");
        loop {
            if wanted == Desired::Stopped {
                return running.drain().await;
            }
            // Membership is looked after also while nothing may be read.
            let records = if wanted == Desired::Running && running.has_room() {
                RECORDS_AT_A_TIME
            } else {
                0
            };
            tokio::select! {
                biased;
                // 1. What became of things that writers were given to do: first, so that room is seen.
                Some((writer, report)) = running.reports.recv() => running.hear(writer, report).await?,
                // 2. No writer ends before it is asked to.
                Some(ended) = running.writers.join_next() => return Err(ended_early(ended)),
                // 3. A stop or a pause is obeyed before more is read.
                changed = desired.changed() => {
                    wanted = changed.map_or(Desired::Stopped, |()| *desired.borrow_and_update());
                }
                // 4. Others are told how far we are, and what stalled is tried again.
                _ = tick.tick() => running.tick().await?,
                // 5. More, or another share of the partitions.
                delivery = running.subscription.next(records) => running.deliver(delivery?).await?,
            }
        }
    }
}

// === impl Running ===

impl Running {
    fn start(pipeline: SinkPipeline) -> Self {
        let (report, reports) = mpsc::unbounded_channel();
        let ours = Ours::default();
        let mut writers = JoinSet::new();
        let parts = pipeline.writers.into_iter().enumerate();
        let queues = parts.map(|(number, parts)| {
            let (orders, inbox) = mpsc::unbounded_channel();
            let target = Arc::clone(&pipeline.target);
            let telemetry = Arc::clone(&pipeline.telemetry);
            let context = SinkContext {
                connector: pipeline.connector.clone(),
                writer: number,
                telemetry,
            };
            let writer = Writer::new(context, parts, target, ours.clone(), pipeline.limits);
            let report = report.clone();
            let work = async move { writer.run(inbox, &report).await };
            spawn_among(&mut writers, "sink writer", work);
            Queue {
                orders,
                bytes: 0,
                records: 0,
                broken: None,
            }
        });
        let queues = queues.collect();
        Self {
            writers,
            queues,
            subscription: pipeline.subscription,
            reports,
            owned: BTreeMap::new(),
            ours,
            leaving: Vec::new(),
            start: pipeline.start,
            telemetry: pipeline.telemetry,
            limits: pipeline.limits,
        }
    }

    fn has_room(&self) -> bool {
        self.queues.iter().all(|queue| queue.bytes < self.limits.queue_bytes)
    }

    // --- the stream's side

    async fn deliver(&mut self, delivery: Delivery) -> Result<()> {
        match delivery {
            Delivery::Records(records) => return self.hand_over(records).await,
            Delivery::Assigned(partitions) => self.take(partitions),
            Delivery::Revoked(partitions) => return self.leave(partitions).await,
            Delivery::Lost(partitions) => {
                // Whoever has them now has counted the epoch up: what a writer still has in hand would be refused.
                self.forget(&partitions);
                (0..self.queues.len()).for_each(|writer| self.order(writer, Order::Forget(partitions.clone())));
            }
        }
        Ok(())
    }

    /// Gives each partition to the writer that has the fewest, which asks the target where it is.
    fn take(&mut self, partitions: Vec<TopicPartition>) {
        let mut shares: BTreeMap<usize, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            let load = |writer: &usize| self.owned.values().filter(|owned| owned.writer == *writer).count();
            let writer = (0..self.queues.len()).min_by_key(load).unwrap_or_default();
            let owned = Owned {
                writer,
                written: None,
                told: None,
                stalled: None,
            };
            self.owned.insert(partition.clone(), owned);
            self.ours.add(&partition);
            shares.entry(writer).or_default().push(partition);
        }
        for (writer, share) in shares {
            self.order(writer, Order::Take(share));
        }
    }

    /// Asks the writers to be done with partitions that others shall have.
    async fn leave(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        let writers = partitions.iter().filter_map(|partition| self.owned.get(partition));
        let writers: BTreeSet<usize> = writers.map(|owned| owned.writer).collect();
        self.forget(&partitions);
        if writers.is_empty() {
            return self.subscription.release(&partitions).await;
        }
        for writer in &writers {
            self.order(*writer, Order::Forget(partitions.clone()));
        }
        self.leaving.push((partitions, writers));
        Ok(())
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.owned.remove(partition);
            self.ours.remove(partition);
            self.telemetry.forget_partition(&partition.to_string());
        }
    }

    async fn hand_over(&mut self, records: RecordBatch) -> Result<()> {
        self.telemetry.heard();
        let deleted = self.look_for_deletes(&records);
        for (writer, share) in self.split(records) {
            if let Some(queue) = self.queues.get_mut(writer) {
                queue.bytes += share.size_bytes();
                queue.records += share.len();
            }
            self.order(writer, Order::Records(share));
        }
        self.publish_queues();
        for partition in deleted {
            self.read_again(&partition, Verdict::Moot).await?;
        }
        Ok(())
    }

    /// The records of each writer; most often all are of one.
    fn split(&self, records: RecordBatch) -> Vec<(usize, RecordBatch)> {
        let is_wanted = |owned: &&Owned| owned.stalled.as_ref().is_none_or(|stalled| !stalled.only_looks());
        let writer_of =
            |partition: &TopicPartition| self.owned.get(partition).filter(is_wanted).map(|owned| owned.writer);
        let writers: Vec<Option<usize>> = records.partitions().iter().map(writer_of).collect();
        if let [Some(first), rest @ ..] = &*writers
            && rest.iter().all(|other| *other == Some(*first))
        {
            return vec![(*first, records)];
        }
        // What is of nobody was on its way when its partition was given back.
        let owners: BTreeSet<usize> = writers.iter().copied().flatten().collect();
        let share_of = |owner: usize| {
            let is_its = |record: RecordView<'_>| writers.get(record.partition_index()) == Some(&Some(owner));
            (owner, records.filtered(is_its))
        };
        owners.into_iter().map(share_of).collect()
    }

    // --- the writers' side

    fn order(&self, writer: usize, order: Order) {
        if let Some(queue) = self.queues.get(writer) {
            // A queue is closed where its writer has ended, which the loop hears of next.
            drop(queue.orders.send(order));
        }
    }

    async fn hear(&mut self, writer: usize, report: Report) -> Result<()> {
        match report {
            Report::Taken(taken) => self.begin(writer, taken).await,
            Report::Written {
                bytes,
                records,
                offsets,
            } => {
                if let Some(queue) = self.queues.get_mut(writer) {
                    queue.bytes = queue.bytes.saturating_sub(bytes);
                    queue.records = queue.records.saturating_sub(records);
                }
                self.publish_queues();
                for (partition, next_offset) in offsets {
                    if let Some(owned) = self.owned.get_mut(&partition) {
                        owned.written = Some(next_offset);
                        owned.stalled.take_if(|stalled| stalled.offset() < next_offset);
                    }
                }
                Ok(())
            }
            Report::Stalled {
                partition,
                offset,
                waits_for,
                error,
            } => self.stall(partition, (offset, waits_for), error).await,
            Report::Forgotten(partitions) => self.left(writer, &partitions).await,
            Report::Broken(error) => {
                self.set_broken(writer, Some(error));
                Ok(())
            }
            Report::Mended => {
                self.set_broken(writer, None);
                Ok(())
            }
        }
    }

    /// Begins to read partitions where the target says they are.
    async fn begin(&mut self, writer: usize, taken: Vec<Taken>) -> Result<()> {
        // Some may have been given back since.
        let taken: Vec<Taken> = taken
            .into_iter()
            .filter(|taken| self.owned.contains_key(&taken.partition))
            .collect();
        let places: Vec<(TopicPartition, StartAt)> = taken
            .iter()
            .map(|taken| (taken.partition.clone(), self.start_at(taken)))
            .collect();
        let began = self.subscription.start(&places).await?;
        for (
            Taken {
                partition, next_offset, ..
            },
            began,
        ) in taken.into_iter().zip(began)
        {
            tracing::info!(connector = self.telemetry.connector, partition = %partition, offset = began, "reading");
            if next_offset.is_none() {
                // Where the end was meant, what comes from now on must be read also after a restart.
                self.order(writer, Order::Begin(partition.clone(), began));
            }
            if let Some(owned) = self.owned.get_mut(&partition) {
                owned.written = Some(next_offset.unwrap_or(began));
            }
        }
        Ok(())
    }

    fn start_at(&self, taken: &Taken) -> StartAt {
        taken.next_offset.map_or(StartAt::Unknown(self.start), StartAt::Before)
    }

    async fn left(&mut self, writer: usize, partitions: &[TopicPartition]) -> Result<()> {
        let mut done = Vec::new();
        for (leaving, writers) in &mut self.leaving {
            if leaving == partitions {
                writers.remove(&writer);
            }
        }
        self.leaving.retain_mut(|(leaving, writers)| {
            if writers.is_empty() {
                done.append(leaving);
            }
            !writers.is_empty()
        });
        if done.is_empty() {
            return Ok(());
        }
        self.subscription.release(&done).await
    }

    /// The connector is degraded while any of its writers is.
    fn set_broken(&mut self, writer: usize, broken: Option<Error>) {
        if let Some(queue) = self.queues.get_mut(writer) {
            queue.broken = broken;
        }
        match self.queues.iter().find_map(|queue| queue.broken.as_ref()) {
            Some(error) => self
                .telemetry
                .enter(Life::Degraded(error.code().to_owned()), error.report()),
            None => self.telemetry.enter(Life::Streaming, "writing again"),
        }
    }

    // --- what others see

    /// What the writers have in hand; once per hand-over of thousands of records.
    fn publish_queues(&self) {
        let numbers = &self.telemetry.numbers;
        let bytes = self.queues.iter().map(|queue| queue.bytes).sum();
        let records = self.queues.iter().map(|queue| queue.records).sum();
        numbers.bytes_in_flight.store(count(bytes), Ordering::Relaxed);
        numbers.records_in_flight.store(count(records), Ordering::Relaxed);
        let limit = self.limits.queue_bytes.saturating_mul(self.queues.len());
        numbers.bytes_in_flight_limit.store(count(limit), Ordering::Relaxed);
    }

    async fn tick(&mut self) -> Result<()> {
        self.tell().await;
        self.retry_stalled().await
    }

    async fn tell(&mut self) {
        let ends: BTreeMap<TopicPartition, i64> = self.subscription.ends().into_iter().collect();
        let mut offsets = Vec::new();
        // Without a partition nothing is known; somebody else may have them all.
        let mut at_end = !self.owned.is_empty();
        for (partition, owned) in &self.owned {
            let Some(written) = owned.written else {
                at_end = false;
                continue;
            };
            let end_offset = ends.get(partition).copied();
            let progress = PartitionProgress {
                next_offset: written,
                end_offset,
                lag_records: end_offset.map(|end| end.saturating_sub(written).max(0)),
            };
            if progress.lag_records != Some(0) {
                at_end = false;
            }
            self.telemetry.set_partition(&partition.to_string(), progress);
            if owned.told != Some(written) {
                offsets.push((partition.clone(), written));
            }
        }
        self.telemetry.set_at_end(at_end);
        // Whoever does not listen is not told.
        if at_end || !self.has_room() {
            self.telemetry.heard();
        }
        if offsets.is_empty() {
            return;
        }
        // Rows are right also where this fails.
        let failed = self.subscription.commit(&offsets).await.err();
        if failed.is_none() {
            for (partition, written) in offsets {
                self.owned
                    .entry(partition)
                    .and_modify(|owned| owned.told = Some(written));
            }
        }
        let notice = failed.map(|error| {
            let why = error.report();
            format!("the group was not told how far the target is, and those who watch its lag there see too much of it: {why}")
        });
        self.telemetry.set_notice("group_offsets", notice);
    }

    /// Waits for what was read, to a deadline; tells the group.
    async fn drain(mut self) -> Result<Ended> {
        let deadline = Instant::now() + self.limits.drain_timeout;
        // A writer ends when its queue does.
        for queue in &mut self.queues {
            queue.orders = mpsc::unbounded_channel().0;
        }
        loop {
            match tokio::time::timeout_at(deadline, self.reports.recv()).await {
                // None of these is read any more.
                Ok(Some((_, Report::Taken(_) | Report::Stalled { .. }))) => {}
                Ok(Some((writer, report))) => self.hear(writer, report).await?,
                // All writers have ended.
                Ok(None) => break,
                Err(_) => {
                    self.tell().await;
                    return Ok(Ended::DrainTimedOut);
                }
            }
        }
        while let Some(ended) = self.writers.join_next().await {
            ended.map_err(|error| ended_early(Err(error))).flatten()?;
        }
        self.tell().await;
        Ok(Ended::Drained)
    }
}

/// A number of things, as counters have it.
fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// What a writer that ended before it was asked to means for all.
fn ended_early(ended: std::result::Result<Result<()>, JoinError>) -> Error {
    let why = match ended {
        Ok(Err(error)) => return error,
        Ok(Ok(())) => "without a word".to_owned(),
        Err(error) => format!("by a panic ({error})"),
    };
    let message = format!(
        "a writer of the sink has ended {why}, which is a defect in Tailrace: report it; what was not written is read again"
    );
    Error::transient("writer_gone", message)
}

#[cfg(test)]
mod tests;
