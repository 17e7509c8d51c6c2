//! The session against real files.

use std::sync::Arc;

use tailrace_core::batch::{BeforeImage, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::error::Kind;
use tailrace_core::ports::sink::{Advance, EventBatch, Origin, Sink, SinkContext};
use tailrace_core::position::{Position, Progress};
use tailrace_core::record_batch::{RecordMark, TopicPartition};
use tailrace_core::schema::{Column, TableKind, TableSchema};
use tailrace_core::telemetry::Telemetry;
use tailrace_core::topic;
use tailrace_core::value::{Datum, LogicalType};
use tailrace_sql::sink::session::Session;
use tailrace_sql::sink::target::TargetTable;
use tailrace_sql::sink::work::{Action, Offset, Place, Step, StepColumn, StepRow, Work};

use super::*;

/// A file with a session on it.
struct File {
    session: SqliteSession,
    folder: tempfile::TempDir,
}

fn config(folder: &tempfile::TempDir) -> SqliteSinkConfig {
    serde_json::from_value(serde_json::json!({ "path": folder.path().join("db"), "busy_timeout_ms": 100 })).unwrap()
}

async fn session(folder: &tempfile::TempDir) -> SqliteSession {
    let context = SinkContext {
        connector: "mirror".to_owned(),
        writer: 0,
        telemetry: Arc::new(Telemetry::new("mirror")),
    };
    SqliteSession::open(&config(folder), &WriteConfig::default(), &context)
        .await
        .unwrap()
}

async fn file(statements: &[&str]) -> File {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("db"), b"").unwrap();
    let mut session = session(&folder).await;
    for statement in statements {
        session.run(statement).await.unwrap();
    }
    File { session, folder }
}

/// What is written, but for the rows.
#[derive(Clone)]
struct What {
    columns: Vec<usize>,
    key: Vec<usize>,
    guard: Option<usize>,
    action: Action,
}

fn upsert(columns: usize) -> What {
    What {
        columns: (0..columns).collect(),
        key: vec![0],
        guard: None,
        action: Action::Upsert,
    }
}

fn int(value: i64) -> Datum {
    Datum::Int(value)
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

// === impl File ===

impl File {
    async fn table(&mut self, name: &str) -> TargetTable {
        let name = self.session.definitions().table_name(name);
        self.session.describe(&name).await.unwrap().unwrap()
    }

    /// Kind and code of the error.
    async fn write(
        &mut self,
        table: &TargetTable,
        what: &What,
        rows: &[Vec<Datum>],
    ) -> Result<(), (Kind, &'static str)> {
        let mut batch = ChangeBatch::new(Arc::from("t"), Progress::at(Position::new("0")));
        let mut step_rows = Vec::new();
        for row in rows {
            batch.begin_row().unwrap();
            for datum in row {
                match datum {
                    Datum::Int(value) => batch.push_int(*value),
                    Datum::Text(text) => batch.push_text(text).unwrap(),
                    _ => batch.push_null(),
                }
            }
            step_rows.push(StepRow {
                row: batch.end_row().unwrap(),
                before: Vec::new(),
                extra: Vec::new(),
                record: 0,
            });
        }
        let columns = what.columns.iter().enumerate().map(|(cell, target)| StepColumn {
            target: *target,
            source: &table.schema.columns[*target],
            place: Place::Cell(cell),
        });
        let step = Step {
            table,
            action: what.action,
            columns: columns.collect(),
            key: what.key.clone(),
            guard: what.guard,
            rows: step_rows,
            batch: &batch,
        };
        let work = Work {
            offsets: &[],
            can_go_back: false,
            steps: vec![step],
        };
        let written = self.session.write(&work).await;
        written.map_err(|error| (error.kind(), error.code()))
    }

    /// Rows of a query that gives one text.
    async fn rows(&mut self, query: &'static str) -> Vec<String> {
        sqlx::query_scalar(query)
            .fetch_all(&mut self.session.connection)
            .await
            .unwrap()
    }
}

const ALL: &str = "SELECT id || '|' || coalesce(u, '-') || '|' || v FROM t ORDER BY id";

#[tokio::test]
async fn offsets_are_fenced_by_their_epoch() {
    let mut file = file(&[]).await;
    let partition = TopicPartition::new("shop.orders", 3);
    let taken = file.session.take(std::slice::from_ref(&partition)).await.unwrap();
    assert_eq!((taken[0].epoch, taken[0].taken.next_offset), (1, None));
    let offset = |epoch| {
        [Offset {
            partition: partition.clone(),
            next_offset: Some(42),
            last_record: Some(RecordMark(u64::MAX - 1)),
            epoch,
        }]
    };
    let write = |epoch| (offset(epoch), Vec::new());
    let (offsets, steps) = write(1);
    let work = Work {
        offsets: &offsets,
        can_go_back: false,
        steps,
    };
    file.session.write(&work).await.unwrap();
    let mut other = session(&file.folder).await;
    let taken = other.take(std::slice::from_ref(&partition)).await.unwrap();
    assert_eq!(taken[0].epoch, 2);
    assert_eq!(
        (taken[0].taken.next_offset, taken[0].taken.last_record),
        (Some(42), Some(RecordMark(u64::MAX - 1)))
    );
    let error = file.session.write(&work).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Fenced, "partition_taken"));
}

