//! The statements of one step, put together from its rows' literals.

use std::ops::Range;

use tailrace_core::{Error, Result};
use tailrace_sql::sink::work::{Place, Step, StepRow};

use super::literal::ColumnWriter;
use crate::quote::{identifier, qualified};

/// Rows as literals, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Literals {
    text: String,
    cells: Vec<Range<usize>>,
    columns: usize,
}

/// How a step's rows become statements.
pub(super) struct StepStatements {
    table: String,
    /// `shop.orders`, for sentences.
    pub(super) table_name: String,
    names: Vec<String>,
    writers: Vec<ColumnWriter>,
    /// Indexes of the key's columns.
    key: Vec<usize>,
    /// Indexes of the others.
    values: Vec<usize>,
    guard: Option<usize>,
    /// Columns of other unique indexes that may be NULL for a moment.
    parked: Vec<usize>,
    /// New rows have an alias in `ON DUPLICATE KEY UPDATE`.
    row_alias: bool,
    /// The key is the primary key.
    pub(super) key_is_primary: bool,
    /// No other index than the primary key can refuse a row, and the key is the primary key.
    pub(super) only_key_collides: bool,
    /// No two rows of the table have the same key.
    pub(super) key_is_unique: bool,
}

// === impl Literals ===

impl Literals {
    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or_default()
    }

    /// How long they are, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Takes the rows away, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
    }

    /// The literal of a column of a row; empty for what is unchanged.
    fn cell(&self, row: usize, column: usize) -> &str {
        let range = self.cells.get(row * self.columns + column);
        range.and_then(|range| self.text.get(range.clone())).unwrap_or_default()
    }
}

// === impl StepStatements ===

