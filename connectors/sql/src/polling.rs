//! The polling loop: which table is asked next, and what the answer does to its cursor.
//!
//! ```text
//!   next_batch ──▶ runs? ──yes──▶ continue it              ┌─ rows ──▶ batch, cursor advanced
//!        │no                                               │
//!        └──▶ next due table ──▶ lease ──▶ fetch page ─────┼─ none ─▶ due again after the interval, next table
//!                 └─ none due: sleep                       ├─ rows behind a gap ─▶ ledger, due again soon
//!                                                          └─ schema changed ─▶ discover, ask again
//! ```
//!
//! A call of [`Source::next_batch`] that is dropped leaves its poll behind, and the next call continues it. The pipeline
//! drops calls several times a second, and a query that takes longer than that must still come to its end; besides, a poll
//! can never start while one runs, and a cursor moves only when its rows are handed out.

mod acknowledge;
mod fetch;
mod gaps;
mod lease;
mod queue;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::{Budget, RowJudge, Source, SourceContext};
use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::lag::LagMeasure;
use tailrace_core::telemetry::{Life, Telemetry, now_us};
use tailrace_core::{Error, Result};
use tokio::time::Instant;

use crate::config::{QueryConfig, QueryMode};
use crate::cursor::{self, CursorValue, Cursors};
use crate::dialect::{Dialect, DiscoveredTable, Discovery};
use crate::page::{PageRule, PageWriter};
use crate::plan::{PolledTable, blocking_error, unknown_deleted_column};
use crate::seen::Seen;
use lease::Lease;
use table::{Page, TableState};

/// How soon a table is asked again whose rows wait for somebody's transaction.
const GAP_INTERVAL: Duration = Duration::from_millis(50);

/// A page that takes what it is given.
const UNBOUNDED: Budget = Budget {
    changes: usize::MAX,
    bytes: usize::MAX,
};

/// What a polled source is opened with.
pub struct Opening<D> {
    /// The database, connected.
    pub dialect: D,
    /// Who the database is, stable over restarts: the first part of every `event_id`.
    pub identity: Arc<str>,
    /// How its tables are polled.
    pub config: QueryConfig,
    /// Where to continue, and whom to tell.
    pub context: SourceContext,
}

/// Reads changes by asking for them.
pub struct PollingSource<D> {
    /// The poller, while nothing runs.
    idle: Option<Box<Poller<D>>>,
    /// The poll that runs, whoever waits for it; it has the poller.
    running: Option<BoxFuture<'static, Polled<D>>>,
    /// A batch that became ready while a confirmation waited for its poll.
    ready: Option<ChangeBatch>,
}

/// A finished poll and the poller that made it.
type Polled<D> = (Box<Poller<D>>, Result<Option<ChangeBatch>>);

struct Poller<D> {
    dialect: D,
    identity: Arc<str>,
    config: QueryConfig,
    telemetry: Arc<Telemetry>,
    schema_version: i64,
    tables: Vec<TableState>,
    /// Cursors of all tables, of those too that are gone.
    cursors: Cursors,
    /// A cursor changed in a way that no batch has carried yet.
    unreported: bool,
    /// Index of the table that is asked next, where it is due.
    turn: usize,
    /// Nothing is asked before, so that no more rows are read than may be.
    rest_until: Instant,
    lease: Option<Lease>,
    /// When the longest open transaction is asked for next.
    window_due_at: Instant,
    /// Who decides about rows of queues.
    judge: Option<Box<dyn RowJudge>>,
}

// === impl PollingSource ===

