//! A batch on its way to the stream, as spans. They end together, when it is durable.

use super::{Attribute, Span, SpanKind, TRACEPARENT, TraceContext, Tracer, count};
use crate::event::{EncodedBatch, header};
use crate::telemetry::now_us;

/// What spans say whose batch never became durable.
const GIVEN_UP: &str = "it did not become durable; it is read again from the last checkpoint";

/// The spans of a batch that is on its way.
#[derive(Debug)]
pub struct Journey {
    tracer: Tracer,
    open: Vec<Span>,
}

/// When what happened to a batch, microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// The oldest of its transactions was committed; 0 where that is not known.
    pub committed_us: i64,
    /// It was there.
    pub taken_us: i64,
    /// It was encoded.
    pub encoded_us: i64,
}

// === impl Journey ===

impl Journey {
    /// The spans of a batch that is about to be handed over; `None` where nobody wants any. Events that bring a context get the
    /// span of their publication as the parent of whoever reads them.
    pub fn begin(tracer: &Tracer, connector: &str, stages: Stages, encoded: &mut EncodedBatch) -> Option<Box<Self>> {
        tracer.0.as_ref()?;
        let mut open = Vec::new();
        if tracer.samples() {
            open.extend(of_batch(connector, stages, encoded));
        }
        of_events(connector, stages, encoded, &mut open);
        (!open.is_empty()).then(|| {
            Box::new(Self {
                tracer: tracer.clone(),
                open,
            })
        })
    }

    /// The batch is durable.
    pub fn arrive(mut self) {
        self.end(None);
    }

    fn end(&mut self, error: Option<&'static str>) {
        let ended_us = now_us();
        for mut span in self.open.drain(..) {
            // What was encoded is over already.
            if span.ended_us == 0 {
                span.ended_us = ended_us.max(span.began_us);
                span.error = error;
            }
            self.tracer.send(span);
        }
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        self.end(Some(GIVEN_UP));
    }
}

/// The whole way, and its two stages.
fn of_batch(connector: &str, stages: Stages, encoded: &EncodedBatch) -> [Span; 3] {
    let mut whole = Span::first("carry", (stages.taken_us, 0), connector);
    whole.say("messaging.batch.message_count", count(encoded.records.len()));
    whole.say("tailrace.batch.bytes", count(encoded.buffer.len()));
    if let Ok(waited_us @ 1..) = u64::try_from(stages.taken_us - stages.committed_us)
        && stages.committed_us > 0
    {
        whole.say("tailrace.committed_before_us", Attribute::Count(waited_us));
    }
    let stage =
        |name: &str, began_us, ended_us| Span::below(whole.context, name.to_owned(), (began_us, ended_us), connector);
    let encode = stage("encode", stages.taken_us, stages.encoded_us.max(stages.taken_us));
    let mut deliver = stage("deliver", stages.encoded_us, 0);
    deliver.kind = SpanKind::Producer;
    deliver.say("messaging.operation.type", Attribute::Text("send".to_owned()));
    if let [topic] = &encoded.topics[..] {
        deliver.say("messaging.destination.name", Attribute::Text(topic.to_string()));
    }
    [whole, encode, deliver]
}

/// A span for each event whose trace is kept, from when it happened.
fn of_events(connector: &str, stages: Stages, encoded: &mut EncodedBatch, open: &mut Vec<Span>) {
    for index in 0..encoded.records.len() {
        let Some((mut span, place)) = of_event(connector, stages, encoded, index) else {
            continue;
        };
        let context = span.context.to_string();
        if encoded.overwrite(&place, context.as_bytes()) {
            span.kind = SpanKind::Producer;
            open.push(span);
        }
    }
}

/// The span of one event and where its context is written.
fn of_event(
    connector: &str,
    stages: Stages,
    encoded: &EncodedBatch,
    index: usize,
) -> Option<(Span, std::ops::Range<usize>)> {
    let record = encoded.records.get(index)?;
    let place = encoded.place_of_header(record, TRACEPARENT)?;
    let parent = TraceContext::parse(std::str::from_utf8(encoded.slice(&place)).ok()?)?;
    if !parent.is_sampled {
        return None;
    }
    let topic = encoded.topic(record);
    // What a row says of its own time may be anything; a transaction of this batch it is not older than.
    let happened_us = record.timestamp_ms.saturating_mul(1000);
    let began_us = happened_us.max(stages.committed_us).min(stages.taken_us);
    let mut span = Span::below(parent, format!("publish {topic}"), (began_us, 0), connector);
    span.say("messaging.operation.type", Attribute::Text("send".to_owned()));
    span.say("messaging.destination.name", Attribute::Text(topic.to_owned()));
    let event_id = encoded
        .record_headers(record)
        .find(|(name, _)| *name == header::EVENT_ID);
    if let Some((_, event_id)) = event_id {
        let event_id = String::from_utf8_lossy(event_id).into_owned();
        span.say("messaging.message.id", Attribute::Text(event_id));
    }
    Some((span, place))
}
