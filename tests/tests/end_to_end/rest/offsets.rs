//! How far sources are, and moving them: only where their log can give what comes next, and only in two steps.

use serde_json::{Value, json};
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, PostgresVersion, eventually};

use super::{DEADLINE, ROWS, Shop, refusal, versions};

impl Shop {
    /// The connector's position.
    fn position(&self) -> String {
        let offsets = self.get(&self.at("/offsets"));
        let only = &offsets["offsets"][0];
        assert_eq!(only["partition"], json!({ "connector": self.name() }), "{offsets}");
        only["offset"]["position"].as_str().unwrap().to_owned()
    }

    /// Adds a row, and waits for the position in the log behind it.
    async fn after_rows(&self, row: &str) -> String {
        let before = self.position();
        self.execute(&format!("insert into t values {row}")).await;
        self.settle().await;
        let moved = eventually("a checkpoint of the log", DEADLINE, || async {
            let now = self.position();
            Ok((now != before && !now.starts_with("snapshot")).then_some(now))
        });
        moved.await.unwrap()
    }

    /// A body that moves it.
    fn to(&self, position: &str) -> Value {
        json!({ "offsets": [{ "partition": { "connector": self.name() }, "offset": { "position": position } }] })
    }

    /// The sentence with which a move is refused.
    fn refuses(&self, position: &str) -> String {
        let answer = self.must(400, "PATCH", &self.at("/offsets"), &self.to(position));
        refusal(&answer).1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_stopped_is_moved() {
    for version in versions() {
        let shop = Shop::new(version, ROWS).await;
        shop.create();
        shop.settle().await;
        let position = shop.position();
        for verb in ["resume", "pause"] {
            shop.must(202, "PUT", &shop.at(&format!("/{verb}")), &Value::Null);
            for (method, body) in [("PATCH", shop.to(&position)), ("DELETE", Value::Null)] {
                let (code, message) = refusal(&shop.must(400, method, &shop.at("/offsets"), &body));
                assert_eq!(code, "connector_not_stopped");
                assert!(message.contains("must be in the STOPPED state"), "{message}");
            }
        }
        shop.stop();
        let now = shop.position();
        // Where it is already, nothing is lost, and nothing is to be confirmed.
        shop.must(200, "PATCH", &shop.at("/offsets"), &shop.to(&now));
        for body in [
            json!({ "offsets": [] }),
            json!({}),
            json!([]),
            json!({ "offsets": [{ "partition": {}, "offset": {} }] }),
            json!({ "offsets": [{ "partition": { "connector": "other" }, "offset": { "position": now } }] }),
            json!({ "offsets": [{ "partition": { "kafka_topic": "t", "kafka_partition": 0 }, "offset": { "kafka_offset": 1 } }] }),
        ] {
            shop.must(400, "PATCH", &shop.at("/offsets"), &body);
        }
        shop.must(404, "PATCH", "/connectors/nosuch/offsets", &shop.to(&now));
        assert_eq!(shop.position(), now);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_asked_whether_it_can_go_on_from_there() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    let early = shop.after_rows("(10, 'x')").await;
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    // The slot has been told of the end by then, and gives nothing that is before it.
    let behind = format!(
        "(select confirmed_flush_lsn > '{early}'::pg_lsn from pg_replication_slots where slot_name = '{}')",
        shop.database.slot()
    );
    shop.database.wait_until(&behind).await.unwrap();
    shop.stop();
    let before = shop.position();
    for (position, part) in [
        ("0/1", "slot"),
        (&*early, "slot"),
        ("FFFFFF/0", "beyond the end"),
        ("nonsense", "no position"),
        ("0/16B3748; drop table t", "no position"),
        ("", "no position"),
    ] {
        let sentence = shop.refuses(position);
        assert!(sentence.contains(part), "{position}: {sentence}");
    }
    assert_eq!(shop.position(), before);

    shop.execute("insert into t values (5, 'e')").await;
    let end = shop.database.query_value("select pg_current_wal_lsn()").await.unwrap();
    let (said, _) = shop.confirmed("PATCH", &shop.at("/offsets"), &shop.to(&end));
    assert!(
        said.contains(&end) && said.contains(&before) && said.contains("skipped"),
        "{said}"
    );
    // What was answered is written down, whatever happens next.
    shop.daemon.kill9().unwrap();
    shop.daemon.start().unwrap();
    assert_eq!(shop.position(), end);
    let is_it = |entry: &(String, String, String)| entry.1 == "offsets" && entry.2.contains(&end);
    assert!(shop.journal().iter().any(is_it), "{:?}", shop.journal());
    shop.execute("insert into t values (6, 'f')").await;
    shop.resume();
    shop.wait_for("streaming");
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 10, 4, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_goes_back_as_far_as_its_log_does() {
    let options = MySqlOptions::version(MySqlVersion::MySql97);
    let database = Database::own(options).await.unwrap();
    database.execute(ROWS).await.unwrap();
    let daemon = tailrace_tests::daemon::Daemon::new("").unwrap();
    let shop = Shop { database, daemon };
    shop.configure("");
    shop.daemon.start().unwrap();
    shop.create();
    let early = shop.after_rows("(10, 'x')").await;
    shop.after_rows("(4, 'd')").await;
    shop.stop();
    let late = shop.position();
    let (said, _) = shop.confirmed("PATCH", &shop.at("/offsets"), &shop.to(&early));
    assert!(said.contains(&early) && said.contains("sent again"), "{said}");
    shop.resume();
    shop.wait_for("streaming");
    shop.execute("insert into t values (5, 'e')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 10, 4, 4, 5]);
    shop.stop();

    // Beyond the end: another number of transactions than the server has, and a file that is not there yet.
    let (place, set) = late.split_once(";mysql_gtids=").unwrap_or((&late, ""));
    let uuid = set.split(':').next().unwrap();
    let beyond = format!("{place};mysql_gtids={uuid}:1-999999");
    let no_file = late.replacen(late.split(':').next().unwrap(), "binlog.999999", 1);
    for position in [&*beyond, "nonsense", &no_file] {
        let sentence = shop.refuses(position);
        assert!(!sentence.is_empty(), "{position}");
    }
    // The log that has what comes next is purged.
    shop.execute("flush binary logs").await;
    let files = shop.database.mysql().unwrap().log_files().await.unwrap();
    let purge = format!("purge binary logs to '{}'", files.last().unwrap());
    shop.execute(&purge).await;
    let sentence = shop.refuses(&early);
    assert!(sentence.contains("has deleted log"), "{sentence}");
    shop.resume();
    shop.wait_for("streaming");
    shop.execute("insert into t values (6, 'f')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 10, 4, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_is_beginning_anew() {
    for (version, method) in versions()
        .into_iter()
        .flat_map(|version| [(version, "DELETE"), (version, "PATCH")])
    {
        let shop = Shop::new(version, ROWS).await;
        shop.create();
        shop.settle().await;
        shop.stop();
        // An offset that is not there is null.
        let body = match method {
            "PATCH" => json!({ "offsets": [{ "partition": { "connector": shop.name() } }] }),
            _ => Value::Null,
        };
        let (said, done) = shop.confirmed(method, &shop.at("/offsets"), &body);
        assert!(said.contains("every row is published again"), "{said}");
        assert!(done.body.contains("successfully"), "{}", done.body);
        assert_eq!(shop.get(&shop.at("/offsets")), json!({ "offsets": [] }));
        shop.wait_for_entry("anonymous", "offsets", "forgotten");
        if shop.database.postgres().is_ok() {
            // A slot that the state does not know of may hold what somebody else has not read.
            assert!(said.contains("slot"), "{said}");
            let slot = shop.database.slot();
            shop.execute(&format!("select pg_drop_replication_slot('{slot}')"))
                .await;
        }
        shop.resume();
        shop.wait_for("streaming");
        shop.settle().await;
        assert_eq!(shop.ids("t").await, [1, 2, 3, 1, 2, 3], "{version:?}");
    }
}

/// A table whose rows take a while to read.
const MANY: &str = "create table many (id int primary key, note text);
    insert into many select n, repeat('x', 1000) from generate_series(1, 60000) n";

/// A shop whose daemon is slow at a transition.
async fn slow_shop(statements: &str, transition: &str) -> Shop {
    let shop = Shop::prepare(PostgresVersion::V17, statements, |_| {}).await;
    shop.daemon.start_armed(&format!("{transition}=slow")).unwrap();
    shop.daemon.wait_for_answer().unwrap();
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_first_snapshot_has_not_read_is_named_before_it_is_given_up() {
    let few = "create table few (id int primary key); insert into few values (1)";
    let shop = slow_shop(&format!("{few}; {MANY}"), "snapshot_rows").await;
    let body = json!({ "name": shop.name(), "config": shop.flat() });
    shop.must(201, "POST", "/connectors", &body);
    let began = eventually("a table that is read", DEADLINE, || async {
        let offsets = shop.get(&shop.at("/offsets"));
        let read = &offsets["offsets"][0]["offset"]["snapshot_tables_read"];
        Ok((*read == json!(["public.few"])).then_some(()))
    });
    began.await.unwrap();
    shop.stop();
    let shown = shop.get(&shop.at("/offsets"));
    assert_eq!(
        shown["offsets"][0]["offset"]["snapshot_tables_read"],
        json!(["public.few"]),
        "{shown}"
    );
    // What was shown is taken back, and changes nothing.
    shop.must(200, "PATCH", &shop.at("/offsets"), &shown);
    assert_eq!(shop.get(&shop.at("/offsets")), shown);
    let (said, _) = shop.confirmed("PATCH", &shop.at("/offsets"), &shop.to(&shop.position()));
    assert!(said.contains("public.many") && !said.contains("public.few"), "{said}");
    // The rows are given up: it is not within the snapshot any more.
    shop.must(400, "PATCH", &shop.at("/offsets"), &shown);
    shop.resume();
    shop.wait_for("streaming");
    shop.execute("insert into many values (0, 'x')").await;
    shop.settle().await;
    let ids = shop.ids("many").await;
    assert!(ids.len() < 60_000, "{} events", ids.len());
    assert_eq!(ids.last(), Some(&0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_asked_for_is_named_before_it_is_given_up() {
    let shop = slow_shop(MANY, "incremental_rows").await;
    shop.create();
    shop.settle().await;
    let snapshots = shop.at("/snapshots");
    for method in ["PATCH", "DELETE"] {
        shop.must(202, "POST", &snapshots, &json!({}));
        shop.must(202, "PUT", &format!("{snapshots}/pause"), &Value::Null);
        shop.stop();
        let shown = shop.get(&shop.at("/offsets"));
        let position = shown["offsets"][0]["offset"]["position"].as_str().unwrap();
        assert!(!position.contains('{'), "keys of rows are not for people: {shown}");
        shop.must(200, "PATCH", &shop.at("/offsets"), &shown);
        assert_eq!(shop.get(&snapshots)["state"], "paused");
        shop.execute("update many set note = 'y' where id = 1").await;
        let end = shop.database.query_value("select pg_current_wal_lsn()").await.unwrap();
        let body = match method {
            "PATCH" => shop.to(&end),
            _ => Value::Null,
        };
        let (said, _) = shop.confirmed(method, &shop.at("/offsets"), &body);
        assert!(said.contains("the rest of table public.many"), "{said}");
        assert_eq!(shop.get(&snapshots)["state"], "none");
        if method == "PATCH" {
            shop.resume();
            shop.wait_for("streaming");
            assert_eq!(shop.get(&snapshots)["state"], "none");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_and_for_the_same_request() {
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |_| {}).await;
    let neighbour = Shop::of(ROWS).await;
    shop.configure(&format!("{}{}", shop.in_file(), neighbour.in_file()));
    shop.daemon.start().unwrap();
    for name in [shop.name(), neighbour.name()] {
        shop.daemon.wait_for_state(name, "streaming").unwrap();
    }
    shop.settle().await;
    for name in [shop.name(), neighbour.name()] {
        shop.must(204, "PUT", &format!("/connectors/{name}/stop"), &Value::Null);
        shop.daemon.wait_for_state(name, "stopped").unwrap();
    }
    let before = shop.position();
    let end = shop.database.query_value("select pg_switch_wal()").await.unwrap();
    let end = match &*end {
        end if *end == before => before.clone(),
        _ => shop.database.query_value("select pg_current_wal_lsn()").await.unwrap(),
    };
    let token = |method: &str, path: &str, body: &Value| {
        let answer = shop.must(409, method, path, body).json().unwrap();
        assert!(answer["expires_in_ms"].as_u64().unwrap() > 0, "{answer}");
        answer["confirm"].as_str().unwrap().to_owned()
    };
    let path = shop.at("/offsets");
    let with = |token: &str| format!("{path}?confirm={token}");
    let given = token("DELETE", &path, &Value::Null);
    // For another kind of request, another connector, another body: none of them, and it is used up by that.
    shop.must(409, "PATCH", &with(&given), &shop.to(&end));
    assert_eq!(shop.position(), before);
    let given = token("DELETE", &path, &Value::Null);
    shop.must(
        409,
        "DELETE",
        &format!("/connectors/{}/offsets?confirm={given}", neighbour.name()),
        &Value::Null,
    );
    shop.must(409, "DELETE", &with(&given), &Value::Null);
    let given = token("PATCH", &path, &shop.to(&end));
    let other = json!({ "offsets": [{ "partition": { "connector": shop.name() }, "offset": { "position": "0/1" } }] });
    shop.must(400, "PATCH", &with(&given), &other);
    shop.must(409, "DELETE", &with("0123456789abcdef"), &Value::Null);
    assert_eq!(shop.position(), before);
    // Nothing outlives the process.
    let given = token("DELETE", &path, &Value::Null);
    shop.daemon.kill9().unwrap();
    shop.daemon.start().unwrap();
    shop.must(409, "DELETE", &with(&given), &Value::Null);
    let given = token("DELETE", &path, &Value::Null);
    shop.must(200, "DELETE", &with(&given), &Value::Null);
    let again = shop.must(409, "DELETE", &with(&given), &Value::Null);
    assert!(again.body.contains("confirmation_needed"), "{}", again.body);
    let entries = shop.journal();
    let done = entries.iter().filter(|entry| entry.1 == "offsets").count();
    assert!(done <= 1, "what was not confirmed was not done: {entries:?}");
    shop.wait_for_entry("anonymous", "offsets", "forgotten");
}
