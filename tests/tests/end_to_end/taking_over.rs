//! From Debezium and from Maxwell to Tailrace: they are stopped in the middle, `import-offsets` takes over how far they came, and the topics
//! go on as one.
//!
//! ```text
//!   shop ──▶ database ── log ──▶ Debezium ──▶ topic …………┐ stopped, or killed, while the shop goes on
//!                 └───── log ──▶ Tailrace ──▶ same topic ┘ every change of every row, in order; some of them twice
//! ```

mod captured;
mod jdbc;
mod maxwell;
mod refused;
mod shop;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tailrace_tests::daemon::{Daemon, Printed};
use tailrace_tests::database::{Database, Server};
use tailrace_tests::servers::{
    Connect, ConnectOptions, Kafka, MySqlOptions, MySqlVersion, PostgresVersion, debezium_mysql, debezium_postgres,
    poll_until, shared_kafka,
};

use shop::{Shop, said};

/// A worker that starts, and a connector in it, on two cores that do everything at once.
const DEADLINE: Duration = Duration::from_secs(180);

/// A database that Debezium captures, and the daemon that is to take over.
struct Move {
    shop: Shop,
    daemon: Daemon,
    kafka: &'static Kafka,
    /// The name of Debezium's connector, of its slot and publication, and of its topics.
    name: String,
}

// === impl Move ===

impl Move {
    /// Everything configured, nothing started.
    async fn prepare(database: Database, name: &str) -> Move {
        let shop = Shop::open(database).await;
        let daemon = daemon_on(&shop.database, name, &["orders"]);
        Move::of(shop, daemon, name)
    }

    fn of(shop: Shop, daemon: Daemon, name: &str) -> Move {
        Move {
            shop,
            daemon,
            kafka: shared_kafka().unwrap(),
            name: name.to_owned(),
        }
    }

    fn debezium(&self) -> BTreeMap<String, String> {
        let database = &self.shop.database;
        let mut properties = match database.server() {
            Server::Postgres(server) => debezium_postgres(server, database.name(), &self.name),
            Server::MySql(server) => debezium_mysql(server, &self.name),
        };
        let mut set = |key: &str, value: &str| drop(properties.insert(key.to_owned(), value.to_owned()));
        set("table.include.list", &format!("{}\\.orders", database.schema()));
        set("poll.interval.ms", "20");
        for side in ["key", "value"] {
            set(
                &format!("{side}.converter"),
                "org.apache.kafka.connect.json.JsonConverter",
            );
            set(&format!("{side}.converter.schemas.enable"), "false");
        }
        properties
    }

    fn topic(&self) -> String {
        self.topic_of("orders")
    }

    fn topic_of(&self, table: &str) -> String {
        format!("{}.{}.{table}", self.name, self.shop.database.schema())
    }

    /// Waits until the topic has the last change of the shop.
    fn wait_for_all(&self) {
        let outcome = poll_until("all of the shop's changes", DEADLINE, || {
            let records = self.kafka.records(&self.topic()).unwrap_or_default();
            Ok(self.shop.has_last(&said(&records)).then_some(()))
        });
        if let Err(error) = outcome {
            unreachable!("{}", self.daemon.with_status(&self.connector(), &error));
        }
    }

    /// Carries all there is, to a topic without records, and ends: that is all but the first transactions.
    async fn publishes_since(&self, transactions: usize) {
        self.daemon.start().unwrap();
        self.wait_for_all();
        self.daemon.terminate().unwrap();
        let published = said(&self.kafka.records(&self.topic()).unwrap());
        assert_eq!(published, self.shop.since(transactions), "{}", self.connector());
        self.kafka.delete_topic(&self.topic()).await.unwrap();
    }

    fn connector(&self) -> String {
        self.shop.database.name().to_owned()
    }

    fn import(&self, arguments: &[&str]) -> Printed {
        let connector = self.connector();
        let arguments: Vec<&str> = std::iter::once(connector.as_str())
            .chain(arguments.iter().copied())
            .collect();
        self.daemon.command("import-offsets", &arguments).unwrap()
    }

    /// Says first what it would do, then does it; and does not do it twice.
    fn import_in_two_steps(&self, arguments: &[&str]) -> Printed {
        let told = self.import(arguments);
        assert_eq!(told.code, Some(2), "{}", told.all());
        assert!(told.stdout.contains("Nothing was changed"), "{}", told.all());
        assert!(!self.daemon.state_file().exists(), "a state was made");
        let confirmed: Vec<&str> = arguments.iter().copied().chain(["--yes"]).collect();
        let done = self.import(&confirmed);
        assert_eq!(done.code, Some(0), "{}", done.all());
        let again = self.import(&confirmed);
        assert_eq!(again.code, Some(1), "{}", again.all());
        assert!(again.stderr.contains("checkpoint_exists"), "{}", again.all());
        told
    }

    /// Runs Tailrace until it has everything, and compares the topic with the shop.
    fn carry_on(&self) -> usize {
        self.daemon.start().unwrap();
        self.wait_for_all();
        self.daemon.terminate().unwrap();
        let records = self.kafka.records(&self.topic()).unwrap();
        self.shop.repeated(&said(&records))
    }
}

