//! Tables, batches and encoders in a few words.

use std::sync::Arc;

use tailrace_codec::{DEFAULT_TOPIC_TEMPLATE, EncoderSettings, EventEncoder, FormatConfig, TopicTemplate};
use tailrace_core::batch::{BeforeImage, BinlogTransaction, Change, ChangeBatch, Operation, Row, Transaction};
use tailrace_core::event::{EncodedBatch, EncodedRecord};
use tailrace_core::ports::Encoder;
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::value::{Datum, LogicalType, TextKind};

/// When everything is processed: 2023-11-14T22:13:21.000001Z.
pub(crate) fn clock() -> i64 {
    1_700_000_001_000_001
}

pub(crate) const TEXT: LogicalType = LogicalType::Text(TextKind::Plain);

/// A cell of a test row: a value, or a large value that did not change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Unchanged,
    Is(Datum),
}

impl From<Datum> for Cell {
    fn from(datum: Datum) -> Self {
        Self::Is(datum)
    }
}

pub(crate) fn int(value: i64) -> Cell {
    Cell::Is(Datum::Int(value))
}

pub(crate) fn text(value: &str) -> Cell {
    Cell::Is(Datum::Text(value.to_owned()))
}

pub(crate) fn null() -> Cell {
    Cell::Is(Datum::Null)
}

pub(crate) fn column(name: &str, logical_type: LogicalType) -> Column {
    Column {
        source_type: "test".to_owned(),
        ..Column::new(name, logical_type)
    }
}

pub(crate) fn required(name: &str, logical_type: LogicalType) -> Column {
    Column {
        nullable: false,
        ..column(name, logical_type)
    }
}

pub(crate) fn table(columns: Vec<Column>, key: Vec<usize>) -> SharedSchema {
    Arc::new(TableSchema {
        name: TableName {
            database: "app".into(),
            schema: "public".into(),
            table: "customers".into(),
        },
        kind: TableKind::Table,
        columns,
        key,
        documentation: None,
    })
}

/// `id`, `name`, `notes`: the table of most tests.
pub(crate) fn customers() -> SharedSchema {
    table(
        vec![
            required("id", LogicalType::Int32),
            required("name", TEXT),
            column("notes", TEXT),
        ],
        vec![0],
    )
}

pub(crate) fn settings(format: &str) -> EncoderSettings {
    EncoderSettings {
        connector: "orders".into(),
        prefix: "srv".into(),
        source_kind: "postgresql".into(),
        version: "3.7.0".into(),
        format: serde_json::from_str::<FormatConfig>(format).unwrap(),
        template: TopicTemplate::parse(DEFAULT_TOPIC_TEMPLATE).unwrap(),
        registry: None,
        contracts: None,
        telemetry: None,
    }
}

pub(crate) fn encoder(format: &str) -> EventEncoder {
    EventEncoder::new(settings(format)).unwrap().with_clock(clock)
}

/// Of a source of another kind.
pub(crate) fn settings_of(kind: &str, format: &str) -> EncoderSettings {
    EncoderSettings {
        source_kind: kind.into(),
        ..settings(format)
    }
}

/// `shop.orders` with some columns: what MySQL calls a database is a schema.
pub(crate) fn orders(columns: Vec<Column>, key: Vec<usize>) -> SharedSchema {
    let name = TableName {
        database: String::new(),
        schema: "shop".into(),
        table: "orders".into(),
    };
    let schema = TableSchema {
        name,
        ..table(columns, key).as_ref().clone()
    };
    Arc::new(schema)
}

/// A transaction of a binary log.
pub(crate) fn binlog_transaction() -> Transaction {
    Transaction {
        id: None,
        committed_at_us: 1_700_000_000_000_000,
        position: "mysql-bin.000003:197".into(),
        log_position: Some(197),
        previous_log_position: None,
        binlog: Some(BinlogTransaction {
            file: "mysql-bin.000003".into(),
            server_id: 223_344,
            thread_id: Some(7),
            gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:23".into()),
        }),
    }
}

pub(crate) struct Batch {
    pub(crate) changes: ChangeBatch,
    table: usize,
}

impl Batch {
    pub(crate) fn new(schema: &SharedSchema) -> Self {
        let mut changes = ChangeBatch::new("pg-7".into(), Progress::at(Position::new("0/16E9018")));
        let table = changes.table_index(schema);
        changes.push_transaction(Transaction {
            id: Some(555),
            committed_at_us: 1_700_000_000_123_456,
            position: "0/16E9018".into(),
            log_position: Some(24_023_130),
            previous_log_position: Some(24_023_119),
            binlog: None,
        });
        Self { changes, table }
    }

    pub(crate) fn row(&mut self, cells: &[Cell]) -> Row {
        self.changes.begin_row().unwrap();
        for cell in cells {
            match cell {
                Cell::Unchanged => self.changes.push_unchanged(),
                Cell::Is(datum) => self.changes.push_datum(datum).unwrap(),
            }
        }
        self.changes.end_row().unwrap()
    }

    pub(crate) fn change(
        &mut self,
        operation: Operation,
        before: Option<&[Cell]>,
        after: Option<&[Cell]>,
    ) -> &mut Change {
        let before = before.map(|cells| self.row(cells));
        let after = after.map(|cells| self.row(cells));
        let ordinal = self.changes.changes.len() as u64;
        self.changes.changes.push(Change {
            operation,
            table: self.table,
            transaction: 0,
            before,
            before_image: if before.is_some() {
                BeforeImage::Key
            } else {
                BeforeImage::None
            },
            after,
            ordinal,
            log_position: Some(24_023_128),
            updated_at_us: None,
            topic: None,
            message: None,
        });
        self.changes.changes.last_mut().unwrap()
    }

    pub(crate) fn encode(&self, format: &str) -> Vec<Event> {
        self.encode_with(settings(format))
    }

    pub(crate) fn encode_with(&self, settings: EncoderSettings) -> Vec<Event> {
        let mut encoder = EventEncoder::new(settings).unwrap().with_clock(clock);
        events(&encoder.encode(&self.changes).and_then(EncodedBatch::complete).unwrap())
    }
}

/// A record, as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timestamp_ms: i64,
}

impl Event {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn value_json(&self) -> serde_json::Value {
        serde_json::from_str(self.value.as_deref().unwrap()).unwrap()
    }
}

pub(crate) fn events(batch: &EncodedBatch) -> Vec<Event> {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let event = |record: &EncodedRecord| Event {
        topic: batch.topic(record).to_owned(),
        key: record.key.as_ref().map(|range| utf8(batch.slice(range))),
        value: record.value.as_ref().map(|range| utf8(batch.slice(range))),
        headers: batch
            .record_headers(record)
            .map(|(name, value)| (name.to_owned(), utf8(value)))
            .collect(),
        timestamp_ms: record.timestamp_ms,
    };
    batch.records.iter().map(event).collect()
}

/// The value of one cell of a type, as it is published.
pub(crate) fn published(logical_type: LogicalType, datum: Datum, format: &str) -> String {
    published_with(logical_type, datum, settings(format))
}

/// The same with other settings than the format alone.
pub(crate) fn published_with(logical_type: LogicalType, datum: Datum, settings: EncoderSettings) -> String {
    let mut batch = Batch::new(&table(vec![column("v", logical_type)], vec![]));
    batch.change(Operation::Create, None, Some(&[Cell::Is(datum)]));
    let value = batch.encode_with(settings).remove(0).value.unwrap();
    let start = value.find("{\"v\":").unwrap() + 5;
    let end = value.find("},\"source\":").unwrap_or(value.len() - 1);
    value.get(start..end).unwrap().to_owned()
}
