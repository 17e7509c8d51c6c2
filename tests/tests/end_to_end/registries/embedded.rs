use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tailrace_codec::contract::ContractRules;
use tailrace_core::registry::{Schema, SchemaId, SchemaRegistry, SchemaType};
use tailrace_state::StateStore;
use tailrace_tests::clients::{Framed, ask_registry_with_python, read_with_java, read_with_python};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::http;

use super::{order, schema};

const SECTIONS: &str = "streams:
  events: { type: file, path: data/events }
connectors:
  shop:
    stream: events
    source: { type: sqlite, path: shop.db, tables: [\"*\"], query: { mode: incrementing, id_column: id } }";

/// A running daemon whose state has these schemas, in order; and their numbers.
async fn with(schemas: &[(&str, Schema)]) -> (Daemon, Vec<SchemaId>) {
    let daemon = Daemon::new(SECTIONS).unwrap();
    std::fs::create_dir_all(daemon.state_file().parent().unwrap_or(Path::new("."))).unwrap();
    let state = StateStore::open(daemon.state_file()).await.unwrap();
    let registry = state.registry(Arc::new(ContractRules));
    let mut ids = Vec::new();
    for (subject, schema) in schemas {
        ids.push(registry.register(subject, schema).await.unwrap());
    }
    state.close().await.unwrap();
    daemon.start().unwrap();
    daemon.wait_for_answer().unwrap();
    (daemon, ids)
}

/// An order under a number, as Confluent's clients frame it: byte 0, the number, `id` 3 and `note` "né".
fn framed(id: SchemaId) -> Vec<u8> {
    let mut record = vec![0];
    record.extend(id.0.to_be_bytes());
    record.extend([6, 6, b'n', 0xc3, 0xa9]);
    record
}

fn described_order() -> Schema {
    let mut described = order(&[("id", "long"), ("note", "string")]);
    described.properties.insert("owner".to_owned(), "sales".to_owned());
    described.tags.insert("**.note".to_owned(), vec!["pii".to_owned()]);
    described
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_client_finds_everything_it_can_ask_for() {
    let schemas = [
        ("orders-value", order(&[("id", "long")])),
        ("orders-value", {
            let text = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"long"},
            {"name":"note","type":["null","string"],"default":null}]}"#;
            schema(SchemaType::Avro, text)
        }),
    ];
    let (daemon, ids) = with(&schemas).await;
    let printed = ask_registry_with_python(&daemon.url(), "orders-value").unwrap();
    let told: Value = serde_json::from_str(&printed).unwrap();
    let expected = json!({
        "subjects": ["orders-value"],
        "versions": [1, 2],
        "latest": [2, ids[1].0, "AVRO"],
        "first": ids[0].0,
        "text": &*schemas[1].1.text,
        "looked_up": 2,
        "registered": ids[1].0,
        "compatible": true,
        "incompatible": false,
        "level": "FULL",
        "new": [403, 40301],
        "no_schema": [404, 40403],
        "no_subject": [404, 40401],
        "no_version": [404, 40402],
        "deleted": [403, 40301],
    });
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_and_javas_deserializers_read_with_it() {
    let document = schema(
        SchemaType::Json,
        r#"{"title":"Order","type":"object","properties":{"id":{"type":"integer"}}}"#,
    );
    let (daemon, ids) = with(&[("orders-value", described_order()), ("documents-value", document)]).await;
    let orders = [value_of("orders", "avro", framed(ids[0]))];
    for read in [
        read_with_python(&daemon.url(), &orders).unwrap(),
        read_with_java(&daemon.url(), &orders).unwrap(),
    ] {
        assert_eq!(read, [json!({ "id": 3, "note": "né" })]);
    }
    let mut record = vec![0];
    record.extend(ids[1].0.to_be_bytes());
    record.extend(br#"{"id": 4}"#);
    let read = read_with_python(&daemon.url(), &[value_of("documents", "json_schema", record)]).unwrap();
    assert_eq!(read, [json!({ "id": 4 })]);
}

fn value_of(topic: &str, codec: &'static str, bytes: Vec<u8>) -> Framed {
    Framed {
        codec,
        subjects: "topic",
        part: "value",
        topic: topic.to_owned(),
        bytes,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_answers_are_those_of_the_api() {
    let (daemon, ids) = with(&[("orders-value", described_order()), ("copies-value", described_order())]).await;
    assert_eq!(ids[0], ids[1], "one schema, one number");
    let body = |path: &str| -> Value { serde_json::from_str(&daemon.get(path).unwrap().body).unwrap() };
    let text = described_order().text.to_string();
    let metadata = json!({ "properties": { "owner": "sales" }, "tags": { "**.note": ["pii"] } });
    let untagged = json!({ "properties": { "owner": "sales" }, "tags": {} });
    assert_eq!(
        body("/schemas/ids/1"),
        json!({ "schema": text, "metadata": untagged }),
        "what readers of every age can read"
    );
    let version = json!({ "subject": "orders-value", "version": 1, "id": 1, "schema": text, "metadata": metadata });
    assert_eq!(body("/subjects/orders-value/versions/latest"), version);
    assert_eq!(body("/subjects/orders-value/versions/-1"), version);
    assert_eq!(body("/subjects/orders-value/versions/1/schema")["name"], "Order");
    assert_eq!(body("/schemas/ids/1/schema")["name"], "Order");
    assert_eq!(body("/schemas/ids/1/subjects"), json!(["copies-value", "orders-value"]));
    assert_eq!(
        body("/schemas/ids/1/versions")[1],
        json!({ "subject": "orders-value", "version": 1 })
    );
    assert_eq!(body("/subjects?subjectPrefix=cop"), json!(["copies-value"]));
    assert_eq!(body("/schemas/types"), json!(["JSON", "AVRO"]));
    assert_eq!(body("/config"), json!({ "compatibilityLevel": "FULL" }));
    assert_eq!(body("/config/orders-value")["error_code"], 40408);
    assert_eq!(
        body("/config/orders-value?defaultToGlobal=true"),
        json!({ "compatibilityLevel": "FULL" })
    );
    assert_eq!(body("/mode"), json!({ "mode": "READONLY" }));
    for (path, status, code) in [
        ("/subjects/nobody/versions", 404, 40401),
        ("/subjects/orders-value/versions/2", 404, 40402),
        ("/subjects/orders-value/versions/two", 422, 42202),
        ("/subjects/orders-value/versions/0", 422, 42202),
        ("/schemas/ids/99", 404, 40403),
        ("/schemas/ids/x", 404, 40403),
    ] {
        let answer = daemon.get(path).unwrap();
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &told["error_code"]), (status, &json!(code)), "{path}");
        assert!(
            told["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_read_and_asked_about_and_not_written() {
    let (daemon, _) = with(&[("orders-value", described_order())]).await;
    let ask = |method: &str, path: &str, body: &Value| -> (u16, Value) {
        let (status, answer) = http::request(daemon.port(), method, path, &body.to_string()).unwrap();
        (status, serde_json::from_str(&answer).unwrap())
    };
    let known = json!({ "schema": &*described_order().text });
    let other = json!({ "schema": "\"int\"" });
    assert_eq!(ask("POST", "/subjects/orders-value", &known).1["version"], 1);
    assert_eq!(ask("POST", "/subjects/orders-value", &other).1["error_code"], 40403);
    assert_eq!(ask("POST", "/subjects/nobody", &known).1["error_code"], 40401);
    assert_eq!(
        ask("POST", "/subjects/orders-value/versions", &known),
        (200, json!({ "id": 1 }))
    );
    for (method, path) in [
        ("POST", "/subjects/orders-value/versions"),
        ("POST", "/subjects/new-value/versions"),
        ("PUT", "/config"),
        ("PUT", "/config/orders-value"),
        ("PUT", "/mode"),
        ("DELETE", "/subjects/orders-value"),
        ("DELETE", "/subjects/orders-value/versions/1"),
    ] {
        let (status, answer) = ask(method, path, &other);
        assert_eq!((status, &answer["error_code"]), (403, &json!(40301)), "{method} {path}");
        assert!(answer["message"].as_str().unwrap().contains("`registries`"), "{answer}");
    }
    let path = "/compatibility/subjects/orders-value/versions/latest?verbose=true";
    let (_, verdict) = ask("POST", path, &other);
    assert_eq!(verdict["is_compatible"], false);
    assert!(verdict["messages"][0].as_str().unwrap().contains("is int"), "{verdict}");
    assert_eq!(
        ask("POST", path, &known).1,
        json!({ "is_compatible": true, "messages": [] })
    );
    let (_, verdict) = ask("POST", "/compatibility/subjects/orders-value/versions", &other);
    assert_eq!(verdict, json!({ "is_compatible": false }));
    for body in [json!({}), json!([]), json!({ "schema": "x", "schemaType": "PROTOBUF" })] {
        let (status, answer) = ask("POST", "/subjects/orders-value", &body);
        assert_eq!((status, &answer["error_code"]), (422, &json!(42201)), "{body}");
    }
}
