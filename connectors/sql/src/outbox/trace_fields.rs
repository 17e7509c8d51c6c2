//! The trace that an event belongs to, as applications write it into a row.
//!
//! Three forms are known: the text of a `traceparent` (<https://www.w3.org/TR/trace-context/>), a JSON object of the fields that a
//! propagator sets, and the same as Java's properties (`java.util.Properties.store`), which is what Debezium's outbox extension writes.

use std::collections::BTreeMap;

use serde_json::Value;
use tailrace_core::trace::{TRACEPARENT, TraceContext};

/// Names and values of the fields; `None` where the text has none of the forms.
pub(super) fn trace_fields(text: &str) -> Option<Vec<(String, String)>> {
    let text = text.trim();
    if TraceContext::parse(text).is_some() {
        return Some(vec![(TRACEPARENT.to_owned(), text.to_owned())]);
    }
    let fields = if text.starts_with('{') {
        from_json(text)?
    } else {
        from_properties(text)?
    };
    (!fields.is_empty()).then_some(fields)
}

fn from_json(text: &str) -> Option<Vec<(String, String)>> {
    let fields: BTreeMap<String, Value> = serde_json::from_str(text).ok()?;
    let texts = fields.into_iter().filter_map(|(name, value)| match value {
        Value::String(value) => Some((name, value)),
        _ => None,
    });
    Some(texts.collect())
}

/// `None` where a line is no property.
fn from_properties(text: &str) -> Option<Vec<(String, String)>> {
    let lines = text.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    lines.map(property).collect()
}

/// The name ends at the first `=` or `:` that has no backslash before it.
fn property(line: &str) -> Option<(String, String)> {
    let mut is_escaped = false;
    let end = line.find(|letter| {
        let ends = !is_escaped && matches!(letter, '=' | ':');
        is_escaped = !is_escaped && letter == '\\';
        ends
    })?;
    let (name, value) = line.split_at_checked(end)?;
    let name = unescaped(name.trim_end());
    let value = unescaped(value.get(1..)?.trim());
    (!name.is_empty()).then_some((name, value))
}

/// Without the backslashes; no field of a trace holds what needs `\\u`.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn fields(text: &str) -> Option<Vec<(String, String)>> {
        trace_fields(text)
    }

    fn owned(fields: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn each_form_is_read() {
        let both = [("traceparent", PARENT), ("tracestate", "a=1,b=2")];
        assert_eq!(fields(&format!(" {PARENT}\n")), owned(&both[..1]));
        assert_eq!(
            fields(&format!(r#"{{"traceparent":"{PARENT}","tracestate":"a=1,b=2","n":1}}"#)),
            owned(&both)
        );
        let stored = format!("#Sun Nov 22 10:00:00 UTC 2026\ntraceparent={PARENT}\r\ntracestate=a\\=1,b\\=2\n");
        assert_eq!(fields(&stored), owned(&both));
        // Other propagators have other fields.
        assert_eq!(
            fields("uber-trace-id=1\\:2\\:0\\:1"),
            owned(&[("uber-trace-id", "1:2:0:1")])
        );
        assert_eq!(fields("b3: 1-2-1"), owned(&[("b3", "1-2-1")]));
    }

    #[test]
    fn what_has_no_form_is_none() {
        for text in [
            "",
            "span 7",
            "{}",
            "{\"a\":",
            "{\"a\":1}",
            "# a comment",
            "=value",
            "a\\=b",
        ] {
            assert_eq!(fields(text), None, "{text}");
        }
    }
}
