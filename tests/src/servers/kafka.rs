//! A private Apache Kafka: one process that is broker and controller (KRaft).
//!
//! ```text
//!   CLIENT      what `bootstrap` names; plaintext unless a test says otherwise (TLS, SASL)
//!   INTERNAL    plaintext always: the broker itself, and the harness when it asks whether the broker is ready
//!   CONTROLLER  the quorum of one
//!   PROXY0 …    plaintext, each behind a proxy, which is what it advertises: whoever comes in through it stays behind it
//! ```
//!
//! The storage is a copy of one that `tests/services/install` formatted, with a cluster id of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::process::{Server, ServerCommand, ServerFolder, poll_until};
use super::{Port, Result, ServerError, installed};
use crate::proxy::{Protocol, Proxies, Proxy};

/// A JVM on two cores that are compiling at the same time; alone it takes two to three seconds.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// After `kill9` the controller refuses the restarted broker until its predecessor's session has lapsed; with Kafka's 9 s
/// that would be most of a crash test's time. Broker and controller starve together, so a busy machine does no harm.
const SESSION_TIMEOUT_MS: u32 = 2_000;

/// A session survives the loss of a few.
const HEARTBEAT_INTERVAL_MS: u32 = 400;

/// A controlled shutdown flushes every log.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// One request to a broker that may be still starting.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// A request of a test, to a broker that is known to run but may be busy.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A topic read to its end; generous, because nothing is lost by waiting and the end is known.
const READ_DEADLINE: Duration = Duration::from_secs(120);

/// One broker for the whole test process: topics keep tests apart, and a JVM takes seconds.
static SHARED: LazyLock<Result<Kafka>> =
    LazyLock::new(|| Kafka::start(KafkaOptions::default().proxies(SHARED_PROXIES)));

/// Two tests at a time may have faults in their network.
const SHARED_PROXIES: usize = 2;

/// How a broker is to be started.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// What clients have to speak: `PLAINTEXT` unless said otherwise, `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`.
    pub client_protocol: String,
    /// How many proxies there are before it.
    pub proxies: usize,
    /// Arguments of `java`, after the usual ones, which are for a broker that starts quickly and carries little.
    pub java_options: Vec<String>,
    /// Lines of server.properties, after and above the usual ones. The client listener is called `client` in keys such as
    /// `listener.name.client.plain.sasl.jaas.config`.
    pub settings: Vec<String>,
}

/// A running (or stopped, or paused) broker. Dropping it kills the broker and removes its data.
pub struct Kafka {
    client_port: Port,
    internal_port: Port,
    /// Claimed for as long as the broker may be started again.
    _further_ports: Vec<Port>,
    proxies: Proxies,
    /// Before `folder`: fields are dropped in order, and the folder's watchdog would kill what still runs anyway.
    server: Server,
    java_options: Vec<String>,
    folder: ServerFolder,
}

/// What a broker listens on, and what stands before it.
struct Ports {
    client: Port,
    internal: Port,
    controller: Port,
    proxied: Vec<(Port, Proxy)>,
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970, where the record has a timestamp.
    pub timestamp_ms: Option<i64>,
    /// The key's bytes.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The broker that all tests of this process share, started at the first call. Never stop, kill or pause it: start
/// another with [`Kafka::start`] for that. It ends with the test process.
///
/// # Errors
/// When it could not be started; the same error for every caller.
pub fn shared_kafka() -> Result<&'static Kafka> {
    SHARED.as_ref().map_err(Clone::clone)
}

// === impl KafkaOptions ===

impl Default for KafkaOptions {
    fn default() -> KafkaOptions {
        KafkaOptions {
            client_protocol: "PLAINTEXT".to_owned(),
            proxies: 0,
            java_options: Vec::new(),
            settings: Vec::new(),
        }
    }
}

impl KafkaOptions {
    /// One more line of server.properties.
    #[must_use]
    pub fn setting(mut self, line: &str) -> KafkaOptions {
        self.settings.push(line.to_owned());
        self
    }

    /// With so many proxies before it.
    #[must_use]
    pub fn proxies(mut self, proxies: usize) -> KafkaOptions {
        self.proxies = proxies;
        self
    }

