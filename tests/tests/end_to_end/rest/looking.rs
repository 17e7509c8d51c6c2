//! What can be looked at: loggers, the journal, single changes on their way, and whether all is well.

use std::time::Duration;

use serde_json::{Value, json};
use tailrace_tests::servers::{PostgresVersion, poll_until};

use super::{DEADLINE, ROWS, Shop, refusal, versions};

#[tokio::test(flavor = "multi_thread")]
async fn loggers_are_turned_up_and_down_while_it_runs() {
    let shop = Shop::of(ROWS).await;
    let loggers = shop.get("/admin/loggers");
    assert_eq!(loggers["root"]["level"], "INFO", "{loggers}");
    assert_eq!(loggers["root"]["last_modified"], Value::Null);
    let path = "/admin/loggers/tailrace_core";
    let changed = shop
        .must(200, "PUT", path, &json!({ "level": "error" }))
        .json()
        .unwrap();
    assert_eq!(changed, json!(["tailrace_core"]));
    let now = shop.get(path);
    assert_eq!(now["level"], "ERROR");
    assert!(now["last_modified"].is_i64(), "{now}");
    shop.create();
    let says = |shop: &Shop| shop.daemon.log().contains("tailrace_core::telemetry");
    assert!(!says(&shop), "{}", shop.daemon.log());
    shop.must(
        204,
        "PUT",
        &format!("{path}?scope=cluster"),
        &json!({ "level": "INFO" }),
    );
    assert_eq!(shop.get(path)["level"], "INFO");
    shop.must(204, "POST", &shop.at("/restart"), &Value::Null);
    shop.wait_for("streaming");
    assert!(says(&shop), "{}", shop.daemon.log());
    shop.must(400, "PUT", path, &json!({ "lvl": "INFO" }));
    shop.must(404, "PUT", path, &json!({ "level": "LOUD" }));
    shop.must(404, "GET", "/admin/loggers/nosuch", &Value::Null);
    let entries = shop.get("/journal");
    let entries = entries["entries"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["what"] == "logging"), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_says_who_did_what_and_what_came_of_it() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    shop.must(202, "PUT", &shop.at("/pause"), &Value::Null);
    shop.wait_for("paused");
    shop.resume();
    shop.wait_for("streaming");
    for (who, what, part) in [
        ("anonymous", "created", ""),
        ("tailrace", "state", "streaming"),
        ("anonymous", "paused", ""),
        ("anonymous", "resumed", ""),
    ] {
        shop.wait_for_entry(who, what, part);
    }
    let all = shop.get("/journal?limit=1000");
    let ids: Vec<i64> = all["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["id"].as_i64().unwrap())
        .collect();
    assert!(ids.is_sorted() && ids.len() > 4, "{ids:?}");
    let page = |query: &str| {
        let page = shop.get(&format!("/journal?{query}"));
        let entries = page["entries"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| entry["id"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(page(&format!("after={}&limit=1000", ids[1]))[..1], ids[2..3]);
    assert_eq!(page(&format!("before={}&limit=2", ids[3])), ids[1..3]);
    assert_eq!(page("connector=nosuch"), [0; 0]);
    shop.must(400, "GET", "/journal?limit=many", &Value::Null);
    // It is there after a crash.
    shop.daemon.kill9().unwrap();
    shop.daemon.start().unwrap();
    assert_eq!(page("limit=1000")[..ids.len()], ids[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_changes_are_shown_on_their_way() {
    for version in versions() {
        let shop = Shop::new(version, ROWS).await;
        if shop.database.postgres().is_ok() {
            shop.execute("alter table t replica identity full").await;
        }
        shop.create();
        shop.settle().await;
        let lines = shop.daemon.client().lines(&shop.at("/tail?limit=3")).unwrap();
        let mut lines = lines.map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), ": connected");
        shop.execute("insert into t values (4, 'd'); update t set v = 'D' where id = 4; delete from t where id = 4")
            .await;
        let changes: Vec<Value> = lines
            .filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap()))
            .collect();
        let brief: Vec<_> = changes
            .iter()
            .map(|change| (change["op"].as_str().unwrap(), &change["before"], &change["after"]))
            .collect();
        // Rows are shown as text, whatever their types.
        let (small, large) = (json!({ "id": "4", "v": "d" }), json!({ "id": "4", "v": "D" }));
        let expected = [
            ("c", &Value::Null, &small),
            ("u", &small, &large),
            ("d", &large, &Value::Null),
        ];
        assert_eq!(brief, expected, "{version:?}");
        let records = changes[0]["records"].as_array().unwrap();
        assert_eq!(records[0]["topic"], shop.database.topic("t"));
        assert_eq!(records[0]["key"], json!({ "id": 4 }));
        assert_eq!(records[0]["value"]["after"], json!({ "id": 4, "v": "d" }));
        assert!(records[0]["value_base64"].is_string() && records[0]["size_bytes"].as_u64().unwrap() > 0);
        // A delete is followed by its tombstone.
        assert_eq!(changes[2]["records"].as_array().unwrap().len(), 2, "{}", changes[2]);
        assert!(changes[0]["table"].as_str().unwrap().ends_with(".t"));
        shop.must(404, "GET", "/connectors/nosuch/tail", &Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_row_that_is_known_by_its_key_the_key_is_shown() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    shop.execute("alter table t replica identity default").await;
    let lines = shop.daemon.client().lines(&shop.at("/tail?limit=1")).unwrap();
    let mut lines = lines.map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), ": connected");
    shop.execute("delete from t where id = 1").await;
    let change = lines.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned()));
    let change: Value = serde_json::from_str(&change.unwrap()).unwrap();
    assert_eq!((&change["op"], &change["before"]), (&json!("d"), &json!({ "id": "1" })));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_those_who_look() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    let open = || shop.daemon.client().lines(&shop.at("/tail"));
    // As many as may look, none of whom reads.
    let mut looking = Vec::new();
    let refused = loop {
        match open() {
            Ok(lines) => looking.push(lines),
            Err(error) => break error.to_string(),
        }
        assert!(looking.len() < 64, "somebody has to be refused");
    };
    assert!(refused.contains("429"), "{refused}");
    shop.execute("insert into t select n, repeat('x', 1000) from generate_series(10, 20000) n")
        .await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await.len(), 3 + 19_991);
    drop(looking);
    let again = poll_until("a place", DEADLINE, || Ok(open().ok().map(drop)));
    again.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_told_of_each() {
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |_| {}).await;
    let missing = Shop::of("create table other (id int)").await;
    let mut nested = missing.nested();
    nested["source"]["tables"] = json!(["public.nosuch"]);
    shop.configure(&format!("{}  missing: {nested}\n", shop.in_file()));
    shop.daemon.start().unwrap();
    shop.wait_for("streaming");
    shop.daemon.wait_for_state("missing", "halted").unwrap();
    let of = |name: &str| shop.daemon.get(&format!("/readyz/{name}")).unwrap();
    assert_eq!(of(shop.name()).status, 200);
    let not_ready = of("missing");
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.body.contains("halted:"), "{}", not_ready.body);
    let (code, _) = refusal(&of("nosuch"));
    assert_eq!(code, "connector_unknown");
    assert_eq!(shop.daemon.get("/livez").unwrap().status, 200);
    // What is wanted stopped is ready.
    shop.must(204, "PUT", "/connectors/missing/stop", &Value::Null);
    assert_eq!(of("missing").status, 200);
    assert_eq!(shop.daemon.get("/readyz").unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_answers_at_once_when_it_goes_on() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    shop.daemon.pause().unwrap();
    shop.execute("insert into t values (4, 'd')").await;
    shop.daemon.resume().unwrap();
    let alive = poll_until("/livez", Duration::from_secs(10), || {
        Ok((shop.daemon.get("/livez")?.status == 200).then_some(()))
    });
    alive.unwrap();
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
}
