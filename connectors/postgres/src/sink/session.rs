//! One session that writes: each batch is one transaction, which begins with its offsets.

use std::collections::HashMap;

use async_trait::async_trait;
use tailrace_core::ports::sink::{ROW_MISSING, SinkContext};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result, failpoint};
use tailrace_sql::sink::alters_table;
use tailrace_sql::sink::config::{ForeignKeys, WriteConfig};
use tailrace_sql::sink::error::of_target;
use tailrace_sql::sink::session::{Definitions, Session as SinkSession, TakenPartition};
use tailrace_sql::sink::target::TargetTable;
use tailrace_sql::sink::work::{Action, Offset, Step, Work};
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::array::{Array, arrays};
use super::config::PostgresSinkConfig;
use super::definitions::{CREATE_SCHEMA, PostgresDefinitions};
use super::describe::describe;
use super::error::write_error;
use super::offsets::OffsetStatements;
use super::statement::{matching, statement};
use super::value::ColumnWriter;
use crate::connect::{self, Purpose};
use crate::quote::{literal, qualified};

/// READ COMMITTED: a batch's transaction reads nothing that it does not write, and nothing to serialize means nothing to retry.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL DEFERRED";
/// Statements are few: a table has one per set of columns.
const STATEMENTS_KEPT: usize = 512;
/// Between the numbers of origins that one writer may have: more than a connector has writers.
const ORIGINS_APART: usize = 100;
/// So many processes may share a connector's partitions.
const ORIGINS_TRIED: usize = 16;
/// Errors of somebody who was faster: a table, or the type of a table's rows is there already.
const TABLE_THERE: [&str; 3] = ["42P07", "42710", "23505"];
/// The same of a column that is added; a new table that has it twice is another matter.
const COLUMN_THERE: &str = "42701";

/// A session.
pub(super) struct PostgresSession {
    session: connect::Session,
    connector: String,
    offsets: OffsetStatements,
    advance: Option<Statement>,
    statements: HashMap<String, Statement>,
}

// === impl PostgresSession ===

impl PostgresSession {
    /// Connects.
    pub(super) async fn open(config: &PostgresSinkConfig, write: &WriteConfig, context: &SinkContext) -> Result<Self> {
        let session = connect::connect_sink(&config.access(), &context.connector, Purpose::Sink).await;
        let session = session.map_err(of_target)?;
        if write.foreign_keys == ForeignKeys::Ignore {
            run(
                &session,
                "SET session_replication_role = replica",
                "have foreign keys ignored",
            )
            .await?;
        }
        if config.mark_origin {
            mark_origin(&session, context).await?;
        }
        Ok(Self {
            session,
            connector: context.connector.clone(),
            offsets: OffsetStatements::new(&offsets_table(write)),
            advance: None,
            statements: HashMap::new(),
        })
    }

    async fn transaction(&mut self, work: &Work<'_>) -> Result<()> {
        run(&self.session, BEGIN, "begin a transaction").await?;
        self.advance(work.offsets, work.can_go_back).await?;
        failpoint!(try InSinkTransaction);
        for step in &work.steps {
            self.step(step).await?;
        }
        failpoint!(try BeforeSinkCommit);
        if let Err(error) = self.session.batch_execute("COMMIT").await {
            return Err(commit_error(&error));
        }
        failpoint!(try AfterSinkCommit);
        Ok(())
    }

