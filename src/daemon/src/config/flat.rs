//! A tree as Kafka Connect has configurations: a flat map of dotted keys and texts, and back.
//!
//! ```text
//!   source: { tables: [a, b], tls: { mode: require } }   ⇄   source.tables = "a,b"   source.tls.mode = "require"
//!   transforms: [ { tables: [a] } ]                      ⇄   transforms.0.tables = "a"
//!   contract: { events: { "legacy.a": … } }              ⇄   contract.events."legacy.a"… = …
//! ```
//!
//! A list of texts without commas is one text; any other has its places as keys. A key with a dot in it stands in double quotes.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::tree::{Entry, Located, MAXIMUM_DEPTH, Mark, Node, Scalar, Style};

/// Every value by its dotted key. `show` is what is shown of a scalar, by its path.
pub(crate) fn flatten(tree: &Located, show: &mut dyn FnMut(&[String], &Scalar) -> String) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    walk(tree, &mut Vec::new(), show, &mut flat);
    flat
}

fn walk(
    tree: &Located,
    path: &mut Vec<String>,
    show: &mut dyn FnMut(&[String], &Scalar) -> String,
    flat: &mut BTreeMap<String, String>,
) {
    match &tree.node {
        Node::Scalar(scalar) if scalar.is_null() => {}
        Node::Scalar(scalar) => {
            flat.insert(join(path), show(path, scalar));
        }
        Node::Sequence(elements) => {
            if let Some(texts) = texts_of(elements) {
                let shown: Vec<String> = texts.into_iter().map(|scalar| show(path, scalar)).collect();
                flat.insert(join(path), shown.join(","));
                return;
            }
            for (index, element) in elements.iter().enumerate() {
                path.push(index.to_string());
                walk(element, path, show, flat);
                path.pop();
            }
        }
        Node::Mapping(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                walk(&entry.value, path, show, flat);
                path.pop();
            }
        }
    }
}

/// The elements where they can stand in one text; none of them is empty or ends with a blank.
fn texts_of(elements: &[Located]) -> Option<Vec<&Scalar>> {
    let text = |element: &'_ Located| match &element.node {
        Node::Scalar(scalar) => {
            let text = scalar.text.as_str();
            (!scalar.is_null() && !text.contains(',') && !text.is_empty() && text.trim() == text).then_some(())
        }
        Node::Sequence(_) | Node::Mapping(_) => None,
    };
    elements.iter().try_for_each(text)?;
    let scalars = elements.iter().filter_map(|element| match &element.node {
        Node::Scalar(scalar) => Some(scalar),
        Node::Sequence(_) | Node::Mapping(_) => None,
    });
    Some(scalars.collect())
}

fn join(path: &[String]) -> String {
    let segments: Vec<String> = path.iter().map(|key| segment(key)).collect();
    segments.join(".")
}

fn segment(key: &str) -> String {
    if key.contains(['.', '"']) || key.is_empty() {
        format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        key.to_owned()
    }
}

/// The keys on the way to a value.
///
/// # Errors
/// A sentence, where a quote is not closed, a key is empty, or there are more than a configuration is deep.
pub(crate) fn split(dotted: &str) -> Result<Vec<String>, String> {
    let malformed = || format!("the key `{dotted}` is not keys with dots between");
    let mut keys = Vec::new();
    let mut letters = dotted.chars().peekable();
    loop {
        if keys.len() == MAXIMUM_DEPTH {
            return Err(too_deep());
        }
        keys.push(next_key(&mut letters).ok_or_else(malformed)?);
        match letters.next() {
            None => return Ok(keys),
            Some('.') => {}
            Some(_) => return Err(malformed()),
        }
    }
}

fn next_key(letters: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut key = String::new();
    if letters.next_if_eq(&'"').is_none() {
        while let Some(letter) = letters.next_if(|letter| *letter != '.') {
            key.push(letter);
        }
        return Some(key).filter(|key| !key.is_empty());
    }
    loop {
        match letters.next()? {
            '"' => return Some(key),
            '\\' => key.push(letters.next()?),
            letter => key.push(letter),
        }
    }
}

/// What is said of keys that would take every recursion over the tree too deep.
pub(crate) fn too_deep() -> String {
    format!("a value stands below more than {MAXIMUM_DEPTH} keys; none of a configuration does")
}

/// Puts a value where its keys say, into what is there already.
///
/// # Errors
/// The key that is there already with another value.
pub(crate) fn put(tree: &mut Located, keys: &[String], value: Located) -> Result<(), String> {
    let Some((key, rest)) = keys.split_first() else {
        return merge(tree, value);
    };
    let at = tree.at;
    let Node::Mapping(entries) = &mut tree.node else {
        return Err(key.clone());
    };
    let index = match entries.iter().position(|entry| entry.key == *key) {
        Some(index) => index,
        None => {
            entries.push(Entry {
                key: key.clone(),
                key_at: at,
                value: empty_mapping(at),
            });
            entries.len() - 1
        }
    };
    let Some(entry) = entries.get_mut(index) else {
        return Err(key.clone());
    };
    put(&mut entry.value, rest, value).map_err(|below| match below.is_empty() {
        true => key.clone(),
        false => format!("{key}.{below}"),
    })
}

