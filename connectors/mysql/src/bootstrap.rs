//! From nothing, or from what was saved, to an open source.
//!
//! ```text
//!   consistent point (position + read views) ─▶ remember it, and the tables' definitions ─▶ rows ─▶ log
//! ```
//!
//! Nothing is created on the server. It keeps its log for as long as it is configured to, whoever reads it: a position that it has purged
//! cannot be gone on from, which is found out before anything is read and said with what is lost.
//!
//! If the process ends before all tables are read, their read views are gone, but the log is not. The remaining tables are read under a newer
//! consistent point. Tables that were finished leave out what their rows contain already ([`Memory::read_at`]); of the others every change since
//! the first consistent point is carried, because rows of theirs may have been carried before the interruption and be gone since.

pub(crate) mod consistent_point;

use std::collections::BTreeSet;
use std::sync::Arc;

use mysql_async::Conn;
use tailrace_core::batch::BinlogTransaction;
use tailrace_core::ports::{Source, SourceContext};
use tailrace_core::position::{Position, Progress};
use tailrace_core::snapshot::{Handover, Resume, Run, SnapshotPosition, Windows, snapshot_finished};
use tailrace_core::telemetry::{Life, now_us};
use tailrace_core::{Error, Result, failpoint};
use tailrace_sql::log_config::SnapshotMode;

use crate::config::MySqlConfig;
use crate::connect::{self, Purpose};
use crate::discover::{self, CapturedTable, Surroundings};
use crate::log::dumps::Dumps;
use crate::log::{LogSettings, MySqlLog};
use crate::memory::Memory;
use crate::position::{BinlogPosition, start};
use crate::scan::{ScanPlan, Scanner};
use crate::server::{self, Flavour, ServerFacts};
use crate::window::MySqlWindows;
use consistent_point::{ConsistentPoint, Views};

/// Everything that opening needs at hand.
struct Opening {
    config: Arc<MySqlConfig>,
    dumps: Dumps,
    context: SourceContext,
    connection: Conn,
    server: ServerFacts,
    tables: Vec<CapturedTable>,
    around: Surroundings,
}

/// Opens the source where `context.resume` says.
pub(crate) async fn open(dumps: Dumps, flavour: Flavour, context: SourceContext) -> Result<Box<dyn Source>> {
    let config = Arc::clone(dumps.config());
    context
        .telemetry
        .enter(Life::Starting, format!("connecting to {}", flavour.name()));
    let mut connection = connect::connect(&config, Purpose::Setup).await?;
    let server = server::server_facts(&mut connection).await?;
    server.identity.verify_flavour(flavour)?;
    server.refuse_unfit()?;
    let (tables, around) = discover::discover(&mut connection, &config, &server).await?;
    let remembered = Memory::recall(&*context.store).await?;
    let resume = Resume::from_progress(context.resume.as_ref())?;
    let opening = Opening {
        config,
        dumps,
        context,
        connection,
        server,
        tables,
        around,
    };
    match (remembered, resume) {
        (None, Resume::Bootstrap) => opening.first_start().await,
        (None, _) => Err(Error::definite(
            "state_corrupt",
            "the state has progress of this source but does not know whose it is; restore the state file from a backup",
        )),
        (Some(memory), resume) => opening.go_on(memory, resume).await,
    }
}

/// Whether the log can be read from a position that a person names.
///
/// # Errors
/// Definite where it is none, or the server has purged it, or has not been there yet.
pub(crate) async fn verify_position(
    config: &MySqlConfig,
    position: &Position,
    remembered: &serde_json::Value,
) -> Result<()> {
    let wanted: BinlogPosition = position.as_str().parse().map_err(|()| {
        let message = format!("`{position}` is no position of a binlog; `GET …/offsets` shows how one is written");
        Error::definite("position_invalid", message)
    })?;
    let memory = Memory::read(remembered.clone())?;
    let mut connection = connect::connect(config, Purpose::Setup).await?;
    let server = server::server_facts(&mut connection).await?;
    start::decide_start(&wanted, memory.server_of(position), &server).map(|_| ())
}

/// What [`open`] would refuse of the server's log. Creates nothing.
///
/// # Errors
/// Those that it would give, but for what only the log's first event tells.
pub(crate) async fn verify_saved(
    config: &MySqlConfig,
    progress: Option<&Progress>,
    remembered: serde_json::Value,
) -> Result<()> {
    let memory = Memory::read(remembered)?;
    let resume = Resume::from_progress(progress)?;
    // Before anything was begun, nothing can be missing; nor where rows alone are read.
    let (Some(began_at), false) = (&memory.began_at, reads_rows_alone(config, &resume)) else {
        return Ok(());
    };
    let mut connection = connect::connect(config, Purpose::Catalog).await?;
    let server = server::server_facts(&mut connection).await?;
    decide_start(&memory, carried_up_to(began_at, &resume), &server)
}

