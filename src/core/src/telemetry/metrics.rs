//! Names, units and meanings of every metric, and their text for Prometheus (OpenMetrics 1.0).
//!
//! Labels are bounded: `connector` (from the configuration), `state` (seven names) and `code` (error codes that are
//! written in the source). Tables, topics and positions never become labels: there may be ten thousand of them.

mod connector;
mod process;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Life, Snapshot, Telemetry};

pub use self::process::{ProcessNumbers, SpanNumbers};

/// The media type of [`exposition`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const STATE: &str = "tailrace_state";
const STATE_HELP: &str = "1 for the state that a connector is in, 0 for the others";
const TROUBLE: &str = "tailrace_trouble";
const TROUBLE_HELP: &str = "1 with the code of the error of a degraded or halted connector";
const BUILD: &str = "tailrace_build_info";
const BUILD_HELP: &str = "1 with the release that runs";

/// A metric as its readers should know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// As it is queried; a histogram has three series of this name, with `_bucket`, `_sum` and `_count` behind it.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What its value is in; `None` for a number of things.
    pub unit: Option<String>,
    /// The labels of its series.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Everything, read anew at each scrape.
#[derive(Debug)]
struct Everything {
    connectors: Vec<Arc<Telemetry>>,
    process: ProcessNumbers,
}

const STATES: [&str; 7] = [
    "starting",
    "snapshotting",
    "streaming",
    "degraded",
    "paused",
    "halted",
    "stopped",
];

type KnownConnectors<'a> = [(&'a Arc<Telemetry>, Snapshot)];

/// All metrics of these connectors and of the process, as text.
pub fn exposition(connectors: &[Arc<Telemetry>], process: ProcessNumbers) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Everything {
        connectors: connectors.to_vec(),
        process,
    }));
    let mut written = String::new();
    text::encode(&mut written, &registry)?;
    Ok(written)
}

/// Every metric that there is, those of connectors first.
pub fn described() -> Vec<Described> {
    let numbers = connector::METRICS.iter();
    let numbers = numbers.map(|metric| described_as((metric.name, metric.unit.as_ref()), metric.kind, metric.help));
    let histograms = connector::HISTOGRAMS.iter();
    let histograms =
        histograms.map(|metric| described_as((metric.name, metric.unit.as_ref()), MetricType::Histogram, metric.help));
    let mut all: Vec<_> = numbers.chain(histograms).collect();
    let labelled: [(_, _, &[&str]); 2] = [
        (STATE, STATE_HELP, &["connector", "state"]),
        (TROUBLE, TROUBLE_HELP, &["connector", "code"]),
    ];
    all.extend(labelled.map(|(name, help, labels)| Described {
        labels,
        ..described_as((name, None), MetricType::Gauge, help)
    }));
    all.push(Described {
        labels: &["version"],
        ..described_as((BUILD, None), MetricType::Gauge, BUILD_HELP)
    });
    all.extend(process::METRICS.iter().map(|metric| Described {
        labels: &[],
        ..described_as((metric.name, metric.unit.as_ref()), metric.kind, metric.help)
    }));
    all
}

fn described_as((name, unit): (&str, Option<&Unit>), kind: MetricType, help: &'static str) -> Described {
    let mut name = name.to_owned();
    let unit = unit.map(|unit| unit.as_str().to_owned());
    for part in unit
        .iter()
        .map(String::as_str)
        .chain(is_counter(kind).then_some("total"))
    {
        name = name + "_" + part;
    }
    Described {
        name,
        kind: match kind {
            MetricType::Counter => "counter",
            MetricType::Histogram => "histogram",
            _ => "gauge",
        },
        unit,
        labels: &["connector"],
        help,
    }
}

fn is_counter(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter)
}

/// Prometheus knows only doubles; a count beyond 2^53 is rounded.
#[expect(clippy::cast_precision_loss, reason = "the text format has doubles")]
fn float(value: u64) -> f64 {
    value as f64
}

/// See [`float`].
#[expect(clippy::cast_precision_loss, reason = "the text format has doubles")]
fn signed(value: i64) -> f64 {
    value as f64
}

