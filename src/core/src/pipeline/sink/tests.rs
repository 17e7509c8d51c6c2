mod faults;
mod letters;
mod stalled;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::batch::{BeforeImage, Change, ChangeBatch, Operation, Transaction};
use crate::check::Finding;
use crate::dead_letter::{DeadLetterConfig, LetterOrder, LetterPolicy, LetterState};
use crate::error::Kind;
use crate::grants::{Language, Script};
use crate::pipeline::source::DeadLetters;
use crate::ports::sink::{Advance, EventBatch, FOREIGN_KEY, Origin, ROW_MISSING, Sink, Targets};
use crate::position::{Position, Progress};
use crate::record_batch::RecordMark;
use crate::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use crate::task::spawn_named;
use crate::testkit::{MemoryStore, MemoryStream, SharedStream};
use crate::transform::TransformConfig;
use crate::value::{LogicalType, TextKind, Value};

/// What the database does at its next transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Deadlock,
    /// The transaction is committed, and its answer is lost.
    AnswerLost,
    /// Somebody else takes every partition first.
    Taken,
    /// It is another server now, that has nothing of the last transaction.
    WentBack,
}

/// Epoch, next offset and last record of each partition.
type Offsets = BTreeMap<TopicPartition, (i64, Option<i64>, Option<RecordMark>)>;

/// A database in memory.
#[derive(Default)]
struct Database {
    /// Every row in the order in which it was written: key and value.
    written: Vec<(String, String)>,
    offsets: Offsets,
    before_last: Option<(usize, Offsets)>,
    faults: VecDeque<Fault>,
    transactions: usize,
}

#[derive(Default)]
struct Target {
    database: Mutex<Database>,
    /// While it is closed, transactions wait.
    closed: watch::Sender<bool>,
    /// A transaction was begun.
    begun: Notify,
}

struct Session(Arc<Target>, BTreeMap<TopicPartition, i64>);

struct Connector(Arc<Target>);

/// The value `same` is that of the record before.
#[derive(Default)]
struct Reader {
    last: String,
}

/// What was asked of the stream.
#[derive(Debug, Default)]
struct Asked {
    started: Vec<(TopicPartition, StartAt)>,
    paused: Vec<TopicPartition>,
    released: Vec<TopicPartition>,
    committed: BTreeMap<TopicPartition, i64>,
    /// How often progress was told in vain, and whether it is at the moment.
    refused: usize,
    refuses: bool,
    /// What the stream answers: where partitions end.
    ends: Vec<(TopicPartition, i64)>,
}

struct Membership {
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    asked: Arc<(Mutex<Asked>, Notify)>,
    held: Option<Delivery>,
}

/// A running pipeline and its surroundings.
struct Bench {
    target: Arc<Target>,
    store: Arc<MemoryStore>,
    deliveries: mpsc::UnboundedSender<Delivery>,
    asked: Arc<(Mutex<Asked>, Notify)>,
    desired: watch::Sender<Desired>,
    letters: DeadLetters,
    telemetry: Arc<Telemetry>,
    /// Starts of partition 0 that were answered.
    served: AtomicUsize,
    running: tokio::task::JoinHandle<Result<Ended>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

// === impl Session ===

#[async_trait]
impl SinkConnector for Connector {
    async fn check(&self, _connector: &str, _topics: &[String]) -> Vec<Finding> {
        Vec::new()
    }

    fn grants(&self, _topics: &[String]) -> Result<Script> {
        Ok(Script::new(Language::Sql, "A database in memory."))
    }

    async fn open(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Session(Arc::clone(&self.0), BTreeMap::new())))
    }

    async fn offsets(&self, _connector: &str) -> Result<Vec<(TopicPartition, Option<i64>)>> {
        Ok(Vec::new())
    }

    async fn alter_offsets(&self, _connector: &str, _offsets: &[(TopicPartition, Option<i64>)]) -> Result<()> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    fn offsets_table(&self) -> String {
        "offsets".to_owned()
    }
}

#[async_trait]
impl Targets for Session {
    async fn target(&mut self, _topic: &Arc<str>, _source: &TableName) -> Result<Option<SharedSchema>> {
        Ok(None)
    }
}

