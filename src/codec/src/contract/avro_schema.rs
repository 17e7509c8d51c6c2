//! An Avro schema as far as reading depends on it: names, aliases, types, defaults, logical types.
//!
//! Parsed from the JSON text itself, so that nothing is lost that the specification gives a meaning to. Source:
//! <https://avro.apache.org/docs/1.12.0/specification/>.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

/// A schema whose names all lead somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AvroSchema {
    pub(crate) root: Type,
    definitions: BTreeMap<String, Definition>,
}

/// A type, with what its bytes mean beyond their form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Type {
    pub(crate) form: Form,
    pub(crate) logical: Option<Logical>,
}

/// How values are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// The whole name of a definition, which there is.
    Named(String),
}

/// What bytes mean beyond their form: `logicalType`, or Connect's name of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Logical {
    Decimal { precision: u64, scale: u64 },
    Other(String),
}

/// A type with a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    /// Whole names that it also goes by.
    pub(crate) aliases: Vec<String>,
    pub(crate) body: Body,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Record(Vec<Field>),
    Enum {
        symbols: Vec<String>,
        default: Option<String>,
    },
    Fixed {
        size: u64,
        logical: Option<Logical>,
    },
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) of: Type,
    pub(crate) default: Option<Value>,
}

/// Reads one schema.
#[derive(Default)]
struct Parser {
    definitions: BTreeMap<String, Definition>,
    /// Names whose definition is being read: they may be used in it.
    open: BTreeSet<String>,
}

/// Half a sentence: what is wrong.
type Parsed<T> = Result<T, String>;

// === impl AvroSchema ===

