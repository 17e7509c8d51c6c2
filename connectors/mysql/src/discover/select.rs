//! Which tables are captured: a pure decision over the list of everything.

use tailrace_sql::log_config::TablePatterns;

use crate::config::is_system_schema;
use crate::discover::catalog::{Relation, RelationKind};

/// What a relation must have to be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Rows of its own in the log.
    Log,
    /// Rows that can be asked for.
    Rows,
}

/// What the patterns select.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Schemas and names of captured tables, in their order.
    pub(crate) captured: Vec<(String, String)>,
    /// Fit a pattern and have no rows of their own in the log.
    pub(crate) passed_over: Vec<Relation>,
    /// Patterns of `tables` that no table fits.
    pub(crate) unmatched: Vec<String>,
    /// Patterns of `exclude` that nothing fits.
    pub(crate) idle_exclusions: Vec<String>,
}

/// Applies patterns to relations.
pub(crate) fn select(relations: &[Relation], patterns: &TablePatterns, needed: Needed) -> Selection {
    let fit = |relation: &&&Relation| needed.is_given_by(relation.kind);
    let relations: Vec<&Relation> = relations
        .iter()
        .filter(|relation| !is_system_schema(&relation.schema))
        .collect();
    let fitting = || {
        relations
            .iter()
            .filter(|relation| patterns.captures(&relation.schema, &relation.name))
    };
    let captured = fitting().filter(fit);
    let passed_over = fitting().filter(|relation| !fit(relation));
    let unmatched = patterns.include.iter().filter(|pattern| {
        let mut tables = relations.iter().filter(fit);
        !tables.any(|table| pattern.matches(&table.schema, &table.name))
    });
    let idle = patterns.exclude.iter().filter(|pattern| {
        let mut relations = relations.iter();
        !relations.any(|relation| pattern.matches(&relation.schema, &relation.name))
    });
    Selection {
        captured: captured
            .map(|table| (table.schema.clone(), table.name.clone()))
            .collect(),
        passed_over: passed_over.map(|relation| (*relation).clone()).collect(),
        unmatched: unmatched.map(|pattern| pattern.as_str().to_owned()).collect(),
        idle_exclusions: idle.map(|pattern| pattern.as_str().to_owned()).collect(),
    }
}

// === impl Needed ===

impl Needed {
    /// Of a system-versioned table the rows of the present can be asked for, although the log does not tell them from those of the past.
    pub(crate) fn is_given_by(self, kind: RelationKind) -> bool {
        match kind {
            RelationKind::Table => true,
            RelationKind::View | RelationKind::SystemVersioned => self == Self::Rows,
            RelationKind::Sequence | RelationKind::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MySqlConfig;
    use crate::discover::testing::relation;

    fn selected(tables: &[&str], exclude: &[&str]) -> Selection {
        selected_with(tables, exclude, Needed::Log)
    }

    fn selected_with(tables: &[&str], exclude: &[&str], needed: Needed) -> Selection {
        let json = serde_json::json!({ "url": "mysql://u@h/", "tables": tables, "exclude": exclude });
        let config: MySqlConfig = serde_json::from_value(json).unwrap();
        let mut user = relation("orders", RelationKind::Table);
        user.schema = "mysql".to_owned();
        let relations = [
            user,
            relation("orders", RelationKind::Table),
            relation("orders_old", RelationKind::Table),
            relation("orders_view", RelationKind::View),
            relation("order_numbers", RelationKind::Sequence),
        ];
        select(&relations, &config.patterns().unwrap(), needed)
    }

    fn names(selection: &Selection) -> Vec<&str> {
        selection.captured.iter().map(|(_, table)| table.as_str()).collect()
    }

    #[test]
    fn tables_and_nothing_else() {
        let selection = selected(&["*.order*"], &[]);
        assert_eq!(names(&selection), ["orders", "orders_old"]);
        let passed_over: Vec<&str> = selection
            .passed_over
            .iter()
            .map(|relation| relation.name.as_str())
            .collect();
        assert_eq!(passed_over, ["orders_view", "order_numbers"]);
        assert!(selection.unmatched.is_empty());
    }

    #[test]
    fn a_view_can_be_asked() {
        let selection = selected_with(&["*.order*"], &[], Needed::Rows);
        assert_eq!(names(&selection), ["orders", "orders_old", "orders_view"]);
    }

    #[test]
    fn exclusions_and_patterns_that_fit_nothing() {
        let selection = selected(
            &["shop.orders*", "shop.orders_view", "shop.Orders"],
            &["*.*_old", "crm.*"],
        );
        assert_eq!(names(&selection), ["orders"]);
        assert_eq!(selection.unmatched, ["shop.orders_view", "shop.Orders"]);
        assert_eq!(selection.idle_exclusions, ["crm.*"]);
    }
}
