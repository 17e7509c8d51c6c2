//! Tables that are polled instead of read from a log: what is asked of every database that can be polled.

mod mysql;
mod postgres;
mod queues;
mod writers;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{Result, eventually};

/// As the daemon's own: everything is quick, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

/// Inside of `format`, unless a test wants another.
const ENVELOPE: &str = "envelope: debezium";

/// A database whose tables a daemon polls into files.
pub(crate) struct Polled {
    database: Database,
    daemon: Daemon,
}

impl Polled {
    /// Configured and not started: `source` are further lines of the source, with `tables` and `query`.
    fn prepare(database: Database, source: &str) -> Polled {
        let url = database.url();
        Polled::prepare_at(database, &url, source)
    }

    /// As [`Polled::prepare`], through this URL.
    fn prepare_at(database: Database, url: &str, source: &str) -> Polled {
        Polled::prepare_as(database, url, ENVELOPE, source)
    }

    /// As [`Polled::prepare_at`], published in this format.
    pub(crate) fn prepare_as(database: Database, url: &str, format: &str, source: &str) -> Polled {
        let polled = Polled {
            daemon: Daemon::new("").unwrap(),
            database,
        };
        polled.configure_as(url, format, source);
        polled
    }

    /// Another configuration of the source, for the next start.
    fn configure(&self, source: &str) {
        self.configure_at(&self.database.url(), source);
    }

    /// As [`Polled::configure`], through this URL.
    fn configure_at(&self, url: &str, source: &str) {
        self.configure_as(url, ENVELOPE, source);
    }

    fn configure_as(&self, url: &str, format: &str, source: &str) {
        let source = self.database.location(Some(url)) + &source.replace("public", self.database.schema());
        let lines: String = source.lines().map(|line| format!("      {line}\n")).collect();
        let sections = format!(
            "streams:\n  events: {{ type: file, path: \"{}\" }}\nconnectors:\n  {}:\n    stream: events\n    format: {{ {format} }}\n    \
             source:\n{lines}",
            self.daemon.path().join("events").display(),
            self.database.name(),
        );
        self.daemon.configure(&sections).unwrap();
    }

    /// Started, and past the first load.
    fn start(database: Database, source: &str) -> Polled {
        let polled = Polled::prepare(database, source);
        polled.start_again();
        polled
    }

    pub(crate) fn start_again(&self) {
        self.daemon.start().unwrap();
        self.wait_for("streaming");
    }

    fn wait_for(&self, state: &str) {
        self.daemon.wait_for_state(self.database.name(), state).unwrap();
    }

    /// All events of a table so far, in order.
    async fn events(&self, table: &str) -> Vec<Event> {
        self.events_of_topic(&self.database.topic(table)).await.unwrap()
    }

    /// All events of a topic so far, in order.
    async fn events_of_topic(&self, topic: &str) -> Result<Vec<Event>> {
        Published::File(self.daemon.path().join("events")).events(topic).await
    }

    /// Waits until a table has so many events, and gives them.
    pub(crate) async fn wait_for_events(&self, table: &str, count: usize) -> Vec<Event> {
        self.wait_for_topic(&self.database.topic(table), count).await
    }

    /// Waits until a topic has so many events, and gives them.
    async fn wait_for_topic(&self, topic: &str, count: usize) -> Vec<Event> {
        let what = format!("{count} events in {topic}");
        let found = eventually(&what, DEADLINE, || async {
            let events = self.events_of_topic(topic).await?;
            Ok((events.len() >= count).then_some(events))
        });
        let found = found
            .await
            .map_err(|error| self.daemon.with_status(self.database.name(), &error));
        found.unwrap()
    }

    /// Waits until the daemon tells a notice under this code, and gives its sentence.
    fn wait_for_notice(&self, code: &str) -> String {
        let status = self
            .daemon
            .wait_for(self.database.name(), &format!("the notice {code}"), |status| {
                !status["notices"][code].is_null()
            });
        status.unwrap()["notices"][code].to_string()
    }

    /// Waits until the cursor of a table is at this id or behind it: nothing more will come that was there by then.
    fn wait_for_id(&self, table: &str, id: u64) {
        let table = format!("{}.{table}", self.database.schema());
        let status = self
            .daemon
            .wait_for(self.database.name(), &format!("the id {id}"), |status| {
                let position = status["position"].as_str().unwrap_or_default();
                let position: Value = serde_json::from_str(position).unwrap_or_default();
                position[&table]["id"].as_u64() >= Some(id)
            });
        status.unwrap();
    }

    /// What `/status` says of a table's gaps.
    fn gap_safety(&self, table: &str) -> (String, String) {
        let status = self.daemon.connector(self.database.name()).unwrap();
        let table = format!("{}.{table}", self.database.schema());
        let said = &status["gap_safety"][&table];
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        (text("gap_safety"), text("reason"))
    }
}

/// A number in the row after a change.
fn number(event: &Event, column: &str) -> i64 {
    event.after()[column]
        .as_i64()
        .ok_or_else(|| format!("{column} in {event}"))
        .unwrap()
}

/// Numbers in the rows after changes.
fn numbers(events: &[Event], column: &str) -> Vec<i64> {
    events.iter().map(|event| number(event, column)).collect()
}

/// What is published twice must be the same row under the same id, and of each id there is one row.
fn by_event_id(events: &[Event]) -> BTreeMap<String, Value> {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for event in events {
        let before = known.insert(event.event_id().to_owned(), event.after());
        assert!(before.is_none_or(|before| before == event.after()), "{event}");
    }
    known
}

/// The number that a query gives.
async fn count(database: &Database, query: &str) -> u64 {
    database.query_value(query).await.unwrap().parse().unwrap()
}
