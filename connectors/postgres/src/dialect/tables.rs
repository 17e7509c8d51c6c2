//! The tables and queries that are polled, as the database describes them: the same columns and keys that the log would have.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tailrace_core::schema::{Column, TableKind as RowKind, TableName, TableSchema};
use tailrace_core::{Error, Result};
use tailrace_sql::config::{CustomQuery, QueryConfig};
use tailrace_sql::{DiscoveredTable, IdGeneration};
use tokio_postgres::Client;

use super::catalog::{self, NAMES_VERSION, TableFacts};
use super::statement::{self, begin};
use crate::config::PostgresConfig;
use crate::discover::catalog::Relation;
use crate::discover::select::Readable;
use crate::discover::server::ServerFacts;
use crate::discover::{CapturedTable, in_one_snapshot, load_types, read_readables};
use crate::error::query_error;
use crate::quote::{identifier, qualified};
use crate::type_catalog::{ColumnType, TypeCatalog};

/// Everything that is polled, as of one moment.
pub(crate) struct Survey {
    /// The server.
    pub(crate) server: ServerFacts,
    /// Every relation of the database.
    pub(crate) relations: Vec<Relation>,
    /// How the patterns fared.
    pub(crate) selection: Readable,
    /// What is polled, in the order of names, queries last.
    pub(crate) tables: Vec<KnownTable>,
    /// Which relations there are.
    pub(super) names_version: i64,
}

/// A table or query that is polled.
#[derive(Debug, Clone)]
pub(crate) struct KnownTable {
    /// As every database describes it.
    pub(crate) table: DiscoveredTable,
    /// How values are read, in the order of the columns.
    pub(crate) columns: Vec<ColumnType>,
    /// Computed columns that are left out, as the log leaves them out.
    pub(crate) generated_columns: Vec<String>,
    /// Where its rows are from.
    pub(crate) origin: Origin,
}

/// Where rows are from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A relation of the database.
    Relation {
        /// Object id.
        oid: u32,
        /// What the catalogue says of it.
        facts: Box<TableFacts>,
    },
    /// A query of the configuration.
    Query {
        /// Its columns: what changes when a table below it does.
        answer: Vec<AnswerColumn>,
    },
}

/// A column of the answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerColumn {
    name: String,
    type_oid: u32,
    type_modifier: i32,
}

/// Looks at everything that is polled.
pub(crate) async fn survey(
    client: &Client,
    config: &PostgresConfig,
    query: &QueryConfig,
    server: ServerFacts,
) -> Result<Survey> {
    let database = server.database.clone();
    let survey = in_one_snapshot(client, async {
        let found = read_readables(client, config, server).await?;
        let oids: Vec<u32> = found.tables.iter().map(|(oid, _)| *oid).collect();
        let mut facts = catalog::facts(client, &oids).await?;
        let known =
            |(oid, table): (u32, CapturedTable)| known_table(oid, table, facts.remove(&oid).unwrap_or_default());
        Ok(Survey {
            names_version: names_version(client).await?,
            tables: found.tables.into_iter().map(known).collect(),
            server: found.server,
            relations: found.relations,
            selection: found.selection,
        })
    });
    let mut survey = survey.await?;
    for (name, custom) in &query.queries {
        let described = describe_query(client, &database, name, custom).await?;
        if survey.tables.iter().any(|known| known.name() == *name) {
            return Err(Error::definite(
                "query_name_taken",
                format!("`query.queries.{name}` has the name of a table that is polled too; call it otherwise"),
            ));
        }
        survey.tables.push(described);
    }
    Ok(survey)
}

async fn names_version(client: &Client) -> Result<i64> {
    let wrap = |error| query_error(&error, "list tables");
    let row = client.query_one(NAMES_VERSION, &[]).await.map_err(wrap)?;
    row.try_get(0).map_err(wrap)
}

fn known_table(oid: u32, captured: CapturedTable, facts: TableFacts) -> KnownTable {
    let names: Vec<&str> = captured
        .schema
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let table = DiscoveredTable {
        generated_id: generated_id(&captured, &facts),
        unique_columns: facts.unique_columns(&names),
        indexes: facts.indexes.iter().map(|index| index.columns.clone()).collect(),
        query: published(&captured),
        schema: captured.schema,
    };
    KnownTable {
        table,
        columns: captured.columns.into_iter().map(|column| column.kind).collect(),
        generated_columns: captured.generated_columns,
        origin: Origin::Relation {
            oid,
            facts: Box::new(facts),
        },
    }
}

/// The rows of a table that a publication with a condition has; `None` where it has all.
fn published(captured: &CapturedTable) -> Option<String> {
    let filter = captured.row_filter.as_ref()?;
    let name = &captured.schema.name;
    let columns = captured.schema.columns.iter().map(|column| identifier(&column.name));
    let columns: Vec<String> = columns.collect();
    let from = qualified(&name.schema, &name.table);
    Some(format!("SELECT {} FROM {from} WHERE ({filter})\n", columns.join(", ")))
}

