//! The type of a column of which only the log is known.

use std::sync::Arc;

use super::{ColumnType, IntegerWidth, TypeError, TypeKind};
use crate::charset::Charset;
use crate::decode::cell::wire;
use crate::decode::table_map::WireColumn;

/// Names of the geometry types by their numbers in the log.
const GEOMETRY_NAMES: [&str; 8] = [
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
];

/// What a `TABLE_MAP` with full metadata says of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedColumn<'a> {
    /// How its values are written.
    pub(crate) wire: WireColumn,
    /// Numbers without a sign.
    pub(crate) unsigned: bool,
    /// Number of the collation of a column with characters, and of its members where it has some.
    pub(crate) collation: Option<u32>,
    /// Members of an ENUM or SET, in the column's character set.
    pub(crate) members: Vec<&'a [u8]>,
    /// Number of the geometry type.
    pub(crate) geometry: Option<u64>,
}

pub(super) fn from_log(column: &LoggedColumn<'_>) -> Result<ColumnType, TypeError> {
    if let Some(width) = integer_width(column.wire.type_code) {
        return Ok(integer(width, column.unsigned));
    }
    let unsigned = if column.unsigned { " unsigned" } else { "" };
    Ok(match column.wire.type_code {
        wire::FLOAT => ColumnType::new(TypeKind::Float { widened: false }, format!("float{unsigned}")),
        wire::DOUBLE => ColumnType::new(TypeKind::Double, format!("double{unsigned}")),
        wire::NEWDECIMAL => {
            let [precision, scale] = column.wire.metadata.to_be_bytes();
            let source_type = format!("decimal({precision},{scale}){unsigned}");
            ColumnType::new(TypeKind::Decimal { precision, scale }, source_type)
        }
        wire::BIT => {
            let length = wire::bit_length(column.wire.metadata);
            ColumnType::new(TypeKind::Bit { length }, format!("bit({length})"))
        }
        wire::YEAR => ColumnType::new(TypeKind::Year, "year"),
        wire::DATE | wire::NEWDATE => ColumnType::new(TypeKind::Date, "date"),
        wire::TIME | wire::TIME2 | wire::DATETIME | wire::DATETIME2 | wire::TIMESTAMP | wire::TIMESTAMP2 => {
            temporal(column.wire)?
        }
        wire::STRING | wire::ENUM | wire::SET => string(column)?,
        wire::VARCHAR | wire::VAR_STRING | wire::VARCHAR_COMPRESSED => {
            characters(column, "varchar", "varbinary", u32::from(column.wire.metadata))?
        }
        wire::TINY_BLOB..=wire::BLOB | wire::BLOB_COMPRESSED => blob(column)?,
        wire::JSON => ColumnType::new(TypeKind::Json, "json"),
        wire::GEOMETRY => {
            let name = column.geometry.and_then(|number| usize::try_from(number).ok());
            let name = name.and_then(|number| GEOMETRY_NAMES.get(number));
            ColumnType::new(TypeKind::Geometry, *name.unwrap_or(&"geometry"))
        }
        wire::VECTOR => ColumnType::new(TypeKind::Vector, "vector"),
        other => return Err(TypeError::UnknownCode(other)),
    })
}

fn integer_width(type_code: u8) -> Option<IntegerWidth> {
    Some(match type_code {
        wire::TINY => IntegerWidth::Tiny,
        wire::SHORT => IntegerWidth::Small,
        wire::INT24 => IntegerWidth::Medium,
        wire::LONG => IntegerWidth::Regular,
        wire::LONGLONG => IntegerWidth::Big,
        _ => return None,
    })
}

fn integer(width: IntegerWidth, unsigned: bool) -> ColumnType {
    let name = width.name();
    let source_type = if unsigned {
        format!("{name} unsigned")
    } else {
        name.to_owned()
    };
    ColumnType::new(TypeKind::Integer { width, unsigned }, source_type)
}

fn temporal(wire: WireColumn) -> Result<ColumnType, TypeError> {
    // The old forms have no fraction and no metadata.
    let precision = match wire.type_code {
        wire::TIME2 | wire::DATETIME2 | wire::TIMESTAMP2 => {
            u8::try_from(wire.metadata).map_err(|_| TypeError::UnknownCode(wire.type_code))?
        }
        _ => 0,
    };
    let (kind, name) = match wire.type_code {
        wire::TIME | wire::TIME2 => (TypeKind::Time { precision }, "time"),
        wire::DATETIME | wire::DATETIME2 => (TypeKind::DateTime { precision }, "datetime"),
        _ => (TypeKind::Timestamp { precision }, "timestamp"),
    };
    let source_type = match precision {
        0 => name.to_owned(),
        _ => format!("{name}({precision})"),
    };
    Ok(ColumnType::new(kind, source_type))
}

/// CHAR, BINARY, ENUM and SET share one code of the log.
fn string(column: &LoggedColumn<'_>) -> Result<ColumnType, TypeError> {
    match wire::string_shape(column.wire) {
        (wire::ENUM, _) => {
            let (members, charset) = members(column)?;
            let source_type = format!("enum({})", quoted(&members));
            Ok(ColumnType::new(TypeKind::Enum { members, charset }, source_type))
        }
        (wire::SET, _) => {
            let (members, charset) = members(column)?;
            let source_type = format!("set({})", quoted(&members));
            Ok(ColumnType::new(TypeKind::Set { members, charset }, source_type))
        }
        (_, length) => characters(column, "char", "binary", u32::from(length)),
    }
}