impl StepStatements {
    /// Of this step.
    ///
    /// # Errors
    /// Definite, where a column's type is not known.
    pub(super) fn new(step: &Step<'_>, row_alias: bool) -> Result<Self> {
        let target = step.table;
        let name = target.name();
        let (mut names, mut writers) = (Vec::new(), Vec::new());
        for column in &step.columns {
            let of_target = target.schema.columns.get(column.target).ok_or_else(|| {
                let message = format!(
                    "{} has other columns than it had; resume the connector",
                    name.qualified()
                );
                Error::transient("table_changed", message)
            })?;
            names.push(identifier(&of_target.name));
            let writer = ColumnWriter::new(of_target, &column.source.logical_type)?;
            writers.push(match column.place {
                Place::Cell(_) => writer,
                Place::Extra(_) => writer.dropping_fractions(),
            });
        }
        let targets = |columns: &[usize]| {
            let mut targets: Vec<usize> = columns
                .iter()
                .filter_map(|index| step.columns.get(*index).map(|column| column.target))
                .collect();
            targets.sort_unstable();
            targets
        };
        let key = targets(&step.key);
        let is_key = |columns: &Vec<usize>| {
            let mut columns = columns.clone();
            columns.sort_unstable();
            columns == key
        };
        let key_is_primary = !key.is_empty() && is_key(&target.schema.key);
        let values: Vec<usize> = (0..step.columns.len())
            .filter(|index| !step.key.contains(index))
            .collect();
        let may_park = |index: &usize| {
            let column = step.columns.get(*index).map(|column| column.target);
            let nullable = column
                .and_then(|column| target.schema.columns.get(column))
                .is_some_and(|column| column.nullable);
            nullable
                && target
                    .unique_keys
                    .iter()
                    .any(|unique| unique.iter().any(|of| Some(*of) == column))
        };
        Ok(Self {
            table: match name.schema.is_empty() {
                true => identifier(&name.table),
                false => qualified(&name.schema, &name.table),
            },
            table_name: name.qualified(),
            names,
            writers,
            key: step.key.clone(),
            parked: values.iter().copied().filter(may_park).collect(),
            values,
            guard: step.guard,
            row_alias,
            key_is_primary,
            only_key_collides: key_is_primary && target.unique_keys.is_empty() && !target.has_other_unique_index,
            key_is_unique: key_is_primary || target.unique_keys.iter().any(is_key),
        })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Poison, where a value has no literal.
    pub(super) fn push(&self, step: &Step<'_>, row: &StepRow, literals: &mut Literals) -> Result<()> {
        literals.columns = step.columns.len();
        let values = step.values(row);
        for (column, writer) in step.columns.iter().zip(&self.writers) {
            let start = literals.text.len();
            writer.write(values.get(column.place), &mut literals.text)?;
            literals.cells.push(start..literals.text.len());
        }
        Ok(())
    }

    /// `INSERT` of several rows.
    pub(super) fn insert(&self, literals: &Literals, rows: &[usize]) -> String {
        let mut statement = String::with_capacity(literals.bytes() + literals.cells.len() * 2 + 256);
        statement.push_str(&format!(
            "INSERT INTO {} ({}) VALUES ",
            self.table,
            self.names.join(",")
        ));
        for (place, row) in rows.iter().enumerate() {
            statement.push_str(if place == 0 { "(" } else { ",(" });
            for column in 0..self.names.len() {
                if column > 0 {
                    statement.push(',');
                }
                statement.push_str(literals.cell(*row, column));
            }
            statement.push(')');
        }
        statement
    }

    /// `INSERT … ON DUPLICATE KEY UPDATE`: right where no row but that of the primary key can be met.
    pub(super) fn upsert(&self, literals: &Literals, rows: &[usize]) -> String {
        let mut statement = self.insert(literals, rows);
        if self.row_alias {
            statement.push_str(" AS `tailrace_new`");
        }
        statement.push_str(" ON DUPLICATE KEY UPDATE ");
        // Assigned from left to right, and compared with what the row has by then: the guard comes last.
        let unguarded = self.values.iter().filter(|index| Some(**index) != self.guard);
        let mut assignments: Vec<String> = self.equal_keys().collect();
        assignments.extend(unguarded.chain(&self.guard).map(|index| self.assignment(*index)));
        if assignments.is_empty() {
            assignments.extend(
                self.key
                    .iter()
                    .take(1)
                    .map(|index| format!("{0} = {0}", self.old(*index))),
            );
        }
        statement.push_str(&assignments.join(","));
        statement
    }

    /// Rows whose keys differ may be equal to the index: such a row would take another one's place. A primary key cannot be NULL, so
    /// that the assignment fails then.
    fn equal_keys(&self) -> impl Iterator<Item = String> + '_ {
        let equates = |index: &&usize| {
            self.writers
                .get(**index)
                .is_some_and(|writer| writer.target().equates_texts)
        };
        self.key.iter().filter(equates).map(|index| {
            let (old, new) = (self.old(*index), self.new_value(*index));
            format!("{old} = IF(CAST({old} AS BINARY) = CAST({new} AS BINARY), {old}, NULL)")
        })
    }

    /// A text key may be refused by [`Self::equal_keys`].
    pub(super) fn compares_keys(&self) -> bool {
        self.equal_keys().next().is_some()
    }

    fn assignment(&self, index: usize) -> String {
        let (old, new) = (self.old(index), self.new_value(index));
        match self.guard {
            None => format!("{old} = {new}"),
            Some(guard) => {
                let (old_guard, new_guard) = (self.old(guard), self.new_value(guard));
                format!("{old} = IF({old_guard} IS NULL OR {new_guard} >= {old_guard}, {new}, {old})")
            }
        }
    }

    fn old(&self, index: usize) -> String {
        match self.row_alias {
            true => format!("{}.{}", self.table, self.name(index)),
            false => self.name(index).to_owned(),
        }
    }

    fn new_value(&self, index: usize) -> String {
        match self.row_alias {
            true => format!("`tailrace_new`.{}", self.name(index)),
            false => format!("VALUES({})", self.name(index)),
        }
    }

