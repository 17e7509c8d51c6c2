//! Rows that commit after others with higher ids: each of them must come, once, in the order of ids.

use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::servers::{PostgresOptions, PostgresVersion, ServerError, poll_until};
use tailrace_tests::workload::Dice;

use super::{DEADLINE, Polled, count, database_with, number};
use crate::crashes::seed;
use crate::polling::writers::{QUERY, die_again_and_again, write, wrong};

/// Rows that commit after a row with a higher id: without them the test says nothing.
const LATE_ROWS: u64 = 500;

/// Two rows to copy, in the server's data folder.
const ROWS_FILE: &str = "rows_to_copy";

/// How a transaction writes its rows.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    Savepoint,
    Copy,
    Prepared,
}

/// One transaction: rows, a pause of up to 30 ms in which others overtake it, and in 15 of 100 cases nothing comes of it.
fn transaction(writer: u64, _number: u64, dice: &mut Dice) -> Vec<String> {
    let insert = format!(
        "insert into t (writer) select {writer} from generate_series(1, {})",
        dice.below(3) + 1
    );
    let pause = format!("select pg_sleep(0.0{:02})", dice.below(30));
    let end = if dice.chance(15) { "rollback" } else { "commit" };
    match [Way::Plain, Way::Savepoint, Way::Copy, Way::Prepared][usize::try_from(dice.below(4)).unwrap()] {
        Way::Plain => vec![format!("begin; {insert}; {pause}; {end}")],
        Way::Savepoint => {
            let partly = if dice.chance(50) { "rollback to a" } else { "release a" };
            vec![format!(
                "begin; {insert}; savepoint a; {insert}; {partly}; {pause}; {insert}; {end}"
            )]
        }
        Way::Copy => vec![format!("begin; copy t (writer) from '{ROWS_FILE}'; {pause}; {end}")],
        Way::Prepared => {
            // Half of its time under one name and half under the other.
            let name = format!("writer {writer}");
            vec![
                format!("begin; {insert}; {pause}; prepare transaction '{name}'"),
                pause,
                format!("{end} prepared '{name}'"),
            ]
        }
    }
}

/// A server that knows when each row was committed.
async fn database(version: PostgresVersion) -> Database {
    let options = PostgresOptions::version(version).setting("track_commit_timestamp = on");
    let database = Database::own(options).await.unwrap();
    let table =
        "create table t (id bigserial primary key, writer bigint not null); insert into t (writer) values (1), (2)";
    database.execute(table).await.unwrap();
    let file = database.postgres().unwrap().data_dir().join(ROWS_FILE);
    std::fs::write(file, "7\n7\n").unwrap();
    database
}

/// Rows that were committed after a row with a higher id.
async fn late_rows(database: &Database) -> u64 {
    let late = "select count(*) from (select pg_xact_commit_timestamp(xmin) as at, \
        min(pg_xact_commit_timestamp(xmin)) over (order by id rows between 1 following and unbounded following) as later from t) r \
        where at > later";
    count(database, late).await
}

