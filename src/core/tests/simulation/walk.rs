//! One walk: pipelines are started, disturbed, paused, stopped and killed, each from what the one before has left; then the
//! faults cease, and everything must come right within a bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::RngExt;
use tailrace_core::dead_letter::{DeadLetterConfig, LetterPolicy};
use tailrace_core::error::{Kind, Result};
use tailrace_core::pipeline::source::{DeadLetters, Limits, SourcePipeline};
use tailrace_core::pipeline::{Desired, Ended};
use tailrace_core::ports::{Budget, CheckpointStore, ConnectorStore, EventStream};
use tailrace_core::position::Progress;
use tailrace_core::schema_change::SchemaChangePublisher;
use tailrace_core::snapshot::{RunStage, log_position};
use tailrace_core::telemetry::Telemetry;
use tailrace_core::transform::{Rule, Transform, TransformConfig};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::asking;
use crate::connector;
use crate::database::{Committed, TABLES, table_name};
use crate::store::{self, ModelStore};
use crate::stream::{ModelEncoder, ModelStream};
use crate::world::{State, World, pass};

/// Pipelines of one walk, before the faults cease.
const LIVES: std::ops::Range<usize> = 2..9;
/// Steps of one life.
const STEPS: std::ops::Range<usize> = 3..40;
/// Virtual time in which everything must be carried once faults have ceased.
const BOUND: Duration = Duration::from_secs(3600);
/// What ports may take besides, when they only wait a little.
const SLACK: Duration = Duration::from_secs(10);
/// What a batch takes at least, however little is in it: where it is not counted, a source that only says that it is there
/// fills the memory behind an answer that does not come.
const BATCH_BYTES: usize = 256;

/// What a walk leaves behind.
pub(crate) struct Report {
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) seen: BTreeMap<&'static str, usize>,
}

/// A future that dies at one of its await points.
struct Mortal<'a> {
    inner: BoxFuture<'a, Result<Ended>>,
    polls_left: Arc<AtomicUsize>,
}

/// How a life ended.
enum End {
    Result(Result<Ended>),
    Died,
}

/// A pipeline that runs, and what was asked of it.
struct Life {
    run: Mortal<'static>,
    desired: watch::Sender<Desired>,
    polls_left: Arc<AtomicUsize>,
    telemetry: Arc<Telemetry>,
    stopped_at: Option<Instant>,
    /// Batches that were handed out when it was asked not to read.
    read_until: Option<usize>,
    fenced: bool,
}

struct Walk {
    world: Arc<World>,
    configured: BTreeSet<usize>,
}

/// Walks through one seed.
pub(crate) fn walk(seed: u64, trusts_the_log: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(async {
        let world = World::new(seed, trusts_the_log);
        let mut walk = Walk {
            world: Arc::clone(&world),
            configured: [0, 1].into(),
        };
        walk.go().await;
        world.with(|state| Report {
            violation: state.journal.violation.take(),
            trace: std::mem::take(&mut state.journal.lines),
            seen: std::mem::take(&mut state.journal.seen),
        })
    })
}

// === impl Mortal ===

impl Future for Mortal<'_> {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        let polled = self.inner.as_mut().poll(context);
        if let Poll::Ready(result) = polled {
            return Poll::Ready(End::Result(result));
        }
        if self.polls_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            return Poll::Ready(End::Died);
        }
        Poll::Pending
    }
}

// === impl Walk ===

impl Walk {
    async fn go(&mut self) {
        let lives = self.world.with(|state| {
            let before = state.dice.random_range(0..30);
            (0..before).for_each(|_| state.database.commit(&mut state.dice));
            state.dice.random_range(LIVES)
        });
        for _ in 0..lives {
            self.live().await;
            if self.is_over() {
                return;
            }
        }
        self.come_right().await;
    }

    fn is_over(&self) -> bool {
        self.world.with(|state| state.journal.violation.is_some())
    }

