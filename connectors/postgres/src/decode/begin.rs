//! `B` · final LSN u64 · commit time i64 · transaction u32

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'B';

/// A transaction begins; all of it is committed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Position of the commit record.
    pub(crate) final_lsn: u64,
    /// When it committed, microseconds since 1970, UTC.
    pub(crate) committed_at_us: i64,
    /// Its number, 32 bits without the epoch.
    pub(crate) transaction_id: u32,
}

// === impl Begin ===

impl Begin {
    pub(super) fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Begin", body);
        let begin = Self {
            final_lsn: reader.u64()?,
            committed_at_us: reader.moment_us()?,
            transaction_id: reader.u32()?,
        };
        reader.finish().map(|()| begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Message;
    use crate::decode::testing::parse_strictly;

    #[test]
    fn literal() {
        let frame = b"B\0\0\0\x01\0\0\0\x10\0\x02\x58\x4f\x1d\x1b\x2a\x40\0\0\x02\xdf";
        let expected = Begin {
            final_lsn: 0x1_0000_0010,
            committed_at_us: 0x0002_584f_1d1b_2a40 + 946_684_800_000_000,
            transaction_id: 735,
        };
        assert_eq!(parse_strictly(frame, false), Message::Begin(expected));
    }

    #[test]
    fn a_time_at_the_end_of_time_does_not_overflow() {
        let frame = b"B\0\0\0\x01\0\0\0\x10\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\x02\xdf";
        let Message::Begin(begin) = parse_strictly(frame, false) else {
            panic!()
        };
        assert_eq!(begin.committed_at_us, i64::MAX);
    }
}
