//! Values of every type of MySQL and MariaDB, each through the snapshot, through the binary log and through a poll: all as
//! `tests/vectors/mysql.tsv` says.
//!
//! | asked of | with | because |
//! |---|---|---|
//! | each server | all metadata that it writes into its log | then the log says what values mean |
//! | each server | no metadata, and in a time zone of its own | then the catalogue does; and no value may depend on where a server stands |

use std::collections::BTreeMap;
use std::fmt::Write;

use tailrace_tests::database::{Database, Server};
use tailrace_tests::events::Event;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use super::{DEFAULT, Way, default_of, field, with_envelope};
use crate::capture::{Capture, Wanted};
use crate::polling::Polled;

const VECTORS: &str = include_str!("../../../vectors/mysql.tsv");

/// Values that a strict server would refuse, such as a date that no calendar has, are there: they were written when it was not strict.
pub(crate) const SESSION: &str = "set sql_mode = 'ALLOW_INVALID_DATES';";

/// A row of InnoDB is not much longer than half a page of 16 kB, where short values lie; so many values are always shorter.
pub(crate) const COLUMNS_MAXIMUM: usize = 40;

/// How values are written and read: `format`, `source` and `session` of the table.
pub(crate) type Options = (&'static str, &'static str, &'static str);

pub(crate) struct Vector {
    pub(crate) id: &'static str,
    pub(crate) data_type: &'static str,
    pub(crate) literal: &'static str,
    expected: &'static str,
}

/// Those that a server has, by what is said about them.
pub(crate) fn vectors(version: MySqlVersion) -> BTreeMap<Options, Vec<Vector>> {
    let server = match version {
        MySqlVersion::MySql56 => "5.6",
        MySqlVersion::MySql97 => "9.7",
        MySqlVersion::MariaDb1011 => "mariadb",
    };
    let mut by_options: BTreeMap<Options, Vec<Vector>> = BTreeMap::new();
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, on, data_type, literal, format, source, session, expected, _note] = fields[..] else {
            unreachable!("nine fields: {line}");
        };
        if on.is_empty() || on.split(", ").any(|name| name == server) {
            by_options.entry((format, source, session)).or_default().push(Vector {
                id,
                data_type,
                literal,
                expected,
            });
        }
    }
    by_options
}

/// A change table has every column twice.
fn columns_maximum(way: Way) -> usize {
    match way {
        Way::Log => COLUMNS_MAXIMUM,
        Way::Triggers => COLUMNS_MAXIMUM / 2,
    }
}

/// Values with the same options are columns of a few tables: a row for the snapshot, the same row for the log.
async fn hold(server: Server, version: MySqlVersion) {
    hold_by(Way::Log, server, version).await;
}

