//! What an encoder is made from, and what of it stays the same while the encoder lives.

use std::sync::Arc;

use tailrace_core::Result;
use tailrace_core::registry::SchemaRegistry;

use crate::dialect::Dialect;
use crate::envelope::source::SourceConstants;
use crate::format::{Codec, Format, FormatConfig};
use crate::notation::{Avro, Json};
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
    /// Where schemas are published, for a codec that has schemas.
    pub registry: Option<Arc<dyn SchemaRegistry>>,
}

/// What does not change while an encoder lives.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) connector: String,
    pub(crate) prefix: String,
    pub(crate) format: Format,
    pub(crate) template: TopicTemplate,
    pub(crate) source: SourceConstants,
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
        })
    }
}
