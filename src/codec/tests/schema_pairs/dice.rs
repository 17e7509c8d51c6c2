//! Random numbers, and the runs of them.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::TestRunner;

/// Pairs of schemas in a run.
pub(crate) const PAIRS: u32 = 20_000;

/// Random numbers from a seed: what failed once fails again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // xorshift64*, whose high bits are the good ones.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % limit
    }

    pub(crate) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    pub(crate) fn in_three(&mut self) -> bool {
        self.below(3) == 0
    }
}

/// Runs a test for each pair; what fails is told and not kept.
pub(crate) fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases: PAIRS,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}
