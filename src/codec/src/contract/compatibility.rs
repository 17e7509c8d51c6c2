//! Whether a schema may follow others, and if not why, for people.

use std::fmt;

use serde::Serialize;
use tailrace_core::registry::{Compatibility, RegisteredSchema, Schema, SchemaRules, SchemaType};

use super::avro_schema::AvroSchema;
use super::{avro_reading, json_reading};

/// One reason why a schema may not follow another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incompatibility {
    /// Place in the schema: names of fields with dots, `[]` for items of an array, `{}` for values of a map; empty for the whole.
    pub path: String,
    /// What it is about.
    pub kind: IncompatibilityKind,
    /// Whose reading breaks.
    pub readers: Readers,
    /// The version that it was compared with, where it has a number.
    pub version: Option<u32>,
    /// For people: what was, what is, and who cannot read what.
    pub sentence: String,
}

/// What an incompatibility is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IncompatibilityKind {
    /// One of the two is no schema.
    NotASchema,
    /// Avro and JSON Schema.
    Language,
    /// A value cannot be read as the other type.
    Type,
    /// Types of different names.
    Name,
    /// A field that readers need is not written.
    Field,
    /// A field that readers require is not always written.
    Required,
    /// A field that is not written has a default that is no value of its type.
    Default,
    /// A field that is written is refused by readers.
    Closed,
    /// Symbols or constants that readers do not know.
    Symbols,
    /// The same form with another meaning.
    LogicalType,
    /// A limit or format that not everything written keeps.
    Constraint,
    /// Something that this comparison does not understand.
    Undecided,
}

/// Whose reading breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readers {
    /// Those of the older schema: the change is not forward compatible.
    Old,
    /// Those of the newer schema: the change is not backward compatible.
    New,
    /// Both.
    Both,
}

/// What a reader cannot read, from its side: its own type and the one that was written, each in words or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) path: String,
    pub(crate) kind: IncompatibilityKind,
    pub(crate) reader: String,
    pub(crate) writer: String,
}

/// The rules of this module, for keepers of registries.
#[derive(Debug, Clone, Copy, Default)]
pub struct ContractRules;

/// A schema of either language, parsed.
pub(crate) enum Parsed {
    Avro(AvroSchema),
    Json(serde_json::Value),
}

/// What speaks against `proposed` after these versions (oldest first): of transitive levels after each of them, of others
/// after the newest. Empty where nothing does.
pub fn decide(level: Compatibility, proposed: &Schema, earlier: &[RegisteredSchema]) -> Vec<Incompatibility> {
    let first = if level.is_transitive() {
        0
    } else {
        earlier.len().saturating_sub(1)
    };
    let compared = earlier.iter().skip(first).rev();
    let found = compared.flat_map(|old| {
        let incompatibilities = compare(level, &old.schema, proposed).into_iter();
        incompatibilities.map(|found| Incompatibility {
            version: Some(old.version),
            ..found
        })
    });
    found.collect()
}

/// What speaks against `new` after `old`.
pub fn compare(level: Compatibility, old: &Schema, new: &Schema) -> Vec<Incompatibility> {
    if level == Compatibility::None || old.schema_type == new.schema_type && old.text == new.text {
        return Vec::new();
    }
    let (old, new) = match (parse(old), parse(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(fault), _) => return vec![not_a_schema("old", &fault)],
        (_, Err(fault)) => return vec![not_a_schema("new", &fault)],
    };
    let backward = if level.is_backward() {
        mismatches(&new, &old)
    } else {
        Vec::new()
    };
    let forward = if level.is_forward() {
        mismatches(&old, &new)
    } else {
        Vec::new()
    };
    merge(backward, forward)
}

pub(crate) fn parse(schema: &Schema) -> Result<Parsed, String> {
    match schema.schema_type {
        SchemaType::Avro => AvroSchema::parse(&schema.text).map(Parsed::Avro),
        SchemaType::Json => json_reading::parse(&schema.text).map(Parsed::Json),
    }
}

pub(crate) fn mismatches(reader: &Parsed, writer: &Parsed) -> Vec<Mismatch> {
    let language = |of: &Parsed| match of {
        Parsed::Avro(_) => "Avro".to_owned(),
        Parsed::Json(_) => "JSON Schema".to_owned(),
    };
    match (reader, writer) {
        (Parsed::Avro(reader), Parsed::Avro(writer)) => avro_reading::mismatches(reader, writer),
        (Parsed::Json(reader), Parsed::Json(writer)) => json_reading::mismatches(reader, writer),
        (Parsed::Avro(_), Parsed::Json(_)) | (Parsed::Json(_), Parsed::Avro(_)) => vec![Mismatch {
            path: String::new(),
            kind: IncompatibilityKind::Language,
            reader: language(reader),
            writer: language(writer),
        }],
    }
}

