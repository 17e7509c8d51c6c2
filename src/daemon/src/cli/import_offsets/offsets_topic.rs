//! The topic in which a cluster of Kafka Connect workers keeps offsets, read from its beginning to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tailrace_core::ports::sink::{Delivery, StartAt, Subscription, SubscriptionSpec};
use tailrace_core::ports::{EventStream, StartOffset};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::{Error, Result};
use tailrace_kafka::{KafkaStream, KafkaStreamConfig};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::Stored;
use crate::cli::Failure;
use crate::config::fault::suggestion;
use crate::config::plan::{ConnectorPlan, Plan};

/// The group that reads; nothing is stored under it.
const GROUP: &str = "tailrace-import-offsets";
/// A cluster needs some seconds to make somebody the member of a group.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(30);
/// The last records of a partition may be none that readers see: a worker's transactions end with such ones. Nobody says so; a
/// stream without a record for so long is at its end. Were it not, an older offset would be found, and changes come again.
const SILENCE: Duration = Duration::from_secs(5);
const RECORDS: usize = 4_096;

/// The brokers to ask: those that are named, or those of the connector's stream.
pub(super) fn stream(
    plan: &Plan,
    connector: &ConnectorPlan,
    bootstrap_servers: &[String],
) -> Result<Arc<dyn EventStream>, Failure> {
    if !bootstrap_servers.is_empty() {
        let config: KafkaStreamConfig = serde_json::from_value(json!({ "bootstrap_servers": bootstrap_servers }))
            .map_err(|error| Failure::Usage(format!("--bootstrap-servers is not right: {error}")))?;
        return Ok(Arc::new(KafkaStream::new(config)?));
    }
    let stream = plan.stream_of(connector)?;
    if stream.kind() != "kafka" {
        return Err(Failure::Usage(format!(
            "the stream `{}` of the connector is not in Kafka; name the brokers of Kafka Connect with --bootstrap-servers",
            connector.stream
        )));
    }
    Ok(stream.connect()?)
}

/// Every record of the topic, in the order of each partition.
///
/// # Errors
/// Definite `topic_missing`; transient `group_waits`; what the cluster answers.
pub(super) async fn read(stream: &dyn EventStream, topic: &str) -> Result<Vec<Stored>> {
    let known = stream.topics().await?;
    if !known.iter().any(|known| known == topic) {
        let message = format!("there is no topic `{topic}`; {}", suggestion(topic, &known));
        return Err(Error::definite("topic_missing", message));
    }
    let spec = SubscriptionSpec {
        topics: vec![topic.to_owned()],
        group: GROUP.to_owned(),
        connector: GROUP.to_owned(),
        offsets_table: String::new(),
    };
    let mut subscription = stream.subscribe(spec).await?;
    let partitions = assigned(&mut *subscription, topic).await?;
    let all = |at: StartOffset| -> Vec<(TopicPartition, StartAt)> {
        let partitions = partitions.iter();
        partitions
            .map(|partition| (partition.clone(), StartAt::Unknown(at)))
            .collect()
    };
    let ends = subscription.start(&all(StartOffset::Latest)).await?;
    let begins = subscription.start(&all(StartOffset::Earliest)).await?;
    let bounds = partitions.iter().cloned().zip(begins.into_iter().zip(ends));
    let mut open: BTreeMap<TopicPartition, i64> = bounds
        .filter(|(_, (begin, end))| begin < end)
        .map(|(partition, (_, end))| (partition, end))
        .collect();
    let mut stored = Vec::new();
    while !open.is_empty() {
        let Ok(delivery) = timeout(SILENCE, subscription.next(RECORDS)).await else {
            break;
        };
        let Some(records) = records_of(delivery?)? else {
            continue;
        };
        for record in records.iter() {
            let key = record.key().unwrap_or_default().to_vec();
            stored.push((key, record.value().map(<[u8]>::to_vec)));
            if open
                .get(record.partition())
                .is_some_and(|end| record.offset() + 1 >= *end)
            {
                open.remove(record.partition());
            }
        }
    }
    Ok(stored)
}

async fn assigned(subscription: &mut dyn Subscription, topic: &str) -> Result<Vec<TopicPartition>> {
    let deadline = Instant::now() + ASSIGNED_WITHIN;
    loop {
        match timeout_at(deadline, subscription.next(0)).await {
            Ok(delivery) => match delivery? {
                Delivery::Assigned(partitions) if !partitions.is_empty() => return Ok(partitions),
                Delivery::Assigned(_) | Delivery::Revoked(_) | Delivery::Lost(_) | Delivery::Records(_) => {}
            },
            Err(_) => return Err(group_waits(&format!("has not given the topic {topic} to"))),
        }
    }
}

fn records_of(delivery: Delivery) -> Result<Option<tailrace_core::record_batch::RecordBatch>> {
    match delivery {
        Delivery::Records(records) => Ok(Some(records)),
        Delivery::Assigned(_) => Ok(None),
        Delivery::Revoked(_) | Delivery::Lost(_) => Err(group_waits("has taken partitions from")),
    }
}

fn group_waits(what: &str) -> Error {
    let message = format!("the cluster {what} the group {GROUP}: does another import run? try again when it has ended");
    Error::transient("group_waits", message)
}
