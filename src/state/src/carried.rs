//! Until when connectors were carried: what the time that one was away is counted from. Rows that are damaged count for nothing: no position
//! depends on them.

use sqlx::Connection as _;
use tailrace_core::Result;

use crate::checksum::row;
use crate::connector::{now_ms, state_of};
use crate::error::from_database;
use crate::store::StateStore;

/// The last moment at which a connector is known to have been carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarriedUntil {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Its end was seen. Otherwise its process was killed, and it may have been carried a little longer.
    pub is_exact: bool,
}

// === impl StateStore ===

impl StateStore {
    /// These connectors are being carried.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn are_carried(&self, connectors: &[String]) -> Result<()> {
        self.write_carried(connectors, false).await
    }

    /// A connector was carried until now, and ends.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn ends(&self, connector: &str) -> Result<()> {
        self.write_carried(&[connector.to_owned()], true).await
    }

    async fn write_carried(&self, connectors: &[String], ended: bool) -> Result<()> {
        let failed = |error| from_database(self.path(), error);
        let at_ms = now_ms();
        let mut lease = self.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(failed)?;
        for connector in connectors {
            let statement = "INSERT INTO carried_until (connector, at_ms, ended, checksum) VALUES (?1, ?2, ?3, ?4) \
                ON CONFLICT (connector) DO UPDATE SET at_ms = ?2, ended = ?3, checksum = ?4";
            let query = sqlx::query(statement)
                .bind(connector)
                .bind(at_ms)
                .bind(i64::from(ended));
            let checksum = row::carried(connector, at_ms, i64::from(ended));
            query.bind(checksum).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        lease.give_back();
        Ok(())
    }

    /// Until when a connector was carried, by what was taken down or, where its end was not seen, by a newer checkpoint; `None` where it
    /// never was. A checkpoint behind an end that was seen, or where nothing was taken down, was set by a person.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn carried_until(&self, connector: &str) -> Result<Option<CarriedUntil>> {
        let mut lease = self.lease().await?;
        let row = sqlx::query_as("SELECT at_ms, ended, checksum FROM carried_until WHERE connector = ?1")
            .bind(connector)
            .fetch_optional(&mut lease.connection)
            .await;
        let row: Option<(i64, i64, i64)> = row.map_err(|error| from_database(self.path(), error))?;
        let known = state_of(self.path(), &mut lease.connection, connector).await?;
        lease.give_back();
        let intact = row.filter(|(at_ms, ended, checksum)| *checksum == row::carried(connector, *at_ms, *ended));
        let taken_down = intact.map(|(at_ms, ended, _)| CarriedUntil {
            at_ms,
            is_exact: ended == 1,
        });
        let saved_at_ms = known.and_then(|known| known.saved_at_ms);
        Ok(taken_down.map(|taken_down| match saved_at_ms {
            Some(at_ms) if !taken_down.is_exact && at_ms > taken_down.at_ms => CarriedUntil { at_ms, is_exact: false },
            _ => taken_down,
        }))
    }
}
