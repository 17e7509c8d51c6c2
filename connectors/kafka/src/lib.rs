//! The Kafka event stream: producing, consuming, topics.
//!
//! [`KafkaStream`] is made from a [`KafkaStreamConfig`] and connects to nothing before a method is called.

mod check;
mod client;
mod config;
mod consumer;
mod error;
mod grants;
mod ledger;
mod producer;
mod properties;
mod quote;
mod reader;
mod subscription;
#[cfg(test)]
mod tests;
mod topics;
mod watch;
mod watchdog;

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::check::Finding;
use tailrace_core::grants::{Script, TopicUse};
use tailrace_core::ports::sink::{Subscription, SubscriptionSpec};
use tailrace_core::ports::{Consumer, ConsumerSpec, EventStream, Producer, TopicSpec};
use tailrace_core::{Error, Result};

pub use config::{
    CleanupPolicy, DEFAULT_CLEANUP_POLICY, DEFAULT_PARTITIONS, KafkaStreamConfig, PropertyValue, SaslConfig,
    SaslMechanism, TlsConfig, TopicsConfig,
};

use consumer::KafkaConsumer;
use producer::KafkaProducer;
use subscription::KafkaSubscription;
use topics::Shared;

/// A Kafka cluster as an event stream.
#[derive(Debug, Clone)]
pub struct KafkaStream {
    shared: Arc<Shared>,
}

// === impl KafkaStream ===

impl KafkaStream {
    /// Takes a configuration. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// `invalid_config`, with every problem in one sentence each.
    pub fn new(config: KafkaStreamConfig) -> Result<Self> {
        let problems = properties::problems(&config);
        if problems.is_empty() {
            return Ok(Self {
                shared: Arc::new(Shared::new(config)),
            });
        }
        Err(Error::definite("invalid_config", problems.join("; ")))
    }
}

#[async_trait]
impl EventStream for KafkaStream {
    async fn check(&self, topics: &[TopicSpec]) -> Vec<Finding> {
        check::check(&self.shared, topics).await
    }

    fn grants(&self, uses: &[TopicUse]) -> Script {
        grants::of_stream(&self.shared, uses)
    }

    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<()> {
        self.shared.ensure(topic).await
    }

    async fn producer(&self) -> Result<Box<dyn Producer>> {
        Ok(Box::new(KafkaProducer::connect(&self.shared).await?))
    }

    async fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(KafkaConsumer::connect(&self.shared, spec).await?))
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(KafkaSubscription::connect(&self.shared, spec).await?))
    }

    async fn topics(&self) -> Result<Vec<String>> {
        let admin = self.shared.admin().await?;
        let overview = match admin.overview(&self.shared.cluster).await {
            Ok(overview) => overview,
            Err(failure) => return Err(self.shared.explained(failure).await.into()),
        };
        let mut names: Vec<String> = overview.topics.into_iter().map(|topic| topic.name).collect();
        names.sort_unstable();
        Ok(names)
    }
}
