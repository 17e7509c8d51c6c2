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
//! Only a few requests' worth of records is handed over at a time (`WINDOW_BATCHES`). librdkafka has one request per
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
//! `Watchdog`'s part.

mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::{Producer, Receipt};
use tailrace_core::{Error, Result};
use tokio::sync::oneshot;

use self::worker::Worker;
use crate::client::{CONNECT_POLL, Complaints, await_cluster};
use crate::error::{Failure, code_of};
use crate::ledger::{Answer, Ledger, LostRecord};
use crate::properties;
use crate::topics::Shared;
use crate::watch::OffsetWatch;
use crate::watchdog::{LIMITS, Limits};

/// A producer is thrown away within this time, or its thread is left to end by itself.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

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
                    Worker::new(shared, (client, native, batch_bytes), (deliveries, stop), limits).run();
                }
                Err(failure) => drop(ready.send(Err(Error::from(failure)))),
            }
        };
        let thread = std::thread::Builder::new()
            .name("kafka producer".to_owned())
            .spawn(body)
            .map_err(|error| {
                let message = "the thread that writes to Kafka could not be started on this machine; raise the limits of threads and \
                               memory of the process (ulimit -u, TasksMax, pids.max); it is tried again";
                Error::transient("kafka_error", message).with_source(error)
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

#[cfg(test)]
mod tests;
