//! Rows in, events out.

use std::collections::VecDeque;

use tailrace_core::batch::{BeforeImage, ChangeView, PayloadView, Transaction};
use tailrace_core::ports::RowJudge;
use tailrace_core::position::Progress;
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::value::{Datum, LogicalType, TextKind};

use super::*;
use crate::config::{QueryConfig, QueryMode};
use crate::contract::Contract;

const TEXT: LogicalType = LogicalType::Text(TextKind::Plain);
const TIME: LogicalType = LogicalType::TimestampTz { precision: 6 };

/// A source with batches in it.
struct Batches(VecDeque<ChangeBatch>);

#[async_trait]
impl Source for Batches {
    async fn next_batch(&mut self, _budget: Budget) -> Result<ChangeBatch> {
        self.0.pop_front().ok_or_else(|| Error::transient("end", "no more"))
    }

    async fn confirm(&mut self, _durable: &Position) -> Result<()> {
        Ok(())
    }
}

fn schema(kind: TableKind, table: &str, columns: &[(&str, LogicalType)]) -> SharedSchema {
    let column = |(name, logical_type): &(&str, LogicalType)| Column {
        source_type: "its type".to_owned(),
        ..Column::new(*name, logical_type.clone())
    };
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: "public".to_owned(),
            table: table.to_owned(),
        },
        kind,
        columns: columns.iter().map(column).collect(),
        key: vec![0],
        documentation: None,
    })
}

