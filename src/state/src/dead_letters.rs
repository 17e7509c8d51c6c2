//! Dead letters of a connector.
//!
//! A letter that waits is the only place where its event is, so that it is written, changed and closed in transactions whose
//! commit is synced. Letters that were replayed or dropped lose their original; the newest of them are kept for a while, to
//! tell an event that the source sends again from a new one.

use std::path::Path;

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection};
use tailrace_core::dead_letter::{
    DeadLetterStore, FULL, Letter, LetterState, LetterSummary, Maximum, Settlement, StoredLetter, Waiting,
};
use tailrace_core::{Error, Result};

use crate::checksum::row;
use crate::connector::{Connector, from_json, to_json};
use crate::error::{corrupt, from_database};

/// More than are closed between two checkpoints, after which the source does not send their events again.
const CLOSED_KEPT: i64 = 1000;

const COLUMNS: &str = "id, identity, state, attempts, keys, letter, checksum";
const OPEN: &str = "state IN ('waiting', 'replay_requested')";

/// A row of `dead_letters`: id, identity, state, attempts, keys, letter, checksum.
pub(crate) type LetterRow = (i64, String, String, i64, String, String, i64);

/// Id, state and keys of a letter that is open.
pub(crate) type WaitingRow = (i64, String, String);

/// True where the row is what was written.
pub(crate) fn is_intact(connector: &str, (id, identity, state, attempts, keys, letter, checksum): &LetterRow) -> bool {
    *checksum == row::dead_letter(connector, (*id, *attempts), [identity, state, keys, letter])
}

/// Letters of a connector behind a number, oldest first, at most so many; the open ones, or all. To be [`read`] when the connection
/// was given back.
pub(crate) async fn rows(
    path: &Path,
    connection: &mut SqliteConnection,
    connector: &str,
    (behind, limit, all): (u64, usize, bool),
) -> Result<Vec<LetterRow>> {
    let which = if all { "1" } else { OPEN };
    let statement =
        format!("SELECT {COLUMNS} FROM dead_letters WHERE connector = ?1 AND id > ?2 AND {which} ORDER BY id LIMIT ?3");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(connector);
    let query = query
        .bind(to_sql(behind))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query
        .fetch_all(connection)
        .await
        .map_err(|error| from_database(path, error))
}

/// One letter.
pub(crate) async fn find(
    path: &Path,
    connection: &mut SqliteConnection,
    (connector, id): (&str, u64),
) -> Result<Option<StoredLetter>> {
    let row = row_of(path, connection, (connector, id)).await?;
    row.map(|row| read(path, connector, &row)).transpose()
}

/// As [`rows`], of one letter.
pub(crate) async fn row_of(
    path: &Path,
    connection: &mut SqliteConnection,
    (connector, id): (&str, u64),
) -> Result<Option<LetterRow>> {
    let statement = format!("SELECT {COLUMNS} FROM dead_letters WHERE connector = ?1 AND id = ?2");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(statement));
    query
        .bind(connector)
        .bind(to_sql(id))
        .fetch_optional(connection)
        .await
        .map_err(|error| from_database(path, error))
}

/// Everything open: id, state, and as JSON what must wait behind it. For [`read_waiting`], when the connection was given back.
pub(crate) async fn waiting_rows(
    path: &Path,
    connection: &mut SqliteConnection,
    connector: &str,
) -> Result<Vec<WaitingRow>> {
    let statement = format!("SELECT id, state, keys FROM dead_letters WHERE connector = ?1 AND {OPEN} ORDER BY id");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(connector);
    query
        .fetch_all(connection)
        .await
        .map_err(|error| from_database(path, error))
}

