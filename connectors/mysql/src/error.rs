//! What an error of the server, or of the way to it, means: by the server's number for it, and only for number 1236, under which
//! both dialects send everything that goes wrong with the log, by its words.

use std::io;

use mysql_async::{DriverError, IoError, TlsError};
use tailrace_core::Error;

use crate::endpoint::Endpoint;
use crate::log::dump::DumpError;
use crate::said::without_values;

/// `ER_MASTER_FATAL_ERROR_READING_BINLOG`.
const LOG_ERROR: u16 = 1236;
/// What it says where a file ends within an event; all versions of both dialects.
const CUT_OFF: &str = "binlog truncated in the middle of event";
/// The code for it.
pub(crate) const TORN: &str = "binlog_torn";

/// Transient or definite, with the stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Transient(&'static str),
    Definite(&'static str),
}

/// An error that came with a number. `doing` completes the sentence "cannot …". Values of rows are left out of what the server says.
pub(crate) fn server_error(number: u16, message: &str, doing: &str) -> Error {
    let meaning = match number {
        LOG_ERROR => log_meaning(message),
        _ if message.contains("insecure transport") => Meaning::Definite("source_tls"),
        _ => meaning(number),
    };
    let code = match meaning {
        Meaning::Transient(code) | Meaning::Definite(code) => code,
    };
    let remedy = remedy(code, number);
    let message = without_values(number, message);
    let text = format!("cannot {doing}: the server says: {message} (error {number}){remedy}");
    match meaning {
        Meaning::Transient(code) => Error::transient(code, text),
        Meaning::Definite(code) => Error::definite(code, text),
    }
}

/// An error of a connection that stood already, also of a log that is being read.
pub(crate) fn query_error(error: &mysql_async::Error, doing: &str) -> Error {
    match error {
        mysql_async::Error::Server(server) => server_error(server.code, &server.message, doing),
        mysql_async::Error::Driver(DriverError::LocalInfile(_)) => file_asked_for(doing),
        mysql_async::Error::Driver(_)
        | mysql_async::Error::Io(_)
        | mysql_async::Error::Other(_)
        | mysql_async::Error::Url(_) => {
            Error::transient("source_connection_lost", format!("cannot {doing}: {}", words(error)))
        }
    }
}

/// The server's number of an error, where it has one.
pub(crate) fn server_error_number(error: &mysql_async::Error) -> Option<u16> {
    match error {
        mysql_async::Error::Server(server) => Some(server.code),
        _ => None,
    }
}

/// Numbers that say that our user may not do something.
pub(crate) fn is_denied(number: u16) -> bool {
    meaning(number) == Meaning::Definite("insufficient_privilege")
}

/// An error on the way to a connection.
pub(crate) fn connect_error(error: &mysql_async::Error, endpoint: &Endpoint) -> Error {
    let server = endpoint.server();
    match error {
        mysql_async::Error::Server(said) => {
            let doing = format!("connect to {server} as user \"{}\"", endpoint.user);
            server_error(said.code, &said.message, &doing)
        }
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => Error::definite(
            "source_tls",
            format!(
                "{server} does not offer TLS; give it a certificate (`ssl_cert`, `ssl_key`), or set `tls.mode: disable` here if the network is trusted"
            ),
        ),
        mysql_async::Error::Driver(error) => driver_error(error, &server),
        mysql_async::Error::Io(IoError::Tls(error)) => tls_error(error, &server),
        mysql_async::Error::Io(IoError::Io(error)) => io_error(error, &server),
        mysql_async::Error::Other(_) | mysql_async::Error::Url(_) => unreachable(&server, &words(error)),
    }
}

/// An error of the log that is read, or is about to be. `doing` completes the sentence "cannot …".
pub(crate) fn dump_error(error: &DumpError, endpoint: &Endpoint, doing: &str) -> Error {
    let text = format!("cannot {doing}: {error}");
    match error {
        DumpError::Client(mysql_async::Error::Server(said)) => server_error(said.code, &said.message, doing),
        DumpError::Client(error) => connect_error(error, endpoint),
        DumpError::NotAllowed(_) => Error::definite("insufficient_privilege", text),
        DumpError::Silent(_) => Error::transient("source_connection_lost", text),
        DumpError::Ended => Error::transient("source_unavailable", text),
        // On the way here a bit may turn over, and the next time it does not.
        DumpError::Checksum { .. } => Error::transient("binlog_checksum", text),
        DumpError::Protocol(_) => Error::definite(
            "binlog_undecodable",
            format!("{text}; tell the authors, with the server's version"),
        ),
        DumpError::NoGtidSet(_) => Error::definite("gtid_invalid", text),
        DumpError::OffsetTooLarge(_) => Error::definite(
            "offset_too_large",
            format!("{text}; switch gtid_mode to ON, or FLUSH BINARY LOGS more often"),
        ),
    }
}

