//! Going on where Debezium's connector or Maxwell stopped.
//!
//! Their places are not always between two transactions. Debezium's is the `BEGIN` of the transaction that it was in the middle of (`event`
//! and `row` count what of it was published), which is behind the event that names the transaction; Maxwell's is behind the last row of a
//! transaction, before its commit. So the place is moved back to where its transaction starts ([`boundary`]), which comes again whole.
//!
//! Where the server has GTIDs, they decide, as they do for a position of ours: the sets of both programs have what was published
//! completely. Files and offsets are those of the server that was read, which may be another than that of `url` and is not written down: the
//! `server_id` of an offset is that of whoever executed the last transaction first. So they count where they may be this server's, because a
//! log that was reset and filled again is told by them alone ([`read_elsewhere`]).

mod boundary;
mod maxwell;

use std::collections::BTreeSet;
use std::sync::Arc;

use tailrace_core::predecessor::{DebeziumOffset, Predecessor, StoredOffset, TakeOver, not_understood};
use tailrace_core::{Error, Result};
use tailrace_sql::captured::Captured;

use crate::connect::{self, Purpose};
use crate::discover;
use crate::log::dumps::Dumps;
use crate::memory::Memory;
use crate::position::gtid::GtidSet;
use crate::position::mysql_gtid::parse_uuid;
use crate::position::start::{self, ServerIdentity};
use crate::position::{BinlogPosition, FileOffset};
use crate::server::{self, Flavour, ServerFacts};

/// A position of ours, and what there is to know of how it came about.
#[derive(Debug, Clone, PartialEq)]
struct Settled {
    position: BinlogPosition,
    note: Option<String>,
}

/// A place as another program wrote it down.
#[derive(Debug, Clone, PartialEq)]
struct Noted {
    at: FileOffset,
    /// What was published completely, as text.
    gtids: Option<String>,
    /// The number of a server, where the program named one.
    server_id: Option<u64>,
    /// What of it is given up.
    notes: Vec<String>,
}

/// Where to go on from another program's notes.
///
/// # Errors
/// Definite `offsets_unreadable`, `snapshot_unfinished`, `offsets_missing`, `tables_unmatched`; those of a position that cannot be gone on
/// from.
pub(crate) async fn take_over(dumps: &Dumps, flavour: Flavour, left: &Predecessor) -> Result<TakeOver> {
    let config = Arc::clone(dumps.config());
    let stored = &left.stored;
    // Before the server is asked anything.
    let debezium = match stored {
        StoredOffset::Debezium(offset) => Some(noted(offset)?),
        StoredOffset::Maxwell { .. } => None,
        StoredOffset::Jdbc(_) => return Err(not_understood(flavour.name())),
    };
    let mut connection = connect::connect(&config, Purpose::Setup).await?;
    let server = server::server_facts(&mut connection).await?;
    server.identity.verify_flavour(flavour)?;
    server.refuse_unfit()?;
    let noted = match (debezium, stored) {
        (None, StoredOffset::Maxwell { schema, client_id }) => {
            maxwell::read(&mut connection, &server, (schema, client_id)).await?
        }
        (None, _) => return Err(not_understood(flavour.name())),
        (Some(noted), _) => noted,
    };
    let (tables, around) = discover::discover(&mut connection, &config, &server).await?;
    let names = tables.iter().map(|table| &table.schema.name);
    let captured = Captured::divide(names, left.captured.as_deref(), None)?;
    let Settled { position, note } = settled(dumps, &server, &noted).await?;
    let mut notes = notes(&server, &noted, &position, &captured.before);
    notes.extend(note);
    notes.extend(captured.notes(config.snapshot.mode));
    notes.extend(noted.notes);
    // Those that are not in it are new at the first start.
    let mut memory = Memory::new(&server, captured.before);
    memory.began_at = Some(position.to_position());
    memory.learn(&tables, &around, server.log.full_metadata);
    Ok(TakeOver {
        position: position.to_position(),
        memory: memory.to_json()?,
        notes,
    })
}

