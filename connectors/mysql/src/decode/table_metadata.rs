//! Fields of the optional metadata of a table map:
//!
//! | type | value |
//! |---|---|
//! | 1 signs | a bit per numeric column, highest bit first: unsigned |
//! | 2 default collation | collation of the character columns, then pairs: which of them has another · which |
//! | 3 collations | one per character column |
//! | 4 names | length and name per column |
//! | 5 members of SETs, 6 of ENUMs | per such column: their number · length and member each |
//! | 7 geometry types | one per geometry column |
//! | 8 primary key | its columns |
//! | 9 primary key with prefixes | pairs: column · length of the prefix, 0 for all of it |
//! | 10, 11 | as 2 and 3, for the ENUM and SET columns |
//! | 12 visibility | a bit per column, highest bit first |
//! | 13 dimensions | one per VECTOR column |
//!
//! A bit for YEAR, which is always unsigned, is among the signs. A geometry is among the character columns on MariaDB, and is not on MySQL;
//! nothing in the event tells which of them wrote it.
//!
//! All numbers are length-encoded. Fields that are not known are passed over: new ones say more, never something else.

use super::reader::Reader;
use super::{DecodeError, WireColumn, column_code};

mod field {
    pub(super) const SIGNS: u8 = 1;
    pub(super) const DEFAULT_COLLATION: u8 = 2;
    pub(super) const COLLATIONS: u8 = 3;
    pub(super) const NAMES: u8 = 4;
    pub(super) const SET_MEMBERS: u8 = 5;
    pub(super) const ENUM_MEMBERS: u8 = 6;
    pub(super) const GEOMETRY_TYPES: u8 = 7;
    pub(super) const PRIMARY_KEY: u8 = 8;
    pub(super) const PRIMARY_KEY_WITH_PREFIXES: u8 = 9;
    pub(super) const MEMBER_DEFAULT_COLLATION: u8 = 10;
    pub(super) const MEMBER_COLLATIONS: u8 = 11;
    pub(super) const VISIBILITY: u8 = 12;
    pub(super) const DIMENSIONS: u8 = 13;
}

/// What a server says about a table besides how its values are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableDescription<'a> {
    /// In the table's order.
    pub(crate) columns: Vec<ColumnDescription<'a>>,
    /// `None` where the server does not say, or the table has none.
    pub(crate) primary_key: Option<Vec<KeyPart>>,
}

/// What a server says about a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ColumnDescription<'a> {
    /// Name.
    pub(crate) name: Option<&'a str>,
    /// Numbers without a sign. `None` for what is no number.
    pub(crate) unsigned: Option<bool>,
    /// Number of the collation of characters, and of members; 63 for bytes.
    pub(crate) collation: Option<u32>,
    /// Members of an ENUM or SET, in the column's character set.
    pub(crate) members: Option<Vec<&'a [u8]>>,
    /// Number of the geometry type.
    pub(crate) geometry: Option<u32>,
    /// False for INVISIBLE columns.
    pub(crate) visible: Option<bool>,
    /// Dimensions of a VECTOR.
    pub(crate) dimensions: Option<u32>,
}

/// A column of the primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPart {
    /// Which column.
    pub(crate) column: usize,
    /// Only so many bytes or characters of it; 0 for all.
    pub(crate) prefix: u64,
}

/// Which columns count where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'w> {
    /// As the table map has them.
    pub(super) wire: &'w [WireColumn],
    /// A geometry has a collation, as on MariaDB.
    pub(super) geometries_have_collations: bool,
}

/// The columns of a kind, as indexes, for fields that count only those.
type Indexes = Vec<usize>;

// === impl TableDescription ===

impl<'a> TableDescription<'a> {
    pub(super) fn parse(optional: &'a [u8], columns: Columns<'_>) -> Result<Self, DecodeError> {
        let mut description = Self {
            columns: vec![ColumnDescription::default(); columns.wire.len()],
            primary_key: None,
        };
        let mut reader = Reader::new("optional metadata of a Table_map", optional);
        while !reader.is_empty() {
            let field = reader.u8()?;
            let value = Reader::new("field of a Table_map", reader.counted()?);
            description.read_field(field, value, columns)?;
        }
        Ok(description)
    }

