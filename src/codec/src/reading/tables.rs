//! The tables that decoded rows are of: the columns of the value, and those of the key that the value does not have. Where the key has
//! no columns, the configuration or the contract may name those of the value that tell rows apart.

use std::collections::HashMap;
use std::sync::Arc;

use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};

use super::plan::RowPlan;

/// How many tables are remembered; more are only made by records whose fields change from one to the next.
const REMEMBERED: usize = 4096;

/// The columns of a key, and the row that they are the key of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pair {
    /// The plan of the key, where it is a struct.
    key: Option<u64>,
    /// The plan of the row; `None` where there is only the key.
    row: Option<u64>,
}

/// A table of decoded rows.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) schema: SharedSchema,
    /// The columns of the key that stand behind those of the row.
    pub(crate) extras: Vec<usize>,
    /// The records say their key themselves.
    pub(crate) is_keyed: bool,
}

/// Every table that was met.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// The columns that tell rows apart whose records do not say it.
    key_columns: Vec<String>,
    known: HashMap<Pair, Vec<Arc<Table>>>,
    count: usize,
    last: Option<(Pair, Arc<Table>)>,
}

// === impl Tables ===

impl Tables {
    pub(crate) fn new(key_columns: Vec<String>) -> Self {
        Self {
            key_columns,
            ..Self::default()
        }
    }

    /// The table of rows of a plan, with a key of another.
    pub(crate) fn of_row(&mut self, key: Option<&RowPlan>, row: &RowPlan, name: &TableName) -> Arc<Table> {
        let pair = Pair {
            key: key.map(|key| key.id),
            row: Some(row.id),
        };
        self.find(pair, name, |key_columns| match key {
            Some(key) => table(Some(key), Some(row), name),
            None => keyless_table(row, name, key_columns),
        })
    }

    /// The table of a key alone.
    pub(crate) fn of_key(&mut self, key: &RowPlan, name: &TableName) -> Arc<Table> {
        let pair = Pair {
            key: Some(key.id),
            row: None,
        };
        self.find(pair, name, |_| table(Some(key), None, name))
    }

    /// A table of which nothing is known but its name.
    pub(crate) fn of_nothing(&mut self, name: &TableName) -> Arc<Table> {
        let pair = Pair { key: None, row: None };
        self.find(pair, name, |_| table(None, None, name))
    }

    fn find(&mut self, pair: Pair, name: &TableName, make: impl FnOnce(&[String]) -> Table) -> Arc<Table> {
        if let Some((known, table)) = &self.last
            && *known == pair
            && table.schema.name == *name
        {
            return Arc::clone(table);
        }
        if self.count == REMEMBERED {
            *self = Self::new(std::mem::take(&mut self.key_columns));
        }
        let tables = self.known.entry(pair).or_default();
        let known = tables.iter().find(|table| table.schema.name == *name);
        let table = match known {
            Some(known) => Arc::clone(known),
            None => {
                let made = Arc::new(make(&self.key_columns));
                tables.push(Arc::clone(&made));
                self.count += 1;
                made
            }
        };
        self.last = Some((pair, Arc::clone(&table)));
        table
    }
}

fn table(key: Option<&RowPlan>, row: Option<&RowPlan>, name: &TableName) -> Table {
    let of = |plan: &RowPlan| -> Vec<Column> { plan.columns.iter().map(|column| column.column.clone()).collect() };
    let mut columns = row.map(of).unwrap_or_default();
    let (mut indexes, mut extras) = (Vec::new(), Vec::new());
    for (index, column) in key.map(of).unwrap_or_default().into_iter().enumerate() {
        let there = columns.iter().position(|known| known.name == column.name);
        indexes.push(there.unwrap_or(columns.len()));
        if there.is_none() {
            extras.push(index);
            columns.push(column);
        }
    }
    Table {
        schema: Arc::new(TableSchema {
            name: name.clone(),
            kind: TableKind::Table,
            columns,
            key: indexes,
            documentation: None,
        }),
        extras,
        is_keyed: key.is_some(),
    }
}

/// The table of rows whose records do not say their key: it is that of the named columns, where the row has them all.
fn keyless_table(row: &RowPlan, name: &TableName, key_columns: &[String]) -> Table {
    let find = |name: &String| row.columns.iter().position(|column| column.column.name == *name);
    let indexes: Option<Vec<usize>> = key_columns.iter().map(find).collect();
    let of_row = table(None, Some(row), name);
    Table {
        schema: Arc::new(TableSchema {
            key: indexes.unwrap_or_default(),
            ..TableSchema::clone(&of_row.schema)
        }),
        ..of_row
    }
}
