use std::collections::BTreeMap;

use serde_json::json;
use tailrace_core::registry::SchemaId;

use super::*;

const MATRIX: &str = include_str!("../../../../../tests/vectors/compatibility.tsv");
const JSON_MATRIX: &str = include_str!("../../../../../tests/vectors/compatibility_json.tsv");

fn schema(schema_type: SchemaType, text: &str) -> Schema {
    Schema {
        schema_type,
        text: text.into(),
        properties: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

fn avro(text: &str) -> Schema {
    schema(SchemaType::Avro, text)
}

fn sentences(level: Compatibility, old: &Schema, new: &Schema) -> Vec<String> {
    compare(level, old, new).iter().map(ToString::to_string).collect()
}

/// A record `Order` of these fields.
fn order(fields: &str) -> Schema {
    avro(&format!(
        r#"{{"type": "record", "name": "Order", "fields": [{fields}]}}"#
    ))
}

/// Decides every case of a matrix in each direction, and says how many there were.
fn decide_matrix(matrix: &str, schema_type: SchemaType) -> usize {
    let lines = matrix.lines().filter(|line| !line.starts_with('#')).skip(1);
    let mut cases = 0;
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let [case, old, new, backward, forward, ..] = cells.as_slice() else {
            panic!("{line}");
        };
        let (old, new) = (schema(schema_type, old), schema(schema_type, new));
        let decided = |level| {
            if compare(level, &old, &new).is_empty() {
                "yes"
            } else {
                "no"
            }
        };
        assert_eq!(decided(Compatibility::Backward), *backward, "{case}: backward");
        assert_eq!(decided(Compatibility::Forward), *forward, "{case}: forward");
        let both = if (*backward, *forward) == ("yes", "yes") {
            "yes"
        } else {
            "no"
        };
        assert_eq!(decided(Compatibility::Full), both, "{case}: full");
        assert_eq!(decided(Compatibility::None), "yes", "{case}: none");
        cases += 1;
    }
    cases
}

#[test]
fn the_matrices_are_decided_as_written() {
    assert!(decide_matrix(MATRIX, SchemaType::Avro) >= 50);
    assert!(decide_matrix(JSON_MATRIX, SchemaType::Json) >= 20);
}

#[test]
fn people_are_told_what_was_what_is_and_who_cannot_read_it() {
    let old = order(r#"{"name": "total", "type": "int"}, {"name": "note", "type": "string"}"#);
    let new = order(r#"{"name": "total", "type": "string"}, {"name": "state", "type": "string"}"#);
    assert_eq!(
        sentences(Compatibility::Full, &old, &new),
        [
            "field `total`: was int, is string; neither can readers of the old schema read it, nor readers of the new one \
             what was before",
            "field `state`: is new and has no default; readers of the new schema cannot read what was written before",
            "field `note`: was dropped and had no default; readers of the old schema cannot read it",
        ]
    );
    assert_eq!(
        sentences(
            Compatibility::Forward,
            &old,
            &order(r#"{"name": "total", "type": "long"}, {"name": "note", "type": "string"}"#)
        ),
        ["field `total`: was int, is long; readers of the old schema cannot read it"]
    );
}

#[test]
fn places_lead_into_records_arrays_and_maps() {
    let nested = |of: &str| {
        order(&format!(
            r#"{{"name": "lines", "type": {{"type": "array", "items": {{"type": "record", "name": "Line", "fields": [
                {{"name": "by", "type": {{"type": "map", "values": "{of}"}}}}]}}}}}}"#
        ))
    };
    let found = compare(Compatibility::Backward, &nested("int"), &nested("boolean"));
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].path.as_str(), found[0].kind),
        ("lines[].by{}", IncompatibilityKind::Type)
    );
    assert_eq!(found[0].readers, Readers::New);
}

