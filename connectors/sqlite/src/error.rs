//! SQLite's result codes, classified.

use std::path::Path;

use sqlx::error::DatabaseError;
use tailrace_core::Error;

/// Primary result codes: <https://www.sqlite.org/rescode.html>.
pub(crate) mod code {
    pub(crate) const PERM: i32 = 3;
    pub(crate) const BUSY: i32 = 5;
    pub(crate) const LOCKED: i32 = 6;
    pub(crate) const NOMEM: i32 = 7;
    pub(crate) const READONLY: i32 = 8;
    pub(crate) const INTERRUPT: i32 = 9;
    pub(crate) const IOERR: i32 = 10;
    pub(crate) const CORRUPT: i32 = 11;
    pub(crate) const FULL: i32 = 13;
    pub(crate) const CANTOPEN: i32 = 14;
    pub(crate) const PROTOCOL: i32 = 15;
    pub(crate) const SCHEMA: i32 = 17;
    pub(crate) const AUTH: i32 = 23;
    pub(crate) const NOTADB: i32 = 26;
}

/// Classifies what SQLite, or the driver, answered.
pub(crate) fn classify(error: sqlx::Error, path: &Path) -> Error {
    let Some(result) = error.as_database_error().and_then(primary_code) else {
        return unclassified(error, path);
    };
    let file = path.display();
    let classified = match result {
        code::BUSY | code::LOCKED | code::PROTOCOL => Error::transient(
            "source_locked",
            format!("database {file} is locked by another process; it is tried again"),
        ),
        code::IOERR | code::NOMEM | code::FULL | code::INTERRUPT | code::SCHEMA => Error::transient(
            "source_unreadable",
            format!("database {file} cannot be read at the moment"),
        ),
        code::CANTOPEN => Error::transient(
            "source_unreadable",
            format!(
                "database {file} cannot be opened; its file and folder must be readable, and in WAL mode the folder must be \
                 writable or hold the -wal and -shm files"
            ),
        ),
        code::PERM | code::READONLY | code::AUTH => Error::definite(
            "source_permission",
            format!(
                "database {file} may not be read by this user; in WAL mode its -shm file must be writable: chmod or chown it"
            ),
        ),
        code::NOTADB => Error::definite(
            "not_a_database",
            format!("{file} is not a SQLite database, or is encrypted; `path` must name the database file itself"),
        ),
        code::CORRUPT => Error::definite(
            "source_corrupt",
            format!(
                "database {file} is damaged; run PRAGMA integrity_check, and restore it or recover it with .recover"
            ),
        ),
        _ => Error::definite("source_query", format!("database {file} refused a query")),
    };
    classified.with_source(error)
}

/// The low byte of an extended result code is its primary code.
fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    let extended: i32 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn unclassified(error: sqlx::Error, path: &Path) -> Error {
    let sentence = format!("database {} cannot be read at the moment", path.display());
    Error::transient("source_unreadable", sentence).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_core::error::Kind;

    #[test]
    fn what_the_driver_itself_says_is_tried_again() {
        let error = classify(sqlx::Error::WorkerCrashed, Path::new("shop.db"));
        assert_eq!(error.kind(), Kind::Transient);
        assert!(error.report().contains("shop.db"));
    }
}
