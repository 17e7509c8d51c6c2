//! Topic names from table names.
//!
//! Each part of a name is made legal by [`tailrace_core::topic::escape`], so that two names of a part never become one. Parts
//! joined by a dot can still meet (schema `a.b`, table `c` and schema `a`, table `b.c`): that is refused with a
//! sentence, by [`TopicTemplate::check`] before the start and by the encoder at the first event.
//!
//! What MySQL and MariaDB call a database is a schema here, and there is nothing above it. Who writes `{database}` for them
//! means it, so that it stands for the schema wherever a table has no database, unless the template has `{schema}` too.

use std::collections::BTreeMap;

use tailrace_core::check::Finding;
use tailrace_core::grants::TopicRange;
use tailrace_core::schema::{TableKind, TableName, TableSchema};
use tailrace_core::topic::{MAX_LENGTH as MAX_TOPIC_LENGTH, escape, escape_beginning, is_legal};
use tailrace_core::{Error, Result};

/// One topic per table, named after all that names it: also what Debezium does.
pub const DEFAULT_TOPIC_TEMPLATE: &str = "{prefix}.{schema}.{table}";

/// Logical messages go to `{prefix}.message`, as Debezium's do.
const MESSAGE_TOPIC: &str = "message";

/// How tables become topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTemplate {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Prefix,
    Database,
    Schema,
    Table,
}

/// A template with a name in it.
enum Filled {
    Whole(String),
    /// What comes behind this is not known.
    Beginning(String),
}

// === impl TopicTemplate ===

