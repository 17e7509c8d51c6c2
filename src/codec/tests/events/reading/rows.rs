//! Whole rows through every codec and envelope: operations, keys, headers, tables.

use std::sync::Arc;

use tailrace_codec::EventDecoder;
use tailrace_core::batch::{BeforeImage, Operation};
use tailrace_core::ports::sink::Decoder;
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::schema::{TableKind, TableSchema};
use tailrace_core::value::{Datum, LogicalType, ShapeKind};

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
        let table = events.changes.views().next().unwrap().table().unwrap();
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
        let tombstones = u64::from(!format.contains("entity"));
        assert_eq!((seen.len(), events.passed_over), (1, tombstones), "{format}");
        assert_eq!(
            (seen[0].operation, seen[0].image, seen[0].after.as_ref()),
            (Operation::Delete, BeforeImage::Key, None)
        );
        assert_eq!(seen[0].before.as_ref().unwrap()[0], ("id".into(), Some(number(7))));
    }
}

/// Records as key and value, of one partition.
fn partition(records: &[(i64, &str, Option<&str>)]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for (offset, key, value) in records {
        let value = value.map(str::as_bytes);
        batch.push(("legacy.customers", 0), *offset, 0, (Some(key.as_bytes()), value));
    }
    batch
}

const GONE: &str =
    r#"{"before":{"id":7},"after":null,"source":{"db":"app","schema":"sales","table":"kunden"},"op":"d"}"#;
const KEY: &str = r#"{"id":7}"#;

