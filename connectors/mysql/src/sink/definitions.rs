//! How tables are defined: types for the columns of new tables, wider types for those of old ones.
//!
//! | event | column | in a key |
//! |---|---|---|
//! | boolean | `TINYINT(1)` | the same |
//! | 16, 32, 64 bits; 64 without a sign | `SMALLINT`, `INT`, `BIGINT`; `BIGINT UNSIGNED` | the same |
//! | single, double precision | `FLOAT`, `DOUBLE` | the same |
//! | decimal | `DECIMAL(p,s)`; `DECIMAL(65,30)` where none is declared; text where there are more digits | the same |
//! | money | `DECIMAL(23,4)` | the same |
//! | text | `LONGTEXT` in utf8mb4 | `VARCHAR(255)`, compared byte by byte |
//! | UUID | `CHAR(36)`, compared byte by byte | the same |
//! | enumeration | `VARCHAR(255)`, so that new members need no other type | the same |
//! | JSON, array, map, line, circle, vector | `JSON`; `LONGTEXT` before MySQL 5.7.8 | none |
//! | bytes | `LONGBLOB` | `VARBINARY(255)` |
//! | bits | `BIT(n)`; text where their number varies or is above 64 | the same |
//! | date, time, year | `DATE`, `TIME(p)`, `YEAR` | the same |
//! | timestamp, with a zone or without | `DATETIME(p)`, in UTC: a `TIMESTAMP` ends in 2038 | the same |
//! | time with offset, interval | `VARCHAR(64)` | the same |
//! | point, figure, geometry | `POINT`, `GEOMETRY` | none |
//!
//! Texts of a key are compared byte by byte, because most databases that events come from do so: with another collation two of their rows could
//! be one here. A key has at most 767 bytes of a column in MySQL 5.6, 191 characters of utf8mb4.

use tailrace_core::schema::{Column, TableName};
use tailrace_core::value::{LogicalType, TextKind};
use tailrace_core::{Error, Result};
use tailrace_sql::Syntax;
use tailrace_sql::sink::session::Definitions;

use super::column::split;
use super::literal::ColumnWriter;
use crate::column_type::{ColumnType, IntegerWidth, TypeKind};
use crate::quote::{identifier, literal, qualified};
use crate::server::{Flavour, Identity, Version};

/// Most digits of a DECIMAL, and most behind the point.
const DECIMAL_DIGITS: u32 = 65;
const DECIMAL_SCALE: u32 = 30;
/// Most bits of a BIT.
const BITS: u32 = 64;
/// Characters of a column of a key, and of names and the like.
const KEY_CHARACTERS: usize = 255;
/// What fits into 767 bytes.
const OLD_KEY_CHARACTERS: usize = 191;
/// Characters that a VARCHAR may have beside other columns; a row has 65 535 bytes of them.
const VARCHAR_CHARACTERS: usize = 4_000;

/// From here on there is a type for JSON, and indexes of 3072 bytes.
const JSON: Version = Version::new(5, 7, 8);
/// From here on there is a collation of utf8mb4 that compares spaces at the end as well.
const NO_PAD: Version = Version::new(8, 0, 17);

/// The types of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MySqlDefinitions {
    /// For JSON documents.
    json: &'static str,
    /// Compares byte by byte.
    collation: &'static str,
    /// Characters of a column of a key.
    key_characters: usize,
}

static MYSQL_56: MySqlDefinitions = MySqlDefinitions {
    json: "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    collation: "utf8mb4_bin",
    key_characters: OLD_KEY_CHARACTERS,
};
static MYSQL_57: MySqlDefinitions = MySqlDefinitions {
    json: "JSON",
    collation: "utf8mb4_bin",
    key_characters: KEY_CHARACTERS,
};
static MYSQL_80: MySqlDefinitions = MySqlDefinitions {
    json: "JSON",
    collation: "utf8mb4_0900_bin",
    key_characters: KEY_CHARACTERS,
};
static MARIADB: MySqlDefinitions = MySqlDefinitions {
    json: "JSON",
    collation: "utf8mb4_nopad_bin",
    key_characters: KEY_CHARACTERS,
};

// === impl MySqlDefinitions ===

