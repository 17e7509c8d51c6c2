//! Tables as the log speaks of them.
//!
//! A table map comes before the rows of each statement and says how they are stored. With `binlog_row_metadata = FULL` it also says
//! what the columns are called and mean: then it is believed, and a definition only lends what a log never has (comments, defaults, types that
//! look like others). Without it (MINIMAL, and every server before MySQL 8.0.1) names and signs come from definitions that are kept as they were at
//! each moment of the log: read from the catalogue once, and changed with each statement that changes them there. A definition that does not fit the
//! map is never used.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tailrace_core::schema::{SharedSchema, TableName};
use tailrace_core::{Error, Result};
use tailrace_sql::log_config::{TablePatterns, is_skipped};
use tailrace_sql::sink::config::OFFSETS;

use super::rows::RowPlan;
use super::sinks::sink_of;
use crate::charset::Charset;
use crate::column_type::{ColumnType, TypeKind, TypePolicy};
use crate::ddl::{self, Ddl, Definitions, Effect, Rewrite, SqlContext, Tracking};
use crate::decode::cell::CellDecoder;
use crate::decode::{self, DecodeError, QuerySession, TableDescription, TableMap, WireColumn};
use crate::memory::Learnt;
use crate::position::FileOffset;
use crate::server::{Flavour, ServerFacts};
use crate::table::{ColumnDefinition, TableDefinition};

/// The log numbers a table anew whenever the server has opened it again. More numbers than this are forgotten between two transactions.
const MAPS_MAXIMUM: usize = 4096;

/// What of configuration and server tables are read with.
pub(crate) struct TableSettings {
    pub(crate) patterns: TablePatterns,
    pub(crate) policy: TypePolicy,
    /// Sinks whose transactions are left out, as patterns.
    pub(crate) skip_written_by: Vec<String>,
    pub(crate) server: ServerFacts,
}

/// What a statement did to captured tables.
#[derive(Default)]
pub(super) struct Statement {
    /// Tables that were emptied.
    pub(super) truncated: Vec<SharedSchema>,
    /// Definitions are others than before, or values are: it must be remembered.
    pub(super) changed: bool,
}

/// Every table of a log.
pub(crate) struct Tables {
    settings: TableSettings,
    definitions: Definitions,
    /// Tables whose definitions changed and were not fetched yet.
    changed: BTreeSet<TableName>,
    /// Schemas whose default character set did.
    changed_schemas: BTreeSet<String>,
    /// What statements did to values without rows in the log, by table, not fetched yet; `None` where those values are gone.
    rewritten: BTreeMap<String, Option<String>>,
    /// By the number that the log gives a table.
    maps: HashMap<u64, Mapped>,
    /// The newest of each table, by its qualified name: an equal one is the same to whoever compiles something of it.
    schemas: HashMap<String, SharedSchema>,
}

struct Mapped {
    /// The event, to tell whether it says the same again.
    body: Bytes,
    /// The table's qualified name where it is captured.
    captured: Option<String>,
    /// A sink that is left out may write its offsets there.
    tells_sinks: bool,
    /// How its rows are read, once some were wanted.
    plan: Option<Arc<RowPlan>>,
}

// === impl Tables ===

impl Tables {
    /// Tables with these definitions are known.
    pub(crate) fn new(settings: TableSettings, definitions: Definitions) -> Self {
        Self {
            settings,
            definitions,
            changed: BTreeSet::new(),
            changed_schemas: BTreeSet::new(),
            rewritten: BTreeMap::new(),
            maps: HashMap::new(),
            schemas: HashMap::new(),
        }
    }

    /// Rows of this table follow. What they are is only looked at when one of them is wanted.
    pub(super) fn define(&mut self, map: &TableMap<'_>, body: &Bytes) {
        let known = self.maps.get(&map.table_id);
        if known.is_some_and(|known| known.body.len() == body.len() && known.body.ends_with(map.definition)) {
            return;
        }
        let captured = self.settings.patterns.captures(map.schema, map.table);
        let mapped = Mapped {
            captured: captured.then(|| format!("{}.{}", map.schema, map.table)),
            tells_sinks: map.table == OFFSETS && !self.settings.skip_written_by.is_empty(),
            body: body.clone(),
            plan: None,
        };
        self.maps.insert(map.table_id, mapped);
    }

    /// The qualified name of a captured table; `None` where it is not captured.
    pub(super) fn captured_name(&self, table_id: u64, place: &FileOffset) -> Result<Option<&str>> {
        let mapped = self.maps.get(&table_id).ok_or_else(|| undescribed(table_id, place))?;
        Ok(mapped.captured.as_deref())
    }

