//! Topics: asked about once, created where they may be, and remembered.

use std::collections::HashMap;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker};
use tailrace_core::Result;
use tailrace_core::ports::TopicSpec;

use crate::client::{CONNECT_POLL, Complaints, await_cluster};
use crate::config::{CleanupPolicy, KafkaStreamConfig};
use crate::error::{Class, Cluster, Failure, code_of};
use crate::properties;
use crate::quote::word;

/// An answer that takes longer than this is no answer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A listener that does not open within this time is as good as closed.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(2);

/// A topic that was just created reaches all brokers within this time, or something is wrong with them.
const CREATION_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a topic that was just created is looked for.
const CREATION_POLL: Duration = Duration::from_millis(50);

/// Topics are asked about in bursts, at the start and after a restart; then the connection is given back.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// What is known of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicFacts {
    /// Partitions when it was last looked at.
    pub partitions: usize,
    /// The broker's `max.message.bytes` of it; `None` where we may not know.
    pub max_message_bytes: Option<usize>,
}

/// Everything that a stream's producers, consumers and checks share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// As configured, and found valid.
    pub config: KafkaStreamConfig,
    /// For sentences.
    pub cluster: Cluster,
    known: Mutex<HashMap<Arc<str>, TopicFacts>>,
    admin: tokio::sync::Mutex<Option<OpenAdmin>>,
}

#[derive(Debug)]
struct OpenAdmin {
    client: Admin,
    used: Instant,
}

/// Asks and changes what the cluster has.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    client: Arc<AdminClient<Complaints>>,
}

/// What metadata says about the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overview {
    /// Brokers.
    pub brokers: Vec<Broker>,
    /// Topics.
    pub topics: Vec<Listed>,
}

/// A broker as it advertises itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    /// Its number.
    pub id: i32,
    /// Host and port.
    pub address: String,
}

/// What metadata says about one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// Replicas of its first partition.
    pub replicas: usize,
}

// === impl Shared ===

impl Shared {
    /// Nothing is known and nothing is connected.
    pub(crate) fn new(config: KafkaStreamConfig) -> Self {
        let cluster = properties::cluster(&config);
        Self {
            config,
            cluster,
            known: Mutex::new(HashMap::new()),
            admin: tokio::sync::Mutex::new(None),
        }
    }

