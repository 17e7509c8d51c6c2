//! The oracle: compares what a topic holds with the truth about the workload and with the source's tables.
//!
//! | invariant | how it is checked |
//! |---|---|
//! | no loss, no phantom, order per key | a key's logged events are exactly the last steps of its history, without a gap |
//! | the snapshot meets the log | what came before those steps was read as a row, or there was no row |
//! | duplicates are exact | records with one `event_id` have the same bytes |
//! | convergence | folding the records by key gives the rows of the table |

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::database::Database;
use crate::events::Event;
use crate::servers::{Result, ServerError};
use crate::workload::{History, Step, TABLES};

/// Rows by key, each a JSON object whose values are text or null.
type Rows = BTreeMap<String, Map<String, Value>>;

/// What was found in topics that are right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    /// Records.
    pub records: usize,
    /// Records that repeat another one's `event_id`.
    pub duplicates: usize,
    /// Rows of the snapshot.
    pub reads: usize,
}

/// Contradictions that are shown; their number is told.
const SHOWN_KEYS: usize = 10;

/// Whether the snapshot was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// Each table was read once.
    Whole,
    /// Tables may have been read again, as of later, with all their changes since the first time after them. Changes of a
    /// row that is gone by the second time come without the row.
    Interrupted,
}

/// Compares everything; `events_of` gives a table's records in the order of each partition.
///
/// # Errors
/// The first contradiction, with the seed.
pub async fn compare(
    database: &Database,
    seed: u64,
    (history, snapshot): (&History, Snapshot),
    events_of: impl Fn(&str) -> Result<Vec<Event>>,
) -> Result<Findings> {
    let mut findings = Findings::default();
    for (table, key_columns) in TABLES {
        let context = |error: ServerError| ServerError::new(format!("{table}, seed {seed}: {error}"));
        let events = events_of(table)?;
        let unique = without_duplicates(&events).map_err(context)?;
        findings.records += events.len();
        findings.duplicates += events.len() - unique.len();
        findings.reads += unique.iter().filter(|event| event.operation() == "r").count();
        let rows = rows_of(database, table, key_columns).await?;
        let steps = compare_steps(table, history, snapshot, &unique);
        let rows = compare_rows(&fold(&events), &rows);
        // Whether the table agrees with its events tells a loss from a truth that is none.
        match (steps, rows) {
            (Ok(()), rows) => rows.map_err(context)?,
            (Err(steps), Ok(())) => {
                return Err(context(ServerError::new(format!(
                    "{steps}\nand the table is as its events say"
                ))));
            }
            (Err(steps), Err(rows)) => {
                return Err(context(ServerError::new(format!("{steps}\nand of the table: {rows}"))));
            }
        }
    }
    Ok(findings)
}

/// Each event once, where it came first.
fn without_duplicates(events: &[Event]) -> Result<Vec<&Event>> {
    let mut known: BTreeMap<&str, &Event> = BTreeMap::new();
    let mut unique = Vec::new();
    for event in events {
        if event.event_id().is_empty() {
            return Err(ServerError::new(format!("an event without event_id: {event}")));
        }
        let Some(first) = known.get(event.event_id()) else {
            known.insert(event.event_id(), event);
            unique.push(event);
            continue;
        };
        let same = first.key == event.key && first.value == event.value && first.headers == event.headers;
        if !same || first.partition != event.partition {
            return Err(ServerError::new(format!(
                "two events with one event_id differ:\n{first}\n{event}"
            )));
        }
    }
    Ok(unique)
}

fn compare_steps(table: &'static str, history: &History, snapshot: Snapshot, events: &[&Event]) -> Result<()> {
    let mut by_key: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_key.entry(event.key_json().to_string()).or_default().push(event);
    }
    let mut wrong = Vec::new();
    for ((_, name), steps) in history.steps.iter().filter(|((known, _), _)| *known == table) {
        let events = by_key.remove(name).unwrap_or_default();
        if let Err(reason) = compare_key(steps, snapshot, &events) {
            wrong.push(contradiction(name, &reason, steps, &events));
        }
    }
    if !wrong.is_empty() {
        let (number, records) = (wrong.len(), events.len());
        wrong.truncate(SHOWN_KEYS);
        let wrong = wrong.join("\n");
        return Err(ServerError::new(format!(
            "{number} keys of {records} records:\n{wrong}"
        )));
    }
    match by_key.keys().next() {
        None => Ok(()),
        Some(key) => Err(ServerError::new(format!(
            "a phantom: nothing was ever committed under the key {key}"
        ))),
    }
}