    /// Whether a transaction that begins with these rows was written by a sink that is left out.
    pub(super) fn begins_a_sinks_transaction(
        &self,
        rows: &decode::Rows<'_>,
        body: &Bytes,
        place: &FileOffset,
    ) -> Result<bool> {
        let mapped = self.maps.get(&rows.table_id).filter(|mapped| mapped.tells_sinks);
        let Some(mapped) = mapped else {
            return Ok(false);
        };
        let read = || -> Result<Option<String>, DecodeError> {
            sink_of(&TableMap::parse(&mapped.body)?, rows, &rows.images(body)?)
        };
        let sink = read().map_err(|error| undecodable(&error, place))?;
        Ok(sink.is_some_and(|connector| is_skipped(&self.settings.skip_written_by, &connector)))
    }

    /// How rows of a captured table are read.
    pub(super) fn plan(&mut self, table_id: u64, place: &FileOffset) -> Result<Arc<RowPlan>> {
        let mapped = self.maps.get(&table_id).ok_or_else(|| undescribed(table_id, place))?;
        if let Some(plan) = &mapped.plan {
            return Ok(Arc::clone(plan));
        }
        let body = mapped.body.clone();
        let map = TableMap::parse(&body).map_err(|error| undecodable(&error, place))?;
        let plan = Arc::new(self.plan_of(&map, place)?);
        if let Some(mapped) = self.maps.get_mut(&table_id) {
            mapped.plan = Some(Arc::clone(&plan));
        }
        Ok(plan)
    }

