//! `c` · transaction u32 · flags u8 (0) · commit LSN u64 · end LSN u64 · commit time i64

use super::DecodeError;
use super::commit::Commit;
use super::reader::Reader;

pub(super) const TAG: u8 = b'c';

/// A streamed transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamCommit {
    /// The top-level transaction.
    pub(crate) transaction_id: u32,
    /// Where and when.
    pub(crate) commit: Commit,
}

// === impl StreamCommit ===

impl StreamCommit {
    pub(super) fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("StreamCommit", body);
        Ok(Self {
            transaction_id: reader.u32()?,
            commit: Commit::parse(reader.rest())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Message;
    use crate::decode::testing::parse_strictly;

    #[test]
    fn literal() {
        let frame = b"c\0\0\x02\xe1\0\0\0\0\0\x01\x5d\xa1\x18\0\0\0\0\x01\x5d\xa1\x48\0\0\0\0\0\0\0\x05";
        let expected = StreamCommit {
            transaction_id: 737,
            commit: Commit {
                commit_lsn: 0x15d_a118,
                end_lsn: 0x15d_a148,
                committed_at_us: 946_684_800_000_005,
            },
        };
        assert_eq!(parse_strictly(frame, false), Message::StreamCommit(expected));
    }
}