fn contradiction(key: &str, reason: &str, steps: &[Step], events: &[&Event]) -> String {
    let events: Vec<String> = events
        .iter()
        .map(ToString::to_string)
        .map(|text| text.chars().take(200).collect())
        .collect();
    format!(
        "key {key}: {reason}\nthe truth: {steps:?}\nthe events:\n{}",
        events.join("\n")
    )
}

fn compare_key(steps: &[Step], snapshot: Snapshot, events: &[&Event]) -> Result<(), String> {
    let (reads, logged): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| event.operation() == "r");
    let logged: Vec<Step> = logged.into_iter().map(step_of).collect::<Result<_, String>>()?;
    let Some(first) = steps.len().checked_sub(logged.len()) else {
        return Err("more events than there were changes".to_owned());
    };
    if steps.get(first..) != Some(logged.as_slice()) {
        return Err("the events are not the last steps of the truth".to_owned());
    }
    let mut newest_read = None;
    for read in reads {
        let read = step_of(read)?;
        let index = steps
            .iter()
            .position(|step| *step == read)
            .ok_or("a row was read that was never committed")?;
        newest_read = newest_read.max(Some(index));
    }
    if snapshot == Snapshot::Interrupted && newest_read.is_none() && logged.contains(&Step::Delete) {
        return Ok(());
    }
    // What the log's events continue from.
    match first.checked_sub(1).and_then(|before| steps.get(before)) {
        Some(Step::Put(_)) if newest_read.is_none_or(|read| read + 1 < first) => {
            Err("changes are missing between the rows that were read and the log's events".to_owned())
        }
        Some(Step::Delete) if logged.is_empty() && newest_read.is_some() => Err("the delete is missing".to_owned()),
        _ => Ok(()),
    }
}

fn step_of(event: &Event) -> Result<Step, String> {
    let after = event.after();
    if after.is_null() {
        return Ok(Step::Delete);
    }
    let version = after.get("version").and_then(Value::as_u64);
    version
        .map(Step::Put)
        .ok_or_else(|| format!("an event without a version: {event}"))
}

/// What a consumer is left with that keeps the newest of each key.
fn fold(events: &[Event]) -> Rows {
    let mut rows = Rows::new();
    for event in events {
        let key = event.key_json().to_string();
        let Value::Object(after) = event.after() else {
            rows.remove(&key);
            continue;
        };
        let before = rows.remove(&key).unwrap_or_default();
        // Large values that an update left alone are not in the record; a header names them.
        let unchanged: Vec<String> = serde_json::from_str(event.header("unchanged")).unwrap_or_default();
        let kept = before.into_iter().filter(|(name, _)| unchanged.contains(name));
        let merged = after
            .into_iter()
            .map(|(name, value)| (name, as_text(value)))
            .chain(kept);
        rows.insert(key, merged.collect());
    }
    rows
}

async fn rows_of(database: &Database, table: &str, key_columns: &[&str]) -> Result<Rows> {
    let mut rows = Rows::new();
    for row in database.rows(table).await? {
        let key: Map<String, Value> = key_columns
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), row.get(*name)?.clone())))
            .collect();
        let row = row.into_iter().map(|(name, value)| (name, as_text(value)));
        rows.insert(Value::Object(key).to_string(), row.collect());
    }
    Ok(rows)
}

fn compare_rows(folded: &Rows, rows: &Rows) -> Result<()> {
    for (key, row) in rows {
        let Some(found) = folded.get(key) else {
            return Err(ServerError::new(format!("the row {key} is not there after all events")));
        };
        let short = |value: Option<&Value>| format!("{value:?}").chars().take(60).collect::<String>();
        let differ = row.iter().filter(|(name, value)| found.get(*name) != Some(value));
        let differ =
            differ.map(|(name, value)| format!("{name} is {}, not {}", short(found.get(name)), short(Some(value))));
        let differ: Vec<String> = differ.collect();
        if !differ.is_empty() {
            return Err(ServerError::new(format!(
                "after all events, in the row {key}: {}",
                differ.join(", ")
            )));
        }
    }
    match folded.keys().find(|key| !rows.contains_key(*key)) {
        None => Ok(()),
        Some(key) => Err(ServerError::new(format!(
            "{key} was deleted, and is still there after all events"
        ))),
    }
}

