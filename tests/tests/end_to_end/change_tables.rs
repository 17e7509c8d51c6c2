//! Change tables filled by triggers, on every database that has them: what they keep, what they cannot, and that table, change table
//! and triggers stay in step. What becomes of their rows as events is in the transcript `change_tables`; values of every type are in
//! `vectors`.

use serde_json::Value;
use tailrace_core::task::spawn_named;
use tailrace_tests::daemon::Printed;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::servers::{MySqlVersion, PostgresVersion};

use crate::capture::{Capture, Wanted, database_with};

const CHANGE_TABLE: &str = "tailrace_changes_orders";
const WANTED: Wanted<'static> = Wanted {
    tables: "[public.orders]",
    format: "envelope: debezium",
    source: "",
    connector: "change_table: {}",
    url: None,
    partitions: 1,
};

fn versions() -> [Version; 4] {
    [
        PostgresVersion::V13.into(),
        PostgresVersion::V18.into(),
        MySqlVersion::MySql97.into(),
        MySqlVersion::MariaDb1011.into(),
    ]
}

fn is_postgres(database: &Database) -> bool {
    database.postgres().is_ok()
}

/// A database with a table and nothing else; the configuration captures `orders` by triggers.
async fn prepared(version: Version, statements: &str) -> Capture {
    Capture::prepare(database_with(version, statements).await, &WANTED)
}

/// As [`prepared`], with change table and triggers.
async fn installed(version: Version, statements: &str) -> Capture {
    let capture = prepared(version, statements).await;
    let printed = triggers(&capture, "install", &["--apply"]);
    assert_eq!(printed.code, Some(0), "{}", printed.all());
    capture
}

fn triggers(capture: &Capture, action: &str, options: &[&str]) -> Printed {
    let arguments = [&[capture.database.name()], options].concat();
    capture
        .daemon
        .command(&format!("triggers {action}"), &arguments)
        .unwrap()
}

/// Operation and the values of a column before and after, of each change that was kept.
async fn kept(database: &Database, column: &str) -> Vec<String> {
    let query = format!("select op, old_{column}, new_{column} from {CHANGE_TABLE} order by sequence");
    let rows = database.query(&query).await.unwrap();
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    rows.iter()
        .map(|row| row.iter().map(shown).collect::<Vec<_>>().join(" "))
        .collect()
}

async fn forget(database: &Database) {
    database.execute(&format!("delete from {CHANGE_TABLE}")).await.unwrap();
}

/// Columns of a table as the database lists them.
async fn columns(database: &Database, table: &str) -> Vec<(String, String)> {
    let query = format!(
        "select column_name, data_type from information_schema.columns \
         where table_schema = '{}' and table_name = '{table}' order by ordinal_position",
        database.schema()
    );
    let rows = database.query(&query).await.unwrap();
    rows.into_iter()
        .map(|row| <[Option<String>; 2]>::try_from(row).unwrap())
        .map(|[name, kind]| (name.unwrap(), kind.unwrap()))
        .collect()
}

