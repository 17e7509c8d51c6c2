//! Opening the store, and what concerns all connectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tailrace_core::dead_letter::{LetterState, LetterSummary, StoredLetter, Waiting};
use tailrace_core::ports::ConnectorStore;
use tailrace_core::position::Checkpoint;
use tailrace_core::registry::SchemaRules;
use tailrace_core::{Error, Result, failpoint};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::checksum::row;
use crate::connector::{self, Connector};
use crate::dead_letters;
use crate::error::{self, corrupt, from_database, from_file, from_opening};
use crate::file::{self, Home, StateLock, beside};
use crate::registry::EmbeddedRegistry;
use crate::{upgrade, verify};

/// Every version of the state's layout, oldest first.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a statement waits for another process that reads the state (a backup, the `sqlite3` shell). Longer than a
/// copy of a small file takes, shorter than a person waits.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Letters that are read before others may write, each with all of its row: a list of a thousand must not hold up checkpoints.
const LETTERS_PER_LEASE: usize = 16;

/// The state of one Tailrace, held under a lock. See the crate for what is promised.
#[derive(Debug, Clone)]
pub struct StateStore {
    inner: Arc<Inner>,
}

/// What a status tool wants to know of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorState {
    /// The connector's name.
    pub name: String,
    /// How often anything was opened before it was opened last; grows over all connectors.
    pub epoch: u64,
    /// How far it is; `None` before its first checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// When that was saved, milliseconds since 1970.
    pub saved_at_ms: Option<i64>,
}

/// Shared by the store and the connectors that were opened from it.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    home: Home,
    instance_id: String,
    /// `None` after the store was closed.
    held: Mutex<Option<Held>>,
    /// Where a borrowed copy lies.
    _folder: Option<TempDir>,
}

/// What is let go together. The connection is missing while somebody has it, and after it failed.
#[derive(Debug)]
struct Held {
    connection: Option<SqliteConnection>,
    _lock: StateLock,
}

/// The connection, for one piece of work. Whoever does not give it back, because of an error or because its future was
/// dropped, throws it away, and with it every open transaction: the next work begins on a new connection.
pub(crate) struct Lease<'a> {
    held: MutexGuard<'a, Option<Held>>,
    pub(crate) connection: SqliteConnection,
}

/// The one row of table `store`.
#[derive(Debug, Clone)]
pub(crate) struct StoreRow {
    pub(crate) instance_id: String,
    pub(crate) home: Home,
    pub(crate) epoch: i64,
}

/// What to do with a state that was copied here.
#[derive(Debug)]
pub(crate) enum Copied {
    Refuse,
    Adopt,
    /// To be read, in a folder that goes afterwards.
    Borrowed(TempDir),
}

// === impl StateStore ===

