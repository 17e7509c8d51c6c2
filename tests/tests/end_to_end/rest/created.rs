//! Connectors that are made, changed and deleted over HTTP.

use serde_json::{Value, json};
use tailrace_tests::servers::PostgresVersion;

use super::{ROWS, Shop, refusal, versions};

#[tokio::test(flavor = "multi_thread")]
async fn flat_and_nested_make_the_same_connector() {
    let shop = Shop::of(ROWS).await;
    let body = json!({ "name": shop.name(), "config": shop.flat() });
    let created = shop.must(201, "POST", "/connectors", &body);
    assert_eq!(created.header("location"), shop.at(""));
    let flat = created.json().unwrap();
    assert_eq!((&flat["name"], &flat["type"]), (&json!(shop.name()), &json!("source")));
    assert_eq!(flat["tasks"], json!([{ "connector": shop.name(), "task": 0 }]));
    assert_eq!(flat["config"]["name"], shop.name());
    assert_eq!(flat["config"]["tasks.max"], "1");
    shop.wait_for("streaming");
    assert_eq!(shop.get(&shop.at("")), flat);
    assert_eq!(shop.get(&shop.at("/config")), flat["config"]);
    shop.must(204, "DELETE", &shop.at(""), &Value::Null);
    for below in ["", "/config", "/status", "/tasks", "/topics", "/offsets"] {
        let refused = shop.must(404, "GET", &shop.at(below), &Value::Null);
        assert_eq!(refusal(&refused).1, format!("Connector {} not found", shop.name()));
    }

    let nested = shop
        .must(201, "PUT", &shop.at("/config"), &shop.nested())
        .json()
        .unwrap();
    assert_eq!(nested, flat);
    shop.wait_for("streaming");
    let shown = shop.get(&shop.at("/config?form=nested"));
    assert_eq!(shown["source"]["tables"], json!(["public.*"]));
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3]);
    // The same again changes nothing that anybody sees.
    let again = shop.must(200, "PUT", &shop.at("/config"), &shown).json().unwrap();
    assert_eq!(again["config"], flat["config"]);
    let again = shop
        .must(200, "PUT", &shop.at("/config"), &flat["config"])
        .json()
        .unwrap();
    assert_eq!(again, flat);
    shop.wait_for("streaming");
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_a_connector_is_as_of_kafka_connect() {
    let shop = Shop::of(ROWS).await;
    assert_eq!(shop.get("/connectors"), json!([]));
    shop.create();
    shop.settle().await;
    let name = shop.name();
    assert_eq!(shop.get("/connectors"), json!([name]));
    let status = shop.get(&shop.at("/status"));
    let worker = format!("127.0.0.1:{}", shop.daemon.port());
    let running = json!({ "state": "RUNNING", "worker_id": worker });
    assert_eq!(status["connector"], running);
    assert_eq!(
        status["tasks"],
        json!([{ "id": 0, "state": "RUNNING", "worker_id": worker }])
    );
    let expanded = shop.get("/connectors?expand=status&expand=info");
    assert_eq!(expanded[name]["status"], status);
    assert_eq!(expanded[name]["info"], shop.get(&shop.at("")));
    assert_eq!(shop.get("/connectors?expand=info")[name]["status"], Value::Null);
    let tasks = shop.get(&shop.at("/tasks"));
    assert_eq!(tasks[0]["id"], json!({ "connector": name, "task": 0 }));
    assert_eq!(tasks[0]["config"], shop.get(&shop.at("/config")));
    assert_eq!(shop.get(&shop.at("/tasks/0/status")), status["tasks"][0]);
    shop.must(404, "GET", &shop.at("/tasks/1/status"), &Value::Null);
    assert_eq!(
        shop.get(&shop.at("/topics")),
        json!({ name: { "topics": [shop.database.topic("t")] } })
    );
    shop.must(403, "PUT", &shop.at("/topics/reset"), &Value::Null);
    let root = shop.get("/");
    assert!(
        root["version"].is_string() && root["kafka_cluster_id"].is_string(),
        "{root}"
    );
    assert_eq!(shop.get("/health")["status"], "healthy");

    // What cannot go on is FAILED, and says why.
    shop.must(
        200,
        "PATCH",
        &shop.at("/config"),
        &json!({ "source.tables": "public.nosuch" }),
    );
    shop.wait_for("halted");
    let failed = shop.get(&shop.at("/status"));
    assert_eq!(failed["tasks"][0]["state"], "FAILED", "{failed}");
    let trace = failed["tasks"][0]["trace"].as_str().unwrap();
    assert!(trace.contains("public.nosuch"), "{trace}");
}

