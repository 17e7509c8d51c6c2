//! What Kafka's and librdkafka's errors mean for us: one table, and the sentences that an operator acts on.
//!
//! librdkafka retries what can be retried by itself, without end (`message.timeout.ms=0`). An error that reaches this
//! table is therefore the end of one producer: the pipeline throws it away and replays from the last checkpoint.
//! Sending a single failed record again is never an option, because later records of its key are already out
//! (librdkafka, INTRODUCTION.md, "Idempotent Producer").

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tailrace_core::Error;
use tailrace_core::error::Kind;

use crate::quote::word;

/// Which cluster is spoken to, as whom: the nouns of every sentence.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// The configured bootstrap servers, separated by commas.
    pub servers: String,
    /// The SASL user; `None` where the broker derives the principal from a certificate or has none.
    pub user: Option<String>,
}

/// What went wrong, before it becomes an [`Error`]: it can be told to several batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What it means for the pipeline.
    pub kind: Kind,
    /// Stable name.
    pub code: &'static str,
    /// One sentence: what, where, remedy.
    pub message: String,
}

/// Families of errors that an operator would treat alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing answers, or it stopped answering.
    Unreachable,
    /// The broker does not believe who we are.
    Authentication,
    /// The broker knows who we are and refuses the topic, the group or the cluster.
    Unauthorized,
    /// No such topic or partition.
    TopicMissing,
    /// One record or one batch of them is over the topic's limit.
    TooLarge,
    /// The record's timestamp is outside of what the topic takes.
    Timestamp,
    /// Fewer replicas in sync than `min.insync.replicas`.
    Replicas,
    /// A leader, coordinator or controller is changing.
    Moving,
    /// The broker has no room for us right now.
    Busy,
    /// The broker's memory of this producer and ours differ: only a new producer may go on.
    ProducerState,
    /// A newer instance has taken over.
    Fenced,
    /// The broker will say no again: policy, validation, configuration.
    Refused,
    /// Broker and client do not speak the same version.
    Unsupported,
    /// The consumer's position is not in the log any more.
    OffsetLost,
    /// Everything else, mostly librdkafka's own conditions.
    Other,
}

