//! What is done with an event that cannot be carried, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Maximum;

/// Enough for a bad column of a busy table to be seen by a person, and far from filling a disk.
const MAXIMUM_COUNT: u64 = 1000;
/// As much as the state may grow by.
const MAXIMUM_BYTES: u64 = 64 << 20;
/// Where dead letters are published by default.
pub const DEFAULT_TOPIC: &str = "{prefix}.dead_letters";

/// What is done with an event that cannot be carried. A failure that is not about one event always stops the connector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterConfig {
    /// What is done. With `topic` and `store` every other event goes on in order.
    #[serde(default)]
    pub policy: LetterPolicy,

    /// The topic of `policy: topic`; `{prefix}` is replaced by the connector's prefix. Default: `{prefix}.dead_letters`.
    #[serde(default = "topic")]
    pub topic: String,

    /// Whether later events of the same key wait behind a dead letter.
    #[serde(default)]
    pub order: LetterOrder,

    /// The connector halts rather than let more letters wait than this. Default: 1000.
    #[serde(default = "maximum_count")]
    pub maximum_count: u64,

    /// The connector halts rather than let letters of more bytes wait than this. Default: 67108864.
    #[serde(default = "maximum_bytes")]
    pub maximum_bytes: u64,
}

/// What is done with an event that cannot be carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LetterPolicy {
    /// The connector halts, and says which event and why. Nothing is passed over.
    #[default]
    Halt,
    /// It is kept in the state, from which it can be shown, replayed and dropped, and a copy is published.
    Topic,
    /// It is kept in the state, from which it can be shown, replayed and dropped.
    Store,
}

/// Which order is kept around dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LetterOrder {
    /// None: later events of the same key go on, and a replay comes after them.
    #[default]
    None,
    /// Later events of the same key become letters too, until the ones before them were replayed or dropped.
    Key,
}

fn topic() -> String {
    DEFAULT_TOPIC.to_owned()
}

fn maximum_count() -> u64 {
    MAXIMUM_COUNT
}

fn maximum_bytes() -> u64 {
    MAXIMUM_BYTES
}

// === impl DeadLetterConfig ===

impl Default for DeadLetterConfig {
    fn default() -> Self {
        Self {
            policy: LetterPolicy::default(),
            topic: topic(),
            order: LetterOrder::default(),
            maximum_count: maximum_count(),
            maximum_bytes: maximum_bytes(),
        }
    }
}

impl DeadLetterConfig {
    /// How much may wait.
    pub fn maximum(&self) -> Maximum {
        Maximum {
            letters: self.maximum_count,
            bytes: self.maximum_bytes,
        }
    }
}