fn outbox_table() -> SharedSchema {
    let json = LogicalType::Text(TextKind::Json);
    schema(
        TableKind::Table,
        "outbox",
        &[
            ("id", LogicalType::Text(TextKind::Uuid)),
            ("aggregatetype", TEXT),
            ("aggregateid", LogicalType::Int64),
            ("type", TEXT),
            ("payload", json.clone()),
            ("headers", json),
            ("created_at", TIME),
            ("tenant", TEXT),
        ],
    )
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

fn good() -> Vec<Datum> {
    vec![
        text("e-1"),
        text("Order Line"),
        Datum::Int(7),
        text("Created"),
        text("{\"a\": 1.0 }"),
        text(r#"{"traceparent":"00-1","n":1}"#),
        Datum::Int(1_700_000_000_000_001),
        text("acme"),
    ]
}

/// The good row with one other value.
fn with(index: usize, value: Datum) -> Vec<Datum> {
    let mut row = good();
    row[index] = value;
    row
}

fn batch() -> ChangeBatch {
    let mut batch = ChangeBatch::new("db".into(), Progress::at(Position::new("0")));
    batch.push_transaction(Transaction {
        id: None,
        committed_at_us: 5,
        position: "0/1".into(),
        log_position: None,
        previous_log_position: None,
        binlog: None,
    });
    batch
}

fn push(batch: &mut ChangeBatch, schema: &SharedSchema, operation: Operation, row: &[Datum]) {
    batch.begin_row().unwrap();
    for value in row {
        match value {
            Datum::Text(text) => batch.push_text(text).unwrap(),
            Datum::Bytes(bytes) => batch.push_bytes(bytes).unwrap(),
            Datum::Int(number) => batch.push_int(*number),
            _ => batch.push_null(),
        }
    }
    let row = batch.end_row().unwrap();
    let table = batch.table_index(schema);
    let gone = operation == Operation::Delete;
    let ordinal = u64::try_from(batch.changes.len()).unwrap();
    batch.changes.push(Change {
        operation,
        table,
        transaction: 0,
        before: gone.then_some(row),
        before_image: BeforeImage::None,
        after: (!gone).then_some(row),
        ordinal,
        log_position: None,
        updated_at_us: None,
        topic: None,
        message: None,
    });
}

/// An event, as text: topic, key, payload, id, time, headers.
type Read = (String, String, String, String, i64, Vec<String>);

fn read(change: ChangeView<'_>) -> Read {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let message = change.message().unwrap();
    let payload = match message.payload() {
        PayloadView::Absent => "absent".to_owned(),
        PayloadView::Bytes(bytes) => lossy(bytes),
        PayloadView::Columns(columns) => format!("{columns:?}"),
        PayloadView::Refused(refusal) => format!("{}: {}", refusal.code, refusal.reason),
    };
    let headers = message
        .headers()
        .map(|(name, value)| format!("{name}={}", lossy(value)));
    (
        change.change().topic.as_deref().unwrap_or_default().to_owned(),
        message.key().map(lossy).unwrap_or_default(),
        payload,
        message.event_id().map(lossy).unwrap_or_default(),
        change.updated_at_us(),
        headers.collect(),
    )
}

fn outbox(config: &str) -> Result<Outbox> {
    Outbox::new(serde_json::from_str(config).unwrap(), "srv", None)
}

async fn interpret(outbox: Outbox, batch: ChangeBatch) -> (Result<ChangeBatch>, Arc<Telemetry>) {
    let telemetry = Arc::new(Telemetry::new("test"));
    let source = Batches([batch].into());
    let mut source = OutboxSource::new(Box::new(source), Arc::new(outbox), Arc::clone(&telemetry)).unwrap();
    let budget = Budget {
        changes: 100,
        bytes: 100,
    };
    (source.next_batch(budget).await, telemetry)
}

async fn events(config: &str, rows: &[Vec<Datum>]) -> Result<Vec<Read>> {
    let (table, mut batch) = (outbox_table(), batch());
    for row in rows {
        push(&mut batch, &table, Operation::Create, row);
    }
    let (batch, _) = interpret(outbox(config)?, batch).await;
    Ok(batch?.views().map(read).collect())
}

#[tokio::test]
async fn a_row_becomes_its_event() {
    let config = r#"{"headers":[{"column":"tenant"},{"column":"aggregateid","name":"order"}]}"#;
    let found = events(config, &[good()]).await.unwrap().remove(0);
    let headers = ["type=Created", "tenant=acme", "order=7", "traceparent=00-1", "n=1"];
    assert_eq!(
        found,
        (
            "outbox.event.Order_x20_Line".to_owned(),
            "7".to_owned(),
            "{\"a\": 1.0 }".to_owned(),
            "e-1".to_owned(),
            1_700_000_000_000_001,
            headers.map(str::to_owned).to_vec(),
        )
    );
}

#[tokio::test]
async fn columns_may_be_called_otherwise() {
    let config = r#"{"topic":"{prefix}.{tenant}.{type}","payload":"columns","columns":{"aggregate_id":"tenant","type":"aggregatetype"}}"#;
    let found = events(config, &[with(6, Datum::Null)]).await.unwrap().remove(0);
    assert_eq!(found.0, "srv.acme.Created");
    assert_eq!(found.1, "acme");
    assert_eq!(found.2, "[2, 4]", "what has no other purpose: aggregateid and payload");
    assert_eq!(found.4, 5, "without a time of its own it is the commit's");
}

#[tokio::test]
async fn raw_ids_and_empty_payloads() {
    let uuid = Datum::Bytes((0..16).collect());
    let rows = [
        with(0, uuid),
        with(0, Datum::Bytes(vec![0, 255])),
        with(4, Datum::Null),
        with(4, text(" ")),
    ];
    let ids = |found: &[Read]| found.iter().map(|event| event.3.clone()).collect::<Vec<_>>();
    let found = events("{}", &rows).await.unwrap();
    assert_eq!(
        ids(&found),
        ["00010203-0405-0607-0809-0a0b0c0d0e0f", "00ff", "e-1", "e-1"]
    );
    assert_eq!((&*found[2].2, &*found[3].2), ("", " "));
    let found = events(r#"{"tombstone_on_empty_payload":true}"#, &rows).await.unwrap();
    assert_eq!((&*found[2].2, &*found[3].2), ("absent", "absent"));
}

#[tokio::test]
async fn only_inserts_are_events() {
    let (table, other) = (outbox_table(), schema(TableKind::Table, "orders", &[("id", TEXT)]));
    let mut changes = batch();
    push(&mut changes, &table, Operation::Create, &good());
    push(&mut changes, &table, Operation::Delete, &good());
    push(&mut changes, &table, Operation::Update, &good());
    push(&mut changes, &other, Operation::Delete, &[text("1")]);
    push(&mut changes, &table, Operation::Read, &good());
    let only = |updates: &str| outbox(&format!(r#"{{"tables":["public.outbox"],"updates":"{updates}"}}"#)).unwrap();
    let (read, telemetry) = interpret(only("warn"), changes.clone()).await;
    let read = read.unwrap();
    let kept: Vec<_> = read
        .views()
        .map(|change| (change.change().ordinal, change.message().is_some()))
        .collect();
    assert_eq!(kept, [(0, true), (3, false), (4, true)]);
    assert_eq!(telemetry.numbers.filtered.load(Ordering::Relaxed), 2);
    assert!(telemetry.snapshot().notices.contains_key("outbox_updated"));

    let (read, telemetry) = interpret(only("ignore"), changes.clone()).await;
    assert_eq!(read.unwrap().changes.len(), 3);
    assert!(telemetry.snapshot().notices.is_empty());

    let (read, _) = interpret(only("halt"), changes).await;
    assert_eq!(read.unwrap_err().code(), "outbox_updated");
}

fn bad_rows() -> Vec<(Vec<Datum>, &'static str)> {
    vec![
        (with(0, Datum::Null), "id_missing"),
        (with(1, Datum::Null), "topic_missing"),
        (with(1, text(&"a".repeat(250))), "topic_invalid"),
        (with(2, Datum::Null), "key_missing"),
        (with(3, Datum::Null), "type_missing"),
        (with(3, text("Deleted")), "type_unknown"),
        (with(4, text("{\"a\":")), "payload_not_json"),
        (with(4, text("{}")), "payload_breaks_contract"),
        (with(5, text("[]")), "headers_not_json"),
    ]
}

fn strict(hold_bad_rows: bool) -> Outbox {
    let config = format!(r#"{{"types":["Created"],"hold_bad_rows":{hold_bad_rows}}}"#);
    let contract = Contract::parse(br#"{"required":["a"]}"#).unwrap();
    Outbox::new(serde_json::from_str(&config).unwrap(), "srv", Some(contract)).unwrap()
}

#[tokio::test]
async fn a_bad_row_is_refused_in_its_place_and_says_why() {
    for (row, code) in bad_rows() {
        let mut changes = batch();
        for row in [good(), row.clone(), good()] {
            push(&mut changes, &outbox_table(), Operation::Create, &row);
        }
        let (read_batch, _) = interpret(strict(false), changes).await;
        let read_batch = read_batch.unwrap();
        let found: Vec<_> = read_batch.views().map(read).collect();
        assert_eq!(found[0], found[2]);
        let said = &found[1].2;
        for part in ["outbox_row_invalid: ", code, "public.outbox", "0/1", "dead_letters"] {
            assert!(said.contains(part), "{code}: {part} is not in {said}");
        }
        assert_eq!(found[1].5.len(), 0, "{code}: no header of the event that it is not");
        let refused = read_batch.views().nth(1).unwrap();
        let text = |index: usize| match &row[index] {
            Datum::Text(text) => Some(text.clone()),
            Datum::Int(number) => Some(number.to_string()),
            _ => None,
        };
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let message = refused.message().unwrap();
        assert_eq!(message.key().map(lossy), text(2), "what must wait for it is known");
        assert_eq!(message.event_id().map(lossy), text(0));
    }
}

#[tokio::test]
async fn a_row_that_was_set_aside_is_read_again_with_the_configuration_of_now() {
    use tailrace_core::dead_letter::{Letter, Original};

    let messages = schema(
        TableKind::Message,
        "message",
        &[("prefix", TEXT), ("content", LogicalType::Bytes)],
    );
    let content = r#"{"id":"m-1","aggregatetype":"Order","aggregateid":"7","type":"Deleted","payload":"{}"}"#;
    let message = [text("outbox"), Datum::Bytes(content.into())];
    for (table, operation, row) in [
        (outbox_table(), Operation::Create, with(3, text("Deleted"))),
        (messages, Operation::Message, message.to_vec()),
    ] {
        let mut changes = batch();
        push(&mut changes, &table, operation, &row);
        let config = |types: &str| {
            outbox(&format!(
                r#"{{"types":["{types}"],"message_prefix":"outbox","tables":["public.outbox"]}}"#
            ))
        };
        let (refused, _) = interpret(config("Created").unwrap(), changes).await;
        let refused = refused.unwrap();
        let view = refused.views().next().unwrap();
        let PayloadView::Refused(refusal) = view.message().unwrap().payload() else {
            panic!("{view:?} is an event");
        };
        let letter = Letter::of_change(view, refusal, 0);
        let stored = serde_json::to_string(&letter).unwrap();
        let letter: Letter = serde_json::from_str(&stored).unwrap();
        let Some(Original::Change(image)) = letter.original else {
            panic!("{stored} holds no change");
        };
        assert!(image.is_event());
        let (again, _) = interpret(config("Deleted").unwrap(), image.restore().unwrap()).await;
        let again = again.unwrap();
        let found: Vec<_> = again.views().map(read).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, "7");
        assert_eq!(found[0].3, letter.event_id);
        assert!(found[0].0.starts_with("outbox.event.Order"), "{found:?}");
    }
}

#[tokio::test]
async fn messages_of_the_log_are_events_without_a_table() {
    let columns = [("prefix", TEXT), ("content", LogicalType::Bytes)];
    let messages = schema(TableKind::Message, "message", &columns);
    let mut changes = batch();
    let mut say = |prefix: &str, content: &str| {
        let content = Datum::Bytes(content.as_bytes().to_vec());
        push(&mut changes, &messages, Operation::Message, &[text(prefix), content]);
    };
    let start = r#""id":"m-1","aggregatetype":"Order","aggregateid":7,"type":"Created","#;
    say(
        "outbox",
        &format!(r#"{{{start}"payload":{{"a": [1.0]}},"headers":{{"h":"x"}},"created_at":9}}"#),
    );
    say("outbox", &format!(r#"{{{start}"payload":"as \"it\" is"}}"#));
    say("other", "not JSON");
    say("outbox", "not JSON");
    let config = r#"{"message_prefix":"outbox"}"#;
    let (changes, _) = interpret(outbox(config).unwrap(), changes).await;
    let changes = changes.unwrap();
    assert!(changes.views().nth(2).unwrap().message().is_none());
    let found: Vec<_> = changes
        .views()
        .filter(|change| change.message().is_some())
        .map(read)
        .collect();
    let event = |payload: &str, at, headers: &[&str]| {
        let own = |text: &str| text.to_owned();
        let headers = headers.iter().copied().map(own).collect();
        (
            own("outbox.event.Order"),
            own("7"),
            own(payload),
            own("m-1"),
            at,
            headers,
        )
    };
    assert_eq!(found[0], event(r#"{"a": [1.0]}"#, 9, &["type=Created", "h=x"]));
    assert_eq!(found[1], event(r#"as "it" is"#, 5, &["type=Created"]));
    assert!(found[2].2.starts_with("outbox_row_invalid"), "{:?}", found[2]);
}

#[test]
fn tables_that_are_no_outbox_are_found_before_the_start() {
    let query = QueryConfig::new(QueryMode::Incrementing);
    let codes = |config: &str, tables: &[SharedSchema], polled: bool| {
        let findings = outbox(config).unwrap().check(tables, polled.then_some(&query));
        findings.into_iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    let (fits, other) = (outbox_table(), schema(TableKind::Table, "orders", &[("id", TIME)]));
    assert_eq!(codes("{}", &[Arc::clone(&fits)], true), [""; 0]);
    let both = [fits, Arc::clone(&other)];
    assert_eq!(
        codes("{}", &both, false),
        ["outbox_columns_missing", "outbox_columns_unfit"]
    );
    assert_eq!(codes(r#"{"tables":["public.outbox"]}"#, &both, false), [""; 0]);
    assert_eq!(codes(r#"{"tables":["none"]}"#, &both, false), ["outbox_tables_missing"]);
    let tables = std::slice::from_ref(&both[0]);
    assert_eq!(
        codes(r#"{"deleted_by_application":true}"#, tables, true),
        ["outbox_rows_deleted"]
    );
    assert_eq!(codes(r#"{"deleted_by_application":true}"#, tables, false), [""; 0]);
    assert_eq!(
        codes(r#"{"message_prefix":"outbox"}"#, tables, true),
        ["outbox_messages_polled"]
    );
    for polled in [true, false] {
        assert_eq!(codes(r#"{"hold_bad_rows":true}"#, tables, polled), ["rows_not_held"]);
    }
    let named = r#"{"columns":{"headers":"tenant_headers","timestamp":"tenant"},"topic":"{nothing}"}"#;
    let finding = outbox(named).unwrap().check(tables, None).remove(0);
    assert!(
        finding.problem.contains("no column nothing, tenant_headers; it has id"),
        "{}",
        finding.problem
    );
}

#[test]
fn a_bad_row_holds_its_aggregate_back_until_it_is_mended() {
    let telemetry = Arc::new(Telemetry::new("test"));
    let mut judge = Judge::new(Arc::new(strict(true)), Arc::clone(&telemetry));
    let table = outbox_table();
    let mut round = |rows: &[Vec<Datum>]| {
        let mut batch = batch();
        judge.begin_round(&table);
        let mut verdicts = Vec::new();
        for row in rows {
            push(&mut batch, &table, Operation::Create, row);
            let row = batch.changes.last().and_then(|change| change.after).unwrap();
            verdicts.push(judge.holds(&table, batch.row(row)));
        }
        verdicts
    };
    let other = with(2, Datum::Int(8));
    for (bad, _) in bad_rows().into_iter().filter(|(row, _)| row[2] != Datum::Null) {
        let rows = [good(), bad, good(), other.clone(), good()];
        assert_eq!(round(&rows), [false, true, true, false, true]);
    }
    // A row without a key holds nobody back.
    assert_eq!(round(&[with(2, Datum::Null), good()]), [true, false]);
    assert_eq!(round(&[good(), good()]), [false, false]);
    let said = telemetry.snapshot().notices["outbox_held"].clone();
    assert!(
        said.contains("1 rows of public.outbox wait") && said.contains("NULL"),
        "{said}"
    );
    assert_eq!(round(&[]), [false; 0]);
    assert!(telemetry.snapshot().notices.is_empty());
}

#[test]
fn contradictions_are_refused() {
    for config in [
        r#"{"message_prefix":""}"#,
        r#"{"payload":"columns","payload_format":"json"}"#,
        r#"{"payload":"columns","message_prefix":"m"}"#,
    ] {
        assert_eq!(outbox(config).unwrap_err().code(), "outbox_invalid");
    }
    assert_eq!(outbox(r#"{"topic":"a b"}"#).unwrap_err().code(), "outbox_topic_invalid");
}
