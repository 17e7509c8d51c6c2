//! Records read from a stream: one buffer for all keys, values and headers, so that nothing is allocated per record.

use std::ops::Range;
use std::sync::Arc;

use crate::event::StreamRecord;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
}

/// Records in the order in which they were read; those of one partition in the order of their offsets.
#[derive(Debug, Clone, Default)]
pub struct RecordBatch {
    buffer: Vec<u8>,
    partitions: Vec<TopicPartition>,
    header_names: Vec<Arc<str>>,
    headers: Vec<(usize, Range<usize>)>,
    records: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Where its bytes begin; they end where those of the next record do.
    start: usize,
    partition: usize,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

/// One record of a [`RecordBatch`].
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    batch: &'a RecordBatch,
    entry: &'a Entry,
}

/// A number that tells a record from others that had its offset before the topic was made anew: FNV-1a over time, key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMark(pub u64);

// === impl TopicPartition ===

impl TopicPartition {
    /// A partition by its topic's name.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

// === impl RecordBatch ===

impl RecordBatch {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes of keys, values and headers of a run of records.
    pub fn size_bytes_of(&self, run: Range<usize>) -> usize {
        let start_of = |index: usize| self.records.get(index).map_or(self.buffer.len(), |entry| entry.start);
        start_of(run.end).saturating_sub(start_of(run.start))
    }

    /// The partitions that the records are of.
    pub fn partitions(&self) -> &[TopicPartition] {
        &self.partitions
    }

    /// Adds a record; its headers are those that are pushed before the next record.
    pub fn push(
        &mut self,
        partition: (&str, i32),
        offset: i64,
        timestamp_ms: i64,
        key_value: (Option<&[u8]>, Option<&[u8]>),
    ) {
        let start = self.buffer.len();
        let partition = self.partition_index(partition.0, partition.1);
        let key = key_value.0.map(|key| self.append(key));
        let value = key_value.1.map(|value| self.append(value));
        let headers = self.headers.len()..self.headers.len();
        self.records.push(Entry {
            start,
            partition,
            offset,
            timestamp_ms,
            key,
            value,
            headers,
        });
    }

    /// Adds a header to the record that was pushed last.
    pub fn push_header(&mut self, name: &str, value: &[u8]) {
        let name = self.header_name_index(name);
        let value = self.append(value);
        if let Some(record) = self.records.last_mut() {
            self.headers.push((name, value));
            record.headers.end = self.headers.len();
        }
    }

    /// Adds a copy of a record of another batch.
    pub fn push_copy(&mut self, record: RecordView<'_>) {
        let partition = record.partition();
        let key_value = (record.key(), record.value());
        self.push(
            (&partition.topic, partition.partition),
            record.offset(),
            record.timestamp_ms(),
            key_value,
        );
        for (name, value) in record.headers() {
            self.push_header(name, value);
        }
    }

    /// Adds copies of a run of records of another batch: its bytes at once, and where they are now.
    pub fn extend_from(&mut self, other: &Self, run: Range<usize>) {
        let entries = other.records.get(run.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return;
        };
        let end = other.records.get(run.end).map_or(other.buffer.len(), |next| next.start);
        let (bytes_before, headers_before) = (self.buffer.len(), self.headers.len());
        self.buffer
            .extend_from_slice(other.buffer.get(first.start..end).unwrap_or_default());
        let moved = |range: &Range<usize>, from: usize, to: usize| range.start - from + to..range.end - from + to;
        let bytes = |range: &Range<usize>| moved(range, first.start, bytes_before);
        let names: Vec<usize> = other
            .header_names
            .iter()
            .map(|name| self.header_name_index(name))
            .collect();
        let headers = other
            .headers
            .get(first.headers.start..last.headers.end)
            .unwrap_or_default();
        let named = |(name, value): &(usize, Range<usize>)| Some((*names.get(*name)?, bytes(value)));
        self.headers.extend(headers.iter().filter_map(named));
        for entry in entries {
            let partition = other.partitions.get(entry.partition).unwrap_or(RecordView::nowhere());
            let entry = Entry {
                start: entry.start - first.start + bytes_before,
                partition: self.partition_index(&partition.topic, partition.partition),
                key: entry.key.as_ref().map(bytes),
                value: entry.value.as_ref().map(bytes),
                headers: moved(&entry.headers, first.headers.start, headers_before),
                ..*entry
            };
            self.records.push(entry);
        }
    }

    /// Adds a record that owns itself.
    pub fn push_record(&mut self, record: &StreamRecord) {
        let key_value = (record.key.as_deref(), record.value.as_deref());
        self.push(
            (&record.topic, record.partition),
            record.offset,
            record.timestamp_ms,
            key_value,
        );
        for (name, value) in &record.headers {
            self.push_header(name, value);
        }
    }

    /// Leaves out the records of some partitions. Copies the others, where there are any to leave out.
    pub fn retain_partitions(&mut self, is_kept: impl Fn(&TopicPartition) -> bool) {
        if self.partitions.iter().all(&is_kept) {
            return;
        }
        *self = self.filtered(|record| is_kept(record.partition()));
    }

    /// Copies of the records that are wanted.
    pub fn filtered(&self, is_wanted: impl Fn(RecordView<'_>) -> bool) -> Self {
        let mut kept = Self::default();
        let mut run = 0..0;
        for (index, record) in self.iter().enumerate() {
            if is_wanted(record) {
                run.end = index + 1;
                continue;
            }
            kept.extend_from(self, run);
            run = index + 1..index + 1;
        }
        kept.extend_from(self, run);
        kept
    }

    /// The record at an index.
    pub fn get(&self, index: usize) -> Option<RecordView<'_>> {
        self.records.get(index).map(|entry| RecordView { batch: self, entry })
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = RecordView<'_>> {
        self.records.iter().map(|entry| RecordView { batch: self, entry })
    }

