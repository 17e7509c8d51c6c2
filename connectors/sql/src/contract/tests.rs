//! What is read, what is refused, and what payloads break.

use super::*;

const ORDER: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["order", "customer"],
  "additionalProperties": false,
  "properties": {
    "order": { "type": "integer", "minimum": 1, "maximum": 1000 },
    "status": { "enum": ["new", "paid", 7, null, true] },
    "customer": {
      "type": "object",
      "required": ["email"],
      "properties": {
        "email": { "type": "string", "minLength": 3, "maxLength": 8, "pattern": "^[^@]+@[^@]+$" },
        "age": { "type": ["number", "null"] }
      }
    },
    "lines": { "type": "array", "items": { "type": "object", "required": ["sku"], "properties": { "sku": { "type": "string" } } } }
  }
}"#;

fn problem(payload: &str) -> Option<String> {
    let contract = Contract::parse(ORDER.as_bytes()).unwrap();
    contract
        .check_text(payload.as_bytes())
        .err()
        .map(|broken| broken.to_string())
}

#[test]
fn payloads_keep_or_break_it() {
    let customer = r#""customer":{"email":"a@b"}"#;
    let with = |fields: &str| format!("{{{customer}{fields}}}");
    for kept in [
        r#","order":1"#,
        r#","order":2.0,"status":"paid","lines":[]"#,
        r#","order":1000,"status":null,"lines":[{"sku":"x","n":1}]"#,
        r#","order":3,"status":7.0"#,
        r#","order":3,"status":true"#,
    ] {
        assert_eq!(problem(&with(kept)), None, "{kept}");
    }
    for (fields, expected) in [
        ("", "payload.order: is missing"),
        (r#","order":"1""#, "payload.order: must be a whole number"),
        (r#","order":1.5"#, "payload.order: must be a whole number"),
        (r#","order":0"#, "payload.order: must be at least 1"),
        (r#","order":1001"#, "payload.order: must be at most 1000"),
        (r#","order":1,"extra":1"#, "payload.extra: is not allowed"),
        (
            r#","order":1,"status":"gone""#,
            "payload.status: must be one of new, paid, 7, null, true",
        ),
        (r#","order":1,"lines":{}"#, "payload.lines: must be an array"),
        (
            r#","order":1,"lines":[{"sku":"a"},{}]"#,
            "payload.lines[1].sku: is missing",
        ),
    ] {
        assert_eq!(problem(&with(fields)).as_deref(), Some(expected));
    }
    for (email, expected) in [
        (r#""a""#, "must have at least 3 characters"),
        (r#""a@bcdefgh""#, "must have at most 8 characters"),
        (r#""abcd""#, "must match ^[^@]+@[^@]+$"),
        ("null", "must be a string"),
    ] {
        let payload = format!(r#"{{"order":1,"customer":{{"email":{email},"age":null}}}}"#);
        assert_eq!(problem(&payload), Some(format!("payload.customer.email: {expected}")));
    }
    assert_eq!(problem("{").as_deref(), Some("payload: is not JSON"));
    assert_eq!(problem("[]").as_deref(), Some("payload: must be an object"));
}

#[test]
fn what_cannot_be_checked_is_refused_with_its_place() {
    for (schema, place) in [
        ("{}", "#/ demands nothing"),
        (r#"{"type":"date"}"#, "#/type names `date`"),
        (
            r#"{"properties":{"a":{"format":"email"}}}"#,
            "#/properties/a/format is a rule",
        ),
        (r#"{"items":{"oneOf":[]}}"#, "#/items/oneOf is a rule"),
        (
            r#"{"properties":{"a":{"pattern":"("}}}"#,
            "#/properties/a/pattern is no regular",
        ),
        (r#"{"enum":[[1]]}"#, "#/enum holds an array"),
        (
            r#"{"additionalProperties":{"type":"string"}}"#,
            "#/additionalProperties is neither",
        ),
        (
            r#"{"required":["a"],"additionalProperties":false}"#,
            "#/required demands `a`",
        ),
        (r#"{"minLength":-1}"#, "#/minLength is not a whole"),
        ("[", "is not JSON"),
    ] {
        let error = Contract::parse(schema.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "contract_invalid");
        assert!(error.report().contains(place), "{schema}: {}", error.report());
    }
}