impl MySqlDefinitions {
    /// Of this server.
    pub(super) fn of(identity: &Identity) -> &'static Self {
        match identity.flavour {
            Flavour::MariaDb => &MARIADB,
            Flavour::MySql if identity.at_least(Some(NO_PAD), None) => &MYSQL_80,
            Flavour::MySql if identity.at_least(Some(JSON), None) => &MYSQL_57,
            Flavour::MySql => &MYSQL_56,
        }
    }

    fn varchar(&self, characters: usize) -> String {
        format!("VARCHAR({characters}) CHARACTER SET utf8mb4 COLLATE {}", self.collation)
    }

    fn text(&self, is_key: bool) -> String {
        match is_key {
            true => self.varchar(self.key_characters),
            false => "LONGTEXT CHARACTER SET utf8mb4".to_owned(),
        }
    }

    fn text_kind(&self, kind: &TextKind, is_key: bool) -> String {
        match kind {
            TextKind::Json if !is_key => self.json.to_owned(),
            TextKind::Uuid => "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin".to_owned(),
            TextKind::Enum(members) => {
                let longest = members.iter().map(|member| member.chars().count()).max();
                match longest.is_none_or(|longest| longest <= self.key_characters) {
                    true => self.varchar(self.key_characters),
                    false => self.text(is_key),
                }
            }
            _ => self.text(is_key),
        }
    }

    fn bits(&self, column: &Column, length: Option<u32>, is_key: bool) -> String {
        let varies = column.source_type.starts_with("bit varying") || column.source_type.starts_with("varbit");
        match length.filter(|length| *length <= BITS && !varies) {
            Some(length) => format!("BIT({length})"),
            None => self.text(is_key),
        }
    }

    fn decimal(&self, precision: Option<u32>, scale: Option<u32>, is_key: bool) -> String {
        match (precision, scale.unwrap_or_default()) {
            (None, _) => format!("DECIMAL({DECIMAL_DIGITS},{DECIMAL_SCALE})"),
            (Some(precision), scale) if precision <= DECIMAL_DIGITS && scale <= DECIMAL_SCALE && scale <= precision => {
                format!("DECIMAL({precision},{scale})")
            }
            _ => self.text(is_key),
        }
    }
}

impl Syntax for MySqlDefinitions {
    fn identifier(&self, name: &str) -> String {
        identifier(name)
    }

    fn table(&self, name: &TableName) -> String {
        match name.schema.is_empty() {
            true => identifier(&name.table),
            false => qualified(&name.schema, &name.table),
        }
    }
}

impl Definitions for MySqlDefinitions {
    fn column_type(&self, column: &Column, is_key: bool) -> Option<String> {
        Some(match &column.logical_type {
            LogicalType::Boolean => "TINYINT(1)".to_owned(),
            LogicalType::Int16 => "SMALLINT".to_owned(),
            LogicalType::Int32 => "INT".to_owned(),
            LogicalType::Int64 => "BIGINT".to_owned(),
            LogicalType::UnsignedInt64 => "BIGINT UNSIGNED".to_owned(),
            LogicalType::Float32 => "FLOAT".to_owned(),
            LogicalType::Float64 => "DOUBLE".to_owned(),
            LogicalType::Decimal { precision, scale } => self.decimal(*precision, *scale, is_key),
            LogicalType::Money => "DECIMAL(23,4)".to_owned(),
            LogicalType::Text(kind) => self.text_kind(kind, is_key),
            LogicalType::Bytes if is_key => format!("VARBINARY({})", self.key_characters),
            LogicalType::Bytes => "LONGBLOB".to_owned(),
            LogicalType::Bits { length } => self.bits(column, *length, is_key),
            LogicalType::Year => "YEAR".to_owned(),
            LogicalType::Date => "DATE".to_owned(),
            LogicalType::Time { precision } => format!("TIME({precision})"),
            LogicalType::Timestamp { precision } | LogicalType::TimestampTz { precision } => {
                format!("DATETIME({precision})")
            }
            LogicalType::TimeTz { .. } | LogicalType::Interval => {
                "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin".to_owned()
            }
            _ if is_key => return None,
            LogicalType::Array(_)
            | LogicalType::Map
            | LogicalType::Line
            | LogicalType::Circle
            | LogicalType::FloatVector
            | LogicalType::DoubleVector
            | LogicalType::SparseVector => self.json.to_owned(),
            LogicalType::Point => "POINT".to_owned(),
            LogicalType::Shape(_) | LogicalType::Geometry | LogicalType::Geography => "GEOMETRY".to_owned(),
        })
    }

