//! The event stream: one broker behind producers that may reject a batch, write it and lose the answer, write half of it,
//! hold the answer back, or be slow; answers come in any order. When a client goes away, some of what it had sent is still written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use rand::RngExt;
use tailrace_core::batch::{ChangeBatch, Refusal};
use tailrace_core::check::Finding;
use tailrace_core::error::{Error, Result};
use tailrace_core::event::{EncodedBatch, EncodedRecord, Refused};
use tailrace_core::grants::{Script, TopicUse};
use tailrace_core::ports::sink::{Subscription, SubscriptionSpec};
use tailrace_core::ports::{Consumer, ConsumerSpec, Encoder, EventStream, Producer, Receipt, TopicSpec};
use tailrace_core::task::spawn_named;
use tailrace_core::testkit::{MemoryStream, SharedStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::database::{table_name, table_number, version_of};
use crate::oracle::Event;
use crate::windows::WINDOW;
use crate::world::{State, World, pass};

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accept,
    /// Never written.
    Reject,
    /// Written, and told as failed.
    FailAfterWrite,
    /// The first half is written, and told as failed.
    FailMidway,
}

/// When the answer comes, once the batch is written.
#[derive(Debug, Clone, Copy)]
enum Answer {
    After(Duration),
    /// When a gate is opened.
    Held,
}

/// A batch that was handed over and not yet written.
struct Waiting {
    due: Instant,
    events: Vec<Event>,
    fate: Fate,
    answer: oneshot::Sender<Result<Receipt>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    failed: bool,
}

/// What is on its way, by producer.
#[derive(Default)]
pub(crate) struct Broker {
    queues: BTreeMap<u64, Queue>,
    producers: u64,
    outstanding_bytes: usize,
}

pub(crate) struct ModelStream(pub(crate) Arc<World>);

struct ModelProducer {
    world: Arc<World>,
    number: u64,
    arrived: Arc<Notify>,
}

/// Bytes that are in flight until the pipeline has the answer, or gives it up.
struct Outstanding(Arc<World>, usize);

/// One line of text for each event, on a topic for each table.
pub(crate) struct ModelEncoder(pub(crate) Arc<World>);

fn lost() -> Error {
    Error::transient("stream_unreachable", "the stream did not answer")
}

// === impl Broker ===

/// Writes the batch at the head of a queue, or does with it what was drawn for it.
fn write_next(state: &mut State, producer: u64) {
    let Some(waiting) = state
        .broker
        .queues
        .get_mut(&producer)
        .and_then(|queue| queue.waiting.pop_front())
    else {
        return;
    };
    let Waiting {
        events, fate, answer, ..
    } = waiting;
    let written = match fate {
        Fate::Accept | Fate::FailAfterWrite => events.len(),
        Fate::FailMidway => events.len() / 2,
        Fate::Reject => 0,
    };
    for event in &events[..written] {
        if event.id.contains(WINDOW) {
            state.journal.count("snapshot row");
        }
        let verdict = state.oracle.written(&state.database, event);
        state.journal.judge(verdict);
    }
    state.journal.note(format!(
        "stream: {fate:?}, {written} of {} written from {}",
        events.len(),
        events[0].id
    ));
    let receipt = Receipt {
        records: written,
        bytes: 0,
    };
    let result = if fate == Fate::Accept {
        Ok(receipt)
    } else {
        Err(fail(state, producer, fate))
    };
    // Who went away does not hear it.
    drop(answer.send(result));
}

/// The producer has failed: nothing that was handed to it later is delivered.
fn fail(state: &mut State, producer: u64, fate: Fate) -> Error {
    state.journal.count(match fate {
        Fate::Reject | Fate::Accept => "rejected",
        Fate::FailAfterWrite => "failed after write",
        Fate::FailMidway => "failed midway",
    });
    if let Some(queue) = state.broker.queues.get_mut(&producer) {
        queue.failed = true;
        for later in queue.waiting.drain(..) {
            drop(later.answer.send(Err(lost())));
        }
    }
    if fate == Fate::Reject {
        // Rejecting is all that a definite error can do: a record that is too large, a topic that may not be written.
        return state.raise("stream");
    }
    state.raised("stream", lost())
}

/// Writes what is due, until the client goes away.
async fn serve(world: Arc<World>, producer: u64, arrived: Arc<Notify>) {
    loop {
        let next = world.with(|state| {
            let queue = state.broker.queues.get(&producer)?;
            Some(queue.waiting.front().map(|waiting| waiting.due))
        });
        match next {
            None => return,
            Some(None) => arrived.notified().await,
            Some(Some(due)) => {
                tokio::time::sleep_until(due).await;
                world.with(|state| write_next(state, producer));
            }
        }
    }
}

// === impl ModelStream ===

#[async_trait]
impl EventStream for ModelStream {
    async fn check(&self, _topics: &[TopicSpec]) -> Vec<Finding> {
        Vec::new()
    }

    fn grants(&self, uses: &[TopicUse]) -> Script {
        SharedStream(Arc::new(MemoryStream::default())).grants(uses)
    }

    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<()> {
        self.0.visit("stream.ensure_topic").await?;
        self.0.with(|state| state.oracle.topic_made(table_number(&topic.name)));
        self.0.pause().await;
        Ok(())
    }

    async fn producer(&self) -> Result<Box<dyn Producer>> {
        self.0.visit("stream.producer").await?;
        let arrived = Arc::new(Notify::new());
        let number = self.0.with(|state| {
            state.broker.producers += 1;
            state.broker.queues.insert(state.broker.producers, Queue::default());
            state.broker.producers
        });
        spawn_named("broker", serve(Arc::clone(&self.0), number, Arc::clone(&arrived)));
        Ok(Box::new(ModelProducer {
            world: Arc::clone(&self.0),
            number,
            arrived,
        }))
    }

