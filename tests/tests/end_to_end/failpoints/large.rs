//! Deaths while transactions are sent that are still open on the server, spilled, and replayed.

use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options, Scenario};

use super::{ends_well, in_the_log};
use crate::crashes::seed;

/// The goal is 100 MB through 2 M rows in a release build; a debug build with its larger code has the rest.
const MEMORY_BYTES: u64 = 160 * 1024 * 1024;

fn streaming(lane: Lane) -> Options {
    Options {
        streaming: true,
        ..Options::new(lane, seed())
    }
}

/// A transaction that the server sends while it runs, of which nothing is to be seen.
async fn aborts(scenario: &Scenario) {
    let rows = "insert into bulk select 9, n, 0, repeat('x', 90) from generate_series(1, 3000) n";
    let statements = format!("begin; {rows}; rollback");
    scenario.database.execute(&statements).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_131_a_transaction_of_a_hundred_thousand_rows_with_deaths_in_it() {
    for (lane, binary) in [(Lane::Kafka, true), (Lane::File, false)] {
        let options = Options {
            binary,
            ..streaming(lane)
        };
        let scenario = in_the_log(options).await;
        scenario.workload.commit_rows(100_000).await.unwrap();
        for failpoint in [
            "in_streamed_transaction@50000",
            "in_transaction@30000",
            "after_durable@4",
        ] {
            scenario.dies_at(failpoint).await.unwrap();
        }
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        let peak = scenario.daemon.peak_memory_bytes().unwrap();
        assert!(peak < MEMORY_BYTES, "{peak} bytes");
        scenario.daemon.kill9().unwrap();
        ends_well(scenario, Snapshot::Whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_132_what_was_held_of_an_open_transaction_is_dropped_and_sent_again() {
    for lane in Lane::ALL {
        let scenario = in_the_log(streaming(lane)).await;
        for failpoint in [
            "in_streamed_transaction@10",
            "spool_spill",
            "spool_spill@3",
            "stream_commit",
            "in_transaction@500",
        ] {
            aborts(&scenario).await;
            scenario.workload.commit_rows(3000).await.unwrap();
            scenario.dies_at(failpoint).await.unwrap();
        }
        ends_well(scenario, Snapshot::Whole).await;
    }
}

/// The workload rolls savepoints back in transactions of every size; here each of them is large enough to be streamed.
#[tokio::test(flavor = "multi_thread")]
async fn fm_133_a_savepoint_rolled_back_in_a_streamed_transaction_leaves_nothing() {
    for lane in Lane::ALL {
        let scenario = in_the_log(streaming(lane)).await;
        for failpoint in ["stream_commit", "after_enqueue"] {
            let rows = |from: u32| {
                format!(
                    "insert into bulk select 8, n, n, repeat('x', 90) from generate_series({from}, {from} + 2000) n"
                )
            };
            let statements = format!("begin; savepoint regret; {}; rollback to regret; commit", rows(1));
            scenario.database.execute(&statements).await.unwrap();
            scenario.workload.commit_rows(2000).await.unwrap();
            scenario.dies_at(failpoint).await.unwrap();
        }
        // The oracle knows no key of writer 8: each of them would be a phantom.
        ends_well(scenario, Snapshot::Whole).await;
    }
}
