//! The part of the state that belongs to one connector, behind the ports of the core.
//!
//! A checkpoint lives in one of two slots, and `connectors` says which one is the newest and with which sequence; both
//! are written in one transaction, into the slot that is not the newest. So there is always a generation to fall back
//! to, and a checkpoint that is gone cannot be mistaken for one that never was.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection};
use tailrace_core::ports::{CheckpointStore, SchemaHistory, SchemaVersion, SourceMemory, Succession};
use tailrace_core::position::{Checkpoint, Position, Progress};
use tailrace_core::schema::TableSchema;
use tailrace_core::{Error, Result, failpoint};

use crate::checksum::row;
use crate::error::{self, corrupt, from_database};
use crate::store::{ConnectorState, Inner, merge_log, write_store};
use crate::verify;

/// The slot of a connector's first checkpoint.
pub(crate) const FIRST_SLOT: i64 = 1;

/// One opening of a connector; a later one fences it.
pub(crate) struct Connector {
    pub(crate) store: Arc<Inner>,
    pub(crate) name: String,
    epoch: i64,
}

/// A row of `connectors`, but for its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) epoch: i64,
    pub(crate) newest_slot: i64,
    pub(crate) newest_sequence: i64,
}

/// A row of `checkpoints` whose checksum was right.
#[derive(Debug, Clone)]
struct Saved {
    slot: i64,
    checkpoint: Checkpoint,
    saved_at_ms: i64,
}

/// A row of `checkpoints` as SQLite has it: slot, sequence, progress, time, checksum.
type SavedRow = (i64, i64, Vec<u8>, i64, i64);

/// What is left of the checkpoints of a connector.
#[derive(Debug)]
enum Left {
    /// There never was one.
    Nothing,
    /// The newest is whole.
    Newest(Saved),
    /// The newest is damaged, the one before it is whole.
    Previous(Saved),
    /// There was one, and none is whole.
    Damaged,
}

// === impl Connector ===

impl Connector {
    /// Opens a connector under the next epoch.
    pub(crate) async fn open(store: Arc<Inner>, name: &str) -> Result<Self> {
        let path = store.path.clone();
        let mut lease = store.lease().await?;
        let known = head(&path, &mut lease.connection, name).await?;
        let mut stored = verify::store(&path, &mut lease.connection).await?;
        stored.epoch += 1;
        let epoch = stored.epoch;
        let (newest_slot, newest_sequence) = known.map_or((0, 0), |head| (head.newest_slot, head.newest_sequence));
        let written = async {
            let mut transaction = lease.connection.begin().await?;
            write_store(&mut transaction, &stored).await?;
            write_head(
                &mut transaction,
                name,
                Head {
                    epoch,
                    newest_slot,
                    newest_sequence,
                },
            )
            .await?;
            transaction.commit().await?;
            merge_log(&mut lease.connection).await
        };
        written.await.map_err(|error| from_database(&path, error))?;
        lease.give_back();
        Ok(Self {
            store,
            name: name.to_owned(),
            epoch,
        })
    }

    /// The connector's own row, where nobody opened it later.
    pub(crate) async fn own_head(&self, connection: &mut SqliteConnection) -> Result<Head> {
        match head(&self.store.path, connection, &self.name).await? {
            Some(head) if head.epoch == self.epoch => Ok(head),
            found => {
                let by = if found.is_some() {
                    "was opened again"
                } else {
                    "was forgotten"
                };
                let message = format!(
                    "connector {} {by} in the state {} since this one opened it; whoever has it now carries on",
                    self.name,
                    self.store.path.display()
                );
                Err(Error::fenced(error::FENCED, message))
            }
        }
    }

    pub(crate) fn failed(&self, error: sqlx::Error) -> Error {
        from_database(&self.store.path, error)
    }

    fn must_follow(&self, checkpoint: &Checkpoint, head: &Head) -> Result<i64> {
        match i64::try_from(checkpoint.sequence) {
            Ok(sequence) if sequence > head.newest_sequence => Ok(sequence),
            _ => {
                let message = format!(
                    "connector {} wanted to save checkpoint {} over checkpoint {} in the state {}; this is a fault of \
                     Tailrace: restart it, and report it",
                    self.name,
                    checkpoint.sequence,
                    head.newest_sequence,
                    self.store.path.display()
                );
                Err(Error::definite(error::ORDER, message))
            }
        }
    }

