//! librdkafka's properties: our defaults, what may be changed, and what may not and why.
//!
//! Names and meanings are from librdkafka's CONFIGURATION.md, which also says what its own defaults are.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use rdkafka::ClientConfig;
use tailrace_core::{Error, Result};

use crate::client::native_log_level;
use crate::config::{KafkaStreamConfig, SaslMechanism, TlsConfig};
use crate::error::{Cluster, without_value};

/// Bytes that librdkafka gathers for one partition before it sends without waiting for `linger.ms`. Larger batches
/// compress better and cost fewer requests, but 1 MiB measured a sixth more CPU time per record than this (it leaves
/// the processor's cache), and a slow link must still carry one within `socket.timeout.ms`.
pub(crate) const DEFAULT_BATCH_BYTES: usize = 524_288;

/// The most that one produce request may hold. librdkafka's highest value: the limit that counts is the topic's, and
/// records are measured against it before anything is sent.
pub(crate) const MESSAGE_MAX_BYTES: usize = 1_000_000_000;

/// Fewer records in librdkafka's queue than this, and the producer would wait in the middle of batches.
const QUEUE_MESSAGES_MIN: i64 = 100_000;

/// Fewer kilobytes in librdkafka's queue than this, and one batch with large rows would not fit.
const QUEUE_KBYTES_MIN: i64 = 65_536;

/// Changed by `properties` where the operator has a reason.
const CLIENT_DEFAULTS: &[(&str, &str)] = &[
    // What broker logs and quotas call us.
    ("client.id", "tailrace"),
    // Brokers that went away silently are noticed by the kernel too.
    ("socket.keepalive.enable", "true"),
    // Reconnecting is cheap next to an outage; the default of 10 s makes every broker restart look long.
    ("reconnect.backoff.max.ms", "2000"),
];

/// Changed by `properties` where the operator has a reason.
const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    // librdkafka waits this long for company. The pipeline hands over whole batches, so more would only add latency.
    ("linger.ms", "5"),
    // The cheapest codec that is worth it: rows of a table resemble each other.
    ("compression.type", "lz4"),
    // In records the queue is unbounded and in bytes large: the pipeline bounds what is in flight by itself.
    ("queue.buffering.max.messages", "0"),
    ("queue.buffering.max.kbytes", "2097151"),
    // Small records fill a batch by bytes, not by number.
    ("batch.num.messages", "100000"),
];

/// What delivery rests on. `properties` cannot change these; the reasons are in [`RULES`].
const PRODUCER_FIXED: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("message.timeout.ms", "0"),
    ("partitioner", "murmur2_random"),
    ("allow.auto.create.topics", "false"),
];

/// Changed by `properties` where the operator has a reason.
const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    // Read ahead of the reader; librdkafka's own 64 MiB are a lot for a sidecar, and small records take several times their bytes there.
    ("queued.max.messages.kbytes", "4096"),
    // What one answer of a broker may add to that, at once; librdkafka's own 50 MiB are more than all the rest. Records that are larger
    // come all the same.
    ("fetch.max.bytes", "2097152"),
    // When so much waits, librdkafka pauses for this long before it asks again; its second is longer than a fast reader
    // takes to empty the queue.
    ("fetch.queue.backoff.ms", "20"),
];

/// Added for members of groups that share partitions. Changed by `properties` where the operator has a reason.
const MEMBER_DEFAULTS: &[(&str, &str)] = &[
    // New topics that match a pattern are seen this soon; librdkafka's own five minutes look like a fault.
    ("topic.metadata.refresh.interval.ms", "3000"),
    // Who takes over from a process that died waits for this long, and so does the process itself when it comes back. Heartbeats come from
    // a thread that does nothing else, so that no slow target is taken for a death.
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2000"),
    // Where partitions end is known from these, without a request of ours.
    ("statistics.interval.ms", "1000"),
];

