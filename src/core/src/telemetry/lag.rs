//! How far a connector is behind, in time and in events: what can be said honestly, and nothing where nothing can.
//!
//! Lag is the age of the oldest change that is not durable at the other side. A source that has nothing to read is not behind, however long ago
//! its last event was; one that is not heard any more may be, and its lag grows from when it was heard last.
//!
//! | measure | caught up means | else the lag is counted from |
//! |---|---|---|
//! | log | everything was handed out that came, up to the end of the log that the server announced last, and nothing is in flight | the commit of the oldest change in flight; where none is, the commit of the newest durable change, or when it was caught up last, whichever is later |
//! | polls | never: between two polls nobody knows | when the poll began behind which nothing was left, or that of the oldest change in flight |
//! | stream | no partition has records that are not written | the timestamp of the newest record that is written, or when it was caught up last, whichever is later |
//!
//! Where nothing is in flight and a log goes on behind, the age of what was not read yet is not known. What is said then is its upper bound: the
//! oldest change that was not read was committed after everything that was.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

/// A source that is caught up says so again within this time (PostgreSQL is asked every ten seconds, MySQL sends heartbeats); from then on
/// nobody knows.
const HEARD_WITHIN_US: i64 = 120_000_000;

/// How it is known how far behind a connector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LagMeasure {
    /// A log in the order of commits, of which the end is announced.
    Log,
    /// Polls, each of which may find everything that was visible when it began.
    Polls,
    /// Partitions of a stream, whose ends are known.
    Stream,
}

/// What lag is counted from. Written per batch, per wait for more, or per second; read by whoever looks.
#[derive(Debug, Default)]
pub struct Reached {
    measure: AtomicU8,
    /// Everything that is there was handed out.
    at_end: AtomicBool,
    /// Everything that was committed at this time was handed out, microseconds since 1970; 0 where not known.
    complete_until_us: AtomicI64,
    /// Commit of the oldest change that was handed over and is not durable, microseconds since 1970; 0 where there is none.
    oldest_in_flight_us: AtomicI64,
}

/// What a lag is counted from, at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now_us: i64,
    /// When the source last said anything; 0 before.
    pub(super) seen_us: i64,
    /// Commit of the newest change that is durable; 0 before the first.
    pub(super) durable_commit_us: i64,
}

// === impl LagMeasure ===

impl LagMeasure {
    const ALL: [Self; 3] = [Self::Log, Self::Polls, Self::Stream];

    fn number(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Polls => 2,
            Self::Stream => 3,
        }
    }
}

// === impl Reached ===

impl Reached {
    /// How it is known; `None` before it is, as during the snapshot of a log's tables.
    pub fn measure(&self) -> Option<LagMeasure> {
        let number = self.measure.load(Ordering::Relaxed);
        LagMeasure::ALL.into_iter().find(|measure| measure.number() == number)
    }

    /// A source begins, for the first time or again, and is not caught up before it says so.
    pub(super) fn begin(&self, measure: LagMeasure, seen_us: i64) {
        self.leave(seen_us);
        self.measure.store(measure.number(), Ordering::Relaxed);
    }

    /// Nothing is read any more. What was handed out and did not become durable is handed out again: nothing after it is complete.
    pub(super) fn leave(&self, seen_us: i64) {
        let at_end = self.at_end.swap(false, Ordering::Relaxed);
        let known_us = self.complete_until_us.load(Ordering::Relaxed);
        let complete_us = if at_end { known_us.max(seen_us) } else { known_us };
        let oldest_us = self.oldest_in_flight_us.swap(0, Ordering::Relaxed);
        let complete_us = if oldest_us > 0 {
            complete_us.min(oldest_us)
        } else {
            complete_us
        };
        self.complete_until_us.store(complete_us, Ordering::Relaxed);
    }

    /// Whether everything that is there was handed out. Costs one load where that is as before.
    pub fn set_at_end(&self, at_end: bool, now_us: impl FnOnce() -> i64) {
        if self.at_end.load(Ordering::Relaxed) != at_end {
            // In both directions: until this moment nothing was left.
            self.complete_until_us.store(now_us(), Ordering::Relaxed);
            self.at_end.store(at_end, Ordering::Relaxed);
        }
    }

    /// Everything that was visible at this time was handed out, microseconds since 1970; 0 where that is not known.
    pub fn set_complete_until(&self, complete_until_us: i64) {
        self.complete_until_us.store(complete_until_us, Ordering::Relaxed);
    }

