//! One connection to the file that is written to.

use std::path::PathBuf;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use tailrace_core::ports::sink::{SinkContext, Taken};
use tailrace_core::record_batch::{RecordMark, TopicPartition};
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result, failpoint};
use tailrace_sql::sink::config::{ForeignKeys, OFFSETS, WriteConfig};
use tailrace_sql::sink::error::of_target;
use tailrace_sql::sink::session::{Definitions, Session, TakenPartition};
use tailrace_sql::sink::target::TargetTable;
use tailrace_sql::sink::work::{Offset, Work};

use super::config::SqliteSinkConfig;
use super::definitions::SqliteDefinitions;
use super::error::{is_table_missing, is_there_already, target_error};
use crate::connect::{absolute, connect, options};
use crate::discover::quote;

/// The statement that makes the table of offsets, as it is checked in.
const MIGRATION: &str = include_str!("migrations/0001_offsets.sql");
/// The time, as SQLite's functions and our source read it.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

/// Topic, partition, next offset, mark of the last record, epoch.
type OffsetRow = (String, i32, Option<i64>, Option<i64>, i64);

/// A session.
pub(super) struct SqliteSession {
    pub(super) connection: SqliteConnection,
    /// The file, for sentences.
    pub(super) path: PathBuf,
    /// The table of offsets, quoted.
    offsets: String,
    connector: String,
    /// Who has a partition, for people who look.
    owner: String,
}

/// Opens the file for writing. Its journal mode is left as it is.
pub(super) async fn open(config: &SqliteSinkConfig, foreign_keys: ForeignKeys) -> Result<(SqliteConnection, PathBuf)> {
    let path = absolute(&config.path).map_err(of_target)?;
    let options = options(&path, config.busy_timeout_ms).foreign_keys(foreign_keys == ForeignKeys::Check);
    let connection = connect(&path, options).await.map_err(of_target)?;
    Ok((connection, path))
}

/// The statement that makes the table of offsets under a name.
pub(super) fn create_statement(name: &str) -> String {
    MIGRATION.replace(&quote(OFFSETS), &quote(name))
}

// === impl SqliteSession ===

impl SqliteSession {
    /// Opens the file.
    pub(super) async fn open(config: &SqliteSinkConfig, write: &WriteConfig, context: &SinkContext) -> Result<Self> {
        let (connection, path) = open(config, write.foreign_keys).await?;
        Ok(Self {
            connection,
            path,
            offsets: write.offsets_name().to_owned(),
            connector: context.connector.clone(),
            owner: format!("process {}, writer {}", std::process::id(), context.writer),
        })
    }

    /// Runs a statement without values.
    pub(super) async fn run(&mut self, statement: &str) -> sqlx::Result<u64> {
        let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
            .persistent(false)
            .execute(&mut self.connection)
            .await?;
        Ok(done.rows_affected())
    }

    pub(super) fn error(&self, error: sqlx::Error, doing: &str) -> Error {
        target_error(error, &self.path, doing)
    }

    async fn roll_back(&mut self) {
        if let Err(error) = self.run("ROLLBACK").await {
            tracing::debug!(%error, "the transaction was not rolled back by us");
        }
    }

