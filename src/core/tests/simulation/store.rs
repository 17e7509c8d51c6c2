//! The state store: slow, failing before or after it has written, and losing or tearing at a crash what was not yet synced.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use rand::RngExt;
use tailrace_core::dead_letter::{
    BEHIND, DeadLetterStore, Letter, LetterState, LetterSummary, Maximum, Settlement, StoredLetter, Waiting,
};
use tailrace_core::error::{Error, Result};
use tailrace_core::ports::{CheckpointStore, SchemaHistory, SchemaVersion, SourceMemory};
use tailrace_core::position::{Checkpoint, Position};
use tailrace_core::schema::TableSchema;
use tailrace_core::testkit::MemoryStore;

use crate::database::{table_number, version_of};
use crate::log::{finished_tables, log_place};
use crate::world::{State, World, pass};

/// What is on the disk.
#[derive(Default)]
pub(crate) struct Storage {
    durable: Arc<MemoryStore>,
    /// Written and not yet synced.
    unsynced: Option<Checkpoint>,
    /// Who opened the store last; everybody else is fenced.
    pub(crate) epoch: u64,
}

/// The store as one owner has it.
pub(crate) struct ModelStore {
    world: Arc<World>,
    epoch: u64,
}

// === impl Storage ===

impl Storage {
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.durable.checkpoint()
    }

    /// A person wants every letter that waits to go out again; how many there are.
    pub(crate) fn ask_for_letters(&self) -> usize {
        let waiting = self.durable.letters().into_iter();
        let waiting = waiting.filter(|letter| letter.state == LetterState::Waiting);
        let waiting = waiting.map(|letter| self.durable.set_letter(letter.id, LetterState::ReplayRequested));
        waiting.count()
    }

    /// No event is in a letter alone.
    pub(crate) fn has_no_letters(&self) -> bool {
        self.durable.letters().iter().all(|letter| !letter.state.is_open())
    }
}

/// What was synced is there for good.
fn sync(state: &mut State) -> Result<()> {
    let Some(checkpoint) = state.storage.unsynced.take() else {
        return Ok(());
    };
    let durable = Arc::clone(&state.storage.durable);
    durable.save(&checkpoint).now_or_never().unwrap()?;
    let verdict = state.oracle.is_saved(&state.database, &checkpoint);
    state.journal.judge(verdict);
    // The name of a snapshot is another at each walk.
    let (place, tables) = (log_place(&checkpoint.progress), finished_tables(&checkpoint.progress));
    state
        .journal
        .note(format!("saved {} {place:?} {tables:?}", checkpoint.sequence));
    Ok(())
}

/// The process dies: what was not synced is there, is lost, or is torn and found to be, which is the same.
pub(crate) fn crash(state: &mut State) {
    if state.storage.unsynced.is_none() {
        return;
    }
    let survives = state.dice.random_bool(0.5);
    state.journal.count(if survives {
        "crash after the write"
    } else {
        "crash lost the write"
    });
    if survives {
        let synced = sync(state).map_err(|error| error.report());
        state.journal.judge(synced);
    }
    state.storage.unsynced = None;
}

// === impl ModelStore ===

impl ModelStore {
    /// Takes the store over from whoever had it.
    pub(crate) fn open(world: &Arc<World>) -> Arc<Self> {
        let epoch = world.with(|state| {
            state.storage.epoch += 1;
            state.storage.epoch
        });
        Arc::new(Self {
            world: Arc::clone(world),
            epoch,
        })
    }

    async fn visit(&self, place: &'static str) -> Result<()> {
        self.world.visit(place).await?;
        self.world.with(|state| {
            if state.storage.epoch == self.epoch {
                return Ok(());
            }
            state.journal.count("fenced");
            Err(state.raised(place, Error::fenced("epoch_fenced", "somebody else has it")))
        })
    }

    /// What was done is done, and the answer is an error.
    fn lose_answer(&self, place: &'static str) -> Result<()> {
        self.world.with(|state| {
            let likelihood = state.profile.fails;
            if !state.fault(likelihood) {
                return Ok(());
            }
            state.journal.count("store: written, answer lost");
            Err(state.raise(place))
        })
    }

    /// A disk that is busy is when processes are killed.
    async fn sync_takes_time(&self) {
        let wait_ms = self.world.with(|state| {
            let likelihood = state.profile.is_slow;
            state.fault(likelihood).then(|| state.dice.random_range(10..2000))
        });
        match wait_ms {
            Some(wait_ms) => pass(Duration::from_millis(wait_ms)).await,
            None => self.world.pause().await,
        }
    }

