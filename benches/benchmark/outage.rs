//! W5: doing nothing for a minute, and being killed in the middle of a backlog.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tailrace_tests::servers::{Kafka, Result, ServerError, poll_until};

use crate::backlogs::check;
use crate::failed;
use crate::measurement::{Found, Measurement};
use crate::options::{Mode, Options};
use crate::processes::{Since, Watch, as_float, resident_memory_bytes};
use crate::readers::tailrace::{Prepared, Run};
use crate::readers::{Reader, debezium};
use crate::report::Report;
use crate::source::{Engine, Shape, Source, Table};
use crate::topic::{Seen, consumer, end_of, read_from_beginning};

/// The names of the workload's halves.
pub(crate) const IDLE_NAME: &str = "W5-idle";
pub(crate) const KILL_NAME: &str = "W5-kill";

const DEADLINE: Duration = Duration::from_secs(300);

/// How long the consumer waits for a record before it looks whether it is over.
const POLL: Duration = Duration::from_millis(50);

/// A consumer that reads all along, as one out there would.
struct Follower {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Found>>,
}

#[derive(Default)]
struct Shared {
    records: AtomicU64,
    distinct: AtomicU64,
    /// Whether the next record with a key that was not there before is waited for.
    armed: AtomicBool,
    first_new: Mutex<Option<Instant>>,
    over: AtomicBool,
}

/// Idle once; then the kill, in every round.
pub(crate) async fn run(options: &Options, kafka: &Kafka, report: &mut Report) -> Result<()> {
    idle(options, kafka, report).await?;
    // A quarter of the others' backlog lasts long enough to be killed in the middle of it.
    let rows = if options.mode == Mode::Full {
        options.rows / 4
    } else {
        options.rows
    };
    let source = Engine::Postgres.start(Table::Employees).await?;
    let prepared = Prepared::new(Reader::Kafka, &source, kafka).await?;
    source
        .insert(Table::Employees, 1, rows, Shape::Transactions(500))
        .await?;
    source.settle().await?;
    for round in 1..=options.rounds {
        let measurement = kill(&prepared, &source, kafka, rows, round).await?;
        check(&measurement)?;
        report.add(measurement)?;
    }
    Ok(())
}

/// Both at the same time on the same idle server: neither takes anything from the other.
async fn idle(options: &Options, kafka: &Kafka, report: &mut Report) -> Result<()> {
    let duration = Duration::from_secs(if options.mode == Mode::Full { 60 } else { 1 });
    let source = Engine::Postgres.start(Table::Employees).await?;
    let run = Run::new(Reader::Kafka, &source, kafka, IDLE_NAME).await?;
    run.start_streaming()?;
    let mut other = None;
    if options.readers.contains(&Reader::Debezium) {
        let prefix = format!("{IDLE_NAME}-debezium");
        kafka
            .create_topic(&debezium::topic_of(&source, &prefix), 1, &[])
            .await?;
        let unused = Watch::start();
        other = Some(debezium::Run::start(Reader::Debezium, &source, kafka, &prefix, &unused).await?);
        drop(unused.finish());
    }
    let tailrace = run.daemon.process_id()?;
    let debezium = other.as_ref().and_then(|other| other.worker.process_id());
    let watch = Watch::start();
    watch.follow("tailrace", tailrace, Since::Now);
    debezium
        .into_iter()
        .for_each(|process_id| watch.follow("debezium", process_id, Since::Now));
    std::thread::sleep(duration);
    let mut measurement = Measurement::new(IDLE_NAME, Reader::Kafka.name(), 1, watch.finish());
    measurement.seconds = duration.as_secs_f64();
    for (name, process_id) in [("tailrace", Some(tailrace)), ("debezium", debezium)] {
        if let Some(bytes) = process_id.and_then(resident_memory_bytes) {
            measurement.figure(&format!("{name}_resident_bytes"), as_float(bytes));
        }
    }
    run.daemon.terminate()?;
    report.add(measurement)
}

