//! The loop alone, on a paused clock, over a database that is a counter.

use std::sync::Mutex;

use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::testkit::MemoryStore;
use tailrace_core::value::LogicalType;
use tokio::sync::Notify;

use super::*;
use crate::cursor::{CursorValue, RowKey};
use crate::dialect::{Fetched, GapReport, GapSafety, IdGeneration, PageRequest, Syntax, Writers};
use crate::page::{Admission, batch_full};
use crate::statement::{Piece, Statement};

const BUDGET: Budget = Budget {
    changes: 100,
    bytes: 1 << 20,
};
const INTERVAL_MS: u64 = 60_000;

/// One table whose ids are 1 to `rows`.
#[derive(Default)]
struct Counter {
    rows: i64,
    fetches: Vec<Instant>,
    running: usize,
}

struct CountingDialect {
    counter: Arc<Mutex<Counter>>,
    /// Every fetch waits for it, where there is one.
    gate: Option<Arc<Notify>>,
}

fn table() -> DiscoveredTable {
    let column = Column {
        nullable: false,
        source_type: "INTEGER".to_owned(),
        ..Column::new("id", LogicalType::Int64)
    };
    let schema = TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: "orders".to_owned(),
        },
        kind: TableKind::Table,
        columns: vec![column],
        key: vec![0],
        documentation: None,
    };
    DiscoveredTable {
        schema: Arc::new(schema),
        generated_id: Some(("id".to_owned(), IdGeneration::NeverReused)),
        unique_columns: vec!["id".to_owned()],
        indexes: vec![vec!["id".to_owned()]],
        query: None,
    }
}

impl CountingDialect {
    fn read(&self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched> {
        let pieces = request.statements.iter().flat_map(|statement| &statement.pieces);
        let values: Vec<_> = pieces
            .filter_map(|piece| match piece {
                Piece::Value { value, .. } => value.as_integer(),
                Piece::Text(_) => None,
            })
            .collect();
        let (after, rows) = (values.first().copied().unwrap_or(0), self.counter.lock().unwrap().rows);
        let mut returned = 0;
        for id in (after + 1..=rows).take(usize::try_from(request.limit.unwrap()).unwrap()) {
            returned += 1;
            let key = RowKey {
                id: Some(CursorValue::Integer(id)),
                timestamp: None,
            };
            if page.admit(&key)? == Admission::Stop {
                break;
            }
            page.batch.begin_row().map_err(batch_full)?;
            page.batch.push_int(id);
            let row = page.batch.end_row().map_err(batch_full)?;
            page.take(row, key);
        }
        Ok(Fetched::Rows(returned))
    }
}

struct PlainSyntax;

impl Syntax for PlainSyntax {
    fn identifier(&self, name: &str) -> String {
        name.to_owned()
    }

    fn table(&self, name: &TableName) -> String {
        name.table.clone()
    }
}

#[async_trait]
impl Dialect for CountingDialect {
    fn syntax(&self) -> &'static dyn Syntax {
        &PlainSyntax
    }

    async fn number(&mut self, _statement: &Statement) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn execute(&mut self, _statement: &Statement) -> Result<u64> {
        Ok(0)
    }

    async fn writers(&mut self, _table: &PolledTable) -> Result<Writers> {
        Ok(Writers::default())
    }

    async fn longest_transaction_us(&mut self) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn discover(&mut self) -> Result<Discovery> {
        Ok(Discovery {
            schema_version: 1,
            tables: vec![table()],
        })
    }

