//! One process after another on the same state, while the databases are written to. Nothing is lost, and each says how long nobody was there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::oracle::Findings;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};
use tailrace_tests::workload::Workload;

use crate::capture::{Capture, Wanted};
use crate::crashes::seed;

const WANTED: Wanted<'static> = Wanted {
    tables: "[public.*]",
    format: "envelope: entity",
    source: "",
    connector: "",
    url: None,
    partitions: 3,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Asked,
    Killed,
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// What `/status`, the log and the metrics say of the time since a connector was carried, each of them the same.
fn away(daemon: &Daemon, name: &str) -> Value {
    // It is told of a moment after the state that it goes on with.
    let is_told = |connector: &Value| connector["away"]["ms"].is_i64();
    let away = daemon.wait_for(name, "how long it was away", is_told).unwrap()["away"].clone();
    let ms = away["ms"].as_i64().unwrap();
    assert_eq!(
        ms,
        (away["until_us"].as_i64().unwrap() - away["since_us"].as_i64().unwrap()) / 1000
    );
    let log = daemon.newest_log();
    let sentence = if away["is_exact"] == true {
        "goes on after 00:"
    } else {
        "goes on after at most 00:"
    };
    assert!(
        log.contains(sentence) && log.contains(&format!("{ms}")),
        "{away}\n{log}"
    );
    let metrics = daemon.get("/metrics").unwrap().body;
    let series = format!("tailrace_away_seconds{{connector=\"{name}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap();
    let seconds: f64 = value.parse().unwrap();
    assert!(
        (seconds * 1000.0 - f64::from(i32::try_from(ms).unwrap())).abs() < 0.5,
        "{value}: {away}"
    );
    away
}

async fn judged(capture: &Capture, workload: Workload) -> Findings {
    let seed = workload.seed();
    workload.wait_for_commits(100).await.unwrap();
    let history = workload.stop().await.unwrap();
    let findings = capture.compare(seed, &history).await;
    assert!(findings.records > 200, "{findings:?}");
    findings
}

async fn restarted(version: impl Into<Version>, end: End) {
    let database = Database::shared(version).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let capture = Capture::start(database, &WANTED);
    let name = capture.database.name().to_owned();
    assert_eq!(
        capture.daemon.connector(&name).unwrap()["away"],
        Value::Null,
        "it was never there before"
    );
    for _ in 0..2 {
        workload.wait_for_commits(150).await.unwrap();
        let ending_us = now_us();
        match end {
            End::Asked => assert_eq!(capture.daemon.terminate().unwrap().code(), Some(0)),
            End::Killed => capture.daemon.kill9().unwrap(),
        }
        let ended_us = now_us();
        workload.wait_for_commits(100).await.unwrap();
        let starting_us = now_us();
        capture.start_again();
        let away = away(&capture.daemon, &name);
        let (since_us, until_us) = (away["since_us"].as_i64().unwrap(), away["until_us"].as_i64().unwrap());
        assert_eq!(away["is_exact"], end == End::Asked, "{away}");
        assert!(until_us >= starting_us && since_us <= ended_us, "{away}");
        // What ends by itself is carried until it ends; times are kept in milliseconds.
        assert!(
            end == End::Killed || since_us >= ending_us - 1000,
            "{ending_us}: {away}"
        );
        assert!(away["position"].as_str().is_some_and(|at| !at.is_empty()), "{away}");
    }
    let findings = judged(&capture, workload).await;
    assert!(end == End::Killed || findings.duplicates == 0, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_carried_on_by_the_next_process() {
    restarted(PostgresVersion::V17, End::Asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_carried_on_by_the_next_process() {
    restarted(MySqlVersion::MySql97, End::Asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_carried_on_after_a_kill() {
    restarted(PostgresVersion::V17, End::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_carried_on_after_a_kill() {
    restarted(MySqlVersion::MySql97, End::Killed).await;
}

/// The same configuration, port and state, in a process that stands by.
fn successor(daemon: &Daemon) -> Daemon {
    let mut next = Daemon::beside(daemon, "").unwrap();
    std::fs::copy(daemon.config_file(), next.config_file()).unwrap();
    // Whoever is there answers.
    next.set_admin("", daemon.client().clone());
    next.start_with(&["--stand-by"]).unwrap();
    next
}

async fn wait_for_log(daemon: &Daemon, words: &str) {
    let said = eventually(words, DEADLINE, || async {
        Ok(daemon.log().contains(words).then_some(()))
    });
    said.await.unwrap();
}

async fn handed_over(version: impl Into<Version>, end: End) {
    let database = Database::shared(version).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let mut capture = Capture::start(database, &WANTED);
    let name = capture.database.name().to_owned();
    // Their folders hold the state.
    let mut before = Vec::new();
    for _ in 0..2 {
        workload.wait_for_commits(150).await.unwrap();
        let next = successor(&capture.daemon);
        wait_for_log(&next, "standing by until the other process has ended").await;
        assert_eq!(capture.daemon.state(&name).unwrap(), "streaming", "nobody is disturbed");
        match end {
            End::Asked => assert_eq!(capture.daemon.terminate().unwrap().code(), Some(0)),
            End::Killed => capture.daemon.kill9().unwrap(),
        }
        before.push(std::mem::replace(&mut capture.daemon, next));
        wait_for_log(&capture.daemon, "goes on after").await;
        capture.wait_for("streaming");
        assert_eq!(away(&capture.daemon, &name)["is_exact"], end == End::Asked);
    }
    let findings = judged(&capture, workload).await;
    assert!(end == End::Killed || findings.duplicates == 0, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_by_takes_postgresql_over() {
    handed_over(PostgresVersion::V17, End::Asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_by_takes_mysql_over() {
    handed_over(MySqlVersion::MySql97, End::Asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_by_takes_over_from_one_that_is_killed() {
    handed_over(PostgresVersion::V17, End::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_by_ends_when_it_is_asked_to() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    database.execute("create table t (id int primary key)").await.unwrap();
    let capture = Capture::start(database, &WANTED);
    let next = successor(&capture.daemon);
    // By the signal itself: there is nothing to make durable.
    assert!(!next.terminate().unwrap().success());
    assert_eq!(capture.daemon.state(capture.database.name()).unwrap(), "streaming");
    assert_eq!(capture.after("insert into t values (1)", "t").await.len(), 1);
}

/// What docs/upgrades.md tells people to do: the older state knows less than the slot has confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_goes_back_to_an_older_state_with_the_position_of_the_newer() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    let tables = "create table t (id int primary key); insert into t values (1)";
    database.execute(tables).await.unwrap();
    let capture = Capture::start(database, &WANTED);
    capture.settle().await;
    let (daemon, name) = (&capture.daemon, capture.database.name().to_owned());
    assert_eq!(daemon.terminate().unwrap().code(), Some(0));
    let copy = daemon.path().join("copy.db");
    std::fs::copy(daemon.state_file(), &copy).unwrap();

    capture.start_again();
    assert_eq!(capture.after("insert into t values (2)", "t").await.len(), 2);
    let (offsets, client) = (format!("/connectors/{name}/offsets"), daemon.client());
    let newer = client.get(&offsets).unwrap().json().unwrap();
    assert_eq!(daemon.terminate().unwrap().code(), Some(0));
    capture.database.execute("insert into t values (3)").await.unwrap();

    std::fs::rename(&copy, daemon.state_file()).unwrap();
    let checked = daemon.command("check", &[]).unwrap();
    assert_eq!(checked.code, Some(3), "{}", checked.all());
    for told in ["state_cloned", "slot_moved"] {
        assert!(checked.stdout.contains(told), "{}", checked.all());
    }
    daemon.start_with(&["--adopt-state"]).unwrap();
    capture.wait_for("halted:slot_moved");
    let put = |below: &str| {
        client
            .json("PUT", &format!("/connectors/{name}/{below}"), &Value::Null)
            .unwrap()
    };
    assert_eq!(put("stop").status, 204);
    let first = client.json("PATCH", &offsets, &newer).unwrap();
    assert_eq!(first.status, 409, "{}", first.body);
    let token = first.json().unwrap()["confirm"].as_str().unwrap().to_owned();
    let second = client
        .json("PATCH", &format!("{offsets}?confirm={token}"), &newer)
        .unwrap();
    assert_eq!(second.status, 200, "{}", second.body);
    assert_eq!(put("resume").status, 202);
    capture.wait_for("streaming");
    assert_eq!(capture.after("insert into t values (4)", "t").await.len(), 4);
}
