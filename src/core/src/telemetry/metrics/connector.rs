//! The numbers of a connector.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{float, signed};
use crate::telemetry::histogram::{Histogram, Histograms};
use crate::telemetry::{Snapshot, Telemetry, now_us};

/// A number of one connector.
pub(super) struct Metric {
    /// Without unit and `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) kind: MetricType,
    /// `None` where it is not known, or means nothing: then there is no series.
    pub(super) value: Read,
}

/// What one connector has in buckets.
pub(super) struct BucketMetric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) value: fn(&Histograms) -> &Histogram,
}

pub(super) type Read = fn(&Telemetry, &Snapshot) -> Option<f64>;

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

pub(super) static METRICS: [Metric; 38] = [
    counter(
        "tailrace_changes",
        "Changes taken from the source, or from the stream by a sink",
        |telemetry, _| Some(from(&telemetry.numbers.changes)),
    ),
    counter(
        "tailrace_records",
        "Records that became durable, in the stream or in the target",
        |telemetry, _| Some(from(&telemetry.numbers.records)),
    ),
    counter(
        "tailrace_filtered_changes",
        "Changes left out by transforms, or because they are no events of an outbox",
        |telemetry, _| Some(from(&telemetry.numbers.filtered)),
    ),
    counter(
        "tailrace_dead_letters",
        "Events set aside as dead letters",
        |telemetry, _| Some(from(&telemetry.numbers.dead_letters)),
    ),
    gauge(
        "tailrace_dead_letters_waiting",
        "Dead letters that were neither replayed nor dropped",
        None,
        |telemetry, _| Some(from(&telemetry.numbers.dead_letters_waiting)),
    ),
    gauge(
        "tailrace_dead_letters_oldest",
        "Since the oldest dead letter that waits was set aside",
        Some(Unit::Seconds),
        |telemetry, _| {
            let oldest_us = telemetry.numbers.dead_letters_oldest_us.load(Ordering::Relaxed);
            (oldest_us > 0).then(|| signed(now_us().saturating_sub(oldest_us)) / 1e6)
        },
    ),
    counter(
        "tailrace_webhook_delivered",
        "Changes of tables' definitions that the webhook took",
        |telemetry, _| Some(from(&telemetry.numbers.webhook_delivered)),
    ),
    counter(
        "tailrace_webhook_retries",
        "Times that the webhook did not take a change and was asked again",
        |telemetry, _| Some(from(&telemetry.numbers.webhook_retries)),
    ),
    counter(
        "tailrace_webhook_failed",
        "Changes of tables' definitions that the webhook was not told of: given up, or more than may wait",
        |telemetry, _| Some(from(&telemetry.numbers.webhook_failed)),
    ),
    gauge(
        "tailrace_webhook_waiting",
        "Changes of tables' definitions that wait for the webhook; more than 64 are not kept",
        None,
        |telemetry, _| Some(from(&telemetry.numbers.webhook_waiting)),
    ),
    counter(
        "tailrace_checkpoints",
        "Checkpoints saved, or transactions of a target, which hold their offsets",
        |telemetry, _| Some(from(&telemetry.numbers.checkpoints)),
    ),
    counter(
        "tailrace_retries",
        "Times a connector was started again after a transient error",
        |telemetry, _| Some(from(&telemetry.numbers.retries)),
    ),
    Metric {
        name: "tailrace_record",
        help: "Bytes of keys, values and headers that became durable, in the stream or in the target",
        unit: Some(Unit::Bytes),
        kind: MetricType::Counter,
        value: |telemetry, _| Some(from(&telemetry.numbers.bytes)),
    },
    gauge(
        "tailrace_ready",
        "1 where events flow, or would if there were any",
        None,
        |_, known| Some(f64::from(u8::from(known.life.is_ready()))),
    ),
    gauge(
        "tailrace_away",
        "For how long the connector was not carried before it went on, at the last start or after the last outage; an upper bound where its process was killed",
        Some(Unit::Seconds),
        |_, known| known.away.as_ref().map(|away| signed(away.ms) / 1e3),
    ),
    gauge(
        "tailrace_in_flight_batches",
        "Batches of a source that were handed to the stream and are not yet durable",
        None,
        |telemetry, _| Some(from(&telemetry.numbers.batches_in_flight)),
    ),
    gauge(
        "tailrace_in_flight_records",
        "Records that were handed to the stream, or to the writers of a target, and are not yet durable",
        None,
        |telemetry, _| Some(from(&telemetry.numbers.records_in_flight)),
    ),
    gauge(
        "tailrace_in_flight",
        "Memory of these records",
        Some(Unit::Bytes),
        |telemetry, _| Some(from(&telemetry.numbers.bytes_in_flight)),
    ),
    gauge(
        "tailrace_in_flight_limit",
        "Nothing more is read while so much is in flight: near it, the other side is what is slow",
        Some(Unit::Bytes),
        |telemetry, _| Some(from(&telemetry.numbers.bytes_in_flight_limit)).filter(|limit| *limit > 0.0),
    ),
    gauge(
        "tailrace_held_changes",
        "Changes that wait until everything before them is saved, because one of them becomes a dead letter",
        None,
        |telemetry, _| Some(from(&telemetry.numbers.changes_held)),
    ),
    gauge(
        "tailrace_latency",
        "From commit to durable, of the newest event; histograms have all of them",
        Some(Unit::Seconds),
        |_, known| known.latency_ms.map(|latency_ms| signed(latency_ms) / 1e3),
    ),
    gauge(
        "tailrace_source_silence",
        "Since the source last said anything, if only that there is nothing; of a sink, since records came or it was seen to have them all",
        Some(Unit::Seconds),
        |telemetry, _| {
            let seen_us = telemetry.numbers.source_seen_us.load(Ordering::Relaxed);
            (seen_us > 0).then(|| signed(now_us().saturating_sub(seen_us)) / 1e6)
        },
    ),
    gauge(
        "tailrace_lag",
        "Log that the source has and that is not confirmed yet",
        Some(Unit::Bytes),
        |_, known| known.lag_bytes.map(signed),
    ),
    gauge(
        "tailrace_lag",
        "Age of the oldest change that is not durable at the other side; 0 where it is caught up",
        Some(Unit::Seconds),
        |_, known| known.lag_ms.map(|lag_ms| signed(lag_ms) / 1e3),
    ),
    gauge(
        "tailrace_lag_events",
        "Records that a sink has not written yet; of a source whose log was read to its end, changes that are on their way",
        None,
        |_, known| known.lag_events.map(signed),
    ),
    gauge(
        "tailrace_retained_log",
        "Log that the server keeps for the connector",
        Some(Unit::Bytes),
        |_, known| Some(float(known.retention.as_ref()?.retained_bytes)),
    ),
    gauge(
        "tailrace_safe_log",
        "Log that may still be written before the server gives the connector up; absent where there is no limit",
        Some(Unit::Bytes),
        |_, known| known.retention.as_ref()?.safe_bytes.map(float),
    ),
    gauge(
        "tailrace_log_lost_in",
        "Until the server gives the connector up, at the rate of the last ten minutes; absent where what is kept does not grow",
        Some(Unit::Seconds),
        |_, known| known.retention.as_ref()?.seconds_to_loss.map(float),
    ),
    gauge(
        "tailrace_snapshot_tables",
        "Tables of the snapshot that were begun",
        None,
        |_, known| (!known.tables.is_empty()).then(|| size(known.tables.len())),
    ),
    gauge(
        "tailrace_snapshot_finished_tables",
        "Tables of the snapshot whose last row was read",
        None,
        |_, known| {
            let finished = known.tables.values().filter(|table| table.finished);
            (!known.tables.is_empty()).then(|| size(finished.count()))
        },
    ),
    gauge(
        "tailrace_snapshot_rows_done",
        "Rows of the snapshot that were read, all tables",
        None,
        |_, known| (!known.tables.is_empty()).then(|| known.tables.values().map(|table| float(table.rows_done)).sum()),
    ),
    gauge(
        "tailrace_snapshot_rows_estimated",
        "Rows that the snapshot will have, as the source's statistics say, all tables",
        None,
        |_, known| {
            (!known.tables.is_empty()).then(|| {
                known
                    .tables
                    .values()
                    .map(|table| float(table.rows_estimated.unwrap_or(table.rows_done)))
                    .sum()
            })
        },
    ),
    gauge(
        "tailrace_caught_up_age",
        "Since everything was handed out that was visible in polled tables",
        Some(Unit::Seconds),
        |_, known| Some(signed(now_us().saturating_sub(known.caught_up_us?)) / 1e6),
    ),
    gauge(
        "tailrace_gap_unsafe_tables",
        "Polled tables of which rows may be skipped that commit late; /status has the reasons",
        None,
        |_, known| {
            let unsafe_tables = known.gap_safety.values().filter(|table| table.gap_safety != "proven");
            (!known.gap_safety.is_empty()).then(|| size(unsafe_tables.count()))
        },
    ),
    gauge(
        "tailrace_delay_window",
        "How old a polled row's timestamp must be before it is taken",
        Some(Unit::Seconds),
        |_, known| known.delay_window.as_ref().map(|window| signed(window.delay_ms) / 1e3),
    ),
    gauge(
        "tailrace_longest_transaction",
        "For how long the oldest transaction was open when last looked: rows are skipped where that is above the delay window",
        Some(Unit::Seconds),
        |_, known| Some(signed(known.delay_window.as_ref()?.longest_transaction_ms?) / 1e3),
    ),
    gauge(
        "tailrace_notices",
        "Standing warnings; /status has their words",
        None,
        |_, known| Some(size(known.notices.len())),
    ),
    gauge(
        "tailrace_state_age",
        "Since the connector entered its state",
        Some(Unit::Seconds),
        |_, known| Some(signed(now_us().saturating_sub(known.since_us)) / 1e6),
    ),
];

