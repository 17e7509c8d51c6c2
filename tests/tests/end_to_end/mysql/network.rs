//! Between the daemon and the server: sessions end in the middle of a word, fall silent, or are slow.

use std::time::Duration;

use tailrace_tests::database::Database;
use tailrace_tests::oracle::{Findings, Snapshot};
use tailrace_tests::proxy::{Direction, Ending, Fault, FrameKind, Proxy, Who};
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::{MySqlVersion, eventually};

use super::options;
use crate::network::meet;

const LOG: Who = Who::Purpose("log");

/// Enough to be cut in the middle.
const ARCHIVE_ROWS: u64 = 60_000;

/// A workload that is carried through a proxy into files.
struct Carried {
    scenario: Scenario,
    proxy: Proxy,
}

impl Carried {
    async fn prepare(version: MySqlVersion) -> Carried {
        let database = Database::shared(version).await.unwrap();
        let proxy = Proxy::before(database.server().port(), database.protocol()).unwrap();
        let options = Options {
            source_url: Some(database.url_through(&proxy)),
            ..options(version, Lane::File)
        };
        let scenario = Scenario::on(database, options).await.unwrap();
        scenario.commit(20).await.unwrap();
        Carried { scenario, proxy }
    }

    async fn start(version: MySqlVersion) -> Carried {
        let carried = Carried::prepare(version).await;
        carried.scenario.start().unwrap();
        carried
    }

    async fn meet(&self, who: Who, fault: Fault) {
        meet(&self.scenario, self.proxy.arm(who, fault)).await;
    }

    /// The connector has begun again, and streams.
    fn noticed(&self, what: &str) {
        let name = self.scenario.database.name();
        let noticed = self.scenario.daemon.wait_for(name, what, |status| {
            status["retries"].as_u64().unwrap_or_default() > 0 && status["state"] == "streaming"
        });
        noticed.unwrap();
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
    for version in MySqlVersion::ALL {
        let carried = Carried::start(version).await;
        for (bytes, ending) in [(1, Ending::Reset), (7_001, Ending::Close), (60_007, Ending::Reset)] {
            carried.meet(LOG, cut_after(bytes, ending)).await;
        }
        for ending in [Ending::Close, Ending::Reset] {
            carried
                .meet(LOG, Fault::CutInside(FrameKind::BinlogEvent, ending))
                .await;
        }
        carried.finish(Snapshot::Whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_the_snapshot_are_cut() {
    for version in MySqlVersion::ALL {
        let carried = Carried::prepare(version).await;
        carried.scenario.workload.commit_rows(ARCHIVE_ROWS).await.unwrap();
        let cut = |bytes| carried.proxy.arm(Who::All, cut_after(bytes, Ending::Reset));
        let cuts = [cut(100_000), cut(900_000)];
        carried.scenario.daemon.start().unwrap();
        for cut in cuts {
            meet(&carried.scenario, cut).await;
        }
        carried.scenario.wait_for("streaming").unwrap();
        carried.finish(Snapshot::Interrupted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_words_of_a_start_are_cut() {
    let carried = Carried::prepare(MySqlVersion::MySql97).await;
    let cuts = [40, 400, 4_000].map(|bytes| carried.proxy.arm(Who::All, cut_after(bytes, Ending::Reset)));
    carried.scenario.daemon.start().unwrap();
    for cut in cuts {
        meet(&carried.scenario, cut).await;
    }
    carried.scenario.wait_for("streaming").unwrap();
    carried.finish(Snapshot::Interrupted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_late_sessions_carry_everything() {
    let carried = Carried::prepare(MySqlVersion::MariaDb1011).await;
    carried.proxy.delay(Duration::from_millis(20));
    carried.scenario.start().unwrap();
    carried.scenario.commit(20).await.unwrap();
    carried.proxy.delay(Duration::ZERO);
    carried.proxy.throttle(30_000);
    carried.scenario.commit(60).await.unwrap();
    carried.finish(Snapshot::Whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_falls_silent_is_given_up() {
    for version in MySqlVersion::ALL {
        let carried = Carried::start(version).await;
        let daemon = &carried.scenario.daemon;
        let name = carried.scenario.database.name();
        // The connector streams before the server has its request for the log.
        let is_read = |_: &serde_json::Value| carried.proxy.connections(LOG) == 1;
        daemon.wait_for(name, "that the log is read", is_read).unwrap();
        assert_eq!(carried.proxy.strand(LOG), 1, "{version}");
        let noticed = daemon.wait_for(name, "that the silence is noticed", |status| {
            status["retries"].as_u64().unwrap_or_default() > 0
        });
        noticed.unwrap();
        carried.scenario.commit(20).await.unwrap();
        carried.scenario.wait_for("streaming").unwrap();
        carried.finish(Snapshot::Whole).await;
    }
}

/// Two readers with one number throw each other out: one of them gives up, and the other goes on. MySQL 5.6 lets both read.
#[tokio::test(flavor = "multi_thread")]
async fn two_readers_with_one_number_do_not_flap_for_ever() {
    for (server_id, version) in [(77_001, MySqlVersion::MySql97), (77_002, MySqlVersion::MariaDb1011)] {
        let mut readers = Vec::new();
        for _ in 0..2 {
            let options = Options {
                source: format!("server_id_range: {{ first: {server_id}, last: {server_id} }}\n"),
                ..options(version, Lane::File)
            };
            let scenario = Scenario::new(options).await.unwrap();
            scenario.commit(20).await.unwrap();
            scenario.daemon.start().unwrap();
            readers.push(scenario);
        }
        let state = |scenario: &Scenario| scenario.daemon.state(scenario.database.name()).unwrap_or_default();
        eventually("that one gives up", Duration::from_secs(90), || async {
            // They meet when there is something to read.
            for scenario in &readers {
                scenario.commit(2).await?;
            }
            Ok(readers
                .iter()
                .any(|scenario| state(scenario) == "halted:server_id_conflict")
                .then_some(()))
        })
        .await
        .unwrap_or_else(|error| {
            panic!(
                "{version}: {error}, {:?}",
                readers.iter().map(&state).collect::<Vec<_>>()
            )
        });
        let (halted, others): (Vec<_>, Vec<_>) = readers
            .into_iter()
            .partition(|scenario| state(scenario).starts_with("halted"));
        assert_eq!((halted.len(), others.len()), (1, 1), "{version}");
        for scenario in others {
            scenario.wait_for("streaming").unwrap();
            scenario.finish(Snapshot::Interrupted).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_event_is_asked_for_again_once() {
    for version in MySqlVersion::ALL {
        let carried = Carried::start(version).await;
        carried.meet(LOG, Fault::Flip { count: 1 }).await;
        carried.finish(Snapshot::Whole).await;

        let carried = Carried::start(version).await;
        carried.meet(LOG, Fault::Flip { count: 1 }).await;
        carried.noticed("that the event is asked for again");
        carried.meet(LOG, Fault::Flip { count: 1 }).await;
        carried.scenario.wait_for("halted").unwrap();
        let name = carried.scenario.database.name();
        assert_eq!(
            carried.scenario.daemon.state(name).unwrap(),
            "halted:binlog_checksum",
            "{version}"
        );
    }
}
