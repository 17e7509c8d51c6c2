//! The numbers of the process, under the names that every exporter uses for them.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::float;

/// What is known of the process itself.
#[derive(Debug, Clone, Default)]
pub struct ProcessNumbers {
    /// Release.
    pub version: &'static str,
    /// Since the start, seconds.
    pub uptime_seconds: f64,
    /// When it started, seconds since 1970; the same at each scrape.
    pub start_time_seconds: Option<f64>,
    /// Memory that the process holds, bytes; `None` where the system does not say.
    pub resident_bytes: Option<u64>,
    /// Processor time that it used, seconds.
    pub cpu_seconds: Option<f64>,
    /// File descriptors that are open: files, sockets, pipes.
    pub open_descriptors: Option<u64>,
    /// How many may be.
    pub maximum_descriptors: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// `None` where nobody wants traces.
    pub spans: Option<SpanNumbers>,
}

/// What became of the spans of traces.
#[derive(Debug, Clone, Copy)]
pub struct SpanNumbers {
    /// The collector took them.
    pub sent: u64,
    /// There was no room for them, or the collector did not take them.
    pub dropped: u64,
}

/// A number of the process.
pub(super) struct ProcessMetric {
    /// Without unit and `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: MetricType,
    /// `None` where the system does not say.
    pub(super) value: fn(&ProcessNumbers) -> Option<f64>,
}

pub(super) static METRICS: [ProcessMetric; 9] = [
    ProcessMetric {
        name: "tailrace_uptime",
        help: "Since the process started",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        value: |process| Some(process.uptime_seconds),
    },
    ProcessMetric {
        name: "process_start_time",
        help: "When the process started, since 1970",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        value: |process| process.start_time_seconds,
    },
    ProcessMetric {
        name: "process_cpu",
        help: "Processor time that the process used, user and system",
        unit: Some(Unit::Seconds),
        kind: MetricType::Counter,
        value: |process| process.cpu_seconds,
    },
    ProcessMetric {
        name: "process_resident_memory",
        help: "Memory that the process holds",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        value: |process| process.resident_bytes.map(float),
    },
    ProcessMetric {
        name: "process_open_fds",
        help: "File descriptors that are open: files, sockets, pipes",
        unit: None,
        kind: MetricType::Gauge,
        value: |process| process.open_descriptors.map(float),
    },
    ProcessMetric {
        name: "process_max_fds",
        help: "File descriptors that may be open",
        unit: None,
        kind: MetricType::Gauge,
        value: |process| process.maximum_descriptors.map(float),
    },
    ProcessMetric {
        name: "process_threads",
        help: "Threads of the process",
        unit: None,
        kind: MetricType::Gauge,
        value: |process| process.threads.map(float),
    },
    ProcessMetric {
        name: "tailrace_trace_spans_sent",
        help: "Spans that the collector of traces took",
        unit: None,
        kind: MetricType::Counter,
        value: |process| process.spans.map(|spans| float(spans.sent)),
    },
    ProcessMetric {
        name: "tailrace_trace_spans_dropped",
        help: "Spans that found no room, or that the collector of traces did not take",
        unit: None,
        kind: MetricType::Counter,
        value: |process| process.spans.map(|spans| float(spans.dropped)),
    },
];
