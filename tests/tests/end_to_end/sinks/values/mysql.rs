//! MySQL into MySQL, MariaDB into MariaDB: all vectors of `tests/vectors/mysql.tsv`.

use std::collections::{BTreeMap, BTreeSet};

use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlVersion, Result as ServerResult};

use super::{Cells, arrives, differences, mirrored, sink};
use crate::vectors::DEFAULT;
use crate::vectors::mysql::{COLUMNS_MAXIMUM, SESSION, vectors};

/// Numbers in documents that the server keeps as decimals, and makes doubles of where they come as text: -3.140 is -3.14, 1.10 is 1.1, and one of
/// 65 digits is refused.
const DECIMALS_IN_DOCUMENTS: [&str; 3] = ["TR216", "TR217", "TR222"];

/// An ENUM's number 0, which a server that is not strict makes of what is none of its members: a strict one takes it from nobody.
const NO_MEMBER: &str = "TR60";

/// Dates that no calendar has, where nothing is said about them: they come as NULL, or as 1970-01-01 where there is no NULL. With
/// `invalid_dates: text` they are among the values, too.
const NO_DATES: [&str; 10] = [
    "TR120", "TR121", "TR122", "TR123", "TR124", "TR125", "TR126", "TR127", "MV103", "MV106",
];

/// Plain JSON, which has no types: a date is what its column holds, and what no calendar has is refused.
const PLAIN: &str = "envelope: entity, codec: json";

/// What is between the two tables; `time: iso` because Avro's times are within a day, `bigint_unsigned` because half of those numbers have no
/// place in Connect's 64 bits.
const FORMATS: [&str; 5] = [
    PLAIN,
    "envelope: entity, codec: json_schema",
    "envelope: entity, codec: avro, time: iso",
    "envelope: debezium, codec: avro, bigint_unsigned: precise",
    "envelope: debezium, codec: json, inline_schema: true, bigint_unsigned: precise",
];

/// Tables with the values as columns: how they are made, and how a row of each is added.
struct Tables {
    definitions: String,
    rows: [String; 2],
    count: usize,
}

/// What a column is called, its type, and its value as it is written.
type Cell = (&'static str, &'static str, &'static str);

/// The vectors by what the writing session says first, those that are read under a setting of the source.
fn cells(version: MySqlVersion, setting: &str) -> BTreeMap<&'static str, Vec<Cell>> {
    let mut by_session: BTreeMap<&str, Vec<Cell>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for ((_, source, session), vectors) in vectors(version) {
        for vector in vectors.into_iter().filter(|_| source == setting) {
            let is_no_date = setting.is_empty() && NO_DATES.iter().any(|id| vector.id.starts_with(id));
            let is_decimal = DECIMALS_IN_DOCUMENTS.contains(&vector.id);
            let is_left_out = is_no_date || is_decimal || vector.id == NO_MEMBER || vector.literal == DEFAULT;
            // The same value under another format is the same value here.
            if !is_left_out && seen.insert((session, vector.data_type, vector.literal)) {
                let cell = (vector.id, vector.data_type, vector.literal);
                by_session.entry(session).or_default().push(cell);
            }
        }
    }
    by_session
}

// === impl Tables ===

impl Tables {
    fn of(version: MySqlVersion, setting: &str) -> Self {
        let mut tables = Self {
            definitions: String::new(),
            rows: [String::new(), String::new()],
            count: 0,
        };
        for (session, cells) in cells(version, setting) {
            for cells in cells.chunks(COLUMNS_MAXIMUM) {
                tables.push(session, cells);
            }
        }
        tables
    }

    fn push(&mut self, session: &str, cells: &[Cell]) {
        let number = self.count;
        let columns: String = cells.iter().map(|(id, kind, _)| format!(", {id} {kind}")).collect();
        let names: String = cells.iter().map(|(id, ..)| format!(", {id}")).collect();
        let values: String = cells.iter().map(|(.., literal)| format!(", {literal}")).collect();
        self.definitions += &format!("create table v{number} (id int primary key{columns});");
        for (id, statements) in self.rows.iter_mut().enumerate() {
            let session = match session {
                "" => String::new(),
                session => format!("{session};"),
            };
            *statements += &format!("{session} insert into v{number} (id{names}) values ({id}{values});");
        }
        self.count += 1;
    }
}

