//! What MariaDB leaves in its log when it is killed while it writes: the beginning of a transaction that it rolls back when it is started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tailrace_core::task::spawn_named;
use tailrace_tests::database::Database;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlServer, MySqlVersion, eventually};

use super::options;

const MARIADB: MySqlVersion = MySqlVersion::MariaDb1011;
/// Nothing here takes long.
const DEADLINE: Duration = Duration::from_secs(60);

// Of events in a file (MariaDB knowledge base, "Binlog Event Header").
const HEADER_BYTES: usize = 19;
const TYPE_AT: usize = 4;
const LENGTH_AT: usize = 9;
const POSITION_AT: usize = 13;
const GTID: u8 = 162;
const WRITE_ROWS: u8 = 23;
const XID: u8 = 16;

async fn on_a_server_of_its_own(settings: &[&str]) -> Scenario {
    let server = settings
        .iter()
        .fold(MySqlOptions::version(MARIADB), |options, setting| {
            options.setting(setting)
        });
    on(server).await
}

async fn on(server: MySqlOptions) -> Scenario {
    let version = server.version;
    let database = Database::own(server).await.unwrap();
    let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
    scenario.commit(30).await.unwrap();
    scenario
}

fn server(scenario: &Scenario) -> Arc<MySqlServer> {
    Arc::clone(scenario.database.mysql().unwrap())
}

/// One event of a file.
#[derive(Clone)]
struct Event(Vec<u8>);

// === impl Event ===

impl Event {
    fn all(file: &[u8]) -> Vec<Event> {
        let (mut rest, mut events) = (&file[4..], Vec::new());
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[LENGTH_AT..][..4].try_into().unwrap());
            let (event, behind) = rest.split_at(usize::try_from(length).unwrap());
            events.push(Event(event.to_vec()));
            rest = behind;
        }
        events
    }

    fn kind(&self) -> u8 {
        self.0[TYPE_AT]
    }

    fn sequence(&self) -> u64 {
        u64::from_le_bytes(self.0[HEADER_BYTES..][..8].try_into().unwrap())
    }

    /// The same as part of a later transaction.
    fn later(&self, by_bytes: usize, sequence: u64) -> Event {
        let mut bytes = self.0.clone();
        let position = u32::from_le_bytes(bytes[POSITION_AT..][..4].try_into().unwrap());
        let position = position + u32::try_from(by_bytes).unwrap();
        bytes[POSITION_AT..][..4].copy_from_slice(&position.to_le_bytes());
        if self.kind() == GTID {
            bytes[HEADER_BYTES..][..8].copy_from_slice(&sequence.to_le_bytes());
        }
        let content = bytes.len() - 4;
        let checksum = crc32(&bytes[..content]);
        bytes[content..].copy_from_slice(&checksum.to_le_bytes());
        Event(bytes)
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 };
        }
    }
    !crc
}

/// How far a transaction was written when the server died.
#[derive(Clone, Copy, Debug)]
enum Written {
    HalfOfItsFirstEvent,
    ItsFirstEvent,
    HalfOfItsRows,
    AllButItsEnd,
    AllButAByte,
}

impl Written {
    const ALL: [Written; 5] = [
        Written::HalfOfItsFirstEvent,
        Written::ItsFirstEvent,
        Written::HalfOfItsRows,
        Written::AllButItsEnd,
        Written::AllButAByte,
    ];
}

/// What a server writes that dies then: the last transaction with rows again, as if it were the next one.
fn torn(file: &[u8], written: Written) -> Vec<u8> {
    let events = Event::all(file);
    let sequence = events
        .iter()
        .filter(|event| event.kind() == GTID)
        .map(Event::sequence)
        .max();
    let rows = events.iter().rposition(|event| event.kind() == WRITE_ROWS).unwrap();
    let first = events[..rows].iter().rposition(|event| event.kind() == GTID).unwrap();
    let last = rows + events[rows..].iter().position(|event| event.kind() == XID).unwrap();
    let start: usize = 4 + events[..first].iter().map(|event| event.0.len()).sum::<usize>();
    let later = |event: &Event| event.later(file.len() - start, sequence.unwrap() + 1).0;
    let group: Vec<Vec<u8>> = events[first..=last].iter().map(later).collect();
    let whole = group.concat();
    let before_rows: usize = group[..rows - first].iter().map(Vec::len).sum();
    let length = match written {
        Written::HalfOfItsFirstEvent => group[0].len() / 2,
        Written::ItsFirstEvent => group[0].len(),
        Written::HalfOfItsRows => before_rows + group[rows - first].len() / 2,
        Written::AllButItsEnd => whole.len() - group.last().unwrap().len(),
        Written::AllButAByte => whole.len() - 1,
    };
    whole[..length].to_vec()
}

