//! The records of one pair, side by side.

use std::collections::{BTreeMap, BTreeSet};

use tailrace_tests::servers::Record;

use super::avro::Schemas;
use super::differences::Differences;
use super::json::{self, field};
use super::pairs::Pair;

/// In place of a key or value that is not there, which is something else than the JSON `null`.
const NONE: &str = "none";

/// A record as text, under the names that both sides have in common.
struct Text {
    key: String,
    value: String,
    headers: BTreeMap<String, String>,
}

/// What is to be compared.
pub(super) struct Compared<'a> {
    pub(super) pair: &'a Pair,
    /// Of the tables.
    pub(super) schema: &'a str,
    /// Those that records are read with, where they have to be.
    pub(super) schemas: Option<Schemas<'a>>,
    /// Tailrace began anew after a transient error. It does not remember which commit was the last before, as Debezium does in
    /// its offsets, but only that it was no later than where it goes on.
    pub(super) began_anew: bool,
}

/// Compares every topic of a pair.
pub(super) fn pair(
    compared: &Compared<'_>,
    topics: &[String],
    records: impl Fn(&str) -> Vec<Record>,
    differences: &mut Differences,
) {
    let Compared {
        pair, schema, schemas, ..
    } = compared;

    let (debezium, tailrace) = (pair.debezium_name(), pair.tailrace_name());
    let theirs = of_side(topics, &debezium);
    let ours = of_side(topics, &tailrace);
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for name in names {
        let named = [&theirs, &ours].map(|side| side.get(name).map_or("missing", |topic| topic.as_str()));
        let [their_name, our_name] = [named[0].replace(&debezium, &tailrace), named[1].to_owned()];
        if their_name != our_name {
            differences.found(&format!("{} {name} topic", pair.name), &their_name, &our_name);
        }
        let texts = |side: &BTreeMap<String, &String>, prefix: &str| -> Vec<Text> {
            let records = side.get(name).map(|topic| records(topic)).unwrap_or_default();
            let texts = records
                .iter()
                .map(|record| Text::new(record, schemas.as_ref(), (prefix, &tailrace)));
            texts.collect()
        };
        let in_schema = name.strip_prefix(schema).and_then(|rest| rest.strip_prefix('.'));
        let table = in_schema.unwrap_or(name);
        let place = format!("{} {table}", pair.name);
        let mut ours = texts(&ours, &tailrace);
        let theirs = texts(&theirs, &debezium);
        if compared.began_anew {
            for (ours, theirs) in ours.iter_mut().zip(&theirs) {
                ours.take_last_commit_of(theirs);
            }
        }
        topic(&place, &theirs, &ours, differences);
    }
}

/// The topics of one side by what follows its prefix, as Debezium would have it: Tailrace keeps apart what differs only in
/// characters that topics cannot have.
fn of_side<'a>(topics: &'a [String], prefix: &str) -> BTreeMap<String, &'a String> {
    let named = |topic: &'a String| {
        let rest = topic.strip_prefix(prefix)?;
        Some((with_replaced_characters(rest.strip_prefix('.')?), topic))
    };
    topics.iter().filter_map(named).collect()
}

/// `_x20_` as `_`.
fn with_replaced_characters(name: &str) -> String {
    let mut parts = name.split("_x");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('_') {
            Some((code, rest)) if u32::from_str_radix(code, 16).is_ok() => replaced += &format!("_{rest}"),
            _ => replaced += &format!("_x{part}"),
        }
    }
    replaced
}

fn topic(place: &str, theirs: &[Text], ours: &[Text], differences: &mut Differences) {
    if theirs.len() != ours.len() {
        let brief = |records: &[Text]| records.iter().map(Text::brief).collect::<Vec<_>>().join("; ");
        differences.found(&format!("{place} records"), &brief(theirs), &brief(ours));
        return;
    }
    differences.compared(ours.len());
    for (theirs, ours) in theirs.iter().zip(ours) {
        record(&format!("{place} {}", theirs.operation()), theirs, ours, differences);
    }
}

fn record(place: &str, theirs: &Text, ours: &Text, differences: &mut Differences) {
    let mut found = |path: &str, theirs: &str, ours: &str| {
        // What an inline schema is around of has the same path as what has none.
        let path = path.replacen(".payload", "", 1);
        differences.found(&format!("{place} {path}"), theirs, ours);
    };
    json::differences("key", &theirs.key, &ours.key, &mut found);
    json::differences("value", &theirs.value, &ours.value, &mut found);
    let names: BTreeSet<&String> = theirs.headers.keys().chain(ours.headers.keys()).collect();
    for name in names {
        let header = |side: &Text| {
            side.headers
                .get(name)
                .map_or_else(|| "missing".to_owned(), Clone::clone)
        };
        json::differences(&format!("header.{name}"), &header(theirs), &header(ours), &mut found);
    }
}

// === impl Text ===

impl Text {
    fn new(record: &Record, schemas: Option<&Schemas<'_>>, (name, common_name): (&str, &str)) -> Text {
        let text = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => String::from_utf8_lossy(bytes).replace(name, common_name),
            None => NONE.to_owned(),
        };
        let part = |bytes: &Option<Vec<u8>>| match (bytes, schemas) {
            (Some(bytes), Some(schemas)) => schemas.text(bytes).replace(name, common_name),
            _ => text(bytes),
        };
        let headers = record.headers.iter();
        Text {
            key: part(&record.key),
            value: part(&record.value),
            headers: headers.map(|(name, value)| (name.clone(), text(value))).collect(),
        }
    }

    /// Has the last commit in its `sequence` that the other side has, where the rest of it is the same.
    fn take_last_commit_of(&mut self, other: &Text) {
        let sequence = |text: &Text| {
            let source = field(field(&text.value, "payload").unwrap_or(&text.value), "source")?;
            field(source, "sequence").map(str::to_owned)
        };
        let change = |sequence: &str| sequence.rsplit(',').next().map(str::to_owned);
        if let (Some(own), Some(other)) = (sequence(self), sequence(other))
            && change(&own) == change(&other)
        {
            self.value = self.value.replacen(&own, &other, 1);
        }
    }

    /// What kind of change: Debezium's letter, `-` for a tombstone.
    fn operation(&self) -> &str {
        let envelope = field(&self.value, "payload").unwrap_or(&self.value);
        field(envelope, "op").map_or("-", |operation| operation.trim_matches('"'))
    }

    fn brief(&self) -> String {
        let key = field(&self.key, "payload").unwrap_or(&self.key);
        format!("{} {key}", self.operation())
    }
}
