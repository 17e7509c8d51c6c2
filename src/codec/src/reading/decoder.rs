//! Records into rows: the hot path from bytes to cells, the inverse of [`crate::encoder`].
//!
//! ```text
//! RecordView ─▶ headers ─▶ key ─▶ which schema ─▶ envelope ─▶ cells, straight into the batch ─▶ Change
//!                           (its columns)  (compiled once: RowPlan)
//! ```

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::event::Refused;
use tailrace_core::ports::sink::{Advance, Decoder, EventBatch, Origin, Targets};
use tailrace_core::position::{Position, Progress};
use tailrace_core::record_batch::{RecordBatch, RecordView};
use tailrace_core::registry::{Schema, SchemaRegistry, SchemaType};
use tailrace_core::schema::{Column, TableName};
use tailrace_core::{Error, Result};

use super::cell::Scratch;
use super::envelope::{EnvelopePlan, Source};
use super::event::{Outcome, Reading};
use super::fault::BATCH_FULL;
use super::meaning::meaning;
use super::plain::Known;
use super::schemas::{Body, Schemas};
use super::shape::{Shape, avro_shape, json_schema_shape};
use super::tables::Tables;
use super::topic::{Plain, Topic};
use crate::format::{DEFAULT_UNAVAILABLE_VALUE, Envelope, FormatConfig};
use crate::names::unmangle;
use crate::notation::Optionality;

/// What a decoder is made from.
#[derive(Clone)]
pub struct DecoderSettings {
    /// The connector's name.
    pub connector: String,
    /// The envelope of every value, where that is known for certain. Otherwise each schema tells, and each object without one: an
    /// envelope has `op`, `source`, and `before` or `after`, and no fields that are not Debezium's.
    pub envelope: Option<Envelope>,
    /// How values are written that do not say it themselves. Only of values without a schema: `time` (the unit of numbers: `connect`,
    /// `microseconds`, `nanoseconds`; for times of day also `adaptive_time_microseconds`), `decimal` (`string`, where text in
    /// Debezium's envelope is digits and not base64), `interval` (`numeric`), `binary`. Of all values: `unavailable_value`. Everything
    /// else is told by the records: `envelope`, `codec` and `inline_schema` are not looked at.
    pub format: FormatConfig,
    /// Where the schemas are whose numbers stand in front of keys and values.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
    /// What rows without a schema are: an Avro record or a JSON Schema, as contracts are written. Without it the table that is written
    /// into says it.
    pub contract: Option<Schema>,
}

/// Turns records into rows. See the module.
pub struct EventDecoder {
    connector: Arc<str>,
    envelope: Option<Envelope>,
    format: FormatConfig,
    placeholder: Arc<str>,
    contract: Option<Arc<Known>>,
    schemas: Schemas,
    tables: Tables,
    topics: HashMap<Arc<str>, Topic>,
    source: Source,
    scratch: Scratch,
}

// === impl EventDecoder ===

impl EventDecoder {
    /// A decoder that has met nothing yet.
    ///
    /// # Errors
    /// Definite `contract_invalid` where the contract is no schema of a row.
    pub fn new(settings: DecoderSettings) -> Result<Self> {
        let placeholder: Arc<str> = match &settings.format.unavailable_value {
            Some(placeholder) => placeholder.as_str().into(),
            None => DEFAULT_UNAVAILABLE_VALUE.into(),
        };
        Ok(Self {
            connector: settings.connector.into(),
            envelope: settings.envelope,
            contract: settings.contract.as_ref().map(contract).transpose()?,
            schemas: Schemas::new(settings.registry, settings.envelope, Arc::clone(&placeholder)),
            format: settings.format,
            placeholder,
            tables: Tables::default(),
            topics: HashMap::new(),
            source: Source::default(),
            scratch: Scratch::default(),
        })
    }

    /// What is known of the values of a topic that have no schema.
    async fn known(&self, topic: &Arc<str>, of: &TableName, targets: &mut dyn Targets) -> Result<Arc<Known>> {
        if let Some(contract) = &self.contract {
            return Ok(Arc::clone(contract));
        }
        Ok(Arc::new(match targets.target(topic, of).await? {
            Some(table) => Known::Columns(table.columns.clone()),
            None => Known::Nothing,
        }))
    }

    /// Makes the plans of a record's topic, where the record is one that only a contract or a table says the types of. Which table that
    /// is, is what the first row says.
    async fn prepare_plain(&mut self, record: RecordView<'_>, targets: &mut dyn Targets) -> Result<()> {
        let name = &record.partition().topic;
        if !self.topics.contains_key(name) {
            self.topics.insert(Arc::clone(name), Topic::new(name));
        }
        let Some(topic) = self.topics.get_mut(name) else {
            return Ok(());
        };
        if topic.is_prepared() && topic.said.is_some() {
            return Ok(());
        }
        let value = record.value().filter(|value| self.schemas.is_plain(value));
        if self.envelope != Some(Envelope::Entity)
            && let Some(Ok(Some(Body::Plain(json, _)))) = value.map(|value| self.schemas.body(value))
            && EnvelopePlan::may_be(json)
            && let Ok(Some(said)) = EnvelopePlan::table_said(json, &mut self.source)
        {
            topic.said = Some(said);
        }
        let is_plain = value.is_some() || record.key().is_some_and(|key| self.schemas.is_plain(key));
        if topic.is_prepared() || !is_plain {
            return Ok(());
        }
        let of = topic.last_table().clone();
        let known = self.known(name, &of, targets).await?;
        let plain = Plain::new(&known, &self.format, &self.placeholder);
        if let Some(topic) = self.topics.get_mut(name) {
            topic.plain = Some(plain);
            topic.plain_of = Some(of);
        }
        Ok(())
    }

