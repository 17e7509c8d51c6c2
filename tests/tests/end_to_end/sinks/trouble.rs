//! With somebody in the way: locks, a full disk, an answer that is lost, rows that refer to each other.

use std::os::unix::fs::symlink;

use tailrace_tests::database::{Database, Version};
use tailrace_tests::proxy::{Ending, Fault, FrameKind, Proxy, Then, Who};
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

use super::writing::Pair;
use super::{DEADLINE, mysql, sink};
use crate::capture::database_with;

const TABLE: &str = "create table t (id int primary key, a text)";
const ROWS: &str = "select id, a from t order by id";
/// One batch for what was committed together, and no other writer to share it with.
const ONE_BATCH: &str = "writers: 1, batch: { wait_ms: 300 }";

/// The target's sessions do this from the next one on.
async fn set(target: &Database, setting: &str) {
    let statement = format!("alter database {} set {setting}", target.name());
    target.execute(&statement).await.unwrap();
}

async fn wait_until_the_sink_waits(pair: &Pair) {
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                 and application_name = 'tailrace mirror sink'";
    let waiting = eventually("the sink waits for a row", DEADLINE, || async {
        Ok((pair.target.query_value(waits).await? == "1").then_some(()))
    });
    waiting.await.unwrap();
}

/// Two rows that are in both databases, in a target whose sessions have a setting.
async fn mirrored_under(setting: &str) -> Pair {
    let source = database_with(PostgresVersion::V17, TABLE).await;
    let target = database_with(PostgresVersion::V17, TABLE).await;
    set(&target, setting).await;
    let pair = Pair::prepare(source, target, "format: { codec: json }", "mode: upsert", ONE_BATCH);
    pair.daemon.start().unwrap();
    pair.after("insert into t values (1, 'a'), (2, 'a')", ROWS, &["1 a", "2 a"])
        .await;
    pair
}

/// FM-241: who looks first finds it and gives way, which is the sink here.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_costs_a_retry() {
    // Long enough to get into it before anybody looks.
    let pair = mirrored_under("deadlock_timeout = '4s'").await;
    let mut other = pair.target.session().await.unwrap();
    other
        .execute("set deadlock_timeout = '60s'; begin; update t set a = 'mine' where id = 2")
        .await
        .unwrap();
    pair.source.execute("update t set a = 'b'").await.unwrap();
    wait_until_the_sink_waits(&pair).await;
    other
        .execute("update t set a = 'mine' where id = 1; commit")
        .await
        .unwrap();
    pair.after("", ROWS, &["1 b", "2 b"]).await;
    let log = pair.daemon.log();
    assert!(log.contains("deadlock"), "{log}");
}

/// FM-241.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_for_long_is_waited_for() {
    let pair = mirrored_under("lock_timeout = '200ms'").await;
    let mut other = pair.target.session().await.unwrap();
    other.execute("begin; delete from t where id = 2").await.unwrap();
    pair.source
        .execute("update t set a = 'b'; insert into t values (3, 'b')")
        .await
        .unwrap();
    let status = pair
        .daemon
        .wait_for("mirror", "an outage", |status| status["state"] == "degraded");
    let status = status.unwrap();
    assert_eq!(status["code"], "lock_timeout", "{status}");
    assert_eq!(
        pair.target
            .query_value("select string_agg(a, ' ' order by id) from t")
            .await
            .unwrap(),
        "a a",
        "a batch is written whole or not at all"
    );
    other.execute("commit").await.unwrap();
    pair.after("", ROWS, &["1 b", "2 b", "3 b"]).await;
}

/// FM-252. The table's file is one that no byte fits into, until there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_for() {
    let pair = Pair::start(TABLE, TABLE, "mode: upsert", ONE_BATCH).await;
    let file = pair
        .target
        .query_value("select pg_relation_filepath('t')")
        .await
        .unwrap();
    let file = pair.target.postgres().unwrap().data_dir().join(file);
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    symlink("/dev/full", &file).unwrap();
    pair.source.execute("insert into t values (1, 'a')").await.unwrap();
    let status = pair
        .daemon
        .wait_for("mirror", "an outage", |status| status["state"] == "degraded");
    let status = status.unwrap();
    assert_eq!(status["code"], "target_disk_full", "{status}");
    std::fs::rename(&aside, &file).unwrap();
    pair.after("insert into t values (2, 'b')", ROWS, &["1 a", "2 b"]).await;
}

/// FM-253: what was committed is not written again, which a history would show by a key that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_looked_up() {
    for version in [
        Version::from(PostgresVersion::V17),
        MySqlVersion::MySql97.into(),
        MySqlVersion::MariaDb1011.into(),
    ] {
        let (source, target) = (
            Database::shared(version).await.unwrap(),
            Database::shared(version).await.unwrap(),
        );
        source.execute("create table t (id int primary key)").await.unwrap();
        let proxy = Proxy::before(target.server().port(), target.protocol()).unwrap();
        let url = target.url_through(&proxy);
        let sink = format!("{}, mode: append, evolve: add", sink(&target, Some(&url)));
        let pair = mysql::Pair::between(source, target, &sink, "dead_letters: { policy: halt }");
        let query = "select id, tailrace_op from t order by tailrace_offset";
        pair.after("insert into t values (1)", query, &["1 c"]).await;
        let armed = proxy.arm(
            Who::All,
            Fault::Lose {
                kind: FrameKind::CommitAnswer,
                count: 1,
                then: Then::Cut(Ending::Reset),
            },
        );
        pair.source.execute("insert into t values (2)").await.unwrap();
        armed.happened().await.unwrap();
        pair.after("insert into t values (3)", query, &["1 c", "2 c", "3 c"])
            .await;
        let log = pair.daemon.log();
        assert!(log.contains("commit_unknown"), "{version}: {log}");
        assert_eq!(pair.daemon.state("mirror").unwrap(), "streaming", "{version}: {log}");
    }
}

/// No order of the tables would do.
#[tokio::test(flavor = "multi_thread")]
async fn constraints_that_may_be_deferred_are() {
    let tables = "create table a (id int primary key, b int); create table b (id int primary key, a int)";
    let rows = "insert into a values (1, 1); insert into b values (1, 1)";
    let keys = "alter table a add foreign key (b) references b deferrable; alter table b add foreign key (a) references a deferrable";
    let (source, target) = (
        database_with(PostgresVersion::V17, &format!("{tables}; {rows}")).await,
        database_with(PostgresVersion::V17, &format!("{tables}; {keys}")).await,
    );
    let pair = Pair::prepare(
        source,
        target,
        "format: { codec: json }",
        "mode: upsert",
        "writers: 1, batch: { wait_ms: 2000 }",
    );
    pair.daemon.start().unwrap();
    let query = "select a.id, b.id from a join b on a.b = b.id and b.a = a.id order by 1";
    pair.after("", query, &["1 1"]).await;
    pair.after(
        "begin; insert into a values (2, 2); insert into b values (2, 2); commit",
        query,
        &["1 1", "2 2"],
    )
    .await;
}
