//! `tailrace forget`: takes what the state knows of a connector away, so that it begins anew. In two steps, because what
//! was captured and not carried is given up by it.

use super::{Exit, Failure};
use crate::config::plan::Plan;
use crate::screen;
use tailrace_state::StateStore;

/// Says what would be forgotten; forgets it where `confirmed`.
pub(crate) async fn run(plan: Plan, connector: &str, confirmed: bool) -> Result<Exit, Failure> {
    let state = StateStore::open(&plan.state_path).await?;
    let known = state.connectors().await?;
    let Some(found) = known.into_iter().find(|known| known.name == connector) else {
        state.close().await?;
        screen::print(&format!(
            "{} knows no connector `{connector}`\n",
            plan.state_path.display()
        ))?;
        return Ok(Exit::NotRight);
    };
    let position = found.checkpoint.map_or_else(
        || "nothing carried yet".to_owned(),
        |checkpoint| format!("carried up to {}", checkpoint.progress.position),
    );
    if confirmed {
        state.forget(connector).await?;
        state.close().await?;
        screen::print(&format!(
            "forgot `{connector}` ({position}); its next start is its first. What it made on the source (slot, publication) is still there\n"
        ))?;
        return Ok(Exit::Ended);
    }
    state.close().await?;
    screen::print(&format!(
        "`{connector}`: {position}. Forgetting it means that its next start is its first: with a snapshot, every row is published again; \
         changes that were not carried before it are not published as such, and deletes among them not at all. \
         To do it: the same command with --yes\n"
    ))?;
    Ok(Exit::NotRight)
}
