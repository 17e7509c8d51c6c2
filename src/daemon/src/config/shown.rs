//! A connector's configuration as others may see it: no secret in it, variables as they were written.

use std::collections::BTreeMap;

use serde_json::Value;
use tailrace_core::setting::SECRET;

use super::flat::flatten;
use super::formats::{format_at, formats};
use super::schema;
use super::submitted::to_value;
use super::tree::{Located, Node, Scalar};

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
    match format_at(schema::connector(), path) {
        Some(SECRET) => masked(text),
        _ => text.clone(),
    }
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