/// Added for members of groups that share partitions. `properties` cannot change these.
const MEMBER_FIXED: &[(&str, &str)] = &[
    // Only partitions that move are interrupted when members come and go.
    ("partition.assignment.strategy", "cooperative-sticky"),
];

/// What reading rests on. `properties` cannot change these.
const CONSUMER_FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Aborted transactions of other producers are not events.
    ("isolation.level", "read_committed"),
    // A stored offset that is gone is an error with a name, never a silent jump.
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "false"),
    ("allow.auto.create.topics", "false"),
    ("partition.assignment.strategy", "range,roundrobin"),
];

/// What may be said about one property.
enum Rule {
    /// Never.
    Refused,
    /// Only these values.
    OneOf(&'static [&'static str]),
    /// Only whole numbers in this range.
    Between(i64, i64),
}

/// Names end in `*` where every property that begins so is meant.
const RULES: &[(&str, Rule, &str)] = &[
    // --- fields of the stream
    ("bootstrap.servers", Rule::Refused, "use bootstrap_servers"),
    ("metadata.broker.list", Rule::Refused, "use bootstrap_servers"),
    (
        "security.protocol",
        Rule::Refused,
        "it follows from the fields tls and sasl",
    ),
    ("sasl.mechanism", Rule::Refused, "use sasl.mechanism of the stream"),
    ("sasl.mechanisms", Rule::Refused, "use sasl.mechanism of the stream"),
    ("sasl.username", Rule::Refused, "use sasl.username of the stream"),
    (
        "sasl.password",
        Rule::Refused,
        "use sasl.password of the stream, which is never printed",
    ),
    ("ssl.ca.*", Rule::Refused, "use tls.ca_file"),
    ("ssl.certificate.*", Rule::Refused, "use tls.certificate_file"),
    (
        "ssl.key.*",
        Rule::Refused,
        "use tls.key_file and tls.key_password, which is never printed",
    ),
    (
        "ssl.keystore.*",
        Rule::Refused,
        "use tls.certificate_file and tls.key_file in PEM form",
    ),
    // --- delivery
    ("acks", ALL, "an event that only the leader has is lost with the leader"),
    (
        "request.required.acks",
        ALL,
        "an event that only the leader has is lost with the leader",
    ),
    ("enable.idempotence", TRUE, "retries would duplicate and reorder events"),
    (
        "message.timeout.ms",
        ZERO,
        "an event that times out locally leaves a gap while later ones go on",
    ),
    (
        "delivery.timeout.ms",
        ZERO,
        "an event that times out locally leaves a gap while later ones go on",
    ),
    (
        "retries",
        Rule::Refused,
        "an event that runs out of retries leaves a gap while later ones go on",
    ),
    (
        "message.send.max.retries",
        Rule::Refused,
        "an event that runs out of retries leaves a gap while later ones go on",
    ),
    (
        "max.in.flight",
        IN_FLIGHT,
        "idempotence keeps the order of at most 5 requests",
    ),
    (
        "max.in.flight.requests.per.connection",
        IN_FLIGHT,
        "idempotence keeps the order of at most 5 requests",
    ),
    ("transactional.id", Rule::Refused, "transactions belong to the pipeline"),
    (
        "transaction.timeout.ms",
        Rule::Refused,
        "transactions belong to the pipeline",
    ),
    (
        "queuing.strategy",
        Rule::OneOf(&["fifo"]),
        "anything else reorders events",
    ),
    ("delivery.report.only.error", FALSE, "success would never be reported"),
    (
        "partitioner",
        Rule::OneOf(&["murmur2_random"]),
        "keys must go to the partition that Java clients choose",
    ),
    (
        "message.max.bytes",
        Rule::Refused,
        "the client has no limit of its own; set max.message.bytes on the topic",
    ),
    (
        "allow.auto.create.topics",
        FALSE,
        "topics are created with explicit partitions; see topics.create",
    ),
    (
        "api.version.request",
        TRUE,
        "idempotence and headers need a broker that names its versions",
    ),
    (
        "broker.version.fallback",
        Rule::Refused,
        "idempotence and headers need a broker that names its versions",
    ),
    (
        "queue.buffering.max.messages",
        Rule::Between(QUEUE_MESSAGES_MIN, i64::MAX),
        "the pipeline bounds what is in flight; a smaller queue only makes it wait",
    ),
    (
        "queue.buffering.max.kbytes",
        Rule::Between(QUEUE_KBYTES_MIN, i64::MAX),
        "the pipeline bounds what is in flight; a smaller queue only makes it wait",
    ),
    // --- reading
    (
        "group.*",
        Rule::Refused,
        "the consumer's group and protocol belong to whoever reads",
    ),
    (
        "enable.auto.commit",
        FALSE,
        "offsets are stored after the work is done, never by a timer",
    ),
    (
        "enable.auto.offset.store",
        FALSE,
        "offsets are stored after the work is done, never by a timer",
    ),
    (
        "auto.commit.*",
        Rule::Refused,
        "offsets are stored after the work is done, never by a timer",
    ),
    (
        "auto.offset.reset",
        Rule::Refused,
        "an offset that is gone must be seen, not skipped",
    ),
    (
        "isolation.level",
        Rule::OneOf(&["read_committed"]),
        "aborted transactions are not events",
    ),
    ("enable.partition.eof", FALSE, "the end of a partition is not an event"),
    (
        "partition.assignment.strategy",
        Rule::Refused,
        "how partitions move is part of how they are read",
    ),
    // --- programs and files
    ("plugin.*", Rule::Refused, "it loads a program into this process"),
    (
        "sasl.kerberos.*",
        Rule::Refused,
        "it runs a shell command, and Kerberos is not built in",
    ),
    (
        "sasl.oauthbearer.*",
        Rule::Refused,
        "it makes this process fetch URLs and read files; OAUTHBEARER is not offered",
    ),
    (
        "enable.sasl.oauthbearer.*",
        Rule::Refused,
        "it accepts tokens that nobody signed",
    ),
    (
        "https.*",
        Rule::Refused,
        "it serves OAUTHBEARER only, which is not offered",
    ),
    ("ssl.engine*", Rule::Refused, "it loads a program into this process"),
    ("ssl.providers", Rule::Refused, "it loads a program into this process"),
    (
        "enable.ssl.certificate.verification",
        TRUE,
        "anybody on the way could pose as the broker",
    ),
    (
        "ssl.endpoint.identification.algorithm",
        Rule::OneOf(&["https"]),
        "anybody with a certificate of the same authority could pose as the broker",
    ),
    // --- the client's inner life
    (
        "test.*",
        Rule::Refused,
        "events would go to an imitation in memory and vanish",
    ),
    ("log.queue", Rule::Refused, "log lines are taken from that queue"),
    (
        "enabled_events",
        Rule::Refused,
        "delivery reports are taken from these events",
    ),
];

