//! The producer: batches in, acknowledgements out, in order.
//!
//! ```text
//! pipeline task          producer thread                        librdkafka's threads
//! deliver(batch) ──────▶ channel ─▶ measure ─▶ send, record     ─▶ batches, compresses, retries, keeps the
//!    │                              by record, each carrying       order of each partition (idempotence)
//!    ▼                              its batch's sequence                     │
//! future ◀── oneshot ◀── ledger ◀── delivery report (in poll) ◀──────────────┘
//! ```
//!
//! A thread of its own, because `send` copies and `poll` blocks; one thread for both, because then order is plain:
//! a record that does not fit into librdkafka's queue is offered again until it does, and nothing overtakes it.
//!
//! Only a few requests' worth of records is handed over at a time ([`WINDOW_BATCHES`]). librdkafka has one request per
//! partition under way, and while records wait behind it for longer than `linger.ms`, its thread asks again and again
//! without a pause whether they may go (librdkafka's pull request 4989). So what would only wait there waits here:
//! that halves the processor time of a drain, at the same speed.
//!
//! After the first failure nothing more is sent: the queue is purged, this batch and all later ones get the same
//! error, and the producer waits to be thrown away. Why not resend: later records of the same key may be durable
//! already, and only a replay from the checkpoint restores the order.
//!
//! librdkafka itself never gives up on an outage, so that a broker's restart costs neither duplicates nor a new
//! connection to the source. But an outage that lasts, or that a retry cannot cure, must become visible: that is
//! [`Watchdog`]'s part.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext};
use tailrace_core::event::{EncodedBatch, EncodedRecord};
use tailrace_core::ports::{Producer, Receipt};
use tailrace_core::{Error, Result};
use tokio::sync::oneshot;

use crate::client::{CONNECT_POLL, Complaint, Complaints, await_cluster};
use crate::error::{Class, Failure, code_of};
use crate::ledger::{Answer, Ledger, LostRecord};
use crate::properties;
use crate::topics::Shared;
use crate::watch::{OffsetWatch, PartitionWatch};
use crate::watchdog::{BUSY_WAIT, LIMITS, Limits, Watchdog};

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

/// A producer is thrown away within this time, or its thread is left to end by itself.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// Before the first record and after the last there is no timestamp: librdkafka takes 0 for "now", and Kafka has no
/// times before 1970. The header `updated_at` is exact where this is not.
const EARLIEST_TIMESTAMP_MS: i64 = 1;

/// Delivers encoded batches through librdkafka.
pub(crate) struct KafkaProducer {
    deliveries: Option<mpsc::Sender<Delivery>>,
    stopping: Arc<AtomicBool>,
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

struct Delivery {
    batch: EncodedBatch,
    answer: Answer,
}

/// What librdkafka calls back.
pub(crate) struct DeliveryContext {
    shared: Arc<Shared>,
    complaints: Complaints,
    ledger: Mutex<Ledger>,
    offsets: Mutex<OffsetWatch>,
}

struct Worker {
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

// === impl KafkaProducer ===

impl KafkaProducer {
    /// Connects and starts the thread. Fails where no broker answers within ten seconds, with the reason.
    pub(crate) async fn connect(shared: &Arc<Shared>) -> Result<Self> {
        let configured = properties::batch_bytes(&shared.config);
        let batch_bytes = shared
            .smallest_limit()
            .map_or(configured, |limit| limit.min(configured));
        let native = properties::producer_config(&shared.config, batch_bytes)?;
        Self::start(shared, native, batch_bytes, LIMITS).await
    }