impl StateStore {
    /// Opens the state at a path and takes its lock; makes a new one where there is no file.
    ///
    /// # Errors
    /// Definite `state_locked`, `state_foreign`, `state_corrupt`, `state_newer`, `state_cloned`, `state_unwritable`;
    /// transient `state_unwritable` where the disk is full or failing.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Copied::Refuse).await
    }

    /// As [`StateStore::open`], for a state that a person has copied, restored or moved on purpose and that no other
    /// Tailrace uses. It gets an instance id of its own.
    ///
    /// # Errors
    /// As [`StateStore::open`], except `state_cloned`.
    pub async fn adopt(path: &Path) -> Result<Self> {
        Self::open_with(path, Copied::Adopt).await
    }

    pub(crate) async fn open_with(path: &Path, copied: Copied) -> Result<Self> {
        let path = file::settle(path)?;
        let lock = StateLock::take(&path)?;
        if !path.try_exists().map_err(|error| from_file(&path, error))? {
            create(&path).await?;
            if !matches!(copied, Copied::Borrowed(_)) {
                tracing::info!(state = %path.display(), "a new state was made");
            }
        }
        let home = Home::of(&path).map_err(|error| from_file(&path, error))?;
        let (mut connection, mut stored) = examine(&path, &home, &copied).await?;
        if matches!(copied, Copied::Adopt) && !stored.home.is(&home) {
            tracing::warn!(state = %path.display(), was = stored.instance_id, "a copied state was adopted");
            stored.instance_id = new_instance_id();
        }
        stored.home = home;
        // Written even when nothing changed: a state that cannot be written must be known now, not at the first save.
        write_store(&mut connection, &stored)
            .await
            .map_err(|error| from_opening(&path, error))?;
        let held = Held {
            connection: Some(connection),
            _lock: lock,
        };
        let inner = Inner {
            path,
            home,
            instance_id: stored.instance_id,
            held: Mutex::new(Some(held)),
            _folder: match copied {
                Copied::Borrowed(folder) => Some(folder),
                Copied::Refuse | Copied::Adopt => None,
            },
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The process that has the state at a path open, where one has; opens nothing.
    pub fn held_by(path: &Path) -> Option<u32> {
        file::holder(path)
    }

    /// Tells this state from every other: 32 hexadecimal digits, made at random when the file was.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    /// Where the state is, with links resolved.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The connection, for what the other files of this crate do.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>> {
        self.inner.lease().await
    }

    /// The part of the state that belongs to one connector. Whoever had the same connector before is fenced by this.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn connector(&self, name: &str) -> Result<Arc<dyn ConnectorStore>> {
        Ok(Arc::new(Connector::open(Arc::clone(&self.inner), name).await?))
    }

    /// The embedded registry of schemas, which takes in only what the rules allow.
    pub fn registry(&self, rules: Arc<dyn SchemaRules>) -> EmbeddedRegistry {
        EmbeddedRegistry::new(Arc::clone(&self.inner), rules)
    }

    /// All connectors that the state knows, by name, with how far each is.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn connectors(&self) -> Result<Vec<ConnectorState>> {
        let mut lease = self.inner.lease().await?;
        let states = connector::list(&self.inner.path, &mut lease.connection).await?;
        lease.give_back();
        Ok(states)
    }

    /// What a connector remembers of its source; whoever has it open is not fenced by this.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn source_memory(&self, connector: &str) -> Result<Option<serde_json::Value>> {
        let mut lease = self.inner.lease().await?;
        let memory = connector::memory(&self.inner.path, &mut lease.connection, connector).await?;
        lease.give_back();
        Ok(memory)
    }

    /// One connector, whatever may be wrong with the others; `None` where the state does not know it.
    ///
    /// # Errors
    /// As [`StateStore::connectors`].
    pub async fn connector_state(&self, name: &str) -> Result<Option<ConnectorState>> {
        let mut lease = self.inner.lease().await?;
        let state = connector::state_of(&self.inner.path, &mut lease.connection, name).await?;
        lease.give_back();
        Ok(state)
    }

    /// Dead letters of a connector behind a number, oldest first, at most so many, without what was set aside; with `all`, also
    /// those that were replayed or dropped lately.
    ///
    /// # Errors
    /// Definite `state_corrupt`, transient `state_unwritable`.
    pub async fn dead_letters(
        &self,
        connector: &str,
        (behind, limit, all): (u64, usize, bool),
    ) -> Result<Vec<StoredLetter>> {
        let (path, mut letters, mut behind) = (&self.inner.path, Vec::new(), behind);
        while letters.len() < limit {
            let wanted = (behind, (limit - letters.len()).min(LETTERS_PER_LEASE), all);
            let mut lease = self.inner.lease().await?;
            let rows = dead_letters::rows(path, &mut lease.connection, connector, wanted).await?;
            lease.give_back();
            let is_last = rows.len() < wanted.1;
            for row in &rows {
                let mut letter = dead_letters::read(path, connector, row)?;
                letter.letter.original = None;
                behind = letter.id;
                letters.push(letter);
            }
            if is_last {
                break;
            }
        }
        Ok(letters)
    }

    /// One dead letter of a connector.
    ///
    /// # Errors
    /// As [`StateStore::dead_letters`].
    pub async fn dead_letter(&self, connector: &str, id: u64) -> Result<Option<StoredLetter>> {
        let mut lease = self.inner.lease().await?;
        let row = dead_letters::row_of(&self.inner.path, &mut lease.connection, (connector, id)).await?;
        lease.give_back();
        row.map(|row| dead_letters::read(&self.inner.path, connector, &row))
            .transpose()
    }

    /// Everything of a connector that waits or was asked for.
    ///
    /// # Errors
    /// As [`StateStore::dead_letters`].
    pub async fn dead_letters_waiting(&self, connector: &str) -> Result<Vec<Waiting>> {
        let mut lease = self.inner.lease().await?;
        let rows = dead_letters::waiting_rows(&self.inner.path, &mut lease.connection, connector).await?;
        lease.give_back();
        dead_letters::read_waiting(&self.inner.path, rows)
    }

    /// What is told of a connector's dead letters.
    ///
    /// # Errors
    /// As [`StateStore::dead_letters`].
    pub async fn dead_letter_summary(&self, connector: &str) -> Result<LetterSummary> {
        let mut lease = self.inner.lease().await?;
        let summary = dead_letters::summary(&self.inner.path, &mut lease.connection, connector).await?;
        lease.give_back();
        Ok(summary)
    }

    /// Changes how an open dead letter stands, by a person's word; durable on return. Whoever calls it while a pipeline of
    /// the connector runs holds the connector's desk. The letter as it was; `None` where there is no open one.
    ///
    /// # Errors
    /// As [`StateStore::dead_letters`].
    pub async fn decide_dead_letter(
        &self,
        connector: &str,
        id: u64,
        state: LetterState,
    ) -> Result<Option<StoredLetter>> {
        let path = &self.inner.path;
        let failed = |error| from_database(path, error);
        let mut lease = self.inner.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(failed)?;
        let before = dead_letters::find(path, &mut transaction, (connector, id)).await?;
        let before = before.filter(|letter| letter.state.is_open());
        if let Some(letter) = &before {
            let mut letter = letter.clone();
            letter.state = state;
            dead_letters::write(path, &mut transaction, connector, &mut letter).await?;
            dead_letters::prune(path, &mut transaction, connector).await?;
        }
        transaction.commit().await.map_err(failed)?;
        lease.give_back();
        Ok(before)
    }

    /// Moves everything into the main file and lets it and the lock go. Connectors that are still open are fenced.
    ///
    /// # Errors
    /// Transient `state_unwritable`; nothing that was saved is lost by it.
    pub async fn close(&self) -> Result<()> {
        let Some(held) = self.inner.held.lock().await.take() else {
            return Ok(());
        };
        let Some(connection) = held.connection else {
            return Ok(());
        };
        // The lock must outlive the connection.
        connection
            .close()
            .await
            .map_err(|error| from_database(&self.inner.path, error))
    }
}

