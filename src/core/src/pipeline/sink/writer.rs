//! One writer of a sink: a session of the target, and what it does with the records in its queue.
//!
//! Whatever a new session may cure is cured here: the records stay in hand, the session is thrown away, a new one is opened and takes
//! the partitions again, and what the target then says was written is left out. That also decides what became of a commit whose
//! answer was lost. There is no other way back from an error, so that this one is well trodden.
//!
//! A record that cannot be written fails with all that are in its transaction. The records are halved until it is alone.

mod unwritten;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::unwritten::Stall;
use super::stalled::{Verdict, WaitsFor};
use super::{SinkLimits, WriterParts};
use crate::backoff::Backoff;
use crate::batch::{ChangeBatch, Refusal};
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::ports::sink::{Advance, EventBatch, Sink, SinkConnector, SinkContext, Taken};
use crate::position::{Position, Progress};
use crate::record_batch::{RecordBatch, RecordMark, RecordView, TopicPartition};
use crate::telemetry::now_us;
use crate::transform::TargetsBefore;

/// What a writer is given to do, in this order.
pub(super) enum Order {
    /// Ask the target where these are.
    Take(Vec<TopicPartition>),
    /// A partition that the target knew nothing of begins at this offset.
    Begin(TopicPartition, i64),
    /// Write these.
    Records(RecordBatch),
    /// A partition that stalled comes again from where it did.
    Retry(TopicPartition, Verdict),
    /// These are somebody else's.
    Forget(Vec<TopicPartition>),
}

/// What a writer has to say.
pub(super) enum Report {
    /// Where the target says partitions are.
    Taken(Vec<Taken>),
    /// So many records of so many bytes are written, or need not be; how far the partitions are in the target.
    Written {
        bytes: usize,
        records: usize,
        offsets: Vec<(TopicPartition, i64)>,
    },
    /// The row at this offset cannot be written now, and may be later. Nothing more of the partition is written until it comes again.
    Stalled {
        partition: TopicPartition,
        offset: i64,
        waits_for: WaitsFor,
        error: Error,
    },
    /// Nothing of these is in hand any more.
    Forgotten(Vec<TopicPartition>),
    /// It tries again and again, because of this.
    Broken(Error),
    /// It works again.
    Mended,
}

/// The partitions that are the process's own at this moment.
#[derive(Clone, Default)]
pub(super) struct Ours(Arc<Mutex<BTreeSet<TopicPartition>>>);

/// How far a partition is in the target.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// The first offset that is not written; `None` where the target has nothing of it.
    next_offset: Option<i64>,
    /// What tells the record before it from others.
    last_record: Option<RecordMark>,
}

/// A session and its queue.
pub(super) struct Writer {
    context: SinkContext,
    parts: WriterParts,
    target: Arc<dyn SinkConnector>,
    ours: Ours,
    limits: SinkLimits,
    sink: Option<Box<dyn Sink>>,
    known: BTreeMap<TopicPartition, Known>,
    stalls: BTreeMap<TopicPartition, Stall>,
    backoff: Backoff,
    /// Attempts that failed since the last that did not.
    failures: usize,
}

type Reports = mpsc::UnboundedSender<(usize, Report)>;

// === impl Ours ===

impl Ours {
    fn with<T>(&self, look: impl FnOnce(&mut BTreeSet<TopicPartition>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ours from now on.
    pub(super) fn add(&self, partition: &TopicPartition) {
        self.with(|ours| ours.insert(partition.clone()));
    }

    /// Not ours from now on.
    pub(super) fn remove(&self, partition: &TopicPartition) {
        self.with(|ours| ours.remove(partition));
    }

    fn has(&self, partition: &TopicPartition) -> bool {
        self.with(|ours| ours.contains(partition))
    }
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        context: SinkContext,
        parts: WriterParts,
        target: Arc<dyn SinkConnector>,
        ours: Ours,
        limits: SinkLimits,
    ) -> Self {
        Self {
            context,
            parts,
            target,
            ours,
            limits,
            sink: None,
            known: BTreeMap::new(),
            stalls: BTreeMap::new(),
            backoff: Backoff::default(),
            failures: 0,
        }
    }

    /// Does what it is given to do, until its queue is closed and empty.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>, reports: &Reports) -> Result<()> {
        let mut held = None;
        loop {
            let order = match held.take() {
                Some(order) => order,
                None => tokio::select! {
                    biased;
                    // The letters that were asked for go before what comes behind them.
                    () = self.parts.letters.asked(), if self.replays() => {
                        self.replay(reports).await?;
                        continue;
                    }
                    order = inbox.recv() => match order {
                        Some(order) => order,
                        None => return Ok(()),
                    },
                },
            };
            match order {
                Order::Take(partitions) => {
                    let taken = self.take(&partitions, reports).await?;
                    self.report(reports, Report::Taken(taken));
                }
                Order::Begin(partition, offset) => self.begin(partition, offset, reports).await?,
                Order::Records(records) => {
                    let gathered = gather(records, &mut inbox, self.limits).await;
                    held = gathered.1;
                    self.write(&gathered.0, reports).await?;
                }
                Order::Retry(partition, verdict) => {
                    if let Some(stall) = self.stalls.get_mut(&partition) {
                        stall.verdict = Some(verdict);
                    }
                }
                Order::Forget(partitions) => {
                    for partition in &partitions {
                        self.known.remove(partition);
                        self.stalls.remove(partition);
                    }
                    self.report(reports, Report::Forgotten(partitions));
                }
            }
        }
    }

