//! Rows of tables, read again while the log is carried, and put between its changes where they belong.
//!
//! ```text
//!   log:      … e1  e2 │ e3     e4       e5     │ e6 …            handed out, as it comes
//!                      │ ▲ every key that it names is noted ▲      the window
//!   rows:              └─ read: e1, e2 are visible ─ nothing behind `high` is ─┘
//!   stream:   … e1  e2   e3     e4       e5       rows whose keys were not noted   e6 …
//! ```
//!
//! Why that is right: of a row whose key nothing in the window names, the row that was read is the newest that the stream knows
//! of. Changes before the window are visible in it, so it is not older than they are; what comes behind `high` is not visible in
//! it, so nothing newer is overtaken. Of a row that the window names, the stream has said the newest already.
//!
//! Invariants:
//! - Keys are noted from the moment at which the rows are asked for until they are handed out: what the reader is told to be
//!   `handed_out` and what is noted leave no gap between them.
//! - A cursor only moves in the batch that carries the rows up to it, so that it is durable exactly if they are. A crash reads
//!   at most one window again.
//! - Rows of a window in which the table was emptied are all left out: those that came after that are in the window themselves.
//! - Rows that were read in another version of the table than the last change in the window are read again, once more at
//!   most where the table has not changed in between: then the log is behind, and all its changes are visible in the rows.
//! - Where no snapshot is under way nothing is noted, wrapped or waited for.

mod window;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::window::{Arrival, OpenWindow, Verdict};
use super::desk::{Command, SnapshotDesk, SnapshotRequest, Wish};
use super::request;
use super::run::{self, Failure, Run, RunId, RunStage};
use crate::batch::ChangeBatch;
use crate::error::{Error, Kind, Result};
use crate::failpoint;
use crate::ports::{Budget, LogReader, Window, WindowReader, WindowRequest, WindowTables};
use crate::position::{Position, Progress};
use crate::task::spawn_named;
use crate::telemetry::{Telemetry, now_us};

/// Rows of a table's first window: what a row takes is not known yet.
const FIRST_ROWS: usize = 256;
/// Soon enough for a lock that was not got, not so soon that asking again is what keeps it away.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A server that is back after an hour is noticed within half a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What a source needs for snapshots that are asked for while it runs.
pub struct Windows {
    /// Reads the rows.
    pub reader: Arc<dyn WindowReader>,
    /// Where people ask.
    pub desk: Arc<SnapshotDesk>,
    /// For the progress of each table.
    pub telemetry: Arc<Telemetry>,
    /// The snapshot that the checkpoint speaks of, which the source goes on with.
    pub run: Option<Run>,
}

/// Stands between a log and whoever reads it.
pub(super) struct Incremental {
    identity: Arc<str>,
    reader: Arc<dyn WindowReader>,
    desk: Arc<SnapshotDesk>,
    telemetry: Arc<Telemetry>,
    /// Until a checkpoint is known to say how it ended.
    run: Option<Run>,
    /// `run` as it stands in positions.
    json: String,
    /// What the log has handed out.
    handed_out: Progress,
    /// The run is another than the last batch said.
    untold: bool,
    /// Who waits for a checkpoint of which revision.
    answers: Vec<(u64, RunId, oneshot::Sender<Result<RunId>>)>,
    look_up: Option<(Errand<WindowTables>, SnapshotRequest, oneshot::Sender<Result<RunId>>)>,
    reading: Option<Errand<Window>>,
    window: Option<OpenWindow>,
    pace: Pace,
}

/// A question to the database that is on its way. Given up where it is dropped.
struct Errand<T>(JoinHandle<Result<T>>);

/// How much is read at a time, and when again after a failure.
struct Pace {
    rows: usize,
    wait: Duration,
    due: Option<Instant>,
    waiting: Option<Failure>,
}

// === impl Errand ===

impl<T: Send + 'static> Errand<T> {
    fn begin(name: &str, question: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self(spawn_named(name, question))
    }

    /// Cancel-safe: the question goes on by itself.
    async fn answer(&mut self) -> Result<T> {
        let ended = (&mut self.0).await;
        ended.map_err(|error| {
            Error::transient("task_failed", "reading rows for a snapshot ended early").with_source(error)
        })?
    }
}

impl<T> Drop for Errand<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Pace ===

impl Pace {
    fn new() -> Self {
        Self {
            rows: FIRST_ROWS,
            wait: FIRST_WAIT,
            due: None,
            waiting: None,
        }
    }

