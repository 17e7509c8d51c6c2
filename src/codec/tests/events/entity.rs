//! The entity envelope.

use tailrace_core::batch::Operation;
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::schema::{TableKind, TableName, TableSchema};
use tailrace_core::value::{Datum, LogicalType};

use crate::support::*;

const FORMAT: &str = "{}";

#[test]
fn a_row_is_its_columns() {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Create, None, Some(&[int(1), text("Ada \"L\""), null()]));
    let event = batch.encode(FORMAT).remove(0);
    assert_eq!(event.topic, "srv.public.customers");
    assert_eq!(event.key.as_deref(), Some(r#"{"id":1}"#));
    assert_eq!(
        event.value.as_deref(),
        Some(r#"{"id":1,"name":"Ada \"L\"","notes":null}"#)
    );
    assert_eq!(event.timestamp_ms, 1_700_000_000_123);
    let headers: Vec<_> = event
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("updated_at", "2023-11-14T22:13:20.123456Z"),
            ("op", "c"),
            ("source", "orders"),
            ("position", "0/16E9018"),
            ("event_id", "pg-7:0/16E9018:0"),
            ("txn", "555"),
        ]
    );
}

#[test]
fn a_delete_is_a_tombstone() {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Delete, Some(&[int(7), null(), null()]), None);
    let event = batch.encode(FORMAT).remove(0);
    assert_eq!(
        (event.key.as_deref(), event.value.as_deref()),
        (Some(r#"{"id":7}"#), None)
    );
    assert_eq!(event.header("op"), Some("d"));
}

#[test]
fn a_change_of_the_key_forgets_the_old_one_first() {
    let mut batch = Batch::new(&customers());
    batch.change(
        Operation::Update,
        Some(&[int(1), null(), null()]),
        Some(&[int(2), text("b"), null()]),
    );
    batch.change(
        Operation::Update,
        Some(&[int(2), null(), null()]),
        Some(&[int(2), text("c"), null()]),
    );
    let events = batch.encode(FORMAT);
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.key.as_deref().unwrap(),
                event.value.is_some(),
                event.header("op").unwrap(),
                event.header("event_id").unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (r#"{"id":1}"#, false, "d", "pg-7:0/16E9018:0"),
            (r#"{"id":2}"#, true, "c", "pg-7:0/16E9018:0.1"),
            (r#"{"id":2}"#, true, "u", "pg-7:0/16E9018:1"),
        ]
    );
}

#[test]
fn unchanged_large_values_are_left_out_and_named() {
    let mut batch = Batch::new(&customers());
    batch.change(
        Operation::Update,
        None,
        Some(&[int(1), Cell::Unchanged, Cell::Unchanged]),
    );
    batch.change(Operation::Update, None, Some(&[int(1), text("x"), null()]));
    let events = batch.encode(FORMAT);
    assert_eq!(events[0].value.as_deref(), Some(r#"{"id":1}"#));
    assert_eq!(events[0].header("unchanged"), Some(r#"["name","notes"]"#));
    assert_eq!(events[1].header("unchanged"), None);
}

#[test]
fn a_table_without_key_has_records_without_key() {
    let keyless = table(vec![column("a", LogicalType::Int64)], vec![]);
    let mut batch = Batch::new(&keyless);
    batch.change(Operation::Create, None, Some(&[int(1)]));
    batch.change(Operation::Delete, Some(&[int(1)]), None);
    batch.change(Operation::Truncate, None, None);
    let events = batch.encode(FORMAT);
    assert!(events.iter().all(|event| event.key.is_none()));
    assert_eq!(events[1].value.as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(events[1].header("op"), Some("d"));
    assert_eq!(events[2].value.as_deref(), Some("{}"));
}

#[test]
fn a_truncate_is_an_empty_object_and_can_be_left_out() {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Truncate, None, None);
    let event = batch.encode(FORMAT).remove(0);
    assert_eq!((event.key.as_deref(), event.value.as_deref()), (Some("{}"), Some("{}")));
    assert_eq!(event.header("op"), Some("t"));
    assert!(batch.encode(r#"{"truncate":"skip"}"#).is_empty());
}

#[test]
fn a_logical_message_is_prefix_and_content() {
    let schema = TableSchema {
        name: TableName {
            database: "app".into(),
            schema: String::new(),
            table: "message".into(),
        },
        kind: TableKind::Message,
        columns: vec![required("prefix", TEXT), required("content", LogicalType::Bytes)],
        key: vec![],
        documentation: None,
    };
    let mut batch = Batch::new(&schema.into());
    batch.change(
        Operation::Message,
        None,
        Some(&[text("audit"), Cell::Is(Datum::Bytes(vec![1, 2, 3]))]),
    );
    let event = batch.encode(FORMAT).remove(0);
    assert_eq!(event.topic, "srv.message");
    assert_eq!(event.key, None);
    assert_eq!(event.value.as_deref(), Some(r#"{"prefix":"audit","content":"AQID"}"#));
}

#[test]
fn the_rows_own_time_beats_the_commits() {
    let mut batch = Batch::new(&customers());
    batch
        .change(Operation::Read, None, Some(&[int(1), text(""), null()]))
        .updated_at_us = Some(1_478_267_490_123_456);
    batch.change(Operation::Read, None, Some(&[int(2), text(""), null()]));
    batch
        .change(Operation::Read, None, Some(&[int(3), text(""), null()]))
        .updated_at_us = Some(-1);
    let events = batch.encode(FORMAT);
    assert_eq!(events[0].header("updated_at"), Some("2016-11-04T13:51:30.123456Z"));
    assert_eq!(events[0].timestamp_ms, 1_478_267_490_123);
    assert_eq!(events[1].header("updated_at"), Some("2023-11-14T22:13:20.123456Z"));
    assert_eq!(events[2].header("updated_at"), Some("1969-12-31T23:59:59.999999Z"));
    assert_eq!(events[2].timestamp_ms, 0);
}

#[test]
fn a_route_beats_the_template() {
    let mut batch = Batch::new(&customers());
    batch
        .change(Operation::Create, None, Some(&[int(1), text(""), null()]))
        .topic = Some("elsewhere".into());
    batch.change(Operation::Create, None, Some(&[int(1), text(""), null()]));
    let topics: Vec<_> = batch.encode(FORMAT).into_iter().map(|event| event.topic).collect();
    assert_eq!(topics, ["elsewhere", "srv.public.customers"]);
}

#[test]
fn a_source_without_transaction_numbers_has_no_txn() {
    let mut batch = Batch::new(&customers());
    batch.changes.transactions[0].id = None;
    batch.change(Operation::Create, None, Some(&[int(1), text(""), null()]));
    assert_eq!(batch.encode(FORMAT)[0].header("txn"), None);
}

#[test]
fn inline_schemas_are_connects() {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Create, None, Some(&[int(1), text("a"), null()]));
    let event = batch.encode(r#"{"inline_schema":true}"#).remove(0);
    assert_eq!(
        event.key.as_deref(),
        Some(concat!(
            r#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":false,"#,
            r#""name":"srv.public.customers.Key"},"payload":{"id":1}}"#
        ))
    );
    let value = event.value_json();
    assert_eq!(value["payload"]["name"], "a");
    assert_eq!(value["schema"]["fields"][2]["optional"], true);
}

#[test]
fn two_tables_of_one_topic_are_refused() {
    let named = |schema: &str, name: &str| {
        let mut table = (*customers()).clone();
        table.name.schema = schema.to_owned();
        table.name.table = name.to_owned();
        table.into()
    };
    let mut encoder = encoder(FORMAT);
    let mut first = Batch::new(&named("a.b", "c"));
    first.change(Operation::Create, None, Some(&[int(1), text(""), null()]));
    encoder.encode(&first.changes).unwrap();
    let second = Batch::new(&named("a", "b.c"));
    let error = encoder
        .encode(&second.changes)
        .and_then(EncodedBatch::complete)
        .unwrap_err();
    assert_eq!(error.code(), "topic_collision");
}

#[test]
fn a_new_version_of_a_table_gets_a_new_plan() {
    let mut encoder = encoder(FORMAT);
    let mut before = Batch::new(&customers());
    before.change(Operation::Create, None, Some(&[int(1), text("a"), null()]));
    let wider = table(
        vec![required("id", LogicalType::Int32), column("more", LogicalType::Boolean)],
        vec![0],
    );
    let mut after = Batch::new(&wider);
    after.change(Operation::Create, None, Some(&[int(1), Cell::Is(Datum::Boolean(true))]));
    encoder.encode(&before.changes).unwrap();
    let seen = events(&encoder.encode(&after.changes).unwrap());
    assert_eq!(seen[0].value.as_deref(), Some(r#"{"id":1,"more":true}"#));
}

#[test]
fn what_cannot_be_encoded_is_poison_and_says_where() {
    let amounts = table(
        vec![column(
            "total",
            LogicalType::Decimal {
                precision: None,
                scale: None,
            },
        )],
        vec![],
    );
    let mut batch = Batch::new(&amounts);
    batch.change(Operation::Create, None, Some(&[text("NaN")]));
    let error = encoder(r#"{"decimal":"precise"}"#)
        .encode(&batch.changes)
        .and_then(EncodedBatch::complete)
        .unwrap_err();
    assert_eq!(error.code(), "value_not_encodable");
    assert_eq!(
        error.to_string(),
        "the value of column total of table public.customers is NaN or infinite, which precise decimals cannot hold (event pg-7:0/16E9018:0); set format.decimal: string (or double), or format.unrepresentable: as_string (or as_null, outside of the key)"
    );
}

#[test]
fn a_key_that_is_not_in_the_log_is_taken_from_the_row_before_or_refused() {
    let documents = table(vec![required("path", TEXT), column("n", LogicalType::Int32)], vec![0]);
    let mut batch = Batch::new(&documents);
    batch.change(
        Operation::Update,
        Some(&[text("a/b"), null()]),
        Some(&[Cell::Unchanged, int(2)]),
    );
    let events = batch.encode(FORMAT);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].key.as_deref(), Some(r#"{"path":"a/b"}"#));
    batch.change(Operation::Update, None, Some(&[Cell::Unchanged, int(2)]));
    let error = encoder(FORMAT)
        .encode(&batch.changes)
        .and_then(EncodedBatch::complete)
        .unwrap_err();
    assert!(error.to_string().contains("part of the key"));
}

#[test]
fn a_row_before_without_our_key_is_no_old_key() {
    // The log carries the columns of another index than the key: ours are null there and mean nothing.
    let mut batch = Batch::new(&customers());
    batch.change(
        Operation::Update,
        Some(&[null(), text("a"), null()]),
        Some(&[int(1), text("b"), null()]),
    );
    let events = batch.encode(FORMAT);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].header("op"), Some("u"));
    batch.change(Operation::Delete, Some(&[null(), text("a"), null()]), None);
    let error = encoder(FORMAT)
        .encode(&batch.changes)
        .and_then(EncodedBatch::complete)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a change of table public.customers has no row to take its key from (event pg-7:0/16E9018:1); set a replica identity on the table that covers its key"
    );
}

#[test]
fn a_refused_change_leaves_nothing_behind_and_the_others_are_as_without_it() {
    let amount = LogicalType::Decimal {
        precision: None,
        scale: None,
    };
    let amounts = table(
        vec![required("id", LogicalType::Int32), column("total", amount)],
        vec![0],
    );
    let row = |id, total: &str| [int(id), text(total)];
    let mut batch = Batch::new(&amounts);
    // The refused one is the first to write the time, which the others share.
    for (id, total) in [(1, "NaN"), (2, "2"), (3, "3"), (4, "-Infinity")] {
        batch.change(Operation::Create, None, Some(&row(id, total)));
    }
    batch.change(Operation::Update, Some(&row(5, "5")), Some(&row(6, "NaN")));
    batch.change(Operation::Update, Some(&row(7, "7")), Some(&row(8, "8")));
    let encoded = encoder(r#"{"decimal":"precise"}"#).encode(&batch.changes).unwrap();
    let refused: Vec<_> = encoded.refused.iter().map(|refused| refused.change).collect();
    assert_eq!(refused, [0, 3, 4]);
    let mut without = batch.changes.clone();
    let kept = |(index, change): (usize, _)| (!refused.contains(&index)).then_some(change);
    without.changes = without.changes.into_iter().enumerate().filter_map(kept).collect();
    let expected = encoder(r#"{"decimal":"precise"}"#).encode(&without).unwrap();
    assert_eq!(events(&encoded), events(&expected));
    assert_eq!(encoded.buffer, expected.buffer);
}
