//! A state for whoever only looks: nothing is made, nothing is brought to another layout, and whoever has it is not held up.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tailrace_core::{Error, Result};

use crate::connector;
use crate::error::{from_file, from_opening};
use crate::file::{self, Home};
use crate::store::{BUSY_TIMEOUT, ConnectorState, Copied, StateStore, cloned};
use crate::upgrade::{Outdated, copy_into};
use crate::verify;

/// Opens a state that another process may have, to look at it.
pub(crate) async fn look_at(path: &Path) -> Result<SqliteConnection> {
    file::check_header(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    options.connect().await.map_err(|error| from_opening(path, error))
}

// === impl StateStore ===

impl StateStore {
    /// Whether a start would find the state where it was left, if there is one. Changes nothing and takes no lock.
    ///
    /// # Errors
    /// Definite `state_cloned`, `state_foreign`, `state_corrupt`.
    pub async fn verify_home(path: &Path) -> Result<()> {
        if !path.try_exists().map_err(|error| from_file(path, error))? {
            return Ok(());
        }
        let home = Home::of(path).map_err(|error| from_file(path, error))?;
        let mut connection = look_at(path).await?;
        let stored = verify::store(path, &mut connection).await;
        connection.close().await.map_err(|error| from_opening(path, error))?;
        match stored?.home.is(&home) {
            true => Ok(()),
            false => Err(cloned(path)),
        }
    }

    /// How far one connector is and what it remembers of its source. Changes nothing and takes no lock: another process may have the state
    /// open, and may have saved more by the time of the answer.
    ///
    /// # Errors
    /// Definite `state_outdated` where it is of an earlier layout; else as [`StateStore::open`], but for `state_locked` and `state_cloned`.
    pub async fn saved_of(path: &Path, connector: &str) -> Result<(Option<ConnectorState>, Option<serde_json::Value>)> {
        if let Some(Outdated { layout, .. }) = Self::outdated(path).await? {
            let message = format!(
                "the state {} is of an earlier release, in layout {layout}, until the next start",
                path.display()
            );
            return Err(Error::definite("state_outdated", message));
        }
        let mut connection = look_at(path).await?;
        let failed = |error| from_opening(path, error);
        // As of one moment.
        let mut looking = connection.begin().await.map_err(failed)?;
        let state = connector::state_of(path, &mut looking, connector).await?;
        let memory = connector::memory(path, &mut looking, connector).await?;
        looking.rollback().await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok((state, memory))
    }

    /// A state for whoever only looks, by whom nothing is made and nothing is brought to another layout: the state itself, under its lock; a copy
    /// where its layout is an earlier one; an empty one, which goes with the last that has it, where there is none yet.
    ///
    /// # Errors
    /// As [`StateStore::open`].
    pub async fn looked_at(path: &Path) -> Result<Self> {
        if Self::outdated(path).await?.is_some() {
            return Self::copied(path).await;
        }
        if path.try_exists().map_err(|error| from_file(path, error))? {
            return Self::open(path).await;
        }
        let folder = tempfile::tempdir().map_err(|error| from_file(path, error))?;
        Self::open_with(&folder.path().join("state.db"), Copied::Borrowed(folder)).await
    }

    /// A copy of a state in the layout of this release, for whoever only reads it; it goes with the last that has it. Changes nothing of
    /// the state itself and takes no lock.
    ///
    /// # Errors
    /// As [`StateStore::open`], but for `state_locked` and `state_cloned`.
    pub async fn copied(path: &Path) -> Result<Self> {
        // For nobody but the user, as the copy itself.
        let folder = tempfile::tempdir().map_err(|error| from_file(path, error))?;
        let copy = folder.path().join("state.db");
        let mut connection = look_at(path).await?;
        verify::version(path, &mut connection).await?;
        copy_into(path, &mut connection, &copy).await?;
        connection.close().await.map_err(|error| from_opening(path, error))?;
        Self::open_with(&copy, Copied::Borrowed(folder)).await
    }
}
