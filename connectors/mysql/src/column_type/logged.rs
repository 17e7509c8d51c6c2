//! The type of a column of which only the log is known.

use std::sync::Arc;

use super::{ColumnType, IntegerWidth, TypeError, TypeKind};
use crate::charset::Charset;
use crate::decode::cell::wire::{bit_length, string_shape};
use crate::decode::{ColumnDescription, WireColumn, column_code as code};

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

pub(super) fn from_log(wire: WireColumn, column: &ColumnDescription<'_>) -> Result<ColumnType, TypeError> {
    let is_unsigned = column.unsigned.unwrap_or_default();
    if let Some(width) = integer_width(wire.type_code) {
        return Ok(integer(width, is_unsigned));
    }
    let unsigned = if is_unsigned { " unsigned" } else { "" };
    Ok(match wire.type_code {
        code::FLOAT => ColumnType::new(TypeKind::Float { widened: false }, format!("float{unsigned}")),
        code::DOUBLE => ColumnType::new(TypeKind::Double, format!("double{unsigned}")),
        code::NEWDECIMAL => {
            let [precision, scale] = wire.metadata.to_be_bytes();
            let source_type = format!("decimal({precision},{scale}){unsigned}");
            ColumnType::new(TypeKind::Decimal { precision, scale }, source_type)
        }
        code::BIT => {
            let length = bit_length(wire.metadata);
            ColumnType::new(TypeKind::Bit { length }, format!("bit({length})"))
        }
        code::YEAR => ColumnType::new(TypeKind::Year, "year"),
        code::DATE | code::NEWDATE => ColumnType::new(TypeKind::Date, "date"),
        code::TIME | code::TIME2 | code::DATETIME | code::DATETIME2 | code::TIMESTAMP | code::TIMESTAMP2 => {
            temporal(wire)?
        }
        code::STRING | code::ENUM | code::SET => string(wire, column)?,
        code::VARCHAR | code::VAR_STRING | code::VARCHAR_COMPRESSED => {
            characters(column, "varchar", "varbinary", u32::from(wire.metadata))?
        }
        code::TINY_BLOB..=code::BLOB | code::BLOB_COMPRESSED => blob(wire, column)?,
        code::JSON => ColumnType::new(TypeKind::Json, "json"),
        code::GEOMETRY => {
            let name = column.geometry.and_then(|number| usize::try_from(number).ok());
            let name = name.and_then(|number| GEOMETRY_NAMES.get(number));
            let name = *name.unwrap_or(&"geometry");
            let kind = if name == "point" {
                TypeKind::Point
            } else {
                TypeKind::Geometry
            };
            ColumnType::new(kind, name)
        }
        code::VECTOR => ColumnType::new(TypeKind::Vector, dimensions(column)),
        other => return Err(TypeError::UnknownCode(other)),
    })
}

