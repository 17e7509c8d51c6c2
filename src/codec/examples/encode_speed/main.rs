//! What the encoder costs for each codec and envelope: events per second of CPU time, bytes and allocations per event.
//!
//! `cargo run --release -p tailrace-codec --example encode_speed -- [--json] [--batches N]`; `benches/run` runs it as the workload `codec`.

mod encoders;
mod orders;

use std::alloc::System;
use std::fmt;
use std::io::Write;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tailrace_codec::{Codec, Envelope};
use tailrace_core::batch::ChangeBatch;
use tailrace_core::ports::Encoder;

use encoders::{KINDS, warm_encoder};
use orders::{Failure, orders};

/// Counting costs two additions for each allocation, of which there is one in many events.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Two million events.
const BATCHES: u32 = 400;

/// What one codec cost in one envelope.
#[derive(serde::Serialize)]
struct Cost {
    codec: Codec,
    envelope: Envelope,
    events: u64,
    seconds: f64,
    events_per_cpu_second: f64,
    bytes_per_event: f64,
    allocations_per_event: f64,
    allocated_bytes_per_event: f64,
}

fn main() -> Result<(), Failure> {
    let (mut batches, mut is_json) = (BATCHES, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => is_json = true,
            "--batches" => batches = arguments.next().unwrap_or_default().parse()?,
            other => return Err(format!("{other:?} is no option; there are --json and --batches").into()),
        }
    }
    let batch = orders()?;
    let mut out = std::io::stdout();
    for (codec, envelope) in KINDS {
        let cost = measure(codec, envelope, &batch, batches)?;
        if is_json {
            writeln!(out, "{}", serde_json::to_string(&cost)?)?;
        } else {
            writeln!(out, "{cost}")?;
        }
    }
    Ok(())
}

fn measure(codec: Codec, envelope: Envelope, batch: &ChangeBatch, batches: u32) -> Result<Cost, Failure> {
    let mut encoder = warm_encoder(codec, envelope, batch)?;
    let (started, cpu_started, allocated) = (Instant::now(), cpu_seconds(), Region::new(ALLOCATOR));
    let (mut records, mut bytes) = (0, 0);
    for _ in 0..batches {
        let encoded = encoder.encode(batch)?;
        records += encoded.records.len();
        bytes += encoded.buffer.len();
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = match (cpu_started, cpu_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => seconds,
    };
    let allocated = allocated.change();
    let float = |count: usize| u32::try_from(count).map(f64::from);
    // Bytes of all batches do not fit into 32 bits.
    let per_batch = |count: usize| float(count / usize::try_from(batches.max(1))?).map_err(Failure::from);
    let events = float(records)?.max(1.0);
    let events_per_batch = per_batch(records)?.max(1.0);
    Ok(Cost {
        codec,
        envelope,
        events: u64::try_from(records)?,
        seconds,
        events_per_cpu_second: events / cpu,
        bytes_per_event: per_batch(bytes)? / events_per_batch,
        allocations_per_event: float(allocated.allocations + allocated.reallocations)? / events,
        allocated_bytes_per_event: per_batch(allocated.bytes_allocated)? / events_per_batch,
    })
}

/// CPU time of this thread, where Linux tells it.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = stat.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:?} {:?}: {:.0} events per CPU second; per event {:.0} bytes, {:.3} allocations of {:.0} bytes; {:.2} s",
            self.envelope,
            self.codec,
            self.events_per_cpu_second,
            self.bytes_per_event,
            self.allocations_per_event,
            self.allocated_bytes_per_event,
            self.seconds
        )
    }
}
