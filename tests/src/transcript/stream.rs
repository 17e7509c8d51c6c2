//! What was published, from whichever stream, in an order that people can read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tailrace_core::event::{StreamRecord, header};
use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset};
use tailrace_file::{FileStream, FileStreamConfig};

use crate::servers::{Kafka, Result, ServerError, shared_kafka};

/// More than a transcript publishes in one topic between two looks.
const POLL_RECORDS: usize = 100_000;

/// The streams that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Apache Kafka, the broker that all tests share.
    Kafka,
    /// The embedded stream, in the daemon's folder.
    File,
}

/// A stream, and how far it was read.
pub(super) struct Reader {
    source: Records,
    /// Topics whose name has this in it are the transcript's.
    owner: String,
    next_offsets: BTreeMap<String, i64>,
}

enum Records {
    Kafka(&'static Kafka),
    File(PathBuf),
}

// === impl StreamKind ===

impl StreamKind {
    pub(super) fn named(name: &str) -> Option<StreamKind> {
        [StreamKind::Kafka, StreamKind::File]
            .into_iter()
            .find(|kind| kind.to_string() == name)
    }
}

impl std::fmt::Display for StreamKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            StreamKind::Kafka => "kafka",
            StreamKind::File => "file",
        })
    }
}

// === impl Reader ===

impl Reader {
    pub(super) fn open(kind: StreamKind, daemon_folder: &std::path::Path, owner: &str) -> Result<Reader> {
        let source = match kind {
            StreamKind::Kafka => Records::Kafka(shared_kafka()?),
            StreamKind::File => Records::File(daemon_folder.join("events")),
        };
        Ok(Reader {
            source,
            owner: owner.to_owned(),
            next_offsets: BTreeMap::new(),
        })
    }

    /// The stream's section of a configuration.
    pub(super) fn configuration(&self) -> String {
        match &self.source {
            Records::Kafka(kafka) => format!(
                "streams:\n  events: {{ type: kafka, bootstrap_servers: [\"{}\"] }}\n",
                kafka.bootstrap()
            ),
            Records::File(path) => format!("streams:\n  events: {{ type: file, path: \"{}\" }}\n", path.display()),
        }
    }

    /// What was published since the last call. Each topic in its order; topics merged by the log's order, which is not the
    /// stream's: between topics it has none.
    pub(super) async fn new_records(&mut self) -> Result<Vec<StreamRecord>> {
        let mut topics = Vec::new();
        for topic in self.topics().await? {
            let next = self.next_offsets.get(&topic).copied().unwrap_or_default();
            let mut records = self.records(&topic).await?;
            records.retain(|record| record.offset >= next);
            if let Some(last) = records.last() {
                self.next_offsets.insert(topic, last.offset + 1);
            }
            topics.push(records);
        }
        Ok(merge(topics))
    }

    async fn topics(&self) -> Result<Vec<String>> {
        let all = match &self.source {
            Records::Kafka(kafka) => kafka.topics()?,
            Records::File(path) => file_stream(path)?.topics().await.map_err(in_words)?,
        };
        let is_own = |topic: &String| super::words::find_word(topic, &self.owner).is_some();
        Ok(all.into_iter().filter(is_own).collect())
    }

    async fn records(&self, topic: &str) -> Result<Vec<StreamRecord>> {
        match &self.source {
            Records::Kafka(kafka) => Ok(kafka
                .records(topic)?
                .into_iter()
                .map(|record| of_kafka(topic, record))
                .collect()),
            Records::File(path) => {
                let spec = ConsumerSpec {
                    topics: vec![topic.to_owned()],
                    group: None,
                    start: StartOffset::Earliest,
                };
                let mut consumer = file_stream(path)?.consumer(spec).await.map_err(in_words)?;
                // Everything is durable already: nothing need be waited for.
                consumer.poll(POLL_RECORDS, Duration::ZERO).await.map_err(in_words)
            }
        }
    }
}

fn file_stream(path: &std::path::Path) -> Result<FileStream> {
    FileStream::new(FileStreamConfig::at(path)).map_err(in_words)
}

fn in_words(error: tailrace_core::Error) -> ServerError {
    ServerError::new(error.to_string())
}

fn of_kafka(topic: &str, record: crate::servers::Record) -> StreamRecord {
    let headers = record.headers.into_iter();
    StreamRecord {
        topic: topic.into(),
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms.unwrap_or_default(),
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        headers: headers
            .map(|(name, value)| (name, value.unwrap_or_default().into()))
            .collect(),
    }
}

/// Takes whichever topic's next record is the first in the log. No topic's own order is changed: if that is wrong, it shows.
fn merge(topics: Vec<Vec<StreamRecord>>) -> Vec<StreamRecord> {
    let mut heads: Vec<_> = topics
        .into_iter()
        .map(|records| records.into_iter().peekable())
        .collect();
    let mut merged = Vec::new();
    loop {
        let next = heads
            .iter_mut()
            .filter_map(|records| {
                let place = records.peek().map(place_in_log)?;
                Some((place, records))
            })
            .min_by(|(one, _), (other, _)| one.cmp(other));
        match next.and_then(|(_, records)| records.next()) {
            Some(record) => merged.push(record),
            None => return merged,
        }
    }
}

/// Commit position, then the ordinal within the transaction, which is the last part of the event's id.
fn place_in_log(record: &StreamRecord) -> (u64, u64) {
    let position = record.header(header::POSITION).unwrap_or_default();
    let ordinal = record.header(header::EVENT_ID).unwrap_or_default();
    let ordinal = ordinal.rsplit(':').next().unwrap_or_default();
    let digits: String = ordinal.chars().take_while(char::is_ascii_digit).collect();
    (
        super::words::log_position(position).unwrap_or_default(),
        digits.parse().unwrap_or_default(),
    )
}