    fn read_field(&mut self, field: u8, reader: Reader<'a>, columns: Columns<'_>) -> Result<(), DecodeError> {
        match field {
            field::SIGNS => self.read_bits(reader, &columns.indexes(is_numeric), |column| &mut column.unsigned),
            field::DEFAULT_COLLATION => self.read_default_collation(reader, &columns.characters()),
            field::COLLATIONS => self.read_numbers(reader, &columns.characters(), |column| &mut column.collation),
            field::NAMES => self.read_names(reader),
            field::SET_MEMBERS => self.read_members(reader, &columns.indexes(is_set)),
            field::ENUM_MEMBERS => self.read_members(reader, &columns.indexes(is_enum)),
            field::GEOMETRY_TYPES => {
                self.read_numbers(reader, &columns.indexes(is_geometry), |column| &mut column.geometry)
            }
            field::PRIMARY_KEY => self.read_key(reader, false),
            field::PRIMARY_KEY_WITH_PREFIXES => self.read_key(reader, true),
            field::MEMBER_DEFAULT_COLLATION => self.read_default_collation(reader, &columns.indexes(has_members)),
            field::MEMBER_COLLATIONS => {
                self.read_numbers(reader, &columns.indexes(has_members), |column| &mut column.collation)
            }
            field::VISIBILITY => self.read_bits(reader, &columns.indexes(|_| true), |column| &mut column.visible),
            field::DIMENSIONS => {
                self.read_numbers(reader, &columns.indexes(is_vector), |column| &mut column.dimensions)
            }
            _ => Ok(()),
        }
    }

    fn read_bits(
        &mut self,
        mut reader: Reader<'a>,
        indexes: &Indexes,
        place: impl for<'c> Fn(&'c mut ColumnDescription<'a>) -> &'c mut Option<bool>,
    ) -> Result<(), DecodeError> {
        for eight in indexes.chunks(8) {
            let mut byte = reader.u8()?;
            for index in eight {
                *place(self.column(*index, &reader)?) = Some(byte & 0x80 != 0);
                byte <<= 1;
            }
        }
        reader.finish()
    }

    fn read_numbers(
        &mut self,
        mut reader: Reader<'a>,
        indexes: &Indexes,
        place: impl for<'c> Fn(&'c mut ColumnDescription<'a>) -> &'c mut Option<u32>,
    ) -> Result<(), DecodeError> {
        for index in indexes {
            let number = number(&mut reader)?;
            *place(self.column(*index, &reader)?) = Some(number);
        }
        reader.finish()
    }

    fn read_default_collation(&mut self, mut reader: Reader<'a>, indexes: &Indexes) -> Result<(), DecodeError> {
        let default = number(&mut reader)?;
        for index in indexes {
            self.column(*index, &reader)?.collation = Some(default);
        }
        while !reader.is_empty() {
            let which = reader.length()?;
            let Some(index) = indexes.get(which) else {
                return Err(reader.invalid("number of a character column", u64::try_from(which).unwrap_or(u64::MAX)));
            };
            let collation = number(&mut reader)?;
            self.column(*index, &reader)?.collation = Some(collation);
        }
        Ok(())
    }

    fn read_names(&mut self, mut reader: Reader<'a>) -> Result<(), DecodeError> {
        for column in &mut self.columns {
            let name = reader.counted()?;
            column.name = Some(reader.text("name of a column", name)?);
        }
        reader.finish()
    }

    fn read_members(&mut self, mut reader: Reader<'a>, indexes: &Indexes) -> Result<(), DecodeError> {
        for index in indexes {
            let mut members = Vec::new();
            for _ in 0..reader.length()? {
                members.push(reader.counted()?);
            }
            self.column(*index, &reader)?.members = Some(members);
        }
        reader.finish()
    }

