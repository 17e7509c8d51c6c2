//! Changes into records: the hot path from rows to bytes.
//!
//! ```text
//! ChangeView ─▶ Facts ─▶ records_of ─▶ for each record: key ─▶ value ─▶ headers ─▶ EncodedRecord
//!                (which records)         all written one behind the other into EncodedBatch::buffer
//! ```
//!
//! Everything is compiled twice, once for each notation (see [`crate::notation`]): which of them it is is asked once per batch.
//! Per table version a [`TablePlan`] is compiled once; per batch the plans are looked up once; per transaction the shared
//! headers and the `source` block are rendered once. What is left per cell is a match on the column's format and a copy.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::batch::{BeforeImage, ChangeBatch, ChangeView, Operation, PayloadView, Refusal, RowView};
use tailrace_core::event::{EncodedBatch, EncodedRecord, Refused};
use tailrace_core::ports::Encoder;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::{SharedSchema, TableName};
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result};

use crate::context::{Context, EncoderSettings};
use crate::envelope::debezium::ProcessedAt;
use crate::envelope::headers::{CellHeaders, NEW_KEY, OLD_KEY, RecordHeaders, SharedHeaders};
use crate::envelope::message::write_message;
use crate::envelope::source::{SourceOfChange, SourceOfTransaction};
use crate::format::{Codec, Format};
use crate::notation::{Avro, Json, Notation};
use crate::plan::{RowError, TablePlan, Written};
use crate::publication::{Destination, Publication};
use crate::records::{Facts, KeyLink, KeyOf, Record, ValueOf, records_of};
use crate::refusal::{SCHEMA_NOT_REGISTERED, refusal};
use crate::registration::{self, Frames, Route, no_registry};
use crate::topic::collision;

/// Headers of an ordinary record: what the list is sized for.
const HEADERS_PER_RECORD: usize = 6;
/// About what an event takes beside its values: names of columns, envelope, event id. Only sizes the first allocation;
/// later ones go by the batch before.
const OVERHEAD_PER_RECORD_BYTES: usize = 256;
/// Room above the batch before, so that ordinary differences do not cost a second allocation.
const OVERHEAD_MARGIN_BYTES: usize = 32;
/// Versions of a table whose plans are kept beside those of the batch: transactions that were begun before a change of the
/// table may come after it.
const KEPT_VERSIONS: usize = 4;

/// Turns changes into records of the configured envelope.
pub struct EventEncoder {
    context: Context,
    registry: Option<Arc<dyn SchemaRegistry>>,
    /// The plans of each table's versions, the newest last.
    plans: HashMap<TableName, Vec<Arc<TablePlan>>>,
    topics: HashMap<Arc<str>, TableName>,
    source: SourceOfTransaction,
    overhead_per_record_bytes: usize,
    clock: fn() -> i64,
}

/// One batch on its way.
struct Encoding<'a, N> {
    notation: PhantomData<N>,
    context: &'a Context,
    batch: &'a ChangeBatch,
    plans: Vec<Arc<TablePlan>>,
    /// Index of each plan's topic in the output, once a record went there.
    topics: Vec<Option<usize>>,
    source: &'a mut SourceOfTransaction,
    processed_at: ProcessedAt,
    headers: SharedHeaders,
    transaction: Option<usize>,
    output: EncodedBatch,
}

/// A table's plan, and what stands around its keys and values where they go.
type Framed<'a> = (&'a TablePlan, &'a Frames);
/// The same, and the index of the topic.
type Routed<'a> = (Framed<'a>, usize);

/// Keys of one change, as ranges of the buffer.
#[derive(Default)]
struct Keys {
    before: Option<Range<usize>>,
    after: Option<Range<usize>>,
}

// === impl EventEncoder ===

impl EventEncoder {
    /// An encoder that has seen nothing yet.
    ///
    /// # Errors
    /// As [`FormatConfig::resolve`], and `registry_missing` where the codec needs a registry and there is none.
    pub fn new(settings: EncoderSettings) -> Result<Self> {
        let registry = settings.registry.clone();
        let context = Context::new(settings)?;
        if context.has_schemas() && registry.is_none() {
            return Err(no_registry());
        }
        Ok(Self {
            context,
            registry,
            plans: HashMap::new(),
            topics: HashMap::new(),
            source: SourceOfTransaction::default(),
            overhead_per_record_bytes: OVERHEAD_PER_RECORD_BYTES,
            clock: now_us,
        })
    }

