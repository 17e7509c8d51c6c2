//! What a payload must look like: the part of JSON Schema that a database can check by itself.
//!
//! Read here are `type`, `required`, `properties`, `additionalProperties: false`, `items`, `enum`, `minimum`, `maximum`, `minLength`,
//! `maxLength`, `pattern`, and what only describes. Anything else in a file is refused with its place: a rule that is not checked
//! would be a promise that nobody keeps.

mod check;

use regex::Regex;
use serde_json::{Map, Number, Value};
use tailrace_core::{Error, Result};

/// Words that describe and demand nothing.
const DESCRIPTIONS: [&str; 8] = [
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "examples",
    "default",
    "deprecated",
];

/// A contract, read.
#[derive(Debug, Clone)]
pub struct Contract {
    pub(crate) root: Node,
}

/// What one value must be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// One of these; any where there are none.
    pub(crate) types: Vec<JsonType>,
    /// One of these; anything without it.
    pub(crate) choices: Option<Vec<Choice>>,
    pub(crate) minimum: Option<Number>,
    pub(crate) maximum: Option<Number>,
    pub(crate) minimum_length: Option<u64>,
    pub(crate) maximum_length: Option<u64>,
    pub(crate) pattern: Option<Regex>,
    /// Fields that must be there.
    pub(crate) required: Vec<String>,
    /// Fields that must be something, where they are there.
    pub(crate) properties: Vec<(String, Node)>,
    /// No other fields may be there.
    pub(crate) closed: bool,
    /// What every element must be.
    pub(crate) items: Option<Box<Node>>,
}

/// A type of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonType {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// A value that is allowed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Choice {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
}

/// A part of the file, and where it is.
#[derive(Clone, Copy)]
struct Reader<'a> {
    place: &'a str,
}

// === impl Contract ===

impl Contract {
    /// Reads a contract.
    ///
    /// # Errors
    /// `contract_invalid` where it is no JSON, or demands what cannot be checked; the sentence names the place.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let schema = serde_json::from_slice(json).map_err(|error| {
            Error::definite("contract_invalid", "the contract is not JSON; correct the file").with_source(error)
        })?;
        let root = Reader { place: "#" }.node(&schema)?;
        Ok(Self { root })
    }
}

// === impl JsonType ===

impl JsonType {
    const ALL: [(&'static str, Self); 7] = [
        ("null", Self::Null),
        ("boolean", Self::Boolean),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("string", Self::String),
        ("array", Self::Array),
        ("object", Self::Object),
    ];

    /// With its article, for people.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "true or false",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

// === impl Choice ===

impl std::fmt::Display for Choice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::Number(value) => write!(formatter, "{value}"),
            Self::Text(value) => formatter.write_str(value),
        }
    }
}

// === impl Node ===

impl Node {
    /// What is said of a value of another type.
    pub(crate) fn type_problem(&self) -> String {
        let names: Vec<_> = self.types.iter().map(|kind| kind.described()).collect();
        format!("must be {}", names.join(" or "))
    }

    /// What is said of a value that is none of the choices.
    pub(crate) fn choice_problem(choices: &[Choice]) -> String {
        let names: Vec<_> = choices.iter().map(ToString::to_string).collect();
        format!("must be one of {}", names.join(", "))
    }

    /// What is said of each bound that is not kept: of numbers, and of the length of text.
    pub(crate) fn bound_problem(bound: &str, limit: &dyn std::fmt::Display) -> String {
        match bound {
            "minimum" => format!("must be at least {limit}"),
            "maximum" => format!("must be at most {limit}"),
            "minLength" => format!("must have at least {limit} characters"),
            _ => format!("must have at most {limit} characters"),
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn refuse(self, key: &str, problem: &str) -> Error {
        let place = self.place;
        Error::definite(
            "contract_invalid",
            format!("the contract at {place}/{key} {problem}; leave it out, or write what can be checked in its place"),
        )
    }

    fn node(self, schema: &Value) -> Result<Node> {
        let mut node = Node::default();
        match schema {
            Value::Bool(true) => Ok(node),
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.keyword(&mut node, key, value)?;
                }
                self.refuse_contradictions(&node, fields)?;
                Ok(node)
            }
            _ => Err(self.refuse("", "is not an object")),
        }
    }