    async fn start(shared: &Arc<Shared>, native: ClientConfig, batch_bytes: usize, limits: Limits) -> Result<Self> {
        let (sender, deliveries) = mpsc::channel();
        let (running, ended) = mpsc::channel();
        let (ready, connected) = oneshot::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let (shared, stop) = (Arc::clone(shared), Arc::clone(&stopping));
        let body = move || {
            let _running = running; // Dropped last: whoever waits for the end sees it.
            let client = open(&shared, &native).and_then(|client| {
                let ask = || {
                    client.poll(Duration::ZERO);
                    client.client().fetch_cluster_id(CONNECT_POLL).is_some()
                };
                await_cluster(&shared.cluster, &client.context().complaints, ask, &stop)?;
                Ok(client)
            });
            match client {
                Ok(client) => {
                    drop(ready.send(Ok(())));
                    let (watchdog, partitions) = (Watchdog::new(limits), PartitionWatch::new());
                    let (stopping, failed) = (stop, None);
                    Worker {
                        shared,
                        native,
                        client,
                        batch_bytes,
                        deliveries,
                        stopping,
                        failed,
                        watchdog,
                        partitions,
                    }
                    .run();
                }
                Err(failure) => drop(ready.send(Err(Error::from(failure)))),
            }
        };
        let thread = std::thread::Builder::new()
            .name("kafka producer".to_owned())
            .spawn(body)
            .map_err(|error| {
                Error::transient("kafka_error", "the producer's thread could not be started").with_source(error)
            })?;
        let producer = Self {
            deliveries: Some(sender),
            stopping,
            ended,
            thread: Some(thread),
        };
        connected.await.unwrap_or_else(|_| Err(stopped()))?;
        Ok(producer)
    }
}

impl Producer for KafkaProducer {
    fn deliver(&mut self, batch: EncodedBatch) -> BoxFuture<'static, Result<Receipt>> {
        let (answer, result) = oneshot::channel();
        if let Some(deliveries) = &self.deliveries {
            // A thread that has ended drops the answer, which is seen below.
            drop(deliveries.send(Delivery { batch, answer }));
        }
        Box::pin(async move { result.await.unwrap_or_else(|_| Err(stopped())) })
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.deliveries = None;
        // Nobody sends here: what ends the wait is that the thread drops its side.
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(DROP_TIMEOUT) {
            tracing::warn!("the Kafka client has not closed within {DROP_TIMEOUT:?}; it is left to close by itself");
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the Kafka producer's thread has panicked");
        }
    }
}

fn stopped() -> Error {
    Error::transient(
        "kafka_producer_state",
        "the producer was closed before this batch was acknowledged",
    )
}

fn open(shared: &Arc<Shared>, native: &ClientConfig) -> Result<BaseProducer<DeliveryContext>, Failure> {
    let context = DeliveryContext {
        shared: Arc::clone(shared),
        complaints: shared.complaints(),
        ledger: Mutex::default(),
        offsets: Mutex::default(),
    };
    native
        .create_with_context(context)
        .map_err(|error| shared.cluster.failure_of(&error, None, ""))
}

// === impl DeliveryContext ===

impl DeliveryContext {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sample(&self, topic: &str, partition: i32, offset: i64) {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = offsets.note(topic, partition, offset) {
            tracing::error!(
                topic,
                code = "topic_recreated",
                "topic {topic} was created again, or has lost its end: partition {partition} was at offset {newest} and \
                 is now at {offset}; events acknowledged before are gone from it"
            );
            self.shared.forget(topic);
        }
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.complaints.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.complaints.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: usize) {
        match result {
            Ok(record) => {
                if self.ledger().acknowledge(sequence) {
                    self.sample(record.topic(), record.partition(), record.offset());
                }
            }
            Err((error, record)) => self.ledger().lose(LostRecord {
                code: code_of(error).unwrap_or(RDKafkaErrorCode::Fail),
                topic: record.topic().to_owned(),
                bytes: record.key_len() + record.payload_len(),
            }),
        }
    }
}

// === impl Worker ===

impl Worker {
    fn run(mut self) {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Instant;

    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::message::Headers as _;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use rdkafka::{Offset, TopicPartitionList};
    use tailrace_core::error::Kind;

    use super::*;
    use crate::topics::TopicFacts;

    type Cluster = MockCluster<'static, DefaultProducerContext>;

    const QUICK: Limits = Limits {
        warn: Duration::from_millis(50),
        authentication: Duration::from_millis(300),
        unreachable: Duration::from_millis(300),
        silence: Duration::from_millis(600),
    };

    fn cluster(topic: &str, partitions: i32) -> Cluster {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topic, partitions, 1).unwrap();
        cluster
    }

    fn shared(servers: &str) -> Arc<Shared> {
        let text = serde_json::json!({ "bootstrap_servers": servers.split(',').collect::<Vec<_>>() }).to_string();
        Arc::new(Shared::new(serde_json::from_str(&text).unwrap()))
    }

