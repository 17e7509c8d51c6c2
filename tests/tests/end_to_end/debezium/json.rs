//! JSON as the very bytes that were published: names in their order, numbers and strings as they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// In place of what only one side has.
const MISSING: &str = "missing";

/// The fields of an object in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

struct FieldsVisitor;

/// Named parts of an object or a list.
type Parts<'a> = Vec<(String, &'a str)>;

impl<'a> Visitor<'a> for FieldsVisitor {
    type Value = Fields<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'a>, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Calls back with the path of everything that is not byte for byte the same, as deep as both sides have parts.
///
/// An element of a list is named by its `field`, as in Connect's schemas, or by its `name`, as in Avro's, else by its number.
pub(super) fn differences(path: &str, one: &str, other: &str, found: &mut impl FnMut(&str, &str, &str)) {
    if one == other {
        return;
    }
    let (Some(ones), Some(others)) = (parts_of(one, other), parts_of(other, one)) else {
        found(path, one, other);
        return;
    };
    for (name, part) in &ones {
        let path = format!("{path}.{name}");
        match part_of(&others, name) {
            Some(other) => differences(&path, part, other, found),
            None => found(&path, part, MISSING),
        }
    }
    for (name, part) in others.iter().filter(|(name, _)| part_of(&ones, name).is_none()) {
        found(&format!("{path}.{name}"), MISSING, part);
    }
    let order = |parts: &Parts<'_>, others: &Parts<'_>| {
        let common = parts.iter().filter(|(name, _)| part_of(others, name).is_some());
        common.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
    };
    let (order, other_order) = (order(&ones, &others), order(&others, &ones));
    if order != other_order {
        found(&format!("{path}.order"), &order, &other_order);
    }
}

/// The value of a field of an object.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let Fields(fields) = serde_json::from_str(text).ok()?;
    let found = fields.into_iter().find(|(field, _)| field == name);
    found.map(|(_, value)| value.get())
}

fn part_of<'a>(parts: &Parts<'a>, name: &str) -> Option<&'a str> {
    let found = parts.iter().find(|(other, _)| other == name);
    found.map(|(_, part)| *part)
}

/// The parts of an object or a list, where the other side is one as well.
fn parts_of<'a>(text: &'a str, other: &str) -> Option<Parts<'a>> {
    if text.starts_with('{') && other.starts_with('{') {
        let Fields(fields) = serde_json::from_str(text).ok()?;
        let fields = fields.into_iter().map(|(name, value)| (name, value.get()));
        return Some(fields.collect());
    }
    if !text.starts_with('[') || !other.starts_with('[') {
        return None;
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let named = elements.into_iter().enumerate().map(|(index, element)| {
        let name = field(element.get(), "field").or_else(|| field(element.get(), "name"));
        let name = name.and_then(|name| serde_json::from_str(name).ok());
        (name.unwrap_or_else(|| index.to_string()), element.get())
    });
    Some(named.collect())
}
