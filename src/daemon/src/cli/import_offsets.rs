//! `tailrace import-offsets`: goes on where another program stopped. In two steps, because a place that is wrong is a gap.
//!
//! ```text
//!   topic, file, JSON ──▶ offsets of Connect's ──▶ those of one connector ─┐
//!                                                                          ├─▶ SourceConnector::take_over ──▶ StateStore::begin
//!   table of Maxwell's (read by the source itself) ────────────────────────┘
//! ```
//!
//! What containers look like is known here; what an offset means is known by the source, which also asks the database whether
//! everything behind it is still there.

mod connect;
mod java_map;
mod offsets_topic;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tailrace_core::Error;
use tailrace_core::position::Progress;
use tailrace_core::predecessor::{Predecessor, StoredOffset, TakeOver};
use tailrace_core::telemetry::now_us;
use tailrace_state::{Beginning, ConnectorState, NewEntry, StateStore};

use self::connect::ConnectOffset;
use super::forget::carried;
use super::{Exit, Failure};
use crate::config::fault::suggestion;
use crate::config::plan::{ConnectorPlan, Plan};
use crate::screen;

/// What a worker with thousands of connectors stores is a tenth of it.
const FILE_BYTES_MAXIMUM: u64 = 64 << 20;
/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

const LONG_ABOUT: &str = "\
Lets a connector go on where Debezium, Maxwell or Kafka Connect's JDBC source stopped: sets its checkpoint from what they stored.

Stop the other program first. The database is asked whether everything behind the place is still there; without --yes it only says \
where the connector would go on. A few changes may come twice, as they may with these programs themselves, and none is \
missing. No daemon may run with the configuration meanwhile.

  tailrace import-offsets shop.yaml orders --connect-topic connect-offsets --name orders-debezium
  tailrace import-offsets shop.yaml orders --connect-file /var/lib/connect/offsets
  curl -s localhost:8083/connectors/orders-debezium/offsets | tailrace import-offsets shop.yaml orders --connect-json -
  tailrace import-offsets shop.yaml orders --maxwell --client-id maxwell

What a log's offset does not say is which tables were captured. Where the configuration has more, name those that were with --captured: \
the rows of the others are read first.

  tailrace import-offsets shop.yaml orders --connect-file offsets --captured public.orders,public.order_lines";

/// What to take over, and by whom.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT)]
pub(crate) struct ImportArguments {
    /// The configuration.
    pub(crate) file: PathBuf,
    /// The connector of the configuration that is to go on.
    connector: String,
    #[command(flatten)]
    stored: Stored,
    /// The other connector's name in Kafka Connect; may be left out where there is only one.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["connect_json", "maxwell"])]
    name: Option<String>,
    /// Brokers of the topic, `host:port,…`, where it is not in the stream of the connector.
    #[arg(long, value_name = "BROKERS", value_delimiter = ',', requires = "connect_topic")]
    bootstrap_servers: Vec<String>,
    /// Maxwell's `client_id`.
    #[arg(long, default_value = "maxwell", requires = "maxwell")]
    client_id: String,
    /// Maxwell's `schema_database`.
    #[arg(long, value_name = "SCHEMA", default_value = "maxwell", requires = "maxwell")]
    maxwell_schema: String,
    /// Tables that Debezium or Maxwell captured, as patterns as in `tables`; all of the configuration unless it is given. Rows of other
    /// tables are read first. Those of one that was not captured and is taken as if it was are never read.
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    captured: Vec<String>,
    /// Also where the connector has carried something already, which is forgotten then.
    #[arg(long)]
    replace: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// Where the other program stored how far it came.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Stored {
    /// The topic of a Kafka Connect cluster: its `offset.storage.topic`.
    #[arg(long, value_name = "TOPIC")]
    connect_topic: Option<String>,
    /// The file of a stand-alone worker of Kafka Connect: its `offset.storage.file.filename`.
    #[arg(long, value_name = "FILE")]
    connect_file: Option<PathBuf>,
    /// What Kafka Connect's `GET /connectors/{name}/offsets` answers, in a file, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    connect_json: Option<PathBuf>,
    /// Maxwell's table of positions, on the server that the connector reads.
    #[arg(long)]
    maxwell: bool,
}

