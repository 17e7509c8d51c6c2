//! The tables: whether they are found, what of them the log does not have, and whether their rows can be told apart.

use tailrace_core::check::Finding;
use tailrace_core::pattern::TablePattern;
use tailrace_sql::log_config::SnapshotMode;

use super::{Facts, rights};
use crate::discover::catalog::{Relation, RelationKind};
use crate::discover::{CapturedTable, Needed};
use crate::grants::Matched;
use crate::quote::qualified;

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = patterns(facts);
    findings.extend(passed_over(facts));
    findings.extend(unreadable(facts));
    findings.extend(cascades(facts));
    for table in &facts.discovery.tables {
        findings.extend(keyless(table));
        findings.extend(without_transactions(facts, table));
    }
    findings
}

fn patterns(facts: &Facts<'_>) -> Vec<Finding> {
    let selection = &facts.discovery.selection;
    let unmatched = selection.unmatched.iter().map(|pattern| {
        Finding::blocks(
            "tables_unmatched",
            format!(
                "`{pattern}` in `tables` matches no table that the user {} may see",
                facts.server.user
            ),
            unmatched_remedy(facts, pattern),
        )
    });
    let idle = selection.idle_exclusions.iter().map(|pattern| {
        Finding::warning(
            "exclude_unmatched",
            format!("`{pattern}` in `exclude` matches no table"),
            "correct or remove it",
        )
    });
    unmatched.chain(idle).collect()
}

fn unmatched_remedy(facts: &Facts<'_>, pattern: &str) -> String {
    let relations = &facts.discovery.relations;
    let named = |relation: &&Relation| format!("{}.{}", relation.schema, relation.name) == pattern;
    if let Some(relation) = relations.iter().find(named) {
        return format!("remove it: {}", why_not(relation.kind));
    }
    match similar(relations, pattern) {
        Some(name) => format!("write `{name}`"),
        None => format!(
            "{} -- or correct `tables`: upper and lower case differ, and a table is shown to those who may read it",
            reading_remedy(facts, pattern)
        ),
    }
}

fn reading_remedy(facts: &Facts<'_>, pattern: &str) -> String {
    let exclude = facts.config.patterns().map(|patterns| patterns.exclude);
    let matched = Matched {
        pattern: &TablePattern::new(pattern, None),
        exclude: &exclude.unwrap_or_default(),
        needed: Needed::Log,
    };
    matched.remedy(&rights::user(&facts.server))
}

/// A table that only differs in case, or is in another schema.
fn similar(relations: &[Relation], pattern: &str) -> Option<String> {
    let table = pattern.rsplit('.').next().unwrap_or(pattern).to_lowercase();
    let mut tables = relations.iter().filter(|relation| relation.kind == RelationKind::Table);
    let found = tables.find(|relation| relation.name.to_lowercase() == table)?;
    Some(format!("{}.{}", found.schema, found.name))
}

fn why_not(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "it is captured",
        RelationKind::View => "a view has no rows of its own in the log",
        RelationKind::Sequence => "the numbers of a sequence are not rows of a table",
        RelationKind::SystemVersioned => {
            "of a system-versioned table the log has rows of the past beside those of the present, which are not told apart"
        }
        RelationKind::Other => "it is no table that has a log",
    }
}

/// One for each kind, because a pattern may fit many.
fn passed_over(facts: &Facts<'_>) -> Vec<Finding> {
    let kinds = [
        RelationKind::View,
        RelationKind::Sequence,
        RelationKind::SystemVersioned,
        RelationKind::Other,
    ];
    let finding = |kind: RelationKind| {
        let relations = facts.discovery.selection.passed_over.iter();
        let names: Vec<String> = relations
            .filter(|relation| relation.kind == kind)
            .map(|relation| format!("{}.{}", relation.schema, relation.name))
            .collect();
        let problem = || {
            format!(
                "not captured, although a pattern fits: {}; {}",
                names.join(", "),
                why_not(kind)
            )
        };
        (!names.is_empty()).then(|| Finding::note("unseen_table", problem()))
    };
    kinds.into_iter().filter_map(finding).collect()
}

fn unreadable(facts: &Facts<'_>) -> Vec<Finding> {
    let columns = facts.discovery.unreadable.iter();
    let finding = columns.map(|column| {
        Finding::blocks(
            column.code(),
            format!(
                "the column {} of {} cannot be captured: {}",
                column.column, column.table, column.error
            ),
            format!("name {} in `exclude`, or change the column", column.table),
        )
    });
    finding.collect()
}

/// FM-153: what a foreign key does is done below the log.
fn cascades(facts: &Facts<'_>) -> Vec<Finding> {
    if facts.server.logs_cascades {
        return Vec::new();
    }
    let findings = facts.foreign_keys.iter().map(|key| {
        Finding::warning(
            "unseen_cascade",
            format!(
                "rows of {}.{} that are changed along with {} ({} {}) are not in the log, and not captured",
                key.schema, key.table, key.parent, key.name, key.actions
            ),
            "change such rows by statements of the application, or by triggers; MySQL 9.6 and later log them",
        )
    });
    findings.collect()
}

