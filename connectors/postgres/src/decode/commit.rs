//! `C` · flags u8 (0) · commit LSN u64 · end LSN u64 · commit time i64

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'C';

/// The transaction that was begun is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Position of the commit record.
    pub(crate) commit_lsn: u64,
    /// Position behind the commit record: what may be confirmed.
    pub(crate) end_lsn: u64,
    /// When it committed, microseconds since 1970, UTC.
    pub(crate) committed_at_us: i64,
}

// === impl Commit ===

impl Commit {
    pub(super) fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Commit", body);
        // No flag is defined; one that is set would mean something that we do not know.
        let flags = reader.u8()?;
        if flags != 0 {
            return Err(reader.invalid("flags", i64::from(flags)));
        }
        let commit = Self {
            commit_lsn: reader.u64()?,
            end_lsn: reader.u64()?,
            committed_at_us: reader.moment_us()?,
        };
        reader.finish().map(|()| commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Message, parse};

    const FRAME: &[u8; 26] = b"C\0\0\0\0\0\x01\x5d\xa1\x18\0\0\0\0\x01\x5d\xa1\x48\0\0\0\0\0\0\0\x05";

    #[test]
    fn literal() {
        let expected = Commit {
            commit_lsn: 0x15d_a118,
            end_lsn: 0x15d_a148,
            committed_at_us: 946_684_800_000_005,
        };
        assert_eq!(parse_strictly(FRAME, false), Message::Commit(expected));
    }

    #[test]
    fn an_unknown_flag_is_refused() {
        let mut frame = *FRAME;
        frame[1] = 1;
        assert!(parse(&frame, false).is_err());
    }
}
