//! The binary log as a [`LogReader`].
//!
//! ```text
//!   dump task                      bounded channel       pipeline task
//!   socket ─▶ events, checked ────────────────────────▶ assemble ─▶ batch
//!                                                         ├─ definitions changed: remember them, then go on
//!                                                         ├─ the file is torn here (log/torn.rs): go on in the next
//!                                                         └─ XA COMMIT: a second dump reads the prepared rows again
//! ```
//!
//! Nothing is acknowledged to the server: `confirm` only forgets what is not needed any more. Back-pressure is that the channel is full and
//! the socket is not read; the dump's session has a write timeout that outlasts it.

mod assemble;
pub(crate) mod dump;
pub(crate) mod dumps;
mod events;
pub(crate) mod rows;
mod sinks;
mod tables;
mod torn;
mod transaction;
mod watch;

pub(crate) use assemble::extended;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::{Budget, ConnectorStore, LogReader};
use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::lag::LagMeasure;
use tailrace_core::telemetry::{Life, Telemetry};
use tailrace_core::{Error, Result, task};
use tokio::task::JoinHandle;

use crate::config::MySqlConfig;
use crate::connect::{self, Purpose};
use crate::ddl::Definitions;
use crate::error::TORN;
use crate::memory::{Learnt, Memory};
use crate::position::gtid::GtidSet;
use crate::position::{BinlogPosition, FileOffset, start};
use crate::server::{self, ServerFacts};
use assemble::{Assembler, Next, Start};
use dump::DumpStart;
use dumps::Dumps;
use events::Events;
use tables::{TableSettings, Tables};
use watch::{Confirmed, Watch};

/// What the log is read with.
pub(crate) struct LogSettings {
    pub(crate) config: Arc<MySqlConfig>,
    pub(crate) dumps: Dumps,
    pub(crate) server: ServerFacts,
    /// First part of every `event_id`.
    pub(crate) identity: Arc<str>,
    pub(crate) memory: Memory,
    pub(crate) store: Arc<dyn ConnectorStore>,
    pub(crate) telemetry: Arc<Telemetry>,
}

/// The binary log of one server.
pub(crate) struct MySqlLog {
    settings: LogSettings,
    reading: Option<Reading>,
}

/// A log that is streaming.
struct Reading {
    events: Events,
    /// Rows of an XA transaction that was prepared earlier and is committed now.
    prepared: Option<Events>,
    assembler: Assembler,
    errand: Option<Errand>,
    /// Everything before it is confirmed, for the watch.
    confirmed: Confirmed,
    watch: JoinHandle<()>,
}

/// What must be done before the next event. It goes on by itself, because the call that waits for it may be given up at any time.
enum Errand {
    /// Definitions are being remembered.
    Remember(JoinHandle<Result<()>>),
    /// The rows of a prepared transaction are being asked for.
    ReadPrepared(JoinHandle<Result<Events>>),
    /// The log is being asked for from another place on.
    ReadFrom(JoinHandle<Result<Events>>),
}

// === impl MySqlLog ===

impl MySqlLog {
    /// A log that was not begun.
    pub(crate) fn new(settings: LogSettings) -> Self {
        Self {
            settings,
            reading: None,
        }
    }

    /// Starts reading after `progress`.
    pub(crate) async fn start(&mut self, progress: &Progress, read_at: &BTreeMap<String, Position>) -> Result<()> {
        let mut position = BinlogPosition::from_position(&progress.position)?;
        let settings = &mut self.settings;
        let start = settings.decide(&position, &progress.position).await?;
        if start.failed_over {
            settings.place_on_new_server(&mut position);
        }
        settings.memory.being_added.clear();
        settings.memory.read_at.clone_from(read_at);
        settings.memory.remember(&*settings.store).await?;
        let tables = TableSettings {
            patterns: settings.config.patterns()?,
            policy: settings.config.type_policy(),
            skip_written_by: settings.config.skip_written_by.clone(),
            server: settings.server.clone(),
        };
        let known = Definitions::of(
            settings.memory.definitions_at(&position.at).cloned(),
            settings.memory.charsets_at(&position.at),
        );
        let tables = Tables::new(tables, known);
        let text = format!("streaming the binary log from {}", position.at);
        let torn = torn::torn_ends(&settings.dumps, &settings.server, &position, !start.failed_over).await?;
        let events = events(&settings.dumps, &dump_start(&position, start.by)).await?;
        let start = Start {
            // Another server may have cut the same rows into other events, so that their ordinals say nothing: the transaction is read whole.
            partial: partial(progress).filter(|_| !start.failed_over),
            read_at: saved_positions(read_at)?,
            checks_fingerprint: start.compare_fingerprint,
            torn,
            position,
        };
        let confirmed = Confirmed::at(start.position.at.clone());
        let watch = Watch::new(
            Arc::clone(&settings.config),
            confirmed.clone(),
            Arc::clone(&settings.telemetry),
        );
        let assembler = Assembler::new(Arc::clone(&settings.identity), tables, start);
        settings.telemetry.begin(LagMeasure::Log);
        self.reading = Some(Reading {
            events,
            prepared: None,
            assembler,
            errand: None,
            confirmed,
            watch: task::spawn_named("watch source", watch.run()),
        });
        settings.tell_rewritten();
        settings.telemetry.enter(Life::Streaming, text);
        Ok(())
    }
}

