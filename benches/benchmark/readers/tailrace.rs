//! Tailrace as a process of its own, on a configuration as short as a user's.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;
use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset};
use tailrace_file::{FileStream, FileStreamConfig};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{Kafka, Result, ServerError};

use super::{Backlog, Reader};
use crate::failed;
use crate::measurement::{Found, Measurement};
use crate::processes::{Since, Watch};
use crate::source::Source;
use crate::topic::{Arrivals, Seen, Until, find, number_in, watch};

/// Between two looks at `/status`, where that is what tells how far the embedded stream is.
const STATUS_INTERVAL: Duration = Duration::from_millis(50);

/// Records that are asked for at once when the embedded stream is checked.
const RECORDS_AT_ONCE: usize = 10_000;

/// Long enough for a file that is not written any more.
const READ_WAIT: Duration = Duration::from_secs(5);

/// A reader whose slot was made by Tailrace itself, with the state that belongs to it.
pub(crate) struct Prepared {
    reader: Reader,
    seed: Daemon,
}

/// One daemon and where it publishes.
pub(crate) struct Run {
    pub(crate) daemon: Daemon,
    pub(crate) topic: String,
    reader: Reader,
}

// === impl Prepared ===

impl Prepared {
    /// Starts Tailrace on the empty table, so that it makes its slot, and stops it.
    pub(crate) async fn new(reader: Reader, source: &Source, kafka: &Kafka) -> Result<Prepared> {
        // Topics are deleted in the background: each server's seeds have names of their own.
        let prefix = format!("seed-{}-{}", source.port(), reader.name());
        let seed = Run::new(reader, source, kafka, &prefix).await?;
        seed.start_streaming()?;
        seed.daemon.terminate()?;
        seed.clean_up(kafka).await?;
        source.keep_place_of(&slot_of(reader)).await?;
        let Run { daemon: seed, .. } = seed;
        Ok(Prepared { reader, seed })
    }

    /// A daemon that will begin where the seed began, into a new topic.
    pub(crate) async fn run(&self, source: &Source, kafka: &Kafka, prefix: &str) -> Result<Run> {
        source.rewind(&slot_of(self.reader)).await?;
        let run = Run::new(self.reader, source, kafka, prefix).await?;
        copy_files(&folder_of(self.seed.state_file()), &folder_of(run.daemon.state_file()))?;
        Ok(run)
    }

    /// Drains the backlog once.
    pub(super) async fn drain(&self, backlog: &Backlog<'_>, round: u32) -> Result<Measurement> {
        let prefix = format!("{}-{}-{round}", backlog.workload, self.reader.name());
        let run = self.run(backlog.source, backlog.kafka, &prefix).await?;
        let until = Until::all(backlog.rows);
        let arrivals = run.watch_stream(backlog.kafka, until)?;
        let watch = Watch::start();
        let began = Instant::now();
        run.start_on_copied_state()?;
        run.follow(&watch, backlog.source, backlog.kafka).await?;
        let arrivals = run.wait(arrivals, until)?;
        let cost = watch.finish();
        let mut measurement = Measurement::new(backlog.workload, self.reader.name(), round, cost);
        measurement.arrived(began, &arrivals);
        measurement.notes.extend(run.trouble()?);
        run.daemon.terminate()?;
        measurement.holds(run.found(backlog.kafka, arrivals.count, backlog.rows).await?);
        run.clean_up(backlog.kafka).await?;
        Ok(measurement)
    }
}

// === impl Run ===

