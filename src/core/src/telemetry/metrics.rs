//! Names, units and meanings of every metric, and their text for Prometheus (OpenMetrics 1.0).
//!
//! Labels are bounded: `connector` (from the configuration), `state` (seven names) and `code` (error codes that are
//! written in the source). Tables, topics and positions never become labels: there may be ten thousand of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Life, Snapshot, Telemetry, now_us};

/// The media type of [`exposition`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is known of the process itself.
#[derive(Debug, Clone)]
pub struct ProcessNumbers {
    /// Release.
    pub version: &'static str,
    /// Since the start, seconds.
    pub uptime_seconds: f64,
    /// Memory that the process holds, bytes; `None` where the system does not say.
    pub resident_bytes: Option<u64>,
}

/// Everything, read anew at each scrape.
#[derive(Debug)]
struct Everything {
    connectors: Vec<Arc<Telemetry>>,
    process: ProcessNumbers,
}

/// A number of one connector.
struct Metric {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    value: Read,
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

/// All metrics of these connectors and of the process, as text.
pub fn exposition(connectors: &[Arc<Telemetry>], process: ProcessNumbers) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tailrace");
    registry.register_collector(Box::new(Everything {
        connectors: connectors.to_vec(),
        process,
    }));
    let mut written = String::new();
    text::encode(&mut written, &registry)?;
    Ok(written)
}

type Read = fn(&Telemetry, &Snapshot) -> Option<f64>;

const fn counter(name: &'static str, help: &'static str, value: Read) -> Metric {
    Metric {
        name,
        help,
        unit: None,
        kind: MetricType::Counter,
        value,
    }
}

const fn gauge(name: &'static str, help: &'static str, unit: Option<Unit>, value: Read) -> Metric {
    Metric {
        name,
        help,
        unit,
        kind: MetricType::Gauge,
        value,
    }
}

