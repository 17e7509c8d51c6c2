//! An event as a few lines:
//!
//! ```text
//! u shop.public.orders {"id": 1}
//!     before  {"id": 1, "state": "new"}
//!     after   {"id": 1, "state": "paid"}
//! ```
//!
//! The first line has the operation, the topic and the key; below stands the value. Of Debezium's envelope the rows are shown,
//! and of a null only one that could have been a row: `before` where it is null for every create and read is not. Headers that
//! only some events have are always shown, the others where a block asks for them (`events with txn`).

use tailrace_core::event::{StreamRecord, header};

use super::json::Json;
use super::words::{Words, log_position, time_us};

/// Before the lines below an event's first.
const INDENT: &str = "    ";

/// Instead of the position that a snapshot was made at: which one is made first is chance.
const SNAPSHOT: &str = "«snapshot»";

/// How the topic of changes of tables' definitions ends.
const SCHEMA_CHANGES: &str = ".schema_changes";

/// Headers of every event.
const USUAL_HEADERS: [&str; 6] = [
    header::UPDATED_AT,
    header::OPERATION,
    header::SOURCE,
    header::POSITION,
    header::EVENT_ID,
    header::TRANSACTION,
];

/// The lines of an event, and of what `with` asks for.
pub(super) fn event(record: &StreamRecord, with: &[String], words: &mut Words) -> Vec<String> {
    if is_schema_change(record) {
        return vec![schema_change(record)];
    }
    let operation = record.header(header::OPERATION).unwrap_or("?");
    let key = record.key.as_ref().map(|key| payload(Json::parse(key)).to_string());
    let key = key.unwrap_or_else(|| "(no key)".to_owned());
    let mut lines = vec![words.outward(&format!("{operation} {} {key}", record.topic))];
    let value = record.value.as_ref().map(|value| Json::parse(value));
    match value.clone().map(payload) {
        None => lines.push(format!("{INDENT}tombstone")),
        Some(value) if is_envelope(&value) => lines.extend(envelope(value, operation, with, words)),
        Some(value) => lines.extend(labelled("", &row(value, words))),
    }
    lines.extend(headers(record, with, words));
    if is_asked(with, "timestamp") {
        let shown = words.time(
            record.timestamp_ms * 1000 + 999,
            &record.timestamp_ms.to_string(),
            "«commit time»",
        );
        lines.push(format!("{INDENT}timestamp: {shown}"));
    }
    if is_asked(with, "schema") {
        let key = record.key.as_ref().map(|key| Json::parse(key));
        for (name, json) in [("key's schema", key), ("value's schema", value)] {
            if let Some(schema) = json.as_ref().and_then(|json| json.get("schema")) {
                lines.extend(labelled(name, schema).iter().map(|line| words.outward(line)));
            }
        }
    } else if is_asked(with, "columns") {
        let schema = value.as_ref().and_then(|value| value.get("schema"));
        lines.extend(
            schema
                .and_then(columns)
                .iter()
                .flat_map(|columns| labelled("columns", columns)),
        );
    }
    lines
}

/// Where a record stands among those that came with it. Changes of tables' definitions are in topics of their own, so that their place
/// among the others is chance: they stand in front, one connector's behind the other's.
pub(super) fn place(record: &StreamRecord) -> (bool, Option<String>) {
    let topic = is_schema_change(record).then(|| record.topic.to_string());
    (topic.is_none(), topic)
}

fn is_schema_change(record: &StreamRecord) -> bool {
    record.topic.ends_with(SCHEMA_CHANGES)
}

