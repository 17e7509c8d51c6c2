//! The daemon dies at each transition of a sink, and the target has every row once all the same.

use tailrace_tests::database::Version;
use tailrace_tests::scenario::{Lane, Options};
use tailrace_tests::servers::PostgresVersion;

use super::Mirror;
use crate::crashes::seed;
use crate::failpoints::ROWS_FIRST;

/// FM-015, FM-016: within the target's transaction, before its commit, and behind it.
const DEATHS: [&str; 6] = [
    "in_sink_transaction@3",
    "before_sink_commit@5",
    "after_sink_commit@4",
    "before_sink_commit",
    "after_sink_commit",
    "in_sink_transaction",
];

pub(super) async fn dies_and_is_right(options: Options, target: impl Into<Version>) {
    let mirror = Mirror::new(options, target).await;
    mirror.scenario.commit(ROWS_FIRST).await.unwrap();
    mirror.scenario.start().unwrap();
    mirror.scenario.commit(10).await.unwrap();
    mirror.scenario.daemon.kill9().unwrap();
    for failpoint in DEATHS {
        mirror.scenario.dies_at(failpoint).await.unwrap();
        mirror.scenario.commit(5).await.unwrap();
    }
    mirror.scenario.start().unwrap();
    mirror.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes_postgres_from_kafka() {
    dies_and_is_right(Options::new(Lane::Kafka, seed()), PostgresVersion::V17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes_postgres_from_files() {
    let options = Options {
        envelope: "debezium",
        ..Options::new(Lane::File, seed())
    };
    dies_and_is_right(options, PostgresVersion::V13).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_at_each_transition_are_cured_in_place() {
    let mirror = Mirror::new(Options::new(Lane::File, seed()), PostgresVersion::V18).await;
    mirror.scenario.commit(ROWS_FIRST).await.unwrap();
    for failpoint in ["in_sink_transaction", "before_sink_commit", "after_sink_commit"] {
        let armed = format!("{failpoint}=error@2");
        mirror.scenario.daemon.start_armed(&armed).unwrap();
        mirror.scenario.daemon.wait_for_answer().unwrap();
        mirror.scenario.wait_for("streaming").unwrap();
        mirror.scenario.commit(5).await.unwrap();
        mirror
            .scenario
            .daemon
            .wait_for("mirror", "an error that was cured", |_| {
                mirror
                    .scenario
                    .daemon
                    .newest_log()
                    .contains(&format!("failpoint {failpoint}: reached"))
            })
            .unwrap();
        mirror.scenario.daemon.kill9().unwrap();
    }
    mirror.scenario.start().unwrap();
    mirror.ends_well().await;
}
