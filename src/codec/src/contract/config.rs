//! The `contract` section of a connector, as written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::registry::Compatibility;
use tailrace_core::setting::LocalFile;

/// What is done where a table changes so that readers of its events would break.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnIncompatible {
    /// The connector halts before the first event of the new version, and says which readers break, at which column, and the
    /// ways out. The default: nobody is broken, and nothing is lost.
    #[default]
    Halt,
    /// Events go to a new topic from there on: `orders.v2` after `orders`. The old topic keeps what is in it and is marked as
    /// deprecated.
    NewTopic,
    /// Events of the new version are set aside as dead letters, and can be replayed once the contract allows them. Needs
    /// `dead_letters: { policy: store }` or `topic`.
    DeadLetter,
    /// The columns that break readers are left out, as long as readers can do without them; otherwise the connector halts.
    IgnoreColumn,
}

/// What readers of a connector's topics may rely on, and what is said about the topics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContractConfig {
    /// Which versions of a topic's schemas must be able to read which others. Decided before anything is published, and
    /// by the registry besides. `full` where left out, unless the embedded registry was told another level for the subject.
    pub compatibility: Option<Compatibility>,
    /// What is done where a table changes so that readers of its events would break.
    pub on_incompatible: OnIncompatible,
    /// Who answers for the topics: a person, a team, an address.
    pub owner: Option<String>,
    /// Columns that have one of these tags must be masked or left out by a rule of `transforms`; the connector does not publish
    /// them otherwise.
    pub masked_tags: Vec<String>,
    /// Topics that there is more to say about, by name.
    pub topics: BTreeMap<String, TopicContractConfig>,
}

/// What is said about one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopicContractConfig {
    /// The schema that events must meet: an Avro record (`.avsc`) or a JSON Schema (any other name) of the row, whatever the
    /// codec. Only the columns that it names are published, in its order where it is Avro.
    #[schemars(with = "Option<LocalFile>")]
    pub file: Option<PathBuf>,
    /// Who answers for this topic.
    pub owner: Option<String>,
    /// What makes an event happen, in words.
    pub trigger: Option<String>,
    /// What an event is, in words; in place of the table's comment.
    pub documentation: Option<String>,
    /// Words about the topic: `financial`, `namespace:sales`, `deprecated`, anything.
    pub tags: Vec<String>,
    /// Columns that there is more to say about, by the name that they are published under.
    pub columns: BTreeMap<String, ColumnContractConfig>,
}

/// What is said about one column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnContractConfig {
    /// What it means, in words; in place of the column's comment.
    pub documentation: Option<String>,
    /// Words about the column: `pii`, anything.
    pub tags: Vec<String>,
}
