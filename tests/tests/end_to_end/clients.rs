//! What other people's clients read of events with schemas: Confluent's deserializers, of Python for Avro and JSON Schema and of Java
//! for Avro, over every key and value that stands in Kafka, by a registry of one's own and by the embedded one. What they give is
//! what the database itself says of its rows.

use std::time::Duration;

use serde_json::{Value, json};
use tailrace_tests::clients::{Framed, read_with_java, read_with_python};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, Record, Registry, poll_until, shared_kafka};

use crate::capture::{Wanted, connector, database_with};

const DEADLINE: Duration = Duration::from_secs(60);

/// What each registry is asked for: envelope, codec, and further options of the format. In the order of the expressions of a column.
const FORMATS: [(&str, &str, &str); 4] = [
    ("entity", "avro", ""),
    ("entity", "json_schema", ", binary: hex"),
    ("debezium", "avro", ", bigint_unsigned: precise"),
    (
        "debezium",
        "json_schema",
        ", decimal: string, binary: hex, bigint_unsigned: precise",
    ),
];

const SUBJECTS: [&str; 3] = ["topic", "record", "topic_record"];

/// A column of the table: what it holds, and how to ask for what clients see in it.
struct Column {
    name: &'static str,
    data_type: &'static str,
    literal: &'static str,
    expressions: [&'static str; FORMATS.len()],
}

/// One connector.
struct Published {
    name: String,
    /// Which of [`FORMATS`].
    format: usize,
    subjects: &'static str,
    embedded: bool,
}

/// A key or value, and what clients must make of it.
struct Expected {
    framed: Framed,
    debezium: bool,
    value: Value,
}

// === impl Column ===

fn columns(file: &'static str) -> Vec<Column> {
    let lines = file.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines.map(Column::parse).collect()
}

impl Column {
    fn parse(line: &'static str) -> Column {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, data_type, literal, first, others @ ..] = &fields[..] else {
            unreachable!("seven fields: {line}");
        };
        let mut expressions = [*first; FORMATS.len()];
        for (index, expression) in others.iter().enumerate() {
            expressions[index + 1] = match *expression {
                "\"" => expressions[index],
                own => own,
            };
        }
        Column {
            name,
            data_type,
            literal,
            expressions,
        }
    }
}

/// The table, with a row that has every value and one that has none.
fn table(columns: &[Column]) -> String {
    let declared: String = columns
        .iter()
        .map(|column| format!(", {} {}", column.name, column.data_type))
        .collect();
    let key = "id int, code varchar(9)";
    format!(
        "create table t ({key}{declared}, primary key (id, code)); {}; insert into t (id, code) values (2, 'b')",
        insert(columns, 1)
    )
}

fn insert(columns: &[Column], id: u32) -> String {
    let names: String = columns.iter().map(|column| format!(", {}", column.name)).collect();
    let values: String = columns.iter().map(|column| format!(", {}", column.literal)).collect();
    format!("insert into t (id, code{names}) values ({id}, 'a'{values})")
}

// === impl Published ===

/// Every format by either registry; subjects are named in turn.
fn connectors(database: &Database) -> Vec<Published> {
    let all = [false, true].into_iter().flat_map(|embedded| {
        let formats = 0..FORMATS.len();
        formats.map(move |format| (embedded, format))
    });
    let named = all.enumerate().map(|(index, (embedded, format))| Published {
        name: format!("{}_{index}", database.name()),
        format,
        subjects: SUBJECTS[index % SUBJECTS.len()],
        embedded,
    });
    named.collect()
}

impl Published {
    fn section(&self, database: &Database) -> String {
        let (envelope, codec, options) = FORMATS[self.format];
        let registry = if self.embedded { "" } else { ", registry: schemas" };
        let subjects = self.subjects;
        let wanted = Wanted {
            tables: "[public.t]",
            format: &format!("envelope: {envelope}, codec: {codec}, subjects: {subjects}{registry}{options}"),
            ..Wanted::default()
        };
        connector(database, &wanted).replacen(database.name(), &self.name, 1)
    }

