//! Parts that play a database, a stream and a store in tests, and that can be made to fail in the ways that matter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::batch::ChangeBatch;
use crate::check::Finding;
use crate::error::{Error, Result};
use crate::event::{EncodedBatch, EncodedRecord, StreamRecord};
use crate::ports::{
    Budget, CheckpointStore, Consumer, ConsumerSpec, Encoder, EventStream, Producer, Receipt, SchemaHistory, Source,
    SourceMemory, TopicSpec,
};
use crate::position::{Checkpoint, Position};
use crate::registry::{RegisteredSchema, Schema, SchemaId, SchemaRegistry};
use crate::schema::TableSchema;

/// What a sink does with the next batch.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Writes it and says so.
    Accept,
    /// Never writes it: the request did not run.
    Reject,
    /// Writes it, and the answer is lost.
    FailAfterWrite,
    /// Writes it, and says so when the test opens the gate.
    Hold(Arc<Notify>),
}

/// A store in memory that keeps the promises of a durable one.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Stored>,
}

#[derive(Debug, Default)]
struct Stored {
    checkpoint: Option<Checkpoint>,
    schemas: BTreeMap<String, TableSchema>,
    memory: Option<serde_json::Value>,
    refuse_saves: bool,
}

/// A stream in memory whose deliveries follow a script; what is not scripted is accepted.
#[derive(Debug, Default)]
pub struct MemoryStream {
    script: Mutex<VecDeque<Delivery>>,
    written: Mutex<Vec<StreamRecord>>,
}

/// A schema registry in memory that numbers schemas as Confluent's does: the same schema has one number everywhere.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    inner: Mutex<Registered>,
}

#[derive(Debug, Default)]
struct Registered {
    /// The schema of number `index + 1`.
    schemas: Vec<Schema>,
    subjects: BTreeMap<String, Vec<SchemaId>>,
    down: bool,
    questions: usize,
}

/// A source that hands out batches from a list, then waits, and remembers what was confirmed.
#[derive(Debug)]
pub struct ScriptedSource {
    batches: VecDeque<Result<ChangeBatch>>,
    confirmed: Arc<Mutex<Vec<Position>>>,
}

/// An encoder whose records are the ordinals of the changes, on topic `events`.
#[derive(Debug, Default)]
pub struct OrdinalEncoder;

struct MemoryProducer {
    stream: Arc<MemoryStream>,
    failed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl MemoryStore ===

impl MemoryStore {
    /// The last checkpoint.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        lock(&self.inner).checkpoint.clone()
    }

    /// From now on saves fail as on a full disk, or work again.
    pub fn refuse_saves(&self, refuse: bool) {
        lock(&self.inner).refuse_saves = refuse;
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn load(&self) -> Result<Option<Checkpoint>> {
        Ok(self.checkpoint())
    }

    async fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let mut stored = lock(&self.inner);
        if stored.refuse_saves {
            return Err(Error::transient("state_unwritable", "the disk is full"));
        }
        if stored
            .checkpoint
            .as_ref()
            .is_some_and(|known| known.sequence >= checkpoint.sequence)
        {
            return Err(Error::definite(
                "checkpoint_order",
                "a checkpoint with a lower sequence was saved",
            ));
        }
        stored.checkpoint = Some(checkpoint.clone());
        Ok(())
    }
}

#[async_trait]
impl SchemaHistory for MemoryStore {
    async fn record(&self, schema: &TableSchema, _position: &Position) -> Result<()> {
        lock(&self.inner)
            .schemas
            .insert(schema.name.qualified(), schema.clone());
        Ok(())
    }

    async fn newest(&self, table: &str) -> Result<Option<TableSchema>> {
        Ok(lock(&self.inner).schemas.get(table).cloned())
    }
}

#[async_trait]
impl SourceMemory for MemoryStore {
    async fn recall(&self) -> Result<Option<serde_json::Value>> {
        Ok(lock(&self.inner).memory.clone())
    }

    async fn remember(&self, memory: &serde_json::Value) -> Result<()> {
        lock(&self.inner).memory = Some(memory.clone());
        Ok(())
    }
}

// === impl MemoryRegistry ===

impl MemoryRegistry {
    /// From now on it does not answer, or answers again.
    pub fn stop_answering(&self, down: bool) {
        lock(&self.inner).down = down;
    }

    /// How often it was asked for anything.
    pub fn questions(&self) -> usize {
        lock(&self.inner).questions
    }

    /// The names of all subjects.
    pub fn subjects(&self) -> Vec<String> {
        lock(&self.inner).subjects.keys().cloned().collect()
    }

    fn ask(&self) -> Result<MutexGuard<'_, Registered>> {
        let mut registered = lock(&self.inner);
        registered.questions += 1;
        if registered.down {
            return Err(Error::transient("registry_unreachable", "the registry did not answer"));
        }
        Ok(registered)
    }
}

impl Registered {
    fn schema(&self, id: SchemaId) -> Result<Schema> {
        let index = usize::try_from(id.0).ok().and_then(|number| number.checked_sub(1));
        let found = index.and_then(|index| self.schemas.get(index));
        found
            .cloned()
            .ok_or_else(|| Error::definite("schema_unknown", "the registry has no schema of that number"))
    }
}