    fn wider_type(&self, present: &Column, event: &Column) -> Result<Option<String>> {
        let (column_type, characters) = split(&present.source_type);
        let charset = characters.map(|(charset, _)| charset);
        let known = ColumnType::parse(column_type, charset.or(Some("utf8mb4")))
            .map_err(|error| Error::definite("column_type", format!("column {}: {error}", present.name)))?;
        let wider = match &known.kind {
            TypeKind::Integer { width, unsigned } => wider_integer((*width, *unsigned), &event.logical_type),
            TypeKind::Decimal { precision, scale } => wider_decimal((*precision, *scale), &event.logical_type),
            TypeKind::Float { .. } => match event.logical_type {
                LogicalType::Float64 | LogicalType::Int32 => Width::Wider("DOUBLE".to_owned()),
                _ => number_or_never(&event.logical_type),
            },
            TypeKind::Double => number_or_never(&event.logical_type),
            TypeKind::Date => match event.logical_type {
                LogicalType::Timestamp { precision } | LogicalType::TimestampTz { precision } => {
                    Width::Wider(format!("DATETIME({precision})"))
                }
                LogicalType::Date | LogicalType::Text(_) => Width::Holds,
                _ => Width::Never,
            },
            TypeKind::Time { precision } => wider_fraction("TIME", *precision, &event.logical_type),
            TypeKind::DateTime { precision } => wider_fraction("DATETIME", *precision, &event.logical_type),
            TypeKind::Timestamp { precision } => wider_fraction("TIMESTAMP", *precision, &event.logical_type),
            TypeKind::Text { .. } => wider_text(column_type, characters, event),
            TypeKind::FixedBytes { .. } | TypeKind::Bytes => wider_bytes(column_type, &event.logical_type),
            // What they cannot hold, no other type of theirs can.
            _ => Width::Holds,
        };
        match wider {
            Width::Holds => Ok(None),
            Width::Wider(wider) => Ok(Some(wider + &attributes(present)?)),
            Width::Never => Err(Error::definite(
                "column_narrow",
                format!(
                    "column {} is {}, and no type is wider that would hold the events' {:?} as well; give the column another type by hand, or \
                     cast the event's: `transforms: [{{ cast: {{ {}: text }} }}]`, with the type that the column is to hold",
                    present.name, present.source_type, event.logical_type, event.name
                ),
            )),
        }
    }

    fn retype(&self, table: &TableName, column: &str, column_type: &str, nullable: bool) -> String {
        let null = if nullable { "NULL" } else { "NOT NULL" };
        format!(
            "ALTER TABLE {} MODIFY COLUMN {} {column_type} {null}",
            self.table(table),
            identifier(column)
        )
    }

    fn table_name(&self, written: &str) -> TableName {
        let (schema, table) = written.split_once('.').unwrap_or(("", written));
        TableName {
            database: String::new(),
            schema: schema.to_owned(),
            table: table.to_owned(),
        }
    }
}

/// What a column can do for values of an event's column.
#[derive(Debug, PartialEq, Eq)]
enum Width {
    /// It holds them, or the values that it does not hold are errors of their own.
    Holds,
    /// It would in this type.
    Wider(String),
    /// It would in no type.
    Never,
}

/// Digits of the largest whole number.
fn whole_digits(logical_type: &LogicalType) -> Option<u32> {
    Some(match logical_type {
        LogicalType::Boolean => 1,
        LogicalType::Year => 4,
        LogicalType::Int16 => 5,
        LogicalType::Int32 => 10,
        LogicalType::Int64 => 19,
        LogicalType::UnsignedInt64 => 20,
        _ => return None,
    })
}

fn number_or_never(logical_type: &LogicalType) -> Width {
    let is_number = whole_digits(logical_type).is_some()
        || matches!(
            logical_type,
            LogicalType::Float32
                | LogicalType::Float64
                | LogicalType::Decimal { .. }
                | LogicalType::Money
                | LogicalType::Text(_)
        );
    match is_number {
        true => Width::Holds,
        false => Width::Never,
    }
}

fn wider_integer((width, unsigned): (IntegerWidth, bool), event: &LogicalType) -> Width {
    // Bits of the largest value, and whether there are negative ones.
    let present_bits = match width {
        IntegerWidth::Tiny => 8,
        IntegerWidth::Small => 16,
        IntegerWidth::Medium => 24,
        IntegerWidth::Regular => 32,
        IntegerWidth::Big => 64,
    } - u32::from(!unsigned);
    let (event_bits, event_signed) = match event {
        LogicalType::Boolean => (1, false),
        LogicalType::Int16 => (15, true),
        LogicalType::Int32 => (31, true),
        LogicalType::Int64 => (63, true),
        LogicalType::UnsignedInt64 => (64, false),
        LogicalType::Decimal {
            precision: Some(precision),
            scale,
        } => {
            let digits = if present_bits > 63 { 20 } else { 19 };
            return joined_decimal((digits, 0), (*precision, scale.unwrap_or_default()));
        }
        LogicalType::Float32 | LogicalType::Float64 if present_bits <= 32 => {
            return Width::Wider("DOUBLE".to_owned());
        }
        LogicalType::Float32 | LogicalType::Float64 => return Width::Never,
        other => return number_or_never(other),
    };
    if event_bits <= present_bits && !(unsigned && event_signed) {
        return Width::Holds;
    }
    let signed = !unsigned || event_signed;
    Width::Wider(
        match (event_bits.max(present_bits), signed) {
            (..=15, true) => "SMALLINT",
            (16..=31, true) => "INT",
            (32..=63, true) => "BIGINT",
            (_, true) => "DECIMAL(20,0)",
            (_, false) => "BIGINT UNSIGNED",
        }
        .to_owned(),
    )
}

