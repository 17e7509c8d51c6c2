//! What is asked of every queue, and what differs from server to server.

use std::collections::BTreeSet;

use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::servers::MySqlVersion;

use super::{Polled, numbers, user_with};
use crate::polling::queues::{
    ROWS, a_row_commits_late, dies_between_durable_and_acknowledged, insert, loses_the_right_to_delete, query,
    wait_until_empty,
};

async fn queue(version: MySqlVersion) -> Database {
    let database = Database::shared(version).await.unwrap();
    let numbers = database.numbers(1..ROWS + 1);
    let tables = format!(
        "create table t (id bigint auto_increment primary key, note varchar(20), done_at datetime) engine = InnoDB;
         insert into t (note) select n from ({numbers}) numbers"
    );
    database.execute(&tables).await.unwrap();
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_deleted_they_come_again_with_the_same_id() {
    for version in MySqlVersion::ALL {
        dies_between_durable_and_acknowledged(queue(version).await, "delete").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_rows_are_marked_they_come_again_with_the_same_id() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        dies_between_durable_and_acknowledged(queue(version).await, "{ mark: done_at }").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_late_is_neither_skipped_nor_deleted_unpublished() {
    for version in MySqlVersion::ALL {
        a_row_commits_late(queue(version).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_delete_rows_stay_and_are_not_published_again() {
    for version in MySqlVersion::ALL {
        let database = queue(version).await;
        let (user, url) = user_with(&database, &["select, delete on public.t"]).await;
        loses_the_right_to_delete(database, (&user, &url)).await;
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

/// Of two daemons one reads; the other takes over when it is gone. Which one reads is theirs to settle: one that was held up for longer
/// than its lease has lost it.
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
        insert(&first, "while both are there").await;
        wait_until_empty(&first).await;
        let mut published = notes(&first).await;
        assert!(published.len() as u64 >= ROWS, "{version}: {published:?}");
        let (reader, other) = match published.contains("while both are there") {
            true => (&first, &second),
            false => (&second, &first),
        };
        reader.daemon.kill9().unwrap();
        insert(other, "when one is gone").await;
        wait_until_empty(other).await;
        let of_the_other = notes(other).await;
        assert!(of_the_other.contains("when one is gone"), "{version}: {of_the_other:?}");
        published.extend(notes(&second).await);
        published.extend(of_the_other);
        assert_eq!(published.len() as u64, ROWS + 2, "{version}: {published:?}");
    }
}

/// What a daemon has published.
async fn notes(polled: &Polled) -> BTreeSet<String> {
    let events = polled.events("t").await;
    let note = |event: &Event| event.after()["note"].as_str().unwrap_or_default().to_owned();
    events.iter().map(note).collect()
}
