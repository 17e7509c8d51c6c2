//! What an error of the server means for rows that are written, by the server's number for it.

use mysql_async::{DriverError, Error as ClientError};
use tailrace_core::Error;
use tailrace_core::error::Kind;
use tailrace_core::ports::sink::FOREIGN_KEY;
use tailrace_sql::sink::error::of_target;

use crate::error::query_error;
use crate::said::{masked, without_values};

/// A key that is there already.
pub(super) const DUPLICATE_KEY: u16 = 1062;
/// A lock that was not to be had in time.
pub(super) const LOCK_TIMEOUT: u16 = 1205;
/// A table that is not there.
pub(super) const TABLE_MISSING: u16 = 1146;
/// NULL in a column that takes none.
pub(super) const NULL_REFUSED: u16 = 1048;
/// A statement that the server does not understand.
const SYNTAX_ERROR: u16 = 1064;

/// What an error of a connection that stood already means. `doing` completes the sentence "cannot …".
pub(super) fn target_error(error: &ClientError, doing: &str) -> Error {
    match error {
        ClientError::Server(said) => server_error(said.code, &said.message, doing),
        ClientError::Driver(DriverError::LocalInfile(_)) => of_target(query_error(error, doing)),
        ClientError::Driver(_) | ClientError::Io(_) | ClientError::Other(_) | ClientError::Url(_) => {
            let message = format!("cannot {doing}: the connection was lost: {error}");
            Error::transient("target_connection_lost", message)
        }
    }
}

/// An error that came with a number. Values of rows are left out of what the server says.
pub(super) fn server_error(number: u16, said: &str, doing: &str) -> Error {
    let (kind, code, remedy) = meaning(number);
    let said = match number {
        // It repeats what it does not understand, and values are a part of our statements.
        SYNTAX_ERROR => masked(said, &[]),
        number => without_values(number, said),
    };
    let message = format!("cannot {doing}: the server says: {said} (error {number}); {remedy}");
    match kind {
        Kind::Transient => Error::transient(code, message),
        Kind::Poison => Error::poison(code, message),
        Kind::Definite => Error::definite(code, message),
        Kind::Fenced => Error::fenced(code, message),
    }
}

/// The answer to a commit did not come, or was that of a server that went away.
pub(super) fn commit_error(error: &ClientError) -> Error {
    let classified = target_error(error, "commit");
    let unknown = match error {
        ClientError::Server(said) => matches!(meaning(said.code).1, "target_unavailable" | "query_cancelled"),
        _ => true,
    };
    if !unknown && classified.kind() != Kind::Poison {
        return classified;
    }
    let message =
        "the answer to a commit was lost; whether it took place is read from the table of offsets at the next attempt";
    Error::transient("commit_unknown", message).with_source(classified)
}

/// Kind, code and remedy. Numbers are those of both dialects' lists of errors; what is not listed halts, because nobody knows whether the
/// next attempt, or the next row, would fare better.
fn meaning(number: u16) -> (Kind, &'static str, &'static str) {
    transient(number)
        .map(|(code, remedy)| (Kind::Transient, code, remedy))
        .or_else(|| poison(number).map(|(code, remedy)| (Kind::Poison, code, remedy)))
        .unwrap_or_else(|| {
            let (code, remedy) = definite(number);
            (Kind::Definite, code, remedy)
        })
}

fn transient(number: u16) -> Option<(&'static str, &'static str)> {
    Some(match number {
        LOCK_TIMEOUT => (
            "lock_timeout",
            "somebody holds a lock on the row or the table for long: see SHOW ENGINE INNODB STATUS and SHOW PROCESSLIST",
        ),
        1213 => ("deadlock", "the batch is written again"),
        // Failed certification of a cluster, a table that was altered under a transaction, a row that was changed under one.
        1020 | 1180 | 1412 | 1614 => ("serialization", "the batch is written again"),
        // --read-only, --super-read-only, a read-only transaction, a server in innodb_read_only, one that is a replica now.
        1290 | 1792 | 1836 | 1874 | 3098 | 4093 => (
            "target_read_only",
            "the server takes no writes: name the server that does in the `url`, or SET GLOBAL read_only = OFF",
        ),
        // The disk, or the files that a table may have.
        1021 | 1114 => ("target_disk_full", "make room"),
        // No memory, files that cannot be written.
        3 | 1026 | 1030 | 1037 | 1038 | 1041 | 1135 | 1534 | 1637 => {
            ("target_resources", "give the server disk space or memory")
        }
        1040 | 1203 | 1226 => (
            "too_many_connections",
            "raise max_connections, or the user's MAX_USER_CONNECTIONS",
        ),
        // Shutting down, not yet part of its cluster, offline, disconnected by the server.
        1042
        | 1043
        | 1047
        | 1053
        | 1077
        | 1079
        | 1152
        | 1154..=1161
        | 1184
        | 1189
        | 1190
        | 1927
        | 2006
        | 2013
        | 2055
        | 3032
        | 3100
        | 3101
        | 3168
        | 3169
        | 4031 => ("target_unavailable", "it is tried again"),
        1317 | 1969 | 3024 => (
            "query_cancelled",
            "somebody ended the statement, or a time limit of the server did",
        ),
        _ => return None,
    })
}

