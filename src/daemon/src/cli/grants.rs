//! `tailrace grants`: the rights that sources, sinks and streams need, as scripts for those who give them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tailrace_codec::TopicTemplate;
use tailrace_core::Error;
use tailrace_core::dead_letter::LetterPolicy;
use tailrace_core::grants::{TopicRange, TopicUse};
use tailrace_core::topic::escape;

use super::{Exit, Failure};
use crate::config::fault::suggestion;
use crate::config::plan::{ConnectorPlan, Plan, SinkPlan};
use crate::screen;

#[derive(Debug, Args)]
pub(crate) struct GrantsArguments {
    /// The configuration.
    pub(crate) file: PathBuf,
    /// Only what this connector's database is to be told.
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Only what this stream is to be told.
    #[arg(long, value_name = "NAME", conflicts_with = "connector")]
    stream: Option<String>,
}

/// Prints a script for each database and each stream, in the order of the file.
pub(crate) fn run(plan: &Plan, arguments: &GrantsArguments) -> Result<Exit, Failure> {
    refuse_unknown(plan, arguments)?;
    screen::print(&text(
        plan,
        arguments.connector.as_deref(),
        arguments.stream.as_deref(),
    )?)?;
    Ok(Exit::Ended)
}

fn refuse_unknown(plan: &Plan, arguments: &GrantsArguments) -> Result<(), Failure> {
    let connectors = plan.connectors.iter().map(|connector| connector.name.clone());
    let connectors: Vec<String> = connectors
        .chain(plan.sinks.iter().map(|sink| sink.name.clone()))
        .collect();
    let streams = Vec::from_iter(plan.streams.keys().cloned());
    let unknown = |what: &str, wanted: &Option<String>, known: &[String]| match wanted {
        Some(name) if !known.contains(name) => Err(Failure::Usage(format!(
            "there is no {what} `{name}`; {}",
            suggestion(name, known)
        ))),
        _ => Ok(()),
    };
    unknown("connector", &arguments.connector, &connectors)?;
    unknown("stream", &arguments.stream, &streams)
}

/// The scripts: all, or that of one connector's database, or of one stream.
fn text(plan: &Plan, connector: Option<&str>, stream: Option<&str>) -> Result<String, Error> {
    let mut printed = BTreeSet::new();
    let mut texts = Vec::new();
    let is_wanted = |name: &str| stream.is_none() && connector.is_none_or(|wanted| wanted == name);
    for source in plan.connectors.iter().filter(|source| is_wanted(&source.name)) {
        let script = source.source_connector()?.grants(&source.name)?;
        texts.push(script.text(&format!("Connector {}.", source.name), &mut printed));
    }
    for sink in plan.sinks.iter().filter(|sink| is_wanted(&sink.name)) {
        let script = sink.sink.connect()?.grants(&sink.subscription.topics)?;
        texts.push(script.text(&format!("Connector {}.", sink.name), &mut printed));
    }
    let is_wanted = |name: &str| connector.is_none() && stream.is_none_or(|wanted| wanted == name);
    for (name, spec) in plan.streams.iter().filter(|(name, _)| is_wanted(name)) {
        let uses = uses_of(plan, name)?;
        if !uses.is_empty() {
            let script = spec.connect()?.grants(&uses);
            texts.push(script.text(&format!("Stream {name}."), &mut printed));
        }
    }
    Ok(texts.join("\n"))
}

/// What the connectors do with a stream.
fn uses_of(plan: &Plan, stream: &str) -> Result<Vec<TopicUse>, Error> {
    let mut uses = Vec::new();
    for source in plan.connectors.iter().filter(|source| source.stream == stream) {
        uses.push(TopicUse::Writes(written_by(source)?));
    }
    let sinks = plan.sinks.iter().filter(|sink| sink.stream == stream);
    uses.extend(sinks.flat_map(uses_of_sink));
    Ok(uses)
}