    fn properties(&self, ports: &Ports) -> String {
        let (client, internal, controller) = (
            ports.client.number(),
            ports.internal.number(),
            ports.controller.number(),
        );
        let own = format!("CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal}");
        let proxied = |of: fn(&(Port, Proxy)) -> u16| {
            let ports = ports.proxied.iter().map(of).enumerate();
            ports
                .map(|(number, port)| format!(",PROXY{number}://127.0.0.1:{port}"))
                .collect::<String>()
        };
        let listeners = format!("{own}{}", proxied(|(port, _)| port.number()));
        let advertised = format!("{own}{}", proxied(|(_, proxy)| proxy.port()));
        let protocols: String = (0..ports.proxied.len())
            .map(|number| format!(",PROXY{number}:PLAINTEXT"))
            .collect();
        format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
listener.security.protocol.map=CLIENT:{},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms={SESSION_TIMEOUT_MS}
broker.heartbeat.interval.ms={HEARTBEAT_INTERVAL_MS}
{}
",
            self.client_protocol,
            self.settings.join("\n")
        )
    }
}

// === impl Ports ===

impl Ports {
    fn claim(proxies: usize) -> Result<Ports> {
        let proxied = (0..proxies).map(|_| {
            let port = Port::claim()?;
            let proxy = Proxy::before(port.number(), Protocol::Kafka)?;
            Ok((port, proxy))
        });
        Ok(Ports {
            client: Port::claim()?,
            internal: Port::claim()?,
            controller: Port::claim()?,
            proxied: proxied.collect::<Result<_>>()?,
        })
    }
}

// === impl Kafka ===

impl Kafka {
    /// Starts a broker without topics and waits until it answers.
    ///
    /// # Errors
    /// When Kafka is not installed or does not start; the error carries the end of its log.
    pub fn start(options: KafkaOptions) -> Result<Kafka> {
        let template = installed("kafka/template")?;
        let folder = ServerFolder::create("kafka", None)?;
        let ports = Ports::claim(options.proxies)?;
        folder.copy_in(&template, "data")?;
        let metadata_file = folder.path().join("data/meta.properties");
        let metadata = fs::read_to_string(&metadata_file).map_err(ServerError::doing("reading meta.properties"))?;
        folder.write("data/meta.properties", with_own_cluster_id(&metadata).as_bytes())?;
        let properties = options.properties(&ports);
        let properties = format!("{properties}log.dirs={}\n", folder.path().join("data").display());
        folder.write("server.properties", properties.as_bytes())?;
        let (mut further_ports, proxies): (Vec<Port>, Vec<Proxy>) = ports.proxied.into_iter().unzip();
        further_ports.push(ports.controller);
        let kafka = Kafka {
            client_port: ports.client,
            internal_port: ports.internal,
            _further_ports: further_ports,
            proxies: Proxies::new(proxies),
            server: Server::new("Apache Kafka"),
            java_options: options.java_options,
            folder,
        };
        kafka.launch()?;
        Ok(kafka)
    }

