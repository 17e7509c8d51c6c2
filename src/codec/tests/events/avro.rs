//! Avro: our bytes are the reference's bytes, its reader reads them back, and nothing is published that was not registered.

use std::sync::Arc;

use apache_avro::Schema as AvroSchema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tailrace_codec::{EncoderSettings, EventEncoder, RecordReader, parse_avro_schema};
use tailrace_core::batch::{ChangeBatch, Message, Operation, Payload};
use tailrace_core::error::Kind;
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::registry::{SchemaId, SchemaRegistry, SchemaType};
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableSchema};
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, Interval, LogicalType, TextKind};

use crate::property::{of_kind, operation, typed};
use crate::support::*;

const ENTITY: &str = r#"{"codec":"avro"}"#;
const DEBEZIUM: &str = r#"{"codec":"avro","envelope":"debezium"}"#;

/// A record with its key and value as they are in the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Framed {
    topic: String,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

pub(crate) fn framed(batch: &EncodedBatch) -> Vec<Framed> {
    let record = |record: &tailrace_core::event::EncodedRecord| Framed {
        topic: batch.topic(record).to_owned(),
        key: record.key.as_ref().map(|range| batch.slice(range).to_vec()),
        value: record.value.as_ref().map(|range| batch.slice(range).to_vec()),
        headers: batch
            .record_headers(record)
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect(),
    };
    batch.records.iter().map(record).collect()
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn with_registry(settings: EncoderSettings, registry: &Arc<MemoryRegistry>) -> EventEncoder {
    let registry: Arc<dyn SchemaRegistry> = Arc::<MemoryRegistry>::clone(registry);
    EventEncoder::new(EncoderSettings {
        registry: Some(registry),
        ..settings
    })
    .unwrap()
    .with_clock(clock)
}

pub(crate) fn encoded(encoder: &mut EventEncoder, batch: &ChangeBatch) -> tailrace_core::Result<EncodedBatch> {
    run(encoder.prepare(batch))?;
    encoder.encode(batch)?.complete()
}

/// The schema of a framed key or value, and what stands behind its number.
fn unframed<'a>(registry: &MemoryRegistry, bytes: &'a [u8]) -> (String, &'a [u8]) {
    let (frame, payload) = bytes.split_at(5);
    assert_eq!(frame[0], 0);
    let id = SchemaId(u32::from_be_bytes(frame[1..].try_into().unwrap()));
    (run(registry.by_id(id)).unwrap().text.to_string(), payload)
}

/// What a reference makes of our bytes: reads them whole, and writes the same bytes again.
pub(crate) fn read_back(registry: &MemoryRegistry, bytes: &[u8]) -> Result<AvroValue, TestCaseError> {
    let (text, payload) = unframed(registry, bytes);
    let schema = AvroSchema::parse_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
    let mut rest = payload;
    let value = GenericDatumReader::builder(&schema)
        .build()
        .and_then(|reader| reader.read_value(&mut rest))
        .map_err(|error| TestCaseError::fail(format!("{error}: {payload:?} {text}")))?;
    prop_assert!(rest.is_empty(), "{rest:?} is left of {payload:?}: {text}");
    let again = GenericDatumWriter::builder(&schema)
        .build()
        .and_then(|writer| writer.write_value_to_vec(value.clone()))
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    // The reference keeps maps without an order.
    if !text.contains("\"map\"") {
        prop_assert_eq!(&again, payload, "{}", text);
    }
    Ok(value)
}

