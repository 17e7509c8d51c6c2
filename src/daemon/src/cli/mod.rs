//! What can be asked on the command line, and what is answered there.

mod check;
mod commands;
pub(crate) mod contract;
mod describe;
mod dlq;
mod exit;
mod forget;
mod grants;
mod health;
mod import_offsets;
mod metrics;
pub(crate) mod outbox;
mod run;
mod tail;
mod triggers;
mod verify;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::contract::ContractCommand;
pub(crate) use self::exit::{Exit, Failure};
use crate::config::plan::Plan;
use crate::logging::LogFormat;
use crate::standing_by::Taken;
use crate::{admin, config, logging, quickstart, screen};

/// The quickstart is for the eye: only what is wrong.
const QUICKSTART_LOG_LEVEL: &str = "warn";
/// Each change of state, and little else.
const RUN_LOG_LEVEL: &str = "info";

const LONG_ABOUT: &str = "\
Carries the changes of a database as events into Apache Kafka, or into files.

Without a command, the quickstart: a small shop in SQLite with an order desk that keeps writing, captured into the \
embedded file stream, events shown as they arrive. Nothing else need be installed.";

const AFTER_HELP: &str = "\
EXAMPLES
  tailrace                        the quickstart; Ctrl-C ends it, a second run resumes
  tailrace validate orders.yaml   is the file right?
  tailrace grants orders.yaml     which rights does it need? the statements for an administrator
  tailrace check orders.yaml      are source and stream ready? every problem, and its remedy
  tailrace describe orders.yaml   which tables, keys, topics and event schemas?
  tailrace run orders.yaml        capture
  tailrace tail orders.yaml orders.public.orders --limit 5