    async fn fetch(&mut self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched> {
        {
            let mut counter = self.counter.lock().unwrap();
            counter.fetches.push(Instant::now());
            counter.running += 1;
            assert_eq!(counter.running, 1, "a poll began while one was running");
        }
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        self.counter.lock().unwrap().running -= 1;
        self.read(request, page)
    }

    async fn highest_id(&mut self, _table: &PolledTable) -> Result<Option<i64>> {
        Ok(Some(self.counter.lock().unwrap().rows))
    }

    async fn now_us(&mut self) -> Result<i64> {
        Ok(1)
    }

    fn gap_safety(&self, _table: &PolledTable) -> GapReport {
        GapReport::new(GapSafety::Proven, "")
    }
}

async fn open(rows: i64, gate: Option<Arc<Notify>>) -> (PollingSource<CountingDialect>, Arc<Mutex<Counter>>) {
    let counter = Arc::new(Mutex::new(Counter {
        rows,
        ..Counter::default()
    }));
    let mut config = QueryConfig::new(QueryMode::Incrementing);
    config.poll_interval_ms = INTERVAL_MS;
    config.batch_rows = 10;
    let opening = Opening {
        dialect: CountingDialect {
            counter: Arc::clone(&counter),
            gate,
        },
        identity: "test".into(),
        config,
        context: SourceContext {
            connector: "test".to_owned(),
            resume: None,
            store: Arc::new(MemoryStore::default()),
            telemetry: Arc::new(Telemetry::new("test")),
            updated_at_column: None,
            snapshots: Arc::default(),
        },
    };
    (PollingSource::open(opening).await.unwrap(), counter)
}

#[tokio::test(start_paused = true)]
async fn full_pages_follow_at_once_and_an_empty_table_is_left_alone_for_the_interval() {
    let (mut source, counter) = open(25, None).await;
    let start = Instant::now();
    for expected in [10, 10, 5] {
        assert_eq!(source.next_batch(BUDGET).await.unwrap().changes.len(), expected);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    // Two intervals without rows, then one with; calls that are given up do not put the next poll off.
    let add_at = start + Duration::from_millis(2 * INTERVAL_MS + 1);
    let tick = Duration::from_millis(200);
    let batch = loop {
        if Instant::now() >= add_at {
            counter.lock().unwrap().rows = 26;
        }
        if let Ok(batch) = tokio::time::timeout(tick, source.next_batch(BUDGET)).await {
            break batch.unwrap();
        }
    };
    assert_eq!(batch.changes.len(), 1);
    let fetches: Vec<_> = counter.lock().unwrap().fetches.iter().map(|at| *at - start).collect();
    let polls: Vec<_> = fetches
        .iter()
        .filter(|at| !at.is_zero())
        .map(Duration::as_secs)
        .collect();
    assert_eq!(polls, [60, 120, 180]);
}

#[tokio::test(start_paused = true)]
async fn how_far_polls_are_behind_is_known_when_nothing_is_left() {
    let (mut source, counter) = open(15, None).await;
    let telemetry = Arc::clone(&source.idle.as_ref().unwrap().telemetry);
    assert_eq!(source.next_batch(BUDGET).await.unwrap().changes.len(), 10);
    assert_eq!(telemetry.lag().ms, None, "more rows wait");
    assert_eq!(source.next_batch(BUDGET).await.unwrap().changes.len(), 5);
    assert!(telemetry.lag().ms.is_some_and(|lag_ms| lag_ms < 60_000));
    assert_eq!(telemetry.lag().events, None, "nobody has counted");
    // A table that always has something is behind no more than one that has nothing.
    counter.lock().unwrap().rows = 18;
    assert_eq!(source.next_batch(BUDGET).await.unwrap().changes.len(), 3);
    assert!(telemetry.lag().ms.is_some_and(|lag_ms| lag_ms < 60_000));
    let never = telemetry.snapshot();
    assert_eq!(never.caught_up_us, None, "no poll has found nothing yet");
}

#[tokio::test(start_paused = true)]
async fn a_slow_poll_outlives_the_calls_that_wait_for_it() {
    let gate = Arc::new(Notify::new());
    let (mut source, counter) = open(3, Some(Arc::clone(&gate))).await;
    for _ in 0..50 {
        let call = tokio::time::timeout(Duration::from_millis(200), source.next_batch(BUDGET));
        assert!(call.await.is_err());
    }
    assert_eq!(counter.lock().unwrap().fetches.len(), 1);
    gate.notify_one();
    assert_eq!(source.next_batch(BUDGET).await.unwrap().changes.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn ids_that_go_back_below_the_cursor_are_an_error() {
    let (mut source, counter) = open(3, None).await;
    source.next_batch(BUDGET).await.unwrap();
    counter.lock().unwrap().rows = 2;
    assert_eq!(source.next_batch(BUDGET).await.unwrap_err().code(), "source_went_back");
}
