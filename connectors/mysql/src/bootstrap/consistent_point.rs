//! Connections that all see the same rows, and the position in the log that these rows stand at.
//!
//! A transaction is in the log a moment before the engine shows its rows. So a position that is read beside a read view may name a transaction that the
//! view does not have, and that would be lost: the ways here all rule this out, from the least to the most intrusive.
//!
//! | way | needs | what it holds up |
//! |---|---|---|
//! | MariaDB's `binlog_snapshot_position` belongs to the very read view; several views that tell the same position are the same | MariaDB, a moment without commits where there are several connections | nothing |
//! | `LOCK TABLES … READ` of the captured tables on a connection of its own: got when no transaction that wrote to them is open any more | LOCK TABLES | writers of these tables, for as long as views are opened |
//! | `FLUSH TABLES WITH READ LOCK` | RELOAD | all writers, as long |
//! | MariaDB's first way, with one connection | MariaDB | nothing |
//! | `gtid_executed` is the same before and after: the server adds an identifier after the engine's commit, so that nothing named is missing | MySQL from 5.7 on, GTIDs | nothing; a row may be read and come again in the log |
//!
//! MySQL 5.6 is different in two of them. Its `LOCK TABLES … READ` waits for statements and not for transactions: one that has done
//! its last statement commits under the lock, and between position and views. There the engine's own table locks are taken too, which
//! wait for the transactions; they are only taken, and kept, without `autocommit`. And it adds an identifier to `gtid_executed` when the
//! transaction is written to the log, which is before the engine's commit.
//!
//! Why not lock on the connection that reads: `START TRANSACTION` releases table locks, and the view would be opened after.
//!
//! Why not `REPEATABLE READ` alone: its view is opened by the first SELECT, whenever that comes.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tailrace_core::position::Position;
use tailrace_core::{Error, Result};

use crate::config::MySqlConfig;
use crate::connect::{self, Purpose, execute, texts};
use crate::discover::CapturedTable;
use crate::error::{is_denied, query_error, server_error_number};
use crate::position::gtid::GtidSet;
use crate::position::{BinlogPosition, FileOffset};
use crate::quote::{literal, qualified};
use crate::server::{self, Flavour, Identity, ServerFacts};

/// How often views are opened anew where a commit came in between.
const ATTEMPTS: usize = 20;
/// ER_LOCK_WAIT_TIMEOUT.
const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// ER_LOCK_DEADLOCK: a transaction had one of the tables and wanted another.
const DEADLOCK: u16 = 1213;

/// Connections that see the same rows, and where these stand in the log.
pub(super) struct ConsistentPoint {
    pub(super) position: BinlogPosition,
    /// Changes up to here are left out of the log for tables that are read now.
    pub(super) contained_until: Position,
    pub(super) connections: Vec<Conn>,
    /// How it was reached, in words.
    pub(super) way: &'static str,
}

/// What is needed to open views.
pub(super) struct Views<'a> {
    pub(super) config: &'a MySqlConfig,
    pub(super) server: &'a ServerFacts,
    pub(super) tables: &'a [CapturedTable],
}

/// How writers are kept away while views are opened.
enum Held {
    Yes(Conn),
    Denied,
}

// === impl Views ===