static METRICS: [Metric; 28] = [
    counter("changes", "Changes taken from the source", |telemetry, _| {
        Some(from(&telemetry.numbers.changes))
    }),
    counter(
        "records",
        "Records that became durable in the stream",
        |telemetry, _| Some(from(&telemetry.numbers.records)),
    ),
    counter(
        "filtered_changes",
        "Changes left out by transforms, or because they are no events of an outbox",
        |telemetry, _| Some(from(&telemetry.numbers.filtered)),
    ),
    counter("dead_letters", "Events set aside as dead letters", |telemetry, _| {
        Some(from(&telemetry.numbers.dead_letters))
    }),
    gauge(
        "dead_letters_waiting",
        "Dead letters that were neither replayed nor dropped",
        None,
        |telemetry, _| Some(from(&telemetry.numbers.dead_letters_waiting)),
    ),
    gauge(
        "dead_letters_oldest",
        "Since the oldest dead letter that waits was set aside",
        Some(Unit::Seconds),
        |telemetry, _| {
            let oldest_us = telemetry.numbers.dead_letters_oldest_us.load(Ordering::Relaxed);
            (oldest_us > 0).then(|| signed(now_us().saturating_sub(oldest_us)) / 1e6)
        },
    ),
    counter(
        "webhook_delivered",
        "Changes of tables' definitions that the webhook took",
        |telemetry, _| Some(from(&telemetry.numbers.webhook_delivered)),
    ),
    counter(
        "webhook_retries",
        "Times that the webhook did not take a change and was asked again",
        |telemetry, _| Some(from(&telemetry.numbers.webhook_retries)),
    ),
    counter(
        "webhook_failed",
        "Changes of tables' definitions that the webhook was not told of: given up, or more than may wait",
        |telemetry, _| Some(from(&telemetry.numbers.webhook_failed)),
    ),
    counter("checkpoints", "Checkpoints saved", |telemetry, _| {
        Some(from(&telemetry.numbers.checkpoints))
    }),
    counter(
        "retries",
        "Times a connector was started again after a transient error",
        |telemetry, _| Some(from(&telemetry.numbers.retries)),
    ),
    Metric {
        name: "record",
        help: "Bytes of keys, values and headers that became durable in the stream",
        unit: Some(Unit::Bytes),
        kind: MetricType::Counter,
        value: |telemetry, _| Some(from(&telemetry.numbers.bytes)),
    },
    gauge(
        "ready",
        "1 where events flow, or would if there were any",
        None,
        |_, known| Some(f64::from(u8::from(known.life.is_ready()))),
    ),
    gauge(
        "in_flight_batches",
        "Batches handed to the stream and not yet durable",
        None,
        |telemetry, _| Some(from(&telemetry.numbers.batches_in_flight)),
    ),
    gauge(
        "in_flight",
        "Bytes handed to the stream and not yet durable",
        Some(Unit::Bytes),
        |telemetry, _| Some(from(&telemetry.numbers.bytes_in_flight)),
    ),
    gauge(
        "latency",
        "From commit to durable, of the newest event",
        Some(Unit::Seconds),
        |_, known| known.latency_ms.map(|latency_ms| signed(latency_ms) / 1e3),
    ),
    gauge(
        "source_silence",
        "Since the source last said anything, heartbeats included",
        Some(Unit::Seconds),
        |telemetry, _| {
            let seen_us = telemetry.numbers.source_seen_us.load(Ordering::Relaxed);
            (seen_us > 0).then(|| signed(now_us().saturating_sub(seen_us)) / 1e6)
        },
    ),
    gauge(
        "lag",
        "Log that the source has and that is not confirmed yet",
        Some(Unit::Bytes),
        |_, known| known.lag_bytes.map(signed),
    ),
    gauge(
        "retained_log",
        "Log that the server keeps for the connector",
        Some(Unit::Bytes),
        |_, known| {
            known
                .retention
                .as_ref()
                .map(|retention| unsigned(retention.retained_bytes))
        },
    ),
    gauge(
        "safe_log",
        "Log that may still be written before the server gives the connector up",
        Some(Unit::Bytes),
        |_, known| known.retention.as_ref()?.safe_bytes.map(unsigned),
    ),
    gauge(
        "snapshot_rows_done",
        "Rows of the snapshot that were read, all tables",
        None,
        |_, known| {
            (!known.tables.is_empty()).then(|| known.tables.values().map(|table| unsigned(table.rows_done)).sum())
        },
    ),
    gauge(
        "snapshot_rows_estimated",
        "Rows that the snapshot will have, as the source's statistics say, all tables",
        None,
        |_, known| {
            (!known.tables.is_empty()).then(|| {
                known
                    .tables
                    .values()
                    .map(|table| unsigned(table.rows_estimated.unwrap_or(table.rows_done)))
                    .sum()
            })
        },
    ),
    gauge(
        "caught_up_age",
        "Since everything was handed out that was visible in polled tables",
        Some(Unit::Seconds),
        |_, known| Some(signed(now_us().saturating_sub(known.caught_up_us?)) / 1e6),
    ),
    gauge(
        "gap_unsafe_tables",
        "Polled tables of which rows may be skipped that commit late; /status has the reasons",
        None,
        |_, known| {
            let unsafe_tables = known.gap_safety.values().filter(|table| table.gap_safety != "proven");
            (!known.gap_safety.is_empty()).then(|| unsigned(u64::try_from(unsafe_tables.count()).unwrap_or(u64::MAX)))
        },
    ),
    gauge(
        "delay_window",
        "How old a polled row's timestamp must be before it is taken",
        Some(Unit::Seconds),
        |_, known| known.delay_window.as_ref().map(|window| signed(window.delay_ms) / 1e3),
    ),
    gauge(
        "longest_transaction",
        "For how long the oldest transaction was open when last looked: rows are skipped where that is above the delay window",
        Some(Unit::Seconds),
        |_, known| Some(signed(known.delay_window.as_ref()?.longest_transaction_ms?) / 1e3),
    ),
    gauge(
        "notices",
        "Standing warnings; /status has their words",
        None,
        |_, known| Some(unsigned(u64::try_from(known.notices.len()).unwrap_or(u64::MAX))),
    ),
    gauge(
        "state_age",
        "Since the connector entered its state",
        Some(Unit::Seconds),
        |_, known| Some(signed(now_us().saturating_sub(known.since_us)) / 1e6),
    ),
];