/// Says where the connector would go on; sets it where that was confirmed.
pub(crate) async fn run(plan: Plan, arguments: ImportArguments) -> Result<Exit, Failure> {
    let connector = find(&plan, &arguments.connector)?;
    let state = match arguments.yes {
        true => StateStore::open(&plan.state_path).await?,
        false => StateStore::looked_at(&plan.state_path).await?,
    };
    let done = import(&state, (&plan, connector), &arguments).await;
    state.close().await?;
    done
}

async fn import(
    state: &StateStore,
    (plan, connector): (&Plan, &ConnectorPlan),
    arguments: &ImportArguments,
) -> Result<Exit, Failure> {
    let known = state.connector_state(&connector.name).await?;
    if let Some(known) = known.as_ref().filter(|_| !arguments.replace) {
        return Err(Failure::Failed(known_already(known)));
    }
    let (stored, whose) = stored(plan, connector, arguments).await?;
    let left = Predecessor {
        captured: captured(&stored, &arguments.captured)?,
        stored,
    };
    let taken = connector.source_connector()?.take_over(&connector.name, &left).await?;
    let mut text = told(connector, &taken, &whose);
    if let Some(known) = &known {
        text += &given_up(state, known).await?;
    }
    if !arguments.yes {
        text += "Nothing was changed. To do it: the same command with --yes\n";
        screen::print(&text)?;
        return Ok(Exit::NotRight);
    }
    keep(state, &connector.name, &taken, &whose).await?;
    screen::print(&(text + "Done: the next start of the connector goes on from there\n"))?;
    Ok(Exit::Ended)
}

/// Which tables the other program captured, where that is said.
fn captured(stored: &StoredOffset, patterns: &[String]) -> Result<Option<Vec<String>>, Failure> {
    match stored {
        _ if patterns.is_empty() => Ok(None),
        StoredOffset::Debezium(_) | StoredOffset::Maxwell { .. } => Ok(Some(patterns.to_vec())),
        StoredOffset::Jdbc(_) => Err(Failure::Usage(
            "the JDBC connector has an offset for each table that it read; leave --captured out".to_owned(),
        )),
    }
}

/// The connector of the file that reads a database.
fn find<'a>(plan: &'a Plan, name: &str) -> Result<&'a ConnectorPlan, Failure> {
    let found = plan.connectors.iter().find(|connector| connector.name == name);
    found.map(|connector| &**connector).ok_or_else(|| {
        if plan.sinks.iter().any(|sink| sink.name == name) {
            return Failure::Usage(format!(
                "`{name}` writes into a database; offsets are taken over by a connector with a `source`"
            ));
        }
        let names: Vec<String> = plan.connectors.iter().map(|connector| connector.name.clone()).collect();
        Failure::Usage(format!(
            "the configuration has no connector `{name}` with a `source`; {}",
            suggestion(name, &names)
        ))
    })
}

fn known_already(known: &ConnectorState) -> Error {
    let position = known.checkpoint.as_ref().map_or_else(
        || "it was started, and has carried nothing yet".to_owned(),
        |checkpoint| carried(&checkpoint.progress),
    );
    let message = format!(
        "connector {} is not new ({position}): what it would go on from is known. To give that up and go on from the other program's \
         offsets: the same command with --replace",
        known.name
    );
    Error::definite("checkpoint_exists", message)
}

