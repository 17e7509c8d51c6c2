//! A connector of the model database, opened as the real ones are: slot, rows under a consistent point, then the log; after an
//! interruption the tables that are left under a newer point; a table that is new in the configuration in between. What it
//! must remember besides progress it keeps in the store, as they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tailrace_core::batch::{BeforeImage, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::error::Result;
use tailrace_core::ports::{Budget, Chunk, ChunkReader, ConnectorStore, Source};
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::SharedSchema;
use tailrace_core::snapshot::{Handover, Resume, Run, SnapshotPosition, Windows};
use tailrace_core::telemetry::Telemetry;

use crate::database::{Rows, TABLES, table_name, table_number};
use crate::log::ModelLog;
use crate::windows::ModelWindows;
use crate::world::{State, World};
use rand::RngExt;

/// First part of every event's id.
pub(crate) const IDENTITY: &str = "db";

/// What the connector remembers.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Memory {
    began_at: Option<u64>,
    tables: BTreeSet<usize>,
    /// New tables of which rows may have been carried before any progress says so.
    pub(crate) begun: BTreeSet<usize>,
    pub(crate) read_at: BTreeMap<String, Position>,
}

/// Opening, with everything at hand.
struct Opening {
    world: Arc<World>,
    store: Arc<dyn ConnectorStore>,
    /// Tables that the configuration has.
    configured: BTreeSet<usize>,
    rows_first: bool,
    run: Option<Run>,
}

/// Hands rows out in pieces.
struct ModelScan {
    world: Arc<World>,
    exported: Exported,
    failed: bool,
}

/// The rows of some tables as of one point.
struct Exported {
    point: u64,
    left: BTreeMap<usize, Rows>,
    schemas: BTreeMap<usize, SharedSchema>,
}

/// The text of a place in the log.
pub(crate) fn log_position(position: u64) -> Position {
    Position::new(position.to_string())
}

/// The inverse of [`log_position`].
pub(crate) fn log_number(position: &Position) -> u64 {
    position.as_str().parse().unwrap()
}

/// Opens the source where `resume` says.
pub(crate) async fn open(
    world: &Arc<World>,
    store: Arc<dyn ConnectorStore>,
    configured: BTreeSet<usize>,
    resume: Option<Progress>,
) -> Result<Box<dyn Source>> {
    world.visit("source.open").await?;
    let memory = store.recall().await?;
    let memory = memory.map(|json| serde_json::from_value::<Memory>(json).unwrap());
    let opening = Opening {
        rows_first: world.with(|state| state.profile.rows_first),
        world: Arc::clone(world),
        store,
        configured,
        run: Run::from_progress(resume.as_ref())?,
    };
    match (memory, Resume::from_progress(resume.as_ref())?) {
        (Some(memory), resume) if memory.began_at.is_some() => opening.go_on(memory, resume).await,
        // A slot that was announced and not used is dropped and made again.
        (_, Resume::Bootstrap) => opening.first_start().await,
        (_, resume) => panic!("{resume:?} without a memory of the slot"),
    }
}

impl Memory {
    pub(crate) async fn remember(&self, store: &Arc<dyn ConnectorStore>) -> Result<()> {
        store.remember(&serde_json::to_value(self).unwrap()).await
    }
}

// === impl Opening ===

impl Opening {
    async fn first_start(self) -> Result<Box<dyn Source>> {
        let mut memory = Memory {
            tables: self.configured.clone(),
            ..Memory::default()
        };
        memory.remember(&self.store).await?;
        self.world.pause().await;
        let (began_at, exported) = self.world.with(|state| {
            let began_at = state.database.create_slot();
            state.database.published_from.clear();
            for table in &self.configured {
                state.database.published_from.insert(*table, began_at);
            }
            let State { database, oracle, .. } = state;
            oracle.capture_begins(database, began_at);
            state.journal.note(format!("slot created at {began_at}"));
            (began_at, Exported::of(state, &self.configured))
        });
        self.world.pause().await;
        memory.began_at = Some(began_at);
        memory.remember(&self.store).await?;
        let start = log_position(began_at);
        if !self.rows_first {
            return self.stream(memory, &Progress::at(start)).await;
        }
        Ok(self.scan(memory, SnapshotPosition::starting_at(start.clone()), exported, start))
    }