    /// The versions of a table from this one on, as stored, oldest first.
    async fn versions_from(
        &self,
        connection: &mut SqliteConnection,
        table: &str,
        first: i64,
    ) -> Result<Vec<(i64, String)>> {
        let statement = "SELECT version, table_schema, position, checksum FROM schema_history \
            WHERE connector = ?1 AND table_name = ?2 AND version >= ?3 ORDER BY version";
        let read = sqlx::query_as(statement)
            .bind(&self.name)
            .bind(table)
            .bind(first)
            .fetch_all(connection)
            .await;
        let rows: Vec<(i64, String, String, i64)> = read.map_err(|error| self.failed(error))?;
        let checked = rows.into_iter().map(|(version, schema, position, checksum)| {
            if checksum == row::schema(&self.name, table, version, &schema, &position) {
                return Ok((version, schema));
            }
            Err(corrupt(
                &self.store.path,
                &format!("the stored schema of {table} has the wrong checksum"),
            ))
        });
        checked.collect()
    }

    async fn insert_version(
        &self,
        connection: &mut SqliteConnection,
        (table, version, schema, position): (&str, i64, &str, &str),
    ) -> Result<()> {
        let statement = "INSERT INTO schema_history \
            (connector, table_name, version, table_schema, position, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let inserted = sqlx::query(statement)
            .bind(&self.name)
            .bind(table)
            .bind(version)
            .bind(schema)
            .bind(position)
            .bind(row::schema(&self.name, table, version, schema, position))
            .execute(connection)
            .await;
        inserted.map(drop).map_err(|error| self.failed(error))
    }

    /// The stored versions between two, each with the one before it.
    fn between(&self, stored: &[(i64, String)], (first, last): (i64, i64)) -> Result<Vec<Succession>> {
        let read = |text: &str| from_json(&self.store.path, text.as_bytes());
        let mut between = Vec::new();
        for pair in stored.windows(2) {
            if let [(_, before), (number, after)] = pair
                && *number > first
                && *number < last
            {
                between.push(Succession {
                    number: u32::try_from(*number).unwrap_or(u32::MAX),
                    before: read(before)?,
                    after: read(after)?,
                });
            }
        }
        Ok(between)
    }

    /// The version of a table that was announced last. The first one is no change, and needs no telling.
    async fn announced_version(&self, connection: &mut SqliteConnection, table: &str) -> Result<i64> {
        let statement = "SELECT version, checksum FROM announced_schemas WHERE connector = ?1 AND table_name = ?2";
        let read = sqlx::query_as(statement)
            .bind(&self.name)
            .bind(table)
            .fetch_optional(connection)
            .await;
        let row: Option<(i64, i64)> = read.map_err(|error| self.failed(error))?;
        let Some((version, checksum)) = row else {
            return Ok(1);
        };
        if checksum == row::announced(&self.name, table, version) {
            return Ok(version);
        }
        let finding = format!("the announced version of {table} has the wrong checksum");
        Err(corrupt(&self.store.path, &finding))
    }
}

#[async_trait]
impl CheckpointStore for Connector {
    async fn load(&self) -> Result<Option<Checkpoint>> {
        let mut lease = self.store.lease().await?;
        let head = self.own_head(&mut lease.connection).await?;
        let rows = saved_rows(&mut lease.connection, &self.name)
            .await
            .map_err(|error| self.failed(error))?;
        let checkpoint = match what_is_left(&self.name, &head, rows) {
            Left::Nothing => None,
            Left::Newest(saved) => Some(saved.checkpoint),
            Left::Previous(saved) => {
                tracing::warn!(
                    connector = self.name,
                    damaged_sequence = head.newest_sequence,
                    sequence = saved.checkpoint.sequence,
                    "the newest checkpoint is damaged: going on from the one before it, some events come twice"
                );
                let newest_sequence = i64::try_from(saved.checkpoint.sequence).unwrap_or(0);
                let head = Head {
                    newest_slot: saved.slot,
                    newest_sequence,
                    ..head
                };
                let written = write_head(&mut lease.connection, &self.name, head).await;
                written.map_err(|error| self.failed(error))?;
                Some(saved.checkpoint)
            }
            Left::Damaged => {
                let finding = format!("both checkpoints of connector {} have the wrong checksum", self.name);
                return Err(corrupt(&self.store.path, &finding));
            }
        };
        lease.give_back();
        Ok(checkpoint)
    }

