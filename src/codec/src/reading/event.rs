//! One record: its key, its value, and the change that they stand for.

use std::sync::Arc;

use tailrace_core::batch::{BeforeImage, BinlogTransaction, Change, ChangeBatch, Operation, Row, Transaction};
use tailrace_core::record_batch::RecordView;
use tailrace_core::schema::TableName;

use super::cell::{Cells, Scratch};
use super::envelope::{EnvelopePlan, Enveloped, NO_OPERATION, Source};
use super::fault::{EMPTY, Fault, Located, NO_ENVELOPE, Part};
use super::headers::{Headers, LastMoment};
use super::image::image;
use super::plan::RowPlan;
use super::schemas::{Body, Closing, Schemas, ValuePlan};
use super::tables::{Table, Tables};
use super::topic::Topic;
use super::wire::{AvroWire, JsonWire, Wire};
use crate::format::Envelope;

const NEITHER: Fault = Fault {
    code: EMPTY,
    problem: "has neither a key nor a value, and says nothing about any row",
    remedy: "set it aside with dead_letters, or leave the topic out",
};
const NOT_ENVELOPED: Fault = Fault {
    code: NO_ENVELOPE,
    problem: "is not in Debezium's envelope, which format.envelope says it is",
    remedy: "set format.envelope: entity where values are rows by themselves",
};
const NO_ROW: Fault = Fault::record("is no object of fields, so that it is no row");
const NO_KEY: Fault = Fault::record("deletes a row and has neither a key nor the row that it was");
const NO_AFTER: Fault = Fault::record("has an envelope without the row that op says there is");

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is a change of the batch.
    Change,
    /// It says nothing about rows.
    PassedOver,
}

/// A batch on its way.
pub(crate) struct Reading<'d> {
    pub(crate) envelope: Option<Envelope>,
    pub(crate) schemas: &'d mut Schemas,
    pub(crate) tables: &'d mut Tables,
    pub(crate) source: &'d mut Source,
    pub(crate) scratch: &'d mut Scratch,
    pub(crate) updated_at: &'d mut LastMoment,
    pub(crate) unchanged: Vec<usize>,
    pub(crate) batch: ChangeBatch,
}

/// A record's key: its columns, and where they begin.
struct Key<'a> {
    plan: Arc<RowPlan>,
    body: KeyBody<'a>,
    /// It is a struct of columns, and not one value.
    has_columns: bool,
}

