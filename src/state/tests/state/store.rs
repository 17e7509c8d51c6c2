//! What it keeps, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::Connection;
use tailrace_core::dead_letter::{LetterState, LetterSummary, Maximum, Settlement};
use tailrace_core::error::Kind;
use tailrace_core::ports::Succession;
use tailrace_core::position::{Checkpoint, PartialTransaction, Position, Progress};
use tailrace_state::StateStore;

use crate::{PLENTY, checkpoint, letter, orders, place};

/// Set in a child process of a test; holds the path of the state it works on.
const CHILD: &str = "TAILRACE_STATE_TEST_CHILD";

async fn error_of(path: &Path) -> tailrace_core::Error {
    StateStore::open(path).await.unwrap_err()
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let (_folder, path) = place();
    let partial = PartialTransaction {
        transaction: Position::new("0/30"),
        changes: 500,
    };
    let middle = Checkpoint {
        sequence: 9,
        progress: Progress {
            position: Position::new("0/20"),
            partial: Some(partial),
        },
    };
    let store = StateStore::open(&path).await.unwrap();
    let instance = store.instance_id().to_owned();
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(connector.load().await.unwrap(), None);
    assert_eq!(connector.recall().await.unwrap(), None);
    assert_eq!(connector.newest("public.orders").await.unwrap(), None);
    connector.save(&checkpoint(1)).await.unwrap();
    connector.save(&middle).await.unwrap();
    connector
        .remember(&serde_json::json!({"slot": "tailrace", "system": 7}))
        .await
        .unwrap();
    connector
        .remember(&serde_json::json!({"slot": "tailrace", "system": 8}))
        .await
        .unwrap();
    connector
        .record(&orders(&["id"]), &Position::new("0/10"), None)
        .await
        .unwrap();
    connector
        .record(&orders(&["id", "total"]), &Position::new("0/11"), None)
        .await
        .unwrap();
    store.close().await.unwrap();

    let store = StateStore::open(&path).await.unwrap();
    assert_eq!(store.instance_id(), instance);
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(connector.load().await.unwrap(), Some(middle));
    assert_eq!(connector.recall().await.unwrap().unwrap()["system"], 8);
    assert_eq!(
        connector.newest("public.orders").await.unwrap(),
        Some(orders(&["id", "total"]))
    );
    assert_eq!(connector.newest("public.order_s").await.unwrap(), None);
}

#[tokio::test]
async fn a_process_that_died_loses_nothing_that_was_saved() {
    let (_folder, path) = place();
    if let Ok(path) = std::env::var(CHILD) {
        let store = StateStore::open(Path::new(&path)).await.unwrap();
        let connector = store.connector("orders").await.unwrap();
        for sequence in 1..=5 {
            connector.save(&checkpoint(sequence)).await.unwrap();
        }
        std::process::abort();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "store::a_process_that_died_loses_nothing_that_was_saved"])
        .env(CHILD, &path);
    let output = child.output().unwrap();
    assert!(!output.status.success());
    let store = StateStore::open(&path).await.unwrap();
    let states = store.connectors().await.unwrap();
    assert_eq!(states[0].checkpoint, Some(checkpoint(5)));
}

#[tokio::test]
async fn a_sequence_must_grow() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    connector.save(&checkpoint(7)).await.unwrap();
    for sequence in [0, 6, 7, u64::MAX] {
        let error = connector.save(&checkpoint(sequence)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Definite, "checkpoint_order"));
    }
    assert_eq!(connector.load().await.unwrap(), Some(checkpoint(7)));
    connector.save(&checkpoint(8)).await.unwrap();
}

#[tokio::test]
async fn the_older_opening_of_a_connector_is_fenced() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let older = store.connector("orders").await.unwrap();
    older.save(&checkpoint(1)).await.unwrap();
    let newer = store.connector("orders").await.unwrap();
    let other = store.connector("customers").await.unwrap();
    let refused = [
        older.save(&checkpoint(2)).await.unwrap_err(),
        older.load().await.unwrap_err(),
        older.remember(&serde_json::json!(1)).await.unwrap_err(),
        older
            .record(&orders(&["id"]), &Position::new("0/1"), None)
            .await
            .unwrap_err(),
    ];
    for error in refused {
        assert_eq!((error.kind(), error.code()), (Kind::Fenced, "fenced_by_peer"));
    }
    assert_eq!(newer.load().await.unwrap(), Some(checkpoint(1)));
    newer.save(&checkpoint(2)).await.unwrap();
    assert_eq!(other.load().await.unwrap(), None);
    other.save(&checkpoint(1)).await.unwrap();
}

