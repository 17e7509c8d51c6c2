//! The producer's thread: measures batches, hands their records to librdkafka, and looks after what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use tailrace_core::event::{EncodedBatch, EncodedRecord};
use tailrace_core::ports::Receipt;

use super::{Delivery, DeliveryContext, open};
use crate::client::Complaint;
use crate::error::{Class, Failure, code_of};
use crate::ledger::LostRecord;
use crate::topics::Shared;
use crate::watch::PartitionWatch;
use crate::watchdog::{BUSY_WAIT, Limits, Watchdog};

/// With nothing in flight the thread wakes only for librdkafka's log lines.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// How many full batches librdkafka may hold without acknowledgement: one under way, one full behind it, and room to
/// gather the next. Measured on one partition, 0.95 KB per record: 4 carry as much per second as 32 and cost 5.8
/// instead of 8.1 CPU-seconds per million records; with 2.5 a quarter of the speed is lost.
const WINDOW_BATCHES: usize = 4;

/// How long to sleep until there may be room in the window. A request takes some milliseconds. Waiting in librdkafka's
/// `poll` would not do: below one millisecond it does not wait at all.
const WINDOW_WAIT: Duration = Duration::from_micros(250);

/// Records sent between two looks at the delivery reports.
const SENDS_PER_POLL: usize = 1024;

/// Before the first record and after the last there is no timestamp: librdkafka takes 0 for "now", and Kafka has no
/// times before 1970. The header `updated_at` is exact where this is not.
const EARLIEST_TIMESTAMP_MS: i64 = 1;

/// What the producer's thread works with.
pub(super) struct Worker {
    shared: Arc<Shared>,
    native: ClientConfig,
    client: BaseProducer<DeliveryContext>,
    batch_bytes: usize,
    deliveries: mpsc::Receiver<Delivery>,
    stopping: Arc<AtomicBool>,
    failed: Option<Failure>,
    watchdog: Watchdog,
    partitions: PartitionWatch,
}

/// What the thread does next.
enum Next {
    Deliver(Delivery),
    Serve,
    End,
}

/// What one batch weighs, and whether it may be sent.
struct Measured {
    receipt: Receipt,
    oversize: Option<Oversize>,
    smallest_limit: Option<usize>,
}

struct Oversize {
    topic: Arc<str>,
    bytes: usize,
    limit: usize,
}

// === impl Worker ===

impl Worker {
    /// With a client that has met its cluster, the settings that it was opened with, and the bytes of its batches.
    pub(super) fn new(
        shared: Arc<Shared>,
        (client, native, batch_bytes): (BaseProducer<DeliveryContext>, ClientConfig, usize),
        (deliveries, stopping): (mpsc::Receiver<Delivery>, Arc<AtomicBool>),
        limits: Limits,
    ) -> Self {
        Self {
            shared,
            native,
            client,
            batch_bytes,
            deliveries,
            stopping,
            failed: None,
            watchdog: Watchdog::new(limits),
            partitions: PartitionWatch::new(),
        }
    }

    /// Until the producer is dropped.
    pub(super) fn run(mut self) {
        loop {
            match self.next() {
                Next::Deliver(delivery) => self.take(delivery),
                Next::Serve => {}
                Next::End => break,
            }
            self.serve();
        }
        // What is queued must not go out any more; what is on the wire is "outcome unknown".
        self.client.purge(PurgeConfig::default().queue().inflight());
    }

