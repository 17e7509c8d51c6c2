//! The rows that existed before the log began, under the snapshot that was exported with the slot.
//!
//! ```text
//!   WorkList ──claim──▶ worker 1: COPY range ─▶ rows ─▶ batch ─┐
//!            ──claim──▶ worker 2: COPY range ─▶ rows ─▶ batch ─┴─▶ bounded channel ─▶ next_chunk ─▶ ledger: table finished?
//! ```
//!
//! Invariants:
//! - Every worker has imported the snapshot before [`Scanner::start`] returns; the session that exported it may then end.
//! - A table is named as finished only with or after the part that holds the last rows of its last range. Parts of one worker arrive in
//!   order, and a range is counted by its own last part, so counting them is enough.
//! - A worker that loses its connection ends the scan with a transient error: the snapshot cannot be had again once its exporter is
//!   gone, and rows of two snapshots of one table must not be mixed.
//! - A worker that ends in any other way without having done its ranges is noticed by the ledger when the channel closes.
//! - Memory is bounded by a batch in each worker and as many in the channel.
//!
//! Why ranges of physical pages: they need no key and no index, are read in the order of the disk, and a table that is hot
//! at one end still divides evenly.

mod ranges;
pub(crate) mod statement;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::{Budget, Chunk, ChunkReader};
use tailrace_core::telemetry::Telemetry;
use tailrace_core::{Error, Result, task};
use tailrace_sql::log_config::SnapshotOrder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::config::PostgresConfig;
use crate::connect::{Purpose, Session, connect};
use crate::discover::CapturedTable;
use crate::discover::server::ServerFacts;
use crate::error::query_error;
use crate::position::Lsn;
use crate::quote::literal;
use ranges::{Extent, WorkList};
use worker::Worker;

/// What is scanned.
pub(crate) struct ScanPlan {
    /// How to connect, with how many connections, in which order.
    pub(crate) config: Arc<PostgresConfig>,
    /// The connector's name.
    pub(crate) connector: String,
    /// The server.
    pub(crate) server: ServerFacts,
    /// Tables that are left to be read.
    pub(crate) tables: Vec<CapturedTable>,
    /// Name of the exported snapshot.
    pub(crate) snapshot_name: String,
    /// Everything that was committed before is in the snapshot.
    pub(crate) consistent_point: Lsn,
    /// First part of every event id.
    pub(crate) identity: Arc<str>,
    /// The rows' own updated-at column, for ordered snapshots.
    pub(crate) updated_at_column: Option<String>,
    /// For the progress of each table.
    pub(crate) telemetry: Arc<Telemetry>,
}

/// Reads all tables of a plan.
pub(crate) struct Scanner {
    plan: Arc<ScanPlan>,
    work: Arc<WorkList>,
    /// Workers that wait for the first budget.
    waiting: Vec<Worker>,
    running: Vec<JoinHandle<()>>,
    parts: mpsc::Receiver<Result<Part>>,
    budget: watch::Sender<Budget>,
    ledger: Ledger,
}

/// Rows of one range.
struct Part {
    table: usize,
    batch: ChangeBatch,
    /// The range ends with these rows.
    range_done: bool,
}

/// Which tables are finished.
struct Ledger {
    /// Ranges that are not done, by table.
    open_ranges: Vec<u64>,
    /// Tables that are finished and not yet told.
    finished: Vec<usize>,
}

// === impl Scanner ===

impl Scanner {
    /// Connects, imports the snapshot on every connection, and divides the work. Rows are read from the first
    /// [`ChunkReader::next_chunk`] on.
    pub(crate) async fn start(plan: ScanPlan) -> Result<Self> {
        let connections = usize::from(plan.config.snapshot.connections).max(1);
        let mut sessions = Vec::with_capacity(connections);
        for _ in 0..connections {
            sessions.push(import_snapshot(&plan).await?);
        }
        let (taken_at_us, extents) = match sessions.first() {
            Some(session) => (now_us(session).await?, extents(session, &plan).await?),
            None => (0, Vec::new()),
        };
        let work = Arc::new(WorkList::new(extents, connections));
        let ledger = Ledger::new(work.ranges_per_table(plan.tables.len()));
        let plan = Arc::new(plan);
        announce(&plan);
        let (sender, parts) = mpsc::channel(connections);
        // Replaced by the first call of `next_chunk`, before any worker looks.
        let (budget, budget_of_workers) = watch::channel(Budget { changes: 0, bytes: 0 });
        let worker = |session| Worker {
            session,
            plan: Arc::clone(&plan),
            work: Arc::clone(&work),
            parts: sender.clone(),
            budget: budget_of_workers.clone(),
            taken_at_us,
        };
        let waiting = sessions.into_iter().map(worker).collect();
        Ok(Self {
            plan,
            work,
            waiting,
            running: Vec::new(),
            parts,
            budget,
            ledger,
        })
    }

    fn set_budget(&mut self, budget: Budget) {
        self.budget.send_if_modified(|known| {
            let changed = *known != budget;
            *known = budget;
            changed
        });
        for worker in self.waiting.drain(..) {
            self.running.push(task::spawn_named("postgres snapshot", worker.run()));
        }
    }

    /// Counts a part, and makes a chunk of it where it says anything.
    fn take(&mut self, part: Part) -> Option<Chunk> {
        let rows = u64::try_from(part.batch.changes.len()).unwrap_or(u64::MAX);
        if rows > 0 {
            let name = self.table_name(part.table);
            self.plan
                .telemetry
                .update_table(&name, |progress| progress.rows_done += rows);
        }
        if part.range_done {
            self.ledger.range_done(part.table);
        }
        let finished_tables = self.finished_tables();
        (rows > 0 || !finished_tables.is_empty()).then_some(Chunk {
            batch: part.batch,
            finished_tables,
        })
    }

