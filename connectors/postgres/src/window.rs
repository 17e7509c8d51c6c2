//! Rows that are read again while the log is carried.
//!
//! ```text
//!   handed out ─▶ LOCK (against being altered) ─▶ snapshot S ─▶ is all that was received visible in S? ─▶ rows ─▶ a commit of our own: `high`
//!                          └──────────────── ROLLBACK, a moment later ◀── no ──┘
//! ```
//!
//! A commit is in the log, and may be sent to us, before it is visible to anybody: the server writes its record, waits for standbys
//! where there are synchronous ones, and only then takes the transaction off the list of those that run. So what was received is
//! compared with the snapshot that rows are read under, transaction by transaction ([`visibility`]), and where one is missing the
//! rows are not read.
//!
//! Nothing behind `high` is visible in the rows, because it is the place of a record that is written after they were read, and what is
//! visible has its commit record before. That record is a logical message of a transaction of its own: writing it has the server flush
//! the log up to there, and with that send us everything before it, however idle it is. No subscriber that does not ask for
//! messages sees it; we leave it out.

mod rows;
mod statement;
pub(crate) mod visibility;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tailrace_core::ports::{Window, WindowReader, WindowRequest, WindowTable, WindowTables};
use tailrace_core::position::Position;
use tailrace_core::{Error, Result};
use tokio::sync::Mutex;

use crate::config::PostgresConfig;
use crate::connect::{self, Purpose, Session};
use crate::dialect::catalog::VERSIONS;
use crate::discover::catalog::ReplicaIdentity;
use crate::discover::{self, CapturedTable};
use crate::error::query_error;
use crate::position::Lsn;
use crate::quote::qualified;
use rows::Rows;
use statement::KeyRange;
use visibility::{Received, Snapshot};

/// Prefix of our own messages in the log.
pub(crate) const MESSAGE_PREFIX: &str = "tailrace.window";
/// What is in the log becomes visible within a millisecond, unless a standby is waited for; the server does not say when.
const FIRST_WAIT: Duration = Duration::from_millis(2);
/// Nobody notices, and asking costs nothing.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// So long is waited for visibility before it is said to be what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads rows of captured tables beside the log.
pub(crate) struct PostgresWindows {
    config: Arc<PostgresConfig>,
    connector: String,
    /// First part of every event id.
    identity: Arc<str>,
    received: Arc<Received>,
    /// What is kept from one window to the next; away while one is read, and lost where that is given up.
    kept: Mutex<Option<Kept>>,
}

/// A session, and what is known on it.
struct Kept {
    session: Session,
    versions: tokio_postgres::Statement,
    table: Option<KnownTable>,
}

/// A table as it was at its last window.
struct KnownTable {
    oid: u32,
    version: i64,
    table: Arc<CapturedTable>,
}

/// The transaction that rows are read in.
struct Begun {
    table: Arc<CapturedTable>,
    /// When it began, microseconds since 1970.
    now_us: i64,
}

// === impl PostgresWindows ===

impl PostgresWindows {
    /// Nothing is connected yet. `received` is what the log has received.
    pub(crate) fn new(
        config: Arc<PostgresConfig>,
        connector: &str,
        identity: Arc<str>,
        received: Arc<Received>,
    ) -> Self {
        Self {
            config,
            connector: connector.to_owned(),
            identity,
            received,
            kept: Mutex::new(None),
        }
    }

    async fn connect(&self) -> Result<Kept> {
        let session = connect::connect(&self.config, &self.connector, Purpose::Window).await?;
        let wrap = |error| query_error(&error, "prepare to read rows again");
        if !self.received.has_begun() {
            // From here on every commit that comes is noted; what came before, and is not visible, still runs now.
            self.received.watch();
            let running = visibility::running(&session).await?;
            self.received.begin(running);
        }
        Ok(Kept {
            versions: session.prepare(VERSIONS).await.map_err(wrap)?,
            session,
            table: None,
        })
    }

