//! The polling loop: which table is asked next, and what the answer does to its cursor.
//!
//! ```text
//!   next_batch ──▶ in flight? ──yes──▶ continue it          ┌─ rows ──▶ batch, cursor advanced
//!        │no                                                │
//!        └──▶ Poller::next ─▶ next due table ─▶ fetch page ─┼─ none ─▶ due again after the interval, next table
//!                                 └─ none due: sleep        └─ schema changed ─▶ discover, ask again
//! ```
//!
//! A call of [`Source::next_batch`] that is dropped leaves its future behind, and the next call continues it. The pipeline
//! drops calls several times a second, and a query that takes longer than that must still come to its end; besides, a poll
//! can never start while one runs, and a cursor moves only when its rows are handed out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::{Budget, Source, SourceContext};
use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::{Life, Telemetry, now_us};
use tailrace_core::{Error, Result};
use tokio::time::Instant;

use crate::config::{QueryConfig, QueryMode};
use crate::cursor::{self, Cursors};
use crate::dialect::{Dialect, DiscoveredTable, Discovery, Fetched, GapSafety, IdGeneration, PageRequest};
use crate::page::PageWriter;
use crate::plan::{PolledTable, blocking_error};

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
}

/// A finished poll and the poller that made it.
type Polled<D> = (Box<Poller<D>>, Result<ChangeBatch>);

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
}

struct TableState {
    plan: PolledTable,
    name: String,
    due_at: Instant,
    /// Everything that was there at the first poll was handed out, as far as this process knows.
    drained: bool,
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
        let cursors = cursor::from_progress(context.resume.as_ref())?;
        let discovery = dialect.discover().await?;
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
        });
        poller.plan_at_start(discovery)?;
        poller
            .telemetry
            .enter(Life::Snapshotting, "reading the rows that are there");
        Ok(Self {
            idle: Some(poller),
            running: None,
        })
    }
}

