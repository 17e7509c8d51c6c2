//! Whether a start could go on from what was saved, for somebody who does not start anything.

use std::collections::BTreeSet;

use tailrace_core::Result;
use tailrace_core::position::{Position, Progress};
use tailrace_core::snapshot::Resume;
use tailrace_sql::log_config::SnapshotMode;

use super::timeline;
use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::discover::survey;
use crate::memory::Memory;
use crate::position::Lsn;
use crate::slot::Slot;

/// What [`super::open`] would refuse of the slot, the server's history and the publication. Creates and remembers nothing.
///
/// # Errors
/// Those that it would give.
pub(crate) async fn verify_saved(
    config: &PostgresConfig,
    connector: &str,
    progress: Option<&Progress>,
    remembered: serde_json::Value,
) -> Result<()> {
    let memory = Memory::of_log(remembered)?;
    let resume = Resume::from_progress(progress)?;
    // Before there is a slot, nothing of it can be missing; nor where rows alone are read.
    let (Some(began_at), false) = (&memory.slot_began_at, reads_rows_alone(config, &resume)) else {
        return Ok(());
    };
    let saved = carried_up_to(began_at, &resume)?;
    let session = connect(config, connector, Purpose::Check).await?;
    let discovery = survey(&session, config, connector).await?;
    let names = config.server_names(connector)?;
    memory.verify(&Memory::new(&discovery.server, &names, BTreeSet::new()))?;
    let slot = Slot::read(&session, &names.slot).await?;
    Slot::verify(slot.as_ref(), &names.slot, saved)?;
    timeline::verify(config, connector, (discovery.server.timeline, memory.timeline), saved).await?;
    discovery.verify_publication(&memory)
}

/// Where rows are all that is wanted, and they are still being read, there is no log to go on with.
pub(super) fn reads_rows_alone(config: &PostgresConfig, resume: &Resume) -> bool {
    config.snapshot.mode == SnapshotMode::Only && !matches!(resume, Resume::Log(_))
}

/// The place of the log that everything behind must still be there of.
pub(super) fn carried_up_to(began_at: &Position, resume: &Resume) -> Result<Lsn> {
    Lsn::from_position(match resume {
        Resume::Bootstrap => began_at,
        Resume::Snapshot(snapshot) => &snapshot.log_start,
        Resume::Log(progress) => &progress.position,
    })
}
