//! The model's log reader: cuts batches anywhere, also inside a transaction, stalls, sends heartbeats, fails, and sends again
//! what it has sent before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use rand::RngExt;
use tailrace_core::batch::{ChangeBatch, Transaction};
use tailrace_core::error::Result;
use tailrace_core::ports::{Budget, ConnectorStore, LogReader};
use tailrace_core::position::{PartialTransaction, Position, Progress};
use tailrace_core::snapshot::Resume;

use crate::connector::{IDENTITY, Memory, log_number, log_position, push_change};
use crate::database::{table_name, table_number};
use crate::world::{State, World, pass};

pub(crate) struct ModelLog {
    world: Arc<World>,
    store: Arc<dyn ConnectorStore>,
    memory: Memory,
    reading: Option<Reading>,
    failed: bool,
}

/// A place in the log: behind a position, and so many changes into the transaction that follows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) position: u64,
    pub(crate) changes: usize,
}

struct Reading {
    /// What comes next.
    at: Place,
    /// What was said already. Who sends again does not take back what it has said.
    said: Place,
    read_at: BTreeMap<usize, u64>,
    tables: BTreeSet<usize>,
}

// === impl Place ===

impl Place {
    /// The place that progress in the log stands for.
    pub(crate) fn of(progress: &Progress) -> Self {
        let changes = progress.partial.as_ref().map_or(0, |partial| partial.changes);
        Self {
            position: log_number(&tailrace_core::snapshot::log_position(&progress.position).unwrap()),
            changes: usize::try_from(changes).unwrap(),
        }
    }
}

// === impl ModelLog ===

impl ModelLog {
    pub(crate) fn new(world: Arc<World>, store: Arc<dyn ConnectorStore>, memory: Memory) -> Self {
        Self {
            world,
            store,
            memory,
            reading: None,
            failed: false,
        }
    }

    /// Starts after `progress`, or at any earlier place that the slot still has.
    pub(crate) async fn start(&mut self, progress: &Progress, read_at: &BTreeMap<String, Position>) -> Result<()> {
        self.memory.read_at.clone_from(read_at);
        self.memory.begun.clear();
        self.memory.remember(&self.store).await?;
        self.world.visit("log.start").await?;
        let said = Place::of(progress);
        let at = self.world.with(|state| {
            let forgotten = state.database.slot.as_ref().unwrap().forgotten_until;
            let verdict = (said.position >= forgotten)
                .then_some(())
                .ok_or_else(|| format!("the log is read from {said:?}, and is forgotten until {forgotten}"));
            state.journal.judge(verdict);
            state.oracle.log_starts(said);
            state.journal.note(format!("log begun at {said:?}"));
            again(state, forgotten).map_or(said, |place| place.min(said))
        });
        let number = |(name, position): (&String, &Position)| (table_number(name), log_number(position));
        self.reading = Some(Reading {
            at,
            said,
            read_at: read_at.iter().map(number).collect(),
            tables: self.world.with(|state| state.oracle.life.tables.clone()),
        });
        Ok(())
    }

    fn cut(&mut self, budget: Budget) -> Option<ChangeBatch> {
        let world = Arc::clone(&self.world);
        let reading = self.reading.as_mut()?;
        world.with(|state| reading.cut(state, budget))
    }
}

/// Now and then everything that the slot still has is sent again, from some place on.
fn again(state: &mut State, forgotten: u64) -> Option<Place> {
    let likelihood = state.profile.repeats;
    if !state.fault(likelihood) {
        return None;
    }
    state.journal.count("sent again");
    state.journal.note("the log is sent again");
    let position = state.dice.random_range(forgotten..=state.database.end);
    Some(Place { position, changes: 0 })
}

// === impl Reading ===

impl Reading {
    /// The next changes, cut where the dice say. Nothing waits in here.
    fn cut(&mut self, state: &mut State, budget: Budget) -> Option<ChangeBatch> {
        let forgotten = state.database.slot.as_ref()?.forgotten_until;
        if let Some(place) = again(state, forgotten) {
            // Never forward: that would be a gap.
            self.at = self.at.min(place);
        }
        let before = self.at;
        let limit = state.dice.random_range(1..=budget.changes);
        let mut batch = ChangeBatch::new(IDENTITY.into(), self.progress(state));
        let mut index = state.database.first_behind(self.at.position);
        while index < state.database.log.len() && batch.changes.len() < limit {
            if !self.take(state, index, &mut batch, limit) || state.dice.random_ratio(1, 3) {
                break;
            }
            index += 1;
        }
        if self.at == before {
            return None;
        }
        self.said = self.said.max(self.at);
        batch.progress = self.progress(state);
        state
            .journal
            .note(format!("log: {} changes to {:?}", batch.changes.len(), batch.progress));
        if self.at.changes > 0 {
            state.journal.count("batch cut inside a transaction");
        }
        Some(batch)
    }

