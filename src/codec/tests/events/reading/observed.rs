//! Events that a real Debezium and Confluent's converter wrote, as rows.

use std::sync::Arc;

use tailrace_codec::{DecoderSettings, EventDecoder};
use tailrace_core::batch::Operation;
use tailrace_core::ports::sink::Decoder;
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::registry::{Schema, SchemaRegistry, SchemaType};
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, LogicalType, TextKind};

use super::support::*;
use crate::avro_observed::{Case, OBSERVED, cases};
use crate::mysql_observed;
use crate::vectors::{number, string};

#[test]
fn a_record_of_debezium_for_mysql_is_its_row() {
    let (key, value) = mysql_observed::OBSERVED.trim_end().split_once('\t').unwrap();
    let records = one(Some(key.as_bytes()), Some(value.as_bytes()));
    let events = decode_with(decoder_settings(None, "{}"), None, &records);
    let change = events.changes.views().next().unwrap();
    let table = change.table().unwrap();
    assert_eq!(table.name.schema, "shop");
    let key: Vec<_> = table.key_columns().map(|column| column.name.as_str()).collect();
    assert_eq!(key, ["code", "id"], "in the key's order");
    let row = all_seen(&events).remove(0).after.unwrap();
    let cell = |name: &str| row.iter().find(|(known, _)| known == name).unwrap().1.clone().unwrap();
    let of = |name: &str| table.columns[table.column_index(name).unwrap()].logical_type.clone();
    assert_eq!(cell("id"), string("18446744073709551615"));
    assert_eq!(cell("code"), string("k\"é"));
    assert_eq!((cell("t"), of("t")), (number(-128), LogicalType::Int16));
    assert_eq!(cell("su"), number(65_535));
    assert_eq!((cell("y"), of("y")), (number(2155), LogicalType::Year));
    assert_eq!(cell("f"), Datum::Float32(1e10));
    assert_eq!(cell("d"), Datum::Float64(1e-7));
    assert_eq!(cell("n"), string("-1.500"));
    assert_eq!(
        (cell("many"), of("many")),
        (string("100000000001"), LogicalType::Bits { length: Some(12) })
    );
    assert_eq!(cell("one"), Datum::Boolean(true));
    assert_eq!(cell("name"), string("😀\n"));
    assert_eq!(cell("raw"), Datum::Bytes(vec![1, 2, 0]));
    assert_eq!(of("doc"), LogicalType::Text(TextKind::Json));
    let symbols = ["a,b", "it's", r"back\slash"].map(str::to_owned);
    assert_eq!(
        (cell("e"), of("e")),
        (string("it's"), LogicalType::Text(TextKind::Enum(symbols.into())))
    );
    assert_eq!(cell("s"), string("x,y"));
    assert_eq!((cell("day"), of("day")), (number(-1), LogicalType::Date));
    assert_eq!(
        (cell("at"), of("at")),
        (number(-3_020_399_000_000), LogicalType::Time { precision: 6 })
    );
    assert_eq!(
        (cell("dt"), of("dt")),
        (number(1_410_198_664_777_000), LogicalType::Timestamp { precision: 3 })
    );
    assert_eq!(cell("dt6"), number(-1));
    assert_eq!(of("ts"), LogicalType::TimestampTz { precision: 6 });
    // MySQL stores the latitude first.
    let point = Datum::List(vec![Datum::Float64(3.5), Datum::Float64(8.25), number(4326)]);
    assert_eq!((cell("p"), of("p")), (point, LogicalType::Point));
    let vector = Datum::List(vec![Datum::Float32(1.1), Datum::Float32(-3.0)]);
    assert_eq!((cell("v"), of("v")), (vector, LogicalType::FloatVector));
    assert_eq!(events.changes.transactions[0].binlog.as_ref().unwrap().server_id, 1);
}

/// What the converter wrote for a case, in a registry and behind its number.
fn observed(line: &str) -> (RecordBatch, Arc<dyn SchemaRegistry>) {
    let (bytes, schema) = line.split_once('\t').unwrap();
    let registry: Arc<dyn SchemaRegistry> = Arc::new(MemoryRegistry::default());
    let schema = Schema {
        schema_type: SchemaType::Avro,
        text: schema.into(),
        properties: std::collections::BTreeMap::new(),
        tags: std::collections::BTreeMap::new(),
    };
    let id = run(registry.register("observed", &schema)).unwrap();
    let pairs = bytes.as_bytes().chunks(2);
    let payload = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    let framed: Vec<u8> = [0].into_iter().chain(id.0.to_be_bytes()).chain(payload).collect();
    (one(None, Some(&framed)), registry)
}

