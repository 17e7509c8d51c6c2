use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::*;
use crate::batch::{BeforeImage, Change, Operation, Transaction};
use crate::event::StreamRecord;
use crate::pipeline::source::{Limits, SourcePipeline};
use crate::pipeline::{Desired, Ended};
use crate::ports::{ConnectorStore, Encoder, EventStream};
use crate::position::{Position, Progress};
use crate::schema::{Column, TableKind, TableName, TableSchema};
use crate::schema_change::SchemaChangePublisher;
use crate::telemetry::Telemetry;
use crate::testkit::{Delivery, MemoryStore, MemoryStream, ScriptedSource, SharedStream};
use crate::transform::{Rule, Transform, TransformConfig};
use crate::value::{LogicalType, TextKind, Value};

/// Operation, key, value.
type Row = (Operation, i64, &'static str);

const CREATE: Operation = Operation::Create;

fn table() -> Arc<TableSchema> {
    let column = |name: &str, logical_type| Column {
        nullable: false,
        ..Column::new(name, logical_type)
    };
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        },
        kind: TableKind::Table,
        columns: vec![
            column("id", LogicalType::Int64),
            column("note", LogicalType::Text(TextKind::Plain)),
        ],
        key: vec![0],
        documentation: None,
    })
}

fn batch(number: u64, rows: &[Row]) -> ChangeBatch {
    let mut batch = ChangeBatch::new("db".into(), Progress::at(Position::new(number.to_string())));
    let table = batch.table_index(&table());
    let transaction = batch.push_transaction(Transaction {
        id: Some(number),
        committed_at_us: 1_700_000_000_000_000,
        position: number.to_string().into(),
        log_position: None,
        previous_log_position: None,
        binlog: None,
    });
    for (ordinal, (operation, key, text)) in (0..).zip(rows) {
        batch.begin_row().unwrap();
        batch.push_int(*key);
        batch.push_text(text).unwrap();
        let row = batch.end_row().unwrap();
        batch.changes.push(Change {
            operation: *operation,
            table,
            transaction,
            before: None,
            before_image: BeforeImage::None,
            after: (*operation != Operation::Truncate).then_some(row),
            ordinal,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: None,
        });
    }
    batch
}

/// Writes the second column, and refuses the words that it is told to.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<HashSet<&'static str>>>);

impl Encoder for Words {
    fn encode(&mut self, batch: &ChangeBatch) -> Result<EncodedBatch> {
        let mut encoded = EncodedBatch::default();
        let topic = encoded.topic_index(&"orders".into());
        for (index, change) in batch.views().enumerate() {
            let text = match change.after().map(|row| row.get(1)) {
                Some(Value::Text(text)) => text,
                _ => "all gone",
            };
            if self.0.lock().unwrap().contains(text) {
                let refusal = Refusal {
                    code: "value_not_encodable",
                    reason: format!("{text} is not encodable"),
                };
                encoded.refused.push(Refused { change: index, refusal });
                continue;
            }
            let start = encoded.buffer.len();
            encoded.buffer.extend_from_slice(text.as_bytes());
            encoded.records.push(EncodedRecord {
                topic,
                key: None,
                value: Some(start..encoded.buffer.len()),
                headers: 0..0,
                timestamp_ms: 0,
            });
        }
        Ok(encoded)
    }
}

struct Rig {
    words: Words,
    stream: Arc<MemoryStream>,
    store: Arc<MemoryStore>,
    rules: DeadLetters,
    transforms: TransformConfig,
    telemetry: Arc<Telemetry>,
    confirmed: Arc<Mutex<Vec<Position>>>,
    desired: watch::Sender<Desired>,
    run: Option<tokio::task::JoinHandle<Result<Ended>>>,
}

