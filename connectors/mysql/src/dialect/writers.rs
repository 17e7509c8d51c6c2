//! Who may still insert rows with lower ids than those that are visible: transactions that hold the lock of a writer on the table.
//!
//! A transaction takes the lock when its statement opens the table, before the statement asks for an id, whatever
//! `innodb_autoinc_lock_mode` is: also ids that are set aside in blocks for an `INSERT … SELECT` are given out by that statement alone. It
//! gives the lock back after its rows are visible. So who is not among the holders has no id below one that was seen before.
//!
//! The lock is named by the thread and the event in which it was taken. Where statements are not instrumented the event is always the
//! same, and a connection that is never idle looks like one endless transaction: that is waited for too long, never too short. A
//! transaction that is prepared may go on under another name, or without any lock, and is waited for until `XA RECOVER` no longer has it.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tokio::time::Instant;

use crate::connect::{Texts, texts};
use crate::dialect::facts::{Facts, INSTRUMENT};
use crate::error::query_error;
use crate::quote::literal;
use crate::server::{Flavour, texts_where_allowed};

const DOING: &str = "look for open transactions that write to a table";

/// Of other sessions, and not of the server itself. Transactions that were prepared before a restart have no session.
const OPEN_TRANSACTIONS: &str = "SELECT trx_mysql_thread_id, trx_started FROM information_schema.innodb_trx \
     WHERE trx_mysql_thread_id NOT IN (0, CONNECTION_ID())";

/// Threads of the server itself, and sessions that wait for their next statement: an open transaction of theirs is seen as such.
const NO_STATEMENT: [&str; 5] = ["Sleep", "Daemon", "Binlog Dump", "Binlog Dump GTID", "Connect"];

/// The server shows transactions as they were when nobody had asked for a tenth of a second: who asks more often sees no end of them.
const TRANSACTIONS_INTERVAL: Duration = Duration::from_millis(250);

/// Transactions that were open before the first look, and may hold locks that were taken before locks were instrumented.
#[derive(Debug, Default)]
pub(super) struct Elders {
    open: BTreeSet<String>,
    looked_at: Option<Instant>,
}

/// The sessions that hold the lock of a writer.
pub(super) async fn sessions(connection: &mut Conn, facts: &Facts, table: &TableName) -> Result<BTreeSet<String>> {
    let lower = facts.server.lower_case_table_names == 2;
    let name = |name: &str| literal(&if lower { name.to_lowercase() } else { name.to_owned() });
    let status = match facts.server.flavour() {
        Flavour::MySql => "performance_schema.global_status",
        Flavour::MariaDb => "information_schema.GLOBAL_STATUS",
    };
    let query = format!(
        "SELECT 'lock', CAST(OWNER_THREAD_ID AS CHAR), CAST(OWNER_EVENT_ID AS CHAR) FROM performance_schema.metadata_locks \
         WHERE OBJECT_TYPE = 'TABLE' AND OBJECT_SCHEMA = {} AND OBJECT_NAME = {} AND LOCK_STATUS = 'GRANTED' \
         AND LOCK_TYPE IN ('SHARED_WRITE', 'SHARED_WRITE_LOW_PRIO', 'SHARED_NO_READ_WRITE', 'EXCLUSIVE') \
         UNION ALL SELECT 'enabled', ENABLED, NULL FROM performance_schema.setup_instruments WHERE NAME = '{INSTRUMENT}' \
         UNION ALL SELECT 'lost', VARIABLE_VALUE, NULL FROM {status} \
         WHERE VARIABLE_NAME IN ('Performance_schema_metadata_lock_lost', 'Performance_schema_thread_instances_lost')",
        name(&table.schema),
        name(&table.table)
    );
    holders(&texts(connection, &query, DOING).await?)
}

