//! Schemas that records come with, compiled once: those whose number stands in front of a key or value, and those that stand in it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tailrace_core::Result;
use tailrace_core::registry::{Schema, SchemaId, SchemaRegistry, SchemaType};

use super::envelope::EnvelopePlan;
use super::fault::{Fault, Located, SCHEMA_UNKNOWN, SCHEMA_UNUSABLE};
use super::plan::RowPlan;
use super::shape::{Parsed, Shape, avro_shape, connect_shape, json_schema_shape};
use super::stand_in::Notated;
use super::wire::{AvroWire, JsonWire, Token, Wire};
use crate::format::Envelope;
use crate::registration::MAGIC_BYTE;

/// What a key or value with its schema in it begins with, as Kafka Connect's converter writes it.
const OPEN: &[u8] = b"{\"schema\":";
/// What stands between the schema and what it is of.
const BETWEEN: &[u8] = b",\"payload\":";
/// How many schemas that stand in records are remembered: a topic has a few, one for each version of its table.
const REMEMBERED: usize = 256;
/// What the only column of a key is called that is no struct.
pub(crate) const KEY_COLUMN: &str = "key";

const NO_REGISTRY: Fault = Fault {
    code: SCHEMA_UNKNOWN,
    problem: "begins with the number of a schema, and no registry is named",
    remedy: "name the registry that its writer uses in format.registry",
};
const NOT_IN_REGISTRY: Fault = Fault {
    code: SCHEMA_UNKNOWN,
    problem: "has a schema that the registry does not know",
    remedy: "name the registry that its writer uses in format.registry, or register the schema there again",
};
const UNUSABLE: Fault = Fault {
    code: SCHEMA_UNUSABLE,
    problem: "has a schema that cannot be read",
    remedy: "correct the schema, or leave the topic out",
};
const NOT_UTF8: Fault = Fault::record("is neither UTF-8 text nor framed with the number of a schema");

/// A schema, compiled for a key and for a value.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) is_avro: bool,
    pub(crate) key: Arc<RowPlan>,
    /// The key is a struct of columns, and not one value.
    pub(crate) has_columns: bool,
    pub(crate) value: ValuePlan,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum ValuePlan {
    /// The row itself.
    Row(Arc<RowPlan>),
    /// Debezium's envelope around rows of a plan; around none, that of a logical message.
    Envelope(EnvelopePlan, Option<Arc<RowPlan>>),
    /// No fields.
    Scalar,
}