#[test]
fn what_confluents_converter_wrote_is_the_row_that_it_was_made_of() {
    for (number, (case, line)) in cases().iter().zip(OBSERVED.lines()).enumerate() {
        let (records, registry) = observed(line);
        let settings = DecoderSettings {
            registry: Some(registry),
            ..decoder_settings(None, "{}")
        };
        let events = decode_with(settings, None, &records);
        check(number, case, &all_seen(&events).remove(0));
        for length in 0..records.get(0).unwrap().value().unwrap().len() {
            torn(case, line, length);
        }
    }
}

/// A record that ends too early is refused, wherever it ends.
fn torn(case: &Case, line: &str, length: usize) {
    let (records, registry) = observed(line);
    let value = &records.get(0).unwrap().value().unwrap()[..length];
    let settings = DecoderSettings {
        registry: Some(registry),
        ..decoder_settings(None, "{}")
    };
    let mut decoder = EventDecoder::new(settings).unwrap();
    run(decoder.prepare(&records, &mut Target(None))).unwrap();
    let torn = one(None, Some(value));
    run(decoder.prepare(&torn, &mut Target(None))).unwrap();
    let events = decoder.decode(&torn, 0..1).unwrap();
    assert_eq!(
        (events.refused.len(), events.changes.changes.len()),
        (1, 0),
        "{} {length}",
        case.kind
    );
}

fn check(number: usize, case: &Case, seen: &Seen) {
    assert_eq!(seen.operation, case.operation);
    let Some(row) = seen.after.as_ref().or(seen.before.as_ref()) else {
        assert_eq!(case.operation, Operation::Truncate);
        return;
    };
    assert_eq!(row.len(), case.columns.len() + 1);
    for ((column, datum), (name, value)) in case.columns.iter().zip(&row[1..]) {
        assert_eq!(column.name, *name);
        let is_kept = match &column.logical_type {
            // What Debezium's forms of the case do not say.
            LogicalType::Bits { .. } | LogicalType::Shape(_) | LogicalType::UnsignedInt64 | LogicalType::Interval => {
                false
            }
            LogicalType::Decimal { .. } | LogicalType::Money | LogicalType::TimeTz { .. } | LogicalType::Map => false,
            LogicalType::Time { .. } | LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } => {
                !case.format.contains("connect") && !column.name.ends_with('3')
            }
            _ => true,
        };
        assert!(
            !is_kept || value.as_ref() == Some(datum),
            "case {number}, {name}: {value:?} of {:?} is not {datum:?}",
            column.logical_type
        );
    }
}

#[test]
fn what_connect_writes_for_null_is_null() {
    let nothing = br#"{"schema":null,"payload":null}"#;
    let key = br#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":false,"name":"k"},"payload":{"id":7}}"#;
    for value in [None, Some(&nothing[..]), Some(b"null")] {
        let events = decode_with(decoder_settings(None, "{}"), None, &one(Some(key), value));
        let seen = all_seen(&events).remove(0);
        assert_eq!(
            (seen.operation, seen.before),
            (Operation::Delete, Some(named([("id", number(7))])))
        );
    }
    for key in [None, Some(&nothing[..])] {
        let events = decode_with(decoder_settings(None, "{}"), None, &one(key, None));
        assert_eq!(events.refused[0].refusal.code, "record_empty");
        assert_eq!((events.origins.len(), events.advances[0].next_offset), (1, 42));
    }
}

#[test]
fn a_schema_and_its_payload_may_stand_in_any_order_and_with_space() {
    let schema = r#"{"type":"struct","fields":[{"type":"int64","optional":true,"name":"org.apache.kafka.connect.data.Timestamp","version":1,"field":"at"},{"type":"string","optional":true,"field":"b"}],"optional":false}"#;
    let payload = r#"{"b":"x","at":1478267490500}"#;
    let row = named([("at", number(1_478_267_490_500_000)), ("b", string("x"))]);
    for value in [
        format!(r#"{{"schema":{schema},"payload":{payload}}}"#),
        format!(r#"{{ "payload" : {payload} , "schema" : {schema} }}"#),
    ] {
        let events = decode_with(decoder_settings(None, "{}"), None, &one(None, Some(value.as_bytes())));
        assert_eq!(all_seen(&events)[0].after, Some(row.clone()));
    }
    // Columns of these names are a row's.
    let value = br#"{"schema":"public","payload":{"a":1}}"#;
    let events = decode_with(decoder_settings(None, "{}"), None, &one(None, Some(value)));
    assert_eq!(
        all_seen(&events)[0].after,
        Some(named([("schema", string("public")), ("payload", string(r#"{"a":1}"#))]))
    );
}