fn written_by(source: &ConnectorPlan) -> Result<BTreeSet<TopicRange>, Error> {
    let mut topics = BTreeSet::new();
    if source.outbox.as_deref().is_none_or(|outbox| !outbox.is_every_table()) {
        topics.extend(of_tables(source)?);
    }
    let messages = TopicTemplate::message_topic(&source.prefix);
    if source.source.has_messages() && !topics.iter().any(|range| range.covers(&messages)) {
        topics.insert(TopicRange::Named(messages));
    }
    if let Some(outbox) = &source.outbox {
        let template = outbox.topic().replace("{prefix}", &escape(&source.prefix));
        topics.insert(until(&template, '{'));
    }
    let routes = source.transforms.rules.iter().filter_map(|rule| rule.route.as_ref());
    topics.extend(routes.map(|route| until(&route.topic, '$')));
    if let Some(topic) = &source.schema_change_topic {
        topics.insert(TopicRange::Named(topic.to_string()));
    }
    if source.dead_letters.config.policy == LetterPolicy::Topic {
        topics.insert(TopicRange::Named(source.dead_letters.topic.to_string()));
    }
    Ok(topics)
}

/// What the topics of all tables begin with; where that is nothing, what those of each do.
fn of_tables(source: &ConnectorPlan) -> Result<Vec<TopicRange>, Error> {
    let range = source.topic.range(&source.prefix);
    let names = match range.is_everything() {
        true => source.source.names()?,
        false => Vec::new(),
    };
    let of_each = names.iter().map(|name| source.topic.range_of(&source.prefix, name));
    Ok(match names.is_empty() {
        true => vec![range],
        false => of_each.collect(),
    })
}

/// A text that is filled in from a character on.
fn until(template: &str, begin: char) -> TopicRange {
    match template.split_once(begin) {
        Some((beginning, _)) => TopicRange::Beginning(beginning.to_owned()),
        None => TopicRange::Named(template.to_owned()),
    }
}

