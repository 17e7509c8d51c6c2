//! A connector's configuration as others may see it: no secret in it, variables as they were written.

use std::collections::BTreeMap;

use serde_json::Value;
use tailrace_core::setting::SECRET;
use tailrace_sql::server_url::ServerUrl;

use super::deserialize::split_at_commas;
use super::flat::flatten;
use super::formats::{format_at, is_list_at};
use super::schema;
use super::submitted::{to_value, without_connect_keys};
use super::tree::{Located, Node, Scalar, Style};

/// What stands for a secret. Who sends it back leaves the secret as it is.
pub(crate) const MASK: &str = "********";
/// The key of what says where a connector connects to.
const URL: &str = "url";

/// The flat map of Kafka Connect.
pub(crate) fn flat(tree: &Located) -> BTreeMap<String, String> {
    flatten(tree, &mut shown)
}

/// Nested JSON, as it would stand in a file.
pub(crate) fn nested(name: &str, tree: &Located) -> Value {
    to_value(&masked(&as_in_a_file(name, tree)))
}

/// The tree without a secret. A patch changes this one: a secret that it says nothing of is as one that came back as it was shown.
pub(crate) fn masked(tree: &Located) -> Located {
    let mut masked = tree.clone();
    masked.visit_scalars(&mut |scalar, _, path| {
        scalar.text = shown(path, scalar);
        scalar.written = None;
    });
    masked
}

/// Secrets that came back as they were shown are what they were, where they stand under the same keys and go to the same server.
pub(crate) fn unmask(sent: &mut Located, before: &Located) {
    restore(sent, before, &mut Vec::new());
}

/// YAML of a connector as it would stand in a file, under `connectors:`. A secret becomes a variable that is named after its place.
pub(crate) fn export(name: &str, tree: &Located) -> String {
    let mut named = as_in_a_file(name, tree);
    named.visit_scalars(&mut |scalar, _, path| {
        let is_secret = format_at(schema::connector(), path) == Some(SECRET);
        let text = scalar.written.take().unwrap_or_else(|| scalar.text.clone());
        scalar.text = match is_secret && mask(path, &text) != text {
            true => format!("${{{name}_{}}}", path.join("_"))
                .to_uppercase()
                .replace(['-', '.'], "_"),
            false => text,
        };
    });
    let mut text = format!("connectors:\n  {name}:\n");
    write(&named, 2, &mut text);
    text
}

/// In the words of the file alone, with lists where they came as one text.
fn as_in_a_file(name: &str, tree: &Located) -> Located {
    let mut named = without_connect_keys(name, tree);
    split_lists(&mut named, &mut Vec::new());
    named
}

fn split_lists(tree: &mut Located, path: &mut Vec<String>) {
    match &mut tree.node {
        Node::Scalar(scalar) if scalar.style == Style::Flat && is_list_at(schema::connector(), path) => {
            tree.node = Node::Sequence(split_at_commas(tree.at, scalar));
        }
        Node::Scalar(_) | Node::Sequence(_) => {}
        Node::Mapping(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                split_lists(&mut entry.value, path);
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

fn restore(sent: &mut Located, before: &Located, path: &mut Vec<String>) {
    match (&mut sent.node, &before.node) {
        (Node::Scalar(scalar), Node::Scalar(known)) if is_secret(path) && scalar.text == shown(path, known) => {
            scalar.text.clone_from(known.written.as_ref().unwrap_or(&known.text));
        }
        (Node::Sequence(elements), Node::Sequence(known)) => restore_elements(elements, known, path),
        (Node::Mapping(_), Node::Mapping(_)) => {
            restore_entries(sent, before, path, &|key| key == URL);
            // What stands beside a URL is sent to where that leads.
            if server_of(sent) == server_of(before) {
                restore_entries(sent, before, path, &|key| key != URL);
            }
        }
        _ => {}
    }
}

fn restore_entries(sent: &mut Located, before: &Located, path: &mut Vec<String>, is_meant: &dyn Fn(&str) -> bool) {
    let Node::Mapping(entries) = &mut sent.node else { return };
    for entry in entries.iter_mut().filter(|entry| is_meant(&entry.key)) {
        if let Some(known) = before.get(&entry.key) {
            path.push(entry.key.clone());
            restore(&mut entry.value, known, path);
            path.pop();
        }
    }
}

/// An element may have moved, since one before it was taken out: it is the one that looked like it. Where several do, it is the one at its
/// place, as long as there are as many as before.
fn restore_elements(elements: &mut [Located], before: &[Located], path: &mut Vec<String>) {
    let has_all = elements.len() == before.len();
    for (index, element) in elements.iter_mut().enumerate() {
        path.push(index.to_string());
        let looks = look_of(element, path);
        let mut alike = before
            .iter()
            .enumerate()
            .filter(|(_, known)| look_of(known, path) == looks);
        let at_its_place = alike.clone().find(|(place, _)| has_all && *place == index);
        let only = alike.next().filter(|_| alike.next().is_none());
        if let Some((_, known)) = at_its_place.or(only) {
            restore(element, known, path);
        }
        path.pop();
    }
}

/// What is shown of a part.
fn look_of(part: &Located, path: &[String]) -> BTreeMap<String, String> {
    flatten(part, &mut |below, scalar| shown(&[path, below].concat(), scalar))
}

/// Where the URL of a part leads, whoever asks there for whatever; of one that cannot be taken apart, its text.
fn server_of(part: &Located) -> Option<(String, ServerUrl)> {
    let text = part.get(URL)?.text()?;
    let taken_apart = text
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme.to_owned(), ServerUrl::parse(rest).ok()?)));
    let (scheme, url) = taken_apart.unwrap_or_else(|| (text.to_owned(), ServerUrl::default()));
    let server = ServerUrl {
        user: None,
        password: None,
        path: None,
        ..url
    };
    Some((scheme, server))
}

