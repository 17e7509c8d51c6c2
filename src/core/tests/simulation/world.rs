//! What all parts of a walk share: the dice, the character of the walk, the state of the models, and the journal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tailrace_core::dead_letter::{Desk, LetterOrder};
use tailrace_core::error::{Error, Result};
use tailrace_core::snapshot::SnapshotDesk;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::database::Database;
use crate::oracle::Oracle;
use crate::store::Storage;
use crate::stream::Broker;

/// How often what happens in one walk. Drawn anew for each seed, and often zero: what hides behind a frequent fault is
/// found by the walks that do not have it.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Rows that existed before the log are carried first.
    pub(crate) rows_first: bool,
    /// How often what is committed is in the log before it is visible.
    pub(crate) invisible: f64,
    /// Rows are read again without waiting for that: wrong, and it must be found out.
    pub(crate) trusts_the_log: bool,
    /// A rule leaves out the changes of one table.
    pub(crate) leaves_out: Option<usize>,
    /// Some events cannot be encoded before the configuration is mended, and are set aside.
    pub(crate) letters: Option<LetterOrder>,
    pub(crate) changes_per_batch: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) heartbeat: Duration,
    /// Each reading of rows and log takes so long, with and without faults.
    pub(crate) reading: Duration,
    /// Per visit of a port.
    pub(crate) waits: f64,
    pub(crate) fails: f64,
    /// Of the failures: those that need a person.
    pub(crate) definite: f64,
    /// Per reading of the log.
    pub(crate) stalls: f64,
    pub(crate) repeats: f64,
    /// Per delivery.
    pub(crate) rejects: f64,
    pub(crate) fails_after_write: f64,
    pub(crate) fails_midway: f64,
    pub(crate) holds: f64,
    pub(crate) is_slow: f64,
    /// Per step of the walk.
    pub(crate) crashes: f64,
}

/// The state of every model.
pub(crate) struct State {
    pub(crate) dice: StdRng,
    pub(crate) profile: Profile,
    /// Faults have ceased.
    pub(crate) calm: bool,
    /// The configuration can encode everything.
    pub(crate) mended: bool,
    /// Windows that were read.
    pub(crate) windows: u64,
    /// Snapshots that had ended when the last one was asked for.
    pub(crate) asked_before_end: usize,
    pub(crate) database: Database,
    pub(crate) broker: Broker,
    pub(crate) storage: Storage,
    pub(crate) oracle: Oracle,
    pub(crate) journal: Journal,
}

/// What happened, and what should not have.
pub(crate) struct Journal {
    begun: Instant,
    pub(crate) lines: Vec<String>,
    pub(crate) violation: Option<String>,
    /// How often each thing happened: a fault that never comes proves nothing.
    pub(crate) seen: BTreeMap<&'static str, usize>,
}

/// Shared by the walk and by every port it made.
pub(crate) struct World {
    state: Mutex<State>,
    /// The database has something new.
    pub(crate) committed: Notify,
    /// Held answers may go.
    pub(crate) gates: Notify,
    /// Where people ask for letters.
    pub(crate) desk: Arc<Desk>,
    /// Where people ask for snapshots.
    pub(crate) snapshots: Arc<SnapshotDesk>,
}

// === impl Profile ===

impl Profile {
    fn draw(dice: &mut StdRng) -> Self {
        let mut likely = |most: f64| match dice.random_range(0..3) {
            0 => 0.0,
            1 => most / 5.0,
            _ => most,
        };
        let drawn = [0.06, 0.3, 0.05, 0.1, 0.06, 0.06, 0.06, 0.06, 0.1, 0.08].map(&mut likely);
        let [
            fails,
            definite,
            stalls,
            repeats,
            rejects,
            after_write,
            midway,
            holds,
            is_slow,
            crashes,
        ] = drawn;
        Self {
            invisible: *choose(dice, &[0.0, 0.1, 0.6]),
            trusts_the_log: false,
            rows_first: dice.random_ratio(2, 3),
            leaves_out: dice.random_ratio(1, 4).then_some(1),
            letters: *choose(
                dice,
                &[
                    None,
                    Some(LetterOrder::None),
                    Some(LetterOrder::Key),
                    Some(LetterOrder::Key),
                ],
            ),
            changes_per_batch: *choose(dice, &[1, 3, 10, 40]),
            in_flight_bytes: *choose(dice, &[1, 2000, 10_000, 60_000]),
            checkpoint_interval: Duration::from_millis(*choose(dice, &[1, 20, 200, 900])),
            drain_timeout: Duration::from_millis(*choose(dice, &[50, 1000, 8000])),
            heartbeat: Duration::from_millis(*choose(dice, &[30, 500, 10_000])),
            reading: Duration::from_millis(*choose(dice, &[0, 0, 0, 50, 1500])),
            waits: *choose(dice, &[0.1, 0.4, 0.8]),
            fails: fails / 3.0,
            definite,
            stalls,
            repeats,
            rejects,
            fails_after_write: after_write,
            fails_midway: midway,
            holds,
            is_slow,
            crashes,
        }
    }
}