fn blob(column: &LoggedColumn<'_>) -> Result<ColumnType, TypeError> {
    let (text, bytes) = match column.wire.metadata {
        1 => ("tinytext", "tinyblob"),
        2 => ("text", "blob"),
        3 => ("mediumtext", "mediumblob"),
        _ => ("longtext", "longblob"),
    };
    match charset(column)? {
        Charset::Binary => Ok(ColumnType::new(TypeKind::Bytes, bytes)),
        charset => Ok(ColumnType::new(TypeKind::Text { charset }, text)),
    }
}

fn characters(column: &LoggedColumn<'_>, text: &str, bytes: &str, length: u32) -> Result<ColumnType, TypeError> {
    match charset(column)? {
        Charset::Binary => {
            let kind = match (bytes, u8::try_from(length)) {
                ("binary", Ok(length)) => TypeKind::FixedBytes { length },
                _ => TypeKind::Bytes,
            };
            Ok(ColumnType::new(kind, format!("{bytes}({length})")))
        }
        charset => {
            let characters = length / u32::from(charset.character_max_bytes().max(1));
            Ok(ColumnType::new(TypeKind::Text { charset }, format!("{text}({characters})")))
        }
    }
}

fn charset(column: &LoggedColumn<'_>) -> Result<Charset, TypeError> {
    let collation = column.collation.unwrap_or_default();
    Charset::of_collation(collation).ok_or(TypeError::UnknownCollation(collation))
}

fn members(column: &LoggedColumn<'_>) -> Result<(Arc<[String]>, Charset), TypeError> {
    let charset = charset(column)?;
    let members: Option<Arc<[String]>> = column.members.iter().map(|member| charset.to_utf8(member)).collect();
    let members = members.filter(|members| !members.is_empty());
    let members = members.ok_or_else(|| TypeError::Malformed("enum or set".to_owned()))?;
    Ok((members, charset))
}

/// The members as the catalogue prints them.
fn quoted(members: &[String]) -> String {
    let quoted: Vec<String> = members.iter().map(|member| quote(member)).collect();
    quoted.join(",")
}

fn quote(member: &str) -> String {
    let mut text = String::with_capacity(member.len() + 2);
    text.push('\'');
    for character in member.chars() {
        match character {
            '\'' => text.push_str("''"),
            '\\' => text.push_str("\\\\"),
            '\0' => text.push_str("\\0"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(type_code: u8, metadata: u16) -> LoggedColumn<'static> {
        LoggedColumn {
            wire: WireColumn { type_code, metadata },
            unsigned: false,
            collation: None,
            members: Vec::new(),
            geometry: None,
        }
    }

    /// What the log says and what the catalogue prints come to the same type.
    fn assert_reads_as(column: &LoggedColumn<'_>, printed: &str, charset: &str) {
        let logged = ColumnType::from_log(column).unwrap();
        assert_eq!(logged, ColumnType::parse(printed, Some(charset)).unwrap(), "{printed}");
    }

    #[test]
    fn the_log_and_the_catalogue_agree() {
        let columns = [
            (column(1, 0), "tinyint"),
            (column(9, 0), "mediumint"),
            (column(4, 4), "float"),
            (column(5, 8), "double"),
            (column(246, 0x0a02), "decimal(10,2)"),
            (column(16, 0x0100), "bit(8)"),
            (column(16, 0x0305), "bit(29)"),
            (column(13, 0), "year"),
            (column(10, 0), "date"),
            (column(19, 2), "time(2)"),
            (column(18, 0), "datetime"),
            (column(17, 6), "timestamp(6)"),
            (column(11, 0), "time"),
            (column(245, 4), "json"),
            (column(255, 4), "geometry"),
        ];
        for (column, printed) in columns {
            assert_reads_as(&column, printed, "utf8mb4");
        }
        let mut unsigned = column(8, 0);
        unsigned.unsigned = true;
        assert_reads_as(&unsigned, "bigint unsigned", "utf8mb4");
        let mut point = column(255, 4);
        point.geometry = Some(1);
        assert_reads_as(&point, "point", "utf8mb4");
    }

    #[test]
    fn characters_and_bytes_differ_by_their_collation() {
        let of = |type_code, metadata, collation| LoggedColumn {
            collation: Some(collation),
            ..column(type_code, metadata)
        };
        assert_reads_as(&of(15, 80, 45), "varchar(20)", "utf8mb4");
        assert_reads_as(&of(15, 80, 8), "varchar(80)", "latin1");
        assert_reads_as(&of(15, 80, 63), "varbinary(80)", "utf8mb4");
        assert_reads_as(&of(252, 2, 255), "text", "utf8mb4");
        assert_reads_as(&of(252, 4, 63), "longblob", "utf8mb4");
        assert_reads_as(&of(254, 0xfe10, 63), "binary(16)", "utf8mb4");
        // CHAR(255) of utf8mb4 has 1020 bytes: the two high bits of the length are in the code, inverted.
        assert_reads_as(&of(254, 0xcefc, 45), "char(255)", "utf8mb4");
        assert!(ColumnType::from_log(&of(15, 80, 17)).is_err());
    }

    #[test]
    fn members_are_in_the_columns_characters() {
        let members = LoggedColumn {
            collation: Some(8),
            members: vec![b"caf\xe9", b"it's", b"\\"],
            ..column(254, 0xf701)
        };
        assert_reads_as(&members, r"enum('café','it''s','\\')", "latin1");
        let members = LoggedColumn {
            wire: WireColumn { type_code: 254, metadata: 0xf801 },
            ..members
        };
        assert_reads_as(&members, r"set('café','it''s','\\')", "latin1");
    }
}
