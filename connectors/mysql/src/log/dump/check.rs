//! Packets of a dump to events: what the packet is, whether the event is as long as it says, whether it is what the server made it.
//!
//! A checksum is announced by the format description of each file for the events behind it. Two cases need care. Ahead of the first
//! format description comes the name of the file, to which MariaDB adds a checksum and MySQL does not, so that only its value tells. And
//! the format description itself has room for a checksum whatever it announces; if it announces none, anything may be there.

use bytes::Bytes;

use super::DumpError;
use crate::decode::format_description::{self, ChecksumAlgorithm};
use crate::decode::header::{FLAGS_OFFSET, HEADER_BYTES, IN_USE};
use crate::decode::{self, Event, EventHeader, RawEvent, Reader, event_type};

const CHECKSUM_BYTES: usize = 4;
/// First byte of packets with an event, and of the one that ends a dump.
const EVENT: u8 = 0x00;
const END: u8 = 0xfe;

/// Knows what stands behind the next event.
#[derive(Debug, Default)]
pub(crate) struct EventCheck {
    /// `None` before the first format description.
    checksum: Option<ChecksumAlgorithm>,
}

// === impl EventCheck ===

impl EventCheck {
    /// The event in a packet, without its checksum, which is compared. Its body is a piece of the packet.
    pub(crate) fn event(&mut self, packet: &Bytes) -> Result<RawEvent, DumpError> {
        let mut reader = Reader::new("packet of a dump", packet);
        match reader.u8()? {
            EVENT => {}
            END => return Err(DumpError::Ended),
            other => return Err(reader.invalid("first byte", u64::from(other)).into()),
        }
        let event = reader.rest();
        let header = EventHeader::parse(&mut reader)?;
        if header.body_bytes() != reader.len() {
            return Err(reader
                .invalid("length of an event", u64::from(header.event_bytes))
                .into());
        }
        let body = packet.slice_ref(self.body(&header, event, reader.rest())?);
        if header.event_type == event_type::FORMAT_DESCRIPTION
            && let Event::FormatDescription(description) = decode::parse(&header, &body)?
        {
            self.checksum = Some(description.checksum);
        }
        Ok(RawEvent { header, body })
    }

    fn body<'a>(&self, header: &EventHeader, event: &'a [u8], body: &'a [u8]) -> Result<&'a [u8], DumpError> {
        let is_description = header.event_type == event_type::FORMAT_DESCRIPTION;
        let expected = match self.checksum {
            _ if is_description => format_description::ends_with_checksum(body),
            Some(algorithm) => algorithm == ChecksumAlgorithm::Crc32,
            None if header.event_type == event_type::ROTATE => has_checksum(header, event),
            None => {
                let unexpected = u64::from(header.event_type);
                return Err(Reader::new("dump", event).invalid("first event", unexpected).into());
            }
        };
        if !expected {
            return Ok(body);
        }
        let Some((body, _)) = body.split_last_chunk::<CHECKSUM_BYTES>() else {
            let length = u64::from(header.event_bytes);
            return Err(Reader::new("event", body).invalid("length", length).into());
        };
        let announces_none = is_description && body.last() == Some(&0);
        if announces_none || has_checksum(header, event) {
            return Ok(body);
        }
        Err(DumpError::Checksum {
            event_type: header.event_type,
            log_position: header.log_position,
        })
    }
}

