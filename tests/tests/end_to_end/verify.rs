//! `tailrace verify`: does it find exactly what differs, tell lag from drift, and mend it?

mod keys;
mod published;
mod sqlite;
mod told;

use std::time::Duration;

use serde_json::Value;
use tailrace_core::task::spawn_named;
use tailrace_tests::daemon::{Daemon, Printed};
use tailrace_tests::database::{Database, Version};
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

use crate::capture::{Wanted, connector, database_with};

const DEADLINE: Duration = Duration::from_secs(60);

/// More than two chunks of the size that the tests ask for.
const ROWS: u64 = 1_203;

const WANTED: Wanted<'static> = Wanted {
    tables: "[public.*]",
    format: "envelope: debezium, codec: avro, interval: string",
    source: "",
    connector: "",
    url: None,
    partitions: 1,
};

/// Types whose values look different in the two databases, and mean the same.
const ORDERS: &str = "create table orders (
    id bigint primary key, note text, price numeric(12,3), paid boolean not null, rate real, share double precision,
    placed timestamptz, due date, doc jsonb, code char(6), tag uuid, raw bytea, list int[], pause interval);
  create table parts (customer varchar(20), number int, amount numeric(10,2), primary key (customer, number))";

/// A source, a target, and the daemon that carries from the one to the other.
struct Pair {
    source: Database,
    target: Database,
    daemon: Daemon,
    setup: Setup,
}

/// What differs from test to test, as YAML.
#[derive(Clone, Default)]
struct Setup {
    /// Inside of the stream; files beside the configuration unless it is given.
    stream: String,
    /// Further settings of the stream of files, each with a comma before it.
    files: &'static str,
    /// Further settings of the sink, each with a comma before it.
    sink: &'static str,
    /// Further lines of the source.
    source: &'static str,
    /// Statements that make the target's tables.
    target: &'static str,
}

/// Which connectors the configuration has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    Both,
    Source,
    Sink,
}

impl Pair {
    async fn start(target: impl Into<Version>) -> Self {
        Self::start_with(target, Setup::default()).await
    }

    /// The tables of these statements, each with so many rows.
    async fn of(target: impl Into<Version>, statements: &str, tables: &[(&str, u64)], setup: Setup) -> Self {
        let pair = Self {
            source: database_with(PostgresVersion::V17, statements).await,
            target: Database::shared(target).await.unwrap(),
            daemon: Daemon::new("").unwrap(),
            setup,
        };
        if !pair.setup.target.is_empty() {
            pair.target.execute(pair.setup.target).await.unwrap();
        }
        pair.configure(&pair.target_url(), Parts::Both);
        pair.daemon.start().unwrap();
        for (table, rows) in tables {
            pair.wait_for(&format!("select count(*) from {table}"), &rows.to_string())
                .await;
        }
        pair
    }

    async fn start_with(target: impl Into<Version>, setup: Setup) -> Self {
        let statements = format!(
            "{ORDERS};
             insert into orders select i, 'note ' || i, i * 1.5, i % 2 = 0, i / 3.0, i / 7.0,
               timestamptz '2024-02-29 12:00:00.123456+00' + i * interval '1 minute', date '2024-02-29' + (i % 1000)::int,
               jsonb_build_object('b', i, 'a', array[1.50, i]), 'c' || i % 1000, md5(i::text)::uuid, decode(md5(i::text), 'hex'),
               array[i, null], i * interval '1 day 2 hours'
             from generate_series(1, {ROWS}) i;
             insert into parts select 'C' || i / 10, i % 10, i from generate_series(1, {ROWS}) i"
        );
        Self::of(target, &statements, &[("orders", ROWS), ("parts", ROWS)], setup).await
    }

    fn target_url(&self) -> String {
        match self.target.postgres() {
            Ok(_) => self.target.url(),
            Err(_) => format!("{}/{}", self.target.url().trim_end_matches('/'), self.target.name()),
        }
    }

    fn configure(&self, target: &str, parts: Parts) {
        let path = self.daemon.path().join("events");
        let stream = match self.setup.stream.as_str() {
            "" => format!("type: file, path: \"{}\" {}", path.display(), self.setup.files),
            stream => stream.to_owned(),
        };
        let kind = if self.target.postgres().is_ok() {
            "postgres"
        } else {
            "mysql"
        };
        let topics = self.source.topic("*");
        let sink = format!(
            "  mirror: {{ stream: events, topics: [\"{topics}\"], sink: {{ type: {kind}, url: \"{target}\", evolve: add {} }} }}\n",
            self.setup.sink
        );
        let wanted = Wanted {
            source: self.setup.source,
            ..WANTED
        };
        let source = connector(&self.source, &wanted);
        let connectors = match parts {
            Parts::Both => source + &sink,
            Parts::Source => source,
            Parts::Sink => sink,
        };
        let sections = format!("streams:\n  events: {{ {stream} }}\nconnectors:\n{connectors}");
        self.daemon.configure(&sections).unwrap();
    }

