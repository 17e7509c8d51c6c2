//! The daemon dies between setting aside, delivering, checkpointing and replaying.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use super::{DEADLINE, MYSQL, POSTGRES, Shop};
use tailrace_tests::servers::eventually;

/// Between the refusal of an event and the server being told that it may forget it.
const SETTING_ASIDE: [&str; 7] = [
    "before_quarantine",
    "after_quarantine",
    "topics_ready",
    "after_enqueue",
    "after_durable",
    "before_checkpoint",
    "after_checkpoint",
];

/// Between the wish to replay a letter and its mark.
const REPLAYING: [&str; 3] = ["replay_enqueued", "replay_durable", "replay_marked"];

const TABLE: &str = "create table orders (id int primary key, value numeric(30, 0))";
const NARROW: &str = "create table orders (id int primary key, value bigint unsigned)";

impl Shop {
    /// Started armed, it dies there and nowhere else.
    async fn dies_at(&self, failpoint: &str) {
        self.daemon.start_armed(&format!("{failpoint}=kill")).unwrap();
        self.is_dead(failpoint).await;
    }

    async fn is_dead(&self, failpoint: &str) {
        let what = format!("the death at {failpoint}");
        let ended = eventually(&what, DEADLINE, || async { self.daemon.ended() }).await;
        let ended = ended
            .map_err(|error| self.daemon.with_status(self.name(), &error))
            .unwrap();
        let log = self.daemon.newest_log();
        assert_eq!(ended.signal(), Some(9), "{log}");
        assert!(log.contains(&format!("failpoint {failpoint}: killed")), "{log}");
    }

    /// The same event id is the same event, however often it came.
    async fn same_ids_are_same_events(&self) {
        let mut known = BTreeMap::new();
        for event in self.orders().await {
            let told = (event.key.clone(), event.value.clone());
            let before = known.entry(event.event_id().to_owned()).or_insert_with(|| told.clone());
            assert_eq!(*before, told);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_death_loses_an_event_between_the_stream_and_the_letters() {
    for letters in ["policy: store", "policy: topic, order: key"] {
        let shop = Shop::with(MYSQL, NARROW).await;
        shop.configure("bigint_unsigned: long", letters);
        shop.start();
        shop.execute("insert into orders values (1, 1)").await;
        shop.wait_for_ids(1).await;
        shop.daemon.kill9().unwrap();
        let mut next = 2;
        for failpoint in SETTING_ASIDE {
            let (good, bad, last) = (next, next + 1, next + 2);
            shop.execute(&format!(
                "insert into orders values ({good}, 1), ({bad}, 18446744073709551615), ({last}, 2)"
            ))
            .await;
            shop.dies_at(failpoint).await;
            next += 3;
        }
        shop.start();
        let deaths = u64::try_from(SETTING_ASIDE.len()).unwrap();
        shop.wait_for_letters(deaths);
        let ids = shop.wait_for_ids(1 + 2 * SETTING_ASIDE.len()).await;
        let refused: Vec<i64> = shop
            .letters()
            .iter()
            .map(|letter| letter["key"]["id"].as_str().unwrap().parse().unwrap())
            .collect();
        let mut all: Vec<i64> = ids.iter().chain(&refused).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (1..next).collect::<Vec<_>>(), "{letters}: each in one of both");
        shop.same_ids_are_same_events().await;

        assert!(shop.daemon.terminate().unwrap().success());
        shop.configure("bigint_unsigned: precise", letters);
        let (printed, code) = shop.dlq("replay", &[]);
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("will go out when the connector runs"), "{printed}");
        for failpoint in REPLAYING {
            shop.dies_at(failpoint).await;
        }
        shop.start();
        let ids = shop.wait_for_ids(usize::try_from(next - 1).unwrap()).await;
        assert_eq!(ids.len(), usize::try_from(next - 1).unwrap());
        shop.wait_for_letters(0);
        shop.same_ids_are_same_events().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_per_key_is_kept_over_deaths() {
    let shop = Shop::with(POSTGRES, TABLE.replace("numeric(30, 0)", "numeric").as_str()).await;
    shop.configure("decimal: precise", "policy: store, order: key");
    shop.start();
    shop.execute("insert into orders values (1, 1), (2, 1)").await;
    shop.wait_for_ids(2).await;
    shop.daemon.kill9().unwrap();
    shop.execute("update orders set value = 2 where id = 1").await;
    shop.execute("update orders set value = 'NaN' where id = 1").await;
    shop.execute("update orders set value = 3").await;
    for failpoint in ["after_quarantine", "after_durable", "before_checkpoint"] {
        shop.dies_at(failpoint).await;
    }
    shop.start();
    shop.execute("update orders set value = 4").await;
    // The bad one, and what came of its key since; at most one that came before it in the same batch.
    let is_so = |status: &serde_json::Value| {
        let waiting = status["dead_letters"]["waiting"].as_u64().unwrap_or_default();
        waiting >= 3
    };
    shop.daemon.wait_for(shop.name(), "three letters", is_so).unwrap();
    assert!(shop.daemon.terminate().unwrap().success());
    let values = |events: Vec<tailrace_tests::events::Event>, id: i64| {
        let of_key = events.into_iter().filter(|event| event.key_json()["id"] == id);
        of_key
            .map(|event| event.after()["value"].to_string())
            .collect::<Vec<_>>()
    };
    let newest = values(shop.orders().await, 2).pop().unwrap();
    shop.configure("decimal: string", "policy: store, order: key");
    let (printed, code) = shop.dlq("replay", &[]);
    assert_eq!(code, Some(0), "{printed}");
    shop.dies_at("replay_durable").await;
    shop.start();
    shop.wait_for_letters(0);
    shop.execute("update orders set value = 5 where id = 1").await;
    let what = "the last change";
    let all = eventually(what, DEADLINE, || async {
        let found = values(shop.orders().await, 1);
        Ok((found.last().map(String::as_str) == Some("\"5\"")).then_some(found))
    });
    let all = all.await.unwrap();
    let nan = all.iter().position(|value| value == "\"NaN\"").unwrap();
    assert_eq!(
        all[nan..].iter().rev().take(4).rev().collect::<Vec<_>>(),
        ["\"NaN\"", "\"3\"", "\"4\"", "\"5\""]
    );
    assert_ne!(newest, "null", "the other key has gone on");
}
