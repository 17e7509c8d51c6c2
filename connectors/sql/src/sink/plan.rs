//! How the rows of one version of a topic's events go into a table: compiled once per version.

use std::sync::Arc;

use tailrace_core::schema::{Column, SharedSchema, TableName, TableSchema, column_named};
use tailrace_core::value::LogicalType;
use tailrace_core::{Error, Result};

use super::config::{DeleteMode, WriteConfig, WriteMode};
use super::extra;
use super::faults::key_untold;
use super::session::Definitions;
use super::target::TargetTable;
use super::work::{Place, column};

/// Where since when a row is deleted stands in [`super::work::StepRow::extra`].
const DELETED_AT: usize = 0;
/// Where the place in the source's log stands there.
const POSITION: usize = 1;

/// A column that is written.
#[derive(Debug, Clone)]
pub(super) struct PlannedColumn {
    /// Its index in the table.
    pub(super) target: usize,
    /// What its values mean.
    pub(super) source: Column,
    /// Where a row has it.
    pub(super) place: Place,
}

/// How rows go into a table.
#[derive(Debug)]
pub(super) struct Plan {
    /// The table.
    pub(super) table: Arc<TargetTable>,
    /// The columns of the events that are written, in the order of the events' columns.
    pub(super) columns: Vec<PlannedColumn>,
    /// Which of `columns` are the key, in the key's order; empty where there is none.
    pub(super) key: Vec<usize>,
    /// Which of `columns` says how new a row is, where that is a column of the events.
    pub(super) guard: Option<usize>,
    /// Columns beside those of the events, by what they are for.
    pub(super) extras: Extras,
    /// Rows have nothing but the key: a delete that came as a tombstone.
    pub(super) is_key_only: bool,
    /// A row can be added that has nothing but the key and the extras.
    pub(super) key_is_enough: bool,
}

/// Columns beside those of the events.
#[derive(Debug, Clone, Default)]
pub(super) struct Extras {
    /// Of a history: its six columns.
    pub(super) history: Vec<PlannedColumn>,
    /// Since when a row is deleted.
    pub(super) deleted_at: Option<PlannedColumn>,
    /// The place in the source's log.
    pub(super) position: Option<PlannedColumn>,
}

/// The columns that a table must have for events of a schema, beside those of the events themselves.
pub(super) fn extra_columns(config: &WriteConfig) -> Vec<Column> {
    let mut columns = Vec::new();
    if config.mode == WriteMode::Append {
        columns.extend(extra::HISTORY.iter().cloned());
        return columns;
    }
    if let Some(name) = soft_delete_column(config) {
        columns.push(extra::deleted_at(name));
    }
    if is_guarded_by_position(config) {
        columns.push(extra::POSITION.clone());
    }
    columns
}

/// The column that says since when a row is deleted, where rows are deleted softly.
pub(crate) fn soft_delete_column(config: &WriteConfig) -> Option<&str> {
    let name = config.soft_delete_column.as_deref();
    name.filter(|_| config.deletes == DeleteMode::Soft)
}

/// Versions are told apart by their place in the source's log.
pub(crate) fn is_guarded_by_position(config: &WriteConfig) -> bool {
    config.version_guard.as_deref() == Some(POSITION_GUARD)
}

/// The word for the place in the source's log, in `version_guard`.
pub(super) const POSITION_GUARD: &str = "position";

/// The names of the columns that tell rows apart.
pub(crate) fn key_names(config: &WriteConfig, schema: &SharedSchema) -> Vec<String> {
    match (&config.mode, &config.key) {
        (WriteMode::Append, _) => {
            let key = extra::HISTORY.iter().skip(extra::HISTORY.len() - extra::HISTORY_KEY);
            key.map(|column| column.name.clone()).collect()
        }
        (_, Some(named)) => named.clone(),
        (_, None) => schema.key_columns().map(|column| column.name.clone()).collect(),
    }
}

/// Whether events tell rows apart as the mode wants them told apart.
///
/// # Errors
/// Definite `key_missing`.
pub(super) fn check_key(config: &WriteConfig, table: &TableName, schema: &SharedSchema) -> Result<()> {
    let needs_key = matches!(config.mode, WriteMode::Upsert | WriteMode::Update) && !schema.columns.is_empty();
    if !needs_key || !key_names(config, schema).is_empty() {
        return Ok(());
    }
    let message = format!(
        "events for table {} have no key, and rows cannot be told apart; name the columns with `key`, or choose `mode: append` or \
         `insert`",
        table.qualified()
    );
    Err(Error::definite("key_missing", message))
}

