//! Events of a real Debezium, by each of its converters, written into tables by a sink.

use std::collections::BTreeMap;

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{
    Connect, ConnectOptions, MySqlVersion, PostgresVersion, Registry, confluent_avro, debezium_mysql,
    debezium_postgres, eventually, shared_kafka,
};

use super::{DEADLINE, sink};

/// What events of each converter need to be told, beside that they are there: JSON without schemas has no types of its own.
const CONVERTERS: [(&str, &str); 3] = [
    (
        "plain",
        "format: { envelope: debezium, time: microseconds, decimal: string }",
    ),
    ("with_schemas", "format: {}"),
    ("avro", "format: { registry: schemas }"),
];

const POSTGRES_COLUMNS: &str = "id, a, n, at, moment, day, j, b, ok, u, f, md5(big)";
const MYSQL_COLUMNS: &str = "id, a, n, moment, seen, day, j, hex(b), e, y, f, u";

const COLUMNS: &str =
    "id bigint primary key, a text, n numeric(10,2), at timestamptz, moment timestamp, day date, j jsonb, b bytea,
    ok boolean, u uuid, f double precision, big text";

fn properties(converter: &str, registry: &Registry) -> BTreeMap<String, String> {
    if converter == "avro" {
        return confluent_avro(registry);
    }
    let mut properties = BTreeMap::new();
    for side in ["key", "value"] {
        let json = "org.apache.kafka.connect.json.JsonConverter".to_owned();
        properties.insert(format!("{side}.converter"), json);
        let with_schemas = converter == "with_schemas";
        properties.insert(format!("{side}.converter.schemas.enable"), with_schemas.to_string());
    }
    if converter == "plain" {
        // Its bytes do not say where the point is.
        properties.insert("decimal.handling.mode".to_owned(), "string".to_owned());
    }
    properties
}

/// The sinks of all converters: each has a target table of its own, which is called as the converter is.
fn configuration(bootstrap: &str, registry: &Registry, source: &Database, target: &Database) -> String {
    let mut text = format!(
        "registries: {{ schemas: {{ type: confluent, url: \"{}\" }} }}\nstreams: {{ events: {{ type: kafka, bootstrap_servers: [\"{bootstrap}\"] }} }}\nconnectors:\n",
        registry.url()
    );
    for (converter, format) in CONVERTERS {
        let (name, topic) = (name(source, converter), topic(source, converter));
        let sink = sink(target, None);
        text += &format!(
            "  {name}: {{ stream: events, topics: [\"{topic}\"], {format}, sink: {{ {sink}, table: {converter}, evolve: add }} }}\n"
        );
    }
    text
}

fn name(source: &Database, converter: &str) -> String {
    format!("{}_{converter}", source.name())
}

