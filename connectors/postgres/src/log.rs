//! The write-ahead log as a [`LogReader`]: a socket thread, a decoder, and a watch on slot and publication.

mod assemble;
mod relations;
pub(crate) mod session;
mod socket;
mod spool;
mod transport;
mod unpublished;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::{Budget, ConnectorStore, LogReader};
use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::lag::LagMeasure;
use tailrace_core::telemetry::{Life, Telemetry};
use tailrace_core::{Error, Result, task};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{PostgresConfig, ServerNames};
use crate::connect::{self, application_name};
use crate::decode::replication::{self, ReplicationFrame};
use crate::discover;
use crate::discover::publication::{Publication, publication};
use crate::discover::server::ServerFacts;
use crate::endpoint::Endpoint;
use crate::memory::Memory;
use crate::position::Lsn;
use crate::slot::Slot;
use crate::window::visibility::Received;
use assemble::{Assembler, Next, Start, saved_partial, saved_positions};
use relations::Relations;
use session::Session;
use socket::{Frames, SocketHandle};
use spool::Spools;
use unpublished::Unpublished;

/// How often the slot is looked at. The server's own statistics are not fresher for long.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);
/// Errors of the watch that do not pass: the server sends less than it should. Others cost a look.
const ENDS_THE_CAPTURE: [&str; 2] = ["publication_history", "publication_changed"];
/// Large transactions are sent while they run from this version on; before, the first byte comes after the commit.
const STREAMING_MAJOR: u32 = 14;

/// What the log is read with.
pub(crate) struct LogSettings {
    pub(crate) config: Arc<PostgresConfig>,
    pub(crate) connector: String,
    pub(crate) names: ServerNames,
    pub(crate) server: ServerFacts,
    /// First part of every `event_id`.
    pub(crate) identity: Arc<str>,
    pub(crate) memory: Memory,
    pub(crate) store: Arc<dyn ConnectorStore>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Told of every commit.
    pub(crate) received: Arc<Received>,
}

/// The log of one slot.
pub(crate) struct PostgresLog {
    settings: LogSettings,
    reading: Option<Reading>,
}

/// A log that is streaming.
struct Reading {
    socket: SocketHandle,
    frames: Frames,
    assembler: Assembler,
    /// A table must be looked up before the next message.
    describe: bool,
    watch: JoinHandle<()>,
    telemetry: Arc<Telemetry>,
    /// The end of the log as the watch saw it last.
    announced_end: Arc<AtomicU64>,
    /// The server has sent everything up to here, open transactions included.
    sent_end: Lsn,
    /// What the watch found that ends the capture.
    verdict: oneshot::Receiver<Error>,
}

/// Looks at the server while the log is read.
struct Watch {
    catalog: Arc<connect::Session>,
    config: Arc<PostgresConfig>,
    connector: String,
    memory: Memory,
    telemetry: Arc<Telemetry>,
    announced_end: Arc<AtomicU64>,
    unpublished: Unpublished,
}

/// Why filling a batch stopped.
enum Filled {
    /// The budget is used.
    Full,
    /// No more frames are there.
    Dry,
    /// A table must be looked up.
    Describe,
}

// === impl PostgresLog ===

impl PostgresLog {
    /// A log that was not begun.
    pub(crate) fn new(settings: LogSettings) -> Self {
        Self {
            settings,
            reading: None,
        }
    }

    /// Starts streaming after `progress`.
    pub(crate) async fn start(&mut self, progress: &Progress, read_at: &BTreeMap<String, Position>) -> Result<()> {
        let settings = &mut self.settings;
        let start = Start {
            position: Lsn::from_position(&progress.position)?,
            partial: saved_partial(progress)?,
            read_at: saved_positions(read_at)?,
        };
        settings.memory.being_added.clear();
        settings.memory.read_at.clone_from(read_at);
        settings.memory.counts_messages = settings.config.captures_messages();
        settings.memory.remember(&*settings.store).await?;
        let catalog = connect::connect(&settings.config, &settings.connector, connect::Purpose::Catalog).await?;
        let catalog = Arc::new(catalog);
        let slot = Slot::read(&catalog, &settings.names.slot).await?;
        Slot::verify(slot.as_ref(), &settings.names.slot, start.position)?;
        let saved = start.position;
        let session = settings.start_replication(saved).await?;
        // Only now is the slot ours alone: what somebody did to it between the first look and the start shows here.
        let slot = Slot::read(&catalog, &settings.names.slot).await?;
        Slot::verify(slot.as_ref(), &settings.names.slot, saved)?;
        let endpoint = Endpoint::resolve(&settings.config.access())?;
        let interval = Duration::from_millis(settings.config.status_interval_ms);
        let socket = SocketHandle::start(session, saved, interval, endpoint.server())?;
        let config = Arc::clone(&settings.config);
        let relations = Relations::new(
            Arc::clone(&config),
            &settings.connector,
            &settings.server.database,
            Arc::clone(&catalog),
        );
        let spools = Spools::new(
            usize::try_from(config.spill_bytes).unwrap_or(usize::MAX),
            &settings.spill_path(),
        );
        let (judge, verdict) = oneshot::channel();
        let announced_end = slot.as_ref().and_then(Slot::log_end).unwrap_or(saved);
        let announced_end = Arc::new(AtomicU64::new(announced_end.0));
        settings.telemetry.begin(LagMeasure::Log);
        self.reading = Some(Reading {
            socket,
            frames: Bytes::new(),
            assembler: Assembler::new(
                Arc::clone(&settings.identity),
                config,
                (relations, spools),
                start,
                Arc::clone(&settings.received),
            ),
            describe: false,
            watch: settings.watch(catalog, &announced_end, judge),
            telemetry: Arc::clone(&settings.telemetry),
            announced_end,
            sent_end: saved,
            verdict,
        });
        let text = format!(
            "streaming the log from {saved} through slot \"{}\"",
            settings.names.slot
        );
        settings.telemetry.enter(Life::Streaming, text);
        Ok(())
    }

