//! Puts the messages of the log together into batches of changes.
//!
//! ```text
//!   Begin ─▶ rows … ─▶ Commit                            a transaction as it was committed
//!   [Stream Start ─▶ rows … ─▶ Stream Stop] … ─▶ Stream Commit     a large one, in chunks while it runs: spooled, then replayed
//!                                         … ─▶ Stream Abort       … and its rows, or a subtransaction's, forgotten
//! ```
//!
//! Invariants:
//! - `position` only moves at the end of a transaction, or to the server's own position when nothing is open.
//! - A transaction is contained in a position exactly if its commit record starts before it; positions of single events are
//!   never compared.
//! - Ordinals count every row message of a transaction that was not rolled back, before any filter, so that they are the
//!   same at every replay: in chunks or not, captured or not.
//! - A transaction whose origin is left out counts as covered: it moves the position, and of a large one nothing is spooled but
//!   its table definitions. The origin comes before the first row.
//! - A table definition (Relation) is applied in the order of the log, also that of a rolled-back subtransaction: the server
//!   sends it once per transaction.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Row, Transaction};
use tailrace_core::ports::Budget;
use tailrace_core::position::{PartialTransaction, Position, Progress};
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result, failpoint};

use super::relations::{RelationPlan, Relations};
use super::spool::{Replay, Spools};
use crate::config::PostgresConfig;
use crate::decode::{self, Field, LogicalMessage, Message, OldTuple, Tuple};
use crate::position::Lsn;
use crate::window::MESSAGE_PREFIX;
use crate::window::visibility::Received;

/// Where reading begins.
pub(crate) struct Start {
    /// End of the last transaction that is covered.
    pub(crate) position: Lsn,
    /// Commit position of the transaction that follows, and how many of its changes are covered.
    pub(crate) partial: Option<(Lsn, u64)>,
    /// Tables whose rows were read under a later snapshot than where the log begins.
    pub(crate) read_at: BTreeMap<String, Lsn>,
}

/// What is known between two messages.
pub(crate) struct Assembler {
    identity: Arc<str>,
    config: Arc<PostgresConfig>,
    relations: Relations,
    spools: Spools,
    replay: Option<Replay>,
    /// Inside a chunk of this transaction.
    chunk: Option<u32>,
    /// Transactions that come in chunks and are left out.
    left_out: HashSet<u32>,
    open: Option<OpenTransaction>,
    position: Lsn,
    partial: Option<(Lsn, u64)>,
    read_at: BTreeMap<String, Lsn>,
    previous_commit: Option<Lsn>,
    batch: ChangeBatch,
    /// The position that the last batch handed out carried.
    told: Lsn,
    /// Told of every commit, by whom rows are read that must contain it.
    received: Arc<Received>,
}

/// The transaction whose rows come now.
struct OpenTransaction {
    xid: u32,
    commit: Lsn,
    end: Option<Lsn>,
    committed_at_us: i64,
    /// Already covered, or left out: nothing of it is handed out.
    contained: bool,
    /// So many changes of it are covered already.
    covered: u64,
    /// Changes seen so far.
    ordinal: u64,
    /// Its index in the batch that is being filled.
    index: Option<usize>,
}

/// What the reader must do before the next message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Continue,
    /// Look a table up in the catalogue.
    Describe,
}

/// One row message, whatever transaction it came in.
struct RowMessage<'a> {
    relation: u32,
    operation: Operation,
    old: Option<OldTuple<'a>>,
    new: Option<Tuple<'a>>,
}

// === impl Assembler ===

impl Assembler {
    /// Nothing is read yet.
    pub(crate) fn new(
        identity: Arc<str>,
        config: Arc<PostgresConfig>,
        (relations, spools): (Relations, Spools),
        start: Start,
        received: Arc<Received>,
    ) -> Self {
        let batch = ChangeBatch::new(Arc::clone(&identity), Progress::at(start.position.to_position()));
        // What was read to its end before is a commit, or lies between two; where tables were read is neither.
        let is_first = start.read_at.values().any(|read_at| *read_at == start.position);
        Self {
            identity,
            config,
            relations,
            spools,
            replay: None,
            chunk: None,
            left_out: HashSet::new(),
            open: None,
            position: start.position,
            partial: start.partial,
            read_at: start.read_at,
            previous_commit: (!is_first).then_some(start.position),
            batch,
            told: start.position,
            received,
        }
    }

