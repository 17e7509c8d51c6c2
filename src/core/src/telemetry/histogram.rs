//! Histograms of fixed buckets: a search among two dozen bounds and two atomic additions for each observation, whatever it stands for.
//!
//! They are observed once per batch, transaction or checkpoint, never per event. Bounds are whole numbers in the smallest unit (microseconds,
//! bytes, records), which are compared without rounding; the text for Prometheus divides.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// More bounds than any histogram has, and the bucket above all of them.
const MAXIMUM_BUCKETS: usize = 24;

/// Counts of values by their size.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, inclusive, ascending.
    bounds: &'static [u64],
    /// How many of the smallest unit make the one that is shown.
    per_unit: f64,
    buckets: [AtomicU64; MAXIMUM_BUCKETS],
    /// The bits of a double: a hundred million records that are a week late do not fit into a whole number of microseconds.
    sum: AtomicU64,
}

/// A histogram at one moment, in the unit that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// Of all values.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
    /// Upper bound and how many are in this bucket alone; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// Everything that is measured in buckets of one connector.
#[derive(Debug)]
pub struct Histograms {
    /// From commit to durable, microseconds, once per batch of a source or transaction of a sink, with the weight of its records. What is taken is
    /// the commit of its first change: no record of it waited longer. Rows of a snapshot, which were committed at some time, are left out.
    pub commit_to_durable: Histogram,
    /// Records that became durable together.
    pub batch_records: Histogram,
    /// Bytes that became durable together.
    pub batch_bytes: Histogram,
    /// For how long a checkpoint was being saved, microseconds.
    pub checkpoint_save: Histogram,
    /// For how long a target was writing a transaction, its commit included, microseconds.
    pub sink_transaction: Histogram,
}

/// From a millisecond, which is what a broker nearby takes, to an hour, after which only the order of magnitude matters.
const LATENCY_BOUNDS_US: [u64; 18] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
];
/// From a fifth of a millisecond, which a save into memory takes, to a disk or a server that hangs.
const WORK_BOUNDS_US: [u64; 15] = [
    200, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 15_000_000,
    60_000_000,
];
/// A batch has at most 4096 changes, a transaction of a sink as many as are configured.
const RECORD_BOUNDS: [u64; 9] = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536];
/// From a small row to the largest transaction of a sink.
const BYTE_BOUNDS: [u64; 10] = [
    256,
    1 << 10,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
];

// === impl Histogram ===

impl Histogram {
    const fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        Self {
            bounds,
            per_unit,
            buckets: [const { AtomicU64::new(0) }; MAXIMUM_BUCKETS],
            sum: AtomicU64::new(0),
        }
    }

    /// A value that so many things have.
    pub fn observe(&self, value: u64, times: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(times, Ordering::Relaxed);
        }
        let added = float(value) * float(times);
        let add = |bits| (f64::from_bits(bits) + added).to_bits();
        // Nobody else writes at the same time but another writer of the same sink.
        self.sum.update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// A time, in microseconds.
    pub fn observe_time(&self, took: Duration) {
        self.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), 1);
    }

    /// What was observed so far; `None` where nothing was.
    pub fn counted(&self) -> Option<Counted> {
        let bounds = self.bounds.iter().map(|bound| float(*bound) / self.per_unit);
        let bounds = bounds.chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        (count > 0).then(|| Counted {
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)) / self.per_unit,
            count,
            buckets,
        })
    }
}

/// Prometheus knows only doubles; a count beyond 2^53 is rounded.
#[expect(clippy::cast_precision_loss, reason = "the text format has doubles")]
fn float(value: u64) -> f64 {
    value as f64
}

// === impl Histograms ===

impl Default for Histograms {
    fn default() -> Self {
        const MICROSECONDS: f64 = 1e6;
        Self {
            commit_to_durable: Histogram::new(&LATENCY_BOUNDS_US, MICROSECONDS),
            batch_records: Histogram::new(&RECORD_BOUNDS, 1.0),
            batch_bytes: Histogram::new(&BYTE_BOUNDS, 1.0),
            checkpoint_save: Histogram::new(&WORK_BOUNDS_US, MICROSECONDS),
            sink_transaction: Histogram::new(&WORK_BOUNDS_US, MICROSECONDS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_reaches_it() {
        let histogram = Histogram::new(&WORK_BOUNDS_US, 1e6);
        assert_eq!(histogram.counted(), None, "what was never observed has no series");
        for (value, times) in [(0, 1), (200, 2), (201, 3), (60_000_000, 4), (60_000_001, 5)] {
            histogram.observe(value, times);
        }
        let counted = histogram.counted().unwrap();
        assert_eq!(counted.count, 15);
        assert_eq!(counted.buckets[0], (0.0002, 3));
        assert_eq!(counted.buckets[1], (0.0005, 3));
        assert_eq!(counted.buckets[14], (60.0, 4));
        assert_eq!(counted.buckets[15], (f64::INFINITY, 5));
        assert_eq!(counted.buckets.len(), 16);
        let sum = (400.0 + 603.0 + 240_000_000.0 + 300_000_005.0) / 1e6;
        assert!((counted.sum - sum).abs() < 1e-9, "{}", counted.sum);
    }

    #[test]
    fn every_histogram_has_room_for_the_bucket_above_its_bounds() {
        let histograms = Histograms::default();
        let all = [
            &histograms.commit_to_durable,
            &histograms.batch_records,
            &histograms.batch_bytes,
            &histograms.checkpoint_save,
            &histograms.sink_transaction,
        ];
        for histogram in all {
            assert!(histogram.bounds.len() < MAXIMUM_BUCKETS);
            assert!(histogram.bounds.is_sorted_by(|left, right| left < right));
            histogram.observe(u64::MAX, 1);
            assert_eq!(histogram.counted().unwrap().buckets.last().unwrap().1, 1);
        }
    }
}