    async fn go_on(self, mut memory: Memory, resume: Resume) -> Result<Box<dyn Source>> {
        let began_at = log_position(memory.began_at.unwrap_or_default());
        match resume {
            Resume::Bootstrap if self.rows_first => {
                self.scan_again(memory, SnapshotPosition::starting_at(began_at)).await
            }
            Resume::Bootstrap => self.stream(memory, &Progress::at(began_at)).await,
            Resume::Snapshot(snapshot) if !snapshot.complete => self.scan_again(memory, snapshot).await,
            Resume::Snapshot(snapshot) => {
                memory.tables = snapshot.read_at.keys().map(|name| table_number(name)).collect();
                memory.read_at = snapshot.read_at;
                self.log_or_new_tables(memory, Progress::at(snapshot.log_start)).await
            }
            Resume::Log(progress) => self.log_or_new_tables(memory, progress).await,
        }
    }

    /// Tables that are left are read again from their first row. Their changes are carried from where the log was, because
    /// a row that was carried before the interruption may have been deleted since.
    async fn scan_again(self, mut memory: Memory, so_far: SnapshotPosition) -> Result<Box<dyn Source>> {
        self.publish(&so_far);
        memory.tables.clone_from(&self.configured);
        self.world.pause().await;
        let left = self.configured.iter().copied();
        let left = left.filter(|table| !so_far.read_at.contains_key(&table_name(*table)));
        let left = left.collect();
        let exported = self.world.with(|state| Exported::of(state, &left));
        self.world.pause().await;
        let read_under = so_far.log_start.clone();
        Ok(self.scan(memory, so_far, exported, read_under))
    }

    async fn log_or_new_tables(self, mut memory: Memory, progress: Progress) -> Result<Box<dyn Source>> {
        let new: BTreeSet<usize> = self.configured.difference(&memory.tables).copied().collect();
        if new.is_empty() || !self.rows_first {
            return self.stream(memory, &progress).await;
        }
        let begun_before = !memory.begun.is_disjoint(&new);
        memory.begun.clone_from(&new);
        memory.remember(&self.store).await?;
        let mut so_far = SnapshotPosition::starting_at(progress.position.clone());
        so_far.read_at.clone_from(&memory.read_at);
        for table in std::mem::replace(&mut memory.tables, self.configured.clone()) {
            let until = || progress.position.clone();
            so_far.read_at.entry(table_name(table)).or_insert_with(until);
        }
        self.publish(&so_far);
        self.world.pause().await;
        let exported = self.world.with(|state| Exported::of(state, &new));
        self.world.pause().await;
        // As after any interruption: who was carried and is gone since is only in the log.
        let read_under = if begun_before {
            progress.position
        } else {
            log_position(exported.point)
        };
        Ok(self.scan(memory, so_far, exported, read_under))
    }

    /// The log has the changes of new tables from now on.
    fn publish(&self, so_far: &SnapshotPosition) {
        self.world.with(|state| {
            let end = state.database.end;
            for table in &self.configured {
                let published = &mut state.database.published_from;
                if !so_far.read_at.contains_key(&table_name(*table)) {
                    published.entry(*table).or_insert(end);
                }
            }
        });
    }

    async fn stream(self, memory: Memory, progress: &Progress) -> Result<Box<dyn Source>> {
        self.world
            .with(|state| state.oracle.life.tables.clone_from(&memory.tables));
        let read_at = memory.read_at.clone();
        let windows = self.windows();
        let mut log = ModelLog::new(self.world, self.store, memory);
        log.start(progress, &read_at).await?;
        Ok(Box::new(Handover::<ModelScan, ModelLog>::streaming(
            IDENTITY.into(),
            log,
            progress.clone(),
            windows,
        )?))
    }

    fn scan(
        self,
        memory: Memory,
        so_far: SnapshotPosition,
        exported: Exported,
        read_under: Position,
    ) -> Box<dyn Source> {
        self.world.with(|state| {
            state.oracle.life.tables.clone_from(&self.configured);
            if read_under != log_position(exported.point) {
                state.oracle.log_goes_over(exported.left.keys());
            }
        });
        let scan = ModelScan {
            world: Arc::clone(&self.world),
            exported,
            failed: false,
        };
        let windows = self.windows();
        let log = ModelLog::new(self.world, self.store, memory);
        Box::new(Handover::scanning(
            IDENTITY.into(),
            scan,
            read_under,
            so_far,
            (log, windows),
        ))
    }