impl Run {
    /// A daemon that has never run, and its empty topic.
    pub(crate) async fn new(reader: Reader, source: &Source, kafka: &Kafka, prefix: &str) -> Result<Run> {
        let daemon = Daemon::new("")?;
        daemon.configure(&sections(reader, source, kafka, prefix, daemon.path()))?;
        let topic = format!("{prefix}.{}", source.qualified_table());
        if reader != Reader::File {
            kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]).await?;
        }
        Ok(Run { daemon, topic, reader })
    }

    /// Starts it and waits until it has caught up with an idle server.
    pub(crate) fn start_streaming(&self) -> Result<()> {
        self.daemon.start()?;
        self.daemon.wait_for_state(self.reader.name(), "streaming")
    }

    /// The state was copied together with the place of its slot, which Tailrace cannot know.
    pub(crate) fn start_on_copied_state(&self) -> Result<()> {
        self.daemon.start_with(&["--adopt-state"])
    }

    /// Looks at the topic from now on, where there is one.
    pub(crate) fn watch_stream(&self, kafka: &Kafka, until: Until) -> Result<Option<Receiver<Result<Arrivals>>>> {
        if self.reader == Reader::File {
            return Ok(None);
        }
        watch(&kafka.bootstrap(), &self.topic, until).map(Some)
    }

    /// Counts in what the daemon and its servers spend from now on.
    pub(crate) async fn follow(&self, watching: &Watch, source: &Source, kafka: &Kafka) -> Result<()> {
        watching.follow("tailrace", self.daemon.process_id()?, Since::Birth);
        if let Some(broker) = kafka.process_id().filter(|_| self.reader != Reader::File) {
            watching.follow("broker", broker, Since::Now);
        }
        source
            .follow_server(watching, &slot_of(self.reader), Since::Birth)
            .await
    }

    /// Until everything has arrived.
    pub(crate) fn wait(&self, arrivals: Option<Receiver<Result<Arrivals>>>, until: Until) -> Result<Arrivals> {
        let outcome = match arrivals {
            Some(arrivals) => arrivals.recv().map_err(failed("watching the topic")).flatten(),
            None => self.wait_for_file(until),
        };
        outcome.map_err(|error| self.daemon.with_status(self.reader.name(), &error))
    }

    /// The embedded stream tells how far it is through the daemon's own count of durable records, which is checked later.
    fn wait_for_file(&self, until: Until) -> Result<Arrivals> {
        let mut seen = Arrivals::none();
        while seen.count < until.records {
            let now = Instant::now();
            seen.notice(self.number("records")?, now);
            if now.duration_since(seen.last) > until.idle {
                let count = seen.count;
                return Err(ServerError::new(format!("the stream stays at {count} records")));
            }
            std::thread::sleep(STATUS_INTERVAL);
        }
        Ok(seen)
    }

    fn number(&self, name: &str) -> Result<u64> {
        let status = self.daemon.connector(self.reader.name())?;
        Ok(status.get(name).and_then(Value::as_u64).unwrap_or(0))
    }

    /// What it had to overcome, which would explain a bad figure.
    pub(crate) fn trouble(&self) -> Result<Option<String>> {
        let retries = self.number("retries")?;
        Ok((retries > 0).then(|| format!("it had to try again, {retries} times")))
    }

    /// Reads everything back: which of the keys 1 to `expected` are there.
    pub(crate) async fn found(&self, kafka: &Kafka, records: u64, expected: u64) -> Result<Found> {
        if self.reader != Reader::File {
            return find(&kafka.bootstrap(), &self.topic, records, expected);
        }
        let stream = FileStream::new(FileStreamConfig::at(self.daemon.path().join("events")));
        let stream = stream.map_err(failed("opening the stream"))?;
        let wanted = ConsumerSpec {
            topics: vec![self.topic.clone()],
            group: None,
            start: StartOffset::Earliest,
        };
        let consumer = stream.consumer(wanted).await;
        let mut consumer = consumer.map_err(failed("reading the stream"))?;
        let mut seen = Seen::new(expected);
        while seen.found.records < records {
            let read = consumer.poll(RECORDS_AT_ONCE, READ_WAIT).await;
            let read = read.map_err(failed("reading the stream"))?;
            if read.is_empty() {
                break;
            }
            for record in read {
                let headers = record.headers.iter().map(|(name, value)| name.len() + value.len());
                let bytes = record.value.as_ref().map_or(0, |value| value.len()) + headers.sum::<usize>();
                let key = record.key.as_ref().map(AsRef::as_ref).unwrap_or_default();
                seen.add(number_in(key), bytes + key.len());
            }
        }
        Ok(seen.finish())
    }

    /// Takes the topic away.
    pub(crate) async fn clean_up(&self, kafka: &Kafka) -> Result<()> {
        if self.reader == Reader::File {
            return Ok(());
        }
        kafka.delete_topic(&self.topic).await
    }
}

/// The slot that Tailrace makes for a connector of that name.
pub(crate) fn slot_of(reader: Reader) -> String {
    format!("tailrace_{}", reader.name())
}

fn sections(reader: Reader, source: &Source, kafka: &Kafka, prefix: &str, folder: &Path) -> String {
    let stream = match reader {
        Reader::File => format!("{{ type: file, path: \"{}\" }}", folder.join("events").display()),
        _ => format!("{{ type: kafka, bootstrap_servers: [\"{}\"] }}", kafka.bootstrap()),
    };
    let envelope = if reader == Reader::KafkaDebezium {
        "debezium"
    } else {
        "entity"
    };
    format!(
        "streams:
  events: {stream}
connectors:
  {}:
    source:
      {}
      tables: [{}]
      snapshot: {{ mode: never }}
    stream: events
    prefix: \"{prefix}\"
    format: {{ envelope: {envelope} }}",
        reader.name(),
        source.configuration(),
        source.qualified_table()
    )
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_owned()
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let attempt = || format!("copying the state {}", from.display());
    std::fs::create_dir_all(to).map_err(failed(attempt()))?;
    for entry in std::fs::read_dir(from).map_err(failed(attempt()))? {
        let entry = entry.map_err(failed(attempt()))?;
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed(attempt()))?;
        }
    }
    Ok(())
}
