//! Whether the content of a state can be trusted: version, SQLite's own structure, the layout, and every row that has
//! no second generation to fall back to.

use std::path::Path;

use futures_util::TryStreamExt;
use sqlx::{Connection, Row, SqliteConnection};
use tailrace_core::Result;

use crate::checksum::row;
use crate::dead_letters::{LetterRow, is_intact};
use crate::error::{corrupt, from_database, from_opening};
use crate::file::Home;
use crate::people;
use crate::registry;
use crate::store::{MIGRATIONS, StoreRow};
use crate::upgrade;

/// Tables, indexes and whatever else there is, as SQLite wrote them down.
const LAYOUT: &str = "SELECT CAST(type || ' ' || tbl_name || ' ' || name || ' ' || coalesce(sql, '') AS BLOB) \
    FROM sqlite_schema ORDER BY 1";

/// How a row of [`LAYOUT`] begins that belongs to the table that sqlx keeps for itself. Its text may change with a
/// release of sqlx, so it is not compared.
const OF_SQLX: &[&[u8]] = &[b"table _sqlx_migrations ", b"index _sqlx_migrations "];

/// The version of the layout, of which later ones are refused.
pub(crate) async fn version(path: &Path, connection: &mut SqliteConnection) -> Result<i64> {
    let read = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await;
    let version: i64 = read.map_err(|error| from_opening(path, error))?;
    if version > upgrade::newest_layout() {
        return Err(upgrade::newer(path, connection, version).await);
    }
    if version < 1 {
        return Err(corrupt(path, "it has no version"));
    }
    Ok(version)
}

/// SQLite's view of its pages, keys and types. The whole check and not the quick one: a key that an index has lost is
/// a checkpoint that is not found.
pub(crate) async fn integrity(path: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let read = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(connection)
        .await;
    let finding: String = read.map_err(|error| from_opening(path, error))?;
    if finding == "ok" {
        Ok(())
    } else {
        Err(corrupt(path, &finding.replace('\n', " ")))
    }
}

/// The layout must be what our own migrations up to that version make of an empty database.
pub(crate) async fn layout(path: &Path, connection: &mut SqliteConnection, version: i64) -> Result<()> {
    let found = sqlx::query_scalar(LAYOUT).fetch_all(connection).await;
    let mut found: Vec<Vec<u8>> = found.map_err(|error| from_opening(path, error))?;
    // sqlx panics at a declared type that is no UTF-8, in its own table too.
    let readable = found.iter().all(|entry| entry.is_ascii());
    found.retain(|entry| !OF_SQLX.iter().any(|start| entry.starts_with(start)));
    let expected = expected_layout(version)
        .await
        .map_err(|error| from_opening(path, error))?;
    if readable && found == expected {
        Ok(())
    } else {
        Err(corrupt(path, "its tables are not ours"))
    }
}

async fn expected_layout(version: i64) -> sqlx::Result<Vec<Vec<u8>>> {
    let mut model = SqliteConnection::connect("sqlite::memory:").await?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version <= version) {
        sqlx::raw_sql(migration.sql.clone()).execute(&mut model).await?;
    }
    let layout = sqlx::query_scalar(LAYOUT).fetch_all(&mut model).await?;
    model.close().await?;
    Ok(layout)
}

/// Every row but the checkpoints, which have a generation before them and are judged when they are loaded.
pub(crate) async fn rows(path: &Path, connection: &mut SqliteConnection) -> Result<StoreRow> {
    let stored = store(path, connection).await?;
    let checked = async {
        let rows = sqlx::query_as("SELECT name, epoch, newest_slot, newest_sequence, checksum FROM connectors");
        let mut intact = rows.fetch_all(&mut *connection).await?.into_iter().all(
            |(name, epoch, slot, sequence, checksum): (String, _, _, _, i64)| {
                checksum == row::connector(&name, epoch, slot, sequence)
            },
        );
        let rows = sqlx::query_as(
            "SELECT connector, table_name, version, table_schema, position, checksum FROM schema_history",
        );
        intact &= rows.fetch_all(&mut *connection).await?.into_iter().all(
            |(connector, table, version, schema, position, checksum): (String, String, _, String, String, i64)| {
                checksum == row::schema(&connector, &table, version, &schema, &position)
            },
        );
        let rows = sqlx::query_as("SELECT connector, table_name, version, checksum FROM announced_schemas");
        intact &= rows.fetch_all(&mut *connection).await?.into_iter().all(
            |(connector, table, version, checksum): (String, String, _, i64)| {
                checksum == row::announced(&connector, &table, version)
            },
        );
        let rows = sqlx::query_as("SELECT connector, memory, checksum FROM source_memory");
        intact &=
            rows.fetch_all(&mut *connection).await?.into_iter().all(
                |(connector, memory, checksum): (String, String, i64)| checksum == row::memory(&connector, &memory),
            );
        let rows = sqlx::query_as("SELECT id, version, layout, opened_at_ms, checksum FROM releases");
        intact &= rows.fetch_all(&mut *connection).await?.into_iter().all(
            |(id, version, layout, opened_at_ms, checksum): (i64, String, i64, i64, i64)| {
                checksum == row::release(id, &version, (layout, opened_at_ms))
            },
        );
        intact &= letters(connection).await?;
        intact &= registry::is_intact(&mut *connection).await?;
        intact &= people::is_intact(&mut *connection).await?;
        sqlx::Result::Ok(intact)
    };
    match checked.await {
        Ok(true) => Ok(stored),
        Ok(false) => Err(corrupt(path, "the checksum of a row does not match")),
        Err(error) => Err(from_opening(path, error)),
    }
}

