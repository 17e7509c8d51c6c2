//! Somebody else touches what the connector hangs on. It stops, says why, and what to do; it never goes on over a gap.

use std::fs;
use std::time::Duration;

use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresOptions, PostgresVersion, eventually};

use crate::capture::{Capture, Wanted, database_with};

/// For what takes a few attempts.
const DEADLINE: Duration = Duration::from_secs(60);

async fn stopped() -> Capture {
    stopped_on(PostgresVersion::V17).await
}

async fn stopped_on(version: PostgresVersion) -> Capture {
    carried_and_stopped(Database::shared(version).await.unwrap()).await
}

/// The same on a server of the test's own.
async fn stopped_on_own(options: PostgresOptions) -> Capture {
    carried_and_stopped(Database::own(options).await.unwrap()).await
}

async fn carried_and_stopped(database: Database) -> Capture {
    database
        .execute("create table t (id int primary key); insert into t values (1)")
        .await
        .unwrap();
    let capture = Capture::start(
        database,
        &Wanted {
            format: "envelope: entity",
            ..Wanted::default()
        },
    );
    capture.after("insert into t values (2)", "t").await;
    capture.daemon.terminate().unwrap();
    capture
}

/// The connector is halted with this code, the process is up and says so everywhere, and nothing was published.
fn is_halted(capture: &Capture, code: &str, remedy: &str) {
    let name = capture.database.name();
    capture.wait_for(&format!("halted:{code}"));
    assert_eq!(capture.daemon.get("/livez").unwrap().status, 200);
    let ready = capture.daemon.get("/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains(code), "{}", ready.body);
    let status = capture.daemon.connector(name).unwrap();
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains(remedy), "{reason}");
    let metrics = capture.daemon.get("/metrics").unwrap().body;
    let wanted = format!("code=\"{code}\"");
    assert!(
        metrics
            .lines()
            .any(|line| line.contains(name) && line.contains(&wanted)),
        "{metrics}"
    );
    let logged = capture.daemon.log();
    assert!(
        logged.lines().any(|line| line.contains("ERROR") && line.contains(code)),
        "{logged}"
    );
    assert_eq!(capture.events("t").len(), 2);
}