/// The JSON of a value, as `tailrace tail` shows it.
pub(crate) fn shown(registry: &Arc<MemoryRegistry>, bytes: &[u8]) -> Value {
    let registry: Arc<dyn SchemaRegistry> = Arc::<MemoryRegistry>::clone(registry);
    let text = run(RecordReader::new(registry).read(bytes)).unwrap().unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The value of one column, as it is shown.
fn column_of(column: Column, datum: Datum, format: &str) -> Value {
    let registry = Arc::new(MemoryRegistry::default());
    let mut batch = Batch::new(&table(vec![column], vec![]));
    batch.change(Operation::Create, None, Some(&[Cell::Is(datum)]));
    let mut encoder = with_registry(settings(format), &registry);
    let records = framed(&encoded(&mut encoder, &batch.changes).unwrap());
    let value = records[0].value.as_ref().unwrap();
    read_back(&registry, value).unwrap();
    shown(&registry, value)["v"].clone()
}

fn refusal(logical_type: LogicalType, datum: Datum) -> tailrace_core::Error {
    let registry = Arc::new(MemoryRegistry::default());
    let mut batch = Batch::new(&table(vec![column("v", logical_type)], vec![]));
    batch.change(Operation::Create, None, Some(&[Cell::Is(datum)]));
    encoded(&mut with_registry(settings(ENTITY), &registry), &batch.changes).unwrap_err()
}

fn schema_of(table: &SharedSchema, format: &str) -> Value {
    let registry = Arc::new(MemoryRegistry::default());
    let mut batch = Batch::new(table);
    let nulls = vec![null(); table.columns.len()];
    batch.change(Operation::Truncate, None, None);
    batch.change(Operation::Create, None, Some(&nulls));
    run(with_registry(settings(format), &registry).prepare(&batch.changes)).unwrap();
    let versions = run(registry.versions("srv.public.customers-value")).unwrap();
    serde_json::from_str(&versions[0].schema.text).unwrap()
}

pub(crate) fn decimal(precision: Option<u32>, scale: Option<u32>) -> LogicalType {
    LogicalType::Decimal { precision, scale }
}

pub(crate) fn symbols(symbols: &[&str]) -> LogicalType {
    LogicalType::Text(TextKind::Enum(
        symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
    ))
}

pub(crate) fn string(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

#[test]
fn a_row_is_a_record_of_its_columns() {
    let mut price = required("price", decimal(Some(10), Some(2)));
    price.documentation = Some("in \"euros\"".into());
    price.default = Some(string("1.50"));
    let columns = vec![
        required("id", LogicalType::Int64),
        price,
        column("rate", decimal(None, None)),
        column("day", LogicalType::Date),
        column("at", LogicalType::Time { precision: 6 }),
        column("local", LogicalType::Timestamp { precision: 3 }),
        column("moment", LogicalType::TimestampTz { precision: 6 }),
        column("reference", LogicalType::Text(TextKind::Uuid)),
        required("state", symbols(&["new", "paid"])),
        column("mood", symbols(&["so-so"])),
        column("data", LogicalType::Bytes),
        column("big", LogicalType::UnsignedInt64),
        column("pause", LogicalType::Interval),
        column("tags", LogicalType::Array(Box::new(TEXT))),
        column("attributes", LogicalType::Map),
        column("document", LogicalType::Text(TextKind::Json)),
        column("line-no", LogicalType::Int16),
    ];
    let mut schema = (*table(columns, vec![0])).clone();
    schema.documentation = Some("who buys".into());
    let optional = |kind: Value| json!(["null", kind]);
    assert_eq!(
        schema_of(&schema.into(), ENTITY),
        json!({
            "type": "record", "name": "Value", "namespace": "srv.public.customers", "doc": "who buys",
            "fields": [
                {"name": "id", "type": "long"},
                {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}, "default": "\0\u{96}", "doc": "in \"euros\""},
                {"name": "rate", "type": ["null", "string"], "default": null},
                {"name": "day", "type": optional(json!({"type": "int", "logicalType": "date"})), "default": null},
                {"name": "at", "type": optional(json!({"type": "long", "logicalType": "time-micros"})), "default": null},
                {"name": "local", "type": optional(json!({"type": "long", "logicalType": "local-timestamp-micros"})), "default": null},
                {"name": "moment", "type": optional(json!({"type": "long", "logicalType": "timestamp-micros"})), "default": null},
                {"name": "reference", "type": optional(json!({"type": "string", "logicalType": "uuid"})), "default": null},
                {"name": "state", "type": {"type": "enum", "name": "state", "namespace": "srv.public.customers.Value", "symbols": ["new", "paid"]}},
                {"name": "mood", "type": optional(json!({"type": "string", "tailrace.type": "enum", "tailrace.allowed": "so-so"})), "default": null},
                {"name": "data", "type": ["null", "bytes"], "default": null},
                {"name": "big", "type": optional(json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0})), "default": null},
                {"name": "pause", "type": optional(json!({"type": "string", "tailrace.type": "interval"})), "default": null},
                {"name": "tags", "type": optional(json!({"type": "array", "items": ["null", "string"]})), "default": null},
                {"name": "attributes", "type": optional(json!({"type": "map", "values": ["null", "string"]})), "default": null},
                {"name": "document", "type": optional(json!({"type": "string", "tailrace.type": "json"})), "default": null},
                {"name": "line_u002dno", "type": optional(json!({"type": "int", "tailrace.type": "int16"})), "default": null, "tailrace.name": "line-no"},
            ],
        })
    );
}

