//! What a connector begins with that has nothing to go on from: nothing, or a place where another program stopped.

use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use tailrace_core::Result;
use tailrace_core::position::Progress;

use crate::connector::{FIRST_SLOT, Head, to_json, write_checkpoint, write_head, write_memory};
use crate::error::from_database;
use crate::journal::{self, NewEntry};
use crate::store::{StateStore, merge_log, write_store};
use crate::verify;

/// Where a connector is to begin.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// How far it is.
    pub progress: &'a Progress,
    /// What its source remembers.
    pub memory: &'a Value,
    /// What is written down of it.
    pub entry: &'a NewEntry,
}

// === impl StateStore ===

impl StateStore {
    /// Removes everything that is known of a connector, for an operator who wants it to start from nothing; whoever
    /// still has it open is fenced. Says whether there was such a connector.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn forget(&self, name: &str) -> Result<bool> {
        let failed = |error| from_database(self.path(), error);
        let mut lease = self.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(failed)?;
        let forgotten = remove(&mut transaction, name).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        merge_log(&mut lease.connection).await.map_err(failed)?;
        lease.give_back();
        Ok(forgotten)
    }

    /// Has a connector begin there, in place of everything that is known of it. All of it is durable on return, and after an error or a crash
    /// everything is as it was: a connector without its checkpoint would begin with a snapshot, and one without its memory not at all.
    /// Whoever still has it open is fenced.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn begin(&self, name: &str, at: Beginning<'_>) -> Result<()> {
        let (progress, memory) = (to_json(at.progress)?, to_json(at.memory)?);
        let failed = |error| from_database(self.path(), error);
        let mut lease = self.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(failed)?;
        let mut stored = verify::store(self.path(), &mut transaction).await?;
        stored.epoch += 1;
        let head = Head {
            epoch: stored.epoch,
            newest_slot: FIRST_SLOT,
            newest_sequence: 1,
        };
        let written = async {
            remove(&mut transaction, name).await?;
            write_store(&mut transaction, &stored).await?;
            write_head(&mut transaction, name, head).await?;
            write_memory(&mut transaction, name, &memory).await?;
            write_checkpoint(&mut transaction, name, (FIRST_SLOT, head.newest_sequence, &progress)).await?;
            journal::insert(&mut transaction, at.entry).await?;
            transaction.commit().await
        };
        written.await.map_err(failed)?;
        merge_log(&mut lease.connection).await.map_err(failed)?;
        lease.give_back();
        Ok(())
    }
}

/// Removes every row of a connector; says whether there was such a connector.
async fn remove(connection: &mut SqliteConnection, name: &str) -> sqlx::Result<bool> {
    for statement in [
        "DELETE FROM checkpoints WHERE connector = ?1",
        "DELETE FROM schema_history WHERE connector = ?1",
        "DELETE FROM announced_schemas WHERE connector = ?1",
        "DELETE FROM source_memory WHERE connector = ?1",
        "DELETE FROM dead_letters WHERE connector = ?1",
        "DELETE FROM carried_until WHERE connector = ?1",
    ] {
        sqlx::query(statement).bind(name).execute(&mut *connection).await?;
    }
    let removed = sqlx::query("DELETE FROM connectors WHERE name = ?1")
        .bind(name)
        .execute(connection)
        .await?;
    Ok(removed.rows_affected() > 0)
}
