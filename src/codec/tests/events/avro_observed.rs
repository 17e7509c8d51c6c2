//! What Confluent's Avro converter makes of Debezium's events, as it was observed: `observed/avro.tsv` holds, for each case below,
//! the bytes and the schema that the converter wrote for the event as Kafka Connect's JSON has it. Ours must be the same.
//!
//! To observe again: `TAILRACE_OBSERVE=in.jsonl cargo test -p tailrace-codec --test events observed` writes the events as JSON, and
//! `java -cp 'jars/*' observed/AvroConverterOracle.java < in.jsonl > observed/avro.tsv` converts them, with the jars of Kafka
//! Connect's API and JSON converter and of Confluent's Avro converter.

use std::sync::Arc;

use serde_json::Value;
use tailrace_codec::{EncoderSettings, EventEncoder};
use tailrace_core::batch::Operation;
use tailrace_core::ports::Encoder;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::Column;
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, Interval, LogicalType, ShapeKind, TextKind, TimeTz};

use crate::support::*;

pub(crate) const OBSERVED: &str = include_str!("observed/avro.tsv");

/// One event: columns with a value each, under some more words of the format, of a kind of source.
pub(crate) struct Case {
    pub(crate) columns: Vec<(Column, Datum)>,
    pub(crate) format: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) operation: Operation,
}

