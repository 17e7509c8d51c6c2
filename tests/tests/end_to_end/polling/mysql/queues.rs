//! Queues: each row is published before it is deleted or marked, whatever happens between.

use std::os::unix::process::ExitStatusExt;

use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlVersion, eventually};

use super::{DEADLINE, Polled, by_event_id, count, numbers, user_with};

const SIGKILL: i32 = 9;
const ROWS: u64 = 3_000;

fn query(acknowledge: &str) -> String {
    format!(
        "tables: [public.t]\nquery: {{ mode: queue, poll_interval_ms: 20, batch_rows: 100, acknowledge: {acknowledge} }}"
    )
}

async fn queue(version: MySqlVersion) -> Database {
    let digits = "(select 0 d union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 \
         union all select 6 union all select 7 union all select 8 union all select 9)";
    let tables = format!(
        "create table t (id bigint auto_increment primary key, note varchar(20), done_at datetime) engine = InnoDB;
         insert into t (note) select a.d from {digits} a, {digits} b, {digits} c, (select 1 union all select 2 union all select 3) e"
    );
    let database = Database::shared(version).await.unwrap();
    database.execute(&tables).await.unwrap();
    database
}

/// Rows that are neither deleted nor marked.
const LEFT: &str = "select count(*) from t where done_at is null";

async fn wait_until_empty(polled: &Polled) {
    polled.database.wait_until(&format!("({LEFT}) = 0")).await.unwrap();
}

/// Killed again and again between durable and deleted: rows come again with the same id, and none is deleted that was not
/// published.
async fn dies_between_durable_and_acknowledged(version: MySqlVersion, acknowledge: &str) {
    let polled = Polled::prepare(queue(version).await, &query(acknowledge));
    for round in 0..3_u64 {
        polled.daemon.start_armed("before_acknowledge=kill").unwrap();
        let ended = eventually("the death before acknowledging", DEADLINE, || async {
            polled.daemon.ended()
        });
        assert_eq!(ended.await.unwrap().signal(), Some(SIGKILL), "{version}");
        let log = polled.daemon.newest_log();
        assert!(log.contains("failpoint before_acknowledge: killed"), "{version}: {log}");
        let ids = by_event_id(&polled.events("t").await);
        let left = count(&polled.database, LEFT).await;
        assert!(
            !ids.is_empty() && left + u64::try_from(ids.len()).unwrap() >= ROWS + round,
            "{version}: {left} left, {} published",
            ids.len()
        );
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
    assert_eq!(rows.len() as u64, ROWS + 3, "{version}");
    assert!(events.len() > rows.len(), "{version}: nothing was published again");
    assert!(events.iter().all(|event| event.operation() == "c"), "{version}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_deleted_they_come_again_with_the_same_id() {
    for version in MySqlVersion::ALL {
        dies_between_durable_and_acknowledged(version, "delete").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_marked_they_come_again_with_the_same_id() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        dies_between_durable_and_acknowledged(version, "{ mark: done_at }").await;
    }
}

/// Rows that commit late are in the queue when they are there: nothing is remembered that could leave them out.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_late_is_neither_skipped_nor_deleted_unpublished() {
    for version in MySqlVersion::ALL {
        let polled = Polled::prepare(queue(version).await, &query("delete"));
        let mut late = polled.database.session().await.unwrap();
        late.execute("begin; insert into t (note) values ('late')")
            .await
            .unwrap();
        polled
            .database
            .execute("insert into t (note) values ('early')")
            .await
            .unwrap();
        polled.start_again();
        wait_until_empty(&polled).await;
        late.execute("commit").await.unwrap();
        wait_until_empty(&polled).await;
        let events = polled.events("t").await;
        assert_eq!(events.len() as u64, ROWS + 2, "{version}");
        assert_eq!(events.last().unwrap().after()["note"], "late", "{version}");
    }
}

/// By ids of any type, in the order of time: exactly the rows that were published are deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_by_time_with_ids_of_any_type() {
    for version in MySqlVersion::ALL {
        for (column, ids) in [
            (
                "binary(16)",
                [
                    "0x00000000000000000000000000000001",
                    "0x27275c5c000000000000000000000000",
                    "0xff",
                ],
            ),
            ("varchar(40)", ["'it''s'", "'0x61'", "'b\\\\'"]),
            // As approximations the last two would be one.
            (
                "decimal(30,2)",
                ["1", "12345678901234567890123456.78", "12345678901234567890123456.79"],
            ),
        ] {
            let table = format!(
                "create table t (id {column} primary key, at datetime(6) not null, n int) engine = InnoDB;
                 insert into t values ({}, '2024-01-01 00:00:00.000003', 3), ({}, '2024-01-01 00:00:00.000001', 1), ({}, '2024-01-01 00:00:00.000002', 2)",
                ids[0], ids[1], ids[2]
            );
            let database = Database::shared(version).await.unwrap();
            database.execute(&table).await.unwrap();
            let source = query("delete").replace("mode: queue", "mode: queue, id_column: id, timestamp_column: at");
            let polled = Polled::start(database, &source);
            polled
                .database
                .wait_until("(select count(*) from t) = 0")
                .await
                .unwrap();
            assert_eq!(
                numbers(&polled.events("t").await, "n"),
                [1, 2, 3],
                "{version}, {column}"
            );
        }
    }
}

