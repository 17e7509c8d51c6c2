//! All connectors of the process, those of the file and those that were created over HTTP: what is wanted of each, and how each ends.
//!
//! ```text
//!   HTTP ──▶ Supervisor ──▶ Member (one per connector) ──▶ its life (a task, `life.rs`) ──▶ one attempt (`carry.rs`, `write.rs`)
//!              │                 what is wanted is kept in the state first, then told to the life
//!              └─▶ Planner       what only one connector may have is taken and given back
//! ```
//!
//! Invariants:
//! - What somebody was answered survives a crash: it is in the state before it is done.
//! - A connector is changed by one request at a time, and the set of connectors by one at a time.
//! - A life ends before another of the same connector begins; what hangs beyond its deadline is cut off, whoever asked it to end.
//! - When the process ends, no life begins any more, and whoever has changed something is waited for.
//! - Everything runs on the main runtime, whoever asks: a request that is given up half-way is done all the same.

pub(crate) mod assembly;
pub(crate) mod away;
pub(crate) mod carry;
pub(crate) mod change;
mod life;
mod member;
pub(crate) mod offsets;
pub(crate) mod source_offset;
pub(crate) mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tailrace_core::telemetry::Telemetry;
use tailrace_core::{Error, Result, task};
use tailrace_state::Wish;
use tokio::runtime::Handle;
use tokio::sync::{MutexGuard, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use self::assembly::Assembly;
pub(crate) use self::life::{Outcome, PANICKED};
use self::member::Lives;
pub(crate) use self::member::{Member, Origin};
use crate::config::plan::{Plan, Planner};
use crate::config::submitted::Rules;
use crate::journal::Journal;

/// After the drain's own deadline, this long for connections to close; what hangs longer is cut off.
const GRACE: Duration = Duration::from_secs(3);
/// What was cut off is gone as soon as it waits for anything; a task that never does is left behind when the process ends.
const CUT_OFF: Duration = Duration::from_secs(1);

/// There is no such connector.
pub(crate) const CONNECTOR_UNKNOWN: &str = "connector_unknown";

/// All connectors of the process.
pub(crate) struct Supervisor {
    assembly: Assembly,
    /// What connectors that come over HTTP may name.
    rules: Rules,
    planner: Mutex<Planner>,
    members: RwLock<BTreeMap<String, Arc<Member>>>,
    /// Held while connectors come or go.
    changing: tokio::sync::Mutex<()>,
    journal: Journal,
    lives: Arc<Lives>,
    /// Where connectors live, whoever asks.
    runtime: Handle,
}

/// In the words of Kafka Connect, which tools look for.
pub(crate) fn unknown(name: &str) -> Error {
    Error::definite(CONNECTOR_UNKNOWN, format!("Connector {name} not found"))
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts every connector of the plan and every one that was created over HTTP, as far as they are wanted to run.
    ///
    /// # Errors
    /// Where a connector of the plan cannot be put together, or the state cannot be read. One that was created over HTTP is halted then.
    pub(crate) async fn start(plan: &Plan, assembly: Assembly, journal: Journal) -> Result<Arc<Self>> {
        let supervisor = Arc::new(Self {
            assembly,
            rules: plan.admin.rules.clone(),
            planner: Mutex::new(plan.planner()),
            members: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            journal,
            lives: Lives::new(),
            runtime: Handle::current(),
        });
        let state = &supervisor.assembly.state;
        let mut wishes: BTreeMap<String, Wish> = BTreeMap::new();
        for wish in state.wishes().await? {
            wishes.insert(wish.connector.clone(), wish);
        }
        let mut members = Vec::new();
        for planned in plan.all() {
            members.push(supervisor.assembly.member(planned, Origin::File)?);
        }
        for created in state.created_connectors().await? {
            if members.iter().any(|member| member.name() == created.name) {
                tracing::warn!(
                    connector = created.name,
                    "the configuration file has a connector of this name; the one that was created over HTTP is put aside for as long"
                );
                continue;
            }
            members.push(supervisor.recall(&created));
        }
        for member in members {
            let wish = wishes.remove(member.name());
            supervisor.admit(member, wish);
        }
        Ok(supervisor)
    }

    /// A connector that is put together lives from now on.
    fn admit(&self, member: Member, wish: Option<Wish>) -> Arc<Member> {
        let member = Arc::new(member);
        self.journal.follow(&member.telemetry);
        member.take_down(wish);
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.insert(member.name().to_owned(), Arc::clone(&member));
        drop(members);
        // Behind that: whoever ends the process ends every life of those that are in the list.
        member.begin(&self.lives);
        member
    }

    /// Every connector, by name.
    pub(crate) fn members(&self) -> Vec<Arc<Member>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.values().map(Arc::clone).collect()
    }

    /// A connector by its name.
    ///
    /// # Errors
    /// Definite [`CONNECTOR_UNKNOWN`].
    pub(crate) fn member(&self, name: &str) -> Result<Arc<Member>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.get(name).map(Arc::clone).ok_or_else(|| unknown(name))
    }

    /// A connector, once nobody else changes it: the one that is there then. Whoever has the guard is the only one who does.
    ///
    /// # Errors
    /// Definite [`CONNECTOR_UNKNOWN`]; transient `closing`.
    async fn turn(&self, name: &str) -> Result<(Arc<Member>, OwnedMutexGuard<()>)> {
        loop {
            let member = self.member(name)?;
            let turn = Arc::clone(&member.changing).lock_owned().await;
            self.must_be_open()?;
            // Whoever was before us may have put another one in its place.
            if Arc::ptr_eq(&member, &self.member(name)?) {
                return Ok((member, turn));
            }
        }
    }

    /// The set of connectors, once nobody else changes it.
    ///
    /// # Errors
    /// Transient `closing`.
    async fn turn_of_all(&self) -> Result<MutexGuard<'_, ()>> {
        let turn = self.changing.lock().await;
        self.must_be_open().map(|()| turn)
    }

    fn must_be_open(&self) -> Result<()> {
        match self.lives.is_closing() {
            true => Err(Error::transient("closing", "the process is ending")),
            false => Ok(()),
        }
    }

    /// What is known of every connector.
    pub(crate) fn telemetry(&self) -> Vec<Arc<Telemetry>> {
        let members = self.members();
        members.iter().map(|member| Arc::clone(&member.telemetry)).collect()
    }

    /// Where everything is put together with.
    pub(crate) fn assembly(&self) -> &Assembly {
        &self.assembly
    }

    /// Who writes down what people ask for.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Resolves when there are connectors, each of them has ended by itself, and none of them in trouble: there is nothing more to do,
    /// whatever anybody may still ask for.
    pub(crate) async fn finished(&self) {
        let mut ends = self.lives.ends();
        loop {
            let members = self.members();
            if !members.is_empty() && members.iter().all(|member| member.is_finished()) {
                return;
            }
            if ends.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks every connector to drain and end, and waits for it, and for whoever changes something, to a deadline. The worst outcome.
    pub(crate) async fn stop(&self) -> Outcome {
        self.lives.close();
        let members = self.members();
        members.iter().for_each(|member| member.ask_to_end());
        let deadline = self.deadline();
        let last = deadline + CUT_OFF;
        let mut worst = Outcome::Ended;
        for member in members {
            let ended = timeout_at(last, member.ended(deadline)).await;
            worst = worst.max(ended.unwrap_or(Outcome::DrainTimedOut));
        }
        if timeout_at(last, self.turns()).await.is_err() {
            tracing::warn!("a request was still being done when the process ended");
        }
        worst
    }

    /// Waits for everybody who changes something.
    async fn turns(&self) {
        drop(self.changing.lock().await);
        for member in self.members() {
            drop(member.changing.lock().await);
        }
    }

    /// When a life is cut off that was asked to end now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.assembly.shutdown_timeout + GRACE
    }

    /// Runs something on the main runtime: it is done also where whoever asked goes away.
    ///
    /// # Errors
    /// Its own; transient `closing` where the process ends.
    async fn here<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        self.must_be_open()?;
        let done = task::spawn_on(&self.runtime, "request", work).await;
        done.unwrap_or_else(|error| {
            Err(Error::transient("task_failed", "what was asked for ended early").with_source(error))
        })
    }
}

#[cfg(test)]
mod tests;
