//! Whether a server still has what comes after a stored position, and how to ask for it. Decided from what the server says of
//! itself, before its log is touched: a server that is asked for the wrong place may answer with the right words and the wrong rows.
//!
//! ```text
//!                          identifiers on both sides              file and offset only
//!   same server            go on by identifiers, and compare      go on by file, and compare
//!                          the file's fingerprint where it is     the file's fingerprint
//!                          still there
//!   another server         go on by identifiers, where it has     refuse: its files have nothing to
//!                          everything that was carried            do with those of the old one
//! ```
//!
//! Identifiers alone do not tell a log that was reset and refilled from the one before: `RESET MASTER` counts from 1 again under
//! the same server's name. The file's fingerprint does.

use serde::{Deserialize, Serialize};
use tailrace_core::{Error, Result};

use crate::position::gtid::GtidSet;
use crate::position::{BinlogPosition, FileOffset, compare_files};
use crate::server::{Flavour, LogFile, ServerFacts, ServerGtids};

/// What ends every refusal for which there is no other way.
const BEGIN_ANEW: &str = "`tailrace forget` the connector to begin anew with a snapshot";

/// Who a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerIdentity {
    /// Dialect.
    pub(crate) flavour: Flavour,
    /// `server_uuid`; MariaDB has none.
    pub(crate) uuid: Option<String>,
    /// `server_id`, which is all that a MariaDB server is known by.
    pub(crate) server_id: u32,
}

/// How the log is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// By what.
    pub(crate) by: StartBy,
    /// The first event of the position's file must have been written in the second that the position says
    /// ([`verify_fingerprint`]) before anything is carried.
    pub(crate) compare_fingerprint: bool,
    /// It is another server than before, which has everything that was carried: to be remembered.
    pub(crate) failed_over: bool,
}

/// By what the log is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartBy {
    /// Everything that is not in the position's set of transaction identifiers.
    Gtids,
    /// Everything from the position's file and offset on.
    File,
}

/// Where a position is among the files that a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Within a file that is there.
    Within,
    /// Before the first file, or in a gap between two.
    Purged,
    /// Behind the end of its file or of the last one.
    Ahead,
    /// The files have another base name.
    Elsewhere,
    /// Our user may not see the files.
    Unknown,
}

/// How to go on from a position, or why not.
pub(crate) fn decide_start(saved: &BinlogPosition, was: &ServerIdentity, now: &ServerFacts) -> Result<Start> {
    let same_server = was.is(now);
    match (&saved.gtids, &now.gtids) {
        (Some(carried), Some(gtids)) if same_server => {
            verify_executed(carried, gtids, || rewound(saved, now, carried, gtids))?;
            verify_not_purged(carried, gtids)?;
            start_on_same_server(saved, now)
        }
        // An empty set is in every other one and proves nothing.
        (Some(carried), Some(gtids)) if was.flavour == now.flavour() && !carried.is_empty() => {
            verify_executed(carried, gtids, || not_a_replica(saved, was, now, gtids))?;
            verify_not_purged(carried, gtids)?;
            start_after_failover(saved, was, now)
        }
        _ if same_server => start_by_file(saved, now),
        _ => Err(other_server(was, now)),
    }
}

