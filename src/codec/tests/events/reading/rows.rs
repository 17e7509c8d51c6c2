//! Whole rows through every codec and envelope: operations, keys, headers, tables.

use tailrace_core::batch::{BeforeImage, Operation};
use tailrace_core::value::{Datum, LogicalType};

use super::support::*;
use crate::support::*;
use crate::vectors::{number, string};

/// Every way in which an event is written.
pub(crate) const FORMATS: [&str; 8] = [
    r#"{"envelope":"entity"}"#,
    r#"{"envelope":"entity","inline_schema":true}"#,
    r#"{"envelope":"entity","codec":"json_schema"}"#,
    r#"{"envelope":"entity","codec":"avro"}"#,
    r#"{"envelope":"debezium"}"#,
    r#"{"envelope":"debezium","inline_schema":true}"#,
    r#"{"envelope":"debezium","codec":"json_schema"}"#,
    r#"{"envelope":"debezium","codec":"avro"}"#,
];

fn ada() -> Vec<(String, Option<Datum>)> {
    named([("id", number(7)), ("name", string("Ada")), ("notes", Datum::Null)])
}

#[test]
fn rows_come_back() {
    let customers = customers();
    let mut batch = Batch::new(&customers);
    let row = [int(7), text("Ada"), null()];
    for operation in [Operation::Read, Operation::Create] {
        batch.change(operation, None, Some(&row));
    }
    batch.change(
        Operation::Update,
        Some(&row),
        Some(&[int(7), text("Grace \"quoted\" žš😀"), null()]),
    );
    for format in FORMATS {
        let events = there_and_back(&batch.changes, settings(format), Some(&customers));
        let seen = all_seen(&events);
        let operations: Vec<_> = seen.iter().map(|seen| seen.operation).collect();
        assert_eq!(
            operations,
            [Operation::Read, Operation::Create, Operation::Update],
            "{format}"
        );
        assert_eq!(seen[0].after.as_ref(), Some(&ada()), "{format}");
        assert_eq!(
            seen[2].after.as_ref().unwrap()[1].1,
            Some(string("Grace \"quoted\" žš😀")),
            "{format}"
        );
        let table = events.changes.views().next().unwrap().table().unwrap().clone();
        assert_eq!(table.key, [0], "{format}");
        assert_eq!(
            (table.name.schema.as_str(), table.name.table.as_str()),
            ("public", "customers")
        );
        let types: Vec<_> = table.columns.iter().map(|column| column.logical_type.clone()).collect();
        assert_eq!(types, [LogicalType::Int32, TEXT, TEXT], "{format}");
        let change = events.changes.views().next().unwrap();
        assert_eq!(change.change().updated_at_us, Some(1_700_000_000_123_456), "{format}");
        assert_eq!(&*change.transaction().unwrap().position, "0/16E9018", "{format}");
        assert_eq!(events.changes.transactions.len(), 1);
    }
}

#[test]
fn deletes_come_back() {
    let customers = customers();
    let mut batch = Batch::new(&customers);
    batch.change(Operation::Delete, Some(&[int(7), null(), null()]), None);
    for format in FORMATS {
        let events = there_and_back(&batch.changes, settings(format), Some(&customers));
        let seen = all_seen(&events);
        assert_eq!(
            seen.len(),
            if format.contains("entity") { 1 } else { 2 },
            "a tombstone deletes by key, too: {format}"
        );
        let by_key = seen.last().unwrap();
        assert_eq!(by_key.operation, Operation::Delete);
        assert_eq!(by_key.before, Some(named([("id", number(7))])), "{format}");
        for seen in &seen {
            assert_eq!((seen.image, seen.after.as_ref()), (BeforeImage::Key, None));
            assert_eq!(seen.before.as_ref().unwrap()[0], ("id".into(), Some(number(7))));
        }
    }
}