// === impl Inner ===

impl Inner {
    /// Waits for the connection, and makes sure that it still writes to the file under our name.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>> {
        let mut held = self.held.lock().await;
        let Some(open) = held.as_mut() else {
            let message = format!("the state {} was closed", self.path.display());
            return Err(Error::fenced(error::FENCED, message));
        };
        match Home::of(&self.path) {
            Ok(home) if home.is(&self.home) => {}
            _ => return Err(missing(&self.path)),
        }
        let connection = match open.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path)
                .await
                .map_err(|error| from_database(&self.path, error))?,
        };
        Ok(Lease { held, connection })
    }
}

// === impl Lease ===

impl Lease<'_> {
    /// Leaves the connection to the next; only after all went well.
    pub(crate) fn give_back(mut self) {
        if let Some(held) = self.held.as_mut() {
            held.connection = Some(self.connection);
        }
    }
}

/// Moves the write-ahead file into the main file.
pub(crate) async fn merge_log(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes a new state under another name and gives it its own when it is whole, so that whatever lies under the name
/// is never a half-made one.
async fn create(path: &Path) -> Result<()> {
    for suffix in ["-wal", "-journal"] {
        if beside(path, suffix).exists() {
            return Err(corrupt(path, &format!("its {suffix} file is there without it")));
        }
    }
    let draft = beside(path, ".new");
    for leftover in [draft.clone(), beside(&draft, "-wal"), beside(&draft, "-shm")] {
        match std::fs::remove_file(&leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(from_file(path, error)),
            _ => {}
        }
    }
    file::create_private(&draft).map_err(|error| from_file(path, error))?;
    fill(&draft).await?;
    failpoint!(StateDraft);
    let moved = file::sync_with_folder(&draft).and_then(|()| std::fs::rename(&draft, path));
    let moved = moved.and_then(|()| file::sync_with_folder(path));
    moved.map_err(|error| from_file(path, error))
}

async fn fill(draft: &Path) -> Result<()> {
    let home = Home::of(draft).map_err(|error| from_file(draft, error))?;
    let stored = StoreRow {
        instance_id: new_instance_id(),
        home,
        epoch: 0,
    };
    let mut connection = connect(draft).await.map_err(|error| from_opening(draft, error))?;
    upgrade::migrate(draft, &mut connection).await?;
    let written = async {
        write_store(&mut connection, &stored).await?;
        merge_log(&mut connection).await?;
        connection.close().await
    };
    written.await.map_err(|error| from_opening(draft, error))
}

/// Opens a state that exists and believes nothing of it. Changes nothing but the layout of an older state; of one that was copied here
/// and is refused, nothing at all.
pub(crate) async fn examine(path: &Path, home: &Home, copied: &Copied) -> Result<(SqliteConnection, StoreRow)> {
    let (mut connection, layout) = open_verified(path).await?;
    // This table has been the same in every layout.
    let is_copy = !verify::store(path, &mut connection).await?.home.is(home);
    match copied {
        Copied::Refuse if is_copy => return Err(cloned(path)),
        Copied::Refuse | Copied::Adopt => upgrade::upgrade(path, &mut connection, layout).await?,
        // Nobody goes back to it.
        Copied::Borrowed(_) => {
            upgrade::migrate(path, &mut connection).await?;
        }
    }
    let stored = verify::rows(path, &mut connection).await?;
    Ok((connection, stored))
}

/// A whole state in a layout that is known, which is returned.
async fn open_verified(path: &Path) -> Result<(SqliteConnection, i64)> {
    file::check_header(path)?;
    let mut connection = connect(path).await.map_err(|error| from_opening(path, error))?;
    let layout = verify::version(path, &mut connection).await?;
    verify::integrity(path, &mut connection).await?;
    verify::layout(path, &mut connection, layout).await?;
    Ok((connection, layout))
}

pub(crate) async fn connect(path: &Path) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // The log is synced at each commit: a checkpoint is durable when `save` returns.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        // Hardening against a mangled file. Source: <https://www.sqlite.org/security.html>.
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .disable_statement_logging();
    options.connect().await
}

