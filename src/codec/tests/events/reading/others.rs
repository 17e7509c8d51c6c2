//! What other writers, and Debezium's own transforms, put beside rows.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_codec::{Envelope, EventDecoder};
use tailrace_core::batch::Operation;
use tailrace_core::ports::sink::{Decoder, EventBatch, Targets};
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::schema::{SharedSchema, TableName};
use tailrace_core::value::LogicalType;

use super::support::*;
use crate::support::*;
use crate::vectors::{number, string};

#[test]
fn a_foreign_header_empties_no_table() {
    let operation = |code: &[u8], with_id: bool| {
        let mut records = one(Some(br#"{"id":7}"#), Some(br#"{"id":7}"#));
        records.push_header("op", code);
        if with_id {
            records.push_header("event_id", b"x:1");
        }
        let events = decode_with(decoder_settings(None, "{}"), None, &records);
        all_seen(&events).first().map(|seen| seen.operation)
    };
    for code in [&b"t"[..], b"m"] {
        assert_eq!(operation(code, false), Some(Operation::Update));
    }
    assert_eq!(operation(b"t", true), Some(Operation::Truncate));
    assert_eq!(operation(b"m", true), None);
    assert_eq!(operation(b"d", false), Some(Operation::Delete));
}

fn enveloped(value: &str, envelope: Option<Envelope>) -> EventBatch {
    decode_with(
        decoder_settings(envelope, "{}"),
        None,
        &one(None, Some(value.as_bytes())),
    )
}

#[test]
fn fields_that_are_added_to_an_envelope_are_passed_over() {
    let rest = r#""after":{"id":7},"source":{"connector":"postgresql","table":"orders"},"op":"c""#;
    for value in [
        format!(r#"{{"before":null,{rest},"ts_kafka":1700000000123}}"#),
        format!(r#"{{"before":null,"lineage":{{"job":"x"}},{rest}}}"#),
    ] {
        for envelope in [None, Some(Envelope::Debezium)] {
            let seen = all_seen(&enveloped(&value, envelope)).remove(0);
            assert_eq!(
                (seen.operation, seen.after),
                (Operation::Create, Some(named([("id", number(7))]))),
                "{value}"
            );
        }
    }
    let first = format!(r#"{{"ts_kafka":1,"before":null,{rest}}}"#);
    assert_eq!(
        all_seen(&enveloped(&first, Some(Envelope::Debezium)))[0].operation,
        Operation::Create
    );
    // A row may have these columns, too.
    for row in [
        r#"{"before":null,"after":{"id":7},"source":{"table":"orders"},"op":"x","other":1}"#,
        r#"{"before":null,"after":{"id":7},"source":{"page":"orders"},"op":"c","other":1}"#,
    ] {
        assert_eq!(all_seen(&enveloped(row, None))[0].operation, Operation::Update, "{row}");
    }
}

#[test]
fn what_debezium_says_beside_rows_is_passed_over() {
    for name in [
        "io.debezium.connector.common.TransactionMetadataValue",
        "io.debezium.connector.common.Heartbeat",
        "io.debezium.connector.common.Notification",
        "io.debezium.connector.mysql.SchemaChangeValue",
    ] {
        let field = r#"{"type":"int64","optional":false,"field":"ts_ms"}"#;
        let value =
            format!(r#"{{"schema":{{"type":"struct","fields":[{field}],"name":"{name}"}},"payload":{{"ts_ms":1}}}}"#);
        for envelope in [None, Some(Envelope::Debezium)] {
            let events = enveloped(&value, envelope);
            assert_eq!(
                (events.passed_over, events.refused.len(), events.changes.changes.len()),
                (1, 0, 0)
            );
        }
    }
}

/// Two tables whose column of one name is of two types.
struct Two;

#[async_trait]
impl Targets for Two {
    async fn target(&mut self, _: &Arc<str>, source: &TableName) -> tailrace_core::Result<Option<SharedSchema>> {
        let of = if source.table == "days" {
            LogicalType::Date
        } else {
            LogicalType::Int64
        };
        Ok(Some(table(vec![required("v", of)], vec![0])))
    }
}

fn record(records: &mut RecordBatch, (offset, key): (i64, &str), of: Option<&str>) {
    let value = of.map(|of| {
        format!(
            r#"{{"before":null,"after":{{"v":17000}},"source":{{"connector":"postgresql","table":"{of}"}},"op":"c"}}"#
        )
    });
    let value = value.as_deref().map(str::as_bytes);
    records.push(("srv.all", 0), offset, 0, (Some(key.as_bytes()), value));
}

#[test]
fn each_table_of_a_topic_has_its_own_types() {
    let mut records = RecordBatch::default();
    for (offset, of) in (0..).zip(["days", "numbers", "days", "numbers", "numbers"]) {
        record(&mut records, (offset, r#"{"v":17000}"#), Some(of));
    }
    record(&mut records, (9, r#"{"v":17000}"#), None);
    let mut decoder = EventDecoder::new(decoder_settings(None, "{}")).unwrap();
    for _ in 0..2 {
        run(decoder.prepare(&records, &mut Two)).unwrap();
        let events = decoder.decode(&records, 0..records.len()).unwrap();
        assert_eq!(events.refused, []);
        let types = events.changes.views().map(|change| {
            let table = change.table().unwrap();
            (
                table.name.table.clone(),
                table.columns[0].logical_type == LogicalType::Date,
            )
        });
        let expected = [("days", true), ("numbers", false), ("days", true)];
        let expected = expected.into_iter().chain([("numbers", false); 3]);
        let expected: Vec<_> = expected.map(|(name, is_date)| (name.to_owned(), is_date)).collect();
        assert_eq!(types.collect::<Vec<_>>(), expected);
        decoder.forget_targets();
    }
}

#[test]
fn keys_are_debeziums_where_any_value_is() {
    let mut first = RecordBatch::default();
    record(&mut first, (0, r#"{"v":17000}"#), None);
    record(&mut first, (1, r#"{"v":17000}"#), Some("days"));
    let mut later = RecordBatch::default();
    record(&mut later, (2, r#"{"v":17000}"#), None);
    let mut decoder = EventDecoder::new(decoder_settings(None, "{}")).unwrap();
    for records in [first, later] {
        run(decoder.prepare(&records, &mut Two)).unwrap();
        let events = decoder.decode(&records, 0..records.len()).unwrap();
        let seen = all_seen(&events);
        assert_eq!(
            (seen[0].operation, &seen[0].before),
            (Operation::Delete, &Some(named([("v", number(17_000))])))
        );
        decoder.forget_targets();
    }
}

#[test]
fn any_number_of_schemas_stand_in_records() {
    let mut records = RecordBatch::default();
    for offset in 0..600 {
        let field = format!(r#"{{"type":"string","optional":false,"field":"v{}"}}"#, offset % 300);
        let value = format!(
            r#"{{"schema":{{"type":"struct","fields":[{field}]}},"payload":{{"v{}":"{offset}"}}}}"#,
            offset % 300
        );
        records.push(("srv.all", 0), offset, 0, (None, Some(value.as_bytes())));
    }
    let events = decode_with(decoder_settings(None, "{}"), None, &records);
    let seen = all_seen(&events);
    assert_eq!(seen[599].after, Some(named([("v299", string("599"))])));
    assert_eq!(events.changes.tables.len(), 300, "each was compiled once");
}

#[test]
fn a_sparse_vector_may_say_its_dimensions_last() {
    let target = table(vec![column("v", LogicalType::SparseVector)], vec![]);
    let vector = |value: &str| {
        let records = one(None, Some(format!(r#"{{"v":{value}}}"#).as_bytes()));
        all_seen(&decode_with(decoder_settings(None, "{}"), Some(&target), &records))
            .remove(0)
            .after
    };
    let expected = vector(r#"{"dimensions":5,"vector":{"2":1.5}}"#);
    assert_eq!(vector(r#"{"vector":{"2":1.5},"dimensions":5}"#), expected);
}
