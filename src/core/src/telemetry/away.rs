//! For how long a connector was not carried before it went on: over a restart, an upgrade, an outage.

use serde::Serialize;

use super::{Telemetry, now_us};

/// How long a connector was away before it went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Away {
    /// Until when it was carried, microseconds since 1970.
    pub since_us: i64,
    /// When it went on, microseconds since 1970.
    pub until_us: i64,
    /// From the one to the other, milliseconds.
    pub ms: i64,
    /// Its end was seen. Otherwise its process was killed, `since_us` is when it was last known to be carried, and it was away for at most so
    /// long.
    pub is_exact: bool,
    /// Where it goes on from, in the connector's own form; `None` of a sink, whose target says it for each partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

// === impl Telemetry ===

impl Telemetry {
    /// It goes on after it was not carried since this time, microseconds since 1970.
    pub fn go_on(&self, (since_us, is_exact): (i64, bool), position: Option<&str>) {
        let until_us = now_us();
        let away = Away {
            since_us,
            until_us,
            // A clock that was set back has nobody come before they went.
            ms: (until_us - since_us).max(0) / 1000,
            is_exact,
            position: position.map(str::to_owned),
        };
        let from = position.map_or_else(String::new, |position| format!(", from {position}"));
        let (connector, away_ms, long) = (self.connector.as_str(), away.ms, clock_text(away.ms));
        if is_exact {
            tracing::info!(connector, away_ms, "goes on after {long} away{from}");
        } else {
            tracing::info!(
                connector,
                away_ms,
                "goes on after at most {long} away{from}: its end was not seen, and that long ago it was last known to be carried"
            );
        }
        self.with(|words| words.away = Some(away));
    }
}

/// Hours, minutes, seconds: `00:02:13.250`.
fn clock_text(ms: i64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("{:02}:{:02}:{seconds:02}.{ms:03}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_as_a_clock_says_it() {
        assert_eq!(clock_text(0), "00:00:00.000");
        assert_eq!(clock_text(133_250), "00:02:13.250");
        assert_eq!(clock_text(49 * 3_600_000 + 59_000), "49:00:59.000");
    }

    #[test]
    fn it_is_known_from_when_the_connector_goes_on() {
        let telemetry = Telemetry::new("orders");
        assert_eq!(telemetry.snapshot().away, None);
        telemetry.go_on((now_us() - 5_000_000, true), Some("0/1"));
        let away = telemetry.snapshot().away.unwrap();
        assert!(away.ms >= 5000 && away.is_exact, "{away:?}");
        assert_eq!(away.position.as_deref(), Some("0/1"));
        // The clock was set back in between.
        telemetry.go_on((now_us() + 60_000_000, false), None);
        assert_eq!(telemetry.snapshot().away.unwrap().ms, 0);
    }
}
