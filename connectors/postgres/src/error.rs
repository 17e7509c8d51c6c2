//! What an error of the server, or of the way to it, means: by SQLSTATE, never by the words of a translated message.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

use tailrace_core::Error;
use tokio_postgres::error::SqlState;

use crate::endpoint::Endpoint;
use crate::grants::statement;

/// Transient or definite, with the stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Transient(&'static str),
    Definite(&'static str),
}

/// An error that came with a SQLSTATE. `doing` completes the sentence "cannot …". Neither the DETAIL nor the HINT is taken over:
/// they may hold values of rows, which are left out of the message too.
pub(crate) fn server_error(sqlstate: &str, message: &str, doing: &str) -> Error {
    let remedy = remedy(sqlstate);
    let message = without_values(sqlstate, message);
    let text = format!("cannot {doing}: the server says: {message} (SQLSTATE {sqlstate}){remedy}");
    match meaning(sqlstate) {
        // A pooler's own errors come with the code of a protocol violation.
        Meaning::Transient(_) if sqlstate == "08P01" && message.contains("startup parameter") => Error::definite(
            "pooler_in_path",
            format!("{text}; a connection pooler stands before the server: connect to PostgreSQL itself"),
        ),
        Meaning::Transient(code) => Error::transient(code, text),
        Meaning::Definite(code) => Error::definite(code, text),
    }
}

/// The message with `…` in the place of values of rows: log and status are read by more people than tables are. Data exceptions (class
/// 22) repeat what they refuse, in whatever quotes the server's language has; other messages name objects, and what an exception of a
/// trigger says was written to be read.
pub(crate) fn without_values<'a>(sqlstate: &str, message: &'a str) -> Cow<'a, str> {
    const QUOTES: [char; 9] = ['"', '«', '»', '„', '“', '”', '‘', '’', '「'];
    let Some(first) = message.find(QUOTES).filter(|_| sqlstate.starts_with("22")) else {
        return Cow::Borrowed(message);
    };
    let before = message.get(..first).unwrap_or_default();
    let last = message.rfind(|character| QUOTES.contains(&character) || character == '」');
    let behind = message.get(last.unwrap_or(first)..).unwrap_or_default();
    // Bytes that are no characters stand behind the name of the encoding.
    let behind = behind.split("0x").next().unwrap_or_default();
    let mut behind = behind.chars();
    behind.next();
    Cow::Owned(format!("{before}\"…\"{}", behind.as_str()))
}

/// An error of a connection that stood already.
pub(crate) fn query_error(error: &tokio_postgres::Error, doing: &str) -> Error {
    match error.as_db_error() {
        Some(db) => server_error(db.code().code(), db.message(), doing),
        None => Error::transient("source_connection_lost", format!("cannot {doing}: {}", chain(error))),
    }
}

/// An error on the way to a connection.
pub(crate) fn connect_error(error: &tokio_postgres::Error, endpoint: &Endpoint) -> Error {
    let server = endpoint.server();
    if let Some(db) = error.as_db_error() {
        let doing = format!(
            "connect to {server} as role \"{}\" to the database \"{}\"",
            endpoint.user, endpoint.database
        );
        // Nobody who may not connect can be asked what else is missing.
        if *db.code() == SqlState::INSUFFICIENT_PRIVILEGE {
            let grant = statement::on_database("CONNECT", &endpoint.database, &endpoint.user);
            let message = format!("cannot {doing}: the server says: {}; {grant}", db.message());
            return Error::definite("insufficient_privilege", message);
        }
        return server_error(db.code().code(), db.message(), &doing);
    }
    // The client library has no kinds that could be asked; its words are pinned by tests against servers that provoke them.
    let io = find::<io::Error>(error);
    if let Some(why) = io.filter(|_| error.to_string() == "authentication error") {
        return impostor(why, endpoint);
    }
    if let Some(error) = io {
        return io_error(error, &server);
    }
    match chain(error).as_str() {
        words if words.contains("does not support TLS") => tls_refused(&server),
        words if words.contains("password missing") => Error::transient(
            "source_authentication",
            format!("{server} asks for a password; give it in `url`, `password` or `password_file`"),
        ),
        words if words.contains("authentication") => Error::transient(
            "source_authentication",
            format!("cannot log in at {server} as role \"{}\": {words}", endpoint.user),
        ),
        words => Error::transient("source_unreachable", format!("cannot reach {server}: {words}")),
    }
}

/// An answer in SCRAM that whoever knows the password, or what PostgreSQL keeps of it, would not give.
pub(crate) fn impostor(why: &io::Error, endpoint: &Endpoint) -> Error {
    let message = format!(
        "cannot log in at {} as role \"{}\": what answers there shows no knowledge of the password ({why}); check the `url`, and set \
         `tls.mode: verify_full`, so that nobody can stand in between",
        endpoint.server(),
        endpoint.user
    );
    Error::transient("source_authentication", message)
}

/// The server answered the request for TLS with "no".
pub(crate) fn tls_refused(server: &str) -> Error {
    Error::definite(
        "source_tls",
        format!(
            "{server} does not offer TLS; set `ssl = on` there, or `tls.mode: disable` here if the network is trusted"
        ),
    )
}

/// A length that no PostgreSQL writes. Nothing is read of it, and no room is made for it.
pub(crate) fn impossible_length(server: &str, what: &str, bytes: usize) -> Error {
    let message = format!(
        "{server} sends {what} that claims to have {bytes} bytes, which PostgreSQL never does; check that the `url` leads to it, and that \
         nothing in between changes what is sent"
    );
    Error::transient("source_protocol", message)
}

/// Nothing came in time.
pub(crate) fn connect_timeout(server: &str, seconds: u64) -> Error {
    Error::transient(
        "source_unreachable",
        format!("cannot reach {server}: no answer within {seconds} s"),
    )
}

