//! Schemas of events in a registry: registered before the first event that needs them, and remembered by number, so that a
//! registry is asked once for each table version and topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tailrace_core::batch::{ChangeView, Operation, PayloadView};
use tailrace_core::registry::{Schema, SchemaId, SchemaRegistry, SchemaType};
use tailrace_core::{Error, Result};

use crate::avro::schema::{avro_schema, record_name};
use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::format::{Codec, Envelope, Format, SubjectStrategy};
use crate::json_schema::json_schema;
use crate::plan::{Frame, Schemas, TablePlan};

/// What a framed key or value begins with; the number of its schema follows, big-endian.
pub(crate) const MAGIC_BYTE: u8 = 0;

/// The schemas of a table's events.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    schemas: Arc<Schemas>,
    row: Arc<[Field]>,
    codec: Codec,
    envelope: Envelope,
    subjects: SubjectStrategy,
}

/// What stands around a key and around a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    pub(crate) key: Frame,
    pub(crate) value: Frame,
}

/// What stands around the keys and values of a table, as far as their schemas are registered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    /// Wherever they go: what has no registered schema.
    pub(crate) everywhere: Option<Frames>,
    by_topic: HashMap<Arc<str>, Frames>,
    /// Around what has no fields at all, key or value.
    empty: Option<Frame>,
    payloads: Vec<PayloadFrame>,
}

/// What stands around the object that an outbox's row has for a payload.
#[derive(Debug, Clone)]
struct PayloadFrame {
    columns: Box<[usize]>,
    topic: Arc<str>,
    frame: Frame,
}

/// What a change needs registered before it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// Keys and values on a topic.
    Rows(Arc<str>),
    /// What has no fields.
    Empty,
    /// An object of some columns on a topic.
    Payload(Box<[usize]>, Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
}

// === impl Frame ===

impl Frame {
    /// Connect's schema, and the payload behind it.
    fn inline(schema: &ConnectSchema) -> Self {
        let mut open = b"{\"schema\":".to_vec();
        open.extend_from_slice(&schema.to_json());
        open.extend_from_slice(b",\"payload\":");
        Self { open, close: b"}" }
    }

    /// The magic byte and the number of a registered schema.
    fn registered(id: SchemaId) -> Self {
        let mut open = vec![MAGIC_BYTE];
        open.extend_from_slice(&id.0.to_be_bytes());
        Self { open, close: b"" }
    }
}

// === impl Frames ===

impl Frames {
    /// Connect's schemas in the events themselves.
    pub(crate) fn inline(schemas: &Schemas) -> Self {
        Self {
            key: schemas.key.as_ref().map(Frame::inline).unwrap_or_default(),
            value: Frame::inline(&schemas.value),
        }
    }
}

// === impl Contract ===

impl Contract {
    /// The schemas of a table under a format.
    pub(crate) fn of(schemas: Schemas, row: Vec<Field>, format: &Format) -> Self {
        Self {
            schemas: Arc::new(schemas),
            row: row.into(),
            codec: format.codec,
            envelope: format.envelope,
            subjects: format.subjects,
        }
    }

