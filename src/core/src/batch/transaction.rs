//! Transactions of a source, as far as its changes need them.

use std::sync::Arc;

/// The source's transaction that changes belong to. A poll or a snapshot range counts as one.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The database's number for it, where it has one.
    pub id: Option<u64>,
    /// When it committed; for a snapshot, when the snapshot was taken; for a poll, when it ran. Microseconds since 1970, UTC.
    pub committed_at_us: i64,
    /// Text of its commit position, for the `position` header and `event_id`.
    pub position: Arc<str>,
    /// Commit position as a number in the log, where the log has numbers.
    pub log_position: Option<u64>,
    /// Log position of the commit before it, for Debezium's `sequence`.
    pub previous_log_position: Option<u64>,
    /// What only a binary log has.
    pub binlog: Option<BinlogTransaction>,
}

/// Where a transaction stands in MySQL's or MariaDB's binary log, for Debezium's `source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogTransaction {
    /// The file; no transaction is spread over two.
    pub file: Arc<str>,
    /// The server that it was first committed on.
    pub server_id: u32,
    /// The connection that committed it there, where the log says.
    pub thread_id: Option<u32>,
    /// Its global identifier, where the server gives such.
    pub gtid: Option<Arc<str>>,
}