fn uses_of_sink(sink: &Arc<SinkPlan>) -> Vec<TopicUse> {
    let topics = sink.subscription.topics.iter();
    let mut uses = vec![TopicUse::Reads {
        topics: topics.map(|topic| TopicRange::of_pattern(topic)).collect(),
        group: sink.subscription.group.clone(),
    }];
    if sink.dead_letters.config.policy == LetterPolicy::Topic {
        let topic = TopicRange::Named(sink.dead_letters.topic.to_string());
        uses.push(TopicUse::Writes(BTreeSet::from([topic])));
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::expand::Surroundings;
    use crate::config::understand;

    const URLS: [(&str, &str); 4] = [
        ("ORDERS_DATABASE_URL", "postgres://tailrace:secret@db.example/orders"),
        ("SHOP_DATABASE_URL", "mysql://tailrace:secret@db.example/"),
        (
            "REPORTING_DATABASE_URL",
            "postgres://tailrace:secret@db.example/reporting",
        ),
        ("KAFKA_BOOTSTRAP", "kafka.example:9092"),
    ];

    fn plan(file: &str, bytes: &[u8]) -> Plan {
        understand(file, bytes, &Surroundings::of(&URLS)).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn the_page_shows_what_is_printed() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let page = std::fs::read_to_string(format!("{root}/docs/grants.md")).unwrap();
        let mut shown = 0;
        for part in page.split("<!-- tailrace grants ").skip(1) {
            let (arguments, rest) = part.split_once(" -->").unwrap();
            let words: Vec<&str> = arguments.split(' ').collect();
            let (connector, stream) = match words[..] {
                [_, "--connector", name] => (Some(name), None),
                [_, "--stream", name] => (None, Some(name)),
                _ => (None, None),
            };
            let (_, block) = rest.split_once("\n```").unwrap();
            let (_, block) = block.split_once('\n').unwrap();
            let (block, _) = block.split_once("```").unwrap();
            let bytes = std::fs::read(format!("{root}/{}", words[0])).unwrap();
            let printed = text(&plan(words[0], &bytes), connector, stream).unwrap();
            assert!(
                block == printed,
                "docs/grants.md is not current; `tailrace grants {arguments}` prints:\n{printed}"
            );
            shown += 1;
        }
        assert!(shown >= 4, "{shown}");
    }

    /// The topics that a source of these tables may write, one after another.
    fn written(topic: &str, source: &str) -> String {
        let file = format!(
            "version: 1\nstreams: {{ events: {{ type: kafka, bootstrap_servers: [\"k:9092\"] }} }}\nconnectors:\n  \
             a: {{ stream: events, topic: \"{topic}\", source: {{ {source} }} }}\n"
        );
        let kafka = text(&plan("one.yaml", file.as_bytes()), None, Some("events")).unwrap();
        let warned = if kafka.contains("WARNING") { "! " } else { "" };
        let writes = kafka
            .lines()
            .filter_map(|line| line.split_once("--operation Write --operation Describe "));
        format!("{warned}{}", Vec::from_iter(writes.map(|(_, topic)| topic)).join(" "))
    }

    #[test]
    fn topics_that_begin_with_what_a_table_has_are_those_of_the_tables() {
        let postgres = "type: postgres, url: \"${ORDERS_DATABASE_URL}\"";
        let mysql = "type: mysql, url: \"${SHOP_DATABASE_URL}\"";
        for (topic, source, expected) in [
            (
                "{schema}_{table}",
                format!(
                    "{postgres}, tables: [orders, sales.lines, cards], exclude: [cards], message_prefixes: [\"*\"]"
                ),
                "--topic a.message --topic public_orders --topic sales_lines",
            ),
            (
                "{database}.{table}",
                format!("{postgres}, tables: [orders]"),
                "--topic orders.orders",
            ),
            (
                "{database}.{table}",
                format!("{mysql}, tables: [shop.orders, \"shop.line_*\"]"),
                "--topic shop.orders --resource-pattern-type prefixed --topic shop.line_",
            ),
            (
                "{schema}_{table}",
                format!("{mysql}, tables: [\"*.orders\", shop.lines]"),
                "! --topic shop_lines --topic '*'",
            ),
            (
                "{table}",
                "type: sqlite, path: shop.db, tables: [orders], query: { mode: bulk }".to_owned(),
                "--topic orders",
            ),
            (
                "all.{table}",
                format!("{postgres}, tables: [orders], message_prefixes: [\"*\"]"),
                "--topic a.message --resource-pattern-type prefixed --topic all.",
            ),
        ] {
            let told = written(topic, &source).replace("--topic a.schema_changes ", "");
            assert_eq!(told, expected, "{topic} of {source}");
        }
    }

    #[test]
    fn each_place_is_told_once_and_passwords_never() {
        let file = "streams: { events: { type: kafka, bootstrap_servers: [\"k:9092\"] } }\nversion: 1\nconnectors:\n  \
            a: { stream: events, source: { type: postgres, url: \"${ORDERS_DATABASE_URL}\", tables: [t] } }\n  \
            b: { stream: events, source: { type: postgres, url: \"${ORDERS_DATABASE_URL}\", tables: [u] }, dead_letters: { policy: topic } }\n  \
            c: { stream: events, topics: [a.public.t], sink: { type: postgres, url: \"${REPORTING_DATABASE_URL}\" } }\n";
        let plan = plan("two.yaml", file.as_bytes());
        let all = text(&plan, None, None).unwrap();
        assert!(!all.contains("secret"), "{all}");
        assert_eq!(all.matches("\nCREATE ROLE").count(), 2, "{all}");
        let kafka = text(&plan, None, Some("events")).unwrap();
        for topic in ["prefixed --topic a.\n", "--topic b.dead_letters\n", "Read --group c\n"] {
            assert!(kafka.contains(topic), "{topic} is not in\n{kafka}");
        }
        let one = text(&plan, Some("c"), None).unwrap();
        assert!(
            one.starts_with("-- Connector c. PostgreSQL at db.example:5432") && !one.contains("kafka"),
            "{one}"
        );
    }
}
