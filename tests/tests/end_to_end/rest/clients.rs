//! Clients of Kafka Connect that know nothing of Tailrace.

use serde_json::{Value, json};
use tailrace_tests::clients::{kc, live_with_java, live_with_python};
use tailrace_tests::servers::PostgresVersion;

use super::tls::Tokens;
use super::{ROWS, Shop};

/// What a client found at a step.
fn found<'s>(steps: &'s [Value], step: &str) -> &'s Value {
    let mut of_step = steps.iter().filter(|said| said["step"] == step);
    of_step.next().map_or(&Value::Null, |said| &said["found"])
}

fn lived(shop: &Shop, steps: &[Value]) {
    let name = shop.name();
    for (step, expected) in [
        ("cluster", json!(true)),
        ("exists before", json!(false)),
        ("exists", json!(true)),
        ("names", json!([name])),
        ("class", json!("tailrace.source.postgres")),
        ("running", json!("RUNNING")),
        ("tasks", json!([[0, true]])),
        ("paused", json!("PAUSED")),
        ("resumed", json!("RUNNING")),
        ("restarted", json!("RUNNING")),
        ("changed", json!("entity")),
        ("logger", json!("DEBUG")),
        ("names after", json!([])),
    ] {
        assert_eq!(*found(steps, step), expected, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_connect_api_and_kafkaconnect_see_a_connector_through_its_life() {
    let shop = Shop::of(ROWS).await;
    let steps = live_with_python(&shop.daemon.url(), None, shop.name(), &shop.flat()).unwrap();
    lived(&shop, &steps);
    let name = shop.name();
    for (step, expected) in [
        ("plugins", json!(true)),
        ("wrong", json!(1)),
        ("created", json!(name)),
        ("state", json!("RUNNING")),
        ("config", json!("events")),
        ("info", json!("source")),
        ("tasks of it", json!(0)),
        ("pause", json!("")),
        ("resume", json!("")),
        ("restart", json!("")),
        ("list", json!([name])),
        ("topics", json!([name])),
        ("remove", json!("")),
        ("gone", json!(true)),
    ] {
        assert_eq!(*found(&steps, step), expected, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_connect_api_shows_a_token_as_the_password_that_it_knows() {
    let mut tokens = None;
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| tokens = Some(Tokens::set(daemon))).await;
    let tokens = tokens.unwrap();
    shop.daemon.start().unwrap();
    let who = Some(("alice", tokens.admin.as_str()));
    let steps = live_with_python(&shop.daemon.url(), who, shop.name(), &shop.flat()).unwrap();
    lived(&shop, &steps);
    assert_eq!(*found(&steps, "stranger"), 401);
    shop.wait_for_entry("alice", "deleted", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_java_reads_every_answer_into_types_of_its_own() {
    let mut tokens = None;
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| tokens = Some(Tokens::set(daemon))).await;
    let tokens = tokens.unwrap();
    shop.daemon.start().unwrap();
    let (url, name) = (shop.daemon.url(), shop.name());
    let steps = live_with_java(&url, ("alice", &tokens.admin), name, &shop.flat()).unwrap();
    for (step, expected) in [
        ("plugins", json!(true)),
        ("errors", json!(0)),
        ("created", json!(name)),
        ("running", json!("RUNNING")),
        ("expanded", json!("source")),
        ("tasks", json!(1)),
        ("topics", json!(name)),
        ("config", json!("events")),
        ("paused", json!("PAUSED")),
        ("resumed", json!("RUNNING")),
        ("restarted", json!(true)),
        ("task restarted", json!(true)),
        ("stopped", json!("STOPPED")),
        ("changed", json!("entity")),
        ("refused", json!(true)),
        ("deleted", json!(true)),
        ("gone", json!(true)),
        ("names", json!([])),
    ] {
        assert_eq!(*found(&steps, step), expected, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kc_does_everything_that_it_can() {
    let mut tokens = None;
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| tokens = Some(Tokens::set(daemon))).await;
    let who = format!("alice:{}", tokens.unwrap().admin);
    shop.daemon.start().unwrap();
    let name = shop.name();
    let text = |arguments: &[&str]| kc(&shop.daemon.url(), Some(&who), arguments).unwrap();
    let json = |arguments: &[&str]| -> Value {
        let printed = text(arguments);
        let last = printed.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"))
    };
    assert!(json(&["info"])["version"].is_string());
    assert!(json(&["list-plugins"]).as_array().unwrap().len() > 5);
    let config = json!({ "name": name, "config": shop.flat() }).to_string();
    assert_eq!(json(&["create", "-d", &config])["name"], name);
    shop.wait_for("streaming");
    assert_eq!(json(&["list"]), json!([name]));
    assert_eq!(
        json(&["list", "--expand", "status"])[name]["status"]["tasks"][0]["state"],
        "RUNNING"
    );
    assert_eq!(json(&["list", "--state", "running"]), json!([name]));
    assert_eq!(json(&["list", "--state", "failed"]), json!([]));
    assert_eq!(json(&["get", name])["type"], "source");
    assert_eq!(json(&["config", name])["stream"], "events");
    assert_eq!(json(&["status", name])["connector"]["state"], "RUNNING");
    assert_eq!(json(&["list-tasks", name])[0]["id"]["task"], 0);
    assert_eq!(json(&["task-status", name, "0"])["state"], "RUNNING");
    text(&["pause", name]);
    shop.wait_for_words(("PAUSED", "PAUSED"));
    text(&["resume", "--all"]);
    shop.wait_for_words(("RUNNING", "RUNNING"));
    assert_eq!(json(&["restart", name])["name"], name);
    assert_eq!(json(&["restart", name, "--include-tasks"])["name"], name);
    assert_eq!(
        json(&["restart", name, "--include-tasks", "--only-failed"])["name"],
        name
    );
    text(&["restart-task", name, "0"]);
    shop.wait_for("streaming");
    shop.settle().await;
    assert_eq!(
        json(&["list-topics", name])[name]["topics"],
        json!([shop.database.topic("t")])
    );
    let mut changed = shop.flat();
    changed["format.envelope"] = json!("entity");
    assert_eq!(
        json(&["update", name, "-d", &changed.to_string()])["config"]["format.envelope"],
        "entity"
    );
    shop.wait_for("streaming");
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
    // What is refused is shown with its reason or its code.
    assert!(text(&["create", "-d", &config]).contains("409"));
    assert!(text(&["reset-topics", name]).contains("403"));
    assert!(text(&["status", "nosuch"]).contains("404"));
    text(&["delete", name]);
    assert_eq!(json(&["list"]), json!([]));
    let stranger = kc(&shop.daemon.url(), Some("alice:nobody"), &["list"]).unwrap();
    assert!(stranger.contains("401"), "{stranger}");
}