#[async_trait]
impl Sink for Session {
    async fn take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Taken>> {
        let mut database = lock(&self.0.database);
        let taken = partitions.iter().map(|partition| {
            let row = database.offsets.entry(partition.clone()).or_default();
            row.0 += 1;
            self.1.insert(partition.clone(), row.0);
            Taken {
                partition: partition.clone(),
                next_offset: row.1,
                last_record: row.2,
            }
        });
        Ok(taken.collect())
    }

    async fn write(&mut self, batch: &EventBatch) -> Result<()> {
        self.0.begun.notify_one();
        self.0.closed.subscribe().wait_for(|closed| !closed).await.unwrap();
        let mut database = lock(&self.0.database);
        let rows: Vec<_> = batch
            .changes
            .views()
            .map(|change| row_of(change.after().unwrap()))
            .collect();
        assert!(rows.iter().all(|(_, value)| value != "panic"), "asked for by the test");
        let is_there = |wanted: &str| rows.iter().chain(&database.written).any(|(_, value)| value == wanted);
        let referred = |value: &str| value.strip_prefix("child of ").map(ToOwned::to_owned);
        if rows
            .iter()
            .filter_map(|(_, value)| referred(value))
            .any(|parent| !is_there(&parent))
        {
            return Err(Error::poison(FOREIGN_KEY, "the row that it refers to is not there"));
        }
        if rows.iter().any(|(_, value)| value == "half") {
            return Err(Error::poison(ROW_MISSING, "the row that it is a part of is not there"));
        }
        if rows.iter().any(|(_, value)| value == "poison") {
            return Err(Error::poison("value_refused", "the column does not take poison"));
        }
        let fault = database.faults.pop_front();
        match fault {
            Some(Fault::Deadlock) => return Err(Error::transient("deadlock", "a deadlock was found")),
            Some(Fault::Taken) => database.offsets.values_mut().for_each(|row| row.0 += 1),
            Some(Fault::WentBack) => {
                let (rows, offsets) = database.before_last.take().unwrap();
                database.written.truncate(rows);
                database.offsets = offsets;
                return Err(Error::transient("target_connection_lost", "the server is gone"));
            }
            Some(Fault::AnswerLost) | None => {}
        }
        for advance in &batch.advances {
            if database.offsets.get(&advance.partition).map(|row| row.0) != self.1.get(&advance.partition).copied() {
                return Err(Error::fenced("partition_taken", "somebody else has it"));
            }
        }
        database.before_last = Some((database.written.len(), database.offsets.clone()));
        for advance in &batch.advances {
            let row = database.offsets.get_mut(&advance.partition).unwrap();
            (row.1, row.2) = (Some(advance.next_offset), advance.last_record);
        }
        database.written.extend(rows);
        database.transactions += 1;
        match fault {
            Some(Fault::AnswerLost) => Err(Error::transient("commit_unknown", "the answer was lost")),
            _ => Ok(()),
        }
    }
}

fn row_of(row: crate::batch::RowView<'_>) -> (String, String) {
    let text = |value| match value {
        Value::Text(text) => text.to_owned(),
        other => panic!("{other:?}"),
    };
    (text(row.get(0)), text(row.get(1)))
}

// === impl Reader ===

fn schema() -> SharedSchema {
    let column = |name: &str| Column {
        nullable: false,
        ..Column::new(name, LogicalType::Text(TextKind::Plain))
    };
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: "t".to_owned(),
        },
        kind: TableKind::Table,
        columns: vec![column("k"), column("v")],
        key: vec![0],
        documentation: None,
    })
}

#[async_trait]
impl Decoder for Reader {
    async fn prepare(&mut self, _records: &RecordBatch, _targets: &mut dyn Targets) -> Result<()> {
        Ok(())
    }

