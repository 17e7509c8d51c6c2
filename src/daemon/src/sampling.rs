//! What is known of every connector, every five seconds, for the charts of the last hour.

use std::sync::Arc;

use tailrace_core::telemetry::Telemetry;
use tailrace_core::telemetry::history::SAMPLE_INTERVAL;
use tokio::time::MissedTickBehavior;

/// Samples whatever there is, until it is dropped. One task for the whole process.
pub(crate) async fn sample(connectors: impl Fn() -> Vec<Arc<Telemetry>>) {
    let mut tick = tokio::time::interval(SAMPLE_INTERVAL);
    // Samples that were missed are not made up for: they would all say the same.
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        for telemetry in connectors() {
            telemetry.sample();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn every_five_seconds_there_is_a_sample_of_each() {
        let connectors = ["orders", "mirror"].map(|name| Arc::new(Telemetry::new(name)));
        let sampling = sample(|| connectors.to_vec());
        let ended = tokio::time::timeout(Duration::from_secs(21), sampling).await;
        assert!(ended.is_err());
        for telemetry in connectors {
            assert_eq!(telemetry.history().samples.len(), 5, "{}", telemetry.connector);
        }
    }
}
