//! Column types of the log by their numbers, and what their two bytes of metadata say.
//!
//! Metadata is put together as the server does it: high byte first for STRING, ENUM, SET and NEWDECIMAL; low byte first for
//! VARCHAR and BIT; one byte for the others that have any.

use crate::decode::table_map::WireColumn;

pub(crate) const TINY: u8 = 1;
pub(crate) const SHORT: u8 = 2;
pub(crate) const LONG: u8 = 3;
pub(crate) const FLOAT: u8 = 4;
pub(crate) const DOUBLE: u8 = 5;
pub(crate) const TIMESTAMP: u8 = 7;
pub(crate) const LONGLONG: u8 = 8;
pub(crate) const INT24: u8 = 9;
pub(crate) const DATE: u8 = 10;
pub(crate) const TIME: u8 = 11;
pub(crate) const DATETIME: u8 = 12;
pub(crate) const YEAR: u8 = 13;
pub(crate) const NEWDATE: u8 = 14;
pub(crate) const VARCHAR: u8 = 15;
pub(crate) const BIT: u8 = 16;
pub(crate) const TIMESTAMP2: u8 = 17;
pub(crate) const DATETIME2: u8 = 18;
pub(crate) const TIME2: u8 = 19;
/// MariaDB's compressed columns.
pub(crate) const BLOB_COMPRESSED: u8 = 140;
pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
pub(crate) const VECTOR: u8 = 242;
pub(crate) const JSON: u8 = 245;
pub(crate) const NEWDECIMAL: u8 = 246;
pub(crate) const ENUM: u8 = 247;
pub(crate) const SET: u8 = 248;
pub(crate) const TINY_BLOB: u8 = 249;
pub(crate) const BLOB: u8 = 252;
pub(crate) const VAR_STRING: u8 = 253;
pub(crate) const STRING: u8 = 254;
pub(crate) const GEOMETRY: u8 = 255;

/// The code that a column of code STRING really has (STRING, ENUM or SET), and its length in bytes. A CHAR may be longer than
/// 255 bytes, and the server keeps the two high bits of its length, inverted, in bits 4 and 5 of the code.
pub(crate) fn string_shape(column: WireColumn) -> (u8, u16) {
    let [code, length] = column.metadata.to_be_bytes();
    let length = u16::from(length);
    if column.type_code != STRING {
        return (column.type_code, length);
    }
    if code & 0x30 == 0x30 {
        (code, length)
    } else {
        (code | 0x30, length | u16::from((code & 0x30) ^ 0x30) << 4)
    }
}

/// Bits of a BIT column: its metadata has the bits of the last byte, and whole bytes.
pub(crate) fn bit_length(metadata: u16) -> u8 {
    let [bits, bytes] = metadata.to_le_bytes();
    bytes.saturating_mul(8).saturating_add(bits)
}

/// A column's type as an error names it.
pub(crate) fn name(type_code: u8) -> &'static str {
    match type_code {
        TINY => "TINY",
        SHORT => "SHORT",
        LONG => "LONG",
        FLOAT => "FLOAT",
        DOUBLE => "DOUBLE",
        TIMESTAMP => "TIMESTAMP",
        LONGLONG => "LONGLONG",
        INT24 => "INT24",
        DATE => "DATE",
        TIME => "TIME",
        DATETIME => "DATETIME",
        YEAR => "YEAR",
        NEWDATE => "NEWDATE",
        VARCHAR => "VARCHAR",
        BIT => "BIT",
        TIMESTAMP2 => "TIMESTAMP2",
        DATETIME2 => "DATETIME2",
        TIME2 => "TIME2",
        BLOB_COMPRESSED => "BLOB_COMPRESSED",
        VARCHAR_COMPRESSED => "VARCHAR_COMPRESSED",
        VECTOR => "VECTOR",
        JSON => "JSON",
        NEWDECIMAL => "NEWDECIMAL",
        ENUM => "ENUM",
        SET => "SET",
        TINY_BLOB..=BLOB => "BLOB",
        VAR_STRING => "VAR_STRING",
        STRING => "STRING",
        GEOMETRY => "GEOMETRY",
        _ => "a type that is not known here",
    }
}
