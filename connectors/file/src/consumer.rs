//! Reading topics back, in turn, with stored offsets.
//!
//! Files are read where the caller polls, not on a thread of their own: what is read was written a moment ago and lies
//! in the page cache, a poll reads a few megabytes at most, and a poll that is dropped while it waits has lost nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tailrace_core::Result;
use tailrace_core::event::StreamRecord;
use tailrace_core::ports::{Consumer, ConsumerSpec};
use tokio::time::Instant;

use crate::offsets::{Group, Offsets};
use crate::reader::{TopicReader, start_offset};
use crate::record::Record;
use crate::topic;

/// How often the end of a topic is looked at while nothing comes: below what a person notices, and a hundred looks a
/// second cost nothing measurable.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How much one poll reads of one topic, so that a topic of large rows does not fill the memory.
const POLL_BYTES: usize = 4 * 1024 * 1024;

/// Reads topics of a stream from files.
#[derive(Debug)]
pub(crate) struct FileConsumer {
    readers: Vec<TopicReader>,
    /// Whose turn it is, so that a busy topic does not starve the others.
    turn: usize,
    group: Option<Group>,
    /// Of the group, topics included that this consumer does not read.
    stored: Offsets,
}

// === impl FileConsumer ===

impl FileConsumer {
    /// Begins where the group left off, else where the spec says.
    pub(crate) fn open(root: &Path, spec: &ConsumerSpec) -> Result<Self> {
        let group = spec.group.as_deref().map(|name| Group::take(root, name)).transpose()?;
        let stored = group.as_ref().map(Group::load).transpose()?.unwrap_or_default();
        let mut readers = Vec::with_capacity(spec.topics.len());
        for name in &spec.topics {
            let folder = topic::partition_folder(root, name)?;
            let offset = match stored.get(name) {
                Some(offset) => *offset,
                None => start_offset(&folder, spec.start)?,
            };
            readers.push(TopicReader::new(name, folder, offset));
        }
        Ok(Self {
            readers,
            turn: 0,
            group,
            stored,
        })
    }

    fn read(&mut self, limit: usize) -> Result<Vec<StreamRecord>> {
        let mut records = Vec::new();
        for _ in 0..self.readers.len() {
            if records.len() >= limit {
                break;
            }
            let turn = self.turn % self.readers.len();
            self.turn = turn + 1;
            if let Some(reader) = self.readers.get_mut(turn) {
                let room = limit - records.len();
                reader.read(room, POLL_BYTES, |topic, offset, record, frame| {
                    records.push(owned(topic, offset, record, frame));
                })?;
            }
        }
        Ok(records)
    }
}

/// A record that keeps the bytes that it lies in.
fn owned(topic: &Arc<str>, offset: i64, record: Record<'_>, frame: &Bytes) -> StreamRecord {
    let headers = record
        .headers
        .map(|(name, value)| (name.to_owned(), frame.slice_ref(value)));
    StreamRecord {
        topic: Arc::clone(topic),
        partition: 0,
        offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(|key| frame.slice_ref(key)),
        value: record.value.map(|value| frame.slice_ref(value)),
        headers: headers.collect(),
    }
}

#[async_trait]
impl Consumer for FileConsumer {
    async fn poll(&mut self, limit: usize, wait: Duration) -> Result<Vec<StreamRecord>> {
        let deadline = Instant::now() + wait;
        loop {
            let records = self.read(limit)?;
            let now = Instant::now();
            if !records.is_empty() || now >= deadline {
                return Ok(records);
            }
            tokio::time::sleep_until(deadline.min(now + LOOK_INTERVAL)).await;
        }
    }

    async fn commit(&mut self) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        for reader in &self.readers {
            self.stored.insert(reader.topic().to_string(), reader.next_offset());
        }
        group.store(&self.stored)
    }
}
