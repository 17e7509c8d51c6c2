//! W3: inserts, updates and deletes in equal parts at a fixed rate; how long until a consumer has them.
//!
//! ```text
//!   change k = 0, 1, 2 …    row k / 3 + 1:  insert, update, delete
//!   a thousand transactions a second, of 1, 5 or 10 changes, each sent when its time has come, answered or not
//!
//!   scheduled ────▶ commit ────────────────────▶ arrival
//!                   (the log's own timestamp)    (the consumer has it; same clock)
//! ```
//!
//! The generator never waits for an answer, so that a server or a reader that stops for a while is not spared the changes
//! that would have come meanwhile (coordinated omission); the latency is given from the commit and also from the time that
//! each change was scheduled for. There is one partition: the records have to come in the order of the changes, without a
//! gap and without a repetition, or the measurement fails.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use tailrace_tests::servers::{Kafka, Result, ServerError};
use tokio_postgres::{Client, Statement};

use crate::failed;
use crate::measurement::Measurement;
use crate::options::{Mode, Options};
use crate::processes::{Since, Watch, as_float};
use crate::readers::tailrace::{Run, slot_of};
use crate::readers::{Reader, debezium};
use crate::report::Report;
use crate::source::Source;
use crate::source::postgres::PostgresSource;
use crate::topic::{consumer, number_in, read_from_beginning};

/// The name of the workload.
pub(crate) const NAME: &str = "W3";

/// Changes come in so many transactions a second at every rate: their size differs.
const TRANSACTIONS_PER_SECOND: u64 = 1000;

/// Not counted: connections and compilers warm up.
const WARM_UP_SECONDS: u64 = 2;

/// Bytes of the rows, in turn.
const ROW_BYTES: [usize; 4] = [100, 200, 400, 1600];

/// Text that rows are cut from, each at another place.
const TEXT_BYTES: usize = 1 << 20;

/// A record that has not come by then will not come.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(60);

/// One statement is one transaction.
const SCHEMA: &str = "
    create table changes (id bigint primary key, version int not null, payload text not null);
    create publication benchmark for table changes;
    create function apply_changes(first bigint, payloads text[]) returns void language plpgsql as $$
    declare k bigint; row_id bigint;
    begin
        for i in 1 .. cardinality(payloads) loop
            k := first + i - 1;
            row_id := k / 3 + 1;
            case k % 3
                when 0 then insert into changes values (row_id, 1, payloads[i]);
                when 1 then update changes set version = 2, payload = payloads[i] where id = row_id;
                else delete from changes where id = row_id;
            end case;
        end loop;
    end $$";

/// One rate for some time.
#[derive(Clone, Copy, Debug)]
struct Stage {
    rate: u64,
    seconds: u64,
    /// Number of the first change.
    first: u64,
}

/// When one change came, microseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    committed_us: i64,
    arrived_us: i64,
}

/// Makes changes.
struct Generator {
    client: Client,
    statement: Statement,
    text: String,
    next: u64,
}

/// Where records of changes are read.
struct Reading {
    consumer: BaseConsumer,
    /// Number of the next change.
    next: u64,
}

/// Ours in every round; Debezium once.
pub(crate) async fn run(options: &Options, kafka: &Kafka, report: &mut Report) -> Result<()> {
    let source = Source::Postgres(PostgresSource::start("changes", SCHEMA).await?);
    let mut generator = Generator::new(&source).await?;
    for round in 1..=options.rounds {
        for reader in options.readers.iter().copied() {
            let is_measured = reader == Reader::Kafka || (reader.is_debezium() && round == 1);
            if is_measured {
                report.note(&format!("{NAME} {} round {round}", reader.name()));
                follow(reader, &source, &mut generator, (options, kafka, round), report).await?;
            }
        }
    }
    Ok(())
}

