//! Rows that commit after others with higher ids: each of them must come, once, in the order of ids.

use std::time::Duration;

use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, eventually};
use tailrace_tests::workload::Dice;

use super::{DEADLINE, Polled, number, numbers, with_visible_writers};
use crate::crashes::seed;
use crate::polling::writers::{QUERY, die_again_and_again, write, wrong};

const TABLES: &str = "create table t (id bigint auto_increment primary key, writer bigint not null) engine = InnoDB;
    create table some (n int) engine = InnoDB; insert into some values (1), (2), (3), (4), (5);
    insert into t (writer) values (1), (2)";

/// How a transaction writes its rows.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    Savepoint,
    Select,
    Prepared,
}

/// One transaction: rows, a pause of up to 30 ms in which others overtake it, and in 15 of 100 cases nothing comes of it.
fn transaction(writer: u64, number: u64, dice: &mut Dice) -> Vec<String> {
    let values = vec![format!("({writer})"); usize::try_from(dice.below(3)).unwrap() + 1].join(", ");
    let insert = format!("insert into t (writer) values {values}");
    let pause = format!("do sleep(0.0{:02})", dice.below(30));
    let end = if dice.chance(15) { "rollback" } else { "commit" };
    let way = [Way::Plain, Way::Savepoint, Way::Select, Way::Prepared][usize::try_from(dice.below(4)).unwrap()];
    let statements = match way {
        Way::Plain => format!("begin; {insert}; {pause}; {end}"),
        Way::Savepoint => {
            let partly = if dice.chance(50) {
                "rollback to"
            } else {
                "release savepoint"
            };
            format!("begin; savepoint a; {insert}; {partly} a; {pause}; {insert}; {end}")
        }
        // Ids are set aside in blocks, because the server does not know how many there will be.
        Way::Select => format!("begin; insert into t (writer) select {writer} from some; {pause}; {insert}; {end}"),
        // Half of its time under one name and half under the other.
        Way::Prepared => {
            let name = format!("'{writer}', '{number}'");
            format!("xa start {name}; {insert}; {pause}; xa end {name}; xa prepare {name}; {pause}; xa {end} {name}")
        }
    };
    vec![statements]
}

async fn every_row_comes(version: MySqlVersion) {
    let seed = seed();
    let polled = Polled::start(with_visible_writers(version, TABLES).await, QUERY);
    let last = write(&polled.database, seed, transaction).await;
    polled.wait_for_id("t", last);
    assert_eq!(wrong(&polled).await, Ok(()), "{version}, seed {seed}");
    assert_eq!(polled.gap_safety("t").0, "proven", "{version}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_mysql_comes_once_and_in_order_however_late_it_commits() {
    every_row_comes(MySqlVersion::MySql97).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_mariadb_comes_once_and_in_order_however_late_it_commits() {
    every_row_comes(MySqlVersion::MariaDb1011).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_however_often_the_daemon_dies() {
    let polled = Polled::prepare(with_visible_writers(MySqlVersion::MySql97, TABLES).await, QUERY);
    die_again_and_again(&polled, seed(), transaction).await;
}

/// In the other ways of giving out ids: one statement after the other, and only known numbers at once.
#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_however_ids_are_given_out() {
    for mode in [0, 1] {
        let seed = seed();
        let options = MySqlOptions::version(MySqlVersion::MySql97).setting(&format!("innodb_autoinc_lock_mode={mode}"));
        let database = Database::own(options).await.unwrap();
        database.execute(TABLES).await.unwrap();
        let polled = Polled::start(database, QUERY);
        let last = write(&polled.database, seed, transaction).await;
        polled.wait_for_id("t", last);
        assert_eq!(wrong(&polled).await, Ok(()), "mode {mode}, seed {seed}");
    }
}

/// The same where nobody can see who writes: rows are lost, and the tests above would see it.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_ledger_rows_are_lost() {
    let seed = seed();
    let database = Database::own(MySqlOptions::version(MySqlVersion::MariaDb1011))
        .await
        .unwrap();
    database.execute(TABLES).await.unwrap();
    let polled = Polled::start(database, QUERY);
    assert!(
        polled
            .wait_for_notice("gap_safety")
            .contains("performance_schema is OFF")
    );
    let last = write(&polled.database, seed, transaction).await;
    polled.wait_for_id("t", last);
    let wrong = wrong(&polled).await;
    eprintln!("without the ledger: {wrong:?}, seed {seed}");
    assert!(wrong.is_err(), "nothing was lost, seed {seed}");
}

/// Locks that were taken before anybody looked are not shown, and their rows are waited for all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_older_than_the_instrument_is_waited_for() {
    let options = MySqlOptions::version(MySqlVersion::MariaDb1011).setting("performance_schema=ON");
    let database = Database::own(options).await.unwrap();
    database.execute(TABLES).await.unwrap();
    let mut elder = database.session().await.unwrap();
    elder.execute("begin; insert into t (writer) values (3)").await.unwrap();
    database.execute("insert into t (writer) values (4)").await.unwrap();
    let enable =
        "update performance_schema.setup_instruments set enabled = 'YES' where name = 'wait/lock/metadata/sql/mdl'";
    database.execute(enable).await.unwrap();
    let polled = Polled::prepare(database, QUERY);
    polled.daemon.start().unwrap();
    let waits = polled.wait_for_notice("waiting_for_writers");
    assert!(waits.contains("connection"), "{waits}");
    // Nothing behind the row that is not there yet.
    assert!(numbers(&polled.events("t").await, "id").iter().all(|id| *id < 3));
    elder.execute("commit").await.unwrap();
    assert_eq!(numbers(&polled.wait_for_events("t", 4).await, "id"), [1, 2, 3, 4]);
}

