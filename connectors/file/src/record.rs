//! The bytes of one record. All integers are little-endian.
//!
//! ```text
//!   0         4         8                 16                 24
//!   ┌─────────┬─────────┬─────────────────┬──────────────────┬─────────┬───────────┬──────────────┬───┄
//!   │ length  │ crc32   │ offset          │ timestamp_ms     │ key len │ value len │ header count │ …
//!   │ u32     │ u32     │ u64             │ i64              │ u32     │ u32       │ u32          │
//!   └─────────┴─────────┴─────────────────┴──────────────────┴─────────┴───────────┴──────────────┴───┄
//!              ┄───┬─────┬───────┬─ per header ───────────────────────┐
//!                … │ key │ value │ name len │ value len │ name │ value │
//!                  │     │       │ u32      │ u32       │ UTF-8│       │
//!              ┄───┴─────┴───────┴────────────────────────────────────┘
//! ```
//!
//! `length` counts the bytes behind the checksum; the checksum is over the length and all that follows it. A key or
//! value length of 2³²−1 says that there is none. Lengths are fixed and not varints: a reader finds the end of a record
//! from its first four bytes, and the torn end of a file needs no special case.

use std::ops::Range;

use tailrace_core::event::{EncodedBatch, EncodedRecord};
use thiserror::Error as ThisError;

/// Bytes before what `length` counts.
pub(crate) const PREFIX_BYTES: usize = 8;
/// Offset, timestamp, and three lengths.
const FIXED_BYTES: usize = 28;
/// Longer records are refused when written, so that a damaged length cannot ask for memory. Far beyond any row that a
/// database hands out in one piece.
pub(crate) const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A key or value that is not there.
const ABSENT: u32 = u32::MAX;

/// One record, borrowed from the bytes it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Offset in the partition.
    pub offset: u64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key bytes.
    pub key: Option<&'a [u8]>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in the order in which they were written.
    pub headers: Headers<'a>,
}

/// Headers of a record, as they lie in its bytes: found to be whole when the record was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum Damage {
    /// No record is that short or that long.
    #[error("no record has a length of {0} bytes")]
    Length(u32),
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum is right, but the lengths inside do not add up: not written by Tailrace.
    #[error("the lengths inside a record do not add up")]
    Content,
    /// The record is whole and in the wrong place.
    #[error("it holds offset {found} where {expected} must follow")]
    Offset {
        /// The record's.
        found: u64,
        /// The one after the record before.
        expected: u64,
    },
}

/// A whole record whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    /// Prefix included.
    pub(crate) bytes: usize,
}

/// Parses the record at the beginning of `bytes`; returns it with the number of bytes it takes, or `None` where the
/// bytes end before it does. Any bytes may be given: this is the whole parser, for fuzzing too.
///
/// # Errors
/// [`Damage`] where the bytes cannot be the beginning of a record.
pub fn parse_record(bytes: &[u8]) -> Result<Option<(Record<'_>, usize)>, Damage> {
    let Some(frame) = parse_frame(bytes)? else {
        return Ok(None);
    };
    let record = record_of(bytes.get(..frame.bytes).unwrap_or_default())?;
    Ok(Some((record, frame.bytes)))
}

/// The record of a frame whose checksum was compared already.
///
/// # Errors
/// [`Damage::Content`].
pub(crate) fn record_of(frame: &[u8]) -> Result<Record<'_>, Damage> {
    frame.get(PREFIX_BYTES..).and_then(parse_body).ok_or(Damage::Content)
}

/// As [`parse_record`], without looking inside.
pub(crate) fn parse_frame(bytes: &[u8]) -> Result<Option<Frame>, Damage> {
    let Some(length) = frame_bytes(bytes)? else {
        return Ok(None);
    };
    let Some(frame) = bytes.get(..length) else {
        return Ok(None);
    };
    let mut fields = Fields(frame);
    let (Some(length_bytes), Some(checksum)) = (fields.take(4), fields.u32()) else {
        return Ok(None);
    };
    if checksum != checksum_of(length_bytes, fields.0) {
        return Err(Damage::Checksum);
    }
    Ok(fields.u64().map(|offset| Frame { offset, bytes: length }))
}

/// How long the record at the beginning of `bytes` says it is, prefix included; `None` where not even that is there.
pub(crate) fn frame_bytes(bytes: &[u8]) -> Result<Option<usize>, Damage> {
    let Some(length) = Fields(bytes).u32() else {
        return Ok(None);
    };
    match usize::try_from(length) {
        Ok(body) if (FIXED_BYTES..=RECORD_BYTES_MAX).contains(&body) => Ok(Some(PREFIX_BYTES + body)),
        _ => Err(Damage::Length(length)),
    }
}

