//! What must be changed of a table so that it can take events of a schema, and whether it may be.

use tailrace_core::schema::{Column, SharedSchema, TableName, UNDECLARED};
use tailrace_core::{Error, Result};

use super::config::{Evolve, WriteConfig, WriteMode};
use super::plan::{column_index, extra_columns, key_names};
use super::session::Definitions;
use super::target::TargetTable;

/// How statements begin that change a table.
const ALTER_TABLE: &str = "ALTER TABLE";

/// Whether a statement changes a table. Where it fails because a column is there already, somebody was faster; a new table that has one twice
/// is another matter.
pub fn alters_table(statement: &str) -> bool {
    statement.starts_with(ALTER_TABLE)
}

/// The statements that make a table fit for events of a schema, in their order; none where it is.
///
/// # Errors
/// Definite, with the statements, where they may not be run; definite where no statement can make it fit.
pub(super) fn statements(
    definitions: &dyn Definitions,
    config: &WriteConfig,
    name: &TableName,
    table: Option<&TargetTable>,
    schema: &SharedSchema,
) -> Result<Vec<String>> {
    let Some(table) = table else {
        let table = create(definitions, config, name, schema)?;
        let statements = definitions.create_schema(name).into_iter().chain([table]);
        return allowed(config, Evolve::Add, "table_missing", name, statements.collect());
    };
    let wanted = schema.columns.iter().cloned().chain(extra_columns(config));
    let (present, missing): (Vec<Column>, Vec<Column>) =
        wanted.partition(|column| column_index(table, &column.name).is_some());
    let mut statements = Vec::new();
    for column in &missing {
        let column_type = type_of(definitions, name, column, false)?;
        // Rows that are there have no value for it.
        statements.push(format!(
            "{ALTER_TABLE} {} ADD COLUMN {} {column_type}",
            definitions.table(name),
            definitions.identifier(&column.name)
        ));
    }
    let mut statements = allowed(config, Evolve::Add, "column_missing", name, statements)?;
    if config.evolve == Evolve::Widen {
        for event in &present {
            statements.extend(widen(definitions, table, event)?);
        }
    }
    Ok(statements)
}

/// What to run so that the columns of a table hold all values that the events' types have; `None` where they do, as far as is known.
pub(super) fn widening<'a>(
    definitions: &dyn Definitions,
    table: &TargetTable,
    events: impl Iterator<Item = &'a Column>,
) -> Option<String> {
    let statements: Vec<String> = events
        .filter_map(|event| widen(definitions, table, event).ok().flatten())
        .collect();
    let text = statements.join("; ");
    (!text.is_empty()).then(|| {
        format!("the events' types are wider than the table's; run this in the target, or set `evolve: widen`: {text};")
    })
}

fn widen(definitions: &dyn Definitions, table: &TargetTable, event: &Column) -> Result<Option<String>> {
    let index = column_index(table, &event.name);
    // What the database computes is not written, and retyped it would be a column like others.
    let is_generated = |index: usize| table.columns.get(index).is_some_and(|column| column.is_generated);
    let present = index.filter(|index| !is_generated(*index));
    let Some(present) = present.and_then(|index| table.schema.columns.get(index)) else {
        return Ok(None);
    };
    let wider = definitions.wider_type(present, event)?;
    Ok(wider.map(|wider| definitions.retype(table.name(), &present.name, &wider, present.nullable)))
}

fn create(
    definitions: &dyn Definitions,
    config: &WriteConfig,
    name: &TableName,
    schema: &SharedSchema,
) -> Result<String> {
    let key = key_names(config, schema);
    let mut lines = Vec::new();
    for column in schema.columns.iter().cloned().chain(extra_columns(config)) {
        let is_key = key.contains(&column.name);
        let column_type = type_of(definitions, name, &column, is_key)?;
        // What the source forbids is forbidden here too, but not in a history, where a delete may have nothing but the key.
        let not_null = is_key || (!column.nullable && config.mode != WriteMode::Append);
        let not_null = if not_null { " NOT NULL" } else { "" };
        lines.push(format!(
            "{} {column_type}{not_null}",
            definitions.identifier(&column.name)
        ));
    }
    if !key.is_empty() {
        let key: Vec<String> = key.iter().map(|name| definitions.identifier(name)).collect();
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    Ok(format!(
        "CREATE TABLE {} ({})",
        definitions.table(name),
        lines.join(", ")
    ))
}

fn type_of(definitions: &dyn Definitions, table: &TableName, column: &Column, is_key: bool) -> Result<String> {
    if column.source_type == UNDECLARED {
        let message = format!(
            "table {} needs a column {}, and the events, JSON without a schema, do not say of which type; make the column by hand, name \
             the events' schema with `contract`, or publish them with one (`format: {{ codec: avro }}` or `json_schema`)",
            table.qualified(),
            column.name
        );
        return Err(Error::definite("type_undeclared", message));
    }
    definitions.column_type(column, is_key).ok_or_else(|| {
        let message = format!(
            "the database has no type for column {} of the events for table {}, {:?}; leave it out with \
             `transforms: [{{ exclude_columns: [{}] }}]`",
            column.name,
            table.qualified(),
            column.logical_type,
            column.name
        );
        Error::definite("type_unsupported", message)
    })
}

fn allowed(
    config: &WriteConfig,
    needed: Evolve,
    code: &'static str,
    table: &TableName,
    statements: Vec<String>,
) -> Result<Vec<String>> {
    if statements.is_empty() || config.evolve >= needed {
        return Ok(statements);
    }
    let what = match code {
        "table_missing" => format!("there is no table {}", table.qualified()),
        _ => format!("table {} lacks columns that the events have", table.qualified()),
    };
    let message = format!(
        "{what}; run this in the target, or set `evolve: add` so that it is done for you: {};",
        statements.join("; ")
    );
    Err(Error::definite(code, message))
}
