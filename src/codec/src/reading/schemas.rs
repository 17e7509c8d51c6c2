//! Schemas that records come with, compiled once: those whose number stands in front of a key or value, and those that stand in it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tailrace_core::Result;
use tailrace_core::registry::{Schema, SchemaId, SchemaRegistry, SchemaType};

use super::envelope::EnvelopePlan;
use super::fault::{Fault, Located, SCHEMA_UNKNOWN, SCHEMA_UNUSABLE, UNREADABLE};
use super::plan::RowPlan;
use super::shape::{Parsed, Shape, avro_shape, connect_shape, json_schema_shape};
use super::stand_in::Notated;
use super::wire::{AvroWire, JsonWire, Token, Wire};
use crate::format::Envelope;
use crate::registration::MAGIC_BYTE;
use crate::registry::REFUSED;

/// What a key or value with its schema in it begins with, as Kafka Connect's converter writes it.
const OPEN: &[u8] = b"{\"schema\":";
/// What stands between the schema and what it is of.
const BETWEEN: &[u8] = b",\"payload\":";
/// Values of topics of Debezium's own, which are of no row.
const NOTICES: [&str; 4] = [
    "transactionmetadatavalue",
    "heartbeat",
    "notification",
    "schemachangevalue",
];
/// How many schemas that stand in records are remembered: a topic has a few, one for each version of its table.
const REMEMBERED: usize = 4096;
/// The number of no schema.
const NO_SCHEMA: SchemaId = SchemaId(0);
/// What the only column of a key is called that is no struct, where nobody says which of the row's it is.
const KEY_COLUMN: &str = "key";

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
const NO_NUMBER: Fault = Fault {
    code: UNREADABLE,
    problem: "is binary: it begins with a schema's number that would be 0, which no schema has",
    remedy: "have it written as text, as JSON or with a schema, or set the record aside with dead_letters",
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
    /// What Debezium says beside rows: of its transactions, of itself, of the shape of tables.
    Notice,
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
    /// What the only column of a key is called that is no struct.
    key_column: Arc<str>,
    numbered: HashMap<SchemaId, Result<Arc<Compiled>, Located>>,
    /// The text of schemas that stand in records, and what they are.
    inline: HashMap<Arc<str>, Arc<Compiled>>,
}

/// The text of a schema, and what it is.
type Inline = (Arc<str>, Arc<Compiled>);

/// The schemas of the record before of the same topic, of its key or of its value: the next one mostly has the same.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    numbered: Option<(SchemaId, Arc<Compiled>)>,
    inline: Option<Inline>,
}

// === impl Schemas ===

impl Schemas {
    pub(crate) fn new(
        registry: Option<Arc<dyn SchemaRegistry>>,
        envelope: Option<Envelope>,
        placeholder: Arc<str>,
        key_columns: &[String],
    ) -> Self {
        let key_column = match key_columns {
            [only] => only,
            _ => KEY_COLUMN,
        };
        Self {
            key_column: key_column.into(),
            registry,
            envelope,
            placeholder,
            numbered: HashMap::new(),
            inline: HashMap::new(),
        }
    }

    /// What the only column of a key is called that is no struct.
    pub(crate) fn key_column(&self) -> &Arc<str> {
        &self.key_column
    }

    /// The number of the schema that a key or value is framed with, where it is not known.
    pub(crate) fn unknown(&self, bytes: &[u8], recent: &Recent) -> Option<SchemaId> {
        let (id, _) = framed(bytes).filter(|(id, _)| *id != NO_SCHEMA)?;
        self.registry.as_ref()?;
        if recent.numbered.as_ref().is_some_and(|(known, _)| *known == id) {
            return None;
        }
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
            Err(error) if error.code() == REFUSED => Err(UNUSABLE.because(&error.to_string())),
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
        let single = || RowPlan::single(&self.key_column, &shape, notated);
        let envelope = match self.envelope {
            Some(Envelope::Entity) => None,
            Some(Envelope::Debezium) | None => EnvelopePlan::of(&shape),
        };
        let row = RowPlan::of(&shape, notated);
        let key = row.clone();
        let is_notice = shape
            .meaning
            .as_deref()
            .is_some_and(|meaning| NOTICES.contains(&meaning));
        let value = match (envelope, row) {
            _ if is_notice => ValuePlan::Notice,
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
    pub(crate) fn body<'a>(&mut self, bytes: &'a [u8], recent: &mut Recent) -> Result<Option<Body<'a>>, Located> {
        if let Some((id, payload)) = framed(bytes) {
            return self.framed((id, payload), recent).map(Some);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NOT_UTF8)?;
        if let Some((schema, compiled)) = &recent.inline
            && let Some(at) = payload_behind(bytes, schema)
        {
            let mut json = JsonWire::new(text);
            json.seek(at);
            return Ok(Some(Body::Json(json, Arc::clone(compiled), Closing::Brace)));
        }
        let mut json = JsonWire::new(text);
        match json.peek() {
            Some(b'{') => self.object(json, recent),
            Some(b'n') if text.trim() == "null" => Ok(None),
            _ => Ok(Some(Body::Raw(text))),
        }
    }