    fn decode(&mut self, records: &RecordBatch, range: Range<usize>) -> Result<EventBatch> {
        let mut changes = ChangeBatch::new("t".into(), Progress::at(Position::new("")));
        let table = changes.table_index(&schema());
        let transaction = changes.push_transaction(Transaction {
            id: None,
            committed_at_us: 1,
            position: "".into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        });
        let (mut origins, mut advances, mut refused) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (index, record) in range.map(|index| records.get(index).unwrap()).enumerate() {
            origins.push(Origin {
                partition: record.partition_index(),
                offset: record.offset(),
            });
            let advance = Advance {
                partition: record.partition().clone(),
                next_offset: record.offset() + 1,
                last_record: Some(record.mark()),
            };
            advances.insert(record.partition().clone(), advance);
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or(b"gone").to_vec()).unwrap();
            if text(record.value()) == "torn" {
                let refusal = crate::batch::Refusal {
                    code: "record_unreadable",
                    reason: "it is torn".to_owned(),
                };
                refused.push(crate::event::Refused { change: index, refusal });
                continue;
            }
            let value = text(record.value());
            if value != "same" {
                self.last = value;
            }
            changes.begin_row().unwrap();
            changes.push_text(&text(record.key())).unwrap();
            changes.push_text(&self.last).unwrap();
            let after = Some(changes.end_row().unwrap());
            changes.changes.push(Change {
                operation: Operation::Update,
                table,
                transaction,
                before: None,
                before_image: BeforeImage::None,
                after,
                ordinal: index as u64,
                log_position: None,
                updated_at_us: None,
                topic: None,
                message: None,
            });
        }
        Ok(EventBatch {
            changes,
            origins,
            partitions: records.partitions().to_vec(),
            advances: advances.into_values().collect(),
            refused,
            passed_over: 0,
        })
    }

    fn forget_targets(&mut self) {}
}

// === impl Membership ===

#[async_trait]
impl Subscription for Membership {
    async fn next(&mut self, limit: usize) -> Result<Delivery> {
        loop {
            let delivery = match self.held.take() {
                Some(delivery) => delivery,
                None => self
                    .deliveries
                    .recv()
                    .await
                    .ok_or_else(|| Error::transient("ended", "the bench is gone"))?,
            };
            if limit > 0 || !matches!(delivery, Delivery::Records(_)) {
                return Ok(delivery);
            }
            self.held = Some(delivery);
            std::future::pending::<()>().await;
        }
    }

    async fn start(&mut self, partitions: &[(TopicPartition, StartAt)]) -> Result<Vec<i64>> {
        lock(&self.asked.0).started.extend_from_slice(partitions);
        self.asked.1.notify_waiters();
        Ok(partitions.iter().map(|(_, at)| at.offset(0, i64::MAX)).collect())
    }

    async fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        lock(&self.asked.0).paused.push(partition.clone());
        self.asked.1.notify_waiters();
        Ok(())
    }

    async fn release(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        lock(&self.asked.0).released.extend_from_slice(partitions);
        self.asked.1.notify_waiters();
        Ok(())
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        let mut asked = lock(&self.asked.0);
        self.asked.1.notify_waiters();
        if asked.refuses {
            asked.refused += 1;
            return Err(Error::definite("group_refused", "the group may not be told"));
        }
        asked.committed.extend(offsets.iter().cloned());
        Ok(())
    }

    fn ends(&self) -> Vec<(TopicPartition, i64)> {
        lock(&self.asked.0).ends.clone()
    }
}

// === impl Bench ===

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

fn records(number: i32, first: i64, values: &[&str]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for (offset, value) in (first..).zip(values) {
        let key = format!("k{}", offset % 7);
        let value = Some(value.as_bytes()).filter(|value| *value != b"gone");
        batch.push(("t", number), offset, 5, (Some(key.as_bytes()), value));
    }
    batch
}

