//! The rules of access (ACLs) that let us use topics and groups as connectors do, and no others.

use std::collections::BTreeSet;

use tailrace_core::grants::{Language, Script, TopicRange, TopicUse};

use crate::quote::word;
use crate::topics::Shared;

/// Stands in commands where brokers take a name from a certificate, or where nobody has one.
const PRINCIPAL: &str = "User:NAME";

/// What the commands begin with, and whether topics are made.
struct Rules<'a> {
    shared: &'a Shared,
    principal: String,
}

/// The script of a stream.
pub(crate) fn of_stream(shared: &Shared, uses: &[TopicUse]) -> Script {
    let user = shared.cluster.user.as_deref();
    let rules = Rules {
        shared,
        principal: user.map_or_else(|| PRINCIPAL.to_owned(), |user| format!("User:{user}")),
    };
    let place = format!(
        "Kafka at {}, {}: to be run by a user who may alter ACLs, from Kafka's folder bin.",
        shared.cluster.servers, rules.principal
    );
    let mut script = Script::new(Language::Shell, place);
    if user.is_none() {
        script.note(format!(
            "Put in the place of {PRINCIPAL} what the brokers call this client: of a certificate its whole subject, as User:CN=…. Brokers without an \
             authorizer let everybody do everything, and need nothing of this."
        ));
    }
    let writes = uses.iter().filter(|usage| matches!(usage, TopicUse::Writes(_)));
    let written: BTreeSet<&TopicRange> = writes.flat_map(TopicUse::topics).collect();
    writing(&mut script, &rules, &written);
    for usage in uses {
        if let TopicUse::Reads { topics, group } = usage {
            reading(&mut script, &rules, topics, group);
        }
    }
    script
}

fn writing(script: &mut Script, rules: &Rules<'_>, topics: &BTreeSet<&TopicRange>) {
    let each = |operations: &str| -> Vec<String> {
        topics
            .iter()
            .map(|topic| rules.add(operations, &of_topic(topic)))
            .collect()
    };
    let write = each("--operation Write --operation Describe");
    if write.is_empty() {
        return;
    }
    if topics.iter().any(|topic| topic.is_everything()) {
        script.note(
            "WARNING: --topic '*' below is every topic of the cluster, also those of others. ACLs know topics by their names or by what these begin \
             with, and of some topics neither is known before there are events. To make this narrower, let `topic` of the connector, of its routes \
             and of its outbox begin with a text, as \"legacy.{schema}.{table}\" does, or name its tables without * and ?.",
        );
    }
    script.needed("It writes events.", write);
    let create = each("--operation Create");
    if rules.shared.config.topics.create {
        script.needed(
            "It makes topics that are missing. Not needed with `topics: { create: false }`.",
            create,
        );
    }
    let describe = each("--operation DescribeConfigs");
    script.needed(
        "It asks how large records may be, and `tailrace check` how safely a topic keeps them.",
        describe,
    );
    if rules.shared.config.topics.create {
        script.optional(
            "With this `tailrace check` tells what new topics would be given by the brokers' own settings:",
            [rules.add("--operation DescribeConfigs", "--cluster")],
        );
    }
    script.optional(
        "Brokers before 2.8 want the right to write without duplicates to be granted too:",
        [rules.add("--operation IdempotentWrite", "--cluster")],
    );
}

fn reading(script: &mut Script, rules: &Rules<'_>, topics: &BTreeSet<TopicRange>, group: &str) {
    script.needed(
        "It reads events.",
        topics
            .iter()
            .map(|topic| rules.add("--operation Read --operation Describe", &of_topic(topic))),
    );
    script.needed(
        "It shares the partitions among its processes as a group of consumers, and tells the group how far it is.",
        [rules.add("--operation Read", &format!("--group {}", word(group)))],
    );
}

fn of_topic(topic: &TopicRange) -> String {
    match topic {
        TopicRange::Named(name) => format!("--topic {}", word(name)),
        TopicRange::Beginning(_) if topic.is_everything() => "--topic '*'".to_owned(),
        TopicRange::Beginning(beginning) => {
            format!("--resource-pattern-type prefixed --topic {}", word(beginning))
        }
    }
}