#[async_trait]
impl<D: Dialect> Source for PollingSource<D> {
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        if let Some(mut poller) = self.idle.take() {
            self.running = Some(Box::pin(async move {
                let result = poller.next(budget).await;
                (poller, result)
            }));
        }
        let Some(poll) = &mut self.running else {
            return Err(Error::transient(
                "source_lost",
                "a poll ended without an answer; the source is opened again",
            ));
        };
        let (poller, result) = poll.await;
        self.idle = Some(poller);
        self.running = None;
        result
    }

    /// A table keeps its rows whatever is read: there is nothing to release.
    async fn confirm(&mut self, _durable: &Position) -> Result<()> {
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
        self.announce_gap_safety();
        Ok(())
    }

    fn add(&mut self, plan: PolledTable) -> Result<()> {
        let name = plan.name();
        if let Some(cursor) = self.cursors.get(&name) {
            let by_time = plan.mode == QueryMode::TimestampIncrementing;
            if cursor.id.is_some() && cursor.timestamp.is_some() != by_time {
                return Err(Error::definite(
                    "position_other_mode",
                    format!(
                        "table {name} was polled in another mode so far, and its progress means nothing in this one; set the \
                         mode back, or give the connector a new name to read the table from the beginning"
                    ),
                ));
            }
        }
        self.tables.push(TableState {
            plan,
            name,
            due_at: Instant::now(),
            drained: false,
        });
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
                (Ok(plan), Some(state)) => self.tables.push(TableState { plan, ..state }),
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

    fn announce_gap_safety(&self) {
        let reports = self
            .tables
            .iter()
            .map(|state| (state, self.dialect.gap_safety(&state.plan)));
        let unproven = reports.filter(|(_, report)| report.safety != GapSafety::Proven);
        let sentence = |(state, report): (&TableState, crate::GapReport)| {
            format!("{}: {}, {}", state.name, report.safety.name(), report.reason)
        };
        self.announce("gap_safety", unproven.map(sentence).collect());
    }

    /// The next batch: rows of one table, or changed cursors alone. Waits where there is neither.
    async fn next(&mut self, budget: Budget) -> Result<ChangeBatch> {
        loop {
            if let Some(index) = self.next_due() {
                if let Some(batch) = self.poll(index, budget).await? {
                    return Ok(batch);
                }
                continue;
            }
            if self.unreported {
                return self.progress_alone();
            }
            self.wait_for_next_due().await?;
        }
    }

    /// The first table from the one whose turn it is that is due.
    fn next_due(&self) -> Option<usize> {
        let now = Instant::now();
        let count = self.tables.len();
        let turns = (0..count).map(|step| (self.turn + step) % count);
        turns
            .into_iter()
            .find(|index| self.tables.get(*index).is_some_and(|state| state.due_at <= now))
    }

    async fn wait_for_next_due(&mut self) -> Result<()> {
        match self.tables.iter().map(|state| state.due_at).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => {
                // Every table is gone: only a change of the schema can bring one back.
                tokio::time::sleep(self.interval()).await;
                self.rediscover().await?;
            }
        }
        Ok(())
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.config.poll_interval_ms)
    }

    /// Asks one table for its next page.
    async fn poll(&mut self, index: usize, budget: Budget) -> Result<Option<ChangeBatch>> {
        let mut batch = ChangeBatch::new(Arc::clone(&self.identity), Progress::at(Position::new("")));
        let now = self.dialect.now_us().await?;
        self.begin_load(index, now).await?;
        let Some(state) = self.tables.get(index) else {
            return Ok(None);
        };
        let after = self.cursors.get(&state.name).cloned().unwrap_or_default();
        let limit = self
            .config
            .batch_rows
            .min(u32::try_from(budget.changes).unwrap_or(u32::MAX))
            .max(1);
        let mut page = PageWriter::new(&mut batch, &state.plan, after.clone(), budget).polled_at(now);
        let request = PageRequest {
            table: &state.plan,
            after: &after,
            limit,
            schema_version: self.schema_version,
        };
        let Fetched::Rows(returned) = self.dialect.fetch(request, &mut page).await? else {
            self.rediscover().await?;
            return Ok(None);
        };
        let more = page.has_more(returned, limit);
        let cursor = page.cursor().clone();
        self.settle(index, more, batch.changes.len());
        if batch.is_heartbeat() {
            self.look_for_reused_ids(index).await?;
            return Ok(None);
        }
        if let Some(state) = self.tables.get(index) {
            self.cursors.insert(state.name.clone(), cursor);
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
            QueryMode::TimestampIncrementing => Some(now.saturating_sub(state.plan.delay_us)),
        };
        // Of a table without rows none was there: databases number from 1.
        cursor.load_end = Some(end.unwrap_or(0));
        self.unreported = true;
        Ok(())
    }

    /// Notes how a poll went: whose turn is next, when this table is due again, and how far the first load is.
    fn settle(&mut self, index: usize, more: bool, rows: usize) {
        self.turn = index + 1;
        let due_again = Instant::now() + self.interval();
        if let Some(state) = self.tables.get_mut(index) {
            if !more {
                state.due_at = due_again;
            }
            let loaded = !more || state.drained;
            if !state.drained {
                let rows = u64::try_from(rows).unwrap_or(u64::MAX);
                self.telemetry.update_table(&state.name, |table| {
                    table.rows_done += rows;
                    table.finished = loaded;
                });
            }
            state.drained = loaded;
        }
        let all_drained = self.tables.iter().all(|state| state.drained);
        let life = if all_drained {
            Life::Streaming
        } else {
            Life::Snapshotting
        };
        if self.telemetry.life() != life {
            let reason = if all_drained {
                "polling for changes"
            } else {
                "reading the rows that are there"
            };
            self.telemetry.enter(life, reason);
        }
    }

    /// A table that has nothing above its cursor may have lost its newest rows, and give their ids out again.
    async fn look_for_reused_ids(&mut self, index: usize) -> Result<()> {
        let Some(state) = self.tables.get(index) else {
            return Ok(());
        };
        let Some(cursor) = self.cursors.get_mut(&state.name) else {
            return Ok(());
        };
        let Some(at) = cursor.id.as_ref().and_then(crate::CursorValue::as_integer) else {
            return Ok(());
        };
        if state.plan.mode != QueryMode::Incrementing {
            return Ok(());
        }
        let highest = self.dialect.highest_id(&state.plan).await?;
        if highest.is_some_and(|highest| highest >= at) {
            return Ok(());
        }
        let name = &state.name;
        if state.plan.id_generation() == IdGeneration::NeverReused {
            return Err(Error::definite(
                "source_went_back",
                format!(
                    "table {name} was read up to id {at}, but its ids now end at {}: the database was restored from an older \
                     copy or its numbering was reset, and new rows would be skipped; give the connector a new name to read \
                     the table from the beginning",
                    highest.unwrap_or(0)
                ),
            ));
        }
        cursor.id = highest.map(crate::CursorValue::Integer);
        cursor.generation = cursor.generation.saturating_add(1);
        // What comes now is new, whatever its number.
        cursor.load_end = cursor.load_end.min(Some(highest.unwrap_or(0)));
        self.unreported = true;
        let notice = format!(
            "the newest rows of table {name} were deleted (read up to id {at}, now ends at {}), and their ids are given out \
             again: a row that was inserted and deleted between two polls was not seen; AUTOINCREMENT keeps ids apart",
            highest.map_or_else(|| "none".to_owned(), |id| id.to_string())
        );
        self.telemetry.set_notice("ids_reused", Some(notice));
        Ok(())
    }

    fn progress_alone(&mut self) -> Result<ChangeBatch> {
        self.unreported = false;
        self.telemetry
            .numbers
            .source_seen_us
            .store(now_us(), std::sync::atomic::Ordering::Relaxed);
        let progress = Progress::at(cursor::to_position(&self.cursors)?);
        Ok(ChangeBatch::new(Arc::clone(&self.identity), progress))
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