impl<D: Dialect> PollingSource<D> {
    /// Finds the tables and continues each behind its cursor.
    ///
    /// # Errors
    /// `tables_missing` where no table fits; the code of the first finding that blocks where one cannot be polled;
    /// `position_corrupt`, `position_other_mode` where the checkpoint is not one of these tables in this mode.
    pub async fn open(opening: Opening<D>) -> Result<Self> {
        let Opening {
            mut dialect,
            identity,
            config,
            context,
        } = opening;
        context.snapshots.refuse_without_log();
        let cursors = cursor::from_progress(context.resume.as_ref())?;
        let discovery = dialect.discover().await?;
        let lease = config.lease.as_ref();
        let lease = lease.map(|lease| Lease::new(lease, &context.connector, dialect.syntax()));
        let mut poller = Box::new(Poller {
            dialect,
            identity,
            config,
            telemetry: context.telemetry,
            schema_version: discovery.schema_version,
            tables: Vec::new(),
            cursors,
            unreported: false,
            turn: 0,
            rest_until: Instant::now(),
            lease,
            window_due_at: Instant::now(),
            judge: None,
        });
        poller.plan_at_start(discovery)?;
        poller.telemetry.begin(LagMeasure::Polls);
        poller
            .telemetry
            .enter(Life::Snapshotting, "reading the rows that are there");
        Ok(Self {
            idle: Some(poller),
            running: None,
            ready: None,
        })
    }

    /// Begins a poll, where none runs, and waits for its end.
    async fn poll(&mut self, budget: Budget) -> Result<Option<ChangeBatch>> {
        if let Some(mut poller) = self.idle.take() {
            self.running = Some(Box::pin(async move {
                let result = poller.poll_next_due(budget).await;
                (poller, result)
            }));
        }
        self.finish_poll().await
    }

    async fn finish_poll(&mut self) -> Result<Option<ChangeBatch>> {
        let Some(poll) = &mut self.running else {
            return Ok(None);
        };
        let (poller, result) = poll.await;
        self.idle = Some(poller);
        self.running = None;
        result
    }
}

#[async_trait]
impl<D: Dialect> Source for PollingSource<D> {
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        loop {
            if let Some(batch) = self.ready.take() {
                return Ok(batch);
            }
            if let Some(poller) = &mut self.idle {
                if let Some(batch) = poller.progress_alone()? {
                    return Ok(batch);
                }
                tokio::time::sleep_until(poller.next_due_at()).await;
            }
            if self.idle.is_none() && self.running.is_none() {
                return Err(Error::transient(
                    "source_lost",
                    "a poll ended without an answer; the source is opened again",
                ));
            }
            if let Some(batch) = self.poll(budget).await? {
                return Ok(batch);
            }
        }
    }

    /// Rows of queues are acknowledged; a table keeps its rows whatever is read, and there is nothing to release.
    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        if self.running.is_some() {
            self.ready = self.finish_poll().await?;
        }
        match &mut self.idle {
            Some(poller) => poller.confirm(durable).await,
            None => Ok(()),
        }
    }

    fn judge_rows(&mut self, judge: Box<dyn RowJudge>) -> Result<()> {
        // Nothing was asked before the first batch: the poller is idle.
        if let Some(poller) = &mut self.idle {
            poller.judge = Some(judge);
        }
        Ok(())
    }
}

// === impl Poller ===

impl<D: Dialect> Poller<D> {
    fn plan_at_start(&mut self, discovery: Discovery) -> Result<()> {
        if discovery.tables.is_empty() {
            let message = "no table fits the configured patterns; `tables` must name at least one that exists";
            return Err(Error::definite("tables_missing", message));
        }
        for table in discovery.tables {
            let plan = PolledTable::resolve(table, &self.config).map_err(|finding| blocking_error(&finding))?;
            self.add(plan)?;
        }
        let plans: Vec<_> = self.tables.iter().map(|state| state.plan.clone()).collect();
        if let Some(finding) = unknown_deleted_column(&self.config, &plans) {
            return Err(blocking_error(&finding));
        }
        self.announce_gap_safety();
        Ok(())
    }

