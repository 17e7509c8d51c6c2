//! A scenario: a database, its workload, a daemon that carries it into a stream, faults one after the other, and at the
//! end the oracle's word.
//!
//! ```text
//!   prepare ─▶ [ start · commit · dies_at(failpoint) · recovers_from(failpoint) · the test's own faults ]* ─▶ finish ─▶ oracle
//! ```
//!
//! A scenario proves its own faults: a death counts only if it came by SIGKILL and the process named the failpoint, an error only
//! if the process named it and streams again. So a failpoint that is never passed is a failure and not a quiet success.
//!
//! The workload is paced: while the daemon is awaited to pass a failpoint a few transactions are released at each look, and
//! otherwise only what the test asks for, so that a scenario costs as much as it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

use crate::daemon::Daemon;
use crate::database::{Database, Server, Version};
use crate::events::Event;
use crate::oracle::{self, Findings, Snapshot};
use crate::published::Published;
use crate::servers::{Kafka, PostgresVersion, Result, ServerError, eventually, shared_kafka};
use crate::workload::{Load, TABLES, Workload};

/// A failpoint is passed within this, on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(60);

/// Transactions that are released at each look for a death: enough that everything is passed soon, little beside what a test
/// commits itself.
const RELEASED_PER_LOOK: usize = 2;

/// SIGKILL, as `wait` reports it.
const SIGKILL: i32 = 9;

/// Where a scenario's changes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Apache Kafka.
    Kafka,
    /// The embedded stream.
    File,
}

/// What differs from scenario to scenario.
#[derive(Clone)]
pub struct Options {
    /// The server that is shared; [`Scenario::on`] brings its own.
    pub version: Version,
    /// Where changes go.
    pub lane: Lane,
    /// The workload; it is paced.
    pub load: Load,
    /// Values come in binary form.
    pub binary: bool,
    /// Transactions from 64 kB on are sent while they run, and spill from 100 kB on.
    pub streaming: bool,
    /// Partitions of new topics in Kafka.
    pub partitions: u32,
    /// Table patterns, in which `public` stands for the database's schema.
    pub tables: String,
    /// Further lines of the source.
    pub source: String,
    /// Further lines of the stream.
    pub stream: String,
    /// Further connectors.
    pub connectors: String,
    /// The shape of events.
    pub envelope: &'static str,
    /// Their bytes.
    pub codec: &'static str,
    /// The broker; the one that all tests share unless it is given.
    pub kafka: Option<Arc<Kafka>>,
    /// Where the daemon finds the broker, when not where we find it.
    pub bootstrap: Option<String>,
    /// Where the daemon finds the database, when not where we find it.
    pub source_url: Option<String>,
}

/// Everything of a scenario that runs.
pub struct Scenario {
    /// The source.
    pub database: Database,
    /// What carries.
    pub daemon: Daemon,
    /// What changes the source.
    pub workload: Workload,
    options: Options,
}

// === impl Lane ===

impl Lane {
    /// Both.
    pub const ALL: [Lane; 2] = [Lane::Kafka, Lane::File];
}

// === impl Options ===

impl Options {
    /// Into this lane, with this seed; all the rest as the daemon has it by default.
    #[must_use]
    pub fn new(lane: Lane, seed: u64) -> Options {
        Options {
            version: PostgresVersion::V17.into(),
            lane,
            load: Load {
                paced: true,
                ..Load::of_seed(seed)
            },
            binary: false,
            streaming: false,
            partitions: 3,
            tables: "[public.*]".to_owned(),
            source: String::new(),
            stream: String::new(),
            connectors: String::new(),
            envelope: "entity",
            codec: "json",
            kafka: None,
            bootstrap: None,
            source_url: None,
        }
    }

