//! What a table's events look like, before there are any: for `tailrace describe`.

use serde::Serialize;
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use crate::connect_schema::ConnectSchema;
use crate::context::{Context, EncoderSettings};
use crate::plan::Schemas;
use crate::publication::Destination;

/// Topic and schemas of a table's events, the schemas as Kafka Connect writes them in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventDescription {
    /// Where they go.
    pub topic: String,
    /// What the key is; `None` where the table has none.
    pub key_schema: Option<serde_json::Value>,
    /// What the value is.
    pub value_schema: serde_json::Value,
}

/// Describes the events of tables, one after another.
#[derive(Debug)]
pub struct EventDescriber {
    context: Context,
}

impl EventDescriber {
    /// A describer of the events that an encoder with the same settings publishes.
    ///
    /// # Errors
    /// As [`crate::FormatConfig::resolve`].
    pub fn new(settings: EncoderSettings) -> Result<Self> {
        Context::new(settings).map(|context| Self { context })
    }

    /// The events of a table.
    ///
    /// # Errors
    /// As [`crate::TopicTemplate::topic`].
    pub fn describe(&self, table: &SharedSchema) -> Result<EventDescription> {
        let context = &self.context;
        let topic = context.template.topic_of(&context.prefix, table)?;
        let publication = context.publication(table, &Destination::own(topic.as_str().into()));
        let schemas = Schemas::of(&publication, &context.format, &context.source);
        Ok(EventDescription {
            key_schema: schemas.key.as_ref().map(json).transpose()?,
            value_schema: json(&schemas.value)?,
            topic,
        })
    }
}

fn json(schema: &ConnectSchema) -> Result<serde_json::Value> {
    serde_json::from_slice(&schema.to_json()).map_err(|error| {
        Error::definite(
            "schema_not_json",
            "an event's schema is not JSON; please report this as a bug",
        )
        .with_source(error)
    })
}