    fn add(&mut self, plan: PolledTable) -> Result<()> {
        let name = plan.name();
        if let Some(cursor) = self.cursors.get(&name)
            && cursor.id.is_some()
            && cursor.timestamp.is_some() != plan.mode.by_time()
            && plan.mode != QueryMode::Queue
        {
            return Err(Error::definite(
                "position_other_mode",
                format!(
                    "table {name} was polled in another mode so far, and its progress means nothing in this one; set the \
                     mode back, or give the connector a new name to read the table from the beginning"
                ),
            ));
        }
        let gap = self.dialect.gap_safety(&plan);
        if let Some(finding) = gap.refusal(&name, &self.config) {
            return Err(blocking_error(&finding));
        }
        self.tables.push(TableState::new(plan, gap, self.config.changes_only));
        Ok(())
    }

    /// The schema changed while polling: tables may have come, gone or become others.
    async fn rediscover(&mut self) -> Result<()> {
        let discovery = self.dialect.discover().await?;
        self.schema_version = discovery.schema_version;
        let mut known: Vec<TableState> = std::mem::take(&mut self.tables);
        let mut refused = Vec::new();
        for table in discovery.tables {
            let name = table.schema.name.qualified();
            let before = known
                .iter()
                .position(|state| state.name == name)
                .map(|index| known.swap_remove(index));
            let table = with_known_schema(table, before.as_ref());
            match (PolledTable::resolve(table, &self.config), before) {
                (Ok(plan), Some(state)) => self.tables.push(TableState {
                    gap: self.dialect.gap_safety(&plan),
                    plan,
                    ..state
                }),
                (Ok(plan), None) => self.add(plan)?,
                (Err(finding), Some(_)) => return Err(blocking_error(&finding)),
                (Err(finding), None) => refused.push(format!("{}; {}", finding.problem, finding.remedy)),
            }
        }
        let gone: BTreeSet<_> = known.into_iter().map(|state| state.name).collect();
        self.announce(
            "table_gone",
            gone.into_iter()
                .map(|name| format!("table {name} no longer exists"))
                .collect(),
        );
        self.announce("table_not_polled", refused);
        self.announce_gap_safety();
        Ok(())
    }

    fn announce(&self, code: &'static str, sentences: Vec<String>) {
        self.telemetry
            .set_notice(code, (!sentences.is_empty()).then(|| sentences.join("; ")));
    }

    /// When there is something to ask for.
    fn next_due_at(&self) -> Instant {
        let due_at = self.tables.iter().map(|state| state.due_at).min();
        // Every table is gone: only a change of the schema can bring one back.
        let due_at = due_at.unwrap_or_else(|| Instant::now() + self.interval());
        due_at.max(self.rest_until)
    }

    /// Asks the next table that is due; `None` where it had nothing to say.
    async fn poll_next_due(&mut self, budget: Budget) -> Result<Option<ChangeBatch>> {
        if !self.secure_lease().await? {
            return Ok(None);
        }
        self.acknowledge().await?;
        self.look_at_window().await?;
        match self.next_due() {
            Some(index) => self.poll(index, budget).await,
            None if self.tables.is_empty() => self.rediscover().await.map(|()| None),
            None => Ok(None),
        }
    }

    /// The first table from the one whose turn it is that is due.
    fn next_due(&self) -> Option<usize> {
        let now = Instant::now();
        let count = self.tables.len();
        let mut turns = (0..count).map(|step| (self.turn + step) % count);
        turns.find(|index| self.tables.get(*index).is_some_and(|state| state.due_at <= now))
    }

    fn interval(&self) -> Duration {
        let interval = Duration::from_millis(self.config.poll_interval_ms);
        if self.config.jitter_percent == 0 {
            return interval;
        }
        let share = f64::from(self.config.jitter_percent) / 100.0;
        interval.mul_f64(1.0 + share * (rand::random::<f64>() * 2.0 - 1.0))
    }