#[test]
fn transitive_levels_look_at_every_version_and_others_at_the_newest() {
    let version = |number: u32, fields: &str| RegisteredSchema {
        id: SchemaId(number),
        version: number,
        schema: order(fields),
    };
    // Version 1 wrote no `b` ; version 2 gave it a default; the new one takes that away.
    let a = r#"{"name": "a", "type": "int"}"#;
    let earlier = [
        version(1, a),
        version(2, &format!(r#"{a}, {{"name": "b", "type": "int", "default": 0}}"#)),
    ];
    let proposed = order(&format!(r#"{a}, {{"name": "b", "type": "int"}}"#));
    assert!(decide(Compatibility::Backward, &proposed, &earlier).is_empty());
    assert!(decide(Compatibility::ForwardTransitive, &proposed, &earlier).is_empty());
    for level in [Compatibility::BackwardTransitive, Compatibility::FullTransitive] {
        let found = decide(level, &proposed, &earlier);
        assert_eq!(found.len(), 1, "{level:?}");
        assert_eq!(found[0].version, Some(1));
        assert!(
            found[0].to_string().starts_with("against version 1: field `b`"),
            "{}",
            found[0]
        );
    }
    assert!(decide(Compatibility::FullTransitive, &proposed, &[]).is_empty());
}

#[test]
fn what_is_no_schema_or_of_another_language_is_said() {
    let fine = avro(r#""int""#);
    let found = compare(Compatibility::Full, &fine, &avro(r#""date""#));
    assert_eq!(found[0].kind, IncompatibilityKind::NotASchema);
    assert_eq!(
        found[0].sentence,
        "the new schema cannot be compared: there is no type `date`"
    );
    let found = compare(
        Compatibility::Full,
        &fine,
        &schema(SchemaType::Json, r#"{"type": "integer"}"#),
    );
    assert_eq!(found[0].kind, IncompatibilityKind::Language);
}

#[test]
fn aliases_that_are_names_of_other_fields_are_not_decided() {
    let old = order(r#"{"name": "a", "type": "int"}"#);
    let new = order(r#"{"name": "a", "type": "int"}, {"name": "b", "aliases": ["a"], "type": "int", "default": 0}"#);
    assert_eq!(
        compare(Compatibility::Backward, &old, &new)[0].kind,
        IncompatibilityKind::Undecided
    );
}

#[test]
fn defaults_must_be_values_of_their_type() {
    let old = order("");
    for (of, default, fits) in [
        (r#"["null", "int"]"#, "null", true),
        (r#"["null", "int"]"#, "1", false),
        (r#"["int", "null"]"#, "1", true),
        (r#""int""#, "3000000000", false),
        (r#""long""#, "3000000000", true),
        (r#""bytes""#, r#""\u00ff""#, true),
        (r#""bytes""#, r#""\u0100""#, false),
        (r#"{"type": "fixed", "name": "F", "size": 2}"#, r#""ab""#, true),
        (r#"{"type": "fixed", "name": "F", "size": 2}"#, r#""abc""#, false),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#, r#""B""#, false),
        (r#"{"type": "array", "items": "int"}"#, "[1]", true),
        (r#"{"type": "array", "items": "int"}"#, r#"["x"]"#, false),
        (
            r#"{"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}"#,
            "{}",
            false,
        ),
        (
            r#"{"type": "record", "name": "R", "fields": [{"name": "x", "type": "int", "default": 1}]}"#,
            "{}",
            true,
        ),
    ] {
        let new = order(&format!(r#"{{"name": "a", "type": {of}, "default": {default}}}"#));
        let found = compare(Compatibility::Backward, &old, &new);
        assert_eq!(found.is_empty(), fits, "{of} {default}: {found:?}");
    }
}

#[test]
fn references_of_json_schemas_are_followed_and_circles_end() {
    let list = |of: &str| {
        let node = json!({ "type": "object", "properties": { "v": { "type": of }, "next": { "$ref": "#/definitions/node" } } });
        schema(
            SchemaType::Json,
            &json!({ "$ref": "#/definitions/node", "definitions": { "node": node } }).to_string(),
        )
    };
    assert!(compare(Compatibility::Full, &list("integer"), &list("integer")).is_empty());
    let found = compare(Compatibility::Backward, &list("integer"), &list("string"));
    assert_eq!((found.len(), found[0].path.as_str()), (1, "v"));
    // Alternatives that are themselves, and circles that never meet at a reference, end as well.
    let itself = schema(
        SchemaType::Json,
        r##"{ "oneOf": [{ "$ref": "#" }, { "type": "integer" }] }"##,
    );
    let odd = r##"{ "type": "object", "properties": { "v": { "$ref": "#" } } }"##;
    let even = r##"{ "type": "object", "properties": { "v": { "type": "object", "properties": { "v": { "$ref": "#" } } } } }"##;
    let [odd, even] = [odd, even].map(|text| schema(SchemaType::Json, text));
    assert!(compare(Compatibility::Full, &odd, &even).is_empty());
    assert!(!compare(Compatibility::Full, &list("integer"), &itself).is_empty());
    let circle = schema(SchemaType::Json, r##"{ "$ref": "#" }"##);
    let found = compare(Compatibility::Backward, &list("integer"), &circle);
    assert_eq!(found[0].kind, IncompatibilityKind::Undecided);
}

#[test]
fn references_that_lead_on_and_on_are_not_followed_to_the_end() {
    // As many as a request has room for.
    let count = 1500;
    let mut definitions: serde_json::Map<_, _> = (0..count)
        .map(|index| {
            let next = format!("#/definitions/{}", index + 1);
            (index.to_string(), json!({ "oneOf": [{ "$ref": next }] }))
        })
        .collect();
    definitions.insert(count.to_string(), json!({ "type": "object" }));
    let endless = json!({ "oneOf": [{ "$ref": "#/definitions/0" }], "definitions": definitions }).to_string();
    let [old, new] = [r#"{"type":"object"}"#, &endless].map(|text| schema(SchemaType::Json, text));
    let found = compare(Compatibility::Backward, &old, &new);
    assert!(
        found.iter().any(|found| found.kind == IncompatibilityKind::Undecided),
        "{found:?}"
    );
}
