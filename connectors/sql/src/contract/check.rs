//! Whether a payload keeps its contract, on the way; the same rules and words as in the database's trigger.

use std::fmt;

use serde_json::{Number, Value};

use super::{Choice, Contract, JsonType, Node};

/// How messages call the value itself.
pub(crate) const ROOT: &str = "payload";

/// The first rule that a payload breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    path: String,
    problem: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.problem)
    }
}

// === impl Contract ===

impl Contract {
    /// Checks a payload.
    ///
    /// # Errors
    /// The first rule that it breaks, with the path of the field.
    pub fn check_text(&self, payload: &[u8]) -> Result<(), Broken> {
        let value: Value = serde_json::from_slice(payload).map_err(|_| broken(ROOT, "is not JSON"))?;
        check(&self.root, &value, ROOT)
    }
}

fn broken(path: &str, problem: impl Into<String>) -> Broken {
    Broken {
        path: path.to_owned(),
        problem: problem.into(),
    }
}

fn check(node: &Node, value: &Value, path: &str) -> Result<(), Broken> {
    if !node.types.is_empty() && !node.types.iter().any(|kind| is_of(value, *kind)) {
        return Err(broken(path, node.type_problem()));
    }
    if let Some(choices) = &node.choices
        && !choices.iter().any(|choice| is_choice(value, choice))
    {
        return Err(broken(path, Node::choice_problem(choices)));
    }
    match value {
        Value::Number(number) => check_number(node, number, path),
        Value::String(text) => check_text(node, text, path),
        Value::Object(fields) => check_object(node, fields, path),
        Value::Array(elements) => elements.iter().enumerate().try_for_each(|(index, element)| {
            let items = node.items.as_ref();
            items.map_or(Ok(()), |items| check(items, element, &format!("{path}[{index}]")))
        }),
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn check_number(node: &Node, number: &Number, path: &str) -> Result<(), Broken> {
    if let Some(minimum) = &node.minimum
        && is_less(number, minimum)
    {
        return Err(broken(path, Node::bound_problem("minimum", minimum)));
    }
    match &node.maximum {
        Some(maximum) if is_less(maximum, number) => Err(broken(path, Node::bound_problem("maximum", maximum))),
        _ => Ok(()),
    }
}

fn check_text(node: &Node, text: &str, path: &str) -> Result<(), Broken> {
    let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    if let Some(minimum) = node.minimum_length.filter(|minimum| length < *minimum) {
        return Err(broken(path, Node::bound_problem("minLength", &minimum)));
    }
    if let Some(maximum) = node.maximum_length.filter(|maximum| length > *maximum) {
        return Err(broken(path, Node::bound_problem("maxLength", &maximum)));
    }
    match &node.pattern {
        Some(pattern) if !pattern.is_match(text) => Err(broken(path, format!("must match {pattern}"))),
        _ => Ok(()),
    }
}

fn check_object(node: &Node, fields: &serde_json::Map<String, Value>, path: &str) -> Result<(), Broken> {
    if let Some(name) = node.required.iter().find(|name| !fields.contains_key(*name)) {
        return Err(broken(&format!("{path}.{name}"), "is missing"));
    }
    let known = |name: &String| node.properties.iter().any(|(known, _)| known == name);
    if let Some(name) = fields.keys().find(|name| node.closed && !known(name)) {
        return Err(broken(&format!("{path}.{name}"), "is not allowed"));
    }
    for (name, node) in &node.properties {
        if let Some(value) = fields.get(name) {
            check(node, value, &format!("{path}.{name}"))?;
        }
    }
    Ok(())
}

fn is_of(value: &Value, kind: JsonType) -> bool {
    match kind {
        JsonType::Null => value.is_null(),
        JsonType::Boolean => value.is_boolean(),
        JsonType::Integer => {
            let fraction = value.as_f64().map(f64::fract);
            value.is_i64() || value.is_u64() || fraction == Some(0.0)
        }
        JsonType::Number => value.is_number(),
        JsonType::String => value.is_string(),
        JsonType::Array => value.is_array(),
        JsonType::Object => value.is_object(),
    }
}

fn is_choice(value: &Value, choice: &Choice) -> bool {
    match (value, choice) {
        (Value::Null, Choice::Null) => true,
        (Value::Bool(value), Choice::Boolean(choice)) => value == choice,
        (Value::String(value), Choice::Text(choice)) => value == choice,
        (Value::Number(value), Choice::Number(choice)) => !is_less(value, choice) && !is_less(choice, value),
        _ => false,
    }
}

/// Whole numbers exactly, others as JSON's readers have them.
fn is_less(one: &Number, other: &Number) -> bool {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one < other,
        _ => one.as_f64() < other.as_f64(),
    }
}
