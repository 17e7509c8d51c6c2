//! One connector: what it is, what is wanted of it, and its life.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tailrace_core::pipeline::Desired;
use tailrace_core::snapshot::SnapshotDesk;
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::{Life, Telemetry};
use tailrace_state::{Wanted, Wish};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::life::{Carrier, Outcome, live, watched};
use crate::config::plan::AnyPlan;
use crate::config::submitted::Submission;
use crate::letters::LetterDesk;

/// Where a connector comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The configuration file, which owns it.
    File,
    /// A request.
    Http(Submission),
}

/// A connector that was put together.
pub(crate) struct Member {
    pub(super) name: String,
    /// What it means; `None` for one that came over HTTP once and cannot be understood now.
    pub(crate) plan: Option<AnyPlan>,
    pub(crate) origin: Origin,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Where snapshots of it are asked for.
    pub(crate) snapshots: Arc<SnapshotDesk>,
    /// Its dead letters; `None` where it cannot be understood.
    pub(crate) letters: Option<LetterDesk>,
    pub(super) carrier: Arc<dyn Carrier>,
    /// What goes on beside it for as long as it is there.
    pub(super) side_task: Option<JoinHandle<()>>,
    /// The turn: held by whoever changes what is wanted, and until a life has ended that was asked to.
    pub(super) changing: Arc<tokio::sync::Mutex<()>>,
    standing: Mutex<Standing>,
}

/// What is wanted of a connector, and what it does.
#[derive(Default)]
struct Standing {
    wish: Option<Wish>,
    /// `None` before the first.
    life: Option<CurrentLife>,
}

/// The life that a connector has, or had last.
struct CurrentLife {
    desired: watch::Sender<Desired>,
    /// Ends it wherever it is.
    cut_off: Arc<Notify>,
    /// How it ended; `None` while it goes on.
    outcome: watch::Receiver<Option<Outcome>>,
    /// It was asked to end.
    was_asked: bool,
}

/// What all lives of the process have in common.
pub(super) struct Lives {
    /// Counts those that ended.
    ends: watch::Sender<u64>,
    is_closing: AtomicBool,
}

// === impl Lives ===

impl Lives {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            ends: watch::channel(0).0,
            is_closing: AtomicBool::new(false),
        })
    }

    /// Counts lives that ended.
    pub(super) fn ends(&self) -> watch::Receiver<u64> {
        self.ends.subscribe()
    }

    /// From now on none begins.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    /// The process is ending.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }
}

// === impl CurrentLife ===

impl CurrentLife {
    fn is_going_on(&self) -> bool {
        self.outcome.borrow().is_none()
    }
}

// === impl Member ===

impl Member {
    /// A connector that does not live yet.
    pub(super) fn new(
        name: &str,
        plan: Option<AnyPlan>,
        origin: Origin,
        (telemetry, carrier): (Arc<Telemetry>, Arc<dyn Carrier>),
    ) -> Self {
        Self {
            name: name.to_owned(),
            plan,
            origin,
            telemetry,
            snapshots: Arc::default(),
            letters: None,
            carrier,
            side_task: None,
            changing: Arc::default(),
            standing: Mutex::default(),
        }
    }

    /// The connector's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // A panic while the lock was held leaves what is whole.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wanted of it, and by whose word; `None` where it is to run.
    pub(crate) fn wish(&self) -> Option<Wish> {
        self.standing().wish.clone()
    }