    /// One pipeline, from its start to its end.
    async fn live(&mut self) {
        self.reconfigure();
        let mut life = self.start();
        let steps = self.world.with(|state| state.dice.random_range(STEPS));
        for _ in 0..steps {
            if let Some(end) = life.step(&self.world).await {
                return self.ended(life, end).await;
            }
            if self.is_over() {
                return;
            }
        }
        let killed = self.world.with(|state| state.dice.random_bool(0.5));
        if killed {
            return self.ended(life, End::Died).await;
        }
        life.ask(&self.world, Desired::Stopped);
        let deadline = self.world.with(|state| state.profile.drain_timeout) + SLACK;
        match tokio::time::timeout(deadline, &mut life.run).await {
            Ok(end) => self.ended(life, end).await,
            Err(_) => self.world.judge(Err("a stop was not obeyed in time".to_owned())),
        }
    }

    /// Somebody adds a table to the configuration.
    fn reconfigure(&mut self) {
        let added = self.world.with(|state| {
            let streaming = state.profile.rows_first && state.oracle.saved.is_some();
            streaming && state.dice.random_ratio(1, 4)
        });
        if added && self.configured.insert(TABLES - 1) {
            self.world.with(|state| {
                state.journal.count("table added");
                state.journal.note("a table is added");
            });
        }
    }

    fn start(&self) -> Life {
        let (desired, wanted) = watch::channel(Desired::Running);
        let telemetry = Arc::new(Telemetry::new("walk"));
        let world = Arc::clone(&self.world);
        let store = ModelStore::open(&world);
        let run = carry(world, store, self.configured.clone(), Arc::clone(&telemetry), wanted);
        let polls = self.world.with(|state| {
            let stored = state.storage.checkpoint();
            let verdict = state.oracle.life_begins(stored.as_ref());
            state.journal.judge(verdict);
            if std::mem::take(&mut state.oracle.goes_on) {
                state.journal.count("snapshot goes on");
            }
            state.journal.note("--- a pipeline starts");
            let likelihood = state.profile.crashes * 4.0;
            if state.fault(likelihood) {
                state.dice.random_range(1..60)
            } else {
                usize::MAX
            }
        });
        let polls_left = Arc::new(AtomicUsize::new(polls));
        Life {
            run: Mortal {
                inner: Box::pin(run),
                polls_left: Arc::clone(&polls_left),
            },
            desired,
            polls_left,
            telemetry,
            stopped_at: None,
            read_until: None,
            fenced: false,
        }
    }

    /// Judges how a pipeline ended, and does what the supervisor does then.
    async fn ended(&self, life: Life, end: End) {
        let Life {
            run,
            stopped_at,
            fenced,
            ..
        } = life;
        drop(run);
        let stopped_for = stopped_at.map(|at| at.elapsed());
        let kind = self.world.with(|state| {
            let verdict = match end {
                End::Died => {
                    state.journal.note("--- it is killed");
                    state.journal.count("killed");
                    store::crash(state);
                    return None;
                }
                End::Result(Ok(ended)) => {
                    state.journal.note(format!("--- it ends: {ended:?}"));
                    judge_end(state, ended, stopped_for)
                }
                End::Result(Err(error)) => {
                    state.journal.note(format!("--- it ends with {}", error.code()));
                    let raised = &state.oracle.life.raised;
                    // What the stream refuses of a replay must not stop the connector at each start.
                    let known = raised.contains(&error.code())
                        || (error.code() == "replay_refused" && raised.contains(&"scripted_definite"));
                    let verdict = known
                        .then_some(())
                        .ok_or_else(|| format!("nobody raised {}: {}", error.code(), error.report()));
                    state.journal.judge(verdict);
                    return Some(error.kind());
                }
            };
            state.journal.judge(verdict);
            None
        });
        match kind {
            None => {}
            Some(Kind::Transient) => pass(Duration::from_millis(250)).await,
            // A person looks at it in the morning.
            Some(Kind::Definite | Kind::Poison) => pass(Duration::from_secs(3600)).await,
            Some(Kind::Fenced) => {
                let verdict = fenced.then_some(()).ok_or_else(|| "it was fenced by nobody".to_owned());
                self.world.judge(verdict);
            }
        }
    }