#[test]
fn values_are_what_they_were() {
    let optional = |logical_type, datum| column_of(column("v", logical_type), datum, ENTITY);
    assert_eq!(optional(decimal(Some(10), Some(2)), string("-12.5")), json!("-12.50"));
    assert_eq!(optional(decimal(None, None), string("NaN")), json!("NaN"));
    assert_eq!(optional(decimal(Some(3), Some(5)), string("0.00999")), json!("0.00999"));
    assert_eq!(
        optional(LogicalType::UnsignedInt64, string("18446744073709551615")),
        json!("18446744073709551615")
    );
    assert_eq!(optional(LogicalType::Date, Datum::Int(17_109)), json!("2016-11-04"));
    assert_eq!(
        optional(
            LogicalType::TimestampTz { precision: 6 },
            Datum::Int(1_478_267_490_123_456)
        ),
        json!("2016-11-04T13:51:30.123456Z")
    );
    assert_eq!(
        optional(LogicalType::Timestamp { precision: 6 }, Datum::Int(-1)),
        json!("1969-12-31T23:59:59.999999")
    );
    assert_eq!(
        optional(
            LogicalType::Text(TextKind::Uuid),
            string("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
        ),
        json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    );
    assert_eq!(optional(symbols(&["new", "paid"]), string("paid")), json!("paid"));
    assert_eq!(optional(LogicalType::Float32, Datum::Float32(3.3)), json!(3.3));
    assert_eq!(optional(LogicalType::Float64, Datum::Float64(f64::NAN)), json!("NaN"));
    let list = Datum::List(vec![string("a"), Datum::Null]);
    assert_eq!(optional(LogicalType::Array(Box::new(TEXT)), list), json!(["a", null]));
    let with_default = Column {
        default: Some(Datum::Int(7)),
        ..column("v", LogicalType::Int32)
    };
    assert_eq!(column_of(with_default.clone(), Datum::Null, ENTITY), json!(null));
    assert_eq!(column_of(with_default, Datum::Int(-9), ENTITY), json!(-9));
    let interval = Datum::Interval(Interval {
        months: 14,
        days: 3,
        microseconds: 1,
    });
    assert_eq!(optional(LogicalType::Interval, interval), json!("P1Y2M3DT0.000001S"));
}

#[test]
fn what_avro_cannot_hold_is_refused() {
    let cases = [
        (decimal(Some(5), Some(2)), string("NaN")),
        (decimal(Some(5), Some(2)), string("1.234")),
        (LogicalType::Date, Datum::Int(i32::MAX.into())),
        (LogicalType::Timestamp { precision: 6 }, Datum::Int(i64::MAX)),
        (LogicalType::TimestampTz { precision: 6 }, Datum::Int(i64::MIN)),
        (
            LogicalType::TimestampTz { precision: 6 },
            string("294276-12-31T23:59:59.999999"),
        ),
        (LogicalType::Time { precision: 6 }, Datum::Int(-1)),
        (LogicalType::Time { precision: 6 }, Datum::Int(86_400_000_000)),
        (symbols(&["new"]), string("")),
        (
            LogicalType::Array(Box::new(LogicalType::Int32)),
            Datum::List(vec![Datum::List(vec![Datum::Int(1)])]),
        ),
        (LogicalType::Array(Box::new(LogicalType::Int32)), string("[2:3]={1,2}")),
    ];
    for (logical_type, datum) in cases {
        let error = refusal(logical_type, datum);
        assert_eq!(error.kind(), Kind::Poison);
        assert!(
            error.to_string().contains("column v of table public.customers"),
            "{error}"
        );
    }
}

#[test]
fn nothing_is_published_under_a_schema_that_is_not_registered() {
    let registry = Arc::new(MemoryRegistry::default());
    let mut encoder = with_registry(settings(ENTITY), &registry);
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Create, None, Some(&[int(1), text("a"), null()]));
    assert_eq!(encoder.encode(&batch.changes).unwrap_err().kind(), Kind::Definite);

    registry.stop_answering(true);
    assert_eq!(
        run(encoder.prepare(&batch.changes)).unwrap_err().kind(),
        Kind::Transient
    );
    registry.stop_answering(false);
    encoded(&mut encoder, &batch.changes).unwrap();

    // What is known flows although the registry is down, and it is not asked.
    registry.stop_answering(true);
    let questions = registry.questions();
    encoded(&mut encoder, &batch.changes).unwrap();
    assert_eq!(registry.questions(), questions);

    // Another version of the table, in a batch with the one before.
    let mut columns = customers().columns.clone();
    columns.push(column("more", TEXT));
    let newer = table(columns, vec![0]);
    let index = batch.changes.table_index(&newer);
    let row = batch.row(&[int(2), text("b"), null(), text("c")]);
    let change = batch.changes.changes[0].clone();
    batch.changes.changes.push(tailrace_core::batch::Change {
        table: index,
        after: Some(row),
        ..change
    });
    assert_eq!(
        run(encoder.prepare(&batch.changes)).unwrap_err().kind(),
        Kind::Transient
    );
    registry.stop_answering(false);
    let records = framed(&encoded(&mut encoder, &batch.changes).unwrap());
    let fields: Vec<_> = records
        .iter()
        .map(|record| {
            shown(&registry, record.value.as_ref().unwrap())
                .as_object()
                .unwrap()
                .len()
        })
        .collect();
    assert_eq!(fields, [3, 4]);
    assert_eq!(run(registry.versions("srv.public.customers-value")).unwrap().len(), 2);
    assert_eq!(run(registry.versions("srv.public.customers-key")).unwrap().len(), 1);
}

