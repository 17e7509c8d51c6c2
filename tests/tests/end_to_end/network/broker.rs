//! Between the daemon and Kafka: nobody answers, little passes, answers are lost on their way.

use std::time::Duration;

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::oracle::{Findings, Snapshot};
use tailrace_tests::proxy::{Direction, Ending, Fault, FrameKind, Lent, Then, Who};
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::{PostgresVersion, shared_kafka};

use super::meet;
use crate::capture::{Wanted, database_with, sections};
use crate::crashes::seed;

/// What the process may ever hold while nobody takes its events: as for transactions that are larger than memory.
const MEMORY_BYTES: u64 = 160 * 1024 * 1024;

/// Error codes of Kafka's protocol: fewer replicas are in step than the topic demands, before and after it was written.
const NOT_ENOUGH_REPLICAS: i16 = 19;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;

/// A workload that is carried through a proxy into the shared broker.
struct Carried {
    scenario: Scenario,
    proxy: Lent<'static>,
}

impl Carried {
    /// Nothing runs yet. The statements are for the database.
    async fn prepare(statements: &str) -> Carried {
        let proxy = shared_kafka().unwrap().proxies().lend().await.unwrap();
        let database = Database::shared(PostgresVersion::V17).await.unwrap();
        let statements = statements.replace("{database}", database.name());
        database.execute(&statements).await.unwrap();
        let options = Options {
            bootstrap: Some(proxy.address()),
            ..Options::new(Lane::Kafka, seed())
        };
        let scenario = Scenario::on(database, options).await.unwrap();
        Carried { scenario, proxy }
    }

    async fn start(statements: &str) -> Carried {
        let carried = Carried::prepare(statements).await;
        carried.scenario.commit(20).await.unwrap();
        // Every table has rows, so that every topic is there before the network fails.
        carried.scenario.workload.commit_rows(50).await.unwrap();
        carried.scenario.start().unwrap();
        carried.scenario.settle().await.unwrap();
        carried
    }

    /// Arms faults and waits until they have happened, one after the other.
    async fn meet(&self, faults: &[Fault]) {
        for fault in faults {
            meet(&self.scenario, self.proxy.arm(Who::All, *fault)).await;
        }
    }

    async fn finish(self) -> Findings {
        self.proxy.heal().unwrap();
        self.scenario.commit(20).await.unwrap();
        self.scenario.finish(Snapshot::Whole).await.unwrap()
    }

    /// As above, where the client rides the fault out: what the broker has written it does not write again. Only a producer that
    /// was made anew, on a machine that is slow enough for that, may have sent something twice.
    async fn finish_without_duplicates(self) {
        self.proxy.heal().unwrap();
        self.scenario.settle().await.unwrap();
        let status = self.scenario.daemon.connector(self.scenario.database.name()).unwrap();
        let findings = self.finish().await;
        assert!(
            findings.duplicates == 0 || status["retries"].as_u64() > Some(0),
            "{findings:?}, {status}"
        );
    }

    /// Where the server may forget its log.
    async fn confirmed(&self) -> String {
        let slot = self.scenario.database.slot();
        let query = format!("select confirmed_flush_lsn from pg_replication_slots where slot_name = '{slot}'");
        self.scenario.database.query_value(&query).await.unwrap()
    }

