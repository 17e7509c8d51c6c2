//! Encoding of what rules have left of a batch: changes that they refuse are kept from the encoder, which knows nothing of what their
//! rows look like, and take their places among those that it refuses.

use crate::batch::ChangeBatch;
use crate::error::Result;
use crate::event::{EncodedBatch, Refused};
use crate::ports::Encoder;

/// Gets ready for what can be carried of a batch.
pub(super) async fn prepare(encoder: &mut dyn Encoder, batch: &ChangeBatch) -> Result<()> {
    encoder.prepare(&batch.carried()).await
}

/// Encodes what can be carried of a batch.
pub(super) fn encode(encoder: &mut dyn Encoder, batch: &ChangeBatch) -> Result<EncodedBatch> {
    let mut refused = batch.refused();
    if refused.is_empty() {
        return encoder.encode(batch);
    }
    let mut encoded = encoder.encode(&batch.carried())?;
    let views = batch.views().enumerate();
    let carried = views.filter(|(_, change)| change.refusal().is_none());
    let indexes: Vec<usize> = carried.map(|(index, _)| index).collect();
    refused.extend(encoded.refused.drain(..).filter_map(|Refused { change, refusal }| {
        let change = *indexes.get(change)?;
        Some(Refused { change, refusal })
    }));
    refused.sort_by_key(|refused| refused.change);
    encoded.refused = refused;
    Ok(encoded)
}