    fn topic(&self, database: &Database) -> String {
        format!("{}.{}.t", self.name, database.schema())
    }

    /// What is published of two rows that are there, one that comes, one that changes and one that goes.
    fn expected(&self, database: &Database, before: &[Value], after: &[Value], records: &[Record]) -> Vec<Expected> {
        let rows = [&before[0], &before[1], &after[1], &after[0]];
        let debezium = FORMATS[self.format].0 == "debezium";
        let letters = ["r", "r", "c", "u"];
        let mut values: Vec<(u32, Option<Value>)> = Vec::new();
        for (row, letter) in rows.into_iter().zip(letters) {
            let id = u32::try_from(row["id"].as_u64().unwrap()).unwrap();
            let value = if debezium {
                json!({ "op": letter, "after": row })
            } else {
                row.clone()
            };
            values.push((id, Some(value)));
        }
        if debezium {
            values.push((2, Some(json!({ "op": "d", "after": null }))));
        }
        values.push((2, None));
        assert_eq!(records.len(), values.len(), "{}", self.name);
        let mut expected = Vec::new();
        for ((id, value), record) in values.into_iter().zip(records) {
            let code = if id == 2 { "b" } else { "a" };
            let key = json!({ "id": id, "code": code });
            expected.push(self.part(database, ("key", record.key.as_deref()), key, false));
            match value {
                Some(value) => expected.push(self.part(database, ("value", record.value.as_deref()), value, debezium)),
                None => assert_eq!(record.value, None, "a tombstone"),
            }
        }
        expected
    }