fn integer_width(type_code: u8) -> Option<IntegerWidth> {
    Some(match type_code {
        code::TINY => IntegerWidth::Tiny,
        code::SHORT => IntegerWidth::Small,
        code::INT24 => IntegerWidth::Medium,
        code::LONG => IntegerWidth::Regular,
        code::LONGLONG => IntegerWidth::Big,
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
        code::TIME2 | code::DATETIME2 | code::TIMESTAMP2 => {
            u8::try_from(wire.metadata).map_err(|_| TypeError::UnknownCode(wire.type_code))?
        }
        _ => 0,
    };
    let (kind, name) = match wire.type_code {
        code::TIME | code::TIME2 => (TypeKind::Time { precision }, "time"),
        code::DATETIME | code::DATETIME2 => (TypeKind::DateTime { precision }, "datetime"),
        _ => (TypeKind::Timestamp { precision }, "timestamp"),
    };
    let source_type = match precision {
        0 => name.to_owned(),
        _ => format!("{name}({precision})"),
    };
    Ok(ColumnType::new(kind, source_type))
}

/// CHAR, BINARY, ENUM and SET share one code of the log.
fn string(wire: WireColumn, column: &ColumnDescription<'_>) -> Result<ColumnType, TypeError> {
    match string_shape(wire) {
        (code::ENUM, _) => {
            let (members, charset) = members(column)?;
            let source_type = format!("enum({})", quoted(&members));
            Ok(ColumnType::new(TypeKind::Enum { members, charset }, source_type))
        }
        (code::SET, _) => {
            let (members, charset) = members(column)?;
            let source_type = format!("set({})", quoted(&members));
            Ok(ColumnType::new(TypeKind::Set { members, charset }, source_type))
        }
        (_, length) => characters(column, "char", "binary", u32::from(length)),
    }
}

fn blob(wire: WireColumn, column: &ColumnDescription<'_>) -> Result<ColumnType, TypeError> {
    let (text, bytes) = match wire.metadata {
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

fn characters(column: &ColumnDescription<'_>, text: &str, bytes: &str, length: u32) -> Result<ColumnType, TypeError> {
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
            Ok(ColumnType::new(
                TypeKind::Text { charset },
                format!("{text}({characters})"),
            ))
        }
    }
}

fn dimensions(column: &ColumnDescription<'_>) -> String {
    match column.dimensions {
        Some(dimensions) => format!("vector({dimensions})"),
        None => "vector".to_owned(),
    }
}

fn charset(column: &ColumnDescription<'_>) -> Result<Charset, TypeError> {
    let collation = column.collation.unwrap_or_default();
    Charset::of_collation(collation).ok_or(TypeError::UnknownCollation(collation))
}

fn members(column: &ColumnDescription<'_>) -> Result<(Arc<[String]>, Charset), TypeError> {
    let charset = charset(column)?;
    let members = column.members.iter().flatten().map(|member| charset.to_utf8(member));
    let members: Option<Arc<[String]>> = members.collect();
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

    fn wire(type_code: u8, metadata: u16) -> WireColumn {
        WireColumn { type_code, metadata }
    }

    /// What the log says and what the catalogue prints come to the same type.
    fn assert_reads_as(wire: WireColumn, column: &ColumnDescription<'_>, printed: &str, charset: &str) {
        let logged = ColumnType::from_log(wire, column).unwrap();
        assert_eq!(logged, ColumnType::parse(printed, Some(charset)).unwrap(), "{printed}");
    }

    #[test]
    fn the_log_and_the_catalogue_agree() {
        let columns = [
            (wire(1, 0), "tinyint"),
            (wire(9, 0), "mediumint"),
            (wire(4, 4), "float"),
            (wire(5, 8), "double"),
            (wire(246, 0x0a02), "decimal(10,2)"),
            (wire(16, 0x0100), "bit(8)"),
            (wire(16, 0x0305), "bit(29)"),
            (wire(13, 0), "year"),
            (wire(10, 0), "date"),
            (wire(19, 2), "time(2)"),
            (wire(18, 0), "datetime"),
            (wire(17, 6), "timestamp(6)"),
            (wire(11, 0), "time"),
            (wire(245, 4), "json"),
            (wire(255, 4), "geometry"),
            (wire(242, 4), "vector"),
        ];
        for (wire, printed) in columns {
            assert_reads_as(wire, &ColumnDescription::default(), printed, "utf8mb4");
        }
        let unsigned = ColumnDescription {
            unsigned: Some(true),
            ..ColumnDescription::default()
        };
        assert_reads_as(wire(8, 0), &unsigned, "bigint unsigned", "utf8mb4");
        assert_reads_as(wire(246, 0x0a02), &unsigned, "decimal(10,2) unsigned", "utf8mb4");
        let point = ColumnDescription {
            geometry: Some(1),
            dimensions: Some(3),
            ..ColumnDescription::default()
        };
        assert_reads_as(wire(255, 4), &point, "point", "utf8mb4");
        assert_reads_as(wire(242, 4), &point, "vector(3)", "utf8mb4");
        assert!(ColumnType::from_log(wire(0, 0), &point).is_err());
    }

    #[test]
    fn characters_and_bytes_differ_by_their_collation() {
        let columns = [
            (wire(15, 80), 45, "varchar(20)", "utf8mb4"),
            (wire(15, 80), 8, "varchar(80)", "latin1"),
            (wire(15, 80), 63, "varbinary(80)", "utf8mb4"),
            (wire(252, 2), 255, "text", "utf8mb4"),
            (wire(252, 4), 63, "longblob", "utf8mb4"),
            (wire(254, 0xfe10), 63, "binary(16)", "utf8mb4"),
            // CHAR(255) of utf8mb4 has 1020 bytes: the two high bits of the length are in the code, inverted.
            (wire(254, 0xcefc), 45, "char(255)", "utf8mb4"),
        ];
        let of = |collation| ColumnDescription {
            collation: Some(collation),
            ..ColumnDescription::default()
        };
        for (wire, collation, printed, charset) in columns {
            assert_reads_as(wire, &of(collation), printed, charset);
        }
        assert!(ColumnType::from_log(wire(15, 80), &of(17)).is_err());
        assert!(ColumnType::from_log(wire(15, 80), &ColumnDescription::default()).is_err());
    }

    #[test]
    fn members_are_in_the_columns_characters() {
        let members = ColumnDescription {
            collation: Some(8),
            members: Some(vec![b"caf\xe9", b"it's", b"\\"]),
            ..ColumnDescription::default()
        };
        assert_reads_as(wire(254, 0xf701), &members, r"enum('café','it''s','\\')", "latin1");
        assert_reads_as(wire(254, 0xf801), &members, r"set('café','it''s','\\')", "latin1");
        assert!(ColumnType::from_log(wire(254, 0xf701), &ColumnDescription::default()).is_err());
    }
}