/// The event's contract, the captured table, its change table and its triggers say the same.
async fn in_step(capture: &Capture) {
    let printed = triggers(capture, "diff", &[]);
    assert_eq!(printed.code, Some(0), "{}", printed.all());
    let table = columns(&capture.database, "orders").await;
    let change_table = columns(&capture.database, CHANGE_TABLE).await;
    for (name, kind) in &table {
        for side in ["old", "new"] {
            let wanted = (format!("{side}_{name}"), kind.clone());
            assert!(change_table.contains(&wanted), "{wanted:?} is not in {change_table:?}");
        }
    }
    let described = capture.daemon.command("describe", &["--json"]).unwrap();
    assert_eq!(described.code, Some(0), "{}", described.all());
    let described: Value = serde_json::from_str(&described.stdout).unwrap();
    let contract = described[0]["table"]["columns"].as_array().unwrap();
    let contract: Vec<&str> = contract.iter().map(|column| column["name"].as_str().unwrap()).collect();
    let names: Vec<&str> = table.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(contract, names);
    // The triggers work: a write of every column is kept.
    forget(&capture.database).await;
    capture
        .database
        .execute("insert into orders (id) values (100)")
        .await
        .unwrap();
    capture
        .database
        .execute("delete from orders where id = 100")
        .await
        .unwrap();
    assert_eq!(kept(&capture.database, "id").await, ["c - 100", "d 100 -"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_table_and_trigger_stay_in_step_through_ddl() {
    for version in versions() {
        let capture = prepared(version, "create table orders (id int primary key, note varchar(20))").await;
        let printed = triggers(&capture, "diff", &[]);
        assert_eq!(printed.code, Some(1), "{}", printed.all());
        assert!(
            printed.stdout.contains("is missing") || printed.stdout.contains("are missing"),
            "{}",
            printed.stdout
        );
        let blocked = capture.daemon.command("check", &[]).unwrap();
        assert!(
            blocked.code == Some(3) && blocked.stdout.contains("triggers install"),
            "{}",
            blocked.all()
        );
        assert_eq!(triggers(&capture, "install", &["--apply"]).code, Some(0));
        in_step(&capture).await;
        let modify = if is_postgres(&capture.database) {
            "alter table orders alter column note type varchar(40)"
        } else {
            "alter table orders modify column note varchar(40)"
        };
        for (statement, word) in [
            ("alter table orders add total decimal(10,2)", "has no column old_total"),
            (modify, "is of type"),
        ] {
            capture.database.execute(statement).await.unwrap();
            let printed = triggers(&capture, "diff", &[]);
            assert_eq!(printed.code, Some(1), "{version} {statement}\n{}", printed.all());
            assert!(
                printed.stdout.contains(word),
                "{version} {statement}\n{}",
                printed.stdout
            );
            let applied = triggers(&capture, "diff", &["--apply"]);
            assert_eq!(applied.code, Some(0), "{version} {statement}\n{}", applied.all());
            in_step(&capture).await;
        }
        // A column goes in two steps: the triggers let go of it, then the table does.
        let column = format!("{}.orders.total", capture.database.schema());
        let printed = triggers(&capture, "diff", &["--without", &column, "--apply"]);
        assert_eq!(printed.code, Some(0), "{}", printed.all());
        capture
            .database
            .execute("alter table orders drop column total")
            .await
            .unwrap();
        in_step(&capture).await;
        let kept = columns(&capture.database, CHANGE_TABLE).await;
        assert!(kept.iter().any(|(name, _)| name == "old_total"), "{kept:?}");
        let wrong = triggers(&capture, "diff", &["--without", "orders.nothing"]);
        assert!(
            wrong.code == Some(1) && wrong.stderr.contains("orders.nothing"),
            "{}",
            wrong.all()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_value_is_kept_and_nothing_else() {
    for version in versions() {
        let capture = installed(
            version,
            "create table orders (id int primary key, note varchar(20), total decimal(10,2))",
        )
        .await;
        let database = &capture.database;
        database
            .execute("insert into orders values (1, 'a', null)")
            .await
            .unwrap();
        for update in [
            "update orders set note = 'a'",
            "update orders set note = 'A'",
            "update orders set note = 'A '",
            "update orders set note = null",
            "update orders set note = null, total = null",
            "update orders set note = ''",
            "update orders set id = id",
        ] {
            database.execute(update).await.unwrap();
        }
        assert_eq!(
            kept(database, "note").await,
            ["c - a", "u a A", "u A A ", "u A  -", "u - "],
            "{version}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_equality_or_too_much_of_it_is_compared_by_its_bytes() {
    let table = "create table orders (id int primary key, n numeric, j json, b jsonb, p point, i interval, f float8)";
    for version in [PostgresVersion::V13, PostgresVersion::V18] {
        let capture = installed(version.into(), table).await;
        let database = &capture.database;
        database
            .execute("insert into orders values (1, 1.0, '{\"a\": 1}', '1.0', '(1,2)', '1 day', 0)")
            .await
            .unwrap();
        for update in [
            "n = 1.00",
            "j = '{\"a\":1}'",
            "b = '1.00'",
            "p = '(1,3)'",
            "i = '24 hours'",
            "f = '-0'",
        ] {
            forget(database).await;
            database.execute(&format!("update orders set {update}")).await.unwrap();
            assert_eq!(kept(database, "id").await, ["u 1 1"], "{version:?} {update}");
            database.execute(&format!("update orders set {update}")).await.unwrap();
            assert_eq!(kept(database, "id").await, ["u 1 1"], "{version:?} {update} again");
        }
    }
    let table = "create table orders (id int primary key, j json, v varchar(9) collate utf8mb4_general_ci, f double, s set('a','b'), y blob)";
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let capture = installed(version.into(), table).await;
        let database = &capture.database;
        database
            .execute("insert into orders values (1, '{\"a\": 1}', 'ss', 0.1, 'a', x'00')")
            .await
            .unwrap();
        for update in [
            "j = '{\"a\": 2}'",
            "v = 'SS'",
            "f = 0.1000000000000001",
            "s = 'a,b'",
            "y = x'0000'",
        ] {
            forget(database).await;
            database.execute(&format!("update orders set {update}")).await.unwrap();
            assert_eq!(kept(database, "id").await, ["u 1 1"], "{version:?} {update}");
            database.execute(&format!("update orders set {update}")).await.unwrap();
            assert_eq!(kept(database, "id").await, ["u 1 1"], "{version:?} {update} again");
        }
    }
}

/// FM-227.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_does_not_run_is_said_and_a_replica_role_is_no_way_around() {
    for version in [PostgresVersion::V13, PostgresVersion::V18] {
        let capture = installed(version.into(), "create table orders (id int primary key)").await;
        let database = &capture.database;
        database
            .execute("set session_replication_role = replica; insert into orders values (1); truncate orders")
            .await
            .unwrap();
        assert_eq!(kept(database, "id").await, ["c - 1", "t - -"]);
        for (statement, words) in [
            ("alter table orders disable trigger all", "is disabled"),
            ("alter table orders enable trigger user", "session_replication_role"),
            ("drop trigger tailrace_changes on orders", "tailrace_changes is missing"),
            (
                "create or replace function tailrace_changes_orders() returns trigger language plpgsql as 'begin return null; end'",
                "the function tailrace_changes_orders is not as Tailrace made it",
            ),
        ] {
            database.execute(statement).await.unwrap();
            let printed = capture.daemon.command("check", &[]).unwrap();
            assert!(
                printed.code == Some(3) && printed.stdout.contains(words),
                "{statement}\n{}",
                printed.all()
            );
            let applied = triggers(&capture, "diff", &["--apply"]);
            assert_eq!(applied.code, Some(0), "{statement}\n{}", applied.all());
            let printed = triggers(&capture, "diff", &[]);
            assert_eq!(printed.code, Some(0), "{statement}\n{}", printed.all());
        }
        // A connector does not start while changes would go unseen.
        database
            .execute("alter table orders disable trigger tailrace_changes")
            .await
            .unwrap();
        capture.daemon.start().unwrap();
        capture.wait_for("halted:triggers_differ");
    }
}

/// FM-228.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_kept_is_a_write_that_fails() {
    for version in versions() {
        let capture = installed(version, "create table orders (id int primary key)").await;
        let database = &capture.database;
        database.execute(&format!("drop table {CHANGE_TABLE}")).await.unwrap();
        let refused = database.execute("insert into orders values (1)").await;
        assert!(refused.unwrap_err().to_string().contains(CHANGE_TABLE), "{version}");
        assert_eq!(database.query_value("select count(*) from orders").await.unwrap(), "0");
        assert_eq!(triggers(&capture, "diff", &["--apply"]).code, Some(0));
        database.execute("insert into orders values (1)").await.unwrap();
        assert_eq!(kept(database, "id").await, ["c - 1"]);
    }
}

/// FM-229.
#[tokio::test(flavor = "multi_thread")]
async fn what_mysql_tells_its_triggers_of() {
    let tables = "create table customers (id int primary key);
        create table orders (id int primary key, customer int, note varchar(9),
            constraint of_customer foreign key (customer) references customers (id) on delete cascade);
        insert into customers values (1)";
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let capture = installed(version.into(), tables).await;
        let database = &capture.database;
        for (statement, expected) in [
            (
                "insert into orders values (1, 1, 'a'), (2, 1, 'b')",
                &["c - a", "c - b"][..],
            ),
            ("replace into orders values (1, 1, 'c')", &["d a -", "c - c"]),
            ("insert ignore into orders values (1, 1, 'd'), (3, 1, 'e')", &["c - e"]),
            (
                "insert into orders values (3, 1, 'f') on duplicate key update note = 'g'",
                &["u e g"],
            ),
            ("delete from orders where id = 3", &["d g -"]),
            ("delete from customers", &[]),
            ("insert into orders values (4, null, 'h')", &["c - h"]),
            ("truncate orders", &[]),
        ] {
            forget(database).await;
            database.execute(statement).await.unwrap();
            assert_eq!(kept(database, "note").await, expected, "{version:?} {statement}");
        }
        let printed = capture.daemon.command("check", &[]).unwrap();
        for word in [
            "of_customer",
            "ON DELETE CASCADE",
            "TRUNCATE TABLE fires no trigger",
            "REPLACE",
        ] {
            assert!(printed.stdout.contains(word), "{word} is not in {}", printed.stdout);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_written_while_it_is_installed_are_told_of_once() {
    for version in versions() {
        let capture = prepared(version, "create table orders (id int primary key, note varchar(20))").await;
        let database = &capture.database;
        let values: Vec<String> = (0..2000).map(|id| format!("({id}, 'before')")).collect();
        database
            .execute(&format!("insert into orders values {}", values.join(", ")))
            .await
            .unwrap();
        let writer = {
            let database = database.clone();
            spawn_named("writer", async move {
                for id in 2000..2300 {
                    database
                        .execute(&format!("insert into orders values ({id}, 'meanwhile')"))
                        .await
                        .unwrap();
                }
            })
        };
        database
            .wait_until("(select count(*) from orders) > 2020")
            .await
            .unwrap();
        let printed = tokio::task::block_in_place(|| triggers(&capture, "install", &["--backfill", "--apply"]));
        assert_eq!(printed.code, Some(0), "{version}\n{}", printed.all());
        writer.await.unwrap();
        let told = format!("select count(*) from {CHANGE_TABLE} where op in ('r', 'c')");
        let distinct = format!("select count(distinct new_id) from {CHANGE_TABLE}");
        assert_eq!(database.query_value(&told).await.unwrap(), "2300", "{version}");
        assert_eq!(database.query_value(&distinct).await.unwrap(), "2300", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_ours_is_removed() {
    for version in versions() {
        let capture = installed(version, "create table orders (id int primary key)").await;
        let database = &capture.database;
        // As like ours as can be: `_` is a wildcard of LIKE.
        database
            .execute("create table tailraceXchangesXorders (id int)")
            .await
            .unwrap();
        let printed = triggers(&capture, "remove", &[]);
        assert!(
            printed.stdout.contains("DROP TABLE") && printed.code == Some(0),
            "{}",
            printed.all()
        );
        let printed = triggers(&capture, "remove", &["--apply"]);
        assert_eq!(printed.code, Some(0), "{}", printed.all());
        database.execute("insert into orders values (1)").await.unwrap();
        let left = format!(
            "select count(*) from information_schema.tables where table_schema = '{}' and lower(table_name) = 'tailracexchangesxorders'",
            database.schema()
        );
        assert_eq!(database.query_value(&left).await.unwrap(), "1");
        // A table of somebody else in the way is left, and stands in the way.
        database
            .execute(&format!("create table {CHANGE_TABLE} (id int)"))
            .await
            .unwrap();
        let printed = triggers(&capture, "install", &["--apply"]);
        assert!(
            printed.code == Some(1) && printed.stdout.contains("somebody else made it"),
            "{}",
            printed.all()
        );
        let printed = triggers(&capture, "remove", &["--apply"]);
        assert!(printed.stdout.contains("does not carry"), "{}", printed.all());
        assert!(database.execute(&format!("select * from {CHANGE_TABLE}")).await.is_ok());
    }
}

/// Without the log: what the triggers kept is polled, and taken out when it is durable.
#[tokio::test(flavor = "multi_thread")]
async fn change_tables_that_are_polled_as_queues() {
    for version in versions() {
        let database = database_with(version, "create table orders (id int primary key, note varchar(20))").await;
        database.execute("insert into orders values (1, 'a')").await.unwrap();
        let wanted = Wanted {
            source: "query: { mode: queue, poll_interval_ms: 20 }",
            ..WANTED
        };
        let capture = Capture::prepare(database, &wanted);
        let database = &capture.database;
        let printed = triggers(&capture, "install", &["--backfill", "--apply"]);
        assert_eq!(printed.code, Some(0), "{version}\n{}", printed.all());
        database.execute("insert into orders values (2, 'b')").await.unwrap();
        let checked = capture.daemon.command("check", &[]).unwrap();
        assert_eq!(checked.code, Some(0), "{version}\n{}", checked.all());
        capture.start_again();
        for statement in [
            "update orders set note = 'c' where id = 1",
            "delete from orders where id = 2",
            "insert into orders values (3, null)",
        ] {
            database.execute(statement).await.unwrap();
        }
        database
            .wait_until(&format!("(select count(*) from {CHANGE_TABLE}) = 0"))
            .await
            .unwrap();
        let events = capture.events("orders");
        let told: Vec<String> = events
            .iter()
            .filter(|event| event.value.is_some())
            .map(|event| {
                let value = event.value_json();
                let note = |side: &str| value[side]["note"].as_str().unwrap_or("-").to_owned();
                format!("{} {} {}", value["op"].as_str().unwrap(), note("before"), note("after"))
            })
            .collect();
        assert_eq!(told, ["r - a", "c - b", "u a c", "d b -", "c - -"], "{version}");
        let transactions = events.iter().filter(|event| event.value.is_some()).map(|event| {
            let value = event.value_json();
            value["source"]["txId"].clone()
        });
        if is_postgres(database) {
            assert!(transactions.into_iter().all(|number| number.is_number()), "{version}");
        }
    }
}
