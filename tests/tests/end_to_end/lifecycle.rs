//! Snapshot modes, tables that come later, endings, and what the endpoint says meanwhile.

use std::time::Duration;

use tailrace_tests::events::Event;
use tailrace_tests::servers::{PostgresVersion, poll_until};

use crate::capture::{Capture, Wanted, connector, database_with, sections};

/// A signal is seen at once, on a machine that is not busy.
const DEADLINE: Duration = Duration::from_secs(60);

const TWO_ROWS: &str = "create table t (id int primary key); insert into t values (1), (2)";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_snapshot_only_changes_come() {
    let database = database_with(PostgresVersion::V17, TWO_ROWS).await;
    let capture = Capture::start(
        database,
        &Wanted {
            source: "snapshot: { mode: never }",
            ..Wanted::default()
        },
    );
    assert_eq!(
        capture.after("insert into t values (3)", "t").await,
        [r#"c {"id":3} null -> {"id":3}"#]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_alone_ends_by_itself() {
    let database = database_with(PostgresVersion::V17, TWO_ROWS).await;
    let capture = Capture::prepare(
        database,
        &Wanted {
            source: "snapshot: { mode: only }",
            ..Wanted::default()
        },
    );
    let ended = capture.daemon.run_to_end(&[]).unwrap();
    assert_eq!(ended.code(), Some(0), "{}", capture.daemon.log());
    assert_eq!(capture.events("t").len(), 2);
    let slots = format!(
        "select count(*) from pg_replication_slots where database = '{}'",
        capture.database.name()
    );
    assert_eq!(
        capture.database.query_value(&slots).await.unwrap(),
        "0",
        "nothing is left that would hold the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_in_the_order_of_updates() {
    let rows = "create table t (id int primary key, modified timestamptz);
        insert into t select n, timestamptz '2026-01-01' + ((n * 7919) % 1000) * interval '1 s' from generate_series(1, 1000) n";
    let database = database_with(PostgresVersion::V17, rows).await;
    let wanted = Wanted {
        source: "snapshot: { order: updated_at }",
        connector: "updated_at: { column: modified }",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    capture.settle().await;
    let stamps: Vec<i64> = capture.events("t").iter().map(|event| event.timestamp_ms).collect();
    assert_eq!(stamps.len(), 1000);
    assert!(stamps.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_added_to_the_configuration_is_read_and_followed() {
    let database = database_with(
        PostgresVersion::V17,
        &format!("{TWO_ROWS}; create table later (id int primary key); insert into later values (1)"),
    )
    .await;
    let capture = Capture::start(
        database,
        &Wanted {
            tables: "[public.t]",
            ..Wanted::default()
        },
    );
    capture
        .after("insert into t values (3); insert into later values (2)", "t")
        .await;
    capture.daemon.terminate().unwrap();
    capture
        .database
        .execute("insert into t values (4); insert into later values (3)")
        .await
        .unwrap();
    let wanted = Wanted {
        tables: "[public.t, public.later]",
        ..Wanted::default()
    };
    capture
        .daemon
        .configure(&sections(&capture.database, &capture.kafka.bootstrap(), &wanted))
        .unwrap();
    capture.start_again();
    let mut later = capture
        .after("insert into later values (4); insert into t values (5)", "later")
        .await;
    let last = later.pop().unwrap();
    assert_eq!(last, r#"c {"id":4} null -> {"id":4}"#);
    later.sort();
    assert_eq!(
        later,
        [1, 2, 3].map(|id| format!("r {{\"id\":{id}}} null -> {{\"id\":{id}}}"))
    );
    let before: Vec<String> = capture.after("", "t").await;
    let expected = ["r", "r", "c", "c", "c"];
    assert_eq!(
        before.iter().map(|event| &event[..1]).collect::<Vec<_>>(),
        expected,
        "{before:?}"
    );
}

/// Debezium's `sequence` of an event: where the last commit before it ended, and where it is itself.
fn sequence(event: &Event) -> (Option<u64>, u64) {
    let source = &event.value_json()["source"];
    let parts: [Option<String>; 2] = serde_json::from_str(source["sequence"].as_str().unwrap()).unwrap();
    let [last, own] = parts.map(|digits| digits.map(|digits| digits.parse().unwrap()));
    (last, own.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commit_before_an_event_is_known_over_a_restart() {
    let capture = Capture::of(TWO_ROWS).await;
    capture.after("insert into t values (3)", "t").await;
    capture.after("insert into t values (4)", "t").await;
    capture.daemon.terminate().unwrap();
    capture.start_again();
    capture.after("insert into t values (5)", "t").await;
    let events = capture.events("t");
    let [third, fourth, fifth] = [2, 3, 4].map(|place| sequence(&events[place]));
    assert_eq!(third.0, None, "nothing was read before it");
    assert!(
        fourth.0 > Some(third.1) && fourth.0 <= Some(fourth.1),
        "{third:?} {fourth:?}"
    );
    assert!(
        fifth.0 > Some(fourth.1) && fifth.0 <= Some(fifth.1),
        "{fourth:?} {fifth:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_tells_the_truth() {
    let capture = Capture::of(TWO_ROWS).await;
    capture.after("insert into t values (3)", "t").await;
    let name = capture.database.name().to_owned();
    assert_eq!(capture.daemon.get("/readyz").unwrap().status, 200);
    let status = capture
        .daemon
        .wait_for(&name, "the numbers", |status| status["records"] == 3)
        .unwrap();
    assert_eq!(status["state"], "streaming");
    assert_eq!(status["tables"]["public.t"]["rows_done"], 2, "{status:#}");
    assert_eq!(status["tables"]["public.t"]["finished"], true);
    assert!(status["latency_ms"].as_i64().unwrap() >= 0);
    let metrics = capture.daemon.get("/metrics").unwrap();
    let series = format!("tailrace_records_total{{connector=\"{name}\"}} 3");
    assert!(metrics.body.contains(&series), "{}", metrics.body);
    assert!(metrics.body.trim_end().ends_with("# EOF"));
    assert_eq!(capture.daemon.get("/nothing").unwrap().status, 404);
    let retention = capture
        .daemon
        .wait_for(&name, "what the log costs", |status| status["retention"].is_object())
        .unwrap();
    assert!(retention["retention"]["summary"].as_str().unwrap().contains("WAL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_printed() {
    let statements =
        "create role teller login replication superuser password 'Canary-4711'; create table t (id int primary key)";
    let options = tailrace_tests::servers::PostgresOptions::version(PostgresVersion::V17);
    let database = tailrace_tests::database::Database::own(options).await.unwrap();
    database.execute(statements).await.unwrap();
    let url = database
        .postgres()
        .unwrap()
        .url_as("teller:Canary-4711", database.name());
    let mut capture = Capture::prepare(
        database,
        &Wanted {
            url: Some(url),
            ..Wanted::default()
        },
    );
    capture.daemon.set_variable("TAILRACE_LOG", "trace,hyper=info");
    capture.start_again();
    capture.after("insert into t values (1)", "t").await;
    let mut printed = capture.daemon.log();
    for path in ["/status", "/metrics", "/readyz"] {
        printed.push_str(&capture.daemon.get(path).unwrap().body);
    }
    for command in ["check", "validate", "describe"] {
        printed.push_str(&capture.daemon.command(command, &[]).unwrap().all());
    }
    assert!(!printed.contains("Canary"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_a_stuck_broker_ends_at_its_deadline_or_at_a_second_signal_and_moves_nothing() {
    use tailrace_tests::servers::{Kafka, KafkaOptions};
    let database = database_with(PostgresVersion::V17, TWO_ROWS).await;
    let kafka = crate::capture::KafkaHandle::Own(Box::new(Kafka::start(KafkaOptions::default()).unwrap()));
    let capture = Capture::prepare_into(database, kafka, &Wanted::default());
    capture
        .daemon
        .configure(&format!(
            "shutdown_timeout_ms: 1500\n{}",
            sections(&capture.database, &capture.kafka.bootstrap(), &Wanted::default())
        ))
        .unwrap();
    capture.start_again();
    capture.settle().await;
    capture.kafka.pause().unwrap();
    let name = capture.database.name().to_owned();
    capture.database.execute("insert into t values (3)").await.unwrap();
    capture
        .daemon
        .wait_for(&name, "the change on its way", |status| status["changes"] == 3)
        .unwrap();
    assert_eq!(
        capture.daemon.terminate().unwrap().code(),
        Some(5),
        "{}",
        capture.daemon.log()
    );
    capture.kafka.resume().unwrap();
    let patient = sections(&capture.database, &capture.kafka.bootstrap(), &Wanted::default());
    capture.daemon.configure(&patient).unwrap();
    capture.start_again();
    let events = capture.after("insert into t values (4)", "t").await;
    assert!(
        events.contains(&r#"c {"id":3} null -> {"id":3}"#.to_owned()),
        "{events:?}"
    );
    capture.kafka.pause().unwrap();
    let before = capture.daemon.connector(&name).unwrap()["changes"].as_u64().unwrap();
    capture.database.execute("insert into t values (5)").await.unwrap();
    capture
        .daemon
        .wait_for(&name, "the change on its way", |status| status["changes"] == before + 1)
        .unwrap();
    capture.daemon.ask_to_end().unwrap();
    poll_until("the first signal", DEADLINE, || {
        Ok(capture
            .daemon
            .newest_log()
            .contains("a second signal ends at once")
            .then_some(()))
    })
    .unwrap();
    assert_eq!(capture.daemon.terminate().unwrap().code(), Some(130));
    capture.kafka.resume().unwrap();
    capture.start_again();
    let events = capture.after("", "t").await;
    assert!(
        events.contains(&r#"c {"id":5} null -> {"id":5}"#.to_owned()),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_is_halted_leaves_the_others_alone() {
    let good = database_with(PostgresVersion::V17, TWO_ROWS).await;
    let bad = database_with(PostgresVersion::V17, TWO_ROWS).await;
    let capture = Capture::prepare(good, &Wanted::default());
    let missing = connector(
        &bad,
        &Wanted {
            tables: "[public.nosuch]",
            ..Wanted::default()
        },
    );
    let both = format!(
        "{}{missing}",
        sections(&capture.database, &capture.kafka.bootstrap(), &Wanted::default())
    );
    capture.daemon.configure(&both).unwrap();
    capture.daemon.start().unwrap();
    capture.daemon.wait_for_state(bad.name(), "halted").unwrap();
    capture.wait_for("streaming");
    assert_eq!(capture.after("insert into t values (3)", "t").await.len(), 3);
    let ready = capture.daemon.get("/readyz").unwrap();
    assert!(ready.status == 503 && ready.body.contains(bad.name()), "{}", ready.body);
    assert!(
        !ready.body.contains(&format!("\"{}\"", capture.database.name())),
        "{}",
        ready.body
    );
    assert_eq!(capture.daemon.terminate().unwrap().code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn short_timeouts_of_the_database_do_not_end_a_snapshot() {
    let rows = "create table t (id int primary key, v text); insert into t select n, repeat(md5(n::text), 10) from generate_series(1, 100000) n";
    let database = database_with(PostgresVersion::V17, rows).await;
    for setting in [
        "statement_timeout",
        "idle_in_transaction_session_timeout",
        "lock_timeout",
    ] {
        database
            .execute(&format!("alter database {} set {setting} = '20ms'", database.name()))
            .await
            .unwrap();
    }
    let capture = Capture::start(
        database,
        &Wanted {
            format: "envelope: entity",
            ..Wanted::default()
        },
    );
    capture.settle().await;
    assert_eq!(capture.events("t").len(), 100_000);
    let status = capture.daemon.connector(capture.database.name()).unwrap();
    assert_eq!(status["retries"], 0, "{status:#}");
}
