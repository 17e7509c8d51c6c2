use tailrace_core::dead_letter::{DeadLetterConfig, Letter, Maximum, Original, RecordImage};

use super::*;

const MAXIMUM: Maximum = Maximum {
    letters: 10,
    bytes: 1 << 20,
};

fn letter(number: u32, key: &str) -> Letter {
    Letter {
        identity: number.to_string(),
        event_id: format!("e-{number}"),
        table: "public.orders".to_owned(),
        operation: "u".to_owned(),
        key: Some(format!("{{\"id\":\"{key}\"}}")),
        position: "0/1".to_owned(),
        updated_at_us: 1_700_000_000_123_456,
        keys: vec![format!("public.orders\u{0}{key}")],
        code: "value_not_encodable".to_owned(),
        reason: "too large".to_owned(),
        quarantined_at_us: 1_700_000_001_000_000,
        original: Some(Original::Record(RecordImage {
            topic: "orders".to_owned(),
            partition: 0,
            offset: 7,
            timestamp_ms: 0,
            key: None,
            value: Some("AP8=".to_owned()),
            headers: Vec::new(),
        })),
    }
}

async fn desk(order: LetterOrder) -> (tempfile::TempDir, LetterDesk) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateStore::open(&folder.path().join("state.db")).await.unwrap();
    let store = state.connector("shop").await.unwrap();
    let letters = [letter(1, "a"), letter(2, "b"), letter(3, "a")];
    store.quarantine(&letters, MAXIMUM).await.unwrap();
    let config = DeadLetterConfig {
        policy: LetterPolicy::Store,
        order,
        ..DeadLetterConfig::default()
    };
    let desk = LetterDesk {
        rules: DeadLetters::new("shop", config, "shop.dead_letters".into()),
        state,
        telemetry: Some(Arc::new(Telemetry::new("shop"))),
    };
    (folder, desk)
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_letter_is_shown_in_full_and_listed_without_its_content() {
    let (_folder, desk) = desk(LetterOrder::None).await;
    let listing = json(&desk.list(1, false).await.unwrap());
    assert_eq!(listing["waiting"], 3);
    assert_eq!(listing["oldest"], "2023-11-14T22:13:21.000000Z");
    assert_eq!(listing["letters"].as_array().unwrap().len(), 2);
    assert_eq!(listing["letters"][0]["key"]["id"], "b");
    assert!(listing["letters"][0]["record"].is_null());
    let shown = json(&desk.show(2).await.unwrap());
    assert_eq!(shown["record"]["value"], "AP8=");
    assert_eq!(shown["updated_at"], "2023-11-14T22:13:20.123456Z");
    assert_eq!(desk.show(9).await.unwrap_err().code(), UNKNOWN);
}

#[tokio::test]
async fn what_waits_behind_another_is_not_sent_before_it() {
    let (_folder, desk) = desk(LetterOrder::Key).await;
    let refused = desk.request(3).await.unwrap_err();
    assert_eq!(refused.code(), BEHIND);
    assert!(refused.report().contains("behind letter 1"), "{}", refused.report());
    desk.request(2).await.unwrap();
    desk.request(1).await.unwrap();
    desk.request(3).await.unwrap();
    // Nothing is marked before the pipeline has sent it.
    let listing = json(&desk.list(0, false).await.unwrap());
    assert_eq!(listing["letters"][2]["state"], "replay_requested");
}

#[tokio::test]
async fn what_is_dropped_is_gone_and_known_to_be() {
    let (_folder, desk) = desk(LetterOrder::Key).await;
    let version = *desk.rules.desk.hold().await;
    let dropped = json(&desk.give_up(1).await.unwrap());
    assert_eq!(dropped["record"]["value"], "AP8=", "what is lost is told");
    assert_eq!(*desk.rules.desk.hold().await, version + 1);
    assert!(json(&desk.show(1).await.unwrap())["record"].is_null());
    assert_eq!(desk.give_up(1).await.unwrap_err().code(), CLOSED);
    assert_eq!(desk.request(1).await.unwrap_err().code(), CLOSED);
    let store = desk.state.connector("shop").await.unwrap();
    assert_eq!(store.dropped(&["1".to_owned(), "2".to_owned()]).await.unwrap(), ["1"]);
    assert_eq!(desk.telemetry.as_ref().unwrap().snapshot().dead_letters.waiting, 2);
    desk.request(3).await.unwrap();
}
