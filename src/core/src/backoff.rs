//! How long to wait before the next attempt.

use std::time::Duration;

/// Soon enough that a broker's failover is not noticed, long enough not to hammer.
const FIRST: Duration = Duration::from_millis(250);
/// A database that comes back after an hour is noticed within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// Doubles at each failure without progress; between half and all of it, so that many connectors do not come at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

// === impl Backoff ===

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// There was progress: the next failure is a new one.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_cap_and_begin_anew_after_progress() {
        let mut backoff = Backoff::default();
        let mut whole = FIRST;
        for _ in 0..12 {
            let wait = backoff.next_wait();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(LONGEST);
        }
        assert_eq!(whole, LONGEST);
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
