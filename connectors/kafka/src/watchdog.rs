//! Notices that records are in flight and nothing is acknowledged any more, and decides when that is an error.

use std::time::{Duration, Instant};

use crate::error::Class;

/// While records are in flight: the longest that an acknowledgement waits for the thread. It waits on its channel and
/// not in librdkafka, because rdkafka's `poll` spins through the last millisecond of its timeout.
pub(crate) const BUSY_WAIT: Duration = Duration::from_millis(1);

/// While records are in flight and nothing is acknowledged any more, waking a thousand times a second is waste.
const STALLED_WAIT: Duration = Duration::from_millis(20);

/// Nothing acknowledged for so long: the waits get longer.
const STALLED_AFTER: Duration = Duration::from_secs(1);

pub(crate) const LIMITS: Limits = Limits {
    warn: Duration::from_secs(10),
    authentication: Duration::from_secs(10),
    unreachable: Duration::from_secs(60),
    silence: Duration::from_secs(300),
};

/// Notices that nothing is acknowledged any more.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limits: Limits,
    acknowledged: u64,
    since: Instant,
    warned: bool,
}

/// How long records may be in flight without any acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until it is logged.
    pub warn: Duration,
    /// Until credentials that are not accepted become an error: retrying without end locks accounts.
    pub authentication: Duration,
    /// Until brokers that do not answer become an error: longer than a broker takes to restart.
    pub unreachable: Duration,
    /// Until silence without any complaint becomes an error, as with too few replicas: long, because a slow link is
    /// silent too.
    pub silence: Duration,
}

// === impl Watchdog ===

impl Watchdog {
    /// Nothing is in flight yet.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            acknowledged: 0,
            since: Instant::now(),
            warned: false,
        }
    }

    /// The first batch after a pause.
    pub(crate) fn start(&mut self) {
        self.since = Instant::now();
        self.warned = false;
    }

    /// Whether something was acknowledged since the last look, or nothing is waited for.
    pub(crate) fn alive(&mut self, in_flight: usize, acknowledged: u64) -> bool {
        let alive = in_flight == 0 || acknowledged != self.acknowledged;
        if alive {
            if self.warned {
                tracing::info!("Kafka acknowledges again after {:?}", self.since.elapsed());
            }
            self.acknowledged = acknowledged;
            self.start();
        }
        alive
    }

    /// How long to wait for the next event.
    pub(crate) fn patience(&self) -> Duration {
        if self.since.elapsed() < STALLED_AFTER {
            BUSY_WAIT
        } else {
            STALLED_WAIT
        }
    }

    /// Since when nothing was acknowledged.
    pub(crate) fn silence(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether the silence is an error by now, given the newest complaint. Logged once on the way there.
    pub(crate) fn has_waited_too_long(&mut self, complaint: Option<Class>, said: &str) -> bool {
        let silence = self.since.elapsed();
        if silence >= self.limits.warn && !self.warned {
            self.warned = true;
            tracing::warn!("Kafka has not acknowledged anything for {silence:?}: {said}");
        }
        let limit = match complaint {
            Some(Class::Authentication | Class::Unauthorized) => self.limits.authentication,
            Some(Class::Unreachable) => self.limits.unreachable,
            Some(_) | None => self.limits.silence,
        };
        silence >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn silent(limits: Limits) -> Watchdog {
        let mut watchdog = Watchdog::new(limits);
        assert!(watchdog.alive(1, 1), "an acknowledgement is a sign of life");
        assert!(!watchdog.alive(1, 1));
        watchdog
    }

    #[test]
    fn each_complaint_has_a_limit_of_its_own() {
        let none = Limits {
            warn: HOUR,
            authentication: HOUR,
            unreachable: HOUR,
            silence: HOUR,
        };
        let unreachable = Limits {
            unreachable: Duration::ZERO,
            ..none
        };
        assert!(silent(unreachable).has_waited_too_long(Some(Class::Unreachable), ""));
        assert!(!silent(unreachable).has_waited_too_long(None, ""));
        assert!(!silent(unreachable).has_waited_too_long(Some(Class::Authentication), ""));
        let authentication = Limits {
            authentication: Duration::ZERO,
            ..none
        };
        assert!(silent(authentication).has_waited_too_long(Some(Class::Authentication), ""));
        assert!(!silent(authentication).has_waited_too_long(Some(Class::Unreachable), ""));
        let silence = Limits {
            silence: Duration::ZERO,
            ..none
        };
        assert!(silent(silence).has_waited_too_long(None, ""));
        assert!(silent(silence).has_waited_too_long(Some(Class::Replicas), ""));
    }

    #[test]
    fn with_nothing_in_flight_silence_is_peace() {
        let mut watchdog = silent(LIMITS);
        assert!(watchdog.alive(0, 1));
    }
}
