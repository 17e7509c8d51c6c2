//! Events that cannot be carried: set aside, shown, replayed and dropped, on real databases, also when the daemon dies in between.
//!
//! | module | what it asks |
//! |---|---|
//! | `poison` | what becomes of values that the configured format cannot hold? |
//! | `deaths` | is an event ever in neither the stream nor the letters? |
//! | `people` | what do the command line and the HTTP endpoint say and do? |

mod deaths;
mod people;
mod poison;

use std::time::Duration;

use serde_json::Value;
use tailrace_tests::daemon::{Daemon, Printed};
use tailrace_tests::database::{Database, Version};
use tailrace_tests::events::Event;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

/// As the daemon's own.
const DEADLINE: Duration = Duration::from_secs(90);

const POSTGRES: Version = Version::Postgres(PostgresVersion::V17);
const MYSQL: Version = Version::MySql(MySqlVersion::MySql97);
const MARIADB: Version = Version::MySql(MySqlVersion::MariaDb1011);

/// A table of which some rows cannot be published, and a daemon that has the others in files.
struct Shop {
    database: Database,
    daemon: Daemon,
}

impl Shop {
    /// The table is there, and nothing is configured.
    async fn with(version: Version, table: &str) -> Shop {
        let shop = Shop {
            database: Database::shared(version).await.unwrap(),
            daemon: Daemon::new("").unwrap(),
        };
        shop.database.execute(table).await.unwrap();
        shop
    }

    fn name(&self) -> &str {
        self.database.name()
    }

    /// `format` and `letters` are the insides of those keys.
    fn configure(&self, format: &str, letters: &str) {
        let source = self.database.source(None);
        let source: String = source.lines().map(|line| format!("      {line}\n")).collect();
        let sections = format!(
            "streams:\n  events: {{ type: file, path: \"{}\" }}\nconnectors:\n  {}:\n    stream: events\n    format: {{ {format} }}\n    \
             dead_letters: {{ {letters} }}\n    source:\n{source}      tables: {}\n",
            self.daemon.path().join("events").display(),
            self.name(),
            self.database.patterns("[public.orders]"),
        );
        self.daemon.configure(&sections).unwrap();
    }

    fn start(&self) {
        self.daemon.start().unwrap();
        self.daemon.wait_for_state(self.name(), "streaming").unwrap();
    }

    async fn execute(&self, statements: &str) {
        self.database.execute(statements).await.unwrap();
    }

    async fn topic(&self, topic: &str) -> Vec<Event> {
        let stream = Published::File(self.daemon.path().join("events"));
        stream.events(topic).await.unwrap()
    }

    async fn orders(&self) -> Vec<Event> {
        self.topic(&self.database.topic("orders")).await
    }

    /// The ids of the events of orders, in their order; each only the first time.
    async fn ids(&self) -> Vec<i64> {
        let mut ids = Vec::new();
        for event in self.orders().await {
            let id = event.key_json()["id"].as_i64().unwrap();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// Waits until there are so many different ids.
    async fn wait_for_ids(&self, count: usize) -> Vec<i64> {
        let what = format!("{count} orders");
        let found = eventually(&what, DEADLINE, || async {
            let ids = self.ids().await;
            Ok((ids.len() >= count).then_some(ids))
        });
        let found = found.await;
        found
            .map_err(|error| self.daemon.with_status(self.name(), &error))
            .unwrap()
    }

    /// Waits until so many letters wait.
    fn wait_for_letters(&self, count: u64) -> Value {
        let is_so = |status: &Value| status["dead_letters"]["waiting"].as_u64() == Some(count);
        self.daemon
            .wait_for(self.name(), &format!("{count} dead letters"), is_so)
            .unwrap()
    }

    fn command(&self, command: &str, more: &[&str]) -> Printed {
        let mut arguments = vec![self.name()];
        arguments.extend(more);
        self.daemon.command(&format!("dlq {command}"), &arguments).unwrap()
    }

    /// What a command about letters prints, and its exit code.
    fn dlq(&self, command: &str, more: &[&str]) -> (String, Option<i32>) {
        let printed = self.command(command, more);
        (printed.all(), printed.code)
    }

    /// What a command about letters prints as JSON.
    fn json(&self, command: &str, more: &[&str]) -> Value {
        let printed = self.command(command, more);
        assert_eq!(printed.code, Some(0), "{}", printed.all());
        serde_json::from_str(&printed.stdout).unwrap()
    }

    /// The letters that wait, as `dlq list --json` shows them.
    fn letters(&self) -> Vec<Value> {
        let listing = self.json("list", &["--json"]);
        listing["letters"].as_array().unwrap().clone()
    }
}
