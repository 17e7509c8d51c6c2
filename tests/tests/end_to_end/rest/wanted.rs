//! Pausing, going on, stopping and beginning anew, of connectors of the file and of those that were made over HTTP.

use serde_json::{Value, json};
use tailrace_tests::servers::PostgresVersion;

use super::{ROWS, Shop, versions};

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_reads_nothing_and_going_on_reads_everything() {
    for version in versions() {
        let shop = Shop::new(version, ROWS).await;
        shop.create();
        shop.settle().await;
        shop.must(202, "PUT", &shop.at("/pause"), &Value::Null);
        shop.wait_for_words(("PAUSED", "PAUSED"));
        shop.execute("insert into t values (4, 'd')").await;
        shop.must(202, "PUT", &shop.at("/pause"), &Value::Null);
        assert_eq!(shop.ids("t").await, [1, 2, 3]);
        shop.must(200, "GET", &format!("/readyz/{}", shop.name()), &Value::Null);
        shop.resume();
        shop.wait_for_words(("RUNNING", "RUNNING"));
        shop.settle().await;
        assert_eq!(shop.ids("t").await, [1, 2, 3, 4], "{version:?}");
        for (what, part) in [("paused", "nothing is read"), ("resumed", "to run")] {
            shop.wait_for_entry("anonymous", what, part);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_closes_everything_and_restarts_do_not_wake_it() {
    for version in versions() {
        let shop = Shop::new(version, ROWS).await;
        shop.create();
        shop.settle().await;
        shop.stop();
        shop.wait_for_words(("STOPPED", "none"));
        assert_eq!(shop.get(&shop.at("/tasks")), json!([]));
        assert_eq!(shop.get(&shop.at(""))["tasks"], json!([]));
        if shop.database.postgres().is_ok() {
            let slot = shop.database.slot();
            let idle = format!("not (select active from pg_replication_slots where slot_name = '{slot}')");
            shop.database.wait_until(&idle).await.unwrap();
        }
        shop.execute("insert into t values (4, 'd')").await;
        shop.must(204, "POST", &shop.at("/restart"), &Value::Null);
        shop.wait_for_words(("STOPPED", "none"));
        assert_eq!(shop.ids("t").await, [1, 2, 3]);
        shop.resume();
        shop.wait_for("streaming");
        shop.settle().await;
        assert_eq!(shop.ids("t").await, [1, 2, 3, 4], "{version:?}");
        shop.wait_for_entry("anonymous", "resumed", "");
        let restarted = shop.journal().into_iter().find(|entry| entry.1 == "restarted");
        assert_eq!(restarted, None, "nothing was begun anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_runs_knows_its_own_slot() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    shop.settle().await;
    let codes = || {
        let preflight = shop.get(&shop.at("/preflight"));
        let findings = preflight["findings"].as_array().unwrap().iter();
        let codes = findings.map(|finding| finding["code"].as_str().unwrap().to_owned());
        codes.collect::<Vec<_>>()
    };
    assert!(!codes().contains(&"slot_active".to_owned()), "{:?}", codes());
    shop.must(202, "PUT", &shop.at("/pause"), &Value::Null);
    assert!(!codes().contains(&"slot_active".to_owned()), "{:?}", codes());
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_answer_as_they_were_asked() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    shop.settle().await;
    let restarts = || shop.journal().iter().filter(|entry| entry.1 == "restarted").count();
    let mut expected = 0;
    for (query, status, restarts_it) in [
        ("", 204, true),
        ("?includeTasks=false&onlyFailed=false", 204, true),
        ("?includeTasks=true", 202, true),
        ("?includeTasks=true&onlyFailed=true", 202, false),
        ("?onlyFailed=true", 202, false),
    ] {
        let answer = shop.must(status, "POST", &shop.at(&format!("/restart{query}")), &Value::Null);
        if status == 202 {
            let said = answer.json().unwrap();
            assert_eq!(said["name"], shop.name());
            assert!(said["tasks"][0]["state"].is_string(), "{said}");
        }
        shop.wait_for("streaming");
        expected += usize::from(restarts_it);
        if restarts_it {
            let grown = tailrace_tests::servers::poll_until("an entry", super::DEADLINE, || {
                Ok((restarts() == expected).then_some(()))
            });
            grown.unwrap();
        }
    }
    shop.must(204, "POST", &shop.at("/tasks/0/restart"), &Value::Null);
    shop.must(404, "POST", &shop.at("/tasks/7/restart"), &Value::Null);
    shop.must(400, "POST", &shop.at("/restart?includeTasks=perhaps"), &Value::Null);
    shop.must(404, "POST", "/connectors/nosuch/restart", &Value::Null);
    shop.wait_for("streaming");
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
    assert_eq!(restarts(), expected + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_connector_is_begun_anew_by_a_restart_of_what_failed() {
    let shop = Shop::of("create table other (id int)").await;
    let mut config = shop.flat();
    config["source.tables"] = json!("public.t");
    shop.must(201, "PUT", &shop.at("/config"), &config);
    shop.wait_for("halted");
    shop.wait_for_words(("RUNNING", "FAILED"));
    shop.execute(ROWS).await;
    shop.must(
        202,
        "POST",
        &shop.at("/restart?includeTasks=true&onlyFailed=true"),
        &Value::Null,
    );
    shop.wait_for_words(("RUNNING", "RUNNING"));
    shop.wait_for("streaming");
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_outlives_the_process() {
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |_| {}).await;
    shop.configure(&shop.in_file());
    shop.daemon.start().unwrap();
    shop.wait_for("streaming");
    shop.settle().await;
    for (verb, status, words) in [
        ("pause", 202, ("PAUSED", "PAUSED")),
        ("stop", 204, ("STOPPED", "none")),
        ("pause", 202, ("PAUSED", "PAUSED")),
    ] {
        shop.must(status, "PUT", &shop.at(&format!("/{verb}")), &Value::Null);
        shop.wait_for_words(words);
        shop.daemon.kill9().unwrap();
        shop.daemon.start().unwrap();
        shop.wait_for_words(words);
        let ready = shop.daemon.get("/readyz").unwrap();
        assert_eq!(
            ready.status, 200,
            "what somebody wants so is as it should be: {}",
            ready.body
        );
    }
    shop.execute("insert into t values (4, 'd')").await;
    shop.resume();
    shop.wait_for("streaming");
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
    shop.daemon.kill9().unwrap();
    shop.daemon.start().unwrap();
    shop.wait_for("streaming");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_state_holds_until_somebody_says_otherwise() {
    let shop = Shop::of(ROWS).await;
    for (state, words) in [("STOPPED", ("STOPPED", "none")), ("PAUSED", ("PAUSED", "PAUSED"))] {
        let body = json!({ "name": shop.name(), "config": shop.flat(), "initial_state": state });
        shop.must(201, "POST", "/connectors", &body);
        shop.wait_for_words(words);
        let slots = "select count(*) from pg_replication_slots where database = current_database()";
        assert_eq!(shop.database.query_value(slots).await.unwrap(), "0", "{state}");
        shop.daemon.kill9().unwrap();
        shop.daemon.start().unwrap();
        shop.wait_for_words(words);
        // Another configuration does not wake it.
        shop.must(200, "PUT", &shop.at("/config"), &shop.flat());
        shop.wait_for_words(words);
        shop.must(204, "DELETE", &shop.at(""), &Value::Null);
    }
    // What was wanted of the one that is gone is not wanted of the next, and null says nothing.
    let body = json!({ "name": shop.name(), "config": shop.flat(), "initial_state": null });
    shop.must(201, "POST", "/connectors", &body);
    shop.wait_for("streaming");
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3]);
}
