//! The embedded registry as its users see it; the rules are a test's own, those of the codec have tests of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection};
use tailrace_core::error::Kind;
use tailrace_core::registry::SubjectSettings;
use tailrace_core::registry::{
    Compatibility, RegisteredSchema, Schema, SchemaId, SchemaRegistry, SchemaRules, SchemaType,
};
use tailrace_state::{EmbeddedRegistry, StateStore};

use crate::place;

/// A schema is a list of letters; a newer one may only add to them.
struct Letters;

impl SchemaRules for Letters {
    fn fault(&self, schema: &Schema) -> Option<String> {
        schema.text.is_empty().then(|| "it is empty".to_owned())
    }

    fn is_same(&self, left: &Schema, right: &Schema) -> bool {
        left.text.trim() == right.text.trim()
    }

    fn objections(&self, level: Compatibility, proposed: &Schema, earlier: &[RegisteredSchema]) -> Vec<String> {
        let newest = earlier.last().filter(|_| level != Compatibility::None);
        let lost = newest.filter(|newest| !proposed.text.starts_with(&*newest.schema.text));
        lost.map(|newest| format!("{} is not in it", newest.schema.text))
            .into_iter()
            .collect()
    }
}

async fn open(path: &Path) -> (StateStore, EmbeddedRegistry) {
    let store = StateStore::open(path).await.unwrap();
    let registry = store.registry(Arc::new(Letters));
    (store, registry)
}

fn schema(text: &str) -> Schema {
    Schema {
        schema_type: SchemaType::Avro,
        text: text.into(),
        properties: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

async fn versions(registry: &EmbeddedRegistry, subject: &str) -> Vec<(u32, u32)> {
    let versions = registry.versions(subject).await.unwrap();
    versions
        .iter()
        .map(|registered| (registered.version, registered.id.0))
        .collect()
}

#[tokio::test]
async fn a_schema_has_one_number_wherever_and_how_often_it_is_registered() {
    let (_folder, path) = place();
    let (store, registry) = open(&path).await;
    assert_eq!(registry.register("orders", &schema("a")).await.unwrap(), SchemaId(1));
    assert_eq!(registry.register("orders", &schema("ab")).await.unwrap(), SchemaId(2));
    assert_eq!(registry.register("orders", &schema("a")).await.unwrap(), SchemaId(1));
    assert_eq!(registry.register("copies", &schema("ab")).await.unwrap(), SchemaId(2));
    // What is said about a schema is part of it.
    let mut owned = schema("ab");
    owned.properties.insert("owner".to_owned(), "sales".to_owned());
    owned.tags.insert("**.b".to_owned(), vec!["pii".to_owned()]);
    assert_eq!(registry.register("orders", &owned).await.unwrap(), SchemaId(3));
    store.close().await.unwrap();
    let (_store, registry) = open(&path).await;
    assert_eq!(versions(&registry, "orders").await, [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(versions(&registry, "nobody").await, []);
    assert_eq!(registry.subjects().await.unwrap(), ["copies", "orders"]);
    assert_eq!(registry.by_id(SchemaId(3)).await.unwrap(), owned);
    let uses = registry.uses_of(SchemaId(2)).await.unwrap();
    assert_eq!(uses, [("copies".to_owned(), 1), ("orders".to_owned(), 2)]);
    let unknown = registry.by_id(SchemaId(4)).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.code()), (Kind::Definite, "schema_unknown"));
}

#[tokio::test]
async fn what_the_rules_refuse_is_not_taken_in() {
    let (_folder, path) = place();
    let (_store, registry) = open(&path).await;
    registry.register("orders", &schema("a")).await.unwrap();
    let error = registry.register("orders", &schema("b")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "schema_incompatible"));
    let sentence = error.to_string();
    for words in ["`orders`", "version 1", "FULL", "a is not in it"] {
        assert!(sentence.contains(words), "`{words}` is not in: {sentence}");
    }
    let error = registry.register("orders", &schema("")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "schema_refused"));
    assert_eq!(versions(&registry, "orders").await, [(1, 1)]);
    assert_eq!(
        registry.objections("orders", &schema("b")).await.unwrap(),
        ["a is not in it"]
    );
    let lax = SubjectSettings {
        compatibility: Some(Compatibility::None),
        deprecated: Some("use orders.v2".to_owned()),
    };
    registry.set("orders", &lax).await.unwrap();
    assert_eq!(registry.settings("orders").await.unwrap(), lax);
    assert_eq!(registry.register("orders", &schema("b")).await.unwrap(), SchemaId(2));
    registry.set("orders", &SubjectSettings::default()).await.unwrap();
    assert_eq!(registry.settings("orders").await.unwrap(), SubjectSettings::default());
}

