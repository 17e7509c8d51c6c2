//! A connector's configuration as it comes over HTTP: JSON, nested or as Kafka Connect's flat map.
//!
//! ```text
//!   bytes ─document─▶ Located tree ─Submission::read─▶ without Connect's own keys ─Rules─▶ expanded ─plan─▶ as of a file
//! ```
//!
//! Whoever may send one can do less than whoever writes the file: variables, files and SQL are for those who can log into the machine
//! (CVE-2024-31141, CVE-2023-25194 of Kafka Connect), but for what the file allows by name.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tailrace_core::setting::{LOCAL_FILE, SECRET, SQL};
use tailrace_sql::server_url::ServerUrl;

use super::expand::{Surroundings, variables};
use super::flat::{empty_mapping, flat_text, put, restore_lists, split, too_deep};
use super::formats::formats;
use super::schema;
use super::shown::MASK;
use super::spec::{SINK, SOURCE, TYPE};
use super::tree::{Entry, Located, MAXIMUM_DEPTH, Mark, Node, Problem, Problems, Scalar, Style};
use crate::catalog::PluginClass;

/// JSON has no lines that anybody looks at.
const HERE: Mark = Mark { line: 1, column: 1 };
/// Kafka Connect's own keys, which say what the tree says already.
const NAME: &str = "name";
const CLASS: &str = "connector.class";
const TASKS: &str = "tasks.max";
/// What is said of a file that a URL names past the folders that are allowed.
const FILE_IN_URL: &str = "a URL in a request names no files; name them under `tls`, in a folder that `admin.over_http.folders` of the \
                           configuration file has";
/// Parameters of URLs that name files: those of PostgreSQL's and MySQL's own clients, with `-` for `_`.
const FILE_PARAMETERS: [&str; 6] = ["sslrootcert", "sslcert", "sslkey", "ssl-ca", "ssl-cert", "ssl-key"];
/// What is said of a mask that nothing known stands behind.
const MASK_IS_NO_SECRET: &str = "`********` is only shown for a secret, and none is known of this place that goes to this server; \
    send the secret itself";
/// What is said of a variable where its value would be shown.
const VARIABLE_IN_THE_OPEN: &str = "a request names variables and `${file:…}` only in settings that are secret, such as `source.url`; \
    write here what is meant, and `$$` for a dollar sign";

/// What the file allows to connectors that are created over HTTP.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Environment variables that they may name, in secrets.
    pub(crate) variables: Vec<String>,
    /// Folders in which they may name files.
    pub(crate) folders: Vec<PathBuf>,
}

/// A connector as it was sent, Connect's own keys included.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) name: String,
    /// As it is kept and shown.
    pub(crate) sent: Located,
}

// === impl Submission ===

impl Submission {
    /// What the file would have under the connector's name, with every variable replaced; `None` where problems were noted.
    pub(crate) fn understand(
        &self,
        rules: &Rules,
        surroundings: &Surroundings,
        problems: &mut Problems,
    ) -> Option<Located> {
        let before = problems.len();
        let mut tree = self.sent.clone();
        take_connect_keys(&self.name, &mut tree, problems);
        rules.check(&tree, problems);
        // What is not allowed is not looked up either.
        if problems.len() == before {
            super::expand::expand(&mut tree, surroundings, problems);
        }
        tree.number();
        (problems.len() == before).then_some(tree)
    }

    /// As it is kept in the state: nested JSON.
    pub(crate) fn to_json(&self) -> String {
        to_value(&self.sent).to_string()
    }
}

