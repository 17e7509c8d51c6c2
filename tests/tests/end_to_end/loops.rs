//! What a sink of ours wrote is left out where it is wanted, whatever else happens around it. The transactions are written by
//! hand, as sinks write them.

use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, PostgresOptions, PostgresVersion};

use crate::capture::{Capture, Wanted};

const TABLES: &str = "create table t (id int primary key); create table u (id int primary key)";
/// The statement that a MySQL sink makes its table with.
const OFFSETS: &str = include_str!("../../../migrations/sink/mysql/0001_offsets.sql");

fn capture(database: Database, sink: &str) -> Capture {
    Capture::start(
        database,
        &Wanted {
            tables: "[public.t, public.u]",
            format: "envelope: entity",
            source: &format!("skip_written_by: [{sink}]"),
            ..Wanted::default()
        },
    )
}

fn keys(capture: &Capture, table: &str) -> Vec<String> {
    capture
        .events(table)
        .iter()
        .map(|event| event.key_json()["id"].to_string())
        .collect()
}

// --- PostgreSQL: by origin

/// As a sink opens its session: an origin that is new is made in the transaction that first has it. Origins are the whole
/// server's, so that each test has its own.
async fn as_sink(capture: &Capture, sink: &str, statements: &str) {
    let client = capture.database.connect().await.unwrap();
    let origin = format!("'tailrace_{sink}_0'");
    let setup = format!(
        "select pg_replication_origin_create({origin}) where pg_replication_origin_oid({origin}) is null;
         select pg_replication_origin_session_setup({origin})"
    );
    client.batch_execute(&setup).await.unwrap();
    client.batch_execute(statements).await.unwrap();
    client
        .batch_execute("select pg_replication_origin_session_reset()")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_an_origin_are_left_out_and_others_carried() {
    for version in [PostgresVersion::V13, PostgresVersion::V14, PostgresVersion::V18] {
        let database = Database::shared(version).await.unwrap();
        database.execute(TABLES).await.unwrap();
        let mirror = format!("{}_mirror", database.name());
        let capture = capture(database, &format!("{mirror}*"));
        // The log defines a table only once for a connection: here, in a transaction that is left out.
        as_sink(
            &capture,
            &mirror,
            "begin; insert into t values (1), (2); insert into u values (1); commit",
        )
        .await;
        capture.database.execute("insert into t values (3)").await.unwrap();
        let other = format!("{}_other", capture.database.name());
        as_sink(
            &capture,
            &other,
            "insert into t values (4); update t set id = 5 where id = 4",
        )
        .await;
        as_sink(&capture, &mirror, "delete from t where id = 1; truncate u").await;
        // Progress goes on behind what was left out.
        capture.settle().await;
        assert_eq!(keys(&capture, "t"), ["3", "4", "4", "5"], "{version}");
        assert_eq!(keys(&capture, "u"), [""; 0], "{version}");
        capture.daemon.kill9().unwrap();
        as_sink(&capture, &mirror, "insert into u values (2)").await;
        // An origin that was dropped since has its name where the log is read.
        let gone = format!("{mirror}_gone");
        as_sink(&capture, &gone, "insert into u values (4)").await;
        let drop_origin = format!("select pg_replication_origin_drop('tailrace_{gone}_0')");
        capture.database.query(&drop_origin).await.unwrap();
        capture.start_again();
        capture.database.execute("insert into u values (3)").await.unwrap();
        capture.settle().await;
        assert_eq!(keys(&capture, "t"), ["3", "4", "4", "5"], "{version}: nothing twice");
        assert_eq!(keys(&capture, "u"), ["3"], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_transactions_of_an_origin_are_left_out_from_their_first_chunk() {
    for version in [PostgresVersion::V14, PostgresVersion::V17] {
        // The server streams from the first kilobytes on.
        let options = PostgresOptions::version(version).setting("logical_decoding_work_mem = 64kB");
        let database = Database::own(options).await.unwrap();
        database.execute(TABLES).await.unwrap();
        let capture = capture(database, "mirror");
        let rows =
            |table: &str, from: u32| format!("insert into {table} select generate_series({from}, {from} + 9999);");
        let large = format!(
            "begin; {} savepoint regret; {} rollback to regret; {} {} commit",
            rows("t", 1),
            rows("t", 20_001),
            rows("t", 40_001),
            rows("u", 1)
        );
        as_sink(&capture, "mirror", &large).await;
        as_sink(&capture, "mirror", &format!("begin; {} rollback", rows("t", 60_001))).await;
        let streamed = "select coalesce(sum(stream_txns), 0) > 0 from pg_stat_replication_slots";
        capture.database.wait_until(&format!("({streamed})")).await.unwrap();
        capture.database.execute("insert into u values (100001)").await.unwrap();
        capture.settle().await;
        assert_eq!(capture.events("t").iter().map(Event::brief).count(), 0, "{version}");
        assert_eq!(keys(&capture, "u"), ["100001"], "{version}");
        // Another one of the same size is carried.
        as_sink(&capture, "other", &format!("begin; {} commit", rows("t", 80_001))).await;
        capture.settle().await;
        assert_eq!(capture.events("t").len(), 10_000, "{version}");
    }
}

// --- MySQL and MariaDB: by the table of offsets

/// As a sink begins a transaction, and what it writes then.
fn by_sink(connector: &str, statements: &str) -> String {
    format!(
        "start transaction; update tailrace_offsets set next_offset = coalesce(next_offset, 0) + 1, updated_at = utc_timestamp(6) \
         where connector = '{connector}' and topic = 'a' and topic_partition = 0 and epoch = 1; {statements}; commit"
    )
}

async fn are_left_out(database: Database, compress: &str) {
    let offsets = OFFSETS.trim_end().trim_end_matches(';');
    let rows = "insert into tailrace_offsets values ('mirror', 'a', 0, null, null, 1, '', utc_timestamp(6)), \
                ('other', 'a', 0, null, null, 1, '', utc_timestamp(6))";
    database.execute(TABLES).await.unwrap();
    database.execute(offsets).await.unwrap();
    database.execute(rows).await.unwrap();
    let capture = capture(database, "mirror, nobody_*");
    let run = async |statements: &str| {
        capture
            .database
            .execute(&format!("{compress}{statements}"))
            .await
            .unwrap()
    };
    run(&by_sink(
        "mirror",
        "insert into t values (1), (2); insert into u values (1)",
    ))
    .await;
    run("insert into t values (3)").await;
    run(&by_sink("other", "insert into t values (4)")).await;
    run("begin; insert into t values (5); insert into u values (5); commit").await;
    run(&by_sink(
        "mirror",
        "delete from t where id = 1; update u set id = 2 where id = 1",
    ))
    .await;
    capture.settle().await;
    assert_eq!(keys(&capture, "t"), ["3", "4", "5"]);
    assert_eq!(keys(&capture, "u"), ["5"]);
    capture.daemon.kill9().unwrap();
    run(&by_sink("mirror", "insert into u values (6)")).await;
    capture.start_again();
    run("insert into u values (7)").await;
    capture.settle().await;
    assert_eq!(keys(&capture, "t"), ["3", "4", "5"], "nothing twice");
    assert_eq!(keys(&capture, "u"), ["5", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_a_sink_are_left_out_of_every_binary_log() {
    for version in MySqlVersion::ALL {
        are_left_out(Database::shared(version).await.unwrap(), "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_ones_are_left_out_too() {
    let mysql = Database::shared(MySqlVersion::MySql97).await.unwrap();
    are_left_out(mysql, "set session binlog_transaction_compression = on; ").await;
    let options = MySqlOptions::version(MySqlVersion::MariaDb1011)
        .setting("log_bin_compress=ON")
        .setting("log_bin_compress_min_len=10");
    are_left_out(Database::own(options).await.unwrap(), "").await;
}