/// What the other program stored, and whose it is, in words.
async fn stored(
    plan: &Plan,
    connector: &ConnectorPlan,
    arguments: &ImportArguments,
) -> Result<(StoredOffset, String), Failure> {
    let from = &arguments.stored;
    let offsets = if let Some(topic) = &from.connect_topic {
        let stream = offsets_topic::stream(plan, connector, &arguments.bootstrap_servers)?;
        connect::by_key(offsets_topic::read(&*stream, topic).await?)?
    } else if let Some(file) = &from.connect_file {
        connect::by_key(java_map::read(&contents(file)?)?)?
    } else if let Some(file) = &from.connect_json {
        connect::of_answer(&contents(file)?)?
    } else {
        let stored = StoredOffset::Maxwell {
            schema: arguments.maxwell_schema.clone(),
            client_id: arguments.client_id.clone(),
        };
        return Ok((stored, format!("Maxwell (client_id `{}`)", arguments.client_id)));
    };
    Ok(chosen(offsets, arguments.name.as_deref())?)
}

/// The offset of one connector, and whose it is.
fn chosen(offsets: Vec<ConnectOffset>, name: Option<&str>) -> Result<(StoredOffset, String), Error> {
    let (name, offsets) = connect::of_connector(offsets, name)?;
    let stored = connect::understood(&offsets)?;
    let kind = match &stored {
        StoredOffset::Debezium(_) => "Debezium's connector",
        StoredOffset::Jdbc(_) => "the JDBC connector",
        StoredOffset::Maxwell { .. } => "Maxwell",
    };
    let whose = name.map_or_else(|| kind.to_owned(), |name| format!("{kind} `{name}`"));
    Ok((stored, whose))
}

fn contents(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = if path == Path::new(STANDARD_INPUT) {
        io::stdin().take(FILE_BYTES_MAXIMUM + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAXIMUM + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        let message = format!("{} cannot be read", path.display());
        Error::definite("offsets_unreadable", message).with_source(error)
    })?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAXIMUM {
        let message = format!(
            "{} has more than {} MiB: it is no file of offsets",
            path.display(),
            FILE_BYTES_MAXIMUM >> 20
        );
        return Err(Error::definite("offsets_unreadable", message));
    }
    Ok(bytes)
}

fn told(connector: &ConnectorPlan, taken: &TakeOver, whose: &str) -> String {
    let mut text = format!(
        "`{}` goes on from {}, where {} stopped\n",
        connector.name,
        screen::escape(taken.position.as_str()),
        screen::escape(whose)
    );
    for note in &taken.notes {
        text += &format!("  {}\n", screen::escape(note));
    }
    text
}

/// What is forgotten of a connector that is not new.
async fn given_up(state: &StateStore, known: &ConnectorState) -> Result<String, Error> {
    let position = known.checkpoint.as_ref().map_or_else(
        || "nothing carried yet".to_owned(),
        |checkpoint| carried(&checkpoint.progress),
    );
    let mut text = format!(
        "  what is known of `{}` is given up ({position}): changes between the two places are skipped or sent again, whichever comes first in \
         the log\n",
        known.name
    );
    let letters = state.dead_letter_summary(&known.name).await?.waiting;
    if letters > 0 {
        text += &format!(
            "  {letters} dead letters that wait are given up too, and their events will be nowhere: `tailrace dlq list` shows them\n"
        );
    }
    Ok(text)
}

/// Durable on return, in place of everything that is known of the connector.
async fn keep(state: &StateStore, name: &str, taken: &TakeOver, whose: &str) -> Result<(), Error> {
    let entry = NewEntry {
        at_us: now_us(),
        connector: Some(name.to_owned()),
        who: "tailrace".to_owned(),
        what: "offsets",
        detail: format!(
            "`import-offsets`: it goes on from {}, where {whose} stopped",
            taken.position
        ),
    };
    let beginning = Beginning {
        progress: &Progress::at(taken.position.clone()),
        memory: &taken.memory,
        entry: &entry,
    };
    state.begin(name, beginning).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_or_missing_is_refused() {
        assert_eq!(
            contents(Path::new("/nowhere/offsets")).unwrap_err().code(),
            "offsets_unreadable"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offsets");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAXIMUM + 1).unwrap();
        assert!(contents(&path).unwrap_err().to_string().contains("more than 64 MiB"));
    }
}