// === impl Everything ===

impl Collector for Everything {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let known: Vec<(&Arc<Telemetry>, Snapshot)> = self
            .connectors
            .iter()
            .map(|telemetry| (telemetry, telemetry.snapshot()))
            .collect();
        numbers(&mut encoder, &known)?;
        histograms(&mut encoder, &known)?;
        states(&mut encoder, &known)?;
        process(&mut encoder, &self.process)
    }
}

fn numbers(encoder: &mut DescriptorEncoder<'_>, known: &KnownConnectors<'_>) -> Result<(), fmt::Error> {
    for metric in &connector::METRICS {
        let values = known
            .iter()
            .filter_map(|(telemetry, snapshot)| Some((telemetry, (metric.value)(telemetry, snapshot)?)));
        let values: Vec<_> = values.collect();
        if values.is_empty() {
            continue;
        }
        let mut family = encoder.encode_descriptor(metric.name, metric.help, metric.unit.as_ref(), metric.kind)?;
        for (telemetry, value) in values {
            let labels = [("connector", telemetry.connector.as_str())];
            put(family.encode_family(&labels)?, metric.kind, value)?;
        }
    }
    Ok(())
}

fn histograms(encoder: &mut DescriptorEncoder<'_>, known: &KnownConnectors<'_>) -> Result<(), fmt::Error> {
    for metric in &connector::HISTOGRAMS {
        let counted = known.iter().filter_map(|(telemetry, _)| {
            let counted = (metric.value)(&telemetry.histograms).counted()?;
            Some((telemetry, counted))
        });
        let counted: Vec<_> = counted.collect();
        if counted.is_empty() {
            continue;
        }
        let kind = MetricType::Histogram;
        let mut family = encoder.encode_descriptor(metric.name, metric.help, metric.unit.as_ref(), kind)?;
        for (telemetry, counted) in counted {
            let labels = [("connector", telemetry.connector.as_str())];
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<NoLabelSet>(counted.sum, counted.count, &counted.buckets, None)?;
        }
    }
    Ok(())
}

fn put(mut encoder: MetricEncoder<'_>, kind: MetricType, value: f64) -> Result<(), fmt::Error> {
    if is_counter(kind) {
        encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    } else {
        encoder.encode_gauge(&value)
    }
}

/// One series per state, so that an alert can say `tailrace_state{state="halted"} == 1`.
fn states(encoder: &mut DescriptorEncoder<'_>, known: &KnownConnectors<'_>) -> Result<(), fmt::Error> {
    if known.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(STATE, STATE_HELP, None, MetricType::Gauge)?;
    for (telemetry, snapshot) in known {
        for state in STATES {
            let labels = [("connector", telemetry.connector.as_str()), ("state", state)];
            let value = f64::from(u8::from(snapshot.life.name() == state));
            put(family.encode_family(&labels)?, MetricType::Gauge, value)?;
        }
    }
    let troubled = known.iter().filter_map(|(telemetry, snapshot)| match &snapshot.life {
        Life::Halted(code) | Life::Degraded(code) => Some((telemetry, code)),
        Life::Starting | Life::Snapshotting | Life::Streaming | Life::Paused | Life::Stopped => None,
    });
    let troubled: Vec<_> = troubled.collect();
    if troubled.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(TROUBLE, TROUBLE_HELP, None, MetricType::Gauge)?;
    for (telemetry, code) in troubled {
        let labels = [("connector", telemetry.connector.as_str()), ("code", code.as_str())];
        put(family.encode_family(&labels)?, MetricType::Gauge, 1.0)?;
    }
    Ok(())
}

fn process(encoder: &mut DescriptorEncoder<'_>, process: &ProcessNumbers) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(BUILD, BUILD_HELP, None, MetricType::Gauge)?;
    put(
        family.encode_family(&[("version", process.version)])?,
        MetricType::Gauge,
        1.0,
    )?;
    for metric in &process::METRICS {
        if let Some(value) = (metric.value)(process) {
            let family = encoder.encode_descriptor(metric.name, metric.help, metric.unit.as_ref(), metric.kind)?;
            put(family, metric.kind, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