    /// What a statement needs of its session and server to be understood.
    pub(super) fn context<'q>(&self, schema: &'q str, session: &QuerySession) -> SqlContext<'q> {
        let server = &self.settings.server;
        let collation = session
            .server_collation
            .and_then(|collation| Charset::of_collation(u32::from(collation)));
        let standard = SqlContext::new(schema, server.flavour(), server.identity.version);
        SqlContext {
            sql_mode: session.sql_mode.unwrap_or(standard.sql_mode),
            server_charset: collation,
            explicit_defaults_for_timestamp: session.explicit_defaults_for_timestamp,
            folds_table_names: server.lower_case_table_names != 0,
            ..standard
        }
    }

    /// A statement that changed rows and was logged as text: what it did to a captured table is not in the log.
    pub(super) fn refuse_statement(&self, tables: Option<&[TableName]>, sql: &str, place: &FileOffset) -> Result<()> {
        let patterns = &self.settings.patterns;
        let touched = match tables {
            Some(tables) => tables
                .iter()
                .find(|table| patterns.captures(&table.schema, &table.table)),
            None => return Err(statement_seen("any table", sql, place)),
        };
        match touched {
            Some(table) => Err(statement_seen(&table.qualified(), sql, place)),
            None => Ok(()),
        }
    }

    /// Follows a statement that defines, changes or empties tables.
    pub(super) fn apply(&mut self, ddl: &Ddl<'_>, context: &SqlContext<'_>) -> Result<Statement> {
        let patterns = &self.settings.patterns;
        let tracking = Tracking {
            is_captured: &|schema, table| patterns.captures(schema, table),
            log_has_columns: self.settings.server.log.full_metadata,
        };
        let applied = ddl::apply(&mut self.definitions, ddl, context, &tracking)?;
        let definitions_changed = !applied.changed.is_empty() || !applied.changed_schemas.is_empty();
        self.changed.extend(applied.changed);
        self.changed_schemas.extend(applied.changed_schemas);
        // Numbers of tables may go on meaning what they did, but what was compiled of a definition does not.
        self.maps.clear();
        let mut truncated = Vec::new();
        for effect in applied.effects {
            match effect {
                Effect::Truncated(table) => {
                    self.rewritten.insert(table.qualified(), None);
                    truncated.push(self.schema_of(&table));
                }
                Effect::Altered { table, rewrites } | Effect::Replaced { table, rewrites, .. } => {
                    if !rewrites.is_empty() {
                        self.rewritten.insert(table.qualified(), Some(listed(&rewrites)));
                    }
                }
                Effect::Dropped(table) => {
                    self.rewritten.insert(table.qualified(), None);
                }
                Effect::Created(_) | Effect::Renamed { .. } => {}
            }
        }
        Ok(Statement {
            truncated,
            changed: definitions_changed || !self.rewritten.is_empty(),
        })
    }

    /// What statements did to values without rows in the log since it was fetched last, by table; `None` where those values are gone.
    pub(crate) fn take_rewritten(&mut self) -> BTreeMap<String, Option<String>> {
        std::mem::take(&mut self.rewritten)
    }

    /// The configuration asks for the table.
    pub(crate) fn captures(&self, schema: &str, table: &str) -> bool {
        self.settings.patterns.captures(schema, table)
    }

    /// What changed since it was fetched last, and is to be remembered.
    pub(crate) fn take_changed(&mut self) -> Vec<Learnt> {
        let tables = std::mem::take(&mut self.changed).into_iter().map(|table| {
            let definition = self.definitions.get(&table.schema, &table.table);
            Learnt::Table(table.qualified(), definition.cloned())
        });
        let schemas = std::mem::take(&mut self.changed_schemas).into_iter();
        let schemas = schemas.map(|schema| {
            let charset = self.definitions.schema_charset(&schema);
            Learnt::Schema(schema, charset)
        });
        tables.chain(schemas).collect()
    }

    /// A table that is emptied is told of whatever is known of its columns.
    fn schema_of(&mut self, table: &TableName) -> SharedSchema {
        if let Some(definition) = self.definitions.get(&table.schema, &table.table) {
            let schema = definition.to_schema(&self.settings.policy);
            return self.shared(schema);
        }
        match self.schemas.get(&table.qualified()) {
            Some(logged) => Arc::clone(logged),
            None => {
                let definition = TableDefinition::unknown(&table.schema, &table.table);
                Arc::new(definition.to_schema(&self.settings.policy))
            }
        }
    }

    /// Between two transactions no number is in use.
    pub(crate) fn end_transaction(&mut self) {
        if self.maps.len() > MAPS_MAXIMUM {
            self.maps.clear();
        }
    }

    fn shared(&mut self, schema: tailrace_core::schema::TableSchema) -> SharedSchema {
        let name = schema.name.qualified();
        match self.schemas.get(&name) {
            Some(known) if **known == schema => Arc::clone(known),
            _ => {
                let schema = Arc::new(schema);
                self.schemas.insert(name, Arc::clone(&schema));
                schema
            }
        }
    }

    fn plan_of(&mut self, map: &TableMap<'_>, place: &FileOffset) -> Result<RowPlan> {
        let wire = map.columns().map_err(|error| undecodable(&error, place))?;
        let by_mariadb = self.settings.server.flavour() == Flavour::MariaDb;
        let description = map
            .describe(&wire, by_mariadb)
            .map_err(|error| undecodable(&error, place))?;
        let definition = self.definition_of(map, &wire, &description, place)?;
        let decoder = |(wire, column): (&WireColumn, &ColumnDefinition)| {
            CellDecoder::new(*wire, column, &self.settings.policy).map_err(|error| {
                Error::definite(
                    "column_type",
                    format!(
                        "column \"{}\" of {}.{} cannot be read: {error}",
                        column.name, map.schema, map.table
                    ),
                )
            })
        };
        let decoders = wire
            .iter()
            .zip(&definition.columns)
            .map(decoder)
            .collect::<Result<_>>()?;
        let schema = self.shared(definition.to_schema(&self.settings.policy));
        tracing::debug!(table = schema.name.qualified(), "table described by the log");
        Ok(RowPlan {
            qualified_name: schema.name.qualified(),
            schema,
            decoders,
        })
    }

    fn definition_of(
        &self,
        map: &TableMap<'_>,
        wire: &[WireColumn],
        description: &TableDescription<'_>,
        place: &FileOffset,
    ) -> Result<TableDefinition> {
        let known = self.definitions.get(map.schema, map.table);
        if let Some(names) = names(description) {
            let described = Described {
                map,
                wire,
                description,
                names,
            };
            return described.definition(known);
        }
        let Some(known) = known else {
            return Err(Error::definite(
                "schema_unknown",
                format!(
                    "rows of {}.{} at {place} have no names of columns, and no statement that made the table was seen; \
                     SET GLOBAL binlog_row_metadata = 'FULL' where the server has it, then `tailrace forget` the connector",
                    map.schema, map.table
                ),
            ));
        };
        match known.agrees_with(wire, &[]) {
            Ok(()) => Ok(known.clone()),
            Err(disagreement) => Err(Error::definite(
                "schema_changed",
                format!(
                    "rows of {}.{} at {place} are not of the table as it is known: {disagreement}; a statement that changed it is not in the log. \
                     SET GLOBAL binlog_row_metadata = 'FULL' where the server has it, then `tailrace forget` the connector",
                    map.schema, map.table
                ),
            )),
        }
    }
}

/// The text of a statement. Who sends one in another character set than UTF-8 writes names with ASCII letters, or is not understood.
pub(super) fn statement_text(sql: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(sql)
}

fn undescribed(table_id: u64, place: &FileOffset) -> Error {
    Error::definite(
        "source_protocol",
        format!("rows at {place} are of table {table_id}, which no event before describes"),
    )
}

fn undecodable(error: &dyn std::fmt::Display, place: &FileOffset) -> Error {
    Error::definite(
        "source_protocol",
        format!("the description of a table ahead of {place} cannot be decoded: {error}"),
    )
}

