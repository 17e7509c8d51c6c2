//! From one release to the next, and what an older one says of a later one's state.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};
use tailrace_core::error::Kind;
use tailrace_state::StateStore;

use crate::{checkpoint, orders, place};

const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// A state of layout 1, before there were releases.
const FIRST_LAYOUT: &str = include_str!("golden/v1.sql");

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display()))
        .await
        .unwrap()
}

async fn execute(path: &Path, statements: &'static str) {
    let mut connection = connect(path).await;
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn layout(path: &Path) -> i64 {
    let mut connection = connect(path).await;
    let layout = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    layout
}

/// A state as a later release left it.
async fn of_the_future(path: &Path) {
    StateStore::open(path).await.unwrap().close().await.unwrap();
    execute(
        path,
        "CREATE TABLE from_the_future (id INTEGER); PRAGMA user_version = 1000; \
        INSERT INTO releases VALUES (2, '9.8.0', 999, 0, 0), (3, '9.8.1', 1000, 0, 0), (4, '9.9.0', 1000, 0, 0)",
    )
    .await;
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[tokio::test]
async fn a_newer_state_is_left_alone_and_named() {
    let (_folder, path) = place();
    of_the_future(&path).await;
    let before = fs::read(&path).unwrap();
    for error in [
        StateStore::open(&path).await.unwrap_err(),
        StateStore::adopt(&path).await.unwrap_err(),
        StateStore::outdated(&path).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.code()), (Kind::Definite, "state_newer"));
        let said = error.to_string();
        for part in [
            "written by Tailrace 9.9.0 in layout 1000",
            &format!("this is Tailrace {RELEASE}"),
            "run Tailrace 9.9.0, or a later one",
            "put a copy of before the upgrade in its place",
            "--adopt-state",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    // The release that changed the layout has left a copy.
    fs::write(beside(&path, ".before-9.8.0"), b"").unwrap();
    let said = StateStore::open(&path).await.unwrap_err().to_string();
    assert!(said.contains("state.db.before-9.8.0, which is"), "{said}");
}

#[tokio::test]
async fn a_newer_state_that_does_not_say_whose_it_is_is_refused_too() {
    let (_folder, path) = place();
    of_the_future(&path).await;
    execute(&path, "UPDATE releases SET version = 'no version'").await;
    let said = StateStore::open(&path).await.unwrap_err().to_string();
    assert!(said.contains("written by a newer Tailrace in layout 1000"), "{said}");
    execute(&path, "DROP TABLE releases").await;
    let error = StateStore::open(&path).await.unwrap_err();
    assert_eq!(error.code(), "state_newer");
}

#[tokio::test]
async fn a_state_of_the_first_layout_is_brought_on_behind_a_copy() {
    let (_folder, path) = place();
    execute(&path, FIRST_LAYOUT).await;
    let outdated = StateStore::outdated(&path).await.unwrap().unwrap();
    assert_eq!(outdated.layout, 1);
    assert_eq!(layout(&path).await, 1, "nothing was changed by looking");
    let store = StateStore::adopt(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(connector.load().await.unwrap(), Some(checkpoint(3)));
    assert_eq!(
        connector.newest("public.orders").await.unwrap(),
        Some(orders(&["id", "total"]))
    );
    let memory = connector.recall().await.unwrap();
    assert_eq!(memory, Some(serde_json::json!({"slot": "tailrace"})));
    store.close().await.unwrap();
    assert_eq!(layout(&path).await, outdated.wanted);
    assert_eq!(StateStore::outdated(&path).await.unwrap(), None);

    // The copy is the state of before, for nobody else, and can be gone back to.
    assert_eq!(outdated.copy, beside(&path, &format!(".before-{RELEASE}")));
    assert_eq!(
        fs::metadata(&outdated.copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(layout(&outdated.copy).await, 1);
    fs::rename(&outdated.copy, &path).unwrap();
    assert_eq!(StateStore::open(&path).await.unwrap_err().code(), "state_cloned");
    let store = StateStore::adopt(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(connector.load().await.unwrap(), Some(checkpoint(3)));
}

#[tokio::test]
async fn a_state_of_before_is_read_without_being_brought_on() {
    let (folder, path) = place();
    execute(&path, FIRST_LAYOUT).await;
    let before = fs::read(&path).unwrap();
    // Also while its own daemon has it.
    let its_daemon = fs::File::create(beside(&path, ".lock")).unwrap();
    its_daemon.lock().unwrap();
    let copied = StateStore::copied(&path).await.unwrap();
    let connectors = copied.connectors().await.unwrap();
    let known: Vec<_> = connectors
        .iter()
        .map(|connector| (connector.name.as_str(), connector.checkpoint.clone()))
        .collect();
    assert_eq!(known, [("orders", Some(checkpoint(3)))]);
    let place_of_copy = copied.path().to_owned();
    let mode = fs::metadata(&place_of_copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(copied);
    assert!(!place_of_copy.exists());
    assert_eq!((layout(&path).await, fs::read(&path).unwrap()), (1, before));
    let names = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("before")));
}

#[tokio::test]
async fn what_a_connector_saved_is_seen_beside_whoever_has_the_state() {
    let (_folder, path) = place();
    assert_eq!(StateStore::held_by(&path), None);
    let store = StateStore::open(&path).await.unwrap();
    assert_eq!(StateStore::held_by(&path), Some(std::process::id()));
    assert_eq!(StateStore::saved_of(&path, "orders").await.unwrap(), (None, None));
    let connector = store.connector("orders").await.unwrap();
    let memory = serde_json::json!({ "slot": "tailrace" });
    connector.remember(&memory).await.unwrap();
    for sequence in 1..4 {
        connector.save(&checkpoint(sequence)).await.unwrap();
        let (known, remembered) = StateStore::saved_of(&path, "orders").await.unwrap();
        assert_eq!(known.unwrap().checkpoint, Some(checkpoint(sequence)));
        assert_eq!(remembered, Some(memory.clone()));
    }
    // Whoever only looks fences nobody.
    connector.save(&checkpoint(4)).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(StateStore::held_by(&path), None);
    let (known, _) = StateStore::saved_of(&path, "orders").await.unwrap();
    assert_eq!(known.unwrap().checkpoint, Some(checkpoint(4)));
    let (_folder, path) = place();
    execute(&path, FIRST_LAYOUT).await;
    let error = StateStore::saved_of(&path, "orders").await.unwrap_err();
    assert_eq!(error.code(), "state_outdated");
    assert_eq!(layout(&path).await, 1);
}

#[tokio::test]
async fn who_only_looks_makes_nothing_and_brings_nothing_on() {
    let (folder, path) = place();
    let missing = folder.path().join("nowhere/state.db");
    let looked_at = StateStore::looked_at(&missing).await.unwrap();
    assert_eq!(looked_at.connectors().await.unwrap(), []);
    assert!(!folder.path().join("nowhere").exists());

    execute(&path, FIRST_LAYOUT).await;
    let before = fs::read(&path).unwrap();
    let looked_at = StateStore::looked_at(&path).await.unwrap();
    assert_eq!(looked_at.connectors().await.unwrap().len(), 1);
    assert_eq!(fs::read(&path).unwrap(), before);

    // One of this layout is looked at itself, so that whoever has it is told of.
    let store = StateStore::adopt(&path).await.unwrap();
    assert_eq!(StateStore::looked_at(&path).await.unwrap_err().code(), "state_locked");
    drop(store);
    let looked_at = StateStore::looked_at(&path).await.unwrap();
    assert_eq!(looked_at.path(), path.canonicalize().unwrap());
}

#[tokio::test]
async fn the_copy_has_what_was_not_in_the_main_file_yet() {
    let (folder, path) = place();
    execute(&path, FIRST_LAYOUT).await;
    // Written, and in the log alone, as after a kill.
    let mut connection = connect(&path).await;
    for statement in [
        "PRAGMA journal_mode = WAL",
        "UPDATE source_memory SET memory = '{}', checksum = 0",
    ] {
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }
    let crashed = folder.path().join("crashed.db");
    fs::copy(&path, &crashed).unwrap();
    fs::copy(beside(&path, "-wal"), beside(&crashed, "-wal")).unwrap();
    // The checksum of its memory is wrong, so that it is refused; after it was copied.
    assert_eq!(StateStore::adopt(&crashed).await.unwrap_err().code(), "state_corrupt");
    let mut copy = connect(&beside(&crashed, &format!(".before-{RELEASE}"))).await;
    let memory: String = sqlx::query_scalar("SELECT memory FROM source_memory")
        .fetch_one(&mut copy)
        .await
        .unwrap();
    assert_eq!(memory, "{}");
}

#[tokio::test]
async fn a_copy_is_not_read_with_the_log_of_another() {
    let (folder, path) = place();
    execute(&path, FIRST_LAYOUT).await;
    let store = StateStore::adopt(&path).await.unwrap();
    store
        .connector("orders")
        .await
        .unwrap()
        .save(&checkpoint(4))
        .await
        .unwrap();
    // As after a kill, with what is in the log alone.
    let killed = folder.path().join("killed.db");
    for suffix in ["", "-wal"] {
        fs::copy(beside(&path, suffix), beside(&killed, suffix)).unwrap();
    }
    assert!(fs::metadata(beside(&killed, "-wal")).unwrap().len() > 0);
    // The way back, without half of what has to be moved.
    let copy = beside(&path, &format!(".before-{RELEASE}"));
    fs::rename(&copy, &killed).unwrap();
    for error in [
        StateStore::adopt(&killed).await.unwrap_err(),
        StateStore::outdated(&killed).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.code()), (Kind::Definite, "state_cloned"));
        assert!(
            error.to_string().contains("killed.db-wal is the log of the file"),
            "{error}"
        );
    }
    fs::remove_file(beside(&killed, "-wal")).unwrap();
    let store = StateStore::adopt(&killed).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(connector.load().await.unwrap(), Some(checkpoint(3)));
}

#[tokio::test]
async fn a_state_that_cannot_be_copied_is_not_brought_on() {
    let (_folder, path) = place();
    execute(&path, FIRST_LAYOUT).await;
    fs::create_dir(beside(&path, &format!(".before-{RELEASE}"))).unwrap();
    let error = StateStore::adopt(&path).await.unwrap_err();
    assert_eq!(error.code(), "state_unwritable", "{error}");
    assert_eq!(layout(&path).await, 1);
}

#[tokio::test]
async fn it_is_known_until_when_a_connector_was_carried() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    assert_eq!(store.carried_until("orders").await.unwrap(), None);
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(store.carried_until("orders").await.unwrap(), None);
    // Set by a person.
    connector.save(&checkpoint(1)).await.unwrap();
    assert_eq!(store.carried_until("orders").await.unwrap(), None);
    store.are_carried(&["orders".to_owned()]).await.unwrap();
    connector.save(&checkpoint(2)).await.unwrap();
    let saved = store.carried_until("orders").await.unwrap().unwrap();
    assert!(!saved.is_exact && saved.at_ms > 1_700_000_000_000, "{saved:?}");
    store.ends("orders").await.unwrap();
    let ended = store.carried_until("orders").await.unwrap().unwrap();
    assert!(ended.is_exact && ended.at_ms >= saved.at_ms, "{ended:?}");
    // Set by a person again.
    connector.save(&checkpoint(3)).await.unwrap();
    assert_eq!(store.carried_until("orders").await.unwrap(), Some(ended));
    store
        .are_carried(&["orders".to_owned(), "mirror".to_owned()])
        .await
        .unwrap();
    for name in ["orders", "mirror"] {
        let carried = store.carried_until(name).await.unwrap().unwrap();
        assert!(!carried.is_exact && carried.at_ms >= ended.at_ms, "{carried:?}");
    }
    store.close().await.unwrap();
    // A damaged row is not believed.
    execute(&path, "UPDATE carried_until SET at_ms = at_ms + 1").await;
    let store = StateStore::open(&path).await.unwrap();
    assert_eq!(store.carried_until("orders").await.unwrap(), None);
    assert_eq!(store.carried_until("mirror").await.unwrap(), None);
    store.are_carried(&["orders".to_owned()]).await.unwrap();
    store.forget("orders").await.unwrap();
    assert_eq!(store.carried_until("orders").await.unwrap(), None);
}
