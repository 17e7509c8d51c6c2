//! Changes that are events already: what came in goes out, byte for byte.

use tailrace_core::batch::{Message, Operation, Payload};

use crate::support::{Batch, Cell, customers, int, null, settings, text};

const FORMATS: [&str; 2] = [r#"{"envelope":"entity"}"#, r#"{"envelope":"debezium"}"#];

/// A change whose row says: key is column 1, the payload as given.
fn batch_with(cells: &[Cell], payload: impl FnOnce(&mut Batch) -> Payload) -> Batch {
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Read, None, Some(cells));
    let row = batch.changes.changes[0].after.unwrap();
    let name = batch
        .changes
        .write_part(|out| out.extend_from_slice(b"traceparent"))
        .unwrap();
    let value = batch.changes.write_part(|out| out.extend_from_slice(b"00-1")).unwrap();
    let event_id = batch.changes.write_part(|out| out.extend_from_slice(b"e-7")).unwrap();
    batch.changes.push_message_header(name, value);
    let message = Message {
        key: batch.changes.part_of(row, 1),
        payload: payload(&mut batch),
        event_id: Some(event_id),
    };
    let message = batch.changes.push_message(message).unwrap();
    let change = &mut batch.changes.changes[0];
    change.message = Some(message);
    change.topic = Some("outbox.event.Order".into());
    change.updated_at_us = Some(1_600_000_000_000_001);
    batch
}

#[test]
fn a_message_goes_out_as_it_came() {
    let payload = "{ \"a\" : 1.0,  \"b\":\"\u{1f600}\" }\n";
    for format in FORMATS {
        let batch = batch_with(&[int(1), text("order-7"), text(payload)], |batch| {
            let row = batch.changes.changes[0].after.unwrap();
            Payload::Part(batch.changes.part_of(row, 2).unwrap())
        });
        let event = batch.encode_with(settings(format)).remove(0);
        assert_eq!(event.topic, "outbox.event.Order");
        assert_eq!(event.key.as_deref(), Some("order-7"));
        assert_eq!(event.value.as_deref(), Some(payload));
        assert_eq!(event.timestamp_ms, 1_600_000_000_000);
        let headers: Vec<_> = event.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            headers,
            [
                ("updated_at", "2020-09-13T12:26:40.000001Z"),
                ("op", "c"),
                ("source", "orders"),
                ("position", "0/16E9018"),
                ("event_id", "e-7"),
                ("txn", "555"),
                ("id", "e-7"),
                ("traceparent", "00-1"),
            ]
        );
    }
}

#[test]
fn a_message_may_be_a_tombstone_or_columns_of_its_row() {
    for format in FORMATS {
        let cells = [int(1), text("order-7"), null()];
        let absent = batch_with(&cells, |_| Payload::Absent);
        assert_eq!(absent.encode_with(settings(format)).remove(0).value, None);
        let columns = batch_with(&cells, |_| Payload::Columns([0, 2].into()));
        let event = columns.encode_with(settings(format)).remove(0);
        assert_eq!(event.value.as_deref(), Some(r#"{"id":1,"notes":null}"#));
    }
}
