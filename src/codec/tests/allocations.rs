//! How often encoder and decoder allocate when they have seen their tables: per batch and per transaction, never per event.

#[path = "../examples/encode_speed/encoders.rs"]
mod encoders;
#[path = "../examples/encode_speed/orders.rs"]
mod orders;
#[path = "../examples/decode_speed/records.rs"]
mod records;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tailrace_core::ports::Encoder;
use tailrace_core::ports::sink::Decoder;

use encoders::{KINDS, warm_encoder};
use orders::orders;
use records::{WRITTEN, warm_decoder};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations per event that no codec and no envelope may reach. A transaction of ten rows has a few of its own, a batch a dozen; one for
/// each event, key, value or cell would be ten times as much at the least.
const ALLOWED: f64 = 0.12;
const BATCHES: usize = 4;

/// The one test of this file: counts are those of the whole process.
#[test]
fn nothing_is_allocated_for_each_event() {
    let batch = orders().unwrap();
    for (codec, envelope) in KINDS {
        let mut encoder = warm_encoder(codec, envelope, &batch).unwrap();
        check(&format!("{codec:?} {envelope:?} written"), || {
            let records = encoder.encode(&batch).unwrap().records.len();
            assert_eq!(records, batch.changes.len());
            records
        });
    }
    for kind in WRITTEN {
        let (mut decoder, records) = warm_decoder(kind).unwrap();
        check(&format!("{kind:?} read"), || {
            let changes = decoder
                .decode(&records, 0..records.len())
                .unwrap()
                .changes
                .changes
                .len();
            assert_eq!(changes, records.len());
            changes
        });
    }
}

fn check(what: &str, mut run: impl FnMut() -> usize) {
    let allocated = Region::new(ALLOCATOR);
    let events: usize = (0..BATCHES).map(|_| run()).sum();
    let allocated = allocated.change();
    let float = |count: usize| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    let per_event = float(allocated.allocations + allocated.reallocations) / float(events);
    assert!(per_event > 0.0, "nothing was counted");
    assert!(per_event < ALLOWED, "{what}: {per_event} allocations per event");
}
