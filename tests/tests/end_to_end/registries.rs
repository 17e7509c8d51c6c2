//! Registries of schemas, real ones and ones that only play one.
//!
//! | module | what it asks |
//! |---|---|
//! | `real` | does a real registry take, refuse and give back what it should? |
//! | `matrix` | does it decide about schemas as we do? |
//! | `faults` | what if a registry is down, slow, breaks, lies or sends elsewhere? |
//! | `embedded` | do standard clients read the registry that Tailrace itself is? |
//! | `checks` | does `tailrace check` say how a registry is? |

mod checks;
mod embedded;
mod faults;
mod matrix;
mod real;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tailrace_codec::registry::{ConfluentRegistry, ConfluentRegistryConfig};
use tailrace_core::registry::{Schema, SchemaType};

/// A client of a registry at a URL, with nothing else said.
fn client(url: &str) -> ConfluentRegistry {
    client_of(&json!({ "url": url }))
}

fn client_of(config: &Value) -> ConfluentRegistry {
    let config: ConfluentRegistryConfig = serde_json::from_value(config.clone()).unwrap();
    ConfluentRegistry::new(&config).unwrap()
}

fn schema(schema_type: SchemaType, text: &str) -> Schema {
    Schema {
        schema_type,
        text: text.into(),
        properties: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

/// An Avro record `Order` with these fields.
fn order(fields: &[(&str, &str)]) -> Schema {
    let fields: Vec<Value> = fields
        .iter()
        .map(|(name, of)| json!({ "name": name, "type": of }))
        .collect();
    let record = json!({ "type": "record", "name": "Order", "namespace": "shop", "fields": fields });
    schema(SchemaType::Avro, &record.to_string())
}