    /// The log named more keys than are kept while so many rows were on their way: half as many are there sooner.
    fn overtaken(&mut self, keys: usize) {
        let rows = self.rows;
        self.rows = (rows / 2).max(1);
        let message = format!(
            "{keys} rows of the table were changed while {rows} of it were read, more than are kept track of; they are asked for anew, {} at \
             a time. Where that goes on, read at a quieter hour, or find what makes the reading slow",
            self.rows
        );
        self.waiting = Some(Failure::from(&Error::transient("snapshot_overtaken", message)));
    }

    fn failed(&mut self, error: &Error) {
        self.due = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.waiting = Some(Failure::from(error));
    }

    /// Nothing holds it up any more.
    fn recovered(&mut self) {
        (self.wait, self.due, self.waiting) = (FIRST_WAIT, None, None);
    }

    /// Twice as much where there was little, less where rows turned out to be large.
    fn went_well(&mut self, batch: &ChangeBatch, budget: Budget) {
        self.recovered();
        let rows = batch.changes.len();
        if rows == 0 {
            return;
        }
        let row_bytes = (batch.size_bytes() / rows).max(1);
        self.rows = (budget.bytes / row_bytes).clamp(1, self.rows.saturating_mul(2));
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn answer_of<T: Send + 'static>(errand: Option<&mut Errand<T>>) -> Result<T> {
    match errand {
        Some(errand) => errand.answer().await,
        None => std::future::pending().await,
    }
}

// === impl Incremental ===

impl Incremental {
    pub(super) fn new(identity: Arc<str>, windows: Windows) -> Self {
        let Windows {
            reader,
            desk,
            telemetry,
            run,
        } = windows;
        if let Some(run) = &run {
            desk.show(run, None);
        }
        Self {
            identity,
            reader,
            desk,
            telemetry,
            run: run.filter(Run::is_open),
            json: String::new(),
            handed_out: Progress::at(Position::new("")),
            untold: false,
            answers: Vec::new(),
            look_up: None,
            reading: None,
            window: None,
            pace: Pace::new(),
        }
    }