async fn every_row_comes(version: PostgresVersion) {
    let seed = seed();
    let polled = Polled::start(database(version).await, QUERY);
    let last = write(&polled.database, seed, transaction).await;
    polled.wait_for_id("t", last);
    let late = late_rows(&polled.database).await;
    eprintln!("{version}: {late} rows came late, seed {seed}");
    assert!(late >= LATE_ROWS, "only {late} rows came late, seed {seed}");
    assert_eq!(wrong(&polled).await, Ok(()), "seed {seed}");
    let status = polled.daemon.connector(polled.database.name()).unwrap();
    assert_eq!(status["gap_safety"]["public.t"]["gap_safety"], "proven", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_once_and_in_order_however_late_it_commits() {
    every_row_comes(PostgresVersion::V17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_on_the_oldest_and_the_newest_version() {
    every_row_comes(PostgresVersion::V13).await;
    every_row_comes(PostgresVersion::V18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_comes_however_often_the_daemon_dies() {
    let polled = Polled::prepare(database(PostgresVersion::V17).await, QUERY);
    die_again_and_again(&polled, seed(), transaction).await;
}

/// The same without the ledger, which a sequence that is not the column's own gives up: rows are lost, and the test above sees it.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_ledger_rows_are_lost() {
    let seed = seed();
    let database = database(PostgresVersion::V17).await;
    database.execute("alter sequence t_id_seq owned by none").await.unwrap();
    let polled = Polled::start(database, QUERY);
    assert!(polled.wait_for_notice("gap_safety").contains("not this column's alone"));
    let last = write(&polled.database, seed, transaction).await;
    polled.wait_for_id("t", last);
    let wrong = wrong(&polled).await;
    eprintln!("without the ledger: {wrong:?}, seed {seed}");
    assert!(wrong.is_err(), "nothing was lost, seed {seed}");
}

/// A transaction that was prepared before the server went down has another name afterwards, and is waited for all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_waited_for_over_a_restart_of_the_server() {
    let polled = Polled::start(database(PostgresVersion::V17).await, QUERY);
    let prepare = "begin; insert into t (writer) values (3); prepare transaction 'orphan'";
    polled.database.execute(prepare).await.unwrap();
    polled
        .database
        .execute("insert into t (writer) values (4)")
        .await
        .unwrap();
    assert!(polled.wait_for_notice("waiting_for_writers").contains("public.t"));
    assert_eq!(polled.events("t").await.len(), 2);
    polled.database.postgres().unwrap().restart().unwrap();
    let notice = poll_until("the new name of the prepared transaction", DEADLINE, || {
        let status = polled.daemon.connector(polled.database.name())?;
        let notice = status["notices"]["waiting_for_writers"].to_string();
        Ok(notice.contains(" -1/").then_some(notice))
    });
    notice
        .map_err(|error: ServerError| polled.daemon.with_status(polled.database.name(), &error))
        .unwrap();
    assert_eq!(polled.events("t").await.len(), 2);
    polled.database.execute("commit prepared 'orphan'").await.unwrap();
    let events = polled.wait_for_events("t", 4).await;
    let writers: Vec<i64> = events.iter().map(|event| number(event, "writer")).collect();
    assert_eq!(writers, [1, 2, 3, 4]);
}

/// A table that is not written to is not held up by a writer elsewhere, nor by one who only reads it.
#[tokio::test(flavor = "multi_thread")]
async fn only_who_writes_to_the_table_is_waited_for() {
    let database = database_with(
        "create table t (id bigint generated always as identity primary key, note text); create table other (id int);
         insert into t (note) values ('a')",
    )
    .await;
    let polled = Polled::start(database, QUERY);
    let reader = polled.database.connect().await.unwrap();
    reader
        .batch_execute("begin; insert into other values (1); select * from t")
        .await
        .unwrap();
    let statements = "begin; insert into t (note) values ('rolled back'); rollback; insert into t (note) values ('b')";
    polled
        .database
        .connect()
        .await
        .unwrap()
        .batch_execute(statements)
        .await
        .unwrap();
    let events = polled.wait_for_events("t", 2).await;
    assert_eq!(events.iter().map(Event::operation).collect::<Vec<_>>(), ["r", "c"]);
    assert_eq!(number(&events[1], "id"), 3);
    reader.batch_execute("rollback").await.unwrap();
}

/// An insert through the partitioned table takes its number before it locks the partition.
#[tokio::test(flavor = "multi_thread")]
async fn writers_to_partitions_are_waited_for() {
    let table = "create table t (id bigserial, at date not null default '2026-01-01', note text, primary key (id, at)) partition by range (at);
        create table t_1 partition of t for values from ('2026-01-01') to ('2026-02-01');
        create table t_2 partition of t for values from ('2026-02-01') to ('2026-03-01')";
    let polled = Polled::start(
        database_with(table).await,
        "tables: [public.*]\nquery: { mode: incrementing, id_column: id, poll_interval_ms: 10 }",
    );
    let late = polled.database.connect().await.unwrap();
    late.batch_execute("begin; insert into t_2 (at, note) values ('2026-02-01', 'late')")
        .await
        .unwrap();
    polled
        .database
        .execute("insert into t (note) values ('early')")
        .await
        .unwrap();
    assert!(polled.wait_for_notice("waiting_for_writers").contains("public.t"));
    assert_eq!(polled.events("t").await.len(), 0);
    late.batch_execute("commit").await.unwrap();
    let events = polled.wait_for_events("t", 2).await;
    let notes: Vec<String> = events.iter().map(|event| event.after()["note"].to_string()).collect();
    assert_eq!(notes, [r#""late""#, r#""early""#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_in_blocks_are_refused_until_somebody_accepts_the_gaps() {
    let pooled = "create sequence t_seq increment by 50; create table t (id bigint primary key, note text)";
    let cached = "create table t (id bigint generated by default as identity (cache 20) primary key, note text)";
    for (statements, why) in [
        (pooled, "whose increment is 50"),
        (cached, "takes 20 numbers at a time"),
    ] {
        let database = database_with(&format!("{statements}; insert into t values (1, 'a')")).await;
        let polled = Polled::prepare(database, QUERY);
        polled.daemon.start().unwrap();
        polled.wait_for("halted:gaps_certain");
        let status = polled.daemon.connector(polled.database.name()).unwrap().to_string();
        assert!(status.contains(why) && status.contains("mode queue"), "{status}");
        assert_eq!(polled.events("t").await.len(), 0);
        polled.daemon.terminate().unwrap();
        let accepted = QUERY.replace("mode: incrementing", "mode: incrementing, accept_gaps: true");
        polled.configure(&accepted);
        polled.start_again();
        assert!(polled.wait_for_notice("gap_safety").contains(why));
        polled
            .database
            .execute("insert into t values (100, 'b')")
            .await
            .unwrap();
        polled.wait_for_events("t", 2).await;
    }
}

/// Ids that began again below the cursor: somebody restored the table or set the sequence back.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_went_back_is_not_read_on() {
    let table = "create table t (id bigserial primary key, note text); insert into t (note) values ('a'), ('b'), ('c')";
    let polled = Polled::start(database_with(table).await, QUERY);
    polled.wait_for_events("t", 3).await;
    // Deleted rows alone are nothing.
    polled.database.execute("delete from t").await.unwrap();
    polled
        .database
        .execute("insert into t (note) values ('d')")
        .await
        .unwrap();
    polled.wait_for_events("t", 4).await;
    polled.database.execute("truncate t restart identity").await.unwrap();
    polled.wait_for("halted:source_went_back");
}
