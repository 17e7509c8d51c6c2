//! Another server takes over: a replica that has everything, one that has not, and one that is none.

use std::collections::BTreeSet;

use tailrace_tests::database::{Database, Server};
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlServer, MySqlVersion};

use super::files::records;
use super::options;
use crate::failpoints::PART_SAVED;

/// Those that can take over from each other.
const VERSIONS: [MySqlVersion; 2] = [MySqlVersion::MySql97, MySqlVersion::MariaDb1011];

/// More rows than one start carries, before it dies within them.
const MANY: u64 = 60_000;

/// A workload on a server that has a replica.
struct Pair {
    scenario: Scenario,
    replica: Server,
}

// === impl Pair ===

impl Pair {
    async fn start(version: MySqlVersion) -> Pair {
        Pair::start_with(version, |replica| replica).await
    }

    async fn start_with(version: MySqlVersion, change: impl FnOnce(MySqlOptions) -> MySqlOptions) -> Pair {
        let replica = Server::start(change(replica_of(version))).unwrap();
        let primary = Server::start(MySqlOptions::version(version)).unwrap();
        let (here, there) = (replica.mysql().unwrap(), primary.mysql().unwrap());
        here.replicate_from(there).await.unwrap();
        let database = Database::create(primary).await.unwrap();
        let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
        scenario.commit(40).await.unwrap();
        scenario.start().unwrap();
        scenario.commit(20).await.unwrap();
        scenario.settle().await.unwrap();
        Pair { scenario, replica }
    }

    fn primary(&self) -> &MySqlServer {
        self.scenario.database.mysql().unwrap()
    }

    fn replica(&self) -> &MySqlServer {
        self.replica.mysql().unwrap()
    }

    /// The primary dies, and the replica takes its place with everything.
    async fn fail_over(&mut self) {
        self.replica().catch_up_with(self.primary()).await.unwrap();
        self.fail_over_as_it_is().await;
    }

    /// … with what it has.
    async fn fail_over_as_it_is(&mut self) {
        self.primary().kill9().unwrap();
        self.replica().promote().await.unwrap();
        self.scenario.move_to(self.replica.clone()).unwrap();
    }

    /// What the connector says when it has given up.
    fn halted(&self) -> (String, String) {
        halted(&self.scenario)
    }
}

/// Where a replica does not say otherwise, its log has what it replicates.
fn replica_of(version: MySqlVersion) -> MySqlOptions {
    MySqlOptions::version(version)
        .setting("server_id=2")
        .setting("log_slave_updates=ON")
}

