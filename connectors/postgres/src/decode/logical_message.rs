//! `M` · [transaction u32] · flags u8 (1: transactional) · LSN u64 · prefix, zero-terminated · length i32 · content

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'M';

const TRANSACTIONAL: u8 = 1;

/// What `pg_logical_emit_message` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogicalMessage<'a> {
    /// The (sub)transaction, inside a stream chunk.
    pub(crate) transaction_id: Option<u32>,
    /// Part of a transaction. Others come at once, before the transaction around them, and even if it is rolled back.
    pub(crate) transactional: bool,
    /// Position of the message.
    pub(crate) lsn: u64,
    /// Prefix.
    pub(crate) prefix: &'a str,
    /// Content, any bytes.
    pub(crate) content: &'a [u8],
}

// === impl LogicalMessage ===

impl<'a> LogicalMessage<'a> {
    pub(super) fn parse(body: &'a [u8], streaming: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Message", body);
        let message = Self {
            transaction_id: reader.transaction_id(streaming)?,
            transactional: reader.u8()? & TRANSACTIONAL != 0,
            lsn: reader.u64()?,
            prefix: reader.name()?,
            content: reader.counted()?,
        };
        reader.finish().map(|()| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Message;
    use crate::decode::testing::parse_strictly;

    #[test]
    fn literal() {
        let mut expected = LogicalMessage {
            transaction_id: None,
            transactional: true,
            lsn: 0x1_0000_0020,
            prefix: "outbox",
            content: b"a\0\xff",
        };
        let rest = b"\x01\0\0\0\x01\0\0\0\x20outbox\0\0\0\0\x03a\0\xff";
        let frame = [b"M", rest.as_slice()].concat();
        assert_eq!(parse_strictly(&frame, false), Message::Logical(expected));
        expected.transaction_id = Some(8);
        let frame = [b"M\0\0\0\x08", rest.as_slice()].concat();
        assert_eq!(parse_strictly(&frame, true), Message::Logical(expected));
    }
}
