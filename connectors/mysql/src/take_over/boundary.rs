//! Where the transaction starts that a place of the log is in: found by reading its file from the beginning.
//!
//! A place that is none between two events is of another log: a file of the same name that was written since.

use tailrace_core::{Error, Result};

use crate::decode::{self, Event, RawEvent, event_type};
use crate::log::dump::{BinlogDump, DumpError};
use crate::log::dumps::Dumps;
use crate::log::extended;
use crate::position::FileOffset;
use crate::server::{FIRST_EVENT_OFFSET, at_its_beginning};

const DOING: &str = "look for the start of the transaction that the other program was in";

/// The offset at which the transaction starts that `at` is in; `at` itself where it is between two.
///
/// # Errors
/// Definite `offsets_foreign` where no event begins or ends there.
pub(super) async fn transaction_start(dumps: &Dumps, at: &FileOffset) -> Result<u64> {
    if at.offset <= FIRST_EVENT_OFFSET {
        return Ok(FIRST_EVENT_OFFSET);
    }
    let mut dump = dumps.start(&at_its_beginning(&at.file), DOING).await?;
    let found = search(&mut dump, at).await;
    let found = found.map_err(|error| dumps.error(&error, dump.replica(), DOING))?;
    found.ok_or_else(|| {
        let message = format!(
            "no event of the server's log begins at {at}: the file is another one than that which the other program read, because the log was \
             reset, or this is another server; begin with a snapshot"
        );
        Error::definite("offsets_foreign", message)
    })
}

async fn search(dump: &mut BinlogDump, wanted: &FileOffset) -> Result<Option<u64>, DumpError> {
    let mut groups = Groups::until(wanted.offset);
    loop {
        let event = dump.next().await?;
        if let Some(found) = groups.accept(&event)? {
            return Ok(found);
        }
    }
}

/// The groups of events of a file, up to a place in it.
#[derive(Debug)]
struct Groups {
    wanted: u64,
    /// Where the last event ended.
    at: u64,
    open: Group,
}

/// The group of events that the next event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// None: the last one has ended.
    None,
    /// One that was named, and of which nothing is known yet: it starts here.
    Named(u64),
    /// A transaction that goes on until its commit: it starts here.
    Transaction(u64),
}

// === impl Groups ===

impl Groups {
    fn until(wanted: u64) -> Self {
        Self {
            wanted,
            at: FIRST_EVENT_OFFSET,
            open: Group::None,
        }
    }

    /// Takes an event in. Once the place is reached: where its group starts, and nothing where no event ends there.
    fn accept(&mut self, event: &RawEvent) -> Result<Option<Option<u64>>, DumpError> {
        let header = &event.header;
        let kind = header.event_type;
        if matches!(kind, event_type::HEARTBEAT | event_type::HEARTBEAT_V2) {
            // The end of the log: nothing is behind the last event.
            return Ok(Some(self.found()));
        }
        if header.is_artificial() || header.log_position == 0 {
            // The first one names the file, and another one the next.
            let is_over = kind == event_type::ROTATE && self.at > FIRST_EVENT_OFFSET;
            return Ok(is_over.then(|| self.found()));
        }
        let start = self.at;
        self.at = extended(self.at, u64::from(header.log_position));
        let begins = self.at.saturating_sub(u64::from(header.event_bytes));
        if start < self.wanted && self.wanted < self.at && self.wanted <= begins {
            // Between the two are events that a server sends only to those who ask for them, as MariaDB its annotations of rows.
            return Ok(Some(self.open.start()));
        }
        self.open = self.followed(start, event)?;
        Ok((self.at >= self.wanted).then(|| self.found()))
    }

    /// The group that is open behind an event.
    fn followed(&self, start: u64, event: &RawEvent) -> Result<Group, DumpError> {
        let parsed = || decode::parse(&event.header, &event.body);
        Ok(match event.header.event_type {
            event_type::GTID | event_type::ANONYMOUS_GTID | event_type::GTID_TAGGED => Group::Named(start),
            event_type::MARIADB_GTID => match parsed()? {
                Event::MariaDbGtid(gtid) if !gtid.standalone => Group::Transaction(start),
                _ => Group::Named(start),
            },
            event_type::XID | event_type::XA_PREPARE | event_type::TRANSACTION_PAYLOAD => Group::None,
            event_type::QUERY | event_type::QUERY_COMPRESSED => match parsed()? {
                Event::Query(query) => self.followed_by_statement(start, &query.sql()?),
                _ => self.open,
            },
            _ => self.open,
        })
    }

    fn followed_by_statement(&self, start: u64, sql: &[u8]) -> Group {
        const XA_START: &[u8] = b"XA START ";
        let is_xa = sql
            .get(..XA_START.len())
            .is_some_and(|word| word.eq_ignore_ascii_case(XA_START));
        let ends = sql.eq_ignore_ascii_case(b"COMMIT") || sql.eq_ignore_ascii_case(b"ROLLBACK");
        match self.open {
            open if is_xa || sql.eq_ignore_ascii_case(b"BEGIN") => Group::Transaction(open.start().unwrap_or(start)),
            Group::Transaction(_) if !ends => self.open,
            // A statement of its own.
            Group::Transaction(_) | Group::Named(_) | Group::None => Group::None,
        }
    }

    /// The place, or the start of the group that it is in; nothing where the last event did not end there.
    fn found(&self) -> Option<u64> {
        (self.at == self.wanted).then(|| self.open.start().unwrap_or(self.wanted))
    }
}

// === impl Group ===

impl Group {
    fn start(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Named(start) | Self::Transaction(start) => Some(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::recorded::{self, MARIADB_10_11, MYSQL_9_7};

    fn found(events: &[RawEvent], wanted: u64) -> Option<u64> {
        let mut groups = Groups::until(wanted);
        let found = events.iter().find_map(|event| groups.accept(event).unwrap());
        found.flatten()
    }

    fn ends(events: &[RawEvent]) -> Vec<(u8, u64)> {
        let real = events
            .iter()
            .filter(|event| !event.header.is_artificial() && event.header.log_position > 0);
        real.map(|event| (event.header.event_type, u64::from(event.header.log_position)))
            .collect()
    }

    /// From wherever a recorded log is gone on with, the next event is the first of a group.
    #[test]
    fn every_place_of_a_recorded_log_is_moved_to_the_start_of_its_group() {
        for events in [MYSQL_9_7, MARIADB_10_11].map(recorded::events) {
            let ends = ends(&events);
            let mut moved = 0;
            for (_, end) in &ends {
                let start = found(&events, *end).unwrap();
                assert!(start <= *end);
                moved += usize::from(start < *end);
                let next = events.iter().find(|event| {
                    let begins = event.header.log_position.saturating_sub(event.header.event_bytes);
                    event.header.log_position > 0 && u64::from(begins) == start
                });
                let is_within = next.is_some_and(|next| {
                    matches!(
                        next.header.event_type,
                        event_type::TABLE_MAP | event_type::WRITE_ROWS | event_type::XID
                    )
                });
                assert!(
                    !is_within,
                    "{end} was moved to {start}, which is in the middle of a group"
                );
            }
            assert!(
                moved > ends.len() / 4,
                "{moved} of {} places are in a group",
                ends.len()
            );
        }
    }

    #[test]
    fn a_place_where_no_event_ends_is_none() {
        let events = recorded::events(MYSQL_9_7);
        let (_, end) = *ends(&events).last().unwrap();
        assert_eq!(found(&events, end - 1), None);
        assert_eq!(found(&events, end), Some(end), "the end of the log");
    }
}
