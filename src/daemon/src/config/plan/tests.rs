use super::super::expand::Surroundings;
use super::super::{load, understand};
use super::*;

/// A whole file around what is interesting of it.
const HEAD: &str = "version: 1\nstreams:\n  events: {type: file, path: data/events}\nconnectors:\n";

fn plan_of(text: &str) -> Result<Plan, String> {
    let surroundings = Surroundings::of(&[("URL", "postgres://tailrace:hunter2@localhost/shop")]);
    understand("x.yaml", text.as_bytes(), &surroundings).map_err(|problems| problems.to_string())
}

fn refused(text: &str) -> String {
    plan_of(text).map(|_| ()).expect_err(text)
}

fn source(name: &str, slot: &str, more: &str) -> String {
    format!(
        "  {name}:\n    source: {{type: postgres, url: \"${{URL}}\", tables: [public.*], slot: {slot}}}\n    stream: events\n{more}"
    )
}

#[test]
fn defaults_are_resolved() {
    let plan = plan_of(&format!("{HEAD}{}", source("orders", "a", ""))).unwrap();
    assert_eq!(plan.admin.listen.to_string(), "127.0.0.1:8083");
    assert_eq!(plan.state_path, PathBuf::from("data/state.db"));
    assert_eq!(plan.shutdown_timeout, Duration::from_secs(20));
    let orders = &plan.connectors[0];
    assert_eq!(orders.prefix, "orders");
    let table = tailrace_core::schema::TableName {
        database: "shop".to_owned(),
        schema: "public".to_owned(),
        table: "orders".to_owned(),
    };
    assert_eq!(
        orders.topic.topic(&orders.prefix, &table).unwrap(),
        "orders.public.orders"
    );
    assert!(plan.stream_of(orders).is_ok());
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let one = source("orders", "a", "");
    let table = [
        (
            format!("{HEAD}{}", one.replace("stream: events", "stream: event")),
            "x.yaml:7:13: connectors.orders.stream: there is no stream `event`; did you mean `events`?",
        ),
        (
            format!("{HEAD}{}", source("orders", "a", "    topic: \"{prefix}.{tabel}\"\n")),
            "x.yaml:8:12: connectors.orders.topic: ",
        ),
        (
            format!("{HEAD}{}", source("orders", "a", "    format: {envelop: debezium}\n")),
            "x.yaml:8:14: connectors.orders.format: unknown key `envelop`; did you mean `envelope`?",
        ),
        (
            format!("{HEAD}{}", source("orders", "a", "    sorce: {}\n")),
            "x.yaml:8:5: connectors.orders: unknown key `sorce`; did you mean `source`?",
        ),
        (
            format!("{HEAD}{}", one.replace("type: postgres", "type: postgre")),
            "x.yaml:6:20: connectors.orders.source.type: there is no type `postgre`; did you mean `postgres`?",
        ),
        (
            format!("{HEAD}  orders: {{stream: events}}\n"),
            "x.yaml:5:11: connectors.orders: the key `source` is missing",
        ),
        (
            format!("{HEAD}{}", one.replace("type: postgres, ", "")),
            "x.yaml:6:13: connectors.orders.source: the key `type` is missing; it is one of `postgres`, `mysql`, `mariadb`, ",
        ),
        (
            format!("{HEAD}{}", one.replace("orders:", "my orders:")),
            "x.yaml:5:3: connectors: a name has 1 to 50 of the characters a-z A-Z 0-9 - _, and `my orders` does not fit",
        ),
    ];
    assert_refused(&table);
}

