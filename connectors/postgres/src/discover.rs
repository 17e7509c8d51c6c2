//! From the catalogue to the tables that are captured: their columns, keys, types and the tables that hold their rows.

pub(crate) mod catalog;
pub(crate) mod publication;
pub(crate) mod select;
pub(crate) mod server;
mod type_query;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::{Error, Result};
use tokio_postgres::Client;

use crate::config::PostgresConfig;
use crate::connect::{self, Purpose};
use crate::decode::default::{default_value, is_computed};
use crate::discover::catalog::{Attribute, Details, Generated, KeyIndex, Relation, ReplicaIdentity};
use crate::discover::publication::{Publication, PublishedTable};
use crate::discover::select::{Readable, Selected, Selection};
use crate::discover::server::{GENERATED_COLUMNS_MAJOR, ServerFacts};
use crate::error::query_error;
use crate::type_catalog::{ColumnType, TypeCatalog};

pub(crate) use type_query::load_types;
use type_query::types_of;

/// What is on the server and what is captured of it, all as of one moment.
pub(crate) struct Discovery {
    /// The server.
    pub(crate) server: ServerFacts,
    /// The publication, where it is there already.
    pub(crate) publication: Option<Publication>,
    /// Captured tables.
    pub(crate) tables: Vec<CapturedTable>,
    /// What the publication must list; partitioned tables stand for their partitions.
    pub(crate) publish: Vec<TableName>,
    /// Every relation, for those who look at what is not captured.
    pub(crate) relations: Vec<Relation>,
    /// How the patterns fared.
    pub(crate) selection: Selection,
    /// Columns and keys of the captured tables and of the tables that hold their rows.
    pub(crate) details: Details,
    /// The types of the captured columns.
    pub(crate) types: TypeCatalog,
}

/// One captured table.
#[derive(Debug, Clone)]
pub(crate) struct CapturedTable {
    /// Name, columns and key.
    pub(crate) schema: SharedSchema,
    /// What else is known of the columns, in the order of `schema.columns`.
    pub(crate) columns: Vec<CapturedColumn>,
    /// Which columns the log carries of a row before its change.
    pub(crate) identity: ReplicaIdentity,
    /// The tables that hold its rows: itself, or its partitions.
    pub(crate) heaps: Vec<Heap>,
    /// Rows by the server's statistics.
    pub(crate) rows_estimated: Option<u64>,
    /// Condition of the publication that rows must meet.
    pub(crate) row_filter: Option<String>,
    /// Computed columns that the log does not carry.
    pub(crate) generated_columns: Vec<String>,
    /// Other columns that the publication does not list.
    pub(crate) unlisted_columns: Vec<String>,
}

/// What the schema does not say of a column.
#[derive(Debug, Clone)]
pub(crate) struct CapturedColumn {
    /// Type.
    pub(crate) type_oid: u32,
    /// Type modifier, -1 for none.
    pub(crate) type_modifier: i32,
    /// How values are read.
    pub(crate) kind: ColumnType,
}

/// A table that holds rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heap {
    /// Object id.
    pub(crate) oid: u32,
    /// Schema.
    pub(crate) schema: String,
    /// Name.
    pub(crate) name: String,
    /// Rows by the server's statistics.
    pub(crate) rows_estimated: Option<u64>,
}

/// What tables are put together from.
struct Assembly<'a> {
    server: &'a ServerFacts,
    publication: Option<&'a Publication>,
    relations: HashMap<u32, &'a Relation>,
    attributes: HashMap<u32, Vec<&'a Attribute>>,
    keys: HashMap<u32, Vec<&'a KeyIndex>>,
    types: &'a TypeCatalog,
}

// === impl Discovery ===

impl Discovery {
    /// Fills in the tables from what was read.
    fn put_together(mut self) -> Self {
        let lookups = (&self.details, &self.types);
        let assembly = Assembly::new(&self.server, self.publication.as_ref(), &self.relations, lookups);
        let selection = &self.selection;
        let tables = selection
            .captured
            .iter()
            .filter_map(|selected| assembly.table(selected))
            .collect();
        let publish = selection.publish.iter().filter_map(|oid| assembly.name(*oid)).collect();
        (self.tables, self.publish) = (tables, publish);
        self
    }