#[derive(Clone, Copy)]
enum KeyBody<'a> {
    Json(JsonWire<'a>, Closing),
    Avro(AvroWire<'a>),
    Raw(&'a str),
}

/// What a record says of one row.
struct RowChange {
    operation: Operation,
    before: Option<Row>,
    before_image: BeforeImage,
    after: Option<Row>,
    table: Arc<Table>,
}

// === impl Reading ===

impl Reading<'_> {
    /// Reads a record. Where it cannot be read it leaves nothing behind.
    pub(crate) fn record(
        &mut self,
        topic: &mut Topic,
        record: RecordView<'_>,
        ordinal: usize,
    ) -> Result<Outcome, Located> {
        let mark = self.batch.mark();
        let read = self.change(topic, record, ordinal);
        if read.is_err() {
            self.batch.rewind(mark);
        }
        read
    }

    fn change(&mut self, topic: &mut Topic, record: RecordView<'_>, ordinal: usize) -> Result<Outcome, Located> {
        let headers = Headers::of(record);
        if headers.operation == Some(Operation::Message) {
            return Ok(Outcome::PassedOver);
        }
        let value = match record.value() {
            Some(value) => self
                .schemas
                .body(value, &mut topic.recent_value)
                .map_err(|located| located.within(Part::Value))?,
            None => None,
        };
        if topic.plains.len() > 1
            && let Some(Body::Plain(json, _)) = &value
        {
            self.say_table(topic, *json);
        }
        self.source.clear();
        let (key, unread) = self.key_of(topic, record)?;
        let has_value = value.is_some();
        let change = match value {
            Some(value) => self
                .value(topic, value, (&headers, key.as_ref()))
                .map_err(|located| match unread {
                    Some(unread) if located.fault == NO_KEY => unread,
                    _ => located.within(Part::Value),
                })?,
            None if topic.repeats_delete(record) => None,
            None => {
                let key = key
                    .as_ref()
                    .ok_or_else(|| unread.unwrap_or_else(|| NEITHER.of_whole()))?;
                Some(self.delete_by_key(key, topic.last_table())?)
            }
        };
        let Some(change) = change else {
            return Ok(Outcome::PassedOver);
        };
        if has_value && change.operation == Operation::Delete {
            topic.remember_delete(record);
        }
        self.push(change, (&headers, record), ordinal);
        Ok(Outcome::Change)
    }

    /// Which table's types the key and the rows have, an envelope only says behind them.
    fn say_table(&mut self, topic: &mut Topic, json: JsonWire<'_>) {
        if let Some(envelope) = &topic.envelope
            && EnvelopePlan::may_be(json.rest())
            && envelope.read_source(json, self.source).is_ok()
            && !topic.said.as_ref().is_some_and(|said| self.source.is_of(said))
        {
            topic.said = self.source.name().or_else(|| topic.said.take());
        }
    }

    /// The key, or what is wrong with one of bytes that no schema is for: only where nothing but the key says which row it is, it must
    /// be read.
    fn key_of<'a>(
        &mut self,
        topic: &mut Topic,
        record: RecordView<'a>,
    ) -> Result<(Option<Key<'a>>, Option<Located>), Located> {
        let Some(bytes) = record.key() else {
            return Ok((None, None));
        };
        let unread = match self.key(topic, bytes) {
            Ok(key) => return Ok((key, None)),
            Err(located) => located.within(Part::Key),
        };
        match record.value() {
            Some(value) if self.schemas.is_binary(bytes, value) => Ok((None, Some(unread))),
            _ => Err(unread),
        }
    }

    fn key<'a>(&mut self, topic: &mut Topic, key: &'a [u8]) -> Result<Option<Key<'a>>, Located> {
        let Some(body) = self.schemas.body(key, &mut topic.recent_key)? else {
            return Ok(None);
        };
        let (plan, body, has_columns) = match body {
            Body::Json(json, compiled, closing) => (
                Arc::clone(&compiled.key),
                KeyBody::Json(json, closing),
                compiled.has_columns,
            ),
            Body::Avro(avro, compiled) => (Arc::clone(&compiled.key), KeyBody::Avro(avro), compiled.has_columns),
            Body::Plain(json, closing) if json.is_at_object() => {
                let is_enveloped = self.envelope == Some(Envelope::Debezium) || topic.envelope.is_some();
                (
                    topic.plain()?.key(&json, is_enveloped)?,
                    KeyBody::Json(json, closing),
                    true,
                )
            }
            Body::Plain(json, closing) => {
                let start = json.at();
                let mut end = json;
                end.pass()?;
                let plan = topic.plain()?.single(json.between(start, end.at()));
                (plan.ok_or(NO_ROW)?, KeyBody::Json(json, closing), false)
            }
            Body::Raw(text) => {
                let (plan, is_json) = topic.plain()?.text(text);
                let body = match is_json {
                    true => KeyBody::Json(JsonWire::new(text), Closing::Nothing),
                    false => KeyBody::Raw(text),
                };
                (plan, body, false)
            }
        };
        Ok(Some(Key {
            plan,
            body,
            has_columns,
        }))
    }

    fn value(
        &mut self,
        topic: &mut Topic,
        value: Body<'_>,
        (headers, key): (&Headers<'_>, Option<&Key<'_>>),
    ) -> Result<Option<RowChange>, Located> {
        match value {
            Body::Json(_, compiled, _) | Body::Avro(_, compiled) if matches!(compiled.value, ValuePlan::Notice) => {
                Ok(None)
            }
            Body::Json(mut json, compiled, closing) => {
                let change = self.compiled(topic, (&mut json, &compiled.value), (headers, key))?;
                closing.check(&mut json)?;
                Ok(change)
            }
            Body::Avro(mut avro, compiled) => {
                let change = self.compiled(topic, (&mut avro, &compiled.value), (headers, key))?;
                avro.end()?;
                Ok(change)
            }
            Body::Plain(mut json, closing) => {
                let change = self.plain(topic, &mut json, (headers, key))?;
                closing.check(&mut json)?;
                Ok(change)
            }
            Body::Raw(_) => Err(NO_ROW.into()),
        }
    }

    /// A value with a schema.
    fn compiled<W: Wire>(
        &mut self,
        topic: &mut Topic,
        (wire, plan): (&mut W, &ValuePlan),
        (headers, key): (&Headers<'_>, Option<&Key<'_>>),
    ) -> Result<Option<RowChange>, Located> {
        match plan {
            ValuePlan::Envelope(envelope, row) => {
                let Some(row) = row else {
                    return skip_message(envelope, wire, (self.scratch, self.source, &mut self.batch));
                };
                headers.unchanged(row, &mut self.unchanged);
                let tables = &mut *self.tables;
                let columns = key.filter(|key| key.has_columns);
                let table = tables.of_row(columns.map(|key| &*key.plan), row, topic.last_table());
                let mut cells = Cells {
                    batch: &mut self.batch,
                    scratch: &mut *self.scratch,
                };
                let unchanged = &self.unchanged;
                let enveloped = envelope.read(wire, (&mut cells, &mut *self.source), |wire, cells| {
                    let read = read_row((row, &table.extras), (wire, cells, unchanged), columns)?;
                    Ok((Arc::clone(row), read))
                })?;
                self.enveloped(topic, enveloped, key)
            }
            ValuePlan::Notice => Ok(None),
            ValuePlan::Row(_) | ValuePlan::Scalar if self.envelope == Some(Envelope::Debezium) => {
                Err(NOT_ENVELOPED.into())
            }
            ValuePlan::Row(row) => {
                if headers.operation == Some(Operation::Truncate) {
                    // Whatever stands in it is no row.
                    let all: Vec<usize> = (0..row.columns.len()).collect();
                    row.read(wire, &mut self.cells(), &all)?;
                    return Ok(Some(self.truncate(&topic.table)));
                }
                headers.unchanged(row, &mut self.unchanged);
                let columns = key.filter(|key| key.has_columns);
                let table = self.tables.of_row(columns.map(|key| &*key.plan), row, &topic.table);
                let unchanged = std::mem::take(&mut self.unchanged);
                let read = read_row((row, &table.extras), (wire, &mut self.cells(), &unchanged), columns);
                self.unchanged = unchanged;
                Ok(Some(self.entity(headers, table, (row, read?))))
            }
            ValuePlan::Scalar => Err(NO_ROW.into()),
        }
    }

    /// A JSON value without a schema.
    fn plain(
        &mut self,
        topic: &mut Topic,
        json: &mut JsonWire<'_>,
        (headers, key): (&Headers<'_>, Option<&Key<'_>>),
    ) -> Result<Option<RowChange>, Located> {
        if json.peek() != Some(b'{') {
            return Err(NO_ROW.into());
        }
        let may_be_envelope = match self.envelope {
            Some(Envelope::Debezium) => true,
            Some(Envelope::Entity) => false,
            None => EnvelopePlan::may_be(json.rest()),
        };
        if may_be_envelope {
            let mark = self.batch.mark();
            let start = json.at();
            if let Some(enveloped) = self.plain_envelope(topic, json, (headers, key))? {
                return self.enveloped(topic, enveloped, key);
            }
            self.batch.rewind(mark);
            json.seek(start);
        }
        if self.envelope == Some(Envelope::Debezium) {
            return Err(NOT_ENVELOPED.into());
        }
        if headers.operation == Some(Operation::Truncate) {
            json.pass()?;
            return Ok(Some(self.truncate(&topic.table)));
        }
        let columns = key.filter(|key| key.has_columns);
        self.batch.begin_row().map_err(Fault::from)?;
        let mut cells = Cells {
            batch: &mut self.batch,
            scratch: &mut *self.scratch,
        };
        let row = topic
            .plain()?
            .rows
            .read(json, &mut cells, (headers, &mut self.unchanged))?;
        let table = self.tables.of_row(columns.map(|key| &*key.plan), &row, &topic.table);
        push_extras(columns, &table.extras, &mut cells)?;
        let read = self.batch.end_row().map_err(Fault::from)?;
        Ok(Some(self.entity(headers, table, (&row, read))))
    }

    /// An envelope without a schema; `None` where the object is something else.
    fn plain_envelope(
        &mut self,
        topic: &mut Topic,
        json: &mut JsonWire<'_>,
        (headers, key): (&Headers<'_>, Option<&Key<'_>>),
    ) -> Result<Option<Enveloped<Arc<RowPlan>>>, Located> {
        let start = *json;
        let is_certain = self.envelope.is_some();
        if topic.envelope.is_none() {
            topic.envelope = EnvelopePlan::learn(*json, is_certain)?;
        }
        let name = topic.said.as_ref().unwrap_or(&topic.table);
        let Some(envelope) = &topic.envelope else {
            return Ok(None);
        };
        let rows = &mut Topic::plain_of(&mut topic.plains, name)?.enveloped;
        let tables = &mut *self.tables;
        let unchanged = &mut self.unchanged;
        let columns = key.filter(|key| key.has_columns);
        let mut cells = Cells {
            batch: &mut self.batch,
            scratch: &mut *self.scratch,
        };
        let enveloped = envelope.read(json, (&mut cells, &mut *self.source), |json, cells| {
            cells.batch.begin_row().map_err(Fault::from)?;
            let plan = rows.read(json, cells, (headers, &mut *unchanged))?;
            let table = tables.of_row(columns.map(|key| &*key.plan), &plan, name);
            push_extras(columns, &table.extras, cells)?;
            let row = cells.batch.end_row().map_err(Fault::from)?;
            Ok((plan, row))
        });
        // What cannot be read as an envelope may never have been one.
        let is_whole = enveloped
            .as_ref()
            .is_ok_and(|enveloped| enveloped.is_whole(self.source));
        if is_whole || EnvelopePlan::learn(start, is_certain)?.is_some() {
            return enveloped.map(Some);
        }
        Ok(None)
    }

    /// The change that an envelope stands for.
    fn enveloped(
        &mut self,
        topic: &mut Topic,
        enveloped: Enveloped<Arc<RowPlan>>,
        key: Option<&Key<'_>>,
    ) -> Result<Option<RowChange>, Located> {
        let operation = enveloped.operation.ok_or(NO_OPERATION)?;
        if operation == Operation::Message {
            return Ok(None);
        }
        if !topic.said.as_ref().is_some_and(|name| self.source.is_of(name)) {
            topic.said = self.source.name();
        }
        let name = topic.last_table();
        let columns = key.filter(|key| key.has_columns);
        let key_plan = columns.map(|key| &*key.plan);
        match (operation, enveloped.before, enveloped.after) {
            (Operation::Truncate, ..) => Ok(Some(self.truncate(name))),
            (Operation::Delete, Some((plan, row)), _) => {
                let table = self.tables.of_row(key_plan, &plan, name);
                Ok(Some(RowChange {
                    operation,
                    before: Some(row),
                    before_image: image(self.source, &table, (&plan, row), &self.batch),
                    after: None,
                    table,
                }))
            }
            (Operation::Delete, None, _) => self
                .delete_by_key(key.ok_or_else(|| NO_KEY.of_whole())?, name)
                .map(Some),
            (_, before, Some((plan, row))) => {
                // A row of other columns is of another table.
                let before = before.filter(|(other, _)| other.id == plan.id).map(|(_, row)| row);
                let table = self.tables.of_row(key_plan, &plan, name);
                let before_image = before.map_or(BeforeImage::None, |before| {
                    image(self.source, &table, (&plan, before), &self.batch)
                });
                Ok(Some(RowChange {
                    operation,
                    before,
                    before_image,
                    after: Some(row),
                    table,
                }))
            }
            (_, _, None) => Err(NO_AFTER.into()),
        }
    }

    /// The change that a row by itself stands for: what the header says, and otherwise that it is so now.
    fn entity(&self, headers: &Headers<'_>, table: Arc<Table>, (plan, row): (&RowPlan, Row)) -> RowChange {
        let operation = headers.operation.unwrap_or(Operation::Update);
        let is_gone = operation == Operation::Delete;
        RowChange {
            operation,
            before: is_gone.then_some(row),
            before_image: match is_gone {
                true => image(self.source, &table, (plan, row), &self.batch),
                false => BeforeImage::None,
            },
            after: (!is_gone).then_some(row),
            table,
        }
    }

    fn truncate(&mut self, name: &TableName) -> RowChange {
        RowChange {
            operation: Operation::Truncate,
            before: None,
            before_image: BeforeImage::None,
            after: None,
            table: self.tables.of_nothing(name),
        }
    }

    fn delete_by_key(&mut self, key: &Key<'_>, name: &TableName) -> Result<RowChange, Located> {
        let table = self.tables.of_key(&key.plan, name);
        self.batch.begin_row().map_err(Fault::from)?;
        read_key(key, &mut self.cells())?;
        let before = Some(self.batch.end_row().map_err(Fault::from)?);
        Ok(RowChange {
            operation: Operation::Delete,
            before,
            before_image: BeforeImage::Key,
            after: None,
            table,
        })
    }

    fn cells(&mut self) -> Cells<'_> {
        Cells {
            batch: &mut self.batch,
            scratch: &mut *self.scratch,
        }
    }

    fn push(&mut self, change: RowChange, (headers, record): (&Headers<'_>, RecordView<'_>), ordinal: usize) {
        let own = self.source.is_there.then(|| self.source.committed_at_us()).flatten();
        let written = || record.timestamp_ms().checked_mul(1000).filter(|at| *at >= 0);
        let updated_at_us = headers.updated_at_us(self.updated_at).or(own).or_else(written);
        let log_position = self.source.log_position.or(self.source.place);
        let log_position = log_position.and_then(|position| u64::try_from(position).ok());
        let transaction = self.transaction(headers, updated_at_us.unwrap_or_default(), log_position);
        let table = self.batch.table_index(&change.table.schema);
        self.batch.changes.push(Change {
            operation: change.operation,
            table,
            transaction,
            before: change.before,
            before_image: change.before_image,
            after: change.after,
            ordinal: u64::try_from(ordinal).unwrap_or(u64::MAX),
            log_position,
            updated_at_us,
            topic: None,
            message: None,
        });
    }

    /// The transaction that a change is of: the last one, where it says the same position.
    fn transaction(&mut self, headers: &Headers<'_>, committed_at_us: i64, log_position: Option<u64>) -> usize {
        let source = &mut *self.source;
        if let Some(position) = headers.position {
            source.position.clear();
            source.position.push_str(position);
        } else if source.is_there && source.position.is_empty() {
            source.write_position();
        }
        let id = headers
            .transaction
            .or_else(|| source.transaction.and_then(|id| u64::try_from(id).ok()));
        let last = self.batch.transactions.last();
        if let Some(last) = last
            && *last.position == *source.position
            && last.id == id
        {
            return self.batch.transactions.len() - 1;
        }
        let last = last.and_then(|last| last.binlog.as_ref());
        let binlog = (!source.file.is_empty()).then(|| BinlogTransaction {
            file: shared(&source.file, last.map(|last| &last.file)),
            server_id: source.server.and_then(|id| u32::try_from(id).ok()).unwrap_or_default(),
            thread_id: source.thread.and_then(|id| u32::try_from(id).ok()),
            gtid: (!source.gtid.is_empty()).then(|| shared(&source.gtid, last.and_then(|last| last.gtid.as_ref()))),
        });
        let transaction = Transaction {
            id,
            committed_at_us,
            position: source.position.as_str().into(),
            log_position,
            previous_log_position: None,
            binlog,
        };
        self.batch.push_transaction(transaction)
    }
}

