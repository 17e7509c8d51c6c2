//! Puts the events of the binary log together into batches of changes.
//!
//! ```text
//!   Gtid ─▶ BEGIN ─▶ (Table map … ─▶ Rows …)… ─▶ Xid or COMMIT      a transaction
//!   Gtid ─▶ statement                                              a definition that changed; commits by itself
//!   Gtid ─▶ XA START ─▶ rows … ─▶ XA PREPARE   …   Gtid ─▶ XA COMMIT or XA ROLLBACK
//!   Gtid ─▶ Transaction payload [ BEGIN ─▶ rows … ─▶ Xid ]           the same, compressed (MySQL)
//! ```
//!
//! Invariants:
//! - `position` only moves at the end of a group of events, or with the server's heartbeat while nothing is open. A position inside a group could be
//!   given to the server, which would stream the tail and say nothing.
//! - The server writes a group as a whole when it commits, so rows are handed out as they come. What this cannot take back is an error: a group that
//!   ends with ROLLBACK after rows, or not at all.
//! - Ordinals count every rows event of a transaction and every row in it, captured or not, so that they are the same at every replay
//!   whatever the configuration: the number of the rows event in the upper half, that of the row in the lower.
//! - Rows of a prepared XA transaction are not handed out where they stand, but when its commit comes, and are read again from there
//!   (`reads_prepared`). Until then the position names it.
//! - A transaction of a sink that is left out begins with rows of the sink's table of offsets (`log/sinks.rs`); its rows are passed over like those of
//!   tables that are not captured.
//! - A rows event of a table that no table map described is an error, never skipped.

mod files;
mod xa;

pub(crate) use files::{executed_on_mariadb, extended};

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tailrace_core::batch::{BeforeImage, BinlogTransaction, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::ports::Budget;
use tailrace_core::position::{PartialTransaction, Position, Progress};
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result, failpoint};

use super::rows::RowsInProgress;
use super::tables::{Tables, statement_text};
use super::torn::TornEnds;
use super::transaction::{Group, OpenTransaction};
use crate::ddl::{self, Statement};
use crate::decode::{self, Event, EventHeader, PayloadReader, RawEvent};
use crate::position::gtid::GtidSet;
use crate::position::{BinlogPosition, FileOffset, Xid};

/// Where reading begins.
pub(crate) struct Start {
    /// Everything before is covered.
    pub(crate) position: BinlogPosition,
    /// Name of the transaction that follows, and ordinal of its first change that is not covered.
    pub(crate) partial: Option<(Arc<str>, u64)>,
    /// Tables whose rows were read under a later consistent point than where the log begins.
    pub(crate) read_at: BTreeMap<String, BinlogPosition>,
    /// The server is the one whose files the position names, so that a file of the same name must be the same.
    pub(crate) checks_fingerprint: bool,
    /// Where files are torn that may be read.
    pub(crate) torn: TornEnds,
}

/// What is known between two events.
pub(crate) struct Assembler {
    identity: Arc<str>,
    tables: Tables,
    /// Where the last event ended.
    at: FileOffset,
    file: Arc<str>,
    /// When the server opened that file.
    file_started_s: Option<u32>,
    open: Option<OpenTransaction>,
    payload: Option<PayloadReader>,
    /// A reader that is done: making one takes longer than reading a small transaction.
    idle_payload: Option<PayloadReader>,
    /// The events that come now are those of a prepared transaction whose commit is the open transaction.
    reads_prepared: bool,
    rows: Option<RowsInProgress>,
    /// Start of the next transaction, and what is executed.
    position: BinlogPosition,
    /// `position` moved since the last batch.
    moved: bool,
    partial: Option<(Arc<str>, u64)>,
    read_at: BTreeMap<String, BinlogPosition>,
    /// The server is the one whose files the position names.
    checks_fingerprint: bool,
    torn: TornEnds,
    batch: ChangeBatch,
}

/// What the reader must do before the next event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Continue,
    /// Definitions changed: they must be remembered before any row that uses them is handed out.
    Remember,
    /// The rows of a prepared transaction must be read again from there; they belong to the open transaction.
    ReadPrepared(FileOffset),
    /// They were.
    PreparedWasRead,
    /// Nothing more comes of this file, and the log goes on there.
    ReadFrom(FileOffset),
}

