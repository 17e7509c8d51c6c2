//! Which relations are captured, and under which name: pure decisions over the list of relations.
//!
//! ```text
//!   pattern fits        published under its own name        published under its root's name
//!   ───────────────     ─────────────────────────────       ───────────────────────────────
//!   plain table         the table                           the table
//!   partitioned table   every partition, under its own      the table, with all its partitions as heaps
//!   partition           that partition                      that partition, unless its root is captured too
//! ```

use std::collections::{BTreeMap, BTreeSet};
use tailrace_core::pattern::TablePattern;
use tailrace_sql::log_config::TablePatterns;

use crate::discover::catalog::{Relation, RelationKind};

/// What the patterns select.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Captured tables with the tables that hold their rows, in the order of names.
    pub(crate) captured: Vec<Selected>,
    /// What the publication must list: partitioned tables stand for their partitions, also for future ones.
    pub(crate) publish: Vec<u32>,
    /// Fit a pattern and are not in the log.
    pub(crate) passed_over: Vec<u32>,
    /// Patterns of `tables` that no capturable relation fits.
    pub(crate) unmatched: Vec<String>,
    /// Patterns of `exclude` that no relation fits.
    pub(crate) idle_exclusions: Vec<String>,
    /// Partitions that `exclude` names in vain, because they are published under their root's name.
    pub(crate) not_excludable: Vec<u32>,
}

/// One captured table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selected {
    /// Whose name and columns its rows have.
    pub(crate) oid: u32,
    /// Tables that hold its rows: itself, or partitions.
    pub(crate) heaps: Vec<u32>,
}

/// What queries can read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    /// Whose rows are read, in the order of names; a partitioned table stands for its partitions.
    pub(crate) tables: Vec<u32>,
    /// Patterns of `tables` that nothing fits.
    pub(crate) unmatched: Vec<String>,
    /// Patterns of `exclude` that nothing fits.
    pub(crate) idle_exclusions: Vec<String>,
    /// Partitions that `exclude` names in vain, because they are read with the partitioned table above them.
    pub(crate) not_excludable: Vec<u32>,
}

struct Selector<'a> {
    relations: BTreeMap<u32, &'a Relation>,
    patterns: &'a TablePatterns,
}

/// Applies patterns to relations.
pub(crate) fn select(relations: &[Relation], patterns: &TablePatterns, via_root: bool) -> Selection {
    let selector = Selector {
        relations: relations.iter().map(|relation| (relation.oid, relation)).collect(),
        patterns,
    };
    let mut selection = Selection {
        unmatched: selector.unmatched(),
        idle_exclusions: selector.idle_exclusions(),
        ..Selection::default()
    };
    let mut heaps: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut publish = BTreeSet::new();
    for relation in relations {
        match selector.verdict(relation) {
            Verdict::Other => {}
            Verdict::PassedOver => selection.passed_over.push(relation.oid),
            Verdict::Excluded { root } if via_root => {
                selection.not_excludable.push(relation.oid);
                heaps.entry(root).or_default().push(relation.oid);
            }
            Verdict::Excluded { .. } => {}
            Verdict::Captured { root } => {
                if publish.insert(root) {
                    selection.publish.push(root);
                }
                let name = if via_root { root } else { relation.oid };
                if relation.kind == RelationKind::Table {
                    heaps.entry(name).or_default().push(relation.oid);
                } else if via_root {
                    // Captured even while it has no partitions.
                    heaps.entry(name).or_default();
                }
            }
        }
    }
    let in_order = relations.iter().filter_map(|relation| {
        let heaps = heaps.remove(&relation.oid)?;
        Some(Selected {
            oid: relation.oid,
            heaps,
        })
    });
    selection.captured = in_order.collect();
    selection
}