/// What is said of a row is its key, and nothing else.
pub(super) fn is_key_alone(schema: &TableSchema) -> bool {
    !schema.key.is_empty() && schema.key.len() == schema.columns.len()
}

/// The index of a table's column, as [`column_named`] finds it.
pub(super) fn column_index(table: &TargetTable, name: &str) -> Option<usize> {
    column_named(&table.schema.columns, name)
}

// === impl Plan ===

impl Plan {
    /// Compiles the plan of a table that has every column.
    ///
    /// # Errors
    /// Definite, where the table cannot take such rows whatever they hold.
    pub(super) fn new(schema: &SharedSchema, table: Arc<TargetTable>, config: &WriteConfig) -> Result<Self> {
        let mut columns = Vec::with_capacity(schema.columns.len());
        for (cell, source) in schema.columns.iter().enumerate() {
            let target = column_index(&table, &source.name).ok_or_else(|| missing(&table, &source.name))?;
            // What the database computes it computes again.
            if !table.columns.get(target).is_some_and(|column| column.is_generated) {
                columns.push(PlannedColumn {
                    target,
                    source: source.clone(),
                    place: Place::Cell(cell),
                });
            }
        }
        // A truncate has no row, and so neither a key nor a version.
        let has_row = !schema.columns.is_empty();
        let key = match has_row {
            true => event_key(schema, &table, config, &columns)?,
            false => Vec::new(),
        };
        let extras = Extras::new(&table, config)?;
        // Of what is deleted nothing but the key need be known, and of a truncate nothing.
        let is_key_only = schema.columns.len() == key.len();
        let guard = guard(&table, config, &columns, is_key_only)?;
        let plan = Self {
            key_is_enough: left_out(&table, key.iter().filter_map(|index| columns.get(*index)), &extras).is_none(),
            columns,
            key,
            guard,
            extras,
            is_key_only,
            table,
        };
        plan.check(config)?;
        Ok(plan)
    }

    fn check(&self, config: &WriteConfig) -> Result<()> {
        // A truncate has no row.
        if self.columns.is_empty() {
            return Ok(());
        }
        let name = self.table.name().qualified();
        let adds_rows = config.mode != WriteMode::Update && !self.is_key_only;
        if let Some(column) = left_out(&self.table, self.columns.iter(), &self.extras).filter(|_| adds_rows) {
            let message = format!(
                "column {column} of table {name} may not be left out (it is not NULL and has no default), and the events do not have \
                 it; give it a default: ALTER TABLE {name} ALTER COLUMN {column} SET DEFAULT …"
            );
            return Err(Error::definite("column_required", message));
        }
        Ok(())
    }

    /// The columns of the key, in its order.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &PlannedColumn> {
        self.key.iter().filter_map(|index| self.columns.get(*index))
    }

    /// Whether the table has a key of the events' columns, where rows are found by one.
    ///
    /// # Errors
    /// Definite `key_not_unique`.
    pub(super) fn check_unique(&self, config: &WriteConfig, definitions: &dyn Definitions) -> Result<()> {
        let key: Vec<usize> = self.key_columns().map(|column| column.target).collect();
        if config.mode != WriteMode::Upsert || self.columns.is_empty() || self.table.is_unique(&key) {
            return Ok(());
        }
        let columns = key.iter().filter_map(|index| self.table.schema.columns.get(*index));
        let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
        let name = self.table.name();
        let message = format!(
            "table {} has no primary key and no unique constraint of the columns {}, by which rows are found; make one: {}",
            name.qualified(),
            columns.join(", "),
            definitions.unique_key(name, &columns)
        );
        Err(Error::definite("key_not_unique", message))
    }
}