impl Rig {
    fn new(config: &str, refused: &[&'static str]) -> Self {
        let config: DeadLetterConfig = serde_json::from_str(config).unwrap();
        Self {
            words: Words(Arc::new(Mutex::new(refused.iter().copied().collect()))),
            stream: Arc::default(),
            store: Arc::default(),
            rules: DeadLetters::new("shop", config, "shop.dead_letters".into()),
            transforms: TransformConfig::default(),
            telemetry: Arc::new(Telemetry::new("shop")),
            confirmed: Arc::default(),
            desired: watch::channel(Desired::Running).0,
            run: None,
        }
    }

    /// Another life of the connector, in which the source sends these.
    async fn start(&mut self, batches: Vec<ChangeBatch>, script: Vec<Delivery>) {
        self.stream.script(script);
        let (source, confirmed) = ScriptedSource::new(batches.into_iter().map(Ok));
        self.confirmed = confirmed;
        self.desired = watch::channel(Desired::Running).0;
        let shared = Arc::new(SharedStream(Arc::clone(&self.stream)));
        let pipeline = SourcePipeline {
            source: Box::new(source),
            transform: Transform::new(&self.transforms, None).unwrap(),
            encoder: Box::new(self.words.clone()),
            producer: shared.producer().await.unwrap(),
            stream: shared,
            store: Arc::clone(&self.store) as Arc<dyn ConnectorStore>,
            schema_changes: SchemaChangePublisher {
                connector: "test".to_owned(),
                topic: None,
                listener: None,
            },
            telemetry: Arc::clone(&self.telemetry),
            limits: Limits::default(),
            dead_letters: self.rules.clone(),
        };
        let (saved, wanted) = (self.store.checkpoint(), self.desired.subscribe());
        self.run = Some(crate::task::spawn_named("pipeline", async move {
            pipeline.run(saved.as_ref(), wanted).await
        }));
    }

    async fn ended(&mut self) -> Result<Ended> {
        self.run.take().unwrap().await.unwrap()
    }

    async fn stop(&mut self) {
        self.desired.send(Desired::Stopped).unwrap();
        assert_eq!(self.ended().await.unwrap(), Ended::Drained);
    }

    async fn until_saved(&self, position: &str) {
        self.until(|rig| saved(&rig.store).as_deref() == Some(position)).await;
    }

    async fn until(&self, mut condition: impl FnMut(&Self) -> bool) {
        for _ in 0..10_000 {
            if condition(self) {
                return;
            }
            tokio::time::advance(Duration::from_millis(10)).await;
            tokio::task::yield_now().await;
        }
        panic!("the condition never came true: {:?}", self.letters());
    }

    fn written(&self) -> Vec<String> {
        let orders = |record: &StreamRecord| &*record.topic == "orders";
        let records = self.stream.written().into_iter().filter(orders);
        records
            .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
            .collect()
    }

    /// Number, state and code of each letter.
    fn letters(&self) -> Vec<(u64, &'static str, String)> {
        let letters = self.store.letters().into_iter();
        letters
            .map(|letter| (letter.id, letter.state.name(), letter.letter.code))
            .collect()
    }

    /// From the next life on the words are cast.
    fn cast_to(&mut self, written: &str) {
        let cast = [("note".to_owned(), written.to_owned())].into();
        self.transforms.rules = vec![Rule {
            cast,
            ..Rule::default()
        }];
    }

    fn ask(&self, ids: &[u64]) {
        for id in ids {
            self.store.set_letter(*id, LetterState::ReplayRequested);
        }
        self.rules.desk.ask();
    }

    fn mend(&self) {
        self.words.0.lock().unwrap().clear();
    }
}

fn saved(store: &MemoryStore) -> Option<String> {
    store
        .checkpoint()
        .map(|checkpoint| checkpoint.progress.position.to_string())
}

fn letter(id: u64, state: &'static str, code: &str) -> (u64, &'static str, String) {
    (id, state, code.to_owned())
}

const POISON: &str = "value_not_encodable";

#[tokio::test(start_paused = true)]
async fn by_default_one_event_halts_and_nothing_of_its_batch_moves() {
    let mut rig = Rig::new("{}", &["bad"]);
    let rows = [(CREATE, 1, "one"), (CREATE, 2, "bad"), (CREATE, 3, "three")];
    rig.start(vec![batch(1, &rows)], vec![]).await;
    let error = rig.ended().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Poison, POISON));
    assert_eq!((rig.written(), saved(&rig.store)), (vec![], None));
    assert_eq!(rig.letters(), []);
}