/// Dead letters one by one: all of them together may be large.
async fn letters(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let statement = "SELECT connector, id, identity, state, attempts, keys, letter, checksum FROM dead_letters";
    let mut rows = sqlx::query(statement).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let connector: String = row.try_get(0)?;
        let letter: LetterRow = (
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
            row.try_get(4)?,
            row.try_get(5)?,
            row.try_get(6)?,
            row.try_get(7)?,
        );
        if !is_intact(&connector, &letter) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The one row of table `store`.
pub(crate) async fn store(path: &Path, connection: &mut SqliteConnection) -> Result<StoreRow> {
    let statement = "SELECT instance_id, home_inode, home_created_us, epoch, checksum FROM store WHERE id = 1";
    let read = sqlx::query_as(statement).fetch_optional(connection).await;
    let row: Option<(String, i64, Option<i64>, i64, i64)> = read.map_err(|error| from_database(path, error))?;
    let Some((instance_id, inode, created_us, epoch, checksum)) = row else {
        return Err(corrupt(path, "it does not say whose it is"));
    };
    if checksum != row::store(&instance_id, inode, created_us, epoch) {
        return Err(corrupt(path, "the checksum of its first row does not match"));
    }
    Ok(StoreRow {
        instance_id,
        home: Home { inode, created_us },
        epoch,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    use tailrace_core::dead_letter::{Letter, Maximum};
    use tailrace_core::position::{Checkpoint, Position, Progress};
    use tempfile::TempDir;

    use crate::StateStore;
    use crate::file::{Home, beside};
    use crate::store::Copied;
    use crate::{connector, store};

    fn checkpoint(sequence: u64) -> Checkpoint {
        Checkpoint {
            sequence,
            progress: Progress::at(Position::new(format!("0/{sequence:08X}"))),
        }
    }

    const MAXIMUM: Maximum = Maximum {
        letters: 1,
        bytes: 10_000,
    };

    fn letter() -> Letter {
        Letter {
            identity: "db:0/1:0".to_owned(),
            event_id: "db:0/1:0".to_owned(),
            table: "public.orders".to_owned(),
            operation: "c".to_owned(),
            key: None,
            position: "0/1".to_owned(),
            updated_at_us: 0,
            keys: Vec::new(),
            code: "value_not_encodable".to_owned(),
            reason: "too large".to_owned(),
            quarantined_at_us: 0,
            original: None,
        }
    }

    /// A state with two generations, memory, a dead letter, and a second connector; `live` leaves part of it in the log.
    async fn sample(live: bool) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let opened = StateStore::open(&path).await.unwrap();
        let orders = opened.connector("orders").await.unwrap();
        orders.save(&checkpoint(1)).await.unwrap();
        orders
            .remember(&serde_json::json!({"slot": "tailrace_orders"}))
            .await
            .unwrap();
        orders.quarantine(&[letter()], MAXIMUM).await.unwrap();
        opened.connector("customers").await.unwrap();
        orders.save(&checkpoint(2)).await.unwrap();
        if !live {
            opened.close().await.unwrap();
            return (folder, path);
        }
        let crashed = folder.path().join("crashed.db");
        fs::copy(&path, &crashed).unwrap();
        fs::copy(beside(&path, "-wal"), beside(&crashed, "-wal")).unwrap();
        (folder, crashed)
    }

    /// What a start would find: the sequence of the checkpoint of `orders`, or the code of the refusal. The one thing
    /// that must never come out is a state that knows no checkpoint.
    async fn sequence_found(path: &std::path::Path) -> Result<u64, &'static str> {
        let home = Home::of(path).expect("it is there");
        let (mut connection, _) = store::examine(path, &home, &Copied::Adopt)
            .await
            .map_err(|error| error.code())?;
        let listed = connector::list(path, &mut connection).await;
        sqlx::Connection::close(connection).await.ok();
        let listed = listed.map_err(|error| error.code())?;
        let orders = listed
            .iter()
            .find(|state| state.name == "orders")
            .expect("the connector is known");
        Ok(orders.checkpoint.as_ref().expect("it has a checkpoint").sequence)
    }

    fn remove_log(path: &std::path::Path) {
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(beside(path, suffix)).ok();
        }
    }

    #[tokio::test]
    async fn no_flipped_bit_looks_like_a_first_start() {
        let (_folder, path) = sample(false).await;
        let bytes = fs::read(&path).unwrap();
        let (mut whole, mut previous, mut refused) = (0, 0, 0);
        // Every byte that says something, and a sample of the empty space between.
        for (offset, byte) in bytes
            .iter()
            .enumerate()
            .filter(|(offset, byte)| **byte != 0 || offset % 23 == 0)
        {
            let offset = u64::try_from(offset).unwrap();
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[byte ^ (1 << (offset % 8))], offset).unwrap();
            match sequence_found(&path).await {
                Ok(2) => whole += 1,
                Ok(1) => previous += 1,
                Ok(other) => panic!("byte {offset}: sequence {other}"),
                Err("state_corrupt" | "state_foreign" | "state_newer") => refused += 1,
                Err(code) => panic!("byte {offset}: {code}"),
            }
            file.write_all_at(&[*byte], offset).unwrap();
            remove_log(&path);
        }
        assert_eq!(sequence_found(&path).await, Ok(2));
        assert!(
            refused > 1000 && previous > 10 && whole > 10,
            "{whole} {previous} {refused}"
        );
    }

    #[tokio::test]
    async fn no_truncation_looks_like_a_first_start() {
        let (_folder, path) = sample(false).await;
        let bytes = fs::read(&path).unwrap();
        for length in (0..bytes.len()).filter(|length| length % 509 == 0 || length % 4096 == 0) {
            fs::write(&path, &bytes[..length]).unwrap();
            let found = sequence_found(&path).await;
            // Of a table that has no rows nothing is gone with the end of its page.
            assert!(
                matches!(found, Err("state_corrupt" | "state_foreign") | Ok(2)),
                "{length}: {found:?}"
            );
            remove_log(&path);
        }
    }

    #[tokio::test]
    async fn a_damaged_log_brings_back_an_older_checkpoint() {
        let (_folder, path) = sample(true).await;
        let (main, log) = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap());
        assert!(log.len() > 4096, "{}", log.len());
        let mut found = [0, 0, 0];
        for offset in (0..log.len()).filter(|offset| offset % 61 == 0) {
            for truncated in [false, true] {
                let mut damaged = log.clone();
                damaged[offset] ^= 1 << (offset % 8);
                if truncated {
                    damaged.truncate(offset);
                }
                fs::write(&path, &main).unwrap();
                fs::write(beside(&path, "-wal"), damaged).unwrap();
                match sequence_found(&path).await {
                    Ok(sequence) => found[usize::try_from(sequence).unwrap()] += 1,
                    Err(code) => panic!("byte {offset}: {code}"),
                }
                remove_log(&path);
            }
        }
        assert_eq!(found[0], 0);
        assert!(found[1] > 0, "{found:?}");
    }

    #[tokio::test]
    async fn the_checkpoint_before_is_used_and_the_work_goes_on() {
        let (_folder, path) = sample(false).await;
        damage(&path, b"0/00000002");
        let opened = StateStore::open(&path).await.unwrap();
        let orders = opened.connector("orders").await.unwrap();
        assert_eq!(orders.load().await.unwrap(), Some(checkpoint(1)));
        orders.save(&checkpoint(2)).await.unwrap();
        assert_eq!(orders.load().await.unwrap(), Some(checkpoint(2)));
    }

    #[tokio::test]
    async fn two_damaged_checkpoints_are_refused() {
        let (_folder, path) = sample(false).await;
        damage(&path, b"0/00000001");
        damage(&path, b"0/00000002");
        let opened = StateStore::open(&path).await.unwrap();
        let orders = opened.connector("orders").await.unwrap();
        assert_eq!(orders.load().await.unwrap_err().code(), "state_corrupt");
        assert_eq!(opened.connectors().await.unwrap_err().code(), "state_corrupt");
    }

    #[tokio::test]
    async fn lost_rows_are_refused() {
        for statement in [
            "DELETE FROM checkpoints",
            "DELETE FROM store",
            "UPDATE connectors SET newest_sequence = 0",
        ] {
            let (_folder, path) = sample(false).await;
            let mut connection = store::connect(&path).await.unwrap();
            sqlx::query(statement).execute(&mut connection).await.unwrap();
            sqlx::Connection::close(connection).await.unwrap();
            assert_eq!(sequence_found(&path).await, Err("state_corrupt"), "{statement}");
        }
    }

    /// Makes the text something that is not even UTF-8, wherever it is.
    fn damage(path: &std::path::Path, text: &[u8]) {
        let mut bytes = fs::read(path).unwrap();
        let mut places = Vec::new();
        for at in 0..bytes.len() - text.len() {
            if bytes[at..].starts_with(text) {
                places.push(at);
            }
        }
        assert!(!places.is_empty());
        for at in places {
            bytes[at] ^= 0x80;
        }
        fs::write(path, bytes).unwrap();
    }
}