fn statement_seen(table: &str, sql: &str, place: &FileOffset) -> Error {
    // Not its text, which has values of rows.
    let verb = verb(sql);
    Error::definite(
        "statement_dml_seen",
        format!(
            "the {verb} at {place} changes rows of {table} and is in the log as a statement, so that the rows are not known; a session has set \
             binlog_format to STATEMENT or MIXED. `tailrace forget` the connector to read the tables anew"
        ),
    )
}

/// What kind of statement it is, for people: the first word that says so, which may stand behind comments.
fn verb(sql: &str) -> &'static str {
    const VERBS: [&str; 6] = ["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL"];
    let mut words = sql.split(|character: char| !character.is_ascii_alphabetic());
    let found = words.find_map(|word| VERBS.into_iter().find(|verb| verb.eq_ignore_ascii_case(word)));
    found.unwrap_or("statement")
}

fn listed(rewrites: &[Rewrite]) -> String {
    let rewrites: Vec<String> = rewrites.iter().map(ToString::to_string).collect();
    rewrites.join(", ")
}

/// Names of all columns; `None` where the server does not log them.
fn names<'a>(description: &TableDescription<'a>) -> Option<Vec<&'a str>> {
    description.columns.iter().map(|column| column.name).collect()
}

/// A table as the log describes it.
struct Described<'a> {
    map: &'a TableMap<'a>,
    wire: &'a [WireColumn],
    description: &'a TableDescription<'a>,
    names: Vec<&'a str>,
}

// === impl Described ===

impl Described<'_> {
    /// Completed from what else is known of the table.
    fn definition(&self, known: Option<&TableDefinition>) -> Result<TableDefinition> {
        let map = self.map;
        let columns = self.names.iter().enumerate().map(|(index, name)| {
            let known = known.and_then(|known| known.columns.iter().find(|known| known.name == *name));
            self.column(index, name, known)
        });
        Ok(TableDefinition {
            schema: map.schema.to_owned(),
            table: map.table.to_owned(),
            columns: columns.collect::<Result<_>>()?,
            key: match &self.description.primary_key {
                Some(parts) => parts.iter().map(|part| part.column).collect(),
                None => known.map_or_else(Vec::new, |known| key_by_name(known, &self.names)),
            },
            unique_keys: known.map_or_else(Vec::new, |known| known.unique_keys.clone()),
            charset: known.and_then(|known| known.charset),
            documentation: known.and_then(|known| known.documentation.clone()),
            engine: known.and_then(|known| known.engine.clone()),
        })
    }

    fn column(&self, index: usize, name: &str, known: Option<&ColumnDefinition>) -> Result<ColumnDefinition> {
        let map = self.map;
        let described = self.wire.get(index).zip(self.description.columns.get(index));
        let (wire, column) = described.ok_or_else(|| {
            let text = format!(
                "the log describes fewer columns of {}.{} than it has",
                map.schema, map.table
            );
            Error::definite("source_protocol", text)
        })?;
        let nullable = map.is_nullable(index);
        let logged = ColumnType::from_log(*wire, column);
        if let Some(known) = known {
            let same = logged
                .as_ref()
                .map_or(true, |logged| may_be(&known.column_type, logged));
            let definition = ColumnDefinition {
                nullable,
                ..known.clone()
            };
            if same && CellDecoder::new(*wire, &definition, &TypePolicy::default()).is_ok() {
                return Ok(definition);
            }
        }
        let column_type = logged.map_err(|error| {
            let text = format!("column \"{name}\" of {}.{}: {error}", map.schema, map.table);
            Error::definite("column_type", text)
        })?;
        Ok(ColumnDefinition {
            name: name.to_owned(),
            column_type,
            nullable,
            default: None,
            generated: false,
            documentation: None,
        })
    }
}

/// A type of the catalogue is what the log calls so. The log tells signs, character sets and members; it does not tell a UUID from sixteen bytes.
fn may_be(known: &ColumnType, logged: &ColumnType) -> bool {
    use TypeKind::{Enum, Integer, Set, Text};
    match (&known.kind, &logged.kind) {
        (known @ (Integer { .. } | Text { .. } | Enum { .. } | Set { .. }), logged) => known == logged,
        (_, Integer { .. } | Text { .. } | Enum { .. } | Set { .. }) => false,
        _ => true,
    }
}

fn key_by_name(known: &TableDefinition, names: &[&str]) -> Vec<usize> {
    let index = |key: &usize| {
        let column = known.columns.get(*key)?;
        names.iter().position(|name| *name == column.name)
    };
    let key: Option<Vec<usize>> = known.key.iter().map(index).collect();
    key.unwrap_or_default()
}