impl AvroSchema {
    /// From JSON text. The error is half a sentence that says what is wrong and where.
    pub(crate) fn parse(text: &str) -> Parsed<Self> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let mut parser = Parser::default();
        let root = parser.read(&value, "")?;
        Ok(Self {
            root,
            definitions: parser.definitions,
        })
    }

    /// What a name stands for.
    pub(crate) fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// The logical type of a type; that of a fixed stands in its definition.
    pub(crate) fn logical<'a>(&'a self, of: &'a Type) -> Option<&'a Logical> {
        match &of.form {
            Form::Named(name) => match self.definition(name).map(|definition| &definition.body) {
                Some(Body::Fixed { logical, .. }) => logical.as_ref(),
                Some(Body::Record(_) | Body::Enum { .. }) | None => None,
            },
            _ => of.logical.as_ref(),
        }
    }

    /// Whether both write every value in the same bytes under the same names: what Avro's parsing canonical form compares.
    pub(crate) fn has_form_of(&self, other: &Self) -> bool {
        let mut seen = BTreeSet::new();
        self.same(&self.root, other, &other.root, &mut seen)
    }

    fn same<'a>(&'a self, left: &'a Type, other: &Self, right: &Type, seen: &mut BTreeSet<&'a str>) -> bool {
        match (&left.form, &right.form) {
            (Form::Array(left), Form::Array(right)) | (Form::Map(left), Form::Map(right)) => {
                self.same(left, other, right, seen)
            }
            (Form::Union(left), Form::Union(right)) => {
                let mut pairs = left.iter().zip(right);
                left.len() == right.len() && pairs.all(|(left, right)| self.same(left, other, right, seen))
            }
            (Form::Named(name), Form::Named(right)) => {
                name == right && (!seen.insert(name) || self.same_definition(name, other, seen))
            }
            (left, right) => left == right,
        }
    }

    fn same_definition<'a>(&'a self, name: &str, other: &Self, seen: &mut BTreeSet<&'a str>) -> bool {
        let bodies = self.definition(name).zip(other.definition(name));
        let Some((left, right)) = bodies.map(|(left, right)| (&left.body, &right.body)) else {
            return false;
        };
        match (left, right) {
            (Body::Record(left), Body::Record(right)) => {
                let mut pairs = left.iter().zip(right);
                left.len() == right.len()
                    && pairs.all(|(left, right)| left.name == right.name && self.same(&left.of, other, &right.of, seen))
            }
            (Body::Enum { symbols: left, .. }, Body::Enum { symbols: right, .. }) => left == right,
            (Body::Fixed { size: left, .. }, Body::Fixed { size: right, .. }) => left == right,
            (Body::Record(_) | Body::Enum { .. } | Body::Fixed { .. }, _) => false,
        }
    }

    /// A type in words: `int`, `decimal(10, 2)`, `null or string`, `array of Order`.
    pub(crate) fn describe(&self, of: &Type) -> String {
        if let Some(logical) = self.logical(of) {
            return logical.to_string();
        }
        match &of.form {
            Form::Null => "null".to_owned(),
            Form::Boolean => "boolean".to_owned(),
            Form::Int => "int".to_owned(),
            Form::Long => "long".to_owned(),
            Form::Float => "float".to_owned(),
            Form::Double => "double".to_owned(),
            Form::Bytes => "bytes".to_owned(),
            Form::String => "string".to_owned(),
            Form::Array(items) => format!("array of {}", self.describe(items)),
            Form::Map(values) => format!("map of {}", self.describe(values)),
            Form::Union(branches) => {
                let branches: Vec<String> = branches.iter().map(|branch| self.describe(branch)).collect();
                branches.join(" or ")
            }
            Form::Named(name) => {
                let kind = match self.definition(name).map(|definition| &definition.body) {
                    Some(Body::Record(_)) => "record",
                    Some(Body::Enum { .. }) => "enum",
                    Some(Body::Fixed { size, .. }) => return format!("fixed {name} of {size} bytes"),
                    None => "type",
                };
                format!("{kind} {name}")
            }
        }
    }

    /// Whether a default stands for a value of a type. A default of a union is one of its first branch.
    pub(crate) fn admits(&self, of: &Type, value: &Value) -> bool {
        match (&of.form, value) {
            (Form::Null, Value::Null) | (Form::Boolean, Value::Bool(_)) => true,
            (Form::Int, Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            (Form::Long, Value::Number(number)) => number.as_i64().is_some(),
            (Form::Float | Form::Double, Value::Number(_)) | (Form::String, Value::String(_)) => true,
            (Form::Bytes, Value::String(text)) => byte_count(text).is_some(),
            (Form::Array(items), Value::Array(values)) => values.iter().all(|value| self.admits(items, value)),
            (Form::Map(of), Value::Object(entries)) => entries.values().all(|value| self.admits(of, value)),
            (Form::Union(branches), value) => branches.first().is_some_and(|first| self.admits(first, value)),
            (Form::Named(name), value) => self
                .definition(name)
                .is_some_and(|definition| self.admits_named(&definition.body, value)),
            _ => false,
        }
    }

    fn admits_named(&self, body: &Body, value: &Value) -> bool {
        match (body, value) {
            (Body::Record(fields), Value::Object(entries)) => {
                fields.iter().all(|field| match entries.get(&field.name) {
                    Some(value) => self.admits(&field.of, value),
                    // That the default of an inner field is right is looked at where that field is.
                    None => field.default.is_some(),
                })
            }
            (Body::Enum { symbols, .. }, Value::String(symbol)) => symbols.contains(symbol),
            (Body::Fixed { size, .. }, Value::String(text)) => byte_count(text) == Some(*size),
            _ => false,
        }
    }
}

/// How many bytes a default stands for: its characters are the bytes.
fn byte_count(text: &str) -> Option<u64> {
    let is_byte = |letter: char| u32::from(letter) < 256;
    let count = text.chars().count();
    text.chars()
        .all(is_byte)
        .then(|| u64::try_from(count).unwrap_or(u64::MAX))
}

// === impl Parser ===

impl Parser {
    /// `namespace` is that of the nearest name above, empty where there is none.
    fn read(&mut self, value: &Value, namespace: &str) -> Parsed<Type> {
        match value {
            Value::String(name) => self.read_name(name, namespace),
            Value::Array(branches) => self.read_union(branches, namespace),
            Value::Object(object) => self.read_object(object, namespace),
            other => Err(format!("{other} is no type")),
        }
    }

    fn read_name(&self, name: &str, namespace: &str) -> Parsed<Type> {
        let form = match name {
            "null" => Form::Null,
            "boolean" => Form::Boolean,
            "int" => Form::Int,
            "long" => Form::Long,
            "float" => Form::Float,
            "double" => Form::Double,
            "bytes" => Form::Bytes,
            "string" => Form::String,
            _ => {
                let qualified = qualify(name, namespace);
                let known = |name: &String| self.definitions.contains_key(name) || self.open.contains(name);
                match [qualified, name.to_owned()].into_iter().find(known) {
                    Some(found) => Form::Named(found),
                    None => return Err(format!("there is no type `{name}`")),
                }
            }
        };
        Ok(Type { form, logical: None })
    }

