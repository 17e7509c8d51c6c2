//! More than is held at a time: events larger than a packet, transactions larger than memory, a broker that takes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tailrace_tests::database::Database;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, eventually, shared_kafka};

use super::options;

/// As for PostgreSQL: the goal is less, a debug build with its larger code has the rest.
const MEMORY_BYTES: u64 = 160 * 1024 * 1024;

/// A server writes to everybody who reads its log within seconds.
const DEADLINE: Duration = Duration::from_secs(60);

const LOADED_ROWS: usize = 100_000;

/// A line of the file that is loaded, without its number.
const LOADED_TEXT: &str = "what is the same in every line, and long enough that all lines together are more than the daemon may hold, \
    which is what this is about: a hundred thousand of them, each of some seven hundred bytes, in one statement of one transaction, \
    as a nightly job loads them; \
    what is the same in every line, and long enough that all lines together are more than the daemon may hold, \
    which is what this is about: a hundred thousand of them, each of some seven hundred bytes, in one statement of one transaction, \
    as a nightly job loads them; \
    what is the same in every line, and long enough that all lines together are more than the daemon may hold, \
    which is what this is about: a hundred thousand of them";

/// A row that fits into a packet, and whose update does not: the event has it twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_larger_than_a_packet_of_the_server_arrives() {
    for version in MySqlVersion::ALL {
        let server = MySqlOptions::version(version).setting("max_allowed_packet=1048576");
        let scenario = on_a_server_of_its_own(server, "create table large (id int primary key, text longtext)").await;
        let statements =
            "insert into large values (1, repeat('x', 1000000)); update large set text = repeat('y', 1000000)";
        scenario.database.execute(statements).await.unwrap();
        scenario.settle().await.unwrap();
        let lengths = lengths(&scenario).await;
        assert_eq!(lengths, [1_000_000, 1_000_000], "{version}");
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

/// Larger than what the protocol can say of one packet (16 MB), so that it comes in several.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_several_packets_of_the_protocol_arrives() {
    for version in MySqlVersion::ALL {
        let server = match version {
            // It wants a value to be a tenth of its log at most.
            MySqlVersion::MySql56 => MySqlOptions::version(version).setting("innodb_log_file_size=256M"),
            MySqlVersion::MySql97 | MySqlVersion::MariaDb1011 => MySqlOptions::version(version),
        };
        let scenario = on_a_server_of_its_own(server, "create table large (id int primary key, text longtext)").await;
        let statements = "insert into large values (1, repeat('x', 20000000)), (2, 'small')";
        scenario.database.execute(statements).await.unwrap();
        scenario.settle().await.unwrap();
        assert_eq!(lengths(&scenario).await, [20_000_000, 5], "{version}");
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

async fn on_a_server_of_its_own(server: MySqlOptions, table: &str) -> Scenario {
    let version = server.version;
    let database = Database::own(server).await.unwrap();
    database.execute(table).await.unwrap();
    let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
    scenario.commit(20).await.unwrap();
    scenario.start().unwrap();
    scenario.settle().await.unwrap();
    scenario
}

async fn lengths(scenario: &Scenario) -> Vec<usize> {
    let events = scenario.events("large").await.unwrap();
    events
        .iter()
        .map(|event| event.after()["text"].as_str().unwrap().len())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_loaded_is_carried_within_a_bound_of_memory() {
    for version in MySqlVersion::ALL {
        let lines: String = (1..=LOADED_ROWS).map(|id| format!("{id}\t{LOADED_TEXT}\n")).collect();
        let mut server = MySqlOptions::version(version);
        server.files.insert("rows.txt".to_owned(), lines.into_bytes());
        let scenario = on_a_server_of_its_own(server, "create table loaded (id int primary key, text text)").await;
        let file = scenario.database.mysql().unwrap().data_dir().with_file_name("rows.txt");
        let load = format!("load data infile '{}' into table loaded", file.display());
        scenario.database.execute(&load).await.unwrap();
        scenario.settle().await.unwrap();
        let peak = scenario.daemon.peak_memory_bytes().unwrap();
        let events = scenario.events("loaded").await.unwrap();
        let ids: BTreeSet<u64> = events
            .iter()
            .map(|event| event.key_json()["id"].as_u64().unwrap())
            .collect();
        assert_eq!((events.len(), ids.len()), (LOADED_ROWS, LOADED_ROWS), "{version}");
        let transactions: BTreeSet<&str> = events.iter().map(|event| event.header("position")).collect();
        assert_eq!(transactions.len(), 1, "{version}");
        assert!(peak < MEMORY_BYTES, "{version}: {peak} bytes");
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

/// The server gives up who does not read for a second, were it not asked for more patience.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_stuck_costs_neither_rows_nor_memory_nor_the_dump() {
    for version in MySqlVersion::ALL {
        let proxy = shared_kafka().unwrap().proxies().lend().await.unwrap();
        let database = Database::own(MySqlOptions::version(version).setting("net_write_timeout=1"))
            .await
            .unwrap();
        let tables = "create table flood (id int primary key, text text); create table clock (started datetime)";
        database.execute(tables).await.unwrap();
        let options = Options {
            bootstrap: Some(proxy.address()),
            ..options(version, Lane::Kafka)
        };
        let scenario = Scenario::on(database, options).await.unwrap();
        scenario.commit(20).await.unwrap();
        scenario.workload.commit_rows(50).await.unwrap();
        scenario.start().unwrap();
        scenario.settle().await.unwrap();
        let dump = "select id from information_schema.processlist where command like 'Binlog Dump%'";
        // The session that looked at the beginning of the file is there until the server notices that it was left.
        let reader = eventually("one session that reads the log", DEADLINE, || async {
            let mut sessions = scenario.database.query(dump).await?;
            Ok((sessions.len() == 1).then(|| sessions.remove(0).remove(0)))
        });
        let reader = reader.await.unwrap().unwrap();
        proxy.blackhole();
        // More than the process and both sockets may hold, and several times as long as the server waits.
        let numbers = scenario.database.numbers(1..40_001);
        let flood = format!(
            "insert into clock values (now());
            insert into flood select n, repeat(hex(crc32(n)), 400) from ({numbers}) numbers"
        );
        scenario.database.execute(&flood).await.unwrap();
        scenario
            .database
            .wait_until("now() > (select started from clock) + interval 6 second")
            .await
            .unwrap();
        let peak = scenario.daemon.peak_memory_bytes().unwrap();
        assert!(peak < MEMORY_BYTES, "{version}: {peak} bytes");
        let still = scenario.database.query_value(dump).await;
        let still = still.map_err(|error| scenario.daemon.with_status(scenario.database.name(), &error));
        assert_eq!(still.unwrap(), reader, "{version}: the same session");
        proxy.heal().unwrap();
        scenario.commit(20).await.unwrap();
        scenario.settle().await.unwrap();
        assert_eq!(scenario.events("flood").await.unwrap().len(), 40_000, "{version}");
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}
