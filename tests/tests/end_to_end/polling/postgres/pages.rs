//! Pages: many rows of one time, rows that are marked as deleted, queries, tables that are altered, values of every type.

use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::servers::PostgresVersion;

use super::{Polled, count, database_with, number};
use crate::vectors;

/// Without a delay, because what is tested commits at once.
const BY_TIME: &str = "poll_interval_ms: 20, delay_ms: 0, batch_rows: 100";

/// Ten thousand rows of one time, read a hundred at a time: none is left out where a page ends, and none comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn many_rows_of_one_time_are_each_read_once() {
    let rows = "insert into t (at, n) select '2026-01-31 10:00:00.123456+00', n from generate_series(1, 10000) n;
        insert into t (at, n) values ('2026-01-31 10:00:00.123455+00', 0), ('2026-01-31 10:00:00.123457+00', 10001)";
    let cases = [
        (
            "timestamp_incrementing",
            "id uuid primary key default gen_random_uuid(),",
        ),
        ("timestamp_incrementing", "id bigserial primary key,"),
        (
            "timestamp_incrementing",
            "id text primary key default md5(random()::text) collate \"C\",",
        ),
        ("timestamp", ""),
    ];
    for (mode, id) in cases {
        let table = format!(
            "create table t ({id} at timestamptz not null default now(), n int); create index on t (at); {rows}"
        );
        let query = format!("tables: [public.t]\nquery: {{ mode: {mode}, timestamp_column: at, {BY_TIME} }}");
        let polled = Polled::start(database_with(&table).await, &query);
        let events = polled.wait_for_events("t", 10_002).await;
        let mut numbers: Vec<i64> = events.iter().map(|event| number(event, "n")).collect();
        assert_eq!((numbers[0], numbers[10_001]), (0, 10_001), "{mode} {id}");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..=10_001).collect::<Vec<i64>>(), "{mode} {id}");
        // What changes goes on from there.
        polled
            .database
            .execute("update t set at = now(), n = n + 20000 where n in (7, 8)")
            .await
            .unwrap();
        let events = polled.wait_for_events("t", 10_004).await;
        let changed: Vec<i64> = events[10_002..]
            .iter()
            .map(|event| number(event, "n") % 20_000)
            .collect();
        assert!(changed == [7, 8] || changed == [8, 7], "{mode} {id}: {changed:?}");
    }
}

