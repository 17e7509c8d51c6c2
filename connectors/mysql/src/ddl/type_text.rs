//! Types of statements in the words of the catalogue, so that a column has one type whichever way it became known.

use super::SqlContext;
use super::clause::{ColumnSpec, TypeText};
use super::cursor::{NotUnderstood, Read};
use super::{ORACLE, REAL_AS_FLOAT};
use crate::charset::Charset;
use crate::column_type::{ColumnType, TypeError, TypeKind};
use crate::server::{Flavour, Version};
use crate::table::ColumnDefault;

/// Since this version the catalogue prints no widths of integers.
const WITHOUT_WIDTHS: Version = Version::new(8, 0, 19);
/// Since this version it says `geomcollection`.
const SHORT_COLLECTION: Version = Version::new(8, 0, 11);
/// From this many binary digits on, FLOAT(p) is a DOUBLE.
const DOUBLE_DIGITS: u32 = 25;
/// Numbers in a VECTOR without any declared.
const VECTOR_LENGTH: u32 = 2048;
/// Longest VARCHAR and VARBINARY, bytes.
const VARIABLE_MAX_BYTES: u64 = 65_535;
/// Sizes of the TEXT and BLOB types in bytes, with what stands before their names.
const LARGE_SIZES: [(u64, &str); 4] = [(255, "tiny"), (65_535, ""), (16_777_215, "medium"), (u64::MAX, "long")];

/// The type of a column whose characters, where it has any and names no set of its own, are in `table_charset`.
pub(super) fn column_type(
    column: &ColumnSpec,
    table_charset: Option<Charset>,
    context: &SqlContext<'_>,
) -> Read<ColumnType> {
    let written = &column.type_text;
    let is_json_text = written.name == "json" && context.flavour == Flavour::MariaDb;
    let charset = if is_json_text {
        Some(Charset::Utf8mb4)
    } else {
        column.charset.or(table_charset)
    };
    let spelled = oracle_name(written, context).unwrap_or(written.name.as_str());
    let name = if is_json_text {
        "longtext".to_owned()
    } else {
        catalogue_name(spelled, context)?
    };
    let name = charset
        .filter(|charset| *charset == Charset::Binary)
        .and_then(|_| binary_name(&name))
        .unwrap_or(name);
    let mut numbers = written.numbers.clone();
    if matches!(written.name.as_str(), "bool" | "boolean") {
        numbers = vec![1];
    }
    let printed = print(&name, &numbers, written, charset, context);
    parse(&printed, charset)
}

fn parse(printed: &str, charset: Option<Charset>) -> Read<ColumnType> {
    ColumnType::parse(printed, charset.map(Charset::name)).map_err(|error| match error {
        TypeError::NoCharset(_) => {
            NotUnderstood("it names no character set, and that of its table is not known".to_owned())
        }
        other => NotUnderstood(other.to_string()),
    })
}

/// What a column becomes that is converted to another character set; `None` where it has no characters. `holds_values` where
/// there are some that still have to fit.
pub(super) fn converted(column_type: &ColumnType, to: Charset, holds_values: bool) -> Option<Read<ColumnType>> {
    let from = match &column_type.kind {
        TypeKind::Text { charset } | TypeKind::Enum { charset, .. } | TypeKind::Set { charset, .. } => *charset,
        _ => return None,
    };
    if from == Charset::Binary {
        return None;
    }
    let printed = column_type.source_type();
    let (name, arguments) = printed.split_at_checked(printed.find('(').unwrap_or(printed.len()))?;
    // A text that was full still has to fit.
    let grown = match name {
        "tinytext" => "text",
        "text" => "mediumtext",
        "mediumtext" => "longtext",
        other => other,
    };
    let grows = holds_values && to.character_max_bytes() > from.character_max_bytes();
    let name = if grows { grown } else { name };
    let name = (to == Charset::Binary)
        .then(|| binary_name(name))
        .flatten()
        .unwrap_or_else(|| name.to_owned());
    Some(parse(&format!("{name}{arguments}"), Some(to)))
}

