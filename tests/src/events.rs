//! Events as a consumer finds them, with the parts that tests look at already taken apart.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::servers::Record;

/// A record that Tailrace published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
}

// === impl Event ===

impl From<Record> for Event {
    fn from(record: Record) -> Event {
        let text = |value: Option<Vec<u8>>| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
        let headers = record.headers.into_iter().map(|(name, value)| (name, text(value)));
        Event {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms.unwrap_or_default(),
            key: record.key,
            value: record.value,
            headers: headers.collect(),
        }
    }
}

impl Event {
    /// The key as JSON; null where there is none.
    #[must_use]
    pub fn key_json(&self) -> Value {
        as_json(self.key.as_deref())
    }

    /// The value as JSON; null for a tombstone.
    #[must_use]
    pub fn value_json(&self) -> Value {
        as_json(self.value.as_deref())
    }

    /// A header's text; empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// What happened: Debezium's letter.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.header("op")
    }

    /// The id that is the same in every replay.
    #[must_use]
    pub fn event_id(&self) -> &str {
        self.header("event_id")
    }

    /// The row after the change, in either envelope; null after a delete.
    #[must_use]
    pub fn after(&self) -> Value {
        self.part("after")
    }

    /// The row before the change, in Debezium's envelope.
    #[must_use]
    pub fn before(&self) -> Value {
        self.part("before")
    }

    /// One line: `u {"id":1} {"id":1,"name":"a"} -> {"id":1,"name":"b"}`, or `- {"id":1}` for a tombstone, without what
    /// changes from run to run.
    #[must_use]
    pub fn brief(&self) -> String {
        if self.value.is_none() {
            return format!("- {}", self.key_json());
        }
        let value = self.value_json();
        let rows = match value.get("op") {
            Some(_) => format!("{} -> {}", self.before(), self.after()),
            None => value.to_string(),
        };
        format!("{} {} {rows}", self.operation(), self.key_json())
    }

    fn part(&self, name: &str) -> Value {
        let value = self.value_json();
        match value.get("op") {
            Some(_) => value.get(name).cloned().unwrap_or(Value::Null),
            None if name == "after" => value,
            None => Value::Null,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{} {} {}",
            self.partition,
            self.offset,
            self.event_id(),
            self.brief()
        )
    }
}

fn as_json(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else {
        return Value::Null;
    };
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(format!("not JSON: {}", String::from_utf8_lossy(bytes))))
}