#[test]
fn a_webhook_that_cannot_be_meant_is_refused_without_its_secrets() {
    let with = |webhook: &str| {
        let more = format!("    schema_changes:\n      webhook: {{{webhook}}}\n");
        format!("{HEAD}{}", source("orders", "a", &more))
    };
    let table = [
        (
            with("url: \"hooks.example/hunter2\""),
            "x.yaml:9:22: connectors.orders.schema_changes.webhook.url: a `url` is no URL; write `http://host:port/path` or `https://host/path`, and credentials as `token`",
        ),
        (
            with("url: \"https://me:hunter2@hooks.example/x\""),
            "x.yaml:9:22: connectors.orders.schema_changes.webhook.url: the `url` of hooks.example holds a name or a password, which do not stand in a URL; ",
        ),
        (
            with("url: \"http://h/x\", token: \"hunter2\\n\""),
            "x.yaml:9:43: connectors.orders.schema_changes.webhook.token: it has characters that no header may hold; ",
        ),
        (
            with("url: \"http://h/x\", retries: 3"),
            "x.yaml:9:36: connectors.orders.schema_changes.webhook: unknown key `retries`",
        ),
        (
            with("token: \"hunter2\""),
            "x.yaml:9:16: connectors.orders.schema_changes.webhook: the key `url` is missing",
        ),
    ];
    assert_refused(&table);
    for (text, _) in &table {
        assert!(!refused(text).contains("hunter2"), "{}", refused(text));
    }
    let plan = plan_of(&with(
        "url: \"https://hooks.example/T0/hunter2?key=hunter2\", token: \"hunter2\"",
    ))
    .unwrap();
    let receiver = plan.connectors[0].webhook.as_ref().unwrap();
    assert!(!format!("{receiver:?}").contains("hunter2"), "{receiver:?}");
}

#[test]
fn what_cannot_be_meant_of_the_whole_file_is_refused_with_its_place() {
    let one = source("orders", "a", "");
    let table = [
        (
            format!("{HEAD}{one}").replace("version: 1", "version: 2"),
            "x.yaml:1:10: version: this release reads version 1",
        ),
        (
            format!("admin: {{listen: 0.0.0.0:8083}}\n{HEAD}{one}"),
            "x.yaml:1:17: admin.listen: `0.0.0.0:8083` can be reached from other machines, and the endpoint would ask nobody who they are, or let others read along; listen on `127.0.0.1:8083`, or set `admin.tls` and `admin.tokens`",
        ),
        (
            format!("admin: {{listen: 8083}}\n{HEAD}{one}"),
            "x.yaml:1:17: admin.listen: expects an address and a port, such as `127.0.0.1:8083` or `[::1]:8083`, found `8083`",
        ),
        (
            format!("state: {{url: \"mysql://x/y\"}}\n{HEAD}{one}"),
            "x.yaml:1:14: state.url: ",
        ),
        (
            "version: 1\nstreams: {}\nconnectors:\n".to_owned(),
            "x.yaml:2:10: streams: there is nothing in it; write `events: {type: file, path: data/events}`\n\
             x.yaml:3:11: connectors: expects a mapping of names, found nothing; write a name, and under it `source` and `stream`",
        ),
        (
            "version: 1\n".to_owned(),
            "x.yaml:1:1: the key `streams` is missing; write `events: {type: file, path: data/events}`",
        ),
        (
            format!("{HEAD}{}", one.replace("[public.*]", "[public.*], tables: [x]")),
            "x.yaml:6:65: connectors.orders.source: the key `tables` is here a second time; the first is in line 6",
        ),
    ];
    assert_refused(&table);
}

fn assert_refused(table: &[(String, &str)]) {
    for (text, expected) in table {
        let found = refused(text);
        assert!(
            found.starts_with(expected),
            "{text}
expected: {expected}
   found: {found}"
        );
    }
}