fn halted(scenario: &Scenario) -> (String, String) {
    let name = scenario.database.name();
    scenario.daemon.start().unwrap();
    let status = scenario
        .daemon
        .wait_for(name, "that it is halted", |status| status["state"] == "halted")
        .unwrap();
    (
        status["code"].as_str().unwrap().to_owned(),
        status["reason"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_has_everything_is_gone_on_with() {
    for version in VERSIONS {
        let mut pair = Pair::start(version).await;
        pair.scenario.daemon.terminate().unwrap();
        pair.scenario.commit(20).await.unwrap();
        pair.fail_over().await;
        pair.scenario.start().unwrap();
        pair.scenario.commit(20).await.unwrap();
        let findings = pair.scenario.finish(Snapshot::Whole).await.unwrap();
        assert_eq!(findings.duplicates, 0, "{version}: {findings:?}");
    }
}

/// Its files have lower numbers than those where progress is saved, and later the same.
#[tokio::test(flavor = "multi_thread")]
async fn starts_on_the_new_server_may_die_before_their_first_checkpoint() {
    for version in VERSIONS {
        let mut pair = Pair::start(version).await;
        for _ in 0..3 {
            pair.primary().execute("flush binary logs").await.unwrap();
        }
        pair.scenario.commit(5).await.unwrap();
        pair.scenario.settle().await.unwrap();
        pair.scenario.daemon.terminate().unwrap();
        pair.fail_over().await;
        pair.scenario.start().unwrap();
        pair.scenario.daemon.kill9().unwrap();
        pair.scenario.dies_at("before_checkpoint").await.unwrap();
        pair.scenario.dies_at("after_checkpoint").await.unwrap();
        pair.scenario.start().unwrap();
        pair.scenario.commit(20).await.unwrap();
        pair.scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_dies_under_the_running_daemon_is_followed() {
    for version in VERSIONS {
        let mut pair = Pair::start(version).await;
        pair.fail_over().await;
        pair.scenario.wait_for("degraded").unwrap();
        pair.scenario.daemon.terminate().unwrap();
        pair.scenario.start().unwrap();
        pair.scenario.commit(20).await.unwrap();
        pair.scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

/// Rows events in the newest file of a server's log.
async fn rows_events(server: &MySqlServer) -> usize {
    let (file, _) = server.log_end().await.unwrap();
    let events = server.query(&format!("show binlog events in '{file}'")).await.unwrap();
    let is_rows = |event: &Vec<Option<String>>| event[2].as_deref().is_some_and(|kind| kind.starts_with("Write_rows"));
    events.into_iter().filter(is_rows).count()
}

/// The replica cuts the rows of a transaction into larger events, so that what was counted on the primary means other rows there.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_carried_by_half_is_carried_whole_from_the_replica() {
    for version in VERSIONS {
        let mut pair = Pair::start_with(version, |replica| replica.setting("binlog_row_event_max_size=65536")).await;
        let database = pair.scenario.database.clone();
        database
            .execute("create table many (id int primary key, text varchar(100))")
            .await
            .unwrap();
        pair.scenario.settle().await.unwrap();
        pair.scenario.daemon.terminate().unwrap();
        let numbers = database.numbers(1..MANY + 1);
        let insert = format!("insert into many select n, repeat('x', 90) from ({numbers}) numbers");
        database.execute(&insert).await.unwrap();
        pair.scenario.dies_at(PART_SAVED).await.unwrap();
        let on_primary = rows_events(pair.primary()).await;
        pair.fail_over().await;
        let on_replica = rows_events(pair.replica()).await;
        assert!(
            on_replica < on_primary,
            "{version}: {on_replica} rows events, {on_primary} on the primary"
        );
        // Twice, so that a part that was saved on the new server is not mistaken for one either.
        pair.scenario.dies_at(PART_SAVED).await.unwrap();
        pair.scenario.start().unwrap();
        pair.scenario.settle().await.unwrap();
        let events = pair.scenario.events("many").await.unwrap();
        let ids = events.iter().map(|event| event.key_json()["id"].as_u64().unwrap());
        let ids: BTreeSet<u64> = ids.collect();
        let lost: Vec<u64> = (1..=MANY).filter(|id| !ids.contains(id)).take(5).collect();
        assert!(lost.is_empty(), "{version}: lost {lost:?} and more");
        pair.scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lacks_what_was_carried_is_refused_with_what_is_missing() {
    for version in VERSIONS {
        let mut pair = Pair::start(version).await;
        pair.replica().catch_up_with(pair.primary()).await.unwrap();
        pair.replica().promote().await.unwrap();
        pair.scenario.commit(5).await.unwrap();
        pair.scenario.settle().await.unwrap();
        pair.scenario.daemon.terminate().unwrap();
        let last = pair.primary().executed().await.unwrap();
        // Two histories from here on, and that of the replica is as long.
        let name = pair.scenario.database.name().to_owned();
        for number in 0..20 {
            let insert = format!("insert into ledger values (9, {number}, {number})");
            pair.replica().execute_in(&name, &insert).await.unwrap();
        }
        pair.fail_over_as_it_is().await;
        let (code, reason) = pair.halted();
        assert_eq!(code, "diverged", "{version}: {reason}");
        // The number of the last one: `…:1-77`, `0-1-77`.
        let number = last.rsplit(['-', ':']).next().unwrap().trim();
        assert!(
            reason.contains(number),
            "{version}: {number} of {last} is not in: {reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_transactions_of_its_own_is_gone_on_with() {
    for version in VERSIONS {
        // Only MySQL counts those of each server for itself; a strict MariaDB ends the replication, which the test before is about.
        if version == MySqlVersion::MariaDb1011 {
            continue;
        }
        let mut pair = Pair::start(version).await;
        let name = pair.scenario.database.name().to_owned();
        let own = "create table errant (id int primary key); insert into errant values (1)";
        pair.replica().catch_up_with(pair.primary()).await.unwrap();
        pair.replica().execute_in(&name, own).await.unwrap();
        pair.scenario.commit(5).await.unwrap();
        pair.scenario.daemon.terminate().unwrap();
        pair.fail_over().await;
        pair.scenario.start().unwrap();
        pair.scenario.settle().await.unwrap();
        // The table that only the replica has is read, like any other that was not there before.
        assert_eq!(pair.scenario.events("errant").await.unwrap().len(), 1);
        pair.scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

/// A server of its own, with the same database name, and with more transactions than the one that it is taken for.
async fn lookalike(scenario: &Scenario, options: MySqlOptions) -> Server {
    let server = Server::start(options).unwrap();
    let name = scenario.database.name();
    server.execute(&format!("create database {name}")).await.unwrap();
    let mysql = server.mysql().unwrap();
    let table = "create table accounts (id bigint primary key, version bigint not null, note text, payload mediumtext);
        create table bulk (writer int, number int, version bigint not null, text text, primary key (writer, number));
        create table order_lines (shop int, number int, version bigint not null, state text, primary key (shop, number));
        create table ledger (writer int, txn bigint, version bigint not null, primary key (writer, txn))";
    mysql.execute_in(name, table).await.unwrap();
    let rows: String = (0..400)
        .map(|number| format!("insert into accounts values ({number}, {number}, 'x', repeat('y', 20000));"))
        .collect();
    mysql.execute_in(name, &rows).await.unwrap();
    server
}

async fn taken_for_another(options_of: MySqlOptions) -> (String, String) {
    let version = options_of.version;
    let database = Database::own(options_of.clone()).await.unwrap();
    let mut scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
    scenario.commit(20).await.unwrap();
    scenario.start().unwrap();
    scenario.commit(10).await.unwrap();
    scenario.settle().await.unwrap();
    scenario.daemon.terminate().unwrap();
    let before: usize = records(&scenario).await;
    // Files of the same name are told apart by the second in which they begin.
    let now_s = scenario.database.query_value("select unix_timestamp()").await.unwrap();
    let later = format!("unix_timestamp() > {now_s}");
    scenario.database.wait_until(&later).await.unwrap();
    let other = lookalike(&scenario, options_of).await;
    scenario.move_to(other).unwrap();
    let told = halted(&scenario);
    assert_eq!(records(&scenario).await, before, "nothing may be carried");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_offsets_say_nothing_of_another_server() {
    for version in [MySqlVersion::MySql56, MySqlVersion::MySql97] {
        let (code, reason) = taken_for_another(MySqlOptions::version(version).without_gtids()).await;
        assert_eq!(code, "source_identity_changed", "{version}: {reason}");
        assert!(reason.contains("nothing proves"), "{version}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_history_is_refused() {
    let (code, reason) = taken_for_another(MySqlOptions::version(MySqlVersion::MySql97)).await;
    assert_eq!(code, "source_identity_changed", "{reason}");
}

/// It has the same `server_id`, which is all that MariaDB servers are told apart by, and identifiers with the same numbers.
#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_server_that_counts_like_the_other_is_told_by_its_files() {
    let (code, reason) = taken_for_another(MySqlOptions::version(MySqlVersion::MariaDb1011)).await;
    assert_eq!(code, "source_identity_changed", "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_does_not_log_what_it_replicates_is_refused() {
    for version in VERSIONS {
        let primary = Server::start(MySqlOptions::version(version)).unwrap();
        let silent = MySqlOptions::version(version)
            .setting("server_id=2")
            .setting("log_slave_updates=OFF");
        let replica = Server::start(silent).unwrap();
        let (here, there) = (replica.mysql().unwrap(), primary.mysql().unwrap());
        here.replicate_from(there).await.unwrap();
        let database = Database::create(primary.clone()).await.unwrap();
        database.execute("create table t (id int primary key)").await.unwrap();
        here.catch_up_with(there).await.unwrap();
        let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
        here.catch_up_with(there).await.unwrap();
        let mut scenario = scenario;
        scenario.move_to(replica.clone()).unwrap();
        let printed = scenario.daemon.command("check", &[]).unwrap();
        assert_eq!(printed.code, Some(3), "{version}: {}", printed.all());
        assert!(
            printed.stdout.contains("log_replica_updates"),
            "{version}: {}",
            printed.all()
        );
        let (code, reason) = halted(&scenario);
        assert_eq!(code, "log_replica_updates", "{version}: {reason}");
    }
}