#[tokio::test]
async fn a_forgotten_connector_starts_from_nothing_and_fences_who_had_it() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    connector.save(&checkpoint(1)).await.unwrap();
    connector
        .record(&orders(&["id"]), &Position::new("0/1"), None)
        .await
        .unwrap();
    connector.remember(&serde_json::json!(1)).await.unwrap();
    assert!(store.forget("orders").await.unwrap());
    assert!(!store.forget("orders").await.unwrap());
    assert_eq!(connector.save(&checkpoint(2)).await.unwrap_err().kind(), Kind::Fenced);
    let again = store.connector("orders").await.unwrap();
    assert_eq!(again.load().await.unwrap(), None);
    assert_eq!(again.recall().await.unwrap(), None);
    assert_eq!(again.newest("public.orders").await.unwrap(), None);
    // The epoch of the forgotten one must not come back to life with the name.
    assert_eq!(connector.save(&checkpoint(2)).await.unwrap_err().kind(), Kind::Fenced);
}

#[tokio::test]
async fn status_lists_connectors_and_positions() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    store
        .connector("orders")
        .await
        .unwrap()
        .save(&checkpoint(3))
        .await
        .unwrap();
    store.connector("customers").await.unwrap();
    let states = store.connectors().await.unwrap();
    let seen: Vec<_> = states
        .iter()
        .map(|state| (state.name.as_str(), state.epoch, state.checkpoint.clone()))
        .collect();
    assert_eq!(seen, [("customers", 2, None), ("orders", 1, Some(checkpoint(3)))]);
    assert!(states[1].saved_at_ms.unwrap() > 1_700_000_000_000);
}

#[tokio::test]
async fn a_second_daemon_is_told_who_has_the_state() {
    let (folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = error_of(name).await;
        assert_eq!((error.kind(), error.code()), (Kind::Definite, "state_locked"));
        assert!(
            error.to_string().contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(error.to_string().contains("state.db"), "{error}");
    }
    store.close().await.unwrap();
    StateStore::open(&link).await.unwrap();
}

#[tokio::test]
async fn nobody_else_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/for/it/state.db");
    let store = StateStore::open(&path).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for name in ["state.db", "state.db.lock", "state.db-wal", "state.db-shm"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    drop(store);
}

#[tokio::test]
async fn files_of_others_are_left_alone() {
    let (_folder, path) = place();
    let text = b"orders: 17\n".repeat(50);
    fs::write(&path, &text).unwrap();
    assert_eq!(error_of(&path).await.code(), "state_foreign");
    assert_eq!(fs::read(&path).unwrap(), text);

    fs::remove_file(&path).unwrap();
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut shop = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        .execute(&mut shop)
        .await
        .unwrap();
    shop.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = error_of(&path).await;
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "state_foreign"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_copy_must_be_adopted() {
    let (folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let first = store.instance_id().to_owned();
    store
        .connector("orders")
        .await
        .unwrap()
        .save(&checkpoint(1))
        .await
        .unwrap();
    store.close().await.unwrap();

    let copied = folder.path().join("copy.db");
    fs::copy(&path, &copied).unwrap();
    let error = error_of(&copied).await;
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "state_cloned"));
    // Who only looks is told so, too.
    let looked = StateStore::verify_home(&copied).await.unwrap_err();
    assert_eq!((looked.code(), looked.to_string()), (error.code(), error.to_string()));
    let adopted = StateStore::adopt(&copied).await.unwrap();
    assert_ne!(adopted.instance_id(), first);
    assert_eq!(adopted.connectors().await.unwrap()[0].checkpoint, Some(checkpoint(1)));
    adopted.close().await.unwrap();
    StateStore::verify_home(&copied).await.unwrap();
    StateStore::open(&copied).await.unwrap();
    StateStore::verify_home(&folder.path().join("none.db")).await.unwrap();

    let renamed = folder.path().join("renamed.db");
    fs::rename(&path, &renamed).unwrap();
    assert_eq!(StateStore::open(&renamed).await.unwrap().instance_id(), first);
}

#[tokio::test]
async fn a_file_that_vanishes_stops_the_writing() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    connector.save(&checkpoint(1)).await.unwrap();
    fs::remove_file(&path).unwrap();
    let error = connector.save(&checkpoint(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "state_missing"));
    drop((connector, store));
    // Its log is still there: something was here.
    let error = error_of(&path).await;
    assert!(["state_corrupt", "state_locked"].contains(&error.code()), "{error}");
}

