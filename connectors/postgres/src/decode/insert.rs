//! `I` · [transaction u32] · relation oid u32 · `N` · tuple

use super::DecodeError;
use super::reader::Reader;
use super::tuple::Tuple;

pub(super) const TAG: u8 = b'I';

/// A row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insert<'a> {
    /// The (sub)transaction, inside a stream chunk.
    pub(crate) transaction_id: Option<u32>,
    /// OID of the table.
    pub(crate) relation: u32,
    /// The row.
    pub(crate) new: Tuple<'a>,
}

// === impl Insert ===

impl<'a> Insert<'a> {
    #[inline]
    pub(super) fn parse(body: &'a [u8], streaming: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Insert", body);
        let transaction_id = reader.transaction_id(streaming)?;
        let relation = reader.u32()?;
        let kind = reader.u8()?;
        if kind != b'N' {
            return Err(reader.invalid("kind of tuple", i64::from(kind)));
        }
        let new = Tuple::parse(&mut reader)?;
        reader.finish()?;
        Ok(Self {
            transaction_id,
            relation,
            new,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Field, Message, parse};

    #[test]
    fn literal() {
        let frame = b"I\0\0\x40\x01N\0\x02t\0\0\0\x0142n";
        // The length says one byte: the second digit is read as the next column and refused.
        assert!(parse(frame, false).is_err());
        let frame = b"I\0\0\x40\x01N\0\x02t\0\0\0\x0242n";
        let Message::Insert(insert) = parse_strictly(frame, false) else {
            panic!()
        };
        assert_eq!((insert.transaction_id, insert.relation), (None, 16385));
        assert_eq!(
            insert.new.fields().collect::<Vec<_>>(),
            [Field::Text(b"42"), Field::Null]
        );
    }

    #[test]
    fn in_a_stream_chunk_it_carries_its_transaction() {
        let frame = b"I\0\0\x02\xe1\0\0\x40\x01N\0\0";
        let Message::Insert(insert) = parse_strictly(frame, true) else {
            panic!()
        };
        assert_eq!(
            (insert.transaction_id, insert.relation, insert.new.len()),
            (Some(737), 16385, 0)
        );
    }

    #[test]
    fn only_a_new_tuple_may_follow() {
        assert!(parse(b"I\0\0\x40\x01O\0\0", false).is_err());
    }
}
