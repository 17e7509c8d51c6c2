//! Properties over rows and bytes that nobody thought of.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tailrace_codec::{DecoderSettings, Envelope};
use tailrace_core::batch::Operation;
use tailrace_core::ports::sink::EventBatch;
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::registry::{Schema, SchemaRegistry, SchemaType};
use tailrace_core::schema::SharedSchema;
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::LogicalType;

use super::support::*;
use super::vectors::comes_back;
use crate::property::{of_kind, typed};
use crate::support::*;

const AVRO: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"a","type":["null","long"]},{"name":"b","type":"string"},{"name":"c","type":{"type":"array","items":["null","double"]}},
    {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"e","type":["null","int","string"]},
    {"name":"f","type":{"type":"map","values":["null","string"]}},{"name":"g","type":{"type":"enum","name":"G","symbols":["X","Y"]}}]}"#;

const JSON: &str = r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":["string","null"]},
    "c":{"type":"array","items":{"type":"number"}},"d":{"type":"object"}}}"#;

fn target() -> SharedSchema {
    table(
        vec![
            column("a", LogicalType::Int64),
            column("b", TEXT),
            column("c", LogicalType::Timestamp { precision: 6 }),
            column("d", LogicalType::Bytes),
            column("e", LogicalType::Point),
            column("f", LogicalType::Map),
        ],
        vec![0],
    )
}

/// Bytes like those of records: framed, JSON, torn, or none of it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("null"),
        Just("true"),
        Just("-1.5e3"),
        Just("12"),
        Just("\"a\""),
        Just("\"b\""),
        Just("\"c\""),
        Just("\"d\""),
        Just("\"e\""),
        Just("\"op\""),
        Just("\"before\""),
        Just("\"after\""),
        Just("\"source\""),
        Just("\"schema\""),
        Just("\"payload\""),
        Just("\"type\""),
        Just("\"struct\""),
        Just("\"\\ud83d\\ude00\""),
        Just("\"\\ud83d\""),
        Just("\"\\"),
        Just("{\"schema\":"),
        Just(" "),
    ];
    prop_oneof![
        vec(any::<u8>(), 0..60),
        (0_u32..4, vec(any::<u8>(), 0..60)).prop_map(|(id, rest)| [0]
            .into_iter()
            .chain(id.to_be_bytes())
            .chain(rest)
            .collect()),
        vec(word, 0..30).prop_map(|words| words.concat().into_bytes()),
        any::<String>().prop_map(|text| format!("{{\"a\":1,\"b\":{text:?}}}").into_bytes()),
    ]
}

fn registry() -> Arc<dyn SchemaRegistry> {
    let registry: Arc<dyn SchemaRegistry> = Arc::new(MemoryRegistry::default());
    for (schema_type, text) in [(SchemaType::Avro, AVRO), (SchemaType::Json, JSON)] {
        let schema = Schema {
            schema_type,
            text: text.into(),
            properties: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        run(registry.register(schema_type_name(schema_type), &schema)).unwrap();
    }
    registry
}

fn schema_type_name(schema_type: SchemaType) -> &'static str {
    match schema_type {
        SchemaType::Avro => "avro",
        SchemaType::Json => "json",
    }
}

fn decode(records: &RecordBatch, envelope: Option<Envelope>) -> EventBatch {
    let settings = DecoderSettings {
        registry: Some(registry()),
        ..decoder_settings(envelope, "{}")
    };
    decode_with(settings, Some(&target()), records)
}

/// Every record is a change, or refused, or says nothing of rows; and every row has as many cells as its table has columns.
fn is_whole(events: &EventBatch) -> Result<(), TestCaseError> {
    let passed_over = usize::try_from(events.passed_over).unwrap();
    prop_assert_eq!(
        events.origins.len(),
        events.changes.changes.len() + events.refused.len() + passed_over
    );
    for change in events.changes.views() {
        let columns = change.table().unwrap().columns.len();
        for row in [change.before(), change.after()].into_iter().flatten() {
            prop_assert_eq!(row.len(), columns);
        }
    }
    for refused in &events.refused {
        prop_assert!(
            refused.refusal.reason.contains("topic t, partition 1, offset "),
            "{}",
            refused.refusal.reason
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_rows_or_refused(
        parts in vec((proptest::option::of(bytes()), proptest::option::of(bytes())), 1..6),
        envelope in prop_oneof![Just(None), Just(Some(Envelope::Entity)), Just(Some(Envelope::Debezium))],
        operation in proptest::option::of("[rcudtmx]"),
    ) {
        let mut records = RecordBatch::default();
        for (offset, (key, value)) in (0..).zip(&parts) {
            records.push(("t", 1), offset, -5, (key.as_deref(), value.as_deref()));
            if let Some(operation) = &operation {
                records.push_header("op", operation.as_bytes());
                records.push_header("updated_at", operation.as_bytes());
                records.push_header("unchanged", b"[\"a\"");
            }
        }
        is_whole(&decode(&records, envelope))?;
    }

    #[test]
    fn any_value_comes_back(
        typed in typed(),
        mysql in any::<bool>(),
        format in prop_oneof![
            Just("{}"), Just(r#"{"envelope":"debezium"}"#), Just(r#"{"envelope":"debezium","time":"isostring","decimal":"string"}"#),
            Just(r#"{"envelope":"debezium","time":"structured"}"#), Just(r#"{"time":"adaptive","decimal":"precise","hstore":"json"}"#),
        ],
    ) {
        let kind = if mysql { "mysql" } else { "postgresql" };
        let (logical_type, datum) = of_kind(kind, typed);
        comes_back(&logical_type, &datum, &settings_of(kind, format));
    }

    #[test]
    fn one_bad_record_leaves_the_others_alone(bad in bytes(), good in 0_i32..1000) {
        let customers = customers();
        let mut batch = Batch::new(&customers);
        let row = [int(good.into()), text("Ada"), null()];
        batch.change(Operation::Create, None, Some(&row));
        let value = batch.encode("{}").remove(0).value.unwrap();
        let mut records = RecordBatch::default();
        for (offset, value) in (0..).zip([value.as_bytes(), &bad, value.as_bytes()]) {
            records.push(("t", 1), offset, 0, (None, Some(value)));
        }
        let events = decode_with(decoder_settings(None, "{}"), Some(&customers), &records);
        is_whole(&events)?;
        let rows: Vec<_> = events.changes.views().filter(|change| change.change().ordinal != 1).map(seen).collect();
        prop_assert_eq!(rows.len(), 2);
        prop_assert_eq!(&rows[0], &rows[1]);
    }
}
