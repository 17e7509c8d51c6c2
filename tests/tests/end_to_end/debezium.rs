//! Debezium beside it: the same database, PostgreSQL or MySQL, the same changes, Debezium's own connector in a Kafka Connect worker and
//! Tailrace with `envelope: debezium`; record by record, field by field, byte by byte the same, but for what the table in
//! `docs/debezium.md` lists with its reason.
//!
//! ```text
//!   before.sql + vectors ──▶ database ──────── log ────────▶ Debezium ──▶ beside_d_<pair>.*  ┐
//!                                 │                                                          ├─▶ compare ─▶ differences
//!   changes.sql + vectors ──▶     └────────────── log ────────▶ Tailrace ──▶ beside_t_<pair>.*  ┘             less the list
//! ```
//!
//! A [`pairs::Pair`] is one set of options, written as Tailrace's and translated to Debezium's. All pairs share the
//! worker, the daemon and the database, because a worker takes ten seconds and half a gigabyte.

mod avro;
mod compare;
mod differences;
mod json;
mod pairs;
mod tables;

use std::time::Duration;

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{
    Connect, ConnectOptions, Kafka, MySqlOptions, MySqlVersion, PostgresVersion, Registry, poll_until, shared_kafka,
};

use compare::Compared;
use differences::Differences;
use pairs::Pair;

/// A worker with a dozen connectors on two cores that do everything at once.
const DEADLINE: Duration = Duration::from_secs(180);

/// Whose rows show how far each side is: it is the last in each transaction's wake.
const MARKS: &str = "marks";

/// Both sides of every pair, on one database.
struct Beside<'a> {
    database: Database,
    daemon: Daemon,
    connect: &'a Connect,
    registry: &'a Registry,
    kafka: &'static Kafka,
    pairs: Vec<Pair>,
    marks: u32,
}

// === impl Beside ===

