//! Snapshots that are asked for while the log is carried: rows between its changes, never older than what was said before, over
//! crashes, pauses, and whatever becomes of the tables meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tailrace_core::task::spawn_named;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::events::Event;
use tailrace_tests::http::request;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::servers::{MySqlVersion, PostgresOptions, PostgresVersion, poll_until};
use tailrace_tests::workload::{History, Step, Workload};

use crate::capture::{Capture, Wanted, database_with};

/// A snapshot of a few thousand rows, on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

impl Capture {
    /// Sends a request about snapshots. The status and the body.
    fn snapshots(&self, method: &str, action: &str, body: &Value) -> (u16, Value) {
        let path = format!("/connectors/{}/snapshots{action}", self.database.name());
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, answer) = request(self.daemon.port(), method, &path, &body).unwrap();
        (status, serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
    }

    /// Asks for a snapshot, which must be accepted.
    pub(crate) fn ask(&self, body: &Value) -> String {
        let (status, answer) = self.snapshots("POST", "", body);
        assert_eq!(status, 202, "{answer}\n{}", self.daemon.log());
        answer["run"].as_str().unwrap().to_owned()
    }

    /// Asks for something that must be refused, and gives the code.
    fn is_refused(&self, body: &Value) -> String {
        let (status, answer) = self.snapshots("POST", "", body);
        assert!((400..500).contains(&status), "{status} {answer}");
        assert!(answer["message"].as_str().unwrap().len() > 30, "{answer}");
        answer["code"].as_str().unwrap().to_owned()
    }

    fn snapshot_state(&self) -> Value {
        self.snapshots("GET", "", &Value::Null).1
    }

    /// Waits until the snapshot is so.
    fn wait_for_snapshot(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let waited = poll_until(what, DEADLINE, || {
            let state = self.snapshot_state();
            Ok(is_so(&state).then_some(state))
        });
        assert!(
            waited.is_ok(),
            "{what}: {}\n{}",
            self.snapshot_state(),
            self.daemon.log()
        );
        waited.unwrap()
    }

    fn wait_for_end(&self) -> Value {
        self.wait_for_snapshot("finished", |state| state["state"] == "finished")
    }
}

/// Servers whose rows are read in different ways.
const SERVERS: [Version; 7] = [
    Version::Postgres(PostgresVersion::V13),
    Version::Postgres(PostgresVersion::V14),
    Version::Postgres(PostgresVersion::V15),
    Version::Postgres(PostgresVersion::V18),
    Version::MySql(MySqlVersion::MariaDb1011),
    Version::MySql(MySqlVersion::MySql97),
    Version::MySql(MySqlVersion::MySql56),
];