/// What Debezium stores.
fn noted(offset: &DebeziumOffset) -> Result<Noted> {
    offset.verify_snapshot_is_over()?;
    let unreadable = || {
        let message = "the offset has no `file` and `pos`: it is none of Debezium's connectors for MySQL and MariaDB";
        Error::definite("offsets_unreadable", message)
    };
    let file = offset.text("file")?.filter(|file| !file.is_empty());
    let at = FileOffset::new(
        file.ok_or_else(unreadable)?,
        offset.number("pos")?.ok_or_else(unreadable)?,
    );
    let gtids = offset.text("gtids")?.filter(|gtids| !gtids.is_empty());
    // Only to see that they are what they should be: the transaction comes again whole.
    let is_within = offset.number("event")?.unwrap_or_default() > 0 || offset.number("row")?.unwrap_or_default() > 0;
    let mut notes = offset.notes();
    if is_within {
        notes.push("Debezium was in the middle of a transaction, which comes again whole".to_owned());
    }
    Ok(Noted {
        at,
        gtids: gtids.map(str::to_owned),
        server_id: offset.number("server_id")?,
        notes,
    })
}

/// A position of ours, of which everything that comes behind it is on the server.
async fn settled(dumps: &Dumps, server: &ServerFacts, noted: &Noted) -> Result<Settled> {
    let mut position = position_of(noted, server)?;
    if read_elsewhere(noted, &position, server) {
        return settled_by_gtids(dumps, server, (noted, position)).await;
    }
    let start = start::decide_start(&position, &ServerIdentity::of(server), server)?;
    if start.compare_fingerprint {
        position.at.offset = boundary::transaction_start(dumps, &position.at).await?;
        position.file_started_s = Some(server::file_started_s(dumps, &position.at.file).await?);
    }
    let note = (position.at != noted.at).then(|| {
        format!(
            "the other program was at {}, within the transaction that starts at {}",
            noted.at, position.at
        )
    });
    Ok(Settled { position, note })
}

/// As after a failover: the server must have everything that was published, and the place is before everything that it has.
async fn settled_by_gtids(
    dumps: &Dumps,
    server: &ServerFacts,
    (noted, mut position): (&Noted, BinlogPosition),
) -> Result<Settled> {
    let note = format!(
        "the place {} is taken as one in the files of another server: the GTIDs alone decide, and what is not in their set is carried",
        noted.at
    );
    if let Some(first) = server.log_files.first() {
        position.at = FileOffset::new(first.name.as_str(), server::FIRST_EVENT_OFFSET);
    }
    start::decide_start(&position, &origin(noted, server), server)?;
    if !server.log_files.is_empty() {
        position.file_started_s = Some(server::file_started_s(dumps, &position.at.file).await?);
    }
    Ok(Settled {
        position,
        note: Some(note),
    })
}

/// Whether the file and the offset are another server's, or may be without harm: where the last transaction came from another one, or this one
/// has executed none of them first. A log of its own that was reset and filled again cannot have their GTIDs then.
fn read_elsewhere(noted: &Noted, position: &BinlogPosition, server: &ServerFacts) -> bool {
    let Some(carried) = position.gtids.as_ref().filter(|carried| !carried.is_empty()) else {
        return false;
    };
    let has_own = match carried {
        GtidSet::MySql(set) => {
            let uuid = server.server_uuid.as_deref().and_then(parse_uuid);
            uuid.is_none_or(|uuid| set.names(uuid))
        }
        GtidSet::MariaDb(set) => set.iter().any(|gtid| gtid.server == server.server_id),
    };
    is_foreign(noted, server) || !has_own
}

fn is_foreign(noted: &Noted, server: &ServerFacts) -> bool {
    noted.server_id.is_some_and(|id| id != u64::from(server.server_id))
}

