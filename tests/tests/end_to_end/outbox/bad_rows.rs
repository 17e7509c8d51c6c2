//! Rows that are no events, updates, and configurations that cannot be.

use tailrace_tests::database::Version;
use tailrace_tests::servers::PostgresVersion;

use super::{Outbox, PLACES, Place, row};

const ORDERS: [&str; 1] = ["outbox.event.Order"];
const POSTGRES: Place = Place::Server(Version::Postgres(PostgresVersion::V17));

/// The way that is there for each database.
fn query(place: Place) -> Option<&'static str> {
    (place == Place::Sqlite).then_some("mode: queue, id_column: sequence")
}

/// A row whose payload is no JSON, among others of the same aggregate.
fn poisoned() -> String {
    row(1, "Order", "7", "'{}'") + &row(2, "Order", "7", "'{\"half\":'") + &row(3, "Order", "7", "'{}'")
}

/// The installed table with a payload that may be any text.
async fn with_text_payloads(place: Place) -> Outbox {
    let outbox = Outbox::installed_at(place).await;
    let to_text = match place {
        Place::Server(Version::Postgres(_)) => "alter table outbox alter payload type text",
        Place::Server(Version::MySql(_)) => "alter table outbox modify payload text",
        Place::Sqlite => "alter table outbox drop column payload; alter table outbox add column payload text",
    };
    outbox.execute(to_text).await.unwrap();
    outbox
}

