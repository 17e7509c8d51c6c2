//! Schemas of events in a registry: registered before the first event that needs them, and remembered by number, so that a
//! registry is asked once for each table version and topic.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use tailrace_core::batch::{ChangeView, Operation, PayloadView, Refusal};
use tailrace_core::registry::{Schema, SchemaId, SchemaRegistry, SchemaType};
use tailrace_core::{Error, Result};

use crate::avro::schema::{avro_schema, record_name};
use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::context::Context;
use crate::contract::guard::{Guard, Settled};
use crate::contract::written::WrittenContract;
use crate::format::{Codec, Envelope, SubjectStrategy};
use crate::json_schema::json_schema;
use crate::plan::{Frame, Schemas, TablePlan};
use crate::publication::{Destination, Publication};

/// What a framed key or value begins with; the number of its schema follows, big-endian.
pub(crate) const MAGIC_BYTE: u8 = 0;

/// The schemas of what is published of a table, as a registry has them.
#[derive(Debug, Clone)]
pub(crate) struct EventSchemas {
    schemas: Arc<Schemas>,
    row: Arc<[Field]>,
    to: Destination,
    codec: Codec,
    envelope: Envelope,
    subjects: SubjectStrategy,
    inline_schema: bool,
    /// What is said about the topic.
    properties: BTreeMap<String, String>,
    /// What is said about columns, by name.
    tags: BTreeMap<String, Vec<String>>,
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
    by_topic: HashMap<Arc<str>, Route>,
    /// Around what has no fields at all, key or value.
    empty: Option<Frame>,
    payloads: Vec<PayloadFrame>,
}

/// What becomes of a table's events on a topic.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// They go there as the plan says.
    Here(Frames),
    /// They follow another plan, which may lead elsewhere.
    Elsewhere(Arc<TablePlan>),
    /// They are set aside.
    Refused(Refusal),
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

/// The numbers of the schemas of a table's rows.
#[derive(Debug, Clone, Copy, Default)]
struct RowSchemas {
    key: Option<SchemaId>,
    value: Option<SchemaId>,
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

