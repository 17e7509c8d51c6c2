//! A value of every type goes from a table through a stream into the same table elsewhere, and is the same value there: by the snapshot
//! and by the log, under each envelope and codec. Here are those of PostgreSQL; those of the others are beside it.

use std::collections::BTreeMap;
use std::fmt::Write;

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresVersion, Result as ServerResult, eventually};

use super::{DEADLINE, sink};
use crate::vectors::{EXTENSIONS, database_of_simple_vectors};

mod mysql;
mod sqlite;

/// Cells as text, by column and row; NULL is `None`.
type Cells = BTreeMap<String, Option<String>>;

/// Intervals: Debezium's are numbers of microseconds, in which a month is a twelfth of a year.
const INTERVAL: &str = "pv217";

/// What is between the two tables, and the columns of types that it does not carry whole.
const FORMATS: [(&str, &[&str]); 5] = [
    ("envelope: entity, codec: json", &[]),
    ("envelope: entity, codec: json_schema", &[]),
    ("envelope: entity, codec: avro", &[]),
    ("envelope: debezium, codec: avro", &[INTERVAL]),
    ("envelope: debezium, codec: json, inline_schema: true", &[INTERVAL]),
];

/// Each column of the rows as text, by column and id.
async fn texts(database: &Database, columns: &[String]) -> ServerResult<Cells> {
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

/// The configuration of a connector of this name and of a mirror of its topics, with the embedded stream between them.
fn sections(
    daemon: &Daemon,
    source: &str,
    (name, connector): (&str, &str),
    (topics, sink): (&str, &str),
    format: &str,
) -> String {
    let folder = daemon.path().join("events");
    let connector = if connector.is_empty() {
        "transforms: []"
    } else {
        connector
    };
    format!(
        "streams: {{ events: {{ type: file, path: \"{}\" }} }}\nconnectors:\n  \
         {name}: {{ stream: events, format: {{ {format} }}, source: {{ {source} }}, {connector} }}\n  \
         mirror: {{ stream: events, topics: [\"{topics}\"], sink: {{ {sink} }}, dead_letters: {{ policy: store }} }}\n",
        folder.display(),
    )
}

/// A daemon that mirrors a source in a target; started.
fn mirrored(source: &str, name: &str, target: (&str, &str), format: &str) -> Daemon {
    let daemon = Daemon::new("").unwrap();
    daemon
        .configure(&sections(&daemon, source, (name, ""), target, format))
        .unwrap();
    daemon.start().unwrap();
    daemon
}

/// Waits until a query of the target gives this; the error is what the mirror says where it does not write a row.
async fn arrives<F>(daemon: &Daemon, wanted: &str, found: impl Fn() -> F) -> Result<(), String>
where
    F: Future<Output = ServerResult<String>>,
{
    let arrived = eventually("the row", DEADLINE, || async {
        if found().await? == wanted {
            return Ok(Some(Ok(())));
        }
        let (mirror, statuses) = (daemon.connector("mirror")?, daemon.get("/status")?.body);
        let refused =
            statuses.replace(' ', "").contains("\"state\":\"halted\"") || mirror["dead_letters"]["waiting"] != 0;
        let why = || format!("{} {}\n", mirror["dead_letters"]["newest_reason"], statuses);
        Ok(refused.then(|| Err(why())))
    });
    arrived.await.map_err(|error| error.to_string()).flatten()
}

/// Cells that differ, but for those of columns that are left out.
fn differences(wanted: Cells, found: &Cells, left_out: &[&str]) -> String {
    let mut wrong = String::new();
    for (place, wanted) in wanted {
        let is_left_out = left_out.iter().any(|column| place.starts_with(&format!("{column} ")));
        let found = found.get(&place).cloned().flatten();
        if wanted != found && !is_left_out {
            writeln!(wrong, "{place}: {found:?}, and was {wanted:?}").unwrap();
        }
    }
    wrong
}

async fn every_value_comes_back(version: PostgresVersion, format: &str, left_out: &[&str]) -> Result<(), String> {
    let source = database_of_simple_vectors(version, &EXTENSIONS).await;
    let target = database_of_simple_vectors(version, &EXTENSIONS).await;
    target.execute("delete from v").await.unwrap();
    let found =
        source.query("select attname from pg_attribute where attrelid = 'v'::regclass and attnum > 0 order by attnum");
    let columns: Vec<String> = found.await.unwrap().into_iter().flatten().flatten().collect();
    let reads = format!("type: postgres, url: \"{}\", tables: [public.v]", source.url());
    let daemon = mirrored(
        &reads,
        source.name(),
        (&source.topic("*"), &sink(&target, None)),
        format,
    );
    let count = || target.query_value("select count(*) from v");
    arrives(&daemon, "1", count).await?;
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
    arrives(&daemon, "2", count).await?;
    let (wanted, found) = (
        texts(&source, &columns).await.unwrap(),
        texts(&target, &columns).await.unwrap(),
    );
    let wrong = differences(wanted, &found, left_out);
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