impl Views<'_> {
    /// Opens as many views as are configured, all at one position; only one where that is all that the user's rights allow.
    pub(super) async fn open(&self) -> Result<ConsistentPoint> {
        let number = usize::from(self.config.snapshot.connections).max(1);
        let is_mariadb = self.server.flavour() == Flavour::MariaDb;
        if is_mariadb && let Some(point) = self.by_snapshot_position(number).await? {
            return Ok(point);
        }
        if let Held::Yes(lock) = self.lock(&self.lock_tables()).await? {
            return self
                .under(lock, number, "under a read lock of the captured tables")
                .await;
        }
        if let Held::Yes(lock) = self.lock("FLUSH TABLES WITH READ LOCK").await? {
            return self.under(lock, number, "under a read lock of all tables").await;
        }
        if is_mariadb {
            // Its log has a transaction before the engine shows its rows, and its identifiers say no more than that.
            return self.by_snapshot_position(1).await?.ok_or_else(unlockable);
        }
        self.by_executed_gtids(number).await
    }

    fn lock_tables(&self) -> String {
        let tables: Vec<String> = self
            .tables
            .iter()
            .map(|table| format!("{} READ", qualified(&table.definition.schema, &table.definition.table)))
            .collect();
        if tables.is_empty() {
            return "DO 0".to_owned();
        }
        format!("LOCK TABLES {}", tables.join(", "))
    }

    async fn connections(&self, number: usize) -> Result<Vec<Conn>> {
        let mut connections = Vec::with_capacity(number);
        for _ in 0..number {
            connections.push(connect::connect(self.config, Purpose::Snapshot).await?);
        }
        Ok(connections)
    }

    async fn begin_all(connections: &mut [Conn]) -> Result<()> {
        for connection in connections {
            execute(
                connection,
                "START TRANSACTION WITH CONSISTENT SNAPSHOT",
                "open the read view of the snapshot",
            )
            .await?;
        }
        Ok(())
    }

    async fn lock(&self, statement: &str) -> Result<Held> {
        lock(self.config, self.server, statement).await
    }

    /// Nobody commits to the captured tables, so position and views belong together.
    async fn under(&self, mut lock: Conn, number: usize, way: &'static str) -> Result<ConsistentPoint> {
        let mut connections = self.connections(number).await?;
        let position = current_position(&mut lock, self.server).await?;
        Self::begin_all(&mut connections).await?;
        unlock(lock).await?;
        Ok(ConsistentPoint {
            contained_until: position.to_position(),
            position,
            connections,
            way,
        })
    }

    /// Each view tells its own position; they are opened anew until all tell the same. `None` where that does not come.
    async fn by_snapshot_position(&self, number: usize) -> Result<Option<ConsistentPoint>> {
        let mut connections = self.connections(number).await?;
        for _ in 0..ATTEMPTS {
            Self::begin_all(&mut connections).await?;
            let mut positions = Vec::with_capacity(connections.len());
            for connection in &mut connections {
                positions.push(snapshot_position(connection).await?);
            }
            let same = positions.windows(2).all(|pair| pair.first() == pair.last());
            if let (true, Some(position)) = (same, positions.into_iter().next()) {
                return Ok(Some(ConsistentPoint {
                    contained_until: position.to_position(),
                    position,
                    connections,
                    way: "without a lock",
                }));
            }
        }
        Ok(None)
    }

    /// The last resort. What is committed between the engine's commit and its identifier's being added is read and comes again in the log.
    async fn by_executed_gtids(&self, number: usize) -> Result<ConsistentPoint> {
        if !self.server.identity.names_what_it_shows() {
            return Err(unlockable());
        }
        let mut connections = self.connections(number).await?;
        let mut asking = connect::connect(self.config, Purpose::Setup).await?;
        for _ in 0..ATTEMPTS {
            let before = current_position(&mut asking, self.server).await?;
            Self::begin_all(&mut connections).await?;
            let after = current_position(&mut asking, self.server).await?;
            if before.gtids.is_some() && before.gtids == after.gtids {
                close(asking).await;
                return Ok(ConsistentPoint {
                    contained_until: before.to_position(),
                    position: before,
                    connections,
                    way: "without a lock, between two commits",
                });
            }
            if before.gtids.is_none() {
                break;
            }
        }
        Err(unlockable())
    }
}

/// On a connection of its own. A lock that is not got in time is transient: somebody writes for longer than anybody should wait for.
async fn lock(config: &MySqlConfig, server: &ServerFacts, statement: &str) -> Result<Held> {
    let mut connection = connect::connect(config, Purpose::Setup).await?;
    let seconds = config.snapshot.lock_timeout_ms.div_ceil(1000);
    let settings = lock_settings(&server.identity, seconds);

    execute(
        &mut connection,
        &settings,
        "bound the wait for the lock of the snapshot",
    )
    .await?;
    let mut attempts = 1;
    loop {
        let Err(error) = connection.query_drop(statement).await else {
            return Ok(Held::Yes(connection));
        };
        match server_error_number(&error) {
            Some(number) if is_denied(number) => return Ok(Held::Denied),
            Some(DEADLOCK) if attempts < ATTEMPTS => attempts += 1,
            Some(LOCK_WAIT_TIMEOUT) => {
                let message = format!(
                    "the read lock under which the snapshot begins was not got within {seconds} s, because a transaction that wrote to a captured table is still open; \
                         it is tried again"
                );
                return Err(Error::transient("lock_timeout", message));
            }
            _ => {
                let doing = "lock the tables for the moment in which the snapshot begins";
                return Err(query_error(&error, doing));
            }
        }
    }
}

/// A lock of one table that is got when no transaction is open any more that has written to it.
///
/// # Errors
/// `lock_timeout` where it is not got in time; `snapshot_unlockable` where the user may not lock the table.
pub(crate) async fn lock_table(config: &MySqlConfig, server: &ServerFacts, table: &str) -> Result<Conn> {
    match lock(config, server, &format!("LOCK TABLES {table} READ")).await? {
        Held::Yes(connection) => Ok(connection),
        Held::Denied => Err(Error::definite(
            "snapshot_unlockable",
            format!(
                "rows of {table} can only be read again under a short read lock, because the server has no GTIDs that say what is visible, and the user may not \
                 lock it; GRANT LOCK TABLES ON its schema TO the user, or set gtid_mode = ON (MySQL 5.7 and later)"
            ),
        )),
    }
}

/// Lets writers go on.
pub(crate) async fn unlock(mut lock: Conn) -> Result<()> {
    execute(&mut lock, "UNLOCK TABLES", "release the lock of the snapshot").await?;
    close(lock).await;
    Ok(())
}

fn unlockable() -> Error {
    Error::transient(
        "snapshot_unlockable",
        "the snapshot cannot begin: the user may lock neither the captured tables nor all of them, and the server commits too often for it to begin between two \
         commits (or has no GTIDs, or is older than MySQL 5.7, where they do not help); GRANT LOCK TABLES ON the captured schemas (or RELOAD ON *.*) TO the user",
    )
}

