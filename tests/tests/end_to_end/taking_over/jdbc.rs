//! Offsets of Kafka Connect's JDBC source: rows behind them are read, and rows before them are not.

use std::fs;

use serde_json::{Value, json};
use tailrace_tests::daemon::Printed;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, PostgresVersion, poll_until};

use super::DEADLINE;
use crate::capture::{Capture, Wanted};

/// 2026-01-31 10:00:00.123456
const MILLISECONDS: i64 = 1_769_853_600_123;
const NANOSECONDS: i64 = 123_456_000;

const ROWS: &str = "create table orders (id int primary key, n int not null, changed timestamp(6) not null);
    insert into orders values
        (1, 1, '2026-01-31 09:00:00'), (2, 2, '2026-01-31 10:00:00.123456'), (3, 3, '2026-01-31 10:00:00.123456'),
        (4, 4, '2026-01-31 10:00:00.123457'), (5, 5, '2026-01-31 11:00:00')";

/// The ids of the rows that are published after an offset was taken over, in a mode.
async fn published(database: Database, mode: &str, offset: &Value) -> Vec<i64> {
    database.execute(ROWS).await.unwrap();
    let source = format!("query: {{ mode: {mode}, timestamp_column: changed, delay_ms: 0, poll_interval_ms: 100 }}");
    let source = match mode {
        "incrementing" => "query: { mode: incrementing, poll_interval_ms: 100, accept_gaps: true }".to_owned(),
        _ => source,
    };
    let wanted = Wanted {
        source: &source,
        tables: "[public.orders]",
        ..Wanted::default()
    };
    let capture = Capture::prepare(database, &wanted);
    let table = match capture.database.schema() {
        "public" => format!("{}.public.orders", capture.database.name()),
        schema => format!("{schema}.orders"),
    };
    let told = import(&capture, &table, offset, &[]);
    assert_eq!(told.code, Some(2), "{}", told.all());
    let is_converted = told.stdout.contains("in its own time zone");
    let is_read_as_text = capture.database.schema() != "public" && mode != "incrementing";
    assert_eq!(is_converted, is_read_as_text, "{}", told.all());
    let done = import(&capture, &table, offset, &["--yes"]);
    assert_eq!(done.code, Some(0), "{}", done.all());
    capture.daemon.start().unwrap();
    let topic = capture.database.topic("orders");
    let ids = poll_until("the last row", DEADLINE, || {
        let records = capture.kafka.records(&topic).unwrap_or_default();
        let ids: Vec<i64> = records
            .iter()
            .filter_map(|record| {
                serde_json::from_slice::<Value>(record.value.as_deref()?).ok()?["after"]["id"].as_i64()
            })
            .collect();
        Ok(ids.contains(&5).then_some(ids))
    });
    let ids = match ids {
        Ok(ids) => ids,
        Err(error) => unreachable!("{}", capture.daemon.with_status(capture.database.name(), &error)),
    };
    capture.daemon.terminate().unwrap();
    ids
}

fn import(capture: &Capture, table: &str, offset: &Value, arguments: &[&str]) -> Printed {
    let answer = json!({ "offsets": [{ "partition": { "protocol": "1", "table": table }, "offset": offset }] });
    let path = capture.daemon.path().join("offsets.json");
    fs::write(&path, answer.to_string()).unwrap();
    let path = path.to_string_lossy().into_owned();
    let all: Vec<&str> = [capture.database.name(), "--connect-json", &path]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    capture.daemon.command("import-offsets", &all).unwrap()
}

async fn goes_on<F: Future<Output = Database>>(database: impl Fn() -> F) {
    let both = json!({ "timestamp": MILLISECONDS, "timestamp_nanos": NANOSECONDS, "incrementing": 2 });
    assert_eq!(
        published(database().await, "timestamp_incrementing", &both).await,
        [3, 4, 5]
    );
    let time = json!({ "timestamp": MILLISECONDS, "timestamp_nanos": NANOSECONDS });
    assert_eq!(
        published(database().await, "timestamp", &time).await,
        [2, 3, 4, 5],
        "its rows come again"
    );
    let id = json!({ "incrementing": 3 });
    assert_eq!(published(database().await, "incrementing", &id).await, [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_polled_from_where_the_jdbc_source_stopped_on_postgresql() {
    goes_on(|| async { Database::shared(PostgresVersion::V17).await.unwrap() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_polled_from_where_the_jdbc_source_stopped_on_mysql() {
    goes_on(|| async {
        Database::own(MySqlOptions::version(MySqlVersion::MySql97))
            .await
            .unwrap()
    })
    .await;
}

/// The drivers read a `TIMESTAMP` as the server writes it, in its own time zone: the rows below are moments two hours earlier, and the offset is
/// the same as elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_is_the_wall_clock_of_the_server() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        goes_on(|| async {
            let options = MySqlOptions::version(version).setting("default_time_zone=+02:00");
            Database::own(options).await.unwrap()
        })
        .await;
    }
}

/// An offset of before its table was named in full may be that of another.
#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_may_be_of_several_tables_is_refused() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    let orders = |schema: &str| format!("create table {schema}.orders (id int primary key, n int not null)");
    let statements = format!("create schema archive; {}; {}", orders("archive"), orders("public"));
    database.execute(&statements).await.unwrap();
    let wanted = Wanted {
        source: "query: { mode: incrementing, poll_interval_ms: 100, accept_gaps: true }",
        tables: "[archive.orders, public.orders]",
        ..Wanted::default()
    };
    let capture = Capture::prepare(database, &wanted);
    let refused = import(&capture, "orders", &json!({ "incrementing": 7 }), &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.stderr.contains("[offsets_ambiguous]"), "{}", refused.all());
    let named = import(&capture, "public.orders", &json!({ "incrementing": 7 }), &[]);
    assert_eq!(named.code, Some(2), "{}", named.all());
    assert!(named.stdout.contains("public.orders: behind id 7"), "{}", named.all());
}