/// The last four bytes are the CRC-32 of all before them; that of a format description is made without the flag that says that the file
/// is being written.
fn has_checksum(header: &EventHeader, event: &[u8]) -> bool {
    let Some((content, checksum)) = event.split_last_chunk::<CHECKSUM_BYTES>() else {
        return false;
    };
    if header.event_type != event_type::FORMAT_DESCRIPTION || header.flags & IN_USE == 0 {
        return crc32fast::hash(content) == u32::from_le_bytes(*checksum);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(content.get(..FLAGS_OFFSET).unwrap_or_default());
    hasher.update(&(header.flags & !IN_USE).to_le_bytes());
    hasher.update(content.get(HEADER_BYTES..).unwrap_or_default());
    hasher.finalize() == u32::from_le_bytes(*checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::recorded::{self, MARIADB_10_11, MYSQL_5_6, MYSQL_9_7};

    fn packet(event: &[u8]) -> Bytes {
        Bytes::from([&[EVENT], event].concat())
    }

    /// The first thing that a server says: the name of a file.
    fn rotate(with_checksum: bool) -> Bytes {
        let body = b"\x04\0\0\0\0\0\0\0bin.000001";
        let bytes = HEADER_BYTES + body.len() + if with_checksum { CHECKSUM_BYTES } else { 0 };
        let bytes = u8::try_from(bytes).unwrap();
        let mut event = [
            &b"\0\0\0\0\x04\x01\0\0\0"[..],
            &[bytes, 0, 0, 0],
            &b"\0\0\0\0\x20\0"[..],
            body,
        ]
        .concat();
        if with_checksum {
            event.extend(crc32fast::hash(&event).to_le_bytes());
        }
        packet(&event)
    }

    #[test]
    fn recorded_files_pass_and_lose_their_checksums() {
        for file in [MARIADB_10_11, MYSQL_9_7, MYSQL_5_6] {
            let mut check = EventCheck::default();
            let read: Vec<RawEvent> = recorded::whole_events(file)
                .iter()
                .map(|event| check.event(&packet(event)).unwrap())
                .collect();
            assert_eq!(read, recorded::events(file));
        }
    }

    #[test]
    fn one_bit_is_noticed_anywhere() {
        for file in [MARIADB_10_11, MYSQL_9_7] {
            let mut check = EventCheck::default();
            for event in recorded::whole_events(file) {
                for at in 0..event.len() {
                    let mut wrong = event.to_vec();
                    wrong[at] ^= 0x10;
                    let read = EventCheck { ..check }.event(&packet(&wrong));
                    // A format description's version says whether there is a checksum at all.
                    let may_pass = wrong[4] == event_type::FORMAT_DESCRIPTION;
                    assert!(read.is_err() || may_pass, "type {} byte {at}", event[4]);
                }
                check.event(&packet(event)).unwrap();
            }
        }
    }

    #[test]
    fn the_name_of_the_file_comes_first_with_and_without_a_checksum() {
        for with_checksum in [false, true] {
            let event = EventCheck::default().event(&rotate(with_checksum)).unwrap();
            assert_eq!(&event.body[8..], b"bin.000001");
        }
    }

    #[test]
    fn a_file_without_checksums() {
        let description = recorded::whole_events(MYSQL_9_7)[0];
        let mut event = description.to_vec();
        let algorithm = event.len() - CHECKSUM_BYTES - 1;
        event[algorithm] = 0;
        let mut check = EventCheck::default();
        check.event(&packet(&event)).unwrap();
        assert_eq!(&check.event(&rotate(false)).unwrap().body[8..], b"bin.000001");
        assert_ne!(&check.event(&rotate(true)).unwrap().body[8..], b"bin.000001");
    }

    #[test]
    fn a_file_that_is_being_written() {
        let mut event = recorded::whole_events(MYSQL_9_7)[0].to_vec();
        event[FLAGS_OFFSET] |= 1;
        EventCheck::default().event(&packet(&event)).unwrap();
    }

    #[test]
    fn what_is_no_event() {
        let mut check = EventCheck::default();
        assert!(matches!(
            check.event(&Bytes::from_static(b"\xfe\0\0\x02\0")),
            Err(DumpError::Ended)
        ));
        for packet in [
            &b""[..],
            b"\0",
            b"\x01abc",
            b"\0\0\0\0\0\x04\x01\0\0\0\x14\0\0\0\0\0\0\0\0\0",
        ] {
            let read = check.event(&Bytes::from_static(packet));
            assert!(matches!(read, Err(DumpError::Protocol(_))), "{packet:?}");
        }
    }
}
