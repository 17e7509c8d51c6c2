//! For how long connectors were away: until when each was carried is taken down, and what that comes to is said when it goes on.
//!
//! A connector is carried while it is snapshotting or streaming. One that is paused, degraded or halted is not: of one that could not reach its
//! database for an hour before its process ended, that hour counts. What takes it down may fail without harm; checkpoints say it too.

use std::sync::Arc;
use std::time::Duration;

use tailrace_core::Result;
use tailrace_core::telemetry::Telemetry;
use tailrace_state::StateStore;
use tokio::time::MissedTickBehavior;

use super::Supervisor;

/// What a kill leaves open: a connector that has nothing to carry saves no checkpoints. Often enough to say something, and seldom enough
/// that a disk can sleep beside it.
const MARK_INTERVAL: Duration = Duration::from_secs(10);

/// Takes down which connectors are carried, until it is dropped. One task for the whole process.
pub(crate) async fn mark(supervisor: Arc<Supervisor>) {
    let mut tick = tokio::time::interval(MARK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // Each says itself when it ends.
        if supervisor.must_be_open().is_err() {
            return;
        }
        let telemetry = supervisor.telemetry();
        let carried = telemetry.iter().filter(|telemetry| telemetry.life().is_ready());
        let carried: Vec<String> = carried.map(|telemetry| telemetry.connector.clone()).collect();
        if carried.is_empty() {
            continue;
        }
        if let Err(error) = supervisor.assembly().state.are_carried(&carried).await {
            tracing::debug!(code = error.code(), "not taken down: {}", error.report());
        }
    }
}

/// A connector is carried from now on: says how long it was away, where it was carried before.
pub(super) async fn begins(state: &StateStore, telemetry: &Telemetry, position: Option<&str>) -> Result<()> {
    if let Some(until) = state.carried_until(&telemetry.connector).await? {
        telemetry.go_on((until.at_ms.saturating_mul(1000), until.is_exact), position);
    }
    state.are_carried(std::slice::from_ref(&telemetry.connector)).await
}

/// Takes down that a connector ends now, where it was carried until now.
pub(super) async fn ends(state: &StateStore, telemetry: &Telemetry) {
    if !telemetry.life().is_ready() {
        return;
    }
    if let Err(error) = state.ends(&telemetry.connector).await {
        tracing::debug!(
            connector = telemetry.connector,
            code = error.code(),
            "not taken down: {}",
            error.report()
        );
    }
}