/// The file that is read ends within an event.
pub(crate) fn is_cut_off(error: &DumpError) -> bool {
    matches!(error, DumpError::Client(mysql_async::Error::Server(said)) if said.code == LOG_ERROR && said.message.contains(CUT_OFF))
}

/// No statement of ours loads a file, so no honest server asks for one.
fn file_asked_for(doing: &str) -> Error {
    let message = format!(
        "cannot {doing}: what answers asks for a file of this machine, and gets none; it is not the server that the `url` means, or somebody \
         stands in between: check the `url`, and set `tls.mode: verify_full`"
    );
    Error::definite("source_asks_for_file", message)
}

/// Nothing came in time.
pub(crate) fn connect_timeout(endpoint: &Endpoint, seconds: u64) -> Error {
    unreachable(&endpoint.server(), &format!("no answer within {seconds} s"))
}

fn unreachable(server: &str, why: &str) -> Error {
    Error::transient("source_unreachable", format!("cannot reach {server}: {why}"))
}

fn driver_error(error: &DriverError, server: &str) -> Error {
    let method = |why: &str| {
        Error::definite(
            "source_authentication_method",
            format!("cannot log in at {server}: {why}"),
        )
    };
    match error {
        DriverError::MysqlOldPasswordDisabled => method(
            "the user's password is stored as before MySQL 4.1, which is as good as plain text; set it again with a newer method",
        ),
        DriverError::CleartextPluginDisabled => method(
            "the server asks for the password in plain text, which is only sent to a server that is verified; set `tls.mode: verify_full`",
        ),
        // A server also names some method for a user that it does not have, so that nobody can find out whom it has.
        DriverError::UnknownAuthPlugin { name } => Error::transient(
            "source_authentication",
            format!(
                "cannot log in at {server}: there is no such user, or its method {name} is not known here; correct the user, \
                 or let it use caching_sha2_password, mysql_native_password or ed25519"
            ),
        ),
        DriverError::LocalInfile(_) => file_asked_for(&format!("connect to {server}")),
        other => unreachable(server, &other.to_string()),
    }
}

fn tls_error(error: &TlsError, server: &str) -> Error {
    match error {
        TlsError::Tls(error) => handshake_error(error, server),
        other => Error::definite("source_tls", format!("cannot speak TLS with {server}: {other}")),
    }
}

/// An error of the socket, or of the TLS session over it, which comes in the same wrapping.
fn io_error(error: &io::Error, server: &str) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(error) => handshake_error(error, server),
        None => unreachable(server, &error.to_string()),
    }
}

fn handshake_error(error: &rustls::Error, server: &str) -> Error {
    match error {
        rustls::Error::InvalidCertificate(why) => Error::definite(
            "source_tls",
            format!(
                "the certificate of {server} is not accepted: {why}; correct `tls.ca_file` or the host name, or choose another `tls.mode`"
            ),
        ),
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => Error::definite(
            "source_tls",
            format!(
                "{server} refuses the TLS session: {error}; check `tls.certificate_file` and the server's TLS versions (1.2 is the oldest)"
            ),
        ),
        other => unreachable(server, &other.to_string()),
    }
}

/// By number; those below 2000 are the same in both dialects.
fn meaning(number: u16) -> Meaning {
    use Meaning::{Definite, Transient};
    match number {
        // Access denied, host or account not (any more) welcome: a secret that is being rotated is retried, and read again each time.
        1045 | 1130 | 1698 | 1820 | 1862 | 3118 | 3878 | 3955 | 4151 => Transient("source_authentication"),
        1251 | 1275 | 1524 => Definite("source_authentication_method"),
        3159 => Definite("source_tls"),
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 => Definite("insufficient_privilege"),
        1040 | 1203 | 1226 => Transient("too_many_connections"),
        // Shutting down, offline, blocked after too many broken connections.
        1053 | 1077 | 1079 | 1129 | 3032 | 3168 => Transient("source_unavailable"),
        1042 | 1043 | 1152..=1161 | 1184 | 1189 | 1190 | 1927 | 2006 | 2013 | 2055 | 3169 | 4031 => {
            Transient("source_connection_lost")
        }
        1021 | 1037 | 1038 | 1041 | 1114 | 1135 => Transient("source_resources"),
        1205 => Transient("lock_timeout"),
        1213 | 1614 => Transient("serialization"),
        1317 | 1969 | 3024 => Transient("query_cancelled"),
        // The table was altered after the read view was taken.
        1412 => Transient("table_changed"),
        1049 => Definite("database_missing"),
        1051 | 1146 => Definite("table_missing"),
        1381 => Definite("log_bin"),
        4052 => Transient("server_id_conflict"),
        // Syntax, names, wrong state, features that the server does not have: the same again next time.
        1054 | 1064 | 1193 | 1220 | 1231 | 1235 | 1290 | 1305 | 1568 | 1792 => Definite("source_query"),
        _ => Transient("source_error"),
    }
}