impl TopicTemplate {
    /// Reads a template with the placeholders `{prefix}`, `{database}`, `{schema}` and `{table}`.
    ///
    /// # Errors
    /// `topic_template_invalid` where a placeholder is unknown or not closed, or where a character is not allowed in topics.
    pub fn parse(template: &str) -> Result<Self> {
        let mut segments = Vec::new();
        let mut rest = template;
        while let Some((literal, after)) = rest.split_once('{') {
            push_literal(&mut segments, literal, template)?;
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| invalid(template, "has a { without a }"))?;
            segments.push(placeholder(name, template)?);
            rest = after;
        }
        push_literal(&mut segments, rest, template)?;
        if segments.is_empty() {
            return Err(invalid(template, "is empty"));
        }
        Ok(Self { segments })
    }

    /// The topic of a table.
    ///
    /// # Errors
    /// `topic_name_invalid` where the name is empty, `.`, `..`, or longer than 249 characters.
    pub fn topic(&self, prefix: &str, name: &TableName) -> Result<String> {
        let topic = self.render(prefix, name);
        let place = || format!("table {}", name.qualified());
        validate(&topic, place).map(|()| topic)
    }

    /// The topics of all tables, as far as their names begin alike.
    pub fn range(&self, prefix: &str) -> TopicRange {
        let mut beginning = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => beginning.push_str(literal),
                Segment::Prefix => beginning.push_str(&escape(prefix)),
                Segment::Database | Segment::Schema | Segment::Table => return TopicRange::Beginning(beginning),
            }
        }
        TopicRange::Named(beginning)
    }

    /// The topics of the tables that a name stands for in which `*` and `?` are what is not known, as far as they begin alike.
    pub fn range_of(&self, prefix: &str, name: &TableName) -> TopicRange {
        let known = |value: &str| value.split_once(['*', '?']).map(|(known, _)| escape_beginning(known));
        match self.fill(prefix, name, known) {
            Filled::Whole(topic) => TopicRange::Named(topic),
            Filled::Beginning(beginning) => TopicRange::Beginning(beginning),
        }
    }

    /// The topic of logical messages.
    pub fn message_topic(prefix: &str) -> String {
        format!("{}.{MESSAGE_TOPIC}", escape(prefix))
    }

    /// The topic of a table version: by template for rows, `{prefix}.message` for logical messages.
    ///
    /// # Errors
    /// As [`Self::topic`].
    pub fn topic_of(&self, prefix: &str, schema: &TableSchema) -> Result<String> {
        match schema.kind {
            TableKind::Table => self.topic(prefix, &schema.name),
            TableKind::Message => {
                let topic = Self::message_topic(prefix);
                validate(&topic, || "the logical messages".to_owned()).map(|()| topic)
            }
        }
    }

    /// Every problem that a set of tables has with its topics: illegal names and collisions block; names that differ only
    /// in `.` and `_` are a warning, because Kafka's metrics cannot tell them apart.
    pub fn check<'a>(&self, prefix: &str, tables: impl IntoIterator<Item = &'a TableName>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut topics: BTreeMap<String, &TableName> = BTreeMap::new();
        let mut metrics: BTreeMap<String, String> = BTreeMap::new();
        for name in tables {
            let topic = match self.topic(prefix, name) {
                Ok(topic) => topic,
                Err(error) => {
                    findings.push(Finding::from(&error));
                    continue;
                }
            };
            match topics.get(&topic) {
                Some(other) if *other != name => findings.push(Finding::from(&collision(&topic, other, name))),
                Some(_) => {}
                None => {
                    findings.extend(metrics_collision(&mut metrics, &topic));
                    topics.insert(topic, name);
                }
            }
        }
        findings
    }

    fn render(&self, prefix: &str, name: &TableName) -> String {
        match self.fill(prefix, name, |_| None) {
            Filled::Whole(topic) | Filled::Beginning(topic) => topic,
        }
    }

    /// Filled in with a name, up to the first part of which only the beginning is `known`: that is given as it stands in topics.
    fn fill(&self, prefix: &str, name: &TableName, known: impl Fn(&str) -> Option<String>) -> Filled {
        let mut topic = String::new();
        let database = match self.segments.contains(&Segment::Schema) {
            false if name.database.is_empty() => &name.schema,
            _ => &name.database,
        };
        let mut swallow_separator = false;
        for segment in &self.segments {
            let value = match segment {
                Segment::Literal(literal) => {
                    let literal = literal.as_str();
                    let kept = if swallow_separator {
                        literal.strip_prefix(SEPARATORS).unwrap_or(literal)
                    } else {
                        literal
                    };
                    topic.push_str(kept);
                    swallow_separator = false;
                    continue;
                }
                Segment::Prefix => {
                    swallow_separator = prefix.is_empty();
                    topic.push_str(&escape(prefix));
                    continue;
                }
                Segment::Database => database,
                Segment::Schema => &name.schema,
                Segment::Table => &name.table,
            };
            if let Some(beginning) = known(value) {
                topic.push_str(&beginning);
                return Filled::Beginning(topic);
            }
            swallow_separator = value.is_empty();
            topic.push_str(&escape(value));
        }
        if swallow_separator && topic.ends_with(SEPARATORS) {
            topic.pop();
        }
        Filled::Whole(topic)
    }
}

/// Characters that join parts: one of them goes with a part that is empty.
const SEPARATORS: [char; 3] = ['.', '_', '-'];

/// The refusal of two tables that would share a topic.
pub(crate) fn collision(topic: &str, one: &TableName, other: &TableName) -> Error {
    Error::definite(
        "topic_collision",
        format!(
            "tables {} and {} would both be published to topic {topic}; give them different topics with the topic template, or send one of them elsewhere with a route",
            one.qualified(),
            other.qualified()
        ),
    )
}

fn metrics_collision(metrics: &mut BTreeMap<String, String>, topic: &str) -> Option<Finding> {
    let other = metrics.insert(topic.replace('.', "_"), topic.to_owned())?;
    Some(Finding::warning(
        "topic_metrics_collision",
        format!(
            "topics {other} and {topic} differ only in . and _, which Kafka's metrics cannot tell apart; Kafka may refuse to create the second"
        ),
        "choose a topic template, or a route, that keeps them apart otherwise",
    ))
}

