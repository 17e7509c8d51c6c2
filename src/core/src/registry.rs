//! Schemas of keys and values, and where they are kept: a registry numbers them, so that a record need only carry the number.
//!
//! The words are those of Confluent's registry: a *subject* is a line of versions (usually `{topic}-key` or `{topic}-value`), a
//! *version* is a place in that line, an *id* is the number of a schema in the whole registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
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

/// Which versions of a subject must be able to read what which others wrote. The words are those of Confluent's registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compatibility {
    /// Anything goes.
    None,
    /// Readers of the new version read what the version before it wrote.
    Backward,
    /// Readers of the new version read what every version before it wrote.
    BackwardTransitive,
    /// Readers of the version before read what the new version writes.
    Forward,
    /// Readers of every version before read what the new version writes.
    ForwardTransitive,
    /// Backward and forward. The default: neither side of a stream must be changed first.
    #[default]
    Full,
    /// Backward and forward, with every version before.
    FullTransitive,
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

/// What holds for all versions of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectSettings {
    /// Its own level; `None` where the default holds.
    pub compatibility: Option<Compatibility>,
    /// Why it should not be used any more and what should instead.
    pub deprecated: Option<String>,
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

    /// What holds for all versions of a subject, where that is for publishers to say. A registry whose keepers say it tells nothing.
    async fn settings(&self, _subject: &str) -> Result<SubjectSettings> {
        Ok(SubjectSettings::default())
    }

    /// Sets what holds for all versions of a subject, where that is for publishers to say; nothing elsewhere. Durable on return.
    async fn set(&self, _subject: &str, _settings: &SubjectSettings) -> Result<()> {
        Ok(())
    }
}

/// Decides about schemas: what the keeper of a registry asks before it takes one in.
pub trait SchemaRules: Send + Sync {
    /// What is wrong with a schema in itself, in a sentence; `None` where it is a schema.
    fn fault(&self, schema: &Schema) -> Option<String>;

    /// Whether readers read the same bytes the same way with both, however they are written down.
    fn is_same(&self, left: &Schema, right: &Schema) -> bool;

    /// What speaks against a schema as the next version after these (oldest first), a sentence each; empty where nothing does.
    fn objections(&self, level: Compatibility, proposed: &Schema, earlier: &[RegisteredSchema]) -> Vec<String>;
}

// === impl SchemaType ===

impl SchemaType {
    /// As the registry's API calls it.
    pub fn registry_name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
        }
    }

    /// By the registry's name.
    pub fn from_registry_name(name: &str) -> Option<Self> {
        [Self::Avro, Self::Json]
            .into_iter()
            .find(|known| known.registry_name() == name)
    }
}

// === impl Compatibility ===

impl Compatibility {
    const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// As the registry's API calls it.
    pub fn registry_name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// As the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Backward => "backward",
            Self::BackwardTransitive => "backward_transitive",
            Self::Forward => "forward",
            Self::ForwardTransitive => "forward_transitive",
            Self::Full => "full",
            Self::FullTransitive => "full_transitive",
        }
    }

    /// By the registry's name.
    pub fn from_registry_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.registry_name() == name)
    }

    /// The same, where all versions count.
    #[must_use]
    pub fn transitive(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Backward | Self::BackwardTransitive => Self::BackwardTransitive,
            Self::Forward | Self::ForwardTransitive => Self::ForwardTransitive,
            Self::Full | Self::FullTransitive => Self::FullTransitive,
        }
    }

    /// Whether readers of the new version must read what was written before.
    pub fn is_backward(self) -> bool {
        match self {
            Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive => true,
            Self::None | Self::Forward | Self::ForwardTransitive => false,
        }
    }

    /// Whether readers of what was before must read what the new version writes.
    pub fn is_forward(self) -> bool {
        match self {
            Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive => true,
            Self::None | Self::Backward | Self::BackwardTransitive => false,
        }
    }

    /// Whether all versions count and not only the newest.
    pub fn is_transitive(self) -> bool {
        match self {
            Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive => true,
            Self::None | Self::Backward | Self::Forward | Self::Full => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for level in Compatibility::ALL {
            assert_eq!(Compatibility::from_registry_name(level.registry_name()), Some(level));
            assert_eq!(level.name(), level.registry_name().to_lowercase());
        }
        assert_eq!(SchemaType::from_registry_name("AVRO"), Some(SchemaType::Avro));
        assert_eq!(SchemaType::from_registry_name("PROTOBUF"), None);
    }
}
