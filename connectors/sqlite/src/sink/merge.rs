//! Carrying out a step.
//!
//! `INSERT … ON CONFLICT (key) DO UPDATE` changes a row that has the key and no other; a value of another unique index that another row has
//! is an error. Such an error may be one of the order: of two rows that swap their values, none can be first. Rows that were refused are tried
//! again when all others of the step are written; where that does not help, their unique values are set to NULL first, if they may be.

use sqlx::AssertSqlSafe;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};
use tailrace_core::ports::sink::ROW_MISSING;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::work::{Action, Step, StepRow};

use super::error::{is_collision, is_duplicate};
use super::session::SqliteSession;
use super::value::{ColumnWriter, Stored};
use crate::discover::quote;

/// A statement has at most so many values (`SQLITE_MAX_VARIABLE_NUMBER` of 3.32 and later is 32 766).
const VALUES_MAXIMUM: usize = 32_000;
/// So many rows are written by one statement: more make it no quicker, because SQLite runs within our process.
const STATEMENT_ROWS: usize = 100;

/// The statements of a step.
struct StepStatements<'a> {
    table: String,
    /// For sentences.
    table_name: String,
    names: Vec<String>,
    writers: Vec<ColumnWriter<'a>>,
    key: Vec<usize>,
    values: Vec<usize>,
    guard: Option<usize>,
    /// Columns of other unique indexes that may be NULL for a moment.
    parked: Vec<usize>,
}

/// A row that another row was in the way of.
struct Refused {
    write: (String, Vec<Stored>),
    /// Takes its values out of the way of others.
    park: Option<(String, Vec<Stored>)>,
}

// === impl StepStatements ===

impl<'a> StepStatements<'a> {
    fn new(step: &'a Step<'_>) -> Result<Self> {
        let target = step.table;
        let (mut names, mut writers) = (Vec::new(), Vec::new());
        for column in &step.columns {
            let of_target = target.schema.columns.get(column.target).ok_or_else(|| {
                let message = format!(
                    "{} has other columns than it had; resume the connector",
                    target.name().table
                );
                Error::transient("table_changed", message)
            })?;
            names.push(quote(&of_target.name));
            writers.push(ColumnWriter::new(of_target, &column.source.logical_type));
        }
        let values: Vec<usize> = (0..names.len()).filter(|index| !step.key.contains(index)).collect();
        let may_park = |index: &usize| {
            let column = step.columns.get(*index).map(|column| column.target);
            let of_target = column.and_then(|column| target.schema.columns.get(column));
            of_target.is_some_and(|column| column.nullable)
                && target
                    .unique_keys
                    .iter()
                    .any(|unique| unique.iter().any(|of| Some(*of) == column))
        };
        Ok(Self {
            table: quote(&target.name().table),
            table_name: target.name().table.clone(),
            names,
            writers,
            key: step.key.clone(),
            parked: values.iter().copied().filter(may_park).collect(),
            values,
            guard: step.guard,
        })
    }

    /// The values of rows.
    fn rows(&self, step: &Step<'_>, rows: &[StepRow]) -> Result<Vec<Vec<Stored>>> {
        rows.iter().map(|row| self.row(step, row)).collect()
    }

    /// The values of a row.
    fn row(&self, step: &Step<'_>, row: &StepRow) -> Result<Vec<Stored>> {
        let values = step.values(row);
        let columns = step.columns.iter().zip(&self.writers);
        columns
            .map(|(column, writer)| writer.store(values.get(column.place)))
            .collect()
    }

