//! Membership in a group of readers: what a sink reads from.
//!
//! A topic has one partition and a group has one member, who holds its lock: all that matches is ours, from the moment that
//! its folder is there until it is gone. Files are read where the caller asks, as in `consumer.rs`.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tailrace_core::ports::sink::{
    Delivery, OFFSET_OUT_OF_RANGE, StartAt, Subscription, SubscriptionSpec, TOPIC_REWOUND,
};
use tailrace_core::record_batch::{RecordBatch, TopicPartition};
use tailrace_core::{Error, Result, pattern};
use tokio::time::{Duration, Instant};

use crate::consumer::LOOK_INTERVAL;
use crate::error::unreadable;
use crate::offsets::{Group, Offsets};
use crate::reader::{TopicReader, bounds};
use crate::{segment, topic};

/// How often new topics are looked for: listing a folder is cheap, and nobody waits for the first record of a new table.
const DISCOVER_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a batch: what a target takes in one transaction, about.
const BATCH_BYTES: usize = 1024 * 1024;

/// Reads the topics of a group.
#[derive(Debug)]
pub(crate) struct FileSubscription {
    root: PathBuf,
    spec: SubscriptionSpec,
    group: Group,
    /// Of the group, topics included that are not read now.
    stored: Offsets,
    assigned: Vec<Assigned>,
    /// Whose turn it is, so that a busy topic does not starve the others.
    turn: usize,
    /// Told before any records.
    notices: VecDeque<Delivery>,
    discovered: Option<Instant>,
}

#[derive(Debug)]
struct Assigned {
    partition: TopicPartition,
    folder: PathBuf,
    /// The folder as it was found. While it is open, no other folder has its number.
    found: File,
    /// Since it was started.
    reader: Option<TopicReader>,
    /// The offset that the next record will have, at least.
    end: u64,
}

// === impl FileSubscription ===

impl FileSubscription {
    /// Takes the group.
    pub(crate) fn open(root: &Path, spec: &SubscriptionSpec) -> Result<Self> {
        let group = Group::take(root, &spec.group)?;
        let stored = group.load()?;
        Ok(Self {
            root: root.to_owned(),
            spec: spec.clone(),
            group,
            stored,
            assigned: Vec::new(),
            turn: 0,
            notices: VecDeque::new(),
            discovered: None,
        })
    }

    fn start_one(&mut self, partition: &TopicPartition, at: StartAt) -> Result<i64> {
        let folder = topic::partition_folder(&self.root, &partition.topic)?;
        let bounds = bounds(&folder)?;
        let signed = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        let (first, end) = (signed(bounds.start), signed(bounds.end));
        let offset = at.offset(first, end);
        let place = folder.display().to_string();
        let out_of_range = || {
            let message = self
                .spec
                .offset_out_of_range(partition, &place, at.wanted(offset), first);
            Error::definite(OFFSET_OUT_OF_RANGE, message)
        };
        let next_offset = u64::try_from(offset).map_err(|_| out_of_range())?;
        if next_offset > bounds.end {
            let message = self.spec.topic_rewound(partition, &place, at.wanted(offset), end);
            return Err(Error::definite(TOPIC_REWOUND, message));
        }
        let mut reader = TopicReader::new(&partition.topic, folder, next_offset);
        if !reader.can_begin()? {
            return Err(out_of_range());
        }
        // Where it is not ours any more, that is told by `next`.
        if let Some(assigned) = self.find(partition) {
            assigned.reader = Some(reader);
            assigned.end = bounds.end;
        }
        Ok(offset)
    }