fn shown(path: &[String], scalar: &Scalar) -> String {
    let text = scalar.written.as_ref().unwrap_or(&scalar.text);
    match is_secret(path) && !scalar.is_null() {
        true => mask(path, text),
        false => text.clone(),
    }
}

/// Also what stands below a secret, where nothing should.
fn is_secret(path: &[String]) -> bool {
    let mut above = (1..=path.len()).filter_map(|length| path.get(..length));
    above.any(|above| format_at(schema::connector(), above) == Some(SECRET))
}

/// A secret without what is secret: a variable stands for itself, and of a URL only the password is hidden. Whatever is not surely one of
/// the two is hidden as a whole.
fn mask(path: &[String], text: &str) -> String {
    match path.last() {
        _ if is_variable(text) => text.to_owned(),
        // Elsewhere what looks like a URL is a password.
        Some(key) if key == URL => masked_url(text),
        _ => MASK.to_owned(),
    }
}

fn masked_url(text: &str) -> String {
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
    use serde_json::json;

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
        let path = |key: &str| ["source".to_owned(), key.to_owned()];
        for (secret, expected) in table {
            let shown = mask(&path("url"), secret);
            assert_eq!(shown, expected);
            assert!(!shown.contains("hunt"), "{secret}");
        }
        for secret in ["hunt://er2", "https://hunter2", "postgres://a:b@hunter2/shop"] {
            assert_eq!(mask(&path("password"), secret), MASK, "no URL stands here");
        }
        assert_eq!(mask(&path("password"), "${PASSWORD}"), "${PASSWORD}");
    }

    #[test]
    fn an_export_is_what_a_file_would_have() {
        let json = r#"{"name":"orders","connector.class":"tailrace.source.postgres","source":{"type":"postgres",
            "url":"postgres://tailrace:hunter2@db/shop","tables":"public.orders,public.order_*","slot":"a b"},
            "stream":"events","transforms":[{"tables":["public.orders"]}],"updated_at.column":"modified"}"#;
        let yaml = export("orders", &document(json.as_bytes()).unwrap());
        let flat = json.replace("\"type\":\"postgres\",", "");
        assert_eq!(
            export("orders", &document(flat.as_bytes()).unwrap()),
            yaml,
            "the class says the type"
        );
        let expected = "connectors:\n  orders:\n    source:\n      type: postgres\n      url: \"${ORDERS_SOURCE_URL}\"\n      \
            tables:\n        - public.orders\n        - \"public.order_*\"\n      slot: \"a b\"\n    stream: events\n    transforms:\n      -\n        \
            tables:\n          - public.orders\n    updated_at:\n      column: modified\n";
        assert_eq!(yaml, expected);
    }

    fn config(part: &Value) -> Located {
        document(json!({ "stream": "events", "source": part }).to_string().as_bytes()).unwrap()
    }

    /// What became of the text at a pointer when this was sent in place of that.
    fn unmasked(before: &Located, mut sent: Located, pointer: &str) -> Value {
        unmask(&mut sent, before);
        to_value(&sent).pointer(pointer).cloned().unwrap_or_default()
    }

    #[test]
    fn what_was_shown_may_come_back() {
        let with_url = |url: &str| config(&json!({ "type": "postgres", "url": url, "tables": ["a"] }));
        let before = with_url("postgres://tailrace:hunter2@db/shop");
        let shown = flat(&before);
        assert_eq!(shown["source.url"], "postgres://tailrace:********@db/shop");
        let again = document(serde_json::to_string(&shown).unwrap().as_bytes()).unwrap();
        for again in [again, masked(&before)] {
            let url = unmasked(&before, again, "/source/url");
            assert_eq!(url, "postgres://tailrace:hunter2@db/shop");
        }
        let elsewhere = with_url("postgres://tailrace:********@evil/shop");
        assert_eq!(
            unmasked(&before, elsewhere, "/source/url"),
            "postgres://tailrace:********@evil/shop",
            "a secret goes nowhere else than where it was"
        );
    }

    #[test]
    fn what_stands_beside_a_url_goes_where_that_leads() {
        let part = |url: &str, password: &str| config(&json!({ "type": "postgres", "url": url, "password": password }));
        let table = [
            ("postgres://me@db:5432/shop", "postgres://me@db:5432/shop", true),
            // Whoever asks the same server for something else.
            ("postgres://me@db:5432/shop", "postgres://you@db:5432/store", true),
            ("postgres://me@db:5432/shop", "postgres://me@evil:5432/shop", false),
            ("postgres://me@db:5432/shop", "postgres://me@db:5433/shop", false),
            ("postgres://me@db:5432/shop", "mysql://me@db:5432/shop", false),
            ("postgres://me@db/shop", "postgres://me@db/shop?host=evil", false),
            ("postgres://me@db/shop?sslmode=require", "postgres://me@db/shop", false),
            ("postgres://me@db/shop", "postgres://db@evil/@db/shop", false),
            ("host=db user=me", MASK, true),
            ("host=db user=me", "host=evil user=me", false),
            ("${DB_URL}", "${DB_URL}", true),
            ("${DB_URL}", "${OTHER_URL}", false),
            ("postgres://db/shop", "", false),
        ];
        for (url, new_url, is_kept) in table {
            let before = part(url, "hunter2");
            let expected = if is_kept { "hunter2" } else { MASK };
            let password = unmasked(&before, part(new_url, MASK), "/source/password");
            assert_eq!(password, expected, "{url} {new_url}");
            // A patch that does not speak of the password.
            let mut patched = masked(&before);
            let changes = json!({ "source.url": new_url }).to_string();
            crate::config::submitted::patch(&mut patched, document(changes.as_bytes()).unwrap());
            assert_eq!(
                unmasked(&before, patched, "/source/password"),
                expected,
                "{url} {new_url}"
            );
            assert_eq!(unmasked(&before, part(new_url, "new"), "/source/password"), "new");
        }
    }

    #[test]
    fn a_secret_moves_with_its_element_of_a_list() {
        let rule = |table: &str, salt: &str| json!({ "tables": [table], "mask": { "email": { "hash_salt": salt } } });
        let rules = |rules: &[Value]| document(json!({ "transforms": rules }).to_string().as_bytes()).unwrap();
        let before = rules(&[rule("a", "salt of a"), rule("b", "salt of b")]);
        let table: [(&[Value], &[&str]); 7] = [
            (&[rule("a", MASK), rule("b", MASK)], &["salt of a", "salt of b"]),
            (&[rule("b", MASK)], &["salt of b"]),
            (&[rule("b", MASK), rule("a", MASK)], &["salt of b", "salt of a"]),
            (&[rule("c", "salt of c"), rule("a", MASK)], &["salt of c", "salt of a"]),
            (&[rule("a", "new"), rule("b", MASK)], &["new", "salt of b"]),
            // It is none of those that were there.
            (&[rule("c", MASK), rule("b", MASK)], &[MASK, "salt of b"]),
            (&[rule("b", MASK), rule("c", MASK)], &["salt of b", MASK]),
        ];
        for (sent, expected) in table {
            for (index, expected) in expected.iter().enumerate() {
                let pointer = format!("/transforms/{index}/mask/email/hash_salt");
                assert_eq!(unmasked(&before, rules(sent), &pointer), *expected, "{sent:?}");
            }
        }
        // Two that look alike are told apart by their places, as long as none was taken out.
        let twins = rules(&[rule("a", "first"), rule("a", "second")]);
        let pointer = "/transforms/1/mask/email/hash_salt";
        assert_eq!(unmasked(&twins, masked(&twins), pointer), "second");
        let first = "/transforms/0/mask/email/hash_salt";
        assert_eq!(unmasked(&twins, rules(&[rule("a", MASK)]), first), MASK);
    }
}