fn topic(source: &Database, converter: &str) -> String {
    format!("{}.{}.t", name(source, converter), source.schema())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_debezium_publishes_of_postgres_is_written() {
    let bootstrap = shared_kafka().unwrap().bootstrap();
    let connect = Connect::start(&bootstrap, &ConnectOptions::default()).unwrap();
    let registry = Registry::start().unwrap();
    let source = Database::shared(PostgresVersion::V17).await.unwrap();
    let target = Database::shared(PostgresVersion::V17).await.unwrap();
    let table = format!("create table t ({COLUMNS}); alter table t alter big set storage external");
    source.execute(&table).await.unwrap();
    let values = "'007', 1.50, '2024-02-29 10:00:00.123456+02', '1969-12-31 23:59:59.999999', '0001-01-01', '{\"a\": [1, null]}', '\\x00ff', true,
        '00112233-4455-6677-8899-aabbccddeeff', 0.1, repeat('x', 5000)";
    let rows = format!(
        "insert into t values (1, {values}), (2, {values}), (3, null, null, null, null, null, null, null, null, null, null, null)"
    );
    source.execute(&rows).await.unwrap();
    target
        .execute(&format!("create table plain ({COLUMNS})"))
        .await
        .unwrap();
    let server = source.postgres().unwrap();
    for (converter, _) in CONVERTERS {
        let name = name(&source, converter);
        let mut wanted = debezium_postgres(server, source.name(), &name);
        wanted.extend(properties(converter, &registry));
        wanted.insert("table.include.list".to_owned(), "public.t".to_owned());
        connect.create(&name, &wanted).unwrap();
    }
    let daemon = Daemon::new(&configuration(&bootstrap, &registry, &source, &target)).unwrap();
    daemon.start().unwrap();
    are_as_in(&source, (&target, POSTGRES_COLUMNS), &daemon).await;
    // A large value that did not change, a delete with its tombstone, a key that changes, and a row of its own.
    let changes = "update t set n = -2.25, moment = null where id = 1; delete from t where id = 2; update t set id = 4, a = 'four' where id = 3;
        insert into t (id, a) values (5, 'five'), (6, 'six'); update t set at = now() where id = 5";
    source.execute(changes).await.unwrap();
    are_as_in(&source, (&target, POSTGRES_COLUMNS), &daemon).await;
    for (converter, _) in CONVERTERS {
        connect.delete(&name(&source, converter)).unwrap();
    }
}

/// Each of the target's tables has the source's rows.
async fn are_as_in(source: &Database, (target, columns): (&Database, &str), daemon: &Daemon) {
    let rows = async |database: &Database, table: &str| {
        database
            .query(&format!("select {columns} from {table} order by id"))
            .await
    };
    for (converter, _) in CONVERTERS {
        let same = eventually("the source's rows", DEADLINE, || async {
            let found = rows(target, converter).await.unwrap_or_default();
            Ok((rows(source, "t").await? == found).then_some(()))
        });
        if same.await.is_err() {
            let (wanted, found) = (rows(source, "t").await, rows(target, converter).await);
            unreachable!("{converter}:\n{wanted:?}\n{found:?}\n{}", daemon.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_debezium_publishes_of_mysql_is_written() {
    let bootstrap = shared_kafka().unwrap().bootstrap();
    let connect = Connect::start(&bootstrap, &ConnectOptions::default()).unwrap();
    let registry = Registry::start().unwrap();
    let source = Database::shared(MySqlVersion::MySql97).await.unwrap();
    let target = Database::shared(MySqlVersion::MySql97).await.unwrap();
    let columns = "id bigint primary key, a varchar(20), n decimal(10,2), moment datetime(6), seen timestamp(3) null, day date, j json, b varbinary(9),
        e enum('new', 'done'), y year, f double, u bigint unsigned";
    source.execute(&format!("create table t ({columns})")).await.unwrap();
    let values = "'007', 1.50, '2024-02-29 10:00:00.123456', '2024-02-29 10:00:00.123', '1999-12-31', '{\"a\": [1, null]}', 0x00ff, 'done', 2024, 0.1, 42";
    source
        .execute(&format!("insert into t values (1, {values}), (2, {values})"))
        .await
        .unwrap();
    for (converter, _) in CONVERTERS {
        target
            .execute(&format!("create table {converter} ({columns})"))
            .await
            .unwrap();
        let name = name(&source, converter);
        let mut wanted = debezium_mysql(source.mysql().unwrap(), &name);
        wanted.extend(properties(converter, &registry));
        wanted.insert("table.include.list".to_owned(), format!("{}.t", source.name()));
        connect.create(&name, &wanted).unwrap();
    }
    let daemon = Daemon::new(&configuration(&bootstrap, &registry, &source, &target)).unwrap();
    daemon.start().unwrap();
    are_as_in(&source, (&target, MYSQL_COLUMNS), &daemon).await;
    let changes = "update t set n = -2.25, moment = null where id = 1; delete from t where id = 2; insert into t (id, a) values (3, 'three')";
    for change in changes.split("; ") {
        source.execute(change).await.unwrap();
    }
    are_as_in(&source, (&target, MYSQL_COLUMNS), &daemon).await;
    for (converter, _) in CONVERTERS {
        connect.delete(&name(&source, converter)).unwrap();
    }
}
