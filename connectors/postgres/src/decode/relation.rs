//! `R` · [transaction u32] · oid u32 · schema, zero-terminated (empty: `pg_catalog`) · table, zero-terminated · replica
//! identity u8 · columns u16 · per column: flags u8 (1: part of the key) · name, zero-terminated · type oid u32 · typmod i32

use super::DecodeError;
use super::reader::Reader;

pub(super) const TAG: u8 = b'R';

/// The column is part of the replica identity.
const COLUMN_IS_KEY: u8 = 1;

/// What of an old row the log carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// Nothing.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of an index.
    Index,
}

/// The shape of a table at this point of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation<'a> {
    /// The (sub)transaction, inside a stream chunk.
    pub(crate) transaction_id: Option<u32>,
    /// OID of the table.
    pub(crate) oid: u32,
    /// Schema; `pg_catalog` is spelt out.
    pub(crate) schema: &'a str,
    /// Table.
    pub(crate) table: &'a str,
    /// What of an old row the log carries.
    pub(crate) replica_identity: ReplicaIdentity,
    /// Published columns in the table's order.
    pub(crate) columns: Vec<RelationColumn<'a>>,
}

/// One column of a [`Relation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelationColumn<'a> {
    /// Part of the replica identity.
    pub(crate) is_key: bool,
    /// Name.
    pub(crate) name: &'a str,
    /// OID of the type.
    pub(crate) type_oid: u32,
    /// Type modifier, -1 where there is none.
    pub(crate) type_modifier: i32,
}

// === impl Relation ===

impl<'a> Relation<'a> {
    pub(super) fn parse(body: &'a [u8], streaming: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Relation", body);
        let transaction_id = reader.transaction_id(streaming)?;
        let oid = reader.u32()?;
        let schema = reader.name()?;
        let table = reader.name()?;
        let replica_identity = ReplicaIdentity::parse(&mut reader)?;
        let mut columns = Vec::new();
        for _ in 0..reader.u16()? {
            columns.push(RelationColumn::parse(&mut reader)?);
        }
        reader.finish()?;
        Ok(Self {
            transaction_id,
            oid,
            schema: if schema.is_empty() { "pg_catalog" } else { schema },
            table,
            replica_identity,
            columns,
        })
    }
}

// === impl RelationColumn ===

impl<'a> RelationColumn<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            is_key: reader.u8()? & COLUMN_IS_KEY != 0,
            name: reader.name()?,
            type_oid: reader.u32()?,
            type_modifier: reader.i32()?,
        })
    }
}

// === impl ReplicaIdentity ===

impl ReplicaIdentity {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            b'd' => Ok(Self::Default),
            b'n' => Ok(Self::Nothing),
            b'f' => Ok(Self::Full),
            b'i' => Ok(Self::Index),
            other => Err(reader.invalid("replica identity", i64::from(other))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{c_string, parse_strictly};
    use crate::decode::{Message, parse};

    fn body() -> Vec<u8> {
        [
            b"\0\0\x40\x01".to_vec(),
            c_string("public"),
            c_string("orders 🙂.\"x\""),
            b"d\0\x02\x01".to_vec(),
            c_string("id"),
            b"\0\0\0\x17\xff\xff\xff\xff\0".to_vec(),
            c_string("amount"),
            b"\0\0\x06\xa4\0\x0a\0\x06".to_vec(),
        ]
        .concat()
    }

    fn expected(transaction_id: Option<u32>) -> Relation<'static> {
        let column = |is_key, name, type_oid, type_modifier| RelationColumn {
            is_key,
            name,
            type_oid,
            type_modifier,
        };
        Relation {
            transaction_id,
            oid: 16385,
            schema: "public",
            table: "orders 🙂.\"x\"",
            replica_identity: ReplicaIdentity::Default,
            columns: vec![column(true, "id", 23, -1), column(false, "amount", 1700, 0x000a_0006)],
        }
    }

    #[test]
    fn literal() {
        let frame = [b"R".to_vec(), body()].concat();
        assert_eq!(parse_strictly(&frame, false), Message::Relation(expected(None)));
    }

    #[test]
    fn in_a_stream_chunk_it_carries_its_transaction() {
        let frame = [b"R\0\0\x02\xe0".to_vec(), body()].concat();
        assert_eq!(parse_strictly(&frame, true), Message::Relation(expected(Some(736))));
    }

    #[test]
    fn an_empty_schema_is_the_catalog() {
        let frame = b"R\0\0\0\x01\0t\0f\0\0";
        let Message::Relation(relation) = parse_strictly(frame, false) else {
            panic!()
        };
        assert_eq!(
            (relation.schema, relation.replica_identity),
            ("pg_catalog", ReplicaIdentity::Full)
        );
    }

    #[test]
    fn an_unknown_identity_and_a_broken_name_are_refused() {
        assert!(matches!(
            parse(b"R\0\0\0\x01\0t\0x\0\0", false),
            Err(DecodeError::Invalid { value: 120, .. })
        ));
        assert!(matches!(
            parse(b"R\0\0\0\x01\0\xff\0d\0\0", false),
            Err(DecodeError::InvalidUtf8 { .. })
        ));
    }
}
