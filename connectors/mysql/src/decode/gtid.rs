//! flags u8 · UUID of the server, 16 bytes · number u64 · from here on since 5.7: kind of clock u8 (2) · last committed u64 ·
//! sequence number u64 · since 8.0: committed here u56, µs, its bit 55 says that the next field follows · committed first u56 ·
//! length of the transaction, length-encoded · version of the server u32, its bit 31 says that the next field follows · version
//! of the first server u32 · group commit ticket u64
//!
//! The event without a GTID (`ANONYMOUS_GTID`) has the same layout, with zeros for UUID and number.

use std::fmt;

use super::DecodeError;
use super::reader::Reader;

/// Kind of the logical clock since MySQL 5.7.6.
const LOGICAL_CLOCK: u8 = 2;
/// A second moment follows.
const ORIGINAL_MOMENT_FOLLOWS: u64 = 1 << 55;
/// A second version follows.
const ORIGINAL_VERSION_FOLLOWS: u32 = 1 << 31;

/// Begin of a transaction in MySQL's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gtid<'a> {
    /// The server has no GTIDs (`gtid_mode`), or had none when it made this transaction.
    pub(crate) anonymous: bool,
    /// UUID of the server that the transaction was made on.
    pub(crate) server_uuid: [u8; 16],
    /// Tag, since MySQL 8.3.
    pub(crate) tag: Option<&'a str>,
    /// Number of the transaction, beginning with 1.
    pub(crate) number: u64,
    /// Some of the transaction may be in statement format. Always set before 5.7.19.
    pub(crate) may_have_statements: bool,
    /// Logical clock: the transaction that must be committed before this one.
    pub(crate) last_committed: u64,
    /// Logical clock: number of this transaction in its file.
    pub(crate) sequence_number: u64,
    /// When it was committed on this server, microseconds since 1970, UTC. Since MySQL 8.0.
    pub(crate) commit_timestamp_us: Option<u64>,
    /// When it was committed on the server that it was made on.
    pub(crate) original_commit_timestamp_us: Option<u64>,
    /// Bytes of the transaction in the log, this event included. Since MySQL 8.0.
    pub(crate) transaction_bytes: Option<u64>,
    /// Version of the server that it was made on, as 90704 for 9.7.4; `None` before 8.0.14.
    pub(crate) original_server_version: Option<u32>,
}

// === impl Gtid ===

impl<'a> Gtid<'a> {
    pub(super) fn parse(body: &'a [u8], anonymous: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Gtid", body);
        let mut gtid = Self {
            anonymous,
            may_have_statements: reader.u8()? & 1 != 0,
            server_uuid: reader.array()?,
            number: reader.u64()?,
            tag: None,
            last_committed: 0,
            sequence_number: 0,
            commit_timestamp_us: None,
            original_commit_timestamp_us: None,
            transaction_bytes: None,
            original_server_version: None,
        };
        if !reader.is_empty() && reader.u8()? == LOGICAL_CLOCK {
            gtid.last_committed = reader.u64()?;
            gtid.sequence_number = reader.u64()?;
            gtid.read_since_8_0(&mut reader)?;
        }
        Ok(gtid)
    }

    fn read_since_8_0(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if reader.is_empty() {
            return Ok(());
        }
        let commit_timestamp_us = reader.u56()?;
        let here = commit_timestamp_us & !ORIGINAL_MOMENT_FOLLOWS;
        self.commit_timestamp_us = Some(here);
        self.original_commit_timestamp_us = Some(match commit_timestamp_us & ORIGINAL_MOMENT_FOLLOWS {
            0 => here,
            _ => reader.u56()?,
        });
        if reader.is_empty() {
            return Ok(());
        }
        self.transaction_bytes = Some(reader.length_encoded_int()?);
        if reader.is_empty() {
            return Ok(());
        }
        let version = reader.u32()?;
        self.original_server_version = Some(match version & ORIGINAL_VERSION_FOLLOWS {
            0 => version,
            _ => reader.u32()?,
        });
        // The ticket, and what later versions may add, is of no use here.
        Ok(())
    }
}