    /// What is known of a topic without asking.
    pub(crate) fn facts(&self, topic: &str) -> Option<TopicFacts> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(topic)
            .copied()
    }

    /// Remembers what was seen.
    pub(crate) fn learn(&self, topic: &str, facts: TopicFacts) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(topic.into(), facts);
    }

    /// The broker says otherwise now: the next `ensure` asks again.
    pub(crate) fn forget(&self, topic: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// The smallest limit of all known topics.
    pub(crate) fn smallest_limit(&self) -> Option<usize> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter_map(|facts| facts.max_message_bytes).min()
    }

    /// A context that gathers complaints without showing secrets.
    pub(crate) fn complaints(&self) -> Complaints {
        Complaints::new(properties::secrets(&self.config))
    }

    /// The text of a command against this cluster.
    pub(crate) fn command(&self, tool: &str, rest: &str) -> String {
        let option = if self.config.tls.is_some() || self.config.sasl.is_some() {
            " --command-config client.properties"
        } else {
            ""
        };
        format!(
            "{tool} --bootstrap-server {}{option} {rest}",
            word(&self.cluster.servers)
        )
    }

    /// Makes sure that a topic is there.
    pub(crate) async fn ensure(self: &Arc<Self>, topic: &TopicSpec) -> Result<()> {
        if self.facts(&topic.name).is_some() {
            return Ok(());
        }
        let admin = self.admin().await?;
        match self.look_up_or_create(&admin, &topic.name).await {
            Ok(facts) => {
                self.learn(&topic.name, facts);
                Ok(())
            }
            Err(failure) => {
                let failure = self.explained(failure).await;
                self.close_admin().await;
                Err(failure.into())
            }
        }
    }

    /// An admin client, shared while a burst of questions lasts.
    pub(crate) async fn admin(self: &Arc<Self>) -> Result<Admin, Failure> {
        let mut slot = self.admin.lock().await;
        if let Some(open) = slot.as_mut() {
            open.used = Instant::now();
            return Ok(open.client.clone());
        }
        let shared = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || {
            // An admin client waits out its timeout where a connection is refused; this knows at once, and why.
            shared.probe()?;
            Admin::open(&shared)
        });
        let client = opened
            .await
            .unwrap_or_else(|_| Err(self.cluster.abandoned("connecting")))?;
        *slot = Some(OpenAdmin {
            client: client.clone(),
            used: Instant::now(),
        });
        let shared = Arc::clone(self);
        // Detached on purpose: it ends by itself, and a panic in it would leave one idle connection open.
        drop(tailrace_core::task::spawn_named("kafka admin idle", async move {
            shared.close_when_idle().await
        }));
        Ok(client)
    }

    async fn close_when_idle(&self) {
        loop {
            tokio::time::sleep(IDLE_LIMIT).await;
            let idle = self
                .admin
                .lock()
                .await
                .as_ref()
                .is_none_or(|open| open.used.elapsed() >= IDLE_LIMIT);
            if idle {
                self.close_admin().await;
                return;
            }
        }
    }

    async fn close_admin(&self) {
        let open = self.admin.lock().await.take();
        // Closing joins librdkafka's threads.
        drop(tokio::task::spawn_blocking(move || drop(open)).await);
    }

    async fn look_up_or_create(&self, admin: &Admin, topic: &str) -> Result<TopicFacts, Failure> {
        let listed = match admin.look_up(&self.cluster, topic).await? {
            Some(listed) => listed,
            None if self.config.topics.create => {
                self.create(admin, topic).await?;
                self.wait_until_visible(admin, topic).await?
            }
            None => return Err(self.missing(topic)),
        };
        let described = admin.describe(&self.cluster, ResourceSpecifier::Topic(topic)).await?;
        let limit = described.and_then(|config| number(&config, "max.message.bytes"));
        Ok(TopicFacts {
            partitions: listed.partitions,
            max_message_bytes: limit,
        })
    }

    /// A topic is not there and may not be created.
    pub(crate) fn missing(&self, topic: &str) -> Failure {
        Failure::definite(
            "topic_missing",
            format!(
                "topic {topic} does not exist on {} and topics.create is false; create it with {}, or set topics.create: true",
                self.cluster.servers,
                self.create_command(topic)
            ),
        )
    }

    /// The command that creates a topic as it would be created here.
    pub(crate) fn create_command(&self, topic: &str) -> String {
        let topics = &self.config.topics;
        let replication = topics
            .replication_factor
            .map_or(String::new(), |factor| format!(" --replication-factor {factor}"));
        let config: String = self
            .new_topic_config()
            .iter()
            .map(|(name, value)| format!(" --config {}", word(&format!("{name}={value}"))))
            .collect();
        self.command(
            "kafka-topics.sh",
            &format!(
                "--create --topic {} --partitions {}{replication}{config}",
                word(topic),
                topics.partitions
            ),
        )
    }

    fn new_topic_config(&self) -> Vec<(&str, &str)> {
        let topics = &self.config.topics;
        let mut config = vec![("cleanup.policy", topics.cleanup_policy.as_kafka())];
        let bounded = topics.config.contains_key("retention.ms");
        if topics.cleanup_policy != CleanupPolicy::Compact && !bounded {
            // Records carry the row's own updated_at: by Kafka's default of seven days, rows of a snapshot that were
            // last updated earlier would be removed as soon as they are written.
            config.push(("retention.ms", "-1"));
        }
        config.extend(
            topics
                .config
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        config
    }

    /// Creates a topic, or with `validate_only` asks whether it could be. That it exists already is fine.
    pub(crate) async fn create_with(&self, admin: &Admin, topic: &str, options: &AdminOptions) -> Result<(), Failure> {
        let replicas = self.config.topics.replication_factor.map_or(-1, i32::from);
        let partitions = i32::from(self.config.topics.partitions);
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
        for (name, value) in self.new_topic_config() {
            new = new.set(name, value);
        }
        let results = admin.client.create_topics([&new], options).await;
        let failure = |error: &KafkaError| self.cluster.failure_of(error, Some(topic), "");
        match results.map_err(|error| failure(&error))?.into_iter().next() {
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(self.cluster.failure(code, Some(topic), &self.creation_detail(code))),
        }
    }

    fn creation_detail(&self, code: RDKafkaErrorCode) -> String {
        match code {
            RDKafkaErrorCode::InvalidReplicationFactor => format!(
                "{code}: topics.replication_factor is {}, more than there are brokers",
                self.config
                    .topics
                    .replication_factor
                    .map_or("the brokers' default".to_owned(), |factor| factor.to_string())
            ),
            RDKafkaErrorCode::InvalidConfig => format!("{code}: see topics.config"),
            other => other.to_string(),
        }
    }

    async fn create(&self, admin: &Admin, topic: &str) -> Result<(), Failure> {
        let options = options().operation_timeout(Some(CREATION_TIMEOUT));
        self.create_with(admin, topic, &options).await?;
        tracing::info!(topic, partitions = self.config.topics.partitions, "topic created");
        Ok(())
    }

    /// The controller knows a new topic first; the brokers follow within milliseconds.
    async fn wait_until_visible(&self, admin: &Admin, topic: &str) -> Result<Listed, Failure> {
        let since = Instant::now();
        loop {
            if let Some(listed) = admin.look_up(&self.cluster, topic).await? {
                return Ok(listed);
            }
            if since.elapsed() > CREATION_TIMEOUT {
                let text = format!(
                    "topic {topic} was created on {} and is still not visible",
                    self.cluster.servers
                );
                return Err(Failure::transient("kafka_busy", text));
            }
            tokio::time::sleep(CREATION_POLL).await;
        }
    }

    /// An admin client is only told that nothing answered; this asks why.
    pub(crate) async fn explained(self: &Arc<Self>, failure: Failure) -> Failure {
        if failure.code != "kafka_unreachable" {
            return failure;
        }
        let shared = Arc::clone(self);
        let reason = tokio::task::spawn_blocking(move || match shared.probe() {
            Ok(client) => shared.closed_listener(&client),
            Err(reason) => Some(reason),
        });
        reason.await.ok().flatten().unwrap_or(failure)
    }

    /// Connects, and fails with what is said about each broker where none answers. Blocks.
    fn probe(&self) -> Result<BaseConsumer<Complaints>, Failure> {
        let config = properties::admin_config(&self.config);
        let config = config.map_err(|error| Failure::definite("invalid_config", error.to_string()))?;
        let client: KafkaResult<BaseConsumer<Complaints>> = config.create_with_context(self.complaints());
        let client = client.map_err(|error| self.cluster.failure_of(&error, None, ""))?;
        let ask = || {
            drop(client.poll(Duration::ZERO));
            client.client().fetch_cluster_id(CONNECT_POLL).is_some()
        };
        await_cluster(&self.cluster, client.context(), ask, &AtomicBool::new(false))?;
        Ok(client)
    }

    /// The bootstrap server answers, but what it advertises may not open from here. Blocks.
    fn closed_listener(&self, client: &BaseConsumer<Complaints>) -> Option<Failure> {
        let metadata = client.fetch_metadata(None, REQUEST_TIMEOUT).ok()?;
        let closed = brokers(&metadata).iter().find_map(|broker| broker.closed().err())?;
        Some(
            self.cluster
                .failure(RDKafkaErrorCode::BrokerTransportFailure, None, &closed),
        )
    }
}