    /// Asks one table for its next page.
    async fn poll(&mut self, index: usize, budget: Budget) -> Result<Option<ChangeBatch>> {
        let began_us = now_us();
        let mut batch = ChangeBatch::new(Arc::clone(&self.identity), Progress::at(Position::new("")));
        let now = self.dialect.now_us().await?;
        self.begin_load(index, now).await?;
        self.look_at_gap(index).await?;
        let fetched = match self.tables.get(index).map(|state| state.plan.mode) {
            Some(QueryMode::Timestamp) if !self.has_id(index) => {
                self.fetch_times(index, now, budget, &mut batch).await?
            }
            Some(_) => self.fetch(index, now, budget, &mut batch).await?,
            None => return Ok(None),
        };
        let Some(page) = fetched else {
            self.rediscover().await?;
            return Ok(None);
        };
        if page.before_gap {
            self.wait_for_gap(index).await?;
        }
        self.settle(index, &page, batch.changes.len());
        self.note_caught_up(index, &page, began_us, batch.is_heartbeat());
        self.rest(batch.changes.len());
        self.move_cursor(index, page, &mut batch).await?;
        if batch.is_heartbeat() {
            self.look_for_reused_ids(index).await?;
            return Ok(None);
        }
        if self.lease.as_ref().is_some_and(|lease| !lease.is_held()) {
            return Err(Error::transient(
                "lease_lost",
                "a page took longer than the lease; what was read is left to whoever has it now",
            ));
        }
        batch.progress = Progress::at(cursor::to_position(&self.cursors)?);
        self.unreported = false;
        Ok(Some(batch))
    }

    /// Before a table's first page: notes where its existing rows end.
    async fn begin_load(&mut self, index: usize, now: i64) -> Result<()> {
        let Some(state) = self.tables.get(index) else {
            return Ok(());
        };
        let cursor = self.cursors.entry(state.name.clone()).or_default();
        if cursor.load_end.is_some() {
            return Ok(());
        }
        let end = match state.plan.mode {
            QueryMode::Incrementing => self.dialect.highest_id(&state.plan).await?,
            QueryMode::Timestamp | QueryMode::TimestampIncrementing => Some(now.saturating_sub(state.plan.delay_us)),
            QueryMode::Bulk | QueryMode::Queue => return Ok(()),
        };
        // Of a table without rows none was there: databases number from 1.
        cursor.load_end = Some(end.unwrap_or(0));
        self.unreported = true;
        Ok(())
    }

    /// Notes how a poll went: whose turn is next, when this table is due again, and how far the first load is.
    fn settle(&mut self, index: usize, page: &Page, rows: usize) {
        self.turn = index + 1;
        let interval = self.interval();
        if let Some(state) = self.tables.get_mut(index) {
            let waits = page.before_gap && state.ledger.waiting_for().is_some();
            let again_at_once = page.more || (page.before_gap && !waits);
            if !again_at_once {
                let wait = if waits { interval.min(GAP_INTERVAL) } else { interval };
                state.due_at = Instant::now() + wait;
            }
            let loaded = !again_at_once || state.drained;
            if !state.drained {
                let rows = u64::try_from(rows).unwrap_or(u64::MAX);
                self.telemetry.update_table(&state.name, |table| {
                    table.rows_done += rows;
                    table.finished = loaded;
                });
            }
            state.drained = loaded;
        }
        let (life, reason) = match self.tables.iter().all(|state| state.drained) {
            true => (Life::Streaming, "polling for changes"),
            false => (Life::Snapshotting, "reading the rows that are there"),
        };
        if self.telemetry.life() != life {
            self.telemetry.enter(life, reason);
        }
    }

