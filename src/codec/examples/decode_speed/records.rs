//! The decoder that is measured, and the records that it is given: what the encoder's benchmark makes. For `decode_speed` and for the
//! test of how often it allocates.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_codec::{Codec, DecoderSettings, Envelope, EventDecoder, EventEncoder, FormatConfig};
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::ports::sink::{Decoder, Targets};
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::{SharedSchema, TableName};

use crate::orders::{Failure, encoder_settings, orders};

/// How events are written.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Kind {
    pub(crate) envelope: Envelope,
    pub(crate) codec: Codec,
    pub(crate) inline_schema: bool,
}

const fn kind(envelope: Envelope, codec: Codec) -> Kind {
    Kind {
        envelope,
        codec,
        inline_schema: false,
    }
}

/// Everything that is measured.
pub(crate) const WRITTEN: [Kind; 7] = [
    kind(Envelope::Entity, Codec::Json),
    kind(Envelope::Entity, Codec::JsonSchema),
    kind(Envelope::Entity, Codec::Avro),
    Kind {
        inline_schema: true,
        ..kind(Envelope::Debezium, Codec::Json)
    },
    kind(Envelope::Debezium, Codec::JsonSchema),
    kind(Envelope::Debezium, Codec::Avro),
    Kind {
        inline_schema: true,
        ..kind(Envelope::Entity, Codec::Json)
    },
];

/// The table that rows are written into.
struct Target(SharedSchema);

#[async_trait]
impl Targets for Target {
    async fn target(&mut self, _: &Arc<str>, _: &TableName) -> tailrace_core::Result<Option<SharedSchema>> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

/// A decoder that has met its schemas, and records for it.
pub(crate) fn warm_decoder(kind: Kind) -> Result<(EventDecoder, RecordBatch), Failure> {
    let batch = orders()?;
    let mut settings = encoder_settings(kind.envelope, kind.codec)?;
    settings.format.inline_schema = kind.inline_schema;
    let registry: Option<Arc<dyn SchemaRegistry>> = settings.registry.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut encoder = EventEncoder::new(settings)?;
    runtime.block_on(encoder.prepare(&batch))?;
    let records = records_of(&encoder.encode(&batch)?)?;
    let mut decoder = EventDecoder::new(DecoderSettings {
        connector: "mirror".to_owned(),
        envelope: None,
        format: FormatConfig::default(),
        registry,
        contract: None,
        key_columns: Vec::new(),
    })?;
    let table = batch.tables.first().ok_or("there is a table")?;
    runtime.block_on(decoder.prepare(&records, &mut Target(Arc::clone(table))))?;
    let events = decoder.decode(&records, 0..records.len())?;
    match events.refused.first() {
        Some(refused) => Err(refused.refusal.reason.clone().into()),
        None => Ok((decoder, records)),
    }
}

fn records_of(encoded: &EncodedBatch) -> Result<RecordBatch, Failure> {
    let mut records = RecordBatch::default();
    for (offset, record) in encoded.records.iter().enumerate() {
        let key = record.key.as_ref().map(|key| encoded.slice(key));
        let value = record.value.as_ref().map(|value| encoded.slice(value));
        let place = (encoded.topic(record), 0);
        records.push(place, i64::try_from(offset)?, record.timestamp_ms, (key, value));
        for (name, value) in encoded.record_headers(record) {
            records.push_header(name, value);
        }
    }
    Ok(records)
}
