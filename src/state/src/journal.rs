//! What changed when, and who asked. Rows that are damaged are left out and not refused: nothing is decided by them.

use serde::Serialize;
use sqlx::SqliteConnection;
use tailrace_core::Result;

use crate::checksum::row;
use crate::error::from_database;
use crate::store::StateStore;

/// Some months of a quiet daemon, and some days of one whose database comes and goes; a few megabytes.
const ENTRIES_KEPT: i64 = 10_000;

/// Something that is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Microseconds since 1970.
    pub at_us: i64,
    /// The connector; `None` where it concerns the whole process.
    pub connector: Option<String>,
    /// A person's name, or `tailrace`.
    pub who: String,
    /// A word of a fixed list.
    pub what: &'static str,
    /// A sentence.
    pub detail: String,
}

/// Something that was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Grows with each entry.
    pub id: i64,
    /// Microseconds since 1970.
    pub at_us: i64,
    /// The connector; `None` where it concerns the whole process.
    pub connector: Option<String>,
    /// A person's name, or `tailrace`.
    pub who: String,
    /// A word of a fixed list.
    pub what: String,
    /// A sentence.
    pub detail: String,
}

/// A row of `journal`: id, at, connector, who, what, detail, checksum.
type JournalRow = (i64, i64, Option<String>, String, String, String, i64);

/// Writes something down; the oldest entries are removed.
pub(crate) async fn insert(connection: &mut SqliteConnection, entry: &NewEntry) -> sqlx::Result<()> {
    let next: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM journal")
        .fetch_one(&mut *connection)
        .await?;
    let text = [&*entry.who, entry.what, &*entry.detail];
    let checksum = row::journal((next, entry.at_us), entry.connector.as_deref(), text);
    let statement =
        "INSERT INTO journal (id, at_us, connector, who, what, detail, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let query = sqlx::query(statement)
        .bind(next)
        .bind(entry.at_us)
        .bind(&entry.connector);
    let query = query
        .bind(&entry.who)
        .bind(entry.what)
        .bind(&entry.detail)
        .bind(checksum);
    query.execute(&mut *connection).await?;
    sqlx::query("DELETE FROM journal WHERE id <= ?1")
        .bind(next - ENTRIES_KEPT)
        .execute(connection)
        .await?;
    Ok(())
}

// === impl StateStore ===

impl StateStore {
    /// Writes something down; the oldest entries are removed.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn write_down(&self, entry: &NewEntry) -> Result<()> {
        let mut lease = self.lease().await?;
        insert(&mut lease.connection, entry)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        Ok(())
    }

    /// The newest entries behind one number and before another, at most so many, oldest first; of one connector or of all.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn journal(
        &self,
        (behind, before): (i64, i64),
        connector: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Entry>> {
        let statement = "SELECT id, at_us, connector, who, what, detail, checksum FROM journal \
            WHERE id > ?1 AND id < ?2 AND (?3 IS NULL OR connector = ?3) ORDER BY id DESC LIMIT ?4";
        let mut lease = self.lease().await?;
        let query = sqlx::query_as(statement).bind(behind).bind(before);
        let query = query.bind(connector).bind(limit);
        let rows: Vec<JournalRow> = query
            .fetch_all(&mut lease.connection)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        Ok(rows.into_iter().rev().filter_map(Entry::from_row).collect())
    }
}

// === impl Entry ===

impl Entry {
    fn from_row((id, at_us, connector, who, what, detail, checksum): JournalRow) -> Option<Self> {
        let is_intact = checksum == row::journal((id, at_us), connector.as_deref(), [&who, &what, &detail]);
        is_intact.then_some(Self {
            id,
            at_us,
            connector,
            who,
            what,
            detail,
        })
    }
}