// === impl LogSettings ===

impl LogSettings {
    /// Asks the server anew: rows may have been read for hours since it was asked.
    async fn decide(&mut self, position: &BinlogPosition, saved: &Position) -> Result<start::Start> {
        let mut connection = connect::connect(&self.config, Purpose::Setup).await?;
        self.server = server::server_facts(&mut connection).await?;
        let start = start::decide_start(position, self.memory.server_of(saved), &self.server)?;
        if start.compare_fingerprint && position.file_started_s.is_some() {
            // Before anything is carried: by identifiers the server may begin in another file.
            let started_s = server::file_started_s(&self.dumps, &position.at.file).await?;
            start::verify_fingerprint(position, started_s)?;
        }
        if start.failed_over {
            if let Some(pending) = position.pending.first() {
                return Err(Error::definite(
                    "xa_after_failover",
                    format!(
                        "the XA transaction {} was prepared on the server before this one, and where its rows are in this one's log is not known; \
                         `tailrace forget` the connector to begin anew with a snapshot",
                        pending.xid
                    ),
                ));
            }
            self.memory.move_to(&self.server, saved, &position.at);
        }
        Ok(start)
    }

    fn tell_rewritten(&self) {
        self.telemetry.set_notice("resync_needed", self.memory.resync_needed());
    }

    /// Files and offsets of the old server mean nothing any more. The identifiers say what is wanted, and until the first transaction
    /// came the place is before everything that this server has.
    fn place_on_new_server(&self, position: &mut BinlogPosition) {
        if let Some(first) = self.server.log_files.first() {
            position.at = FileOffset::new(first.name.as_str(), server::FIRST_EVENT_OFFSET);
            position.file_started_s = None;
        }
    }
}

async fn events(dumps: &Dumps, start: &DumpStart) -> Result<Events> {
    let dump = dumps.start(start, "begin to read the binary log").await?;
    Ok(Events::of(dump, dumps.clone()))
}

fn dump_start(position: &BinlogPosition, by: start::StartBy) -> DumpStart {
    match (by, &position.gtids) {
        (start::StartBy::Gtids, Some(GtidSet::MySql(executed))) => DumpStart::MySqlGtids(executed.to_string()),
        (start::StartBy::Gtids, Some(GtidSet::MariaDb(executed))) => DumpStart::MariaDbGtids(executed.to_string()),
        (start::StartBy::Gtids, None) | (start::StartBy::File, _) => at_file(&position.at),
    }
}

fn at_file(at: &FileOffset) -> DumpStart {
    DumpStart::File {
        file: at.file.clone(),
        offset: at.offset,
    }
}

fn partial(progress: &Progress) -> Option<(Arc<str>, u64)> {
    let partial = progress.partial.as_ref()?;
    Some((partial.transaction.as_str().into(), partial.changes))
}

fn saved_positions(read_at: &BTreeMap<String, Position>) -> Result<BTreeMap<String, BinlogPosition>> {
    let parsed = read_at.iter().map(|(table, position)| {
        let position = BinlogPosition::from_position(position)?;
        Ok((table.clone(), position))
    });
    parsed.collect()
}

fn unbegun() -> Error {
    Error::definite("log_not_begun", "the log was read before it was begun")
}

