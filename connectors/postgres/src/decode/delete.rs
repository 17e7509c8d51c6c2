//! `D` · [transaction u32] · relation oid u32 · `K` or `O` · old tuple

use super::DecodeError;
use super::reader::Reader;
use super::tuple::OldTuple;

pub(super) const TAG: u8 = b'D';

/// A row is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delete<'a> {
    /// The (sub)transaction, inside a stream chunk.
    pub(crate) transaction_id: Option<u32>,
    /// OID of the table.
    pub(crate) relation: u32,
    /// What the log has of it.
    pub(crate) old: OldTuple<'a>,
}

// === impl Delete ===

impl<'a> Delete<'a> {
    #[inline]
    pub(super) fn parse(body: &'a [u8], streaming: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Delete", body);
        let transaction_id = reader.transaction_id(streaming)?;
        let relation = reader.u32()?;
        let kind = reader.u8()?;
        let Some(old) = OldTuple::parse(kind, &mut reader)? else {
            return Err(reader.invalid("kind of tuple", i64::from(kind)));
        };
        reader.finish()?;
        Ok(Self {
            transaction_id,
            relation,
            old,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Field, Message, parse};

    #[test]
    fn by_key() {
        let Message::Delete(delete) = parse_strictly(b"D\0\0\x40\x01K\0\x02t\0\0\0\x017n", false) else {
            panic!()
        };
        assert_eq!((delete.transaction_id, delete.relation), (None, 16385));
        assert!(matches!(delete.old, OldTuple::Key(_)));
        assert_eq!(
            delete.old.tuple().fields().collect::<Vec<_>>(),
            [Field::Text(b"7"), Field::Null]
        );
    }

    #[test]
    fn by_whole_row_in_a_stream_chunk() {
        let frame = b"D\0\0\0\x06\0\0\x40\x01O\0\x01t\0\0\0\0";
        let Message::Delete(delete) = parse_strictly(frame, true) else {
            panic!()
        };
        assert_eq!(delete.transaction_id, Some(6));
        assert!(matches!(delete.old, OldTuple::Full(_)));
    }

    #[test]
    fn a_new_row_is_refused() {
        assert!(parse(b"D\0\0\x40\x01N\0\0", false).is_err());
    }
}