async fn kill(prepared: &Prepared, source: &Source, kafka: &Kafka, rows: u64, round: u32) -> Result<Measurement> {
    let run = prepared.run(source, kafka, &format!("{KILL_NAME}-{round}")).await?;
    let follower = Follower::start(&kafka.bootstrap(), &run.topic, rows)?;
    let watch = Watch::start();
    let began = Instant::now();
    run.start_on_copied_state()?;
    follower.wait_for("two fifths of the backlog", |shared| {
        Ok(shared.distinct.load(Ordering::Relaxed) * 5 >= rows * 2)
    })?;
    run.daemon.kill9()?;
    // What is in the topic by now was there before: only what comes after it is new.
    let before = follower.read_to_end(&kafka.bootstrap(), &run.topic)?;
    follower.shared.armed.store(true, Ordering::Relaxed);
    let restarted = Instant::now();
    run.daemon.start()?;
    follower.wait_for("the whole backlog", |shared| {
        Ok(shared.distinct.load(Ordering::Relaxed) >= rows)
    })?;
    let ended = Instant::now();
    let cost = watch.finish();
    run.daemon.terminate()?;
    let first_new = *follower.shared.first_new.lock().unwrap_or_else(PoisonError::into_inner);
    let found = follower.finish()?;
    let mut measurement = Measurement::new(KILL_NAME, Reader::Kafka.name(), round, cost);
    measurement.events = found.records;
    measurement.seconds = ended.duration_since(began).as_secs_f64();
    if let Some(first_new) = first_new {
        measurement.figure(
            "restart_to_first_new_event_seconds",
            first_new.duration_since(restarted).as_secs_f64(),
        );
    }
    measurement.figure("records_before_kill", as_float(before));
    measurement.figure("duplicates", as_float(found.records - found.distinct));
    measurement.figure("missing", as_float(found.missing));
    measurement.holds(found);
    run.clean_up(kafka).await?;
    Ok(measurement)
}

// === impl Follower ===

impl Follower {
    fn start(bootstrap: &str, topic: &str, rows: u64) -> Result<Follower> {
        let consumer = consumer(bootstrap)?;
        read_from_beginning(&consumer, topic)?;
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mut seen = Seen::new(rows);
                while !shared.over.load(Ordering::Relaxed) {
                    let Some(message) = consumer.poll(POLL) else {
                        continue;
                    };
                    shared.take(&mut seen, &message.map_err(failed("following the topic"))?);
                }
                Ok(seen.finish())
            })
        };
        Ok(Follower { shared, thread })
    }

    fn wait_for(&self, what: &str, mut is_so: impl FnMut(&Shared) -> Result<bool>) -> Result<()> {
        poll_until(what, DEADLINE, || {
            if self.thread.is_finished() {
                return Err(ServerError::new("the consumer has ended"));
            }
            Ok(is_so(&self.shared)?.then_some(()))
        })
    }

    /// Until it has read what is there now that nobody writes; tells how many records that are.
    fn read_to_end(&self, bootstrap: &str, topic: &str) -> Result<u64> {
        let asking = consumer(bootstrap)?;
        let mut before = None;
        poll_until("reading the topic to its end", DEADLINE, || {
            // Requests that the killed process had sent may still be at work: the end has to stay where it is.
            let end = end_of(&asking, topic)?;
            let has_settled = before.replace(end) == Some(end);
            let read = self.shared.records.load(Ordering::Relaxed);
            Ok((has_settled && read == end).then_some(end))
        })
    }

    fn finish(self) -> Result<Found> {
        self.shared.over.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| ServerError::new("the consumer panicked")).flatten()
    }
}

// === impl Shared ===

impl Shared {
    fn take(&self, seen: &mut Seen, message: &rdkafka::message::BorrowedMessage<'_>) {
        let is_new = seen.add_message(message);
        if is_new && self.armed.swap(false, Ordering::Relaxed) {
            *self.first_new.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.records.store(seen.found.records, Ordering::Relaxed);
        self.distinct.store(seen.found.distinct, Ordering::Relaxed);
    }
}