#[tokio::test]
async fn a_file_that_is_locked_is_tried_again() {
    let mut file = file(&["CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT, v INT)"]).await;
    let table = file.table("T").await;
    let mut other = session(&file.folder).await;
    other.run("BEGIN IMMEDIATE").await.unwrap();
    let written = file.write(&table, &upsert(3), &[vec![int(1), text("a"), int(1)]]).await;
    assert_eq!(written, Err((Kind::Transient, "target_locked")));
    other.run("ROLLBACK").await.unwrap();
    file.write(&table, &upsert(3), &[vec![int(1), text("a"), int(1)]])
        .await
        .unwrap();
    assert_eq!(file.rows(ALL).await, ["1|a|1"]);
}

#[tokio::test]
async fn rows_are_added_changed_and_deleted() {
    let mut file = file(&["CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT, v INT, twice INT AS (v * 2))"]).await;
    let table = file.table("t").await;
    assert!(table.columns[3].is_generated && table.columns[0].may_be_left_out);
    let mut what = upsert(3);
    let rows: Vec<Vec<Datum>> = (0..250).map(|id| vec![int(id), text("a"), int(1)]).collect();
    file.write(&table, &what, &rows).await.unwrap();
    file.write(&table, &what, &rows).await.unwrap();
    what.guard = Some(2);
    let newer_and_older = [vec![int(0), text("new"), int(1)], vec![int(1), text("old"), int(0)]];
    file.write(&table, &what, &newer_and_older).await.unwrap();
    what.action = Action::Update { must_exist: true };
    file.write(&table, &what, &newer_and_older).await.unwrap();
    let unknown = [vec![int(2), text("x"), int(9)], vec![int(999), text("x"), int(9)]];
    let written = file.write(&table, &what, &unknown).await;
    assert_eq!(written, Err((Kind::Poison, "row_missing")));
    what.action = Action::Insert;
    what.guard = None;
    let written = file.write(&table, &what, &newer_and_older).await;
    assert_eq!(written, Err((Kind::Poison, "duplicate_key")));
    what.action = Action::Delete;
    what.columns = vec![0];
    let gone: Vec<Vec<Datum>> = (2..250).map(|id| vec![int(id)]).collect();
    file.write(&table, &what, &gone).await.unwrap();
    assert_eq!(file.rows(ALL).await, ["0|new|1", "1|a|1"]);
    what.action = Action::Truncate;
    what.columns = Vec::new();
    what.key = Vec::new();
    file.write(&table, &what, &[]).await.unwrap();
    assert!(file.rows(ALL).await.is_empty());
}

#[tokio::test]
async fn values_of_unique_indexes_wander_from_row_to_row() {
    let mut file = file(&["CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, v INT)"]).await;
    let table = file.table("t").await;
    let what = upsert(3);
    let row = |id, u, v| vec![int(id), text(u), int(v)];
    file.write(&table, &what, &[row(1, "a", 1), row(2, "b", 1)])
        .await
        .unwrap();
    file.write(&table, &what, &[row(3, "a", 2), row(1, "b", 2), row(2, "c", 2)])
        .await
        .unwrap();
    assert_eq!(file.rows(ALL).await, ["1|b|2", "2|c|2", "3|a|2"]);
    file.write(&table, &what, &[row(1, "c", 3), row(2, "b", 3)])
        .await
        .unwrap();
    assert_eq!(file.rows(ALL).await, ["1|c|3", "2|b|3", "3|a|2"]);
    let written = file.write(&table, &what, &[row(4, "d", 4), row(5, "a", 4)]).await;
    assert_eq!(written, Err((Kind::Poison, "duplicate_key")));
    assert_eq!(file.rows(ALL).await, ["1|c|3", "2|b|3", "3|a|2"]);
}

