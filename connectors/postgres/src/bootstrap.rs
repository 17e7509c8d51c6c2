//! From nothing, or from what was saved, to an open source.
//!
//! ```text
//!   publication ─▶ remember "slot about to be created" ─▶ slot + exported snapshot ─▶ remember "slot created" ─▶ rows ─▶ log
//! ```
//!
//! The publication comes first, because the server resolves it as of each change: a publication that is younger than the slot
//! fails for ever. The slot is announced in the state before it exists: after a crash between the two, a slot of that name is ours,
//! nothing was carried from it, and it is dropped and made again. A slot that the state does not know of is somebody else's or the state was lost,
//! and only a person can tell which.
//!
//! The slot holds the log from its consistent point on. Rows are read under the snapshot that was exported there. If the
//! process ends before all tables are read, the snapshot is gone, but the log is not: the remaining tables are read under
//! the snapshot of a second, temporary slot. Tables that were finished leave out what their rows contain already
//! ([`Memory::read_at`]); of the others every change since the first consistent point is carried, because rows of theirs may
//! have been carried before the interruption and be gone since.

mod publication;
mod saved;
mod slot_creation;
mod timeline;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::ports::{Budget, Chunk, ChunkReader, Source, SourceContext};
use tailrace_core::position::{Position, Progress};
use tailrace_core::snapshot::{Handover, Resume, Run, SnapshotPosition, Windows, snapshot_finished};
use tailrace_core::telemetry::Life;
use tailrace_core::{Error, Result, failpoint};
use tailrace_sql::log_config::SnapshotMode;

use crate::config::{PostgresConfig, ServerNames};
use crate::connect::{self, Purpose};
use crate::discover::{self, CapturedTable, Discovery};
use crate::error::query_error;
use crate::log::session::Session;
use crate::log::{LogSettings, PostgresLog};
use crate::memory::Memory;
use crate::position::Lsn;
use crate::scan::{ScanPlan, Scanner};
use crate::slot::Slot;
use crate::window::PostgresWindows;
use crate::window::visibility::Received;
pub(crate) use saved::verify_saved;
use saved::{carried_up_to, reads_rows_alone};

/// Everything that opening needs at hand.
struct Opening {
    config: Arc<PostgresConfig>,
    context: SourceContext,
    names: ServerNames,
    catalog: connect::Session,
    discovery: Discovery,
}

/// A slot that was just created, and the snapshot that was exported with it.
struct NewSlot {
    consistent_point: Lsn,
    /// Changes up to here are left out of the log for tables that are read under this slot's snapshot.
    contained_until: Position,
    snapshot_name: String,
    /// The snapshot lives as long as this session does nothing else.
    session: Session,
}

/// pgoutput sends logical messages from this version on.
const MESSAGES_MAJOR: u32 = 14;

/// A scanner, and the session that keeps its snapshot alive until the last row is read.
struct HeldScanner {
    scanner: Scanner,
    _snapshot_holder: Session,
}

/// Opens the source where `context.resume` says.
pub(crate) async fn open(config: Arc<PostgresConfig>, context: SourceContext) -> Result<Box<dyn Source>> {
    context.telemetry.enter(Life::Starting, "connecting to PostgreSQL");
    let names = config.server_names(&context.connector)?;
    let catalog = connect::connect(&config, &context.connector, Purpose::Setup).await?;
    let discovery = discover::discover(&catalog, &config, &context.connector).await?;
    let opening = Opening {
        config,
        context,
        names,
        catalog,
        discovery,
    };
    opening.refuse_unfit_server()?;
    let remembered = Memory::recall(&*opening.context.store).await?;
    let resume = Resume::from_progress(opening.context.resume.as_ref())?;
    match (remembered, resume) {
        (None, Resume::Bootstrap) => opening.refuse_unknown_slot().await?.first_start().await,
        (None, _) => Err(Error::definite(
            "state_corrupt",
            "the state has progress of this source but does not know whose it is; restore the state file from a backup",
        )),
        (Some(memory), resume) => opening.go_on(memory, resume).await,
    }
}

#[async_trait]
impl ChunkReader for HeldScanner {
    async fn next_chunk(&mut self, budget: Budget) -> Result<Option<Chunk>> {
        self.scanner.next_chunk(budget).await
    }
}

// === impl Opening ===

