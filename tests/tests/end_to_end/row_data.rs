//! What is in rows is in no line of the log at any level, and in no status, when a row cannot be carried or written either.

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion};

use crate::capture::database_with;
use crate::sinks::sink;

/// Values that stand nowhere else. The number is one of a column that takes numbers alone.
const CANARIES: [&str; 14] = [
    "c4n4ry-key-1",
    "c4n4ry-key-2",
    "c4n4ry-key-3",
    "c4n4ry-key-4",
    "c4n4ry-key-5",
    "c4n4ry-key-6",
    "c4n4ry-key-7",
    "c4n4ry-of-two",
    "c4n4ry-beyond-five",
    "c4n4ry-mood",
    "c4n4ry-of-nobody",
    "c4n4ry-note",
    "1987654321",
    "18446744073709551557",
];

/// One row that every target takes, and five that none does: a value of a unique index that is there already, a text that is too long, a
/// number that a check refuses, a member that an enumeration does not have, and NULL where there must be a value.
const ROWS: &str = "insert into people values
    ('c4n4ry-key-1', 'c4n4ry-of-two', 'short', 1, 'happy', 'c4n4ry-note'),
    ('c4n4ry-key-2', 'c4n4ry-of-two', 'short', 1, 'happy', 'c4n4ry-note'),
    ('c4n4ry-key-3', 'a', 'c4n4ry-beyond-five', 1, 'happy', 'c4n4ry-note'),
    ('c4n4ry-key-4', 'b', 'short', 1987654321, 'happy', 'c4n4ry-note'),
    ('c4n4ry-key-5', 'c', 'short', 1, 'c4n4ry-mood', 'c4n4ry-note'),
    ('c4n4ry-key-6', 'c4n4ry-of-nobody', null, 1, 'happy', 'c4n4ry-note')";

/// Another one with a value that is there.
const ONE_MORE: &str =
    "insert into people values ('c4n4ry-key-7', 'c4n4ry-of-two', 'short', 1, 'happy', 'c4n4ry-note')";

const SOURCE: &str = "create table people
    (code varchar(40) primary key, email varchar(40), name varchar(40), amount int, mood varchar(40), note varchar(40))";

const POSTGRES_TARGET: &str = "create type feeling as enum ('happy', 'sad');
    create table people (code varchar(40) primary key, email varchar(40) unique, name varchar(5) not null,
        amount int check (amount < 100), mood feeling, note text)";

const MYSQL_TARGET: &str = "create table people (code varchar(40) primary key, email varchar(40) unique,
    name varchar(5) not null, amount int check (amount < 100), mood enum('happy', 'sad'), note text)";

const SQLITE_TARGET: &str = "create table people (code text primary key, email text unique,
    name text not null check (length(name) <= 5), amount integer check (amount < 100),
    mood text check (mood in ('happy', 'sad')), note text)";

/// Why each of the five is a letter, by their keys.
const POSTGRES_CODES: [&str; 5] = [
    "constraint_violation",
    "value_refused",
    "constraint_violation",
    "value_refused",
    "constraint_violation",
];
const MYSQL_CODES: [&str; 5] = [
    "duplicate_key",
    "value_refused",
    "check_constraint",
    "value_unrepresentable",
    "null_refused",
];
const SQLITE_CODES: [&str; 5] = [
    "duplicate_key",
    "check_constraint",
    "check_constraint",
    "check_constraint",
    "null_refused",
];

/// Runs statements in a file that may not be there yet.
async fn execute_in(file: &std::path::Path, statements: &str) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut file = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut file)
        .await
        .unwrap();
}

/// No canary is in a text.
fn is_silent(place: &str, text: &str) {
    for canary in CANARIES {
        let line = text.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{canary} is in {place}: {}", line.unwrap_or_default());
    }
}

/// Neither log nor endpoint tells; the endpoint shows letters to who asks for letters.
fn tells_nothing(daemon: &Daemon) {
    for path in ["/status", "/metrics", "/journal", "/connectors?expand=status"] {
        is_silent(path, &daemon.get(path).unwrap().body);
    }
    is_silent("the log", &daemon.log());
}