fn poison(number: u16) -> Option<(&'static str, &'static str)> {
    Some(match number {
        DUPLICATE_KEY | 1022 | 1586 | 1761 | 1762 => (
            "duplicate_key",
            "another row has the values of a unique index; correct one of the two rows, or drop the index",
        ),
        NULL_REFUSED | 1263 | 1364 => (
            "null_refused",
            "let the column be NULL, give it a default, or give the event a value for it",
        ),
        1216 | 1217 | 1451 | 1452 => (
            FOREIGN_KEY,
            "the row that it refers to is not there, or one that refers to it still is: write that table by the same connector, or set `foreign_keys: ignore`",
        ),
        // Characters that the column's set does not have, compared with those that it does.
        1267 | 1270 | 1271 => (
            "value_refused",
            "the key has characters that the column's character set does not: make it utf8mb4, or correct the value at its source",
        ),
        3819 | 4025 => ("check_constraint", "correct the row, or drop the constraint"),
        1644 => ("trigger_refused", "a trigger or procedure of the table refuses the row"),
        // Out of range, too long, not in the column's form or character set, not a document, not a geometry; a row or packet that is too large.
        1067
        | 1118
        | 1138
        | 1139
        | 1153
        | 1264
        | 1265
        | 1292
        | 1366
        | 1367
        | 1406
        | 1411
        | 1416
        | 1426
        | 1441
        | 1526
        | 1690
        | 1904
        | 1977
        | 3037
        | 3055
        | 3140..=3158
        | 3516
        | 3548
        | 3616
        | 3617
        | 3643
        | 3732
        | 3854
        | 3903
        | 4079
        | 6136..=6139 => (
            "value_refused",
            "give the column a type that holds the value, or correct the value at its source",
        ),
        _ => return None,
    })
}

fn definite(number: u16) -> (&'static str, &'static str) {
    match number {
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 => (
            "insufficient_privilege",
            "`tailrace check` prints the GRANT that is missing",
        ),
        1049 => ("database_missing", "CREATE DATABASE, or correct the `url`"),
        1051 | TABLE_MISSING => ("table_missing", "create the table, or set `evolve: add`"),
        1054 | 1091 => ("column_missing", "add the column, or set `evolve: add`"),
        1665 | 1666 | 1785 | 1786 | 1787 => (
            "binlog_format",
            "rows are written at READ COMMITTED, which a log with statements cannot hold: SET GLOBAL binlog_format = 'ROW'",
        ),
        1288 | 1348 | 1906 | 3105 => ("column_generated", "leave the column out: the database computes it"),
        1071 | 1170 => (
            "key_too_long",
            "create the table with a shorter key, or with ROW_FORMAT = DYNAMIC",
        ),
        _ => (
            "target_error",
            "correct what the server says, then resume the connector",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_classified() {
        let of = |number| {
            let error = server_error(number, "words", "write rows");
            (error.kind(), error.code())
        };
        for (number, kind, code) in [
            (1205, Kind::Transient, "lock_timeout"),
            (1213, Kind::Transient, "deadlock"),
            (1614, Kind::Transient, "serialization"),
            (1290, Kind::Transient, "target_read_only"),
            (1836, Kind::Transient, "target_read_only"),
            (1114, Kind::Transient, "target_disk_full"),
            (1041, Kind::Transient, "target_resources"),
            (2013, Kind::Transient, "target_unavailable"),
            (1062, Kind::Poison, "duplicate_key"),
            (1048, Kind::Poison, "null_refused"),
            (1264, Kind::Poison, "value_refused"),
            (1366, Kind::Poison, "value_refused"),
            (1267, Kind::Poison, "value_refused"),
            (1452, Kind::Poison, "foreign_key"),
            (3819, Kind::Poison, "check_constraint"),
            (1146, Kind::Definite, "table_missing"),
            (1054, Kind::Definite, "column_missing"),
            (1142, Kind::Definite, "insufficient_privilege"),
            (9999, Kind::Definite, "target_error"),
        ] {
            assert_eq!(of(number), (kind, code), "{number}");
        }
    }

    #[test]
    fn a_lost_answer_to_a_commit_is_no_failure_of_it() {
        let lost = ClientError::Io(std::io::Error::other("gone").into());
        assert_eq!(commit_error(&lost).code(), "commit_unknown");
        let said = |code| {
            ClientError::Server(mysql_async::ServerError {
                code,
                message: "words".to_owned(),
                state: "HY000".to_owned(),
            })
        };
        assert_eq!(commit_error(&said(1213)).code(), "deadlock");
        assert_eq!(commit_error(&said(1053)).code(), "commit_unknown");
    }
}