impl Opening {
    fn refuse_unfit_server(&self) -> Result<()> {
        let server = &self.discovery.server;
        if server.in_recovery {
            let message = "the server is a standby; connect to the primary";
            return Err(Error::definite("source_is_standby", message));
        }
        if server.wal_level != "logical" {
            let message = format!(
                "wal_level is `{}`, and changes can only be read with `logical`: ALTER SYSTEM SET wal_level = 'logical'; then restart the server",
                server.wal_level
            );
            return Err(Error::definite("wal_level", message));
        }
        if self.config.captures_messages() && server.major() < MESSAGES_MAJOR {
            let message = format!(
                "`message_prefixes` needs PostgreSQL {MESSAGES_MAJOR} or later, and the server is {}: its log does not send messages; \
                 remove `message_prefixes`, or update the server",
                server.version_text
            );
            return Err(Error::definite("server_too_old", message));
        }
        self.refuse_text_only_columns()
    }

    /// Before the first row, not at the first value.
    fn refuse_text_only_columns(&self) -> Result<()> {
        if !self.config.binary {
            return Ok(());
        }
        let columns = |table: &CapturedTable| {
            let name = table.schema.name.qualified();
            let columns = table.text_only_columns();
            (!columns.is_empty()).then(|| format!("{name} ({})", columns.join(", ")))
        };
        let tables: Vec<String> = self.discovery.tables.iter().filter_map(columns).collect();
        if tables.is_empty() {
            return Ok(());
        }
        let message = format!(
            "`binary: true` does not go with columns of types that are only read as text: {}; set `binary: false`",
            tables.join(", ")
        );
        Err(Error::definite("binary_type", message))
    }

    async fn refuse_unknown_slot(self) -> Result<Self> {
        let name = &self.names.slot;
        if Slot::read(&self.catalog, name).await?.is_none() {
            return Ok(self);
        }
        Err(Error::definite(
            "state_missing",
            format!(
                "the replication slot \"{name}\" exists already, but the state knows nothing of it: either the state file was lost (restore it), \
                 or the slot is somebody else's (name another one in `slot`, or go on where that program stopped with `tailrace import-offsets`), \
                 or it is left over (SELECT pg_drop_replication_slot('{name}') gives up what it holds)"
            ),
        ))
    }

    fn memory(&self) -> Memory {
        Memory {
            counts_messages: self.config.captures_messages(),
            ..Memory::new(&self.discovery.server, &self.names, self.table_names())
        }
    }

    fn table_names(&self) -> BTreeSet<String> {
        self.discovery
            .tables
            .iter()
            .map(|table| table.schema.name.qualified())
            .collect()
    }

    /// Publication, slot, rows, log. Rows alone need nothing on the server that would outlive them and hold its log.
    async fn first_start(self) -> Result<Box<dyn Source>> {
        let rows_alone = self.config.snapshot.mode == SnapshotMode::Only;
        let mut memory = self.memory();
        if !rows_alone {
            memory.publication_oid = Some(self.ensure_publication().await?);
            failpoint!(try AfterPublication);
        }
        memory.remember(&*self.context.store).await?;
        failpoint!(try SlotAnnounced);
        let slot = self.create_slot(rows_alone).await?;
        failpoint!(try AfterSlotCreate);
        let began_at = slot.consistent_point.to_position();
        memory.slot_began_at = Some(began_at.clone());
        memory.remember(&*self.context.store).await?;
        failpoint!(try AfterSlotSaved);
        if self.config.snapshot.mode == SnapshotMode::Never {
            drop(slot);
            return self.stream(memory, &Progress::at(began_at)).await;
        }
        let tables = self.discovery.tables.clone();
        self.scan(memory, SnapshotPosition::starting_at(began_at), slot, tables)
            .await
    }

