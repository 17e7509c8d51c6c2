//! Tables as the log speaks of them: definitions in the order of the log, completed from the catalogue.
//!
//! A Relation message brings names, types and the columns of the replica identity, as they were then. Nullability, comments,
//! defaults, the primary key and the names of types are only in the catalogue, as they are now. Where both agree on the columns, the
//! catalogue's table is taken whole, and it is the same that a snapshot would have; where they differ (the log is behind the
//! catalogue), the log's columns win and the catalogue only lends what fits by name and type.

use std::collections::HashMap;
use std::sync::Arc;

use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::value::{LogicalType, TextKind};
use tailrace_core::{Error, Result};
use tokio::task::JoinHandle;

use crate::config::PostgresConfig;
use crate::connect::Session;
use crate::decode::cell::CellDecoder;
use crate::decode::{self, ReplicaIdentity};
use crate::discover::{self, CapturedTable};
use crate::error::query_error;
use crate::position::Lsn;
use crate::type_catalog::{ColumnType, TypeCatalog};

/// A table that is there and that a publication lists, itself or with the partitioned table above it.
const STILL_PUBLISHED: &str = "
SELECT 1
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_publication_tables p ON p.schemaname = n.nspname AND p.tablename = c.relname
WHERE c.oid = $1 AND p.pubname::text = $2";

/// A table definition, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Definition {
    oid: u32,
    schema: String,
    table: String,
    identity: ReplicaIdentity,
    columns: Vec<DefinedColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct DefinedColumn {
    in_identity: bool,
    name: String,
    type_oid: u32,
    type_modifier: i32,
}

/// How rows of one version of a table are read.
pub(crate) struct RelationPlan {
    pub(crate) schema: SharedSchema,
    pub(crate) qualified_name: String,
    /// One per column, in the order of the log.
    pub(crate) decoders: Vec<CellDecoder>,
    /// The configuration asks for it.
    pub(crate) captured: bool,
}

/// What the catalogue knows of a definition.
struct Described {
    table: Option<CapturedTable>,
    types: TypeCatalog,
    /// The configuration asks for it.
    captured: bool,
}

/// Every table of a connection.
pub(crate) struct Relations {
    config: Arc<PostgresConfig>,
    connector: String,
    catalog: Arc<Session>,
    database: String,
    plans: HashMap<u32, (Definition, Arc<RelationPlan>)>,
    wanted: Option<Definition>,
    describing: Option<JoinHandle<Result<Described>>>,
    messages: SharedSchema,
}

// === impl Relations ===

impl Relations {
    /// No table is known yet.
    pub(crate) fn new(config: Arc<PostgresConfig>, connector: &str, database: &str, catalog: Arc<Session>) -> Self {
        Self {
            config,
            connector: connector.to_owned(),
            catalog,
            database: database.to_owned(),
            plans: HashMap::new(),
            wanted: None,
            describing: None,
            messages: Arc::new(message_schema(database)),
        }
    }

    /// The plan of a table.
    pub(crate) fn get(&self, oid: u32) -> Option<Arc<RelationPlan>> {
        self.plans.get(&oid).map(|(_, plan)| Arc::clone(plan))
    }

    /// The schema of logical messages.
    pub(crate) fn message_schema(&self) -> SharedSchema {
        Arc::clone(&self.messages)
    }

    /// A table is defined; [`Self::describe_wanted`] must come before the next message. Also where nothing new is said of
    /// it: the server repeats itself when something else of the table has changed, such as whether a column may be null.
    pub(crate) fn define(&mut self, relation: &decode::Relation<'_>) {
        self.wanted = Some(Definition::of(relation));
    }