    async fn try_to_take(&mut self, partitions: &[TopicPartition]) -> sqlx::Result<Vec<TakenPartition>> {
        let table = quote(&self.offsets);
        self.run("BEGIN IMMEDIATE").await?;
        let mut taken = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let statement = format!(
                "INSERT INTO {table} (connector, topic, topic_partition, epoch, owner, updated_at) VALUES (?, ?, ?, 1, ?, {NOW}) \
                 ON CONFLICT (connector, topic, topic_partition) DO UPDATE SET epoch = epoch + 1, owner = excluded.owner, \
                 updated_at = excluded.updated_at RETURNING next_offset, last_record, epoch"
            );
            let row: (Option<i64>, Option<i64>, i64) = sqlx::query_as(AssertSqlSafe(statement))
                .bind(self.connector.as_str())
                .bind(&*partition.topic)
                .bind(partition.partition)
                .bind(self.owner.as_str())
                .fetch_one(&mut self.connection)
                .await?;
            taken.push(TakenPartition {
                taken: Taken {
                    partition: partition.clone(),
                    next_offset: row.0,
                    last_record: row.1.map(|mark| RecordMark(mark.cast_unsigned())),
                },
                epoch: row.2,
            });
        }
        self.run("COMMIT").await?;
        Ok(taken)
    }

    async fn written(&mut self) -> sqlx::Result<Vec<TakenPartition>> {
        let statement = format!(
            "SELECT topic, topic_partition, next_offset, last_record, epoch FROM {} WHERE connector = ?",
            quote(&self.offsets)
        );
        let rows: Vec<OffsetRow> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(self.connector.as_str())
            .fetch_all(&mut self.connection)
            .await?;
        let partitions = rows
            .into_iter()
            .map(|(topic, partition, next_offset, mark, epoch)| TakenPartition {
                taken: Taken {
                    partition: TopicPartition::new(topic, partition),
                    next_offset,
                    last_record: mark.map(|mark| RecordMark(mark.cast_unsigned())),
                },
                epoch,
            });
        Ok(partitions.collect())
    }

    async fn advance(&mut self, offset: &Offset, can_go_back: bool) -> Result<()> {
        let statement = format!(
            "UPDATE {} SET next_offset = ?, last_record = ?, updated_at = {NOW} \
             WHERE connector = ? AND topic = ? AND topic_partition = ? AND epoch = ? \
             AND (? OR next_offset IS NULL OR next_offset <= ?)",
            quote(&self.offsets)
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(offset.next_offset)
            .bind(offset.last_record.map(|mark| mark.0.cast_signed()))
            .bind(self.connector.as_str())
            .bind(&*offset.partition.topic)
            .bind(offset.partition.partition)
            .bind(offset.epoch)
            .bind(can_go_back)
            .bind(offset.next_offset)
            .execute(&mut self.connection)
            .await;
        match done {
            Ok(done) if done.rows_affected() == 1 => Ok(()),
            Ok(_) => {
                let message = format!(
                    "another session has taken {} in {}; this one stops writing it",
                    offset.partition, self.offsets
                );
                Err(Error::fenced("partition_taken", message))
            }
            Err(error) => Err(self.error(error, "advance the offsets")),
        }
    }

    async fn transaction(&mut self, work: &Work<'_>) -> Result<()> {
        // A row that refers to a later one of the batch is right when the transaction ends.
        for statement in ["BEGIN IMMEDIATE", "PRAGMA defer_foreign_keys = ON"] {
            let begun = self.run(statement).await;
            begun.map_err(|error| self.error(error, "begin a transaction"))?;
        }
        for offset in work.offsets {
            self.advance(offset, work.can_go_back).await?;
        }
        failpoint!(try InSinkTransaction);
        for step in &work.steps {
            self.write_step(step).await?;
        }
        failpoint!(try BeforeSinkCommit);
        let committed = self.run("COMMIT").await;
        committed.map_err(|error| self.error(error, "commit"))?;
        failpoint!(try AfterSinkCommit);
        Ok(())
    }
}

#[async_trait]
impl Session for SqliteSession {
    fn definitions(&self) -> &'static dyn Definitions {
        &SqliteDefinitions
    }

    async fn describe(&mut self, table: &TableName) -> Result<Option<TargetTable>> {
        super::describe::describe(&mut self.connection, &self.path, &table.table).await
    }

    async fn define(&mut self, statement: &str) -> Result<()> {
        match self.run(statement).await {
            Ok(_) => Ok(()),
            Err(error) if is_there_already(&error, statement) => Ok(()),
            Err(error) => Err(self.error(error, &format!("run `{statement}`"))),
        }
    }

    /// Nobody can hold the file's lock but processes of this machine, and whoever hangs with it is waited for.
    async fn take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TakenPartition>> {
        const DOING: &str = "take partitions over";
        let mut taken = self.try_to_take(partitions).await;
        if taken.as_ref().is_err_and(is_table_missing) {
            self.roll_back().await;
            let statement = create_statement(&self.offsets);
            let created = self.run(&statement).await;
            created.map_err(|error| self.error(error, "make the table of offsets"))?;
            taken = self.try_to_take(partitions).await;
        }
        match taken {
            Ok(taken) => Ok(taken),
            Err(error) => {
                self.roll_back().await;
                Err(self.error(error, DOING))
            }
        }
    }

    async fn offsets(&mut self) -> Result<Vec<TakenPartition>> {
        match self.written().await {
            Ok(written) => Ok(written),
            Err(error) if is_table_missing(&error) => Ok(Vec::new()),
            Err(error) => Err(self.error(error, "read the offsets")),
        }
    }

    async fn write(&mut self, work: &Work<'_>) -> Result<()> {
        let written = self.transaction(work).await;
        if written.is_err() {
            self.roll_back().await;
        }
        written
    }
}
