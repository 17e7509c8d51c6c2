//! How fast and how cheaply the producer delivers into a real broker.
//!
//! ```text
//! cargo run --release -p tailrace-kafka --example produce_speed -- 127.0.0.1:9092 [records] [name=value …]
//! ```
//!
//! Prints records per second and per CPU-second of this process (librdkafka's threads included), without headers and
//! with the six that every event carries. Values differ from each other, so that compression is not flattered.

use std::collections::VecDeque;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tailrace_core::event::{EncodedBatch, EncodedRecord, HeaderName};
use tailrace_core::ports::{EventStream as _, TopicSpec};
use tailrace_kafka::{KafkaStream, KafkaStreamConfig};

const RECORDS: usize = 2_000_000;
const RECORDS_PER_BATCH: usize = 4096;
const BATCHES_IN_FLIGHT: usize = 16;

struct Result {
    wall: Duration,
    cpu: Duration,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().context("give the broker as host:port")?;
    let records = arguments.next().map_or(Ok(RECORDS), |text| text.parse())?;
    let properties: serde_json::Map<String, serde_json::Value> = arguments
        .filter_map(|pair| Some((pair.split_once('=')?.0.to_owned(), pair.split_once('=')?.1.into())))
        .collect();
    let config = serde_json::json!({ "bootstrap_servers": [servers], "properties": properties });
    let config: KafkaStreamConfig = serde_json::from_value(config)?;
    for headers in [false, true] {
        let result = run(config.clone(), records, headers).await?;
        let per_second = |time: Duration| records as f64 / time.as_secs_f64() / 1000.0;
        writeln!(
            std::io::stdout(),
            "{} headers: {:.0} K records/s, {:.0} K records per CPU-second ({:.2} s, {:.2} s CPU)",
            if headers { "six" } else { "no" },
            per_second(result.wall),
            per_second(result.cpu),
            result.wall.as_secs_f64(),
            result.cpu.as_secs_f64(),
        )?;
    }
    Ok(())
}

async fn run(config: KafkaStreamConfig, records: usize, headers: bool) -> anyhow::Result<Result> {
    let stream = KafkaStream::new(config)?;
    let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let topic: Arc<str> = Arc::from(format!("produce_speed_{unique}"));
    stream
        .ensure_topic(&TopicSpec {
            name: Arc::clone(&topic),
            keyed: true,
        })
        .await?;
    let mut producer = stream.producer().await?;
    producer.deliver(batch(&topic, 0..1, headers)).await?; // The first record fetches the producer's id.
    // Prepared before the clock starts: only delivering is measured. Cloning one is a copy of its buffers.
    let prepared: Vec<EncodedBatch> = (0..8)
        .map(|part| {
            batch(
                &topic,
                part * RECORDS_PER_BATCH..(part + 1) * RECORDS_PER_BATCH,
                headers,
            )
        })
        .collect();
    let (since, cpu_before) = (Instant::now(), cpu_time()?);
    let mut in_flight = VecDeque::new();
    for number in 0..records / RECORDS_PER_BATCH {
        if in_flight.len() == BATCHES_IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await?;
        }
        let next = prepared.get(number % prepared.len()).context("prepared")?;
        in_flight.push_back(producer.deliver(next.clone()));
    }
    for rest in in_flight {
        rest.await?;
    }
    Ok(Result {
        wall: since.elapsed(),
        cpu: cpu_time()? - cpu_before,
    })
}

fn batch(topic: &Arc<str>, numbers: Range<usize>, headers: bool) -> EncodedBatch {
    let mut batch = EncodedBatch::default();
    let topic = batch.topic_index(topic);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ numbers.start as u64;
    for number in numbers {
        let mut put = |text: &str| {
            let start = batch.buffer.len();
            batch.buffer.extend_from_slice(text.as_bytes());
            start..batch.buffer.len()
        };
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let key = put(&format!("{{\"id\":{number}}}"));
        let value = put(&format!(
            "{{\"id\":{number},\"name\":\"customer {random:016x}\",\"city\":\"{:08x}\",\"amount\":\"{}.{:02}\",\"paid\":{},\
             \"created_at\":\"2026-01-01T00:00:00.{:06}Z\",\"note\":\"{:016x}\"}}",
            random >> 32,
            random % 10_000,
            random % 100,
            random & 1 == 0,
            random % 1_000_000,
            random.rotate_left(17),
        ));
        let mut all: Vec<(HeaderName, _)> = Vec::new();
        if headers {
            all.push((
                "updated_at".into(),
                put(&format!("2026-01-01T00:00:00.{:06}Z", random % 1_000_000)),
            ));
            all.push(("op".into(), put("c")));
            all.push(("source".into(), put("orders")));
            all.push(("position".into(), put(&format!("0/{random:X}"))));
            all.push((
                "event_id".into(),
                put(&format!("7123456789012345678-0/{random:X}-{number}")),
            ));
            all.push(("txn".into(), put("771")));
        }
        let first = batch.headers.len();
        batch.headers.extend(all);
        let headers = first..batch.headers.len();
        let timestamp_ms = i64::try_from(number).map_or(0, |number| 1_767_225_600_000 + number);
        batch.records.push(EncodedRecord {
            topic,
            key: Some(key),
            value: Some(value),
            headers,
            timestamp_ms,
        });
    }
    batch
}

/// CPU time of this process, all threads. Source: proc_pid_stat(5), fields 14 and 15, in hundredths of a second.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/self/stat")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap_or(0))
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
