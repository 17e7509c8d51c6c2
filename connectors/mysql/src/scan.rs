//! The rows that existed before the log began, under one consistent point.
//!
//! ```text
//!   Division ──claim──▶ connection 1: SELECT range ─▶ rows ─▶ batch ─┐
//!            ──claim──▶ connection 2: SELECT range ─▶ rows ─▶ batch ─┴─▶ bounded channel ─▶ next_chunk ─▶ ledger: table finished?
//! ```
//!
//! Invariants:
//! - Every connection has its read view, and all of them the same, before [`Scanner::start`] is called (`bootstrap/consistent_point.rs`).
//! - Ranges of a primary key are cut while they are read: who claims one looks for its upper end under the same read view, so that every row
//!   is in exactly one range.
//! - A table is named as finished only with or after the part that holds the last rows of its last range.
//! - A connection that is lost ends the scan with a transient error: its read view cannot be had again, and rows of two of them must
//!   not be mixed in one table. So does a table that was altered meanwhile: the server says so, because a read view does not cover definitions.
//! - Memory is bounded by a batch in each connection and as many in the channel.

mod division;
pub(crate) mod key_range;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::Conn;
use tailrace_core::batch::{BinlogTransaction, ChangeBatch};
use tailrace_core::ports::{Budget, Chunk, ChunkReader};
use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::Telemetry;
use tailrace_core::{Error, Result, task};
use tailrace_sql::log_config::SnapshotOrder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::column_type::TypePolicy;
use crate::config::MySqlConfig;
use crate::discover::CapturedTable;
use division::Division;
use worker::Worker;

/// What is scanned.
pub(crate) struct ScanPlan {
    /// How many rows a range has, in which order.
    pub(crate) config: Arc<MySqlConfig>,
    /// Tables that are left to be read.
    pub(crate) tables: Vec<CapturedTable>,
    /// Text of the consistent point, for `position` and `event_id`.
    pub(crate) point: Arc<str>,
    /// Where the log was then.
    pub(crate) binlog: Option<BinlogTransaction>,
    /// Offset of the consistent point in that file.
    pub(crate) log_position: u64,
    /// When it was, microseconds since 1970.
    pub(crate) taken_at_us: i64,
    /// First part of every event id.
    pub(crate) identity: Arc<str>,
    /// The rows' own updated-at column, for ordered snapshots.
    pub(crate) updated_at_column: Option<String>,
    /// What becomes of values that the logical types do not have.
    pub(crate) policy: TypePolicy,
    /// For the progress of each table.
    pub(crate) telemetry: Arc<Telemetry>,
}

/// Reads all tables of a plan.
pub(crate) struct Scanner {
    plan: Arc<ScanPlan>,
    division: Arc<Division>,
    /// Workers that wait for the first budget.
    waiting: Vec<Worker>,
    running: Vec<JoinHandle<()>>,
    parts: mpsc::Receiver<Result<Part>>,
    budget: watch::Sender<Budget>,
    finished: Vec<bool>,
}

/// Rows of one range.
struct Part {
    table: usize,
    batch: ChangeBatch,
    /// These are the last rows of a range. What a worker sends keeps its order, so that all rows of a table have come when all its
    /// ranges are told to be done.
    range_done: bool,
}

// === impl Scanner ===

impl Scanner {
    /// Divides the work among connections that have their read views. Rows are read from the first [`ChunkReader::next_chunk`] on.
    pub(crate) fn start(plan: ScanPlan, connections: Vec<Conn>) -> Result<Self> {
        if plan.config.snapshot.order == SnapshotOrder::UpdatedAt && plan.updated_at_column.is_none() {
            let message = "`snapshot.order: updated_at` needs the column to be named: `updated_at: { column: … }` of the connector";
            return Err(Error::definite("config", message));
        }
        let plan = Arc::new(plan);
        announce(&plan);
        let division = Arc::new(Division::new(&plan));
        let (sender, parts) = mpsc::channel(connections.len().max(1));
        // Replaced by the first call of `next_chunk`, before any worker looks.
        let (budget, budget_of_workers) = watch::channel(Budget { changes: 0, bytes: 0 });
        let worker = |connection| Worker {
            connection,
            plan: Arc::clone(&plan),
            division: Arc::clone(&division),
            parts: sender.clone(),
            budget: budget_of_workers.clone(),
        };
        let waiting = connections.into_iter().map(worker).collect();
        let finished = vec![false; plan.tables.len()];
        Ok(Self {
            plan,
            division,
            waiting,
            running: Vec::new(),
            parts,
            budget,
            finished,
        })
    }

    fn set_budget(&mut self, budget: Budget) {
        self.budget.send_if_modified(|known| {
            let changed = *known != budget;
            *known = budget;
            changed
        });
        for worker in self.waiting.drain(..) {
            self.running.push(task::spawn_named("mysql snapshot", worker.run()));
        }
    }

    /// Counts a part, and makes a chunk of it where it says anything.
    fn take(&mut self, part: Part) -> Option<Chunk> {
        let rows = u64::try_from(part.batch.changes.len()).unwrap_or(u64::MAX);
        let name = self
            .plan
            .tables
            .get(part.table)
            .map(|table| table.schema.name.qualified())
            .unwrap_or_default();
        let table_done = part.range_done && self.division.done(part.table);
        self.plan.telemetry.update_table(&name, |progress| {
            progress.rows_done += rows;
            progress.finished |= table_done;
        });
        if let Some(finished) = self.finished.get_mut(part.table) {
            *finished |= table_done;
        }
        let finished_tables = if table_done { vec![name] } else { Vec::new() };
        (rows > 0 || !finished_tables.is_empty()).then_some(Chunk {
            batch: part.batch,
            finished_tables,
        })
    }
}

#[async_trait]
impl ChunkReader for Scanner {
    async fn next_chunk(&mut self, budget: Budget) -> Result<Option<Chunk>> {
        self.set_budget(budget);
        while let Some(part) = self.parts.recv().await {
            if let Some(chunk) = self.take(part?) {
                return Ok(Some(chunk));
            }
        }
        match self.finished.iter().all(|finished| *finished) && self.division.is_claimed().await {
            true => Ok(None),
            false => Err(Error::transient(
                "snapshot_worker_ended",
                "a connection of the snapshot ended before its work was done; reading starts over",
            )),
        }
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        for worker in &self.running {
            worker.abort();
        }
    }
}

fn announce(plan: &ScanPlan) {
    for table in &plan.tables {
        let name = table.schema.name.qualified();
        plan.telemetry.update_table(&name, |progress| {
            progress.rows_done = 0;
            progress.rows_estimated = table.rows_estimated;
            progress.finished = false;
        });
        if plan.config.snapshot.order == SnapshotOrder::UpdatedAt && plan.order_column(table).is_none() {
            let column = plan.updated_at_column.as_deref().unwrap_or_default();
            tracing::warn!(
                table = name,
                column,
                "the table has no such column; its rows come in the order of its key"
            );
        }
    }
}

// === impl ScanPlan ===

impl ScanPlan {
    /// The column that the rows of a table are ordered by, where they are.
    fn order_column<'a>(&'a self, table: &CapturedTable) -> Option<&'a str> {
        let column = self.updated_at_column.as_deref()?;
        let ordered = self.config.snapshot.order == SnapshotOrder::UpdatedAt;
        (ordered && table.schema.column_index(column).is_some()).then_some(column)
    }

    /// A batch that says nothing yet. Its progress is filled in by the caller of the scanner.
    fn empty_batch(&self) -> ChangeBatch {
        ChangeBatch::new(Arc::clone(&self.identity), Progress::at(Position::new("")))
    }
}
