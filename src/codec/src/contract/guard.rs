//! Decides what becomes of a version of a table before its first event: published, published without some columns, published to
//! a new topic, set aside, or nothing at all and the connector halts.
//!
//! ```text
//!            masks ─▶ was it published before? ─yes─▶ publish
//!                              │ no
//!                 does it meet the file, and can readers read it?  ─yes─▶ publish
//!                              │ no
//!          halt │ new_topic │ dead_letter │ ignore_column
//! ```
//!
//! - What a subject has a version of is published without a question: after a restart rows of older versions come again, and
//!   readers have met them.
//! - `new_topic` remembers nothing: the topics of a line are those that have schemas, and the newest of them counts, unless
//!   an older one has this very schema. So a replay goes where the rows went before. A change that is taken back goes
//!   to the topic that it came from.
//! - `ignore_column` compares with all versions and not only the newest, so that what is left out stays out.
//! - The key is never ignored: without it compaction and partitions would be others.

use tailrace_core::batch::Refusal;
use tailrace_core::registry::{Compatibility, RegisteredSchema, Schema, SchemaRegistry, SchemaRules, SubjectSettings};
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use super::compatibility::{ContractRules, Incompatibility, compare, decide};
use super::config::OnIncompatible;
use super::terms::DEPRECATED;
use crate::context::Context;
use crate::names::{Naming, mangle};
use crate::publication::{Destination, Publication};
use crate::registration::EventSchemas;

/// A version of a table that readers cannot read.
pub(crate) const INCOMPATIBLE: &str = "schema_incompatible";
/// More topics in a line than anybody has.
const MAXIMUM_TOPICS: u32 = 1000;
/// Levels that are weaker than others, the strongest first.
const LEVELS: [Compatibility; 4] = [
    Compatibility::Full,
    Compatibility::Backward,
    Compatibility::Forward,
    Compatibility::None,
];

/// Decides for one connector.
pub(crate) struct Guard<'a> {
    pub(crate) context: &'a Context,
    pub(crate) registry: &'a dyn SchemaRegistry,
}

/// What becomes of a version of a table.
pub(crate) enum Settled {
    /// It is published, perhaps elsewhere or without some columns.
    Publish(Publication),
    /// Its events are set aside.
    Refuse(Refusal),
}

/// What was found about a publication.
struct Review {
    /// Every subject has a version with its schema.
    is_known: bool,
    /// No subject has any version.
    is_new: bool,
    objections: Vec<Objection>,
}

/// One reason why a publication may not be.
#[derive(Debug)]
pub(crate) struct Objection {
    /// The column that it is about, where it is one.
    column: Option<String>,
    /// What it was compared with: `version 3 (number 17) of the subject …`.
    against: String,
    found: Incompatibility,
    old: Schema,
    new: Schema,
}

// === impl Guard ===