impl<'a> Beside<'a> {
    /// Everything started, on a database with these tables, and past the snapshots.
    async fn start(
        (connect, registry): (&'a Connect, &'a Registry),
        (database, extensions): (Database, &[&str]),
        before: &[String],
        pairs: Vec<Pair>,
    ) -> Beside<'a> {
        let kafka = shared_kafka().unwrap();
        for extension in extensions {
            let statement = format!("create extension \"{extension}\"");
            database.execute(&statement).await.unwrap();
        }
        for statements in before {
            database.execute(statements).await.unwrap();
        }
        let marks = format!("create table {MARKS} (id int primary key); insert into {MARKS} values (1)");
        database.execute(&marks).await.unwrap();
        let daemon = Daemon::new(&pairs::tailrace(&pairs, &database, &kafka.bootstrap(), registry)).unwrap();
        daemon.start().unwrap();
        for pair in &pairs {
            let properties = pair.debezium(&database, registry);
            connect.create(&pair.debezium_name(), &properties).unwrap();
        }
        for pair in &pairs {
            daemon.wait_for_state(&pair.tailrace_name(), "streaming").unwrap();
        }
        let beside = Beside {
            database,
            daemon,
            connect,
            registry,
            kafka,
            pairs,
            marks: 1,
        };
        beside.wait_for_marks();
        beside
    }

    /// Runs transactions; waits for both sides where they say so.
    async fn run(&mut self, transactions: &[String]) {
        for statements in transactions {
            if statements.contains(tables::AWAIT) {
                self.mark().await;
            }
            let outcome = self.database.execute(statements).await;
            outcome.unwrap();
        }
        self.mark().await;
    }

    /// Waits until both sides of every pair have published all that was committed so far.
    async fn mark(&mut self) {
        self.marks += 1;
        let statement = format!("insert into {MARKS} values ({})", self.marks);
        self.database.execute(&statement).await.unwrap();
        self.wait_for_marks();
    }

    fn wait_for_marks(&self) {
        let wanted = self.marks;
        for pair in &self.pairs {
            for name in [pair.debezium_name(), pair.tailrace_name()] {
                let topic = format!("{name}.{}.{MARKS}", self.database.schema());
                let outcome = poll_until(&format!("mark {wanted} in {topic}"), DEADLINE, || {
                    let there = self
                        .kafka
                        .records(&topic)
                        .is_ok_and(|records| records.len() >= wanted as usize);
                    if !there && name == pair.debezium_name() {
                        self.connect.is_running(&name)?;
                    }
                    Ok(there.then_some(()))
                });
                if let Err(error) = outcome {
                    let error = self.daemon.with_status(&pair.tailrace_name(), &error);
                    unreachable!("{error}\n{}", self.connect.log());
                }
            }
        }
    }

    /// Ends both sides, so that everything is published, and compares what they have.
    fn compare(&self, differences: &mut Differences) {
        for pair in &self.pairs {
            // Its producer is closed when the connector is gone: nothing is on its way any more.
            self.connect.delete(&pair.debezium_name()).unwrap();
        }
        let retries = |pair: &Pair| self.daemon.connector(&pair.tailrace_name()).unwrap()["retries"].as_u64();
        let retries: Vec<_> = self.pairs.iter().map(retries).collect();
        self.daemon.terminate().unwrap();
        let topics = self.kafka.topics().unwrap();
        for (pair, retries) in self.pairs.iter().zip(retries) {
            let records = |topic: &str| self.kafka.records(topic).unwrap();
            let compared = Compared {
                pair,
                schema: self.database.schema(),
                schemas: pair.is_avro().then(|| avro::Schemas::of(self.registry)),
                began_anew: retries.unwrap() > 0,
            };
            compare::pair(&compared, &topics, records, differences);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_debeziums_but_for_what_is_listed() {
    let mut differences = Differences::listed_in(&read("docs/debezium.md"), &[EVERYWHERE, "Of PostgreSQL"]);
    let bootstrap = shared_kafka().unwrap().bootstrap();
    let connect = Connect::start(&bootstrap, &ConnectOptions::default()).unwrap();
    let registry = Registry::start().unwrap();
    let servers = (&connect, &registry);

    let groups = tables::groups(|data_type| !tables::is_pgvector(data_type));
    let mut before = tables::paragraphs(&read("tests/debezium/before.sql"));
    before.extend(groups.iter().map(tables::Group::before));
    let mut changes = tables::paragraphs(&read("tests/debezium/changes.sql"));
    changes.extend(groups.iter().flat_map(tables::Group::after));
    let database = Database::shared(PostgresVersion::V15).await.unwrap();
    let extensions: &[&str] = &["citext", "hstore", "ltree", "isn", "postgis"];
    let mut beside = Beside::start(servers, (database, extensions), &before, pairs::all(&groups)).await;
    beside.run(&changes).await;
    beside.compare(&mut differences);

    let groups = tables::groups(tables::is_pgvector);
    let before: Vec<String> = groups.iter().map(tables::Group::before).collect();
    let changes: Vec<String> = groups.iter().flat_map(tables::Group::after).collect();
    let database = Database::shared(PostgresVersion::V18).await.unwrap();
    let pairs = pairs::of_extension(&groups);
    let mut beside = Beside::start(servers, (database, &["vector"]), &before, pairs).await;
    beside.run(&changes).await;
    beside.compare(&mut differences);
    differences.assert_as_listed();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_mysql_are_debeziums_but_for_what_is_listed() {
    let mut differences = Differences::listed_in(&read("docs/debezium.md"), &[EVERYWHERE, "Of MySQL and MariaDB"]);
    let bootstrap = shared_kafka().unwrap().bootstrap();
    let connect = Connect::start(&bootstrap, &ConnectOptions::default()).unwrap();
    let registry = Registry::start().unwrap();
    let servers = (&connect, &registry);
    let before = tables::paragraphs(&read("tests/debezium/mysql/before.sql"));
    let changes = tables::paragraphs(&read("tests/debezium/mysql/changes.sql"));
    let described = MySqlOptions::version(MySqlVersion::MySql97);
    let minimal = described.clone().setting("binlog_row_metadata=MINIMAL");
    for (options, pairs) in [(described, pairs::of_mysql()), (minimal, pairs::of_minimal_mysql())] {
        let database = Database::own(options).await.unwrap();
        // What tables are in that are made from here on.
        let charset = format!("alter database {} character set utf8mb4", database.name());
        let mut beside = Beside::start(servers, (database, &[]), &before, pairs).await;
        beside.run(&[charset]).await;
        beside.run(&changes).await;
        beside.compare(&mut differences);
    }
    differences.assert_as_listed();
}

/// The part of the list that holds for every database.
const EVERYWHERE: &str = "Of every database";

/// A file of the repository. Read and not compiled in: whoever changes the SQL or the list does not wait for a compiler.
fn read(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::fs::read_to_string(format!("{root}/{path}")).unwrap()
}