/// Where rows are all that is wanted, and they are still being read, there is no log to go on with.
fn reads_rows_alone(config: &MySqlConfig, resume: &Resume) -> bool {
    config.snapshot.mode == SnapshotMode::Only && !matches!(resume, Resume::Log(_))
}

/// The place of the log that everything behind must still be there of.
fn carried_up_to<'a>(began_at: &'a Position, resume: &'a Resume) -> &'a Position {
    match resume {
        Resume::Bootstrap => began_at,
        Resume::Snapshot(snapshot) => &snapshot.log_start,
        Resume::Log(progress) => &progress.position,
    }
}

fn decide_start(memory: &Memory, saved: &Position, server: &ServerFacts) -> Result<()> {
    start::decide_start(&BinlogPosition::from_position(saved)?, memory.server_of(saved), server).map(drop)
}

// === impl Opening ===

impl Opening {
    fn table_names(&self) -> BTreeSet<String> {
        self.tables.iter().map(|table| table.schema.name.qualified()).collect()
    }

    fn teach(&self, memory: &mut Memory, tables: &[CapturedTable]) {
        memory.learn(tables, &self.around, self.server.log.full_metadata);
    }

    /// Consistent point, rows, log; or the log alone.
    async fn first_start(mut self) -> Result<Box<dyn Source>> {
        let mut memory = Memory::new(&self.server, self.table_names());
        if self.config.snapshot.mode == SnapshotMode::Never {
            let mut position = consistent_point::current_position(&mut self.connection, &self.server).await?;
            position.file_started_s = Some(server::file_started_s(&self.dumps, &position.at.file).await?);
            memory.began_at = Some(position.to_position());
            self.teach(&mut memory, &self.tables);
            memory.remember(&*self.context.store).await?;
            return self.stream(memory, &Progress::at(position.to_position())).await;
        }
        let point = self.consistent_point().await?;
        let began_at = point.position.to_position();
        memory.tables = self.table_names();
        memory.began_at = Some(began_at.clone());
        self.teach(&mut memory, &self.tables);
        memory.remember(&*self.context.store).await?;
        failpoint!(try AfterSlotSaved);
        let (so_far, tables) = (SnapshotPosition::starting_at(began_at), self.tables.clone());
        self.scan(memory, so_far, point, tables)
    }

    /// Where the state says.
    async fn go_on(self, mut memory: Memory, resume: Resume) -> Result<Box<dyn Source>> {
        let Some(began_at) = memory.began_at.clone() else {
            return self.first_start().await;
        };
        let rows_alone = reads_rows_alone(&self.config, &resume);
        if !rows_alone {
            decide_start(&memory, carried_up_to(&began_at, &resume), &self.server)?;
        }
        match resume {
            Resume::Bootstrap if self.config.snapshot.mode == SnapshotMode::Never => {
                self.stream(memory, &Progress::at(began_at)).await
            }
            Resume::Bootstrap => self.scan_again(memory, SnapshotPosition::starting_at(began_at)).await,
            Resume::Snapshot(snapshot) if !snapshot.complete => self.scan_again(memory, snapshot).await,
            Resume::Snapshot(_) if rows_alone => Err(snapshot_finished()),
            Resume::Snapshot(snapshot) => {
                // The log was not begun with these yet, so the memory may not have them.
                memory.tables = snapshot.read_at.keys().cloned().collect();
                memory.read_at = snapshot.read_at;
                self.log_or_new_tables(memory, Progress::at(snapshot.log_start)).await
            }
            Resume::Log(progress) => self.log_or_new_tables(memory, progress).await,
        }
    }

    /// Tables that are new in the configuration are read, and then the log goes on where it was.
    async fn log_or_new_tables(mut self, mut memory: Memory, progress: Progress) -> Result<Box<dyn Source>> {
        let new: BTreeSet<String> = self.table_names().difference(&memory.tables).cloned().collect();
        if new.is_empty() || self.config.snapshot.mode == SnapshotMode::Never {
            // A table that was taken out is forgotten: when it is put back, what happened meanwhile was not carried.
            memory.tables = self.table_names();
            self.teach(&mut memory, &self.tables);
            return self.stream(memory, &progress).await;
        }
        let mut point = self.consistent_point().await?;
        if !memory.being_added.is_disjoint(&new) {
            // They were read before, and no checkpoint came of it: as when a snapshot is interrupted, see `scan_again`.
            point.contained_until = progress.position.clone();
        }
        let tables: Vec<CapturedTable> = self
            .tables
            .iter()
            .filter(|table| new.contains(&table.schema.name.qualified()))
            .cloned()
            .collect();
        self.teach(&mut memory, &tables);
        memory.being_added = new;
        memory.remember(&*self.context.store).await?;
        let known = std::mem::replace(&mut memory.tables, self.table_names());
        let mut so_far = SnapshotPosition::starting_at(progress.position.clone());
        so_far.read_at.clone_from(&memory.read_at);
        for table in known {
            // Carried already, up to where the log goes on: an interruption must not read it again.
            so_far.read_at.entry(table).or_insert_with(|| progress.position.clone());
        }
        self.scan(memory, so_far, point, tables)
    }