fn from(counter: &std::sync::atomic::AtomicU64) -> f64 {
    unsigned(counter.load(Ordering::Relaxed))
}

/// Prometheus knows only doubles; a count beyond 2^53 is rounded.
#[expect(clippy::cast_precision_loss, reason = "the text format has doubles")]
fn unsigned(value: u64) -> f64 {
    value as f64
}

/// See [`unsigned`].
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
        for metric in METRICS.iter() {
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
        states(&mut encoder, &known)?;
        process(&mut encoder, &self.process)
    }
}

fn put(mut encoder: MetricEncoder<'_>, kind: MetricType, value: f64) -> Result<(), fmt::Error> {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}

/// One series per state, so that an alert can say `tailrace_state{state="halted"} == 1`.
fn states(encoder: &mut DescriptorEncoder<'_>, known: &[(&Arc<Telemetry>, Snapshot)]) -> Result<(), fmt::Error> {
    if known.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(
        "state",
        "1 for the state that a connector is in",
        None,
        MetricType::Gauge,
    )?;
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
    let mut family = encoder.encode_descriptor(
        "trouble",
        "1 with the code of the error of a degraded or halted connector",
        None,
        MetricType::Gauge,
    )?;
    for (telemetry, code) in troubled {
        let labels = [("connector", telemetry.connector.as_str()), ("code", code.as_str())];
        put(family.encode_family(&labels)?, MetricType::Gauge, 1.0)?;
    }
    Ok(())
}

fn process(encoder: &mut DescriptorEncoder<'_>, process: &ProcessNumbers) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor("build", "1 with the release that runs", None, MetricType::Gauge)?;
    put(
        family.encode_family(&[("version", process.version)])?,
        MetricType::Gauge,
        1.0,
    )?;
    let family = encoder.encode_descriptor(
        "uptime",
        "Since the process started",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    put(family, MetricType::Gauge, process.uptime_seconds)?;
    if let Some(resident_bytes) = process.resident_bytes {
        let family = encoder.encode_descriptor(
            "resident_memory",
            "Memory that the process holds",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        put(family, MetricType::Gauge, unsigned(resident_bytes))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> String {
        let telemetry = Arc::new(Telemetry::new("orders"));
        telemetry.numbers.records.store(7, Ordering::Relaxed);
        telemetry.numbers.bytes.store(700, Ordering::Relaxed);
        telemetry.numbers.lag_bytes.store(42, Ordering::Relaxed);
        telemetry.enter(Life::Halted("slot_missing".to_owned()), "the slot is gone");
        let other = Arc::new(Telemetry::new("odd\"name\\\n"));
        let process = ProcessNumbers {
            version: "1.2.3",
            uptime_seconds: 5.5,
            resident_bytes: Some(1024),
        };
        exposition(&[telemetry, other], process).unwrap()
    }

    #[test]
    fn names_units_and_labels_are_as_documented() {
        let text = example();
        let lines = [
            "tailrace_records_total{connector=\"orders\"} 7.0",
            "tailrace_record_bytes_total{connector=\"orders\"} 700.0",
            "tailrace_lag_bytes{connector=\"orders\"} 42.0",
            "tailrace_state{connector=\"orders\",state=\"halted\"} 1.0",
            "tailrace_state{connector=\"orders\",state=\"streaming\"} 0.0",
            "tailrace_trouble{connector=\"orders\",code=\"slot_missing\"} 1.0",
            "tailrace_build{version=\"1.2.3\"} 1.0",
            "tailrace_uptime_seconds 5.5",
            "tailrace_resident_memory_bytes 1024.0",
        ];
        for line in lines {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(
            !text.contains("tailrace_lag_bytes{connector=\"odd"),
            "what is unknown has no series"
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn every_line_is_well_formed_whatever_the_name() {
        for line in example().lines() {
            let series = line.starts_with("tailrace_")
                && line
                    .rsplit_once(' ')
                    .is_some_and(|(_, value)| value.parse::<f64>().is_ok());
            assert!(line.starts_with("# ") || series, "{line}");
        }
    }
}
