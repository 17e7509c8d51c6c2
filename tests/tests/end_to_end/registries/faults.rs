use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tailrace_core::error::Kind;
use tailrace_core::registry::{SchemaId, SchemaRegistry};
use tailrace_tests::servers::{Asked, Certificate, FakeRegistry, Port, Reply};

use super::{client, client_of, order};

/// Longer than any test machine pauses, and shorter than anybody waits.
const SHORT_TIMEOUT_MS: u64 = 1500;
const PASSWORD: &str = "hunter2-and-more";

fn json_of(value: &Value) -> Reply {
    Reply::Json(200, value.to_string())
}

fn not_found() -> Reply {
    Reply::Json(
        404,
        r#"{"error_code": 40401, "message": "Subject not found."}"#.to_owned(),
    )
}

/// A registry that takes every schema under number 7.
fn honest(asked: &Asked, text: &str) -> Reply {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", path) if path.ends_with("/versions") => json_of(&json!({ "id": 7 })),
        ("POST", _) => not_found(),
        (_, "/schemas/ids/7") => json_of(&json!({ "schema": text })),
        (_, "/schemas/types") => json_of(&json!(["AVRO"])),
        (_, "/config") => json_of(&json!({ "compatibilityLevel": "FULL" })),
        _ => not_found(),
    }
}

