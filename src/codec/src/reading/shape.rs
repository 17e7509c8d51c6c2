//! What a schema says of a value, in whichever language it is written: Kafka Connect's JSON, Avro, JSON Schema.

mod avro;
mod connect;
mod json_schema;

use std::sync::Arc;

use serde_json::Value;
use tailrace_core::value::TextKind;

pub(crate) use avro::avro_shape;
pub(crate) use connect::connect_shape;
pub(crate) use json_schema::json_schema_shape;

use crate::format::BinaryFormat;
use crate::notation::Optionality;

/// How deep schemas may be nested; Debezium's are four levels deep.
const DEEPEST: u8 = 32;

/// What names of Connect's logical types begin with.
const SEMANTIC: [&str; 2] = ["io.debezium.", "org.apache.kafka.connect.data."];

/// What is wrong with a schema: half a sentence.
pub(crate) type Parsed<T> = Result<T, String>;

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) form: Form,
    pub(crate) optionality: Optionality,
    /// What it means beyond its form: the last part of Debezium's or Connect's name in lower case, or Avro's logical type.
    pub(crate) meaning: Option<String>,
    pub(crate) parameters: Vec<(String, String)>,
    /// The default value, as JSON text that has values as Connect's converter writes them.
    pub(crate) default: Option<Box<str>>,
    pub(crate) documentation: Option<String>,
}

/// How values are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Null,
    Boolean,
    Int {
        bits: u8,
    },
    Float,
    Double,
    /// Of JSON, with as many digits as somebody wrote.
    Number,
    Text,
    Symbols(Arc<[String]>),
    Bytes,
    /// Bytes as text.
    Encoded(BinaryFormat),
    Fixed(usize),
    List(Box<Shape>),
    /// Keys are text.
    Map(Box<Shape>),
    /// A map whose keys are something else.
    Pairs(Box<Shape>, Box<Shape>),
    Struct(Vec<(String, Shape)>),
    /// One of several, of which at most one is null.
    Union(Vec<Shape>),
    /// Whatever stands there.
    Anything,
}

// === impl Shape ===

impl Shape {
    /// A schema that only says how values are written.
    pub(crate) fn of(form: Form) -> Self {
        Self {
            form,
            optionality: Optionality::Required,
            meaning: None,
            parameters: Vec::new(),
            default: None,
            documentation: None,
        }
    }

    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.parameter(name)?.parse().ok()
    }

    /// Whether null may stand there.
    pub(crate) fn may_be_null(&self) -> bool {
        let is_null = match &self.form {
            Form::Null => true,
            Form::Union(branches) => branches.iter().any(Self::may_be_null),
            _ => false,
        };
        is_null || self.optionality != Optionality::Required
    }

    /// The fields of a struct.
    pub(crate) fn fields(&self) -> Option<&[(String, Shape)]> {
        match &self.form {
            Form::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Shape> {
        let found = self.fields()?.iter().find(|(known, _)| known == name);
        found.map(|(_, shape)| shape)
    }
}

/// The default that a schema says, as text; null says nothing.
fn default_of(json: Option<&Value>) -> Option<Box<str>> {
    let default = json.filter(|default| !default.is_null())?;
    Some(default.to_string().into())
}

/// What a name means, where it is the name of a logical type.
pub(crate) fn meaning_of(name: &str) -> Option<String> {
    let last = name.rsplit('.').next()?;
    let is_semantic = SEMANTIC.iter().any(|prefix| name.starts_with(prefix));
    is_semantic.then(|| last.to_lowercase())
}

/// The kind of text that a meaning stands for.
pub(crate) fn text_kind(shape: &Shape) -> TextKind {
    let allowed = || symbols(shape.parameter("allowed").unwrap_or_default());
    match shape.meaning.as_deref() {
        Some("json") => TextKind::Json,
        Some("xml") => TextKind::Xml,
        Some("uuid") => TextKind::Uuid,
        Some("ltree") => TextKind::Ltree,
        Some("tsvector") => TextKind::TsVector,
        Some("enum") => TextKind::Enum(allowed()),
        Some("enumset") => TextKind::Set(allowed()),
        _ => TextKind::Plain,
    }
}

/// Symbols as Debezium lists them: joined by commas. Those of MySQL and MariaDB are escaped, those of PostgreSQL are not, so that a
/// symbol of PostgreSQL with a comma in it becomes two.
fn symbols(list: &str) -> Arc<[String]> {
    let mut symbols = vec![String::new()];
    let mut rest = list.chars().peekable();
    while let Some(character) = rest.next() {
        let escaped = match character {
            '\\' => rest.next_if(|next| matches!(next, ',' | '\\')),
            _ => None,
        };
        match (escaped, character) {
            (None, ',') => symbols.push(String::new()),
            (escaped, character) => {
                if let Some(symbol) = symbols.last_mut() {
                    symbol.push(escaped.unwrap_or(character));
                }
            }
        }
    }
    symbols.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_separated_by_commas_that_are_not_escaped() {
        assert_eq!(*symbols("a,b"), ["a", "b"]);
        assert_eq!(*symbols(r"a\,b,c\\d,e\f"), ["a,b", r"c\d", r"e\f"]);
        assert_eq!(*symbols(""), [""]);
    }

    #[test]
    fn only_names_of_logical_types_mean_anything() {
        assert_eq!(
            meaning_of("io.debezium.time.MicroTimestamp").as_deref(),
            Some("microtimestamp")
        );
        assert_eq!(
            meaning_of("org.apache.kafka.connect.data.Decimal").as_deref(),
            Some("decimal")
        );
        assert_eq!(meaning_of("srv.public.date"), None);
    }
}
