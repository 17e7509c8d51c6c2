//! Changes of a table's definition, told to those who follow the schemas: what is different, in data and in words, and the record
//! that is published for it.
//!
//! A change is found where the first batch comes that has rows of the new version, in the order of the log, and is published in
//! front of them, in the same delivery. Once that is durable, a listener is told, where there is one. A change counts as told when a
//! checkpoint covers the batch and the listener will not try any more; until then a restart tells it again, under the same `event_id`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::event::{EncodedBatch, EncodedRecord, header, time_text};
use crate::position::Position;
use crate::schema::{Column, SharedSchema, TableName, TableSchema};

/// A version of a table that follows another one.
#[derive(Debug, Clone)]
pub struct SchemaChange {
    /// The table's number of the version, from 1; a change has at least 2.
    pub version: u32,
    /// Where the first batch with rows of it begins.
    pub position: Position,
    /// Who the source is: the first part of event ids.
    pub identity: Arc<str>,
    /// When the first of those rows was committed, microseconds since 1970.
    pub changed_at_us: i64,
    /// The version before.
    pub before: TableSchema,
    /// This version.
    pub after: SharedSchema,
}

/// One difference between two versions of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Difference {
    /// A column is there that was not.
    ColumnAdded {
        /// Its name.
        column: String,
        /// The database's name of its type.
        after: String,
    },
    /// A column is not there any more, or has another name.
    ColumnDropped {
        /// Its name.
        column: String,
        /// The database's name of its type.
        before: String,
    },
    /// The type of a column is another one.
    TypeChanged {
        /// The column.
        column: String,
        /// As the database calls it.
        before: String,
        /// As the database calls it.
        after: String,
    },
    /// A column may hold NULL, or may not any more.
    NullabilityChanged {
        /// The column.
        column: String,
        /// Whether it may now.
        nullable: bool,
    },
    /// The default of a column is another one.
    DefaultChanged {
        /// The column.
        column: String,
    },
    /// The comment of a column is another one.
    DocumentationChanged {
        /// The column; none where it is the table's comment.
        column: Option<String>,
    },
    /// The columns stand in another order.
    ColumnsReordered,
    /// The key is another one.
    KeyChanged {
        /// Names of its columns.
        before: Vec<String>,
        /// Names of its columns.
        after: Vec<String>,
    },
}

/// Publishes changes of one connector's tables.
#[derive(Debug, Clone)]
pub struct SchemaChangePublisher {
    /// The connector's name.
    pub connector: String,
    /// The topic that changes are published to; none where they are only logged.
    pub topic: Option<Arc<str>>,
    /// Who is told of changes beside the stream.
    pub listener: Option<Arc<dyn SchemaChangeListener>>,
}

/// Somebody who is told of changes beside the stream: the port of a webhook.
pub trait SchemaChangeListener: fmt::Debug + Send + Sync {
    /// Takes a notice over. Returns at once, whatever becomes of the notice: capture does not wait for it.
    fn tell(&self, notice: SchemaChangeNotice) -> NoticeState;
}

/// A change, as a listener is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChangeNotice {
    /// The same each time that the same change is told, and the record's header.
    pub event_id: String,
    /// The table, as its key in the topic names it.
    pub table: String,
    /// Its version.
    pub version: u32,
    /// The value of the record: JSON.
    pub document: Vec<u8>,
}

/// Whether a listener is through with a notice: it was delivered, or given up. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct NoticeState(Arc<AtomicBool>);

/// The value of a record.
#[derive(Serialize)]
struct Document<'a> {
    connector: &'a str,
    #[serde(flatten)]
    table: &'a TableName,
    version: u32,
    /// The changes in words.
    summary: String,
    changes: Vec<Difference>,
    before: &'a TableSchema,
    after: &'a TableSchema,
}

// === impl SchemaChange ===

impl SchemaChange {
    /// What is different.
    pub fn differences(&self) -> Vec<Difference> {
        let (before, after) = (&self.before, &*self.after);
        let mut found: Vec<Difference> = Vec::new();
        for column in &before.columns {
            match after.columns.iter().find(|other| other.name == column.name) {
                Some(other) => compare_columns(column, other, &mut found),
                None => found.push(Difference::ColumnDropped {
                    column: column.name.clone(),
                    before: column.source_type.clone(),
                }),
            }
        }
        let added = after
            .columns
            .iter()
            .filter(|column| before.column_index(&column.name).is_none());
        found.extend(added.map(|column| Difference::ColumnAdded {
            column: column.name.clone(),
            after: column.source_type.clone(),
        }));
        if is_reordered(before, after) {
            found.push(Difference::ColumnsReordered);
        }
        let (key_before, key_after) = (key_names(before), key_names(after));
        if key_before != key_after {
            found.push(Difference::KeyChanged {
                before: key_before,
                after: key_after,
            });
        }
        if before.documentation != after.documentation {
            found.push(Difference::DocumentationChanged { column: None });
        }
        found
    }