fn keyless(table: &CapturedTable) -> Option<Finding> {
    table.schema.key.is_empty().then(|| {
        Finding::warning(
            "no_key",
            format!(
                "events of {} have no key: the order of changes to one row is not kept across partitions of a topic, and the snapshot reads the table in one piece",
                table.schema.name.qualified()
            ),
            format!(
                "ALTER TABLE {} ADD PRIMARY KEY (…);",
                qualified(&table.definition.schema, &table.definition.table)
            ),
        )
    })
}

fn without_transactions(facts: &Facts<'_>, table: &CapturedTable) -> Option<Finding> {
    if table.transactional || facts.config.snapshot.mode == SnapshotMode::Never {
        return None;
    }
    let name = table.schema.name.qualified();
    let engine = table.definition.engine.as_deref().unwrap_or("its engine");
    Some(Finding::warning(
        "no_transactions",
        format!(
            "{name} is stored in {engine}, which has no transactions: rows that change while the snapshot reads them come twice, the newer one first"
        ),
        format!(
            "ALTER TABLE {} ENGINE = InnoDB;",
            qualified(&table.definition.schema, &table.definition.table)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use tailrace_core::check::Severity;

    use super::super::testing::{ORDERS, codes, judged, judged_with};
    use super::*;
    use crate::discover::catalog::Details;
    use crate::discover::foreign_key::ForeignKey;

    fn with(change: impl FnOnce(&mut Details)) -> Vec<Finding> {
        judged_with(judge, ORDERS, change, |_| {})
    }

    #[test]
    fn patterns_that_match_nothing() {
        let json =
            r#""tables": ["shop.orders", "shop.Orders", "shop.orders_view", "shop.nothing"], "exclude": ["crm.*"]"#;
        let findings = judged(judge, json, |_| {});
        assert_eq!(
            codes(&findings),
            [
                "tables_unmatched",
                "tables_unmatched",
                "tables_unmatched",
                "exclude_unmatched",
                "unseen_table"
            ]
        );
        assert_eq!(findings[0].remedy, "write `shop.orders`");
        assert!(
            findings[1].remedy.contains("a view has no rows"),
            "{}",
            findings[1].remedy
        );
        assert!(
            findings[2]
                .remedy
                .starts_with("GRANT SELECT ON `shop`.`nothing` TO `tailrace`@`%`;"),
            "{}",
            findings[2].remedy
        );
    }

    #[test]
    fn what_a_pattern_fits_and_no_log_has_is_said_once() {
        let findings = judged(judge, r#""tables": ["shop.*"]"#, |_| {});
        assert_eq!(codes(&findings), ["unseen_table"]);
        assert!(
            findings[0].problem.contains("shop.orders_view"),
            "{}",
            findings[0].problem
        );
    }

    #[test]
    fn columns_that_cannot_be_read_block() {
        let findings = with(|details| details.attributes[3].charset = Some("klingon".to_owned()));
        assert_eq!(
            (codes(&findings), findings[0].severity),
            (vec!["character_set"], Severity::Blocks)
        );
        assert!(
            findings[0].problem.contains("the column note of shop.orders"),
            "{}",
            findings[0].problem
        );
    }

    #[test]
    fn cascades_into_captured_tables_are_named() {
        let add = |facts: &mut Facts<'_>| {
            facts.foreign_keys = vec![ForeignKey {
                schema: "shop".to_owned(),
                table: "orders".to_owned(),
                name: "fk_customer".to_owned(),
                parent: "shop.customers".to_owned(),
                actions: "ON DELETE CASCADE".to_owned(),
            }];
        };
        let findings = judged(judge, ORDERS, add);
        assert_eq!(codes(&findings), ["unseen_cascade"]);
        let expected = "rows of shop.orders that are changed along with shop.customers (fk_customer ON DELETE CASCADE)";
        assert!(findings[0].problem.starts_with(expected), "{}", findings[0].problem);
        let logged = judged(judge, ORDERS, |facts| {
            add(facts);
            facts.server.logs_cascades = true;
        });
        assert_eq!(codes(&logged), [""; 0]);
    }

    #[test]
    fn keys_and_engines() {
        assert_eq!(codes(&with(|details| details.indexes.clear())), ["no_key"]);
        let my_isam = |details: &mut Details| details.storage[1].engine = Some("MyISAM".to_owned());
        let findings = with(my_isam);
        assert_eq!(codes(&findings), ["no_transactions"]);
        assert_eq!(findings[0].remedy, "ALTER TABLE `shop`.`orders` ENGINE = InnoDB;");
        let never = r#""tables": ["shop.orders"], "snapshot": {"mode": "never"}"#;
        assert_eq!(codes(&judged_with(judge, never, my_isam, |_| {})), [""; 0]);
    }
}