/// Which code belongs to which family. What is not here is [`Class::Other`]: librdkafka may grow codes, and what we do
/// not know is retried, visibly, because stopping for good on a new transient code would be an outage of our making.
const TABLE: &[(Class, &[Code])] = &[
    // Sockets, names, time: all of it passes, and all of it may also be a wrong address.
    (
        Class::Unreachable,
        &[
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::Resolve,
            Code::NetworkException,
            Code::BrokerNotAvailable,
            Code::OperationTimedOut,
            Code::RequestTimedOut,
            Code::MessageTimedOut,
            Code::TimedOutQueue,
            Code::UnknownBroker,
            Code::ListenerNotFound,
            Code::BrokerDestroy,
            Code::DestroyBroker,
            Code::RebootstrapRequired,
            // A TLS handshake fails for wrong authorities and for expired certificates: both are rotated from outside.
            Code::SSL,
        ],
    ),
    (
        Class::Authentication,
        &[
            Code::Authentication,
            Code::SaslAuthenticationFailed,
            Code::UnsupportedSASLMechanism,
            Code::IllegalSASLState,
            Code::SecurityDisabled,
            Code::DelegationTokenExpired,
            Code::DelegationTokenNotFound,
        ],
    ),
    (
        Class::Unauthorized,
        &[
            Code::TopicAuthorizationFailed,
            Code::GroupAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
        ],
    ),
    (
        Class::TopicMissing,
        &[
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::UnknownTopicOrPartition,
            Code::UnknownTopicId,
        ],
    ),
    (
        Class::TooLarge,
        &[
            Code::MessageSizeTooLarge,
            Code::MessageBatchTooLarge,
            Code::InvalidMessageSize,
        ],
    ),
    (Class::Timestamp, &[Code::InvalidTimestamp]),
    (
        Class::Replicas,
        &[
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::ISRInsufficient,
        ],
    ),
    (
        Class::Moving,
        &[
            Code::NotLeaderForPartition,
            Code::LeaderNotAvailable,
            Code::ReplicaNotAvailable,
            Code::FencedLeaderEpoch,
            Code::UnknownLeaderEpoch,
            Code::PreferredLeaderNotAvailable,
            Code::EligibleLeadersNotAvailable,
            Code::NotController,
            Code::NotCoordinator,
            Code::CoordinatorNotAvailable,
            Code::CoordinatorLoadInProgress,
            Code::WaitingForCoordinator,
            Code::StaleControllerEpoch,
            Code::StaleBrokerEpoch,
            Code::ReassignmentInProgress,
            Code::OffsetNotAvailable,
            Code::WaitCache,
        ],
    ),
    // A full or failing log directory is in this family on purpose: brokers recover from it by moving leaders.
    (
        Class::Busy,
        &[
            Code::KafkaStorageError,
            Code::ThrottlingQuotaExceeded,
            Code::QueueFull,
            Code::CriticalSystemResource,
            Code::FileSystem,
            Code::Retry,
            Code::InProgress,
            Code::PreviousInProgress,
            Code::Interrupted,
            Code::RebalanceInProgress,
            Code::AssignmentLost,
        ],
    ),
    // Idempotence: sequence and epoch belong to one producer instance. A fresh one plus a replay is always right.
    (
        Class::ProducerState,
        &[
            Code::OutOfOrderSequenceNumber,
            Code::DuplicateSequenceNumber,
            Code::UnknownProducerId,
            Code::InvalidProducerEpoch,
            Code::InvalidProducerIdMapping,
            Code::GaplessGuarantee,
            Code::Inconsistent,
            Code::Fatal,
            Code::PurgeQueue,
            Code::PurgeInflight,
            // Another record of the same batch was bad; which one, the broker said there.
            Code::InvalidDifferentRecord,
        ],
    ),
    (
        Class::Fenced,
        &[
            Code::Fenced,
            Code::ProducerFenced,
            Code::FencedInstanceId,
            Code::TransactionCoordinatorFenced,
        ],
    ),
    // Corrupt bytes on the way are re-sent by librdkafka; when it gives up, a new connection is the remedy.
    (
        Class::Unreachable,
        &[
            Code::InvalidMessage,
            Code::BadMessage,
            Code::BadCompression,
            Code::Underflow,
        ],
    ),
    (
        Class::Refused,
        &[
            Code::PolicyViolation,
            Code::InvalidRecord,
            Code::InvalidConfig,
            Code::InvalidTopic,
            Code::InvalidPartitions,
            Code::InvalidReplicationFactor,
            Code::InvalidReplicaAssignment,
            Code::InvalidRequiredAcks,
            Code::InvalidRequest,
            Code::InvalidArgument,
            Code::InvalidGroupId,
        ],
    ),
    (
        Class::Unsupported,
        &[
            Code::UnsupportedVersion,
            Code::UnsupportedFeature,
            Code::UnsupportedForMessageFormat,
            Code::UnsupportedCompressionType,
            Code::NotImplemented,
            Code::UnknownProtocol,
        ],
    ),
    (
        Class::OffsetLost,
        &[Code::OffsetOutOfRange, Code::AutoOffsetReset, Code::LogTruncation],
    ),
];

// === impl Class ===

impl Class {
    /// The family of a code.
    pub(crate) fn of(code: Code) -> Self {
        TABLE
            .iter()
            .find(|(_, codes)| codes.contains(&code))
            .map_or(Self::Other, |(class, _)| *class)
    }

