//! What a source's log costs its server, and when the server will give the connector up at the rate at which that grows.

use std::collections::VecDeque;

use serde::Serialize;

/// What was reported longer ago says nothing about the rate of now.
const WINDOW_US: i64 = 600_000_000;
/// In less than this a rate is noise.
const SHORTEST_US: i64 = 60_000_000;
/// Reports nearer to each other than this are one.
const APART_US: i64 = 1_000_000;

/// What the log costs the server, as the server reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogRetention {
    /// Log that the server keeps for this connector, bytes.
    pub retained_bytes: u64,
    /// What may still be written before the server gives the connector up, bytes; `None` where there is no limit.
    pub safe_bytes: Option<u64>,
    /// When that will be so, seconds from now, at the rate at which `retained_bytes` has grown in the last ten minutes; `None` where it has not
    /// grown, or there is no limit. Filled in by [`super::Telemetry::set_retention`], whatever the caller says.
    pub seconds_to_loss: Option<u64>,
    /// The same in words.
    pub summary: String,
}

/// Reports of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct RetentionWindow {
    /// When, in microseconds since 1970, and how much was kept then, in bytes.
    reports: VecDeque<(i64, u64)>,
}

// === impl RetentionWindow ===

impl RetentionWindow {
    /// Notes a report.
    pub(super) fn note(&mut self, now_us: i64, retained_bytes: u64) {
        // A clock that was set back makes everything before it worthless.
        self.reports
            .retain(|(at_us, _)| (0..=WINDOW_US).contains(&(now_us - at_us)));
        if self.reports.back().is_none_or(|(at_us, _)| now_us - at_us >= APART_US) {
            self.reports.push_back((now_us, retained_bytes));
        }
    }

    /// Until so many more bytes are written, seconds; `None` where it does not come to that.
    ///
    /// What a server keeps is a saw: it grows until the next checkpoint lets files go. So the lowest point of the older half of the window is
    /// compared with the lowest of the younger one: teeth shorter than a half cancel out, and steady growth is seen exactly.
    pub(super) fn seconds_until(&self, safe_bytes: u64) -> Option<u64> {
        let (first_us, last_us) = (self.reports.front()?.0, self.reports.back()?.0);
        if last_us - first_us < SHORTEST_US {
            return None;
        }
        let middle_us = first_us + (last_us - first_us) / 2;
        let lowest = |is_meant: &dyn Fn(i64) -> bool| {
            let meant = self.reports.iter().filter(|(at_us, _)| is_meant(*at_us));
            meant.min_by_key(|(_, bytes)| *bytes).copied()
        };
        let (older_us, older_bytes) = lowest(&|at_us| at_us < middle_us)?;
        let (younger_us, younger_bytes) = lowest(&|at_us| at_us >= middle_us)?;
        let grown_bytes = u128::from(younger_bytes.checked_sub(older_bytes).filter(|grown| *grown > 0)?);
        let within_us = u128::try_from(younger_us - older_us)
            .ok()
            .filter(|within| *within > 0)?;
        let seconds = u128::from(safe_bytes) * within_us / grown_bytes / 1_000_000;
        Some(u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: u64 = 1_000_000;

    /// Reports every ten seconds.
    fn window(retained_bytes: impl IntoIterator<Item = u64>) -> RetentionWindow {
        let mut window = RetentionWindow::default();
        for (tick, bytes) in (1_i64..).zip(retained_bytes) {
            window.note(tick * 10_000_000, bytes);
        }
        window
    }

    #[test]
    fn steady_growth_reaches_the_limit_when_it_should() {
        // One megabyte a second.
        let growing = window((0..60).map(|tick| tick * 10 * MEGABYTE));
        assert_eq!(growing.seconds_until(3600 * MEGABYTE), Some(3600));
        assert_eq!(growing.seconds_until(0), Some(0));
    }

    #[test]
    fn what_does_not_grow_is_never_lost() {
        assert_eq!(window([5 * MEGABYTE; 60]).seconds_until(MEGABYTE), None);
        assert_eq!(
            window((0..60).map(|tick| (60 - tick) * MEGABYTE)).seconds_until(MEGABYTE),
            None
        );
        // The teeth of checkpoints, one in two minutes.
        let saw = window((0..60).map(|tick| (tick % 12) * 16 * MEGABYTE));
        assert_eq!(saw.seconds_until(MEGABYTE), None);
    }

    #[test]
    fn a_saw_on_a_slope_is_a_slope() {
        let slope = window((0..60).map(|tick| tick * 10 * MEGABYTE + (tick % 12) * 16 * MEGABYTE));
        let seconds = slope.seconds_until(3600 * MEGABYTE).unwrap();
        assert!((3500..=3700).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_minute_is_needed_and_ten_are_remembered() {
        assert_eq!(window([0, MEGABYTE, 2 * MEGABYTE]).seconds_until(MEGABYTE), None);
        // It grew for an hour, and has not for the last ten minutes.
        let stopped = window((0..360).map(|tick| tick * MEGABYTE).chain([360 * MEGABYTE; 62]));
        assert_eq!(stopped.seconds_until(MEGABYTE), None);
        assert!(stopped.reports.len() <= 61, "{}", stopped.reports.len());
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_new_window() {
        let mut window = window((0..60).map(|tick| tick * MEGABYTE));
        window.note(1_000_000, MEGABYTE);
        assert_eq!(window.reports.len(), 1);
    }
}
