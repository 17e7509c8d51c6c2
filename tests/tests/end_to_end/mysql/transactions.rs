//! Transactions and statements that are none of the usual ones: logged as statements, over tables that cannot be rolled back, DDL
//! between and around rows, values that change without rows.

use std::collections::BTreeMap;

use serde_json::Value;
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use super::options;
use crate::capture::{Capture, Wanted};

const ENTITY: Wanted<'static> = Wanted {
    tables: "[public.*]",
    format: "envelope: entity",
    source: "",
    connector: "",
    url: None,
    partitions: 1,
};

/// Rows of the table that is read while another one is altered.
const ARCHIVE_ROWS: u64 = 60_000;

async fn captured(version: MySqlVersion, tables: &str, statements: &str) -> Capture {
    let database = Database::shared(version).await.unwrap();
    captured_in(database, tables, statements).await
}

async fn captured_in(database: Database, tables: &str, statements: &str) -> Capture {
    database.execute(statements).await.unwrap();
    Capture::start(database, &Wanted { tables, ..ENTITY })
}

/// Where identifiers would forbid it, a server without them.
async fn lenient(version: MySqlVersion) -> Database {
    Database::own(MySqlOptions::version(version).without_gtids())
        .await
        .unwrap()
}

fn status(capture: &Capture) -> Value {
    capture.daemon.connector(capture.database.name()).unwrap()
}

fn briefs(capture: &Capture, table: &str) -> Vec<String> {
    capture.events(table).iter().map(Event::brief).collect()
}

// --- open when the snapshot begins

/// A transaction that is in the log and not yet seen, or the other way round, would be lost or come twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_the_snapshot_waits_for_transactions_that_are_open() {
    for version in [MySqlVersion::MySql56, MySqlVersion::MySql97] {
        let database = Database::shared(version).await.unwrap();
        let tables = "create table t (id int primary key); create table u (id int primary key)";
        database.execute(tables).await.unwrap();
        let mut open = database.session().await.unwrap();
        open.execute("begin; insert into t values (1)").await.unwrap();
        let capture = Capture::prepare(database, &ENTITY);
        capture.daemon.start().unwrap();
        // Nothing is executed any more in the transaction, and still it is waited for.
        let name = capture.database.name();
        let waits =
            format!("exists (select 1 from information_schema.processlist where info like 'LOCK TABLES%`{name}`%')");
        capture.database.wait_until(&waits).await.unwrap();
        assert_eq!(status(&capture)["state"], "starting", "{version}");
        open.execute("commit").await.unwrap();
        capture.wait_for("streaming");
        capture.settle().await;
        assert_eq!(briefs(&capture, "t"), [r#"r {"id":1} {"id":1}"#], "{version}");
    }
}

/// What a snapshot begins under, on every server: all but MySQL 5.6 keep a transaction out by the lock alone, and 5.6 with the engine's
/// locks taken too.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_lock_is_not_got_beside_a_transaction_that_wrote() {
    for version in MySqlVersion::ALL {
        let database = Database::shared(version).await.unwrap();
        database.execute("create table t (id int primary key)").await.unwrap();
        let mut writer = database.session().await.unwrap();
        writer.execute("begin; insert into t values (1)").await.unwrap();
        let mut locker = database.session().await.unwrap();
        if version == MySqlVersion::MySql56 {
            locker.execute("lock tables t read; unlock tables").await.unwrap();
            let engine = "set session autocommit = 0, innodb_table_locks = 1, innodb_lock_wait_timeout = 1";
            locker.execute(engine).await.unwrap();
        }
        locker.execute("set session lock_wait_timeout = 1").await.unwrap();
        let refusal = locker.execute("lock tables t read").await.unwrap_err().text;
        assert!(refusal.contains("Lock wait timeout exceeded"), "{version}: {refusal}");
        writer.execute("commit").await.unwrap();
        locker.execute("lock tables t read").await.unwrap();
    }
}

