//! Rows of a window on their way from a COPY into a batch, as those of the first snapshot come.

use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::ports::Budget;
use tailrace_core::position::{Position, Progress};
use tailrace_core::{Error, Result};

use crate::connect::Session;
use crate::decode::copy::{CopyReader, CopyRow};
use crate::discover::CapturedTable;
use crate::error::query_error;
use crate::position::Lsn;

/// Rows that were read so far.
pub(super) struct Rows<'a> {
    table: &'a CapturedTable,
    batch: ChangeBatch,
    transaction: usize,
    /// Key of the last row.
    last: Option<Vec<String>>,
}

// === impl Rows ===

impl<'a> Rows<'a> {
    /// None yet. They count as read at this time.
    pub(super) fn new(table: &'a CapturedTable, identity: Arc<str>, now_us: i64) -> Self {
        let mut batch = ChangeBatch::new(identity, Progress::at(Position::new("")));
        let transaction = batch.push_transaction(Transaction {
            id: None,
            committed_at_us: now_us,
            // Known when all rows were read.
            position: "".into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        });
        Self {
            table,
            batch,
            transaction,
            last: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.batch.changes.len()
    }

    pub(super) fn last_key(&mut self) -> Option<Vec<String>> {
        self.last.take()
    }

    /// Reads what a `COPY` gives, up to the budget's bytes; true where there was more.
    pub(super) async fn copy(&mut self, session: &Session, statement: &str, budget: Budget) -> Result<bool> {
        let doing = format!("read {}", self.table.schema.name.qualified());
        let wrap = |error| query_error(&error, &doing);
        let mut chunks = pin!(session.copy_out(statement).await.map_err(wrap)?);
        let mut reader = CopyReader::default();
        let mut stopped = false;
        while let Some(chunk) = chunks.try_next().await.map_err(wrap)? {
            if stopped {
                // To its end, which is near: the connection is kept.
                continue;
            }
            reader.push(&chunk);
            while let Some(row) = reader.next_row().map_err(|error| self.undecodable(&error))? {
                if self.len() > 0 && self.batch.size_bytes() >= budget.bytes {
                    stopped = true;
                    break;
                }
                self.push(&row)?;
            }
        }
        if !stopped {
            reader.finish().map_err(|error| self.undecodable(&error))?;
        }
        Ok(stopped)
    }

    fn push(&mut self, row: &CopyRow<'_>) -> Result<()> {
        let table = self.table;
        let mut fields = row.fields();
        let mut key = Vec::with_capacity(table.schema.key.len());
        for _ in &table.schema.key {
            let text = fields
                .next()
                .flatten()
                .and_then(|bytes| std::str::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| self.undecodable(&"a row does not say its key"))?;
            key.push(text.to_owned());
        }
        let full = |error: BatchFull| Error::definite("batch_full", error.to_string());
        self.batch.begin_row().map_err(full)?;
        for (index, column) in table.columns.iter().enumerate() {
            let value = fields
                .next()
                .ok_or_else(|| self.undecodable(&"a row has fewer columns than the table"))?;
            let pushed = column.kind.push_copied(value, &mut self.batch);
            pushed.map_err(|error| self.poison(index, &key, &error))?;
        }
        let after = self.batch.end_row().map_err(full)?;
        let ordinal = u64::try_from(self.len()).unwrap_or(u64::MAX);
        let index = self.batch.table_index(&table.schema);
        self.batch.changes.push(Change {
            operation: Operation::Read,
            table: index,
            transaction: self.transaction,
            before: None,
            before_image: BeforeImage::None,
            after: Some(after),
            ordinal,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: None,
        });
        self.last = Some(key);
        Ok(())
    }

    /// The rows, which stand at a place in the log now. No two windows end at the same, so it names them.
    pub(super) fn finish(mut self, high: Lsn, run: &str) -> ChangeBatch {
        for transaction in &mut self.batch.transactions {
            transaction.position = format!("{high}.incremental.{run}").into();
            transaction.log_position = Some(high.0);
        }
        for change in &mut self.batch.changes {
            change.log_position = Some(high.0);
        }
        self.batch
    }

    fn undecodable(&self, error: &dyn std::fmt::Display) -> Error {
        let message = format!(
            "the rows of {} do not come as COPY promises: {error}",
            self.table.schema.name.qualified()
        );
        Error::definite("snapshot_undecodable", message)
    }

    fn poison(&self, column: usize, key: &[String], error: &dyn std::fmt::Display) -> Error {
        let columns = &self.table.schema.columns;
        let name = columns.get(column).map_or("?", |column| column.name.as_str());
        let message = format!(
            "column \"{name}\" of {} in the row with the key ({}) holds a value that cannot be carried: {error}; \
             correct the value, or leave the column out of the publication",
            self.table.schema.name.qualified(),
            key.join(", ")
        );
        Error::poison("value_undecodable", message)
    }
}