/// The check says what the start will say or has said, beside the daemon as well.
fn is_refused_by_check(capture: &Capture, code: &str, remedy: &str) {
    let printed = capture.daemon.command("check", &[]).unwrap();
    let said = printed.all();
    assert_eq!(printed.code, Some(3), "{said}");
    assert!(said.contains(&format!("[{code}]")) && said.contains(remedy), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped() {
    let capture = stopped().await;
    let drop_slot = format!("select pg_drop_replication_slot('{}')", capture.database.slot());
    capture
        .database
        .execute(&format!("{drop_slot}; insert into t values (3)"))
        .await
        .unwrap();
    is_refused_by_check(&capture, "slot_missing", "tailrace forget");
    capture.daemon.start().unwrap();
    is_halted(&capture, "slot_missing", "is gone");
    is_refused_by_check(&capture, "slot_missing", "tailrace forget");
    let preflight = format!("/connectors/{}/preflight", capture.database.name());
    let preflight = capture.daemon.get(&preflight).unwrap().body;
    assert!(
        preflight.contains(r#""runs":false"#) && preflight.contains("slot_missing"),
        "{preflight}"
    );
    let slots = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        capture.database.slot()
    );
    assert_eq!(
        capture.database.query_value(&slots).await.unwrap(),
        "0",
        "no slot is made on the quiet"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_and_made_again() {
    let capture = stopped().await;
    let slot = capture.database.slot();
    let statements = format!("select pg_drop_replication_slot('{slot}'); insert into t values (3)");
    capture.database.execute(&statements).await.unwrap();
    let create = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    capture.database.query(&create).await.unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "slot_moved", "somebody else moved or recreated it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_advanced() {
    let capture = stopped().await;
    let slot = capture.database.slot();
    capture.database.execute("insert into t values (3)").await.unwrap();
    let advance = format!("select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())");
    capture.database.query(&advance).await.unwrap();
    is_refused_by_check(&capture, "slot_moved", "somebody else moved or recreated it");
    capture.daemon.start().unwrap();
    is_halted(&capture, "slot_moved", "somebody else moved or recreated it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_the_server_gave_up() {
    let options = PostgresOptions::version(PostgresVersion::V17)
        .setting("max_slot_wal_keep_size = 1MB")
        .setting("max_wal_size = 32MB")
        .setting("min_wal_size = 32MB");
    let capture = stopped_on_own(options).await;
    for _ in 0..4 {
        capture
            .database
            .query("select pg_logical_emit_message(false, 'filler', 'x'), pg_switch_wal()")
            .await
            .unwrap();
    }
    capture.database.execute("checkpoint").await.unwrap();
    let lost = format!(
        "(select wal_status = 'lost' from pg_replication_slots where slot_name = '{}')",
        capture.database.slot()
    );
    capture.database.wait_until(&lost).await.unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "slot_lost", "max_slot_wal_keep_size");
}

/// From PostgreSQL 18 on; it looks at each checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_the_server_gave_up_for_idleness() {
    let options = PostgresOptions::version(PostgresVersion::V18).setting("idle_replication_slot_timeout = 1s");
    let capture = stopped_on_own(options).await;
    let slot = capture.database.slot();
    let reason =
        format!("select coalesce(invalidation_reason, '') from pg_replication_slots where slot_name = '{slot}'");
    let given_up = eventually("the end of the slot", DEADLINE, || async {
        capture.database.execute("checkpoint").await?;
        Ok((capture.database.query_value(&reason).await? == "idle_timeout").then_some(()))
    });
    given_up.await.unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "slot_lost", "");
}

/// A disk that lost files, or somebody who made room by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_files_were_removed() {
    let options = PostgresOptions::version(PostgresVersion::V17);
    let capture = stopped_on_own(options).await;
    let database = &capture.database;
    let needed = format!(
        "select pg_walfile_name(restart_lsn) from pg_replication_slots where slot_name = '{}'",
        database.slot()
    );
    let needed = database.query_value(&needed).await.unwrap();
    for id in 3..6 {
        database.execute(&format!("insert into t values ({id})")).await.unwrap();
        database.query("select pg_switch_wal()").await.unwrap();
    }
    database.execute("checkpoint").await.unwrap();
    database.server().stop_fast().unwrap();
    fs::remove_file(database.postgres().unwrap().data_dir().join("pg_wal").join(needed)).unwrap();
    database.server().restart().unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "wal_removed", "removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_dropped() {
    let capture = stopped().await;
    let drop_publication = format!("drop publication {}", capture.database.slot());
    capture
        .database
        .execute(&format!("{drop_publication}; insert into t values (3)"))
        .await
        .unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "publication_history", "is gone");
}

