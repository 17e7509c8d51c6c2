//! `check` of tables that are polled: everything that is wrong, each with the statement that mends it.

use serde_json::Value;

use super::{Polled, database_with, role_with};

/// The findings of `check`, by code: severity, problem and remedy.
fn findings(polled: &Polled) -> Vec<(String, String)> {
    let printed = polled.daemon.command("check", &["--json"]).unwrap();
    let report: Value = serde_json::from_str(&printed.stdout)
        .map_err(|error| format!("{error}: {}", printed.all()))
        .unwrap();
    let mut found = Vec::new();
    collect(&report, &mut found);
    found
}

/// Everything in a report that has a code.
fn collect(report: &Value, found: &mut Vec<(String, String)>) {
    match report {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            if let Some(code) = fields.get("code").and_then(Value::as_str) {
                found.push((code.to_owned(), report.to_string()));
            }
            fields.values().for_each(|value| collect(value, found));
        }
        _ => {}
    }
}

fn has(found: &[(String, String)], code: &str, words: &str) {
    let hit = found.iter().any(|(of, text)| of == code && text.contains(words));
    assert!(hit, "no {code} with `{words}` in {found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_faults_has_none() {
    let table = "create table t (id bigint generated always as identity primary key, note text); insert into t (note) values ('a')";
    let polled = Polled::prepare(
        database_with(table).await,
        "tables: [public.t]\nquery: { mode: incrementing }",
    );
    let found = findings(&polled);
    has(&found, "gap_safety", "proven");
    assert!(
        found.iter().all(|(_, text)| !text.contains(r#""blocks""#)),
        "{found:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_come_with_their_grant() {
    let tables = "create table t (id bigserial primary key, note text); create table q (id bigserial primary key)";
    let database = database_with(tables).await;
    let url = role_with(&database, "grant select on q to ROLE").await;
    let source =
        "tables: [public.t, public.q]\nquery: { mode: incrementing, overrides: { public.q: { mode: queue } } }";
    let polled = Polled::prepare_at(database, &url, source);
    let found = findings(&polled);
    has(&found, "insufficient_privilege", r#"GRANT SELECT ON \"public\".\"t\""#);
    has(
        &found,
        "insufficient_privilege",
        "GRANT SELECT ON SEQUENCE public.t_id_seq",
    );
    has(&found, "insufficient_privilege", r#"GRANT DELETE ON \"public\".\"q\""#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_be_seen_is_told() {
    let tables = "create table t (id bigserial primary key, at timestamptz, note text); insert into t (note) values ('a'), ('b');
        create view v as select * from t;
        create table local (id bigserial primary key, at timestamp not null default now()); insert into local (at) values (now() + interval '1 day')";
    let source = "tables: [public.t, public.v, public.local]\nquery: { mode: timestamp_incrementing, timestamp_column: at, id_column: id }";
    let polled = Polled::prepare(database_with(tables).await, source);
    let found = findings(&polled);
    has(&found, "cursor_index_missing", "CREATE INDEX");
    has(&found, "cursor_column_nullable", "now 2 rows");
    has(&found, "gap_safety", "nothing in the database sets at");
    has(&found, "gap_safety", "only its default sets it");
    has(&found, "id_column_unverified", "public.v");
    has(&found, "timestamp_in_future", "public.local");
    has(&found, "deletes_not_seen", "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_polled_blocks() {
    let tables = "create table t (id bigint primary key, at int, note text); create sequence t_seq increment by 50;
        create table parent (id bigserial primary key); create table child () inherits (parent)";
    let source = "tables: [public.t, public.parent, public.nobody]\nquery: { mode: incrementing, overrides: { public.x: { mode: queue } } }";
    let polled = Polled::prepare(database_with(tables).await, source);
    let found = findings(&polled);
    has(&found, "gaps_certain", "accept_gaps");
    has(&found, "table_inherited", "FROM ONLY");
    has(&found, "tables_unmatched", "public.nobody");
    has(&found, "override_unknown", "public.x");
    polled.configure("tables: [public.t]\nquery: { mode: timestamp_incrementing, timestamp_column: at }");
    has(&findings(&polled), "timestamp_column_type", "is of type integer");
}
