//! W4: a backlog of events, written into a table by a sink, from Kafka and from the embedded stream; and beside it the same rows by hand.
//!
//! ```text
//!   topic of new rows ──▶ empty table      topic of their changes ──▶ the same table, where every row is there
//! ```

use std::time::{Duration, Instant};

use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{Kafka, Result, ServerError};

use crate::measurement::Measurement;
use crate::options::{Mode, Options};
use crate::processes::{Since, Watch, as_float};
use crate::readers::Reader;
use crate::report::Report;
use crate::source::Engine;
use crate::topic::Arrivals;

mod backlog;
mod limit;
mod rows;
mod target;

use backlog::{Backlog, PassBacklog};
use target::Target;

/// Between two looks at the offsets in the target: the error of a duration of seconds.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Nothing for so long, and it is looked whether the connector has halted.
const SILENCE: Duration = Duration::from_secs(2);

/// Nothing for so long means that nothing will come.
const IDLE: Duration = Duration::from_secs(120);

/// Who writes the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// By hand, on as many sessions as a sink of a topic with many partitions has.
    Hand,
    /// A sink that reads Kafka.
    Kafka,
    /// By hand, on one session: a topic of the embedded stream has one partition, which one writer has.
    HandAlone,
    /// A sink that reads the embedded stream.
    File,
}

/// What is measured with.
struct Workload<'a> {
    name: &'a str,
    target: Target,
    backlog: Backlog,
    kafka: &'a Kafka,
}

// === impl Writer ===

impl Writer {
    pub(crate) const ALL: [Writer; 4] = [Writer::Hand, Writer::Kafka, Writer::HandAlone, Writer::File];

    /// As the report calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Writer::Hand => "by hand, 2 sessions",
            Writer::Kafka => "Tailrace from Kafka",
            Writer::HandAlone => "by hand, 1 session",
            Writer::File => "Tailrace from file",
        }
    }

    /// As the raw figures call it, in one of its passes.
    pub(crate) fn reader(self, pass: &str) -> String {
        let name = match self {
            Writer::Hand => "hand",
            Writer::Kafka => "kafka",
            Writer::HandAlone => "hand_alone",
            Writer::File => "file",
        };
        format!("{name}, {pass}")
    }

    /// The limit that it is compared with.
    pub(crate) fn limit(self) -> Writer {
        match self {
            Writer::Hand | Writer::Kafka => Writer::Hand,
            Writer::HandAlone | Writer::File => Writer::HandAlone,
        }
    }

    fn is_among(self, readers: &[Reader]) -> bool {
        readers.contains(match self {
            Writer::Hand | Writer::HandAlone => &Reader::Limit,
            Writer::Kafka => &Reader::Kafka,
            Writer::File => &Reader::File,
        })
    }

    /// Whether it tells something new of the machinery: to join a group takes seconds, and is the same for every target.
    fn is_for(self, engine: Engine, mode: Mode) -> bool {
        mode == Mode::Full || engine == Engine::Postgres || self != Writer::Kafka
    }

    /// Of the database: two is what a sink has by default.
    fn sessions(self) -> usize {
        match self {
            Writer::Hand | Writer::Kafka => 2,
            Writer::HandAlone | Writer::File => 1,
        }
    }
}

/// The passes as raw figures and the report have them.
pub(crate) const PASSES: [(&str, &str); 2] = [("new", "new rows"), ("changed", "rows that are there")];

/// Everybody writes both passes in turn, in another order in each round.
pub(crate) async fn run(
    name: &str,
    engine: Engine,
    options: &Options,
    kafka: &Kafka,
    report: &mut Report,
) -> Result<()> {
    let workload = Workload {
        name,
        target: Target::start(engine).await?,
        backlog: Backlog::fill(name, options.rows / 2, kafka).await?,
        kafka,
    };
    report.condition(&format!("{name}: {}", workload.target.durability().await?));
    let mut writers: Vec<Writer> = Writer::ALL.to_vec();
    writers.retain(|writer| writer.is_among(&options.readers) && writer.is_for(engine, options.mode));
    for round in 1..=options.rounds {
        for writer in &writers {
            workload.target.reset().await?;
            for backlog in workload.backlog.passes() {
                workload.target.settle().await?;
                let mut measurement = workload.measure(*writer, backlog, round).await?;
                let rows = as_float(backlog.totals.rows.unsigned_abs());
                measurement.figure("row_bytes", as_float(backlog.totals.bytes) / rows);
                let title = writer.title();
                workload.target.check(&backlog.totals, title).await?;
                report.add(measurement)?;
            }
        }
        writers.rotate_left(1);
    }
    workload.backlog.clean_up(kafka).await
}