/// Where a key or value begins, and what it is.
pub(crate) enum Body<'a> {
    /// JSON text of a schema.
    Json(JsonWire<'a>, Arc<Compiled>, Closing),
    Avro(AvroWire<'a>, Arc<Compiled>),
    /// JSON text without a schema, or text that is none.
    Plain(JsonWire<'a>, Closing),
    /// Text that is not JSON, which only a key may be.
    Raw(&'a str),
}

/// What must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Nothing,
    /// The brace around schema and payload.
    Brace,
    /// It was looked at already.
    Seen,
}

/// Everything that is known of schemas.
pub(crate) struct Schemas {
    registry: Option<Arc<dyn SchemaRegistry>>,
    envelope: Option<Envelope>,
    placeholder: Arc<str>,
    numbered: HashMap<SchemaId, Result<Arc<Compiled>, Located>>,
    /// The text of schemas that stand in records, and what they are; the last one first.
    inline: Vec<(Vec<u8>, Arc<Compiled>)>,
}

// === impl Schemas ===

impl Schemas {
    pub(crate) fn new(
        registry: Option<Arc<dyn SchemaRegistry>>,
        envelope: Option<Envelope>,
        placeholder: Arc<str>,
    ) -> Self {
        Self {
            registry,
            envelope,
            placeholder,
            numbered: HashMap::new(),
            inline: Vec::new(),
        }
    }

    /// The number of the schema that a key or value is framed with, where it is not known.
    pub(crate) fn unknown(&self, bytes: &[u8]) -> Option<SchemaId> {
        let (id, _) = framed(bytes)?;
        self.registry.as_ref()?;
        match self.numbered.get(&id) {
            Some(Ok(_)) => None,
            // It may be there by now.
            Some(Err(located)) => (located.fault.code == SCHEMA_UNKNOWN).then_some(id),
            None => Some(id),
        }
    }

    /// Asks for a schema.
    pub(crate) async fn ask(&mut self, id: SchemaId) -> Result<()> {
        let Some(registry) = &self.registry else {
            return Ok(());
        };
        let compiled = match registry.by_id(id).await {
            Ok(schema) => self.compile(&schema),
            Err(error) if error.code() == SCHEMA_UNKNOWN => Err(NOT_IN_REGISTRY.because(&format!("number {}", id.0))),
            Err(error) => return Err(error),
        };
        self.numbered.insert(id, compiled);
        Ok(())
    }

    fn compile(&self, schema: &Schema) -> Result<Arc<Compiled>, Located> {
        let (shape, notated) = match schema.schema_type {
            SchemaType::Avro => (avro_shape(&schema.text), Notated::avro(&self.placeholder)),
            SchemaType::Json => (json_schema_shape(&schema.text), Notated::json(&self.placeholder)),
        };
        self.compile_shape(shape, schema.schema_type == SchemaType::Avro, notated)
    }

    fn compile_shape(
        &self,
        shape: Parsed<Shape>,
        is_avro: bool,
        notated: Notated<'_>,
    ) -> Result<Arc<Compiled>, Located> {
        let shape = shape.map_err(|fault| UNUSABLE.because(&fault))?;
        let single = || RowPlan::single(KEY_COLUMN, &shape, notated);
        let envelope = match self.envelope {
            Some(Envelope::Entity) => None,
            Some(Envelope::Debezium) | None => EnvelopePlan::of(&shape),
        };
        let row = RowPlan::of(&shape, notated);
        let key = row.clone();
        let value = match (envelope, row) {
            (Some(envelope), _) => {
                let rows = ["after", "before"].into_iter().find_map(|name| shape.field(name));
                ValuePlan::Envelope(envelope, rows.and_then(|rows| RowPlan::of(rows, notated)))
            }
            (None, Some(row)) => ValuePlan::Row(row),
            (None, None) => ValuePlan::Scalar,
        };
        Ok(Arc::new(Compiled {
            is_avro,
            has_columns: key.is_some(),
            key: key.unwrap_or_else(single),
            value,
        }))
    }

    /// What a key or value is; `None` where its JSON is null.
    pub(crate) fn body<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Body<'a>>, Located> {
        if let Some((id, payload)) = framed(bytes) {
            return self.framed(id, payload).map(Some);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NOT_UTF8)?;
        if let Some((schema, compiled)) = self.inline.first()
            && let Some(at) = payload_behind(bytes, schema)
        {
            let mut json = JsonWire::new(text);
            json.seek(at);
            return Ok(Some(Body::Json(json, Arc::clone(compiled), Closing::Brace)));
        }
        if bytes.starts_with(OPEN) {
            let found = self
                .inline
                .iter()
                .position(|(schema, _)| payload_behind(bytes, schema).is_some());
            if let Some(found) = found {
                let known = self.inline.remove(found);
                self.inline.insert(0, known);
                return self.body(bytes);
            }
        }
        let mut json = JsonWire::new(text);
        match json.peek() {
            Some(b'{') => self.object(json),
            Some(b'n') if text.trim() == "null" => Ok(None),
            _ => Ok(Some(Body::Raw(text))),
        }
    }

    /// True for what can only be read with the types that a contract or a table has.
    pub(crate) fn is_plain(&mut self, bytes: &[u8]) -> bool {
        framed(bytes).is_none()
            && (!bytes.starts_with(OPEN) || matches!(self.body(bytes), Ok(Some(Body::Plain(..) | Body::Raw(_)))))
    }

    fn framed<'a>(&self, id: SchemaId, payload: &'a [u8]) -> Result<Body<'a>, Located> {
        if self.registry.is_none() {
            return Err(NO_REGISTRY.into());
        }
        let known = self.numbered.get(&id);
        let compiled = known.ok_or_else(|| NOT_IN_REGISTRY.because("it was not asked"))?;
        let compiled = compiled.as_ref().map_err(Clone::clone)?;
        if compiled.is_avro {
            return Ok(Body::Avro(AvroWire::new(payload), Arc::clone(compiled)));
        }
        let text = std::str::from_utf8(payload).map_err(|_| NOT_UTF8)?;
        Ok(Body::Json(JsonWire::new(text), Arc::clone(compiled), Closing::Nothing))
    }

    /// An object: one of just `schema` and `payload` has its schema in it, where that is one or null.
    fn object<'a>(&mut self, json: JsonWire<'a>) -> Result<Option<Body<'a>>, Located> {
        let Some((schema, payload)) = wrapped(json)? else {
            return Ok(Some(Body::Plain(json, Closing::Nothing)));
        };
        let mut payload_wire = json;
        payload_wire.seek(payload);
        let is_null = payload_wire.token()? == Token::Null;
        if schema == "null" {
            return Ok((!is_null).then_some(Body::Plain(payload_wire, Closing::Seen)));
        }
        let known = self.inline.iter().find(|(text, _)| text == schema.as_bytes());
        let known = known.map(|(_, compiled)| Arc::clone(compiled));
        let compiled = match known {
            Some(compiled) => compiled,
            None => match self.compile_inline(schema)? {
                Some(compiled) => compiled,
                None => return Ok(Some(Body::Plain(json, Closing::Nothing))),
            },
        };
        Ok((!is_null).then_some(Body::Json(payload_wire, compiled, Closing::Seen)))
    }

    /// Compiles a schema that stands in a record; `None` where it is something else of that name.
    #[cold]
    fn compile_inline(&mut self, schema: &str) -> Result<Option<Arc<Compiled>>, Located> {
        let Ok(value) = serde_json::from_str::<Value>(schema) else {
            return Ok(None);
        };
        if value.get("type").and_then(Value::as_str).is_none() {
            return Ok(None);
        }
        let notated = Notated::json(&self.placeholder);
        let compiled = self.compile_shape(connect_shape(&value), false, notated)?;
        self.inline.truncate(REMEMBERED);
        self.inline
            .insert(0, (schema.as_bytes().to_vec(), Arc::clone(&compiled)));
        Ok(Some(compiled))
    }
}

