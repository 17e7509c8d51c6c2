use std::collections::BTreeMap;

use async_trait::async_trait;

use super::*;
use crate::batch::{BeforeImage, Change, Operation};
use crate::ports::LogReader;
use crate::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use crate::snapshot::run::RunTable;
use crate::value::LogicalType;

/// More changes than keys are kept, in each batch of the log.
const CHANGES: i64 = 70_000;
/// As many rows come before the log goes on; more do not.
const ROWS: usize = 40;

fn schema() -> SharedSchema {
    SharedSchema::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: "s".into(),
            table: "t".into(),
        },
        kind: TableKind::Table,
        columns: vec![Column::new("id", LogicalType::Int64)],
        key: vec![0],
        documentation: None,
    })
}

fn batch(schema: &SharedSchema, keys: std::ops::Range<i64>) -> ChangeBatch {
    let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
    let table = batch.table_index(schema);
    for key in keys {
        batch.begin_row().unwrap();
        batch.push_int(key);
        let after = Some(batch.end_row().unwrap());
        batch.changes.push(Change {
            operation: Operation::Create,
            table,
            transaction: 0,
            before: None,
            before_image: BeforeImage::None,
            after,
            ordinal: 0,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: None,
        });
    }
    batch
}

/// A log that never rests.
struct BusyLog(SharedSchema);

#[async_trait]
impl LogReader for BusyLog {
    async fn begin(&mut self, _: &Position, _: &BTreeMap<String, Position>) -> Result<()> {
        Ok(())
    }

    async fn next_batch(&mut self, _: Budget) -> Result<ChangeBatch> {
        // Whoever reads few rows is done meanwhile.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        Ok(batch(&self.0, 0..CHANGES))
    }

    async fn confirm(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
}

/// Reads few rows at once, and many not before the log has named too many keys.
struct SlowReader(SharedSchema);

#[async_trait]
impl WindowReader for SlowReader {
    async fn tables(&self) -> Result<WindowTables> {
        Ok(WindowTables::default())
    }

    async fn read(&self, request: WindowRequest) -> Result<Window> {
        if request.budget.changes > ROWS {
            std::future::pending::<()>().await;
        }
        let rows = i64::try_from(request.budget.changes).unwrap();
        Ok(Window {
            batch: batch(&self.0, -rows..0),
            schema: SharedSchema::clone(&self.0),
            high: Position::new("0"),
            next: None,
        })
    }

    fn has_passed(&self, _: &Position, _: &Position) -> Result<bool> {
        Ok(true)
    }

    fn rest(&self) {}
}

fn run() -> Run {
    Run {
        id: RunId("1".to_owned()),
        requested_at_us: 1,
        by: "alice".to_owned(),
        stage: RunStage::Running,
        revision: 1,
        tables: vec![RunTable {
            name: "s.t".to_owned(),
            ..RunTable::default()
        }],
    }
}

#[tokio::test]
async fn rows_that_the_log_overtakes_are_read_fewer_at_a_time_and_people_are_told_why() {
    let schema = schema();
    let desk = Arc::new(SnapshotDesk::default());
    let windows = Windows {
        reader: Arc::new(SlowReader(SharedSchema::clone(&schema))),
        desk: Arc::clone(&desk),
        telemetry: Arc::new(Telemetry::new("test")),
        run: Some(run()),
    };
    let mut incremental = Incremental::new("test".into(), windows);
    incremental.begin(Progress::at(Position::new("0"))).unwrap();
    let mut log = BusyLog(schema);
    let budget = Budget {
        changes: 4096,
        bytes: 1 << 20,
    };
    let waiting = || desk.state().waiting.map(|waiting| waiting.code);
    for overtaken in 0..10 {
        let batch = incremental.next_batch(&mut log, budget).await.unwrap();
        if batch.is_incremental {
            // 256, 128 and 64 rows were too many.
            assert_eq!((overtaken, batch.changes.len()), (3, 32));
            assert_eq!(waiting(), None);
            return;
        }
        assert_eq!(waiting().as_deref(), Some("snapshot_overtaken"));
    }
    panic!("the same rows are asked for again and again");
}
