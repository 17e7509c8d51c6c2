//! A contract that was written down: an Avro record or a JSON Schema of the row, with what Avro and JSON Schema have no word
//! for as properties: `owner`, `trigger`, `tags` (`confluent:tags` of fields is read too).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Map, Value};
use tailrace_core::registry::{Schema, SchemaType};
use tailrace_core::value::Datum;
use tailrace_core::{Error, Result};

use super::avro_schema::AvroSchema;
use super::compatibility::parse;

/// How a file with an Avro schema ends.
const AVRO_EXTENSION: &str = "avsc";

/// What the properties begin with that tell Connect's types.
const CONNECT: &str = "\"connect.";

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenContract {
    pub(crate) file: PathBuf,
    pub(crate) schema: Schema,
    /// Full name of the record, of an Avro schema.
    pub(crate) record: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) trigger: Option<String>,
    pub(crate) documentation: Option<String>,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) fields: Vec<WrittenField>,
    /// The fields stand in an order that means something.
    pub(crate) is_ordered: bool,
    /// It says nothing of Connect's types, so that those are no part of it.
    is_plain: bool,
}

/// One field of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrittenField {
    pub(crate) name: String,
    /// The column's own name, where it is not the field's.
    column: Option<String>,
    pub(crate) is_nullable: bool,
    /// A whole number of 64 bits.
    pub(crate) is_long: bool,
    pub(crate) default: Option<Datum>,
    pub(crate) documentation: Option<String>,
    pub(crate) tags: BTreeSet<String>,
    /// Full name of an enum.
    pub(crate) type_name: Option<String>,
}

// === impl WrittenContract ===

impl WrittenContract {
    /// Reads a file's text.
    ///
    /// # Errors
    /// `contract_invalid` where it is no schema of a row.
    pub(crate) fn parse(file: PathBuf, text: &str) -> Result<Self> {
        let is_avro = file.extension().is_some_and(|extension| extension == AVRO_EXTENSION);
        let schema = Schema {
            schema_type: if is_avro { SchemaType::Avro } else { SchemaType::Json },
            text: text.into(),
            properties: std::collections::BTreeMap::new(),
            tags: std::collections::BTreeMap::new(),
        };
        let read = if is_avro { read_avro(text) } else { read_json(&schema) };
        let (root, fields) = read.map_err(|fault| invalid(&file, &fault))?;
        let documentation = if is_avro { "doc" } else { "description" };
        Ok(Self {
            record: is_avro.then(|| full_name(&root, "")),
            owner: text_of(&root, "owner"),
            trigger: text_of(&root, "trigger"),
            documentation: text_of(&root, documentation),
            tags: tags_of(&root),
            is_ordered: is_avro,
            is_plain: !text.contains(CONNECT),
            schema,
            fields,
            file,
        })
    }

    /// A schema of the same language, without what this one does not speak of.
    pub(crate) fn as_it_speaks(&self, text: String) -> Schema {
        let mut text = text;
        if self.is_plain
            && self.schema.schema_type == SchemaType::Json
            && let Ok(mut schema) = serde_json::from_str(&text)
        {
            forget_connect(&mut schema);
            text = schema.to_string();
        }
        Schema {
            text: text.into(),
            ..self.schema.clone()
        }
    }
}

