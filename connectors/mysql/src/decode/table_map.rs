//! table id u48 · flags u16 · schema (length u8, name, zero) · table (length u8, name, zero) · number of columns, length-encoded ·
//! types, u8 each · length of the metadata, length-encoded · metadata, by type · which columns are nullable, a bit each · fields of
//! optional metadata to the end: type u8 · length, length-encoded · value (see [`super::table_metadata`])
//!
//! A server repeats this event for every statement that touches the table. Only its fixed part and the two names are read
//! here; types and optional metadata are read when they are asked for, which for a table that is not captured is never, and for
//! one that is only when [`TableMap::definition`] differs from the last time.

use super::reader::Reader;
use super::table_metadata::{Columns, TableDescription};
use super::{DecodeError, column_code};

/// A table, ahead of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableMap<'a> {
    /// What rows events of this statement call it.
    pub(crate) table_id: u64,
    /// Schema, which MySQL also calls database.
    pub(crate) schema: &'a str,
    /// Table.
    pub(crate) table: &'a str,
    /// Everything but the number, which changes without the table doing so: equal bytes are the same table in the same shape.
    pub(crate) definition: &'a [u8],
    types: &'a [u8],
    metadata: &'a [u8],
    nullable: &'a [u8],
    optional: &'a [u8],
}

/// How values of one column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WireColumn {
    /// Type, one of [`column_code`].
    pub(crate) type_code: u8,
    /// What the type needs besides, as the server puts it together: high byte first for STRING, ENUM, SET and NEWDECIMAL, low byte
    /// first for VARCHAR and BIT, one byte for the others that have any, otherwise 0.
    pub(crate) metadata: u16,
}

// === impl TableMap ===

impl<'a> TableMap<'a> {
    #[inline]
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Table_map", body);
        let table_id = reader.u48()?;
        let definition = reader.rest();
        let _flags = reader.u16()?;
        let schema = reader.name()?;
        let schema = reader.text("schema", schema)?;
        let table = reader.name()?;
        let table = reader.text("table", table)?;
        let columns = reader.length()?;
        let types = reader.take(columns)?;
        let metadata = reader.counted()?;
        let nullable = reader.take(columns.div_ceil(8))?;
        Ok(Self {
            table_id,
            schema,
            table,
            definition,
            types,
            metadata,
            nullable,
            optional: reader.rest(),
        })
    }

    /// Number of columns.
    pub(crate) fn len(&self) -> usize {
        self.types.len()
    }

    /// A column may be NULL.
    pub(crate) fn is_nullable(&self, column: usize) -> bool {
        let byte = self.nullable.get(column / 8).copied().unwrap_or_default();
        byte >> (column % 8) & 1 != 0
    }

    /// How the values of each column are written.
    pub(crate) fn columns(&self) -> Result<Vec<WireColumn>, DecodeError> {
        let mut reader = Reader::new("metadata of a Table_map", self.metadata);
        let mut columns = Vec::with_capacity(self.types.len());
        for type_code in self.types {
            columns.push(WireColumn {
                type_code: *type_code,
                metadata: metadata(*type_code, &mut reader)?,
            });
        }
        reader.finish().map(|()| columns)
    }

    /// What the server says about the columns besides: much with `binlog_row_metadata=FULL`, signs and character sets with MINIMAL, and
    /// nothing before MySQL 8.0.1 and MariaDB 10.5. `by_mariadb` is who wrote the event, which it does not say itself.
    pub(crate) fn describe(&self, wire: &[WireColumn], by_mariadb: bool) -> Result<TableDescription<'a>, DecodeError> {
        let columns = Columns {
            wire,
            geometries_have_collations: by_mariadb,
        };
        TableDescription::parse(self.optional, columns)
    }
}

fn metadata(type_code: u8, reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    use column_code as code;
    match type_code {
        code::DECIMAL
        | code::TINY
        | code::SHORT
        | code::LONG
        | code::NULL
        | code::TIMESTAMP
        | code::LONGLONG
        | code::INT24
        | code::DATE
        | code::TIME
        | code::DATETIME
        | code::YEAR
        | code::NEWDATE => Ok(0),
        code::FLOAT
        | code::DOUBLE
        | code::TIMESTAMP2
        | code::DATETIME2
        | code::TIME2
        | code::BLOB_COMPRESSED
        | code::VECTOR
        | code::JSON
        | code::TINY_BLOB..=code::BLOB
        | code::GEOMETRY => reader.u8().map(u16::from),
        code::VARCHAR | code::BIT | code::VARCHAR_COMPRESSED | code::VAR_STRING => reader.u16(),
        code::NEWDECIMAL | code::ENUM | code::SET | code::STRING => reader.array().map(u16::from_be_bytes),
        unknown => Err(reader.invalid("type of a column", u64::from(unknown))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{parse_body, parse_strictly};
    use crate::decode::{Event, event_type};

    const FIXED: &[u8] = b"\x2a\0\0\0\0\x01\x01\0\x04shop\0\x06orders\0";

    fn body(columns: &[u8], metadata: &[u8], rest: &[u8]) -> Vec<u8> {
        let count = [u8::try_from(columns.len()).unwrap()];
        let metadata_bytes = [u8::try_from(metadata.len()).unwrap()];
        [FIXED, &count, columns, &metadata_bytes, metadata, rest].concat()
    }

    fn parsed(body: &[u8]) -> TableMap<'_> {
        match parse_body(event_type::TABLE_MAP, body) {
            Ok(Event::TableMap(map)) => map,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn literal() {
        let body = body(&[3, 15, 254, 246, 16], b"\x50\0\xf7\x01\x0a\x02\x05\x03", &[0b1_0110]);
        let Event::TableMap(map) = parse_strictly(event_type::TABLE_MAP, &body, body.len()) else {
            panic!()
        };
        assert_eq!(
            (map.table_id, map.schema, map.table),
            (0x0100_0000_002a, "shop", "orders")
        );
        let nullable: Vec<bool> = (0..map.len()).map(|column| map.is_nullable(column)).collect();
        assert_eq!(nullable, [false, true, true, false, true]);
        let columns: Vec<(u8, u16)> = map
            .columns()
            .unwrap()
            .iter()
            .map(|column| (column.type_code, column.metadata))
            .collect();
        assert_eq!(columns, [(3, 0), (15, 80), (254, 0xf701), (246, 0x0a02), (16, 0x0305)]);
        assert_eq!(map.describe(&map.columns().unwrap(), false).unwrap().columns.len(), 5);
        assert_eq!(map.definition, &body[6..]);
    }

    #[test]
    fn metadata_must_fit_the_types() {
        assert!(parsed(&body(&[3, 15], b"\x50", &[0])).columns().is_err());
        assert!(parsed(&body(&[3], b"\x50\0", &[0])).columns().is_err());
        assert!(parsed(&body(&[77], b"", &[0])).columns().is_err());
    }

    #[test]
    fn impossible_lengths() {
        let many = [FIXED, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"].concat();
        assert!(parse_body(event_type::TABLE_MAP, &many).is_err());
        let text = b"\x2a\0\0\0\0\0\x01\0\x02\xff\xfe\0\x01t\0\0\0";
        assert!(parse_body(event_type::TABLE_MAP, text).is_err());
    }
}