    /// Tables, to be looked up.
    pub(crate) fn relations_mut(&mut self) -> &mut Relations {
        &mut self.relations
    }

    /// The batch should be handed out before more is read.
    pub(crate) fn is_full(&self, budget: Budget) -> bool {
        self.batch.changes.len() >= budget.changes || self.batch.size_bytes() >= budget.bytes
    }

    /// A transaction that was spooled is being read back; live messages must wait.
    pub(crate) fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// What was assembled, or only progress where that moved; `None` where there is nothing to say.
    pub(crate) fn take(&mut self) -> Option<ChangeBatch> {
        let progress = self.progress();
        if self.batch.is_heartbeat() && (self.position == self.told || progress.partial.is_some()) {
            return None;
        }
        self.told = self.position;
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
        let open = self.open.as_ref().filter(|open| !open.contained && open.ordinal > 0);
        Progress {
            position: self.position.to_position(),
            partial: open.map(|open| PartialTransaction {
                transaction: open.commit.to_position(),
                changes: open.ordinal.max(open.covered),
            }),
        }
    }

    /// Everything before is covered.
    pub(crate) fn position(&self) -> Lsn {
        self.position
    }

    /// The server has sent everything up to here. Believed only when nothing is open, spooled or half covered.
    pub(crate) fn keepalive(&mut self, wal_end: Lsn) {
        let idle = self.open.is_none() && self.replay.is_none() && self.spools.is_empty() && self.chunk.is_none();
        if idle {
            self.position = self.position.max(wal_end);
        }
    }

    /// One message of the log, at `lsn`.
    pub(crate) fn accept(&mut self, message: &[u8], lsn: Lsn) -> Result<Next> {
        if message.is_empty() {
            // An origin without a name, because it is made in this very transaction: the server looks it up in vain, and sends what
            // it has written so far (pgoutput.c, `pgoutput_begin_txn`).
            return Ok(Next::Continue);
        }
        let parsed = decode::parse(message, self.chunk.is_some()).map_err(|error| undecodable(&error, lsn, message))?;
        let Some(top) = self.chunk else {
            return self.control(&parsed, lsn);
        };
        match (&parsed, subtransaction(&parsed)) {
            // Out of band: it is published even if the transaction around it is rolled back.
            (Message::Logical(logical), _) if !logical.transactional => self.logical_message(logical, lsn),
            (Message::Origin(origin), _) => {
                // It comes with the first chunk only.
                if self.config.skips_origin(origin.name) {
                    self.left_out.insert(top);
                }
                Ok(Next::Continue)
            }
            // Later transactions may use its table definitions.
            (message, Some(_)) if self.left_out.contains(&top) && !matches!(message, Message::Relation(_)) => {
                Ok(Next::Continue)
            }
            (_, Some(subtransaction)) => {
                failpoint!(try InStreamedTransaction);
                self.spools.push(top, subtransaction, lsn, message)?;
                Ok(Next::Continue)
            }
            (_, None) => self.control(&parsed, lsn),
        }
    }