    fn kind(self) -> Kind {
        match self {
            Self::Unreachable
            | Self::Authentication
            | Self::Unauthorized
            | Self::Replicas
            | Self::Moving
            | Self::Busy
            | Self::ProducerState
            | Self::Other => Kind::Transient,
            Self::TopicMissing
            | Self::TooLarge
            | Self::Timestamp
            | Self::Refused
            | Self::Unsupported
            | Self::OffsetLost => Kind::Definite,
            Self::Fenced => Kind::Fenced,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "kafka_unreachable",
            Self::Authentication => "kafka_authentication",
            Self::Unauthorized => "kafka_unauthorized",
            Self::TopicMissing => "topic_missing",
            Self::TooLarge => "message_too_large",
            Self::Timestamp => "invalid_timestamp",
            Self::Replicas => "kafka_not_enough_replicas",
            Self::Moving => "kafka_leader_moved",
            Self::Busy => "kafka_busy",
            Self::ProducerState => "kafka_producer_state",
            Self::Fenced => "kafka_fenced",
            Self::Refused => "kafka_refused",
            Self::Unsupported => "kafka_unsupported",
            Self::OffsetLost => "offset_lost",
            Self::Other => "kafka_error",
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// The principal as it may be put into an ACL.
    pub(crate) fn principal(&self) -> String {
        self.user
            .as_deref()
            .map_or_else(|| "this client's principal".to_owned(), |user| format!("User:{user}"))
    }

    /// Something was begun and never came to an end: only a process that shuts down, or a defect, does that.
    pub(crate) fn abandoned(&self, what: &str) -> Failure {
        let message = format!(
            "{what} on {} ended before it was done, because the process is shutting down or by a defect, of which the log \
             then has the panic; it is tried again",
            self.servers
        );
        Failure::transient("kafka_error", message)
    }

    /// Classifies one error. `topic` where one is concerned, `detail` what librdkafka said beyond the code.
    pub(crate) fn failure(&self, code: Code, topic: Option<&str>, detail: &str) -> Failure {
        let class = Class::of(code);
        if code == Code::ClusterAuthorizationFailed {
            return Failure::transient(class.code(), self.idempotence_sentence(detail));
        }
        let said = if detail.is_empty() {
            format!("{code}")
        } else {
            detail.to_owned()
        };
        Failure {
            kind: class.kind(),
            code: class.code(),
            message: self.sentence(class, topic, &said),
        }
    }

    /// Classifies what an rdkafka call returned.
    pub(crate) fn failure_of(&self, error: &KafkaError, topic: Option<&str>, detail: &str) -> Failure {
        match code_of(error) {
            Some(code) => self.failure(code, topic, detail),
            None => Failure {
                kind: Kind::Definite,
                code: "kafka_client",
                message: format!(
                    "the Kafka client for {} cannot work as configured: {}",
                    self.servers,
                    without_value(error)
                ),
            },
        }
    }

    /// Topics or the group may not be used for reading.
    pub(crate) fn may_not_read(&self, topics: &str, group: &str, said: &str) -> Failure {
        let message = format!(
            "Kafka at {} does not let {} read {topics} as group {group} ({said}); grant it, for each topic: {} --operation Read --operation \
             Describe --topic TOPIC --group {}",
            self.servers,
            self.principal(),
            self.allowing(),
            word(group)
        );
        Failure::transient(Class::Unauthorized.code(), message)
    }

    /// Brokers since 2.8 let everybody write idempotently who may write to any topic; older ones want it granted.
    fn idempotence_sentence(&self, said: &str) -> String {
        format!(
            "Kafka at {} does not let {} write ({said}); grant it Write on its topics, and for brokers before 2.8 also: {} \
             --operation IdempotentWrite --cluster",
            self.servers,
            self.principal(),
            self.allowing()
        )
    }

    /// How a command begins that lets us do something.
    fn allowing(&self) -> String {
        let user = self.user.as_deref().unwrap_or("NAME");
        format!(
            "kafka-acls.sh --bootstrap-server {} --add --allow-principal {}",
            word(&self.servers),
            word(&format!("User:{user}"))
        )
    }

    fn sentence(&self, class: Class, topic: Option<&str>, said: &str) -> String {
        let servers = &self.servers;
        let topic = topic.unwrap_or("(unnamed)");
        match class {
            Class::Unreachable => format!(
                "Kafka at {servers} cannot be reached ({said}); check that the brokers run, that bootstrap_servers is right, \
                 that the host and port they advertise (advertised.listeners) resolve and open from here, and that tls and \
                 sasl are what that listener expects"
            ),
            Class::Authentication => format!(
                "Kafka at {servers} does not accept the credentials of {} ({said}); check sasl.mechanism, user, password \
                 and the client certificate",
                self.principal()
            ),
            Class::Unauthorized => format!(
                "Kafka at {servers} does not let {} use topic {topic} ({said}); grant it, for example: {} --operation Write \
                 --operation Describe --operation DescribeConfigs --operation Create --topic {topic}",
                self.principal(),
                self.allowing()
            ),
            Class::TopicMissing => format!(
                "topic {topic} (or one of its partitions) does not exist on {servers} ({said}); it was never created, or \
                 was deleted while in use; create it with kafka-topics.sh --bootstrap-server {} --create --topic \
                 {topic}, or set topics.create: true, and start the connector again",
                word(servers)
            ),
            Class::TooLarge => format!(
                "a record or batch for topic {topic} is larger than the topic takes ({said}); raise its limit with \
                 kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {topic} \
                 --add-config max.message.bytes=N, or leave the large column out",
                word(servers)
            ),
            Class::Timestamp => format!(
                "topic {topic} refuses the record's timestamp ({said}): it is further from the broker's clock than \
                 message.timestamp.before.max.ms or message.timestamp.after.max.ms allow; records carry the row's \
                 updated_at, so raise these limits on the topic, or correct the clock that wrote the row"
            ),
            Class::Replicas => format!(
                "topic {topic} on {servers} has fewer replicas in sync than min.insync.replicas ({said}); bring the \
                 missing brokers back"
            ),
            Class::Moving => format!("Kafka at {servers} is moving leadership ({said}); it usually settles by itself"),
            Class::Busy => {
                format!("Kafka at {servers} cannot take more right now ({said}); check its disks and quotas")
            }
            Class::ProducerState => format!(
                "the producer's sequence at {servers} broke off ({said}); a new producer replays from the last checkpoint"
            ),
            Class::Fenced => format!("another instance has taken over on {servers} ({said}); stop one of the two"),
            Class::Refused => format!(
                "Kafka at {servers} refuses the request for topic {topic} ({said}); change what it names: the same request \
                 would be refused again"
            ),
            Class::Unsupported => format!(
                "Kafka at {servers} does not support what this client needs for topic {topic} ({said}); brokers 2.1 or \
                 later are required, and compression.type must be one that they know"
            ),
            Class::OffsetLost => format!(
                "the stored offset of topic {topic} on {servers} is not in its log any more ({said}): records were \
                 removed by retention before they were read; choose a new start for the group explicitly"
            ),
            Class::Other => format!("Kafka at {servers} failed on topic {topic} ({said})"),
        }
    }
}

/// The code inside an rdkafka error; rdkafka itself leaves those of admin operations out.
pub(crate) fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// The text of a configuration error without the value, which may be a secret.
pub(crate) fn without_value(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, description, key, value) if !value.is_empty() => {
            format!("{key}: {}", description.replace(value.as_str(), "***"))
        }
        other => other.to_string(),
    }
}