/// The server of the last transaction, as far as it is known.
fn origin(noted: &Noted, server: &ServerFacts) -> ServerIdentity {
    let server_id = noted.server_id.and_then(|id| u32::try_from(id).ok());
    match server_id.filter(|_| is_foreign(noted, server)) {
        Some(server_id) => ServerIdentity {
            flavour: server.flavour(),
            uuid: None,
            server_id,
        },
        None => ServerIdentity::of(server),
    }
}

fn position_of(noted: &Noted, server: &ServerFacts) -> Result<BinlogPosition> {
    let invalid = || {
        let message = "the GTIDs that the other program stored are none of this kind of server; does `source.type` name the right one?";
        Error::definite("offsets_unreadable", message)
    };
    let gtids = match (&noted.gtids, server.flavour()) {
        (None, _) => None,
        (Some(_), _) if server.gtids.is_none() => None,
        (Some(text), Flavour::MySql) => Some(GtidSet::MySql(text.parse().map_err(|_| invalid())?)),
        (Some(text), Flavour::MariaDb) => Some(GtidSet::MariaDb(text.parse().map_err(|_| invalid())?)),
    };
    Ok(BinlogPosition {
        gtids,
        ..BinlogPosition::at(noted.at.clone())
    })
}

fn notes(server: &ServerFacts, noted: &Noted, position: &BinlogPosition, tables: &BTreeSet<String>) -> Vec<String> {
    let names = tables.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let by = match &position.gtids {
        Some(_) => "by GTIDs",
        None => "by file and offset",
    };
    let mut notes = vec![format!("it reads the log {by}, and carries {names} from there on")];
    if position.gtids.is_none() && is_foreign(noted, server) {
        notes.push(format!(
            "its last event was of the server with server_id {}, and this one has {}: that is right where this one is its replica and the other \
             program read it here; files and offsets of another server mean nothing here",
            noted.server_id.unwrap_or_default(),
            server.server_id
        ));
    }
    if !server.log.full_metadata {
        notes.push(
            "the log does not name its columns (binlog_row_metadata is not FULL): tables are taken to have been then as they are now. Where one was \
             altered since, do not go on from here: begin with a snapshot"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::server::testing::{mariadb, mysql};

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn debezium(fields: &Value) -> Result<Noted> {
        noted(&DebeziumOffset::new(fields.as_object().cloned().unwrap_or_default()))
    }

    fn code<T>(result: Result<T>) -> Option<&'static str> {
        result.err().map(|error| error.code())
    }

    #[test]
    fn an_offset_of_debeziums_is_a_file_and_a_place_in_it() {
        let offset = json!({
            "transaction_id": null, "ts_sec": 1_700_000_000, "file": "mysql-bin.000003", "pos": 1234, "row": 1, "server_id": 1,
            "event": 2, "gtids": format!("{UUID}:1-77"),
        });
        let noted = debezium(&offset).unwrap();
        assert_eq!(noted.at, FileOffset::new("mysql-bin.000003", 1234));
        assert_eq!(noted.server_id, Some(1));
        assert!(noted.notes[0].contains("comes again whole"), "{noted:?}");
        let position = position_of(&noted, &mysql()).unwrap();
        assert_eq!(
            position.to_string(),
            format!("mysql-bin.000003:1234;mysql_gtids={UUID}:1-77")
        );
    }

    #[test]
    fn gtids_count_where_the_server_has_some() {
        let noted = debezium(&json!({ "file": "b.000003", "pos": 4, "gtids": format!("{UUID}:1-77") })).unwrap();
        let mut without = mysql();
        without.gtids = None;
        assert_eq!(position_of(&noted, &without).unwrap().gtids, None);
        assert_eq!(code(position_of(&noted, &mariadb())), Some("offsets_unreadable"));
        let noted = debezium(&json!({ "file": "b.000003", "pos": 4, "gtids": "0-1-77" })).unwrap();
        assert_eq!(
            position_of(&noted, &mariadb()).unwrap().to_string(),
            "b.000003:4;mariadb_gtids=0-1-77"
        );
        assert_eq!(code(position_of(&noted, &mysql())), Some("offsets_unreadable"));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for offset in [
            json!({}),
            json!({ "file": "b.000001" }),
            json!({ "pos": 4 }),
            json!({ "file": "", "pos": 4 }),
            json!({ "file": 1, "pos": 4 }),
            json!({ "file": "b.000001", "pos": -4 }),
            json!({ "file": "b.000001", "pos": 4, "event": "2" }),
            json!({ "lsn": 35_000_000 }),
        ] {
            assert_eq!(code(debezium(&offset)), Some("offsets_unreadable"), "{offset}");
        }
        let within = json!({ "file": "b.000001", "pos": 4, "snapshot": "INITIAL" });
        assert_eq!(code(debezium(&within)), Some("snapshot_unfinished"));
    }

    #[test]
    fn doubts_are_told() {
        let noted = debezium(&json!({ "file": "b.000003", "pos": 400, "server_id": 7 })).unwrap();
        let mut server = mysql();
        server.log.full_metadata = false;
        let position = BinlogPosition::at(FileOffset::new("b.000003", 300));
        let tables = BTreeSet::from(["shop.orders".to_owned()]);
        let told = notes(&server, &noted, &position, &tables);
        for part in ["shop.orders", "server_id 7", "binlog_row_metadata"] {
            assert!(told.iter().any(|note| note.contains(part)), "{part} is not in {told:?}");
        }
    }

    /// Where the files may be this server's, they tell a log that was reset.
    #[test]
    fn files_of_another_server_do_not_count() {
        const OTHER: &str = "99999999-71ca-11e1-9e33-c80aa9429562";
        let elsewhere = |server: &ServerFacts, gtids: &str, server_id: Option<u64>| {
            let noted = Noted {
                at: FileOffset::new("b.000003", 4),
                gtids: Some(gtids.to_owned()),
                server_id,
                notes: Vec::new(),
            };
            read_elsewhere(&noted, &position_of(&noted, server).unwrap(), server)
        };
        let (own, others) = (format!("{UUID}:1-77"), format!("{OTHER}:1-77"));
        for (gtids, server_id, wanted) in [
            (&own, Some(1), false),
            (&own, None, false),
            (&own, Some(2), true),
            (&others, Some(1), true),
            (&others, None, true),
            (&format!("{own},{others}"), None, false),
        ] {
            assert_eq!(elsewhere(&mysql(), gtids, server_id), wanted, "{gtids} {server_id:?}");
        }
        for (gtids, server_id, wanted) in [
            ("0-1-77", Some(1), false),
            ("0-1-77", None, false),
            ("0-1-77", Some(2), true),
            ("0-2-77", None, true),
        ] {
            assert_eq!(elsewhere(&mariadb(), gtids, server_id), wanted, "{gtids} {server_id:?}");
        }
        let mut without = mysql();
        without.gtids = None;
        assert!(!elsewhere(&without, &own, Some(2)), "files are all that there is");
    }

    proptest! {
        #[test]
        fn an_offset_of_arbitrary_bytes_is_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..64), file in "\\PC{0,12}", pos: u64, gtids in "\\PC{0,24}",
        ) {
            if let Ok(Value::Object(fields)) = serde_json::from_slice(&bytes) {
                drop(noted(&DebeziumOffset::new(fields)));
            }
            let noted = debezium(&json!({ "file": file, "pos": pos, "gtids": gtids }));
            for server in [mysql(), mariadb()] {
                if let Ok(noted) = &noted && let Ok(position) = position_of(noted, &server) {
                    // Whatever it is named, it comes back.
                    prop_assert_eq!(position.to_string().parse::<BinlogPosition>(), Ok(position));
                }
            }
        }
    }
}
