//! Fields of a length-encoded type, length and value: 1 size of the payload · 2 compression (0 zstd, 255 none) · 3 size before
//! compression; type 0, without a length, ends them · payload
//!
//! The payload is the events of one transaction between its GTID and its end, with headers and without checksums. It is
//! decompressed as it is read: memory is what zstd's window and the largest event take, however large the transaction is.

use bytes::{Buf, Bytes, BytesMut};
use zstd::stream::raw::{Decoder, Operation};

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
/// What is decompressed at once, at most.
const CHUNK_BYTES: usize = 128 * 1024;
/// And at least, whatever is announced.
const CHUNK_BYTES_MINIMUM: usize = 1024;

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
///
/// A reader that is done can be given the next transaction ([`PayloadReader::restart`]): a server that compresses does so with every
/// transaction, and what zstd needs takes ten times as long to set up as a small one to decompress.
pub(crate) struct PayloadReader {
    zstd: Option<Decoder<'static>>,
    compressed: bool,
    /// What is not decompressed yet.
    source: Bytes,
    /// What is decompressed and not handed out yet.
    buffer: BytesMut,
    /// Size before compression, and how much of it came.
    announced: Option<u64>,
    read: u64,
    /// Between two frames of zstd, where alone the payload may end.
    between_frames: bool,
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
        let mut reader = Self {
            zstd: None,
            compressed: false,
            source: Bytes::new(),
            buffer: BytesMut::new(),
            announced: None,
            read: 0,
            between_frames: true,
        };
        reader.restart(payload, body).map(|()| reader)
    }

    /// Forgets what it read, and reads another payload.
    pub(crate) fn restart(&mut self, payload: &TransactionPayload<'_>, body: &Bytes) -> Result<(), DecodeError> {
        self.compressed = payload.compressed;
        self.source = body.slice_ref(payload.payload);
        self.buffer.clear();
        self.announced = payload.decompressed_bytes;
        self.read = 0;
        self.between_frames = true;
        match &mut self.zstd {
            Some(decoder) => decoder.reinit().map_err(|error| broken(&error)),
            None if payload.compressed => {
                self.zstd = Some(Decoder::new().map_err(|error| broken(&error))?);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The next event; `None` behind the last.
    pub(crate) fn next_event(&mut self) -> Result<Option<RawEvent>, DecodeError> {
        self.fill(HEADER_BYTES)?;
        if self.buffer.is_empty() {
            return self.finish().map(|()| None);
        }
        let mut reader = Reader::new("event of a Transaction_payload", &self.buffer);
        let header = EventHeader::parse(&mut reader)?;
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

    /// Decompresses until so many bytes are there, or nothing is left.
    fn fill(&mut self, bytes: usize) -> Result<(), DecodeError> {
        while self.buffer.len() < bytes && !(self.source.is_empty() && self.between_frames) {
            let before = self.buffer.len();
            if self.compressed {
                self.decompress()?;
            } else {
                let chunk = self.source.split_to(self.source.len().min(CHUNK_BYTES));
                self.buffer.extend_from_slice(&chunk);
            }
            let read = self.buffer.len().saturating_sub(before);
            self.read += u64::try_from(read).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    fn decompress(&mut self) -> Result<(), DecodeError> {
        let Some(decoder) = &mut self.zstd else {
            return Err(broken(&"no decompressor"));
        };
        let missing = self.announced.map(|announced| announced.saturating_sub(self.read));
        let missing = missing.and_then(|missing| usize::try_from(missing).ok());
        let room = missing.unwrap_or(CHUNK_BYTES).clamp(CHUNK_BYTES_MINIMUM, CHUNK_BYTES);
        let before = self.buffer.len();
        self.buffer.resize(before + room, 0);
        let output = self.buffer.get_mut(before..).unwrap_or_default();
        let status = decoder
            .run_on_buffers(&self.source, output)
            .map_err(|error| broken(&error))?;
        self.buffer.truncate(before + status.bytes_written);
        self.source.advance(status.bytes_read);
        self.between_frames = status.remaining == 0;
        if status.bytes_written == 0 && status.bytes_read == 0 && !self.between_frames {
            return Err(broken(&"it is cut off"));
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), DecodeError> {
        match self.announced {
            Some(announced) if announced != self.read => Err(broken(&format!(
                "{announced} bytes were announced, and {} came",
                self.read
            ))),
            _ => Ok(()),
        }
    }
}

fn broken(reason: &dyn std::fmt::Display) -> DecodeError {
    DecodeError::Decompression {
        what: "Transaction_payload",
        reason: reason.to_string(),
    }
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
        let kind: &[u8] = if kind == 255 {
            b"\x02\x03\xfc\xff\0"
        } else {
            b"\x02\x01\0"
        };
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
    fn a_reader_can_be_used_again_wherever_it_was() {
        let events = events();
        let whole = zstd_body(&events, events.len());
        let broken = body(0, &zstd::encode_all(&events[..], 3).unwrap()[..20], events.len());
        let payload = |body: &'static Bytes| match parse_body(event_type::TRANSACTION_PAYLOAD, body) {
            Ok(Event::TransactionPayload(payload)) => payload,
            other => panic!("{other:?}"),
        };
        let (whole, broken): (&'static Bytes, &'static Bytes) = (Box::leak(whole.into()), Box::leak(broken.into()));
        let mut reader = PayloadReader::new(&payload(whole), whole).unwrap();
        for _ in 0..3 {
            reader.next_event().unwrap();
            reader.restart(&payload(broken), broken).unwrap();
            while reader.next_event().is_ok() {}
            reader.restart(&payload(whole), whole).unwrap();
            for _ in 0..3 {
                assert!(reader.next_event().unwrap().is_some());
            }
            assert!(reader.next_event().unwrap().is_none());
        }
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
