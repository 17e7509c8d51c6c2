//! The benchmark: what Tailrace, the physical limit and Debezium make of the same backlog in the same run.
//!
//! `benches/run` builds the release and starts this; its first lines say how. Nothing here decides whether something is fast
//! enough: figures go into a report, and only wrong counts fail.

use std::fmt;

use tailrace_tests::servers::{Kafka, KafkaOptions, Result, ServerError};

mod backlogs;
mod measurement;
mod options;
mod processes;
mod readers;
mod report;
mod source;
mod topic;

use options::Options;
use report::Report;

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
    let kafka = broker()?;
    for workload in &options.workloads {
        report.note(&format!("workload {workload}"));
        let measurements = workload.run(options, &kafka, &mut report).await;
        measurements.map_err(|error| ServerError::new(format!("workload {workload}: {error}")))?;
    }
    report.finish()
}

/// A broker with the heap and the compiler that Kafka's own scripts give it.
fn broker() -> Result<Kafka> {
    let java_options = ["-Xmx1g", "-Xms1g", "-XX:TieredStopAtLevel=4"];
    Kafka::start(KafkaOptions {
        java_options: java_options.map(str::to_owned).to_vec(),
        ..KafkaOptions::default()
    })
}

/// An error that says what was attempted and why it failed; for `map_err`.
pub(crate) fn failed<E: fmt::Display>(attempt: impl fmt::Display) -> impl FnOnce(E) -> ServerError {
    move |cause| ServerError::new(format!("{attempt}: {cause}"))
}
