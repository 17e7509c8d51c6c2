//! What the grants of every database are made from: the tables that a configuration names, and those that it only describes.

use std::collections::BTreeSet;

use tailrace_core::pattern::TablePattern;
use tailrace_core::schema::TableName;

use crate::change_table::Engine;
use crate::change_table::database::exact_pattern;
use crate::config::{Acknowledge, QueryConfig, QueryMode};
use crate::log_config::TablePatterns;

/// Tables by name, and patterns of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedTables {
    /// Schema and table.
    pub named: BTreeSet<(String, String)>,
    /// What fits more than one name.
    pub patterns: Vec<TablePattern>,
    /// What is left out of them.
    pub exclude: Vec<TablePattern>,
}

// === impl GrantedTables ===

impl GrantedTables {
    /// Those that are captured. Tables that `query` says something else of are named, where a pattern fits them.
    pub fn of(patterns: &TablePatterns, query: Option<&QueryConfig>, default_schema: &str) -> Self {
        let exact = patterns.include.iter().filter_map(TablePattern::exact);
        let overrides = query
            .into_iter()
            .flat_map(|query| query.overrides.keys())
            .map(String::as_str);
        let overridden = overrides
            .filter(|name| !query.is_some_and(|query| query.queries.contains_key(*name)))
            .map(|name| name.split_once('.').unwrap_or((default_schema, name)));
        let captured = exact
            .chain(overridden)
            .filter(|(schema, table)| patterns.captures(schema, table));
        Self {
            named: captured
                .map(|(schema, table)| (schema.to_owned(), table.to_owned()))
                .collect(),
            patterns: patterns
                .include
                .iter()
                .filter(|pattern| pattern.exact().is_none())
                .cloned()
                .collect(),
            exclude: patterns.exclude.clone(),
        }
    }

    /// Those that are polled in one mode. Tables of other modes that a pattern fits too are left out of it.
    pub fn polled_in(&self, query: &QueryConfig, mode: QueryMode) -> Self {
        let is_in = |(schema, table): &(String, String)| query.mode_of(&format!("{schema}.{table}")) == mode;
        let (named, others): (BTreeSet<_>, BTreeSet<_>) = self.named.iter().cloned().partition(is_in);
        let others = others
            .iter()
            .map(|(schema, table)| TablePattern::new(&exact_pattern(&table_named(schema, table)), None));
        Self {
            named,
            patterns: match query.mode == mode {
                true => self.patterns.clone(),
                false => Vec::new(),
            },
            exclude: self.exclude.iter().cloned().chain(others).collect(),
        }
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.patterns.is_empty()
    }

    /// The schemas of the tables that are named.
    pub fn schemas(&self) -> BTreeSet<&str> {
        self.named.iter().map(|(schema, _)| schema.as_str()).collect()
    }
}

/// The names of what is captured, which topics are made of, as far as the configuration tells them: `*` and `?` stand in them for what
/// only the database knows.
pub fn names_of(patterns: &TablePatterns, query: Option<&QueryConfig>, database: &str) -> Vec<TableName> {
    let is_captured = |pattern: &&TablePattern| {
        pattern
            .exact()
            .is_none_or(|(schema, table)| patterns.captures(schema, table))
    };
    let tables = patterns.include.iter().filter(is_captured).map(TablePattern::parts);
    let tables = tables.map(|(schema, table)| (schema.unwrap_or("*"), table));
    let queries = query.into_iter().flat_map(|query| query.queries.keys());
    let queries = queries.map(|name| name.split_once('.').unwrap_or(("", name)));
    let names = tables.chain(queries).map(|(schema, table)| TableName {
        database: database.to_owned(),
        ..table_named(schema, table)
    });
    names.collect()
}

