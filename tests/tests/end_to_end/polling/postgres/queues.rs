//! Queues: each row is published before it is deleted or marked, whatever happens between.

use std::os::unix::process::ExitStatusExt;

use tailrace_tests::servers::eventually;

use super::{DEADLINE, Polled, by_event_id, count, database_with, number, role_with};

const SIGKILL: i32 = 9;
const ROWS: u64 = 3_000;

fn query(acknowledge: &str) -> String {
    format!(
        "tables: [public.t]\nquery: {{ mode: queue, poll_interval_ms: 20, batch_rows: 100, acknowledge: {acknowledge} }}"
    )
}

async fn queue() -> tailrace_tests::database::Database {
    database_with(&format!(
        "create table t (id bigserial primary key, note text, done_at timestamptz);
         insert into t (note) select n from generate_series(1, {ROWS}) n"
    ))
    .await
}

/// Rows that are neither deleted nor marked.
const LEFT: &str = "select count(*) from t where done_at is null";

async fn wait_until_empty(polled: &Polled) {
    polled.database.wait_until(&format!("({LEFT}) = 0")).await.unwrap();
}

/// Killed again and again between durable and deleted: rows come again with the same id, and none is deleted that was not
/// published.
async fn dies_between_durable_and_acknowledged(acknowledge: &str) {
    let polled = Polled::prepare(queue().await, &query(acknowledge));
    let mut published = 0;
    for round in 0..3_u64 {
        polled.daemon.start_armed("before_acknowledge=kill").unwrap();
        let ended = eventually("the death before acknowledging", DEADLINE, || async {
            polled.daemon.ended()
        });
        assert_eq!(ended.await.unwrap().signal(), Some(SIGKILL));
        assert!(
            polled
                .daemon
                .newest_log()
                .contains("failpoint before_acknowledge: killed")
        );
        let ids = by_event_id(&polled.events("t").await);
        let left = count(&polled.database, LEFT).await;
        assert!(
            !ids.is_empty() && left + u64::try_from(ids.len()).unwrap() >= ROWS + round,
            "{left} left, {} published",
            ids.len()
        );
        published = polled.events("t").await.len();
        polled
            .database
            .execute("insert into t (note) values ('more')")
            .await
            .unwrap();
    }
    polled.start_again();
    wait_until_empty(&polled).await;
    let events = polled.events("t").await;
    let rows = by_event_id(&events);
    assert_eq!(rows.len() as u64, ROWS + 3);
    assert!(
        published > 0 && events.len() > rows.len(),
        "nothing was published again"
    );
    assert!(events.iter().all(|event| event.operation() == "c"));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_deleted_they_come_again_with_the_same_id() {
    dies_between_durable_and_acknowledged("delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_marked_they_come_again_with_the_same_id() {
    dies_between_durable_and_acknowledged("{ mark: done_at }").await;
}

/// Rows that commit late are in the queue when they are there: nothing is remembered that could leave them out.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_late_is_neither_skipped_nor_deleted_unpublished() {
    let polled = Polled::prepare(queue().await, &query("delete"));
    let late = polled.database.connect().await.unwrap();
    late.batch_execute("begin; insert into t (note) values ('late')")
        .await
        .unwrap();
    polled
        .database
        .execute("insert into t (note) values ('early')")
        .await
        .unwrap();
    polled.start_again();
    wait_until_empty(&polled).await;
    late.batch_execute("commit").await.unwrap();
    wait_until_empty(&polled).await;
    let events = polled.events("t").await;
    assert_eq!(events.len() as u64, ROWS + 2);
    assert_eq!(events.last().unwrap().after()["note"], "late");
}

/// Of a partitioned table, by an id that is no whole number, in the order of time.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_by_time_with_ids_of_any_type() {
    let table = "create table t (id uuid not null default gen_random_uuid() unique, at timestamptz not null default clock_timestamp(), n int, done_at timestamptz);
        insert into t (n) select n from generate_series(1, 500) n";
    let source = query("delete").replace("mode: queue", "mode: queue, id_column: id, timestamp_column: at");
    let polled = Polled::start(database_with(table).await, &source);
    wait_until_empty(&polled).await;
    let numbers: Vec<i64> = polled
        .events("t")
        .await
        .iter()
        .map(|event| number(event, "n"))
        .collect();
    assert_eq!(numbers, (1..=500).collect::<Vec<i64>>());
}

/// The right to delete is lost on the way: rows are published once, stay, and are deleted when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_delete_rows_stay_and_are_not_published_again() {
    let database = queue().await;
    let url = role_with(&database, "grant select, delete on t to ROLE").await;
    let polled = Polled::prepare_at(database, &url, &query("delete"));
    polled.start_again();
    wait_until_empty(&polled).await;
    let role = format!("reader_{}", polled.database.name());
    polled
        .database
        .execute(&format!("revoke delete on t from {role}"))
        .await
        .unwrap();
    polled
        .database
        .execute("insert into t (note) values ('a'), ('b')")
        .await
        .unwrap();
    assert!(polled.wait_for_notice("unacknowledged").contains("public.t"));
    let carried = usize::try_from(ROWS).unwrap() + 2;
    assert_eq!(polled.wait_for_events("t", carried).await.len(), carried);
    assert_eq!(count(&polled.database, LEFT).await, 2);
    polled
        .database
        .execute(&format!("grant delete on t to {role}"))
        .await
        .unwrap();
    wait_until_empty(&polled).await;
    assert_eq!(polled.events("t").await.len(), carried);
}
