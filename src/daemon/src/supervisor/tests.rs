use std::collections::VecDeque;

use async_trait::async_trait;
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::telemetry::Life;
use tailrace_state::Wanted;
use tokio::time::Instant;

use super::life::Carrier;
use super::*;

enum Step {
    Fail(Error),
    /// Saves a checkpoint, then fails.
    FailAfterProgress(Error),
    End(Ended),
    Panic,
    /// Carries until it is asked to stop.
    Carry,
    /// Does not listen.
    Hang,
}

struct Script(std::sync::Mutex<VecDeque<Step>>);

#[async_trait]
impl Carrier for Script {
    async fn carry(&self, telemetry: &Arc<Telemetry>, mut desired: watch::Receiver<Desired>) -> Result<Ended> {
        let step = self.0.lock().unwrap().pop_front();
        match step.expect("another attempt than the script has") {
            Step::Fail(error) => Err(error),
            Step::FailAfterProgress(error) => {
                telemetry.numbers.checkpoints.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
            Step::End(ended) => Ok(ended),
            Step::Panic => panic!("as scripted"),
            Step::Carry => {
                telemetry.enter(Life::Streaming, "carrying");
                drop(desired.wait_for(|desired| *desired == Desired::Stopped).await);
                Ok(Ended::Drained)
            }
            Step::Hang => std::future::pending().await,
        }
    }
}

/// A connector that follows a script.
struct Alone {
    member: Member,
    ends: watch::Sender<u64>,
}

impl Alone {
    async fn ended(&self) -> Outcome {
        self.member.ended(Instant::now() + Duration::from_secs(100_000)).await
    }

