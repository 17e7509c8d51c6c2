//! Random walks over everything that may go wrong: a seed decides the server's version, the options, the workload and up to
//! four faults; at the end all is healed, and the oracle compares what was published with the truth.
//!
//! ```text
//!   seed ─▶ Plan::of ─▶ workload ─▶ start ─▶ [ commits · fault · recovery? ]* ─▶ heal ─▶ settle ─▶ oracle
//! ```
//!
//! A crash test asks whether one transition is safe, and knows which. A walk finds the pairs that nobody thought of: a
//! producer that is thrown away while the server is shutting down, a status update that is lost before a torn write.
//!
//! What a seed decides is decided before anything runs, so the same seed meets the same faults in the same order
//! ([`Plan`]). It does not decide how two processes interleave: a failing seed is walked again several times.
//!
//! Whether a fault happens may depend on what the others did: a failpoint may never be passed, an armed cut may have no
//! connection to meet. Such a fault is reported as missed and disarmed; it fails nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::Daemon;
use crate::database::{Database, Server};
use crate::events::Event;
use crate::oracle::{Findings, Snapshot};
use crate::proxy::{Ending, Lent, Proxy, Who};
use crate::scenario::{Lane, Options, Scenario};
use crate::servers::{Kafka, MySqlServer, Postgres, Result, ServerError, eventually};
use crate::workload::Load;

mod faults;
mod plan;
mod site;

pub use plan::{Family, Fault, Network, Plan, Restart, Step};
pub use site::Site;

/// Transactions after the last fault: what comes after a recovery is carried too.
const COMMITS_AFTER: usize = 10;

/// Rows of a table that comes later.
const EXTRA_ROWS: u64 = 700;

/// Shorter than the client's own minute, so that a connection that fell silent is not a walk of its own.
const STREAM_PROPERTIES: &str = "properties: { socket.timeout.ms: 2000 }";

/// What became of a walk.
pub struct Outcome {
    /// What it was.
    pub plan: Plan,
    /// What the oracle found, or what went wrong.
    pub findings: Result<Findings>,
    /// Faults that did not happen, because what they are about did not.
    pub missed: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// A walk under way.
struct Walk<'a> {
    scenario: Scenario,
    source: &'a Proxy,
    stream: Option<Lent<'a>>,
    missed: usize,
    /// Tables that came later.
    extra_tables: Vec<String>,
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    /// One line; what went wrong follows on further ones.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, plan, seconds) = (self.plan.seed, &self.plan, self.elapsed.as_secs_f64());
        match &self.findings {
            Ok(findings) => write!(
                formatter,
                "ok seed {seed} {seconds:.1} s, {} events, {} duplicates, {} of {} faults missed: {plan}",
                findings.records,
                findings.duplicates,
                self.missed,
                plan.steps.len(),
            ),
            Err(error) => write!(
                formatter,
                "FAILED seed {seed} {seconds:.1} s: {plan}\n  again: TAILRACE_WALK_DATABASE={:?} tests/run replay {seed}\n{error}",
                plan.family()
            ),
        }
    }
}

/// Walks a plan on the servers of a site. After a failure what is left is kept in a folder below `keep`.
pub async fn walk(site: &mut Site, plan: Plan, keep: &Path) -> Outcome {
    let begun = Instant::now();
    let mut missed = 0;
    let folder = keep.join(format!("seed-{}", plan.seed));
    let findings = try_walk(site, &plan, &folder, &mut missed).await;
    let kept = match &findings {
        Err(_) => site.keep_logs(&folder).map(|()| folder),
        Ok(_) => Ok(PathBuf::new()),
    };
    let findings = findings.map_err(|error| match kept {
        Ok(folder) => ServerError::new(format!("{error}\n  what is left is in {}", folder.display())),
        Err(unkept) => ServerError::new(format!("{error}\n  and {unkept}")),
    });
    Outcome {
        plan,
        findings,
        missed,
        elapsed: begun.elapsed(),
    }
}

