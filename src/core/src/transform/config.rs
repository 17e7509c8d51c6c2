//! Transforms as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::Secret;

/// Rules that changes of a connector go through, in order; each table follows every rule that selects it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransformConfig {
    /// The rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Tables that the rule is for: `public.orders`, `public.order_*`. All tables where it is left out.
    #[serde(default)]
    pub tables: Option<Vec<String>>,
    /// Leaves the tables out altogether.
    #[serde(default)]
    pub drop: bool,
    /// Only these columns; the key's columns always stay.
    #[serde(default)]
    pub include_columns: Option<Vec<String>>,
    /// Without these columns; a column of the key is refused.
    #[serde(default)]
    pub exclude_columns: Vec<String>,
    /// New names of columns: `old: new`.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Columns whose values are written as another type, by their names before `rename`: `column: type`. Types: `boolean`, `int16`,
    /// `int32`, `int64`, `float64`, `decimal`, `decimal(P,S)`, `text`, `json`, `uuid`, `date`, `timestamp`, `timestamptz`. NULL stays
    /// NULL; a value without an equal of the type is refused, never rounded or cut.
    #[serde(default)]
    pub cast: BTreeMap<String, String>,
    /// Columns whose values nobody may see, and what stands there instead. A masked column is text; NULL stays NULL.
    #[serde(default)]
    pub mask: BTreeMap<String, Mask>,
    /// Row filter: rows stay for which every condition holds.
    #[serde(default, rename = "where")]
    pub conditions: Vec<Condition>,
    /// Sends the tables' events to another topic than the connector's template says.
    #[serde(default)]
    pub route: Option<Route>,
}

/// What stands in place of a value. Exactly one of the three.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Always this text.
    #[serde(default)]
    pub fixed: Option<String>,
    /// SHA-256 of salt and value, in hexadecimal: equal values stay equal, and nothing else can be seen.
    #[serde(default)]
    pub hash_salt: Option<Secret>,
    /// The first so many characters.
    #[serde(default)]
    pub truncate_characters: Option<usize>,
}

/// One condition on one column; all that are given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The column, by its name in the database.
    pub column: String,
    /// The value, as text, is one of these.
    #[serde(default, rename = "in")]
    pub one_of: Option<Vec<String>>,
    /// The value, as text, is none of these.
    #[serde(default, rename = "not_in")]
    pub none_of: Option<Vec<String>>,
    /// The value is NULL, or is not.
    #[serde(default)]
    pub is_null: Option<bool>,
    /// The value, as text, contains a match of this regular expression.
    #[serde(default)]
    pub matches: Option<String>,
}

/// Another topic for a table, from its qualified name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Regular expression over `schema.table`.
    pub pattern: String,
    /// The topic; `$1` stands for the pattern's first group.
    pub topic: String,
}