/// An error of the socket or of the TLS session over it.
pub(crate) fn io_error(error: &io::Error, server: &str) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => Error::definite(
            "source_tls",
            format!(
                "the certificate of {server} is not accepted: {why}; correct `tls.ca_file` or the host name, or choose another `tls.mode`"
            ),
        ),
        Some(error @ (rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_))) => Error::definite(
            "source_tls",
            format!(
                "{server} refuses the TLS session: {error}; check `tls.certificate_file` and the server's TLS versions"
            ),
        ),
        Some(_) | None => Error::transient("source_unreachable", format!("cannot reach {server}: {error}")),
    }
}

fn meaning(sqlstate: &str) -> Meaning {
    use Meaning::{Definite, Transient};
    let class = sqlstate.get(..2).unwrap_or_default();
    match (class, sqlstate) {
        // A secret that is being rotated: retried slowly, read again each time.
        ("28", _) => Transient("source_authentication"),
        (_, "3D000") => Definite("database_missing"),
        (_, "42501") => Definite("insufficient_privilege"),
        (_, "42P01") => Definite("table_missing"),
        (_, "42704") => Definite("object_missing"),
        (_, "55006") => Transient("object_in_use"),
        (_, "55P03") => Transient("lock_timeout"),
        (_, "57014") => Transient("query_cancelled"),
        (_, "53300") => Transient("too_many_connections"),
        (_, "58P01") => Definite("wal_removed"),
        // Shut down, starting up, crashed; broken connection; out of memory or disk; serialization and deadlock.
        ("57", _) => Transient("source_unavailable"),
        ("08", _) => Transient("source_connection_lost"),
        ("53", _) => Transient("source_resources"),
        ("40", _) => Transient("serialization"),
        ("25", _) => Transient("transaction_ended"),
        // Syntax, wrong state, limits, features that the server does not have: the same again next time.
        ("0A" | "22" | "42" | "54" | "55", _) => Definite("source_query"),
        _ => Transient("source_error"),
    }
}

fn remedy(sqlstate: &str) -> &'static str {
    match sqlstate {
        "28P01" => "; correct the role or the password, which is read again at every attempt",
        "28000" => "; check the role and pg_hba.conf",
        "3D000" => "; correct the database in the `url`",
        "42501" => "; `tailrace check` prints the GRANT that is missing",
        "53300" => "; raise max_connections or give the role a higher CONNECTION LIMIT",
        "57014" => "; the server was too busy to answer in time",
        _ => "",
    }
}

/// The first cause of a type.
fn find<T: StdError + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error and its causes in one line.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_core::error::Kind;

    #[test]
    fn sqlstates_are_classified() {
        for (sqlstate, kind, code) in [
            ("28P01", Kind::Transient, "source_authentication"),
            ("28000", Kind::Transient, "source_authentication"),
            ("3D000", Kind::Definite, "database_missing"),
            ("42501", Kind::Definite, "insufficient_privilege"),
            ("57P03", Kind::Transient, "source_unavailable"),
            ("08006", Kind::Transient, "source_connection_lost"),
            ("53300", Kind::Transient, "too_many_connections"),
            ("58P01", Kind::Definite, "wal_removed"),
            ("42601", Kind::Definite, "source_query"),
            ("XX000", Kind::Transient, "source_error"),
            ("", Kind::Transient, "source_error"),
        ] {
            let error = server_error(sqlstate, "why", "read the catalogue");
            assert_eq!((error.kind(), error.code()), (kind, code), "{sqlstate}");
            assert!(
                error
                    .report()
                    .starts_with("cannot read the catalogue: the server says: why"),
                "{error}"
            );
        }
    }

    #[test]
    fn values_are_left_out_and_names_stay() {
        for (sqlstate, message, expected) in [
            (
                "22P02",
                "invalid input syntax for type integer: \"c4n\"4ry\"",
                "invalid input syntax for type integer: \"…\"",
            ),
            (
                "22P02",
                "ungültige Eingabesyntax für Typ integer: »c4n4ry«",
                "ungültige Eingabesyntax für Typ integer: \"…\"",
            ),
            (
                "22003",
                "value \"4242424242\" is out of range for type integer",
                "value \"…\" is out of range for type integer",
            ),
            (
                "22021",
                "invalid byte sequence for encoding \"UTF8\": 0xe9 0x20",
                "invalid byte sequence for encoding \"…\": ",
            ),
            (
                "22001",
                "value too long for type character varying(3)",
                "value too long for type character varying(3)",
            ),
            ("22P02", "cut off: \"", "cut off: \"…\""),
            (
                "23505",
                "duplicate key value violates unique constraint \"t_pkey\"",
                "duplicate key value violates unique constraint \"t_pkey\"",
            ),
        ] {
            assert_eq!(without_values(sqlstate, message), expected);
        }
    }

    #[test]
    fn a_pooler_is_named() {
        let error = server_error("08P01", "unsupported startup parameter: options", "connect");
        assert_eq!((error.kind(), error.code()), (Kind::Definite, "pooler_in_path"));
    }

    #[test]
    fn broken_sockets_are_transient_and_bad_certificates_definite() {
        let refused = io_error(&io::Error::from(io::ErrorKind::ConnectionRefused), "db:5432");
        assert_eq!(
            (refused.kind(), refused.code()),
            (Kind::Transient, "source_unreachable")
        );
        assert!(refused.report().contains("db:5432"));
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let expired = io_error(&io::Error::new(io::ErrorKind::InvalidData, expired), "db:5432");
        assert_eq!((expired.kind(), expired.code()), (Kind::Definite, "source_tls"));
    }
}
