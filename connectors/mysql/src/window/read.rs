//! Rows of a window on their way from a SELECT into a batch, as those of the first snapshot come.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};
use tailrace_core::batch::{BatchFull, BeforeImage, BinlogTransaction, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::ports::WindowRequest;
use tailrace_core::position::{Position, Progress};
use tailrace_core::{Error, Result};

use super::table_error;
use crate::column_type::TypePolicy;
use crate::decode::cell::TextDecoder;
use crate::discover::CapturedTable;
use crate::position::FileOffset;
use crate::quote::{identifier, qualified};
use crate::scan::key_range::{KeyRange, RangeKey};

/// What is read.
pub(super) struct Reading<'a> {
    table: &'a CapturedTable,
    key: RangeKey,
    after: Option<Vec<String>>,
    condition: Option<&'a str>,
    limit: usize,
    bytes: usize,
    decoders: Vec<TextDecoder>,
}

/// What was read.
pub(super) struct Rows {
    batch: ChangeBatch,
    /// Where the next window begins.
    pub(super) next: Option<String>,
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// Rows of a table behind the request's place in it.
    pub(super) fn new(
        table: &'a CapturedTable,
        request: &WindowRequest,
        condition: Option<&'a str>,
        policy: &TypePolicy,
    ) -> Result<Self> {
        let name = table.schema.name.qualified();
        let cursor = |what: &str| Error::definite("snapshot_cursor", format!("{what}; ask for {name} again"));
        let key = RangeKey::of(&table.definition).ok_or_else(|| cursor("the table has lost its key"))?;
        let after: Option<Vec<String>> = match &request.after {
            None => None,
            Some(text) => Some(
                serde_json::from_str(text)
                    .map_err(|error| cursor("the stored place in the table cannot be read").with_source(error))?,
            ),
        };
        if after
            .as_ref()
            .is_some_and(|after| after.len() != table.schema.key.len())
        {
            return Err(cursor(
                "the key of the table is another than when the snapshot came there",
            ));
        }
        let columns = table.definition.columns.iter();
        Ok(Self {
            table,
            key,
            after,
            condition,
            limit: request.budget.changes.max(1),
            bytes: request.budget.bytes,
            decoders: columns.map(|column| TextDecoder::new(column, policy)).collect(),
        })
    }

    /// Reads the rows within the connection's transaction.
    pub(super) async fn read(&self, connection: &mut Conn) -> Result<Rows> {
        let name = self.table.schema.name.qualified();
        // Where rows are left out, a window is to read so many, and not to find so many.
        let until = match self.condition {
            None => None,
            Some(_) => {
                let rows = u64::try_from(self.limit).unwrap_or(u64::MAX);
                self.key.end_of_range(connection, self.after.as_deref(), rows).await?
            }
        };
        let mut batch = ChangeBatch::new("".into(), Progress::at(Position::new("")));
        let (mut last, mut stopped) = (None, false);
        let statement = self.statement(until.clone());
        let error_of = |error: mysql_async::Error| table_error(&error, &name);
        let mut rows = connection.query_iter(statement).await.map_err(error_of)?;
        while let Some(row) = rows.next().await.map_err(error_of)? {
            // To its end, which is near: the connection is kept.
            stopped |= !batch.is_heartbeat() && batch.size_bytes() >= self.bytes;
            if !stopped {
                last = Some(self.push(&row.unwrap(), &mut batch)?);
            }
        }
        drop(rows);
        let is_last = match self.condition {
            None => batch.changes.len() < self.limit,
            Some(_) => until.is_none(),
        };
        let next = match (stopped, is_last) {
            (true, _) => last,
            (false, true) => None,
            (false, false) => until.or(last),
        };
        let next = next.map(|key| serde_json::to_string(&key)).transpose();
        let next = next.map_err(|error| {
            Error::definite("snapshot_cursor", "a key cannot be written as JSON").with_source(error)
        })?;
        Ok(Rows { batch, next })
    }

