//! Settings of a sink, each as a user would try it.

use tailrace_tests::servers::PostgresVersion;

use super::writing::{Pair, WITH_SCHEMAS};
use crate::capture::database_with;

const LETTERS: &str = "dead_letters: { policy: store }";
const ROWS: &str = "select id, a from t order by id";

fn letters(pair: &Pair, code: &str) -> usize {
    let listed = pair.daemon.command("dlq list", &["mirror"]).unwrap();
    listed.all().matches(code).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_add_rows_and_never_change_one() {
    let table = "create table t (id int primary key, a text)";
    let source = format!("{table}; insert into t values (1, 'one')");
    let target = format!("{table}; insert into t values (2, 'mine')");
    let pair = Pair::start(&source, &target, "mode: insert", LETTERS).await;
    pair.after(
        "insert into t values (2, 'two'), (3, 'three')",
        ROWS,
        &["1 one", "2 mine", "3 three"],
    )
    .await;
    assert_eq!(letters(&pair, "constraint_violation"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_change_rows_that_are_there_and_add_none() {
    let table = "create table t (id int primary key, a text)";
    let source = format!("{table}; insert into t values (1, 'one'), (2, 'two')");
    let target = format!("{table}; insert into t values (1, 'old'), (4, 'mine')");
    let pair = Pair::start(&source, &target, "mode: update", LETTERS).await;
    pair.after("", ROWS, &["1 one", "4 mine"]).await;
    let changes = "update t set a = 'zwei' where id = 2; update t set a = 'eins' where id = 1";
    pair.after(changes, ROWS, &["1 eins", "4 mine"]).await;
    assert_eq!(letters(&pair, "row_missing"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_told_apart_by_the_columns_that_the_configuration_names() {
    let source =
        "create table t (id int primary key, email text not null, a text); alter table t replica identity full;
        insert into t values (1, 'a@x', 'one'), (2, 'b@x', 'two')";
    let source = database_with(PostgresVersion::V17, source).await;
    let table = "create table t (id int, email text not null unique, a text)";
    let target = database_with(PostgresVersion::V17, table).await;
    let format = "format: { codec: json, envelope: debezium }";
    let pair = Pair::prepare(source, target, format, "key: [email]", LETTERS);
    pair.daemon.start().unwrap();
    let query = "select id, email, a from t order by email";
    pair.after("", query, &["1 a@x one", "2 b@x two"]).await;
    pair.after(
        "update t set a = 'eins' where id = 1; update t set email = 'c@x' where id = 2",
        query,
        &["1 a@x eins", "2 c@x two"],
    )
    .await;
    pair.after("delete from t where id = 1", query, &["2 c@x two"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_is_ignored_where_that_is_said() {
    let table = "create table t (id int primary key, a text)";
    let source = format!("{table}; insert into t values (1, 'one')");
    let pair = Pair::start(&source, table, "truncates: ignore", LETTERS).await;
    pair.after("", ROWS, &["1 one"]).await;
    pair.after("truncate t; insert into t values (2, 'two')", ROWS, &["1 one", "2 two"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_halts_where_that_is_said() {
    let table = "create table t (id int primary key, a text)";
    let source = format!("{table}; insert into t values (1, 'one')");
    let pair = Pair::start(&source, table, "truncates: halt", LETTERS).await;
    pair.after("", ROWS, &["1 one"]).await;
    pair.source.execute("truncate t").await.unwrap();
    let reason = pair.halts("truncate_refused");
    assert!(reason.contains("`truncates: apply`"), "{reason}");
    pair.after("", ROWS, &["1 one"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_are_not_checked_where_the_source_has_done_it() {
    let table = "create table t (id int primary key, a text)";
    let target =
        "create table parent (a text primary key); create table t (id int primary key, a text references parent)";
    let source = format!("{table}; insert into t values (1, 'orphan')");
    let pair = Pair::start(&source, target, "foreign_keys: ignore", LETTERS).await;
    pair.after("", ROWS, &["1 orphan"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_never_overwritten_by_an_older_one() {
    let source = "create table t (id int primary key, a text); insert into t values (1, 'one'), (2, 'two')";
    let pair = Pair::start(source, "", "evolve: add, version_guard: position", LETTERS).await;
    pair.after("", ROWS, &["1 one", "2 two"]).await;
    pair.after("update t set a = upper(a)", ROWS, &["1 ONE", "2 TWO"]).await;
    let newer = "update t set a = 'newer', tailrace_position = 'ffffffffffffffff' where id = 1";
    pair.target.execute(newer).await.unwrap();
    pair.after("update t set a = 'x'", ROWS, &["1 newer", "2 x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_kept_in_the_table_that_is_named() {
    let table = "create table t (id int primary key, a text)";
    let source = format!("{table}; insert into t values (1, 'one')");
    let pair = Pair::start(&source, table, "offsets_table: places", LETTERS).await;
    pair.after("", ROWS, &["1 one"]).await;
    let places = "select connector, next_offset, to_regclass('tailrace_offsets') from places";
    pair.after("", places, &["mirror 1 -"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_missing_is_made_where_tables_are_or_asked_for() {
    let source = "create table t (id int primary key, a text); insert into t values (1, 'one')";
    let settings = "table: \"legacy.{table}\"";
    let pair = Pair::start(source, "", &format!("{settings}, evolve: add"), LETTERS).await;
    pair.after("", "select id, a from legacy.t", &["1 one"]).await;
    let pair = Pair::start(source, "", settings, LETTERS).await;
    let reason = pair.halts("table_missing");
    let statement = r#"CREATE SCHEMA IF NOT EXISTS "legacy"; CREATE TABLE "legacy"."t""#;
    assert!(reason.contains(statement), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_large_is_refused_with_the_statement_that_makes_room() {
    let source = "create table t (id bigint primary key, a numeric(12,2)); insert into t values (1, 1.5)";
    let target = "create table t (id int primary key, a numeric(5,2))";
    let source = database_with(PostgresVersion::V17, source).await;
    let target = database_with(PostgresVersion::V17, target).await;
    let pair = Pair::prepare(source, target, WITH_SCHEMAS, "evolve: none", "");
    pair.daemon.start().unwrap();
    pair.after("", ROWS, &["1 1.50"]).await;
    pair.source.execute("insert into t values (2, 12345.67)").await.unwrap();
    let reason = pair.halts("value_refused");
    let statement = r#"ALTER TABLE "public"."t" ALTER COLUMN "a" TYPE numeric(12,2)"#;
    assert!(
        reason.contains(statement) && reason.contains("evolve: widen"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_marked_also_where_another_session_has_the_origin() {
    let table = "create table t (id int primary key, a text)";
    let source = database_with(PostgresVersion::V13, table).await;
    let target = database_with(PostgresVersion::V13, table).await;
    let mut other = target.session().await.unwrap();
    for call in ["create", "session_setup"] {
        let statement = format!("select pg_replication_origin_{call}('tailrace_mirror_0')");
        other.execute(&statement).await.unwrap();
    }
    let settings = "mode: upsert, mark_origin: true";
    let pair = Pair::prepare(source, target, "format: { codec: json }", settings, "writers: 1");
    pair.daemon.start().unwrap();
    pair.after("insert into t values (1, 'one')", ROWS, &["1 one"]).await;
    let origins = "select roname from pg_replication_origin where roname like 'tailrace_mirror%' order by roname";
    pair.after("", origins, &["tailrace_mirror_0", "tailrace_mirror_100"])
        .await;
}

/// Of a delete and a truncate it cannot be said what the row was: they are for every row.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_left_out_by_a_filter_and_deletes_and_truncates_are_not() {
    let table = "create table t (id int primary key, a text)";
    let source = format!("{table}; insert into t values (1, 'draft'), (2, 'final'), (3, 'final')");
    let filter = "transforms: [{ where: [{ column: a, not_in: [draft] }] }]";
    let pair = Pair::start(&source, table, "mode: upsert", filter).await;
    pair.after("", ROWS, &["2 final", "3 final"]).await;
    pair.after(
        "delete from t where id < 3; insert into t values (4, 'final'), (5, 'draft')",
        ROWS,
        &["3 final", "4 final"],
    )
    .await;
    pair.after("truncate t; insert into t values (6, 'final')", ROWS, &["6 final"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_needs_neither_key_nor_version() {
    let source = "create table t (id int primary key, v int, a text); insert into t values (1, 1, 'one')";
    let target = "create table t (id int primary key, v int, a text)";
    let pair = Pair::start(source, target, "key: [id], version_guard: v", LETTERS).await;
    pair.after("", ROWS, &["1 one"]).await;
    pair.after("truncate t; insert into t values (2, 1, 'two')", ROWS, &["2 two"])
        .await;
    assert_eq!(letters(&pair, "missing"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_cast_on_either_side_and_what_cannot_be_becomes_a_letter() {
    let source = "create table t (id int primary key, a text, n numeric(10,2)); insert into t values (1, '7', 1.00)";
    let source = database_with(PostgresVersion::V17, source).await;
    let target = database_with(PostgresVersion::V17, "").await;
    let format = format!("{WITH_SCHEMAS}, transforms: [{{ cast: {{ n: text }} }}]");
    let connector = format!("transforms: [{{ cast: {{ a: int32 }} }}], {LETTERS}");
    let pair = Pair::prepare(source, target, &format, "evolve: add", &connector);
    pair.daemon.start().unwrap();
    let query = "select id, a + 1, n || '!' from t order by id";
    pair.after("", query, &["1 8 1.00!"]).await;
    pair.after(
        "insert into t values (2, 'seven', 2); insert into t values (3, '8', 3)",
        query,
        &["1 8 1.00!", "3 9 3.00!"],
    )
    .await;
    assert_eq!(letters(&pair, "cast_impossible"), 1);
}
