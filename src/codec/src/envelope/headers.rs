//! The headers of every record. A value that several records share is written once: per batch (operation, source), per
//! transaction (position, number, commit time); a record's list of headers only points there.

use std::ops::Range;

use tailrace_core::batch::{Operation, Transaction};
use tailrace_core::event::{EncodedBatch, HeaderName, header};

use crate::values::calendar::{Fraction, write_date_time};
use crate::values::number::write_unsigned;

/// Header: JSON array of the names of columns whose large values did not change and are not in the record.
pub const UNCHANGED: &str = "unchanged";
/// Header: JSON array of the names of columns that are null in the row (in `after` of Debezium's envelope) because their form cannot hold
/// the value.
pub const UNREPRESENTABLE: &str = "unrepresentable";
/// Header: the same for `before` of Debezium's envelope.
pub const UNREPRESENTABLE_BEFORE: &str = "unrepresentable_before";
/// Header of the delete that a change of the key begins with: the new key, as JSON. Debezium's name.
pub const NEW_KEY: &str = "__debezium.newkey";
/// Header of the create that a change of the key ends with: the old key, as JSON. Debezium's name.
pub const OLD_KEY: &str = "__debezium.oldkey";

/// Every code, one letter each; a header's value is one of them.
const OPERATIONS: [Operation; 6] = [
    Operation::Read,
    Operation::Create,
    Operation::Update,
    Operation::Delete,
    Operation::Truncate,
    Operation::Message,
];

/// Where in the batch's buffer the shared values lie.
#[derive(Debug)]
pub(crate) struct SharedHeaders {
    operations: usize,
    source: Range<usize>,
    position: Range<usize>,
    transaction: Option<Range<usize>>,
    event_prefix: Range<usize>,
    updated_at: (i64, Range<usize>),
}

/// What is a record's own.
#[derive(Debug, Clone)]
pub(crate) struct RecordHeaders {
    pub(crate) operation: Operation,
    pub(crate) ordinal: u64,
    pub(crate) suffix: &'static str,
    pub(crate) updated_at_us: i64,
    pub(crate) cells: CellHeaders,
    pub(crate) link: Option<(&'static str, Range<usize>)>,
    /// What the event calls itself, where that is not told by its position.
    pub(crate) event_id: Option<Range<usize>>,
}

/// Names of columns whose cells are not what the database has, each a JSON array where there are any.
#[derive(Debug, Clone, Default)]
pub(crate) struct CellHeaders {
    pub(crate) unchanged: Option<Range<usize>>,
    pub(crate) unrepresentable: Option<Range<usize>>,
    pub(crate) unrepresentable_before: Option<Range<usize>>,
}

// === impl SharedHeaders ===

impl SharedHeaders {
    /// Writes what is the same for the whole batch.
    pub(crate) fn begin(output: &mut EncodedBatch, connector: &str) -> Self {
        let operations = output.buffer.len();
        for operation in OPERATIONS {
            output.buffer.extend_from_slice(operation.code().as_bytes());
        }
        let source = output.append(connector.as_bytes());
        Self {
            operations,
            source,
            position: 0..0,
            transaction: None,
            event_prefix: 0..0,
            updated_at: (i64::MIN, 0..0),
        }
    }

    /// Writes what is the same for a transaction.
    pub(crate) fn transaction(&mut self, output: &mut EncodedBatch, identity: &str, transaction: &Transaction) {
        let start = output.buffer.len();
        output.buffer.extend_from_slice(identity.as_bytes());
        output.buffer.push(b':');
        self.position = output.append(transaction.position.as_bytes());
        output.buffer.push(b':');
        self.event_prefix = start..output.buffer.len();
        self.transaction = transaction.id.map(|id| {
            let start = output.buffer.len();
            write_unsigned(&mut output.buffer, id);
            start..output.buffer.len()
        });
    }

    /// What was written at `length` and behind is taken back.
    pub(crate) fn forget_from(&mut self, length: usize) {
        if self.updated_at.1.end > length {
            self.updated_at = (i64::MIN, 0..0);
        }
    }

    /// Adds the headers of a record; returns their range.
    pub(crate) fn push(&mut self, output: &mut EncodedBatch, record: RecordHeaders) -> Range<usize> {
        let updated_at = self.updated_at(output, record.updated_at_us);
        let named = record.event_id.clone();
        let event_id = named.unwrap_or_else(|| self.event_id(output, record.ordinal, record.suffix));
        let start = output.headers.len();
        let headers = &mut output.headers;
        headers.push((HeaderName::Known(header::UPDATED_AT), updated_at));
        headers.push((HeaderName::Known(header::OPERATION), self.operation(record.operation)));
        headers.push((HeaderName::Known(header::SOURCE), self.source.clone()));
        headers.push((HeaderName::Known(header::POSITION), self.position.clone()));
        headers.push((HeaderName::Known(header::EVENT_ID), event_id));
        let transaction = self.transaction.clone().map(|range| (header::TRANSACTION, range));
        let message_id = record.event_id.map(|range| (header::MESSAGE_ID, range));
        let [unchanged, now, before] = record.cells.named();
        let own = [transaction, unchanged, now, before, record.link, message_id];
        let own = own.into_iter().flatten();
        headers.extend(own.map(|(name, range)| (HeaderName::Known(name), range)));
        start..output.headers.len()
    }

    fn updated_at(&mut self, output: &mut EncodedBatch, updated_at_us: i64) -> Range<usize> {
        if self.updated_at.0 != updated_at_us || self.updated_at.1.is_empty() {
            let start = output.buffer.len();
            write_date_time(&mut output.buffer, updated_at_us, Fraction::Digits(6));
            output.buffer.push(b'Z');
            self.updated_at = (updated_at_us, start..output.buffer.len());
        }
        self.updated_at.1.clone()
    }

    fn event_id(&self, output: &mut EncodedBatch, ordinal: u64, suffix: &str) -> Range<usize> {
        let start = output.buffer.len();
        output.buffer.extend_from_within(self.event_prefix.clone());
        write_unsigned(&mut output.buffer, ordinal);
        output.buffer.extend_from_slice(suffix.as_bytes());
        start..output.buffer.len()
    }

    fn operation(&self, operation: Operation) -> Range<usize> {
        let index = match operation {
            Operation::Read => 0,
            Operation::Create => 1,
            Operation::Update => 2,
            Operation::Delete => 3,
            Operation::Truncate => 4,
            Operation::Message => 5,
        };
        self.operations + index..self.operations + index + 1
    }
}

// === impl CellHeaders ===

impl CellHeaders {
    fn named(self) -> [Option<(&'static str, Range<usize>)>; 3] {
        [
            self.unchanged.map(|range| (UNCHANGED, range)),
            self.unrepresentable.map(|range| (UNREPRESENTABLE, range)),
            self.unrepresentable_before.map(|range| (UNREPRESENTABLE_BEFORE, range)),
        ]
    }
}
