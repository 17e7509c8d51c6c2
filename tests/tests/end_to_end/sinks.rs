//! Streams back into databases: a source's tables are mirrored in a target by the same daemon, and at the end both hold the same rows.
//!
//! Beside the mirror, a history keeps every event as a row of its own, whose key is the event's place in the stream: what is written
//! twice would meet its own key and halt the connector, and what is lost is missing in the count.

mod crashes;
mod debezium;
mod examples;
mod modes;
mod mysql;
mod pairs;
mod preflight;
mod records;
mod sqlite;
mod trouble;
mod two_way;
mod values;
mod writing;
mod zombies;

use std::collections::BTreeSet;
use std::time::Duration;

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::events::Event;
use tailrace_tests::scenario::{Options, Scenario};
use tailrace_tests::servers::eventually;
use tailrace_tests::workload::TABLES;

/// Everything that was carried is written soon, on a machine that is not busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// A source whose tables are mirrored in a target.
pub(crate) struct Mirror {
    pub(crate) scenario: Scenario,
    pub(crate) target: Database,
}

/// The `sink` section of a database.
pub(crate) fn sink(target: &Database, url: Option<&str>) -> String {
    let url = url.map_or_else(|| target.url(), str::to_owned);
    match target.mysql() {
        Err(_) => format!("type: postgres, url: \"{url}\""),
        // What the URL of a source may not name, that of a sink must.
        Ok(server) => format!(
            "type: {}, url: \"{url}{}\"",
            server.version().connector_type(),
            target.name()
        ),
    }
}

/// The connectors that mirror a source, and keep its history.
pub(crate) fn connectors(source: &Database, sink: &str) -> String {
    let topics = format!("topics: [\"{}\"]", source.topic("*"));
    let letters = "dead_letters: { policy: halt }";
    let mirror = format!("mirror: {{ stream: events, {topics}, sink: {{ {sink}, evolve: add }}, {letters} }}\n");
    let table = "{table}_history";
    let history = format!(
        "history: {{ stream: events, {topics}, sink: {{ {sink}, evolve: add, mode: append, table: \"{table}\" }}, {letters} }}\n"
    );
    mirror + &history
}

impl Mirror {
    /// Nothing is started.
    pub(crate) async fn new(mut options: Options, target: impl Into<Version>) -> Self {
        let source = Database::shared(options.version).await.unwrap();
        let target = Database::shared(target).await.unwrap();
        options.connectors = connectors(&source, &sink(&target, None));
        // Tables are made of what events say of themselves.
        options.codec = "avro";
        let scenario = Scenario::on(source, options).await.unwrap();
        Self { scenario, target }
    }

    /// The end: the source's rows are the target's, and every event is in the history once.
    pub(crate) async fn ends_well(self) {
        let daemon = ends_well(self.scenario, &self.target).await;
        for connector in ["mirror", "history"] {
            assert_eq!(daemon.state(connector).unwrap(), "streaming", "{}", daemon.log());
        }
    }
}

/// Waits until the source's rows are the target's, and every event is in the history once.
async fn ends_well(scenario: Scenario, target: &Database) -> Daemon {
    scenario.commit(20).await.unwrap();
    let (source, daemon, options) = scenario.quiet().await.unwrap();
    let published = options.published(&daemon).unwrap();
    for (table, _) in TABLES {
        same_rows(&source, target, table, &daemon).await;
        let events = published.events(&source.topic(table)).await.unwrap();
        let repeated = events.iter().filter(|event| repeats_delete(event, &events)).count();
        has_rows(target, &format!("{table}_history"), events.len() - repeated, &daemon).await;
    }
    daemon
}

/// A tombstone right behind the delete of its key, which says nothing new.
fn repeats_delete(event: &Event, events: &[Event]) -> bool {
    let is_before = |other: &&Event| other.partition == event.partition && other.offset + 1 == event.offset;
    let deletes = |before: &Event| before.key == event.key && before.value.is_some() && before.operation() == "d";
    event.value.is_none() && events.iter().find(is_before).is_some_and(deletes)
}

/// Waits until two databases have the same rows in a table.
pub(crate) async fn same_rows(source: &Database, target: &Database, table: &str, daemon: &Daemon) {
    let rows = |database: &Database| {
        let database = database.clone();
        async move {
            let rows = database.rows(table).await?;
            let sorted: BTreeSet<String> = rows
                .into_iter()
                .map(|row| serde_json::Value::Object(row).to_string())
                .collect();
            Ok(sorted)
        }
    };
    let what = format!("the same rows of {table}");
    let same = eventually(&what, DEADLINE, || async {
        // The table may not be there yet, or never where nothing happened to it.
        let there = rows(target).await.unwrap_or_default();
        Ok((rows(source).await? == there).then_some(()))
    });
    let same = same.await;
    if let Err(error) = &same {
        let (wanted, found) = (rows(source).await.unwrap(), rows(target).await.unwrap_or_default());
        let missing: Vec<_> = wanted.difference(&found).take(5).map(|row| shortened(row)).collect();
        let extra: Vec<_> = found.difference(&wanted).take(5).map(|row| shortened(row)).collect();
        assert!(
            same.is_ok(),
            "{error}\nmissing or otherwise: {missing:#?}\nin the target: {extra:#?}\n{}\n{}",
            daemon.get("/status").unwrap().body,
            daemon.log()
        );
    }
}

fn shortened(row: &str) -> String {
    row.chars().take(160).collect()
}

/// Waits until a table has so many rows.
pub(crate) async fn has_rows(target: &Database, table: &str, wanted: usize, daemon: &Daemon) {
    let what = format!("{wanted} rows of {table}");
    let query = format!("select count(*) from {table}");
    let counted = eventually(&what, DEADLINE, || async {
        let found = target.query_value(&query).await.unwrap_or_else(|_| "0".to_owned());
        Ok((found == wanted.to_string()).then_some(()))
    });
    let counted = counted.await;
    if let Err(error) = &counted {
        let found = target.query_value(&query).await;
        assert!(counted.is_ok(), "{error}; there are {found:?}\n{}", daemon.log());
    }
}
