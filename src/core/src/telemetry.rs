//! State, progress and numbers of connectors: the one place where metric names are written.

mod away;
pub mod histogram;
pub mod history;
pub mod lag;
pub mod metrics;
mod retention;
mod tables;
mod tail;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use self::histogram::Histograms;
use self::history::{History, Ring, Sample};
use self::lag::{LagMeasure, Moment, Reached};
use self::retention::RetentionWindow;
use crate::dead_letter::LetterSummary;
use crate::trace::Tracer;

pub use self::away::Away;
pub use self::retention::LogRetention;
pub use self::tables::{DelayWindow, PartitionProgress, PublishedTopic, TableGapSafety, TableProgress};
pub use self::tail::{Tail, TailedChange, TailedRecord};

/// Where a connector is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "code")]
pub enum Life {
    /// Connecting, checking, preparing.
    Starting,
    /// Carrying the rows that existed before the log began.
    Snapshotting,
    /// Carrying changes as they come.
    Streaming,
    /// Retrying after a transient error; nothing moves.
    Degraded(String),
    /// Stopped by request, ready to resume.
    Paused,
    /// Needs a person; the code names the error.
    Halted(String),
    /// Ended cleanly.
    Stopped,
}

/// Everything that is known of a connector from outside; shared by its pipeline, its source and the HTTP endpoint.
#[derive(Debug)]
pub struct Telemetry {
    /// The connector's name, the value of the metric label.
    pub connector: String,
    /// Counters and gauges.
    pub numbers: Numbers,
    /// Where single changes are shown.
    pub tail: Tail,
    /// What is measured in buckets.
    pub histograms: Histograms,
    /// What its lag in time is counted from.
    pub reached: Reached,
    /// Where its spans go.
    pub tracer: Tracer,
    words: Mutex<Words>,
}

/// How far a connector is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Log that is not confirmed, bytes; `None` where unknown.
    pub bytes: Option<i64>,
    /// Age of the oldest change that is not durable at the other side, milliseconds; 0 where it is caught up, `None` where unknown.
    pub ms: Option<i64>,
    /// Of a sink, records that its partitions have and that are not written; of a log that was read to its end, changes that are on their way;
    /// `None` where nobody has counted.
    pub events: Option<i64>,
}

/// Counters and gauges of one connector; names are in [`metrics`].
#[derive(Debug, Default)]
pub struct Numbers {
    /// Changes taken from the source.
    pub changes: AtomicU64,
    /// Records that became durable.
    pub records: AtomicU64,
    /// Bytes that became durable.
    pub bytes: AtomicU64,
    /// Changes left out by filters, or because they are no events of an outbox.
    pub filtered: AtomicU64,
    /// Events set aside as dead letters.
    pub dead_letters: AtomicU64,
    /// Dead letters that wait.
    pub dead_letters_waiting: AtomicU64,
    /// When the oldest of them was set aside, microseconds since 1970; 0 where none waits.
    pub dead_letters_oldest_us: AtomicI64,
    /// Changes of tables' definitions that the webhook took.
    pub webhook_delivered: AtomicU64,
    /// Times that the webhook did not take one and was asked again.
    pub webhook_retries: AtomicU64,
    /// Changes of tables' definitions that the webhook was not told of: given up, or more than may wait.
    pub webhook_failed: AtomicU64,
    /// Changes of tables' definitions that wait for the webhook.
    pub webhook_waiting: AtomicU64,
    /// Checkpoints saved.
    pub checkpoints: AtomicU64,
    /// Times the connector was started again after a transient error.
    pub retries: AtomicU64,
    /// Batches handed to the stream and not yet durable.
    pub batches_in_flight: AtomicU64,
    /// Records handed to the stream, or to the writers of a target, and not yet durable.
    pub records_in_flight: AtomicU64,
    /// Bytes handed to the stream, or to the writers of a target, and not yet durable.
    pub bytes_in_flight: AtomicU64,
    /// Nothing more is read above so many bytes in flight; 0 before the connector runs.
    pub bytes_in_flight_limit: AtomicU64,
    /// Changes that were read and wait until everything before them is saved, because one of them becomes a dead letter.
    pub changes_held: AtomicU64,
    /// Commit time of the newest change that is durable, microseconds since 1970; 0 before the first.
    pub durable_commit_us: AtomicI64,
    /// When the last event became durable, microseconds since 1970; 0 before the first.
    pub durable_at_us: AtomicI64,
    /// When the source last said anything, heartbeats included, microseconds since 1970.
    pub source_seen_us: AtomicI64,
    /// Everything that was visible at this time in polled tables was handed out, microseconds since 1970; 0 before the first such time.
    pub caught_up_us: AtomicI64,
    /// Log that the server sent or announced and that is not confirmed yet, bytes; -1 where unknown.
    pub lag_bytes: AtomicI64,
}