const ALL: Rule = Rule::OneOf(&["all", "-1"]);
const TRUE: Rule = Rule::OneOf(&["true"]);
const FALSE: Rule = Rule::OneOf(&["false"]);
const ZERO: Rule = Rule::OneOf(&["0"]);
const IN_FLIGHT: Rule = Rule::Between(1, 5);

/// What of the configuration is wrong, each in a sentence; nothing is connected for it.
pub(crate) fn problems(config: &KafkaStreamConfig) -> Vec<String> {
    let mut found = server_problems(&config.bootstrap_servers);
    for (name, value) in &config.properties {
        found.extend(property_problem(name, value.as_str()));
    }
    if let Some(sasl) = &config.sasl
        && sasl.mechanism == SaslMechanism::Plain
        && config.tls.is_none()
        && !config.bootstrap_servers.iter().all(|server| is_loopback(server))
    {
        found.push(
            "sasl.mechanism plain would send the password in clear text over the network: add tls, or use scram_sha_512"
                .to_owned(),
        );
    }
    if let Some(tls) = &config.tls
        && tls.certificate_file.is_some() != tls.key_file.is_some()
    {
        found.push("tls.certificate_file and tls.key_file belong together: one of them is missing".to_owned());
    }
    if config.topics.partitions == 0 {
        found.push("topics.partitions must be at least 1".to_owned());
    }
    if config.topics.replication_factor == Some(0) {
        found.push("topics.replication_factor must be at least 1".to_owned());
    }
    if config.topics.config.contains_key("cleanup.policy") {
        found.push("topics.config must not contain cleanup.policy: use topics.cleanup_policy".to_owned());
    }
    // Whether librdkafka knows the name and takes the value, it says itself; not worth asking about broken ones.
    if found.is_empty()
        && let Err(error) = client_config(config).and_then(|native| {
            native.create_native_config().map_err(|error| {
                Error::definite(
                    "invalid_config",
                    format!("properties: librdkafka refuses {}", without_value(&error)),
                )
            })
        })
    {
        found.push(error.to_string());
    }
    found
}

