//! A value of every type through a stream into databases of other kinds, whose tables the sinks make: `tests/transcripts/types/` shows what
//! becomes of each.
//!
//! Each value has a table of its own, so that one that is refused takes no other with it.

mod document;
mod place;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tailrace_codec::RecordReader;
use tailrace_codec::registry::{ConfluentRegistry, ConfluentRegistryConfig};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

use self::document::{Arrived, Row, compare};
use self::place::{COLUMN, Place};
use super::DEADLINE;
use crate::vectors::mysql::SESSION;
use crate::vectors::{self, EXTENSIONS};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts/types");

/// What topics are called.
const TOPIC: &str = "types.{table}";

/// Types of SQLite, and values that it keeps in such columns.
const SQLITE: [(&str, &[&str]); 14] = [
    ("INTEGER", &["1", "9223372036854775807", "-9223372036854775808"]),
    ("REAL", &["0.1", "3", "5e-324", "1.7976931348623157e308", "9e999"]),
    ("DECIMAL(10,2)", &["12345678.9", "-0.01", "1"]),
    ("NUMERIC", &["0.1", "123456789012345", "9e99"]),
    ("BOOLEAN", &["1", "0"]),
    ("TEXT", &["'007'", "'žluťoučký 🐎'", "''", "'a' || char(0) || 'b'", "5"]),
    ("VARCHAR(3)", &["'longer than three'"]),
    ("STRING", &["'abc'", "7", "x'00ff'"]),
    ("BLOB", &["x'00ff80'", "x''", "'text'"]),
    ("DATE", &["'2024-02-29'", "'0000-01-01'", "'9999-12-31'"]),
    ("TIME", &["'10:00:00'", "'23:59:59.999999'"]),
    (
        "DATETIME",
        &[
            "'2024-02-29 10:00:00.123456'",
            "'1969-12-31T23:59:59Z'",
            "1700000000",
            "'9999-12-31 23:59:59.999999'",
        ],
    ),
    ("JSON", &["'{\"b\": [1, 2.50], \"a\": null}'", "'\"x\"'", "12"]),
    ("", &["'abc'", "1.5"]),
];

/// A value: its type, how it is written, and what the writing session says first.
struct Sample {
    data_type: String,
    literal: String,
    session: String,
}

/// A source, a daemon, and mirrors of its tables in other databases.
struct Pairs {
    source: Place,
    targets: Vec<Place>,
    daemon: Daemon,
    /// The source's connector.
    name: String,
    samples: Vec<Sample>,
}

// === impl Pairs ===

