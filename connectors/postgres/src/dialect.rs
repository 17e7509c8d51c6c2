//! PostgreSQL's answers to the polling source.
//!
//! ```text
//!   fetch ─▶ BEGIN; LOCK (against being altered); version? ─▶ COPY (SELECT …) ─▶ rows ─▶ admit, decode, take ─▶ ROLLBACK
//!                                                └─ another ─▶ SchemaChanged
//! ```
//!
//! Invariants:
//! - A page is of one state of the database, which is fixed after the table is locked and together with its version.
//! - Rows come as a snapshot's do (`COPY` in binary form, the same decoders), so that a value is published the same either way.
//! - The session is read-only; only what [`Dialect::execute`] runs may write.

pub(crate) mod activity;
pub(crate) mod catalog;
pub(crate) mod gap;
pub(crate) mod rows;
pub(crate) mod statement;
pub(crate) mod tables;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use futures_util::future::join;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tailrace_sql::config::QueryConfig;
use tailrace_sql::{
    Admission, Dialect, Discovery, Fetched, GapReport, GapSafety, IdGeneration, PageRequest, PageWriter, PolledTable,
    Statement, Syntax, Writers,
};
use tokio::time::Instant;
use tokio_postgres::SimpleQueryMessage;

use self::rows::RowPlan;
use self::statement::PostgresSyntax;
use self::tables::{KnownTable, Origin};
use crate::config::PostgresConfig;
use crate::connect::Session;
use crate::decode::copy::{CopyReader, CopyRow};
use crate::discover::server::ServerFacts;
use crate::error::query_error;

/// How often is looked for tables that came or went; a look reads the names of all tables.
const NAMES_INTERVAL: Duration = Duration::from_secs(10);
/// A table that was dropped or altered between two pages: a fresh look at the catalogue sees it as it is.
const CHANGED_TABLE: [&str; 3] = ["42P01", "42703", "3F000"];

/// One session that asks.
pub(crate) struct PostgresDialect {
    session: Session,
    config: Arc<PostgresConfig>,
    query: QueryConfig,
    server: ServerFacts,
    /// What is polled, as of `schema_version`; nothing before the first discovery.
    tables: HashMap<TableName, KnownTable>,
    schema_version: Option<i64>,
    names_version: i64,
    names_due: Instant,
    /// Asks for the version of a table.
    versions: tokio_postgres::Statement,
    /// Asks for the time.
    now: tokio_postgres::Statement,
}

/// What a page's transaction began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Unchanged,
    Changed,
}

// === impl Begun ===

impl Begun {
    fn of(same: bool) -> Self {
        if same { Self::Unchanged } else { Self::Changed }
    }
}

// === impl PostgresDialect ===

impl PostgresDialect {
    /// A session that is ready to ask.
    pub(crate) async fn new(
        session: Session,
        config: Arc<PostgresConfig>,
        query: QueryConfig,
        server: ServerFacts,
    ) -> Result<Self> {
        let wrap = |error| query_error(&error, "prepare to poll");
        Ok(Self {
            versions: session.prepare(catalog::VERSIONS).await.map_err(wrap)?,
            now: activity::prepare_now(&session, server.in_recovery)
                .await
                .map_err(wrap)?,
            session,
            config,
            query,
            server,
            tables: HashMap::new(),
            schema_version: None,
            names_version: 0,
            names_due: Instant::now(),
        })
    }

    fn known(&self, table: &PolledTable) -> Option<&KnownTable> {
        self.tables.get(&table.table.schema.name)
    }

    /// Begins a page's transaction, and tells whether the table is still what it was.
    async fn begin(&self, known: &KnownTable, names_due: bool) -> Result<Begun, tokio_postgres::Error> {
        let same = match &known.origin {
            Origin::Relation { oid, facts } => {
                let mut begin = statement::begin(false);
                if facts.kind.lockable() {
                    begin = format!("{begin}; {}", statement::lock(&known.table.schema.name));
                }
                // Both are on their way before the first is answered.
                let oids = [*oid];
                let (begun, version) = join(
                    self.session.batch_execute(&begin),
                    self.session.query_one(&self.versions, &[&&oids[..]]),
                )
                .await;
                begun?;
                version?.try_get::<_, i64>(1)? == facts.version
            }
            Origin::Query { answer } => {
                self.session.batch_execute(&statement::begin(true)).await?;
                let sql = known.table.query.as_deref().unwrap_or_default();
                tables::answer(&self.session, sql).await? == *answer
            }
        };
        if same && names_due {
            let row = self.session.query_one(catalog::NAMES_VERSION, &[]).await?;
            return Ok(Begun::of(row.try_get::<_, i64>(0)? == self.names_version));
        }
        Ok(Begun::of(same))
    }