    async fn want(&self, wanted: Option<Wanted>) {
        let wish = wanted.map(|wanted| Wish {
            connector: "orders".to_owned(),
            wanted,
            by: "alice".to_owned(),
            at_us: 0,
        });
        let deadline = Instant::now() + Duration::from_secs(23);
        self.member.follow(wish, deadline, self.ends.clone()).await;
    }
}

fn start(steps: impl IntoIterator<Item = Step>) -> (Alone, Arc<Telemetry>) {
    let alone = put_together(steps);
    alone.member.begin(None, alone.ends.clone());
    let telemetry = Arc::clone(&alone.member.telemetry);
    (alone, telemetry)
}

fn put_together(steps: impl IntoIterator<Item = Step>) -> Alone {
    let telemetry = Arc::new(Telemetry::new("orders"));
    let script: Arc<dyn Carrier> = Arc::new(Script(std::sync::Mutex::new(steps.into_iter().collect())));
    Alone {
        member: Member::new("orders", None, Origin::File, (telemetry, script)),
        ends: watch::channel(0).0,
    }
}

fn transient() -> Error {
    Error::transient("source_unreachable", "cannot reach db:5432")
}

#[tokio::test(start_paused = true)]
async fn transient_errors_are_tried_again_until_it_works() {
    let (alone, telemetry) = start([
        Step::Fail(transient()),
        Step::Fail(transient()),
        Step::End(Ended::Drained),
    ]);
    assert_eq!(alone.ended().await, Outcome::Ended);
    assert_eq!(telemetry.snapshot().retries, 2);
    assert_eq!(telemetry.life(), Life::Stopped);
}

#[tokio::test(start_paused = true)]
async fn the_wait_grows_without_progress_and_not_with_it() {
    let without = (0..10)
        .map(|_| Step::Fail(transient()))
        .chain([Step::End(Ended::Drained)]);
    let with = (0..10)
        .map(|_| Step::FailAfterProgress(transient()))
        .chain([Step::End(Ended::Drained)]);
    let begin = tokio::time::Instant::now();
    start(without).0.ended().await;
    let slow = begin.elapsed();
    let begin = tokio::time::Instant::now();
    start(with).0.ended().await;
    let fast = begin.elapsed();
    assert!(slow > Duration::from_secs(40), "{slow:?}");
    assert!(fast <= Duration::from_millis(2500), "{fast:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_that_need_a_person_halt_with_their_code() {
    for error in [
        Error::definite("slot_missing", "the slot is gone"),
        Error::poison("value_unencodable", "row 7"),
    ] {
        let code = error.code();
        let (alone, telemetry) = start([Step::Fail(error)]);
        assert_eq!(alone.ended().await, Outcome::Halted);
        assert_eq!(telemetry.life(), Life::Halted(code.to_owned()));
        assert_eq!(telemetry.snapshot().retries, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_was_fenced_stops_and_does_not_come_back() {
    let (alone, telemetry) = start([Step::Fail(Error::fenced("epoch_fenced", "somebody else has it"))]);
    assert_eq!(alone.ended().await, Outcome::Fenced);
    assert_eq!(telemetry.life(), Life::Stopped);
    assert_eq!(telemetry.snapshot().reason, "somebody else has it");
}

#[tokio::test(start_paused = true)]
async fn a_finished_snapshot_is_an_end_as_asked() {
    let (alone, telemetry) = start([Step::Fail(tailrace_core::snapshot::snapshot_finished())]);
    assert_eq!(alone.ended().await, Outcome::Ended);
    assert_eq!(telemetry.life(), Life::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_seen() {
    let (alone, telemetry) = start([Step::Panic]);
    assert_eq!(alone.ended().await, Outcome::Panicked);
    assert_eq!(telemetry.life(), Life::Halted(PANICKED.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_and_cuts_a_wait_short() {
    let (alone, _) = start([Step::Carry]);
    alone.member.ask_to_end();
    assert_eq!(alone.ended().await, Outcome::Ended);
    let (alone, telemetry) = start([Step::Fail(transient())]);
    tokio::task::yield_now().await;
    alone.member.ask_to_end();
    let begin = tokio::time::Instant::now();
    assert_eq!(alone.ended().await, Outcome::Ended);
    assert!(begin.elapsed() < Duration::from_millis(100));
    assert_eq!(telemetry.life(), Life::Stopped);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_end_is_left_behind_after_the_deadline() {
    let (alone, telemetry) = start([Step::Hang]);
    alone.member.ask_to_end();
    let begin = Instant::now();
    let deadline = begin + Duration::from_secs(23);
    assert_eq!(alone.member.ended(deadline).await, Outcome::DrainTimedOut);
    assert_eq!(begin.elapsed(), Duration::from_secs(23));
    assert_eq!(telemetry.life(), Life::Stopped);
}

async fn until(telemetry: &Telemetry, life: Life) {
    while telemetry.life() != life {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_to_pause_from_the_start_opens_nothing() {
    let alone = put_together([Step::Carry]);
    let wish = Wish {
        connector: "orders".to_owned(),
        wanted: Wanted::Paused,
        by: "alice".to_owned(),
        at_us: 0,
    };
    alone.member.begin(Some(wish), alone.ends.clone());
    let telemetry = &alone.member.telemetry;
    until(telemetry, Life::Paused).await;
    assert!(telemetry.snapshot().reason.contains("paused by alice"));
    alone.want(None).await;
    until(telemetry, Life::Streaming).await;
    alone.want(Some(Wanted::Paused)).await;
    until(telemetry, Life::Paused).await;
    alone.want(Some(Wanted::Stopped)).await;
    assert_eq!(alone.ended().await, Outcome::Ended);
    assert_eq!(telemetry.life(), Life::Stopped);
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_or_halted_begins_anew_when_asked_to_go_on() {
    let halting = Error::definite("slot_missing", "the slot is gone");
    let (alone, telemetry) = start([Step::Carry, Step::Fail(halting), Step::Carry]);
    until(&telemetry, Life::Streaming).await;
    alone.want(Some(Wanted::Stopped)).await;
    assert!(!alone.member.is_finished(), "somebody asked it to end");
    alone.want(None).await;
    until(&telemetry, Life::Halted("slot_missing".to_owned())).await;
    assert_eq!(alone.ended().await, Outcome::Halted);
    alone.want(None).await;
    until(&telemetry, Life::Streaming).await;
    assert!(alone.member.is_alive());
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_gone_before_another_life_begins() {
    let (alone, telemetry) = start([Step::Hang, Step::Carry]);
    tokio::task::yield_now().await;
    alone.want(Some(Wanted::Stopped)).await;
    let begin = Instant::now();
    alone.want(None).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(23));
    until(&telemetry, Life::Streaming).await;
}

/// Is in a state, whatever is wanted of it.
struct Posing(Life);

#[async_trait]
impl Carrier for Posing {
    async fn carry(&self, telemetry: &Arc<Telemetry>, mut desired: watch::Receiver<Desired>) -> Result<Ended> {
        telemetry.enter(self.0.clone(), "because");
        drop(desired.wait_for(|desired| *desired == Desired::Stopped).await);
        Ok(Ended::Drained)
    }
}

impl Supervisor {
    /// A connector that only looks as if it did something; in its state on return.
    pub(crate) async fn pose(&self, name: &str, life: Life) {
        let telemetry = Arc::new(Telemetry::new(name));
        let carrier = Arc::new(Posing(life.clone()));
        let member = Member::new(name, None, Origin::File, (Arc::clone(&telemetry), carrier));
        self.admit(Arc::new(member), None);
        while telemetry.snapshot().reason != "because" {
            tokio::task::yield_now().await;
        }
    }
}