    /// True for what can only be read with the types that a contract or a table has.
    pub(crate) fn is_plain(&mut self, bytes: &[u8], recent: &mut Recent) -> bool {
        let is_known = |(schema, _): &Inline| payload_behind(bytes, schema).is_some();
        if framed(bytes).is_some() || recent.inline.as_ref().is_some_and(is_known) {
            return false;
        }
        !bytes.starts_with(OPEN) || matches!(self.body(bytes, recent), Ok(Some(Body::Plain(..) | Body::Raw(_))))
    }

    /// True for a key that is bytes of its own, as converters of numbers and of bytes write it, beside a value that says nothing of
    /// registries.
    pub(crate) fn is_binary(&self, key: &[u8], value: &[u8]) -> bool {
        match framed(key) {
            None => std::str::from_utf8(key).is_err(),
            Some((NO_SCHEMA, _)) => true,
            Some(_) => framed(value).is_none() && (self.registry.is_none() || key.len() == size_of::<i64>()),
        }
    }

    fn framed<'a>(&self, (id, payload): (SchemaId, &'a [u8]), recent: &mut Recent) -> Result<Body<'a>, Located> {
        let compiled = match &recent.numbered {
            Some((known, compiled)) if *known == id => Arc::clone(compiled),
            _ => {
                let compiled = self.numbered(id)?;
                recent.numbered = Some((id, Arc::clone(&compiled)));
                compiled
            }
        };
        if compiled.is_avro {
            return Ok(Body::Avro(AvroWire::new(payload), compiled));
        }
        let text = std::str::from_utf8(payload).map_err(|_| NOT_UTF8)?;
        Ok(Body::Json(JsonWire::new(text), compiled, Closing::Nothing))
    }

    fn numbered(&self, id: SchemaId) -> Result<Arc<Compiled>, Located> {
        if id == NO_SCHEMA {
            return Err(NO_NUMBER.into());
        }
        if self.registry.is_none() {
            return Err(NO_REGISTRY.into());
        }
        let known = self.numbered.get(&id).cloned();
        known.unwrap_or_else(|| Err(NOT_IN_REGISTRY.because("it was not asked")))
    }

    /// An object: one of just `schema` and `payload` has its schema in it, where that is one or null.
    fn object<'a>(&mut self, json: JsonWire<'a>, recent: &mut Recent) -> Result<Option<Body<'a>>, Located> {
        let Some((schema, payload)) = wrapped(json)? else {
            return Ok(Some(Body::Plain(json, Closing::Nothing)));
        };
        let mut payload_wire = json;
        payload_wire.seek(payload);
        let is_null = payload_wire.token()? == Token::Null;
        if schema == "null" {
            return Ok((!is_null).then_some(Body::Plain(payload_wire, Closing::Seen)));
        }
        let known = self.inline.get_key_value(schema);
        let known = known.map(|(text, compiled)| (Arc::clone(text), Arc::clone(compiled)));
        let known = match known {
            Some(known) => known,
            None => match self.compile_inline(schema)? {
                Some(known) => known,
                None => return Ok(Some(Body::Plain(json, Closing::Nothing))),
            },
        };
        let compiled = Arc::clone(&known.1);
        recent.inline = Some(known);
        Ok((!is_null).then_some(Body::Json(payload_wire, compiled, Closing::Seen)))
    }

    /// Compiles a schema that stands in a record; `None` where it is something else of that name.
    #[cold]
    fn compile_inline(&mut self, schema: &str) -> Result<Option<Inline>, Located> {
        let Ok(value) = serde_json::from_str::<Value>(schema) else {
            return Ok(None);
        };
        if value.get("type").and_then(Value::as_str).is_none() {
            return Ok(None);
        }
        let notated = Notated::json(&self.placeholder);
        let compiled = self.compile_shape(connect_shape(&value), false, notated)?;
        if self.inline.len() == REMEMBERED {
            self.inline.clear();
        }
        let text: Arc<str> = schema.into();
        self.inline.insert(Arc::clone(&text), Arc::clone(&compiled));
        Ok(Some((text, compiled)))
    }
}

/// The number of a schema and what stands behind it.
pub(crate) fn framed(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    let (magic, rest) = bytes.split_first()?;
    let (number, payload) = rest.split_first_chunk()?;
    (*magic == MAGIC_BYTE).then(|| (SchemaId(u32::from_be_bytes(*number)), payload))
}

/// Where the payload begins behind these very bytes of a schema.
fn payload_behind(bytes: &[u8], schema: &str) -> Option<usize> {
    let rest = bytes
        .strip_prefix(OPEN)?
        .strip_prefix(schema.as_bytes())?
        .strip_prefix(BETWEEN)?;
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