/// The words under number 1236, from MySQL 5.6 to 9.7 and MariaDB 10.5 to 12. They are English whatever the server's language, and
/// since MySQL 8.0.26 say "source" and "replica" for "master" and "slave".
fn log_meaning(message: &str) -> Meaning {
    use Meaning::{Definite, Transient};
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    // The first that fits counts.
    if says(&["with the same server_uuid", "with the same server_id"]) {
        Transient("server_id_conflict")
    } else if says(&[
        "purged",
        "Could not find first log file name",
        "could not find next log",
    ]) {
        Definite("position_purged")
    } else if says(&["has diverged", "even though both a prior and a subsequent"]) {
        Definite("diverged")
    } else if says(&[
        "position > file size",
        "impossible position",
        "has more GTIDs than",
        "is not in the master's binlog",
        "is not in the source's binlog",
        // The offset is within an event of another log.
        "bogus data in log event",
    ]) {
        Definite("source_rewound")
    } else if says(&[CUT_OFF]) {
        Definite(TORN)
    } else if says(&["max_allowed_packet"]) {
        Definite("binlog_event_too_large")
    } else if says(&["AUTO_POSITION mode", "GTID_MODE = O", "anonymous transaction"]) {
        Definite("gtid_mode")
    } else if says(&["server id was not set", "server_id was not set"]) {
        Definite("server_id_missing")
    } else if says(&["Binary log is not open"]) {
        Definite("log_bin")
    } else if says(&["crc check", "checksum algorithm check", "decryption"]) {
        Definite("binlog_corrupt")
    } else if says(&["memory allocation failed"]) {
        Transient("source_resources")
    } else {
        Transient("binlog_unreadable")
    }
}

fn remedy(code: &str, number: u16) -> &'static str {
    match (code, number) {
        (_, 1129) => "; on the server: FLUSH HOSTS, or TRUNCATE TABLE performance_schema.host_cache",
        (_, 1820 | 1862) => "; set the user's password anew, it has expired",
        (_, 3118 | 4151) => "; ALTER USER … ACCOUNT UNLOCK",
        ("source_authentication", _) => "; correct the user or the password, which is read again at every attempt",
        ("source_authentication_method", _) => {
            "; use caching_sha2_password, mysql_native_password or ed25519 for this user"
        }
        ("source_tls", _) => "; set `tls.mode: verify_full`",
        ("insufficient_privilege", _) => "; `tailrace check` prints the GRANT that is missing",
        ("too_many_connections", _) => "; raise max_connections, or the user's MAX_USER_CONNECTIONS",
        ("query_cancelled", _) => "; the server was too busy to answer in time, or somebody ended the query",
        ("lock_timeout", _) => "; somebody holds or awaits a lock on the table for long: see SHOW PROCESSLIST",
        ("log_bin", _) => "; start the server with log_bin",
        ("server_id_conflict", _) => {
            "; another reader of the log has the same number: give each connector a `server_id_range` of its own"
        }
        ("position_purged", _) => {
            "; the server has deleted log that was not carried yet: `tailrace forget` and start again with a snapshot, and let the server keep its log longer (binlog_expire_logs_seconds)"
        }
        ("source_rewound" | "diverged", _) => {
            "; the server's log is not the one that was carried: it lost its end in a crash, was reset, or is another server's; \
             compare, then `tailrace forget` and start again with a snapshot"
        }
        (TORN, _) => {
            "; the server had no space, or crashed, while it wrote its log, and nothing says what it made of it: restart the server, which then tells which \
             transactions it has, or `tailrace forget` and start again with a snapshot"
        }
        ("binlog_event_too_large", _) => {
            "; raise max_allowed_packet on the server up to 1G: one change there is larger, or the position is not one of this log"
        }
        ("gtid_mode", _) => "; switch gtid_mode to ON step by step, and leave it there",
        ("server_id_missing", _) => "; give the server a server_id other than 0",
        ("binlog_corrupt", _) => {
            "; the log is damaged on the server's disk: `tailrace forget` and start again with a snapshot"
        }
        _ => "",
    }
}

