//! Between the daemon and PostgreSQL: sessions end in the middle of a word, fall silent, or are slow.

use std::time::Duration;

use tailrace_tests::database::Database;
use tailrace_tests::oracle::{Findings, Snapshot};
use tailrace_tests::proxy::{Direction, Ending, Fault, FrameKind, Protocol, Proxy, Then, Who};
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::PostgresVersion;

use super::meet;
use crate::crashes::seed;

/// The application names of the sessions end like this.
const LOG: Who = Who::Purpose("log");
const SNAPSHOT: Who = Who::Purpose("snapshot");
const CATALOG: Who = Who::Purpose("catalog");

/// Enough to be cut in the middle.
const ARCHIVE_ROWS: u32 = 60_000;

/// A workload that is carried through a proxy into files.
struct Carried {
    scenario: Scenario,
    proxy: Proxy,
}

impl Carried {
    /// Nothing runs yet. The statements are for the database.
    async fn prepare(statements: &str) -> Carried {
        let database = Database::shared(PostgresVersion::V17).await.unwrap();
        let statements = statements.replace("{database}", database.name());
        database.execute(&statements).await.unwrap();
        let proxy = Proxy::before(database.server().port(), Protocol::Postgres).unwrap();
        let options = Options {
            source_url: Some(database.url_through(&proxy)),
            ..Options::new(Lane::File, seed())
        };
        let scenario = Scenario::on(database, options).await.unwrap();
        scenario.commit(20).await.unwrap();
        Carried { scenario, proxy }
    }

    async fn start(statements: &str) -> Carried {
        let carried = Carried::prepare(statements).await;
        carried.scenario.start().unwrap();
        carried
    }

    async fn meet(&self, who: Who, fault: Fault) {
        meet(&self.scenario, self.proxy.arm(who, fault)).await;
    }

    /// How often a session was given up since the daemon's start: on a machine that is slow enough a slow one is taken for dead,
    /// and what is read again may come again.
    fn retries(&self) -> u64 {
        let status = self.scenario.daemon.connector(self.scenario.database.name()).unwrap();
        status["retries"].as_u64().unwrap()
    }

    async fn finish(self, snapshot: Snapshot) -> Findings {
        self.proxy.heal().unwrap();
        self.scenario.commit(20).await.unwrap();
        self.scenario.finish(snapshot).await.unwrap()
    }
}

