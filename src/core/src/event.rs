//! Events: what is published for changes, and what is read back from a stream.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::Refusal;
use crate::error::{Error, Result};

/// Header names that Tailrace gives; values are UTF-8 text.
pub mod header {
    /// When the row was last updated: RFC 3339, UTC, microseconds.
    pub const UPDATED_AT: &str = "updated_at";
    /// What happened; Debezium's letter.
    pub const OPERATION: &str = "op";
    /// The connector's name.
    pub const SOURCE: &str = "source";
    /// The transaction's commit position, as the database prints it.
    pub const POSITION: &str = "position";
    /// Stable over replays: source identity, commit position, ordinal; or what an outbox row calls itself.
    pub const EVENT_ID: &str = "event_id";
    /// The database's number of the transaction.
    pub const TRANSACTION: &str = "txn";
    /// Of a dead letter's copy: why, as a stable name.
    pub const DEAD_LETTER_CODE: &str = "dead_letter_code";
    /// Of a dead letter's copy: why, in a sentence.
    pub const DEAD_LETTER_REASON: &str = "dead_letter_reason";
    /// Of a dead letter's copy: the table.
    pub const DEAD_LETTER_TABLE: &str = "dead_letter_table";
    /// What an outbox row calls itself; Debezium's name.
    pub const MESSAGE_ID: &str = "id";
}

/// The name of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderName {
    /// One that Tailrace gives.
    Known(&'static str),
    /// One that the event brings: UTF-8 text, as a range of the buffer.
    Written(Range<usize>),
}

/// Events of one batch, encoded: one buffer for all keys, values and header values.
///
/// Headers are stored once per distinct name; a record holds a range of `headers`.
#[derive(Debug, Clone, Default)]
pub struct EncodedBatch {
    /// Keys, values and header values, one behind the other.
    pub buffer: Vec<u8>,
    /// Topics that `records` refer to.
    pub topics: Vec<Arc<str>>,
    /// Header names and where their values lie in `buffer`.
    pub headers: Vec<(HeaderName, Range<usize>)>,
    /// The records, in the order in which they must arrive.
    pub records: Vec<EncodedRecord>,
    /// Changes that have no record because they cannot be encoded, in their order.
    pub refused: Vec<Refused>,
    topic_indexes: HashMap<Arc<str>, usize>,
}

/// A change that cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its index in the batch that was encoded.
    pub change: usize,
    /// Why.
    pub refusal: Refusal,
}

/// One record of an [`EncodedBatch`].
#[derive(Debug, Clone)]
pub struct EncodedRecord {
    /// Index into [`EncodedBatch::topics`].
    pub topic: usize,
    /// Key, as a range of the buffer; without one the record goes to the topic's first partition… see the stream.
    pub key: Option<Range<usize>>,
    /// Value, as a range of the buffer; `None` is a tombstone.
    pub value: Option<Range<usize>>,
    /// Headers, as a range of [`EncodedBatch::headers`].
    pub headers: Range<usize>,
    /// The record's timestamp: `updated_at`, milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// A record read from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key bytes.
    pub key: Option<Bytes>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in the order in which they were written.
    pub headers: Vec<(String, Bytes)>,
}

/// A time as headers have it, of microseconds since 1970: RFC 3339, UTC, microseconds.
pub fn time_text(at_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(at_us) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => format!("{at_us} microseconds since 1970"),
    }
}

/// The microseconds since 1970 of a time as headers have it; the inverse of [`time_text`].
pub fn time_of(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_microsecond())
}

// === impl HeaderName ===

impl From<&'static str> for HeaderName {
    fn from(name: &'static str) -> Self {
        Self::Known(name)
    }
}

// === impl EncodedBatch ===

impl EncodedBatch {
    /// The batch, where every change of it could be encoded.
    ///
    /// # Errors
    /// The first refusal, as an error of kind `Poison`.
    pub fn complete(self) -> Result<Self> {
        match self.refused.into_iter().next() {
            Some(Refused { refusal, .. }) => Err(Error::poison(refusal.code, refusal.reason)),
            None => Ok(Self {
                refused: Vec::new(),
                ..self
            }),
        }
    }

    /// Index of a topic, added where it is new.
    pub fn topic_index(&mut self, topic: &Arc<str>) -> usize {
        if let Some(known) = self.topic_indexes.get(topic) {
            return *known;
        }
        self.topics.push(Arc::clone(topic));
        self.topic_indexes.insert(Arc::clone(topic), self.topics.len() - 1);
        self.topics.len() - 1
    }

    /// Writes a key, value or header value; where it lies.
    pub fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        start..self.buffer.len()
    }

    /// Writes the headers of a record; their range.
    pub fn append_headers<'a>(&mut self, headers: impl IntoIterator<Item = (&'static str, &'a str)>) -> Range<usize> {
        let start = self.headers.len();
        for (name, text) in headers {
            let value = self.append(text.as_bytes());
            self.headers.push((HeaderName::Known(name), value));
        }
        start..self.headers.len()
    }

    /// Bytes of a key, value or header value.
    pub fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    /// Puts bytes in the place of as many; false where the place has room for more or fewer.
    pub fn overwrite(&mut self, place: &Range<usize>, bytes: &[u8]) -> bool {
        let there = self.buffer.get_mut(place.clone());
        let Some(there) = there.filter(|there| there.len() == bytes.len()) else {
            return false;
        };
        there.copy_from_slice(bytes);
        true
    }

    /// Where the value of a header lies that the event brought.
    pub fn place_of_header(&self, record: &EncodedRecord, name: &str) -> Option<Range<usize>> {
        let headers = self.headers.get(record.headers.clone()).unwrap_or_default();
        let found = headers.iter().find(|(known, _)| match known {
            HeaderName::Known(_) => false,
            HeaderName::Written(place) => self.slice(place) == name.as_bytes(),
        });
        found.map(|(_, value)| value.clone())
    }

    /// The topic of a record.
    pub fn topic(&self, record: &EncodedRecord) -> &str {
        self.topics.get(record.topic).map_or("", |topic| topic)
    }

    /// The headers of a record.
    pub fn record_headers(&self, record: &EncodedRecord) -> impl Iterator<Item = (&str, &[u8])> {
        let headers = self.headers.get(record.headers.clone()).unwrap_or_default();
        headers
            .iter()
            .map(|(name, value)| (self.header_name(name), self.slice(value)))
    }

    fn header_name<'a>(&'a self, name: &'a HeaderName) -> &'a str {
        match name {
            HeaderName::Known(name) => name,
            // It was text when it was written.
            HeaderName::Written(range) => std::str::from_utf8(self.slice(range)).unwrap_or_default(),
        }
    }
}

// === impl StreamRecord ===

impl StreamRecord {
    /// The text of a header; `None` where it is missing or is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(&found.1).ok()
    }
}