    /// Every row is asked for once more, and must come. False where the pipeline has ended instead.
    async fn last_snapshot(&self, life: &mut Life) -> bool {
        asking::resume(&self.world);
        asking::ask_for_all(&self.world);
        let over = |state: &mut State| {
            state.oracle.finished_runs > state.asked_before_end && state.oracle.is_caught_up(&state.database)
        };
        self.world
            .with(|state| state.asked_before_end = state.oracle.finished_runs);
        let deadline = Instant::now() + BOUND;
        let mut asked_at = Instant::now();
        while !self.world.with(over) {
            tokio::select! {
                biased;
                end = &mut life.run => {
                    drop(end);
                    self.world.judge(Err("it ended while every row was asked for".to_owned()));
                    return false;
                }
                () = pass(Duration::from_millis(100)) => {}
            }
            if asked_at.elapsed() > Duration::from_secs(10) {
                // It was refused while the first snapshot was read, or somebody who had waited for long has paused it.
                match self.world.snapshots.state().state {
                    RunStage::Running => {}
                    RunStage::Paused => asking::resume(&self.world),
                    RunStage::None | RunStage::Finished | RunStage::Aborted => asking::ask_for_all(&self.world),
                }
                asked_at = Instant::now();
            }
            if Instant::now() > deadline || self.is_over() {
                self.world
                    .judge(Err("not every row came that was asked for".to_owned()));
                return false;
            }
        }
        self.world.with(|state| state.journal.count("snapshot finished"));
        true
    }

    /// Faults cease, and everything must come right.
    async fn come_right(&mut self) {
        self.world.with(|state| {
            state.calm = true;
            state.database.show_all();
            state.mended = true;
            state.journal.note("=== faults cease");
            (0..5).for_each(|_| state.database.commit(&mut state.dice));
        });
        let mut life = self.start();
        let deadline = Instant::now() + BOUND;
        let done = |state: &mut State| state.oracle.is_caught_up(&state.database) && state.storage.has_no_letters();
        while !self.world.with(done) {
            if self.world.with(|state| state.storage.ask_for_letters()) > 0 {
                self.world.desk.ask();
            }
            let look_again = pass(Duration::from_millis(100));
            tokio::select! {
                biased;
                end = &mut life.run => {
                    let how = match end {
                        End::Died => "died".to_owned(),
                        End::Result(result) => format!("{result:?}"),
                    };
                    return self.world.judge(Err(format!("without faults it ended: {how}")));
                }
                () = look_again => {}
            }
            if Instant::now() > deadline || self.is_over() {
                return self.world.judge(Err("not everything was carried in time".to_owned()));
            }
        }
        if !self.last_snapshot(&mut life).await {
            return;
        }
        life.ask(&self.world, Desired::Stopped);
        let end = (&mut life.run).await;
        self.ended(life, end).await;
        self.world.with(|state| {
            let verdict = state.oracle.is_complete(&state.database);
            state.journal.judge(verdict);
        });
    }
}

/// A pipeline that was asked to end must have said how.
fn judge_end(state: &mut State, ended: Ended, stopped_for: Option<Duration>) -> Result<(), String> {
    let Some(stopped_for) = stopped_for else {
        return Err(format!("it ended with {ended:?}, and nobody asked"));
    };
    let oracle = &state.oracle;
    match ended {
        Ended::Drained => {
            state.journal.count("drained");
            let saved = oracle.saved.as_ref().map(|checkpoint| of_the_log(&checkpoint.progress));
            let saved = saved.as_ref();
            let handed_out = oracle.life.handed_out.as_ref();
            if !oracle.life.raised.is_empty() {
                return Err(format!("it drained, and {:?} had been raised", oracle.life.raised));
            }
            match handed_out {
                Some(_) if saved != handed_out => {
                    Err(format!("it drained; {handed_out:?} was read, {saved:?} is saved"))
                }
                _ => Ok(()),
            }
        }
        Ended::DrainTimedOut => {
            state.journal.count("drain timed out");
            let patient = stopped_for >= state.profile.drain_timeout;
            patient
                .then_some(())
                .ok_or_else(|| format!("it gave up after {stopped_for:?}"))
        }
    }
}

