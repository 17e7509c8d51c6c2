//! Contracts in the running program: in a pipeline, with a file, with tags and masks, and over deaths.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tailrace_tests::daemon::{Daemon, Printed};
use tailrace_tests::database::Database;
use tailrace_tests::events::Event;
use tailrace_tests::published::Published;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

use crate::capture::{Wanted, connector, database_with};

/// Everything takes a fraction of a second, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(60);

const CUSTOMERS: &str = "create table customers (id int primary key, email text, total numeric(10,2) not null)";

/// A contract that an application might write.
const CONTRACT: &str = r#"{"type": "record", "name": "com.example.Customer", "doc": "A customer.", "owner": "crm", "fields": [
    {"name": "id", "type": "long", "doc": "Its number."},
    {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}, "tags": ["financial"]}]}"#;

/// One connector into the embedded stream, with these further lines.
fn configure(daemon: &Daemon, database: &Database, format: &str, lines: &str) {
    let wanted = Wanted {
        tables: "[public.customers]",
        format,
        connector: lines,
        ..Wanted::default()
    };
    let connector = connector(database, &wanted);
    let stream = format!(
        "streams:\n  events: {{ type: file, path: \"{}\" }}\n",
        events_folder(daemon).display()
    );
    daemon.configure(&format!("{stream}connectors:\n{connector}")).unwrap();
}

/// A table with one row, and a daemon that is not configured yet.
async fn one_customer() -> (Database, Daemon) {
    let database = database_with(PostgresVersion::V17, CUSTOMERS).await;
    let row = "insert into customers values (1, 'ada@example.com', 10)";
    database.execute(row).await.unwrap();
    (database, Daemon::new("").unwrap())
}

fn events_folder(daemon: &Daemon) -> PathBuf {
    daemon.path().join("events")
}

fn contract(daemon: &Daemon, command: &str, arguments: &[&str]) -> Printed {
    daemon.command(&format!("contract {command}"), arguments).unwrap()
}

/// Waits until a topic has so many different rows, and gives their numbers in order of arrival.
async fn ids_when(daemon: &Daemon, topic: &str, count: usize) -> Vec<i64> {
    let published = Published::File(events_folder(daemon));
    let what = format!("that {topic} has {count} rows");
    let found = eventually(&what, DEADLINE, || async {
        let ids: Vec<i64> = published.events(topic).await?.iter().map(id_of).collect();
        let different: BTreeSet<&i64> = ids.iter().collect();
        Ok((different.len() >= count).then_some(ids))
    });
    found.await.unwrap()
}