    /// Runs the statements of a page within its transaction. Gives the number of rows that came.
    async fn read(
        &self,
        request: &PageRequest<'_>,
        plan: &RowPlan<'_>,
        page: &mut PageWriter<'_>,
    ) -> Result<u32, ReadError> {
        let mut reading = Reading {
            plan,
            page,
            returned: 0,
            stopped: false,
        };
        for part in request.statements {
            let left = request.limit.map(|limit| limit.saturating_sub(reading.returned));
            if reading.stopped || left == Some(0) {
                break;
            }
            self.copy(&statement::copy(plan, part, left), &mut reading).await?;
        }
        Ok(reading.returned)
    }

    /// Reads one `COPY` to its end, also behind the last row that is wanted: a limit makes the rest short, and the connection is kept.
    async fn copy(&self, statement: &str, reading: &mut Reading<'_, '_>) -> Result<(), ReadError> {
        let mut chunks = pin!(self.session.copy_out(statement).await?);
        let mut reader = CopyReader::default();
        let mut failed = None;
        while let Some(chunk) = chunks.try_next().await? {
            if failed.is_some() || reading.stopped {
                continue;
            }
            reader.push(&chunk);
            failed = reading.take_all(&mut reader).err();
        }
        match failed {
            Some(error) => Err(ReadError::Row(error)),
            None if reading.stopped => Ok(()),
            None => {
                let whole = reader.finish();
                whole.map_err(|error| ReadError::Row(reading.plan.broken(&error.to_string())))
            }
        }
    }

    /// Whether what a custom query reads was rewritten between the moment that the page is of and the moment that it was locked: a
    /// rewritten table has no rows in an older state.
    async fn was_rewritten(&self) -> Result<bool, tokio_postgres::Error> {
        const REWRITTEN: &str =
            "SELECT count(*) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'm')
              AND c.relfilenode <> 0 AND c.relfilenode <> pg_catalog.pg_relation_filenode(c.oid)";
        let row = self.session.query_one(REWRITTEN, &[]).await?;
        Ok(row.try_get::<_, i64>(0)? > 0)
    }

    async fn read_page(
        &self,
        known: &KnownTable,
        names_due: bool,
        request: &PageRequest<'_>,
        page: &mut PageWriter<'_>,
    ) -> Result<Fetched, ReadError> {
        if self.begin(known, names_due).await? == Begun::Changed {
            return Ok(Fetched::SchemaChanged);
        }
        let plan = RowPlan::new(request.table, &known.columns).map_err(ReadError::Row)?;
        let returned = self.read(request, &plan, page).await?;
        if known.oid().is_none() && self.was_rewritten().await? {
            let message = format!(
                "a table that `query.queries.{}` reads was rewritten while it was read; it is read again",
                known.name()
            );
            return Err(ReadError::Row(Error::transient("table_rewritten", message)));
        }
        Ok(Fetched::Rows(returned))
    }

    async fn end(&self) -> Result<()> {
        let ended = self.session.batch_execute("ROLLBACK").await;
        ended.map_err(|error| query_error(&error, "end the transaction of a page"))
    }

    /// Runs statements that were begun with a transaction, and ends it where they fail.
    async fn run(&self, statements: &str, doing: &str) -> Result<Vec<SimpleQueryMessage>> {
        match self.session.simple_query(statements).await {
            Ok(answers) => Ok(answers),
            Err(error) => {
                let failed = query_error(&error, doing);
                if !self.session.is_closed() {
                    self.end().await?;
                }
                Err(failed)
            }
        }
    }
}

