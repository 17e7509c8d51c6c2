//! Parts that play a database, a stream and a store in tests, and that can be made to fail in the ways that matter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::batch::ChangeBatch;
use crate::check::Finding;
use crate::dead_letter::{
    DeadLetterStore, FULL, Letter, LetterState, LetterSummary, Maximum, Settlement, StoredLetter, Waiting,
};
use crate::error::{Error, Result};
use crate::event::{EncodedBatch, EncodedRecord, StreamRecord};
use crate::grants::{Language, Script, TopicUse};
use crate::ports::sink::{Subscription, SubscriptionSpec};
use crate::ports::{
    Budget, CheckpointStore, Consumer, ConsumerSpec, Encoder, EventStream, Producer, Receipt, SchemaHistory,
    SchemaVersion, Source, SourceMemory, Succession, TopicSpec,
};
use crate::position::{Checkpoint, Position};
use crate::registry::{RegisteredSchema, Schema, SchemaId, SchemaRegistry, SubjectSettings};
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
    schemas: BTreeMap<String, StoredHistory>,
    memory: Option<serde_json::Value>,
    letters: Vec<StoredLetter>,
    asked_after_next_look: Option<u64>,
    refuse_saves: bool,
}

#[derive(Debug, Default)]
struct StoredHistory {
    versions: Vec<TableSchema>,
    announced: u32,
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
    settings: BTreeMap<String, SubjectSettings>,
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

    /// All letters, oldest first.
    pub fn letters(&self) -> Vec<StoredLetter> {
        lock(&self.inner).letters.clone()
    }

    /// A person changes how a letter stands: asks for it, or drops it.
    pub fn set_letter(&self, id: u64, state: LetterState) {
        if let Some(letter) = lock(&self.inner).letter(id) {
            letter.state = state;
        }
    }

    /// A person asks for a letter in the moment in which the pipeline has looked at what was asked for before.
    pub fn ask_after_next_look(&self, id: u64) {
        lock(&self.inner).asked_after_next_look = Some(id);
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
        let known = stored.checkpoint.as_ref();
        if known.is_some_and(|known| known.sequence >= checkpoint.sequence) {
            let message = "a checkpoint with a lower sequence was saved";
            return Err(Error::definite("checkpoint_order", message));
        }
        stored.checkpoint = Some(checkpoint.clone());
        Ok(())
    }
}

#[async_trait]
impl SchemaHistory for MemoryStore {
    async fn record(&self, schema: &TableSchema, _position: &Position, seen: Option<u32>) -> Result<SchemaVersion> {
        let mut stored = lock(&self.inner);
        let history = stored.schemas.entry(schema.name.qualified()).or_default();
        let first = seen.unwrap_or(history.announced).max(1);
        let skipped = usize::try_from(first - 1).unwrap_or_default();
        let known = history.versions.iter().skip(skipped).position(|known| known == schema);
        let index = known.map_or(history.versions.len(), |index| index + skipped);
        if known.is_none() {
            history.versions.push(schema.clone());
        }
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let passed_over = (2..number)
            .zip(history.versions.windows(2))
            .filter(|(between, _)| seen.is_none() && *between > history.announced.max(1));
        let passed_over = passed_over.filter_map(|(number, pair)| match pair {
            [before, after] => Some(Succession {
                number,
                before: before.clone(),
                after: after.clone(),
            }),
            _ => None,
        });
        Ok(SchemaVersion {
            passed_over: passed_over.collect(),
            number,
            previous: index
                .checked_sub(1)
                .and_then(|before| history.versions.get(before))
                .cloned(),
            is_announced: number <= history.announced.max(1),
        })
    }

    async fn announced(&self, table: &str, version: u32) -> Result<()> {
        let mut stored = lock(&self.inner);
        stored.schemas.entry(table.to_owned()).or_default().announced = version;
        Ok(())
    }

    async fn newest(&self, table: &str) -> Result<Option<TableSchema>> {
        let stored = lock(&self.inner);
        Ok(stored
            .schemas
            .get(table)
            .and_then(|history| history.versions.last())
            .cloned())
    }
}

impl Stored {
    fn letter(&mut self, id: u64) -> Option<&mut StoredLetter> {
        self.letters.iter_mut().find(|letter| letter.id == id)
    }
}

