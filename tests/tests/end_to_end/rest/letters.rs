//! `tailrace dlq` where the daemon asks who is there.

use serde_json::{Value, json};
use tailrace_tests::servers::PostgresVersion;

use super::tls::Tokens;
use super::{Shop, refusal};

const TABLE: &str = "create table t (id int primary key, n numeric); insert into t values (1, 1.5)";

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_looked_after_with_a_token() {
    let mut tokens = None;
    let mut shop = Shop::prepare(PostgresVersion::V17, TABLE, |daemon| tokens = Some(Tokens::set(daemon))).await;
    let tokens = tokens.unwrap();
    shop.daemon.start().unwrap();
    let mut config = shop.nested();
    config["format"]["decimal"] = json!("precise");
    config["dead_letters"] = json!({ "policy": "store" });
    shop.must(201, "PUT", &shop.at("/config"), &config);
    shop.wait_for("streaming");
    // A number that the format does not have.
    shop.execute("insert into t values (2, 'NaN'), (3, 3.5)").await;
    let name = shop.name().to_owned();
    shop.daemon
        .wait_for(&name, "a dead letter", |status| status["dead_letters"]["waiting"] == 1)
        .unwrap();
    let dlq = |shop: &Shop, command: &str, more: &[&str]| {
        let arguments = [&[shop.name()], more].concat();
        shop.daemon.command(&format!("dlq {command}"), &arguments).unwrap()
    };
    // The file of tokens of the highest role that can be read says who asks.
    let listed = dlq(&shop, "list", &["--json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.all());
    let letters: Value = serde_json::from_str(&listed.stdout).unwrap();
    let id = letters["letters"][0]["id"].to_string();
    assert!(!listed.all().contains(&tokens.admin), "{}", listed.all());
    // Who says who they are may do what they may do.
    for (token, command, code) in [
        (&tokens.read, "list", 0),
        (&tokens.read, "replay", 1),
        (&tokens.operate, "drop", 1),
        (&"nobody".repeat(6), "list", 1),
    ] {
        shop.daemon.set_variable("TAILRACE_TOKEN", token);
        let more: &[&str] = match command {
            "list" => &[],
            "drop" => &[&id, "--yes"],
            _ => &[&id],
        };
        let printed = dlq(&shop, command, more);
        assert_eq!(printed.code, Some(code), "{command}: {}", printed.all());
        assert!(!printed.all().contains(token.as_str()), "{}", printed.all());
        shop.daemon.unset_variable("TAILRACE_TOKEN");
    }
    let missing = shop.must(404, "GET", &shop.at("/dead_letters/999"), &Value::Null);
    assert_eq!(refusal(&missing).0, "dead_letter_unknown");
    let dropped = dlq(&shop, "drop", &[&id, "--yes"]);
    assert_eq!(dropped.code, Some(0), "{}", dropped.all());
    let listed = dlq(&shop, "list", &["--json"]);
    let letters: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(letters["waiting"], 0, "{letters}");
    shop.wait_for_entry("alice", "dropped", "");
}
