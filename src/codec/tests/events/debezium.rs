//! Debezium's envelope.

use tailrace_codec::EventDescriber;
use tailrace_core::batch::Operation;
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::schema::{TableKind, TableName, TableSchema};
use tailrace_core::value::{Datum, LogicalType};

use crate::support::*;

const FORMAT: &str = r#"{"envelope":"debezium"}"#;

const SOURCE: &str = concat!(
    r#""source":{"version":"3.7.0","connector":"postgresql","name":"srv","ts_ms":1700000000123,"snapshot":"false","db":"app","#,
    r#""sequence":"[\"24023119\",\"24023128\"]","ts_us":1700000000123456,"ts_ns":1700000000123456000,"schema":"public","#,
    r#""table":"customers","txId":555,"lsn":24023128,"xmin":null,"origin":null,"origin_lsn":null}"#
);
const TIMES: &str = r#""ts_ms":1700000001000,"ts_us":1700000001000001,"ts_ns":1700000001000001000"#;

fn envelope(before: &str, after: &str, op: &str) -> String {
    format!(r#"{{"before":{before},"after":{after},{SOURCE},"transaction":null,"op":"{op}",{TIMES}}}"#)
}

#[test]
fn each_operation_field_for_field() {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Create, None, Some(&[int(1), text("Ada"), null()]));
    batch.change(
        Operation::Update,
        Some(&[int(1), text("Ada"), null()]),
        Some(&[int(1), text("Eve"), null()]),
    );
    batch.change(Operation::Update, None, Some(&[int(1), text("Eve"), null()]));
    batch.change(Operation::Truncate, None, None);
    let events = batch.encode(FORMAT);
    let ada = r#"{"id":1,"name":"Ada","notes":null}"#;
    let eve = r#"{"id":1,"name":"Eve","notes":null}"#;
    let values: Vec<_> = events.iter().map(|event| event.value.clone().unwrap()).collect();
    assert_eq!(
        values,
        [
            envelope("null", ada, "c"),
            envelope(ada, eve, "u"),
            envelope("null", eve, "u"),
            envelope("null", "null", "t")
        ]
    );
    let keys: Vec<_> = events.iter().map(|event| event.key.as_deref()).collect();
    let one = Some(r#"{"id":1}"#);
    assert_eq!(keys, [one, one, one, None]);
}

#[test]
fn a_delete_has_the_key_and_zeros_and_is_followed_by_a_tombstone() {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Delete, Some(&[int(1), null(), null()]), None);
    let events = batch.encode(FORMAT);
    assert_eq!(
        events[0].value.as_deref().unwrap(),
        envelope(r#"{"id":1,"name":"","notes":null}"#, "null", "d")
    );
    assert_eq!(
        (events[1].key.as_deref(), events[1].value.as_deref()),
        (Some(r#"{"id":1}"#), None)
    );
    assert_eq!(events[1].header("event_id"), Some("pg-7:0/16E9018:0.t"));
    let without = batch.encode(r#"{"envelope":"debezium","tombstones":false}"#);
    assert_eq!(without.len(), 1);
}

#[test]
fn a_change_of_the_key_is_delete_tombstone_create_with_links() {
    let mut batch = Batch::new(&customers());
    batch.change(
        Operation::Update,
        Some(&[int(1), null(), null()]),
        Some(&[int(2), text("b"), null()]),
    );
    let events = batch.encode(FORMAT);
    let ops: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.key.as_deref().unwrap(),
                event.header("op").unwrap(),
                event.value.is_some(),
            )
        })
        .collect();
    assert_eq!(
        ops,
        [
            (r#"{"id":1}"#, "d", true),
            (r#"{"id":1}"#, "d", false),
            (r#"{"id":2}"#, "c", true)
        ]
    );
    assert_eq!(events[0].header("__debezium.newkey"), Some(r#"{"id":2}"#));
    assert_eq!(events[1].header("__debezium.newkey"), Some(r#"{"id":2}"#));
    assert_eq!(events[2].header("__debezium.oldkey"), Some(r#"{"id":1}"#));
    assert_eq!(events[2].value_json()["before"], serde_json::Value::Null);
    let ids: Vec<_> = events.iter().map(|event| event.header("event_id").unwrap()).collect();
    assert_eq!(ids, ["pg-7:0/16E9018:0", "pg-7:0/16E9018:0.t", "pg-7:0/16E9018:0.1"]);
}

#[test]
fn links_have_no_schema_in_them() {
    let mut batch = Batch::new(&customers());
    batch.change(
        Operation::Update,
        Some(&[int(1), null(), null()]),
        Some(&[int(2), text("b"), null()]),
    );
    let events = batch.encode(r#"{"envelope":"debezium","inline_schema":true}"#);
    assert_eq!(events[0].header("__debezium.newkey"), Some(r#"{"id":2}"#));
    assert!(events[0].key.as_deref().unwrap().ends_with(r#""payload":{"id":1}}"#));
}

#[test]
fn unchanged_large_values_are_placeholders_and_named() {
    let wide = table(
        vec![
            required("id", LogicalType::Int64),
            required("body", TEXT),
            column("raw", LogicalType::Bytes),
            column("codes", LogicalType::Array(Box::new(LogicalType::Int32))),
        ],
        vec![0],
    );
    let mut batch = Batch::new(&wide);
    batch.change(
        Operation::Update,
        None,
        Some(&[int(1), Cell::Unchanged, Cell::Unchanged, Cell::Unchanged]),
    );
    let event = batch.encode(FORMAT).remove(0);
    let after = &event.value_json()["after"];
    assert_eq!(after["body"], "__debezium_unavailable_value", "PV219");
    assert_eq!(after["raw"], "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==");
    assert_eq!(after["codes"][2], 100, "PV221");
    assert_eq!(event.header("unchanged"), Some(r#"["body","raw","codes"]"#));
    let custom = batch
        .encode(r#"{"envelope":"debezium","unavailable_value":"gone"}"#)
        .remove(0);
    assert_eq!(custom.value_json()["after"]["body"], "gone");
}

#[test]
fn what_has_no_placeholder_is_poison_and_never_null() {
    let mut batch = Batch::new(&table(
        vec![column("flags", LogicalType::Array(Box::new(LogicalType::Boolean)))],
        vec![],
    ));
    batch.change(Operation::Update, None, Some(&[Cell::Unchanged]));
    let error = encoder(FORMAT)
        .encode(&batch.changes)
        .and_then(EncodedBatch::complete)
        .unwrap_err();
    assert!(error.to_string().contains("REPLICA IDENTITY FULL"));
}

#[test]
fn rows_of_a_snapshot_say_so() {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Read, None, Some(&[int(1), text("a"), null()]));
    let value = batch.encode(FORMAT)[0].value_json();
    assert_eq!(value["source"]["snapshot"], "true");
    assert_eq!(value["op"], "r");
}

fn messages() -> TableSchema {
    TableSchema {
        name: TableName {
            database: "app".into(),
            schema: String::new(),
            table: "message".into(),
        },
        kind: TableKind::Message,
        columns: vec![required("prefix", TEXT), required("content", LogicalType::Bytes)],
        key: vec![],
        documentation: None,
    }
}

#[test]
fn a_logical_message_has_debeziums_own_shape() {
    let mut batch = Batch::new(&messages().into());
    batch.change(
        Operation::Message,
        None,
        Some(&[text("audit"), Cell::Is(Datum::Bytes(vec![1, 2, 3]))]),
    );
    let event = batch.encode(FORMAT).remove(0);
    assert_eq!(event.topic, "srv.message");
    assert_eq!(event.key.as_deref(), Some(r#"{"prefix":"audit"}"#));
    let source = SOURCE.replace("public", "").replace("customers", "");
    let expected = format!(
        r#"{{"op":"m","ts_ms":1700000001000,{source},"transaction":null,"message":{{"prefix":"audit","content":"AQID"}}}}"#
    );
    assert_eq!(event.value.unwrap(), expected);
}

#[test]
fn inline_schemas_of_the_envelope() {
    let mut table = (*customers()).clone();
    table.columns[1].default = Some(Datum::Text("nobody".into()));
    table.columns[2].documentation = Some("what \"they\" said".into());
    let mut batch = Batch::new(&table.into());
    batch.change(Operation::Create, None, Some(&[int(1), text("Ada"), null()]));
    let value = batch
        .encode(r#"{"envelope":"debezium","inline_schema":true}"#)
        .remove(0)
        .value
        .unwrap();
    let row = concat!(
        r#"{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},"#,
        r#"{"type":"string","optional":false,"default":"nobody","field":"name"},"#,
        r#"{"type":"string","optional":true,"doc":"what \"they\" said","field":"notes"}],"#,
        r#""optional":true,"name":"srv.public.customers.Value","field":"#
    );
    let source = concat!(
        r#"{"type":"struct","fields":[{"type":"string","optional":false,"field":"version"},"#,
        r#"{"type":"string","optional":false,"field":"connector"},{"type":"string","optional":false,"field":"name"},"#,
        r#"{"type":"int64","optional":false,"field":"ts_ms"},"#,
        r#"{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"#,
        r#""parameters":{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"#,
        r#""default":"false","field":"snapshot"},{"type":"string","optional":false,"field":"db"},"#,
        r#"{"type":"string","optional":true,"field":"sequence"},{"type":"int64","optional":true,"field":"ts_us"},"#,
        r#"{"type":"int64","optional":true,"field":"ts_ns"},{"type":"string","optional":false,"field":"schema"},"#,
        r#"{"type":"string","optional":false,"field":"table"},{"type":"int64","optional":true,"field":"txId"},"#,
        r#"{"type":"int64","optional":true,"field":"lsn"},{"type":"int64","optional":true,"field":"xmin"},"#,
        r#"{"type":"string","optional":true,"field":"origin"},{"type":"int64","optional":true,"field":"origin_lsn"}],"#,
        r#""optional":false,"name":"io.debezium.connector.postgresql.Source","version":1,"field":"source"}"#
    );
    let transaction = concat!(
        r#"{"type":"struct","fields":[{"type":"string","optional":false,"field":"id"},"#,
        r#"{"type":"int64","optional":false,"field":"total_order"},"#,
        r#"{"type":"int64","optional":false,"field":"data_collection_order"}],"#,
        r#""optional":true,"name":"event.block","version":1,"field":"transaction"}"#
    );
    let rest = concat!(
        r#"{"type":"string","optional":false,"field":"op"},{"type":"int64","optional":true,"field":"ts_ms"},"#,
        r#"{"type":"int64","optional":true,"field":"ts_us"},{"type":"int64","optional":true,"field":"ts_ns"}],"#,
        r#""optional":false,"name":"srv.public.customers.Envelope","version":2}"#
    );
    let schema = format!(
        r#"{{"schema":{{"type":"struct","fields":[{row}"before"}},{row}"after"}},{source},{transaction},{rest},"payload":"#
    );
    let expected = schema + &envelope("null", r#"{"id":1,"name":"Ada","notes":null}"#, "c") + "}";
    assert_eq!(value, expected);
}

#[test]
fn a_description_is_what_inline_schemas_say() {
    let describer = EventDescriber::new(settings(FORMAT)).unwrap();
    let description = describer.describe(&customers()).unwrap();
    assert_eq!(description.topic, "srv.public.customers");
    assert_eq!(description.key_schema.unwrap()["fields"][0]["field"], "id");
    assert_eq!(description.value_schema["name"], "srv.public.customers.Envelope");
    let message = describer.describe(&messages().into()).unwrap();
    assert_eq!(message.topic, "srv.message");
    assert_eq!(
        message.key_schema.unwrap()["name"],
        "io.debezium.connector.postgresql.MessageKey"
    );
    assert_eq!(message.value_schema["fields"][4]["fields"][1]["field"], "content");
}
