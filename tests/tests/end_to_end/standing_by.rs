//! Nothing happens, or somebody else is at work already.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::PostgresVersion;

use crate::capture::{Capture, Wanted, database_with, sections};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_database_does_not_pin_the_log() {
    let database = database_with(
        PostgresVersion::V17,
        "create table t (id int primary key); create table busy (id int)",
    )
    .await;
    let capture = Capture::start(
        database,
        &Wanted {
            tables: "[public.t]",
            ..Wanted::default()
        },
    );
    let slot = capture.database.slot();
    let restart = format!("select restart_lsn::text from pg_replication_slots where slot_name = '{slot}'");
    let before = capture.database.query_value(&restart).await.unwrap();
    // In the same database and in another one of the same server.
    let neighbour = database_with(PostgresVersion::V17, "create table busy (id int)").await;
    for database in [&capture.database, &neighbour] {
        database
            .execute("insert into busy select generate_series(1, 10000)")
            .await
            .unwrap();
        capture.settle().await;
    }
    capture.database.execute("checkpoint").await.unwrap();
    // Its own transactions, once more, so that the server writes down what is running.
    let moved = format!("({restart})::pg_lsn > '{before}'::pg_lsn");
    capture.database.wait_until(&moved).await.unwrap();
    assert!(capture.events("t").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_state_is_refused() {
    let capture = Capture::of("create table t (id int primary key); insert into t values (1)").await;
    let sections = sections(&capture.database, &capture.kafka.bootstrap(), &Wanted::default());
    let second = Daemon::beside(&capture.daemon, &sections).unwrap();
    let ended = second.run_to_end(&[]).unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(second.log().contains("state_locked"), "{}", second.log());
    assert_eq!(capture.after("insert into t values (2)", "t").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_somebody_reads_is_waited_for() {
    let capture = Capture::of("create table t (id int primary key); insert into t values (1)").await;
    capture.daemon.terminate().unwrap();
    // Somebody else streams from the slot, as a daemon on another machine would.
    let slot = capture.database.slot();
    let active = format!("(select active from pg_replication_slots where slot_name = '{slot}')");
    capture.database.wait_until(&format!("not {active}")).await.unwrap();
    let holder = capture.database.hold_slot(&slot).unwrap();
    capture.database.wait_until(&active).await.unwrap();
    capture.daemon.start().unwrap();
    capture.wait_for("degraded");
    let status = capture.daemon.connector(capture.database.name()).unwrap();
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("active"), "{reason}");
    capture.database.wait_until(&active).await.unwrap();
    drop(holder);
    capture.wait_for("streaming");
    assert_eq!(capture.after("insert into t values (2)", "t").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_transaction_that_holds_the_slot_up_is_named() {
    let options = tailrace_tests::servers::PostgresOptions::version(PostgresVersion::V17);
    let database = tailrace_tests::database::Database::own(options).await.unwrap();
    database
        .execute("create table t (id int primary key); insert into t values (1)")
        .await
        .unwrap();
    let old = database.connect().await.unwrap();
    old.batch_execute("begin; insert into t values (2)").await.unwrap();
    let capture = Capture::prepare(database, &Wanted::default());
    capture.daemon.start().unwrap();
    let name = capture.database.name().to_owned();
    capture
        .daemon
        .wait_for(&name, "the notice", |status| {
            status["notices"]["waiting_for_old_transactions"].is_string()
        })
        .unwrap();
    old.batch_execute("commit").await.unwrap();
    capture.wait_for("streaming");
    let ids: Vec<String> = capture.after("", "t").await;
    assert_eq!(ids.len(), 2, "{ids:?}");
}
