//! Somebody dies while a workload runs. Afterwards the oracle compares every topic with the truth.

use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use super::options;
use crate::crashes::{killed_in_the_snapshot, killed_in_the_stream, server_restarted_and_killed, stopped_and_started};
use crate::failpoints::{PART_SAVED, ROWS_FIRST, dies_in_the_log, ends_well};

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_the_stream_of_mariadb() {
    killed_in_the_stream(MySqlVersion::MariaDb1011).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_the_stream_of_mysql() {
    killed_in_the_stream(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_the_stream_of_the_oldest_mysql() {
    killed_in_the_stream(MySqlVersion::MySql56).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_the_snapshot_of_mariadb() {
    killed_in_the_snapshot(MySqlVersion::MariaDb1011).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_in_the_snapshot_of_mysql() {
    killed_in_the_snapshot(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_started_nothing_comes_twice() {
    for version in MySqlVersion::ALL {
        stopped_and_started(version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_restarted_and_killed() {
    server_restarted_and_killed(MySqlOptions::version(MySqlVersion::MariaDb1011)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_restarted_and_killed() {
    server_restarted_and_killed(MySqlOptions::version(MySqlVersion::MySql97)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_without_global_transaction_identifiers_is_restarted_and_killed() {
    let options = MySqlOptions::version(MySqlVersion::MySql56).without_gtids();
    server_restarted_and_killed(options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_each_transition_of_the_log() {
    for version in MySqlVersion::ALL {
        let failpoints = [
            "in_transaction",
            "in_transaction@150",
            "after_enqueue@4",
            "after_durable@3",
            "before_checkpoint@2",
            "in_checkpoint_write@2",
            "after_checkpoint@2",
            "after_confirm@2",
        ];
        let findings = dies_in_the_log(options(version, Lane::File), &failpoints).await;
        assert!(findings.duplicates >= 2, "{version}: {findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_each_transition_of_the_snapshot() {
    for version in MySqlVersion::ALL {
        let scenario = Scenario::new(options(version, Lane::File)).await.unwrap();
        scenario.commit(ROWS_FIRST).await.unwrap();
        scenario.workload.commit_rows(10_000).await.unwrap();
        for failpoint in [
            "before_source",
            "snapshot_rows",
            "snapshot_rows@3",
            "snapshot_table_finished",
            "snapshot_complete",
            "after_durable",
            "before_checkpoint",
        ] {
            scenario.dies_at(failpoint).await.unwrap();
            scenario.commit(5).await.unwrap();
        }
        ends_well(scenario, Snapshot::Interrupted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn between_the_snapshot_and_the_log() {
    for failpoint in ["between_marker_and_promote", "after_promote"] {
        let scenario = Scenario::new(options(MySqlVersion::MariaDb1011, Lane::File))
            .await
            .unwrap();
        scenario.commit(ROWS_FIRST).await.unwrap();
        scenario.dies_at(failpoint).await.unwrap();
        let findings = ends_well(scenario, Snapshot::Whole).await;
        assert_eq!(findings.duplicates, 0, "{failpoint}: {findings:?}");
    }
}

/// Each start dies after its first checkpoint within a transaction, which is larger than what one start carries.
#[tokio::test(flavor = "multi_thread")]
async fn within_a_transaction_that_is_larger_than_what_one_start_carries() {
    for version in [MySqlVersion::MariaDb1011, MySqlVersion::MySql97] {
        let scenario = crate::failpoints::in_the_log(options(version, Lane::File)).await;
        scenario.workload.commit_rows(60_000).await.unwrap();
        for _ in 0..3 {
            scenario.dies_at(PART_SAVED).await.unwrap();
        }
        ends_well(scenario, Snapshot::Whole).await;
    }
}
