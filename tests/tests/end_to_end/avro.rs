//! Rows as Avro, into the embedded stream and with the embedded registry: what `tailrace tail` reads back is what the same rows
//! are as JSON.

use serde_json::Value;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion};

use crate::capture::{Wanted, connector, database_with};
use crate::vectors::{EXTENSIONS, database_of_simple_vectors};

/// What the row of a table is under one format, by a daemon and a connector of its own.
fn row(database: &Database, table: &str, format: (&str, &str)) -> Value {
    event(database, table, format)["value"].clone()
}

/// The first event of a table under one format.
fn event(database: &Database, table: &str, (name, format): (&str, &str)) -> Value {
    let daemon = Daemon::new("").unwrap();
    let topic = format!("{}.{}.{table}", database.name(), database.schema());
    let prefix = format!("prefix: {}", database.name());
    let name = format!("{}_{name}", database.name());
    let path = daemon.path().join("events");
    let wanted = Wanted {
        tables: &format!("[public.{table}]"),
        format,
        connector: &prefix,
        ..Wanted::default()
    };
    daemon
        .configure(&format!(
            "streams:\n  events: {{ type: file, path: \"{}\" }}\nconnectors:\n{}",
            path.display(),
            connector(database, &wanted).replacen(database.name(), &name, 1)
        ))
        .unwrap();
    daemon.start().unwrap();
    daemon.wait_for_state(&name, "streaming").unwrap();
    let read = || {
        let printed = daemon.command("tail", &[&topic, "--json", "--limit", "1"]).unwrap();
        assert_eq!(printed.code, Some(0), "{}", printed.all());
        serde_json::from_str::<Value>(&printed.stdout).unwrap()
    };
    // By the registry of the running daemon, and by the one in its state.
    let running = read();
    daemon.terminate().unwrap();
    assert_eq!(running, read());
    running
}

fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let expected = expected.as_object().unwrap();
    let differs = expected.iter().filter(|(name, value)| {
        // Floats have their shortest digits in both, and may be written otherwise.
        let same_number = value.as_f64().is_some() && value.as_f64() == found[*name].as_f64();
        found[*name] != **value && !same_number
    });
    differs
        .map(|(name, value)| format!("{name}: {} instead of {value}", found[name]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_postgresql_is_what_it_is_as_json() {
    let database = database_of_simple_vectors(PostgresVersion::V15, &EXTENSIONS).await;
    let read = |name, format| row(&database, "v", (name, format));
    let json = read("json", "codec: json");
    let avro = read("avro", "codec: avro, decimal: string, time: iso, binary: base64");
    assert_eq!(differences(&json, &avro), Vec::<String>::new());
    let schema = read("schema", "codec: json_schema");
    assert_eq!(differences(&json, &schema), Vec::<String>::new());
    let debezium = read("debezium", "envelope: debezium, codec: avro");
    let row = debezium["after"].as_object().unwrap();
    assert_eq!(row.len(), json.as_object().unwrap().len());
    assert_eq!(debezium["source"]["connector"], "postgresql");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_mysql_are_what_they_are_as_json() {
    let database = database_with(
        MySqlVersion::MySql97,
        "create table t (id int primary key, big bigint unsigned, price decimal(8,3), day date, at time(3), stamp timestamp(6) null,
            local datetime(3), mood enum('happy','sad'), words set('a','b'), raw varbinary(9), document json, many bit(12));
         insert into t values (1, 18446744073709551615, -1.5, '1969-12-31', '23:59:59.123', '2026-01-01 01:02:03.123456',
            '2026-01-01 01:02:03.5', 'sad', 'a,b', x'00ff', '{\"a\": 1}', b'100000000001')",
    )
    .await;
    let read = |name, format| row(&database, "t", (name, format));
    let json = read("json", "codec: json");
    let avro = read("avro", "codec: avro, decimal: string, time: iso, binary: base64");
    assert_eq!(differences(&json, &avro), Vec::<String>::new());
    let logical = read("logical", "codec: avro");
    assert_eq!(logical["big"], "18446744073709551615");
    assert_eq!(logical["price"], "-1.500");
    assert_eq!(logical["day"], "1969-12-31");
    assert_eq!(logical["at"], "23:59:59.123");
    assert_eq!(logical["stamp"], "2026-01-01T01:02:03.123456Z");
    assert_eq!(logical["local"], "2026-01-01T01:02:03.5");
    assert_eq!(logical["mood"], "sad");
    assert_eq!(logical["raw"], "AP8=");
    let debezium = read("debezium", "envelope: debezium, codec: avro, bigint_unsigned: precise");
    assert_eq!(debezium["after"]["mood"], "sad");
}

/// What the columns of a row are as null and as text. Avro has room for none of them, JSON under some options for all but a few.
fn assert_unrepresentable(database: &Database, columns: &[(&str, &str)], (options, in_json): (&str, &[&str])) {
    let in_avro: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    for (name, codec, expected) in [("avro", "codec: avro", &*in_avro), ("json", options, in_json)] {
        let read = |way: &str| {
            let format = format!("{codec}, unrepresentable: {way}");
            event(database, "t", (&format!("{name}_{way}"), &format))
        };
        let nulls = read("as_null");
        let header = &nulls["headers"]["unrepresentable"];
        assert_eq!(
            header,
            &Value::from(serde_json::to_string(expected).unwrap()),
            "{nulls}"
        );
        let strings = read("as_string");
        assert_eq!(strings["headers"]["unrepresentable"], Value::Null);
        for (column, text) in columns {
            assert_eq!(strings["value"][column], *text, "{name} {strings}");
            let is_null = nulls["value"][column].is_null();
            assert_eq!(is_null, expected.contains(column), "{column} of {name}: {nulls}");
        }
        assert_eq!(nulls["value"]["fits"], strings["value"]["fits"]);
        assert_eq!(nulls["value"]["fits"], 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_form_holds_of_postgresql_is_null_or_text() {
    let database = database_with(
        PostgresVersion::V15,
        "create table t (id int primary key, due date not null, local timestamp not null, moment timestamptz not null, at time not null,
            price numeric(8,2) not null, fits int not null);
         insert into t values (1, 'infinity', '-infinity', 'infinity', '24:00', 'NaN', 7)",
    )
    .await;
    let columns = [
        ("due", "infinity"),
        ("local", "-infinity"),
        ("moment", "infinity"),
        ("at", "24:00:00.000000"),
        ("price", "NaN"),
    ];
    // In JSON all but the decimal have a form.
    assert_unrepresentable(&database, &columns, ("decimal: precise", &["price"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_form_holds_of_mysql_is_null_or_text() {
    let database = database_with(
        MySqlVersion::MySql97,
        "create table t (id int primary key, at time not null, mood enum('happy','sad') not null, fits int not null);
         set sql_mode = '';
         insert into t values (1, '838:59:59', 'none', 7)",
    )
    .await;
    let columns = [("at", "838:59:59"), ("mood", "")];
    assert_unrepresentable(&database, &columns, ("time: connect", &["at"]));
}