fn choose<'a, T>(dice: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[dice.random_range(0..from.len())]
}

// === impl State ===

impl State {
    /// True with this likelihood, and never once faults have ceased.
    pub(crate) fn fault(&mut self, likelihood: f64) -> bool {
        !self.calm && self.dice.random_bool(likelihood)
    }
}

// === impl Journal ===

impl Journal {
    /// Writes down what happened.
    pub(crate) fn note(&mut self, line: impl AsRef<str>) {
        let at = self.begun.elapsed().as_millis();
        self.lines.push(format!("{at:>8} ms  {}", line.as_ref()));
    }

    /// Counts what happened.
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.seen.entry(name).or_default() += 1;
    }

    /// A broken promise; the first is the one that counts.
    pub(crate) fn judge(&mut self, verdict: Result<(), String>) {
        if let Err(broken) = verdict {
            self.note(format!("BROKEN: {broken}"));
            self.violation.get_or_insert(broken);
        }
    }
}

// === impl World ===

impl World {
    /// `trusts_the_log`: as [`Profile`] has it.
    pub(crate) fn new(seed: u64, trusts_the_log: bool) -> Arc<Self> {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut profile = Profile::draw(&mut dice);
        profile.trusts_the_log = trusts_the_log;
        let mut journal = Journal {
            begun: Instant::now(),
            lines: Vec::new(),
            violation: None,
            seen: BTreeMap::new(),
        };
        journal.note(format!("seed {seed}: {profile:?}"));
        Arc::new(Self {
            state: Mutex::new(State {
                calm: false,
                mended: false,
                windows: 0,
                asked_before_end: 0,
                database: Database::new(profile.invisible),
                broker: Broker::default(),
                storage: Storage::default(),
                oracle: Oracle::new(&profile),
                dice,
                profile,
                journal,
            }),
            committed: Notify::new(),
            gates: Notify::new(),
            desk: Arc::default(),
            snapshots: Arc::default(),
        })
    }

    /// Looks at the state and changes it; nothing waits in here.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        // Where a model panicked, what is torn down after it must not panic once more: the seed would not be told.
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn judge(&self, verdict: Result<(), String>) {
        self.with(|state| state.journal.judge(verdict));
    }

    /// A place where a port may have to wait: the pipeline can be cut off here.
    pub(crate) async fn pause(&self) {
        let wait_ms = self.with(|state| {
            let waits = state.profile.waits;
            if !state.dice.random_bool(waits) {
                return None;
            }
            Some(if state.dice.random_ratio(1, 3) {
                state.dice.random_range(1..20)
            } else {
                0
            })
        });
        match wait_ms {
            None => {}
            Some(0) => tokio::task::yield_now().await,
            Some(wait_ms) => pass(Duration::from_millis(wait_ms)).await,
        }
    }

    /// Something is read from the database.
    pub(crate) async fn read(&self) {
        let takes = self.with(|state| state.profile.reading);
        if takes > Duration::ZERO {
            pass(takes).await;
        }
    }

    /// A port is called: it may wait, and may fail before it has done anything.
    pub(crate) async fn visit(&self, place: &'static str) -> Result<()> {
        self.pause().await;
        self.with(|state| {
            let likelihood = state.profile.fails;
            if !state.fault(likelihood) {
                return Ok(());
            }
            Err(state.raise(place))
        })
    }
}

impl State {
    /// An error as a port gives it, remembered so that nobody can swallow it.
    pub(crate) fn raise(&mut self, place: &'static str) -> Error {
        let likelihood = self.profile.definite;
        let error = if self.fault(likelihood) {
            self.journal.count("definite error");
            Error::definite("scripted_definite", place)
        } else {
            self.journal.count("transient error");
            Error::transient("scripted_transient", place)
        };
        self.raised(place, error)
    }

    /// Remembers an error that the pipeline must end with.
    pub(crate) fn raised(&mut self, place: &'static str, error: Error) -> Error {
        self.journal.note(format!("{place}: fails with {}", error.code()));
        self.oracle.life.raised.push(error.code());
        error
    }
}

/// Lets virtual time pass.
pub(crate) async fn pass(duration: Duration) {
    tokio::time::sleep_until(Instant::now() + duration).await;
}