fn cut_after(bytes: u64, ending: Ending) -> Fault {
    Fault::CutAfter {
        direction: Direction::ToClient,
        bytes,
        ending,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_cut_anywhere() {
    let carried = Carried::start("").await;
    for (bytes, ending) in [(1, Ending::Reset), (7_001, Ending::Close), (60_007, Ending::Reset)] {
        carried.meet(LOG, cut_after(bytes, ending)).await;
    }
    carried.finish(Snapshot::Whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_the_snapshot_are_cut() {
    // The name comes first, so that it is read first.
    let archive = format!(
        "create table a_archive as select n as id, repeat(md5(n::text), 10) as text from generate_series(1, {ARCHIVE_ROWS}) n; \
         alter table a_archive add primary key (id)"
    );
    let carried = Carried::prepare(&archive).await;
    let cut = |bytes| carried.proxy.arm(SNAPSHOT, cut_after(bytes, Ending::Reset));
    let cuts = [cut(100_000), cut(900_000)];
    carried.scenario.daemon.start().unwrap();
    for cut in cuts {
        meet(&carried.scenario, cut).await;
    }
    carried.scenario.wait_for("streaming").unwrap();
    let archived = carried.scenario.events("a_archive").await.unwrap();
    let keys: std::collections::BTreeSet<String> = archived.iter().map(|event| event.key_json().to_string()).collect();
    assert_eq!(keys.len(), usize::try_from(ARCHIVE_ROWS).unwrap());
    carried.finish(Snapshot::Interrupted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_of_a_start_is_cut_once() {
    let carried = Carried::prepare("").await;
    let purposes = ["setup", "slot", "catalog", "snapshot", "log"];
    let cuts = purposes.map(|purpose| carried.proxy.arm(Who::Purpose(purpose), cut_after(400, Ending::Reset)));
    carried.scenario.daemon.start().unwrap();
    for cut in cuts {
        meet(&carried.scenario, cut).await;
    }
    carried.scenario.wait_for("streaming").unwrap();
    carried.finish(Snapshot::Interrupted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_for_questions_is_cut_before_it_is_asked() {
    let carried = Carried::start("create table t (id int primary key)").await;
    assert!(carried.proxy.cut(CATALOG, Ending::Reset) > 0);
    // A table that has changed is looked up over that session.
    let changed = "alter table t add note text; insert into t values (1, 'new')";
    carried.scenario.database.execute(changed).await.unwrap();
    carried.scenario.settle().await.unwrap();
    let events = carried.scenario.events("t").await.unwrap();
    let newest = events.last().unwrap().brief();
    assert_eq!(newest, r#"c {"id":1} {"id":1,"note":"new"}"#);
    carried.finish(Snapshot::Whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_late_sessions_carry_everything() {
    let carried = Carried::prepare("").await;
    carried.proxy.delay(Duration::from_millis(20));
    carried.scenario.start().unwrap();
    carried.scenario.commit(20).await.unwrap();
    carried.proxy.delay(Duration::ZERO);
    carried.proxy.throttle(30_000);
    carried.scenario.commit(60).await.unwrap();
    let retries = carried.retries();
    let findings = carried.finish(Snapshot::Whole).await;
    assert!(findings.duplicates == 0 || retries > 0, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_was_never_told_does_not_come_twice() {
    let carried = Carried::start("").await;
    // The first is lost, and all that follow: the state knows of progress that the server does not know of.
    let lose = |count| Fault::Lose {
        kind: FrameKind::StatusUpdate,
        count,
        then: Then::GoOn,
    };
    let (first, _others) = (carried.proxy.arm(LOG, lose(1)), carried.proxy.arm(LOG, lose(u32::MAX)));
    meet(&carried.scenario, first).await;
    carried.scenario.commit(50).await.unwrap();
    let (database, daemon) = (&carried.scenario.database, &carried.scenario.daemon);
    let end = database.query_value("select pg_current_wal_lsn()").await.unwrap();
    let saved = daemon.wait_for(database.name(), "a checkpoint of everything", |status| {
        position(status["position"].as_str().unwrap_or_default()) >= position(&end)
    });
    saved.unwrap();
    let retries = carried.retries();
    daemon.kill9().unwrap();
    let slot = database.slot();
    let behind =
        format!("select (confirmed_flush_lsn < '{end}')::text from pg_replication_slots where slot_name = '{slot}'");
    assert_eq!(
        database.query_value(&behind).await.unwrap(),
        "true",
        "the server was told"
    );
    carried.proxy.heal().unwrap();
    carried.scenario.start().unwrap();
    let findings = carried.finish(Snapshot::Whole).await;
    assert!(findings.duplicates == 0 || retries > 0, "{findings:?}");
}

/// `16/B374D848` as two numbers, which compare as positions do; nothing for what is no position.
fn position(text: &str) -> Option<(u64, u64)> {
    let (high, low) = text.split_once('/')?;
    Some((u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_falls_silent_is_given_up_and_its_slot_waited_for() {
    // The server notices later than the daemon, which then finds its own slot in use.
    let carried = Carried::start("alter database {database} set wal_sender_timeout = '6s'").await;
    assert_eq!(carried.proxy.strand(LOG), 1);
    carried.scenario.wait_for("degraded:waiting_for_slot").unwrap();
    carried.scenario.commit(20).await.unwrap();
    carried.scenario.wait_for("streaming").unwrap();
    carried.finish(Snapshot::Whole).await;
}
