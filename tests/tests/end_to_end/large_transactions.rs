//! Transactions that are larger than memory, that the server sends while they still run, and that may come to nothing.

use std::collections::BTreeSet;

use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresOptions, PostgresVersion};

use crate::capture::{Capture, Wanted};

const ROWS: usize = 200_000;

/// The goal is 100 MB through 2 M rows in a release build; a debug build with its larger code has the rest.
const MEMORY_BYTES: u64 = 160 * 1024 * 1024;

async fn capture(source: &str) -> Capture {
    // The server spills, or streams, from the first kilobytes on.
    let options = PostgresOptions::version(PostgresVersion::V17).setting("logical_decoding_work_mem = 64kB");
    let database = Database::own(options).await.unwrap();
    database
        .execute("create table t (id int primary key, text text)")
        .await
        .unwrap();
    let source = format!("spill_bytes: 1000000\n{source}");
    Capture::start(
        database,
        &Wanted {
            format: "envelope: entity",
            source: &source,
            partitions: 2,
            ..Wanted::default()
        },
    )
}

fn insert(from: usize, to: usize) -> String {
    format!("insert into t select n, repeat(md5(n::text), 5) from generate_series({from}, {to}) n;")
}

async fn carries_large_transactions(source: &str) {
    let capture = capture(source).await;
    let rest = ROWS + 1;
    let statements = format!(
        "begin; {} savepoint regret; {} rollback to regret; {} commit",
        insert(1, ROWS / 2),
        insert(rest, rest + 20_000),
        insert(ROWS / 2 + 1, ROWS)
    );
    capture.database.execute(&statements).await.unwrap();
    capture.settle().await;
    let streamed = "select coalesce(sum(stream_txns), 0) > 0 from pg_stat_replication_slots";
    capture.database.wait_until(&format!("({streamed})")).await.unwrap();
    let aborted = format!(
        "begin; {} rollback; insert into t values (0, 'after')",
        insert(rest, rest + 60_000)
    );
    capture.database.execute(&aborted).await.unwrap();
    capture.settle().await;
    let peak = capture.daemon.peak_memory_bytes().unwrap();
    assert!(peak < MEMORY_BYTES, "{peak} bytes");
    let events = capture.events("t");
    let keys: BTreeSet<String> = events.iter().map(|event| event.key_json().to_string()).collect();
    assert_eq!((events.len(), keys.len()), (ROWS + 1, ROWS + 1));
    let phantom = format!("{{\"id\":{rest}}}");
    assert!(!keys.contains(&phantom));
    let ids: BTreeSet<&str> = events.iter().map(|event| event.event_id()).collect();
    assert_eq!(ids.len(), ROWS + 1);
    let transactions: BTreeSet<&str> = events.iter().map(|event| event.header("txn")).collect();
    assert_eq!(transactions.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_with_a_savepoint_rolled_back_and_one_given_up() {
    carries_large_transactions("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_one_it_is_carried_whole() {
    let capture = capture("").await;
    let name = capture.database.name().to_owned();
    capture.database.execute(&insert(1, ROWS)).await.unwrap();
    for kills in 1..=3_u64 {
        let status = capture.daemon.wait_for(&name, "a part of the transaction", |status| {
            status["records"].as_u64().unwrap_or_default() >= kills * 5000 || status["lag_bytes"] == 0
        });
        status.unwrap();
        capture.daemon.kill9().unwrap();
        capture.start_again();
    }
    capture.settle().await;
    let events = capture.events("t");
    let keys: BTreeSet<String> = events.iter().map(|event| event.key_json().to_string()).collect();
    assert_eq!(keys.len(), ROWS);
    let ids: BTreeSet<&str> = events.iter().map(|event| event.event_id()).collect();
    assert_eq!(ids.len(), ROWS, "what came twice came under the same id");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_run_at_the_same_time_come_in_the_order_of_their_commits() {
    let capture = capture("").await;
    let (first, second) = (
        capture.database.connect().await.unwrap(),
        capture.database.connect().await.unwrap(),
    );
    first
        .batch_execute(&format!("begin; {}", insert(1, 20_000)))
        .await
        .unwrap();
    second
        .batch_execute(&format!("begin; {}", insert(20_001, 40_000)))
        .await
        .unwrap();
    first.batch_execute(&insert(40_001, 50_000)).await.unwrap();
    second
        .batch_execute(&format!("{} commit", insert(50_001, 60_000)))
        .await
        .unwrap();
    first.batch_execute("commit").await.unwrap();
    capture.settle().await;
    let events = capture.events("t");
    assert_eq!(events.len(), 60_000);
    for partition in 0..2 {
        let mut transactions: Vec<&str> = events
            .iter()
            .filter(|event| event.partition == partition)
            .map(|event| event.header("txn"))
            .collect();
        transactions.dedup();
        assert_eq!(transactions.len(), 2, "partition {partition}: {transactions:?}");
    }
}