/// The number of a schema and what stands behind it.
pub(crate) fn framed(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    let (magic, rest) = bytes.split_first()?;
    let (number, payload) = rest.split_first_chunk()?;
    (*magic == MAGIC_BYTE).then(|| (SchemaId(u32::from_be_bytes(*number)), payload))
}

/// Where the payload begins behind these very bytes of a schema.
fn payload_behind(bytes: &[u8], schema: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(OPEN)?.strip_prefix(schema)?.strip_prefix(BETWEEN)?;
    // Null is found the slow way.
    (rest.first() != Some(&b'n')).then(|| bytes.len() - rest.len())
}

/// The text of the schema and where the payload is, of an object that has just these two.
fn wrapped(mut json: JsonWire<'_>) -> Result<Option<(&str, usize)>, Located> {
    let (mut schema, mut payload) = (None, None);
    let mut place = json.begin_map()?;
    while json.next_key(&mut place)? {
        let mut scratch = String::new();
        let is_schema = match json.name(&mut scratch)? {
            "schema" => true,
            "payload" => false,
            _ => return Ok(None),
        };
        json.peek();
        let start = json.at();
        json.pass()?;
        if is_schema {
            schema = Some(json.between(start, json.at()));
        } else {
            payload = Some(start);
        }
    }
    json.end()?;
    Ok(schema.zip(payload))
}

// === impl Closing ===

impl Closing {
    /// Nothing but what must follow does.
    pub(crate) fn check(self, json: &mut JsonWire<'_>) -> Result<(), Located> {
        match self {
            Self::Seen => return Ok(()),
            Self::Nothing => {}
            Self::Brace => {
                if !json.take_byte(b'}') {
                    return Err(Fault::record("has more than schema and payload in it").into());
                }
            }
        }
        json.end().map_err(Located::from)
    }
}