#[tokio::test]
async fn keys_that_a_collation_equates_are_not_one() {
    let statements = ["CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, u TEXT, v INT) WITHOUT ROWID"];
    let mut file = file(&statements).await;
    let table = file.table("t").await;
    let mut what = upsert(3);
    let row = |id, v| vec![text(id), text("u"), int(v)];
    file.write(&table, &what, &[row("a", 1), row("b", 1)]).await.unwrap();
    file.write(&table, &what, &[row("a", 2)]).await.unwrap();
    let written = file.write(&table, &what, &[row("c", 2), row("A", 3)]).await;
    assert_eq!(written, Err((Kind::Poison, "key_collision")));
    what.action = Action::Delete;
    what.columns = vec![0];
    file.write(&table, &what, &[vec![text("B")]]).await.unwrap();
    assert_eq!(file.rows(ALL).await, ["a|u|2", "b|u|1"]);
}

#[tokio::test]
async fn what_a_table_refuses_is_poison() {
    let mut file = file(&[
        "CREATE TABLE p (id INTEGER PRIMARY KEY)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT NOT NULL, v INT REFERENCES p (id) CHECK (v > 0)) STRICT",
    ])
    .await;
    let table = file.table("t").await;
    assert_eq!(table.references[0].table, "p");
    let what = upsert(3);
    for (row, code) in [
        (vec![int(1), Datum::Null, Datum::Null], "null_refused"),
        (vec![int(1), text("u"), int(-1)], "check_constraint"),
        (vec![int(1), text("u"), int(7)], "foreign_key"),
    ] {
        let written = file.write(&table, &what, std::slice::from_ref(&row)).await;
        assert_eq!(written, Err((Kind::Poison, code)), "{row:?}");
    }
    file.session.define("DROP TABLE t").await.unwrap();
    let written = file.write(&table, &what, &[vec![int(1), text("u"), Datum::Null]]).await;
    assert_eq!(written, Err((Kind::Definite, "table_missing")));
}

#[tokio::test]
async fn tables_are_described_and_defined() {
    let mut file = file(&[
        "CREATE TABLE t (a TEXT, b INT NOT NULL, c INT DEFAULT 7, PRIMARY KEY (b, a), UNIQUE (c, a))",
        "CREATE UNIQUE INDEX part ON t (c) WHERE c > 0",
        "CREATE VIEW v AS SELECT 1 AS one",
    ])
    .await;
    let table = file.table("t").await;
    assert_eq!(
        (table.schema.key.as_slice(), table.unique_keys.as_slice()),
        (&[1, 0][..], &[vec![2, 0]][..])
    );
    assert!(table.has_other_unique_index);
    let left_out: Vec<bool> = table.columns.iter().map(|column| column.may_be_left_out).collect();
    assert_eq!(left_out, [true, false, true]);
    let name = |name: &str| file.session.definitions().table_name(name);
    let (view, missing) = (name("v"), name("nothing"));
    assert_eq!(file.session.describe(&view).await.unwrap_err().code(), "not_a_table");
    assert!(file.session.describe(&missing).await.unwrap().is_none());
    file.session
        .define("ALTER TABLE t ADD COLUMN d DATETIME")
        .await
        .unwrap();
    file.session
        .define("ALTER TABLE t ADD COLUMN d DATETIME")
        .await
        .unwrap();
    file.session.define("CREATE TABLE t (a)").await.unwrap();
    assert_eq!(file.table("t").await.schema.columns.len(), 4);
}

