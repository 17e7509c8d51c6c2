//! SQLite into SQLite: what SQLite's types may hold, by a poll and by a change table.

use std::fs;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{Result as ServerResult, ServerError};

use super::{Cells, arrives, differences, sections};

/// Types, and the literals of values that come back in the same storage class and with the same bytes.
///
/// Not among them is what SQLite takes in place of a value of the declared type, and what is published as a value of that type: `'true'` in a
/// BOOLEAN (1), a date alone in a DATETIME (midnight), text in a BLOB (its bytes), numbers in a TEXT (their digits), bytes in a column without a
/// type (the text of their literal).
const VALUES: [(&str, &[&str]); 14] = [
    (
        "INTEGER",
        &["0", "-1", "9223372036854775807", "-9223372036854775808", "NULL"],
    ),
    (
        "REAL",
        &["0.1", "-1.7976931348623157e308", "5e-324", "3", "9e999", "-9e999"],
    ),
    ("DECIMAL(10,2)", &["12345678.90", "-0.01", "1", "NULL"]),
    ("NUMERIC", &["0.1", "123456789012345", "-5"]),
    ("BOOLEAN", &["0", "1", "NULL"]),
    (
        "TEXT",
        &[
            "''",
            "'007'",
            "'1e5'",
            "' x '",
            "'it''s'",
            "'žluťoučký 🐎'",
            "'a' || char(0) || 'b'",
        ],
    ),
    ("VARCHAR(3)", &["'longer than three'"]),
    ("STRING", &["'abc'", "7", "'1.0x'"]),
    ("BLOB", &["x''", "x'00ff80'", "NULL"]),
    ("DATE", &["'2024-02-29'", "'0000-01-01'", "'9999-12-31'"]),
    ("TIME", &["'10:00:00'", "'23:59:59.999999'"]),
    (
        "DATETIME",
        &[
            "'2024-02-29 10:00:00.123456'",
            "'1969-12-31 23:59:59'",
            "'2024-01-01 00:00:00.500000'",
        ],
    ),
    ("JSON", &["'{\"a\": [1, 2.50]}'", "'\"x\"'", "'null'", "12", "'[]'"]),
    ("", &["'abc'", "''"]),
];

/// What is between the two files, and the types that it does not carry.
const FORMATS: [(&str, &[&str]); 5] = [
    ("envelope: entity, codec: json", &[]),
    // It has no dates: they come as text, and a file keeps the text that it gets, `2024-02-29T10:00:00.123456`.
    ("envelope: entity, codec: json_schema", &["DATETIME", "TIME"]),
    ("envelope: entity, codec: avro", &[]),
    ("envelope: debezium, codec: avro", &[]),
    ("envelope: debezium, codec: json, inline_schema: true", &[]),
];

/// How changes are found.
const WAYS: [(&str, &str); 2] = [
    ("mode: incrementing, poll_interval_ms: 20, delay_ms: 0", ""),
    ("mode: queue, poll_interval_ms: 20", "change_table: {}"),
];

/// The first value of each row of the answers to these statements.
async fn answers(file: &Path, statements: &str) -> ServerResult<Vec<Option<String>>> {
    let failed = |error: sqlx::Error| ServerError::new(format!("{statements}: {error}"));
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.map_err(failed)?;
    let rows: Vec<SqliteRow> = sqlx::raw_sql(AssertSqlSafe(statements))
        .fetch_all(&mut connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

/// Storage class and content of every value.
async fn all_cells(file: &Path) -> Cells {
    let mut cells = Cells::new();
    for (number, (declared, literals)) in VALUES.iter().enumerate() {
        let query = format!("select typeof(v) || ' ' || quote(v) || ' ' || hex(v) from t{number} order by id");
        let found = answers(file, &query).await.unwrap();
        assert_eq!(found.len(), 2 * literals.len(), "{declared}");
        for (row, value) in found.into_iter().enumerate() {
            let literal = literals[row % literals.len()];
            cells.insert(format!("{declared} of {literal} in row {row}"), value);
        }
    }
    cells
}

fn definitions() -> String {
    let tables = VALUES.iter().enumerate();
    tables
        .map(|(number, (declared, _))| format!("create table t{number} (id integer primary key, v {declared});"))
        .collect()
}

/// All values once more, as rows with higher ids.
fn rows(round: usize) -> String {
    let mut statements = String::new();
    for (number, (_, literals)) in VALUES.iter().enumerate() {
        for (row, literal) in literals.iter().enumerate() {
            let id = round * literals.len() + row;
            statements += &format!("insert into t{number} values ({id}, {literal});");
        }
    }
    statements
}

async fn every_value_comes_back(
    (format, left_out): (&str, &[&str]),
    (query, connector): (&str, &str),
) -> Result<(), String> {
    let daemon = Daemon::new("").unwrap();
    let (source, target) = (daemon.path().join("source.db"), daemon.path().join("target.db"));
    for file in [&source, &target] {
        fs::write(file, b"").unwrap();
        answers(file, &format!("pragma journal_mode = wal; {}", definitions()))
            .await
            .unwrap();
    }
    answers(&source, &rows(0)).await.unwrap();
    let reads = format!(
        "type: sqlite, path: \"{}\", tables: [\"t*\"], query: {{ {query} }}",
        source.display()
    );
    let writes = format!("type: sqlite, path: \"{}\"", target.display());
    daemon
        .configure(&sections(
            &daemon,
            &reads,
            ("shop", connector),
            ("shop.*", &writes),
            format,
        ))
        .unwrap();
    if !connector.is_empty() {
        let printed = daemon.command("triggers install", &["shop", "--backfill", "--apply"]);
        let printed = printed.unwrap();
        assert_eq!(printed.code, Some(0), "{}", printed.all());
    }
    daemon.start().unwrap();
    let tables = 0..VALUES.len();
    let counts: Vec<String> = tables
        .map(|number| format!("(select count(*) from t{number})"))
        .collect();
    let counts = format!("select cast({} as text)", counts.join(" + "));
    let count =
        || async { Ok::<String, ServerError>(answers(&target, &counts).await?.into_iter().flatten().collect()) };
    let values: usize = VALUES.iter().map(|(_, literals)| literals.len()).sum();
    let named = |error: String| format!("{format}, {query}: {error}");
    arrives(&daemon, &values.to_string(), count).await.map_err(named)?;
    answers(&source, &rows(1)).await.unwrap();
    arrives(&daemon, &(2 * values).to_string(), count)
        .await
        .map_err(named)?;
    match differences(all_cells(&source).await, &all_cells(&target).await, left_out) {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(named(format!("\n{wrong}"))),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_a_file_comes_back() {
    let mut wrong = String::new();
    for format in FORMATS {
        for way in WAYS {
            wrong += &every_value_comes_back(format, way).await.err().unwrap_or_default();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
