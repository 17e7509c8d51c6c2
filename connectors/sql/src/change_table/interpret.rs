//! A row of a change table as the change that it tells of.
//!
//! Columns are published as the captured table has them: its names, order, key and nullability; their types are those of the change
//! table, which the values were read as. Two things may be otherwise in rows that are older than the table's last change, and each
//! such row gets a schema of its own that says so:
//!
//! | the row | its schema |
//! |---|---|
//! | has a value in a column that was dropped since | has that column as well, behind the others |
//! | has no value in a column that was added as NOT NULL since | lets that column be NULL |

use std::collections::HashMap;
use std::sync::Arc;

use tailrace_core::batch::{BeforeImage, Change, ChangeBatch, Operation, Row, RowView, Transaction};
use tailrace_core::calendar::Civil;
use tailrace_core::schema::{Column, SharedSchema, TableSchema};
use tailrace_core::value::Value;
use tailrace_core::{Error, Result};

use super::name;
use super::{CHANGED_AT, OPERATION, SEQUENCE, TRANSACTION, VERSION};
use crate::page::batch_full;

/// One version of a change table, and what its rows mean.
#[derive(Debug)]
pub struct Interpretation {
    change_table: String,
    captured: SharedSchema,
    sequence: usize,
    operation: usize,
    transaction: Option<usize>,
    changed_at: usize,
    version: usize,
    columns: Vec<ValueColumn>,
    /// How many of `columns` the captured table has; those behind were dropped.
    current: usize,
    /// Schemas of rows that are not as the table is now, by what is special about them.
    variants: HashMap<Vec<Special>, SharedSchema>,
}

/// A captured column in the change table's rows.
#[derive(Debug)]
struct ValueColumn {
    column: Column,
    before: usize,
    after: usize,
}

/// What a row has that its table has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Special {
    /// NULL in a column that may not be.
    Null(usize),
    /// A value in a column that was dropped.
    Dropped(usize),
}

/// A row of a change table, but for the values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    sequence: i64,
    operation: Operation,
    transaction: Option<u64>,
    changed_at_us: i64,
    special: Vec<Special>,
}

// === impl Interpretation ===

impl Interpretation {
    /// What rows of this version of a change table mean, with the captured table as it is now.
    ///
    /// # Errors
    /// `change_table_columns` where it is not a change table of this one.
    pub fn new(change_table: &TableSchema, captured: &TableSchema) -> Result<Self> {
        let name = change_table.name.qualified();
        let own = |column: &str| {
            change_table.column_index(column).ok_or_else(|| {
                Error::definite(
                    "change_table_columns",
                    format!("{name} has no column {column} and is not a change table; run `tailrace triggers diff`"),
                )
            })
        };
        let columns = value_columns(change_table, captured);
        let key: Option<Vec<usize>> = captured
            .key_columns()
            .map(|key| columns.iter().position(|column| column.column.name == key.name))
            .collect();
        let Some(key) = key else {
            return Err(Error::definite(
                "change_table_columns",
                format!(
                    "{name} does not have all columns of the key of {}; run `tailrace triggers diff`",
                    captured.name.qualified()
                ),
            ));
        };
        let current = columns
            .iter()
            .take_while(|column| captured.column_index(&column.column.name).is_some())
            .count();
        let schema = TableSchema {
            columns: columns
                .iter()
                .take(current)
                .map(|column| column.column.clone())
                .collect(),
            key,
            ..captured.clone()
        };
        Ok(Self {
            sequence: own(SEQUENCE)?,
            operation: own(OPERATION)?,
            transaction: change_table.column_index(TRANSACTION),
            changed_at: own(CHANGED_AT)?,
            version: own(VERSION)?,
            change_table: name,
            captured: Arc::new(schema),
            columns,
            current,
            variants: HashMap::new(),
        })
    }

    /// The captured table as its events have it.
    pub fn schema(&self) -> &SharedSchema {
        &self.captured
    }

