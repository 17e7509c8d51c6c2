//! Encoders, streams and decoders in a few words.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_codec::{DecoderSettings, EncoderSettings, Envelope, EventDecoder, EventEncoder, FormatConfig};
use tailrace_core::batch::{BeforeImage, ChangeBatch, ChangeView, Operation, RowView};
use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Encoder;
use tailrace_core::ports::sink::{Decoder, EventBatch, Targets};
use tailrace_core::record_batch::RecordBatch;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::{SharedSchema, TableName, TableSchema};
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{Datum, Value};

use crate::support::*;

/// A table that is written into, or none.
pub(crate) struct Target(pub(crate) Option<SharedSchema>);

#[async_trait]
impl Targets for Target {
    async fn target(&mut self, _: &Arc<str>, _: &TableName) -> tailrace_core::Result<Option<SharedSchema>> {
        Ok(self.0.clone())
    }
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// The records of a batch, as a stream gives them back.
pub(crate) fn records(encoded: &EncodedBatch) -> RecordBatch {
    let mut records = RecordBatch::default();
    for (offset, record) in (0..).zip(&encoded.records) {
        let bytes = |range: &Option<std::ops::Range<usize>>| range.as_ref().map(|range| encoded.slice(range).to_vec());
        let (key, value) = (bytes(&record.key), bytes(&record.value));
        records.push(
            (encoded.topic(record), 0),
            offset,
            record.timestamp_ms,
            (key.as_deref(), value.as_deref()),
        );
        for (name, value) in encoded.record_headers(record) {
            records.push_header(name, value);
        }
    }
    records
}

pub(crate) fn decoder_settings(envelope: Option<Envelope>, format: &str) -> DecoderSettings {
    DecoderSettings {
        connector: "mirror".into(),
        envelope,
        format: serde_json::from_str::<FormatConfig>(format).unwrap(),
        registry: None,
        contract: None,
        key_columns: Vec::new(),
    }
}

pub(crate) fn decode_with(
    settings: DecoderSettings,
    target: Option<&SharedSchema>,
    records: &RecordBatch,
) -> EventBatch {
    let mut decoder = EventDecoder::new(settings).unwrap();
    run(decoder.prepare(records, &mut Target(target.cloned()))).unwrap();
    decoder.decode(records, 0..records.len()).unwrap()
}

/// What is left of changes behind encoder, stream and decoder.
pub(crate) fn there_and_back(
    changes: &ChangeBatch,
    settings: EncoderSettings,
    target: Option<&SharedSchema>,
) -> EventBatch {
    let registry: Arc<dyn SchemaRegistry> = Arc::new(MemoryRegistry::default());
    let format = settings.format.clone();
    let settings = EncoderSettings {
        registry: Some(Arc::clone(&registry)),
        ..settings
    };
    let mut encoder = EventEncoder::new(settings).unwrap().with_clock(clock);
    run(encoder.prepare(changes)).unwrap();
    let encoded = encoder.encode(changes).and_then(EncodedBatch::complete).unwrap();
    let settings = DecoderSettings {
        connector: "mirror".into(),
        envelope: None,
        format,
        registry: Some(registry),
        contract: None,
        key_columns: Vec::new(),
    };
    decode_with(settings, target, &records(&encoded))
}

/// The one of a record with this key and value.
pub(crate) fn one(key: Option<&[u8]>, value: Option<&[u8]>) -> RecordBatch {
    let mut records = RecordBatch::default();
    records.push(("srv.shop.orders", 3), 41, 1_700_000_000_123, (key, value));
    records
}

/// A change, as columns with their values; unchanged ones have none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) operation: Operation,
    pub(crate) before: Option<Vec<(String, Option<Datum>)>>,
    pub(crate) image: BeforeImage,
    pub(crate) after: Option<Vec<(String, Option<Datum>)>>,
}

fn row(table: &TableSchema, row: RowView<'_>) -> Vec<(String, Option<Datum>)> {
    assert_eq!(
        row.len(),
        table.columns.len(),
        "a row has as many cells as its table has columns"
    );
    let cell = |(column, value): (&tailrace_core::schema::Column, Value<'_>)| (column.name.clone(), value.to_datum());
    table.columns.iter().zip(row.iter()).map(cell).collect()
}

pub(crate) fn seen(change: ChangeView<'_>) -> Seen {
    let table = change.table().unwrap();
    Seen {
        operation: change.operation(),
        before: change.before().map(|before| row(table, before)),
        image: change.change().before_image,
        after: change.after().map(|after| row(table, after)),
    }
}

/// The changes of a batch of which no record was refused.
pub(crate) fn all_seen(events: &EventBatch) -> Vec<Seen> {
    assert_eq!(events.refused, [], "nothing is refused");
    events.changes.views().map(seen).collect()
}

/// Names and values.
pub(crate) fn named<const COUNT: usize>(cells: [(&str, Datum); COUNT]) -> Vec<(String, Option<Datum>)> {
    cells
        .into_iter()
        .map(|(name, datum)| (name.to_owned(), Some(datum)))
        .collect()
}
