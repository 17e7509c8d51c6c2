//! What other sessions are doing, and what time it is: asked again and again, and never from a state that was fixed before.

use std::collections::BTreeSet;

use tailrace_sql::Writers;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

/// Transactions that may have inserted into a table, or into any partition of the table that it is a part of: an insert through the
/// root locks the partition only after its default was computed, and the root before.
///
/// A transaction is known by the number that it has in its session, which is never used again while the server runs. When it is
/// prepared it keeps that number; servers of before November 2021, and every server after a restart, call it `-1/<xid>` from then on.
const WRITERS: &str = "
SELECT DISTINCT l.virtualtransaction
FROM pg_catalog.pg_locks l
WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
  AND (l.relation = $1 OR l.relation IN (
        SELECT t.relid FROM pg_catalog.pg_partition_tree(coalesce(pg_catalog.pg_partition_root($1), $1)) AS t))";

/// The clock that timestamps of rows are taken from, on a primary.
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The same as far as a standby has all rows of the time; it may be promoted meanwhile.
///
/// A standby has all that was committed up to the last transaction that it replayed, by the primary's clock. While the primary is
/// idle that time stands still; but once everything is replayed that the primary had when it last wrote to the standby, there was
/// nothing else up to that moment. (Only roles with `pg_read_all_stats` see when that was; for others, rows of the last transactions
/// before a pause wait until the next one.) A standby that has replayed nothing yet has what was there at its checkpoint.
const NOW_ON_STANDBY: &str = "
SELECT (extract(epoch FROM CASE WHEN pg_is_in_recovery() THEN least(clock_timestamp(), coalesce(greatest(
    pg_last_xact_replay_timestamp(),
    (SELECT r.last_msg_send_time FROM pg_catalog.pg_stat_get_wal_receiver() r
     WHERE r.status = 'streaming' AND pg_last_wal_replay_lsn() >= r.latest_end_lsn)),
    (SELECT c.checkpoint_time FROM pg_catalog.pg_control_checkpoint() c)))
  ELSE clock_timestamp() END) * 1000000)::bigint";

/// All that could still commit a row: also those that have only read so far. Of a prepared transaction only the time of its
/// preparation is known. NULL where our role does not see other roles' transactions, or the server is a standby, whose own
/// transactions write nothing.
const LONGEST: &str = "
SELECT CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') AND NOT pg_is_in_recovery() THEN (extract(epoch FROM clock_timestamp() - least(
    (SELECT min(a.xact_start) FROM pg_catalog.pg_stat_activity a
     WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
       AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker', 'walsender')),
    (SELECT min(p.prepared) FROM pg_catalog.pg_prepared_xacts p WHERE p.database = current_database()),
    clock_timestamp())) * 1000000)::bigint END";

/// Transactions that are open and may have inserted into the table.
pub(super) async fn writers(client: &Client, oid: u32) -> Result<Writers, tokio_postgres::Error> {
    let rows = client.query_typed(WRITERS, &[(&oid, Type::OID)]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok(sorted(names))
}

fn sorted(names: Vec<String>) -> Writers {
    let is_prepared = |name: &String| name.starts_with("-1/");
    let (prepared, sessions): (BTreeSet<String>, BTreeSet<String>) = names.into_iter().partition(is_prepared);
    Writers { sessions, prepared }
}

/// Asks for the time up to which all committed rows can be seen. A primary does not become a standby without a restart.
pub(crate) async fn prepare_now(client: &Client, in_recovery: bool) -> Result<Statement, tokio_postgres::Error> {
    client.prepare(if in_recovery { NOW_ON_STANDBY } else { NOW }).await
}

/// Microseconds since 1970 up to which all committed rows can be seen.
pub(crate) async fn now_us(client: &Client, prepared: &Statement) -> Result<i64, tokio_postgres::Error> {
    client.query_one(prepared, &[]).await?.try_get(0)
}

/// Age of the oldest open transaction, microseconds.
pub(crate) async fn longest_transaction_us(client: &Client) -> Result<Option<i64>, tokio_postgres::Error> {
    client.query_typed_one(LONGEST, &[]).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_transactions_are_told_apart() {
        let writers = sorted(vec!["3/17".to_owned(), "-1/745".to_owned(), "4/2".to_owned()]);
        assert_eq!(writers.sessions.len(), 2);
        assert_eq!(writers.prepared.into_iter().collect::<Vec<_>>(), ["-1/745"]);
    }
}
