//! What people see and do, with a daemon and without.

use super::{MYSQL, Shop};

const TABLE: &str = "create table orders (id int primary key, value bigint unsigned)";
const BAD: &str = "18446744073709551615";

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_shown_and_dropped_with_a_daemon_and_without() {
    let shop = Shop::with(MYSQL, TABLE).await;
    shop.configure("bigint_unsigned: long", "policy: store, order: key");
    shop.start();
    shop.execute(&format!("insert into orders values (1, {BAD}), (2, {BAD}), (3, 1)"))
        .await;
    shop.execute("update orders set value = 7 where id = 1").await;
    shop.wait_for_letters(3);
    assert_eq!(shop.wait_for_ids(1).await, [3]);
    let name = shop.name().to_owned();

    let answer = shop.daemon.get(&format!("/connectors/{name}/dead_letters")).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let listing: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&listing["waiting"], &listing["order"]), (&3.into(), &"key".into()));
    let answer = shop.daemon.get(&format!("/connectors/{name}/dead_letters/1")).unwrap();
    assert!(answer.body.contains(BAD), "{}", answer.body);
    for unknown in [
        format!("/connectors/{name}/dead_letters/9"),
        "/connectors/x/dead_letters".to_owned(),
    ] {
        assert_eq!(shop.daemon.get(&unknown).unwrap().status, 404, "{unknown}");
    }
    let metrics = shop.daemon.get("/metrics").unwrap().body;
    for metric in ["dead_letters_total", "dead_letters_waiting"] {
        let line = format!("tailrace_{metric}{{connector=\"{name}\"}} 3");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("tailrace_dead_letters_oldest_seconds"), "{metrics}");

    let (printed, code) = shop.dlq("list", &[]);
    assert_eq!(code, Some(0), "{printed}");
    for part in [
        "3 dead letters waiting",
        "behind_dead_letter",
        "is above 9223372036854775807",
    ] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    // What waits behind another does not go out before it.
    let (printed, code) = shop.dlq("replay", &["3"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("behind letter 1"), "{printed}");

    // Dropping takes two steps, and names what is lost.
    let (printed, code) = shop.dlq("drop", &["1"]);
    assert_eq!(code, Some(2), "{printed}");
    assert!(
        printed.contains("{\"id\":\"1\"}") && printed.contains("--yes"),
        "{printed}"
    );
    shop.wait_for_letters(3);
    let (printed, code) = shop.dlq("drop", &["1", "--yes"]);
    assert_eq!(code, Some(0), "{printed}");
    shop.wait_for_letters(2);
    // The one behind it can be carried now.
    let (printed, code) = shop.dlq("replay", &["3"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(shop.wait_for_ids(2).await, [3, 1]);
    shop.execute("update orders set value = 8 where id = 1").await;

    assert!(shop.daemon.terminate().unwrap().success());
    let (printed, code) = shop.dlq("list", &["--all"]);
    assert_eq!(code, Some(0), "{printed}");
    for part in ["1 dead letter waiting", "dropped", "replayed"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    let (printed, code) = shop.dlq("drop", &["--yes"]);
    assert_eq!(code, Some(0), "{printed}");
    shop.start();
    shop.wait_for_letters(0);
    // Its key is free again.
    shop.execute("update orders set value = 9 where id = 2").await;
    assert_eq!(shop.wait_for_ids(3).await, [3, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_letters_than_may_wait_halt_and_nothing_is_passed_over() {
    let shop = Shop::with(MYSQL, TABLE).await;
    shop.configure("bigint_unsigned: long", "policy: store, maximum_count: 2");
    shop.start();
    for id in 1..=2 {
        shop.execute(&format!("insert into orders values ({id}, {BAD})")).await;
    }
    shop.wait_for_letters(2);
    shop.execute(&format!("insert into orders values (3, {BAD}), (4, 4)"))
        .await;
    shop.daemon
        .wait_for_state(shop.name(), "halted:dead_letters_full")
        .unwrap();
    // A daemon whose connector is halted can still be asked.
    let (printed, code) = shop.dlq("drop", &["1", "--yes"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(shop.daemon.terminate().is_ok());
    shop.start();
    shop.wait_for_letters(2);
    assert_eq!(shop.wait_for_ids(1).await, [4]);
    let letters = shop.letters();
    let keys: Vec<_> = letters
        .iter()
        .map(|letter| letter["key"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_refused_with_their_place() {
    let shop = Shop::with(MYSQL, TABLE).await;
    for (letters, says) in [
        ("order: key", "policy: halt` makes none"),
        ("policy: topic, topic: \"{table}\"", "is no topic"),
        ("policy: store, maximum_count: 0", "maximum of 0"),
        ("policy: drop", "halt"),
    ] {
        shop.configure("", letters);
        let printed = shop.daemon.command("validate", &[]).unwrap();
        assert_eq!(printed.code, Some(2), "{}", printed.all());
        assert!(printed.all().contains(says), "{}", printed.all());
        assert!(printed.all().contains("dead_letters"), "{}", printed.all());
    }
}