pub(super) static HISTOGRAMS: [BucketMetric; 5] = [
    BucketMetric {
        name: "tailrace_commit_to_durable",
        help: "From the commit at the source (of a sink: from the record's timestamp) to durable at the other side, weighted by records; \
               each batch counts as late as its first change, and snapshots do not count",
        unit: Some(Unit::Seconds),
        value: |histograms| &histograms.commit_to_durable,
    },
    BucketMetric {
        name: "tailrace_batch_records",
        help: "Records that became durable together: a batch of a source, a transaction of a sink",
        unit: None,
        value: |histograms| &histograms.batch_records,
    },
    BucketMetric {
        name: "tailrace_batch",
        help: "Bytes that became durable together",
        unit: Some(Unit::Bytes),
        value: |histograms| &histograms.batch_bytes,
    },
    BucketMetric {
        name: "tailrace_checkpoint_save",
        help: "For how long a checkpoint was being saved",
        unit: Some(Unit::Seconds),
        value: |histograms| &histograms.checkpoint_save,
    },
    BucketMetric {
        name: "tailrace_sink_transaction",
        help: "For how long the target was writing a transaction, its commit included",
        unit: Some(Unit::Seconds),
        value: |histograms| &histograms.sink_transaction,
    },
];

fn size(count: usize) -> f64 {
    float(u64::try_from(count).unwrap_or(u64::MAX))
}

fn from(counter: &std::sync::atomic::AtomicU64) -> f64 {
    float(counter.load(Ordering::Relaxed))
}
