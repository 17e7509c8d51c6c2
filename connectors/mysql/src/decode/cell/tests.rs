//! Every type from its bytes in the log and from a query's text, to the identical cell.

mod agree;
mod bytes;
mod numbers;
mod temporal;

use tailrace_core::position::{Position, Progress};
use tailrace_core::value::Datum;

use super::*;
use crate::column_type::{ColumnType, InvalidDates, TypePolicy};
use crate::decode::WireColumn;
use crate::table::ColumnDefinition;

const POLICIES: [InvalidDates; 3] = [InvalidDates::NullOrEpoch, InvalidDates::Text, InvalidDates::Halt];

fn column(column_type: &str, charset: &str, nullable: bool) -> ColumnDefinition {
    ColumnDefinition {
        name: "c".to_owned(),
        column_type: ColumnType::parse(column_type, Some(charset)).unwrap(),
        nullable,
        default: None,
        generated: false,
        documentation: None,
    }
}

fn policy(invalid_dates: InvalidDates) -> TypePolicy {
    TypePolicy { invalid_dates }
}

fn pushed(push: impl FnOnce(&mut ChangeBatch) -> Result<()>) -> Result<Datum> {
    let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    push(&mut batch)?;
    let row = batch.end_row().unwrap();
    assert_eq!(batch.row(row).len(), 1);
    Ok(batch.row(row).get(0).to_datum().unwrap())
}

fn decoder(column: &ColumnDefinition, (type_code, metadata): (u8, u16), policy: &TypePolicy) -> CellDecoder {
    CellDecoder::new(WireColumn { type_code, metadata }, column, policy).unwrap()
}

/// Reads the bytes; they must be read to their end, and every one of their truncations must be an error.
fn logged(decoder: &CellDecoder, bytes: &[u8]) -> Result<Datum> {
    for end in 0..bytes.len() {
        let mut reader = Reader::new("test", &bytes[..end]);
        assert!(
            pushed(|batch| decoder.decode(&mut reader, batch)).is_err(),
            "cut at {end}"
        );
        assert!(decoder.stored(&mut Reader::new("test", &bytes[..end])).is_err());
    }
    let mut reader = Reader::new("test", bytes);
    decoder.stored(&mut reader).unwrap();
    assert!(reader.is_empty());
    let mut reader = Reader::new("test", bytes);
    let datum = pushed(|batch| decoder.decode(&mut reader, batch))?;
    assert!(reader.is_empty());
    Ok(datum)
}

fn queried(column: &ColumnDefinition, text: &[u8], policy: &TypePolicy) -> Result<Datum> {
    let decoder = TextDecoder::new(column, policy);
    pushed(|batch| decoder.decode(Some(text), batch))
}

/// The bytes of the log and the text of a query are the same value.
fn assert_value(column_type: &str, wire: (u8, u16), bytes: &[u8], text: &[u8], expected: &Datum) {
    assert_value_in(("utf8mb4", column_type), wire, bytes, text, expected);
}

fn assert_value_in(column_in: (&str, &str), wire: (u8, u16), bytes: &[u8], text: &[u8], expected: &Datum) {
    let (charset, column_type) = column_in;
    let column = column(column_type, charset, false);
    let policy = TypePolicy::default();
    let found = logged(&decoder(&column, wire, &policy), bytes);
    assert_eq!(found.as_ref(), Ok(expected), "{column_type} from the log");
    let found = queried(&column, text, &policy);
    assert_eq!(found.as_ref(), Ok(expected), "{column_type} from text");
}

fn int(value: i64) -> Datum {
    Datum::Int(value)
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

#[test]
fn a_column_that_is_not_written_so_is_refused() {
    let refused = [
        ("int", (8, 0)),
        ("decimal(10,2)", (246, 0x0a03)),
        ("time(3)", (19, 2)),
        ("datetime(3)", (12, 0)),
        ("bit(9)", (16, 0x0100)),
        ("varchar(20)", (3, 0)),
        ("enum('a')", (254, 0xfe04)),
        ("set('a')", (254, 0xf701)),
        ("binary(4)", (254, 0xfe05)),
        ("json", (252, 4)),
        ("uuid", (254, 0xfe04)),
    ];
    for (column_type, (type_code, metadata)) in refused {
        let column = column(column_type, "utf8mb4", false);
        let decoder = CellDecoder::new(WireColumn { type_code, metadata }, &column, &TypePolicy::default());
        assert!(decoder.is_err(), "{column_type}");
    }
}

#[test]
fn null_is_null_in_every_type() {
    for column_type in ["int", "decimal(5,2)", "date", "text", "json", "point", "bit(3)"] {
        let decoder = TextDecoder::new(&column(column_type, "utf8mb4", true), &TypePolicy::default());
        assert_eq!(pushed(|batch| decoder.decode(None, batch)), Ok(Datum::Null));
    }
}
