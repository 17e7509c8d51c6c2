//! `Y` · [transaction u32] · oid u32 · schema, zero-terminated (empty: `pg_catalog`) · name, zero-terminated

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'Y';

/// The name of a type that is not built in, ahead of the Relation that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypeName<'a> {
    /// The (sub)transaction, inside a stream chunk.
    pub(crate) transaction_id: Option<u32>,
    /// OID of the type.
    pub(crate) oid: u32,
    /// Schema; `pg_catalog` is spelt out.
    pub(crate) schema: &'a str,
    /// Name.
    pub(crate) name: &'a str,
}

// === impl TypeName ===

impl<'a> TypeName<'a> {
    pub(super) fn parse(body: &'a [u8], streaming: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Type", body);
        let transaction_id = reader.transaction_id(streaming)?;
        let oid = reader.u32()?;
        let schema = reader.name()?;
        let name = reader.name()?;
        reader.finish()?;
        Ok(Self {
            transaction_id,
            oid,
            schema: if schema.is_empty() { "pg_catalog" } else { schema },
            name,
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
        let mut expected = TypeName {
            transaction_id: None,
            oid: 16400,
            schema: "public",
            name: "mood",
        };
        assert_eq!(
            parse_strictly(b"Y\0\0\x40\x10public\0mood\0", false),
            Message::Type(expected)
        );
        expected.transaction_id = Some(9);
        assert_eq!(
            parse_strictly(b"Y\0\0\0\x09\0\0\x40\x10public\0mood\0", true),
            Message::Type(expected)
        );
    }
}