    /// Messages that are not spooled.
    fn control(&mut self, message: &Message<'_>, lsn: Lsn) -> Result<Next> {
        match message {
            Message::Begin(begin) => self.begin(begin.transaction_id, Lsn(begin.final_lsn), begin.committed_at_us),
            Message::Commit(commit) => self.finish(Lsn(commit.end_lsn)),
            Message::StreamStart(start) => self.chunk = Some(start.transaction_id),
            Message::StreamStop => self.chunk = None,
            Message::StreamAbort(abort) => {
                self.spools.abort(abort.transaction_id, abort.subtransaction_id);
                if abort.transaction_id == abort.subtransaction_id {
                    self.left_out.remove(&abort.transaction_id);
                }
            }
            Message::StreamCommit(commit) => {
                self.begin(
                    commit.transaction_id,
                    Lsn(commit.commit.commit_lsn),
                    commit.commit.committed_at_us,
                );
                let left_out = self.left_out.remove(&commit.transaction_id);
                if let Some(open) = &mut self.open {
                    open.end = Some(Lsn(commit.commit.end_lsn));
                    open.contained |= left_out;
                }
                failpoint!(try StreamCommit);
                self.replay = Some(self.spools.commit(commit.transaction_id)?);
            }
            other => return self.content(other, lsn, false),
        }
        Ok(Next::Continue)
    }

    /// The next message of the transaction that is replayed; ends the transaction after its last.
    pub(crate) fn replay_one(&mut self) -> Result<Next> {
        let Some(mut replay) = self.replay.take() else {
            return Ok(Next::Continue);
        };
        let next = match replay.next_message()? {
            None => {
                let end = self.open.as_ref().and_then(|open| open.end).unwrap_or(self.position);
                self.finish(end);
                return Ok(Next::Continue);
            }
            Some(replayed) => {
                let parsed = decode::parse(replayed.message, true);
                let parsed = parsed.map_err(|error| undecodable(&error, replayed.lsn, replayed.message))?;
                self.content(&parsed, replayed.lsn, replayed.aborted)?
            }
        };
        self.replay = Some(replay);
        Ok(next)
    }

    /// Rows, table definitions and logical messages, whether they come live or from a spool.
    fn content(&mut self, message: &Message<'_>, lsn: Lsn, aborted: bool) -> Result<Next> {
        match message {
            Message::Relation(relation) => {
                self.relations.define(relation);
                return Ok(Next::Describe);
            }
            Message::Insert(_)
            | Message::Update(_)
            | Message::Delete(_)
            | Message::Truncate(_)
            | Message::Logical(_)
                if aborted => {}
            Message::Insert(insert) => self.row(
                &RowMessage {
                    relation: insert.relation,
                    operation: Operation::Create,
                    old: None,
                    new: Some(insert.new),
                },
                lsn,
            )?,
            Message::Update(update) => self.row(
                &RowMessage {
                    relation: update.relation,
                    operation: Operation::Update,
                    old: update.old,
                    new: Some(update.new),
                },
                lsn,
            )?,
            Message::Delete(delete) => self.row(
                &RowMessage {
                    relation: delete.relation,
                    operation: Operation::Delete,
                    old: Some(delete.old),
                    new: None,
                },
                lsn,
            )?,
            Message::Truncate(truncate) => {
                for relation in &truncate.relations {
                    let truncated = RowMessage {
                        relation: *relation,
                        operation: Operation::Truncate,
                        old: None,
                        new: None,
                    };
                    self.row(&truncated, lsn)?;
                }
            }
            Message::Logical(logical) => return self.logical_message(logical, lsn),
            Message::Origin(origin) => {
                if let Some(open) = &mut self.open {
                    open.contained |= self.config.skips_origin(origin.name);
                }
            }
            // What a type is called decides nothing here: types are looked up in the catalogue.
            _ => {}
        }
        Ok(Next::Continue)
    }

    fn begin(&mut self, xid: u32, commit: Lsn, committed_at_us: i64) {
        self.received.note(xid);
        let covered = self.partial.filter(|(transaction, _)| *transaction == commit);
        self.open = Some(OpenTransaction {
            xid,
            commit,
            end: None,
            committed_at_us,
            contained: commit < self.position,
            covered: covered.map_or(0, |(_, changes)| changes),
            ordinal: 0,
            index: None,
        });
    }

    fn finish(&mut self, end: Lsn) {
        if let Some(open) = self.open.take() {
            self.previous_commit = Some(end);
            self.partial = self.partial.filter(|(transaction, _)| *transaction > open.commit);
        }
        self.position = self.position.max(end);
    }