    fn insert(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.names.len()].join(","));
        format!(
            // What a constraint of the table would do instead (`ON CONFLICT IGNORE`) leaves rows out without a word.
            "INSERT OR ABORT INTO {} ({}) VALUES {}",
            self.table,
            self.names.join(","),
            vec![row.as_str(); rows].join(",")
        )
    }

    fn upsert(&self, rows: usize) -> String {
        let key: Vec<&str> = self.key.iter().map(|index| self.name(*index)).collect();
        let mut assignments: Vec<String> = self.equal_keys().collect();
        assignments.extend(
            self.values
                .iter()
                .map(|index| format!("{0} = excluded.{0}", self.name(*index))),
        );
        let mut statement = format!("{} ON CONFLICT ({}) DO ", self.insert(rows), key.join(","));
        if assignments.is_empty() {
            statement.push_str("NOTHING");
            return statement;
        }
        statement.push_str(&format!("UPDATE SET {}", assignments.join(",")));
        if let Some(guard) = self.guard {
            let name = self.name(guard);
            statement.push_str(&format!(
                " WHERE {0}.{name} IS NULL OR excluded.{name} >= {0}.{name}",
                self.table
            ));
        }
        statement
    }

    /// Texts of a key that differ may be equal to the index (`COLLATE NOCASE`): such a row would take another one's place. The largest negative
    /// number has no magnitude, which makes the statement fail.
    fn equal_keys(&self) -> impl Iterator<Item = String> + '_ {
        self.key.iter().filter(|index| self.is_text(**index)).map(|index| {
            let name = self.name(*index);
            format!(
                "{name} = CASE WHEN {0}.{name} = excluded.{name} COLLATE BINARY THEN {0}.{name} \
                 ELSE abs(-9223372036854775807 - (length(excluded.{name}) >= 0)) END",
                self.table
            )
        })
    }

    /// `UPDATE` of one row; `None` where nothing of it is to be changed.
    fn update(&self, row: &[Stored]) -> Option<(String, Vec<Stored>)> {
        let columns = self.values.iter().filter_map(|index| Some((*index, row.get(*index)?)));
        let columns: Vec<(usize, &Stored)> = columns.collect();
        if columns.is_empty() {
            return None;
        }
        let assignments: Vec<String> = columns
            .iter()
            .map(|(index, _)| format!("{} = ?", self.name(*index)))
            .collect();
        let mut values: Vec<Stored> = columns.into_iter().map(|(_, value)| value.clone()).collect();
        let (condition, of_key) = self.condition(row);
        values.extend(of_key);
        let mut statement = format!(
            "UPDATE OR ABORT {} SET {} WHERE {condition}",
            self.table,
            assignments.join(",")
        );
        if let Some((guard, value)) = self.guard.and_then(|guard| Some((guard, row.get(guard)?))) {
            let name = self.name(guard);
            statement.push_str(&format!(" AND ({name} IS NULL OR ? >= {name})"));
            values.push(value.clone());
        }
        Some((statement, values))
    }

    fn delete(&self, row: &[Stored]) -> (String, Vec<Stored>) {
        let (condition, mut values) = self.condition(row);
        let mut statement = format!("DELETE FROM {} WHERE {condition}", self.table);
        if let Some((guard, version)) = self.guard.and_then(|guard| Some((guard, row.get(guard)?))) {
            let name = self.name(guard);
            statement.push_str(&format!(" AND ({name} IS NULL OR ? >= {name})"));
            values.push(version.clone());
        }
        (statement, values)
    }

    fn count(&self, row: &[Stored]) -> (String, Vec<Stored>) {
        let (condition, values) = self.condition(row);
        (format!("SELECT count(*) FROM {} WHERE {condition}", self.table), values)
    }

    /// Takes a row's values out of the way of other rows; they come back with [`Self::update`].
    fn park(&self, row: &[Stored]) -> Option<(String, Vec<Stored>)> {
        let set_null = |index: &usize| format!("{} = NULL", self.name(*index));
        let assignments: Vec<String> = self.parked.iter().map(set_null).collect();
        (!assignments.is_empty() && self.guard.is_none()).then(|| {
            let (condition, values) = self.condition(row);
            let statement = format!(
                "UPDATE OR ABORT {} SET {} WHERE {condition}",
                self.table,
                assignments.join(",")
            );
            (statement, values)
        })
    }

    /// The index finds texts that its collation takes for equal; of these only the same one is meant.
    fn condition(&self, row: &[Stored]) -> (String, Vec<Stored>) {
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for index in &self.key {
            let Some(value) = row.get(*index) else { continue };
            parts.push(format!("{} = ?", self.name(*index)));
            values.push(value.clone());
            if self.is_text(*index) {
                parts.push(format!("{} = ? COLLATE BINARY", self.name(*index)));
                values.push(value.clone());
            }
        }
        (parts.join(" AND "), values)
    }

    /// Of every row. Where there is a column, it says since when rows are deleted.
    fn delete_all(&self) -> String {
        match self.names.first() {
            None => format!("DELETE FROM {}", self.table),
            Some(since) => format!(
                "UPDATE {} SET {since} = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE {since} IS NULL",
                self.table
            ),
        }
    }

    fn is_text(&self, index: usize) -> bool {
        self.writers.get(index).is_some_and(ColumnWriter::is_text)
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }
}

