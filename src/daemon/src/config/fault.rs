//! What serde complains about, with its place, in sentences.

use std::fmt;

use serde::de;

use super::deserialize::parse_integer;
use super::tree::{Located, Mark, Node, Problem, Scalar, Style};

/// What serde complained about, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    at: Option<Mark>,
    /// Keys from the place upwards.
    path: Vec<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    UnknownKey { name: String, known: Vec<String> },
    UnknownValue { name: String, known: Vec<String> },
    Missing(&'static str),
    Type { expected: String },
    Range { expected: String },
    Other(String),
}

/// Names that differ in more than a third of their letters are not the same name misspelt.
const NEAREST_MINIMUM: f64 = 0.65;

/// "did you mean …", or the names that there are.
pub(crate) fn suggestion(name: &str, known: &[String]) -> String {
    match nearest_name(name, known) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known are {}", quoted_list(known)),
    }
}

fn nearest_name<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let likenesses = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    let (likeness, candidate) = likenesses.max_by(|(left, _), (right, _)| left.total_cmp(right))?;
    (likeness >= NEAREST_MINIMUM).then_some(candidate)
}

pub(super) fn quoted_list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

// === impl Fault ===

impl Fault {
    fn of(what: What) -> Self {
        Self {
            at: None,
            path: Vec::new(),
            what,
        }
    }

    /// Expected something else; what was found is said where the place is known.
    pub(super) fn expected(expected: impl Into<String>) -> Self {
        Self::of(What::Type {
            expected: expected.into(),
        })
    }

    /// Takes what was at fault out of the tree; its key, where it could be taken out.
    pub(super) fn take_out(&self, tree: &mut Located) -> Option<String> {
        match self.what {
            What::UnknownKey { .. } => tree.remove_key_at(self.at?),
            _ => tree.remove_value_at(self.at?),
        }
    }

    /// The key that is missing.
    pub(super) fn missing_key(&self) -> Option<&str> {
        match &self.what {
            What::Missing(key) => Some(key),
            _ => None,
        }
    }

    /// A sentence as it is.
    pub(super) fn other(sentence: impl Into<String>) -> Self {
        Self::of(What::Other(sentence.into()))
    }

    /// The place, where none is known yet.
    pub(super) fn located(mut self, at: Mark) -> Self {
        self.at.get_or_insert(at);
        self
    }

    /// Says where it was and, for a type, what was found there; hides what a variable held.
    pub(super) fn located_at(mut self, value: &Located) -> Self {
        if self.at.is_some() {
            return self;
        }
        self.at = Some(value.at);
        if let What::Type { expected } = &self.what {
            self.what = What::Other(format!(
                "expects {expected}, found {}{}",
                value.describe(),
                hint(expected, value)
            ));
        } else if let What::Range { expected } = &self.what {
            self.what = What::Other(format!("expects {expected}, found {}", value.describe()));
        }
        if let Node::Scalar(Scalar {
            text,
            written: Some(written),
            ..
        }) = &value.node
        {
            self.hide(text, written);
        }
        self
    }

    fn hide(&mut self, secret: &str, written: &str) {
        let text = match &mut self.what {
            What::Other(text) | What::UnknownValue { name: text, .. } => text,
            What::UnknownKey { .. } | What::Missing(_) | What::Type { .. } | What::Range { .. } => return,
        };
        if !secret.is_empty() {
            *text = text.replace(secret, written);
        }
    }

    /// One key further up.
    pub(super) fn under(mut self, key: impl Into<String>) -> Self {
        self.path.push(key.into());
        self
    }

    /// Keys that the caller reads itself are valid names, too.
    pub(super) fn offer(&mut self, handled: &[&str], root: &Located) {
        if let What::UnknownKey { known, .. } = &mut self.what {
            let at_root = root
                .mapping()
                .is_some_and(|entries| entries.iter().any(|entry| Some(entry.key_at) == self.at));
            if at_root {
                known.extend(handled.iter().map(|key| (*key).to_owned()));
            }
        }
    }

    /// The name that an unknown key was probably meant to be.
    pub(super) fn nearest(&self) -> Option<&str> {
        match &self.what {
            What::UnknownKey { name, known } => nearest_name(name, known),
            _ => None,
        }
    }

    /// As a problem of the file; `above` is the path of what was read, `fallback` its place.
    pub(super) fn into_problem(self, above: &str, fallback: Mark) -> Problem {
        let mut path: Vec<&str> = if above.is_empty() { Vec::new() } else { vec![above] };
        path.extend(self.path.iter().rev().map(String::as_str));
        let at = self.at.unwrap_or(fallback);
        let mut problem = Problem::at(at, path.join("."), self.to_string());
        problem.key = match &self.what {
            What::UnknownKey { name, .. } => Some(name.clone()),
            What::Missing(key) => Some((*key).to_owned()),
            What::UnknownValue { .. } | What::Type { .. } | What::Range { .. } | What::Other(_) => None,
        };
        problem
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::UnknownKey { name, known } => write!(formatter, "unknown key `{name}`; {}", suggestion(name, known)),
            What::UnknownValue { name, known } => {
                write!(formatter, "unknown value `{name}`; {}", suggestion(name, known))
            }
            What::Missing(key) => write!(formatter, "the key `{key}` is missing"),
            What::Type { expected } | What::Range { expected } => write!(formatter, "expects {expected}"),
            What::Other(sentence) => formatter.write_str(sentence),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::other(message.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::of(What::Type {
            expected: in_words(&expected.to_string()),
        })
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::of(What::Range {
            expected: in_words(&expected.to_string()),
        })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::of(What::UnknownValue {
            name: variant.to_owned(),
            known: owned(expected),
        })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::of(What::UnknownKey {
            name: field.to_owned(),
            known: owned(expected),
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(What::Missing(field))
    }
}

pub(super) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// serde's names of types, in the reader's words.
pub(super) fn in_words(expected: &str) -> String {
    let words = match expected {
        "a string" | "a borrowed string" | "string" | "str" | "path string" => "text",
        "a boolean" | "bool" => "`true` or `false`",
        "a sequence" => "a list",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number from 1",
        "f32" | "f64" => "a number",
        "a map" => "a mapping",
        other if other.starts_with("struct ") => "a mapping",
        other if other.starts_with("enum ") || other.starts_with("variant of enum ") => "one of its names",
        other => other,
    };
    words.to_owned()
}

fn hint(expected: &str, value: &Located) -> String {
    let Node::Scalar(scalar) = &value.node else {
        return String::new();
    };
    let text = scalar.text.as_str();
    let number = expected.contains("number");
    let hint = match text {
        "yes" | "on" | "Yes" | "On" | "YES" | "ON" | "y" | "True" | "TRUE" if expected.contains("`true`") => {
            "; write `true`"
        }
        "no" | "off" | "No" | "Off" | "NO" | "OFF" | "n" | "False" | "FALSE" if expected.contains("`true`") => {
            "; write `false`"
        }
        _ if scalar.style == Style::Quoted && (number && parse_integer(text).is_some()) => "; remove the quotes",
        _ if number && text.starts_with('0') && text.len() > 1 => "; write it in decimal, without leading zeros",
        _ if number && text.contains('_') => "; write it without `_`",
        _ if number && text.starts_with(|letter: char| letter.is_ascii_digit()) => "; the unit is in the key's name",
        _ => "",
    };
    hint.to_owned()
}