    /// Tables that hold captured rows and have no replica identity: once their updates are published, every UPDATE and DELETE of
    /// the *application* fails (SQLSTATE 55000). Partitions have an identity of their own.
    pub(crate) fn heaps_without_identity(&self) -> Vec<&Relation> {
        let heaps: BTreeSet<u32> = self
            .selection
            .captured
            .iter()
            .flat_map(|table| &table.heaps)
            .copied()
            .collect();
        let heaps = self.relations.iter().filter(|relation| heaps.contains(&relation.oid));
        heaps.filter(|relation| !self.has_identity(relation)).collect()
    }

    /// Whether a table that holds captured rows has a primary key.
    pub(crate) fn has_primary_key(&self, oid: u32) -> bool {
        self.details.keys.iter().any(|key| key.relation == oid && key.primary)
    }

    fn has_identity(&self, table: &Relation) -> bool {
        match table.identity {
            ReplicaIdentity::Full => true,
            ReplicaIdentity::Nothing => false,
            ReplicaIdentity::Default => self.has_primary_key(table.oid),
            ReplicaIdentity::Index => self
                .details
                .keys
                .iter()
                .any(|key| key.relation == table.oid && key.identity),
        }
    }
}

/// Looks at the whole database. A pattern that matches nothing is an error.
pub(crate) async fn discover(client: &Client, config: &PostgresConfig, connector: &str) -> Result<Discovery> {
    let discovery = survey(client, config, connector).await?;
    if discovery.selection.unmatched.is_empty() {
        return Ok(discovery);
    }
    let patterns = discovery.selection.unmatched.join("`, `");
    Err(Error::definite(
        "tables_unmatched",
        format!(
            "`{patterns}` in `tables` matches no table of the database \"{}\"; upper and lower case differ, and without a dot the schema is public",
            discovery.server.database
        ),
    ))
}

/// The captured tables as they are now.
pub(crate) async fn describe(config: &PostgresConfig) -> Result<Vec<SharedSchema>> {
    // Nothing is created, so the names on the server, which the connector's name stands for, do not matter.
    let connector = "describe";
    let session = connect::connect(config, connector, Purpose::Catalog).await?;
    let discovery = discover(&session, config, connector).await?;
    Ok(discovery.tables.into_iter().map(|table| table.schema).collect())
}

/// As [`discover`], but what the patterns miss is left to the caller.
pub(crate) async fn survey(client: &Client, config: &PostgresConfig, connector: &str) -> Result<Discovery> {
    let server = server::server_facts(client).await?;
    in_one_snapshot(client, read_database(client, config, connector, server)).await
}

/// One table as it is now, for a log that speaks of it in a new way; `None` where it is not captured or gone.
pub(crate) async fn describe_relation(
    client: &Client,
    config: &PostgresConfig,
    connector: &str,
    oid: u32,
) -> Result<Option<CapturedTable>> {
    let server = server::server_facts(client).await?;
    let publication = publication::publication(client, &config.server_names(connector)?.publication).await?;
    let relations = catalog::relations(client, Some(&[oid])).await?;
    let selection = select::select(&relations, &config.patterns()?, via_root(config, publication.as_ref()));
    let Some(selected) = selection.captured.iter().find(|selected| selected.oid == oid) else {
        return Ok(None);
    };
    let details = catalog::details(client, &[oid]).await?;
    let types = types_of(client, &details).await?;
    let assembly = Assembly::new(&server, publication.as_ref(), &relations, (&details, &types));
    Ok(assembly.table(selected))
}

/// What queries can read, all as of one moment.
pub(crate) struct Readables {
    /// The server.
    pub(crate) server: ServerFacts,
    /// Every relation.
    pub(crate) relations: Vec<Relation>,
    /// How the patterns fared.
    pub(crate) selection: Readable,
    /// What is read, with its object id: columns and key as the log would have them.
    pub(crate) tables: Vec<(u32, CapturedTable)>,
}

