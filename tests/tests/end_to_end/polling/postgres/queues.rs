//! What is asked of every queue, and ids that only PostgreSQL has.

use tailrace_tests::database::Database;

use super::{Polled, database_with, number, role_with};
use crate::polling::queues::{
    ROWS, a_row_commits_late, dies_between_durable_and_acknowledged, loses_the_right_to_delete, query, wait_until_empty,
};

async fn queue() -> Database {
    database_with(&format!(
        "create table t (id bigserial primary key, note text, done_at timestamptz);
         insert into t (note) select n from generate_series(1, {ROWS}) n"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_deleted_they_come_again_with_the_same_id() {
    dies_between_durable_and_acknowledged(queue().await, "delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_marked_they_come_again_with_the_same_id() {
    dies_between_durable_and_acknowledged(queue().await, "{ mark: done_at }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_late_is_neither_skipped_nor_deleted_unpublished() {
    a_row_commits_late(queue().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_delete_rows_stay_and_are_not_published_again() {
    let database = queue().await;
    let url = role_with(&database, "grant select, delete on t to ROLE").await;
    let role = format!("reader_{}", database.name());
    loses_the_right_to_delete(database, (&role, &url)).await;
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