/// Takes `name`, `connector.class` and `tasks.max` out; the class becomes the `type`.
fn take_connect_keys(expected: &str, tree: &mut Located, problems: &mut Problems) {
    if let Some(name) = take(tree, &[NAME]).filter(|name| name.text() != Some(expected)) {
        let sentence = format!("says another name than `{}`; leave it out, or write that", expected);
        problems.push(Problem::at(name.at, NAME, sentence));
    }
    if let Some(tasks) = take(tree, &["tasks", "max"]) {
        let is_positive = tasks
            .text()
            .is_some_and(|text| text.parse::<u32>().is_ok_and(|tasks| tasks > 0));
        if !is_positive {
            problems.push(Problem::at(tasks.at, TASKS, "expects a whole number from 1"));
        }
    }
    let Some(class) = take(tree, &["connector", "class"]) else {
        return;
    };
    let Some(known) = class.text().and_then(PluginClass::find) else {
        let names: Vec<String> = PluginClass::all().iter().map(PluginClass::name).collect();
        let sentence = format!("there is no such class; known are {}", names.join(", "));
        problems.push(Problem::at(class.at, CLASS, sentence));
        return;
    };
    let side = if known.is_sink { SINK } else { SOURCE };
    match tree.get(side).and_then(|side| side.get(TYPE)).map(Located::text) {
        Some(written) if written == Some(known.type_name) => {}
        Some(_) => {
            let sentence = format!(
                "the class {} is not of this type; leave one of the two out",
                known.name()
            );
            problems.push(Problem::at(HERE, format!("{side}.{TYPE}"), sentence));
        }
        None => {
            let keys = [side.to_owned(), TYPE.to_owned()];
            match put(tree, &keys, flat_text(HERE, known.type_name)) {
                Ok(()) => type_first(tree, side),
                Err(_) => problems.push(Problem::at(HERE, side, "expects a mapping")),
            }
        }
    }
}

/// As people write it.
fn type_first(tree: &mut Located, side: &str) {
    let Node::Mapping(entries) = &mut tree.node else { return };
    let side = entries.iter_mut().find(|entry| entry.key == side);
    if let Some(Node::Mapping(entries)) = side.map(|side| &mut side.value.node) {
        entries.rotate_right(1);
    }
}

/// What was taken, without what only Kafka Connect says: the class is the `type`.
pub(super) fn without_connect_keys(name: &str, sent: &Located) -> Located {
    let mut tree = sent.clone();
    // What is wrong with it was told when it came.
    take_connect_keys(name, &mut tree, &mut Problems::new(name));
    tree
}

/// Takes the value at a path out, and what is empty then.
fn take(tree: &mut Located, keys: &[&str]) -> Option<Located> {
    let (key, rest) = keys.split_first()?;
    let Node::Mapping(entries) = &mut tree.node else {
        return None;
    };
    let index = entries.iter().position(|entry| entry.key == *key)?;
    if rest.is_empty() {
        return Some(entries.remove(index).value);
    }
    let taken = take(&mut entries.get_mut(index)?.value, rest);
    entries.retain(|entry| entry.key != *key || !matches!(&entry.value.node, Node::Mapping(rest) if rest.is_empty()));
    taken
}

/// Whether a URL, or PostgreSQL's `name=value …`, makes the client read a file.
fn names_a_file(text: &str) -> bool {
    let is_one = |name: &str| FILE_PARAMETERS.contains(&&*name.to_lowercase().replace('_', "-"));
    match text.split_once("://") {
        Some((_, rest)) => ServerUrl::parse(rest).is_ok_and(|url| {
            let mut parameters = url.parameters.iter();
            parameters.any(|(name, value)| is_one(name) && value != "system")
        }),
        // Where it is no such thing it is a password, and may be anything.
        None => text
            .split(|letter: char| letter == '=' || letter.is_whitespace())
            .any(is_one),
    }
}

// === impl Rules ===