/// Whether a whole record with an offset in this range lies anywhere in the bytes: what tells damage from a torn tail.
pub(crate) fn any_record(bytes: &[u8], offsets: &Range<u64>) -> bool {
    (0..bytes.len()).any(|start| {
        let bytes = bytes.get(start..).unwrap_or_default();
        let plausible = |offset: u64| offsets.contains(&offset);
        // The offset first: a checksum over every plausible length would take forever.
        let offset = bytes.get(PREFIX_BYTES..).and_then(|body| Fields(body).u64());
        offset.is_some_and(plausible) && matches!(parse_frame(bytes), Ok(Some(_)))
    })
}

/// Length of the record behind its prefix.
pub(crate) fn body_bytes(batch: &EncodedBatch, record: &EncodedRecord) -> usize {
    let length = |range: &Option<Range<usize>>| range.as_ref().map_or(0, |range| batch.slice(range).len());
    let headers = batch
        .record_headers(record)
        .map(|(name, value)| 8 + name.len() + value.len());
    FIXED_BYTES + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

/// Appends a record. Its body must not be longer than [`RECORD_BYTES_MAX`].
pub(crate) fn append_record(buffer: &mut Vec<u8>, offset: u64, batch: &EncodedBatch, record: &EncodedRecord) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX_BYTES]);
    let key = record.key.as_ref().map(|range| batch.slice(range));
    let value = record.value.as_ref().map(|range| batch.slice(range));
    buffer.extend_from_slice(&offset.to_le_bytes());
    buffer.extend_from_slice(&record.timestamp_ms.to_le_bytes());
    buffer.extend_from_slice(&key.map_or(ABSENT, length_of).to_le_bytes());
    buffer.extend_from_slice(&value.map_or(ABSENT, length_of).to_le_bytes());
    let count = u32::try_from(batch.record_headers(record).count()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&count.to_le_bytes());
    buffer.extend_from_slice(key.unwrap_or_default());
    buffer.extend_from_slice(value.unwrap_or_default());
    for (name, value) in batch.record_headers(record) {
        buffer.extend_from_slice(&length_of(name.as_bytes()).to_le_bytes());
        buffer.extend_from_slice(&length_of(value).to_le_bytes());
        buffer.extend_from_slice(name.as_bytes());
        buffer.extend_from_slice(value);
    }
    let (_, frame) = buffer.split_at_mut(start);
    if let Some((prefix, body)) = frame.split_first_chunk_mut::<PREFIX_BYTES>() {
        let length = length_of(body).to_le_bytes();
        let checksum = checksum_of(&length, body).to_le_bytes();
        let (length_at, checksum_at) = prefix.split_at_mut(length.len());
        length_at.copy_from_slice(&length);
        checksum_at.copy_from_slice(&checksum);
    }
}

fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn checksum_of(length: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(body);
    hasher.finalize()
}

fn parse_body(body: &[u8]) -> Option<Record<'_>> {
    let mut fields = Fields(body);
    let offset = fields.u64()?;
    let timestamp_ms = fields.u64()?.cast_signed();
    let (key_length, value_length, header_count) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let key = fields.optional(key_length)?;
    let value = fields.optional(value_length)?;
    let headers = Headers(fields.0);
    for _ in 0..header_count {
        fields.header()?;
    }
    fields.0.is_empty().then_some(Record {
        offset,
        timestamp_ms,
        key,
        value,
        headers,
    })
}

/// Takes fields off the front; every length is checked.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*taken))
    }

    fn u64(&mut self) -> Option<u64> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*taken))
    }

    fn header(&mut self) -> Option<(&'a str, &'a [u8])> {
        let (name_length, value_length) = (self.u32()?, self.u32()?);
        let name = std::str::from_utf8(self.take(name_length)?).ok()?;
        Some((name, self.take(value_length)?))
    }

    #[expect(
        clippy::option_option,
        reason = "outside: the bytes are there; inside: the field has a value"
    )]
    fn optional(&mut self, length: u32) -> Option<Option<&'a [u8]>> {
        if length == ABSENT {
            Some(None)
        } else {
            self.take(length).map(Some)
        }
    }
}

