//! Schemas whose numbers stand in front of keys and values: asked for once, and what becomes of records where that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tailrace_codec::{DecoderSettings, EventDecoder};
use tailrace_core::batch::Operation;
use tailrace_core::check::Finding;
use tailrace_core::error::Kind;
use tailrace_core::ports::sink::Decoder;
use tailrace_core::registry::{RegisteredSchema, Schema, SchemaId, SchemaRegistry, SchemaType};
use tailrace_core::value::{Datum, LogicalType, TextKind};
use tailrace_core::{Error, Result};

use super::support::*;
use crate::support::TEXT;
use crate::vectors::{number, string};

/// A registry of a schema, number 7, which counts how often it is asked; 12 is a JSON Schema, and 10 one that is not read.
struct Registry {
    schema: &'static str,
    asked: AtomicUsize,
}

#[async_trait]
impl SchemaRegistry for Registry {
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    async fn versions(&self, _: &str) -> Result<Vec<RegisteredSchema>> {
        Ok(Vec::new())
    }

    async fn register(&self, _: &str, _: &Schema) -> Result<SchemaId> {
        Err(Error::definite("read_only", "nothing is registered here"))
    }

    async fn by_id(&self, id: SchemaId) -> Result<Schema> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match id.0 {
            7 => Ok(Schema {
                schema_type: SchemaType::Avro,
                text: self.schema.into(),
                properties: BTreeMap::new(),
                tags: BTreeMap::new(),
            }),
            12 => Ok(Schema {
                schema_type: SchemaType::Json,
                text: r#"{"type":"object","properties":{"n":{"type":"number"}}}"#.into(),
                properties: BTreeMap::new(),
                tags: BTreeMap::new(),
            }),
            10 => Err(Error::definite(
                "schema_refused",
                "the schema refers to others; register it in one piece",
            )),
            8 => Err(Error::transient("registry_unavailable", "it does not answer")),
            _ => Err(Error::definite("schema_unknown", "there is none")),
        }
    }
}

fn registry(schema: &'static str) -> Arc<Registry> {
    Arc::new(Registry {
        schema,
        asked: AtomicUsize::new(0),
    })
}

fn settings(registry: &Arc<Registry>) -> DecoderSettings {
    let port: Arc<dyn SchemaRegistry> = Arc::<Registry>::clone(registry);
    DecoderSettings {
        registry: Some(port),
        ..decoder_settings(None, "{}")
    }
}

fn framed(id: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, id], payload].concat()
}