/// Each type that may be a timestamp, and its position in the checkpoint: exact, whatever the fraction.
#[tokio::test(flavor = "multi_thread")]
async fn timestamps_of_every_type_go_on_exactly_where_they_were() {
    for (kind, first, second) in [
        (
            "timestamptz",
            "2026-01-31 10:00:00.000001+02",
            "2026-01-31 08:00:00.000002+00",
        ),
        ("timestamp", "2026-01-31 10:00:00.000001", "2026-01-31 10:00:00.000002"),
        ("date", "2026-01-30", "2026-01-31"),
    ] {
        let table = format!(
            "create table t (id bigserial primary key, at {kind}); insert into t (at) values ('{first}'), (null)"
        );
        let query =
            format!("tables: [public.t]\nquery: {{ mode: timestamp_incrementing, timestamp_column: at, {BY_TIME} }}");
        let polled = Polled::start(database_with(&table).await, &query);
        polled.wait_for_events("t", 1).await;
        polled.daemon.terminate().unwrap();
        polled
            .database
            .execute(&format!("insert into t (at) values ('{second}'), ('{first}')"))
            .await
            .unwrap();
        polled.start_again();
        let events = polled.wait_for_events("t", 3).await;
        let ids: Vec<i64> = events.iter().map(|event| number(event, "id")).collect();
        assert_eq!(ids, [1, 4, 3], "{kind}");
        let hours = if kind == "timestamptz" { 8 } else { 10 };
        if kind != "date" {
            let micros = 1_769_817_600_000_000 + hours * 3_600_000_000;
            assert_eq!(events[2].timestamp_ms, micros / 1000, "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_marked_as_deleted_are_deletes() {
    for (column, gone, value) in [
        ("deleted_at timestamptz", "now()", ""),
        ("is_gone boolean not null default false", "true", ", value: 'true'"),
        ("state char(1) not null default 'A'", "'D'", ", value: D"),
    ] {
        let name = column.split(' ').next().unwrap();
        let table = format!(
            "create table t (id bigserial primary key, at timestamptz not null default now(), note text, {column});
             insert into t (note) values ('a'), ('b')"
        );
        let query = format!(
            "tables: [public.t]\nquery:\n  {{ mode: timestamp_incrementing, timestamp_column: at, deleted: {{ column: {name}{value} }}, {BY_TIME} }}"
        );
        let polled = Polled::start(database_with(&table).await, &query);
        polled.wait_for_events("t", 2).await;
        polled
            .database
            .execute(&format!("update t set {name} = {gone}, at = now() where id = 1"))
            .await
            .unwrap();
        // The tombstone comes with the delete.
        let events = polled.wait_for_events("t", 4).await;
        assert_eq!(events[2].operation(), "d", "{column}");
        assert_eq!(
            (events[2].before()["note"].as_str(), events[3].value.is_none()),
            (Some("a"), true),
            "{column}"
        );
    }
}

/// The public shape of internal tables: a join, with its own key, in a topic of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_over_a_join_is_polled_like_a_table() {
    let tables = "create table customer (id int primary key, name text);
        create table purchase (id bigserial primary key, customer int references customer, total numeric(10, 2), changed timestamptz default now());
        insert into customer values (1, 'Ada'); insert into purchase (customer, total) values (1, 12.50)";
    let source = "query:\n  mode: timestamp_incrementing\n  timestamp_column: changed\n  id_column: number\n  poll_interval_ms: 20\n  delay_ms: 0\n  queries:\n    \
         public.purchases:\n      key: [number]\n      sql: |\n        SELECT p.id AS number, c.name, p.total, p.changed\n        FROM purchase p JOIN customer c ON c.id = p.customer -- the public shape";
    let polled = Polled::start(database_with(tables).await, source);
    let events = polled.wait_for_events("purchases", 1).await;
    assert_eq!(events[0].key_json()["number"], 1);
    assert_eq!(events[0].after()["name"], "Ada");
    polled
        .database
        .execute("insert into purchase (customer, total) values (1, 7)")
        .await
        .unwrap();
    let events = polled.wait_for_events("purchases", 2).await;
    assert_eq!(events[1].key_json()["number"], 2);
    // A table below it is altered: the next page is of the query as it is now.
    polled
        .database
        .execute(
            "alter table customer alter name type varchar(40); insert into purchase (customer, total) values (1, 8)",
        )
        .await
        .unwrap();
    assert_eq!(polled.wait_for_events("purchases", 3).await[2].after()["name"], "Ada");
    // It cannot be answered any more, and says so.
    polled
        .database
        .execute("alter table purchase drop column total")
        .await
        .unwrap();
    polled.wait_for("halted");
    let state = polled.daemon.state(polled.database.name()).unwrap();
    assert_eq!(state, "halted:source_query");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_polled_where_they_are_named() {
    let tables = "create table t (id bigserial primary key, at timestamptz not null default now(), note text);
        create view shown as select id, at, upper(note) as note from t; insert into t (note) values ('a')";
    let by_view = format!(
        "tables: [public.shown]\nquery: {{ mode: timestamp_incrementing, timestamp_column: at, id_column: id, {BY_TIME} }}"
    );
    let polled = Polled::start(database_with(tables).await, &by_view);
    assert_eq!(polled.wait_for_events("shown", 1).await[0].after()["note"], "A");
    let by_pattern = by_view.replace("public.shown", "public.*");
    let polled = Polled::start(database_with(tables).await, &by_pattern);
    polled.wait_for_events("t", 1).await;
    assert_eq!(polled.events("shown").await, []);
}

/// Columns come, go and are renamed between two polls; rows are of the table as it is when they are read.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_altered_between_polls_are_read_as_they_are() {
    let table = "create table t (id bigserial primary key, at timestamptz not null default now(), a int, b text);
        insert into t (a, b) values (1, 'x')";
    let query = format!(
        "tables: [public.t, public.later*]\nquery: {{ mode: timestamp_incrementing, timestamp_column: at, {BY_TIME} }}"
    );
    let statements =
        format!("{table}; create table later_0 (id bigserial primary key, at timestamptz not null default now())");
    let polled = Polled::start(database_with(&statements).await, &query);
    polled.wait_for_events("t", 1).await;
    let steps = [
        (
            "add column c numeric(5, 2) default 1.25",
            r#"{"a":2,"b":"x","c":"fQ=="}"#,
        ),
        ("drop column b", r#"{"a":2,"c":"fQ=="}"#),
        ("rename column a to z", r#"{"c":"fQ==","z":2}"#),
        ("alter column z type text", r#"{"c":"fQ==","z":"2"}"#),
    ];
    for (index, (change, expected)) in steps.into_iter().enumerate() {
        let insert = "insert into t select (jsonb_populate_record(null::t, to_jsonb(t) || jsonb_build_object('id', nextval('t_id_seq'), 'at', now(), 'a', 2))).* from t order by id desc limit 1";
        polled
            .database
            .execute(&format!("alter table t {change}"))
            .await
            .unwrap();
        polled.database.execute(insert).await.unwrap();
        let events = polled.wait_for_events("t", index + 2).await;
        let mut row = events[index + 1].after();
        row.as_object_mut()
            .unwrap()
            .retain(|name, _| name != "id" && name != "at");
        assert_eq!(row.to_string(), expected, "{change}");
    }
    // A new table is found without a restart, and one that is dropped is told.
    polled
        .database
        .execute("create table later_1 (id bigserial primary key, at timestamptz not null default now()); insert into later_1 default values; drop table later_0")
        .await
        .unwrap();
    polled.wait_for_events("later_1", 1).await;
    assert!(polled.wait_for_notice("table_gone").contains("later_0"));
}

/// The whole answer each time, and with `changes_only` what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn everything_each_time_or_what_changed() {
    let table = "create table t (id int primary key, note text); insert into t values (1, 'a'), (2, 'b')";
    let query = "tables: [public.t]\nquery: { mode: bulk, changes_only: true, poll_interval_ms: 20 }";
    let polled = Polled::start(database_with(table).await, query);
    polled.wait_for_events("t", 2).await;
    polled
        .database
        .execute("update t set note = 'c' where id = 1; delete from t where id = 2; insert into t values (3, 'd')")
        .await
        .unwrap();
    // One of each, and the tombstone.
    let events = polled.wait_for_events("t", 6).await;
    let mut told: Vec<(String, String)> = events[2..]
        .iter()
        .map(|event| (event.key_json()["id"].to_string(), event.operation().to_owned()))
        .collect();
    told.sort();
    let operations: Vec<&str> = told.iter().map(|(_, operation)| operation.as_str()).collect();
    assert!(
        operations.contains(&"u") && operations.contains(&"d") && operations.contains(&"c"),
        "{told:?}"
    );
    assert_eq!(count(&polled.database, "select count(*) from t").await, 2);
}

/// A row that is read by a page has the values that the snapshot gives it, of every type.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read_as_a_snapshot_reads_it() {
    let carried = async |database: Database, format: String| {
        let source = "tables: [public.v]\nquery: { mode: incrementing, accept_gaps: true }";
        let url = database.url();
        let polled = Polled::prepare_as(database, &url, &format, source);
        polled.start_again();
        polled.wait_for_events("v", 1).await.remove(0)
    };
    let others = |vector: &vectors::Vector| !vectors::is_pgvector(vector);
    vectors::hold_in(PostgresVersion::V15, &vectors::EXTENSIONS, others, carried).await;
    vectors::hold_in(PostgresVersion::V16, &["vector"], vectors::is_pgvector, carried).await;
}

/// A statement that takes too long is given up, and the connector goes on when it is quick again.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_takes_too_long_is_given_up() {
    let tables = "create table t (id int, slow boolean); insert into t values (1, true)";
    let source = "query:\n  mode: bulk\n  changes_only: true\n  poll_interval_ms: 20\n  statement_timeout_ms: 300\n  queries:\n    public.slow:\n      key: [id]\n      \
        sql: SELECT id, (SELECT count(*) FROM pg_sleep(CASE WHEN slow THEN 60 ELSE 0 END)) AS n FROM t";
    let polled = Polled::prepare(database_with(tables).await, source);
    polled.daemon.start().unwrap();
    polled.wait_for("degraded:query_timeout");
    polled.database.execute("update t set slow = false").await.unwrap();
    let events = polled.wait_for_events("slow", 1).await;
    assert_eq!(events.iter().map(Event::operation).collect::<Vec<_>>(), ["r"]);
}

/// A table that is being rewritten has no rows in a state of before: that is not read as a table whose rows are gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_rewritten_is_never_read_as_empty() {
    let table = "create table t (id int primary key, n int); insert into t select n, n from generate_series(1, 5000) n";
    let mode = "mode: bulk\n  changes_only: true\n  poll_interval_ms: 1\n  batch_rows: 10000";
    let source = format!(
        "tables: [public.t]\nquery:\n  {mode}\n  id_column: id\n  queries:\n    public.answer: {{ key: [id], sql: \"SELECT id, n FROM t\" }}"
    );
    let polled = Polled::start(database_with(table).await, &source);
    polled.wait_for_events("t", 5000).await;
    polled.wait_for_events("answer", 5000).await;
    for round in 0..40 {
        let wanted = if round % 2 == 0 { "bigint" } else { "int" };
        polled
            .database
            .execute(&format!("alter table t alter n type {wanted}"))
            .await
            .unwrap();
    }
    polled
        .database
        .execute("insert into t values (5001, 5001)")
        .await
        .unwrap();
    for table in ["t", "answer"] {
        let events = polled.wait_for_events(table, 5001).await;
        let gone = events.iter().filter(|event| event.operation() == "d").count();
        assert_eq!(gone, 0, "{table}");
    }
}
