//! What people ask for over HTTP: connectors that are not in the file, and connectors that are not to run.

use sqlx::{Connection as _, SqliteConnection};
use tailrace_core::Result;

use crate::checksum::row;
use crate::error::{corrupt, from_database};
use crate::store::StateStore;

/// A connector that was created over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedConnector {
    /// Its name.
    pub name: String,
    /// JSON object: what the file would have under its name, with its passwords.
    pub config: String,
}

/// What is wanted of a connector that is not to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing is read; connections stay open.
    Paused,
    /// Nothing is open.
    Stopped,
}

/// A connector that is not to run, and by whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The connector's name.
    pub connector: String,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// Who asked for it.
    pub by: String,
    /// When, microseconds since 1970.
    pub at_us: i64,
}

/// A row of `wanted_states`: connector, wanted, by, at, checksum.
type WishRow = (String, String, String, i64, i64);

// === impl Wanted ===

impl Wanted {
    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Paused, Self::Stopped]
            .into_iter()
            .find(|wanted| wanted.name() == name)
    }
}

// === impl StateStore ===

impl StateStore {
    /// Every connector that was created over HTTP, by name.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn created_connectors(&self) -> Result<Vec<CreatedConnector>> {
        let mut lease = self.lease().await?;
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT name, config FROM created_connectors ORDER BY name")
            .fetch_all(&mut lease.connection)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        let created = |(name, config)| CreatedConnector { name, config };
        Ok(rows.into_iter().map(created).collect())
    }

    /// Keeps a connector that was created over HTTP, in place of the one of its name. Durable on return.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn keep_created(&self, created: &CreatedConnector) -> Result<()> {
        let statement = "INSERT INTO created_connectors (name, config, checksum) VALUES (?1, ?2, ?3) \
            ON CONFLICT (name) DO UPDATE SET config = ?2, checksum = ?3";
        let mut lease = self.lease().await?;
        sqlx::query(statement)
            .bind(&created.name)
            .bind(&created.config)
            .bind(row::created(&created.name, &created.config))
            .execute(&mut lease.connection)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        Ok(())
    }

    /// Gives up a connector that was created over HTTP, and what is wanted of it; how far it is stays known. Durable on return.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn remove_created(&self, name: &str) -> Result<()> {
        let failed = |error| from_database(self.path(), error);
        let mut lease = self.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(failed)?;
        for statement in [
            "DELETE FROM created_connectors WHERE name = ?1",
            "DELETE FROM wanted_states WHERE connector = ?1",
        ] {
            let query = sqlx::query(statement).bind(name);
            query.execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        lease.give_back();
        Ok(())
    }

    /// Every connector that is not to run.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn wishes(&self) -> Result<Vec<Wish>> {
        let statement = "SELECT connector, wanted, wanted_by, wanted_at_us, checksum FROM wanted_states";
        let mut lease = self.lease().await?;
        let rows: Vec<WishRow> = sqlx::query_as(statement)
            .fetch_all(&mut lease.connection)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        let read = |(connector, wanted, by, at_us, _): WishRow| {
            let wanted = Wanted::from_name(&wanted).ok_or_else(|| {
                corrupt(
                    self.path(),
                    &format!("connector {connector} is wanted `{wanted}`, which is not known"),
                )
            })?;
            Ok(Wish {
                connector,
                wanted,
                by,
                at_us,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Keeps what is wanted of a connector. Durable on return.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn keep_wish(&self, wish: &Wish) -> Result<()> {
        let statement = "INSERT INTO wanted_states (connector, wanted, wanted_by, wanted_at_us, checksum) \
            VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (connector) DO UPDATE SET \
            wanted = ?2, wanted_by = ?3, wanted_at_us = ?4, checksum = ?5";
        let wanted = wish.wanted.name();
        let mut lease = self.lease().await?;
        sqlx::query(statement)
            .bind(&wish.connector)
            .bind(wanted)
            .bind(&wish.by)
            .bind(wish.at_us)
            .bind(row::wish(&wish.connector, wanted, &wish.by, wish.at_us))
            .execute(&mut lease.connection)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        Ok(())
    }

    /// A connector is to run. Durable on return.
    ///
    /// # Errors
    /// Transient `state_unwritable`.
    pub async fn forget_wish(&self, connector: &str) -> Result<()> {
        let mut lease = self.lease().await?;
        sqlx::query("DELETE FROM wanted_states WHERE connector = ?1")
            .bind(connector)
            .execute(&mut lease.connection)
            .await
            .map_err(|error| from_database(self.path(), error))?;
        lease.give_back();
        Ok(())
    }
}

/// Whether every row is what was written.
pub(crate) async fn is_intact(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let rows = sqlx::query_as("SELECT name, config, checksum FROM created_connectors");
    let created: Vec<(String, String, i64)> = rows.fetch_all(&mut *connection).await?;
    let rows = sqlx::query_as("SELECT connector, wanted, wanted_by, wanted_at_us, checksum FROM wanted_states");
    let wishes: Vec<WishRow> = rows.fetch_all(connection).await?;
    let created_are = created
        .iter()
        .all(|(name, config, checksum)| *checksum == row::created(name, config));
    let wishes_are = wishes
        .iter()
        .all(|(connector, wanted, by, at_us, checksum)| *checksum == row::wish(connector, wanted, by, *at_us));
    Ok(created_are && wishes_are)
}