/// Numbers as text, because formats differ in which of them they write as numbers.
fn as_text(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, operation: &str, version: Option<u64>) -> Event {
        let headers = [("event_id", id), ("op", operation)];
        Event {
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(b"{\"id\":1}".to_vec()),
            value: version.map(|version| format!("{{\"id\":1,\"version\":{version}}}").into_bytes()),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    fn judge(steps: &[Step], events: &[Event]) -> Result<(), String> {
        compare_key(steps, Snapshot::Whole, &events.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_row_that_went_before_it_was_read_again_has_only_changes() {
        let steps = [Step::Put(1), Step::Put(2), Step::Delete];
        let events = [event("a", "u", Some(2)), event("b", "d", None)];
        let events: Vec<&Event> = events.iter().collect();
        assert!(compare_key(&steps, Snapshot::Interrupted, &events).is_ok());
        assert!(compare_key(&steps, Snapshot::Whole, &events).is_err());
        assert!(
            compare_key(&steps[..2], Snapshot::Interrupted, &events[..1]).is_err(),
            "a row that is there was read"
        );
    }

    #[test]
    fn a_snapshot_and_what_follows_it_is_right() {
        let steps = [Step::Put(1), Step::Put(2), Step::Put(3), Step::Delete];
        assert!(
            judge(
                &steps,
                &[
                    event("a", "r", Some(2)),
                    event("b", "u", Some(3)),
                    event("c", "d", None)
                ]
            )
            .is_ok()
        );
        assert!(judge(&steps, &[]).is_ok(), "deleted before the snapshot");
        assert!(judge(&[Step::Put(1)], &[event("a", "r", Some(1)), event("b", "r", Some(1))]).is_ok());
    }

    #[test]
    fn every_kind_of_loss_is_found() {
        let steps = [Step::Put(1), Step::Put(2), Step::Put(3), Step::Delete];
        let gap = [
            event("a", "r", Some(1)),
            event("b", "u", Some(3)),
            event("c", "d", None),
        ];
        assert!(judge(&steps, &gap).unwrap_err().contains("missing between"));
        assert!(
            judge(&steps, &[event("a", "r", Some(3))])
                .unwrap_err()
                .contains("delete is missing")
        );
        assert!(judge(&steps, &[event("b", "u", Some(3)), event("c", "d", None)]).is_err());
        assert!(
            judge(
                &[Step::Put(1), Step::Put(2)],
                &[event("a", "u", Some(2)), event("b", "c", Some(1))]
            )
            .is_err()
        );
        assert!(
            judge(&[Step::Put(1)], &[event("a", "r", Some(9))])
                .unwrap_err()
                .contains("never committed")
        );
        assert!(
            judge(&[Step::Put(1), Step::Put(2)], &[event("a", "r", Some(1))]).is_err(),
            "the last update"
        );
    }

    #[test]
    fn duplicates_have_the_same_bytes() {
        let same = [event("a", "c", Some(1)), event("a", "c", Some(1))];
        assert_eq!(without_duplicates(&same).unwrap().len(), 1);
        assert!(without_duplicates(&[event("a", "c", Some(1)), event("a", "c", Some(2))]).is_err());
    }

    #[test]
    fn folding_keeps_large_values_that_were_left_alone() {
        let first = Event {
            value: Some(b"{\"id\":1,\"big\":\"x\"}".to_vec()),
            ..event("a", "c", None)
        };
        let mut second = event("b", "u", Some(2));
        second.headers.insert("unchanged".to_owned(), "[\"big\"]".to_owned());
        let rows = fold(&[first.clone(), second]);
        assert_eq!(rows["{\"id\":1}"]["big"], "x");
        assert!(fold(&[first, event("c", "d", None)]).is_empty());
    }
}
