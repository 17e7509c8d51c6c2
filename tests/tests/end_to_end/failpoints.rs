//! The daemon dies at a named transition, is started again, and the oracle compares what it published with the truth.
//!
//! One test per row of the failure matrix (`docs/failure-matrix.md`), each into Kafka and into the embedded stream.

use tailrace_tests::oracle::{Findings, Snapshot};
use tailrace_tests::scenario::{Lane, Options, Scenario};

use crate::crashes::seed;

mod added_tables;
mod errors;
mod files;
mod large;
mod starts;
mod state;
mod streams;

/// Transactions before the daemon is started for the first time.
pub(crate) const ROWS_FIRST: usize = 60;

/// The first checkpoint within a transaction of which several batches are in flight: they come slowly, so that a checkpoint
/// comes before the last of them on the fastest machine too.
pub(crate) const PART_SAVED: &str = "after_enqueue=slow,after_partial_checkpoint=kill";

/// Something to read, and nothing started.
async fn unstarted(lane: Lane) -> Scenario {
    let scenario = Scenario::new(Options::new(lane, seed())).await.unwrap();
    scenario.commit(ROWS_FIRST).await.unwrap();
    scenario
}

/// Past its snapshot, and dead.
pub(crate) async fn in_the_log(options: Options) -> Scenario {
    let scenario = Scenario::new(options).await.unwrap();
    scenario.commit(ROWS_FIRST).await.unwrap();
    scenario.start().unwrap();
    scenario.commit(10).await.unwrap();
    scenario.settle().await.unwrap();
    scenario.daemon.kill9().unwrap();
    scenario
}

/// Starts unarmed, goes on for a while, and asks the oracle.
pub(crate) async fn ends_well(scenario: Scenario, snapshot: Snapshot) -> Findings {
    scenario.start().unwrap();
    scenario.commit(20).await.unwrap();
    let findings = scenario.finish(snapshot).await.unwrap();
    assert!(findings.records > 100 && findings.reads > 0, "{findings:?}");
    findings
}

/// Each of these deaths one after the other in the log, the state of the world going on from one to the next.
pub(crate) async fn dies_in_the_log(options: Options, failpoints: &[&str]) -> Findings {
    let scenario = in_the_log(options).await;
    for failpoint in failpoints {
        scenario.dies_at(failpoint).await.unwrap();
        scenario.commit(5).await.unwrap();
    }
    ends_well(scenario, Snapshot::Whole).await
}

/// The number that a query gives.
async fn count(scenario: &Scenario, query: &str) -> u64 {
    scenario.database.query_value(query).await.unwrap().parse().unwrap()
}

/// Slots of the scenario's database.
async fn slots(scenario: &Scenario) -> u64 {
    let name = scenario.database.name();
    let query = format!("select count(*) from pg_replication_slots where database = '{name}'");
    count(scenario, &query).await
}

/// Publications in the scenario's database.
async fn publications(scenario: &Scenario) -> u64 {
    count(scenario, "select count(*) from pg_publication").await
}
