//! The connector on real SQLite files, with a writer beside it.

mod cells;
mod cursors;
mod life;
mod modes;
mod preflight;
mod queues;
mod restart;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::{Budget, Source, SourceConnector, SourceContext};
use tailrace_core::position::Progress;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::testkit::MemoryStore;
use tailrace_core::value::Datum;
use tailrace_core::{Error, Result};
use tailrace_sql::{QueryConfig, QueryMode};
use tempfile::TempDir;

use crate::{SqliteConfig, SqliteConnector};

const BUDGET: Budget = Budget {
    changes: 4096,
    bytes: 1 << 20,
};

/// A database file, its writer, and what a connector remembers of it.
pub(super) struct Shop {
    folder: TempDir,
    pub(super) writer: SqliteConnection,
    pub(super) store: Arc<MemoryStore>,
    pub(super) telemetry: Arc<Telemetry>,
}

/// One event, owned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) operation: &'static str,
    pub(super) table: String,
    pub(super) id: String,
    pub(super) updated_at_us: i64,
    pub(super) row: BTreeMap<String, Datum>,
}

impl Shop {
    pub(super) async fn new(statements: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = connect(&folder.path().join("shop.db")).await;
        let mut shop = Self {
            folder,
            writer,
            store: Arc::new(MemoryStore::default()),
            telemetry: Arc::new(Telemetry::new("shop")),
        };
        shop.execute(statements).await;
        shop
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    pub(super) async fn execute(&mut self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut self.writer)
            .await
            .unwrap();
    }

    /// Every table, by id, asked again after two milliseconds.
    pub(super) fn config(&self, mode: QueryMode) -> SqliteConfig {
        let mut query = QueryConfig::new(mode);
        query.poll_interval_ms = 2;
        query.delay_ms = 0;
        if mode == QueryMode::TimestampIncrementing {
            query.timestamp_column = Some("changed".to_owned());
        }
        SqliteConfig::new(self.path(), vec!["*".to_owned()], query)
    }

    pub(super) async fn open(&self, config: SqliteConfig, resume: Option<Progress>) -> Result<Box<dyn Source>> {
        let context = SourceContext {
            connector: "shop".to_owned(),
            resume,
            store: Arc::clone(&self.store) as _,
            telemetry: Arc::clone(&self.telemetry),
            updated_at_column: None,
            snapshots: Arc::default(),
        };
        SqliteConnector::new(config)?.open(context).await
    }
}

pub(super) async fn connect(path: &std::path::Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    options.disable_statement_logging().connect().await.unwrap()
}

pub(super) fn events(batch: &ChangeBatch) -> Vec<Event> {
    let event = |view: tailrace_core::batch::ChangeView<'_>| {
        let schema = view.table().unwrap();
        let row = view.after().or(view.before()).unwrap();
        let cells = schema.columns.iter().zip(row.iter());
        Event {
            operation: view.operation().code(),
            table: schema.name.qualified(),
            id: format!(
                "{}/{}/{}",
                batch.identity,
                view.transaction().unwrap().position,
                view.change().ordinal
            ),
            updated_at_us: view.updated_at_us(),
            row: cells
                .map(|(column, value)| (column.name.clone(), value.to_datum().unwrap()))
                .collect(),
        }
    };
    batch.views().map(event).collect()
}

/// Reads until so many events came; their progress comes along.
pub(super) async fn read(source: &mut dyn Source, count: usize) -> (Vec<Event>, Progress) {
    let mut all = Vec::new();
    loop {
        let batch = source.next_batch(BUDGET).await.unwrap();
        all.extend(events(&batch));
        if all.len() >= count {
            return (all, batch.progress);
        }
    }
}

/// Reads until an event of this table has this text.
pub(super) async fn read_until(source: &mut dyn Source, column: &str, text: &str) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    let wanted = Datum::Text(text.to_owned());
    while all.last().is_none_or(|event| event.row.get(column) != Some(&wanted)) {
        all.extend(events(&source.next_batch(BUDGET).await.unwrap()));
    }
    all
}

/// Reads until there is an error.
pub(super) async fn read_to_error(source: &mut dyn Source) -> Error {
    loop {
        if let Err(error) = source.next_batch(BUDGET).await {
            return error;
        }
    }
}

pub(super) fn texts(events: &[Event], column: &str) -> Vec<String> {
    let text = |event: &Event| match &event.row[column] {
        Datum::Text(text) => text.clone(),
        other => panic!("{column} is {other:?}"),
    };
    events.iter().map(text).collect()
}

pub(super) fn ints(events: &[Event], column: &str) -> Vec<i64> {
    let int = |event: &Event| match event.row[column] {
        Datum::Int(value) => value,
        ref other => panic!("{column} is {other:?}"),
    };
    events.iter().map(int).collect()
}

/// Closes the writer, so that the file may be moved.
pub(super) async fn close(shop: &mut Shop) {
    let other = connect(&shop.folder.path().join("other.db")).await;
    std::mem::replace(&mut shop.writer, other).close().await.unwrap();
}