    /// The version of the captured table that a row was written for.
    pub fn version<'a>(&self, row: RowView<'a>) -> Option<&'a str> {
        match row.get(self.version) {
            Value::Text(version) => Some(version),
            _ => None,
        }
    }

    /// Puts the change that a row tells of into the batch that holds the row. `raw` is the transaction that wrote the row, as far as
    /// its reader knows.
    ///
    /// # Errors
    /// `change_table_row` (poison) where the row was not written by a trigger of ours.
    pub fn change(&mut self, batch: &mut ChangeBatch, row: Row, raw: &Transaction) -> Result<Change> {
        let told = self.told(batch.row(row))?;
        let schema = self.schema_of(&told.special);
        let dropped: Vec<usize> = told
            .special
            .iter()
            .filter_map(|special| match special {
                Special::Dropped(column) => Some(*column),
                Special::Null(_) => None,
            })
            .collect();
        let columns: Vec<usize> = (0..self.current).chain(dropped).collect();
        let (has_before, has_after) = match told.operation {
            Operation::Read | Operation::Create => (false, true),
            Operation::Update => (true, true),
            Operation::Delete => (true, false),
            Operation::Truncate | Operation::Message => (false, false),
        };
        let side = |batch: &mut ChangeBatch, wanted: bool, cell: fn(&ValueColumn) -> usize| {
            wanted.then(|| {
                copy(
                    batch,
                    row,
                    columns.iter().filter_map(|column| self.columns.get(*column)).map(cell),
                )
            })
        };
        let before = side(batch, has_before, |column| column.before).transpose()?;
        let after = side(batch, has_after, |column| column.after).transpose()?;
        let table = batch.table_index(&schema);
        let transaction = batch.push_transaction(Transaction {
            id: told.transaction,
            committed_at_us: told.changed_at_us,
            // With the time, because the numbers begin anew where a change table is taken away and made again.
            position: format!("{}:{}@{}", self.change_table, told.sequence, told.changed_at_us).into(),
            ..raw.clone()
        });
        Ok(Change {
            operation: told.operation,
            table,
            transaction,
            before,
            before_image: if has_before {
                BeforeImage::Full
            } else {
                BeforeImage::None
            },
            after,
            ordinal: 0,
            log_position: None,
            updated_at_us: None,
            topic: None,
            message: None,
        })
    }

    fn told(&self, row: RowView<'_>) -> Result<Told> {
        let malformed = |column: &str, found: Value<'_>| {
            Error::poison(
                "change_table_row",
                format!(
                    "{}: {column} is {found:?} in the row with the number {:?}, which no trigger of Tailrace writes; correct or delete the row",
                    self.change_table,
                    row.get(self.sequence)
                ),
            )
        };
        let operation = match row.get(self.operation) {
            Value::Text(text) => operation(text),
            _ => None,
        };
        let operation = operation.ok_or_else(|| malformed(OPERATION, row.get(self.operation)))?;
        let transaction = match self.transaction.map(|index| row.get(index)) {
            None | Some(Value::Null) => None,
            Some(Value::Int(number)) => u64::try_from(number).ok(),
            Some(Value::Text(digits)) => Some(
                digits
                    .parse()
                    .map_err(|_| malformed(TRANSACTION, Value::Text(digits)))?,
            ),
            Some(other) => return Err(malformed(TRANSACTION, other)),
        };
        Ok(Told {
            sequence: match row.get(self.sequence) {
                Value::Int(number) => number,
                other => return Err(malformed(SEQUENCE, other)),
            },
            changed_at_us: match row.get(self.changed_at) {
                Value::Int(microseconds) => microseconds,
                // Where the source publishes dates as the database prints them.
                Value::Text(text) => time_us(text).ok_or_else(|| malformed(CHANGED_AT, Value::Text(text)))?,
                other => return Err(malformed(CHANGED_AT, other)),
            },
            special: self.special(row, operation),
            operation,
            transaction,
        })
    }

    /// What the row has that the table, as it is now, cannot have.
    fn special(&self, row: RowView<'_>, operation: Operation) -> Vec<Special> {
        let has_before = matches!(operation, Operation::Update | Operation::Delete);
        let has_after = matches!(operation, Operation::Update | Operation::Create | Operation::Read);
        let is_null = |index: usize| row.get(index) == Value::Null;
        let special = self.columns.iter().enumerate().filter_map(|(index, column)| {
            let null = (has_before && is_null(column.before)) || (has_after && is_null(column.after));
            let value = !is_null(column.before) || !is_null(column.after);
            if index >= self.current {
                return value.then_some(Special::Dropped(index));
            }
            (null && !column.column.nullable).then_some(Special::Null(index))
        });
        special.collect()
    }

    fn schema_of(&mut self, special: &[Special]) -> SharedSchema {
        if special.is_empty() {
            return Arc::clone(&self.captured);
        }
        if let Some(known) = self.variants.get(special) {
            return Arc::clone(known);
        }
        let mut schema = (*self.captured).clone();
        for special in special {
            match special {
                Special::Null(index) => {
                    if let Some(column) = schema.columns.get_mut(*index) {
                        column.nullable = true;
                    }
                }
                Special::Dropped(index) => {
                    let dropped = self.columns.get(*index);
                    schema.columns.extend(dropped.map(|dropped| dropped.column.clone()));
                }
            }
        }
        let schema = Arc::new(schema);
        self.variants.insert(special.to_vec(), Arc::clone(&schema));
        schema
    }
}