/// Kills the server, writes what it would have written, and starts it again.
async fn die_while_writing(server: &MySqlServer, written: Written) {
    let (file, _) = server.log_end().await.unwrap();
    server.kill9().unwrap();
    let path = server.data_dir().join(file);
    let torn = torn(&fs::read(&path).unwrap(), written);
    fs::OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(&torn)
        .unwrap();
    server.restart().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_not_written_to_its_end_is_left_out() {
    let scenario = on_a_server_of_its_own(&[]).await;
    let server = server(&scenario);
    scenario.start().unwrap();
    for written in Written::ALL {
        eprintln!("{written:?}");
        scenario.commit(20).await.unwrap();
        // It reads the file to its end before, after, and has yet to read all of it.
        die_while_writing(&server, written).await;
        scenario.commit(20).await.unwrap();
        scenario.settle().await.unwrap();
        scenario.daemon.kill9().unwrap();
        scenario.commit(20).await.unwrap();
        die_while_writing(&server, written).await;
        scenario.commit(20).await.unwrap();
        scenario.start().unwrap();
    }
    scenario.settle().await.unwrap();
    assert!(scenario.daemon.log().contains("binlog_torn"));
    scenario.finish(Snapshot::Whole).await.unwrap();
}

/// The server says that it has more than what is found in the file: nobody knows what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_lost_more_than_the_server_knows_is_not_passed_over() {
    let scenario = on_a_server_of_its_own(&[]).await;
    let server = server(&scenario);
    scenario.start().unwrap();
    scenario.settle().await.unwrap();
    scenario.daemon.kill9().unwrap();
    let (file, carried) = server.log_end().await.unwrap();
    scenario.commit(10).await.unwrap();
    let (_, end) = server.log_end().await.unwrap();
    server.kill9().unwrap();
    server.restart().unwrap();
    let log = fs::OpenOptions::new()
        .write(true)
        .open(server.data_dir().join(file))
        .unwrap();
    log.set_len(carried + (end - carried) / 2).unwrap();
    scenario.daemon.start().unwrap();
    scenario.wait_for("halted").unwrap();
    let state = scenario.daemon.state(scenario.database.name()).unwrap();
    assert_eq!(state, "halted:binlog_torn");
}

/// Kills that come while transactions of megabytes are written.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_killed_while_it_writes_large_transactions() {
    for settings in [
        &["sync_binlog=0"][..],
        &["sync_binlog=1", "innodb_flush_log_at_trx_commit=1"],
    ] {
        let scenario = on_a_server_of_its_own(settings).await;
        let server = server(&scenario);
        let large = "create table large (id int auto_increment primary key, round int, text mediumtext)";
        scenario.database.execute(large).await.unwrap();
        scenario.start().unwrap();
        for round in 1..=4 {
            let rows = scenario.database.numbers(0..2_000);
            let insert = format!(
                "insert into large (round, text) select {round}, repeat('tailrace', 400) from ({rows}) numbers"
            );
            let (file, end) = server.log_end().await.unwrap();
            let database = scenario.database.clone();
            let writing = spawn_named(
                "writer",
                async move { while database.execute(&insert).await.is_ok() {} },
            );
            eventually("that a transaction is being written", DEADLINE, || async {
                let bytes = fs::metadata(server.data_dir().join(&file)).map_or(0, |file| file.len());
                Ok((bytes > end + 8_000_000 + round * 1_300_000).then_some(()))
            })
            .await
            .unwrap();
            server.kill9().unwrap();
            writing.await.unwrap();
            server.restart().unwrap();
        }
        scenario.settle().await.unwrap();
        let mut carried: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for event in scenario.events("large").await.unwrap() {
            let row = event.after();
            let number = |name: &str| row[name].as_u64().unwrap();
            carried.entry(number("round")).or_default().insert(number("id"));
        }
        let carried: Vec<String> = carried
            .iter()
            .map(|(round, rows)| format!("{round}: {}", rows.len()))
            .collect();
        let there = scenario
            .database
            .query("select concat(round, ': ', count(*)) from large group by round order by round");
        let there: Vec<String> = there.await.unwrap().into_iter().flatten().flatten().collect();
        assert_eq!(carried, there, "{settings:?}");
        eprintln!(
            "{there:?}, torn files: {}",
            scenario.daemon.log().matches("binlog_torn").count()
        );
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

/// What MySQL was writing when it died is gone before anybody can read it.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_cuts_its_log_off_itself() {
    for version in [MySqlVersion::MySql56, MySqlVersion::MySql97] {
        let scenario = on(MySqlOptions::version(version)).await;
        let server = server(&scenario);
        scenario.start().unwrap();
        scenario.commit(20).await.unwrap();
        let (file, end) = server.log_end().await.unwrap();
        server.kill9().unwrap();
        let path = server.data_dir().join(file);
        let last = Event::all(&fs::read(&path).unwrap()).pop().unwrap();
        let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        log.write_all(&last.0[..last.0.len() - 5]).unwrap();
        server.restart().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), end, "{version}");
        scenario.finish(Snapshot::Whole).await.unwrap();
    }
}
