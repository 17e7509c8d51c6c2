use std::sync::Arc;

use tokio::sync::mpsc;

use super::journey::{Journey, Stages};
use super::*;
use crate::event::{EncodedBatch, EncodedRecord, HeaderName};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const STAGES: Stages = Stages {
    committed_us: 1_000_000,
    taken_us: 3_000_000,
    encoded_us: 3_500_000,
};

/// A record for each context, in one topic.
fn encoded(contexts: &[&str]) -> EncodedBatch {
    let mut batch = EncodedBatch::default();
    let topic = batch.topic_index(&Arc::from("orders"));
    for context in contexts {
        let first = batch.headers.len();
        let name = batch.append(TRACEPARENT.as_bytes());
        let value = batch.append(context.as_bytes());
        batch.headers.push((HeaderName::Written(name), value));
        batch.records.push(EncodedRecord {
            topic,
            key: None,
            value: None,
            headers: first..batch.headers.len(),
            timestamp_ms: 2_000,
        });
    }
    batch
}

fn context_of(batch: &EncodedBatch, record: usize) -> String {
    let record = &batch.records[record];
    let (_, context) = batch.record_headers(record).next().unwrap();
    String::from_utf8(context.to_vec()).unwrap()
}

fn tracer(sample_ratio: f64) -> (Tracer, mpsc::Receiver<Span>) {
    let (queue, spans) = mpsc::channel(4);
    (Tracer::new(queue, sample_ratio), spans)
}

#[test]
fn contexts_are_read_as_the_standard_has_them() {
    let known = TraceContext::parse(PARENT).unwrap();
    assert!(known.is_sampled);
    assert_eq!(known.to_string(), PARENT);
    let not_kept = PARENT.replace("-01", "-00");
    assert!(!TraceContext::parse(&not_kept).unwrap().is_sampled);
    // Other flags, and versions of later days with more behind them.
    let of_version = |version: &str| PARENT.replacen("00", version, 1);
    for text in [PARENT.replace("-01", "-ff"), of_version("cc") + "-what"] {
        assert!(TraceContext::parse(&text).unwrap().is_sampled, "{text}");
    }
    for wrong in [
        String::new(),
        PARENT.to_uppercase(),
        format!("{PARENT}-what"),
        of_version("ff"),
        PARENT.replace("-01", "-1"),
        PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
        PARENT.replace("00f067aa0ba902b7", "0000000000000000"),
        PARENT.replace("4bf", "4bg"),
        PARENT.replace('-', "_"),
        of_version("+0"),
    ] {
        assert_eq!(TraceContext::parse(&wrong), None, "{wrong}");
    }
}

#[test]
fn an_event_is_a_span_between_its_cause_and_its_readers() {
    let (tracer, mut spans) = tracer(0.0);
    let mut batch = encoded(&[PARENT, "no context", &PARENT.replace("-01", "-00")]);
    let journey = Journey::begin(&tracer, "shop", STAGES, &mut batch).unwrap();
    assert!(spans.try_recv().is_err(), "it is not over");
    let written = TraceContext::parse(&context_of(&batch, 0)).unwrap();
    assert_eq!(context_of(&batch, 1), "no context");
    assert_eq!(context_of(&batch, 2), PARENT.replace("-01", "-00"));
    journey.arrive();
    let span = spans.try_recv().unwrap();
    let parent = TraceContext::parse(PARENT).unwrap();
    assert_eq!((span.context, span.parent), (written, Some(parent.span)));
    assert_eq!(written.trace, parent.trace);
    assert_ne!(written.span, parent.span);
    assert_eq!((&*span.name, span.kind), ("publish orders", SpanKind::Producer));
    assert_eq!((span.began_us, span.error), (2_000_000, None));
    assert!(span.ended_us > span.began_us);
    assert!(spans.try_recv().is_err());
}

#[test]
fn a_batch_is_the_way_and_its_stages() {
    let (tracer, mut spans) = tracer(1.0);
    let mut batch = encoded(&["none"]);
    Journey::begin(&tracer, "shop", STAGES, &mut batch).unwrap().arrive();
    let all: Vec<Span> = std::iter::from_fn(|| spans.try_recv().ok()).collect();
    let names: Vec<&str> = all.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["carry", "encode", "deliver"]);
    assert!(all[1..].iter().all(|span| span.parent == Some(all[0].context.span)));
    assert!(all.iter().all(|span| span.context.trace == all[0].context.trace));
    assert_eq!((all[1].began_us, all[1].ended_us), (3_000_000, 3_500_000));
    let waited = ("tailrace.committed_before_us", Attribute::Count(2_000_000));
    assert!(all[0].attributes.contains(&waited), "{:?}", all[0]);
}

#[test]
fn what_never_became_durable_is_told() {
    let (tracer, mut spans) = tracer(0.0);
    drop(Journey::begin(&tracer, "shop", STAGES, &mut encoded(&[PARENT])));
    assert!(spans.try_recv().unwrap().error.is_some());
}

#[test]
fn nobody_waits_for_spans() {
    let (tracer, spans) = tracer(0.0);
    for _ in 0..6 {
        Journey::begin(&tracer, "shop", STAGES, &mut encoded(&[PARENT]))
            .unwrap()
            .arrive();
    }
    assert_eq!((spans.len(), tracer.dropped()), (4, 2));
    drop(spans);
    Journey::begin(&tracer, "shop", STAGES, &mut encoded(&[PARENT]))
        .unwrap()
        .arrive();
    assert_eq!(tracer.dropped(), 3);
    let nobody = Tracer::default();
    assert!(Journey::begin(&nobody, "shop", STAGES, &mut encoded(&[PARENT])).is_none());
}
