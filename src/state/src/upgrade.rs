//! From one release to the next: who had the state, its copy before its layout changes, and what is said where a later release had it.
//!
//! *Up.* All that changes the layout is one transaction: a state is as it was, or as this release wants it. Before it, the whole state is
//! copied beside itself, `state.db.before-0.2.0`, so that there is a way back.
//!
//! *Down.* A release refuses a layout that it does not know. Where only the release is later and the layout is the same, it goes on: whatever
//! an older release would misread must therefore come with a layout of its own, if only to count it up.

use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;
use sqlx::{Connection, SqliteConnection};
use tailrace_core::{Error, Result};

use crate::checksum::row;
use crate::connector::now_ms;
use crate::error::{self, corrupt, from_file, from_opening, unwritable};
use crate::file::{self, beside};
use crate::journal::{self, NewEntry};
use crate::looking::look_at;
use crate::store::{MIGRATIONS, StateStore, merge_log};
use crate::verify;

/// This release, as `tailrace --version` prints it.
const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// Longer versions are no versions.
const VERSION_LENGTH_MAX: usize = 64;

/// A state whose layout the next start will change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    /// The layout that it has.
    pub layout: i64,
    /// The layout that it will have.
    pub wanted: i64,
    /// Where it is copied to before.
    pub copy: PathBuf,
}

/// A row of `releases`: version, layout.
type ReleaseRow = (String, i64);

/// The layout of this release.
pub(crate) fn newest_layout() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Brings a state to the layout of this release, and takes down whose it is from now on: says so where another release had it before.
pub(crate) async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<Option<String>> {
    let failed = |error| from_opening(path, error);
    let mut transaction = connection.begin().await.map_err(failed)?;
    let ran = MIGRATIONS.run(&mut *transaction).await;
    ran.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
        other => corrupt(path, "its list of migrations is not ours").with_source(other),
    })?;
    let detail = take_down(path, &mut transaction).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(detail)
}

/// Brings a state of an earlier layout to that of this release, where it is one, and keeps it as it was beside it.
pub(crate) async fn upgrade(path: &Path, connection: &mut SqliteConnection, layout: i64) -> Result<()> {
    let wanted = newest_layout();
    let copy = match layout < wanted {
        true => Some(keep(path, connection).await?),
        false => None,
    };
    if let Some(detail) = migrate(path, connection).await? {
        tracing::info!(state = %path.display(), "{detail}");
    }
    let Some(copy) = copy else {
        return Ok(());
    };
    // Whoever looks at the file without its log sees the new layout too.
    merge_log(connection).await.map_err(|error| from_opening(path, error))?;
    tracing::info!(
        state = %path.display(),
        copy = %copy.display(),
        "the state was brought from layout {layout} to layout {wanted}; the copy is as it was before"
    );
    Ok(())
}

/// Where a state is copied to before this release changes it, or another one did.
fn copy_before(path: &Path, release: &str) -> PathBuf {
    beside(path, &format!(".before-{release}"))
}

/// Copies a whole state, log included, for nobody but the user. Under its name it is whole.
async fn keep(path: &Path, connection: &mut SqliteConnection) -> Result<PathBuf> {
    let copy = copy_before(path, RELEASE);
    let draft = beside(&copy, ".new");
    let failed = |error| uncopied(path, &copy, error);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    copy_into(path, connection, &draft).await?;
    let moved = file::sync_with_folder(&draft).and_then(|()| std::fs::rename(&draft, &copy));
    moved.and_then(|()| file::sync_with_folder(&copy)).map_err(failed)?;
    Ok(copy)
}

/// Copies a whole state, log included, into a file that is not there yet and that nobody but the user may read.
pub(crate) async fn copy_into(path: &Path, connection: &mut SqliteConnection, copy: &Path) -> Result<()> {
    // SQLite takes an empty file for none, and leaves its rights alone.
    file::create_private(copy).map_err(|error| from_file(path, error))?;
    let filled = sqlx::query("VACUUM INTO ?1")
        .bind(copy.to_string_lossy().into_owned())
        .execute(connection)
        .await;
    filled.map_err(|error| from_opening(path, error))?;
    Ok(())
}

/// Takes down that this release has the state, where another one had it before; for people in the journal too, as it is returned.
async fn take_down(path: &Path, connection: &mut SqliteConnection) -> Result<Option<String>> {
    let failed = |error| from_opening(path, error);
    let statement = "SELECT id, version, layout, opened_at_ms, checksum FROM releases ORDER BY id DESC LIMIT 1";
    let newest = sqlx::query_as(statement).fetch_optional(&mut *connection).await;
    let newest: Option<(i64, String, i64, i64, i64)> = newest.map_err(failed)?;
    let layout = newest_layout();
    let (before, before_id) = match newest {
        Some((id, version, known, opened_at_ms, checksum)) => {
            if checksum != row::release(id, &version, (known, opened_at_ms)) {
                return Err(corrupt(
                    path,
                    "the checksum of the release that had it last does not match",
                ));
            }
            if version == RELEASE && known == layout {
                return Ok(None);
            }
            (Some(version), id)
        }
        None => (None, 0),
    };
    let detail = before.map(|before| format!("Tailrace {RELEASE} goes on with the state that Tailrace {before} had"));
    write_release(connection, before_id + 1, detail.as_deref())
        .await
        .map_err(failed)?;
    Ok(detail)
}