/// Checks a topic's whole name against Kafka's rules.
fn validate(topic: &str, place: impl FnOnce() -> String) -> Result<()> {
    let problem = match topic {
        "" => "is empty",
        "." | ".." => "is a relative path, which Kafka does not allow",
        long if long.len() > MAX_TOPIC_LENGTH => "is longer than the 249 characters that Kafka allows",
        _ => return Ok(()),
    };
    let place = place();
    Err(Error::definite(
        "topic_name_invalid",
        format!(
            "the topic name '{topic}' of {place} {problem}; change the topic template, or route the table to another topic"
        ),
    ))
}

fn push_literal(segments: &mut Vec<Segment>, literal: &str, template: &str) -> Result<()> {
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
        segments.push(Segment::Literal(literal.to_owned()));
    }
    Ok(())
}

fn placeholder(name: &str, template: &str) -> Result<Segment> {
    Ok(match name {
        "prefix" => Segment::Prefix,
        "database" => Segment::Database,
        "schema" => Segment::Schema,
        "table" => Segment::Table,
        _ => {
            return Err(invalid(
                template,
                "has a placeholder that is none of {prefix}, {database}, {schema}, {table}",
            ));
        }
    })
}

fn invalid(template: &str, problem: &str) -> Error {
    Error::definite(
        "topic_template_invalid",
        format!("the topic template '{template}' {problem}; write for example '{DEFAULT_TOPIC_TEMPLATE}'"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tailrace_core::topic::unescape;

    use super::*;

    fn name(database: &str, schema: &str, table: &str) -> TableName {
        TableName {
            database: database.to_owned(),
            schema: schema.to_owned(),
            table: table.to_owned(),
        }
    }

    fn topic(template: &str, name: &TableName) -> String {
        TopicTemplate::parse(template).unwrap().topic("srv", name).unwrap()
    }

    #[test]
    fn legal_names_stay() {
        assert_eq!(
            topic(DEFAULT_TOPIC_TEMPLATE, &name("app", "public", "order_items-2.x_41")),
            "srv.public.order_items-2.x_41"
        );
        assert_eq!(
            topic("legacy.{database}.{table}", &name("app", "public", "t_x4")),
            "legacy.app.t_x4"
        );
    }

    #[test]
    fn other_characters_are_escaped_and_so_is_what_looks_like_an_escape() {
        assert_eq!(escape("größe"), "gr_xf6__xdf_e");
        assert_eq!(escape("a b"), "a_x20_b");
        assert_eq!(escape("a_x20_b"), "a_x5f_x20_b");
        assert_eq!(escape("_x41é"), "_x5f_x41_xe9_");
        assert_eq!(escape("😀"), "_x1f600_");
    }

    #[test]
    fn an_empty_part_takes_its_separator_along() {
        assert_eq!(topic(DEFAULT_TOPIC_TEMPLATE, &name("", "", "orders")), "srv.orders");
        assert_eq!(topic("{database}-{schema}-{table}", &name("", "", "orders")), "orders");
        assert_eq!(topic("{table}.{schema}", &name("", "", "orders")), "orders");
    }

    #[test]
    fn what_mysql_calls_a_database_is_a_schema() {
        let orders = name("", "shop", "orders");
        assert_eq!(topic(DEFAULT_TOPIC_TEMPLATE, &orders), "srv.shop.orders");
        assert_eq!(topic("{prefix}.{database}.{table}", &orders), "srv.shop.orders");
        assert_eq!(topic("{database}.{schema}.{table}", &orders), "shop.orders");
        assert_eq!(
            topic("{database}.{table}", &name("app", "public", "orders")),
            "app.orders"
        );
    }

    #[test]
    fn topics_begin_alike_up_to_the_first_part_that_a_table_has() {
        let range = |template: &str| TopicTemplate::parse(template).unwrap().range("shop");
        assert_eq!(range(DEFAULT_TOPIC_TEMPLATE), TopicRange::Beginning("shop.".to_owned()));
        assert_eq!(range("{table}"), TopicRange::Beginning(String::new()));
        assert_eq!(range("all.{prefix}"), TopicRange::Named("all.shop".to_owned()));
    }

    #[test]
    fn of_a_table_that_is_named_the_topic_is_known() {
        let range = |template: &str, schema: &str, table: &str| {
            let template = TopicTemplate::parse(template).unwrap();
            template.range_of("shop", &name("app", schema, table))
        };
        let named = |topic: &str| TopicRange::Named(topic.to_owned());
        let beginning = |topic: &str| TopicRange::Beginning(topic.to_owned());
        assert_eq!(range("{schema}_{table}", "public", "orders"), named("public_orders"));
        assert_eq!(range("{schema}_{table}", "", "a b"), named("a_x20_b"));
        assert_eq!(
            range("{schema}_{table}", "public", "order_*"),
            beginning("public_order_")
        );
        assert_eq!(range("{table}.{schema}", "public", "*_x4?"), beginning(""));
        assert_eq!(range("{database}.{table}", "*", "orders"), named("app.orders"));
        assert!(range("{schema}_{table}", "sales_?", "orders").covers("sales_1_orders"));
    }

    #[test]
    fn wrong_templates_are_refused() {
        for wrong in ["", "{tabel}", "a b", "{table", "table}", "größe.{table}"] {
            assert_eq!(
                TopicTemplate::parse(wrong).unwrap_err().code(),
                "topic_template_invalid",
                "{wrong}"
            );
        }
    }

    #[test]
    fn names_beyond_kafkas_limits_are_refused() {
        let template = TopicTemplate::parse("{table}").unwrap();
        let longest = "a".repeat(MAX_TOPIC_LENGTH);
        assert_eq!(template.topic("", &name("", "", &longest)).unwrap(), longest);
        for wrong in ["", ".", "..", &"a".repeat(MAX_TOPIC_LENGTH + 1), &"é".repeat(60)] {
            assert_eq!(
                template.topic("", &name("", "", wrong)).unwrap_err().code(),
                "topic_name_invalid"
            );
        }
    }

    #[test]
    fn collisions_block_and_lookalikes_warn() {
        let template = TopicTemplate::parse(DEFAULT_TOPIC_TEMPLATE).unwrap();
        let tables = [
            name("app", "a.b", "c"),
            name("app", "a", "b.c"),
            name("app", "a_b", "c"),
            name("app", "a", "d"),
        ];
        let findings = template.check("srv", &tables);
        let codes: Vec<_> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["topic_collision", "topic_metrics_collision"]);
        assert!(findings[0].problem.contains("a.b.c"));
    }

    #[test]
    fn messages_have_a_topic_of_their_own() {
        let schema = TableSchema {
            name: name("app", "", "message"),
            kind: TableKind::Message,
            columns: Vec::new(),
            key: Vec::new(),
            documentation: None,
        };
        let template = TopicTemplate::parse("all.{table}").unwrap();
        assert_eq!(template.topic_of("srv", &schema).unwrap(), "srv.message");
    }

    proptest! {
        #[test]
        fn any_name_becomes_legal_and_comes_back(name in any::<String>()) {
            let escaped = escape(&name);
            prop_assert!(escaped.chars().all(is_legal));
            prop_assert_eq!(unescape(&escaped), name);
        }

        #[test]
        fn names_of_escapes_come_back(name in "[_x0-9aé ]{0,12}") {
            prop_assert_eq!(unescape(&escape(&name)), name);
        }

        #[test]
        fn legal_names_without_escapes_stay(name in "[a-zA-Z0-9.-]{0,40}") {
            prop_assert_eq!(escape(&name), name);
        }
    }
}
