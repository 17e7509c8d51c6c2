//! Traces: where the time of batches goes, and the spans of single events that bring the trace of whoever caused them.
//!
//! ```text
//!   application ── INSERT INTO outbox (…, traceparent) ─▶ `publish orders`  ─▶ whoever reads the topic
//!    its span ◀──────────────── parent ────────────────── ours: commit to durable ◀── parent ── theirs
//! ```
//!
//! A context is that of the W3C (<https://www.w3.org/TR/trace-context/>); what a span is, OpenTelemetry says. Spans leave through a
//! bounded queue that nobody waits for: where it is full they are dropped and counted. Nothing here knows how they are sent.

mod context;
mod journey;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::record_batch::RecordView;
use crate::telemetry::now_us;

pub use self::context::{SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId};
pub use self::journey::{Journey, Stages};

/// On which side of an exchange a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Within the process.
    Internal,
    /// It hands something to a stream.
    Producer,
    /// It takes something from a stream.
    Consumer,
}

/// What is said of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A name.
    Text(String),
    /// A number of things.
    Count(u64),
}

/// Something that took time, as part of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it is, and where it belongs.
    pub context: TraceContext,
    /// The span that caused it; `None` for the first of a trace.
    pub parent: Option<SpanId>,
    /// What was done; of few different words.
    pub name: String,
    /// On which side.
    pub kind: SpanKind,
    /// When it began, microseconds since 1970.
    pub began_us: i64,
    /// When it ended, microseconds since 1970.
    pub ended_us: i64,
    /// What else is known.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it came to nothing, in a sentence.
    pub error: Option<&'static str>,
}

/// Where spans go; nowhere by default.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Outlet>>);

#[derive(Debug)]
struct Outlet {
    queue: mpsc::Sender<Span>,
    sample_ratio: f64,
    dropped: AtomicU64,
}

// === impl Tracer ===

impl Tracer {
    /// Of batches the given share is traced; of events whatever their context wants.
    pub fn new(queue: mpsc::Sender<Span>, sample_ratio: f64) -> Self {
        Self(Some(Arc::new(Outlet {
            queue,
            sample_ratio,
            dropped: AtomicU64::new(0),
        })))
    }

    /// Spans that found no room.
    pub fn dropped(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |outlet| outlet.dropped.load(Ordering::Relaxed))
    }

    /// Records were written into a target, together, since `began_us`.
    pub fn written<'a>(&self, connector: &str, began_us: i64, records: impl Iterator<Item = RecordView<'a>>) {
        if self.0.is_none() {
            return;
        }
        let ended_us = now_us();
        let mut written = 0;
        for record in records {
            written += 1;
            let Some(parent) = record.header(TRACEPARENT).and_then(TraceContext::parse) else {
                continue;
            };
            if !parent.is_sampled {
                continue;
            }
            let topic = &record.partition().topic;
            let name = format!("process {topic}");
            let mut span = Span::below(parent, name, (began_us, ended_us), connector);
            span.kind = SpanKind::Consumer;
            span.say("messaging.operation.type", Attribute::Text("process".to_owned()));
            span.say("messaging.destination.name", Attribute::Text(topic.to_string()));
            self.send(span);
        }
        if self.samples() {
            let mut span = Span::first("write", (began_us, ended_us), connector);
            span.say("messaging.batch.message_count", count(written));
            self.send(span);
        }
    }

    fn samples(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|outlet| rand::random::<f64>() < outlet.sample_ratio)
    }

    fn send(&self, span: Span) {
        if let Some(outlet) = &self.0
            && outlet.queue.try_send(span).is_err()
        {
            outlet.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// === impl Span ===

impl Span {
    /// The first of a trace.
    fn first(name: &str, (began_us, ended_us): (i64, i64), connector: &str) -> Self {
        Self {
            context: TraceContext::new(),
            parent: None,
            name: name.to_owned(),
            kind: SpanKind::Internal,
            began_us,
            ended_us,
            attributes: vec![("tailrace.connector", Attribute::Text(connector.to_owned()))],
            error: None,
        }
    }

    /// One that another caused.
    fn below(parent: TraceContext, name: String, times: (i64, i64), connector: &str) -> Self {
        Self {
            context: parent.child(),
            parent: Some(parent.span),
            ..Self::first(&name, times, connector)
        }
    }

    fn say(&mut self, name: &'static str, value: Attribute) {
        self.attributes.push((name, value));
    }
}

fn count(value: usize) -> Attribute {
    Attribute::Count(u64::try_from(value).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
