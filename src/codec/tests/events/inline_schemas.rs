//! Connect's schemas of columns, and the defaults in them: the schema rows of the type vectors.

use std::sync::Arc;

use serde_json::{Value, json};
use tailrace_codec::EventDescriber;
use tailrace_core::schema::Column;
use tailrace_core::value::{Datum, Interval, LogicalType, TextKind};

use crate::support::*;
use crate::vectors::*;

/// The schema of a column's field in a description.
fn field(column: Column, format: &str) -> Value {
    let describer = EventDescriber::new(settings(format)).unwrap();
    let description = describer.describe(&table(vec![column], vec![])).unwrap();
    description.value_schema["fields"][0]["fields"][0].clone()
}

fn schema(logical_type: LogicalType, format: &str) -> Value {
    field(required("v", logical_type), format)
}

fn default_of(logical_type: LogicalType, default: Datum) -> Option<Value> {
    let column = Column {
        default: Some(default),
        ..required("v", logical_type)
    };
    field(column, DEBEZIUM).get("default").cloned()
}

fn kind(kind: TextKind) -> LogicalType {
    LogicalType::Text(kind)
}

fn bits(length: Option<u32>) -> LogicalType {
    LogicalType::Bits { length }
}

fn time(precision: u8) -> LogicalType {
    LogicalType::Time { precision }
}

fn timestamp(precision: u8) -> LogicalType {
    LogicalType::Timestamp { precision }
}

fn timestamp_tz(precision: u8) -> LogicalType {
    LogicalType::TimestampTz { precision }
}

#[test]
fn defaults_of_numbers() {
    assert_eq!(default_of(LogicalType::Int16, number(0)), Some(json!(0)), "PV14");
    assert_eq!(default_of(numeric(12, 0), string("0.0")), Some(json!("AA==")), "PV223");
    assert_eq!(default_of(LogicalType::Int32, number(0)), Some(json!(0)), "PV224");
    assert_eq!(
        default_of(LogicalType::Int64, number(i64::MAX)),
        Some(json!(i64::MAX)),
        "PV227"
    );
    assert_eq!(default_of(bits(Some(2)), string("11")), Some(json!("Aw==")), "PV229");
    assert_eq!(default_of(bits(Some(5)), string("110")), Some(json!("Bg==")), "PV230");
    assert_eq!(
        default_of(numeric(10, 5), string("12345.67891")),
        Some(json!("SZYC0w==")),
        "PV241"
    );
    let float = Datum::Float32(1_234_567_890.5);
    assert_eq!(
        default_of(LogicalType::Float32, float),
        Some(json!(1.234_568e9)),
        "PV243"
    );
}

#[test]
fn defaults_of_text() {
    for text in ["abcd", "text(parens)", ""] {
        assert_eq!(default_of(TEXT, string(text)), Some(json!(text)), "PV231 PV244 PV245");
    }
    assert_eq!(
        default_of(kind(TextKind::Json), string("{}")),
        Some(json!("{}")),
        "PV240"
    );
    let uuid = "76019d1a-ad2e-4b22-96e9-1a6d6543c818";
    assert_eq!(
        default_of(kind(TextKind::Uuid), string(uuid)),
        Some(json!(uuid)),
        "PV253"
    );
    let xml = "<foo>bar</foo>";
    assert_eq!(default_of(kind(TextKind::Xml), string(xml)), Some(json!(xml)), "PV255");
}

#[test]
fn defaults_of_times() {
    let interval = |microseconds| {
        Datum::Interval(Interval {
            months: 0,
            days: 0,
            microseconds,
        })
    };
    let hour = interval(3_600_000_000);
    assert_eq!(default_of(LogicalType::Date, number(0)), Some(json!(0)), "PV233");
    assert_eq!(
        default_of(LogicalType::Interval, hour),
        Some(json!(3_600_000_000_i64)),
        "PV238"
    );
    assert_eq!(default_of(LogicalType::Interval, interval(0)), Some(json!(0)), "PV239");
    let noon = 45_240_000_000_i64;
    assert_eq!(default_of(time(6), number(noon)), Some(json!(noon)), "PV246");
    let at = 1_616_247_868_000_000_i64;
    assert_eq!(default_of(timestamp(6), number(at)), Some(json!(at)), "PV249");
    let epoch = json!("1970-01-01T00:00:00.000000Z");
    assert_eq!(default_of(timestamp_tz(6), number(0)), Some(epoch), "PV252");
}

