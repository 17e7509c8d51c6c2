//! What SQLite's result codes mean for rows that are written: <https://www.sqlite.org/rescode.html>.

use std::path::Path;

use tailrace_core::Error;
use tailrace_core::ports::sink::FOREIGN_KEY;
use tailrace_sql::sink::alters_table;

use crate::error::code;

/// A unique index, a primary key or a rowid has the value already.
const UNIQUE: [i32; 3] = [2067, 1555, 2579];
const NOT_NULL: i32 = 1299;
const FOREIGN_KEY_BROKEN: i32 = 787;
const CHECK: i32 = 275;
const TRIGGER: i32 = 1811;
const DATATYPE: i32 = 3091;
const ERROR: i32 = 1;
const TOO_BIG: i32 = 18;
const MISMATCH: i32 = 20;
/// What `abs` says of the smallest number, which our statements ask for where a key is not what it seems.
const OVERFLOW: &str = "integer overflow";

/// The extended result code, where SQLite gave one.
pub(super) fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Another row has the values of a unique index.
pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    extended_code(error).is_some_and(|code| UNIQUE.contains(&code))
}

/// Our own expression for keys that are equal by a collation alone.
pub(super) fn is_collision(error: &sqlx::Error) -> bool {
    extended_code(error) == Some(ERROR)
        && error
            .as_database_error()
            .is_some_and(|error| error.message().contains(OVERFLOW))
}

/// The table is not there.
pub(super) fn is_table_missing(error: &sqlx::Error) -> bool {
    says(error, "no such table")
}

/// A table or column is there already.
pub(super) fn is_there_already(error: &sqlx::Error, statement: &str) -> bool {
    let is_column = says(error, "duplicate column name") && alters_table(statement);
    is_column || says(error, "already exists")
}

/// Under its general code SQLite only tells by words what is wrong.
fn says(error: &sqlx::Error, words: &str) -> bool {
    extended_code(error) == Some(ERROR)
        && error
            .as_database_error()
            .is_some_and(|error| error.message().contains(words))
}

/// Classifies what SQLite answered. `doing` completes the sentence "cannot …".
pub(super) fn target_error(error: sqlx::Error, path: &Path, doing: &str) -> Error {
    let file = path.display();
    let Some(extended) = extended_code(&error) else {
        let message = format!("cannot {doing} in {file} at the moment");
        return Error::transient("target_unreachable", message).with_source(error);
    };
    let sentence = |remedy: &str| format!("cannot {doing} in {file}; {remedy}");
    let poison = |code: &'static str, remedy: &str| Error::poison(code, sentence(remedy));
    let classified = match extended {
        _ if UNIQUE.contains(&extended) => poison(
            "duplicate_key",
            "another row has the values of a unique index: correct one of the two rows, or drop the index",
        ),
        NOT_NULL => poison(
            "null_refused",
            "let the column be NULL, give it a default, or give the event a value for it",
        ),
        FOREIGN_KEY_BROKEN => poison(
            FOREIGN_KEY,
            "the row that it refers to is not there, or one that refers to it still is: write that table by the same connector, or set `foreign_keys: ignore`",
        ),
        CHECK => poison("check_constraint", "correct the row, or drop the constraint"),
        TRIGGER => poison("trigger_refused", "a trigger of the table refuses the row"),
        DATATYPE | MISMATCH | TOO_BIG => poison(
            "value_refused",
            "give the column a type that holds the value, or correct the value at its source",
        ),
        ERROR if is_table_missing(&error) => {
            Error::definite("table_missing", sentence("create the table, or set `evolve: add`"))
        }
        ERROR if says(&error, "no such column") || says(&error, "has no column") => {
            Error::definite("column_missing", sentence("add the column, or set `evolve: add`"))
        }
        extended => return by_primary_code(error, extended & 0xff, &sentence),
    };
    classified.with_source(error)
}

fn by_primary_code(error: sqlx::Error, primary: i32, sentence: &dyn Fn(&str) -> String) -> Error {
    let classified = match primary {
        code::BUSY | code::LOCKED | code::PROTOCOL => Error::transient(
            "target_locked",
            sentence("another process holds its lock: it is tried again"),
        ),
        code::READONLY => Error::transient(
            "target_read_only",
            sentence("file and folder must be writable for this user: chmod or chown them"),
        ),
        code::FULL => Error::transient("target_disk_full", sentence("make room: it is tried again")),
        code::NOMEM | code::IOERR => Error::transient(
            "target_resources",
            sentence("see to its disk and to the machine's memory: it is tried again"),
        ),
        code::CANTOPEN | code::INTERRUPT | code::SCHEMA => {
            Error::transient("target_unreachable", sentence("it is tried again"))
        }
        code::PERM | code::AUTH => Error::definite("insufficient_privilege", sentence("chmod or chown the file")),
        code::CORRUPT | code::NOTADB => Error::definite(
            "target_corrupt",
            sentence("run PRAGMA integrity_check, and restore it or recover it with .recover"),
        ),
        _ => Error::definite(
            "target_error",
            sentence("correct what SQLite says, then resume the connector"),
        ),
    };
    classified.with_source(error)
}

#[cfg(test)]
mod tests {
    use tailrace_core::error::Kind;

    use super::*;

    #[test]
    fn what_the_driver_itself_says_is_tried_again() {
        let error = target_error(sqlx::Error::WorkerCrashed, Path::new("shop.db"), "write rows");
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "target_unreachable"));
    }
}
