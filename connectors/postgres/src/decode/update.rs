//! `U` · [transaction u32] · relation oid u32 · [`K` or `O` · old tuple] · `N` · new tuple

use super::DecodeError;
use super::reader::Reader;
use super::tuple::{OldTuple, Tuple};

pub(super) const TAG: u8 = b'U';

/// A row is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Update<'a> {
    /// The (sub)transaction, inside a stream chunk.
    pub(crate) transaction_id: Option<u32>,
    /// OID of the table.
    pub(crate) relation: u32,
    /// The row before: whole with REPLICA IDENTITY FULL, its key where the key changed, else absent.
    pub(crate) old: Option<OldTuple<'a>>,
    /// The row after.
    pub(crate) new: Tuple<'a>,
}

// === impl Update ===

impl<'a> Update<'a> {
    #[inline]
    pub(super) fn parse(body: &'a [u8], streaming: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Update", body);
        let transaction_id = reader.transaction_id(streaming)?;
        let relation = reader.u32()?;
        let mut kind = reader.u8()?;
        let old = OldTuple::parse(kind, &mut reader)?;
        if old.is_some() {
            kind = reader.u8()?;
        }
        if kind != b'N' {
            return Err(reader.invalid("kind of tuple", i64::from(kind)));
        }
        let new = Tuple::parse(&mut reader)?;
        reader.finish()?;
        Ok(Self {
            transaction_id,
            relation,
            old,
            new,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Field, Message, parse};

    #[test]
    fn without_an_old_row() {
        let frame = b"U\0\0\x40\x01N\0\x02t\0\0\0\x017u";
        let Message::Update(update) = parse_strictly(frame, false) else {
            panic!()
        };
        assert_eq!(update.old, None);
        assert_eq!(
            update.new.fields().collect::<Vec<_>>(),
            [Field::Text(b"7"), Field::Unchanged]
        );
    }

    #[test]
    fn with_the_old_key() {
        let frame = b"U\0\0\0\x05\0\0\x40\x01K\0\x02t\0\0\0\x017nN\0\x02t\0\0\0\x018n";
        let Message::Update(update) = parse_strictly(frame, true) else {
            panic!()
        };
        assert_eq!(update.transaction_id, Some(5));
        let Some(OldTuple::Key(key)) = update.old else { panic!() };
        assert_eq!(key.fields().collect::<Vec<_>>(), [Field::Text(b"7"), Field::Null]);
        assert_eq!(update.new.fields().next(), Some(Field::Text(b"8")));
    }

    #[test]
    fn with_the_whole_old_row() {
        let frame = b"U\0\0\x40\x01O\0\x01b\0\0\0\x04\0\0\0\x07N\0\x01b\0\0\0\x04\0\0\0\x08";
        let Message::Update(update) = parse_strictly(frame, false) else {
            panic!()
        };
        let Some(OldTuple::Full(old)) = update.old else {
            panic!()
        };
        assert_eq!(old.fields().collect::<Vec<_>>(), [Field::Binary(&[0, 0, 0, 7])]);
    }

    #[test]
    fn two_old_rows_are_refused() {
        assert!(parse(b"U\0\0\x40\x01K\0\0O\0\0N\0\0", false).is_err());
    }
}