/// As [`select`], for those who ask for rows instead of reading the log. What has no log (views, foreign tables) can be read too, but
/// only where a pattern says its whole name: `public.*` would publish each row once more for every view on it.
pub(crate) fn select_readable(relations: &[Relation], patterns: &TablePatterns) -> Readable {
    let selector = Selector {
        relations: relations.iter().map(|relation| (relation.oid, relation)).collect(),
        patterns,
    };
    let mut readable = Readable {
        idle_exclusions: selector.idle_exclusions(),
        ..Readable::default()
    };
    for relation in relations {
        let under_root = selector.captured_root(relation).is_some();
        let excluded = patterns.excludes(&relation.schema, &relation.name);
        if under_root && excluded {
            readable.not_excludable.push(relation.oid);
        }
        if !under_root && !excluded && selector.reads(relation) {
            readable.tables.push(relation.oid);
        }
    }
    let idle = patterns
        .include
        .iter()
        .filter(|pattern| !relations.iter().any(|relation| reads(pattern, relation)));
    readable.unmatched = idle.map(|pattern| pattern.as_str().to_owned()).collect();
    readable
}

fn reads(pattern: &TablePattern, relation: &Relation) -> bool {
    let says_all = !pattern.as_str().contains(['*', '?']);
    let has_log = relation.kind != RelationKind::NotATable;
    (says_all || has_log) && pattern.matches(&relation.schema, &relation.name)
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// No pattern fits.
    Other,
    /// Fits, but is not in the log.
    PassedOver,
    /// Excluded while the partitioned table above it, `root`, is captured.
    Excluded { root: u32 },
    /// Captured; `root` is the topmost captured table above it, or itself.
    Captured { root: u32 },
}

// === impl Selector ===

