//! The tables that decoded rows are of: the columns of the value, and those of the key that the value does not have.

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
}

/// Every table that was met.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    known: HashMap<Pair, Vec<Arc<Table>>>,
    count: usize,
    last: Option<(Pair, Arc<Table>)>,
}

// === impl Tables ===

impl Tables {
    /// The table of rows of a plan, with a key of another.
    pub(crate) fn of_row(&mut self, key: Option<&RowPlan>, row: &RowPlan, name: &TableName) -> Arc<Table> {
        let pair = Pair {
            key: key.map(|key| key.id),
            row: Some(row.id),
        };
        self.find(pair, name, || table(key, Some(row), name))
    }

    /// The table of a key alone.
    pub(crate) fn of_key(&mut self, key: &RowPlan, name: &TableName) -> Arc<Table> {
        let pair = Pair {
            key: Some(key.id),
            row: None,
        };
        self.find(pair, name, || table(Some(key), None, name))
    }

    /// A table of which nothing is known but its name.
    pub(crate) fn of_nothing(&mut self, name: &TableName) -> Arc<Table> {
        let pair = Pair { key: None, row: None };
        self.find(pair, name, || table(None, None, name))
    }

    fn find(&mut self, pair: Pair, name: &TableName, make: impl FnOnce() -> Table) -> Arc<Table> {
        if let Some((known, table)) = &self.last
            && *known == pair
            && table.schema.name == *name
        {
            return Arc::clone(table);
        }
        if self.count == REMEMBERED {
            *self = Self::default();
        }
        let tables = self.known.entry(pair).or_default();
        let known = tables.iter().find(|table| table.schema.name == *name);
        let table = match known {
            Some(known) => Arc::clone(known),
            None => {
                let made = Arc::new(make());
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
    }
}
