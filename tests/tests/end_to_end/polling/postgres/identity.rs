//! Progress belongs to one database of one server, and to one way of reading it.

use super::{Polled, database_with, number, role_with};

const TABLE: &str = "create table t (id bigserial primary key, note text); insert into t (note) values ('a'), ('b')";
const QUERY: &str = "tables: [public.t]\nquery: { mode: incrementing, poll_interval_ms: 20 }";

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_not_carried_over_to_another_database() {
    let (first, second) = (database_with(TABLE).await, database_with(TABLE).await);
    let polled = Polled::start(first, QUERY);
    polled.wait_for_events("t", 2).await;
    polled.daemon.terminate().unwrap();
    polled.configure_at(&second.url(), QUERY);
    polled.daemon.start().unwrap();
    polled.wait_for("halted:source_identity_changed");
    assert_eq!(polled.events("t").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_not_carried_over_to_another_way_of_reading() {
    let (by_query, by_log) = (QUERY, "tables: [public.t]");
    for (before, after) in [(by_query, by_log), (by_log, by_query)] {
        let polled = Polled::start(database_with(TABLE).await, before);
        polled.wait_for_events("t", 2).await;
        polled.daemon.terminate().unwrap();
        polled.configure(after);
        polled.daemon.start().unwrap();
        polled.wait_for("halted:source_identity_changed");
        assert_eq!(polled.events("t").await.len(), 2);
    }
}

/// The same row has the same id whichever connector reads it, and after any start.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_called_the_same_by_everyone_who_reads_them() {
    let database = database_with(TABLE).await;
    let (one, other) = (Polled::start(database.clone(), QUERY), Polled::start(database, QUERY));
    let ids = |events: Vec<tailrace_tests::events::Event>| -> Vec<String> {
        events.iter().map(|event| event.event_id().to_owned()).collect()
    };
    let known = ids(one.wait_for_events("t", 2).await);
    assert_eq!(ids(other.wait_for_events("t", 2).await), known);
    assert!(known[0] != known[1] && known[0].contains("public.t/1"), "{known:?}");
}

/// A role that may read the table and its sequence needs no other right, and still sees who else writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_is_enough() {
    let database = database_with(&format!("{TABLE}; create view v as select * from t")).await;
    let url = role_with(
        &database,
        "grant select on t, v to ROLE; grant select on sequence t_id_seq to ROLE",
    )
    .await;
    let source = "tables: [public.t, public.v]\nquery: { mode: incrementing, id_column: id, poll_interval_ms: 20 }";
    let polled = Polled::prepare_at(database, &url, source);
    polled.start_again();
    polled.wait_for_events("t", 2).await;
    polled.wait_for_events("v", 2).await;
    let late = polled.database.connect().await.unwrap();
    late.batch_execute("begin; insert into t (note) values ('late')")
        .await
        .unwrap();
    polled
        .database
        .execute("insert into t (note) values ('early')")
        .await
        .unwrap();
    assert!(polled.wait_for_notice("waiting_for_writers").contains("public.t"));
    late.batch_execute("commit").await.unwrap();
    let events = polled.wait_for_events("t", 4).await;
    let ids: Vec<i64> = events.iter().map(|event| number(event, "id")).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}
