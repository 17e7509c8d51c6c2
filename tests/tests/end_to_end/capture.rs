//! A daemon that captures a database into Kafka: what nearly every test begins with.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::events::Event;
use tailrace_tests::oracle::{self, Findings, Snapshot};
use tailrace_tests::servers::{Kafka, PostgresVersion, shared_kafka};
use tailrace_tests::workload::History;

/// What differs from test to test, as YAML.
pub(crate) struct Wanted<'a> {
    /// Table patterns, in which `public` stands for the database's schema.
    pub(crate) tables: &'a str,
    /// Inside of `format`.
    pub(crate) format: &'a str,
    /// Further lines of the source: `binary: true`.
    pub(crate) source: &'a str,
    /// Further lines of the connector.
    pub(crate) connector: &'a str,
    /// Where the source connects; the database's superuser unless it is given.
    pub(crate) url: Option<String>,
    /// Partitions of new topics.
    pub(crate) partitions: u32,
}

/// A database, its daemon, and the broker between it and us.
pub(crate) struct Capture {
    pub(crate) database: Database,
    pub(crate) daemon: Daemon,
    pub(crate) kafka: KafkaHandle,
}

/// The broker of all tests, or one of the test's own that may be stopped and killed.
pub(crate) enum KafkaHandle {
    Shared(&'static Kafka),
    Own(Box<Kafka>),
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Wanted {
            tables: "[public.*]",
            format: "envelope: debezium",
            source: "",
            connector: "",
            url: None,
            partitions: 1,
        }
    }
}

impl std::ops::Deref for KafkaHandle {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        match self {
            KafkaHandle::Shared(kafka) => kafka,
            KafkaHandle::Own(kafka) => kafka,
        }
    }
}

/// The configuration of one connector, called like its database, into a broker.
pub(crate) fn sections(database: &Database, bootstrap: &str, wanted: &Wanted<'_>) -> String {
    let streams = format!(
        "streams:\n  events:\n    type: kafka\n    bootstrap_servers: [\"{bootstrap}\"]\n    topics: {{ partitions: {} }}\n",
        wanted.partitions
    );
    format!("{streams}connectors:\n{}", connector(database, wanted))
}

/// The connector alone, into the stream `events`.
pub(crate) fn connector(database: &Database, wanted: &Wanted<'_>) -> String {
    let indented = |text: &str, indent: &str| text.lines().map(|line| format!("{indent}{line}\n")).collect::<String>();
    let url = wanted.url.as_deref();
    let place = match wanted.source.starts_with("query:") {
        true => database.location(url),
        false => database.source(url),
    };
    format!(
        "  {name}:\n    stream: events\n    format: {{ {format} }}\n{more}    source:\n{place}      tables: {tables}\n{source}",
        name = database.name(),
        format = wanted.format,
        more = indented(wanted.connector, "    "),
        place = indented(&place, "      "),
        tables = database.patterns(wanted.tables),
        source = indented(wanted.source, "      "),
    )
}

/// A new database on the shared server of a version, with these tables in it.
pub(crate) async fn database_with(version: impl Into<Version>, statements: &str) -> Database {
    let database = Database::shared(version).await.unwrap();
    database.execute(statements).await.unwrap();
    database
}

impl Capture {
    /// Everything configured, into the shared broker, nothing started.
    pub(crate) fn prepare(database: Database, wanted: &Wanted<'_>) -> Capture {
        Capture::prepare_into(database, KafkaHandle::Shared(shared_kafka().unwrap()), wanted)
    }

    /// As [`Capture::prepare`], into this broker.
    pub(crate) fn prepare_into(database: Database, kafka: KafkaHandle, wanted: &Wanted<'_>) -> Capture {
        let daemon = Daemon::new(&sections(&database, &kafka.bootstrap(), wanted)).unwrap();
        Capture {
            database,
            daemon,
            kafka,
        }
    }

    /// Started, and past the snapshot.
    pub(crate) fn start(database: Database, wanted: &Wanted<'_>) -> Capture {
        let capture = Capture::prepare(database, wanted);
        capture.start_again();
        capture
    }

    /// The shop of these statements on the usual version, captured with Debezium's envelope.
    pub(crate) async fn of(statements: &str) -> Capture {
        Capture::start(
            database_with(PostgresVersion::V17, statements).await,
            &Wanted::default(),
        )
    }

    pub(crate) fn start_again(&self) {
        self.daemon.start().unwrap();
        self.wait_for("streaming");
    }

    /// Waits for a state of the connector.
    pub(crate) fn wait_for(&self, state: &str) {
        self.daemon.wait_for_state(self.database.name(), state).unwrap();
    }

    pub(crate) fn topic(&self, table: &str) -> String {
        self.database.topic(table)
    }

    /// Waits until everything is carried.
    pub(crate) async fn settle(&self) {
        self.database.wait_until_carried(&self.daemon).await.unwrap();
    }

    /// All events of a table so far.
    pub(crate) fn events(&self, table: &str) -> Vec<Event> {
        self.events_of_topic(&self.topic(table))
    }

    /// All events of a topic so far; none where there is no such topic.
    pub(crate) fn events_of_topic(&self, topic: &str) -> Vec<Event> {
        if !self.kafka.topics().unwrap().iter().any(|known| known == topic) {
            return Vec::new();
        }
        self.kafka
            .records(topic)
            .unwrap()
            .into_iter()
            .map(Event::from)
            .collect()
    }

    /// Runs statements, waits until they are carried, and gives the table's events, each as a line.
    pub(crate) async fn after(&self, statements: &str, table: &str) -> Vec<String> {
        self.database.execute(statements).await.unwrap();
        self.settle().await;
        self.events(table).iter().map(Event::brief).collect()
    }

    /// Compares all topics of a workload with the truth, where the snapshot went through.
    pub(crate) async fn compare(&self, seed: u64, history: &History) -> Findings {
        self.compare_with(seed, history, Snapshot::Whole).await
    }

    /// Compares all topics of a workload with the truth.
    pub(crate) async fn compare_with(&self, seed: u64, history: &History, snapshot: Snapshot) -> Findings {
        self.settle().await;
        let outcome = oracle::compare(
            &self.database,
            seed,
            (history, snapshot),
            |table| Ok(self.events(table)),
        )
        .await;
        outcome
            .map_err(|error| self.daemon.with_status(self.database.name(), &error))
            .unwrap()
    }
}