impl Rules {
    /// Notes every value that somebody who can only send requests may not decide about.
    fn check(&self, tree: &Located, problems: &mut Problems) {
        for found in formats(schema::connector(), tree) {
            let text = &found.scalar.text;
            let refusal = match found.format {
                Some(SQL) => Some("SQL stands only in the configuration file, never in a request".to_owned()),
                Some(SECRET) if text.contains(MASK) => Some(MASK_IS_NO_SECRET.to_owned()),
                Some(SECRET) if names_a_file(text) => Some(FILE_IN_URL.to_owned()),
                Some(SECRET) => variables(text).find_map(|inside| self.refuse_variable(inside)),
                // Whatever is no secret is told to whoever asks, in sentences about what is wrong with it for one.
                _ if variables(text).next().is_some() => Some(VARIABLE_IN_THE_OPEN.to_owned()),
                Some(LOCAL_FILE) => self.refuse_file(text),
                _ => None,
            };
            if let Some(sentence) = refusal {
                problems.push(Problem::at(HERE, found.path.join("."), sentence));
            }
        }
        let webhook = ["schema_changes", "webhook"];
        if let Some(webhook_value) = tree.get("schema_changes").and_then(|changes| changes.get("webhook")) {
            let sentence = "a webhook stands only in the configuration file, never in a request";
            problems.push(Problem::at(webhook_value.at, webhook.join("."), sentence));
        }
    }

    fn refuse_variable(&self, inside: &str) -> Option<String> {
        if let Some(path) = inside.strip_prefix("file:") {
            return self.refuse_file(path);
        }
        let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
        let is_allowed = self.variables.iter().any(|allowed| allowed == name);
        (!is_allowed).then(|| {
            format!(
                "a request may not name the environment variable `{name}`; add it to `admin.over_http.variables` in the \
                 configuration file"
            )
        })
    }

    /// The real place counts, with every link followed.
    fn refuse_file(&self, path: &str) -> Option<String> {
        let path = Path::new(path);
        let is_plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
        let real = is_plain.then(|| nearest_real(path)).flatten();
        let is_inside = |real: &PathBuf| {
            let mut folders = self.folders.iter().filter_map(|folder| folder.canonicalize().ok());
            folders.any(|folder| real.starts_with(&folder))
        };
        let is_allowed = real.as_ref().is_some_and(is_inside);
        (!is_allowed).then(|| {
            "a request names files by their whole path, in the folders of `admin.over_http.folders` of the configuration file, \
             and nowhere else"
                .to_owned()
        })
    }
}

/// Where a path really is; of what is not there yet, where its folder really is.
fn nearest_real(path: &Path) -> Option<PathBuf> {
    path.canonicalize()
        .ok()
        .or_else(|| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?)))
}

// --- JSON

/// Reads a body that is a configuration: an object whose keys may be dotted.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(crate) fn document(bytes: &[u8]) -> Result<Located, String> {
    undotted(body(bytes)?)
}

/// Reads a body as it is.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(crate) fn body(bytes: &[u8]) -> Result<Located, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed { depth: 0 };
    let read = seed
        .deserialize(&mut reader)
        .and_then(|tree| reader.end().map(|()| tree));
    read.map_err(|error| format!("the body is not the JSON that is expected: {error}"))
}

/// Dotted keys become mappings in mappings.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(crate) fn undotted(tree: Located) -> Result<Located, String> {
    let Node::Mapping(entries) = tree.node else {
        return Err("a configuration is a JSON object".to_owned());
    };
    let mut undotted = empty_mapping(HERE);
    for entry in entries {
        let keys = split(&entry.key)?;
        if keys.len() + entry.value.depth() > MAXIMUM_DEPTH {
            return Err(too_deep());
        }
        let mut value = empty_mapping(HERE);
        if put(&mut value, &keys, entry.value)
            .and_then(|()| put(&mut undotted, &[], value))
            .is_err()
        {
            return Err(format!("the key `{}` is there twice", entry.key));
        }
    }
    restore_lists(&mut undotted);
    Ok(undotted)
}

