//! Avro schemas, with what Confluent's converter (`connect.*`) and Tailrace (`tailrace.*`) note in them.
//!
//! A field's own name stands beside it wherever Avro does not allow it (`tailrace.name`): a field without is called what it is called,
//! however much that looks like a mangled name.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::connect::{parameters, text};
use super::{DEEPEST, Form, Parsed, Shape, default_of, meaning_of};
use crate::notation::Optionality;

/// Confluent's converter writes a map whose keys are not text as a list of such records.
const MAP_ENTRY: &str = "MapEntry";

/// Reads one schema.
struct Parser {
    /// Types by their full names; those that are being read are not there yet.
    named: BTreeMap<String, Shape>,
    /// The full names of records that are entries of maps.
    entries: BTreeSet<String>,
    /// What is read must not be larger than this: a name may be used any number of times.
    room: usize,
}

/// How many types a schema may have, counted at each use.
const MOST_TYPES: usize = 50_000;

/// The schema that a JSON text is.
pub(crate) fn avro_shape(json: &str) -> Parsed<Shape> {
    let value: Value = serde_json::from_str(json).map_err(|error| format!("it is not JSON: {error}"))?;
    let mut parser = Parser {
        named: BTreeMap::new(),
        entries: BTreeSet::new(),
        room: MOST_TYPES,
    };
    parser.read(&value, "", DEEPEST)
}

// === impl Parser ===

impl Parser {
    fn read(&mut self, json: &Value, namespace: &str, depth: u8) -> Parsed<Shape> {
        let depth = depth.checked_sub(1).ok_or("it is nested deeper than 32 levels")?;
        self.room = self.room.checked_sub(1).ok_or("it has too many types")?;
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => self.union(branches, namespace, depth),
            Value::Object(object) => self.object(object, namespace, depth),
            _ => Err("a type is neither a name nor a list nor an object".to_owned()),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Parsed<Shape> {
        if let Some(form) = primitive(name) {
            return Ok(Shape::of(form));
        }
        let full = full_name(name, namespace);
        let known = self.named.get(&full).or_else(|| self.named.get(name));
        let known =
            known.ok_or_else(|| format!("`{full}` is not defined before it is used, or is used within itself"))?;
        self.room = self.room.checked_sub(size(known)).ok_or("it has too many types")?;
        Ok(known.clone())
    }

    fn union(&mut self, branches: &[Value], namespace: &str, depth: u8) -> Parsed<Shape> {
        let mut shapes = Vec::new();
        for branch in branches {
            shapes.push(self.read(branch, namespace, depth)?);
        }
        let is_plain = |shape: &Shape| shape.optionality == Optionality::Required && shape.form != Form::Null;
        let shape = match shapes.as_slice() {
            [null, other] if null.form == Form::Null && is_plain(other) => Shape {
                optionality: Optionality::NullFirst,
                ..other.clone()
            },
            [other, null] if null.form == Form::Null && is_plain(other) => Shape {
                optionality: Optionality::NullLast,
                ..other.clone()
            },
            _ => Shape::of(Form::Union(shapes)),
        };
        Ok(shape)
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: u8) -> Parsed<Shape> {
        let Some(kind) = text(object, "type") else {
            // A type around a type says nothing by itself.
            let inner = object.get("type").ok_or("a type has no `type`")?;
            return self.read(inner, namespace, depth);
        };
        let mut shape = match kind {
            "record" | "error" | "enum" | "fixed" => return self.definition(object, (kind, namespace), depth),
            "array" => {
                let items = object.get("items").ok_or("an array has no `items`")?;
                let shape = self.read(items, namespace, depth)?;
                list(shape, self.is_map_entry(items, namespace))
            }
            "map" => {
                let values = object.get("values").ok_or("a map has no `values`")?;
                Shape::of(Form::Map(Box::new(self.read(values, namespace, depth)?)))
            }
            name => self.named(name, namespace)?,
        };
        describe(&mut shape, object, None);
        Ok(shape)
    }

    fn definition(&mut self, object: &Map<String, Value>, (kind, around): (&str, &str), depth: u8) -> Parsed<Shape> {
        let name = text(object, "name").ok_or("a type that must have a name has none")?;
        let around = text(object, "namespace").unwrap_or(around);
        let full = full_name(name, around);
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let form = match kind {
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array);
                let symbols = symbols.ok_or("an enum has no `symbols`")?.iter();
                Form::Symbols(symbols.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                Form::Fixed(
                    size.and_then(|size| usize::try_from(size).ok())
                        .ok_or("a fixed has no `size`")?,
                )
            }
            _ => Form::Struct(self.fields(object, namespace, depth)?),
        };
        if text(object, "connect.internal.type") == Some(MAP_ENTRY) || full.rsplit('.').next() == Some(MAP_ENTRY) {
            self.entries.insert(full.clone());
        }
        let mut shape = Shape::of(form);
        describe(&mut shape, object, Some(&full));
        self.named.insert(full, shape.clone());
        Ok(shape)
    }