    async fn producer_with(shared: &Arc<Shared>, properties: &[(&str, &str)], limits: Limits) -> KafkaProducer {
        let mut native = properties::producer_config(&shared.config, 100_000).unwrap();
        for (name, value) in properties {
            native.set(*name, *value);
        }
        KafkaProducer::start(shared, native, 100_000, limits).await.unwrap()
    }

    async fn producer(cluster: &Cluster) -> KafkaProducer {
        KafkaProducer::connect(&shared(&cluster.bootstrap_servers()))
            .await
            .unwrap()
    }

    fn batch(topic: &str, records: &[(Option<&str>, Option<&str>)]) -> EncodedBatch {
        let mut batch = EncodedBatch::default();
        let topic = batch.topic_index(&Arc::from(topic));
        let put = |batch: &mut EncodedBatch, text: &str| {
            let start = batch.buffer.len();
            batch.buffer.extend_from_slice(text.as_bytes());
            start..batch.buffer.len()
        };
        for (index, (key, value)) in records.iter().enumerate() {
            let key = key.map(|key| put(&mut batch, key));
            let value = value.map(|value| put(&mut batch, value));
            let first = batch.headers.len();
            let op = put(&mut batch, "c");
            batch.headers.push(("op".into(), op));
            let empty = put(&mut batch, "");
            batch.headers.push(("txn".into(), empty));
            let timestamp_ms = 1_700_000_000_000 + i64::try_from(index).unwrap();
            batch.records.push(EncodedRecord {
                topic,
                key,
                value,
                headers: first..first + 2,
                timestamp_ms,
            });
        }
        batch
    }

    fn numbers(topic: &str, range: std::ops::Range<usize>) -> EncodedBatch {
        let texts: Vec<String> = range.map(|number| number.to_string()).collect();
        let records: Vec<_> = texts.iter().map(|text| (Some("k"), Some(text.as_str()))).collect();
        batch(topic, &records)
    }

    struct Read {
        partition: i32,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        timestamp_ms: i64,
        headers: Vec<(String, Vec<u8>)>,
    }