/// Takes away what a JSON Schema says of Connect's types.
fn forget_connect(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|key, _| !key.starts_with("connect."));
            for (key, inner) in object {
                match (key.as_str(), inner) {
                    // Their names are free.
                    ("properties", Value::Object(properties)) => properties.values_mut().for_each(forget_connect),
                    (_, inner) => forget_connect(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forget_connect),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn invalid(file: &std::path::Path, fault: &str) -> Error {
    Error::definite(
        "contract_invalid",
        format!(
            "the contract {} cannot be used: {fault}; write an Avro record (`.avsc`) or a JSON Schema of an object",
            file.display()
        ),
    )
}

/// What is wrong is half a sentence.
type Read<T> = std::result::Result<T, String>;

fn read_avro(text: &str) -> Read<(Map<String, Value>, Vec<WrittenField>)> {
    AvroSchema::parse(text)?;
    let root = object(text)?;
    if root.get("type").and_then(Value::as_str) != Some("record") {
        return Err("it is no record".to_owned());
    }
    let record = full_name(&root, "");
    let namespace = record.rsplit_once('.').map_or("", |(namespace, _)| namespace);
    let fields = root.get("fields").and_then(Value::as_array);
    let fields = fields.into_iter().flatten().filter_map(Value::as_object);
    let fields = fields.map(|field| avro_field(field, namespace)).collect();
    Ok((root, fields))
}

fn avro_field(field: &Map<String, Value>, namespace: &str) -> WrittenField {
    let of = field.get("type").cloned().unwrap_or_default();
    let branches = match &of {
        Value::Array(branches) => branches.clone(),
        one => vec![one.clone()],
    };
    let is_null = |branch: &&Value| branch.as_str() == Some("null");
    let base = branches.iter().find(|branch| !is_null(branch)).cloned();
    let base = base.unwrap_or_default();
    let has_type = |name: &str| base.get("type").and_then(Value::as_str) == Some(name);
    let is_plain_long = has_type("long") && base.get("logicalType").is_none();
    let named = base.as_object().filter(|_| has_type("enum"));
    WrittenField {
        name: text_of(field, "name").unwrap_or_default(),
        column: text_of(field, "tailrace.name"),
        is_nullable: branches.iter().any(|branch| is_null(&branch)),
        is_long: base.as_str() == Some("long") || is_plain_long,
        default: field.get("default").and_then(datum),
        documentation: text_of(field, "doc"),
        tags: tags_of(field),
        type_name: named.map(|named| full_name(named, namespace)),
    }
}

fn read_json(schema: &Schema) -> Read<(Map<String, Value>, Vec<WrittenField>)> {
    parse(schema)?;
    let root = object(&schema.text)?;
    let Some(properties) = root.get("properties").and_then(Value::as_object) else {
        return Err("it has no `properties`".to_owned());
    };
    let fields = properties
        .iter()
        .filter_map(|(name, property)| Some((name, property.as_object()?)));
    let fields = fields.map(|(name, property)| json_field(name, property)).collect();
    Ok((root, fields))
}

fn json_field(name: &str, property: &Map<String, Value>) -> WrittenField {
    let is_null = |of: &Value| of.get("type").and_then(Value::as_str) == Some("null");
    let branches = property.get("oneOf").or_else(|| property.get("anyOf"));
    let mut branches = branches.and_then(Value::as_array).into_iter().flatten();
    let types = property.get("type").and_then(Value::as_array);
    let mut types = types.into_iter().flatten().filter_map(Value::as_str);
    WrittenField {
        name: name.to_owned(),
        column: None,
        is_nullable: branches.any(is_null) || types.any(|name| name == "null"),
        is_long: text_of(property, "connect.type").as_deref() == Some("int64"),
        default: property.get("default").and_then(datum),
        documentation: text_of(property, "description"),
        tags: tags_of(property),
        type_name: None,
    }
}

fn object(text: &str) -> Read<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(root)) => Ok(root),
        Ok(_) => Err("it is no object".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

/// The full name of a type that is defined here.
fn full_name(definition: &Map<String, Value>, around: &str) -> String {
    let name = text_of(definition, "name").unwrap_or_default();
    let namespace = text_of(definition, "namespace").unwrap_or_else(|| around.to_owned());
    if name.contains('.') || namespace.is_empty() {
        name
    } else {
        format!("{namespace}.{name}")
    }
}

fn text_of(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn tags_of(object: &Map<String, Value>) -> BTreeSet<String> {
    let lists = ["tags", "confluent:tags"].into_iter().filter_map(|key| object.get(key));
    let words = lists.filter_map(Value::as_array).flatten();
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A constant; what is made of parts has no default in a column.
fn datum(default: &Value) -> Option<Datum> {
    match default {
        Value::Bool(value) => Some(Datum::Boolean(*value)),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Some(Datum::Int(value)),
            None => number.as_f64().map(Datum::Float64),
        },
        Value::String(text) => Some(Datum::Text(text.clone())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

// === impl WrittenField ===

impl WrittenField {
    /// The name of the column that it is for.
    pub(crate) fn column(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }
}
