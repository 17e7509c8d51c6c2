use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};
use tailrace_core::value::Datum;

use super::*;
use crate::config::TimestampUnit;
use crate::decode::declared::logical_type;
use crate::decode::{Decoded, Raw, decode};

fn push(batch: &mut ChangeBatch, datum: &Datum) {
    match datum {
        Datum::Boolean(value) => batch.push_boolean(*value),
        Datum::Int(value) => batch.push_int(*value),
        Datum::Float64(value) => batch.push_float64(*value),
        Datum::Text(text) => batch.push_text(text).unwrap(),
        Datum::Bytes(bytes) => batch.push_bytes(bytes).unwrap(),
        Datum::List(list) => {
            batch.begin_list();
            list.iter().for_each(|datum| push(batch, datum));
            batch.end_list().unwrap();
        }
        _ => batch.push_null(),
    }
}

fn column(declared: &str) -> Column {
    Column {
        source_type: declared.to_owned(),
        ..Column::new("c", logical_type(declared))
    }
}

fn stored(declared: &str, source: &LogicalType, datum: &Datum) -> Result<Stored> {
    let mut batch = ChangeBatch::new(Arc::from("t"), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    push(&mut batch, datum);
    let row = batch.end_row().unwrap();
    ColumnWriter::new(&column(declared), source).store(batch.row(row).get(0))
}

fn text(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

const PLAIN: LogicalType = LogicalType::Text(TextKind::Plain);
const JSON: LogicalType = LogicalType::Text(TextKind::Json);
const DECIMAL: LogicalType = LogicalType::Decimal {
    precision: None,
    scale: None,
};
const MOMENT: LogicalType = LogicalType::TimestampTz { precision: 6 };
const TIME: LogicalType = LogicalType::Time { precision: 6 };

/// What is stored is read back by the source as the same value.
#[test]
fn what_is_stored_is_read_as_it_was() {
    for (declared, source, datum) in [
        ("INTEGER", LogicalType::Int64, Datum::Int(i64::MIN)),
        ("REAL", LogicalType::Float64, Datum::Float64(0.1)),
        ("DECIMAL(10,2)", DECIMAL, text("-12.30")),
        ("NUMERIC", DECIMAL, text("123456789.123456")),
        ("BOOLEAN", LogicalType::Boolean, Datum::Boolean(true)),
        ("DATE", LogicalType::Date, Datum::Int(-719_528)),
        ("TIME", TIME, Datum::Int(86_399_999_999)),
        ("DATETIME", MOMENT, Datum::Int(-1)),
        ("TIMESTAMP", MOMENT, Datum::Int(253_402_300_799_999_999)),
        ("TEXT", PLAIN, text("007")),
        ("BLOB", LogicalType::Bytes, Datum::Bytes(vec![0, 255])),
        ("JSON", JSON, text(r#"{"a":[1.50]}"#)),
    ] {
        let stored = stored(declared, &source, &datum).unwrap();
        let raw = match &stored {
            Stored::Integer(value) => Raw::Integer(*value),
            Stored::Real(value) => Raw::Real(*value),
            Stored::Text(text) => Raw::Text(text),
            Stored::Blob(bytes) => Raw::Blob(bytes),
            Stored::Null => Raw::Null,
        };
        let read = decode(raw, &logical_type(declared), TimestampUnit::Seconds).map(Decoded::into_datum);
        assert_eq!(read, Some(datum), "{declared} {stored:?}");
    }
}

#[test]
fn what_would_not_come_back_is_refused() {
    for (declared, source, datum) in [
        ("INTEGER", LogicalType::UnsignedInt64, text("18446744073709551615")),
        ("INTEGER", DECIMAL, text("1.5")),
        ("INTEGER", PLAIN, text("x")),
        ("REAL", LogicalType::Float64, Datum::Float64(f64::NAN)),
        ("REAL", LogicalType::Int64, Datum::Int(i64::MAX)),
        ("DECIMAL(10,2)", DECIMAL, text("0.001")),
        ("NUMERIC", DECIMAL, text("0.12345678901234567890")),
        ("NUMERIC", DECIMAL, text("NaN")),
        ("BOOLEAN", LogicalType::Int64, Datum::Int(2)),
        ("DATE", MOMENT, Datum::Int(1)),
        ("DATE", LogicalType::Date, Datum::Int(i32::MAX.into())),
        ("TIME", MOMENT, Datum::Int(0)),
        ("TEXT", LogicalType::Bytes, Datum::Bytes(vec![1])),
        ("STRING", PLAIN, text("007")),
        ("STRING", PLAIN, text(" 7")),
        ("STRING", PLAIN, text("1e5")),
        ("JSON", JSON, text("0.12345678901234567890")),
    ] {
        let error = stored(declared, &source, &datum).unwrap_err();
        assert_eq!(error.code(), "value_unrepresentable", "{declared} {datum:?}");
    }
}

#[test]
fn other_databases_types_become_text_and_documents() {
    let list = Datum::List(vec![Datum::Int(1), Datum::Null]);
    let array = LogicalType::Array(Box::new(LogicalType::Int32));
    assert_eq!(
        stored("JSON", &array, &list).unwrap(),
        Stored::Text("[1,null]".to_owned())
    );
    assert_eq!(
        stored("TEXT", &array, &list).unwrap(),
        Stored::Text("[1,null]".to_owned())
    );
    assert_eq!(
        stored("STRING", &PLAIN, &text("7")).unwrap(),
        Stored::Text("7".to_owned())
    );
    assert_eq!(
        stored("", &PLAIN, &text("007")).unwrap(),
        Stored::Text("007".to_owned())
    );
    let moment = stored("TEXT", &MOMENT, &Datum::Int(1)).unwrap();
    assert_eq!(moment, Stored::Text("1970-01-01T00:00:00.000001Z".to_owned()));
    assert!(stored("BLOB", &PLAIN, &text("AAEC")).is_err());
    let amount = stored("TIME", &TIME, &Datum::Int(-90_000_000_000)).unwrap();
    assert_eq!(amount, Stored::Text("-25:00:00".to_owned()));
    assert_eq!(stored("INTEGER", &DECIMAL, &text("-7.0")).unwrap(), Stored::Integer(-7));
}