    /// `127.0.0.1:PORT`, the same over restarts.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.client_port.number())
    }

    /// The proxies before it.
    #[must_use]
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// The listener that is plaintext whatever `client_protocol` says, for administration by the test.
    #[must_use]
    pub fn internal_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.internal_port.number())
    }

    /// The running broker's process id; `None` while it is stopped.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.server.process_id()
    }

    /// Everything that the broker has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.folder.log()
    }

    /// A controlled shutdown. No effect on a stopped broker.
    ///
    /// # Errors
    /// When the broker is still there after the deadline.
    pub fn stop(&self) -> Result<()> {
        self.server.stop("TERM", STOP_DEADLINE)
    }

    /// SIGKILL. No effect on a stopped broker.
    ///
    /// # Errors
    /// When the process is still there after the deadline.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill()
    }

    /// Starts the broker again on the same ports and data, after `stop` or `kill9`; a running one is stopped first.
    ///
    /// # Errors
    /// When it does not stop or does not start.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// SIGSTOP: connections stay open and nothing answers, like a network that swallows packets.
    ///
    /// # Errors
    /// When no signal can be sent.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// SIGCONT: goes on after `pause`.
    ///
    /// # Errors
    /// When no signal can be sent.
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// Creates a topic with one replica.
    ///
    /// # Errors
    /// The broker's, for example that the topic is already there.
    pub async fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            wanted = wanted.set(key, value);
        }
        let admin = self.admin()?;
        let results = admin
            .create_topics([&wanted], &admin_options())
            .await
            .map_err(ServerError::doing("creating a topic"))?;
        outcome_of(results)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// The broker's, for example that there is no such topic.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        let results = self
            .admin()?
            .delete_topics(&[topic], &admin_options())
            .await
            .map_err(ServerError::doing("deleting a topic"))?;
        outcome_of(results)
    }

    /// The configuration of a topic, defaults included.
    ///
    /// # Errors
    /// The broker's, for example that there is no such topic.
    pub async fn topic_settings(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let wanted = [ResourceSpecifier::Topic(topic)];
        let admin = self.admin()?;
        let described = admin.describe_configs(&wanted, &admin_options()).await;
        let described = described.map_err(ServerError::doing("asking for a topic's configuration"))?;
        let mut settings = BTreeMap::new();
        for resource in described {
            let resource = resource.map_err(ServerError::doing("asking for a topic's configuration"))?;
            settings.extend(
                resource
                    .entries
                    .into_iter()
                    .filter_map(|entry| Some((entry.name, entry.value?))),
            );
        }
        Ok(settings)
    }

    /// Sets one configuration of a topic; the others go back to their defaults.
    ///
    /// # Errors
    /// The broker's, for example that there is no such topic.
    pub async fn alter_topic(&self, topic: &str, key: &str, value: &str) -> Result<()> {
        let wanted = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let altered = self.admin()?.alter_configs([&wanted], &admin_options()).await;
        for outcome in altered.map_err(ServerError::doing("changing a topic's configuration"))? {
            outcome.map_err(|(_, code)| ServerError::new(format!("changing a topic's configuration: {code}")))?;
        }
        Ok(())
    }

    /// The names of all topics, Kafka's own left out.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn topics(&self) -> Result<Vec<String>> {
        let metadata = self
            .consumer("")?
            .fetch_metadata(None, ADMIN_TIMEOUT)
            .map_err(ServerError::doing("asking for topics"))?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("__")).collect();
        names.sort();
        Ok(names)
    }

    /// All committed records of a topic up to its end as it is now, by partition and offset. A record in an open
    /// transaction, and all that follow it in its partition, lie beyond the end.
    ///
    /// # Errors
    /// When the broker does not answer, or the topic is not there.
    pub fn records(&self, topic: &str) -> Result<Vec<Record>> {
        let consumer = self.consumer("read_committed")?;
        let asking = format!("asking for the partitions of {topic}");
        let mut unread = poll_until(&asking, READ_DEADLINE, || ends_of_partitions(&consumer, topic))?;
        let mut assignment = TopicPartitionList::new();
        for (partition, _) in &unread {
            assignment
                .add_partition_offset(topic, *partition, Offset::Beginning)
                .map_err(ServerError::doing("preparing to read"))?;
        }
        consumer
            .assign(&assignment)
            .map_err(ServerError::doing("preparing to read"))?;
        let mut records = Vec::new();
        poll_until(&format!("reading {topic} to its end"), READ_DEADLINE, || {
            read_what_is_there(&consumer, &mut records)?;
            // Positions and not records tell the end: compaction and transaction markers leave gaps.
            let positions = consumer
                .position()
                .map_err(ServerError::doing("asking for positions"))?;
            unread.retain(|(partition, end)| {
                !matches!(
                    positions.find_partition(topic, *partition).map(|position| position.offset()),
                    Some(Offset::Offset(offset)) if offset >= *end
                )
            });
            Ok(unread.is_empty().then_some(()))
        })?;
        records.sort_by_key(|record: &Record| (record.partition, record.offset));
        Ok(records)
    }

    fn launch(&self) -> Result<()> {
        // Made beforehand, so that nothing but the broker is waited for.
        let consumer = self.consumer("")?;
        self.server.start(&self.folder, self.command()?, START_DEADLINE, |_| {
            let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT);
            metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
        })
    }

    fn command(&self) -> Result<ServerCommand> {
        let logging = installed("kafka/log4j2.properties")?;
        let jars = installed("kafka/libs")?.join("*");
        let mut arguments: Vec<OsString> = vec![
            "-Xmx512m".into(),
            // Quick to start and light: a test sends thousands of records and not millions.
            "-XX:+UseSerialGC".into(),
            "-XX:TieredStopAtLevel=1".into(),
        ];
        arguments.extend(self.java_options.iter().map(Into::into));
        arguments.extend([
            format!("-Dlog4j2.configurationFile={}", logging.display()).into(),
            "-cp".into(),
            jars.into(),
            "kafka.Kafka".into(),
            self.folder.path().join("server.properties").into(),
        ]);
        Ok(ServerCommand {
            program: "java".into(),
            arguments,
            environment: Vec::new(),
        })
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.client_config()
            .create()
            .map_err(ServerError::doing("making an admin client"))
    }

    fn consumer(&self, isolation_level: &str) -> Result<BaseConsumer> {
        let mut config = self.client_config();
        config.set("group.id", "harness").set("enable.auto.commit", "false");
        if !isolation_level.is_empty() {
            config.set("isolation.level", isolation_level);
        }
        config.create().map_err(ServerError::doing("making a consumer"))
    }

    fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.internal_bootstrap())
            // A broker that is starting refuses connections; the default waits up to ten seconds for the next try.
            .set("reconnect.backoff.ms", "10")
            .set("reconnect.backoff.max.ms", "100")
            // Refused connections are no news here.
            .set("log_level", "0");
        config
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Apache Kafka at {} in {}",
            self.bootstrap(),
            self.folder.path().display()
        )
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(ADMIN_TIMEOUT))
        .request_timeout(Some(ADMIN_TIMEOUT))
}

