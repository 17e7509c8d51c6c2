//! A connector's configuration as others may see it: no secret in it, variables as they were written.

use std::collections::BTreeMap;

use serde_json::Value;
use tailrace_core::setting::SECRET;

use super::deserialize::split_at_commas;
use super::flat::flatten;
use super::formats::{format_at, formats, is_list_at};
use super::schema;
use super::submitted::to_value;
use super::tree::{Located, Node, Scalar, Style};

/// What stands for a secret. Who sends it back leaves the secret as it is.
pub(crate) const MASK: &str = "********";

/// The flat map of Kafka Connect.
pub(crate) fn flat(tree: &Located) -> BTreeMap<String, String> {
    flatten(tree, &mut shown)
}

/// Nested JSON.
pub(crate) fn nested(tree: &Located) -> Value {
    let mut masked = tree.clone();
    mask_all(&mut masked, &mut Vec::new());
    to_value(&masked)
}

/// The values of the one tree in the order of the other's: secrets that came back as they were shown are what they were.
pub(crate) fn unmask(sent: &mut Located, before: &Located) {
    let known: BTreeMap<Vec<String>, String> = formats(schema::connector(), before)
        .into_iter()
        .filter(|found| found.format == Some(SECRET))
        .map(|found| (found.path, found.scalar.text.clone()))
        .collect();
    restore(sent, &mut Vec::new(), &known);
}

/// YAML of a connector as it would stand in a file, under `connectors:`. A secret becomes a variable that is named after its place.
pub(crate) fn export(name: &str, tree: &Located) -> String {
    let mut named = tree.clone();
    spell_out(&mut named, &mut vec![name.to_owned()]);
    // Kafka Connect's own keys say what the rest says already.
    if let Node::Mapping(entries) = &mut named.node {
        entries.retain(|entry| !CONNECT_KEYS.contains(&entry.key.as_str()));
    }
    let mut text = format!("connectors:\n  {name}:\n");
    write(&named, 2, &mut text);
    text
}

/// Kafka Connect's own keys at the top: `name`, `connector.class`, `tasks.max`.
const CONNECT_KEYS: [&str; 3] = ["name", "connector", "tasks"];

fn spell_out(tree: &mut Located, path: &mut Vec<String>) {
    match &mut tree.node {
        Node::Scalar(scalar) => {
            let below = path.get(1..).unwrap_or_default();
            let is_secret = format_at(schema::connector(), below) == Some(SECRET);
            let text = scalar.written.take().unwrap_or_else(|| scalar.text.clone());
            scalar.text = match is_secret && masked(&text) != text {
                true => format!("${{{}}}", path.join("_").to_uppercase().replace(['-', '.'], "_")),
                false => text,
            };
            // Of a list that came as one text.
            if scalar.style == Style::Flat && is_list_at(schema::connector(), below) {
                let elements = split_at_commas(tree.at, scalar);
                tree.node = Node::Sequence(elements);
            }
        }
        Node::Sequence(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                path.push(index.to_string());
                spell_out(element, path);
                path.pop();
            }
        }
        Node::Mapping(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                spell_out(&mut entry.value, path);
                path.pop();
            }
        }
    }
}

/// Block style; texts in double quotes, where YAML escapes as JSON does.
fn write(tree: &Located, indent: usize, text: &mut String) {
    let blanks = "  ".repeat(indent);
    match &tree.node {
        Node::Scalar(_) => {}
        Node::Sequence(elements) => {
            for element in elements {
                match inline(element) {
                    Some(inline) => text.push_str(&format!("{blanks}- {inline}\n")),
                    None => {
                        text.push_str(&format!("{blanks}-\n"));
                        write(element, indent + 1, text);
                    }
                }
            }
        }
        Node::Mapping(entries) => {
            for entry in entries {
                let key = quoted(&entry.key);
                match inline(&entry.value) {
                    Some(inline) => text.push_str(&format!("{blanks}{key}: {inline}\n")),
                    None => {
                        text.push_str(&format!("{blanks}{key}:\n"));
                        write(&entry.value, indent + 1, text);
                    }
                }
            }
        }
    }
}

/// What stands on one line; `None` for what has lines of its own.
fn inline(tree: &Located) -> Option<String> {
    match &tree.node {
        Node::Scalar(scalar) if scalar.style == Style::Plain => Some(scalar.text.clone()),
        // A text of JSON that a file would have as a number or as a list is one there too.
        Node::Scalar(scalar) if scalar.style == Style::Flat => Some(flat_inline(&scalar.text)),
        Node::Scalar(scalar) => Some(json_text(&scalar.text)),
        Node::Sequence(elements) if elements.is_empty() => Some("[]".to_owned()),
        Node::Mapping(entries) if entries.is_empty() => Some("{}".to_owned()),
        Node::Sequence(_) | Node::Mapping(_) => None,
    }
}

/// A word or number stands as it is, because it may be a number or a truth value there; anything else in quotes.
fn flat_inline(text: &str) -> String {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '/');
    let means_other = matches!(text, "null" | "yes" | "no" | "on" | "off");
    match !text.is_empty() && text.chars().all(is_word) && !means_other {
        true => text.to_owned(),
        false => json_text(text),
    }
}

fn quoted(key: &str) -> String {
    let is_word = !key.is_empty()
        && key
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    match is_word && !key.starts_with(|letter: char| letter.is_ascii_digit()) {
        true => key.to_owned(),
        false => json_text(key),
    }
}

