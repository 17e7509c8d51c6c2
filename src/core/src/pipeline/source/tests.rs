use std::sync::Mutex;

use tokio::sync::Notify;

use super::*;
use crate::batch::{BeforeImage, Change, Operation, Transaction};
use crate::dead_letter::DeadLetterConfig;
use crate::error::{Error, Kind};
use crate::event::StreamRecord;
use crate::schema::{Column, TableKind, TableName, TableSchema};
use crate::schema_change::{NoticeState, SchemaChangeListener, SchemaChangeNotice};
use crate::telemetry::histogram::Histogram;
use crate::telemetry::lag::LagMeasure;
use crate::testkit::{Delivery, MemoryStore, MemoryStream, OrdinalEncoder, ScriptedSource, SharedStream};
use crate::transform::{Transform, TransformConfig};
use crate::value::LogicalType;

/// A batch of one change, whose progress has the same number.
fn batch(number: u64) -> ChangeBatch {
    batch_of(number, &[])
}

/// The same, of a table that has these columns by now.
fn batch_of(number: u64, columns: &[&str]) -> ChangeBatch {
    let column = |name: &&str| Column {
        source_type: "int4".to_owned(),
        ..Column::new(*name, LogicalType::Int32)
    };
    let schema = Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: "t".into(),
        },
        kind: TableKind::Table,
        columns: columns.iter().map(column).collect(),
        key: Vec::new(),
        documentation: None,
    });
    let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new(number.to_string())));
    let table = batch.table_index(&schema);
    let transaction = batch.push_transaction(Transaction {
        id: None,
        committed_at_us: 1,
        position: number.to_string().into(),
        log_position: None,
        previous_log_position: None,
        binlog: None,
    });
    batch.changes.push(Change {
        operation: Operation::Create,
        table,
        transaction,
        before: None,
        before_image: BeforeImage::None,
        after: None,
        ordinal: number,
        log_position: None,
        updated_at_us: None,
        topic: None,
        message: None,
    });
    batch
}

struct Rig {
    stream: Arc<MemoryStream>,
    store: Arc<MemoryStore>,
    telemetry: Arc<Telemetry>,
    confirmed: Arc<Mutex<Vec<Position>>>,
    desired: watch::Sender<Desired>,
    run: tokio::task::JoinHandle<Result<Ended>>,
}

async fn start(batches: Vec<Result<ChangeBatch>>, script: Vec<Delivery>, store: Arc<MemoryStore>) -> Rig {
    start_beside(batches, script, store, None).await
}

/// With somebody beside the stream who is told of changes of tables.
async fn start_beside(
    batches: Vec<Result<ChangeBatch>>,
    script: Vec<Delivery>,
    store: Arc<MemoryStore>,
    listener: Option<Arc<dyn SchemaChangeListener>>,
) -> Rig {
    let stream = Arc::new(MemoryStream::default());
    stream.script(script);
    let (source, confirmed) = ScriptedSource::new(batches);
    let shared = Arc::new(SharedStream(Arc::clone(&stream)));
    let telemetry = Arc::new(Telemetry::new("test"));
    let pipeline = SourcePipeline {
        source: Box::new(source),
        transform: Transform::new(&TransformConfig::default(), None).unwrap(),
        encoder: Box::new(OrdinalEncoder),
        producer: shared.producer().await.unwrap(),
        stream: shared,
        store: Arc::clone(&store) as Arc<dyn ConnectorStore>,
        schema_changes: SchemaChangePublisher {
            connector: "test".to_owned(),
            topic: Some("schema_changes".into()),
            listener,
        },
        telemetry: Arc::clone(&telemetry),
        limits: Limits::default(),
        dead_letters: DeadLetters::new("test", DeadLetterConfig::default(), "test.dead_letters".into()),
    };
    let (desired, wanted) = watch::channel(Desired::Running);
    let saved = store.checkpoint();
    let run = crate::task::spawn_named("pipeline", async move { pipeline.run(saved.as_ref(), wanted).await });
    Rig {
        stream,
        store,
        telemetry,
        confirmed,
        desired,
        run,
    }
}

/// Lets time pass until the condition holds; the paused clock only moves when every task waits.
async fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    panic!("the condition never came true");
}

fn saved(store: &MemoryStore) -> Option<String> {
    store
        .checkpoint()
        .map(|checkpoint| checkpoint.progress.position.to_string())
}

#[tokio::test(start_paused = true)]
async fn progress_is_saved_and_then_confirmed_in_order() {
    let rig = start(
        (1..=3).map(|number| Ok(batch(number))).collect(),
        vec![],
        Arc::default(),
    )
    .await;
    until(|| saved(&rig.store).as_deref() == Some("3")).await;
    rig.desired.send(Desired::Stopped).unwrap();
    assert_eq!(rig.run.await.unwrap().unwrap(), Ended::Drained);
    assert_eq!(rig.stream.written().len(), 3);
    assert_eq!(rig.confirmed.lock().unwrap().last(), Some(&Position::new("3")));
}