fn outcome_of(results: Vec<std::result::Result<String, (String, RDKafkaErrorCode)>>) -> Result<()> {
    for result in results {
        result.map_err(|(topic, code)| ServerError::new(format!("topic {topic}: {code}")))?;
    }
    Ok(())
}

/// Partitions that hold something, each with the offset that its end has; `None` where one has no leader just now: on a machine
/// that is busy the controller gives the only broker up for a moment.
fn ends_of_partitions(consumer: &BaseConsumer, topic: &str) -> Result<Option<Vec<(i32, i64)>>> {
    let attempt = || format!("asking for the partitions of {topic}");
    let metadata = consumer
        .fetch_metadata(Some(topic), ADMIN_TIMEOUT)
        .map_err(ServerError::doing(attempt()))?;
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id());
    let mut ends = Vec::new();
    for partition in partitions {
        match consumer.fetch_watermarks(topic, partition, ADMIN_TIMEOUT) {
            Ok((begin, end)) if end > begin => ends.push((partition, end)),
            Ok(_) => {}
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)) => return Ok(None),
            Err(error) => return Err(ServerError::doing(attempt())(error)),
        }
    }
    if metadata.topics().iter().all(|topic| topic.partitions().is_empty()) {
        return Err(ServerError::new(format!("there is no topic {topic}")));
    }
    Ok(Some(ends))
}

fn read_what_is_there(consumer: &BaseConsumer, records: &mut Vec<Record>) -> Result<()> {
    while let Some(message) = consumer.poll(Duration::ZERO) {
        let message = message.map_err(ServerError::doing("reading a record"))?;
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(headers_of).unwrap_or_default(),
        });
    }
    Ok(())
}

fn headers_of<H: Headers>(headers: &H) -> Vec<(String, Option<Vec<u8>>)> {
    headers
        .iter()
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect()
}