    async fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let progress = to_json(&checkpoint.progress)?;
        let mut lease = self.store.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(|error| self.failed(error))?;
        let head = self.own_head(&mut transaction).await?;
        let sequence = self.must_follow(checkpoint, &head)?;
        let first = head.newest_sequence == 0;
        let slot = 1 - head.newest_slot;
        let written = async {
            write_checkpoint(&mut transaction, &self.name, (slot, sequence, &progress)).await?;
            failpoint!(InCheckpointWrite);
            let head = Head {
                newest_slot: slot,
                newest_sequence: sequence,
                ..head
            };
            write_head(&mut transaction, &self.name, head).await?;
            transaction.commit().await
        };
        written.await.map_err(|error| self.failed(error))?;
        if first {
            merge_log(&mut lease.connection)
                .await
                .map_err(|error| self.failed(error))?;
        }
        lease.give_back();
        Ok(())
    }
}

#[async_trait]
impl SchemaHistory for Connector {
    async fn record(&self, schema: &TableSchema, position: &Position, seen: Option<u32>) -> Result<SchemaVersion> {
        let table = schema.name.qualified();
        let text = to_json(schema)?;
        let mut lease = self.store.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(|error| self.failed(error))?;
        self.own_head(&mut transaction).await?;
        let announced = self.announced_version(&mut transaction, &table).await?;
        let first = seen.map_or(announced, i64::from);
        // The one before the first is the version before, should it be the one.
        let stored = self.versions_from(&mut transaction, &table, first - 1).await?;
        let known = stored
            .iter()
            .position(|(version, known)| *version >= first && *known == text);
        let (version, before) = match known {
            Some(index) => {
                let before = index.checked_sub(1).and_then(|before| stored.get(before));
                (stored.get(index).map_or(1, |(version, _)| *version), before)
            }
            None => (stored.last().map_or(1, |(version, _)| version + 1), stored.last()),
        };
        if known.is_none() {
            let row = (table.as_str(), version, text.as_str(), position.as_str());
            self.insert_version(&mut transaction, row).await?;
        }
        transaction.commit().await.map_err(|error| self.failed(error))?;
        lease.give_back();
        let passed_over = match seen {
            Some(_) => Vec::new(),
            None => self.between(&stored, (announced, version))?,
        };
        Ok(SchemaVersion {
            passed_over,
            number: u32::try_from(version).unwrap_or(u32::MAX),
            previous: before
                .map(|(_, text)| from_json(&self.store.path, text.as_bytes()))
                .transpose()?,
            is_announced: version <= announced,
        })
    }

    async fn announced(&self, table: &str, version: u32) -> Result<()> {
        let mut lease = self.store.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(|error| self.failed(error))?;
        self.own_head(&mut transaction).await?;
        let statement = "INSERT INTO announced_schemas (connector, table_name, version, checksum) VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT (connector, table_name) DO UPDATE SET version = excluded.version, checksum = excluded.checksum";
        let version = i64::from(version);
        let written = sqlx::query(statement)
            .bind(&self.name)
            .bind(table)
            .bind(version)
            .bind(row::announced(&self.name, table, version))
            .execute(&mut *transaction)
            .await;
        written.map_err(|error| self.failed(error))?;
        transaction.commit().await.map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(())
    }

    async fn newest(&self, table: &str) -> Result<Option<TableSchema>> {
        let mut lease = self.store.lease().await?;
        self.own_head(&mut lease.connection).await?;
        let stored = self.versions_from(&mut lease.connection, table, 1).await?;
        lease.give_back();
        stored
            .last()
            .map(|(_, text)| from_json(&self.store.path, text.as_bytes()))
            .transpose()
    }
}

