use tailrace_tests::daemon::Daemon;
use tailrace_tests::servers::{FakeRegistry, Registry, Reply};

/// A source that needs no server, and this registry.
fn sections(registry: &str) -> String {
    format!(
        "streams:
  events: {{ type: file, path: data/events }}
registries:
  schemas: {{ type: confluent, {registry} }}
connectors:
  shop:
    stream: events
    source: {{ type: sqlite, path: shop.db, tables: [\"*\"], query: {{ mode: incrementing, id_column: id }} }}"
    )
}

#[test]
fn a_registry_that_answers_is_shown_with_its_level() {
    let registry = Registry::start().unwrap();
    registry.set_level(None, "FULL").unwrap();
    let daemon = Daemon::new(&sections(&format!("url: \"{}\"", registry.url()))).unwrap();
    let printed = daemon.command("check", &[]).unwrap();
    assert!(printed.stdout.contains("registry schemas\n"), "{}", printed.all());
    assert!(
        printed.stdout.contains("holds new versions to FULL"),
        "{}",
        printed.all()
    );
}

#[test]
fn a_registry_that_refuses_us_blocks_and_no_secret_is_printed() {
    let refusal = r#"{"error_code": 40101, "message": "Unauthorized"}"#;
    let fake = FakeRegistry::start(|_| Reply::Json(401, refusal.to_owned())).unwrap();
    let registry = format!("url: \"{}\", username: app, password: hunter2-and-more", fake.url());
    let daemon = Daemon::new(&sections(&registry)).unwrap();
    let printed = daemon.command("check", &["--json"]).unwrap();
    assert_eq!(printed.code, Some(3), "{}", printed.all());
    assert!(printed.stdout.contains("registry_unauthorized"), "{}", printed.all());
    assert!(!printed.all().contains("hunter2"), "{}", printed.all());
    assert!(fake.asked()[0].authorization.is_some());
}

#[test]
fn a_registry_that_is_wrong_in_itself_is_refused_with_its_place() {
    for (registry, words) in [
        ("url: []", "`url` is empty"),
        (
            "url: \"http://app:hunter2@localhost:8081\"",
            "belong under `username` and `password`",
        ),
        ("url: \"http://localhost:8081\", passwort: x", "did you mean `password`"),
        ("url: \"http://localhost:8081\", username: app", "`password` is missing"),
    ] {
        let printed = Daemon::new(&sections(registry))
            .unwrap()
            .command("validate", &[])
            .unwrap();
        assert_eq!(printed.code, Some(2), "{registry}: {}", printed.all());
        assert!(printed.all().contains(words), "{registry}: {}", printed.all());
        assert!(!printed.all().contains("hunter2"), "{}", printed.all());
    }
}