// === impl Broker ===

impl Broker {
    /// Opens a connection and closes it again. Fails with the sentence that names the advertised address. Blocks.
    pub(crate) fn closed(&self) -> Result<(), String> {
        let Self { id, address } = self;
        let opened = address.to_socket_addrs().and_then(|addresses| {
            let mut last = std::io::Error::other("the name has no address");
            for address in addresses {
                match TcpStream::connect_timeout(&address, LISTENER_TIMEOUT) {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        });
        opened.map_err(|error| format!("broker {id} advertises {address}, which does not open from here: {error}"))
    }
}

fn brokers(metadata: &Metadata) -> Vec<Broker> {
    let address = |broker: &MetadataBroker| {
        let host = broker.host();
        if host.contains(':') {
            format!("[{host}]:{}", broker.port())
        } else {
            format!("{host}:{}", broker.port())
        }
    };
    metadata
        .brokers()
        .iter()
        .map(|broker| Broker {
            id: broker.id(),
            address: address(broker),
        })
        .collect()
}

// === impl Admin ===

impl Admin {
    fn open(shared: &Shared) -> Result<Self, Failure> {
        let config = properties::admin_config(&shared.config);
        let config = config.map_err(|error| Failure::definite("invalid_config", error.to_string()))?;
        let client = config.create_with_context(shared.complaints());
        let client = client.map_err(|error| shared.cluster.failure_of(&error, None, ""))?;
        Ok(Self {
            client: Arc::new(client),
        })
    }

    /// One topic, or `None` where it does not exist.
    pub(crate) async fn look_up(&self, cluster: &Cluster, topic: &str) -> Result<Option<Listed>, Failure> {
        let found = self.metadata(cluster, Some(topic.to_owned())).await?;
        Ok(found.topics.into_iter().next())
    }

    /// Every broker, and every topic that this principal may see.
    pub(crate) async fn overview(&self, cluster: &Cluster) -> Result<Overview, Failure> {
        self.metadata(cluster, None).await
    }

    async fn metadata(&self, cluster: &Cluster, topic: Option<String>) -> Result<Overview, Failure> {
        let client = Arc::clone(&self.client);
        let (cluster, place) = (cluster.clone(), cluster);
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = client.inner().fetch_metadata(topic.as_deref(), REQUEST_TIMEOUT);
            let metadata = metadata.map_err(|error| cluster.failure_of(&error, topic.as_deref(), ""))?;
            let mut found = Overview {
                brokers: brokers(&metadata),
                topics: Vec::new(),
            };
            for listed in metadata.topics() {
                match listed.error().map(RDKafkaErrorCode::from) {
                    None => found.topics.push(Listed {
                        name: listed.name().to_owned(),
                        partitions: listed.partitions().len(),
                        replicas: listed.partitions().first().map_or(0, |first| first.replicas().len()),
                    }),
                    Some(code) if Class::of(code) == Class::TopicMissing => {}
                    Some(code) if topic.is_some() => return Err(cluster.failure(code, topic.as_deref(), "")),
                    Some(_) => {} // In a list of all topics, one that cannot be described is left out.
                }
            }
            Ok(found)
        });
        asked
            .await
            .unwrap_or_else(|_| Err(place.abandoned("the request for metadata")))
    }