    fn reading(&mut self) -> (Reading<'_>, &mut HashMap<Arc<str>, Topic>) {
        let batch = ChangeBatch::new(Arc::clone(&self.connector), Progress::at(Position::new("")));
        let reading = Reading {
            envelope: self.envelope,
            schemas: &mut self.schemas,
            tables: &mut self.tables,
            source: &mut self.source,
            scratch: &mut self.scratch,
            unchanged: Vec::new(),
            batch,
        };
        (reading, &mut self.topics)
    }
}

/// What a contract says of rows.
fn contract(schema: &Schema) -> Result<Arc<Known>> {
    let is_avro = schema.schema_type == SchemaType::Avro;
    let shape = if is_avro {
        avro_shape(&schema.text)
    } else {
        json_schema_shape(&schema.text)
    };
    let shape = shape.and_then(|shape| match shape.fields() {
        Some(_) => Ok(shape),
        None => Err("it is no record of fields".to_owned()),
    });
    let shape = shape.map_err(|fault| {
        Error::definite(
            "contract_invalid",
            format!("the contract cannot be used to read records: {fault}; write an Avro record (`.avsc`) or a JSON Schema of an object"),
        )
    })?;
    Ok(Arc::new(match is_avro {
        // It says what values mean, and nothing of how they are written in JSON.
        true => Known::Columns(columns(&shape)),
        false => Known::Contract(Arc::new(shape)),
    }))
}

/// The columns that the fields of a contract are for; who wrote it may have mangled their names.
fn columns(shape: &Shape) -> Vec<Column> {
    let fields = shape.fields().unwrap_or_default().iter();
    let column = |(name, field): &(String, Shape)| Column {
        name: unmangle(name),
        logical_type: meaning(field).0,
        nullable: field.optionality != Optionality::Required,
        source_type: String::new(),
        default: None,
        default_is_computed: false,
        documentation: field.documentation.clone(),
    };
    fields.map(column).collect()
}

impl fmt::Debug for EventDecoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EventDecoder")
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Decoder for EventDecoder {
    async fn prepare(&mut self, records: &RecordBatch, targets: &mut dyn Targets) -> Result<()> {
        let mut asked = Vec::new();
        for record in records.iter() {
            let parts = [record.key(), record.value()];
            for part in parts.into_iter().flatten() {
                // One that is not there is asked for once, however many records have its number.
                if let Some(id) = self.schemas.unknown(part)
                    && !asked.contains(&id)
                {
                    asked.push(id);
                    self.schemas.ask(id).await?;
                }
            }
            self.prepare_plain(record, targets).await?;
        }
        Ok(())
    }

    fn decode(&mut self, records: &RecordBatch, range: Range<usize>) -> Result<EventBatch> {
        let (mut origins, mut refused) = (Vec::with_capacity(range.len()), Vec::new());
        let mut last_records: Vec<Option<RecordView<'_>>> = vec![None; records.partitions().len()];
        let mut passed_over = 0;
        let share = records.size_bytes() / records.len().max(1);
        let (mut reading, topics) = self.reading();
        reading.batch.reserve(range.len(), share.saturating_mul(range.len()));
        for index in range {
            let Some(record) = records.get(index) else { break };
            let partition = record.partition_index();
            if let Some(last) = last_records.get_mut(partition) {
                *last = Some(record);
            }
            let change = origins.len();
            origins.push(Origin {
                partition,
                offset: record.offset(),
            });
            let topic = topics.get_mut(&record.partition().topic).ok_or_else(not_prepared)?;
            match reading.record(topic, record, change) {
                Ok(Outcome::Change) => {}
                Ok(Outcome::PassedOver) => passed_over += 1,
                Err(located) if located.fault.code == BATCH_FULL => return Err(batch_full()),
                Err(located) => refused.push(Refused {
                    change,
                    refusal: located.refusal(record),
                }),
            }
        }
        let advances = last_records.into_iter().flatten().map(advance).collect();
        Ok(EventBatch {
            changes: reading.batch,
            origins,
            partitions: records.partitions().to_vec(),
            advances,
            refused,
            passed_over,
        })
    }

    fn forget_targets(&mut self) {
        if self.contract.is_none() {
            self.topics.values_mut().for_each(|topic| topic.plain = None);
        }
    }
}

fn advance(last: RecordView<'_>) -> Advance {
    Advance {
        partition: last.partition().clone(),
        next_offset: last.offset().saturating_add(1),
        last_record: Some(last.mark()),
    }
}

#[cold]
fn not_prepared() -> Error {
    Error::definite(
        "records_not_prepared",
        "records are read that were not prepared; please report this as a bug",
    )
}

#[cold]
fn batch_full() -> Error {
    Error::definite(
        BATCH_FULL,
        "records do not fit into a batch, which holds at most 4 GiB of values; set batch.bytes of the sink to less",
    )
}
