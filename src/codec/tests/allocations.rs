//! How often the encoder allocates when it has seen its tables: per batch and per transaction, never per event.

#[path = "../examples/encode_speed/orders.rs"]
mod orders;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tailrace_core::ports::Encoder;

use orders::{KINDS, orders, warm_encoder};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations per event that no codec and no envelope may reach. A transaction of ten rows has a few of its own, a batch a dozen; one for
/// each event, key, value or cell would be ten times as much at the least.
const ALLOWED: f64 = 0.1;
const BATCHES: usize = 4;

/// The one test of this file: counts are those of the whole process.
#[test]
fn nothing_is_allocated_for_each_event() {
    let batch = orders().unwrap();
    for (codec, envelope) in KINDS {
        let mut encoder = warm_encoder(codec, envelope, &batch).unwrap();
        let allocated = Region::new(ALLOCATOR);
        let mut events = 0;
        for _ in 0..BATCHES {
            events += encoder.encode(&batch).unwrap().records.len();
        }
        let allocated = allocated.change();
        let float = |count: usize| f64::from(u32::try_from(count).unwrap());
        let per_event = float(allocated.allocations + allocated.reallocations) / float(events);
        assert_eq!(events, BATCHES * batch.changes.len());
        assert!(per_event > 0.0, "nothing was counted");
        assert!(
            per_event < ALLOWED,
            "{codec:?} {envelope:?}: {per_event} allocations per event"
        );
    }
}