#[test]
fn two_connectors_may_not_share_what_only_one_can_have() {
    let text = format!("{HEAD}{}{}", source("a", "x", ""), source("b", "x", ""));
    let found = refused(&text);
    assert!(
        found.contains("x.yaml:9:5: connectors.b: the replication slot `x`"),
        "{found}"
    );
    assert!(
        found.contains("is already used by connector `a` in line 6; give each its own"),
        "{found}"
    );
    let text = format!(
        "{HEAD}{}{}",
        source("a", "x", "    prefix: shop\n"),
        source("b", "y", "    prefix: shop\n")
    );
    let found = refused(&text);
    assert!(
        found.contains(
            "connectors.b: the topic `shop.{schema}.{table}` of stream `events` for the tables public.* is already used"
        ),
        "{found}"
    );
    let text = format!("{HEAD}{}{}", source("a", "x", ""), source("b", "y", ""));
    assert_eq!(plan_of(&text).unwrap().connectors.len(), 2);
    let text =
        HEAD.replace("connectors:", "  more: {type: file, path: data/events}\nconnectors:") + &source("a", "x", "");
    assert!(
        refused(&text).contains("streams.more: the folder `data/events` is already used by stream `events` in line 3")
    );
}

#[test]
fn the_first_problem_of_every_connector_is_told() {
    let broken = |name: &str| source(name, name, "    sorce: {}\n").replace("tables:", "tabels:");
    let found = refused(&format!("{HEAD}{}{}", broken("a"), broken("b")));
    assert_eq!(found.lines().count(), 4, "{found}");
    assert!(
        found.contains("connectors.a.source: unknown key `tabels`; did you mean `tables`?"),
        "{found}"
    );
    assert!(
        found.contains("connectors.b.source: unknown key `tabels`; did you mean `tables`?"),
        "{found}"
    );
}

#[test]
fn no_complaint_shows_a_secret() {
    let text = format!("{HEAD}{}", source("orders", "a", "    topic: ${URL}\n")).replace("tables:", "tabels:");
    assert!(!refused(&text).contains("hunter2"));
    let plan = plan_of(&format!("{HEAD}{}", source("orders", "a", ""))).unwrap();
    assert!(!format!("{plan:?}").contains("hunter2"));
}

#[test]
fn every_example_is_right() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    let mut examples = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let bytes = std::fs::read(&path).unwrap();
            let surroundings = Surroundings::of(&[
                ("ORDERS_DATABASE_URL", "postgres://tailrace:secret@localhost/orders"),
                ("SHOP_DATABASE_URL", "mysql://tailrace:secret@localhost/"),
                (
                    "REPORTING_DATABASE_URL",
                    "postgres://tailrace:secret@localhost/reporting",
                ),
                ("NORTH_DATABASE_URL", "postgres://tailrace:secret@localhost/north"),
                ("SOUTH_DATABASE_URL", "postgres://tailrace:secret@localhost/south"),
                ("KAFKA_BOOTSTRAP", "localhost:9092"),
                ("REGISTRY_PASSWORD", "secret"),
                ("EMAIL_SALT", "salt"),
                ("WEBHOOK_TOKEN", "secret"),
            ]);
            understand(&path.display().to_string(), &bytes, &surroundings)
                .unwrap_or_else(|problems| panic!("{problems}"));
            examples.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    examples.sort();
    assert_eq!(
        examples,
        [
            "change-table-mysql.yaml",
            "change-table-postgres.yaml",
            "change-table-sqlite.yaml",
            "contracts.yaml",
            "dead-letters.yaml",
            "kafka-with-registry.yaml",
            "mysql-to-kafka.yaml",
            "mysql-to-postgres-without-broker.yaml",
            "mysql-to-postgres.yaml",
            "outbox-mysql-queue.yaml",
            "outbox-postgres-log.yaml",
            "outbox-sqlite-queue.yaml",
            "postgres-to-file.yaml",
            "postgres-to-kafka.yaml",
            "query-to-kafka.yaml",
            "quickstart.yaml",
            "schema-change-webhook.yaml",
            "sqlite-to-file.yaml",
            "two-way.yaml"
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.yaml");
    let found = load(&missing).expect_err("missing").to_string();
    assert_eq!(found, format!("{}: there is no such file", missing.display()));
    let found = load(folder.path()).expect_err("a folder").to_string();
    assert!(
        found.ends_with("this is not a file; name the YAML file itself"),
        "{found}"
    );
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; 2 << 20]).unwrap();
    assert!(
        load(&large)
            .expect_err("large")
            .to_string()
            .contains("a configuration has at most 1048576")
    );
}
