//! The terms of contracts: what the configuration and the files that it names say about topics, and what becomes of a table's
//! publication under them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tailrace_core::registry::Compatibility;
use tailrace_core::schema::{Column, SharedSchema};
use tailrace_core::value::LogicalType;
use tailrace_core::{Error, Result};

use super::config::{ContractConfig, OnIncompatible, TopicContractConfig};
use super::written::{WrittenContract, WrittenField};
use crate::format::Envelope;
use crate::names::mangle;
use crate::publication::{Destination, Publication, Published};

/// The tag of a topic that should not be read any more.
pub(crate) const DEPRECATED: &str = "deprecated";

/// The contracts of a connector's topics.
#[derive(Debug, Clone, Default)]
pub struct Contracts {
    pub(crate) compatibility: Option<Compatibility>,
    pub(crate) on_incompatible: OnIncompatible,
    masked_tags: BTreeSet<String>,
    /// Of topics that nothing more is said about.
    general: TopicTerms,
    topics: BTreeMap<String, TopicTerms>,
}

/// What is said about a topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TopicTerms {
    pub(crate) owner: Option<String>,
    pub(crate) trigger: Option<String>,
    pub(crate) documentation: Option<String>,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) columns: BTreeMap<String, ColumnTerms>,
    /// What events must meet.
    pub(crate) written: Option<WrittenContract>,
}

/// What is said about a column.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnTerms {
    pub(crate) documentation: Option<String>,
    pub(crate) tags: BTreeSet<String>,
}

// === impl Contracts ===

impl Contracts {
    /// Takes what was written in; `read` gives the text of a file.
    ///
    /// # Errors
    /// What `read` says, and `contract_invalid` where a file is no contract.
    pub fn new(config: ContractConfig, read: impl Fn(&Path) -> Result<String>) -> Result<Self> {
        let general = TopicTerms {
            owner: config.owner.clone(),
            ..TopicTerms::default()
        };
        let topics = config.topics.into_iter();
        let topics = topics.map(|(name, topic)| Ok((name, TopicTerms::new(topic, &general, &read)?)));
        Ok(Self {
            compatibility: config.compatibility,
            on_incompatible: config.on_incompatible,
            masked_tags: config.masked_tags.into_iter().collect(),
            topics: topics.collect::<Result<_>>()?,
            general,
        })
    }

    /// The topics that more is said about.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    pub(crate) fn of(&self, topic: &str) -> &TopicTerms {
        self.topics.get(topic).unwrap_or(&self.general)
    }

    /// Refuses a publication with a column that must be masked and is not.
    pub(crate) fn check_masks(&self, publication: &Publication) -> Result<()> {
        let terms = self.of(&publication.to.topic);
        for published in publication.columns.iter().chain(&publication.key) {
            let column = &published.column;
            let said = terms.columns.get(&column.name);
            let tag = said.and_then(|said| said.tags.iter().find(|tag| self.masked_tags.contains(*tag)));
            if let Some(tag) = tag.filter(|_| !column.is_masked()) {
                return Err(not_masked(publication, &column.name, tag));
            }
        }
        Ok(())
    }
}

fn not_masked(publication: &Publication, column: &str, tag: &str) -> Error {
    let table = publication.table.name.qualified();
    Error::definite(
        "column_not_masked",
        format!(
            "column {column} of {table} has the tag `{tag}`, which `contract.masked_tags` wants masked, and would go to topic \
             `{}` as it is; add `mask: {{ {column}: … }}` or `exclude_columns: [{column}]` for {table} to `transforms`, or take \
             the tag away",
            publication.to.topic
        ),
    )
}

// === impl TopicTerms ===

