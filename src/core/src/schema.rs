//! What a row looks like: a table's columns and key at one moment of its history.

use std::hash::Hasher;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::value::{Datum, LogicalType, TextKind};

/// A table's name in full. `database` is empty where the database has none (SQLite).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// Database (catalog).
    pub database: String,
    /// Schema (namespace); empty where the database has none.
    pub schema: String,
    /// Table.
    pub table: String,
}

/// What the rows of a [`TableSchema`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// Rows of a table.
    Table,
    /// Logical messages of the log: columns `prefix` and `content`.
    Message,
}

/// One version of a table: compiled plans, contracts and schema history hang on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Name in full.
    pub name: TableName,
    /// Rows of a table, or logical messages.
    pub kind: TableKind,
    /// Columns in the table's order.
    pub columns: Vec<Column>,
    /// Indexes of the key columns, in the key's order; empty where there is no key.
    pub key: Vec<usize>,
    /// The table's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

/// One column of one version of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Name as the database has it.
    pub name: String,
    /// Meaning.
    pub logical_type: LogicalType,
    /// May hold NULL.
    pub nullable: bool,
    /// The database's own name for the type, as it prints it: `numeric(10,2)`.
    pub source_type: String,
    /// Declared default, where it is a constant or has a documented stand-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Datum>,
    /// The default is an expression that the server computes for each row, and `default` is only what stands for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default_is_computed: bool,
    /// The column's comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

/// The `source_type` of a column of which nobody says what its values are: only they tell.
pub const UNDECLARED: &str = "undeclared";

/// Same fingerprint, same schema: what the schema history and compiled plans are keyed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

/// A schema and its fingerprint, shared by every batch that uses it.
pub type SharedSchema = Arc<TableSchema>;

// === impl TableName ===

impl TableName {
    /// `schema.table`, or `table` where there is no schema.
    pub fn qualified(&self) -> String {
        if self.schema.is_empty() {
            self.table.clone()
        } else {
            format!("{}.{}", self.schema, self.table)
        }
    }
}

// === impl TableSchema ===

impl TableSchema {
    /// Index of a column by name.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The key columns, in the key's order.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|index| self.columns.get(*index))
    }

    /// A number that is the same for the same schema on every machine and in every release: FNV-1a over its JSON.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        hasher.write(&serde_json::to_vec(self).unwrap_or_default());
        Fingerprint(hasher.finish())
    }
}

/// What is false is left out, so that a schema without it has the fingerprint that it always had.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

// === impl Column ===

impl Column {
    /// A column that takes NULL, and of which nothing else is said.
    pub fn new(name: impl Into<String>, logical_type: LogicalType) -> Self {
        Self {
            name: name.into(),
            logical_type,
            nullable: true,
            source_type: String::new(),
            default: None,
            default_is_computed: false,
            documentation: None,
        }
    }

    /// Something else stands in place of its values.
    pub fn is_masked(&self) -> bool {
        self.logical_type == LogicalType::Text(TextKind::Masked)
    }
}

/// FNV-1a, because the standard hasher is not promised to stay the same between releases.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// The index of a column: the one of this very name, else the only one that differs in nothing but case, which databases that fold names
/// may have made of it.
pub fn column_named(columns: &[Column], name: &str) -> Option<usize> {
    if let Some(same) = columns.iter().position(|column| column.name == name) {
        return Some(same);
    }
    let folded = name.to_lowercase();
    let mut alike = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.name.to_lowercase() == folded);
    match (alike.next(), alike.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}
