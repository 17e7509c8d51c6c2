//! What each codec costs the encoder in each envelope, without database and broker: `src/codec/examples/encode_speed`, in a process of its
//! own, which is built as the binary is.

use std::process::Command;

use serde::Deserialize;
use tailrace_tests::servers::{Result, ServerError};

use crate::failed;
use crate::measurement::Measurement;
use crate::options::{Mode, Options};
use crate::processes::Watch;
use crate::report::Report;

/// The name of the workload.
pub(crate) const NAME: &str = "codec";

/// Where `benches/run` says that the example is.
const BINARY: &str = "TAILRACE_ENCODE_SPEED";

/// A line of the example.
#[derive(Deserialize)]
struct Cost {
    codec: String,
    envelope: String,
    events: u64,
    seconds: f64,
    events_per_cpu_second: f64,
    bytes_per_event: f64,
    allocations_per_event: f64,
    allocated_bytes_per_event: f64,
}

/// Every codec in every envelope, one after the other in each round.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let binary = std::env::var(BINARY).map_err(|_| {
        ServerError::new(format!(
            "{BINARY} names the example encode_speed; benches/run builds it"
        ))
    })?;
    // Batches of 5000 events.
    let batches = if options.mode == Mode::Full { "400" } else { "10" };
    for round in 1..=options.rounds {
        let watch = Watch::start();
        let output = Command::new(&binary).args(["--json", "--batches", batches]).output();
        let output = output.map_err(failed("running encode_speed"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(ServerError::new(format!("encode_speed failed: {said}")));
        }
        let cost = watch.finish();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let found: Cost = serde_json::from_str(line).map_err(failed("reading what encode_speed printed"))?;
            let reader = format!("{}, {}", found.codec, found.envelope);
            let mut measurement = Measurement::new(NAME, &reader, round, cost.clone());
            measurement.events = found.events;
            measurement.seconds = found.seconds;
            measurement.figure("events_per_cpu_second", found.events_per_cpu_second);
            measurement.figure("bytes_per_event", found.bytes_per_event);
            measurement.figure("allocations_per_event", found.allocations_per_event);
            measurement.figure("allocated_bytes_per_event", found.allocated_bytes_per_event);
            report.add(measurement)?;
        }
    }
    Ok(())
}
