//! How much of the row before a change is there: what stands for columns that the log does not have is no value.

use std::sync::Arc;

use tailrace_core::batch::{BeforeImage, Operation};
use tailrace_core::schema::{Column, SharedSchema};
use tailrace_core::value::{Datum, LogicalType, ShapeKind, TextKind};

use super::support::*;
use crate::support::*;
use crate::vectors::numeric;

/// A table of columns that may not be null, with a key and one column that may.
fn strict(defaults: bool) -> SharedSchema {
    let symbols: Arc<[String]> = ["new", "paid"].map(str::to_owned).into();
    let precision = 6;
    let types = [
        LogicalType::Int64,
        TEXT,
        LogicalType::Boolean,
        LogicalType::Float64,
        numeric(10, 2),
        LogicalType::Bytes,
        LogicalType::Text(TextKind::Json),
        LogicalType::Text(TextKind::Uuid),
        LogicalType::Text(TextKind::Enum(symbols)),
        LogicalType::Timestamp { precision },
        LogicalType::TimestampTz { precision },
        LogicalType::Date,
        LogicalType::Time { precision },
        LogicalType::TimeTz { precision },
        LogicalType::Interval,
        LogicalType::Array(Box::new(LogicalType::Int32)),
        LogicalType::Map,
        LogicalType::Bits { length: Some(8) },
        LogicalType::Point,
        LogicalType::Line,
        LogicalType::Geometry,
        LogicalType::Shape(ShapeKind::Box),
        LogicalType::Shape(ShapeKind::Path),
        LogicalType::Shape(ShapeKind::Polygon),
    ];
    let mut columns = vec![required("id", LogicalType::Int64)];
    columns.extend((0..).zip(types).map(|(index, of)| required(&format!("c{index}"), of)));
    let with_default = |name: &str, of, default| Column {
        default: defaults.then_some(default),
        ..required(name, of)
    };
    columns.push(with_default("version", LogicalType::Int64, Datum::Int(1)));
    columns.push(with_default("state", TEXT, Datum::Text("open".to_owned())));
    columns.push(with_default("price", numeric(10, 2), Datum::Text("9.99".to_owned())));
    columns.push(with_default("raw", LogicalType::Bytes, Datum::Bytes(vec![0, 200])));
    columns.push(column("note", TEXT));
    table(columns, vec![0])
}

const FORMATS: [&str; 6] = [
    r#"{"envelope":"debezium","decimal":"string","time":"isostring","interval":"string"}"#,
    r#"{"envelope":"debezium","inline_schema":true}"#,
    r#"{"envelope":"debezium","codec":"json_schema"}"#,
    r#"{"envelope":"debezium","codec":"avro"}"#,
    r#"{"envelope":"debezium","codec":"avro","time":"isostring","interval":"string"}"#,
    r#"{"envelope":"debezium","inline_schema":true,"decimal":"string","time":"connect","hstore":"map"}"#,
];

#[test]
fn a_key_with_what_stands_for_the_rest_is_no_row() {
    for has_defaults in [false, true] {
        let strict = strict(has_defaults);
        let mut batch = Batch::new(&strict);
        let mut row = vec![int(7)];
        row.resize_with(strict.columns.len(), null);
        batch.change(Operation::Delete, Some(&row), None);
        let lenient = &FORMATS[usize::from(has_defaults)..];
        for format in lenient {
            let events = there_and_back(&batch.changes, settings(format), Some(&strict));
            assert_eq!(events.refused, [], "{format}");
            let seen = seen(events.changes.views().next().unwrap());
            assert_eq!(
                (seen.operation, seen.image),
                (Operation::Delete, BeforeImage::Key),
                "{format} {seen:?}"
            );
        }
    }
}

/// The image of a record's row before.
fn image(key: &str, value: &str) -> BeforeImage {
    let records = one(Some(key.as_bytes()), Some(value.as_bytes()));
    let events = decode_with(decoder_settings(None, "{}"), None, &records);
    all_seen(&events).remove(0).image
}

const POSTGRES: &str = r#""source":{"connector":"postgresql","db":"app","schema":"sales","table":"users","lsn":1}"#;
const MYSQL: &str = r#""source":{"connector":"mysql","db":"app","table":"users","file":"binlog.000003","pos":4}"#;

#[test]
fn a_row_is_whole_where_a_value_says_so() {
    let delete = |before: &str, source: &str| {
        let value = format!(r#"{{"before":{before},"after":null,{source},"op":"d"}}"#);
        image(r#"{"id":7}"#, &value)
    };
    assert_eq!(delete(r#"{"id":7,"version":0}"#, POSTGRES), BeforeImage::Key);
    assert_eq!(delete(r#"{"id":7,"email":"","note":null}"#, POSTGRES), BeforeImage::Key);
    assert_eq!(delete(r#"{"id":7,"version":3}"#, POSTGRES), BeforeImage::Full);
    assert_eq!(delete(r#"{"id":7,"email":"a@b"}"#, POSTGRES), BeforeImage::Full);
    assert_eq!(delete(r#"{"id":7,"version":0}"#, MYSQL), BeforeImage::Full);
}

#[test]
fn the_defaults_of_a_schema_stand_for_values() {
    let delete = |version: u8| {
        let row = r#"{"type":"struct","optional":true,"fields":[
            {"field":"id","type":"int64","optional":false},
            {"field":"version","type":"int64","optional":false,"default":1}]}"#;
        let text = r#"{"type":"string","optional":true"#;
        let value = format!(
            r#"{{"schema":{{"type":"struct","fields":[{},{},{{"field":"source","type":"struct","fields":[{text},"field":"table"}}]}},{text},"field":"op"}}]}},
                "payload":{{"before":{{"id":7,"version":{version}}},"after":null,"source":{{"table":"users"}},"op":"d"}}}}"#,
            row.replacen('{', r#"{"field":"before","#, 1),
            row.replacen('{', r#"{"field":"after","#, 1),
        );
        image(r#"{"id":7}"#, &value)
    };
    assert_eq!(delete(1), BeforeImage::Key);
    assert_eq!(delete(0), BeforeImage::Key);
    assert_eq!(delete(2), BeforeImage::Full);
}

#[test]
fn a_binary_log_has_the_row_before_each_update() {
    let update = |source: &str| {
        let value = format!(r#"{{"before":{{"id":1,"email":"a"}},"after":{{"id":1,"email":"b"}},{source},"op":"u"}}"#);
        image(r#"{"id":1}"#, &value)
    };
    assert_eq!(update(MYSQL), BeforeImage::Full);
    assert_eq!(update(POSTGRES), BeforeImage::Full, "REPLICA IDENTITY FULL");
}
