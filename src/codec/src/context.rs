//! What an encoder is made from, and what of it stays the same while the encoder lives.

use std::sync::Arc;

use tailrace_core::Result;
use tailrace_core::registry::{SchemaId, SchemaRegistry};
use tailrace_core::schema::SharedSchema;
use tailrace_core::telemetry::{PublishedTopic, Telemetry};

use crate::contract::Contracts;
use crate::dialect::Dialect;
use crate::envelope::source::SourceConstants;
use crate::format::{Codec, Format, FormatConfig};
use crate::notation::{Avro, Json};
use crate::publication::{Destination, Publication};
use crate::topic::TopicTemplate;

/// What an encoder is made from.
#[derive(Clone)]
pub struct EncoderSettings {
    /// The connector's name: the `source` header.
    pub connector: String,
    /// What `{prefix}` in topics and `source.name` in Debezium's envelope stand for.
    pub prefix: String,
    /// What the source calls itself in Debezium's `source.connector`: `postgresql`, `sqlite`, `mysql`, `mariadb`.
    pub source_kind: String,
    /// Version in Debezium's `source.version`; Tailrace's own.
    pub version: String,
    /// The format section, as written.
    pub format: FormatConfig,
    /// How tables become topics.
    pub template: TopicTemplate,
    /// Where schemas are published, for a codec that has schemas, and where there are contracts.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
    /// The contracts of the topics; `None` where none are written, and then a codec without schemas is held to nothing.
    pub contracts: Option<Arc<Contracts>>,
    /// Who is told which topics there are.
    pub telemetry: Option<Arc<Telemetry>>,
}

/// What does not change while an encoder lives.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) connector: String,
    pub(crate) prefix: String,
    pub(crate) format: Format,
    pub(crate) template: TopicTemplate,
    pub(crate) source: SourceConstants,
    pub(crate) contracts: Arc<Contracts>,
    has_contracts: bool,
    telemetry: Option<Arc<Telemetry>>,
}

// === impl Context ===

impl Context {
    pub(crate) fn new(settings: EncoderSettings) -> Result<Self> {
        let (kind, prefix, version) = (&settings.source_kind, &settings.prefix, &settings.version);
        let format = settings.format.resolve_for(Dialect::of(kind))?;
        let source = match format.codec {
            Codec::Json | Codec::JsonSchema => SourceConstants::new::<Json>(kind, prefix, version),
            Codec::Avro => SourceConstants::new::<Avro>(kind, prefix, version),
        };
        Ok(Self {
            format,
            source,
            connector: settings.connector,
            prefix: settings.prefix,
            template: settings.template,
            has_contracts: settings.contracts.is_some(),
            contracts: settings.contracts.unwrap_or_default(),
            telemetry: settings.telemetry,
        })
    }

    /// True where schemas are registered before the first event.
    pub(crate) fn has_schemas(&self) -> bool {
        self.has_contracts || self.format.has_registered_schemas()
    }

    /// What is published of a table on a topic, by its contract.
    pub(crate) fn publication(&self, table: &SharedSchema, to: &Destination) -> Publication {
        let terms = self.contracts.of(&to.topic);
        terms.publication(table, to, self.format.envelope)
    }

    /// Tells what is published of a table that asked for a topic, and under which schemas.
    pub(crate) fn tell(
        &self,
        asked: &Arc<str>,
        publication: &Publication,
        (key_schema, value_schema): (Option<SchemaId>, Option<SchemaId>),
    ) {
        let Some(telemetry) = &self.telemetry else { return };
        let terms = self.contracts.of(&publication.to.topic);
        let topic = PublishedTopic {
            table: publication.table.name.qualified(),
            owner: terms.owner.clone(),
            trigger: terms.trigger.clone(),
            documentation: publication.documentation.clone(),
            tags: terms.tags.iter().cloned().collect(),
            column_tags: terms.tags_of_columns(),
            key_schema,
            value_schema,
            left_out: publication.left_out(),
            superseded_by: None,
        };
        telemetry.set_topic(&publication.to.topic, topic);
        if *asked != publication.to.topic {
            telemetry.supersede_topic(asked, &publication.to.topic);
        }
    }
}
