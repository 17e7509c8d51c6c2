//! What a daemon has published, read to its end: from a broker, or from the files of the embedded stream.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tailrace_core::event::StreamRecord;
use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset};
use tailrace_file::{FileStream, FileStreamConfig};

use crate::events::Event;
use crate::servers::{Kafka, Result, ServerError};

/// Records of one read; files are read in pieces.
const READ_RECORDS: usize = 10_000;

/// Where a daemon publishes.
#[derive(Clone, Debug)]
pub enum Published<'a> {
    /// Into a broker.
    Kafka(&'a Kafka),
    /// Into the files of this folder.
    File(PathBuf),
}

// === impl Published ===

impl Published<'_> {
    /// All events of a topic, in the order of each partition; none where there is no such topic yet.
    ///
    /// # Errors
    /// The stream's.
    pub async fn events(&self, topic: &str) -> Result<Vec<Event>> {
        match self {
            Published::Kafka(kafka) => {
                if !kafka.topics()?.iter().any(|known| known == topic) {
                    return Ok(Vec::new());
                }
                Ok(kafka.records(topic)?.into_iter().map(Event::from).collect())
            }
            Published::File(folder) => read_files(folder, topic).await,
        }
    }
}

/// Everything that is in the files of a topic when this is called.
async fn read_files(folder: &Path, topic: &str) -> Result<Vec<Event>> {
    let failed = |error: tailrace_core::Error| ServerError::new(format!("reading {topic}: {}", error.report()));
    let stream = FileStream::new(FileStreamConfig::at(folder.to_owned())).map_err(failed)?;
    let spec = ConsumerSpec {
        topics: vec![topic.to_owned()],
        group: None,
        start: StartOffset::Earliest,
    };
    let mut consumer = stream.consumer(spec).await.map_err(failed)?;
    let mut events = Vec::new();
    loop {
        // What is in the files is read at once, so that nothing need be waited for.
        let records = consumer.poll(READ_RECORDS, Duration::ZERO).await.map_err(failed)?;
        if records.is_empty() {
            return Ok(events);
        }
        events.extend(records.into_iter().map(event));
    }
}

fn event(record: StreamRecord) -> Event {
    let headers = record
        .headers
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
    Event {
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(|key| key.to_vec()),
        value: record.value.map(|value| value.to_vec()),
        headers: headers.collect(),
    }
}