#[async_trait]
impl Dialect for PostgresDialect {
    fn syntax(&self) -> &'static dyn Syntax {
        &PostgresSyntax
    }

    async fn discover(&mut self) -> Result<Discovery> {
        let survey = tables::survey(&self.session, &self.config, &self.query, self.server.clone()).await?;
        survey.verify(self.schema_version.is_none())?;
        let schema_version = survey.version();
        self.tables = survey.by_name();
        self.names_version = survey.names_version;
        self.names_due = Instant::now() + NAMES_INTERVAL;
        self.schema_version = Some(schema_version);
        Ok(Discovery {
            schema_version,
            tables: survey.tables.into_iter().map(|known| known.table).collect(),
        })
    }

    async fn fetch(&mut self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched> {
        let known = self.known(request.table);
        let Some(known) = known.filter(|_| self.schema_version == Some(request.schema_version)) else {
            return Ok(Fetched::SchemaChanged);
        };
        let names_due = self.names_due <= Instant::now();
        let fetched = self.read_page(known, names_due, &request, page).await;
        if !self.session.is_closed() {
            self.end().await?;
        }
        let doing = format!("poll {}", known.name());
        if names_due {
            self.names_due = Instant::now() + NAMES_INTERVAL;
        }
        fetched.or_else(|error| error.meaning(&doing))
    }

    async fn number(&mut self, statement: &Statement) -> Result<Option<i64>> {
        let doing = "ask the database for a number";
        let answers = self
            .run(&statement::reading(&statement::render(statement)), doing)
            .await?;
        let text = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row.try_get(0)),
            _ => None,
        });
        let text = text.transpose().map_err(|error| query_error(&error, doing))?.flatten();
        let number = text.map(|text| {
            text.parse().map_err(|error| {
                let message = format!("the database answered `{text}` where a whole number of 64 bits was expected; name another id_column");
                Error::definite("not_a_number", message).with_source(Box::<dyn std::error::Error + Send + Sync>::from(error))
            })
        });
        number.transpose()
    }

    async fn execute(&mut self, statement: &Statement) -> Result<u64> {
        let statements = statement::writing(&statement::render(statement));
        let answers = self.run(&statements, "change rows that are published").await?;
        let counts = answers.iter().map(|answer| match answer {
            SimpleQueryMessage::CommandComplete(count) => *count,
            _ => 0,
        });
        Ok(counts.sum())
    }

    async fn highest_id(&mut self, table: &PolledTable) -> Result<Option<i64>> {
        let highest = self
            .number(&tailrace_sql::statement::highest_id(&PostgresSyntax, table))
            .await?;
        if table.id_generation() != IdGeneration::NeverReused {
            return Ok(highest);
        }
        let facts = self.known(table).and_then(KnownTable::facts);
        let default = facts.and_then(|facts| facts.defaults.get(table.id_name()));
        let Some(sequence) = default.and_then(|default| default.sequence.as_ref()) else {
            return Ok(highest);
        };
        if !sequence.readable {
            let role = &self.server.role;
            return Err(Error::definite("insufficient_privilege", sequence.unreadable(role)));
        }
        let ever = format!("SELECT pg_catalog.pg_sequence_last_value({})", sequence.oid);
        Ok(highest.max(self.number(&Statement::text(ever)).await?))
    }

    async fn now_us(&mut self) -> Result<i64> {
        let asked = activity::now_us(&self.session, &self.now).await;
        asked.map_err(|error| query_error(&error, "ask for the server's time"))
    }

    async fn writers(&mut self, table: &PolledTable) -> Result<Writers> {
        let Some(oid) = self.known(table).and_then(KnownTable::oid) else {
            return Ok(Writers::default());
        };
        let asked = activity::writers(&self.session, oid).await;
        asked.map_err(|error| query_error(&error, "list who writes"))
    }

    async fn longest_transaction_us(&mut self) -> Result<Option<i64>> {
        let asked = activity::longest_transaction_us(&self.session).await;
        asked.map_err(|error| query_error(&error, "ask for the oldest transaction"))
    }

    fn gap_safety(&self, table: &PolledTable) -> GapReport {
        match self.known(table) {
            Some(known) => gap::gap_safety(known, table, self.server.in_recovery),
            None => GapReport::new(GapSafety::None, "the table is not known any more"),
        }
    }
}

/// Rows on their way from a page's statements into the page.
struct Reading<'p, 'b> {
    plan: &'p RowPlan<'p>,
    page: &'p mut PageWriter<'b>,
    returned: u32,
    stopped: bool,
}

// === impl Reading ===

impl Reading<'_, '_> {
    /// Takes the rows that are there, until one does not belong to the page any more.
    fn take_all(&mut self, reader: &mut CopyReader) -> Result<()> {
        while !self.stopped {
            let row = reader
                .next_row()
                .map_err(|error| self.plan.broken(&error.to_string()))?;
            let Some(row) = row else {
                break;
            };
            self.returned = self.returned.saturating_add(1);
            match self.take(&row) {
                Ok(Admission::Take | Admission::Skip) => {}
                Ok(Admission::Stop) => self.stopped = true,
                // What comes before a bad row goes out; the next page begins with it and says what is wrong.
                Err(_) if self.page.has_rows() => {
                    self.page.stop();
                    self.stopped = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One row: its key first, and its cells only where the page wants it.
    fn take(&mut self, row: &CopyRow<'_>) -> Result<Admission> {
        let key = self.plan.key(row)?;
        let admission = self.page.admit(&key)?;
        if admission == Admission::Take {
            let cells = self.plan.push(row, &key, self.page.batch)?;
            self.page.take(cells, key);
        }
        Ok(admission)
    }
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Row(Error),
}

impl ReadError {
    /// What is no error after all, and what the others are called.
    fn meaning(self, doing: &str) -> Result<Fetched> {
        let error = match self {
            Self::Row(error) => return Err(error),
            Self::Database(error) => error,
        };
        match error.code().map(tokio_postgres::error::SqlState::code) {
            Some(code) if CHANGED_TABLE.contains(&code) => Ok(Fetched::SchemaChanged),
            Some("57014") => Err(Error::transient(
                "query_timeout",
                format!(
                    "cannot {doing} within query.statement_timeout_ms: `tailrace check` names a missing index; lower query.batch_rows, or \
                     allow more time"
                ),
            )),
            _ => Err(query_error(&error, doing)),
        }
    }
}