    /// Takes the processing time of Debezium's envelope from elsewhere: microseconds since 1970.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> i64) -> Self {
        self.clock = clock;
        self
    }

    /// The format as meant.
    pub fn format(&self) -> &Format {
        &self.context.format
    }

    fn plan(&mut self, schema: &SharedSchema) -> Result<Arc<TablePlan>> {
        let versions = self.plans.get(&schema.name).map(Vec::as_slice).unwrap_or_default();
        let known =
            |plan: &&Arc<TablePlan>| Arc::ptr_eq(&plan.publication.table, schema) || plan.publication.table == *schema;
        if let Some(known) = versions.iter().rev().find(known) {
            return Ok(Arc::clone(known));
        }
        let topic: Arc<str> = self.context.template.topic_of(&self.context.prefix, schema)?.into();
        match self.topics.get(&topic) {
            Some(other) if *other != schema.name => return Err(collision(&topic, other, &schema.name)),
            Some(_) => {}
            None => drop(self.topics.insert(Arc::clone(&topic), schema.name.clone())),
        }
        let publication = Publication::whole(
            schema,
            Destination::own(Arc::clone(&topic)),
            self.context.format.envelope,
        );
        if !self.context.has_schemas() {
            self.context.tell(&topic, &publication, (None, None));
        }
        let plan = Arc::new(TablePlan::of(publication, &self.context));
        let versions = self.plans.entry(schema.name.clone()).or_default();
        versions.push(Arc::clone(&plan));
        Ok(plan)
    }

    fn plans_of(&mut self, batch: &ChangeBatch) -> Result<Vec<Arc<TablePlan>>> {
        let plans = batch
            .tables
            .iter()
            .map(|schema| self.plan(schema))
            .collect::<Result<Vec<_>>>()?;
        for plan in &plans {
            if let Some(versions) = self.plans.get_mut(&plan.publication.table.name) {
                while versions.len() > KEPT_VERSIONS.max(plans.len()) {
                    versions.remove(0);
                }
            }
        }
        Ok(plans)
    }

    fn encode_in<N: Notation>(&mut self, batch: &ChangeBatch) -> Result<EncodedBatch> {
        let plans = self.plans_of(batch)?;
        let now_us = (self.clock)();
        let mut encoding = Encoding::<N>::begin(&self.context, &mut self.source, batch, (plans, now_us));
        encoding
            .output
            .buffer
            .reserve(batch.size_bytes() + batch.changes.len() * self.overhead_per_record_bytes);
        for (index, change) in batch.views().enumerate() {
            encoding.change_or_refusal(index, change)?;
        }
        let output = encoding.output;
        let overhead_bytes = output.buffer.len().saturating_sub(batch.size_bytes());
        // A change by itself bears alone what those of a batch share, and says nothing of many.
        if let 2.. = batch.changes.len() {
            self.overhead_per_record_bytes = overhead_bytes / batch.changes.len() + OVERHEAD_MARGIN_BYTES;
        }
        Ok(output)
    }
}

impl fmt::Debug for EventEncoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EventEncoder")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Encoder for EventEncoder {
    async fn prepare(&mut self, batch: &ChangeBatch) -> Result<()> {
        let Some(registry) = self.registry.clone() else {
            return Ok(());
        };
        let mut plans = self.plans_of(batch)?;
        for change in batch.views() {
            let plan = plans.get_mut(change.change().table).ok_or_else(broken_batch)?;
            let with = (&self.context, &*registry);
            let Some(extended) = registration::register(plan, change, with).await? else {
                continue;
            };
            let extended = Arc::new(extended);
            let versions = self.plans.get_mut(&plan.publication.table.name).map(Vec::as_mut_slice);
            let mut versions = versions.unwrap_or_default().iter_mut();
            if let Some(known) = versions.find(|known| Arc::ptr_eq(known, plan)) {
                *known = Arc::clone(&extended);
            }
            *plan = extended;
        }
        Ok(())
    }

    fn encode(&mut self, batch: &ChangeBatch) -> Result<EncodedBatch> {
        match self.context.format.codec {
            Codec::Json | Codec::JsonSchema => self.encode_in::<Json>(batch),
            Codec::Avro => self.encode_in::<Avro>(batch),
        }
    }
}

// === impl Encoding ===

