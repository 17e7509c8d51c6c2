//! The publication as it is on the server, and which tables it publishes under which names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tokio_postgres::Client;

use crate::discover::server::{GENERATED_COLUMNS_MAJOR, ServerFacts};
use crate::discover::{CapturedTable, Discovery};
use crate::error::query_error;
use crate::memory::Memory;
use crate::quote::{identifier, qualified};

/// How long adding tables may wait for their writers. Other writers queue up behind it meanwhile, so it is short.
const ADD_LOCK_TIMEOUT: &str = "2s";

/// A publication. Read through JSON, so that columns that only newer servers have are simply absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Publication {
    /// Its number, which a publication that is made again under the same name does not get again. As text, which is what JSON
    /// makes of an oid.
    pub(crate) oid: String,
    /// Everything, now and in future.
    #[serde(rename = "puballtables")]
    pub(crate) all_tables: bool,
    /// INSERT is published.
    #[serde(rename = "pubinsert")]
    pub(crate) inserts: bool,
    /// UPDATE is published.
    #[serde(rename = "pubupdate")]
    pub(crate) updates: bool,
    /// DELETE is published.
    #[serde(rename = "pubdelete")]
    pub(crate) deletes: bool,
    /// TRUNCATE is published.
    #[serde(rename = "pubtruncate")]
    pub(crate) truncates: bool,
    /// Partitions go under their root's name.
    #[serde(rename = "pubviaroot")]
    pub(crate) via_root: bool,
    /// Tables under the names that the log will say: by schema, by table.
    #[serde(skip)]
    tables: BTreeMap<String, BTreeMap<String, PublishedTable>>,
}

/// A table as the log will name it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PublishedTable {
    /// Schema.
    #[serde(rename = "schemaname")]
    pub(crate) schema: String,
    /// Table.
    #[serde(rename = "tablename")]
    pub(crate) table: String,
    /// Columns that are published (PostgreSQL 15 and later).
    #[serde(rename = "attnames", default)]
    pub(crate) columns: Option<Vec<String>>,
    /// Condition that rows must meet (PostgreSQL 15 and later).
    #[serde(rename = "rowfilter", default)]
    pub(crate) row_filter: Option<String>,
}

/// Reads a publication; `None` where there is none of the name.
pub(crate) async fn publication(client: &Client, name: &str) -> Result<Option<Publication>> {
    let doing = format!("read the publication \"{name}\"");
    let wrap = |error| query_error(&error, &doing);
    let query = "SELECT to_jsonb(p)::text FROM pg_catalog.pg_publication p WHERE p.pubname = $1";
    let Some(row) = client.query_opt(query, &[&name]).await.map_err(wrap)? else {
        return Ok(None);
    };
    let mut publication: Publication = parse(&row.try_get::<_, String>(0).map_err(wrap)?)?;
    let query = "SELECT to_jsonb(t)::text FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1";
    for row in client.query(query, &[&name]).await.map_err(wrap)? {
        publication.insert(parse(&row.try_get::<_, String>(0).map_err(wrap)?)?);
    }
    Ok(Some(publication))
}

/// The statement that creates our publication: exactly these tables, without tables that merely inherit from them.
pub(crate) fn create_statement(name: &str, tables: &[TableName], via_root: bool, server: &ServerFacts) -> String {
    let names = tables.iter().map(|table| (table.schema.as_str(), table.table.as_str()));
    let options = options(via_root, server.major() >= GENERATED_COLUMNS_MAJOR);
    of_tables(name, names, &options)
}

/// The same, of tables by schema and name.
pub(crate) fn of_tables<'a>(name: &str, tables: impl Iterator<Item = (&'a str, &'a str)>, options: &str) -> String {
    let tables = tables.map(|(schema, table)| format!("ONLY {}", qualified(schema, table)));
    format!(
        "CREATE PUBLICATION {} FOR TABLE {} WITH ({options})",
        identifier(name),
        Vec::from_iter(tables).join(", ")
    )
}

/// The statement that adds tables to a publication, without tables that merely inherit from them.
pub(crate) fn add_statement(name: &str, tables: &[&TableName]) -> String {
    let only = tables
        .iter()
        .map(|table| format!("ONLY {}", qualified(&table.schema, &table.table)));
    format!(
        "ALTER PUBLICATION {} ADD TABLE {}",
        identifier(name),
        Vec::from_iter(only).join(", ")
    )
}

/// The same under a lock that waits for their writers to end: rows of a transaction that is open while a table is added are in neither
/// the log nor a snapshot that was begun before its end.
pub(crate) fn add_under_lock(name: &str, tables: &[&TableName]) -> String {
    let names = tables.iter().map(|table| qualified(&table.schema, &table.table));
    format!(
        "BEGIN; SET LOCAL lock_timeout = '{ADD_LOCK_TIMEOUT}'; LOCK TABLE {} IN SHARE MODE; {}; COMMIT",
        Vec::from_iter(names).join(", "),
        add_statement(name, tables)
    )
}

/// What our publication publishes, and how.
pub(crate) fn options(via_root: bool, generated_columns: bool) -> String {
    let mut options = "publish = 'insert, update, delete, truncate'".to_owned();
    if via_root {
        options.push_str(", publish_via_partition_root = true");
    }
    if generated_columns {
        options.push_str(", publish_generated_columns = stored");
    }
    options
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Error::definite(
            "source_query",
            "the catalogue describes a publication in an unexpected way",
        )
        .with_source(error)
    })
}