    /// One of the writers sends letters again.
    fn replays(&self) -> bool {
        self.context.writer == 0
    }

    fn report(&self, reports: &Reports, report: Report) {
        // Nobody hears it where the pipeline has ended; then the queue is closed too.
        drop(reports.send((self.context.writer, report)));
    }

    // --- until it is done

    async fn take(&mut self, partitions: &[TopicPartition], reports: &Reports) -> Result<Vec<Taken>> {
        loop {
            match self.try_take(partitions).await {
                Err(error) if error.kind() == Kind::Transient => self.wait_out(error, reports).await,
                done => return self.done(done, reports),
            }
        }
    }

    async fn begin(&mut self, partition: TopicPartition, offset: i64, reports: &Reports) -> Result<()> {
        let advance = Advance {
            partition,
            next_offset: offset,
            last_record: None,
        };
        loop {
            match self.try_begin(&advance).await {
                Err(error) if error.kind() == Kind::Transient => self.wait_out(error, reports).await,
                done => return self.done(done, reports),
            }
        }
    }

    async fn write(&mut self, records: &RecordBatch, reports: &Reports) -> Result<()> {
        loop {
            match self.try_write(records).await {
                Err(error) if error.kind() == Kind::Transient => self.wait_out(error, reports).await,
                Ok(Some(stalled)) => self.report(reports, stalled),
                done => {
                    self.done(done, reports)?;
                    break;
                }
            }
        }
        let reached = |partition: &TopicPartition| {
            let next_offset = self.known.get(partition)?.next_offset?;
            Some((partition.clone(), next_offset))
        };
        let written = Report::Written {
            bytes: records.size_bytes(),
            records: records.len(),
            offsets: records.partitions().iter().filter_map(reached).collect(),
        };
        self.report(reports, written);
        Ok(())
    }

    async fn replay(&mut self, reports: &Reports) -> Result<()> {
        loop {
            match self.try_replay().await {
                Err(error) if error.kind() == Kind::Transient => self.wait_out(error, reports).await,
                done => return self.done(done, reports),
            }
        }
    }

    fn done<T>(&mut self, done: Result<T>, reports: &Reports) -> Result<T> {
        if done.is_ok() && self.failures > 0 {
            self.backoff.reset();
            if self.failures > 1 {
                self.report(reports, Report::Mended);
            }
            self.failures = 0;
        }
        done.map_err(rejoins)
    }

    /// The session is thrown away. What one new session cures (a deadlock, a server that was restarted) is no outage yet.
    async fn wait_out(&mut self, error: Error, reports: &Reports) {
        self.sink = None;
        self.failures += 1;
        self.context.telemetry.numbers.retries.fetch_add(1, Ordering::Relaxed);
        let connector = self.context.connector.as_str();
        if self.failures == 1 {
            tracing::info!(connector, code = error.code(), "writing once more: {}", error.report());
            return;
        }
        self.report(reports, Report::Broken(error));
        tokio::time::sleep(self.backoff.next_wait()).await;
    }

    // --- once

    /// The session; a new one takes what is ours first.
    async fn session(&mut self) -> Result<&mut Box<dyn Sink>> {
        let sink = match self.sink.take() {
            Some(sink) => sink,
            None => {
                let mut sink = self.target.open(self.context.clone()).await?;
                // Somebody may have changed its tables since.
                self.parts.decoder.forget_targets();
                let ours: Vec<_> = self
                    .known
                    .keys()
                    .filter(|partition| self.ours.has(partition))
                    .cloned()
                    .collect();
                if !ours.is_empty() {
                    for taken in sink.take(&ours).await? {
                        self.compare(&taken)?;
                        self.settle(&taken);
                    }
                }
                sink
            }
        };
        Ok(self.sink.insert(sink))
    }

    /// A target that went back (a replica that had not everything was promoted, a backup was restored) must be told again what it
    /// lost, which is in the stream and not in hand.
    fn compare(&self, taken: &Taken) -> Result<()> {
        let known = self.known.get(&taken.partition).and_then(|known| known.next_offset);
        if known > taken.next_offset {
            let partition = &taken.partition;
            let message = format!(
                "the target is at offset {:?} of {partition} and was at {known:?} before: it went back, as a replica that is promoted or \
                 a backup that is restored; the stream is read again from there",
                taken.next_offset
            );
            return Err(Error::fenced(TARGET_WENT_BACK, message));
        }
        Ok(())
    }