    /// Whether the elements of a list are entries of a map, which may be called by their name alone.
    fn is_map_entry(&self, items: &Value, namespace: &str) -> bool {
        let (name, around) = match items {
            Value::Object(object) => (text(object, "name"), text(object, "namespace").unwrap_or(namespace)),
            other => (other.as_str(), namespace),
        };
        name.is_some_and(|name| self.entries.contains(&full_name(name, around)) || self.entries.contains(name))
    }

    fn fields(&mut self, object: &Map<String, Value>, namespace: &str, depth: u8) -> Parsed<Vec<(String, Shape)>> {
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or("a record has no `fields`")?;
        let mut named = Vec::new();
        for field in fields {
            let field = field.as_object().ok_or("a field is no object")?;
            let name = text(field, "name").ok_or("a field has no `name`")?;
            let of = field
                .get("type")
                .ok_or_else(|| format!("the field `{name}` has no `type`"))?;
            let mut shape = self.read(of, namespace, depth)?;
            if let Some(documentation) = text(field, "doc") {
                shape.documentation = Some(documentation.to_owned());
            }
            if let Some(default) = default_in(&shape.form, field.get("default")) {
                shape.default = Some(default);
            }
            let own = text(field, "tailrace.name").unwrap_or(name);
            named.push((own.to_owned(), shape));
        }
        Ok(named)
    }
}

fn primitive(name: &str) -> Option<Form> {
    Some(match name {
        "null" => Form::Null,
        "boolean" => Form::Boolean,
        "int" => Form::Int { bits: 32 },
        "long" => Form::Int { bits: 64 },
        "float" => Form::Float,
        "double" => Form::Double,
        "bytes" => Form::Bytes,
        "string" => Form::Text,
        _ => return None,
    })
}

/// A list, or the map that Confluent's converter makes a list of.
fn list(items: Shape, is_entry: bool) -> Shape {
    match (items.field("key"), items.field("value")) {
        (Some(keys), Some(values)) if is_entry => {
            Shape::of(Form::Pairs(Box::new(keys.clone()), Box::new(values.clone())))
        }
        _ => Shape::of(Form::List(Box::new(items))),
    }
}

/// What is noted of a type beside its form.
fn describe(shape: &mut Shape, object: &Map<String, Value>, full_name: Option<&str>) {
    let connect = text(object, "connect.name").or(full_name).and_then(meaning_of);
    let own = || text(object, "tailrace.type").map(str::to_owned);
    let logical = || text(object, "logicalType").map(str::to_owned);
    if let Some(meaning) = connect.or_else(own).or_else(logical) {
        shape.meaning = Some(meaning);
    }
    if text(object, "connect.type").is_some_and(|kind| matches!(kind, "int8" | "int16"))
        || shape.meaning.as_deref() == Some("int16")
    {
        shape.form = Form::Int { bits: 16 };
    }
    let noted = object.get("connect.parameters");
    shape.parameters.extend(parameters(noted));
    let number = |name: &str| object.get(name).and_then(Value::as_u64);
    if shape.meaning.as_deref() == Some("decimal") && shape.parameter("scale").is_none() {
        // Avro's own decimals need not say one. Those of Connect may be below zero.
        let scale = object.get("scale").map_or_else(|| "0".to_owned(), Value::to_string);
        shape.parameters.push(("scale".to_owned(), scale));
    }
    // Confluent's converter declares 64 digits where nobody has declared any.
    if let Some(precision) = number("precision").filter(|_| text(object, "connect.name").is_none()) {
        shape
            .parameters
            .push(("connect.decimal.precision".to_owned(), precision.to_string()));
    }
    if let Some(allowed) = text(object, "tailrace.allowed") {
        shape.parameters.push(("allowed".to_owned(), allowed.to_owned()));
    }
    shape.default = default_in(&shape.form, object.get("connect.default"));
    for name in ["connect.doc", "doc"] {
        if let Some(documentation) = text(object, name) {
            shape.documentation = Some(documentation.to_owned());
        }
    }
}

/// A default as Connect has it: in Avro's, bytes are text with a character for each byte.
fn default_in(form: &Form, json: Option<&Value>) -> Option<Box<str>> {
    match (form, json) {
        (Form::Bytes | Form::Fixed(_), Some(Value::String(characters))) => {
            let bytes = characters.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
            default_of(Some(&STANDARD.encode(bytes.ok()?).into()))
        }
        (_, json) => default_of(json),
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// How many types are in a type.
fn size(shape: &Shape) -> usize {
    let of_parts = match &shape.form {
        Form::List(items) => size(items),
        Form::Map(values) => size(values),
        Form::Pairs(keys, values) => size(keys) + size(values),
        Form::Struct(fields) => fields.iter().map(|(_, field)| size(field)).sum(),
        Form::Union(branches) => branches.iter().map(size).sum(),
        _ => 0,
    };
    of_parts + 1
}