    fn read_union(&mut self, branches: &[Value], namespace: &str) -> Parsed<Type> {
        let mut read: Vec<Type> = Vec::with_capacity(branches.len());
        for branch in branches {
            let branch = self.read(branch, namespace)?;
            if matches!(branch.form, Form::Union(_)) {
                return Err("a union stands in a union".to_owned());
            }
            let same_kind = |other: &Type| match (&other.form, &branch.form) {
                (Form::Named(left), Form::Named(right)) => left == right,
                (left, right) => std::mem::discriminant(left) == std::mem::discriminant(right),
            };
            if read.iter().any(same_kind) {
                return Err("a union has two branches of one kind".to_owned());
            }
            read.push(branch);
        }
        if read.is_empty() {
            return Err("a union has no branches".to_owned());
        }
        Ok(Type {
            form: Form::Union(read),
            logical: None,
        })
    }

    fn read_object(&mut self, object: &Map<String, Value>, namespace: &str) -> Parsed<Type> {
        let of = match object.get("type") {
            Some(Value::String(name)) => name.as_str(),
            Some(nested) => {
                let mut inner = self.read(nested, namespace)?;
                inner.logical = logical(object).or(inner.logical);
                return Ok(inner);
            }
            None => return Err("a type lacks `type`".to_owned()),
        };
        let form = match of {
            "record" | "error" | "enum" | "fixed" => return self.read_named(of, object, namespace),
            "array" => Form::Array(Box::new(self.read_part(object, "items", namespace)?)),
            "map" => Form::Map(Box::new(self.read_part(object, "values", namespace)?)),
            name => self.read_name(name, namespace)?.form,
        };
        Ok(Type {
            form,
            logical: logical(object),
        })
    }

    fn read_part(&mut self, object: &Map<String, Value>, key: &str, namespace: &str) -> Parsed<Type> {
        let part = object.get(key).ok_or_else(|| format!("a type lacks `{key}`"))?;
        self.read(part, namespace)
    }

    fn read_named(&mut self, of: &str, object: &Map<String, Value>, above: &str) -> Parsed<Type> {
        let written = text(object, "name").ok_or_else(|| format!("a {of} has no name"))?;
        let own_namespace = text(object, "namespace").unwrap_or(above);
        let name = qualify(written, own_namespace);
        if !name.split('.').all(is_name) {
            return Err(format!("`{name}` is no name"));
        }
        if self.definitions.contains_key(&name) || !self.open.insert(name.clone()) {
            return Err(format!("`{name}` is defined twice"));
        }
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let aliases = texts(object, "aliases");
        let aliases = aliases.iter().map(|alias| qualify(alias, &namespace)).collect();
        let body = match of {
            "enum" => read_enum(object, &name)?,
            "fixed" => read_fixed(object, &name)?,
            _ => Body::Record(self.read_fields(object, &name, &namespace)?),
        };
        self.open.remove(&name);
        self.definitions.insert(name.clone(), Definition { aliases, body });
        Ok(Type {
            form: Form::Named(name),
            logical: None,
        })
    }

    fn read_fields(&mut self, object: &Map<String, Value>, record: &str, namespace: &str) -> Parsed<Vec<Field>> {
        let Some(Value::Array(written)) = object.get("fields") else {
            return Err(format!("record `{record}` has no list of fields"));
        };
        let mut fields: Vec<Field> = Vec::with_capacity(written.len());
        for entry in written {
            let field = entry.as_object().and_then(|field| Some((field, text(field, "name")?)));
            let Some((field, name)) = field.filter(|(_, name)| is_name(name)) else {
                return Err(format!("a field of `{record}` has no name that Avro allows"));
            };
            if fields.iter().any(|other| other.name == name) {
                return Err(format!("record `{record}` has two fields `{name}`"));
            }
            let of = self
                .read_part(field, "type", namespace)
                .map_err(|fault| format!("field `{name}` of `{record}`: {fault}"))?;
            fields.push(Field {
                name: name.to_owned(),
                aliases: texts(field, "aliases"),
                of,
                default: field.get("default").cloned(),
            });
        }
        Ok(fields)
    }
}