    fn settle(&mut self, taken: &Taken) {
        let known = Known {
            next_offset: taken.next_offset,
            last_record: taken.last_record,
        };
        self.known.insert(taken.partition.clone(), known);
    }

    async fn try_take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Taken>> {
        let taken = self.session().await?.take(partitions).await?;
        taken.iter().for_each(|taken| self.settle(taken));
        Ok(taken)
    }

    async fn try_begin(&mut self, advance: &Advance) -> Result<()> {
        let sink = self.session().await?;
        sink.write(&nothing_but(vec![advance.clone()])).await?;
        self.advance(std::slice::from_ref(advance));
        Ok(())
    }

    /// Writes what is not written yet. Where a partition stalls, it says so and leaves the rest to be written without it.
    async fn try_write(&mut self, records: &RecordBatch) -> Result<Option<Report>> {
        self.session().await?;
        self.look_back(records).await?;
        let records = self.unwritten(records)?;
        if records.is_empty() {
            return Ok(None);
        }
        self.prepare(&records).await?;
        let mut ranges = self.ranges(&records);
        while let Some(range) = ranges.pop() {
            if let Some(record) = records.get(range.start).filter(|record| self.is_moot(*record)) {
                self.context.telemetry.numbers.changes.fetch_add(1, Ordering::Relaxed);
                self.pass(record).await?;
                continue;
            }
            match self.write_range(&records, range.clone()).await {
                Err(error) if error.kind() == Kind::Poison => {
                    failpoint!(try SinkBisect);
                    if range.len() > 1 {
                        let middle = range.start + range.len() / 2;
                        ranges.extend([middle..range.end, range.start..middle]);
                    } else if let Some(record) = records.get(range.start) {
                        if let Some(waits_for) = self.waits_for(record, &error) {
                            return Ok(Some(self.stall(record, waits_for, error)));
                        }
                        self.set_aside(record, error).await?;
                    }
                }
                done => done?,
            }
        }
        Ok(None)
    }

    async fn prepare(&mut self, records: &RecordBatch) -> Result<()> {
        let Some(sink) = &mut self.sink else {
            return Err(no_session());
        };
        let mut targets = TargetsBefore {
            transform: &self.parts.transform,
            targets: &mut **sink,
        };
        self.parts.decoder.prepare(records, &mut targets).await
    }

    /// One transaction of the target.
    async fn write_range(&mut self, records: &RecordBatch, range: Range<usize>) -> Result<()> {
        let held = self.parts.letters.hold().await?;
        let (first, behind) = (range.start, range.end);
        let bytes = records.size_bytes_of(range.clone());
        let mut batch = self.parts.decoder.decode(records, range)?;
        let mut refused = self.parts.letters.behind(records, first, &mut batch);
        refused.append(&mut batch.refused);
        self.parts
            .letters
            .set_aside(records, first, refused, &self.context.telemetry)
            .await?;
        let filtered = self.transform(&mut batch.changes)?;
        let sink = self.sink.as_mut().ok_or_else(no_session)?;
        let (began, began_us) = (std::time::Instant::now(), now_us());
        sink.write(&batch).await?;
        let telemetry = &self.context.telemetry;
        telemetry.histograms.sink_transaction.observe_time(began.elapsed());
        let written = (first..behind).filter_map(|index| records.get(index));
        telemetry.tracer.written(&self.context.connector, began_us, written);
        drop(held);
        self.count(&batch, bytes, filtered);
        self.advance(&batch.advances);
        Ok(())
    }

    /// One record, alone, cannot be written.
    async fn set_aside(&mut self, record: RecordView<'_>, error: Error) -> Result<()> {
        let refusal = Refusal {
            code: error.code(),
            reason: error.report(),
        };
        self.parts
            .letters
            .set_aside_one(record, &refusal, &self.context.telemetry)
            .await?;
        self.pass(record).await
    }

    /// Moves the partition behind a record that is not written.
    async fn pass(&mut self, record: RecordView<'_>) -> Result<()> {
        let advance = Advance {
            partition: record.partition().clone(),
            next_offset: record.offset() + 1,
            last_record: Some(record.mark()),
        };
        self.session().await?.write(&nothing_but(vec![advance.clone()])).await?;
        self.advance(&[advance]);
        Ok(())
    }

    async fn try_replay(&mut self) -> Result<()> {
        self.session().await?;
        while let Some((held, letter, records)) = self.parts.letters.next_requested(&self.context.telemetry).await? {
            let written = match records {
                Ok(records) => self.write_again(&records).await,
                Err(error) => Err(error),
            };
            self.parts
                .letters
                .settle(held, letter, written, &self.context.telemetry)
                .await?;
        }
        Ok(())
    }

