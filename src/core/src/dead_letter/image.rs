//! A change that owns itself: everything that is needed to encode it again, exactly.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::fingerprint;
use crate::batch::{
    BatchFull, BeforeImage, BinlogTransaction, Change, ChangeBatch, ChangeView, Operation, Row, RowView, Transaction,
};
use crate::error::{Error, Result};
use crate::position::{Position, Progress};
use crate::record_batch::{RecordBatch, RecordView};
use crate::schema::{SharedSchema, TableSchema};
use crate::value::{Interval, TimeTz, Value};

/// A change of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeImage {
    source: String,
    pub(super) schema: TableSchema,
    transaction: TransactionImage,
    operation: char,
    ordinal: u64,
    log_position: Option<u64>,
    updated_at_us: Option<i64>,
    topic: Option<String>,
    /// It is a row of a snapshot that was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_incremental: bool,
    /// Its table's rows are events already: what it is must be read from the row again.
    is_event: bool,
    /// Only the key of `before` is known.
    before_is_key: bool,
    pub(super) before: Option<Vec<Cell>>,
    pub(super) after: Option<Vec<Cell>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct TransactionImage {
    id: Option<u64>,
    committed_at_us: i64,
    position: String,
    log_position: Option<u64>,
    previous_log_position: Option<u64>,
    binlog: Option<BinlogImage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct BinlogImage {
    file: String,
    server_id: u32,
    thread_id: Option<u32>,
    gtid: Option<String>,
}

/// One value, exactly: floating point as its bits, bytes in base64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cell {
    Null,
    Unchanged,
    Boolean(bool),
    Int(i64),
    Float32(u32),
    Float64(u64),
    TimeTz(i64, i32),
    Interval(i32, i32, i64),
    Text(String),
    Bytes(String),
    List(Vec<Cell>),
}

/// A record of a stream: keys, values and headers in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordImage {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key; `None` where there is none.
    pub key: Option<String>,
    /// Value; `None` is a tombstone.
    pub value: Option<String>,
    /// Headers in their order.
    pub headers: Vec<(String, String)>,
}

fn full(error: BatchFull) -> Error {
    Error::definite("batch_full", error.to_string())
}

// === impl ChangeImage ===

impl ChangeImage {
    /// A change, with its row as it was when it was to be encoded.
    pub fn of(view: ChangeView<'_>) -> Self {
        let change = view.change();
        let cells = |row: RowView<'_>| row.iter().map(Cell::of).collect();
        let known = change.before_image != BeforeImage::None;
        Self {
            source: view.batch().identity.to_string(),
            schema: view.table().map_or_else(no_schema, |schema| (**schema).clone()),
            transaction: view.transaction().map(TransactionImage::of).unwrap_or_default(),
            operation: code_of(change.operation),
            ordinal: change.ordinal,
            log_position: change.log_position,
            updated_at_us: change.updated_at_us,
            topic: change.topic.as_deref().map(str::to_owned),
            is_incremental: view.batch().is_incremental,
            is_event: change.message.is_some(),
            before_is_key: change.before_image == BeforeImage::Key,
            before: view.before().filter(|_| known).map(cells),
            after: view.after().map(cells),
        }
    }

    /// Who the source is, position of the commit, number in the transaction.
    pub(super) fn place(&self) -> String {
        format!("{}:{}:{}", self.source, self.position(), self.ordinal)
    }

    /// Position of the commit.
    pub(super) fn position(&self) -> &str {
        &self.transaction.position
    }

    /// The same for the same table, operation and rows, however often a poll reads them.
    pub(super) fn fingerprint(&self) -> String {
        let rows = (self.schema.name.qualified(), self.operation, &self.before, &self.after);
        fingerprint(&serde_json::to_vec(&rows).unwrap_or_default())
    }

    /// The table's rows are events already, so that the source must read the row before it can be encoded.
    pub fn is_event(&self) -> bool {
        self.is_event
    }

    /// A batch of the one change.
    ///
    /// # Errors
    /// `dead_letter_damaged` where it is not what was written.
    pub fn restore(&self) -> Result<ChangeBatch> {
        let position = Position::new(self.position());
        let mut batch = ChangeBatch::new(self.source.as_str().into(), Progress::at(position));
        batch.is_incremental = self.is_incremental;
        let schema = SharedSchema::new(self.schema.clone());
        let table = batch.table_index(&schema);
        let transaction = batch.push_transaction(self.transaction.restore());
        let before = self.before.as_ref().map(|cells| push_row(&mut batch, cells));
        let after = self.after.as_ref().map(|cells| push_row(&mut batch, cells));
        let (before, after) = (before.transpose()?, after.transpose()?);
        let before_image = match (before, self.before_is_key) {
            (None, _) => BeforeImage::None,
            (Some(_), true) => BeforeImage::Key,
            (Some(_), false) => BeforeImage::Full,
        };
        batch.changes.push(Change {
            operation: operation_of(self.operation).ok_or_else(damaged)?,
            table,
            transaction,
            before,
            before_image,
            after,
            ordinal: self.ordinal,
            log_position: self.log_position,
            updated_at_us: self.updated_at_us,
            // What an event's row says is read again.
            topic: self.topic.as_deref().filter(|_| !self.is_event).map(Into::into),
            message: None,
        });
        Ok(batch)
    }
}

fn damaged() -> Error {
    Error::definite(
        "dead_letter_damaged",
        "the letter does not hold what was written; drop it, and report this as a bug",
    )
}