    fn reading(&mut self) -> Result<&mut Reading> {
        let unbegun = || Error::definite("log_not_begun", "the log was read before it was begun");
        self.reading.as_mut().ok_or_else(unbegun)
    }
}

/// The watch never ends without a verdict while the log is read.
fn unwatched() -> Error {
    Error::transient("task_failed", "the watch on slot and publication ended early")
}

#[async_trait]
impl LogReader for PostgresLog {
    async fn begin(&mut self, start: &Position, read_at: &BTreeMap<String, Position>) -> Result<()> {
        self.start(&Progress::at(start.clone()), read_at).await
    }

    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        let reading = self.reading()?;
        loop {
            if let Ok(error) = reading.verdict.try_recv() {
                return Err(error);
            }
            if reading.describe {
                reading.assembler.relations_mut().describe_wanted().await?;
                reading.describe = false;
            }
            match reading.fill(budget)? {
                Filled::Describe => reading.describe = true,
                Filled::Full | Filled::Dry => {
                    if let Some(batch) = reading.assembler.take() {
                        return Ok(batch);
                    }
                    if reading.frames.is_empty() && !reading.assembler.is_replaying() {
                        reading.telemetry.set_at_end(reading.is_at_end());
                        reading.frames = tokio::select! {
                            verdict = &mut reading.verdict => return Err(verdict.unwrap_or_else(|_| unwatched())),
                            frames = reading.socket.next() => frames?,
                        };
                        reading.telemetry.heard();
                        reading.telemetry.set_at_end(false);
                    }
                }
            }
        }
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        let durable = Lsn::from_position(durable)?;
        self.reading()?.socket.report_durable(durable);
        Ok(())
    }
}

// === impl Reading ===

impl Reading {
    /// Takes messages in until the budget is used or nothing more is there.
    fn fill(&mut self, budget: Budget) -> Result<Filled> {
        while !self.assembler.is_full(budget) {
            let next = if self.assembler.is_replaying() {
                self.assembler.replay_one()?
            } else if self.frames.is_empty() {
                match self.socket.next_now() {
                    None => return Ok(Filled::Dry),
                    Some(frames) => self.frames = frames?,
                }
                Next::Continue
            } else {
                self.accept_frame()?
            };
            if next == Next::Describe {
                return Ok(Filled::Describe);
            }
        }
        Ok(Filled::Full)
    }

    /// Everything that came is handed out, and the server has sent its log up to the end that it had when last looked at. Transactions that
    /// are open there are not missing: nothing of them is committed.
    fn is_at_end(&self) -> bool {
        let sent_end = self.sent_end.max(self.assembler.position());
        sent_end.0 >= self.announced_end.load(Ordering::Relaxed)
    }

