//! Tables as the log speaks of them.
//!
//! A table map comes before the rows of each statement and says how they are stored. With `binlog_row_metadata = FULL` it also says
//! what the columns are called and mean: then it is believed, and a definition only lends what a log never has (comments, defaults, types that
//! look like others). Without it (MINIMAL, and every server before MySQL 8.0.1) names and signs come from definitions that are kept as they were at
//! each moment of the log: read from the catalogue once, and changed with each statement that changes them there. A definition that does not fit the
//! map is never used.

use std::collections::HashMap;
use std::sync::Arc;

use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use super::rows::RowPlan;
use crate::column_type::{ColumnType, LoggedColumn, TypeKind, TypePolicy};
use crate::config::TablePatterns;
use crate::ddl::Definitions;
use crate::decode::cell::CellDecoder;
use crate::decode::{ColumnDescription, TableDescription, TableMap, WireColumn};
use crate::position::FileOffset;
use crate::table::{ColumnDefinition, TableDefinition};

/// The log numbers a table anew whenever the server has opened it again. More numbers than this are forgotten between two transactions.
const MAPS_MAXIMUM: usize = 4096;

/// Every table of a log.
pub(crate) struct Tables {
    patterns: TablePatterns,
    policy: TypePolicy,
    pub(super) definitions: Definitions,
    /// By the number that the log gives a table.
    maps: HashMap<u64, Mapped>,
    /// The newest of each table, by its qualified name: an equal one is the same to whoever compiles something of it.
    schemas: HashMap<String, SharedSchema>,
}

struct Mapped {
    /// What the event said, to tell whether it says the same again.
    definition: Vec<u8>,
    /// `None` where the table is not captured.
    plan: Option<Arc<RowPlan>>,
}

// === impl Tables ===

impl Tables {
    /// Tables with these definitions are known.
    pub(crate) fn new(patterns: TablePatterns, policy: TypePolicy, definitions: Definitions) -> Self {
        Self {
            patterns,
            policy,
            definitions,
            maps: HashMap::new(),
            schemas: HashMap::new(),
        }
    }

    /// The configuration asks for the table.
    pub(crate) fn captures(&self, schema: &str, table: &str) -> bool {
        self.patterns.captures(schema, table)
    }

    /// Rows of this table follow.
    pub(crate) fn define(&mut self, map: &TableMap<'_>, place: &FileOffset) -> Result<()> {
        let known = self.maps.get(&map.table_id);
        if known.is_some_and(|known| known.definition == map.definition) {
            return Ok(());
        }
        let plan = if self.captures(map.schema, map.table) {
            Some(Arc::new(self.plan_of(map, place)?))
        } else {
            None
        };
        let mapped = Mapped {
            definition: map.definition.to_vec(),
            plan,
        };
        self.maps.insert(map.table_id, mapped);
        Ok(())
    }

    /// How rows of a table are read; `None` where it is not captured.
    pub(crate) fn plan(&self, table_id: u64, place: &FileOffset) -> Result<Option<Arc<RowPlan>>> {
        match self.maps.get(&table_id) {
            Some(mapped) => Ok(mapped.plan.clone()),
            None => Err(Error::definite(
                "source_protocol",
                format!("rows at {place} are of table {table_id}, which no event before describes"),
            )),
        }
    }

    /// The newest schema of a captured table that is known by its definition.
    pub(crate) fn schema_of(&mut self, schema: &str, table: &str) -> Option<SharedSchema> {
        let definition = self.definitions.get(schema, table)?.to_schema(&self.policy);
        Some(self.shared(definition))
    }

    /// Definitions have changed: what was compiled of them does not hold any more.
    pub(crate) fn forget_plans(&mut self) {
        self.maps.clear();
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
        let undecodable = |error: &dyn std::fmt::Display| {
            Error::definite(
                "source_protocol",
                format!("the description of {}.{} at {place} cannot be decoded: {error}", map.schema, map.table),
            )
        };
        let wire = map.columns().map_err(|error| undecodable(&error))?;
        let description = map.describe(&wire).map_err(|error| undecodable(&error))?;
        let definition = self.definition_of(map, &wire, &description, place)?;
        let decoder = |(wire, column): (&WireColumn, &ColumnDefinition)| {
            CellDecoder::new(*wire, column, &self.policy).map_err(|error| {
                Error::definite(
                    "column_type",
                    format!("column \"{}\" of {}.{} cannot be read: {error}", column.name, map.schema, map.table),
                )
            })
        };
        let decoders = wire.iter().zip(&definition.columns).map(decoder).collect::<Result<_>>()?;
        let schema = self.shared(definition.to_schema(&self.policy));
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
            return described(map, wire, description, &names, known);
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

/// Names of all columns; `None` where the server does not log them.
fn names<'a>(description: &TableDescription<'a>) -> Option<Vec<&'a str>> {
    description.columns.iter().map(|column| column.name).collect()
}

/// The table as the log describes it, completed from what else is known of it.
fn described(
    map: &TableMap<'_>,
    wire: &[WireColumn],
    description: &TableDescription<'_>,
    names: &[&str],
    known: Option<&TableDefinition>,
) -> Result<TableDefinition> {
    let mut columns = Vec::with_capacity(wire.len());
    for (index, (name, (wire, column))) in names.iter().zip(wire.iter().zip(&description.columns)).enumerate() {
        let known = known.and_then(|known| known.columns.iter().find(|known| known.name == *name));
        let nullable = map.is_nullable(index);
        columns.push(described_column(name, nullable, *wire, column, known, map)?);
    }
    let key = match &description.primary_key {
        Some(parts) => parts.iter().map(|part| part.column).collect(),
        None => known.map_or_else(Vec::new, |known| key_by_name(known, names)),
    };
    Ok(TableDefinition {
        schema: map.schema.to_owned(),
        table: map.table.to_owned(),
        columns,
        key,
        charset: known.and_then(|known| known.charset),
        documentation: known.and_then(|known| known.documentation.clone()),
        engine: known.and_then(|known| known.engine.clone()),
    })
}

fn described_column(
    name: &str,
    nullable: bool,
    wire: WireColumn,
    column: &ColumnDescription<'_>,
    known: Option<&ColumnDefinition>,
    map: &TableMap<'_>,
) -> Result<ColumnDefinition> {
    let logged = LoggedColumn {
        wire,
        unsigned: column.unsigned.unwrap_or_default(),
        collation: column.collation,
        members: column.members.clone().unwrap_or_default(),
        geometry: column.geometry.map(u64::from),
    };
    let logged = ColumnType::from_log(&logged);
    if let Some(known) = known {
        let same = logged.as_ref().map_or(true, |logged| may_be(&known.column_type, logged));
        let definition = ColumnDefinition {
            nullable,
            ..known.clone()
        };
        if same && CellDecoder::new(wire, &definition, &TypePolicy::default()).is_ok() {
            return Ok(definition);
        }
    }
    let column_type = logged.map_err(|error| {
        Error::definite(
            "column_type",
            format!("column \"{name}\" of {}.{}: {error}", map.schema, map.table),
        )
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