// === impl SqliteSession ===

impl SqliteSession {
    /// Writes the rows of a step.
    pub(super) async fn write_step(&mut self, step: &Step<'_>) -> Result<()> {
        let statements = StepStatements::new(step)?;
        match step.action {
            Action::Truncate => {
                let run = self.run(&statements.delete_all()).await;
                run.map(drop).map_err(|error| self.error(error, &writing(&statements)))
            }
            Action::Insert => self.insert_all(step, &statements).await,
            Action::Upsert => self.upsert_all(step, &statements).await,
            Action::Update { must_exist } => self.update_all(step, &statements, must_exist).await,
            Action::Delete => {
                for row in &step.rows {
                    let (statement, values) = statements.delete(&statements.row(step, row)?);
                    self.done((&statement, &values), &statements).await?;
                }
                Ok(())
            }
        }
    }

    async fn insert_all(&mut self, step: &Step<'_>, statements: &StepStatements<'_>) -> Result<()> {
        for rows in step.rows.chunks(rows_at_once(statements)) {
            let values = statements.rows(step, rows)?.concat();
            self.done((&statements.insert(rows.len()), &values), statements).await?;
        }
        Ok(())
    }

    async fn upsert_all(&mut self, step: &Step<'_>, statements: &StepStatements<'_>) -> Result<()> {
        let mut refused = Vec::new();
        for rows in step.rows.chunks(rows_at_once(statements)) {
            let rows = statements.rows(step, rows)?;
            let together = self.bound(&statements.upsert(rows.len()), &rows.concat()).await;
            match together {
                Ok(_) => {}
                Err(error) if is_duplicate(&error) => {
                    for row in rows {
                        let write = (statements.upsert(1), row.clone());
                        let park = statements.park(&row);
                        self.attempt(Refused { write, park }, &mut refused, statements).await?;
                    }
                }
                Err(error) => return Err(self.refusal(error, statements)),
            }
        }
        self.settle(refused, statements).await
    }

    async fn update_all(&mut self, step: &Step<'_>, statements: &StepStatements<'_>, must_exist: bool) -> Result<()> {
        let mut refused = Vec::new();
        for row in &step.rows {
            let row = statements.row(step, row)?;
            let Some(write) = statements.update(&row) else {
                self.verify_there(&row, must_exist, statements).await?;
                continue;
            };
            let park = statements.park(&row);
            let matched = self.attempt(Refused { write, park }, &mut refused, statements).await?;
            if matched == Some(0) {
                self.verify_there(&row, must_exist, statements).await?;
            }
        }
        self.settle(refused, statements).await
    }

