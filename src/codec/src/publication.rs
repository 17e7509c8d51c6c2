//! What of a table is published, where and as what: its columns as readers see them, and where their cells are in a row.
//!
//! Without a contract that says otherwise it is the whole table, as it is. A contract may give columns another order, other
//! documentation or wider types, and leave columns out; rows stay as they are, and only the plan reads them differently.

use std::sync::Arc;

use tailrace_core::schema::{Column, SharedSchema, TableKind};

use crate::format::Envelope;

/// A column as readers see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    /// Index of its cell in the table's rows.
    pub(crate) cell: usize,
    /// Name, type, nullability, default and documentation as they are published.
    pub(crate) column: Column,
    /// What an Avro enum of its symbols is called, where that is said.
    pub(crate) type_name: Option<String>,
}

/// Where events go, and what their records are called after. They differ where a rule sends a table to another topic: records of
/// several tables may meet there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Destination {
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The topic of the table alone.
    pub(crate) name: Arc<str>,
}

/// What is published of one version of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publication {
    /// The table as its rows are.
    pub(crate) table: SharedSchema,
    /// Where its events go.
    pub(crate) to: Destination,
    /// The fields of a row.
    pub(crate) columns: Vec<Published>,
    /// The fields of a key.
    pub(crate) key: Vec<Published>,
    /// What the record is, for people.
    pub(crate) documentation: Option<String>,
    /// Full name of the row's record, where that is said.
    pub(crate) record: Option<String>,
}

// === impl Published ===

impl Published {
    /// A column as it is in the table.
    pub(crate) fn as_it_is(cell: usize, column: &Column) -> Self {
        Self {
            cell,
            column: column.clone(),
            type_name: None,
        }
    }
}

// === impl Destination ===

impl Destination {
    /// The table's own topic.
    pub(crate) fn own(topic: Arc<str>) -> Self {
        Self {
            name: Arc::clone(&topic),
            topic,
        }
    }

    /// The topics of a line: `orders`, `orders.v2`, `orders.v3`.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        let numbered = |name: &Arc<str>| match number {
            1 => Arc::clone(name),
            number => format!("{name}.v{number}").into(),
        };
        Self {
            topic: numbered(&self.topic),
            name: numbered(&self.name),
        }
    }
}

// === impl Publication ===

impl Publication {
    /// The whole table, as it is.
    pub(crate) fn whole(table: &SharedSchema, to: Destination, envelope: Envelope) -> Self {
        let published = |cell: usize| Some(Published::as_it_is(cell, table.columns.get(cell)?));
        Self {
            table: Arc::clone(table),
            to,
            columns: (0..table.columns.len()).filter_map(published).collect(),
            key: key_cells(table, envelope).into_iter().filter_map(published).collect(),
            documentation: table.documentation.clone(),
            record: None,
        }
    }

    /// True where a cell is in the key.
    pub(crate) fn has_in_key(&self, cell: usize) -> bool {
        self.key.iter().any(|published| published.cell == cell)
    }

    /// The same without the columns of these names. The key stays whole.
    pub(crate) fn without(&self, names: &[String]) -> Self {
        let stays = |published: &&Published| !names.contains(&published.column.name);
        Self {
            columns: self.columns.iter().filter(stays).cloned().collect(),
            ..self.clone()
        }
    }

    /// The names of the table's columns that are not published.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let is_out = |(cell, _): &(usize, &Column)| self.columns.iter().all(|published| published.cell != *cell);
        let columns = self.table.columns.iter().enumerate().filter(is_out);
        columns.map(|(_, column)| column.name.clone()).collect()
    }
}

/// Where the key's cells are. Debezium gives a logical message its prefix as key.
fn key_cells(table: &SharedSchema, envelope: Envelope) -> Vec<usize> {
    match (table.kind, envelope) {
        (TableKind::Message, Envelope::Debezium) => table.column_index("prefix").into_iter().collect(),
        _ => table.key.clone(),
    }
}