/// `uuid:number` or `uuid:tag:number`, as the server writes it.
impl fmt::Display for Gtid<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(formatter, &self.server_uuid)?;
        if let Some(tag) = self.tag {
            write!(formatter, ":{tag}")?;
        }
        write!(formatter, ":{}", self.number)
    }
}

/// The form with hyphens, in lower case.
pub(super) fn write_uuid(formatter: &mut fmt::Formatter<'_>, uuid: &[u8; 16]) -> fmt::Result {
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            formatter.write_str("-")?;
        }
        write!(formatter, "{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{parse_body, parse_strictly};
    use crate::decode::{Event, event_type};

    const UUID: &[u8; 16] = b"\x3e\x11\xfa\x47\x71\xca\x11\xe1\x9e\x33\xc8\x0a\xa9\x42\x95\x62";

    fn parsed(event_type: u8, body: &[u8]) -> Gtid<'_> {
        match parse_body(event_type, body) {
            Ok(Event::Gtid(gtid)) => gtid,
            other => panic!("{other:?}"),
        }
    }

    fn old_body() -> Vec<u8> {
        [&b"\x01"[..], UUID, b"\x17\0\0\0\0\0\0\0"].concat()
    }

    #[test]
    fn of_5_6() {
        let body = old_body();
        let Event::Gtid(gtid) = parse_strictly(event_type::GTID, &body, body.len()) else {
            panic!()
        };
        assert_eq!(gtid.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:23");
        assert_eq!((gtid.anonymous, gtid.may_have_statements), (false, true));
        assert_eq!((gtid.commit_timestamp_us, gtid.transaction_bytes), (None, None));
    }

    #[test]
    fn of_5_7() {
        let body = [old_body(), b"\x02\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec()].concat();
        let gtid = parsed(event_type::ANONYMOUS_GTID, &body);
        assert_eq!(
            (gtid.last_committed, gtid.sequence_number, gtid.anonymous),
            (5, 6, true)
        );
        for end in 26..body.len() {
            assert!(parse_body(event_type::GTID, &body[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn of_8_0_from_this_server() {
        let clock = b"\x02\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let end = b"\x40\x42\x0f\0\0\0\0\xfc\x2c\x01\x50\x62\x01\0".to_vec();
        let body = [old_body(), clock, end].concat();
        let gtid = parsed(event_type::GTID, &body);
        assert_eq!(gtid.commit_timestamp_us, Some(1_000_000));
        assert_eq!(gtid.original_commit_timestamp_us, Some(1_000_000));
        assert_eq!(gtid.transaction_bytes, Some(300));
        assert_eq!(gtid.original_server_version, Some(90_704));
        let with_ticket = [body, b"\x01\0\0\0\0\0\0\0".to_vec()].concat();
        assert_eq!(parsed(event_type::GTID, &with_ticket), gtid_of(&with_ticket));
    }

    fn gtid_of(body: &[u8]) -> Gtid<'_> {
        Gtid::parse(body, false).unwrap()
    }

    #[test]
    fn of_8_0_from_another_server() {
        let clock = b"\x02\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let moments = b"\x40\x42\x0f\0\0\0\x80\x01\0\0\0\0\0\0".to_vec();
        let end = b"\x64\x50\x62\x01\x80\xc8\x3a\x01\0".to_vec();
        let body = [old_body(), clock, moments, end].concat();
        let gtid = parsed(event_type::GTID, &body);
        assert_eq!(gtid.commit_timestamp_us, Some(1_000_000));
        assert_eq!(gtid.original_commit_timestamp_us, Some(1));
        assert_eq!(gtid.original_server_version, Some(80_584));
        // Fields end at 42 (5.7), 56 (8.0.1), 57 (8.0.2) and 65 (8.0.14); everything else is cut off.
        for end in 26..body.len() {
            let cut = parse_body(event_type::GTID, &body[..end]);
            assert_eq!(cut.is_ok(), matches!(end, 42 | 56 | 57), "{end}");
        }
    }
}
