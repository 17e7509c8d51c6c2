//! SQLite's answers to the polling source.

use std::path::Path;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result};
use tailrace_sql::{
    Admission, CursorValue, Dialect, Discovery, Fetched, GapReport, GapSafety, IdGeneration, PageRequest, PageWriter,
    PolledTable, QueryMode, RowKey, Statement, Syntax, Writers,
};

use crate::config::SqliteConfig;
use crate::decode::{self, Raw, RowPlan, raw};
use crate::discover::{self, quote};
use crate::error::classify;
use crate::identity::{self, FileMark};
use crate::statement::{self, SqliteSyntax};

/// One connection to the file.
pub(crate) struct SqliteDialect {
    connection: SqliteConnection,
    config: SqliteConfig,
    mark: FileMark,
}

// === impl SqliteDialect ===

impl SqliteDialect {
    pub(crate) fn new(connection: SqliteConnection, config: SqliteConfig, mark: FileMark) -> Self {
        Self {
            connection,
            config,
            mark,
        }
    }

    fn classify(&self, error: sqlx::Error) -> Error {
        classify(error, &self.config.path)
    }

    /// An open connection stays with its file when another is put in its place: what is written there is never seen.
    fn still_the_same_file(&self) -> Result<()> {
        let now = FileMark::of(&self.config.path)?;
        if now == self.mark {
            Ok(())
        } else {
            Err(identity::changed(&self.config.path, &now))
        }
    }
}

#[async_trait]
impl Dialect for SqliteDialect {
    fn syntax(&self) -> &'static dyn Syntax {
        &SqliteSyntax
    }

    async fn number(&mut self, statement: &Statement) -> Result<Option<i64>> {
        let asked = statement::query("", statement, "")
            .fetch_one(&mut self.connection)
            .await;
        let row = asked.map_err(|error| self.classify(error))?;
        row.try_get(0).map_err(|error| self.classify(error))
    }

    async fn execute(&mut self, statement: &Statement) -> Result<u64> {
        let done = statement::query("", statement, "").execute(&mut self.connection).await;
        done.map(|done| done.rows_affected())
            .map_err(|error| self.classify(error))
    }

    /// SQLite has one writer at a time: nobody else's rows can come late.
    async fn writers(&mut self, _table: &PolledTable) -> Result<Writers> {
        std::future::ready(Ok(Writers::default())).await
    }

    /// SQLite does not tell who has a transaction open.
    async fn longest_transaction_us(&mut self) -> Result<Option<i64>> {
        std::future::ready(Ok(None)).await
    }

    async fn discover(&mut self) -> Result<Discovery> {
        discover::discover(&mut self.connection, &self.config).await
    }

    async fn fetch(&mut self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched> {
        self.still_the_same_file()?;
        let path = &self.config.path;
        // One read transaction: the rows are of the schema that was asked for, whoever alters it meanwhile.
        let mut transaction = self.connection.begin().await.map_err(|error| classify(error, path))?;
        let asked = sqlx::query_scalar::<_, i64>("PRAGMA schema_version")
            .fetch_one(&mut *transaction)
            .await;
        let version = asked.map_err(|error| classify(error, path))?;
        let fetched = if version == request.schema_version {
            let plan = RowPlan::new(request.table, &self.config);
            let returned = read_page(&mut transaction, request, &plan, page).await;
            Fetched::Rows(returned.map_err(|error| error.into_core(path))?)
        } else {
            Fetched::SchemaChanged
        };
        transaction.rollback().await.map_err(|error| classify(error, path))?;
        Ok(fetched)
    }

    async fn highest_id(&mut self, table: &PolledTable) -> Result<Option<i64>> {
        let highest = self
            .number(&tailrace_sql::statement::highest_id(&SqliteSyntax, table))
            .await?;
        if table.id_generation() != IdGeneration::NeverReused {
            return Ok(highest);
        }
        // SQLite numbers on from whichever is higher: <https://www.sqlite.org/autoinc.html>.
        let asked = sqlx::query_scalar("SELECT max(seq) FROM sqlite_sequence WHERE name = ?")
            .bind(table.name())
            .fetch_one(&mut self.connection)
            .await;
        let ever: Option<i64> = asked.map_err(|error| self.classify(error))?;
        Ok(highest.max(ever))
    }

    /// SQLite's `CURRENT_TIMESTAMP` is this machine's clock, and so is that of every writer of the file.
    async fn now_us(&mut self) -> Result<i64> {
        std::future::ready(Ok(now_us())).await
    }

    fn gap_safety(&self, table: &PolledTable) -> GapReport {
        gap_safety(table)
    }
}

