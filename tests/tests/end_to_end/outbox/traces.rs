//! The trace of whoever wrote a row goes on: a span here, the context in the record, and a span in whoever reads it.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};
use tailrace_tests::database::Version;
use tailrace_tests::servers::{Collector, PostgresVersion, poll_until};

use super::{DEADLINE, Outbox, Place, id};

/// The context of the application's own span, as the W3C's examples have it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

impl Outbox {
    /// In PostgreSQL, read from the log; a mirror of the events beside it, and further lines of the file.
    async fn traced(more: &str) -> Outbox {
        let outbox = Outbox::installed_at(Place::Server(Version::Postgres(PostgresVersion::V17))).await;
        outbox
            .execute("create table mirror (id bigint primary key, state text)")
            .await
            .unwrap();
        outbox.configure(None, "tables: [public.outbox]");
        let target = outbox.database.as_ref().unwrap().url();
        let mirror = format!(
            "  mirror: {{ stream: events, topics: [\"outbox.event.*\"], sink: {{ type: postgres, url: \"{target}\", table: mirror, \
             key: [id] }} }}\n{more}\n"
        );
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(outbox.daemon.config_file())
            .unwrap();
        file.write_all(mirror.as_bytes()).unwrap();
        outbox
    }

    async fn write(&self, number: usize, context: Option<&str>) {
        let context = context.map_or("null".to_owned(), |context| format!("e'{context}'"));
        let row = format!(
            "insert into outbox (id, aggregatetype, aggregateid, type, payload, tracingspancontext) values ('{}', 'Order', '{number}', \
             'OrderPaid', '{{\"id\": {number}, \"state\": \"paid\"}}', {context})",
            id(number)
        );
        self.execute(&row).await.unwrap();
    }

    /// Headers of the records that carry traces, by the record's key.
    async fn contexts(&self, count: usize) -> BTreeMap<String, Vec<(String, String)>> {
        let events = self.wait_for_events(&["outbox.event.Order"], count).await;
        let events = events.iter().map(|event| {
            let headers = event.headers.clone().into_iter();
            let found = headers.filter(|(name, _)| name.starts_with("trac"));
            (event.key_json().to_string(), found.collect())
        });
        events.collect()
    }
}

fn context(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// Spans by a name, of some trace.
fn named<'a>(spans: &'a [Value], trace: Option<&str>, name: &str) -> Vec<&'a Value> {
    let is_one = |span: &&Value| span["name"] == name && trace.is_none_or(|trace| span["trace"] == trace);
    spans.iter().filter(is_one).collect()
}

fn wait_for(collector: &Collector, what: &str, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let found = poll_until(what, DEADLINE, || {
        let spans = collector.spans()?;
        Ok(is_there(&spans).then_some(spans))
    });
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_row_through_the_topic_into_the_target() {
    // It is being started, and refuses the first requests.
    let collector = Collector::start(2).unwrap();
    let traces = format!(
        "traces: {{ url: \"{}\", headers: {{ api-key: the-key }}, sample_ratio: 1, service_name: shop }}",
        collector.url()
    );
    let outbox = Outbox::traced(&traces).await;
    outbox.start();
    outbox.write(1, Some(&context("01"))).await;
    outbox.write(2, Some(&context("00"))).await;
    outbox.write(3, None).await;
    let contexts = outbox.contexts(3).await;
    let spans = wait_for(&collector, "the span of the target", |spans| {
        !named(spans, Some(TRACE), "process outbox.event.Order").is_empty()
            && !named(spans, Some(TRACE), "publish outbox.event.Order").is_empty()
    });
    let published = named(&spans, Some(TRACE), "publish outbox.event.Order");
    let processed = named(&spans, Some(TRACE), "process outbox.event.Order");
    let ([published], [processed]) = (&published[..], &processed[..]) else {
        panic!("{spans:?}");
    };
    assert_eq!(
        (&published["parent"], &published["kind"]),
        (&json!(SPAN), &json!("SPAN_KIND_PRODUCER"))
    );
    assert_eq!(
        (&processed["parent"], &processed["kind"]),
        (&published["span"], &json!("SPAN_KIND_CONSUMER"))
    );
    for span in [published, processed] {
        assert!(span["ended_ns"].as_u64() > span["began_ns"].as_u64(), "{span}");
        assert_eq!(
            (&span["status"], &span["api_key"]),
            (&json!("STATUS_CODE_UNSET"), &json!("the-key"))
        );
        assert_eq!(span["resource"]["service.name"], "shop");
        assert_eq!(span["attributes"]["messaging.destination.name"], "outbox.event.Order");
    }
    assert_eq!(published["attributes"]["messaging.message.id"], json!(id(1)));
    assert_eq!(published["attributes"]["tailrace.connector"], json!(outbox.name()));
    // Whoever reads the record continues our span; what nobody keeps goes on as it was.
    let ours = format!("00-{TRACE}-{}-01", published["span"].as_str().unwrap());
    assert_eq!(contexts["1"], [("traceparent".to_owned(), ours)]);
    assert_eq!(contexts["2"], [("traceparent".to_owned(), context("00"))]);
    assert!(contexts["3"].is_empty(), "{contexts:?}");
    let spans = wait_for(&collector, "the spans of batches", |spans| {
        !named(spans, None, "carry").is_empty()
    });
    let carried = named(&spans, None, "carry")[0];
    for stage in ["encode", "deliver"] {
        let stages = named(&spans, carried["trace"].as_str(), stage);
        assert_eq!(stages[0]["parent"], carried["span"], "{stages:?}");
    }
    let metrics = outbox.daemon.get("/metrics").unwrap().body;
    assert!(!metrics.contains("tailrace_trace_spans_sent_total 0.0"), "{metrics}");
    assert!(metrics.contains("tailrace_trace_spans_dropped_total 0.0"), "{metrics}");
    // The two that were refused were sent again, and nobody was told a key.
    let log = outbox.daemon.log();
    assert!(
        log.contains("traces_unsent") && log.contains("503") && !log.contains("the-key"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_a_trace_becomes_headers_also_where_nobody_collects() {
    let outbox = Outbox::traced("").await;
    outbox.start();
    let properties = format!(
        "#Sun Nov 22 10:00:00 UTC 2026\\ntraceparent={}\\ntracestate=a\\\\=1\\n",
        context("01")
    );
    outbox.write(1, Some(&properties)).await;
    let fields = format!("{{\"traceparent\": \"{}\", \"tracestate\": \"a=1\"}}", context("01"));
    outbox.write(2, Some(&fields)).await;
    outbox.write(3, Some("span 7 of 9")).await;
    let contexts = outbox.contexts(3).await;
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let both = [header("traceparent", &context("01")), header("tracestate", "a=1")];
    assert_eq!((&contexts["1"][..], &contexts["2"][..]), (&both[..], &both[..]));
    assert_eq!(contexts["3"], [header("tracingspancontext", "span 7 of 9")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_costs_no_event_and_no_stop() {
    let outbox = Outbox::traced("traces: { url: \"http://127.0.0.1:1\", sample_ratio: 1 }").await;
    outbox.start();
    for number in 1..=20 {
        outbox.write(number, Some(&context("01"))).await;
    }
    assert_eq!(outbox.contexts(20).await.len(), 20);
    let told = poll_until("a warning", DEADLINE, || {
        Ok(outbox.daemon.log().contains("traces_unsent").then_some(()))
    });
    told.unwrap();
    assert!(outbox.daemon.terminate().unwrap().success());
    assert_eq!(outbox.daemon.log().matches("traces_unsent").count(), 1);
}
