//! The SQL of one step: rows come as one array per column, `unnest($1, $2, …) AS u(c1, c2, …)`.

use tailrace_sql::sink::target::TargetTable;
use tailrace_sql::sink::work::{Action, Step};

use super::value::{CHARACTERS, ColumnWriter};
use crate::quote::{identifier, qualified};

/// A column of a step, as a statement has it.
struct Named {
    /// In the table, quoted.
    name: String,
    /// Of what was unnested, in the type of the column.
    value: String,
    /// The order of its texts is that of a language.
    is_collated: bool,
    is_identity_always: bool,
}

/// The statement of a step. Where it shall count rows that must be there, [`matching`] does so beside a guard.
pub(super) fn statement(step: &Step<'_>, writers: &[ColumnWriter<'_>]) -> String {
    let table = table_of(step.table);
    let columns = named(step, writers);
    let unnested = unnested(writers);
    match step.action {
        Action::Insert => format!(
            "{} SELECT {} FROM {unnested}",
            insert_into(&table, &columns),
            values(&columns)
        ),
        Action::Upsert => upsert(step, &table, &columns, &unnested),
        Action::Update { .. } => {
            let set = assignments(step, &columns, |column| column.value.clone());
            let (matched, guard) = (
                matched(step, &columns),
                guard(step, &columns, |column| column.value.clone()),
            );
            format!(
                "UPDATE {table} AS t SET {set} FROM {unnested} WHERE {matched}{}",
                guard.map_or_else(String::new, |guard| format!(" AND {guard}"))
            )
        }
        Action::Delete => {
            let guard = guard(step, &columns, |column| column.value.clone());
            format!(
                "DELETE FROM {table} AS t USING {unnested} WHERE {}{}",
                matched(step, &columns),
                guard.map_or_else(String::new, |guard| format!(" AND {guard}"))
            )
        }
        // Not TRUNCATE, for which every reader would have to go first, and which no table that others refer to allows.
        Action::Truncate => match columns.first() {
            None => format!("DELETE FROM {table}"),
            Some(deleted_at) => {
                let name = &deleted_at.name;
                format!("UPDATE {table} SET {name} = now() WHERE {name} IS NULL")
            }
        },
    }
}

/// How many of the rows of a step are there.
pub(super) fn matching(step: &Step<'_>, writers: &[ColumnWriter<'_>]) -> String {
    let columns = named(step, writers);
    format!(
        "SELECT count(*) FROM {} AS t, {} WHERE {}",
        table_of(step.table),
        unnested(writers),
        matched(step, &columns)
    )
}

fn table_of(table: &TargetTable) -> String {
    qualified(&table.name().schema, &table.name().table)
}

fn named(step: &Step<'_>, writers: &[ColumnWriter<'_>]) -> Vec<Named> {
    let columns = step.columns.iter().zip(writers).enumerate();
    let named = columns.filter_map(|(index, (column, writer))| {
        let target = step.table.schema.columns.get(column.target)?;
        let known = step.table.columns.get(column.target)?;
        let value = format!("u.c{}", index + 1);
        Some(Named {
            name: identifier(&target.name),
            value: value + &writer.cast(&known.type_name),
            is_collated: CHARACTERS.contains(&known.type_name.as_str()) || known.type_name == "character",
            is_identity_always: known.is_identity_always,
        })
    });
    named.collect()
}

fn unnested(writers: &[ColumnWriter<'_>]) -> String {
    let parameter =
        |(index, writer): (usize, &ColumnWriter<'_>)| format!("${}::{}[]", index + 1, writer.element.name());
    let parameters: Vec<String> = writers.iter().enumerate().map(parameter).collect();
    let names: Vec<String> = (1..=writers.len()).map(|number| format!("c{number}")).collect();
    format!("unnest({}) AS u({})", parameters.join(", "), names.join(", "))
}

fn insert_into(table: &str, columns: &[Named]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    // The source has numbered its rows already.
    let overriding = if columns.iter().any(|column| column.is_identity_always) {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    format!("INSERT INTO {table} AS t ({}){overriding}", names.join(", "))
}

fn values(columns: &[Named]) -> String {
    columns
        .iter()
        .map(|column| column.value.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn upsert(step: &Step<'_>, table: &str, columns: &[Named], unnested: &str) -> String {
    let insert = format!(
        "{} SELECT {} FROM {unnested}",
        insert_into(table, columns),
        values(columns)
    );
    let key: Vec<&str> = step
        .key
        .iter()
        .filter_map(|index| columns.get(*index))
        .map(|column| column.name.as_str())
        .collect();
    let excluded = |column: &Named| format!("EXCLUDED.{}", column.name);
    let set = assignments(step, columns, excluded);
    if set.is_empty() {
        return format!("{insert} ON CONFLICT ({}) DO NOTHING", key.join(", "));
    }
    let guard = guard(step, columns, excluded).map_or_else(String::new, |guard| format!(" WHERE {guard}"));
    format!("{insert} ON CONFLICT ({}) DO UPDATE SET {set}{guard}", key.join(", "))
}

/// Everything but the key.
fn assignments(step: &Step<'_>, columns: &[Named], value: impl Fn(&Named) -> String) -> String {
    let others = columns
        .iter()
        .enumerate()
        .filter(|(index, _)| !step.key.contains(index));
    let set = others.map(|(_, column)| format!("{} = {}", column.name, value(column)));
    set.collect::<Vec<_>>().join(", ")
}

fn matched(step: &Step<'_>, columns: &[Named]) -> String {
    let key = step.key.iter().filter_map(|index| columns.get(*index));
    let conditions = key.map(|column| format!("t.{} = {}", column.name, column.value));
    conditions.collect::<Vec<_>>().join(" AND ")
}

/// A version that is not lower than the row's.
fn guard(step: &Step<'_>, columns: &[Named], value: impl Fn(&Named) -> String) -> Option<String> {
    let column = columns.get(step.guard?)?;
    // Places in a log sort by their bytes, whatever the language of the database.
    let collation = if column.is_collated { " COLLATE \"C\"" } else { "" };
    let name = &column.name;
    Some(format!(
        "(t.{name} IS NULL OR t.{name}{collation} <= {})",
        value(column)
    ))
}
