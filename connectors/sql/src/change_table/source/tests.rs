use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use tailrace_core::batch::{BeforeImage, Change, Transaction};
use tailrace_core::position::Progress;
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::value::{LogicalType, TextKind, Value};

use super::*;

/// Gives the batches that it has.
struct Given(VecDeque<ChangeBatch>);

#[async_trait]
impl Source for Given {
    async fn next_batch(&mut self, _budget: Budget) -> Result<ChangeBatch> {
        let batch = self.0.pop_front();
        std::future::ready(batch.ok_or_else(|| Error::definite("end", "no more"))).await
    }

    async fn confirm(&mut self, _durable: &Position) -> Result<()> {
        std::future::ready(Ok(())).await
    }
}

fn schema(name: &str, columns: &[&str], key: Vec<usize>) -> SharedSchema {
    let column = |name: &&str| {
        Column::new(
            *name,
            match *name {
                "op" | "version" => LogicalType::Text(TextKind::Plain),
                _ => LogicalType::Int64,
            },
        )
    };
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: name.to_owned(),
        },
        kind: TableKind::Table,
        columns: columns.iter().map(column).collect(),
        key,
        documentation: None,
    })
}

const CHANGE_TABLE: &str = "tailrace_changes_orders";

fn change_table(more: &[&str]) -> SharedSchema {
    let columns = [&["sequence", "op", "changed_at", "version", "old_id", "new_id"], more].concat();
    schema(CHANGE_TABLE, &columns, vec![0])
}

/// A batch with one row of a change table, which tells that row 1 was created; `operation` is what happened to the row itself.
fn batch(schema: &SharedSchema, operation: Operation) -> ChangeBatch {
    batch_of(schema, operation, "v1")
}

/// The same, written by a trigger for a version of the table.
fn batch_of(schema: &SharedSchema, operation: Operation, version: &str) -> ChangeBatch {
    let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("p")));
    batch.begin_row().unwrap();
    batch.push_int(7);
    batch.push_text("c").unwrap();
    batch.push_int(1_000_000);
    batch.push_text(version).unwrap();
    batch.push_null();
    for _ in 5..schema.columns.len() {
        batch.push_int(1);
    }
    let row = batch.end_row().unwrap();
    let table = batch.table_index(schema);
    let transaction = batch.push_transaction(Transaction {
        id: None,
        committed_at_us: 0,
        position: "raw".into(),
        log_position: None,
        previous_log_position: None,
        binlog: None,
    });
    batch.changes.push(Change {
        operation,
        table,
        transaction,
        before: None,
        before_image: BeforeImage::None,
        after: Some(row),
        ordinal: 0,
        log_position: None,
        updated_at_us: None,
        topic: None,
        message: None,
    });
    batch
}

const BUDGET: Budget = Budget {
    changes: 10,
    bytes: 1000,
};

fn captured(columns: &[&str]) -> CapturedTables {
    captured_as(columns, "v1")
}

fn captured_as(columns: &[&str], version: &str) -> CapturedTables {
    let captured = CapturedVersion {
        schema: schema("orders", columns, vec![0]),
        version: version.to_owned(),
    };
    [(CHANGE_TABLE.to_owned(), captured)].into()
}

fn source(
    batches: Vec<ChangeBatch>,
    now: CapturedTables,
    later: CapturedTables,
    asked: &Arc<AtomicUsize>,
) -> ChangeTableSource {
    let asked = Arc::clone(asked);
    let describe = Box::new(move || {
        let (asked, later) = (Arc::clone(&asked), later.clone());
        let described = async move {
            // Nobody has it at once.
            tokio::task::yield_now().await;
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(later)
        };
        Box::pin(described) as BoxFuture<'static, _>
    });
    ChangeTableSource::new(Box::new(Given(batches.into())), now, describe)
}

#[tokio::test]
async fn rows_become_changes_of_the_captured_table_and_their_acknowledgement_nothing() {
    let schema = change_table(&[]);
    let batches = [Operation::Create, Operation::Read, Operation::Update, Operation::Delete]
        .map(|operation| batch(&schema, operation));
    let asked = Arc::new(AtomicUsize::new(0));
    let mut source = source(batches.to_vec(), captured(&["id"]), CapturedTables::new(), &asked);
    for expected in [1, 1, 0, 0] {
        let batch = source.next_batch(BUDGET).await.unwrap();
        assert_eq!(batch.changes.len(), expected);
        assert_eq!(batch.progress.position.as_str(), "p");
        for change in batch.views() {
            assert_eq!(change.operation(), Operation::Create);
            assert_eq!(change.table().unwrap().name.table, "orders");
            assert_eq!(change.after().unwrap().get(0), Value::Int(1));
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn another_version_of_the_change_table_has_the_captured_table_looked_at() {
    let batches = vec![
        batch(&change_table(&[]), Operation::Create),
        batch(&change_table(&["old_note", "new_note"]), Operation::Create),
    ];
    let asked = Arc::new(AtomicUsize::new(0));
    let mut source = source(batches, captured(&["id"]), captured(&["id", "note"]), &asked);
    source.next_batch(BUDGET).await.unwrap();
    // The call is dropped while the table is looked at; the batch is there at the next.
    let dropped = futures_util::FutureExt::now_or_never(source.next_batch(BUDGET));
    assert!(dropped.is_none());
    let batch = source.next_batch(BUDGET).await.unwrap();
    assert_eq!(batch.views().next().unwrap().table().unwrap().columns.len(), 2);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_of_another_version_has_the_captured_table_looked_at_but_not_all_the_time() {
    // A column was dropped, and the change table keeps it.
    let schema = change_table(&["old_note", "new_note"]);
    let versions = ["v1", "v2", "v2", "v1", "v1", "v1"];
    let batches = versions.map(|version| batch_of(&schema, Operation::Create, version));
    let asked = Arc::new(AtomicUsize::new(0));
    let (now, later) = (captured(&["id", "note"]), captured_as(&["id"], "v2"));
    let mut source = source(batches.to_vec(), now, later, &asked);
    let mut seen = Vec::new();
    for _ in &versions[..5] {
        let batch = source.next_batch(BUDGET).await.unwrap();
        let columns = batch.views().next().unwrap().table().unwrap().columns.len();
        seen.push((columns, asked.load(Ordering::Relaxed)));
    }
    // The rows have a value in the column, so that their schema has it too.
    assert_eq!(seen, [(2, 0), (2, 1), (2, 1), (2, 1), (2, 1)]);
    tokio::time::advance(ASK_AGAIN).await;
    source.next_batch(BUDGET).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn changes_of_a_table_that_is_gone_are_not_dropped() {
    let asked = Arc::new(AtomicUsize::new(0));
    let batches = vec![batch(&change_table(&[]), Operation::Create)];
    let mut source = source(batches, CapturedTables::new(), CapturedTables::new(), &asked);
    let error = source.next_batch(BUDGET).await.unwrap_err();
    assert_eq!(error.code(), "captured_table_gone");
}