    /// Begins the transaction of a window, as soon as everything that was received is visible in it.
    async fn begin(&self, kept: &mut Kept, request: &WindowRequest) -> Result<Begun> {
        let wanted = self.received.wanted();
        let begun_at = tokio::time::Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let (oid, name) = self.find(kept, &request.table).await?;
            let session = &kept.session;
            let wrap = |error| match query_error(&error, &format!("begin to read {}", request.table)) {
                error if error.code() == "table_missing" => gone(&request.table),
                error => error,
            };
            session.batch_execute(&statement::begin(&name)).await.map_err(wrap)?;
            let row = session.query_one(statement::SNAPSHOT, &[]).await.map_err(wrap)?;
            let (text, now_us): (String, i64) = (row.try_get(0).map_err(wrap)?, row.try_get(1).map_err(wrap)?);
            let snapshot = Snapshot::parse(&text)?;
            let missing = self.received.missing(&wanted, &snapshot);
            if missing.is_empty() {
                let table = self.describe(kept, oid, &request.table).await?;
                return Ok(Begun { table, now_us });
            }
            session.batch_execute("ROLLBACK").await.map_err(wrap)?;
            self.received.forgive(visibility::idle(session, &missing).await?);
            if begun_at.elapsed() > PATIENCE {
                return Err(invisible(&request.table, &missing));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Object id and quoted name of a table.
    async fn find(&self, kept: &Kept, table: &str) -> Result<(u32, String)> {
        if let Some(known) = kept
            .table
            .as_ref()
            .filter(|known| known.table.schema.name.qualified() == table)
        {
            let name = &known.table.schema.name;
            return Ok((known.oid, qualified(&name.schema, &name.table)));
        }
        let wrap = |error| query_error(&error, &format!("look for {table}"));
        let found = kept.session.query_opt(statement::FIND, &[&table]).await.map_err(wrap)?;
        let row = found.ok_or_else(|| gone(table))?;
        let (schema, name): (String, String) = (row.try_get(1).map_err(wrap)?, row.try_get(2).map_err(wrap)?);
        Ok((row.try_get(0).map_err(wrap)?, qualified(&schema, &name)))
    }

    /// The table as it is, within the transaction that holds it.
    async fn describe(&self, kept: &mut Kept, oid: u32, name: &str) -> Result<Arc<CapturedTable>> {
        let wrap = |error| query_error(&error, &format!("look at {name}"));
        let row = kept
            .session
            .query_opt(&kept.versions, &[&&[oid][..]])
            .await
            .map_err(wrap)?;
        let version: i64 = row.ok_or_else(|| gone(name))?.try_get(1).map_err(wrap)?;
        if let Some(known) = kept
            .table
            .as_ref()
            .filter(|known| known.oid == oid && known.version == version)
        {
            return Ok(Arc::clone(&known.table));
        }
        kept.table = None;
        let described = discover::describe_relation(&kept.session, &self.config, &self.connector, oid).await?;
        let table = described.filter(|table| table.schema.name.qualified() == name);
        let table = Arc::new(table.ok_or_else(|| gone(name))?);
        if let Some(refusal) = refusal(&table) {
            return Err(refusal);
        }
        kept.table = Some(KnownTable {
            oid,
            version,
            table: Arc::clone(&table),
        });
        Ok(table)
    }

    async fn read_with(&self, kept: &mut Kept, request: &WindowRequest) -> Result<Window> {
        let begun = self.begin(kept, request).await?;
        let session = &kept.session;
        let condition = match &request.condition {
            None => None,
            Some(name) => Some(self.condition(name)?),
        };
        let range = KeyRange::new(&begun.table, request.after.as_deref(), condition)?;
        let wrap = |error| query_error(&error, &format!("read {}", request.table));
        let until = match range.end_query(request.budget.changes) {
            None => None,
            Some(query) => {
                let row = session.query_opt(&query, &[]).await.map_err(wrap)?;
                row.map(|row| statement::key_of(&row)).transpose().map_err(wrap)?
            }
        };
        let mut rows = Rows::new(&begun.table, Arc::clone(&self.identity), begun.now_us);
        let stopped = rows
            .copy(
                session,
                &range.copy(until.as_deref(), request.budget.changes),
                request.budget,
            )
            .await?;
        session.batch_execute("COMMIT").await.map_err(wrap)?;
        let row = session.query_one(statement::MARK, &[&MESSAGE_PREFIX]).await;
        let text: String = row
            .and_then(|row| row.try_get(0))
            .map_err(|error| query_error(&error, "write a message into the log, which says where rows were read"))?;
        let high: Lsn = text
            .parse()
            .map_err(|()| unexpected("the place of a message is no LSN"))?;
        let is_last = !stopped && range.is_last(until.as_ref(), rows.len(), request.budget.changes);
        let next = match (is_last, stopped, until) {
            (true, ..) => None,
            (false, false, Some(until)) => Some(until),
            (false, ..) => rows.last_key(),
        };
        Ok(Window {
            schema: Arc::clone(&begun.table.schema),
            batch: rows.finish(high, &request.run),
            high: high.to_position(),
            next: next.map(|key| statement::cursor(&key)).transpose()?,
        })
    }

    fn condition(&self, name: &str) -> Result<&str> {
        let condition = self.config.snapshot.conditions.get(name);
        condition.map(|condition| condition.condition.as_str()).ok_or_else(|| {
            let message = format!(
                "the configuration has no condition `{name}` in `snapshot.conditions` any more; put it back, or ask for the snapshot again without it"
            );
            Error::definite("snapshot_condition_unknown", message)
        })
    }
}

#[async_trait]
impl WindowReader for PostgresWindows {
    async fn tables(&self) -> Result<WindowTables> {
        let session = connect::connect(&self.config, &self.connector, Purpose::Catalog).await?;
        let discovery = discover::survey(&session, &self.config, &self.connector).await?;
        let tables = discovery.tables.into_iter().map(|table| WindowTable {
            name: table.schema.name.clone(),
            rows_estimated: table.rows_estimated,
            refusal: refusal(&table),
        });
        Ok(WindowTables {
            tables: tables.collect(),
            conditions: self.config.snapshot.tables_of_conditions("public"),
        })
    }

    async fn read(&self, request: WindowRequest) -> Result<Window> {
        let kept = self.kept.lock().await.take();
        let mut kept = match kept {
            Some(kept) if !kept.session.is_closed() => kept,
            Some(_) | None => self.connect().await?,
        };
        let window = self.read_with(&mut kept, &request).await?;
        *self.kept.lock().await = Some(kept);
        Ok(window)
    }

    fn has_passed(&self, position: &Position, high: &Position) -> Result<bool> {
        Ok(Lsn::from_position(position)? >= Lsn::from_position(high)?)
    }

    fn rest(&self) {
        // Who holds it is reading, and what it reads is given up.
        if let Ok(mut kept) = self.kept.try_lock() {
            *kept = None;
        }
        self.received.end();
    }
}

/// Why rows of a table cannot be put between its changes.
fn refusal(table: &CapturedTable) -> Option<Error> {
    let name = table.schema.name.qualified();
    let key: Vec<_> = table.schema.key_columns().collect();
    if key.is_empty() {
        let message = format!(
            "{name} has no key that its rows are found and told apart by; give it a primary key (ALTER TABLE {name} ADD PRIMARY KEY …), and with \
             REPLICA IDENTITY USING INDEX publish the columns of that index"
        );
        return Some(Error::definite("snapshot_key", message));
    }
    if let Some(column) = key.iter().find(|column| column.nullable) {
        let message = format!(
            "the key of {name} has the column \"{}\", which may be NULL; make it NOT NULL, or give the table a primary key",
            column.name
        );
        return Some(Error::definite("snapshot_key", message));
    }
    if table.identity == ReplicaIdentity::Nothing {
        let message = format!(
            "the log does not say which rows of {name} were changed (REPLICA IDENTITY NOTHING); ALTER TABLE {name} REPLICA IDENTITY DEFAULT"
        );
        return Some(Error::definite("snapshot_key_unlogged", message));
    }
    None
}

fn gone(table: &str) -> Error {
    let message = format!(
        "{table} is not there any more, or is not captured any more; ask again for the table that has taken its place, if there is one"
    );
    Error::definite("snapshot_table_gone", message)
}

fn invisible(table: &str, missing: &[u32]) -> Error {
    let transactions: Vec<String> = missing.iter().map(u32::to_string).collect();
    let message = format!(
        "transactions are in the log, or may be, whose rows nobody sees yet: {}; rows of {table} wait for them. A commit may wait for a synchronous standby, \
         and when the connector was started these were open",
        transactions.join(", ")
    );
    Error::transient("snapshot_invisible", message)
}

fn unexpected(what: &str) -> Error {
    Error::definite(
        "source_protocol",
        format!("{what}; please report it with the server's version"),
    )
}