    /// One CopyData frame: the socket thread hands over whole ones only.
    fn accept_frame(&mut self) -> Result<Next> {
        let frames = std::mem::take(&mut self.frames);
        let length = frames
            .get(1..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let length = usize::try_from(length).unwrap_or_default().saturating_add(1);
        let body = frames.get(5..length).unwrap_or_default();
        let frame = replication::parse(body).map_err(|error| {
            Error::transient(
                "source_protocol",
                format!("a frame of the replication stream cannot be decoded: {error}"),
            )
        })?;
        let next = match frame {
            ReplicationFrame::Keepalive(keepalive) => {
                self.sent_end = self.sent_end.max(Lsn(keepalive.end_lsn));
                self.assembler.keepalive(Lsn(keepalive.end_lsn));
                Next::Continue
            }
            ReplicationFrame::XLogData(data) => {
                self.sent_end = self.sent_end.max(Lsn(data.start_lsn));
                self.assembler.accept(data.payload, Lsn(data.start_lsn))?
            }
        };
        self.frames = frames;
        self.frames.advance(length.min(self.frames.len()));
        Ok(next)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

// === impl LogSettings ===

impl LogSettings {
    async fn start_replication(&self, from: Lsn) -> Result<Session> {
        let endpoint = Endpoint::resolve(&self.config.access())?;
        let application = application_name(&self.connector, "log");
        let command = self.start_command(from);
        let slot = self.names.slot.clone();
        let started = tokio::task::spawn_blocking(move || {
            let mut session = Session::connect(&endpoint, &application)?;
            session.start_replication(&command)?;
            Ok(session)
        });
        let started = started.await.map_err(|error| {
            Error::transient("task_failed", "starting the replication ended early").with_source(error)
        })?;
        started.map_err(|error: Error| match error.code() {
            "object_in_use" => Error::transient(
                "waiting_for_slot",
                format!(
                    "another process streams from slot \"{slot}\"; this one takes over when it ends ({})",
                    error.report()
                ),
            ),
            _ => error,
        })
    }

    /// START_REPLICATION (manual 55.4); names are checked to hold nothing that would need quoting inside the quotes.
    fn start_command(&self, from: Lsn) -> String {
        let mut options = vec![
            (
                "proto_version",
                if self.server.major() >= STREAMING_MAJOR {
                    "2"
                } else {
                    "1"
                }
                .to_owned(),
            ),
            ("publication_names", format!("\"{}\"", self.names.publication)),
        ];
        if self.server.major() >= STREAMING_MAJOR {
            options.push(("streaming", "on".to_owned()));
            if self.config.binary {
                options.push(("binary", "true".to_owned()));
            }
            if self.config.captures_messages() {
                options.push(("messages", "true".to_owned()));
            }
        }
        let options: Vec<_> = options
            .iter()
            .map(|(name, value)| format!("{name} '{value}'"))
            .collect();
        format!(
            "START_REPLICATION SLOT \"{}\" LOGICAL {from} ({})",
            self.names.slot,
            options.join(", ")
        )
    }

    fn spill_path(&self) -> PathBuf {
        self.config.spill_path.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Looks from time to time at what the slot costs and at whether the publication is what it was.
    fn watch(
        &self,
        catalog: Arc<connect::Session>,
        announced_end: &Arc<AtomicU64>,
        judge: oneshot::Sender<Error>,
    ) -> JoinHandle<()> {
        let mut watch = Watch {
            catalog,
            config: Arc::clone(&self.config),
            connector: self.connector.clone(),
            memory: self.memory.clone(),
            telemetry: Arc::clone(&self.telemetry),
            announced_end: Arc::clone(announced_end),
            unpublished: Unpublished::default(),
        };
        task::spawn_named("watch source", async move {
            let mut interval = tokio::time::interval(WATCH_INTERVAL);
            loop {
                interval.tick().await;
                match watch.look().await {
                    Ok(()) => watch.telemetry.set_notice("source_unwatched", None),
                    Err(error) if ENDS_THE_CAPTURE.contains(&error.code()) => {
                        drop(judge.send(error));
                        return;
                    }
                    Err(error) => watch.telemetry.set_notice("source_unwatched", Some(error.report())),
                }
            }
        })
    }
}

// === impl Watch ===

impl Watch {
    async fn look(&mut self) -> Result<()> {
        let name = &self.memory.slot;
        match Slot::read(&self.catalog, name).await? {
            Some(slot) => {
                slot.report(&self.telemetry, self.config.retained_wal_warning_bytes);
                if let Some(end) = slot.log_end() {
                    self.announced_end.store(end.0, Ordering::Relaxed);
                }
            }
            None => return Err(Error::transient("slot_missing", format!("slot \"{name}\" is gone"))),
        }
        let publication = publication(&self.catalog, &self.memory.publication).await?;
        self.report_actions(publication.as_ref());
        if Publication::verify(publication.as_ref(), &self.memory, &self.memory.tables).is_err() {
            self.verify_anew(publication.as_ref()).await?;
        }
        self.report_unpublished(publication.as_ref()).await
    }

    /// The publication does not list a table that was captured.
    async fn verify_anew(&mut self, publication: Option<&Publication>) -> Result<()> {
        // It may be that tables were dropped or renamed, or partitions detached: a start would know, so its look decides.
        let discovery = discover::survey(&self.catalog, &self.config, &self.connector).await?;
        discovery.verify_publication(&self.memory)?;
        let published = |table: &String| publication.is_some_and(|publication| publication.lists(table));
        self.memory.tables.retain(published);
        Ok(())
    }

    fn report_actions(&self, publication: Option<&Publication>) {
        let left_out = publication.map(Publication::left_out).unwrap_or_default();
        let notice = (!left_out.is_empty()).then(|| {
            format!(
                "the publication \"{}\" leaves out every {}: the stream does not show them",
                self.memory.publication,
                left_out.join(", ")
            )
        });
        self.telemetry.set_notice("publication_actions", notice);
    }
}