fn operation(text: &str) -> Option<Operation> {
    Some(match text.trim_end() {
        "c" => Operation::Create,
        "u" => Operation::Update,
        "d" => Operation::Delete,
        "t" => Operation::Truncate,
        "r" => Operation::Read,
        _ => return None,
    })
}

/// Microseconds since 1970 of `2026-03-01 08:30:00.123456`, UTC.
fn time_us(text: &str) -> Option<i64> {
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> { text.split(by).map(|part| part.parse().ok()).collect() };
    let (date, time) = text.split_once(' ')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = <[i64; 3]>::try_from(numbers(date, '-')?).ok()?;
    let [hour, minute, second] = <[i64; 3]>::try_from(numbers(time, ':')?).ok()?;
    let microseconds: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let days = Civil { year, month, day }.to_days();
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + microseconds)
}

/// Columns of the captured table that the change table has, in the captured table's order; then those that only it has.
fn value_columns(change_table: &TableSchema, captured: &TableSchema) -> Vec<ValueColumn> {
    let mut columns = Vec::new();
    for (after, raw) in change_table.columns.iter().enumerate() {
        let Some(name) = name::captured_column(&raw.name) else {
            continue;
        };
        let Some(before) = name::before_of(&raw.name).and_then(|name| change_table.column_index(&name)) else {
            continue;
        };
        let now = captured_index(captured, &raw.name, name);
        let column = now.and_then(|index| captured.columns.get(index));
        let default = column.filter(|column| column.logical_type == raw.logical_type);
        columns.push((
            now.unwrap_or(usize::MAX),
            ValueColumn {
                column: Column {
                    name: column.map_or_else(|| name.to_owned(), |column| column.name.clone()),
                    logical_type: raw.logical_type.clone(),
                    nullable: column.is_none_or(|column| column.nullable),
                    source_type: raw.source_type.clone(),
                    default: default.and_then(|column| column.default.clone()),
                    default_is_computed: default.is_some_and(|column| column.default_is_computed),
                    documentation: column.and_then(|column| column.documentation.clone()),
                },
                before,
                after,
            },
        ));
    }
    columns.sort_by_key(|(now, _)| *now);
    columns.into_iter().map(|(_, column)| column).collect()
}

/// The captured column of a column with the value after; names may have been cut, so whole names are compared where there are any.
fn captured_index(captured: &TableSchema, after: &str, name: &str) -> Option<usize> {
    captured.column_index(name).or_else(|| {
        let limits = [name::NameLimit::Bytes(63), name::NameLimit::Characters(64)];
        captured
            .columns
            .iter()
            .position(|column| limits.iter().any(|limit| name::after(&column.name, *limit) == after))
    })
}

fn copy(batch: &mut ChangeBatch, row: Row, cells: impl Iterator<Item = usize>) -> Result<Row> {
    batch.begin_row().map_err(batch_full)?;
    for cell in cells {
        batch.push_copy(row, cell);
    }
    batch.end_row().map_err(batch_full)
}

#[cfg(test)]
mod tests;