    /// Where the state says.
    async fn go_on(self, mut memory: Memory, resume: Resume) -> Result<Box<dyn Source>> {
        memory.verify(&self.memory())?;
        let Some(began_at) = memory.slot_began_at.clone() else {
            self.drop_announced_slot().await?;
            return self.first_start().await;
        };
        if reads_rows_alone(&self.config, &resume) {
            return self.rows_alone(memory, began_at, resume).await;
        }
        let saved = carried_up_to(&began_at, &resume)?;
        let slot = Slot::read(&self.catalog, &self.names.slot).await?;
        Slot::verify(slot.as_ref(), &self.names.slot, saved)?;
        self.follow_timeline(&mut memory, saved).await?;
        self.discovery.verify_publication(&memory)?;
        match resume {
            Resume::Bootstrap if self.config.snapshot.mode == SnapshotMode::Never => {
                self.stream(memory, &Progress::at(began_at)).await
            }
            Resume::Bootstrap => self.scan_again(memory, SnapshotPosition::starting_at(began_at)).await,
            Resume::Snapshot(snapshot) if !snapshot.complete => self.scan_again(memory, snapshot).await,
            Resume::Snapshot(snapshot) => {
                // The log was not begun with these yet, so the memory may not have them.
                memory.tables = snapshot.read_at.keys().cloned().collect();
                memory.read_at = snapshot.read_at;
                let progress = Progress::at(snapshot.log_start);
                self.log_or_new_tables(memory, progress).await
            }
            Resume::Log(mut progress) => {
                if memory.counts_messages != self.config.captures_messages() {
                    // How many changes of a transaction are done was counted another way: it is read again from its start.
                    progress.partial = None;
                }
                self.log_or_new_tables(memory, progress).await
            }
        }
    }

    /// Rows that are not followed by the log hang on no slot and no publication: what is left is read under a temporary slot.
    async fn rows_alone(self, memory: Memory, began_at: Position, resume: Resume) -> Result<Box<dyn Source>> {
        match resume {
            Resume::Bootstrap => self.scan_again(memory, SnapshotPosition::starting_at(began_at)).await,
            Resume::Snapshot(snapshot) if !snapshot.complete => self.scan_again(memory, snapshot).await,
            Resume::Snapshot(_) | Resume::Log(_) => Err(snapshot_finished()),
        }
    }

    async fn drop_announced_slot(&self) -> Result<()> {
        let name = &self.names.slot;
        if Slot::read(&self.catalog, name).await?.is_none() {
            return Ok(());
        }
        tracing::info!(
            slot = name,
            "a slot that was announced and never used is dropped and made again"
        );
        let dropped = self
            .catalog
            .execute("SELECT pg_catalog.pg_drop_replication_slot($1)", &[name])
            .await;
        dropped
            .map(drop)
            .map_err(|error| query_error(&error, &format!("drop the unused replication slot \"{name}\"")))
    }

    /// Tables that are new in the configuration are published, read, and then the log goes on where it was.
    async fn log_or_new_tables(self, mut memory: Memory, progress: Progress) -> Result<Box<dyn Source>> {
        let new: Vec<CapturedTable> = self
            .discovery
            .tables
            .iter()
            .filter(|table| !memory.tables.contains(&table.schema.name.qualified()))
            .cloned()
            .collect();
        if !new.is_empty() {
            memory.publication_oid = Some(self.ensure_publication().await?);
            failpoint!(try TableAdded);
        }
        if new.is_empty() || self.config.snapshot.mode == SnapshotMode::Never {
            // A table that was taken out is forgotten: when it is put back, what happened meanwhile was not carried.
            memory.tables = self.table_names();
            return self.stream(memory, &progress).await;
        }
        let mut slot = self.create_slot(true).await?;
        let names: BTreeSet<String> = new.iter().map(|table| table.schema.name.qualified()).collect();
        let publication = self.discovery.publication.as_ref();
        let was_published = names
            .iter()
            .any(|name| publication.is_some_and(|publication| publication.lists(name)));
        if was_published || !memory.being_added.is_disjoint(&names) {
            // They were read before, and no checkpoint came of it; or changes were carried although nothing was read, because
            // the table came to this name, or into a publication of all tables, while the log was followed. As when a
            // snapshot is interrupted, see `scan_again`.
            slot.contained_until = progress.position.clone();
        }
        memory.being_added = names;
        memory.remember(&*self.context.store).await?;
        let known = std::mem::replace(&mut memory.tables, self.table_names());
        let mut so_far = SnapshotPosition::starting_at(progress.position.clone());
        so_far.read_at.clone_from(&memory.read_at);
        for table in known {
            // Carried already, up to where the log goes on: an interruption must not read it again.
            so_far.read_at.entry(table).or_insert_with(|| progress.position.clone());
        }
        self.scan(memory, so_far, slot, new).await
    }