#[tokio::test(start_paused = true)]
async fn everything_else_goes_on_in_order_and_the_letter_holds_the_row() {
    let mut rig = Rig::new(r#"{"policy":"store"}"#, &["bad"]);
    let rows = [(CREATE, 1, "one"), (CREATE, 1, "bad"), (CREATE, 1, "three")];
    rig.start(vec![batch(1, &rows), batch(2, &[(CREATE, 1, "four")])], vec![])
        .await;
    rig.until_saved("2").await;
    assert_eq!(rig.written(), ["one", "three", "four"]);
    assert_eq!(rig.letters(), [letter(1, "waiting", POISON)]);
    let stored = rig.store.letters().remove(0);
    let document = Document::of("shop", &stored).to_json();
    for part in [
        r#""key":{"id":"1"}"#,
        r#""event_id":"db:1:1""#,
        r#""after":{"id":"1","note":"bad"}"#,
        r#""updated_at":"2023-11-14T22:13:20.000000Z""#,
    ] {
        assert!(document.contains(part), "{part} is not in {document}");
    }
    let status = rig.telemetry.snapshot();
    assert_eq!(status.dead_letters.waiting, 1);
    assert!(status.notices["dead_letters"].contains("bad is not encodable"));
}

#[tokio::test(start_paused = true)]
async fn progress_does_not_move_where_the_letter_cannot_be_written() {
    let mut rig = Rig::new(r#"{"policy":"store"}"#, &["bad"]);
    rig.store.refuse_saves(true);
    let rows = [(CREATE, 1, "one"), (CREATE, 2, "bad")];
    rig.start(vec![batch(1, &rows)], vec![]).await;
    assert_eq!(rig.ended().await.unwrap_err().code(), "state_unwritable");
    assert_eq!((rig.written(), saved(&rig.store)), (vec![], None));
    assert!(rig.confirmed.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_many_letters_halt_and_one_that_comes_again_is_not_counted_twice() {
    let mut rig = Rig::new(r#"{"policy":"store","maximum_count":1}"#, &["bad", "worse"]);
    rig.start(vec![batch(1, &[(CREATE, 1, "bad")])], vec![Delivery::Accept])
        .await;
    rig.until_saved("1").await;
    rig.stop().await;
    rig.start(
        vec![batch(1, &[(CREATE, 1, "bad")]), batch(2, &[(CREATE, 2, "worse")])],
        vec![],
    )
    .await;
    let error = rig.ended().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "dead_letters_full"));
    assert_eq!(rig.letters().len(), 1);
    assert_ne!(saved(&rig.store).as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_published_with_the_batch_that_the_letter_was_in() {
    let mut rig = Rig::new(r#"{"policy":"topic"}"#, &["bad"]);
    let rows = [(CREATE, 1, "one"), (CREATE, 2, "bad")];
    rig.start(vec![batch(1, &rows)], vec![]).await;
    rig.until_saved("1").await;
    let records = rig.stream.written();
    let copy = records
        .iter()
        .find(|record| &*record.topic == "shop.dead_letters")
        .unwrap();
    assert_eq!(copy.key, None);
    assert_eq!(copy.header("event_id"), Some("db:1:1"));
    assert_eq!(copy.header("dead_letter_code"), Some(POISON));
    assert_eq!(copy.header("dead_letter_table"), Some("public.orders"));
    let value = String::from_utf8(copy.value.clone().unwrap().to_vec()).unwrap();
    assert!(value.contains(r#""after":{"id":"2","note":"bad"}"#), "{value}");
    assert_eq!(rig.letters().len(), 1, "and it is kept, to be replayed");
}

#[tokio::test(start_paused = true)]
async fn where_order_is_kept_a_key_waits_until_its_letters_are_replayed() {
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["bad"]);
    let rows = [
        (CREATE, 1, "a1"),
        (CREATE, 2, "b1"),
        (CREATE, 1, "bad"),
        (CREATE, 1, "a3"),
    ];
    rig.start(
        vec![batch(1, &rows), batch(2, &[(CREATE, 1, "a4"), (CREATE, 2, "b2")])],
        vec![],
    )
    .await;
    rig.until_saved("2").await;
    assert_eq!(rig.written(), ["b1", "b2"]);
    let behind = "behind_dead_letter";
    let expected = [
        // Of the batch of the first letter also what came before it: it must not be met again behind it.
        letter(1, "waiting", behind),
        letter(2, "waiting", POISON),
        letter(3, "waiting", behind),
        letter(4, "waiting", behind),
    ];
    assert_eq!(rig.letters(), expected);
    rig.stop().await;

    // Over a restart.
    rig.start(vec![batch(3, &[(CREATE, 1, "a5"), (CREATE, 3, "c1")])], vec![])
        .await;
    rig.until_saved("3").await;
    assert_eq!(rig.written(), ["b1", "b2", "c1"]);

    // Not mended: what was before the bad one goes out, the rest waits again.
    rig.ask(&[1, 2, 3, 4, 5]);
    rig.until(|rig| rig.letters()[1].1 == "waiting").await;
    rig.until(|rig| rig.letters()[0].1 == "replayed").await;
    assert_eq!(rig.written(), ["b1", "b2", "c1", "a1"]);
    assert_eq!(rig.store.letters()[1].attempts, 2);
    rig.mend();
    rig.ask(&[2, 3, 4, 5]);
    rig.until(|rig| rig.letters().iter().all(|letter| letter.1 == "replayed"))
        .await;
    assert_eq!(rig.written(), ["b1", "b2", "c1", "a1", "bad", "a3", "a4", "a5"]);
    assert_eq!(rig.telemetry.snapshot().dead_letters.waiting, 0);
    assert!(rig.telemetry.snapshot().notices.is_empty());
    rig.stop().await;
    rig.start(vec![batch(4, &[(CREATE, 1, "a6")])], vec![]).await;
    rig.until_saved("4").await;
    assert_eq!(rig.written().last().map(String::as_str), Some("a6"));
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_asked_for_while_those_behind_it_are_looked_at_does_not_come_after_them() {
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["bad"]);
    let rows = [(CREATE, 1, "bad"), (CREATE, 1, "a2")];
    rig.start(vec![batch(1, &rows)], vec![]).await;
    rig.until_saved("1").await;
    rig.mend();
    rig.store.ask_after_next_look(1);
    rig.ask(&[2]);
    rig.until(|rig| rig.letters()[0].1 == "replayed").await;
    rig.until(|rig| rig.letters()[1].1 == "waiting").await;
    assert_eq!(rig.written(), ["bad"]);
    rig.ask(&[2]);
    rig.until(|rig| rig.letters()[1].1 == "replayed").await;
    assert_eq!(rig.written(), ["bad", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_truncate_waits_for_the_keys_of_its_table_and_they_for_it() {
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["bad"]);
    let rows = [(CREATE, 1, "bad")];
    let truncate = [(CREATE, 2, "b1"), (Operation::Truncate, 0, ""), (CREATE, 3, "c1")];
    rig.start(vec![batch(1, &rows), batch(2, &truncate)], vec![]).await;
    rig.until_saved("2").await;
    assert_eq!(rig.written(), Vec::<String>::new());
    assert_eq!(rig.letters().len(), 4);
    rig.mend();
    rig.ask(&[1, 2, 3, 4]);
    rig.until(|rig| rig.written().len() == 4).await;
    assert_eq!(rig.written(), ["bad", "b1", "all gone", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_letter_of_a_key_waits_until_what_was_read_before_is_saved() {
    let gate = Arc::new(Notify::new());
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["bad"]);
    let batches = vec![
        batch(1, &[(CREATE, 1, "a1")]),
        batch(2, &[(CREATE, 1, "bad")]),
        batch(3, &[(CREATE, 2, "b1")]),
    ];
    rig.start(batches, vec![Delivery::Hold(Arc::clone(&gate))]).await;
    rig.until(|rig| rig.written() == ["a1"]).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(
        rig.letters(),
        [],
        "a crash now would send a1 again, and it must not wait then"
    );
    gate.notify_one();
    rig.until_saved("3").await;
    assert_eq!(rig.letters(), [letter(1, "waiting", POISON)]);
    assert_eq!(rig.written(), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_carries_what_had_to_wait() {
    let gate = Arc::new(Notify::new());
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["bad"]);
    let batches = vec![batch(1, &[(CREATE, 1, "a1")]), batch(2, &[(CREATE, 1, "bad")])];
    rig.start(batches, vec![Delivery::Hold(Arc::clone(&gate))]).await;
    rig.until(|rig| rig.written() == ["a1"]).await;
    gate.notify_one();
    rig.stop().await;
    assert_eq!(saved(&rig.store).as_deref(), Some("2"));
    assert_eq!(rig.letters(), [letter(1, "waiting", POISON)]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_letter_releases_its_key_and_stays_dropped() {
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["bad"]);
    rig.start(vec![batch(1, &[(CREATE, 1, "bad")])], vec![]).await;
    rig.until_saved("1").await;
    rig.stop().await;
    let mut version = rig.rules.desk.hold().await;
    rig.store.set_letter(1, LetterState::Dropped);
    *version += 1;
    drop(version);
    // The source sends it once more.
    rig.start(
        vec![batch(1, &[(CREATE, 1, "bad")]), batch(2, &[(CREATE, 1, "a2")])],
        vec![],
    )
    .await;
    rig.until_saved("2").await;
    assert_eq!(rig.written(), ["a2"]);
    assert_eq!(rig.letters(), [letter(1, "dropped", POISON)]);
}

#[tokio::test(start_paused = true)]
async fn no_progress_is_saved_while_a_replay_is_on_its_way() {
    let gate = Arc::new(Notify::new());
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["bad"]);
    rig.start(vec![batch(1, &[(CREATE, 1, "bad")])], vec![]).await;
    rig.until_saved("1").await;
    rig.stop().await;
    rig.mend();
    rig.ask(&[1]);
    // The letter goes out before anything is read.
    rig.start(
        vec![batch(2, &[(CREATE, 1, "a2")])],
        vec![Delivery::Hold(Arc::clone(&gate))],
    )
    .await;
    rig.until(|rig| rig.written() == ["bad", "a2"]).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(saved(&rig.store).as_deref(), Some("1"));
    assert_eq!(rig.letters(), [letter(1, "replay_requested", POISON)]);
    gate.notify_one();
    rig.until_saved("2").await;
    assert_eq!(rig.letters(), [letter(1, "replayed", POISON)]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_whose_answer_is_lost_goes_out_again() {
    let mut rig = Rig::new(r#"{"policy":"store"}"#, &["bad"]);
    rig.start(vec![batch(1, &[(CREATE, 1, "bad")])], vec![]).await;
    rig.until_saved("1").await;
    rig.stop().await;
    rig.mend();
    rig.ask(&[1]);
    rig.start(vec![], vec![Delivery::FailAfterWrite]).await;
    assert_eq!(rig.ended().await.unwrap_err().kind(), Kind::Transient);
    assert_eq!(rig.letters(), [letter(1, "replay_requested", POISON)]);
    rig.start(vec![], vec![]).await;
    rig.until(|rig| rig.letters()[0].1 == "replayed").await;
    assert_eq!(rig.written(), ["bad", "bad"], "the same event twice, never none");
}

const UNCAST: &str = "cast_impossible";

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_cast_halts_by_default() {
    let mut rig = Rig::new("{}", &[]);
    rig.cast_to("decimal");
    let rows = [(CREATE, 1, "1"), (CREATE, 2, "secret")];
    rig.start(vec![batch(1, &rows)], vec![]).await;
    let error = rig.ended().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Poison, UNCAST));
    assert!(!error.report().contains("secret"), "{}", error.report());
    assert_eq!((rig.written(), saved(&rig.store)), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_cast_is_set_aside_among_others_and_cast_when_it_is_replayed() {
    let mut rig = Rig::new(r#"{"policy":"store","order":"key"}"#, &["4"]);
    rig.cast_to("decimal");
    let rows = [
        (CREATE, 1, "1"),
        (CREATE, 2, "two"),
        (CREATE, 3, "3"),
        (CREATE, 4, "4"),
        (CREATE, 2, "22"),
    ];
    rig.start(vec![batch(1, &rows), batch(2, &[(CREATE, 5, "5")])], vec![])
        .await;
    rig.until_saved("2").await;
    assert_eq!(rig.written(), ["1", "3", "5"]);
    let behind = letter(3, "waiting", "behind_dead_letter");
    assert_eq!(
        rig.letters(),
        [
            letter(1, "waiting", UNCAST),
            letter(2, "waiting", POISON),
            behind.clone()
        ]
    );
    let stored = rig.store.letters().remove(0);
    let document = Document::of("shop", &stored).to_json();
    assert!(document.contains(r#""after":{"id":"2","note":"two"}"#), "{document}");
    rig.ask(&[1]);
    rig.until(|rig| rig.store.letters()[0].attempts == 2).await;
    assert_eq!(rig.letters()[0], letter(1, "waiting", UNCAST));
    rig.stop().await;
    rig.cast_to("text");
    rig.start(vec![], vec![]).await;
    rig.ask(&[1, 3]);
    rig.until(|rig| rig.letters()[2].1 == "replayed").await;
    assert_eq!(rig.written(), ["1", "3", "5", "two", "22"]);
}
