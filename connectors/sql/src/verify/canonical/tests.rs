use std::sync::Arc;

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};

use tailrace_core::value::{Interval, TimeTz};

use super::super::sample;
use super::*;

fn column(source_type: &str, logical_type: LogicalType) -> Column {
    sample::column("c", source_type, logical_type)
}

fn plain(logical_type: LogicalType) -> Column {
    column("", logical_type)
}

fn decimal() -> Column {
    plain(LogicalType::Decimal {
        precision: None,
        scale: None,
    })
}

fn text() -> Column {
    plain(LogicalType::Text(TextKind::Plain))
}

/// Both values in the form of their columns.
fn both(one: (&Column, Value<'_>), other: (&Column, Value<'_>)) -> (String, String) {
    let form = form(one.0, other.0).unwrap();
    assert!(
        super::form(other.0, one.0) == Some(form)
            || is_read_from_text(one.0, other.0)
            || is_read_from_text(other.0, one.0)
            || one.0.logical_type == LogicalType::Bytes,
        "which side is which makes no difference"
    );
    let of = |side: (&Column, Value<'_>)| form.of(&side.0.logical_type, side.1).unwrap();
    (of(one), of(other))
}

fn equal(one: (&Column, Value<'_>), other: (&Column, Value<'_>)) {
    let (one, other) = both(one, other);
    assert_eq!(one, other);
}

fn different(one: (&Column, Value<'_>), other: (&Column, Value<'_>)) {
    let (one, other) = both(one, other);
    assert_ne!(one, other);
}

#[test]
fn text_of_events_is_what_databases_make_of_it() {
    let (integer, boolean, double) = (
        plain(LogicalType::Int64),
        plain(LogicalType::Boolean),
        plain(LogicalType::Float64),
    );
    equal((&text(), Value::Text("19.90")), (&decimal(), Value::Text("19.9")));
    equal((&text(), Value::Text("19.9")), (&decimal(), Value::Text("19.9000")));
    equal((&text(), Value::Text("007")), (&integer, Value::Int(7)));
    equal((&text(), Value::Text("1e2")), (&double, Value::Float64(100.0)));
    equal((&text(), Value::Text("true")), (&boolean, Value::Boolean(true)));
    equal((&text(), Value::Text("NaN")), (&decimal(), Value::Text("NaN")));
    different((&text(), Value::Text("19.91")), (&decimal(), Value::Text("19.9")));
    different((&text(), Value::Text("none")), (&integer, Value::Int(0)));
    let timestamp = plain(LogicalType::TimestampTz { precision: 6 });
    let at = 1_709_200_800_000_001;
    equal(
        (&text(), Value::Text("2024-02-29T10:00:00.000001Z")),
        (&timestamp, Value::Int(at)),
    );
    equal(
        (&text(), Value::Text("2024-02-29 12:00:00.000001+02")),
        (&timestamp, Value::Int(at)),
    );
    equal(
        (&text(), Value::Text("2024-02-29")),
        (&plain(LogicalType::Date), Value::Int(19_782)),
    );
    different((&text(), Value::Text("never")), (&timestamp, Value::Int(at)));
    let date = plain(LogicalType::Date);
    equal(
        (&text(), Value::Text("2024-02-29T10:00:00")),
        (&date, Value::Int(19_782)),
    );
    equal(
        (&text(), Value::Text("2024-02-29T23:00:00-02:00")),
        (&date, Value::Int(19_783)),
    );
    different(
        (&text(), Value::Text("2024-02-29T23:00:00")),
        (&date, Value::Int(19_783)),
    );
}

#[test]
fn numbers_are_equal_whatever_their_types() {
    let (integer, boolean, unsigned) = (
        plain(LogicalType::Int64),
        plain(LogicalType::Boolean),
        plain(LogicalType::UnsignedInt64),
    );
    let (single, double) = (plain(LogicalType::Float32), plain(LogicalType::Float64));
    let bits = plain(LogicalType::Bits { length: Some(8) });
    equal((&decimal(), Value::Text("1.50")), (&decimal(), Value::Text("1.5")));
    equal((&decimal(), Value::Text("-0.00")), (&decimal(), Value::Text("0")));
    equal((&decimal(), Value::Text("007")), (&integer, Value::Int(7)));
    equal(
        (&unsigned, Value::Text("18446744073709551615")),
        (&decimal(), Value::Text("18446744073709551615.0")),
    );
    equal((&boolean, Value::Boolean(true)), (&integer, Value::Int(1)));
    equal((&bits, Value::Text("00000101")), (&integer, Value::Int(5)));
    equal(
        (&single, Value::Float32(0.1)),
        (&double, Value::Float64(f64::from(0.1_f32))),
    );
    equal((&single, Value::Float32(0.1)), (&double, Value::Float64(0.1)));
    equal((&double, Value::Float64(-0.0)), (&double, Value::Float64(0.0)));
    equal((&double, Value::Float64(1.5)), (&decimal(), Value::Text("1.500")));
    equal((&double, Value::Float64(f64::NAN)), (&decimal(), Value::Text("NaN")));
    different((&decimal(), Value::Text("1.50")), (&decimal(), Value::Text("1.51")));
    different((&decimal(), Value::Text("-1")), (&integer, Value::Int(1)));
    different((&boolean, Value::Boolean(true)), (&integer, Value::Int(2)));
    different(
        (&double, Value::Float64(0.1)),
        (&double, Value::Float64(f64::from(0.1_f32))),
    );
}

#[test]
fn moments_are_equal_whatever_their_precision_and_zone() {
    let (date, zoned) = (
        plain(LogicalType::Date),
        plain(LogicalType::TimestampTz { precision: 6 }),
    );
    let seconds = plain(LogicalType::Timestamp { precision: 0 });
    equal(
        (&zoned, Value::Int(1_700_000_000_000_000)),
        (&seconds, Value::Int(1_700_000_000_000_000)),
    );
    equal((&date, Value::Int(1)), (&seconds, Value::Int(86_400_000_000)));
    equal((&date, Value::Int(i64::from(i32::MAX))), (&zoned, Value::Int(i64::MAX)));
    different((&zoned, Value::Int(1)), (&seconds, Value::Int(0)));
    equal(
        (&zoned, Value::Int(1_000_000)),
        (&text(), Value::Text("1970-01-01T00:00:01Z")),
    );
}

#[test]
fn characters_are_equal_but_for_the_blanks_of_types_that_have_them() {
    let padded = column("char(5)", LogicalType::Text(TextKind::Plain));
    let database_has_another_name = column("character(5)", LogicalType::Text(TextKind::Plain));
    equal((&padded, Value::Text("ab   ")), (&text(), Value::Text("ab")));
    equal(
        (&database_has_another_name, Value::Text("ab   ")),
        (&padded, Value::Text("ab")),
    );
    different((&text(), Value::Text("ab ")), (&text(), Value::Text("ab")));
    different((&text(), Value::Text("AB")), (&text(), Value::Text("ab")));
    let bytes = plain(LogicalType::Bytes);
    let uuid = plain(LogicalType::Text(TextKind::Uuid));
    equal(
        (&uuid, Value::Text("0f0e0d0c-0b0a-4908-8706-050403020100")),
        (&text(), Value::Text("0f0e0d0c-0b0a-4908-8706-050403020100")),
    );
    let sixteen: Vec<u8> = vec![15, 14, 13, 12, 11, 10, 0x49, 8, 0x87, 6, 5, 4, 3, 2, 1, 0];
    equal(
        (&uuid, Value::Text("0f0e0d0c-0b0a-4908-8706-050403020100")),
        (&bytes, Value::Bytes(&sixteen)),
    );
    equal(
        (&uuid, Value::Text("0f0e0d0c-0b0a-4908-8706-050403020100")),
        (&bytes, Value::Bytes(b"0f0e0d0c-0b0a-4908-8706-050403020100")),
    );
    equal((&bytes, Value::Bytes(&[0, 255])), (&text(), Value::Text("00ff")));
}

#[test]
fn a_uuid_is_the_same_however_it_is_written() {
    let uuid = plain(LogicalType::Text(TextKind::Uuid));
    let printed = "0f0e0d0c-0b0a-4908-8706-050403020100";
    for written in [
        "0F0E0D0C-0B0A-4908-8706-050403020100",
        "0f0e0d0c0b0a49088706050403020100",
        "{0F0e0d0c-0b0a-4908-8706-050403020100}",
    ] {
        equal((&text(), Value::Text(written)), (&uuid, Value::Text(printed)));
        equal((&uuid, Value::Text(printed)), (&text(), Value::Text(written)));
    }
    different((&text(), Value::Text("AB")), (&uuid, Value::Text(printed)));
    // Events of some codecs do not say that their text is one.
    let (one, _) = both((&text(), Value::Text(printed)), (&uuid, Value::Text(printed)));
    let (other, _) = both((&uuid, Value::Text(printed)), (&uuid, Value::Text(printed)));
    assert_eq!(one, other);
}

#[test]
fn zeros_that_fill_up_are_no_difference() {
    let bytes = plain(LogicalType::Bytes);
    let filled = column("binary(4)", LogicalType::Bytes);
    equal((&bytes, Value::Bytes(b"ab")), (&filled, Value::Bytes(b"ab\0\0")));
    equal((&filled, Value::Bytes(b"ab\0\0")), (&filled, Value::Bytes(b"ab\0\0")));
    different((&bytes, Value::Bytes(b"ab")), (&filled, Value::Bytes(b"abc\0")));
    different((&filled, Value::Bytes(b"ab\0\0")), (&bytes, Value::Bytes(b"ab")));
    assert_eq!(filled_length(&filled), Some(4));
    assert_eq!(filled_length(&column("BINARY", LogicalType::Bytes)), Some(1));
    assert_eq!(filled_length(&column("varbinary(4)", LogicalType::Bytes)), None);
    assert_eq!(filled_length(&bytes), None);
}

#[test]
fn text_is_none_of_bytes_and_bytes_are_digits_of_text() {
    let bytes = plain(LogicalType::Bytes);
    assert_eq!(form(&text(), &bytes), None);
    let digits = form(&bytes, &text()).unwrap();
    assert_eq!(
        digits.of(&bytes.logical_type, Value::Bytes(b"abc")),
        Some("616263".to_owned())
    );
}

#[test]
fn what_goes_into_text_has_the_form_of_every_sink() {
    let of = |logical_type, value, written| equal((&plain(logical_type), value), (&text(), Value::Text(written)));
    of(
        LogicalType::Time { precision: 6 },
        Value::Int(36_000_000_001),
        "10:00:00.000001",
    );
    of(
        LogicalType::TimeTz { precision: 6 },
        Value::TimeTz(TimeTz {
            microseconds: 36_000_000_000,
            offset_seconds: 7_200,
        }),
        "10:00:00+02:00",
    );
    of(LogicalType::Date, Value::Int(0), "1970-01-01");
    of(
        LogicalType::Timestamp { precision: 6 },
        Value::Int(1_500_000),
        "1970-01-01T00:00:01.500000",
    );
    of(
        LogicalType::TimestampTz { precision: 6 },
        Value::Int(1_000_000),
        "1970-01-01T00:00:01Z",
    );
    of(LogicalType::Bytes, Value::Bytes(&[0x5c, 0xff]), "5cff");
    of(LogicalType::Bits { length: Some(3) }, Value::Text("101"), "101");
    of(LogicalType::Boolean, Value::Boolean(true), "true");
    let interval = Interval {
        months: 14,
        days: 3,
        microseconds: 3_600_000_000,
    };
    of(LogicalType::Interval, Value::Interval(interval), "P1Y2M3DT1H");
}

#[test]
fn types_say_how_far_they_fill_up() {
    let length = |source_type: &str| padded_length(&column(source_type, LogicalType::Text(TextKind::Plain)));
    assert_eq!(length("char(6)"), Some(6));
    assert_eq!(length("character(12)"), Some(12));
    assert_eq!(length("CHAR"), Some(1));
    assert_eq!(length("bpchar"), None);
    assert_eq!(length("character varying(6)"), None);
    assert_eq!(length("text"), None);
}

#[test]
fn documents_are_equal_whatever_the_order_of_their_keys() {
    let json = plain(LogicalType::Text(TextKind::Json));
    equal(
        (
            &json,
            Value::Text(r#"{"b": [1, 2.50, {"d": null, "c": "x"}], "a": 1.0}"#),
        ),
        (&text(), Value::Text(r#"{"a":1,"b":[1,2.5,{"c":"x","d":null}]}"#)),
    );
    different((&json, Value::Text("[1,2]")), (&json, Value::Text("[2,1]")));
    different((&json, Value::Text(r#"{"a":1}"#)), (&json, Value::Text(r#"{"a":"1"}"#)));
    equal(
        (&text(), Value::Text("no document")),
        (&json, Value::Text("no document")),
    );
}

#[test]
fn a_list_is_the_document_that_a_sink_makes_of_it() {
    let list = plain(LogicalType::Array(Box::new(LogicalType::Int32)));
    let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
    batch.begin_row().unwrap();
    batch.begin_list();
    batch.push_int(1);
    batch.push_null();
    batch.end_list().unwrap();
    let row = batch.end_row().unwrap();
    let json = plain(LogicalType::Text(TextKind::Json));
    equal((&list, batch.row(row).get(0)), (&json, Value::Text("[1, null]")));
}

#[test]
fn null_is_no_value_and_what_has_nothing_in_common_is_not_compared() {
    assert_eq!(Form::Written.of(&LogicalType::Int32, Value::Null), None);
    for other in [LogicalType::Int32, LogicalType::Date, LogicalType::Bytes] {
        assert_eq!(form(&plain(LogicalType::Geometry), &plain(other)), None);
    }
    assert_eq!(form(&plain(LogicalType::Int32), &plain(LogicalType::Date)), None);
}

#[test]
fn an_interval_is_what_its_parts_come_to() {
    let interval = plain(LogicalType::Interval);
    let of = |months, days, microseconds| {
        Value::Interval(Interval {
            months,
            days,
            microseconds,
        })
    };
    equal((&interval, of(0, 1, 0)), (&interval, of(0, 0, 86_400_000_000)));
    equal((&interval, of(12, 0, 0)), (&interval, of(0, 365, 21_600_000_000)));
    different((&interval, of(1, 0, 0)), (&interval, of(0, 30, 0)));
    equal((&interval, of(0, 1, 0)), (&text(), Value::Text("P1D")));
}
