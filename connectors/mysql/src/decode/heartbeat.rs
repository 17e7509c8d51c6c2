//! version 1: name of the file, to the end; the position is the header's.
//! version 2: fields of a length-encoded type (0 end, 1 name of the file, 2 position), length and value.

use super::reader::Reader;
use super::{DecodeError, EventHeader};

const END: u64 = 0;
const FILE: u64 = 1;
const POSITION: u64 = 2;

/// The server is there and has nothing to say. Whatever is before this position was sent or does not concern us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heartbeat<'a> {
    /// Name of the file, without a folder.
    pub(crate) file: &'a str,
    /// End of the last event that was sent; modulo 2^32 where the server speaks version 1.
    pub(crate) offset: u64,
}

// === impl Heartbeat ===

impl<'a> Heartbeat<'a> {
    pub(super) fn parse(header: &EventHeader, body: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = Reader::new("Heartbeat", body);
        let file = reader.text("file name", body)?;
        let offset = u64::from(header.log_position);
        Ok(Self { file, offset })
    }

    pub(super) fn parse_v2(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Heartbeat", body);
        let (mut file, mut offset) = ("", 0);
        loop {
            let field = reader.length_encoded_int()?;
            if field == END {
                return Ok(Self { file, offset });
            }
            let value = reader.counted()?;
            match field {
                FILE => file = reader.text("file name", value)?,
                POSITION => offset = Reader::new("position of a Heartbeat", value).length_encoded_int()?,
                // Fields have lengths so that unknown ones can be passed over.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{header_of, parse_strictly};
    use crate::decode::{Event, event_type, parse};

    #[test]
    fn version_1() {
        let mut header = header_of(event_type::HEARTBEAT, b"mysql-bin.000001");
        header.log_position = 4711;
        let expected = Heartbeat {
            file: "mysql-bin.000001",
            offset: 4711,
        };
        assert_eq!(parse(&header, b"mysql-bin.000001"), Ok(Event::Heartbeat(expected)));
    }

    #[test]
    fn version_2() {
        let body = b"\x01\x10mysql-bin.000001\x07\x02xx\x02\x09\xfe\x01\0\0\0\x01\0\0\0\0";
        let expected = Heartbeat {
            file: "mysql-bin.000001",
            offset: 0x1_0000_0001,
        };
        assert_eq!(
            parse_strictly(event_type::HEARTBEAT_V2, body, body.len()),
            Event::Heartbeat(expected)
        );
    }
}