impl Bench {
    fn start(
        target: &Arc<Target>,
        store: &Arc<MemoryStore>,
        config: DeadLetterConfig,
        transforms: &TransformConfig,
        writers: usize,
    ) -> Self {
        let (deliveries, inbox) = mpsc::unbounded_channel();
        let asked = Arc::new((Mutex::default(), Notify::new()));
        let letters = DeadLetters::new("c", config, "c.dead_letters".into());
        let stream = Arc::new(MemoryStream::default());
        let parts = (0..writers).map(|_| WriterParts {
            decoder: Box::new(Reader::default()),
            transform: Transform::new(transforms, None).unwrap(),
            letters: SinkLetters::new(
                letters.clone(),
                Arc::clone(store) as _,
                Arc::new(SharedStream(Arc::clone(&stream))),
            ),
        });
        let telemetry = Arc::new(Telemetry::new("c"));
        let pipeline = SinkPipeline {
            connector: "c".to_owned(),
            subscription: Box::new(Membership {
                deliveries: inbox,
                asked: Arc::clone(&asked),
                held: None,
            }),
            target: Arc::new(Connector(Arc::clone(target))),
            writers: parts.collect(),
            start: StartOffset::Earliest,
            telemetry: Arc::clone(&telemetry),
            limits: SinkLimits::default(),
        };
        let (desired, wanted) = watch::channel(Desired::Running);
        let running = spawn_named("pipeline", pipeline.run(wanted));
        Self {
            target: Arc::clone(target),
            store: Arc::clone(store),
            deliveries,
            asked,
            desired,
            letters,
            telemetry,
            served: AtomicUsize::new(1),
            running,
        }
    }

    fn new(config: DeadLetterConfig) -> Self {
        Self::with(config, &TransformConfig::default())
    }

    fn with(config: DeadLetterConfig, transforms: &TransformConfig) -> Self {
        Self::start(&Arc::default(), &Arc::default(), config, transforms, 2)
    }

    fn deliver(&self, delivery: Delivery) {
        self.deliveries.send(delivery).unwrap();
    }

    async fn until(&self, what: impl Fn(&Asked) -> bool) {
        loop {
            let woken = self.asked.1.notified();
            if what(&lock(&self.asked.0)) {
                return;
            }
            woken.await;
        }
    }

    /// Takes partition 0 and waits until it is begun.
    async fn assign(&self, number: i32) {
        self.deliver(Delivery::Assigned(vec![partition(number)]));
        self.until(|asked| asked.started.iter().any(|(started, _)| *started == partition(number)))
            .await;
    }

    /// Answers each start of partition 0 but the first with these records, from the offset that is asked for, until something is so.
    async fn serve_until(&self, values: &[&str], what: impl Fn(&Asked) -> bool) {
        loop {
            let woken = self.asked.1.notified();
            let started = {
                let asked = lock(&self.asked.0);
                if what(&asked) {
                    return;
                }
                let of_zero = asked.started.iter().filter(|(started, _)| *started == partition(0));
                of_zero.map(|(_, at)| *at).nth(self.served.load(Ordering::Relaxed))
            };
            let Some(at) = started else {
                woken.await;
                continue;
            };
            self.served.fetch_add(1, Ordering::Relaxed);
            let StartAt::Offset(offset) = at else { panic!("{at:?}") };
            let rest = &values[usize::try_from(offset).unwrap()..];
            self.deliver(Delivery::Records(records(0, offset, rest)));
        }
    }

    async fn stop(self) -> Result<Ended> {
        self.desired.send_replace(Desired::Stopped);
        self.running.await.unwrap()
    }

    fn values(&self) -> Vec<String> {
        lock(&self.target.database)
            .written
            .iter()
            .map(|(_, value)| value.clone())
            .collect()
    }

    fn next_offset(&self, number: i32) -> Option<i64> {
        lock(&self.target.database)
            .offsets
            .get(&partition(number))
            .and_then(|row| row.1)
    }
}

fn store_letters() -> DeadLetterConfig {
    DeadLetterConfig {
        policy: LetterPolicy::Store,
        ..DeadLetterConfig::default()
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("v{number}")).collect()
}