    /// Counts a change of the open transaction. `None` where it is covered already.
    fn next_ordinal(&mut self) -> Option<u64> {
        let open = self.open.as_mut()?;
        let ordinal = open.ordinal;
        open.ordinal += 1;
        (!open.contained && ordinal >= open.covered).then_some(ordinal)
    }

    fn row(&mut self, message: &RowMessage<'_>, lsn: Lsn) -> Result<()> {
        let plan = self.relations.get(message.relation).ok_or_else(|| {
            let text = format!(
                "a row at {lsn} is of table {} that the log did not define",
                message.relation
            );
            Error::definite("source_protocol", text)
        })?;
        let Some(ordinal) = self.next_ordinal() else {
            return Ok(());
        };
        if !plan.captured || self.was_read_later(&plan) {
            return Ok(());
        }
        failpoint!(try InTransaction);
        let (before, before_image) = match &message.old {
            None => (None, BeforeImage::None),
            Some(OldTuple::Key(tuple)) => (
                Some(push_row(&mut self.batch, &plan, *tuple, None, lsn)?),
                BeforeImage::Key,
            ),
            Some(OldTuple::Full(tuple)) => (
                Some(push_row(&mut self.batch, &plan, *tuple, None, lsn)?),
                BeforeImage::Full,
            ),
        };
        let full_before = before.filter(|_| before_image == BeforeImage::Full);
        let after = message
            .new
            .map(|tuple| push_row(&mut self.batch, &plan, tuple, full_before, lsn))
            .transpose()?;
        let change = Change {
            operation: message.operation,
            table: self.batch.table_index(&plan.schema),
            transaction: self.transaction_index(),
            before,
            before_image,
            after,
            ordinal,
            log_position: Some(lsn.0),
            updated_at_us: None,
            topic: None,
            message: None,
        };
        self.batch.changes.push(change);
        Ok(())
    }

    /// The table's rows were read under a snapshot that contains this transaction.
    fn was_read_later(&self, plan: &RelationPlan) -> bool {
        let read_at = self.read_at.get(&plan.qualified_name);
        read_at
            .zip(self.open.as_ref())
            .is_some_and(|(read_at, open)| open.commit < *read_at)
    }

    fn transaction_index(&mut self) -> usize {
        let previous = self.previous_commit.map(|lsn| lsn.0);
        let Some(open) = &mut self.open else {
            return 0;
        };
        *open.index.get_or_insert_with(|| {
            self.batch.push_transaction(Transaction {
                id: Some(u64::from(open.xid)),
                committed_at_us: open.committed_at_us,
                position: open.commit.to_text(),
                log_position: Some(open.commit.0),
                previous_log_position: previous,
                binlog: None,
            })
        })
    }

    /// A logical message: a row of the table of messages. A non-transactional one stands for itself and moves no position.
    fn logical_message(&mut self, message: &LogicalMessage<'_>, lsn: Lsn) -> Result<Next> {
        let ordinal = if message.transactional {
            self.next_ordinal()
        } else {
            Some(0)
        };
        let contained = !message.transactional && Lsn(message.lsn) < self.position;
        let is_ours = message.prefix == MESSAGE_PREFIX;
        let Some(ordinal) = ordinal.filter(|_| !contained && !is_ours && self.config.captures_message(message.prefix))
        else {
            return Ok(Next::Continue);
        };
        let schema = self.relations.message_schema();
        let full = |error: BatchFull| Error::definite("batch_full", error.to_string());
        self.batch.begin_row().map_err(full)?;
        self.batch.push_text(message.prefix).map_err(full)?;
        self.batch.push_bytes(message.content).map_err(full)?;
        let row = self.batch.end_row().map_err(full)?;
        let transaction = if message.transactional {
            self.transaction_index()
        } else {
            // It is a commit of its own.
            self.previous_commit = Some(lsn);
            self.batch.push_transaction(Transaction {
                id: None,
                // The log does not say when it was written; it is sent right away.
                committed_at_us: now_us(),
                position: Lsn(message.lsn).to_text(),
                log_position: Some(message.lsn),
                previous_log_position: self.previous_commit.map(|lsn| lsn.0),
                binlog: None,
            })
        };
        let change = Change {
            operation: Operation::Message,
            table: self.batch.table_index(&schema),
            transaction,
            before: None,
            before_image: BeforeImage::None,
            after: Some(row),
            ordinal,
            log_position: Some(lsn.0),
            updated_at_us: None,
            topic: None,
            message: None,
        };
        self.batch.changes.push(change);
        Ok(Next::Continue)
    }
}

