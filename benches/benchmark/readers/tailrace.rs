//! Tailrace as a process of its own, on a configuration as short as a user's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset};
use tailrace_file::{FileStream, FileStreamConfig};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{Kafka, Result, ServerError};

use super::{Backlog, Reader};
use crate::failed;
use crate::measurement::{Found, Measurement};
use crate::processes::{Cost, Since, Watch};
use crate::source::{PUBLICATION, Source};
use crate::topic::{Arrivals, Seen, Until, find, number_in, watch};

/// Nothing for so long means that nothing will come: decoding of one transaction of millions of rows takes some seconds.
const IDLE: Duration = Duration::from_secs(120);

/// Between two looks at `/status`, where that is what tells how far the embedded stream is.
const STATUS_INTERVAL: Duration = Duration::from_millis(10);

/// Records that are asked for at once when the embedded stream is checked.
const RECORDS_AT_ONCE: usize = 10_000;

/// Long enough for a file that is not written any more.
const READ_WAIT: Duration = Duration::from_secs(5);

/// A reader whose slot was made by Tailrace itself, with the state that belongs to it.
pub(crate) struct Prepared {
    reader: Reader,
    seed: Daemon,
}

/// One daemon on the state of the seed, and its slot rewound.
pub(crate) struct Run {
    pub(crate) daemon: Daemon,
    topic: String,
    reader: Reader,
}

// === impl Prepared ===

impl Prepared {
    /// Starts Tailrace on the empty table, so that it makes its slot, and stops it.
    pub(crate) async fn new(reader: Reader, source: &Source, kafka: &Kafka) -> Result<Prepared> {
        let seed = Daemon::new("")?;
        seed.configure(&sections(reader, source, kafka, "seed", seed.path()))?;
        seed.start()?;
        seed.wait_for_state(reader.name(), "streaming")?;
        seed.terminate()?;
        source.keep_place_of(&slot_of(reader)).await?;
        Ok(Prepared { reader, seed })
    }