impl Guard<'_> {
    /// Decides about a table on a topic, and marks topics that nothing is written to any more.
    ///
    /// # Errors
    /// Definite `schema_incompatible` where the policy is to halt or nothing else helps, `column_not_masked`; transient where the
    /// registry does not answer.
    pub(crate) async fn settle(&self, table: &SharedSchema, to: &Destination) -> Result<Settled> {
        let policy = self.context.contracts.on_incompatible;
        if policy == OnIncompatible::NewTopic {
            return self.newest(table, to).await.map(Settled::Publish);
        }
        let proposed = self.propose(table, to)?;
        let review = self.review(&proposed).await?;
        if review.objections.is_empty() {
            return Ok(Settled::Publish(proposed));
        }
        match policy {
            OnIncompatible::DeadLetter => Ok(Settled::Refuse(set_aside(&proposed, &review.objections))),
            OnIncompatible::IgnoreColumn => self.ignoring(&proposed, review.objections).await,
            OnIncompatible::Halt | OnIncompatible::NewTopic => Err(halted(&proposed, &review.objections, "")),
        }
    }

    /// What would speak against a table on a topic, a sentence each; empty where nothing does. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::settle`], but for `schema_incompatible`.
    pub(crate) async fn objections(&self, table: &SharedSchema, to: &Destination) -> Result<Vec<Objection>> {
        let proposed = self.propose(table, to)?;
        self.review(&proposed).await.map(|review| review.objections)
    }

    fn propose(&self, table: &SharedSchema, to: &Destination) -> Result<Publication> {
        let publication = self.context.publication(table, to);
        self.context.contracts.check_masks(&publication)?;
        Ok(publication)
    }

    async fn review(&self, publication: &Publication) -> Result<Review> {
        let mut review = Review {
            is_known: true,
            is_new: true,
            objections: Vec::new(),
        };
        for (subject, schema) in EventSchemas::in_context(publication, self.context).subjects() {
            let versions = self.registry.versions(&subject).await?;
            review.is_new &= versions.is_empty();
            if versions
                .iter()
                .any(|known| ContractRules.is_same(&known.schema, &schema))
            {
                continue;
            }
            review.is_known = false;
            let level = self.level(&subject).await?;
            let before = review.objections.len();
            for found in decide(level, &schema, &versions) {
                // The same may have been said of a newer version.
                let mut said = review.objections.iter().skip(before);
                let is_said = said.any(|known| known.found.sentence == found.sentence);
                let old = versions.iter().find(|known| Some(known.version) == found.version);
                if let Some(old) = old.filter(|_| !is_said) {
                    let objection = Objection::to_version(found, (&subject, old), &schema);
                    review.objections.push(objection.place(publication));
                }
            }
        }
        if !review.is_known {
            review.objections.extend(self.unmet(publication));
        }
        Ok(review)
    }

    async fn level(&self, subject: &str) -> Result<Compatibility> {
        let contracts = &self.context.contracts;
        let level = match contracts.compatibility {
            Some(level) => level,
            None => self.registry.settings(subject).await?.compatibility.unwrap_or_default(),
        };
        // A column that was left out once would fit the version without it.
        match contracts.on_incompatible {
            OnIncompatible::IgnoreColumn => Ok(level.transitive()),
            OnIncompatible::Halt | OnIncompatible::NewTopic | OnIncompatible::DeadLetter => Ok(level),
        }
    }

    /// What of the file's schema the events would not meet.
    fn unmet(&self, publication: &Publication) -> Vec<Objection> {
        let Some(written) = &self.context.contracts.of(&publication.to.topic).written else {
            return Vec::new();
        };
        let row = EventSchemas::row(publication, written, self.context);
        // Who reads by the file must be able to read what is written: the older schema reads what the newer one wrote.
        let found = compare(Compatibility::Forward, &written.schema, &row);
        let objection = |found| Objection {
            column: None,
            against: format!("the contract {}", written.file.display()),
            found,
            old: written.schema.clone(),
            new: row.clone(),
        };
        found
            .into_iter()
            .map(|found| objection(found).place(publication))
            .collect()
    }

    async fn ignoring(&self, proposed: &Publication, objections: Vec<Objection>) -> Result<Settled> {
        let names: Vec<String> = objections
            .iter()
            .filter_map(|objection| objection.column.clone())
            .collect();
        let smaller = proposed.without(&names);
        let left = self.review(&smaller).await?.objections;
        if names.is_empty() || !left.is_empty() {
            let why = "; `on_incompatible: ignore_column` does not help, because readers cannot do without the column";
            return Err(halted(proposed, &objections, why));
        }
        tracing::warn!(
            connector = self.context.connector,
            code = INCOMPATIBLE,
            table = proposed.table.name.qualified(),
            topic = &*proposed.to.topic,
            "the columns {} are not published, because readers would break: {}",
            smaller.left_out().join(", "),
            sentences(&objections)
        );
        Ok(Settled::Publish(smaller))
    }

    /// The newest topic of a line that the table may go to; a new one where it may not.
    async fn newest(&self, table: &SharedSchema, to: &Destination) -> Result<Publication> {
        let mut line: Vec<(Publication, Review)> = Vec::new();
        for number in 1..=MAXIMUM_TOPICS {
            let publication = self.propose(table, &to.numbered(number))?;
            let review = self.review(&publication).await?;
            let is_new = review.is_new;
            line.push((publication, review));
            if is_new {
                break;
            }
        }
        let known = line.iter().rposition(|(_, review)| review.is_known);
        let current = line.iter().rposition(|(_, review)| !review.is_new);
        let fits = |at: &usize| line.get(*at).is_some_and(|(_, review)| review.objections.is_empty());
        let chosen = known.or(current.filter(fits)).unwrap_or(line.len().saturating_sub(1));
        let superseded = current
            .filter(|current| *current < chosen)
            .and_then(|current| line.get(current));
        if let (Some((old, review)), Some((new, _))) = (superseded, line.get(chosen)) {
            self.supersede(old, new, &review.objections).await?;
        }
        match line.into_iter().nth(chosen) {
            Some((publication, review)) if review.objections.is_empty() => Ok(publication),
            Some((publication, review)) => Err(halted(&publication, &review.objections, "")),
            None => self.propose(table, to),
        }
    }

    /// Marks a topic as one that nothing is written to any more.
    async fn supersede(&self, old: &Publication, new: &Publication, objections: &[Objection]) -> Result<()> {
        let reason = format!("superseded by topic {}", new.to.topic);
        for (subject, _) in EventSchemas::in_context(old, self.context).subjects() {
            let settings = self.registry.settings(&subject).await?;
            let deprecated = Some(reason.clone());
            self.registry
                .set(&subject, &SubjectSettings { deprecated, ..settings })
                .await?;
        }
        tracing::warn!(
            connector = self.context.connector,
            code = "topic_superseded",
            table = old.table.name.qualified(),
            topic = &*old.to.topic,
            new_topic = &*new.to.topic,
            "events go to {} from here on, because readers of {} would break: {}",
            new.to.topic,
            old.to.topic,
            sentences(objections)
        );
        Ok(())
    }

    /// Tells the registry what its subjects are held to, and what the contract calls deprecated.
    pub(crate) async fn announce(&self, publication: &Publication) -> Result<()> {
        let contracts = &self.context.contracts;
        let is_deprecated = contracts.of(&publication.to.topic).tags.contains(DEPRECATED);
        if contracts.compatibility.is_none() && !is_deprecated {
            return Ok(());
        }
        for (subject, _) in EventSchemas::in_context(publication, self.context).subjects() {
            let known = self.registry.settings(&subject).await?;
            let said = is_deprecated.then(|| "its contract has the tag `deprecated`".to_owned());
            let settings = SubjectSettings {
                compatibility: contracts.compatibility.or(known.compatibility),
                deprecated: said.or_else(|| known.deprecated.clone()),
            };
            if settings != known {
                self.registry.set(&subject, &settings).await?;
            }
        }
        Ok(())
    }
}