/// What tells the values of a type apart, as text.
fn exactly(data_type: &str, column: &str) -> String {
    match data_type {
        "float" | "double" => format!("concat({column} * 1e0)"),
        // A document prints in one way alone; a part of one may be no text.
        "json" => format!("hex(cast({column} as char))"),
        "enum" | "set" => format!("concat({column} + 0, ' ', hex({column}))"),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" | "date" | "time" | "datetime"
        | "timestamp" | "uuid" | "inet4" | "inet6" => format!("concat({column})"),
        _ => format!("hex({column})"),
    }
}

/// All cells of a database's tables.
async fn all_cells(database: &Database) -> ServerResult<Cells> {
    let schema = database.name();
    let columns = database
        .query(&format!(
            "select table_name, column_name, data_type from information_schema.columns where table_schema = '{schema}' \
             and table_name like 'v%' order by table_name, ordinal_position"
        ))
        .await?;
    let mut by_table: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for row in columns {
        if let [Some(table), Some(column), Some(kind)] = &row[..] {
            let exact = exactly(&kind.to_lowercase(), column);
            by_table.entry(table.clone()).or_default().push((column.clone(), exact));
        }
    }
    let mut cells = Cells::new();
    for (table, columns) in by_table {
        let list: Vec<&str> = columns.iter().map(|(_, exact)| exact.as_str()).collect();
        let query = format!("select {} from {table} order by id", list.join(", "));
        for (row, values) in database.query(&query).await?.into_iter().enumerate() {
            let names = columns
                .iter()
                .map(|(name, _)| format!("{name} of row {row} of {table}"));
            cells.extend(names.zip(values));
        }
    }
    Ok(cells)
}

async fn every_value_comes_back(version: MySqlVersion, format: &str, setting: &str) -> Result<(), String> {
    let tables = Tables::of(version, setting);
    let definitions = format!("{SESSION} {}", tables.definitions);
    let (source, target) = (
        Database::shared(version).await.unwrap(),
        Database::shared(version).await.unwrap(),
    );
    for database in [&source, &target] {
        database.execute(&definitions).await.unwrap();
    }
    let [for_snapshot, for_log] = &tables.rows;
    source.execute(&format!("{SESSION} {for_snapshot}")).await.unwrap();
    let mut reads = format!(
        "type: {}, url: \"{}\", tables: [{}.v*]",
        version.connector_type(),
        source.url(),
        source.name()
    );
    if !setting.is_empty() {
        reads += &format!(", {setting}");
    }
    let topics = source.topic("v*");
    let daemon = mirrored(&reads, source.name(), (&topics, &sink(&target, None)), format);
    let counts: Vec<String> = (0..tables.count)
        .map(|number| format!("(select count(*) from v{number})"))
        .collect();
    let counts = format!("select {}", counts.join(" + "));
    let named = |error: String| format!("{version}, {format}, {setting}: {error}");
    let count = || target.query_value(&counts);
    arrives(&daemon, &tables.count.to_string(), count)
        .await
        .map_err(named)?;
    source.execute(&format!("{SESSION} {for_log}")).await.unwrap();
    arrives(&daemon, &(2 * tables.count).to_string(), count)
        .await
        .map_err(named)?;
    let (wanted, found) = (all_cells(&source).await.unwrap(), all_cells(&target).await.unwrap());
    assert!(wanted.len() > 2 * tables.count, "{version}: nothing is compared");
    match differences(wanted, &found, &[]) {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(named(format!("\n{wrong}"))),
    }
}

async fn every_type_comes_back(version: MySqlVersion) {
    let mut wrong = String::new();
    for format in FORMATS {
        for setting in ["", "invalid_dates: text"] {
            if format == PLAIN && !setting.is_empty() {
                continue;
            }
            let outcome = every_value_comes_back(version, format, setting).await;
            wrong += &outcome.err().unwrap_or_default();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mysql_comes_back() {
    every_type_comes_back(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mariadb_comes_back() {
    every_type_comes_back(MySqlVersion::MariaDb1011).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_the_oldest_mysql_comes_back() {
    every_type_comes_back(MySqlVersion::MySql56).await;
}
