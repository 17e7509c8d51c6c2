//! What the metadata of a column in the log says.

use crate::decode::column_code::{
    BIT, BLOB, BLOB_COMPRESSED, DATE, DATETIME, DATETIME2, DECIMAL, DOUBLE, ENUM, FLOAT, GEOMETRY, INT24, JSON, LONG,
    LONGLONG, NEWDATE, NEWDECIMAL, SET, SHORT, STRING, TIME, TIME2, TIMESTAMP, TIMESTAMP2, TINY, TINY_BLOB, VAR_STRING,
    VARCHAR, VARCHAR_COMPRESSED, VECTOR, YEAR,
};
use crate::decode::table_map::WireColumn;

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
        DECIMAL => "DECIMAL as before MySQL 5.0",
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