    /// Configuration in effect, defaults included; `None` where the broker does not tell us.
    pub(crate) async fn describe(
        &self,
        cluster: &Cluster,
        resource: ResourceSpecifier<'_>,
    ) -> Result<Option<ConfigResource>, Failure> {
        let topic = match resource {
            ResourceSpecifier::Topic(name) => Some(name),
            ResourceSpecifier::Group(_) | ResourceSpecifier::Broker(_) => None,
        };
        let code = match self.client.describe_configs([&resource], &options()).await {
            Ok(results) => match results.into_iter().next() {
                Some(Ok(config)) => return Ok(Some(config)),
                Some(Err(code)) => code,
                None => return Ok(None),
            },
            Err(error) => match code_of(&error) {
                Some(code) => code,
                None => return Err(cluster.failure_of(&error, topic, "")),
            },
        };
        match Class::of(code) {
            // Without DescribeConfigs on the topic the broker's own check has to do.
            Class::Unauthorized | Class::Unsupported | Class::TopicMissing => Ok(None),
            _ => Err(cluster.failure(code, topic, "")),
        }
    }
}

/// Options of every admin request.
pub(crate) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT))
}

/// A number of a configuration.
pub(crate) fn number(config: &ConfigResource, name: &str) -> Option<usize> {
    config.get(name)?.value.as_deref()?.parse().ok()
}
