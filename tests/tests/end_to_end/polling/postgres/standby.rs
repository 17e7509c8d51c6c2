//! A standby that lags: the time up to which rows are complete is the primary's, as far as it was replayed.

use std::sync::Arc;

use tailrace_tests::database::{Database, Server};
use tailrace_tests::servers::{Postgres, PostgresOptions, PostgresVersion};

use super::Polled;

const TABLE: &str = "create table t (id bigserial primary key, at timestamptz not null default now(), note text);
    insert into t (note) values ('a')";

/// A database and its copy on a standby that replays commits two seconds late.
async fn pair() -> (Database, Database) {
    let primary = Database::own(PostgresOptions::version(PostgresVersion::V17))
        .await
        .unwrap();
    primary.execute(TABLE).await.unwrap();
    let options = PostgresOptions::version(PostgresVersion::V17)
        .setting("recovery_min_apply_delay = 2s")
        // The primary is asked for a sign of life after half of it.
        .setting("wal_receiver_timeout = 2s");
    let standby = Postgres::standby_of(primary.postgres().unwrap(), options).unwrap();
    let standby = primary.on_replica(Server::Postgres(Arc::new(standby)));
    (primary, standby)
}

/// A row that commits within the delay after its time is seen, however late the standby replays both.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_not_skipped_because_the_standby_lags() {
    let (primary, standby) = pair().await;
    let source = "tables: [public.t]\nquery: { mode: timestamp_incrementing, timestamp_column: at, poll_interval_ms: 10, delay_ms: 1000 }";
    let polled = Polled::start(standby, source);
    polled.wait_for_events("t", 1).await;
    for round in 0..3_usize {
        let (slow, quick) = (primary.connect().await.unwrap(), primary.connect().await.unwrap());
        slow.batch_execute("begin; insert into t (note) values ('slow')")
            .await
            .unwrap();
        quick
            .batch_execute("insert into t (note) values ('quick')")
            .await
            .unwrap();
        slow.batch_execute("select pg_sleep(0.4); commit").await.unwrap();
        let events = polled.wait_for_events("t", 3 + 2 * round).await;
        let notes: Vec<String> = events.iter().map(|event| event.after()["note"].to_string()).collect();
        assert_eq!(&notes[1 + 2 * round..], [r#""slow""#, r#""quick""#], "round {round}");
    }
}

/// Ids alone cannot be followed there, which is refused; the whole answer can.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_does_not_tell_who_writes() {
    let (_primary, standby) = pair().await;
    let polled = Polled::prepare(standby, "tables: [public.t]\nquery: { mode: incrementing }");
    polled.daemon.start().unwrap();
    polled.wait_for("halted:gaps_certain");
    polled.daemon.terminate().unwrap();
    polled.configure("tables: [public.t]\nquery: { mode: bulk, changes_only: true }");
    polled.start_again();
    polled.wait_for_events("t", 1).await;
}