fn id_of(event: &Event) -> i64 {
    event.value_json()["id"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_says_whether_a_migration_breaks_a_stream() {
    for version in [
        PostgresVersion::V17.into(),
        tailrace_tests::database::Version::from(MySqlVersion::MySql97),
    ] {
        let database = database_with(version, CUSTOMERS).await;
        let daemon = Daemon::new("").unwrap();
        configure(&daemon, &database, "codec: avro", "");
        let topic = database.topic("customers");
        let kept = daemon.path().join("contracts");
        let folder = kept.to_str().unwrap();
        let shown = contract(&daemon, "show", &["--out", folder]);
        assert_eq!(shown.code, Some(0), "{}", shown.all());
        let keeps = contract(&daemon, "check", &["--against", folder]);
        assert_eq!((keeps.code, keeps.stdout), (Some(0), format!("keeps   {topic}\n")));

        database
            .execute("alter table customers add column vat text")
            .await
            .unwrap();
        assert_eq!(contract(&daemon, "check", &["--against", folder]).code, Some(0));

        database
            .execute("alter table customers drop column total")
            .await
            .unwrap();
        let breaks = contract(&daemon, "check", &["--against", folder]);
        assert_eq!(breaks.code, Some(3), "{}", breaks.all());
        assert!(
            breaks.stdout.contains(&format!("BREAKS  {topic}: ")),
            "{}",
            breaks.all()
        );
        assert!(
            breaks.stdout.contains("field `total`: was dropped and had no default"),
            "{}",
            breaks.all()
        );

        let later = daemon.path().join("later");
        contract(&daemon, "show", &["--out", later.to_str().unwrap()]);
        let file = |folder: &PathBuf| folder.join(format!("{topic}.json")).to_str().unwrap().to_owned();
        let run = |arguments: &[&str]| {
            let arguments: Vec<&str> = ["contract", "diff"].iter().chain(arguments).copied().collect();
            tailrace_tests::daemon::run_binary(&arguments, daemon.path(), &[]).unwrap()
        };
        let diff = run(&[&file(&kept), &file(&later)]);
        assert_eq!(diff.code, Some(3), "{}", diff.all());
        assert!(
            diff.stdout.contains(&format!("{topic}-value: backward\n")),
            "{}",
            diff.all()
        );
        assert!(
            diff.stdout.contains(&format!("{topic}-key: full, the same\n")),
            "{}",
            diff.all()
        );
        assert_eq!(
            run(&[&file(&kept), &file(&later), "--compatibility", "backward"]).code,
            Some(0)
        );
        assert_eq!(
            run(&[&file(&kept), &file(&later), "--compatibility", "some"]).code,
            Some(2)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_gone_and_a_folder_without_contracts_are_told() {
    let database = database_with(PostgresVersion::V17, CUSTOMERS).await;
    let daemon = Daemon::new("").unwrap();
    configure(&daemon, &database, "codec: avro", "");
    let kept = daemon.path().join("contracts");
    let folder = kept.to_str().unwrap();
    let none = contract(&daemon, "check", &["--against", folder]);
    assert_eq!(none.code, Some(1));
    assert!(
        none.stderr
            .contains("name a file or folder that `tailrace contract show --out` wrote"),
        "{}",
        none.all()
    );
    contract(&daemon, "show", &["--out", folder]);
    configure(&daemon, &database, "codec: avro", "prefix: elsewhere");
    let gone = contract(&daemon, "check", &["--against", folder]);
    assert_eq!(gone.code, Some(3));
    assert!(
        gone.stdout
            .contains("no table of the configuration is published there any more"),
        "{}",
        gone.all()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_tags_reach_the_events_the_registry_and_the_catalogue() {
    let (database, daemon) = one_customer().await;
    let file = daemon.path().join("customers.avsc");
    std::fs::write(&file, CONTRACT).unwrap();
    let topic = database.topic("customers");
    let lines = format!(
        "contract:\n  topics:\n    {topic}:\n      file: \"{}\"\n      trigger: A row changed.\n      tags: [\"namespace:sales\"]",
        file.display()
    );
    configure(&daemon, &database, "codec: avro", &lines);
    daemon.start().unwrap();
    daemon.wait_for_state(database.name(), "streaming").unwrap();

    let printed = daemon.command("tail", &[&topic, "--json", "--limit", "1"]).unwrap();
    let event: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(event["value"], serde_json::json!({"id": 1, "total": "10.00"}));

    let status = daemon.connector(database.name()).unwrap();
    let told = &status["topics"][&topic];
    assert_eq!(
        (&told["owner"], &told["trigger"]),
        (&"crm".into(), &"A row changed.".into())
    );
    assert_eq!(told["tags"], serde_json::json!(["namespace:sales"]));
    assert_eq!(told["column_tags"], serde_json::json!({"total": ["financial"]}));
    assert_eq!(told["left_out"], serde_json::json!(["email"]));

    let answer = daemon.get(&format!("/subjects/{topic}-value/versions/1")).unwrap();
    let registered: Value = serde_json::from_str(&answer.body).unwrap();
    let metadata = &registered["metadata"];
    assert_eq!(metadata["properties"]["owner"], "crm");
    assert_eq!(metadata["tags"], serde_json::json!({"**.total": ["financial"]}));
    let schema: Value = serde_json::from_str(registered["schema"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&schema["namespace"], &schema["doc"]),
        (&"com.example".into(), &"A customer.".into())
    );

    // What the file says a row must be, it is not any more.
    database
        .execute("alter table customers alter column total type text; insert into customers values (2, null, 'much')")
        .await
        .unwrap();
    daemon.wait_for_state(database.name(), "halted").unwrap();
    let reason = daemon.connector(database.name()).unwrap()["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.contains("customers.avsc") && reason.contains("field `total`"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_must_be_masked_is_not_published_before_a_rule_masks_it() {
    let (database, daemon) = one_customer().await;
    let topic = database.topic("customers");
    let tagged = format!(
        "contract:\n  masked_tags: [pii]\n  topics: {{ {topic}: {{ columns: {{ email: {{ tags: [pii] }} }} }} }}"
    );
    configure(&daemon, &database, "", &tagged);
    let checked = daemon.command("check", &[]).unwrap();
    assert_eq!(checked.code, Some(3), "{}", checked.all());
    assert!(checked.stdout.contains("[column_not_masked]"), "{}", checked.all());
    daemon.start().unwrap();
    daemon.wait_for_state(database.name(), "halted").unwrap();
    let status = daemon.connector(database.name()).unwrap();
    assert_eq!(status["code"], "column_not_masked");
    assert!(
        status["reason"].as_str().unwrap().contains("add `mask: { email: … }`"),
        "{status}"
    );
    daemon.terminate().unwrap();

    let masked = format!("{tagged}\ntransforms:\n  - mask: {{ email: {{ fixed: \"***\" }} }}");
    configure(&daemon, &database, "", &masked);
    daemon.start().unwrap();
    assert_eq!(ids_when(&daemon, &topic, 1).await, [1]);
    let events = Published::File(events_folder(&daemon)).events(&topic).await.unwrap();
    assert_eq!(events[0].value_json()["email"], "***");
}

/// What breaks readers while the daemon dies: every row is in the topic of its version, and each topic is in order.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_both_versions_are_where_they_belong_whenever_the_daemon_dies() {
    let database = database_with(
        PostgresVersion::V17,
        "create table customers (id int primary key, total int)",
    )
    .await;
    let daemon = Daemon::new("").unwrap();
    configure(&daemon, &database, "", "contract: { on_incompatible: new_topic }");
    daemon.start().unwrap();
    daemon.wait_for_state(database.name(), "streaming").unwrap();
    daemon.terminate().unwrap();
    database
        .execute(
            "insert into customers select i, i from generate_series(1, 50) i;
             alter table customers alter column total type text;
             insert into customers select i, 'x' from generate_series(51, 100) i",
        )
        .await
        .unwrap();
    for failpoint in [
        "after_enqueue",
        "after_durable",
        "before_checkpoint",
        "after_checkpoint",
    ] {
        daemon.start_armed(&format!("{failpoint}=kill")).unwrap();
        let died = eventually("that the daemon died", DEADLINE, || async {
            Ok(daemon.ended()?.map(drop))
        });
        died.await.unwrap();
    }
    daemon.start().unwrap();
    let topic = database.topic("customers");
    let first = ids_when(&daemon, &topic, 50).await;
    let second = ids_when(&daemon, &format!("{topic}.v2"), 50).await;
    assert_eq!(first.into_iter().collect::<BTreeSet<i64>>(), (1..=50).collect());
    assert_eq!(second.into_iter().collect::<BTreeSet<i64>>(), (51..=100).collect());
}
