//! `T` · [transaction u32] · relations i32 · options u8 (1: CASCADE, 2: RESTART IDENTITY) · relation oid u32 each

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'T';

const CASCADE: u8 = 1;
const RESTART_IDENTITY: u8 = 2;

/// Tables are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Truncate {
    /// The (sub)transaction, inside a stream chunk.
    pub(crate) transaction_id: Option<u32>,
    /// Tables that refer to these were emptied too; they are listed.
    pub(crate) cascade: bool,
    /// Sequences of the tables began anew.
    pub(crate) restart_identity: bool,
    /// OIDs of the tables.
    pub(crate) relations: Vec<u32>,
}

// === impl Truncate ===

impl Truncate {
    pub(super) fn parse(body: &[u8], streaming: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Truncate", body);
        let transaction_id = reader.transaction_id(streaming)?;
        let count = reader.u32()?;
        let options = reader.u8()?;
        // Pushed one by one: a count that lies meets the end of the frame before it costs memory.
        let mut relations = Vec::new();
        for _ in 0..count {
            relations.push(reader.u32()?);
        }
        reader.finish()?;
        Ok(Self {
            transaction_id,
            cascade: options & CASCADE != 0,
            restart_identity: options & RESTART_IDENTITY != 0,
            relations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Message, parse};

    #[test]
    fn literal() {
        let frame = b"T\0\0\0\x02\x03\0\0\x40\x01\0\0\x40\x02";
        let expected = Truncate {
            transaction_id: None,
            cascade: true,
            restart_identity: true,
            relations: vec![16385, 16386],
        };
        assert_eq!(parse_strictly(frame, false), Message::Truncate(expected));
    }

    #[test]
    fn in_a_stream_chunk_it_carries_its_transaction() {
        let expected = Truncate {
            transaction_id: Some(7),
            cascade: false,
            restart_identity: false,
            relations: vec![16385],
        };
        let frame = b"T\0\0\0\x07\0\0\0\x01\0\0\0\x40\x01";
        assert_eq!(parse_strictly(frame, true), Message::Truncate(expected));
    }

    #[test]
    fn a_count_that_lies_is_refused() {
        assert!(parse(b"T\xff\xff\xff\xff\0\0\0\x40\x01", false).is_err());
    }
}
