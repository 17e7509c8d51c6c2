//! A table that events are written into, as the database describes it.

use std::collections::BTreeSet;

use tailrace_core::schema::{SharedSchema, TableName};

/// A table.
#[derive(Debug, Clone)]
pub struct TargetTable {
    /// Columns and primary key, in the types that values are compared and converted by.
    pub schema: SharedSchema,
    /// What is known of the columns beside that, in their order.
    pub columns: Vec<TargetColumn>,
    /// Columns of unique indexes and constraints other than the primary key, whole ones only (no expressions, no conditions).
    pub unique_keys: Vec<Vec<usize>>,
    /// Another unique index is there than `unique_keys` and the primary key: of an expression, or with a condition.
    pub has_other_unique_index: bool,
    /// Tables that its foreign keys refer to; without itself.
    pub references: Vec<TableName>,
    /// One of its foreign keys refers to itself.
    pub references_itself: bool,
}

/// What a column is to whoever writes into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetColumn {
    /// The column's type as a cast names it, without a length or a precision; empty where nothing is cast.
    pub type_name: String,
    /// The database computes it: it cannot be written.
    pub is_generated: bool,
    /// The database numbers rows with it and takes no value from others unless told to.
    pub is_identity_always: bool,
    /// A row may leave it out: it may be NULL, has a default, or is numbered by the database.
    pub may_be_left_out: bool,
}

// === impl TargetTable ===

impl TargetTable {
    /// Name in full.
    pub fn name(&self) -> &TableName {
        &self.schema.name
    }

    /// Whether no two rows have the same values in these columns, in whatever order: they are a key.
    pub fn is_unique(&self, columns: &[usize]) -> bool {
        let wanted: BTreeSet<&usize> = columns.iter().collect();
        let mut keys = self.unique_keys.iter().chain([&self.schema.key]);
        !wanted.is_empty() && keys.any(|key| key.iter().collect::<BTreeSet<_>>() == wanted)
    }
}
