//! Values of every type of PostgreSQL, each through the snapshot and through the log: both as `tests/vectors/postgres.tsv` says.
//! Those of MySQL and MariaDB are in `mysql`.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use serde_json::value::RawValue;
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::servers::PostgresVersion;

use crate::capture::{Capture, Wanted};

pub(crate) mod mysql;

const VECTORS: &str = include_str!("../../vectors/postgres.tsv");

/// The literal of a vector whose expectation is the column's default in the inline schema.
pub(crate) const DEFAULT: &str = "default";

/// Types of the tests' own.
pub(crate) const TYPES: &str = "create type mood as enum ('V1', 'V2'); create type pair as (a int, b text);
    create domain positive as int check (value > 0);";

pub(crate) struct Vector {
    id: &'static str,
    column: String,
    data_type: &'static str,
    literal: &'static str,
    options: &'static str,
    expected: &'static str,
}

fn vectors(is_wanted: impl Fn(&Vector) -> bool) -> BTreeMap<&'static str, Vec<Vector>> {
    let mut by_options: BTreeMap<&str, Vec<Vector>> = BTreeMap::new();
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, data_type, literal, options, expected, _note] = fields[..] else {
            unreachable!("six fields: {line}");
        };
        let vector = Vector {
            id,
            column: id.to_lowercase(),
            data_type,
            literal,
            options,
            expected,
        };
        if is_wanted(&vector) {
            by_options.entry(options).or_default().push(vector);
        }
    }
    by_options
}

/// A database with these vectors as the columns of one row of a table `v`, and their literals.
async fn database_of(version: PostgresVersion, extensions: &[&str], vectors: &[Vector]) -> (Database, String) {
    let database = Database::shared(version).await.unwrap();
    for extension in extensions {
        database
            .execute(&format!("create extension \"{extension}\""))
            .await
            .unwrap();
    }
    let columns = vectors
        .iter()
        .map(|vector| format!(", {} {}", vector.column, vector.data_type));
    let table = format!(
        "{TYPES} create table v (id int primary key{})",
        columns.collect::<String>()
    );
    database.execute(&table).await.unwrap();
    let literals = vectors
        .iter()
        .map(|vector| format!(", {}", vector.literal))
        .collect::<String>();
    database
        .execute(&format!("insert into v values (1{literals})"))
        .await
        .unwrap();
    (database, literals)
}

/// A database with one row of the vectors that have no options, and whose arrays have one dimension.
pub(crate) async fn database_of_simple_vectors(version: PostgresVersion, extensions: &[&str]) -> Database {
    let is_simple = |vector: &Vector| {
        let has_dimensions = vector.data_type.contains("[]") && vector.expected.contains("[[");
        let has_bounds = vector.literal.contains("]={");
        vector.options.is_empty() && vector.literal != DEFAULT && !is_pgvector(vector) && !has_dimensions && !has_bounds
    };
    let vectors: Vec<Vector> = vectors(is_simple).into_values().flatten().collect();
    database_of(version, extensions, &vectors).await.0
}

/// Types and literals of all vectors, whatever their format, each pair once.
pub(crate) fn distinct_samples() -> Vec<(&'static str, &'static str)> {
    let is_plain = |vector: &Vector| vector.literal != DEFAULT && !is_pgvector(vector);
    let mut samples = Vec::new();
    for vector in vectors(is_plain).into_values().flatten() {
        let sample = (vector.data_type, vector.literal);
        if !samples.contains(&sample) {
            samples.push(sample);
        }
    }
    samples
}

