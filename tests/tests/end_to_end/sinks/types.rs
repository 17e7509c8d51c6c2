//! A value of every type goes from a table through a stream into the same table elsewhere, and is the same value there: by the snapshot
//! and by the log, under each envelope and codec.

use std::fmt::Write;

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresVersion, eventually};

use super::{DEADLINE, sink};
use crate::vectors::{EXTENSIONS, database_of_simple_vectors};

/// What is between the two tables, and the columns of types that it does not carry so that they come back.
const FORMATS: [(&str, &[&str]); 5] = [
    ("envelope: entity, codec: json", &[]),
    ("envelope: entity, codec: avro", &[]),
    ("envelope: entity, codec: json_schema", &[]),
    ("envelope: debezium, codec: avro", &[]),
    ("envelope: debezium, codec: json, inline_schema: true", &[]),
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

async fn every_value_comes_back(version: PostgresVersion, format: &str, left_out: &[&str]) {
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
                let found = target.query_value("select count(*) from v").await?;
                Ok((found == wanted).then_some(()))
            });
            if let Err(error) = arrived.await {
                let letters = daemon
                    .command("dlq list", &["mirror"])
                    .map(|printed| printed.all())
                    .unwrap_or_default();
                panic!("{format}: {error}\n{letters}\n{}", daemon.log());
            }
        }
    };
    count("1").await;
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
    count("2").await;
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
    assert!(wrong.is_empty(), "{version}, {format}\n{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_postgres_comes_back() {
    for (format, left_out) in FORMATS {
        every_value_comes_back(PostgresVersion::V15, format, left_out).await;
    }
}