/// MariaDB's names of types under `sql_mode=ORACLE`.
fn oracle_name(written: &TypeText, context: &SqlContext<'_>) -> Option<&'static str> {
    if context.flavour != Flavour::MariaDb || !context.has_mode(ORACLE) {
        return None;
    }
    match written.name.as_str() {
        "date" => Some("datetime"),
        "blob" => Some("longblob"),
        "number" if written.numbers.is_empty() => Some("double"),
        _ => None,
    }
}

/// The catalogue's one name of a type.
fn catalogue_name(spelled: &str, context: &SqlContext<'_>) -> Read<String> {
    match spelled {
        "real" if context.has_mode(REAL_AS_FLOAT) => return Ok("float".to_owned()),
        // They cannot be parsed without their members.
        "enum" | "set" => return Ok(spelled.to_owned()),
        "geometrycollection" | "geomcollection" if context.flavour == Flavour::MySql => {
            let is_short = context.version >= SHORT_COLLECTION;
            return Ok(if is_short {
                "geomcollection"
            } else {
                "geometrycollection"
            }
            .to_owned());
        }
        _ => {}
    }
    let parsed = parse(spelled, Some(Charset::Utf8mb4))?;
    let printed = parsed.source_type();
    let end = printed.find(['(', ' ']).unwrap_or(printed.len());
    Ok(printed.get(..end).unwrap_or(printed).to_owned())
}

/// What a type of characters is called when they are bytes.
fn binary_name(name: &str) -> Option<String> {
    match name {
        "char" => Some("binary".to_owned()),
        "varchar" => Some("varbinary".to_owned()),
        other => other.strip_suffix("text").map(|size| format!("{size}blob")),
    }
}

fn print(
    name: &str,
    numbers: &[u32],
    written: &TypeText,
    charset: Option<Charset>,
    context: &SqlContext<'_>,
) -> String {
    let first = numbers.first().copied();
    let mut text = match (name, first) {
        ("tinyint" | "smallint" | "mediumint" | "int" | "bigint", _) => integer(name, first, written, context),
        ("year", _) if prints_widths(context) => "year(4)".to_owned(),
        ("year", _) => "year".to_owned(),
        ("decimal", _) => {
            let precision = first.filter(|precision| *precision > 0).unwrap_or(10);
            format!("decimal({precision},{})", numbers.get(1).copied().unwrap_or_default())
        }
        ("float" | "double", Some(digits)) => match numbers.get(1) {
            Some(scale) => format!("{name}({digits},{scale})"),
            None if digits >= DOUBLE_DIGITS => "double".to_owned(),
            None => name.to_owned(),
        },
        ("bit" | "char" | "binary", _) => format!("{name}({})", first.unwrap_or(1)),
        ("varchar" | "varbinary", Some(length)) => variable(name, length, charset),
        ("text" | "blob", Some(length)) => large(name, u64::from(length) * character_bytes(name, charset)),
        ("time" | "datetime" | "timestamp", None | Some(0)) => name.to_owned(),
        ("vector", _) => format!("vector({})", first.unwrap_or(VECTOR_LENGTH)),
        ("enum" | "set", _) => format!("{name}({})", quoted_members(&written.members)),
        (_, Some(number)) => format!("{name}({number})"),
        (_, None) => name.to_owned(),
    };
    if written.unsigned {
        text.push_str(" unsigned");
    }
    if written.zerofill {
        text.push_str(" zerofill");
    }
    text
}

fn prints_widths(context: &SqlContext<'_>) -> bool {
    context.flavour == Flavour::MariaDb || context.version < WITHOUT_WIDTHS
}

fn integer(name: &str, width: Option<u32>, written: &TypeText, context: &SqlContext<'_>) -> String {
    let is_flag = name == "tinyint" && width == Some(1) && !written.unsigned;
    if !prints_widths(context) && !written.zerofill && !is_flag {
        return name.to_owned();
    }
    // As wide as the widest number, with its sign; a BIGINT is 20 either way.
    let (signed, unsigned) = match name {
        "tinyint" => (4, 3),
        "smallint" => (6, 5),
        "mediumint" => (9, 8),
        "int" => (11, 10),
        _ => (20, 20),
    };
    let default = if written.unsigned { unsigned } else { signed };
    format!("{name}({})", width.unwrap_or(default))
}

fn character_bytes(name: &str, charset: Option<Charset>) -> u64 {
    if name.ends_with("blob") || name == "varbinary" {
        return 1;
    }
    charset.map_or(1, |charset| u64::from(charset.character_max_bytes()))
}

/// Too long a VARCHAR becomes a TEXT where the mode is not strict.
fn variable(name: &str, length: u32, charset: Option<Charset>) -> String {
    let bytes = u64::from(length) * character_bytes(name, charset);
    if bytes <= VARIABLE_MAX_BYTES {
        return format!("{name}({length})");
    }
    large(if name == "varchar" { "text" } else { "blob" }, bytes)
}

/// The smallest type that holds so many bytes.
fn large(name: &str, bytes: u64) -> String {
    let size = LARGE_SIZES.iter().find(|(limit, _)| bytes <= *limit);
    format!("{}{name}", size.map_or("long", |(_, size)| size))
}

/// Members as the catalogue prints them; the server cuts spaces off their ends.
fn quoted_members(members: &[String]) -> String {
    let mut text = String::new();
    for member in members {
        if !text.is_empty() {
            text.push(',');
        }
        text.push('\'');
        for character in member.trim_end_matches(' ').chars() {
            match character {
                '\'' => text.push_str("''"),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\0' => text.push_str("\\0"),
                other => text.push(other),
            }
        }
        text.push('\'');
    }
    text
}

/// A default as the catalogue prints it for a column of this type.
pub(super) fn printed_default(default: ColumnDefault, kind: &TypeKind) -> ColumnDefault {
    let ColumnDefault::Constant(text) = default else {
        return default;
    };
    ColumnDefault::Constant(match kind {
        TypeKind::Date if is_zero(&text) => "0000-00-00".to_owned(),
        TypeKind::DateTime { precision } | TypeKind::Timestamp { precision } => moment(&text, *precision),
        TypeKind::Bit { .. } if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse::<u64>().map_or(text, |number| format!("b'{number:b}'"))
        }
        _ => text,
    })
}

fn is_zero(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'0')
}

/// `2024-01-31` with the time and the fraction that the column has.
fn moment(text: &str, precision: u8) -> String {
    const DATE: usize = "0000-00-00".len();
    const SECONDS: usize = "0000-00-00 00:00:00".len();
    let mut moment = if is_zero(text) {
        "0000-00-00".to_owned()
    } else {
        text.to_owned()
    };
    if moment.len() == DATE {
        moment.push_str(" 00:00:00");
    }
    if moment.len() == SECONDS && precision > 0 {
        moment.push('.');
        moment.push_str(&"0".repeat(usize::from(precision)));
    }
    moment
}