// === impl Discovery ===

impl Discovery {
    /// As [`Publication::verify`], of the tables that were captured, are to be, and exist under their names.
    pub(crate) fn verify_publication(&self, memory: &Memory) -> Result<()> {
        let names = self.tables.iter().map(|table| table.schema.name.qualified());
        let captured = names.filter(|name| memory.tables.contains(name)).collect();
        Publication::verify(self.publication.as_ref(), memory, &captured)
    }

    /// Captured tables that the publication lacks.
    pub(crate) fn unpublished(&self) -> Vec<&CapturedTable> {
        let Some(publication) = &self.publication else {
            return Vec::new();
        };
        let lacking = |table: &&CapturedTable| publication.lacks(&table.schema.name.schema, &table.schema.name.table);
        self.tables.iter().filter(lacking).collect()
    }
}

// === impl Publication ===

impl Publication {
    /// Refuses a publication that is not the one that progress belongs to, or does not list every captured table any more: the
    /// server would not send their changes, and nothing in the log would say so.
    pub(crate) fn verify(publication: Option<&Self>, memory: &Memory, captured: &BTreeSet<String>) -> Result<()> {
        let name = &memory.publication;
        let is_another = |now: &Self| memory.publication_oid.as_ref().is_some_and(|oid| *oid != now.oid);
        let Some(publication) = publication.filter(|now| !is_another(now)) else {
            let what = publication.map_or("is gone; recreating it", |_| "was dropped and made again; that");
            let message = format!(
                "the publication \"{name}\" {what} does not help, because the slot reads it as of the past: \
                 drop the slot, `tailrace forget` the connector and start again with a snapshot"
            );
            return Err(Error::definite("publication_history", message));
        };
        let lost: Vec<&str> = captured
            .iter()
            .map(String::as_str)
            .filter(|name| !publication.lists(name))
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} was captured and is no longer in the publication \"{name}\": its changes since then are lost to this connector; \
             leave it out with `exclude`, or `tailrace forget` and start again with a snapshot",
            lost.join(", ")
        );
        Err(Error::definite("publication_changed", message))
    }

    /// Whether the table of this qualified name is published.
    pub(crate) fn lists(&self, qualified_name: &str) -> bool {
        let is_it = |table: &PublishedTable| qualified_name == format!("{}.{}", table.schema, table.table);
        self.all_tables || self.tables().any(is_it)
    }

    /// Whether a table is not published.
    pub(crate) fn lacks(&self, schema: &str, table: &str) -> bool {
        !self.all_tables && self.table(schema, table).is_none()
    }

    /// Actions that are not published.
    pub(crate) fn left_out(&self) -> Vec<&'static str> {
        let all = [
            ("insert", self.inserts),
            ("update", self.updates),
            ("delete", self.deletes),
            ("truncate", self.truncates),
        ];
        all.iter()
            .filter(|(_, published)| !published)
            .map(|(action, _)| *action)
            .collect()
    }

    /// The entry of a table.
    pub(crate) fn table(&self, schema: &str, table: &str) -> Option<&PublishedTable> {
        self.tables.get(schema)?.get(table)
    }

    /// Every table.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &PublishedTable> {
        self.tables.values().flat_map(BTreeMap::values)
    }

    /// As the catalogue describes them.
    #[cfg(test)]
    pub(crate) fn from_json(publication: &str, tables: &[&str]) -> Self {
        let mut publication: Self = parse(publication).unwrap();
        tables
            .iter()
            .for_each(|table| publication.insert(parse(table).unwrap()));
        publication
    }

    fn insert(&mut self, table: PublishedTable) {
        self.tables
            .entry(table.schema.clone())
            .or_default()
            .insert(table.table.clone(), table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_servers_say_less() {
        let json = r#"{"oid": "1", "pubname": "p", "pubowner": 10, "puballtables": false, "pubinsert": true, "pubupdate": true,
            "pubdelete": true, "pubtruncate": false, "pubviaroot": false}"#;
        let publication: Publication = parse(json).unwrap();
        assert!(!publication.truncates && publication.inserts);
        let table: PublishedTable = parse(r#"{"pubname": "p", "schemaname": "s", "tablename": "t"}"#).unwrap();
        assert_eq!((table.columns, table.row_filter), (None, None));
    }

    #[test]
    fn newer_servers_say_more() {
        let json = r#"{"oid": "1", "puballtables": false, "pubinsert": true, "pubupdate": true, "pubdelete": true, "pubtruncate": false,
            "pubviaroot": false, "pubgencols": "s", "pubfuture": 1}"#;
        assert_eq!(parse::<Publication>(json).unwrap().tables().count(), 0);
        let table: PublishedTable =
            parse(r#"{"schemaname": "s", "tablename": "t", "attnames": ["a"], "rowfilter": "(a > 1)"}"#).unwrap();
        assert_eq!(table.columns, Some(vec!["a".to_owned()]));
        assert_eq!(table.row_filter.as_deref(), Some("(a > 1)"));
        let mut publication: Publication = parse(json).unwrap();
        publication.insert(table);
        assert!(publication.table("s", "t").is_some() && publication.table("t", "s").is_none());
    }
}