// === impl Headers ===

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields = Fields(self.0);
        let header = fields.header()?;
        self.0 = fields.0;
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<Vec<u8>>, i64);

    const NAMES: [&str; 3] = ["updated_at", "op", "größe"];

    fn batch_of(records: &[Parts]) -> EncodedBatch {
        let mut batch = EncodedBatch::default();
        let topic = batch.topic_index(&"orders".into());
        for (key, value, headers, timestamp_ms) in records {
            let mut put = |bytes: &Vec<u8>| {
                batch.buffer.extend_from_slice(bytes);
                batch.buffer.len() - bytes.len()..batch.buffer.len()
            };
            let (key, value) = (key.as_ref().map(&mut put), value.as_ref().map(&mut put));
            let headers: Vec<_> = headers
                .iter()
                .zip(NAMES.iter().cycle())
                .map(|(text, name)| ((*name).into(), put(text)))
                .collect();
            let first = batch.headers.len();
            batch.headers.extend(headers);
            let headers = first..batch.headers.len();
            batch.records.push(EncodedRecord {
                topic,
                key,
                value,
                headers,
                timestamp_ms: *timestamp_ms,
            });
        }
        batch
    }

    fn bytes_of(records: &[Parts], first_offset: u64) -> Vec<u8> {
        let batch = batch_of(records);
        let mut bytes = Vec::new();
        for (offset, record) in (first_offset..).zip(&batch.records) {
            let before = bytes.len();
            append_record(&mut bytes, offset, &batch, record);
            assert_eq!(bytes.len() - before, PREFIX_BYTES + body_bytes(&batch, record));
        }
        bytes
    }

    #[test]
    fn the_bytes_of_a_released_record_never_change() {
        let record = (Some(b"k".to_vec()), Some(b"vv".to_vec()), vec![b"x".to_vec()], 1000);
        let bytes = bytes_of(&[record], 7);
        let expected = [
            50, 0, 0, 0, // length
            5, 84, 69, 132, // checksum
            7, 0, 0, 0, 0, 0, 0, 0, // offset
            232, 3, 0, 0, 0, 0, 0, 0, // timestamp
            1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, // key, value, headers
            b'k', b'v', b'v', // key and value
            10, 0, 0, 0, 1, 0, 0, 0, // header
            b'u', b'p', b'd', b'a', b't', b'e', b'd', b'_', b'a', b't', b'x',
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_tombstone_is_not_an_empty_value() {
        let bytes = bytes_of(&[(None, None, vec![], 0), (Some(vec![]), Some(vec![]), vec![], -1)], 0);
        let (first, length) = parse_record(&bytes).unwrap().unwrap();
        let (second, _) = parse_record(&bytes[length..]).unwrap().unwrap();
        assert_eq!((first.key, first.value), (None, None));
        assert_eq!(
            (second.key, second.value, second.timestamp_ms),
            (Some(&[][..]), Some(&[][..]), -1)
        );
    }

    #[test]
    fn lengths_from_outside_are_bounded() {
        assert_eq!(parse_record(&[0; 64]), Err(Damage::Length(0)));
        assert_eq!(parse_record(&[255; 64]), Err(Damage::Length(u32::MAX)));
        // The checksum is right, but the key claims more than there is.
        let mut bytes = bytes_of(&[(Some(b"key".to_vec()), None, vec![], 0)], 0);
        bytes[24] = 200;
        let checksum = checksum_of(&bytes[..4], &bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&checksum);
        assert_eq!(parse_record(&bytes), Err(Damage::Content));
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let headers = proptest::collection::vec(bytes(), 0..4);
        (
            proptest::option::of(bytes()),
            proptest::option::of(bytes()),
            headers,
            any::<i64>(),
        )
    }

    proptest! {
        #[test]
        fn a_record_is_read_or_refused_from_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((_, length))) = parse_record(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn records_come_back_as_they_were(records in proptest::collection::vec(parts(), 1..5), first in 0..u64::MAX / 2) {
            let bytes = bytes_of(&records, first);
            let mut rest = &bytes[..];
            for (offset, (key, value, headers, timestamp_ms)) in (first..).zip(&records) {
                let (record, length) = parse_record(rest).unwrap().unwrap();
                prop_assert_eq!(record.offset, offset);
                prop_assert_eq!(record.timestamp_ms, *timestamp_ms);
                prop_assert_eq!(record.key, key.as_deref());
                prop_assert_eq!(record.value, value.as_deref());
                let texts: Vec<_> = record.headers.map(|(_, text)| text.to_vec()).collect();
                prop_assert_eq!(&texts, headers);
                rest = &rest[length..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn a_part_of_a_record_is_not_there_yet(record in parts(), offset in any::<u64>()) {
            let bytes = bytes_of(&[record], offset);
            for end in 0..bytes.len() {
                prop_assert_eq!(parse_record(&bytes[..end]), Ok(None));
            }
        }

        #[test]
        fn no_flipped_bit_is_read(record in parts(), at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = bytes_of(&[record], 3);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            // A longer length waits for more bytes; nothing else may be taken for a record.
            prop_assert!(!matches!(parse_record(&bytes), Ok(Some(_))));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!matches!(parse_record(&bytes), Ok(Some(_))));
        }
    }
}