/// Compares the second in which the server opened a file with the one that a position remembers.
pub(crate) fn verify_fingerprint(saved: &BinlogPosition, started_s: u32) -> Result<()> {
    match saved.file_started_s {
        Some(remembered) if remembered != started_s => Err(Error::definite(
            "source_identity_changed",
            format!(
                "the server's {} is another file than the one that was read up to {}: its log was reset, or it was restored from a backup, \
                 and has used the name again; compare, then {BEGIN_ANEW}",
                saved.at.file, saved.at
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

// === impl ServerIdentity ===

impl ServerIdentity {
    /// The server that was just asked.
    pub(crate) fn of(server: &ServerFacts) -> Self {
        Self {
            flavour: server.flavour(),
            uuid: server.server_uuid.clone(),
            server_id: server.server_id,
        }
    }

    /// By its UUID where it has one, because `server_id` may be configured anew.
    /// Refuses another server, where nothing but its name could prove that it has the same rows.
    pub(crate) fn refuse_other(&self, server: &ServerFacts) -> Result<()> {
        if self.is(server) {
            return Ok(());
        }
        Err(other_server(self, server))
    }

    fn is(&self, server: &ServerFacts) -> bool {
        let same = match (&self.uuid, &server.server_uuid) {
            (Some(was), Some(is)) => was == is,
            _ => self.server_id == server.server_id,
        };
        same && self.flavour == server.flavour()
    }

    fn name(&self) -> String {
        match &self.uuid {
            Some(uuid) => format!("{} server {uuid}", self.flavour.name()),
            None => format!("{} server with server_id {}", self.flavour.name(), self.server_id),
        }
    }
}

// === by identifiers ===

fn verify_executed(carried: &GtidSet, gtids: &ServerGtids, refuse: impl FnOnce() -> Error) -> Result<()> {
    let executed = match (carried, &gtids.state) {
        // Not only the number, also whose it is: two masters that ran apart count the same domain.
        (GtidSet::MariaDb(carried), Some(state)) => carried.iter().all(|gtid| state.has_executed(&gtid)),
        _ => carried.is_subset_of(&gtids.executed),
    };
    if executed { Ok(()) } else { Err(refuse()) }
}

fn verify_not_purged(carried: &GtidSet, gtids: &ServerGtids) -> Result<()> {
    let Some(purged) = gtids.purged.as_ref().filter(|purged| !purged.is_subset_of(carried)) else {
        return Ok(());
    };
    Err(Error::definite(
        "position_purged",
        format!(
            "the server has deleted log that was not carried yet: {} of the transactions that are no more in its files; \
             {BEGIN_ANEW}, and let the server keep its log longer (binlog_expire_logs_seconds)",
            purged.minus(carried)
        ),
    ))
}

fn start_on_same_server(saved: &BinlogPosition, now: &ServerFacts) -> Result<Start> {
    let by = StartBy::Gtids;
    let place = place(&saved.at, &now.log_files);
    let start = |compare_fingerprint| Start {
        by,
        compare_fingerprint,
        failed_over: false,
    };
    match place {
        Place::Ahead => Err(ahead(saved, now)),
        Place::Within => {
            verify_pending(saved, now)?;
            Ok(start(true))
        }
        // Its end was carried, or the operator gave the files another name: the identifiers go on.
        Place::Purged | Place::Elsewhere | Place::Unknown if saved.pending.is_empty() => Ok(start(false)),
        Place::Purged | Place::Elsewhere | Place::Unknown => Err(pending_purged(saved)),
    }
}

fn start_after_failover(saved: &BinlogPosition, was: &ServerIdentity, now: &ServerFacts) -> Result<Start> {
    if saved.pending.is_empty() {
        return Ok(Start {
            by: StartBy::Gtids,
            compare_fingerprint: false,
            failed_over: true,
        });
    }
    let message = format!(
        "this connector's progress belongs to the {}, where {} XA transactions were prepared and not decided; their rows cannot be found again on {}: \
         go back to the old server until they are decided, or {BEGIN_ANEW}",
        was.name(),
        saved.pending.len(),
        now.hostname
    );
    Err(Error::definite("source_identity_changed", message))
}

// === by file ===

fn start_by_file(saved: &BinlogPosition, now: &ServerFacts) -> Result<Start> {
    match place(&saved.at, &now.log_files) {
        Place::Within | Place::Unknown => {
            verify_pending(saved, now)?;
            Ok(Start {
                by: StartBy::File,
                compare_fingerprint: true,
                failed_over: false,
            })
        }
        Place::Purged => Err(purged(&saved.at, now)),
        Place::Ahead => Err(ahead(saved, now)),
        Place::Elsewhere => {
            let first = now.log_files.first().map(|file| file.name.as_str()).unwrap_or_default();
            let message = format!(
                "this connector's progress is in {}, but the server's log begins with {first}: its files were given another name, \
                 or it is another server; {BEGIN_ANEW}",
                saved.at
            );
            Err(Error::definite("source_identity_changed", message))
        }
    }
}

fn verify_pending(saved: &BinlogPosition, now: &ServerFacts) -> Result<()> {
    match place(saved.needed_from(), &now.log_files) {
        Place::Within | Place::Unknown => Ok(()),
        Place::Purged | Place::Ahead | Place::Elsewhere => Err(pending_purged(saved)),
    }
}

fn place(at: &FileOffset, files: &[LogFile]) -> Place {
    if let Some(file) = files.iter().find(|file| file.name == at.file) {
        return if at.offset <= file.size_bytes {
            Place::Within
        } else {
            Place::Ahead
        };
    }
    let Some(last) = files.last() else {
        return Place::Unknown;
    };
    match compare_files(&at.file, &last.name) {
        Some(std::cmp::Ordering::Greater) => Place::Ahead,
        Some(_) => Place::Purged,
        None => Place::Elsewhere,
    }
}

// === refusals ===

fn purged(at: &FileOffset, now: &ServerFacts) -> Error {
    let first = now.log_files.first().map(|file| file.name.as_str()).unwrap_or_default();
    let message = format!(
        "the server has deleted log that was not carried yet: progress is at {at}, and its log begins with {first}; \
         {BEGIN_ANEW}, and let the server keep its log longer (binlog_expire_logs_seconds)"
    );
    Error::definite("position_purged", message)
}

fn pending_purged(saved: &BinlogPosition) -> Error {
    let message = format!(
        "the server has deleted log with rows of an XA transaction that is not decided yet: they were prepared at {}; {BEGIN_ANEW}",
        saved.needed_from()
    );
    Error::definite("position_purged", message)
}

fn ahead(saved: &BinlogPosition, now: &ServerFacts) -> Error {
    let end = now
        .log_end
        .as_ref()
        .map_or_else(|| "before it".to_owned(), |end| format!("at {end}"));
    let message = format!(
        "changes up to {} were carried, but the server's log ends {end}: it lost its end in a crash, was reset, or was restored from a backup; \
         compare what is in the stream and not in the database, then {BEGIN_ANEW}",
        saved.at
    );
    Error::definite("source_rewound", message)
}

fn rewound(saved: &BinlogPosition, now: &ServerFacts, carried: &GtidSet, gtids: &ServerGtids) -> Error {
    if place(&saved.at, &now.log_files) == Place::Ahead {
        return ahead(saved, now);
    }
    let message = format!(
        "transactions were carried that the server does not know any more ({}): it lost the end of its log in a crash, its log was reset, \
         or it was restored from a backup; compare what is in the stream and not in the database, then {BEGIN_ANEW}",
        missing(carried, gtids)
    );
    Error::definite("source_rewound", message)
}

/// The last of each domain that is somebody else's now, or what is simply not there.
fn missing(carried: &GtidSet, gtids: &ServerGtids) -> String {
    match (carried, &gtids.state) {
        (GtidSet::MariaDb(carried), Some(state)) => {
            let missing = carried.iter().filter(|gtid| !state.has_executed(gtid));
            missing.map(|gtid| gtid.to_string()).collect::<Vec<_>>().join(",")
        }
        _ => carried.minus(&gtids.executed).to_string(),
    }
}

fn not_a_replica(saved: &BinlogPosition, was: &ServerIdentity, now: &ServerFacts, gtids: &ServerGtids) -> Error {
    let Some(carried) = saved.gtids.as_ref().filter(|carried| shares(carried, gtids)) else {
        return other_server(was, now);
    };
    let message = format!(
        "{} took over from the {}, but transactions were carried that it does not have ({}): they are in the stream and not in the database; \
         compare them, then {BEGIN_ANEW}",
        now.hostname,
        was.name(),
        missing(carried, gtids)
    );
    Error::definite("diverged", message)
}

/// Some of what was carried is known to the server.
fn shares(carried: &GtidSet, gtids: &ServerGtids) -> bool {
    match (carried, &gtids.state) {
        (GtidSet::MariaDb(carried), Some(state)) => {
            // What came before the last of a domain is known where the state has any transaction of that server.
            carried.iter().any(|gtid| state.knows_server(&gtid))
        }
        _ => carried.minus(&gtids.executed) != *carried,
    }
}

fn other_server(was: &ServerIdentity, now: &ServerFacts) -> Error {
    let message = format!(
        "this connector's progress belongs to the {}, but the configuration leads to the {} ({}), and nothing proves that it has the same transactions; \
         correct the configuration, or {BEGIN_ANEW} there",
        was.name(),
        ServerIdentity::of(now).name(),
        now.hostname
    );
    Error::definite("source_identity_changed", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::{file, mariadb, mysql};

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn saved(text: &str) -> BinlogPosition {
        text.replace("UUID", UUID).parse().unwrap()
    }

    fn decided(position: &str, now: &ServerFacts) -> Result<Start, &'static str> {
        let was = match now.flavour() {
            Flavour::MySql => ServerIdentity::of(&mysql()),
            Flavour::MariaDb => ServerIdentity::of(&mariadb()),
        };
        decide_start(&saved(position), &was, now).map_err(|error| error.code())
    }

    fn start(by: StartBy, compare_fingerprint: bool, failed_over: bool) -> Result<Start, &'static str> {
        Ok(Start {
            by,
            compare_fingerprint,
            failed_over,
        })
    }

    fn without_gtids() -> ServerFacts {
        ServerFacts { gtids: None, ..mysql() }
    }

    /// A replica with the same transactions, in files of its own.
    fn replica() -> ServerFacts {
        ServerFacts {
            server_uuid: Some("99999999-71ca-11e1-9e33-c80aa9429562".to_owned()),
            server_id: 2,
            log_files: vec![file("binlog.000001", 100)],
            ..mysql()
        }
    }

    /// Files 2 (900 bytes) and 3 (5000 bytes), transactions 1 to 100, of which 1 to 10 are purged.
    #[test]
    fn on_the_same_server_by_identifiers() {
        use StartBy::Gtids;
        for (position, expected) in [
            ("mysql-bin.000003:4;mysql_gtids=UUID:1-50", start(Gtids, true, false)),
            (
                "mysql-bin.000003:5000;mysql_gtids=UUID:1-100",
                start(Gtids, true, false),
            ),
            // The file is gone, and everything in it was carried.
            ("mysql-bin.000001:900;mysql_gtids=UUID:1-10", start(Gtids, false, false)),
            ("other.000001:900;mysql_gtids=UUID:1-10", start(Gtids, false, false)),
            ("mysql-bin.000001:900;mysql_gtids=UUID:1-9", Err("position_purged")),
            ("mysql-bin.000002:4;mysql_gtids=", Err("position_purged")),
            ("mysql-bin.000003:4;mysql_gtids=UUID:1-101", Err("source_rewound")),
            // Reset, and fewer transactions since: the same numbers as before, but files that begin anew.
            ("mysql-bin.000007:4;mysql_gtids=UUID:1-50", Err("source_rewound")),
            ("mysql-bin.000003:5001;mysql_gtids=UUID:1-50", Err("source_rewound")),
            (
                "mysql-bin.000003:4;mysql_gtids=UUID:1-50;xa=1.61.@mysql-bin.000002:4",
                start(Gtids, true, false),
            ),
            (
                "mysql-bin.000003:4;mysql_gtids=UUID:1-50;xa=1.61.@mysql-bin.000001:4",
                Err("position_purged"),
            ),
            (
                "mysql-bin.000001:4;mysql_gtids=UUID:1-50;xa=1.61.@mysql-bin.000001:4",
                Err("position_purged"),
            ),
        ] {
            assert_eq!(decided(position, &mysql()), expected, "{position}");
        }
    }

    #[test]
    fn on_the_same_server_by_file() {
        use StartBy::File;
        for (position, expected) in [
            ("mysql-bin.000003:4", start(File, true, false)),
            ("mysql-bin.000002:900", start(File, true, false)),
            ("mysql-bin.000001:4", Err("position_purged")),
            ("mysql-bin.000003:5001", Err("source_rewound")),
            ("mysql-bin.000004:4", Err("source_rewound")),
            ("other.000003:4", Err("source_identity_changed")),
            // Identifiers were switched off since.
            ("mysql-bin.000003:4;mysql_gtids=UUID:1-500", start(File, true, false)),
            ("mysql-bin.000003:4;xa=1.61.@mysql-bin.000001:4", Err("position_purged")),
        ] {
            assert_eq!(decided(position, &without_gtids()), expected, "{position}");
        }
        // Identifiers were switched on since.
        assert_eq!(decided("mysql-bin.000003:4", &mysql()), start(File, true, false));
        let blind = ServerFacts {
            log_files: Vec::new(),
            ..without_gtids()
        };
        assert_eq!(decided("mysql-bin.000003:4", &blind), start(File, true, false));
    }

    #[test]
    fn on_another_server() {
        for (position, expected) in [
            (
                "mysql-bin.000003:4;mysql_gtids=UUID:1-50",
                start(StartBy::Gtids, false, true),
            ),
            ("mysql-bin.000003:4;mysql_gtids=UUID:1-101", Err("diverged")),
            ("mysql-bin.000003:4;mysql_gtids=UUID:1-9", Err("position_purged")),
            (
                "mysql-bin.000003:4;mysql_gtids=11111111-71ca-11e1-9e33-c80aa9429562:1",
                Err("source_identity_changed"),
            ),
            ("mysql-bin.000003:4;mysql_gtids=", Err("source_identity_changed")),
            ("mysql-bin.000003:4", Err("source_identity_changed")),
            (
                "mysql-bin.000003:4;mysql_gtids=UUID:1-50;xa=1.61.@mysql-bin.000003:4",
                Err("source_identity_changed"),
            ),
        ] {
            assert_eq!(decided(position, &replica()), expected, "{position}");
        }
        let was = ServerIdentity::of(&mysql());
        let error = decide_start(&saved("mysql-bin.000003:4;mysql_gtids=UUID:1-50"), &was, &mariadb()).unwrap_err();
        assert_eq!(error.code(), "source_identity_changed");
        let error = decide_start(&saved("mysql-bin.000003:4;mysql_gtids=UUID:1-101"), &was, &replica()).unwrap_err();
        assert!(error.report().contains(&format!("{UUID}:101")), "{error}");
    }

    #[test]
    fn mariadb_tells_histories_apart_by_the_server_in_the_identifier() {
        use StartBy::Gtids;
        let promoted = |state: &str, executed: &str| {
            let mut server = ServerFacts {
                server_id: 2,
                ..mariadb()
            };
            let gtids = server.gtids.as_mut().unwrap();
            gtids.state = Some(state.parse().unwrap());
            gtids.executed = GtidSet::MariaDb(executed.parse().unwrap());
            server
        };
        let position = "mysql-bin.000003:4;mariadb_gtids=0-1-100";
        assert_eq!(decided(position, &mariadb()), start(Gtids, true, false));
        assert_eq!(
            decided("mysql-bin.000003:4;mariadb_gtids=0-1-101", &mariadb()),
            Err("source_rewound")
        );
        assert_eq!(
            decided("mysql-bin.000003:4;mariadb_gtids=0-1-9", &mariadb()),
            Err("position_purged")
        );
        assert_eq!(
            decided(position, &promoted("0-1-100,0-2-120", "0-2-120")),
            start(Gtids, false, true)
        );
        // Its 100 is its own: the old master's from 91 on never came over.
        assert_eq!(
            decided(position, &promoted("0-1-90,0-2-120", "0-2-120")),
            Err("diverged")
        );
        assert_eq!(
            decided(position, &promoted("0-2-120", "0-2-120")),
            Err("source_identity_changed")
        );
    }

    #[test]
    fn a_file_of_the_same_name_is_not_the_same_file() {
        let position = saved("mysql-bin.000003:4;started=1700000000");
        assert!(verify_fingerprint(&position, 1_700_000_000).is_ok());
        let error = verify_fingerprint(&position, 1_700_000_001).unwrap_err();
        assert_eq!(error.code(), "source_identity_changed");
        assert!(verify_fingerprint(&saved("mysql-bin.000003:4"), 7).is_ok());
    }
}
