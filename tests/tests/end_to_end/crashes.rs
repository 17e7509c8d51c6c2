//! Somebody dies while a workload runs. Afterwards the oracle compares every topic with the truth.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use tailrace_tests::database::{Database, ServerOptions, Version};
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::{Kafka, KafkaOptions, PostgresOptions, PostgresVersion};
use tailrace_tests::workload::Workload;

use crate::capture::{Capture, KafkaHandle, Wanted};

/// Rows that are duplicated or lost show as different bytes: this envelope has no time of processing in it.
const WANTED: Wanted<'static> = Wanted {
    tables: "[public.*]",
    format: "envelope: entity",
    source: "",
    connector: "",
    url: None,
    partitions: 3,
};

/// Enough that reading them takes longer than looking at the endpoint.
const ARCHIVE_ROWS: u64 = 150_000;

/// Another one at each run; a failure names it, and `TAILRACE_SEED` repeats it.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("TAILRACE_SEED").ok().and_then(|text| text.parse().ok());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    given.unwrap_or_else(|| clock.as_secs() * 1000 + u64::from(clock.subsec_millis()))
}

pub(crate) async fn killed_in_the_stream(version: impl Into<Version>) {
    let database = Database::shared(version).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let seed = workload.seed();
    workload.wait_for_commits(100).await.unwrap();
    let capture = Capture::start(database, &WANTED);
    for _ in 0..5 {
        workload.wait_for_commits(200).await.unwrap();
        capture.daemon.kill9().unwrap();
        workload.wait_for_commits(50).await.unwrap();
        capture.start_again();
    }
    workload.wait_for_commits(100).await.unwrap();
    let history = workload.stop().await.unwrap();
    let findings = capture.compare(seed, &history).await;
    assert!(findings.reads > 0 && findings.records > 1000, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_the_stream() {
    killed_in_the_stream(PostgresVersion::V17).await;
}

pub(crate) async fn killed_in_the_snapshot(version: impl Into<Version>) {
    let database = Database::shared(version).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let seed = workload.seed();
    // The name comes first, so that the workload's tables are read late, or half, when the kill comes.
    let numbers = database.numbers(1..ARCHIVE_ROWS + 1);
    let many = format!(
        "create table a_archive (id int primary key, text text);
        insert into a_archive select n, repeat('tailrace', 40) from ({numbers}) numbers"
    );
    database.execute(&many).await.unwrap();
    workload.wait_for_commits(50).await.unwrap();
    let capture = Capture::prepare(database, &WANTED);
    let name = capture.database.name().to_owned();
    let mut interrupted = 0;
    for kills in 1..=3_u64 {
        capture.daemon.start().unwrap();
        // Records are durable, and by far not all.
        let status = capture.daemon.wait_for(&name, "rows of the snapshot", |status| {
            status["records"].as_u64().unwrap_or_default() > kills * 2000 || status["state"] == "streaming"
        });
        interrupted += u32::from(status.unwrap()["state"] == "snapshotting");
        capture.daemon.kill9().unwrap();
        // Rows that were carried and are gone before the table is read again.
        let deleted = format!("delete from a_archive where id % 100 = {kills}");
        capture.database.execute(&deleted).await.unwrap();
        workload.wait_for_commits(100).await.unwrap();
    }
    assert!(interrupted > 0, "no kill came within the snapshot");
    capture.start_again();
    workload.wait_for_commits(100).await.unwrap();
    let history = workload.stop().await.unwrap();
    capture.compare_with(seed, &history, Snapshot::Interrupted).await;
    let mut left = BTreeSet::new();
    for event in capture.events("a_archive") {
        let id = event.key_json()["id"].as_u64().unwrap();
        if event.value.is_some() {
            left.insert(id)
        } else {
            left.remove(&id)
        };
    }
    let wanted: BTreeSet<u64> = (1..=ARCHIVE_ROWS).filter(|id| !(1..=3).contains(&(id % 100))).collect();
    let lost: Vec<&u64> = wanted.difference(&left).take(5).collect();
    let phantoms: Vec<&u64> = left.difference(&wanted).take(5).collect();
    assert!(
        lost.is_empty() && phantoms.is_empty(),
        "lost {lost:?}, deleted and still there {phantoms:?}, seed {seed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_the_snapshot() {
    killed_in_the_snapshot(PostgresVersion::V17).await;
}

pub(crate) async fn stopped_and_started(version: impl Into<Version>) {
    let database = Database::shared(version).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let seed = workload.seed();
    let capture = Capture::start(database, &WANTED);
    for _ in 0..4 {
        workload.wait_for_commits(150).await.unwrap();
        assert_eq!(
            capture.daemon.terminate().unwrap().code(),
            Some(0),
            "{}",
            capture.daemon.log()
        );
        capture.start_again();
    }
    let history = workload.stop().await.unwrap();
    let findings = capture.compare(seed, &history).await;
    assert_eq!(findings.duplicates, 0, "seed {seed}: {findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_started_nothing_comes_twice() {
    stopped_and_started(PostgresVersion::V17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_dies_and_comes_back() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let seed = workload.seed();
    let kafka = KafkaHandle::Own(Box::new(Kafka::start(KafkaOptions::default()).unwrap()));
    let capture = Capture::prepare_into(database, kafka, &WANTED);
    capture.start_again();
    for _ in 0..2 {
        workload.wait_for_commits(200).await.unwrap();
        capture.kafka.kill9().unwrap();
        workload.wait_for_commits(200).await.unwrap();
        let answer = capture.daemon.get("/livez").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        capture.kafka.restart().unwrap();
    }
    workload.wait_for_commits(100).await.unwrap();
    let history = workload.stop().await.unwrap();
    capture.compare(seed, &history).await;
}

pub(crate) async fn server_restarted_and_killed(options: impl Into<ServerOptions>) {
    let database = Database::own(options).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let seed = workload.seed();
    let capture = Capture::start(database, &WANTED);
    for round in 0..4 {
        workload.wait_for_commits(200).await.unwrap();
        if round % 2 == 0 {
            capture.database.server().restart().unwrap();
        } else {
            capture.database.server().kill9().unwrap();
            capture.database.server().restart().unwrap();
        }
    }
    workload.wait_for_commits(200).await.unwrap();
    let history = workload.stop().await.unwrap();
    capture.compare(seed, &history).await;
    assert_eq!(capture.daemon.state(capture.database.name()).unwrap(), "streaming");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_restarted_and_killed() {
    server_restarted_and_killed(PostgresOptions::version(PostgresVersion::V16).setting("wal_sender_timeout = 5s"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_killed_and_the_embedded_stream_goes_on() {
    let options = PostgresOptions::version(PostgresVersion::V16).setting("wal_sender_timeout = 5s");
    let database = Database::own(options).await.unwrap();
    let scenario = Scenario::on(database, Options::new(Lane::File, seed())).await.unwrap();
    scenario.commit(50).await.unwrap();
    scenario.start().unwrap();
    for _ in 0..2 {
        scenario.workload.release(200);
        scenario.database.server().kill9().unwrap();
        scenario.database.server().restart().unwrap();
        scenario.commit(50).await.unwrap();
    }
    scenario.finish(Snapshot::Whole).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_stood_still_goes_on() {
    let options = PostgresOptions::version(PostgresVersion::V17).setting("wal_sender_timeout = 1s");
    let database = Database::own(options).await.unwrap();
    let workload = Workload::start(&database, seed()).await.unwrap();
    let seed = workload.seed();
    let capture = Capture::start(database, &WANTED);
    workload.wait_for_commits(100).await.unwrap();
    capture.daemon.pause().unwrap();
    let slot = capture.database.slot();
    // The server gives the connection up.
    let gone = format!("not (select active from pg_replication_slots where slot_name = '{slot}')");
    capture.database.wait_until(&gone).await.unwrap();
    workload.wait_for_commits(100).await.unwrap();
    capture.daemon.resume().unwrap();
    workload.wait_for_commits(100).await.unwrap();
    let history = workload.stop().await.unwrap();
    capture.compare(seed, &history).await;
}
