//! Going on where Debezium's connector stopped.
//!
//! Debezium stores the place of an event, not of a transaction: `lsn` is where the event is in the log, `lsn_proc` the last place that
//! is done completely, `lsn_commit` where the last commit ended. Transactions come in the order of their commits, so what was committed
//! before `lsn_commit` was published, and so was what was committed before any event that was published. `lsn_commit` is also
//! what Debezium tells the slot. From there the transaction comes again that it was in the middle of.

use std::collections::BTreeSet;

use tailrace_core::predecessor::{DebeziumOffset, TakeOver};
use tailrace_core::{Error, Result};
use tailrace_sql::captured::Captured;
use tailrace_sql::log_config::SnapshotMode;

use crate::check::PLUGIN;
use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::discover::publication::Publication;
use crate::discover::{self, Discovery};
use crate::memory::Memory;
use crate::position::Lsn;
use crate::slot::{Slot, verify_wanted};

/// Where to go on, best first: all of them are sound, and the first is what the slot was told.
const PLACES: [&str; 3] = ["lsn_commit", "lsn_proc", "lsn"];

/// Where to go on from an offset of Debezium's, and with patterns of the tables that it captured.
///
/// # Errors
/// Definite `snapshot_unfinished`, `offsets_unreadable`, `slot_in_use`, `slot_missing`, `slot_foreign`, `publication_missing`,
/// `tables_unmatched`, and as [`verify_wanted`].
pub(crate) async fn debezium(
    config: &PostgresConfig,
    connector: &str,
    (stored, captured): (&DebeziumOffset, Option<&[String]>),
) -> Result<TakeOver> {
    let wanted = place(stored)?;
    let names = config.server_names(connector)?;
    let session = connect(config, connector, Purpose::Catalog).await?;
    let discovery = discover::discover(&session, config, connector).await?;
    let slot = Slot::read(&session, &names.slot).await?;
    let slot = usable(slot, &names.slot, &discovery.server.database)?;
    verify_wanted(Some(&slot), &names.slot, wanted)?;
    let publication = discovery.publication.as_ref().ok_or_else(|| {
        let message = format!(
            "there is no publication \"{}\"; name Debezium's `publication.name` in `publication`: one that is made now knows nothing of the \
             changes since {wanted}",
            names.publication
        );
        Error::definite("publication_missing", message)
    })?;
    let (captured, unpublished) = split(&discovery, publication, captured)?;
    let mut notes = vec![format!(
        "it reads from the replication slot \"{}\" with the publication \"{}\", and carries {} from there on",
        names.slot,
        names.publication,
        tables(&captured.before)
    )];
    notes.extend(captured.notes(config.snapshot.mode));
    notes.extend(note_of_unpublished(config, &unpublished, &names.publication));
    notes.extend(left_out(publication, &names.publication));
    notes.extend(stored.notes());
    let memory = Memory {
        publication_oid: Some(publication.oid.clone()),
        slot_began_at: Some(wanted.to_position()),
        counts_messages: config.captures_messages(),
        ..Memory::new(&discovery.server, &names, captured.before)
    };
    Ok(TakeOver {
        position: wanted.to_position(),
        memory: memory.to_json()?,
        notes,
    })
}

/// The place in the log that an offset stands for.
fn place(stored: &DebeziumOffset) -> Result<Lsn> {
    stored.verify_snapshot_is_over()?;
    for key in PLACES {
        if let Some(lsn) = stored.number(key)?.filter(|lsn| *lsn > 0) {
            return Ok(Lsn(lsn));
        }
    }
    let message = format!(
        "the offset has none of `{}`: it is none of Debezium's connector for PostgreSQL",
        PLACES.join("`, `")
    );
    Err(Error::definite("offsets_unreadable", message))
}

/// A slot that changes of this database can be read from now.
fn usable(slot: Option<Slot>, name: &str, database: &str) -> Result<Slot> {
    let Some(slot) = slot else {
        let message = format!(
            "there is no replication slot \"{name}\". Name Debezium's `slot.name` in `slot`; or, while Debezium still runs, make one with \
             SELECT pg_create_logical_replication_slot('{name}', '{PLUGIN}'), let Debezium publish a change that is committed after that, \
             and stop it then"
        );
        return Err(Error::definite("slot_missing", message));
    };
    if let Some(process) = slot.active_pid {
        let message = format!(
            "the replication slot \"{name}\" is being read, by the server's process {process}: stop the connector that reads it, because its \
             offset moves on as long as it runs, and try again"
        );
        return Err(Error::definite("slot_in_use", message));
    }
    let foreign = |what: String| {
        let message = format!("the replication slot \"{name}\" {what}");
        Err(Error::definite("slot_foreign", message))
    };
    match (slot.plugin.as_deref(), slot.database.as_deref()) {
        (Some(PLUGIN), Some(of)) if of == database => Ok(slot),
        (Some(PLUGIN), of) => foreign(format!(
            "is of the database \"{}\", and `url` leads to \"{database}\"",
            of.unwrap_or_default()
        )),
        (plugin, _) => foreign(format!(
            "has the output plugin {}, and only a slot of {PLUGIN} can be read (`plugin.name: {PLUGIN}` in Debezium); make one of your own while \
             Debezium still runs: SELECT pg_create_logical_replication_slot('tailrace', '{PLUGIN}')",
            plugin.unwrap_or("none, it is a physical slot")
        )),
    }
}