/// Progress without the snapshot that is under way.
fn of_the_log(progress: &Progress) -> Progress {
    Progress {
        position: log_position(&progress.position).unwrap(),
        partial: progress.partial.clone(),
    }
}

/// What the daemon does at each attempt: state first, then the stream, then the source, then the loop.
async fn carry(
    world: Arc<World>,
    store: Arc<ModelStore>,
    configured: BTreeSet<usize>,
    telemetry: Arc<Telemetry>,
    desired: watch::Receiver<Desired>,
) -> Result<Ended> {
    let mut stop = desired.clone();
    let opening = async {
        let stream = Arc::new(ModelStream(Arc::clone(&world)));
        let saved = store.load().await?;
        let producer = stream.producer().await?;
        let resume = saved.as_ref().map(|checkpoint| checkpoint.progress.clone());
        let store: Arc<dyn ConnectorStore> = store;
        let source = connector::open(&world, Arc::clone(&store), configured, resume).await?;
        let (limits, transform) = world.with(|state| (limits(state), transform(state)));
        let pipeline = SourcePipeline {
            source,
            transform,
            encoder: Box::new(ModelEncoder(Arc::clone(&world))),
            stream,
            producer,
            store,
            schema_changes: SchemaChangePublisher {
                connector: "test".to_owned(),
                topic: None,
                listener: None,
            },
            telemetry,
            limits,
            dead_letters: dead_letters(&world),
        };
        Ok((pipeline, saved))
    };
    let (pipeline, saved) = tokio::select! {
        biased;
        asked = stop.wait_for(|desired| *desired == Desired::Stopped) => {
            drop(asked);
            return Ok(Ended::Drained);
        }
        opened = opening => opened?,
    };
    pipeline.run(saved.as_ref(), desired).await
}

fn limits(state: &State) -> Limits {
    Limits {
        batch: Budget {
            changes: state.profile.changes_per_batch,
            bytes: usize::MAX,
        },
        in_flight_bytes: state.profile.in_flight_bytes,
        checkpoint_interval: state.profile.checkpoint_interval,
        drain_timeout: state.profile.drain_timeout,
    }
}

fn dead_letters(world: &World) -> DeadLetters {
    let order = world.with(|state| state.profile.letters);
    let config = DeadLetterConfig {
        policy: if order.is_some() {
            LetterPolicy::Store
        } else {
            LetterPolicy::Halt
        },
        order: order.unwrap_or_default(),
        maximum_count: u64::MAX,
        ..DeadLetterConfig::default()
    };
    let mut rules = DeadLetters::new("walk", config, "letters".into());
    rules.desk = Arc::clone(&world.desk);
    rules
}

fn transform(state: &State) -> Transform {
    let rule = |table: usize| Rule {
        tables: Some(vec![table_name(table)]),
        drop: true,
        ..Rule::default()
    };
    let rules = state.profile.leaves_out.map(rule).into_iter().collect();
    Transform::new(&TransformConfig { rules }, None).unwrap()
}

// === impl Life ===

