//! Tables whose names try to be something else: labels of metrics, lines of the log, paths, statements.

use serde_json::Value;
use tailrace_tests::servers::PostgresVersion;

use super::Shop;

/// Names as they are, not as a statement writes them.
const NAMES: [&str; 7] = [
    "x\"; drop table plain; --",
    "x\\\"} tailrace_up 1\\n",
    "line\n{\"level\":\"ERROR\",\"message\":\"forged\"}",
    "\u{1b}[2J\u{1b}[31mred",
    "../../etc/passwd",
    "per%cent %s %2e%2e",
    "günther 🦀 ' \u{202e}gnp",
];

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_names_and_nothing_else() {
    let mut statements = "create table plain (id int primary key); insert into plain values (1);".to_owned();
    for name in NAMES {
        let name = identifier(name);
        statements.push_str(&format!(
            "create table {name} (id int primary key); insert into {name} values (1);"
        ));
    }
    let shop = Shop::prepare(PostgresVersion::V17, &statements, |_| {}).await;
    shop.daemon
        .start_with(&["--log-format", "json", "--log-level", "debug"])
        .unwrap();
    shop.create();
    for name in NAMES {
        shop.execute(&format!("insert into {} values (2)", identifier(name)))
            .await;
    }
    shop.settle().await;
    assert_eq!(shop.ids("plain").await, [1]);

    // Every line of the log is a document of its own, and none is forged.
    let log = shop.daemon.log();
    for line in log.lines() {
        let document: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_ne!(document["message"], "forged");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    // Every line of the metrics is a series or a comment, and none is forged.
    let metrics = shop.daemon.get("/metrics").unwrap().body;
    for line in metrics.lines() {
        assert!(
            line.starts_with("tailrace_") || line.starts_with('#') || line.starts_with("process_"),
            "{line}"
        );
        assert!(!line.starts_with("tailrace_up "), "{line}");
    }
    let status = shop.get("/status");
    let tables = status["connectors"][0]["topics"].as_object().unwrap();
    assert_eq!(tables.len(), NAMES.len() + 1, "{tables:?}");
    let topics = shop.get(&shop.at("/topics"));
    let topics = topics[shop.name()]["topics"].as_array().unwrap().clone();
    assert_eq!(topics.len(), NAMES.len() + 1);
    for topic in topics {
        let topic = topic.as_str().unwrap();
        assert!(
            topic
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)),
            "{topic}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_tables_do_not_flood_the_metrics() {
    let tables = 2_000;
    let statements = format!(
        "do $$ begin for n in 1..{tables} loop execute format('create table %I (id int primary key)', 't ' || n); end loop; end $$"
    );
    let shop = Shop::of(&statements).await;
    shop.create();
    let some = (1..=200).map(|n| format!("insert into \"t {n}\" values (1)"));
    shop.execute(&some.collect::<Vec<_>>().join(";")).await;
    shop.settle().await;
    let metrics = shop.daemon.get("/metrics").unwrap().body;
    let series = metrics.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 1_000, "{series} series for {tables} tables");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_of_connectors_are_refused() {
    let shop = Shop::of("create table t (id int primary key)").await;
    for name in NAMES
        .iter()
        .copied()
        .chain(["", ".", "..", "a b", "ä", &"x".repeat(51)])
    {
        let body = serde_json::json!({ "name": name, "config": shop.flat() });
        let answer = shop.must(400, "POST", "/connectors", &body);
        assert!(!answer.body.contains('\u{1b}'), "{}", answer.body);
    }
    for path in [
        "/connectors/..%2f..%2fetc",
        "/connectors/%00",
        "/connectors/%0d%0aX: y",
        "/connectors/%ff",
    ] {
        let answer = shop.daemon.get(path).unwrap();
        assert!([400, 404].contains(&answer.status), "{path}: {}", answer.body);
        assert_eq!(answer.header("X"), "", "{}", answer.head);
    }
    assert_eq!(shop.get("/connectors"), serde_json::json!([]));
    let log = shop.daemon.log();
    assert!(!log.contains('\u{1b}'), "{log:?}");
}