    /// A table that had nothing to give has given everything that was visible when the poll began; of a queue, when it was
    /// acknowledged too. One that is read as a whole has when the poll after it begins, with the last page handed out.
    fn note_caught_up(&mut self, index: usize, page: &Page, began_us: i64, had_nothing: bool) {
        let waits = page.more || page.before_gap || page.before_its_time || page.held;
        self.telemetry.heard();
        if let Some(state) = self.tables.get_mut(index) {
            if !waits {
                state.complete_until_us = Some(began_us);
            }
            if let Some(whole_us) = state.whole_read_us.take() {
                state.caught_up_us = Some(whole_us);
            }
            if state.plan.mode == QueryMode::Bulk && !page.more {
                state.whole_read_us = Some(began_us);
            } else if had_nothing && !waits && state.queue.in_flight().is_empty() {
                state.caught_up_us = Some(began_us);
            }
        }
        let oldest = self.tables.iter().map(|state| state.caught_up_us.unwrap_or(0)).min();
        let numbers = &self.telemetry.numbers;
        numbers
            .caught_up_us
            .store(oldest.unwrap_or(0), std::sync::atomic::Ordering::Release);
        let complete = self
            .tables
            .iter()
            .map(|state| state.complete_until_us.unwrap_or(0))
            .min();
        self.telemetry.reached.set_complete_until(complete.unwrap_or(0));
    }

    /// After so many rows, as long as it takes not to read more of them than may be.
    fn rest(&mut self, rows: usize) {
        if let Some(maximum) = self.config.maximum_rows_per_second {
            let rows = u32::try_from(rows).unwrap_or(u32::MAX);
            let pause = Duration::from_secs_f64(f64::from(rows) / f64::from(maximum));
            self.rest_until = self.rest_until.max(Instant::now()) + pause;
        }
    }

    /// What a page means for the progress of its table.
    async fn move_cursor(&mut self, index: usize, page: Page, batch: &mut ChangeBatch) -> Result<()> {
        let Some(state) = self.tables.get_mut(index) else {
            return Ok(());
        };
        let cursor = self.cursors.entry(state.name.clone()).or_default();
        match state.plan.mode {
            QueryMode::Queue => {
                state.queue.go_on(page.more.then_some(page.cursor));
                if !page.ids.is_empty() {
                    let number = cursor.handed_batches.unwrap_or(0) + 1;
                    cursor.handed_batches = Some(number);
                    state.queue.hand_out(number, page.ids);
                }
            }
            QueryMode::Bulk if !page.more => {
                let gone = state.seen.as_mut().map(Seen::finish).unwrap_or_default();
                let now = self.dialect.now_us().await?;
                let mut writer =
                    PageWriter::new(batch, &state.plan, cursor.clone(), UNBOUNDED, PageRule::Plain).polled_at(now);
                for id in &gone {
                    writer.gone(id)?;
                }
                cursor.id = None;
                cursor.generation = cursor.generation.wrapping_add(1);
                self.unreported = true;
            }
            QueryMode::Bulk | QueryMode::Timestamp | QueryMode::TimestampIncrementing => *cursor = page.cursor,
            QueryMode::Incrementing => {
                *cursor = page.cursor;
                // What is missing up to there was rolled back, and is not waited for again.
                if let (Some(until), false) = (page.settled_until, page.more) {
                    cursor.id = Some(CursorValue::Integer(until));
                    self.unreported = true;
                }
            }
        }
        Ok(())
    }
    /// Progress that no batch has carried yet.
    fn progress_alone(&mut self) -> Result<Option<ChangeBatch>> {
        if !std::mem::take(&mut self.unreported) {
            return Ok(None);
        }
        self.telemetry.heard();
        let progress = Progress::at(cursor::to_position(&self.cursors)?);
        Ok(Some(ChangeBatch::new(Arc::clone(&self.identity), progress)))
    }
}

/// The same version of a table keeps its pointer, which is what compiled plans are found by.
fn with_known_schema(mut table: DiscoveredTable, before: Option<&TableState>) -> DiscoveredTable {
    if let Some(state) = before
        && *state.plan.table.schema == *table.schema
    {
        table.schema = Arc::clone(&state.plan.table.schema);
    }
    table
}

#[cfg(test)]
mod tests;