#[tokio::test]
async fn an_empty_file_is_damage() {
    let (_folder, path) = place();
    fs::write(&path, b"").unwrap();
    let error = error_of(&path).await;
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "state_corrupt"));
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[tokio::test]
async fn a_half_made_state_is_made_again() {
    let (_folder, path) = place();
    fs::write(path.with_file_name("state.db.new"), b"half").unwrap();
    fs::write(path.with_file_name("state.db.new-wal"), b"half").unwrap();
    let store = StateStore::open(&path).await.unwrap();
    assert_eq!(store.connectors().await.unwrap(), []);
    assert!(!path.with_file_name("state.db.new").exists());
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_refused() {
    // Root may write to any folder of a disk, but nobody may to these.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    for path in [
        file.join("state.db"),
        PathBuf::from("/proc/self/state.db"),
        PathBuf::from("/dev/null/state.db"),
    ] {
        let error = error_of(&path).await;
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Definite, "state_unwritable"),
            "{error}"
        );
        assert!(error.to_string().contains("/state.db"), "{error}");
    }
}

/// Writes beyond a file size limit fail as a full disk does, in the middle of a file.
#[tokio::test]
async fn a_full_disk_keeps_the_last_checkpoint() {
    let (_folder, path) = place();
    if let Ok(path) = std::env::var(CHILD) {
        let store = StateStore::open(Path::new(&path)).await.unwrap();
        let connector = store.connector("orders").await.unwrap();
        let padding = "x".repeat(2000);
        for sequence in 1..1000 {
            let progress = Progress::at(Position::new(format!("{padding}{sequence}")));
            let Err(error) = connector.save(&Checkpoint { sequence, progress }).await else {
                continue;
            };
            assert_eq!((error.kind(), error.code()), (Kind::Transient, "state_unwritable"));
            let last = connector.load().await.unwrap().unwrap();
            assert_eq!(last.sequence, sequence - 1);
            fs::write(format!("{path}.last"), last.sequence.to_string()).unwrap();
            std::process::abort();
        }
        unreachable!("the limit was never met");
    }
    let limited = "trap '' XFSZ; ulimit -f 400; exec \"$0\" --exact store::a_full_disk_keeps_the_last_checkpoint";
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, &path)
        .output();
    let output = output.unwrap();
    let last = fs::read_to_string(format!("{}.last", path.display()));
    let last: u64 = last
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)))
        .parse()
        .unwrap();
    let store = StateStore::open(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    assert_eq!(connector.load().await.unwrap().unwrap().sequence, last);
    connector.save(&checkpoint(last + 1)).await.unwrap();
}

/// What a restart sends again is not another change, and a change that was not told before it is told after it.
#[tokio::test]
async fn versions_are_told_until_they_are_known_to_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = StateStore::open(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    let (narrow, wide, at) = (orders(&["id"]), orders(&["id", "total"]), Position::new("0/1"));
    let first = connector.record(&narrow, &at, None).await.unwrap();
    assert_eq!((first.number, first.previous, first.is_announced), (1, None, true));
    let second = connector.record(&wide, &at, Some(1)).await.unwrap();
    assert_eq!(
        (second.number, second.previous.as_ref(), second.is_announced),
        (2, Some(&narrow), false)
    );
    // Back again in the same run is a third version, whatever it looks like.
    let third = connector.record(&narrow, &at, Some(2)).await.unwrap();
    assert_eq!((third.number, third.previous.as_ref()), (3, Some(&wide)));
    assert_eq!(connector.newest("public.orders").await.unwrap().as_ref(), Some(&narrow));
    connector.announced("public.orders", 2).await.unwrap();
    store.close().await.unwrap();

    // After a restart everything comes from the second one on.
    let store = StateStore::open(&path).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    let again = connector.record(&wide, &at, None).await.unwrap();
    assert_eq!((again.number, again.is_announced), (2, true));
    let untold = connector.record(&narrow, &at, Some(2)).await.unwrap();
    assert_eq!(
        (untold.number, untold.previous.as_ref(), untold.is_announced),
        (3, Some(&wide), false)
    );
    connector.announced("public.orders", 3).await.unwrap();
    assert!(connector.record(&narrow, &at, None).await.unwrap().is_announced);
}

/// After a restart no rows of these may come any more.
#[tokio::test]
async fn versions_that_were_passed_over_are_told_with_the_one_that_came_after() {
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open(&folder.path().join("state.db")).await.unwrap();
    let connector = store.connector("orders").await.unwrap();
    let at = Position::new("0/1");
    let versions = [&["id"][..], &["id", "a"], &["id", "a", "b"], &["id", "a", "b", "c"]].map(orders);
    let mut seen = None;
    for version in versions.iter().take(3) {
        let recorded = connector.record(version, &at, seen).await.unwrap();
        assert_eq!(recorded.passed_over, []);
        seen = Some(recorded.number);
    }
    let passed_over = |number: usize| Succession {
        number: u32::try_from(number).unwrap(),
        before: versions[number - 2].clone(),
        after: versions[number - 1].clone(),
    };
    // Known, and new.
    let third = connector.record(&versions[2], &at, None).await.unwrap();
    assert_eq!((third.number, third.passed_over), (3, vec![passed_over(2)]));
    let fourth = connector.record(&versions[3], &at, None).await.unwrap();
    assert_eq!(fourth.passed_over, [passed_over(2), passed_over(3)]);
    assert_eq!(fourth.previous.as_ref(), Some(&versions[2]));
    connector.announced("public.orders", 2).await.unwrap();
    let fourth = connector.record(&versions[3], &at, None).await.unwrap();
    assert_eq!(fourth.passed_over, [passed_over(3)]);
}