fn string(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

fn numbers(values: &[f64]) -> Datum {
    Datum::List(values.iter().copied().map(Datum::Float64).collect())
}

fn array(element: LogicalType) -> LogicalType {
    LogicalType::Array(Box::new(element))
}

fn kind(kind: TextKind) -> LogicalType {
    LogicalType::Text(kind)
}

fn with_default(column: Column, default: Datum) -> Column {
    Column {
        default: Some(default),
        ..column
    }
}

fn plain_columns() -> Vec<(Column, Datum)> {
    [numeric_columns(), textual_columns()].concat()
}

fn numeric_columns() -> Vec<(Column, Datum)> {
    let decimal = |precision, scale| LogicalType::Decimal { precision, scale };
    vec![
        (column("boolean", LogicalType::Boolean), Datum::Boolean(true)),
        (column("int16", LogicalType::Int16), Datum::Int(-7)),
        (
            with_default(required("int16d", LogicalType::Int16), Datum::Int(3)),
            Datum::Int(12),
        ),
        // Not null: what is null in a field with a default is the default for Kafka Connect, and null for us.
        (
            with_default(column("int32d", LogicalType::Int32), Datum::Int(-1)),
            Datum::Int(64),
        ),
        (
            with_default(column("int64d", LogicalType::Int64), Datum::Int(1 << 40)),
            Datum::Int(i64::MIN),
        ),
        (column("float32", LogicalType::Float32), Datum::Float32(3.25)),
        (
            with_default(column("float64", LogicalType::Float64), Datum::Float64(1e16)),
            Datum::Float64(-0.5),
        ),
        (column("fixed", decimal(Some(10), Some(2))), string("-12.34")),
        (
            with_default(column("fixedd", decimal(Some(10), Some(2))), string("1.28")),
            string("0.00"),
        ),
        (column("wide", decimal(Some(3), Some(5))), string("0.00999")),
        (
            column("variable", decimal(None, None)),
            string("123456789012345678901234567890123456789012.5"),
        ),
        (column("money", LogicalType::Money), string("-1.50")),
        (column("unsigned", LogicalType::UnsignedInt64), string("42")),
    ]
}

fn textual_columns() -> Vec<(Column, Datum)> {
    let symbols: Arc<[String]> = Arc::from(["a".to_owned(), "b c".to_owned()]);
    vec![
        (column("text", TEXT), string("žluť 😀")),
        (
            with_default(column("textd", TEXT), string("a\"b")),
            string(&"long ".repeat(40)),
        ),
        (column("json", kind(TextKind::Json)), string("{\"a\":1}")),
        (
            column("uuid", kind(TextKind::Uuid)),
            string("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        (
            with_default(
                required("mood", kind(TextKind::Enum(Arc::clone(&symbols)))),
                string("a"),
            ),
            string("b c"),
        ),
        (
            column("moods", kind(TextKind::Set(Arc::clone(&symbols)))),
            string("a,b c"),
        ),
        (column("bytes", LogicalType::Bytes), Datum::Bytes(vec![0, 0xff, 7])),
        (
            with_default(column("bytesd", LogicalType::Bytes), Datum::Bytes(vec![0x80, 0x41])),
            Datum::Bytes(vec![]),
        ),
        (
            column("bits", LogicalType::Bits { length: Some(9) }),
            string("100000001"),
        ),
        (
            column("texts", array(TEXT)),
            Datum::List(vec![string("a"), Datum::Null]),
        ),
        (
            column("symbols", array(kind(TextKind::Enum(symbols)))),
            Datum::List(vec![string("a")]),
        ),
        (column("ints", array(LogicalType::Int16)), Datum::List(vec![])),
        (
            column("map", LogicalType::Map),
            Datum::List(vec![string("k"), string("v😀\"")]),
        ),
    ]
}

fn temporal_columns() -> Vec<(Column, Datum)> {
    let time = TimeTz {
        microseconds: 49_890_123_789,
        offset_seconds: 7200,
    };
    let interval = Interval {
        months: 14,
        days: 3,
        microseconds: 14_706_780_000,
    };
    let at = 1_478_267_490_123_456;
    vec![
        (column("date", LogicalType::Date), Datum::Int(17_109)),
        (
            with_default(column("dated", LogicalType::Date), Datum::Int(0)),
            Datum::Int(-1),
        ),
        (
            column("time3", LogicalType::Time { precision: 3 }),
            Datum::Int(49_890_123_000),
        ),
        (
            column("time6", LogicalType::Time { precision: 6 }),
            Datum::Int(49_890_123_789),
        ),
        (
            column("timetz", LogicalType::TimeTz { precision: 6 }),
            Datum::TimeTz(time),
        ),
        (column("ts3", LogicalType::Timestamp { precision: 3 }), Datum::Int(at)),
        (column("ts6", LogicalType::Timestamp { precision: 6 }), Datum::Int(at)),
        (
            with_default(column("tsd", LogicalType::Timestamp { precision: 6 }), Datum::Int(5)),
            Datum::Int(at),
        ),
        (
            column("tstz", LogicalType::TimestampTz { precision: 6 }),
            Datum::Int(at),
        ),
        (column("interval", LogicalType::Interval), Datum::Interval(interval)),
        (
            column("dates", array(LogicalType::Date)),
            Datum::List(vec![Datum::Int(1), Datum::Null]),
        ),
        (column("year", LogicalType::Year), Datum::Int(2026)),
    ]
}

fn figures() -> Vec<(Column, Datum)> {
    let shape = Datum::List(vec![Datum::Bytes(vec![1, 2, 3]), Datum::Boolean(true)]);
    let ewkb = vec![1, 7, 0, 0, 0x20, 0xe6, 0x10, 0, 0, 0, 0, 0, 0];
    vec![
        (column("point", LogicalType::Point), numbers(&[1.5, -2.0])),
        (column("other", LogicalType::Point), Datum::Null),
        (column("line", LogicalType::Line), numbers(&[1.0, 2.0, 3.0])),
        (column("circle", LogicalType::Circle), numbers(&[1.0, 2.0, 3.0])),
        (column("segment", LogicalType::Shape(ShapeKind::LineSegment)), shape),
        (column("geometry", LogicalType::Geometry), Datum::Bytes(ewkb.clone())),
        (column("geography", LogicalType::Geography), Datum::Bytes(ewkb)),
        (column("vector", LogicalType::DoubleVector), numbers(&[1.0, 2.5])),
        (
            column("sparse", LogicalType::SparseVector),
            Datum::List(vec![
                Datum::Int(5),
                Datum::Int(1),
                Datum::Float64(1.5),
                Datum::Int(3),
                Datum::Float64(2.5),
            ]),
        ),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |columns, format, kind, operation| Case {
        columns,
        format,
        kind,
        operation,
    };
    let mut documented = vec![(column("name", TEXT), string("x"))];
    documented[0].0.documentation = Some("what \"it\" is".into());
    vec![
        case(plain_columns(), "", "postgresql", Operation::Create),
        case(
            plain_columns(),
            r#","decimal":"string","hstore":"map""#,
            "postgresql",
            Operation::Update,
        ),
        case(
            plain_columns(),
            r#","bigint_unsigned":"precise""#,
            "mysql",
            Operation::Create,
        ),
        case(temporal_columns(), "", "postgresql", Operation::Read),
        case(
            temporal_columns(),
            r#","time":"connect""#,
            "postgresql",
            Operation::Create,
        ),
        case(
            temporal_columns(),
            r#","time":"structured""#,
            "postgresql",
            Operation::Create,
        ),
        case(
            temporal_columns(),
            r#","time":"isostring","interval":"string""#,
            "mysql",
            Operation::Create,
        ),
        case(
            temporal_columns(),
            r#","time":"nanoseconds""#,
            "mariadb",
            Operation::Create,
        ),
        case(figures(), "", "postgresql", Operation::Create),
        case(documented.clone(), "", "sqlite", Operation::Delete),
        case(documented, "", "postgresql", Operation::Truncate),
    ]
}

fn batch_of(case: &Case) -> Batch {
    let mut columns = vec![required("id", LogicalType::Int64)];
    columns.extend(case.columns.iter().map(|(column, _)| column.clone()));
    let mut batch = Batch::new(&table(columns, vec![0]));
    let values: Vec<_> = [int(7)]
        .into_iter()
        .chain(case.columns.iter().map(|(_, datum)| Cell::Is(datum.clone())))
        .collect();
    let before = matches!(case.operation, Operation::Update | Operation::Delete);
    let after = !matches!(case.operation, Operation::Delete | Operation::Truncate);
    batch.change(case.operation, before.then_some(&values), after.then_some(&values));
    batch
}

fn settings_for(case: &Case, codec: &str) -> EncoderSettings {
    let format = format!(r#"{{"envelope":"debezium"{}{codec}}}"#, case.format);
    settings_of(case.kind, &format)
}

/// The schema and the bytes of an event, as we have them.
fn ours(case: &Case) -> (Value, Vec<u8>) {
    let registry = Arc::new(MemoryRegistry::default());
    let port: Arc<dyn SchemaRegistry> = Arc::<MemoryRegistry>::clone(&registry);
    let settings = EncoderSettings {
        registry: Some(port),
        ..settings_for(case, r#","codec":"avro""#)
    };
    let mut encoder = EventEncoder::new(settings).unwrap().with_clock(clock);
    let batch = batch_of(case);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(encoder.prepare(&batch.changes)).unwrap();
    let output = encoder.encode(&batch.changes).unwrap();
    let value = output.slice(output.records[0].value.as_ref().unwrap());
    let versions = runtime
        .block_on(registry.versions("srv.public.customers-value"))
        .unwrap();
    let schema = serde_json::from_str(&versions[0].schema.text).unwrap();
    (schema, value[5..].to_vec())
}

#[test]
fn events_are_what_confluents_converter_makes_of_them() {
    if let Ok(path) = std::env::var("TAILRACE_OBSERVE") {
        let events = cases().into_iter().map(|case| {
            let settings = settings_for(&case, r#","inline_schema":true"#);
            batch_of(&case).encode_with(settings).remove(0).value.unwrap() + "\n"
        });
        std::fs::write(path, events.collect::<String>()).unwrap();
        return;
    }
    let observed: Vec<_> = OBSERVED.lines().collect();
    assert_eq!(observed.len(), cases().len());
    for (number, (case, line)) in cases().iter().zip(observed).enumerate() {
        let (bytes, schema) = line.split_once('\t').unwrap();
        let (our_schema, our_bytes) = ours(case);
        let their_schema: Value = serde_json::from_str(schema).unwrap();
        assert_eq!(our_schema, their_schema, "case {number}");
        let hex: String = our_bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, bytes, "case {number}");
    }
}
