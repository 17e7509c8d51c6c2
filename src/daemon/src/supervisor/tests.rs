use std::collections::VecDeque;
use std::sync::Mutex;

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

struct Script(Mutex<VecDeque<Step>>);

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

fn start(steps: impl IntoIterator<Item = Step>) -> (Supervisor, Arc<Telemetry>) {
    let telemetry = Arc::new(Telemetry::new("orders"));
    let script: Arc<dyn Carrier> = Arc::new(Script(Mutex::new(steps.into_iter().collect())));
    let supervisor = Supervisor::start(vec![(Arc::clone(&telemetry), script)], Duration::from_secs(20));
    (supervisor, telemetry)
}

fn transient() -> Error {
    Error::transient("source_unreachable", "cannot reach db:5432")
}

#[tokio::test(start_paused = true)]
async fn transient_errors_are_tried_again_until_it_works() {
    let (mut supervisor, telemetry) = start([
        Step::Fail(transient()),
        Step::Fail(transient()),
        Step::End(Ended::Drained),
    ]);
    assert_eq!(supervisor.ended().await, Outcome::Ended);
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
        let (mut supervisor, telemetry) = start([Step::Fail(error)]);
        assert_eq!(supervisor.ended().await, Outcome::Halted);
        assert_eq!(telemetry.life(), Life::Halted(code.to_owned()));
        assert_eq!(telemetry.snapshot().retries, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_was_fenced_stops_and_does_not_come_back() {
    let (mut supervisor, telemetry) = start([Step::Fail(Error::fenced("epoch_fenced", "somebody else has it"))]);
    assert_eq!(supervisor.ended().await, Outcome::Fenced);
    assert_eq!(telemetry.life(), Life::Stopped);
    assert_eq!(telemetry.snapshot().reason, "somebody else has it");
}

#[tokio::test(start_paused = true)]
async fn a_finished_snapshot_is_an_end_as_asked() {
    let (mut supervisor, telemetry) = start([Step::Fail(tailrace_core::snapshot::snapshot_finished())]);
    assert_eq!(supervisor.ended().await, Outcome::Ended);
    assert_eq!(telemetry.life(), Life::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_seen() {
    let (mut supervisor, telemetry) = start([Step::Panic]);
    assert_eq!(supervisor.ended().await, Outcome::Panicked);
    assert_eq!(telemetry.life(), Life::Halted(PANICKED.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_and_cuts_a_wait_short() {
    let (mut supervisor, _) = start([Step::Carry]);
    supervisor.stop();
    assert_eq!(supervisor.ended().await, Outcome::Ended);
    let (mut supervisor, telemetry) = start([Step::Fail(transient())]);
    tokio::task::yield_now().await;
    supervisor.stop();
    let begin = tokio::time::Instant::now();
    assert_eq!(supervisor.ended().await, Outcome::Ended);
    assert!(begin.elapsed() < Duration::from_millis(100));
    assert_eq!(telemetry.life(), Life::Stopped);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_end_is_left_behind_after_the_deadline() {
    let (mut supervisor, telemetry) = start([Step::Hang]);
    supervisor.stop();
    let begin = tokio::time::Instant::now();
    assert_eq!(supervisor.ended().await, Outcome::DrainTimedOut);
    assert_eq!(begin.elapsed(), Duration::from_secs(23));
    assert_eq!(telemetry.life(), Life::Stopped);
}
