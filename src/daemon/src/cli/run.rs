//! `tailrace run`: everything that the configuration says, until a signal.

use super::{Exit, Failure};
use crate::config::plan::Plan;
use crate::daemon::Daemon;
use crate::standing_by::Taken;
use tailrace_state::StateStore;

/// Runs until it is stopped, or until there is nothing more to do.
pub(crate) async fn run(plan: Plan, adopt_state: bool, taken: Taken) -> Result<Exit, Failure> {
    if adopt_state {
        StateStore::adopt(&plan.state_path).await?.close().await?;
    }
    let daemon = Daemon::start(&plan, taken).await?;
    tracing::info!(
        file = plan.file,
        connectors = plan.names().len(),
        "running; curl {}/status",
        plan.admin.url_at(daemon.admin_address)
    );
    let outcome = daemon.run_until_stopped().await?;
    Ok(outcome.into())
}