    /// Where events of this daemon are found.
    ///
    /// # Errors
    /// When the broker that all tests share does not start.
    pub fn published(&self, daemon: &Daemon) -> Result<Published<'_>> {
        Ok(match (self.lane, &self.kafka) {
            (Lane::Kafka, Some(kafka)) => Published::Kafka(kafka),
            (Lane::Kafka, None) => Published::Kafka(shared_kafka()?),
            (Lane::File, _) => Published::File(event_folder(daemon)),
        })
    }

    /// The configuration of this daemon, of one connector, called like its database.
    fn sections(&self, database: &Database, daemon: &Daemon) -> Result<String> {
        let stream = match self.lane {
            Lane::Kafka => {
                let bootstrap = match (&self.bootstrap, &self.kafka) {
                    (Some(bootstrap), _) => bootstrap.clone(),
                    (None, Some(kafka)) => kafka.bootstrap(),
                    (None, None) => shared_kafka()?.bootstrap(),
                };
                let partitions = self.partitions;
                format!("type: kafka\nbootstrap_servers: [\"{bootstrap}\"]\ntopics: {{ partitions: {partitions} }}\n")
            }
            // The smallest segments that there are: most batches begin a new one.
            Lane::File => format!(
                "type: file\npath: \"{}\"\nsegment_bytes: 4096\n",
                event_folder(daemon).display()
            ),
        };
        let tables = database.patterns(&self.tables);
        let mut source = database.source(self.source_url.as_deref()) + &format!("tables: {tables}\n");
        if self.binary {
            source.push_str("binary: true\n");
        }
        if self.streaming {
            source.push_str("spill_bytes: 100000\n");
        }
        Ok(format!(
            "streams:\n  events:\n{}connectors:\n  {}:\n    stream: events\n    format: {{ envelope: {}, codec: {} }}\n    source:\n{}{}",
            indented(&format!("{stream}{}", self.stream), 4),
            database.name(),
            self.envelope,
            self.codec,
            indented(&format!("{source}{}", self.source), 6),
            indented(&self.connectors, 2),
        ))
    }
}

fn event_folder(daemon: &Daemon) -> PathBuf {
    daemon.path().join("events")
}

fn indented(lines: &str, spaces: usize) -> String {
    lines.lines().map(|line| format!("{:spaces$}{line}\n", "")).collect()
}

// === impl Scenario ===

impl Scenario {
    /// On a database of the server that all tests share: tables, workload and configuration are there, nothing is started.
    ///
    /// # Errors
    /// The server's.
    pub async fn new(options: Options) -> Result<Scenario> {
        Scenario::on(Database::shared(options.version).await?, options).await
    }

    /// As [`Scenario::new`], on this database.
    ///
    /// # Errors
    /// As [`Scenario::new`].
    pub async fn on(database: Database, options: Options) -> Result<Scenario> {
        if options.streaming {
            let name = database.name();
            let setting = format!("alter database {name} set logical_decoding_work_mem = '64kB'");
            database.execute(&setting).await?;
        }
        let workload = Workload::start_with(&database, options.load).await?;
        let daemon = Daemon::new("")?;
        let scenario = Scenario {
            database,
            daemon,
            workload,
            options,
        };
        scenario.configure()?;
        Ok(scenario)
    }

