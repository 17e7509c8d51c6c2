//! PostgreSQL into the embedded stream: the same events, no broker.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::oracle::{self, Snapshot};
use tailrace_tests::published::Published;
use tailrace_tests::servers::{PostgresVersion, Result, ServerError};
use tailrace_tests::workload::{TABLES, Workload};

use crate::capture::{Wanted, connector, database_with};

const WANTED: Wanted<'static> = Wanted {
    tables: "[public.*]",
    format: "envelope: entity",
    source: "",
    connector: "",
    url: None,
    partitions: 1,
};

fn daemon(database: &Database) -> Daemon {
    let daemon = Daemon::new("").unwrap();
    let path = daemon.path().join("events");
    let streams = format!("streams:\n  events: {{ type: file, path: \"{}\" }}\n", path.display());
    daemon
        .configure(&format!("{streams}connectors:\n{}", connector(database, &WANTED)))
        .unwrap();
    daemon
}

/// What `check` finds, as severity and code, and its exit code.
fn checked(daemon: &Daemon) -> (Vec<(String, String)>, Option<i32>) {
    let printed = daemon.command("check", &["--json"]).unwrap();
    let reports: Value = serde_json::from_str(&printed.stdout).unwrap();
    let reports = reports.as_array().unwrap().iter();
    let findings = reports.flat_map(|report| report["findings"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let brief = findings.map(|finding| (text(&finding["severity"]), text(&finding["code"])));
    (brief.collect(), printed.code)
}

/// All events of a topic, through `tailrace tail`, which is told how many there are.
fn tail(daemon: &Daemon, topic: &str, limit: usize) -> Result<Vec<Event>> {
    let printed = daemon.command("tail", &[topic, "--json", "--limit", &limit.to_string()])?;
    if printed.code != Some(0) {
        return Err(ServerError::new(printed.all()));
    }
    printed.stdout.lines().map(event).collect()
}

fn event(line: &str) -> Result<Event> {
    let line: Value = serde_json::from_str(line).map_err(|error| ServerError::new(format!("{error}: {line}")))?;
    let bytes = |name: &str| {
        Some(&line[name])
            .filter(|value| !value.is_null())
            .map(|value| value.to_string().into_bytes())
    };
    let headers = line["headers"].as_object().cloned().unwrap_or_default();
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()));
    Ok(Event {
        partition: i32::try_from(line["partition"].as_i64().unwrap_or_default()).unwrap_or_default(),
        offset: line["offset"].as_i64().unwrap_or_default(),
        timestamp_ms: line["timestamp_ms"].as_i64().unwrap_or_default(),
        key: bytes("key"),
        value: bytes("value"),
        headers: headers.collect(),
    })
}

fn files_under(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(&path))
        } else {
            files.push(path)
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_beside_the_daemon_itself_is_not_stopped_by_it_and_beside_another_it_is() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key)").await;
    let running = daemon(&database);
    running.start().unwrap();
    running.wait_for_state(database.name(), "streaming").unwrap();
    let locked = |severity: &str| (severity.to_owned(), "stream_locked".to_owned());
    let (findings, code) = checked(&running);
    assert!(findings.contains(&locked("note")), "{findings:?}");
    assert_eq!(code, Some(0), "{findings:?}");
    // Another configuration, with a state of its own, into the same files.
    let other = Daemon::new("").unwrap();
    let path = running.path().join("events");
    let streams = format!("streams:\n  events: {{ type: file, path: \"{}\" }}\n", path.display());
    other
        .configure(&format!("{streams}connectors:\n{}", connector(&database, &WANTED)))
        .unwrap();
    let (findings, code) = checked(&other);
    assert!(findings.contains(&locked("blocks")), "{findings:?}");
    assert_eq!(code, Some(3), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_changes_are_in_the_files() {
    let database = database_with(
        PostgresVersion::V17,
        "create table t (id int primary key, v text); insert into t values (1, 'a')",
    )
    .await;
    let daemon = daemon(&database);
    daemon.start().unwrap();
    daemon.wait_for_state(database.name(), "streaming").unwrap();
    database.execute("update t set v = 'b'; delete from t").await.unwrap();
    database.wait_until_carried(&daemon).await.unwrap();
    let topic = format!("{}.public.t", database.name());
    // While the daemon writes.
    let events: Vec<String> = tail(&daemon, &topic, 3).unwrap().iter().map(Event::brief).collect();
    assert_eq!(
        events,
        [
            r#"r {"id":1} {"id":1,"v":"a"}"#,
            r#"u {"id":1} {"id":1,"v":"b"}"#,
            r#"- {"id":1}"#
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_survives_kills_and_torn_tails() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    let workload = Workload::start(&database, 20_260_301).await.unwrap();
    let seed = workload.seed();
    let daemon = daemon(&database);
    daemon.start().unwrap();
    daemon.wait_for_state(database.name(), "streaming").unwrap();
    for _ in 0..3 {
        workload.wait_for_commits(150).await.unwrap();
        daemon.kill9().unwrap();
        // As if the power had failed within a write: garbage at the end of the newest segment of each topic.
        for segment in newest_segments(&daemon) {
            OpenOptions::new()
                .append(true)
                .open(segment)
                .unwrap()
                .write_all(&[0, 0, 0, 200, 1, 2, 3])
                .unwrap();
        }
        daemon.start().unwrap();
        daemon.wait_for_state(database.name(), "streaming").unwrap();
    }
    let history = workload.stop().await.unwrap();
    database.wait_until_carried(&daemon).await.unwrap();
    let mut events = BTreeMap::new();
    for (table, _) in TABLES {
        let topic = format!("{}.public.{table}", database.name());
        // As a program reads it that is linked with the stream.
        let published = Published::File(daemon.path().join("events"));
        events.insert(table, published.events(&topic).await.unwrap());
    }
    let findings = oracle::compare(&database, seed, (&history, Snapshot::Whole), |table| {
        Ok(events[table].clone())
    })
    .await
    .unwrap();
    assert!(findings.records > 300, "{findings:?}");
}

/// The newest segment of each topic: the last by name, as names are offsets.
fn newest_segments(daemon: &Daemon) -> Vec<PathBuf> {
    let mut newest = BTreeMap::new();
    for file in files_under(&daemon.path().join("events")) {
        if file.extension().is_some_and(|extension| extension == "log") {
            let folder = file.parent().unwrap().to_owned();
            let best = newest.entry(folder).or_insert_with(|| file.clone());
            if file > *best {
                *best = file;
            }
        }
    }
    assert!(!newest.is_empty());
    newest.into_values().collect()
}
