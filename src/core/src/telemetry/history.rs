//! The last hour of a connector, a sample every five seconds: what a chart shows before anybody has set up Prometheus.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// How far samples are apart.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// An hour of them: about 70 KB a connector.
const SAMPLES: usize = 720;

/// What was known of a connector at one moment. Counters are totals since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When, microseconds since 1970.
    pub at_us: i64,
    /// Changes taken from the source.
    pub changes: u64,
    /// Records that became durable.
    pub records: u64,
    /// Bytes that became durable.
    pub bytes: u64,
    /// Log that was not confirmed, bytes; `None` where unknown.
    pub lag_bytes: Option<i64>,
    /// How far it was behind, milliseconds; `None` where unknown.
    pub lag_ms: Option<i64>,
    /// How far it was behind, events; `None` where unknown.
    pub lag_events: Option<i64>,
    /// Log that the server kept for it, bytes; `None` where none is kept.
    pub retained_bytes: Option<u64>,
}

/// The last hour, as `GET /connectors/{name}/history` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// How far samples are apart, milliseconds.
    pub interval_ms: u64,
    /// Oldest first.
    pub samples: Vec<Sample>,
}

/// The samples that are kept.
#[derive(Debug, Default)]
pub(super) struct Ring(VecDeque<Sample>);

// === impl Ring ===

impl Ring {
    /// Adds one; the oldest goes where there are too many.
    pub(super) fn push(&mut self, sample: Sample) {
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    pub(super) fn history(&self) -> History {
        History {
            interval_ms: u64::try_from(SAMPLE_INTERVAL.as_millis()).unwrap_or(u64::MAX),
            samples: self.0.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept() {
        let mut ring = Ring::default();
        for at_us in 0..1000 {
            ring.push(Sample {
                at_us,
                changes: 0,
                records: 0,
                bytes: 0,
                lag_bytes: None,
                lag_ms: None,
                lag_events: None,
                retained_bytes: None,
            });
        }
        let history = ring.history();
        assert_eq!(history.samples.len(), 720);
        assert_eq!(history.samples[0].at_us, 280);
        assert_eq!(history.samples[719].at_us, 999);
        let json = serde_json::to_value(&history).unwrap();
        assert_eq!(json["interval_ms"], 5000);
        assert_eq!(json["samples"][0]["lag_ms"], serde_json::Value::Null);
    }
}
