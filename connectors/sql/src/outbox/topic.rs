//! The topic of an event, from a template with the names of columns.

use std::collections::HashMap;
use std::sync::Arc;

use tailrace_core::schema::TableSchema;
use tailrace_core::topic::{MAX_LENGTH, escape, is_legal};
use tailrace_core::{Error, Result};

/// Names are remembered so that an event costs a look-up and no allocation. An outbox that has more writes to topics that
/// nobody could have made on purpose.
const NAMES_KEPT: usize = 10_000;
/// Stands behind each value of a text that a topic is made of.
pub(super) const END: char = '\0';
/// What stands for the connector's prefix.
const PREFIX: &str = "prefix";

/// A template, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicTemplate {
    pieces: Vec<Piece<String>>,
}

/// A template whose columns are found in one table version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicPlan {
    pub(super) pieces: Vec<Piece<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<Column> {
    Literal(String),
    Column(Column),
}

/// Topic names by the values that they were made of: of one template, whatever the table.
#[derive(Debug, Default)]
pub(super) struct TopicNames {
    known: HashMap<String, Arc<str>>,
}

// === impl TopicTemplate ===

impl TopicTemplate {
    /// Reads a template; `{prefix}` is replaced at once.
    ///
    /// # Errors
    /// `outbox_topic_invalid` where a brace has no partner, or a character is not allowed in topics.
    pub(super) fn parse(template: &str, prefix: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once('{') {
            push_literal(&mut pieces, literal, template)?;
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| invalid(template, "has a { without a }"))?;
            pieces.push(match name {
                "" => return Err(invalid(template, "has {} without the name of a column")),
                PREFIX => Piece::Literal(escape(prefix)),
                column => Piece::Column(column.to_owned()),
            });
            rest = after;
        }
        push_literal(&mut pieces, rest, template)?;
        if pieces.is_empty() {
            return Err(invalid(template, "is empty"));
        }
        Ok(Self { pieces })
    }

    /// The columns that it names.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Column(name) => Some(name.as_str()),
        })
    }

    /// Finds the columns in a table; the name of the first that is not there else.
    pub(super) fn plan(&self, schema: &TableSchema) -> Result<TopicPlan, &str> {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => Ok(Piece::Literal(text.clone())),
            Piece::Column(name) => schema.column_index(name).map(Piece::Column).ok_or(name.as_str()),
        });
        Ok(TopicPlan {
            pieces: pieces.collect::<Result<_, &str>>()?,
        })
    }
}

fn push_literal(pieces: &mut Vec<Piece<String>>, literal: &str, template: &str) -> Result<()> {
    if literal.contains('}') {
        return Err(invalid(template, "has a } without a {"));
    }
    if !literal.chars().all(is_legal) {
        return Err(invalid(
            template,
            "holds a character that is not a letter, digit, '.', '_' or '-'",
        ));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.to_owned()));
    }
    Ok(())
}

fn invalid(template: &str, problem: &str) -> Error {
    Error::definite(
        "outbox_topic_invalid",
        format!(
            "the topic template `{template}` of the outbox {problem}; write for example `{}`",
            super::config::TOPIC
        ),
    )
}

// === impl TopicPlan ===

impl TopicPlan {
    /// The topic that has these values in place of the columns, one behind the other, each with [`END`] behind it.
    fn render(&self, values: &str) -> Option<String> {
        let mut values = values.split(END);
        let mut topic = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => topic.push_str(text),
                Piece::Column(_) => topic.push_str(&escape(values.next()?)),
            }
        }
        let is_legal = !matches!(topic.as_str(), "" | "." | "..") && topic.len() <= MAX_LENGTH;
        (is_legal && values.next() == Some("") && values.next().is_none()).then_some(topic)
    }
}

// === impl TopicNames ===

impl TopicNames {
    /// The topic with these values, as [`TopicPlan::render`] reads them; `None` where no topic can be called so.
    pub(super) fn get(&mut self, plan: &TopicPlan, values: &str) -> Option<Arc<str>> {
        if let Some(known) = self.known.get(values) {
            return Some(Arc::clone(known));
        }
        let name: Arc<str> = plan.render(values)?.into();
        if self.known.len() >= NAMES_KEPT {
            self.known.clear();
        }
        self.known.insert(values.to_owned(), Arc::clone(&name));
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_or_refused() {
        let template = TopicTemplate::parse("{prefix}.events.{aggregatetype}-{type}", "a b").unwrap();
        assert_eq!(template.columns().collect::<Vec<_>>(), ["aggregatetype", "type"]);
        assert_eq!(template.pieces.first(), Some(&Piece::Literal("a_x20_b".to_owned())));
        for wrong in ["", "a{b", "a}b", "a b", "{}", "ä{type}"] {
            let error = TopicTemplate::parse(wrong, "p").unwrap_err();
            assert_eq!(error.code(), "outbox_topic_invalid", "{wrong}");
        }
    }

    #[test]
    fn values_are_made_legal_and_kept_apart() {
        let plan = TopicPlan {
            pieces: vec![Piece::Column(0), Piece::Literal(".x.".to_owned()), Piece::Column(1)],
        };
        let mut names = TopicNames::default();
        let mut get = |values: &str| names.get(&plan, values).as_deref().map(str::to_owned);
        assert_eq!(get("Order\0b c\0").as_deref(), Some("Order.x.b_x20_c"));
        assert_eq!(get("\0\0").as_deref(), Some(".x."));
        assert_eq!(get(&format!("{}\0b\0", "a".repeat(MAX_LENGTH))), None);
        // A value that holds the end of a value is none that a topic can be made of.
        assert_eq!(get("Order\0b\0c\0"), None);
    }
}
