//! Deaths within the writes of the embedded stream.

use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options};

use super::{dies_in_the_log, ends_well, in_the_log};
use crate::crashes::seed;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_done_by_half_is_cut_off() {
    let options = Options::new(Lane::File, seed());
    let failpoints = ["segment_write=torn", "segment_write=torn@4", "segment_write"];
    let scenario = in_the_log(options).await;
    for failpoint in failpoints {
        scenario.dies_at(failpoint).await.unwrap();
        scenario.commit(5).await.unwrap();
        scenario.start().unwrap();
        // The batch comes again, and with it the topic is opened.
        scenario.settle().await.unwrap();
        let cut_off = scenario.daemon.newest_log().contains("a torn tail is cut off");
        assert_eq!(cut_off, failpoint.contains("torn"), "{}", scenario.daemon.newest_log());
        scenario.daemon.kill9().unwrap();
    }
    ends_well(scenario, Snapshot::Whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_and_not_synced_was_not_promised() {
    let failpoints = ["before_fsync", "before_fsync@3"];
    dies_in_the_log(Options::new(Lane::File, seed()), &failpoints).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_without_a_header_is_made_again() {
    let failpoints = ["segment_roll", "segment_roll@3"];
    dies_in_the_log(Options::new(Lane::File, seed()), &failpoints).await;
}

/// The thread that writes is the only one: without it nothing may go on as if it were there.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_writing_thread_is_not_a_silent_death() {
    let scenario = in_the_log(Options::new(Lane::File, seed())).await;
    scenario.daemon.start_armed("segment_write=panic@2").unwrap();
    scenario.commit(20).await.unwrap();
    scenario.daemon.wait_for_answer().unwrap();
    scenario.wait_for("degraded").unwrap();
    assert_eq!(scenario.daemon.get("/readyz").unwrap().status, 503);
    let status = scenario.daemon.connector(scenario.database.name()).unwrap();
    assert!(
        status["reason"].as_str().unwrap().contains("restart Tailrace"),
        "{status:#}"
    );
    scenario.daemon.kill9().unwrap();
    ends_well(scenario, Snapshot::Whole).await;
}
