//! What readers of one JSON Schema refuse of what was written by another.
//!
//! A writer here writes the properties that its schema names and no others: Tailrace does, whether or not the schema allows
//! more. So a new optional property is compatible both ways as long as the old schema does not close its objects. Keywords
//! that the codec writes are compared; where any other differs, the answer is that it cannot be decided.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::compatibility::{IncompatibilityKind, Mismatch};

/// Keywords that say something to people and nothing about values.
const ANNOTATIONS: [&str; 17] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "connect.index",
    "owner",
    "trigger",
    "tags",
    "confluent:tags",
];
/// Keywords that have a comparison of their own.
const COMPARED: [&str; 14] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "oneOf",
    "anyOf",
    "$ref",
    "connect.type",
    "connect.name",
    "connect.parameters",
    "connect.version",
];
/// Limits from below, from above, and those that are either equal or not.
const AT_LEAST: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const AT_MOST: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
const SAME: [&str; 4] = ["format", "pattern", "contentMediaType", "multipleOf"];
/// What text stands for, which is the same text for whoever does not know it: two that say so must say the same. Schemas that do not
/// say it of bytes are followed by ones that do.
const MEANING: &str = "contentEncoding";

/// Schemas within schemas that are compared. References make more of them than JSON is deep, and each takes its part of the stack.
const MAXIMUM_DEPTH: usize = 128;

/// Where an object of a schema is.
type Place = *const Map<String, Value>;

/// Compares two schemas, from the root down.
struct Reading<'a> {
    reader: &'a Value,
    writer: &'a Value,
    /// Pairs of places that were met before, by their addresses: what is wrong with them was said there. Ends every circle.
    met: BTreeSet<(Place, Place)>,
    /// Schemas around the one that is compared.
    depth: usize,
    found: Vec<Mismatch>,
}

/// A schema from its text. The error is half a sentence.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    match value {
        Value::Object(_) | Value::Bool(_) => Ok(value),
        other => Err(format!("{other} is no JSON Schema")),
    }
}

/// Everything that stands between a reader and what was written; empty where it takes every value.
pub(crate) fn mismatches(reader: &Value, writer: &Value) -> Vec<Mismatch> {
    let mut reading = Reading {
        reader,
        writer,
        met: BTreeSet::new(),
        depth: 0,
        found: Vec::new(),
    };
    reading.read("", reader, writer);
    reading.found
}

// === impl Reading ===

impl<'a> Reading<'a> {
    fn read(&mut self, path: &str, reader: &'a Value, writer: &'a Value) {
        if reference(reader).is_some() && reader.as_object().is_some_and(|reader| has_more(reader, &["$ref"])) {
            self.undecided(path, "something stands beside a `$ref`");
            return;
        }
        let resolved = (resolve(self.reader, reader), resolve(self.writer, writer));
        let (Some(reader), Some(writer)) = resolved else {
            self.undecided(path, "a `$ref` leads out of the schema");
            return;
        };
        let (reader, writer) = match (reader, writer) {
            (Value::Bool(true), _) | (_, Value::Bool(false)) => return,
            (Value::Object(reader), Value::Object(writer)) => (reader, writer),
            _ => {
                self.undecided(path, "one of the two allows everything or nothing");
                return;
            }
        };
        self.read_object(path, reader, writer);
    }

    fn read_object(&mut self, path: &str, reader: &'a Map<String, Value>, writer: &'a Map<String, Value>) {
        if !self
            .met
            .insert((std::ptr::from_ref(reader), std::ptr::from_ref(writer)))
        {
            return;
        }
        if self.depth == MAXIMUM_DEPTH {
            self.undecided(path, "schemas stand within schemas too deep to be compared");
            return;
        }
        self.depth += 1;
        self.compare(path, reader, writer);
        self.depth -= 1;
    }

    fn compare(&mut self, path: &str, reader: &'a Map<String, Value>, writer: &'a Map<String, Value>) {
        if let Some(branches) = branches(writer) {
            for branch in branches {
                self.read_branch(path, reader, branch);
            }
            return;
        }
        if let Some(branches) = branches(reader) {
            if reader.contains_key("oneOf") && reader.contains_key("anyOf") || has_more(reader, &["oneOf", "anyOf"]) {
                self.undecided(path, "something stands beside alternatives");
                return;
            }
            self.read_into_branches(path, branches, writer);
            return;
        }
        if !self.types_fit(path, reader, writer) {
            return;
        }
        self.compare_meaning(path, reader, writer);
        self.compare_limits(path, reader, writer);
        self.compare_values(path, reader, writer);
        self.compare_rest(path, reader, writer);
        self.compare_properties(path, reader, writer);
        if let (Some(left), Some(right)) = (reader.get("items"), writer.get("items")) {
            self.read(&format!("{path}[]"), left, right);
        } else if reader.get("items").is_some_and(|items| *items != Value::Bool(true)) && may_be(writer, "array") {
            self.undecided(path, "the items of an array are limited on one side only");
        }
    }