    /// What is different in words: `column note was added (text)`.
    pub fn summary(&self) -> String {
        let differences: Vec<String> = self.differences().iter().map(Difference::to_string).collect();
        differences.join(", ")
    }
}

fn compare_columns(before: &Column, after: &Column, found: &mut Vec<Difference>) {
    let column = || before.name.clone();
    if before.logical_type != after.logical_type || before.source_type != after.source_type {
        found.push(Difference::TypeChanged {
            column: column(),
            before: before.source_type.clone(),
            after: after.source_type.clone(),
        });
    }
    if before.nullable != after.nullable {
        found.push(Difference::NullabilityChanged {
            column: column(),
            nullable: after.nullable,
        });
    }
    let default = |column: &Column| (column.default.clone(), column.default_is_computed);
    if default(before) != default(after) {
        found.push(Difference::DefaultChanged { column: column() });
    }
    if before.documentation != after.documentation {
        found.push(Difference::DocumentationChanged { column: Some(column()) });
    }
}

/// Whether the columns that both have stand in another order.
fn is_reordered(before: &TableSchema, after: &TableSchema) -> bool {
    let shared = |one: &TableSchema, other: &TableSchema| -> Vec<String> {
        let names = one.columns.iter().map(|column| column.name.clone());
        names.filter(|name| other.column_index(name).is_some()).collect()
    };
    shared(before, after) != shared(after, before)
}

fn key_names(schema: &TableSchema) -> Vec<String> {
    schema.key_columns().map(|column| column.name.clone()).collect()
}

// === impl Difference ===

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ColumnAdded { column, after } => write!(formatter, "column {column} was added ({after})"),
            Self::ColumnDropped { column, before } => {
                write!(formatter, "column {column} ({before}) was dropped or renamed")
            }
            Self::TypeChanged { column, before, after } => {
                write!(formatter, "column {column} became {after} (was {before})")
            }
            Self::NullabilityChanged { column, nullable: true } => {
                write!(formatter, "column {column} may be NULL now")
            }
            Self::NullabilityChanged {
                column,
                nullable: false,
            } => write!(formatter, "column {column} may not be NULL any more"),
            Self::DefaultChanged { column } => write!(formatter, "column {column} has another default"),
            Self::DocumentationChanged { column: Some(column) } => {
                write!(formatter, "column {column} has another comment")
            }
            Self::DocumentationChanged { column: None } => write!(formatter, "it has another comment"),
            Self::ColumnsReordered => write!(formatter, "its columns stand in another order"),
            Self::KeyChanged { before, after } => {
                let named = |names: &[String]| match names {
                    [] => "no key".to_owned(),
                    names => format!("({})", names.join(", ")),
                };
                write!(formatter, "its key became {} (was {})", named(after), named(before))
            }
        }
    }
}

// === impl NoticeState ===