/// The numbered column: the key, where that is numbered, else the first. A sequence never gives a number twice.
fn generated_id(captured: &CapturedTable, facts: &TableFacts) -> Option<(String, IdGeneration)> {
    let numbered = |column: &&Column| {
        let default = facts.defaults.get(&column.name);
        default.is_some_and(|default| default.sequence.is_some())
    };
    let mut keys = captured.schema.key_columns();
    let column = keys
        .find(numbered)
        .or_else(|| captured.schema.columns.iter().find(numbered))?;
    let sequence = facts.defaults.get(&column.name)?.sequence.as_ref()?;
    let generation = if sequence.cycles {
        IdGeneration::Application
    } else {
        IdGeneration::NeverReused
    };
    Some((column.name.clone(), generation))
}

/// Asks what a query would answer, without asking it.
pub(super) async fn answer(client: &Client, sql: &str) -> Result<Vec<AnswerColumn>, tokio_postgres::Error> {
    let prepared = client.prepare(&statement::answer(sql)).await?;
    let column = |column: &tokio_postgres::Column| AnswerColumn {
        name: column.name().to_owned(),
        type_oid: column.type_().oid(),
        type_modifier: column.type_modifier(),
    };
    Ok(prepared.columns().iter().map(column).collect())
}

async fn describe_query(client: &Client, database: &str, name: &str, custom: &CustomQuery) -> Result<KnownTable> {
    let doing = format!("describe the answer of `query.queries.{name}`");
    let wrap = |error| query_error(&error, &doing);
    client.batch_execute(&begin(true)).await.map_err(wrap)?;
    let described = async {
        let columns = answer(client, &custom.sql).await.map_err(wrap)?;
        let mut types = TypeCatalog::builtin();
        let oids: Vec<u32> = columns.iter().map(|column| column.type_oid).collect();
        load_types(client, &mut types, &oids).await?;
        Ok((columns, types))
    };
    let described = described.await;
    client.batch_execute("ROLLBACK").await.map_err(wrap)?;
    let (columns, types) = described?;
    refuse_ambiguous(name, &columns)?;
    let kinds: Vec<ColumnType> = columns
        .iter()
        .map(|column| types.column(column.type_oid, column.type_modifier))
        .collect();
    let schema = TableSchema {
        name: query_name(database, name),
        kind: RowKind::Table,
        columns: columns.iter().zip(&kinds).map(answer_column).collect(),
        key: key(name, custom, &columns)?,
        documentation: None,
    };
    Ok(KnownTable {
        table: DiscoveredTable {
            schema: Arc::new(schema),
            generated_id: None,
            unique_columns: Vec::new(),
            indexes: Vec::new(),
            // A comment at its end must not swallow what comes behind it.
            query: Some(format!("{}\n", custom.sql)),
        },
        columns: kinds,
        generated_columns: Vec::new(),
        origin: Origin::Query { answer: columns },
    })
}

