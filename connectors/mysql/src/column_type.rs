//! What a column means: its type as the catalogue prints it and as the log describes it.
//!
//! A type is known from one of three places, and each of them knows something that the others do not:
//!
//! | from | knows | does not know |
//! |---|---|---|
//! | the catalogue, `COLUMN_TYPE` ([`ColumnType::parse`]) | everything, as it is now | how it was when an older event was written |
//! | a `TABLE_MAP` with full metadata ([`ColumnType::from_log`]) | signs, character sets, members, as they were | `FLOAT(7,3)`, zero filling, MariaDB's `UUID`, `INET4`, `INET6`, `VECTOR` |
//! | a `TABLE_MAP` without it | how long the bytes are | what they mean |
//!
//! So a definition comes from the catalogue where it can be had, from the log where it is the only witness, and the two are
//! compared before a row is decoded (`TableDefinition::agrees_with`).

mod logged;
mod parse;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tailrace_core::value::{LogicalType, TextKind};

use crate::charset::Charset;
use crate::decode::{ColumnDescription, WireColumn};

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnType {
    /// What its values are.
    pub(crate) kind: TypeKind,
    /// As the catalogue prints it: `int(10) unsigned zerofill`.
    source_type: String,
}

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TypeKind {
    /// `TINYINT` to `BIGINT`
    Integer {
        /// Bytes that it takes.
        width: IntegerWidth,
        /// Without negative numbers, so that the positive ones reach twice as far.
        unsigned: bool,
    },
    /// `DECIMAL`
    Decimal {
        /// Digits in all, 1 to 65.
        precision: u8,
        /// Digits after the point, 0 to 30.
        scale: u8,
    },
    /// `FLOAT`
    Float {
        /// Declared as `FLOAT(M,D)`: single precision in the table, published as double, as Debezium does.
        widened: bool,
    },
    /// `DOUBLE`
    Double,
    /// `BIT`
    Bit {
        /// Number of bits, 1 to 64.
        length: u8,
    },
    /// `YEAR`
    Year,
    /// `DATE`
    Date,
    /// `TIME`
    Time {
        /// Fraction digits, 0 to 6.
        precision: u8,
    },
    /// `DATETIME`
    DateTime {
        /// Fraction digits, 0 to 6.
        precision: u8,
    },
    /// `TIMESTAMP`
    Timestamp {
        /// Fraction digits, 0 to 6.
        precision: u8,
    },
    /// `CHAR`, `VARCHAR`, the four `TEXT`s
    Text {
        /// What its bytes stand for.
        charset: Charset,
    },
    /// `BINARY`: always as long as it is declared, although the log leaves the zeros at its end away.
    FixedBytes {
        /// Bytes.
        length: u8,
    },
    /// `VARBINARY`, the four `BLOB`s
    Bytes,
    /// `ENUM`
    Enum {
        /// In the order of their numbers, which begin at 1.
        members: Arc<[String]>,
        /// What the bytes of its text form stand for.
        charset: Charset,
    },
    /// `SET`
    Set {
        /// In the order of their bits.
        members: Arc<[String]>,
        /// What the bytes of its text form stand for.
        charset: Charset,
    },
    /// MySQL's `JSON`. MariaDB's is a `LONGTEXT`.
    Json,
    /// `POINT`
    Point,
    /// `GEOMETRY` and the others
    Geometry,
    /// `VECTOR`: single precision numbers
    Vector,
    /// MariaDB's `UUID`
    Uuid,
    /// MariaDB's `INET4`
    Inet4,
    /// MariaDB's `INET6`
    Inet6,
}

/// Bytes that an integer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntegerWidth {
    /// `TINYINT`: 1
    Tiny,
    /// `SMALLINT`: 2
    Small,
    /// `MEDIUMINT`: 3
    Medium,
    /// `INT`: 4
    Regular,
    /// `BIGINT`: 8
    Big,
}

/// What becomes of a date that no calendar has: `0000-00-00`, `2023-02-31`, `2023-00-15`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvalidDates {
    /// NULL where the column may be NULL, else 1970-01-01. What Debezium does.
    #[default]
    NullOrEpoch,
    /// Columns of type DATE, DATETIME and TIMESTAMP are published as text, in the database's own form, all their values.
    Text,
    /// The connector halts and names the table, the column and the position.
    Halt,
}

/// What an operator has decided about types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TypePolicy {
    /// What becomes of dates that no calendar has.
    pub(crate) invalid_dates: InvalidDates,
}

/// Why a type cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TypeError {
    /// No type that is known here.
    #[error(
        "the type `{0}` is not known to this release; leave the column out with `exclude_columns` or tell the authors"
    )]
    Unknown(String),
    /// A known type with arguments that it cannot have.
    #[error("the type `{0}` is not in the form that the catalogue prints")]
    Malformed(String),
    /// Characters in a set that is not known here.
    #[error("the character set `{0}` is not known to this release; convert the column to utf8mb4")]
    UnknownCharset(String),
    /// Characters without a set.
    #[error(
        "a column of type `{0}` has no character set in the catalogue; grant SELECT on the table so that it is shown"
    )]
    NoCharset(String),
    /// A collation's number that is not known here.
    #[error("the collation with the number {0} is not known to this release; convert the column to utf8mb4")]
    UnknownCollation(u32),
    /// A column type of the log that is not known here.
    #[error("the log has a column of type {0}, which is not known to this release")]
    UnknownCode(u8),
}