    /// Changes the options from the daemon's next start on.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn change(&mut self, change: impl FnOnce(&mut Options)) -> Result<()> {
        change(&mut self.options);
        self.configure()
    }

    /// Another server has taken over, with everything that was committed: the workload goes on there, and so will the daemon from its
    /// next start on.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn move_to(&mut self, server: Server) -> Result<()> {
        self.database = self.database.on_replica(server);
        self.workload.move_to(&self.database);
        self.configure()
    }

    fn configure(&self) -> Result<()> {
        let sections = self.options.sections(&self.database, &self.daemon)?;
        self.daemon.configure(&sections)
    }

    /// Starts the daemon, unarmed, and waits until it streams.
    ///
    /// # Errors
    /// When it does not; with its log, and the seed.
    pub fn start(&self) -> Result<()> {
        let started = self.daemon.start().and_then(|()| self.wait_for("streaming"));
        started.map_err(|error| self.with_seed(&error))
    }

    /// Waits for a state of the connector.
    ///
    /// # Errors
    /// When it is not reached.
    pub fn wait_for(&self, state: &str) -> Result<()> {
        self.daemon.wait_for_state(self.database.name(), state)
    }

    /// So many more transactions, committed.
    ///
    /// # Errors
    /// When a writer failed.
    pub async fn commit(&self, transactions: usize) -> Result<()> {
        self.workload.commit(transactions).await
    }

    /// Starts the daemon with a failpoint armed to kill (`after_durable`, at its third passage `after_durable@3`, torn
    /// `segment_write=torn`, the last of several `after_enqueue=slow,after_checkpoint=kill`), lets the workload go on, and
    /// waits for the death; proves that it was that one.
    ///
    /// # Errors
    /// When the daemon does not die, or dies of something else.
    pub async fn dies_at(&self, failpoint: &str) -> Result<()> {
        let (name, armed) = armed(failpoint, "kill");
        self.daemon.start_armed(&armed)?;
        self.dies(&name).await.map_err(|error| self.with_seed(&error))?;
        eprintln!("{armed}: killed by signal {SIGKILL}, seed {}", self.workload.seed());
        Ok(())
    }

    async fn dies(&self, name: &str) -> Result<()> {
        use std::os::unix::process::ExitStatusExt;

        let death = format!("the death at {name}");
        let ended = eventually(&death, DEADLINE, || async {
            let ended = self.daemon.ended()?;
            if ended.is_none() && self.workload.is_idle() {
                self.workload.release(RELEASED_PER_LOOK);
            }
            Ok(ended)
        });
        let ended = ended
            .await
            .map_err(|error| self.daemon.with_status(self.database.name(), &error))?;
        let log = self.daemon.newest_log();
        if ended.signal() == Some(SIGKILL) && log.contains(&format!("failpoint {name}: killed")) {
            return Ok(());
        }
        Err(ServerError::new(format!(
            "the daemon ended by {ended} and not at {name}; it logged:\n{log}"
        )))
    }

    /// Starts the daemon with a failpoint armed to fail, lets the workload go on, and waits until the process, which lives
    /// on, streams again.
    ///
    /// # Errors
    /// When it does not; with its log, and the seed.
    pub async fn recovers_from(&self, failpoint: &str) -> Result<()> {
        let (name, armed) = armed(failpoint, "error");
        self.daemon.start_armed(&armed)?;
        let reached = format!("failpoint {name}: reached");
        let recovery = format!("recovery from {name}");
        let recovered = eventually(&recovery, DEADLINE, || async {
            if let Some(ended) = self.daemon.ended()? {
                return Err(ServerError::new(format!("the daemon ended by {ended}")));
            }
            if !self.daemon.newest_log().contains(&reached) {
                if self.workload.is_idle() {
                    self.workload.release(RELEASED_PER_LOOK);
                }
                return Ok(None);
            }
            let Ok(status) = self.daemon.connector(self.database.name()) else {
                return Ok(None);
            };
            let retries = status.get("retries").and_then(Value::as_u64).unwrap_or_default();
            let streams = status.get("state").and_then(Value::as_str) == Some("streaming");
            let recovered = streams && retries > 0;
            Ok(recovered.then_some(()))
        });
        recovered.await.map_err(|error| {
            let error = self.daemon.with_status(self.database.name(), &error);
            self.with_seed(&error)
        })
    }

    /// Waits until everything that is committed is durable and confirmed.
    ///
    /// # Errors
    /// When it does not happen.
    pub async fn settle(&self) -> Result<()> {
        let settled = self.database.wait_until_carried(&self.daemon).await;
        settled.map_err(|error| self.with_seed(&error))
    }

    /// The newest checkpoint: its sequence and its progress, read from a copy of the state, so that nobody is disturbed.
    ///
    /// # Errors
    /// When there is none.
    pub async fn checkpoint(&self) -> Result<(u64, String)> {
        let folder = tempfile::tempdir().map_err(ServerError::doing("making a temporary folder"))?;
        let state = self.daemon.state_file();
        let copy = folder.path().join("state.db");
        for suffix in ["", "-wal"] {
            let with_suffix = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            fs::copy(with_suffix(state), with_suffix(&copy)).map_err(ServerError::doing("copying the state"))?;
        }
        let failed = || ServerError::doing::<sqlx::Error>("reading the state");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&copy);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed())?;
        let newest = "select sequence, progress from checkpoints order by sequence desc limit 1";
        let (sequence, progress): (i64, String) = sqlx::query_as(newest)
            .fetch_one(&mut connection)
            .await
            .map_err(failed())?;
        Ok((u64::try_from(sequence).unwrap_or_default(), progress))
    }

    /// All events of a table so far, in the order of each partition.
    ///
    /// # Errors
    /// The stream's.
    pub async fn events(&self, table: &str) -> Result<Vec<Event>> {
        let topic = self.database.topic(table);
        self.options.published(&self.daemon)?.events(&topic).await
    }

    /// The end: stops the workload, waits until everything is carried, and asks the oracle.
    ///
    /// # Errors
    /// What the oracle found to be wrong, with the seed and the end of the daemon's log.
    pub async fn finish(self, snapshot: Snapshot) -> Result<Findings> {
        self.end(snapshot).await.0
    }

    /// As [`Scenario::finish`], with the daemon that is left, to look at.
    pub async fn end(self, snapshot: Snapshot) -> (Result<Findings>, Daemon) {
        let Scenario {
            database,
            daemon,
            workload,
            options,
        } = self;
        let findings = judge(&database, &daemon, workload, (&options, snapshot)).await;
        let findings = findings.map_err(|error| daemon.with_status(database.name(), &error));
        (findings, daemon)
    }

    /// The end for those who ask no oracle: stops the workload and waits until everything is carried.
    ///
    /// # Errors
    /// When a writer failed, or it is not carried.
    pub async fn quiet(self) -> Result<(Database, Daemon, Options)> {
        let Scenario {
            database,
            daemon,
            workload,
            options,
        } = self;
        workload.stop().await?;
        database.wait_until_carried(&daemon).await?;
        Ok((database, daemon, options))
    }

    /// The scenario's own broker, where it has one.
    #[must_use]
    pub fn kafka(&self) -> Option<&Kafka> {
        self.options.kafka.as_deref()
    }

    fn with_seed(&self, error: &ServerError) -> ServerError {
        let (lane, seed) = (self.options.lane, self.workload.seed());
        ServerError::new(format!("{lane:?}, seed {seed}: {error}"))
    }
}

