//! Rows that are read again while the log is carried.
//!
//! A transaction is in the log, and may be sent to us, a moment before the engine shows its rows. What was handed out must be
//! visible in rows that are read now, and each server has its own way to be sure of that:
//!
//! | server | what was handed out is visible because |
//! |---|---|
//! | MariaDB | a read view tells its own place in the log; where that is before what was handed out, another is opened a moment later |
//! | MySQL from 5.7 on, with GTIDs | the server names a transaction as executed after the engine's commit: `WAIT_FOR_EXECUTED_GTID_SET` |
//! | other MySQL | `LOCK TABLES … READ` is got when no transaction that wrote to the table is open any more; a read view is opened under it |
//!
//! Nothing behind `high` is visible in the rows: of MariaDB it is the view's own place; of MySQL the end of the log after the rows
//! were read, because the log is written before the engine commits.

mod read;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tailrace_core::ports::{Window, WindowReader, WindowRequest, WindowTable, WindowTables};
use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result};
use tailrace_sql::log_config::tables_of_conditions;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::bootstrap::consistent_point::{self, snapshot_place};
use crate::config::MySqlConfig;
use crate::connect::{self, Purpose, execute, texts};
use crate::discover::{self, CapturedTable};
use crate::error::{query_error, server_error_number};
use crate::position::mysql_gtid::MySqlGtidSet;
use crate::position::{BinlogPosition, FileOffset};
use crate::quote::{literal, qualified};
use crate::scan::key_range::RangeKey;
use crate::server::{Flavour, ServerFacts};
use read::Reading;

/// What is in the log is visible within a millisecond; the server does not say when.
const FIRST_WAIT: Duration = Duration::from_millis(2);
/// Nobody notices, and asking costs little.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// So long is waited for visibility before it is said to be what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;
/// ER_TABLE_DEF_CHANGED: altered after the read view was opened.
const TABLE_CHANGED: u16 = 1412;

/// Reads rows of captured tables beside the log.
pub(crate) struct MySqlWindows {
    config: Arc<MySqlConfig>,
    server: ServerFacts,
    /// First part of every event id.
    identity: Arc<str>,
    /// What is kept from one window to the next; away while one is read, and lost where that is given up.
    kept: Mutex<Option<Kept>>,
}

/// A connection, and what is known on it.
struct Kept {
    connection: Conn,
    tables: HashMap<String, KnownTable>,
}

/// A table as it was at its last window.
struct KnownTable {
    /// The statement that would make it.
    statement: String,
    table: Arc<CapturedTable>,
}

// === impl MySqlWindows ===

impl MySqlWindows {
    /// Nothing is connected yet.
    pub(crate) fn new(config: Arc<MySqlConfig>, server: ServerFacts, identity: Arc<str>) -> Self {
        Self {
            config,
            server,
            identity,
            kept: Mutex::new(None),
        }
    }

    /// Opens a read view in which everything that was handed out is visible. Gives its place in the log, where the view tells that.
    async fn open_view(&self, kept: &mut Kept, request: &WindowRequest) -> Result<Option<FileOffset>> {
        let handed_out = BinlogPosition::from_position(&request.handed_out.position)?;
        if self.server.flavour() == Flavour::MariaDb {
            return self
                .view_at_or_behind(&mut kept.connection, &handed_out, request)
                .await
                .map(Some);
        }
        match self.executed(&handed_out, &request.handed_out) {
            Some(executed) => {
                self.wait_for(&mut kept.connection, &executed, request).await?;
                begin(&mut kept.connection).await?;
            }
            None => {
                let (schema, table) = place_of(&request.table)?;
                let name = qualified(&schema, &table);
                let lock = consistent_point::lock_table(&self.config, &self.server, &name).await?;
                begin(&mut kept.connection).await?;
                consistent_point::unlock(lock).await?;
            }
        }
        Ok(None)
    }