    /// A snapshot that was interrupted: the tables that are left, under a newer consistent point.
    async fn scan_again(self, mut memory: Memory, so_far: SnapshotPosition) -> Result<Box<dyn Source>> {
        if self.config.snapshot.mode != SnapshotMode::Only {
            // The configuration may have more tables than when the snapshot was begun.
            memory.publication_oid = Some(self.ensure_publication().await?);
        }
        memory.tables = self.table_names();
        let left = self
            .discovery
            .tables
            .iter()
            .filter(|table| !so_far.read_at.contains_key(&table.schema.name.qualified()));
        let left: Vec<CapturedTable> = left.cloned().collect();
        let mut slot = self.create_slot(true).await?;
        // Not the newer consistent point: rows that were carried before the interruption and deleted after it are not read
        // again, and only the log knows of their end. So the log is carried from where it was, although the rows contain
        // a part of it already: they go back in time once, and come out right.
        slot.contained_until = so_far.log_start.clone();
        self.scan(memory, so_far, slot, left).await
    }

    async fn scan(
        self,
        memory: Memory,
        so_far: SnapshotPosition,
        slot: NewSlot,
        tables: Vec<CapturedTable>,
    ) -> Result<Box<dyn Source>> {
        let text = format!("reading {} tables as of {}", tables.len(), slot.consistent_point);
        self.context.telemetry.enter(Life::Snapshotting, text);
        let identity = self.identity();
        let read_under = slot.contained_until.clone();
        let plan = ScanPlan {
            config: Arc::clone(&self.config),
            connector: self.context.connector.clone(),
            server: self.discovery.server.clone(),
            tables,
            snapshot_name: slot.snapshot_name.clone(),
            consistent_point: slot.consistent_point,
            identity: Arc::clone(&identity),
            updated_at_column: self.context.updated_at_column.clone(),
            telemetry: Arc::clone(&self.context.telemetry),
        };
        let scanner = HeldScanner {
            scanner: Scanner::start(plan).await?,
            _snapshot_holder: slot.session,
        };
        let only = self.config.snapshot.mode == SnapshotMode::Only;
        let (settings, windows) = self.log_settings(memory)?;
        let log = PostgresLog::new(settings);
        let handover = Handover::scanning(identity, scanner, read_under, so_far, (log, windows));
        Ok(Box::new(if only {
            handover.stopping_after_snapshot()
        } else {
            handover
        }))
    }

    async fn stream(self, memory: Memory, progress: &Progress) -> Result<Box<dyn Source>> {
        let identity = self.identity();
        let read_at = memory.read_at.clone();
        let (settings, windows) = self.log_settings(memory)?;
        let mut log = PostgresLog::new(settings);
        log.start(progress, &read_at).await?;
        let progress = progress.clone();
        Ok(Box::new(Handover::<HeldScanner, _>::streaming(
            identity, log, progress, windows,
        )?))
    }

    /// The cluster, the database and the slot's name: another connector may be sent other changes of a transaction and count them
    /// otherwise. A slot that is made again under its name leaves transactions theirs.
    fn identity(&self) -> Arc<str> {
        let server = &self.discovery.server;
        format!(
            "{}.{}.{}",
            server.system_identifier, server.database_oid, self.names.slot
        )
        .into()
    }

    /// What the log is read with, and the rows that are asked for meanwhile.
    fn log_settings(&self, memory: Memory) -> Result<(LogSettings, Windows)> {
        let received: Arc<Received> = Arc::default();
        let reader = PostgresWindows::new(
            Arc::clone(&self.config),
            &self.context.connector,
            self.identity(),
            Arc::clone(&received),
        );
        let windows = Windows {
            reader: Arc::new(reader),
            desk: Arc::clone(&self.context.snapshots),
            telemetry: Arc::clone(&self.context.telemetry),
            run: Run::from_progress(self.context.resume.as_ref())?,
        };
        let settings = LogSettings {
            received,
            config: Arc::clone(&self.config),
            connector: self.context.connector.clone(),
            names: self.names.clone(),
            server: self.discovery.server.clone(),
            identity: self.identity(),
            memory,
            store: Arc::clone(&self.context.store),
            telemetry: Arc::clone(&self.context.telemetry),
        };
        Ok((settings, windows))
    }
}
