//! `S` · transaction u32 · first chunk u8

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'S';

/// A chunk of a transaction in progress begins; up to Stream Stop everything belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamStart {
    /// The top-level transaction.
    pub(crate) transaction_id: u32,
    /// The first chunk of this transaction.
    pub(crate) first: bool,
}

// === impl StreamStart ===

impl StreamStart {
    pub(super) fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("StreamStart", body);
        let start = Self {
            transaction_id: reader.u32()?,
            first: reader.u8()? == 1,
        };
        reader.finish().map(|()| start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Message;
    use crate::decode::testing::parse_strictly;

    #[test]
    fn literal() {
        let start = |transaction_id, first| Message::StreamStart(StreamStart { transaction_id, first });
        assert_eq!(parse_strictly(b"S\0\0\x02\xe1\x01", false), start(737, true));
        assert_eq!(parse_strictly(b"S\0\0\x02\xe1\0", false), start(737, false));
    }
}
