//! What is written, and what is not: modes, deletes, letters, evolution.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresVersion, eventually};

use super::{DEADLINE, same_rows, sink};
use crate::capture::database_with;

/// Events that say what their values are.
pub(super) const WITH_SCHEMAS: &str = "format: { codec: avro }, contract: { compatibility: none }";

/// A source in PostgreSQL, a target, and a daemon with both and the embedded stream between them.
pub(super) struct Pair {
    pub(super) source: Database,
    pub(super) target: Database,
    pub(super) daemon: Daemon,
}

impl Pair {
    /// Events are JSON without schemas where the tables of the target are there, else Avro.
    pub(super) async fn start(source: &str, target: &str, settings: &str, connector: &str) -> Self {
        let format = if target.is_empty() {
            WITH_SCHEMAS
        } else {
            "format: { codec: json }"
        };
        let source = database_with(PostgresVersion::V17, source).await;
        let into = database_with(PostgresVersion::V17, target).await;
        let pair = Self::prepare(source, into, format, settings, connector);
        pair.daemon.start().unwrap();
        pair.daemon.wait_for_state("mirror", "streaming").unwrap();
        pair
    }

    pub(super) fn prepare(source: Database, target: Database, format: &str, settings: &str, connector: &str) -> Self {
        let daemon = Daemon::new("").unwrap();
        let (folder, name) = (daemon.path().join("events"), source.name());
        let tables = source.patterns("[public.*]");
        let sections = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
             {name}: {{ stream: events, {format}, source: {{ type: postgres, url: \"{}\", tables: {tables} }} }}\n  \
             mirror: {{ stream: events, topics: [\"{}\"], sink: {{ {}, {settings} }}, {connector} }}\n",
            folder.display(),
            source.url(),
            source.topic("*"),
            sink(&target, None),
        );
        daemon.configure(&sections).unwrap();
        Self { source, target, daemon }
    }

    /// Runs statements in the source, and waits until the target gives this answer.
    pub(super) async fn after(&self, statements: &str, query: &str, wanted: &[&str]) {
        if !statements.is_empty() {
            self.source.execute(statements).await.unwrap();
        }
        let rows = || async {
            let found = self.target.query(query).await?;
            let line = |row: Vec<Option<String>>| {
                let cells: Vec<String> = row
                    .into_iter()
                    .map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
                    .collect();
                cells.join(" ")
            };
            Ok::<Vec<String>, tailrace_tests::servers::ServerError>(found.into_iter().map(line).collect())
        };
        let seen = eventually("the target's rows", DEADLINE, || async {
            let Ok(found) = rows().await else { return Ok(None) };
            Ok((found == wanted).then_some(()))
        });
        let seen = seen.await;
        let found = if seen.is_err() { Some(rows().await) } else { None };
        assert!(
            seen.is_ok(),
            "{query} gives {found:?} and not {wanted:?}\n{}",
            self.daemon.log()
        );
    }

    pub(super) fn halts(&self, code: &str) -> String {
        let status = self
            .daemon
            .wait_for("mirror", "a halt", |status| status["state"] == "halted");
        let status = status.unwrap();
        assert_eq!(status["code"], code, "{status}");
        status["reason"].as_str().unwrap().to_owned()
    }
}

const TABLE: &str = "create table t (id int primary key, a text, n numeric(8,2))";

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_change_and_go() {
    let pair = Pair::start(
        &format!("{TABLE}; insert into t values (1, 'one', 1.50), (2, null, null)"),
        "create table t (id bigint primary key, a varchar(10), n numeric(6,2), extra text default 'kept')",
        "mode: upsert",
        "transforms: []",
    )
    .await;
    let query = "select id, a, n, extra from t order by id";
    pair.after("", query, &["1 one 1.50 kept", "2 - - kept"]).await;
    pair.target
        .execute("update t set extra = 'mine' where id = 1")
        .await
        .unwrap();
    pair.after(
        "update t set a = 'eins' where id = 1; delete from t where id = 2; insert into t values (3, 'drei', 3); update t set id = 4 where id = 3",
        query,
        &["1 eins 1.50 mine", "4 drei 3.00 kept"],
    )
    .await;
    pair.after("truncate t", query, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_that_did_not_change_is_left_alone() {
    let source = "create table t (id int primary key, n int, big text); alter table t alter big set storage external;
        insert into t values (1, 1, repeat('x', 5000))";
    let pair = Pair::start(source, "", "evolve: add", "transforms: []").await;
    let query = "select id, n, length(big) from t";
    pair.after("", query, &["1 1 5000"]).await;
    pair.after("update t set n = 2", query, &["1 2 5000"]).await;
    // Without the row there is nothing to leave alone, and half a row is none.
    pair.target.execute("delete from t").await.unwrap();
    pair.source.execute("update t set n = 3").await.unwrap();
    let reason = pair.halts("row_missing");
    assert!(reason.contains("REPLICA IDENTITY FULL"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_row_becomes_a_letter_and_is_replayed_when_the_table_takes_it() {
    let pair = Pair::start(
        TABLE,
        "create table t (id bigint primary key, a varchar(5), n numeric)",
        "mode: upsert",
        "dead_letters: { policy: store }",
    )
    .await;
    let many = "insert into t select i, case when i in (1, 50, 100) then 'too long for it' else 'fits' end, i from generate_series(1, 100) i";
    pair.after(many, "select count(*), sum(n) from t", &["97 4899.00"])
        .await;
    let letters = pair.daemon.command("dlq list", &["mirror"]).unwrap();
    assert_eq!(letters.all().matches("value_refused").count(), 3, "{}", letters.all());
    pair.target.execute("alter table t alter a type text").await.unwrap();
    let replayed = pair.daemon.command("dlq replay", &["mirror"]).unwrap();
    assert_eq!(replayed.code, Some(0), "{}", replayed.all());
    pair.after("", "select count(*), sum(n) from t", &["100 5050.00"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_say_no_types_make_no_tables() {
    let source = format!("{TABLE}; insert into t values (1, 'a', 1)");
    let source = database_with(PostgresVersion::V17, &source).await;
    let target = database_with(PostgresVersion::V17, "").await;
    let pair = Pair::prepare(
        source,
        target,
        "format: { codec: json }",
        "evolve: add",
        "transforms: []",
    );
    pair.daemon.start().unwrap();
    let reason = pair.halts("type_undeclared");
    assert!(reason.contains("`contract`"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_nothing_is_changed_of_the_target_and_the_statement_is_said() {
    let pair = Pair::start(
        &format!("{TABLE}; insert into t values (1, 'a', 1)"),
        "",
        "mode: upsert",
        "transforms: []",
    )
    .await;
    let reason = pair.halts("table_missing");
    let statement =
        r#"CREATE TABLE "public"."t" ("id" integer NOT NULL, "a" text, "n" numeric(8,2), PRIMARY KEY ("id"))"#;
    assert!(reason.contains(statement), "{reason}");
    pair.target.execute(statement).await.unwrap();
    pair.daemon.terminate().unwrap();
    pair.daemon.start().unwrap();
    pair.after("", "select id, a, n from t", &["1 a 1.00"]).await;
    pair.source
        .execute("alter table t add column more int; insert into t values (2, 'b', 2, 3)")
        .await
        .unwrap();
    let reason = pair.halts("column_missing");
    assert!(
        reason.contains(r#"ALTER TABLE "public"."t" ADD COLUMN "more" integer"#),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_grow_where_they_may() {
    let pair = Pair::start(
        &format!("{TABLE}; insert into t values (1, 'a', 1)"),
        "",
        "evolve: widen",
        "transforms: []",
    )
    .await;
    pair.after("", "select * from t", &["1 a 1.00"]).await;
    pair.after(
        "alter table t add column more int; insert into t values (2, 'b', 2, 3)",
        "select * from t order by id",
        &["1 a 1.00 -", "2 b 2.00 3"],
    )
    .await;
    pair.after(
        "alter table t alter more type bigint; insert into t values (3, 'c', 3, 3000000000)",
        "select * from t order by id",
        &["1 a 1.00 -", "2 b 2.00 3", "3 c 3.00 3000000000"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_chosen_renamed_and_masked() {
    let rules = "transforms: [{ tables: [public.t], exclude_columns: [n], rename: { a: name } }]";
    let pair = Pair::start(
        &format!("{TABLE}; insert into t values (1, 'one', 1)"),
        "create table t (id int primary key, name text)",
        "mode: upsert",
        rules,
    )
    .await;
    pair.after("", "select * from t", &["1 one"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn soft_deletes_stay_and_come_back() {
    let pair = Pair::start(
        &format!("{TABLE}; insert into t values (1, 'one', 1), (2, 'two', 2)"),
        "",
        "evolve: add, deletes: soft, soft_delete_column: gone_at",
        "transforms: []",
    )
    .await;
    let query = "select id, gone_at is not null from t order by id";
    pair.after("", query, &["1 f", "2 f"]).await;
    pair.after("delete from t where id = 1", query, &["1 t", "2 f"]).await;
    pair.after("insert into t values (1, 'again', 1)", query, &["1 f", "2 f"])
        .await;
    pair.after("truncate t", query, &["1 t", "2 t"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_hold_whatever_the_order_of_the_topics() {
    let tables = "create table parent (id int primary key);
        create table child (id int primary key, parent int references parent)";
    let pair = Pair::start(tables, tables, "mode: upsert", "writers: 1, batch: { wait_ms: 300 }").await;
    pair.after(
        "insert into parent select generate_series(1, 50); insert into child select i, i from generate_series(1, 50) i",
        "select count(*) from child",
        &["50"],
    )
    .await;
    pair.after(
        "delete from child; delete from parent",
        "select (select count(*) from child) + (select count(*) from parent)",
        &["0"],
    )
    .await;
    same_rows(&pair.source, &pair.target, "child", &pair.daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_takes_no_writes_is_waited_for() {
    let pair = Pair::start(TABLE, TABLE, "mode: upsert", "transforms: []").await;
    let read_only = |on: bool| {
        format!(
            "alter database {} set default_transaction_read_only = {on}",
            pair.target.name()
        )
    };
    pair.after("insert into t values (1, 'a', 1)", "select id from t", &["1"])
        .await;
    pair.target.execute(&read_only(true)).await.unwrap();
    let sessions = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tailrace mirror sink' \
                    and datname = current_database()";
    pair.target.execute(sessions).await.unwrap();
    pair.source.execute("insert into t values (2, 'b', 2)").await.unwrap();
    let status = pair
        .daemon
        .wait_for("mirror", "an outage", |status| status["state"] == "degraded")
        .unwrap();
    assert_eq!(status["code"], "target_read_only", "{status}");
    pair.target
        .execute(&format!("set transaction read write; {}", read_only(false)))
        .await
        .unwrap();
    pair.after("", "select id from t order by id", &["1", "2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_changes_nothing_but_a_large_value_to_itself_changes_nothing() {
    let source = "create table t (id int primary key, big text); alter table t alter big set storage external;
        insert into t values (1, repeat('x', 5000))";
    let pair = Pair::start(source, "", "evolve: add", "transforms: []").await;
    let query = "select id, length(big) from t order by id";
    pair.after("", query, &["1 5000"]).await;
    pair.after(
        "update t set big = big; insert into t values (2, 'y')",
        query,
        &["1 5000", "2 1"],
    )
    .await;
}

/// As after a source that was killed: an event is there once more, and the row is deleted since.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_row_that_was_deleted_since_is_passed_over() {
    let source = "create table t (id int primary key, n int, big text); alter table t alter big set storage external;
        insert into t values (1, 1, repeat('x', 5000)), (2, 1, repeat('y', 5000))";
    // One event a transaction, so that nothing is folded.
    let pair = Pair::start(source, "", "evolve: add", "batch: { rows: 1 }").await;
    let query = "select id, n, length(big) from t order by id";
    pair.after("", query, &["1 1 5000", "2 1 5000"]).await;
    pair.target.execute("delete from t where id = 1").await.unwrap();
    pair.after(
        "update t set n = 2; delete from t where id = 1; insert into t values (3, 1, 'z')",
        query,
        &["2 2 5000", "3 1 1"],
    )
    .await;
    assert_eq!(pair.daemon.state("mirror").unwrap(), "streaming");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_numbers_are_compared_as_numbers() {
    let table = "create table t (id int primary key, v numeric(20,2), a text); alter table t replica identity full";
    let source = database_with(PostgresVersion::V17, table).await;
    let target = database_with(PostgresVersion::V17, table).await;
    // Its deletes have the row as it was.
    let format = "format: { envelope: debezium, codec: avro }";
    let pair = Pair::prepare(source, target, format, "version_guard: v", "transforms: []");
    pair.daemon.start().unwrap();
    let query = "select id, v, a from t order by id";
    let both = "insert into t values (1, 9, 'old'); update t set v = 10, a = 'new'; insert into t values (2, 9, 'old')";
    pair.after(both, query, &["1 10.00 new", "2 9.00 old"]).await;
    pair.target
        .execute("update t set v = 11, a = 'newer' where id = 1")
        .await
        .unwrap();
    // Neither the older update nor the delete of an older version touches the newer row.
    pair.after(
        "update t set a = 'late' where id = 1; delete from t where id = 1; update t set v = 10 where id = 2",
        query,
        &["1 11.00 newer", "2 10.00 old"],
    )
    .await;
}

/// Children are read by a connector of their own, long before their parents are.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_waits_until_the_one_that_it_refers_to_is_there() {
    let tables = "create table parent (id int primary key); create table child (id int primary key, parent int references parent)";
    let pair = Pair::start(
        "create table parent (id int primary key); create table child (id int primary key, parent int)",
        tables,
        "mode: upsert",
        "dead_letters: { policy: store }",
    )
    .await;
    let all = "select 'child', id from child union all select 'parent', id from parent order by 1, 2";
    // A child whose parent comes seconds later, in a topic of its own; what comes behind it in its own topic waits with it.
    pair.source
        .execute("insert into child values (1, 1), (2, null)")
        .await
        .unwrap();
    let waits = pair.daemon.wait_for("mirror", "a notice", |status| {
        status["notices"]["waiting_rows"].is_string()
    });
    let waits = waits.unwrap();
    assert_eq!(waits["state"], "streaming", "{waits}");
    pair.after(
        "insert into parent values (1)",
        all,
        &["child 1", "child 2", "parent 1"],
    )
    .await;
    let gone = pair.daemon.wait_for("mirror", "no notice", |status| {
        status["notices"]["waiting_rows"].is_null()
    });
    gone.unwrap();
    // Its parent goes first, and it after that.
    pair.source.execute("delete from parent where id = 1").await.unwrap();
    pair.after("delete from child where id = 1", all, &["child 2"]).await;
    // One that refers to nothing becomes a letter in the end, and those behind it are written.
    pair.after(
        "insert into child values (3, 99), (4, null)",
        all,
        &["child 2", "child 4"],
    )
    .await;
    let status = pair.daemon.connector("mirror").unwrap();
    assert_eq!(status["dead_letters"]["waiting"], 1, "{status}");
    pair.source.execute("insert into parent values (99)").await.unwrap();
    pair.after("", all, &["child 2", "child 4", "parent 99"]).await;
    let replayed = pair.daemon.command("dlq replay", &["mirror"]).unwrap();
    assert_eq!(replayed.code, Some(0), "{}", replayed.all());
    pair.after("", all, &["child 2", "child 3", "child 4", "parent 99"])
        .await;
}
