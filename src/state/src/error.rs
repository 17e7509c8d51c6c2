//! What SQLite and the file system say, classified.

use std::io;
use std::path::Path;

use tailrace_core::Error;

/// Somebody else holds the state.
pub(crate) const LOCKED: &str = "state_locked";
/// The content cannot be trusted.
pub(crate) const CORRUPT: &str = "state_corrupt";
/// Another program's file.
pub(crate) const FOREIGN: &str = "state_foreign";
/// Written by a later release.
pub(crate) const NEWER: &str = "state_newer";
/// A copy of another state.
pub(crate) const CLONED: &str = "state_cloned";
/// Deleted or replaced under the running daemon.
pub(crate) const MISSING: &str = "state_missing";
/// Cannot be written, now or ever.
pub(crate) const UNWRITABLE: &str = "state_unwritable";
/// A checkpoint that is not later than the stored one.
pub(crate) const ORDER: &str = "checkpoint_order";
/// A later opening of the same connector took over.
pub(crate) const FENCED: &str = "fenced_by_peer";
/// `state.url` cannot be understood.
pub(crate) const URL: &str = "state_url_invalid";

/// SQLite's primary result codes that say that the content is bad: SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT,
/// and SQLITE_ERROR, SQLITE_MISMATCH, SQLITE_CONSTRAINT, which our own fixed statements only meet on a mangled schema.
/// Source: <https://www.sqlite.org/rescode.html>.
const SAYS_CORRUPT: [i32; 6] = [11, 26, 24, 1, 20, 19];

/// The state cannot be trusted; `finding` says what is wrong, as half a sentence.
pub(crate) fn corrupt(path: &Path, finding: &str) -> Error {
    let message = format!(
        "the state {} is damaged: {finding}; restore it from a backup and start with --adopt-state, or move it away and \
         take a new snapshot: Tailrace does not guess a position",
        path.display()
    );
    Error::definite(CORRUPT, message)
}

/// A statement failed. Damage is definite; everything else (full disk, I/O error, read-only, busy) may pass.
pub(crate) fn from_database(path: &Path, error: sqlx::Error) -> Error {
    if says_corrupt(&error) {
        return corrupt(path, "SQLite cannot read it").with_source(error);
    }
    let message = format!(
        "the state {} cannot be written or read now; free space on its disk or repair it: nothing is confirmed to any \
         source until it can",
        path.display()
    );
    Error::transient(UNWRITABLE, message).with_source(error)
}

/// A file or folder of the state cannot be made or read at the start: a person gave the wrong path or rights, unless
/// the disk is full or failing.
pub(crate) fn from_file(path: &Path, error: io::Error) -> Error {
    let message = format!(
        "the state {} cannot be opened for writing; give Tailrace's user the right to write there, or set state.url to \
         another place",
        path.display()
    );
    unwritable(message, error)
}

/// What may pass by itself is a disk that is full or failing.
pub(crate) fn unwritable(message: String, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::transient(UNWRITABLE, message),
        _ => Error::definite(UNWRITABLE, message),
    }
    .with_source(error)
}

/// As [`from_database`], at the start, where a path that is read-only is not going to change.
pub(crate) fn from_opening(path: &Path, error: sqlx::Error) -> Error {
    const READ_ONLY: i32 = 8;
    const CANNOT_OPEN: i32 = 14;
    match primary_code(&error) {
        Some(READ_ONLY | CANNOT_OPEN) => from_file(path, io::Error::other(error)),
        _ => from_database(path, error),
    }
}

fn says_corrupt(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => primary_code(error).is_some_and(|code| SAYS_CORRUPT.contains(&code)),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => true,
        sqlx::Error::RowNotFound | sqlx::Error::ColumnIndexOutOfBounds { .. } | sqlx::Error::TypeNotFound { .. } => {
            true
        }
        _ => false,
    }
}

/// The low byte of SQLite's extended result code.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
