//! Pages of rows: many of one time, ids of other types, rows that are marked as deleted, queries, and tables that are altered.

use tailrace_tests::database::Database;
use tailrace_tests::servers::MySqlVersion;

use super::{Polled, count, numbers};

const VERSIONS: [MySqlVersion; 3] = MySqlVersion::ALL;

/// Without a delay, so that a test does not wait for it.
const BY_TIME: &str = "tables: [public.t]\nquery: { mode: timestamp_incrementing, timestamp_column: at, delay_ms: 0, poll_interval_ms: 20, batch_rows: 100 }";

async fn database_with(version: MySqlVersion, statements: &str) -> Database {
    let database = Database::shared(version).await.unwrap();
    database.execute(statements).await.unwrap();
    database
}

/// Rows 1 to `n`, by joining digits.
fn rows(n: u32) -> String {
    let digits = "(select 0 d union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 \
         union all select 6 union all select 7 union all select 8 union all select 9)";
    format!(
        "(select 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d as n from {digits} a, {digits} b, {digits} c, {digits} e) numbers where n <= {n}"
    )
}

/// FM-222: pages end within one time, in columns of every precision.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_of_one_time_come_once_each() {
    for (version, column) in [
        (MySqlVersion::MySql97, "timestamp(6)"),
        (MySqlVersion::MariaDb1011, "datetime"),
        (MySqlVersion::MySql56, "datetime(3)"),
    ] {
        let table = format!(
            "create table t (id int primary key, at {column} not null, key (at));
             insert into t select n, '2024-02-29 10:00:00.123456' from {};
             insert into t values (10001, '2024-02-29 10:00:01.123456')",
            rows(10_000)
        );
        let polled = Polled::start(database_with(version, &table).await, BY_TIME);
        let ids = numbers(&polled.wait_for_events("t", 10_001).await, "id");
        assert_eq!(ids, (1..=10_001).collect::<Vec<i64>>(), "{version}");
        polled
            .database
            .execute("update t set at = now() where id in (7, 3)")
            .await
            .unwrap();
        let events = polled.wait_for_events("t", 10_003).await;
        assert_eq!(numbers(&events[10_001..], "id"), [3, 7], "{version}");
    }
}

/// Without an id whole times are read, however many rows they have.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_an_id_are_read_by_whole_times() {
    for version in VERSIONS {
        let table = format!(
            "create table t (n int, at timestamp not null default '2024-01-01 00:00:00', key (at));
             insert into t (n, at) select n, from_unixtime(1700000000 + n div 250) from {}",
            rows(1_000)
        );
        let source = BY_TIME.replace("timestamp_incrementing", "timestamp");
        let polled = Polled::start(database_with(version, &table).await, &source);
        let mut read = numbers(&polled.wait_for_events("t", 1_000).await, "n");
        read.sort_unstable();
        assert_eq!(read, (1..=1_000).collect::<Vec<i64>>(), "{version}");
    }
}

/// Rows are followed by their column's own collation, and those that compare equal are the same row.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_any_type_are_followed_as_their_columns_sort() {
    for version in VERSIONS {
        for (column, ids) in [
            (
                "varchar(20) character set utf8mb4 collate utf8mb4_general_ci",
                "('b'), ('A'), ('ä1'), ('C'), ('z'), (''), ('it''s'), ('back\\\\slash'), ('日本'), ('aa ')",
            ),
            (
                "varchar(20) character set latin1 collate latin1_german2_ci",
                "('b'), ('ö'), ('ae1'), ('ß'), ('z'), ('O'), ('Z1'), ('1'), ('2'), ('3')",
            ),
            (
                "binary(3)",
                "(0x000000), (0xffffff), (0x61), (0x6162), (0x5c5c5c), (0x272727), (0x80), (0x7f), (0x01), (0x0101)",
            ),
            (
                "decimal(30,2)",
                "(1), (-1), (12345678901234567890123456.78), (12345678901234567890123456.79), (0), (0.1), (2), (3), (4), (5)",
            ),
            (
                "bigint unsigned",
                "(1), (2), (9223372036854775807), (4), (5), (6), (7), (8), (9), (10)",
            ),
        ] {
            let table = format!(
                "create table t (id {column} primary key, n int unique auto_increment, at datetime not null default '2024-01-01') engine = InnoDB;
                 insert into t (id) values {ids}"
            );
            let source = BY_TIME.replace("batch_rows: 100", "batch_rows: 2");
            let polled = Polled::start(database_with(version, &table).await, &source);
            let read = numbers(&polled.wait_for_events("t", 10).await, "n");
            let sorted = polled.database.query("select n from t order by id").await.unwrap();
            let sorted: Vec<i64> = sorted
                .into_iter()
                .flatten()
                .flatten()
                .map(|n| n.parse().unwrap())
                .collect();
            assert_eq!(read, sorted, "{version}, {column}");
        }
    }
}