#[test]
fn a_codec_with_schemas_needs_a_registry() {
    let error = EventEncoder::new(settings(ENTITY)).unwrap_err();
    assert_eq!(error.code(), "registry_missing");
    for contradiction in [
        r#"{"codec":"avro","inline_schema":true}"#,
        r#"{"registry":"schemas"}"#,
        r#"{"subjects":"record"}"#,
        r#"{"time":"logical"}"#,
        r#"{"codec":"avro","envelope":"debezium","decimal":"logical"}"#,
    ] {
        let error = EventEncoder::new(settings(contradiction)).unwrap_err();
        assert_eq!(error.code(), "format_contradiction", "{contradiction}");
    }
}

#[test]
fn subjects_follow_the_strategy_and_the_route() {
    let subjects = |strategy: &str, route: Option<&str>| {
        let registry = Arc::new(MemoryRegistry::default());
        let mut batch = Batch::new(&customers());
        let change = batch.change(Operation::Create, None, Some(&[int(1), text("a"), null()]));
        change.topic = route.map(Arc::from);
        let format = format!(r#"{{"codec":"avro","subjects":"{strategy}"}}"#);
        encoded(&mut with_registry(settings(&format), &registry), &batch.changes).unwrap();
        registry.subjects()
    };
    assert_eq!(
        subjects("topic", None),
        ["srv.public.customers-key", "srv.public.customers-value"]
    );
    assert_eq!(subjects("topic", Some("all")), ["all-key", "all-value"]);
    assert_eq!(
        subjects("record", Some("all")),
        ["srv.public.customers.Key", "srv.public.customers.Value"]
    );
    assert_eq!(
        subjects("topic_record", Some("all")),
        ["all-srv.public.customers.Key", "all-srv.public.customers.Value"]
    );
}

#[test]
fn every_kind_of_event_is_readable() {
    for (format, schema_type) in [
        (ENTITY, SchemaType::Avro),
        (DEBEZIUM, SchemaType::Avro),
        (r#"{"codec":"json_schema"}"#, SchemaType::Json),
        (r#"{"codec":"json_schema","envelope":"debezium"}"#, SchemaType::Json),
    ] {
        let registry = Arc::new(MemoryRegistry::default());
        let mut encoder = with_registry(settings(format), &registry);
        let mut batch = Batch::new(&customers());
        let row = |id| [int(id), text("a"), text("b")];
        batch.change(Operation::Read, None, Some(&row(1)));
        batch.change(
            Operation::Update,
            Some(&row(1)),
            Some(&[int(1), text("c"), Cell::Unchanged]),
        );
        batch.change(Operation::Update, Some(&row(1)), Some(&row(2)));
        batch.change(Operation::Delete, Some(&row(2)), None);
        batch.change(Operation::Truncate, None, None);
        let output = encoded(&mut encoder, &batch.changes).unwrap();
        for record in framed(&output) {
            for part in record.key.iter().chain(&record.value) {
                shown(&registry, part);
                if schema_type == SchemaType::Avro {
                    read_back(&registry, part).unwrap();
                }
            }
        }
        let unchanged = framed(&output)[1].clone();
        let value = shown(&registry, unchanged.value.as_ref().unwrap());
        let row = value.get("after").unwrap_or(&value);
        assert_eq!(row["notes"], "__debezium_unavailable_value", "{format}");
        let header = unchanged.headers.iter().find(|(name, _)| name == "unchanged").unwrap();
        assert_eq!(header.1, br#"["notes"]"#);
    }
}

#[test]
fn a_truncate_of_a_row_without_fields_has_its_own_record() {
    let registry = Arc::new(MemoryRegistry::default());
    let mut batch = Batch::new(&customers());
    batch.change(Operation::Truncate, None, None);
    let output = encoded(&mut with_registry(settings(ENTITY), &registry), &batch.changes).unwrap();
    let record = framed(&output).remove(0);
    assert_eq!(record.key, record.value);
    assert_eq!(shown(&registry, record.value.as_ref().unwrap()), json!({}));
    assert!(registry.subjects().contains(&"srv.public.customers.Empty".to_owned()));
}

#[test]
fn events_that_came_as_such_pass_through() {
    let registry = Arc::new(MemoryRegistry::default());
    let mut batch = Batch::new(&customers());
    let row = batch.row(&[int(7), text("payload"), text("more")]);
    let payload = batch.changes.part_of(row, 1).unwrap();
    for payload in [Payload::Part(payload), Payload::Columns([0, 2].into())] {
        let message = batch.changes.push_message(Message {
            key: None,
            payload,
            event_id: None,
        });
        let change = batch.change(Operation::Create, None, None);
        (change.after, change.message) = (Some(row), Some(message.unwrap()));
        change.topic = Some("orders".into());
    }
    let output = encoded(&mut with_registry(settings(ENTITY), &registry), &batch.changes).unwrap();
    let records = framed(&output);
    assert_eq!(records[0].value.as_deref(), Some(&b"payload"[..]));
    assert_eq!(
        shown(&registry, records[1].value.as_ref().unwrap()),
        json!({"id": 7, "notes": "more"})
    );
    assert_eq!(registry.subjects(), ["orders-value"]);
}

#[test]
fn a_logical_message_is_a_record() {
    let columns = vec![required("prefix", TEXT), required("content", LogicalType::Bytes)];
    let messages = TableSchema {
        kind: TableKind::Message,
        ..(*table(columns, vec![])).clone()
    };
    for format in [ENTITY, DEBEZIUM] {
        let registry = Arc::new(MemoryRegistry::default());
        let mut batch = Batch::new(&messages.clone().into());
        batch.change(
            Operation::Message,
            None,
            Some(&[text("p"), Cell::Is(Datum::Bytes(vec![1, 2]))]),
        );
        let output = encoded(&mut with_registry(settings(format), &registry), &batch.changes).unwrap();
        let value = framed(&output)[0].value.clone().unwrap();
        read_back(&registry, &value).unwrap();
        let shown = shown(&registry, &value);
        assert_eq!(shown.get("message").unwrap_or(&shown)["content"], "AQI=");
    }
}

#[test]
fn a_known_event_is_these_bytes() {
    let registry = Arc::new(MemoryRegistry::default());
    let columns = vec![
        required("id", LogicalType::Int32),
        column("name", TEXT),
        column("total", decimal(Some(10), Some(2))),
    ];
    let mut batch = Batch::new(&table(columns, vec![0]));
    batch.change(Operation::Create, None, Some(&[int(-3), text("é"), text("12.34")]));
    let output = encoded(&mut with_registry(settings(ENTITY), &registry), &batch.changes).unwrap();
    let record = framed(&output).remove(0);
    assert_eq!(record.key.unwrap(), [0, 0, 0, 0, 1, 5]);
    assert_eq!(
        record.value.unwrap(),
        [0, 0, 0, 0, 2, 5, 2, 4, 0xc3, 0xa9, 2, 4, 0x04, 0xd2]
    );
}

/// The reference reads only what is a UUID; the texts here are any.
pub(crate) fn without_uuid(logical_type: &LogicalType) -> LogicalType {
    match logical_type {
        LogicalType::Text(TextKind::Uuid) => TEXT,
        LogicalType::Array(element) => LogicalType::Array(Box::new(without_uuid(element))),
        other => other.clone(),
    }
}

fn check(
    columns: Vec<(LogicalType, Datum)>,
    (operation, nullable): (Operation, bool),
    (envelope, kind): (&str, &str),
) -> Result<(), TestCaseError> {
    let columns: Vec<_> = columns.into_iter().map(|typed| of_kind(kind, typed)).collect();
    let column_of = |(index, (logical_type, default)): (usize, &(LogicalType, Datum))| Column {
        nullable,
        default: (index % 2 == 0).then(|| default.clone()),
        ..column(&format!("c {index}"), without_uuid(logical_type))
    };
    let mut schema_columns = vec![required("id", LogicalType::Int64)];
    schema_columns.extend(columns.iter().enumerate().map(column_of));
    let mut batch = Batch::new(&table(schema_columns, vec![0]));
    let key_only: Vec<_> = [int(1)].into_iter().chain(columns.iter().map(|_| null())).collect();
    let values: Vec<_> = [int(2)]
        .into_iter()
        .chain(columns.iter().map(|(_, datum)| Cell::Is(datum.clone())))
        .collect();
    let has_before = matches!(operation, Operation::Update | Operation::Delete);
    let has_after = !matches!(operation, Operation::Delete | Operation::Truncate);
    batch.change(operation, has_before.then_some(&key_only), has_after.then_some(&values));
    let registry = Arc::new(MemoryRegistry::default());
    let format = format!(r#"{{"codec":"avro",{envelope}}}"#);
    let mut encoder = with_registry(settings_of(kind, &format), &registry);
    let output = match encoded(&mut encoder, &batch.changes) {
        Ok(output) => output,
        Err(error) => {
            prop_assert_eq!(error.kind(), Kind::Poison);
            prop_assert!(error.to_string().contains("public.customers"));
            return Ok(());
        }
    };
    for record in framed(&output) {
        for part in record.key.iter().chain(&record.value) {
            read_back(&registry, part)?;
        }
    }
    Ok(())
}

fn identifier() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,6}", "[a-z0-9 -]{1,6}", any::<String>()]
        .prop_filter("a name is not empty", |name| !name.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_reference_reads_and_writes_the_same(
        columns in vec(typed(), 1..5),
        operation in operation(),
        nullable in any::<bool>(),
        envelope in prop_oneof![
            Just(r#""envelope":"entity""#),
            Just(r#""envelope":"debezium""#),
            Just(r#""envelope":"debezium","time":"structured","hstore":"map""#),
            Just(r#""envelope":"debezium","time":"connect","decimal":"string","bigint_unsigned":"precise""#),
            Just(r#""envelope":"entity","time":"iso","decimal":"precise","binary":"hex""#),
        ],
        kind in prop_oneof![Just("postgresql"), Just("mysql"), Just("sqlite")],
    ) {
        check(columns, (operation, nullable), (envelope, kind))?;
    }

    #[test]
    fn any_names_make_a_schema_of_as_many_fields(names in vec(identifier(), 1..6), envelope in prop_oneof![Just(ENTITY), Just(DEBEZIUM)]) {
        let mut names = names;
        names.sort();
        names.dedup();
        let columns = names.iter().map(|name| required(name, LogicalType::Int32)).collect();
        let schema = schema_of(&table(columns, vec![]), envelope);
        let parsed = parse_avro_schema(&schema.to_string());
        prop_assert!(parsed.is_ok(), "{schema}");
        let row = schema["fields"][0]["type"][1].as_object().or(schema.as_object()).unwrap();
        let fields = row["fields"].as_array().unwrap();
        let original = |field: &Value| field.get("tailrace.name").unwrap_or(&field["name"]).as_str().unwrap().to_owned();
        prop_assert_eq!(fields.iter().map(original).collect::<Vec<_>>(), names);
    }
}
