//! Deaths and damage around the state: half-made, half-written, torn, refused, copied.

use std::fs::{self, OpenOptions};

use tailrace_tests::daemon::Daemon;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options};

use super::{ends_well, in_the_log, publications, unstarted};
use crate::crashes::seed;

/// A torn frame of the state's log is shorter than a whole one by so much.
const TORN_BYTES: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn fm_012_a_checkpoint_that_was_half_written_never_was() {
    for lane in Lane::ALL {
        let scenario = in_the_log(Options::new(lane, seed())).await;
        for failpoint in ["in_checkpoint_write", "in_checkpoint_write@3"] {
            let (before, _) = scenario.checkpoint().await.unwrap();
            scenario.dies_at(failpoint).await.unwrap();
            let (after, _) = scenario.checkpoint().await.unwrap();
            let saved = after - before;
            assert_eq!(saved, u64::from(failpoint.ends_with("@3")) * 2, "{failpoint}");
        }
        // As after a power cut: the last frame of the newest checkpoint is not all there, and the one before it counts.
        scenario.dies_at("after_checkpoint@3").await.unwrap();
        let (whole, _) = scenario.checkpoint().await.unwrap();
        let log = scenario.daemon.state_file().with_extension("db-wal");
        let file = OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(file.metadata().unwrap().len() - TORN_BYTES).unwrap();
        let (torn, _) = scenario.checkpoint().await.unwrap();
        assert_eq!(torn, whole - 1);
        ends_well(scenario, Snapshot::Whole).await;
    }
}

/// What would be written to a file that has lost its name would be lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn fm_283_a_state_that_vanishes_under_the_running_daemon_confirms_nothing_more() {
    for lane in Lane::ALL {
        let scenario = in_the_log(Options::new(lane, seed())).await;
        scenario.start().unwrap();
        let (state, aside) = (scenario.daemon.state_file(), scenario.daemon.path().join("aside"));
        fs::rename(state, &aside).unwrap();
        let end = scenario
            .database
            .query_value("select pg_current_wal_lsn()")
            .await
            .unwrap();
        scenario.commit(20).await.unwrap();
        scenario.wait_for("halted:state_missing").unwrap();
        let slot = scenario.database.slot();
        let query = format!(
            "select (confirmed_flush_lsn <= '{end}'::pg_lsn)::text from pg_replication_slots where slot_name = '{slot}'"
        );
        assert_eq!(scenario.database.query_value(&query).await.unwrap(), "true");
        scenario.daemon.kill9().unwrap();
        fs::rename(&aside, state).unwrap();
        ends_well(scenario, Snapshot::Whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_284_a_copy_of_the_state_is_refused() {
    let scenario = in_the_log(Options::new(Lane::Kafka, seed())).await;
    let clone = Daemon::new("streams: {}\nconnectors: {}").unwrap();
    let sections = fs::read_to_string(scenario.daemon.config_file()).unwrap();
    let (_, sections) = sections.split_once("streams:").unwrap();
    clone.configure(&format!("streams:{sections}")).unwrap();
    let folder = clone.state_file().parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    for file in fs::read_dir(scenario.daemon.state_file().parent().unwrap()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    scenario.start().unwrap();
    assert_eq!(clone.run_to_end(&[]).unwrap().code(), Some(1));
    assert!(clone.log().contains("state_cloned"), "{}", clone.log());
    scenario.daemon.kill9().unwrap();
    ends_well(scenario, Snapshot::Whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_285_a_state_that_was_half_made_is_made_again() {
    for lane in Lane::ALL {
        let scenario = unstarted(lane).await;
        scenario.dies_at("state_draft").await.unwrap();
        assert!(!scenario.daemon.state_file().exists());
        scenario.dies_at("state_draft").await.unwrap();
        assert_eq!(publications(&scenario).await, 0);
        ends_well(scenario, Snapshot::Whole).await;
    }
}