    /// The commit of the oldest change in flight, microseconds since 1970.
    pub fn set_oldest_in_flight(&self, committed_us: Option<i64>) {
        self.oldest_in_flight_us
            .store(committed_us.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Everything that is there was handed out, and the source has said so not long ago.
    pub(super) fn is_caught_up(&self, moment: Moment) -> bool {
        let heard_us = self.heard_us(moment);
        self.at_end.load(Ordering::Relaxed) && moment.now_us - heard_us <= HEARD_WITHIN_US
    }

    /// Microseconds; `None` where it is not known.
    pub(super) fn lag_us(&self, moment: Moment) -> Option<i64> {
        let measure = self.measure()?;
        let oldest_us = Some(self.oldest_in_flight_us.load(Ordering::Relaxed)).filter(|oldest_us| *oldest_us > 0);
        let complete_us = self.complete_until_us.load(Ordering::Relaxed);
        let since_us = match (measure, oldest_us) {
            (LagMeasure::Polls, _) => known(complete_us)?.min(oldest_us.unwrap_or(i64::MAX)),
            (LagMeasure::Log | LagMeasure::Stream, Some(oldest_us)) => oldest_us,
            (LagMeasure::Log | LagMeasure::Stream, None) if self.is_caught_up(moment) => return Some(0),
            (LagMeasure::Log | LagMeasure::Stream, None) if self.at_end.load(Ordering::Relaxed) => {
                self.heard_us(moment)
            }
            (LagMeasure::Log | LagMeasure::Stream, None) => known(complete_us.max(moment.durable_commit_us))?,
        };
        Some(moment.now_us.saturating_sub(since_us).max(0))
    }

    fn heard_us(&self, moment: Moment) -> i64 {
        moment.seen_us.max(self.complete_until_us.load(Ordering::Relaxed))
    }
}

fn known(time_us: i64) -> Option<i64> {
    (time_us > 0).then_some(time_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const NOW: i64 = 1_000_000 * SECOND;

    fn moment(seen_s_ago: i64, durable_s_ago: Option<i64>) -> Moment {
        Moment {
            now_us: NOW,
            seen_us: NOW - seen_s_ago * SECOND,
            durable_commit_us: durable_s_ago.map_or(0, |ago| NOW - ago * SECOND),
        }
    }

    fn begun(measure: LagMeasure) -> Reached {
        let reached = Reached::default();
        reached.begin(measure, 0);
        reached
    }

    fn lag_s(reached: &Reached, moment: Moment) -> Option<i64> {
        reached.lag_us(moment).map(|lag_us| lag_us / SECOND)
    }

    #[test]
    fn nothing_is_said_before_anything_is_known() {
        assert_eq!(Reached::default().lag_us(moment(0, Some(5))), None, "a snapshot");
        for measure in LagMeasure::ALL {
            let reached = begun(measure);
            assert_eq!(reached.measure(), Some(measure));
            assert_eq!(reached.lag_us(moment(0, None)), None);
        }
    }

    #[test]
    fn an_idle_log_is_caught_up_however_old_its_last_event_is() {
        let reached = begun(LagMeasure::Log);
        reached.set_at_end(true, || NOW - 7200 * SECOND);
        assert_eq!(lag_s(&reached, moment(8, Some(7200))), Some(0));
        // Nobody has heard of it for an hour: it may have written much.
        assert_eq!(lag_s(&reached, moment(3600, Some(7200))), Some(3600));
        reached.leave(NOW - 8 * SECOND);
        assert_eq!(
            lag_s(&reached, moment(8, Some(7200))),
            Some(8),
            "what came since the connection was lost"
        );
    }

    #[test]
    fn a_log_is_as_late_as_the_oldest_change_that_is_not_durable() {
        let reached = begun(LagMeasure::Log);
        reached.set_at_end(true, || NOW - 60 * SECOND);
        reached.set_oldest_in_flight(Some(NOW - 3 * SECOND));
        assert_eq!(lag_s(&reached, moment(0, Some(3600))), Some(3));
        reached.set_oldest_in_flight(None);
        assert_eq!(lag_s(&reached, moment(0, Some(3600))), Some(0));
        // A large transaction is on its way after an hour of silence.
        reached.set_at_end(false, || NOW - 20 * SECOND);
        assert_eq!(lag_s(&reached, moment(0, Some(3600))), Some(20));
    }

    #[test]
    fn a_log_that_is_read_after_an_outage_is_as_late_as_its_newest_durable_commit() {
        let reached = begun(LagMeasure::Log);
        assert_eq!(lag_s(&reached, moment(0, Some(900))), Some(900));
        assert_eq!(lag_s(&reached, moment(0, Some(30))), Some(30));
    }

    #[test]
    fn what_was_lost_in_flight_is_not_complete_after_a_new_start() {
        let reached = begun(LagMeasure::Log);
        reached.set_at_end(true, || NOW - 500 * SECOND);
        reached.set_oldest_in_flight(Some(NOW - 100 * SECOND));
        reached.begin(LagMeasure::Log, NOW - SECOND);
        assert_eq!(lag_s(&reached, moment(1, Some(500))), Some(100));
        // Nothing was in flight, and all was said until a second before the connection was lost.
        reached.set_at_end(true, || NOW - 50 * SECOND);
        reached.begin(LagMeasure::Log, NOW - SECOND);
        assert_eq!(lag_s(&reached, moment(1, Some(500))), Some(1));
    }

    #[test]
    fn polls_know_what_was_visible_when_they_began() {
        let reached = begun(LagMeasure::Polls);
        assert_eq!(
            reached.lag_us(moment(0, Some(1))),
            None,
            "a page of many says nothing of the rest"
        );
        reached.set_complete_until(NOW - 4 * SECOND);
        assert_eq!(lag_s(&reached, moment(0, Some(1))), Some(4));
        reached.set_oldest_in_flight(Some(NOW - 9 * SECOND));
        assert_eq!(lag_s(&reached, moment(0, Some(1))), Some(9));
    }

    #[test]
    fn a_stream_is_caught_up_where_no_record_waits() {
        let reached = begun(LagMeasure::Stream);
        reached.set_at_end(true, || NOW - SECOND);
        assert_eq!(lag_s(&reached, moment(7200, Some(7200))), Some(0));
        reached.set_at_end(false, || NOW - 2 * SECOND);
        assert_eq!(lag_s(&reached, moment(0, Some(7200))), Some(2));
    }
}
