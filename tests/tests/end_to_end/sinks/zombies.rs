//! Two processes of one group write one target, and one of them stands still for so long that the other takes its partitions: whatever it was
//! about to write when it goes on, it writes nothing of them any more.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::{PostgresVersion, eventually, shared_kafka};

use super::{DEADLINE, connectors, ends_well, sink};
use crate::crashes::seed;
use crate::failpoints::ROWS_FIRST;

/// The sinks of one process. The groups are this test's own: all tests share one broker.
fn process(source: &Database, target: &Database) -> Daemon {
    let mut sinks = connectors(source, &sink(target, None));
    for connector in ["mirror", "history"] {
        let group = format!("{connector}: {{ group: {}-{connector}, ", source.name());
        sinks = sinks.replace(&format!("{connector}: {{ "), &group);
    }
    let bootstrap = shared_kafka().unwrap().bootstrap();
    let sinks: String = sinks.lines().map(|line| format!("  {line}\n")).collect();
    let sections =
        format!("streams: {{ events: {{ type: kafka, bootstrap_servers: [\"{bootstrap}\"] }} }}\nconnectors:\n{sinks}");
    let daemon = Daemon::new(&sections).unwrap();
    daemon.start().unwrap();
    daemon
}

/// How often partitions were taken: each time counts their epochs up.
async fn taken(target: &Database) -> i64 {
    let sum = "select coalesce(sum(epoch), 0) from tailrace_offsets";
    target.query_value(sum).await.map_or(0, |sum| sum.parse().unwrap())
}

async fn until_taken_again(target: &Database, before: i64, daemon: &Daemon) {
    let taken = eventually("partitions that were taken over", DEADLINE, || async {
        Ok((taken(target).await > before).then_some(()))
    });
    let taken = taken.await;
    assert!(taken.is_ok(), "{taken:?}\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_writes_nothing_of_what_the_other_took() {
    let options = Options {
        // What the other processes need no registry for.
        envelope: "debezium",
        codec: "json, inline_schema: true",
        partitions: 4,
        ..Options::new(Lane::Kafka, seed())
    };
    let source = Database::shared(options.version).await.unwrap();
    let target = Database::shared(PostgresVersion::V17).await.unwrap();
    let scenario = Scenario::on(source.clone(), options).await.unwrap();
    scenario.commit(ROWS_FIRST).await.unwrap();
    scenario.start().unwrap();
    let processes = [process(&source, &target), process(&source, &target)];
    for daemon in &processes {
        for connector in ["mirror", "history"] {
            daemon.wait_for_state(connector, "streaming").unwrap();
        }
    }
    until_taken_again(&target, 0, &processes[0]).await;
    for [sleeper, other] in [[0, 1], [1, 0]] {
        scenario.commit(10).await.unwrap();
        let before = taken(&target).await;
        processes[sleeper].pause().unwrap();
        until_taken_again(&target, before, &processes[other]).await;
        scenario.commit(10).await.unwrap();
        processes[sleeper].resume().unwrap();
    }
    let _source = ends_well(scenario, &target).await;
    for daemon in &processes {
        for connector in ["mirror", "history"] {
            daemon.wait_for_state(connector, "streaming").unwrap();
        }
    }
}
