//! W7: an outbox table of PostgreSQL that is polled as a queue, with Debezium's columns.
//!
//! Two measurements: a backlog into Kafka, with each row deleted behind its event, until the table is empty; and single rows,
//! committed ten times per poll interval at changing distances to the polls, from the commit to a consumer.

use std::time::{Duration, Instant};

use rdkafka::message::Message;
use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{Kafka, Result, ServerError};

use crate::failed;
use crate::measurement::Measurement;
use crate::options::{Mode, Options};
use crate::processes::{Since, Watch, as_float};
use crate::report::Report;
use crate::source::postgres::PostgresSource;
use crate::topic::{Until, consumer, find, read_from_beginning, watch};

/// The name of the workload.
pub(crate) const NAME: &str = "W7";

/// The name of its part with single rows.
pub(crate) const LATENCY_NAME: &str = "W7-latency";

const READER: &str = "kafka";

/// As it is without configuration.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Between two rows: not a divisor of the interval, so that they fall on every part of it.
const ROW_INTERVAL: Duration = Duration::from_millis(103);

/// Between two looks at whether the table is empty.
const EMPTY_INTERVAL: Duration = Duration::from_millis(50);

const SCHEMA: &str = "
    create table outbox (
        sequence bigint generated always as identity primary key, id uuid not null default gen_random_uuid(),
        aggregatetype text not null, aggregateid text not null, type text not null, payload jsonb not null)";

/// A backlog and then single rows, on a new server in each round.
pub(crate) async fn run(options: &Options, kafka: &Kafka, report: &mut Report) -> Result<()> {
    for round in 1..=options.rounds {
        let source = PostgresSource::start("outbox", SCHEMA).await?;
        // As anybody would run a table that is emptied all the time.
        let vacuum = "alter system set autovacuum = on";
        source.server.execute(vacuum).await?;
        source.server.execute("select pg_reload_conf()").await?;
        report.add(drain(&source, options.rows / 2, kafka, round).await?)?;
        let rows = match options.mode {
            Mode::Smoke => 10,
            Mode::Full => 300,
        };
        report.add(follow(&source, rows, kafka, round).await?)?;
    }
    Ok(())
}

/// Every row becomes an event and is deleted.
async fn drain(source: &PostgresSource, rows: u64, kafka: &Kafka, round: u32) -> Result<Measurement> {
    source.server.execute(&rows_of("Order", rows)).await?;
    let topic = format!("{NAME}-{round}.Order");
    kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]).await?;
    let daemon = daemon(source, kafka, round)?;
    let until = Until::all(rows);
    let arrivals = watch(&kafka.bootstrap(), &topic, until)?;
    let watching = Watch::start();
    let began = Instant::now();
    daemon.start()?;
    watching.follow("tailrace", daemon.process_id()?, Since::Birth);
    if let Some(broker) = kafka.process_id() {
        watching.follow("broker", broker, Since::Now);
    }
    let arrived = arrivals.recv().map_err(failed("watching the topic")).flatten();
    let arrivals = arrived.map_err(|error| daemon.with_status(READER, &error))?;
    while source.server.query_value("select exists (select from outbox)").await? != "f" {
        tokio::time::sleep(EMPTY_INTERVAL).await;
    }
    let emptied = began.elapsed();
    let mut measurement = Measurement::new(NAME, READER, round, watching.finish());
    measurement.arrived(began, &arrivals);
    measurement.figure("emptied_seconds", emptied.as_secs_f64());
    daemon.terminate()?;
    measurement.holds(find(&kafka.bootstrap(), &topic, arrivals.count, rows)?);
    kafka.delete_topic(&topic).await?;
    Ok(measurement)
}