    fn read_key(&mut self, mut reader: Reader<'a>, prefixes: bool) -> Result<(), DecodeError> {
        let mut key = Vec::new();
        while !reader.is_empty() {
            let column = reader.length()?;
            self.column(column, &reader)?;
            let prefix = if prefixes { reader.length_encoded_int()? } else { 0 };
            key.push(KeyPart { column, prefix });
        }
        self.primary_key = Some(key);
        Ok(())
    }

    fn column(&mut self, index: usize, reader: &Reader<'_>) -> Result<&mut ColumnDescription<'a>, DecodeError> {
        let column = self.columns.get_mut(index);
        column.ok_or_else(|| reader.invalid("number of a column", u64::try_from(index).unwrap_or(u64::MAX)))
    }
}

fn number(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let number = reader.length_encoded_int()?;
    u32::try_from(number).map_err(|_| reader.invalid("number", number))
}

// === impl Columns ===

impl Columns<'_> {
    fn indexes(self, is_meant: impl Fn(u8) -> bool) -> Indexes {
        let columns = self.wire.iter().enumerate();
        let meant = columns.filter(|(_, column)| is_meant(real_code(**column)));
        meant.map(|(index, _)| index).collect()
    }

    fn characters(self) -> Indexes {
        self.indexes(|code| is_character(code) || self.geometries_have_collations && is_geometry(code))
    }
}

/// ENUM and SET are written as STRING, and the high byte of their metadata says what they are.
fn real_code(column: WireColumn) -> u8 {
    let [high, _] = column.metadata.to_be_bytes();
    match (column.type_code, high) {
        (column_code::STRING, column_code::ENUM | column_code::SET) => high,
        (code, _) => code,
    }
}

fn is_numeric(code: u8) -> bool {
    use column_code::{DECIMAL, DOUBLE, FLOAT, INT24, LONG, LONGLONG, NEWDECIMAL, SHORT, TINY, YEAR};
    matches!(
        code,
        DECIMAL | TINY | SHORT | LONG | FLOAT | DOUBLE | LONGLONG | INT24 | YEAR | NEWDECIMAL
    )
}

fn is_character(code: u8) -> bool {
    use column_code::{BLOB, BLOB_COMPRESSED, STRING, TINY_BLOB, VAR_STRING, VARCHAR, VARCHAR_COMPRESSED, VECTOR};
    matches!(
        code,
        VARCHAR | VARCHAR_COMPRESSED | VAR_STRING | STRING | TINY_BLOB..=BLOB | BLOB_COMPRESSED | VECTOR
    )
}

fn has_members(code: u8) -> bool {
    is_enum(code) || is_set(code)
}

fn is_enum(code: u8) -> bool {
    code == column_code::ENUM
}

fn is_set(code: u8) -> bool {
    code == column_code::SET
}

fn is_geometry(code: u8) -> bool {
    code == column_code::GEOMETRY
}