    /// The snapshot that goes on when the log is read.
    pub(super) fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Nothing can be asked for as long as the first snapshot is read.
    pub(super) fn wait_for_log(&self, why: (&'static str, &str)) {
        self.desk.refuse(why.0, why.1);
    }

    /// The log is read from here on.
    pub(super) fn begin(&mut self, progress: Progress) -> Result<()> {
        self.handed_out = progress;
        if let Some(run) = &self.run {
            self.json = run.to_json()?;
            tracing::info!(
                run = run.id.0,
                connector = self.telemetry.connector,
                "the snapshot goes on"
            );
        }
        self.desk.serve();
        Ok(())
    }

    /// The log's next changes, or rows between them.
    pub(super) async fn next_batch<L: LogReader>(&mut self, log: &mut L, budget: Budget) -> Result<ChangeBatch> {
        loop {
            if let Some(batch) = self.say(budget)? {
                return Ok(batch);
            }
            self.begin_reading(budget);
            let Self {
                desk,
                look_up,
                reading,
                pace,
                ..
            } = self;
            let is_free = look_up.is_none();
            tokio::select! {
                biased;
                // 1. Somebody wants something; one after the other.
                command = desk.next(), if is_free => self.obey(command)?,
                // 2. The tables are known that somebody wants.
                found = answer_of(look_up.as_mut().map(|(errand, _, _)| errand)) => self.accept(found)?,
                // 3. Rows have come.
                window = answer_of(reading.as_mut()) => self.arrived(window)?,
                // 4. What failed is tried again.
                () = due(pace.due) => self.pace.due = None,
                // 5. The log.
                batch = log.next_batch(budget) => return self.carry(batch?),
            }
        }
    }

    /// A checkpoint has this position. Gives the log's own.
    pub(super) fn confirmed(&mut self, durable: &Position) -> Result<Position> {
        let (log, revision) = run::parts(durable)?;
        let Some(revision) = revision else {
            return Ok(log);
        };
        for (wanted, id, answer) in std::mem::take(&mut self.answers) {
            if wanted <= revision {
                // Who does not wait any more sees it in the state.
                drop(answer.send(Ok(id)));
            } else {
                self.answers.push((wanted, id, answer));
            }
        }
        let is_over = |run: &Run| !run.is_open() && run.revision <= revision;
        if self.run.as_ref().is_some_and(is_over) {
            self.run = None;
            self.json = String::new();
        }
        Ok(log)
    }

    // --- what is handed out

    /// Rows whose window is over, or that the run has changed.
    fn say(&mut self, budget: Budget) -> Result<Option<ChangeBatch>> {
        let high = self.window.as_ref().and_then(OpenWindow::high);
        if let Some(high) = high
            && self.reader.has_passed(&self.handed_out.position, high)?
            && let Some(rows) = self.close_window(budget)?
        {
            return Ok(Some(rows));
        }
        if !self.untold {
            return Ok(None);
        }
        let mut batch = ChangeBatch::new(Arc::clone(&self.identity), self.handed_out.clone());
        self.wrap(&mut batch)?;
        Ok(Some(batch))
    }

    fn carry(&mut self, mut batch: ChangeBatch) -> Result<ChangeBatch> {
        self.handed_out.clone_from(&batch.progress);
        if let Some(window) = &mut self.window {
            window.note(&batch);
            if let Some(keys) = window.too_many_keys() {
                // What is noted is bounded: rows are asked for anew, from here on.
                self.give_window_up();
                self.pace.overtaken(keys);
                if let Some(run) = &self.run {
                    self.desk.show(run, self.pace.waiting.clone());
                }
            }
        }
        if self.run.is_some() {
            self.wrap(&mut batch)?;
        }
        Ok(batch)
    }

    fn wrap(&mut self, batch: &mut ChangeBatch) -> Result<()> {
        batch.progress.position = run::wrap(&self.handed_out.position, &self.json)?;
        self.untold = false;
        Ok(())
    }

    /// The rows that are left of the window; `None` where they must be read again.
    fn close_window(&mut self, budget: Budget) -> Result<Option<ChangeBatch>> {
        let Some(window) = self.window.take() else {
            return Ok(None);
        };
        let (window, rows) = match window.close() {
            Verdict::Rows(window, rows) => (*window, rows),
            Verdict::Again(again) => {
                self.window = Some(again);
                return Ok(None);
            }
            Verdict::Refused(error) => {
                self.give_table_up(&error)?;
                return Ok(None);
            }
        };
        let mut batch = window.batch;
        self.pace.went_well(&batch, budget);
        batch.identity = Arc::clone(&self.identity);
        batch.is_incremental = true;
        batch.progress.partial.clone_from(&self.handed_out.partial);
        self.advance(window.next, rows)?;
        failpoint!(try IncrementalRows);
        self.wrap(&mut batch)?;
        Ok(Some(batch))
    }

    /// The table that is read now is at another place.
    fn advance(&mut self, next: Option<String>, rows: usize) -> Result<()> {
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        if let Some(table) = run.current().and_then(|index| run.tables.get_mut(index)) {
            table.rows_done += u64::try_from(rows).unwrap_or(u64::MAX);
            table.finished = next.is_none();
            table.cursor = next;
            self.telemetry.update_table(&table.name, |progress| {
                progress.rows_done = table.rows_done;
                progress.rows_estimated = table.rows_estimated;
                progress.finished = table.finished;
            });
            if table.finished {
                self.pace = Pace::new();
                tracing::info!(
                    run = run.id.0,
                    connector = self.telemetry.connector,
                    table = table.name,
                    rows = table.rows_done,
                    "a table of the snapshot is finished"
                );
            }
        }
        self.end_if_over()
    }

    /// A run of which every table is over has ended.
    fn end_if_over(&mut self) -> Result<()> {
        if let Some(run) = self.run.as_mut()
            && run.stage == RunStage::Running
            && run.current().is_none()
        {
            run.stage = RunStage::Finished;
            run.revision += 1;
            let given_up = run.tables.iter().filter(|table| table.error.is_some()).count();
            tracing::info!(
                run = run.id.0,
                connector = self.telemetry.connector,
                tables = run.tables.len(),
                given_up,
                "the snapshot is over"
            );
            self.reader.rest();
        }
        self.changed()
    }

    /// The run is another now, and the next batch says so.
    fn changed(&mut self) -> Result<()> {
        if let Some(run) = &self.run {
            self.json = run.to_json()?;
            self.untold = true;
            self.desk.show(run, self.pace.waiting.clone());
        }
        Ok(())
    }

    // --- what is read

    fn begin_reading(&mut self, budget: Budget) {
        let is_idle = self.reading.is_none() && self.window.as_ref().is_none_or(OpenWindow::wants_rows);
        let Some(run) = self.run.as_mut().filter(|run| run.stage == RunStage::Running) else {
            return;
        };
        if !is_idle || self.pace.due.is_some() {
            return;
        }
        let Some(table) = run.current().and_then(|index| run.tables.get_mut(index)) else {
            return;
        };
        if table.started_at_us.is_none() {
            table.started_at_us = Some(now_us());
            self.desk.show(run, self.pace.waiting.clone());
            return self.begin_reading(budget);
        }
        let request = WindowRequest {
            table: table.name.clone(),
            condition: table.condition.clone(),
            after: table.cursor.clone(),
            budget: Budget {
                changes: self.pace.rows.min(budget.changes).max(1),
                bytes: budget.bytes,
            },
            handed_out: self.handed_out.clone(),
            run: run.id.0.clone(),
            rows_before: table.rows_done,
        };
        let before = self.window.take();
        self.window = Some(OpenWindow::new(&table.name, before));
        let reader = Arc::clone(&self.reader);
        let read = async move { reader.read(request).await };
        self.reading = Some(Errand::begin("snapshot window", read));
    }

    fn arrived(&mut self, window: Result<Window>) -> Result<()> {
        self.reading = None;
        let error = match window {
            Ok(mut rows) => {
                rows.batch.progress = Progress::at(Position::new(""));
                if self.pace.waiting.is_some() {
                    self.pace.recovered();
                    self.changed()?;
                }
                let arrival = self.window.as_mut().map(|window| window.arrive(rows));
                match arrival {
                    Some(Arrival::Keyless(error)) => error,
                    Some(Arrival::Noted) | None => return Ok(()),
                }
            }
            Err(error) => error,
        };
        match error.kind() {
            Kind::Transient => {
                self.window = None;
                tracing::debug!(
                    code = error.code(),
                    "rows of a snapshot are read again: {}",
                    error.report()
                );
                self.pace.failed(&error);
                if let Some(run) = &self.run {
                    self.desk.show(run, self.pace.waiting.clone());
                }
                Ok(())
            }
            Kind::Definite | Kind::Poison => self.give_table_up(&error),
            Kind::Fenced => Err(error),
        }
    }

    fn give_window_up(&mut self) {
        self.window = None;
        self.reading = None;
    }

    /// Nothing more is read of the table; others go on.
    fn give_table_up(&mut self, error: &Error) -> Result<()> {
        self.give_window_up();
        self.pace = Pace::new();
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        if let Some(table) = run.current().and_then(|index| run.tables.get_mut(index)) {
            tracing::warn!(
                run = run.id.0,
                connector = self.telemetry.connector,
                table = table.name,
                code = error.code(),
                "a table of the snapshot is given up: {}",
                error.report()
            );
            table.error = Some(Failure::from(error));
        }
        self.end_if_over()
    }

    // --- what is asked for

    fn obey(&mut self, command: Command) -> Result<()> {
        let Command { wish, answer } = command;
        let stage = match wish {
            Wish::Request(request) => {
                let reader = Arc::clone(&self.reader);
                let errand = Errand::begin("snapshot tables", async move { reader.tables().await });
                self.look_up = Some((errand, request, answer));
                return Ok(());
            }
            Wish::Pause => RunStage::Paused,
            Wish::Resume => RunStage::Running,
            Wish::Abort => RunStage::Aborted,
        };
        let Some(run) = self.run.as_mut().filter(|run| run.is_open()) else {
            let none = Error::definite("snapshot_none", "no snapshot is under way; ask for one first");
            drop(answer.send(Err(none)));
            return Ok(());
        };
        run.stage = stage;
        run.revision += 1;
        tracing::info!(
            run = run.id.0,
            connector = self.telemetry.connector,
            ?stage,
            "the snapshot was asked to change"
        );
        self.answers.push((run.revision, run.id.clone(), answer));
        if stage != RunStage::Running {
            self.pace = Pace::new();
            self.give_window_up();
            self.reader.rest();
        }
        self.changed()
    }

    /// The tables are known that there are: those that were asked for become part of a run, or the request is refused.
    fn accept(&mut self, found: Result<WindowTables>) -> Result<()> {
        let Some((_, request, answer)) = self.look_up.take() else {
            return Ok(());
        };
        let tables = found.and_then(|found| request::resolve(&request, found, self.run.as_ref()));
        let tables = match tables {
            Ok(tables) => tables,
            Err(error) => {
                drop(answer.send(Err(error)));
                return Ok(());
            }
        };
        let revision = self.run.as_ref().map_or(0, |run| run.revision) + 1;
        let requested_at_us = now_us();
        let new = || Run {
            id: RunId(format!("{requested_at_us:x}")),
            requested_at_us,
            by: request.by.clone(),
            stage: RunStage::Running,
            revision,
            tables: Vec::new(),
        };
        let mut run = self.run.take().filter(Run::is_open).unwrap_or_else(new);
        run.revision = revision;
        run.tables
            .retain(|known| tables.iter().all(|table| table.name != known.name));
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        tracing::info!(
            run = run.id.0,
            connector = self.telemetry.connector,
            by = request.by,
            tables = names.join(", "),
            "a snapshot was asked for"
        );
        run.tables.extend(tables);
        self.answers.push((revision, run.id.clone(), answer));
        self.run = Some(run);
        self.end_if_over()
    }
}

#[cfg(test)]
mod tests;
