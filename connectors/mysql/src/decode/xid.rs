//! number u64

use super::DecodeError;
use super::reader::Reader;

/// A transaction of a transactional engine is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct XidEvent {
    /// Number of the transaction, of use for the server's own crash recovery.
    pub(crate) number: u64,
}

// === impl XidEvent ===

impl XidEvent {
    pub(super) fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Xid", body);
        let number = reader.u64()?;
        reader.finish().map(|()| Self { number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_exactly;
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let event = parse_exactly(event_type::XID, b"\x0b\0\0\0\0\0\0\x01");
        let number = 0x0100_0000_0000_000b;
        assert_eq!(event, Event::Xid(XidEvent { number }));
    }
}