/// The codes of a connector's letters, by their keys.
fn codes(daemon: &Daemon, connector: &str) -> Vec<String> {
    let listed = daemon.command("dlq list", &[connector, "--json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let letters = listed["letters"].as_array().unwrap();
    let of = |letter: &Value, name: &str| letter[name].to_string();
    let mut found: Vec<_> = letters
        .iter()
        .map(|letter| (of(letter, "key"), of(letter, "code")))
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(_, code)| code.trim_matches('"').to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_target_refuses_are_in_no_line_of_the_log() {
    let source = database_with(PostgresVersion::V17, SOURCE).await;
    let targets = [
        database_with(PostgresVersion::V17, POSTGRES_TARGET).await,
        database_with(MySqlVersion::MySql97, MYSQL_TARGET).await,
        database_with(MySqlVersion::MariaDb1011, MYSQL_TARGET).await,
    ];
    let daemon = Daemon::new("").unwrap();
    let file = daemon.path().join("target.db");
    execute_in(&file, SQLITE_TARGET).await;
    let mut sinks: Vec<String> = targets.iter().map(|target| sink(target, None)).collect();
    sinks.push(format!("type: sqlite, path: \"{}\"", file.display()));
    let names = ["postgres", "mysql", "mariadb", "sqlite"];
    let expected = [POSTGRES_CODES, MYSQL_CODES, MYSQL_CODES, SQLITE_CODES];
    let mut sections = format!(
        "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  {}: {{ stream: events, format: {{ codec: avro }}, \
         contract: {{ compatibility: none }}, source: {{ type: postgres, url: \"{}\", tables: [public.people] }} }}\n",
        daemon.path().join("events").display(),
        source.name(),
        source.url()
    );
    for (name, sink) in names.iter().zip(&sinks) {
        sections.push_str(&format!(
            "  {name}: {{ stream: events, topics: [\"{}\"], sink: {{ {sink} }}, dead_letters: {{ policy: store }} }}\n",
            source.topic("people")
        ));
    }
    daemon.configure(&sections).unwrap();
    daemon.start_with(&["--log-level", "trace"]).unwrap();
    source.execute(ROWS).await.unwrap();
    for (name, expected) in names.iter().zip(expected) {
        let is_so = |status: &Value| status["dead_letters"]["waiting"] == 5;
        daemon.wait_for(name, "five dead letters", is_so).unwrap();
        assert_eq!(codes(&daemon, name), expected, "{name}");
    }
    tells_nothing(&daemon);
    // A halt is told at once, and by its sentence.
    daemon.terminate().unwrap();
    let halting = sections.replace("policy: store", "policy: halt");
    daemon.configure(&halting).unwrap();
    daemon.start_with(&["--log-level", "trace"]).unwrap();
    source.execute(ONE_MORE).await.unwrap();
    for name in names {
        let halted = daemon.wait_for(name, "a halt", |status| status["state"] == "halted");
        let reason = halted.unwrap()["reason"].to_string();
        assert!(reason.contains("cannot be written"), "{name}: {reason}");
    }
    tells_nothing(&daemon);
}

/// A source whose rows have the note, too, and which halts at the only one.
async fn source_halts(source: &str, connector: &str, insert: impl AsyncFnOnce(), code: &str) {
    let daemon = Daemon::new("").unwrap();
    let folder = daemon.path().join("events");
    let sections = format!(
        "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  people: {{ stream: events, source: {{ {source} }}, \
         {connector} }}\n",
        folder.display(),
    );
    daemon.configure(&sections).unwrap();
    daemon.start_with(&["--log-level", "trace"]).unwrap();
    daemon.wait_for_state("people", "streaming").unwrap();
    insert().await;
    daemon.wait_for_state("people", &format!("halted:{code}")).unwrap();
    tells_nothing(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_no_event_can_have_are_in_no_line_of_the_log() {
    let table = "create table people (code varchar(40) primary key, amount bigint unsigned, note varchar(40))";
    let database = database_with(MySqlVersion::MySql97, table).await;
    let source = format!(
        "type: mysql, url: \"{}\", tables: {}",
        database.url(),
        database.patterns("[public.people]")
    );
    let insert = async || {
        let row = "insert into people values ('c4n4ry-key-1', 18446744073709551557, 'c4n4ry-note')";
        database.execute(row).await.unwrap();
    };
    let format = "format: { bigint_unsigned: long }";
    source_halts(&source, format, insert, "value_not_encodable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_cannot_be_read_are_in_no_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.db");
    execute_in(
        &file,
        "create table people (id integer primary key autoincrement, amount decimal(10, 2), note text)",
    )
    .await;
    let source = format!(
        "type: sqlite, path: \"{}\", tables: [people], query: {{ mode: incrementing }}",
        file.display()
    );
    let insert = async || {
        execute_in(
            &file,
            "insert into people (amount, note) values ('c4n4ry-mood', 'c4n4ry-note')",
        )
        .await
    };
    source_halts(&source, "transforms: []", insert, "value_misfit").await;
}
