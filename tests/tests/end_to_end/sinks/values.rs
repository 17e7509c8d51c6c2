//! A value of every type goes from a table through a stream into the same table elsewhere, and is the same value there: by the snapshot
//! and by the log, under each envelope and codec.

use std::fmt::Write;

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresVersion, eventually};

use super::{DEADLINE, sink};
use crate::vectors::{EXTENSIONS, database_of_simple_vectors};

/// Paths: that one is closed is not among what a schema says of a geometry.
const PATH: &str = "pv208";
/// Intervals: Debezium's are numbers of microseconds, in which a month is a twelfth of a year.
const INTERVAL: &str = "pv217";

/// What is between the two tables, and the columns of types that it does not carry whole.
const FORMATS: [(&str, &[&str]); 4] = [
    ("envelope: entity, codec: json", &[]),
    ("envelope: entity, codec: avro", &[PATH]),
    ("envelope: debezium, codec: avro", &[PATH, INTERVAL]),
    (
        "envelope: debezium, codec: json, inline_schema: true",
        &[PATH, INTERVAL],
    ),
];

/// Each column of the rows as text, by column and id.
async fn texts(
    database: &Database,
    columns: &[String],
) -> Result<Vec<(String, Option<String>)>, tailrace_tests::servers::ServerError> {
    let list: Vec<String> = columns.iter().map(|column| format!("\"{column}\"::text")).collect();
    let rows = database
        .query(&format!("select {} from v order by id", list.join(", ")))
        .await?;
    let cells = rows.into_iter().enumerate().flat_map(|(row, cells)| {
        let named = columns.iter().cloned().zip(cells);
        named
            .map(move |(column, cell)| (format!("{column} of row {}", row + 1), cell))
            .collect::<Vec<_>>()
    });
    Ok(cells.collect())
}

async fn every_value_comes_back(version: PostgresVersion, format: &str, left_out: &[&str]) -> Result<(), String> {
    let source = database_of_simple_vectors(version, &EXTENSIONS).await;
    let target = database_of_simple_vectors(version, &EXTENSIONS).await;
    target.execute("delete from v").await.unwrap();
    let found =
        source.query("select attname from pg_attribute where attrelid = 'v'::regclass and attnum > 0 order by attnum");
    let columns: Vec<String> = found.await.unwrap().into_iter().flatten().flatten().collect();
    let daemon = Daemon::new("").unwrap();
    let folder = daemon.path().join("events");
    let sections = format!(
        "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
         {}: {{ stream: events, format: {{ {format} }}, source: {{ type: postgres, url: \"{}\", tables: [public.v] }} }}\n  \
         mirror: {{ stream: events, topics: [\"{}\"], sink: {{ {} }}, dead_letters: {{ policy: store }} }}\n",
        folder.display(),
        source.name(),
        source.url(),
        source.topic("*"),
        sink(&target, None),
    );
    daemon.configure(&sections).unwrap();
    daemon.start().unwrap();
    let count = |wanted: &'static str| {
        let (target, daemon) = (&target, &daemon);
        async move {
            let arrived = eventually("the row", DEADLINE, || async {
                if target.query_value("select count(*) from v").await? == wanted {
                    return Ok(Some(Ok(())));
                }
                let status = daemon.connector("mirror")?;
                let refused = status["state"] == "halted" || status["dead_letters"]["waiting"] != 0;
                let why = format!("{} {}", status["reason"], status["dead_letters"]["newest_reason"]);
                Ok(refused.then_some(Err(format!("{version}, {format}: {why}\n"))))
            });
            arrived.await.map_err(|error| error.to_string()).flatten()
        }
    };
    count("1").await?;
    let rest: Vec<String> = columns
        .iter()
        .filter(|column| *column != "id")
        .map(|column| format!("\"{column}\""))
        .collect();
    let rest = rest.join(", ");
    source
        .execute(&format!("insert into v (id, {rest}) select 2, {rest} from v"))
        .await
        .unwrap();
    count("2").await?;
    let (wanted, found) = (
        texts(&source, &columns).await.unwrap(),
        texts(&target, &columns).await.unwrap(),
    );
    let mut wrong = String::new();
    for ((place, wanted), (_, found)) in wanted.into_iter().zip(found) {
        let is_left_out = left_out.iter().any(|column| place.starts_with(&format!("{column} ")));
        if wanted != found && !is_left_out {
            writeln!(wrong, "{place}: {found:?}, and was {wanted:?}").unwrap();
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{version}, {format}\n{wrong}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_postgres_comes_back() {
    let mut wrong = String::new();
    for (format, left_out) in FORMATS {
        wrong += &every_value_comes_back(PostgresVersion::V15, format, left_out)
            .await
            .err()
            .unwrap_or_default();
    }
    assert!(wrong.is_empty(), "{wrong}");
}
