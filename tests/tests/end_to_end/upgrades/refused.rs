//! A state that a later release wrote, and every command that would open it.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tailrace_state::StateStore;
use tailrace_tests::daemon::{Daemon, Printed};

/// A source that is never asked.
const SECTIONS: &str = "streams:\n  events: { type: file, path: \"{folder}/events\" }\nconnectors:\n  shop:\n    stream: events\n    \
    source: { type: sqlite, path: \"{folder}/shop.db\", tables: [orders], query: { mode: incrementing, id_column: id } }\n";

async fn daemon_of_the_past() -> Daemon {
    let daemon = Daemon::new("").unwrap();
    daemon
        .configure(&SECTIONS.replace("{folder}", &daemon.path().to_string_lossy()))
        .unwrap();
    StateStore::open(daemon.state_file())
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let options = SqliteConnectOptions::new().filename(daemon.state_file());
    let mut state = options.connect().await.unwrap();
    let future = "CREATE TABLE from_the_future (id INTEGER); PRAGMA user_version = 1000; \
        INSERT INTO releases VALUES (2, '9.9.0', 1000, 0, 0)";
    sqlx::raw_sql(future).execute(&mut state).await.unwrap();
    state.close().await.unwrap();
    daemon
}

fn assert_says(printed: &Printed, code: i32) {
    let (said, release) = (printed.all(), env!("CARGO_PKG_VERSION"));
    assert_eq!(printed.code, Some(code), "{said}");
    for part in [
        "was written by Tailrace 9.9.0 in layout 1000",
        &format!("this is Tailrace {release}"),
        "run Tailrace 9.9.0, or a later one",
        "[state_newer]",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_refuses_a_newer_state_and_says_whose_it_is() {
    let daemon = daemon_of_the_past().await;
    let before = std::fs::read(daemon.state_file()).unwrap();
    for (command, arguments, code) in [
        ("run", &[][..], 1),
        ("run", &["--adopt-state"], 1),
        ("run", &["--stand-by"], 1),
        ("check", &[], 3),
        ("forget", &["shop"], 1),
        ("forget", &["shop", "--yes"], 1),
        ("dlq list", &["shop"], 1),
    ] {
        assert_says(&daemon.command(command, arguments).unwrap(), code);
    }
    assert_eq!(std::fs::read(daemon.state_file()).unwrap(), before);
    // What asks no state goes on.
    assert_eq!(daemon.command("validate", &[]).unwrap().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_before_is_told_of_before_it_is_brought_on() {
    let daemon = Daemon::new("").unwrap();
    // The schemas that are compared with are in that state.
    let avro = SECTIONS.replace("stream: events\n", "stream: events\n    format: { codec: avro }\n");
    daemon
        .configure(&avro.replace("{folder}", &daemon.path().to_string_lossy()))
        .unwrap();
    let state = daemon.state_file();
    std::fs::create_dir_all(state.parent().unwrap()).unwrap();
    let options = SqliteConnectOptions::new().filename(state).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    let first = include_str!("../../../../src/state/tests/state/golden/v1.sql");
    sqlx::raw_sql(first).execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    // Who only looks leaves it as it is.
    let before = std::fs::read(state).unwrap();
    for (command, connector, code) in [
        ("forget", "orders", 2),
        ("dlq list", "shop", 0),
        ("dlq drop", "shop", 2),
    ] {
        let printed = daemon.command(command, &[connector]).unwrap();
        assert_eq!(printed.code, Some(code), "{command}: {}", printed.all());
        assert_eq!(std::fs::read(state).unwrap(), before, "{command}");
    }
    let said = daemon.command("check", &[]).unwrap().all();
    assert!(
        said.contains("state_outdated") && said.contains("from layout 1 to layout"),
        "{said}"
    );
    let copy = format!("{}.before-{}", state.display(), env!("CARGO_PKG_VERSION"));
    assert!(said.contains(&copy), "{said}");
    assert!(!std::path::Path::new(&copy).exists());
}