impl Selector<'_> {
    fn verdict(&self, relation: &Relation) -> Verdict {
        let captured_root = self.captured_root(relation);
        let own = self.patterns.includes(&relation.schema, &relation.name);
        let excluded = self.patterns.excludes(&relation.schema, &relation.name);
        match (own, captured_root) {
            (_, Some(root)) if excluded && relation.kind == RelationKind::Table => Verdict::Excluded { root },
            _ if excluded => Verdict::Other,
            (false, None) => Verdict::Other,
            _ if !relation.kind.is_capturable() => Verdict::PassedOver,
            (_, Some(root)) => Verdict::Captured { root },
            (true, None) => Verdict::Captured { root: relation.oid },
        }
    }

    /// The topmost partitioned table above a relation that is captured itself.
    fn captured_root(&self, relation: &Relation) -> Option<u32> {
        let mut root = None;
        let mut above = relation.parent;
        // Bounded by the number of relations, should the catalogue ever hold a circle.
        for _ in 0..self.relations.len() {
            let Some(parent) = above.and_then(|oid| self.relations.get(&oid)) else {
                break;
            };
            if self.fits(parent) {
                root = Some(parent.oid);
            }
            above = parent.parent;
        }
        root
    }

    fn fits(&self, relation: &Relation) -> bool {
        self.patterns.includes(&relation.schema, &relation.name)
            && !self.patterns.excludes(&relation.schema, &relation.name)
    }

    fn reads(&self, relation: &Relation) -> bool {
        self.patterns.include.iter().any(|pattern| reads(pattern, relation))
    }

    fn unmatched(&self) -> Vec<String> {
        let capturable = |relation: &&&Relation| relation.kind.is_capturable();
        let idle = self.patterns.include.iter().filter(|pattern| {
            let mut relations = self.relations.values().filter(capturable);
            !relations.any(|relation| pattern.matches(&relation.schema, &relation.name))
        });
        idle.map(|pattern| pattern.as_str().to_owned()).collect()
    }

    fn idle_exclusions(&self) -> Vec<String> {
        let idle = self.patterns.exclude.iter().filter(|pattern| {
            let mut relations = self.relations.values();
            !relations.any(|relation| pattern.matches(&relation.schema, &relation.name))
        });
        idle.map(|pattern| pattern.as_str().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PostgresConfig;
    use crate::discover::testing::relation;

    /// A plain table, a view, an unlogged table, and `sales` with a partition and a partitioned partition.
    fn relations() -> Vec<Relation> {
        vec![
            relation(1, "orders", RelationKind::Table, None),
            relation(2, "orders_scratch", RelationKind::Unlogged, None),
            relation(3, "orders_view", RelationKind::NotATable, None),
            relation(10, "sales", RelationKind::Partitioned, None),
            relation(11, "sales_1", RelationKind::Table, Some(10)),
            relation(12, "sales_2", RelationKind::Partitioned, Some(10)),
            relation(13, "sales_2a", RelationKind::Table, Some(12)),
            relation(14, "sales_foreign", RelationKind::NotATable, Some(10)),
        ]
    }

    fn selected(tables: &[&str], exclude: &[&str], via_root: bool) -> Selection {
        let json = serde_json::json!({ "url": "postgres://u@h/d", "tables": tables, "exclude": exclude });
        let config: PostgresConfig = serde_json::from_value(json).unwrap();
        select(&relations(), &config.patterns().unwrap(), via_root)
    }

    fn heaps(selection: &Selection) -> Vec<(u32, Vec<u32>)> {
        selection
            .captured
            .iter()
            .map(|table| (table.oid, table.heaps.clone()))
            .collect()
    }

    #[test]
    fn partitions_under_their_own_names() {
        let selection = selected(&["orders", "sales"], &[], false);
        assert_eq!(heaps(&selection), [(1, vec![1]), (11, vec![11]), (13, vec![13])]);
        assert_eq!(selection.publish, [1, 10]);
        assert_eq!(selection.passed_over, [14]);
    }

    #[test]
    fn partitions_under_their_roots_name() {
        let selection = selected(&["sales*"], &[], true);
        assert_eq!(heaps(&selection), [(10, vec![11, 13])]);
        assert_eq!(selection.publish, [10]);
    }

    #[test]
    fn a_single_partition() {
        for via_root in [false, true] {
            let selection = selected(&["sales_1"], &[], via_root);
            assert_eq!(heaps(&selection), [(11, vec![11])]);
            assert_eq!(selection.publish, [11]);
        }
        let selection = selected(&["sales_2"], &[], true);
        assert_eq!(heaps(&selection), [(12, vec![13])]);
    }

    #[test]
    fn exclusions() {
        let selection = selected(&["sales"], &["sales_2a"], false);
        assert_eq!(heaps(&selection), [(11, vec![11])]);
        assert_eq!(selection.publish, [10]);
        let selection = selected(&["sales"], &["sales_2a"], true);
        assert_eq!(heaps(&selection), [(10, vec![11, 13])]);
        assert_eq!(selection.not_excludable, [13]);
        let selection = selected(&["orders", "sales"], &["sales*", "nothing"], false);
        assert_eq!(heaps(&selection), [(1, vec![1])]);
        assert_eq!(selection.idle_exclusions, ["nothing"]);
    }

    #[test]
    fn queries_read_partitions_through_their_root_and_views_by_their_whole_name() {
        let readable = |tables: &[&str], exclude: &[&str]| {
            let json = serde_json::json!({ "url": "postgres://u@h/d", "tables": tables, "exclude": exclude });
            let config: PostgresConfig = serde_json::from_value(json).unwrap();
            select_readable(&relations(), &config.patterns().unwrap())
        };
        let all = readable(&["*"], &["sales_1"]);
        assert_eq!(all.tables, [1, 2, 10]);
        assert_eq!(all.not_excludable, [11]);
        let some = readable(&["orders_view", "sales_1", "sales_2", "nobody*"], &["nothing"]);
        assert_eq!(some.tables, [3, 11, 12]);
        assert_eq!(some.unmatched, ["nobody*"]);
        assert_eq!(some.idle_exclusions, ["nothing"]);
        assert_eq!(readable(&["orders_v*"], &[]).unmatched, ["orders_v*"]);
    }

    #[test]
    fn what_is_not_in_the_log_is_passed_over() {
        let selection = selected(&["orders*", "orders_view", "nothing"], &[], false);
        assert_eq!(heaps(&selection), [(1, vec![1])]);
        assert_eq!(selection.passed_over, [2, 3]);
        assert_eq!(selection.unmatched, ["orders_view", "nothing"]);
    }
}
