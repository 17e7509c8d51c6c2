//! What a database must be able to do so that events can be written into it.

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::ports::sink::Taken;
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::{Column, TableName};

use super::target::TargetTable;
use super::work::{Offset, Work};
use crate::dialect::Syntax;

/// A partition that was taken, and the epoch that it was taken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenPartition {
    /// Where the target says it is.
    pub taken: Taken,
    /// What [`super::work::Offset::epoch`] must be from now on.
    pub epoch: i64,
}

// === impl Offset ===

impl From<TakenPartition> for Offset {
    fn from(partition: TakenPartition) -> Self {
        Self {
            partition: partition.taken.partition,
            next_offset: partition.taken.next_offset,
            last_record: partition.taken.last_record,
            epoch: partition.epoch,
        }
    }
}

/// How a database's tables are defined.
pub trait Definitions: Syntax {
    /// The type that a column of a new table gets for values of an event's column; `None` where this database has no place for them.
    /// `is_key`: the column is part of the primary key, for which some databases take no type without a length.
    fn column_type(&self, column: &Column, is_key: bool) -> Option<String>;

    /// The type that a column must have so that it holds its own values and those of an event's column as well; `None` where it holds
    /// them already. An error where there is no such type, or where it is not wider than the present one.
    fn wider_type(&self, present: &Column, event: &Column) -> Result<Option<String>>;

    /// The statement that makes the schema of a table where it may be missing; `None` where a table needs none.
    fn create_schema(&self, _table: &TableName) -> Option<String> {
        None
    }

    /// The statement that makes a key of columns, by which rows are found.
    fn unique_key(&self, table: &TableName, columns: &[&str]) -> String {
        let columns: Vec<String> = columns.iter().map(|column| self.identifier(column)).collect();
        format!("ALTER TABLE {} ADD UNIQUE ({})", self.table(table), columns.join(", "))
    }

    /// The statement that gives a column another type.
    fn retype(&self, table: &TableName, column: &str, column_type: &str, nullable: bool) -> String;

    /// The table that a name of the configuration means: `orders`, `sales.orders`. Parts that the database has and that are left out
    /// stay empty: the session's own are meant.
    fn table_name(&self, written: &str) -> TableName;
}

/// A database that is written to. One connection, one caller, one call at a time; whoever calls holds a call's future until it is
/// done, so that none of them need be cancel-safe. The session is in UTC, and nothing is truncated or rounded without an error.
#[async_trait]
pub trait Session: Send + 'static {
    /// How statements and tables are written.
    fn definitions(&self) -> &'static dyn Definitions;

    /// The table, as it is now; `None` where it is not there.
    async fn describe(&mut self, table: &TableName) -> Result<Option<TargetTable>>;

    /// Runs a statement that defines something, in a transaction of its own. One that was run before by somebody else (the table is
    /// there, the column is there) is not an error.
    async fn define(&mut self, statement: &str) -> Result<()>;

    /// Takes partitions over: counts up the epoch of each one's row in the table of offsets, which is created where it is missing and
    /// may be, in one transaction. Ends sessions of ours that still have one of them in a transaction.
    async fn take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TakenPartition>>;

    /// How far each partition is that the connector has ever taken, with its present epoch; none where there is no table of offsets.
    /// Creates nothing.
    async fn offsets(&mut self) -> Result<Vec<TakenPartition>>;

    /// Does all of the work in one transaction, or nothing of it.
    ///
    /// # Errors
    /// `Fenced` (`partition_taken`) where a row of offsets has another epoch, or is further than what is written. `Poison` where it is a row's
    /// fault: a constraint, a value that does not fit, `row_missing`. `Transient` for deadlocks, failed serializations, lock timeouts, a full
    /// disk, a server that is read-only, lost connections, and a commit whose answer was lost. `Definite` for what a person must do: rights, a
    /// missing table or column.
    async fn write(&mut self, work: &Work<'_>) -> Result<()>;
}
