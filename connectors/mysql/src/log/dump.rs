//! The binary log as the server sends it to a replica: one event after the other, whole and checked.
//!
//! Both dialects can be asked to begin at a byte of a file. By transaction identifiers MySQL is told what is there already and sends the
//! rest; MariaDB is told the last one of each domain, in variables of the session.
//!
//! Back-pressure is that nobody calls [`BinlogDump::next`]: then nothing is read, and the server waits to write, for which the session
//! has an hour. A server that has nothing to say sends heartbeats; when it says nothing at all for three of these intervals while somebody waits,
//! it is taken for dead.
//!
//! Invariants: events arrive in order, and none is skipped: whatever cannot be read is an error. The checksum of each event is compared
//! before anything else of it is believed, and bodies are handed on without it, as pieces of the read buffer.

pub(crate) mod check;
pub(crate) mod packets;
mod request;
mod session;
mod transport;

use std::time::Duration;

use mysql_async::{Error, Opts, ServerError};

use crate::decode::{DecodeError, RawEvent};
use check::EventCheck;
use session::Session;

/// How long connecting and logging in may take before it is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// So many heartbeats that did not come mean that the connection is dead.
const SILENT_HEARTBEATS: u32 = 3;
/// A busy server's pause, however often it is to speak, is not its death.
const SHORTEST_SILENCE: Duration = Duration::from_secs(10);
/// How long the server waits for us to read: an hour of back-pressure costs no reconnect.
const WRITE_TIMEOUT_S: u64 = 3_600;
/// `ER_ACCESS_DENIED_ERROR`.
const ACCESS_DENIED: u16 = 1045;

/// As whom the log is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replica {
    /// The number that no other reader of this log has.
    pub(crate) server_id: u32,
    /// How often an idle server shall say that it is there.
    pub(crate) heartbeat: Duration,
}

/// Where a dump begins. Always between two transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DumpStart {
    /// At an offset of a file; 4 is its beginning.
    File {
        /// Name as in `SHOW BINARY LOGS`.
        file: String,
        /// Bytes from its beginning.
        offset: u64,
    },
    /// Behind what was executed, `uuid:1-5,…` (MySQL).
    MySqlGtids(String),
    /// Behind the last transaction of each domain, `0-1-5,…` (MariaDB).
    MariaDbGtids(String),
}

/// Why a dump could not begin or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    /// The server or the way to it: its own number and text, or the client library's error.
    #[error(transparent)]
    Client(#[from] Error),
    /// The user is known, and may not read the log.
    #[error("the user may not read the log ({}): GRANT REPLICATION SLAVE ON *.* to it", .0.message)]
    NotAllowed(ServerError),
    /// Nothing was heard although heartbeats were asked for, or no connection came about in time.
    #[error("the server has not said anything for {} s", .0.as_secs())]
    Silent(Duration),
    /// The server ended the dump without an error: it is being shut down.
    #[error("the server ended the dump of its log")]
    Ended,
    /// An event is not what the server made it.
    #[error("the event of type {event_type} that ends at {log_position} does not have the checksum that it came with")]
    Checksum {
        /// Number of its type.
        event_type: u8,
        /// Where it ends in its file.
        log_position: u32,
    },
    /// An event that cannot be one.
    #[error("the server sent what is no event: {0}")]
    Protocol(#[from] DecodeError),
    /// A set of transactions that is none.
    #[error("`{0}` is no set of executed transactions")]
    NoGtidSet(String),
    /// The protocol has 32 bits for it.
    #[error(
        "the offset {0} in a file of the log is beyond the 4 GiB at which a dump can begin; it can only begin by GTID"
    )]
    OffsetTooLarge(u64),
}

/// A dump that has begun.
pub(crate) struct BinlogDump {
    session: Session,
    check: EventCheck,
    replica: Replica,
}

// === impl BinlogDump ===

impl BinlogDump {
    /// Connects with `options` and asks for the log as `replica`.
    pub(crate) async fn start(options: &Opts, start: &DumpStart, replica: Replica) -> Result<Self, DumpError> {
        let beginning = tokio::time::timeout(CONNECT_TIMEOUT, Self::begin(options, start, replica));
        beginning.await.map_err(|_| DumpError::Silent(CONNECT_TIMEOUT))?
    }

    async fn begin(options: &Opts, start: &DumpStart, replica: Replica) -> Result<Self, DumpError> {
        let command = start.command(replica.server_id)?;
        let mut session = Session::open(options).await?;
        for statement in start.settings(replica.heartbeat) {
            session.execute(&statement).await?;
        }
        session.command(&request::register(replica.server_id)).await?;
        session.read().await.map_err(refused_registration)?;
        session.command(&command).await?;
        Ok(Self {
            session,
            check: EventCheck::default(),
            replica,
        })
    }

    /// As whom it was asked for.
    pub(crate) fn replica(&self) -> Replica {
        self.replica
    }

    /// The next event; waits for it. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<RawEvent, DumpError> {
        loop {
            if let Some(packet) = self.session.read_now()? {
                return self.check.event(&packet);
            }
            let silence = (self.replica.heartbeat * SILENT_HEARTBEATS).max(SHORTEST_SILENCE);
            let received = tokio::time::timeout(silence, self.session.receive()).await;
            received.map_err(|_| DumpError::Silent(silence))??;
        }
    }
}

/// Who may not read the log is refused with the number of a wrong password, although the password was right.
fn refused_registration(error: Error) -> DumpError {
    match error {
        Error::Server(error) if error.code == ACCESS_DENIED => DumpError::NotAllowed(error),
        error => DumpError::Client(error),
    }
}

// === impl DumpStart ===

impl DumpStart {
    /// Statements ahead of the dump. Each dialect ignores the other's variables, and all old names are still read by new servers.
    fn settings(&self, heartbeat: Duration) -> Vec<String> {
        let heartbeat_ns = heartbeat.as_nanos();
        let mut settings = vec![
            format!("SET SESSION net_write_timeout = {WRITE_TIMEOUT_S}"),
            "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum"
                .to_owned(),
            format!("SET @master_heartbeat_period = {heartbeat_ns}, @source_heartbeat_period = {heartbeat_ns}"),
            // Knows everything that MariaDB 10 writes.
            "SET @mariadb_slave_capability = 4".to_owned(),
        ];
        if let Self::MariaDbGtids(gtids) = self {
            settings.push(format!("SET @slave_connect_state = '{gtids}'"));
            settings.push("SET @slave_gtid_strict_mode = 1".to_owned());
            settings.push("SET @slave_gtid_ignore_duplicates = 0".to_owned());
        }
        settings
    }

    fn command(&self, server_id: u32) -> Result<Vec<u8>, DumpError> {
        match self {
            Self::File { file, offset } => {
                let low = u32::try_from(*offset).map_err(|_| DumpError::OffsetTooLarge(*offset))?;
                Ok(request::dump_file(server_id, file, low))
            }
            Self::MySqlGtids(executed) => {
                let command = request::dump_missing(server_id, executed);
                command.ok_or_else(|| DumpError::NoGtidSet(executed.clone()))
            }
            Self::MariaDbGtids(last) => {
                let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b',');
                if !last.bytes().all(is_part) {
                    return Err(DumpError::NoGtidSet(last.clone()));
                }
                // Ignored where the session has a state, and the beginning of a file otherwise.
                Ok(request::dump_file(server_id, "", 4))
            }
        }
    }
}

#[cfg(test)]
mod tests;