/// From version 18 on the server does not complain of a publication that is missing: it just sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_dropped_and_made_again_with_changes_in_between() {
    for version in [PostgresVersion::V17, PostgresVersion::V18] {
        let capture = stopped_on(version).await;
        let publication = capture.database.slot();
        let statements = format!("drop publication {publication}; insert into t values (3)");
        capture.database.execute(&statements).await.unwrap();
        capture
            .database
            .execute(&format!("create publication {publication} for table t"))
            .await
            .unwrap();
        is_refused_by_check(&capture, "publication_history", "dropped and made again");
        capture.daemon.start().unwrap();
        is_halted(&capture, "publication_history", "dropped and made again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_dropped_and_made_again_under_the_running_connector() {
    let capture = stopped_on(PostgresVersion::V18).await;
    capture.start_again();
    let publication = capture.database.slot();
    let statements = format!("drop publication {publication}; create publication {publication} for table t");
    capture.database.execute(&statements).await.unwrap();
    is_halted(&capture, "publication_history", "dropped and made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_taken_out_of_the_publication_under_the_running_connector() {
    let capture = stopped().await;
    capture.start_again();
    let publication = capture.database.slot();
    let statements = format!("alter publication {publication} drop table t; insert into t values (3)");
    capture.database.execute(&statements).await.unwrap();
    is_halted(&capture, "publication_changed", "public.t was captured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_table_that_is_dropped_ends_nothing_and_actions_left_out_are_told() {
    let capture = stopped().await;
    capture.start_again();
    let publication = capture.database.slot();
    let statements = format!("drop table t; alter publication {publication} set (publish = 'insert, update')");
    capture.database.execute(&statements).await.unwrap();
    let told = |status: &serde_json::Value| status["notices"]["publication_actions"].is_string();
    let status = capture
        .daemon
        .wait_for(capture.database.name(), "the notice", told)
        .unwrap();
    assert_eq!(status["state"], "streaming", "{status:#}");
}

/// The server sends nothing of it, and nothing in the log says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_under_the_running_connector_and_fits_is_told_until_it_is_published() {
    let capture = stopped().await;
    capture.start_again();
    let made = capture.after(
        "create table later (id int primary key); insert into later values (1)",
        "later",
    );
    assert!(made.await.is_empty());
    let notice = |status: &serde_json::Value| status["notices"]["tables_unpublished"].as_str().map(str::to_owned);
    let status = capture
        .daemon
        .wait_for(capture.database.name(), "the notice", |status| notice(status).is_some())
        .unwrap();
    assert_eq!(status["state"], "streaming", "{status:#}");
    let told = notice(&status).unwrap();
    assert!(told.contains("public.later") && !told.contains("public.t,"), "{told}");
    let logged = capture.daemon.log();
    let warnings = logged
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("tables_unpublished"));
    assert_eq!(warnings.count(), 1, "{logged}");
    // The remedy that is named is one: first changes come, then the rows that were there before.
    let (_, statement) = told.split_once(" run ").unwrap();
    let (statement, _) = statement.split_once("; then restart").unwrap();
    assert!(statement.contains("ADD TABLE ONLY \"public\".\"later\""), "{statement}");
    capture.database.execute(statement).await.unwrap();
    let events = capture.after("insert into later values (2)", "later").await;
    assert_eq!(events, [r#"c {"id":2} {"id":2}"#]);
    let checked = capture.daemon.command("check", &[]).unwrap();
    assert_eq!(checked.code, Some(0), "beside a daemon that carries: {}", checked.all());
    capture.daemon.terminate().unwrap();
    capture.start_again();
    let events = capture.after("insert into later values (3)", "later").await;
    let anew = [
        r#"r {"id":1} {"id":1}"#,
        r#"r {"id":2} {"id":2}"#,
        r#"c {"id":3} {"id":3}"#,
    ];
    assert_eq!(events[1..], anew);
    let status = capture.daemon.connector(capture.database.name()).unwrap();
    assert_eq!(notice(&status), None, "{status:#}");
}

/// Nothing need be told of a publication that takes in what is made later.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_under_a_publication_of_all_tables_is_carried_from_its_first_row() {
    let statements = "create table t (id int primary key); create publication everything for all tables";
    let wanted = Wanted {
        format: "envelope: entity",
        source: "publication: everything\ncreate_publication: false",
        ..Wanted::default()
    };
    let capture = Capture::start(database_with(PostgresVersion::V17, statements).await, &wanted);
    let made = "create table later (id int primary key); insert into later values (1)";
    let events = capture.after(made, "later").await;
    assert_eq!(events, [r#"c {"id":1} {"id":1}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_under_the_same_address() {
    let capture = stopped().await;
    let other = database_with(PostgresVersion::V17, "create table t (id int primary key)").await;
    let url = capture.database.postgres().unwrap().url_as("postgres", other.name());
    let wanted = Wanted {
        url: Some(url),
        ..Wanted::default()
    };
    let sections = crate::capture::sections(&capture.database, &capture.kafka.bootstrap(), &wanted);
    capture.daemon.configure(&sections).unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "source_identity_changed", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_deleted_is_not_a_first_start() {
    let capture = stopped().await;
    fs::remove_dir_all(capture.daemon.state_file().parent().unwrap()).unwrap();
    capture.database.execute("insert into t values (3)").await.unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "state_missing", "restore it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_damaged_is_refused() {
    let capture = stopped().await;
    let file = capture.daemon.state_file();
    let mut bytes = fs::read(file).unwrap();
    // Where the rows are; the pages before hold the schema.
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    fs::write(file, &bytes).unwrap();
    let ended = capture.daemon.run_to_end(&[]).unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(
        capture.daemon.log().contains("state_corrupt"),
        "{}",
        capture.daemon.log()
    );
    fs::write(file, b"").unwrap();
    assert_eq!(
        capture.daemon.run_to_end(&[]).unwrap().code(),
        Some(1),
        "{}",
        capture.daemon.log()
    );
    fs::write(file, b"PNG or something").unwrap();
    assert_eq!(
        capture.daemon.run_to_end(&[]).unwrap().code(),
        Some(1),
        "{}",
        capture.daemon.log()
    );
    assert_eq!(capture.events("t").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_confirms_nothing_and_loses_nothing() {
    let mut capture = stopped().await;
    // Enough for the file as it is, and for some more checkpoints.
    capture.daemon.limit_files(Some(128));
    capture.start_again();
    let name = capture.database.name().to_owned();
    let mut id = 3;
    while capture.daemon.state(&name).unwrap() == "streaming" {
        assert!(id < 2000, "the state never needed more room");
        capture
            .database
            .execute(&format!("insert into t values ({id})"))
            .await
            .unwrap();
        id += 1;
    }
    capture.wait_for("degraded:state_unwritable");
    capture
        .database
        .execute(&format!("insert into t values ({id})"))
        .await
        .unwrap();
    capture.daemon.kill9().unwrap();
    capture.daemon.limit_files(None);
    capture.start_again();
    capture.settle().await;
    let mut keys: Vec<i64> = capture
        .events("t")
        .iter()
        .map(|event| event.key_json()["id"].as_i64().unwrap())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys, (1..=id).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_dropped_under_the_running_connector() {
    let capture = stopped().await;
    capture.start_again();
    let slot = capture.database.slot();
    let terminate =
        format!("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'");
    let drop_slot = format!("select pg_drop_replication_slot('{slot}')");
    // The connector comes back at once, and then the slot is in use again.
    let dropped = eventually("the drop", DEADLINE, || async {
        capture.database.query(&terminate).await?;
        Ok(capture.database.query(&drop_slot).await.ok())
    });
    dropped.await.unwrap();
    capture.database.execute("insert into t values (3)").await.unwrap();
    is_halted(&capture, "slot_missing", "is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remedy_that_is_named_is_one() {
    let capture = stopped().await;
    let drop_slot = format!("select pg_drop_replication_slot('{}')", capture.database.slot());
    let statements = format!("{drop_slot}; delete from t where id = 2; insert into t values (3)");
    capture.database.execute(&statements).await.unwrap();
    capture.daemon.start().unwrap();
    is_halted(&capture, "slot_missing", "tailrace forget");
    capture.daemon.terminate().unwrap();
    let name = capture.database.name();
    let warned = capture.daemon.command("forget", &[name]).unwrap();
    assert_eq!(warned.code, Some(2), "{}", warned.all());
    let printed = capture.daemon.command("forget", &[name, "--yes"]).unwrap();
    assert_eq!(printed.code, Some(0), "{}", printed.all());
    capture.start_again();
    let events = capture.after("insert into t values (4)", "t").await;
    let anew = [
        r#"r {"id":1} {"id":1}"#,
        r#"r {"id":3} {"id":3}"#,
        r#"c {"id":4} {"id":4}"#,
    ];
    assert_eq!(events[2..], anew);
}
