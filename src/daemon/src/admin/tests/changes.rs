//! Changes that are asked for at once, and what is told of connectors that ended.

use serde_json::{Value, json};
use tailrace_core::telemetry::Life;

use super::super::Heartbeat;
use super::{Endpoint, connector, endpoint};

/// As often as it takes for two requests to meet.
const ROUNDS: u32 = 20;

fn ask(endpoint: &Endpoint, method: &str, path: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    endpoint.send(method, path, &headers, body.as_bytes())
}

/// A connector that is stopped, so that no database is asked.
fn create(endpoint: &Endpoint) {
    let config = json!({
        "stream": "events",
        "format.envelope": "debezium",
        "source.type": "postgres",
        "source.url": "postgres://u@127.0.0.1:1/shop",
        "source.tables": "public.t",
    });
    let body = json!({ "name": "shop", "config": config, "initial_state": "STOPPED" });
    assert_eq!(ask(endpoint, "POST", "/connectors", &body), 201);
}

const CONFIG: &str = "/connectors/shop/config";

#[test]
fn changes_of_different_keys_at_once_are_both_kept() {
    let endpoint = &endpoint(vec![], Heartbeat::new());
    create(endpoint);
    for round in 0..ROUNDS {
        let changes = [
            json!({ "topic": format!("round{round}.{{table}}") }),
            json!({ "source.slot": format!("round_{round}") }),
        ];
        std::thread::scope(|threads| {
            for change in &changes {
                threads.spawn(move || assert_eq!(ask(endpoint, "PATCH", CONFIG, change), 200));
            }
        });
        let config = endpoint.json(CONFIG);
        assert_eq!(config["topic"], format!("round{round}.{{table}}"));
        assert_eq!(config["source.slot"], format!("round_{round}"));
    }
}

#[test]
fn a_change_does_not_bring_back_what_is_deleted() {
    let endpoint = &endpoint(vec![], Heartbeat::new());
    for round in 0..ROUNDS {
        create(endpoint);
        let change = json!({ "topic": format!("round{round}.{{table}}") });
        let status = std::thread::scope(|threads| {
            let patched = threads.spawn(move || ask(endpoint, "PATCH", CONFIG, &change));
            assert_eq!(ask(endpoint, "DELETE", "/connectors/shop", &json!({})), 204);
            patched.join().unwrap()
        });
        assert!([200, 404].contains(&status), "{status}");
        assert_eq!(endpoint.get(CONFIG).0, 404);
    }
}

#[test]
fn what_is_still_ending_is_not_stopped() {
    let endpoint = endpoint(vec![("deaf", Life::Streaming)], Heartbeat::new());
    let words = || {
        let status = endpoint.json("/connectors/deaf/status");
        (
            status["connector"]["state"].clone(),
            status["tasks"].as_array().unwrap().len(),
        )
    };
    let stop = || ask(&endpoint, "PUT", "/connectors/deaf/stop", &json!({}));
    assert_eq!(stop(), 204);
    assert_eq!(words(), (json!("RUNNING"), 1));
    // Whoever comes next waits until the first stop has cut it off.
    assert_eq!(stop(), 204);
    assert_eq!(words(), (json!("STOPPED"), 0));
}

#[test]
fn what_ended_against_every_wish_has_failed() {
    let endpoint = endpoint(vec![connector(Life::Stopped)], Heartbeat::new());
    let status = endpoint.json("/connectors/orders/status");
    assert_eq!(status["connector"]["state"], "RUNNING");
    assert_eq!(status["tasks"][0]["state"], "FAILED");
    assert_eq!(status["tasks"][0]["trace"], "because");
}