async fn try_walk(site: &mut Site, plan: &Plan, folder: &Path, missed: &mut usize) -> Result<Findings> {
    let kafka = match plan.lane {
        Lane::Kafka => Some(site.broker()?),
        Lane::File => None,
    };
    let source = site.source(plan.version)?;
    let stream = match &kafka {
        Some(kafka) => kafka.proxies().lend().await,
        None => None,
    };
    let database = Database::create(source.server.clone()).await?;
    let options = Options {
        load: Load {
            paced: true,
            largest_rows: plan.largest_rows,
            ..Load::of_seed(plan.seed)
        },
        binary: plan.binary,
        streaming: plan.streaming,
        partitions: plan.partitions,
        source: format!("snapshot: {{ connections: {} }}", plan.snapshot_connections),
        source_url: Some(database.url_through(&source.proxy)),
        stream: match plan.lane {
            Lane::Kafka => STREAM_PROPERTIES.to_owned(),
            Lane::File => String::new(),
        },
        bootstrap: stream.as_ref().map(|proxy| proxy.address()),
        kafka: kafka.clone(),
        ..Options::new(plan.lane, plan.seed)
    };
    let mut walk = Walk {
        scenario: Scenario::on(database.clone(), options).await?,
        source: &source.proxy,
        stream,
        missed: 0,
        extra_tables: Vec::new(),
    };
    let walked = walk.take(plan).await;
    *missed = walk.missed;
    let snapshot = if plan.early {
        Snapshot::Interrupted
    } else {
        Snapshot::Whole
    };
    let Walk { scenario, .. } = walk;
    let (findings, daemon) = match walked {
        Ok(()) => scenario.end(snapshot).await,
        Err(error) => (Err(error), scenario.daemon),
    };
    if findings.is_err() {
        keep_daemon(&daemon, folder)?;
        keep_topics(kafka.as_deref(), folder)?;
    }
    daemon.kill9()?;
    clean_up(&database, kafka.as_deref()).await?;
    findings
}

// === impl Walk ===

impl Walk<'_> {
    /// Every step, and then good weather.
    async fn take(&mut self, plan: &Plan) -> Result<()> {
        self.scenario.commit(plan.commits_before).await?;
        if plan.archive_rows > 0 {
            self.scenario.workload.commit_rows(plan.archive_rows).await?;
        }
        if !plan.early {
            self.scenario.start()?;
        }
        for step in &plan.steps {
            self.scenario.commit(step.commits).await?;
            self.meet(step.fault).await?;
            if step.calm {
                self.heal().await?;
                self.wait_streaming()?;
            }
        }
        self.heal().await?;
        self.wait_streaming()?;
        self.scenario.commit(COMMITS_AFTER).await?;
        self.judge_extra_tables().await
    }

    /// Their rows were read, each at least once, and nothing else.
    async fn judge_extra_tables(&self) -> Result<()> {
        if self.extra_tables.is_empty() {
            return Ok(());
        }
        self.scenario.settle().await?;
        let wanted: BTreeSet<String> = (1..=EXTRA_ROWS).map(|id| format!("{{\"id\":{id}}}")).collect();
        for table in &self.extra_tables {
            let events = self.scenario.events(table).await?;
            let keys: BTreeSet<String> = events.iter().map(|event| event.key_json().to_string()).collect();
            if keys != wanted {
                let lost: Vec<&String> = wanted.difference(&keys).take(5).collect();
                return Err(ServerError::new(format!(
                    "{table} came later: {} of {EXTRA_ROWS} rows are there, {lost:?} are not",
                    keys.len()
                )));
            }
        }
        Ok(())
    }

    /// Good weather on both sides; the daemon runs.
    async fn heal(&mut self) -> Result<()> {
        self.source.heal()?;
        if let Some(stream) = &self.stream {
            stream.heal()?;
        }
        self.ensure_running().await
    }

    async fn ensure_running(&self) -> Result<()> {
        if self.scenario.daemon.process_id().is_ok() {
            return Ok(());
        }
        self.judge_position().await?;
        self.scenario.daemon.start()
    }

    /// Between two lives of the daemon: the server was told of nothing that is not saved. What a lost state would cost is not
    /// seen at the end of a walk, because the state is not lost.
    async fn judge_position(&self) -> Result<()> {
        if self.scenario.database.postgres().is_err() {
            // MySQL is told of nothing.
            return Ok(());
        }
        // Before the first checkpoint there is nothing to compare.
        let Ok((_, progress)) = self.scenario.checkpoint().await else {
            return Ok(());
        };
        let saved = saved_position(&progress)?;
        let slot = self.scenario.database.slot();
        let told = format!(
            "select confirmed_flush_lsn from pg_replication_slots \
             where slot_name = '{slot}' and confirmed_flush_lsn > '{saved}'::pg_lsn"
        );
        match self.scenario.database.query(&told).await?.first() {
            None => Ok(()),
            Some(told) => Err(ServerError::new(format!(
                "the server was told that {told:?} is durable, and the checkpoint says {saved}"
            ))),
        }
    }

    fn wait_streaming(&self) -> Result<()> {
        self.scenario.wait_for("streaming")
    }
}

