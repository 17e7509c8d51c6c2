//! The benchmark: what Tailrace, the physical limit and Debezium make of the same backlog in the same run.
//!
//! `benches/run` builds the release and starts this; its first lines say how. Nothing here decides whether something is fast
//! enough: figures go into a report, and only wrong counts fail.

use std::fmt;

use tailrace_tests::servers::{Kafka, KafkaOptions, Result, ServerError};

mod allocations;
mod backlogs;
mod codec;
mod large;
mod latency;
mod machine;
mod measurement;
mod options;
mod outage;
mod outbox;
mod processes;
mod readers;
mod report;
mod sink;
mod source;
mod topic;

use options::{Mode, Options};
use report::Report;

/// Until the broker's compiler is through: after one million, the first reader still met a broker that cost twice what it costs the second.
const WARM_UP_RECORDS: u64 = 5_000_000;

fn main() -> Result<()> {
    let options = Options::from_arguments(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed("starting the runtime"))?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin(options)?;
    let kafka = broker(options.mode).await?;
    for workload in &options.workloads {
        report.note(&format!("workload {workload}"));
        let measurements = workload.run(options, &kafka, &mut report).await;
        measurements.map_err(|error| ServerError::new(format!("workload {workload}: {error}")))?;
    }
    report.finish();
    Ok(())
}

/// A broker as Kafka's own scripts start it, and warm: the first gigabyte costs a JVM several times what the next one does.
async fn broker(mode: Mode) -> Result<Kafka> {
    let java_options = [
        "-Xmx1G",
        "-Xms1G",
        "-XX:-UseSerialGC",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35",
        "-XX:TieredStopAtLevel=4",
    ];
    let kafka = Kafka::start(KafkaOptions {
        java_options: java_options.map(str::to_owned).to_vec(),
        ..KafkaOptions::default()
    })?;
    if mode == Mode::Full {
        kafka.create_topic("warm-up", 1, &[]).await?;
        topic::fill(&kafka.bootstrap(), "warm-up", WARM_UP_RECORDS)?;
        topic::find(&kafka.bootstrap(), "warm-up", WARM_UP_RECORDS, WARM_UP_RECORDS)?;
        kafka.delete_topic("warm-up").await?;
    }
    Ok(kafka)
}

/// An error that says what was attempted and why it failed; for `map_err`.
pub(crate) fn failed<E: fmt::Display>(attempt: impl fmt::Display) -> impl FnOnce(E) -> ServerError {
    move |cause| ServerError::new(format!("{attempt}: {cause}"))
}
