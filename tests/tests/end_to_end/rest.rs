//! The HTTP endpoint of a running daemon: Kafka Connect's REST, what Kafka Connect does not have, and who may ask for what.

mod clients;
mod created;
mod crowds;
mod document;
mod letters;
mod looking;
mod names;
mod offsets;
mod over_http;
mod recalled;
mod secrets;
mod sink_offsets;
mod tls;
mod wanted;

use std::time::Duration;

use serde_json::{Value, json};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::events::Event;
use tailrace_tests::http::Answer;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, poll_until};

use crate::capture::database_with;

/// What was asked for happens soon, on a machine that is not busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// Three rows of a table.
const ROWS: &str = "create table t (id int primary key, v text); insert into t values (1, 'a'), (2, 'b'), (3, 'c')";

/// A database, and a daemon that knows nothing of it but what it is told over HTTP. Events go into files.
pub(crate) struct Shop {
    pub(crate) database: Database,
    pub(crate) daemon: Daemon,
}

impl Shop {
    /// A daemon without a connector, which runs.
    pub(crate) async fn new(version: impl Into<Version>, statements: &str) -> Shop {
        let shop = Shop::prepare(version, statements, |_| {}).await;
        shop.daemon.start().unwrap();
        shop
    }

    /// The usual one.
    pub(crate) async fn of(statements: &str) -> Shop {
        Shop::new(PostgresVersion::V17, statements).await
    }

    /// Nothing is started; `change` may set the daemon up.
    pub(crate) async fn prepare(
        version: impl Into<Version>,
        statements: &str,
        change: impl FnOnce(&mut Daemon),
    ) -> Shop {
        let database = database_with(version, statements).await;
        let mut daemon = Daemon::new("").unwrap();
        change(&mut daemon);
        let shop = Shop { database, daemon };
        shop.configure("");
        shop
    }