/// As a user would run what `check` prints.
#[tokio::test]
async fn the_preflight_says_which_tables_lack_a_key_and_what_makes_one() {
    let mut file = file(&["CREATE TABLE t (\"a b\" TEXT, c INT)"]).await;
    let write: WriteConfig = serde_json::from_str(r#"{"key": ["c", "a b"]}"#).unwrap();
    let sink = SqliteSink::new(config(&file.folder), write).unwrap();
    let topics = ["shop.t", "shop.absent", "shop.*"].map(str::to_owned);
    let keys = async || {
        let findings = sink.check("mirror", &topics).await;
        findings
            .into_iter()
            .filter(|finding| ["key_not_unique", "table_missing"].contains(&finding.code))
            .map(|finding| (finding.code, finding.remedy))
            .collect::<Vec<_>>()
    };
    let found = keys().await;
    let [("key_not_unique", remedy), ("table_missing", _)] = found.as_slice() else {
        panic!("{found:?}");
    };
    file.session.define(remedy).await.unwrap();
    assert!(file.table("t").await.is_unique(&[0, 1]));
    let found: Vec<&str> = keys().await.iter().map(|(code, _)| *code).collect();
    assert_eq!(found, ["table_missing"]);
}

#[tokio::test]
async fn the_preflight_changes_nothing() {
    let file = file(&[]).await;
    let sink = SqliteSink::new(config(&file.folder), WriteConfig::default()).unwrap();
    let codes: Vec<&str> = sink
        .check("mirror", &[])
        .await
        .iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(codes, ["journal_mode", "offsets_table_missing"]);
    assert_eq!(std::fs::metadata(file.folder.path().join("db")).unwrap().len(), 0);
    let missing = tempfile::tempdir().unwrap();
    let sink = SqliteSink::new(config(&missing), WriteConfig::default()).unwrap();
    assert_eq!(sink.check("mirror", &[]).await[0].code, "target_missing");
}

/// A record of `legacy.customers` that has nothing but a key.
fn tombstone() -> EventBatch {
    let mut changes = ChangeBatch::new(Arc::from("t"), Progress::at(Position::new("")));
    changes.begin_row().unwrap();
    changes.push_int(7);
    let row = changes.end_row().unwrap();
    let transaction = changes.push_transaction(Transaction {
        id: None,
        committed_at_us: 0,
        position: "".into(),
        log_position: None,
        previous_log_position: None,
        binlog: None,
    });
    let id = Column {
        nullable: false,
        ..Column::new("id", LogicalType::Int64)
    };
    let table = changes.table_index(&Arc::new(TableSchema {
        name: topic::table_of("legacy.customers"),
        kind: TableKind::Table,
        columns: vec![id],
        key: vec![0],
        documentation: None,
    }));
    changes.changes.push(Change {
        operation: Operation::Delete,
        table,
        transaction,
        before: Some(row),
        before_image: BeforeImage::Key,
        after: None,
        ordinal: 0,
        log_position: None,
        updated_at_us: None,
        topic: None,
        message: None,
    });
    let partition = TopicPartition::new("legacy.customers", 0);
    EventBatch {
        changes,
        origins: vec![Origin {
            partition: 0,
            offset: 5,
        }],
        partitions: vec![partition.clone()],
        advances: vec![Advance {
            partition,
            next_offset: 6,
            last_record: None,
        }],
        refused: Vec::new(),
        passed_over: 0,
    }
}

#[tokio::test]
async fn a_delete_by_key_is_never_dropped_because_its_table_is_not_known() {
    let mut file = file(&[]).await;
    let folder = &file.folder;
    let write = async |rules: WriteConfig| {
        let rules = Arc::new(SinkRules::new(rules).unwrap());
        let context = SinkContext {
            connector: "mirror".to_owned(),
            writer: 0,
            telemetry: Arc::new(Telemetry::new("mirror")),
        };
        let mut sink = SqlSink::new(Box::new(session(folder).await), rules, context);
        sink.take(&[TopicPartition::new("legacy.customers", 0)]).await.unwrap();
        let written = sink.write(&tombstone()).await;
        written.map_err(|error| (error.kind(), error.code(), error.to_string()))
    };
    let named = || WriteConfig {
        tables: [("legacy.customers".to_owned(), "kunden".to_owned())].into(),
        ..WriteConfig::default()
    };
    assert_eq!(write(WriteConfig::default()).await, Ok(()), "nothing was ever written");
    let (kind, code, message) = write(WriteConfig::default()).await.unwrap_err();
    assert_eq!((kind, code), (Kind::Poison, "table_unknown"));
    assert!(message.contains("tables: { legacy.customers: … }"), "{message}");
    assert_eq!(write(named()).await, Ok(()), "it is not there, and meant");
    for statement in [
        "CREATE TABLE customers (id INTEGER PRIMARY KEY)",
        "INSERT INTO customers VALUES (6), (7)",
    ] {
        file.session.run(statement).await.unwrap();
    }
    assert_eq!(write(WriteConfig::default()).await, Ok(()));
    assert_eq!(file.rows("SELECT CAST(id AS TEXT) FROM customers").await, ["6"]);
}