    /// `UPDATE` of one row; `None` where nothing of it is to be changed.
    pub(super) fn update(&self, literals: &Literals, row: usize) -> Option<String> {
        let assignments: Vec<String> = self
            .values
            .iter()
            .map(|column| format!("{} = {}", self.name(*column), literals.cell(row, *column)))
            .collect();
        if assignments.is_empty() {
            return None;
        }
        let mut statement = format!(
            "UPDATE {} SET {} WHERE {}",
            self.table,
            assignments.join(","),
            self.condition(literals, row)
        );
        if let Some(guard) = self.guard {
            let name = self.name(guard);
            let new = literals.cell(row, guard);
            statement.push_str(&format!(" AND ({name} IS NULL OR {new} >= {name})"));
        }
        Some(statement)
    }

    /// Takes a row's values out of the way of other rows; they come back with [`Self::update`]. `None` where they cannot be NULL, or where
    /// they might not come back.
    pub(super) fn park(&self, literals: &Literals, row: usize) -> Option<String> {
        let set_null = |column: &usize| format!("{} = NULL", self.name(*column));
        let assignments: Vec<String> = self.parked.iter().map(set_null).collect();
        (!assignments.is_empty() && self.guard.is_none()).then(|| {
            format!(
                "UPDATE {} SET {} WHERE {}",
                self.table,
                assignments.join(","),
                self.condition(literals, row)
            )
        })
    }

    /// `DELETE` of several rows.
    pub(super) fn delete(&self, literals: &Literals, rows: &[usize]) -> String {
        let Some(guard) = self.guard else {
            return format!("DELETE FROM {} WHERE {}", self.table, self.conditions(literals, rows));
        };
        let name = self.name(guard);
        let each = rows.iter().map(|row| {
            let (condition, version) = (self.condition(literals, *row), literals.cell(*row, guard));
            format!("({condition} AND ({name} IS NULL OR {version} >= {name}))")
        });
        format!("DELETE FROM {} WHERE {}", self.table, Vec::from_iter(each).join(" OR "))
    }

    /// Of every row; `TRUNCATE` would commit. Where there is a column, it says since when rows are deleted.
    pub(super) fn delete_all(&self) -> String {
        match self.names.first() {
            None => format!("DELETE FROM {}", self.table),
            Some(since) => format!(
                "UPDATE {} SET {since} = UTC_TIMESTAMP(6) WHERE {since} IS NULL",
                self.table
            ),
        }
    }

    /// How many of the rows are there; they stay there until the transaction ends.
    pub(super) fn count(&self, literals: &Literals, rows: &[usize]) -> String {
        format!(
            "SELECT COUNT(*) FROM {} WHERE {} FOR UPDATE",
            self.table,
            self.conditions(literals, rows)
        )
    }

    /// A list of values for one column, and alternatives for several, which every version looks up in the index; rows of values are not
    /// looked up by MySQL 5.6 and MariaDB.
    fn conditions(&self, literals: &Literals, rows: &[usize]) -> String {
        if let [column] = self.key.as_slice() {
            let values: Vec<&str> = rows.iter().map(|row| literals.cell(*row, *column)).collect();
            let values = values.join(",");
            let name = self.name(*column);
            return match self.exactly(*column) {
                Some(exactly) => format!("{name} IN ({values}) AND {exactly} IN ({values})"),
                None => format!("{name} IN ({values})"),
            };
        }
        let each = rows.iter().map(|row| format!("({})", self.condition(literals, *row)));
        Vec::from_iter(each).join(" OR ")
    }

    fn condition(&self, literals: &Literals, row: usize) -> String {
        let mut parts = Vec::with_capacity(self.key.len());
        for column in &self.key {
            let value = literals.cell(row, *column);
            parts.push(format!("{} = {value}", self.name(*column)));
            parts.extend(self.exactly(*column).map(|exactly| format!("{exactly} = {value}")));
        }
        parts.join(" AND ")
    }

    /// The index finds texts that its collation takes for equal; of these only the same one is meant.
    fn exactly(&self, column: usize) -> Option<String> {
        let equates = self
            .writers
            .get(column)
            .is_some_and(|writer| writer.target().equates_texts);
        equates.then(|| format!("CAST(CONVERT({} USING utf8mb4) AS BINARY)", self.name(column)))
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests;