#[tokio::test]
async fn a_deleted_version_is_hidden_and_its_numbers_are_not_given_again() {
    let (_folder, path) = place();
    let (_store, registry) = open(&path).await;
    registry.register("orders", &schema("a")).await.unwrap();
    registry.register("orders", &schema("ab")).await.unwrap();
    assert!(registry.delete("orders", 2).await.unwrap());
    assert!(!registry.delete("orders", 2).await.unwrap());
    assert!(!registry.delete("orders", 9).await.unwrap());
    assert_eq!(versions(&registry, "orders").await, [(1, 1)]);
    // Records that were written with it are still read.
    assert_eq!(registry.by_id(SchemaId(2)).await.unwrap(), schema("ab"));
    assert_eq!(registry.register("orders", &schema("ac")).await.unwrap(), SchemaId(3));
    assert_eq!(versions(&registry, "orders").await, [(1, 1), (3, 3)]);
    assert!(registry.delete("orders", 1).await.unwrap() && registry.delete("orders", 3).await.unwrap());
    assert!(registry.subjects().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_schema_is_found_in_other_words_too() {
    let (_folder, path) = place();
    let (_store, registry) = open(&path).await;
    registry.register("orders", &schema("a")).await.unwrap();
    registry.register("orders", &schema("a ")).await.unwrap();
    let version = async |text| {
        let found = registry.look_up("orders", &schema(text)).await.unwrap();
        found.map(|registered| registered.version)
    };
    assert_eq!(version("a").await, Some(1));
    assert_eq!(version(" a").await, Some(2));
    assert_eq!(version("b").await, None);
}

#[tokio::test]
async fn a_damaged_registry_is_refused() {
    for statement in [
        "UPDATE registry_schemas SET schema_text = 'b'",
        "UPDATE registry_schemas SET id = 7",
        "UPDATE registry_versions SET schema_id = 7",
        "UPDATE registry_versions SET deleted = 1",
        "UPDATE registry_subjects SET compatibility = 'NONE'",
        "DELETE FROM registry_schemas",
    ] {
        let (_folder, path) = place();
        let (store, registry) = open(&path).await;
        registry.register("orders", &schema("a")).await.unwrap();
        registry.set("orders", &SubjectSettings::default()).await.unwrap();
        store.close().await.unwrap();
        let url = format!("sqlite://{}", path.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("PRAGMA foreign_keys = OFF")
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let code = StateStore::open(&path).await.map_err(|error| error.code());
        assert_eq!(code.err(), Some("state_corrupt"), "{statement}");
    }
}

/// Numbers are told only when they cannot be lost: not with the log, either.
#[tokio::test]
async fn what_has_a_number_is_in_the_main_file() {
    let (folder, path) = place();
    let (_store, registry) = open(&path).await;
    registry.register("orders", &schema("a")).await.unwrap();
    let crashed = folder.path().join("crashed.db");
    std::fs::copy(&path, &crashed).unwrap();
    let copied = StateStore::adopt(&crashed).await.unwrap();
    let registry = copied.registry(Arc::new(Letters));
    let found = registry.versions("orders").await.unwrap();
    assert_eq!((found.len(), found[0].id), (1, SchemaId(1)));
}