    fn durable(&self) -> Arc<MemoryStore> {
        self.world.with(|state| Arc::clone(&state.storage.durable))
    }
}

#[async_trait]
impl CheckpointStore for ModelStore {
    async fn load(&self) -> Result<Option<Checkpoint>> {
        self.visit("store.load").await?;
        self.durable().load().await
    }

    async fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.visit("store.save").await?;
        self.world.with(|state| {
            let verdict = state.oracle.saves(&state.database, checkpoint);
            state.journal.judge(verdict);
            state.storage.unsynced = Some(checkpoint.clone());
        });
        self.sync_takes_time().await;
        self.world.with(sync)?;
        self.world.pause().await;
        self.lose_answer("store.save, after")
    }
}

#[async_trait]
impl SchemaHistory for ModelStore {
    async fn record(&self, schema: &TableSchema, position: &Position, seen: Option<u32>) -> Result<SchemaVersion> {
        self.visit("store.record").await?;
        let version = self.durable().record(schema, position, seen).await?;
        self.world.with(|state| {
            let table = table_number(&schema.name.qualified());
            state.oracle.schema_recorded(table, version_of(schema));
        });
        self.world.pause().await;
        self.lose_answer("store.record, after")?;
        Ok(version)
    }

    async fn announced(&self, table: &str, version: u32) -> Result<()> {
        self.visit("store.announced").await?;
        self.durable().announced(table, version).await?;
        self.world.pause().await;
        self.lose_answer("store.announced, after")
    }

    async fn newest(&self, table: &str) -> Result<Option<TableSchema>> {
        self.durable().newest(table).await
    }
}

#[async_trait]
impl DeadLetterStore for ModelStore {
    async fn quarantine(&self, letters: &[Letter], maximum: Maximum) -> Result<Vec<LetterState>> {
        self.visit("store.quarantine").await?;
        let states = self.durable().quarantine(letters, maximum).await?;
        self.world.with(|state| {
            for letter in letters {
                state
                    .journal
                    .note(format!("letter {}: {}", letter.event_id, letter.code));
                state.journal.count(if letter.code == BEHIND {
                    "behind a letter"
                } else {
                    "letter"
                });
                state.oracle.set_aside(&letter.event_id);
            }
        });
        self.sync_takes_time().await;
        self.lose_answer("store.quarantine, after")?;
        Ok(states)
    }

    async fn dropped(&self, identities: &[String]) -> Result<Vec<String>> {
        self.visit("store.dropped").await?;
        self.durable().dropped(identities).await
    }

    async fn waiting(&self) -> Result<Vec<Waiting>> {
        self.visit("store.waiting").await?;
        self.durable().waiting().await
    }

    async fn requested(&self, limit: usize) -> Result<Vec<StoredLetter>> {
        self.visit("store.requested").await?;
        self.durable().requested(limit).await
    }

    async fn settle(&self, settlements: &[(u64, Settlement)]) -> Result<()> {
        self.visit("store.settle").await?;
        let letters = self.durable().letters();
        self.world.with(|state| {
            for (id, settlement) in settlements {
                let letter = letters.iter().find(|letter| letter.id == *id).unwrap();
                state.journal.count(match settlement {
                    Settlement::Replayed => "letter replayed",
                    Settlement::Refused { .. } => "letter refused again",
                    Settlement::Behind => "letter waits again",
                });
                if let Settlement::Refused { code, .. } = settlement {
                    // What fails about a letter that is tried again is told by the letter.
                    let raised = &mut state.oracle.life.raised;
                    let told = raised
                        .iter()
                        .position(|raised| raised == code && *raised != "scripted_definite");
                    told.map(|told| raised.remove(told));
                }
                if *settlement == Settlement::Replayed {
                    let verdict = state.oracle.replayed(&letter.letter.event_id);
                    state.journal.judge(verdict);
                }
            }
        });
        self.durable().settle(settlements).await?;
        self.sync_takes_time().await;
        self.lose_answer("store.settle, after")
    }

    async fn summary(&self) -> Result<LetterSummary> {
        self.durable().summary().await
    }
}

#[async_trait]
impl SourceMemory for ModelStore {
    async fn recall(&self) -> Result<Option<serde_json::Value>> {
        self.visit("store.recall").await?;
        self.durable().recall().await
    }

    async fn remember(&self, memory: &serde_json::Value) -> Result<()> {
        self.visit("store.remember").await?;
        self.durable().remember(memory).await?;
        self.world.pause().await;
        self.lose_answer("store.remember, after")
    }
}
