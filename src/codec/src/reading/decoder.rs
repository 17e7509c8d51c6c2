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
use tailrace_core::record_batch::{RecordBatch, RecordView, TopicPartition};
use tailrace_core::registry::{Schema, SchemaRegistry, SchemaType};
use tailrace_core::schema::{Column, TableName};
use tailrace_core::{Error, Result};

use super::cell::Scratch;
use super::envelope::{EnvelopePlan, Source};
use super::event::{Outcome, Reading};
use super::fault::{BATCH_FULL, FULL};
use super::headers::LastMoment;
use super::meaning::meaning;
use super::plain::Known;
use super::schemas::{Body, Schemas};
use super::shape::{Parsed, Shape, avro_shape, json_schema_shape};
use super::tables::Tables;
use super::topic::{Plain, Topic};
use super::wire::JsonWire;
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
    /// into says it. A property `key` names the columns that tell rows apart whose records have no key of columns.
    pub contract: Option<Schema>,
    /// What counts before the contract's `key`; empty where nothing does.
    pub key_columns: Vec<String>,
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
    topics: Vec<Topic>,
    /// Where each is.
    by_name: HashMap<Arc<str>, usize>,
    source: Source,
    scratch: Scratch,
    updated_at: LastMoment,
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
        let contract = settings.contract.as_ref().map(contract).transpose()?;
        let (known, of_contract) = contract.unzip();
        let key_columns = match settings.key_columns.is_empty() {
            true => of_contract.unwrap_or_default(),
            false => settings.key_columns,
        };
        Ok(Self {
            connector: settings.connector.into(),
            envelope: settings.envelope,
            contract: known,
            schemas: Schemas::new(
                settings.registry,
                settings.envelope,
                Arc::clone(&placeholder),
                &key_columns,
            ),
            format: settings.format,
            placeholder,
            tables: Tables::new(key_columns),
            topics: Vec::new(),
            by_name: HashMap::new(),
            source: Source::default(),
            scratch: Scratch::default(),
            updated_at: LastMoment::default(),
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
    async fn prepare_plain(
        &mut self,
        (record, index): (RecordView<'_>, usize),
        targets: &mut dyn Targets,
    ) -> Result<()> {
        let Some(topic) = self.topics.get_mut(index) else {
            return Ok(());
        };
        let may_be_envelope = match self.envelope {
            Some(Envelope::Debezium) => record.value().is_some(),
            Some(Envelope::Entity) => false,
            None => record.value().is_some_and(EnvelopePlan::may_be),
        };
        // Of a contract there is one, and rows by themselves are of the topic's table.
        let is_told = !may_be_envelope || (self.contract.is_some() && topic.envelope.is_some());
        if is_told && !topic.plains.is_empty() {
            return Ok(());
        }
        let recent = &mut topic.recent_value;
        let value = record.value().filter(|value| self.schemas.is_plain(value, recent));
        let said = match value.map(|value| self.schemas.body(value, recent)) {
            Some(Ok(Some(Body::Plain(json, _)))) if may_be_envelope => {
                table_said((topic, self.envelope.is_some()), json, &mut self.source)
            }
            _ => None,
        };
        let is_plain = value.is_some()
            || record
                .key()
                .is_some_and(|key| self.schemas.is_plain(key, &mut topic.recent_key));
        let of = said.as_ref().unwrap_or_else(|| topic.last_table()).clone();
        topic.said = topic.said.take().or(said);
        let is_prepared = topic.is_prepared(&of) || (self.contract.is_some() && !topic.plains.is_empty());
        if is_prepared || !is_plain {
            return Ok(());
        }
        let known = self.known(&record.partition().topic, &of, targets).await?;
        let written = (&self.format, &self.placeholder);
        let plain = Plain::new(of, &known, written, self.schemas.key_column());
        if let Some(topic) = self.topics.get_mut(index) {
            topic.plains.push(plain);
        }
        Ok(())
    }

    /// Where the topic of each partition is.
    fn topics_of(&mut self, partitions: &[TopicPartition]) -> Vec<usize> {
        let Self { topics, by_name, .. } = self;
        let index = |partition: &TopicPartition| match by_name.get(&partition.topic) {
            Some(index) => *index,
            None => {
                topics.push(Topic::new(&partition.topic));
                by_name.insert(Arc::clone(&partition.topic), topics.len() - 1);
                topics.len() - 1
            }
        };
        partitions.iter().map(index).collect()
    }

    fn reading(&mut self) -> (Reading<'_>, &mut [Topic]) {
        let batch = ChangeBatch::new(Arc::clone(&self.connector), Progress::at(Position::new("")));
        let reading = Reading {
            envelope: self.envelope,
            schemas: &mut self.schemas,
            tables: &mut self.tables,
            source: &mut self.source,
            scratch: &mut self.scratch,
            updated_at: &mut self.updated_at,
            unchanged: Vec::new(),
            batch,
        };
        (reading, &mut self.topics)
    }
}

/// The table that a value without a schema says it is of, where it is an envelope.
fn table_said((topic, is_certain): (&mut Topic, bool), json: JsonWire<'_>, source: &mut Source) -> Option<TableName> {
    if topic.envelope.is_none() {
        topic.envelope = EnvelopePlan::learn(json, is_certain).ok()?;
    }
    topic.envelope.as_ref()?.read_source(json, source).ok()?;
    source.name()
}

/// What a contract says of rows, and the columns that tell them apart.
fn contract(schema: &Schema) -> Result<(Arc<Known>, Vec<String>)> {
    let is_avro = schema.schema_type == SchemaType::Avro;
    let shape = if is_avro {
        avro_shape(&schema.text)
    } else {
        json_schema_shape(&schema.text)
    };
    let read = shape.and_then(|shape| match shape.fields() {
        Some(fields) => Ok((written_key(&schema.text, fields)?, shape)),
        None => Err("it is no record of fields".to_owned()),
    });
    let (names, shape) = read.map_err(|fault| {
        Error::definite(
            "contract_invalid",
            format!("the contract cannot be used to read records: {fault}; write an Avro record (`.avsc`) or a JSON Schema of an object"),
        )
    })?;
    let (known, key) = match is_avro {
        // It says what values mean, and nothing of how they are written in JSON.
        true => (
            Known::Columns(columns(&shape)),
            names.iter().map(|name| unmangle(name)).collect(),
        ),
        false => (Known::Contract(Arc::new(shape)), names),
    };
    Ok((Arc::new(known), key))
}

/// The fields that the property `key` of a contract names; what is wrong with it is half a sentence.
fn written_key(text: &str, fields: &[(String, Shape)]) -> Parsed<Vec<String>> {
    let root: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Some(key) = root.get("key") else {
        return Ok(Vec::new());
    };
    let names: Vec<String> =
        serde_json::from_value(key.clone()).map_err(|_| "its `key` is no list of the names of fields".to_owned())?;
    let is_field = |name: &String| fields.iter().any(|(field, _)| field == name);
    match names.iter().find(|name| !is_field(name)) {
        Some(name) => Err(format!("its `key` names `{name}`, which is none of its fields")),
        None => Ok(names),
    }
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
        let topics = self.topics_of(records.partitions());
        for record in records.iter() {
            let index = topics.get(record.partition_index()).copied().ok_or_else(not_prepared)?;
            let topic = self.topics.get(index).ok_or_else(not_prepared)?;
            let parts = [(record.key(), &topic.recent_key), (record.value(), &topic.recent_value)];
            let unknown = parts.map(|(part, recent)| self.schemas.unknown(part?, recent));
            for id in unknown.into_iter().flatten() {
                // One that is not there is asked for once, however many records have its number.
                if !asked.contains(&id) {
                    asked.push(id);
                    self.schemas.ask(id).await?;
                }
            }
            self.prepare_plain((record, index), targets).await?;
        }
        Ok(())
    }

    fn decode(&mut self, records: &RecordBatch, range: Range<usize>) -> Result<EventBatch> {
        let (mut origins, mut refused) = (Vec::with_capacity(range.len()), Vec::new());
        let mut last_records: Vec<Option<RecordView<'_>>> = vec![None; records.partitions().len()];
        let mut passed_over = 0;
        let indexes = self.topics_of(records.partitions());
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
            let topic = indexes.get(partition).and_then(|index| topics.get_mut(*index));
            let topic = topic.ok_or_else(not_prepared)?;
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
            self.topics.iter_mut().for_each(|topic| topic.plains.clear());
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
    Error::definite(BATCH_FULL, format!("a record {}; {}", FULL.problem, FULL.remedy))
}