/// Which of the columns are the key of the events.
fn event_key(
    schema: &SharedSchema,
    table: &TargetTable,
    config: &WriteConfig,
    columns: &[PlannedColumn],
) -> Result<Vec<usize>> {
    if config.mode == WriteMode::Append {
        return Ok(Vec::new());
    }
    let names = key_names(config, schema);
    let of_name = |name: &String| {
        let target = column_index(table, name);
        let column = columns.iter().position(|column| Some(column.target) == target);
        column.ok_or_else(|| {
            if is_key_alone(schema) {
                return key_untold();
            }
            let message = format!(
                "the events for table {} have no column {name}, which `key` names; they have {}",
                table.name().qualified(),
                schema
                    .columns
                    .iter()
                    .map(|column| column.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            Error::definite("key_missing", message)
        })
    };
    names.iter().map(of_name).collect()
}

fn guard(
    table: &TargetTable,
    config: &WriteConfig,
    columns: &[PlannedColumn],
    is_key_only: bool,
) -> Result<Option<usize>> {
    let Some(name) = config.version_guard.as_deref().filter(|name| *name != POSITION_GUARD) else {
        return Ok(None);
    };
    let target = column_index(table, name);
    let found = columns.iter().position(|column| Some(column.target) == target);
    if found.is_none() && !is_key_only {
        return Err(missing(table, name));
    }
    let is_number = |column: &PlannedColumn| {
        matches!(
            column.source.logical_type,
            LogicalType::Decimal { .. } | LogicalType::UnsignedInt64 | LogicalType::Money
        )
    };
    let is_text = target.and_then(|index| table.schema.columns.get(index));
    let is_text = is_text.is_some_and(|column| matches!(column.logical_type, LogicalType::Text(_)));
    if is_text && found.and_then(|index| columns.get(index)).is_some_and(is_number) {
        let message = format!(
            "`version_guard: {name}` is a number in the events and text in table {}, where '10' comes before '9'; make the column a \
             number there, or choose another guard",
            table.name().qualified()
        );
        return Err(Error::definite("guard_unordered", message));
    }
    Ok(found)
}

fn missing(table: &TargetTable, column: &str) -> Error {
    let name = table.name().qualified();
    let message = format!(
        "table {name} has no column {column}; add it, or leave it out with `transforms: [{{ exclude_columns: [{column}] }}]`"
    );
    Error::definite("column_missing", message)
}

/// The first column of a table that a new row must have and that is not among these.
fn left_out<'a>(
    table: &'a TargetTable,
    written: impl Iterator<Item = &'a PlannedColumn>,
    extras: &'a Extras,
) -> Option<&'a str> {
    let extras = extras.history.iter().chain(&extras.deleted_at).chain(&extras.position);
    let written: Vec<usize> = written.chain(extras).map(|column| column.target).collect();
    let mut required = table.columns.iter().enumerate();
    let (index, _) = required.find(|(index, column)| {
        !column.may_be_left_out && !column.is_generated && !column.is_identity_always && !written.contains(index)
    })?;
    table.schema.columns.get(index).map(|column| column.name.as_str())
}

// === impl Extras ===

impl Extras {
    fn new(table: &TargetTable, config: &WriteConfig) -> Result<Self> {
        let planned = |source: &Column, place| {
            let target = column_index(table, &source.name).ok_or_else(|| missing(table, &source.name))?;
            Ok::<_, Error>(PlannedColumn {
                target,
                source: source.clone(),
                place,
            })
        };
        if config.mode == WriteMode::Append {
            let history = extra::HISTORY.iter().enumerate();
            let history = history.map(|(index, source)| planned(source, Place::Extra(index)));
            return Ok(Self {
                history: history.collect::<Result<_>>()?,
                ..Self::default()
            });
        }
        let deleted_at =
            soft_delete_column(config).map(|name| planned(&extra::deleted_at(name), Place::Extra(DELETED_AT)));
        let position = is_guarded_by_position(config).then(|| planned(&extra::POSITION, Place::Extra(POSITION)));
        Ok(Self {
            history: Vec::new(),
            deleted_at: deleted_at.transpose()?,
            position: position.transpose()?,
        })
    }
}

/// The name that a history's column has; what a column of an event may not be called.
pub(super) fn is_reserved(name: &str) -> bool {
    [
        column::OPERATION,
        column::UPDATED_AT,
        column::POSITION,
        column::TOPIC,
        column::PARTITION,
        column::OFFSET,
    ]
    .contains(&name)
}