    /// Waits until the target answers this.
    async fn wait_for(&self, query: &str, wanted: &str) {
        let answered = eventually(query, DEADLINE, || async {
            // The table may not be there yet.
            let Ok(found) = self.target.query_value(query).await else {
                return Ok(None);
            };
            Ok((found == wanted).then_some(()))
        });
        let answered = answered.await;
        if let Err(error) = &answered {
            let found = self.target.query_value(query).await;
            assert!(answered.is_ok(), "{error}: {found:?}\n{}", self.daemon.log());
        }
    }

    fn verify(&self, arguments: &[&str]) -> Printed {
        let arguments = [&["mirror"], arguments].concat();
        self.daemon.command("verify", &arguments).unwrap()
    }

    /// Starts the daemon again with these connectors.
    fn restart(&self, parts: Parts) {
        self.daemon.terminate().unwrap();
        self.configure(&self.target_url(), parts);
        self.daemon.start().unwrap();
    }

    /// Verifies with this exit code; the reports of the two tables.
    fn report(&self, arguments: &[&str], code: i32) -> (Value, Value) {
        let [orders, parts] = self.reports(["orders", "parts"], arguments, code);
        (orders, parts)
    }

    /// Verifies with this exit code; the reports of these tables.
    fn reports<const N: usize>(&self, tables: [&str; N], arguments: &[&str], code: i32) -> [Value; N] {
        let printed = self.verify(&[&["--json", "--chunk-rows", "500"], arguments].concat());
        assert_eq!(printed.code, Some(code), "{}\n{}", printed.all(), self.daemon.log());
        let report: Value = serde_json::from_str(&printed.stdout).unwrap();
        let table = |name: &str| {
            let compared = report["tables"].as_array().unwrap();
            let topic = self.source.topic(name);
            let found = compared.iter().find(|table| table["topic"] == topic.as_str());
            assert!(found.is_some(), "{name} is not in {report:#}");
            found.cloned().unwrap_or_default()
        };
        tables.map(table)
    }

    fn is_equal(&self) {
        let (orders, parts) = self.report(&[], 0);
        for table in [orders, parts] {
            assert_eq!(table["equal"], ROWS, "{table:#}");
            assert_eq!(table["keys"], serde_json::json!([]), "{table:#}");
            assert_eq!(table["left_out"], serde_json::json!([]), "{table:#}");
            assert!(table["chunks"].as_u64().unwrap() >= 6, "{table:#}");
        }
    }
}

/// What is listed of a table: how it differs, its key, and in which columns.
fn listed(table: &Value) -> Vec<String> {
    let listed = table["keys"].as_array().unwrap().iter().map(|key| {
        let columns = key["columns"].as_array().cloned().unwrap_or_default();
        let columns: Vec<&str> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
        let text = format!(
            "{} {} {}",
            key["is"].as_str().unwrap(),
            key["key"].as_str().unwrap(),
            columns.join(",")
        );
        text.trim_end().to_owned()
    });
    listed.collect()
}