/// Looks at what fits the patterns, within a transaction of the caller's. Where the log is read and its publication is named, tables have the
/// columns and the rows that it publishes of them.
pub(crate) async fn read_readables(client: &Client, config: &PostgresConfig, server: ServerFacts) -> Result<Readables> {
    let publication = match (&config.query, &config.publication) {
        (None, Some(name)) => publication::publication(client, name).await?,
        _ => None,
    };
    let relations = catalog::relations(client, None).await?;
    let selection = select::select_readable(&relations, &config.patterns()?);
    let details = catalog::details(client, &selection.tables).await?;
    let types = types_of(client, &details).await?;
    let assembly = Assembly::new(&server, publication.as_ref(), &relations, (&details, &types));
    let table = |oid: &u32| {
        let selected = Selected {
            oid: *oid,
            heaps: Vec::new(),
        };
        Some((*oid, assembly.table(&selected)?))
    };
    let tables = selection.tables.iter().filter_map(table).collect();
    Ok(Readables {
        server,
        relations,
        selection,
        tables,
    })
}

async fn read_database(
    client: &Client,
    config: &PostgresConfig,
    connector: &str,
    server: ServerFacts,
) -> Result<Discovery> {
    let publication = publication::publication(client, &config.server_names(connector)?.publication).await?;
    let relations = catalog::relations(client, None).await?;
    let selection = select::select(&relations, &config.patterns()?, via_root(config, publication.as_ref()));
    let oids: BTreeSet<u32> = selection
        .captured
        .iter()
        .flat_map(|table| table.heaps.iter().chain([&table.oid]))
        .copied()
        .collect();
    let details = catalog::details(client, &Vec::from_iter(oids)).await?;
    let types = types_of(client, &details).await?;
    let discovery = Discovery {
        publication,
        tables: Vec::new(),
        publish: Vec::new(),
        selection,
        types,
        details,
        relations,
        server,
    };
    Ok(discovery.put_together())
}

/// A publication that is there decides; the configuration only says how ours is created.
fn via_root(config: &PostgresConfig, publication: Option<&Publication>) -> bool {
    publication.map_or(config.publication_via_partition_root, |publication| {
        publication.via_root
    })
}

/// Runs queries of the catalogue in one transaction, so that a table that is being altered does not come apart between them.
pub(crate) async fn in_one_snapshot<T>(client: &Client, queries: impl Future<Output = Result<T>>) -> Result<T> {
    let wrap = |error| query_error(&error, "read the catalogue");
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(wrap)?;
    let result = queries.await;
    client.batch_execute("ROLLBACK").await.map_err(wrap)?;
    result
}

// === impl Assembly ===

impl<'a> Assembly<'a> {
    fn new(
        server: &'a ServerFacts,
        publication: Option<&'a Publication>,
        relations: &'a [Relation],
        (details, types): (&'a Details, &'a TypeCatalog),
    ) -> Self {
        let mut attributes: HashMap<u32, Vec<&Attribute>> = HashMap::new();
        for attribute in &details.attributes {
            attributes.entry(attribute.relation).or_default().push(attribute);
        }
        let mut keys: HashMap<u32, Vec<&KeyIndex>> = HashMap::new();
        for key in &details.keys {
            keys.entry(key.relation).or_default().push(key);
        }
        let relations = relations.iter().map(|relation| (relation.oid, relation)).collect();
        Self {
            server,
            publication,
            relations,
            attributes,
            keys,
            types,
        }
    }