/// Changes what a patch names, and removes what it has as null (RFC 7396).
pub(crate) fn patch(tree: &mut Located, changes: Located) {
    let Node::Mapping(changes) = changes.node else {
        *tree = changes;
        return;
    };
    if !matches!(tree.node, Node::Mapping(_)) {
        *tree = empty_mapping(HERE);
    }
    let Node::Mapping(entries) = &mut tree.node else { return };
    for change in changes {
        let index = entries.iter().position(|entry| entry.key == change.key);
        let is_null = matches!(&change.value.node, Node::Scalar(scalar) if scalar.is_null());
        match index.and_then(|index| entries.get_mut(index)) {
            Some(_) if is_null => entries.retain(|entry| entry.key != change.key),
            Some(entry) => patch(&mut entry.value, change.value),
            None if is_null => {}
            None => {
                let mut value = empty_mapping(HERE);
                patch(&mut value, change.value);
                entries.push(Entry {
                    key: change.key,
                    key_at: HERE,
                    value,
                });
            }
        }
    }
}

/// A tree as JSON; texts stay texts.
pub(crate) fn to_value(tree: &Located) -> Value {
    match &tree.node {
        Node::Scalar(scalar) if scalar.style == Style::Plain => plain(&scalar.text),
        Node::Scalar(scalar) => Value::String(scalar.text.clone()),
        Node::Sequence(elements) => Value::Array(elements.iter().map(to_value).collect()),
        Node::Mapping(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), to_value(&entry.value)));
            Value::Object(Map::from_iter(entries))
        }
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => match text.parse::<Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::String(text.to_owned()),
        },
    }
}

/// Builds the tree; a key that is there twice is an error, as it is in YAML.
#[derive(Clone, Copy)]
struct Seed {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Located;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Located, D::Error> {
        if self.depth > MAXIMUM_DEPTH {
            return Err(de::Error::custom(format!("nested deeper than {MAXIMUM_DEPTH}")));
        }
        deserializer.deserialize_any(self)
    }
}