/// A connector went from one state into another.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The connector's name.
    pub connector: String,
    /// The state that it is in now.
    pub life: Life,
    /// Why, in a sentence.
    pub reason: String,
    /// When, microseconds since 1970.
    pub at_us: i64,
}

/// Somebody who is told of every change of a connector's state.
pub trait Follower: std::fmt::Debug + Send {
    /// Takes it without waiting; false where nobody listens any more.
    fn tell(&self, transition: Transition) -> bool;
}

#[derive(Debug)]
struct Words {
    life: Life,
    reason: String,
    /// Why it is not to read, and since when, where somebody said so.
    held: Option<(String, i64)>,
    followers: Vec<Box<dyn Follower>>,
    since_us: i64,
    position: String,
    tables: BTreeMap<String, TableProgress>,
    retention: Option<LogRetention>,
    retained: RetentionWindow,
    history: Ring,
    gap_safety: BTreeMap<String, TableGapSafety>,
    delay_window: Option<DelayWindow>,
    topics: BTreeMap<String, PublishedTopic>,
    partitions: BTreeMap<String, PartitionProgress>,
    dead_letters: LetterSummary,
    notices: BTreeMap<&'static str, String>,
    away: Option<Away>,
}

/// A connector's state at one moment, as `/status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Snapshot {
    /// The connector's name.
    pub connector: String,
    /// Where it is in its life.
    #[serde(flatten)]
    pub life: Life,
    /// Why, in a sentence.
    pub reason: String,
    /// Since when it is in this state, microseconds since 1970.
    pub since_us: i64,
    /// Last checkpointed position, in the connector's own form.
    pub position: String,
    /// Changes taken from the source since the start of the process.
    pub changes: u64,
    /// Records that became durable since the start of the process.
    pub records: u64,
    /// Bytes that became durable since the start of the process.
    pub bytes: u64,
    /// Changes left out since the start of the process, by filters or because they are no events of an outbox.
    pub filtered: u64,
    /// Times it was started again after a transient error.
    pub retries: u64,
    /// Batches handed to the stream and not yet durable.
    pub batches_in_flight: u64,
    /// Bytes handed to the stream, or to the writers of a target, and not yet durable.
    pub bytes_in_flight: u64,
    /// Everything that was visible at this time in polled tables was handed out, microseconds since 1970; `None` where nothing is polled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caught_up_us: Option<i64>,
    /// From commit to durable for the newest event, milliseconds; `None` before the first.
    pub latency_ms: Option<i64>,
    /// Log that is not confirmed yet, bytes; `None` where unknown.
    pub lag_bytes: Option<i64>,
    /// As [`Lag::ms`].
    pub lag_ms: Option<i64>,
    /// As [`Lag::events`].
    pub lag_events: Option<i64>,
    /// Snapshot progress by table.
    pub tables: BTreeMap<String, TableProgress>,
    /// What the log costs the server.
    pub retention: Option<LogRetention>,
    /// Whether rows can be skipped, by polled table.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gap_safety: BTreeMap<String, TableGapSafety>,
    /// The delay of polled rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_window: Option<DelayWindow>,
    /// The topics that events went to since the start of the process, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, PublishedTopic>,
    /// How far a sink is, by topic and partition.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, PartitionProgress>,
    /// Events that were set aside and wait for a person.
    pub dead_letters: LetterSummary,
    /// Standing warnings by code.
    pub notices: BTreeMap<&'static str, String>,
    /// For how long it was away before it went on; `None` where it was never carried before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
}

// === impl Life ===

