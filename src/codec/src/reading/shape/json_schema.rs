//! JSON Schemas, with what Confluent's converter (`connect.*`) notes in them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::connect::{parameters, text};
use super::{DEEPEST, Form, Parsed, Shape, default_of, meaning_of};
use crate::format::BinaryFormat;
use crate::json_schema::{BASE64, BASE64_URL_SAFE, HEXADECIMAL};
use crate::notation::Optionality;

/// The schema that a JSON text is.
pub(crate) fn json_schema_shape(json: &str) -> Parsed<Shape> {
    let value: Value = serde_json::from_str(json).map_err(|error| format!("it is not JSON: {error}"))?;
    shape(&value, DEEPEST)
}

fn shape(json: &Value, depth: u8) -> Parsed<Shape> {
    let depth = depth.checked_sub(1).ok_or("it is nested deeper than 32 levels")?;
    let Some(object) = json.as_object() else {
        return Ok(Shape::of(Form::Anything));
    };
    let branches = ["oneOf", "anyOf"].iter().find_map(|name| object.get(*name)?.as_array());
    if let Some(branches) = branches {
        return union(branches, depth);
    }
    let mut names: Vec<&str> = match object.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is_optional = names.contains(&"null");
    names.retain(|name| *name != "null");
    let mut shape = Shape::of(form(object, &names, depth)?);
    if is_optional {
        shape.optionality = Optionality::NullFirst;
    }
    shape.meaning = text(object, "title").and_then(meaning_of).or_else(|| format_of(object));
    shape.parameters = parameters(object.get("connect.parameters"));
    shape.default = default_of(object.get("default"));
    shape.documentation = text(object, "description").map(str::to_owned);
    Ok(shape)
}

/// Null and something else is something that may be null; any other choice may be anything.
fn union(branches: &[Value], depth: u8) -> Parsed<Shape> {
    let is_null = |branch: &&Value| branch.get("type").and_then(Value::as_str) == Some("null");
    let mut others = branches.iter().filter(|branch| !is_null(branch));
    let is_optional = branches.iter().any(|branch| is_null(&branch));
    let mut only = match (others.next(), others.next()) {
        (Some(only), None) => shape(only, depth)?,
        _ => Shape::of(Form::Anything),
    };
    if is_optional {
        only.optionality = Optionality::NullFirst;
    }
    Ok(only)
}

fn form(object: &Map<String, Value>, names: &[&str], depth: u8) -> Parsed<Form> {
    Ok(match (text(object, "connect.type"), names) {
        (Some("int8" | "int16"), _) => Form::Int { bits: 16 },
        (Some("int32"), _) => Form::Int { bits: 32 },
        (Some("int64"), _) => Form::Int { bits: 64 },
        (Some("float32"), _) => Form::Float,
        (Some("float64"), _) => Form::Double,
        (Some("bytes"), _) => Form::Bytes,
        (Some("map"), ["array"]) => pairs(object, depth)?,
        (_, ["boolean"]) => Form::Boolean,
        (_, ["integer"]) => Form::Int { bits: 64 },
        (_, ["number"]) => Form::Number,
        (_, ["string"]) => string(object),
        (_, ["array"]) => match object.get("items") {
            Some(items) => Form::List(Box::new(shape(items, depth)?)),
            None => Form::Anything,
        },
        (_, ["object"]) => structure(object, depth)?,
        _ => Form::Anything,
    })
}

fn string(object: &Map<String, Value>) -> Form {
    match text(object, "contentEncoding") {
        Some(BASE64) => return Form::Bytes,
        Some(BASE64_URL_SAFE) => return Form::Encoded(BinaryFormat::Base64UrlSafe),
        Some(HEXADECIMAL) => return Form::Encoded(BinaryFormat::Hex),
        _ => {}
    }
    match object.get("enum").and_then(Value::as_array) {
        Some(symbols) => {
            let symbols: Arc<[String]> = symbols.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            Form::Symbols(symbols)
        }
        None => Form::Text,
    }
}

fn pairs(object: &Map<String, Value>, depth: u8) -> Parsed<Form> {
    let pair = object.get("items").and_then(|pair| pair.get("items"));
    let mut parts = pair.and_then(Value::as_array).into_iter().flatten();
    match (parts.next(), parts.next()) {
        (Some(keys), Some(values)) => Ok(Form::Pairs(
            Box::new(shape(keys, depth)?),
            Box::new(shape(values, depth)?),
        )),
        _ => Ok(Form::Anything),
    }
}

fn structure(object: &Map<String, Value>, depth: u8) -> Parsed<Form> {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else {
        let values = object.get("additionalProperties").filter(|values| values.is_object());
        return Ok(match values {
            Some(values) => Form::Map(Box::new(shape(values, depth)?)),
            None if text(object, "connect.type").is_none() && object.get("title").is_some() => Form::Struct(Vec::new()),
            None => Form::Anything,
        });
    };
    // The order of an object's properties means nothing; Connect's is noted.
    let index = |property: &Value| property.get("connect.index").and_then(Value::as_u64);
    let mut ordered: Vec<_> = properties.iter().collect();
    ordered.sort_by_key(|(_, property)| index(property).unwrap_or(u64::MAX));
    let required: Vec<&str> = match object.get("required").and_then(Value::as_array) {
        Some(required) => required.iter().filter_map(Value::as_str).collect(),
        None => Vec::new(),
    };
    let field = |(name, property): (&String, &Value)| {
        let mut shape = shape(property, depth)?;
        if !required.contains(&name.as_str()) {
            shape.optionality = Optionality::NullFirst;
        }
        Ok((name.clone(), shape))
    };
    ordered.into_iter().map(field).collect::<Parsed<_>>().map(Form::Struct)
}

/// What JSON Schema's own formats mean.
fn format_of(object: &Map<String, Value>) -> Option<String> {
    let meaning = match text(object, "format")? {
        "date-time" => "zonedtimestamp",
        "date" => "isodate",
        "uuid" => "uuid",
        "duration" => "interval",
        _ => return None,
    };
    Some(meaning.to_owned())
}
