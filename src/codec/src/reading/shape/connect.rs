//! Kafka Connect's schemas as its JSON converter writes them beside each payload.

use serde_json::{Map, Value};

use super::{DEEPEST, Form, Parsed, Shape, default_of, meaning_of};
use crate::notation::Optionality;

/// The schema that a JSON value is.
pub(crate) fn connect_shape(json: &Value) -> Parsed<Shape> {
    shape(json, DEEPEST)
}

fn shape(json: &Value, depth: u8) -> Parsed<Shape> {
    let depth = depth.checked_sub(1).ok_or("it is nested deeper than 32 levels")?;
    let object = json.as_object().ok_or("it is no object")?;
    let kind = text(object, "type").ok_or("it has no `type`")?;
    let form = match kind {
        "boolean" => Form::Boolean,
        "int8" | "int16" => Form::Int { bits: 16 },
        "int32" => Form::Int { bits: 32 },
        "int64" => Form::Int { bits: 64 },
        "float" | "float32" => Form::Float,
        "double" | "float64" => Form::Double,
        "string" => Form::Text,
        "bytes" => Form::Bytes,
        "array" => Form::List(part(object, "items", depth)?),
        "map" => map(object, depth)?,
        "struct" => Form::Struct(fields(object, depth)?),
        other => return Err(format!("it has the unknown type `{other}`")),
    };
    let is_optional = object.get("optional").and_then(Value::as_bool).unwrap_or_default();
    Ok(Shape {
        form,
        optionality: if is_optional {
            Optionality::NullFirst
        } else {
            Optionality::Required
        },
        meaning: text(object, "name").and_then(meaning_of),
        parameters: parameters(object.get("parameters")),
        default: default_of(object.get("default")),
        documentation: text(object, "doc").map(str::to_owned),
    })
}

fn map(object: &Map<String, Value>, depth: u8) -> Parsed<Form> {
    let (keys, values) = (part(object, "keys", depth)?, part(object, "values", depth)?);
    // The converter writes an object only where every key is text.
    let is_text = keys.form == Form::Text && keys.optionality == Optionality::Required;
    Ok(if is_text {
        Form::Map(values)
    } else {
        Form::Pairs(keys, values)
    })
}

fn part(object: &Map<String, Value>, name: &str, depth: u8) -> Parsed<Box<Shape>> {
    let part = object.get(name).ok_or_else(|| format!("a type has no `{name}`"))?;
    shape(part, depth).map(Box::new)
}

fn fields(object: &Map<String, Value>, depth: u8) -> Parsed<Vec<(String, Shape)>> {
    let fields = object.get("fields").and_then(Value::as_array);
    let fields = fields.ok_or("a struct has no `fields`")?.iter();
    let named = fields.map(|field| {
        let name = field.get("field").and_then(Value::as_str);
        let name = name.ok_or("a field of a struct has no `field`, which is its name")?;
        Ok((name.to_owned(), shape(field, depth)?))
    });
    named.collect()
}

/// Names and values of an object: text, and numbers as they stand.
pub(super) fn parameters(json: Option<&Value>) -> Vec<(String, String)> {
    let object = json.and_then(Value::as_object);
    let entries = object.into_iter().flatten();
    let texts = entries.filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((name.clone(), text))
    });
    texts.collect()
}

pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}