    fn relation(&self, oid: u32) -> Option<&'a Relation> {
        self.relations.get(&oid).copied()
    }

    fn name(&self, oid: u32) -> Option<TableName> {
        self.relation(oid).map(|relation| TableName {
            database: self.server.database.clone(),
            schema: relation.schema.clone(),
            table: relation.name.clone(),
        })
    }

    fn table(&self, selected: &Selected) -> Option<CapturedTable> {
        let relation = self.relation(selected.oid)?;
        let entry = self
            .publication
            .and_then(|publication| publication.table(&relation.schema, &relation.name));
        let attributes = self.attributes.get(&relation.oid).into_iter().flatten().copied();
        let (published, missing): (Vec<&Attribute>, Vec<&Attribute>) =
            attributes.partition(|attribute| self.is_published(attribute, entry));
        let columns: Vec<CapturedColumn> = published.iter().map(|attribute| self.column(attribute)).collect();
        let heaps: Vec<Heap> = selected
            .heaps
            .iter()
            .filter_map(|oid| self.relation(*oid))
            .map(Heap::of)
            .collect();
        let schema = TableSchema {
            name: self.name(relation.oid)?,
            kind: TableKind::Table,
            columns: published
                .iter()
                .zip(&columns)
                .map(|(attribute, column)| schema_column(attribute, column))
                .collect(),
            key: self.key(relation, &published),
            documentation: relation.comment.clone(),
        };
        Some(CapturedTable {
            schema: Arc::new(schema),
            columns,
            identity: relation.identity,
            rows_estimated: heaps.iter().map(|heap| heap.rows_estimated).sum(),
            heaps,
            row_filter: entry.and_then(|entry| entry.row_filter.clone()),
            generated_columns: names(missing.iter().filter(|attribute| attribute.generated != Generated::No)),
            unlisted_columns: names(missing.iter().filter(|attribute| attribute.generated == Generated::No)),
        })
    }

    /// Whether the log carries a column. Before there is a publication, as if it were ours.
    fn is_published(&self, attribute: &Attribute, entry: Option<&PublishedTable>) -> bool {
        let listed = entry
            .and_then(|entry| entry.columns.as_ref())
            .is_none_or(|list| list.contains(&attribute.name));
        let generated = match attribute.generated {
            Generated::No => true,
            Generated::Stored => self.server.major() >= GENERATED_COLUMNS_MAJOR,
            Generated::Virtual => false,
        };
        listed && generated
    }

    fn column(&self, attribute: &Attribute) -> CapturedColumn {
        CapturedColumn {
            type_oid: attribute.type_oid,
            type_modifier: attribute.type_modifier,
            kind: self.types.column(attribute.type_oid, attribute.type_modifier),
        }
    }

    /// With `REPLICA IDENTITY USING INDEX` the columns of that index, because deletes carry no others; else the primary key;
    /// else, where deletes carry the whole row, the first unique index by name, as Debezium does.
    fn key(&self, relation: &Relation, published: &[&Attribute]) -> Vec<usize> {
        if relation.identity == ReplicaIdentity::Index {
            return self.index_columns(relation, published, |key| key.identity);
        }
        let has_primary = self
            .keys
            .get(&relation.oid)
            .into_iter()
            .flatten()
            .any(|key| key.primary);
        let by_any = !has_primary && relation.identity == ReplicaIdentity::Full;
        self.index_columns(relation, published, |key| key.primary || by_any)
    }

    /// The columns of an index in its order; none where one of them is not published, because half a key is no key.
    fn index_columns(
        &self,
        relation: &Relation,
        published: &[&Attribute],
        wanted: impl Fn(&KeyIndex) -> bool,
    ) -> Vec<usize> {
        let index = self
            .keys
            .get(&relation.oid)
            .into_iter()
            .flatten()
            .find(|key| wanted(key));
        let numbers = index.map_or(&[][..], |index| &index.columns);
        let places = numbers
            .iter()
            .map(|number| published.iter().position(|attribute| attribute.number == *number));
        places.collect::<Option<Vec<usize>>>().unwrap_or_default()
    }
}

fn names<'a>(attributes: impl Iterator<Item = &'a &'a Attribute>) -> Vec<String> {
    attributes.map(|attribute| attribute.name.clone()).collect()
}

fn schema_column(attribute: &Attribute, column: &CapturedColumn) -> Column {
    let expression = attribute.default.as_deref();
    let default = expression.and_then(|expression| default_value(expression, &column.kind));
    Column {
        name: attribute.name.clone(),
        logical_type: column.kind.logical_type.clone(),
        nullable: attribute.nullable,
        source_type: column.kind.source_type.clone(),
        default_is_computed: default.is_some() && expression.is_some_and(is_computed),
        default,
        documentation: attribute.comment.clone(),
    }
}

// === impl CapturedTable ===

impl CapturedTable {
    /// Columns whose values cannot be read in the log's binary form.
    pub(crate) fn text_only_columns(&self) -> Vec<&str> {
        let columns = self.schema.columns.iter().zip(&self.columns);
        let text_only = columns.filter(|(_, column)| !column.kind.binary_supported);
        text_only.map(|(column, _)| column.name.as_str()).collect()
    }
}

