//! What was published, from whichever stream, in an order that people can read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use tailrace_core::event::{StreamRecord, header};
use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset};
use tailrace_file::{FileStream, FileStreamConfig};

use crate::servers::{Result, ServerError, poll_until, shared_kafka};

/// More than a transcript publishes in one topic between two looks.
const POLL_RECORDS: usize = 100_000;

/// A request to a broker that runs, on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(60);

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
    /// One consumer for all looks: making one takes longer than most transcripts' events do.
    Kafka {
        bootstrap: String,
        consumer: BaseConsumer,
    },
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
    pub(super) fn open(kind: StreamKind, daemon_folder: &Path, owner: &str) -> Result<Reader> {
        let source = match kind {
            StreamKind::Kafka => Records::of_kafka()?,
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
            Records::Kafka { bootstrap, .. } => {
                format!("streams:\n  events: {{ type: kafka, bootstrap_servers: [\"{bootstrap}\"] }}\n")
            }
            Records::File(path) => format!("streams:\n  events: {{ type: file, path: \"{}\" }}\n", path.display()),
        }
    }

    /// What was published since the last call. Each topic in its order; topics merged by the log's order, which is not the
    /// stream's: between topics it has none.
    pub(super) async fn new_records(&mut self) -> Result<Vec<StreamRecord>> {
        let mut topics = Vec::new();
        for topic in self.topics().await? {
            let next = self.next_offsets.get(&topic).copied().unwrap_or_default();
            let records = self.records(&topic, next).await?;
            if let Some(last) = records.last() {
                self.next_offsets.insert(topic, last.offset + 1);
            }
            topics.push(records);
        }
        Ok(merge(topics))
    }

    async fn topics(&self) -> Result<Vec<String>> {
        let all = match &self.source {
            Records::Kafka { consumer, .. } => {
                let metadata = consumer.fetch_metadata(None, DEADLINE);
                let metadata = metadata.map_err(ServerError::doing("asking for topics"))?;
                metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
            }
            Records::File(path) => file_stream(path)?.topics().await.map_err(in_words)?,
        };
        let is_own = |topic: &String| super::words::find_word(topic, &self.owner).is_some();
        let mut own: Vec<String> = all.into_iter().filter(is_own).collect();
        own.sort();
        Ok(own)
    }

    async fn records(&self, topic: &str, next: i64) -> Result<Vec<StreamRecord>> {
        match &self.source {
            Records::Kafka { consumer, .. } => read_to_the_end(consumer, topic, next),
            Records::File(path) => {
                let spec = ConsumerSpec {
                    topics: vec![topic.to_owned()],
                    group: None,
                    start: StartOffset::Earliest,
                };
                let mut consumer = file_stream(path)?.consumer(spec).await.map_err(in_words)?;
                // Everything is durable already: nothing need be waited for.
                let mut records = consumer.poll(POLL_RECORDS, Duration::ZERO).await.map_err(in_words)?;
                records.retain(|record| record.offset >= next);
                Ok(records)
            }
        }
    }
}

// === impl Records ===

impl Records {
    fn of_kafka() -> Result<Records> {
        let kafka = shared_kafka()?;
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", kafka.internal_bootstrap())
            .set("group.id", "transcripts")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            // A request that waits at the broker for more would hold up the next topic's.
            .set("fetch.wait.max.ms", "10")
            .create()
            .map_err(ServerError::doing("making a consumer"))?;
        Ok(Records::Kafka {
            bootstrap: kafka.bootstrap(),
            consumer,
        })
    }
}

/// The records of a topic, which has one partition, from an offset to its end as it is now.
fn read_to_the_end(consumer: &BaseConsumer, topic: &str, next: i64) -> Result<Vec<StreamRecord>> {
    let attempt = || format!("reading {topic}");
    let ends = consumer.fetch_watermarks(topic, 0, DEADLINE);
    let (_, end) = ends.map_err(ServerError::doing(attempt()))?;
    let mut records = Vec::new();
    if next >= end {
        return Ok(records);
    }
    let mut assignment = TopicPartitionList::new();
    let begin = assignment.add_partition_offset(topic, 0, Offset::Offset(next));
    begin.map_err(ServerError::doing(attempt()))?;
    consumer.assign(&assignment).map_err(ServerError::doing(attempt()))?;
    poll_until(&format!("{} to its end", attempt()), DEADLINE, || {
        while let Some(message) = consumer.poll(Duration::ZERO) {
            records.push(of_kafka(&message.map_err(ServerError::doing(attempt()))?));
        }
        // Positions and not records tell the end: markers of transactions leave gaps.
        let positions = consumer.position().map_err(ServerError::doing(attempt()))?;
        let position = positions.find_partition(topic, 0).map(|position| position.offset());
        Ok(matches!(position, Some(Offset::Offset(offset)) if offset >= end).then_some(()))
    })?;
    consumer.unassign().map_err(ServerError::doing(attempt()))?;
    Ok(records)
}

fn file_stream(path: &Path) -> Result<FileStream> {
    FileStream::new(FileStreamConfig::at(path)).map_err(in_words)
}

fn in_words(error: tailrace_core::Error) -> ServerError {
    ServerError::new(error.to_string())
}

fn of_kafka(message: &BorrowedMessage<'_>) -> StreamRecord {
    let bytes = |value: Option<&[u8]>| value.map(|value| value.to_vec().into());
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    StreamRecord {
        topic: message.topic().into(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: bytes(message.key()),
        value: bytes(message.payload()),
        headers: headers
            .map(|header| (header.key.to_owned(), bytes(header.value).unwrap_or_default()))
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
