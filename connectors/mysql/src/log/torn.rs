//! Files of MariaDB's log that a crash ended.
//!
//! MySQL cuts off what it was writing when it died, before it takes connections again. MariaDB leaves it where it is: the file ends within a
//! transaction, mostly within an event, and whoever reads it to its end gets the beginning of that transaction and then an error, each time.
//!
//! ```text
//!   binlog.000007   … GTID 0-1-57 ─▶ rows ─▶ Xid │ GTID 0-1-58 ─▶ rows ─▶ ro          the crash
//!                                                └─ torn: never committed
//!   binlog.000008   description, "server started" │ list of what was executed: 0-1-57 │ GTID 0-1-58 ─▶ another transaction
//! ```
//!
//! The server commits a transaction in its engines after the log has all of it. What the log has a part of was only prepared in the
//! engines, and is rolled back when the server starts again; its number is given to the next transaction. So none of its rows may be handed out, and
//! what follows is in the next file. Because rows are handed out as they come, this must be known *before* such a file is read: whether the
//! server began anew after it says the description of the next file, and where it is torn is found by reading it once for its groups alone.
//!
//! That nothing else is passed over is proven by the server itself: at its start it read the same file, and wrote at the
//! beginning of the next which transactions it found to be complete. Where that list is not what was found here, nothing is passed over and the
//! connector halts.

use std::collections::HashMap;

use tailrace_core::{Error, Result};

use super::assemble::{executed_on_mariadb, extended};
use super::dump::{BinlogDump, DumpError};
use super::dumps::Dumps;
use crate::decode::{self, Event, EventHeader, RawEvent, event_type};
use crate::error::is_cut_off;
use crate::position::gtid::GtidSet;
use crate::position::mariadb_gtid::{MariaDbGtid, MariaDbGtidSet};
use crate::position::{BinlogPosition, FileOffset};
use crate::server::{FIRST_EVENT_OFFSET, Flavour, LogFile, ServerFacts, at_its_beginning, file_head};

const DOING: &str = "look for where a crash of the server ended a file of the log";

/// Where files are torn, by their names.
pub(crate) type TornEnds = HashMap<String, TornEnd>;

/// The end of what is whole in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TornEnd {
    /// Where the transaction begins that was not written to its end.
    pub(crate) offset: u64,
    /// The file that follows.
    pub(crate) next: String,
}

/// Looks at every file that is going to be read and was not the newest when the server was asked. The newest may be torn as well only after the
/// next crash, which ends the dump.
///
/// `knows_files` where the position's file is one of this server's.
pub(crate) async fn torn_ends(
    dumps: &Dumps,
    server: &ServerFacts,
    position: &BinlogPosition,
    knows_files: bool,
) -> Result<TornEnds> {
    let mut torn = TornEnds::new();
    if server.flavour() != Flavour::MariaDb {
        return Ok(torn);
    }
    for pair in server.log_files.windows(2).rev() {
        let [file, next] = pair else { break };
        // The dump begins in the next one, or in one behind it.
        if knows_files && next.name == position.at.file {
            break;
        }
        let head = file_head(dumps, &next.name).await?;
        let executed = head.executed.as_ref().map(executed_on_mariadb);
        if head.begins_a_run
            && let Some(end) = torn_end(dumps, file, next, executed.as_ref()).await?
        {
            torn.insert(file.name.clone(), end);
        }
        let begins_there = match (&position.gtids, executed) {
            (Some(carried), Some(executed)) => GtidSet::MariaDb(executed).is_subset_of(carried),
            _ => false,
        };
        if begins_there {
            break;
        }
    }
    Ok(torn)
}

async fn torn_end(
    dumps: &Dumps,
    file: &LogFile,
    next: &LogFile,
    recovered: Option<&MariaDbGtidSet>,
) -> Result<Option<TornEnd>> {
    let mut dump = dumps.start(&at_its_beginning(&file.name), DOING).await?;
    let groups = Groups::read(&mut dump, &file.name).await;
    let groups = groups.map_err(|error| dumps.error(&error, dump.replica(), DOING))?;
    let Some(offset) = groups.torn_at() else {
        return Ok(None);
    };
    let place = FileOffset::new(&file.name, offset);
    if recovered != Some(&groups.executed) {
        return Err(unproven(&place, next, &groups.executed, recovered));
    }
    tracing::warn!(
        code = "binlog_torn",
        "the server crashed while it wrote a transaction to its log at {place}; it rolled it back ({} is the last that it has), and nothing of it is \
         carried. Reading goes on in {}",
        groups.executed,
        next.name
    );
    Ok(Some(TornEnd {
        offset,
        next: next.name.clone(),
    }))
}

fn unproven(place: &FileOffset, next: &LogFile, found: &MariaDbGtidSet, recovered: Option<&MariaDbGtidSet>) -> Error {
    let recovered = recovered.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    Error::definite(
        "binlog_torn",
        format!(
            "the binary log is torn at {place}, up to where it has the transactions {found}, but {} says that {recovered} was executed before it: transactions \
             may be missing; `tailrace forget` the connector to begin anew with a snapshot",
            next.name
        ),
    )
}