fn ids(events: &[tailrace_tests::events::Event]) -> Vec<usize> {
    let number = |id: &str| id.rsplit('-').next().unwrap_or_default().parse().unwrap_or_default();
    events.iter().map(|event| number(event.event_id())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_halts_until_it_may_become_a_dead_letter() {
    for place in PLACES {
        let outbox = with_text_payloads(place).await;
        outbox.configure(query(place), "payload_format: json");
        outbox.start();
        outbox.execute(&poisoned()).await.unwrap();
        let name = outbox.name();
        outbox.daemon.wait_for_state(name, "halted:outbox_row_invalid").unwrap();
        let reason = outbox.daemon.connector(name).unwrap()["reason"].to_string();
        for part in [&super::id(2), "payload_not_json", "dead_letters: {policy: store}"] {
            assert!(reason.contains(part), "{place:?}: {reason}");
        }
        outbox.daemon.kill9().unwrap();

        outbox.configure_letters(query(place), "payload_format: json", "policy: topic");
        outbox.start();
        let mut orders = ids(&outbox.events_so_far(&ORDERS).await);
        // The first may have gone out before the halt.
        orders.dedup();
        assert_eq!(orders, [1, 3], "{place:?}: around the bad one in order");
        let letters = outbox.events(&[&format!("{name}.dead_letters")]).await.unwrap();
        assert_eq!(letters.len(), 1, "{place:?}");
        let letter = letters[0].value_json();
        assert_eq!(letter["after"]["payload"], "{\"half\":", "the original text");
        assert_eq!(letter["key"], 7);
        assert_eq!(letters[0].event_id(), super::id(2));
        assert_eq!(letters[0].header("dead_letter_code"), "outbox_row_invalid");
        assert!(
            letters[0].header("dead_letter_reason").contains("payload_not_json"),
            "{}",
            letters[0]
        );
        assert!(letters[0].header("dead_letter_table").ends_with("outbox"));
        let metrics = outbox.daemon.get("/metrics").unwrap().body;
        let counted = format!("tailrace_dead_letters_total{{connector=\"{name}\"}} 1");
        assert!(metrics.contains(&counted), "{metrics}");

        // The table's rule was wrong, and not the row: mended, it goes out as the event that it is.
        assert!(outbox.daemon.terminate().unwrap().success());
        outbox.configure_letters(query(place), "", "policy: topic");
        outbox.start();
        let printed = outbox.daemon.command("dlq replay", &[name]).unwrap();
        assert_eq!(printed.code, Some(0), "{place:?}: {}", printed.all());
        let mut orders = ids(&outbox.events(&ORDERS).await.unwrap());
        orders.dedup();
        assert_eq!(orders, [1, 3, 2], "{place:?}: {}", printed.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_no_events() {
    let outbox = Outbox::installed_at(POSTGRES).await;
    outbox.configure(None, "");
    outbox.start();
    outbox.execute(&row(1, "Order", "7", "'{}'")).await.unwrap();
    outbox.wait_for_events(&ORDERS, 1).await;
    outbox
        .execute("update outbox set aggregateid = '8'; delete from outbox")
        .await
        .unwrap();
    assert_eq!(ids(&outbox.events_so_far(&ORDERS).await), [1]);
    let status = outbox.daemon.connector(outbox.name()).unwrap();
    let notice = status["notices"]["outbox_updated"].to_string();
    assert!(
        notice.contains("public.outbox") && notice.contains("1 since the start"),
        "{status}"
    );
    assert!(outbox.daemon.terminate().unwrap().success());

    outbox.configure(None, "updates: halt");
    outbox.start();
    let again = row(2, "Order", "7", "'{}'") + "update outbox set aggregateid = '8' where aggregateid = '7'";
    outbox.execute(&again).await.unwrap();
    outbox
        .daemon
        .wait_for_state(outbox.name(), "halted:outbox_updated")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_with_the_mapping() {
    for place in PLACES {
        let outbox = Outbox::installed_at(place).await;
        let check = |config: &str| {
            outbox.configure(query(place), config);
            outbox.daemon.command("check", &[]).unwrap()
        };
        let printed = check("");
        assert_eq!(printed.code, Some(0), "{place:?}: {}", printed.all());
        let printed = check("columns: { payload: body, timestamp: type }, topic: \"{nowhere}\"");
        assert_eq!(printed.code, Some(3), "{place:?}: {}", printed.all());
        for part in [
            "no column body, nowhere; it has sequence",
            "outbox.columns",
            "[outbox_columns_unfit]",
        ] {
            assert!(
                printed.all().contains(part),
                "{place:?}: {part} is not in {}",
                printed.all()
            );
        }
        let printed = check("tables: [nothing]");
        assert!(printed.all().contains("[outbox_tables_missing]"), "{}", printed.all());
        let described = outbox.daemon.command("describe", &[]).unwrap();
        assert!(!described.all().contains("outbox.event"), "{}", described.all());
        check("");
        let described = outbox.daemon.command("describe", &[]).unwrap();
        assert!(
            described.all().contains("outbox.event.{aggregatetype}"),
            "{}",
            described.all()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_waits_in_the_queue_for_its_bad_row() {
    for place in PLACES {
        let outbox = with_text_payloads(place).await;
        let queue = Some("mode: queue, id_column: sequence");
        outbox.configure(queue, "payload_format: json, hold_bad_rows: true");
        outbox.start();
        outbox
            .execute(&(poisoned() + &row(4, "Order", "8", "'{}'")))
            .await
            .unwrap();
        let orders = outbox.events_so_far(&ORDERS).await;
        assert_eq!(ids(&orders), [1, 4], "{place:?}: others flow");
        let name = outbox.name();
        // Told when a round is over; the first may have seen one of them.
        let both = |status: &serde_json::Value| {
            let notice = status["notices"]["outbox_held"].to_string();
            notice.contains("2 rows") && notice.contains("1 keys (7)")
        };
        outbox.daemon.wait_for(name, "two rows held", both).unwrap();

        let mend = format!("update outbox set payload = '{{}}' where id = '{}'", super::id(2));
        outbox.execute(&mend).await.unwrap();
        let orders = outbox.wait_for_events(&ORDERS, 4).await;
        assert_eq!(ids(&orders), [1, 4, 2, 3], "{place:?}: in their order");
        outbox
            .daemon
            .wait_for(name, "no notice", |status| status["notices"]["outbox_held"].is_null())
            .unwrap();
    }
}