#[async_trait]
impl LogReader for MySqlLog {
    async fn begin(&mut self, start: &Position, read_at: &BTreeMap<String, Position>) -> Result<()> {
        self.start(&Progress::at(start.clone()), read_at).await
    }

    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        let Self { settings, reading } = self;
        let reading = reading.as_mut().ok_or_else(unbegun)?;
        loop {
            reading.finish_errand().await?;
            if let Some(next) = reading.fill(budget)? {
                reading.begin_errand(settings, next);
                continue;
            }
            if let Some(batch) = reading.assembler.take() {
                return Ok(batch);
            }
            if !reading.assembler.is_unfinished() {
                settings.telemetry.set_at_end(reading.is_at_end());
                let ready = reading.source().ready().await;
                settings.telemetry.set_at_end(false);
                match ready {
                    Ok(()) => settings.telemetry.heard(),
                    Err(error) => {
                        let next = reading.after(error)?;
                        reading.begin_errand(settings, next);
                    }
                }
            }
        }
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        let durable = BinlogPosition::from_position(durable)?;
        if let Some(reading) = &self.reading {
            reading.confirmed.move_to(durable.at.clone());
        }
        let settings = &mut self.settings;
        if settings.memory.forget_definitions_before(durable.needed_from()) {
            settings.memory.remember(&*settings.store).await?;
        }
        Ok(())
    }
}

// === impl Reading ===

impl Reading {
    /// Everything that came is handed out. The server sends what it has without being asked, and nothing comes but whole transactions.
    fn is_at_end(&self) -> bool {
        self.prepared.is_none() && !self.assembler.is_open()
    }

    /// Where the next event comes from.
    fn source(&mut self) -> &mut Events {
        self.prepared.as_mut().unwrap_or(&mut self.events)
    }

    /// Takes events in until the budget is used or nothing more is there; tells where something else must be done first.
    fn fill(&mut self, budget: Budget) -> Result<Option<Next>> {
        while !self.assembler.is_full(budget) {
            let next = if self.assembler.is_unfinished() {
                self.assembler.go_on(budget)?
            } else {
                match self.source().next_now() {
                    Ok(Some(event)) => self.assembler.accept(&event)?,
                    Ok(None) => return Ok(None),
                    Err(error) => self.after(error)?,
                }
            };
            match next {
                Next::Continue => {}
                Next::PreparedWasRead => self.prepared = None,
                Next::Remember | Next::ReadPrepared(_) | Next::ReadFrom(_) => return Ok(Some(next)),
            }
        }
        Ok(None)
    }

    /// A file whose end is known to be torn ends with an error.
    fn after(&mut self, error: Error) -> Result<Next> {
        if error.code() != TORN || self.prepared.is_some() {
            return Err(error);
        }
        self.assembler.leave_torn_file().ok_or(error)
    }

    fn begin_errand(&mut self, settings: &mut LogSettings, next: Next) {
        self.errand = match next {
            Next::Continue | Next::PreparedWasRead => None,
            Next::Remember => {
                let from = self.assembler.position().at.clone();
                let tables = self.assembler.tables_mut();
                settings.memory.note_rewritten(tables.take_rewritten());
                settings.tell_rewritten();
                for learnt in tables.take_changed() {
                    if let Learnt::Table(name, Some(definition)) = &learnt
                        && tables.captures(&definition.schema, &definition.table)
                    {
                        // Made or renamed in the log, it is carried from its first row: the next start has nothing to read of it.
                        settings.memory.tables.insert(name.clone());
                    }
                    settings.memory.define(from.clone(), learnt);
                }
                let (memory, store) = (settings.memory.clone(), Arc::clone(&settings.store));
                let remember = async move { memory.remember(&*store).await };
                Some(Errand::Remember(task::spawn_named("remember definitions", remember)))
            }
            Next::ReadPrepared(at) => {
                let dumps = settings.dumps.clone();
                let read = async move { events(&dumps, &at_file(&at)).await };
                Some(Errand::ReadPrepared(task::spawn_named("read prepared rows", read)))
            }
            Next::ReadFrom(at) => {
                let dumps = settings.dumps.clone();
                let read = async move { events(&dumps, &at_file(&at)).await };
                Some(Errand::ReadFrom(task::spawn_named("read the next file", read)))
            }
        };
    }

    async fn finish_errand(&mut self) -> Result<()> {
        match &mut self.errand {
            None => {}
            Some(Errand::Remember(task)) => task.await.map_err(|error| ended_early(&error))??,
            Some(Errand::ReadPrepared(task)) => {
                self.prepared = Some(task.await.map_err(|error| ended_early(&error))??);
            }
            Some(Errand::ReadFrom(task)) => {
                self.events = task.await.map_err(|error| ended_early(&error))??;
            }
        }
        self.errand = None;
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn ended_early(error: &tokio::task::JoinError) -> Error {
    Error::transient(
        "task_failed",
        format!("what had to be done before the next event ended early: {error}"),
    )
}
