//! The HTTP endpoint: health, status, metrics, and the embedded registry of schemas. It runs on a thread and a runtime of its own, so that load on it cannot
//! starve replication, and so that it answers also when the rest of the process hangs.
//!
//! It asks nobody who they are. Therefore it listens only on addresses of this machine itself (the configuration refuses
//! others), no answer holds a secret, rows are shown of dead letters alone, which are beside snapshots all that can be changed, and requests
//! for another host's name are refused, because a browser that was led here by a foreign page (DNS rebinding) sends that
//! page's host.

pub(crate) mod client;
mod letters;
mod registry;
mod routes;
mod server;
mod snapshots;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tailrace_core::snapshot::SnapshotDesk;
use tailrace_core::telemetry::{Telemetry, now_us};
use tailrace_state::EmbeddedRegistry;

use crate::letters::LetterDesk;
pub(crate) use server::{Admin, listen};

/// A runtime that does not come around to a one-line task for so long makes no progress.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Often enough to notice; costs nothing.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// What the endpoint shows.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Every connector of the process.
    pub(crate) connectors: Vec<Arc<Telemetry>>,
    /// The dead letters of each of them.
    pub(crate) letters: Arc<[LetterDesk]>,
    /// Where snapshots are asked for, by connector.
    pub(crate) snapshots: Arc<[(String, Arc<SnapshotDesk>)]>,
    /// The main runtime's pulse.
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// The start of the process.
    pub(crate) started: Instant,
    /// Schemas of what is published, where no other registry is named.
    pub(crate) registry: EmbeddedRegistry,
    /// Where the endpoint listens; requests for other hosts are refused.
    pub(crate) address: SocketAddr,
}

/// When the main runtime last ran a task, microseconds since 1970.
#[derive(Debug)]
pub(crate) struct Heartbeat(AtomicI64);

// === impl Heartbeat ===

impl Heartbeat {
    /// Has beaten just now.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now_us())))
    }

    /// Beats for ever; a task of the main runtime.
    pub(crate) async fn beat(self: Arc<Self>) {
        let mut tick = tokio::time::interval(BEAT_INTERVAL);
        loop {
            tick.tick().await;
            self.0.store(now_us(), Ordering::Relaxed);
        }
    }

    /// True where the main runtime has not run a task for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        let age_us = now_us().saturating_sub(self.0.load(Ordering::Relaxed));
        u64::try_from(age_us).is_ok_and(|age_us| Duration::from_micros(age_us) > STALLED_AFTER)
    }

    #[cfg(test)]
    pub(crate) fn stopped_long_ago() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(0)))
    }
}