/// Only of a batch that was put together wrongly.
fn no_schema() -> TableSchema {
    TableSchema {
        name: crate::schema::TableName {
            database: String::new(),
            schema: String::new(),
            table: String::new(),
        },
        kind: crate::schema::TableKind::Table,
        columns: Vec::new(),
        key: Vec::new(),
        documentation: None,
    }
}

fn code_of(operation: Operation) -> char {
    operation.code().chars().next().unwrap_or_default()
}

fn operation_of(code: char) -> Option<Operation> {
    let all = [
        Operation::Read,
        Operation::Create,
        Operation::Update,
        Operation::Delete,
        Operation::Truncate,
        Operation::Message,
    ];
    all.into_iter().find(|operation| code_of(*operation) == code)
}

fn push_row(batch: &mut ChangeBatch, cells: &[Cell]) -> Result<Row> {
    batch.begin_row().map_err(full)?;
    for cell in cells {
        cell.push(batch)?;
    }
    batch.end_row().map_err(full)
}

// === impl TransactionImage ===

impl TransactionImage {
    fn of(transaction: &Transaction) -> Self {
        let binlog = transaction.binlog.as_ref().map(|binlog| BinlogImage {
            file: binlog.file.to_string(),
            server_id: binlog.server_id,
            thread_id: binlog.thread_id,
            gtid: binlog.gtid.as_deref().map(str::to_owned),
        });
        Self {
            id: transaction.id,
            committed_at_us: transaction.committed_at_us,
            position: transaction.position.to_string(),
            log_position: transaction.log_position,
            previous_log_position: transaction.previous_log_position,
            binlog,
        }
    }

    fn restore(&self) -> Transaction {
        let binlog = self.binlog.as_ref().map(|binlog| BinlogTransaction {
            file: binlog.file.as_str().into(),
            server_id: binlog.server_id,
            thread_id: binlog.thread_id,
            gtid: binlog.gtid.as_deref().map(Into::into),
        });
        Transaction {
            id: self.id,
            committed_at_us: self.committed_at_us,
            position: self.position.as_str().into(),
            log_position: self.log_position,
            previous_log_position: self.previous_log_position,
            binlog,
        }
    }
}

// === impl Cell ===

impl Cell {
    pub(super) fn of(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Unchanged => Self::Unchanged,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Int(value) => Self::Int(value),
            Value::Float32(value) => Self::Float32(value.to_bits()),
            Value::Float64(value) => Self::Float64(value.to_bits()),
            Value::TimeTz(value) => Self::TimeTz(value.microseconds, value.offset_seconds),
            Value::Interval(value) => Self::Interval(value.months, value.days, value.microseconds),
            Value::Text(value) => Self::Text(value.to_owned()),
            Value::Bytes(value) => Self::Bytes(STANDARD.encode(value)),
            Value::List(list) => Self::List(list.iter().map(Self::of).collect()),
        }
    }

    fn push(&self, batch: &mut ChangeBatch) -> Result<()> {
        match self {
            Self::Null => batch.push_null(),
            Self::Unchanged => batch.push_unchanged(),
            Self::Boolean(value) => batch.push_boolean(*value),
            Self::Int(value) => batch.push_int(*value),
            Self::Float32(bits) => batch.push_float32(f32::from_bits(*bits)),
            Self::Float64(bits) => batch.push_float64(f64::from_bits(*bits)),
            Self::TimeTz(microseconds, offset_seconds) => batch.push_time_tz(TimeTz {
                microseconds: *microseconds,
                offset_seconds: *offset_seconds,
            }),
            Self::Interval(months, days, microseconds) => {
                let value = Interval {
                    months: *months,
                    days: *days,
                    microseconds: *microseconds,
                };
                batch.push_interval(value).map_err(full)?;
            }
            Self::Text(value) => batch.push_text(value).map_err(full)?,
            Self::Bytes(value) => {
                let bytes = STANDARD.decode(value).map_err(|_| damaged())?;
                batch.push_bytes(&bytes).map_err(full)?;
            }
            Self::List(cells) => {
                batch.begin_list();
                for cell in cells {
                    cell.push(batch)?;
                }
                batch.end_list().map_err(full)?;
            }
        }
        Ok(())
    }
}

// === impl RecordImage ===

impl RecordImage {
    /// A record, as it was in the stream.
    pub fn of(record: RecordView<'_>) -> Self {
        Self {
            topic: record.partition().topic.to_string(),
            partition: record.partition().partition,
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms(),
            key: record.key().map(|key| STANDARD.encode(key)),
            value: record.value().map(|value| STANDARD.encode(value)),
            headers: record
                .headers()
                .map(|(name, value)| (name.to_owned(), STANDARD.encode(value)))
                .collect(),
        }
    }

    /// A batch of the one record.
    ///
    /// # Errors
    /// `dead_letter_damaged` where it is not what was written.
    pub fn restore(&self) -> Result<RecordBatch> {
        let decode = |text: &String| STANDARD.decode(text).map_err(|_| damaged());
        let key = self.key.as_ref().map(decode).transpose()?;
        let value = self.value.as_ref().map(decode).transpose()?;
        let mut batch = RecordBatch::default();
        let partition = (&*self.topic, self.partition);
        batch.push(
            partition,
            self.offset,
            self.timestamp_ms,
            (key.as_deref(), value.as_deref()),
        );
        for (name, value) in &self.headers {
            batch.push_header(name, &decode(value)?);
        }
        Ok(batch)
    }
}
