//! What the decoder costs for each codec and envelope: events per second of CPU time, bytes and allocations per event.
//!
//! `cargo run --release -p tailrace-codec --example decode_speed -- [--json] [--batches N]`.

#[path = "../encode_speed/orders.rs"]
mod orders;
mod records;

use std::alloc::System;
use std::fmt;
use std::io::Write;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tailrace_core::ports::sink::Decoder;

use orders::Failure;
use records::{Kind, WRITTEN, warm_decoder};

/// Counting costs two additions for each allocation, of which there is one in many events.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Two million events.
const BATCHES: u32 = 400;

/// What one way of writing cost.
#[derive(serde::Serialize)]
struct Cost {
    kind: Kind,
    events: u64,
    seconds: f64,
    events_per_cpu_second: f64,
    bytes_per_event: f64,
    allocations_per_event: f64,
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
    let mut out = std::io::stdout();
    for kind in WRITTEN {
        let cost = measure(kind, batches)?;
        if is_json {
            writeln!(out, "{}", serde_json::to_string(&cost)?)?;
        } else {
            writeln!(out, "{cost}")?;
        }
    }
    Ok(())
}

fn measure(kind: Kind, batches: u32) -> Result<Cost, Failure> {
    let (mut decoder, records) = warm_decoder(kind)?;
    let (started, cpu_started, allocated) = (Instant::now(), cpu_seconds(), Region::new(ALLOCATOR));
    let mut events = 0;
    for _ in 0..batches {
        events += decoder.decode(&records, 0..records.len())?.changes.changes.len();
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = match (cpu_started, cpu_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => seconds,
    };
    let allocated = allocated.change();
    let float = |count: usize| u32::try_from(count).map(f64::from);
    Ok(Cost {
        kind,
        events: u64::try_from(events)?,
        seconds,
        events_per_cpu_second: float(events)? / cpu,
        bytes_per_event: float(records.size_bytes())? / float(records.len())?.max(1.0),
        allocations_per_event: float(allocated.allocations + allocated.reallocations)? / float(events)?.max(1.0),
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
        let Kind {
            envelope,
            codec,
            inline_schema,
        } = self.kind;
        let inline = if inline_schema { " with its schema" } else { "" };
        write!(
            formatter,
            "{envelope:?} {codec:?}{inline}: {:.0} events per CPU second; per event {:.0} bytes, {:.3} allocations; {:.2} s",
            self.events_per_cpu_second, self.bytes_per_event, self.allocations_per_event, self.seconds
        )
    }
}