async fn write_release(connection: &mut SqliteConnection, id: i64, detail: Option<&str>) -> sqlx::Result<()> {
    let (layout, at_ms) = (newest_layout(), now_ms());
    let statement = "INSERT INTO releases (id, version, layout, opened_at_ms, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
    let insert = sqlx::query(statement).bind(id).bind(RELEASE).bind(layout).bind(at_ms);
    let checksum = row::release(id, RELEASE, (layout, at_ms));
    insert.bind(checksum).execute(&mut *connection).await?;
    let Some(detail) = detail else {
        return Ok(());
    };
    let entry = NewEntry {
        at_us: at_ms.saturating_mul(1000),
        connector: None,
        who: "tailrace".to_owned(),
        what: "release",
        detail: detail.to_owned(),
    };
    journal::insert(connection, &entry).await
}

/// A state that a later release wrote. Its table of releases is all that is believed of it.
pub(crate) async fn newer(path: &Path, connection: &mut SqliteConnection, layout: i64) -> Error {
    let wanted = newest_layout();
    let read = sqlx::query_as("SELECT version, layout FROM releases ORDER BY id")
        .fetch_all(connection)
        .await;
    let releases: Vec<ReleaseRow> = read.unwrap_or_default();
    let releases: Vec<&ReleaseRow> = releases.iter().filter(|(version, _)| is_version(version)).collect();
    let by = match releases.last() {
        Some((version, _)) => format!("Tailrace {version}"),
        None => "a newer Tailrace".to_owned(),
    };
    // The one that changed the layout, and kept a copy of before.
    let changed_by = releases.iter().find(|(_, known)| *known > wanted);
    let copy = changed_by.map(|(version, _)| copy_before(path, version));
    let back = match copy.filter(|copy| copy.exists()) {
        Some(copy) => format!(
            "put {}, which is the state of before the upgrade, in its place",
            copy.display()
        ),
        None => "put a copy of before the upgrade in its place".to_owned(),
    };
    let message = format!(
        "the state {} was written by {by} in layout {layout}, and this is Tailrace {RELEASE}, which knows layouts up to {wanted}; run {by}, or \
         a later one; to go back, {back}, without the -wal and -shm that are there, and start once with --adopt-state; what that means for each \
         kind of connector is in the documentation, \"Going back\"",
        path.display()
    );
    Error::definite(error::NEWER, message)
}

fn uncopied(path: &Path, copy: &Path, error: std::io::Error) -> Error {
    let message = format!(
        "the state {} is of an earlier release, and its copy {} cannot be made, without which it is not changed; move away what is there, or \
         give Tailrace's user the right to write there",
        path.display(),
        copy.display()
    );
    unwritable(message, error)
}

fn is_version(text: &str) -> bool {
    let is_of_one = |letter: char| letter.is_ascii_alphanumeric() || ".-+".contains(letter);
    !text.is_empty() && text.len() <= VERSION_LENGTH_MAX && text.chars().all(is_of_one)
}

// === impl StateStore ===

impl StateStore {
    /// Whether the next start will change the layout of a state. Changes nothing and takes no lock: another process may have it open.
    ///
    /// # Errors
    /// What the next start would say: definite `state_newer`, `state_foreign`, `state_corrupt`.
    pub async fn outdated(path: &Path) -> Result<Option<Outdated>> {
        if !path.try_exists().map_err(|error| from_file(path, error))? {
            return Ok(None);
        }
        let mut connection = look_at(path).await?;
        let layout = verify::version(path, &mut connection).await;
        connection.close().await.map_err(|error| from_opening(path, error))?;
        let (layout, wanted) = (layout?, newest_layout());
        Ok((layout < wanted).then(|| Outdated {
            layout,
            wanted,
            copy: copy_before(path, RELEASE),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    #[tokio::test]
    async fn releases_are_taken_down_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let first = StateStore::open(&path).await.unwrap();
        assert_eq!(first.journal((0, i64::MAX), None, 10).await.unwrap(), []);
        first.close().await.unwrap();
        // As a later release that knows the same layout leaves it.
        let mut later = store::connect(&path).await.unwrap();
        let checksum = row::release(2, "0.9.7", (newest_layout(), 7));
        let insert = sqlx::query("INSERT INTO releases VALUES (2, '0.9.7', ?1, 7, ?2)");
        let insert = insert.bind(newest_layout()).bind(checksum);
        insert.execute(&mut later).await.unwrap();
        later.close().await.unwrap();
        for _ in 0..2 {
            let store = StateStore::open(&path).await.unwrap();
            let entries = store.journal((0, i64::MAX), None, 10).await.unwrap();
            let details: Vec<_> = entries
                .iter()
                .map(|entry| (entry.what.as_str(), entry.detail.as_str()))
                .collect();
            let detail = format!("Tailrace {RELEASE} goes on with the state that Tailrace 0.9.7 had");
            assert_eq!(details, [("release", detail.as_str())]);
            store.close().await.unwrap();
        }
    }
}
