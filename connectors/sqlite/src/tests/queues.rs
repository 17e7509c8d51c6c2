//! Tables that are queues.

use tailrace_core::ports::Source;
use tailrace_sql::QueryMode;
use tailrace_sql::config::{Acknowledge, LeaseConfig};

use super::*;

const OUTBOX: &str = "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT, published_at DATETIME)";
const LEASES: &str = "CREATE TABLE tailrace_lease (name TEXT PRIMARY KEY, epoch BIGINT NOT NULL, owner TEXT NOT NULL, expires_at_us BIGINT NOT NULL)";

impl Shop {
    fn queue(&self) -> SqliteConfig {
        let mut config = self.config(QueryMode::Queue);
        config.tables = vec!["outbox".to_owned()];
        config
    }

    async fn left(&mut self, condition: &str) -> Vec<i64> {
        let statement = format!("SELECT id FROM outbox WHERE {condition} ORDER BY id");
        sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_all(&mut self.writer)
            .await
            .unwrap()
    }
}

/// Reads one batch with rows.
async fn batch(source: &mut dyn Source) -> (Vec<i64>, Progress) {
    let (events, progress) = read(source, 1).await;
    assert!(events.iter().all(|event| event.operation == "c"));
    (ints(&events, "id"), progress)
}

#[tokio::test]
async fn exactly_what_is_confirmed_is_deleted() {
    let mut shop = Shop::new(OUTBOX).await;
    shop.execute("INSERT INTO outbox (item) VALUES ('a'), ('b'), ('c')")
        .await;
    let mut config = shop.queue();
    config.query.batch_rows = 2;
    let mut source = shop.open(config, None).await.unwrap();
    let (first, progress) = batch(&mut *source).await;
    let (second, _) = batch(&mut *source).await;
    assert_eq!((&*first, &*second), (&[1, 2][..], &[3][..]));
    assert_eq!(shop.left("true").await, [1, 2, 3]);
    // A row with a lower id than what is in flight comes late, and is neither skipped nor deleted unread.
    shop.execute("INSERT INTO outbox (id, item) VALUES (-5, 'late')").await;
    source.confirm(&progress.position).await.unwrap();
    assert_eq!(shop.left("true").await, [-5, 3]);
    let (late, progress) = batch(&mut *source).await;
    assert_eq!(late, [-5]);
    source.confirm(&progress.position).await.unwrap();
    assert!(shop.left("true").await.is_empty());
}

#[tokio::test]
async fn after_a_crash_what_was_not_deleted_comes_again_under_the_same_name() {
    let mut shop = Shop::new(OUTBOX).await;
    shop.execute("INSERT INTO outbox (item) VALUES ('a'), ('b')").await;
    let mut source = shop.open(shop.queue(), None).await.unwrap();
    let (first, progress) = read(&mut *source, 2).await;
    drop(source);
    let mut source = shop.open(shop.queue(), Some(progress.clone())).await.unwrap();
    let (again, newer) = read(&mut *source, 2).await;
    let ids = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&again));
    // A confirmation of the life before says nothing about this one.
    source.confirm(&progress.position).await.unwrap();
    assert_eq!(shop.left("true").await, [1, 2]);
    source.confirm(&newer.position).await.unwrap();
    assert!(shop.left("true").await.is_empty());
}

#[tokio::test]
async fn marked_rows_stay_and_do_not_come_again() {
    let mut shop = Shop::new(OUTBOX).await;
    shop.execute("INSERT INTO outbox (item) VALUES ('a'), ('b')").await;
    let mut config = shop.queue();
    config.query.acknowledge = Acknowledge::Mark("published_at".to_owned());
    let mut source = shop.open(config.clone(), None).await.unwrap();
    let (_, progress) = batch(&mut *source).await;
    source.confirm(&progress.position).await.unwrap();
    assert_eq!(shop.left("published_at IS NOT NULL").await, [1, 2]);
    drop(source);
    shop.execute("INSERT INTO outbox (item) VALUES ('c')").await;
    let mut source = shop.open(config, Some(progress)).await.unwrap();
    assert_eq!(batch(&mut *source).await.0, [3]);
}

#[tokio::test]
async fn what_cannot_be_deleted_is_said_and_not_published_again() {
    let mut shop = Shop::new(OUTBOX).await;
    shop.execute("CREATE TRIGGER keep BEFORE DELETE ON outbox BEGIN SELECT raise(ABORT, 'not yours'); END")
        .await;
    shop.execute("INSERT INTO outbox (item) VALUES ('a')").await;
    let mut source = shop.open(shop.queue(), None).await.unwrap();
    let (_, progress) = batch(&mut *source).await;
    source.confirm(&progress.position).await.unwrap();
    let notice = shop.telemetry.snapshot().notices.get("unacknowledged").cloned();
    assert!(notice.unwrap().contains("not yours"));
    shop.execute("INSERT INTO outbox (item) VALUES ('b')").await;
    assert_eq!(batch(&mut *source).await.0, [2]);
    shop.execute("DROP TRIGGER keep").await;
    source.confirm(&progress.position).await.unwrap();
    assert_eq!(shop.left("true").await, [2]);
    assert!(shop.telemetry.snapshot().notices.is_empty());
}

#[tokio::test]
async fn of_two_only_the_holder_of_the_lease_reads_and_deletes() {
    let mut shop = Shop::new(&format!("{OUTBOX}; {LEASES}")).await;
    shop.execute("INSERT INTO outbox (item) VALUES ('a')").await;
    let mut config = shop.queue();
    config.query.lease = Some(LeaseConfig {
        name: None,
        table: "tailrace_lease".to_owned(),
        lease_ms: 600_000,
    });
    let mut first = shop.open(config.clone(), None).await.unwrap();
    let (_, progress) = batch(&mut *first).await;
    let mut second = shop.open(config, None).await.unwrap();
    let waiting = std::time::Duration::from_millis(100);
    let read = tokio::time::timeout(waiting, second.next_batch(BUDGET)).await;
    assert!(read.is_err(), "the lease is held by the first");
    // The first is taken for dead and is not: it must delete nothing any more.
    shop.execute("UPDATE tailrace_lease SET epoch = epoch + 1, owner = 'another'")
        .await;
    first.confirm(&progress.position).await.unwrap();
    assert_eq!(shop.left("true").await, [1]);
}

#[tokio::test]
async fn an_ended_lease_is_taken_over_with_the_next_epoch() {
    let mut shop = Shop::new(&format!("{OUTBOX}; {LEASES}")).await;
    shop.execute("INSERT INTO outbox (item) VALUES ('a'); INSERT INTO tailrace_lease VALUES ('shop', 7, 'dead', 0)")
        .await;
    let mut config = shop.queue();
    config.query.lease = Some(LeaseConfig {
        name: None,
        table: "tailrace_lease".to_owned(),
        lease_ms: 600_000,
    });
    let mut source = shop.open(config, None).await.unwrap();
    let (_, progress) = batch(&mut *source).await;
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM tailrace_lease")
        .fetch_one(&mut shop.writer)
        .await
        .unwrap();
    assert_eq!(epoch, 8);
    source.confirm(&progress.position).await.unwrap();
    assert!(shop.left("true").await.is_empty());
}