/// Everything open, with what must wait behind it.
pub(crate) fn read_waiting(path: &Path, rows: Vec<WaitingRow>) -> Result<Vec<Waiting>> {
    let read = |(id, state, keys): WaitingRow| {
        Ok(Waiting {
            id: from_sql(id),
            state: state_of(path, &state)?,
            keys: from_json(path, keys.as_bytes())?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// What is told of a connector's letters.
pub(crate) async fn summary(path: &Path, connection: &mut SqliteConnection, connector: &str) -> Result<LetterSummary> {
    let statement = format!("SELECT count(*), min(id), max(id) FROM dead_letters WHERE connector = ?1 AND {OPEN}");
    let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(connector);
    let row: (i64, Option<i64>, Option<i64>) = query
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| from_database(path, error))?;
    let (count, Some(oldest), Some(newest)) = row else {
        return Ok(LetterSummary::default());
    };
    let oldest = find(path, &mut *connection, (connector, from_sql(oldest))).await?;
    let newest = find(path, connection, (connector, from_sql(newest))).await?;
    let newest = newest.map(|newest| newest.letter);
    Ok(LetterSummary {
        waiting: from_sql(count),
        oldest_us: oldest.map(|oldest| oldest.letter.quarantined_at_us),
        newest_code: newest.as_ref().map(|letter| letter.code.clone()),
        newest_reason: newest.map(|letter| letter.reason),
    })
}

/// Writes how a letter stands; what was replayed or dropped gives its original up.
pub(crate) async fn write(
    path: &Path,
    connection: &mut SqliteConnection,
    connector: &str,
    stored: &mut StoredLetter,
) -> Result<()> {
    if !stored.state.is_open() {
        stored.letter.original = None;
    }
    let (id, attempts) = (to_sql(stored.id), i64::from(stored.attempts));
    let (keys, letter) = (to_json(&stored.letter.keys)?, to_json(&stored.letter)?);
    let (identity, state) = (&stored.letter.identity, stored.state.name());
    let checksum = row::dead_letter(connector, (id, attempts), [identity, state, &keys, &letter]);
    let statement = "INSERT INTO dead_letters (connector, id, identity, state, attempts, keys, letter, checksum) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (connector, id) DO UPDATE SET \
        state = ?4, attempts = ?5, letter = ?7, checksum = ?8";
    let query = sqlx::query(statement)
        .bind(connector)
        .bind(id)
        .bind(identity)
        .bind(state);
    let query = query.bind(attempts).bind(&keys).bind(&letter).bind(checksum);
    query
        .execute(connection)
        .await
        .map_err(|error| from_database(path, error))?;
    Ok(())
}

/// Takes the oldest of what was replayed or dropped away; never the newest letter of all, whose number would be given again.
pub(crate) async fn prune(path: &Path, connection: &mut SqliteConnection, connector: &str) -> Result<()> {
    let statement = format!(
        "DELETE FROM dead_letters WHERE connector = ?1 AND NOT ({OPEN}) AND id <= (SELECT id FROM dead_letters \
         WHERE connector = ?1 AND NOT ({OPEN}) ORDER BY id DESC LIMIT 1 OFFSET {CLOSED_KEPT})"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(connector);
    query
        .execute(connection)
        .await
        .map_err(|error| from_database(path, error))?;
    Ok(())
}

/// A letter as it was written.
pub(crate) fn read(path: &Path, connector: &str, row: &LetterRow) -> Result<StoredLetter> {
    let (id, _, state, attempts, _, letter, _) = row;
    if !is_intact(connector, row) {
        return Err(corrupt(
            path,
            &format!("dead letter {id} of connector {connector} has the wrong checksum"),
        ));
    }
    Ok(StoredLetter {
        id: from_sql(*id),
        state: state_of(path, state)?,
        attempts: u32::try_from(*attempts).unwrap_or(u32::MAX),
        letter: from_json(path, letter.as_bytes())?,
    })
}

fn state_of(path: &Path, name: &str) -> Result<LetterState> {
    LetterState::from_name(name).ok_or_else(|| corrupt(path, &format!("no dead letter is `{name}`")))
}

fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn full(connector: &str, maximum: Maximum, (letters, bytes): (i64, i64)) -> Error {
    let message = format!(
        "connector {connector} would have {letters} dead letters of {bytes} bytes, and may have {} of {} \
         (`dead_letters.maximum_count`, `maximum_bytes`); nothing was passed over. Mend what makes them and replay them, drop \
         what is of no use (`tailrace dlq`), or allow more",
        maximum.letters, maximum.bytes
    );
    Error::definite(FULL, message)
}

impl Connector {
    /// Adds the letters that are not known yet; how each stands.
    async fn add(&self, connection: &mut SqliteConnection, letters: &[Letter]) -> Result<(Vec<LetterState>, bool)> {
        let query = sqlx::query_scalar("SELECT max(id) FROM dead_letters WHERE connector = ?1").bind(&self.name);
        let newest: Option<i64> = query
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| self.failed(error))?;
        let (mut next, mut states, mut added) = (newest.unwrap_or(0), Vec::with_capacity(letters.len()), false);
        for letter in letters {
            let known = self.known(connection, &letter.identity).await?;
            if let Some((_, state)) = known
                && state != LetterState::Replayed
            {
                states.push(state);
                continue;
            }
            if known.is_none() {
                next += 1;
            }
            let mut stored = StoredLetter {
                id: known.map_or(from_sql(next), |(id, _)| id),
                state: LetterState::Waiting,
                attempts: 1,
                letter: letter.clone(),
            };
            write(&self.store.path, connection, &self.name, &mut stored).await?;
            states.push(LetterState::Waiting);
            added = true;
        }
        Ok((states, added))
    }

    /// Number and state of the letter with an identity.
    async fn known(&self, connection: &mut SqliteConnection, identity: &str) -> Result<Option<(u64, LetterState)>> {
        let query = sqlx::query_as("SELECT id, state FROM dead_letters WHERE connector = ?1 AND identity = ?2");
        let row: Option<(i64, String)> = query
            .bind(&self.name)
            .bind(identity)
            .fetch_optional(connection)
            .await
            .map_err(|error| self.failed(error))?;
        let read = |(id, state): (i64, String)| Ok((from_sql(id), state_of(&self.store.path, &state)?));
        row.map(read).transpose()
    }

    async fn measure(&self, connection: &mut SqliteConnection) -> Result<(i64, i64)> {
        let statement = format!(
            "SELECT count(*), coalesce(sum(octet_length(letter)), 0) FROM dead_letters WHERE connector = ?1 AND {OPEN}"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(&self.name);
        query.fetch_one(connection).await.map_err(|error| self.failed(error))
    }
}

#[async_trait]
impl DeadLetterStore for Connector {
    async fn quarantine(&self, letters: &[Letter], maximum: Maximum) -> Result<Vec<LetterState>> {
        let mut lease = self.store.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(|error| self.failed(error))?;
        self.own_head(&mut transaction).await?;
        let (states, added) = self.add(&mut transaction, letters).await?;
        let (count, bytes) = self.measure(&mut transaction).await?;
        if added && (from_sql(count) > maximum.letters || from_sql(bytes) > maximum.bytes) {
            transaction.rollback().await.map_err(|error| self.failed(error))?;
            lease.give_back();
            return Err(full(&self.name, maximum, (count, bytes)));
        }
        transaction.commit().await.map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(states)
    }

    async fn dropped(&self, identities: &[String]) -> Result<Vec<String>> {
        let mut lease = self.store.lease().await?;
        self.own_head(&mut lease.connection).await?;
        let mut dropped = Vec::new();
        for identity in identities {
            let known = self.known(&mut lease.connection, identity).await?;
            if known.is_some_and(|(_, state)| state == LetterState::Dropped) {
                dropped.push(identity.clone());
            }
        }
        lease.give_back();
        Ok(dropped)
    }

    async fn waiting(&self) -> Result<Vec<Waiting>> {
        let mut lease = self.store.lease().await?;
        self.own_head(&mut lease.connection).await?;
        let rows = waiting_rows(&self.store.path, &mut lease.connection, &self.name).await?;
        lease.give_back();
        read_waiting(&self.store.path, rows)
    }

    async fn requested(&self, limit: usize) -> Result<Vec<StoredLetter>> {
        let waiting = DeadLetterStore::waiting(self).await?;
        let requested = waiting
            .iter()
            .filter(|letter| letter.state == LetterState::ReplayRequested);
        let mut lease = self.store.lease().await?;
        self.own_head(&mut lease.connection).await?;
        let mut letters = Vec::new();
        for letter in requested.take(limit) {
            letters.extend(find(&self.store.path, &mut lease.connection, (&self.name, letter.id)).await?);
        }
        lease.give_back();
        Ok(letters)
    }

    async fn settle(&self, settlements: &[(u64, Settlement)]) -> Result<()> {
        let path = &self.store.path;
        let mut lease = self.store.lease().await?;
        let mut transaction = lease.connection.begin().await.map_err(|error| self.failed(error))?;
        self.own_head(&mut transaction).await?;
        for (id, settlement) in settlements {
            let Some(mut stored) = find(path, &mut transaction, (&self.name, *id)).await? else {
                continue;
            };
            stored.state = match settlement {
                Settlement::Replayed => LetterState::Replayed,
                Settlement::Behind => LetterState::Waiting,
                Settlement::Refused { code, reason } => {
                    stored.attempts += 1;
                    stored.letter.code.clone_from(code);
                    stored.letter.reason.clone_from(reason);
                    LetterState::Waiting
                }
            };
            write(path, &mut transaction, &self.name, &mut stored).await?;
        }
        prune(path, &mut transaction, &self.name).await?;
        transaction.commit().await.map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(())
    }

    async fn summary(&self) -> Result<LetterSummary> {
        let mut lease = self.store.lease().await?;
        self.own_head(&mut lease.connection).await?;
        let summary = summary(&self.store.path, &mut lease.connection, &self.name).await?;
        lease.give_back();
        Ok(summary)
    }
}
