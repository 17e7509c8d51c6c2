//! Fields of a length-encoded type, length and value: 1 size of the payload · 2 compression (0 zstd, 255 none) · 3 size before
//! compression; type 0, without a length, ends them · payload
//!
//! The payload is the events of one transaction between its GTID and its end, with headers and without checksums. It is
//! decompressed as it is read: memory is what zstd's window and the largest event take, however large the transaction is.

use std::io::{ErrorKind, Read};

use bytes::buf::{Buf, Reader as BytesReader};
use bytes::{Bytes, BytesMut};

use super::header::HEADER_BYTES;
use super::reader::Reader;
use super::{DecodeError, EventHeader, RawEvent, event_type};

mod field {
    pub(super) const END: u64 = 0;
    pub(super) const PAYLOAD_BYTES: u64 = 1;
    pub(super) const COMPRESSION: u64 = 2;
    pub(super) const DECOMPRESSED_BYTES: u64 = 3;
}

mod compression {
    pub(super) const ZSTD: u64 = 0;
    pub(super) const NONE: u64 = 255;
}

/// No event of a log is larger (`max_allowed_packet` has the same limit).
const EVENT_BYTES_MAXIMUM: usize = 1 << 30;
/// What is decompressed at once; also what an allocation begins with.
const CHUNK_BYTES: usize = 128 * 1024;

/// A whole transaction, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransactionPayload<'a> {
    /// The payload is compressed with zstd; otherwise not at all.
    pub(crate) compressed: bool,
    /// Size before compression.
    pub(crate) decompressed_bytes: Option<u64>,
    payload: &'a [u8],
}

/// The events of a compressed transaction, one at a time.
pub(crate) struct PayloadReader {
    source: Source,
    /// What is decompressed and not handed out yet.
    buffer: BytesMut,
    chunk: Vec<u8>,
    /// Size before compression, and how much of it came.
    announced: Option<u64>,
    read: u64,
    ended: bool,
}

enum Source {
    Plain(BytesReader<Bytes>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BytesReader<Bytes>>>),
}

// === impl TransactionPayload ===

impl<'a> TransactionPayload<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Transaction_payload", body);
        let (mut kind, mut payload_bytes, mut decompressed_bytes) = (compression::NONE, None, None);
        loop {
            let field = reader.length_encoded_int()?;
            if field == field::END {
                break;
            }
            let mut value = Reader::new("field of a Transaction_payload", reader.counted()?);
            match field {
                field::PAYLOAD_BYTES => payload_bytes = Some(value.length()?),
                field::COMPRESSION => kind = value.length_encoded_int()?,
                field::DECOMPRESSED_BYTES => decompressed_bytes = Some(value.length_encoded_int()?),
                // Fields have lengths so that unknown ones can be passed over.
                _ => {}
            }
        }
        if !matches!(kind, compression::ZSTD | compression::NONE) {
            return Err(reader.invalid("compression", kind));
        }
        let payload = reader.take(payload_bytes.unwrap_or(reader.len()))?;
        reader.finish().map(|()| Self {
            compressed: kind == compression::ZSTD,
            decompressed_bytes,
            payload,
        })
    }
}

// === impl PayloadReader ===

impl PayloadReader {
    /// Reads the events of `payload`, which was parsed from `body`.
    pub(crate) fn new(payload: &TransactionPayload<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let bytes = body.slice_ref(payload.payload).reader();
        let source = if payload.compressed {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|error| broken(&error))?;
            Source::Zstd(Box::new(decoder))
        } else {
            Source::Plain(bytes)
        };
        Ok(Self {
            source,
            buffer: BytesMut::new(),
            chunk: vec![0; CHUNK_BYTES],
            announced: payload.decompressed_bytes,
            read: 0,
            ended: false,
        })
    }

    /// The next event; `None` behind the last.
    pub(crate) fn next_event(&mut self) -> Result<Option<RawEvent>, DecodeError> {
        if !self.fill(HEADER_BYTES)? && self.buffer.is_empty() {
            return self.finish().map(|()| None);
        }
        let header = EventHeader::parse(&mut Reader::new("event of a Transaction_payload", &self.buffer))?;
        let reader = Reader::new("event of a Transaction_payload", &self.buffer);
        if header.event_type == event_type::TRANSACTION_PAYLOAD {
            return Err(reader.invalid("type", u64::from(header.event_type)));
        }
        let event_bytes = header.body_bytes() + HEADER_BYTES;
        if event_bytes > EVENT_BYTES_MAXIMUM {
            return Err(reader.invalid("length", u64::from(header.event_bytes)));
        }
        self.fill(event_bytes)?;
        Reader::new("event of a Transaction_payload", &self.buffer).take(event_bytes)?;
        let mut event = self.buffer.split_to(event_bytes).freeze();
        let body = event.split_off(HEADER_BYTES);
        Ok(Some(RawEvent { header, body }))
    }

    /// Decompresses until so many bytes are there; false where it ends before.
    fn fill(&mut self, bytes: usize) -> Result<bool, DecodeError> {
        while self.buffer.len() < bytes && !self.ended {
            let read = match &mut self.source {
                Source::Plain(source) => source.read(&mut self.chunk),
                Source::Zstd(source) => source.read(&mut self.chunk),
            };
            let length = match read {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(&error)),
            };
            self.ended = length == 0;
            self.read += u64::try_from(length).unwrap_or(u64::MAX);
            let chunk = self.chunk.get(..length).unwrap_or_default();
            self.buffer.extend_from_slice(chunk);
        }
        Ok(self.buffer.len() >= bytes)
    }

    fn finish(&self) -> Result<(), DecodeError> {
        match self.announced {
            Some(announced) if announced != self.read => {
                let reason = format!("{announced} bytes were announced, and {} came", self.read);
                Err(DecodeError::Decompression { what: WHAT, reason })
            }
            _ => Ok(()),
        }
    }
}