#[test]
fn a_tombstone_behind_its_delete_says_nothing_new() {
    let deletes = |records: &[(i64, &str, Option<&str>)]| {
        let events = decode_with(decoder_settings(None, "{}"), None, &partition(records));
        (all_seen(&events).len(), events.passed_over)
    };
    assert_eq!(deletes(&[(5, KEY, Some(GONE)), (6, KEY, None)]), (1, 1));
    assert_eq!(
        deletes(&[(6, KEY, None)]),
        (1, 0),
        "a compacted topic has only that one"
    );
    assert_eq!(deletes(&[(5, KEY, Some(GONE)), (6, r#"{"id":8}"#, None)]), (2, 0));
    assert_eq!(
        deletes(&[(5, KEY, Some(GONE)), (9, KEY, None)]),
        (2, 0),
        "a row may have been between them"
    );
    assert_eq!(deletes(&[(5, KEY, None), (6, KEY, None)]), (2, 0));
    // Also where the two are read one after the other.
    let records = partition(&[(5, KEY, Some(GONE)), (6, KEY, None)]);
    let mut decoder = EventDecoder::new(decoder_settings(None, "{}")).unwrap();
    run(decoder.prepare(&records, &mut Target(None))).unwrap();
    let counts = [0..1, 1..2, 0..2, 0..1, 1..2].map(|range| {
        let events = decoder.decode(&records, range).unwrap();
        (all_seen(&events).len(), events.passed_over)
    });
    assert_eq!(counts, [(1, 0), (0, 1), (1, 1), (1, 0), (0, 1)]);
}

#[test]
fn a_tombstone_is_of_the_table_that_the_topics_rows_are_of() {
    let tables = |records: &[(i64, &str, Option<&str>)]| -> Vec<String> {
        let events = decode_with(decoder_settings(None, "{}"), None, &partition(records));
        assert_eq!(events.refused, []);
        let names = events
            .changes
            .views()
            .map(|change| change.table().unwrap().name.qualified());
        names.collect()
    };
    assert_eq!(
        tables(&[(4, KEY, Some(GONE)), (7, KEY, None)]),
        ["sales.kunden", "sales.kunden"]
    );
    assert_eq!(
        tables(&[(1, KEY, None), (4, KEY, Some(GONE))]),
        ["sales.kunden", "sales.kunden"],
        "a row behind it says it, too"
    );
    assert_eq!(tables(&[(1, KEY, None)]), ["legacy.customers"]);
}

#[test]
fn truncates_come_back_and_messages_are_passed_over() {
    let customers = customers();
    let mut batch = Batch::new(&customers);
    batch.change(Operation::Truncate, None, None);
    batch.change(Operation::Create, None, Some(&[int(7), text("Ada"), null()]));
    let mut messages = Batch::new(&Arc::new(TableSchema {
        kind: TableKind::Message,
        ..(*table(
            vec![required("prefix", TEXT), required("content", LogicalType::Bytes)],
            vec![],
        ))
        .clone()
    }));
    messages.change(
        Operation::Message,
        None,
        Some(&[text("p"), Cell::Is(Datum::Bytes(vec![1]))]),
    );
    for format in FORMATS {
        let events = there_and_back(&batch.changes, settings(format), Some(&customers));
        let seen = all_seen(&events);
        assert_eq!(
            (seen[0].operation, &seen[0].before, &seen[0].after),
            (Operation::Truncate, &None, &None),
            "{format}"
        );
        let table = events.changes.views().next().unwrap().table().unwrap();
        assert_eq!(table.name.table, "customers", "{format}");
        assert_eq!(seen[1].after.as_ref(), Some(&ada()), "{format}");
        let events = there_and_back(&messages.changes, settings(format), None);
        assert_eq!((events.passed_over, all_seen(&events).len()), (1, 0), "{format}");
    }
}

#[test]
fn a_change_of_the_key_is_a_delete_and_a_row() {
    let customers = customers();
    let mut batch = Batch::new(&customers);
    batch.change(
        Operation::Update,
        Some(&[int(6), null(), null()]),
        Some(&[int(7), text("Ada"), null()]),
    );
    for format in FORMATS {
        let events = there_and_back(&batch.changes, settings(format), Some(&customers));
        let seen = all_seen(&events);
        let (gone, row) = (&seen[0], seen.last().unwrap());
        assert_eq!(
            (gone.operation, gone.before.as_ref().unwrap()[0].1.clone()),
            (Operation::Delete, Some(number(6))),
            "{format}"
        );
        assert_eq!(
            (row.operation, row.after.as_ref()),
            (Operation::Create, Some(&ada())),
            "{format}"
        );
    }
}

#[test]
fn a_table_without_a_key_has_whole_rows_in_its_deletes() {
    let keyless = table(vec![required("id", LogicalType::Int32), column("name", TEXT)], vec![]);
    let mut batch = Batch::new(&keyless);
    batch
        .change(Operation::Delete, Some(&[int(7), text("Ada")]), None)
        .before_image = BeforeImage::Full;
    for format in FORMATS {
        let events = there_and_back(&batch.changes, settings(format), Some(&keyless));
        let seen = all_seen(&events).remove(0);
        assert_eq!(
            (seen.operation, seen.image, seen.after),
            (Operation::Delete, BeforeImage::Full, None),
            "{format}"
        );
        assert_eq!(
            seen.before,
            Some(named([("id", number(7)), ("name", string("Ada"))])),
            "{format}"
        );
        assert_eq!(events.changes.tables[0].key, [] as [usize; 0]);
    }
}

#[test]
fn names_that_avro_does_not_allow_come_back() {
    let names = ["a-b", "a_b", "1st", "like_u002d", "žš", "a b"];
    let odd = table(
        names.iter().map(|name| required(name, LogicalType::Int32)).collect(),
        vec![0],
    );
    let mut batch = Batch::new(&odd);
    let row: Vec<Cell> = (0..6).map(int).collect();
    batch.change(Operation::Create, None, Some(&row));
    for format in FORMATS {
        let events = there_and_back(&batch.changes, settings(format), Some(&odd));
        let seen = all_seen(&events).remove(0).after.unwrap();
        let read: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(read, names, "{format}");
        assert_eq!(events.changes.tables[0].key, [0], "{format}");
    }
}

#[test]
fn progress_is_told_of_each_partition() {
    let mut records = RecordBatch::default();
    for (partition, offset) in [(0, 5), (1, 9), (0, 8)] {
        records.push(("a.orders", partition), offset, 7, (None, Some(b"{}")));
    }
    let events = decode_with(decoder_settings(None, "{}"), None, &records);
    let advances: Vec<_> = events
        .advances
        .iter()
        .map(|advance| (advance.partition.to_string(), advance.next_offset))
        .collect();
    assert_eq!(advances, [("a.orders-0".to_owned(), 9), ("a.orders-1".to_owned(), 10)]);
    assert_eq!(events.advances[0].last_record, Some(records.get(2).unwrap().mark()));
    let origins: Vec<_> = events
        .origins
        .iter()
        .map(|origin| (origin.partition, origin.offset))
        .collect();
    assert_eq!(origins, [(0, 5), (1, 9), (0, 8)]);
    let ordinals: Vec<_> = events.changes.views().map(|change| change.change().ordinal).collect();
    assert_eq!(ordinals, [0, 1, 2]);
    assert_eq!(
        events.changes.views().next().unwrap().change().updated_at_us,
        Some(7000),
        "the record's own time"
    );
}

#[test]
fn a_changed_table_is_asked_again() {
    let mut decoder = EventDecoder::new(decoder_settings(None, "{}")).unwrap();
    let records = one(None, Some(br#"{"v":"1"}"#));
    let mut read = |target: LogicalType, forget: bool| {
        if forget {
            decoder.forget_targets();
        }
        let mut target = Target(Some(table(vec![column("v", target)], vec![])));
        run(decoder.prepare(&records, &mut target)).unwrap();
        all_seen(&decoder.decode(&records, 0..1).unwrap())
            .remove(0)
            .after
            .unwrap()
            .remove(0)
            .1
    };
    assert_eq!(read(TEXT, false), Some(string("1")));
    assert_eq!(read(LogicalType::Int32, false), Some(string("1")));
    assert_eq!(read(LogicalType::Int32, true), Some(number(1)));
}

/// A JSON Schema says how text stands for bytes, under every name that RFC 4648 has for it.
#[test]
fn bytes_of_a_json_schema_are_bytes() {
    let arrays = LogicalType::Array(Box::new(LogicalType::Bytes));
    let schema = table(
        vec![column("v", LogicalType::Bytes), column("list", arrays.clone())],
        vec![],
    );
    let bytes = Datum::Bytes(vec![0, 0xfb, 0xff, b'a']);
    let list = Datum::List(vec![bytes.clone(), Datum::Null, Datum::Bytes(Vec::new())]);
    let mut batch = Batch::new(&schema);
    let row = [Cell::Is(bytes.clone()), Cell::Is(list.clone())];
    batch.change(Operation::Create, None, Some(&row));
    for binary in ["base64", "base64_url_safe", "hex", "bytes"] {
        let format = format!(r#"{{"codec":"json_schema","binary":"{binary}"}}"#);
        // Nothing but the schema tells: there is no table yet.
        let events = there_and_back(&batch.changes, settings(&format), None);
        let change = events.changes.views().next().unwrap();
        let types: Vec<_> = change
            .table()
            .unwrap()
            .columns
            .iter()
            .map(|column| &column.logical_type)
            .collect();
        assert_eq!(types, [&LogicalType::Bytes, &arrays], "{binary}");
        let expected = named([("v", bytes.clone()), ("list", list.clone())]);
        assert_eq!(all_seen(&events)[0].after.as_ref(), Some(&expected), "{binary}");
    }
}

/// A geometry says by its ends alone whether a path is closed.
#[test]
fn paths_are_as_closed_as_they_were() {
    let path = LogicalType::Shape(ShapeKind::Path);
    let line = |points: &[[f64; 2]]| {
        let count = u32::try_from(points.len()).unwrap().to_le_bytes();
        let coordinates = points.iter().flatten().flat_map(|number| number.to_le_bytes());
        [1, 2, 0, 0, 0]
            .into_iter()
            .chain(count)
            .chain(coordinates)
            .collect::<Vec<u8>>()
    };
    let (first, second) = ([0.5, -1.0], [2.0, 3.0]);
    let schema = table(vec![column("v", path)], vec![]);
    for format in FORMATS
        .into_iter()
        .filter(|format| format.contains("avro") || format.contains("true"))
    {
        let read = |points: &[[f64; 2]], is_closed| {
            let cell = Datum::List(vec![Datum::Bytes(line(points)), Datum::Boolean(is_closed)]);
            let mut batch = Batch::new(&schema);
            batch.change(Operation::Create, None, Some(&[Cell::Is(cell)]));
            let events = there_and_back(&batch.changes, settings(format), None);
            match events.refused.first() {
                Some(refused) => Err(refused.refusal.reason.clone()),
                None => Ok(all_seen(&events)[0].after.clone().unwrap()[0].1.clone()),
            }
        };
        let bytes = |points: &[[f64; 2]]| Ok::<_, String>(Some(Datum::Bytes(line(points))));
        assert_eq!(read(&[first, second], false), bytes(&[first, second]), "{format}");
        assert_eq!(read(&[first, second], true), bytes(&[first, second, first]), "{format}");
        assert_eq!(read(&[first], true), bytes(&[first, first]), "{format}");
        assert_eq!(read(&[first], false), bytes(&[first]), "{format}");
        assert!(
            read(&[first, second, first], false).unwrap_err().contains("ends meet"),
            "{format}"
        );
    }
}
