//! Spans as OTLP has them, 1.x: `opentelemetry/proto/collector/trace/v1/trace_service.proto` and what it imports
//! (<https://github.com/open-telemetry/opentelemetry-proto>). The tags are those of the files; what is not sent is left out.

use prost::Message;
use tailrace_core::trace::{Attribute, Span, SpanKind};

/// The kinds by their numbers.
const INTERNAL: i32 = 1;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;
/// The W3C's flag that a trace is kept.
const SAMPLED: u32 = 1;

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyValueOf", tags = "1, 3")]
    value: Option<AnyValueOf>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AnyValueOf {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Integer(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// The body of a request.
pub(super) fn request(service_name: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = Resource {
        attributes: vec![
            text("service.name", service_name),
            text("service.version", version),
            text("process.pid", &std::process::id().to_string()),
        ],
    };
    let scope = InstrumentationScope {
        name: "tailrace".to_owned(),
        version: version.to_owned(),
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.iter().map(wire).collect(),
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
        }],
    };
    request.encode_to_vec()
}

/// How many spans an answer says were refused; none where it says nothing.
pub(super) fn refused(body: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(refused).unwrap_or_default()
}

fn wire(span: &Span) -> WireSpan {
    let parent = span.parent.map(|parent| parent.0.to_vec());
    let status = span.error.map(|message| Status {
        message: message.to_owned(),
        code: ERROR,
    });
    let attributes = span.attributes.iter().map(|(key, value)| match value {
        Attribute::Text(value) => text(key, value),
        Attribute::Count(value) => key_value(key, AnyValueOf::Integer(i64::try_from(*value).unwrap_or(i64::MAX))),
    });
    WireSpan {
        trace_id: span.context.trace.0.to_vec(),
        span_id: span.context.span.0.to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        name: span.name.clone(),
        kind: match span.kind {
            SpanKind::Internal => INTERNAL,
            SpanKind::Producer => PRODUCER,
            SpanKind::Consumer => CONSUMER,
        },
        start_time_unix_nano: nanoseconds(span.began_us),
        end_time_unix_nano: nanoseconds(span.ended_us),
        attributes: attributes.collect(),
        status,
        flags: SAMPLED,
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, AnyValueOf::Text(value.to_owned()))
}

fn key_value(key: &str, value: AnyValueOf) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn nanoseconds(at_us: i64) -> u64 {
    u64::try_from(at_us).unwrap_or_default().saturating_mul(1000)
}