    fn text(&self, schema: &ConnectSchema) -> Schema {
        let (schema_type, text) = match self.codec {
            Codec::Avro => (SchemaType::Avro, avro_schema(schema, self.envelope)),
            Codec::Json | Codec::JsonSchema => (SchemaType::Json, json_schema(schema, self.envelope)),
        };
        Schema {
            schema_type,
            text: text.into(),
            properties: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    fn record(&self, schema: &ConnectSchema) -> String {
        match self.codec {
            Codec::Avro => record_name(schema, self.envelope),
            Codec::Json | Codec::JsonSchema => schema.name.clone().unwrap_or_default(),
        }
    }

    fn subject(&self, topic: &str, part: Part, schema: &ConnectSchema) -> String {
        match (self.subjects, part) {
            (SubjectStrategy::Topic, Part::Key) => format!("{topic}-key"),
            (SubjectStrategy::Topic, Part::Value) => format!("{topic}-value"),
            (SubjectStrategy::Record, _) => self.record(schema),
            (SubjectStrategy::TopicRecord, _) => format!("{topic}-{}", self.record(schema)),
        }
    }

    async fn register(&self, registry: &dyn SchemaRegistry, subject: &str, schema: &ConnectSchema) -> Result<Frame> {
        let id = registry.register(subject, &self.text(schema)).await?;
        Ok(Frame::registered(id))
    }

    async fn register_part(
        &self,
        registry: &dyn SchemaRegistry,
        (topic, part): (&str, Part),
        schema: &ConnectSchema,
    ) -> Result<Frame> {
        let subject = self.subject(topic, part, schema);
        self.register(registry, &subject, schema).await
    }

    async fn rows(&self, registry: &dyn SchemaRegistry, topic: &str) -> Result<Frames> {
        let key = match &self.schemas.key {
            Some(key) => self.register_part(registry, (topic, Part::Key), key).await?,
            None => Frame::default(),
        };
        let value = self
            .register_part(registry, (topic, Part::Value), &self.schemas.value)
            .await?;
        Ok(Frames { key, value })
    }

    /// A record without fields has a subject of its own under every strategy: it is no version of the row's.
    async fn empty(&self, registry: &dyn SchemaRegistry, topic: &str) -> Result<Frame> {
        let name = format!("{topic}.Empty");
        let schema = ConnectSchema::named(Kind::Struct(Vec::new()), &name).without_version();
        self.register(registry, &self.record(&schema), &schema).await
    }

    async fn payload(&self, registry: &dyn SchemaRegistry, columns: &[usize], topic: &str) -> Result<Frame> {
        let chosen = columns.iter().filter_map(|index| self.row.get(*index)).cloned();
        let name = format!("{topic}.Value");
        let schema = ConnectSchema::named(Kind::Struct(chosen.collect()), &name).without_version();
        self.register_part(registry, (topic, Part::Value), &schema).await
    }
}

// === impl Routes ===

impl Routes {
    /// What stands around keys and values on a topic.
    pub(crate) fn frames(&self, topic: &Arc<str>) -> Option<&Frames> {
        self.everywhere.as_ref().or_else(|| self.by_topic.get(topic))
    }

    /// What stands around what has no fields.
    pub(crate) fn empty(&self) -> Option<&Frame> {
        self.empty.as_ref()
    }

    /// What stands around an object of some columns on a topic.
    pub(crate) fn payload(&self, columns: &[usize], topic: &str) -> Option<&Frame> {
        let found = |payload: &&PayloadFrame| *payload.columns == *columns && *payload.topic == *topic;
        self.payloads.iter().find(found).map(|payload| &payload.frame)
    }
}

/// Registers what a change needs and its plan does not have. Gives the plan that has it, where it is another.
pub(crate) async fn register(
    plan: &Arc<TablePlan>,
    change: ChangeView<'_>,
    registry: &dyn SchemaRegistry,
) -> Result<Option<TablePlan>> {
    let Some(contract) = &plan.contract else {
        return Ok(None);
    };
    let mut extended = None;
    for need in needs(plan, change, contract).into_iter().flatten() {
        let plan = extended.get_or_insert_with(|| TablePlan::clone(plan));
        match need {
            Need::Rows(topic) => {
                let frames = contract.rows(registry, &topic).await?;
                plan.routes.by_topic.insert(topic, frames);
            }
            Need::Empty => plan.routes.empty = Some(contract.empty(registry, &plan.topic).await?),
            Need::Payload(columns, topic) => {
                let frame = contract.payload(registry, &columns, &topic).await?;
                plan.routes.payloads.push(PayloadFrame { columns, topic, frame });
            }
        }
    }
    Ok(extended)
}

fn needs(plan: &TablePlan, change: ChangeView<'_>, contract: &Contract) -> [Option<Need>; 2] {
    let topic = change.change().topic.as_ref().unwrap_or(&plan.topic);
    if let Some(message) = change.message() {
        let PayloadView::Columns(columns) = message.payload() else {
            return [None, None];
        };
        let known = plan.routes.payload(columns, topic).is_some();
        return [(!known).then(|| Need::Payload(columns.into(), Arc::clone(topic))), None];
    }
    let rows = plan.routes.frames(topic).is_none();
    let without_row = change.before().is_none() && change.after().is_none();
    let empty = contract.envelope == Envelope::Entity
        && (change.operation() == Operation::Truncate || without_row)
        && plan.routes.empty.is_none();
    [
        rows.then(|| Need::Rows(Arc::clone(topic))),
        empty.then_some(Need::Empty),
    ]
}

/// A codec whose schemas are registered was given no registry.
pub(crate) fn no_registry() -> Error {
    Error::definite(
        "registry_missing",
        "the codec needs a schema registry and there is none; name one in format.registry, or use codec: json",
    )
}
