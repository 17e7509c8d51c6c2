//! What another program that carried a database's changes before has written down of how far it came, and where to go on from there.
//!
//! The programs promise no more than that events come at least once, and so does this: where their notes leave a doubt, the earlier place
//! is taken, and a few changes come again.

use serde_json::{Map, Value};

use crate::position::Position;
use crate::{Error, Result};

/// What the program before left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Predecessor {
    /// How far it came.
    pub stored: StoredOffset,
    /// Which tables it carried, as patterns like those of the configuration, because what it stores of a log does not say it; `None` for
    /// all that are configured.
    pub captured: Option<Vec<String>>,
}

/// How far the program before came, in its own terms.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredOffset {
    /// A connector of Debezium's.
    Debezium(DebeziumOffset),
    /// Maxwell keeps it in a table of the server that it reads.
    Maxwell {
        /// The schema of its tables: its `schema_database`.
        schema: String,
        /// Which one of several it is: its `client_id`.
        client_id: String,
    },
    /// Kafka Connect's JDBC source: for each table how far it was polled.
    Jdbc(Vec<JdbcOffset>),
}

/// What a connector of Debezium's stores as its source offset.
#[derive(Debug, Clone, PartialEq)]
pub struct DebeziumOffset(Map<String, Value>);

/// What Kafka Connect's JDBC source stores of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JdbcOffset {
    /// `catalog.schema.table`, or fewer parts of it.
    pub table: String,
    /// The last value of the incrementing column.
    pub incrementing: Option<i64>,
    /// The last value of the timestamp column, microseconds since 1970.
    pub timestamp_us: Option<i64>,
}

/// Where a connector goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct TakeOver {
    /// The position, which is sound: nothing of what comes behind it is missing on the server.
    pub position: Position,
    /// What the source is to remember.
    pub memory: Value,
    /// What there is to know before it is done, a sentence each.
    pub notes: Vec<String>,
}

/// What a source says that cannot go on from such an offset.
pub fn not_understood(kind: &str) -> Error {
    Error::definite(
        "offsets_foreign",
        format!(
            "the offsets are none that a connector with this source ({kind}) could go on from; name the connector whose tables the other \
             program carried"
        ),
    )
}

fn unreadable(sentence: String) -> Error {
    Error::definite("offsets_unreadable", sentence)
}

// === impl DebeziumOffset ===

impl DebeziumOffset {
    /// An offset as it was stored.
    pub fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A number, from 0.
    ///
    /// # Errors
    /// Definite `offsets_unreadable` where there is something else.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                unreadable(format!(
                    "`{key}` of Debezium's offset is {value}, and would be a whole number from 0"
                ))
            }),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// Definite `offsets_unreadable` where there is something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(unreadable(format!(
                "`{key}` of Debezium's offset is {value}, and would be a text"
            ))),
        }
    }

    /// Refuses an offset within the snapshot: some rows are not published yet, and nobody but Debezium knows which.
    ///
    /// # Errors
    /// Definite `snapshot_unfinished`.
    pub fn verify_snapshot_is_over(&self) -> Result<()> {
        let snapshot = match self.0.get("snapshot") {
            None | Some(Value::Null | Value::Bool(false)) => return Ok(()),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => return Ok(()),
            // Rows that are read while the log is carried: the place in the log is what it always is.
            Some(Value::String(text)) if text.eq_ignore_ascii_case("incremental") => return Ok(()),
            Some(value) => value,
        };
        if self.is_true("snapshot_completed") || self.is_true("last_snapshot_record") {
            return Ok(());
        }
        let message = format!(
            "the offset is one within Debezium's snapshot (`snapshot` is {snapshot}): which rows were published is not known. Let Debezium \
             finish the snapshot and publish one change behind it, then stop it and try again; or begin with a snapshot of Tailrace's own, \
             without these offsets"
        );
        Err(Error::definite("snapshot_unfinished", message))
    }

    /// What of the offset is given up.
    pub fn notes(&self) -> Vec<String> {
        let collections = match self.0.get("incremental_snapshot_collections") {
            Some(Value::String(text)) if !text.is_empty() => text,
            _ => return Vec::new(),
        };
        vec![format!(
            "Debezium was reading rows again while it carried the log (an incremental snapshot of {collections}): the rest of them is not \
             read; ask for it with `POST /connectors/{{name}}/snapshots`"
        )]
    }

    fn is_true(&self, key: &str) -> bool {
        match self.0.get(key) {
            Some(Value::Bool(value)) => *value,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offset(fields: &Value) -> DebeziumOffset {
        DebeziumOffset::new(fields.as_object().unwrap().clone())
    }

    #[test]
    fn fields_are_of_their_types_or_refused() {
        let offset = offset(&json!({ "pos": 157, "file": "b.000001", "null": null, "minus": -1, "half": 0.5 }));
        assert_eq!(offset.number("pos").unwrap(), Some(157));
        assert_eq!(offset.number("null").unwrap(), None);
        assert_eq!(offset.number("missing").unwrap(), None);
        assert_eq!(offset.text("file").unwrap(), Some("b.000001"));
        for key in ["file", "minus", "half"] {
            assert_eq!(offset.number(key).unwrap_err().code(), "offsets_unreadable", "{key}");
        }
        assert_eq!(offset.text("pos").unwrap_err().code(), "offsets_unreadable");
    }

    #[test]
    fn an_unfinished_snapshot_is_refused() {
        let code = |fields: Value| {
            let verified = offset(&fields).verify_snapshot_is_over();
            verified.err().map(|error| error.code())
        };
        assert_eq!(code(json!({})), None);
        assert_eq!(code(json!({ "snapshot": false })), None);
        assert_eq!(code(json!({ "snapshot": "INCREMENTAL" })), None);
        for unfinished in [
            json!(true),
            json!("INITIAL"),
            json!("BLOCKING"),
            json!("true"),
            json!("last"),
        ] {
            assert_eq!(code(json!({ "snapshot": unfinished })), Some("snapshot_unfinished"));
        }
        assert_eq!(code(json!({ "snapshot": "INITIAL", "snapshot_completed": true })), None);
        assert_eq!(code(json!({ "snapshot": true, "last_snapshot_record": true })), None);
        assert_eq!(
            code(json!({ "snapshot": true, "last_snapshot_record": false })),
            Some("snapshot_unfinished")
        );
    }

    #[test]
    fn the_rest_of_an_incremental_snapshot_is_said_to_be_given_up() {
        assert!(
            offset(&json!({ "incremental_snapshot_collections": "" }))
                .notes()
                .is_empty()
        );
        let notes = offset(&json!({ "incremental_snapshot_collections": "[{\"id\":\"public.a\"}]" })).notes();
        assert!(notes.first().is_some_and(|note| note.contains("public.a")), "{notes:?}");
    }
}