    fn header_name_index(&mut self, name: &str) -> usize {
        let known = self.header_names.iter().position(|known| **known == *name);
        known.unwrap_or_else(|| {
            self.header_names.push(name.into());
            self.header_names.len() - 1
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len()
    }

    fn partition_index(&mut self, topic: &str, partition: i32) -> usize {
        let is_it = |known: &TopicPartition| known.partition == partition && *known.topic == *topic;
        // Records come in runs of one partition.
        let last = self.records.last().map(|record| record.partition);
        if let Some(last) = last.filter(|last| self.partitions.get(*last).is_some_and(is_it)) {
            return last;
        }
        let known = self.partitions.iter().position(is_it);
        known.unwrap_or_else(|| {
            let same = self.partitions.iter().find(|known| *known.topic == *topic);
            let topic = same.map_or_else(|| topic.into(), |known| Arc::clone(&known.topic));
            self.partitions.push(TopicPartition { topic, partition });
            self.partitions.len() - 1
        })
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }
}

// === impl RecordView ===

impl<'a> RecordView<'a> {
    /// The partition's index in [`RecordBatch::partitions`].
    pub fn partition_index(&self) -> usize {
        self.entry.partition
    }

    /// The partition that it is of.
    pub fn partition(&self) -> &'a TopicPartition {
        self.batch
            .partitions
            .get(self.entry.partition)
            .unwrap_or(RecordView::nowhere())
    }

    /// Entries are made with an index that is there.
    fn nowhere() -> &'static TopicPartition {
        static NOWHERE: std::sync::LazyLock<TopicPartition> = std::sync::LazyLock::new(|| TopicPartition::new("", 0));
        &NOWHERE
    }

    /// Offset in the partition.
    pub fn offset(&self) -> i64 {
        self.entry.offset
    }

    /// Milliseconds since 1970.
    pub fn timestamp_ms(&self) -> i64 {
        self.entry.timestamp_ms
    }

    /// Key bytes.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.entry.key.as_ref().map(|range| self.batch.slice(range))
    }

    /// Value bytes; `None` is a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.entry.value.as_ref().map(|range| self.batch.slice(range))
    }

    /// Headers in the order in which they were written.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let batch = self.batch;
        let headers = batch.headers.get(self.entry.headers.clone()).unwrap_or_default();
        headers.iter().filter_map(move |(name, value)| {
            let name = batch.header_names.get(*name)?;
            Some((&**name, batch.slice(value)))
        })
    }

    /// The text of a header; `None` where it is missing or is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let found = self.headers().find(|(known, _)| *known == name)?;
        std::str::from_utf8(found.1).ok()
    }

    /// What tells it from another record that had its offset.
    pub fn mark(&self) -> RecordMark {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        add(&self.entry.timestamp_ms.to_le_bytes());
        for part in [self.key(), self.value()] {
            add(&[u8::from(part.is_some())]);
            add(part.unwrap_or_default());
        }
        RecordMark(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were() {
        let mut batch = RecordBatch::default();
        batch.push(("a", 0), 7, 1, (Some(b"k"), Some(b"v")));
        batch.push_header("op", b"c");
        batch.push_header("source", b"shop");
        batch.push(("a", 1), 9, 2, (None, None));
        batch.push_header("op", b"d");
        batch.push(("a", 0), 8, 3, (Some(b""), Some(b"w")));
        let mut copy = RecordBatch::default();
        copy.push(("b", 0), 1, 1, (Some(b"another"), None));
        copy.push_header("source", b"before");
        copy.extend_from(&batch, 0..1);
        copy.extend_from(&batch, 1..1);
        copy.extend_from(&batch, 1..3);
        let mut copy = copy.filtered(|record| *record.partition().topic == *"a");
        let shown = |batch: &RecordBatch| -> Vec<String> {
            let record = |record: RecordView<'_>| {
                let headers: Vec<_> = record.headers().collect();
                format!(
                    "{} {} {} {:?} {:?} {headers:?}",
                    record.partition(),
                    record.offset(),
                    record.timestamp_ms(),
                    record.key(),
                    record.value()
                )
            };
            batch.iter().map(record).collect()
        };
        assert_eq!(shown(&batch), shown(&copy));
        assert_eq!(batch.len(), 3);
        assert_eq!(
            batch.partitions(),
            [TopicPartition::new("a", 0), TopicPartition::new("a", 1)]
        );
        let second = batch.get(1).unwrap();
        assert_eq!(
            (second.offset(), second.value(), second.header("op")),
            (9, None, Some("d"))
        );
        assert_eq!(batch.get(2).unwrap().headers().count(), 0);
        copy.retain_partitions(|partition| partition.partition == 1);
        assert_eq!(shown(&copy), shown(&batch)[1..2]);
        assert_eq!(copy.partitions(), [TopicPartition::new("a", 1)]);
    }

    #[test]
    fn a_mark_tells_records_apart() {
        let mut batch = RecordBatch::default();
        batch.push(("a", 0), 0, 1, (Some(b"k"), Some(b"v")));
        batch.push(("a", 0), 0, 1, (Some(b"k"), None));
        batch.push(("a", 0), 0, 1, (Some(b"kv"), Some(b"")));
        batch.push(("a", 0), 0, 2, (Some(b"k"), Some(b"v")));
        let mut marks: Vec<u64> = batch.iter().map(|record| record.mark().0).collect();
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), 4);
    }
}
