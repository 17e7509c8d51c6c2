//! Kafka Connect's REST interface, as its tools expect it: paths, verbs, codes and bodies.
//!
//! | Kafka Connect | here |
//! |---|---|
//! | a connector and its tasks | a connector is one task, number 0, whose state is the connector's |
//! | RUNNING | starting, snapshotting, streaming |
//! | RESTARTING | degraded: the next attempt comes by itself |
//! | PAUSED, STOPPED | as wanted, when nothing of it goes on any more; a connector that has nothing more to do is stopped, too |
//! | FAILED | halted, or ended because somebody else has its work; the trace is the reason, in words |
//! | a class | `tailrace.source.postgres`, `tailrace.sink.mysql`, … |
//!
//! Sources: the resources of `org.apache.kafka.connect.runtime.rest` in Apache Kafka 4.

mod connectors;
mod loggers;
mod offsets;
mod plugins;
mod state;
mod tasks;

pub(super) use self::connectors::{class_of, kind_of, written};
use super::operation::Operation;

/// What can be asked as of Kafka Connect.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = connectors::operations();
    all.extend(tasks::operations());
    all.extend(offsets::operations());
    all.extend(plugins::operations());
    all.extend(loggers::operations());
    all
}

/// Where it stands in the documentation.
const TAG: &str = "Kafka Connect";