/// One reader at every rate.
async fn follow(
    reader: Reader,
    source: &Source,
    generator: &mut Generator,
    (options, kafka, round): (&Options, &Kafka, u32),
    report: &mut Report,
) -> Result<()> {
    let prefix = format!("{NAME}-{}-{round}", reader.name());
    let starting = Watch::start();
    let (ours, theirs) = if reader.is_debezium() {
        let topic = debezium::topic_of(source, &prefix);
        kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]).await?;
        let run = debezium::Run::start(reader, source, kafka, &prefix, &starting).await?;
        (None, Some(run))
    } else {
        let run = Run::new(reader, source, kafka, &prefix).await?;
        run.start_streaming()?;
        (Some(run), None)
    };
    drop(starting.finish());
    let topic = ours
        .as_ref()
        .map(|run| &run.topic)
        .or(theirs.as_ref().map(|run| &run.topic));
    let mut reading = Reading::start(&kafka.bootstrap(), topic.map_or("", String::as_str), generator.next)?;
    for (rate, seconds) in stages(options.mode) {
        let first = generator.next;
        let stage = Stage { rate, seconds, first };
        let watch = Watch::start();
        if let Some(run) = &ours {
            watch.follow("tailrace", run.daemon.process_id()?, Since::Now);
        }
        if let Some(process_id) = theirs.as_ref().and_then(|run| run.worker.process_id()) {
            watch.follow("debezium", process_id, Since::Now);
        }
        let slot = if reader.is_debezium() {
            reader.name().to_owned()
        } else {
            slot_of(reader)
        };
        source.follow_server(&watch, &slot, Since::Now).await?;
        kafka
            .process_id()
            .into_iter()
            .for_each(|broker| watch.follow("broker", broker, Since::Now));
        let (back, arrivals, started_us) = measure(stage, generator, reading).await?;
        reading = back;
        let mut measurement = Measurement::new(NAME, reader.name(), round, watch.finish());
        measurement.events = arrivals.len() as u64;
        measurement.seconds = as_float(seconds);
        latencies(&mut measurement, stage, &arrivals, started_us);
        report.add(measurement)?;
    }
    drop((ours, theirs));
    source
        .postgres()?
        .drop_slot(&if reader.is_debezium() {
            reader.name().to_owned()
        } else {
            slot_of(reader)
        })
        .await
}

fn stages(mode: Mode) -> Vec<(u64, u64)> {
    match mode {
        Mode::Smoke => vec![(1000, WARM_UP_SECONDS + 1)],
        Mode::Full => vec![(1000, 20), (5000, 20), (10_000, 20)],
    }
}

/// Generates and reads at the same time; gives the reading back, and when the generator began.
async fn measure(
    stage: Stage,
    generator: &mut Generator,
    mut reading: Reading,
) -> Result<(Reading, Vec<Arrival>, i64)> {
    let count = stage.rate * stage.seconds;
    let reader = std::thread::spawn(move || {
        let arrivals = reading.read(count);
        (reading, arrivals)
    });
    let started_us = generator.generate(stage).await?;
    let joined = tokio::task::spawn_blocking(move || reader.join()).await;
    let (reading, arrivals) = joined
        .map_err(failed("reading the topic"))?
        .map_err(|_| ServerError::new("the consumer panicked"))?;
    Ok((reading, arrivals?, started_us))
}

/// Percentiles of both latencies, and how late the generator was.
fn latencies(measurement: &mut Measurement, stage: Stage, arrivals: &[Arrival], started_us: i64) {
    let per_transaction = stage.rate / TRANSACTIONS_PER_SECOND;
    let scheduled_us = |index: usize| {
        let transaction = index as u64 / per_transaction;
        started_us + i64::try_from(transaction * 1_000_000 / TRANSACTIONS_PER_SECOND).unwrap_or(i64::MAX)
    };
    let skipped = usize::try_from(stage.rate * WARM_UP_SECONDS).unwrap_or(usize::MAX);
    let counted = || arrivals.iter().enumerate().skip(skipped);
    measurement.figure("rate_per_second", as_float(stage.rate));
    let commit = counted().map(|(_, arrival)| arrival.arrived_us - arrival.committed_us);
    percentiles(measurement, "commit_to_consumer", commit.collect());
    let scheduled = counted().map(|(index, arrival)| arrival.arrived_us - scheduled_us(index));
    percentiles(measurement, "scheduled_to_consumer", scheduled.collect());
    let late = counted().map(|(index, arrival)| arrival.committed_us - scheduled_us(index));
    percentiles(measurement, "scheduled_to_commit", late.collect());
}

pub(crate) fn percentiles(measurement: &mut Measurement, name: &str, mut values_us: Vec<i64>) {
    values_us.sort_unstable();
    for (percentile, per_mille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p99_9", 999), ("max", 1000)] {
        // The smallest value that so many are not above.
        let rank = (values_us.len() * per_mille).div_ceil(1000).saturating_sub(1);
        if let Some(value_us) = values_us.get(rank) {
            let milliseconds = as_float(u64::try_from(*value_us).unwrap_or(0)) / 1000.0;
            measurement.figure(&format!("{name}_{percentile}_ms"), milliseconds);
        }
    }
}

