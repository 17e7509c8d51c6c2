//! The log is a row of files: it goes over into the next one, old ones are purged, and it can be begun anew.

use std::time::Duration;

use tailrace_tests::database::Database;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlServer, MySqlVersion, eventually};
use tailrace_tests::workload::TABLES;

use super::options;

/// Nothing here takes long.
const DEADLINE: Duration = Duration::from_secs(60);

async fn on_a_server_of_its_own(server: MySqlOptions) -> Scenario {
    let version = server.version;
    let database = Database::own(server).await.unwrap();
    let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
    scenario.commit(30).await.unwrap();
    scenario
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_are_one_log() {
    for version in MySqlVersion::ALL {
        let server = MySqlOptions::version(version).setting("max_binlog_size=16384");
        let scenario = on_a_server_of_its_own(server).await;
        scenario.start().unwrap();
        for _ in 0..5 {
            scenario.commit(20).await.unwrap();
            scenario.database.execute("flush binary logs").await.unwrap();
        }
        scenario.daemon.kill9().unwrap();
        scenario.commit(20).await.unwrap();
        scenario.database.execute("flush binary logs").await.unwrap();
        scenario.start().unwrap();
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_carried_may_go() {
    for version in MySqlVersion::ALL {
        let scenario = on_a_server_of_its_own(MySqlOptions::version(version)).await;
        scenario.start().unwrap();
        scenario.commit(20).await.unwrap();
        scenario.settle().await.unwrap();
        scenario.daemon.terminate().unwrap();
        scenario.database.execute("flush binary logs").await.unwrap();
        // The position is at the end of the file before, which holds nothing that is still wanted.
        let server = scenario.database.mysql().unwrap();
        let (newest, _) = server.log_end().await.unwrap();
        let file_before = server.log_files().await.unwrap().into_iter().rev().nth(1).unwrap();
        assert_ne!(file_before, newest);
        server
            .execute(&format!("purge binary logs to '{file_before}'"))
            .await
            .unwrap();
        scenario.commit(20).await.unwrap();
        let checked = scenario.daemon.command("check", &[]).unwrap();
        assert_eq!(checked.code, Some(0), "{version}: {}", checked.all());
        scenario.start().unwrap();
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

/// The statement after which the log begins anew.
fn reset(version: MySqlVersion) -> &'static str {
    match version {
        MySqlVersion::MySql97 => "reset binary logs and gtids",
        MySqlVersion::MySql56 | MySqlVersion::MariaDb1011 => "reset master",
    }
}

/// A file is told from another of its name by the second in which it was begun.
async fn in_another_second(server: &MySqlServer) {
    let second = server.query_value("select unix_timestamp()").await.unwrap();
    eventually("another second", DEADLINE, || async {
        let now = server.query_value("select unix_timestamp()").await?;
        Ok((now != second).then_some(()))
    })
    .await
    .unwrap();
}

/// The state that a connector is in for good after this became of the log while it was down.
async fn state_after(version: MySqlVersion, statements: &[&str]) -> String {
    let scenario = on_a_server_of_its_own(MySqlOptions::version(version)).await;
    scenario.start().unwrap();
    scenario.commit(10).await.unwrap();
    scenario.settle().await.unwrap();
    scenario.daemon.kill9().unwrap();
    scenario.commit(10).await.unwrap();
    for statement in statements {
        scenario.database.execute(statement).await.unwrap();
    }
    let server = scenario.database.mysql().unwrap();
    let (newest, _) = server.log_end().await.unwrap();
    eventually("that the newest file is the only one", DEADLINE, || async {
        // A file stays as long as the server has not noticed that its reader was killed.
        server.execute(&format!("purge binary logs to '{newest}'")).await?;
        Ok((server.log_files().await? == [newest.clone()]).then_some(()))
    })
    .await
    .unwrap();
    scenario.commit(10).await.unwrap();
    let checked = scenario.daemon.command("check", &[]).unwrap();
    let state = halted(&scenario);
    let code = state.strip_prefix("halted:").unwrap();
    assert_eq!(checked.code, Some(3), "{version}: {}", checked.all());
    assert!(
        checked.all().contains(&format!("[{code}]")),
        "{version}: {}",
        checked.all()
    );
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_purged_too_far_is_not_gone_on_from() {
    for version in MySqlVersion::ALL {
        let state = state_after(version, &["flush binary logs"]).await;
        assert_eq!(state, "halted:position_purged", "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_begun_anew_is_not_gone_on_from() {
    for version in MySqlVersion::ALL {
        let state = state_after(version, &[reset(version)]).await;
        assert_eq!(state, "halted:source_rewound", "{version}");
    }
}

/// Files of the same names that are longer than before, and identifiers that count from one again: nothing but the second in which the server
/// began the file tells them apart.
async fn refilled(server: MySqlOptions) {
    let version = server.version;
    let shown = format!("{version} {:?}", server.settings);
    let scenario = on_a_server_of_its_own(server).await;
    scenario.start().unwrap();
    scenario.commit(5).await.unwrap();
    scenario.settle().await.unwrap();
    scenario.daemon.terminate().unwrap();
    let before = records(&scenario).await;
    let server = scenario.database.mysql().unwrap();
    let end = server.log_end().await.unwrap();
    in_another_second(server).await;
    scenario.database.execute(reset(version)).await.unwrap();
    scenario.commit(60).await.unwrap();
    while server.log_end().await.unwrap() <= end {
        scenario.commit(10).await.unwrap();
    }
    scenario.daemon.start().unwrap();
    let name = scenario.database.name();
    let halted = scenario
        .daemon
        .wait_for(name, "that it is halted", |status| status["state"] == "halted");
    halted.unwrap();
    assert_eq!(
        scenario.daemon.state(name).unwrap(),
        "halted:source_identity_changed",
        "{shown}"
    );
    assert_eq!(records(&scenario).await, before, "{shown}: nothing may be carried");
}

/// How many records the scenario's topics hold.
pub(super) async fn records(scenario: &Scenario) -> usize {
    let mut records = 0;
    for (table, _) in TABLES {
        records += scenario.events(table).await.unwrap().len();
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_begun_anew_and_refilled_is_told_from_the_old_one() {
    for version in MySqlVersion::ALL {
        refilled(MySqlOptions::version(version)).await;
    }
    for version in [MySqlVersion::MySql56, MySqlVersion::MySql97] {
        refilled(MySqlOptions::version(version).without_gtids()).await;
    }
}

/// The new log has the old one's names, numbers and offsets, and not one event of it was seen yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_begun_anew_before_its_first_event_is_not_gone_on_from() {
    let server = MySqlOptions::version(MySqlVersion::MySql56).without_gtids();
    let scenario = on_a_server_of_its_own(server).await;
    let server = scenario.database.mysql().unwrap();
    scenario.dies_at("snapshot_complete").await.unwrap();
    let (file, offset) = server.log_end().await.unwrap();
    in_another_second(server).await;
    server.execute("reset master").await.unwrap();
    eventually("that the new log is as long as the old one", DEADLINE, || async {
        scenario.commit(20).await?;
        let end = server.log_end().await?;
        Ok((end >= (file.clone(), offset)).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(server.log_end().await.unwrap().0, file);
    assert_eq!(halted(&scenario), "halted:source_identity_changed");
}

/// What a crash of the machine does where commits are not written to the disk (`sync_binlog = 0`).
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_end_is_not_gone_on_from() {
    let all = MySqlVersion::ALL.map(MySqlOptions::version);
    let old = MySqlOptions::version(MySqlVersion::MySql56).without_gtids();
    for options in all.into_iter().chain([old]) {
        let shown = format!("{} {:?}", options.version, options.settings);
        let scenario = on_a_server_of_its_own(options).await;
        scenario.start().unwrap();
        scenario.commit(10).await.unwrap();
        let server = scenario.database.mysql().unwrap();
        let (file, offset) = server.log_end().await.unwrap();
        scenario.commit(10).await.unwrap();
        scenario.settle().await.unwrap();
        scenario.daemon.kill9().unwrap();
        server.kill9().unwrap();
        let log = std::fs::OpenOptions::new()
            .write(true)
            .open(server.data_dir().join(&file))
            .unwrap();
        log.set_len(offset).unwrap();
        server.restart().unwrap();
        assert_eq!(halted(&scenario), "halted:source_rewound", "{shown}");
    }
}

/// Starts the daemon; the state that the connector is in for good.
fn halted(scenario: &Scenario) -> String {
    scenario.daemon.start().unwrap();
    let name = scenario.database.name();
    let status = scenario
        .daemon
        .wait_for(name, "that it is halted", |status| status["state"] == "halted");
    status.unwrap();
    scenario.daemon.state(name).unwrap()
}