    /// A daemon that will begin where the seed began, into a new topic.
    pub(crate) async fn run(&self, source: &Source, kafka: &Kafka, topic_prefix: &str) -> Result<Run> {
        source.rewind(&slot_of(self.reader)).await?;
        let daemon = Daemon::new("")?;
        daemon.configure(&sections(self.reader, source, kafka, topic_prefix, daemon.path()))?;
        copy_files(&folder_of(self.seed.state_file()), &folder_of(daemon.state_file()))?;
        let topic = format!("{topic_prefix}.public.employees");
        if self.reader != Reader::File {
            kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]).await?;
        }
        let reader = self.reader;
        Ok(Run { daemon, topic, reader })
    }

    /// Drains the backlog once.
    pub(super) async fn drain(&self, backlog: &Backlog<'_>, round: u32) -> Result<Measurement> {
        let prefix = format!("{}-{}-{round}", backlog.workload, self.reader.name());
        let run = self.run(backlog.source, backlog.kafka, &prefix).await?;
        let until = Until {
            records: backlog.rows,
            after_first: Duration::MAX,
            idle: IDLE,
        };
        let arrivals = run.watch_topic(backlog.kafka, until)?;
        let watch = Watch::start();
        let began = Instant::now();
        run.daemon.start_with(&["--adopt-state"])?;
        run.follow(&watch, backlog).await?;
        let arrivals = run.wait(arrivals, until)?;
        let cost = watch.finish();
        let status = run.daemon.connector(self.reader.name())?;
        run.daemon.terminate()?;
        let found = run.found(backlog, arrivals.count).await?;
        let mut measurement = self.measurement(backlog, round, cost);
        measurement.events = arrivals.count;
        measurement.seconds = arrivals.last.duration_since(began).as_secs_f64();
        measurement.first_event_seconds = arrivals.first.map(|first| first.duration_since(began).as_secs_f64());
        measurement.first_events = arrivals.first_count;
        measurement.record_bytes = Some(found.bytes);
        measurement.found = Some(found);
        if status.get("retries").and_then(serde_json::Value::as_u64) != Some(0) {
            measurement.notes.push(format!("it had to try again: {status}"));
        }
        run.clean_up(backlog.kafka).await?;
        Ok(measurement)
    }

    fn measurement(&self, backlog: &Backlog<'_>, round: u32, cost: Cost) -> Measurement {
        Measurement {
            workload: backlog.workload.to_owned(),
            reader: self.reader.name().to_owned(),
            round,
            events: 0,
            seconds: 0.0,
            first_event_seconds: None,
            first_events: 0,
            record_bytes: None,
            found: None,
            cost,
            figures: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}

// === impl Run ===

impl Run {
    /// Looks at the topic from now on, where there is one.
    fn watch_topic(&self, kafka: &Kafka, until: Until) -> Result<Option<Receiver<Result<Arrivals>>>> {
        if self.reader == Reader::File {
            return Ok(None);
        }
        watch(&kafka.bootstrap(), &self.topic, until).map(Some)
    }

    async fn follow(&self, watching: &Watch, backlog: &Backlog<'_>) -> Result<()> {
        watching.follow("tailrace", self.daemon.process_id()?, Since::Birth);
        if let Some(broker) = backlog.kafka.process_id().filter(|_| self.reader != Reader::File) {
            watching.follow("broker", broker, Since::Now);
        }
        let walsender = backlog.source.walsender(&slot_of(self.reader)).await?;
        watching.follow("walsender", walsender, Since::Birth);
        Ok(())
    }

    fn wait(&self, arrivals: Option<Receiver<Result<Arrivals>>>, until: Until) -> Result<Arrivals> {
        let outcome = match arrivals {
            Some(arrivals) => arrivals.recv().map_err(failed("watching the topic")).flatten(),
            None => self.wait_for_file(until),
        };
        outcome.map_err(|error| self.daemon.with_status(self.reader.name(), &error))
    }

    /// The embedded stream tells how far it is through the daemon's own count of durable records, which is checked later.
    fn wait_for_file(&self, until: Until) -> Result<Arrivals> {
        let mut seen = Arrivals {
            first: None,
            first_count: 0,
            last: Instant::now(),
            count: 0,
        };
        while seen.count < until.records {
            let status = self.daemon.connector(self.reader.name())?;
            let count = status.get("records").and_then(serde_json::Value::as_u64).unwrap_or(0);
            let now = Instant::now();
            if count > seen.count {
                if seen.first.is_none() {
                    (seen.first, seen.first_count) = (Some(now), count);
                }
                (seen.count, seen.last) = (count, now);
            } else if now.duration_since(seen.last) > until.idle {
                return Err(ServerError::new(format!("the stream stays at {count} records")));
            }
            std::thread::sleep(STATUS_INTERVAL);
        }
        Ok(seen)
    }

    async fn found(&self, backlog: &Backlog<'_>, records: u64) -> Result<Found> {
        if self.reader != Reader::File {
            return find(&backlog.kafka.bootstrap(), &self.topic, records, backlog.rows);
        }
        let stream = FileStream::new(FileStreamConfig::at(self.daemon.path().join("events")));
        let stream = stream.map_err(failed("opening the stream"))?;
        let wanted = ConsumerSpec {
            topics: vec![self.topic.clone()],
            group: None,
            start: StartOffset::Earliest,
        };
        let mut consumer = stream.consumer(wanted).await.map_err(failed("reading the stream"))?;
        let mut seen = Seen::new(backlog.rows);
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

    async fn clean_up(&self, kafka: &Kafka) -> Result<()> {
        if self.reader == Reader::File {
            return Ok(());
        }
        kafka.delete_topic(&self.topic).await
    }
}

/// The slot that Tailrace makes for a connector of that name.
fn slot_of(reader: Reader) -> String {
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
      type: postgres
      url: \"{}\"
      tables: [public.employees]
      publication: {PUBLICATION}
      create_publication: false
      snapshot: {{ mode: never }}
    stream: events
    prefix: \"{prefix}\"
    format: {{ envelope: {envelope} }}",
        reader.name(),
        source.url()
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
