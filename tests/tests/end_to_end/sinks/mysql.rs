//! Into MySQL and MariaDB, the oldest and the newest: what is written, what is refused, and what if somebody is in the way.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::scenario::{Lane, Options};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, PostgresVersion, Result, eventually};

use super::crashes::dies_and_is_right;
use super::{DEADLINE, sink};
use crate::crashes::seed;

/// A source and a target of any kind, and a daemon with both and the embedded stream between them.
pub(super) struct Pair {
    pub(super) source: Database,
    target: Database,
    pub(super) daemon: Daemon,
}

/// Types of new columns come from the events' schemas.
const WITH_SCHEMAS: &str = "format: { codec: avro }, contract: { compatibility: none }";

/// One batch for what was committed together, and no other writer to share it with.
const ONE_BATCH: &str = "writers: 1, batch: { wait_ms: 300 }";

impl Pair {
    /// Both in databases of the same server.
    async fn start(version: MySqlVersion, source: &str, target: &str, connector: &str) -> Self {
        let (from, into) = (database(version, source).await, database(version, target).await);
        let sink = sink(&into, None);
        Self::between(from, into, &sink, connector)
    }

    pub(super) fn between(source: Database, target: Database, sink: &str, connector: &str) -> Self {
        let daemon = Daemon::new("").unwrap();
        let (folder, name) = (daemon.path().join("events"), source.name());
        let kind = source
            .mysql()
            .map_or("postgres", |server| server.version().connector_type());
        let sections = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
             {name}: {{ stream: events, {WITH_SCHEMAS}, source: {{ type: {kind}, url: \"{}\", tables: {} }} }}\n  \
             mirror: {{ stream: events, topics: [\"{}\"], sink: {{ {sink} }}, {connector} }}\n",
            folder.display(),
            source.url(),
            source.patterns("[public.*]"),
            source.topic("*"),
        );
        daemon.configure(&sections).unwrap();
        daemon.start().unwrap();
        daemon.wait_for_state("mirror", "streaming").unwrap();
        daemon.wait_for_state(name, "streaming").unwrap();
        Self { source, target, daemon }
    }

    /// Runs statements in the source, and waits until the target gives this answer.
    pub(super) async fn after(&self, statements: &str, query: &str, wanted: &[&str]) {
        if !statements.is_empty() {
            self.source.execute(statements).await.unwrap();
        }
        let seen = eventually("the target's rows", DEADLINE, || async {
            let Ok(found) = self.found(query).await else {
                return Ok(None);
            };
            Ok((found == wanted).then_some(()))
        });
        let is_seen = seen.await.is_ok();
        let found = self.found(query).await;
        assert!(
            is_seen,
            "{query} gives {found:?} and not {wanted:?}\n{}",
            self.daemon.log()
        );
    }

    async fn found(&self, query: &str) -> Result<Vec<String>> {
        let rows = self.target.query(query).await?;
        let line = |row: Vec<Option<String>>| {
            let cells = row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            Vec::from_iter(cells).join(" ")
        };
        Ok(rows.into_iter().map(line).collect())
    }
}

async fn database(version: MySqlVersion, statements: &str) -> Database {
    let database = Database::shared(version).await.unwrap();
    if !statements.is_empty() {
        database.execute(statements).await.unwrap();
    }
    database
}

const TABLE: &str = "create table t (id int primary key, a varchar(40), n decimal(8,2))";

async fn rows_come_change_and_go(version: MySqlVersion) {
    let pair = Pair::start(
        version,
        &format!("{TABLE}; insert into t values (0, 'it''s \\\\', 1.50), (2, null, null)"),
        "create table t (id bigint primary key, a varchar(10), n decimal(10,2), extra varchar(10) default 'kept')",
        "transforms: []",
    )
    .await;
    let query = "select id, a, n, extra from t order by id";
    pair.after("", query, &["0 it's \\ 1.50 kept", "2 - - kept"]).await;
    pair.target
        .execute("update t set extra = 'mine' where id = 0")
        .await
        .unwrap();
    pair.after(
        "update t set a = 'eins' where id = 0; delete from t where id = 2; insert into t values (3, 'drei', 3); \
         update t set id = 4 where id = 3",
        query,
        &["0 eins 1.50 mine", "4 drei 3.00 kept"],
    )
    .await;
    pair.after("truncate t", query, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_change_and_go_in_the_newest_mysql() {
    rows_come_change_and_go(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_change_and_go_in_the_oldest_mysql() {
    rows_come_change_and_go(MySqlVersion::MySql56).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_change_and_go_in_mariadb() {
    rows_come_change_and_go(MySqlVersion::MariaDb1011).await;
}

/// Events of one key are folded, and what is left of this transaction is a swap that no order of its rows allows.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_unique_index_are_swapped_and_never_overwritten() {
    let table = "create table t (id int primary key, u varchar(10) unique, v int)";
    let pair = Pair::start(
        MySqlVersion::MySql97,
        &format!("{table}; insert into t values (1, 'a', 1), (2, 'b', 1)"),
        table,
        ONE_BATCH,
    )
    .await;
    let query = "select * from t order by id";
    pair.after("", query, &["1 a 1", "2 b 1"]).await;
    pair.after(
        "begin; update t set u = null where id = 1; update t set u = 'a', v = 2 where id = 2; update t set u = 'b', v = 2 where id = 1; commit",
        query,
        &["1 b 2", "2 a 2"],
    )
    .await;
    // A row of the target's own has the value: that row stays, and the event is the one that cannot be written.
    pair.target.execute("insert into t values (100, 'c', 0)").await.unwrap();
    pair.source.execute("insert into t values (3, 'c', 3)").await.unwrap();
    let status = pair
        .daemon
        .wait_for("mirror", "a halt", |status| status["state"] == "halted");
    let status = status.unwrap();
    assert_eq!(status["code"], "duplicate_key", "{status}");
    assert_eq!(pair.found(query).await.unwrap(), ["1 b 2", "2 a 2", "100 c 0"]);
}

/// FM-242.
#[tokio::test(flavor = "multi_thread")]
async fn poison_rows_become_letters_and_their_neighbours_are_written() {
    let pair = Pair::start(
        MySqlVersion::MariaDb1011,
        TABLE,
        "create table t (id bigint primary key, a varchar(5), n decimal(10,2))",
        "dead_letters: { policy: store }, writers: 1, batch: { wait_ms: 300 }",
    )
    .await;
    let numbers = pair.source.numbers(1..101);
    let many =
        format!("insert into t select n, if(n in (1, 50, 100), 'too long for it', 'fits'), n from ({numbers}) many");
    pair.after(&many, "select count(*), sum(n) from t", &["97 4899.00"])
        .await;
    let letters = pair.daemon.command("dlq list", &["mirror"]).unwrap();
    assert_eq!(letters.all().matches("value_refused").count(), 3, "{}", letters.all());
}

/// FM-241: the session that has done less is the one that the server ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_costs_a_retry() {
    let pair = Pair::start(MySqlVersion::MySql97, TABLE, TABLE, ONE_BATCH).await;
    let query = "select id, a from t order by id";
    pair.after("insert into t values (1, 'a', 1), (2, 'a', 1)", query, &["1 a", "2 a"])
        .await;
    let numbers = pair.target.numbers(1..2_001);
    pair.target
        .execute("create table heavy (id int primary key)")
        .await
        .unwrap();
    let mut other = pair.target.session().await.unwrap();
    let began = format!("begin; insert into heavy select n from ({numbers}) many; update t set n = 7 where id = 2");
    other.execute(&began).await.unwrap();
    pair.source.execute("update t set a = 'b'").await.unwrap();
    // The sink has changed the first row and waits for the second: nothing else takes it a second. What InnoDB says of transactions is no
    // newer than the last time that somebody asked, for those who ask often.
    let waits = format!(
        "select count(*) from information_schema.processlist where time >= 1 and info like 'INSERT INTO `{}`.`t`%'",
        pair.target.name()
    );
    let waiting = eventually("the sink waits for a row", DEADLINE, || async {
        Ok((pair.target.query_value(&waits).await? == "1").then_some(()))
    });
    waiting.await.unwrap();
    other.execute("update t set n = 8 where id = 1; commit").await.unwrap();
    pair.after("", query, &["1 b", "2 b"]).await;
    assert!(pair.daemon.log().contains("deadlock"), "{}", pair.daemon.log());
}

/// FM-252.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_waited_for() {
    let target = Database::own(MySqlOptions::version(MySqlVersion::MySql97))
        .await
        .unwrap();
    target.execute(TABLE).await.unwrap();
    let source = database(MySqlVersion::MySql97, TABLE).await;
    let sink = sink(&target, None);
    let pair = Pair::between(source, target, &sink, "transforms: []");
    let query = "select id from t order by id";
    pair.after("insert into t values (1, 'a', 1)", query, &["1"]).await;
    pair.target.execute("set global super_read_only = on").await.unwrap();
    pair.source.execute("insert into t values (2, 'b', 2)").await.unwrap();
    let status = pair
        .daemon
        .wait_for("mirror", "an outage", |status| status["state"] == "degraded");
    let status = status.unwrap();
    assert_eq!(status["code"], "target_read_only", "{status}");
    pair.target
        .execute("set global super_read_only = off; set global read_only = off")
        .await
        .unwrap();
    pair.after("", query, &["1", "2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes_the_newest_mysql() {
    let options = Options {
        codec: "avro",
        ..Options::new(Lane::File, seed())
    };
    dies_and_is_right(options, MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes_the_oldest_mysql() {
    let options = Options {
        version: PostgresVersion::V13.into(),
        codec: "avro",
        ..Options::new(Lane::File, seed())
    };
    dies_and_is_right(options, MySqlVersion::MySql56).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes_mariadb() {
    let options = Options {
        version: MySqlVersion::MySql97.into(),
        envelope: "debezium",
        codec: "avro",
        ..Options::new(Lane::File, seed())
    };
    dies_and_is_right(options, MySqlVersion::MariaDb1011).await;
}
