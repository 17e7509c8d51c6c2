//! Connectors that were made over HTTP, over the lives of the process.

use serde_json::{Value, json};
use tailrace_tests::http::Client;
use tailrace_tests::servers::PostgresVersion;

use super::{ROWS, Shop, versions};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_there_after_a_crash_and_goes_on() {
    for version in versions() {
        let shop = Shop::new(version, ROWS).await;
        shop.create();
        shop.settle().await;
        let before = shop.get(&shop.at(""));
        for id in 4..7 {
            shop.daemon.kill9().unwrap();
            shop.execute(&format!("insert into t values ({id}, 'x')")).await;
            shop.daemon.start().unwrap();
            shop.wait_for("streaming");
            shop.settle().await;
        }
        assert_eq!(shop.get(&shop.at("")), before);
        let mut ids = shop.ids("t").await;
        // What was published and not yet checkpointed may come again.
        ids.dedup();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6], "{version:?}");
        let status = shop.daemon.connector(shop.name()).unwrap();
        assert_eq!(status["origin"], "http");
        shop.must(204, "DELETE", &shop.at(""), &Value::Null);
        shop.daemon.kill9().unwrap();
        shop.daemon.start().unwrap();
        assert_eq!(shop.get("/connectors"), json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_understood_any_more_is_halted_and_the_others_run() {
    let mut shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| {
        let client = Client::at(daemon.port());
        daemon.set_admin("over_http: { variables: [SHOP_URL] }", client);
    })
    .await;
    let other = Shop::of(ROWS).await;
    shop.configure(&other.in_file());
    shop.daemon.set_variable("SHOP_URL", &shop.database.url());
    shop.daemon.start().unwrap();
    let mut config = shop.flat();
    config["source.url"] = json!("${SHOP_URL}");
    shop.must(201, "PUT", &shop.at("/config"), &config);
    shop.wait_for("streaming");
    shop.settle().await;
    assert_eq!(shop.get(&shop.at("/config"))["source.url"], "${SHOP_URL}");
    shop.daemon.kill9().unwrap();

    shop.daemon.unset_variable("SHOP_URL");
    shop.daemon.start().unwrap();
    shop.daemon.wait_for_state(other.name(), "streaming").unwrap();
    shop.wait_for("halted");
    let status = shop.daemon.connector(shop.name()).unwrap();
    assert_eq!(status["code"], "config_invalid", "{status}");
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("SHOP_URL"), "{reason}");
    assert_eq!(shop.words().1, "FAILED");
    assert_eq!(shop.get(&shop.at("/config"))["source.url"], "${SHOP_URL}");
    for path in [
        "/status",
        "/metrics",
        "/connectors?expand=info&expand=status",
        "/readyz",
    ] {
        assert!(!shop.daemon.get(path).unwrap().body.is_empty(), "{path}");
    }
    shop.must(400, "GET", &shop.at("/offsets"), &Value::Null);
    shop.must(204, "POST", &shop.at("/restart"), &Value::Null);
    shop.wait_for("halted");

    // Its configuration can be put right, and it goes on.
    shop.execute("insert into t values (4, 'd')").await;
    shop.must(200, "PUT", &shop.at("/config"), &shop.flat());
    shop.wait_for("streaming");
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_secret_comes_back_is_begun_anew_by_a_restart() {
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| {
        let folder = daemon.path().join("secrets");
        std::fs::create_dir(&folder).unwrap();
        let client = Client::at(daemon.port());
        daemon.set_admin(&format!("over_http: {{ folders: [\"{}\"] }}", folder.display()), client);
    })
    .await;
    let secret = shop.daemon.path().join("secrets/url");
    std::fs::write(&secret, shop.database.url()).unwrap();
    shop.daemon.start().unwrap();
    let mut config = shop.flat();
    config["source.url"] = json!(format!("${{file:{}}}", secret.display()));
    shop.must(201, "PUT", &shop.at("/config"), &config);
    shop.wait_for("streaming");
    shop.settle().await;
    shop.daemon.kill9().unwrap();
    std::fs::remove_file(&secret).unwrap();
    shop.daemon.start().unwrap();
    shop.wait_for("halted");
    shop.must(204, "POST", &shop.at("/restart"), &Value::Null);
    shop.wait_for("halted");
    std::fs::write(&secret, shop.database.url()).unwrap();
    shop.must(204, "POST", &shop.at("/restart"), &Value::Null);
    shop.wait_for("streaming");
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_file_takes_is_the_file_s() {
    let shop = Shop::of(ROWS).await;
    shop.create();
    shop.settle().await;
    shop.daemon.kill9().unwrap();
    shop.configure(&shop.in_file());
    shop.daemon.start().unwrap();
    shop.wait_for("streaming");
    let status = shop.daemon.connector(shop.name()).unwrap();
    assert_eq!(status["origin"], "file", "{}", shop.daemon.log());
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    assert_eq!(shop.ids("t").await, [1, 2, 3, 4]);
}