fn json_text(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn restore(tree: &mut Located, path: &mut Vec<String>, known: &BTreeMap<Vec<String>, String>) {
    match &mut tree.node {
        Node::Scalar(scalar) => {
            if let Some(secret) = known.get(path).filter(|secret| scalar.text == masked(secret)) {
                scalar.text.clone_from(secret);
            }
        }
        Node::Sequence(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                path.push(index.to_string());
                restore(element, path, known);
                path.pop();
            }
        }
        Node::Mapping(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                restore(&mut entry.value, path, known);
                path.pop();
            }
        }
    }
}

fn mask_all(tree: &mut Located, path: &mut Vec<String>) {
    match &mut tree.node {
        Node::Scalar(scalar) => {
            scalar.text = shown(path, scalar);
            scalar.written = None;
        }
        Node::Sequence(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                path.push(index.to_string());
                mask_all(element, path);
                path.pop();
            }
        }
        Node::Mapping(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                mask_all(&mut entry.value, path);
                path.pop();
            }
        }
    }
}

fn shown(path: &[String], scalar: &Scalar) -> String {
    let text = scalar.written.as_ref().unwrap_or(&scalar.text);
    // Also what stands below a secret, where nothing should.
    let is_secret = (1..=path.len())
        .filter_map(|length| path.get(..length))
        .any(|above| format_at(schema::connector(), above) == Some(SECRET));
    if is_secret { masked(text) } else { text.clone() }
}

/// A secret without what is secret: a variable stands for itself, and of a URL only the password is hidden. Whatever is not surely one of
/// the two is hidden as a whole.
fn masked(text: &str) -> String {
    if is_variable(text) {
        return text.to_owned();
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return MASK.to_owned();
    };
    // A variable with a default, say, which would be the secret itself.
    if !scheme
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '+')
    {
        return MASK.to_owned();
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let is_telling = |text: &str| {
        let lower = text.to_lowercase();
        ["pass", "secret", "token", "key", "@"]
            .iter()
            .any(|word| lower.contains(word))
    };
    if is_telling(behind) {
        return MASK.to_owned();
    }
    match authority.rsplit_once('@') {
        // The path of a webhook is what gives access to it.
        None if scheme.starts_with("http") && behind.len() > 1 => format!("{scheme}://{authority}/{MASK}"),
        None => text.to_owned(),
        Some((user, host)) => match user.split_once(':') {
            None => text.to_owned(),
            Some((user, password)) if is_variable(password) => format!("{scheme}://{user}:{password}@{host}{behind}"),
            Some((user, _)) => format!("{scheme}://{user}:{MASK}@{host}{behind}"),
        },
    }
}

/// One variable and nothing else, without a default, which would be the secret itself.
fn is_variable(text: &str) -> bool {
    let inside = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    inside.is_some_and(|inside| !inside.contains(['{', '}', '$']) && !inside.contains(":-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::submitted::document;

    #[test]
    fn no_secret_is_shown_and_everything_else_is() {
        let table = [
            (
                "postgres://tailrace:hunter2@db:5432/shop",
                "postgres://tailrace:********@db:5432/shop",
            ),
            (
                "postgres://tailrace:${PASSWORD}@db/shop",
                "postgres://tailrace:${PASSWORD}@db/shop",
            ),
            (
                "postgres://tailrace:hunter2${X}@db/shop",
                "postgres://tailrace:********@db/shop",
            ),
            ("postgres://db/shop", "postgres://db/shop"),
            ("postgres://db/shop?password=hunter2", MASK),
            ("postgres://tailrace:hunt/er2@db/shop", MASK),
            ("host=db password=hunter2", MASK),
            ("hunter2", MASK),
            (
                "https://hooks.example.com/services/hunter2",
                "https://hooks.example.com/********",
            ),
            ("${ORDERS_DATABASE_URL}", "${ORDERS_DATABASE_URL}"),
            ("${URL:-postgres://a:hunter2@db/shop}", MASK),
        ];
        for (secret, expected) in table {
            let shown = masked(secret);
            assert_eq!(shown, expected);
            assert!(!shown.contains("hunt"), "{secret}");
        }
    }

    #[test]
    fn an_export_is_what_a_file_would_have() {
        let json = r#"{"name":"orders","connector.class":"tailrace.source.postgres","source":{"type":"postgres",
            "url":"postgres://tailrace:hunter2@db/shop","tables":"public.orders,public.order_*","slot":"a b"},
            "stream":"events","transforms":[{"tables":["public.orders"]}],"updated_at.column":"modified"}"#;
        let yaml = export("orders", &document(json.as_bytes()).unwrap());
        let expected = "connectors:\n  orders:\n    source:\n      type: postgres\n      url: \"${ORDERS_SOURCE_URL}\"\n      \
            tables:\n        - public.orders\n        - \"public.order_*\"\n      slot: \"a b\"\n    stream: events\n    transforms:\n      -\n        \
            tables:\n          - public.orders\n    updated_at:\n      column: modified\n";
        assert_eq!(yaml, expected);
    }

    #[test]
    fn what_was_shown_may_come_back() {
        let config = |url: &str| {
            let json = serde_json::json!({ "source": { "type": "postgres", "url": url, "tables": ["a"] } });
            document(json.to_string().as_bytes()).unwrap()
        };
        let before = config("postgres://tailrace:hunter2@db/shop");
        let shown = flat(&before);
        assert_eq!(shown["source.url"], "postgres://tailrace:********@db/shop");
        let mut again = document(serde_json::to_string(&shown).unwrap().as_bytes()).unwrap();
        unmask(&mut again, &before);
        assert_eq!(to_value(&again)["source"]["url"], "postgres://tailrace:hunter2@db/shop");
        let mut elsewhere = config("postgres://tailrace:********@evil/shop");
        unmask(&mut elsewhere, &before);
        assert_eq!(
            to_value(&elsewhere)["source"]["url"],
            "postgres://tailrace:********@evil/shop",
            "a secret goes nowhere else than where it was"
        );
    }
}
