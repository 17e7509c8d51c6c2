//! The quickstart: a small shop in SQLite, an order desk that keeps writing to it, its tables captured by triggers into the
//! embedded file stream, and the events shown as they arrive. Everything lies under one folder; a second run goes on where
//! the first ended.

mod desk;
mod shop;
mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tailrace_core::Error;
use tailrace_core::ports::{ConsumerSpec, EventStream, StartOffset, TopicSpec};
use tailrace_core::task::spawn_named;
use tailrace_sql::change_table::{Comparison, Installed};

use crate::cli::{Exit, Failure};
use crate::config::{self, plan::Plan};
use crate::daemon::Daemon;
use crate::screen;
use crate::standing_by::Taken;
use show::Show;

/// What runs, word for word, but for the folder.
const CONFIGURATION: &str = include_str!("quickstart.yaml");
/// The folder that is written in [`CONFIGURATION`].
const WRITTEN_FOLDER: &str = "data/quickstart";
/// The topics that [`CONFIGURATION`] makes of the shop's tables.
const TOPICS: [&str; 4] = ["shop.customers", "shop.products", "shop.orders", "shop.order_lines"];

/// Runs until Ctrl-C.
pub(crate) async fn run(folder: PathBuf) -> Result<Exit, Failure> {
    let file = write_configuration(&folder)?;
    let plan = config::load(&file).map_err(Failure::Configuration)?;
    let shop = shop::open(&folder.join("shop.db")).await?;
    install_triggers(&plan).await?;
    let daemon = Daemon::start(&plan, Taken::TakeAnotherPort).await?;
    let resumed = daemon.saved().await?;
    let stream = the_stream(&plan, &daemon)?;
    screen::print(&introduction(
        &folder,
        &file,
        &daemon,
        plan.admin.listen.port(),
        resumed.as_deref(),
    ))?;
    let show = spawn_named("show", show_events(stream, resumed.is_some()));
    let desk = spawn_named("order desk", desk::keep(shop));
    let outcome = daemon.run_until_stopped().await;
    desk.abort();
    show.abort();
    let outcome = outcome?;
    screen::print(&format!(
        "\nEnded. The events are in {}; the same command resumes.\n",
        folder.join("events").display()
    ))?;
    Ok(outcome.into())
}

/// Puts the configuration where the reader can see it. It is written anew at each start: the paths in it begin in the
/// folder that the process was started in.
fn write_configuration(folder: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| {
        let sentence = format!(
            "the folder {} cannot be written; choose another with --data",
            folder.display()
        );
        Failure::Failed(Error::definite("data_unwritable", sentence).with_source(error))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = folder.join("tailrace.yaml");
    std::fs::write(&file, configuration(folder)).map_err(failed)?;
    Ok(file)
}

fn configuration(folder: &Path) -> String {
    // The paths stand in double quotes, where YAML escapes as JSON does; a dollar sign would be a variable.
    let quoted = serde_json::Value::from(folder.display().to_string())
        .to_string()
        .replace('$', "$$");
    CONFIGURATION.replace(WRITTEN_FOLDER, quoted.trim_matches('"'))
}

/// What `tailrace triggers install --backfill --apply` does; nothing where it was done before.
async fn install_triggers(plan: &Plan) -> Result<(), Failure> {
    for connector in &plan.connectors {
        let Some(change_tables) = connector.change_tables()? else {
            continue;
        };
        let captured = change_tables.captured(&[]).await?;
        for design in &captured.designs {
            let installed = Installed::of(design, &captured.survey);
            let mut comparison = Comparison::of(design, &installed);
            if installed.table.is_none() {
                comparison = comparison.with_backfill(design, &installed);
            }
            change_tables.apply(&comparison.script.statements()).await?;
        }
    }
    Ok(())
}

fn the_stream(plan: &Plan, daemon: &Daemon) -> Result<Arc<dyn EventStream>, Failure> {
    let connector = plan
        .connectors
        .first()
        .and_then(|connector| daemon.stream(&connector.stream));
    connector.ok_or_else(|| Error::definite("stream_unknown", "the quickstart has no stream").into())
}

fn introduction(folder: &Path, file: &Path, daemon: &Daemon, wanted_port: u16, resumed: Option<&str>) -> String {
    let address = daemon.admin_address;
    let port = if address.port() == wanted_port {
        String::new()
    } else {
        format!("   (port {wanted_port} is taken)")
    };
    let start = match resumed {
        Some(position) => format!("resumes {position}"),
        None => "first run: the rows that are there come first, then what the order desk does".to_owned(),
    };
    let (file, folder) = (file.display(), folder.display());
    // As it was called: after `cargo run` the program is in no search path.
    let program = std::env::args().next().unwrap_or_else(|| "tailrace".to_owned());
    format!(
        "\
Tailrace quickstart: a shop in SQLite, its changes as events.

  database    {folder}/shop.db       the order desk keeps writing to it, triggers keep what it does
  events      {folder}/events/       one folder per topic: {}
  runs with   {file}
  start       {start}

Try in another terminal:
  curl http://{address}/status{port}
  {program} tail {file} shop.orders --from latest
  {program} describe {file}
  {program} triggers diff {file} shop

Ctrl-C ends it; the same command resumes. Events as they arrive:

",
        TOPICS.join(", ")
    )
}

/// Shows events until it is aborted. A screen that cannot be written to is no reason to stop capturing.
async fn show_events(stream: Arc<dyn EventStream>, resumed: bool) {
    if let Err(error) = follow(&*stream, resumed).await {
        tracing::warn!(code = error.code(), "events are not shown any more: {}", error.report());
    }
}

async fn follow(stream: &dyn EventStream, resumed: bool) -> tailrace_core::Result<()> {
    for topic in TOPICS {
        let name = Arc::from(topic);
        stream.ensure_topic(&TopicSpec { name, keyed: true }).await?;
    }
    let spec = ConsumerSpec {
        topics: TOPICS.iter().map(|topic| (*topic).to_owned()).collect(),
        group: None,
        start: if resumed {
            StartOffset::Latest
        } else {
            StartOffset::Earliest
        },
    };
    let mut consumer = stream.consumer(spec).await?;
    let show = Show::new(screen::stdout_is_terminal());
    loop {
        let records = consumer.poll(show::POLL_RECORDS, show::POLL_WAIT).await?;
        let shown = show.lines(&records, tailrace_core::telemetry::now_us());
        if let Err(error) = screen::print(&shown) {
            return Err(Error::definite("output_closed", "standard output is closed").with_source(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::expand::Surroundings;

    #[test]
    fn the_configuration_is_right_wherever_the_folder_is() {
        for folder in ["data/quickstart", "/tmp/a b/ü", "x\"y\\z", "a${HOME}b$$"] {
            let text = configuration(Path::new(folder));
            let plan = config::understand("tailrace.yaml", text.as_bytes(), &Surroundings::of(&[])).unwrap();
            assert_eq!(plan.state_path, Path::new(folder).join("state.db"), "{text}");
        }
    }
}