/// Whether rows can be skipped: <https://www.sqlite.org/isolation.html> (one writer at a time, serialized commits).
pub(crate) fn gap_safety(table: &PolledTable) -> GapReport {
    if table.mode == QueryMode::Bulk || table.mode == QueryMode::Queue {
        return GapReport::new(GapSafety::Proven, "every poll reads whatever is in the table");
    }
    if table.mode.by_time() {
        return GapReport::new(
            GapSafety::DelayWindow,
            format!(
                "rows are seen that commit within {} ms (query.delay_ms) after their {}, which every insert and update must set",
                table.delay_us / 1000,
                table.timestamp_name()
            ),
        );
    }
    if table.table.query.is_some() {
        let reason = format!(
            "nothing says in which order rows of a query come to their {}",
            table.id_name()
        );
        return GapReport::new(GapSafety::None, reason);
    }
    match table.id_generation() {
        IdGeneration::NeverReused => GapReport::new(
            GapSafety::Proven,
            "SQLite has one writer at a time, so AUTOINCREMENT ids commit in order and never come again",
        ),
        IdGeneration::AboveExisting => GapReport::new(
            GapSafety::None,
            format!(
                "ids commit in order, but without AUTOINCREMENT SQLite gives the id of a deleted newest row out again; nothing is \
                 skipped as long as the newest rows of {} are never deleted",
                table.name()
            ),
        ),
        IdGeneration::Application => GapReport::new(
            GapSafety::None,
            format!(
                "{} is not numbered by SQLite; nothing is skipped as long as each new row has a higher one",
                table.id_name()
            ),
        ),
    }
}

/// Runs a page's statements until the page has its rows. Gives the number of rows that SQLite returned.
async fn read_page(
    connection: &mut SqliteConnection,
    request: PageRequest<'_>,
    plan: &RowPlan<'_>,
    page: &mut PageWriter<'_>,
) -> Result<u32, ReadError> {
    let mut returned = 0;
    let columns = request
        .table
        .table
        .schema
        .columns
        .iter()
        .map(|column| quote(&column.name));
    let begin = format!("SELECT {} ", columns.collect::<Vec<_>>().join(", "));
    for statement in request.statements {
        let left = request.limit.map(|limit| limit.saturating_sub(returned));
        let end = left.map_or_else(String::new, |left| format!(" LIMIT {left}"));
        let mut rows = statement::query(&begin, statement, &end).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            returned += 1;
            match take(&row, request.table, plan, page) {
                Ok(Admission::Take | Admission::Skip) => {}
                Ok(Admission::Stop) => return Ok(returned),
                // What comes before a bad row goes out; the next page begins with it and says what is wrong.
                Err(_) if page.has_rows() => {
                    page.stop();
                    return Ok(returned);
                }
                Err(error) => return Err(ReadError::Row(error)),
            }
        }
        if request.limit.is_some_and(|limit| returned >= limit) {
            break;
        }
    }
    Ok(returned)
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Row(Error),
}

impl ReadError {
    fn into_core(self, path: &Path) -> Error {
        match self {
            Self::Database(error) => classify(error, path),
            Self::Row(error) => error,
        }
    }
}

/// One row: its key first, and its cells only where the page wants it.
fn take(row: &SqliteRow, table: &PolledTable, plan: &RowPlan<'_>, page: &mut PageWriter<'_>) -> Result<Admission> {
    let key = row_key(row, table, plan)?;
    let admission = page.admit(&key)?;
    if admission == Admission::Take {
        let cells = decode::push_row(row, plan, key.id.as_ref(), page.batch)?;
        page.take(cells, key);
    }
    Ok(admission)
}

fn row_key(row: &SqliteRow, table: &PolledTable, plan: &RowPlan<'_>) -> Result<RowKey> {
    let id = match table.id_column {
        Some(column) => Some(cursor_value(&raw(row, column)?, plan, table.id_name())?),
        None => None,
    };
    if let (QueryMode::Incrementing, Some(id)) = (table.mode, &id)
        && id.as_integer().is_none()
    {
        return Err(Error::definite(
            "id_not_a_number",
            format!(
                "table {}: {} is {id} in one row, and mode incrementing needs whole numbers",
                table.name(),
                table.id_name()
            ),
        ));
    }
    let Some(column) = table.timestamp_column else {
        return Ok(RowKey { id, timestamp: None });
    };
    let stored = raw(row, column)?;
    let Some(microseconds) = decode::timestamp_us(&stored, plan.unit) else {
        return Err(Error::definite(
            "timestamp_unreadable",
            format!(
                "table {}, id {}: {} holds {}, which is no time that SQLite's date functions or timestamp_unit explain; correct \
                 the value or name another timestamp_column",
                table.name(),
                id.as_ref().map(ToString::to_string).unwrap_or_default(),
                table.timestamp_name(),
                stored.describe()
            ),
        ));
    };
    let stored = cursor_value(&stored, plan, table.timestamp_name())?;
    Ok(RowKey {
        id,
        timestamp: Some((stored, microseconds)),
    })
}

fn cursor_value(value: &Raw<'_>, plan: &RowPlan<'_>, column: &str) -> Result<CursorValue> {
    match value {
        Raw::Integer(value) => Ok(CursorValue::Integer(*value)),
        Raw::Real(value) => Ok(CursorValue::real(*value)),
        Raw::Text(text) => Ok(CursorValue::Text((*text).to_owned())),
        Raw::Null | Raw::BrokenText(_) | Raw::Blob(_) => Err(Error::definite(
            "cursor_value",
            format!(
                "table {}: column {column} holds {}, which cannot say where a poll continues",
                plan.table,
                value.describe()
            ),
        )),
    }
}
