//! A connector that begins where another program stopped, in place of what was known of it.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tailrace_core::Result;
use tailrace_core::error::Kind;
use tailrace_core::position::{Checkpoint, Position, Progress};
use tailrace_state::{Beginning, NewEntry, StateStore};

use crate::{PLENTY, checkpoint, letter, orders, place};

/// Everything that is written, in the order in which it is.
const WRITTEN: [&str; 5] = ["store", "connectors", "source_memory", "checkpoints", "journal"];

/// What a state says of the connector `orders`: its checkpoint, its memory, letters that wait, and how much was written down.
type Said = (Option<Checkpoint>, Option<Value>, u64, usize);

async fn said(store: &StateStore) -> Said {
    let state = store.connector_state("orders").await.unwrap();
    let journal = store.journal((0, i64::MAX), None, 10).await.unwrap();
    (
        state.and_then(|state| state.checkpoint),
        store.source_memory("orders").await.unwrap(),
        store.dead_letter_summary("orders").await.unwrap().waiting,
        journal.len(),
    )
}

async fn begin(store: &StateStore) -> Result<()> {
    let entry = NewEntry {
        at_us: 1,
        connector: Some("orders".to_owned()),
        who: "tailrace".to_owned(),
        what: "offsets",
        detail: "it goes on elsewhere".to_owned(),
    };
    let beginning = Beginning {
        progress: &Progress::at(Position::new("elsewhere")),
        memory: &json!("another server"),
        entry: &entry,
    };
    store.begin("orders", beginning).await
}

/// Runs statements as another process would.
async fn execute(path: &Path, statements: String) {
    let mut other = SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_connector_begins_elsewhere_as_a_whole_or_not_at_all() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let before = store.connector("orders").await.unwrap();
    before.save(&checkpoint(7)).await.unwrap();
    before.remember(&json!("a server")).await.unwrap();
    before
        .record(&orders(&["id"]), &Position::new("0/1"), None)
        .await
        .unwrap();
    before.quarantine(&[letter(1)], PLENTY).await.unwrap();
    let known = (Some(checkpoint(7)), Some(json!("a server")), 1, 0);
    assert_eq!(said(&store).await, known);
    for table in WRITTEN {
        for what in ["INSERT", "UPDATE"] {
            let refuse = format!(
                "CREATE TRIGGER refuse_{what} BEFORE {what} ON {table} BEGIN SELECT RAISE(ABORT, 'a fault'); END"
            );
            execute(&path, refuse).await;
        }
        let error = begin(&store).await.unwrap_err();
        assert!(error.report().contains("a fault"), "{table}: {}", error.report());
        assert_eq!(said(&store).await, known, "{table}");
        execute(
            &path,
            "DROP TRIGGER refuse_INSERT; DROP TRIGGER refuse_UPDATE".to_owned(),
        )
        .await;
    }
    before.save(&checkpoint(8)).await.unwrap();

    begin(&store).await.unwrap();
    let beginning = Checkpoint {
        sequence: 1,
        progress: Progress::at(Position::new("elsewhere")),
    };
    let begun = (Some(beginning.clone()), Some(json!("another server")), 0, 1);
    assert_eq!(said(&store).await, begun);
    assert_eq!(before.save(&checkpoint(9)).await.unwrap_err().kind(), Kind::Fenced);
    store.close().await.unwrap();
    let store = StateStore::open(&path).await.unwrap();
    assert_eq!(said(&store).await, begun);
    let after = store.connector("orders").await.unwrap();
    assert_eq!(after.load().await.unwrap(), Some(beginning));
    assert_eq!(after.newest("public.orders").await.unwrap(), None);
    after.save(&checkpoint(2)).await.unwrap();
}

#[tokio::test]
async fn a_connector_that_was_never_there_begins_elsewhere_too() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    begin(&store).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(connector.load().await.unwrap().unwrap().sequence, 1);
    connector.save(&checkpoint(2)).await.unwrap();
    assert_eq!(connector.load().await.unwrap(), Some(checkpoint(2)));
}
