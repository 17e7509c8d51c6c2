//! timestamp u32 · type u8 · server id u32 · length u32 (header and checksum included) · end u32 · flags u16

use super::DecodeError;
use super::reader::Reader;

/// Length of the header of every event since MySQL 5.0.
pub(crate) const HEADER_BYTES: usize = 19;

/// The file is being written, or its server crashed while it was. The checksum of a format description is made without it.
pub(crate) const IN_USE: u16 = 0x0001;
/// The event is in no file: the server made it for this stream.
pub(crate) const ARTIFICIAL: u16 = 0x0020;
/// Who does not know the type of the event may ignore it.
pub(crate) const IGNORABLE: u16 = 0x0080;

/// Where the flags lie in the header.
pub(crate) const FLAGS_OFFSET: usize = 17;

/// What every event begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventHeader {
    /// When the statement began, seconds since 1970, UTC.
    pub(crate) timestamp_s: u32,
    /// Type, one of [`super::event_type`].
    pub(crate) event_type: u8,
    /// Server on which the change was made.
    pub(crate) server_id: u32,
    /// Bytes of the whole event, this header and the checksum included.
    pub(crate) event_bytes: u32,
    /// Where the event ends in its file, modulo 2^32; 0 for artificial events and inside of a compressed transaction.
    pub(crate) log_position: u32,
    /// See the constants.
    pub(crate) flags: u16,
}

// === impl EventHeader ===

impl EventHeader {
    /// Reads the first [`HEADER_BYTES`] of an event.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Self {
            timestamp_s: reader.u32()?,
            event_type: reader.u8()?,
            server_id: reader.u32()?,
            event_bytes: reader.u32()?,
            log_position: reader.u32()?,
            flags: reader.u16()?,
        };
        match usize::try_from(header.event_bytes) {
            Ok(HEADER_BYTES..) => Ok(header),
            _ => Err(reader.invalid("length of the event", u64::from(header.event_bytes))),
        }
    }

    /// The server made the event for this stream; it is in no file.
    pub(crate) fn is_artificial(&self) -> bool {
        self.flags & ARTIFICIAL != 0
    }

    /// Bytes behind the header, the checksum included.
    pub(crate) fn body_bytes(&self) -> usize {
        usize::try_from(self.event_bytes)
            .unwrap_or(usize::MAX)
            .saturating_sub(HEADER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal() {
        let bytes = b"\xfd\x35\xbb\x4a\x02\x01\0\0\0\x64\0\0\0\xc6\0\0\0\x20\0";
        let header = EventHeader::parse(&mut Reader::new("header", bytes)).unwrap();
        let expected = EventHeader {
            timestamp_s: 0x4abb_35fd,
            event_type: 2,
            server_id: 1,
            event_bytes: 100,
            log_position: 198,
            flags: ARTIFICIAL,
        };
        assert_eq!(header, expected);
        assert_eq!((header.body_bytes(), header.is_artificial()), (81, true));
        for end in 0..HEADER_BYTES {
            assert!(EventHeader::parse(&mut Reader::new("header", &bytes[..end])).is_err());
        }
    }

    #[test]
    fn an_event_is_at_least_its_header() {
        let bytes = b"\xfd\x35\xbb\x4a\x02\x01\0\0\0\x12\0\0\0\xc6\0\0\0\x20\0";
        assert!(EventHeader::parse(&mut Reader::new("header", bytes)).is_err());
    }
}