    /// Writes the file anew, with these connectors in it.
    pub(crate) fn configure(&self, connectors: &str) {
        let folder = self.daemon.path().join("events");
        let streams = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\n",
            folder.display()
        );
        let connectors = match connectors {
            "" => String::new(),
            connectors => format!("connectors:\n{connectors}"),
        };
        self.daemon.configure(&format!("{streams}{connectors}")).unwrap();
    }

    /// The connector, called like its database.
    pub(crate) fn name(&self) -> &str {
        self.database.name()
    }

    fn class(&self) -> String {
        let kind = self
            .database
            .mysql()
            .map_or("postgres", |server| server.version().connector_type());
        format!("tailrace.source.{kind}")
    }

    /// Its configuration as Kafka Connect has them.
    pub(crate) fn flat(&self) -> Value {
        let mut config = json!({
            "connector.class": self.class(),
            "stream": "events",
            "format.envelope": "debezium",
            "source.url": self.database.url(),
            "source.tables": self.database.patterns("public.*"),
        });
        let settings = self.database.log_settings();
        for (key, value) in settings.lines().filter_map(|line| line.split_once(": ")) {
            config[format!("source.{key}")] = json!(value);
        }
        config
    }

    /// The same as the file would have it.
    pub(crate) fn nested(&self) -> Value {
        let kind = self.class();
        let mut source = json!({
            "type": kind.rsplit('.').next(),
            "url": self.database.url(),
            "tables": [self.database.patterns("public.*")],
        });
        let settings = self.database.log_settings();
        for (key, value) in settings.lines().filter_map(|line| line.split_once(": ")) {
            source[key] = serde_json::from_str(value).unwrap();
        }
        json!({ "stream": "events", "format": { "envelope": "debezium" }, "source": source })
    }

    /// Lines of the file for the connector.
    pub(crate) fn in_file(&self) -> String {
        format!("  {}: {}\n", self.name(), self.nested())
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.daemon.client().json(method, path, body).unwrap()
    }

    /// Asks for something that has to be answered with this status.
    pub(crate) fn must(&self, status: u16, method: &str, path: &str, body: &Value) -> Answer {
        let answer = self.ask(method, path, body);
        assert_eq!(
            answer.status,
            status,
            "{method} {path} {body}: {}\n{}",
            answer.body,
            self.daemon.log()
        );
        answer
    }

    /// GET of JSON.
    pub(crate) fn get(&self, path: &str) -> Value {
        self.must(200, "GET", path, &Value::Null).json().unwrap()
    }

    /// A path below the connector's.
    pub(crate) fn at(&self, below: &str) -> String {
        format!("/connectors/{}{below}", self.name())
    }

    /// Creates the connector, and waits until it streams.
    pub(crate) fn create(&self) {
        let body = json!({ "name": self.name(), "config": self.flat() });
        self.must(201, "POST", "/connectors", &body);
        self.wait_for("streaming");
    }

    pub(crate) fn wait_for(&self, state: &str) {
        self.daemon.wait_for_state(self.name(), state).unwrap();
    }

    pub(crate) async fn execute(&self, statements: &str) {
        self.database.execute(statements).await.unwrap();
    }

    /// Waits until everything that is committed is carried.
    pub(crate) async fn settle(&self) {
        self.database.wait_until_carried(&self.daemon).await.unwrap();
    }

    pub(crate) async fn events(&self, table: &str) -> Vec<Event> {
        let published = Published::File(self.daemon.path().join("events"));
        published.events(&self.database.topic(table)).await.unwrap()
    }

    /// The ids of a table's events, in their order.
    pub(crate) async fn ids(&self, table: &str) -> Vec<i64> {
        let events = self.events(table).await;
        let id = |event: &Event| event.key_json()["id"].as_i64().unwrap();
        events.iter().map(id).collect()
    }

    /// What Kafka Connect's status says of the connector and its task.
    pub(crate) fn words(&self) -> (String, String) {
        let status = self.get(&self.at("/status"));
        let word = |state: &Value| state["state"].as_str().unwrap_or("none").to_owned();
        (word(&status["connector"]), word(&status["tasks"][0]))
    }

    pub(crate) fn wait_for_words(&self, wanted: (&str, &str)) {
        let reached = poll_until(&format!("{wanted:?}"), DEADLINE, || {
            let (connector, task) = self.words();
            Ok(((connector.as_str(), task.as_str()) == wanted).then_some(()))
        });
        reached
            .map_err(|error| self.daemon.with_status(self.name(), &error))
            .unwrap();
    }

    /// Entries of the journal about the connector: who, what, detail.
    pub(crate) fn journal(&self) -> Vec<(String, String, String)> {
        let journal = self.get(&format!("/journal?connector={}&limit=1000", self.name()));
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let entries = journal["entries"].as_array().unwrap().iter();
        let told = entries.map(|entry| (text(entry, "who"), text(entry, "what"), text(entry, "detail")));
        told.collect()
    }

    /// Waits for an entry of the journal whose detail has a text: it is written soon after what it is about.
    pub(crate) fn wait_for_entry(&self, who: &str, what: &str, part: &str) {
        let found = poll_until(&format!("an entry {what} by {who} with `{part}`"), DEADLINE, || {
            let mut entries = self.journal().into_iter();
            let is_it = |entry: &(String, String, String)| entry.0 == who && entry.1 == what && entry.2.contains(part);
            Ok(entries.find(is_it).map(drop))
        });
        found
            .map_err(|error| self.daemon.with_status(self.name(), &error))
            .unwrap();
    }

    /// Stops the connector, and waits until nothing of it runs.
    pub(crate) fn stop(&self) {
        self.must(204, "PUT", &self.at("/stop"), &Value::Null);
        self.wait_for("stopped");
    }

    pub(crate) fn resume(&self) {
        self.must(202, "PUT", &self.at("/resume"), &Value::Null);
    }

    /// Asks in two steps; what the first said would be lost, and the answer to the second.
    pub(crate) fn confirmed(&self, method: &str, path: &str, body: &Value) -> (String, Answer) {
        let first = self.must(409, method, path, body).json().unwrap();
        assert_eq!(first["code"], "confirmation_needed", "{first}");
        assert!(
            first["will_lose"].as_array().is_some_and(|lost| !lost.is_empty()),
            "{first}"
        );
        let token = first["confirm"].as_str().unwrap();
        let second = self.must(200, method, &format!("{path}?confirm={token}"), body);
        (first["message"].as_str().unwrap().to_owned(), second)
    }
}

/// The sentence of a refusal, and its code.
pub(crate) fn refusal(answer: &Answer) -> (String, String) {
    let refusal = answer.json().unwrap();
    assert_eq!(refusal["error_code"], answer.status, "{refusal}");
    let text = |key: &str| refusal[key].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

/// The versions that log sources are tried with.
pub(crate) fn versions() -> [Version; 2] {
    [PostgresVersion::V17.into(), MySqlVersion::MySql97.into()]
}
