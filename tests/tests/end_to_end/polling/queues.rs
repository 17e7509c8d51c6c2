//! Queues, of whatever database: each row is published before it is deleted or marked, whatever happens between.

use std::os::unix::process::ExitStatusExt;

use tailrace_tests::database::Database;
use tailrace_tests::servers::eventually;

use super::{DEADLINE, Polled, by_event_id, count};

const SIGKILL: i32 = 9;

/// Rows that a queue begins with: dozens of pages.
pub(super) const ROWS: u64 = 3_000;

/// Rows that are neither deleted nor marked.
const LEFT: &str = "select count(*) from t where done_at is null";

/// What polls the table `t` as a queue.
pub(super) fn query(acknowledge: &str) -> String {
    format!(
        "tables: [public.t]\nquery: {{ mode: queue, poll_interval_ms: 20, batch_rows: 100, acknowledge: {acknowledge} }}"
    )
}

pub(super) async fn wait_until_empty(polled: &Polled) {
    polled.database.wait_until(&format!("({LEFT}) = 0")).await.unwrap();
}

/// One more row.
pub(super) async fn insert(polled: &Polled, note: &str) {
    let statement = format!("insert into t (note) values ('{note}')");
    polled.database.execute(&statement).await.unwrap();
}

/// Killed again and again between durable and deleted: rows come again with the same id, and none is deleted that was not
/// published.
pub(super) async fn dies_between_durable_and_acknowledged(database: Database, acknowledge: &str) {
    let version = database.server().version();
    let polled = Polled::prepare(database, &query(acknowledge));
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
        insert(&polled, "more").await;
    }
    polled.start_again();
    wait_until_empty(&polled).await;
    let events = polled.events("t").await;
    let rows = by_event_id(&events);
    assert_eq!(rows.len() as u64, ROWS + 3, "{version}");
    assert!(events.len() > rows.len(), "{version}: nothing was published again");
    assert!(events.iter().all(|event| event.operation() == "c"), "{version}");
}

/// Rows that commit late are in the queue when they are there: nothing is remembered that could leave them out.
pub(super) async fn a_row_commits_late(database: Database) {
    let version = database.server().version();
    let polled = Polled::prepare(database, &query("delete"));
    let mut late = polled.database.session().await.unwrap();
    late.execute("begin; insert into t (note) values ('late')")
        .await
        .unwrap();
    insert(&polled, "early").await;
    polled.start_again();
    wait_until_empty(&polled).await;
    late.execute("commit").await.unwrap();
    wait_until_empty(&polled).await;
    let events = polled.events("t").await;
    assert_eq!(events.len() as u64, ROWS + 2, "{version}");
    assert_eq!(events.last().unwrap().after()["note"], "late", "{version}");
}

/// This user, who connects by this URL, loses the right to delete on the way: rows are published once, stay, and are deleted when
/// it is back.
pub(super) async fn loses_the_right_to_delete(database: Database, (user, url): (&str, &str)) {
    let version = database.server().version();
    let table = format!("{}.t", database.schema());
    let polled = Polled::prepare_at(database, url, &query("delete"));
    polled.start_again();
    wait_until_empty(&polled).await;
    let revoke = format!("revoke delete on t from {user}");
    polled.database.execute(&revoke).await.unwrap();
    polled
        .database
        .execute("insert into t (note) values ('a'), ('b')")
        .await
        .unwrap();
    let notice = polled.wait_for_notice("unacknowledged");
    assert!(notice.contains(&table), "{version}: {notice}");
    let carried = usize::try_from(ROWS).unwrap() + 2;
    assert_eq!(polled.wait_for_events("t", carried).await.len(), carried, "{version}");
    assert_eq!(count(&polled.database, LEFT).await, 2, "{version}");
    let grant = format!("grant delete on t to {user}");
    polled.database.execute(&grant).await.unwrap();
    wait_until_empty(&polled).await;
    assert_eq!(polled.events("t").await.len(), carried, "{version}");
}
