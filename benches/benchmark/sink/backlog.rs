//! The backlog of W4: events as Tailrace's own encoder makes them of a source's rows, in Kafka and in the embedded stream.

use std::path::{Path, PathBuf};

use tailrace_codec::{DEFAULT_TOPIC_TEMPLATE, EncoderSettings, EventEncoder, FormatConfig, TopicTemplate};
use tailrace_core::ports::{Encoder, EventStream, Producer};
use tailrace_file::{FileStream, FileStreamConfig};
use tailrace_kafka::{KafkaStream, KafkaStreamConfig, TopicsConfig};
use tailrace_tests::servers::{Kafka, Result, ServerError};
use tempfile::TempDir;

use super::rows::{Pass, TABLE, Totals, changes, schema};
use crate::failed;

/// Of the topic in Kafka; the embedded stream has one partition per topic.
pub(super) const PARTITIONS: i32 = 16;

/// Rows that are encoded and delivered at a time.
const ROWS_AT_A_TIME: usize = 5_000;

/// Two topics, one of new rows and one that changes all of them, each in both streams.
pub(super) struct Backlog {
    pub(super) new: PassBacklog,
    pub(super) changed: PassBacklog,
    /// Of the embedded stream.
    folder: TempDir,
}

/// The topic of a pass.
pub(super) struct PassBacklog {
    pub(super) pass: Pass,
    pub(super) topic: String,
    /// Of its rows.
    pub(super) totals: Totals,
    /// Keys, values and headers, uncompressed.
    pub(super) record_bytes: u64,
}

/// Where events are delivered.
type Producers = [Box<dyn Producer>; 2];

// === impl Backlog ===

impl Backlog {
    /// Fills the topics, whose names begin with `prefix`.
    pub(super) async fn fill(prefix: &str, rows: u64, kafka: &Kafka) -> Result<Backlog> {
        let folder = TempDir::with_prefix("tailrace-benchmark-").map_err(failed("making a folder for a stream"))?;
        let mut producers = producers(folder.path(), kafka).await?;
        Ok(Backlog {
            new: PassBacklog::fill(Pass::New, prefix, rows, (kafka, &mut producers)).await?,
            changed: PassBacklog::fill(Pass::Changed, prefix, rows, (kafka, &mut producers)).await?,
            folder,
        })
    }

    /// Of the embedded stream.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// In the order in which they are drained.
    pub(super) fn passes(&self) -> [&PassBacklog; 2] {
        [&self.new, &self.changed]
    }

    /// Takes the topics away.
    pub(super) async fn clean_up(&self, kafka: &Kafka) -> Result<()> {
        for backlog in self.passes() {
            kafka.delete_topic(&backlog.topic).await?;
        }
        Ok(())
    }
}

// === impl PassBacklog ===

impl PassBacklog {
    async fn fill(
        pass: Pass,
        prefix: &str,
        rows: u64,
        (kafka, producers): (&Kafka, &mut Producers),
    ) -> Result<PassBacklog> {
        let prefix = format!("{prefix}-{}", pass.name());
        let topic = format!("{prefix}.public.{TABLE}");
        kafka
            .create_topic(&topic, PARTITIONS, &[("retention.ms", "-1")])
            .await?;
        let table = schema();
        let mut encoder = encoder(&prefix)?;
        let mut parcels = pass.parcels(rows);
        let (mut records, mut record_bytes) = (0, 0);
        loop {
            let taken: Vec<_> = parcels.by_ref().take(ROWS_AT_A_TIME).collect();
            if taken.is_empty() {
                break;
            }
            let batch = changes(pass, &table, &taken).map_err(failed("making the backlog"))?;
            encoder.prepare(&batch).await.map_err(failed("preparing the encoder"))?;
            let encoded = encoder.encode(&batch).and_then(|encoded| encoded.complete());
            let encoded = encoded.map_err(failed("encoding the backlog"))?;
            let [first, second] = producers;
            let (first, second) =
                futures_util::future::join(first.deliver(encoded.clone()), second.deliver(encoded)).await;
            let receipt = first.and(second).map_err(failed("delivering the backlog"))?;
            records += receipt.records as u64;
            record_bytes += receipt.bytes as u64;
        }
        if records != rows {
            return Err(ServerError::new(format!("{rows} rows became {records} records")));
        }
        Ok(PassBacklog {
            pass,
            topic,
            totals: Totals::of(pass, rows),
            record_bytes,
        })
    }
}

async fn producers(folder: &Path, kafka: &Kafka) -> Result<Producers> {
    let in_kafka = KafkaStream::new(KafkaStreamConfig {
        bootstrap_servers: vec![kafka.bootstrap()],
        topics: TopicsConfig::default(),
        tls: None,
        sasl: None,
        properties: std::collections::BTreeMap::new(),
    });
    let in_kafka = in_kafka.map_err(failed("configuring a stream"))?;
    let in_files = FileStream::new(FileStreamConfig::at(folder)).map_err(failed("configuring a stream"))?;
    Ok([
        in_kafka.producer().await.map_err(failed("making a producer"))?,
        in_files.producer().await.map_err(failed("making a producer"))?,
    ])
}

/// As a connector without a `format` has it: the entity envelope, JSON.
fn encoder(prefix: &str) -> Result<EventEncoder> {
    let encoder = EventEncoder::new(EncoderSettings {
        connector: "shop".to_owned(),
        prefix: prefix.to_owned(),
        source_kind: "postgresql".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        format: FormatConfig::default(),
        template: TopicTemplate::parse(DEFAULT_TOPIC_TEMPLATE).map_err(failed("reading the topic's template"))?,
        registry: None,
        contracts: None,
        telemetry: None,
    });
    encoder.map_err(failed("making the encoder"))
}