    fn refuse_contradictions(self, node: &Node, fields: &Map<String, Value>) -> Result<()> {
        let known = |name: &String| node.properties.iter().any(|(known, _)| known == name);
        match node.required.iter().find(|name| node.closed && !known(name)) {
            Some(name) => Err(self.refuse("required", &format!("demands `{name}`, which no other fields allow"))),
            None if fields.is_empty() && self.place == "#" => Err(self.refuse("", "demands nothing")),
            None => Ok(()),
        }
    }

    fn keyword(self, node: &mut Node, key: &str, value: &Value) -> Result<()> {
        match key {
            "type" => node.types = self.types(value)?,
            "enum" => node.choices = Some(self.choices(value)?),
            "const" => node.choices = Some(vec![self.choice("const", value)?]),
            "minimum" => node.minimum = Some(self.number(key, value)?),
            "maximum" => node.maximum = Some(self.number(key, value)?),
            "minLength" => node.minimum_length = Some(self.length(key, value)?),
            "maxLength" => node.maximum_length = Some(self.length(key, value)?),
            "pattern" => node.pattern = Some(self.pattern(value)?),
            "required" => node.required = self.names(key, value)?,
            "properties" => node.properties = self.properties(value)?,
            "additionalProperties" => {
                let open = value.as_bool();
                node.closed = !open.ok_or_else(|| self.refuse(key, "is neither true nor false"))?;
            }
            "items" => {
                let place = format!("{}/items", self.place);
                node.items = Some(Box::new(Reader { place: &place }.node(value)?));
            }
            described if DESCRIPTIONS.contains(&described) => {}
            other => return Err(self.refuse(other, "is a rule that a database cannot check")),
        }
        Ok(())
    }

    fn types(self, value: &Value) -> Result<Vec<JsonType>> {
        let names = match value {
            Value::String(name) => vec![name.clone()],
            _ => self.names("type", value)?,
        };
        let find = |name: String| {
            let found = JsonType::ALL.iter().find(|(known, _)| *known == name);
            found
                .map(|(_, kind)| *kind)
                .ok_or_else(|| self.refuse("type", &format!("names `{name}`, which is no type of JSON")))
        };
        names.into_iter().map(find).collect()
    }

    fn choices(self, value: &Value) -> Result<Vec<Choice>> {
        let values = value.as_array().filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| self.refuse("enum", "is not a list of values"))?;
        values.iter().map(|value| self.choice("enum", value)).collect()
    }

    fn choice(self, key: &str, value: &Value) -> Result<Choice> {
        Ok(match value {
            Value::Null => Choice::Null,
            Value::Bool(value) => Choice::Boolean(*value),
            Value::Number(value) => Choice::Number(value.clone()),
            Value::String(value) => Choice::Text(value.clone()),
            Value::Array(_) | Value::Object(_) => return Err(self.refuse(key, "holds an array or an object")),
        })
    }

    fn number(self, key: &str, value: &Value) -> Result<Number> {
        let number = value.as_number().cloned();
        number.ok_or_else(|| self.refuse(key, "is not a number"))
    }

    fn length(self, key: &str, value: &Value) -> Result<u64> {
        value
            .as_u64()
            .ok_or_else(|| self.refuse(key, "is not a whole number from 0"))
    }

    fn pattern(self, value: &Value) -> Result<Regex> {
        let text = value.as_str();
        let text = text.ok_or_else(|| self.refuse("pattern", "is not a string"))?;
        Regex::new(text).map_err(|error| self.refuse("pattern", "is no regular expression").with_source(error))
    }

    fn names(self, key: &str, value: &Value) -> Result<Vec<String>> {
        let names = value.as_array().into_iter().flatten();
        let names: Option<Vec<_>> = names.map(|name| name.as_str().map(str::to_owned)).collect();
        let names = names.filter(|_| value.is_array());
        names.ok_or_else(|| self.refuse(key, "is not a list of names"))
    }

    fn properties(self, value: &Value) -> Result<Vec<(String, Node)>> {
        let fields = value.as_object();
        let fields = fields.ok_or_else(|| self.refuse("properties", "is not an object"))?;
        let read = |(name, schema): (&String, &Value)| {
            let place = format!("{}/properties/{name}", self.place);
            Ok((name.clone(), Reader { place: &place }.node(schema)?))
        };
        fields.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests;