async fn hold_by(way: Way, server: Server, version: MySqlVersion) {
    let mut wrong = String::new();
    for (options, mut vectors) in vectors(version) {
        // A date that no calendar has is NULL in a change table's row, whose columns may all be NULL; the event's schema says so.
        let is_stand_in = |vector: &Vector| vector.data_type.contains("NOT NULL");
        let is_date = |vector: &Vector| {
            ["DATE", "TIMESTAMP"]
                .iter()
                .any(|kind| vector.data_type.starts_with(kind))
        };
        vectors.retain(|vector| way == Way::Log || !is_date(vector) || !is_stand_in(vector));
        if vectors.is_empty() {
            continue;
        }
        let database = Database::create(server.clone()).await.unwrap();
        compare(way, database, options, &vectors, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "{version}\n{wrong}");
}

async fn compare(way: Way, database: Database, options: Options, vectors: &[Vector], wrong: &mut String) {
    let columns_maximum = columns_maximum(way);
    let (format, source, session) = options;
    let (mut tables, mut rows) = (String::new(), [String::new(), String::new()]);
    for (number, vectors) in vectors.chunks(columns_maximum).enumerate() {
        let list = |item: &dyn Fn(&Vector) -> String| {
            vectors
                .iter()
                .map(|vector| format!(", {}", item(vector)))
                .collect::<String>()
        };
        let columns = list(&|vector| format!("{} {}", vector.id, vector.data_type));
        write!(tables, "create table v{number} (id int primary key{columns});").unwrap();
        let names = list(&|vector| vector.id.to_owned());
        let values = list(&|vector| vector.literal.to_owned());
        for (id, statements) in rows.iter_mut().enumerate() {
            write!(statements, "insert into v{number} (id{names}) values ({id}{values});").unwrap();
        }
    }
    let [for_snapshot, for_log] = rows;
    database.execute(&format!("{SESSION} {tables}")).await.unwrap();
    let as_in_session = |statements: &str| format!("{SESSION} {session}; {statements}").replace("; ;", ";");
    database.execute(&as_in_session(&for_snapshot)).await.unwrap();
    let envelope = if format.starts_with("envelope") {
        format.to_owned()
    } else {
        with_envelope(format)
    };
    let wanted = Wanted {
        format: &envelope,
        source,
        connector: way.connector(),
        ..Wanted::default()
    };
    let capture = way.start(database, &wanted);
    capture.database.execute(&as_in_session(&for_log)).await.unwrap();
    capture.settle().await;
    let polling = format!("tables: [public.*]\nquery: {{ mode: bulk, poll_interval_ms: 3600000 }}\n{source}");
    let polled = Polled::prepare_as(capture.database.clone(), &capture.database.url(), &envelope, &polling);
    polled.start_again();
    for (number, vectors) in vectors.chunks(columns_maximum).enumerate() {
        let mut events = capture.events(&format!("v{number}"));
        assert_eq!(events.len(), 2, "{options:?}");
        events.extend(polled.wait_for_events(&format!("v{number}"), 2).await);
        for (event, way) in events.iter().zip(["snapshot", "log", "poll", "poll"]) {
            note_wrong(event, way, options, vectors, wrong);
        }
    }
}

/// Values of an event that are not as expected, by the way that they came.
fn note_wrong(event: &Event, way: &str, options: Options, vectors: &[Vector], wrong: &mut String) {
    for vector in vectors {
        let found = match vector.literal {
            DEFAULT => default_of(event, vector.id).to_string(),
            _ => field(event, vector.id),
        };
        let Vector {
            id,
            data_type,
            literal,
            expected,
        } = vector;
        if found != *expected {
            let shown = |text: &str| text.chars().take(200).collect::<String>();
            let (data_type, literal) = (shown(data_type), shown(literal));
            writeln!(
                wrong,
                "{id} {data_type} {literal} {options:?} by {way}: {found}, expected {expected}"
            )
            .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_holds_through_a_change_table() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let database = Database::shared(version).await.unwrap();
        hold_by(Way::Triggers, database.server().clone(), version).await;
    }
}

async fn hold_with_metadata(version: MySqlVersion) {
    let database = Database::shared(version).await.unwrap();
    hold(database.server().clone(), version).await;
}

/// Before MySQL 8 there is never any metadata; only its time zone is another one.
async fn hold_without_metadata(version: MySqlVersion, time_zone: &str) {
    let options = MySqlOptions::version(version).setting(&format!("default_time_zone={time_zone}"));
    let options = match version {
        MySqlVersion::MySql56 => options,
        MySqlVersion::MySql97 | MySqlVersion::MariaDb1011 => options.setting("binlog_row_metadata=MINIMAL"),
    };
    hold(Server::start(options).unwrap(), version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mysql_holds() {
    hold_with_metadata(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mariadb_holds() {
    hold_with_metadata(MySqlVersion::MariaDb1011).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_the_oldest_mysql_holds() {
    hold_with_metadata(MySqlVersion::MySql56).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mysql_holds_without_metadata_and_anywhere() {
    hold_without_metadata(MySqlVersion::MySql97, "+05:45").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mariadb_holds_without_metadata_and_anywhere() {
    hold_without_metadata(MySqlVersion::MariaDb1011, "-11:00").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_the_oldest_mysql_holds_anywhere() {
    hold_without_metadata(MySqlVersion::MySql56, "+13:00").await;
}

/// A date that no calendar has halts the connector where it was told to, in the snapshot and in the log.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_dates_halt_where_that_is_asked_for() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        for is_there_before in [true, false] {
            let database = Database::shared(version).await.unwrap();
            let table = format!("{SESSION} create table visits (id int primary key, day date)");
            database.execute(&table).await.unwrap();
            let row = format!("{SESSION} insert into visits values (1, '2023-02-31')");
            let wanted = Wanted {
                source: "invalid_dates: halt",
                ..Wanted::default()
            };
            let capture = Capture::prepare(database, &wanted);
            if is_there_before {
                capture.database.execute(&row).await.unwrap();
                capture.daemon.start().unwrap();
            } else {
                capture.start_again();
                capture.database.execute(&row).await.unwrap();
            }
            capture.wait_for("halted");
            let status = capture.daemon.connector(capture.database.name()).unwrap();
            let reason = status["reason"].as_str().unwrap_or_default();
            for word in ["visits", "\"day\"", "no calendar", "invalid_dates"] {
                assert!(reason.contains(word), "{version}: {reason}");
            }
        }
    }
}

/// What MySQL logs as differences arrives as the whole document: the same bytes as for a copy of it that is logged as a whole,
/// and for one that is read from the table.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_logged_as_differences_are_whole() {
    let database = Database::shared(MySqlVersion::MySql97).await.unwrap();
    let tables = "create table documents (id int primary key, document json);
        create table copies (id int primary key, document json);
        insert into documents values (1, '{\"a\": 1, \"b\": [1, 2, {\"c\": \"x\"}], \"long key\": {\"d\": null}, \"é\\\\\"\": 5}')";
    database.execute(tables).await.unwrap();
    let capture = Capture::start(database, &Wanted::default());
    let updates = [
        "json_set(document, '$.a', 'new')",
        "json_set(document, '$.zz', cast('2015-01-15' as date))",
        "json_set(document, '$.zz', cast(1.50 as decimal(5,2)), '$.a', 18446744073709551615)",
        "json_replace(document, '$.b[2].c', json_array(1, 2.5))",
        "json_remove(document, '$.b[0]')",
        "json_set(document, '$.b[last]', 7)",
        "json_set(document, '$.\"long key\".d', repeat('x', 300))",
        "json_set(document, '$.b[99]', 9)",
        "json_set(json_remove(document, '$.a'), '$.a', 5, '$.q', 6)",
        "json_remove(document, '$.\"é\\\\\"\"')",
        "json_set(document, '$.\"x\\\\\"y\"', 1)",
        "json_set(document, '$.a[3]', 78)",
        "json_set(document, '$.big', repeat('y', 70000))",
        "json_set(document, '$.big', repeat('z', 60000), '$.q', true)",
        "json_set(document, '$', 78)",
    ];
    let mut statements = "set binlog_row_value_options = 'PARTIAL_JSON';".to_owned();
    for (number, update) in updates.iter().enumerate() {
        write!(
            statements,
            "update documents set document = {update}; insert into copies select {number}, document from documents;"
        )
        .unwrap();
    }
    capture.database.execute(&statements).await.unwrap();
    capture.settle().await;
    let documents = |table: &str, operation: &str| -> Vec<String> {
        let events = capture.events(table).into_iter();
        let wanted = events.filter(|event| event.operation() == operation);
        wanted.map(|event| field(&event, "document")).collect()
    };
    let (updated, copied) = (documents("documents", "u"), documents("copies", "c"));
    assert_eq!(updated.len(), updates.len());
    assert_eq!(updated, copied);
    let server = capture.database.mysql().unwrap();
    let (file, _) = server.log_end().await.unwrap();
    let events = server.query(&format!("show binlog events in '{file}'")).await.unwrap();
    let is_partial = |event: &&Vec<Option<String>>| event.iter().flatten().any(|text| text == "Update_rows_partial");
    assert!(
        events.iter().filter(is_partial).count() > 5,
        "the server logged no differences"
    );
    read_again(capture, copied).await;
}

/// The same rows, by a connector that finds them in the table.
async fn read_again(capture: Capture, expected: Vec<String>) {
    assert!(capture.daemon.terminate().unwrap().success());
    let database = &capture.database;
    database.execute("rename table copies to found").await.unwrap();
    let wanted = Wanted {
        tables: "[public.found]",
        ..Wanted::default()
    };
    let again = Capture::start(database.clone(), &wanted);
    again.settle().await;
    let read: Vec<String> = again
        .events("found")
        .iter()
        .map(|event| field(event, "document"))
        .collect();
    assert_eq!(read, expected);
}