/// What cannot say where a poll continues halts the connector, and names the row.
#[tokio::test(flavor = "multi_thread")]
async fn ids_beyond_63_bits_and_columns_that_are_no_time_are_refused() {
    let table = "create table t (id bigint unsigned primary key, at datetime not null default '2024-01-01', kind enum('a', 'b') unique);
        insert into t (id) values (1), (9223372036854775808)";
    let polled = Polled::prepare(database_with(MySqlVersion::MySql97, table).await, BY_TIME);
    polled.daemon.start().unwrap();
    polled.wait_for("halted:cursor_value");
    let status = polled.daemon.connector(polled.database.name()).unwrap();
    assert!(
        status["reason"].as_str().unwrap().contains("9223372036854775808"),
        "{status}"
    );
    for (wrong, code) in [
        (
            BY_TIME.replace("timestamp_column: at", "timestamp_column: id"),
            "halted:timestamp_column_type",
        ),
        (
            BY_TIME.replace("timestamp_column: at", "timestamp_column: at, id_column: kind"),
            "halted:id_column_type",
        ),
    ] {
        let table = "create table t (id bigint unsigned primary key, at datetime not null default '2024-01-01', kind enum('a', 'b') not null unique)";
        let polled = Polled::prepare(database_with(MySqlVersion::MySql97, table).await, &wrong);
        polled.daemon.start().unwrap();
        polled.wait_for(code);
    }
}

