//! Schemas of keys and values, and where they are kept: a registry numbers them, so that a record need only carry the number.
//!
//! The words are those of Confluent's registry: a *subject* is a line of versions (usually `{topic}-key` or `{topic}-value`), a
//! *version* is a place in that line, an *id* is the number of a schema in the whole registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check::Finding;
use crate::error::Result;

/// The number of a schema in a registry, as it stands in a record behind the magic byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaId(pub u32);

/// The language that a schema is written in; serialized as the registry's API calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SchemaType {
    /// Apache Avro.
    #[serde(rename = "AVRO")]
    Avro,
    /// JSON Schema.
    #[serde(rename = "JSON")]
    Json,
}

/// A schema to be published, with what is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Its language.
    pub schema_type: SchemaType,
    /// JSON text.
    pub text: Arc<str>,
    /// Names and values that are not part of the schema: owner, trigger of the event.
    pub properties: BTreeMap<String, String>,
    /// Tags of fields, by the field's path (`**.email` in Confluent's form): `pii`, `financial`, free ones.
    pub tags: BTreeMap<String, Vec<String>>,
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// Its number in the registry.
    pub id: SchemaId,
    /// Its place in the subject, from 1.
    pub version: u32,
    /// The schema.
    pub schema: Schema,
}

/// Where schemas are kept.
#[async_trait]
pub trait SchemaRegistry: Send + Sync {
    /// Preflight: every problem at once. Creates nothing.
    async fn check(&self) -> Vec<Finding>;

    /// All versions of a subject that are not deleted, oldest first; empty where there is no such subject.
    async fn versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>>;

    /// Makes a schema the newest version of a subject, where it is not one of its versions already. Durable on return.
    ///
    /// # Errors
    /// Definite `schema_incompatible` where the registry refuses it; transient where it does not answer.
    async fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId>;

    /// The schema of a number.
    ///
    /// # Errors
    /// Definite `schema_unknown` where there is none.
    async fn by_id(&self, id: SchemaId) -> Result<Schema>;
}
