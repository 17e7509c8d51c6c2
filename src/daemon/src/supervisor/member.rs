//! One connector: what it is, what is wanted of it, and its life.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tailrace_core::pipeline::Desired;
use tailrace_core::snapshot::SnapshotDesk;
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::{Life, Telemetry};
use tailrace_state::{Wanted, Wish};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

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
    /// Held by whoever changes what is wanted.
    pub(super) changing: Arc<tokio::sync::Mutex<()>>,
    wish: Mutex<Option<Wish>>,
    running: Mutex<Running>,
}

/// The life that a connector has or had.
struct Running {
    desired: watch::Sender<Desired>,
    /// `None` before the first.
    task: Option<JoinHandle<()>>,
    /// How the last one ended; `None` while one goes on.
    outcome: Arc<Mutex<Option<Outcome>>>,
    /// It was asked to end.
    was_asked: Arc<AtomicBool>,
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
            wish: Mutex::default(),
            running: Mutex::new(Running {
                desired: watch::channel(Desired::Stopped).0,
                task: None,
                outcome: Arc::default(),
                was_asked: Arc::default(),
            }),
        }
    }

    /// The connector's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is wanted of it, and by whose word; `None` where it is to run.
    pub(crate) fn wish(&self) -> Option<Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `running`, `paused` or `stopped`.
    pub(crate) fn wanted(&self) -> &'static str {
        self.wish().map_or("running", |wish| wish.wanted.name())
    }

    /// Begins to live as it is wanted.
    pub(super) fn begin(&self, wish: Option<Wish>, ends: watch::Sender<u64>) {
        let wanted = wish.as_ref().map(|wish| wish.wanted);
        self.show(wish.as_ref());
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = wish;
        match wanted {
            None => self.start(Desired::Running, ends),
            Some(Wanted::Paused) => self.start(Desired::Paused, ends),
            Some(Wanted::Stopped) => {}
        }
    }

    /// Says in its state what is wanted of it.
    fn show(&self, wish: Option<&Wish>) {
        let resume = format!("`PUT /connectors/{}/resume` lets it go on", self.name);
        let paused = wish.filter(|wish| wish.wanted == Wanted::Paused);
        let was_paused = self.wish().is_some_and(|wish| wish.wanted == Wanted::Paused);
        if paused.is_some() || was_paused {
            self.telemetry
                .hold(paused.map(|wish| format!("paused by {}; {resume}", wish.by)));
        }
        if let Some(wish) = wish.filter(|wish| wish.wanted == Wanted::Stopped)
            && !self.is_alive()
        {
            self.telemetry
                .enter(Life::Stopped, format!("stopped by {}; {resume}", wish.by));
        }
    }

    /// Changes what is wanted, which is in the state already. The caller holds `changing`.
    pub(super) async fn follow(&self, wish: Option<Wish>, deadline: Instant, ends: watch::Sender<u64>) {
        let wanted = wish.as_ref().map(|wish| wish.wanted);
        let is_ending = self.is_asked_to_end();
        // What was stopped, also before the process began, is opened again, if only to be paused; what has halted stays so until it is to run.
        let was_stopped = self.wish().is_some_and(|wish| wish.wanted == Wanted::Stopped);
        match wanted {
            Some(Wanted::Stopped) => self.ask_to_end(),
            Some(Wanted::Paused) | None => {
                let desired = wanted.map_or(Desired::Running, |_| Desired::Paused);
                if is_ending {
                    self.ended(deadline).await;
                }
                if self.is_alive() {
                    self.tell(desired);
                } else if wanted.is_none() || is_ending || was_stopped {
                    self.start(desired, ends);
                }
            }
        }
        self.show(wish.as_ref());
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = wish;
    }

    /// Starts a life; none is going on.
    pub(super) fn start(&self, desired: Desired, ends: watch::Sender<u64>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, wants) = watch::channel(desired);
        let outcome: Arc<Mutex<Option<Outcome>>> = Arc::default();
        let telemetry = Arc::clone(&self.telemetry);
        telemetry.enter(Life::Starting, "starting");
        let life = live(Arc::clone(&self.carrier), Arc::clone(&telemetry), wants);
        let ended = Arc::clone(&outcome);
        let task = spawn_named("connector", async move {
            let reached = watched(telemetry, life).await;
            *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(reached);
            ends.send_modify(|count| *count += 1);
        });
        *running = Running {
            desired: sender,
            task: Some(task),
            outcome,
            was_asked: Arc::default(),
        };
    }

    fn tell(&self, desired: Desired) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.desired.send_replace(desired);
    }

    /// Asks it to drain and end.
    pub(super) fn ask_to_end(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.was_asked.store(true, Ordering::Release);
        running.desired.send_replace(Desired::Stopped);
    }

    fn is_asked_to_end(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.was_asked.load(Ordering::Acquire)
    }

    /// A life goes on.
    pub(crate) fn is_alive(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = running.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        running.task.is_some() && outcome.is_none()
    }

    /// It has ended by itself and well: there is nothing more to do.
    pub(super) fn is_finished(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = *running.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome == Some(Outcome::Ended) && !running.was_asked.load(Ordering::Acquire)
    }

    /// Waits until its life has ended, and cuts it off at the deadline. How it ended.
    pub(super) async fn ended(&self, deadline: Instant) -> Outcome {
        let (task, outcome) = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            (running.task.take(), Arc::clone(&running.outcome))
        };
        let Some(mut task) = task else {
            return outcome
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .unwrap_or(Outcome::Ended);
        };
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
            self.telemetry.enter(
                Life::Stopped,
                "did not end in time; what was not durable will be read again",
            );
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(Outcome::DrainTimedOut);
        }
        outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or(Outcome::Panicked)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(task) = &self.side_task {
            task.abort();
        }
    }
}