#[async_trait]
impl SchemaRegistry for MemoryRegistry {
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    async fn versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let registered = self.ask()?;
        let ids = registered.subjects.get(subject).cloned().unwrap_or_default();
        let version = |(version, id): (u32, SchemaId)| {
            let schema = registered.schema(id)?;
            Ok(RegisteredSchema { id, version, schema })
        };
        (1..).zip(ids).map(version).collect()
    }

    async fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId> {
        let mut registered = self.ask()?;
        let known = registered.schemas.iter().position(|known| known == schema);
        let index = known.unwrap_or_else(|| {
            registered.schemas.push(schema.clone());
            registered.schemas.len() - 1
        });
        let id = SchemaId(u32::try_from(index + 1).unwrap_or(u32::MAX));
        let versions = registered.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        Ok(id)
    }

    async fn by_id(&self, id: SchemaId) -> Result<Schema> {
        self.ask()?.schema(id)
    }
}

// === impl MemoryStream ===

impl MemoryStream {
    /// What happens to the next batches, in order.
    pub fn script(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        lock(&self.script).extend(deliveries);
    }

    /// Everything that was written, duplicates included.
    pub fn written(&self) -> Vec<StreamRecord> {
        lock(&self.written).clone()
    }

    fn write(&self, batch: &EncodedBatch) -> Receipt {
        let mut written = lock(&self.written);
        for record in &batch.records {
            let offset = i64::try_from(written.len()).unwrap_or(i64::MAX);
            let bytes = |range: &std::ops::Range<usize>| bytes::Bytes::copy_from_slice(batch.slice(range));
            let headers = batch.record_headers(record);
            written.push(StreamRecord {
                topic: batch.topic(record).into(),
                partition: 0,
                offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.as_ref().map(bytes),
                value: record.value.as_ref().map(bytes),
                headers: headers
                    .map(|(name, value)| (name.to_owned(), bytes::Bytes::copy_from_slice(value)))
                    .collect(),
            });
        }
        Receipt {
            records: batch.records.len(),
            bytes: batch.buffer.len(),
        }
    }
}

/// The stream as a port: it must be shared to be looked at.
pub struct SharedStream(pub Arc<MemoryStream>);

#[async_trait]
impl EventStream for SharedStream {
    async fn check(&self, _topics: &[TopicSpec]) -> Vec<Finding> {
        Vec::new()
    }

    async fn ensure_topic(&self, _topic: &TopicSpec) -> Result<()> {
        Ok(())
    }

    async fn producer(&self) -> Result<Box<dyn Producer>> {
        Ok(Box::new(MemoryProducer {
            stream: Arc::clone(&self.0),
            failed: false,
        }))
    }

    async fn consumer(&self, _spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(MemoryConsumer {
            stream: Arc::clone(&self.0),
            next: 0,
        }))
    }

    async fn topics(&self) -> Result<Vec<String>> {
        let mut topics: Vec<_> = lock(&self.0.written)
            .iter()
            .map(|record| record.topic.to_string())
            .collect();
        topics.dedup();
        Ok(topics)
    }
}

struct MemoryConsumer {
    stream: Arc<MemoryStream>,
    next: usize,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn poll(&mut self, limit: usize, _wait: Duration) -> Result<Vec<StreamRecord>> {
        let records: Vec<_> = lock(&self.stream.written)
            .iter()
            .skip(self.next)
            .take(limit)
            .cloned()
            .collect();
        self.next += records.len();
        Ok(records)
    }

    async fn commit(&mut self) -> Result<()> {
        Ok(())
    }
}

// === impl MemoryProducer ===

impl Producer for MemoryProducer {
    fn deliver(&mut self, batch: EncodedBatch) -> BoxFuture<'static, Result<Receipt>> {
        let lost = || Error::transient("stream_unreachable", "the stream did not answer");
        if self.failed {
            return Box::pin(std::future::ready(Err(lost())));
        }
        match lock(&self.stream.script).pop_front().unwrap_or(Delivery::Accept) {
            Delivery::Accept => Box::pin(std::future::ready(Ok(self.stream.write(&batch)))),
            Delivery::Reject => {
                self.failed = true;
                Box::pin(std::future::ready(Err(lost())))
            }
            Delivery::FailAfterWrite => {
                self.failed = true;
                self.stream.write(&batch);
                Box::pin(std::future::ready(Err(lost())))
            }
            Delivery::Hold(gate) => {
                let receipt = self.stream.write(&batch);
                Box::pin(async move {
                    gate.notified().await;
                    Ok(receipt)
                })
            }
        }
    }
}

// === impl ScriptedSource ===

impl ScriptedSource {
    /// A source with these batches; the second value sees what is confirmed.
    pub fn new(batches: impl IntoIterator<Item = Result<ChangeBatch>>) -> (Self, Arc<Mutex<Vec<Position>>>) {
        let confirmed = Arc::new(Mutex::new(Vec::new()));
        let source = Self {
            batches: batches.into_iter().collect(),
            confirmed: Arc::clone(&confirmed),
        };
        (source, confirmed)
    }
}

#[async_trait]
impl Source for ScriptedSource {
    async fn next_batch(&mut self, _budget: Budget) -> Result<ChangeBatch> {
        match self.batches.pop_front() {
            Some(batch) => batch,
            None => std::future::pending().await,
        }
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        lock(&self.confirmed).push(durable.clone());
        Ok(())
    }
}

// === impl OrdinalEncoder ===

impl Encoder for OrdinalEncoder {
    fn encode(&mut self, batch: &ChangeBatch) -> Result<EncodedBatch> {
        let mut encoded = EncodedBatch::default();
        let topic = encoded.topic_index(&"events".into());
        for change in &batch.changes {
            let start = encoded.buffer.len();
            encoded.buffer.extend_from_slice(change.ordinal.to_string().as_bytes());
            encoded.records.push(EncodedRecord {
                topic,
                key: None,
                value: Some(start..encoded.buffer.len()),
                headers: 0..0,
                timestamp_ms: 0,
            });
        }
        Ok(encoded)
    }
}