    /// Moves the offsets, all or none: first, because that locks them, and because there is no use in the rest for one who lost them.
    async fn advance(&mut self, offsets: &[Offset], can_go_back: bool) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let wrap = |error| write_error(&error, "write the offsets");
        let statement = match &self.advance {
            // Asked for once in the life of a session.
            _ if can_go_back => self.session.prepare(&self.offsets.put).await.map_err(wrap)?,
            Some(statement) => statement.clone(),
            None => {
                let prepared = self.session.prepare(&self.offsets.advance).await.map_err(wrap)?;
                self.advance.insert(prepared).clone()
            }
        };
        let topics: Vec<&str> = offsets.iter().map(|offset| &*offset.partition.topic).collect();
        let partitions: Vec<i32> = offsets.iter().map(|offset| offset.partition.partition).collect();
        let next: Vec<Option<i64>> = offsets.iter().map(|offset| offset.next_offset).collect();
        let marks: Vec<Option<i64>> = offsets
            .iter()
            .map(|offset| offset.last_record.map(|mark| mark.0.cast_signed()))
            .collect();
        let epochs: Vec<i64> = offsets.iter().map(|offset| offset.epoch).collect();
        let parameters: [&(dyn ToSql + Sync); 6] = [&topics, &partitions, &next, &marks, &epochs, &self.connector];
        let moved = self.session.execute(&statement, &parameters).await.map_err(wrap)?;
        if usize::try_from(moved) == Ok(offsets.len()) {
            return Ok(());
        }
        let partitions: Vec<String> = offsets.iter().map(|offset| offset.partition.to_string()).collect();
        let message = format!(
            "another writer of connector {} has taken one of the partitions {} since this one did; nothing was written",
            self.connector,
            partitions.join(", ")
        );
        Err(Error::fenced("partition_taken", message))
    }

    async fn step(&mut self, step: &Step<'_>) -> Result<()> {
        let writers = writers(step)?;
        let text = statement(step, &writers);
        // What has no rows is a truncate, which sets its column to the server's own time.
        let takes_rows = step.action != Action::Truncate;
        let arrays = if takes_rows {
            arrays(step, &writers)?
        } else {
            Vec::new()
        };
        let wrap = |error| write_error(&error, &format!("write table {}", step.table.name().qualified()));
        // Where all that is known of a row is its key, there is nothing to be changed.
        let is_key_alone = matches!(step.action, Action::Update { .. }) && step.columns.len() == step.key.len();
        let written = match is_key_alone {
            true => 0,
            false => self.execute(&text, &arrays).await.map_err(wrap)?,
        };
        let must_exist = step.action == Action::Update { must_exist: true };
        if !must_exist || usize::try_from(written) == Ok(step.rows.len()) {
            return Ok(());
        }
        if is_key_alone || step.guard.is_some() {
            let there = self.count(&matching(step, &writers), &arrays).await.map_err(wrap)?;
            if usize::try_from(there) == Ok(step.rows.len()) {
                return Ok(());
            }
        }
        let message = format!(
            "table {} does not have the row that the event changes, and the event does not have all of it (a large value that did not \
             change is not in the log); take a new snapshot of the source's table, or set REPLICA IDENTITY FULL there",
            step.table.name().qualified()
        );
        Err(Error::poison(ROW_MISSING, message))
    }

    async fn execute(&mut self, text: &str, arrays: &[Array]) -> Result<u64, tokio_postgres::Error> {
        let statement = self.prepared(text).await?;
        self.session.execute(&statement, &parameters(arrays)).await
    }

    async fn count(&mut self, text: &str, arrays: &[Array]) -> Result<i64, tokio_postgres::Error> {
        let statement = self.prepared(text).await?;
        self.session
            .query_one(&statement, &parameters(arrays))
            .await?
            .try_get(0)
    }

    async fn prepared(&mut self, text: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.session.prepare(text).await?;
        if self.statements.len() >= STATEMENTS_KEPT {
            self.statements.clear();
        }
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

#[async_trait]
impl SinkSession for PostgresSession {
    fn definitions(&self) -> &'static dyn Definitions {
        &PostgresDefinitions
    }

    async fn describe(&mut self, table: &TableName) -> Result<Option<TargetTable>> {
        describe(&self.session, table).await
    }

    async fn define(&mut self, statement: &str) -> Result<()> {
        match self.session.batch_execute(statement).await {
            Err(error) if error.code().is_some_and(|code| is_there_already(code, statement)) => Ok(()),
            // Without the right to make schemas that is refused also where it is there; else the table's statement will tell.
            Err(error)
                if statement.starts_with(CREATE_SCHEMA) && error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
            {
                Ok(())
            }
            defined => defined.map_err(|error| write_error(&error, "change the target's tables")),
        }
    }

    async fn take(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TakenPartition>> {
        if !self.offsets.exist(&self.session).await? {
            let create = self.offsets.create.clone();
            self.define(&create).await?;
        }
        self.offsets.take(&self.session, &self.connector, partitions).await
    }

    async fn offsets(&mut self) -> Result<Vec<TakenPartition>> {
        match self.offsets.exist(&self.session).await? {
            true => self.offsets.written(&self.session, &self.connector).await,
            false => Ok(Vec::new()),
        }
    }

    async fn write(&mut self, work: &Work<'_>) -> Result<()> {
        let written = self.transaction(work).await;
        if written.is_err() {
            // Where the connection is gone the server has rolled back already, and the session is thrown away.
            drop(self.session.batch_execute("ROLLBACK").await);
        }
        written
    }
}

/// Marks what the session writes with a replication origin. One session at a time has an origin, and another process may have ours: one that
/// shares the partitions with us, or one that is frozen. Then the next number is taken.
async fn mark_origin(session: &connect::Session, context: &SinkContext) -> Result<()> {
    let doing = "mark what is written with a replication origin";
    let mut tried = 0;
    loop {
        let number = context.writer + tried * ORIGINS_APART;
        let origin = literal(&format!("tailrace_{}_{number}", context.connector));
        let setup = format!(
            "SELECT pg_catalog.pg_replication_origin_create({origin})
             WHERE pg_catalog.pg_replication_origin_oid({origin}) IS NULL;
             SELECT pg_catalog.pg_replication_origin_session_setup({origin})"
        );
        tried += 1;
        match session.batch_execute(&setup).await {
            Err(error) if error.code().is_some_and(is_taken) && tried < ORIGINS_TRIED => {}
            done => return done.map_err(|error| write_error(&error, doing)),
        }
    }
}

/// Another session has the origin, or has made it this moment.
fn is_taken(state: &SqlState) -> bool {
    [
        &SqlState::OBJECT_IN_USE,
        &SqlState::DUPLICATE_OBJECT,
        &SqlState::UNIQUE_VIOLATION,
    ]
    .contains(&state)
}

fn is_there_already(code: &SqlState, statement: &str) -> bool {
    let is_column = code.code() == COLUMN_THERE && alters_table(statement);
    is_column || TABLE_THERE.contains(&code.code())
}

/// The table of offsets, quoted.
pub(super) fn offsets_table(write: &WriteConfig) -> String {
    let name = PostgresDefinitions.table_name(write.offsets_name());
    qualified(&name.schema, &name.table)
}

async fn run(session: &connect::Session, statement: &str, doing: &str) -> Result<()> {
    session
        .batch_execute(statement)
        .await
        .map_err(|error| write_error(&error, doing))
}

/// Where the answer was lost, nobody knows; the offsets will tell.
fn commit_error(error: &tokio_postgres::Error) -> Error {
    if error.as_db_error().is_some() {
        return write_error(error, "commit");
    }
    let message =
        "the connection to the target was lost while it committed; the offsets there will tell whether it did";
    Error::transient("commit_unknown", message)
}

fn writers<'a>(step: &'a Step<'_>) -> Result<Vec<ColumnWriter<'a>>> {
    let writer = |column: &'a tailrace_sql::sink::work::StepColumn<'_>| {
        let target = step.table.schema.columns.get(column.target);
        target.map(|target| ColumnWriter::new(column.source, target))
    };
    let writers: Option<Vec<_>> = step.columns.iter().map(writer).collect();
    writers.ok_or_else(|| {
        Error::definite(
            "batch_malformed",
            "a step names a column that its table does not have, which is a defect in Tailrace",
        )
    })
}

fn parameters(arrays: &[Array]) -> Vec<&(dyn ToSql + Sync)> {
    arrays.iter().map(|array| array as &(dyn ToSql + Sync)).collect()
}
