//! Deaths in the log: between what the server sent, what is durable, what is saved and what is confirmed.

use std::time::Duration;

use serde_json::Value;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::eventually;

use super::{count, dies_in_the_log, ends_well, in_the_log};
use crate::crashes::seed;

/// A connector that streams has long said so.
const DEADLINE: Duration = Duration::from_secs(20);

/// A position in the log as SQL compares it.
fn difference(upper: &str, lower: &str) -> String {
    format!("select ('{upper}'::pg_lsn - '{lower}'::pg_lsn)::bigint::text")
}

/// The position that the daemon said it begins at, at its last start.
async fn begins_at(scenario: &Scenario) -> String {
    // What a connector does is in its status before it is in the log.
    let begins = eventually("the log begins somewhere", DEADLINE, || async {
        let log = scenario.daemon.newest_log();
        let place = log.split_once("streaming the log from ").map(|(_, rest)| rest);
        let place = place.and_then(|rest| rest.split_once(char::is_whitespace));
        Ok(place.map(|(place, _)| place.to_owned()))
    });
    begins.await.unwrap()
}

async fn confirmed(scenario: &Scenario) -> String {
    let slot = scenario.database.slot();
    let query = format!("select confirmed_flush_lsn from pg_replication_slots where slot_name = '{slot}'");
    scenario.database.query_value(&query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_007_within_a_transaction_it_is_read_again_whole() {
    for lane in Lane::ALL {
        let failpoints = ["in_transaction", "in_transaction@7", "in_transaction@150"];
        dies_in_the_log(Options::new(lane, seed()), &failpoints).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_008_after_a_batch_was_given_to_the_producer() {
    for lane in Lane::ALL {
        dies_in_the_log(Options::new(lane, seed()), &["after_enqueue", "after_enqueue@4"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_009_after_a_batch_was_durable_it_comes_again_under_the_same_id() {
    for lane in Lane::ALL {
        let failpoints = ["after_durable", "after_durable@3", "before_checkpoint@2"];
        let findings = dies_in_the_log(Options::new(lane, seed()), &failpoints).await;
        assert!(findings.duplicates >= 3, "{lane:?}: {findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_010_after_a_checkpoint_the_log_goes_on_from_there_and_not_from_the_slot() {
    for lane in Lane::ALL {
        let scenario = in_the_log(Options::new(lane, seed())).await;
        for failpoint in ["after_checkpoint", "after_checkpoint@2"] {
            scenario.dies_at(failpoint).await.unwrap();
            let before = confirmed(&scenario).await;
            let (_, progress) = scenario.checkpoint().await.unwrap();
            scenario.start().unwrap();
            let begins_at = begins_at(&scenario).await;
            let ahead = count(&scenario, &difference(&begins_at, &before)).await;
            assert!(ahead > 0, "begins at {begins_at}, the slot was at {before}");
            assert!(
                progress.contains(&begins_at),
                "begins at {begins_at}, saved was {progress}"
            );
            scenario.daemon.kill9().unwrap();
        }
        ends_well(scenario, Snapshot::Whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_011_after_the_server_was_told() {
    for lane in Lane::ALL {
        let failpoints = ["after_confirm", "after_confirm@2", "status_sent", "status_sent@2"];
        dies_in_the_log(Options::new(lane, seed()), &failpoints).await;
    }
}

/// A panic is seen: the connector is halted, the process is not healthy, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn fm_018_a_panic_in_the_decoder_is_not_a_silent_death() {
    for lane in Lane::ALL {
        let scenario = in_the_log(Options::new(lane, seed())).await;
        scenario.daemon.start_armed("in_transaction=panic@5").unwrap();
        scenario.commit(20).await.unwrap();
        let name = scenario.database.name();
        scenario.daemon.wait_for_answer().unwrap();
        scenario.wait_for("halted:panicked").unwrap();
        let (live, ready) = (
            scenario.daemon.get("/livez").unwrap(),
            scenario.daemon.get("/readyz").unwrap(),
        );
        assert_eq!((live.status, ready.status), (503, 503), "{} {}", live.body, ready.body);
        let metrics = scenario.daemon.get("/metrics").unwrap().body;
        assert!(
            metrics
                .lines()
                .any(|line| line.contains(name) && line.contains("panicked")),
            "{metrics}"
        );
        assert_eq!(scenario.daemon.terminate().unwrap().code(), Some(1));
        ends_well(scenario, Snapshot::Whole).await;
    }
}

/// Each start dies after its first checkpoint within a transaction, which is larger than what one start carries.
#[tokio::test(flavor = "multi_thread")]
async fn fm_020_a_restart_loop_gets_on() {
    for lane in Lane::ALL {
        let scenario = in_the_log(Options::new(lane, seed())).await;
        scenario.workload.commit_rows(60_000).await.unwrap();
        let mut carried = 0;
        for _ in 0..4 {
            scenario.dies_at(crate::failpoints::PART_SAVED).await.unwrap();
            let (_, progress) = scenario.checkpoint().await.unwrap();
            let progress: Value = serde_json::from_str(&progress).unwrap();
            let now = progress["partial"]["changes"].as_u64().unwrap();
            assert!(now > carried, "{now} changes after {carried}: {progress}");
            carried = now;
        }
        ends_well(scenario, Snapshot::Whole).await;
    }
}
