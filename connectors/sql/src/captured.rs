//! Which of the configured tables another program carried before, whose place in the log is taken over.
//!
//! The place does not say it: neither what Debezium and Maxwell store nor a publication of all tables names what they were told to capture.
//! A table that is wrongly taken as carried before would never have its rows read, so a person says it and is told what follows.

use std::collections::BTreeSet;

use tailrace_core::pattern::TablePattern;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};

use crate::log_config::SnapshotMode;

/// The configured tables, by their qualified names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Carried by the program before: only their changes are.
    pub before: BTreeSet<String>,
    /// New: their rows are read first.
    pub new: BTreeSet<String>,
}

// === impl Captured ===

impl Captured {
    /// Divides tables by patterns of those that were carried before; all of them were where there are no patterns.
    ///
    /// # Errors
    /// Definite `tables_unmatched`: a name that is mistyped must not make its table new.
    pub fn divide<'t>(
        tables: impl Iterator<Item = &'t TableName>,
        patterns: Option<&[String]>,
        default_schema: Option<&str>,
    ) -> Result<Self> {
        let tables: Vec<&TableName> = tables.collect();
        let patterns = patterns.map(|patterns| {
            let pattern = |text: &String| TablePattern::new(text, default_schema);
            patterns.iter().map(pattern).collect::<Vec<_>>()
        });
        let fits = |pattern: &TablePattern, name: &TableName| pattern.matches(&name.schema, &name.table);
        let unmatched: Vec<&str> = patterns
            .iter()
            .flatten()
            .filter(|pattern| !tables.iter().any(|name| fits(pattern, name)))
            .map(TablePattern::as_str)
            .collect();
        if !unmatched.is_empty() {
            let message = format!(
                "`{}` in --captured matches no table that the connector captures; upper and lower case differ",
                unmatched.join("`, `")
            );
            return Err(Error::definite("tables_unmatched", message));
        }
        let was_carried = |name: &TableName| {
            let patterns = patterns.as_deref();
            patterns.is_none_or(|patterns| patterns.iter().any(|pattern| fits(pattern, name)))
        };
        let (before, new): (Vec<&TableName>, Vec<&TableName>) = tables.iter().partition(|name| was_carried(name));
        let names = |tables: Vec<&TableName>| tables.into_iter().map(TableName::qualified).collect();
        Ok(Self {
            before: names(before),
            new: names(new),
        })
    }

    /// What a person must know of both before it is done.
    pub fn notes(&self, mode: SnapshotMode) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.before.is_empty() {
            notes.push(format!(
                "taken as captured before, so that their rows are not read: {}. A table that the other program did not capture must be left out \
                 of --captured, or its rows are not read",
                joined(&self.before)
            ));
        }
        if !self.new.is_empty() {
            let what = match mode {
                SnapshotMode::Initial | SnapshotMode::Only => "their rows are read first",
                SnapshotMode::Never => "their rows are not read either, because `snapshot.mode` is never",
            };
            notes.push(format!("not captured before: {}; {what}", joined(&self.new)));
        }
        notes
    }
}

fn joined(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(patterns: Option<&[&str]>) -> Result<Captured, &'static str> {
        let name = |schema: &str, table: &str| TableName {
            database: String::new(),
            schema: schema.to_owned(),
            table: table.to_owned(),
        };
        let tables = [
            name("public", "customers"),
            name("public", "orders"),
            name("crm", "orders"),
        ];
        let patterns: Option<Vec<String>> =
            patterns.map(|patterns| patterns.iter().map(|text| (*text).to_owned()).collect());
        Captured::divide(tables.iter(), patterns.as_deref(), Some("public")).map_err(|error| error.code())
    }

    #[test]
    fn tables_are_divided_by_what_was_captured() {
        let new = |patterns: Option<&[&str]>| divided(patterns).map(|captured| joined(&captured.new));
        assert_eq!(new(None).unwrap(), "");
        assert_eq!(new(Some(&["orders"])).unwrap(), "crm.orders, public.customers");
        assert_eq!(new(Some(&["*.orders"])).unwrap(), "public.customers");
        assert_eq!(new(Some(&["public.*", "crm.orders"])).unwrap(), "");
        assert_eq!(new(Some(&["public.*", "crm.order"])), Err("tables_unmatched"));
    }

    #[test]
    fn both_kinds_are_told() {
        let notes = divided(Some(&["*.orders"])).unwrap().notes(SnapshotMode::Initial);
        assert!(notes[0].contains("crm.orders, public.orders"), "{notes:?}");
        assert!(
            notes[1].contains("public.customers; their rows are read first"),
            "{notes:?}"
        );
        let notes = divided(Some(&["*.orders"])).unwrap().notes(SnapshotMode::Never);
        assert!(notes[1].contains("not read either"), "{notes:?}");
        assert_eq!(divided(None).unwrap().notes(SnapshotMode::Initial).len(), 1);
    }
}
