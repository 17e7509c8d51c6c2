//! How events are written into tables, as it is configured.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::batch::Operation;
use tailrace_core::{Error, Result};

/// What is done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// The table has what the stream says last of each key.
    #[default]
    Upsert,
    /// Rows are added; one whose key is there already is an error of that event.
    Insert,
    /// Rows that are there are changed; events of others change nothing.
    Update,
    /// Every event is a row of its own, deletes too: the table is the history. Beside the event's columns it has `tailrace_op`,
    /// `tailrace_updated_at`, `tailrace_position`, `tailrace_topic`, `tailrace_partition` and `tailrace_offset`; the last three
    /// are its key.
    Append,
}

/// What a delete does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeleteMode {
    /// The row is deleted.
    #[default]
    Hard,
    /// The row stays, and `soft_delete_column` says since when it is deleted.
    Soft,
    /// Nothing.
    Ignore,
}

/// What a truncate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TruncateMode {
    /// Every row of the table is deleted; softly where deletes are, and not where `deletes` says to ignore them.
    #[default]
    Apply,
    /// Nothing.
    Ignore,
    /// The connector halts.
    Halt,
}

/// What may be changed of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evolve {
    /// Nothing: the connector halts and says which statement is to be run.
    #[default]
    None,
    /// Tables that are missing are created, and columns that are missing are added.
    Add,
    /// Also, columns get wider types.
    Widen,
}

/// Whether the database checks foreign keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeys {
    /// It does. Tables of one batch are written in the order of their keys, and constraints that may be deferred are.
    #[default]
    Check,
    /// It does not: the source has checked them. On PostgreSQL triggers do not run either; that takes a role that may set
    /// `session_replication_role`.
    Ignore,
}

/// How events are written.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteConfig {
    /// What is done with a row. Default: `upsert`.
    #[serde(default)]
    pub mode: WriteMode,
    /// The table of a topic; `{topic}`, `{database}`, `{schema}` and `{table}` are replaced. The last three are what a Debezium event
    /// says of its source, else the last parts of the topic's name. Default: `{table}`.
    #[serde(default)]
    pub table: Option<String>,
    /// Tables of single topics, by the topic's name.
    #[serde(default)]
    pub tables: BTreeMap<String, String>,
    /// Columns that tell a row from others, by their names in the table. Default: the columns of the record's key, else those that the contract
    /// names.
    #[serde(default)]
    pub key: Option<Vec<String>>,
    /// What a delete does. Default: `hard`.
    #[serde(default)]
    pub deletes: DeleteMode,
    /// The column that says since when a row is deleted, a timestamp; NULL in rows that are not.
    #[serde(default)]
    pub soft_delete_column: Option<String>,
    /// What a truncate does. Default: `apply`.
    #[serde(default)]
    pub truncates: TruncateMode,
    /// What may be changed of the tables. Default: `none`.
    #[serde(default)]
    pub evolve: Evolve,
    /// A column that grows with each version of a row: an event whose value is lower than the row's changes nothing. `position`
    /// stands for the place in the source's log, and is kept in a column `tailrace_position`. Default: none, because offsets are kept
    /// with the rows.
    #[serde(default)]
    pub version_guard: Option<String>,
    /// Whether the database checks foreign keys. Default: `check`.
    #[serde(default)]
    pub foreign_keys: ForeignKeys,
    /// The table in which offsets are kept, beside the rows. Default: `tailrace_offsets`. Without a schema it is in `public` on
    /// PostgreSQL, and in the database of `url` on MySQL and MariaDB.
    #[serde(default)]
    pub offsets_table: Option<String>,
}

/// What the table of offsets is called where the configuration does not say.
pub const OFFSETS: &str = "tailrace_offsets";

// === impl WriteConfig ===

impl WriteConfig {
    /// What the table of offsets is called, as it was written.
    pub fn offsets_name(&self) -> &str {
        self.offsets_table.as_deref().unwrap_or(OFFSETS)
    }

    /// Rights on a table that writing it takes: all modes read rows back, for `verify` and where a key is met.
    pub fn privileges(&self) -> Vec<&'static str> {
        let mut needed = vec!["SELECT"];
        if self.mode != WriteMode::Update {
            needed.push("INSERT");
        }
        if matches!(self.mode, WriteMode::Upsert | WriteMode::Update) || self.deletes == DeleteMode::Soft {
            needed.push("UPDATE");
        }
        // A truncate deletes rows as a delete does.
        if self.mode != WriteMode::Append && self.deletes == DeleteMode::Hard {
            needed.push("DELETE");
        }
        needed
    }

    /// Whether events of this kind change nothing.
    pub(super) fn ignores(&self, operation: Operation) -> bool {
        let keeps_deleted = self.deletes == DeleteMode::Ignore;
        match operation {
            _ if self.mode == WriteMode::Append => false,
            Operation::Delete => keeps_deleted,
            Operation::Truncate => {
                self.truncates == TruncateMode::Ignore || (self.truncates == TruncateMode::Apply && keeps_deleted)
            }
            Operation::Message | Operation::Read | Operation::Create | Operation::Update => false,
        }
    }

    /// The names of all settings: the rest of a sink's configuration is about its connection.
    pub const KEYS: [&'static str; 11] = [
        "mode",
        "table",
        "tables",
        "key",
        "deletes",
        "soft_delete_column",
        "truncates",
        "evolve",
        "version_guard",
        "foreign_keys",
        "offsets_table",
    ];

    /// Whether the settings go together.
    ///
    /// # Errors
    /// Definite `config`.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |sentence: &str| Err(Error::definite("config", sentence));
        match (self.deletes, &self.soft_delete_column) {
            (DeleteMode::Soft, None) => {
                return refuse("`deletes: soft` marks rows in a column; name it with `soft_delete_column`");
            }
            (DeleteMode::Hard | DeleteMode::Ignore, Some(_)) => {
                return refuse("`soft_delete_column` is only written with `deletes: soft`; set that, or take it away");
            }
            (DeleteMode::Soft, Some(_)) | (DeleteMode::Hard | DeleteMode::Ignore, None) => {}
        }
        if self.key.as_ref().is_some_and(Vec::is_empty) {
            return refuse("`key` names no column; name some, or leave it out for the key of the records");
        }
        if self.mode == WriteMode::Append {
            if self.key.is_some() {
                return refuse("the rows of a history are told apart by topic, partition and offset; take `key` away");
            }
            if self.deletes != DeleteMode::Hard || self.version_guard.is_some() {
                return refuse("a history keeps every event as it is; take `deletes` and `version_guard` away");
            }
            if self.truncates == TruncateMode::Halt {
                return refuse("a history keeps every event as it is, a truncate too; take `truncates` away");
            }
        }
        if self.mode == WriteMode::Insert && self.version_guard.is_some() {
            return refuse(
                "`version_guard` is for rows that are there already, which `mode: insert` never changes; take it away",
            );
        }
        Ok(())
    }
}
