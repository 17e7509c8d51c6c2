use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use serde_json::json;
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::telemetry::Life;
use tailrace_core::trace::Tracer;
use tailrace_state::{StateStore, Wanted};
use tokio::sync::watch;

use super::life::Carrier;
use super::offsets::Move;
use super::*;
use crate::config::expand::Surroundings;
use crate::config::plan::AnyPlan;
use crate::config::understand;
use crate::registries::Registries;

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
    lives: Arc<Lives>,
}

impl Alone {
    async fn ended(&self) -> Outcome {
        self.member.ended(Instant::now() + Duration::from_secs(100_000)).await
    }

    fn want(&self, wanted: Option<Wanted>) {
        let wish = wanted.map(|wanted| Wish {
            connector: "orders".to_owned(),
            wanted,
            by: "alice".to_owned(),
            at_us: 0,
        });
        self.member.follow(wish, &self.lives);
    }
}

fn start(steps: impl IntoIterator<Item = Step>) -> (Alone, Arc<Telemetry>) {
    let alone = put_together(steps);
    alone.member.begin(&alone.lives);
    let telemetry = Arc::clone(&alone.member.telemetry);
    (alone, telemetry)
}

fn put_together(steps: impl IntoIterator<Item = Step>) -> Alone {
    Alone {
        member: scripted(None, steps),
        lives: Lives::new(),
    }
}