pub(crate) async fn write_store(connection: &mut SqliteConnection, stored: &StoreRow) -> sqlx::Result<()> {
    let StoreRow {
        instance_id,
        home,
        epoch,
    } = stored;
    let checksum = row::store(instance_id, home.inode, home.created_us, *epoch);
    let statement = "INSERT INTO store (id, instance_id, home_inode, home_created_us, epoch, checksum) \
        VALUES (1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET \
        instance_id = ?1, home_inode = ?2, home_created_us = ?3, epoch = ?4, checksum = ?5";
    let query = sqlx::query(statement)
        .bind(instance_id)
        .bind(home.inode)
        .bind(home.created_us);
    query.bind(epoch).bind(checksum).execute(connection).await?;
    Ok(())
}

fn new_instance_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The state was copied to where it is.
pub(crate) fn cloned(path: &Path) -> Error {
    let message = format!(
        "the state {} is a copy or was restored from one: two Tailraces on one state would each miss what the other \
         takes; if no other uses it and its positions are right, start once with --adopt-state",
        path.display()
    );
    Error::definite(error::CLONED, message)
}

fn missing(path: &Path) -> Error {
    let message = format!(
        "the state {} was deleted or replaced while Tailrace ran: what is written now would be lost; put it back under \
         its name, or restart",
        path.display()
    );
    Error::definite(error::MISSING, message)
}
