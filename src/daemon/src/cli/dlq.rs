//! `tailrace dlq`: looks after dead letters, through the daemon where one runs, in the state where none does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::http::Method;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;
use tailrace_core::error::Kind;
use tailrace_state::StateStore;

use super::{Exit, Failure};
use crate::admin::client::DaemonEndpoint;
use crate::config::fault::suggestion;
use crate::config::plan::Plan;
use crate::letters::LetterDesk;
use crate::screen;

const LONG_ABOUT: &str = "\
Looks after dead letters: events that could not be carried and were set aside (`dead_letters` in the configuration).

Where a daemon runs with the configuration, it is asked over its HTTP endpoint (`admin.listen`). Where none runs, the state is \
opened directly, under the lock that keeps a daemon from starting meanwhile; what is to be replayed then goes out when the \
connector starts next, before anything else.";

/// What to do with dead letters.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT)]
pub(crate) struct DlqArguments {
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// Shows which letters wait, and why.
    List {
        #[command(flatten)]
        of: Of,
        /// Also those that were replayed or dropped lately.
        #[arg(long)]
        all: bool,
        /// One JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Shows one letter in full: rows, key, position, reason.
    Show {
        #[command(flatten)]
        of: Of,
        /// Its number.
        id: u64,
    },
    /// Sends letters again, with the configuration of now, in their order; without numbers all that wait.
    ///
    /// A letter whose event cannot be carried now either waits as before, with the new reason. Ends with 1 where one does.
    Replay {
        #[command(flatten)]
        of: Of,
        /// Numbers of letters.
        ids: Vec<u64>,
    },
    /// Gives letters up: their events will be nowhere. Without numbers all that wait.
    ///
    /// Without --yes it only says what would be lost.
    Drop {
        #[command(flatten)]
        of: Of,
        /// Numbers of letters.
        ids: Vec<u64>,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

/// Whose letters.
#[derive(Debug, clap::Args)]
struct Of {
    /// The configuration.
    file: PathBuf,
    /// The connector.
    connector: String,
}

/// Who is asked.
enum Office {
    /// A daemon that runs.
    Daemon(DaemonEndpoint, String),
    /// The state itself, locked.
    State(Box<LetterDesk>),
}

/// A list as it is answered.
#[derive(Deserialize)]
struct Listing {
    connector: String,
    policy: String,
    order: String,
    waiting: u64,
    oldest: Option<String>,
    letters: Vec<Line>,
}

/// A letter in a list.
#[derive(Deserialize)]
struct Line {
    id: u64,
    state: String,
    table: String,
    op: String,
    key: Option<Box<RawValue>>,
    code: String,
    reason: String,
    attempts: u32,
    quarantined_at: String,
}

/// Does what was asked.
pub(crate) async fn run(plan: Plan, arguments: DlqArguments) -> Result<Exit, Failure> {
    let office = Office::open(&plan, &arguments).await?;
    let done = match &arguments.command {
        DlqCommand::List { all, json: true, .. } => {
            screen::print(&(office.list(*all).await? + "\n"))?;
            Ok(Exit::Ended)
        }
        DlqCommand::List { all, .. } => {
            screen::print(&as_text(&office.listing(*all).await?))?;
            Ok(Exit::Ended)
        }
        DlqCommand::Show { id, .. } => {
            screen::print(&(screen::escape_lines(&office.show(*id).await?) + "\n"))?;
            Ok(Exit::Ended)
        }
        DlqCommand::Replay { ids, .. } => replay(&office, ids).await,
        DlqCommand::Drop { ids, yes, .. } => give_up(&office, ids, *yes).await,
    };
    office.close().await?;
    done
}

async fn replay(office: &Office, ids: &[u64]) -> Result<Exit, Failure> {
    let mut exit = Exit::Ended;
    for id in office.chosen(ids).await? {
        let line = match office.replay(id).await {
            Ok(line) => line,
            // The others may still go.
            Err(Failure::Failed(error)) if error.kind() == Kind::Definite => {
                exit = Exit::Failed;
                screen::print(&format!("{id}: {}\n", screen::escape(&error.report())))?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let said = match line.state.as_str() {
            "replayed" => "replayed".to_owned(),
            "replay_requested" => "will go out when the connector runs".to_owned(),
            _ => {
                exit = Exit::Failed;
                format!("waits as before: {} {}", line.code, line.reason)
            }
        };
        screen::print(&format!("{id}: {}\n", screen::escape(&said)))?;
    }
    Ok(exit)
}

async fn give_up(office: &Office, ids: &[u64], yes: bool) -> Result<Exit, Failure> {
    let chosen = office.chosen(ids).await?;
    let listing = office.listing(false).await?;
    let wanted: BTreeMap<u64, &Line> = listing.letters.iter().map(|line| (line.id, line)).collect();
    let mut text = String::new();
    for id in &chosen {
        match wanted.get(id) {
            Some(line) => text += &line.as_text(),
            None => return Err(Failure::Usage(format!("no dead letter {id} waits"))),
        }
    }
    if !yes {
        text += &format!(
            "Dropping gives {} up: their events will be nowhere, neither in the stream nor here. To do it: the same command with --yes\n",
            letters(chosen.len())
        );
        screen::print(&text)?;
        return Ok(Exit::NotRight);
    }
    for id in &chosen {
        office.give_up(*id).await?;
    }
    screen::print(&format!("{text}dropped {}\n", letters(chosen.len())))?;
    Ok(Exit::Ended)
}

fn letters(count: usize) -> String {
    if count == 1 {
        "1 dead letter".to_owned()
    } else {
        format!("{count} dead letters")
    }
}

fn as_text(listing: &Listing) -> String {
    let waiting = usize::try_from(listing.waiting).unwrap_or(usize::MAX);
    let since = listing.oldest.as_deref();
    let since = since.map_or_else(String::new, |oldest| format!(", the oldest since {oldest}"));
    let head = format!(
        "{}: {} waiting{since} (policy {}, order {})\n",
        listing.connector,
        letters(waiting),
        listing.policy,
        listing.order
    );
    head + &listing.letters.iter().map(Line::as_text).collect::<String>()
}

// === impl DlqArguments ===

impl DlqArguments {
    /// The configuration.
    pub(crate) fn file(&self) -> &Path {
        &self.of().file
    }

    /// Nothing is changed by it.
    fn only_looks(&self) -> bool {
        match &self.command {
            DlqCommand::List { .. } | DlqCommand::Show { .. } => true,
            DlqCommand::Drop { yes, .. } => !yes,
            DlqCommand::Replay { .. } => false,
        }
    }

    fn of(&self) -> &Of {
        match &self.command {
            DlqCommand::List { of, .. }
            | DlqCommand::Show { of, .. }
            | DlqCommand::Replay { of, .. }
            | DlqCommand::Drop { of, .. } => of,
        }
    }
}

// === impl Line ===

impl Line {
    fn as_text(&self) -> String {
        let key = self.key.as_deref().map_or("without key", RawValue::get);
        let state = match self.state.as_str() {
            "waiting" => String::new(),
            other => format!(" {other}"),
        };
        let tries = match self.attempts {
            1 => String::new(),
            tries => format!(", tried {tries} times"),
        };
        format!(
            "{:>6}  {} {} {} {}{state}\n        {}{tries}\n        {}\n",
            self.id,
            self.quarantined_at,
            self.op,
            screen::escape(&self.table),
            screen::escape(key),
            self.code,
            screen::escape(&self.reason)
        )
    }
}

// === impl Office ===

impl Office {
    async fn open(plan: &Plan, arguments: &DlqArguments) -> Result<Self, Failure> {
        let name = arguments.of().connector.as_str();
        let is_name = name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
        let state = match arguments.only_looks() {
            true => StateStore::looked_at(&plan.state_path).await,
            false => StateStore::open(&plan.state_path).await,
        };
        match (state, plan.letters_of(name)) {
            (Ok(state), Some(rules)) => Ok(Self::State(Box::new(LetterDesk {
                rules: rules.clone(),
                state,
                telemetry: None,
            }))),
            // The daemon knows those that were created over HTTP, too.
            (Err(error), _) if error.code() == "state_locked" && is_name => {
                Ok(Self::Daemon(DaemonEndpoint::of(&plan.admin), name.to_owned()))
            }
            (Err(error), Some(_)) => Err(error.into()),
            (Ok(_) | Err(_), None) => {
                let sentence = format!(
                    "the file has no connector `{name}`; {}; one that was created over HTTP is looked after while the daemon runs",
                    suggestion(name, &plan.names())
                );
                Err(Failure::Usage(sentence))
            }
        }
    }

    async fn close(self) -> Result<(), Failure> {
        if let Self::State(desk) = self {
            desk.state.close().await?;
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Option<String>, Failure> {
        let Self::Daemon(endpoint, connector) = self else {
            return Ok(None);
        };
        let path = format!("/connectors/{connector}/dead_letters{path}");
        Ok(Some(endpoint.ask(method, &path).await?))
    }

    async fn list(&self, all: bool) -> Result<String, Failure> {
        match self {
            Self::State(desk) => Ok(desk.list(0, all).await?),
            Self::Daemon(..) => Ok(self.ask(Method::GET, &format!("?all={all}")).await?.unwrap_or_default()),
        }
    }

    async fn show(&self, id: u64) -> Result<String, Failure> {
        match self {
            Self::State(desk) => Ok(desk.show(id).await?),
            Self::Daemon(..) => Ok(self.ask(Method::GET, &format!("/{id}")).await?.unwrap_or_default()),
        }
    }

    async fn listing(&self, all: bool) -> Result<Listing, Failure> {
        read(&self.list(all).await?)
    }

    /// Numbers as given, in their order; without any, of all that wait.
    async fn chosen(&self, ids: &[u64]) -> Result<Vec<u64>, Failure> {
        let mut ids = ids.to_vec();
        if ids.is_empty() {
            ids = self.listing(false).await?.letters.iter().map(|line| line.id).collect();
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    async fn replay(&self, id: u64) -> Result<Line, Failure> {
        match self {
            Self::State(desk) => {
                desk.request(id).await?;
                read(&desk.show(id).await?)
            }
            Self::Daemon(..) => read(
                &self
                    .ask(Method::POST, &format!("/{id}/replay"))
                    .await?
                    .unwrap_or_default(),
            ),
        }
    }

    async fn give_up(&self, id: u64) -> Result<(), Failure> {
        match self {
            Self::State(desk) => drop(desk.give_up(id).await?),
            Self::Daemon(..) => drop(self.ask(Method::DELETE, &format!("/{id}")).await?),
        }
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| {
        let sentence = "the daemon answers what this program does not understand; run both in the same version";
        Failure::Failed(tailrace_core::Error::definite("daemon_answer", sentence).with_source(error))
    })
}
