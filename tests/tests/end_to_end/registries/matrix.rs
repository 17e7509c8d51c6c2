//! Both matrices of compatibility, every pair in subjects of its own and at every level: a real registry decides as we do, or as the
//! matrix says with its reason.

use serde_json::{Value, json};
use tailrace_codec::contract::{compare, decide};
use tailrace_codec::registry::ConfluentRegistry;
use tailrace_core::registry::{Compatibility, RegisteredSchema, Schema, SchemaId, SchemaRegistry, SchemaType};
use tailrace_tests::servers::Registry;

use super::{client, schema};

const AVRO: &str = include_str!("../../../vectors/compatibility.tsv");
const JSON: &str = include_str!("../../../vectors/compatibility_json.tsv");

/// A pair, and whether each reads what the other wrote.
struct Pair {
    case: &'static str,
    old: Schema,
    new: Schema,
    ours: Directions,
    /// Nothing where the registry takes no such schema.
    theirs: Option<Directions>,
}

#[derive(Clone, Copy)]
struct Directions {
    backward: bool,
    forward: bool,
}

/// A registry, and a client of it.
struct Asked {
    registry: Registry,
    client: ConfluentRegistry,
}

// === impl Directions ===

impl Directions {
    fn parse(cells: &[&str]) -> Option<Directions> {
        let decided = |cell: &str| match cell {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        };
        Some(Directions {
            backward: decided(cells[0])?,
            forward: decided(cells[1])?,
        })
    }

    fn allow(self, level: Compatibility) -> bool {
        (self.backward || !level.is_backward()) && (self.forward || !level.is_forward())
    }
}

// === impl Pair ===

impl Pair {
    fn parse(line: &'static str, schema_type: SchemaType) -> Pair {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let [case, old, new, ..] = cells[..] else {
            unreachable!("eight fields: {line}");
        };
        let differs = cells[3..5] != cells[5..7];
        assert_eq!(
            differs,
            !cells[7].is_empty(),
            "{case}: a difference, and it alone, has a reason"
        );
        Pair {
            case,
            old: schema(schema_type, &marked(old, schema_type)),
            new: schema(schema_type, &marked(new, schema_type)),
            ours: Directions::parse(&cells[3..5]).unwrap(),
            theirs: Directions::parse(&cells[5..7]),
        }
    }

    /// The new schema once more, with something that means nothing to readers. A union at the root has no room for that.
    fn again(&self) -> Option<Schema> {
        let mut text: Value = serde_json::from_str(&self.new.text).unwrap();
        let documentation = match self.new.schema_type {
            SchemaType::Avro => "doc",
            SchemaType::Json => "description",
        };
        text.as_object_mut()?.insert(documentation.to_owned(), json!("Again."));
        Some(schema(self.new.schema_type, &text.to_string()))
    }
}

/// The registry knows by its dialect that something is a JSON Schema.
fn marked(text: &str, schema_type: SchemaType) -> String {
    match text.strip_prefix('{') {
        Some(rest) if schema_type == SchemaType::Json => {
            format!(r#"{{"$schema": "http://json-schema.org/draft-07/schema#", {rest}"#)
        }
        _ => text.to_owned(),
    }
}

// === impl Asked ===

impl Asked {
    /// Whether the registry takes a schema after those that are in a subject.
    async fn takes(&self, subject: &str, level: Compatibility, proposed: &Schema) -> bool {
        self.registry.set_level(Some(subject), level.registry_name()).unwrap();
        self.client.objections(subject, proposed).await.unwrap().is_empty()
    }

    /// A subject with these versions, whatever they are to each other.
    async fn subject(&self, name: &str, versions: &[&Schema]) -> Vec<RegisteredSchema> {
        for version in versions {
            self.client.register(name, version).await.unwrap();
        }
        let numbered = versions.iter().zip(1..).map(|(schema, number)| RegisteredSchema {
            id: SchemaId(number),
            version: number,
            schema: Schema::clone(schema),
        });
        numbered.collect()
    }

    /// One pair at every level: as the newest version, and with a version between that a transitive level looks behind.
    async fn compare(&self, pair: &Pair, name: &str) {
        let Some(theirs) = pair.theirs else {
            let refused = self.client.register(name, &pair.old).await;
            assert!(refused.is_err(), "{}: the registry takes it", pair.case);
            return;
        };
        self.subject(name, &[&pair.old]).await;
        for level in [
            Compatibility::None,
            Compatibility::Backward,
            Compatibility::Forward,
            Compatibility::Full,
        ] {
            let case = format!("{}, {level:?}", pair.case);
            assert_eq!(
                self.takes(name, level, &pair.new).await,
                theirs.allow(level),
                "{case}: the registry"
            );
            let found = compare(level, &pair.old, &pair.new);
            assert_eq!(found.is_empty(), pair.ours.allow(level), "{case}: ours");
        }
        let Some(proposed) = pair.again().filter(|_| pair.old.text != pair.new.text) else {
            return;
        };
        let behind = format!("{name}-behind");
        let versions = self.subject(&behind, &[&pair.old, &pair.new]).await;
        for level in [
            Compatibility::Full,
            Compatibility::BackwardTransitive,
            Compatibility::ForwardTransitive,
            Compatibility::FullTransitive,
        ] {
            let case = format!("{}, behind another version, {level:?}", pair.case);
            let expected = |directions: Directions| !level.is_transitive() || directions.allow(level);
            assert_eq!(
                self.takes(&behind, level, &proposed).await,
                expected(theirs),
                "{case}: the registry"
            );
            let found = decide(level, &proposed, &versions);
            assert_eq!(found.is_empty(), expected(pair.ours), "{case}: ours");
        }
    }
}

async fn decide_all(matrix: &'static str, schema_type: SchemaType) -> usize {
    let registry = Registry::start().unwrap();
    let client = client(&registry.url());
    let asked = Asked { registry, client };
    let lines = matrix.lines().filter(|line| !line.starts_with('#')).skip(1);
    let mut pairs = 0;
    for (row, line) in lines.enumerate() {
        asked
            .compare(&Pair::parse(line, schema_type), &format!("case-{row}"))
            .await;
        pairs += 1;
    }
    pairs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_decides_about_avro_as_we_do_or_as_the_matrix_says() {
    assert!(decide_all(AVRO, SchemaType::Avro).await >= 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_decides_about_json_schema_as_we_do_or_as_the_matrix_says() {
    assert!(decide_all(JSON, SchemaType::Json).await >= 40);
}