    /// Notices topics that came and went, and where the others end.
    fn discover(&mut self) -> Result<()> {
        if self.discovered.is_some_and(|last| last.elapsed() < DISCOVER_INTERVAL) {
            return Ok(());
        }
        self.discovered = Some(Instant::now());
        let mut topics = topic::list(&self.root)?;
        topics.retain(|topic| {
            self.spec
                .topics
                .iter()
                .any(|pattern| pattern::glob_matches(pattern, topic))
        });
        let is_gone = |assigned: &mut Assigned| {
            let is_listed = topics.iter().any(|topic| **topic == *assigned.partition.topic);
            !is_listed || assigned.is_made_anew()
        };
        let gone: Vec<_> = self
            .assigned
            .extract_if(.., is_gone)
            .map(|gone| gone.partition)
            .collect();
        if !gone.is_empty() {
            self.notices.push_back(Delivery::Lost(gone));
        }
        let mut new = Vec::new();
        for topic in &topics {
            if self.assigned.iter().any(|known| *known.partition.topic == **topic) {
                continue;
            }
            let folder = topic::partition_folder(&self.root, topic)?;
            let found = match File::open(&folder) {
                Ok(found) => found,
                // It was deleted this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&folder, error)),
            };
            let partition = TopicPartition::new(topic.as_str(), 0);
            new.push(partition.clone());
            self.assigned.push(Assigned {
                partition,
                folder,
                found,
                reader: None,
                end: 0,
            });
        }
        if !new.is_empty() {
            self.notices.push_back(Delivery::Assigned(new));
        }
        self.assigned.iter_mut().for_each(Assigned::look_for_end);
        Ok(())
    }

    fn read(&mut self, limit: usize) -> Result<RecordBatch> {
        let mut batch = RecordBatch::default();
        for _ in 0..self.assigned.len() {
            let (room, bytes) = (
                limit.saturating_sub(batch.len()),
                BATCH_BYTES.saturating_sub(batch.size_bytes()),
            );
            if room == 0 || bytes == 0 {
                break;
            }
            let turn = self.turn % self.assigned.len();
            self.turn = turn + 1;
            if let Some(reader) = self
                .assigned
                .get_mut(turn)
                .and_then(|assigned| assigned.reader.as_mut())
            {
                reader.read(room, bytes, |topic, offset, record, _| {
                    batch.push((topic, 0), offset, record.timestamp_ms, (record.key, record.value));
                    record.headers.for_each(|(name, value)| batch.push_header(name, value));
                })?;
            }
        }
        Ok(batch)
    }

    fn find(&mut self, partition: &TopicPartition) -> Option<&mut Assigned> {
        self.assigned.iter_mut().find(|known| known.partition == *partition)
    }
}

#[async_trait]
impl Subscription for FileSubscription {
    async fn next(&mut self, limit: usize) -> Result<Delivery> {
        loop {
            self.discover()?;
            if let Some(notice) = self.notices.pop_front() {
                return Ok(notice);
            }
            if limit > 0 {
                let batch = self.read(limit)?;
                if !batch.is_empty() {
                    return Ok(Delivery::Records(batch));
                }
            }
            // Nobody tells a reader of files that another process has written to one.
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn start(&mut self, partitions: &[(TopicPartition, StartAt)]) -> Result<Vec<i64>> {
        partitions
            .iter()
            .map(|(partition, at)| self.start_one(partition, *at))
            .collect()
    }

    async fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        if let Some(assigned) = self.find(partition) {
            assigned.reader = None;
        }
        Ok(())
    }

    async fn release(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        // Nothing is ever revoked: a group has one member.
        Ok(())
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        for (partition, offset) in offsets {
            if let Ok(offset) = u64::try_from(*offset) {
                self.stored.insert(partition.topic.to_string(), offset);
            }
        }
        self.group.store(&self.stored)
    }

    fn ends(&self) -> Vec<(TopicPartition, i64)> {
        let end = |assigned: &Assigned| {
            let reader = assigned.reader.as_ref()?;
            let end = i64::try_from(assigned.end.max(reader.next_offset())).unwrap_or(i64::MAX);
            Some((assigned.partition.clone(), end))
        };
        self.assigned.iter().filter_map(end).collect()
    }
}

// === impl Assigned ===

impl Assigned {
    /// True where the topic was deleted: what has its name now, if anything, is another one.
    fn is_made_anew(&self) -> bool {
        let number = |metadata: io::Result<Metadata>| metadata.map(|metadata| (metadata.dev(), metadata.ino())).ok();
        number(fs::metadata(&self.folder)) != number(self.found.metadata())
    }

    /// Where the last segment begins is known from its name; reading it to its end for this is not worth it.
    fn look_for_end(&mut self) {
        if self.reader.is_none() {
            return;
        }
        let last = segment::list(&self.folder).ok().and_then(|mut segments| segments.pop());
        self.end = last.map_or(self.end, |last| self.end.max(last.base));
    }
}