/// A transaction that was prepared, by a session that is gone, over a restart of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_waited_for_over_a_restart_of_the_server() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let polled = Polled::start(with_visible_writers(version, TABLES).await, QUERY);
        polled.wait_for_events("t", 2).await;
        let mut session = polled.database.session().await.unwrap();
        let prepare = "xa start 'orphan'; insert into t (writer) values (3); xa end 'orphan'; xa prepare 'orphan'";
        session.execute(prepare).await.unwrap();
        drop(session);
        polled
            .database
            .execute("insert into t (writer) values (4)")
            .await
            .unwrap();
        assert!(
            polled.wait_for_notice("waiting_for_writers").contains("orphan"),
            "{version}"
        );
        polled.database.server().restart().unwrap();
        polled
            .database
            .execute("insert into t (writer) values (5)")
            .await
            .unwrap();
        let waits = polled.wait_for_notice("waiting_for_writers");
        assert!(waits.contains("orphan"), "{version}: {waits}");
        assert_eq!(numbers(&polled.events("t").await, "writer"), [1, 2], "{version}");
        commit_prepared(&polled.database).await;
        let events = polled.wait_for_events("t", 5).await;
        assert_eq!(numbers(&events, "writer"), [1, 2, 3, 4, 5], "{version}");
    }
}

/// The session that prepared it may not be quite gone yet.
async fn commit_prepared(database: &Database) {
    let committed = eventually("the commit of a prepared transaction", DEADLINE, || async {
        Ok(database.execute("xa commit 'orphan'").await.ok())
    });
    committed.await.unwrap();
}

/// Where ids of the same table come from elsewhere too, nothing is begun; and where that is accepted, it is said all the time.
#[tokio::test(flavor = "multi_thread")]
async fn ids_that_others_give_out_too_are_refused_unless_gaps_are_accepted() {
    let database = with_visible_writers(MySqlVersion::MySql97, TABLES).await;
    database
        .execute("set global auto_increment_increment = 2")
        .await
        .unwrap();
    let polled = Polled::prepare(database, QUERY);
    polled.daemon.start().unwrap();
    polled.wait_for("halted:gaps_certain");
    let status = polled.daemon.connector(polled.database.name()).unwrap();
    let reason = status["reason"].as_str().unwrap().to_owned();
    for word in ["auto_increment_increment is 2", "mode: queue", "accept_gaps: true"] {
        assert!(reason.contains(word), "{reason}");
    }
    polled.daemon.kill9().unwrap();
    polled.configure(&QUERY.replace("mode:", "accept_gaps: true, mode:"));
    polled.start_again();
    assert!(
        polled
            .wait_for_notice("gap_safety")
            .contains("auto_increment_increment is 2")
    );
    polled.wait_for_events("t", 2).await;
}