    /// Completes the definition that came last from the catalogue. Cancel-safe: the look-up goes on by itself.
    pub(crate) async fn describe_wanted(&mut self) -> Result<()> {
        let Some(definition) = &self.wanted else {
            return Ok(());
        };
        let describing = self.describing.get_or_insert_with(|| {
            let look_up = describe(
                Arc::clone(&self.config),
                self.connector.clone(),
                Arc::clone(&self.catalog),
                definition.clone(),
            );
            tailrace_core::task::spawn_named("describe relation", look_up)
        });
        let described = describing.await;
        self.describing = None;
        let described = described.map_err(|error| {
            Error::transient("task_failed", "looking a table up in the catalogue ended early").with_source(error)
        })??;
        if let Some(definition) = self.wanted.take() {
            if self.still_holds(&definition, &described) {
                return Ok(());
            }
            let plan = Arc::new(plan(&definition, described, &self.database));
            tracing::debug!(
                table = plan.qualified_name,
                captured = plan.captured,
                "table defined by the log"
            );
            self.plans.insert(definition.oid, (definition, plan));
        }
        Ok(())
    }

    /// What is known of a table that the server defines as before: all of it, or more than what a catalogue says that has
    /// gone on to another version of the table.
    fn still_holds(&self, definition: &Definition, described: &Described) -> bool {
        let Some((_, known)) = self.plans.get(&definition.oid).filter(|(known, _)| known == definition) else {
            return false;
        };
        described
            .table
            .as_ref()
            .is_none_or(|table| table.schema == known.schema)
    }
}

async fn describe(
    config: Arc<PostgresConfig>,
    connector: String,
    catalog: Arc<Session>,
    definition: Definition,
) -> Result<Described> {
    let table = discover::describe_relation(&catalog, &config, &connector, definition.oid).await?;
    let oids: Vec<u32> = definition.columns.iter().map(|column| column.type_oid).collect();
    let mut types = TypeCatalog::builtin();
    discover::load_types(&catalog, &mut types, &oids).await?;
    let captured = table.is_some() || is_captured_of_old(&config, &connector, &catalog, &definition).await?;
    Ok(Described { table, types, captured })
}

/// The log may speak of a table that was renamed, dropped or detached since, whose changes until then are wanted all the same:
/// by the name that it had, or, where it has left our publication, because that only ever lists what is captured. The server
/// goes by the publication as of each change: of a partition that was detached it sends what came before. A table that was
/// taken out of the configuration stays in the publication, and is not captured.
async fn is_captured_of_old(
    config: &PostgresConfig,
    connector: &str,
    catalog: &Session,
    definition: &Definition,
) -> Result<bool> {
    let patterns = config.patterns()?;
    let (schema, table) = (&definition.schema, &definition.table);
    if patterns.excludes(schema, table) || patterns.includes(schema, table) {
        return Ok(!patterns.excludes(schema, table));
    }
    let publication = config.server_names(connector)?.publication;
    let found = catalog
        .query_opt(STILL_PUBLISHED, &[&definition.oid, &publication])
        .await;
    let left = found.map_err(|error| query_error(&error, "look a table up"))?.is_none();
    if left && !config.create_publication {
        tracing::warn!(
            table = format!("{schema}.{table}"),
            publication,
            "a table that `tables` does not match has left the publication, and changes of it from before are in the log; \
             they are not captured, because with `create_publication: false` it cannot be told whether they are wanted"
        );
    }
    Ok(left && config.create_publication)
}

fn plan(definition: &Definition, described: Described, database: &str) -> RelationPlan {
    let name = TableName {
        database: database.to_owned(),
        schema: definition.schema.clone(),
        table: definition.table.clone(),
    };
    let columns = definition.columns.iter();
    let types: Vec<ColumnType> = columns
        .map(|column| described.types.column(column.type_oid, column.type_modifier))
        .collect();
    let agrees = |table: &&CapturedTable| definition.agrees_with(table) && table.schema.name == name;
    let schema = match described.table.as_ref().filter(agrees) {
        Some(table) => Arc::clone(&table.schema),
        None => Arc::new(definition.schema(name, &types, described.table.as_ref())),
    };
    RelationPlan {
        qualified_name: schema.name.qualified(),
        schema,
        decoders: types.into_iter().map(|column| column.decoder).collect(),
        captured: described.captured,
    }
}

// === impl Definition ===

