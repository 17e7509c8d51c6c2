//! Events on the screen: topic, key, updated_at, lag, and the value in short.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use tailrace_core::event::{StreamRecord, header};

use crate::screen::escape;

/// Events that are shown together come in one answer.
pub(super) const POLL_RECORDS: usize = 1000;
/// What comes is shown at once; this is only how long silence is waited through.
pub(super) const POLL_WAIT: Duration = Duration::from_millis(500);
/// Of many events at once so many are shown from the beginning, and half as many from the end.
const SHOWN_AT_ONCE: usize = 6;
const TOPIC_CHARACTERS: usize = 16;
const KEY_CHARACTERS: usize = 12;
const VALUE_CHARACTERS: usize = 72;

/// What the lines look like.
pub(super) struct Show {
    colours: bool,
}

// === impl Show ===

impl Show {
    /// With colours on a terminal.
    pub(super) fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// The lines of what came together; `now_us` is when it came, microseconds since 1970.
    pub(super) fn lines(&self, records: &[StreamRecord], now_us: i64) -> String {
        let line = |record: &StreamRecord| self.line(record, now_us);
        let (first, rest) = records.split_at(records.len().min(SHOWN_AT_ONCE));
        let (hidden, last) = rest.split_at(rest.len().saturating_sub(SHOWN_AT_ONCE / 2));
        let mut lines: String = first.iter().map(line).collect();
        if !hidden.is_empty() {
            lines.push_str(&self.dim(&format!("{:<TOPIC_CHARACTERS$} … {} more events", "", hidden.len())));
            lines.push('\n');
        }
        lines.extend(last.iter().map(line));
        lines
    }

    fn line(&self, record: &StreamRecord, now_us: i64) -> String {
        let topic = cut(&record.topic, TOPIC_CHARACTERS);
        let key = record.key.as_deref().map_or_else(
            || "no key".to_owned(),
            |key| cut(&String::from_utf8_lossy(key), KEY_CHARACTERS),
        );
        let updated_at = record.header(header::UPDATED_AT).unwrap_or("-");
        // A row that was there before is as old as it is; only what happens now can be late.
        let lag = match record.header(header::OPERATION) {
            Some("r") => "was there".to_owned(),
            _ => lag(now_us / 1000 - record.timestamp_ms),
        };
        format!(
            "{} {} {} {} {}\n",
            self.paint("36", &format!("{topic:<TOPIC_CHARACTERS$}")),
            self.paint("1", &format!("{key:<KEY_CHARACTERS$}")),
            self.dim(&format!("updated_at {updated_at}")),
            self.paint("32", &format!("{lag:<11}")),
            in_short(record)
        )
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn lag(lag_ms: i64) -> String {
    match lag_ms {
        ms if ms < 10_000 => format!("lag {ms} ms"),
        ms => format!("lag {} s", ms / 1000),
    }
}

/// `customer_id=3 status=paid …`: what a person looks for; the whole value is one `tailrace tail` away.
fn in_short(record: &StreamRecord) -> String {
    let Some(value) = record.value.as_deref() else {
        return "deleted".to_owned();
    };
    let Ok(Fields(fields)) = serde_json::from_slice(value) else {
        return cut(&String::from_utf8_lossy(value), VALUE_CHARACTERS);
    };
    let known_from_elsewhere = |name: &str| name == "id" || name.ends_with("_at");
    let fields = fields
        .iter()
        .filter(|(name, _)| !known_from_elsewhere(name))
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        });
    cut(&fields.collect::<Vec<_>>().join(" "), VALUE_CHARACTERS)
}

/// The fields of a JSON object in their own order.
struct Fields(Vec<(String, Value)>);

struct FieldsVisitor;

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'de> Visitor<'de> for FieldsVisitor {
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

fn cut(text: &str, characters: usize) -> String {
    let text = escape(text);
    if text.chars().count() <= characters {
        return text;
    }
    let mut cut: String = text.chars().take(characters.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;

    fn record(operation: &'static str, value: Option<&'static str>) -> StreamRecord {
        StreamRecord {
            topic: Arc::from("shop.orders"),
            partition: 0,
            offset: 1,
            timestamp_ms: 1_700_000_000_000,
            key: Some(Bytes::from_static(b"{\"id\":7}")),
            value: value.map(Bytes::from),
            headers: vec![
                (
                    "updated_at".to_owned(),
                    Bytes::from_static(b"2023-11-14T22:13:20.000000Z"),
                ),
                ("op".to_owned(), Bytes::from_static(operation.as_bytes())),
            ],
        }
    }

    #[test]
    fn a_line_has_topic_key_updated_at_lag_and_value() {
        let show = Show::new(false);
        let now_us = 1_700_000_000_345_000;
        let paid = record(
            "u",
            Some(r#"{"id":7,"status":"paid","customer_id":3,"updated_at":"x"}"#),
        );
        assert_eq!(
            show.lines(&[paid], now_us),
            "shop.orders      {\"id\":7}     updated_at 2023-11-14T22:13:20.000000Z lag 345 ms  status=paid customer_id=3\n"
        );
        let was_there = show.lines(&[record("r", Some("{}"))], now_us);
        assert!(was_there.contains(" was there "), "{was_there}");
        assert!(show.lines(&[record("d", None)], now_us).ends_with(" deleted\n"));
    }

    #[test]
    fn many_events_at_once_are_shown_in_part_and_counted() {
        let many: Vec<_> = (0..100).map(|_| record("r", Some("{}"))).collect();
        let lines = Show::new(false).lines(&many, 0);
        assert_eq!(lines.lines().count(), 10);
        assert!(lines.contains("… 91 more events"), "{lines}");
    }
}