// === impl Failure ===

impl Failure {
    /// An error that a retry may cure.
    pub(crate) fn transient(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Transient,
            code,
            message: message.into(),
        }
    }

    /// An error that needs a person.
    pub(crate) fn definite(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Definite,
            code,
            message: message.into(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Transient => Self::transient(failure.code, failure.message),
            Kind::Definite => Self::definite(failure.code, failure.message),
            Kind::Poison => Self::poison(failure.code, failure.message),
            Kind::Fenced => Self::fenced(failure.code, failure.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        Cluster {
            servers: "b1:9092".to_owned(),
            user: Some("cdc".to_owned()),
        }
    }

    #[test]
    fn each_error_of_the_failure_matrix_has_its_kind_and_code() {
        let table = [
            (Code::AllBrokersDown, Kind::Transient, "kafka_unreachable"),
            (Code::BrokerTransportFailure, Kind::Transient, "kafka_unreachable"),
            (Code::Resolve, Kind::Transient, "kafka_unreachable"),
            (Code::MessageTimedOut, Kind::Transient, "kafka_unreachable"),
            (Code::Authentication, Kind::Transient, "kafka_authentication"),
            (Code::SaslAuthenticationFailed, Kind::Transient, "kafka_authentication"),
            (Code::TopicAuthorizationFailed, Kind::Transient, "kafka_unauthorized"),
            (Code::UnknownTopicOrPartition, Kind::Definite, "topic_missing"),
            (Code::UnknownTopic, Kind::Definite, "topic_missing"),
            (Code::MessageSizeTooLarge, Kind::Definite, "message_too_large"),
            (Code::InvalidTimestamp, Kind::Definite, "invalid_timestamp"),
            (Code::NotEnoughReplicas, Kind::Transient, "kafka_not_enough_replicas"),
            (Code::NotLeaderForPartition, Kind::Transient, "kafka_leader_moved"),
            (Code::KafkaStorageError, Kind::Transient, "kafka_busy"),
            (Code::OutOfOrderSequenceNumber, Kind::Transient, "kafka_producer_state"),
            (Code::UnknownProducerId, Kind::Transient, "kafka_producer_state"),
            (Code::Fatal, Kind::Transient, "kafka_producer_state"),
            (Code::Fenced, Kind::Fenced, "kafka_fenced"),
            (Code::ProducerFenced, Kind::Fenced, "kafka_fenced"),
            (Code::PolicyViolation, Kind::Definite, "kafka_refused"),
            (Code::UnsupportedCompressionType, Kind::Definite, "kafka_unsupported"),
            (Code::Unknown, Kind::Transient, "kafka_error"),
        ];
        for (code, kind, name) in table {
            let failure = cluster().failure(code, Some("orders"), "");
            assert_eq!((failure.kind, failure.code), (kind, name), "{code:?}");
            assert!(
                failure.message.contains("b1:9092") || failure.message.contains("orders"),
                "{}",
                failure.message
            );
            let error = Error::from(failure);
            assert_eq!((error.kind(), error.code()), (kind, name));
        }
    }

    #[test]
    fn no_code_is_in_two_families() {
        let mut all: Vec<i32> = TABLE
            .iter()
            .flat_map(|(_, codes)| codes.iter().map(|code| *code as i32))
            .collect();
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), before);
    }

    #[test]
    fn authorization_names_principal_topic_and_the_command() {
        let failure = cluster().failure(Code::TopicAuthorizationFailed, Some("orders"), "");
        assert!(failure.message.contains("User:cdc"), "{}", failure.message);
        assert!(
            failure.message.contains("kafka-acls.sh --bootstrap-server b1:9092"),
            "{}",
            failure.message
        );
        assert!(failure.message.contains("--topic orders"), "{}", failure.message);
    }

    #[test]
    fn a_cluster_that_forbids_idempotence_is_told_with_its_command() {
        let failure = cluster().failure(Code::ClusterAuthorizationFailed, None, "Cluster authorization failed");
        assert_eq!((failure.kind, failure.code), (Kind::Transient, "kafka_unauthorized"));
        assert!(
            failure
                .message
                .contains("--allow-principal User:cdc --operation IdempotentWrite"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn configuration_errors_do_not_repeat_the_value() {
        let refused = rdkafka::ClientConfig::new()
            .set("security.protocol", "hunter2")
            .create_native_config()
            .map(|_| ())
            .unwrap_err();
        let failure = cluster().failure_of(&refused, None, "");
        assert_eq!((failure.kind, failure.code), (Kind::Definite, "kafka_client"));
        assert!(failure.message.contains("security.protocol"), "{}", failure.message);
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
    }
}