fn read_enum(object: &Map<String, Value>, name: &str) -> Parsed<Body> {
    let symbols = texts(object, "symbols");
    let unique: BTreeSet<&String> = symbols.iter().collect();
    if symbols.is_empty() || unique.len() != symbols.len() || !symbols.iter().all(|symbol| is_name(symbol)) {
        return Err(format!("enum `{name}` needs different symbols, each a name"));
    }
    let default = text(object, "default").map(str::to_owned);
    if default.as_ref().is_some_and(|default| !symbols.contains(default)) {
        return Err(format!("the default of enum `{name}` is none of its symbols"));
    }
    Ok(Body::Enum { symbols, default })
}

fn read_fixed(object: &Map<String, Value>, name: &str) -> Parsed<Body> {
    let size = object.get("size").and_then(Value::as_u64);
    let size = size.ok_or_else(|| format!("fixed `{name}` has no size"))?;
    Ok(Body::Fixed {
        size,
        logical: logical(object),
    })
}

/// The logical type; for what Connect wrote without one, Connect's name of the type, which is what its readers go by.
fn logical(object: &Map<String, Value>) -> Option<Logical> {
    let number = |key: &str| object.get(key).and_then(Value::as_u64);
    match text(object, "logicalType") {
        Some("decimal") => Some(Logical::Decimal {
            precision: number("precision").unwrap_or(0),
            scale: number("scale").unwrap_or(0),
        }),
        Some(name) => Some(Logical::Other(name.to_owned())),
        None => text(object, "connect.name").map(|name| Logical::Other(name.to_owned())),
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn texts(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let written = object.get(key).and_then(Value::as_array);
    let texts = written.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn qualify(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.trim_start_matches('.').to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    let first = letters.next();
    first.is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

// === impl Logical ===

impl fmt::Display for Logical {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(formatter, "decimal({precision}, {scale})"),
            Self::Other(name) => formatter.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_the_specification_looks_for_them() {
        let text = r#"{"type": "record", "name": "shop.Order", "fields": [
            {"name": "next", "type": ["null", "Order"]},
            {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW"]}},
            {"name": "old", "type": "shop.State"},
            {"name": "far", "type": {"type": "fixed", "name": "F", "namespace": "", "size": 3}}
        ]}"#;
        let schema = AvroSchema::parse(text).unwrap();
        let names: Vec<&String> = schema.definitions.keys().collect();
        assert_eq!(names, ["F", "shop.Order", "shop.State"]);
    }

    #[test]
    fn what_is_no_schema_says_why() {
        for (text, why) in [
            ("{", "it is not JSON"),
            ("7", "7 is no type"),
            (r#""date""#, "there is no type `date`"),
            (r#"["int", "int"]"#, "two branches of one kind"),
            (r#"["int", ["null"]]"#, "a union stands in a union"),
            (r#"{"type": "fixed", "name": "a-b", "size": 1}"#, "`a-b` is no name"),
            (
                r#"{"type": "enum", "name": "E", "symbols": ["A", "A"]}"#,
                "different symbols",
            ),
            (
                r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}"#,
                "none of its symbols",
            ),
            (
                r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "x"}]}"#,
                "field `a` of `R`: there is no type `x`",
            ),
        ] {
            let fault = AvroSchema::parse(text).unwrap_err();
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }

    #[test]
    fn what_registries_rewrite_is_the_same_form() {
        let ours = r#"{"type": "record", "name": "Order", "namespace": "shop", "doc": "An order.", "fields": [
            {"name": "id", "type": {"type": "int"}, "doc": "Number."}, {"name": "next", "type": ["null", "Order"], "default": null}]}"#;
        let theirs = r#"{"name":"shop.Order","type":"record","fields":[{"name":"id","type":"int"},{"name":"next","type":["null","shop.Order"]}]}"#;
        let other = theirs.replace("\"int\"", "\"long\"");
        let [ours, theirs, other] = [ours, theirs, &other].map(|text| AvroSchema::parse(text).unwrap());
        assert!(ours.has_form_of(&theirs) && theirs.has_form_of(&ours));
        assert!(!ours.has_form_of(&other));
    }
}