/// The subtransaction that a message inside a chunk belongs to; `None` for messages that say something about chunks.
fn subtransaction(message: &Message<'_>) -> Option<u32> {
    match message {
        Message::Relation(relation) => relation.transaction_id,
        Message::Type(name) => name.transaction_id,
        Message::Insert(insert) => insert.transaction_id,
        Message::Update(update) => update.transaction_id,
        Message::Delete(delete) => delete.transaction_id,
        Message::Truncate(truncate) => truncate.transaction_id,
        Message::Logical(logical) => logical.transaction_id,
        Message::Begin(_)
        | Message::Commit(_)
        | Message::Origin(_)
        | Message::StreamStart(_)
        | Message::StreamStop
        | Message::StreamCommit(_)
        | Message::StreamAbort(_) => None,
    }
}

/// Decodes one row. An unchanged large value is taken from the row before, where the log has the whole of that.
fn push_row(
    batch: &mut ChangeBatch,
    plan: &RelationPlan,
    tuple: Tuple<'_>,
    before: Option<Row>,
    lsn: Lsn,
) -> Result<Row> {
    let full = |error: BatchFull| Error::definite("batch_full", error.to_string());
    batch.begin_row().map_err(full)?;
    let mut decoders = plan.decoders.iter().enumerate();
    for field in tuple.fields() {
        let Some((column, decoder)) = decoders.next() else {
            return Err(malformed(plan, lsn));
        };
        let pushed = match field {
            Field::Null => {
                batch.push_null();
                Ok(())
            }
            Field::Unchanged => {
                match before {
                    Some(before) => batch.push_copy(before, column),
                    None => batch.push_unchanged(),
                }
                Ok(())
            }
            Field::Text(bytes) => decoder.push_text(bytes, batch),
            Field::Binary(bytes) => decoder.push_binary(bytes, batch),
        };
        pushed.map_err(|error| plan.poison(column, lsn, &error))?;
    }
    if decoders.next().is_some() {
        return Err(malformed(plan, lsn));
    }
    batch.end_row().map_err(full)
}

fn malformed(plan: &RelationPlan, lsn: Lsn) -> Error {
    let message = format!(
        "a row of {} at {lsn} has another number of columns than the log said",
        plan.qualified_name
    );
    Error::definite("source_protocol", message)
}

fn undecodable(error: &dyn std::fmt::Display, lsn: Lsn, message: &[u8]) -> Error {
    let tag = message.first().map_or(' ', |byte| char::from(*byte));
    let text = format!(
        "a message of the log at {lsn} (kind `{tag}`, {} bytes) cannot be decoded: {error}; \
         please report it with the server's version",
        message.len()
    );
    Error::definite("log_undecodable", text)
}

/// Reads a saved position back.
pub(crate) fn saved_partial(progress: &Progress) -> Result<Option<(Lsn, u64)>> {
    let read = |partial: &PartialTransaction| -> Result<(Lsn, u64)> {
        Ok((Lsn::from_position(&partial.transaction)?, partial.changes))
    };
    progress.partial.as_ref().map(read).transpose()
}

/// Saved positions by table.
pub(crate) fn saved_positions(read_at: &BTreeMap<String, Position>) -> Result<BTreeMap<String, Lsn>> {
    let read = |(table, position): (&String, &Position)| -> Result<(String, Lsn)> {
        Ok((table.clone(), Lsn::from_position(position)?))
    };
    read_at.iter().map(read).collect()
}