/// A lock that waits for transactions, and not for longer than this.
fn lock_settings(identity: &Identity, seconds: u64) -> String {
    let mut settings = format!("SET SESSION lock_wait_timeout = {seconds}");
    if !identity.locks_out_transactions() {
        settings.push_str(", autocommit = 0, innodb_table_locks = 1");
        settings.push_str(&format!(", innodb_lock_wait_timeout = {}", seconds.max(1)));
    }
    settings
}

async fn close(connection: Conn) {
    // It has done its work; the server notices anyway.
    drop(connection.disconnect().await);
}

/// The end of the log, and what is executed up to it: one statement, so that both belong together.
pub(crate) async fn current_position(connection: &mut Conn, server: &ServerFacts) -> Result<BinlogPosition> {
    let status = server::log_status(connection, &server.identity)
        .await?
        .ok_or_else(no_log)?;
    let file = status.text(0).filter(|file| !file.is_empty()).ok_or_else(no_log)?;
    let offset = status
        .text(1)
        .and_then(|offset| offset.parse().ok())
        .ok_or_else(no_log)?;
    let mut position = BinlogPosition::at(FileOffset::new(file, offset));
    position.gtids = match (&server.gtids, server.flavour()) {
        (None, _) => None,
        (Some(_), Flavour::MySql) => {
            let executed = status.text(4).unwrap_or_default();
            Some(GtidSet::MySql(executed.parse().map_err(server::invalid_gtids)?))
        }
        (Some(_), Flavour::MariaDb) => Some(gtids_at(connection, &position.at).await?),
    };
    Ok(position)
}

/// Where the read view of this connection stands in the log (MariaDB), and what is executed there.
async fn snapshot_position(connection: &mut Conn) -> Result<BinlogPosition> {
    let mut position = BinlogPosition::at(snapshot_place(connection).await?);
    position.gtids = Some(gtids_at(connection, &position.at).await?);
    Ok(position)
}

/// Where the read view of this connection stands in the log (MariaDB).
pub(crate) async fn snapshot_place(connection: &mut Conn) -> Result<FileOffset> {
    let rows = texts(
        connection,
        "SHOW STATUS LIKE 'binlog_snapshot_%'",
        "ask where the read view stands in the log",
    )
    .await?;
    let value = |name: &str| {
        let found = rows
            .iter()
            .find(|row| row.text(0).is_some_and(|known| known.eq_ignore_ascii_case(name)));
        found.and_then(|row| row.text(1)).ok_or_else(no_log)
    };
    let offset = value("binlog_snapshot_position")?.parse().map_err(|_| no_log())?;
    Ok(FileOffset::new(value("binlog_snapshot_file")?, offset))
}

/// What was executed before a place in the log (MariaDB).
async fn gtids_at(connection: &mut Conn, at: &FileOffset) -> Result<GtidSet> {
    let query = format!("SELECT BINLOG_GTID_POS({}, {})", literal(&at.file), at.offset);
    let rows = texts(connection, &query, "ask for the GTIDs at a place of the log").await?;
    let gtids = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
    gtids.parse().map(GtidSet::MariaDb).map_err(server::invalid_gtids)
}

/// Rows of a prepared XA transaction are in the log before the consistent point and in no read view: its commit would not find them.
pub(super) async fn refuse_prepared(connection: &mut Conn) -> Result<()> {
    let prepared: std::result::Result<Vec<Row>, _> = connection.query("XA RECOVER").await;
    match prepared {
        Ok(rows) if rows.is_empty() => Ok(()),
        Ok(rows) => Err(Error::transient(
            "prepared_transactions",
            format!(
                "{} XA transactions are prepared and not decided (XA RECOVER lists them); the snapshot begins when they are committed or rolled back",
                rows.len()
            ),
        )),
        // Who may not see them has no business with them; a commit of one is noticed in the log.
        Err(error) if server_error_number(&error).is_some_and(is_unseen) => Ok(()),
        Err(error) => Err(query_error(&error, "ask for prepared XA transactions")),
    }
}

/// MySQL from 8.0 on says to who lacks `XA_RECOVER_ADMIN` that something is wrong with the transactions (`ER_XAER_RMERR`).
fn is_unseen(number: u16) -> bool {
    const XA_RESOURCE_ERROR: u16 = 1401;
    is_denied(number) || number == XA_RESOURCE_ERROR
}

fn no_log() -> Error {
    Error::definite(
        "log_bin",
        "the server does not say where its binary log ends: it keeps none, or the user lacks REPLICATION CLIENT (BINLOG MONITOR)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_waits_for_transactions_on_every_server() {
        let settings = |version: &str| lock_settings(&Identity::parse(version).unwrap(), 2);
        for version in ["5.7.9", "9.7.4", "10.5.0-MariaDB"] {
            assert_eq!(settings(version), "SET SESSION lock_wait_timeout = 2");
        }
        let old = settings("5.6.24-log");
        assert!(
            old.contains("autocommit = 0, innodb_table_locks = 1, innodb_lock_wait_timeout = 2"),
            "{old}"
        );
    }
}
