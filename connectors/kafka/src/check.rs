//! Preflight: can events be written here, and how durable is what is acknowledged. Read-only: topics that would be
//! created are validated by the broker and not created.

use std::sync::Arc;

use rdkafka::admin::{ConfigResource, ResourceSpecifier};
use tailrace_core::check::{Finding, Severity};
use tailrace_core::ports::TopicSpec;

use crate::error::Failure;
use crate::properties::is_loopback;
use crate::topics::{Admin, Listed, Shared, number, options};

/// Kafka's own default of `max.message.bytes`. Topics below it were made small on purpose.
const KAFKA_MAX_MESSAGE_BYTES: usize = 1_048_588;

/// What the durability of a topic depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TopicSettings {
    partitions: usize,
    replicas: usize,
    min_insync_replicas: usize,
    unclean_leader_election: bool,
    cleanup_policy: String,
    /// -1 is for ever.
    retention_ms: i64,
    log_append_time: bool,
    timestamp_before_max_ms: i64,
    max_message_bytes: usize,
}

/// Every problem at once.
pub(crate) async fn check(shared: &Arc<Shared>, topics: &[TopicSpec]) -> Vec<Finding> {
    let mut findings = connection_findings(shared);
    let (admin, brokers) = match reach(shared).await {
        Ok(reached) => reached,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    for topic in topics {
        match admin.look_up(&shared.cluster, &topic.name).await {
            Ok(Some(listed)) => findings.extend(existing(shared, &admin, topic, &listed, brokers.len()).await),
            Ok(None) => findings.extend(missing(shared, &admin, topic).await),
            Err(failure) => findings.push(blocking(&failure)),
        }
    }
    if shared.config.topics.create {
        findings.extend(defaults(shared, &admin, &brokers).await);
    }
    findings
}

async fn reach(shared: &Arc<Shared>) -> Result<(Admin, Vec<i32>), Finding> {
    let admin = shared.admin().await.map_err(|error| Finding::from(&error))?;
    match admin.overview(&shared.cluster).await {
        Ok(overview) => Ok((admin, overview.brokers)),
        Err(failure) => Err(blocking(&shared.explained(failure).await)),
    }
}

/// The sentence of a failure holds its remedy already.
fn blocking(failure: &Failure) -> Finding {
    Finding::blocks(failure.code, failure.message.clone(), "")
}

fn connection_findings(shared: &Shared) -> Vec<Finding> {
    let config = &shared.config;
    let mut findings = Vec::new();
    if config.tls.is_none() && !config.bootstrap_servers.iter().all(|server| is_loopback(server)) {
        findings.push(Finding::warning(
            "kafka_plaintext",
            format!("rows travel to {} unencrypted", shared.cluster.servers),
            "tls: {}",
        ));
    }
    let tls = config.tls.iter();
    let files = tls
        .flat_map(|tls| [&tls.ca_file, &tls.certificate_file, &tls.key_file])
        .flatten();
    for file in files {
        if let Err(error) = std::fs::File::open(file) {
            let problem = format!("the TLS file {} cannot be read: {error}", file.display());
            findings.push(Finding::blocks("invalid_config", problem, ""));
        }
    }
    findings
}

async fn missing(shared: &Shared, admin: &Admin, topic: &TopicSpec) -> Option<Finding> {
    let name = &topic.name;
    if !shared.config.topics.create {
        return Some(Finding::blocks(
            "topic_missing",
            format!(
                "topic {name} does not exist on {} and topics.create is false",
                shared.cluster.servers
            ),
            shared.create_command(name),
        ));
    }
    if !topic.keyed && shared.config.topics.cleanup_policy.as_kafka().contains("compact") {
        return Some(compacted_without_keys(shared, name));
    }
    let refused = shared
        .create_with(admin, name, &options().validate_only(true))
        .await
        .err()?;
    Some(Finding::blocks(
        refused.code,
        refused.message,
        shared.create_command(name),
    ))
}

async fn existing(shared: &Shared, admin: &Admin, topic: &TopicSpec, listed: &Listed, brokers: usize) -> Vec<Finding> {
    match admin
        .describe(&shared.cluster, ResourceSpecifier::Topic(&topic.name))
        .await
    {
        Ok(Some(config)) => judge(shared, topic, &settings(&config, listed), brokers),
        Ok(None) => vec![Finding::note(
            "topic_not_described",
            format!(
                "the configuration of topic {} is hidden from {}: whether records fit and are durable is not checked",
                topic.name,
                shared.cluster.principal()
            ),
        )],
        Err(failure) => vec![blocking(&failure)],
    }
}

fn settings(config: &ConfigResource, listed: &Listed) -> TopicSettings {
    let text = |name: &str| {
        config
            .get(name)
            .and_then(|entry| entry.value.clone())
            .unwrap_or_default()
    };
    let signed = |name: &str, default: i64| text(name).parse().unwrap_or(default);
    TopicSettings {
        partitions: listed.partitions,
        replicas: listed.replicas,
        min_insync_replicas: number(config, "min.insync.replicas").unwrap_or(1),
        unclean_leader_election: text("unclean.leader.election.enable") == "true",
        cleanup_policy: text("cleanup.policy"),
        retention_ms: signed("retention.ms", -1),
        log_append_time: text("message.timestamp.type") == "LogAppendTime",
        timestamp_before_max_ms: signed("message.timestamp.before.max.ms", i64::MAX),
        max_message_bytes: number(config, "max.message.bytes").unwrap_or(KAFKA_MAX_MESSAGE_BYTES),
    }
}

fn judge(shared: &Shared, topic: &TopicSpec, settings: &TopicSettings, brokers: usize) -> Vec<Finding> {
    let name = &topic.name;
    let mut findings = durability(shared, &format!("topic {name}"), settings, brokers, |config| {
        alter(shared, name, config)
    });
    let compacts = settings.cleanup_policy.contains("compact");
    if compacts && !topic.keyed {
        findings.push(compacted_without_keys(shared, name));
    }
    if settings.cleanup_policy.contains("delete") && settings.retention_ms >= 0 && !settings.log_append_time {
        findings.push(Finding::warning(
            "retention_by_updated_at",
            format!(
                "topic {name} removes records whose timestamp is older than {} h (retention.ms); records carry the row's \
                 updated_at, so rows of a snapshot that were last updated before are removed as soon as they are written",
                settings.retention_ms / 3_600_000
            ),
            alter(shared, name, "retention.ms=-1"),
        ));
    }
    if settings.timestamp_before_max_ms < i64::MAX && !settings.log_append_time {
        findings.push(Finding::warning(
            "invalid_timestamp",
            format!(
                "topic {name} refuses records whose timestamp is older than {} ms; records carry the row's updated_at",
                settings.timestamp_before_max_ms
            ),
            alter(shared, name, &format!("message.timestamp.before.max.ms={}", i64::MAX)),
        ));
    }
    if settings.log_append_time {
        findings.push(Finding::warning(
            "timestamp_replaced",
            format!("topic {name} replaces the records' timestamp, the row's updated_at, by the time of writing"),
            alter(shared, name, "message.timestamp.type=CreateTime"),
        ));
    }
    if settings.max_message_bytes < KAFKA_MAX_MESSAGE_BYTES {
        findings.push(Finding::note(
            "message_too_large",
            format!(
                "topic {name} takes records of at most {} bytes; a larger row stops the connector",
                settings.max_message_bytes
            ),
        ));
    }
    if !topic.keyed && settings.partitions > 1 {
        findings.push(Finding::note(
            "records_without_key",
            format!(
                "events of topic {name} have no key and all go to the first of its {} partitions, so that they stay in order",
                settings.partitions
            ),
        ));
    }
    findings
}

/// Whether what is acknowledged survives the loss of one broker.
fn durability(
    shared: &Shared,
    what: &str,
    settings: &TopicSettings,
    brokers: usize,
    alter: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.replicas == 1 && brokers > 1 {
        findings.push(Finding::warning(
            "one_replica",
            format!("{what} has one replica: what Kafka acknowledged is lost with one disk"),
            shared.command(
                "kafka-reassign-partitions.sh",
                "--execute --reassignment-json-file more-replicas.json",
            ),
        ));
    }
    if settings.replicas > 1 && settings.min_insync_replicas < 2 {
        findings.push(Finding::warning(
            "min_insync_replicas",
            format!(
                "{what} has {} replicas and min.insync.replicas=1: an event is acknowledged when only the leader has it, \
                 and lost with the leader",
                settings.replicas
            ),
            alter("min.insync.replicas=2"),
        ));
    }
    if settings.unclean_leader_election {
        findings.push(Finding::warning(
            "unclean_leader_election",
            format!(
                "{what} allows unclean leader election: a replica that misses acknowledged events may become leader"
            ),
            alter("unclean.leader.election.enable=false"),
        ));
    }
    findings
}

fn compacted_without_keys(shared: &Shared, topic: &str) -> Finding {
    Finding::blocks(
        "compacted_without_keys",
        format!("topic {topic} is compacted, but its events have no key, and brokers refuse records without one"),
        alter(shared, topic, "cleanup.policy=delete"),
    )
}

fn alter(shared: &Shared, topic: &str, config: &str) -> String {
    shared.command(
        "kafka-configs.sh",
        &format!("--alter --entity-type topics --entity-name {topic} --add-config {config}"),
    )
}

/// How topics that are created here would fare, by the brokers' defaults.
async fn defaults(shared: &Shared, admin: &Admin, brokers: &[i32]) -> Vec<Finding> {
    let Some(first) = brokers.first() else {
        return Vec::new();
    };
    let Ok(Some(config)) = admin.describe(&shared.cluster, ResourceSpecifier::Broker(*first)).await else {
        return Vec::new(); // Only an administrator may ask; each topic is judged once it exists.
    };
    let topics = &shared.config.topics;
    let set = |name: &str| topics.config.get(name).map(|value| value.as_str().to_owned());
    let brokers_default = |name: &str| config.get(name).and_then(|entry| entry.value.clone());
    let effective = |name: &str| set(name).or_else(|| brokers_default(name));
    let replicas = match topics.replication_factor {
        Some(factor) => usize::from(factor),
        None => number(&config, "default.replication.factor").unwrap_or(1),
    };
    let settings = TopicSettings {
        partitions: usize::from(topics.partitions),
        replicas,
        min_insync_replicas: effective("min.insync.replicas")
            .and_then(|text| text.parse().ok())
            .unwrap_or(1),
        unclean_leader_election: effective("unclean.leader.election.enable").as_deref() == Some("true"),
        cleanup_policy: topics.cleanup_policy.as_kafka().to_owned(),
        retention_ms: -1,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        max_message_bytes: KAFKA_MAX_MESSAGE_BYTES,
    };
    let in_config = |config: &str| format!("topics: {{ config: {{ {} }} }}", config.replace('=', ": "));
    let mut findings = durability(shared, "each topic created here", &settings, brokers.len(), in_config);
    for finding in findings.iter_mut().filter(|finding| finding.code == "one_replica") {
        finding.remedy = format!("topics: {{ replication_factor: {} }}", brokers.len().min(3));
    }
    debug_assert!(findings.iter().all(|finding| finding.severity < Severity::Blocks));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(text: &str) -> Shared {
        Shared::new(serde_json::from_str(text).unwrap())
    }

    fn local() -> Shared {
        shared(r#"{"bootstrap_servers": ["localhost:9092"]}"#)
    }

    fn sound() -> TopicSettings {
        TopicSettings {
            partitions: 3,
            replicas: 3,
            min_insync_replicas: 2,
            unclean_leader_election: false,
            cleanup_policy: "delete".to_owned(),
            retention_ms: -1,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            max_message_bytes: KAFKA_MAX_MESSAGE_BYTES,
        }
    }

    fn keyed() -> TopicSpec {
        TopicSpec {
            name: Arc::from("orders"),
            keyed: true,
        }
    }

    fn codes(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
        findings
            .iter()
            .map(|finding| (finding.code, finding.severity))
            .collect()
    }

    #[test]
    fn a_sound_topic_gives_nothing_to_say() {
        assert_eq!(judge(&local(), &keyed(), &sound(), 3), []);
    }

    #[test]
    fn each_weakness_has_its_finding_and_its_command() {
        let weak: [(TopicSettings, &str, &str); 7] = [
            (
                TopicSettings {
                    min_insync_replicas: 1,
                    ..sound()
                },
                "min_insync_replicas",
                "min.insync.replicas=2",
            ),
            (
                TopicSettings {
                    replicas: 1,
                    min_insync_replicas: 1,
                    ..sound()
                },
                "one_replica",
                "kafka-reassign-partitions.sh",
            ),
            (
                TopicSettings {
                    unclean_leader_election: true,
                    ..sound()
                },
                "unclean_leader_election",
                "unclean.leader.election.enable=false",
            ),
            (
                TopicSettings {
                    retention_ms: 604_800_000,
                    ..sound()
                },
                "retention_by_updated_at",
                "retention.ms=-1",
            ),
            (
                TopicSettings {
                    timestamp_before_max_ms: 3_600_000,
                    ..sound()
                },
                "invalid_timestamp",
                "before.max.ms=92233",
            ),
            (
                TopicSettings {
                    log_append_time: true,
                    ..sound()
                },
                "timestamp_replaced",
                "message.timestamp.type=CreateTime",
            ),
            (
                TopicSettings {
                    max_message_bytes: 1000,
                    ..sound()
                },
                "message_too_large",
                "",
            ),
        ];
        for (settings, code, remedy) in weak {
            let findings = judge(&local(), &keyed(), &settings, 3);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].code, code);
            assert!(findings[0].severity < Severity::Blocks);
            assert!(findings[0].remedy.contains(remedy), "{}", findings[0].remedy);
            assert!(findings[0].problem.contains("orders"), "{}", findings[0].problem);
        }
    }

    #[test]
    fn one_broker_alone_cannot_do_better_than_one_replica() {
        let settings = TopicSettings {
            replicas: 1,
            min_insync_replicas: 1,
            ..sound()
        };
        assert_eq!(judge(&local(), &keyed(), &settings, 1), []);
    }

    #[test]
    fn events_without_keys_do_not_fit_into_compacted_topics() {
        let topic = TopicSpec {
            name: Arc::from("log"),
            keyed: false,
        };
        let settings = TopicSettings {
            cleanup_policy: "compact".to_owned(),
            partitions: 1,
            ..sound()
        };
        assert_eq!(
            codes(&judge(&local(), &topic, &settings, 3)),
            [("compacted_without_keys", Severity::Blocks)]
        );
        assert_eq!(judge(&local(), &keyed(), &settings, 3), []);
        assert_eq!(
            codes(&judge(&local(), &topic, &sound(), 3)),
            [("records_without_key", Severity::Note)]
        );
    }

    #[test]
    fn connections_are_judged_without_connecting() {
        assert_eq!(connection_findings(&local()), []);
        let remote = shared(r#"{"bootstrap_servers": ["kafka.example.com:9092"]}"#);
        assert_eq!(
            codes(&connection_findings(&remote)),
            [("kafka_plaintext", Severity::Warning)]
        );
        let files = shared(r#"{"bootstrap_servers": ["k:9092"], "tls": {"ca_file": "/nonexistent/ca.pem"}}"#);
        assert_eq!(
            codes(&connection_findings(&files)),
            [("invalid_config", Severity::Blocks)]
        );
    }
}
