//! MySQL and MariaDB, polled.
//!
//! | module | what it asks |
//! |---|---|
//! | `late` | do rows come that commit long after others with higher ids, and is refused what cannot be known? |
//! | `pages` | many rows of one time, ids of other types, soft deletes, queries, tables that are altered |
//! | `queues` | is each row published before it is deleted or marked, whatever happens between? |
//! | `preflight` | does `check` say what is wrong, and how to mend it? |
//!
//! Values of every type are asked of in `crate::vectors`, beside those of a snapshot and of the log.

mod late;
mod pages;
mod preflight;
mod queues;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, Result, eventually};

/// As the daemon's own: everything is quick, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

/// Inside of `format`, unless a test wants another.
const ENVELOPE: &str = "envelope: debezium";

/// A database whose tables a daemon polls into files.
pub(crate) struct Polled {
    pub(super) database: Database,
    pub(super) daemon: Daemon,
}

impl Polled {
    /// Configured and not started: `source` are further lines of the source, with `tables` and `query`.
    pub(super) fn prepare(database: Database, source: &str) -> Polled {
        let url = database.url();
        Polled::prepare_at(database, &url, source)
    }

    /// As [`Polled::prepare`], through this URL.
    pub(super) fn prepare_at(database: Database, url: &str, source: &str) -> Polled {
        Polled::prepare_as(database, url, ENVELOPE, source)
    }

    /// As [`Polled::prepare_at`], published in this format.
    pub(crate) fn prepare_as(database: Database, url: &str, format: &str, source: &str) -> Polled {
        let polled = Polled {
            daemon: Daemon::new("").unwrap(),
            database,
        };
        polled.configure_at(url, format, source);
        polled
    }

    /// Another configuration of the source, for the next start.
    pub(super) fn configure(&self, source: &str) {
        self.configure_at(&self.database.url(), ENVELOPE, source);
    }

    /// As [`Polled::configure`], through this URL.
    pub(super) fn configure_at(&self, url: &str, format: &str, source: &str) {
        let source = source.replace("public", self.database.schema());
        let lines: String = source.lines().map(|line| format!("      {line}\n")).collect();
        let sections = format!(
            "streams:\n  events: {{ type: file, path: \"{}\" }}\nconnectors:\n  {}:\n    stream: events\n    format: {{ {format} }}\n    \
             source:\n      type: {}\n      url: \"{url}\"\n{lines}",
            self.daemon.path().join("events").display(),
            self.database.name(),
            self.database.mysql().unwrap().version().connector_type(),
        );
        self.daemon.configure(&sections).unwrap();
    }

    /// Started, and past the first load.
    pub(super) fn start(database: Database, source: &str) -> Polled {
        let polled = Polled::prepare(database, source);
        polled.start_again();
        polled
    }

    pub(crate) fn start_again(&self) {
        self.daemon.start().unwrap();
        self.wait_for("streaming");
    }

    pub(super) fn wait_for(&self, state: &str) {
        self.daemon.wait_for_state(self.database.name(), state).unwrap();
    }

    /// All events of a table so far, in order.
    pub(super) async fn events(&self, table: &str) -> Vec<Event> {
        self.events_of_topic(&self.database.topic(table)).await.unwrap()
    }

    /// All events of a topic so far, in order.
    pub(super) async fn events_of_topic(&self, topic: &str) -> Result<Vec<Event>> {
        Published::File(self.daemon.path().join("events")).events(topic).await
    }

    /// Waits until a table has so many events, and gives them.
    pub(crate) async fn wait_for_events(&self, table: &str, count: usize) -> Vec<Event> {
        self.wait_for_topic(&self.database.topic(table), count).await
    }

    /// Waits until a topic has so many events, and gives them.
    pub(super) async fn wait_for_topic(&self, topic: &str, count: usize) -> Vec<Event> {
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
    pub(super) fn wait_for_notice(&self, code: &str) -> String {
        let status = self
            .daemon
            .wait_for(self.database.name(), &format!("the notice {code}"), |status| {
                !status["notices"][code].is_null()
            });
        status.unwrap()["notices"][code].to_string()
    }

    /// Waits until the cursor of a table is at this id or behind it: nothing more will come that was there by then.
    pub(super) fn wait_for_id(&self, table: &str, id: u64) {
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
    pub(super) fn gap_safety(&self, table: &str) -> (String, String) {
        let status = self.daemon.connector(self.database.name()).unwrap();
        let table = format!("{}.{table}", self.database.schema());
        let said = &status["gap_safety"][&table];
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        (text("gap_safety"), text("reason"))
    }
}

/// A server of the test's own on which writers can be seen, and a database there with these tables.
pub(super) async fn with_visible_writers(version: MySqlVersion, tables: &str) -> Database {
    let options = MySqlOptions::version(version).visible_writers();
    let database = Database::own(options).await.unwrap();
    database.execute(tables).await.unwrap();
    database
}

/// A number in the row after a change.
pub(super) fn number(event: &Event, column: &str) -> i64 {
    event.after()[column]
        .as_i64()
        .ok_or_else(|| format!("{column} in {event}"))
        .unwrap()
}

/// Numbers in the rows after changes.
pub(super) fn numbers(events: &[Event], column: &str) -> Vec<i64> {
    events.iter().map(|event| number(event, column)).collect()
}

/// The number that a query gives.
pub(super) async fn count(database: &Database, query: &str) -> u64 {
    database.query_value(query).await.unwrap().parse().unwrap()
}

/// What is published twice must be the same row under the same id, and of each id there is one row.
pub(super) fn by_event_id(events: &[Event]) -> BTreeMap<String, Value> {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for event in events {
        let before = known.insert(event.event_id().to_owned(), event.after());
        assert!(before.is_none_or(|before| before == event.after()), "{event}");
    }
    known
}

/// A user that may only do this, and the URL that it connects with. `USER` is its name in the statements, and `public` the database.
pub(super) async fn user_with(database: &Database, rights: &[&str]) -> (String, String) {
    let user = format!("reader_{}", database.name());
    database.execute(&format!("create user {user}")).await.unwrap();
    for right in rights {
        let right = right.replace("public", database.schema());
        database.execute(&format!("grant {right} to {user}")).await.unwrap();
    }
    let url = database.mysql().unwrap().url_as(&user);
    (user, url)
}