/// The groups of events of one file, without what is in them.
#[derive(Debug)]
struct Groups {
    at: u64,
    /// Complete ones, and those before the file.
    executed: MariaDbGtidSet,
    open: Option<OpenGroup>,
    /// The file ends within an event.
    is_cut_off: bool,
}

#[derive(Debug)]
struct OpenGroup {
    start: u64,
    gtid: MariaDbGtid,
    /// One statement, without an end of its own.
    standalone: bool,
}

// === impl Groups ===

impl Groups {
    fn new() -> Self {
        Self {
            at: FIRST_EVENT_OFFSET,
            executed: MariaDbGtidSet::default(),
            open: None,
            is_cut_off: false,
        }
    }

    async fn read(dump: &mut BinlogDump, file: &str) -> Result<Self, DumpError> {
        let mut groups = Self::new();
        loop {
            match dump.next().await {
                Ok(event) if names_another(&event, file)? => return Ok(groups),
                Ok(event) => groups.accept(&event)?,
                Err(error) if is_cut_off(&error) => {
                    groups.is_cut_off = true;
                    return Ok(groups);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn accept(&mut self, event: &RawEvent) -> Result<(), DumpError> {
        let header = &event.header;
        if header.is_artificial() || header.log_position == 0 || is_heartbeat(header) {
            return Ok(());
        }
        self.at = extended(self.at, u64::from(header.log_position));
        match header.event_type {
            event_type::GTID_LIST | event_type::MARIADB_GTID | event_type::XID | event_type::XA_PREPARE => {}
            event_type::QUERY | event_type::QUERY_COMPRESSED | event_type::EXECUTE_LOAD_QUERY => {}
            _ => return Ok(()),
        }
        match decode::parse(header, &event.body)? {
            Event::GtidList(before) => self.executed = executed_on_mariadb(&before),
            Event::MariaDbGtid(gtid) => {
                self.open = Some(OpenGroup {
                    start: self.at.saturating_sub(u64::from(header.event_bytes)),
                    gtid: MariaDbGtid {
                        domain: gtid.domain,
                        server: header.server_id,
                        sequence: gtid.sequence_number,
                    },
                    standalone: gtid.standalone,
                });
            }
            Event::Query(query) => {
                let is_alone = self.open.as_ref().is_some_and(|open| open.standalone);
                let sql = query.sql()?;
                if is_alone || sql.eq_ignore_ascii_case(b"COMMIT") || sql.eq_ignore_ascii_case(b"ROLLBACK") {
                    self.close();
                }
            }
            Event::LoadData(_) if self.open.as_ref().is_some_and(|open| !open.standalone) => {}
            _ => self.close(),
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.executed.add(&open.gtid);
        }
    }

    /// Where what is incomplete begins.
    fn torn_at(&self) -> Option<u64> {
        match &self.open {
            Some(open) => Some(open.start),
            None => self.is_cut_off.then_some(self.at),
        }
    }
}

fn is_heartbeat(header: &EventHeader) -> bool {
    matches!(header.event_type, event_type::HEARTBEAT | event_type::HEARTBEAT_V2)
}

/// The server goes on with the next file.
fn names_another(event: &RawEvent, file: &str) -> Result<bool, DumpError> {
    if event.header.event_type != event_type::ROTATE || !event.header.is_artificial() {
        return Ok(false);
    }
    match decode::parse(&event.header, &event.body)? {
        Event::Rotate(rotate) => Ok(rotate.file != file),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::recorded::{self, MARIADB_10_11};

    fn read(events: &[RawEvent]) -> Groups {
        let mut groups = Groups::new();
        for event in events {
            groups.accept(event).unwrap();
        }
        groups
    }

    /// Wherever a file ends, what is torn begins where the last group does that has no end.
    #[test]
    fn a_recorded_file_is_torn_after_each_event() {
        let events = recorded::events(MARIADB_10_11);
        let whole = read(&events);
        assert_eq!(whole.torn_at(), None);
        let (mut ends, mut opened) = (0, None);
        for count in 1..=events.len() {
            let event = &events[count - 1];
            let groups = read(&events[..count]);
            if event.header.event_type == event_type::MARIADB_GTID {
                opened = Some(u64::from(event.header.log_position - event.header.event_bytes));
            }
            match groups.torn_at() {
                Some(offset) => assert_eq!(Some(offset), opened, "{count}"),
                None => ends += usize::from(opened.take().is_some()),
            }
            assert!(groups.executed.is_subset_of(&whole.executed));
        }
        assert!(ends > 3, "{ends}");
    }

    #[test]
    fn a_file_that_is_cut_off_between_groups_is_torn_at_its_end() {
        let mut groups = read(&recorded::events(MARIADB_10_11));
        groups.is_cut_off = true;
        assert_eq!(groups.torn_at(), Some(groups.at));
    }
}