/// Dates that no calendar has are where the server sorts them, and do not hold up the others.
#[tokio::test(flavor = "multi_thread")]
async fn dates_that_no_calendar_has_do_not_hold_up_others() {
    for version in VERSIONS {
        let table = "set sql_mode = 'ALLOW_INVALID_DATES';
            create table t (id int primary key, at datetime not null);
            insert into t values (1, '2024-03-01'), (2, '2024-02-31'), (3, '0000-00-00'), (4, '2024-02-29 12:00:00'), (5, '2024-00-15')";
        let source = BY_TIME.replace("batch_rows: 100", "batch_rows: 1");
        let polled = Polled::start(database_with(version, table).await, &source);
        let events = polled.wait_for_events("t", 5).await;
        assert_eq!(numbers(&events, "id"), [3, 5, 4, 2, 1], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_marked_as_deleted_are_deleted() {
    for version in VERSIONS {
        let table = "create table t (id int primary key, note varchar(20), gone bool not null default false,
                at timestamp not null default current_timestamp on update current_timestamp);
            insert into t (id, note) values (1, 'stays'), (2, 'goes')";
        let source = BY_TIME.replace("delay_ms: 0", "delay_ms: 0, deleted: { column: gone, value: \"true\" }");
        let source = source.replace("\"true\"", "\"1\"");
        let polled = Polled::start(database_with(version, table).await, &source);
        polled.wait_for_events("t", 2).await;
        polled
            .database
            .execute("update t set gone = true, at = timestampadd(second, 2, at) where id = 2")
            .await
            .unwrap();
        // The delete and its tombstone.
        let events = polled.wait_for_events("t", 4).await;
        assert_eq!(
            (events[2].operation(), &events[2].before()["note"]),
            ("d", &"goes".into()),
            "{version}"
        );
        assert_eq!(events[3].value, None, "{version}");
        assert_eq!(events[3].key, events[2].key, "{version}");
    }
}

/// The public shape instead of the internal tables, from a query of the configuration and from a view.
#[tokio::test(flavor = "multi_thread")]
async fn queries_and_views_are_polled_like_tables() {
    for version in VERSIONS {
        let tables = "create table customers (id int primary key, name varchar(20) character set latin1);
            create table orders (id int primary key, customer int, total int, at timestamp(3) not null default '2024-01-01 00:00:00.125');
            create view cheap as select id, total from orders where total < 10;
            insert into customers values (1, 'Zoë'), (2, 'Bob');
            insert into orders (id, customer, total) values (10, 1, 5), (11, 2, 100), (12, null, 1)";
        let source = "tables: [public.cheap]
query:
  mode: bulk
  changes_only: true
  poll_interval_ms: 20
  overrides: { public.cheap: { id_column: id }, open_orders: { mode: timestamp_incrementing, timestamp_column: at, id_column: id } }
  delay_ms: 0
  queries:
    open_orders:
      sql: \"select o.id, c.name, o.total * 2 as twice, o.at from public.orders o left join public.customers c on c.id = o.customer\"
      key: [id]";
        let polled = Polled::start(database_with(version, tables).await, source);
        let topic = format!("{}.open_orders", polled.database.name());
        let events = polled.wait_for_topic(&topic, 3).await;
        let values: Vec<String> = events.iter().map(|event| event.after().to_string()).collect();
        let expected = r#"{"at":"2024-01-01T00:00:00.125Z","id":10,"name":"Zoë","twice":10}"#;
        assert_eq!(values[0], expected, "{version}");
        assert!(values[2].contains(r#""name":null"#), "{version}: {values:?}");
        assert_eq!(events[0].key_json()["id"], 10, "{version}");
        let cheap: Vec<String> = polled
            .wait_for_events("cheap", 2)
            .await
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(cheap.len(), 2, "{version}: {cheap:?}");
        polled
            .database
            .execute("update orders set total = 6, at = '2024-01-02' where id = 11")
            .await
            .unwrap();
        let events = polled.wait_for_topic(&topic, 4).await;
        assert_eq!(events[3].after()["id"], 11, "{version}");
        assert_eq!(
            polled.wait_for_events("cheap", 3).await[2].operation(),
            "c",
            "{version}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_the_server_does_not_accept_are_refused() {
    for (sql, word) in [
        ("select * from public.nothing", "nothing"),
        ("select id from t", "No database selected"),
        ("select 1 as a, 2 as a", "Duplicate"),
        ("selekt 1", "syntax"),
    ] {
        let database = Database::shared(MySqlVersion::MySql97).await.unwrap();
        let source = format!("query: {{ mode: bulk, queries: {{ q: {{ sql: \"{sql}\" }} }} }}");
        let polled = Polled::prepare(database, &source);
        polled.daemon.start().unwrap();
        polled.wait_for("halted:query_invalid");
        let status = polled.daemon.connector(polled.database.name()).unwrap();
        assert!(status["reason"].as_str().unwrap().contains(word), "{status}");
    }
}

/// Columns come and go between polls: each row is of the columns that the table has when it is read.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_altered_between_polls() {
    for version in VERSIONS {
        let table =
            "create table t (id int primary key, name varchar(20), at datetime(6) not null default '2024-01-01');
            insert into t (id, name) values (1, 'one')";
        let polled = Polled::start(database_with(version, table).await, BY_TIME);
        polled.wait_for_events("t", 1).await;
        let steps = [
            (
                "alter table t add column price int default 15",
                "insert into t (id, name) values (2, 'two')",
                r#""price":15"#,
            ),
            (
                "alter table t drop column name",
                "insert into t (id) values (3)",
                r#""id":3"#,
            ),
            (
                "alter table t modify price varchar(20)",
                "insert into t (id, price) values (4, 'x')",
                r#""price":"x""#,
            ),
            (
                "alter table t change price cost varchar(20)",
                "insert into t (id, cost) values (5, 'y')",
                r#""cost":"y""#,
            ),
            (
                "alter table t add column first_one int first",
                "insert into t (id, first_one) values (6, 7)",
                r#""first_one":7"#,
            ),
        ];
        for (number, (alter, insert, expected)) in steps.into_iter().enumerate() {
            polled.database.execute(alter).await.unwrap();
            polled.database.execute(insert).await.unwrap();
            let events = polled.wait_for_events("t", number + 2).await;
            let row = events[number + 1].after().to_string();
            assert!(row.contains(expected), "{version}, after {alter}: {row}");
            assert_eq!(row.contains("name"), number == 0, "{version}, after {alter}: {row}");
        }
        assert_eq!(count(&polled.database, "select count(*) from t").await, 6);
        // Dropped and made again, it goes on behind the cursor.
        let again = "drop table t; create table t (id int primary key, at datetime(6) not null default '2024-01-01'); insert into t (id) values (6), (7)";
        polled.database.execute(again).await.unwrap();
        let events = polled.wait_for_events("t", 7).await;
        assert_eq!(numbers(&events[6..], "id"), [7], "{version}");
    }
}