fn brief(events: &[Event]) -> Vec<String> {
    events.iter().map(Event::brief).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_again_as_they_came_first() {
    for version in SERVERS {
        let rows = "create table parts (shop varchar(20) not null, number int not null, note varchar(50), price decimal(10,2), primary key (shop, number));
            insert into parts values ('a', 1, 'it''s', 1.50), ('a', 2, null, null), ('B', 1, 'x', 99.99), ('ä', 7, '', -1)";
        let capture = Capture::start(database_with(version, rows).await, &Wanted::default());
        capture.settle().await;
        let first = capture.events("parts");
        assert_eq!(first.len(), 4, "{version}");
        capture.ask(&json!({}));
        let state = capture.wait_for_end();
        assert_eq!(state["tables"][0]["rows_done"], 4, "{version}: {state}");
        capture.settle().await;
        let again = capture.events("parts").split_off(4);
        let sorted = |events: &[Event]| {
            let mut lines = brief(events);
            lines.sort();
            lines
        };
        assert_eq!(sorted(&again), sorted(&first), "{version}");
        let snapshot = |event: &Event| event.value_json()["source"]["snapshot"].as_str().unwrap().to_owned();
        assert!(first.iter().all(|event| snapshot(event) == "true"), "{version}");
        assert!(again.iter().all(|event| snapshot(event) == "incremental"), "{version}");
        let ids: HashSet<&str> = again.iter().map(Event::event_id).collect();
        assert_eq!(ids.len(), 4, "{version}");
        // The log goes on behind it, and nothing of ours is in it.
        let last = capture
            .after("insert into parts values ('z', 1, 'after', 0)", "parts")
            .await;
        assert_eq!(last.len(), 9, "{version}");
        assert!(last[8].starts_with("c "), "{version}: {last:?}");
    }
}

/// No event says something older of a row than one before it did.
fn nothing_is_stale(table: &'static str, history: &History, events: &[Event]) -> usize {
    let mut seen = HashSet::new();
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    let mut reads = 0;
    for event in events {
        if !seen.insert(event.event_id().to_owned()) {
            continue;
        }
        let key = event.key_json().to_string();
        let steps = &history.steps[&(table, key.clone())];
        let known = newest.get(&key).copied();
        let after = event.after();
        let step = if after.is_null() {
            let from = known.map_or(0, |known| known + 1);
            (from..steps.len()).find(|step| steps[*step] == Step::Delete)
        } else {
            let version = after["version"].as_u64().unwrap();
            steps.iter().position(|step| *step == Step::Put(version))
        };
        assert!(step.is_some(), "{event} was never committed");
        let step = step.unwrap();
        if event.operation() == "r" {
            reads += 1;
            assert!(
                known.is_none_or(|known| known <= step),
                "{event} comes after {:?}",
                steps[known.unwrap()]
            );
        }
        newest.insert(key, known.map_or(step, |known| known.max(step)));
    }
    reads
}

async fn runs_under_load(version: Version, dies: bool) {
    let database = Database::shared(version).await.unwrap();
    let workload = Workload::start(&database, 7).await.unwrap();
    let wanted = Wanted {
        format: "envelope: entity",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    for round in 0..3 {
        capture.ask(&json!({}));
        if dies && round == 1 {
            workload.wait_for_commits(20).await.unwrap();
            capture.daemon.kill9().unwrap();
            capture.start_again();
        }
        let state = capture.wait_for_end();
        let tables = state["tables"].as_array().unwrap();
        assert_eq!(tables.len(), 4, "{version}: {state}");
        assert!(
            tables.iter().all(|table| table["finished"] == true),
            "{version}: {state}"
        );
        workload.wait_for_commits(20).await.unwrap();
    }
    let seed = workload.seed();
    let history = workload.stop().await.unwrap();
    capture.compare_with(seed, &history, Snapshot::Interrupted).await;
    let mut reads = 0;
    for table in ["accounts", "bulk", "order_lines", "ledger"] {
        reads += nothing_is_stale(table, &history, &capture.events(table));
    }
    assert!(reads > 100, "{version}: only {reads} rows were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_lost_or_stale_postgresql() {
    runs_under_load(PostgresVersion::V17.into(), false).await;
    runs_under_load(PostgresVersion::V14.into(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_lost_or_stale_mariadb() {
    runs_under_load(MySqlVersion::MariaDb1011.into(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_lost_or_stale_mysql() {
    runs_under_load(MySqlVersion::MySql97.into(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_lost_or_stale_old_mysql() {
    runs_under_load(MySqlVersion::MySql56.into(), true).await;
}

/// Rows of a table that take several windows.
const MANY: u64 = 60_000;

async fn capture_of_many(version: Version) -> Capture {
    let database = Database::shared(version).await.unwrap();
    database
        .execute("create table many (id int primary key, note varchar(50))")
        .await
        .unwrap();
    let numbers = database.numbers(1..MANY + 1);
    database
        .execute(&format!("insert into many select n, 'note' from ({numbers}) numbers"))
        .await
        .unwrap();
    let capture = Capture::start(database, &Wanted::default());
    capture.settle().await;
    capture
}

/// Starts again, such that each reading takes its time: on a fast machine a snapshot is over before anybody can hold it up.
fn start_slowly(capture: &Capture, more: &str) {
    capture.daemon.terminate().unwrap();
    capture
        .daemon
        .start_armed(&format!("incremental_rows=slow{more}"))
        .unwrap();
    capture.daemon.wait_for_answer().unwrap();
    capture.wait_for("streaming");
}

fn read_again(capture: &Capture) -> Vec<i64> {
    let events = capture.events("many");
    let reads = events.iter().skip(usize::try_from(MANY).unwrap());
    reads.map(|event| event.key_json()["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_reads_little_again() {
    for version in [
        Version::Postgres(PostgresVersion::V17),
        Version::MySql(MySqlVersion::MySql97),
    ] {
        let capture = capture_of_many(version).await;
        start_slowly(&capture, ",after_enqueue=kill@12");
        let run = capture.ask(&json!({ "tables": [capture.database.patterns("public.many").as_str()] }));
        poll_until("the death", DEADLINE, || capture.daemon.ended()).unwrap();
        capture.start_again();
        let state = capture.wait_for_end();
        assert_eq!(state["run"], run.as_str(), "{version}");
        capture.settle().await;
        let reads = read_again(&capture);
        let distinct: HashSet<i64> = reads.iter().copied().collect();
        assert_eq!(distinct.len() as u64, MANY, "{version}");
        assert!(
            (reads.len() as u64) < MANY + MANY / 2,
            "{version}: {} rows were read",
            reads.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_paused_resumed_over_a_restart_and_given_up() {
    let capture = capture_of_many(PostgresVersion::V17.into()).await;
    start_slowly(&capture, "");
    assert_eq!(capture.snapshots("PUT", "/pause", &Value::Null).0, 409);
    capture.ask(&json!({ "tables": ["public.*"] }));
    assert_eq!(
        capture.is_refused(&json!({ "tables": ["public.many"] })),
        "snapshot_running"
    );
    assert_eq!(capture.snapshots("PUT", "/pause", &Value::Null).0, 202);
    capture.settle().await;
    let done = capture.snapshot_state()["tables"][0]["rows_done"].as_u64().unwrap();
    assert!(done < MANY, "{done} rows were read before the pause");
    capture.daemon.kill9().unwrap();
    capture.start_again();
    let state = capture.snapshot_state();
    assert_eq!(state["state"], "paused", "{state}");
    // The log goes on.
    capture.after("insert into many values (0, 'meanwhile')", "many").await;
    assert_eq!(capture.snapshots("PUT", "/resume", &Value::Null).0, 202);
    let state = capture.wait_for_end();
    assert!(state["tables"][0]["rows_done"].as_u64().unwrap() >= MANY, "{state}");
    start_slowly(&capture, "");
    capture.ask(&json!({}));
    let (status, told) = capture.snapshots("DELETE", "", &Value::Null);
    assert_eq!(status, 409, "{told}");
    assert!(told["will_lose"][0].as_str().unwrap().contains("public.many"), "{told}");
    let confirm = format!("?confirm={}", told["confirm"].as_str().unwrap());
    assert_eq!(capture.snapshots("DELETE", &confirm, &Value::Null).0, 200);
    assert_eq!(capture.snapshot_state()["state"], "aborted");
    capture.settle().await;
    let before = capture.events("many").len();
    capture.daemon.terminate().unwrap();
    capture.start_again();
    capture.after("insert into many values (-1, 'after')", "many").await;
    assert_eq!(
        capture.events("many").len(),
        before + 1,
        "nothing goes on that was given up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_a_sentence() {
    for version in [
        Version::Postgres(PostgresVersion::V17),
        Version::MySql(MySqlVersion::MariaDb1011),
    ] {
        let tables = "create table t (id int primary key, note varchar(20)); insert into t values (1, 'old'), (2, 'new'), (3, 'new');
            create table keyless (id int)";
        let database = database_with(version, tables).await;
        let replica = matches!(version, Version::Postgres(_)).then_some("alter table keyless replica identity full");
        database.execute(replica.unwrap_or("do 0")).await.unwrap();
        let of_t = format!("{}.t", database.schema());
        let conditions = format!(
            "snapshot: {{ conditions: {{ newer: {{ table: \"{of_t}\", where: \"note = 'new' -- and no other\" }}, broken: {{ table: \"{of_t}\", where: \"no_such_column > 0\" }} }} }}"
        );
        let wanted = Wanted {
            source: &conditions,
            ..Wanted::default()
        };
        let capture = Capture::start(database, &wanted);
        capture.settle().await;
        let keyless = format!("{}.keyless", capture.database.schema());
        assert_eq!(
            capture.is_refused(&json!({ "tables": [keyless] })),
            "snapshot_key",
            "{version}"
        );
        assert_eq!(
            capture.is_refused(&json!({ "tables": ["*.nowhere"] })),
            "snapshot_table_unknown"
        );
        assert_eq!(
            capture.is_refused(&json!({ "conditions": ["1 = 1"] })),
            "snapshot_condition_unknown"
        );
        capture.ask(&json!({ "conditions": ["newer"] }));
        capture.wait_for_end();
        capture.settle().await;
        let events = brief(&capture.events("t"));
        assert_eq!(events.len(), 5, "{version}: {events:?}");
        assert!(
            events[3..].iter().all(|event| event.contains("new")),
            "{version}: {events:?}"
        );
        // A condition that cannot be evaluated ends its table, and nothing else.
        capture.ask(&json!({ "conditions": ["broken"] }));
        let state = capture.wait_for_end();
        assert_eq!(
            state["tables"][0]["error"]["code"], "source_query",
            "{version}: {state}"
        );
        // By a pattern, the table without a key is left out and said so.
        capture.ask(&json!({}));
        let state = capture.wait_for_end();
        let of = |name: &str| {
            let tables = state["tables"].as_array().unwrap();
            let table = tables
                .iter()
                .find(|table| table["table"].as_str().unwrap().ends_with(name));
            table.unwrap().clone()
        };
        assert_eq!(of(".keyless")["error"]["code"], "snapshot_key", "{version}: {state}");
        assert_eq!(of(".t")["finished"], true, "{version}: {state}");
        capture.after("insert into t values (4, 'last')", "t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_change_in_the_middle() {
    for version in [
        Version::Postgres(PostgresVersion::V17),
        Version::MySql(MySqlVersion::MySql97),
        Version::MySql(MySqlVersion::MariaDb1011),
    ] {
        let capture = capture_of_many(version).await;
        let (database, schema) = (&capture.database, capture.database.schema().to_owned());
        database
            .execute("create table gone (id int primary key); insert into gone values (1); create table other (id int primary key); insert into other values (1)")
            .await
            .unwrap();
        start_slowly(&capture, "");
        capture.settle().await;
        let named = |tables: &[&str]| {
            tables
                .iter()
                .map(|table| format!("{schema}.{table}"))
                .collect::<Vec<_>>()
        };
        capture.ask(&json!({ "tables": named(&["many", "gone", "other"]) }));
        assert_eq!(capture.snapshots("PUT", "/pause", &Value::Null).0, 202);
        database
            .execute("alter table many add column more int default 7; update many set note = 'changed' where id <= 500; drop table gone")
            .await
            .unwrap();
        assert_eq!(capture.snapshots("PUT", "/resume", &Value::Null).0, 202);
        let state = capture.wait_for_end();
        for table in state["tables"].as_array().unwrap() {
            let is_gone = table["table"].as_str().unwrap().ends_with(".gone");
            assert_eq!(table["finished"] == true, !is_gone, "{version}: {state}");
            if is_gone {
                assert_eq!(table["error"]["code"], "snapshot_table_gone", "{version}: {state}");
            }
        }
        capture.settle().await;
        let mut folded: BTreeMap<i64, Value> = BTreeMap::new();
        for event in capture.events("many") {
            folded.insert(event.key_json()["id"].as_i64().unwrap(), event.after());
        }
        assert_eq!(folded.len() as u64, MANY, "{version}");
        for (id, row) in folded {
            let note = if id <= 500 { "changed" } else { "note" };
            assert_eq!(row["note"], note, "{version}: {row}");
        }
    }
}

/// Tables are emptied, filled and altered by somebody else all the while.
async fn restless(database: Database, rounds: u32) {
    for round in 0..rounds {
        let numbers = database.numbers(1..300);
        let mut statements = vec![
            "truncate table busy".to_owned(),
            format!("insert into busy (id, round) select n, {round} from ({numbers}) numbers"),
            format!("update busy set round = round + 1000 where id < {}", round * 7),
            "delete from busy where id > 250".to_owned(),
        ];
        if round % 5 == 2 {
            statements.push(format!("alter table busy add column added{round} int"));
        }
        for statement in statements {
            // A lock that is waited for is tried again.
            while database.execute(&statement).await.is_err() {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_emptied_and_altered_meanwhile_come_right() {
    for version in [
        Version::Postgres(PostgresVersion::V17),
        Version::MySql(MySqlVersion::MariaDb1011),
        Version::MySql(MySqlVersion::MySql97),
    ] {
        let database = database_with(version, "create table busy (id int primary key, round int)").await;
        let capture = Capture::start(database, &Wanted::default());
        let writing = spawn_named("restless", restless(capture.database.clone(), 25));
        let mut runs = 0;
        while !writing.is_finished() {
            capture.ask(&json!({}));
            capture.wait_for_end();
            runs += 1;
        }
        writing.await.unwrap();
        capture.ask(&json!({}));
        capture.wait_for_end();
        capture.settle().await;
        let mut folded: BTreeMap<i64, i64> = BTreeMap::new();
        for event in capture.events("busy") {
            if event.operation() == "t" {
                folded.clear();
                continue;
            }
            let id = event.key_json()["id"].as_i64().unwrap();
            match event.after()["round"].as_i64() {
                Some(round) => folded.insert(id, round),
                None => folded.remove(&id),
            };
        }
        let rows = capture.database.query("select id, round from busy").await.unwrap();
        let number = |text: &Option<String>| text.as_ref().unwrap().parse::<i64>().unwrap();
        let expected: BTreeMap<i64, i64> = rows.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
        assert_eq!(folded, expected, "{version}, {runs} runs");
    }
}

/// FM-192: a commit that waits for a standby is in the log, and is carried, long before anybody sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_in_the_log_and_not_visible_is_waited_for() {
    let options = PostgresOptions {
        version: PostgresVersion::V17,
        ..PostgresOptions::default()
    };
    let database = Database::own(options).await.unwrap();
    database
        .execute("create table t (id int primary key, note text); insert into t values (1, 'old')")
        .await
        .unwrap();
    let capture = Capture::start(database, &Wanted::default());
    capture.settle().await;
    let setting = |to: &str| format!("alter system {to}; select pg_reload_conf()");
    let change = async |to: &str| {
        for statement in setting(to).split("; ") {
            capture.database.execute(statement).await.unwrap();
        }
    };
    change("set synchronous_standby_names = 'nosuch'").await;
    capture
        .database
        .wait_until("select current_setting('synchronous_standby_names') = 'nosuch'")
        .await
        .unwrap();
    let writer = capture.database.clone();
    let stalled = spawn_named("stalled", async move {
        writer.execute("update t set note = 'new' where id = 1").await
    });
    poll_until("the update", DEADLINE, || {
        Ok((capture.events("t").len() == 2).then_some(()))
    })
    .unwrap();
    assert_eq!(capture.database.query_value("select note from t").await.unwrap(), "old");
    capture.ask(&json!({ "tables": ["public.t"] }));
    let waits = |state: &Value| state["waiting"]["code"] == "snapshot_invisible";
    capture.wait_for_snapshot("waiting", waits);
    // Also where the daemon starts behind it, and cannot have seen its commit.
    capture.daemon.kill9().unwrap();
    capture.start_again();
    capture.wait_for_snapshot("waiting again", waits);
    assert!(
        !brief(&capture.events("t"))[2..]
            .iter()
            .any(|event| event.starts_with("r "))
    );
    change("reset synchronous_standby_names").await;
    stalled.await.unwrap().unwrap();
    capture.wait_for_end();
    capture.settle().await;
    let events = brief(&capture.events("t"));
    assert_eq!(
        events.last().unwrap(),
        r#"r {"id":1} null -> {"id":1,"note":"new"}"#,
        "{events:?}"
    );
    assert!(
        !events[1..]
            .iter()
            .any(|event| event.starts_with("r ") && event.contains("old")),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_log_is_told_what_to_do_instead() {
    let database = database_with(
        PostgresVersion::V17,
        "create table t (id int primary key); insert into t values (1)",
    )
    .await;
    let wanted = Wanted {
        tables: "[public.t]",
        source: "query: { mode: bulk }",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    assert_eq!(capture.is_refused(&json!({})), "snapshot_unsupported");
}