fn scalar(text: impl Into<String>, style: Style) -> Located {
    Located {
        at: HERE,
        node: Node::Scalar(Scalar {
            text: text.into(),
            style,
            written: None,
        }),
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Located;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Located, E> {
        Ok(scalar("null", Style::Plain))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Located, E> {
        Ok(scalar(value.to_string(), Style::Plain))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Located, E> {
        Ok(scalar(value.to_string(), Style::Plain))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Located, E> {
        Ok(scalar(value.to_string(), Style::Plain))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Located, E> {
        Ok(scalar(value.to_string(), Style::Plain))
    }

    fn visit_str<E>(self, value: &str) -> Result<Located, E> {
        Ok(scalar(value, Style::Flat))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Located, A::Error> {
        let below = Seed { depth: self.depth + 1 };
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(below)? {
            list.push(element);
        }
        Ok(Located {
            at: HERE,
            node: Node::Sequence(list),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Located, A::Error> {
        let below = Seed { depth: self.depth + 1 };
        let mut mapping: Vec<Entry> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            if mapping.iter().any(|entry| entry.key == key) {
                return Err(de::Error::custom(format!("the key `{key}` is there twice")));
            }
            let value = entries.next_value_seed(below)?;
            mapping.push(Entry {
                key,
                key_at: HERE,
                value,
            });
        }
        Ok(Located {
            at: HERE,
            node: Node::Mapping(mapping),
        })
    }
}

/// Where a problem of a submitted connector is, without the names above it, down to the key that is unknown or missing.
pub(crate) fn key_of(problem: &Problem, connector: &str) -> String {
    let above = format!("{}.{connector}", super::spec::CONNECTORS);
    let below = problem.path.strip_prefix(&above).unwrap_or(&problem.path);
    let below = below.strip_prefix('.').unwrap_or(below);
    let keys = [Some(below).filter(|below| !below.is_empty()), problem.key.as_deref()];
    let keys: Vec<&str> = keys.into_iter().flatten().collect();
    keys.join(".")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is said of a connector that was sent, where the file allows `ALLOWED` and this folder.
    fn said(config: &Value, folder: &Path) -> Result<Located, String> {
        let rules = Rules {
            variables: vec!["ALLOWED".to_owned()],
            folders: vec![folder.to_owned()],
        };
        let submission = Submission {
            name: "orders".to_owned(),
            sent: document(config.to_string().as_bytes()).unwrap(),
        };
        let surroundings = Surroundings::of(&[("ALLOWED", "hunter2"), ("FORBIDDEN", "hunter2")]);
        let mut problems = Problems::new("");
        let understood = submission.understand(&rules, &surroundings, &mut problems);
        understood.ok_or_else(|| problems.to_string())
    }

    #[test]
    fn a_variable_stands_only_where_its_value_is_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("secret").display().to_string();
        std::fs::write(&inside, "hunter2").unwrap();
        let key_value = |key: &str, value: String| json!({ "source.type": "postgres", key: value });
        for written in ["${ALLOWED}".to_owned(), format!("${{file:{inside}}}")] {
            for key in ["source.url", "source.password", "transforms.0.mask.email.hash_salt"] {
                let understood = said(&key_value(key, format!("x{written}")), folder.path()).unwrap();
                assert!(to_value(&understood).to_string().contains("xhunter2"), "{key}");
            }
            for key in [
                "stream",
                "prefix",
                "topic",
                "format.registry",
                "schema_changes.topic",
                "dead_letters.topic",
                "source.slot",
                "source.tables",
                "source.nosuch",
                "nosuch",
                "writers",
                "transforms.0.route.topic",
            ] {
                let said = said(&key_value(key, written.clone()), folder.path()).unwrap_err();
                assert!(
                    said.contains(&format!("{key}: {VARIABLE_IN_THE_OPEN}")),
                    "{key}: {said}"
                );
                assert!(!said.contains("hunter2"), "{key}: {said}");
            }
        }
        // The name of a file is told where the file cannot be read.
        for written in ["${FORBIDDEN}", "${ALLOWED}"] {
            let path = folder.path().join(written).display().to_string();
            let said = said(&key_value("source.tls.ca_file", path), folder.path()).unwrap_err();
            assert!(
                said.contains(VARIABLE_IN_THE_OPEN) && !said.contains("hunter2"),
                "{said}"
            );
        }
        let said = said(&key_value("source.url", "${FORBIDDEN}".to_owned()), folder.path()).unwrap_err();
        assert!(
            said.contains("may not name the environment variable `FORBIDDEN`"),
            "{said}"
        );
    }

    #[test]
    fn a_url_names_no_files() {
        let folder = tempfile::tempdir().unwrap();
        for url in [
            "postgres://me@db/shop?sslmode=verify-ca&sslrootcert=/etc/shadow",
            "host=db sslrootcert = /etc/shadow",
            "mysql://me@db/?ssl_ca=/etc/shadow",
            "mysql://me@db/?SSL-CA=/etc/shadow",
        ] {
            let said = said(&json!({ "source.url": url }), folder.path()).unwrap_err();
            assert!(said.contains(&format!("source.url: {FILE_IN_URL}")), "{said}");
        }
        for url in [
            "postgres://me@db/shop?sslrootcert=system",
            "host=db user=me",
            "mysql://sslkey@db/sslcert",
        ] {
            assert!(said(&json!({ "source.url": url }), folder.path()).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_mask_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        for (key, value) in [
            ("source.password", MASK),
            ("source.url", "postgres://me:********@db/shop"),
            ("transforms.0.mask.email.hash_salt", MASK),
        ] {
            let said = said(&json!({ key: value }), folder.path()).unwrap_err();
            assert!(said.contains(&format!("{key}: {MASK_IS_NO_SECRET}")), "{said}");
        }
        assert!(said(&json!({ "transforms.0.mask.email.fixed": MASK }), folder.path()).is_ok());
    }
}