    /// One of the alternatives that may have been written.
    fn read_branch(&mut self, path: &str, reader: &'a Map<String, Value>, branch: &'a Value) {
        let Some(Value::Object(branch)) = resolve(self.writer, branch) else {
            self.undecided(path, "an alternative is no object or leads out of the schema");
            return;
        };
        self.read_object(path, reader, branch);
    }

    /// Readers must take it as one of their alternatives, and as one alone.
    fn read_into_branches(&mut self, path: &str, branches: &'a [Value], writer: &'a Map<String, Value>) {
        let mut candidates = Vec::new();
        for branch in branches {
            let Some(Value::Object(branch)) = resolve(self.reader, branch) else {
                self.undecided(path, "an alternative is no object or leads out of the schema");
                return;
            };
            if types(branch)
                .iter()
                .any(|left| types(writer).iter().any(|right| overlaps(left, right)))
            {
                candidates.push(branch);
            }
        }
        match candidates.as_slice() {
            [only] => self.read_object(path, only, writer),
            [] => {
                let alternatives: Vec<String> = branches.iter().filter_map(Value::as_object).map(describe).collect();
                self.push(
                    path,
                    IncompatibilityKind::Type,
                    alternatives.join(" or "),
                    describe(writer),
                );
            }
            _ => self.undecided(path, "more than one alternative may fit"),
        }
    }

    /// Notes where they do not, and says whether the rest is worth comparing.
    fn types_fit(&mut self, path: &str, reader: &Map<String, Value>, writer: &Map<String, Value>) -> bool {
        let (reads, writes) = (types(reader), types(writer));
        let is_read = |written: &&str| {
            reads
                .iter()
                .any(|read| read == written || (*read == "number" && *written == "integer"))
        };
        let fits = writes.iter().all(is_read);
        if !fits {
            self.push(path, IncompatibilityKind::Type, describe(reader), describe(writer));
        }
        fits
    }

    /// What Connect's readers make of it.
    fn compare_meaning(&mut self, path: &str, reader: &Map<String, Value>, writer: &Map<String, Value>) {
        let meaning = |schema: &Map<String, Value>| {
            // An object's name is that of its struct, which readers do not go by.
            let keys: &[&str] = if types(schema) == ["object"] {
                &["connect.type"]
            } else {
                &["connect.name", "connect.type", "connect.version"]
            };
            let words = keys.iter().filter_map(|key| schema.get(*key).map(ToString::to_string));
            words.chain(parameters(schema)).collect::<Vec<_>>().join(" ")
        };
        let (left, right) = (meaning(reader), meaning(writer));
        if left != right {
            let named = |meaning: String, schema: &Map<String, Value>| {
                if meaning.is_empty() { describe(schema) } else { meaning }
            };
            self.push(
                path,
                IncompatibilityKind::LogicalType,
                named(left, reader),
                named(right, writer),
            );
        }
    }

    fn compare_limits(&mut self, path: &str, reader: &Map<String, Value>, writer: &Map<String, Value>) {
        let is_kept = |key: &str, limit: &Value| match writer.get(key) {
            Some(written) if written == limit => true,
            Some(written) if AT_LEAST.contains(&key) => is_less(limit, written),
            Some(written) if AT_MOST.contains(&key) => is_less(written, limit),
            Some(_) | None => false,
        };
        for key in AT_LEAST.into_iter().chain(AT_MOST).chain(SAME) {
            let Some(limit) = reader.get(key) else {
                continue;
            };
            if !is_kept(key, limit) {
                self.push_keyword(path, key, reader, writer);
            }
        }
        let (reads, writes) = (reader.get(MEANING), writer.get(MEANING));
        if reads.is_some() && writes.is_some() && reads != writes {
            self.push_keyword(path, MEANING, reader, writer);
        }
    }

    /// A keyword that keeps values from being read.
    fn push_keyword(&mut self, path: &str, key: &str, reader: &Map<String, Value>, writer: &Map<String, Value>) {
        let shown = |schema: &Map<String, Value>| {
            schema
                .get(key)
                .map(|value| format!("`{key}: {value}`"))
                .unwrap_or_default()
        };
        self.push(path, IncompatibilityKind::Constraint, shown(reader), shown(writer));
    }

    fn compare_values(&mut self, path: &str, reader: &Map<String, Value>, writer: &Map<String, Value>) {
        let Some(known) = constants(reader) else {
            return;
        };
        let Some(written) = constants(writer) else {
            let listed: Vec<String> = known.iter().map(ToString::to_string).collect();
            let limit = format!("the values {}", listed.join(", "));
            self.push(path, IncompatibilityKind::Constraint, limit, String::new());
            return;
        };
        let unknown: Vec<String> = written
            .iter()
            .filter(|value| !known.contains(value))
            .map(ToString::to_string)
            .collect();
        if !unknown.is_empty() {
            self.push(path, IncompatibilityKind::Symbols, String::new(), unknown.join(", "));
        }
    }

    /// Keywords that are not understood must at least be the same.
    fn compare_rest(&mut self, path: &str, reader: &Map<String, Value>, writer: &Map<String, Value>) {
        for (key, value) in reader {
            let key = key.as_str();
            let is_known = [&ANNOTATIONS[..], &COMPARED, &AT_LEAST, &AT_MOST, &SAME, &[MEANING]]
                .iter()
                .any(|keys| keys.contains(&key));
            if !is_known && !key.starts_with("x-") && writer.get(key) != Some(value) {
                self.undecided(path, &format!("`{key}` is not understood and differs"));
            }
        }
    }