impl Definition {
    fn of(relation: &decode::Relation<'_>) -> Self {
        let column = |column: &decode::RelationColumn<'_>| DefinedColumn {
            in_identity: column.is_key,
            name: column.name.to_owned(),
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
        };
        Self {
            oid: relation.oid,
            schema: relation.schema.to_owned(),
            table: relation.table.to_owned(),
            identity: relation.replica_identity,
            columns: relation.columns.iter().map(column).collect(),
        }
    }

    /// The catalogue's table has the same columns.
    fn agrees_with(&self, table: &CapturedTable) -> bool {
        let same = |(column, (named, typed)): (&DefinedColumn, (&Column, &discover::CapturedColumn))| {
            column.name == named.name
                && column.type_oid == typed.type_oid
                && column.type_modifier == typed.type_modifier
        };
        let known = table.schema.columns.iter().zip(&table.columns);
        self.columns.len() == table.columns.len() && self.columns.iter().zip(known).all(same)
    }

    fn schema(&self, name: TableName, types: &[ColumnType], catalog: Option<&CapturedTable>) -> TableSchema {
        let known =
            |name: &str| catalog.and_then(|table| table.schema.columns.iter().find(|column| column.name == name));
        let column = |(column, kind): (&DefinedColumn, &ColumnType)| {
            let same = known(&column.name).filter(|known| known.source_type == kind.source_type);
            Column {
                name: column.name.clone(),
                logical_type: kind.logical_type.clone(),
                nullable: same.is_none_or(|known| known.nullable),
                source_type: kind.source_type.clone(),
                default: same.and_then(|known| known.default.clone()),
                default_is_computed: same.is_some_and(|known| known.default_is_computed),
                documentation: same.and_then(|known| known.documentation.clone()),
            }
        };
        TableSchema {
            name,
            kind: TableKind::Table,
            columns: self.columns.iter().zip(types).map(column).collect(),
            key: self.key(catalog),
            documentation: catalog.and_then(|table| table.schema.documentation.clone()),
        }
    }

    /// The catalogue's key, where the log still has all of its columns; else the columns of the replica identity.
    fn key(&self, catalog: Option<&CapturedTable>) -> Vec<usize> {
        let place = |name: &str| self.columns.iter().position(|column| column.name == name);
        let by_catalog = catalog.and_then(|table| {
            table
                .schema
                .key_columns()
                .map(|column| place(&column.name))
                .collect::<Option<Vec<_>>>()
        });
        match by_catalog {
            Some(key) if !key.is_empty() => key,
            // Every column is flagged, and that makes no key.
            _ if self.identity == ReplicaIdentity::Full => Vec::new(),
            _ => (0..self.columns.len())
                .filter(|index| self.columns.get(*index).is_some_and(|column| column.in_identity))
                .collect(),
        }
    }
}

// === impl RelationPlan ===

impl RelationPlan {
    /// The error of a value that cannot be read.
    pub(crate) fn poison(&self, column: usize, lsn: Lsn, error: &dyn std::fmt::Display) -> Error {
        let column = self
            .schema
            .columns
            .get(column)
            .map_or("?", |column| column.name.as_str());
        let message = format!(
            "column \"{column}\" of {} in the row at {lsn} holds a value that cannot be carried: {error}; \
             correct the value, or leave the column out of the publication",
            self.qualified_name
        );
        Error::poison("value_undecodable", message)
    }
}

/// Logical messages as rows of a table `message`, keyed by prefix.
fn message_schema(database: &str) -> TableSchema {
    let column = |name: &str, logical_type, source_type: &str| Column {
        nullable: false,
        source_type: source_type.to_owned(),
        ..Column::new(name, logical_type)
    };
    TableSchema {
        name: TableName {
            database: database.to_owned(),
            schema: String::new(),
            table: "message".to_owned(),
        },
        kind: TableKind::Message,
        columns: vec![
            column("prefix", LogicalType::Text(TextKind::Plain), "text"),
            column("content", LogicalType::Bytes, "bytea"),
        ],
        key: vec![0],
        documentation: Some("Logical messages (pg_logical_emit_message).".to_owned()),
    }
}
