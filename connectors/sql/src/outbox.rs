//! Outbox tables: rows that are events already, because the application wrote them so in its own transaction.
//!
//! ```text
//!   any source (log or query) ──▶ OutboxSource ──▶ ChangeBatch whose changes carry a message
//!        rows of the outbox         insert, read ─▶ event: topic, key, payload, headers, id, time
//!        rows of other tables       delete, truncate ─▶ nothing; update ─▶ by policy
//!                                   other tables ─▶ as they are
//! ```
//!
//! Columns, topics and headers are as Debezium's event router has them. An event's id is its row's, so that the log and a
//! query give the same one. What a row says is taken before any transform; transforms may then leave events out or send
//! them elsewhere by the row's columns, and not change those.

mod config;
mod event;
mod headers;
mod hold;
mod log_message;
mod plan;
mod topic;
mod trace_fields;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tailrace_core::batch::{BatchFull, Change, ChangeBatch, Message, Operation, Part, Payload, Refusal, Row};
use tailrace_core::ports::{Budget, Source};
use tailrace_core::position::Position;
use tailrace_core::schema::SharedSchema;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::value::Value;
use tailrace_core::{Error, Result};

pub use config::{HeaderColumn, OutboxColumns, OutboxConfig, PayloadFormat, PayloadSource, UpdatePolicy};
use event::{NoEvent, Scratch, happened_at_us, read_event, read_remains};
use hold::Judge;
pub use plan::Outbox;
use plan::{Reading, TablePlan};

/// Table versions in use at a time before what is known of them is found out anew.
const READINGS_KEPT: usize = 4096;

/// Reads the rows of a source's outbox tables as events.
pub struct OutboxSource {
    source: Box<dyn Source>,
    interpreter: Interpreter,
}

/// How the table versions are read that were seen so far.
struct Readings {
    outbox: Arc<Outbox>,
    known: Vec<(SharedSchema, Arc<Reading>)>,
}

/// What makes events of rows.
struct Interpreter {
    outbox: Arc<Outbox>,
    telemetry: Arc<Telemetry>,
    readings: Readings,
    scratch: Scratch,
    updates: u64,
}

/// Why a row is no event.
#[derive(Debug)]
pub(crate) struct BadRow {
    pub(crate) code: &'static str,
    /// Continues "row … is no event: ".
    pub(crate) problem: String,
}

// === impl BadRow ===

impl BadRow {
    fn new(code: &'static str, problem: String) -> Self {
        Self { code, problem }
    }
}

fn batch_full(error: BatchFull) -> Error {
    Error::definite("batch_full", error.to_string())
}

// === impl OutboxSource ===

impl OutboxSource {
    /// Reads the rows of `source` as `outbox` says, and tells `telemetry` what was left out.
    ///
    /// # Errors
    /// `rows_not_held` where bad rows are to be held back and the source does not read queues.
    pub fn new(mut source: Box<dyn Source>, outbox: Arc<Outbox>, telemetry: Arc<Telemetry>) -> Result<Self> {
        if outbox.config.hold_bad_rows {
            let judge = Judge::new(Arc::clone(&outbox), Arc::clone(&telemetry));
            source.judge_rows(Box::new(judge))?;
        }
        let interpreter = Interpreter {
            readings: Readings::new(Arc::clone(&outbox)),
            outbox,
            telemetry,
            scratch: Scratch::default(),
            updates: 0,
        };
        Ok(Self { source, interpreter })
    }
}

#[async_trait]
impl Source for OutboxSource {
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        // Nothing is waited for after the source's own batch, so that what is dropped was not taken yet.
        let mut batch = self.source.next_batch(budget).await?;
        self.interpreter.interpret(&mut batch)?;
        Ok(batch)
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        self.source.confirm(durable).await
    }

    fn interpret(&mut self, batch: &mut ChangeBatch) -> Result<()> {
        self.interpreter.interpret(batch)
    }
}

// === impl Readings ===

impl Readings {
    fn new(outbox: Arc<Outbox>) -> Self {
        Self {
            outbox,
            known: Vec::new(),
        }
    }

    fn of(&mut self, schema: &SharedSchema) -> Result<Arc<Reading>> {
        if let Some((_, reading)) = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, schema)) {
            return Ok(Arc::clone(reading));
        }
        let reading = Arc::new(self.outbox.reading(schema)?);
        if self.known.len() >= READINGS_KEPT {
            self.known.clear();
        }
        self.known.push((Arc::clone(schema), Arc::clone(&reading)));
        Ok(reading)
    }
}

// === impl Interpreter ===

impl Interpreter {
    fn interpret(&mut self, batch: &mut ChangeBatch) -> Result<()> {
        let tables = batch.tables.clone();
        let readings = tables.iter().map(|table| self.readings.of(table));
        let readings: Vec<_> = readings.collect::<Result<_>>()?;
        if readings.iter().all(|reading| matches!(**reading, Reading::Ordinary)) {
            return Ok(());
        }
        let changes = std::mem::take(&mut batch.changes);
        batch.changes.reserve(changes.len());
        let before = changes.len();
        for change in changes {
            let event = match readings.get(change.table).map(|reading| &**reading) {
                None | Some(Reading::Ordinary) => Some(change),
                Some(Reading::Messages { prefix, content }) => self.message(change, batch, (*prefix, *content))?,
                Some(Reading::Outbox(plan)) => self.row(plan, change, batch)?,
            };
            batch.changes.extend(event);
        }
        let left_out = u64::try_from(before - batch.changes.len()).unwrap_or(0);
        self.telemetry.numbers.filtered.fetch_add(left_out, Ordering::Relaxed);
        Ok(())
    }