    fn windows(&self) -> Windows {
        Windows {
            reader: Arc::new(ModelWindows(Arc::clone(&self.world))),
            desk: Arc::clone(&self.world.snapshots),
            telemetry: Arc::new(Telemetry::new("walk")),
            run: self.run.clone(),
        }
    }
}

// === impl Exported ===

impl Exported {
    /// What the tables hold now.
    fn of(state: &mut State, tables: &BTreeSet<usize>) -> Self {
        let point = state.database.end;
        state.journal.note(format!("{tables:?} will be read as of {point}"));
        if tables.iter().any(|table| state.oracle.was_scanned(*table)) {
            state.journal.count("scan interrupted");
        }
        let rows = tables.iter().map(|table| (*table, state.database.rows[*table].clone()));
        let left: BTreeMap<usize, Rows> = rows.collect();
        for (table, rows) in &left {
            state.oracle.scan_begins(*table, point, rows);
        }
        let schemas = tables.iter().map(|table| (*table, state.database.schema(*table)));
        Self {
            point,
            left,
            schemas: schemas.collect(),
        }
    }
}

// === impl ModelScan ===

impl ModelScan {
    /// Some rows of some table. Nothing waits in here, so that a reading that is given up has lost nothing.
    fn cut(&mut self, budget: Budget) -> Option<Chunk> {
        let world = Arc::clone(&self.world);
        world.with(|state| {
            let tables: Vec<usize> = self.exported.left.keys().copied().collect();
            if tables.is_empty() {
                return None;
            }
            let table = tables[state.dice.random_range(0..tables.len())];
            let mut batch = ChangeBatch::new(IDENTITY.into(), Progress::at(Position::new("of the handover")));
            let schema = Arc::clone(&self.exported.schemas[&table]);
            let transaction = batch.push_transaction(Transaction {
                id: None,
                committed_at_us: 0,
                position: format!("rows@{}", self.exported.point).into(),
                log_position: None,
                previous_log_position: None,
                binlog: None,
            });
            let limit = state.dice.random_range(1..=budget.changes);
            let rows = self.exported.left.get_mut(&table)?;
            for _ in 0..limit {
                let Some((key, version)) = rows.pop_first() else { break };
                let index = batch.table_index(&schema);
                let ordinal = u64::from(key) * TABLES as u64 + table as u64;
                push_change(
                    &mut batch,
                    Operation::Read,
                    (index, transaction),
                    (key, version),
                    ordinal,
                );
            }
            let finished = rows.is_empty();
            if finished {
                self.exported.left.remove(&table);
            }
            state.journal.note(format!(
                "rows: {} of {}{}",
                batch.changes.len(),
                table_name(table),
                if finished { ", the last" } else { "" }
            ));
            Some(Chunk {
                batch,
                finished_tables: finished.then(|| table_name(table)).into_iter().collect(),
            })
        })
    }
}

#[async_trait]
impl ChunkReader for ModelScan {
    async fn next_chunk(&mut self, budget: Budget) -> Result<Option<Chunk>> {
        assert!(!self.failed, "rows are read again after an error");
        self.world
            .visit("rows.next_chunk")
            .await
            .inspect_err(|_| self.failed = true)?;
        self.world.read().await;
        Ok(self.cut(budget))
    }
}

/// Adds a change of a row to a batch.
pub(crate) fn push_change(
    batch: &mut ChangeBatch,
    operation: Operation,
    (table, transaction): (usize, usize),
    (key, version): (u32, u64),
    ordinal: u64,
) {
    batch.begin_row().unwrap();
    batch.push_int(i64::from(key));
    batch.push_int(i64::try_from(version).unwrap());
    for _ in 2..batch.tables[table].columns.len() {
        batch.push_null();
    }
    let row = Some(batch.end_row().unwrap());
    let deleted = operation == Operation::Delete;
    batch.changes.push(Change {
        operation,
        table,
        transaction,
        before: row.filter(|_| deleted),
        before_image: if deleted { BeforeImage::Full } else { BeforeImage::None },
        after: row.filter(|_| !deleted),
        ordinal,
        log_position: None,
        updated_at_us: None,
        topic: None,
        message: None,
    });
}