// === impl Heap ===

impl Heap {
    fn of(relation: &Relation) -> Self {
        Self {
            oid: relation.oid,
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            rows_estimated: relation.rows_estimated,
        }
    }
}

/// A database in memory, for tests of what looks at one.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::discover::catalog::RelationKind;

    const INTEGER: u32 = 23;

    /// PostgreSQL 15.18 on which our role may do everything and nothing is wrong.
    pub(crate) fn server() -> ServerFacts {
        ServerFacts {
            version: 150_018,
            version_text: "15.18".to_owned(),
            system_identifier: "7".to_owned(),
            timeline: Some(1),
            in_recovery: false,
            database: "shop".to_owned(),
            database_oid: 5,
            encoding: "UTF8".to_owned(),
            role: "tailrace".to_owned(),
            superuser: false,
            replication: true,
            create: true,
            wal_level: "logical".to_owned(),
            max_replication_slots: 10,
            replication_slots: 0,
            max_wal_senders: 10,
            wal_senders: 0,
            max_slot_wal_keep_size_mb: 1000,
            block_size: 8192,
        }
    }

    /// A table of the schema `public` that nothing is wrong with.
    pub(crate) fn relation(oid: u32, name: &str, kind: RelationKind, parent: Option<u32>) -> Relation {
        Relation {
            oid,
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind,
            identity: ReplicaIdentity::Default,
            parent,
            rows_estimated: Some(10),
            comment: None,
            selectable: true,
            schema_usable: true,
            owned: true,
            row_security: false,
        }
    }

    /// An integer column.
    pub(crate) fn attribute(relation: u32, number: i16, name: &str) -> Attribute {
        Attribute {
            relation,
            number,
            name: name.to_owned(),
            type_oid: INTEGER,
            type_modifier: -1,
            nullable: number > 1,
            generated: Generated::No,
            default: None,
            comment: None,
        }
    }

    /// Relations with the columns `id` (primary key) and `note` each; `change` may spoil them before they are put together.
    pub(crate) fn discovery(
        config: &PostgresConfig,
        mut relations: Vec<Relation>,
        change: impl FnOnce(&mut Discovery),
    ) -> Discovery {
        relations.sort_by(|a, b| a.name.cmp(&b.name));
        let oids = || relations.iter().map(|relation| relation.oid);
        let details = Details {
            attributes: oids()
                .flat_map(|oid| [attribute(oid, 1, "id"), attribute(oid, 2, "note")])
                .collect(),
            keys: oids()
                .map(|relation| KeyIndex {
                    relation,
                    primary: true,
                    identity: false,
                    columns: vec![1],
                })
                .collect(),
        };
        let mut discovery = Discovery {
            server: server(),
            publication: None,
            tables: Vec::new(),
            publish: Vec::new(),
            relations,
            selection: Selection::default(),
            details,
            types: TypeCatalog::builtin(),
        };
        change(&mut discovery);
        let via_root = via_root(config, discovery.publication.as_ref());
        discovery.selection = select::select(&discovery.relations, &config.patterns().unwrap(), via_root);
        discovery.put_together()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{attribute, discovery, relation};
    use super::*;
    use crate::discover::catalog::RelationKind;

    fn config(json: &str) -> PostgresConfig {
        serde_json::from_str(json).unwrap()
    }

    fn orders(change: impl FnOnce(&mut Discovery)) -> CapturedTable {
        let config = config(r#"{"url": "postgres://u@h/d", "tables": ["orders"]}"#);
        let table = relation(1, "orders", RelationKind::Table, None);
        discovery(&config, vec![table], change).tables.remove(0)
    }

    fn columns(table: &CapturedTable) -> Vec<&str> {
        table.schema.columns.iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn a_plain_table() {
        let table = orders(|_| {});
        assert_eq!(table.schema.name.qualified(), "public.orders");
        assert_eq!(columns(&table), ["id", "note"]);
        assert_eq!(&table.schema.key[..], &[0][..]);
        assert_eq!(table.rows_estimated, Some(10));
        assert!(!table.schema.columns[0].nullable && table.schema.columns[1].nullable);
    }

    #[test]
    fn the_index_of_the_replica_identity_is_the_key() {
        let table = orders(|discovery| {
            discovery.relations[0].identity = ReplicaIdentity::Index;
            discovery.details.attributes.push(attribute(1, 4, "line"));
            let index = KeyIndex {
                relation: 1,
                primary: false,
                identity: true,
                columns: vec![4, 2],
            };
            discovery.details.keys.push(index);
        });
        assert_eq!(columns(&table), ["id", "note", "line"]);
        assert_eq!(&table.schema.key[..], &[2, 1][..]);
    }

    #[test]
    fn a_unique_index_is_the_key_where_there_is_no_primary_key_and_deletes_carry_the_row() {
        let by_index = |identity: ReplicaIdentity, primary: bool| {
            let table = orders(|discovery| {
                discovery.relations[0].identity = identity;
                discovery.details.keys.retain(|_| primary);
                let index = |column| KeyIndex {
                    relation: 1,
                    primary: false,
                    identity: false,
                    columns: vec![column],
                };
                discovery.details.keys.extend([index(2), index(1)]);
            });
            table.schema.key.clone()
        };
        assert_eq!(by_index(ReplicaIdentity::Full, false), [1]);
        assert_eq!(by_index(ReplicaIdentity::Full, true), [0]);
        assert!(by_index(ReplicaIdentity::Default, false).is_empty());
    }

    #[test]
    fn the_whole_row_identifies_but_only_the_primary_key_is_the_key() {
        let table = orders(|discovery| discovery.relations[0].identity = ReplicaIdentity::Full);
        assert_eq!(&table.schema.key[..], &[0][..]);
        let table = orders(|discovery| discovery.relations[0].identity = ReplicaIdentity::Nothing);
        assert_eq!(&table.schema.key[..], &[0][..]);
    }

    #[test]
    fn generated_columns_are_there_where_the_log_has_them() {
        let generate = |version: u32, generated: Generated| {
            orders(|discovery| {
                discovery.server.version = version;
                discovery.details.attributes[1].generated = generated;
            })
        };
        assert_eq!(generate(170_000, Generated::Stored).generated_columns, ["note"]);
        assert_eq!(columns(&generate(180_000, Generated::Stored)), ["id", "note"]);
        assert_eq!(columns(&generate(180_000, Generated::Virtual)), ["id"]);
    }

    #[test]
    fn half_a_key_is_no_key() {
        let listed = |columns: &str| {
            let publication = r#"{"oid": "1", "puballtables": false, "pubinsert": true, "pubupdate": false, "pubdelete": false,
                "pubtruncate": false, "pubviaroot": false}"#;
            let entry = format!(r#"{{"schemaname": "public", "tablename": "orders", "attnames": [{columns}]}}"#);
            orders(|discovery| discovery.publication = Some(Publication::from_json(publication, &[&entry])))
        };
        let table = listed(r#""id""#);
        assert_eq!((columns(&table), &table.schema.key[..]), (vec!["id"], &[0][..]));
        assert_eq!(table.unlisted_columns, ["note"]);
        let table = listed(r#""note""#);
        assert_eq!((columns(&table), table.schema.key.len()), (vec!["note"], 0));
    }

    #[test]
    fn partitions_have_the_columns_of_their_root() {
        let config =
            config(r#"{"url": "postgres://u@h/d", "tables": ["sales"], "publication_via_partition_root": true}"#);
        let root = relation(1, "sales", RelationKind::Partitioned, None);
        let leaves = [2, 3].map(|oid| relation(oid, &format!("sales_{oid}"), RelationKind::Table, Some(1)));
        let discovery = discovery(&config, vec![root].into_iter().chain(leaves).collect(), |discovery| {
            discovery.details.keys.retain(|key| key.relation != 3);
        });
        let [table] = &discovery.tables[..] else { panic!() };
        assert_eq!(table.schema.name.table, "sales");
        assert_eq!(table.heaps.iter().map(|heap| heap.oid).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(table.rows_estimated, Some(20));
        assert_eq!(
            discovery
                .heaps_without_identity()
                .iter()
                .map(|heap| heap.oid)
                .collect::<Vec<_>>(),
            [3]
        );
    }
}