    /// A change of an outbox table.
    fn row(&mut self, plan: &TablePlan, change: Change, batch: &mut ChangeBatch) -> Result<Option<Change>> {
        match (change.operation, change.after) {
            // A message is a row here where it was set aside, and is read again.
            (Operation::Read | Operation::Create | Operation::Message, Some(row)) => {
                self.event(plan, change, (batch, row)).map(Some)
            }
            (Operation::Update, _) => self.update(plan, &change, batch).map(|()| None),
            _ => Ok(None),
        }
    }

    fn event(&mut self, plan: &TablePlan, mut change: Change, (batch, row): (&mut ChangeBatch, Row)) -> Result<Change> {
        let outbox = Arc::clone(&self.outbox);
        match read_event(&outbox, plan, (batch, row), &mut self.scratch) {
            Ok((topic, message)) => {
                change.topic = Some(topic);
                change.message = Some(batch.push_message(message).map_err(batch_full)?);
            }
            Err(NoEvent::Failed(error)) => return Err(error),
            Err(NoEvent::Bad(bad)) => {
                let remains = read_remains(plan, batch, row)?;
                refuse((&plan.name, &bad), remains, (&mut change, batch))?;
            }
        }
        let happened_at_us = happened_at_us(plan, batch, (change.table, row));
        change.updated_at_us = happened_at_us.or(change.updated_at_us);
        Ok(change)
    }

    /// A message of PostgreSQL's log.
    fn message(
        &mut self,
        mut change: Change,
        batch: &mut ChangeBatch,
        (prefix, content): (usize, usize),
    ) -> Result<Option<Change>> {
        let outbox = Arc::clone(&self.outbox);
        let wanted = outbox.config.message_prefix.as_deref().unwrap_or_default();
        let (Some(row), Some((schema, plan))) = (change.after, &outbox.messages) else {
            return Ok(Some(change));
        };
        if batch.row(row).get(prefix) != Value::Text(wanted) {
            return Ok(Some(change));
        }
        match log_message::read_row(schema, batch, (row, content)) {
            Ok(row) => {
                change.table = batch.table_index(schema);
                change.after = Some(row);
                self.event(plan, change, (batch, row)).map(Some)
            }
            Err(NoEvent::Failed(error)) => Err(error),
            Err(NoEvent::Bad(bad)) => {
                refuse((&plan.name, &bad), (None, None), (&mut change, batch))?;
                Ok(Some(change))
            }
        }
    }

    fn update(&mut self, plan: &TablePlan, change: &Change, batch: &ChangeBatch) -> Result<()> {
        let place = place(change, batch);
        match self.outbox.config.updates {
            UpdatePolicy::Ignore => {}
            UpdatePolicy::Warn => {
                self.updates += 1;
                let notice = format!(
                    "rows of the outbox {} were updated ({} since the start, the newest at {place}), and no event was \
                     published for that: an event that happened does not change; `outbox.updates: ignore` where it is on purpose",
                    plan.name, self.updates
                );
                self.telemetry.set_notice("outbox_updated", Some(notice));
            }
            UpdatePolicy::Halt => {
                let message = format!(
                    "a row of the outbox {} was updated at {place}, and `outbox.updates` is `halt`; set it to `ignore` or `warn` \
                     to go on without an event for it",
                    plan.name
                );
                return Err(Error::definite("outbox_updated", message));
            }
        }
        Ok(())
    }
}

fn place(change: &Change, batch: &ChangeBatch) -> String {
    let transaction = batch.transactions.get(change.transaction);
    transaction.map_or_else(String::new, |transaction| transaction.position.to_string())
}

/// A row that is no event: it can be published by nobody, and whoever is to publish it is told why.
fn refuse(
    (table, bad): (&str, &BadRow),
    (key, event_id): (Option<Part>, Option<Part>),
    (change, batch): (&mut Change, &mut ChangeBatch),
) -> Result<()> {
    batch.abandon_message();
    let id = event_id.map(|id| String::from_utf8_lossy(batch.part(id)).into_owned());
    let row = id.map_or_else(|| "a row".to_owned(), |id| format!("row {id}"));
    let reason = format!(
        "{row} of the outbox {table} is no event ({}, at {}): {}; mend or delete the row where it is still read from the table, or set \
         `dead_letters: {{policy: store}}` to set it aside and go on",
        bad.code,
        place(change, batch),
        bad.problem
    );
    let refusal = Refusal {
        code: "outbox_row_invalid",
        reason,
    };
    let message = Message {
        key,
        payload: Payload::Refused(Arc::new(refusal)),
        event_id,
    };
    change.message = Some(batch.push_message(message).map_err(batch_full)?);
    Ok(())
}

#[cfg(test)]
mod tests;