#[async_trait]
impl SourceMemory for Connector {
    async fn recall(&self) -> Result<Option<serde_json::Value>> {
        let mut lease = self.store.lease().await?;
        self.own_head(&mut lease.connection).await?;
        let memory = memory(&self.store.path, &mut lease.connection, &self.name).await?;
        lease.give_back();
        Ok(memory)
    }

    async fn remember(&self, memory: &serde_json::Value) -> Result<()> {
        let text = to_json(memory)?;
        let mut lease = self.store.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(|error| self.failed(error))?;
        self.own_head(&mut transaction).await?;
        let written = async {
            write_memory(&mut transaction, &self.name, &text).await?;
            transaction.commit().await
        };
        written.await.map_err(|error| self.failed(error))?;
        // A source that knows its server must not forget it while it remembers its checkpoint.
        merge_log(&mut lease.connection)
            .await
            .map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(())
    }
}

/// All connectors with what is left of their checkpoints; repairs nothing.
pub(crate) async fn list(path: &Path, connection: &mut SqliteConnection) -> Result<Vec<ConnectorState>> {
    let read = sqlx::query_scalar("SELECT name FROM connectors ORDER BY name")
        .fetch_all(&mut *connection)
        .await;
    let names: Vec<String> = read.map_err(|error| from_database(path, error))?;
    let mut states = Vec::with_capacity(names.len());
    for name in names {
        states.extend(state_of(path, connection, &name).await?);
    }
    Ok(states)
}

