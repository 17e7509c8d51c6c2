//! Events of MySQL and MariaDB: names, source block, keys, and their schemas.

use serde_json::{Value, json};
use tailrace_codec::{EventDescriber, TopicTemplate};
use tailrace_core::batch::{BeforeImage, Operation};
use tailrace_core::value::LogicalType;

use crate::support::*;
use crate::vectors::DEBEZIUM;

const TIMES: &str = r#""ts_ms":1700000001000,"ts_us":1700000001000001,"ts_ns":1700000001000001000"#;

fn source(row: u64) -> String {
    format!(
        concat!(
            r#""source":{{"version":"3.7.0","connector":"mysql","name":"srv","ts_ms":1700000000000,"snapshot":"false","db":"shop","#,
            r#""sequence":null,"ts_us":1700000000000000,"ts_ns":1700000000000000000,"table":"orders","server_id":223344,"#,
            r#""gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:23","file":"mysql-bin.000003","pos":484,"row":{},"thread":7,"query":null}}"#
        ),
        row
    )
}

fn envelope(before: &str, after: &str, row: u64, op: &str) -> String {
    let source = source(row);
    format!(r#"{{"before":{before},"after":{after},{source},"transaction":null,"op":"{op}",{TIMES}}}"#)
}

/// Changes of `shop.orders`, all but the first of one rows event.
fn changes() -> Batch {
    let schema = orders(vec![required("id", LogicalType::Int32), column("note", TEXT)], vec![0]);
    let mut batch = Batch::new(&schema);
    batch.changes.transactions = vec![binlog_transaction()];
    let (ada, eve) = ([int(1), text("Ada")], [int(2), text("Eve")]);
    batch.change(Operation::Create, None, Some(&ada));
    batch.change(Operation::Update, Some(&ada), Some(&eve));
    batch.change(Operation::Delete, Some(&eve), None);
    batch.change(Operation::Truncate, None, None);
    for (row, change) in batch.changes.changes.iter_mut().enumerate() {
        change.log_position = Some(484);
        change.ordinal = 3 << 32 | row as u64;
        if change.before.is_some() {
            change.before_image = BeforeImage::Full;
        }
    }
    batch
}

#[test]
fn each_operation_field_for_field() {
    let events = changes().encode_with(settings_of("mysql", DEBEZIUM));
    let (ada, eve) = (r#"{"id":1,"note":"Ada"}"#, r#"{"id":2,"note":"Eve"}"#);
    let (one, two) = (r#"{"id":1}"#, r#"{"id":2}"#);
    let published: Vec<_> = events
        .iter()
        .map(|event| (event.key.as_deref(), event.value.clone()))
        .collect();
    assert_eq!(
        published,
        [
            (Some(one), Some(envelope("null", ada, 0, "c"))),
            // A change of the key is delete, tombstone, create.
            (Some(one), Some(envelope(ada, "null", 1, "d"))),
            (Some(one), None),
            (Some(two), Some(envelope("null", eve, 1, "c"))),
            (Some(two), Some(envelope(eve, "null", 2, "d"))),
            (Some(two), None),
            // Debezium does not know whose statement it was.
            (
                None,
                Some(envelope("null", "null", 3, "t").replace(r#""thread":7"#, r#""thread":null"#)),
            ),
        ]
    );
    assert!(events.iter().all(|event| event.topic == "srv.shop.orders"));
    assert_eq!(events[1].header("__debezium.newkey"), Some(two));
    assert_eq!(events[2].header("__debezium.newkey"), Some(two));
    assert_eq!(events[3].header("__debezium.oldkey"), Some(one));
    assert_eq!(
        events[3].header("event_id"),
        Some("pg-7:mysql-bin.000003:197:12884901889.1")
    );
    assert_eq!(events[0].header("position"), Some("mysql-bin.000003:197"));
    assert_eq!(events[0].header("txn"), None);
}

#[test]
fn schemas_are_named_after_the_database_and_the_table() {
    let schema = orders(vec![required("id", LogicalType::Int32), column("note", TEXT)], vec![0]);
    for kind in ["mysql", "mariadb"] {
        let describer = EventDescriber::new(settings_of(kind, DEBEZIUM)).unwrap();
        let description = describer.describe(&schema).unwrap();
        assert_eq!(description.topic, "srv.shop.orders");
        assert_eq!(description.key_schema.unwrap()["name"], "srv.shop.orders.Key");
        let value = description.value_schema;
        assert_eq!(value["name"], "srv.shop.orders.Envelope");
        assert_eq!(value["fields"][0]["name"], "srv.shop.orders.Value");
        let source = &value["fields"][2];
        assert_eq!(source["name"], format!("io.debezium.connector.{kind}.Source"));
        let fields: Vec<_> = source["fields"].as_array().unwrap().iter().map(field).collect();
        assert_eq!(
            fields,
            [
                ("version", "string", false),
                ("connector", "string", false),
                ("name", "string", false),
                ("ts_ms", "int64", false),
                ("snapshot", "string", true),
                ("db", "string", false),
                ("sequence", "string", true),
                ("ts_us", "int64", true),
                ("ts_ns", "int64", true),
                ("table", "string", true),
                ("server_id", "int64", false),
                ("gtid", "string", true),
                ("file", "string", false),
                ("pos", "int64", false),
                ("row", "int32", false),
                ("thread", "int64", true),
                ("query", "string", true),
            ]
        );
        assert_eq!(
            source["fields"][10],
            json!({"type": "int64", "optional": false, "field": "server_id"})
        );
    }
}

fn field(field: &Value) -> (&str, &str, bool) {
    (
        field["field"].as_str().unwrap(),
        field["type"].as_str().unwrap(),
        field["optional"].as_bool().unwrap(),
    )
}

#[test]
fn a_template_may_call_the_schema_a_database() {
    let mut settings = settings_of("mariadb", "{}");
    settings.template = TopicTemplate::parse("{prefix}.{database}.{table}").unwrap();
    let events = changes().encode_with(settings);
    assert!(events.iter().all(|event| event.topic == "srv.shop.orders"));
}

#[test]
fn entities_are_rows_and_tombstones() {
    let events = changes().encode_with(settings_of("mysql", "{}"));
    let published: Vec<_> = events
        .iter()
        .map(|event| (event.key.as_deref().unwrap(), event.value.as_deref()))
        .collect();
    let (one, two) = (r#"{"id":1}"#, r#"{"id":2}"#);
    assert_eq!(
        published,
        [
            (one, Some(r#"{"id":1,"note":"Ada"}"#)),
            (one, None),
            (two, Some(r#"{"id":2,"note":"Eve"}"#)),
            (two, None),
            ("{}", Some("{}")),
        ]
    );
}
