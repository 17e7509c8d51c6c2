//! Debezium on a stand-alone worker of Kafka Connect, into the same broker.
//!
//! It may drain only a slice of a backlog, because it would take minutes for what others do in seconds. All is done so that
//! this does not speak against it: the rate counts from its first event, and its CPU time from the moment when its connector
//! runs, so that neither the start of the JVM nor that of the worker is in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tailrace_tests::servers::{Connect, ConnectOptions, Kafka, Result, ServerError, debezium_mysql, debezium_postgres};

use super::{Backlog, Reader};
use crate::failed;
use crate::measurement::Measurement;
use crate::processes::{Since, Watch};
use crate::source::Source;
use crate::source::postgres::PUBLICATION;
use crate::topic::{Until, find, watch};

/// Events after which its rate is known well enough.
const SLICE_EVENTS: u64 = 300_000;

/// Or this long after its first event.
const SLICE_DURATION: Duration = Duration::from_secs(60);

/// What Kafka's own start scripts give a worker.
const JAVA_OPTIONS: [&str; 6] = [
    "-Xms256M",
    "-Xmx2G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

/// What Debezium's and Kafka's documentation advise for throughput, with a poll interval for latency.
const TUNED: [(&str, &str); 7] = [
    ("max.batch.size", "16384"),
    ("max.queue.size", "65536"),
    ("poll.interval.ms", "10"),
    ("producer.override.linger.ms", "5"),
    ("producer.override.batch.size", "1048576"),
    ("producer.override.compression.type", "lz4"),
    ("producer.override.buffer.memory", "134217728"),
];

/// A worker whose connector runs.
pub(crate) struct Run {
    pub(crate) worker: Connect,
    pub(crate) topic: String,
}

// === impl Run ===

impl Run {
    /// Starts a worker and its connector, into a new topic; from the slot where there is one already. `watching` counts the
    /// worker's CPU time from when the connector runs.
    pub(crate) async fn start(
        reader: Reader,
        source: &Source,
        kafka: &Kafka,
        prefix: &str,
        watching: &Watch,
    ) -> Result<Run> {
        let worker = Connect::start(&kafka.bootstrap(), &worker_options())?;
        let properties = properties(reader, source, prefix);
        match source {
            Source::Postgres(_) => worker.create(reader.name(), &properties)?,
            Source::MySql(source) => {
                let (file, offset) = &source.place;
                let offset = json!({ "file": file, "pos": offset, "gtids": source.executed });
                worker.create_at(reader.name(), &properties, (json!({ "server": prefix }), offset))?;
            }
        }
        if let Some(process_id) = worker.process_id() {
            watching.follow("debezium", process_id, Since::Now);
        }
        if let Some(broker) = kafka.process_id() {
            watching.follow("broker", broker, Since::Now);
        }
        source.follow_server(watching, reader.name(), Since::Birth).await?;
        let topic = topic_of(source, prefix);
        Ok(Run { worker, topic })
    }
}

/// Its one topic; to be made before it starts.
pub(crate) fn topic_of(source: &Source, prefix: &str) -> String {
    format!("{prefix}.{}", source.qualified_table())
}

/// Drains a slice of the backlog.
pub(super) async fn drain(reader: Reader, backlog: &Backlog<'_>, round: u32) -> Result<Measurement> {
    let (source, kafka) = (backlog.source, backlog.kafka);
    source.rewind(reader.name()).await?;
    let prefix = format!("{}-{}-{round}", backlog.workload, reader.name());
    let topic = topic_of(source, &prefix);
    kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]).await?;
    let until = Until {
        records: backlog.rows.min(SLICE_EVENTS),
        after_first: SLICE_DURATION,
        ..Until::all(backlog.rows)
    };
    let arrivals = watch(&kafka.bootstrap(), &topic, until)?;
    let watching = Watch::start();
    let began = Instant::now();
    let run = Run::start(reader, source, kafka, &prefix, &watching).await?;
    let arrivals = arrivals.recv().map_err(failed("watching the topic")).flatten();
    let arrivals =
        arrivals.map_err(|error| ServerError::new(format!("{error}; Debezium's log:\n{}", run.worker.log())))?;
    let cost = watching.finish();
    run.worker.kill9()?;
    let mut measurement = Measurement::new(backlog.workload, reader.name(), round, cost);
    measurement.arrived(began, &arrivals);
    // Of what came after the end of the measurement nothing is asked.
    measurement.holds(find(&kafka.bootstrap(), &topic, arrivals.count, arrivals.count)?);
    if arrivals.count < backlog.rows {
        let (count, rows) = (arrivals.count, backlog.rows);
        measurement.notes.push(format!("a slice: {count} of {rows} events"));
    }
    kafka.delete_topic(&topic).await?;
    Ok(measurement)
}

fn worker_options() -> ConnectOptions {
    let options = ConnectOptions {
        java_options: JAVA_OPTIONS.map(str::to_owned).to_vec(),
        ..ConnectOptions::default()
    };
    // With schemas in every record it would publish several times as many bytes.
    let options = options.property("key.converter.schemas.enable", "false");
    let options = options.property("value.converter.schemas.enable", "false");
    options.property("offset.flush.interval.ms", "60000")
}

fn properties(reader: Reader, source: &Source, prefix: &str) -> BTreeMap<String, String> {
    let mut properties = match source {
        Source::Postgres(source) => debezium_postgres(&source.server, "postgres", reader.name()),
        Source::MySql(source) => debezium_mysql(&source.server, reader.name()),
    };
    let mut set = |name: &str, value: &str| drop(properties.insert(name.to_owned(), value.to_owned()));
    set("topic.prefix", prefix);
    set("table.include.list", &source.qualified_table());
    match source {
        Source::Postgres(_) => {
            set("publication.name", PUBLICATION);
            set("publication.autocreate.mode", "disabled");
            set("snapshot.mode", "no_data");
        }
        // It begins at a place that it is told, and asks the server what the table looks like.
        Source::MySql(_) => set("snapshot.mode", "recovery"),
    }
    // Then a change is one record in every stream that is compared.
    set("tombstones.on.delete", "false");
    if reader == Reader::DebeziumTuned {
        for (name, value) in TUNED {
            set(name, value);
        }
    }
    properties
}