impl<'a, N: Notation> Encoding<'a, N> {
    fn begin(
        context: &'a Context,
        source: &'a mut SourceOfTransaction,
        batch: &'a ChangeBatch,
        (plans, now_us): (Vec<Arc<TablePlan>>, i64),
    ) -> Self {
        let mut output = EncodedBatch::default();
        let records = batch.changes.len();
        output.records.reserve(records);
        output.headers.reserve(records * HEADERS_PER_RECORD);
        output
            .buffer
            .reserve(batch.size_bytes() + records * OVERHEAD_PER_RECORD_BYTES);
        let headers = SharedHeaders::begin(&mut output, &context.connector);
        Self {
            notation: PhantomData,
            context,
            batch,
            topics: vec![None; plans.len()],
            plans,
            source,
            processed_at: ProcessedAt::new::<N>(now_us),
            headers,
            transaction: None,
            output,
        }
    }

    /// A change in full, or nothing of it and the reason.
    fn change_or_refusal(&mut self, index: usize, change: ChangeView<'a>) -> Result<()> {
        let plan = self
            .plans
            .get(change.change().table)
            .map(Arc::clone)
            .ok_or_else(broken_batch)?;
        // What it writes is shared with later changes.
        self.enter_transaction(change)?;
        let output = &self.output;
        let start = (output.buffer.len(), output.headers.len(), output.records.len());
        let Err(refusal) = self.change(&plan, change) else {
            return Ok(());
        };
        // That is no fault of the event, and to set it aside would not help it.
        if refusal.code == SCHEMA_NOT_REGISTERED {
            return Err(Error::definite(SCHEMA_NOT_REGISTERED, refusal.reason));
        }
        self.output.buffer.truncate(start.0);
        self.output.headers.truncate(start.1);
        self.output.records.truncate(start.2);
        self.headers.forget_from(start.0);
        self.output.refused.push(Refused { change: index, refusal });
        Ok(())
    }

    fn change(&mut self, plan: &TablePlan, change: ChangeView<'a>) -> Result<(), Refusal> {
        if let Some(message) = change.message() {
            if let PayloadView::Refused(refusal) = message.payload() {
                return Err(refusal.clone());
            }
            let place = (
                plan,
                self.topic(change, plan),
                self.context.format.has_registered_schemas(),
            );
            return write_message::<N>(&mut self.output, &mut self.headers, place, (change, message))
                .map_err(|error| self.refusal(plan, change, error));
        }
        let start = self.output.buffer.len();
        let ((plan, frames), topic) = self.route(plan, change)?;
        let keys = self
            .keys((plan, frames), change)
            .map_err(|error| self.refusal(plan, change, error))?;
        let facts = Facts {
            operation: change.operation(),
            keyed: !plan.key.is_empty(),
            key_changed: keys.before.is_some() && keys.after.is_some(),
            has_before: change.before().is_some(),
        };
        let records = records_of(facts, &self.context.format);
        for record in records.iter() {
            self.record((plan, frames), change, *record, (topic, &keys))
                .map_err(|error| self.refusal(plan, change, error))?;
        }
        if records.iter().next().is_none() {
            self.output.buffer.truncate(start);
        }
        Ok(())
    }

    /// Where a row's events go, and as what.
    fn route<'p>(&mut self, plan: &'p TablePlan, change: ChangeView<'a>) -> Result<Routed<'p>, Refusal> {
        if let Some(frames) = &plan.routes.everywhere {
            return Ok(((plan, frames), self.topic(change, plan)));
        }
        let asked = change.change().topic.as_ref().unwrap_or(&plan.publication.to.topic);
        match plan.routes.route(asked) {
            Some(Route::Here(frames)) => Ok(((plan, frames), self.topic(change, plan))),
            Some(Route::Elsewhere(other)) => {
                let frames = other.routes.everywhere.as_ref();
                let frames = frames.ok_or_else(|| self.refusal(plan, change, RowError::not_registered()))?;
                Ok(((other, frames), self.output.topic_index(&other.publication.to.topic)))
            }
            Some(Route::Refused(refusal)) => Err(refusal.clone()),
            None => Err(self.refusal(plan, change, RowError::not_registered())),
        }
    }