    /// MariaDB: views are opened until one contains what was handed out.
    async fn view_at_or_behind(
        &self,
        connection: &mut Conn,
        handed_out: &BinlogPosition,
        request: &WindowRequest,
    ) -> Result<FileOffset> {
        let is_partly = request.handed_out.partial.is_some();
        let begun_at = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            begin(connection).await?;
            let place = snapshot_place(connection).await?;
            // What follows a place between two transactions is contained as a whole, or not at all.
            let contains = if is_partly {
                place > handed_out.at
            } else {
                place >= handed_out.at
            };
            if contains {
                return Ok(place);
            }
            execute(connection, "ROLLBACK", "give a read view up").await?;
            if begun_at.elapsed() > PATIENCE {
                return Err(invisible(request, &handed_out.at.to_string()));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// The identifiers of everything that was handed out, where the server's word about them is a word about rows.
    fn executed(&self, handed_out: &BinlogPosition, progress: &Progress) -> Option<String> {
        if self.server.gtids.is_none() || !self.server.identity.names_what_it_shows() {
            return None;
        }
        let executed = handed_out.gtids.as_ref()?.to_string();
        let Some(partial) = &progress.partial else {
            return Some(executed);
        };
        // One that has no identifier is named by its place in the log.
        let partial = partial.transaction.as_str();
        partial.parse::<MySqlGtidSet>().ok()?;
        Some(if executed.is_empty() {
            partial.to_owned()
        } else {
            format!("{executed},{partial}")
        })
    }

    async fn wait_for(&self, connection: &mut Conn, executed: &str, request: &WindowRequest) -> Result<()> {
        let query = format!(
            "SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {})",
            literal(executed),
            PATIENCE.as_secs()
        );
        let rows = texts(connection, &query, "wait until what is in the log is visible").await?;
        match rows.first().and_then(|row| row.text(0)) {
            Some("0") => Ok(()),
            _ => Err(invisible(request, executed)),
        }
    }

    /// The table as it is, within the transaction that holds it.
    async fn describe(&self, kept: &mut Kept, name: &str) -> Result<Arc<CapturedTable>> {
        let (schema, table) = place_of(name)?;
        let quoted = qualified(&schema, &table);
        let held = kept
            .connection
            .query_drop(format!("SELECT 1 FROM {quoted} LIMIT 0"))
            .await;
        held.map_err(|error| table_error(&error, name))?;
        let doing = format!("look at {name}");
        let rows = texts(&mut kept.connection, &format!("SHOW CREATE TABLE {quoted}"), &doing).await?;
        let statement = rows
            .first()
            .and_then(|row| row.text(1))
            .map(without_counter)
            .unwrap_or_default();
        if let Some(known) = kept.tables.get(name).filter(|known| known.statement == statement) {
            return Ok(Arc::clone(&known.table));
        }
        kept.tables.clear();
        let discovery = discover::survey(&mut kept.connection, &self.config, self.server.flavour()).await?;
        if let Some(column) = discovery.unreadable.iter().find(|column| column.table == name) {
            let message = format!(
                "the column {} of {name} cannot be read: {}",
                column.column, column.error
            );
            return Err(Error::definite(column.code(), message));
        }
        let found = discovery
            .tables
            .into_iter()
            .find(|table| table.schema.name.qualified() == name);
        let table = Arc::new(found.ok_or_else(|| gone(name))?);
        if let Some(refusal) = refusal(&table) {
            return Err(refusal);
        }
        let known = KnownTable {
            statement,
            table: Arc::clone(&table),
        };
        kept.tables.insert(name.to_owned(), known);
        Ok(table)
    }

    async fn read_with(&self, kept: &mut Kept, request: &WindowRequest) -> Result<Window> {
        let place = self.open_view(kept, request).await?;
        let table = self.describe(kept, &request.table).await?;
        let condition = match &request.condition {
            None => None,
            Some(name) => Some(self.condition(name)?),
        };
        let reading = Reading::new(&table, request, condition, &self.config.type_policy())?;
        let rows = reading.read(&mut kept.connection).await?;
        execute(&mut kept.connection, "COMMIT", "end the reading of rows").await?;
        let high = match place {
            Some(place) => place,
            None => {
                consistent_point::current_position(&mut kept.connection, &self.server)
                    .await?
                    .at
            }
        };
        Ok(Window {
            schema: Arc::clone(&table.schema),
            high: BinlogPosition::at(high.clone()).to_position(),
            next: rows.next.clone(),
            batch: rows.into_batch((&self.identity, now_us()), &high, request),
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
impl WindowReader for MySqlWindows {
    async fn tables(&self) -> Result<WindowTables> {
        let mut connection = connect::connect(&self.config, Purpose::Catalog).await?;
        let discovery = discover::survey(&mut connection, &self.config, self.server.flavour()).await?;
        let tables = discovery.tables.into_iter().map(|table| WindowTable {
            name: table.schema.name.clone(),
            rows_estimated: table.rows_estimated,
            refusal: refusal(&table),
        });
        Ok(WindowTables {
            tables: tables.collect(),
            conditions: tables_of_conditions(&self.config.snapshot.conditions, None),
        })
    }

    async fn read(&self, request: WindowRequest) -> Result<Window> {
        let kept = self.kept.lock().await.take();
        let mut kept = match kept {
            Some(kept) => kept,
            None => Kept {
                connection: connect::connect(&self.config, Purpose::Window).await?,
                tables: HashMap::new(),
            },
        };
        let window = self.read_with(&mut kept, &request).await?;
        *self.kept.lock().await = Some(kept);
        Ok(window)
    }

    fn has_passed(&self, position: &Position, high: &Position) -> Result<bool> {
        let (position, high) = (
            BinlogPosition::from_position(position)?,
            BinlogPosition::from_position(high)?,
        );
        let compared = position.at.partial_cmp(&high.at).ok_or_else(|| {
            Error::transient(
                "snapshot_log_moved",
                "the files of the log have other names than when rows were read; reading starts over",
            )
        })?;
        Ok(compared.is_ge())
    }

    fn rest(&self) {
        // Who holds it is reading, and what it reads is given up.
        if let Ok(mut kept) = self.kept.try_lock() {
            *kept = None;
        }
    }
}

/// Schema and table of a qualified name. A schema whose own name holds a dot is not found.
fn place_of(name: &str) -> Result<(String, String)> {
    let (schema, table) = name.split_once('.').ok_or_else(|| gone(name))?;
    Ok((schema.to_owned(), table.to_owned()))
}

async fn begin(connection: &mut Conn) -> Result<()> {
    let statement = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    execute(connection, statement, "open a read view").await
}

/// Without the number that the next row gets, which changes with each.
fn without_counter(statement: &str) -> String {
    const COUNTER: &str = " AUTO_INCREMENT=";
    match statement.rsplit_once(COUNTER) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|character: char| character.is_ascii_digit());
            format!("{before}{rest}")
        }
        None => statement.to_owned(),
    }
}

/// Why rows of a table cannot be put between its changes.
fn refusal(table: &CapturedTable) -> Option<Error> {
    let name = table.schema.name.qualified();
    if !table.transactional {
        let message = format!(
            "the engine of {name} has no transactions, so rows cannot be read as of a place in the log; ALTER TABLE {name} ENGINE = InnoDB"
        );
        return Some(Error::definite("snapshot_engine", message));
    }
    let nullable = table.schema.key_columns().any(|column| column.nullable);
    if table.schema.key.is_empty() || nullable {
        let message = format!(
            "{name} has no key that its rows are found and told apart by; ALTER TABLE {name} ADD PRIMARY KEY (…)"
        );
        return Some(Error::definite("snapshot_key", message));
    }
    if RangeKey::of(&table.definition).is_none() {
        let message = format!(
            "the key of {name} has a column whose values cannot be written so that they mean exactly the same (an approximate number, an enumeration, a set, bits); \
             rows of it cannot be found by their keys. `tailrace forget` of the connector reads the table with all others"
        );
        return Some(Error::definite("snapshot_key", message));
    }
    None
}

pub(super) fn table_error(error: &mysql_async::Error, table: &str) -> Error {
    match server_error_number(error) {
        Some(NO_SUCH_TABLE) => gone(table),
        Some(TABLE_CHANGED) => Error::transient(
            "snapshot_table_changed",
            format!("{table} was altered while rows of it were read; they are read again"),
        ),
        _ => query_error(error, &format!("read {table}")),
    }
}

fn gone(table: &str) -> Error {
    let message = format!(
        "{table} is not there any more, or is not captured any more; ask again for the table that has taken its place, if there is one"
    );
    Error::definite("snapshot_table_gone", message)
}

fn invisible(request: &WindowRequest, what: &str) -> Error {
    let message = format!(
        "a transaction up to {what} is in the log, and its rows are not visible yet; rows of {} wait for it. A commit may wait for a replica",
        request.table
    );
    Error::transient("snapshot_invisible", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_no_part_of_the_definition() {
        let statement = |counter: &str| {
            format!(
                "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=7'\n) ENGINE=InnoDB{counter} DEFAULT CHARSET=utf8mb4"
            )
        };
        assert_eq!(without_counter(&statement(" AUTO_INCREMENT=1234")), statement(""));
        assert_eq!(
            without_counter("CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB"),
            "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB"
        );
    }
}