/// A text, which the transaction before mostly has too.
fn shared(text: &str, last: Option<&Arc<str>>) -> Arc<str> {
    last.filter(|last| ***last == *text)
        .map_or_else(|| text.into(), Arc::clone)
}

/// A logical message's envelope is read for its end alone.
fn skip_message<W: Wire>(
    envelope: &EnvelopePlan,
    wire: &mut W,
    (scratch, source, batch): (&mut Scratch, &mut Source, &mut ChangeBatch),
) -> Result<Option<RowChange>, Located> {
    let mut cells = Cells { batch, scratch };
    envelope.read(wire, (&mut cells, source), |_, _| Err::<((), Row), _>(NO_ROW.into()))?;
    Ok(None)
}

/// Reads a row, with the columns of the key that it does not have behind its own.
fn read_row<W: Wire>(
    (plan, extras): (&RowPlan, &[usize]),
    (wire, cells, unchanged): (&mut W, &mut Cells<'_>, &[usize]),
    key: Option<&Key<'_>>,
) -> Result<Row, Located> {
    cells.batch.begin_row().map_err(Fault::from)?;
    plan.read(wire, cells, unchanged)?;
    push_extras(key, extras, cells)?;
    cells.batch.end_row().map_err(|full| Fault::from(full).into())
}

fn push_extras(key: Option<&Key<'_>>, extras: &[usize], cells: &mut Cells<'_>) -> Result<(), Located> {
    let Some(key) = key.filter(|_| !extras.is_empty()) else {
        return Ok(());
    };
    let read = match key.body {
        KeyBody::Json(mut json, _) => key.plan.read_some(&mut json, cells, extras),
        KeyBody::Avro(mut avro) => key.plan.read_some(&mut avro, cells, extras),
        KeyBody::Raw(_) => Ok(()),
    };
    read.map_err(|located| located.within(Part::Key))
}

/// Reads every column of a key.
fn read_key(key: &Key<'_>, cells: &mut Cells<'_>) -> Result<(), Located> {
    let read = match key.body {
        KeyBody::Json(mut json, closing) => read_key_in(key, &mut json, cells).and_then(|()| closing.check(&mut json)),
        KeyBody::Avro(mut avro) => read_key_in(key, &mut avro, cells).and_then(|()| Ok(avro.end()?)),
        KeyBody::Raw(text) => cells.batch.push_text(text).map_err(|full| Fault::from(full).into()),
    };
    read.map_err(|located| located.within(Part::Key))
}

fn read_key_in<W: Wire>(key: &Key<'_>, wire: &mut W, cells: &mut Cells<'_>) -> Result<(), Located> {
    if key.has_columns {
        return key.plan.read(wire, cells, &[]);
    }
    key.plan.read_column(0, wire, cells, &[])
}