    /// A snapshot that was interrupted: the tables that are left, under a newer consistent point.
    async fn scan_again(mut self, mut memory: Memory, so_far: SnapshotPosition) -> Result<Box<dyn Source>> {
        let mut point = self.consistent_point().await?;
        memory.tables = self.table_names();
        self.teach(&mut memory, &self.tables);
        let left = self.tables.iter();
        let left: Vec<CapturedTable> = left
            .filter(|table| !so_far.read_at.contains_key(&table.schema.name.qualified()))
            .cloned()
            .collect();
        // Not the newer consistent point: rows that were carried before the interruption and deleted after it are not read
        // again, and only the log knows of their end. So the log is carried from where it was, although the rows contain
        // a part of it already: they go back in time once, and come out right.
        point.contained_until = so_far.log_start.clone();
        self.scan(memory, so_far, point, left)
    }

    /// Opens the read views, and looks at the tables again: what was altered before is seen, and what is altered after is an error of the scan.
    async fn consistent_point(&mut self) -> Result<ConsistentPoint> {
        // Also before: what is prepared holds the tables, and the lock that is waited for would not say why.
        consistent_point::refuse_prepared(&mut self.connection).await?;
        let views = Views {
            config: &self.config,
            server: &self.server,
            tables: &self.tables,
        };
        let mut point = views.open().await?;
        consistent_point::refuse_prepared(&mut self.connection).await?;
        if self.config.snapshot.mode != SnapshotMode::Only {
            // A log that is reset before its first event comes is told from this one by it.
            let started_s = server::file_started_s(&self.dumps, &point.position.at.file).await?;
            point.position.file_started_s = Some(started_s);
            point.contained_until = point.position.to_position();
        }
        (self.tables, self.around) = discover::discover(&mut self.connection, &self.config, &self.server).await?;
        Ok(point)
    }

    fn scan(
        self,
        memory: Memory,
        so_far: SnapshotPosition,
        point: ConsistentPoint,
        tables: Vec<CapturedTable>,
    ) -> Result<Box<dyn Source>> {
        let text = format!(
            "reading {} tables as of {}, {}",
            tables.len(),
            point.position.at,
            point.way
        );
        self.context.telemetry.enter(Life::Snapshotting, text);
        let identity: Arc<str> = memory.identity.as_str().into();
        let plan = ScanPlan {
            config: Arc::clone(&self.config),
            tables,
            point: point.position.at.to_string().into(),
            binlog: Some(BinlogTransaction {
                file: point.position.at.file.as_str().into(),
                server_id: 0,
                thread_id: None,
                gtid: None,
            }),
            log_position: point.position.at.offset,
            taken_at_us: now_us(),
            identity: Arc::clone(&identity),
            updated_at_column: self.context.updated_at_column.clone(),
            policy: self.config.type_policy(),
            telemetry: Arc::clone(&self.context.telemetry),
        };
        let scanner = Scanner::start(plan, point.connections)?;
        let only = self.config.snapshot.mode == SnapshotMode::Only;
        let windows = self.windows(&identity)?;
        let log = MySqlLog::new(self.log_settings(memory));
        let handover = Handover::scanning(identity, scanner, point.contained_until, so_far, (log, windows));
        Ok(Box::new(if only {
            handover.stopping_after_snapshot()
        } else {
            handover
        }))
    }

    async fn stream(self, memory: Memory, progress: &Progress) -> Result<Box<dyn Source>> {
        let identity: Arc<str> = memory.identity.as_str().into();
        let read_at = memory.read_at.clone();
        let windows = self.windows(&identity)?;
        let mut log = MySqlLog::new(self.log_settings(memory));
        log.start(progress, &read_at).await?;
        let progress = progress.clone();
        Ok(Box::new(Handover::<Scanner, _>::streaming(
            identity, log, progress, windows,
        )?))
    }

    /// Rows that are asked for while the log is carried.
    fn windows(&self, identity: &Arc<str>) -> Result<Windows> {
        let reader = MySqlWindows::new(Arc::clone(&self.config), self.server.clone(), Arc::clone(identity));
        Ok(Windows {
            reader: Arc::new(reader),
            desk: Arc::clone(&self.context.snapshots),
            telemetry: Arc::clone(&self.context.telemetry),
            run: Run::from_progress(self.context.resume.as_ref())?,
        })
    }

    fn log_settings(&self, memory: Memory) -> LogSettings {
        LogSettings {
            config: Arc::clone(&self.config),
            dumps: self.dumps.clone(),
            server: self.server.clone(),
            identity: memory.identity.as_str().into(),
            memory,
            store: Arc::clone(&self.context.store),
            telemetry: Arc::clone(&self.context.telemetry),
        }
    }
}