    /// Takes what fits of one transaction; true when all of it was taken.
    fn take(&mut self, state: &State, index: usize, batch: &mut ChangeBatch, limit: usize) -> bool {
        let committed = &state.database.log[index];
        let transaction = batch.push_transaction(Transaction {
            id: None,
            committed_at_us: 0,
            position: committed.position.to_string().into(),
            log_position: Some(committed.position),
            previous_log_position: None,
            binlog: None,
        });
        for (ordinal, change) in committed.changes.iter().enumerate().skip(self.at.changes) {
            if batch.changes.len() == limit {
                self.at.changes = ordinal;
                return false;
            }
            let published = state.database.published_from.get(&change.table);
            let sent = published.is_some_and(|from| committed.position > *from);
            let contained = self.read_at.get(&change.table);
            let contained = contained.is_some_and(|until| committed.position <= *until);
            if sent && !contained && self.tables.contains(&change.table) {
                let table = batch.table_index(&change.schema);
                let row = (change.key, change.version);
                push_change(batch, change.operation, (table, transaction), row, ordinal as u64);
            }
        }
        self.at = Place {
            position: committed.position,
            changes: 0,
        };
        true
    }

    fn progress(&self, state: &State) -> Progress {
        let mut progress = Progress::at(log_position(self.said.position));
        let follows = state.database.first_behind(self.said.position);
        if self.said.changes > 0 {
            progress.partial = Some(PartialTransaction {
                transaction: log_position(state.database.log[follows].position),
                changes: self.said.changes as u64,
            });
        }
        progress
    }

    /// Progress without changes, where everything was handed out.
    fn heartbeat(&mut self, state: &mut State) -> Option<ChangeBatch> {
        let end = state.database.end;
        if state.database.first_behind(self.at.position) < state.database.log.len() {
            return None;
        }
        self.at.position = end;
        self.said = self.said.max(self.at);
        state.journal.count("heartbeat");
        state.journal.note(format!("log: heartbeat at {end}"));
        Some(ChangeBatch::new(IDENTITY.into(), self.progress(state)))
    }
}

#[async_trait]
impl LogReader for ModelLog {
    async fn begin(&mut self, start: &Position, read_at: &BTreeMap<String, Position>) -> Result<()> {
        self.world.with(|state| {
            let verdict = state.oracle.log_begins(start, read_at);
            state.journal.judge(verdict);
        });
        self.start(&Progress::at(start.clone()), read_at).await
    }

    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        assert!(!self.failed, "the log is read again after an error");
        loop {
            self.world
                .visit("log.next_batch")
                .await
                .inspect_err(|_| self.failed = true)?;
            let world = Arc::clone(&self.world);
            let committed = world.committed.notified();
            let (stall, heartbeat) = self.world.with(|state| {
                let likelihood = state.profile.stalls;
                let stall = state.fault(likelihood).then(|| state.dice.random_range(1..20_000));
                if stall.is_some() {
                    state.journal.count("stall");
                }
                (stall, state.profile.heartbeat)
            });
            if let Some(stall_ms) = stall {
                pass(std::time::Duration::from_millis(stall_ms)).await;
            }
            self.world.read().await;
            let batch = match self.cut(budget) {
                Some(batch) => Some(batch),
                None => tokio::select! {
                    biased;
                    () = committed => None,
                    () = pass(heartbeat) => {
                        let reading = self.reading.as_mut().unwrap();
                        self.world.with(|state| reading.heartbeat(state))
                    }
                },
            };
            if let Some(batch) = batch {
                self.world.with(|state| state.oracle.handed_out(&batch.progress));
                return Ok(batch);
            }
        }
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        self.world.visit("log.confirm").await?;
        self.world.with(|state| {
            let verdict = state.oracle.confirmed(durable);
            state.journal.note(format!("confirmed {durable}"));
            if verdict.is_ok() {
                let slot = state.database.slot.as_mut().unwrap();
                slot.forgotten_until = slot.forgotten_until.max(log_number(durable));
            }
            state.journal.judge(verdict);
        });
        self.world.pause().await;
        Ok(())
    }
}

/// The place in the log that a resume starts from, whatever comes before it.
pub(crate) fn log_place(progress: &Progress) -> Place {
    match Resume::from_progress(Some(progress)).unwrap() {
        Resume::Snapshot(snapshot) => Place {
            position: log_number(&snapshot.log_start),
            changes: 0,
        },
        Resume::Log(progress) => Place::of(&progress),
        Resume::Bootstrap => Place {
            position: 0,
            changes: 0,
        },
    }
}

/// Tables that progress names as finished.
pub(crate) fn finished_tables(progress: &Progress) -> Option<(BTreeSet<usize>, bool)> {
    match Resume::from_progress(Some(progress)).unwrap() {
        Resume::Snapshot(snapshot) => {
            let tables = snapshot.read_at.keys().map(|name| table_number(name)).collect();
            Some((tables, snapshot.complete))
        }
        Resume::Log(_) | Resume::Bootstrap => None,
    }
}

/// Only used in messages.
pub(crate) fn names(tables: &BTreeSet<usize>) -> String {
    tables
        .iter()
        .map(|table| table_name(*table))
        .collect::<Vec<_>>()
        .join(", ")
}
