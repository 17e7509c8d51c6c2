//! How fast the file stream takes events: `cargo run --release -p tailrace-file --example append_speed [folder]`.
//!
//! Two million events of 200 bytes in batches of 5000, each batch synced to the disk before it counts.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailrace_core::Result;
use tailrace_core::event::{EncodedBatch, EncodedRecord};
use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset};
use tailrace_file::{FileStream, FileStreamConfig};

const BATCHES: usize = 400;
const RECORDS_PER_BATCH: usize = 5000;
const IN_FLIGHT: usize = 4;
const TOPIC: &str = "shop.orders";

#[tokio::main]
async fn main() -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("tailrace-append-speed-{}", std::process::id()));
    let folder = std::env::args().nth(1).map_or(scratch, PathBuf::from);
    let stream = FileStream::new(FileStreamConfig::at(&folder))?;
    let template = batch();
    let started = Instant::now();
    append(&stream, &template).await?;
    report("appended", started.elapsed());
    let started = Instant::now();
    read_back(&stream).await?;
    report("read back", started.elapsed());
    std::fs::remove_dir_all(&folder).ok();
    Ok(())
}

async fn append(stream: &FileStream, template: &EncodedBatch) -> Result<()> {
    let mut producer = stream.producer().await?;
    let mut outcomes = VecDeque::new();
    for _ in 0..BATCHES {
        if outcomes.len() == IN_FLIGHT
            && let Some(oldest) = outcomes.pop_front()
        {
            oldest.await?;
        }
        outcomes.push_back(producer.deliver(template.clone()));
    }
    for outcome in outcomes {
        outcome.await?;
    }
    Ok(())
}

async fn read_back(stream: &FileStream) -> Result<()> {
    let spec = ConsumerSpec {
        topics: vec![TOPIC.to_owned()],
        group: None,
        start: StartOffset::Earliest,
    };
    let mut consumer = stream.consumer(spec).await?;
    let mut read = 0;
    while read < BATCHES * RECORDS_PER_BATCH {
        read += consumer.poll(RECORDS_PER_BATCH, Duration::from_secs(1)).await?.len();
    }
    Ok(())
}

/// Events with a key, a value and two headers, 200 bytes on disk each.
fn batch() -> EncodedBatch {
    let mut batch = EncodedBatch::default();
    let topic = batch.topic_index(&Arc::from(TOPIC));
    for number in 0..RECORDS_PER_BATCH {
        let mut put = |text: &str| {
            batch.buffer.extend_from_slice(text.as_bytes());
            batch.buffer.len() - text.len()..batch.buffer.len()
        };
        let key = Some(put(&format!("{number:08}")));
        let value = Some(put(&"v".repeat(101)));
        let updated_at = put("2026-01-01T00:00:00.000000Z");
        let operation = put("c");
        let first = batch.headers.len();
        batch
            .headers
            .extend([("updated_at".into(), updated_at), ("op".into(), operation)]);
        let headers = first..batch.headers.len();
        batch.records.push(EncodedRecord {
            topic,
            key,
            value,
            headers,
            timestamp_ms: 1_767_225_600_000,
        });
    }
    batch
}

fn report(what: &str, elapsed: Duration) {
    let records = u32::try_from(BATCHES * RECORDS_PER_BATCH).map_or(0.0, f64::from);
    let per_second = records / elapsed.as_secs_f64();
    writeln!(
        io::stdout(),
        "{what} {records} records in {elapsed:.2?}: {per_second:.0} records/s"
    )
    .ok();
}