/// The server that it is replicated from has numbered the rows, and a replica cannot know who writes there.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_refused() {
    let source = with_visible_writers(MySqlVersion::MySql97, TABLES).await;
    let options = MySqlOptions::version(MySqlVersion::MySql97).setting("server_id=2");
    let replica = tailrace_tests::database::Server::start(options).unwrap();
    let (from, to) = (source.mysql().unwrap(), replica.mysql().unwrap());
    to.replicate_from(from).await.unwrap();
    to.catch_up_with(from).await.unwrap();
    let polled = Polled::prepare(source.on_replica(replica), QUERY);
    polled.daemon.start().unwrap();
    polled.wait_for("halted:gaps_certain");
    let status = polled.daemon.connector(polled.database.name()).unwrap();
    assert!(status["reason"].as_str().unwrap().contains("is a replica"), "{status}");
}

/// MySQL of 2015 shows no locks; what it can do is said, and what is there is carried.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_mysql_says_that_it_proves_nothing() {
    let database = Database::shared(MySqlVersion::MySql56).await.unwrap();
    database.execute(TABLES).await.unwrap();
    let polled = Polled::start(database, QUERY);
    polled
        .database
        .execute("insert into t (writer) values (3)")
        .await
        .unwrap();
    assert_eq!(numbers(&polled.wait_for_events("t", 3).await, "writer"), [1, 2, 3]);
    let (safety, reason) = polled.gap_safety("t");
    assert!(
        safety == "none" && reason.contains("does not show who writes"),
        "{safety}: {reason}"
    );
}

/// The highest id outlives its row and the server: nothing is taken for a table that went back in time.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_deleted_at_the_end_are_no_alarm() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let polled = Polled::start(with_visible_writers(version, TABLES).await, QUERY);
        polled.wait_for_events("t", 2).await;
        polled.database.execute("delete from t").await.unwrap();
        polled.database.server().restart().unwrap();
        polled
            .database
            .execute("insert into t (writer) values (3)")
            .await
            .unwrap();
        let events = polled.wait_for_events("t", 3).await;
        assert_eq!(
            (number(&events[2], "id"), number(&events[2], "writer")),
            (3, 3),
            "{version}"
        );
        // TRUNCATE begins anew, and new rows would come below the cursor.
        polled.database.execute("truncate t").await.unwrap();
        polled.wait_for("halted:source_went_back");
    }
}

/// Progress on one server means nothing on another.
#[tokio::test(flavor = "multi_thread")]
async fn another_server_is_refused() {
    let polled = Polled::start(with_visible_writers(MySqlVersion::MySql97, TABLES).await, QUERY);
    polled.wait_for_events("t", 2).await;
    polled.daemon.kill9().unwrap();
    let other = Database::shared(MySqlVersion::MySql97).await.unwrap();
    polled.configure_at(&other.url(), QUERY);
    polled.daemon.start().unwrap();
    polled.wait_for("halted:source_identity_changed");
    polled.daemon.kill9().unwrap();
    polled.configure("tables: [public.t]");
    polled.daemon.start().unwrap();
    polled.wait_for("halted");
}

/// A server that is asked in vain is asked again, and not given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_takes_too_long_is_given_up_and_tried_again() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let database = Database::shared(version).await.unwrap();
        database.execute(TABLES).await.unwrap();
        let query = "query: { mode: bulk, statement_timeout_ms: 300, queries: { slow: { sql: \"select id, sleep(1) as s from public.t\" } } }";
        let polled = Polled::prepare(database, query);
        polled.daemon.start().unwrap();
        polled.wait_for("degraded:query_cancelled");
        let status = polled
            .daemon
            .wait_for(polled.database.name(), "another attempt", |status| {
                status["retries"].as_u64() >= Some(2)
            });
        status.unwrap();
        tokio::time::timeout(Duration::from_secs(60), async { polled.daemon.terminate() })
            .await
            .unwrap()
            .unwrap();
    }
}