/// Where the log goes on after a checkpoint. While there is a snapshot, and until the first checkpoint of the log after it,
/// that is where the snapshot was taken.
fn saved_position(progress: &str) -> Result<String> {
    let unread = || ServerError::new(format!("a checkpoint without a position: {progress}"));
    let object = |text: &str| serde_json::from_str::<Value>(text).map_err(|_| unread());
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let position = text(&object(progress)?, "position").ok_or_else(unread)?;
    match position.strip_prefix("snapshot:") {
        Some(snapshot) => text(&object(snapshot)?, "log_start").ok_or_else(unread),
        None => Ok(position),
    }
}

/// Slot, database and topics of a walk: hundreds of them would slow the servers down.
async fn clean_up(database: &Database, kafka: Option<&Kafka>) -> Result<()> {
    match database.server() {
        Server::Postgres(server) => clean_up_postgres(server, database).await?,
        Server::MySql(server) => clean_up_mysql(server, database).await?,
    }
    let Some(kafka) = kafka else { return Ok(()) };
    for topic in kafka.topics()? {
        kafka.delete_topic(&topic).await?;
    }
    Ok(())
}

async fn clean_up_postgres(server: &Postgres, database: &Database) -> Result<()> {
    let (name, slot) = (database.name(), database.slot());
    // The walsender of a daemon that was killed may be alive for a moment.
    let gone = format!(
        "select count(pg_terminate_backend(active_pid))::text from pg_replication_slots where slot_name = '{slot}' and active"
    );
    eventually("the end of the walsender", Duration::from_secs(20), || async {
        Ok((server.query_value(&gone).await? == "0").then_some(()))
    })
    .await?;
    server
        .execute(&format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}'"
        ))
        .await?;
    server.execute(&format!("drop database {name} with (force)")).await
}

/// Sessions that fell silent hold locks until somebody ends them.
async fn clean_up_mysql(server: &MySqlServer, database: &Database) -> Result<()> {
    let others = "select id from information_schema.processlist where user = 'root' and id <> connection_id()";
    for id in server.query(others).await?.into_iter().flatten().flatten() {
        // It may have gone by itself.
        drop(server.execute(&format!("kill {id}")).await);
    }
    server.execute(&format!("drop database {}", database.name())).await
}

/// The daemon's configuration, state, log and files.
fn keep_daemon(daemon: &Daemon, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(ServerError::doing(format!("making {}", folder.display())))?;
    let copied = Command::new("cp")
        .args(["-a", "--no-target-directory"])
        .args([daemon.path(), &folder.join("daemon")])
        .status()
        .map_err(ServerError::doing("running cp"))?;
    if copied.success() {
        return Ok(());
    }
    Err(ServerError::new(format!("keeping {} failed", daemon.path().display())))
}

/// What is in the broker, an event a line.
fn keep_topics(kafka: Option<&Kafka>, folder: &Path) -> Result<()> {
    let Some(kafka) = kafka else { return Ok(()) };
    for topic in kafka.topics()? {
        let events = kafka.records(&topic)?.into_iter().map(Event::from);
        let lines: String = events.map(|event| format!("{event} {:?}\n", event.headers)).collect();
        fs::write(folder.join(&topic), lines).map_err(ServerError::doing(format!("writing {topic}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_found_in_checkpoints_of_both_kinds() {
        let log = saved_position(r#"{"position":"0/199AF38"}"#).unwrap();
        let snapshot = r#"{"position":"snapshot:{\"log_start\":\"0/17\",\"complete\":true}"}"#;
        assert_eq!(
            (log.as_str(), saved_position(snapshot).unwrap().as_str()),
            ("0/199AF38", "0/17")
        );
        assert!(saved_position("{}").is_err());
    }
}