    /// `running`, `paused` or `stopped`.
    pub(crate) fn wanted(&self) -> &'static str {
        self.wish().map_or("running", |wish| wish.wanted.name())
    }

    fn is_wanted(&self, wanted: Wanted) -> bool {
        self.wish().is_some_and(|wish| wish.wanted == wanted)
    }

    /// It is to be stopped, whether it is already or not.
    pub(super) fn is_to_be_stopped(&self) -> bool {
        self.is_wanted(Wanted::Stopped)
    }

    /// It is stopped by somebody's wish, and nothing of it goes on.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_to_be_stopped() && !self.is_alive()
    }

    /// A life goes on.
    pub(crate) fn is_alive(&self) -> bool {
        self.standing().life.as_ref().is_some_and(CurrentLife::is_going_on)
    }

    /// How its last life ended; `None` before that.
    fn outcome(&self) -> Option<Outcome> {
        let standing = self.standing();
        standing.life.as_ref().and_then(|life| *life.outcome.borrow())
    }

    /// It ended though nobody asked it to and there was more to do.
    pub(crate) fn has_given_up(&self) -> bool {
        matches!(
            self.outcome(),
            Some(Outcome::Fenced | Outcome::Halted | Outcome::Panicked)
        )
    }

    /// It has ended by itself and well: there is nothing more to do.
    pub(crate) fn is_finished(&self) -> bool {
        let was_asked = self.standing().life.as_ref().is_some_and(|life| life.was_asked);
        !was_asked && self.outcome() == Some(Outcome::Ended)
    }

    /// Takes down what is wanted, and says so in its state.
    pub(super) fn take_down(&self, wish: Option<Wish>) {
        let before = std::mem::replace(&mut self.standing().wish, wish.clone());
        let resume = format!("`PUT /connectors/{}/resume` lets it go on", self.name);
        let is_paused = |wish: &Option<Wish>| wish.as_ref().is_some_and(|wish| wish.wanted == Wanted::Paused);
        if is_paused(&before) || is_paused(&wish) {
            let paused = wish.as_ref().filter(|wish| wish.wanted == Wanted::Paused);
            self.telemetry
                .hold(paused.map(|wish| format!("paused by {}; {resume}", wish.by)));
        }
        if let Some(wish) = wish.filter(|_| self.is_stopped()) {
            self.telemetry
                .enter(Life::Stopped, format!("stopped by {}; {resume}", wish.by));
        }
    }

    /// Begins to live as it is wanted; no life is going on.
    pub(super) fn begin(&self, lives: &Arc<Lives>) {
        match self.wish().map(|wish| wish.wanted) {
            None => self.start(Desired::Running, lives),
            Some(Wanted::Paused) => self.start(Desired::Paused, lives),
            Some(Wanted::Stopped) => {}
        }
    }

    /// Changes what is wanted, which is in the state already. Whoever calls it has the turn: what was asked to end before has ended.
    pub(super) fn follow(&self, wish: Option<Wish>, lives: &Arc<Lives>) {
        let wanted = wish.as_ref().map(|wish| wish.wanted);
        let was_stopped = self.is_to_be_stopped();
        self.take_down(wish);
        let desired = match wanted {
            Some(Wanted::Stopped) => return self.ask_to_end(),
            Some(Wanted::Paused) => Desired::Paused,
            None => Desired::Running,
        };
        // What was stopped, also before the process began, is opened again, if only to be paused; what has halted stays so until it is to run.
        if self.is_alive() {
            self.tell(desired);
        } else if wanted.is_none() || was_stopped {
            self.begin(lives);
        }
    }

    /// Starts a life, unless the process is ending; none is going on.
    fn start(&self, desired: Desired, lives: &Arc<Lives>) {
        let mut standing = self.standing();
        // Under the lock: whoever ends the process says so before every life is asked to end.
        if lives.is_closing() {
            return;
        }
        let (sender, wants) = watch::channel(desired);
        let (ended, outcome) = watch::channel(None);
        let cut_off: Arc<Notify> = Arc::default();
        self.telemetry.enter(Life::Starting, "starting");
        let life = live(Arc::clone(&self.carrier), Arc::clone(&self.telemetry), wants);
        let life = watched(Arc::clone(&self.telemetry), Arc::clone(&cut_off), life);
        let lives = Arc::clone(lives);
        // Its end is seen in the outcome.
        drop(spawn_named("connector", async move {
            ended.send_replace(Some(life.await));
            lives.ends.send_modify(|count| *count += 1);
        }));
        standing.life = Some(CurrentLife {
            desired: sender,
            cut_off,
            outcome,
            was_asked: false,
        });
    }

    /// Tells a life what is wanted, unless it was asked to end.
    fn tell(&self, desired: Desired) {
        let standing = self.standing();
        if let Some(life) = standing.life.as_ref().filter(|life| !life.was_asked) {
            life.desired.send_replace(desired);
        }
    }

    /// Asks it to drain and end.
    pub(super) fn ask_to_end(&self) {
        if let Some(life) = &mut self.standing().life {
            life.was_asked = true;
            life.desired.send_replace(Desired::Stopped);
        }
    }

    /// Asks it to drain and end, and waits until it has.
    pub(super) async fn end(&self, deadline: Instant) {
        self.ask_to_end();
        self.ended(deadline).await;
    }

    /// Waits until its life has ended, and cuts it off at the deadline. How it ended.
    pub(super) async fn ended(&self, deadline: Instant) -> Outcome {
        let life = self.standing().life.as_ref().map(|life| {
            let CurrentLife { outcome, cut_off, .. } = life;
            (outcome.clone(), Arc::clone(cut_off))
        });
        let Some((mut outcome, cut_off)) = life else {
            return Outcome::Ended;
        };
        if timeout_at(deadline, outcome.wait_for(Option::is_some)).await.is_err() {
            cut_off.notify_one();
        }
        let reached = outcome.wait_for(Option::is_some).await.map(|reached| *reached);
        reached.ok().flatten().unwrap_or(Outcome::Panicked)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(task) = &self.side_task {
            task.abort();
        }
    }
}