    /// Writes the keys that a change's records need. Where the key did not change there is only the one after.
    fn keys(&mut self, (plan, frames): Framed<'_>, change: ChangeView<'a>) -> Result<Keys, RowError> {
        if plan.key.is_empty() {
            return Ok(Keys::default());
        }
        let (before, after) = (row_with_old_key(plan, change), change.after());
        let buffer = &mut self.output.buffer;
        let mut write = |row: Option<RowView<'a>>, other| -> Result<Option<Range<usize>>, RowError> {
            let Some(row) = row else { return Ok(None) };
            let start = buffer.len();
            plan.write_key::<N>(buffer, &frames.key, (row, other))?;
            Ok(Some(start..buffer.len()))
        };
        let mut keys = match change.operation() {
            Operation::Truncate => Keys::default(),
            Operation::Delete => Keys {
                before: write(before, None)?,
                after: None,
            },
            Operation::Update => Keys {
                after: write(after, before)?,
                before: write(before, after)?,
            },
            Operation::Read | Operation::Create | Operation::Message => Keys {
                before: None,
                after: write(after, None)?,
            },
        };
        if let (Some(before), Some(after)) = (&keys.before, &keys.after)
            && self.output.slice(before) == self.output.slice(after)
        {
            self.output.buffer.truncate(before.start);
            keys.before = None;
        }
        Ok(keys)
    }

    fn enter_transaction(&mut self, change: ChangeView<'a>) -> Result<()> {
        let index = change.change().transaction;
        if self.transaction == Some(index) {
            return Ok(());
        }
        let transaction = change.transaction().ok_or_else(broken_batch)?;
        self.headers
            .transaction(&mut self.output, &self.batch.identity, transaction);
        self.source.render::<N>(&self.context.source, transaction);
        self.transaction = Some(index);
        Ok(())
    }

    fn topic(&mut self, change: ChangeView<'a>, plan: &TablePlan) -> usize {
        let change = change.change();
        if let Some(route) = &change.topic {
            return self.output.topic_index(route);
        }
        if let Some(Some(known)) = self.topics.get(change.table) {
            return *known;
        }
        let index = self.output.topic_index(&plan.publication.to.topic);
        if let Some(topic) = self.topics.get_mut(change.table) {
            *topic = Some(index);
        }
        index
    }

    fn record(
        &mut self,
        (plan, frames): Framed<'_>,
        change: ChangeView<'a>,
        record: Record,
        (topic, keys): (usize, &Keys),
    ) -> Result<(), RowError> {
        let key = match record.key {
            KeyOf::None => None,
            KeyOf::Nobody => Some(self.nobody(plan)?),
            KeyOf::Before => Some(keys.before.clone().ok_or_else(RowError::no_key)?),
            KeyOf::After => Some(keys.after.clone().ok_or_else(RowError::no_key)?),
        };
        let (value, cells) = self.value((plan, frames), change, record)?;
        let (of_key, is_framed) = (&frames.key, self.context.format.has_registered_schemas());
        let payload = |key: &Range<usize>| match is_framed {
            // A key whose schema is registered stays as it is, because nobody could read it otherwise.
            true => key.clone(),
            false => of_key.inside(key),
        };
        let link = match record.link {
            KeyLink::None => None,
            KeyLink::NewKey => keys.after.as_ref().map(|key| (NEW_KEY, payload(key))),
            KeyLink::OldKey => keys.before.as_ref().map(|key| (OLD_KEY, payload(key))),
        };
        let updated_at_us = change.updated_at_us();
        let headers = RecordHeaders {
            operation: record.operation,
            ordinal: change.change().ordinal,
            suffix: record.suffix,
            updated_at_us,
            cells,
            link,
            event_id: None,
        };
        let headers = self.headers.push(&mut self.output, headers);
        self.output.records.push(EncodedRecord {
            topic,
            key,
            value,
            headers,
            // Kafka refuses times before 1970; the header has the time itself.
            timestamp_ms: updated_at_us.div_euclid(1000).max(0),
        });
        Ok(())
    }

    /// Writes a record's value, and the names of columns whose cells are not what the database has.
    fn value(
        &mut self,
        (plan, frames): Framed<'_>,
        change: ChangeView<'a>,
        record: Record,
    ) -> Result<(Option<Range<usize>>, CellHeaders), RowError> {
        let row = match record.value {
            ValueOf::Tombstone => return Ok((None, CellHeaders::default())),
            ValueOf::Nothing => None,
            ValueOf::Before => change.before(),
            ValueOf::After | ValueOf::Envelope { .. } | ValueOf::Message => change.after(),
        };
        let has_row = row.is_some() || matches!(record.value, ValueOf::Envelope { .. } | ValueOf::Message);
        let frame = match self.context.format.has_registered_schemas() && !has_row {
            true => plan.routes.empty().ok_or_else(RowError::not_registered)?,
            false => &frames.value,
        };
        let start = self.output.buffer.len();
        self.output.buffer.extend_from_slice(&frame.open);
        let mut before_written = Written::default();
        let written = match record.value {
            ValueOf::Tombstone | ValueOf::Nothing | ValueOf::Before | ValueOf::After => self.known(plan, row)?,
            ValueOf::Envelope { before, after } => {
                let rows = (change.before().filter(|_| before), change.after().filter(|_| after));
                let written = self.envelope(plan, change, record.operation, rows)?;
                before_written = written.0;
                written.1
            }
            ValueOf::Message => self.message(plan, change)?,
        };
        self.output.buffer.extend_from_slice(frame.close);
        let value = start..self.output.buffer.len();
        let out = &mut self.output.buffer;
        let cells = CellHeaders {
            unchanged: plan.name_unchanged(out, change.after(), &written),
            unrepresentable: plan.name_unrepresentable(out, &written),
            unrepresentable_before: plan.name_unrepresentable(out, &before_written),
        };
        Ok((Some(value), cells))
    }

    fn known(&mut self, plan: &TablePlan, row: Option<RowView<'a>>) -> Result<Written, RowError> {
        let buffer = &mut self.output.buffer;
        match row {
            // A registered schema has every column.
            Some(row) if self.context.format.has_registered_schemas() => plan.write_row::<N>(buffer, row),
            Some(row) => plan.write_known::<N>(buffer, row),
            None => {
                N::syntax(buffer, b"{}");
                Ok(Written::default())
            }
        }
    }

    /// The key of a record that is there although no row is.
    fn nobody(&mut self, plan: &TablePlan) -> Result<Range<usize>, RowError> {
        let start = self.output.buffer.len();
        if self.context.format.has_registered_schemas() {
            let frame = plan.routes.empty().ok_or_else(RowError::not_registered)?;
            self.output.buffer.extend_from_slice(&frame.open);
        }
        N::syntax(&mut self.output.buffer, b"{}");
        Ok(start..self.output.buffer.len())
    }

    /// Writes Debezium's envelope: what was written of the row before, and of the row after.
    fn envelope(
        &mut self,
        plan: &TablePlan,
        change: ChangeView<'a>,
        operation: Operation,
        (before, after): (Option<RowView<'a>>, Option<RowView<'a>>),
    ) -> Result<(Written, Written), RowError> {
        let buffer = &mut self.output.buffer;
        N::syntax(buffer, b"{\"before\":");
        let before = plan.write_optional_row::<N>(buffer, before)?;
        N::syntax(buffer, b",\"after\":");
        let after = plan.write_optional_row::<N>(buffer, after)?;
        N::syntax(buffer, b",\"source\":");
        self.write_source(plan, change);
        let buffer = &mut self.output.buffer;
        N::syntax(buffer, b",\"transaction\":");
        N::optional(buffer, false);
        N::syntax(buffer, b",\"op\":");
        N::plain_text(buffer, |buffer| buffer.extend_from_slice(operation.code().as_bytes()));
        buffer.extend_from_slice(&self.processed_at.tail);
        Ok((before, after))
    }

    fn message(&mut self, plan: &TablePlan, change: ChangeView<'a>) -> Result<Written, RowError> {
        let buffer = &mut self.output.buffer;
        N::syntax(buffer, b"{\"op\":");
        N::text(buffer, Operation::Message.code());
        buffer.extend_from_slice(&self.processed_at.milliseconds);
        N::syntax(buffer, b",\"source\":");
        self.write_source(plan, change);
        let buffer = &mut self.output.buffer;
        N::syntax(buffer, b",\"transaction\":");
        N::optional(buffer, false);
        N::syntax(buffer, b",\"message\":");
        let written = self.known(plan, change.after())?;
        N::syntax(&mut self.output.buffer, b"}");
        Ok(written)
    }

    fn write_source(&mut self, plan: &TablePlan, change: ChangeView<'a>) {
        let of_change = SourceOfChange {
            snapshot: change.operation() == Operation::Read,
            incremental: change.batch().is_incremental,
            truncate: change.operation() == Operation::Truncate,
            log_position: change.change().log_position,
            ordinal: change.change().ordinal,
        };
        self.source.write::<N>(
            &mut self.output.buffer,
            self.context.source.fields,
            &plan.source,
            of_change,
        );
    }

    #[cold]
    fn refusal(&self, plan: &TablePlan, change: ChangeView<'a>, error: RowError) -> Refusal {
        refusal(plan, (&self.batch.identity, change), error)
    }
}

/// The row before, where it tells the old key.
fn row_with_old_key<'a>(plan: &TablePlan, change: ChangeView<'a>) -> Option<RowView<'a>> {
    let row = change.before()?;
    match change.change().before_image {
        BeforeImage::Full => Some(row),
        BeforeImage::Key => Some(row).filter(|row| plan.has_key(*row)),
        BeforeImage::None => None,
    }
}

#[cold]
fn broken_batch() -> Error {
    Error::definite(
        "batch_broken",
        "a change refers to a table or transaction that its batch does not have; please report this as a bug",
    )
}