#[test]
fn what_has_no_default_in_connect() {
    assert_eq!(default_of(LogicalType::Int32, Datum::Null), None, "PV237");
    assert_eq!(default_of(UNLIMITED, string("0")), None, "PV242");
    assert_eq!(default_of(numeric(3, 2), string("NaN")), None);
}

#[test]
fn names_of_logical_types() {
    let is = |logical_type, kind: &str, name: &str| {
        let schema = schema(logical_type, DEBEZIUM);
        assert_eq!(schema["type"], kind, "{name}");
        assert_eq!(schema["name"], format!("io.debezium.{name}"));
        assert_eq!((&schema["version"], &schema["optional"]), (&json!(1), &json!(false)));
    };
    is(UNLIMITED, "struct", "data.VariableScaleDecimal");
    is(bits(Some(7)), "bytes", "data.Bits");
    is(LogicalType::Date, "int32", "time.Date");
    is(time(3), "int32", "time.Time");
    is(time(6), "int64", "time.MicroTime");
    is(LogicalType::TimeTz { precision: 6 }, "string", "time.ZonedTime");
    is(timestamp(3), "int64", "time.Timestamp");
    is(timestamp(6), "int64", "time.MicroTimestamp");
    is(timestamp_tz(6), "string", "time.ZonedTimestamp");
    is(LogicalType::Interval, "int64", "time.MicroDuration");
    is(kind(TextKind::TsVector), "string", "data.Tsvector");
    is(kind(TextKind::Ltree), "string", "data.Ltree");
    is(LogicalType::Map, "string", "data.Json");
    is(LogicalType::Point, "struct", "data.geometry.Point");
    is(LogicalType::Geography, "struct", "data.geometry.Geography");
    is(LogicalType::DoubleVector, "array", "data.DoubleVector");
    is(LogicalType::SparseVector, "struct", "data.SparseDoubleVector");
}

#[test]
fn parameters_and_parts() {
    let decimal = schema(numeric(3, 2), DEBEZIUM);
    assert_eq!(decimal["name"], "org.apache.kafka.connect.data.Decimal");
    let parameters = json!({"scale": "2", "connect.decimal.precision": "3"});
    assert_eq!(decimal["parameters"], parameters, "PV18");
    assert_eq!(
        schema(LogicalType::Money, DEBEZIUM)["parameters"],
        json!({"scale": "2"})
    );
    assert_eq!(
        schema(bits(None), DEBEZIUM)["parameters"]["length"],
        "2147483647",
        "PV90"
    );
    let symbols = ["V1", "a,b", "c\\d"].map(str::to_owned);
    let allowed = &schema(kind(TextKind::Enum(Arc::from(symbols))), DEBEZIUM)["parameters"]["allowed"];
    assert_eq!(
        allowed, "V1,a,b,c\\d",
        "PV198, and a real Debezium's list escapes nothing"
    );
    assert_eq!(schema(LogicalType::Geometry, DEBEZIUM)["version"], 2);
    assert_eq!(schema(LogicalType::Circle, DEBEZIUM)["optional"], true);
    let items = json!({"type": "int32", "optional": true});
    assert_eq!(schema(array(LogicalType::Int32), DEBEZIUM)["items"], items);
}

#[test]
fn schemas_follow_the_format() {
    let connect = schema(LogicalType::Date, &with(r#""time":"connect""#));
    assert_eq!(connect["name"], "org.apache.kafka.connect.data.Date");
    let structured = schema(LogicalType::Date, &with(r#""time":"structured""#));
    assert_eq!(structured["fields"][3]["field"], "specialValue");
    assert_eq!(schema(LogicalType::Bytes, &with(r#""binary":"hex""#))["type"], "string");
    let nanoseconds = schema(timestamp(0), &with(r#""time":"nanoseconds""#));
    assert_eq!(nanoseconds["name"], "io.debezium.time.NanoTimestamp");
    assert_eq!(schema(numeric(3, 2), &with(r#""decimal":"double""#))["type"], "double");
}
