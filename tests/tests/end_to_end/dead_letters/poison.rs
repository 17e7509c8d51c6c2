//! Values that a format cannot hold, from real databases.

use super::{MARIADB, MYSQL, POSTGRES, Shop};
use tailrace_tests::database::Version;

/// Where, the column's type, a format that cannot hold every value, a value that it can and one that it cannot, what the
/// letter says, a format that holds both.
type Poison = (
    Version,
    &'static str,
    &'static str,
    [&'static str; 2],
    &'static str,
    &'static str,
);

const POISON: [Poison; 5] = [
    (
        MYSQL,
        "bigint unsigned",
        "bigint_unsigned: long",
        ["9223372036854775807", "18446744073709551615"],
        "is above 9223372036854775807",
        "bigint_unsigned: precise",
    ),
    (
        MARIADB,
        "time(6)",
        "time: connect",
        ["'596:00:00'", "'838:59:59'"],
        "is a time of more than 596 hours",
        "time: adaptive_time_microseconds",
    ),
    (
        MYSQL,
        "datetime(6)",
        "time: nanoseconds",
        ["'2262-04-11 00:00:00'", "'2300-01-01 00:00:00'"],
        "which nanoseconds cannot hold",
        "time: iso",
    ),
    (
        POSTGRES,
        "timestamp",
        "time: nanoseconds",
        ["'2262-04-11 00:00:00'", "'1600-01-01 00:00:00'"],
        "which nanoseconds cannot hold",
        "time: iso",
    ),
    (
        POSTGRES,
        "numeric",
        "decimal: precise",
        ["1.5", "'NaN'"],
        "is NaN or infinite",
        "decimal: string",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_format_cannot_hold_is_set_aside_and_goes_out_when_that_is_mended() {
    for (version, column, format, [good, bad], says, mended) in POISON {
        let table = format!("create table orders (id int primary key, value {column})");
        let shop = Shop::with(version, &table).await;
        // One is there before the log begins, and one comes by it.
        let insert = |id: u32, value: &str| format!("insert into orders values ({id}, {value});");
        shop.execute(&(insert(1, good) + &insert(2, bad) + &insert(3, good)))
            .await;
        shop.configure(format, "policy: topic");
        shop.start();
        shop.execute(&(insert(4, good) + &insert(5, bad) + &insert(6, good)))
            .await;
        let mut ids = shop.wait_for_ids(4).await;
        ids.sort_unstable();
        assert_eq!(ids, [1, 3, 4, 6], "{format}: all others go on");
        let status = shop.wait_for_letters(2);
        assert!(
            status["dead_letters"]["newest_reason"].as_str().unwrap().contains(says),
            "{status}"
        );

        let letters = shop.letters();
        assert_eq!(letters[0]["op"], "r");
        assert_eq!(letters[1]["op"], "c");
        for (letter, id) in letters.iter().zip(["2", "5"]) {
            assert_eq!(letter["key"]["id"], id);
            assert_eq!(letter["code"], "value_not_encodable");
            assert!(letter["reason"].as_str().unwrap().contains(says), "{letter}");
        }
        let shown = shop.json("show", &["2"]);
        let text = shown["after"]["value"].as_str().unwrap();
        let expected = bad.trim_matches('\'');
        assert!(
            text.starts_with(expected),
            "{text} is {expected}, as the database prints it"
        );
        let copies = shop.topic(&format!("{}.dead_letters", shop.name())).await;
        assert_eq!(copies.len(), 2);
        assert_eq!(copies[1].event_id(), letters[1]["event_id"]);
        assert_eq!(copies[1].value_json()["after"]["value"], text);
        assert!(copies[1].header("dead_letter_reason").contains(says));

        // Not mended: they wait as before, and say so.
        let (printed, code) = shop.dlq("replay", &[]);
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("waits as before"), "{printed}");
        assert_eq!(shop.letters()[0]["attempts"], 2);

        assert!(shop.daemon.terminate().unwrap().success());
        shop.configure(mended, "policy: topic");
        shop.start();
        let (printed, code) = shop.dlq("replay", &[]);
        assert_eq!(code, Some(0), "{printed}");
        let events = shop.orders().await;
        assert_eq!(events.len(), 6, "{format}: each once");
        assert_eq!(events[5].key_json()["id"], 5);
        assert_eq!(events[5].event_id(), letters[1]["event_id"], "the same event as ever");
        assert_eq!(events[4].operation(), "r");
        shop.wait_for_letters(0);
        assert_eq!(shop.letters().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_a_value_that_the_format_cannot_hold_halts() {
    let shop = Shop::with(MYSQL, "create table orders (id int primary key, value bigint unsigned)").await;
    shop.configure("bigint_unsigned: long", "");
    shop.start();
    shop.execute("insert into orders values (1, 1); insert into orders values (2, 18446744073709551615)")
        .await;
    shop.daemon
        .wait_for_state(shop.name(), "halted:value_not_encodable")
        .unwrap();
}