/// Answers to a registration, and what each is.
fn wrong_answers() -> Vec<(Reply, Kind, &'static str)> {
    let html = "<html><body>Bad Gateway</body></html>".to_owned();
    let error = r#"{"error_code": 50001, "message": "store"}"#.to_owned();
    let refusal = r#"{"error_code": 42201, "message": "Invalid schema"}"#.to_owned();
    vec![
        (
            Reply::Html(200, html.clone()),
            Kind::Definite,
            "registry_answer_invalid",
        ),
        (
            Reply::Html(404, html.clone()),
            Kind::Definite,
            "registry_answer_invalid",
        ),
        (
            Reply::Html(409, html.clone()),
            Kind::Definite,
            "registry_answer_invalid",
        ),
        (Reply::Html(502, html), Kind::Transient, "registry_unavailable"),
        (Reply::Json(500, error.clone()), Kind::Transient, "registry_unavailable"),
        (Reply::Json(429, error.clone()), Kind::Transient, "registry_unavailable"),
        (Reply::Json(401, error.clone()), Kind::Definite, "registry_unauthorized"),
        (Reply::Json(403, error), Kind::Definite, "registry_unauthorized"),
        (Reply::Json(422, refusal), Kind::Definite, "schema_refused"),
        (Reply::Huge(9 * 1024 * 1024), Kind::Definite, "registry_answer_invalid"),
        (Reply::Never, Kind::Transient, "registry_unreachable"),
        (Reply::CutOff, Kind::Transient, "registry_unreachable"),
        (
            json_of(&json!({ "id": "7" })),
            Kind::Definite,
            "registry_answer_invalid",
        ),
        (json_of(&json!({ "id": -7 })), Kind::Definite, "registry_answer_invalid"),
        (json_of(&json!({ "id": 0 })), Kind::Definite, "registry_answer_invalid"),
        (
            json_of(&json!({ "id": 2_147_483_648_u32 })),
            Kind::Definite,
            "registry_answer_invalid",
        ),
        (json_of(&json!({})), Kind::Definite, "registry_answer_invalid"),
        (json_of(&json!([7])), Kind::Definite, "registry_answer_invalid"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_262_answers_of_a_registry_are_believed_only_when_they_are_right() {
    for (reply, kind, code) in wrong_answers() {
        let said = reply.clone();
        let fake = FakeRegistry::start(move |asked| match asked.path.as_str() {
            "/subjects/orders-value/versions" => said.clone(),
            _ => not_found(),
        })
        .unwrap();
        let known = client_of(&json!({
            "url": fake.url(), "username": "app", "password": PASSWORD, "timeout_ms": SHORT_TIMEOUT_MS
        }));
        let shown = format!("{reply:.60?}");
        let sent = order(&[("id", "long")]);
        let error = known.register("orders-value", &sent).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (kind, code),
            "{shown}: {}",
            error.report()
        );
        let sentence = error.report();
        assert!(
            sentence.contains(&fake.url()) && !sentence.contains(PASSWORD),
            "{sentence}"
        );
        assert!(
            sentence.contains("; ") && !sentence.contains('\n'),
            "a remedy, in one line: {sentence}"
        );
        assert!(!format!("{known:?}").contains(PASSWORD), "{known:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_262_a_number_that_stands_for_another_schema_is_not_used() {
    let wrong = order(&[("id", "string")]).text.to_string();
    let fake = FakeRegistry::start(move |asked| honest(asked, &wrong)).unwrap();
    let known = client(&fake.url());
    let sent = order(&[("id", "long")]);
    let error = known.register("orders-value", &sent).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "registry_wrong_id"));
    // Nor is it remembered.
    let error = known.register("orders-value", &sent).await.unwrap_err();
    assert_eq!(error.code(), "registry_wrong_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_262_versions_that_are_none_are_refused() {
    for versions in [
        json!("1"),
        json!(["one"]),
        json!([4_294_967_296_u64]),
        json!({ "1": 1 }),
    ] {
        let fake = FakeRegistry::start(move |_| json_of(&versions)).unwrap();
        let error = client(&fake.url()).versions("orders-value").await.unwrap_err();
        assert_eq!(error.code(), "registry_answer_invalid", "{}", error.report());
    }
    let fake = FakeRegistry::start(|asked| match asked.path.as_str() {
        "/subjects/orders-value/versions" => json_of(&json!([1])),
        _ => json_of(&json!({ "id": 1, "version": 2, "schema": "\"int\"" })),
    })
    .unwrap();
    let error = client(&fake.url()).versions("orders-value").await.unwrap_err();
    assert_eq!(error.code(), "registry_answer_invalid", "{}", error.report());
    let fake = FakeRegistry::start(|_| json_of(&json!({ "schema": "x", "schemaType": "PROTOBUF" }))).unwrap();
    let error = client(&fake.url()).by_id(SchemaId(1)).await.unwrap_err();
    assert_eq!(error.code(), "schema_refused", "{}", error.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_263_no_redirect_of_a_registry_is_followed() {
    let elsewhere = FakeRegistry::start_at("127.0.0.2", |_| json_of(&json!({ "id": 7 }))).unwrap();
    for status in [301, 302, 303, 307, 308] {
        for place in [format!("{}/subjects", elsewhere.url()), "file:///etc/passwd".to_owned()] {
            let location = place.clone();
            let fake = FakeRegistry::start(move |_| Reply::Redirect(status, location.clone())).unwrap();
            let known = client_of(&json!({ "url": fake.url(), "token": PASSWORD }));
            let error = known
                .register("orders-value", &order(&[("id", "long")]))
                .await
                .unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::Definite, "registry_redirect"));
            assert!(error.report().contains(&place), "{}", error.report());
            assert_eq!(fake.asked().len(), 1);
        }
    }
    assert_eq!(elsewhere.connections(), 0, "nobody else is asked, nor told who we are");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_tried_in_turn_and_the_one_that_answered_is_asked_first() {
    let nobody = Port::claim().unwrap();
    let broken = FakeRegistry::start(|_| Reply::Html(503, "maintenance".to_owned())).unwrap();
    let sent = order(&[("id", "long")]);
    let text = sent.text.to_string();
    let fine = FakeRegistry::start(move |asked| honest(asked, &text)).unwrap();
    let dead = format!("http://127.0.0.1:{}", nobody.number());
    let known = client_of(&json!({ "url": [dead, broken.url(), fine.url()] }));
    assert_eq!(known.register("orders-value", &sent).await.unwrap(), SchemaId(7));
    assert_eq!(broken.asked().len(), 1, "{:?}", broken.asked());
    // A definite refusal is not asked for twice.
    let refusing = FakeRegistry::start(|_| Reply::Json(401, String::new())).unwrap();
    let known = client_of(&json!({ "url": [refusing.url(), fine.url()] }));
    let before = fine.asked().len();
    assert_eq!(
        known.register("orders-value", &sent).await.unwrap_err().code(),
        "registry_unauthorized"
    );
    assert_eq!(fine.asked().len(), before);
    let findings = client_of(&json!({ "url": [broken.url(), fine.url()] })).check().await;
    let codes: Vec<_> = findings
        .iter()
        .map(|finding| (finding.severity, finding.code))
        .collect();
    use tailrace_core::check::Severity;
    assert_eq!(
        codes,
        [
            (Severity::Warning, "registry_unavailable"),
            (Severity::Note, "registry_compatibility")
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_registry_is_left_after_the_timeout() {
    let fake = FakeRegistry::start(|_| Reply::Never).unwrap();
    let known = client_of(&json!({ "url": fake.url(), "timeout_ms": SHORT_TIMEOUT_MS }));
    let started = std::time::Instant::now();
    let error = known.versions("orders-value").await.unwrap_err();
    assert_eq!(error.code(), "registry_unreachable");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_certificates_are_used_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::make(folder.path()).unwrap();
    let sent = order(&[("id", "long")]);
    let text = sent.text.to_string();
    let fake = FakeRegistry::start_with_tls(&certificate, move |asked| honest(asked, &text)).unwrap();
    let basic = client_of(&json!({
        "url": fake.url(), "ca_file": certificate.authority, "username": "app", "password": "secret"
    }));
    assert_eq!(basic.register("orders-value", &sent).await.unwrap(), SchemaId(7));
    // base64 of "app:secret"
    let expected = Some("Basic YXBwOnNlY3JldA==".to_owned());
    assert!(
        fake.asked().iter().all(|asked| asked.authorization == expected),
        "{:?}",
        fake.asked()
    );
    let bearer = client_of(&json!({ "url": fake.url(), "ca_file": certificate.authority, "token": "abc" }));
    bearer.register("orders-value", &sent).await.unwrap();
    assert_eq!(
        fake.asked().last().unwrap().authorization.as_deref(),
        Some("Bearer abc")
    );
    // Neither an authority that we do not know, nor a name that the certificate is not for.
    let asked = fake.asked().len();
    let system = client_of(&json!({ "url": fake.url() }))
        .versions("orders-value")
        .await
        .unwrap_err();
    assert_eq!(
        (system.kind(), system.code()),
        (Kind::Definite, "registry_certificate"),
        "{}",
        system.report()
    );
    let by_name = fake.url().replace("127.0.0.1", "localhost");
    let named = client_of(&json!({ "url": by_name, "ca_file": certificate.authority }));
    assert_eq!(
        named.versions("orders-value").await.unwrap_err().code(),
        "registry_certificate"
    );
    assert_eq!(fake.asked().len(), asked, "nothing was asked, nor any secret shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registry_does_not_know_is_left_out_and_the_schema_registered() {
    let mut sent = order(&[("id", "long")]);
    sent.properties.insert("owner".to_owned(), "sales".to_owned());
    let text = sent.text.to_string();
    let knows = AtomicBool::new(false);
    let fake = FakeRegistry::start(move |asked| {
        if asked.body.contains("metadata") && !knows.load(Ordering::SeqCst) {
            let refusal = r#"{"error_code": 422, "message": "Unrecognized field: metadata"}"#;
            return Reply::Json(422, refusal.to_owned());
        }
        honest(asked, &text)
    })
    .unwrap();
    assert_eq!(
        client(&fake.url()).register("orders-value", &sent).await.unwrap(),
        SchemaId(7)
    );
    let with: Vec<bool> = fake
        .asked()
        .iter()
        .map(|asked| asked.body.contains("metadata"))
        .collect();
    assert_eq!(with, [true, false, false, false], "it is tried once");
}