/// A mapping goes into a mapping; anything else only where nothing is yet.
fn merge(tree: &mut Located, value: Located) -> Result<(), String> {
    let Node::Mapping(there) = &mut tree.node else {
        return Err(String::new());
    };
    match value.node {
        Node::Mapping(entries) => {
            for entry in entries {
                put(tree, &[entry.key], entry.value)?;
            }
            Ok(())
        }
        node if there.is_empty() => {
            tree.node = node;
            Ok(())
        }
        Node::Scalar(_) | Node::Sequence(_) => Err(String::new()),
    }
}

/// Mappings whose keys are 0, 1, 2, … become lists.
pub(crate) fn restore_lists(tree: &mut Located) {
    match &mut tree.node {
        Node::Scalar(_) => {}
        Node::Sequence(elements) => elements.iter_mut().for_each(restore_lists),
        Node::Mapping(entries) => {
            entries.iter_mut().for_each(|entry| restore_lists(&mut entry.value));
            let place = |entry: &Entry| entry.key.parse::<usize>().ok();
            let mut places: Vec<Option<usize>> = entries.iter().map(place).collect();
            places.sort_unstable();
            let is_list = !entries.is_empty() && places.iter().enumerate().all(|(index, place)| *place == Some(index));
            if is_list {
                entries.sort_by_key(place);
                let elements = std::mem::take(entries).into_iter().map(|entry| entry.value);
                tree.node = Node::Sequence(elements.collect());
            }
        }
    }
}

/// Nothing, where something may be put.
pub(crate) fn empty_mapping(at: Mark) -> Located {
    Located {
        at,
        node: Node::Mapping(Vec::new()),
    }
}

/// A text of JSON.
pub(crate) fn flat_text(at: Mark, text: impl Into<String>) -> Located {
    Located {
        at,
        node: Node::Scalar(Scalar {
            text: text.into(),
            style: Style::Flat,
            written: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::submitted::document;

    fn flat(json: &str) -> BTreeMap<String, String> {
        flatten(&document(json.as_bytes()).unwrap(), &mut |_, scalar| {
            scalar.text.clone()
        })
    }

    #[test]
    fn both_forms_are_one_tree() {
        let nested = r#"{"source":{"tables":["a","b"],"tls":{"mode":"require"}},"writers":2,"on":true,
            "transforms":[{"tables":["x,y"]}],"contract":{"events":{"legacy.a \"b\"":{"owner":"me"}}},"none":null}"#;
        let expected = [
            ("contract.events.\"legacy.a \\\"b\\\"\".owner", "me"),
            ("on", "true"),
            ("source.tables", "a,b"),
            ("source.tls.mode", "require"),
            ("transforms.0.tables.0", "x,y"),
            ("writers", "2"),
        ];
        let expected: BTreeMap<String, String> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(flat(nested), expected);
        let again = serde_json::to_string(&expected).unwrap();
        assert_eq!(flat(&again), expected);
    }

    #[test]
    fn keys_are_split_at_dots_outside_quotes() {
        let table: [(&str, Option<&[&str]>); 7] = [
            ("a", Some(&["a"])),
            ("a.b", Some(&["a", "b"])),
            ("a.\"b.c\".d", Some(&["a", "b.c", "d"])),
            ("\"\\\"\"", Some(&["\""])),
            ("a..b", None),
            ("a.\"b", None),
            ("\"a\"b", None),
        ];
        for (dotted, keys) in table {
            let split = split(dotted);
            let split = split
                .as_ref()
                .map(|keys| keys.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(split.ok().as_deref(), keys, "{dotted}");
        }
    }

    /// A key below a key, so many times; as one dotted key, and as objects in objects.
    fn below(dotted: usize, nested: usize) -> String {
        let keys = vec!["a"; dotted].join(".");
        format!("{{\"{keys}\":{}1{}}}", "{\"a\":".repeat(nested), "}".repeat(nested))
    }

    #[test]
    fn keys_are_no_deeper_than_a_configuration() {
        let limit = MAXIMUM_DEPTH;
        for (dotted, nested) in [(limit, 0), (1, limit - 1), (limit / 2, limit / 2)] {
            let read = document(below(dotted, nested).as_bytes()).unwrap();
            assert_eq!(read.depth(), limit);
            // As it is kept in the state.
            let kept = crate::config::submitted::to_value(&read).to_string();
            assert_eq!(document(kept.as_bytes()).as_ref(), Ok(&read));
        }
        for (dotted, nested) in [(limit + 1, 0), (32_000, 0), (limit, 1), (2, limit - 1), (32_000, 10)] {
            assert_eq!(
                document(below(dotted, nested).as_bytes()),
                Err(too_deep()),
                "{dotted} {nested}"
            );
        }
    }

    #[test]
    fn two_values_for_one_key_are_refused() {
        for json in [
            r#"{"a.b":"1","a":{"b":"2"}}"#,
            r#"{"a":"1","a.b":"2"}"#,
            r#"{"a":"1","a":"2"}"#,
        ] {
            assert!(document(json.as_bytes()).is_err(), "{json}");
        }
    }
}