async fn finds_and_mends_drift(target: impl Into<Version>) {
    let pair = Pair::start(target).await;
    pair.is_equal();

    let drift =
        "update orders set note = 'secret' where id = 7; update orders set price = 0, paid = not paid where id = 900;
                 delete from orders where id = 8; delete from parts where customer = 'C5' and number = 3;
                 insert into parts (customer, number, amount) values ('C5', 77, 1)";
    pair.target.execute(drift).await.unwrap();
    let (orders, parts) = pair.report(&[], 6);
    assert_eq!(
        listed(&orders),
        ["different id=7 note", "missing id=8", "different id=900 price,paid"]
    );
    assert_eq!(
        listed(&parts),
        ["missing customer=C5, number=3", "extra customer=C5, number=77"]
    );
    assert_eq!(
        (&orders["equal"], &parts["equal"]),
        (&(ROWS - 3).into(), &(ROWS - 1).into())
    );

    // Values are shown where they are asked for, and only there.
    let text = pair.verify(&["--table", "orders"]).stdout;
    assert!(
        text.contains("different  id=7: note\n") && !text.contains("secret") && !text.contains("parts"),
        "{text}"
    );
    let text = pair
        .verify(&["--table", "public.orders", "--show-values", "--keys", "1"])
        .stdout;
    assert!(
        text.contains("note `note 7` in the source, `secret` in the target"),
        "{text}"
    );
    assert!(text.contains("and 2 more"), "{text}");

    let (orders, parts) = pair.report(&["--repair"], 0);
    assert_eq!((&orders["repaired"], &parts["repaired"]), (&3.into(), &2.into()));
    assert!(
        orders["keys"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key["repaired"] == true),
        "{orders:#}"
    );
    pair.is_equal();
    // The sink was not disturbed.
    pair.source
        .execute("update orders set note = 'on' where id = 7")
        .await
        .unwrap();
    pair.wait_for("select note from orders where id = 7", "on").await;
    pair.is_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_in_postgres_is_found_and_mended() {
    finds_and_mends_drift(PostgresVersion::V17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_in_mysql_is_found_and_mended() {
    finds_and_mends_drift(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_written_or_not_published_yet_is_lag() {
    let pair = Pair::start(PostgresVersion::V17).await;
    pair.daemon.terminate().unwrap();
    // Nobody writes; the source goes on, and a row of the target drifts in the meantime.
    pair.configure(&pair.target_url(), Parts::Source);
    pair.daemon.start().unwrap();
    pair.source
        .execute("update orders set note = 'newer' where id = 10; delete from parts where customer = 'C1'")
        .await
        .unwrap();
    pair.source.wait_until_carried(&pair.daemon).await.unwrap();
    pair.configure(&pair.target_url(), Parts::Both);
    let (orders, parts) = pair.report(&["--wait", "1"], 0);
    assert_eq!(listed(&orders), ["lag id=10 note"], "{orders:#}");
    assert_eq!((&parts["lag"], &parts["extra"]), (&10.into(), &0.into()), "{parts:#}");

    // The sink writes again: what it is waited for is lag that has passed.
    pair.daemon.terminate().unwrap();
    pair.daemon.start().unwrap();
    pair.wait_for("select note from orders where id = 10", "newer").await;
    pair.wait_for("select count(*) from parts where customer = 'C1'", "0")
        .await;
    let (orders, _) = pair.report(&[], 0);
    assert_eq!(orders["equal"], ROWS);

    // Nobody reads the source.
    pair.daemon.terminate().unwrap();
    pair.source
        .execute("update orders set note = 'newest' where id = 10; delete from orders where id = 11")
        .await
        .unwrap();
    pair.target
        .execute("update orders set note = 'drift' where id = 12")
        .await
        .unwrap();
    let (orders, _) = pair.report(&["--wait", "1"], 6);
    assert_eq!(
        listed(&orders),
        ["different id=12 note", "unpublished id=10 note", "unpublished id=11"],
        "{orders:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_sink_is_neither_drift_nor_undone() {
    let pair = Pair::start(PostgresVersion::V17).await;
    let writing = pair.source.clone();
    let writer = spawn_named("writer", async move {
        for round in 0..300 {
            let statement = format!(
                "update orders set note = 'round {round}' where id % 50 = {}",
                round % 50
            );
            writing.execute(&statement).await.unwrap();
        }
    });
    let drift = "update orders set price = 0 where id in (5, 55, 105)";
    pair.target.execute(drift).await.unwrap();
    while !writer.is_finished() {
        let printed = pair.verify(&["--json", "--repair", "--table", "orders"]);
        assert_eq!(printed.code, Some(0), "{}", printed.all());
    }
    writer.await.unwrap();
    pair.is_equal();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_said() {
    let pair = Pair::start(PostgresVersion::V17).await;
    let refused = |arguments: &[&str], code: i32, sentence: &str| {
        let printed = pair.daemon.command("verify", arguments).unwrap();
        assert_eq!(printed.code, Some(code), "{}", printed.all());
        assert!(printed.stderr.contains(sentence), "{}", printed.all());
    };
    refused(&["miror"], 2, "there is no connector `miror` with a `sink`");
    refused(
        &[pair.source.name()],
        2,
        "reads a database; name a connector with a `sink`",
    );
    refused(
        &["mirror", "--table", "order"],
        2,
        "`--table order` is none of the tables",
    );
    refused(&["mirror", "--wait", "18446744073709551615"], 2, "--wait");
    pair.configure("postgres://tailrace@127.0.0.1:1/nowhere", Parts::Both);
    refused(&["mirror"], 1, "127.0.0.1");
}
