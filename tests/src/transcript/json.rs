//! JSON as it was published, field by field in its order, laid out for people.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Where a line is broken.
const LINE_CHARACTERS: usize = 112;
/// Texts that are longer are cut: they stand for large values, and nobody reads them.
const TEXT_CHARACTERS: usize = 72;
/// As many characters of a long text are shown.
const SHOWN_CHARACTERS: usize = 16;
/// Lists that are longer are cut.
const LIST_ITEMS: usize = 30;
/// As many items of a long list are shown.
const SHOWN_ITEMS: usize = 3;

/// A value. Numbers, `true`, `false` and `null` keep the very characters that were published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Word(String),
}

struct Fields(Vec<(String, Box<RawValue>)>);

// === impl Json ===

impl Json {
    /// Reads what was published; what is not JSON becomes a word that says so.
    pub(super) fn parse(bytes: &[u8]) -> Json {
        let raw: Result<&RawValue, _> = serde_json::from_slice(bytes);
        match raw {
            Ok(raw) => Json::of(raw),
            Err(_) => Json::Word(format!("not JSON: {}", String::from_utf8_lossy(bytes))),
        }
    }

    fn of(raw: &RawValue) -> Json {
        let text = raw.get();
        let parsed = match text.as_bytes().first() {
            Some(b'{') => serde_json::from_str(text).map(|Fields(fields)| {
                let fields = fields.into_iter().map(|(name, value)| (name, Json::of(&value)));
                Json::Object(fields.collect())
            }),
            Some(b'[') => serde_json::from_str(text)
                .map(|items: Vec<Box<RawValue>>| Json::Array(items.iter().map(|item| Json::of(item)).collect())),
            Some(b'"') => serde_json::from_str(text).map(Json::Text),
            Some(_) | None => Ok(Json::Word(text.to_owned())),
        };
        parsed.unwrap_or_else(|error| Json::Word(format!("not JSON: {error}")))
    }

    /// A field of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        let Json::Object(fields) = self else { return None };
        fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn is_null(&self) -> bool {
        *self == Json::Word("null".to_owned())
    }

    /// The same with every field, of whatever depth, gone through a function.
    pub(super) fn map_fields(self, change: &mut dyn FnMut(&str, Json) -> Json) -> Json {
        match self {
            Json::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| {
                    let value = change(&name, value).map_fields(change);
                    (name, value)
                });
                Json::Object(fields.collect())
            }
            Json::Array(items) => Json::Array(items.into_iter().map(|item| item.map_fields(change)).collect()),
            Json::Text(_) | Json::Word(_) => self,
        }
    }

    /// On one line where it fits behind `indent` characters, else broken and indented.
    pub(super) fn lines(&self, indent: usize) -> Vec<String> {
        let line = self.to_string();
        if indent + line.chars().count() <= LINE_CHARACTERS {
            return vec![line];
        }
        match self {
            Json::Object(fields) => {
                let items = fields.iter().map(|(name, value)| {
                    let name = quoted(name);
                    let mut lines = value.lines(indent + 2);
                    if let Some(first) = lines.first_mut() {
                        *first = format!("{name}: {first}");
                    }
                    lines
                });
                broken("{", items.collect(), "}")
            }
            Json::Array(items) => {
                let (shown, rest) = shown_items(items);
                let lines = shown.iter().map(|item| item.lines(indent + 2));
                broken("[", lines.chain(rest.map(|rest| vec![rest])).collect(), "]")
            }
            Json::Text(_) | Json::Word(_) => vec![line],
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{}: {value}", quoted(name)));
                write!(formatter, "{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            Json::Array(items) => {
                let (shown, rest) = shown_items(items);
                let shown: Vec<String> = shown.iter().map(ToString::to_string).chain(rest).collect();
                write!(formatter, "[{}]", shown.join(", "))
            }
            Json::Text(text) => formatter.write_str(&shortened(text)),
            Json::Word(word) => formatter.write_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= TEXT_CHARACTERS {
        return quoted(text);
    }
    let first: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("{}… «{count} characters»", quoted(&first))
}

/// The items that are shown, and what stands for the others.
fn shown_items(items: &[Json]) -> (&[Json], Option<String>) {
    if items.len() <= LIST_ITEMS {
        return (items, None);
    }
    let shown = items.get(..SHOWN_ITEMS).unwrap_or_default();
    (shown, Some(format!("… «{} items»", items.len())))
}

fn broken(begin: &str, items: Vec<Vec<String>>, end: &str) -> Vec<String> {
    let mut lines = vec![begin.to_owned()];
    let count = items.len();
    for (index, item) in items.into_iter().enumerate() {
        lines.extend(item.into_iter().map(|line| format!("  {line}")));
        if let Some(last) = lines.last_mut().filter(|_| index + 1 < count) {
            last.push(',');
        }
    }
    lines.push(end.to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_numbers_their_characters() {
        let text = r#"{"b": 1.50, "a": [null, true], "c": {"z": "é\n", "y": 12345678901234567890}}"#;
        assert_eq!(Json::parse(text.as_bytes()).to_string(), text);
    }

    #[test]
    fn what_is_long_is_broken_and_what_is_large_is_cut() {
        let long = format!(r#"{{"a":"{}","b":[{}1]}}"#, "x".repeat(9000), "1,".repeat(99));
        let json = Json::parse(long.as_bytes());
        assert_eq!(
            json.to_string(),
            r#"{"a": "xxxxxxxxxxxxxxxx"… «9000 characters», "b": [1, 1, 1, … «100 items»]}"#
        );
        let expected = ["{", "  \"a\": 1,", "  \"b\": 2", "}"];
        assert_eq!(Json::parse(br#"{"a":1,"b":2}"#).lines(LINE_CHARACTERS), expected);
    }

    #[test]
    fn what_is_not_json_is_said_to_be_none() {
        assert_eq!(Json::parse(b"{").to_string(), "not JSON: {");
    }
}