// === impl Workload ===

impl Workload<'_> {
    async fn measure(&self, writer: Writer, backlog: &PassBacklog, round: u32) -> Result<Measurement> {
        match writer {
            Writer::Hand | Writer::HandAlone => self.write_by_hand(writer, backlog, round).await,
            Writer::Kafka | Writer::File => self.drain(writer, backlog, round).await,
        }
    }

    async fn write_by_hand(&self, writer: Writer, backlog: &PassBacklog, round: u32) -> Result<Measurement> {
        let ready = limit::Ready::new(&self.target, backlog, writer.sessions()).await?;
        let watch = Watch::start();
        self.target.follow(&watch);
        // Of this process, which does nothing else meanwhile.
        watch.follow("client", std::process::id(), Since::Now);
        let written = ready.run().await?;
        let reader = writer.reader(backlog.pass.name());
        let mut measurement = Measurement::new(self.name, &reader, round, watch.finish());
        measurement.events = backlog.totals.rows.unsigned_abs();
        measurement.seconds = written.seconds;
        measurement.figure("repeated_transactions", as_float(written.repeated));
        Ok(measurement)
    }

    async fn drain(&self, writer: Writer, backlog: &PassBacklog, round: u32) -> Result<Measurement> {
        // A group of its own, which knows nothing.
        let connector = format!("{}-{}-{round}", self.name, backlog.pass.name());
        let daemon = Daemon::new("")?;
        daemon.configure(&self.sections(writer, &connector, &backlog.topic))?;
        let mut gauge = self.target.gauge().await?;
        let watch = Watch::start();
        self.target.follow(&watch);
        if let Some(broker) = self.kafka.process_id().filter(|_| writer == Writer::Kafka) {
            watch.follow("broker", broker, Since::Now);
        }
        let began = Instant::now();
        daemon.start()?;
        watch.follow("tailrace", daemon.process_id()?, Since::Birth);
        let rows = backlog.totals.rows.unsigned_abs();
        let arrivals = wait(&daemon, &connector, rows, &mut gauge).await;
        let arrivals = arrivals.map_err(|error| daemon.with_status(&connector, &error))?;
        let reader = writer.reader(backlog.pass.name());
        let mut measurement = Measurement::new(self.name, &reader, round, watch.finish());
        measurement.arrived(began, &arrivals);
        measurement.record_bytes = Some(backlog.record_bytes);
        let status = daemon.connector(&connector)?;
        let retries = status.get("retries").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if retries > 0 {
            measurement.notes.push(format!("it had to try again, {retries} times"));
        }
        daemon.terminate()?;
        Ok(measurement)
    }

    fn sections(&self, writer: Writer, connector: &str, topic: &str) -> String {
        let stream = match writer {
            Writer::File | Writer::HandAlone => {
                format!("type: file, path: \"{}\"", self.backlog.folder().display())
            }
            Writer::Kafka | Writer::Hand => {
                format!("type: kafka, bootstrap_servers: [\"{}\"]", self.kafka.bootstrap())
            }
        };
        format!(
            "streams:
  events: {{ {stream} }}
connectors:
  {connector}:
    stream: events
    topics: [\"{topic}\"]
    sink: {{ {} }}",
            self.target.configuration()
        )
    }
}

/// Until the target's own table says that every record is written.
async fn wait(daemon: &Daemon, connector: &str, rows: u64, gauge: &mut target::Gauge) -> Result<Arrivals> {
    let mut seen = Arrivals::none();
    while seen.count < rows {
        let now = Instant::now();
        seen.notice(gauge.written(connector).await, now);
        let silence = now.duration_since(seen.last);
        let has_halted = silence > SILENCE && daemon.state(connector)?.starts_with("halted");
        if has_halted || silence > IDLE {
            let count = seen.count;
            return Err(ServerError::new(format!(
                "the target stays at {count} of {rows} records"
            )));
        }
        // The sink is another process, and a database tells nobody that a row of its table of offsets has changed.
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(seen)
}