/// What a connector remembers of its source, whoever has it open.
pub(crate) async fn memory(
    path: &Path,
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<serde_json::Value>> {
    let query = sqlx::query_as("SELECT memory, checksum FROM source_memory WHERE connector = ?1").bind(name);
    let read = query.fetch_optional(connection).await;
    let row: Option<(String, i64)> = read.map_err(|error| from_database(path, error))?;
    match row {
        None => Ok(None),
        Some((text, checksum)) if checksum == row::memory(name, &text) => from_json(path, text.as_bytes()).map(Some),
        Some(_) => {
            let finding = format!("what connector {name} remembers of its source has the wrong checksum");
            Err(corrupt(path, &finding))
        }
    }
}

/// One connector with what is left of its checkpoints; repairs nothing.
pub(crate) async fn state_of(
    path: &Path,
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<ConnectorState>> {
    let Some(head) = head(path, connection, name).await? else {
        return Ok(None);
    };
    let rows = saved_rows(connection, name)
        .await
        .map_err(|error| from_database(path, error))?;
    let saved = match what_is_left(name, &head, rows) {
        Left::Nothing => None,
        Left::Newest(saved) | Left::Previous(saved) => Some(saved),
        Left::Damaged => {
            return Err(corrupt(
                path,
                &format!("both checkpoints of connector {name} have the wrong checksum"),
            ));
        }
    };
    Ok(Some(ConnectorState {
        name: name.to_owned(),
        epoch: u64::try_from(head.epoch).unwrap_or(0),
        saved_at_ms: saved.as_ref().map(|saved| saved.saved_at_ms),
        checkpoint: saved.map(|saved| saved.checkpoint),
    }))
}

async fn head(path: &Path, connection: &mut SqliteConnection, name: &str) -> Result<Option<Head>> {
    let statement = "SELECT epoch, newest_slot, newest_sequence, checksum FROM connectors WHERE name = ?1";
    let read = sqlx::query_as(statement).bind(name).fetch_optional(connection).await;
    let row: Option<(i64, i64, i64, i64)> = read.map_err(|error| from_database(path, error))?;
    let Some((epoch, newest_slot, newest_sequence, checksum)) = row else {
        return Ok(None);
    };
    if checksum != row::connector(name, epoch, newest_slot, newest_sequence) {
        return Err(corrupt(
            path,
            &format!("the row of connector {name} has the wrong checksum"),
        ));
    }
    Ok(Some(Head {
        epoch,
        newest_slot,
        newest_sequence,
    }))
}

pub(crate) async fn write_head(connection: &mut SqliteConnection, name: &str, head: Head) -> sqlx::Result<()> {
    let Head {
        epoch,
        newest_slot,
        newest_sequence,
    } = head;
    let statement = "INSERT INTO connectors (name, epoch, newest_slot, newest_sequence, checksum) \
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET \
        epoch = ?2, newest_slot = ?3, newest_sequence = ?4, checksum = ?5";
    let query = sqlx::query(statement)
        .bind(name)
        .bind(epoch)
        .bind(newest_slot)
        .bind(newest_sequence);
    let checksum = row::connector(name, epoch, newest_slot, newest_sequence);
    query.bind(checksum).execute(connection).await?;
    Ok(())
}

pub(crate) async fn write_memory(connection: &mut SqliteConnection, name: &str, memory: &str) -> sqlx::Result<()> {
    let statement = "INSERT INTO source_memory (connector, memory, checksum) VALUES (?1, ?2, ?3) \
        ON CONFLICT (connector) DO UPDATE SET memory = ?2, checksum = ?3";
    let insert = sqlx::query(statement).bind(name).bind(memory);
    insert.bind(row::memory(name, memory)).execute(connection).await?;
    Ok(())
}

pub(crate) async fn write_checkpoint(
    connection: &mut SqliteConnection,
    name: &str,
    (slot, sequence, progress): (i64, i64, &str),
) -> sqlx::Result<()> {
    let saved_at_ms = now_ms();
    let statement = "INSERT INTO checkpoints (connector, slot, sequence, progress, saved_at_ms, checksum) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (connector, slot) DO UPDATE SET \
        sequence = ?3, progress = ?4, saved_at_ms = ?5, checksum = ?6";
    let query = sqlx::query(statement)
        .bind(name)
        .bind(slot)
        .bind(sequence)
        .bind(progress);
    let checksum = row::checkpoint(name, slot, sequence, progress.as_bytes(), saved_at_ms);
    query.bind(saved_at_ms).bind(checksum).execute(connection).await?;
    Ok(())
}

async fn saved_rows(connection: &mut SqliteConnection, name: &str) -> sqlx::Result<Vec<SavedRow>> {
    // As bytes: damaged text may be no UTF-8, and must still reach the checksum.
    let statement = "SELECT slot, sequence, CAST(progress AS BLOB), saved_at_ms, checksum FROM checkpoints \
        WHERE connector = ?1";
    sqlx::query_as(statement).bind(name).fetch_all(connection).await
}

fn what_is_left(name: &str, head: &Head, rows: Vec<SavedRow>) -> Left {
    if head.newest_sequence == 0 {
        return Left::Nothing;
    }
    let mut whole: Vec<Saved> = rows.into_iter().filter_map(|row| read_saved(name, row)).collect();
    whole.sort_by_key(|saved| saved.checkpoint.sequence);
    match whole.pop() {
        Some(saved) if i64::try_from(saved.checkpoint.sequence) == Ok(head.newest_sequence) => Left::Newest(saved),
        Some(saved) if i64::try_from(saved.checkpoint.sequence).is_ok_and(|number| number < head.newest_sequence) => {
            Left::Previous(saved)
        }
        _ => Left::Damaged,
    }
}

/// `None` where the checksum does not match.
fn read_saved(name: &str, (slot, sequence, progress, saved_at_ms, checksum): SavedRow) -> Option<Saved> {
    if checksum != row::checkpoint(name, slot, sequence, &progress, saved_at_ms) {
        return None;
    }
    let progress: Progress = serde_json::from_slice(&progress).ok()?;
    let checkpoint = Checkpoint {
        sequence: u64::try_from(sequence).ok()?,
        progress,
    };
    Some(Saved {
        slot,
        checkpoint,
        saved_at_ms,
    })
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        let message = "what a connector wants to store has no JSON form; this is a fault of Tailrace: report it";
        Error::definite(error::CORRUPT, message).with_source(error)
    })
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T> {
    let read = serde_json::from_slice(text);
    read.map_err(|error| corrupt(path, "a row is not the JSON that it was written as").with_source(error))
}

pub(crate) fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
