//! Large values that did not change: markers in the record, headers beside it, columns that are not there. None of them is null.

use std::sync::Arc;

use tailrace_codec::DecoderSettings;
use tailrace_core::batch::Operation;
use tailrace_core::schema::Column;
use tailrace_core::value::{Datum, LogicalType, ShapeKind, TextKind};

use super::support::*;
use crate::support::*;
use crate::vectors::{UNLIMITED, array, number, numeric, string};

/// Every type that may be stored apart from its row, and so be missing in the log.
fn large() -> Vec<LogicalType> {
    let mut types = vec![
        TEXT,
        LogicalType::Text(TextKind::Json),
        LogicalType::Text(TextKind::Xml),
        LogicalType::Text(TextKind::Opaque),
        LogicalType::Bytes,
        LogicalType::Bits { length: None },
        LogicalType::Map,
        numeric(10, 2),
        UNLIMITED,
        LogicalType::Geometry,
        LogicalType::Geography,
        LogicalType::FloatVector,
        LogicalType::DoubleVector,
    ];
    let kinds = [
        ShapeKind::Box,
        ShapeKind::LineSegment,
        ShapeKind::Path,
        ShapeKind::Polygon,
    ];
    types.extend(kinds.map(LogicalType::Shape));
    let elements = [
        LogicalType::Int16,
        LogicalType::Int64,
        LogicalType::Float32,
        LogicalType::Float64,
        TEXT,
        LogicalType::Text(TextKind::Uuid),
        LogicalType::Bytes,
        LogicalType::Date,
        LogicalType::Time { precision: 6 },
        LogicalType::Timestamp { precision: 3 },
        LogicalType::TimestampTz { precision: 6 },
        numeric(10, 2),
        UNLIMITED,
        LogicalType::Map,
    ];
    types.extend(elements.map(array));
    types
}

