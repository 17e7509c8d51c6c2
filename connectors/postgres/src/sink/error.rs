//! What an error of the server means for a batch: by SQLSTATE.

use tailrace_core::Error;
use tailrace_core::ports::sink::FOREIGN_KEY;
use tailrace_sql::sink::error::of_target;

use crate::error::{query_error, without_values};

/// An error of a statement that wrote rows, or of the commit behind them. It may name a constraint, never a value: DETAIL is not taken over,
/// and what the message repeats of a row is left out.
pub(super) fn write_error(error: &tokio_postgres::Error, doing: &str) -> Error {
    let Some(db) = error.as_db_error() else {
        return of_target(query_error(error, doing));
    };
    let sqlstate = db.code().code();
    let said = format!(
        "cannot {doing}: the server says: {} (SQLSTATE {sqlstate})",
        without_values(sqlstate, db.message())
    );
    match (sqlstate.get(..2).unwrap_or_default(), sqlstate) {
        (_, "23503") => Error::poison(
            FOREIGN_KEY,
            format!(
                "{said}; the row that it refers to is not there, or one that refers to it still is: write that table by the same connector, or set `foreign_keys: ignore`"
            ),
        ),
        ("23", _) => Error::poison(
            "constraint_violation",
            format!("{said}; correct the row or the constraint, or set such events aside with `dead_letters`"),
        ),
        // Values that do not fit, texts that are none; exceptions of triggers, in whatever language; rows too large for a page; a key twice
        // in one statement.
        ("22" | "P0" | "54" | "21" | "44" | "27" | "38" | "39", _) => Error::poison(
            "value_refused",
            format!("{said}; correct the row, the column or the trigger, or set such events aside with `dead_letters`"),
        ),
        // A file of the server's own, an extension's for one: to who reads the log it would be a part of that.
        (_, "58P01") => Error::definite("target_error", format!("{said}; see the server's log")),
        (_, "25006") => Error::transient(
            "target_read_only",
            format!("{said}; it is a standby, or was set read-only: make it writable, or point `url` at the primary"),
        ),
        (_, "42P01") => Error::definite("table_missing", format!("{said}; make the table, or correct `table`")),
        (_, "42703") => Error::definite(
            "column_missing",
            format!("{said}; the table was changed: restart the connector"),
        ),
        (_, "42P10") => Error::definite(
            "key_not_unique",
            format!("{said}; the table lost the constraint that its key is found by"),
        ),
        (_, "42804" | "42846" | "42883") => Error::definite(
            "type_mismatch",
            format!(
                "{said}; the column's type cannot take such events: change it, or leave the column out with `transforms`"
            ),
        ),
        (_, "42501") => Error::definite(
            "insufficient_privilege",
            format!("{said}; `tailrace check` prints the GRANT that is missing"),
        ),
        (_, "40P01") => Error::transient("deadlock", said),
        (_, "55P03") => Error::transient(
            "lock_timeout",
            format!("{said}; another session holds a row or a table"),
        ),
        (_, "53100") => Error::transient("target_disk_full", format!("{said}; make room")),
        (_, "3F000") => Error::definite(
            "schema_missing",
            format!("{said}; make it (CREATE SCHEMA), or correct `table`"),
        ),
        _ => of_target(query_error(error, doing)),
    }
}