#[tokio::test(start_paused = true)]
async fn nothing_behind_a_held_batch_is_saved_or_confirmed() {
    let gate = Arc::new(Notify::new());
    let script = vec![Delivery::Accept, Delivery::Hold(Arc::clone(&gate)), Delivery::Accept];
    let rig = start(
        (1..=3).map(|number| Ok(batch(number))).collect(),
        script,
        Arc::default(),
    )
    .await;
    until(|| rig.stream.written().len() == 3 && saved(&rig.store).is_some()).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(saved(&rig.store).as_deref(), Some("1"));
    gate.notify_one();
    until(|| saved(&rig.store).as_deref() == Some("3")).await;
    assert!(!rig.confirmed.lock().unwrap().contains(&Position::new("2")));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_answer_is_lost_moves_nothing() {
    for lost in [Delivery::Reject, Delivery::FailAfterWrite] {
        let rig = start(vec![Ok(batch(1))], vec![lost], Arc::default()).await;
        let error = rig.run.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Transient);
        assert_eq!(saved(&rig.store), None);
        assert!(rig.confirmed.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_that_fails_is_never_confirmed() {
    let store = Arc::new(MemoryStore::default());
    store.refuse_saves(true);
    let rig = start(vec![Ok(batch(1))], vec![], store).await;
    let error = rig.run.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "state_unwritable");
    assert!(rig.confirmed.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_a_stuck_stream_ends_at_the_deadline_without_moving() {
    let script = vec![Delivery::Accept, Delivery::Hold(Arc::new(Notify::new()))];
    let rig = start(vec![Ok(batch(1)), Ok(batch(2))], script, Arc::default()).await;
    until(|| rig.stream.written().len() == 2).await;
    rig.desired.send(Desired::Stopped).unwrap();
    until(|| rig.run.is_finished()).await;
    assert_eq!(rig.run.await.unwrap().unwrap(), Ended::DrainTimedOut);
    assert_eq!(saved(&rig.store).as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_waits_for_the_batches_before_it() {
    let gate = Arc::new(Notify::new());
    let heartbeat = ChangeBatch::new("test".into(), Progress::at(Position::new("9")));
    let rig = start(
        vec![Ok(batch(1)), Ok(heartbeat)],
        vec![Delivery::Hold(Arc::clone(&gate))],
        Arc::default(),
    )
    .await;
    until(|| rig.stream.written().len() == 1).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(saved(&rig.store), None);
    gate.notify_one();
    until(|| saved(&rig.store).as_deref() == Some("9")).await;
    assert_eq!(rig.stream.written().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_behind_and_what_is_durable_is_measured() {
    let gate = Arc::new(Notify::new());
    let script = vec![Delivery::Accept, Delivery::Hold(Arc::clone(&gate))];
    let mut rows = batch(3);
    rows.changes[0].operation = Operation::Read;
    let rig = start([batch(1), batch(2), rows].map(Ok).into(), script, Arc::default()).await;
    rig.telemetry.begin(LagMeasure::Log);
    rig.telemetry.set_at_end(true);
    until(|| rig.stream.written().len() == 3 && saved(&rig.store).as_deref() == Some("1")).await;
    let lag = rig.telemetry.lag();
    assert!(lag.ms > Some(1_000_000_000_000), "its commit was in 1970: {lag:?}");
    assert_eq!(lag.events, Some(2));
    let snapshot = rig.telemetry.snapshot();
    assert_eq!(snapshot.batches_in_flight, 2);
    assert!(snapshot.bytes_in_flight > 0);
    gate.notify_one();
    until(|| saved(&rig.store).as_deref() == Some("3")).await;
    let lag = rig.telemetry.lag();
    assert_eq!((lag.ms, lag.events), (Some(0), Some(0)));
    assert_eq!(rig.telemetry.snapshot().bytes_in_flight, 0);
    let histograms = &rig.telemetry.histograms;
    let counted = |histogram: &Histogram| histogram.counted().map_or(0, |counted| counted.count);
    assert_eq!(
        counted(&histograms.commit_to_durable),
        2,
        "rows of a snapshot are not late"
    );
    assert_eq!(counted(&histograms.batch_records), 3);
    assert_eq!(counted(&histograms.batch_bytes), 3);
    assert_eq!(
        counted(&histograms.checkpoint_save),
        rig.telemetry.numbers.checkpoints.load(Ordering::Relaxed)
    );
    assert_eq!(counted(&histograms.sink_transaction), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_source_ends_the_pipeline_loudly() {
    let failure = Err(Error::definite("slot_missing", "the slot is gone"));
    let rig = start(vec![Ok(batch(1)), failure], vec![], Arc::default()).await;
    assert_eq!(rig.run.await.unwrap().unwrap_err().code(), "slot_missing");
}

/// Topics, with the event's id where it is of a schema.
fn written(stream: &MemoryStream) -> Vec<String> {
    let told = |record: &StreamRecord| {
        let id = record.header("event_id").map(|id| format!(" {id}"));
        format!("{}{}", record.topic, id.unwrap_or_default())
    };
    stream.written().iter().map(told).collect()
}

#[tokio::test(start_paused = true)]
async fn another_version_of_a_table_is_told_before_its_first_event() {
    let batches = || [batch_of(1, &["id"]), batch_of(2, &["id", "total"])].map(Ok).into();
    let store: Arc<MemoryStore> = Arc::default();
    // Durable, and the answer is lost: nothing was saved, and everything comes again.
    let script = vec![Delivery::Hold(Arc::new(Notify::new())), Delivery::FailAfterWrite];
    let rig = start(batches(), script, Arc::clone(&store)).await;
    until(|| rig.stream.written().len() == 3).await;
    assert_eq!(written(&rig.stream), ["events", "schema_changes test:t:2", "events"]);
    rig.run.abort();

    let rig = start(batches(), vec![], Arc::clone(&store)).await;
    until(|| saved(&store).as_deref() == Some("2")).await;
    assert_eq!(written(&rig.stream), ["events", "schema_changes test:t:2", "events"]);
    rig.desired.send(Desired::Stopped).unwrap();
    rig.run.await.unwrap().unwrap();

    // Now it is known to be told.
    let rig = start(vec![Ok(batch_of(3, &["id", "total"]))], vec![], store).await;
    until(|| !rig.stream.written().is_empty()).await;
    assert_eq!(written(&rig.stream), ["events"]);
}

/// Who was told what, and leaves it at that.
#[derive(Debug, Default)]
struct Listener(Mutex<Vec<(SchemaChangeNotice, NoticeState)>>);

impl SchemaChangeListener for Listener {
    fn tell(&self, notice: SchemaChangeNotice) -> NoticeState {
        let state = NoticeState::default();
        self.0.lock().unwrap().push((notice, state.clone()));
        state
    }
}

impl Listener {
    fn told(&self) -> Vec<String> {
        let told = self.0.lock().unwrap();
        told.iter().map(|(notice, _)| notice.event_id.clone()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_told_what_is_durable_and_told_again_until_it_is_through() {
    let (store, listener): (Arc<MemoryStore>, Arc<Listener>) = <_>::default();
    let start = |batches, script| {
        let beside = Arc::clone(&listener) as Arc<dyn SchemaChangeListener>;
        start_beside(batches, script, Arc::clone(&store), Some(beside))
    };
    let gate = Arc::new(Notify::new());
    let script = vec![Delivery::Accept, Delivery::Hold(Arc::clone(&gate))];
    let rig = start(
        [batch_of(1, &["id"]), batch_of(2, &["id", "total"])].map(Ok).into(),
        script,
    )
    .await;
    until(|| rig.stream.written().len() == 3).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(listener.told(), [""; 0], "not before it is durable");
    gate.notify_one();
    // It does not answer, and nothing waits for it.
    until(|| saved(&store).as_deref() == Some("2")).await;
    assert_eq!(listener.told(), ["test:t:2"]);
    rig.desired.send(Desired::Stopped).unwrap();
    assert_eq!(rig.run.await.unwrap().unwrap(), Ended::Drained);

    let rig = start(vec![Ok(batch_of(3, &["id", "total"]))], vec![]).await;
    until(|| saved(&store).as_deref() == Some("3")).await;
    assert_eq!(written(&rig.stream), ["schema_changes test:t:2", "events"]);
    assert_eq!(listener.told(), ["test:t:2", "test:t:2"]);
    listener.0.lock().unwrap()[1].1.settle();
    rig.desired.send(Desired::Stopped).unwrap();
    rig.run.await.unwrap().unwrap();

    // It is through with it, which was written down.
    let rig = start(
        vec![Ok(batch_of(4, &["id", "total"])), Ok(batch_of(5, &["id"]))],
        vec![],
    )
    .await;
    until(|| saved(&store).as_deref() == Some("5")).await;
    assert_eq!(written(&rig.stream), ["events", "schema_changes test:t:3", "events"]);
    assert_eq!(listener.told().len(), 3);
    rig.desired.send(Desired::Stopped).unwrap();
    rig.run.await.unwrap().unwrap();

    // Rows of the third version come no more; it is told all the same.
    let rig = start(vec![Ok(batch_of(6, &["id", "note"]))], vec![]).await;
    until(|| saved(&store).as_deref() == Some("6")).await;
    let told = ["schema_changes test:t:3", "schema_changes test:t:4", "events"];
    assert_eq!(written(&rig.stream), told);
    assert_eq!(listener.told()[3..], ["test:t:3", "test:t:4"]);
}