A CONFIGURATION
  version: 1
  streams:
    events: { type: kafka, bootstrap_servers: [\"localhost:9092\"] }
  connectors:
    orders:
      source: { type: postgres, url: \"${ORDERS_DATABASE_URL}\", tables: [public.orders] }
      stream: events

EXIT CODES
  0    ended as asked
  1    failed: the state cannot be opened, a port is taken, a database cannot be reached, …; or `triggers diff` found
       a difference
  2    the command line or the configuration is not right
  3    `check` found something that blocks, or `contract` that readers would break
  4    at the end a connector was halted, or somebody else had its work
  5    the deadline of a stop came before everything was durable; what was not will be read again
  6    `verify` found drift, and did not repair it
  130  stopped at once, by a second Ctrl-C or SIGTERM

The endpoint tells state and numbers while it runs: curl http://127.0.0.1:8083/status";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "tailrace",
    version,
    about = "Carries the changes of a database as events into Apache Kafka, or into files",
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    after_help = "`tailrace --help` has examples and exit codes.",
    max_term_width = 120,
    arg_required_else_help = false
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Folder of the quickstart.
    #[arg(long, value_name = "FOLDER", default_value = "data/quickstart")]
    data: PathBuf,

    /// Form of the logs on standard error.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "TAILRACE_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a list such as `info,tailrace_postgres=debug`.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "TAILRACE_LOG",
        hide_env_values = true
    )]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Captures what a configuration says, until it is stopped.
    ///
    /// SIGTERM or Ctrl-C ends it: what was read is made durable first, to a deadline (`shutdown_timeout_ms`). A second one
    /// ends it at once; nothing is lost, the rest is read again at the next start.
    Run {
        /// The configuration.
        file: PathBuf,
        /// Accept a state file that was copied or restored: once, when no other daemon uses it and its positions are right.
        #[arg(long, conflicts_with = "stand_by")]
        adopt_state: bool,
        /// Where another process has the port or the state, wait until it has ended and go on from where it was, instead of refusing.
        #[arg(long)]
        stand_by: bool,
    },
    /// Checks a configuration in itself, and tells everything that is wrong with it. Connects to nothing.
    Validate {
        /// The configuration.
        file: PathBuf,
    },
    /// Checks that the state, sources, streams and registries are ready: every problem at once, each with the statement or setting that fixes it.
    ///
    /// Changes nothing. Ends with 3 where something blocks.
    Check {
        /// The configuration.
        file: PathBuf,
        /// One JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Prints the statements that give Tailrace's users the rights that it needs, and no others: for an administrator, to read and to run.
    ///
    /// Connects to nothing, so that it can be asked before the users are there. Passwords are never printed.
    Grants(grants::GrantsArguments),
    /// Shows what would be captured: tables, keys, topics, event schemas.
    Describe {
        /// The configuration.
        file: PathBuf,
        /// One JSON document with the schemas in full, as Kafka Connect writes them.
        #[arg(long)]
        json: bool,
    },
    /// Shows what readers of topics may rely on, and says whether a change of a table would break them.
    Contract(contract::ContractArguments),
    /// Shows events of a topic as they come: key, value, headers.
    Tail(tail::TailArguments),
    /// Takes what the state knows of a connector away, so that its next start is its first.
    ///
    /// Without --yes it only says what would be given up.
    Forget {
        /// The configuration.
        file: PathBuf,
        /// The connector.
        connector: String,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
    /// Lets a connector go on where Debezium, Maxwell or Kafka Connect's JDBC source stopped.
    ImportOffsets(import_offsets::ImportArguments),
    /// Asks the daemon that runs with a configuration how it is: for health checks where there is no shell and no curl.
    ///
    /// Asks on `admin.probes_listen` where there is one, else on `admin.listen` with a token, as `dlq` does. Ends with 1 where no daemon
    /// answers, or not with 200.
    Health(health::HealthArguments),
    /// Compares the tables that a sink writes with where their rows come from, or with what their topics say, while all of it runs.
    ///
    /// Says of each key that differs whether it is lag, which passes, or drift. Changes nothing without --repair. Ends with 6 where there
    /// is drift that was not repaired.
    Verify(verify::VerifyArguments),
    /// Looks after dead letters: events that could not be carried and were set aside.
    Dlq(dlq::DlqArguments),
    /// Makes an outbox table, and triggers that keep wrong events out of it.
    Outbox(outbox::OutboxArguments),
    /// Change tables and the triggers that fill them, for databases whose log cannot be read.
    Triggers(triggers::TriggersArguments),
    /// Prints the JSON Schema of the configuration, for editors.
    Schema {
        /// The reference page in Markdown instead.
        #[arg(long, hide = true)]
        markdown: bool,
        /// The page of the command line in Markdown instead.
        #[arg(long, hide = true)]
        commands: bool,
        /// The page of the HTTP endpoint in Markdown instead.
        #[arg(long, hide = true)]
        rest: bool,
        /// The HTTP endpoint as OpenAPI instead, as `GET /openapi.json` answers it.
        #[arg(long)]
        openapi: bool,
        /// The page of the metrics in Markdown instead.
        #[arg(long, hide = true)]
        metrics: bool,
    },
    /// Prints completions: `tailrace completions bash > /etc/bash_completion.d/tailrace`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return said_by_clap(&error),
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

/// Help and version are asked for; anything else is a mistake on the command line.
fn said_by_clap(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match printed {
        Err(error) => Failure::Output(error).report(),
        Ok(()) if error.use_stderr() => Exit::NotRight.into(),
        Ok(()) => Exit::Ended.into(),
    }
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let default_level = if cli.command.is_some() {
        RUN_LOG_LEVEL
    } else {
        QUICKSTART_LOG_LEVEL
    };
    let level = cli.log_level.as_deref().unwrap_or(default_level);
    logging::start(cli.log_format, level).map_err(Failure::Usage)?;
    match cli.command {
        None => block_on(quickstart::run(cli.data)),
        Some(Command::Run {
            file,
            adopt_state,
            stand_by,
        }) => {
            let taken = if stand_by { Taken::StandBy } else { Taken::Refuse };
            block_on(run::run(load(&file)?, adopt_state, taken))
        }
        Some(Command::Forget { file, connector, yes }) => block_on(forget::run(load(&file)?, &connector, yes)),
        Some(Command::Validate { file }) => {
            let plan = load(&file)?;
            screen::print(&format!("{} is right: {}\n", file.display(), in_short(&plan)))?;
            Ok(Exit::Ended)
        }
        Some(Command::Check { file, json }) => block_on(check::run(load(&file)?, json)),
        Some(Command::Grants(arguments)) => grants::run(&load(&arguments.file)?, &arguments),
        Some(Command::Describe { file, json }) => block_on(describe::run(load(&file)?, json)),
        Some(Command::Tail(arguments)) => block_on(tail::run(load(&arguments.file)?, arguments)),
        Some(Command::Contract(arguments)) => contracts(arguments.command),
        Some(Command::ImportOffsets(arguments)) => block_on(import_offsets::run(load(&arguments.file)?, arguments)),
        Some(Command::Health(arguments)) => block_on(health::run(load(&arguments.file)?, arguments)),
        Some(Command::Verify(arguments)) => block_on(verify::run(load(&arguments.file)?, arguments)),
        Some(Command::Dlq(arguments)) => block_on(dlq::run(load(arguments.file())?, arguments)),
        Some(Command::Outbox(arguments)) => block_on(outbox::run(arguments)),
        Some(Command::Triggers(arguments)) => block_on(triggers::run(load(arguments.file())?, arguments)),
        Some(Command::Schema {
            markdown,
            commands,
            rest,
            openapi,
            metrics,
        }) => {
            let page = match (markdown, commands, rest, openapi, metrics) {
                (true, ..) => config::reference::page(),
                (_, true, ..) => commands::page(),
                (_, _, true, ..) => admin::reference::page(),
                (_, _, _, true, _) => admin::reference::openapi(),
                (.., true) => metrics::page(),
                _ => config::schema::text(),
            };
            screen::print(&page)?;
            Ok(Exit::Ended)
        }
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tailrace", &mut script);
            screen::print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Ended)
        }
    }
}

/// Only a comparison of files needs no configuration.
fn contracts(command: ContractCommand) -> Result<Exit, Failure> {
    match command {
        ContractCommand::Show { file, topic, json, out } => {
            let plan = load(&file)?;
            block_on(async move { contract::show(&plan, topic.as_deref(), json, out.as_deref()).await })
        }
        ContractCommand::Check { file, against } => {
            let plan = load(&file)?;
            block_on(async move { contract::check(&plan, against.as_deref()).await })
        }
        ContractCommand::Diff {
            old,
            new,
            compatibility,
        } => contract::diff(&old, &new, compatibility.as_deref()),
    }
}

fn load(file: &Path) -> Result<Plan, Failure> {
    config::load(file).map_err(Failure::Configuration)
}

fn in_short(plan: &Plan) -> String {
    let sources = plan
        .connectors
        .iter()
        .map(|connector| format!("{} → {}", connector.name, connector.stream));
    let sinks = plan.sinks.iter().map(|sink| format!("{} ← {}", sink.name, sink.stream));
    sources.chain(sinks).collect::<Vec<_>>().join(", ")
}

fn block_on(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::Failed(
                tailrace_core::Error::definite("runtime", "the threads of the process cannot be started")
                    .with_source(error),
            )
        })?;
    let result = runtime.block_on(Box::pin(work));
    // A task that hangs in a system call must not hold the process up.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help() -> String {
        Cli::command().render_long_help().to_string()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_teaches() {
        let help = help();
        for taught in [
            "EXAMPLES",
            "EXIT CODES",
            "A CONFIGURATION",
            "/status",
            "130  stopped at once",
        ] {
            assert!(help.contains(taught), "{taught} is not in\n{help}");
        }
        for exit in Exit::ALL {
            let line = format!("\n  {:<4} ", exit.code());
            assert!(help.contains(&line), "exit code {} is not in\n{help}", exit.code());
        }
    }

    #[test]
    fn the_configuration_in_the_help_is_right() {
        let help = help();
        let (_, after) = help.split_once("A CONFIGURATION\n").unwrap();
        let (example, _) = after.split_once("EXIT CODES").unwrap();
        let surroundings =
            config::expand::Surroundings::of(&[("ORDERS_DATABASE_URL", "postgres://tailrace:x@localhost/orders")]);
        let plan = config::understand("help.yaml", example.as_bytes(), &surroundings);
        assert_eq!(plan.unwrap().connectors.len(), 1);
    }

    #[test]
    fn every_command_is_described() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
