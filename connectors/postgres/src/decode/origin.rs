//! `O` · LSN at the origin u64 · name, zero-terminated

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'O';

/// The transaction was replicated here from another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    /// Position of the commit on the origin.
    pub(crate) commit_lsn: u64,
    /// The origin's name.
    pub(crate) name: &'a str,
}

// === impl Origin ===

impl<'a> Origin<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Origin", body);
        let origin = Self {
            commit_lsn: reader.u64()?,
            name: reader.name()?,
        };
        reader.finish().map(|()| origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Message;
    use crate::decode::testing::parse_strictly;

    #[test]
    fn literal() {
        let expected = Origin {
            commit_lsn: 0x2a,
            name: "other",
        };
        assert_eq!(
            parse_strictly(b"O\0\0\0\0\0\0\0\x2aother\0", false),
            Message::Origin(expected)
        );
    }
}