impl TopicTerms {
    fn new(config: TopicContractConfig, general: &Self, read: impl Fn(&Path) -> Result<String>) -> Result<Self> {
        let written = match config.file {
            Some(file) => {
                let text = read(&file)?;
                Some(WrittenContract::parse(file, &text)?)
            }
            None => None,
        };
        let columns = config.columns.into_iter().map(|(name, column)| {
            let terms = ColumnTerms {
                documentation: column.documentation,
                tags: column.tags.into_iter().collect(),
            };
            (name, terms)
        });
        let mut terms = Self {
            owner: config.owner,
            trigger: config.trigger,
            documentation: config.documentation,
            tags: config.tags.into_iter().collect(),
            columns: columns.collect(),
            written: None,
        };
        if let Some(written) = &written {
            terms.complete(written);
        }
        terms.owner = terms.owner.or_else(|| general.owner.clone());
        terms.written = written;
        Ok(terms)
    }

    /// What the configuration does not say, the file may.
    fn complete(&mut self, written: &WrittenContract) {
        let otherwise = |said: &mut Option<String>, file: &Option<String>| {
            if said.is_none() {
                said.clone_from(file);
            }
        };
        otherwise(&mut self.owner, &written.owner);
        otherwise(&mut self.trigger, &written.trigger);
        otherwise(&mut self.documentation, &written.documentation);
        self.tags.extend(written.tags.iter().cloned());
        for field in &written.fields {
            let column = self.columns.entry(field.column().to_owned()).or_default();
            otherwise(&mut column.documentation, &field.documentation);
            column.tags.extend(field.tags.iter().cloned());
        }
    }

    /// What is said about the topic as a whole, as properties of its schemas.
    pub(crate) fn properties(&self) -> BTreeMap<String, String> {
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let tags = (!tags.is_empty()).then(|| tags.join(","));
        let said = [
            ("owner", self.owner.clone()),
            ("trigger", self.trigger.clone()),
            ("tags", tags),
        ];
        said.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }

    /// The tags of columns, by name, of those that have any.
    pub(crate) fn tags_of_columns(&self) -> BTreeMap<String, Vec<String>> {
        let tagged = self.columns.iter().filter(|(_, column)| !column.tags.is_empty());
        tagged
            .map(|(name, column)| (name.clone(), column.tags.iter().cloned().collect()))
            .collect()
    }

    /// What is published of a table under these terms.
    pub(crate) fn publication(&self, table: &SharedSchema, to: &Destination, envelope: Envelope) -> Publication {
        let mut publication = Publication::whole(table, to.clone(), envelope);
        if let Some(written) = &self.written {
            publication.columns = written_columns(written, table);
            publication.record = written.record.clone().filter(|_| envelope == Envelope::Entity);
        }
        for published in publication.columns.iter_mut().chain(&mut publication.key) {
            let column = &mut published.column;
            let said = self.columns.get(&column.name);
            if let Some(documentation) = said.and_then(|said| said.documentation.as_ref()) {
                column.documentation = Some(documentation.clone());
            }
        }
        if self.documentation.is_some() {
            publication.documentation.clone_from(&self.documentation);
        }
        publication
    }
}

/// The columns that a file names and the table has, in the file's order.
fn written_columns(written: &WrittenContract, table: &SharedSchema) -> Vec<Published> {
    let find = |field: &WrittenField| {
        let is_it = |column: &Column| column.name == field.column() || mangle(&column.name) == field.name;
        let cell = table.columns.iter().position(is_it)?;
        Some(as_written(field, cell, table.columns.get(cell)?))
    };
    let mut columns: Vec<Published> = written.fields.iter().filter_map(find).collect();
    if !written.is_ordered {
        columns.sort_by_key(|published| published.cell);
    }
    columns
}

/// A column with what a field makes wider: every value that it can have is written with the same meaning, and often the same
/// bytes.
fn as_written(field: &WrittenField, cell: usize, column: &Column) -> Published {
    let mut published = Published::as_it_is(cell, column);
    let column = &mut published.column;
    column.nullable |= field.is_nullable;
    if field.is_long && matches!(column.logical_type, LogicalType::Int16 | LogicalType::Int32) {
        column.logical_type = LogicalType::Int64;
    }
    if field.default.is_some() {
        column.default.clone_from(&field.default);
        column.default_is_computed = false;
    }
    published.type_name.clone_from(&field.type_name);
    published
}