/// Vectors by their options: databases that `carried` gives the first event of the table `v` of, published in a format.
pub(crate) async fn hold_in<F>(
    version: PostgresVersion,
    extensions: &[&str],
    is_wanted: impl Fn(&Vector) -> bool,
    carried: impl Fn(Database, String) -> F,
) where
    F: Future<Output = Event>,
{
    let mut wrong = String::new();
    for (options, vectors) in vectors(is_wanted) {
        let (database, _) = database_of(version, extensions, &vectors).await;
        let event = carried(database, format_of(options)).await;
        for vector in &vectors {
            let (found, holds) = compare(&event, vector);
            if !holds {
                let Vector {
                    id, literal, expected, ..
                } = vector;
                writeln!(wrong, "{id} {literal} ({options}): {found}, expected {expected}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{version}\n{wrong}");
}

fn format_of(options: &str) -> String {
    if options.starts_with("envelope") {
        options.to_owned()
    } else {
        with_envelope(options)
    }
}

/// How a table's rows are captured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By the table's own changes in the log.
    Log,
    /// By triggers: its change table is what is read.
    Triggers,
}

impl Way {
    /// Further lines of the connector.
    fn connector(self) -> &'static str {
        match self {
            Way::Log => "",
            Way::Triggers => "change_table: {}",
        }
    }

    /// Started, with what it needs in the database.
    fn start(self, database: Database, wanted: &Wanted<'_>) -> Capture {
        let capture = Capture::prepare(database, wanted);
        self.install(&capture);
        capture.start_again();
        capture
    }

    fn install(self, capture: &Capture) {
        if self == Way::Triggers {
            let arguments = [capture.database.name(), "--backfill", "--apply"];
            let printed = capture.daemon.command("triggers install", &arguments).unwrap();
            assert_eq!(printed.code, Some(0), "{}", printed.all());
            let printed = capture
                .daemon
                .command("triggers diff", &[capture.database.name()])
                .unwrap();
            assert_eq!(printed.code, Some(0), "{}", printed.all());
        }
    }
}

/// All vectors with one set of options are the columns of one table: a row for the snapshot, the same row for the log.
async fn hold(version: PostgresVersion, extensions: &[&str], source: &str, is_wanted: impl Fn(&Vector) -> bool) {
    hold_by(Way::Log, version, extensions, source, is_wanted).await;
}

async fn hold_by(
    way: Way,
    version: PostgresVersion,
    extensions: &[&str],
    source: &str,
    is_wanted: impl Fn(&Vector) -> bool,
) {
    let mut wrong = String::new();
    for (options, vectors) in vectors(is_wanted) {
        let (database, literals) = database_of(version, extensions, &vectors).await;
        let format = format_of(options);
        let capture = way.start(
            database,
            &Wanted {
                tables: "[public.v]",
                format: &format,
                source,
                connector: way.connector(),
                ..Wanted::default()
            },
        );
        capture.after(&format!("insert into v values (2{literals})"), "v").await;
        let events = capture.events("v");
        assert_eq!(events.len(), 2, "{options}");
        for (event, way) in events.iter().zip(["snapshot", "log"]) {
            for vector in &vectors {
                let (found, holds) = compare(event, vector);
                if !holds {
                    let Vector {
                        id,
                        data_type,
                        literal,
                        options,
                        expected,
                        ..
                    } = vector;
                    writeln!(
                        wrong,
                        "{id} {data_type} {literal} ({options}) by {way}: {found}, expected {expected}"
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{version} {source}\n{wrong}");
}

/// What was published, and whether it is as expected.
fn compare(event: &Event, vector: &Vector) -> (String, bool) {
    if vector.literal == DEFAULT {
        let expected: Value = serde_json::from_str(vector.expected).unwrap();
        let found = default_of(event, &vector.column);
        return (found.to_string(), found == expected);
    }
    let found = field(event, &vector.column);
    let holds = found == vector.expected;
    (found, holds)
}

fn with_envelope(options: &str) -> String {
    if options.is_empty() {
        "envelope: debezium".to_owned()
    } else {
        format!("envelope: debezium, {options}")
    }
}

/// A field of the row, in the very bytes that were published.
fn field(event: &Event, column: &str) -> String {
    let value = event.value.as_deref().unwrap();
    let envelope: BTreeMap<String, &RawValue> = serde_json::from_slice(value).unwrap();
    let row = match envelope.get("after") {
        Some(after) => serde_json::from_str(after.get()).unwrap(),
        None => envelope,
    };
    row.get(column).map_or("missing", |field| field.get()).to_owned()
}

/// The default of a column in the schema that comes with the event.
fn default_of(event: &Event, column: &str) -> Value {
    let schema = event.value_json()["schema"].clone();
    let named = |fields: &Value, name: &str| {
        let fields = fields.as_array().cloned().unwrap_or_default();
        fields
            .into_iter()
            .find(|field| field["field"] == name)
            .unwrap_or_default()
    };
    let row = named(&schema["fields"], "after");
    let field = named(&row["fields"], column);
    field["default"].clone()
}

pub(crate) fn is_pgvector(vector: &Vector) -> bool {
    ["VECTOR", "HALFVEC", "SPARSEVEC"]
        .iter()
        .any(|name| vector.data_type.starts_with(name))
}

/// What another PostgreSQL than Debian's has no extension for.
fn needs_extension(vector: &Vector) -> bool {
    let names = ["CITEXT", "HSTORE", "LTREE", "ISBN", "GEOMETRY", "GEOGRAPHY"];
    is_pgvector(vector) || names.iter().any(|name| vector.data_type.starts_with(name))
}

/// Types that are only read as text: `check` refuses them under `binary: true`.
fn has_binary_form(vector: &Vector) -> bool {
    let text_only = [
        "TSVECTOR",
        "TSQUERY",
        "MONEY",
        "ISBN",
        "PAIR",
        "PG_LSN",
        "GEOMETRY[]",
        "HSTORE[]",
    ];
    let kind = vector.data_type.trim_end_matches("[]");
    !kind.ends_with("RANGE") && !text_only.iter().any(|name| vector.data_type.starts_with(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_holds_through_a_change_table() {
    hold_by(Way::Triggers, PostgresVersion::V15, &EXTENSIONS, "", |vector| {
        !is_pgvector(vector)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_types_hold_through_a_change_table() {
    let is_new = |vector: &Vector| {
        let is_numeric = ["NUMERIC", "DECIMAL"].contains(&vector.data_type);
        let is_infinite = is_numeric && vector.literal.contains("Infinity");
        is_infinite || vector.data_type.contains("MULTIRANGE")
    };
    hold_by(Way::Triggers, PostgresVersion::V13, &[], "", |vector| {
        !needs_extension(vector) && !is_new(vector)
    })
    .await;
    hold_by(Way::Triggers, PostgresVersion::V18, &[], "", |vector| {
        !needs_extension(vector)
    })
    .await;
}

pub(crate) const EXTENSIONS: [&str; 5] = ["citext", "hstore", "ltree", "isn", "postgis"];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_holds_as_text() {
    hold(PostgresVersion::V15, &EXTENSIONS, "", |vector| !is_pgvector(vector)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_holds_in_binary() {
    hold(PostgresVersion::V15, &EXTENSIONS, "binary: true", |vector| {
        !is_pgvector(vector) && has_binary_form(vector)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_numbers_hold() {
    hold(PostgresVersion::V16, &["vector"], "", is_pgvector).await;
    hold(PostgresVersion::V18, &["vector"], "binary: true", is_pgvector).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_types_hold_on_the_newest_version() {
    hold(PostgresVersion::V18, &[], "", |vector| !needs_extension(vector)).await;
}