fn as_texts(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_written_and_the_group_is_told() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.assign(1).await;
    bench.deliver(Delivery::Records(records(0, 0, &["a", "b"])));
    bench.deliver(Delivery::Records(records(1, 0, &["c"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&2) && asked.committed.contains_key(&partition(1)))
        .await;
    let mut values = bench.values();
    values.sort();
    assert_eq!(values, ["a", "b", "c"]);
    assert_eq!((bench.next_offset(0), bench.next_offset(1)), (Some(2), Some(1)));
    assert_eq!(bench.stop().await.unwrap(), Ended::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_what_was_read() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.target.closed.send_replace(true);
    bench.deliver(Delivery::Records(records(0, 0, &["a"])));
    tokio::task::yield_now().await;
    let target = Arc::clone(&bench.target);
    let stopping = spawn_named("stop", bench.stop());
    target.closed.send_replace(false);
    assert_eq!(stopping.await.unwrap().unwrap(), Ended::Drained);
    let written = lock(&target.database).written.len();
    assert!(written <= 1, "{written}");
}

#[tokio::test(start_paused = true)]
async fn the_word_of_the_target_beats_everything() {
    let bench = Bench::new(DeadLetterConfig::default());
    let all = records(0, 0, &["a", "b", "c", "d"]);
    lock(&bench.target.database)
        .offsets
        .insert(partition(0), (7, Some(2), Some(all.get(1).unwrap().mark())));
    bench.assign(0).await;
    assert_eq!(lock(&bench.asked.0).started, [(partition(0), StartAt::Before(2))]);
    // Also what comes although nobody asked for it.
    bench.deliver(Delivery::Records(all));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&4))
        .await;
    assert_eq!(bench.values(), ["c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn the_decoder_sees_the_record_before_the_first_that_is_written() {
    let bench = Bench::new(DeadLetterConfig::default());
    let all = records(0, 1, &["b", "same", "d"]);
    lock(&bench.target.database)
        .offsets
        .insert(partition(0), (7, Some(2), Some(all.get(0).unwrap().mark())));
    bench.assign(0).await;
    bench.deliver(Delivery::Records(all));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&4))
        .await;
    assert_eq!(bench.values(), ["b", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_given_back_when_nothing_of_it_is_in_hand() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.assign(1).await;
    bench.target.closed.send_replace(true);
    bench.deliver(Delivery::Records(records(0, 0, &["a"])));
    bench.deliver(Delivery::Revoked(vec![partition(0)]));
    // The other partition goes on while the first waits for its writer.
    bench.deliver(Delivery::Assigned(vec![partition(2)]));
    bench
        .until(|asked| asked.started.iter().any(|(started, _)| started.partition == 2) || asked.started.len() == 2)
        .await;
    assert!(
        lock(&bench.asked.0).released.is_empty(),
        "its transaction is still open"
    );
    bench.target.closed.send_replace(false);
    bench.until(|asked| asked.released == [partition(0)]).await;
    bench.deliver(Delivery::Records(records(0, 1, &["of another"])));
    bench.deliver(Delivery::Records(records(1, 0, &["b"])));
    bench
        .until(|asked| asked.committed.get(&partition(1)) == Some(&1))
        .await;
    assert!(!bench.values().contains(&"of another".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_sink_is_behind_by_what_its_partitions_have_left() {
    let bench = Bench::new(DeadLetterConfig::default());
    let lag = || bench.telemetry.lag();
    assert_eq!(lag().ms, None);
    lock(&bench.asked.0).ends = vec![(partition(0), 3)];
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 0, &["a", "b"])));
    bench.until(|_| lag().events == Some(1)).await;
    assert!(
        lag().ms > Some(1_000_000_000_000),
        "the newest record is of 1970: {:?}",
        lag()
    );
    bench.deliver(Delivery::Records(records(0, 2, &["c"])));
    bench.until(|_| lag().events == Some(0)).await;
    assert_eq!(lag().ms, Some(0));
    let snapshot = bench.telemetry.snapshot();
    assert_eq!(snapshot.bytes_in_flight, 0);
    assert_eq!(snapshot.bytes, 3 * 3, "two bytes of a key and one of a value each");
    let histograms = &bench.telemetry.histograms;
    assert!((histograms.batch_records.counted().unwrap().sum - 3.0).abs() < 1e-9);
    assert_eq!(histograms.commit_to_durable.counted().unwrap().count, 3);
    assert!(histograms.sink_transaction.counted().is_some());
    bench.deliver(Delivery::Revoked(vec![partition(0)]));
    bench.until(|asked| !asked.released.is_empty()).await;
    assert_eq!((lag().ms, lag().events), (None, None), "it is somebody else's");
    bench.stop().await.unwrap();
}
