//! What the grants of every database are made from: the tables that a configuration names, and those that it only describes.

use std::collections::BTreeSet;

use tailrace_core::pattern::TablePattern;
use tailrace_core::schema::TableName;

use crate::change_table::Engine;
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

    /// The schemas of the tables that are named.
    pub fn schemas(&self) -> BTreeSet<&str> {
        self.named.iter().map(|(schema, _)| schema.as_str()).collect()
    }
}

/// A table that is known by its name alone.
pub fn table_named(schema: &str, table: &str) -> TableName {
    TableName {
        database: String::new(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
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
        crate::change_table::database::exact_pattern(&name)
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