    fn part(
        &self,
        database: &Database,
        (part, bytes): (&'static str, Option<&[u8]>),
        value: Value,
        debezium: bool,
    ) -> Expected {
        let framed = Framed {
            codec: FORMATS[self.format].1,
            subjects: self.subjects,
            part,
            topic: self.topic(database),
            bytes: bytes.unwrap().to_vec(),
        };
        Expected {
            framed,
            debezium,
            value,
        }
    }
}

// === impl Expected ===

impl Expected {
    /// Where what a client read is something else.
    fn differences(&self, client: &str, read: &Value) -> Vec<String> {
        let read = if self.debezium {
            json!({ "op": read["op"], "after": read["after"] })
        } else {
            read.clone()
        };
        let place = format!("{client}, {} {}", self.framed.topic, self.framed.part);
        let mut found = Vec::new();
        differences(&place, &self.value, &read, &mut found);
        found
    }
}

fn differences(place: &str, expected: &Value, read: &Value, found: &mut Vec<String>) {
    let (Value::Object(expected), Value::Object(read)) = (expected, read) else {
        if expected != read {
            found.push(format!("{place}: {read} instead of {expected}"));
        }
        return;
    };
    for (name, expected) in expected {
        let read = read.get(name).unwrap_or(&Value::Null);
        differences(&format!("{place} {name}"), expected, read, found);
    }
    for name in read.keys().filter(|name| !expected.contains_key(*name)) {
        found.push(format!("{place} {name}: is no column"));
    }
}

/// The rows as the database says that clients see them, under each format, in the order of their key.
async fn rows(database: &Database, columns: &[Column]) -> Vec<Vec<Value>> {
    let is_mysql = database.mysql().is_ok();
    let mut all = Vec::new();
    for format in 0..FORMATS.len() {
        let fields = columns.iter().map(|column| {
            let Column { name, expressions, .. } = column;
            format!(
                ", '{name}', case when {name} is null then null else {} end",
                expressions[format]
            )
        });
        let fields: String = fields.collect();
        let object = if is_mysql { "json_object" } else { "jsonb_build_object" };
        let query = format!("select {object}('id', id, 'code', code{fields}) from t order by id");
        let rows = database.query(&query).await.unwrap();
        let rows = rows.into_iter().flatten().flatten();
        all.push(rows.map(|row| serde_json::from_str(&row).unwrap()).collect());
    }
    all
}

async fn clients_read_what_the_database_says(database: Database, columns: &[Column]) {
    let registry = Registry::start().unwrap();
    let kafka = shared_kafka().unwrap();
    let published = connectors(&database);
    let sections: String = published.iter().map(|published| published.section(&database)).collect();
    let daemon = Daemon::new(&format!(
        "registries:\n  schemas: {{ type: confluent, url: \"{}\" }}\nstreams:\n  events:\n    type: kafka\n    bootstrap_servers: [\"{}\"]\n    topics: {{ partitions: 1 }}\nconnectors:\n{sections}",
        registry.url(),
        kafka.bootstrap()
    ))
    .unwrap();
    daemon.start().unwrap();
    for connector in &published {
        daemon.wait_for_state(&connector.name, "streaming").unwrap();
    }
    let before = rows(&database, columns).await;
    for change in [
        &insert(columns, 3),
        "update t set words = 'changed' where id = 1",
        "delete from t where id = 2",
    ] {
        database.execute(change).await.unwrap();
    }
    let after = rows(&database, columns).await;
    let mut expected = [Vec::new(), Vec::new()];
    for connector in &published {
        let wanted = if FORMATS[connector.format].0 == "debezium" {
            6
        } else {
            5
        };
        let topic = connector.topic(&database);
        let outcome = poll_until(&format!("{wanted} records in {topic}"), DEADLINE, || {
            Ok(kafka.records(&topic).ok().filter(|records| records.len() >= wanted))
        });
        let records = outcome
            .map_err(|error| daemon.with_status(&connector.name, &error))
            .unwrap();
        let (before, after) = (&before[connector.format], &after[connector.format]);
        expected[usize::from(connector.embedded)].extend(connector.expected(&database, before, after, &records));
    }
    let [own, embedded] = &expected;
    let mut found = read(&registry.url(), own);
    found.extend(read(&daemon.url(), embedded));
    assert_eq!(found, Vec::<String>::new());
}

/// What clients of a registry read otherwise than expected.
fn read(registry: &str, expected: &[Expected]) -> Vec<String> {
    let of = |is_read: fn(&Framed) -> bool| -> (Vec<&Expected>, Vec<Framed>) {
        let chosen = expected.iter().filter(|expected| is_read(&expected.framed));
        chosen.map(|expected| (expected, expected.framed.clone())).unzip()
    };
    let (all, framed) = of(|_| true);
    let by_python = read_with_python(registry, &framed).unwrap();
    let (of_avro, framed) = of(|framed| framed.codec == "avro");
    let by_java = read_with_java(registry, &framed).unwrap();
    assert_eq!((by_python.len(), by_java.len()), (all.len(), of_avro.len()));
    assert!(!by_java.is_empty() && by_java.len() < by_python.len());
    let python = all
        .iter()
        .zip(&by_python)
        .map(|(expected, read)| expected.differences("Python", read));
    let java = of_avro
        .iter()
        .zip(&by_java)
        .map(|(expected, read)| expected.differences("Java", read));
    python.chain(java).flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn confluents_clients_read_the_rows_of_postgresql() {
    let columns = columns(include_str!("../../vectors/clients_postgres.tsv"));
    let types = "create extension hstore; create type mood as enum ('happy', 'sad');";
    let database = database_with(PostgresVersion::V15, &format!("{types} {}", table(&columns))).await;
    clients_read_what_the_database_says(database, &columns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn confluents_clients_read_the_rows_of_mysql() {
    let columns = columns(include_str!("../../vectors/clients_mysql.tsv"));
    let database = database_with(MySqlVersion::MySql97, &table(&columns)).await;
    clients_read_what_the_database_says(database, &columns).await;
}