    /// What stands between, where all of it is in this range.
    pub(crate) fn inside(&self, whole: &Range<usize>) -> Range<usize> {
        whole.start + self.open.len()..whole.end.saturating_sub(self.close.len())
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

// === impl EventSchemas ===

impl EventSchemas {
    /// The schemas of a publication.
    pub(crate) fn of(schemas: Schemas, publication: &Publication, context: &Context) -> Self {
        let format = &context.format;
        let terms = context.contracts.of(&publication.to.topic);
        Self {
            schemas: Arc::new(schemas),
            row: Schemas::row(publication, format).into(),
            to: publication.to.clone(),
            codec: format.codec,
            envelope: format.envelope,
            subjects: format.subjects,
            inline_schema: format.inline_schema,
            properties: terms.properties(),
            tags: terms.tags_of_columns(),
        }
    }

    /// The schemas of a publication that may never come to anything.
    pub(crate) fn in_context(publication: &Publication, context: &Context) -> Self {
        let schemas = Schemas::of(publication, &context.format, &context.source);
        Self::of(schemas, publication, context)
    }

    /// Every subject of rows with the schema that would be its version: of the key, where there is one, and of the value.
    pub(crate) fn subjects(&self) -> Vec<(String, Schema)> {
        let key = self.schemas.key.as_ref().map(|key| (Part::Key, key));
        let parts = key.into_iter().chain([(Part::Value, &self.schemas.value)]);
        let subject = |(part, schema)| (self.subject(&self.to.topic, part, schema), self.text(schema));
        parts.map(subject).collect()
    }

    /// The row alone, in the language of a contract's file and under its record's name.
    pub(crate) fn row(publication: &Publication, written: &WrittenContract, context: &Context) -> Schema {
        let name = written.record.clone().unwrap_or_default();
        let row = Kind::Struct(Schemas::row(publication, &context.format));
        let row = ConnectSchema::named(row, &name).without_version();
        written.as_it_speaks(match written.schema.schema_type {
            SchemaType::Avro => avro_schema(&row, context.format.envelope),
            SchemaType::Json => json_schema(&row, context.format.envelope),
        })
    }

    fn text(&self, schema: &ConnectSchema) -> Schema {
        let (schema_type, text) = match self.codec {
            Codec::Avro => (SchemaType::Avro, avro_schema(schema, self.envelope)),
            Codec::Json | Codec::JsonSchema => (SchemaType::Json, json_schema(schema, self.envelope)),
        };
        let named = |tagged: &(&String, &Vec<String>)| schema.has_field(tagged.0);
        let tags = self.tags.iter().filter(named);
        Schema {
            schema_type,
            text: text.into(),
            properties: self.properties.clone(),
            tags: tags.map(|(name, tags)| (format!("**.{name}"), tags.clone())).collect(),
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

    async fn register(&self, registry: &dyn SchemaRegistry, subject: &str, schema: &ConnectSchema) -> Result<SchemaId> {
        registry.register(subject, &self.text(schema)).await
    }

    /// Registers what rows need, and says what stands around them.
    async fn rows(&self, registry: &dyn SchemaRegistry) -> Result<(RowSchemas, Frames)> {
        let mut rows = RowSchemas::default();
        if let Some(key) = &self.schemas.key {
            let subject = self.subject(&self.to.topic, Part::Key, key);
            rows.key = Some(self.register(registry, &subject, key).await?);
        }
        let value = &self.schemas.value;
        let subject = self.subject(&self.to.topic, Part::Value, value);
        rows.value = Some(self.register(registry, &subject, value).await?);
        let frames = match self.codec {
            Codec::Json if self.inline_schema => Frames::inline(&self.schemas),
            Codec::Json => Frames::default(),
            Codec::JsonSchema | Codec::Avro => Frames {
                key: rows.key.map(Frame::registered).unwrap_or_default(),
                value: rows.value.map(Frame::registered).unwrap_or_default(),
            },
        };
        Ok((rows, frames))
    }

    /// A record without fields has a subject of its own under every strategy: it is no version of the row's.
    async fn empty(&self, registry: &dyn SchemaRegistry) -> Result<Frame> {
        let name = format!("{}.Empty", self.to.name);
        let schema = ConnectSchema::named(Kind::Struct(Vec::new()), &name).without_version();
        let id = self.register(registry, &self.record(&schema), &schema).await?;
        Ok(Frame::registered(id))
    }

    async fn payload(&self, registry: &dyn SchemaRegistry, columns: &[usize], topic: &str) -> Result<Frame> {
        let chosen = columns.iter().filter_map(|index| self.row.get(*index)).cloned();
        let name = format!("{topic}.Value");
        let schema = ConnectSchema::named(Kind::Struct(chosen.collect()), &name).without_version();
        let subject = self.subject(topic, Part::Value, &schema);
        let id = self.register(registry, &subject, &schema).await?;
        Ok(Frame::registered(id))
    }
}

// === impl Routes ===

impl Routes {
    /// What becomes of events on a topic.
    pub(crate) fn route(&self, topic: &Arc<str>) -> Option<&Route> {
        self.by_topic.get(topic)
    }

    /// What stands around what has no fields.
    pub(crate) fn empty(&self) -> Option<&Frame> {
        self.empty.as_ref()
    }

    fn set_empty(&mut self, frame: &Frame) {
        self.empty = Some(frame.clone());
        for route in self.by_topic.values_mut() {
            if let Route::Elsewhere(other) = route {
                Arc::make_mut(other).routes.empty = Some(frame.clone());
            }
        }
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
    (context, registry): (&Context, &dyn SchemaRegistry),
) -> Result<Option<TablePlan>> {
    let Some(schemas) = &plan.schemas else {
        return Ok(None);
    };
    let mut extended = None;
    for need in needs(plan, change, schemas).into_iter().flatten() {
        let plan = extended.get_or_insert_with(|| TablePlan::clone(plan));
        match need {
            Need::Rows(topic) => {
                let route = settle(plan, &topic, (context, registry)).await?;
                plan.routes.by_topic.insert(topic, route);
            }
            Need::Empty => plan.routes.set_empty(&schemas.empty(registry).await?),
            Need::Payload(columns, topic) => {
                let frame = schemas.payload(registry, &columns, &topic).await?;
                plan.routes.payloads.push(PayloadFrame { columns, topic, frame });
            }
        }
    }
    Ok(extended)
}

/// Decides what becomes of a table's rows on a topic, and registers the schemas of those that are published.
async fn settle(
    plan: &TablePlan,
    topic: &Arc<str>,
    (context, registry): (&Context, &dyn SchemaRegistry),
) -> Result<Route> {
    let guard = Guard { context, registry };
    let to = Destination {
        topic: Arc::clone(topic),
        name: Arc::clone(&plan.publication.to.name),
    };
    let publication = match guard.settle(&plan.publication.table, &to).await? {
        Settled::Publish(publication) => publication,
        Settled::Refuse(refusal) => return Ok(Route::Refused(refusal)),
    };
    guard.announce(&publication).await?;
    let (rows, frames) = EventSchemas::in_context(&publication, context).rows(registry).await?;
    context.tell(topic, &publication, (rows.key, rows.value));
    if publication == plan.publication {
        return Ok(Route::Here(frames));
    }
    let mut other = TablePlan::of(publication, context);
    other.routes.everywhere = Some(frames);
    other.routes.empty.clone_from(&plan.routes.empty);
    Ok(Route::Elsewhere(Arc::new(other)))
}

fn needs(plan: &TablePlan, change: ChangeView<'_>, schemas: &EventSchemas) -> [Option<Need>; 2] {
    let is_framed = schemas.codec != Codec::Json;
    let topic = change.change().topic.as_ref().unwrap_or(&plan.publication.to.topic);
    if let Some(message) = change.message() {
        let PayloadView::Columns(columns) = message.payload() else {
            return [None, None];
        };
        let known = plan.routes.payload(columns, topic).is_some();
        return [
            (is_framed && !known).then(|| Need::Payload(columns.into(), Arc::clone(topic))),
            None,
        ];
    }
    let rows = plan.routes.route(topic).is_none();
    let without_row = change.before().is_none() && change.after().is_none();
    let empty = is_framed
        && schemas.envelope == Envelope::Entity
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