const WHAT: &str = "Transaction_payload";

fn broken(error: &std::io::Error) -> DecodeError {
    let reason = error.to_string();
    DecodeError::Decompression { what: WHAT, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{header_of, parse_body, parse_strictly};
    use crate::decode::{Event, parse};

    /// An event as it stands in a file.
    fn event(event_type: u8, body: &[u8]) -> Vec<u8> {
        let header = header_of(event_type, body);
        [
            &header.timestamp_s.to_le_bytes()[..],
            &[event_type],
            &header.server_id.to_le_bytes(),
            &header.event_bytes.to_le_bytes(),
            &[0, 0, 0, 0, 0, 0],
            body,
        ]
        .concat()
    }

    fn events() -> Vec<u8> {
        let annotation = vec![b'x'; 3 * CHUNK_BYTES];
        [
            event(event_type::ROWS_QUERY, b"\x01INSERT"),
            event(event_type::ANNOTATE_ROWS, &annotation),
            event(event_type::XID, &[7, 0, 0, 0, 0, 0, 0, 0]),
        ]
        .concat()
    }

    fn length_encoded(number: usize) -> Vec<u8> {
        [&[254][..], &number.to_le_bytes()].concat()
    }

    fn body(kind: u8, payload: &[u8], announced: usize) -> Bytes {
        let kind: &[u8] = if kind == 255 { b"\x02\x03\xfc\xff\0" } else { b"\x02\x01\0" };
        let size = [&[1, 9][..], &length_encoded(payload.len())].concat();
        let announced = [&[3, 9][..], &length_encoded(announced)].concat();
        Bytes::from([kind, &size, &announced, &[0], payload].concat())
    }

    fn read(body: &Bytes) -> Result<Vec<u8>, DecodeError> {
        let Event::TransactionPayload(payload) = parse_body(event_type::TRANSACTION_PAYLOAD, body)? else {
            panic!()
        };
        let mut reader = PayloadReader::new(&payload, body)?;
        let mut types = Vec::new();
        while let Some(event) = reader.next_event()? {
            parse(&event.header, &event.body)?;
            types.push(event.header.event_type);
        }
        Ok(types)
    }

    fn zstd_body(events: &[u8], announced: usize) -> Bytes {
        body(0, &zstd::encode_all(events, 3).unwrap(), announced)
    }

    #[test]
    fn plain_and_compressed() {
        let events = events();
        let types = vec![event_type::ROWS_QUERY, event_type::ANNOTATE_ROWS, event_type::XID];
        assert_eq!(read(&body(255, &events, events.len())), Ok(types.clone()));
        let compressed = zstd_body(&events, events.len());
        assert!(compressed.len() < events.len() / 100);
        assert_eq!(read(&compressed), Ok(types));
        parse_strictly(event_type::TRANSACTION_PAYLOAD, &compressed, compressed.len());
    }

    #[test]
    fn cut_off_inside() {
        let events = events();
        for cut in [1, 9, events.len() - 1, events.len() - 9] {
            assert!(read(&body(255, &events[..cut], cut)).is_err(), "{cut}");
            assert!(read(&zstd_body(&events[..cut], cut)).is_err(), "{cut}");
        }
        let compressed = zstd::encode_all(&events[..], 3).unwrap();
        for cut in [0, 1, 7, compressed.len() / 2, compressed.len() - 1] {
            assert!(read(&body(0, &compressed[..cut], events.len())).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_wrong_size_an_unknown_compression_and_nesting() {
        let events = events();
        assert!(read(&zstd_body(&events, events.len() + 1)).is_err());
        assert!(parse_body(event_type::TRANSACTION_PAYLOAD, b"\x02\x01\x07\x00").is_err());
        let nested = event(event_type::TRANSACTION_PAYLOAD, &zstd_body(&events, events.len()));
        assert!(read(&zstd_body(&nested, nested.len())).is_err());
        let mut huge = event(event_type::XID, &[0; 8]);
        huge[12] = 0x70;
        assert!(read(&body(255, &huge, huge.len())).is_err());
    }

    #[test]
    fn memory_does_not_grow_with_the_transaction() {
        let one = event(event_type::ANNOTATE_ROWS, &[b'x'; 1000]);
        let all = one.repeat(20_000);
        let body = zstd_body(&all, all.len());
        let Ok(Event::TransactionPayload(payload)) = parse_body(event_type::TRANSACTION_PAYLOAD, &body) else {
            panic!()
        };
        let mut reader = PayloadReader::new(&payload, &body).unwrap();
        let mut count = 0;
        while reader.next_event().unwrap().is_some() {
            assert!(reader.buffer.len() <= 2 * CHUNK_BYTES);
            count += 1;
        }
        assert_eq!(count, 20_000);
    }
}
