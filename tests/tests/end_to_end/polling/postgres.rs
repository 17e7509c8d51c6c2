//! PostgreSQL, polled.
//!
//! | module | what it asks |
//! |---|---|
//! | `identity` | is progress carried over to another server, another database, another way of reading? |
//! | `late` | do rows come that commit long after others with higher ids, and is refused what cannot be known? |
//! | `pages` | many rows of one time, soft deletes, queries, tables that are altered, values of every type |
//! | `queues` | is each row published before it is deleted or marked, whatever happens between? |
//! | `preflight` | does `check` say what is wrong, and how to mend it? |
//! | `standby` | is a row seen that a standby replays late? |
//! | `twins` | who reads when two daemons share a queue? |

mod identity;
mod late;
mod pages;
mod preflight;
mod queues;
mod standby;
mod twins;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{PostgresVersion, Result, ServerError, eventually};

/// As the daemon's own: everything is quick, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

/// Inside of `format`, unless a test wants another.
const ENVELOPE: &str = "envelope: debezium";

/// A database whose tables a daemon polls into files.
pub(super) struct Polled {
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
    pub(super) fn prepare_as(database: Database, url: &str, format: &str, source: &str) -> Polled {
        let polled = Polled {
            daemon: Daemon::new("").unwrap(),
            database,
        };
        polled.daemon.configure(&polled.sections(url, format, source)).unwrap();
        polled
    }

    /// Another configuration of the source, for the next start.
    pub(super) fn configure(&self, source: &str) {
        self.configure_at(&self.database.url(), source);
    }

    /// As [`Polled::configure`], with another URL.
    pub(super) fn configure_at(&self, url: &str, source: &str) {
        self.daemon.configure(&self.sections(url, ENVELOPE, source)).unwrap();
    }

    fn sections(&self, url: &str, format: &str, source: &str) -> String {
        let lines: String = source.lines().map(|line| format!("      {line}\n")).collect();
        format!(
            "streams:\n  events: {{ type: file, path: \"{}\" }}\nconnectors:\n  {}:\n    stream: events\n    format: {{ {format} }}\n    \
             source:\n      type: postgres\n      url: \"{url}\"\n{lines}",
            self.daemon.path().join("events").display(),
            self.database.name(),
        )
    }

    /// Started, and past the first load.
    pub(super) fn start(database: Database, source: &str) -> Polled {
        let polled = Polled::prepare(database, source);
        polled.start_again();
        polled
    }

    pub(super) fn start_again(&self) {
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
    pub(super) async fn wait_for_events(&self, table: &str, count: usize) -> Vec<Event> {
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
}

/// A number in the row after a change.
pub(super) fn number(event: &Event, column: &str) -> i64 {
    event.after()[column]
        .as_i64()
        .ok_or_else(|| format!("{column} in {event}"))
        .unwrap()
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

/// A role that may only do this, and the URL that it connects with.
pub(super) async fn role_with(database: &Database, grants: &str) -> String {
    let role = format!("reader_{}", database.name());
    let statements = format!("create role {role} login; {}", grants.replace("ROLE", &role));
    database.execute(&statements).await.unwrap();
    database.postgres().unwrap().url_as(&role, database.name())
}

/// A new database on the shared server of the usual version, with these tables in it.
pub(super) async fn database_with(statements: &str) -> Database {
    let database = Database::shared(PostgresVersion::V17).await.unwrap();
    database.execute(statements).await.unwrap();
    database
}

/// The number that a query gives.
pub(super) async fn count(database: &Database, query: &str) -> Result<u64> {
    let text = database.query_value(query).await?;
    text.parse()
        .map_err(|error| ServerError::new(format!("{text} from {query}: {error}")))
}