fn wider_decimal((precision, scale): (u8, u8), event: &LogicalType) -> Width {
    let present = (u32::from(precision), u32::from(scale));
    match (event, whole_digits(event)) {
        (_, Some(digits)) => joined_decimal(present, (digits, 0)),
        (
            LogicalType::Decimal {
                precision: Some(precision),
                scale,
            },
            None,
        ) => joined_decimal(present, (*precision, scale.unwrap_or_default())),
        (other, None) => number_or_never(other),
    }
}

/// The DECIMAL that has the digits of both.
fn joined_decimal(present: (u32, u32), event: (u32, u32)) -> Width {
    let scale = present.1.max(event.1);
    let whole = present.0.saturating_sub(present.1).max(event.0.saturating_sub(event.1));
    match whole + scale {
        precision if (precision, scale) == present => Width::Holds,
        precision if precision <= DECIMAL_DIGITS && scale <= DECIMAL_SCALE => {
            Width::Wider(format!("DECIMAL({precision},{scale})"))
        }
        _ => Width::Never,
    }
}

fn wider_fraction(name: &str, present: u8, event: &LogicalType) -> Width {
    let precision = match event {
        LogicalType::Timestamp { precision } | LogicalType::TimestampTz { precision } if name != "TIME" => *precision,
        LogicalType::Time { precision } if name == "TIME" => *precision,
        LogicalType::Date if name != "TIME" => 0,
        LogicalType::Text(_) => 0,
        _ => return Width::Never,
    };
    match precision > present {
        true => Width::Wider(format!("{name}({precision})")),
        false => Width::Holds,
    }
}

/// A length is only known of events whose column has one by its declaration.
fn wider_text(column_type: &str, characters: Option<(&str, &str)>, event: &Column) -> Width {
    if matches!(event.logical_type, LogicalType::Bytes) {
        return Width::Never;
    }
    let suffix = characters.map_or_else(String::new, |(charset, collation)| {
        format!(
            " CHARACTER SET {charset} COLLATE {}",
            collation.split(' ').next().unwrap_or(collation)
        )
    });
    let is_limited = column_type.contains("char");
    let declared = declared_length(column_type).filter(|_| is_limited);
    let needed = declared_length(&event.source_type).filter(|_| event.source_type.contains("char"));
    match (declared, needed) {
        (Some(declared), Some(needed)) if needed <= declared => Width::Holds,
        (Some(_), Some(needed)) if needed <= VARCHAR_CHARACTERS => Width::Wider(format!("VARCHAR({needed}){suffix}")),
        (Some(_), Some(_)) => Width::Wider(format!("LONGTEXT{suffix}")),
        _ => Width::Holds,
    }
}

fn wider_bytes(column_type: &str, event: &LogicalType) -> Width {
    match event {
        LogicalType::Bytes
            if column_type.eq_ignore_ascii_case("tinyblob") || column_type.eq_ignore_ascii_case("blob") =>
        {
            Width::Wider("LONGBLOB".to_owned())
        }
        LogicalType::Bytes | LogicalType::Text(_) | LogicalType::Geometry | LogicalType::Geography => Width::Holds,
        _ => Width::Never,
    }
}

fn declared_length(declared: &str) -> Option<usize> {
    let (_, rest) = declared.split_once('(')?;
    rest.split_once(')')?.0.trim().parse().ok()
}

/// What else is said of a column, which a new type would take away from it.
fn attributes(column: &Column) -> Result<String> {
    if column.source_type.ends_with(COMPUTED_DEFAULT) {
        let message = format!(
            "column {} has a default that is computed, or changes with each update, and needs a wider type; alter it by hand",
            column.name
        );
        return Err(Error::definite("column_narrow", message));
    }
    let mut attributes = String::new();
    if let Some(default) = &column.default {
        attributes.push_str(" DEFAULT ");
        ColumnWriter::new(column, &column.logical_type)?.write(default.as_scalar(), &mut attributes)?;
    }
    if column.source_type.ends_with(AUTO_INCREMENT) {
        attributes.push_str(AUTO_INCREMENT);
    }
    if let Some(comment) = &column.documentation {
        attributes.push_str(&format!(" COMMENT {}", literal(comment)));
    }
    Ok(attributes)
}

/// How a `source_type` of the sink ends, of a column that the server numbers.
pub(super) const AUTO_INCREMENT: &str = " AUTO_INCREMENT";
/// How it ends where the default is an expression.
pub(super) const COMPUTED_DEFAULT: &str = " DEFAULT COMPUTED";

#[cfg(test)]
mod tests;