// === impl Rules ===

impl Rules<'_> {
    fn add(&self, operations: &str, resource: &str) -> String {
        let principal = word(&self.principal);
        self.shared.command(
            "kafka-acls.sh",
            &format!("--add --allow-principal {principal} {operations} {resource}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(config: &str, uses: &[TopicUse]) -> String {
        let shared = Shared::new(serde_json::from_str(config).unwrap());
        of_stream(&shared, uses).text("Stream events.", &mut BTreeSet::new())
    }

    fn commands(text: &str) -> Vec<&str> {
        text.lines().filter(|line| line.starts_with("kafka-acls.sh")).collect()
    }

    #[test]
    fn who_writes_may_write_what_it_writes() {
        let sasl = r#"{"bootstrap_servers": ["localhost:9092"], "topics": {"create": false},
            "sasl": {"mechanism": "scram_sha_512", "username": "tailrace", "password": "secret"}}"#;
        let topics = BTreeSet::from([TopicRange::Beginning("shop.".to_owned())]);
        let text = script(sasl, &[TopicUse::Writes(topics)]);
        let begin = "kafka-acls.sh --bootstrap-server localhost:9092 --command-config client.properties --add --allow-principal User:tailrace";
        let topic = "--resource-pattern-type prefixed --topic shop.";
        assert_eq!(
            commands(&text),
            [
                format!("{begin} --operation Write --operation Describe {topic}"),
                format!("{begin} --operation DescribeConfigs {topic}"),
            ]
        );
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn what_is_not_narrow_is_told() {
        let text = |range: TopicRange| {
            let config = r#"{"bootstrap_servers": ["localhost:9092"]}"#;
            script(config, &[TopicUse::Writes(BTreeSet::from([range]))])
        };
        let wide = text(TopicRange::Beginning(String::new()));
        let (before, after) = wide.split_once("# It writes events.").unwrap();
        assert!(
            before.contains("# WARNING: --topic '*' below is every topic"),
            "{before}"
        );
        assert!(
            after.contains("--operation Write --operation Describe --topic '*'"),
            "{after}"
        );
        assert!(!text(TopicRange::Named("public_orders".to_owned())).contains("WARNING"));
    }

    #[test]
    fn nothing_of_the_configuration_is_a_command() {
        let config = r#"{"bootstrap_servers": ["b1;reboot:9092"],
            "sasl": {"mechanism": "plain", "username": "eve'; reboot", "password": "secret"}}"#;
        let uses = TopicUse::Reads {
            topics: BTreeSet::from([TopicRange::Named("$(reboot)".to_owned())]),
            group: "`reboot`".to_owned(),
        };
        let text = script(config, &[uses]);
        let begin = r"kafka-acls.sh --bootstrap-server 'b1;reboot:9092' --command-config client.properties --add --allow-principal 'User:eve'\''; reboot'";
        assert_eq!(
            commands(&text),
            [
                format!("{begin} --operation Read --operation Describe --topic '$(reboot)'"),
                format!("{begin} --operation Read --group '`reboot`'"),
            ]
        );
    }

    #[test]
    fn who_reads_may_read_in_its_group() {
        let uses = TopicUse::Reads {
            topics: BTreeSet::from([
                TopicRange::Named("shop.orders".to_owned()),
                TopicRange::Beginning(String::new()),
            ]),
            group: "mirror of orders".to_owned(),
        };
        let text = script(r#"{"bootstrap_servers": ["localhost:9092"]}"#, &[uses]);
        let begin = "kafka-acls.sh --bootstrap-server localhost:9092 --add --allow-principal User:NAME";
        assert_eq!(
            commands(&text),
            [
                format!("{begin} --operation Read --operation Describe --topic shop.orders"),
                format!("{begin} --operation Read --operation Describe --topic '*'"),
                format!("{begin} --operation Read --group 'mirror of orders'"),
            ]
        );
        assert!(text.contains("User:CN="), "{text}");
    }
}