// --- statements as text

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_logged_as_a_statement_halt_and_the_remedy_is_one() {
    for version in MySqlVersion::ALL {
        let capture = captured(version, "[public.*]", "create table t (id int primary key, v int)").await;
        capture.database.execute("insert into t values (1, 1)").await.unwrap();
        capture.settle().await;
        let before = status(&capture)["position"].clone();
        let statements = "set session binlog_format = 'STATEMENT'; insert into t values (2, 2); update t set v = 3";
        capture.database.execute(statements).await.unwrap();
        capture.wait_for("halted:statement_dml_seen");
        let told = status(&capture);
        let reason = told["reason"].as_str().unwrap();
        let table = format!("{}.t", capture.database.name());
        for word in ["the INSERT at ", &table, "tailrace forget"] {
            assert!(reason.contains(word), "{version}: `{word}` is not in: {reason}");
        }
        // The text of a statement has values of rows.
        assert!(!reason.contains("(2, 2)"), "{version}: {reason}");
        assert_eq!(told["position"], before, "{version}");
        // It does not cure itself.
        capture.daemon.terminate().unwrap();
        capture.daemon.start().unwrap();
        capture.wait_for("halted:statement_dml_seen");
        capture.daemon.terminate().unwrap();
        let name = capture.database.name();
        let forgotten = capture.daemon.command("forget", &[name, "--yes"]).unwrap();
        assert_eq!(forgotten.code, Some(0), "{}", forgotten.all());
        capture.start_again();
        let events = capture.after("insert into t values (3, 3)", "t").await;
        let expected = [
            r#"c {"id":1} {"id":1,"v":1}"#,
            r#"r {"id":1} {"id":1,"v":3}"#,
            r#"r {"id":2} {"id":2,"v":3}"#,
            r#"c {"id":3} {"id":3,"v":3}"#,
        ];
        assert_eq!(events, expected, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_on_tables_that_are_not_captured_are_passed_over() {
    for version in MySqlVersion::ALL {
        let tables =
            "create table t (id int primary key); create table other (id int auto_increment primary key, at datetime)";
        let capture = captured(version, "[public.t]", tables).await;
        let statements = "set session binlog_format = 'STATEMENT';
            insert into other values (null, now()), (null, now()); begin; update other set id = id + 10; delete from other; commit;
            set session binlog_format = 'ROW'; insert into t values (1)";
        assert_eq!(
            capture.after(statements, "t").await,
            [r#"c {"id":1} {"id":1}"#],
            "{version}"
        );
    }
}

// --- what ends a transaction

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_that_cannot_be_rolled_back_survive_the_rollback() {
    for version in MySqlVersion::ALL {
        let tables = "create table safe (id int primary key) engine = InnoDB; create table unsafe (id int primary key) engine = MyISAM";
        let capture = captured_in(lenient(version).await, "[public.*]", tables).await;
        let statements = "begin; insert into safe values (1); insert into unsafe values (1); rollback;
            begin; insert into unsafe values (2); insert into safe values (2); rollback;
            begin; insert into safe values (3); insert into unsafe values (3); commit;
            insert into unsafe values (4); begin; rollback; insert into safe values (4)";
        let safe = capture.after(statements, "safe").await;
        assert_eq!(safe, [r#"c {"id":3} {"id":3}"#, r#"c {"id":4} {"id":4}"#], "{version}");
        let id = |id| format!(r#"c {{"id":{id}}} {{"id":{id}}}"#);
        assert_eq!(briefs(&capture, "unsafe"), [1, 2, 3, 4].map(id), "{version}");
        let left = capture
            .database
            .query("select id from unsafe order by id")
            .await
            .unwrap();
        assert_eq!(left.len(), 4, "{version}: as in the table");
    }
}

/// Xid, COMMIT, DDL that commits what is open, statements that commit by themselves, XA, and rollbacks that leave nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_transaction_is_one() {
    for version in MySqlVersion::ALL {
        let tables = "create table t (id int primary key); create table m (id int primary key) engine = MyISAM";
        let capture = captured_in(lenient(version).await, "[public.*]", tables).await;
        let statements = "insert into t values (1);
            begin; insert into t values (2); insert into t values (3); commit;
            begin; insert into t values (4); create table implicit (id int primary key);
            insert into m values (5);
            begin; insert into m values (6); commit;
            begin; insert into t values (7); savepoint s; insert into t values (8); rollback to s; insert into t values (9); commit;
            begin; insert into t values (10); rollback;
            set autocommit = 0; insert into t values (11); alter table implicit add v int; set autocommit = 1;
            create temporary table fleeting (id int); insert into fleeting values (1); insert into t select id + 11 from fleeting;
            drop temporary table fleeting;
            xa start 'x'; insert into t values (13); xa end 'x'; xa prepare 'x'; xa commit 'x';
            xa start 'y'; insert into t values (14); xa end 'y'; xa commit 'y' one phase;
            flush tables; analyze table t; insert into t values (15)";
        let expected = [1, 2, 3, 4, 7, 9, 11, 12, 13, 14, 15].map(|id| format!(r#"c {{"id":{id}}} {{"id":{id}}}"#));
        assert_eq!(capture.after(statements, "t").await, expected, "{version}");
        assert_eq!(briefs(&capture, "m").len(), 2, "{version}");
        let mut transactions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for event in capture.events("t") {
            let id = event.key_json()["id"].as_u64().unwrap();
            transactions
                .entry(event.header("position").to_owned())
                .or_default()
                .push(id);
        }
        let mut together: Vec<Vec<u64>> = transactions.into_values().filter(|ids| ids.len() > 1).collect();
        together.sort();
        assert_eq!(together, [vec![2, 3], vec![7, 9]], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_row_of_a_transaction() {
    for version in MySqlVersion::ALL {
        let database = Database::shared(version).await.unwrap();
        database
            .execute("create table five (id int primary key, v int)")
            .await
            .unwrap();
        let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
        scenario.commit(10).await.unwrap();
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        scenario.daemon.kill9().unwrap();
        // Two table maps of one table, one of another, events of one row and of two.
        let transaction = "begin; insert into five values (1, 0); insert into ledger values (90, 1, 1); insert into five values (2, 0), (3, 0);
            update five set v = 1 where id = 1; delete from five where id = 2; commit";
        scenario.database.execute(transaction).await.unwrap();
        for passage in 1..=6 {
            let failpoint = format!("in_transaction@{passage}");
            scenario.dies_at(&failpoint).await.unwrap();
        }
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        let mut seen: Vec<(String, String)> = Vec::new();
        for event in scenario.events("five").await.unwrap() {
            let seen_now = (event.event_id().to_owned(), event.brief());
            if !seen.contains(&seen_now) {
                seen.push(seen_now);
            }
        }
        let briefs: Vec<&str> = seen.iter().map(|(_, brief)| brief.as_str()).collect();
        let expected = [
            r#"c {"id":1} {"id":1,"v":0}"#,
            r#"c {"id":2} {"id":2,"v":0}"#,
            r#"c {"id":3} {"id":3,"v":0}"#,
            r#"u {"id":1} {"id":1,"v":1}"#,
            r#"- {"id":2}"#,
        ];
        assert_eq!(briefs, expected, "{version}");
        // The workload never wrote that row.
        scenario
            .database
            .execute("delete from ledger where writer = 90")
            .await
            .unwrap();
    }
}

// --- tables that come, go, and change

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_emptied_renamed_dropped_and_made_of_rows() {
    for version in MySqlVersion::ALL {
        let tables = "create table t (id int primary key, v int); insert into t values (1, 1), (2, 2)";
        let capture = captured_in(lenient(version).await, "[public.*]", tables).await;
        let statements = "create table copy (primary key (id)) as select * from t;
            rename table copy to moved; insert into moved values (3, 3);
            truncate table t; insert into t values (4, 4);
            drop table moved; create table moved (id int primary key, w int); insert into moved values (5, 6)";
        let events = capture.after(statements, "t").await;
        assert_eq!(
            events[..2],
            [r#"r {"id":1} {"id":1,"v":1}"#, r#"r {"id":2} {"id":2,"v":2}"#],
            "{version}"
        );
        assert!(events[2].starts_with("t "), "{version}: {events:?}");
        assert_eq!(events[3..], [r#"c {"id":4} {"id":4,"v":4}"#], "{version}");
        let copied = [r#"c {"id":1} {"id":1,"v":1}"#, r#"c {"id":2} {"id":2,"v":2}"#];
        assert_eq!(briefs(&capture, "copy"), copied, "{version}");
        let transactions: Vec<String> = capture
            .events("copy")
            .iter()
            .map(|event| event.header("position").to_owned())
            .collect();
        assert_eq!(transactions[0], transactions[1], "{version}: in one position");
        let moved = [r#"c {"id":3} {"id":3,"v":3}"#, r#"c {"id":5} {"id":5,"w":6}"#];
        assert_eq!(briefs(&capture, "moved"), moved, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_made_of_rows_is_carried_whole_over_deaths_within_it() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let database = Database::shared(version).await.unwrap();
        let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
        scenario.commit(20).await.unwrap();
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        scenario.daemon.kill9().unwrap();
        let numbers = scenario.database.numbers(1..101);
        let statements = format!("create table copy (primary key (n)) as select n, n as v from ({numbers}) numbers");
        scenario.database.execute(&statements).await.unwrap();
        for passage in [1, 2, 50, 100] {
            scenario.dies_at(&format!("in_transaction@{passage}")).await.unwrap();
        }
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        let events = scenario.events("copy").await.unwrap();
        let rows: BTreeMap<u64, String> = events
            .iter()
            .map(|event| (event.key_json()["n"].as_u64().unwrap(), event.event_id().to_owned()))
            .collect();
        assert_eq!(
            rows.keys().copied().collect::<Vec<_>>(),
            (1..=100).collect::<Vec<u64>>(),
            "{version}"
        );
        let ids: std::collections::BTreeSet<&str> = events.iter().map(Event::event_id).collect();
        assert_eq!(ids.len(), 100, "{version}: what came twice came under the same id");
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

/// The table is altered when the snapshot has its view and did not read it yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_altered_before_the_snapshot_reads_it() {
    for version in MySqlVersion::ALL {
        let database = Database::own(MySqlOptions::version(version)).await.unwrap();
        let numbers = database.numbers(1..ARCHIVE_ROWS + 1);
        let tables = format!(
            "create table a_archive (id int primary key, text text);
            insert into a_archive select n, repeat('tailrace', 20) from ({numbers}) numbers;
            create table z_late (id int primary key, v varchar(20)); insert into z_late values (1, 'one'), (2, 'two')"
        );
        database.execute(&tables).await.unwrap();
        let wanted = Wanted {
            source: "snapshot: { connections: 1 }",
            ..ENTITY
        };
        let capture = Capture::prepare(database, &wanted);
        capture.daemon.start_armed("snapshot_rows=slow").unwrap();
        capture.daemon.wait_for_answer().unwrap();
        let name = capture.database.name().to_owned();
        let archive = format!("{name}.a_archive");
        let reading = capture.daemon.wait_for(&name, "rows of the first table", |status| {
            status["tables"][&archive]["rows_done"].as_u64().unwrap_or_default() > 0
        });
        let reading = reading.unwrap();
        assert_eq!(reading["state"], "snapshotting", "{version}");
        assert_eq!(
            reading["tables"][&archive]["finished"], false,
            "{version}: altered too late"
        );
        let statements = "alter table z_late add column w int not null default 7, drop column v; update z_late set w = 8 where id = 2";
        capture.database.execute(statements).await.unwrap();
        capture.wait_for("streaming");
        let events = capture.after("insert into z_late values (3, 9)", "z_late").await;
        let mut last: BTreeMap<u64, Value> = BTreeMap::new();
        for event in capture.events("z_late") {
            last.insert(event.key_json()["id"].as_u64().unwrap(), event.after());
        }
        let rows: Vec<String> = last.values().map(Value::to_string).collect();
        let expected = [r#"{"id":1,"w":7}"#, r#"{"id":2,"w":8}"#, r#"{"id":3,"w":9}"#];
        assert_eq!(rows, expected, "{version}: {events:?}");
    }
}

// --- values that change without rows

/// What the notice says, once it says something.
fn notice(capture: &Capture) -> String {
    let name = capture.database.name();
    let noticed = capture.daemon.wait_for(name, "the notice", |status| {
        !status["notices"]["resync_needed"].is_null()
    });
    noticed.unwrap()["notices"]["resync_needed"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_a_statement_rewrites_are_told_until_the_table_is_read_anew() {
    for version in MySqlVersion::ALL {
        let tables = "create table t (id int primary key, v varchar(20)); insert into t values (1, '1'), (2, '2');
            create table other (id int primary key)";
        let database = Database::shared(version).await.unwrap();
        let capture = captured_in(database, "[public.*]", tables).await;
        capture
            .database
            .execute("insert into other values (1); alter table other add column harmless int")
            .await
            .unwrap();
        capture.settle().await;
        assert_eq!(status(&capture)["notices"], serde_json::json!({}), "{version}");
        capture.database.execute("alter table t modify v int").await.unwrap();
        let told = notice(&capture);
        let table = format!("{}.t", capture.database.name());
        assert!(
            told.contains(&table) && told.contains("column `v`"),
            "{version}: {told}"
        );
        assert!(!told.contains("other"), "{version}: {told}");
        // It outlives the process.
        capture.settle().await;
        capture.daemon.kill9().unwrap();
        capture.start_again();
        assert_eq!(notice(&capture), told, "{version}");
        // The remedy that is named.
        for tables in ["[public.other]", "[public.*]"] {
            capture.daemon.terminate().unwrap();
            let wanted = Wanted { tables, ..ENTITY };
            let sections = crate::capture::sections(&capture.database, &capture.kafka.bootstrap(), &wanted);
            capture.daemon.configure(&sections).unwrap();
            capture.start_again();
        }
        capture.settle().await;
        assert_eq!(status(&capture)["notices"], serde_json::json!({}), "{version}");
        let events = briefs(&capture, "t");
        let anew = [r#"r {"id":1} {"id":1,"v":1}"#, r#"r {"id":2} {"id":2,"v":2}"#];
        assert_eq!(events[events.len() - 2..], anew, "{version}: {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_rewriting_statement_is_told() {
    for version in MySqlVersion::ALL {
        let table =
            "create table t (id int primary key, a varchar(20) charset utf8mb4, b timestamp(6) null, c enum('x', 'y'))";
        let filled = match version {
            // No expression may be a default.
            MySqlVersion::MySql56 => "add column token datetime not null default current_timestamp",
            MySqlVersion::MySql97 | MySqlVersion::MariaDb1011 => {
                "add column token varchar(40) default (concat('t', id))"
            }
        };
        let clauses = [
            (filled, "token"),
            ("convert to character set latin1", ""),
            ("modify b timestamp(0) null", "b"),
            ("modify c enum('y', 'x')", "c"),
            ("modify a varchar(20) charset latin1", "a"),
        ];
        for (clause, column) in clauses {
            let capture = captured(version, "[public.*]", table).await;
            capture
                .database
                .execute(&format!("alter table t {clause}"))
                .await
                .unwrap();
            let told = notice(&capture);
            assert!(told.contains(column), "{version}, {clause}: {told}");
        }
    }
}