impl NoticeState {
    /// Nothing more will be tried.
    pub fn settle(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether nothing more will be tried.
    pub fn is_settled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

// === impl SchemaChangePublisher ===

impl SchemaChangePublisher {
    /// Logs changes, and puts their records in front of those of a batch. The key is the table's name, so that the changes of one
    /// table stay in order. Gives what is to be told of each once the batch is durable; see [`Self::tell`].
    pub fn publish(&self, changes: &[SchemaChange], encoded: &mut EncodedBatch) -> Vec<SchemaChangeNotice> {
        for change in changes {
            tracing::warn!(
                connector = self.connector,
                code = "schema_changed",
                table = change.after.name.qualified(),
                version = change.version,
                "the definition of a table changed: {}",
                change.summary()
            );
        }
        let notices: Vec<SchemaChangeNotice> = changes.iter().map(|change| self.notice(change)).collect();
        if let Some(topic) = self.topic.as_ref().filter(|_| !changes.is_empty()) {
            let topic = encoded.topic_index(topic);
            let records: Vec<EncodedRecord> = changes
                .iter()
                .zip(&notices)
                .map(|(change, notice)| self.record((change, notice), topic, encoded))
                .collect();
            encoded.records.splice(0..0, records);
        }
        notices
    }

    /// Tells the listener, where there is one, of a change whose record is durable.
    pub fn tell(&self, notice: SchemaChangeNotice) -> NoticeState {
        match &self.listener {
            Some(listener) => listener.tell(notice),
            None => {
                let state = NoticeState::default();
                state.settle();
                state
            }
        }
    }

    fn notice(&self, change: &SchemaChange) -> SchemaChangeNotice {
        let table = change.after.name.qualified();
        let document = Document {
            connector: &self.connector,
            table: &change.after.name,
            version: change.version,
            summary: change.summary(),
            changes: change.differences(),
            before: &change.before,
            after: &change.after,
        };
        SchemaChangeNotice {
            event_id: format!("{}:{table}:{}", change.identity, change.version),
            version: change.version,
            document: serde_json::to_vec(&document).unwrap_or_default(),
            table,
        }
    }

    fn record(
        &self,
        (change, notice): (&SchemaChange, &SchemaChangeNotice),
        topic: usize,
        encoded: &mut EncodedBatch,
    ) -> EncodedRecord {
        let key = serde_json::json!({ "table": notice.table }).to_string();
        EncodedRecord {
            topic,
            key: Some(encoded.append(key.as_bytes())),
            value: Some(encoded.append(&notice.document)),
            headers: encoded.append_headers([
                (header::UPDATED_AT, &*time_text(change.changed_at_us)),
                (header::SOURCE, &self.connector),
                (header::POSITION, change.position.as_str()),
                (header::EVENT_ID, &notice.event_id),
            ]),
            timestamp_ms: change.changed_at_us.div_euclid(1000).max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TableKind;
    use crate::value::{Datum, LogicalType, TextKind};

    fn column(name: &str, source_type: &str) -> Column {
        Column {
            nullable: false,
            source_type: source_type.to_owned(),
            ..Column::new(name, LogicalType::Text(TextKind::Plain))
        }
    }

    fn orders(columns: Vec<Column>, key: Vec<usize>) -> TableSchema {
        TableSchema {
            name: TableName {
                database: "shop".to_owned(),
                schema: "public".to_owned(),
                table: "orders".to_owned(),
            },
            kind: TableKind::Table,
            columns,
            key,
            documentation: None,
        }
    }

    fn change(before: TableSchema, after: TableSchema) -> SchemaChange {
        SchemaChange {
            version: 2,
            position: Position::new("0/10"),
            identity: "shop".into(),
            changed_at_us: 1_700_000_000_000_000,
            before,
            after: Arc::new(after),
        }
    }

    #[test]
    fn every_difference_is_told_in_words() {
        let mut retyped = column("total", "numeric(12,2)");
        retyped.nullable = true;
        retyped.default = Some(Datum::Text("0.00".to_owned()));
        retyped.documentation = Some("gross".to_owned());
        let before = orders(
            vec![
                column("id", "int4"),
                column("total", "numeric(10,2)"),
                column("old", "text"),
            ],
            vec![0],
        );
        let mut after = orders(vec![retyped, column("id", "int4"), column("note", "text")], vec![1, 0]);
        after.documentation = Some("what was sold".to_owned());
        assert_eq!(
            change(before, after).summary(),
            "column total became numeric(12,2) (was numeric(10,2)), column total may be NULL now, \
             column total has another default, column total has another comment, column old (text) was dropped or renamed, \
             column note was added (text), its columns stand in another order, its key became (id, total) (was (id)), it has another \
             comment"
        );
    }

    #[test]
    fn its_record_stands_in_front_of_those_of_the_batch() {
        let mut encoded = EncodedBatch::default();
        let topic = encoded.topic_index(&"shop.orders".into());
        encoded.records.push(EncodedRecord {
            topic,
            key: None,
            value: None,
            headers: 0..0,
            timestamp_ms: 0,
        });
        let publisher = SchemaChangePublisher {
            connector: "shop".to_owned(),
            topic: Some("shop.schema_changes".into()),
            listener: None,
        };
        let before = orders(vec![column("id", "int4")], vec![0]);
        let after = orders(vec![column("id", "int4"), column("note", "text")], vec![0]);
        let notices = publisher.publish(&[change(before, after)], &mut encoded);
        let told = &encoded.records[0];
        assert_eq!(encoded.topic(told), "shop.schema_changes");
        assert_eq!(encoded.topic(&encoded.records[1]), "shop.orders");
        assert_eq!(
            encoded.slice(told.key.as_ref().unwrap()),
            br#"{"table":"public.orders"}"#
        );
        let document = encoded.slice(told.value.as_ref().unwrap());
        // Whoever listens is told the same.
        assert_eq!(notices[0].document, document);
        assert_eq!(notices[0].event_id, "shop:public.orders:2");
        assert!(publisher.tell(notices[0].clone()).is_settled(), "nobody listens");
        let value: serde_json::Value = serde_json::from_slice(document).unwrap();
        assert_eq!(value["changes"][0]["change"], "column_added");
        assert_eq!((&value["table"], &value["version"]), (&"orders".into(), &2.into()));
        let headers: Vec<(String, String)> = encoded
            .record_headers(told)
            .map(|(name, text)| (name.to_owned(), String::from_utf8(text.to_vec()).unwrap()))
            .collect();
        let expected = [
            ("updated_at", "2023-11-14T22:13:20.000000Z"),
            ("source", "shop"),
            ("position", "0/10"),
            ("event_id", "shop:public.orders:2"),
        ];
        assert_eq!(headers, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
