//! Compared with the topics alone: the sources are in another file, or are not asked.

use std::{fs, thread};

use tailrace_core::task::spawn_named;
use tailrace_tests::database::Version;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, shared_kafka};

use super::{Pair, Parts, ROWS, Setup, listed};

/// Rows are on several partitions, and what is said of them is in no order between these.
fn kafka() -> Setup {
    let bootstrap = shared_kafka().unwrap().bootstrap();
    Setup {
        stream: format!("type: kafka, bootstrap_servers: [\"{bootstrap}\"], topics: {{ partitions: 3 }}"),
        ..Setup::default()
    }
}

fn is_equal(pair: &Pair, arguments: &[&str]) {
    let (orders, parts) = pair.report(arguments, 0);
    for table in [orders, parts] {
        assert_eq!(table["compared_with"], "topic", "{table:#}");
        assert_eq!(
            (&table["equal"], &table["rows"]),
            (&ROWS.into(), &ROWS.into()),
            "{table:#}"
        );
        assert_eq!(
            (&table["keys"], &table["left_out"]),
            (&serde_json::json!([]), &serde_json::json!([])),
            "{table:#}"
        );
    }
}

async fn drift_from_topics_is_found_and_mended(target: impl Into<Version>, setup: Setup) {
    let pair = Pair::start_with(target, setup).await;
    is_equal(&pair, &["--stream"]);
    // Updates and deletes are folded, and nobody but the sink is there any more.
    let changes = "update orders set note = 'newer' where id % 100 = 1; delete from orders where id = 2; insert into orders (id, paid) values (2, true);
                   update parts set customer = 'moved' where customer = 'C7' and number = 7";
    pair.source.execute(changes).await.unwrap();
    pair.source.wait_until_carried(&pair.daemon).await.unwrap();
    pair.wait_for("select count(*) from parts where customer = 'moved'", "1")
        .await;
    pair.wait_for("select count(*) from orders where note is null", "1")
        .await;
    pair.restart(Parts::Sink);
    is_equal(&pair, &[]);

    // A topic that says more than memory holds is read several times, and so is the target.
    let chunks = |arguments: &[&str]| pair.report(arguments, 0).0["chunks"].as_u64().unwrap();
    assert!(chunks(&["--memory-mb", "1"]) >= 2 * chunks(&[]));
    is_equal(&pair, &["--memory-mb", "1"]);

    let drift =
        "update orders set note = 'secret' where id = 7; update orders set price = 0, paid = not paid where id = 900;
                 delete from orders where id = 8; delete from parts where customer = 'C5' and number = 3;
                 insert into parts (customer, number, amount) values ('C5', 77, 1)";
    pair.target.execute(drift).await.unwrap();
    for arguments in [&[][..], &["--memory-mb", "1"]] {
        let (orders, parts) = pair.report(arguments, 6);
        assert_eq!(
            listed(&orders),
            ["different id=7 note", "missing id=8", "different id=900 price,paid"],
            "{orders:#}"
        );
        assert_eq!(
            listed(&parts),
            ["missing customer=C5, number=3", "extra customer=C5, number=77"],
            "{parts:#}"
        );
    }
    let text = pair
        .verify(&["--table", "orders", "--show-values", "--keys", "1"])
        .stdout;
    assert!(
        text.contains("note `note 7` in the topic, `secret` in the target"),
        "{text}"
    );

    let (orders, parts) = pair.report(&["--repair"], 0);
    assert_eq!((&orders["repaired"], &parts["repaired"]), (&3.into(), &2.into()));
    is_equal(&pair, &[]);
    // The sources agree, and the sink goes on.
    pair.restart(Parts::Both);
    pair.is_equal();
    pair.source
        .execute("update orders set note = 'on' where id = 7")
        .await
        .unwrap();
    pair.wait_for("select note from orders where id = 7", "on").await;
    is_equal(&pair, &["--stream"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_from_a_topic_of_files_is_found_and_mended_in_postgres() {
    drift_from_topics_is_found_and_mended(PostgresVersion::V17, Setup::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_from_a_topic_of_kafka_is_found_and_mended_in_mysql() {
    drift_from_topics_is_found_and_mended(MySqlVersion::MySql97, kafka()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_says_and_nobody_has_written_is_lag() {
    let pair = Pair::start(PostgresVersion::V17).await;
    pair.restart(Parts::Source);
    let changes = "update orders set note = 'newer' where id = 10; delete from parts where customer = 'C1'";
    pair.source.execute(changes).await.unwrap();
    pair.source.wait_until_carried(&pair.daemon).await.unwrap();
    pair.daemon.terminate().unwrap();
    pair.configure(&pair.target_url(), Parts::Sink);
    let (orders, parts) = pair.report(&["--wait", "1"], 0);
    assert_eq!(listed(&orders), ["lag id=10 note"], "{orders:#}");
    assert_eq!((&parts["lag"], &parts["extra"]), (&10.into(), &0.into()), "{parts:#}");
    // A source that nobody reads is nothing that the topic could know of.
    pair.source
        .execute("update orders set note = 'newest' where id = 10")
        .await
        .unwrap();
    pair.daemon.start().unwrap();
    pair.wait_for("select note from orders where id = 10", "newer").await;
    pair.wait_for("select count(*) from parts where customer = 'C1'", "0")
        .await;
    let (orders, parts) = pair.report(&[], 0);
    assert_eq!((&orders["equal"], &parts["equal"]), (&ROWS.into(), &(ROWS - 10).into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_sink_is_not_undone_by_what_a_topic_said() {
    let pair = Pair::start_with(PostgresVersion::V17, kafka()).await;
    let writing = pair.source.clone();
    let writer = spawn_named("writer", async move {
        for round in 0..300 {
            let statement = format!(
                "update orders set note = 'round {round}' where id % 50 = {}; delete from parts where customer = 'C{round}' and number = 3;
                 insert into parts values ('C{}', 3, {round}) on conflict do nothing",
                round % 50,
                round / 2
            );
            writing.execute(&statement).await.unwrap();
        }
    });
    let drift =
        "update orders set price = 0 where id in (5, 55, 105); delete from parts where customer = 'C9' and number = 8";
    pair.target.execute(drift).await.unwrap();
    while !writer.is_finished() {
        let printed = pair.verify(&["--json", "--stream", "--repair"]);
        assert_eq!(printed.code, Some(0), "{}", printed.all());
    }
    writer.await.unwrap();
    pair.source.wait_until_carried(&pair.daemon).await.unwrap();
    let (told, of_source) = (pair.report(&["--stream"], 0), pair.report(&[], 0));
    for table in [told.0, told.1, of_source.0, of_source.1] {
        assert_eq!(
            (&table["keys"], &table["equal"]),
            (&serde_json::json!([]), &table["rows"]),
            "{table:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn comparisons_of_one_sink_at_a_time_delete_nothing_that_the_others_read() {
    let pair = Pair::start_with(PostgresVersion::V17, kafka()).await;
    pair.target
        .execute("update orders set price = 0 where id = 5")
        .await
        .unwrap();
    let arguments = ["--stream", "--repair", "--table", "orders"];
    let printed = thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| pair.verify(&arguments))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    for printed in printed {
        // One that has to share the topic says so.
        let is_refused = printed.code == Some(1) && printed.all().contains("group_waits");
        assert!(printed.code == Some(0) || is_refused, "{}", printed.all());
    }
    let rows = pair.target.query_value("select count(*) from orders").await.unwrap();
    assert_eq!(rows, ROWS.to_string());
    let (orders, _) = pair.report(&["--stream", "--repair"], 0);
    assert_eq!(orders["extra"], 0, "{orders:#}");
    is_equal(&pair, &["--stream"]);
}

/// As a retention does: all segments but the last go.
fn remove_beginning(pair: &Pair, table: &str) {
    let topics = fs::read_dir(pair.daemon.path().join("events")).unwrap();
    let mut topics = topics.map(|topic| topic.unwrap().path());
    let topic = topics.find(|topic| topic.to_string_lossy().ends_with(table)).unwrap();
    let mut folders = fs::read_dir(topic).unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.find(|entry| entry.is_dir()).unwrap();
    let mut segments: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    assert!(segments.len() > 1, "{segments:?}");
    for segment in segments.iter().take(segments.len() - 1) {
        fs::remove_file(segment).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_its_beginning_says_nothing_of_older_rows() {
    let setup = Setup {
        files: ", segment_bytes: 65536",
        ..Setup::default()
    };
    let pair = Pair::start_with(PostgresVersion::V17, setup).await;
    pair.source
        .execute("update orders set price = price + 1 where id > 600")
        .await
        .unwrap();
    let price = "select count(*) from orders where id > 600 and price = id * 1.5 + 1";
    pair.wait_for(price, &(ROWS - 600).to_string()).await;
    pair.daemon.terminate().unwrap();
    remove_beginning(&pair, "orders");
    pair.daemon.start().unwrap();

    let drift = "update orders set note = 'drift' where id = 1203; delete from orders where id = 1202;
                 insert into orders (id, paid) values (9999, true); update orders set note = 'untold' where id = 1";
    pair.target.execute(drift).await.unwrap();
    let (orders, _) = pair.report(&["--stream"], 6);
    assert_eq!(
        listed(&orders),
        ["missing id=1202", "different id=1203 note"],
        "{orders:#}"
    );
    let untold = orders["untold"].as_u64().unwrap();
    assert!(untold >= 600, "{orders:#}");
    assert_eq!(orders["extra"], 0, "{orders:#}");

    let (orders, _) = pair.report(&["--stream", "--repair"], 0);
    assert_eq!(
        (&orders["repaired"], &orders["untold"]),
        (&2.into(), &untold.into()),
        "{orders:#}"
    );
    pair.wait_for("select count(*) from orders where id = 9999", "1").await;
    let text = pair.verify(&["--stream", "--table", "orders"]).stdout;
    assert!(text.contains(&format!("not told of: {untold} rows")), "{text}");
    // The source knows of both.
    let (orders, _) = pair.report(&[], 6);
    assert_eq!(listed(&orders), ["different id=1 note", "extra id=9999"], "{orders:#}");
}