    /// A record of a letter, whose offset the target has passed already.
    async fn write_again(&mut self, records: &RecordBatch) -> Result<()> {
        self.prepare(records).await?;
        let mut batch = self.parts.decoder.decode(records, 0..records.len())?;
        if let Some(refused) = batch.refused.pop() {
            return Err(Error::poison(refused.refusal.code, refused.refusal.reason));
        }
        batch.advances.clear();
        self.transform(&mut batch.changes)?;
        self.sink.as_mut().ok_or_else(no_session)?.write(&batch).await
    }

    /// How many changes the rules leave out; a change that they refuse is poison.
    fn transform(&mut self, changes: &mut ChangeBatch) -> Result<u64> {
        let filtered = self.parts.transform.apply(changes)?;
        changes.check_carried()?;
        Ok(filtered)
    }

    fn advance(&mut self, advances: &[Advance]) {
        for advance in advances {
            let known = Known {
                next_offset: Some(advance.next_offset),
                last_record: advance.last_record,
            };
            self.known.insert(advance.partition.clone(), known);
        }
    }

    /// Once per transaction of the target, which is up to thousands of records.
    fn count(&self, batch: &EventBatch, bytes: usize, filtered: u64) {
        let telemetry = &self.context.telemetry;
        let (numbers, histograms) = (&telemetry.numbers, &telemetry.histograms);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let written = u64::try_from(batch.changes.changes.len()).unwrap_or(u64::MAX);
        numbers
            .changes
            .fetch_add(written + filtered + batch.passed_over, Ordering::Relaxed);
        numbers.filtered.fetch_add(filtered, Ordering::Relaxed);
        numbers.records.fetch_add(written, Ordering::Relaxed);
        numbers.bytes.fetch_add(bytes, Ordering::Relaxed);
        numbers.checkpoints.fetch_add(1, Ordering::Relaxed);
        let mut views = batch.changes.views();
        if let Some(first) = views.next() {
            let newest_us = views.last().unwrap_or(first).updated_at_us();
            let durable_at_us = now_us();
            numbers.durable_commit_us.store(newest_us, Ordering::Relaxed);
            numbers.durable_at_us.store(durable_at_us, Ordering::Relaxed);
            let oldest_us = first.updated_at_us();
            if oldest_us > 0 {
                let waited_us = u64::try_from(durable_at_us - oldest_us).unwrap_or_default();
                histograms.commit_to_durable.observe(waited_us, written);
            }
            histograms.batch_records.observe(written, 1);
            histograms.batch_bytes.observe(bytes, 1);
        }
    }
}

/// The code of a target that has less than it had.
const TARGET_WENT_BACK: &str = "target_went_back";

/// More of the same, up to the limits or the time; the order behind it, where one came.
///
/// What is too much for one transaction is left for the next: a share that is cut would cost two transactions, one of them small.
async fn gather(
    mut records: RecordBatch,
    inbox: &mut mpsc::UnboundedReceiver<Order>,
    limits: SinkLimits,
) -> (RecordBatch, Option<Order>) {
    let deadline = Instant::now() + limits.batch_wait;
    while records.len() < limits.batch_rows && records.size_bytes() < limits.batch_bytes {
        match tokio::time::timeout_at(deadline, inbox.recv()).await {
            Ok(Some(Order::Records(more))) => {
                let taken = more.len().min(limits.batch_rows - records.len());
                records.extend_from(&more, 0..taken);
                if taken < more.len() {
                    let mut rest = RecordBatch::default();
                    rest.extend_from(&more, taken..more.len());
                    return (records, Some(Order::Records(rest)));
                }
            }
            Ok(Some(other)) => return (records, Some(other)),
            Ok(None) | Err(_) => break,
        }
    }
    (records, None)
}

/// A batch that only says how far partitions are.
fn nothing_but(advances: Vec<Advance>) -> EventBatch {
    EventBatch {
        changes: ChangeBatch::new("".into(), Progress::at(Position::new(""))),
        origins: Vec::new(),
        partitions: Vec::new(),
        advances,
        refused: Vec::new(),
        passed_over: 0,
    }
}

/// Somebody else has a partition, or the target went back: the group is asked anew what is ours, and the target where it is.
fn rejoins(error: Error) -> Error {
    match error.kind() {
        Kind::Fenced => {
            let message = format!("{error}; joining the group again");
            Error::transient(error.code(), message)
        }
        Kind::Transient | Kind::Definite | Kind::Poison => error,
    }
}

fn no_session() -> Error {
    Error::transient(
        "sink_unopened",
        "the session of the target is gone; a new one is opened",
    )
}
