//! Simulation of the core.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod connector;
mod database;
mod log;
mod oracle;
mod store;
mod stream;
mod walk;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use walk::{Report, walk};

/// Seeds of the ordinary test run.
const SEEDS: std::ops::Range<u64> = 0..500;
/// One seed to walk again with its whole trace, or a range of seeds for a long run: `7`, `500..20000`.
const SEED_VARIABLE: &str = "TAILRACE_SIMULATION_SEED";

/// Lines of a trace that are printed where a seed failed.
const LAST_LINES: usize = 60;

/// A fault that never comes proves nothing.
const MUST_HAPPEN: [&str; 24] = [
    "answer held",
    "answer slow",
    "batch cut inside a transaction",
    "crash after the write",
    "crash lost the write",
    "definite error",
    "drain timed out",
    "drained",
    "failed after write",
    "failed midway",
    "fenced",
    "heartbeat",
    "killed",
    "pause",
    "poison",
    "rejected",
    "resume",
    "scan interrupted",
    "sent again",
    "stall",
    "store: written, answer lost",
    "table added",
    "transient error",
    "written after the client was gone",
];

fn seeds() -> (std::ops::Range<u64>, bool) {
    let Ok(text) = std::env::var(SEED_VARIABLE) else {
        return (SEEDS, false);
    };
    let number = |text: &str| {
        text.parse::<u64>()
            .unwrap_or_else(|_| panic!("{SEED_VARIABLE}={text} is not a number"))
    };
    match text.split_once("..") {
        Some((first, end)) => (number(first)..number(end), false),
        None => (number(&text)..number(&text) + 1, true),
    }
}

/// Walks through a seed, and ends the test where a promise was broken.
fn walk_or_tell(seed: u64) -> Report {
    let walked = catch_unwind(AssertUnwindSafe(|| walk(seed)));
    let Ok(report) = walked else {
        panic!("seed {seed} panicked; {SEED_VARIABLE}={seed} walks through it again");
    };
    if let Some(violation) = &report.violation {
        let from = report.trace.len().saturating_sub(LAST_LINES);
        let trace = report.trace[from..].join("\n");
        panic!("seed {seed}: {violation}\n{trace}\n{SEED_VARIABLE}={seed} walks through it again and prints all of it");
    }
    report
}

#[test]
fn every_promise_is_kept_whatever_happens() {
    let (seeds, is_replay) = seeds();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in seeds.clone() {
        if is_replay {
            println!("{}", walk(seed).trace.join("\n"));
        }
        for (name, times) in walk_or_tell(seed).seen {
            *seen.entry(name).or_default() += times;
        }
    }
    println!("{} seeds: {seen:#?}", seeds.end - seeds.start);
    if seeds == SEEDS {
        let never: Vec<_> = MUST_HAPPEN.iter().filter(|name| !seen.contains_key(*name)).collect();
        assert!(
            never.is_empty(),
            "these never happened, so nothing is known about them: {never:?}"
        );
    }
}

/// Without this a seed that failed could not be walked again.
#[test]
fn a_seed_always_walks_the_same_way() {
    for seed in 0..20 {
        assert_eq!(walk(seed).trace, walk(seed).trace, "seed {seed}");
    }
}