fn scripted(plan: Option<AnyPlan>, steps: impl IntoIterator<Item = Step>) -> Member {
    let telemetry = Arc::new(Telemetry::new("orders"));
    let script: Arc<dyn Carrier> = Arc::new(Script(std::sync::Mutex::new(steps.into_iter().collect())));
    Member::new("orders", plan, Origin::File, (telemetry, script))
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
async fn who_is_paused_while_it_is_tried_again_is_paused_and_not_in_trouble() {
    let (alone, telemetry) = start([Step::Fail(transient()), Step::End(Ended::Drained)]);
    until(&telemetry, Life::Degraded(transient().code().to_owned())).await;
    alone.want(Some(Wanted::Paused));
    until(&telemetry, Life::Paused).await;
    assert_eq!(telemetry.snapshot().retries, 1);
    alone.want(None);
    assert_eq!(alone.ended().await, Outcome::Ended);
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
async fn who_does_not_end_is_cut_off_at_the_deadline() {
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
    alone.member.take_down(Some(wish));
    alone.member.begin(&alone.lives);
    let telemetry = &alone.member.telemetry;
    until(telemetry, Life::Paused).await;
    assert!(telemetry.snapshot().reason.contains("paused by alice"));
    alone.want(None);
    until(telemetry, Life::Streaming).await;
    alone.want(Some(Wanted::Paused));
    until(telemetry, Life::Paused).await;
    alone.want(Some(Wanted::Stopped));
    assert_eq!(alone.ended().await, Outcome::Ended);
    assert_eq!(telemetry.life(), Life::Stopped);
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_or_halted_begins_anew_when_asked_to_go_on() {
    let halting = Error::definite("slot_missing", "the slot is gone");
    let (alone, telemetry) = start([Step::Carry, Step::Fail(halting), Step::Carry]);
    until(&telemetry, Life::Streaming).await;
    alone.want(Some(Wanted::Stopped));
    assert!(!alone.member.is_finished(), "somebody asked it to end");
    assert!(!alone.member.is_stopped(), "it drains");
    assert_eq!(alone.ended().await, Outcome::Ended);
    assert!(alone.member.is_stopped());
    alone.want(None);
    until(&telemetry, Life::Halted("slot_missing".to_owned())).await;
    assert_eq!(alone.ended().await, Outcome::Halted);
    alone.want(None);
    until(&telemetry, Life::Streaming).await;
    assert!(alone.member.is_alive());
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_for_an_end_waits() {
    let (alone, _) = start([Step::Hang]);
    alone.member.ask_to_end();
    let soon = Instant::now() + Duration::from_secs(23);
    let later = soon + Duration::from_secs(10);
    let ended = tokio::join!(alone.member.ended(soon), alone.member.ended(later));
    assert_eq!(ended, (Outcome::DrainTimedOut, Outcome::DrainTimedOut));
    assert_eq!(Instant::now(), soon);
}

#[tokio::test(start_paused = true)]
async fn only_who_ended_against_every_wish_has_given_up() {
    for (step, expected) in [
        (Step::Fail(Error::fenced("epoch_fenced", "somebody else has it")), true),
        (Step::Fail(Error::definite("slot_missing", "the slot is gone")), true),
        (Step::Panic, true),
        (Step::Fail(tailrace_core::snapshot::snapshot_finished()), false),
        (Step::End(Ended::DrainTimedOut), false),
    ] {
        let (alone, _) = start([step]);
        assert!(!alone.member.has_given_up(), "it has not ended");
        let outcome = alone.ended().await;
        assert_eq!(alone.member.has_given_up(), expected, "{outcome:?}");
    }
}

// --- together with what is kept and with other requests

const ORDERS: &str = "
  orders:
    stream: events
    format: {envelope: debezium}
    source: {type: postgres, url: \"postgres://u@127.0.0.1:1/shop\", tables: [public.t]}";

fn plan(folder: &Path, connectors: &str) -> Plan {
    let events = folder.join("events");
    let text = format!(
        "version: 1\nstreams:\n  events: {{type: file, path: \"{}\"}}\n{connectors}",
        events.display()
    );
    understand("x.yaml", text.as_bytes(), &Surroundings::of(&[])).unwrap()
}

/// Those of a file; a drain takes a second at most.
async fn all_of(folder: &Path, connectors: &str) -> Arc<Supervisor> {
    Supervisor::in_folder(folder, &plan(folder, connectors)).await
}

/// A connector that follows a script, among all.
async fn among_all(folder: &Path, steps: impl IntoIterator<Item = Step>) -> (Arc<Supervisor>, Arc<Member>) {
    let supervisor = all_of(folder, "").await;
    let orders = plan(folder, &format!("connectors:{ORDERS}")).all().next();
    let member = supervisor.admit(scripted(orders, steps), None);
    (supervisor, member)
}

/// The longest that an end may take.
const END: Duration = Duration::from_secs(1).saturating_add(GRACE);

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_off_what_hangs_before_anybody_else_has_a_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (supervisor, member) = among_all(folder.path(), [Step::Hang, Step::Carry]).await;
    tokio::task::yield_now().await;
    let begin = Instant::now();
    supervisor.want("orders", Some(Wanted::Stopped), "alice").await.unwrap();
    assert!(!member.is_stopped(), "it hangs");
    let (there, turn) = supervisor.turn("orders").await.unwrap();
    assert!(there.is_stopped());
    assert!(begin.elapsed() >= END);
    drop(turn);
    supervisor.want("orders", None, "alice").await.unwrap();
    until(&member.telemetry, Life::Streaming).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_progress_begins_nothing_when_the_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    // A second life would find nothing in the script.
    let (supervisor, member) = among_all(folder.path(), [Step::Hang]).await;
    tokio::task::yield_now().await;
    let asked = Arc::clone(&supervisor);
    let restart = task::spawn_named("restart", async move { asked.restart("orders", "alice").await });
    while member.changing.try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    assert_eq!(supervisor.stop().await, Outcome::DrainTimedOut);
    assert!(begin.elapsed() >= END, "the drain has its time");
    assert!(!member.is_alive());
    restart.await.unwrap().unwrap();
    assert!(!member.is_alive());
    let refused = supervisor.want("orders", None, "alice").await.unwrap_err();
    assert_eq!(refused.code(), "closing");
    let late = supervisor.admit(scripted(None, []), None);
    assert!(!late.is_alive());
}

#[tokio::test]
async fn weighing_a_move_fences_nobody_and_is_for_what_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = all_of(folder.path(), &format!("connectors:{ORDERS}")).await;
    supervisor.want("orders", Some(Wanted::Stopped), "alice").await.unwrap();
    drop(supervisor.turn("orders").await.unwrap());
    let state = &supervisor.assembly.state;
    let store = state.connector("orders").await.unwrap();
    store.remember(&json!({})).await.unwrap();
    let offset = serde_json::from_value(json!({ "position": "0/16B3748" })).unwrap();
    let moves = [Move::Source(Some(offset))];
    let unreachable = supervisor.weigh("orders", &moves).await.unwrap_err();
    assert_eq!(
        unreachable.kind(),
        tailrace_core::error::Kind::Transient,
        "{unreachable}"
    );
    store.recall().await.expect("whoever has it open has it still");
    supervisor.want("orders", None, "alice").await.unwrap();
    let running = supervisor.weigh("orders", &moves).await.unwrap_err();
    assert_eq!(running.code(), "connector_not_stopped");
    supervisor.stop().await;
}

/// Is in a state, whatever is wanted of it.
struct Posing {
    life: Life,
    listens: bool,
}

#[async_trait]
impl Carrier for Posing {
    async fn carry(&self, telemetry: &Arc<Telemetry>, mut desired: watch::Receiver<Desired>) -> Result<Ended> {
        if self.life == Life::Stopped {
            // Against every wish.
            return Err(Error::fenced("partition_taken", "because"));
        }
        telemetry.enter(self.life.clone(), "because");
        drop(
            desired
                .wait_for(|desired| *desired == Desired::Stopped && self.listens)
                .await,
        );
        Ok(Ended::Drained)
    }
}

impl Supervisor {
    /// All connectors of a plan, with their state in a folder.
    pub(crate) async fn in_folder(folder: &Path, plan: &Plan) -> Arc<Self> {
        let state = StateStore::open(&folder.join("state.db")).await.unwrap();
        let assembly = Assembly {
            streams: [("events".to_owned(), plan.streams["events"].connect().unwrap())].into(),
            stream_kinds: [("events".to_owned(), "file")].into(),
            registries: Registries::connect(plan, &state).unwrap(),
            state: state.clone(),
            shutdown_timeout: Duration::from_secs(1),
            tracer: Tracer::default(),
        };
        let (journal, _) = Journal::new(state);
        Self::start(plan, assembly, journal).await.unwrap()
    }

    /// A connector that only looks as if it did something; in its state on return. One that is called `deaf` does not end when it is asked to.
    pub(crate) async fn pose(&self, name: &str, life: Life) {
        let telemetry = Arc::new(Telemetry::new(name));
        let carrier = Arc::new(Posing {
            life: life.clone(),
            listens: name != "deaf",
        });
        let member = Member::new(name, None, Origin::File, (Arc::clone(&telemetry), carrier));
        let member = self.admit(member, None);
        while telemetry.snapshot().reason != "because" || member.is_alive() == (life == Life::Stopped) {
            tokio::task::yield_now().await;
        }
    }
}
