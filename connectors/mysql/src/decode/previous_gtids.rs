//! number of entries u64 · per entry: UUID, 16 bytes · [tag] · number of intervals u64 · per interval: first u64 · end (exclusive)
//! u64
//!
//! Where entries have tags the top byte of the number of entries is 1, the number itself is in bits 8 to 55, and each UUID is
//! followed by a tag (variable-length length and bytes, empty for none).

use std::fmt;

use super::DecodeError;
use super::gtid::write_uuid;
use super::reader::Reader;
use super::tagged_gtid;

const FORMAT_SHIFT: u32 = 56;
const PLAIN: u64 = 0;
const TAGGED: u64 = 1;

/// A set of transactions: in a file what was executed before it began (MySQL).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreviousGtids<'a> {
    /// Per server and tag.
    pub(crate) entries: Vec<GtidIntervals<'a>>,
}

/// Transactions of one server with one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GtidIntervals<'a> {
    /// UUID of the server that they were made on.
    pub(crate) server_uuid: [u8; 16],
    /// Tag, since MySQL 8.3.
    pub(crate) tag: Option<&'a str>,
    /// First number and the number behind the last, ascending.
    pub(crate) intervals: Vec<(u64, u64)>,
}

// === impl PreviousGtids ===

impl<'a> PreviousGtids<'a> {
    /// Reads an encoded set.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Previous_gtids", body);
        let head = reader.u64()?;
        let (count, tagged) = match head >> FORMAT_SHIFT {
            PLAIN => (head, false),
            TAGGED => ((head << 8) >> 16, true),
            other => return Err(reader.invalid("format", other)),
        };
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(GtidIntervals::parse(&mut reader, tagged)?);
        }
        reader.finish().map(|()| Self { entries })
    }
}

/// `uuid:1-5:7, uuid:tag:1`, as the server writes it, on one line.
impl fmt::Display for PreviousGtids<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.entries.iter().enumerate() {
            if at > 0 {
                formatter.write_str(",")?;
            }
            entry.fmt(formatter)?;
        }
        Ok(())
    }
}

// === impl GtidIntervals ===

impl<'a> GtidIntervals<'a> {
    fn parse(reader: &mut Reader<'a>, tagged: bool) -> Result<Self, DecodeError> {
        let server_uuid = reader.array()?;
        let tag = if tagged { tagged_gtid::tag(reader)? } else { None };
        let mut intervals = Vec::new();
        for _ in 0..reader.u64()? {
            let (first, end) = (reader.u64()?, reader.u64()?);
            if first == 0 || end <= first {
                return Err(reader.invalid("end of an interval", end));
            }
            intervals.push((first, end));
        }
        Ok(Self {
            server_uuid,
            tag,
            intervals,
        })
    }
}

impl fmt::Display for GtidIntervals<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(formatter, &self.server_uuid)?;
        if let Some(tag) = self.tag {
            write!(formatter, ":{tag}")?;
        }
        for (first, end) in &self.intervals {
            match end.saturating_sub(1) {
                last if last == *first => write!(formatter, ":{first}")?,
                last => write!(formatter, ":{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::decode::testing::{parse_body, parse_exactly};
    use crate::decode::{Event, event_type};

    const UUID: &[u8; 16] = b"\x3e\x11\xfa\x47\x71\xca\x11\xe1\x9e\x33\xc8\x0a\xa9\x42\x95\x62";

    fn u64s(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn text(body: &[u8]) -> String {
        match parse_exactly(event_type::PREVIOUS_GTIDS, body) {
            Event::PreviousGtids(set) => set.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain() {
        let body = [u64s(&[1]), UUID.to_vec(), u64s(&[2, 1, 6, 7, 8])].concat();
        assert_eq!(text(&body), "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7");
        assert_eq!(text(&u64s(&[0])), "");
    }

    #[test]
    fn tagged() {
        let plain = [UUID.to_vec(), vec![0], u64s(&[1, 1, 6])].concat();
        let tagged = [UUID.to_vec(), vec![6], b"abc".to_vec(), u64s(&[1, 9, 10])].concat();
        let body = [u64s(&[1 << 56 | 2 << 8 | 1]), plain, tagged].concat();
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert_eq!(text(&body), format!("{uuid}:1-5,{uuid}:abc:9"));
    }

    #[test]
    fn impossible_sets() {
        for intervals in [u64s(&[1, 6, 6]), u64s(&[1, 0, 2]), u64s(&[1, 7, 6]), u64s(&[u64::MAX])] {
            let body = [u64s(&[1]), UUID.to_vec(), intervals].concat();
            assert!(parse_body(event_type::PREVIOUS_GTIDS, &body).is_err());
        }
        assert!(parse_body(event_type::PREVIOUS_GTIDS, &u64s(&[2 << 56])).is_err());
        assert!(parse_body(event_type::PREVIOUS_GTIDS, &u64s(&[(1 << 55) - 1])).is_err());
    }
}
