//! Into a SQLite file: the same rows, also when the daemon dies while it writes them.

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

use super::DEADLINE;
use crate::capture::database_with;

/// A source, a daemon, and the file that it writes into beside its configuration.
struct Pair {
    source: Database,
    daemon: Daemon,
}

/// Types of new columns come from the events' schemas.
const WITH_SCHEMAS: &str = "format: { codec: avro }, contract: { compatibility: none }";

impl Pair {
    /// The daemon is not started.
    fn prepare(source: Database, sink: &str, connector: &str) -> Self {
        let daemon = Daemon::new("").unwrap();
        let (folder, name) = (daemon.path(), source.name());
        let kind = source
            .mysql()
            .map_or("postgres", |server| server.version().connector_type());
        let file = folder.join("target.db");
        std::fs::write(&file, b"").unwrap();
        let sections = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
             {name}: {{ stream: events, {WITH_SCHEMAS}, source: {{ type: {kind}, url: \"{}\", tables: {} }} }}\n  \
             mirror: {{ stream: events, topics: [\"{}\"], sink: {{ type: sqlite, path: \"{}\", {sink} }}, {connector} }}\n",
            folder.join("events").display(),
            source.url(),
            source.patterns("[public.*]"),
            source.topic("*"),
            file.display(),
        );
        daemon.configure(&sections).unwrap();
        Self { source, daemon }
    }

    async fn file(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.daemon.path().join("target.db"));
        options.connect().await.unwrap()
    }

    async fn execute(&self, statements: &str) {
        let mut file = self.file().await;
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut file)
            .await
            .unwrap();
    }

    /// Runs statements in the source, and waits until a query of one text gives these.
    async fn after(&self, statements: &str, query: &str, wanted: &[&str]) {
        if !statements.is_empty() {
            self.source.execute(statements).await.unwrap();
        }
        let found = || async {
            let mut file = self.file().await;
            let rows: Vec<SqliteRow> = sqlx::raw_sql(AssertSqlSafe(query)).fetch_all(&mut file).await?;
            rows.iter()
                .map(|row| row.try_get(0))
                .collect::<Result<Vec<String>, _>>()
        };
        let seen = eventually("the target's rows", DEADLINE, || async {
            let Ok(found) = found().await else { return Ok(None) };
            Ok((found == wanted).then_some(()))
        });
        let is_seen = seen.await.is_ok();
        let found = found().await;
        assert!(
            is_seen,
            "{query} gives {found:?} and not {wanted:?}\n{}",
            self.daemon.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_change_and_go_in_a_file() {
    let source = database_with(
        PostgresVersion::V17,
        "create table t (id int primary key, a text, n numeric(8,2), at timestamptz, j jsonb, b bytea, ok boolean);
         insert into t values (1, '007', 1.50, '2024-02-29 10:00:00.123456+00', '{\"a\": [1]}', '\\x00ff', true), (2, null, null, null, null, null, null)",
    )
    .await;
    let pair = Pair::prepare(source, "evolve: add", "transforms: []");
    pair.daemon.start().unwrap();
    let query = "select concat_ws(' ', id, a, n, at, j, hex(b), ok) from t order by id";
    let first = "1 007 1.5 2024-02-29 10:00:00.123456 {\"a\": [1]} 00FF 1";
    pair.after("", query, &[first, "2 "]).await;
    let id = "select cast(id as text) || coalesce(a, '-') from t order by id";
    pair.after(
        "update t set a = 'b' where id = 2; delete from t where id = 1; insert into t (id, a) values (3, 'c')",
        id,
        &["2b", "3c"],
    )
    .await;
    pair.after("truncate t", id, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes_a_file_every_event_is_in_the_history_once() {
    let table = "create table t (id int primary key, a varchar(20))";
    let source = Database::shared(MySqlVersion::MySql97).await.unwrap();
    source.execute(table).await.unwrap();
    let pair = Pair::prepare(source, "mode: append, evolve: add", "dead_letters: { policy: halt }");
    // The source dies too and may send an event again, under an offset of its own; what counts is that no offset is written twice.
    let query = "select (count(*) - count(distinct tailrace_offset)) || ' twice, ' || count(distinct id || a) || ' events' from t";
    pair.daemon.start().unwrap();
    pair.after("insert into t values (0, 'a')", query, &["0 twice, 1 events"])
        .await;
    pair.daemon.kill9().unwrap();
    for (id, failpoint) in [
        (1, "in_sink_transaction"),
        (2, "before_sink_commit"),
        (3, "after_sink_commit"),
    ] {
        pair.daemon.start_armed(&format!("{failpoint}=kill")).unwrap();
        let insert = format!("insert into t values ({id}, 'a')");
        pair.source.execute(&insert).await.unwrap();
        let died = eventually("the daemon dies", DEADLINE, || async { pair.daemon.ended() });
        died.await.unwrap();
    }
    pair.daemon.start().unwrap();
    pair.after("update t set a = 'b' where id = 0", query, &["0 twice, 5 events"])
        .await;
    assert_eq!(
        pair.daemon.state("mirror").unwrap(),
        "streaming",
        "{}",
        pair.daemon.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_rows_of_a_file_become_letters() {
    let source = database_with(PostgresVersion::V17, "create table t (id int primary key, n int)").await;
    let letters = "dead_letters: { policy: store }, writers: 1, batch: { wait_ms: 300 }";
    let pair = Pair::prepare(source, "mode: upsert", letters);
    pair.execute("create table t (id integer primary key, n integer check (n <> 50))")
        .await;
    pair.daemon.start().unwrap();
    let many = "insert into t select i, case when i in (1, 51, 100) then 50 else i end from generate_series(1, 100) i where i <> 50";
    pair.after(many, "select count(*) || ' ' || sum(n) from t", &["96 4848"])
        .await;
    let letters = pair.daemon.command("dlq list", &["mirror"]).unwrap();
    assert_eq!(
        letters.all().matches("check_constraint").count(),
        3,
        "{}",
        letters.all()
    );
}
