//! Contracts as documents, and what speaks against a table before there are any events: for `tailrace contract` and `check`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tailrace_core::check::Finding;
use tailrace_core::registry::{Compatibility, RegisteredSchema, Schema, SchemaId, SchemaRegistry, SchemaType};
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use super::guard::{Guard, INCOMPATIBLE};
use crate::context::{Context, EncoderSettings};
use crate::publication::Destination;
use crate::registration::EventSchemas;

/// The contract of a topic, as it is handed on: what `tailrace contract show` writes and `diff` and `check` read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicContract {
    /// Where the events go.
    pub topic: String,
    /// The table that they come from.
    pub table: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What makes an event happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// What an event is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Words about the topic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Words about its columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub column_tags: BTreeMap<String, Vec<String>>,
    /// Which versions must be able to read which others, in the configuration's words.
    pub compatibility: String,
    /// The schemas of keys and values.
    pub subjects: Vec<SubjectContract>,
}

/// One schema of a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectContract {
    /// What the registry calls it.
    pub subject: String,
    /// Its language.
    pub schema_type: SchemaType,
    /// The schema.
    pub schema: serde_json::Value,
}

/// Looks at tables as an encoder with the same settings would.
pub struct ContractReviewer {
    context: Context,
}

/// Contracts that were written down before, as a registry that takes nothing in.
pub struct WrittenContracts {
    subjects: BTreeMap<String, Schema>,
}

// === impl TopicContract ===

impl SubjectContract {
    /// The schema as a registry has it.
    pub fn schema(&self) -> Schema {
        Schema {
            schema_type: self.schema_type,
            text: self.schema.to_string().into(),
            properties: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }
}

// === impl ContractReviewer ===

impl ContractReviewer {
    /// A reviewer of what an encoder with these settings would publish.
    ///
    /// # Errors
    /// As [`crate::FormatConfig::resolve`].
    pub fn new(settings: EncoderSettings) -> Result<Self> {
        Context::new(settings).map(|context| Self { context })
    }

    /// The contract of a table's topic, as it would be now.
    ///
    /// # Errors
    /// As [`crate::TopicTemplate::topic`].
    pub fn describe(&self, table: &SharedSchema, routed: Option<&str>) -> Result<TopicContract> {
        let to = self.destination(table, routed)?;
        let publication = self.context.publication(table, &to);
        let terms = self.context.contracts.of(&to.topic);
        let subjects = EventSchemas::in_context(&publication, &self.context).subjects();
        let subjects = subjects.into_iter().map(|(subject, schema)| {
            let text = serde_json::from_str(&schema.text).map_err(|error| {
                Error::definite("schema_not_json", "a schema is not JSON; please report this as a bug")
                    .with_source(error)
            });
            Ok(SubjectContract {
                subject,
                schema_type: schema.schema_type,
                schema: text?,
            })
        });
        // Plain JSON without a contract is held to nothing.
        let level = match self.context.has_schemas() {
            true => self.context.contracts.compatibility.unwrap_or_default(),
            false => Compatibility::None,
        };
        Ok(TopicContract {
            table: table.name.qualified(),
            owner: terms.owner.clone(),
            trigger: terms.trigger.clone(),
            documentation: publication.documentation.clone(),
            tags: terms.tags.iter().cloned().collect(),
            column_tags: terms.tags_of_columns(),
            compatibility: level.name().to_owned(),
            subjects: subjects.collect::<Result<_>>()?,
            topic: to.topic.to_string(),
        })
    }

    /// The topic of a table, and everything that would keep it from being published there as it is now.
    ///
    /// # Errors
    /// As [`crate::TopicTemplate::topic`].
    pub async fn review(
        &self,
        table: &SharedSchema,
        routed: Option<&str>,
        registry: &dyn SchemaRegistry,
    ) -> Result<(String, Vec<Finding>)> {
        let to = self.destination(table, routed)?;
        let guard = Guard {
            context: &self.context,
            registry,
        };
        let findings = match guard.objections(table, &to).await {
            Ok(objections) => {
                let finding = |objection: &_| {
                    let problem = format!("{}: {objection}", table.name.qualified());
                    let remedy = "change the table so that readers can follow, or choose what is done about it with \
                        `contract.on_incompatible` or `contract.compatibility`";
                    Finding::blocks(INCOMPATIBLE, problem, remedy)
                };
                objections.iter().map(finding).collect()
            }
            Err(error) => vec![Finding::from(&error)],
        };
        Ok((to.topic.to_string(), findings))
    }

    fn destination(&self, table: &SharedSchema, routed: Option<&str>) -> Result<Destination> {
        let name: Arc<str> = self.context.template.topic_of(&self.context.prefix, table)?.into();
        Ok(Destination {
            topic: routed.map_or_else(|| Arc::clone(&name), Arc::from),
            name,
        })
    }
}

// === impl WrittenContracts ===

impl WrittenContracts {
    /// The schemas of some contracts; without any, nothing is compared with anything.
    pub fn new<'a>(contracts: impl IntoIterator<Item = &'a TopicContract>) -> Self {
        let subjects = contracts.into_iter().flat_map(|contract| &contract.subjects);
        Self {
            subjects: subjects
                .map(|subject| (subject.subject.clone(), subject.schema()))
                .collect(),
        }
    }
}

#[async_trait]
impl SchemaRegistry for WrittenContracts {
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    async fn versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let schema = self.subjects.get(subject).cloned();
        let versions = schema.map(|schema| RegisteredSchema {
            id: SchemaId(1),
            version: 1,
            schema,
        });
        Ok(versions.into_iter().collect())
    }

    async fn register(&self, subject: &str, _schema: &Schema) -> Result<SchemaId> {
        Err(read_only(subject))
    }

    async fn by_id(&self, id: SchemaId) -> Result<Schema> {
        Err(read_only(&format!("number {}", id.0)))
    }
}

fn read_only(what: &str) -> Error {
    Error::definite(
        "registry_read_only",
        format!("{what} is asked of contracts that are only compared with; please report this as a bug"),
    )
}