/// The right to delete is lost on the way: rows are published once, stay, and are deleted when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_delete_rows_stay_and_are_not_published_again() {
    for version in MySqlVersion::ALL {
        let database = queue(version).await;
        let (user, url) = user_with(&database, &["select, delete on public.t"]).await;
        let polled = Polled::prepare_at(database, &url, &query("delete"));
        polled.start_again();
        wait_until_empty(&polled).await;
        polled
            .database
            .execute(&format!("revoke delete on t from {user}"))
            .await
            .unwrap();
        polled
            .database
            .execute("insert into t (note) values ('a'), ('b')")
            .await
            .unwrap();
        assert!(polled.wait_for_notice("unacknowledged").contains(".t"), "{version}");
        let carried = usize::try_from(ROWS).unwrap() + 2;
        assert_eq!(polled.wait_for_events("t", carried).await.len(), carried, "{version}");
        assert_eq!(count(&polled.database, LEFT).await, 2, "{version}");
        polled
            .database
            .execute(&format!("grant delete on t to {user}"))
            .await
            .unwrap();
        wait_until_empty(&polled).await;
        assert_eq!(polled.events("t").await.len(), carried, "{version}");
    }
}

/// Of two daemons one reads; the other takes over when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn one_daemon_of_two_reads_at_a_time() {
    for version in MySqlVersion::ALL {
        let database = queue(version).await;
        let lease = "create table tailrace_lease (name varchar(100) primary key, epoch bigint not null, owner varchar(40) not null, expires_at_us bigint not null)";
        database.execute(lease).await.unwrap();
        // The table of leases fits the pattern, and is not a queue.
        let source = query("delete").replace("public.t]", "public.*]").replace(
            "mode: queue",
            "mode: queue, lease: { name: twins, table: public.tailrace_lease, lease_ms: 1000 }",
        );
        let first = Polled::start(database.clone(), &source);
        wait_until_empty(&first).await;
        let second = Polled::prepare(database, &source);
        second.daemon.start().unwrap();
        first
            .database
            .execute("insert into t (note) values ('for the first')")
            .await
            .unwrap();
        wait_until_empty(&first).await;
        assert_eq!(first.events("t").await.len() as u64, ROWS + 1, "{version}");
        first.daemon.kill9().unwrap();
        second
            .database
            .execute("insert into t (note) values ('for the second')")
            .await
            .unwrap();
        wait_until_empty(&second).await;
        let events = second.events("t").await;
        assert_eq!(events.len(), 1, "{version}");
        assert_eq!(events[0].after()["note"], "for the second", "{version}");
    }
}
