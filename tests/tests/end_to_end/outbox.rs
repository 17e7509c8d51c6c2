//! Outbox tables, on each database and read in each way.
//!
//! | module | what it asks |
//! |---|---|
//! | `events` | are the events what the rows say, and the same from the log and from queries? |
//! | `bad_rows` | what becomes of rows that are no events, of updates and of deletes? |
//! | `contracts` | does the database itself refuse what breaks a contract? |

mod bad_rows;
mod contracts;
mod events;
mod traces;

use std::path::PathBuf;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tailrace_tests::daemon::{Daemon, Printed, run_binary};
use tailrace_tests::database::{Database, Version};
use tailrace_tests::events::Event;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, Result, ServerError, eventually};

/// As the daemon's own: everything is quick, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(90);

/// Where an outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Server(Version),
    Sqlite,
}

/// The databases that an outbox may be in.
const PLACES: [Place; 4] = [
    Place::Server(Version::Postgres(PostgresVersion::V17)),
    Place::Server(Version::MySql(MySqlVersion::MySql97)),
    Place::Server(Version::MySql(MySqlVersion::MariaDb1011)),
    Place::Sqlite,
];

/// A database with an outbox, and a daemon that has the events in files.
struct Outbox {
    place: Place,
    database: Option<Database>,
    daemon: Daemon,
}

// === impl Place ===

impl Place {
    /// As `--database` has it.
    fn name(self) -> &'static str {
        match self {
            Place::Server(Version::Postgres(_)) => "postgres",
            Place::Server(Version::MySql(version)) => version.connector_type(),
            Place::Sqlite => "sqlite",
        }
    }
}

// === impl Outbox ===

impl Outbox {
    /// A new database without an outbox.
    async fn at(place: Place) -> Outbox {
        let database = match place {
            Place::Server(version) => Some(Database::shared(version).await.unwrap()),
            Place::Sqlite => None,
        };
        let outbox = Outbox {
            place,
            database,
            daemon: Daemon::new("").unwrap(),
        };
        if place == Place::Sqlite {
            let options = SqliteConnectOptions::new()
                .filename(outbox.file())
                .create_if_missing(true);
            options.connect().await.unwrap().close().await.unwrap();
        }
        outbox
    }

    /// A new database with the table that `tailrace outbox install` makes.
    async fn installed_at(place: Place) -> Outbox {
        let outbox = Outbox::at(place).await;
        let printed = outbox.install(&[]);
        assert_eq!(printed.code, Some(0), "{}", printed.all());
        outbox
    }

    fn file(&self) -> PathBuf {
        self.daemon.path().join("shop.db")
    }

    fn name(&self) -> &str {
        self.database.as_ref().map_or("shop", Database::name)
    }

    /// Installs the outbox in the database, with further arguments.
    fn install(&self, more: &[&str]) -> Printed {
        let file = self.file().display().to_string();
        let url = self.database.as_ref().map_or(file, Database::url);
        let table = match self.place {
            Place::Server(Version::MySql(_)) => format!("{}.outbox", self.name()),
            _ => "outbox".to_owned(),
        };
        let mut all = vec!["outbox", "install", "--database", self.place.name(), "--table", &table];
        all.extend(["--apply", "--url", &url]);
        all.extend(more);
        run_binary(&all, self.daemon.path(), &[]).unwrap()
    }

    /// Configures the connector: `query` are the insides of that key, of which the log has none; `outbox` those of that.
    fn configure(&self, query: Option<&str>, outbox: &str) {
        self.configure_source(query, "", outbox);
    }