fn is_vector(code: u8) -> bool {
    code == column_code::VECTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    /// int, varchar, enum, text, decimal, set, geometry, vector
    const WIRE: [(u8, u16); 8] = [
        (3, 0),
        (15, 80),
        (254, 0xf701),
        (252, 2),
        (246, 0x0a02),
        (254, 0xf801),
        (255, 4),
        (242, 4),
    ];

    fn wire() -> Vec<WireColumn> {
        WIRE.iter()
            .map(|(type_code, metadata)| WireColumn {
                type_code: *type_code,
                metadata: *metadata,
            })
            .collect()
    }

    fn parse(optional: &[u8]) -> Result<TableDescription<'_>, DecodeError> {
        let columns = Columns {
            wire: &wire(),
            geometries_have_collations: false,
        };
        TableDescription::parse(optional, columns)
    }

    /// Each field alone, whole, and cut off anywhere.
    fn field(bytes: &'static [u8]) -> TableDescription<'static> {
        for end in 1..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "accepted {end} of {bytes:?}");
        }
        parse(bytes).unwrap()
    }

    #[test]
    fn signs_count_numbers_only() {
        let unsigned: Vec<Option<bool>> = field(b"\x01\x01\x40").columns.iter().map(|c| c.unsigned).collect();
        let mut expected = [None; 8];
        (expected[0], expected[4]) = (Some(false), Some(true));
        assert_eq!(unsigned, expected);
    }

    #[test]
    fn collations() {
        let of = |description: TableDescription<'_>| -> Vec<Option<u32>> {
            description.columns.iter().map(|column| column.collation).collect()
        };
        let mut expected = [None; 8];
        (expected[1], expected[3], expected[7]) = (Some(45), Some(63), Some(45));
        assert_eq!(of(field(b"\x02\x03\x2d\x01\x3f")), expected);
        assert_eq!(of(field(b"\x03\x03\x2d\x3f\x2d")), expected);
        let mut expected = [None; 8];
        (expected[2], expected[5]) = (Some(255), Some(8));
        assert_eq!(of(field(b"\x0a\x05\xfc\xff\0\x01\x08")), expected);
        assert_eq!(of(field(b"\x0b\x04\xfc\xff\0\x08")), expected);
        assert!(parse(b"\x02\x03\x2d\x03\x3f").is_err());
    }

    #[test]
    fn a_geometry_is_among_the_characters_of_mariadb() {
        let columns = Columns {
            wire: &wire()[..7],
            geometries_have_collations: true,
        };
        let description = TableDescription::parse(b"\x03\x03\x2d\x08\x3f", columns).unwrap();
        let collations: Vec<u32> = description
            .columns
            .iter()
            .filter_map(|column| column.collation)
            .collect();
        assert_eq!(collations, [45, 8, 63]);
        assert_eq!(description.columns[6].collation, Some(63));
    }

    #[test]
    fn names_and_members() {
        let names: Vec<&str> = field(b"\x04\x10\x01a\x01b\x01c\x01d\x01e\x01f\x01g\x01h")
            .columns
            .iter()
            .filter_map(|column| column.name)
            .collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", "f", "g", "h"]);
        let members =
            |description: TableDescription<'static>, column: usize| description.columns[column].members.clone();
        assert_eq!(
            members(field(b"\x05\x05\x02\x01x\x01y"), 5),
            Some(vec![&b"x"[..], b"y"])
        );
        assert_eq!(members(field(b"\x06\x04\x01\x02\xe9x"), 2), Some(vec![&b"\xe9x"[..]]));
    }

    #[test]
    fn keys() {
        let part = |column, prefix| KeyPart { column, prefix };
        assert_eq!(
            field(b"\x08\x02\x00\x01").primary_key,
            Some(vec![part(0, 0), part(1, 0)])
        );
        assert_eq!(
            field(b"\x09\x04\x00\x00\x01\x0a").primary_key,
            Some(vec![part(0, 0), part(1, 10)])
        );
        assert!(parse(b"\x08\x01\x08").is_err());
        assert!(parse(b"\x09\x01\x00").is_err());
    }

    #[test]
    fn the_rest() {
        assert_eq!(field(b"\x07\x01\x03").columns[6].geometry, Some(3));
        assert_eq!(field(b"\x0d\x01\x05").columns[7].dimensions, Some(5));
        let visible: Vec<Option<bool>> = field(b"\x0c\x01\xfe").columns.iter().map(|c| c.visible).collect();
        assert_eq!(visible[..7], [Some(true); 7]);
        assert_eq!(visible[7], Some(false));
    }

    #[test]
    fn unknown_fields_are_passed_over_and_short_ones_are_not() {
        let description = parse(b"\x63\x02zz\x07\x01\x03").unwrap();
        assert_eq!(description.columns[6].geometry, Some(3));
        for short in [
            &b"\x01\0"[..],
            b"\x03\x01\x2d",
            b"\x04\x02\x01a",
            b"\x05\x01\x01",
            b"\x0c\0",
            b"\x0c\x02\xfe\xfe",
        ] {
            assert!(parse(short).is_err(), "{short:?}");
        }
    }
}
