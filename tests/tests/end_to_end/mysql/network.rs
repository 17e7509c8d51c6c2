//! Between the daemon and the server: sessions end in the middle of a word, fall silent, or are slow.

use std::time::Duration;

use tailrace_tests::database::Database;
use tailrace_tests::oracle::{Findings, Snapshot};
use tailrace_tests::proxy::{Direction, Ending, Fault, FrameKind, Proxy, Who};
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::MySqlVersion;

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
        assert_eq!(carried.proxy.strand(LOG), 1, "{version}");
        let name = carried.scenario.database.name();
        let noticed = carried
            .scenario
            .daemon
            .wait_for(name, "that the silence is noticed", |status| {
                status["retries"].as_u64().unwrap_or_default() > 0
            });
        noticed.unwrap();
        carried.scenario.commit(20).await.unwrap();
        carried.scenario.wait_for("streaming").unwrap();
        carried.finish(Snapshot::Whole).await;
    }
}