    /// As [`Outbox::configure`], with a further line of the source.
    fn configure_source(&self, query: Option<&str>, more: &str, outbox: &str) {
        let (source, tables) = match &self.database {
            Some(database) => (database.source(None), database.patterns("[public.*]")),
            None => (
                format!("type: sqlite\npath: \"{}\"\n", self.file().display()),
                "[\"*\"]".to_owned(),
            ),
        };
        let query = query.map_or_else(String::new, |query| {
            format!("query: {{ poll_interval_ms: 20, {query} }}\n")
        });
        // What is told to a server's log is not told to a polled one.
        let lines = source
            .lines()
            .filter(|line| query.is_empty() || !line.contains("interval_ms"));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        let source: String = format!("{lines}tables: {tables}\n{query}{more}\n")
            .lines()
            .map(|line| format!("      {line}\n"))
            .collect();
        let sections = format!(
            "streams:\n  events: {{ type: file, path: \"{}\" }}\nconnectors:\n  {}:\n    stream: events\n    \
             outbox: {{ {outbox} }}\n    source:\n{source}",
            self.daemon.path().join("events").display(),
            self.name(),
        );
        self.daemon.configure(&sections).unwrap();
    }

    /// As [`Outbox::configure`], with what is done with rows that are no events.
    fn configure_letters(&self, query: Option<&str>, outbox: &str, letters: &str) {
        self.configure(query, outbox);
        let text = std::fs::read_to_string(self.daemon.config_file()).unwrap();
        let (_, sections) = text.split_once("streams:").unwrap();
        let letters = format!("    dead_letters: {{ {letters} }}\n    outbox:");
        let sections = format!("streams:{}", sections.replace("    outbox:", &letters));
        self.daemon.configure(&sections).unwrap();
    }

    fn start(&self) {
        self.daemon.start().unwrap();
        self.daemon.wait_for_state(self.name(), "streaming").unwrap();
    }

    /// Runs statements; in PostgreSQL they are one transaction.
    async fn execute(&self, statements: &str) -> Result<()> {
        if let Some(database) = &self.database {
            return database.execute(statements).await;
        }
        let failed = |error: sqlx::Error| ServerError::new(error.to_string());
        let options = SqliteConnectOptions::new().filename(self.file());
        let mut connection = options.connect().await.map_err(failed)?;
        let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await;
        done.map_err(failed)?;
        connection.close().await.map_err(failed)
    }

    /// All events of topics so far, one topic behind the other, each in its order.
    async fn events(&self, topics: &[&str]) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for topic in topics {
            let stream = Published::File(self.daemon.path().join("events"));
            events.extend(stream.events(topic).await?);
        }
        Ok(events)
    }

    /// Waits until topics have so many events, and gives them.
    async fn wait_for_events(&self, topics: &[&str], count: usize) -> Vec<Event> {
        let what = format!("{count} events in {topics:?}");
        let found = eventually(&what, DEADLINE, || async {
            let events = self.events(topics).await?;
            Ok((events.len() >= count).then_some(events))
        });
        let found = found
            .await
            .map_err(|error| self.daemon.with_status(self.name(), &error));
        found.unwrap()
    }

    /// Waits until a row that is inserted now has come, and gives the number of events before it.
    async fn events_so_far(&self, topics: &[&str]) -> Vec<Event> {
        let before = self.events(&["outbox.event.End"]).await.unwrap().len();
        self.execute(&row(900 + before, "End", "0", "null")).await.unwrap();
        self.wait_for_events(&["outbox.event.End"], before + 1).await;
        self.events(topics).await.unwrap()
    }
}

/// The statement for an event of this number: kind of aggregate, key and payload as SQL.
fn row(number: usize, aggregate: &str, key: &str, payload: &str) -> String {
    format!(
        "insert into outbox (id, aggregatetype, aggregateid, type, payload, headers, created_at) values \
         ('{}', '{aggregate}', '{key}', '{aggregate}Changed', {payload}, '{{\"trace\": \"t{number}\", \"n\": {number}}}', \
         '2026-03-01 08:30:00.{number:06}');\n",
        id(number)
    )
}

fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// An event, as far as it does not depend on how it was read.
fn told(event: &Event) -> String {
    let text = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        bytes.unwrap_or_else(|| "nothing".to_owned())
    };
    let header = |name| event.header(name);
    format!(
        "{} {} {} id={} event_id={} op={} type={} trace={} n={} {}",
        text(&event.key),
        text(&event.value),
        event.timestamp_ms,
        header("id"),
        header("event_id"),
        header("op"),
        header("type"),
        header("trace"),
        header("n"),
        header("updated_at")
    )
}
