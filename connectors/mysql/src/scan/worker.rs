//! One connection of a scan: claims a range, selects it, decodes it into batches, hands them over; until nothing is left.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::ports::Budget;
use tailrace_core::{Error, Result};
use tokio::sync::{mpsc, watch};

use crate::decode::cell::TextDecoder;
use crate::discover::CapturedTable;
use crate::error::{query_error, server_error_number};
use crate::quote::{identifier, qualified};
use crate::scan::division::{Claim, Division};
use crate::scan::{Part, ScanPlan};

/// A table that was dropped or altered after the read view was opened: ER_TABLE_DEF_CHANGED, ER_NO_SUCH_TABLE,
/// ER_BAD_FIELD_ERROR. A fresh look sees it as it is.
const CHANGED_TABLE: [u16; 3] = [1412, 1146, 1054];

/// One connection of a scan.
pub(super) struct Worker {
    pub(super) connection: Conn,
    pub(super) plan: Arc<ScanPlan>,
    pub(super) division: Arc<Division>,
    pub(super) parts: mpsc::Sender<Result<Part>>,
    pub(super) budget: watch::Receiver<Budget>,
}

/// Rows on their way from one SELECT into batches.
struct Gathering<'a> {
    plan: &'a ScanPlan,
    table: &'a CapturedTable,
    index: usize,
    decoders: Vec<TextDecoder>,
    /// Ordinal of the next row: the number of the range in the upper half, that of the row in the lower.
    ordinal: u64,
    batch: ChangeBatch,
    transaction: Option<usize>,
}

// === impl Worker ===

impl Worker {
    /// Works until nothing is left, an error occurred, or nobody listens any more.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.work().await {
            // Nobody to tell it to means that the scan was given up.
            drop(self.parts.send(Err(error)).await);
        }
    }

    async fn work(&mut self) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        while let Some(claim) = self.division.claim(&mut self.connection).await? {
            let Some(table) = plan.tables.get(claim.table) else {
                continue;
            };
            self.read(&plan, table, &claim).await?;
        }
        Ok(())
    }

    async fn read(&mut self, plan: &ScanPlan, table: &CapturedTable, claim: &Claim) -> Result<()> {
        let statement = self.statement(plan, table, claim);
        let mut gathering = Gathering::new(plan, table, claim);
        let mut budget = *self.budget.borrow();
        let mut rows = self
            .connection
            .query_iter(statement)
            .await
            .map_err(|error| scan_error(&error, table))?;
        while let Some(row) = rows.next().await.map_err(|error| scan_error(&error, table))? {
            gathering.push(row)?;
            if gathering.is_full(budget) {
                hand_over(&self.parts, gathering.take(false)).await?;
                budget = *self.budget.borrow();
            }
        }
        drop(rows);
        hand_over(&self.parts, gathering.take(true)).await
    }

    fn statement(&self, plan: &ScanPlan, table: &CapturedTable, claim: &Claim) -> String {
        let definition = &table.definition;
        let columns: Vec<String> = definition
            .columns
            .iter()
            .map(|column| column.column_type.select_expression(&identifier(&column.name)))
            .collect();
        let mut statement = format!(
            "SELECT {} FROM {}",
            columns.join(", "),
            qualified(&definition.schema, &definition.table)
        );
        if let (Some(key), Some(range)) = (self.division.key(claim.table), &claim.range) {
            statement.push_str(&key.condition(range));
            statement.push_str(" ORDER BY ");
            statement.push_str(&key.names());
        }
        if let Some(column) = plan.order_column(table) {
            statement.push_str(" ORDER BY ");
            statement.push_str(&identifier(column));
        }
        statement
    }
}

/// Waits while the stream is slow.
async fn hand_over(parts: &mpsc::Sender<Result<Part>>, part: Part) -> Result<()> {
    let sent = parts.send(Ok(part)).await;
    sent.map_err(|_| Error::transient("snapshot_given_up", "nobody takes the rows of the snapshot any more"))
}

fn scan_error(error: &mysql_async::Error, table: &CapturedTable) -> Error {
    let name = table.schema.name.qualified();
    match server_error_number(error) {
        Some(code) if CHANGED_TABLE.contains(&code) => Error::transient(
            "snapshot_table_changed",
            format!(
                "{name} was altered while the snapshot was under way ({error}); the tables that are not finished are read anew"
            ),
        ),
        _ => query_error(error, &format!("read {name}")),
    }
}

// === impl Gathering ===

impl<'a> Gathering<'a> {
    fn new(plan: &'a ScanPlan, table: &'a CapturedTable, claim: &Claim) -> Self {
        let columns = table.definition.columns.iter();
        Self {
            plan,
            table,
            index: claim.table,
            decoders: columns.map(|column| TextDecoder::new(column, &plan.policy)).collect(),
            ordinal: claim.number << 32,
            batch: plan.empty_batch(),
            transaction: None,
        }
    }

    fn is_full(&self, budget: Budget) -> bool {
        self.batch.changes.len() >= budget.changes || self.batch.size_bytes() >= budget.bytes
    }

    fn take(&mut self, range_done: bool) -> Part {
        self.transaction = None;
        Part {
            table: self.index,
            batch: std::mem::replace(&mut self.batch, self.plan.empty_batch()),
            range_done,
        }
    }

    fn push(&mut self, row: Row) -> Result<()> {
        let full = |error: BatchFull| Error::definite("batch_full", error.to_string());
        self.batch.begin_row().map_err(full)?;
        let values = row.unwrap();
        for (index, (decoder, value)) in self.decoders.iter().zip(&values).enumerate() {
            let bytes = match value {
                Value::NULL => None,
                Value::Bytes(bytes) => Some(bytes.as_slice()),
                _ => return Err(undecodable(self.table)),
            };
            decoder
                .decode(bytes, &mut self.batch)
                .map_err(|error| poison(self.table, index, &error))?;
        }
        let after = self.batch.end_row().map_err(full)?;
        let transaction = self.transaction();
        let change = Change {
            operation: Operation::Read,
            table: self.batch.table_index(&self.table.schema),
            transaction,
            before: None,
            before_image: BeforeImage::None,
            after: Some(after),
            ordinal: self.ordinal,
            log_position: Some(self.plan.log_position),
            updated_at_us: None,
            topic: None,
            message: None,
        };
        self.ordinal += 1;
        self.batch.changes.push(change);
        Ok(())
    }

    /// The table is part of the name, because ordinals are counted within it.
    fn transaction(&mut self) -> usize {
        let (plan, table) = (self.plan, self.table);
        let batch = &mut self.batch;
        *self.transaction.get_or_insert_with(|| {
            batch.push_transaction(Transaction {
                id: None,
                committed_at_us: plan.taken_at_us,
                position: format!("{}.snapshot.{}", plan.point, table.schema.name.qualified()).into(),
                log_position: None,
                previous_log_position: None,
                binlog: plan.binlog.clone(),
            })
        })
    }
}

fn undecodable(table: &CapturedTable) -> Error {
    let name = table.schema.name.qualified();
    Error::definite(
        "snapshot_undecodable",
        format!("the rows of {name} do not come as text, which was asked for"),
    )
}

fn poison(table: &CapturedTable, column: usize, error: &dyn std::fmt::Display) -> Error {
    let name = table
        .schema
        .columns
        .get(column)
        .map_or("?", |column| column.name.as_str());
    let message = format!(
        "column \"{name}\" of {} holds a value that cannot be carried: {error}",
        table.schema.name.qualified()
    );
    Error::poison("value_undecodable", message)
}