/// In sentences; what is the same seen from both sides is said once.
fn merge(backward: Vec<Mismatch>, mut forward: Vec<Mismatch>) -> Vec<Incompatibility> {
    let mut found = Vec::new();
    for mismatch in backward {
        let is_mirror = |other: &Mismatch| {
            other.path == mismatch.path
                && other.kind == mismatch.kind
                && other.reader == mismatch.writer
                && other.writer == mismatch.reader
        };
        let mirror = forward.iter().position(is_mirror);
        if let Some(place) = mirror {
            forward.remove(place);
        }
        let readers = if mirror.is_some() { Readers::Both } else { Readers::New };
        found.push(Incompatibility::new(&mismatch, readers));
    }
    found.extend(
        forward
            .iter()
            .map(|mismatch| Incompatibility::new(mismatch, Readers::Old)),
    );
    found
}

fn not_a_schema(which: &str, fault: &str) -> Incompatibility {
    Incompatibility {
        path: String::new(),
        kind: IncompatibilityKind::NotASchema,
        readers: Readers::Both,
        version: None,
        sentence: format!("the {which} schema cannot be compared: {fault}"),
    }
}

// === impl Incompatibility ===

impl Incompatibility {
    fn new(mismatch: &Mismatch, readers: Readers) -> Self {
        Self {
            path: mismatch.path.clone(),
            kind: mismatch.kind,
            readers,
            version: None,
            sentence: sentence(mismatch, readers),
        }
    }
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = self.version {
            write!(formatter, "against version {version}: ")?;
        }
        formatter.write_str(&self.sentence)
    }
}

fn sentence(mismatch: &Mismatch, readers: Readers) -> String {
    let Mismatch {
        path,
        kind,
        reader,
        writer,
    } = mismatch;
    let place = match path.as_str() {
        "" => "the schema".to_owned(),
        path => format!("field `{path}`"),
    };
    // Readers of the new schema see what the old one wrote, and the other way about.
    let of_new = readers != Readers::Old;
    let (was, is) = if of_new { (writer, reader) } else { (reader, writer) };
    let what = match kind {
        IncompatibilityKind::NotASchema => reader.clone(),
        IncompatibilityKind::Language | IncompatibilityKind::Type | IncompatibilityKind::LogicalType => {
            format!("was {was}, is {is}")
        }
        IncompatibilityKind::Name => format!("was called {was}, is called {is} without an alias"),
        IncompatibilityKind::Field if of_new => "is new and has no default".to_owned(),
        IncompatibilityKind::Field => "was dropped and had no default".to_owned(),
        IncompatibilityKind::Required if of_new => "is required, and was not always written".to_owned(),
        IncompatibilityKind::Required => "was required, and is not always written any more".to_owned(),
        IncompatibilityKind::Default => format!("has a default that is no value of its type, {reader}"),
        IncompatibilityKind::Closed if of_new => "was dropped, and the schema allows no other fields".to_owned(),
        IncompatibilityKind::Closed => "is new, and the schema before allows no other fields".to_owned(),
        IncompatibilityKind::Symbols if of_new => format!("lost the values {writer}"),
        IncompatibilityKind::Symbols => format!("has the new values {writer}"),
        IncompatibilityKind::Constraint => {
            let or_none = |limit: &str| {
                if limit.is_empty() {
                    "nothing".to_owned()
                } else {
                    limit.to_owned()
                }
            };
            format!("was limited by {}, is limited by {}", or_none(was), or_none(is))
        }
        IncompatibilityKind::Undecided => format!("cannot be compared: {reader}"),
    };
    let who = match (kind, readers) {
        (IncompatibilityKind::Undecided, _) => "whether readers can read it is not known",
        (_, Readers::Both) => {
            "neither can readers of the old schema read it, nor readers of the new one what was before"
        }
        (_, Readers::New) => "readers of the new schema cannot read what was written before",
        (_, Readers::Old) => "readers of the old schema cannot read it",
    };
    format!("{place}: {what}; {who}")
}

// === impl ContractRules ===

impl SchemaRules for ContractRules {
    fn fault(&self, schema: &Schema) -> Option<String> {
        parse(schema).err()
    }

    fn is_same(&self, left: &Schema, right: &Schema) -> bool {
        match (parse(left), parse(right)) {
            (Ok(Parsed::Avro(left)), Ok(Parsed::Avro(right))) => left.has_form_of(&right),
            (Ok(Parsed::Json(left)), Ok(Parsed::Json(right))) => left == right,
            _ => false,
        }
    }

    fn objections(&self, level: Compatibility, proposed: &Schema, earlier: &[RegisteredSchema]) -> Vec<String> {
        let found = decide(level, proposed, earlier);
        found.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests;