impl Move {
    /// Debezium goes on where Tailrace stopped: on PostgreSQL the slot says where that is, on MySQL the checkpoint.
    fn go_back(&self, connect: &Connect) {
        let mut properties = self.debezium();
        let (mode, place) = match self.shop.database.server() {
            Server::Postgres(_) => ("no_data", None),
            Server::MySql(_) => ("recovery", Some(self.place_for_debezium())),
        };
        properties.insert("snapshot.mode".to_owned(), mode.to_owned());
        connect.resume_at(&self.name, &properties, place).unwrap();
        self.wait_for_all();
        connect.delete(&self.name).unwrap();
        let records = self.kafka.records(&self.topic()).unwrap();
        self.shop.repeated(&said(&records));
    }

    /// What `tailrace forget` says of the position, as Debezium stores it.
    fn place_for_debezium(&self) -> (Value, Value) {
        let told = self.daemon.command("forget", &[&self.connector()]).unwrap();
        let (_, position) = told.stdout.split_once("carried up to ").unwrap();
        let (position, _) = position.split_once(". ").unwrap();
        let mut parts = position.split(';');
        let (file, offset) = parts.next().unwrap().rsplit_once(':').unwrap();
        let gtids = parts.find_map(|part| part.strip_prefix("mysql_gtids="));
        let offset: u64 = offset.parse().unwrap();
        let partition = json!({ "server": self.name });
        (partition, json!({ "file": file, "pos": offset, "gtids": gtids }))
    }
}

/// One connector that publishes what Debezium's does, with its slot and its publication.
fn daemon_on(database: &Database, name: &str, tables: &[&str]) -> Daemon {
    let schema = database.schema();
    let tables: Vec<String> = tables.iter().map(|table| format!("{schema}.{table}")).collect();
    let indented = |text: &str| text.lines().map(|line| format!("      {line}\n")).collect::<String>();
    let log = match database.server() {
        Server::Postgres(_) => format!("slot: {name}\npublication: {name}\n"),
        Server::MySql(_) => String::new(),
    };
    let sections = format!(
        "streams:\n  events:\n    type: kafka\n    bootstrap_servers: [\"{bootstrap}\"]\nconnectors:\n  {connector}:\n    stream: events\n    \
         prefix: {name}\n    format: {{ envelope: debezium }}\n    source:\n{place}      tables: [{tables}]\n{log}",
        bootstrap = shared_kafka().unwrap().bootstrap(),
        connector = database.name(),
        place = indented(&database.location(None)),
        tables = tables.join(", "),
        log = indented(&log),
    );
    Daemon::new(&sections).unwrap()
}

/// Debezium is stopped as it should be; its offsets are in the topic of the cluster.
async fn stopped_in_a_cluster(database: Database, name: &str) {
    let mut moving = Move::prepare(database, name).await;
    let connect = Connect::start(&moving.kafka.bootstrap(), &ConnectOptions::default().cluster()).unwrap();
    connect.create(name, &moving.debezium()).unwrap();
    moving.wait_for_all();
    moving.shop.trade(20).await;
    moving.wait_for_all();
    connect.stop_connector(name).unwrap();
    moving.shop.trade(20).await;

    let topic = connect.offsets_topic();
    let wrong = moving.import(&["--connect-topic", &topic, "--name", &format!("{name}s")]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.all());
    assert!(
        wrong.stderr.contains(&format!("did you mean `{name}`?")),
        "{}",
        wrong.all()
    );
    moving.import_in_two_steps(&["--connect-topic", &topic, "--name", name]);
    let repeated = moving.carry_on();
    assert!(repeated <= 10, "{repeated} changes came again");
    moving.shop.trade(10).await;
    moving.go_back(&connect);
}

/// The worker is killed in the middle of what it publishes; its offsets are in its file, and older than what it has published.
async fn killed_with_a_file(database: Database, name: &str) {
    let mut moving = Move::prepare(database, name).await;
    let connect = Connect::start(&moving.kafka.bootstrap(), &ConnectOptions::default()).unwrap();
    connect.create(name, &moving.debezium()).unwrap();
    moving.wait_for_all();
    moving.shop.trade(20).await;
    moving.wait_for_all();
    // The file is written once a second: what it has is behind the snapshot.
    let answer = poll_until("offsets behind the snapshot", DEADLINE, || {
        let answer = connect.offsets(name)?;
        Ok((!answer.contains("INITIAL") && answer.contains("server")).then_some(answer))
    });
    answer.unwrap();
    moving.shop.trade_in_one(2_000).await;
    let begun = moving.kafka.records(&moving.topic()).unwrap().len();
    poll_until("a part of the transaction", DEADLINE, || {
        Ok((moving.kafka.records(&moving.topic())?.len() > begun).then_some(()))
    })
    .unwrap();
    connect.kill9().unwrap();
    moving.shop.trade(20).await;
    let file = connect.offsets_file();
    moving.import_in_two_steps(&["--connect-file", &file.to_string_lossy()]);
    moving.carry_on();
}

#[tokio::test(flavor = "multi_thread")]
async fn tailrace_goes_on_where_debezium_stopped_on_postgresql() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    stopped_in_a_cluster(database, "moved_pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tailrace_goes_on_where_debezium_was_killed_on_postgresql() {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    killed_with_a_file(database, "killed_pg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tailrace_goes_on_where_debezium_stopped_on_mysql() {
    let options = MySqlOptions::version(MySqlVersion::MySql97);
    stopped_in_a_cluster(Database::own(options).await.unwrap(), "moved_my").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tailrace_goes_on_where_debezium_was_killed_on_mysql() {
    let options = MySqlOptions::version(MySqlVersion::MySql97);
    killed_with_a_file(Database::own(options).await.unwrap(), "killed_my").await;
}