/// Rows one by one, each with the time of its commit in it.
async fn follow(source: &PostgresSource, rows: u64, kafka: &Kafka, round: u32) -> Result<Measurement> {
    let topic = format!("{NAME}-{round}.Visit");
    kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]).await?;
    let daemon = daemon(source, kafka, round)?;
    daemon.start()?;
    daemon.wait_for_state(READER, "streaming")?;
    let bootstrap = kafka.bootstrap();
    let topic_read = topic.clone();
    let reading = std::thread::spawn(move || latencies_us(&bootstrap, &topic_read, rows));
    let watching = Watch::start();
    watching.follow("tailrace", daemon.process_id()?, Since::Now);
    let began = Instant::now();
    for row in 0..rows {
        let due = began + ROW_INTERVAL * u32::try_from(row).unwrap_or(u32::MAX);
        tokio::time::sleep_until(due.into()).await;
        source.server.execute(&rows_of("Visit", 1)).await?;
    }
    let joined = tokio::task::spawn_blocking(move || reading.join()).await;
    let latencies = joined
        .map_err(failed("reading the topic"))?
        .map_err(|_| ServerError::new("the consumer panicked"))??;
    let mut measurement = Measurement::new(LATENCY_NAME, READER, round, watching.finish());
    measurement.events = latencies.len() as u64;
    measurement.seconds = began.elapsed().as_secs_f64();
    measurement.figure("poll_interval_ms", POLL_INTERVAL.as_secs_f64() * 1e3);
    crate::latency::percentiles(&mut measurement, "commit_to_consumer", latencies);
    daemon.terminate()?;
    kafka.delete_topic(&topic).await?;
    Ok(measurement)
}

/// From the time in each payload to its arrival, microseconds.
fn latencies_us(bootstrap: &str, topic: &str, rows: u64) -> Result<Vec<i64>> {
    let consumer = consumer(bootstrap)?;
    read_from_beginning(&consumer, topic)?;
    let mut latencies = Vec::new();
    for _ in 0..rows {
        let message = consumer.poll(Duration::from_secs(60));
        let message = message.ok_or_else(|| ServerError::new("an event of the outbox did not arrive"))?;
        let message = message.map_err(failed("reading the topic"))?;
        let arrived_us = tailrace_core::telemetry::now_us();
        let payload: Value =
            serde_json::from_slice(message.payload().unwrap_or_default()).map_err(failed("reading an event"))?;
        let committed_us = payload.get("at_us").and_then(Value::as_i64);
        let committed_us = committed_us.ok_or_else(|| ServerError::new("an event without its time"))?;
        latencies.push(arrived_us - committed_us);
    }
    Ok(latencies)
}

/// A statement that writes so many rows, about aggregates with the numbers from 1.
fn rows_of(aggregate_type: &str, rows: u64) -> String {
    format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         select '{aggregate_type}', n::text, 'Changed', jsonb_build_object(
             'at_us', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'number', n, 'note', repeat(md5(n::text), 8))
         from generate_series(1, {rows}) n"
    )
}

fn daemon(source: &PostgresSource, kafka: &Kafka, round: u32) -> Result<Daemon> {
    let daemon = Daemon::new("")?;
    let folder = source.server.socket_dir().display().to_string();
    daemon.configure(&format!(
        "streams:
  events: {{ type: kafka, bootstrap_servers: [\"{}\"] }}
connectors:
  {READER}:
    source:
      type: postgres
      url: \"host={folder} port={} user=postgres dbname=postgres\"
      tables: [public.outbox]
      query: {{ mode: queue, id_column: sequence, poll_interval_ms: {} }}
    stream: events
    outbox: {{ topic: \"{NAME}-{round}.{{aggregatetype}}\" }}",
        kafka.bootstrap(),
        source.server.port(),
        POLL_INTERVAL.as_millis()
    ))?;
    Ok(daemon)
}

/// Rows per second, until the table was empty.
pub(crate) fn emptied_rate(measurement: &Measurement) -> Option<f64> {
    let seconds = measurement.figures.get("emptied_seconds")?;
    Some(as_float(measurement.events) / seconds.max(f64::MIN_POSITIVE))
}
