//! `tailrace check` against servers that are not ready: every problem, what fixes it, and exit code 3.

use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresOptions, PostgresVersion};

use crate::capture::{Capture, Wanted, database_with};

const TABLE: &str = "create table t (id int primary key)";

/// Runs `check` where it must find something.
fn blocked(capture: &Capture, words: &[&str]) {
    let printed = capture.daemon.command("check", &[]).unwrap();
    let text = printed.all();
    assert_eq!(printed.code, Some(3), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_ready() {
    let database = database_with(PostgresVersion::V17, TABLE).await;
    let capture = Capture::prepare(database, &Wanted::default());
    let printed = capture.daemon.command("check", &[]).unwrap();
    assert_eq!(printed.code, Some(0), "{}", printed.all());
    let untouched = "select (select count(*) from pg_publication) + (select count(*) from pg_replication_slots where database = current_database())";
    assert_eq!(
        capture.database.query_value(untouched).await.unwrap(),
        "0",
        "check changes nothing"
    );
    assert!(!capture.kafka.topics().unwrap().contains(&capture.topic("t")));
    let described = capture.daemon.command("describe", &[]).unwrap();
    assert_eq!(described.code, Some(0));
    assert!(
        described.stdout.contains("public.t") && described.stdout.contains(&capture.topic("t")),
        "{}",
        described.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_logical() {
    let options = PostgresOptions::version(PostgresVersion::V17).setting("wal_level = replica");
    let database = Database::own(options).await.unwrap();
    database.execute(TABLE).await.unwrap();
    let capture = Capture::prepare(database, &Wanted::default());
    blocked(&capture, &["wal_level", "ALTER SYSTEM SET wal_level", "restart"]);
    capture.daemon.start().unwrap();
    capture.wait_for("halted:wal_level");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_nothing() {
    let database = database_with(PostgresVersion::V17, TABLE).await;
    let role = format!("reader_{}", database.name());
    database.execute(&format!("create role {role} login")).await.unwrap();
    let url = database.postgres().unwrap().url_as(&role, database.name());
    let capture = Capture::prepare(
        database,
        &Wanted {
            url: Some(url),
            ..Wanted::default()
        },
    );
    blocked(&capture, &["REPLICATION", "GRANT SELECT", &role]);
    capture.daemon.start().unwrap();
    capture.wait_for("halted:insufficient_privilege");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_check_prints_is_all_that_is_missing() {
    let database = database_with(PostgresVersion::V17, TABLE).await;
    let role = format!("reader_{}", database.name());
    database.execute(&format!("create role {role} login")).await.unwrap();
    let url = database.postgres().unwrap().url_as(&role, database.name());
    let capture = Capture::prepare(
        database,
        &Wanted {
            url: Some(url),
            ..Wanted::default()
        },
    );
    let mut rounds = 0;
    // Runs the statements as they are printed, until it is content.
    loop {
        let printed = capture.daemon.command("check", &["--json"]).unwrap();
        if printed.code == Some(0) {
            break;
        }
        rounds += 1;
        assert!(rounds <= 3, "not content after three rounds: {}", printed.stdout);
        let reports: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
        for finding in reports[0]["findings"].as_array().unwrap() {
            if finding["severity"] == "blocks" {
                let remedy = finding["remedy"].as_str().unwrap();
                capture.database.execute(remedy).await.unwrap();
            }
        }
    }
    assert!(rounds > 0);
    capture.start_again();
    assert_eq!(capture.after("insert into t values (1)", "t").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_and_then_right() {
    let options = PostgresOptions {
        host_based_authentication: vec![
            "host all postgres 127.0.0.1/32 trust".to_owned(),
            "host all,replication teller 127.0.0.1/32 scram-sha-256".to_owned(),
        ],
        ..PostgresOptions::version(PostgresVersion::V17)
    };
    let database = Database::own(options).await.unwrap();
    database
        .execute(&format!(
            "{TABLE}; create role teller login superuser replication password 'right'"
        ))
        .await
        .unwrap();
    let file = database.postgres().unwrap().socket_dir().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let url = database.postgres().unwrap().url_as("teller", database.name());
    let source = format!("password_file: {}", file.display());
    let capture = Capture::prepare(
        database,
        &Wanted {
            url: Some(url),
            source: &source,
            ..Wanted::default()
        },
    );
    blocked(&capture, &["password", "teller"]);
    capture.daemon.start().unwrap();
    capture.wait_for("degraded:source_authentication");
    std::fs::write(&file, "right\n").unwrap();
    capture.wait_for("streaming");
    assert_eq!(capture.after("insert into t values (1)", "t").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there() {
    let options = PostgresOptions::version(PostgresVersion::V17);
    let database = Database::own(options).await.unwrap();
    database.execute(TABLE).await.unwrap();
    database.server().stop_fast().unwrap();
    let capture = Capture::prepare(database, &Wanted::default());
    let port = capture.database.server().port().to_string();
    blocked(&capture, &["127.0.0.1", &port]);
    capture.daemon.start().unwrap();
    capture.wait_for("degraded");
    assert_eq!(capture.daemon.get("/readyz").unwrap().status, 503);
    capture.database.server().restart().unwrap();
    capture.wait_for("streaming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there() {
    let database = database_with(PostgresVersion::V17, TABLE).await;
    let kafka = tailrace_tests::servers::Port::claim().unwrap();
    let capture = Capture::prepare(database, &Wanted::default());
    let bootstrap = format!("127.0.0.1:{}", kafka.number());
    capture
        .daemon
        .configure(&crate::capture::sections(
            &capture.database,
            &bootstrap,
            &Wanted::default(),
        ))
        .unwrap();
    blocked(&capture, &[&bootstrap]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_whose_updates_would_fail_are_not_published() {
    let tables = "create table keyless (v int); create table nothing (id int primary key); alter table nothing replica identity nothing";
    let database = database_with(PostgresVersion::V17, tables).await;
    let capture = Capture::prepare(database, &Wanted::default());
    blocked(&capture, &["public.keyless", "public.nothing", "REPLICA IDENTITY"]);
    capture.daemon.start().unwrap();
    capture.wait_for("halted:table_without_identity");
    // The application is not hurt.
    capture
        .database
        .execute("insert into keyless values (1); update keyless set v = 2; update nothing set id = 1")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_that_match_nothing_and_topics_that_meet() {
    let database = database_with(PostgresVersion::V17, "create schema a; create table a.t (id int primary key); create schema b; create table b.t (id int primary key)").await;
    let capture = Capture::prepare(
        database.clone(),
        &Wanted {
            tables: "[public.nosuch]",
            ..Wanted::default()
        },
    );
    blocked(&capture, &["public.nosuch"]);
    let wanted = Wanted {
        tables: "[a.t, b.t]",
        connector: "topic: \"all.{table}\"",
        ..Wanted::default()
    };
    let capture = Capture::prepare(database, &wanted);
    blocked(&capture, &["all.t", "a.t", "b.t"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_have_no_binary_form_here() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key, price money)").await;
    let capture = Capture::prepare(
        database,
        &Wanted {
            source: "binary: true",
            ..Wanted::default()
        },
    );
    blocked(&capture, &["price", "binary: false"]);
    capture.daemon.start().unwrap();
    capture.wait_for("halted:binary_type");
}
