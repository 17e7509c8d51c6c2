//! Which values of a tree are secrets, files or SQL: by the `format` that the schema of the configuration gives them.

use serde_json::Value;
use tailrace_core::setting::{LOCAL_FILE, SECRET, SQL};

use super::tree::{Located, Node, Scalar};

/// A value, the keys on the way to it, and its format.
#[derive(Debug)]
pub(crate) struct Formatted<'t> {
    pub(crate) path: Vec<String>,
    pub(crate) scalar: &'t Scalar,
    pub(crate) format: Option<&'static str>,
}

/// The formats that make a difference.
const FORMATS: [&str; 3] = [SECRET, LOCAL_FILE, SQL];

/// Every scalar of a tree with its format.
pub(crate) fn formats<'t>(schema: &Value, tree: &'t Located) -> Vec<Formatted<'t>> {
    let mut found = Vec::new();
    visit(&alternatives(vec![schema]), tree, &mut Vec::new(), &mut found);
    found
}

/// The format of the value at a path.
pub(crate) fn format_at(schema: &Value, path: &[String]) -> Option<&'static str> {
    format_of(&at(schema, path))
}

/// Whether a list stands at a path.
pub(crate) fn is_list_at(schema: &Value, path: &[String]) -> bool {
    let found = at(schema, path);
    found.iter().any(|schema| schema.get("items").is_some())
}

fn at<'s>(schema: &'s Value, path: &[String]) -> Vec<&'s Value> {
    let mut schemas = alternatives(vec![schema]);
    for key in path {
        schemas = alternatives(schemas.into_iter().flat_map(|schema| below(schema, key)).collect());
    }
    schemas
}

/// A schema and everything that it may be instead. Where a value may be of several kinds, each is believed.
fn alternatives(schemas: Vec<&Value>) -> Vec<&Value> {
    let mut all = Vec::new();
    let mut open = schemas;
    while let Some(schema) = open.pop() {
        for key in ["oneOf", "anyOf", "allOf"] {
            if let Some(Value::Array(branches)) = schema.get(key) {
                open.extend(branches);
            }
        }
        all.push(schema);
    }
    all
}

/// What a schema says of what stands under a key of a mapping, or at a place of a list.
fn below<'s>(schema: &'s Value, key: &str) -> Vec<&'s Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(key));
    let other = schema.get("additionalProperties").filter(|other| other.is_object());
    let element = schema.get("items");
    named.or(other).into_iter().chain(element).collect()
}

fn format_of(schemas: &[&Value]) -> Option<&'static str> {
    let said = |format: &&str| {
        schemas
            .iter()
            .any(|schema| schema.get("format").is_some_and(|said| said == format))
    };
    FORMATS.into_iter().find(said)
}

fn visit<'t>(schemas: &[&Value], tree: &'t Located, path: &mut Vec<String>, found: &mut Vec<Formatted<'t>>) {
    let mut descend = |key: String, value: &'t Located| {
        let schemas = alternatives(schemas.iter().flat_map(|schema| below(schema, &key)).collect());
        path.push(key);
        visit(&schemas, value, path, found);
        path.pop();
    };
    match &tree.node {
        Node::Scalar(scalar) => found.push(Formatted {
            path: path.clone(),
            scalar,
            format: format_of(schemas),
        }),
        Node::Sequence(elements) => {
            for (index, element) in elements.iter().enumerate() {
                descend(index.to_string(), element);
            }
        }
        Node::Mapping(entries) => {
            for entry in entries {
                descend(entry.key.clone(), &entry.value);
            }
        }
    }
}