/// A table that is known by its name alone.
pub fn table_named(schema: &str, table: &str) -> TableName {
    TableName {
        database: String::new(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

/// The condition that a column fits one part of a [`TablePattern`], in which `literal` quotes texts as the database does. What a backslash
/// means there depends on settings of the session, and so another character takes the meaning of what is behind it.
pub fn fits(column: &str, pattern: &str, literal: impl Fn(&str) -> String) -> String {
    format!("{column} LIKE {} ESCAPE '|'", literal(&like(pattern)))
}

fn like(pattern: &str) -> String {
    let mut like = String::new();
    for character in pattern.chars() {
        match character {
            '*' => like.push('%'),
            '?' => like.push('_'),
            '%' | '_' | '|' => like.extend(['|', character]),
            other => like.push(other),
        }
    }
    like
}

/// The column that marks rows of a queue, where they are marked.
pub fn mark_column(query: &QueryConfig) -> Option<&str> {
    match &query.acknowledge {
        Acknowledge::Delete => None,
        Acknowledge::Mark(column) => Some(column),
    }
}

/// Whether tables that only a pattern fits, or any that is named, are polled in one of these modes.
pub fn polls_in(query: &QueryConfig, modes: &[QueryMode]) -> bool {
    let own = query.overrides.values().filter_map(|own| own.mode);
    own.chain([query.mode]).any(|mode| modes.contains(&mode))
}

/// The same source over the change tables of its tables: `tables` or `exclude` with the names that the change tables have.
pub fn change_tables_of(engine: Engine, patterns: &[String], default_schema: Option<&str>) -> Vec<String> {
    let of = |text: &String| {
        let pattern = TablePattern::new(text, default_schema);
        let (schema, table) = pattern.parts();
        let name = engine.change_table(&table_named(schema.unwrap_or_default(), table));
        exact_pattern(&name)
    };
    patterns.iter().map(of).collect()
}

/// The same, of what is said of how tables are polled.
pub fn change_query_of(engine: Engine, query: &QueryConfig, default_schema: Option<&str>) -> QueryConfig {
    let mut query = query.clone();
    query.queries.clear();
    let overrides = std::mem::take(&mut query.overrides).into_iter().map(|(table, own)| {
        let (schema, table) = match table.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (default_schema, table.as_str()),
        };
        let name = engine.change_table(&table_named(schema.unwrap_or_default(), table));
        (name.qualified(), own)
    });
    query.overrides = overrides.collect();
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_like_and_none_in_a_pattern_stands_for_itself() {
        let quoted = |text: &str| format!("'{text}'");
        assert_eq!(
            fits("t", r"a*b?c%d_e\f|g", quoted),
            r"t LIKE 'a%b_c|%d|_e\f||g' ESCAPE '|'"
        );
    }

    fn patterns(include: &[&str], exclude: &[&str]) -> TablePatterns {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| TablePattern::new(text, Some("public")))
                .collect()
        };
        TablePatterns {
            include: parse(include),
            exclude: parse(exclude),
            system_schemas: &[],
        }
    }

    #[test]
    fn tables_are_named_or_described() {
        let mut query = QueryConfig::new(QueryMode::Bulk);
        query
            .overrides
            .insert("public.order_lines".to_owned(), Default::default());
        query
            .overrides
            .insert("public.elsewhere".to_owned(), Default::default());
        let tables = GrantedTables::of(
            &patterns(&["orders", "public.order_*", "crm.customers"], &["crm.*"]),
            Some(&query),
            "public",
        );
        let named: Vec<String> = tables
            .named
            .iter()
            .map(|(schema, table)| format!("{schema}.{table}"))
            .collect();
        assert_eq!(named, ["public.order_lines", "public.orders"]);
        assert_eq!(tables.patterns.len(), 1);
        assert_eq!(Vec::from_iter(tables.schemas()), ["public"]);
    }

    #[test]
    fn each_mode_has_its_tables() {
        let mut query = QueryConfig::new(QueryMode::Queue);
        let bulk = crate::config::TableQueryConfig {
            mode: Some(QueryMode::Bulk),
            ..Default::default()
        };
        query.overrides.insert("public.order_lines".to_owned(), bulk);
        let tables = GrantedTables::of(
            &patterns(&["jobs", "public.order_*"], &["crm.*"]),
            Some(&query),
            "public",
        );
        let queues = tables.polled_in(&query, QueryMode::Queue);
        let named = |tables: &GrantedTables| {
            let names = tables.named.iter().map(|(schema, table)| format!("{schema}.{table}"));
            Vec::from_iter(names).join(" ")
        };
        assert_eq!((named(&queues), queues.patterns.len()), ("public.jobs".to_owned(), 1));
        assert!(
            queues
                .exclude
                .iter()
                .any(|pattern| pattern.matches("public", "order_lines"))
        );
        let bulk = tables.polled_in(&query, QueryMode::Bulk);
        assert_eq!(
            (named(&bulk), bulk.patterns.len()),
            ("public.order_lines".to_owned(), 0)
        );
        assert!(tables.polled_in(&query, QueryMode::Timestamp).is_empty());
    }

    #[test]
    fn names_are_told_as_far_as_they_are_known() {
        let mut query = QueryConfig::new(QueryMode::Bulk);
        let sums = serde_json::from_str(r#"{"sql": "SELECT 1 AS one"}"#).unwrap();
        query.queries.insert("sums".to_owned(), sums);
        let patterns = patterns(&["orders", "sales.line_*", "crm.customers"], &["crm.*"]);
        let names = names_of(&patterns, Some(&query), "shop");
        let told: Vec<String> = names
            .iter()
            .map(|name| format!("{}/{}/{}", name.database, name.schema, name.table))
            .collect();
        assert_eq!(told, ["shop/public/orders", "shop/sales/line_*", "shop//sums"]);
    }

    #[test]
    fn change_tables_stand_for_their_tables() {
        let tables = ["orders".to_owned(), "crm.cust*".to_owned()];
        assert_eq!(
            change_tables_of(Engine::Postgres, &tables, Some("public")),
            [
                "\"public\".\"tailrace_changes_orders\"",
                "\"crm\".\"tailrace_changes_cust*\""
            ]
        );
        let mut query = QueryConfig::new(QueryMode::Queue);
        query.overrides.insert("orders".to_owned(), Default::default());
        let query = change_query_of(Engine::Postgres, &query, Some("public"));
        assert_eq!(
            Vec::from_iter(query.overrides.keys()),
            ["public.tailrace_changes_orders"]
        );
        assert!(polls_in(&query, &[QueryMode::Queue]) && !polls_in(&query, &[QueryMode::Bulk]));
        assert_eq!(mark_column(&query), None);
    }
}