/// Stops the workload, waits until everything is carried, and asks the oracle.
async fn judge(
    database: &Database,
    daemon: &Daemon,
    workload: Workload,
    (options, snapshot): (&Options, Snapshot),
) -> Result<Findings> {
    let seed = workload.seed();
    let history = workload.stop().await?;
    database.wait_until_carried(daemon).await?;
    let published = options.published(daemon)?;
    let mut events = std::collections::BTreeMap::new();
    for (table, _) in TABLES {
        let topic = database.topic(table);
        events.insert(table, published.events(&topic).await?);
    }
    let found = oracle::compare(database, seed, (&history, snapshot), |table| {
        Ok(events.get(table).cloned().unwrap_or_default())
    });
    found.await
}

/// The name alone, and the whole entry for the environment.
fn armed(failpoint: &str, action: &str) -> (String, String) {
    let last = failpoint.split(',').next_back().unwrap_or_default();
    let name = last.split(['@', '=']).next().unwrap_or_default().to_owned();
    let entry = match failpoint.split_once('@') {
        _ if failpoint.contains('=') => failpoint.to_owned(),
        Some((_, at)) => format!("{name}={action}@{at}"),
        None => format!("{name}={action}"),
    };
    (name, entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failpoints_are_armed_by_a_short_name() {
        let entry = |failpoint| armed(failpoint, "kill").1;
        assert_eq!(entry("after_durable"), "after_durable=kill");
        assert_eq!(entry("after_durable@3"), "after_durable=kill@3");
        assert_eq!(entry("segment_write=torn@2"), "segment_write=torn@2");
        assert_eq!(armed("segment_write=torn@2", "kill").0, "segment_write");
        assert_eq!(armed("after_enqueue=slow,status_sent=kill@2", "kill").0, "status_sent");
    }
}