fn sentences(objections: &[Objection]) -> String {
    let sentences: Vec<String> = objections.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

/// The columns of the version that may not be published, as the database calls their types.
fn columns_of(publication: &Publication) -> String {
    let columns = publication.table.columns.iter();
    let columns: Vec<String> = columns
        .map(|column| format!("{} {}", column.name, column.source_type))
        .collect();
    columns.join(", ")
}

fn set_aside(publication: &Publication, objections: &[Objection]) -> Refusal {
    Refusal {
        code: INCOMPATIBLE,
        reason: format!(
            "readers of topic `{}` would break by this version of {}: {}; make the table or `contract` compatible, then replay",
            publication.to.topic,
            publication.table.name.qualified(),
            sentences(objections)
        ),
    }
}

/// Why the connector halts: both versions, what breaks, and the ways out.
fn halted(publication: &Publication, objections: &[Objection], why: &str) -> Error {
    for objection in objections {
        tracing::error!(
            code = INCOMPATIBLE,
            against = objection.against,
            old_schema = &*objection.old.text,
            new_schema = &*objection.new.text,
            "{objection}"
        );
    }
    let table = publication.table.name.qualified();
    let topic = &publication.to.topic;
    let allowed = allowed_by(objections).map_or_else(String::new, |level| {
        format!("allow it with `contract: {{ compatibility: {level} }}`; ")
    });
    Error::definite(
        INCOMPATIBLE,
        format!(
            "readers of topic `{topic}` would break by the new version of {table} ({}): {}{why}. Nothing of the new version was \
             published. Ways out: change the table back, or so that readers can follow; {allowed}send events from here on \
             to `{topic}.v2` with `contract: {{ on_incompatible: new_topic }}`, leave the columns out with `ignore_column`, or \
             set the events aside with `dead_letter`",
            columns_of(publication),
            sentences(objections),
        ),
    )
}

/// The strongest level that would allow it, as it is written in the configuration; none where a file forbids it.
fn allowed_by(objections: &[Objection]) -> Option<&'static str> {
    let is_fine = |level: &Compatibility| {
        objections.iter().all(|objection| {
            objection.found.version.is_some() && compare(*level, &objection.old, &objection.new).is_empty()
        })
    };
    LEVELS.into_iter().find(is_fine).map(Compatibility::name)
}

// === impl Objection ===

impl Objection {
    fn to_version(found: Incompatibility, (subject, old): (&str, &RegisteredSchema), new: &Schema) -> Self {
        Self {
            column: None,
            against: format!(
                "version {} (number {}) of the subject `{subject}`",
                old.version, old.id.0
            ),
            found,
            old: old.schema.clone(),
            new: new.clone(),
        }
    }

    /// With the column that its place in the schema is about.
    fn place(mut self, publication: &Publication) -> Self {
        let path = self.found.path.as_str();
        let inside = path.strip_prefix("before.").or_else(|| path.strip_prefix("after."));
        let field = inside.unwrap_or(path).split(['.', '[', '{']).next().unwrap_or_default();
        let is_it = |name: &&String| {
            let adjusted = Naming::Debezium.field_names([name.as_str()].into_iter());
            *name == field || mangle(name) == field || adjusted.iter().any(|adjusted| adjusted == field)
        };
        let columns = publication.columns.iter().map(|published| &published.column.name);
        self.column = columns.clone().find(is_it).cloned();
        self
    }
}

impl std::fmt::Display for Objection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} (against {})", self.found.sentence, self.against)
    }
}