/// Who is named, where nothing can be missing.
fn holders(rows: &[Texts]) -> Result<BTreeSet<String>> {
    let of = |kind: &'static str| rows.iter().filter(move |row| row.text(0) == Some(kind));
    let is_enabled = of("enabled").any(|row| row.text(1) == Some("YES"));
    let is_lost = of("lost").any(|row| row.text(1) != Some("0"));
    if !is_enabled || is_lost {
        let what = if is_lost {
            "the server had no room for all of them (Performance_schema_metadata_lock_lost, Performance_schema_thread_instances_lost): raise \
             performance_schema_max_metadata_locks and performance_schema_max_thread_instances, and restart it"
        } else {
            "they are not instrumented any more: UPDATE performance_schema.setup_instruments SET ENABLED = 'YES' WHERE NAME = \
             'wait/lock/metadata/sql/mdl'"
        };
        return Err(Error::definite(
            "writers_unseen",
            format!("locks of tables cannot be seen in full, and rows that commit late could be skipped: {what}"),
        ));
    }
    let name = |row: &Texts| Some(format!("thread {}, event {}", row.text(1)?, row.text(2)?));
    Ok(of("lock").filter_map(name).collect())
}

/// Transactions that wait for the second phase, of all tables.
pub(super) async fn prepared(connection: &mut Conn) -> Result<BTreeSet<String>> {
    let rows: Vec<Row> = connection
        .query("XA RECOVER")
        .await
        .map_err(|error| query_error(&error, DOING))?;
    Ok(rows.into_iter().map(xid).collect())
}

/// Format, lengths and bytes of an XA transaction's name.
fn xid(row: Row) -> String {
    let part = |value: Value| match value {
        Value::Bytes(bytes) if bytes.iter().all(|byte| byte.is_ascii_graphic()) => {
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Value::Bytes(bytes) => crate::quote::binary(&bytes),
        other => other.as_sql(true),
    };
    let parts: Vec<String> = row.unwrap().into_iter().map(part).collect();
    format!("xa {}", parts.join(":"))
}

/// How long the longest statement runs, of those that our user may see.
pub(super) async fn longest_statement_s(connection: &mut Conn) -> Result<i64> {
    const COLUMNS: [usize; 3] = [0, 4, 5];
    let own = connection.id().to_string();
    let rows = texts(connection, "SHOW PROCESSLIST", "look for long statements").await?;
    let [id, command, time] = COLUMNS;
    let running = rows.iter().filter(|row| {
        let is_statement = row
            .text(command)
            .is_some_and(|command| !NO_STATEMENT.contains(&command));
        is_statement && row.text(id) != Some(&own)
    });
    let seconds = running.filter_map(|row| row.text(time)?.parse::<f64>().ok());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds of a statement; MariaDB prints fractions"
    )]
    Ok(seconds.fold(0.0, f64::max) as i64)
}

// === impl Elders ===

impl Elders {
    /// Those that are open now, of whatever table; none where our user may not see them.
    pub(super) async fn now(connection: &mut Conn) -> Result<Self> {
        let rows = texts_where_allowed(connection, OPEN_TRANSACTIONS).await?;
        Ok(Self {
            open: rows.unwrap_or_default().iter().filter_map(elder).collect(),
            looked_at: Some(Instant::now()),
        })
    }

    /// Those that are still open.
    pub(super) async fn still_open(&mut self, connection: &mut Conn) -> Result<BTreeSet<String>> {
        let is_due = self.looked_at.is_none_or(|at| at.elapsed() >= TRANSACTIONS_INTERVAL);
        if !self.open.is_empty() && is_due {
            let rows = texts(connection, OPEN_TRANSACTIONS, DOING).await?;
            let open: BTreeSet<String> = rows.iter().filter_map(elder).collect();
            self.open.retain(|elder| open.contains(elder));
            self.looked_at = Some(Instant::now());
        }
        Ok(self.open.clone())
    }
}

fn elder(row: &Texts) -> Option<String> {
    Some(format!("connection {} since {}", row.text(0)?, row.text(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_named_where_somebody_may_be_missing() {
        let enabled = Texts::of(&["enabled", "YES"]);
        let none_lost = Texts::of(&["lost", "0"]);
        let lock = Texts::of(&["lock", "42", "7"]);
        let told = |rows: &[Texts]| holders(rows).map_err(|error| error.code());
        assert_eq!(
            told(&[lock.clone(), enabled.clone(), none_lost.clone()]),
            Ok(BTreeSet::from(["thread 42, event 7".to_owned()]))
        );
        assert_eq!(told(&[lock.clone(), none_lost.clone()]), Err("writers_unseen"));
        assert_eq!(told(&[Texts::of(&["enabled", "NO"]), none_lost]), Err("writers_unseen"));
        assert_eq!(told(&[lock, enabled, Texts::of(&["lost", "3"])]), Err("writers_unseen"));
    }
}
