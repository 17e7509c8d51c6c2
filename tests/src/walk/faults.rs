//! How each fault happens.

use std::time::Duration;

use super::plan::STREAMED;
use super::{EXTRA_ROWS, Ending, Fault, Network, Proxy, Restart, Walk, Who, saved_position};
use crate::proxy::{Armed, Fault as Armable, pass_time};
use crate::servers::{Result, ServerError, eventually};

/// What is armed has so long to meet what it is about; then it is disarmed and counts as missed.
const PATIENCE: Duration = Duration::from_secs(2);

/// A process that stands still, and a network that is down, see so many transactions.
const COMMITS_MEANWHILE: usize = 5;

/// A transaction with a statement of so many rows is sent while it runs, and spilled.
const STREAMED_ROWS: u64 = 3000;

/// Transactions that are released at each look for something that is armed.
const RELEASED_PER_LOOK: usize = 1;

// === impl Walk ===

impl Walk<'_> {
    pub(super) async fn meet(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::At(point, action, passage) => {
                let armed = format!("{point}={action}@{passage}");
                self.meet_failpoint((point, action), &armed).await
            }
            Fault::Kill(commits) => {
                self.ensure_running().await?;
                self.scenario.commit(commits).await?;
                self.scenario.daemon.kill9()?;
                self.ensure_running().await
            }
            Fault::Stop => self.stop().await,
            Fault::Freeze(milliseconds) => self.freeze(milliseconds).await,
            Fault::Source(network) => {
                let proxy = self.source;
                self.meet_network(proxy, network).await
            }
            Fault::Stream(network) => {
                let Some(proxy) = self.stream.take() else {
                    return Ok(());
                };
                let met = self.meet_network(&proxy, network).await;
                self.stream = Some(proxy);
                met
            }
            Fault::Table(point, passage) => {
                self.add_table().await?;
                let armed = format!("{point}=kill@{passage}");
                self.meet_failpoint((point, "kill"), &armed).await
            }
            Fault::Identity(identity) => {
                let tables = ["accounts", "order_lines"];
                let statements = tables.map(|table| format!("alter table {table} replica identity {identity};"));
                self.scenario.database.execute(&statements.concat()).await?;
                self.ensure_running().await
            }
            Fault::Database(restart) => {
                self.ensure_running().await?;
                let server = self.scenario.database.server().clone();
                self.scenario.workload.release(COMMITS_MEANWHILE);
                if matches!(restart, Restart::Kill) {
                    server.kill9()?;
                }
                server.restart()
            }
            Fault::Rotate(purged) => {
                self.ensure_running().await?;
                self.rotate(purged).await
            }
            Fault::Broker(restart) => self.restart_broker(restart),
        }
    }

    /// Starts the daemon with a failpoint armed, and goes on until it was passed or the patience is over.
    async fn meet_failpoint(&mut self, (name, action): (&str, &str), armed: &str) -> Result<()> {
        self.scenario.daemon.kill9()?;
        self.judge_position().await?;
        self.scenario.daemon.start_armed(armed)?;
        if STREAMED.contains(&name) {
            self.scenario.workload.commit_rows(STREAMED_ROWS).await?;
        }
        let (killed, reached) = (
            format!("failpoint {name}: killed"),
            format!("failpoint {name}: reached"),
        );
        let passed = self
            .look(|walk| {
                let log = walk.scenario.daemon.newest_log();
                match walk.scenario.daemon.ended()? {
                    Some(_) if log.contains(&killed) => Ok(true),
                    Some(ended) => Err(ServerError::new(format!(
                        "the daemon ended by {ended} and not at {armed}; it logged:\n{log}"
                    ))),
                    // Any other action ends with the process, a moment after it was announced.
                    None => Ok(action == "error" && log.contains(&reached)),
                }
            })
            .await?;
        if !passed {
            self.missed += 1;
            // Disarmed. It may be passing just now, so that there is nobody left to be asked to stop.
            self.scenario.daemon.kill9()?;
        }
        self.ensure_running().await
    }

    /// One more table that the pattern selects; it is found at the next start.
    async fn add_table(&mut self) -> Result<()> {
        let name = format!("extra{}", self.extra_tables.len());
        let numbers = self.scenario.database.numbers(1..EXTRA_ROWS + 1);
        let statement = format!("create table {name} (id int primary key); insert into {name} {numbers}");
        self.scenario.database.execute(&statement).await?;
        self.extra_tables.push(name);
        Ok(())
    }

    /// A new file of the log; the ones before that of the checkpoint may go.
    async fn rotate(&self, purged: bool) -> Result<()> {
        self.scenario.workload.release(COMMITS_MEANWHILE);
        self.scenario.database.execute("flush binary logs").await?;
        let Ok((_, progress)) = self.scenario.checkpoint().await else {
            return Ok(());
        };
        let position = saved_position(&progress)?;
        let file = position.split_once(':').map(|(file, _)| file);
        match file.filter(|_| purged) {
            Some(file) => {
                self.scenario
                    .database
                    .execute(&format!("purge binary logs to '{file}'"))
                    .await
            }
            None => Ok(()),
        }
    }

    /// SIGTERM, where it runs, and a new start. It may be in the middle of anything.
    async fn stop(&self) -> Result<()> {
        self.ensure_running().await?;
        self.scenario.daemon.wait_for_answer()?;
        self.scenario.daemon.terminate()?;
        self.ensure_running().await
    }

    async fn freeze(&mut self, milliseconds: u64) -> Result<()> {
        self.ensure_running().await?;
        self.scenario.daemon.pause()?;
        self.scenario.commit(COMMITS_MEANWHILE).await?;
        pass_time(Duration::from_millis(milliseconds)).await;
        self.scenario.daemon.resume()
    }

    fn restart_broker(&self, restart: Restart) -> Result<()> {
        let Some(kafka) = self.scenario.kafka() else {
            return Ok(());
        };
        self.scenario.workload.release(COMMITS_MEANWHILE);
        if matches!(restart, Restart::Kill) {
            kafka.kill9()?;
        }
        kafka.restart()
    }

    async fn meet_network(&mut self, proxy: &Proxy, network: Network) -> Result<()> {
        let armed = match network {
            Network::Cut(who, ending) => {
                self.ensure_running().await?;
                return self.count(proxy.cut(who, ending));
            }
            Network::Strand(who) => {
                self.ensure_running().await?;
                return self.count(proxy.strand(who));
            }
            Network::Blackhole(milliseconds) => {
                proxy.blackhole();
                return self.weather(proxy, milliseconds).await;
            }
            Network::Refuse(milliseconds) => {
                proxy.refuse()?;
                proxy.cut(Who::All, Ending::Reset);
                return self.weather(proxy, milliseconds).await;
            }
            Network::Delay(milliseconds) => {
                proxy.delay(Duration::from_millis(milliseconds));
                return self.ensure_running().await;
            }
            Network::Throttle(bytes_per_second) => {
                proxy.throttle(bytes_per_second);
                return self.ensure_running().await;
            }
            Network::CutAfter(who, direction, bytes, ending) => {
                let fault = Armable::CutAfter {
                    direction,
                    bytes,
                    ending,
                };
                proxy.arm(who, fault)
            }
            Network::CutInside(kind, ending) => proxy.arm(Who::All, Armable::CutInside(kind, ending)),
            Network::Lose(kind, count, then) => proxy.arm(Who::All, Armable::Lose { kind, count, then }),
            Network::Answer(count, error_code) => proxy.arm(Who::All, Armable::Answer { count, error_code }),
        };
        self.ensure_running().await?;
        self.wait_for_armed(proxy, &armed).await
    }

    async fn wait_for_armed(&mut self, proxy: &Proxy, armed: &Armed) -> Result<()> {
        let happened = self.look(|_| Ok(armed.has_happened())).await?;
        if !happened {
            self.missed += 1;
            proxy.disarm();
        }
        Ok(())
    }

    /// Bad weather for a while, with transactions in it; only what it did to connections stays.
    async fn weather(&mut self, proxy: &Proxy, milliseconds: u64) -> Result<()> {
        self.ensure_running().await?;
        self.scenario.commit(COMMITS_MEANWHILE).await?;
        pass_time(Duration::from_millis(milliseconds)).await;
        proxy.heal()
    }

    fn count(&mut self, met: usize) -> Result<()> {
        self.missed += usize::from(met == 0);
        Ok(())
    }

    /// Lets the workload go on until something is so; false where the patience is over first.
    async fn look(&self, is_so: impl Fn(&Self) -> Result<bool>) -> Result<bool> {
        let begun = std::time::Instant::now();
        eventually("the end of the patience", PATIENCE * 10, || async {
            if is_so(self)? {
                return Ok(Some(true));
            }
            if self.scenario.workload.is_idle() {
                self.scenario.workload.release(RELEASED_PER_LOOK);
            }
            Ok((begun.elapsed() > PATIENCE).then_some(false))
        })
        .await
    }
}
