//! What the server is and how it is set up.

use tailrace_core::{Error, Result};
use tokio_postgres::Client;

use crate::error::query_error;

/// The oldest version whose catalogue and protocol are understood: 13.
pub(crate) const OLDEST_VERSION: u32 = 130_000;

/// Publications can leave generated columns out or in from this version on; before, they are never in the log.
pub(crate) const GENERATED_COLUMNS_MAJOR: u32 = 18;

/// What the server is and how it is set up, as our role sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct ServerFacts {
    /// `server_version_num`: 150018 for 15.18.
    pub(crate) version: u32,
    /// `server_version`.
    pub(crate) version_text: String,
    /// Made by initdb, the same on every standby and backup.
    pub(crate) system_identifier: String,
    /// Grows by one with each promotion; `None` on a standby.
    pub(crate) timeline: Option<u32>,
    /// It is a standby.
    pub(crate) in_recovery: bool,
    /// Database.
    pub(crate) database: String,
    /// The database's object id: a database dropped and made again has another.
    pub(crate) database_oid: u32,
    /// Encoding of the database.
    pub(crate) encoding: String,
    /// Our role.
    pub(crate) role: String,
    /// Our role is superuser.
    pub(crate) superuser: bool,
    /// Our role may replicate.
    pub(crate) replication: bool,
    /// Our role may create publications in the database.
    pub(crate) create: bool,
    /// `wal_level`.
    pub(crate) wal_level: String,
    /// `max_replication_slots`.
    pub(crate) max_replication_slots: u32,
    /// Slots that exist.
    pub(crate) replication_slots: u32,
    /// `max_wal_senders`.
    pub(crate) max_wal_senders: u32,
    /// Senders that run, as far as our role sees them.
    pub(crate) wal_senders: u32,
    /// `max_slot_wal_keep_size` in MB; -1 for no limit.
    pub(crate) max_slot_wal_keep_size_mb: i64,
    /// Size of a page of a table, bytes.
    pub(crate) block_size: u32,
}

/// `rds_replication` is how Amazon RDS hands out the right to replicate. The timeline is the first part of a WAL file's name.
const FACTS: &str = "
SELECT pg_catalog.json_build_object(
  'version', current_setting('server_version_num')::int,
  'version_text', current_setting('server_version'),
  'system_identifier', (SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() s),
  'timeline', CASE WHEN NOT pg_is_in_recovery()
                   THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END,
  'in_recovery', pg_is_in_recovery(),
  'database', d.datname,
  'database_oid', d.oid::bigint,
  'encoding', pg_encoding_to_char(d.encoding),
  'role', current_user,
  'superuser', r.rolsuper,
  'replication', r.rolsuper OR r.rolreplication OR EXISTS (
      SELECT FROM pg_catalog.pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(g.oid, 'MEMBER')),
  'create', has_database_privilege(d.oid, 'CREATE'),
  'wal_level', current_setting('wal_level'),
  'max_replication_slots', current_setting('max_replication_slots')::int,
  'replication_slots', (SELECT count(*) FROM pg_catalog.pg_replication_slots),
  'max_wal_senders', current_setting('max_wal_senders')::int,
  'wal_senders', (SELECT count(*) FROM pg_catalog.pg_stat_replication),
  'max_slot_wal_keep_size_mb', (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
  'block_size', current_setting('block_size')::int)::text
FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
WHERE d.datname = current_database() AND r.rolname = current_user";

/// Asks the server. Refuses versions before 13, whose catalogue lacks what the other queries ask for.
pub(crate) async fn server_facts(client: &Client) -> Result<ServerFacts> {
    let doing = "read the server's settings";
    let wrap = |error| query_error(&error, doing);
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version')",
            &[],
        )
        .await
        .map_err(wrap)?;
    let (version, text): (i32, String) = (row.try_get(0).map_err(wrap)?, row.try_get(1).map_err(wrap)?);
    if u32::try_from(version).unwrap_or_default() < OLDEST_VERSION {
        let message = format!("the server is PostgreSQL {text}; 13 is the oldest that can be captured");
        return Err(Error::definite("server_too_old", message));
    }
    let row = client.query_one(FACTS, &[]).await.map_err(wrap)?;
    let json: String = row.try_get(0).map_err(wrap)?;
    serde_json::from_str(&json).map_err(|error| {
        Error::definite(
            "source_query",
            "the server's settings are not as expected; it may not be PostgreSQL itself",
        )
        .with_source(error)
    })
}

// === impl ServerFacts ===

impl ServerFacts {
    /// Major version: 15 for 15.18.
    pub(crate) fn major(&self) -> u32 {
        self.version / 10_000
    }

    /// TID range scans came with 14; before, a range of pages means reading the whole table.
    pub(crate) fn scans_page_ranges(&self) -> bool {
        self.major() >= 14
    }
}
