//! Where in the log an event is: files, offsets, and what the server says between transactions.

use tailrace_core::{Error, Result};

use super::{Assembler, Next};
use crate::decode::{self, EventHeader};
use crate::position::FileOffset;
use crate::position::gtid::GtidSet;
use crate::position::mariadb_gtid::{MariaDbGtid, MariaDbGtidSet};
use crate::position::mysql_gtid::InvalidGtidSet;
use crate::server::FIRST_EVENT_OFFSET;

impl Assembler {
    /// The server says which file comes next: at the end of one, and at the beginning of the dump.
    pub(super) fn rotate(&mut self, header: &EventHeader, file: &str, offset: u64) -> Result<Next> {
        if !header.is_artificial() {
            self.refuse_open_transaction("the file ends")?;
            self.position.at = FileOffset::new(file, offset);
            self.position.file_started_s = None;
            self.moved = true;
        }
        self.at = FileOffset::new(file, offset);
        if *self.file != *file {
            self.file = file.into();
            self.file_started_s = None;
        }
        Ok(Next::Continue)
    }

    /// The server goes on with the next file behind this place, which no event of its own tells.
    pub(super) fn is_torn_at(&self, start: &FileOffset) -> bool {
        self.torn
            .get(&start.file)
            .is_some_and(|torn| start.offset >= torn.offset)
    }

    /// Everything of this file was carried that is whole; what follows is at the beginning of the next. `None` where it is not torn here.
    pub(crate) fn leave_torn_file(&mut self) -> Option<Next> {
        if self.open.is_some() || self.is_unfinished() || self.reads_prepared {
            return None;
        }
        let end = self.torn.get(&self.at.file)?;
        // By identifiers the server passes over what was carried before, and says nothing of it.
        let carried = Some(self.position.at.offset).filter(|_| self.position.at.file == self.at.file);
        if carried.unwrap_or_default().max(self.at.offset) < end.offset {
            return None;
        }
        let next = FileOffset::new(&end.next, FIRST_EVENT_OFFSET);
        self.torn.remove(&self.at.file);
        self.at = next.clone();
        self.file = next.file.as_str().into();
        self.file_started_s = None;
        self.position.at = next.clone();
        self.position.file_started_s = None;
        self.moved = true;
        Some(Next::ReadFrom(next))
    }

    pub(super) fn begin_file(&mut self, header: &EventHeader, created_seconds: u32) -> Result<Next> {
        self.roll_back_incomplete(header, created_seconds);
        self.refuse_open_transaction("the server was started again")?;
        let started_s = header.timestamp_s;
        self.file_started_s = Some(started_s);
        if self.position.at.file != self.at.file {
            // The file before ended without a word of this one: the position goes over with the next transaction.
            return Ok(Next::Continue);
        }
        if self.checks_fingerprint && self.position.file_started_s.is_some_and(|known| known != started_s) {
            return Err(Error::definite(
                "source_identity_changed",
                format!(
                    "the binary log file {} is another than the one that was read before: its log was reset (RESET MASTER), or the server was \
                     exchanged; nothing was read from it. `tailrace forget` the connector to begin anew",
                    self.at.file
                ),
            ));
        }
        self.position.file_started_s = Some(started_s);
        Ok(Next::Continue)
    }

    /// A server that was started anew rolled back what it had not written to its end. Where rows of it were handed out already, that is an error.
    fn roll_back_incomplete(&mut self, header: &EventHeader, created_seconds: u32) {
        let was_started = created_seconds != 0 && !header.is_artificial();
        if was_started && let Some(open) = self.open.take_if(|open| !open.emitted && open.covered == 0) {
            self.rows = None;
            self.payload = None;
            tracing::warn!(
                code = "binlog_torn",
                "the transaction {} at {} has no end: the server crashed while it wrote its log, and rolled it back; nothing of it was carried",
                open.name,
                open.start
            );
        }
    }

    /// Nothing is open, and the server is here.
    pub(super) fn heartbeat(&mut self, file: &str, offset: u64) {
        let here = FileOffset::new(file, self.extend(offset));
        if self.open.is_none() && !self.is_unfinished() && self.position.at < here && here.file == self.at.file {
            self.position.at = here;
            self.position.file_started_s = self.file_started_s;
            self.moved = true;
        }
    }

    /// What the server had executed when it began a file; believed only where nothing else is known.
    pub(super) fn learn(&mut self, executed: impl FnOnce() -> Result<GtidSet>) -> Result<()> {
        if self.position.gtids.is_none() && self.open.is_none() && self.position.at.file == self.at.file {
            self.position.gtids = Some(executed()?);
        }
        Ok(())
    }

    pub(super) fn incident(&self, text: &str, place: &FileOffset) -> Error {
        Error::definite(
            "source_incident",
            format!(
                "the server notes at {place} that changes may be missing from its log ({text}); the tables must be read anew: `tailrace forget` the connector"
            ),
        )
    }

    pub(super) fn advance(&mut self, header: &EventHeader) {
        if header.log_position != 0 && !header.is_artificial() {
            self.at.offset = self.extend(u64::from(header.log_position));
        }
    }

    pub(super) fn extend(&self, low: u64) -> u64 {
        extended(self.at.offset, low)
    }

    pub(super) fn end_of(&self, header: &EventHeader) -> FileOffset {
        let mut end = self.at.clone();
        if header.log_position != 0 {
            end.offset = self.extend(u64::from(header.log_position));
        }
        end
    }

    pub(super) fn start_of(&self, header: &EventHeader) -> FileOffset {
        let mut start = self.end_of(header);
        if header.log_position != 0 {
            start.offset = start.offset.saturating_sub(u64::from(header.event_bytes));
        }
        start
    }
}

/// Offsets have 32 bits in events, and files may be larger: the one that comes next after `at`.
pub(crate) fn extended(at: u64, low: u64) -> u64 {
    const HALF: u64 = 1 << 31;
    let high = at & !0xffff_ffff;
    let candidate = high | low & 0xffff_ffff;
    if candidate + HALF < at {
        candidate + 2 * HALF
    } else {
        candidate
    }
}

pub(super) fn executed_on_mysql(executed: &decode::PreviousGtids<'_>) -> Result<GtidSet> {
    let set = executed.to_string().parse().map_err(|error: InvalidGtidSet| {
        let message = "the set of executed transactions at the beginning of a file of the log cannot be read";
        Error::definite("source_protocol", message).with_source(error)
    })?;
    Ok(GtidSet::MySql(set))
}

pub(crate) fn executed_on_mariadb(list: &decode::GtidList) -> MariaDbGtidSet {
    let mut set = MariaDbGtidSet::default();
    for (domain, server, sequence) in &list.transactions {
        set.add(&MariaDbGtid {
            domain: *domain,
            server: *server,
            sequence: *sequence,
        });
    }
    set
}
