use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};
use tailrace_core::value::{Datum, ShapeKind, TextKind};

use super::super::column::source_type;
use super::*;

/// The literal of a value in a column of this type; the error's code and sentence.
fn written(column_type: &str, source: &LogicalType, datum: Datum) -> Result<String, String> {
    let characters = ["char", "varchar", "text", "enum", "set"];
    let has_characters = characters.iter().any(|name| column_type.starts_with(name));
    let characters = has_characters.then_some(("utf8mb4", "utf8mb4_bin"));
    let (charset, collation) = characters.unzip();
    let column = Column {
        source_type: source_type(column_type, charset, collation),
        ..Column::new("c", LogicalType::Int64)
    };
    let mut batch = ChangeBatch::new(Arc::from("t"), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    batch.push_datum(&datum).unwrap();
    let row = batch.end_row().unwrap();
    let mut literal = String::new();
    match ColumnWriter::new(&column, source)
        .unwrap()
        .write(batch.row(row).get(0), &mut literal)
    {
        Ok(()) => Ok(literal),
        Err(error) => {
            assert_eq!(
                (error.kind(), error.code()),
                (tailrace_core::error::Kind::Poison, "value_unrepresentable")
            );
            Err(error.report())
        }
    }
}

fn text(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

fn ok(column_type: &str, source: &LogicalType, datum: Datum) -> String {
    written(column_type, source, datum).unwrap()
}

fn refused(column_type: &str, source: &LogicalType, datum: Datum) {
    let literal = written(column_type, source, datum.clone());
    assert!(literal.is_err(), "{column_type} takes {datum:?} as {literal:?}");
}

const PLAIN: LogicalType = LogicalType::Text(TextKind::Plain);
const DECIMAL: LogicalType = LogicalType::Decimal {
    precision: None,
    scale: None,
};
const MOMENT: LogicalType = LogicalType::Timestamp { precision: 6 };
const POINT_IN_TIME: LogicalType = LogicalType::TimestampTz { precision: 6 };
const BITS: LogicalType = LogicalType::Bits { length: None };
const UUID: LogicalType = LogicalType::Text(TextKind::Uuid);

#[test]
fn numbers_are_exact_or_refused() {
    assert_eq!(
        ok("bigint(20)", &LogicalType::Int64, Datum::Int(i64::MIN)),
        "-9223372036854775808"
    );
    let unsigned = text("18446744073709551615");
    assert_eq!(
        ok("bigint(20) unsigned", &LogicalType::UnsignedInt64, unsigned),
        "18446744073709551615"
    );
    assert_eq!(ok("int", &DECIMAL, text("-12.00")), "-12");
    assert_eq!(ok("tinyint(1)", &LogicalType::Boolean, Datum::Boolean(true)), "1");
    assert_eq!(ok("int", &PLAIN, text("12")), "12");
    assert_eq!(ok("int", &LogicalType::Float64, Datum::Float64(-3.0)), "-3");
    refused("int", &DECIMAL, text("1.5"));
    refused("int", &PLAIN, text("1; DROP TABLE t"));
    refused("int", &PLAIN, text(""));
    refused("int", &DECIMAL, text("NaN"));
    refused("int", &LogicalType::Float64, Datum::Float64(0.5));
    refused("int", &LogicalType::Date, Datum::Int(5));
    assert_eq!(ok("decimal(10,2)", &DECIMAL, text("-0012345678.900")), "-12345678.9");
    assert_eq!(ok("decimal(10,2)", &LogicalType::Float64, Datum::Float64(0.25)), "0.25");
    refused("decimal(10,2)", &DECIMAL, text("0.001"));
    refused("decimal(10,2)", &DECIMAL, text("123456789"));
    refused("decimal(10,2)", &LogicalType::Float64, Datum::Float64(f64::NAN));
}

#[test]
fn floats_are_exact_or_refused() {
    let float = |column: &str, value| written(column, &LogicalType::Float64, Datum::Float64(value));
    assert_eq!(float("double", 0.1).unwrap(), "1e-1");
    assert_eq!(float("double", f64::MAX).unwrap(), "1.7976931348623157e308");
    assert_eq!(float("float", 0.5).unwrap(), "5e-1");
    assert!(float("float", 0.1).is_err());
    let decimal = LogicalType::Decimal {
        precision: None,
        scale: None,
    };
    let of_digits = |column: &str, digits: &str| written(column, &decimal, Datum::Text(digits.to_owned()));
    assert_eq!(of_digits("float", "0.5").unwrap(), "5e-1");
    assert!(of_digits("float", "0.1").is_ok());
    assert!(of_digits("float", "16777217").is_err());
    assert!(of_digits("float", "1234567.89").is_err());
    assert!(of_digits("double", "9007199254740993").is_err());
    assert_eq!(of_digits("bigint", ".0").unwrap(), "0");
    let blanks = |length| written("tinytext", &PLAIN, Datum::Text(format!("{:length$}", "a")));
    assert!(blanks(255).is_ok() && blanks(256).is_err());
    assert!(float("double", f64::INFINITY).is_err());
    assert_eq!(float("double(10,2)", 0.25).unwrap(), "2.5e-1");
    assert!(float("double(10,2)", 0.125).is_err());
    assert_eq!(
        ok("float", &LogicalType::Float32, Datum::Float32(0.1)),
        "1.0000000149011612e-1"
    );
    assert_eq!(ok("double", &DECIMAL, text("0.10")), "1e-1");
    refused("double", &DECIMAL, text("0.12345678901234567890"));
    refused("double", &LogicalType::Int64, Datum::Int(i64::MAX));
}

#[test]
fn bits_and_years() {
    assert_eq!(ok("bit(8)", &BITS, text("00000101")), "5");
    assert_eq!(ok("bit(64)", &BITS, text(&"1".repeat(64))), u64::MAX.to_string());
    refused("bit(8)", &BITS, text("101"));
    assert_eq!(ok("bit(3)", &PLAIN, text("101")), "5");
    refused("bit(3)", &PLAIN, text("10"));
    refused("bit(3)", &PLAIN, text("123"));
    assert_eq!(ok("bit(1)", &LogicalType::Boolean, Datum::Boolean(true)), "1");
    assert_eq!(ok("varchar(3)", &BITS, text("101")), "'101'");
    assert_eq!(ok("year", &LogicalType::Year, Datum::Int(0)), "0");
    refused("year", &LogicalType::Year, Datum::Int(70));
}

#[test]
fn dates_and_times_keep_their_fractions() {
    let day_and_a_bit = Datum::Int(86_400_000_000 + 123_000);
    assert_eq!(
        ok("datetime(3)", &MOMENT, day_and_a_bit.clone()),
        "'1970-01-02 00:00:00.123000'"
    );
    assert_eq!(
        ok("timestamp(6)", &POINT_IN_TIME, day_and_a_bit.clone()),
        "'1970-01-02 00:00:00.123000'"
    );
    refused("datetime", &MOMENT, day_and_a_bit.clone());
    refused("date", &MOMENT, day_and_a_bit.clone());
    assert_eq!(
        ok("varchar(40)", &POINT_IN_TIME, day_and_a_bit),
        "'1970-01-02T00:00:00.123000Z'"
    );
    assert_eq!(ok("date", &LogicalType::Date, Datum::Int(-1)), "'1969-12-31'");
    refused("date", &LogicalType::Date, Datum::Int(i32::MAX.into()));
    refused("date", &LogicalType::Date, Datum::Int(10_000_000));
    refused("datetime(6)", &MOMENT, Datum::Int(i64::MAX));
    let time = LogicalType::Time { precision: 6 };
    assert_eq!(
        ok("time(6)", &time, Datum::Int(-3_020_399_000_001)),
        "'-838:59:59.000001'"
    );
    refused("time(3)", &time, Datum::Int(1));
    assert_eq!(
        ok("datetime", &PLAIN, text("0000-00-00 00:00:00")),
        "'0000-00-00 00:00:00'"
    );
    refused("datetime", &PLAIN, text("2024-01-01 00:00:00.5"));
    refused("date", &PLAIN, text("2024-01-01 10:00"));
}

#[test]
fn texts_do_not_leave_their_quotes_and_are_not_cut() {
    assert_eq!(ok("varchar(20)", &PLAIN, text(r"it's \' x")), r"'it''s \\'' x'");
    assert_eq!(ok("text", &PLAIN, text("a\0b\u{1f600}")), "'a\\0b\u{1f600}'");
    assert_eq!(ok("char(3)", &PLAIN, text("ab   ")), "'ab'");
    assert_eq!(ok("varchar(4)", &PLAIN, text("ab  ")), "'ab  '");
    refused("varchar(2)", &PLAIN, text("ab  "));
    refused("varchar(2)", &LogicalType::Bytes, Datum::Bytes(vec![1]));
    assert_eq!(ok("text", &DECIMAL, text("NaN")), "'NaN'");
    assert_eq!(
        ok(
            "text",
            &LogicalType::Array(Box::new(LogicalType::Int32)),
            Datum::List(vec![Datum::Int(1), Datum::Null])
        ),
        "'[1,null]'"
    );
}

#[test]
fn bytes_are_filled_up_as_they_are_stored() {
    assert_eq!(
        ok("binary(4)", &LogicalType::Bytes, Datum::Bytes(vec![1, 0xff])),
        "x'01ff0000'"
    );
    assert_eq!(ok("varbinary(4)", &LogicalType::Bytes, Datum::Bytes(Vec::new())), "x''");
    let uuid = text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    assert_eq!(
        ok("binary(16)", &UUID, uuid.clone()),
        "x'a0eebc999c0b4ef8bb6d6bb9bd380a11'"
    );
    assert_eq!(ok("char(36)", &UUID, uuid), "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'");
    assert_eq!(ok("blob", &LogicalType::Text(TextKind::Json), text("[1]")), "x'5b315d'");
    refused("blob", &PLAIN, text("AAEC"));
    refused("blob", &LogicalType::Int64, Datum::Int(1));
}

#[test]
fn members_are_not_taken_for_their_places() {
    assert_eq!(ok("enum('new','paid')", &PLAIN, text("Paid")), "'Paid'");
    refused("enum('new','paid')", &PLAIN, text("1"));
    refused("enum('new','paid')", &PLAIN, text(""));
    assert_eq!(ok("set('a','b')", &PLAIN, text("a,b")), "'a,b'");
    assert_eq!(ok("set('a','b')", &PLAIN, text("")), "''");
    refused("set('a','b')", &PLAIN, text("3"));
}

#[test]
fn documents() {
    assert_eq!(
        ok("json", &LogicalType::Text(TextKind::Json), text(r#"{"a":"it's"}"#)),
        r#"'{"a":"it''s"}'"#
    );
    assert_eq!(ok("json", &UUID, text("u")), r#"'"u"'"#);
    let document = LogicalType::Text(TextKind::Json);
    assert_eq!(ok("json", &document, text("[1.50]")), "'[1.50]'");
    assert_eq!(
        ok("longtext", &document, text("1234567890.123456789")),
        "'1234567890.123456789'"
    );
    refused("json", &document, text(r#"{"a": [1234567890.123456789]}"#));
    let numbers = LogicalType::Array(Box::new(DECIMAL));
    refused("json", &numbers, Datum::List(vec![text("1234567890.123456789")]));
    assert_eq!(ok("json", &LogicalType::Date, Datum::Int(0)), r#"'"1970-01-01"'"#);
    assert_eq!(ok("json", &DECIMAL, text("NaN")), r#"'"NaN"'"#);
    assert_eq!(
        ok(
            "json",
            &LogicalType::Point,
            Datum::List(vec![Datum::Float64(1.5), Datum::Float64(2.0)])
        ),
        "'[1.5,2]'"
    );
}

#[test]
fn geometries_are_as_the_server_stores_them() {
    let point = Datum::List(vec![Datum::Float64(1.0), Datum::Float64(2.0), Datum::Int(4326)]);
    let stored = "x'e6100000 01 01000000 000000000000f03f 0000000000000040'".replace(' ', "");
    assert_eq!(ok("point", &LogicalType::Point, point), stored);
    // EWKB of the same point.
    let ewkb = [
        &[1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0][..],
        &1_f64.to_le_bytes(),
        &2_f64.to_le_bytes(),
    ]
    .concat();
    assert_eq!(ok("geometry", &LogicalType::Geometry, Datum::Bytes(ewkb)), stored);
    let with_height = [&[1, 1, 0, 0, 0x80][..], &[0; 24]].concat();
    refused("geometry", &LogicalType::Geometry, Datum::Bytes(with_height));
    refused("geometry", &LogicalType::Geometry, Datum::Bytes(vec![0, 0, 0, 0, 1]));
    refused("geometry", &LogicalType::Geometry, Datum::Bytes(Vec::new()));
    let line = [&[1, 2, 0, 0, 0, 0, 0, 0, 0][..]].concat();
    let shape = Datum::List(vec![Datum::Bytes(line), Datum::Boolean(true)]);
    assert_eq!(
        ok("geometry", &LogicalType::Shape(ShapeKind::Path), shape),
        "x'00000000010200000000000000'"
    );
    let vector = |number| Datum::List(vec![number]);
    assert_eq!(
        ok("vector(1)", &LogicalType::FloatVector, vector(Datum::Float32(1.0))),
        "x'0000803f'"
    );
    refused("vector(1)", &LogicalType::DoubleVector, vector(Datum::Float64(0.1)));
}
