//! The encoders that are measured. For `encode_speed` and for the test of how often they allocate.

use tailrace_codec::{Codec, Envelope, EventEncoder};
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::Encoder;

use crate::orders::{Failure, encoder_settings};

/// Everything that is measured, by codec and envelope.
pub(crate) const KINDS: [(Codec, Envelope); 6] = [
    (Codec::Json, Envelope::Entity),
    (Codec::JsonSchema, Envelope::Entity),
    (Codec::Avro, Envelope::Entity),
    (Codec::Json, Envelope::Debezium),
    (Codec::JsonSchema, Envelope::Debezium),
    (Codec::Avro, Envelope::Debezium),
];

/// An encoder that has seen the table and sized its buffers.
pub(crate) fn warm_encoder(codec: Codec, envelope: Envelope, batch: &ChangeBatch) -> Result<EventEncoder, Failure> {
    let mut encoder = EventEncoder::new(encoder_settings(envelope, codec)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(encoder.prepare(batch))?;
    // The first batch says how much room those after it need.
    for _ in 0..2 {
        encoder.encode(batch)?;
    }
    Ok(encoder)
}