/// An error of the client library in one line. Its variants that hold values of rows do not print them.
fn words(error: &mysql_async::Error) -> String {
    match error {
        mysql_async::Error::Driver(error) => error.to_string(),
        mysql_async::Error::Io(IoError::Io(error)) => error.to_string(),
        mysql_async::Error::Io(IoError::Tls(error)) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tailrace_core::error::Kind;

    use super::*;

    fn endpoint() -> Endpoint {
        let json = serde_json::json!({ "url": "mysql://u:c4n4ry@db/", "tables": ["shop.t"] });
        let config: crate::config::MySqlConfig = serde_json::from_value(json).unwrap();
        Endpoint::resolve(&config).unwrap()
    }

    #[test]
    fn numbers_are_classified() {
        for (number, kind, code) in [
            (1045, Kind::Transient, "source_authentication"),
            (1040, Kind::Transient, "too_many_connections"),
            (1203, Kind::Transient, "too_many_connections"),
            (1044, Kind::Definite, "insufficient_privilege"),
            (1142, Kind::Definite, "insufficient_privilege"),
            (1227, Kind::Definite, "insufficient_privilege"),
            (1053, Kind::Transient, "source_unavailable"),
            (2013, Kind::Transient, "source_connection_lost"),
            (1158, Kind::Transient, "source_connection_lost"),
            (1205, Kind::Transient, "lock_timeout"),
            (1213, Kind::Transient, "serialization"),
            (3024, Kind::Transient, "query_cancelled"),
            (1969, Kind::Transient, "query_cancelled"),
            (1146, Kind::Definite, "table_missing"),
            (1064, Kind::Definite, "source_query"),
            (4052, Kind::Transient, "server_id_conflict"),
            (9999, Kind::Transient, "source_error"),
        ] {
            let error = server_error(number, "why", "read the catalogue");
            assert_eq!((error.kind(), error.code()), (kind, code), "{number}");
            let begins = "cannot read the catalogue: the server says: why";
            assert!(error.report().starts_with(begins), "{error}");
        }
        assert!(is_denied(1227) && !is_denied(1045));
    }

    /// As the servers say it, old and new.
    const LOG_ERRORS: [(&str, &str); 25] = [
        (
            "Could not find first log file name in binary log index file",
            "position_purged",
        ),
        (
            "could not find next log; the first event 'b.000001' at 4, the last event read from './b.000003' at 900",
            "position_purged",
        ),
        (
            "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master has purged binary logs containing GTIDs that the slave requires.",
            "position_purged",
        ),
        (
            "Cannot replicate because the master purged required binary logs. Replicate the missing transactions from elsewhere, or provision a new slave from backup.",
            "position_purged",
        ),
        (
            "Cannot replicate because the source purged required binary logs. Replicate the missing transactions from elsewhere, or provision a new replica from backup.",
            "position_purged",
        ),
        (
            "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old and required binlog files have been purged.",
            "position_purged",
        ),
        (
            "Client requested master to start replication from position > file size",
            "source_rewound",
        ),
        (
            "Client requested source to start replication from position > file size",
            "source_rewound",
        ),
        (
            "Client requested master to start replication from impossible position; the first event 'b.000001' at 100000, the last event read from 'b.000001' at 4",
            "source_rewound",
        ),
        (
            "Slave has more GTIDs than the master has, using the master's SERVER_UUID. This may indicate that the end of the binary log was truncated",
            "source_rewound",
        ),
        (
            "Replica has more GTIDs than the source has, using the source's SERVER_UUID. This may indicate that the end of the binary log was truncated",
            "source_rewound",
        ),
        (
            "Error: connecting slave requested to start from GTID 0-1-12, which is not in the master's binlog",
            "source_rewound",
        ),
        (
            "bogus data in log event; the first event 'b.000003' at 130, the last event read from './b.000003' at 130",
            "source_rewound",
        ),
        (
            "binlog truncated in the middle of event; consider out of disk space on source; the first event 'b.000003' at 130",
            "binlog_torn",
        ),
        (
            "Error: connecting slave requested to start from GTID 0-1-12, which is not in the master's binlog. Since the master's binlog contains GTIDs with higher sequence numbers, it probably means that the slave has diverged due to executing extra erroneous transactions",
            "diverged",
        ),
        (
            "The binlog on the master is missing the GTID 0-1-12 requested by the slave (even though both a prior and a subsequent sequence number does exist), and GTID strict mode is enabled",
            "diverged",
        ),
        (
            "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on master; the first event 'b.000001' at 4",
            "binlog_event_too_large",
        ),
        (
            "log event entry exceeded replica_max_allowed_packet; Increase replica_max_allowed_packet on source",
            "binlog_event_too_large",
        ),
        (
            "A slave with the same server_uuid/server_id as this slave has connected to the master; the first event 'b.000001' at 4",
            "server_id_conflict",
        ),
        (
            "A replica with the same server_uuid/server_id as this replica has connected to the source; the first event 'b.000001' at 4",
            "server_id_conflict",
        ),
        (
            "The replication sender thread cannot start in AUTO_POSITION mode: this server has GTID_MODE = OFF instead of ON.",
            "gtid_mode",
        ),
        ("Misconfigured master - server id was not set", "server_id_missing"),
        ("Binary log is not open", "log_bin"),
        (
            "event read from binlog did not pass crc check; the first event 'b.000001' at 4",
            "binlog_corrupt",
        ),
        (
            "error reading log entry; the first event 'b.000001' at 4",
            "binlog_unreadable",
        ),
    ];

    #[test]
    fn errors_of_the_log_are_told_apart_by_their_words() {
        for (message, code) in LOG_ERRORS {
            let error = server_error(1236, message, "read the binary log");
            assert_eq!(error.code(), code, "{message}");
            let transient = ["server_id_conflict", "binlog_unreadable"].contains(&code);
            assert_eq!(error.kind() == Kind::Transient, transient, "{message}");
            assert!(transient || error.report().contains("; "), "{error}");
        }
    }

    #[test]
    fn a_server_that_insists_on_encryption_is_understood_in_either_dialect() {
        let message = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
        for number in [3159, 1105] {
            let error = server_error(number, message, "connect");
            assert_eq!((error.kind(), error.code()), (Kind::Definite, "source_tls"));
        }
    }

    #[test]
    fn broken_sockets_are_transient_and_bad_certificates_definite() {
        let endpoint = endpoint();
        let refused = mysql_async::Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let refused = connect_error(&refused, &endpoint);
        assert_eq!(
            (refused.kind(), refused.code()),
            (Kind::Transient, "source_unreachable")
        );
        assert!(refused.report().contains("db:3306") && !refused.report().contains("c4n4ry"));
        let expired = || rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let wrapped = mysql_async::Error::from(io::Error::new(io::ErrorKind::InvalidData, expired()));
        for error in [mysql_async::Error::from(expired()), wrapped] {
            let error = connect_error(&error, &endpoint);
            assert_eq!((error.kind(), error.code()), (Kind::Definite, "source_tls"));
        }
    }

    #[test]
    fn errors_of_a_dump() {
        let told = |error: DumpError| {
            let error = dump_error(&error, &endpoint(), "read the binary log");
            (error.kind(), error.code())
        };
        let server = mysql_async::ServerError {
            code: 1236,
            message: "Could not find first log file name in binary log index file".to_owned(),
            state: "HY000".to_owned(),
        };
        assert_eq!(
            told(DumpError::Client(server.into())),
            (Kind::Definite, "position_purged")
        );
        let lost = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(
            told(DumpError::Client(lost.into())),
            (Kind::Transient, "source_unreachable")
        );
        assert_eq!(told(DumpError::Ended), (Kind::Transient, "source_unavailable"));
        let silent = DumpError::Silent(std::time::Duration::from_secs(20));
        assert_eq!(told(silent), (Kind::Transient, "source_connection_lost"));
        let damaged = DumpError::Checksum {
            event_type: 30,
            log_position: 4,
        };
        assert_eq!(told(damaged), (Kind::Transient, "binlog_checksum"));
        assert_eq!(
            told(DumpError::OffsetTooLarge(1 << 32)),
            (Kind::Definite, "offset_too_large")
        );
    }

    #[test]
    fn weak_ways_to_log_in_are_refused() {
        let code = |error: DriverError| connect_error(&error.into(), &endpoint()).code();
        assert_eq!(code(DriverError::NoClientSslFlagFromServer), "source_tls");
        assert_eq!(
            code(DriverError::MysqlOldPasswordDisabled),
            "source_authentication_method"
        );
        assert_eq!(
            code(DriverError::CleartextPluginDisabled),
            "source_authentication_method"
        );
        let name = "sha256_password".to_owned();
        assert_eq!(code(DriverError::UnknownAuthPlugin { name }), "source_authentication");
        assert_eq!(code(DriverError::PacketOutOfOrder), "source_unreachable");
    }
}
