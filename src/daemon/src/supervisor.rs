//! Lives of connectors: started, retried, halted, stopped. The only place that decides what follows from an error.
//!
//! ```text
//!              ┌───────────────────── backoff ─────────────────────┐
//!              ▼                                                   │
//!   start ─▶ starting ─▶ snapshotting ─▶ streaming ─ transient ─▶ degraded
//!              │               │             │
//!              └───────────────┴─────────────┼── definite, poison ─▶ halted:<code>   (the process stays up)
//!                                            └── fenced, stop, snapshot_finished ─▶ stopped
//! ```
//!
//! Every attempt is the same as the first: everything is opened anew from the last checkpoint.

pub(crate) mod carry;
pub(crate) mod write;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tailrace_core::error::Kind;
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::snapshot::SNAPSHOT_FINISHED;
use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::{Life, Telemetry};
use tailrace_core::{Error, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use tailrace_core::backoff::Backoff;

/// After the drain's own deadline, this long for connections to close; a task that hangs longer is left behind.
const GRACE: Duration = Duration::from_secs(3);

/// The code of a connector whose task ended by a panic, which is a defect in Tailrace.
pub(crate) const PANICKED: &str = "panicked";

/// One attempt to carry changes: opens everything, carries until asked to stop or until an error.
#[async_trait]
pub(crate) trait Carrier: Send + Sync {
    /// Runs once. Opens everything from the last checkpoint.
    async fn carry(&self, telemetry: &Arc<Telemetry>, desired: watch::Receiver<Desired>) -> Result<Ended>;
}

/// How the life of a connector ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// As it was asked to, or because there was nothing more to do.
    Ended,
    /// The deadline of a stop came before everything was durable. Nothing is lost: it is read again.
    DrainTimedOut,
    /// Somebody else has its work.
    Fenced,
    /// An error that needs a person.
    Halted,
    /// A defect.
    Panicked,
}

/// A connector that was started.
struct Started {
    telemetry: Arc<Telemetry>,
    /// `None` when its end was seen.
    task: Option<JoinHandle<Outcome>>,
}

/// All connectors of the process.
pub(crate) struct Supervisor {
    desired: watch::Sender<Desired>,
    connectors: Vec<Started>,
    shutdown_timeout: Duration,
    worst: Outcome,
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts every connector in a task of its own.
    pub(crate) fn start(carriers: Vec<(Arc<Telemetry>, Arc<dyn Carrier>)>, shutdown_timeout: Duration) -> Self {
        let (desired, _) = watch::channel(Desired::Running);
        let connectors = carriers.into_iter().map(|(telemetry, carrier)| {
            let life = live(carrier, Arc::clone(&telemetry), desired.subscribe());
            let task = spawn_named("connector", watched(Arc::clone(&telemetry), life));
            Started {
                telemetry,
                task: Some(task),
            }
        });
        Self {
            worst: Outcome::Ended,
            connectors: connectors.collect(),
            desired,
            shutdown_timeout,
        }
    }

    /// Asks every connector to drain and end.
    pub(crate) fn stop(&self) {
        self.desired.send_replace(Desired::Stopped);
    }

    /// Waits until every connector has ended; a stop is cut off after its deadline. The worst outcome. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Outcome {
        let deadline = cut_off(self.desired.subscribe(), self.shutdown_timeout + GRACE);
        tokio::pin!(deadline);
        for started in &mut self.connectors {
            let Some(task) = &mut started.task else {
                continue;
            };
            let outcome = tokio::select! {
                biased;
                ended = &mut *task => ended.unwrap_or(Outcome::Panicked),
                () = &mut deadline => {
                    task.abort();
                    started.telemetry.enter(Life::Stopped, "did not end in time; what was not durable will be read again");
                    // The others had the same time.
                    deadline.set(cut_off(self.desired.subscribe(), Duration::ZERO));
                    Outcome::DrainTimedOut
                }
            };
            started.task = None;
            self.worst = self.worst.max(outcome);
        }
        self.worst
    }
}

/// Resolves so long after a stop was asked for.
async fn cut_off(mut desired: watch::Receiver<Desired>, after: Duration) {
    drop(desired.wait_for(|desired| *desired == Desired::Stopped).await);
    tokio::time::sleep(after).await;
}

/// A panic of a connector is a defect, and is seen: its state says so, and `/livez` fails.
async fn watched(telemetry: Arc<Telemetry>, life: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
    match spawn_named("connector life", life).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => {
            telemetry.enter(
                Life::Halted(PANICKED.to_owned()),
                "the connector's task panicked, which is a defect in Tailrace; restart the process and report the message above",
            );
            Outcome::Panicked
        }
        Err(_) => Outcome::DrainTimedOut,
    }
}

/// One connector, from start to end.
async fn live(carrier: Arc<dyn Carrier>, telemetry: Arc<Telemetry>, mut desired: watch::Receiver<Desired>) -> Outcome {
    let mut backoff = Backoff::default();
    loop {
        let before = telemetry.numbers.checkpoints.load(Ordering::Relaxed);
        let attempt = carrier.carry(&telemetry, desired.clone()).await;
        if telemetry.numbers.checkpoints.load(Ordering::Relaxed) > before {
            backoff.reset();
        }
        let error = match attempt {
            Ok(ended) => return stopped(&telemetry, ended),
            Err(error) => error,
        };
        if error.code() == SNAPSHOT_FINISHED {
            telemetry.enter(Life::Stopped, error.report());
            return Outcome::Ended;
        }
        match error.kind() {
            Kind::Transient => {
                if !wait(&telemetry, &error, backoff.next_wait(), &mut desired).await {
                    telemetry.enter(Life::Stopped, "stopped while it waited to try again");
                    return Outcome::Ended;
                }
            }
            Kind::Definite | Kind::Poison => return halted(&telemetry, &error),
            Kind::Fenced => {
                telemetry.enter(Life::Stopped, error.report());
                return Outcome::Fenced;
            }
        }
    }
}

fn stopped(telemetry: &Telemetry, ended: Ended) -> Outcome {
    match ended {
        Ended::Drained => {
            telemetry.enter(Life::Stopped, "everything that was read is durable and checkpointed");
            Outcome::Ended
        }
        Ended::DrainTimedOut => {
            telemetry.enter(
                Life::Stopped,
                "the deadline came before everything was durable; the rest will be read again",
            );
            Outcome::DrainTimedOut
        }
    }
}

fn halted(telemetry: &Telemetry, error: &Error) -> Outcome {
    telemetry.enter(Life::Halted(error.code().to_owned()), error.report());
    Outcome::Halted
}

/// Waits before the next attempt; false where it is to stop instead.
async fn wait(telemetry: &Telemetry, error: &Error, pause: Duration, desired: &mut watch::Receiver<Desired>) -> bool {
    telemetry.numbers.retries.fetch_add(1, Ordering::Relaxed);
    let reason = format!("{}; next attempt in {:.1} s", error.report(), pause.as_secs_f64());
    telemetry.enter(Life::Degraded(error.code().to_owned()), reason);
    tokio::select! {
        biased;
        stop = desired.wait_for(|desired| *desired == Desired::Stopped) => {
            drop(stop);
            false
        }
        () = tokio::time::sleep(pause) => true,
    }
}

#[cfg(test)]
mod tests;