    async fn walsender(&self) -> String {
        let name = self.scenario.database.name();
        let query = format!("select pid from pg_stat_replication where application_name = 'tailrace {name} log'");
        self.scenario.database.query_value(&query).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let carried = Carried::prepare("").await;
    let (daemon, name) = (&carried.scenario.daemon, carried.scenario.database.name());
    carried.scenario.commit(20).await.unwrap();
    carried.proxy.refuse().unwrap();
    daemon.start().unwrap();
    let said = daemon.wait_for(name, "a word about the broker", |status| {
        status["state"] == "degraded" || !status["notices"].as_object().unwrap().is_empty()
    });
    said.unwrap();
    assert_eq!(daemon.get("/livez").unwrap().status, 200);
    assert_eq!(daemon.get("/readyz").unwrap().status, 503);
    carried.scenario.commit(20).await.unwrap();
    carried.proxy.heal().unwrap();
    carried.scenario.wait_for("streaming").unwrap();
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    carried.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_out_of_reach_costs_neither_memory_nor_the_session() {
    let carried = Carried::start("alter database {database} set wal_sender_timeout = '1s'").await;
    let database = &carried.scenario.database;
    let walsender = carried.walsender().await;
    carried.proxy.blackhole();
    // More than the process may hold, and several times as long as the server waits for a sign of life.
    let flood = "create table clock as select now() as started; create table flood (id int primary key, text text); \
        insert into flood select n, repeat(md5(n::text), 100) from generate_series(1, 60000) n";
    database.execute(flood).await.unwrap();
    database
        .wait_until("now() - (select started from clock) > interval '4 s'")
        .await
        .unwrap();
    assert_eq!(carried.walsender().await, walsender, "the same session all the time");
    let peak = carried.scenario.daemon.peak_memory_bytes().unwrap();
    assert!(peak < MEMORY_BYTES, "{peak} bytes");
    carried.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_slow_link_it_falls_behind_and_skips_nothing() {
    let carried = Carried::start("").await;
    let (daemon, name) = (&carried.scenario.daemon, carried.scenario.database.name());
    carried.proxy.throttle(10_000);
    for lag_bytes in [50_000, 200_000] {
        carried.scenario.commit(60).await.unwrap();
        let behind = daemon.wait_for(name, "a growing lag", |status| {
            status["lag_bytes"].as_i64().unwrap_or_default() > lag_bytes
        });
        behind.unwrap();
    }
    assert_eq!(daemon.state(name).unwrap(), "streaming");
    carried.finish_without_duplicates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_after_the_write_make_no_duplicates() {
    let carried = Carried::start("").await;
    let lose = |count, ending| Fault::Lose {
        kind: FrameKind::ProduceResponse,
        count,
        then: Then::Cut(ending),
    };
    let faults = [lose(1, Ending::Reset), lose(3, Ending::Close), lose(2, Ending::Reset)];
    carried.meet(&faults).await;
    carried.finish_without_duplicates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_inside_a_request_reorder_nothing() {
    let carried = Carried::start("").await;
    let after = |direction, bytes| Fault::CutAfter {
        direction,
        bytes,
        ending: Ending::Reset,
    };
    let faults = [
        Fault::CutInside(FrameKind::ProduceRequest, Ending::Reset),
        Fault::CutInside(FrameKind::ProduceRequest, Ending::Close),
        after(Direction::ToServer, 20_001),
        after(Direction::ToClient, 301),
    ];
    carried.meet(&faults).await;
    carried.finish_without_duplicates().await;
}

/// One broker alone never says it: it demands no more replicas than a topic has.
#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_replicas_it_tries_again_and_nothing_moves() {
    let carried = Carried::start("").await;
    for error_code in [NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND] {
        carried.scenario.settle().await.unwrap();
        let refuse = |count| carried.proxy.arm(Who::All, Fault::Answer { count, error_code });
        // The second takes over from the first without a gap.
        let (tried, refused) = (refuse(6), refuse(u32::MAX));
        let database = &carried.scenario.database;
        let before = database.query_value("select pg_current_wal_lsn()").await.unwrap();
        meet(&carried.scenario, tried).await;
        let moved = format!(
            "select ('{}'::pg_lsn > '{before}'::pg_lsn)::text",
            carried.confirmed().await
        );
        assert_eq!(database.query_value(&moved).await.unwrap(), "false");
        assert!(!refused.has_happened());
        carried.proxy.heal().unwrap();
    }
    carried.finish_without_duplicates().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_answers_are_waited_for() {
    let carried = Carried::start("").await;
    carried.proxy.delay(Duration::from_millis(200));
    carried.scenario.commit(30).await.unwrap();
    // Nor is a start over such a link anything special.
    carried.scenario.daemon.kill9().unwrap();
    carried.scenario.start().unwrap();
    carried.scenario.commit(30).await.unwrap();
    carried.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_created_is_named() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key)").await;
    let kafka = shared_kafka().unwrap();
    let forbidden =
        sections(&database, &kafka.bootstrap(), &Wanted::default()).replace("partitions: 1", "create: false");
    let daemon = Daemon::new(&forbidden).unwrap();
    daemon.start().unwrap();
    database.execute("insert into t values (1)").await.unwrap();
    daemon.wait_for_state(database.name(), "halted:topic_missing").unwrap();
    let topic = format!("{}.public.t", database.name());
    let status = daemon.connector(database.name()).unwrap();
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains(&topic) && reason.contains("create it"), "{reason}");
    kafka.create_topic(&topic, 2, &[]).await.unwrap();
    // What a person does then.
    assert!(daemon.terminate().unwrap().code().is_some());
    daemon.start().unwrap();
    daemon.wait_for_state(database.name(), "streaming").unwrap();
    database.wait_until_carried(&daemon).await.unwrap();
    assert_eq!(kafka.records(&topic).unwrap().len(), 1);
}
