//! JSON Schema of the whole file, from the types. Editors complete and check a configuration with it.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::spec::{
    CONNECTORS, ConnectorConfig, REGISTRIES, RootConfig, SINK, SOURCE, STREAMS, SinkConnectorConfig, TYPE,
};
use crate::catalog;

/// Everything in its place: connectors have types of the same name (`TlsConfig`), and people read this, too.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
}

/// The schema of what stands under a connector's name.
pub(crate) fn connector() -> &'static Value {
    static CONNECTOR: OnceLock<Value> = OnceLock::new();
    CONNECTOR.get_or_init(|| connector_in(&mut generator()))
}

fn connector_in(generator: &mut SchemaGenerator) -> Value {
    let sources = catalog::sources()
        .iter()
        .map(|known| typed(known.name, (known.schema)(generator)))
        .collect();
    let mut connector = object::<ConnectorConfig>(generator);
    put(&mut connector, SOURCE, one_of("Where changes come from.", sources));
    let sinks = catalog::sinks()
        .iter()
        .map(|known| typed(known.name, (known.schema)(generator)))
        .collect();
    let mut sink = object::<SinkConnectorConfig>(generator);
    put(&mut sink, SINK, one_of("Where rows go.", sinks));
    one_of(
        "A connector: it reads a database, or writes one.",
        vec![Value::Object(connector), Value::Object(sink)],
    )
}

/// The schema of the whole file.
pub(crate) fn schema() -> Value {
    let mut generator = generator();
    let streams = catalog::streams()
        .iter()
        .map(|known| typed(known.name, (known.schema)(&mut generator)))
        .collect();
    let connector = connector_in(&mut generator);
    let mut root = object::<RootConfig>(&mut generator);
    put(
        &mut root,
        STREAMS,
        named(
            "Where events go, by names of your choice.",
            one_of("A stream.", streams),
        ),
    );
    let registries = catalog::registries()
        .iter()
        .map(|known| typed(known.name, (known.schema)(&mut generator)))
        .collect();
    if let Some(Value::Object(properties)) = root.get_mut("properties") {
        let sentence = "Where schemas are registered, by names of your choice. Without any, they are kept in the state and shown \
            at the HTTP endpoint.";
        properties.insert(
            REGISTRIES.to_owned(),
            named(sentence, one_of("A registry.", registries)),
        );
        let sentence = "What is carried, by names of your choice. Without any, they are created over HTTP.";
        properties.insert(CONNECTORS.to_owned(), named(sentence, connector));
    }
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("Tailrace configuration"));
    Value::Object(root)
}

/// The text of the schema as it is checked in.
pub(crate) fn text() -> String {
    format!("{:#}\n", schema())
}

fn object<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    into_object(T::json_schema(generator))
}

fn into_object(schema: Schema) -> Map<String, Value> {
    match schema.to_value() {
        Value::Object(object) => object,
        other => Map::from_iter([("const".to_owned(), other)]),
    }
}

/// Adds a required property.
fn put(object: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.insert(key.to_owned(), value);
    }
    let required = object.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        required.push(json!(key));
    }
}

fn typed(name: &str, schema: Schema) -> Value {
    let mut schema = into_object(schema);
    put(&mut schema, TYPE, json!({ "const": name }));
    schema.insert("title".to_owned(), json!(name));
    Value::Object(schema)
}

fn one_of(description: &str, alternatives: Vec<Value>) -> Value {
    json!({ "description": description, "oneOf": alternatives })
}

fn named(description: &str, value: Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": "^[A-Za-z0-9_-]{1,50}$" },
        "additionalProperties": value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_that_is_checked_in_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/schema.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == text(),
            "config/schema.json is not current: cargo run -- schema > config/schema.json"
        );
    }
}