    /// Everything that is in a topic now.
    fn read(cluster: &Cluster, topic: &str) -> Vec<Read> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
        let mut list = TopicPartitionList::new();
        let mut expected = 0;
        for partition in metadata.topics()[0].partitions() {
            let marks = consumer
                .fetch_watermarks(topic, partition.id(), Duration::from_secs(10))
                .unwrap();
            expected += usize::try_from(marks.1 - marks.0).unwrap();
            list.add_partition_offset(topic, partition.id(), Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut found = Vec::new();
        while found.len() < expected {
            let message = consumer.poll(Duration::from_secs(10)).expect("within 10 s").unwrap();
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            found.push(Read {
                partition: message.partition(),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                timestamp_ms: message.timestamp().to_millis().unwrap(),
                headers: headers
                    .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                    .collect(),
            });
        }
        found
    }

    fn values(cluster: &Cluster, topic: &str) -> Vec<usize> {
        let texts = read(cluster, topic)
            .into_iter()
            .map(|read| String::from_utf8(read.value.unwrap()).unwrap());
        texts.map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn records_arrive_in_order_with_key_headers_and_timestamp() {
        let cluster = cluster("t", 1);
        let mut producer = producer(&cluster).await;
        let first = producer.deliver(batch(
            "t",
            &[(Some("a"), Some("1")), (Some("a"), None), (None, Some(""))],
        ));
        let second = producer.deliver(batch("t", &[(Some(""), Some("2"))]));
        // key, value, the header op=c with 3 bytes and txn with 3
        assert_eq!(
            first.await.unwrap(),
            Receipt {
                records: 3,
                bytes: 3 + 3 * 6
            }
        );
        assert_eq!(second.await.unwrap().records, 1);
        let found = read(&cluster, "t");
        let parts: Vec<_> = found
            .iter()
            .map(|read| (read.key.as_deref(), read.value.as_deref()))
            .collect();
        assert_eq!(
            parts,
            [
                (Some(b"a".as_slice()), Some(b"1".as_slice())),
                (Some(b"a".as_slice()), None),
                (None, Some(b"".as_slice())),
                (Some(b"".as_slice()), Some(b"2".as_slice())),
            ]
        );
        assert_eq!(found[1].timestamp_ms, 1_700_000_000_001);
        assert_eq!(
            found[0].headers,
            [("op".to_owned(), b"c".to_vec()), ("txn".to_owned(), b"".to_vec())]
        );
    }

    #[tokio::test]
    async fn keys_go_where_java_clients_send_them() {
        // Hashes from Kafka's own UtilsTest.testMurmur2; the partition is the hash without its sign, modulo.
        let hashes: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        let cluster = cluster("t", 97);
        let mut producer = producer(&cluster).await;
        let records: Vec<_> = hashes.iter().map(|(key, _)| (Some(*key), Some("x"))).collect();
        producer.deliver(batch("t", &records)).await.unwrap();
        let found: HashMap<_, _> = read(&cluster, "t")
            .into_iter()
            .map(|read| (read.key.unwrap(), read.partition))
            .collect();
        for (key, hash) in hashes {
            assert_eq!(found[key.as_bytes()], (hash & 0x7fff_ffff) % 97, "{key}");
        }
    }

    #[tokio::test]
    async fn records_without_a_key_share_one_partition() {
        let cluster = cluster("t", 8);
        let mut producer = producer(&cluster).await;
        let records = vec![(None, Some("x")); 200];
        producer.deliver(batch("t", &records)).await.unwrap();
        assert!(read(&cluster, "t").iter().all(|read| read.partition == 0));
    }

    #[tokio::test]
    async fn a_full_queue_delays_and_does_not_reorder() {
        let cluster = cluster("t", 1);
        let shared = shared(&cluster.bootstrap_servers());
        let mut producer = producer_with(&shared, &[("queue.buffering.max.messages", "7")], LIMITS).await;
        let first = producer.deliver(numbers("t", 0..300));
        let second = producer.deliver(numbers("t", 300..1000));
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(values(&cluster, "t"), (0..1000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn passing_errors_are_retried_once_and_in_order() {
        use RDKafkaRespErr as Code;
        for codes in [
            [Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 2],
            [Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2],
            [Code::RD_KAFKA_RESP_ERR__TRANSPORT; 2],
            [Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR; 2],
        ] {
            let cluster = cluster("t", 1);
            let mut producer = producer(&cluster).await;
            producer.deliver(numbers("t", 0..10)).await.unwrap();
            cluster.request_errors(RDKafkaApiKey::Produce, &codes);
            let second = producer.deliver(numbers("t", 10..20));
            let third = producer.deliver(numbers("t", 20..30));
            second.await.unwrap();
            third.await.unwrap();
            assert_eq!(values(&cluster, "t"), (0..30).collect::<Vec<_>>(), "{codes:?}");
        }
    }

    #[tokio::test]
    async fn a_lost_record_ends_the_producer_and_nothing_later_arrives() {
        use RDKafkaRespErr as Code;
        for (code, kind, name) in [
            (
                Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                Kind::Definite,
                "message_too_large",
            ),
            (
                Code::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
                Kind::Definite,
                "invalid_timestamp",
            ),
            (
                Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                Kind::Transient,
                "kafka_unauthorized",
            ),
            (
                Code::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
                Kind::Definite,
                "kafka_refused",
            ),
            (Code::RD_KAFKA_RESP_ERR_INVALID_RECORD, Kind::Definite, "kafka_refused"),
            (
                Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                Kind::Transient,
                "kafka_producer_state",
            ),
            (
                Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
                Kind::Transient,
                "kafka_producer_state",
            ),
        ] {
            let cluster = cluster("t", 1);
            let mut producer = producer(&cluster).await;
            producer.deliver(numbers("t", 0..10)).await.unwrap();
            cluster.request_errors(RDKafkaApiKey::Produce, &[code]);
            let second = producer.deliver(numbers("t", 10..20)).await.unwrap_err();
            assert_eq!((second.kind(), second.code()), (kind, name), "{second}");
            assert!(
                second.to_string().contains("127.0.0.1") || second.to_string().contains("topic t"),
                "{second}"
            );
            let third = producer.deliver(numbers("t", 20..30)).await.unwrap_err();
            assert_eq!((third.code(), third.to_string()), (name, second.to_string()));
            drop(producer);
            assert_eq!(values(&cluster, "t"), (0..10).collect::<Vec<_>>(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_record_over_the_topics_limit_fails_before_anything_of_its_batch_is_sent() {
        let cluster = cluster("t", 1);
        let shared = shared(&cluster.bootstrap_servers());
        shared.learn(
            "t",
            TopicFacts {
                partitions: 1,
                max_message_bytes: Some(1000),
            },
        );
        let mut producer = KafkaProducer::connect(&shared).await.unwrap();
        let fits = producer.deliver(numbers("t", 0..500));
        let large = "x".repeat(1000);
        let oversize = producer.deliver(batch("t", &[(Some("k"), Some("7")), (Some("k"), Some(&large))]));
        let later = producer.deliver(numbers("t", 500..600));
        assert_eq!(fits.await.unwrap().records, 500);
        let error = oversize.await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Definite, "message_too_large"));
        // 1 key, 1000 value, op and txn with 6 bytes, 68 around the record and 4 around the headers
        assert!(
            error
                .to_string()
                .contains("a record of 1079 bytes, max.message.bytes is 1000"),
            "{error}"
        );
        assert!(
            error.to_string().contains("topic t") && error.to_string().contains("kafka-configs.sh"),
            "{error}"
        );
        assert_eq!(later.await.unwrap_err().code(), "message_too_large");
        assert_eq!(values(&cluster, "t"), (0..500).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_topic_with_a_smaller_limit_gets_smaller_batches() {
        let cluster = cluster("t", 1);
        cluster.create_topic("small", 1, 1).unwrap();
        let shared = shared(&cluster.bootstrap_servers());
        shared.learn(
            "t",
            TopicFacts {
                partitions: 1,
                max_message_bytes: Some(1_000_000),
            },
        );
        let mut producer = KafkaProducer::connect(&shared).await.unwrap();
        let before = producer.deliver(numbers("t", 0..1000));
        shared.learn(
            "small",
            TopicFacts {
                partitions: 1,
                max_message_bytes: Some(2000),
            },
        );
        let small = producer.deliver(numbers("small", 0..1000));
        let after = producer.deliver(numbers("t", 1000..2000));
        before.await.unwrap();
        small.await.unwrap();
        after.await.unwrap();
        assert_eq!(values(&cluster, "t"), (0..2000).collect::<Vec<_>>());
        assert_eq!(values(&cluster, "small"), (0..1000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn an_outage_becomes_an_error_with_its_reason() {
        let cluster = cluster("t", 1);
        let shared = shared(&cluster.bootstrap_servers());
        let mut producer = producer_with(&shared, &[("reconnect.backoff.max.ms", "100")], QUICK).await;
        producer.deliver(numbers("t", 0..10)).await.unwrap();
        cluster.broker_down(-1).unwrap();
        let error = producer.deliver(numbers("t", 10..20)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "kafka_unreachable"));
        assert!(error.to_string().contains("no acknowledgement for"), "{error}");
        cluster.broker_up(-1).unwrap();
        let mut fresh = KafkaProducer::connect(&shared).await.unwrap();
        fresh.deliver(numbers("t", 10..20)).await.unwrap();
        assert_eq!(values(&cluster, "t"), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_short_outage_costs_nothing() {
        let cluster = cluster("t", 1);
        let mut producer = producer(&cluster).await;
        producer.deliver(numbers("t", 0..10)).await.unwrap();
        cluster.broker_down(-1).unwrap();
        let second = producer.deliver(numbers("t", 10..20));
        let third = producer.deliver(numbers("t", 20..30));
        cluster.broker_up(-1).unwrap();
        second.await.unwrap();
        third.await.unwrap();
        assert_eq!(values(&cluster, "t"), (0..30).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn dropping_ends_soon_even_when_no_broker_is_there() {
        let cluster = cluster("t", 1);
        let mut producer = producer(&cluster).await;
        producer.deliver(numbers("t", 0..10)).await.unwrap();
        cluster.broker_down(-1).unwrap();
        let open = producer.deliver(numbers("t", 10..20_000));
        let since = Instant::now();
        drop(producer);
        assert!(since.elapsed() < DROP_TIMEOUT, "{:?}", since.elapsed());
        assert_eq!(open.await.unwrap_err().kind(), Kind::Transient);
        cluster.broker_up(-1).unwrap();
        assert_eq!(values(&cluster, "t"), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_wrong_address_is_told_with_its_reason() {
        // Bound and closed again: nobody listens there.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let shared = shared(&address.to_string());
        let error = KafkaProducer::connect(&shared).await.err().unwrap();
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "kafka_unreachable"));
        assert!(error.to_string().contains("Connection refused"), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