/// `reports.sums` is in the schema `reports`; `sums` is in none.
fn query_name(database: &str, name: &str) -> TableName {
    let (schema, table) = name.split_once('.').unwrap_or(("", name));
    TableName {
        database: database.to_owned(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

/// What may be NULL in an answer, no server says.
fn answer_column((column, kind): (&AnswerColumn, &ColumnType)) -> Column {
    Column {
        source_type: kind.source_type.clone(),
        ..Column::new(column.name.clone(), kind.logical_type.clone())
    }
}

fn key(name: &str, custom: &CustomQuery, columns: &[AnswerColumn]) -> Result<Vec<usize>> {
    let place = |key: &String| {
        let place = columns.iter().position(|column| column.name == *key);
        place.ok_or_else(|| {
            let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let message = format!(
                "`query.queries.{name}.key` names {key}, which the query's answer does not have; it has {}",
                known.join(", ")
            );
            Error::definite("query_key", message)
        })
    };
    custom.key.iter().map(place).collect()
}

fn refuse_ambiguous(name: &str, columns: &[AnswerColumn]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let twice = columns.iter().find(|column| !seen.insert(column.name.as_str()));
    let Some(column) = twice else {
        return Ok(());
    };
    Err(Error::definite(
        "query_columns",
        format!(
            "the answer of `query.queries.{name}` has two columns called {}; give each a name of its own with AS",
            column.name
        ),
    ))
}

// === impl Survey ===

impl Survey {
    /// Refuses what cannot be polled as configured. `is_first` says that nothing was polled yet: later a pattern may fit nothing any
    /// more because a table was dropped, which is told otherwise.
    pub(super) fn verify(&self, is_first: bool) -> Result<()> {
        let unmatched = &self.selection.unmatched;
        if is_first && !unmatched.is_empty() {
            return Err(Error::definite(
                "tables_unmatched",
                format!(
                    "`{}` in `tables` matches no table of the database \"{}\"; upper and lower case differ, without a dot the schema is \
                     public, and a view is only read where its whole name is written",
                    unmatched.join("`, `"),
                    self.server.database
                ),
            ));
        }
        match self.tables.iter().find(|known| known.has_heirs()) {
            Some(known) => Err(Error::definite("table_inherited", inherited(known))),
            None => Ok(()),
        }
    }

    /// A number that changes with any of the tables, and when tables come and go.
    pub(super) fn version(&self) -> i64 {
        let tables = self.tables.iter().map(KnownTable::version);
        tables.fold(self.names_version, |sum, version| {
            sum.rotate_left(7).wrapping_mul(31).wrapping_add(version)
        })
    }

    /// The tables by name.
    pub(super) fn by_name(&self) -> HashMap<TableName, KnownTable> {
        let tables = self.tables.iter();
        tables
            .map(|known| (known.table.schema.name.clone(), known.clone()))
            .collect()
    }
}

/// Why a table that others inherit from is not read, and what to do.
pub(crate) fn inherited(known: &KnownTable) -> String {
    let name = &known.table.schema.name;
    format!(
        "other tables inherit from {}, and a query for its rows gives theirs too, with ids that are unique in neither; put it into \
         `exclude` and poll `SELECT * FROM ONLY {}` under `query.queries`",
        name.qualified(),
        qualified(&name.schema, &name.table)
    )
}

// === impl KnownTable ===

impl KnownTable {
    /// Name in full, as in the configuration.
    pub(crate) fn name(&self) -> String {
        self.table.schema.name.qualified()
    }

    /// What the catalogue says of it; nothing of a query.
    pub(crate) fn facts(&self) -> Option<&TableFacts> {
        match &self.origin {
            Origin::Relation { facts, .. } => Some(facts),
            Origin::Query { .. } => None,
        }
    }

    /// Object id; a query has none.
    pub(crate) fn oid(&self) -> Option<u32> {
        match &self.origin {
            Origin::Relation { oid, .. } => Some(*oid),
            Origin::Query { .. } => None,
        }
    }

    /// Its rows would come with those of other tables.
    pub(crate) fn has_heirs(&self) -> bool {
        self.facts().is_some_and(|facts| facts.has_heirs)
    }

    fn version(&self) -> i64 {
        match &self.origin {
            Origin::Relation { facts, .. } => facts.version,
            Origin::Query { answer } => answer.iter().fold(0, |sum, column| {
                let bytes = column.name.bytes().map(i64::from);
                let numbers = [i64::from(column.type_oid), i64::from(column.type_modifier)];
                let all = bytes.chain(numbers);
                all.fold(sum, |sum: i64, number| sum.wrapping_mul(31).wrapping_add(number))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::catalog::RelationKind;
    use crate::discover::testing::{discovery, relation};

    fn column(name: &str) -> AnswerColumn {
        AnswerColumn {
            name: name.to_owned(),
            type_oid: 23,
            type_modifier: -1,
        }
    }

    #[test]
    fn what_a_publication_withholds_is_not_read() {
        let config: PostgresConfig =
            serde_json::from_str(r#"{"url": "postgres://u@h/d", "tables": ["orders"]}"#).unwrap();
        let orders = || vec![relation(1, "orders", RelationKind::Table, None)];
        let mut table = discovery(&config, orders(), |_| {}).tables.remove(0);
        assert_eq!(published(&table), None);
        table.row_filter = Some("a OR b".to_owned());
        let wanted = "SELECT \"id\", \"note\" FROM \"public\".\"orders\" WHERE (a OR b)\n";
        assert_eq!(published(&table).as_deref(), Some(wanted));
    }

    #[test]
    fn names_of_queries() {
        assert_eq!(query_name("shop", "sums").qualified(), "sums");
        let named = query_name("shop", "reports.sums");
        assert_eq!((named.schema.as_str(), named.table.as_str()), ("reports", "sums"));
    }

    #[test]
    fn answers_have_distinct_columns_and_the_key() {
        let columns = [column("a"), column("b")];
        assert!(refuse_ambiguous("sums", &columns).is_ok());
        let error = refuse_ambiguous("sums", &[column("a"), column("a")]).unwrap_err();
        assert_eq!(error.code(), "query_columns");
        let custom = |key: &str| CustomQuery {
            sql: "SELECT 1".to_owned(),
            key: vec![key.to_owned()],
        };
        assert_eq!(key("sums", &custom("b"), &columns).unwrap(), [1]);
        assert_eq!(key("sums", &custom("c"), &columns).unwrap_err().code(), "query_key");
    }
}
