//! The life of a connector: started, retried, halted, stopped. The only place that decides what follows from an error.
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

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tailrace_core::error::Kind;
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::snapshot::SNAPSHOT_FINISHED;
use tailrace_core::task::spawn_among;
use tailrace_core::telemetry::{Life, Telemetry};
use tailrace_core::{Error, Result};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use tailrace_core::backoff::Backoff;

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

/// A panic of a connector is a defect, and is seen: its state says so, and `/livez` fails. A life that hangs can be cut off.
pub(super) async fn watched(
    telemetry: Arc<Telemetry>,
    cut_off: Arc<Notify>,
    life: impl Future<Output = Outcome> + Send + 'static,
) -> Outcome {
    // Whoever gives this up ends the life with it.
    let mut alone = JoinSet::new();
    spawn_among(&mut alone, "connector life", life);
    let ended = tokio::select! {
        biased;
        ended = alone.join_next() => ended,
        () = cut_off.notified() => {
            // Until it is gone: another life of the same connector may begin behind it.
            alone.shutdown().await;
            let reason = "did not end in time; what was not durable will be read again";
            telemetry.enter(Life::Stopped, reason);
            return Outcome::DrainTimedOut;
        }
    };
    match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) if error.is_panic() => {
            telemetry.enter(
                Life::Halted(PANICKED.to_owned()),
                "the connector's task panicked, which is a defect in Tailrace; restart the process and report the message above",
            );
            Outcome::Panicked
        }
        Some(Err(_)) | None => Outcome::DrainTimedOut,
    }
}

/// One connector, from start to end.
pub(super) async fn live(
    carrier: Arc<dyn Carrier>,
    telemetry: Arc<Telemetry>,
    mut desired: watch::Receiver<Desired>,
) -> Outcome {
    let mut backoff = Backoff::default();
    loop {
        // Who is not to read from the start, or from the next attempt, need not be connected either.
        if *desired.borrow() == Desired::Paused {
            telemetry.enter(Life::Starting, "it begins when it is resumed");
        }
        if desired.wait_for(|desired| *desired != Desired::Paused).await.is_err() {
            return stopped(&telemetry, Ended::Drained);
        }
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

/// Waits before the next attempt, which a pause begins with waiting for its end; false where it is to stop instead.
async fn wait(telemetry: &Telemetry, error: &Error, pause: Duration, desired: &mut watch::Receiver<Desired>) -> bool {
    telemetry.numbers.retries.fetch_add(1, Ordering::Relaxed);
    let reason = format!("{}; next attempt in {:.1} s", error.report(), pause.as_secs_f64());
    telemetry.enter(Life::Degraded(error.code().to_owned()), reason);
    tokio::select! {
        biased;
        wish = desired.wait_for(|desired| *desired != Desired::Running) => wish.is_ok_and(|wish| *wish == Desired::Paused),
        () = tokio::time::sleep(pause) => true,
    }
}
