//! The same transitions, with an error that a retry cures in the place of a death: the way back is the same, within one process.

use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options, Scenario};

use super::{ROWS_FIRST, ends_well, in_the_log};
use crate::crashes::seed;

/// In the log of any database.
const IN_THE_LOG: [&str; 8] = [
    "before_source",
    "in_transaction@20",
    "after_enqueue@2",
    "after_durable@2",
    "before_checkpoint@2",
    "after_checkpoint@2",
    "after_confirm@2",
    "in_streamed_transaction@20",
];

/// On the way to the log, each from a first start of its own: an error does not end the process, and so the next start is
/// past the transition.
const BEFORE_THE_LOG: [&str; 8] = [
    "after_publication",
    "after_slot_create",
    "after_slot_saved",
    "snapshot_rows@2",
    "snapshot_table_finished@2",
    "snapshot_complete",
    "between_marker_and_promote",
    "after_promote",
];

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_the_log_are_recovered_from() {
    for lane in Lane::ALL {
        let options = Options {
            streaming: true,
            ..Options::new(lane, seed())
        };
        let scenario = in_the_log(options).await;
        for failpoint in IN_THE_LOG {
            scenario.workload.commit_rows(1000).await.unwrap();
            scenario.recovers_from(failpoint).await.unwrap();
            scenario.commit(5).await.unwrap();
            scenario.daemon.kill9().unwrap();
        }
        ends_well(scenario, Snapshot::Whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_before_the_log_are_recovered_from() {
    for (index, failpoint) in BEFORE_THE_LOG.into_iter().enumerate() {
        let lane = Lane::ALL[index % 2];
        let scenario = Scenario::new(Options::new(lane, seed())).await.unwrap();
        scenario.commit(ROWS_FIRST).await.unwrap();
        scenario.recovers_from(failpoint).await.unwrap();
        scenario.daemon.kill9().unwrap();
        ends_well(scenario, Snapshot::Interrupted).await;
    }
}