impl Pairs {
    /// Tables are made, and the daemon is started. `reads` is the `source` section.
    async fn start(source: Place, name: &str, reads: &str, samples: Vec<Sample>) -> Self {
        let daemon = Daemon::new("").unwrap();
        let targets = match source.title() {
            "PostgreSQL" => vec![
                server(MySqlVersion::MySql97).await,
                server(MySqlVersion::MariaDb1011).await,
                file(&daemon),
            ],
            "SQLite" => vec![
                server(PostgresVersion::V17).await,
                server(MySqlVersion::MySql97).await,
                server(MySqlVersion::MariaDb1011).await,
            ],
            "MySQL" => vec![
                server(PostgresVersion::V17).await,
                server(MySqlVersion::MariaDb1011).await,
                file(&daemon),
            ],
            _ => vec![
                server(PostgresVersion::V17).await,
                server(MySqlVersion::MySql97).await,
                file(&daemon),
            ],
        };
        for (number, sample) in samples.iter().enumerate() {
            let Sample {
                data_type,
                literal,
                session,
            } = sample;
            let statements = format!(
                "{session} create table t{number} (id int primary key, {COLUMN} {data_type}); insert into t{number} values (1, {literal})"
            );
            source.execute(&statements).await.unwrap();
        }
        let mut sections = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
             {name}: {{ stream: events, topic: \"{TOPIC}\", format: {{ codec: avro }}, source: {{ {reads} }}, dead_letters: {{ policy: store }} }}\n",
            daemon.path().join("events").display()
        );
        for target in &targets {
            sections += &format!(
                "  {}: {{ stream: events, topics: [\"types.*\"], sink: {{ {}, evolve: add }}, dead_letters: {{ policy: store }} }}\n",
                mirror(target),
                target.sink()
            );
        }
        daemon.configure(&sections).unwrap();
        daemon.start().unwrap();
        Self {
            source,
            targets,
            daemon,
            name: name.to_owned(),
            samples,
        }
    }

    /// What a connector says of tables whose row it does not carry.
    fn refusals(&self, connector: &str) -> BTreeMap<String, String> {
        let answer = self.daemon.get(&format!("/connectors/{connector}/dead_letters"));
        let listing: Value = serde_json::from_str(&answer.unwrap().body).unwrap();
        let letters = listing["letters"].as_array().cloned().unwrap_or_default();
        let refusal = |letter: Value| {
            let table = letter["table"].as_str()?.rsplit('.').next()?.to_owned();
            Some((table, letter["reason"].as_str()?.to_owned()))
        };
        letters.into_iter().filter_map(refusal).collect()
    }

    /// Waits until every value is there or refused.
    async fn settle(&self) {
        for target in &self.targets {
            let what = format!("every value in {}", target.title());
            let settled = eventually(&what, DEADLINE, || async {
                let written = target.rows(&target.tables().await?).await?;
                let connectors = [self.name.as_str(), mirror(target)];
                let mut is_halted = false;
                for connector in connectors {
                    is_halted |= self.daemon.connector(connector)?["state"] == "halted";
                }
                let refused: usize = connectors.map(|connector| self.refusals(connector).len()).iter().sum();
                let is_done = written + refused >= self.samples.len();
                Ok((is_done || is_halted).then_some(is_done))
            });
            let settled = settled.await;
            assert!(
                matches!(settled, Ok(true)),
                "{settled:?} {}\n{}",
                self.daemon.get("/status").unwrap().body,
                self.daemon.newest_log()
            );
        }
    }

    /// The event's field: its type in the contract, and its value.
    async fn event(&self, table: &str) -> String {
        let topic = TOPIC.replace("{table}", table);
        let published = Published::File(self.daemon.path().join("events"));
        let events = published.events(&topic).await.unwrap();
        let config = serde_json::json!({ "url": self.daemon.url() });
        let config: ConfluentRegistryConfig = serde_json::from_value(config).unwrap();
        let mut reader = RecordReader::new(Arc::new(ConfluentRegistry::new(&config).unwrap()));
        let value = reader.read(events[0].value.as_deref().unwrap()).await.unwrap().unwrap();
        let row: Value = serde_json::from_str(&value).unwrap();
        let latest = self
            .daemon
            .get(&format!("/subjects/{topic}-value/versions/latest/schema"));
        let schema: Value = serde_json::from_str(&latest.unwrap().body).unwrap();
        let fields = schema["fields"].as_array().cloned().unwrap_or_default();
        let field = fields.into_iter().find(|field| field["name"] == COLUMN).unwrap();
        format!("{} {}", avro_type(&field["type"]), row[COLUMN])
    }

    async fn rows(&self) -> Vec<Row> {
        let (mut tables, mut refusals) = (Vec::new(), Vec::new());
        for target in &self.targets {
            tables.push(BTreeMap::from_iter(target.tables().await.unwrap()));
            refusals.push(self.refusals(mirror(target)));
        }
        let types = BTreeMap::from_iter(self.source.tables().await.unwrap());
        let unpublished = self.refusals(&self.name);
        let mut rows = Vec::new();
        for (number, sample) in self.samples.iter().enumerate() {
            let table = format!("t{number}");
            let original = self.source.value(&table, &types[&table]).await.unwrap().unwrap();
            let mut arrived = Vec::new();
            if let Some(refusal) = unpublished.get(&table) {
                let published = [sample.data_type.clone(), original, "refused".to_owned()];
                arrived.extend(self.targets.iter().map(|_| Arrived::NotPublished(refusal.clone())));
                rows.push(Row { published, arrived });
                continue;
            }
            for ((target, tables), refusals) in self.targets.iter().zip(&tables).zip(&refusals) {
                if let Some(refusal) = refusals.get(&table) {
                    arrived.push(Arrived::Refused(refusal.clone()));
                    continue;
                }
                let data_type = tables.get(&table).cloned();
                let data_type = data_type
                    .ok_or_else(|| format!("{table} is not in {}", target.title()))
                    .unwrap();
                arrived.push(Arrived::Written {
                    value: target.value(&table, &data_type).await.unwrap().unwrap(),
                    data_type,
                });
            }
            let published = [sample.data_type.clone(), original, self.event(&table).await];
            rows.push(Row { published, arrived });
        }
        rows
    }

    async fn are_as_reviewed(self, file: &str) {
        self.settle().await;
        let titles: Vec<&str> = self.targets.iter().map(Place::title).collect();
        let outcome = compare(&Path::new(FOLDER).join(file), &titles, &self.rows().await);
        let differences = outcome.err().unwrap_or_default();
        assert!(differences.is_empty(), "{differences}");
    }
}

/// A type of Avro in a few words.
fn avro_type(schema: &Value) -> String {
    match schema {
        Value::String(name) => name.clone(),
        Value::Array(branches) => {
            let others = branches.iter().filter(|branch| *branch != "null");
            others.map(avro_type).collect::<Vec<_>>().join(" or ")
        }
        other => {
            let text = |name: &str| other[name].as_str().unwrap_or_default().to_owned();
            match (text("logicalType").as_str(), text("type").as_str()) {
                ("decimal", _) => format!("decimal({},{})", other["precision"], other["scale"]),
                ("", "array") => format!("array of {}", avro_type(&other["items"])),
                ("", "map") => format!("map of {}", avro_type(&other["values"])),
                ("", "enum") => "enum".to_owned(),
                ("", "record" | "fixed") => text("name").rsplit('.').next().unwrap_or_default().to_owned(),
                ("", kind) => match text("connect.name").rsplit('.').next().unwrap_or_default() {
                    "" => kind.to_owned(),
                    name => name.to_owned(),
                },
                (logical, _) => logical.to_owned(),
            }
        }
    }
}

async fn server(version: impl Into<tailrace_tests::database::Version>) -> Place {
    Place::Server(Database::shared(version).await.unwrap())
}

fn file(daemon: &Daemon) -> Place {
    let path = daemon.path().join("target.db");
    std::fs::write(&path, b"").unwrap();
    Place::File(path)
}

fn mirror(target: &Place) -> &'static str {
    match target.title() {
        "PostgreSQL" => "into_postgres",
        "MySQL" => "into_mysql",
        "MariaDB" => "into_mariadb",
        _ => "into_sqlite",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_postgres_elsewhere() {
    let database = Database::shared(PostgresVersion::V15).await.unwrap();
    for extension in EXTENSIONS {
        database
            .execute(&format!("create extension \"{extension}\""))
            .await
            .unwrap();
    }
    database.execute(vectors::TYPES).await.unwrap();
    let samples = vectors::distinct_samples();
    let samples = samples.into_iter().map(|(data_type, literal)| Sample {
        data_type: data_type.to_owned(),
        literal: literal.to_owned(),
        session: String::new(),
    });
    let reads = format!("type: postgres, url: \"{}\", tables: [\"public.t*\"]", database.url());
    let name = database.name().to_owned();
    let pairs = Pairs::start(Place::Server(database), &name, &reads, samples.collect()).await;
    pairs.are_as_reviewed("postgres.md").await;
}

async fn values_of(version: MySqlVersion, file: &str) {
    let database = Database::shared(version).await.unwrap();
    let mut samples = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for ((_, setting, session), vectors) in vectors::mysql::vectors(version) {
        for vector in vectors.into_iter().filter(|_| setting.is_empty()) {
            let is_default = vector.literal == vectors::DEFAULT;
            if !is_default && seen.insert((vector.data_type, vector.literal)) {
                samples.push((
                    vector.id,
                    Sample {
                        data_type: vector.data_type.to_owned(),
                        literal: vector.literal.to_owned(),
                        session: format!("{SESSION} {session};").replace(" ;", ""),
                    },
                ));
            }
        }
    }
    let samples = samples.into_iter().map(|(_, sample)| sample).collect();
    let reads = format!(
        "type: {}, url: \"{}\", tables: [\"{}.t*\"]",
        version.connector_type(),
        database.url(),
        database.name()
    );
    let name = database.name().to_owned();
    let pairs = Pairs::start(Place::Server(database), &name, &reads, samples).await;
    pairs.are_as_reviewed(file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_mysql_elsewhere() {
    values_of(MySqlVersion::MySql97, "mysql.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_mariadb_elsewhere() {
    values_of(MySqlVersion::MariaDb1011, "mariadb.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_file_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source.db");
    std::fs::write(&path, b"").unwrap();
    let samples = SQLITE.iter().flat_map(|(data_type, literals)| {
        literals.iter().map(|literal| Sample {
            data_type: (*data_type).to_owned(),
            literal: (*literal).to_owned(),
            session: String::new(),
        })
    });
    let reads = format!(
        "type: sqlite, path: \"{}\", tables: [\"t*\"], query: {{ mode: bulk, poll_interval_ms: 3600000 }}",
        path.display()
    );
    let pairs = Pairs::start(Place::File(path), "shop", &reads, samples.collect()).await;
    pairs.are_as_reviewed("sqlite.md").await;
}
