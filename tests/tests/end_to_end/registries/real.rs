use tailrace_core::check::Severity;
use tailrace_core::error::Kind;
use tailrace_core::registry::{Compatibility, SchemaId, SchemaRegistry, SchemaType};
use tailrace_tests::servers::Registry;

use super::{client, order, schema};

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_registered_once_and_read_back() {
    let registry = Registry::start().unwrap();
    let first = client(&registry.url());
    let one = order(&[("id", "long")]);
    let id = first.register("orders-value", &one).await.unwrap();
    assert_eq!(first.register("orders-value", &one).await.unwrap(), id);
    let two = order(&[("id", "long"), ("note", "string")]);
    let other = first.register("orders-value", &two).await.unwrap();
    assert_ne!(other, id);
    // Somebody who knows nothing is told the same, and adds nothing.
    let second = client(&registry.url());
    assert_eq!(second.register("orders-value", &one).await.unwrap(), id);
    let versions = second.versions("orders-value").await.unwrap();
    let numbers: Vec<_> = versions
        .iter()
        .map(|registered| (registered.version, registered.id))
        .collect();
    assert_eq!(numbers, [(1, id), (2, other)]);
    assert_eq!(second.by_id(id).await.unwrap(), one);
    assert_eq!(second.versions("nobody-value").await.unwrap(), []);
    let unknown = second.by_id(SchemaId(4711)).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.code()), (Kind::Definite, "schema_unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_of_both_languages_and_any_subject_are_kept() {
    let registry = Registry::start().unwrap();
    let known = client(&registry.url());
    let document = schema(
        SchemaType::Json,
        r#"{"type":"object","properties":{"id":{"type":"integer"}}}"#,
    );
    let subject = "legacy/öffentlich?orders#1 %41-value";
    let id = known.register(subject, &document).await.unwrap();
    let versions = client(&registry.url()).versions(subject).await.unwrap();
    assert_eq!(
        (versions.len(), versions[0].id, &versions[0].schema),
        (1, id, &document)
    );
    // What is said about a schema is not lost on a registry that cannot keep it, and does no harm there.
    let mut described = order(&[("id", "long")]);
    described.properties.insert("owner".to_owned(), "sales".to_owned());
    described.tags.insert("**.id".to_owned(), vec!["pii".to_owned()]);
    let id = known.register("described-value", &described).await.unwrap();
    assert_eq!(known.by_id(id).await.unwrap().text, described.text);
    let nonsense = known
        .register("nonsense-value", &schema(SchemaType::Avro, "{\"type\": \"recor"))
        .await;
    assert_eq!(nonsense.unwrap_err().code(), "schema_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_260_numbers_that_are_known_are_given_while_the_registry_is_down() {
    let registry = Registry::start().unwrap();
    let known = client(&registry.url());
    let old = order(&[("id", "long")]);
    let id = known.register("orders-value", &old).await.unwrap();
    registry.kill9().unwrap();
    assert_eq!(known.register("orders-value", &old).await.unwrap(), id);
    let new = order(&[("id", "long"), ("note", "string")]);
    let error = known.register("orders-value", &new).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transient, "registry_unreachable"));
    assert!(error.report().contains(&registry.url()), "{}", error.report());
    registry.restart().unwrap();
    known.register("orders-value", &new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_261_an_incompatible_schema_is_refused_with_its_differences() {
    let registry = Registry::start().unwrap();
    let known = client(&registry.url());
    known
        .register("orders-value", &order(&[("total", "int")]))
        .await
        .unwrap();
    registry.set_level(Some("orders-value"), "FULL").unwrap();
    assert_eq!(
        known.compatibility("orders-value").await.unwrap(),
        Some(Compatibility::Full)
    );
    let changed = order(&[("total", "string")]);
    let error = known.register("orders-value", &changed).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "schema_incompatible"));
    let sentence = error.report();
    for words in [
        "`orders-value`",
        "field `total`: was int, is string",
        "version 1",
        &registry.url(),
    ] {
        assert!(sentence.contains(words), "`{words}` is not in: {sentence}");
    }
    assert!(!known.objections("orders-value", &changed).await.unwrap().is_empty());
    assert_eq!(known.versions("orders-value").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_the_level_and_finds_a_wrong_path() {
    let registry = Registry::start().unwrap();
    registry.set_level(None, "BACKWARD_TRANSITIVE").unwrap();
    let findings = client(&registry.url()).check().await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Note);
    assert!(findings[0].problem.contains("BACKWARD_TRANSITIVE"), "{findings:?}");
    let elsewhere = client(&registry.url().replace("/apis/ccompat/v7", "")).check().await;
    assert_eq!(
        (elsewhere[0].severity, elsewhere[0].code),
        (Severity::Blocks, "registry_answer_invalid")
    );
    assert!(elsewhere[0].problem.contains("/apis/ccompat/v7"), "{elsewhere:?}");
}