    fn compare_properties(&mut self, path: &str, reader: &'a Map<String, Value>, writer: &'a Map<String, Value>) {
        let inner = |name: &str| {
            if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            }
        };
        let (reads, writes) = (properties(reader), properties(writer));
        let always_written = required(writer);
        // Readers take the default for what is not there, as Confluent's rules have it.
        let has_default = |name: &&&str| reads.and_then(|reads| reads.get(**name)?.get("default")).is_some();
        let needed = required(reader);
        for name in needed.difference(&always_written).filter(|name| !has_default(name)) {
            if may_be(writer, "object") {
                self.push(
                    &inner(name),
                    IncompatibilityKind::Required,
                    String::new(),
                    String::new(),
                );
            }
        }
        for (name, written) in writes.into_iter().flatten() {
            match (
                reads.and_then(|reads| reads.get(name)),
                reader.get("additionalProperties"),
            ) {
                (Some(read), _) => self.read(&inner(name), read, written),
                (None, None | Some(Value::Bool(true))) => {}
                (None, Some(Value::Bool(false))) => {
                    self.push(&inner(name), IncompatibilityKind::Closed, String::new(), String::new());
                }
                (None, Some(others)) => self.read(&inner(name), others, written),
            }
        }
        // A map: its values, where both sides have them.
        match (reader.get("additionalProperties"), writer.get("additionalProperties")) {
            (Some(read @ Value::Object(_)), Some(written @ Value::Object(_))) => {
                self.read(&format!("{path}{{}}"), read, written);
            }
            (Some(Value::Bool(false)), Some(Value::Object(_))) => {
                self.push(
                    &format!("{path}{{}}"),
                    IncompatibilityKind::Closed,
                    String::new(),
                    String::new(),
                );
            }
            _ => {}
        }
    }

    fn undecided(&mut self, path: &str, why: &str) {
        self.push(path, IncompatibilityKind::Undecided, why.to_owned(), String::new());
    }

    fn push(&mut self, path: &str, kind: IncompatibilityKind, reader: String, writer: String) {
        self.found.push(Mismatch {
            path: path.to_owned(),
            kind,
            reader,
            writer,
        });
    }
}

/// Whether a schema says anything about values beside these keywords.
fn has_more(schema: &Map<String, Value>, keywords: &[&str]) -> bool {
    let says_nothing = |key: &str| ANNOTATIONS.contains(&key) || key.starts_with("connect.") || key.starts_with("x-");
    schema
        .keys()
        .any(|key| !keywords.contains(&key.as_str()) && !says_nothing(key))
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

/// What a reference stands for, as long as it stays in the schema and does not lead in a circle.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    /// More than anybody writes; ends circles.
    const STEPS: usize = 32;
    let mut schema = schema;
    for _ in 0..STEPS {
        let Some(target) = reference(schema) else {
            return Some(schema);
        };
        schema = match target {
            "#" => root,
            _ => root.pointer(target.strip_prefix('#')?)?,
        };
    }
    None
}

/// Alternatives: `oneOf` or `anyOf`.
fn branches(schema: &Map<String, Value>) -> Option<&[Value]> {
    let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    alternatives.as_array().map(Vec::as_slice)
}

/// Every type that a value may have, all where none is named.
fn types(schema: &Map<String, Value>) -> Vec<&str> {
    const ALL: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => ALL.to_vec(),
    }
}

fn may_be(schema: &Map<String, Value>, name: &str) -> bool {
    types(schema).contains(&name)
}

fn overlaps(left: &str, right: &str) -> bool {
    let is_number = |name: &str| matches!(name, "number" | "integer");
    left == right || is_number(left) && is_number(right)
}

fn describe(schema: &Map<String, Value>) -> String {
    match branches(schema) {
        Some(branches) => {
            let words: Vec<String> = branches.iter().filter_map(Value::as_object).map(describe).collect();
            words.join(" or ")
        }
        None if schema.contains_key("type") => types(schema).join(" or "),
        None => "anything".to_owned(),
    }
}

fn properties(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

fn required(schema: &Map<String, Value>) -> BTreeSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The parameters that decide what a value means: all but the words that a text may be, which readers take as text.
fn parameters(schema: &Map<String, Value>) -> Option<String> {
    let mut parameters = schema.get("connect.parameters")?.as_object()?.clone();
    parameters.remove("allowed");
    (!parameters.is_empty()).then(|| Value::Object(parameters).to_string())
}

fn constants(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => Some(values.iter().collect()),
        (_, Some(value)) => Some(vec![value]),
        _ => None,
    }
}

/// Exact for integers; what is neither is not less.
fn is_less(left: &Value, right: &Value) -> bool {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left <= right,
        _ => match (left.as_f64(), right.as_f64()) {
            (Some(left), Some(right)) => left < right,
            _ => false,
        },
    }
}