    /// The columns, then those of the key as they are stored.
    fn statement(&self, until: Option<Vec<String>>) -> String {
        let definition = &self.table.definition;
        let columns = definition.columns.iter();
        let columns: Vec<String> = columns
            .map(|column| column.column_type.select_expression(&identifier(&column.name)))
            .collect();
        let range = KeyRange {
            after: self.after.clone(),
            until,
        };
        let mut place = self.key.condition(&range);
        if let Some(condition) = self.condition {
            place.push_str(if place.is_empty() { " WHERE (" } else { " AND (" });
            place.push_str(condition);
            place.push_str("\n)");
        }
        let names = self.key.names();
        let limit = match self.condition {
            None => format!(" LIMIT {}", self.limit),
            Some(_) => String::new(),
        };
        format!(
            "SELECT {}, {names} FROM {}{place} ORDER BY {names}{limit}",
            columns.join(", "),
            qualified(&definition.schema, &definition.table)
        )
    }

    /// Adds a row, and gives its key.
    fn push(&self, values: &[Value], batch: &mut ChangeBatch) -> Result<Vec<String>> {
        let full = |error: BatchFull| Error::definite("batch_full", error.to_string());
        let (columns, key) = values
            .split_at_checked(self.decoders.len())
            .ok_or_else(|| self.undecodable())?;
        let key = self.key.literals(key).ok_or_else(|| self.undecodable())?;
        batch.begin_row().map_err(full)?;
        for (index, (decoder, value)) in self.decoders.iter().zip(columns).enumerate() {
            let bytes = match value {
                Value::NULL => None,
                Value::Bytes(bytes) => Some(bytes.as_slice()),
                _ => return Err(self.undecodable()),
            };
            decoder
                .decode(bytes, batch)
                .map_err(|error| self.poison(index, &error))?;
        }
        let after = batch.end_row().map_err(full)?;
        let table = batch.table_index(&self.table.schema);
        batch.changes.push(Change {
            operation: Operation::Read,
            table,
            transaction: 0,
            before: None,
            before_image: BeforeImage::None,
            after: Some(after),
            // Both are known when all rows were read.
            ordinal: 0,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: None,
        });
        Ok(key)
    }

    fn undecodable(&self) -> Error {
        let name = self.table.schema.name.qualified();
        Error::definite(
            "snapshot_undecodable",
            format!("the rows of {name} do not come as text, which was asked for"),
        )
    }

    fn poison(&self, column: usize, error: &dyn std::fmt::Display) -> Error {
        let columns = &self.table.schema.columns;
        let name = columns.get(column).map_or("?", |column| column.name.as_str());
        let message = format!(
            "column \"{name}\" of {} holds a value that cannot be carried: {error}",
            self.table.schema.name.qualified()
        );
        Error::poison("value_undecodable", message)
    }
}

// === impl Rows ===

impl Rows {
    /// The rows, which stand at a place in the log now.
    pub(super) fn into_batch(
        self,
        (identity, now_us): (&Arc<str>, i64),
        high: &FileOffset,
        request: &WindowRequest,
    ) -> ChangeBatch {
        let mut batch = self.batch;
        batch.identity = Arc::clone(identity);
        batch.push_transaction(Transaction {
            id: None,
            committed_at_us: now_us,
            // Several windows may end at one place in the log: their rows are counted over the table.
            position: format!("{high}.incremental.{}.{}", request.run, request.table).into(),
            log_position: None,
            previous_log_position: None,
            binlog: Some(BinlogTransaction {
                file: high.file.as_str().into(),
                server_id: 0,
                thread_id: None,
                gtid: None,
            }),
        });
        for (ordinal, change) in (request.rows_before..).zip(&mut batch.changes) {
            change.ordinal = ordinal;
            change.log_position = Some(high.offset);
        }
        batch
    }
}