const SLOTS: &str = "select count(*) from pg_replication_slots where database = current_database()";

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_described_and_configurations_are_validated_without_being_made() {
    let shop = Shop::of(ROWS).await;
    let plugins = shop.get("/connector-plugins?connectorsOnly=false");
    let classes: Vec<&str> = plugins
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| plugin["class"].as_str().unwrap())
        .collect();
    for kind in ["postgres", "mysql", "mariadb", "sqlite"] {
        for side in ["source", "sink"] {
            assert!(classes.contains(&&*format!("tailrace.{side}.{kind}")), "{classes:?}");
        }
    }
    for class in &classes {
        let settings = shop.get(&format!("/connector-plugins/{class}/config"));
        let settings = settings.as_array().unwrap();
        assert!(settings.len() > 5, "{class}");
        let mut servers = ["postgres", "mysql", "mariadb"].iter();
        let has_secret = settings.iter().any(|setting| setting["type"] == "PASSWORD");
        assert!(has_secret || !servers.any(|kind| class.ends_with(kind)), "{class}");
    }
    shop.must(404, "GET", "/connector-plugins/nosuch/config", &Value::Null);

    let validate = |config: &Value| {
        let path = format!("/connector-plugins/{}/config/validate", shop.class());
        shop.must(200, "PUT", &path, config).json().unwrap()
    };
    let errors = |validated: &Value, key: &str| -> Vec<String> {
        let mut configs = validated["configs"].as_array().unwrap().iter();
        let found = configs.find(|config| config["value"]["name"] == key);
        let found = found.unwrap_or_else(|| panic!("{key} is not in {validated:#}"));
        let errors = found["value"]["errors"].as_array().unwrap();
        errors.iter().map(|error| error.as_str().unwrap().to_owned()).collect()
    };
    let right = validate(&shop.flat());
    assert_eq!(right["error_count"], 0, "{right:#}");
    assert_eq!(validate(&shop.nested())["error_count"], 0);
    let table = [
        (json!({ "source.url": null }), "source.url"),
        (json!({ "source.tabels": "x" }), "source.tabels"),
        (json!({ "stream": "nosuch" }), "stream"),
        (json!({ "format.envelope": "debesium" }), "format.envelope"),
        (
            json!({ "source.status_interval_ms": "soon" }),
            "source.status_interval_ms",
        ),
        (json!({ "tasks.max": "none" }), "tasks.max"),
    ];
    for (change, key) in table {
        let mut config = shop.flat();
        for (key, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(config.as_object_mut().unwrap().remove(key)),
                value => config[key] = value.clone(),
            }
        }
        let validated = validate(&config);
        assert_eq!(validated["error_count"], 1, "{change}: {validated:#}");
        let said = errors(&validated, key);
        assert_eq!(said.len(), 1, "{change}");
        let body = json!({ "name": shop.name(), "config": config });
        let (code, message) = refusal(&shop.must(400, "POST", "/connectors", &body));
        assert_eq!(code, "config_invalid");
        assert!(message.contains(&said[0]) && message.contains(key), "{message}");
    }
    assert_eq!(shop.get("/connectors"), json!([]));
    assert_eq!(shop.database.query_value(SLOTS).await.unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_what_it_names_and_null_takes_away() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    let before = shop.get(&shop.at("/config"));
    let change = json!({ "format.envelope": "entity", "topic": "patched.{table}" });
    let after = shop.must(200, "PATCH", &shop.at("/config"), &change).json().unwrap();
    assert_eq!(after["config"]["format.envelope"], "entity");
    assert_eq!(after["config"]["topic"], "patched.{table}");
    assert_eq!(after["config"]["source.url"], before["source.url"]);
    let nested = json!({ "topic": null, "format": { "envelope": "debezium" } });
    let back = shop.must(200, "PATCH", &shop.at("/config"), &nested).json().unwrap();
    assert_eq!(back["config"], before);
    shop.wait_for("streaming");
    let (_, message) = refusal(&shop.must(400, "PATCH", &shop.at("/config"), &json!({ "stream": null })));
    assert!(message.contains("stream"), "{message}");
    shop.must(404, "PATCH", "/connectors/nosuch/config", &json!({}));
    assert_eq!(shop.get(&shop.at("/config")), before);
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await.last(), Some(&4));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_made_again_goes_on_from_its_checkpoint() {
    for version in versions() {
        let shop = Shop::new(version, ROWS).await;
        shop.create();
        shop.settle().await;
        shop.must(204, "DELETE", &shop.at(""), &Value::Null);
        shop.execute("insert into t values (4, 'd')").await;
        assert_eq!(shop.ids("t").await, [1, 2, 3]);
        shop.create();
        shop.execute("insert into t values (5, 'e')").await;
        shop.settle().await;
        assert_eq!(shop.ids("t").await, [1, 2, 3, 4, 5], "{version:?}");
        shop.wait_for_entry("anonymous", "created", "");
        shop.wait_for_entry("anonymous", "deleted", "checkpoint stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_and_what_is_not_meant_is_refused() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    let body = json!({ "name": shop.name(), "config": shop.flat() });
    let (code, message) = refusal(&shop.must(409, "POST", "/connectors", &body));
    assert_eq!(code, "connector_exists");
    assert_eq!(message, format!("Connector {} already exists", shop.name()));
    let mut other = shop.flat();
    other["name"] = json!("other");
    let (_, message) = refusal(&shop.must(400, "PUT", &shop.at("/config"), &other));
    assert!(message.contains("doesn't match connector name in the URL"), "{message}");
    for (body, part) in [
        (json!({ "name": "x" }), "`config` is missing"),
        (json!({ "config": {} }), "`name` is missing"),
        (json!({ "name": null, "config": {} }), "`name` is missing"),
        (
            json!({ "name": "x", "config": {}, "initial_state": "ASLEEP" }),
            "RUNNING, PAUSED or STOPPED",
        ),
        (json!({ "name": "a/b", "config": shop.flat() }), "a/b"),
        (json!([]), "no JSON object"),
    ] {
        let (_, message) = refusal(&shop.must(400, "POST", "/connectors", &body));
        assert!(message.contains(part), "{body}: {message}");
    }
    assert_eq!(shop.get("/connectors"), json!([shop.name()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn connectors_of_the_file_belong_to_the_file() {
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |_| {}).await;
    shop.configure(&shop.in_file());
    shop.daemon.start().unwrap();
    shop.wait_for("streaming");
    for (method, path, body) in [
        ("PUT", shop.at("/config"), shop.flat()),
        ("PATCH", shop.at("/config"), json!({ "format.envelope": "entity" })),
        ("DELETE", shop.at(""), Value::Null),
    ] {
        let (code, message) = refusal(&shop.must(409, method, &path, &body));
        assert_eq!(code, "connector_owned_by_file");
        assert!(message.contains("change the file and restart"), "{message}");
    }
    let status = shop.daemon.connector(shop.name()).unwrap();
    assert_eq!(
        (&status["origin"], &status["wanted"]),
        (&json!("file"), &json!("running"))
    );
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connectors_that_want_the_same_slot_are_refused() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    let mut config = shop.flat();
    config["source.slot"] = json!(shop.database.slot());
    let body = json!({ "name": "other", "config": config });
    let (code, message) = refusal(&shop.must(400, "POST", "/connectors", &body));
    assert_eq!(code, "config_invalid");
    assert!(message.contains(shop.name()), "{message}");
    // Once the first is gone, it is free.
    shop.stop();
    shop.must(204, "DELETE", &shop.at(""), &Value::Null);
    shop.must(201, "POST", "/connectors", &body);
    shop.must(204, "DELETE", "/connectors/other", &Value::Null);
}
