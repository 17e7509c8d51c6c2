//! Preflight: can events be written here, and how durable is what is acknowledged. Read-only: topics that would be
//! created are validated by the broker and not created.

use std::sync::Arc;

use rdkafka::admin::{ConfigResource, ResourceSpecifier};
use rdkafka::error::RDKafkaErrorCode;
use tailrace_core::check::Finding;
use tailrace_core::ports::TopicSpec;

use crate::error::Failure;
use crate::properties::is_loopback;
use crate::quote::word;
use crate::topics::{Admin, Broker, Listed, Shared, number, options};

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
    let closed = closed_listeners(shared, &brokers).await;
    if !closed.is_empty() {
        findings.extend(closed);
        return findings; // Everything else would wait for these brokers.
    }
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

async fn reach(shared: &Arc<Shared>) -> Result<(Admin, Vec<Broker>), Finding> {
    let admin = shared.admin().await.map_err(|failure| blocking(&failure))?;
    let brokers = match admin.overview(&shared.cluster).await {
        Ok(overview) => overview.brokers,
        Err(failure) => return Err(blocking(&shared.explained(failure).await)),
    };
    Ok((admin, brokers))
}

/// Clients connect to what brokers advertise, not to the bootstrap server: the most common of all mistakes.
async fn closed_listeners(shared: &Shared, brokers: &[Broker]) -> Vec<Finding> {
    let asked = brokers.to_vec();
    let closed = tokio::task::spawn_blocking(move || asked.iter().filter_map(|broker| broker.closed().err()).collect());
    let closed: Vec<String> = closed.await.unwrap_or_default();
    let finding = |said: String| {
        blocking(
            &shared
                .cluster
                .failure(RDKafkaErrorCode::BrokerTransportFailure, None, &said),
        )
    };
    closed.into_iter().map(finding).collect()
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
    let what = format!("topic {name}");
    let mut findings = durability(shared, &what, settings, brokers, |config| alter(shared, name, config));
    findings.extend(timestamps(&what, settings, |config| alter(shared, name, config)));
    if settings.cleanup_policy.contains("compact") && !topic.keyed {
        findings.push(compacted_without_keys(shared, name));
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

/// Whether the topic takes and keeps records whose timestamp is the row's `updated_at`.
fn timestamps(what: &str, settings: &TopicSettings, alter: impl Fn(&str) -> String) -> Vec<Finding> {
    if settings.log_append_time {
        return vec![Finding::warning(
            "timestamp_replaced",
            format!("{what} replaces the records' timestamp, the row's updated_at, by the time of writing"),
            alter("message.timestamp.type=CreateTime"),
        )];
    }
    let mut findings = Vec::new();
    if settings.cleanup_policy.contains("delete") && settings.retention_ms >= 0 {
        findings.push(Finding::warning(
            "retention_by_updated_at",
            format!(
                "{what} removes records whose timestamp is older than {} ms (retention.ms); records carry the row's \
                 updated_at, so rows of a snapshot that were last updated before are removed as soon as they are written",
                settings.retention_ms
            ),
            alter("retention.ms=-1"),
        ));
    }
    if settings.timestamp_before_max_ms < i64::MAX {
        findings.push(Finding::warning(
            "invalid_timestamp",
            format!(
                "{what} refuses records whose timestamp is older than {} ms; records carry the row's updated_at",
                settings.timestamp_before_max_ms
            ),
            alter(&format!("message.timestamp.before.max.ms={}", i64::MAX)),
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
        &format!(
            "--alter --entity-type topics --entity-name {} --add-config {config}",
            word(topic)
        ),
    )
}

/// How topics that are created here would fare, by the brokers' defaults.
async fn defaults(shared: &Shared, admin: &Admin, brokers: &[Broker]) -> Vec<Finding> {
    let Some(first) = brokers.first() else {
        return Vec::new();
    };
    let Ok(Some(config)) = admin
        .describe(&shared.cluster, ResourceSpecifier::Broker(first.id))
        .await
    else {
        return Vec::new(); // Only an administrator may ask; each topic is judged once it exists.
    };
    judge_defaults(shared, &new_topic_settings(shared, &config), brokers.len())
}

/// What a topic that is created here will have: as configured, else as the brokers are.
fn new_topic_settings(shared: &Shared, broker: &ConfigResource) -> TopicSettings {
    let topics = &shared.config.topics;
    // A broker's name for a topic's default is its own.
    let effective = |topic_name: &str, broker_name: &str| {
        let set = topics.config.get(topic_name).map(|value| value.as_str().to_owned());
        set.or_else(|| broker.get(broker_name).and_then(|entry| entry.value.clone()))
            .unwrap_or_default()
    };
    let before_max = effective("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms");
    let retention = topics
        .config
        .get("retention.ms")
        .and_then(|value| value.as_str().parse().ok());
    TopicSettings {
        partitions: usize::from(topics.partitions),
        replicas: match topics.replication_factor {
            Some(factor) => usize::from(factor),
            None => number(broker, "default.replication.factor").unwrap_or(1),
        },
        min_insync_replicas: effective("min.insync.replicas", "min.insync.replicas")
            .parse()
            .unwrap_or(1),
        unclean_leader_election: effective("unclean.leader.election.enable", "unclean.leader.election.enable")
            == "true",
        cleanup_policy: topics.cleanup_policy.as_kafka().to_owned(),
        retention_ms: retention.unwrap_or(-1),
        log_append_time: effective("message.timestamp.type", "log.message.timestamp.type") == "LogAppendTime",
        timestamp_before_max_ms: before_max.parse().unwrap_or(i64::MAX),
        max_message_bytes: KAFKA_MAX_MESSAGE_BYTES,
    }
}

fn judge_defaults(shared: &Shared, settings: &TopicSettings, brokers: usize) -> Vec<Finding> {
    let what = "each topic created here";
    let in_config = |config: &str| format!("topics: {{ config: {{ {} }} }}", config.replace('=', ": "));
    let mut findings = durability(shared, what, settings, brokers, in_config);
    findings.extend(timestamps(what, settings, in_config));
    for finding in findings.iter_mut().filter(|finding| finding.code == "one_replica") {
        finding.remedy = format!("topics: {{ replication_factor: {} }}", brokers.min(3));
    }
    findings
}

#[cfg(test)]
mod tests {
    use tailrace_core::check::Severity;

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
    fn new_topics_are_judged_before_they_exist_and_cured_in_the_config() {
        let settings = TopicSettings {
            replicas: 1,
            retention_ms: 604_800_000,
            ..sound()
        };
        let findings = judge_defaults(&local(), &settings, 5);
        assert_eq!(
            codes(&findings),
            [
                ("one_replica", Severity::Warning),
                ("retention_by_updated_at", Severity::Warning)
            ]
        );
        assert_eq!(findings[0].remedy, "topics: { replication_factor: 3 }");
        assert_eq!(findings[1].remedy, "topics: { config: { retention.ms: -1 } }");
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
