//! How far a source is, as people see it and say it: the place in its log, and what of snapshots is not read yet.

use serde::{Deserialize, Serialize};
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::SharedSchema;
use tailrace_core::snapshot::{Resume, Run, SnapshotPosition, log_position};
use tailrace_core::{Error, Result};

/// How far a source is. What a checkpoint says of rows beyond that is not for people: it holds their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceOffset {
    /// In its log.
    pub(crate) position: Position,
    /// The transaction behind it of which only a part is carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transaction: Option<Position>,
    /// How many changes of it are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<u64>,
    /// The tables whose rows were read to the end, as long as the rows are read that were there before the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot_tables_read: Option<Vec<String>>,
}

// === impl SourceOffset ===

impl SourceOffset {
    /// What a checkpoint says.
    ///
    /// # Errors
    /// Definite `state_corrupt`.
    pub(crate) fn of(progress: &Progress) -> Result<Self> {
        let (position, snapshot_tables_read) = match Resume::from_progress(Some(progress))? {
            Resume::Snapshot(snapshot) => {
                let read = (!snapshot.complete).then(|| snapshot.read_at.into_keys().collect());
                (snapshot.log_start, read)
            }
            Resume::Log(_) | Resume::Bootstrap => (log_position(&progress.position)?, None),
        };
        let partial = progress.partial.as_ref();
        Ok(Self {
            position,
            transaction: partial.map(|partial| partial.transaction.clone()),
            changes: partial.map(|partial| partial.changes),
            snapshot_tables_read,
        })
    }

    /// The place in the log, where it is nothing more than that.
    ///
    /// # Errors
    /// Definite `offsets_invalid` where it names rows by their number, or tables: those are only true where the source is already.
    pub(super) fn in_log(&self) -> Result<&Position> {
        let sentence = match self {
            Self {
                snapshot_tables_read: Some(_),
                ..
            } => {
                "the connector is not within this snapshot; without `snapshot_tables_read` it goes on from `position` in its log alone"
            }
            Self {
                transaction: None,
                changes: None,
                ..
            } => return Ok(&self.position),
            Self { .. } => {
                "a position inside a transaction is not taken where the connector is not there already; leave `transaction` and `changes` out"
            }
        };
        Err(Error::definite("offsets_invalid", sentence))
    }
}

/// The first snapshot that a checkpoint speaks of, where rows of it are not read yet.
pub(super) fn unfinished_snapshot(progress: &Progress) -> Result<Option<SnapshotPosition>> {
    Ok(match Resume::from_progress(Some(progress))? {
        Resume::Snapshot(snapshot) if !snapshot.complete => Some(snapshot),
        Resume::Snapshot(_) | Resume::Log(_) | Resume::Bootstrap => None,
    })
}

/// What is given up with a first snapshot, a sentence for each table.
pub(super) fn rows_not_read(snapshot: &SnapshotPosition, captured: &[SharedSchema]) -> Vec<String> {
    let names = captured.iter().map(|table| table.name.qualified());
    let left = names.filter(|table| !snapshot.read_at.contains_key(table));
    let lost = left.map(|table| {
        format!(
            "the first snapshot of table {table}: its rows that are not read yet are never carried until they change"
        )
    });
    lost.collect()
}

/// What is given up with a snapshot that somebody asked for, a sentence for each table.
pub(super) fn rest_of_run(progress: &Progress) -> Result<Vec<String>> {
    let run = Run::from_progress(Some(progress))?.filter(Run::is_open);
    let lost = run.iter().flat_map(|run| {
        let left = run.tables.iter().filter(|table| !table.is_over());
        left.map(|table| {
            format!(
                "the rest of table {}, of which {} rows were read, of the snapshot that {} asked for",
                table.name, table.rows_done, run.by
            )
        })
    });
    Ok(lost.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tailrace_core::position::PartialTransaction;
    use tailrace_core::schema::{TableKind, TableName, TableSchema};

    use super::*;

    fn progress(text: &str) -> Progress {
        Progress::at(Position::new(text))
    }

    fn captured(name: &str) -> SharedSchema {
        Arc::new(TableSchema {
            name: TableName {
                database: String::new(),
                schema: "public".to_owned(),
                table: name.to_owned(),
            },
            kind: TableKind::Table,
            columns: Vec::new(),
            key: Vec::new(),
            documentation: None,
        })
    }

    fn run() -> serde_json::Value {
        json!({
            "id": "1", "requested_at_us": 7, "by": "ada", "stage": "paused", "revision": 3,
            "tables": [
                { "name": "public.a", "finished": true },
                { "name": "public.b", "cursor": "['secret']", "rows_done": 5 },
            ],
        })
    }

    #[test]
    fn a_snapshot_that_was_asked_for_is_not_in_the_offset_and_is_named_when_it_is_lost() {
        let wrapped = progress(&format!("incremental:{}", json!({ "log": "0/7", "run": run() })));
        let offset = serde_json::to_value(SourceOffset::of(&wrapped).unwrap()).unwrap();
        assert_eq!(offset, json!({ "position": "0/7" }));
        let lost = rest_of_run(&wrapped).unwrap();
        assert_eq!(
            lost,
            ["the rest of table public.b, of which 5 rows were read, of the snapshot that ada asked for"]
        );
        assert_eq!(unfinished_snapshot(&wrapped).unwrap(), None);
        assert_eq!(rest_of_run(&progress("0/7")).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn tables_of_a_first_snapshot_that_are_not_read_are_named() {
        let snapshot = |complete: bool| {
            let said = json!({
                "log_start": "0/7", "read_at": { "public.a": "0/7" }, "complete": complete, "run": run(),
            });
            progress(&format!("snapshot:{said}"))
        };
        let offset = SourceOffset::of(&snapshot(false)).unwrap();
        let shown = serde_json::to_value(&offset).unwrap();
        assert_eq!(
            shown,
            json!({ "position": "0/7", "snapshot_tables_read": ["public.a"] })
        );
        assert_eq!(serde_json::from_value::<SourceOffset>(shown).unwrap(), offset);
        assert!(offset.in_log().is_err(), "it is no place in the log alone");
        let left = unfinished_snapshot(&snapshot(false)).unwrap().unwrap();
        let lost = rows_not_read(&left, &[captured("a"), captured("b")]);
        assert!(matches!(&lost[..], [only] if only.contains("public.b")), "{lost:?}");
        assert_eq!(unfinished_snapshot(&snapshot(true)).unwrap(), None);
        let complete = serde_json::to_value(SourceOffset::of(&snapshot(true)).unwrap()).unwrap();
        assert_eq!(complete, json!({ "position": "0/7" }), "every row is read");
        assert_eq!(rest_of_run(&snapshot(true)).unwrap().len(), 1);
    }

    #[test]
    fn a_place_inside_a_transaction_is_only_taken_where_the_source_is() {
        let mut inside = progress("0/7");
        inside.partial = Some(PartialTransaction {
            transaction: Position::new("0/9"),
            changes: 3,
        });
        let offset = SourceOffset::of(&inside).unwrap();
        assert_eq!(offset.in_log().unwrap_err().code(), "offsets_invalid");
        let shown = serde_json::to_value(&offset).unwrap();
        assert_eq!(shown, json!({ "position": "0/7", "transaction": "0/9", "changes": 3 }));
        let between = SourceOffset::of(&progress("0/7")).unwrap();
        assert_eq!(between.in_log().unwrap().as_str(), "0/7");
    }
}