    fn finished_tables(&mut self) -> Vec<String> {
        let finished = std::mem::take(&mut self.ledger.finished);
        let names: Vec<String> = finished.into_iter().map(|table| self.table_name(table)).collect();
        for name in &names {
            self.plan
                .telemetry
                .update_table(name, |progress| progress.finished = true);
        }
        names
    }

    fn table_name(&self, table: usize) -> String {
        self.plan
            .tables
            .get(table)
            .map(|table| table.schema.name.qualified())
            .unwrap_or_default()
    }
}

#[async_trait]
impl ChunkReader for Scanner {
    async fn next_chunk(&mut self, budget: Budget) -> Result<Option<Chunk>> {
        self.set_budget(budget);
        let finished_tables = self.finished_tables();
        if !finished_tables.is_empty() {
            let batch = worker::empty_batch(&self.plan);
            return Ok(Some(Chunk { batch, finished_tables }));
        }
        while let Some(part) = self.parts.recv().await {
            if let Some(chunk) = self.take(part?) {
                return Ok(Some(chunk));
            }
        }
        match self.ledger.is_complete() && self.work.claim().is_none() {
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

/// A connection whose transaction sees what the exported snapshot sees.
async fn import_snapshot(plan: &ScanPlan) -> Result<Session> {
    let session = connect(&plan.config, &plan.connector, Purpose::Snapshot).await?;
    let wrap = |error| query_error(&error, "begin the transaction of the snapshot");
    session
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(wrap)?;
    let import = format!("SET TRANSACTION SNAPSHOT {}", literal(&plan.snapshot_name));
    session
        .batch_execute(&import)
        .await
        .map_err(|error| match error.as_db_error() {
            Some(db) => {
                let message = format!(
                    "the exported snapshot is gone ({}); the tables that are not finished are read anew",
                    db.message()
                );
                Error::transient("snapshot_lost", message)
            }
            None => query_error(&error, "import the exported snapshot"),
        })?;
    Ok(session)
}

async fn now_us(client: &Client) -> Result<i64> {
    let wrap = |error| query_error(&error, "ask for the server's time");
    let row = client
        .query_one("SELECT (extract(epoch FROM now()) * 1000000)::bigint", &[])
        .await
        .map_err(wrap)?;
    row.try_get(0).map_err(wrap)
}

/// What there is to read.
async fn extents(client: &Client, plan: &ScanPlan) -> Result<Vec<Extent>> {
    if plan.config.snapshot.order == SnapshotOrder::UpdatedAt && plan.updated_at_column.is_none() {
        let message =
            "`snapshot.order: updated_at` needs the column to be named: `updated_at: { column: … }` of the connector";
        return Err(Error::definite("config", message));
    }
    let mut extents = Vec::new();
    for (index, table) in plan.tables.iter().enumerate() {
        if plan.order_column(table).is_some() {
            let whole = Extent {
                table: index,
                heap: None,
                pages: 0,
            };
            extents.extend((!table.heaps.is_empty()).then_some(whole));
            continue;
        }
        let pages = pages(client, plan, table).await?;
        let heaps = pages.into_iter().enumerate();
        extents.extend(heaps.map(|(heap, pages)| Extent {
            table: index,
            heap: Some(heap),
            pages,
        }));
    }
    Ok(extents)
}

/// Pages of each heap of a table.
async fn pages(client: &Client, plan: &ScanPlan, table: &CapturedTable) -> Result<Vec<u64>> {
    const SIZES: &str = "SELECT coalesce(pg_catalog.pg_relation_size(h.oid), 0)
        FROM pg_catalog.unnest($1::oid[]) WITH ORDINALITY AS h (oid, place) ORDER BY h.place";
    if !plan.server.scans_page_ranges() {
        return Ok(vec![0; table.heaps.len()]);
    }
    let wrap = |error| query_error(&error, "ask for the sizes of tables");
    let oids: Vec<u32> = table.heaps.iter().map(|heap| heap.oid).collect();
    let page = i64::from(plan.server.block_size).max(1);
    let mut pages = Vec::with_capacity(oids.len());
    for row in client.query(SIZES, &[&oids]).await.map_err(wrap)? {
        let bytes: i64 = row.try_get(0).map_err(wrap)?;
        pages.push(u64::try_from(bytes / page).unwrap_or_default());
    }
    Ok(pages)
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
                "the table has no such column; its rows come in the order of the disk"
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
}

// === impl Ledger ===

impl Ledger {
    /// Tables without ranges are finished already.
    fn new(open_ranges: Vec<u64>) -> Self {
        let finished = open_ranges
            .iter()
            .enumerate()
            .filter(|(_, open)| **open == 0)
            .map(|(table, _)| table)
            .collect();
        Self { open_ranges, finished }
    }

    fn range_done(&mut self, table: usize) {
        let Some(open) = self.open_ranges.get_mut(table) else {
            return;
        };
        *open = open.saturating_sub(1);
        if *open == 0 {
            self.finished.push(table);
        }
    }

    fn is_complete(&self) -> bool {
        self.finished.is_empty() && self.open_ranges.iter().all(|open| *open == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_finished_with_its_last_range() {
        let mut ledger = Ledger::new(vec![2, 0, 1]);
        assert_eq!(std::mem::take(&mut ledger.finished), [1]);
        ledger.range_done(0);
        assert!(ledger.finished.is_empty());
        ledger.range_done(2);
        ledger.range_done(0);
        assert!(!ledger.is_complete());
        assert_eq!(std::mem::take(&mut ledger.finished), [2, 0]);
        assert!(ledger.is_complete());
    }
}