    async fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        SharedStream(Arc::new(MemoryStream::default())).consumer(spec).await
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>> {
        SharedStream(Arc::new(MemoryStream::default())).subscribe(spec).await
    }

    async fn topics(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

// === impl ModelProducer ===

impl ModelProducer {
    fn draw(state: &mut State) -> (Fate, Answer, Duration) {
        let profile = state.profile.clone();
        let fate = if state.fault(profile.rejects) {
            Fate::Reject
        } else if state.fault(profile.fails_after_write) {
            Fate::FailAfterWrite
        } else if state.fault(profile.fails_midway) {
            Fate::FailMidway
        } else {
            Fate::Accept
        };
        let answer = if state.fault(profile.holds) {
            state.journal.count("answer held");
            Answer::Held
        } else if state.fault(profile.is_slow) {
            state.journal.count("answer slow");
            Answer::After(Duration::from_millis(state.dice.random_range(500..15_000)))
        } else {
            Answer::After(Duration::from_millis(state.dice.random_range(0..30)))
        };
        (fate, answer, Duration::from_millis(state.dice.random_range(0..15)))
    }
}

impl Producer for ModelProducer {
    fn deliver(&mut self, batch: EncodedBatch) -> BoxFuture<'static, Result<Receipt>> {
        let bytes = batch.buffer.len();
        let value = |record: &EncodedRecord| {
            let text = batch.slice(record.value.as_ref().unwrap());
            Event::from_text(std::str::from_utf8(text).unwrap())
        };
        let events: Vec<Event> = batch.records.iter().map(value).collect();
        let (tell, answered) = oneshot::channel();
        let answer = self.world.with(|state| {
            let verdict = state.oracle.delivered(state.broker.outstanding_bytes, &events);
            state.journal.judge(verdict);
            state.broker.outstanding_bytes += bytes;
            let (fate, answer, writing) = Self::draw(state);
            let queue = state.broker.queues.get_mut(&self.number).unwrap();
            if queue.failed {
                drop(tell.send(Err(lost())));
                return Answer::After(Duration::ZERO);
            }
            let earliest = queue.waiting.back().map_or(Instant::now(), |waiting| waiting.due);
            queue.waiting.push_back(Waiting {
                due: earliest + writing,
                events: events.clone(),
                fate,
                answer: tell,
            });
            answer
        });
        self.arrived.notify_one();
        let outstanding = Outstanding(Arc::clone(&self.world), bytes);
        Box::pin(async move {
            let world = &outstanding.0;
            let result = answered.await.unwrap_or_else(|_| Err(lost()));
            match answer {
                Answer::After(delay) => pass(delay).await,
                Answer::Held => held(world).await,
            }
            if result.is_ok() {
                world.with(|state| state.oracle.acknowledged(&events));
            }
            result
        })
    }
}

/// Waits for a gate, as long as there are faults.
async fn held(world: &World) {
    let opened = world.gates.notified();
    if !world.with(|state| state.calm) {
        opened.await;
    }
}

impl Drop for ModelProducer {
    /// What has reached the broker is written; what has not is gone with the client.
    fn drop(&mut self) {
        self.world.with(|state| {
            let waiting = state
                .broker
                .queues
                .get(&self.number)
                .map_or(0, |queue| queue.waiting.len());
            let arrived = state.dice.random_range(0..=waiting);
            if arrived > 0 {
                state.journal.count("written after the client was gone");
            }
            for _ in 0..arrived {
                write_next(state, self.number);
            }
            state.broker.queues.remove(&self.number);
        });
        self.arrived.notify_one();
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.with(|state| state.broker.outstanding_bytes -= self.1);
    }
}

// === impl ModelEncoder ===

/// Always the same events, as long as nothing is mended.
fn is_poison(state: &State, event: &Event) -> bool {
    let number = event.version.wrapping_mul(31) + u64::from(event.key) * 7 + event.table as u64;
    state.profile.letters.is_some() && !state.mended && number.is_multiple_of(11)
}

impl Encoder for ModelEncoder {
    fn encode(&mut self, batch: &ChangeBatch) -> Result<EncodedBatch> {
        self.0.with(|state| {
            let likelihood = state.profile.fails * state.profile.definite;
            if !state.fault(likelihood) {
                return Ok(());
            }
            state.journal.count("poison");
            Err(state.raised(
                "encoder",
                Error::poison("value_unencodable", "one event cannot be encoded"),
            ))
        })?;
        let mut encoded = EncodedBatch::default();
        for (index, view) in batch.views().enumerate() {
            let (change, schema) = (view.change(), view.table().unwrap());
            let row = view.after().or(view.before()).unwrap();
            let number = |column| match row.get(column) {
                tailrace_core::value::Value::Int(number) => u64::try_from(number).unwrap(),
                other => panic!("{other:?}"),
            };
            let event = Event {
                id: format!(
                    "{}:{}:{}",
                    batch.identity,
                    view.transaction().unwrap().position,
                    change.ordinal
                ),
                table: table_number(&schema.name.qualified()),
                key: u32::try_from(number(0)).unwrap(),
                version: number(1),
                operation: change.operation.code().to_owned(),
                schema: version_of(schema),
            };
            if self.0.with(|state| is_poison(state, &event)) {
                let refusal = Refusal {
                    code: "value_not_encodable",
                    reason: event.id,
                };
                encoded.refused.push(Refused { change: index, refusal });
                continue;
            }
            let topic = encoded.topic_index(&table_name(event.table).into());
            let start = encoded.buffer.len();
            encoded.buffer.extend_from_slice(event.to_text().as_bytes());
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