// === impl ColumnType ===

impl ColumnType {
    /// The type that `information_schema.COLUMNS` describes: `COLUMN_TYPE` and `CHARACTER_SET_NAME`. Other spellings of
    /// statements (`INTEGER`, `NUMERIC(5)`, `BOOL`) are understood as well, and `charset` is then the column's, the table's
    /// or the schema's own.
    ///
    /// # Errors
    ///
    /// A type or a character set that is not known.
    pub(crate) fn parse(column_type: &str, charset: Option<&str>) -> Result<Self, TypeError> {
        parse::parse(column_type, charset)
    }

    /// The type that a `TABLE_MAP` with full metadata describes.
    ///
    /// # Errors
    ///
    /// A type or a collation that is not known.
    pub(crate) fn from_log(wire: WireColumn, column: &ColumnDescription<'_>) -> Result<Self, TypeError> {
        logged::from_log(wire, column)
    }

    /// A type in the words of the catalogue.
    fn new(kind: TypeKind, source_type: impl Into<String>) -> Self {
        let source_type = source_type.into();
        Self { kind, source_type }
    }

    /// The type as the catalogue prints it; where only the log is known, as a server of today would print it.
    pub(crate) fn source_type(&self) -> &str {
        &self.source_type
    }

    /// What the values mean, in the terms that all databases share.
    pub(crate) fn logical_type(&self, policy: &TypePolicy) -> LogicalType {
        let moment = |logical_type| match policy.invalid_dates {
            InvalidDates::Text => LogicalType::Text(TextKind::Plain),
            InvalidDates::NullOrEpoch | InvalidDates::Halt => logical_type,
        };
        match &self.kind {
            TypeKind::Integer { width, unsigned } => width.logical_type(*unsigned),
            TypeKind::Decimal { precision, scale } => LogicalType::Decimal {
                precision: Some(u32::from(*precision)),
                scale: Some(u32::from(*scale)),
            },
            TypeKind::Float { widened: false } => LogicalType::Float32,
            TypeKind::Float { widened: true } | TypeKind::Double => LogicalType::Float64,
            TypeKind::Bit { length: 1 } => LogicalType::Boolean,
            TypeKind::Bit { length } => LogicalType::Bits {
                length: Some(u32::from(*length)),
            },
            TypeKind::Year => LogicalType::Year,
            TypeKind::Date => moment(LogicalType::Date),
            TypeKind::Time { precision } => LogicalType::Time { precision: *precision },
            TypeKind::DateTime { precision } => moment(LogicalType::Timestamp { precision: *precision }),
            TypeKind::Timestamp { precision } => moment(LogicalType::TimestampTz { precision: *precision }),
            TypeKind::Text { .. } => LogicalType::Text(TextKind::Plain),
            TypeKind::FixedBytes { .. } | TypeKind::Bytes => LogicalType::Bytes,
            TypeKind::Enum { members, .. } => LogicalType::Text(TextKind::Enum(Arc::clone(members))),
            TypeKind::Set { members, .. } => LogicalType::Text(TextKind::Set(Arc::clone(members))),
            TypeKind::Json => LogicalType::Text(TextKind::Json),
            TypeKind::Point => LogicalType::Point,
            TypeKind::Geometry => LogicalType::Geometry,
            TypeKind::Vector => LogicalType::FloatVector,
            TypeKind::Uuid => LogicalType::Text(TextKind::Uuid),
            TypeKind::Inet4 | TypeKind::Inet6 => LogicalType::Text(TextKind::Network),
        }
    }

    /// What to select so that a query's text holds the whole value. `column` is the column's name in backticks. The server
    /// prints a FLOAT with six digits and a FLOAT(M,D) with D decimals, fewer than the log carries; as a product of double
    /// precision it prints all of them.
    pub(crate) fn select_expression(&self, column: &str) -> String {
        match self.kind {
            TypeKind::Float { .. } | TypeKind::Double => format!("({column} * 1e0)"),
            _ => column.to_owned(),
        }
    }
}

// === impl IntegerWidth ===

impl IntegerWidth {
    fn logical_type(self, unsigned: bool) -> LogicalType {
        match (self, unsigned) {
            (Self::Tiny, _) | (Self::Small, false) => LogicalType::Int16,
            (Self::Small, true) | (Self::Medium, _) | (Self::Regular, false) => LogicalType::Int32,
            (Self::Regular, true) | (Self::Big, false) => LogicalType::Int64,
            (Self::Big, true) => LogicalType::UnsignedInt64,
        }
    }

    /// The type's name.
    fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tinyint",
            Self::Small => "smallint",
            Self::Medium => "mediumint",
            Self::Regular => "int",
            Self::Big => "bigint",
        }
    }
}