#[test]
fn a_schema_is_asked_for_once() {
    let registry = registry("\"string\"");
    let mut decoder = EventDecoder::new(settings(&registry)).unwrap();
    let records = one(Some(&framed(7, b"\x04ab")), None);
    for _ in 0..2 {
        run(decoder.prepare(&records, &mut Target(None))).unwrap();
        let seen = all_seen(&decoder.decode(&records, 0..1).unwrap()).remove(0);
        assert_eq!(
            (seen.operation, seen.before),
            (Operation::Delete, Some(named([("key", string("ab"))])))
        );
    }
    assert_eq!(registry.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_schema_that_nobody_knows_is_a_record_that_cannot_be_read() {
    let registry = registry("\"string\"");
    let mut decoder = EventDecoder::new(settings(&registry)).unwrap();
    let mut records = one(None, Some(&framed(9, b"x")));
    records.push(("srv.shop.orders", 3), 42, 0, (None, Some(&framed(9, b"y"))));
    for _ in 0..2 {
        run(decoder.prepare(&records, &mut Target(None))).unwrap();
        let events = decoder.decode(&records, 0..2).unwrap();
        let refusal = &events.refused[1].refusal;
        assert_eq!(refusal.code, "schema_unknown");
        assert!(
            refusal.reason.contains("(number 9)") && refusal.reason.contains("format.registry"),
            "{}",
            refusal.reason
        );
    }
    assert_eq!(registry.asked.load(Ordering::Relaxed), 2, "it may be there by now");
    let events = decode_with(decoder_settings(None, "{}"), None, &records);
    assert_eq!(events.refused[0].refusal.code, "schema_unknown", "there is no registry");
}

#[test]
fn a_registry_that_does_not_answer_is_no_fault_of_a_record() {
    let mut decoder = EventDecoder::new(settings(&registry("\"string\""))).unwrap();
    let records = one(None, Some(&framed(8, b"x")));
    let error = run(decoder.prepare(&records, &mut Target(None))).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
}

#[test]
fn a_schema_that_cannot_be_read_is_said() {
    for (schema, problem) in [
        (
            r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#,
            "used within itself",
        ),
        ("{", "not JSON"),
        (r#"{"type":"record","name":"R"}"#, "no `fields`"),
    ] {
        let events = decode_with(settings(&registry(schema)), None, &one(None, Some(&framed(7, b"\x00"))));
        let refusal = &events.refused[0].refusal;
        assert_eq!(refusal.code, "schema_unusable");
        assert!(refusal.reason.contains(problem), "{}", refusal.reason);
    }
}

#[test]
fn other_writers_records_are_rows() {
    let schema = r#"{"type":"record","name":"Order","namespace":"shop","doc":"an order","fields":[
        {"name":"id","type":"long","doc":"its number"},
        {"name":"like_u0041","type":["string","null"]},
        {"name":"day","type":{"type":"int","logicalType":"date"}},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"fixed","type":{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4,"scale":1}},
        {"name":"of","type":{"type":"record","name":"Customer","fields":[{"name":"name","type":"string"},{"name":"tags","type":{"type":"array","items":"string"}}]}},
        {"name":"any","type":["null","int","string"]},
        {"name":"counts","type":{"type":"map","values":"int"}}]}"#;
    let payload = [
        &[2][..],
        b"\x00\x02x",
        &[4],
        &[0x80, 0x80, 0x01],
        &[0xff, 0xfb],
        b"\x06Ada\x04\x02a\x02b\x00",
        b"\x04\x02\"",
        b"\x02\x02k\x03\x00",
    ]
    .concat();
    let events = decode_with(
        settings(&registry(schema)),
        None,
        &one(None, Some(&framed(7, &payload))),
    );
    let row = named([
        ("id", number(1)),
        ("like_u0041", string("x")),
        ("day", number(2)),
        ("at", number(8_192_000)),
        ("fixed", string("-0.5")),
        ("of", string(r#"{"name":"Ada","tags":["a","b"]}"#)),
        ("any", string(r#""\"""#)),
        ("counts", string(r#"{"k":-2}"#)),
    ]);
    assert_eq!(all_seen(&events)[0].after, Some(row));
    let table = &events.changes.tables[0];
    assert_eq!(table.columns[0].documentation.as_deref(), Some("its number"));
    assert_eq!((table.columns[0].nullable, table.columns[1].nullable), (false, true));
    let types: Vec<_> = table.columns.iter().map(|column| column.logical_type.clone()).collect();
    let json = LogicalType::Text(TextKind::Json);
    let decimal = LogicalType::Decimal {
        precision: Some(4),
        scale: Some(1),
    };
    let expected = [
        LogicalType::Int64,
        TEXT,
        LogicalType::Date,
        LogicalType::TimestampTz { precision: 3 },
        decimal,
        json.clone(),
        json.clone(),
        json,
    ];
    assert_eq!(types, expected);
    assert_eq!(
        (table.name.schema.as_str(), table.name.table.as_str()),
        ("shop", "orders"),
        "the topic's parts"
    );
}

#[test]
fn what_debezium_notes_of_a_column_is_its_type_in_its_database() {
    let schema = r#"{"type":"struct","fields":[{"type":"string","optional":true,"parameters":{"__debezium.source.column.type":"VARCHAR"},"field":"v"}],"optional":false}"#;
    let value = format!(r#"{{"schema":{schema},"payload":{{"v":null}}}}"#);
    let events = decode_with(decoder_settings(None, "{}"), None, &one(None, Some(value.as_bytes())));
    assert_eq!(events.changes.tables[0].columns[0].source_type, "VARCHAR");
    assert_eq!(all_seen(&events)[0].after, Some(named([("v", Datum::Null)])));
}

#[test]
fn items_without_bytes_are_not_any_number_of_items() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":"null"}}]}"#;
    let blocks = [&[0x06; 40][..], &[0]].concat();
    let events = decode_with(settings(&registry(schema)), None, &one(None, Some(&framed(7, &blocks))));
    assert_eq!(events.refused[0].refusal.code, "record_unreadable");
}

/// The only record's row, or why it was refused.
fn read(schema: &'static str, value: &[u8]) -> std::result::Result<Vec<(String, Option<Datum>)>, &'static str> {
    let records = one(None, Some(value));
    let events = decode_with(settings(&registry(schema)), None, &records);
    match events.refused.first() {
        Some(refused) => Err(refused.refusal.code),
        None => Ok(all_seen(&events).remove(0).after.unwrap()),
    }
}

#[test]
fn null_is_null_in_a_union_of_several() {
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"u","type":["null","string","long"]},{"name":"one","type":["long"]},{"name":"list","type":{"type":"array","items":["string"]}}]}"#;
    let expected = named([
        ("u", Datum::Null),
        ("one", number(5)),
        ("list", Datum::List(vec![string("a")])),
    ]);
    assert_eq!(read(schema, &framed(7, b"\x00\x00\x0a\x02\x00\x02a\x00")), Ok(expected));
    let expected = named([("u", number(3)), ("one", number(5)), ("list", Datum::List(Vec::new()))]);
    let mut row = read(schema, &framed(7, b"\x04\x06\x00\x0a\x00")).unwrap();
    assert_eq!(row[0].1, Some(string("3")), "one of several is its JSON");
    row[0].1 = Some(number(3));
    assert_eq!(row, expected);
    let events = decode_with(
        settings(&registry(schema)),
        None,
        &one(None, Some(&framed(7, b"\x00\x00\x0a\x00"))),
    );
    let nullable: Vec<bool> = events.changes.tables[0]
        .columns
        .iter()
        .map(|column| column.nullable)
        .collect();
    assert_eq!(nullable, [true, false, false]);
}

#[test]
fn a_number_of_a_json_schema_keeps_its_digits() {
    let number = |text: &str| {
        let value = format!("{{\"n\":{text}}}");
        read("\"string\"", &framed(12, value.as_bytes())).map(|mut row| row.remove(0).1.unwrap())
    };
    for (text, expected) in [
        ("0.1", 0.1),
        ("1e2", 100.0),
        ("0.30000000000000004", 0.300_000_000_000_000_04),
        ("9007199254740993.0e0", f64::NAN),
        ("123456789012345.67", 123_456_789_012_345.67),
        ("5e-324", 5e-324),
        ("-0.000", -0.0),
        ("12345678901234567.89", f64::NAN),
        ("9007199254740993", f64::NAN),
    ] {
        match expected.is_nan() {
            true => assert_eq!(number(text), Err("value_unreadable"), "{text}"),
            false => assert_eq!(number(text), Ok(Datum::Float64(expected)), "{text}"),
        }
    }
    assert_eq!(number(&format!("1.{}", "7".repeat(70_000))), Err("value_unreadable"));
}

#[test]
fn a_schema_that_is_not_read_is_the_records_refusal() {
    let records = one(None, Some(&framed(10, b"{}")));
    let events = decode_with(settings(&registry("\"string\"")), None, &records);
    let refusal = &events.refused[0].refusal;
    assert_eq!(refusal.code, "schema_unusable");
    assert!(
        refusal.reason.contains("offset 41") && refusal.reason.contains("register it in one piece"),
        "{}",
        refusal.reason
    );
}

#[test]
fn a_binary_key_is_only_asked_for_where_nothing_else_says_the_row() {
    let registry = registry("\"string\"");
    let envelope = |before: &str, operation: &str| {
        format!(r#"{{"before":{before},"after":null,"source":{{"table":"orders"}},"op":"{operation}"}}"#)
    };
    let uuid = b"\x8a\xff\x00\x01".as_slice();
    for key in [&7_i64.to_be_bytes()[..], &(5_i64 << 24).to_be_bytes(), uuid] {
        let refused = |value: Option<&str>, settings: DecoderSettings| {
            let records = one(Some(key), value.map(str::as_bytes));
            let events = decode_with(settings, None, &records);
            events.refused.first().map(|refused| refused.refusal.reason.clone())
        };
        for with in [settings(&registry), decoder_settings(None, "{}")] {
            assert_eq!(refused(Some(r#"{"id":7}"#), with.clone()), None, "{key:?}");
            assert_eq!(refused(Some(&envelope(r#"{"id":7}"#, "d")), with.clone()), None);
            for value in [None, Some("null"), Some(&*envelope("null", "d"))] {
                let reason = refused(value, with.clone()).unwrap();
                assert!(reason.starts_with("the key of the record"), "{reason}");
            }
        }
    }
    // One of a schema is read, or refused.
    let records = one(Some(&framed(11, b"abcdef")), Some(br#"{"id":7}"#));
    let events = decode_with(settings(&registry), None, &records);
    assert_eq!(events.refused[0].refusal.code, "schema_unknown");
}

#[test]
fn entries_of_maps_may_be_called_by_their_name() {
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"a","type":{"type":"array","items":{"type":"record","name":"MapEntry","namespace":"io.confluent.connect.avro",
            "fields":[{"name":"key","type":"long"},{"name":"value","type":"long"}]}}},
        {"name":"b","type":{"type":"array","items":"io.confluent.connect.avro.MapEntry"}}]}"#;
    let row = read(schema, &framed(7, b"\x02\x02\x04\x00\x02\x06\x08\x00")).unwrap();
    let values: Vec<_> = row.into_iter().map(|(_, value)| value.unwrap()).collect();
    assert_eq!(values, [string("[[1,2]]"), string("[[3,4]]")]);
}