// === impl Generator ===

impl Generator {
    async fn new(source: &Source) -> Result<Generator> {
        let client = source.postgres()?.server.connect().await?;
        let statement = client.prepare("select apply_changes($1, $2)").await;
        Ok(Generator {
            statement: statement.map_err(failed("preparing the generator"))?,
            client,
            text: text(),
            next: 0,
        })
    }

    /// Sends every transaction when its time has come, whether those before it were answered or not; returns when all are.
    async fn generate(&mut self, stage: Stage) -> Result<i64> {
        let per_transaction = stage.rate / TRANSACTIONS_PER_SECOND;
        let began = Instant::now();
        let started_us = now_us();
        let mut unanswered = FuturesUnordered::new();
        for transaction in 0..stage.seconds * TRANSACTIONS_PER_SECOND {
            let due = began + Duration::from_micros(transaction * 1_000_000 / TRANSACTIONS_PER_SECOND);
            let first = stage.first + transaction * per_transaction;
            let payloads = (first..first + per_transaction)
                .map(|change| self.payload(change))
                .collect();
            let wait = tokio::time::sleep_until(due.into());
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    biased;
                    Some(answer) = unanswered.next(), if !unanswered.is_empty() => answer?,
                    () = &mut wait => break,
                }
            }
            unanswered.push(self.send(first, payloads));
        }
        while let Some(answer) = unanswered.next().await {
            answer?;
        }
        drop(unanswered);
        self.next = stage.first + stage.rate * stage.seconds;
        Ok(started_us)
    }

    async fn send(&self, first: u64, payloads: Vec<String>) -> Result<()> {
        let first = i64::try_from(first).map_err(failed("numbering changes"))?;
        let answer = self.client.execute(&self.statement, &[&first, &payloads]).await;
        answer.map(drop).map_err(failed("changing rows"))
    }

    /// Nothing for a delete; an update has another text than the insert before it.
    fn payload(&self, change: u64) -> String {
        if change % 3 == 2 {
            return String::new();
        }
        let number = usize::try_from(change).unwrap_or(0);
        let length = ROW_BYTES.get(number / 3 % ROW_BYTES.len()).copied().unwrap_or(0);
        let begin = number.wrapping_mul(7919) % (TEXT_BYTES - length);
        self.text.get(begin..begin + length).unwrap_or_default().to_owned()
    }
}

// === impl Reading ===

impl Reading {
    fn start(bootstrap: &str, topic: &str, next: u64) -> Result<Reading> {
        let consumer = consumer(bootstrap)?;
        read_from_beginning(&consumer, topic)?;
        Ok(Reading { consumer, next })
    }

    fn read(&mut self, count: u64) -> Result<Vec<Arrival>> {
        let mut arrivals = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            let message = self.consumer.poll(ARRIVAL_DEADLINE);
            let arrived_us = now_us();
            let message = message.ok_or_else(|| ServerError::new(format!("change {} did not arrive", self.next)))?;
            let message = message.map_err(failed("reading the topic"))?;
            let row = number_in(message.key().unwrap_or_default());
            if row != self.next / 3 + 1 {
                let expected = self.next;
                return Err(ServerError::new(format!(
                    "change {expected} should have come and not one of row {row}"
                )));
            }
            self.next += 1;
            let committed_us = committed_us(&message).ok_or_else(|| {
                ServerError::new(format!("the record of row {row} does not say when it was committed"))
            })?;
            arrivals.push(Arrival {
                committed_us,
                arrived_us,
            });
        }
        Ok(arrivals)
    }
}

/// Our header, or what Debezium says of the source.
fn committed_us(message: &BorrowedMessage<'_>) -> Option<i64> {
    if let Some(headers) = message.headers() {
        let header = headers.iter().find(|header| header.key == "updated_at");
        if let Some(value) = header.and_then(|header| header.value) {
            let text = std::str::from_utf8(value).ok()?;
            return Some(text.parse::<jiff::Timestamp>().ok()?.as_microsecond());
        }
    }
    let value = std::str::from_utf8(message.payload()?).ok()?;
    let (_, source) = value.split_once("\"source\":{")?;
    let (_, after) = source.split_once("\"ts_us\":")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The clock that the server's commit timestamps come from.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Letters without a pattern that a compressor would find (xorshift).
fn text() -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).unwrap_or(0))
    };
    (0..TEXT_BYTES).map(letter).collect()
}