#[async_trait]
impl DeadLetterStore for MemoryStore {
    async fn quarantine(&self, letters: &[Letter], maximum: Maximum) -> Result<Vec<LetterState>> {
        let mut stored = lock(&self.inner);
        if stored.refuse_saves {
            return Err(Error::transient("state_unwritable", "the disk is full"));
        }
        let before = stored.letters.len();
        let mut states = Vec::new();
        for letter in letters {
            let known = stored
                .letters
                .iter_mut()
                .find(|known| known.letter.identity == letter.identity);
            if let Some(known) = known {
                if known.state == LetterState::Replayed {
                    known.state = LetterState::Waiting;
                    known.letter = letter.clone();
                }
                states.push(known.state);
            } else {
                states.push(LetterState::Waiting);
                let id = stored.letters.last().map_or(1, |last| last.id + 1);
                stored.letters.push(StoredLetter {
                    id,
                    state: LetterState::Waiting,
                    attempts: 1,
                    letter: letter.clone(),
                });
            }
        }
        let open = stored.letters.iter().filter(|letter| letter.state.is_open());
        if stored.letters.len() > before && open.count() as u64 > maximum.letters {
            stored.letters.truncate(before);
            return Err(Error::definite(FULL, "too many letters wait"));
        }
        Ok(states)
    }

    async fn dropped(&self, identities: &[String]) -> Result<Vec<String>> {
        let letters = self.letters().into_iter();
        let dropped = letters.filter(|letter| letter.state == LetterState::Dropped);
        let dropped = dropped.map(|letter| letter.letter.identity);
        Ok(dropped.filter(|identity| identities.contains(identity)).collect())
    }

    async fn waiting(&self) -> Result<Vec<Waiting>> {
        let open = self.letters().into_iter().filter(|letter| letter.state.is_open());
        let waiting = open.map(|letter| Waiting {
            id: letter.id,
            state: letter.state,
            keys: letter.letter.keys,
        });
        Ok(waiting.collect())
    }

    async fn requested(&self, limit: usize) -> Result<Vec<StoredLetter>> {
        let letters = self.letters().into_iter();
        let requested = letters.filter(|letter| letter.state == LetterState::ReplayRequested);
        let requested = requested.take(limit).collect();
        let asked = lock(&self.inner).asked_after_next_look.take();
        if let Some(id) = asked {
            self.set_letter(id, LetterState::ReplayRequested);
        }
        Ok(requested)
    }

    async fn settle(&self, settlements: &[(u64, Settlement)]) -> Result<()> {
        let mut stored = lock(&self.inner);
        for (id, settlement) in settlements {
            let Some(letter) = stored.letter(*id) else { continue };
            match settlement {
                Settlement::Replayed => {
                    letter.state = LetterState::Replayed;
                    letter.letter.original = None;
                }
                Settlement::Refused { code, reason } => {
                    letter.state = LetterState::Waiting;
                    letter.attempts += 1;
                    letter.letter.code.clone_from(code);
                    letter.letter.reason.clone_from(reason);
                }
                Settlement::Behind => letter.state = LetterState::Waiting,
            }
        }
        Ok(())
    }

    async fn summary(&self) -> Result<LetterSummary> {
        let open: Vec<_> = self
            .letters()
            .into_iter()
            .filter(|letter| letter.state.is_open())
            .collect();
        let newest = open.last().map(|letter| &letter.letter);
        Ok(LetterSummary {
            waiting: open.len() as u64,
            oldest_us: open.first().map(|letter| letter.letter.quarantined_at_us),
            newest_code: newest.map(|letter| letter.code.clone()),
            newest_reason: newest.map(|letter| letter.reason.clone()),
        })
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

    async fn settings(&self, subject: &str) -> Result<SubjectSettings> {
        Ok(self.ask()?.settings.get(subject).cloned().unwrap_or_default())
    }

    async fn set(&self, subject: &str, settings: &SubjectSettings) -> Result<()> {
        self.ask()?.settings.insert(subject.to_owned(), settings.clone());
        Ok(())
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

    fn grants(&self, _uses: &[TopicUse]) -> Script {
        Script::new(Language::Shell, "A stream in memory.")
    }

    async fn ensure_topic(&self, _topic: &TopicSpec) -> Result<()> {
        Ok(())
    }

    async fn producer(&self) -> Result<Box<dyn Producer>> {
        let stream = Arc::clone(&self.0);
        Ok(Box::new(MemoryProducer { stream, failed: false }))
    }

    async fn consumer(&self, _spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        let stream = Arc::clone(&self.0);
        Ok(Box::new(MemoryConsumer { stream, next: 0 }))
    }

    async fn subscribe(&self, _spec: SubscriptionSpec) -> Result<Box<dyn Subscription>> {
        let sentence = "a stream in memory has no groups of readers";
        std::future::ready(Err(Error::definite("not_subscribable", sentence))).await
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