impl Life {
    /// The state's name without its code.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Snapshotting => "snapshotting",
            Self::Streaming => "streaming",
            Self::Degraded(_) => "degraded",
            Self::Paused => "paused",
            Self::Halted(_) => "halted",
            Self::Stopped => "stopped",
        }
    }

    /// Events flow, or would if there were any.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Snapshotting | Self::Streaming)
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// A connector that is starting.
    pub fn new(connector: impl Into<String>) -> Self {
        let numbers = Numbers::default();
        numbers.lag_bytes.store(-1, Ordering::Relaxed);
        Self {
            connector: connector.into(),
            numbers,
            tail: Tail::default(),
            histograms: Histograms::default(),
            reached: Reached::default(),
            tracer: Tracer::default(),
            words: Mutex::new(Words {
                life: Life::Starting,
                reason: String::new(),
                held: None,
                followers: Vec::new(),
                since_us: now_us(),
                position: String::new(),
                tables: BTreeMap::new(),
                retention: None,
                retained: RetentionWindow::default(),
                history: Ring::default(),
                gap_safety: BTreeMap::new(),
                delay_window: None,
                topics: BTreeMap::new(),
                partitions: BTreeMap::new(),
                dead_letters: LetterSummary::default(),
                notices: BTreeMap::new(),
                away: None,
            }),
        }
    }

    /// The same, whose spans somebody wants.
    #[must_use]
    pub fn traced_by(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Words) -> T) -> T {
        // A panic while the lock was held leaves words that are still words.
        let mut words = self.words.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&mut words)
    }

    /// Enters a state, with the reason in a sentence. Logged once per change of state.
    pub fn enter(&self, life: Life, reason: impl Into<String>) {
        let reason = reason.into();
        if !life.is_ready() {
            self.reached.leave(self.numbers.source_seen_us.load(Ordering::Relaxed));
        }
        let changed = self.with(|words| {
            let changed = words.life != life;
            if changed {
                words.since_us = now_us();
                words.tell(&self.connector, &life, &reason);
            }
            words.life = life.clone();
            words.reason.clone_from(&reason);
            changed
        });
        if !changed {
            return;
        }
        let connector = self.connector.as_str();
        match &life {
            Life::Halted(code) => tracing::error!(connector, state = "halted", code, "{reason}"),
            Life::Degraded(code) => tracing::warn!(connector, state = "degraded", code, "{reason}"),
            other => tracing::info!(connector, state = other.name(), "{reason}"),
        }
    }

    /// Where the connector is in its life.
    pub fn life(&self) -> Life {
        self.with(|words| words.shown().0)
    }

    /// Where the connector is in its life, and why, in a sentence.
    pub fn life_and_reason(&self) -> (Life, String) {
        self.with(|words| {
            let (life, reason, _) = words.shown();
            (life, reason)
        })
    }

    /// Both sides are open, also where it is held.
    pub fn is_connected(&self) -> bool {
        self.with(|words| words.life.is_ready())
    }

    /// Nothing is to be read, by somebody's word; `None` lets it go on. What is wrong with the connector is shown all the same.
    pub fn hold(&self, reason: Option<String>) {
        let connector = self.connector.as_str();
        match &reason {
            Some(reason) => tracing::info!(connector, state = "paused", "{reason}"),
            None => tracing::info!(connector, "no longer paused"),
        }
        self.with(|words| words.held = reason.map(|reason| (reason, now_us())));
    }

    /// Tells somebody of every change of state from now on.
    pub fn follow(&self, follower: impl Follower + 'static) {
        self.with(|words| words.followers.push(Box::new(follower)));
    }

    /// The position that was checkpointed last.
    pub fn set_position(&self, position: &str) {
        self.with(|words| position.clone_into(&mut words.position));
    }

    /// Changes what is known of one table of a snapshot.
    pub fn update_table(&self, table: &str, change: impl FnOnce(&mut TableProgress)) {
        self.with(|words| change(words.tables.entry(table.to_owned()).or_default()));
    }

    /// What the log costs the server. When it will be too much is reckoned from what was reported before.
    pub fn set_retention(&self, mut retention: LogRetention) {
        self.with(|words| {
            words.retained.note(now_us(), retention.retained_bytes);
            let until = |safe_bytes| words.retained.seconds_until(safe_bytes);
            retention.seconds_to_loss = retention.safe_bytes.and_then(until);
            words.retention = Some(retention);
        });
    }

    /// The source said something, if only that there is nothing.
    pub fn heard(&self) {
        self.numbers.source_seen_us.store(now_us(), Ordering::Relaxed);
    }

    /// A source, or the side of a sink that reads the stream, begins, for the first time or again.
    pub fn begin(&self, measure: LagMeasure) {
        let seen_us = self.numbers.source_seen_us.load(Ordering::Relaxed);
        self.reached.begin(measure, seen_us);
    }

    /// Whether everything that is there was handed out; cheap where that is as before.
    pub fn set_at_end(&self, at_end: bool) {
        self.reached.set_at_end(at_end, now_us);
    }

    /// How far it is behind now.
    pub fn lag(&self) -> Lag {
        self.with(|words| self.lag_of(words))
    }

    fn lag_of(&self, words: &Words) -> Lag {
        let numbers = &self.numbers;
        let bytes = numbers.lag_bytes.load(Ordering::Relaxed);
        let moment = Moment {
            now_us: now_us(),
            seen_us: numbers.source_seen_us.load(Ordering::Relaxed),
            durable_commit_us: numbers.durable_commit_us.load(Ordering::Relaxed),
        };
        let in_flight = || i64::try_from(numbers.records_in_flight.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let events = match self.reached.measure() {
            // A partition whose end is not known yet makes the sum unknown.
            Some(LagMeasure::Stream) if words.partitions.is_empty() => None,
            Some(LagMeasure::Stream) => words.partitions.values().map(|partition| partition.lag_records).sum(),
            Some(LagMeasure::Log) if self.reached.is_caught_up(moment) => Some(in_flight()),
            Some(LagMeasure::Log | LagMeasure::Polls) | None => None,
        };
        // A sink whose partitions are all somebody else's is not behind.
        let has_none = self.reached.measure() == Some(LagMeasure::Stream) && words.partitions.is_empty();
        let lag_us = self.reached.lag_us(moment).filter(|_| !has_none);
        Lag {
            bytes: (bytes >= 0).then_some(bytes),
            ms: lag_us.map(|lag_us| lag_us / 1000),
            events,
        }
    }

    /// Keeps what is known now for [`Telemetry::history`]; to be called every [`history::SAMPLE_INTERVAL`].
    pub fn sample(&self) {
        let numbers = &self.numbers;
        self.with(|words| {
            let lag = self.lag_of(words);
            words.history.push(Sample {
                at_us: now_us(),
                changes: numbers.changes.load(Ordering::Relaxed),
                records: numbers.records.load(Ordering::Relaxed),
                bytes: numbers.bytes.load(Ordering::Relaxed),
                lag_bytes: lag.bytes,
                lag_ms: lag.ms,
                lag_events: lag.events,
                retained_bytes: words.retention.as_ref().map(|retention| retention.retained_bytes),
            });
        });
    }

    /// The last hour.
    pub fn history(&self) -> History {
        self.with(|words| words.history.history())
    }

    /// Whether rows of a polled table can be skipped.
    pub fn set_gap_safety(&self, table: &str, gap_safety: &'static str, reason: &str) {
        let known = TableGapSafety {
            gap_safety,
            reason: reason.to_owned(),
        };
        self.with(|words| words.gap_safety.insert(table.to_owned(), known));
    }

    /// For how long the oldest transaction is open, beside the delay that is to cover it.
    pub fn set_delay_window(&self, window: DelayWindow) {
        self.with(|words| words.delay_window = Some(window));
    }

    /// What readers of a topic should know of it.
    pub fn set_topic(&self, name: &str, topic: PublishedTopic) {
        self.with(|words| words.topics.insert(name.to_owned(), topic));
    }

    /// Nothing goes to a topic any more that a table would have gone to: it goes to another.
    pub fn supersede_topic(&self, name: &str, by: &str) {
        self.with(|words| words.topics.entry(name.to_owned()).or_default().superseded_by = Some(by.to_owned()));
    }

    /// How far a sink is in a partition.
    pub fn set_partition(&self, partition: &str, progress: PartitionProgress) {
        self.with(|words| words.partitions.insert(partition.to_owned(), progress));
    }

    /// A partition is somebody else's.
    pub fn forget_partition(&self, partition: &str) {
        self.with(|words| words.partitions.remove(partition));
    }

    /// How many dead letters wait, and why; a standing warning where there are any.
    pub fn set_dead_letters(&self, summary: &LetterSummary) {
        self.with(|words| words.dead_letters.clone_from(summary));
        let numbers = &self.numbers;
        numbers.dead_letters_waiting.store(summary.waiting, Ordering::Relaxed);
        numbers
            .dead_letters_oldest_us
            .store(summary.oldest_us.unwrap_or_default(), Ordering::Relaxed);
        let notice = (summary.waiting > 0).then(|| {
            format!(
                "{} events wait as dead letters; the newest: {}. `tailrace dlq list` shows them, `replay` sends them again, `drop` \
                 gives them up",
                summary.waiting,
                summary.newest_reason.as_deref().unwrap_or_default()
            )
        });
        self.set_notice("dead_letters", notice);
    }

    /// Puts up a standing warning, or takes it down with `None`. Logged when it changes.
    pub fn set_notice(&self, code: &'static str, notice: Option<String>) {
        let before = self.with(|words| match &notice {
            Some(text) => words.notices.insert(code, text.clone()),
            None => words.notices.remove(code),
        });
        match notice {
            Some(text) if before.is_none() => {
                tracing::warn!(connector = self.connector, code, "{text}");
            }
            None if before.is_some() => tracing::info!(connector = self.connector, code, "no longer so"),
            Some(_) | None => {}
        }
    }

    /// Everything that is known now.
    pub fn snapshot(&self) -> Snapshot {
        let numbers = &self.numbers;
        let durable_at_us = numbers.durable_at_us.load(Ordering::Relaxed);
        let durable_commit_us = numbers.durable_commit_us.load(Ordering::Relaxed);
        // Before what is in flight: a batch is in flight before the poll after it says that there is nothing more.
        let caught_up_us = numbers.caught_up_us.load(Ordering::Acquire);
        self.with(|words| {
            let lag = self.lag_of(words);
            let (life, reason, since_us) = words.shown();
            Snapshot {
                connector: self.connector.clone(),
                life,
                reason,
                since_us,
                position: words.position.clone(),
                changes: numbers.changes.load(Ordering::Relaxed),
                records: numbers.records.load(Ordering::Relaxed),
                bytes: numbers.bytes.load(Ordering::Relaxed),
                filtered: numbers.filtered.load(Ordering::Relaxed),
                retries: numbers.retries.load(Ordering::Relaxed),
                batches_in_flight: numbers.batches_in_flight.load(Ordering::Acquire),
                bytes_in_flight: numbers.bytes_in_flight.load(Ordering::Relaxed),
                caught_up_us: (caught_up_us > 0).then_some(caught_up_us),
                latency_ms: (durable_at_us > 0).then(|| (durable_at_us - durable_commit_us) / 1000),
                lag_bytes: lag.bytes,
                lag_ms: lag.ms,
                lag_events: lag.events,
                tables: words.tables.clone(),
                retention: words.retention.clone(),
                gap_safety: words.gap_safety.clone(),
                delay_window: words.delay_window.clone(),
                topics: words.topics.clone(),
                partitions: words.partitions.clone(),
                dead_letters: words.dead_letters.clone(),
                notices: words.notices.clone(),
                away: words.away.clone(),
            }
        })
    }
}

// === impl Words ===

impl Words {
    /// State, reason and since when, as others see them: a connector that is held is paused where nothing is wrong with it.
    fn shown(&self) -> (Life, String, i64) {
        match (&self.held, &self.life) {
            (Some((reason, since_us)), Life::Starting | Life::Snapshotting | Life::Streaming | Life::Paused) => {
                (Life::Paused, reason.clone(), *since_us)
            }
            _ => (self.life.clone(), self.reason.clone(), self.since_us),
        }
    }

    fn tell(&mut self, connector: &str, life: &Life, reason: &str) {
        let transition = Transition {
            connector: connector.to_owned(),
            life: life.clone(),
            reason: reason.to_owned(),
            at_us: now_us(),
        };
        self.followers.retain(|follower| follower.tell(transition.clone()));
    }
}

/// Now, microseconds since 1970: for people and metadata, never for timeouts or order.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