/// Tables that are in the log from the place on, by whether Debezium captured them, and those that are not. That a table is published does
/// not say that it was captured: Debezium makes a publication of all tables unless it is told otherwise.
fn split(
    discovery: &Discovery,
    publication: &Publication,
    patterns: Option<&[String]>,
) -> Result<(Captured, BTreeSet<String>)> {
    let names = discovery.tables.iter().map(|table| &table.schema.name);
    let captured = Captured::divide(names, patterns, Some("public"))?;
    let is_published = |name: &String| publication.lists(name);
    let (before, unpublished): (BTreeSet<_>, BTreeSet<_>) = captured.before.into_iter().partition(is_published);
    let (new, unpublished_too): (BTreeSet<_>, BTreeSet<_>) = captured.new.into_iter().partition(is_published);
    let unpublished = unpublished.into_iter().chain(unpublished_too).collect();
    Ok((Captured { before, new }, unpublished))
}

fn tables(names: &BTreeSet<String>) -> String {
    match names.len() {
        0 => "no table".to_owned(),
        _ => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// What the publication leaves out of the log.
fn left_out(publication: &Publication, name: &str) -> Option<String> {
    let kinds = [
        ("INSERT", publication.inserts),
        ("UPDATE", publication.updates),
        ("DELETE", publication.deletes),
        ("TRUNCATE", publication.truncates),
    ];
    let left_out: Vec<&str> = kinds
        .iter()
        .filter(|(_, is_in)| !is_in)
        .map(|(kind, _)| *kind)
        .collect();
    (!left_out.is_empty()).then(|| {
        format!(
            "the publication \"{name}\" does not publish {}, as it did not for Debezium",
            left_out.join(", ")
        )
    })
}

fn note_of_unpublished(config: &PostgresConfig, new: &BTreeSet<String>, publication: &str) -> Option<String> {
    let what = match config.snapshot.mode {
        SnapshotMode::Never => "are carried from when they are added to it: rows that are there now are not published",
        SnapshotMode::Initial | SnapshotMode::Only => "are added to it, and their rows are read first",
    };
    (!new.is_empty()).then(|| {
        format!(
            "{} {} not in the publication \"{publication}\", so Debezium did not carry them: they {what}",
            tables(new),
            if new.len() == 1 { "is" } else { "are" }
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn offset(fields: &Value) -> DebeziumOffset {
        DebeziumOffset::new(fields.as_object().cloned().unwrap_or_default())
    }

    fn slot() -> Slot {
        Slot {
            name: "debezium".to_owned(),
            plugin: Some(PLUGIN.to_owned()),
            database: Some("shop".to_owned()),
            active_pid: None,
            confirmed_flush: Some(Lsn(7)),
            wal_status: None,
            safe_wal_bytes: None,
            retained_bytes: None,
            unconfirmed_bytes: Some(100),
        }
    }

    #[test]
    fn the_last_commit_is_gone_on_from() {
        let place = |fields: Value| place(&offset(&fields)).map_err(|error| error.code());
        let streamed = json!({
            "transaction_id": null, "lsn_proc": 35_000_200, "messageType": "INSERT", "lsn_commit": 35_000_100,
            "lsn": 35_000_200, "txId": 742, "ts_usec": 1_700_000_000_000_000_u64,
        });
        assert_eq!(place(streamed), Ok(Lsn(35_000_100)));
        let read = json!({ "lsn": 35_000_000, "snapshot": "INITIAL", "snapshot_completed": true, "txId": 740 });
        assert_eq!(place(read), Ok(Lsn(35_000_000)), "everything before it was read");
        let within = json!({ "lsn": 35_000_000, "snapshot": true, "last_snapshot_record": false });
        assert_eq!(place(within), Err("snapshot_unfinished"));
        assert_eq!(
            place(json!({ "file": "b.000001", "pos": 4 })),
            Err("offsets_unreadable")
        );
        assert_eq!(place(json!({ "lsn": "0/16B3748" })), Err("offsets_unreadable"));
        assert_eq!(place(json!({ "lsn": 0 })), Err("offsets_unreadable"));
    }

    #[test]
    fn a_slot_that_others_read_or_made_for_others_is_refused() {
        let code = |change: fn(&mut Slot)| {
            let mut changed = slot();
            change(&mut changed);
            usable(Some(changed), "debezium", "shop")
                .err()
                .map(|error| error.code())
        };
        assert_eq!(code(|_| {}), None);
        assert_eq!(code(|slot| slot.active_pid = Some(77)), Some("slot_in_use"));
        assert_eq!(
            code(|slot| slot.plugin = Some("decoderbufs".to_owned())),
            Some("slot_foreign")
        );
        assert_eq!(code(|slot| slot.plugin = None), Some("slot_foreign"));
        assert_eq!(
            code(|slot| slot.database = Some("crm".to_owned())),
            Some("slot_foreign")
        );
        assert_eq!(
            usable(None, "debezium", "shop").map_err(|error| error.code()),
            Err("slot_missing")
        );
    }

    #[test]
    fn a_slot_that_is_ahead_of_the_offset_is_refused() {
        let code = |wanted| {
            verify_wanted(Some(&slot()), "debezium", Lsn(wanted))
                .err()
                .map(|error| error.code())
        };
        assert_eq!(code(7), None);
        assert_eq!(code(6), Some("position_invalid"));
        assert_eq!(code(107), None);
        assert_eq!(code(108), Some("position_invalid"));
    }

    proptest! {
        #[test]
        fn an_offset_of_arbitrary_bytes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Value::Object(fields)) = serde_json::from_slice(&bytes) {
                drop(place(&DebeziumOffset::new(fields)));
            }
        }

        #[test]
        fn an_offset_of_any_numbers_is_a_place_or_refused(commit: Option<i64>, done: Option<u64>, at: Option<f64>) {
            let stored = offset(&json!({ "lsn_commit": commit, "lsn_proc": done, "lsn": at }));
            if let Ok(lsn) = place(&stored) {
                prop_assert!(lsn.0 > 0);
            }
        }
    }
}