    fn next(&self) -> Next {
        if self.stopping.load(Ordering::Acquire) {
            return Next::End;
        }
        let wait = if self.in_flight() == 0 {
            IDLE_WAIT
        } else {
            self.watchdog.patience()
        };
        match self.deliveries.recv_timeout(wait) {
            Ok(delivery) => Next::Deliver(delivery),
            Err(RecvTimeoutError::Timeout) => Next::Serve,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    fn take(&mut self, Delivery { batch, answer }: Delivery) {
        let measured = self.measure(&batch);
        self.partitions.add(&batch.topics);
        self.fit_batches(measured.smallest_limit);
        if self.in_flight() == 0 {
            self.watchdog.start();
        }
        self.await_window(measured.receipt.bytes);
        let sequence = self.client.context().ledger().enter(measured.receipt, answer);
        if let Some(failure) = self.failed.clone() {
            self.client.context().ledger().refuse(sequence, failure);
            return;
        }
        let sent = match measured.oversize {
            Some(oversize) => Err(self.too_large(&oversize)),
            None => self.send(&batch, sequence),
        };
        if let Err(failure) = sent {
            // Everything before this record may still arrive; nothing after it is sent.
            self.client.context().ledger().refuse(sequence, failure.clone());
            self.failed.get_or_insert(failure);
        }
    }

    /// Handles the delivery reports and complaints that are there, and what follows from them.
    fn serve(&mut self) {
        loop {
            let before = self.client.context().ledger().acknowledged();
            self.client.poll(Duration::ZERO);
            if self.client.context().ledger().acknowledged() == before {
                break;
            }
        }
        if let Some(failure) = self.failure() {
            self.fail(failure);
        }
    }

    /// Before a batch: until it fits into the window, or has it to itself.
    fn await_window(&mut self, bytes: usize) {
        let window = WINDOW_BATCHES * self.batch_bytes;
        while self.failed.is_none() && !self.stopping.load(Ordering::Acquire) {
            let open = self.client.context().ledger().open_bytes();
            if open == 0 || open + bytes <= window {
                return;
            }
            std::thread::sleep(WINDOW_WAIT);
            self.serve();
        }
    }

    /// In the middle of a batch: librdkafka must get rid of something first.
    fn wait(&mut self) {
        std::thread::sleep(BUSY_WAIT);
        self.serve();
    }

    fn in_flight(&self) -> usize {
        self.client.context().ledger().open_batches()
    }

    /// Whether sending must stop: a record was lost, nothing moves any more, or the producer is being dropped.
    fn failure(&mut self) -> Option<Failure> {
        if self.failed.is_some() && self.in_flight() == 0 {
            return None;
        }
        if let Some(lost) = self.client.context().ledger().lost().cloned() {
            return Some(self.loss(&lost));
        }
        let (in_flight, acknowledged) = {
            let ledger = self.client.context().ledger();
            (ledger.open_batches(), ledger.acknowledged())
        };
        if self.watchdog.alive(in_flight, acknowledged) {
            self.client.context().complaints.forget();
            self.partitions.look(&self.shared, self.client.client(), acknowledged);
            return None;
        }
        let complaint = self.client.context().complaints.newest();
        if let Some((fatal, text)) = complaint.as_ref().and_then(|complaint| self.fatal(complaint)) {
            return Some(self.shared.cluster.failure(fatal, None, &text));
        }
        let class = complaint.as_ref().map(|complaint| Class::of(complaint.code));
        let said = complaint
            .as_ref()
            .map_or("nothing was said about why", |complaint| complaint.text.as_str());
        if self.watchdog.has_waited_too_long(class, said) {
            let code = complaint
                .as_ref()
                .map_or(RDKafkaErrorCode::RequestTimedOut, |complaint| complaint.code);
            let silence = self.watchdog.silence().as_secs();
            let detail = format!("no acknowledgement for {silence} s: {said}");
            return Some(self.shared.cluster.failure(code, None, &detail));
        }
        None
    }

    /// librdkafka has given up as a whole: what is queued will never be sent.
    fn fatal(&self, complaint: &Complaint) -> Option<(RDKafkaErrorCode, String)> {
        if complaint.code == RDKafkaErrorCode::Fatal {
            self.client.client().fatal_error()
        } else {
            None
        }
    }

    fn fail(&mut self, failure: Failure) {
        // First nothing more goes out, then it is told.
        self.client.purge(PurgeConfig::default().queue().inflight());
        let failure = self.failed.get_or_insert(failure).clone();
        self.client.context().ledger().fail(&failure);
    }

    fn loss(&self, lost: &LostRecord) -> Failure {
        let code = match lost.code {
            // The partition that the record waited for was removed with its topic, not the connection to a broker.
            RDKafkaErrorCode::BrokerDestroy => RDKafkaErrorCode::UnknownTopicOrPartition,
            code => code,
        };
        let detail = match (self.client.client().fatal_error(), Class::of(code)) {
            (Some((fatal, text)), _) => return self.shared.cluster.failure(fatal, Some(&lost.topic), &text),
            (None, Class::TooLarge) => {
                let limit = self.shared.facts(&lost.topic).and_then(|facts| facts.max_message_bytes);
                let limit = limit.map_or("unknown".to_owned(), |limit| limit.to_string());
                format!("{code}: a record of {} bytes, max.message.bytes is {limit}", lost.bytes)
            }
            (None, _) => String::new(),
        };
        if Class::of(code) == Class::TopicMissing {
            self.shared.forget(&lost.topic);
        }
        self.shared.cluster.failure(code, Some(&lost.topic), &detail)
    }

    fn too_large(&self, oversize: &Oversize) -> Failure {
        let Oversize { topic, bytes, limit } = oversize;
        let detail = format!("a record of {bytes} bytes, max.message.bytes is {limit}");
        self.shared
            .cluster
            .failure(RDKafkaErrorCode::MessageSizeTooLarge, Some(topic), &detail)
    }

    fn measure(&self, batch: &EncodedBatch) -> Measured {
        let limits: Vec<Option<usize>> = batch
            .topics
            .iter()
            .map(|topic| self.shared.facts(topic)?.max_message_bytes)
            .collect();
        let mut measured = Measured {
            receipt: Receipt {
                records: batch.records.len(),
                bytes: 0,
            },
            oversize: None,
            smallest_limit: limits.iter().flatten().min().copied(),
        };
        for record in &batch.records {
            let (bytes, wire_bytes) = weigh(batch, record);
            measured.receipt.bytes += bytes;
            let limit = limits.get(record.topic).copied().flatten();
            if let (Some(limit), Some(topic), None) = (limit, batch.topics.get(record.topic), &measured.oversize)
                && wire_bytes > limit
            {
                measured.oversize = Some(Oversize {
                    topic: Arc::clone(topic),
                    bytes: wire_bytes,
                    limit,
                });
            }
        }
        measured
    }

    /// librdkafka has one batch size for all topics and does not split a batch that a topic refuses. So when a topic
    /// with a smaller limit comes along, everything before it is waited for and the client is opened anew.
    fn fit_batches(&mut self, limit: Option<usize>) {
        let Some(limit) = limit.filter(|limit| *limit < self.batch_bytes && self.failed.is_none()) else {
            return;
        };
        while self.in_flight() > 0 && self.failed.is_none() && !self.stopping.load(Ordering::Acquire) {
            self.wait();
        }
        if self.failed.is_some() || self.stopping.load(Ordering::Acquire) {
            return;
        }
        let mut native = self.native.clone();
        native.set("batch.size", limit.to_string());
        match open(&self.shared, &native) {
            Ok(client) => {
                tracing::debug!(
                    limit,
                    "batches are made smaller for a topic with a small max.message.bytes"
                );
                (self.client, self.native, self.batch_bytes) = (client, native, limit);
            }
            Err(failure) => self.failed = Some(failure),
        }
    }

    fn send(&mut self, batch: &EncodedBatch, sequence: usize) -> Result<(), Failure> {
        for (index, record) in batch.records.iter().enumerate() {
            let mut message = message(batch, record, sequence);
            while let Err((error, returned)) = self.client.send(message) {
                if code_of(&error) != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(self.shared.cluster.failure_of(&error, Some(batch.topic(record)), ""));
                }
                self.wait();
                self.go_on()?;
                message = returned;
            }
            if index % SENDS_PER_POLL == SENDS_PER_POLL - 1 {
                self.serve();
                self.go_on()?;
            }
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), Failure> {
        match &self.failed {
            Some(failure) => Err(failure.clone()),
            None if self.stopping.load(Ordering::Acquire) => Err(Failure::transient(
                "kafka_producer_state",
                "the producer is being closed",
            )),
            None => Ok(()),
        }
    }
}

/// Bytes of key, value and headers; and the least that the broker will count for the record in a batch of its own.
fn weigh(batch: &EncodedBatch, record: &EncodedRecord) -> (usize, usize) {
    /// Batch header, and the seven shortest fields of a record (KIP-98, "Message Format").
    const RECORD_OVERHEAD: usize = 61 + 7;
    /// Lengths of name and value, at their shortest.
    const HEADER_OVERHEAD: usize = 2;
    let length = |range: &Option<std::ops::Range<usize>>| range.as_ref().map_or(0, std::ops::Range::len);
    let mut bytes = length(&record.key) + length(&record.value);
    for (name, value) in batch.record_headers(record) {
        bytes += name.len() + value.len();
    }
    (bytes, bytes + RECORD_OVERHEAD + HEADER_OVERHEAD * record.headers.len())
}

fn message<'a>(batch: &'a EncodedBatch, record: &EncodedRecord, sequence: usize) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut message = BaseRecord::with_opaque_to(batch.topic(record), sequence)
        .timestamp(record.timestamp_ms.max(EARLIEST_TIMESTAMP_MS));
    match &record.key {
        Some(key) => message = message.key(batch.slice(key)),
        // Without a key nothing says which changes belong to one row: one partition keeps all of them in order.
        None => message = message.partition(0),
    }
    if let Some(value) = &record.value {
        message = message.payload(batch.slice(value));
    }
    if !record.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in batch.record_headers(record) {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        message = message.headers(headers);
    }
    message
}