#[test]
fn a_placeholder_of_any_type_is_no_value() {
    let options = [
        "",
        r#","decimal":"string""#,
        r#","hstore":"map""#,
        r#","unavailable_value":"gone""#,
        r#","time":"isostring""#,
    ];
    for logical_type in large() {
        let columns: Vec<Column> = vec![
            required("id", LogicalType::Int32),
            column("large", logical_type.clone()),
        ];
        let table = table(columns, vec![0]);
        let mut batch = Batch::new(&table);
        batch.change(Operation::Update, None, Some(&[int(7), Cell::Unchanged]));
        for codec in [
            r#""codec":"json""#,
            r#""inline_schema":true"#,
            r#""codec":"json_schema""#,
            r#""codec":"avro""#,
        ] {
            for option in options {
                let format = format!(r#"{{"envelope":"debezium",{codec}{option}}}"#);
                let events = there_and_back(&batch.changes, settings(&format), Some(&table));
                let after = all_seen(&events).remove(0).after.unwrap();
                assert_eq!(after[1], ("large".into(), None), "{logical_type:?} {format}");
                assert_eq!(after[0].1, Some(number(7)));
            }
        }
    }
}

#[test]
fn a_header_names_columns_of_json_without_a_schema_too() {
    let source = r#""source":{"db":"app","schema":"sales","table":"orders"}"#;
    for value in [
        r#"{"id":7,"large":null}"#.to_owned(),
        format!(r#"{{"op":"u","before":null,"after":{{"id":7,"large":null}},{source}}}"#),
    ] {
        let mut records = one(None, Some(value.as_bytes()));
        records.push_header("unchanged", br#"["large"]"#);
        records.push(("srv.shop.orders", 3), 42, 0, (None, Some(value.as_bytes())));
        let events = decode_with(decoder_settings(None, "{}"), None, &records);
        let seen = all_seen(&events);
        assert_eq!(seen[0].after.as_ref().unwrap()[1], ("large".into(), None), "{value}");
        assert_eq!(
            seen[1].after.as_ref().unwrap()[1],
            ("large".into(), Some(Datum::Null)),
            "{value}"
        );
    }
}

#[test]
fn under_entity_a_header_names_them_or_they_are_not_there() {
    let table = table(
        vec![
            required("id", LogicalType::Int32),
            column("large", TEXT),
            column("after", LogicalType::Int32),
        ],
        vec![0],
    );
    let mut batch = Batch::new(&table);
    batch.change(Operation::Update, None, Some(&[int(7), Cell::Unchanged, int(8)]));
    let whole = vec![
        ("id".into(), Some(number(7))),
        ("large".into(), None),
        ("after".into(), Some(number(8))),
    ];
    for format in [
        r#"{"inline_schema":true}"#,
        r#"{"codec":"json_schema"}"#,
        r#"{"codec":"avro"}"#,
    ] {
        let events = there_and_back(&batch.changes, settings(format), Some(&table));
        assert_eq!(all_seen(&events).remove(0).after, Some(whole.clone()), "{format}");
    }
    let events = there_and_back(&batch.changes, settings("{}"), Some(&table));
    let named = named([("id", number(7)), ("after", number(8))]);
    assert_eq!(
        all_seen(&events).remove(0).after,
        Some(named),
        "what the record does not have its table does not have"
    );
}

#[test]
fn a_header_names_columns_of_any_codec() {
    let schema = r#"{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},{"type":"double","optional":true,"field":"much"}],"optional":false}"#;
    let value = format!(r#"{{"schema":{schema},"payload":{{"id":1,"much":2.5}}}}"#);
    let mut records = one(None, Some(value.as_bytes()));
    records.push_header("unchanged", br#"["much","of another table"]"#);
    let events = decode_with(decoder_settings(None, "{}"), None, &records);
    let row = vec![("id".into(), Some(number(1))), ("much".into(), None)];
    assert_eq!(all_seen(&events).remove(0).after, Some(row));
}

#[test]
fn text_that_only_begins_like_a_placeholder_is_text() {
    let table = table(vec![column("v", TEXT)], vec![]);
    let mut batch = Batch::new(&table);
    let almost = "__debezium_unavailable_value.";
    batch.change(Operation::Create, None, Some(&[text(almost)]));
    for format in super::rows::FORMATS {
        let events = there_and_back(&batch.changes, settings(format), Some(&table));
        assert_eq!(
            all_seen(&events).remove(0).after.unwrap()[0].1,
            Some(string(almost)),
            "{format}"
        );
    }
}

#[test]
fn what_a_format_had_no_room_for_is_null() {
    let table = table(
        vec![required("id", LogicalType::Int32), column("n", numeric(10, 2))],
        vec![0],
    );
    let mut batch = Batch::new(&table);
    batch.change(Operation::Create, None, Some(&[int(7), text("NaN")]));
    let format = r#"{"envelope":"debezium","codec":"avro","unrepresentable":"as_null"}"#;
    let events = there_and_back(&batch.changes, settings(format), None);
    assert_eq!(
        all_seen(&events).remove(0).after,
        Some(named([("id", number(7)), ("n", Datum::Null)]))
    );
}

#[test]
fn another_placeholder_is_one_only_where_it_is_said() {
    let target = table(vec![column("v", TEXT)], vec![]);
    let records = one(None, Some(br#"{"v":"__debezium_unavailable_value"}"#));
    let read = |format| {
        let settings: DecoderSettings = decoder_settings(None, format);
        all_seen(&decode_with(settings, Some(&Arc::clone(&target)), &records))
            .remove(0)
            .after
            .unwrap()[0]
            .1
            .clone()
    };
    assert_eq!(read("{}"), None);
    assert_eq!(
        read(r#"{"unavailable_value":"gone"}"#),
        Some(string("__debezium_unavailable_value"))
    );
}

/// As Kafka Connect's converters read it; half a row of it would never be added to a table.
#[test]
fn a_field_that_a_record_leaves_out_has_its_default_or_is_null() {
    let decoded = |payload: &str| {
        let fields = r#"[{"field":"id","type":"int64"},{"field":"note","type":"string","optional":true},{"field":"n","type":"int32","optional":true,"default":7}]"#;
        let value = format!(r#"{{"schema":{{"type":"struct","fields":{fields}}},"payload":{payload}}}"#);
        decode_with(decoder_settings(None, "{}"), None, &one(None, Some(value.as_bytes())))
    };
    let row = |note| Some(named([("id", number(1)), ("note", note), ("n", number(7))]));
    for (payload, note) in [
        (r#"{"id":1}"#, Datum::Null),
        (r#"{"note":"a","id":1}"#, string("a")),
        (r#"{"n":7,"id":1}"#, Datum::Null),
    ] {
        assert_eq!(all_seen(&decoded(payload))[0].after, row(note), "{payload}");
    }
    let refused = &decoded(r#"{"note":"a"}"#).refused[0].refusal;
    assert_eq!(refused.code, "record_unreadable");
    assert!(refused.reason.contains("field id"), "{}", refused.reason);
}
