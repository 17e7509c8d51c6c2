//! Rows in, events out: whatever the database, and however it is read.

use tailrace_tests::database::Version;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion};

use super::{Outbox, PLACES, Place, id, row, told};

const TOPICS: [&str; 2] = ["outbox.event.Order", "outbox.event.Customer"];

/// Of a row that [`row`] makes.
fn expected(number: usize, aggregate: &str, key: &str, payload: &str) -> String {
    let id = id(number);
    format!(
        "{key} {payload} {} id={id} event_id={id} op=c type={aggregate}Changed trace=t{number} n={number} \
         2026-03-01T08:30:00.{number:06}Z",
        1_772_353_800_000_u64 + number as u64 / 1_000
    )
}

/// JSON as the database prints it, or as Tailrace does what MySQL's log holds in binary form.
fn printed(place: Place, json: &str) -> String {
    match place {
        Place::Server(Version::MySql(MySqlVersion::MySql97)) => json.replace(": ", ":").replace(", ", ","),
        _ => json.to_owned(),
    }
}

/// Rows from before the start and after it, read in one way.
async fn carries(place: Place, query: Option<&str>) {
    let shown = format!("{place:?} {query:?}");
    let outbox = Outbox::installed_at(place).await;
    let before = row(1, "Order", "7", "'{\"a\": 1}'") + &row(2, "Customer", "ada", "'[1, 2.5]'");
    outbox.execute(&before).await.unwrap();
    outbox.configure(query, "");
    outbox.start();
    let after = row(3, "Order", "7", "'{\"žluť\": \"é\"}'") + &row(4_000, "Order", "8", "'{}'");
    outbox.execute(&after).await.unwrap();
    outbox.wait_for_events(&TOPICS, 4).await;
    let told: Vec<_> = outbox.events_so_far(&TOPICS).await.iter().map(told).collect();
    let expected = [
        expected(1, "Order", "7", &printed(place, "{\"a\": 1}")),
        expected(3, "Order", "7", &printed(place, "{\"žluť\": \"é\"}")),
        expected(4_000, "Order", "8", "{}"),
        expected(2, "Customer", "ada", &printed(place, "[1, 2.5]")),
    ];
    assert_eq!(told, expected, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_log() {
    for place in PLACES.into_iter().filter(|place| *place != Place::Sqlite) {
        carries(place, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_queries_with_a_cursor() {
    for place in PLACES {
        carries(place, Some("mode: incrementing, id_column: sequence")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_queue_whose_rows_are_deleted() {
    for place in PLACES {
        carries(place, Some("mode: queue, id_column: sequence")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_deleted_at_once_are_in_the_log() {
    for place in PLACES.into_iter().filter(|place| *place != Place::Sqlite) {
        let outbox = Outbox::installed_at(place).await;
        outbox.configure(None, "deleted_by_application: true");
        outbox.start();
        let gone = format!(
            "begin; {} delete from outbox; commit; {}",
            row(1, "Order", "7", "'{}'"),
            row(2, "Order", "7", "'{}'")
        );
        outbox.execute(&gone).await.unwrap();
        let told: Vec<_> = outbox.events_so_far(&TOPICS).await.iter().map(told).collect();
        assert_eq!(told, [expected(1, "Order", "7", "{}"), expected(2, "Order", "7", "{}")]);

        // A query would see none of them.
        outbox.configure(Some("mode: queue, id_column: sequence"), "deleted_by_application: true");
        let printed = outbox.daemon.command("validate", &[]).unwrap();
        assert_eq!(printed.code, Some(2), "{}", printed.all());
        assert!(printed.all().contains("every event would be lost"), "{}", printed.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_the_log_need_no_table() {
    let outbox = Outbox::at(Place::Server(Version::Postgres(PostgresVersion::V17))).await;
    outbox
        .execute("create table orders (id int primary key)")
        .await
        .unwrap();
    outbox.configure_source(None, "message_prefixes: [outbox]", "message_prefix: outbox");
    outbox.start();
    let say = |content: &str| format!("select pg_logical_emit_message(true, 'outbox', '{content}');");
    let start = r#""aggregatetype":"Order","aggregateid":7,"type":"OrderChanged","#;
    let object = format!(r#"{{"id":"m1",{start}"payload":{{"b": 1,  "a": 2}},"headers":{{"trace":"x"}}}}"#);
    let text = format!(r#"{{"id":"m2",{start}"payload":"<order/>"}}"#);
    let statements = format!(
        "begin; insert into orders values (1); {} {} commit; begin; {} rollback",
        say(&object),
        say(&text),
        say(&text.replace("m2", "m3"))
    );
    outbox.execute(&statements).await.unwrap();
    outbox.wait_for_events(&[TOPICS[0]], 2).await;
    outbox.execute(&say(&text.replace("m2", "m4"))).await.unwrap();
    let events = outbox.wait_for_events(&[TOPICS[0]], 3).await;
    let briefly = |event: &tailrace_tests::events::Event| {
        let value = String::from_utf8_lossy(event.value.as_deref().unwrap()).into_owned();
        format!("{} {value} {}", event.event_id(), event.header("trace"))
    };
    let told: Vec<_> = events.iter().map(briefly).collect();
    assert_eq!(told, [r#"m1 {"b": 1,  "a": 2} x"#, "m2 <order/> ", "m4 <order/> "]);
    // Ordinary tables beside them are captured as ever.
    let orders = format!("{}.public.orders", outbox.name());
    assert_eq!(outbox.events(&[&orders]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_may_be_those_of_somebody_else() {
    for place in PLACES {
        let outbox = Outbox::at(place).await;
        let table = "create table outboxes (nr integer primary key, kind varchar(20), customer varchar(20), total integer, note varchar(20))";
        outbox.execute(table).await.unwrap();
        let query = (place == Place::Sqlite).then_some("mode: incrementing, id_column: nr, accept_gaps: true");
        let config = "topic: \"{prefix}.orders.{kind}\", payload: columns, headers: [{ column: note, name: remark }], \
             columns: { id: nr, aggregate_type: kind, aggregate_id: customer, type: kind }";
        outbox.configure(query, config);
        outbox.start();
        let rows = "insert into outboxes values (1, 'new order', 'ada', 5, 'n'), (2, 'new order', 'bob', null, null);";
        outbox.execute(rows).await.unwrap();
        let topic = format!("{}.orders.new_x20_order", outbox.name());
        let events = outbox.wait_for_events(&[&topic], 2).await;
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap()).into_owned();
                let (key, value) = (text(&event.key), text(&event.value));
                format!(
                    "{key} {value} {} {} {}",
                    event.event_id(),
                    event.header("type"),
                    event.header("remark")
                )
            })
            .collect();
        assert_eq!(
            told,
            [r#"ada {"total":5} 1 new order n"#, r#"bob {"total":null} 2 new order "#],
            "{place:?}"
        );
    }
}