// === impl Assembler ===

impl Assembler {
    /// Nothing is read yet.
    pub(crate) fn new(identity: Arc<str>, tables: Tables, start: Start) -> Self {
        let batch = ChangeBatch::new(Arc::clone(&identity), Progress::at(start.position.to_position()));
        Self {
            identity,
            tables,
            at: start.position.at.clone(),
            file: start.position.at.file.as_str().into(),
            file_started_s: start.position.file_started_s,
            open: None,
            payload: None,
            idle_payload: None,
            reads_prepared: false,
            rows: None,
            position: start.position,
            moved: false,
            partial: start.partial,
            read_at: start.read_at,
            checks_fingerprint: start.checks_fingerprint,
            torn: start.torn,
            batch,
        }
    }

    /// What tables are known as.
    pub(crate) fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// Everything before is covered.
    pub(crate) fn position(&self) -> &BinlogPosition {
        &self.position
    }

    /// The batch should be handed out before more is read.
    pub(crate) fn is_full(&self, budget: Budget) -> bool {
        self.batch.changes.len() >= budget.changes || self.batch.size_bytes() >= budget.bytes
    }

    /// A transaction has begun and not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// An event that was accepted has more to give; the next one must wait.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.rows.is_some() || self.payload.is_some()
    }

    /// What was assembled, or only progress where that moved; `None` where there is nothing to say.
    pub(crate) fn take(&mut self) -> Option<ChangeBatch> {
        if self.batch.is_heartbeat() && (!self.moved || self.open.is_some()) {
            return None;
        }
        self.moved = false;
        let progress = self.progress();
        if let Some(open) = &mut self.open {
            open.index = None;
        }
        let mut empty = ChangeBatch::new(Arc::clone(&self.identity), progress.clone());
        empty.reserve(self.batch.changes.len(), self.batch.size_bytes() / 2);
        let mut batch = std::mem::replace(&mut self.batch, empty);
        batch.progress = progress;
        Some(batch)
    }

    fn progress(&self) -> Progress {
        let open = self.open.as_ref().filter(|open| open.emitted || open.covered > 0);
        Progress {
            position: self.position.to_position(),
            partial: open.map(|open| PartialTransaction {
                transaction: Position::new(Arc::clone(&open.name)),
                changes: open.done.max(open.covered),
            }),
        }
    }

    /// One event of the log.
    pub(crate) fn accept(&mut self, event: &RawEvent) -> Result<Next> {
        if self.reads_prepared {
            let place = self.at.clone();
            let parsed = self.parse(&event.header, &event.body, &place)?;
            return self.prepared(&parsed, &event.body, &place);
        }
        let start = self.start_of(&event.header);
        if self.is_torn_at(&start)
            && !event.header.is_artificial()
            && let Some(next) = self.leave_torn_file()
        {
            return Ok(next);
        }
        let parsed = self.parse(&event.header, &event.body, &start)?;
        let next = match &parsed {
            Event::Rotate(rotate) => self.rotate(&event.header, rotate.file, rotate.offset)?,
            Event::FormatDescription(file) => self.begin_file(&event.header, file.created_seconds)?,
            other => self.content(other, &event.header, &event.body, &start)?,
        };
        self.advance(&event.header);
        Ok(next)
    }

    /// More of the event that was accepted last.
    pub(crate) fn go_on(&mut self, budget: Budget) -> Result<Next> {
        if self.rows.is_some() {
            self.read_rows(budget)?;
            return Ok(Next::Continue);
        }
        let Some(mut payload) = self.payload.take() else {
            return Ok(Next::Continue);
        };
        let place = self.at.clone();
        let inner = payload.next_event().map_err(|error| self.undecodable(&error, &place))?;
        let Some(inner) = inner else {
            self.idle_payload = Some(payload);
            return Ok(Next::Continue);
        };
        let parsed = self.parse(&inner.header, &inner.body, &place)?;
        self.payload = Some(payload);
        if self.reads_prepared {
            return self.prepared(&parsed, &inner.body, &place);
        }
        self.content(&parsed, &inner.header, &inner.body, &place)
    }

    fn begin_payload(
        &mut self,
        payload: &decode::TransactionPayload<'_>,
        body: &Bytes,
        place: &FileOffset,
    ) -> Result<()> {
        let reader = match self.idle_payload.take() {
            Some(mut idle) => idle.restart(payload, body).map(|()| idle),
            None => PayloadReader::new(payload, body),
        };
        self.payload = Some(reader.map_err(|error| self.undecodable(&error, place))?);
        Ok(())
    }

    fn parse<'e>(&self, header: &EventHeader, body: &'e Bytes, start: &FileOffset) -> Result<Event<'e>> {
        crate::decode::parse(header, body).map_err(|error| self.undecodable(&error, start))
    }

    fn undecodable(&self, error: &dyn std::fmt::Display, place: &FileOffset) -> Error {
        Error::definite(
            "source_protocol",
            format!(
                "the event at {place} cannot be decoded: {error}; please report it with `mysqlbinlog --hexdump` of this place"
            ),
        )
    }

    /// Events that stand in the log, and those of a compressed transaction.
    fn content(&mut self, event: &Event<'_>, header: &EventHeader, body: &Bytes, start: &FileOffset) -> Result<Next> {
        match event {
            Event::Gtid(gtid) => self.begin(Group::of_mysql(gtid, header), start)?,
            Event::MariaDbGtid(gtid) => self.begin(Group::of_mariadb(gtid, header), start)?,
            // LOAD DATA as a statement is as good as any other: it halts where its table is captured.
            Event::Query(query) | Event::LoadData(decode::LoadData::Execute(query)) => {
                return self.statement(query, header, start);
            }
            Event::TableMap(map) => self.tables.define(map, body),
            Event::Rows(rows) => self.begin_rows(rows, body, start)?,
            Event::TransactionPayload(payload) => self.begin_payload(payload, body, start)?,
            Event::Xid(_) => self.finish(header)?,
            Event::XaPrepare(prepare) if prepare.one_phase => return Ok(self.commit_in_one_phase()),
            Event::XaPrepare(_) => self.finish_prepare(header)?,
            Event::PreviousGtids(executed) => self.learn(|| files::executed_on_mysql(executed))?,
            Event::GtidList(list) => self.learn(|| Ok(GtidSet::MariaDb(executed_on_mariadb(list))))?,
            Event::Heartbeat(heartbeat) => self.heartbeat(heartbeat.file, heartbeat.offset),
            Event::Incident(incident) => return Err(self.incident(&incident.text, start)),
            // What only statements need, and what says nothing about rows.
            _ => {}
        }
        Ok(Next::Continue)
    }

    // --- transactions

    fn begin(&mut self, group: Group, start: &FileOffset) -> Result<()> {
        self.refuse_open_transaction("another begins")?;
        let name: Arc<str> = match &group.gtid {
            Some(gtid) => gtid.to_string().into(),
            None => start.to_string().into(),
        };
        let partial = self.partial.take();
        self.verify_partial(partial.as_ref(), &name, start)?;
        let partial = partial.filter(|(partly, _)| *partly == name);
        self.open = Some(OpenTransaction {
            start: start.clone(),
            gtid: group.gtid,
            name,
            committed_at_us: group.committed_at_us,
            server_id: group.server_id,
            thread_id: None,
            begun: group.begun,
            prepared: group.prepared,
            decides: None,
            covered: partial.map_or(0, |(_, ordinal)| ordinal),
            row_events: 0,
            done: 0,
            emitted: false,
            left_out: false,
            index: None,
        });
        Ok(())
    }

    /// What the server cannot have meant: the log was cut off by a crash, and the group was rolled back.
    fn refuse_open_transaction(&self, then: &str) -> Result<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        Err(Error::definite(
            "incomplete_transaction",
            format!(
                "the transaction {} at {} has no end, and {then}: the server crashed while it wrote the log. What was carried of it may have been rolled back; \
                 compare its rows, then `tailrace forget` the connector or go on behind it",
                open.name, open.start
            ),
        ))
    }

    /// A transaction that was carried in part is the next one, unless another server has it elsewhere.
    fn verify_partial(&self, partial: Option<&(Arc<str>, u64)>, name: &str, start: &FileOffset) -> Result<()> {
        let Some((partly, _)) = partial.filter(|(partly, _)| self.checks_fingerprint && **partly != *name) else {
            return Ok(());
        };
        Err(Error::definite(
            "source_rewound",
            format!(
                "rows of the transaction {partly} were carried, and the server's log does not have it any more: at {start}, where it was, is {name}. The server \
                 lost the end of its log in a crash; compare what is in the stream and not in the database, then `tailrace forget` the connector"
            ),
        ))
    }

    fn open(&mut self, header: &EventHeader, start: &FileOffset) -> Result<&mut OpenTransaction> {
        if self.open.is_none() {
            self.begin(Group::of_header(header), start)?;
        }
        self.open.as_mut().ok_or_else(|| no_transaction(start))
    }

    fn finish(&mut self, header: &EventHeader) -> Result<()> {
        let end = self.end_of(header);
        let Some(open) = self.open.take() else {
            return Err(no_transaction(&end));
        };
        self.close(open, end)
    }

    fn close(&mut self, open: OpenTransaction, end: FileOffset) -> Result<()> {
        if let (Some(executed), Some(gtid)) = (&mut self.position.gtids, &open.gtid) {
            executed.add(gtid)?;
        }
        self.position
            .pending
            .retain(|pending| Some(&pending.xid) != open.decides.as_ref());
        self.position.at = end;
        self.position.file_started_s = self.file_started_s;
        self.moved = true;
        self.tables.end_transaction();
        Ok(())
    }

    fn statement(&mut self, query: &decode::Query<'_>, header: &EventHeader, start: &FileOffset) -> Result<Next> {
        let sql = query.sql().map_err(|error| self.undecodable(&error, start))?;
        let open = self.open(header, start)?;
        open.thread_id = Some(query.thread_id);
        match sql.as_ref() {
            b"BEGIN" => return self.begun(None, start).map(|()| Next::Continue),
            b"COMMIT" => return self.finish(header).map(|()| Next::Continue),
            _ => {}
        }
        let session = query.session().map_err(|error| self.undecodable(&error, start))?;
        let text = statement_text(&sql);
        let context = self.tables.context(query.schema, &session);
        match ddl::classify(&text, &context) {
            Statement::Begin => self.begun(None, start)?,
            Statement::XaStart(xid) => self.begun(Some(xid), start)?,
            // A prepare comes as an event of its own.
            Statement::Savepoint | Statement::XaEnd(_) | Statement::XaPrepare(_) => {}
            Statement::RollbackTo(_) => self.refuse_rolled_back(start)?,
            Statement::Commit => self.finish(header)?,
            Statement::Rollback => self.rolled_back(header, start)?,
            Statement::XaCommit(xid) => return self.decided(&xid, start),
            Statement::XaCommitOnePhase(_) => return Ok(self.commit_in_one_phase()),
            Statement::XaRollback(xid) => self.rolled_back_prepared(xid, header)?,
            Statement::Rows(tables) => {
                self.tables.refuse_statement(tables.as_deref(), &text, start)?;
                self.end_unless_begun(header)?;
            }
            Statement::Definition(definition) => {
                let applied = self.tables.apply(&definition, &context)?;
                for table in &applied.truncated {
                    self.truncate(table, start);
                }
                self.end_unless_begun(header)?;
                if applied.changed {
                    return Ok(Next::Remember);
                }
            }
            Statement::Other => self.end_unless_begun(header)?,
        }
        Ok(Next::Continue)
    }

    /// Without identifiers nothing else begins a group, and one that has begun already has no end.
    fn begun(&mut self, prepares: Option<Xid>, start: &FileOffset) -> Result<()> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.begun && open.gtid.is_none() && open.start != *start)
        {
            self.refuse_open_transaction("another begins")?;
        }
        if let Some(open) = &mut self.open {
            open.begun = true;
            open.prepared = prepares.or(open.prepared.take());
        }
        Ok(())
    }

    /// A statement that commits by itself is a transaction of its own.
    fn end_unless_begun(&mut self, header: &EventHeader) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| !open.begun) {
            self.finish(header)?;
        }
        Ok(())
    }

    fn rolled_back(&mut self, header: &EventHeader, start: &FileOffset) -> Result<()> {
        self.refuse_rolled_back(start)?;
        self.finish(header)
    }

    /// The server takes rows that were rolled back out of the log before it writes it, unless a table was among them that cannot be rolled
    /// back.
    fn refuse_rolled_back(&self, start: &FileOffset) -> Result<()> {
        if !self.open.as_ref().is_some_and(|open| open.emitted) {
            return Ok(());
        }
        Err(Error::definite(
            "rolled_back_rows",
            format!(
                "the transaction was rolled back at {start} after rows of it were logged, because it wrote to a table that cannot be rolled back; \
                 its rows were carried already. Compare them, and use transactional tables only"
            ),
        ))
    }

    // --- rows

    fn begin_rows(&mut self, rows: &decode::Rows<'_>, body: &Bytes, start: &FileOffset) -> Result<()> {
        let captured = self.tables.captured_name(rows.table_id, start)?;
        let wanted = captured.is_some_and(|name| !self.was_read_later(name));
        let Some(open) = &mut self.open else {
            return Err(no_transaction(start));
        };
        if open.prepared.is_some() {
            return Ok(());
        }
        if open.row_events == 0 {
            open.left_out = self.tables.begins_a_sinks_transaction(rows, body, start)?;
        }
        let first = open.row_events << 32;
        open.row_events += 1;
        let after = open.row_events << 32;
        if !wanted || open.left_out || open.covered >= after {
            open.done = after;
            return Ok(());
        }
        let plan = self.tables.plan(rows.table_id, start)?;
        self.rows = Some(RowsInProgress::new(plan, rows, body, first, start.offset)?);
        Ok(())
    }

    fn read_rows(&mut self, budget: Budget) -> Result<()> {
        let Some(mut rows) = self.rows.take() else {
            return Ok(());
        };
        let transaction = self.transaction_index();
        while !self.is_full(budget) {
            let Some(open) = &mut self.open else {
                return Err(no_transaction(&self.at));
            };
            if rows.is_empty() {
                open.done = (rows.ordinal() | 0xffff_ffff) + 1;
                return Ok(());
            }
            if rows.ordinal() < open.covered {
                rows.skip_row()?;
                continue;
            }
            failpoint!(try InTransaction);
            rows.read_row(&mut self.batch, transaction)?;
            open.emitted = true;
            open.done = rows.ordinal();
        }
        self.rows = Some(rows);
        Ok(())
    }

    fn truncate(&mut self, schema: &SharedSchema, start: &FileOffset) {
        let name = schema.name.qualified();
        let Some(open) = &mut self.open else {
            return;
        };
        let ordinal = open.row_events << 32;
        open.row_events += 1;
        open.done = open.row_events << 32;
        if ordinal < open.covered || self.was_read_later(&name) {
            return;
        }
        let transaction = self.transaction_index();
        let change = Change {
            operation: Operation::Truncate,
            table: self.batch.table_index(schema),
            transaction,
            before: None,
            before_image: BeforeImage::None,
            after: None,
            ordinal,
            log_position: Some(start.offset),
            updated_at_us: None,
            topic: None,
            message: None,
        };
        self.batch.changes.push(change);
    }

    /// The table's rows were read under a consistent point that contains this transaction.
    fn was_read_later(&self, qualified_name: &str) -> bool {
        let (Some(read_at), Some(open)) = (self.read_at.get(qualified_name), &self.open) else {
            return false;
        };
        match (&read_at.gtids, &open.gtid) {
            (Some(executed), Some(gtid)) => executed.contains(gtid),
            _ => open.start < read_at.at,
        }
    }

    fn transaction_index(&mut self) -> usize {
        let Some(open) = &mut self.open else {
            return 0;
        };
        *open.index.get_or_insert_with(|| {
            self.batch.push_transaction(Transaction {
                id: None,
                committed_at_us: open.committed_at_us,
                position: Arc::clone(&open.name),
                log_position: None,
                previous_log_position: None,
                binlog: Some(BinlogTransaction {
                    file: Arc::clone(&self.file),
                    server_id: open.server_id,
                    thread_id: open.thread_id,
                    gtid: open.gtid.is_some().then(|| Arc::clone(&open.name)),
                }),
            })
        })
    }
}

fn no_transaction(place: &FileOffset) -> Error {
    Error::definite(
        "source_protocol",
        format!("an event at {place} belongs to no transaction that was begun"),
    )
}

#[cfg(test)]
mod tests;
