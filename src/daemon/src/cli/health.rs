//! `tailrace health`: asks the daemon of a configuration how it is, where there is neither a shell nor curl.

use std::path::PathBuf;

use super::{Exit, Failure};
use crate::admin::client::DaemonEndpoint;
use crate::config::plan::Plan;
use crate::screen;

/// Whose health.
#[derive(Debug, clap::Args)]
pub(crate) struct HealthArguments {
    /// The configuration that the daemon runs with.
    pub(crate) file: PathBuf,
    /// Whether every connector that is to run does (`/readyz`), instead of whether the process can make progress (`/livez`).
    #[arg(long)]
    ready: bool,
}

/// Says `ok`, or fails with what the daemon said.
pub(crate) async fn run(plan: Plan, arguments: HealthArguments) -> Result<Exit, Failure> {
    let path = if arguments.ready { "/readyz" } else { "/livez" };
    DaemonEndpoint::of_probes(&plan.admin).probe(path).await?;
    screen::print("ok\n")?;
    Ok(Exit::Ended)
}
