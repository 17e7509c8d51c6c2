//! What connectors that come over HTTP may not say, and what is never shown of any.

use std::path::Path;

use serde_json::{Value, json};
use tailrace_tests::http::Client;
use tailrace_tests::servers::PostgresVersion;

use super::{ROWS, Shop, refusal};

/// What stands for a secret.
const MASK: &str = "********";

/// The URL of the database, with a password.
fn url_with(shop: &Shop, password: &str) -> String {
    shop.database
        .url()
        .replacen("postgres@", &format!("postgres:{password}@"), 1)
}

/// A daemon that allows what is in the folder `allowed`, and the variable `ALLOWED`.
async fn allowing() -> Shop {
    let mut shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| {
        let folder = daemon.path().join("allowed");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/etc", folder.join("link")).unwrap();
        let settings = format!(
            "over_http: {{ variables: [ALLOWED], folders: [\"{}\"] }}",
            folder.display()
        );
        let client = Client::at(daemon.port());
        daemon.set_admin(&settings, client);
    })
    .await;
    shop.daemon.set_variable("ALLOWED", "hunter2");
    shop.daemon.set_variable("FORBIDDEN", "hunter2");
    shop.daemon.start().unwrap();
    shop
}

fn refused(shop: &Shop, key: &str, value: &Value, part: &str) {
    let mut config = shop.flat();
    config[key] = value.clone();
    let class = config["connector.class"].as_str().unwrap().to_owned();
    let body = json!({ "name": "other", "config": config });
    let (code, message) = refusal(&shop.must(400, "POST", "/connectors", &body));
    assert_eq!(code, "config_invalid");
    assert!(
        message.contains(part) && message.contains(key),
        "{key} {value}: {message}"
    );
    let path = format!("/connector-plugins/{class}/config/validate");
    let validated = shop.must(200, "PUT", &path, &config).body;
    assert!(validated.contains(part), "{key} {value}: {validated}");
    for said in [message, validated, shop.daemon.log()] {
        assert!(
            !said.contains("hunter2") && !said.contains("root:x:0"),
            "{key} {value}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_files_statements_and_webhooks_are_for_the_file_alone() {
    let shop = allowing().await;
    let folder = shop.daemon.path().join("allowed");
    let inside = |name: &str| folder.join(name).display().to_string();
    let url = |password: &str| json!(url_with(&shop, password));
    let (variable, file) = ("may not name the environment variable", "admin.over_http.folders");
    let in_the_open = "only in settings that are secret";
    for (key, value, part) in [
        ("source.url", url("${FORBIDDEN}"), variable),
        ("source.url", url("${FORBIDDEN:-x}"), variable),
        ("topic", json!("${HOME}"), in_the_open),
        ("source.tls.ca_file", json!(inside("${FORBIDDEN}")), in_the_open),
        ("source.url", json!("${file:/etc/passwd}"), file),
        ("source.url", json!(format!("${{file:{}}}", inside("../log"))), file),
        (
            "source.url",
            json!(format!("${{file:{}}}", inside("link/passwd"))),
            file,
        ),
        ("source.tls.ca_file", json!("/etc/passwd"), file),
        ("source.tls.ca_file", json!("relative.pem"), file),
        (
            "schema_changes.webhook",
            json!({ "url": "http://127.0.0.1:1/" }),
            "never in a request",
        ),
    ] {
        refused(&shop, key, &value, part);
    }
    let conditions = json!({ "t": "id > 1; drop table t" });
    let mut nested = shop.nested();
    nested["source"]["snapshot"] = json!({ "conditions": conditions });
    shop.must(400, "PUT", &shop.at("/config"), &nested);
    assert_eq!(shop.get("/connectors"), json!([]));
    assert_eq!(shop.database.query_value("select count(*) from t").await.unwrap(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_allows_may_be_named_and_is_never_told() {
    let shop = allowing().await;
    let secret = shop.daemon.path().join("allowed/password");
    std::fs::write(&secret, "hunter2\n").unwrap();
    for written in ["${ALLOWED}".to_owned(), format!("${{file:{}}}", secret.display())] {
        let mut config = shop.flat();
        config["source.url"] = json!(url_with(&shop, &written));
        shop.must(201, "PUT", &shop.at("/config"), &config);
        shop.wait_for("streaming");
        // A path within a URL may be more of it than it seems, and hides the whole.
        let shown = [url_with(&shop, &written), MASK.to_owned()];
        assert!(
            shown
                .iter()
                .any(|shown| shop.get(&shop.at("/config"))["source.url"] == **shown)
        );
        tells_nothing(&shop);
        // Where anything is told of what stands there, it does not stand there.
        for key in [
            "stream",
            "prefix",
            "format.registry",
            "schema_changes.topic",
            "dead_letters.topic",
            "writers",
            "topic",
            "source.status_interval_ms",
            "source.tables",
            "nosuch",
        ] {
            refused(&shop, key, &json!(written), "only in settings that are secret");
        }
        shop.must(204, "DELETE", &shop.at(""), &Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_masked_everywhere_and_comes_back_as_it_was() {
    let shop = Shop::of(ROWS).await;
    let mut config = shop.flat();
    config["source.url"] = json!(url_with(&shop, "hunter2"));
    let created = shop.must(
        201,
        "POST",
        "/connectors",
        &json!({ "name": shop.name(), "config": config }),
    );
    assert!(
        created.body.contains(MASK) && !created.body.contains("hunter2"),
        "{}",
        created.body
    );
    shop.wait_for("streaming");
    let shown = shop.get(&shop.at("/config"));
    assert_eq!(shown["source.url"], url_with(&shop, MASK));
    tells_nothing(&shop);

    // What was shown is sent back: the connector runs with the password that it had.
    let mut changed = shown.clone();
    changed["topic"] = json!("{prefix}.{schema}.{table}");
    shop.must(200, "PUT", &shop.at("/config"), &changed);
    let nested = shop.get(&shop.at("/config?form=nested"));
    shop.must(200, "PUT", &shop.at("/config"), &nested);
    shop.must(
        200,
        "PATCH",
        &shop.at("/config"),
        &json!({ "source.url": shown["source.url"] }),
    );
    assert_eq!(kept_password(&shop).await, "hunter2");
    // A secret does not go to another host, and a new one is kept.
    let elsewhere = shown["source.url"].as_str().unwrap().replace("127.0.0.1", "localhost");
    let elsewhere = json!({ "source.url": elsewhere });
    asks_for_the_secret(&shop, "PATCH", &elsewhere, "source.url");
    assert_eq!(kept_password(&shop).await, "hunter2");
    let new = json!({ "source.url": url_with(&shop, "hunter3") });
    shop.must(200, "PATCH", &shop.at("/config"), &new);
    assert_eq!(kept_password(&shop).await, "hunter3");
    tells_nothing(&shop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_nowhere_else_than_where_it_was() {
    let shop = Shop::of(ROWS).await;
    let mut config = shop.flat();
    config["source.password"] = json!("hunter2");
    shop.must(201, "PUT", &shop.at("/config"), &config);
    shop.wait_for("streaming");
    let shown = shop.get(&shop.at("/config"));
    assert_eq!(shown["source.password"], MASK);

    // As it was shown it is right, and as it was shown it comes back; a patch may leave it out.
    let class = shown["connector.class"].as_str().unwrap();
    let path = format!("/connector-plugins/{class}/config/validate");
    let validated = shop.must(200, "PUT", &path, &shown).json().unwrap();
    assert_eq!(validated["error_count"], 0, "{validated}");
    shop.must(200, "PUT", &shop.at("/config"), &shown);
    let topic = json!({ "topic": "{prefix}.{schema}.{table}" });
    shop.must(200, "PATCH", &shop.at("/config"), &topic);
    assert_eq!(kept_config(&shop).await["source"]["password"], "hunter2");

    let url = shop.database.url().replace("127.0.0.1", "localhost");
    asks_for_the_secret(&shop, "PATCH", &json!({ "source.url": url }), "source.password");
    let mut elsewhere = shown.clone();
    elsewhere["source.url"] = json!(url);
    asks_for_the_secret(&shop, "PUT", &elsewhere, "source.password");
    let kept = kept_config(&shop).await;
    assert_eq!(kept["source"]["password"], "hunter2");
    assert_eq!(kept["source"]["url"], shop.database.url());
    let both = json!({ "source.url": url, "source.password": "hunter3" });
    shop.must(200, "PATCH", &shop.at("/config"), &both);
    assert_eq!(kept_config(&shop).await["source"]["password"], "hunter3");
    tells_nothing(&shop);
    shop.must(204, "DELETE", &shop.at(""), &Value::Null);
    // Where there was none, there is nothing that it could be.
    asks_for_the_secret(&shop, "PUT", &shown, "source.password");
}

/// A mask that nothing known stands behind is not taken for the secret.
fn asks_for_the_secret(shop: &Shop, method: &str, config: &Value, key: &str) {
    let (code, message) = refusal(&shop.must(400, method, &shop.at("/config"), config));
    assert_eq!(code, "config_invalid");
    assert!(
        message.contains(key) && message.contains("send the secret itself"),
        "{message}"
    );
}

/// The password in the state, of the URL.
async fn kept_password(shop: &Shop) -> String {
    let config = kept_config(shop).await;
    let url = config["source"]["url"].as_str().unwrap();
    let user = url.split_once("://").unwrap().1.split_once('@').unwrap().0;
    user.split_once(':').unwrap().1.to_owned()
}

/// The configuration in the state.
async fn kept_config(shop: &Shop) -> Value {
    use sqlx::Connection;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(shop.daemon.state_file())
        .read_only(true);
    let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    let query = sqlx::query_scalar("SELECT config FROM created_connectors");
    let config: String = query.fetch_one(&mut connection).await.unwrap();
    serde_json::from_str(&config).unwrap()
}

/// No password in anything that can be asked for, nor in the log.
fn tells_nothing(shop: &Shop) {
    for path in super::secrets::everything(&shop.daemon, Path::new(&shop.at(""))) {
        let answer = shop.daemon.get(&path).unwrap();
        assert!(!answer.body.contains("hunter"), "{path}: {}", answer.body);
    }
    assert!(!shop.daemon.log().contains("hunter"), "{}", shop.daemon.log());
}