/// A change of a table's definition, in what is the same for every database: `~ orders: column_added note`.
fn schema_change(record: &StreamRecord) -> String {
    let text = |json: Option<&Json>| match json {
        Some(Json::Text(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let part = |json: Option<&Json>, name: &str| text(json.and_then(|json| json.get(name)));
    let value = record.value.as_ref().map(|value| Json::parse(value));
    let changes = match value.as_ref().and_then(|value| value.get("changes")) {
        Some(Json::Array(changes)) => changes.as_slice(),
        _ => &[],
    };
    let changes = changes.iter().map(|change| {
        let (kind, column) = (part(Some(change), "change"), part(Some(change), "column"));
        format!("{kind} {column}").trim_end().to_owned()
    });
    let changes: Vec<String> = changes.collect();
    format!("~ {}: {}", part(value.as_ref(), "table"), changes.join(", "))
}

/// The columns of the row after, of the schema of an envelope.
fn columns(schema: &Json) -> Option<Json> {
    let Some(Json::Array(fields)) = schema.get("fields") else {
        return None;
    };
    let is_after = |field: &&Json| field.get("field") == Some(&Json::Text("after".to_owned()));
    fields.iter().find(is_after)?.get("fields").cloned()
}

fn is_asked(with: &[String], name: &str) -> bool {
    with.iter().any(|asked| asked == name)
}

/// Without the inline schema around it.
fn payload(json: Json) -> Json {
    match (json.get("schema"), json.get("payload")) {
        (Some(_), Some(payload)) => payload.clone(),
        _ => json,
    }
}

fn is_envelope(value: &Json) -> bool {
    let has_source = matches!(value.get("source"), Some(Json::Object(_)));
    has_source && value.get("op").is_some() && value.get("ts_ms").is_some()
}

fn envelope(value: Json, operation: &str, with: &[String], words: &mut Words) -> Vec<String> {
    let Json::Object(fields) = value else {
        return Vec::new();
    };
    let is_whole = is_asked(with, "envelope");
    let mut lines = Vec::new();
    for (name, value) in fields {
        let shown = match name.as_str() {
            "source" if is_whole || is_asked(with, "source") => source(value, words),
            "ts_ms" | "ts_us" | "ts_ns" if is_whole => Json::Word("«publish time»".to_owned()),
            _ if is_whole => row(value, words),
            "source" | "op" | "ts_ms" | "ts_us" | "ts_ns" => continue,
            // Null for every create, read and truncate.
            "before" if value.is_null() && !["u", "d"].contains(&operation) => continue,
            // Null for every delete and truncate.
            "after" if value.is_null() && !["c", "r", "u"].contains(&operation) => continue,
            "transaction" if value.is_null() => continue,
            _ => row(value, words),
        };
        lines.extend(labelled(&name, &shown));
    }
    lines
}

/// A row, times of this run replaced.
fn row(value: Json, words: &Words) -> Json {
    value.map_fields(&mut |_, value| match &value {
        Json::Text(text) => match time_us(text) {
            Some(time) => Json::Text(words.time(time, text, "«now»")),
            None => Json::Text(words.outward(text)),
        },
        Json::Object(_) | Json::Array(_) | Json::Word(_) => value,
    })
}

/// Debezium's source block.
fn source(value: Json, words: &mut Words) -> Json {
    let is_read = value.get("snapshot") == Some(&Json::Text("true".to_owned()));
    value.map_fields(&mut |name, value| {
        if value.is_null() {
            return value;
        }
        match (name, &value) {
            ("lsn", _) if is_read => Json::Word(SNAPSHOT.to_owned()),
            ("sequence", _) if is_read => Json::Text(format!("[null,\"{SNAPSHOT}\"]")),
            ("version", _) => Json::Text("«version»".to_owned()),
            ("ts_ms" | "ts_us" | "ts_ns", _) => Json::Word("«commit time»".to_owned()),
            ("txId", Json::Word(number)) => Json::Word(words.transaction(number)),
            ("lsn", Json::Word(number)) => Json::Word(numbered(number, words)),
            ("gtid", Json::Text(text)) => Json::Text(position(text, words)),
            // A place in a file is another one with each server that is started.
            ("file" | "pos" | "thread", _) => Json::Word(format!("«{name}»")),
            ("sequence", Json::Text(text)) => Json::Text(sequence(text, words)),
            (_, Json::Text(text)) => Json::Text(words.outward(text)),
            (_, _) => value,
        }
    })
}

fn numbered(number: &str, words: &mut Words) -> String {
    number
        .parse()
        .map_or_else(|_| number.to_owned(), |position| words.position(position))
}

/// `["24023119","24023128"]`: positions as decimal strings. The first one is the commit before, whosever it was, and null
/// where there was none since the start.
fn sequence(text: &str, words: &mut Words) -> String {
    let own = text.rsplit('"').nth(1).unwrap_or_default();
    format!("[«commit before»,\"{}\"]", numbered(own, words))
}

fn headers(record: &StreamRecord, with: &[String], words: &mut Words) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in &record.headers {
        let value = String::from_utf8_lossy(value);
        let is_usual = USUAL_HEADERS.contains(&name.as_str());
        // `source` asks for the block of that name.
        let is_named = is_asked(with, name) && name != header::SOURCE;
        if is_usual && !is_named && !is_asked(with, "headers") {
            continue;
        }
        let shown = match name.as_str() {
            header::TRANSACTION => words.transaction(&value),
            header::POSITION => position(&value, words),
            header::EVENT_ID => event_id(record, &value, words),
            header::UPDATED_AT => words.time(time_us(&value).unwrap_or_default(), &value, "«commit time»"),
            _ if value.starts_with(['{', '[']) => payload(Json::parse(value.as_bytes())).to_string(),
            _ => words.outward(&value),
        };
        lines.push(format!("{INDENT}{name}: {shown}"));
    }
    lines
}

/// A commit's position; that of a read is the snapshot's, with the number of the table behind it.
fn position(value: &str, words: &mut Words) -> String {
    if value.contains(".snapshot.") {
        return format!("{SNAPSHOT}.«table»");
    }
    log_position(value).map_or_else(|| value.to_owned(), |position| words.position(position))
}

/// The source's identity, the position, the ordinal: the first two differ from run to run.
fn event_id(record: &StreamRecord, value: &str, words: &mut Words) -> String {
    let own = record.header(header::POSITION).unwrap_or_default();
    match value.rfind(&format!(":{own}:")) {
        Some(place) => {
            let (identity, rest) = value.split_at(place);
            let ordinal = rest.get(own.len() + 2..).unwrap_or_default();
            format!("{}:{}:{ordinal}", words.source(identity), position(own, words))
        }
        None => value.to_owned(),
    }
}

/// A name, and a value beside it, on as many lines as it needs.
fn labelled(name: &str, value: &Json) -> Vec<String> {
    let label = if name.is_empty() {
        String::new()
    } else {
        format!("{name:<7} ")
    };
    let mut lines = value.lines(INDENT.len() + label.len());
    if let Some(first) = lines.first_mut() {
        *first = format!("{label}{first}");
    }
    lines.iter().map(|line| format!("{INDENT}{line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&str>, value: Option<&str>, headers: &[(&str, &str)]) -> StreamRecord {
        let bytes = |text: &str| text.as_bytes().to_vec().into();
        StreamRecord {
            topic: "shop7.public.t".into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: key.map(bytes),
            value: value.map(bytes),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), bytes(value)))
                .collect(),
        }
    }

    fn shown(record: &StreamRecord, with: &str) -> String {
        let with: Vec<String> = with.split(' ').map(str::to_owned).collect();
        let mut words = Words::new("shop7", "public");
        let lines = event(record, &with, &mut words).join("\n");
        words.number_positions(&lines)
    }

    #[test]
    fn a_plain_row_and_its_headers() {
        let headers = [
            ("op", "u"),
            ("position", "0/20"),
            ("event_id", "a:b:0/20:3/d"),
            ("txn", "777"),
            ("unchanged", r#"["big"]"#),
        ];
        let update = record(Some(r#"{"id":1}"#), Some(r#"{"id":1,"v":"a"}"#), &headers);
        let expected = "u shop.public.t {\"id\": 1}\n    {\"id\": 1, \"v\": \"a\"}\n    event_id: source#1:lsn#1:3/d\n    txn: txn#1\n    unchanged: [\"big\"]";
        assert_eq!(shown(&update, "txn event_id"), expected);
    }

    #[test]
    fn an_envelope_is_its_rows_and_its_source_where_it_is_wanted() {
        let value = r#"{"before":null,"after":{"id":1},"source":{"name":"shop7","lsn":32,"sequence":"[null,\"16\"]","txId":9},"transaction":null,"op":"u","ts_ms":1}"#;
        let update = record(None, Some(value), &[("op", "u")]);
        let brief = "u shop.public.t (no key)\n    before  null\n    after   {\"id\": 1}";
        assert_eq!(shown(&update, ""), brief);
        let source = [
            "    source  {",
            "      \"name\": \"shop\",",
            "      \"lsn\": lsn#2,",
            "      \"sequence\": \"[«commit before»,\\\"lsn#1\\\"]\",",
            "      \"txId\": txn#1",
            "    }",
        ];
        let source = source.join("\n");
        assert_eq!(shown(&update, "source"), format!("{brief}\n{source}"));
        let schema = format!(r#"{{"schema":{{"type":"struct"}},"payload":{value}}}"#);
        let with_schema = record(None, Some(&schema), &[("op", "u")]);
        assert_eq!(
            shown(&with_schema, "schema"),
            format!("{brief}\n    value's schema {{\"type\": \"struct\"}}")
        );
    }

    #[test]
    fn a_tombstone_is_one() {
        let deleted = record(Some("1"), None, &[("op", "d")]);
        assert_eq!(shown(&deleted, ""), "d shop.public.t 1\n    tombstone");
    }
}