    /// A row that no update has matched was either left as it is by the guard, or is not there.
    async fn verify_there(&mut self, row: &[Stored], must_exist: bool, statements: &StepStatements<'_>) -> Result<()> {
        if !must_exist {
            return Ok(());
        }
        let (statement, values) = statements.count(row);
        let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement));
        for value in &values {
            query = match value {
                Stored::Null => query.bind(None::<i64>),
                Stored::Integer(value) => query.bind(*value),
                Stored::Real(value) => query.bind(*value),
                Stored::Text(text) => query.bind(text.clone()),
                Stored::Blob(bytes) => query.bind(bytes.clone()),
            };
        }
        let counted = query.fetch_one(&mut self.connection).await;
        let counted = counted.map_err(|error| self.error(error, &writing(statements)))?;
        if counted > 0 {
            return Ok(());
        }
        let message = format!(
            "a row of {} is to be changed that is not there, and the event does not have all of its columns; take a snapshot, or let the source send \
             whole rows",
            statements.table_name
        );
        Err(Error::poison(ROW_MISSING, message))
    }

    /// Tries rows again that were refused, for as long as that helps.
    async fn settle(&mut self, mut waiting: Vec<Refused>, statements: &StepStatements<'_>) -> Result<()> {
        let mut parked = false;
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut refused = Vec::new();
            for row in waiting {
                self.attempt(row, &mut refused, statements).await?;
            }
            if refused.len() == before {
                let parks: Vec<_> = refused.iter().filter_map(|row| row.park.as_ref()).collect();
                if parked || parks.is_empty() {
                    let Some(Refused { write, .. }) = refused.first() else {
                        return Ok(());
                    };
                    return self.done((&write.0, &write.1), statements).await;
                }
                for (statement, values) in parks {
                    self.done((statement, values), statements).await?;
                }
                parked = true;
            }
            waiting = refused;
        }
        Ok(())
    }

    /// Runs a statement of one row; `None` where another row was in its way.
    async fn attempt(
        &mut self,
        row: Refused,
        refused: &mut Vec<Refused>,
        statements: &StepStatements<'_>,
    ) -> Result<Option<u64>> {
        match self.bound(&row.write.0, &row.write.1).await {
            Ok(matched) => Ok(Some(matched)),
            Err(error) if is_duplicate(&error) => {
                refused.push(row);
                Ok(None)
            }
            Err(error) => Err(self.refusal(error, statements)),
        }
    }

    /// Runs a statement whose every error is one.
    async fn done(&mut self, (statement, values): (&str, &[Stored]), statements: &StepStatements<'_>) -> Result<()> {
        let done = self.bound(statement, values).await;
        done.map(drop).map_err(|error| self.refusal(error, statements))
    }

    async fn bound(&mut self, statement: &str, values: &[Stored]) -> sqlx::Result<u64> {
        let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        let query = values.iter().fold(query, bind);
        Ok(query.execute(&mut self.connection).await?.rows_affected())
    }

    fn refusal(&self, error: sqlx::Error, statements: &StepStatements<'_>) -> Error {
        if !is_collision(&error) {
            return self.error(error, &writing(statements));
        }
        let message = format!(
            "a row of {} has a key that the collation of the column takes for that of another row; give the key COLLATE BINARY",
            statements.table_name
        );
        Error::poison("key_collision", message).with_source(error)
    }
}

fn bind<'q>(query: Query<'q, Sqlite, SqliteArguments>, value: &Stored) -> Query<'q, Sqlite, SqliteArguments> {
    match value {
        Stored::Null => query.bind(None::<i64>),
        Stored::Integer(value) => query.bind(*value),
        Stored::Real(value) => query.bind(*value),
        Stored::Text(text) => query.bind(text.clone()),
        Stored::Blob(bytes) => query.bind(bytes.clone()),
    }
}

fn rows_at_once(statements: &StepStatements<'_>) -> usize {
    VALUES_MAXIMUM
        .checked_div(statements.names.len())
        .unwrap_or(STATEMENT_ROWS)
        .clamp(1, STATEMENT_ROWS)
}

fn writing(statements: &StepStatements<'_>) -> String {
    format!("write rows into {}", statements.table_name)
}