/// Clusters are told apart by their id, so that copies of one template must not share it. An id is 16 bytes in URL-safe
/// base64 without padding: 22 characters, the last of which holds two bits.
fn with_own_cluster_id(metadata: &str) -> String {
    let random = RandomState::new();
    let id = format!("{:016x}{:05x}A", random.hash_one(1), random.hash_one(2) & 0xf_ffff);
    let lines = metadata.lines().map(|line| match line.split_once('=') {
        Some(("cluster.id", _)) => format!("cluster.id={id}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    fn produce(bootstrap: &str, topic: &str, keys: std::ops::Range<u32>) -> Result<()> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .create()
            .map_err(ServerError::doing("making a producer"))?;
        for key in keys {
            let (key, value) = (format!("key {key}"), format!("value {key}"));
            producer
                .send(
                    BaseRecord::to(topic)
                        .key(&key)
                        .payload(&value)
                        .timestamp(1_700_000_000_000),
                )
                .map_err(|(error, _)| ServerError::new(error.to_string()))?;
        }
        producer.flush(ADMIN_TIMEOUT).map_err(ServerError::doing("flushing"))
    }

    #[tokio::test]
    async fn records_survive_kill9_and_restart() {
        let kafka = Kafka::start(KafkaOptions::default()).unwrap();
        kafka
            .create_topic("kept", 3, &[("cleanup.policy", "compact")])
            .await
            .unwrap();
        produce(&kafka.bootstrap(), "kept", 0..100).unwrap();
        kafka.kill9().unwrap();
        kafka.restart().unwrap();
        produce(&kafka.bootstrap(), "kept", 100..200).unwrap();
        let records = kafka.records("kept").unwrap();
        assert_eq!(records.len(), 200);
        assert!(
            records
                .iter()
                .all(|record| record.timestamp_ms == Some(1_700_000_000_000))
        );
        assert_eq!(kafka.topics().unwrap(), ["kept"]);
    }

    #[tokio::test]
    async fn the_shared_broker_creates_no_topic_unasked_and_deletes_on_request() {
        let kafka = shared_kafka().unwrap();
        assert!(
            kafka
                .records("never-created")
                .unwrap_err()
                .to_string()
                .contains("never-created")
        );
        kafka.create_topic("smoke", 1, &[]).await.unwrap();
        assert!(kafka.create_topic("smoke", 1, &[]).await.is_err());
        produce(&kafka.bootstrap(), "smoke", 0..3).unwrap();
        let records = kafka.records("smoke").unwrap();
        assert_eq!(
            records.iter().map(|record| record.offset).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(records[2].key.as_deref(), Some(b"key 2".as_slice()));
        assert_eq!(records[2].value.as_deref(), Some(b"value 2".as_slice()));
        kafka.delete_topic("smoke").await.unwrap();
        assert!(!kafka.topics().unwrap().contains(&"smoke".to_owned()));
    }

    #[tokio::test]
    async fn a_paused_broker_answers_again_after_resume() {
        let kafka = Kafka::start(KafkaOptions::default()).unwrap();
        kafka.create_topic("paused", 1, &[]).await.unwrap();
        kafka.pause().unwrap();
        let consumer = kafka.consumer("").unwrap();
        assert!(consumer.fetch_metadata(None, REQUEST_TIMEOUT).is_err());
        kafka.resume().unwrap();
        produce(&kafka.bootstrap(), "paused", 0..1).unwrap();
        kafka.stop().unwrap();
        kafka.restart().unwrap();
        assert_eq!(kafka.records("paused").unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_listener_with_passwords_refuses_strangers() {
        let login = "org.apache.kafka.common.security.plain.PlainLoginModule required user_app=\"secret\";";
        let options = KafkaOptions {
            client_protocol: "SASL_PLAINTEXT".to_owned(),
            ..KafkaOptions::default()
        }
        .setting("listener.name.client.sasl.enabled.mechanisms=PLAIN")
        .setting(&format!("listener.name.client.plain.sasl.jaas.config={login}"));
        let kafka = Kafka::start(options).unwrap();
        let ask = |password: &str| {
            let mut config = ClientConfig::new();
            config
                .set("bootstrap.servers", kafka.bootstrap())
                .set("security.protocol", "sasl_plaintext")
                .set("log_level", "0");
            config
                .set("sasl.mechanisms", "PLAIN")
                .set("sasl.username", "app")
                .set("sasl.password", password);
            let consumer: BaseConsumer = config.create().unwrap();
            consumer
                .fetch_metadata(None, REQUEST_TIMEOUT)
                .map(|metadata| metadata.brokers().len())
        };
        assert_eq!(ask("secret").unwrap(), 1);
        assert!(ask("wrong").is_err());
    }

    #[test]
    fn a_copy_of_the_template_gets_a_cluster_id_of_its_own() {
        let template = "node.id=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n";
        let (one, other) = (with_own_cluster_id(template), with_own_cluster_id(template));
        assert_ne!(one, other);
        let id = one.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
        assert_eq!(id.len(), 22);
        assert!(one.starts_with("node.id=1\n"));
    }
}