#[tokio::test]
async fn dead_letters_are_kept_until_they_are_replayed_or_dropped() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let orders = store.connector("orders").await.unwrap();
    let other = store.connector("other").await.unwrap();
    let both = [letter(1), letter(2)];
    assert_eq!(
        orders.quarantine(&both, PLENTY).await.unwrap(),
        [LetterState::Waiting; 2]
    );
    other.quarantine(&[letter(1)], PLENTY).await.unwrap();
    store.close().await.unwrap();

    let store = StateStore::open(&path).await.unwrap();
    assert_eq!(
        orders.quarantine(&both, PLENTY).await.unwrap_err().kind(),
        Kind::Fenced,
        "who had it before has it no more"
    );
    let orders = store.connector("orders").await.unwrap();
    assert_eq!(orders.summary().await.unwrap().waiting, 2);
    let asked = store
        .decide_dead_letter("orders", 2, LetterState::ReplayRequested)
        .await;
    assert!(asked.unwrap().is_some());
    let requested = orders.requested(10).await.unwrap();
    assert_eq!((requested.len(), &requested[0].letter), (1, &letter(2)));
    let refused = Settlement::Refused {
        code: "still".to_owned(),
        reason: "too large".to_owned(),
    };
    orders.settle(&[(2, refused)]).await.unwrap();
    let stored = store.dead_letter("orders", 2).await.unwrap().unwrap();
    assert_eq!((stored.attempts, stored.state), (2, LetterState::Waiting));
    assert_eq!(stored.letter.code, "still");

    orders.settle(&[(2, Settlement::Replayed)]).await.unwrap();
    store
        .decide_dead_letter("orders", 1, LetterState::Dropped)
        .await
        .unwrap();
    assert_eq!(orders.summary().await.unwrap(), LetterSummary::default());
    let closed = store.dead_letters("orders", (0, 10, true)).await.unwrap();
    assert!(
        closed.iter().all(|letter| letter.letter.original.is_none()),
        "{closed:?}"
    );
    let identities = both.map(|letter| letter.identity);
    assert_eq!(orders.dropped(&identities).await.unwrap(), [identities[0].clone()]);
    // The source sends both again: what was dropped stays so, what was replayed waits again.
    let again = orders.quarantine(&[letter(1), letter(2), letter(3)], PLENTY).await;
    let states = [LetterState::Dropped, LetterState::Waiting, LetterState::Waiting];
    assert_eq!(again.unwrap(), states);
    let waiting = orders.waiting().await.unwrap();
    assert_eq!(waiting.iter().map(|letter| letter.id).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(store.dead_letter_summary("other").await.unwrap().waiting, 1);
    store.forget("orders").await.unwrap();
    assert_eq!(store.dead_letters("orders", (0, 10, true)).await.unwrap(), []);
}

#[tokio::test]
async fn more_dead_letters_than_may_wait_are_refused_as_a_whole() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let orders = store.connector("orders").await.unwrap();
    let two = Maximum { letters: 2, ..PLENTY };
    orders.quarantine(&[letter(1)], two).await.unwrap();
    let error = orders.quarantine(&[letter(2), letter(3)], two).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "dead_letters_full"));
    assert_eq!(orders.waiting().await.unwrap().len(), 1);
    orders.quarantine(&[letter(1), letter(2)], two).await.unwrap();
    let small = Maximum { bytes: 10, ..PLENTY };
    let error = orders.quarantine(&[letter(4)], small).await.unwrap_err();
    assert_eq!(error.code(), "dead_letters_full");
    orders.quarantine(&[letter(1)], small).await.unwrap();
}

#[tokio::test]
async fn numbers_of_dead_letters_are_never_given_twice() {
    let (_folder, path) = place();
    let store = StateStore::open(&path).await.unwrap();
    let orders = store.connector("orders").await.unwrap();
    let many: Vec<_> = (1..=1500).map(letter).collect();
    orders.quarantine(&many, PLENTY).await.unwrap();
    let all: Vec<_> = (1..=1500).map(|id| (id, Settlement::Replayed)).collect();
    orders.settle(&all).await.unwrap();
    let kept = store.dead_letters("orders", (0, 5000, true)).await.unwrap();
    assert_eq!((kept.len(), kept[0].id), (1000, 501));
    orders.quarantine(&[letter(2000)], PLENTY).await.unwrap();
    assert_eq!(orders.waiting().await.unwrap()[0].id, 1501);
}