impl Life {
    /// Something happens, and then time passes. `Some` where the pipeline has ended.
    async fn step(&mut self, world: &Arc<World>) -> Option<End> {
        let wait = world.with(|state| {
            self.disturb(state);
            if state.dice.random_ratio(1, 15) {
                state.dice.random_range(1000..15_000)
            } else {
                state.dice.random_range(0..400)
            }
        });
        self.control(world);
        let asked = world.with(|state| {
            if state.dice.random_ratio(1, 12) {
                state.mended = !state.mended;
                state.journal.note(format!("mended: {}", state.mended));
            }
            let asks = state.dice.random_ratio(1, 6);
            asks.then(|| state.storage.ask_for_letters())
        });
        if asked.is_some_and(|letters| letters > 0) {
            world.with(|state| state.journal.note("letters are asked for"));
            world.desk.ask();
        }
        if world.with(|state| state.dice.random_ratio(1, 8)) {
            asking::something(world);
        }
        // Held answers go now and then, so that the oldest is not held for ever.
        if world.with(|state| state.dice.random_ratio(1, 6)) {
            world.gates.notify_waiters();
        }
        world.committed.notify_waiters();
        let end = tokio::select! {
            biased;
            end = &mut self.run => Some(end),
            () = pass(Duration::from_millis(wait)) => None,
        };
        self.check(world);
        end
    }

    /// The database changes, or the process is about to die.
    fn disturb(&mut self, state: &mut State) {
        match state.dice.random_range(0..20) {
            0..12 => {
                let transactions = state.dice.random_range(1..4);
                for _ in 0..transactions {
                    state.database.commit(&mut state.dice);
                    if state.dice.random_ratio(1, 2) {
                        state.database.show_oldest();
                    }
                    let committed = &state.database.log[state.database.log.len() - 1];
                    let Committed { position, changes } = committed;
                    state
                        .journal
                        .note(format!("database: {} changes committed at {position}", changes.len()));
                }
            }
            12..15 => state.database.write_elsewhere(),
            15 => {
                let table = state.dice.random_range(0..TABLES);
                state.database.define(table);
                state.journal.note(format!("database: table {table} is altered"));
            }
            _ => {}
        }
        let likelihood = state.profile.crashes;
        if state.fault(likelihood) {
            self.polls_left.store(state.dice.random_range(1..80), Ordering::Relaxed);
        }
    }

    /// Somebody wants something else, or somebody else wants the connector.
    fn control(&mut self, world: &World) {
        let now = *self.desired.borrow();
        match (now, world.with(|state| state.dice.random_range(0..60))) {
            (Desired::Running, 0..4) => self.ask(world, Desired::Paused),
            (Desired::Paused, 0..20) => self.ask(world, Desired::Running),
            (Desired::Running | Desired::Paused, 20) => self.ask(world, Desired::Stopped),
            (_, 21) if !self.fenced => {
                self.fenced = true;
                world.with(|state| {
                    state.storage.epoch += 1;
                    state.journal.note("somebody else opens the store");
                });
            }
            _ => {}
        }
    }

    fn ask(&mut self, world: &World, desired: Desired) {
        world.with(|state| {
            state.journal.note(format!("asked for: {desired:?}"));
            state.journal.count(match desired {
                Desired::Running => "resume",
                Desired::Paused => "pause",
                Desired::Stopped => "stop",
            });
            self.read_until = (desired != Desired::Running).then_some(state.oracle.life.batches);
        });
        if desired == Desired::Stopped {
            self.stopped_at.get_or_insert(Instant::now());
        }
        self.desired.send_replace(desired);
    }

    /// What must hold at any time.
    fn check(&self, world: &World) {
        let in_flight = self.telemetry.numbers.batches_in_flight.load(Ordering::Relaxed);
        let (read, budget) = world.with(|state| (state.oracle.life.batches, state.profile.in_flight_bytes));
        if self.read_until.is_some_and(|until| read > until) {
            world.judge(Err(format!("asked for {:?}, it read on", *self.desired.borrow())));
        }
        if in_flight > u64::try_from(budget / BATCH_BYTES + 1).unwrap() {
            world.judge(Err(format!("{in_flight} batches are in flight in {budget} bytes")));
        }
    }
}