/// Who is spoken to, for sentences.
pub(crate) fn cluster(config: &KafkaStreamConfig) -> Cluster {
    Cluster {
        servers: config.bootstrap_servers.join(","),
        user: config.sasl.as_ref().map(|sasl| sasl.username.clone()),
    }
}

/// What must never appear in a log line.
pub(crate) fn secrets(config: &KafkaStreamConfig) -> Vec<String> {
    let password = config.sasl.as_ref().map(|sasl| &sasl.password);
    let key_password = config.tls.as_ref().and_then(|tls| tls.key_password.as_ref());
    let known = password.into_iter().chain(key_password);
    known
        .map(|secret| secret.expose().to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

/// Bytes that one batch may have by configuration.
pub(crate) fn batch_bytes(config: &KafkaStreamConfig) -> usize {
    let configured = config
        .properties
        .get("batch.size")
        .and_then(|value| value.as_str().parse().ok());
    configured.unwrap_or(DEFAULT_BATCH_BYTES)
}

/// Properties of a producer whose batches are no larger than the smallest limit of its topics.
pub(crate) fn producer_config(config: &KafkaStreamConfig, batch_bytes: usize) -> Result<ClientConfig> {
    let mut native = client_config(config)?;
    fill(&mut native, PRODUCER_DEFAULTS);
    overwrite(&mut native, PRODUCER_FIXED);
    native.set("message.max.bytes", MESSAGE_MAX_BYTES.to_string());
    native.set("batch.size", batch_bytes.to_string());
    Ok(native)
}

/// Properties of a consumer.
pub(crate) fn consumer_config(config: &KafkaStreamConfig, group: &str) -> Result<ClientConfig> {
    let mut native = client_config(config)?;
    fill(&mut native, CONSUMER_DEFAULTS);
    overwrite(&mut native, CONSUMER_FIXED);
    native.set("group.id", group);
    Ok(native)
}

/// Properties of a member of a group that shares partitions.
pub(crate) fn member_config(config: &KafkaStreamConfig, group: &str) -> Result<ClientConfig> {
    let mut native = consumer_config(config, group)?;
    fill(&mut native, MEMBER_DEFAULTS);
    overwrite(&mut native, MEMBER_FIXED);
    Ok(native)
}

/// Properties of the client that asks about topics and creates them.
pub(crate) fn admin_config(config: &KafkaStreamConfig) -> Result<ClientConfig> {
    let mut native = client_config(config)?;
    native.set("allow.auto.create.topics", "false");
    Ok(native)
}

fn client_config(config: &KafkaStreamConfig) -> Result<ClientConfig> {
    let mut native = ClientConfig::new();
    native.set_log_level(native_log_level());
    for (name, value) in &config.properties {
        native.set(name.as_str(), value.as_str());
    }
    fill(&mut native, CLIENT_DEFAULTS);
    native.set("bootstrap.servers", config.bootstrap_servers.join(","));
    let protocol = match (config.tls.is_some(), config.sasl.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    native.set("security.protocol", protocol);
    if let Some(tls) = &config.tls {
        set_tls(&mut native, tls)?;
    }
    if let Some(sasl) = &config.sasl {
        native.set("sasl.mechanisms", sasl.mechanism.as_kafka());
        native.set("sasl.username", sasl.username.as_str());
        native.set("sasl.password", sasl.password.expose());
    }
    Ok(native)
}

fn set_tls(native: &mut ClientConfig, tls: &TlsConfig) -> Result<()> {
    match &tls.ca_file {
        Some(file) => native.set("ssl.ca.location", path_text(file)?),
        // OpenSSL is linked in and does not know where this system keeps its authorities: let librdkafka look.
        None => native.set("ssl.ca.location", "probe"),
    };
    if let Some(file) = &tls.certificate_file {
        native.set("ssl.certificate.location", path_text(file)?);
    }
    if let Some(file) = &tls.key_file {
        native.set("ssl.key.location", path_text(file)?);
    }
    if let Some(password) = &tls.key_password {
        native.set("ssl.key.password", password.expose());
    }
    Ok(())
}

fn path_text(path: &Path) -> Result<&str> {
    let refused = || {
        Error::definite(
            "invalid_config",
            format!("tls: the path {} is not UTF-8", path.display()),
        )
    };
    path.to_str().ok_or_else(refused)
}

fn fill(native: &mut ClientConfig, defaults: &[(&str, &str)]) {
    for (name, value) in defaults {
        let alias = alias_of(name);
        if native.get(name).is_none() && alias.is_none_or(|alias| native.get(alias).is_none()) {
            native.set(*name, *value);
        }
    }
}

/// Both names of a property would be applied in no particular order.
fn alias_of(name: &str) -> Option<&'static str> {
    match name {
        "linger.ms" => Some("queue.buffering.max.ms"),
        "compression.type" => Some("compression.codec"),
        _ => None,
    }
}

fn overwrite(native: &mut ClientConfig, fixed: &[(&str, &str)]) {
    for (name, value) in fixed {
        native.set(*name, *value);
    }
    // Accepted under its other name with the same meaning; one is enough.
    for alias in ["request.required.acks", "delivery.timeout.ms"] {
        native.remove(alias);
    }
}

fn property_problem(name: &str, value: &str) -> Option<String> {
    let applies = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    let (_, rule, reason) = RULES.iter().find(|(pattern, _, _)| applies(pattern))?;
    match rule {
        Rule::Refused => Some(format!("properties: {name} may not be set: {reason}")),
        Rule::OneOf(allowed) if !allowed.contains(&value) => {
            Some(format!("properties: {name} must be {}: {reason}", allowed.join(" or ")))
        }
        Rule::Between(low, high) if !value.parse().is_ok_and(|number: i64| (*low..=*high).contains(&number)) => {
            let range = if *high == i64::MAX {
                format!("at least {low}")
            } else {
                format!("from {low} to {high}")
            };
            Some(format!("properties: {name} must be {range}: {reason}"))
        }
        Rule::OneOf(_) | Rule::Between(_, _) => None,
    }
}

fn server_problems(servers: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    if servers.is_empty() {
        found.push("bootstrap_servers is empty: name at least one broker as host:port".to_owned());
    }
    let mut seen = BTreeSet::new();
    for server in servers {
        let port = server
            .rsplit_once(':')
            .map(|(host, port)| (!host.is_empty(), port.parse::<u16>()));
        if !matches!(port, Some((true, Ok(1..)))) || server.contains([',', '/', ' ']) {
            found.push(format!("bootstrap_servers: {server:?} is not host:port"));
        }
        if !seen.insert(server) {
            found.push(format!("bootstrap_servers: {server} is listed twice"));
        }
    }
    found
}

/// Whether a `host:port` can only be this machine.
pub(crate) fn is_loopback(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> KafkaStreamConfig {
        serde_json::from_str(text).unwrap()
    }

    fn with_property(name: &str, value: &str) -> KafkaStreamConfig {
        let properties = serde_json::json!({ name: value });
        config(&serde_json::json!({"bootstrap_servers": ["b1:9092"], "properties": properties}).to_string())
    }

    #[test]
    fn dangerous_properties_are_refused_with_the_reason() {
        let refused = [
            ("acks", "1"),
            ("acks", "0"),
            ("request.required.acks", "1"),
            ("enable.idempotence", "false"),
            ("message.timeout.ms", "300000"),
            ("delivery.timeout.ms", "120000"),
            ("retries", "3"),
            ("message.send.max.retries", "3"),
            ("max.in.flight", "6"),
            ("max.in.flight.requests.per.connection", "1000000"),
            ("transactional.id", "x"),
            ("plugin.library.paths", "/tmp/evil.so"),
            ("sasl.kerberos.kinit.cmd", "rm -rf /"),
            ("ssl.engine.location", "/tmp/evil.so"),
            ("ssl.engine.id", "evil"),
            ("ssl.providers", "evil"),
            ("sasl.oauthbearer.config", "principal=admin"),
            ("sasl.oauthbearer.token.endpoint.url", "file:///etc/passwd"),
            ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
            ("partitioner", "random"),
            ("queue.buffering.max.messages", "10"),
            ("queue.buffering.max.kbytes", "1"),
            ("enable.auto.commit", "true"),
            ("auto.offset.reset", "latest"),
            ("isolation.level", "read_uncommitted"),
            ("bootstrap.servers", "other:9092"),
            ("sasl.password", "hunter2"),
            ("ssl.key.pem", "hunter2"),
            ("ssl.keystore.password", "hunter2"),
            ("ssl.ca.location", "/etc/shadow"),
            ("enable.ssl.certificate.verification", "false"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("allow.auto.create.topics", "true"),
            ("test.mock.num.brokers", "1"),
            ("delivery.report.only.error", "true"),
            ("queuing.strategy", "lifo"),
            ("message.max.bytes", "1000"),
            ("group.id", "g"),
        ];
        for (name, value) in refused {
            let found = problems(&with_property(name, value));
            assert_eq!(found.len(), 1, "{name}={value}: {found:?}");
            assert!(found[0].contains(name) && found[0].contains(": "), "{}", found[0]);
            assert!(!found[0].contains("hunter2"), "{}", found[0]);
        }
    }

    #[test]
    fn harmless_properties_pass_and_win_over_defaults() {
        for (name, value) in [
            ("linger.ms", "20"),
            ("queue.buffering.max.ms", "20"),
            ("compression.type", "zstd"),
            ("compression.codec", "gzip"),
            ("acks", "all"),
            ("acks", "-1"),
            ("enable.idempotence", "true"),
            ("message.timeout.ms", "0"),
            ("max.in.flight", "2"),
            ("client.id", "orders"),
            ("socket.timeout.ms", "30000"),
            ("debug", "broker,topic"),
            ("ssl.cipher.suites", "ECDHE-RSA-AES256-GCM-SHA384"),
        ] {
            let config = with_property(name, value);
            assert_eq!(problems(&config), Vec::<String>::new(), "{name}={value}");
            let native = producer_config(&config, 1000).unwrap().create_native_config().unwrap();
            let in_effect = native.get(name).unwrap();
            let expected = if value == "all" { "-1" } else { value };
            assert_eq!(in_effect, expected, "{name}");
        }
    }

    #[test]
    fn unknown_properties_and_values_are_refused_by_name() {
        let found = problems(&with_property("linger.mss", "20"));
        assert!(found[0].contains("linger.mss"), "{found:?}");
        let found = problems(&with_property("linger.ms", "soon"));
        assert!(
            found[0].contains("linger.ms") && !found[0].contains("soon"),
            "{found:?}"
        );
    }

    #[test]
    fn what_delivery_rests_on_is_in_effect() {
        let native = producer_config(&config(r#"{"bootstrap_servers": ["b1:9092", "b2:9092"]}"#), 500_000).unwrap();
        let native = native.create_native_config().unwrap();
        for (name, value) in [
            ("bootstrap.servers", "b1:9092,b2:9092"),
            ("acks", "-1"),
            ("enable.idempotence", "true"),
            ("message.timeout.ms", "0"),
            ("retries", "2147483647"),
            ("partitioner", "murmur2_random"),
            ("linger.ms", "5"),
            ("compression.type", "lz4"),
            ("batch.size", "500000"),
            ("message.max.bytes", "1000000000"),
            ("allow.auto.create.topics", "false"),
            ("security.protocol", "plaintext"),
        ] {
            assert_eq!(native.get(name).unwrap(), value, "{name}");
        }
    }

    #[test]
    fn tls_and_sasl_become_librdkafkas_properties() {
        let text = r#"{"bootstrap_servers": ["b1:9092"], "tls": {"ca_file": "/ca.pem", "certificate_file": "/c.pem",
            "key_file": "/k.pem", "key_password": "secret-of-key"},
            "sasl": {"mechanism": "scram_sha_512", "username": "cdc", "password": "secret-of-cdc"}}"#;
        let config = config(text);
        assert_eq!(problems(&config), Vec::<String>::new());
        let native = client_config(&config).unwrap();
        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "cdc"),
            ("sasl.password", "secret-of-cdc"),
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.certificate.location", "/c.pem"),
            ("ssl.key.location", "/k.pem"),
            ("ssl.key.password", "secret-of-key"),
        ] {
            assert_eq!(native.get(name), Some(value), "{name}");
        }
        assert_eq!(secrets(&config), ["secret-of-cdc", "secret-of-key"]);
        assert!(!format!("{native:?}").contains("secret-of"), "{native:?}");
    }

    #[test]
    fn a_password_in_clear_text_stays_on_this_machine() {
        let sasl = r#""sasl": {"mechanism": "plain", "username": "u", "password": "p"}"#;
        let plain = |server: &str, rest: &str| {
            problems(&config(&format!(
                r#"{{"bootstrap_servers": ["{server}"], {sasl}{rest}}}"#
            )))
        };
        assert_eq!(plain("localhost:9092", "").len(), 0);
        assert_eq!(plain("127.0.0.1:9092", "").len(), 0);
        assert_eq!(plain("[::1]:9092", "").len(), 0);
        assert_eq!(plain("kafka.example.com:9093", r#", "tls": {}"#).len(), 0);
        assert_eq!(plain("kafka.example.com:9092", "").len(), 1);
        assert_eq!(plain("127.0.0.1.example.com:9092", "").len(), 1);
    }

    #[test]
    fn servers_must_be_host_and_port() {
        for (servers, expected) in [
            (r#"[]"#, 1),
            (r#"["b1"]"#, 1),
            (r#"["b1:"]"#, 1),
            (r#"[":9092"]"#, 1),
            (r#"["b1:0"]"#, 1),
            (r#"["b1:99999"]"#, 1),
            (r#"["PLAINTEXT://b1:9092"]"#, 1),
            (r#"["b1:9092,b2:9092"]"#, 1),
            (r#"["b1:9092", "b1:9092"]"#, 1),
            (r#"["b1:9092", "[::1]:9092"]"#, 0),
        ] {
            let found = problems(&config(&format!(r#"{{"bootstrap_servers": {servers}}}"#)));
            assert_eq!(found.len(), expected, "{servers}: {found:?}");
        }
    }
}
