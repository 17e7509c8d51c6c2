//! Preflight of the tables that a sink writes, the same for every database.

use tailrace_core::check::Finding;
use tailrace_core::schema::{TableName, column_named};

use super::config::{Evolve, WriteConfig, WriteMode};
use super::session::Definitions;
use super::sql_sink::SinkRules;
use super::target::TargetTable;

/// The topics that are named, and no patterns, each with the table that it is written into, as far as its name says it.
pub fn named_tables<'a>(
    rules: &'a SinkRules,
    definitions: &'a dyn Definitions,
    topics: &'a [String],
) -> impl Iterator<Item = (&'a str, TableName)> + 'a {
    let named = topics.iter().filter(|topic| !topic.contains(['*', '?']));
    named.map(|topic| (topic.as_str(), definitions.table_name(&rules.table_of_topic(topic))))
}

/// The patterns among topics, whose tables nobody knows before there are events.
pub fn unnamed_topics(topics: &[String]) -> Vec<&str> {
    let patterns = topics.iter().filter(|topic| topic.contains(['*', '?']));
    patterns.map(String::as_str).collect()
}

/// The schema of tables whose topics are not named, where the configuration says it; `None` where the events do.
pub fn schema_of_unnamed<'a>(config: &'a WriteConfig, default_schema: &'a str) -> Option<&'a str> {
    let template = config.table.as_deref().unwrap_or_default();
    match template.split_once('.') {
        None => Some(default_schema),
        Some((schema, _)) => Some(schema).filter(|schema| !schema.contains('{')),
    }
}

/// What keeps the events of a topic from being written into a table, as far as it can be said before there are any.
pub fn table_findings(
    config: &WriteConfig,
    definitions: &dyn Definitions,
    (topic, name): (&str, &TableName),
    table: Option<&TargetTable>,
) -> Vec<Finding> {
    let quoted = definitions.table(name);
    let Some(table) = table else {
        return vec![missing(config.evolve, topic, &quoted)];
    };
    if config.mode != WriteMode::Upsert || has_key(config, table) {
        return Vec::new();
    }
    let (of_what, remedy) = match &config.key {
        Some(key) => {
            let columns: Vec<&str> = key.iter().map(String::as_str).collect();
            let of_what = format!(" of the columns {}", columns.join(", "));
            (of_what, definitions.unique_key(name, &columns))
        }
        None => (
            String::new(),
            "make a primary key of the columns that the events have as their key, or name others with `key`".to_owned(),
        ),
    };
    let problem = format!(
        "table {quoted} has no primary key and no unique constraint{of_what}, by which `mode: upsert` finds rows"
    );
    vec![Finding::blocks("key_not_unique", problem, remedy)]
}

fn missing(evolve: Evolve, topic: &str, table: &str) -> Finding {
    match evolve {
        Evolve::None => Finding::warning(
            "table_missing",
            format!("there is no table {table}, into which topic {topic} is written"),
            "make it, name another with `table`, or set `evolve: add`",
        ),
        Evolve::Add | Evolve::Widen => Finding::note(
            "table_missing",
            format!(
                "table {table} is made when the first event of {topic} comes, of the types that its schema says or a `contract`"
            ),
        ),
    }
}

/// Rows can be found by the key that is named, or by any where the events say it.
fn has_key(config: &WriteConfig, table: &TargetTable) -> bool {
    let Some(names) = &config.key else {
        return !table.schema.key.is_empty() || !table.unique_keys.is_empty();
    };
    let wanted = names.iter().map(|name| column_named(&table.schema.columns, name));
    wanted
        .collect::<Option<Vec<usize>>>()
        .is_some_and(|wanted| table.is_unique(&wanted))
}
