//! The reference page of the configuration, from the same schema that editors use.

use serde_json::{Map, Value};

use super::schema::schema;
use super::spec::{CONNECTORS, REGISTRIES, SINK, SOURCE, STREAMS, TYPE};

const HEAD: &str = "# Configuration reference

Generated from the types with `tailrace schema --markdown`; a test compares it. `tailrace schema` prints the same as a
JSON Schema for editors: put `# yaml-language-server: $schema=config/schema.json` into the first line of a file.

A file is UTF-8 YAML, one document, indented with spaces, without anchors, aliases and tags. Unknown and duplicate keys
are refused. In values, once and never inside what they stand for:

| written | means |
|---|---|
| `${NAME}` | the environment variable; refused where it is not set |
| `${NAME:-default}` | the same, with a value where it is not set or is empty |
| `${file:/run/secrets/x}` | the file's text without its last line break |
| `$$` | a dollar sign |

";

/// The page.
pub(crate) fn page() -> String {
    let schema = schema();
    let mut page = HEAD.to_owned();
    let root = properties(&schema);
    section(&mut page, "The file", &schema, &[]);
    let stream = root
        .get(STREAMS)
        .and_then(|streams| streams.get("additionalProperties"));
    for alternative in alternatives(stream) {
        section(
            &mut page,
            &format!("Stream of type `{}`", title(alternative)),
            alternative,
            &[TYPE],
        );
    }
    let registry = root
        .get(REGISTRIES)
        .and_then(|registries| registries.get("additionalProperties"));
    for alternative in alternatives(registry) {
        section(
            &mut page,
            &format!("Registry of type `{}`", title(alternative)),
            alternative,
            &[TYPE],
        );
    }
    let connector = root
        .get(CONNECTORS)
        .and_then(|connectors| connectors.get("additionalProperties"));
    let kinds = [
        ("A connector that reads a database", "Source", SOURCE),
        ("A connector that writes a database", "Sink", SINK),
    ];
    for (connector, (heading, side, key)) in alternatives(connector).iter().zip(kinds) {
        section(&mut page, heading, connector, &[key]);
        for alternative in alternatives(properties(connector).get(key)) {
            section(
                &mut page,
                &format!("{side} of type `{}`", title(alternative)),
                alternative,
                &[TYPE],
            );
        }
    }
    page
}

fn section(page: &mut String, title: &str, schema: &Value, left_out: &[&str]) {
    let mut rows = Vec::new();
    collect(schema, "", &mut rows);
    let description = text(schema, "description");
    *page += &format!(
        "## {title}\n\n{}\n\n| key | type | default | meaning |\n|---|---|---|---|\n",
        in_one_line(&description)
    );
    for row in rows.iter().filter(|row| !left_out.contains(&row.key.as_str())) {
        let Row {
            key,
            kind,
            default,
            meaning,
        } = row;
        *page += &format!("| `{key}` | {kind} | {default} | {meaning} |\n");
    }
    page.push('\n');
}

struct Row {
    key: String,
    kind: String,
    default: String,
    meaning: String,
}

/// Every key below a schema, nested ones with dots; streams and connectors have sections of their own.
fn collect(schema: &Value, above: &str, rows: &mut Vec<Row>) {
    let required = schema.get("required").and_then(Value::as_array);
    for (key, property) in properties(schema) {
        let is_required = required.is_some_and(|required| required.iter().any(|name| name == key));
        let key = format!("{above}{key}");
        let inner = without_null(property);
        rows.push(Row {
            key: key.clone(),
            kind: kind(inner),
            default: default(property, is_required),
            meaning: meaning(property, inner),
        });
        if inner.get("properties").is_some() {
            collect(inner, &format!("{key}."), rows);
        } else if let Some(items) = inner.get("items").filter(|items| items.get("properties").is_some()) {
            collect(items, &format!("{key}[]."), rows);
        } else if key != STREAMS && key != CONNECTORS {
            let values = inner
                .get("additionalProperties")
                .filter(|values| values.get("properties").is_some());
            if let Some(values) = values {
                collect(values, &format!("{key}.*."), rows);
            }
        }
    }
}

fn properties(schema: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE)
}

fn alternatives(schema: Option<&Value>) -> &[Value] {
    let found = schema.and_then(|schema| schema.get("oneOf")).and_then(Value::as_array);
    found.map(Vec::as_slice).unwrap_or_default()
}

/// What an optional value is when it is there.
fn without_null(schema: &Value) -> &Value {
    let any = schema.get("anyOf").and_then(Value::as_array);
    let inner = any.and_then(|any| any.iter().find(|one| one.get("type") != Some(&Value::from("null"))));
    inner.unwrap_or(schema)
}

fn title(schema: &Value) -> String {
    text(schema, "title")
}

fn text(schema: &Value, key: &str) -> String {
    schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn kind(schema: &Value) -> String {
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect(),
        _ => Vec::new(),
    };
    if !values(schema).is_empty() {
        return "one of".to_owned();
    }
    let name = match names.first().copied().unwrap_or("any") {
        "string" => "text",
        "integer" => "whole number",
        "number" => "number",
        "boolean" => "`true` or `false`",
        "array" => "list",
        "object" => "mapping",
        other => other,
    };
    name.to_owned()
}

fn default(property: &Value, required: bool) -> String {
    match property.get("default") {
        _ if required => "required".to_owned(),
        None | Some(Value::Null | Value::Object(_)) => String::new(),
        Some(Value::String(text)) if text.is_empty() => String::new(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(list)) if list.is_empty() => String::new(),
        Some(other) => format!("`{other}`"),
    }
}

/// The names that an enumeration has, each with what it means.
fn values(schema: &Value) -> Vec<(String, String)> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let plain = plain
        .filter_map(Value::as_str)
        .map(|name| (name.to_owned(), String::new()));
    let described = alternatives(Some(schema)).iter().filter_map(|one| {
        let name = one.get("const").and_then(Value::as_str)?;
        Some((name.to_owned(), text(one, "description")))
    });
    plain.chain(described).collect()
}

fn meaning(property: &Value, inner: &Value) -> String {
    let own = text(property, "description");
    let mut meaning = in_one_line(&if own.is_empty() {
        text(inner, "description")
    } else {
        own
    });
    for (name, explained) in values(inner) {
        meaning += &format!("<br>`{name}`");
        if !explained.is_empty() {
            meaning += &format!(": {}", in_one_line(&explained));
        }
    }
    meaning
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_is_checked_in_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/config.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == page(),
            "docs/reference/config.md is not current: cargo run -- schema --markdown > docs/reference/config.md"
        );
    }

    #[test]
    fn every_key_has_a_meaning() {
        let silent: Vec<_> = page()
            .lines()
            .filter(|line| line.starts_with("| `") && line.ends_with("|  |"))
            .map(str::to_owned)
            .collect();
        assert_eq!(silent, Vec::<String>::new());
    }
}
